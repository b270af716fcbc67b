"""The commands that work on a class: `coursekit collect`, `grade`, `report`, `publish`."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

from coursekit.console import here, one_line_errors, out, print_json, shown
from coursekit.course import Course
from coursekit.errors import CourseError

__all__ = ["add_to", "grade_command"]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for name, command in (
        ("collect", collect_command),
        ("grade", grade_command),
        ("report", report_command),
        ("publish", publish_command),
    ):
        app.command(name)(one_line_errors(command))


def collect_command(
    name: Annotated[str, typer.Argument(help="The assignment.")],
    archive: Annotated[Path, typer.Argument(help="The zip from the LMS, or a folder.")],
    class_dir: Annotated[Path | None, typer.Option("--course", help="The class folder.")] = None,
    layout: Annotated[
        str, typer.Option(help="auto, folders, canvas or moodle; see coursekit.layouts.")
    ] = "auto",
    roster: Annotated[Path | None, typer.Option(help="CSV: which student an id of the LMS means.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace what was collected before.")] = False,
) -> None:
    """Bring handed-in notebooks from an LMS's zip into a class; exit 1 when one is refused or kept out."""
    from coursekit.collect import collect, read_roster

    course = Course.find()
    [assignment] = course.select([name])
    known = None if roster is None else read_roster(roster)
    folder = (class_dir or course.root).resolve()
    found = collect(course, folder, assignment, archive, layout=layout, roster=known, replace=replace)
    for note in found.notes:
        if note.kind not in ("collected", "unchanged") or note.reason:
            out.print(str(note), markup=False)
    kinds = ("collected", "replaced", "unchanged", "kept", "older", "ignored", "refused")
    counts = [f"{found.number(kind)} {kind}" for kind in kinds if found.number(kind)]
    out.print(f"{assignment}, layout {found.layout}: {', '.join(counts) or 'nothing found'}")
    if found.layout == "moodle" and known is None:
        out.print("Moodle numbers students anew for each assignment: name them with --roster WORKSHEET.csv")
    if found.number("refused") or found.number("kept") or not counts:
        raise typer.Exit(1)


