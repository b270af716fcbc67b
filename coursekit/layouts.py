"""Whose notebook is it? How learning management systems name what they put into a zip.

canvas    `NAME[_LATE]_USER_FILE_original.ipynb`, or `[LATE_]anon_ID_FILE_original.ipynb` when grading is
          anonymous: USER is the student's number in Canvas, FILE that of the uploaded file. Canvas itself counts
          on `_digits_digits_` to stand nowhere before (`lib/content_zipper.rb` in instructure/canvas-lms).
moodle    `FULL NAME_ID_assignsubmission_file/…/original.ipynb`, with `_` before the `/` in some versions, or all in
          one folder as `FULL NAME_ID_assignsubmission_file_original.ipynb`. ID is the student's number within this
          assignment, which the grading worksheet calls "Participant ID" (`mod/assign/classes/downloader.php`).
folders   `STUDENT/…/original.ipynb`; a folder around all of them that is called as the archive, or `submitted`, is
          passed over.

Canvas and Moodle stamp every entry with the time of the download, so only `folders` says when a student handed in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["LAYOUTS", "Handed", "guess_layout", "plain_folder_name", "reader_of"]

LAYOUTS = ("folders", "canvas", "moodle")

_CANVAS = re.compile(r"(?P<name>.*?)(?P<late>_LATE)?_(?P<user>\d+)_(?P<file>\d+)_(?P<original>.+)", re.S)
_CANVAS_ANONYMOUS = re.compile(r"(?P<late>LATE_)?(?P<user>anon_[^_]+)_(?P<file>\d+)_(?P<original>.+)", re.S)
_MOODLE = re.compile(r"(?P<name>.*)_(?P<user>\d+)_assignsubmission_file(?:_(?P<original>.*))?", re.S)
# What Canvas adds to the name of a file that was handed in again: `-1`, `-2`.
_AGAIN = re.compile(r"-(\d{1,4})$")
_RESERVED = {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(10)}
# `/` and `\` separate, Windows has none of the others, and nbgrader takes brackets for patterns.
_FORBIDDEN = re.compile(r'[/\\<>:"|?*\[\]]')


@dataclass(frozen=True)
class Handed:
    """What an entry's name tells: the student's id in the layout, the file's own name and folders, and `late`.

    The `version` of two files of one student orders them: the larger one was handed in later.
    """

    student: str
    original: str
    folders: tuple[str, ...] = ()
    version: tuple[int, int] = (0, 0)
    late: bool = False


def plain_folder_name(name: str) -> str:
    """`name`, NFC-normalized, if a folder may be called so on every system.

    >>> plain_folder_name("s2100")
    's2100'

    Raises:
        ValueError: with the reason, when it may not.
    """
    name = unicodedata.normalize("NFC", name)
    if not name.strip():
        raise ValueError("is empty")
    if name.startswith("."):
        raise ValueError("begins with '.'")
    if name[-1] in " ." or name[0] == " ":
        raise ValueError("begins or ends with a blank or a dot")
    if found := _FORBIDDEN.search(name):
        raise ValueError(f"holds {found[0]!r}")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in name):
        raise ValueError("holds a control character")
    if len(name.encode("utf-8")) > 255:
        raise ValueError("is longer than 255 bytes")
    if name.split(".")[0].lower() in _RESERVED:
        raise ValueError("is a name that Windows reserves for a device")
    return name


def guess_layout(names: Iterable[str]) -> str:
    """The layout that the names of an archive's notebooks follow.

    >>> guess_layout(["frellsenjes_LATE_123_456_01.ipynb"]), guess_layout(["s1/01.ipynb"])
    ('canvas', 'folders')
    """
    names = list(names)
    if any(_moodle(name) for name in names):
        return "moodle"
    return "canvas" if 2 * sum(_canvas(name) is not None for name in names) > len(names) else "folders"


def reader_of(layout: str, wrappers: Iterable[str] = ()) -> Callable[[str], Handed | None]:
    """The function of `layout` that reads an entry's name; None from it means that the name does not follow.

    `wrappers` are names of folders that may stand around all students' folders.

    Raises:
        ValueError: when there is no such layout.
    """
    if layout == "canvas":
        return _canvas
    if layout == "moodle":
        return _moodle
    if layout != "folders":
        raise ValueError(f"expected one of {', '.join(LAYOUTS)}, got {layout!r}")
    outer = set(wrappers)
    return lambda name: _folders(name, outer)


def _canvas(name: str) -> Handed | None:
    *folders, base = name.split("/")
    match = _CANVAS_ANONYMOUS.fullmatch(base) or _CANVAS.fullmatch(base)
    if match is None:
        return None
    again = _AGAIN.search(match["original"].rpartition(".")[0])
    version = (int(again[1]) if again else 0, int(match["file"]))
    return Handed(match["user"], match["original"], tuple(folders), version, bool(match["late"]))


def _moodle(name: str) -> Handed | None:
    parts = name.split("/")
    for depth, part in enumerate(parts):
        match = _MOODLE.fullmatch(part)
        if match is None:
            continue
        if depth == len(parts) - 1:  # a file among files
            return Handed(match["user"], match["original"]) if match["original"] else None
        return Handed(match["user"], parts[-1], tuple(parts[depth + 1 : -1]))
    return None


def _folders(name: str, wrappers: set[str]) -> Handed | None:
    parts = name.split("/")
    while len(parts) > 2 and parts[0] in wrappers:
        parts.pop(0)
    return Handed(parts[0], parts[-1], tuple(parts[1:-1])) if len(parts) > 1 else None
