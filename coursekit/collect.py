"""Bring what a learning management system gives, a zip or a folder, into `submitted/STUDENT/ASSIGNMENT/`.

What is there already is kept unless it is to be replaced. A roster is a CSV file that says which student an id of
the LMS means: with columns `student` and `lms_id`, or Canvas's gradebook export, or Moodle's grading worksheet.
"""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from coursekit.archive import Entry, RefusedError, open_archive
from coursekit.class_folder import keep_out_of_git
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.layouts import LAYOUTS, Handed, guess_layout, plain_folder_name, reader_of

__all__ = ["Collected", "Note", "collect", "read_roster"]

MOODLE_ID = "Identifier"
# Columns for the student's id in the class, and the column for the id in the LMS.
ROSTERS = (
    (("student",), "lms_id"),
    (("SIS Login ID", "SIS User ID"), "ID"),
    (("Username", "ID number", "Email address"), MOODLE_ID),
)
_JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints", "timestamp.txt"}
# What browsers and Canvas add to the name of a file that is there already.
_COPY = re.compile(r"(?: ?\(\d{1,4}\)|-\d{1,4})$")
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Note:
    """What became of one entry.

    `kind` is `collected`, `replaced`, `unchanged`, `kept` (another notebook stands there and stays), `older`
    (the student has a later one), `ignored` (no notebook of this assignment) or `refused`.
    """

    kind: str
    entry: str
    student: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """One line that can be printed, whatever the entry is called."""
        whose = f" ({self.student})" if self.student else ""
        why = f": {self.reason}" if self.reason else ""
        return _shown(f"{self.kind}: {_short(self.entry)}{whose}{why}")


@dataclass(frozen=True)
class Collected:
    """The layout that an archive has, or was said to have, and a note for each of its entries."""

    layout: str
    notes: tuple[Note, ...]

    def number(self, kind: str) -> int:
        """How many notes are of `kind`."""
        return Counter(note.kind for note in self.notes)[kind]


@dataclass(frozen=True)
class _Candidate:
    entry: Entry
    handed: Handed
    student: str


def collect(
    course: Course,
    class_dir: Path,
    name: str,
    archive: Path,
    *,
    layout: str = "auto",
    roster: Mapping[str, str] | None = None,
    replace: bool = False,
) -> Collected:
    """Put each student's latest notebook of assignment `name` into the class; one bad entry stops no other.

    `roster` maps ids of the LMS, or names of folders, to students.

    Raises:
        CourseError: when the archive cannot be read as a whole, the layout is unknown, or writing fails.
    """
    if layout not in ("auto", *LAYOUTS):
        raise CourseError(f"expected a layout of {', '.join(('auto', *LAYOUTS))}, got {layout!r}")
    with open_archive(archive) as entries:
        entries = [e for e in entries if not _is_junk(e.name)]
        names = [e.name for e in entries if _is_notebook(e) and not e.problem]
        chosen = guess_layout(names) if layout == "auto" else layout
        whose = reader_of(chosen, _wrappers(names, archive))
        others = {n for n in course.assignments() if n != name}
        notes: list[Note] = []
        by_student: dict[str, list[_Candidate]] = {}
        for entry in entries:
            found = _candidate(entry, whose, roster, others)
            if isinstance(found, Note):
                notes.append(found)
            else:
                by_student.setdefault(found.student, []).append(found)
        if by_student:
            keep_out_of_git(class_dir, course.root)
        for student, candidates in sorted(by_student.items()):
            place = _Place(class_dir, student, name)
            # The time of the download, which Canvas and Moodle stamp, would make everybody late.
            notes += _take(place, _ordered(candidates, name), dated=chosen == "folders", replace=replace)
    return Collected(chosen, tuple(notes))


