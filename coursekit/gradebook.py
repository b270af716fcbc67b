"""The one writer of nbgrader's gradebook: a result is applied in one transaction, and again to the same
effect."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import nbformat
from nbgrader import api, utils
from sqlalchemy.exc import SQLAlchemyError

from coursekit.errors import CourseError
from coursekit.grading import Result

__all__ = ["GradebookWriter", "Standing"]


@dataclass(frozen=True)
class Standing:
    """What the gradebook says of a submission, manual scores included."""

    points: float
    max_points: float
    needs_manual: bool
    cells: dict[str, float]


class GradebookWriter:
    """An open gradebook; a context manager.

    Raises:
        CourseError: when the database cannot be opened.
    """

    def __init__(self, db_url: str, course_id: str) -> None:
        # A new gradebook asks the command `alembic` for its version: it stands beside this Python, not always
        # on PATH.
        beside = str(Path(sys.executable).parent)
        if beside not in os.environ.get("PATH", "").split(os.pathsep):
            os.environ["PATH"] = beside + os.pathsep + os.environ.get("PATH", "")
        logging.getLogger("alembic").setLevel(logging.ERROR)
        try:
            self.gradebook = api.Gradebook(db_url, course_id)
        except (SQLAlchemyError, OSError) as error:
            raise CourseError(f"the gradebook {db_url} cannot be opened: {_reason(error)}") from error
        self.db = self.gradebook.db

    def __enter__(self) -> GradebookWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gradebook.close()

    def register(self, assignment: str, template: str) -> None:
        """Make the gradebook's cells of an assignment those of its template, a text of JSON.

        Cells that are new get empty grades in the submissions there are; cells that are gone are taken out.

        Raises:
            CourseError: when a cell that is gone has scores or comments given by hand.
        """
        nb = nbformat.reads(template, as_version=4)
        gb = self.gradebook
        gb.update_or_create_assignment(assignment)
        kernel = json.dumps(nb.metadata.get("kernelspec", {}))
        notebook = gb.update_or_create_notebook(assignment, assignment, kernelspec=kernel)
        wanted = {(kind, name): info for kind, name, info in _cells(nb)}
        for cell in (
            *notebook.grade_cells,
            *notebook.solution_cells,
            *notebook.task_cells,
            *notebook.source_cells,
        ):
            if (type(cell), cell.name) not in wanted:
                self._remove(cell, assignment)
        for (kind, name), info in wanted.items():
            update = {
                api.GradeCell: gb.update_or_create_grade_cell,
                api.SolutionCell: gb.update_or_create_solution_cell,
                api.TaskCell: gb.update_or_create_task_cell,
                api.SourceCell: gb.update_or_create_source_cell,
            }[kind]
            update(name, assignment, assignment, **info)
        for submitted in notebook.submissions:
            self._complete(submitted)
        self.db.commit()

    def apply(self, student: str, result: Result, *, changed: bool, timestamp: str | None = None) -> None:
        """Write one result, all or nothing. Scores and comments given by hand stay.

        With `changed` a score given by hand is marked for a second look, since it was given to another
        submission.

        Raises:
            CourseError: when the database refuses; nothing is written then.
        """
        try:
            submitted = self._submitted(student, result.assignment, timestamp)
            scores = {c.id: c for c in result.cells}
            for grade in submitted.grades:
                score = scores.get(grade.name)
                grade.auto_score = score.points if score else None
                if grade.manual_score is not None:
                    grade.needs_manual_grade = grade.needs_manual_grade or changed
                else:
                    grade.needs_manual_grade = grade.auto_score is None
            for comment in submitted.comments:
                comment.auto_comment = "No response." if comment.name in result.unanswered else None
            self.db.commit()
        except SQLAlchemyError as error:
            self.db.rollback()
            raise CourseError(f"the gradebook refuses {student}: {_reason(error)}") from error

    def standing(self, student: str, assignment: str) -> Standing:
        """What a submission has by now."""
        submitted = self.gradebook.find_submission_notebook(assignment, assignment, student)
        cells = {g.name: float(g.score) for g in submitted.grades}
        return Standing(
            float(submitted.score), float(submitted.max_score), bool(submitted.needs_manual_grade), cells
        )

    def has(self, student: str, assignment: str) -> bool:
        """A submission of that student is in the gradebook."""
        try:
            self.gradebook.find_submission(assignment, student)
        except api.MissingEntry:
            return False
        return True

    def _submitted(self, student: str, assignment: str, timestamp: str | None) -> Any:
        """The student's notebook in the gradebook, made when it is not there; not committed."""
        if self.db.get(api.Student, student) is None:
            self.db.add(api.Student(id=student))
        try:
            submission = self.gradebook.find_submission(assignment, student)
        except api.MissingEntry:
            submission = api.SubmittedAssignment(
                assignment=self.gradebook.find_assignment(assignment),
                student=self.db.get(api.Student, student),
            )
            self.db.add(submission)
            with self.db.no_autoflush:
                for notebook in submission.assignment.notebooks:
                    submitted = api.SubmittedNotebook(notebook=notebook, assignment=submission)
                    self.db.add(submitted)
                    self._complete(submitted)
        if timestamp is not None:
            submission.timestamp = utils.parse_utc(timestamp)
        self.db.flush()
        return submission.notebooks[0]

    def _complete(self, submitted: Any) -> None:
        """Give a submitted notebook the grades and comments that it lacks."""
        notebook = submitted.notebook
        graded = {g.cell_id for g in submitted.grades}
        commented = {c.cell_id for c in submitted.comments}
        for cell in (*notebook.grade_cells, *notebook.task_cells):
            if cell.id not in graded:
                submitted.grades.append(api.Grade(cell_id=cell.id))
        for cell in (*notebook.solution_cells, *notebook.task_cells):
            if cell.id not in commented:
                submitted.comments.append(api.Comment(cell_id=cell.id))

    def _remove(self, cell: Any, assignment: str) -> None:
        # Only some kinds of cell have grades, only some have comments.
        grades = list(getattr(cell, "grades", None) or ())
        comments = list(getattr(cell, "comments", None) or ())
        by_hand: list[Any] = [g for g in grades if g.manual_score is not None or g.extra_credit is not None]
        by_hand += [c for c in comments if c.manual_comment]
        if by_hand:
            raise CourseError(
                f"{assignment} no longer has the cell {cell.name!r}, to which {len(by_hand)} scores or"
                " comments were given by hand: put the cell back, or remove them in the gradebook"
            )
        for row in (*grades, *comments):
            self.db.delete(row)
        self.db.delete(cell)
        self.db.commit()


def _cells(nb: nbformat.NotebookNode) -> list[tuple[type, str, dict[str, Any]]]:
    """The gradebook's rows for a template's cells, as nbgrader's SaveCells makes them."""
    rows: list[tuple[type, str, dict[str, Any]]] = []
    for cell in nb.cells:
        meta = cell.metadata.get("nbgrader")
        if meta is None:
            continue
        name = meta["grade_id"]
        worth = {"max_score": float(meta.get("points", 0)), "cell_type": cell.cell_type}
        if meta["grade"]:
            rows.append((api.GradeCell, name, worth))
        if meta["solution"]:
            rows.append((api.SolutionCell, name, {}))
        if meta.get("task"):
            rows.append((api.TaskCell, name, worth))
        info = {"cell_type": cell.cell_type, "source": cell.source, "checksum": meta.get("checksum")}
        rows.append((api.SourceCell, name, {**info, "locked": utils.is_locked(cell)}))
    return rows


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