def grade_command(
    names: Annotated[list[str] | None, typer.Argument(help="Assignments to grade.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Grade every assignment that was handed in.")] = False,
    class_dir: Annotated[Path | None, typer.Option("--course", help="The class folder.")] = None,
    student: Annotated[list[str] | None, typer.Option(help="Grade this student alone; repeatable.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that grade; all cores by default. 0: this one, to debug."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a Dask cluster that grades, such as tcp://host:8786.")
    ] = None,
    isolation: Annotated[
        str, typer.Option(help="auto, forked, bubblewrap, docker or none: how students' code is confined.")
    ] = "auto",
    db: Annotated[
        str | None, typer.Option(help="Gradebook: sqlite:///… or postgresql://…; gradebook.db by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list; see coursekit.grade.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what has not changed.")] = False,
    feedback: Annotated[bool, typer.Option(help="Write a feedback page for each student.")] = True,
    whole: Annotated[bool, typer.Option("--whole", help="Also run cells that no point depends on.")] = False,
    cell_seconds: Annotated[float, typer.Option(help="Time limit of a cell, and of a check's call.")] = 30.0,
    notebook_seconds: Annotated[float, typer.Option(help="Time limit of a notebook.")] = 300.0,
    memory_mb: Annotated[int, typer.Option(help="Memory limit of a notebook.")] = 2048,
) -> None:
    """Grade what a class handed in: gradebook, graded notebooks, feedback pages, a table of scores."""
    from coursekit.class_folder import ClassFolder
    from coursekit.grade import Crew, Options, grade_assignment
    from coursekit.isolate.limits import Limits

    course = Course.find()
    folder = (class_dir or course.root).resolve()
    if bool(names) == every:
        raise CourseError("say which assignment to grade, or --all")
    chosen = course.select(names or [])
    if every:
        chosen = [name for name in chosen if ClassFolder(folder, name).students()]
    try:
        limits = Limits(
            request_seconds=cell_seconds,
            run_seconds=notebook_seconds,
            cpu_seconds=math.ceil(notebook_seconds),
            memory=memory_mb << 20,
        )
    except ValueError as error:
        raise CourseError(str(error)) from None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    options = Options(
        limits=limits,
        isolation=isolation,
        workers=cores if workers is None else workers,
        scheduler=scheduler,
        db=db,
        force=force,
        feedback=feedback,
        whole=whole,
    )
    found = []
    with Crew(options) as crew:
        for name in chosen:
            with _progress(name, quiet=as_json) as show:
                graded = grade_assignment(
                    course, folder, name, students=student or (), progress=show, crew=crew
                )
            found.append({"assignment": name, "submissions": [g.to_json() for g in graded]})
            if not as_json:
                _print_grades(name, graded, crew.isolations)
    if as_json:
        print_json(found)
    else:
        for what in ("gradebook.db", "feedback", "autograded", "scores"):
            if (folder / what).exists():
                out.print(f"{what:<13} {here(folder / what)}")
    if any(s["status"] == "error" for f in found for s in f["submissions"]):
        raise typer.Exit(1)


class _Rate(ProgressColumn):
    """Submissions per minute, and how long the others will take. What was reused took no time and does not count."""

    def render(self, task: Task) -> Text:
        ran = task.fields["ran"]
        if not ran or task.total is None or not task.elapsed:
            return Text("")
        left = round((task.total - task.completed) * task.elapsed / ran)
        return Text(f"{60 * ran / task.elapsed:.0f}/min {timedelta(seconds=left)}")


@contextlib.contextmanager
def _progress(name: str, *, quiet: bool) -> Iterator[Callable[[Any, int, int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(name, total=None, ran=0)
        ran: set[str] = set()

        def show(row: Any, done: int, total: int) -> None:
            if row.ran:
                ran.add(row.student)
            student = escape(shown(row.student).plain[:30])
            bar.update(task, completed=done, total=total, ran=len(ran), description=f"{name} {student}")

        yield show


def _print_grades(name: str, graded: list[Any], isolations: Mapping[str, str]) -> None:
    table = Table(title=name, title_justify="left", box=None)
    for column in ("student", "points", "status", "remarks"):
        table.add_column(column, justify="right" if column == "points" else "left", overflow="fold")
    for row in graded:
        points = f"{row.standing.points:g} / {row.standing.max_points:g}" if row.standing else "–"
        waits = ["waits for manual grading"] if row.standing and row.standing.needs_manual else []
        flags = list(row.result.flags) if row.result else []
        style = {"graded": "green", "error": "red"}.get(row.status, "yellow")
        remarks = "; ".join([*([row.message] if row.message else []), *flags, *waits])
        table.add_row(shown(row.student), points, Text(row.status, style=style), shown(remarks))
    out.print(table)
    kinds = sorted({row.result.isolation for row in graded if row.result and row.result.isolation})
    if kinds:
        out.print(f"isolation: {'; '.join(isolations.get(kind, kind) for kind in kinds)}", markup=False)


def report_command(
    name: Annotated[str, typer.Argument(help="The assignment.")],
    class_dir: Annotated[Path | None, typer.Option("--course", help="The class folder.")] = None,
    db: Annotated[str | None, typer.Option(help="The gradebook; CLASS/gradebook.db by default.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Write the table here.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the page here.")] = None,
) -> None:
    """Write a graded assignment's report: scores, checks, misconceptions, flags, similar answers."""
    from coursekit.report import write_report

    course = Course.find()
    folder = (class_dir or course.root).resolve()
    (chosen,) = course.select([name])
    report = write_report(course, folder, chosen, db_url=db, output=output, table_path=table)
    for path in (report.page, report.table):
        out.print(f"wrote {here(path)}")
    out.print(f"{report.submissions} submissions, {report.pairs} similar pairs")
    if report.unreadable:
        print(f"coursekit: {report.unreadable} results cannot be read; the page names them", file=sys.stderr)
        raise typer.Exit(1)


def publish_command(
    folder: Annotated[Path, typer.Argument(help="Where to make it, or where it was made before.")],
) -> None:
    """Export the student edition: released notebooks and what they need, no solutions, no hidden tests."""
    from coursekit.publish import publish

    made = publish(Course.find(), folder)
    for path in made.removed:
        out.print(f"removed {path}", markup=False)
    out.print(f"{made.files} files in {here(folder.resolve())}, {len(made.written)} of them new or changed")
