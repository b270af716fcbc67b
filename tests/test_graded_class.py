"""The class that was graded once gets the same points, verdicts and scores by hand from today's code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from coursekit.class_folder import ClassFolder, database_of
from coursekit.course import Course
from coursekit.grade import Options, grade_assignment
from coursekit.gradebook import GradebookWriter, Standing
from coursekit.isolate.limits import Limits
from tests.course import ROOT
from tests.graded_class import NAMES, unpack

COURSE = Course.find(ROOT)
# What says nothing of a run's speed, nor of which release is today's.
TOLD = ("id", "kind", "status", "points", "max_points", "hidden", "claimed", "hints", "misconceptions")


@pytest.fixture(scope="module")
def class_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("class"))


def standings(class_dir: Path, name: str) -> Mapping[str, Standing]:
    with GradebookWriter(database_of(class_dir, None), COURSE.course_id) as book:
        return book.standings(name)


def told(result: Path) -> dict:
    """What of a kept result must stay: as plain data, so that no class of today's is needed to read it."""
    data = json.loads(result.read_text(encoding="utf-8"))
    cells = [{name: cell[name] for name in TOLD} for cell in data["cells"]]
    return {**{name: data[name] for name in ("status", "message", "release", "unanswered")}, "cells": cells}


@pytest.mark.parametrize("name", NAMES)
def test_kept_results_and_gradebook_are_read(class_dir: Path, name: str) -> None:
    folder, marks = ClassFolder(class_dir, name), standings(class_dir, name)
    students = folder.students()
    assert len(students) == 30
    assert folder.graded() == sorted(marks) == students
    assert len({r.release for s in students if (r := folder.result(s))}) == 2
    results = {s: folder.result(s) for s in students}
    by_hand = [s for s, r in results.items() if r and r.points != marks[s].points]
    assert len(by_hand) > len(students) / 3


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_graded_anew_nothing_has_changed(class_dir: Path, name: str) -> None:
    folder, before = ClassFolder(class_dir, name), standings(class_dir, name)
    kept = {s: told(folder.result_path(s)) for s in folder.students()}
    # Who loops does so until the limit, which is not what is asked here.
    options = Options(Limits(request_seconds=20, run_seconds=600), workers=2, force=True, feedback=False)
    grade_assignment(COURSE, class_dir, name, options)
    assert {s: told(folder.result_path(s)) for s in kept} == kept
    after = standings(class_dir, name)
    assert {s: m.cells for s, m in after.items()} == {s: m.cells for s, m in before.items()}
    assert {s: (m.points, m.max_points) for s, m in after.items()} == {
        s: (m.points, m.max_points) for s, m in before.items()
    }
