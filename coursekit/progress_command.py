"""The command `coursekit progress`, and the table that `coursekit check` prints without a notebook."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from coursekit.console import here, one_line_errors, out, shown
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.progress import Assignment, next_step, standing
from coursekit.progress_page import progress_page
from coursekit.records import home

__all__ = ["add_to", "print_standing"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("progress")(one_line_errors(progress_command))


def progress_command(
    page: Annotated[
        Path | None, typer.Option("--html", help="Also write a page with all checks here.")
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show that page in the browser.")] = False,
) -> None:
    """Show which checks of the course hold, as check cells and `coursekit check` recorded them on this machine."""
    course = Course.find()
    found = standing(course)
    print_standing(found)
    if page is None and open_it:
        page = _own_page()
    if page is None:
        return
    page = page.resolve()
    name = course.distribution or course.root.name
    try:
        atomic_write(page, progress_page(name, found).encode("utf-8"))
    except OSError as error:
        raise CourseError(f"{page}: cannot be written: {error.strerror}") from error
    out.print(f"wrote {here(page)}", markup=False)
    if open_it and not webbrowser.open(page.as_uri()):
        raise CourseError(f"no browser here: open {page} yourself")


def print_standing(assignments: Sequence[Assignment]) -> None:
    """Print a table, one row an assignment, and what to do next."""
    table = Table(box=None, pad_edge=False)
    table.add_column("notebook")
    table.add_column("checks", justify="right")
    table.add_column("points", justify="right")
    for a in assignments:
        checks, points = f"{a.passed} of {len(a.steps)}", f"{a.points:g} of {a.max_points:g}"
        style = "green" if a.passed == len(a.steps) else "yellow" if a.started else None
        note = f"  ({a.older} in another release)" if a.older else ""
        table.add_row(shown(a.guide.assignment), checks + note, points, style=style)
    out.print(table)
    found = next_step(assignments)
    if found is None:
        out.print("All checks hold.")
        return
    assignment, exercise = found
    effort = f", about {exercise.about.minutes} minutes" if exercise.about.minutes else ""
    out.print(f"Next: {exercise.heading}{effort}, in {here(assignment.notebook)}", markup=False)


def _own_page() -> Path:
    try:
        return home() / "progress.html"
    except RuntimeError as error:
        raise CourseError(f"no home for the page ({error}): name a file with --html") from error
