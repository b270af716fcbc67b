"""How far its user is with the course: the guides' exercises beside the records of their checks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coursekit import guide_file, records
from coursekit.course import Course
from coursekit.errors import CourseError
from coursekit.guide_file import Guide, parse
from coursekit.records import Record

if TYPE_CHECKING:  # every command imports this module; scoring brings nbclient with it
    from coursekit.score import CellScore

__all__ = ["Assignment", "Exercise", "Step", "keep_scores", "next_step", "standing"]


@dataclass(frozen=True)
class Step:
    """A check of an exercise and how it came out last, None when it was never run."""

    check: str
    title: str
    max_points: float
    record: Record | None = None

    @property
    def passed(self) -> bool:
        return self.record is not None and self.record.passed

    @property
    def status(self) -> str:
        """In a word: passed, not yet, open, not run."""
        if self.record is None:
            return "not run"
        return {"failed": "not yet", "error": "not yet"}.get(self.record.status, self.record.status)


@dataclass(frozen=True)
class Exercise:
    """An exercise with its checks; one without is judged by a person."""

    about: guide_file.Exercise
    steps: tuple[Step, ...]

    @property
    def heading(self) -> str:
        return self.about.heading.replace("$", "")  # formulas in a heading are short: read as they are

    @property
    def done(self) -> bool:
        return all(step.passed for step in self.steps)


@dataclass(frozen=True)
class Assignment:
    """An assignment; `notebook` is its released file."""

    guide: Guide
    notebook: Path
    exercises: tuple[Exercise, ...]

    @property
    def steps(self) -> list[Step]:
        return [step for exercise in self.exercises for step in exercise.steps]

    @property
    def passed(self) -> int:
        """Number of checks that hold."""
        return sum(step.passed for step in self.steps)

    @property
    def points(self) -> float:
        return sum(step.record.points for step in self.steps if step.record)

    @property
    def max_points(self) -> float:
        """What checks give; what a person judges is not in it."""
        return sum(step.max_points for step in self.steps)

    @property
    def older(self) -> int:
        """Number of checks that held in another release of the notebook."""
        return sum(step.passed and step.record.release != self.guide.release for step in self.steps)

    @property
    def started(self) -> bool:
        return any(step.record is not None for step in self.steps)

    @property
    def last(self) -> str:
        """Time of the latest record, "" when there is none."""
        return max((step.record.time for step in self.steps if step.record), default="")


def standing(course: Course) -> list[Assignment]:
    """All assignments of the course, in their order, with what is recorded of each.

    Raises:
        CourseError: when the course has no guides, or one cannot be read.
    """
    if course.guide_dir is None:
        raise CourseError('no progress here: [tool.coursekit] lacks guide = "PACKAGE/guide"')
    paths = sorted(course.guide_dir.glob("*.json"))
    if not paths:
        raise CourseError(f"{course.guide_dir} holds no guide: run coursekit build")
    return [_assignment(course, path) for path in paths]


def next_step(assignments: Iterable[Assignment]) -> tuple[Assignment, Exercise] | None:
    """What to do next: the first open exercise of the assignment worked on last, else of the first that has one.

    None when all checks hold.
    """
    left = [a for a in assignments if a.passed < len(a.steps)]
    if not left:
        return None
    chosen = max(left, key=lambda a: a.last)  # the first of those that have no record at all
    return chosen, next(e for e in chosen.exercises if not e.done)


def keep_scores(about: Mapping[str, Any], scores: Iterable[CellScore], folder: Path) -> bool:
    """Record how the test cells of a notebook came out; False when nothing could be kept.

    Args:
        about: the notebook's `coursekit` metadata: course, assignment, release. Anybody may have written them.
        scores: of its cells; what did not run is passed over.
        folder: where the notebook lies.
    """
    course, assignment, release = (about.get(key) for key in ("course", "assignment", "release"))
    if not records.switched_on() or not all(isinstance(v, str) and v for v in (course, assignment, release)):
        return False
    statuses = {"passed": "passed", "partial": "failed", "failed": "failed", "open": "open"}
    time = records.now()
    found = [
        Record(s.id, statuses[s.status], s.points or 0.0, s.max_points, time, release)
        for s in scores
        if s.kind == "test" and s.status in statuses
    ]
    return records.keep(course, assignment, found, folder=folder)


def _assignment(course: Course, path: Path) -> Assignment:
    try:
        guide = parse(path.read_bytes())
    except OSError as error:
        raise CourseError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CourseError(f"{path} is {error}: run coursekit build") from error
    kept = records.kept(guide.course, guide.assignment, folder=course.root)
    exercises = tuple(
        Exercise(e, tuple(Step(c.id, c.title, c.points, kept.get(c.id)) for c in e.checks))
        for e in guide.exercises
    )
    return Assignment(guide, course.root / guide.notebook, exercises)
