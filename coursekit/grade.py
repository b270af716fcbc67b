"""Grade a class: what was handed in and has changed; write gradebook, notebooks, feedback and a table.

Everything stands in the class folder: `submitted/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb` is read;
`gradebook.db`, `autograded/`, `feedback/`, `scores/ASSIGNMENT.csv`, `results/ASSIGNMENT/STUDENT.json` and
`releases/` are written.

`coursekit grade --json` prints a list of `{assignment, submissions}`; a submission has

    student, status, message    status is graded, stopped, not graded (0 points) or error (not in the gradebook)
    points, max_points, needs_manual    from the gradebook, scores given by hand included
    release, flags              what it was graded by, and what a grader may want to look at
    seconds, peak_mb, reused    of the run; reused when the kept result was taken
    feedback                    path of the page, or null
    cells                       a list of {id, kind, status, points, max_points, report}

of which an error has the first three alone.
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.execute import Limits
from coursekit.feedback import FeedbackWriter
from coursekit.gradebook import GradebookWriter, Standing
from coursekit.grading import Bundle, Result, grade_submission, refuse
from coursekit.releases import bundle_of
from coursekit.submission import MAX_BYTES

__all__ = ["Graded", "grade_assignment", "students_of"]


@dataclass(frozen=True)
class Graded:
    """One student's submission after grading. `result` is None when grading itself failed; `message` says why."""

    student: str
    result: Result | None
    standing: Standing | None
    message: str
    reused: bool
    feedback: Path | None

    @property
    def status(self) -> str:
        """`graded`, `stopped`, `not graded` (0 points) or `error` (not in the gradebook)."""
        return self.result.status if self.result else "error"

    def to_json(self) -> dict[str, Any]:
        """As plain data; paths as text, the notebook left out."""
        row: dict[str, Any] = {"student": self.student, "status": self.status, "message": self.message}
        if self.result and self.standing:
            row |= {
                "points": self.standing.points,
                "max_points": self.standing.max_points,
                "needs_manual": self.standing.needs_manual,
                "release": self.result.release,
                "flags": list(self.result.flags),
                "seconds": self.result.seconds,
                "peak_mb": self.result.peak_mb,
                "reused": self.reused,
                "feedback": str(self.feedback) if self.feedback else None,
                "cells": [vars(c) for c in self.result.cells],
            }
        return row


def students_of(class_dir: Path, assignment: str) -> list[str]:
    """The students who handed in something for `assignment`, sorted.

    Raises:
        CourseError: when the class has no folder `submitted`.
    """
    folder = class_dir / "submitted"
    if not folder.is_dir():
        raise CourseError(f"no submissions: {folder} is not there")
    names = sorted(e.name for e in os.scandir(folder) if not e.name.startswith("."))
    return [n for n in names if os.path.lexists(folder / n / assignment)]


def grade_assignment(
    course: Course,
    class_dir: Path,
    name: str,
    *,
    students: Sequence[str] = (),
    limits: Limits | None = None,
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda student, done, total: None,
) -> list[Graded]:
    """Grade the submissions of assignment `name`, or of some students; a broken one stops no other.

    A submission that has not changed since it was graded is not run again unless `force`.

    Raises:
        CourseError: when there is nothing to grade, or the source, a release or the gradebook is unusable.
    """
    found = students_of(class_dir, name)
    absent = sorted(set(students) - set(found))
    if absent:
        raise CourseError(f"{', '.join(absent)} handed in nothing for {name}")
    chosen = [s for s in found if not students or s in students]
    if not chosen:
        raise CourseError(f"nobody handed in {name}: no {class_dir / 'submitted'}/STUDENT/{name}")
    bundle = bundle_of(course, class_dir, name, limits or Limits())
    db_url = f"sqlite:///{class_dir / 'gradebook.db'}"
    graded: list[Graded] = []
    with GradebookWriter(db_url, course.course_id) as writer:
        writer.register(name, bundle.templates[bundle.current])
        batch = _Batch(class_dir, bundle, writer, FeedbackWriter(course, class_dir, db_url), force)
        for number, student in enumerate(chosen):
            progress(student, number, len(chosen))
            graded.append(batch.grade(student))
        progress("", len(chosen), len(chosen))
        _write_scores(class_dir, name, writer)
    return graded


