"""The one writer of nbgrader's gradebook: a result is applied in one transaction, and again to the same
effect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import nbformat
from nbgrader import api, utils
from sqlalchemy import Connection, and_, insert, select, update

from coursekit.database import Database, GradebookError, GradebookGoneError
from coursekit.gradebook_cells import register
from coursekit.gradebook_tables import (
    BASE_CELL,
    COMMENT,
    COMMENTED,
    GRADE,
    GRADED,
    NOTEBOOK,
    RESULTS,
    STUDENT,
    SUBMITTED,
    is_ready,
    make_ready,
    write_rows,
)
from coursekit.grading import Result

__all__ = ["GradebookError", "GradebookGoneError", "GradebookWriter", "Standing"]


@dataclass(frozen=True)
class Standing:
    """What the gradebook says of a submission, manual scores included; `cells` is grade id → points."""

    points: float
    max_points: float
    needs_manual: bool
    cells: dict[str, float]


class GradebookWriter:
    """An open gradebook; a context manager. `db_url` is its address as nbgrader's own classes take it.

    `wait_seconds` is how long a call waits for a lock held by another process, or for a database server that
    restarts. After an error a writer can be used on.

    Raises:
        GradebookError: when the database cannot be opened, or is no gradebook of this nbgrader.
    """

    def __init__(self, db_url: str, course_id: str, *, wait_seconds: float = 30.0) -> None:
        self.course_id = course_id
        self.database = Database(db_url, wait_seconds=wait_seconds)
        self.db_url = self.database.url
        about = (self.database.name, course_id)
        try:
            if not self.database.read(lambda connection: is_ready(connection, *about)):
                self.database.write(lambda connection: make_ready(connection, *about), "its tables")
        except BaseException:
            self.database.close()
            raise
        self.database.opened()

    def __enter__(self) -> GradebookWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    def register(self, assignment: str, template: str) -> None:
        """Make the gradebook's cells of an assignment those of its template, a text of JSON.

        Cells that are new get empty grades in the submissions there are; cells that are gone are taken out.
        Nothing is written when nothing has changed.

        Raises:
            GradebookError: when a cell that is gone has scores or comments given by hand.
            GradebookGoneError: when the database cannot be used.
        """
        nb = nbformat.reads(template, as_version=4)
        about = (assignment, nb, self.course_id)
        if self.database.read(lambda connection: register(connection, *about, dry=True)):
            self.database.write(lambda connection: register(connection, *about, dry=False), assignment)

    def apply(self, student: str, result: Result, *, timestamp: str | None = None) -> Standing:
        """Write one result, all or nothing, and return what the submission has then.

        Scores and comments given by hand stay. When another result was applied before, a score given by hand
        is marked for a second look, since it was given to another submission.

        Raises:
            GradebookError: when the database refuses this result, or `timestamp` (of the submission) is none.
            GradebookGoneError: when the database cannot be used.
        """
        moment = _moment(student, timestamp)
        return self.database.write(lambda connection: _apply(connection, student, result, moment), student)

    def applied(self, assignment: str) -> dict[str, str]:
        """Of each student in the gradebook the key of the result that was applied."""
        query = (
            select(RESULTS.c.student, RESULTS.c.key)
            .join(SUBMITTED, SUBMITTED.c.student_id == RESULTS.c.student)
            .join(api.Assignment, api.Assignment.id == SUBMITTED.c.assignment_id)
            .where(RESULTS.c.assignment == assignment, api.Assignment.name == assignment)
        )
        return dict(self.database.read(lambda connection: [tuple(r) for r in connection.execute(query)]))

    def standing(self, student: str, assignment: str) -> Standing:
        """What a submission has by now.

        Raises:
            GradebookError: when it is not in the gradebook.
        """
        found = self.database.read(lambda connection: _standings(connection, assignment, student))
        if student not in found:
            raise GradebookError(f"the gradebook has no {assignment} of {student}")
        return found[student]

    def standings(self, assignment: str) -> dict[str, Standing]:
        """What all submissions of an assignment have by now, student → standing, in two queries."""
        return self.database.read(lambda connection: _standings(connection, assignment))

    def marks(self, assignment: str) -> dict[str, str]:
        """Of each student a text that changes with whatever a feedback page shows: result, scores, comments."""
        return self.database.read(lambda connection: _marks(connection, assignment))

    def has(self, student: str, assignment: str) -> bool:
        """A submission of that student is in the gradebook."""
        query = (
            select(SUBMITTED.c.id)
            .join(api.Assignment, api.Assignment.id == SUBMITTED.c.assignment_id)
            .where(SUBMITTED.c.student_id == student, api.Assignment.name == assignment)
        )
        return self.database.read(lambda connection: connection.scalar(query)) is not None


def _apply(connection: Connection, student: str, result: Result, moment: datetime | None) -> Standing:
    """Write a result and return the standing; rows that say the same already are not touched."""
    assignment = result.assignment
    ids = connection.execute(
        select(api.Assignment.id, api.Notebook.id)
        .join(api.Notebook, api.Notebook.assignment_id == api.Assignment.id)
        .where(api.Assignment.name == assignment, api.Notebook.name == assignment)
    ).one_or_none()
    if ids is None:
        raise GradebookError(f"{assignment} is not in the gradebook: expected it to be registered before")
    row = (RESULTS.c.assignment == assignment) & (RESULTS.c.student == student)
    # Locked in PostgreSQL, as are the grades below: a grader may be saving scores of this very submission.
    before = connection.scalar(select(RESULTS.c.key).where(row).with_for_update())
    notebook_id = _submitted(connection, student, *ids, moment)
    changed = before is not None and before != result.key
    _write_grades(connection, ids[1], notebook_id, result, changed=changed)
    _write_comments(connection, ids[1], notebook_id, result)
    stamp = {"key": result.key, "applied": datetime.now(UTC).replace(tzinfo=None)}
    if before is None:
        connection.execute(insert(RESULTS).values(assignment=assignment, student=student, **stamp))
    elif changed:
        connection.execute(update(RESULTS).where(row).values(**stamp))
    return _standings(connection, assignment, student)[student]


def _submitted(
    connection: Connection, student: str, assignment_id: str, template_id: str, moment: datetime | None
) -> str:
    """The id of the student's notebook in the gradebook; it is made when it is not there."""
    found = connection.execute(
        select(SUBMITTED.c.id, SUBMITTED.c.timestamp, NOTEBOOK.c.id)
        .outerjoin(
            NOTEBOOK,
            (NOTEBOOK.c.assignment_id == SUBMITTED.c.id) & (NOTEBOOK.c.notebook_id == template_id),
        )
        .where(SUBMITTED.c.assignment_id == assignment_id, SUBMITTED.c.student_id == student)
    ).one_or_none()
    if found is None:
        if connection.scalar(select(STUDENT.c.id).where(STUDENT.c.id == student)) is None:
            connection.execute(insert(STUDENT).values(id=student))
        submission_id = api.new_uuid()
        connection.execute(
            insert(SUBMITTED).values(
                id=submission_id, assignment_id=assignment_id, student_id=student, timestamp=moment
            )
        )
    else:
        submission_id, stamp, notebook_id = found
        if moment is not None and moment != stamp:
            connection.execute(
                update(SUBMITTED).where(SUBMITTED.c.id == submission_id).values(timestamp=moment)
            )
        if notebook_id is not None:
            return notebook_id
    notebook_id = api.new_uuid()
    connection.execute(
        insert(NOTEBOOK).values(id=notebook_id, assignment_id=submission_id, notebook_id=template_id)
    )
    return notebook_id


