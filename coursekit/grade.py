"""Grade a class: what was handed in and has changed; write gradebook, notebooks, feedback and a table.

Submissions go to a pool as bytes and come back as results; this process alone writes. Each result is kept in a file first and
applied to the gradebook in one transaction then: a run that is stopped anywhere goes on where it was, and a second one grades
only what has changed.

`coursekit grade --json` prints a list of `{assignment, submissions}`; a submission has

    student, status, message    status is graded, stopped, not graded (0 points) or error (not in the gradebook)
    points, max_points, needs_manual    from the gradebook, scores given by hand included
    release, flags              what it was graded by, and what a grader may want to look at
    seconds, cpu_seconds, peak_mb, isolation    of the run
    reused                      the kept result was taken
    feedback                    path of the page, or null
    cells                       a list of {id, kind, status, points, max_points, report, claimed, hidden, hints, misconceptions}

of which an error has the first three alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from coursekit.class_folder import ClassFolder, database_of, keep_out_of_git
from coursekit.cluster import Cluster
from coursekit.course import Course
from coursekit.errors import CourseError
from coursekit.gradebook import GradebookError, GradebookGoneError, GradebookWriter, Standing
from coursekit.grading import Bundle, Result, refuse
from coursekit.isolate.launch import best
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Setup
from coursekit.pages import write_pages
from coursekit.pool import Here, Local, LostError, Pool, results_of
from coursekit.processes import Processes
from coursekit.releases import bundle_of, prepare_for_nbgrader

__all__ = ["Crew", "Graded", "Options", "grade_assignment"]

# Going on would lose every further result in the same way.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
# nbgrader's column; SQLite would take more, PostgreSQL not.
_MAX_ID = 128


@dataclass(frozen=True)
class Options:
    """How to grade.

    Attributes:
        limits: of each notebook.
        isolation: a launcher's name, or `auto`.
        workers: processes on this machine; 0 is this one.
        scheduler: address of a Dask cluster that grades instead.
        db: address of the gradebook; a SQLite file in the class folder by default.
        force: also what has not changed.
        feedback: write pages.
        whole: also run the cells that no point depends on.
    """

    limits: Limits = field(default_factory=Limits)
    isolation: str = "auto"
    workers: int = 1
    scheduler: str | None = None
    db: str | None = None
    force: bool = False
    feedback: bool = True
    whole: bool = False


@dataclass(frozen=True)
class Graded:
    """One student's submission after grading; the result is without its notebook, which is in a file.

    `result` is None when grading itself failed, `standing` when the gradebook refused; `message` says why.
    """

    student: str
    result: Result | None
    standing: Standing | None
    message: str
    reused: bool = False
    feedback: Path | None = None

    @property
    def ran(self) -> bool:
        """Whether it was run now: not reused, and not refused as it was read."""
        return not self.reused and (self.result is None or bool(self.result.isolation))

    @property
    def status(self) -> str:
        """`graded`, `stopped`, `not graded` (0 points) or `error` (not in the gradebook)."""
        return self.result.status if self.result and self.standing else "error"

    def to_json(self) -> dict[str, Any]:
        """As plain data; paths as text, the notebook left out."""
        row: dict[str, Any] = {"student": self.student, "status": self.status, "message": self.message}
        if self.result and self.standing:
            names = ("release", "seconds", "cpu_seconds", "peak_mb", "isolation")
            row |= {name: getattr(self.result, name) for name in names}
            row |= {
                "points": self.standing.points,
                "max_points": self.standing.max_points,
                "needs_manual": self.standing.needs_manual,
                "flags": list(self.result.flags),
                "reused": self.reused,
                "feedback": str(self.feedback) if self.feedback else None,
                "cells": [asdict(c) for c in self.result.cells],
            }
        return row


class Crew:
    """The processes of a run, started when they are first needed and used for all of its assignments.

    A context manager that leaves no process behind. `isolations` has, by name, what isolates on this machine, in words.

    Raises:
        CourseError: when the first submission comes and nothing isolates here, or no cluster is found.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.isolations: dict[str, str] = {}
        self._stack = contextlib.ExitStack()
        self._pool: Pool | None = None
        self._pages: Processes | None = None

    def pool(self, bundle: Bundle) -> Pool:
        """Where submissions are graded; `bundle` is what to get ready for."""
        if self._pool is None:
            self._pool = self._stack.enter_context(self._make_pool(bundle))
        return self._pool

    def pages(self) -> Processes | None:
        """Where feedback pages are made; None is this process."""
        if self._pages is None and self.options.workers:
            self._pages = self._stack.enter_context(Processes(self.options.workers))
        return self._pages

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _make_pool(self, bundle: Bundle) -> Pool:
        options = self.options
        if options.scheduler is not None:
            return Cluster(options.isolation, options.scheduler)
        # Whether anything isolates is said before the first worker starts, and by one of them only.
        launcher = best(options.isolation, Setup(bundle.preload, bundle.checks))
        self.isolations[launcher.name] = launcher.describe()
        launcher.close()
        return Local(launcher.name, options.workers, bundle) if options.workers else Here(launcher.name)


