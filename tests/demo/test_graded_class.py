"""The class that `make demo` made and graded: did everybody get what they deserve?

Not part of `make test`: run `make demo` first, then `pytest tests/demo`. The class's folder is taken from the variable CLASS.
"""

from __future__ import annotations

import csv
import html
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.course import ASSIGNMENTS, ROOT

LIMITS = ("--cell-seconds", "15")  # as in the Makefile: another limit would be another run
FOLDER = ROOT / os.environ.get("CLASS", "class")
STUDENTS = json.loads((FOLDER / "class.json").read_text(encoding="utf-8")) if FOLDER.exists() else []


@cache
def results() -> dict[tuple[str, str], dict]:
    """(student, assignment) → what grading says; nothing runs again, since nothing changed."""
    coursekit = Path(sys.executable).with_name("coursekit")
    command = [coursekit, "grade", "--all", "--course", FOLDER, "--json", *LIMITS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return {(s["student"], a["assignment"]): s for a in json.loads(done.stdout) for s in a["submissions"]}


def cells(student: dict) -> dict[str, dict]:
    return {c["id"]: c for c in results()[student["student"], student["assignment"]]["cells"]}


def feedback(student: dict) -> str:
    """The feedback page as text: tags taken out, since highlighting splits code into pieces."""
    page = next((FOLDER / "feedback" / student["student"] / student["assignment"]).glob("*.html"))
    text = html.unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))
    return " ".join(text.split())


def test_the_class_has_every_kind_and_every_assignment() -> None:
    assert STUDENTS, f"no class in {FOLDER}: run `make demo` first"
    assert {s["kind"] for s in STUDENTS} == {"perfect", "partial", "blank", "wrong", "crash", "loop", "warns"}
    assert {s["assignment"] for s in STUDENTS} == set(ASSIGNMENTS)


def test_nothing_ran_twice() -> None:
    assert all(r["reused"] for r in results().values())


@pytest.mark.parametrize("student", STUDENTS, ids=lambda s: f"{s['student']}-{s['kind']}")
def test_points_are_as_deserved(student: dict) -> None:
    found = cells(student)
    assert results()[student["student"], student["assignment"]]["status"] == student["status"]
    for test in student["full"]:
        assert found[test]["points"] == found[test]["max_points"], f"{test}: {found[test]['report']}"
    for test in student["zero"]:
        assert found[test]["points"] == 0, test
    if student["some"]:
        assert any(found[t]["points"] < found[t]["max_points"] for t in student["some"])


@pytest.mark.parametrize(
    "student", [s for s in STUDENTS if s["hint"]], ids=lambda s: f"{s['exercise']}.{s['misconception']}"
)
def test_the_hint_is_in_the_feedback(student: dict) -> None:
    assert " ".join(student["hint"].split()) in feedback(student)


@pytest.mark.parametrize("student", STUDENTS, ids=lambda s: s["student"])
def test_feedback_gives_no_hidden_test_away(student: dict) -> None:
    assert not re.search(r"check\.\w+\([^)]*hidden=", feedback(student))
    assert "BEGIN HIDDEN" not in feedback(student)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_scores_are_in_the_table(assignment: str) -> None:
    with (FOLDER / "scores" / f"{assignment}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = {s["student"] for s in STUDENTS if s["assignment"] == assignment}
    assert expected <= {value for row in rows for value in row.values()}
