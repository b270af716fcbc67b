"""The released notebooks on Colab: its packages but torch, no nbgrader, the course installed by the first cell's line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from packaging.requirements import Requirement

from coursekit.course import Course
from coursekit.new_class import Paper
from tests.course import ASSIGNMENTS, ROOT
from tests.portability.environments import COLAB, UNIX, Environment, child

pytestmark = [pytest.mark.slow, UNIX]

COURSE = Course.find(ROOT)
HERE = Path(__file__).parent
DISTRIBUTION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
# `"google.colab" in sys.modules` is how a notebook knows that it is on Colab.
ON_COLAB = """\
import sys
import types

google = types.ModuleType("google")
google.colab = types.ModuleType("google.colab")
sys.modules.update({"google": google, "google.colab": google.colab})
"""


def play(
    runtime: Environment, nb: NotebookNode, folder: Path, env: Mapping[str, str] | None = None
) -> NotebookNode:
    """The notebook executed by plain nbclient in an empty folder, its training cut short."""
    source, target = folder / "in.ipynb", folder / "out.ipynb"
    nbformat.write(nb, source)
    work = folder / "work"
    work.mkdir()
    env = {**COURSE.training_cut, **(env or {})}
    runtime.run(HERE / "play.py", source, target, "180", cwd=work, env=env)
    return nbformat.read(target, as_version=4)


def errors(nb: NotebookNode) -> Iterator[tuple[str, str, str]]:
    """(grade id or source, name of the error, its message) of every cell that raised and was not meant to."""
    for cell in nb.cells:
        if "raises-exception" in cell.metadata.get("tags", []):
            continue
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                name = cell.metadata.get("nbgrader", {}).get("grade_id", cell.source)
                yield name, output.ename, output.evalue


def everything_ran(nb: NotebookNode) -> bool:
    return all(c.execution_count for c in nb.cells if c.cell_type == "code" and c.source.strip())


def test_the_environment_is_colabs(colab: Environment, tmp_path: Path) -> None:
    pins = [Requirement(line) for line in COLAB.read_text().splitlines() if line and line[0] != "#"]
    have = colab.versions(tmp_path)
    assert {p.name: have[p.name] for p in pins if not p.specifier.contains(have[p.name])} == {}
    assert DISTRIBUTION in have
    # What grades and what `coursekit` needs beside it is not there.
    assert not have.keys() & {"nbgrader", "jupyterlab", "sqlalchemy", "typer"}


def test_colabs_versions_are_in_the_ranges_of_the_package(colab: Environment, tmp_path: Path) -> None:
    colab.run("-m", "pip", "check", cwd=tmp_path)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_check_passes_with_the_solutions(assignment: str, colab: Environment, tmp_path: Path) -> None:
    paper = Paper(COURSE, assignment)
    done = play(colab, paper.notebook(paper.answers), tmp_path)
    assert list(errors(done)) == []
    assert everything_ran(done)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_blank_notebook_fails_by_not_implemented_alone(
    assignment: str, colab: Environment, tmp_path: Path
) -> None:
    release = nbformat.read(COURSE.release_notebook(assignment), as_version=4)
    tests = {t for answers in Paper(COURSE, assignment).tests.values() for t in answers}
    done = play(colab, release, tmp_path)
    found = list(errors(done))
    assert {grade_id for grade_id, _, _ in found} == tests
    assert {name for _, name, _ in found} == {"NotImplementedError"}
    assert everything_ran(done)


def first_cells(assignment: str) -> list[NotebookNode]:
    """The cell that installs the course, and the one that imports it."""
    release = nbformat.read(COURSE.release_notebook(assignment), as_version=4)
    first, second = [c for c in release.cells if c.cell_type == "code"][:2]
    assert "google.colab" in first.source
    assert "import flowlib" in second.source
    return [first, second]


@pytest.fixture
def bare(colab_libraries: Environment, tmp_path: Path) -> Environment:
    """Colab as it starts, without the course."""
    return child(colab_libraries, tmp_path / "runtime")


def noted_pip(clone: Path, log: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(HERE / "shims" / "noted_pip"),
        "NOTED_PIP_LOG": str(log),
        "NOTED_PIP_CHECKOUT": clone.as_uri(),
    }


def test_the_first_cell_installs_the_course_and_nothing_else(
    bare: Environment, clone: Path, tmp_path: Path
) -> None:
    before, log = bare.versions(tmp_path), tmp_path / "pip.log"
    assert DISTRIBUTION not in before
    nb = new_notebook(cells=[new_code_cell(ON_COLAB), *first_cells("03_masked_coupling")])
    done = play(bare, nb, tmp_path, noted_pip(clone, log))
    assert list(errors(done)) == []
    # One call: the course from its repository, without its dependencies.
    [asked] = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    address = f"git+{COURSE.settings['repository']}@{COURSE.settings['branch']}"
    assert asked[0] == "install"
    assert "--no-deps" in asked
    assert [a for a in asked[1:] if not a.startswith("-")] == [f"{DISTRIBUTION} @ {address}"]
    # Neither torch nor numpy, nor anything else of Colab's, is another one afterwards.
    after = bare.versions(tmp_path)
    assert after.pop(DISTRIBUTION)
    assert after == before


def test_elsewhere_the_first_cell_installs_nothing(colab: Environment, clone: Path, tmp_path: Path) -> None:
    log = tmp_path / "pip.log"
    nb = new_notebook(cells=first_cells("03_masked_coupling"))
    assert list(errors(play(colab, nb, tmp_path, noted_pip(clone, log)))) == []
    assert not log.exists()
