"""The tables of the gradebook's database: nbgrader's, and one of our own."""

from __future__ import annotations

from typing import Any

from alembic.script import ScriptDirectory
from nbgrader import api
from nbgrader.dbutil import ALEMBIC_DIR
from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    MetaData,
    String,
    Table,
    bindparam,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.orm import Session

from coursekit.database import GradebookError

__all__ = [
    "BASE_CELL",
    "COMMENT",
    "COMMENTED",
    "GRADE",
    "GRADED",
    "NOTEBOOK",
    "RESULTS",
    "STUDENT",
    "SUBMITTED",
    "is_ready",
    "make_ready",
    "write_rows",
]

# Which result of a student has been applied. No foreign key: nbgrader removes students and submissions without
# knowing of this table, and a row of a removed one counts for nothing (`applied` joins them).
RESULTS = Table(
    "coursekit_results",
    MetaData(),
    Column("assignment", String(128), primary_key=True),
    Column("student", String(128), primary_key=True),
    Column("key", String(128), nullable=False),
    Column("applied", DateTime, nullable=False),  # UTC
)
# nbgrader's tables, written directly: through its classes one submission costs a query per cell.
BASE_CELL, GRADE, COMMENT, STUDENT, SUBMITTED, NOTEBOOK = (
    model.__table__
    for model in (
        api.BaseCell,
        api.Grade,
        api.Comment,
        api.Student,
        api.SubmittedAssignment,
        api.SubmittedNotebook,
    )
)
# nbgrader finds a submission's grades by reading all grades there are; with these, one in 30,000 is as quick as one
# in ten, for nbgrader's own commands too.
INDEXES = tuple(
    text(f"CREATE INDEX IF NOT EXISTS coursekit_{table} ON {table} ({column})")
    for table, column in (
        ("grade", "notebook_id"),
        ("comment", "notebook_id"),
        ("submitted_notebook", "assignment_id"),
    )
)
# Which kinds of cell have a grade, which a comment.
GRADED, COMMENTED = ("GradeCell", "TaskCell"), ("SolutionCell", "TaskCell")


def is_ready(connection: Connection, name: str, course_id: str) -> bool:
    """All tables and courses are there, in the database that messages call `name`.

    Raises:
        GradebookError: when the tables are another program's, or another nbgrader's.
    """
    tables = set(inspect(connection).get_table_names())
    if not tables:
        return False
    version = None
    if not {"assignment", "submitted_notebook"} <= tables:
        some = ", ".join(sorted(tables)[:3])
        raise GradebookError(f"{name} is no gradebook: expected nbgrader's tables, found {some}")
    if "alembic_version" in tables:
        version = connection.scalar(text("SELECT version_num FROM alembic_version"))
    head = _head()
    if version != head:
        raise GradebookError(
            f"the gradebook {name} is another nbgrader's: expected its version {head}, got {version}"
            f" (`nbgrader db upgrade` brings it up to date)"
        )
    if RESULTS.name not in tables:
        return False
    courses = _courses(course_id)
    there = select(func.count()).where(api.Course.id.in_(courses))
    return connection.scalar(there) == len(courses)


def make_ready(connection: Connection, name: str, course_id: str) -> None:
    """Make what is missing of an empty database, or of a gradebook that nbgrader made.

    Of two processes that do so at once the second waits, is refused, and finds all there when it tries again.
    """
    if is_ready(connection, name, course_id):  # another process was quicker
        return
    if not inspect(connection).get_table_names():
        api.Base.metadata.create_all(connection)
        # As nbgrader does it, but in the same transaction and without starting the command `alembic`.
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        version = text("INSERT INTO alembic_version (version_num) VALUES (:head)")
        connection.execute(version, {"head": _head()})
    RESULTS.create(connection, checkfirst=True)
    for index in INDEXES:
        connection.execute(index)
    with Session(connection) as session:
        for course in _courses(course_id):
            session.merge(api.Course(id=course))
        session.flush()


def write_rows(
    connection: Connection, table: Table, new: list[dict[str, Any]], other: list[dict[str, Any]]
) -> None:
    """Insert `new` rows, update `other` ones, whose ids are under `row`."""
    if new:
        connection.execute(insert(table), new)
    if other:
        connection.execute(update(table).where(table.c.id == bindparam("row")), other)


def _courses(course_id: str) -> set[str]:
    # nbgrader's feedback opens the gradebook as "default_course" and makes it when it is missing: several processes
    # at once would fail at that.
    return {course_id, "default_course"}


def _head() -> str:
    """The version of nbgrader's tables."""
    return str(ScriptDirectory(ALEMBIC_DIR).get_current_head())
