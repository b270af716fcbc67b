"""Notebooks as files and as runs: releases fail by NotImplementedError alone and give nothing away."""

from __future__ import annotations

import copy
import json
import re

import nbformat
import pytest

from coursekit import build
from coursekit.course import Course
from coursekit.execute import Limits, execute
from tests.course import ASSIGNMENTS, ROOT

COURSE = Course.find(ROOT)
each = pytest.mark.parametrize("assignment", ASSIGNMENTS)
# To run a notebook takes up to half a minute: the other releases are for `make test-slow`, all solutions for `make notebooks`.
QUICK = 1


def errors(nb: nbformat.NotebookNode) -> list[tuple[str, str, str]]:
    """(grade id or source, name of the error, its message) of every cell that raised."""
    return [
        (cell.metadata.get("nbgrader", {}).get("grade_id", cell.source), output.ename, output.evalue)
        for cell in nb.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]


def run(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook executed as in grading: training cut, errors allowed."""
    done = execute(
        copy.deepcopy(nb), limits=Limits(cell_seconds=180, notebook_seconds=600), env=COURSE.training_cut
    )
    assert not done.problem, done.problem
    return done.notebook


@pytest.mark.parametrize(
    "assignment",
    [*ASSIGNMENTS[:QUICK], *(pytest.param(n, marks=pytest.mark.slow) for n in ASSIGNMENTS[QUICK:])],
)
def test_a_release_fails_by_not_implemented_alone(assignment: str) -> None:
    release = nbformat.read(COURSE.release_notebook(assignment), 4)
    tests = {c.metadata.nbgrader.grade_id for c in release.cells if _is_test(c)}
    found = errors(run(release))
    assert {i for i, _, _ in found} == tests
    assert {name for _, name, _ in found} == {"NotImplementedError"}


@each
def test_building_again_gives_the_same_bytes(assignment: str) -> None:
    one, two = build.build(COURSE, assignment), build.build(COURSE, assignment)
    assert one.files == two.files
    assert build.stale(one) == []


@each
def test_a_release_holds_no_solution_and_no_hidden_test(assignment: str) -> None:
    text = COURSE.release_notebook(assignment).read_text(encoding="utf-8")
    for word in ("BEGIN SOLUTION", "END SOLUTION", "HIDDEN", "MARK SCHEME"):
        assert word not in text, f"{word!r} stands in the release"
    assert not re.search(r"check\.\w+\([^)]*hidden=", text)
    release = json.loads(text)
    assert all(not c.get("outputs") for c in release["cells"])


def _is_test(cell: nbformat.NotebookNode) -> bool:
    meta = cell.metadata.get("nbgrader", {})
    return bool(meta.get("grade") and meta.get("locked") and not meta.get("solution"))
