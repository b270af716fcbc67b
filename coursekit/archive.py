"""Read a zip, or a folder, that strangers filled: entries in memory, within limits, nothing extracted by name.

What is wrong with one entry (a link, a name that climbs out, a bomb, damage) is said of that entry alone; the
others can be read. Only what is wrong with the whole archive raises.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from coursekit.errors import CourseError
from coursekit.submission import MAX_BYTES

__all__ = ["Entry", "RefusedError", "open_archive"]

# A zip's directory is read into memory as a whole: 16 MB are at least 100,000 entries with ordinary names.
MAX_DIRECTORY_BYTES = 16_000_000
MAX_ENTRIES = 100_000
MAX_TOTAL_BYTES = 20_000_000_000
# Notebooks shrink to a tenth, repetitive outputs to a hundredth. Deflate reaches 1000.
MAX_RATIO = 200
RATIO_MATTERS_FROM = 1_000_000
CHUNK = 1 << 16

_EXTENDED_TIME = 0x5455
_ENCRYPTED = 0x1
_UTF8_NAME = 0x800


class RefusedError(ValueError):
    """One entry that is not read; the message completes 'refused: …'."""


@dataclass(frozen=True)
class Entry:
    """One file of an archive.

    `name` has `/` between its parts; `time` is when the archive says it was changed (UTC), None when it does not;
    `problem` is why it must not be read, or "". `read()` gives its bytes or raises RefusedError.
    """

    name: str
    time: datetime | None
    problem: str
    read: Callable[[], bytes]


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[list[Entry]]:
    """The files of the zip or folder at `path`, folders left out, in the archive's order.

    Raises:
        CourseError: when it is neither, is cut short, or holds more than the limits allow.
    """
    if path.is_dir():
        yield _of_folder(path, _Budget())
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_Zip(path))
        except OSError as error:
            raise CourseError(f"{path}: cannot be read: {error.strerror or error}") from error
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except (
            Exception
        ) as error:  # BadZipFile, and what its parts raise on damage: struct.error, OSError and others
            found = (
                "is a zip that is cut short or damaged" if _begins_as_zip(path) else "is no zip and no folder"
            )
            raise CourseError(f"{path}: {found} ({error})") from error
        infos = archive.infolist()
        if len(infos) > MAX_ENTRIES:
            raise CourseError(f"{path}: expected at most {MAX_ENTRIES} entries, got {len(infos)}")
        budget = _Budget()
        yield [_of_zip(archive, info, budget) for info in infos if not _is_folder(info)]


class _Zip(io.FileIO):
    """A zip file that zipfile cannot be made to swallow whole: its directory is one read."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size > MAX_DIRECTORY_BYTES:
            raise zipfile.BadZipFile(f"its directory is larger than {MAX_DIRECTORY_BYTES / 1e6:.0f} MB")
        return super().read(size)


@dataclass
class _Budget:
    """How many bytes may still be read from an archive."""

    left: int = field(default_factory=lambda: MAX_TOTAL_BYTES)

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise RefusedError(f"the archive holds more than {MAX_TOTAL_BYTES / 1e9:.0f} GB")


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\3\4", b"PK\5\6")


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.orig_filename.endswith(("/", "\\")) and not info.file_size


def _of_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> Entry:
    name = _decoded(info)

    def read() -> bytes:
        try:
            with archive.open(info) as file:
                return _capped(file, budget)
        except RefusedError:
            raise
        except Exception as error:  # zipfile raises what its decompressors raise, of any kind
            raise RefusedError(f"is damaged ({error or type(error).__name__})") from error

    problem = _name_problem(info.orig_filename) or _zip_problem(info)
    return Entry(name.replace("\\", "/"), _time_of(info), problem, read)


def _decoded(info: zipfile.ZipInfo) -> str:
    """The entry's name; bytes that are UTF-8 without saying so, as several programs write, are read as such."""
    name = info.orig_filename
    if not info.flag_bits & _UTF8_NAME:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name)


def _name_problem(name: str) -> str:
    """Why nobody may be asked to read a file of this name, or ""."""
    if "\0" in name:
        return "its name holds a NUL"
    name = name.replace("\\", "/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "its name is absolute"
    if ".." in name.split("/"):
        return "its name climbs out with '..'"
    return ""


def _zip_problem(info: zipfile.ZipInfo) -> str:
    """Why the entry's header forbids to read it, or ""."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a symbolic link, which is not followed"
    if kind not in (0, stat.S_IFREG):
        return "is a device, pipe or socket"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if max(info.file_size, info.compress_size) > MAX_BYTES:
        return _too_large(max(info.file_size, info.compress_size))
    if info.file_size > max(RATIO_MATTERS_FROM, MAX_RATIO * info.compress_size):
        return f"unpacks to {info.file_size / max(1, info.compress_size):.0f} times its size, like a zip bomb"
    return ""


def _too_large(size: int) -> str:
    return f"has {size / 1e6:.0f} MB, more than {MAX_BYTES / 1e6:.0f} MB"


def _time_of(info: zipfile.ZipInfo) -> datetime | None:
    """The entry's time: exact from the field that Info-ZIP's programs add, else in this machine's time zone."""
    extra = info.extra
    while len(extra) >= 4:
        key, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if key == _EXTENDED_TIME and len(field) >= 5 and field[0] & 1:
            return datetime.fromtimestamp(struct.unpack_from("<i", field, 1)[0], UTC)
    if info.date_time[:3] <= (1980, 1, 1):  # the format's zero: no time given
        return None
    try:
        return datetime(*info.date_time).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _of_folder(root: Path, budget: _Budget) -> list[Entry]:
    """The files below `root`; links are named and not followed."""
    entries: list[Entry] = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted([*files, *linked]):
            if len(entries) == MAX_ENTRIES:
                raise CourseError(f"{root}: expected at most {MAX_ENTRIES} files, got more")
            entries.append(_of_file(root, Path(folder, name), budget))
    return entries


def _of_file(root: Path, path: Path, budget: _Budget) -> Entry:
    def read() -> bytes:
        try:
            # Between the test and here the file could have become a link, a pipe or a device.
            flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
            with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise RefusedError("is no regular file")
                return _capped(file, budget)
        except OSError as error:
            raise RefusedError(f"cannot be read: {error.strerror}") from error

    name = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
    # A file system may hold names that are no Unicode.
    name = name.encode("utf-8", "replace").decode("utf-8")
    try:
        about = path.lstat()
    except OSError as error:
        return Entry(name, None, f"cannot be read: {error.strerror}", read)
    problem = ""
    if stat.S_ISLNK(about.st_mode):
        problem = "is a symbolic link, which is not followed"
    elif not stat.S_ISREG(about.st_mode):
        problem = "is a device, pipe or socket"
    elif about.st_size > MAX_BYTES:
        problem = _too_large(about.st_size)
    return Entry(name, datetime.fromtimestamp(int(about.st_mtime), UTC), problem, read)


def _capped(file: BinaryIO, budget: _Budget) -> bytes:
    """All of `file`, read piece by piece: a header may lie about the size."""
    data = bytearray()
    while piece := file.read(CHUNK):
        budget.take(len(piece))
        data += piece
        if len(data) > MAX_BYTES:
            raise RefusedError(_too_large(len(data)))
    return bytes(data)
