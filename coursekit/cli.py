"""The command line: `coursekit build`, `address`, `check`, `progress`, `run`, `site`, `new-class`,
`demo`; on a class `collect`, `grade`, `report`, `publish`.

Exit code 0: done. 1: done, and something is wrong (stale files, a notebook that cannot run). 2: could not be
done; the reason stands in one line on stderr.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

import coursekit.quick_imports  # noqa: F401 - before what imports jsonschema
from coursekit.address_command import add_to as add_address
from coursekit.class_commands import add_to, grade_command
from coursekit.console import here, one_line_errors, out, print_json, replace_what_cannot_be_shown
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.progress import standing
from coursekit.progress_command import add_to as add_progress
from coursekit.progress_command import print_standing
from coursekit.version import version

__all__ = ["app", "main"]

app = typer.Typer(
    help="Build, check and grade a course of notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        out.print(f"coursekit {version()}")
        raise typer.Exit()


@app.callback()
def _commands(
    said: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version, and end."),
    ] = False,
) -> None:
    # With a callback typer keeps the command's name even while there is one command.
    pass


@app.command("build")
@one_line_errors
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
                out.print(f"wrote {here(path)}")
    wrong += build.stray(course)
    for text in wrong:
        print(f"coursekit: {text.replace(str(course.root) + os.sep, '')}", file=sys.stderr)
    if check and wrong:
        raise typer.Exit(1)
    out.print(f"{len(chosen)} assignments {'are up to date' if check else 'built'}")


@app.command("check")
@one_line_errors
def check_command(
    notebook: Annotated[Path | None, typer.Argument(help="The notebook to run; it is not changed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    cell_seconds: Annotated[float, typer.Option(help="Time limit of a cell.")] = 120.0,
    whole_training: Annotated[bool, typer.Option(help="Do not cut training loops as grading does.")] = False,
) -> None:
    """Run one notebook and print the points of its test cells; exit 1 when it cannot run.

    Without a notebook: list the course's notebooks with what is recorded of them, and run nothing.
    """
    if notebook is None:
        if as_json:
            raise CourseError("--json needs a notebook")
        print_standing(standing(Course.find()))
        return
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
        print_json(report)
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
        out.print(line + Text(cell["status"], style=style))
        if cell["status"] == "failed":
            out.print(Text(textwrap.indent(cell["report"], " " * 6)))
    out.print(f"{report['points']:g} of {report['max_points']:g} points, {report['seconds']:.0f} s")
    if report["problem"]:
        print(f"coursekit: {report['notebook']}: {report['problem']}", file=sys.stderr)


@app.command("run")
@one_line_errors
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
        out.print(f"{run.seconds:6.1f} s {peak} MB  {name}{'  (kept run)' if run.cached else ''}")
        wrong += [f"{name}: {text}" for text in (*run.errors, *run.over)]
        rows.append({"assignment": name, "seconds": run.seconds, "peak_mb": run.peak_mb})
    if report is not None:
        atomic_write(report, json.dumps(rows, indent=1).encode())
    for text in wrong:
        print(f"coursekit: {text}", file=sys.stderr)
    if wrong:
        raise typer.Exit(1)


@app.command("site")
@one_line_errors
def site_command(
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where; build/site/source unless named.")
    ] = None,
    answers: Annotated[bool, typer.Option(help="Show model answers, folded.")] = True,
    preview: Annotated[
        bool, typer.Option("--preview", help="Run nothing: show outputs of earlier runs.")
    ] = False,
) -> None:
    """Assemble the source of the course's web site: the texts of docs/ and a page for each assignment, with outputs."""
    from coursekit.site import assemble

    course = Course.find()
    where = course.root / "build" / "site" / "source" if folder is None else folder.resolve()
    made = assemble(course, where, answers=answers, preview=preview, tell=out.print)
    for name in made.bare:
        print(f"coursekit: {name} has no outputs", file=sys.stderr)
    out.print(f"{len(made.pages)} pages in {here(made.folder)}")


@app.command("new-class")
@one_line_errors
def new_class_command(
    folder: Annotated[Path, typer.Argument(help="Where to make it.")],
    size: Annotated[int | None, typer.Option(help="Number of students.")] = None,
    assignment: Annotated[list[str] | None, typer.Option(help="This assignment alone; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed gives other students' ids.")] = 2,
) -> None:
    """Make a class of students who are right, wrong, stuck or unlucky, to try grading on."""
    from coursekit.new_class import DEFAULT_SIZE, new_class

    course = Course.find()
    students = new_class(
        course, folder.resolve(), size=size or DEFAULT_SIZE, seed=seed, assignments=assignment or ()
    )
    out.print(f"{len(students)} students in {here(folder.resolve())}; class.json says who is what")


@app.command("demo")
@one_line_errors
def demo_command(
    folder: Annotated[Path, typer.Argument(help="Where to make the class.")],
    size: Annotated[int | None, typer.Option(help="Number of students.")] = None,
) -> None:
    """Make a class as `new-class` does and grade it, without isolation where nothing isolates: its code is the course's own."""
    from coursekit.isolate.launch import best
    from coursekit.isolate.setup import Setup

    isolation = "auto"
    try:
        best(setup=Setup.of(Course.find())).close()
    except CourseError as error:
        isolation = "none"
        out.print(f"graded with --isolation none, for this class is made by the course itself: {error}")
    new_class_command(folder, size)
    grade_command(every=True, class_dir=folder, isolation=isolation, cell_seconds=15.0)


add_to(app)
add_address(app)
add_progress(app)


def main() -> None:
    """The command `coursekit`."""
    replace_what_cannot_be_shown()
    app(prog_name="coursekit")


if __name__ == "__main__":
    main()
