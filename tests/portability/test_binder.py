"""Binder's recipe: repo2docker reads it as meant, and what postBuild leaves is a course for students that works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from tests.course import ASSIGNMENTS
from tests.portability.environments import UNIX, Environment, base_python, libraries, own_child

pytestmark = UNIX

# Removed from what Binder's visitors see.
NOT_FOR_STUDENTS = ("solutions", "tests", "benchmarks", "build")
INSTRUCTORS = {f"@jupyter/nbgrader:{name}" for name in ("formgrader", "create-assignment", "course-list")}
STUB = '#!/bin/sh\necho "${0##*/} $*" >> "$STUB_LOG"\nexit "${STUB_EXIT:-0}"\n'


def stubs(folder: Path, *names: str) -> dict[str, str]:
    """Variables under which each of the commands is only noted, in the file STUB_LOG."""
    folder.mkdir()
    for name in names:
        (folder / name).write_text(STUB, encoding="utf-8")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "STUB_LOG": str(folder / "log")}


def post_build(clone: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What came of running postBuild as Binder does: in the repository's folder."""
    return subprocess.run(["./postBuild"], cwd=clone, env=env, capture_output=True, text=True, check=False)


def launched_by_badges(text: str) -> set[str]:
    """Paths of the repository that the Binder and Colab links of a page open."""
    binder = re.findall(r"mybinder\.org/v2/gh/[\w.-]+/[\w.-]+/[\w.-]+\?urlpath=lab/tree/([^)\s\"]+)", text)
    colab = re.findall(r"colab\.research\.google\.com/github/[\w.-]+/[\w.-]+/blob/[\w.-]+/([^)\s\"]+)", text)
    return {*binder, *colab}


def links_out_of(notebook: Path) -> set[Path]:
    """Files that the text of a notebook points to by a path of their own."""
    cells = nbformat.read(notebook, as_version=4).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:src|href)=[\"']([^\"'#]+)", text)
    paths = {a or b for a, b in targets}
    return {notebook.parent / p for p in paths if not re.match(r"[a-z][a-z+.-]*:|attachment:", p)}


@pytest.fixture
def copy(clone: Path, tmp_path: Path) -> Path:
    """A clone of its own for each test: postBuild removes files."""
    return shutil.copytree(clone, tmp_path / "repository")


def test_post_build_leaves_what_students_need(copy: Path, tmp_path: Path) -> None:
    (copy / "build" / "lib").mkdir(parents=True, exist_ok=True)  # pip leaves it
    env = stubs(tmp_path / "bin", "pip", "jupyter")
    done = post_build(copy, env)
    assert done.returncode == 0, done.stderr
    calls = Path(env["STUB_LOG"]).read_text(encoding="utf-8").splitlines()
    # The course is installed before anything of it is gone, and only the course.
    assert calls[0] == "pip install --no-deps ."
    assert {line.split()[-1] for line in calls if "labextension disable" in line} == INSTRUCTORS
    assert [name for name in NOT_FOR_STUDENTS if (copy / name).exists()] == []
    left = {p.parent.name for p in copy.glob("course/*/*.ipynb")}
    assert left == set(ASSIGNMENTS)
    opened = launched_by_badges((copy / "README.md").read_text(encoding="utf-8"))
    assert len(opened) == len(ASSIGNMENTS)
    assert [path for path in sorted(opened) if not (copy / path).is_file()] == []
    linked = {p for notebook in copy.glob("course/*/*.ipynb") for p in links_out_of(notebook)}
    assert [str(p) for p in sorted(linked) if not p.exists()] == []


def test_a_course_that_does_not_install_stops_the_build(copy: Path, tmp_path: Path) -> None:
    done = post_build(copy, {**stubs(tmp_path / "bin", "pip", "jupyter"), "STUB_EXIT": "1"})
    assert done.returncode != 0
    assert (copy / "solutions").exists()


def test_an_extension_that_stays_is_no_reason_to_have_no_notebooks(copy: Path, tmp_path: Path) -> None:
    env = stubs(tmp_path / "bin", "pip", "jupyter")
    (tmp_path / "bin" / "jupyter").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    done = post_build(copy, env)
    assert done.returncode == 0
    assert all(name in done.stderr for name in INSTRUCTORS)


