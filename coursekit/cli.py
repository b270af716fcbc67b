"""The command line: `coursekit build`, `check`, `run`, `grade`, `new-class`.

Exit code 0: done. 1: done, and something is wrong (stale files, a notebook that cannot run). 2: could not be
done; the reason stands in one line on stderr.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError

__all__ = ["app"]

app = typer.Typer(
    help="Build, check and grade a course of notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_out = Console(highlight=False, soft_wrap=True)


@app.callback()
def _commands() -> None:
    # With a callback typer keeps the command's name even while there is one command.
    pass


def _one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn an exception into one line on stderr and exit code 2; COURSEKIT_DEBUG=1 shows the traceback."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except CourseError as error:
            reason = str(error)
        except KeyboardInterrupt:
            reason = "interrupted"
        except Exception as error:
            reason = f"unexpected {type(error).__name__}: {error} (COURSEKIT_DEBUG=1 shows where)"
            if os.environ.get("COURSEKIT_DEBUG"):
                raise
        print(f"coursekit: {' '.join(reason.split())}", file=sys.stderr)
        raise typer.Exit(2)

    return wrapped


def _here(path: Path) -> str:
    """`path` as seen from the working folder when it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@app.command("build")
@_one_line_errors
def build_command(
    names: Annotated[list[str] | None, typer.Argument(help="Assignments; all when none is named.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; name what is stale.")] = False,
) -> None:
    """Build source notebooks and student releases from the text sources."""
    from coursekit import build

    course = Course.find()
    chosen = course.select(names or [])
    wrong: list[str] = []
    for built in (*(build.build(course, name) for name in chosen), build.readme(course)):
        if check:
            wrong += build.stale(built)
        else:
            for path in build.write(built):
                _out.print(f"wrote {_here(path)}")
    wrong += build.stray(course)
    for text in wrong:
        print(f"coursekit: {text.replace(str(course.root) + os.sep, '')}", file=sys.stderr)
    if check and wrong:
        raise typer.Exit(1)
    _out.print(f"{len(chosen)} assignments {'are up to date' if check else 'built'}")