class _Batch:
    """What the submissions of one run share."""

    def __init__(
        self, class_dir: Path, bundle: Bundle, writer: GradebookWriter, feedback: FeedbackWriter, force: bool
    ) -> None:
        self.class_dir, self.bundle, self.writer = class_dir, bundle, writer
        self.feedback, self.force = feedback, force
        template = nbformat.reads(bundle.templates[bundle.current], as_version=4)
        self.known = {c.metadata.nbgrader.grade_id for c in template.cells if "nbgrader" in c.metadata}

    def grade(self, student: str) -> Graded:
        """Grade one submission and write all that comes of it; an error becomes a line of text."""
        try:
            return self._grade(student)
        except Exception as error:  # whatever it is, the others must be graded
            reason = str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
            return Graded(student, None, None, " ".join(reason.split())[:300], False, None)

    def _grade(self, student: str) -> Graded:
        name = self.bundle.assignment
        before = _stored(self.class_dir, name, student)
        data, reason, note = _read(self.class_dir / "submitted" / student, name)
        key = self.bundle.key(data if data is not None else reason.encode())
        reused = before is not None and before.key == key and not self.force
        if before is not None and reused:
            result = before
        elif data is None:
            result = refuse(reason, self.bundle, key)
        else:
            result = grade_submission(data, self.bundle)
        flags = tuple(f for f in (note,) if f and f not in result.flags)
        if flags:
            result = Result(**{**vars(result), "flags": (*flags, *result.flags)})
        changed = before is None or before.key != key
        stamp = _timestamp(self.class_dir / "submitted" / student / name)
        self.writer.apply(student, result, changed=changed and before is not None, timestamp=stamp)
        path = self.class_dir / "autograded" / student / name / f"{name}.ipynb"
        atomic_write(path, result.notebook.encode("utf-8"))
        _store(self.class_dir, student, result)
        page, message = None, result.message
        try:
            page = self.feedback.write(student, result, self.known)
        except Exception as error:  # a page that cannot be made costs no points
            message = f"{message}; no feedback: {type(error).__name__}: {error}".removeprefix("; ")
        return Graded(student, result, self.writer.standing(student, name), message, reused, page)


def _read(folder: Path, name: str) -> tuple[bytes | None, str, str]:
    """The submitted notebook's bytes, or None and why not; and a note for the grader. No link is followed."""
    inner = folder / name
    for link in (folder, inner):
        if link.is_symlink():
            return None, f"{link.name} is a symbolic link, which is not followed", ""
    if not inner.is_dir():
        return None, f"{name} is a file, not a folder", ""
    path, note = inner / f"{name}.ipynb", ""
    if not os.path.lexists(path):
        others = sorted(p for p in inner.glob("*.ipynb") if not p.is_symlink())
        if len(others) != 1:
            return None, f"{name}.ipynb is missing ({len(others)} other notebooks are there)", ""
        path, note = others[0], f"renamed: {others[0].name}"
    if path.is_symlink():
        return None, f"{path.name} is a symbolic link, which is not followed", ""
    try:
        # Between the test and here the file could have become a link, a pipe or a device.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None, f"{path.name} is not a regular file", ""
            return file.read(MAX_BYTES + 1), "", note
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror}", ""


def _timestamp(folder: Path) -> str | None:
    """When it was handed in, from the file that `nbgrader submit` writes."""
    path = folder / "timestamp.txt"
    try:
        return None if path.is_symlink() else path.read_text(encoding="utf-8")[:100].strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _result_path(class_dir: Path, name: str, student: str) -> Path:
    return class_dir / "results" / name / f"{student}.json"


def _store(class_dir: Path, student: str, result: Result) -> None:
    data = json.dumps(result.to_json(), indent=1, ensure_ascii=False, sort_keys=True)
    atomic_write(_result_path(class_dir, result.assignment, student), data.encode("utf-8"))


def _stored(class_dir: Path, name: str, student: str) -> Result | None:
    """The result of an earlier run, None when there is none or it cannot be used."""
    try:
        text = _result_path(class_dir, name, student).read_text(encoding="utf-8")
        return Result.from_json(json.loads(text))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_scores(class_dir: Path, name: str, writer: GradebookWriter) -> None:
    """`scores/ASSIGNMENT.csv`: a row a student, all who were ever graded, with a column a graded cell."""
    rows = []
    for path in sorted((class_dir / "results" / name).glob("*.json")):
        result = _stored(class_dir, name, path.stem)
        if result is not None and writer.has(path.stem, name):
            rows.append((path.stem, result, writer.standing(path.stem, name)))
    # In the notebook's order, then what only another release has.
    known = {c for _, _, standing in rows for c in standing.cells}
    cells = [c for c in dict.fromkeys(c.id for _, result, _ in rows for c in result.cells) if c in known]
    cells += sorted(known - set(cells))
    head = ["student", "status", "points", "max_points", "needs_manual", "release", "flags", "message"]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*head, *cells])
    for student, result, standing in rows:
        summary = [standing.points, standing.max_points, int(standing.needs_manual), result.release]
        notes = [_plain("; ".join(result.flags)), _plain(result.message)]
        points = [standing.cells.get(c, "") for c in cells]
        table.writerow([_plain(student), result.status, *summary, *notes, *points])
    atomic_write(class_dir / "scores" / f"{name}.csv", text.getvalue().encode("utf-8"))


def _plain(text: str) -> str:
    """`text` as a spreadsheet shows it: one that begins like a formula gets a quote before it."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
