"""`coursekit check` and `coursekit run`: one notebook, run for its owner."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import nbformat
from typer.testing import CliRunner

import coursekit.notebooks
from coursekit.cli import app
from coursekit.notebooks import NotebookRun, executed, run_notebook
from coursekit.source import notebook_bytes

from .conftest import NAME, SQUARES, answered, cell_of, released


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_points_for_each_test_cell_and_the_text_of_what_failed(course):
    path = course.root / "mine.ipynb"
    before = notebook_bytes(answered(released(course), cube="def cube(x):\n    return 3 * x"))
    path.write_bytes(before)
    result = run("check", path, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["points"], report["max_points"], report["problem"]) == (4, 7, "")
    assert (report["assignment"], len(report["release"])) == (NAME, 12)
    cells = {c["id"]: (c["status"], c["points"], c["report"]) for c in report["cells"]}
    assert cells["cube_of_two"] == ("failed", 0, "AssertionError: the cube of 2 is 8")
    assert cells["training_was_cut"] == ("passed", 1, "")
    assert cells["why"][:2] == ("to grade", None)
    assert path.read_bytes() == before


def test_a_notebook_that_cannot_run_to_its_end_exits_1(course):
    path = course.root / "mine.ipynb"
    path.write_bytes(notebook_bytes(answered(released(course), cube="import os\nos._exit(3)")))
    result = run("check", path)
    assert result.exit_code == 1
    assert "the kernel died in cell 'cube'" in result.output
    assert "3 of 7 points" in result.output


def test_what_is_no_notebook_exits_1_with_one_line(course):
    path = course.root / "mine.ipynb"
    for content, reason in ((b"<html>", "web page"), (b"", "is empty"), (None, "cannot be read")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        result = run("check", path)
        assert result.exit_code == 1
        assert reason in result.output
        assert result.output.count("\n") == 1
        assert reason in json.loads(run("check", path, "--json").stdout)["problem"]


def test_a_graded_cell_without_points_is_named(course):
    nb = released(course)
    del cell_of(nb, "cube_of_two").metadata.nbgrader["points"]
    path = course.root / "mine.ipynb"
    path.write_text(nbformat.writes(nb), encoding="utf-8")
    result = run("check", path)
    assert result.exit_code == 1
    assert "lost its id or its points" in result.output


def test_check_needs_no_nbgrader():
    code = "import sys; sys.modules['nbgrader'] = None\nimport coursekit.cli, coursekit.check"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr


def test_a_source_runs_once_and_its_run_is_kept(course):
    first = run_notebook(course, NAME)
    assert (first.errors, first.over, first.cached) == ((), (), False)
    assert executed(first).cells[2].execution_count == 2
    assert run_notebook(course, NAME) == NotebookRun(**{**vars(first), "cached": True})
    result = run("run", "--report", "costs.json")
    assert result.exit_code == 0
    assert "(kept run)" in result.output
    assert json.loads((course.root / "costs.json").read_text())[0]["assignment"] == NAME


def test_a_source_that_fails_or_costs_too_much_exits_1(course, monkeypatch):
    text = SQUARES.replace("assert cube(2) == 8", "assert cube(2) == 9")
    text += '\n# %% tags="raises-exception"\n1 / 0\n'
    course.text_source(NAME).write_text(text, encoding="utf-8")
    monkeypatch.setattr(coursekit.notebooks, "MEMORY_MB", 0.001)
    result = run("run")
    assert result.exit_code == 1
    assert "cell cube_of_two: AssertionError: the cube of 2 is 8" in result.output
    assert "division" not in result.output
    if sys.platform.startswith("linux"):
        assert "MB, more than 3 ×" in result.output
