"""What this notebook's kernel knows: its assignment, how checks came out, which helps were shown."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autograder_tests import guides
from autograder_tests.report import Outcome, in_notebook
from coursekit import records
from coursekit.records import Record

if TYPE_CHECKING:
    from autograder_tests.check import Check

__all__ = ["HINTS", "Session", "assignment_of", "current", "live", "note", "outcomes"]

# Grading sets this variable to 0 where the student's code runs: it finds the hints itself, outside.
HINTS = "AUTOGRADER_HINTS"


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # somebody has removed it: nothing will be kept
        return os.curdir


@dataclass
class Session:
    """One kernel's memory. `assignment` and `release` are those of the notebook, once its first cell has run.

    `folder` is the working folder before any cell could change it: where the notebook lies.
    """

    assignment: str | None = None
    release: str = ""
    folder: str = field(default_factory=_working_folder)
    outcomes: dict[tuple[str, str], Record] = field(default_factory=dict)  # (assignment, check id) → latest
    shown: dict[tuple[str, str], int] = field(default_factory=dict)  # (assignment, exercise) → helps shown
    asked: set[tuple[str, str]] = field(default_factory=set)  # solutions that were asked for once


current = Session()


def live() -> bool:
    """Whether a person works in this kernel: a notebook, and nobody grades it."""
    graded = os.environ.get(HINTS) == "0" or os.environ.get("NBGRADER_EXECUTION") == "autograde"
    return in_notebook() and not graded


def note(check: Check, outcome: Outcome) -> None:
    """Remember how a visible check came out, here and on disk; nothing while a notebook is graded."""
    assignment = assignment_of(check)
    if assignment is None or outcome.hidden or not live():
        return
    guide = guides.load(assignment)
    entry = next((c for e in guide.exercises for c in e.checks if c.id == check.id), None) if guide else None
    if guide is None or entry is None:
        return
    current.assignment = current.assignment or assignment
    most = entry.points
    release = current.release if current.assignment == assignment else ""
    record = Record(
        check.id, outcome.status, most if outcome.passed else 0, most, records.now(), release or guide.release
    )
    current.outcomes[assignment, check.id] = record
    if records.switched_on():
        records.keep(guide.course, assignment, [record], folder=current.folder)


def outcomes(guide: guides.Guide) -> dict[str, Record]:
    """Check id → how it came out last, in this kernel or another."""
    found = {}
    if records.switched_on():
        found = records.kept(guide.course, guide.assignment, folder=current.folder)
    for (assignment, check), record in current.outcomes.items():
        if assignment == guide.assignment and (check not in found or found[check].time <= record.time):
            found[check] = record
    return found


def assignment_of(check: Check) -> str | None:
    """The assignment whose module of checks it stands in."""
    module: Any = sys.modules.get(check.function.__module__)
    return getattr(module, "ASSIGNMENT", None)
