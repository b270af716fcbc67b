"""The command `coursekit address`: where the course is published, said once and written wherever it stands."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from coursekit.address import Address, moved
from coursekit.console import one_line_errors, out
from coursekit.course import Course, atomic_write

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("address")(one_line_errors(address_command))


def address_command(
    url: Annotated[
        str | None, typer.Argument(help="https://github.com/OWNER/REPOSITORY; the present one when left out.")
    ] = None,
    branch: Annotated[str | None, typer.Option(help="What Binder, Colab and pip take.")] = None,
    site: Annotated[
        str | None, typer.Option(help="The web site; of a new repository, its GitHub Pages.")
    ] = None,
) -> None:
    """Say, or set, the address that the course is published at; set, it builds anew what is made of it.

    Nothing is asked at that address, and no notebook's release changes by it.
    """
    course = Course.find()
    old = Address.of(course)
    new = old.changed(url, branch, site)
    if (url, branch, site) != (None, None, None):
        written = _move(course, new)
        out.print(f"{written} files written")
    for name, text in vars(new).items():
        out.print(f"{name:<11} {text or '(none)'}")


def _move(course: Course, new: Address) -> int:
    """Give the course another address; the number of files that changed."""
    from coursekit import build  # nbgrader takes a second to import

    there = dataclasses.replace(course, settings={**course.settings, **vars(new)})
    # All of it before the first file is written: what cannot be built leaves everything as it was.
    by_hand = moved(course, new)
    generated = [build.build(there, name) for name in there.assignments()]
    *texts, project = by_hand.items()
    written = sum(atomic_write(path, data) for path, data in texts)
    written += sum(len(build.write(built)) for built in generated)
    written += len(build.write(build.readme(there)))
    return written + atomic_write(*project)
