"""The files of a class: what students have handed in, and what grading keeps of it.

submitted/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb    read, never written
results/STUDENT/ASSIGNMENT.json                  the result, `coursekit.grading.Result` as JSON
autograded/STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb   the graded notebook, where nbgrader looks for it
scores/ASSIGNMENT.csv                            a row a student
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursekit.course import atomic_write
from coursekit.errors import CourseError
from coursekit.gradebook import Standing
from coursekit.grading import Result
from coursekit.spreadsheet import csv_text
from coursekit.submission import MAX_BYTES

__all__ = ["ClassFolder", "HandedIn", "database_of", "gradebook_file", "keep_out_of_git"]


def gradebook_file(class_dir: Path) -> Path:
    """The class's gradebook, where it is not another database."""
    return class_dir / "gradebook.db"


def database_of(class_dir: Path, db: str | None) -> str:
    """Address of a class's gradebook: `db`, or the file in its folder."""
    return db or f"sqlite:///{gradebook_file(class_dir)}"


def keep_out_of_git(class_dir: Path, course_root: Path) -> None:
    """Make git, and what follows it, pass over a class in the course's own repository: students' work is nobody else's.

    A class outside of it may be kept in a repository of its own; in the course's root `.gitignore` names the folders.
    """
    class_dir, course_root = class_dir.resolve(), course_root.resolve()
    if class_dir != course_root and class_dir.is_relative_to(course_root):
        atomic_write(class_dir / ".gitignore", b"*\n")


@dataclass(frozen=True)
class HandedIn:
    """What a student has handed in: `data`, or None and the `reason` why it cannot be read; `note` is for the grader."""

    data: bytes | None
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class ClassFolder:
    """The files of one assignment of a class."""

    root: Path
    assignment: str

    def students(self) -> list[str]:
        """Who has handed in something, sorted.

        Raises:
            CourseError: when the class has no folder `submitted`.
        """
        folder = self.root / "submitted"
        if not folder.is_dir():
            raise CourseError(f"no submissions: {folder} is not there")
        names = sorted(e.name for e in os.scandir(folder) if not e.name.startswith("."))
        return [n for n in names if os.path.lexists(folder / n / self.assignment)]

    def check_writable(self) -> None:
        """Raises OSError when nothing can be written: better before the first submission has been run than after it."""
        for place in ("results", "autograded", "scores"):
            probe = self.root / place / ".probe"
            atomic_write(probe, b"1")
            probe.unlink(missing_ok=True)

    def read(self, student: str) -> HandedIn:
        """The submitted notebook's bytes, or why there are none. No link is followed."""
        folder = self.root / "submitted" / student
        inner, name = folder / self.assignment, self.assignment
        for link in (folder, inner):
            if link.is_symlink():
                return HandedIn(None, f"{link.name} is a symbolic link, which is not followed")
        if not inner.is_dir():
            return HandedIn(None, f"{name} is a file, not a folder")
        path, note = inner / f"{name}.ipynb", ""
        if not os.path.lexists(path):
            others = sorted(p for p in inner.glob("*.ipynb") if not p.is_symlink())
            if len(others) != 1:
                return HandedIn(None, f"{name}.ipynb is missing ({len(others)} other notebooks are there)")
            path, note = others[0], f"renamed: {others[0].name}"
        if path.is_symlink():
            return HandedIn(None, f"{path.name} is a symbolic link, which is not followed")
        try:
            # Between the test and here the file could have become a link, a pipe or a device.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(handle, "rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode):
                    return HandedIn(None, f"{path.name} is not a regular file")
                if about.st_size > MAX_BYTES:
                    size, most = about.st_size / 1e6, MAX_BYTES / 1e6
                    return HandedIn(None, f"the file has {size:.0f} MB, more than {most:.0f} MB")
                return HandedIn(file.read(MAX_BYTES + 1), "", note)
        except OSError as error:
            return HandedIn(None, f"{path.name} cannot be read: {error.strerror}")

    def timestamp(self, student: str) -> str | None:
        """When it was handed in, from the file that `nbgrader submit` writes."""
        try:
            return self._receipt(student, "timestamp.txt").decode("utf-8").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def receipts(self, student: str) -> dict[str, bytes]:
        """The two files that `nbgrader submit` puts beside a notebook, by name: `nbgrader release_feedback` asks for them."""
        found = {}
        for name in ("timestamp.txt", "submission_secret.txt"):
            with suppress(OSError):
                found[name] = self._receipt(student, name)
        return found

    def _receipt(self, student: str, name: str) -> bytes:
        """The start of a small file; OSError where it is not a regular one, since no link is followed."""
        path = self.root / "submitted" / student / self.assignment / name
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(f"{name} is not a regular file")
            return file.read(1000)

    def result(self, student: str) -> Result | None:
        """The result of an earlier run, None when there is none or it cannot be used."""
        try:
            return Result.from_json(json.loads(self.result_path(student).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep(self, student: str, result: Result) -> None:
        """Keep a result."""
        data = json.dumps(result.to_json(), indent=1, ensure_ascii=False, sort_keys=True)
        atomic_write(self.result_path(student), data.encode("utf-8"))

    def keep_notebook(self, student: str, result: Result) -> None:
        """Put the graded notebook where nbgrader looks for it."""
        path = self.root / "autograded" / student / self.assignment / f"{self.assignment}.ipynb"
        atomic_write(path, result.notebook.encode("utf-8"))

    def graded(self) -> list[str]:
        """Students with a kept result, sorted. No link to a folder is followed."""
        results = self.root / "results"
        if not results.is_dir():
            return []
        with os.scandir(results) as found:
            students = sorted(e.name for e in found if e.is_dir(follow_symlinks=False))
        return [s for s in students if os.path.lexists(self.result_path(s))]

    def write_scores(self, standings: Mapping[str, Standing]) -> Path:
        """`scores/ASSIGNMENT.csv`: a row for every student who was ever graded, a column for every graded cell."""
        rows = [
            (student, result, standings[student])
            for student in self.graded()
            if student in standings and (result := self.result(student)) is not None
        ]
        # In the notebook's order, then what only another release has.
        known = {c for _, _, standing in rows for c in standing.cells}
        cells = [c for c in dict.fromkeys(c.id for _, result, _ in rows for c in result.cells) if c in known]
        cells += sorted(known - set(cells))
        head = ["student", "status", "points", "max_points", "needs_manual", "release", "flags", "message"]
        table: list[list[Any]] = [[*head, *cells]]
        for student, result, standing in rows:
            summary = [standing.points, standing.max_points, int(standing.needs_manual), result.release]
            notes = ["; ".join(result.flags), result.message]
            points = [standing.cells.get(c, "") for c in cells]
            table.append([student, result.status, *summary, *notes, *points])
        path = self.root / "scores" / f"{self.assignment}.csv"
        atomic_write(path, csv_text(table).encode("utf-8"))
        return path

    def result_path(self, student: str) -> Path:
        """Where a student's result is kept."""
        return self.root / "results" / student / f"{self.assignment}.json"
