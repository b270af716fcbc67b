"""The class graded by `otter run`, as otter-grader's documentation tells: a command for each notebook, in this environment.

What otter needs is made from the same assignment: a test file in its OK format for each test cell, which calls the same
checks for the same points, packed by `otter generate`. In the students' notebooks `grader.check("…")` stands where nbgrader's
test cell was. As with nbgrader every cell runs, in a new kernel.

What is not the same work: `otter run` isolates nothing. The student's code runs as whoever grades, with network and files, and
the grader unpickles what it has written. (`otter grade` runs the same in a docker container for each submission.) Where the
first test of a cell fails the hidden one runs too, and there is no gradebook to be written.
"""

from __future__ import annotations

import json
import os
import pprint
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat

from benchmarks.grading.classes import Paper, Submission, TestCell
from benchmarks.grading.meter import Metered, metered
from coursekit.course import atomic_write
from coursekit.regions import HIDDEN_TESTS, inside, marked_lines
from coursekit.source import notebook_bytes

__all__ = ["as_otter", "grade", "installed", "ok_file", "points_of", "start_seconds", "write_class"]

_START = "import otter\n\ngrader = otter.Notebook()"
_END = "grader.export(pdf=False)"
_AUTOGRADER = "autograder.zip"
_COMMAND = str(Path(sys.executable).parent / "otter")


def installed() -> bool:
    """Whether the command is there: otter-grader is one of the extra `peers`."""
    return Path(_COMMAND).is_file()


def ok_file(name: str, test: TestCell) -> str:
    """A test cell as a file in otter's OK format: what students see is one case, the hidden tests another; both must hold.

    What a check prints is no part of its verdict; a doctest would compare it.

    >>> text = ok_file("is_one", TestCell("one", 2.0, "assert one() == 1"))
    >>> found = {}
    >>> exec(text, found)
    >>> found["test"]["points"], [case["hidden"] for case in found["test"]["suites"][0]["cases"]]
    (2.0, [False])
    >>> found["test"]["suites"][0]["cases"][0]["code"].splitlines()[-1]
    '...     assert one() == 1'
    """
    visible = [line for _, line, kind in marked_lines(test.source) if kind is None]
    groups = [(False, visible), (True, inside(test.source, HIDDEN_TESTS))]
    cases = [
        {"code": _doctest(lines), "hidden": hidden, "locked": False}
        for hidden, lines in groups
        if any(line.strip() for line in lines)
    ]
    suite = {"cases": cases, "scored": True, "setup": "", "teardown": "", "type": "doctest"}
    spec = {"name": name, "points": test.points, "all_or_nothing": True, "suites": [suite]}
    return f"OK_FORMAT = True\n\ntest = {pprint.pformat(spec, sort_dicts=False)}\n"


def _doctest(lines: Iterable[str]) -> str:
    head = [">>> import contextlib, io", ">>> with contextlib.redirect_stdout(io.StringIO()):"]
    return "\n".join([*head, *[f"...     {line}" for line in lines]])


def as_otter(notebook: bytes, paper: Paper) -> bytes:
    """A student's notebook with otter's cells: the start, `grader.check` for each test cell, the export at the end."""
    nb = nbformat.reads(notebook.decode(), as_version=4)
    for cell in nb.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id in paper.tests:
            cell.source = f'grader.check("{grade_id}")'
    start, end = (
        nbformat.v4.new_code_cell(_START, id="otter-start"),
        nbformat.v4.new_code_cell(_END, id="otter-end"),
    )
    nb.cells = [*nb.cells[:1], start, *nb.cells[1:], end]
    return notebook_bytes(nb)


def write_class(
    folder: Path, paper: Paper, submissions: Iterable[Submission], env: Mapping[str, str]
) -> None:
    """Write the submissions as otter's, the tests, and `autograder.zip` by `otter generate`; none of it is timed."""
    for s in submissions:
        atomic_write(_notebook(folder, s.student), as_otter(paper.filled(s.answers), paper))
    for name, test in paper.tests.items():
        atomic_write(folder / "tests" / f"{name}.py", ok_file(name, test).encode())
    command = [_COMMAND, "generate", "--tests-dir", "tests", "--output-path", _AUTOGRADER]
    # The files that would be taken from the working folder are those of a container's image.
    command += ["--no-config", "--no-requirements", "--no-environment"]
    subprocess.run(command, cwd=folder, env={**os.environ, **env}, check=True, capture_output=True)


def grade(folder: Path, student: str, env: Mapping[str, str]) -> dict[str, Any]:
    """One submission of a class that `write_class` wrote, by `otter run`; its costs."""
    notebook = _notebook(folder, student)
    results = _results(folder, student)
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    command = [_COMMAND, "run", str(notebook), "--autograder", _AUTOGRADER, "--no-logo"]
    run = _metered([*command, "--output-dir", str(results.parent)], folder, env)
    return {
        **run.cost(),
        "submissions": 1,
        "workers": 1,
        "seconds": {} if run.interrupted else {student: round(run.wall, 3)},
    }


def start_seconds(folder: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """What the command takes before it has done anything: `otter run --help`."""
    return _metered([_COMMAND, "run", "--help"], folder, env).cost()


def _metered(command: list[str], folder: Path, env: Mapping[str, str]) -> Metered:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # An instructor's own configuration of Jupyter is not the course's.
    env = {**env, "PATH": path, "JUPYTER_CONFIG_DIR": str(folder / ".jupyter")}
    return metered(command, cwd=folder, env=env, role=_role)


def _role(lines: list[list[str]]) -> str:
    return "kernels" if any("ipykernel_launcher" in line for line in lines) else "otter"


def points_of(folder: Path, student: str) -> dict[str, float]:
    """Test cell → points, from the `results.json` that `otter run` has written.

    Raises:
        ValueError: otter has not got to any test: it says why.
    """
    rows = json.loads(_results(folder, student).read_text(encoding="utf-8"))["tests"]
    if not any("max_score" in row for row in rows):
        raise ValueError(f"{student}: expected scores of otter, got {[row.get('output') for row in rows]}")
    return {row["name"]: float(row["score"]) for row in rows if "max_score" in row}


def _notebook(folder: Path, student: str) -> Path:
    return folder / "submitted" / f"{student}.ipynb"


def _results(folder: Path, student: str) -> Path:
    return folder / "results" / student / "results.json"
