"""Text source → nbgrader's source notebook → student release, and its guide."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from coursekit.course import Course, atomic_write
from coursekit.course_map import with_tables
from coursekit.errors import CourseError
from coursekit.guide import guide_bytes, guide_of
from coursekit.leaks import leaks
from coursekit.source import notebook_bytes

__all__ = ["Built", "build", "readme", "release_of", "stale", "stray", "write"]

# Preprocessors of nbgrader's GenerateAssignment that have no place in a build: a database and a kernel.
SKIPPED = ("SaveCells", "InstantiateTests")
# Those that take out what graders keep.
REVEALING = ("ClearHiddenTests", "ClearMarkScheme")


@dataclass(frozen=True)
class Built:
    """One assignment as built: what must stand in each generated file."""

    name: str
    files: dict[Path, bytes]


def build(course: Course, name: str) -> Built:
    """Build assignment `name` in memory.

    Raises:
        CourseError: when the source breaks the format, nbgrader refuses it, a test has no check, or the release would leak.
    """
    path = course.text_source(name)
    source = course.source(name)
    nbformat.validate(source)
    _all_have_checks(source, course, name)
    release = release_of(source, course)
    found = leaks(source, release)
    if found:
        raise CourseError(f"{path}: the release would give away {found[0]} ({len(found)} leaks in all)")
    files = {
        course.source_notebook(name): notebook_bytes(source),
        course.release_notebook(name): notebook_bytes(release),
    }
    if (target := course.guide_file(name)) is not None:
        guide = _guide(course, release)
        if found := leaks(source, guide):
            raise CourseError(f"{path}: its guide would give away {found[0]}")
        files[target] = guide_bytes(guide)
    return Built(name, files)


def _guide(course: Course, release: NotebookNode) -> dict[str, Any]:
    name = release.metadata.coursekit.assignment
    return guide_of(
        release,
        _checks(course, name),
        notebook=course.release_notebook(name).relative_to(course.root).as_posix(),
        source=course.text_source(name).relative_to(course.root).as_posix(),
        page=course.page(name),
        distribution=course.distribution,
        install=course.install,
    )


def _checks(course: Course, name: str) -> Mapping[str, Any]:
    """The checks of an assignment by id; none when the course has none for it."""
    try:
        return course.checks_module().checks_of(name) if "checks" in course.settings else {}
    except KeyError:
        return {}


def _all_have_checks(source: NotebookNode, course: Course, name: str) -> None:
    """Points come from checks: a test without one could not earn any."""
    if "checks" not in course.settings:
        return
    known = _checks(course, name)
    metas = [c.metadata.get("nbgrader", {}) for c in source.cells]
    tests = [m["grade_id"] for m in metas if m.get("grade") and not m.get("solution")]
    missing = [t for t in tests if t not in known]
    if missing:
        raise CourseError(
            f"{course.text_source(name)}: no check is called {', '.join(missing)}; points come from checks alone"
        )


def readme(course: Course) -> Built:
    """README.md and the students' README with their tables brought up to date; nothing where there is no README."""
    files = {}
    for path in (course.root / "README.md", course.release_dir / "README.md"):
        if path.is_file():
            where = path.relative_to(course.root).as_posix()
            files[path] = with_tables(path.read_text(encoding="utf-8"), course, where).encode()
    return Built("README.md", files)


def release_of(source: NotebookNode, course: Course, *, hidden: bool = False) -> NotebookNode:
    """The student's notebook of a source notebook, by nbgrader's own `generate_assignment` preprocessors.

    With `hidden` its hidden tests and mark schemes are still there and its solutions gone: what nbgrader's
    gradebook holds, and what submissions are rebuilt from.

    Raises:
        CourseError: with nbgrader's reason when it refuses the notebook.
    """
    # Imported here: it takes over a second, which `coursekit check` must not pay (nor need nbgrader at all).
    from nbgrader.converters import GenerateAssignment

    logging.getLogger("traitlets").setLevel(logging.CRITICAL)  # nbgrader logs a traceback before it raises
    nb, resources = copy.deepcopy(source), {}
    for preprocessor in GenerateAssignment.preprocessors.default_args[0]:
        if preprocessor.__name__ in SKIPPED or (hidden and preprocessor.__name__ in REVEALING):
            continue
        step = preprocessor(config=course.config)
        if not step.enabled:
            continue
        try:
            nb, resources = step.preprocess(nb, resources)
        except Exception as error:  # nbgrader raises RuntimeError, ValidationError and others
            name = source.metadata.coursekit.assignment
            raise CourseError(f"{course.text_source(name)}: nbgrader refuses it: {error}") from error
    return nb


def stale(built: Built) -> list[str]:
    """What of `built` is not on disk as it must be: 'PATH is missing' or 'PATH is stale'."""
    return [
        f"{path} {'is stale' if path.exists() else 'is missing'}"
        for path, data in built.files.items()
        if not path.is_file() or path.read_bytes() != data
    ]


def stray(course: Course) -> list[str]:
    """Files among the generated ones that no source makes, one text each."""
    names = course.assignments()
    made = {course.source_notebook(n) for n in names} | {course.release_notebook(n) for n in names}
    made.add(course.release_dir / "README.md")  # written by hand, for students
    found = [p for p in _files(course.release_dir) if p not in made]
    # Beside a source notebook nbgrader would copy any file into its release.
    for folder in sorted(p for p in course.source_dir.glob("*") if p.is_dir() and not _hidden(p.name)):
        found += [p for p in _files(folder) if p not in made]
    if course.guide_dir is not None:
        made |= {course.guide_file(n) for n in names}
        found += [p for p in _files(course.guide_dir) if p not in made]
    return [f"{path} is made by no source" for path in found]


def write(built: Built) -> list[Path]:
    """Write the files of `built` that changed and name them; a file is replaced in one step."""
    return [path for path, data in built.files.items() if atomic_write(path, data)]


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and not any(_hidden(part) for part in path.relative_to(folder).parts):
            yield path


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__pycache__"