@dataclass(frozen=True)
class Binder:
    """What Binder's visitors get: the repository as postBuild left it, and an environment with nbgrader."""

    repository: Path
    environment: Environment
    variables: dict[str, str]

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        return self.environment.run(*arguments, cwd=cwd or self.repository, env=self.variables)


@pytest.fixture(scope="module")
def binder(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Binder:
    """postBuild run with the real pip and jupyter."""
    folder = tmp_path_factory.mktemp("binder")
    repository = shutil.copytree(clone, folder / "repository")
    own = Path(sys.executable).parent
    made = own_child(folder / "venv", [p.name for p in own.glob("jupyter*")])
    pip = made.python.parent / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{made.python}" -m pip "$@"\n', encoding="utf-8")
    pip.chmod(0o755)
    private = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    private["PATH"] = f"{made.python.parent}:{os.environ['PATH']}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = post_build(repository, {**kept, **private})
    assert done.returncode == 0, done.stderr
    assert "still shown" not in done.stderr
    return Binder(repository, made, private)


@pytest.mark.slow
def test_students_see_validate_and_no_panel_of_instructors(binder: Binder) -> None:
    """What JupyterLab's server tells the page in the browser."""
    code = (
        "import json, os; from jupyter_core.paths import jupyter_path; from jupyterlab.commands import get_app_dir; "
        "from jupyterlab_server.config import get_page_config; "
        "print(json.dumps(get_page_config(jupyter_path('labextensions'), os.path.join(get_app_dir(), 'settings'))))"
    )
    page = json.loads(binder.run("-c", code))
    disabled = set(page["disabledExtensions"])
    assert disabled >= INSTRUCTORS
    assert "@jupyter/nbgrader" in {extension["name"] for extension in page["federated_extensions"]}
    assert not disabled & {"@jupyter/nbgrader", "@jupyter/nbgrader:validate-assignment"}


@pytest.mark.slow
def test_the_disabled_panels_are_what_nbgrader_calls_them(binder: Binder) -> None:
    """A name that no longer exists would be disabled without a word."""
    scripts = (
        binder.environment.packages.parents[2] / "share/jupyter/labextensions/@jupyter/nbgrader"
    ).rglob("*.js")
    known = {
        name for path in scripts for name in re.findall(r"@jupyter/nbgrader:[a-z-]+", path.read_text("utf-8"))
    }
    assert known >= INSTRUCTORS
    # A new panel wants a decision: for students or not?
    assert known - INSTRUCTORS == {
        f"@jupyter/nbgrader:{n}" for n in ("assignment-list", "menu", "validate-assignment")
    }


@pytest.mark.slow
def test_what_is_left_is_enough_for_a_notebook(binder: Binder) -> None:
    """The course is an installed package, and its command works on a notebook where the sources are gone."""
    name = ASSIGNMENTS[0]
    notebook = binder.repository / "course" / name / f"{name}.ipynb"
    where = binder.run("-c", "import flowlib; print(flowlib.__file__)", cwd=notebook.parent)
    assert Path(where.strip()).is_relative_to(binder.environment.packages)
    report = json.loads(binder.run("-m", "coursekit.cli", "check", notebook, "--json", cwd=notebook.parent))
    assert report["problem"] == ""
    tests = [c for c in report["cells"] if c["kind"] == "test"]
    assert tests
    assert [c["id"] for c in tests if c["status"] == "passed"] == []


@pytest.mark.slow
def test_repo2docker_reads_the_recipe(clone: Path, tmp_path: Path) -> None:
    tool = libraries("repo2docker", base_python(), "jupyter-repo2docker==2026.4.0")
    done = subprocess.run(
        [tool.python, "-m", "repo2docker", "--no-build", "--debug", clone],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert "Building conda environment for python=3.12" in said
    # The environment is made before the repository is copied: an edit of a notebook does not make it anew.
    recipe = [
        said.index(line) for line in ("src/environment.yml", '--file "environment.yml"', "RUN ./postBuild")
    ]
    assert recipe == sorted(recipe)
