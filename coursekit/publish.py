"""Export the student edition: the released notebooks, the packages that they use and what installs them.

`[tool.coursekit]` says what goes in beside the notebooks:

    publish = ["flowlib", "pyproject.toml", { from = "course/README.md", to = "README.md" }]

`coursekit` may go along whole: `coursekit check` is its students' part, and the rest holds no secret. Checks that
give hints need wrong implementations at run time, and who reads those knows the right ones; a course that would rather
give hints in its feedback alone leaves them out:

    publish = [{ from = "checks", to = "checks", without = ["catalogue/[a-z]*.py"] }]

`.published.json` in the exported folder lists its files, so that publishing again removes what is gone and touches
nothing else, such as `.git`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from coursekit import build
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.leaks import lines_by_kind, texts
from coursekit.regions import MARKERS, SOLUTION

__all__ = ["MARKER", "Published", "edition", "leaks_of", "publish"]

MARKER = ".published.json"
# Shorter lines (`else:`, `return x`, `assert y > 0`) stand everywhere.
SHORTEST_SECRET = 12
# What the class works with, in nbgrader's names and in coursekit's.
CLASS_PARTS = (
    "submitted",
    "autograded",
    "feedback",
    "results",
    "releases",
    "scores",
    "class",
    "gradebook.db",
)
_LEFT_OUT = ("__pycache__", "tests")


@dataclass(frozen=True)
class Published:
    """The paths that publishing wrote and removed; `files` counts the edition's."""

    files: int
    written: tuple[str, ...]
    removed: tuple[str, ...]


def publish(course: Course, folder: Path) -> Published:
    """Make `folder` hold the student edition; nothing is written unless everything is in order.

    Raises:
        CourseError: when a release is stale, something would leak, `[tool.coursekit]` asks for what must not go
            out, the folder belongs to the course or holds files of others, or writing fails.
    """
    folder = folder.resolve()
    _check_folder(course, folder)
    files = edition(course)
    if found := leaks_of(course, {name: data for name, (data, _) in files.items()}):
        raise CourseError(f"not published: {found[0]} ({len(found)} leaks in all)")
    before = _published_before(folder)
    for name in files:
        _check_place(folder, name, ours=name in before, data=files[name][0])
    written = []
    try:
        # Both old and new: should this be cut short, the next run knows every file.
        _write_marker(folder, before | files.keys())
        for name, (data, executable) in sorted(files.items()):
            path = folder / name
            if atomic_write(path, data):
                written.append(name)
            if executable:
                path.chmod(path.stat().st_mode | 0o111)
        removed = [name for name in sorted(before - files.keys()) if _remove(folder, name)]
        _write_marker(folder, set(files))
    except OSError as error:
        raise CourseError(
            f"{error.filename or folder}: cannot be written: {error.strerror or error}"
        ) from error
    return Published(len(files), tuple(written), tuple(removed))


def edition(course: Course) -> dict[str, tuple[bytes, bool]]:
    """The student edition: path in it → its bytes, and whether it is executable.

    Raises:
        CourseError: when a release is stale, or `publish` in `[tool.coursekit]` cannot be followed.
    """
    files: dict[str, tuple[bytes, bool]] = {}
    for name in course.select([]):
        built = build.build(course, name)
        if wrong := build.stale(built):
            raise CourseError(f"{wrong[0]}: run coursekit build")
        path = course.release_notebook(name)
        files[path.relative_to(course.root).as_posix()] = (built.files[path], False)
    for source, target, without in _wanted(course):
        unused = set(without)
        for path in _files(course, source):
            inner = path.relative_to(source).as_posix()
            if found := {pattern for pattern in without if fnmatch.fnmatchcase(inner, pattern)}:
                unused -= found
                continue
            name = target.as_posix() if inner == "." else (target / inner).as_posix()
            if name in files:
                raise CourseError(f"[tool.coursekit] publish: {name} is there twice")
            files[name] = (path.read_bytes(), os.access(path, os.X_OK))
        if unused:  # a misspelled pattern would give away what it was to keep
            raise CourseError(f"[tool.coursekit] publish: without {sorted(unused)} leaves out nothing")
    return files


