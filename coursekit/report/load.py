"""Read what grading left of an assignment: results, scores and the code of the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coursekit.class_folder import ClassFolder
from coursekit.errors import CourseError
from coursekit.gradebook import Standing
from coursekit.grading import Result
from coursekit.score import CellScore

__all__ = ["OWN_CELLS", "ClassResults", "Entry", "load_results"]

# The name under which code stands that a student wrote outside of the answers.
OWN_CELLS = "cells of their own"


@dataclass(frozen=True)
class Entry:
    """One student's graded submission.

    `answers` has the code by exercise (the answer cell's grade id; `OWN_CELLS` for added and edited cells);
    answers left as released are not in it. The result's notebook is dropped: a class of them is large.
    `standing` is None when the gradebook does not have the submission.
    """

    student: str
    result: Result
    standing: Standing | None
    answers: Mapping[str, str]

    @property
    def was_run(self) -> bool:
        """The notebook ran, if only in part: it was not refused."""
        return self.result.status != "not graded"

    @property
    def points(self) -> float:
        """Points by now, scores given by hand included."""
        return self.standing.points if self.standing else self.result.points

    @property
    def max_points(self) -> float:
        """Points that could be had."""
        return self.standing.max_points if self.standing else self.result.max_points

    @property
    def needs_manual(self) -> bool:
        """A person has yet to give points."""
        if self.standing:
            return self.standing.needs_manual
        return any(c.status == "to grade" for c in self.result.cells)

    def tests(self) -> tuple[CellScore, ...]:
        """Scores of the test cells."""
        return tuple(c for c in self.result.cells if c.kind == "test")


@dataclass(frozen=True)
class ClassResults:
    """All results of an assignment, by student; `unreadable` are (student, reason)."""

    assignment: str
    entries: tuple[Entry, ...]
    unreadable: tuple[tuple[str, str], ...]

    @property
    def ran(self) -> tuple[Entry, ...]:
        """The submissions that were not refused."""
        return tuple(e for e in self.entries if e.was_run)


def load_results(class_dir: Path, assignment: str, standings: Mapping[str, Standing]) -> ClassResults:
    """Read `results/STUDENT/ASSIGNMENT.json` of every student. No link is followed.

    Raises:
        CourseError: when there is no class folder, or nothing of the assignment is graded.
    """
    if not class_dir.is_dir():
        raise CourseError(f"no class folder: {class_dir} is not there")
    folder = ClassFolder(class_dir, assignment)
    entries: list[Entry] = []
    unreadable: list[tuple[str, str]] = []
    for student in folder.graded():
        try:
            result = _result(folder.result_path(student), assignment)
            answers = _answers(result)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            unreadable.append((student, " ".join(f"{type(error).__name__}: {error}".split())[:200]))
            continue
        entries.append(Entry(student, replace(result, notebook=""), standings.get(student), answers))
    if not entries and not unreadable:
        raise CourseError(f"nothing of {assignment} is graded: no {folder.result_path('STUDENT')}")
    return ClassResults(assignment, tuple(entries), tuple(unreadable))


def _result(path: Path, assignment: str) -> Result:
    if path.is_symlink():
        raise ValueError("a symbolic link, which is not followed")
    result = Result.from_json(json.loads(path.read_text(encoding="utf-8")))
    if result.assignment != assignment:
        raise ValueError(f"a result of {result.assignment!r}")
    return result


def _answers(result: Result) -> dict[str, str]:
    """Code by exercise, from the graded notebook."""
    answers: dict[str, str] = {}
    own: list[str] = []
    for cell in json.loads(result.notebook)["cells"]:
        if cell["cell_type"] != "code":
            continue
        source = _text(cell["source"])
        meta = cell.get("metadata", {}).get("nbgrader")
        if meta is None:
            own.append(source)
        elif meta["solution"] and meta["grade_id"] not in result.unanswered:
            answers[meta["grade_id"]] = source
    if own:
        answers[OWN_CELLS] = "\n\n".join(own)
    return answers


def _text(source: Any) -> str:
    return "".join(source) if isinstance(source, list) else str(source)
