"""The gradebook's cells of an assignment: those of its template, kept up to date."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import nbformat
from nbgrader import api, utils
from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.orm import Session, with_polymorphic

from coursekit.database import GradebookError
from coursekit.gradebook_tables import BASE_CELL, COMMENT, COMMENTED, GRADE, GRADED, NOTEBOOK, write_rows

__all__ = ["register"]


def register(
    connection: Connection, assignment: str, nb: nbformat.NotebookNode, course_id: str, *, dry: bool
) -> bool:
    """Bring the cells up to date; returns whether there is anything to do, and does it unless `dry`."""
    with Session(connection, autoflush=False) as session:
        papers = select(api.Assignment).where(api.Assignment.name == assignment)
        # In PostgreSQL the foreign key of a new submission waits for this lock: none is made from the old cells.
        paper = session.scalar(papers if dry else papers.with_for_update())
        kernel = json.dumps(nb.metadata.get("kernelspec", {}))
        notebook = paper and session.scalar(
            select(api.Notebook).where(
                api.Notebook.assignment_id == paper.id, api.Notebook.name == assignment
            )
        )
        if dry and notebook is None:
            return True
        if paper is None:
            paper = api.Assignment(assignment, course_id=course_id)
        if notebook is None:
            notebook = api.Notebook(name=assignment, assignment=paper)
            session.add_all((paper, notebook))
            session.flush()
        notebook.kernelspec = kernel
        wanted = {(kind, name): info for kind, name, info in _cells(nb)}
        known = {(type(cell), cell.name): cell for cell in _known(session, notebook.id)}
        gone = [cell for which, cell in known.items() if which not in wanted]
        for cell in gone:
            _keep_work_by_hand(session, cell, assignment)
        new = []
        for (kind, name), info in wanted.items():
            cell = known.get((kind, name))
            if cell is None:
                new.append(kind(name=name, notebook_id=notebook.id, **info))
            for field, value in info.items() if cell is not None else ():
                setattr(cell, field, value)
        if not dry:
            for cell in gone:
                for table in (GRADE, COMMENT) if isinstance(cell, api.BaseCell) else ():
                    connection.execute(delete(table).where(table.c.cell_id == cell.id))
                session.delete(cell)
            session.add_all(new)
            session.flush()
            if new:
                _complete(connection, notebook.id)
        return bool(gone or new or any(map(session.is_modified, session.dirty)))


def _complete(connection: Connection, template_id: str) -> None:
    """Give all submitted notebooks the empty grades and comments that they lack."""
    for table, kinds in ((GRADE, GRADED), (COMMENT, COMMENTED)):
        there = select(table.c.id).where(
            table.c.notebook_id == NOTEBOOK.c.id, table.c.cell_id == BASE_CELL.c.id
        )
        lacking = (
            select(NOTEBOOK.c.id, BASE_CELL.c.id)
            .join(BASE_CELL, BASE_CELL.c.notebook_id == NOTEBOOK.c.notebook_id)
            .where(NOTEBOOK.c.notebook_id == template_id, BASE_CELL.c.type.in_(kinds), ~there.exists())
        )
        rows = [{"notebook_id": n, "cell_id": c} for n, c in connection.execute(lacking)]
        write_rows(connection, table, rows, [])


def _known(session: Session, notebook_id: str) -> Iterator[Any]:
    """The gradebook's cells of a notebook, all kinds."""
    every = with_polymorphic(api.BaseCell, "*")
    yield from session.scalars(select(every).where(every.notebook_id == notebook_id))
    yield from session.scalars(select(api.SourceCell).where(api.SourceCell.notebook_id == notebook_id))


def _keep_work_by_hand(session: Session, cell: Any, assignment: str) -> None:
    """Raises GradebookError when a cell that is gone has scores or comments given by hand."""
    if not isinstance(cell, api.BaseCell):
        return
    scored = or_(GRADE.c.manual_score.is_not(None), GRADE.c.extra_credit.is_not(None))
    said = COMMENT.c.manual_comment.is_not(None) & (COMMENT.c.manual_comment != "")
    by_hand = sum(
        session.scalar(select(func.count()).where(table.c.cell_id == cell.id, work))
        for table, work in ((GRADE, scored), (COMMENT, said))
    )
    if by_hand:
        raise GradebookError(
            f"{assignment} no longer has the cell {cell.name!r}, to which {by_hand} scores or comments were"
            " given by hand: put the cell back, or remove them in the gradebook"
        )


class _Row(NamedTuple):
    """What the gradebook must have of one cell: nbgrader's class, the grade id, the other columns."""

    kind: type
    name: str
    info: dict[str, Any]


def _cells(nb: nbformat.NotebookNode) -> list[_Row]:
    """The gradebook's rows for a template's cells, as nbgrader's SaveCells makes them."""
    rows = []
    for cell in nb.cells:
        meta = cell.metadata.get("nbgrader")
        if meta is None:
            continue
        name = meta["grade_id"]
        worth = {"max_score": float(meta.get("points", 0)), "cell_type": cell.cell_type}
        if meta["grade"]:
            rows.append(_Row(api.GradeCell, name, worth))
        if meta["solution"]:
            rows.append(_Row(api.SolutionCell, name, {}))
        if meta.get("task"):
            rows.append(_Row(api.TaskCell, name, worth))
        info = {"cell_type": cell.cell_type, "source": cell.source, "checksum": meta.get("checksum")}
        rows.append(_Row(api.SourceCell, name, {**info, "locked": utils.is_locked(cell)}))
    return rows