def read_roster(path: Path) -> dict[str, str]:
    """Ids in the LMS → students, from a CSV file.

    Raises:
        CourseError: when it cannot be read, has none of the known columns, or names somebody twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            students, lms = _columns(path, rows.fieldnames or ())
            found: dict[str, str] = {}
            owner: dict[str, str] = {}
            for row in rows:
                key = _lms_id(row.get(lms) or "", worksheet=lms == MOODLE_ID)
                student = next((row[c].strip() for c in students if (row.get(c) or "").strip()), "")
                if not key or not student:  # such as Canvas's row of points
                    continue
                try:
                    student = plain_folder_name(student)
                except ValueError as error:
                    raise CourseError(f"{path}:{rows.line_num}: the student {student!r} {error}") from error
                if owner.setdefault(student, key) != key or found.get(key, student) != student:
                    raise CourseError(f"{path}:{rows.line_num}: {key!r} or {student!r} stands there twice")
                found[key] = student
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"{path}: cannot be read: {error}") from error
    if not found:
        raise CourseError(f"{path}: no row has both {lms!r} and {' or '.join(map(repr, students))}")
    return found


def _columns(path: Path, names: Sequence[str]) -> tuple[list[str], str]:
    for students, lms in ROSTERS:
        present = [c for c in students if c in names]
        if lms in names and present:
            return present, lms
    known = "; ".join(f"{lms} and {' or '.join(students)}" for students, lms in ROSTERS)
    raise CourseError(f"{path}: expected columns {known}; got {', '.join(names) or 'none'}")


def _lms_id(text: str, *, worksheet: bool) -> str:
    """The id as an entry's name has it: of Moodle's "Participant 123", in any language, the number."""
    text = unicodedata.normalize("NFC", text.strip())
    return text.split()[-1] if worksheet and text else text


def _is_notebook(entry: Entry) -> bool:
    return entry.name.lower().endswith(".ipynb")


def _is_junk(name: str) -> bool:
    """What systems and editors leave in folders by themselves."""
    parts = name.split("/")
    return bool(_JUNK & set(parts)) or parts[-1].startswith("._")


def _wrappers(names: list[str], archive: Path) -> list[str]:
    """Folders that may stand around all students' folders: nbgrader's, and the one that was zipped."""
    return [w for w in ("submitted", archive.stem) if all(name.startswith(f"{w}/") for name in names)]


def _candidate(
    entry: Entry,
    whose: Callable[[str], Handed | None],
    roster: Mapping[str, str] | None,
    others: set[str],
) -> _Candidate | Note:
    if not _is_notebook(entry):
        reason = (
            "is a zip in the zip, which is not opened"
            if entry.name.lower().endswith(".zip")
            else "is no notebook"
        )
        return Note("ignored", entry.name, reason=entry.problem or reason)
    if entry.problem:
        return Note("refused", entry.name, reason=entry.problem)
    handed = whose(entry.name)
    if handed is None:
        return Note("refused", entry.name, reason="its name does not tell whose it is")
    student = handed.student
    if roster is not None:
        if student not in roster:
            return Note("refused", entry.name, reason=f"the roster does not name {student!r}")
        student = roster[student]
    try:
        student = plain_folder_name(student)
    except ValueError as error:
        return Note("refused", entry.name, reason=f"the student's id {student!r} {error}")
    if others & (_stems(handed.original) | set(handed.folders)):
        return Note("ignored", entry.name, student, "belongs to another assignment")
    return _Candidate(entry, handed, student)


def _stems(file: str) -> set[str]:
    stem = PurePosixPath(file).stem
    return {stem, _COPY.sub("", stem)}


def _ordered(candidates: list[_Candidate], name: str) -> list[_Candidate]:
    """Newest first; a notebook called as the assignment comes before all that are not."""

    def rank(c: _Candidate) -> tuple[bool, tuple[int, int], datetime]:
        called = name in _stems(c.handed.original) or name in c.handed.folders
        return called, c.handed.version, c.entry.time or _NEVER

    # Of two alike the later in the archive counts: sorting keeps their order.
    latest_first = candidates[::-1]
    return sorted(latest_first, key=rank, reverse=True)


def _take(place: _Place, candidates: list[_Candidate], *, dated: bool, replace: bool) -> list[Note]:
    """Put the first candidate that can be read in its place; a note for each."""
    notes: list[Note] = []
    taken = ""
    for c in candidates:
        entry, student = c.entry, c.student
        if taken:
            notes.append(Note("older", entry.name, student, f"{taken!r} was taken"))
            continue
        try:
            data = entry.read()
            kind, reason = place.put(data, entry.time if dated else None, replace=replace)
        except RefusedError as error:
            notes.append(Note("refused", entry.name, student, str(error)))
            continue
        taken = _short(entry.name)
        reasons = [r for r in (reason, "late" if c.handed.late else "") if r]
        notes.append(Note(kind, entry.name, student, ", ".join(reasons)))
    return notes


class _Place:
    """Where the notebook of one student and assignment stands in a class."""

    def __init__(self, class_dir: Path, student: str, name: str) -> None:
        self.folder = class_dir / "submitted" / student / name
        self.path = self.folder / f"{name}.ipynb"
        self.stamp = self.folder / "timestamp.txt"

    def put(self, data: bytes, time: datetime | None, *, replace: bool) -> tuple[str, str]:
        """Write the notebook and when it was handed in; the kind of note, and a reason.

        Raises:
            RefusedError: when a link or a file stands where a folder must be.
            CourseError: when writing fails.
        """
        for folder in (self.folder.parents[1], self.folder.parent, self.folder):
            if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
                raise RefusedError(f"in the class, {folder.name} is no folder but a link or a file")
        kind = "collected"
        if os.path.lexists(self.path):
            if self._holds(data):
                return "unchanged", ""
            if self.path.is_dir() and not self.path.is_symlink():
                raise RefusedError(f"in the class, {self.path.name} is a folder")
            if not replace:
                return "kept", "another notebook was collected before; --replace takes this one"
            kind = "replaced"
        try:
            atomic_write(self.path, data)
            if time is None:
                self.stamp.unlink(missing_ok=True)  # the time of the notebook that was there
            else:
                atomic_write(self.stamp, f"{time:%Y-%m-%d %H:%M:%S} UTC\n".encode())
        except OSError as error:
            raise CourseError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        return kind, ""

    def _holds(self, data: bytes) -> bool:
        if self.path.is_symlink() or not self.path.is_file() or self.path.stat().st_size != len(data):
            return False
        return self.path.read_bytes() == data


def _short(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:90]}…{name[-100:]}"


def _shown(text: str) -> str:
    """`text` in one line that moves no cursor: what is not printable is written as its number."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