def _write_grades(
    connection: Connection, template_id: str, notebook_id: str, result: Result, *, changed: bool
) -> None:
    points = {c.id: c.points for c in result.cells}
    rows = {
        r.cell_id: r
        for r in connection.execute(select(GRADE).where(GRADE.c.notebook_id == notebook_id).with_for_update())
    }
    new, other = [], []
    for cell_id, name in _cells_of(connection, template_id, GRADED):
        row, auto = rows.get(cell_id), points.get(name)
        if row is None:
            new.append(
                {
                    "notebook_id": notebook_id,
                    "cell_id": cell_id,
                    "auto_score": auto,
                    "needs_manual_grade": auto is None,
                }
            )
            continue
        by_hand = row.manual_score is not None or row.extra_credit is not None
        waits = row.manual_score is None and auto is None
        needs = waits or (by_hand and (row.needs_manual_grade or changed))
        if (auto, needs) != (row.auto_score, row.needs_manual_grade):
            other.append({"row": row.id, "auto_score": auto, "needs_manual_grade": needs})
    write_rows(connection, GRADE, new, other)


def _write_comments(connection: Connection, template_id: str, notebook_id: str, result: Result) -> None:
    query = select(COMMENT).where(COMMENT.c.notebook_id == notebook_id).with_for_update()
    rows = {r.cell_id: r for r in connection.execute(query)}
    new, other = [], []
    for cell_id, name in _cells_of(connection, template_id, COMMENTED):
        row = rows.get(cell_id)
        said = "No response." if name in result.unanswered else None
        if row is None:
            new.append({"notebook_id": notebook_id, "cell_id": cell_id, "auto_comment": said})
        elif said != row.auto_comment:
            other.append({"row": row.id, "auto_comment": said})
    write_rows(connection, COMMENT, new, other)