def leaks_of(course: Course, files: Mapping[str, bytes]) -> list[str]:
    """What `files` give away of the course's sources, one text each: file, line, what.

    Secret is a line of 12 characters or more that stands in the sources' hidden regions alone. Hidden tests and mark
    schemes are searched in every file, as parts of longer lines, too; solutions in notebooks and texts, where they
    are lines of their own: packages share lines with solutions by right.
    """
    hidden, solutions = _secrets(course)
    found = []
    for name, data in sorted(files.items()):
        text = data.decode("utf-8", "replace")
        found += [_where(name, text, line, "a hidden test") for line in sorted(hidden) if _holds(text, line)]
        if name.endswith((".ipynb", ".md")):
            lines = _lines(name, text)
            found += [_where(name, text, line, "a solution") for line in sorted(solutions & lines)]
            marked = sorted(m for m in MARKERS if any(m in line for line in lines))
            found += [_where(name, text, m, "the marker") for m in marked]
    return found


def _secrets(course: Course) -> tuple[set[str], set[str]]:
    """Lines of hidden tests and mark schemes; lines of solutions. None of them stands outside in any source."""
    hidden: set[str] = set()
    solutions: set[str] = set()
    public: set[str] = set()
    for name in course.assignments():
        for line, kind in lines_by_kind(course.source(name)):
            (public if kind is None else solutions if kind == SOLUTION else hidden).add(line)
    long = {line for line in (hidden | solutions) - public if len(line) >= SHORTEST_SECRET}
    long -= {line for line in long if any(m in line for m in MARKERS)}
    return hidden & long, solutions & long


def _spellings(line: str) -> set[str]:
    """`line` as it stands in plain text and in JSON."""
    return {line, json.dumps(line)[1:-1], json.dumps(line, ensure_ascii=False)[1:-1]}


def _holds(text: str, line: str) -> bool:
    return any(spelling in text for spelling in _spellings(line))


def _lines(name: str, text: str) -> set[str]:
    """The lines of a text, or of every text in a notebook, stripped."""
    whole = [text]
    if name.endswith(".ipynb"):
        with contextlib.suppress(ValueError):  # a damaged notebook is text
            whole = [text, *texts(json.loads(text))]
    return {line.strip() for part in whole for line in part.split("\n")}


def _where(name: str, text: str, line: str, what: str) -> str:
    at = min((i for s in _spellings(line) if (i := text.find(s)) >= 0), default=0)
    number = text.count("\n", 0, at) + 1
    return f"{name}:{number} would give away {what}: {line!r}"


def _wanted(course: Course) -> Iterator[tuple[Path, PurePosixPath, list[str]]]:
    """What `publish` asks for: a path of the course, where it goes in the edition, and what to leave out of it."""
    wanted: Any = course.settings.get("publish")
    if not isinstance(wanted, list) or not wanted:
        raise CourseError(
            f'{course.root / "pyproject.toml"}: [tool.coursekit] lacks publish = ["package", "pyproject.toml", …],'
            " what students get beside the notebooks"
        )
    for item in wanted:
        table = {"from": item, "to": item} if isinstance(item, str) else item
        if not isinstance(table, dict) or not {"from", "to"} <= table.keys() <= {"from", "to", "without"}:
            raise CourseError(
                f"[tool.coursekit] publish: expected a path or {{from, to, without}}, got {item!r}"
            )
        without = table.get("without", [])
        if not isinstance(without, list) or not all(
            isinstance(text, str) and text for text in (table["from"], table["to"], *without)
        ):
            raise CourseError(
                f"[tool.coursekit] publish: expected texts, and a list of them after without, got {item!r}"
            )
        yield _allowed(course, table["from"]), _inner(table["to"]), without


