"""Newer Pythons, with Colab's versions of everything but torch, which they have in a CPU build nowhere a test may reach.

What computes without torch runs; everything else is imported, with a stand-in for torch that computes nothing, and compiled.
"""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from coursekit.build import release_of
from coursekit.course import Course
from coursekit.source import read_source
from tests.course import ROOT
from tests.coursekit.conftest import SQUARES, answered
from tests.portability.environments import COLAB, UNIX, Environment, child, interpreter, libraries

pytestmark = [pytest.mark.slow, UNIX]

HERE = Path(__file__).parent
STAND_IN = str(HERE / "shims" / "no_torch")
# What `coursekit check` runs on, and what the tests of the parts without torch need.
CHECKED_WITH = ("nbclient", "nbformat", "rich>=13", "typer>=0.12")
TESTED_WITH = ("hypothesis", "pytest")
# Their doctests compute without torch.
WITHOUT_TORCH = (
    "autograder_tests/plain.py",
    "autograder_tests/expressions.py",
    "autograder_tests/compare.py",
    "autograder_tests/report.py",
    "flowlib/symbolic.py",
    "tests/autograder_tests/test_plain.py",
    "tests/autograder_tests/test_expressions.py",
)
# Imports every module of the course's packages; those of instructors may miss what students have not.
IMPORTS = """
import importlib, json, pkgutil, sys, warnings

import IPython, matplotlib.pyplot, nbclient, nbformat, numpy, rich.table, scipy.stats, sklearn.datasets, sympy, torch, tqdm.auto, typer

warnings.simplefilter("error")  # of our own modules, from here on
done, missing = [], {}
for package in ("flowlib", "autograder_tests", "coursekit"):
    names = [package, *(m.name for m in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."))]
    for name in names:
        if name.endswith("__main__"):
            continue
        try:
            importlib.import_module(name)
            done.append(name)
        except ModuleNotFoundError as error:
            missing[name] = error.name.partition(".")[0]
from autograder_tests import catalogue, checks_of, topics

checks = sum(len(checks_of(t)) for t in topics())
print(json.dumps({"done": done, "missing": missing, "checks": checks, "catalogue": sorted(catalogue.load())}))
"""


@pytest.fixture(scope="module", params=[12, 13], ids=lambda minor: f"3.{minor}")
def newer(
    request: pytest.FixtureRequest, clone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """A newer Python with the course and what a student on Colab has."""
    found = interpreter(request.param)
    if found is None:
        pytest.skip(f"no Python 3.{request.param} with venv here: neither on the PATH nor among pyenv's")
    kept = libraries(f"python3.{request.param}", found, COLAB, *CHECKED_WITH, *TESTED_WITH)
    made = child(kept, tmp_path_factory.mktemp(f"python3.{request.param}-") / "venv")
    made.run("-m", "pip", "install", "--quiet", "--no-deps", clone, cwd=clone)
    return made


def test_everything_compiles_without_a_warning(newer: Environment, clone: Path) -> None:
    folders = ("flowlib", "autograder_tests", "coursekit", "solutions", "tests", "benchmarks")
    newer.run("-W", "error", "-m", "compileall", "-q", "-f", *folders, cwd=clone)


def test_every_module_imports(newer: Environment, tmp_path: Path) -> None:
    said = newer.run("-c", IMPORTS, cwd=tmp_path, env={"PYTHONPATH": STAND_IN})
    found = json.loads(said.splitlines()[-1])
    # Students' modules are all there.
    assert [m for m in found["missing"] if not m.startswith("coursekit.")] == []
    instructors = {
        "nbgrader",
        "sqlalchemy",
        "alembic",
        "bleach",
        "distributed",
        "dask",
        "psycopg",
    }
    assert set(found["missing"].values()) <= instructors
    for module in ("flowlib.coupling", "autograder_tests.remote", "coursekit.cli", "coursekit.check"):
        assert module in found["done"]
    # Wrong implementations are edits of right ones' text, whose form must not depend on the Python.
    assert found["checks"] > 100
    assert len(found["catalogue"]) == 11


def test_what_needs_no_torch_runs(newer: Environment, clone: Path) -> None:
    said = newer.run("-m", "pytest", *WITHOUT_TORCH, cwd=clone, env={"PYTHONPATH": STAND_IN})
    assert " passed" in said
    assert "skipped" not in said


def test_coursekit_check_scores_a_notebook(newer: Environment, tmp_path: Path) -> None:
    source = tmp_path / "01_squares.py"
    source.write_text(SQUARES, encoding="utf-8")
    release = release_of(read_source(source), Course.find(ROOT))
    notebook = tmp_path / "01_squares.ipynb"
    nbformat.write(answered(release, cube="def cube(x):\n    return x * x"), notebook)
    said = newer.run("-m", "coursekit.cli", "check", notebook, "--json", cwd=tmp_path)
    report = json.loads(said)
    points = {c["id"]: c["points"] for c in report["cells"] if c["kind"] == "test"}
    assert points == {"square_of_three": 2, "square_is_even": 1, "cube_of_two": 0, "training_was_cut": 1}
    assert report["problem"] == ""
