"""Write the report of an assignment into the class folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nbformat

from coursekit.build import release_of
from coursekit.class_folder import database_of, gradebook_file
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.gradebook import GradebookWriter
from coursekit.report.load import OWN_CELLS, ClassResults, load_results
from coursekit.report.page import page
from coursekit.report.similarity import Pair, similar_pairs
from coursekit.report.table import table

__all__ = ["Report", "released_code", "write_report"]


@dataclass(frozen=True)
class Report:
    """What was written: the page, the table, and how many submissions, unreadable results and pairs are in it."""

    page: Path
    table: Path
    submissions: int
    unreadable: int
    pairs: int


def write_report(
    course: Course,
    class_dir: Path,
    assignment: str,
    *,
    db_url: str | None = None,
    output: Path | None = None,
    table_path: Path | None = None,
) -> Report:
    """Write `reports/ASSIGNMENT.html` and `reports/ASSIGNMENT.csv`, or `output` and `table_path`.

    Raises:
        CourseError: when there is no class folder, nothing is graded, or the gradebook cannot be read.
    """
    if not class_dir.is_dir():
        raise CourseError(f"no class folder: {class_dir} is not there")
    database = gradebook_file(class_dir)
    if db_url is None and not database.is_file():
        # Opening it would make it.
        raise CourseError(f"nothing of {assignment} is graded: {database} is not there")
    with GradebookWriter(database_of(class_dir, db_url), course.course_id) as gradebook:
        standings = gradebook.standings(assignment)
    found = load_results(class_dir, assignment, standings)
    pairs = alike(found, released_code(course, class_dir, assignment))
    folder = class_dir / "reports"
    written = Report(
        output or folder / f"{assignment}.html",
        table_path or folder / f"{assignment}.csv",
        len(found.entries),
        len(found.unreadable),
        len(pairs),
    )
    # A result may hold half of a surrogate pair, which no file can.
    atomic_write(written.page, page(found, pairs).encode("utf-8", "replace"))
    atomic_write(written.table, table(found).encode("utf-8", "replace"))
    return written


def alike(found: ClassResults, stubs: dict[str, list[str]]) -> list[Pair]:
    """The pairs of students whose answers are alike."""
    # What stands outside of the answers is mostly the release's: without it nothing can be said.
    known = {e.student: dict(e.answers) for e in found.ran}
    if OWN_CELLS not in stubs:
        for answers in known.values():
            answers.pop(OWN_CELLS, None)
    return similar_pairs(known, stubs)


def released_code(course: Course, class_dir: Path, assignment: str) -> dict[str, list[str]]:
    """The code that students were given, by exercise, of every release the class has seen."""
    codes: dict[str, list[str]] = {}
    for path in sorted((class_dir / "releases" / assignment).glob("*.ipynb")):
        try:
            nb = release_of(nbformat.read(path, as_version=4), course)
        except Exception as error:  # a damaged file of ours: nbformat raises several kinds
            raise CourseError(f"{path}: a kept release cannot be read: {error}") from error
        own = [c.source for c in nb.cells if c.cell_type == "code" and "nbgrader" not in c.metadata]
        codes.setdefault(OWN_CELLS, []).extend([*own, "\n\n".join(own)])
        for cell in nb.cells:
            if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("solution"):
                codes.setdefault(cell.metadata.nbgrader.grade_id, []).append(cell.source)
    return codes