def _inner(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.parts[:1] in ((), (".git",)) or "\\" in name:
        raise CourseError(f"[tool.coursekit] publish: expected a path inside the edition, got {name!r}")
    return path


def _allowed(course: Course, name: str) -> Path:
    """The path `name` of the course, when it may go out."""
    path = course.root / _inner(name)
    if not path.exists():
        raise CourseError(f"[tool.coursekit] publish: {path} is not there")
    secret = [course.source_dir, *(course.root / part for part in (*CLASS_PARTS, "tests", ".git"))]
    for other in secret:
        if path == other or other in path.parents or path in other.parents:
            raise CourseError(f"[tool.coursekit] publish: {name} must not go out, for {other.name} must not")
    return path


def _files(course: Course, source: Path) -> Iterator[Path]:
    """The files at and below `source`, without what tools leave there.

    A link would bring along what it points to, unseen.
    """
    for part in (source, *source.parents):
        if part == course.root:
            break
        if part.is_symlink():
            raise CourseError(f"[tool.coursekit] publish: {part} is a symbolic link")
    for path in [source] if source.is_file() else sorted(source.rglob("*")):
        parts = path.relative_to(source).parts
        if any(p.startswith(".") or p in _LEFT_OUT or p.endswith((".egg-info", ".pyc")) for p in parts):
            continue
        if path.is_symlink():
            raise CourseError(f"[tool.coursekit] publish: {path} is a symbolic link")
        if path.is_file():
            yield path


def _check_folder(course: Course, folder: Path) -> None:
    """Refuse a folder that is part of what the course is made of, or holds what publishing did not write."""
    own = [course.source_dir, course.release_dir, *(source for source, _, _ in _wanted(course))]
    if folder == course.root or folder in course.root.parents:
        raise CourseError(f"{folder} holds the course itself: choose another folder")
    for path in own:
        if folder == path or path in folder.parents:
            raise CourseError(f"{folder} is inside the course's own {path.name}: choose another folder")
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"{folder} is no folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise CourseError(f"{folder} is not empty and was not published by coursekit: choose another folder")


def _published_before(folder: Path) -> set[str]:
    """The files that the folder's marker lists.

    Raises:
        CourseError: when the marker is damaged; a path in it that leads elsewhere is damage.
    """
    path = folder / MARKER
    if not path.is_file():
        return set()
    try:
        names = json.loads(path.read_bytes())["files"]
        return {_inner(name).as_posix() for name in names}
    except (ValueError, KeyError, TypeError, AttributeError, CourseError) as error:
        raise CourseError(f"{path} is damaged ({error}): publish into an empty folder") from error


def _check_place(folder: Path, name: str, *, ours: bool, data: bytes) -> None:
    """Refuse to write over a file of somebody else, or through a link."""
    path = folder / name
    for part in (path, *path.parents):
        if part == folder:
            break
        if part.is_symlink() or (part != path and part.exists() and not part.is_dir()):
            raise CourseError(f"{part} is not what publishing made there: move it away")
    if path.is_dir() or (path.exists() and not ours and path.read_bytes() != data):
        raise CourseError(f"{path} was not made by publishing: move it away")


def _remove(folder: Path, name: str) -> bool:
    """Remove a file of an earlier edition, and the folders that it leaves empty."""
    path = folder / name
    parents = [p for p in path.parents if folder in p.parents]
    if any(p.is_symlink() for p in parents) or not (path.is_file() or path.is_symlink()):
        return False
    path.unlink()
    for parent in parents:
        if any(parent.iterdir()):
            break
        parent.rmdir()
    return True


def _write_marker(folder: Path, names: set[str]) -> None:
    text = json.dumps({"about": "made by coursekit publish", "files": sorted(names)}, indent=1)
    atomic_write(folder / MARKER, (text + "\n").encode("utf-8"))
