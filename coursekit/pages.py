"""Feedback pages of a class, made by several processes; one that is up to date is left alone."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from concurrent.futures import as_completed
from pathlib import Path

from coursekit.class_folder import ClassFolder
from coursekit.course import Course, atomic_write
from coursekit.feedback import FeedbackWriter
from coursekit.processes import Processes, TookTooLong, WorkerDied

__all__ = ["write_pages"]

# Highlighting and Markdown are patient with strange text, sometimes for ever.
_SECONDS = 120.0


def write_pages(
    course: Course,
    folder: ClassFolder,
    db_url: str,
    wanted: Mapping[str, str],
    processes: Processes | None = None,
) -> dict[str, Path | str]:
    """Write the pages that are missing or stale, and beside each what `nbgrader release_feedback` needs of the submission.

    Args:
        wanted: student → a mark that changes with whatever the page shows.
        processes: which make them; None is this one.

    Returns:
        Student → the page, or why there is none.
    """
    made = _written(course, folder, db_url, wanted, processes)
    return {student: _with_receipts(folder, student, page) for student, page in made.items()}


def _written(
    course: Course,
    folder: ClassFolder,
    db_url: str,
    wanted: Mapping[str, str],
    processes: Processes | None,
) -> dict[str, Path | str]:
    made: dict[str, Path | str] = {}
    stale = {}
    for student, mark in wanted.items():
        page, stamp = _page(folder, student), _stamp(mark)
        if _stamp_of(page) == stamp:
            made[student] = page
        else:
            stale[student] = stamp
    writer = functools.partial(_write, course, folder, db_url)
    if processes is None:
        _writers.clear()  # an earlier run's may know of other cells
        return made | {student: writer(student, stamp) for student, stamp in stale.items()}
    futures = {processes.call(writer, *job, seconds=_SECONDS): job[0] for job in stale.items()}
    for future in as_completed(futures):
        error = future.exception()
        if isinstance(error, (TookTooLong, WorkerDied)):
            made[futures[future]] = str(error)
        else:
            made[futures[future]] = future.result()
    return made


# A process may write pages of several assignments.
_writers: dict[tuple[Path, str], FeedbackWriter] = {}


def _write(course: Course, folder: ClassFolder, db_url: str, student: str, stamp: str) -> Path | str:
    about = folder.root, db_url
    try:
        if about not in _writers:
            _writers[about] = FeedbackWriter(course, *about)
        result = folder.result(student)
        if result is None:
            return "its result is gone"
        return _writers[about].write(student, result, note=f"<!-- {stamp} -->")
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _with_receipts(folder: ClassFolder, student: str, page: Path | str) -> Path | str:
    """Whoever hands in the same notebook again has new receipts and no new page."""
    if isinstance(page, Path):
        try:
            for name, content in folder.receipts(student).items():
                atomic_write(page.with_name(name), content)
        except OSError as error:
            return f"{type(error).__name__}: {error}"[:200]
    return page


def _page(folder: ClassFolder, student: str) -> Path:
    return folder.root / "feedback" / student / folder.assignment / f"{folder.assignment}.html"


def _stamp(mark: str) -> str:
    return f"coursekit {hashlib.sha256(mark.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _stamp_of(page: Path) -> str | None:
    """The stamp that a page was written with."""
    try:
        with page.open("rb") as file:
            file.seek(-min(200, page.stat().st_size), 2)
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    return tail.rpartition("<!-- ")[2].partition(" -->")[0]
