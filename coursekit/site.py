"""Assemble the source of the course's web site: the texts of `docs/` and a page for every assignment.

Sphinx makes the site of it. A page stands at the path of its released notebook, so that a theme's launch buttons,
which are made of repository, branch and path, open that notebook.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from coursekit.build import release_of
from coursekit.course import Course, atomic_write
from coursekit.course_map import launch_links
from coursekit.errors import CourseError
from coursekit.notebooks import executed, last_run, run_notebook
from coursekit.site_page import page_notebook
from coursekit.source import notebook_bytes

__all__ = ["DOCS", "DOWNLOADS", "Site", "assemble"]

DOCS = "docs"
# Released notebooks stand below this folder; the site offers them for download in place of its own pages' sources.
DOWNLOADS = "_sources"
# In every folder that this module made, and thus may empty.
MARKER = ".coursekit-site"


@dataclass(frozen=True)
class Site:
    """A site's source: its folder, the pages of assignments, and the assignments without outputs."""

    folder: Path
    pages: tuple[Path, ...]
    bare: tuple[str, ...]


def assemble(
    course: Course,
    folder: Path,
    *,
    answers: bool = True,
    preview: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Site:
    """Write the site's source into `folder`, in the place of what an earlier call wrote there.

    Args:
        answers: show model answers, folded.
        preview: run nothing: show the outputs of each notebook's last run, of cells that are still the same.
        tell: called with one line on each run.

    Raises:
        CourseError: a notebook fails, a picture is not described, or the folder holds other things.
    """
    texts = dict(_texts(course))
    pages: dict[Path, bytes] = {}
    bare = []
    for name in course.assignments():
        done = _last(course, name) if preview else _run(course, name, tell)
        if not any(cell.get("outputs") for cell in done.cells):
            bare.append(name)
        release = release_of(course.source(name), course)
        path = course.release_notebook(name).relative_to(course.root)
        page = page_notebook(done, release, opening=_opening(course, name, answers), answers=answers)
        pages[path] = notebook_bytes(page)
        texts[Path(DOWNLOADS) / path] = notebook_bytes(release)
    _empty(folder)
    for path, data in (texts | pages).items():
        atomic_write(folder / path, data)
    return Site(folder, tuple(folder / path for path in pages), tuple(bare))


def _run(course: Course, name: str, tell: Callable[[str], None]) -> NotebookNode:
    run = run_notebook(course, name)
    tell(f"{run.seconds:6.1f} s  {name}{'  (kept run)' if run.cached else ''}")
    if run.errors:
        raise CourseError(f"{course.text_source(name)}: {run.errors[0]} ({len(run.errors)} errors in all)")
    return executed(run)


def _last(course: Course, name: str) -> NotebookNode:
    """The current source with the outputs that its last run gave for cells that have not changed since."""
    path, source = last_run(course, name), course.source(name)
    old = nbformat.read(path, as_version=4).cells if path is not None else []
    outputs = {cell.id: cell.outputs for cell in old if cell.cell_type == "code"}
    for cell in source.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs.get(cell.id, [])
    return source


def _opening(course: Course, name: str, answers: bool) -> str:
    """What stands below a page's title: how to get the notebook itself."""
    binder, colab = launch_links(course, name)
    path = course.release_notebook(name).relative_to(course.root)
    up = "../" * (len(path.parts) - 1)
    folded = ", which are folded at the end of each exercise" if answers else ""
    return (
        f"*This page is the notebook after a run with the model answers{folded}."
        f" Work in your own copy: [open in Binder]({binder}), [open in Colab]({colab}), or*"
        f' <a href="{up}{DOWNLOADS}/{path.as_posix()}" download><em>download the notebook</em></a>.'
    )


def _texts(course: Course) -> Iterator[tuple[Path, bytes]]:
    """The files of `docs/`, without what configures Sphinx, runs as Python or is hidden."""
    docs = course.root / DOCS
    if not docs.is_dir():
        raise CourseError(f"no texts for a site: {docs} is not there")
    for path in sorted(docs.rglob("*")):
        inner = path.relative_to(docs)
        aside = any(part.startswith((".", "_")) or part == "node_modules" for part in inner.parts)
        if path.is_file() and not aside and path.suffix not in (".py", ".pyc"):
            yield inner, path.read_bytes()


def _empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is no folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise CourseError(f"{folder} is not empty and was not made by coursekit: choose another folder")
        shutil.rmtree(folder)
    atomic_write(folder / MARKER, b"made by coursekit site\n")