def grade_assignment(
    course: Course,
    class_dir: Path,
    name: str,
    options: Options | None = None,
    *,
    students: Sequence[str] = (),
    progress: Callable[[Graded, int, int], None] = lambda row, done, total: None,
    crew: Crew | None = None,
) -> list[Graded]:
    """Grade the submissions of assignment `name`, or of some students; a broken one stops no other.

    A submission that has not changed since it was graded is not run again unless `force`. `progress` is called with each row as
    it comes, how many there are by then, and how many there will be. `crew` has the processes, if there is one already.

    Raises:
        CourseError: when there is nothing to grade, or the source, a release or the gradebook is unusable; when nothing isolates
            here, nothing can be written, or the workers are lost: what has been graded until then is kept.
    """
    if crew is None:
        with Crew(options or Options()) as crew:
            return grade_assignment(
                course, class_dir, name, crew.options, students=students, progress=progress, crew=crew
            )
    options = crew.options
    folder = ClassFolder(class_dir, name)
    found = folder.students()
    absent = sorted(set(students) - set(found))
    if absent:
        raise CourseError(f"{', '.join(absent)} handed in nothing for {name}")
    chosen = [s for s in found if not students or s in students]
    if not chosen:
        raise CourseError(f"nobody handed in {name}: no {class_dir / 'submitted'}/STUDENT/{name}")
    batch = None
    try:
        folder.check_writable()
        keep_out_of_git(class_dir, course.root)
        bundle = bundle_of(course, class_dir, name, options.limits, whole=options.whole)
        prepare_for_nbgrader(course, class_dir, name)
        with GradebookWriter(database_of(class_dir, options.db), course.course_id) as writer:
            writer.register(name, bundle.templates[bundle.current])
            batch = _Batch(folder, bundle, writer, options.force, len(chosen), progress)
            batch.take(chosen, crew)
            graded = batch.finished()
            marks = writer.marks(name)
            folder.write_scores(writer.standings(name))
    except GradebookGoneError as error:
        if batch is None:
            raise
        raise GradebookGoneError(f"{error}; {batch.kept}") from error
    except OSError as error:
        if error.errno not in (*_NO_ROOM, errno.EACCES, errno.EPERM):
            raise
        reason = f"{error.strerror}: {error.filename or class_dir}"
        kept = f"; {batch.kept}" if batch else ""
        raise CourseError(f"the class folder cannot be written ({reason}){kept}") from error
    if options.feedback:
        wanted = {g.student: marks[g.student] + batch.contents[g.student] for g in graded if g.standing}
        graded = _with_pages(graded, write_pages(course, folder, writer.db_url, wanted, crew.pages()))
    return graded