def _cells_of(connection: Connection, template_id: str, kinds: tuple[str, ...]) -> list[Any]:
    """(id, name) of the assignment's cells of some kinds."""
    query = select(BASE_CELL.c.id, BASE_CELL.c.name)
    return list(
        connection.execute(query.where(BASE_CELL.c.notebook_id == template_id, BASE_CELL.c.type.in_(kinds)))
    )


def _standings(connection: Connection, assignment: str, student: str | None = None) -> dict[str, Standing]:
    """The standing of each student with a submission, or of one; scores by nbgrader's own formula."""
    most = connection.scalar(
        select(api.Notebook.max_score)
        .join(api.Assignment, api.Assignment.id == api.Notebook.assignment_id)
        .where(api.Assignment.name == assignment, api.Notebook.name == assignment)
    )
    query = (
        select(SUBMITTED.c.student_id, BASE_CELL.c.name, api.Grade.score, api.Grade.needs_manual_grade)
        .select_from(SUBMITTED)
        .join(api.Assignment, api.Assignment.id == SUBMITTED.c.assignment_id)
        .join(NOTEBOOK, NOTEBOOK.c.assignment_id == SUBMITTED.c.id)
        .join(api.Notebook, api.Notebook.id == NOTEBOOK.c.notebook_id)
        .outerjoin(GRADE, GRADE.c.notebook_id == NOTEBOOK.c.id)
        .outerjoin(BASE_CELL, BASE_CELL.c.id == GRADE.c.cell_id)
        .where(api.Assignment.name == assignment, api.Notebook.name == assignment)
    )
    if student is not None:
        query = query.where(SUBMITTED.c.student_id == student)
    cells: dict[str, dict[str, float]] = {}
    waiting = set()
    for who, name, score, needs in connection.execute(query):
        mine = cells.setdefault(who, {})
        if name is not None:  # an assignment without graded cells has submissions, too
            mine[name] = float(score)
        if needs:
            waiting.add(who)
    return {
        who: Standing(float(sum(mine.values())), float(most), who in waiting, mine)
        for who, mine in cells.items()
    }


def _marks(connection: Connection, assignment: str) -> dict[str, str]:
    """Student → all that the gradebook has of the submission, as text."""
    submitted = (
        select(SUBMITTED.c.student_id, NOTEBOOK.c.id, NOTEBOOK.c.late_submission_penalty, RESULTS.c.key)
        .join(api.Assignment, api.Assignment.id == SUBMITTED.c.assignment_id)
        .join(NOTEBOOK, NOTEBOOK.c.assignment_id == SUBMITTED.c.id)
        .outerjoin(
            RESULTS,
            and_(RESULTS.c.student == SUBMITTED.c.student_id, RESULTS.c.assignment == api.Assignment.name),
        )
        .where(api.Assignment.name == assignment)
    )
    found: dict[str, list[Any]] = {}
    students = {}
    for student, notebook, *about in connection.execute(submitted):
        students[notebook] = student
        found.setdefault(student, []).append(about)
    grades = select(
        GRADE.c.notebook_id,
        GRADE.c.cell_id,
        GRADE.c.auto_score,
        GRADE.c.manual_score,
        GRADE.c.extra_credit,
        GRADE.c.needs_manual_grade,
    ).order_by(GRADE.c.cell_id)
    comments = select(
        COMMENT.c.notebook_id, COMMENT.c.cell_id, COMMENT.c.auto_comment, COMMENT.c.manual_comment
    ).order_by(COMMENT.c.cell_id)
    ours = submitted.with_only_columns(NOTEBOOK.c.id)
    for query in (grades, comments):
        table = query.get_final_froms()[0]
        for notebook, *about in connection.execute(query.where(table.c.notebook_id.in_(ours))):
            found[students[notebook]].append(about)
    return {student: repr(rows) for student, rows in found.items()}


def _moment(student: str, timestamp: str | None) -> datetime | None:
    """The time of submission, UTC without zone, as nbgrader keeps it."""
    if timestamp is None:
        return None
    try:
        # To nbgrader a zone of its own, "+0100", is 100 seconds; joined to the time it is read as it should be.
        return utils.parse_utc(re.sub(r" (?=[+-]\d\d:?\d\d$)", "", timestamp.strip()))
    except (ValueError, OverflowError) as error:
        raise GradebookError(
            f"{student}: expected a time of submission such as '2026-11-20 12:30:00 UTC', got {timestamp!r}"
        ) from error
