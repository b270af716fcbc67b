"""Which checks hold, kept on this machine for its user: one small file per check, `HOME/COURSE/PLACE/ASSIGNMENT/CHECK.json`.

A place is a course folder: two clones, or the folders of two years, know nothing of each other. The file holds

    status       passed, failed, error (the code raised) or open (still to be answered)
    points, max_points
    time         when, UTC, ISO 8601
    release      of the notebook, or ""

Nothing of anybody's code is in it. A file per check needs no lock: each is replaced in one step, so that two notebooks at
once lose nothing. The standard library alone: what checks in notebooks import must run on Colab, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from coursekit.files import atomic_write

__all__ = ["FOLDER", "STATUSES", "SWITCH", "Record", "home", "keep", "kept", "now", "place_of", "switched_on"]

# `COURSE_PROGRESS=0` keeps nothing; `COURSE_PROGRESS_DIR` says where.
SWITCH, FOLDER = "COURSE_PROGRESS", "COURSE_PROGRESS_DIR"
STATUSES = ("passed", "failed", "error", "open")
# Ids come from notebooks, which are anybody's: none may lead to another folder.
_PLAIN = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,99}")


@dataclass(frozen=True)
class Record:
    """How a check came out when it was last run."""

    check: str
    status: str
    points: float
    max_points: float
    time: str
    release: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def now() -> str:
    """The time as records hold it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def switched_on() -> bool:
    """Whether this process may keep records."""
    return os.environ.get(SWITCH) != "0"


def home() -> Path:
    """The folder of all records: `$COURSE_PROGRESS_DIR`, else `coursekit` where the system keeps a user's data.

    Raises:
        RuntimeError: when the user has no home.
    """
    if chosen := os.environ.get(FOLDER):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        chosen = os.environ.get("XDG_DATA_HOME", "")
        base = chosen if os.path.isabs(chosen) else Path.home() / ".local" / "share"
    return Path(base, "coursekit")


def place_of(folder: str | os.PathLike[str]) -> str:
    """The place that a notebook in `folder` belongs to, as a name: that folder's own, or its course's when it lies in one.

    A course's folder is the nearest one, from `folder` upwards, that has a pyproject.toml with `[tool.coursekit]`.
    The name is the folder's, and a hash of its path: a moved or renamed folder is another place.

    Raises:
        OSError, RuntimeError: the path cannot be followed to its end.
    """
    start = Path(folder).resolve()
    found = next((above for above in (start, *start.parents) if _is_course(above)), start)
    digest = hashlib.sha256(os.fsencode(os.path.normcase(found))).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', found.name)[:40]}-{digest}"


def _is_course(folder: Path) -> bool:
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return "coursekit" in project.get("tool", {})
    except (OSError, ValueError, TypeError):  # none, or one that is not TOML or no project's
        return False


def keep(course: str, assignment: str, records: Iterable[Record], *, folder: str | os.PathLike[str]) -> bool:
    """Keep the records, each in place of the one before; False where that cannot be done: that is no error.

    `folder` is that of the notebook, or of its course.
    """
    records = list(records)
    if not all(_PLAIN.fullmatch(name) for name in (course, assignment, *(r.check for r in records))):
        return False
    try:
        where = home() / course / place_of(folder) / assignment
        for record in records:
            path = where / f"{record.check}.json"
            atomic_write(path, (json.dumps(asdict(record), indent=1) + "\n").encode())
    except (OSError, RuntimeError):  # a full or read-only disk, no home
        return False
    return True


def kept(course: str, assignment: str, *, folder: str | os.PathLike[str]) -> dict[str, Record]:
    """Check id → its record at the place of `folder`. A damaged file is set aside as `CHECK.json.damaged`, with one line on stderr."""
    found = {}
    if not (_PLAIN.fullmatch(course) and _PLAIN.fullmatch(assignment)):
        return found
    with contextlib.suppress(OSError, RuntimeError):
        for path in sorted((home() / course / place_of(folder) / assignment).glob("[!.]*.json")):
            try:
                record = _record(path.read_bytes())
            except OSError:  # set aside by another process, say
                continue
            except ValueError as error:
                aside = path.with_name(f"{path.name}.damaged")
                with contextlib.suppress(OSError):
                    path.replace(aside)
                print(f"coursekit: {path} is damaged ({error}): set aside as {aside.name}", file=sys.stderr)
                continue
            found[path.stem] = record
    return found


def _record(data: bytes) -> Record:
    """The record in a file.

    Raises:
        ValueError: it is none.
    """
    value = json.loads(data)
    if not isinstance(value, dict) or value.keys() != Record.__dataclass_fields__.keys():
        raise ValueError(f"expected {', '.join(Record.__dataclass_fields__)}")
    numbers = [value.pop(key) for key in ("points", "max_points")]
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError("points are no numbers")
    if not all(isinstance(text, str) for text in value.values()) or value["status"] not in STATUSES:
        raise ValueError("a text or the status is not what it should be")
    return Record(points=numbers[0], max_points=numbers[1], **value)