class _Batch:
    """The submissions of one run."""

    def __init__(
        self,
        folder: ClassFolder,
        bundle: Bundle,
        writer: GradebookWriter,
        force: bool,
        total: int,
        progress: Callable[[Graded, int, int], None],
    ) -> None:
        self.folder, self.bundle, self.writer, self.force = folder, bundle, writer, force
        self.total, self.progress = total, progress
        self.applied = writer.applied(bundle.assignment)
        self.rows: dict[str, Graded] = {}
        self.notes: dict[str, str] = {}
        self.contents: dict[str, str] = {}  # what changes with a result's notebook
        self.waiting: list[str] = []  # kept, and not yet in the gradebook
        self.trouble = ""

    def take(self, students: Sequence[str], crew: Crew) -> None:
        """Grade what has changed and keep all that comes of it."""
        jobs = self._jobs(students)
        first = next(jobs, None)
        if first is None:  # nothing to run: no pool needed
            return

        def again() -> Iterator[tuple[str, bytes]]:
            yield first
            yield from jobs

        try:
            for student, found in results_of(crew.pool(self.bundle), self.bundle, again()):
                if isinstance(found, BaseException):
                    self._row(Graded(student, None, None, _words(found)))
                else:
                    self._finish(student, Result.from_json(found), reused=False)
        except LostError as error:
            raise LostError(f"{error}; {self.kept}") from None

    @property
    def kept(self) -> str:
        """How far it has come, for a message that says why it went no further."""
        done = sum(row.result is not None for row in self.rows.values())
        return f"{done} of {self.total} are graded and kept: run again"

    def finished(self) -> list[Graded]:
        """All rows, sorted by student, after a last try to apply what the gradebook has refused."""
        again, self.waiting, self.trouble = self.waiting, [], ""
        for student in again:
            result = self.folder.result(student)
            if result is not None:
                self._apply(student, result, reused=False)
        return [self.rows[s] for s in sorted(self.rows)]

    def _jobs(self, students: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """What must run; the rest is dealt with on the way."""
        name = self.bundle.assignment
        for student in students:
            if len(student) > _MAX_ID:
                message = f"expected a student's id of at most {_MAX_ID} characters, got {len(student)}"
                self._row(Graded(student, None, None, message))
                continue
            handed_in = self.folder.read(student)
            data = handed_in.data
            key = self.bundle.key(data if data is not None else handed_in.reason.encode())
            before = self.folder.result(student)
            self.notes[student] = handed_in.note
            if before is not None and before.key == key and before.assignment == name and not self.force:
                self._finish(student, before, reused=True)
            elif data is None:
                self._finish(student, refuse(handed_in.reason, self.bundle, key), reused=False)
            else:
                yield student, data

    def _finish(self, student: str, result: Result, *, reused: bool) -> None:
        """Keep a result, then apply it."""
        note = self.notes.pop(student, "")
        if note and note not in result.flags:
            result = replace(result, flags=(note, *result.flags))
        try:
            self.folder.keep(student, result)
            self.folder.keep_notebook(student, result)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise
            self._row(Graded(student, None, None, _words(error)))
            return
        self._apply(student, result, reused=reused)

    def _apply(self, student: str, result: Result, *, reused: bool) -> None:
        bare = replace(result, notebook="")
        self.contents[student] = hashlib.sha256(result.notebook.encode("utf-8", "replace")).hexdigest()
        if self.trouble:  # each further try would wait as long as the first
            self.waiting.append(student)
            self._row(Graded(student, bare, None, self.trouble, reused))
            return
        try:
            if self.applied.get(student) == result.key and reused:
                standing = self.writer.standing(student, result.assignment)
            else:
                standing, result = self._enter(student, result)
        except GradebookGoneError as error:
            self.trouble = f"graded and kept, but not in the gradebook: {_words(error)}; run again"
            self.waiting.append(student)
            self._row(Graded(student, bare, None, self.trouble, reused))
        except Exception as error:  # whatever it is, the others must be graded
            self._row(Graded(student, bare, None, _words(error), reused))
        else:
            self._row(Graded(student, bare, standing, result.message, reused))

    def _enter(self, student: str, result: Result) -> tuple[Standing, Result]:
        """Into the gradebook; a time of submission that is none costs no points."""
        stamp = self.folder.timestamp(student)
        try:
            return self.writer.apply(student, result, timestamp=stamp), result
        except GradebookGoneError:
            raise
        except GradebookError:
            if stamp is None:
                raise
        standing = self.writer.apply(student, result)
        note = "timestamp.txt holds no time"
        return standing, replace(result, message=f"{result.message}; {note}".removeprefix("; "))

    def _row(self, graded: Graded) -> None:
        self.rows[graded.student] = graded
        self.progress(graded, len(self.rows), self.total)


def _with_pages(graded: list[Graded], pages: dict[str, Path | str]) -> list[Graded]:
    """The rows with their feedback pages; one that could not be made costs no points."""
    made = []
    for row in graded:
        page = pages.get(row.student)
        if isinstance(page, Path):
            row = replace(row, feedback=page)
        elif page is not None:
            row = replace(row, message=f"{row.message}; no feedback: {page}".removeprefix("; "))
        made.append(row)
    return made


def _words(error: BaseException) -> str:
    text = str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:300]