@app.command("check")
@_one_line_errors
def check_command(
    notebook: Annotated[Path, typer.Argument(help="The notebook to run; it is not changed.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    cell_seconds: Annotated[float, typer.Option(help="Time limit of a cell.")] = 120.0,
    whole_training: Annotated[bool, typer.Option(help="Do not cut training loops as grading does.")] = False,
) -> None:
    """Run one notebook and print the points of its test cells; exit 1 when it cannot run."""
    from coursekit.check import check_notebook
    from coursekit.execute import Limits

    try:
        env = {} if whole_training else Course.find().training_cut
    except CourseError:  # a student may have the notebook alone
        env = {}
    limits = Limits(cell_seconds, max(600.0, cell_seconds))
    try:
        report = check_notebook(notebook, limits=limits, env=env)
    except CourseError as error:
        if not as_json:
            print(f"coursekit: {error}", file=sys.stderr)
            raise typer.Exit(1) from None
        report = {"notebook": str(notebook), "problem": str(error), "cells": []}
    if as_json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
    else:
        _print_check(report)
    if report["problem"]:
        raise typer.Exit(1)


def _print_check(report: dict[str, Any]) -> None:
    width = max([len(c["id"]) for c in report["cells"]], default=0)
    for cell in report["cells"]:
        points = "  –" if cell["points"] is None else f"{cell['points']:3g}"
        style = {"passed": "green", "failed": "red", "not run": "red"}.get(cell["status"], "yellow")
        line = Text(f"{points} / {cell['max_points']:<3g} {cell['id']:<{width}}  ")
        _out.print(line + Text(cell["status"], style=style))
        if cell["status"] == "failed":
            _out.print(Text(textwrap.indent(cell["report"], " " * 6)))
    _out.print(f"{report['points']:g} of {report['max_points']:g} points, {report['seconds']:.0f} s")
    if report["problem"]:
        print(f"coursekit: {report['notebook']}: {report['problem']}", file=sys.stderr)


@app.command("run")
@_one_line_errors
def run_command(
    names: Annotated[list[str] | None, typer.Argument(help="Assignments; all when none is named.")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write the costs to this JSON file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run again what has a kept run.")] = False,
) -> None:
    """Run the notebooks with their solutions; print their cost; exit 1 when one fails or costs too much."""
    from coursekit.notebooks import run_notebook

    course = Course.find()
    rows, wrong = [], []
    for name in course.select(names or []):
        run = run_notebook(course, name, force=force)
        peak = "     ?" if run.peak_mb is None else f"{run.peak_mb:6.0f}"
        _out.print(f"{run.seconds:6.1f} s {peak} MB  {name}{'  (kept run)' if run.cached else ''}")
        wrong += [f"{name}: {text}" for text in (*run.errors, *run.over)]
        rows.append({"assignment": name, "seconds": run.seconds, "peak_mb": run.peak_mb})
    if report is not None:
        atomic_write(report, json.dumps(rows, indent=1).encode())
    for text in wrong:
        print(f"coursekit: {text}", file=sys.stderr)
    if wrong:
        raise typer.Exit(1)


@app.command("grade")
@_one_line_errors
def grade_command(
    names: Annotated[list[str] | None, typer.Argument(help="Assignments to grade.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Grade every assignment that was handed in.")] = False,
    class_dir: Annotated[Path | None, typer.Option("--course", help="The class folder.")] = None,
    student: Annotated[list[str] | None, typer.Option(help="Grade this student alone; repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list; see coursekit.grade.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Run again what has not changed.")] = False,
    cell_seconds: Annotated[float, typer.Option(help="Time limit of a cell.")] = 30.0,
    notebook_seconds: Annotated[float, typer.Option(help="Time limit of a notebook.")] = 300.0,
) -> None:
    """Grade what a class handed in: gradebook, graded notebooks, feedback pages, a table of scores."""
    from coursekit.execute import Limits
    from coursekit.grade import grade_assignment, students_of

    course = Course.find()
    folder = (class_dir or course.root).resolve()
    if bool(names) == every:
        raise CourseError("say which assignment to grade, or --all")
    chosen = course.select(names or [])
    if every:
        chosen = [name for name in chosen if students_of(folder, name)]
    limits = Limits(cell_seconds, notebook_seconds)
    found = []
    for name in chosen:
        with _progress(name, quiet=as_json) as show:
            graded = grade_assignment(
                course, folder, name, students=student or (), limits=limits, force=force, progress=show
            )
        found.append({"assignment": name, "submissions": [g.to_json() for g in graded]})
        if not as_json:
            _print_grades(name, graded)
    if as_json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        for what in ("gradebook.db", "feedback", "autograded", "scores"):
            _out.print(f"{what:<13} {_here(folder / what)}")
    if any(s["status"] == "error" for f in found for s in f["submissions"]):
        raise typer.Exit(1)


@contextlib.contextmanager
def _progress(name: str, *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)

        def show(student: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=f"{name} {student}")

        yield show


def _print_grades(name: str, graded: list[Any]) -> None:
    table = Table(title=name, title_justify="left", box=None)
    for column in ("student", "points", "status", "remarks"):
        table.add_column(column, justify="right" if column == "points" else "left", overflow="fold")
    for row in graded:
        points = f"{row.standing.points:g} / {row.standing.max_points:g}" if row.standing else "–"
        waits = ["waits for manual grading"] if row.standing and row.standing.needs_manual else []
        flags = list(row.result.flags) if row.result else []
        style = {"graded": "green", "error": "red"}.get(row.status, "yellow")
        remarks = "; ".join([*([row.message] if row.message else []), *flags, *waits])
        table.add_row(Text(row.student), points, Text(row.status, style=style), Text(remarks))
    _out.print(table)


@app.command("new-class")
@_one_line_errors
def new_class_command(
    folder: Annotated[Path, typer.Argument(help="Where to make it.")],
    size: Annotated[int | None, typer.Option(help="Number of students.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other students' ids.")] = 2,
) -> None:
    """Make a class of students who are right, wrong, stuck or unlucky, to try grading on."""
    from coursekit.new_class import DEFAULT_SIZE, new_class

    course = Course.find()
    students = new_class(course, folder.resolve(), size=size or DEFAULT_SIZE, seed=seed)
    _out.print(f"{len(students)} students in {_here(folder.resolve())}; class.json says who is what")


if __name__ == "__main__":
    app()
