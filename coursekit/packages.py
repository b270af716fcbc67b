"""A hash of the packages that notebooks and checks import: other code may give other points."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from coursekit.errors import CourseError

__all__ = ["GUIDE", "packages_hash"]

# A folder of a package that `coursekit build` makes of the sources: readers' data, on which no point depends.
GUIDE = "guide"


def packages_hash(names: Iterable[str]) -> str:
    """A hash of all files of the packages, as they would be imported here, but for their guides.

    >>> packages_hash(["coursekit"]) == packages_hash(["coursekit"])
    True

    Raises:
        CourseError: one of them is not installed.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        for path, label in _files(name):
            digest.update(label.encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files(name: str) -> list[tuple[Path, str]]:
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise CourseError(f"no package is called {name!r}: is the course installed?")
    found = []
    for folder in (Path(p) for p in spec.submodule_search_locations or ()):
        files = (p for p in folder.rglob("*") if p.is_file() and not _passed_over(p.relative_to(folder)))
        found += [(p, f"{name}/{p.relative_to(folder).as_posix()}") for p in files if p.name[0] != "."]
    if not spec.submodule_search_locations and spec.origin:
        found.append((Path(spec.origin), f"{name}.py"))
    return sorted(found, key=lambda item: item[1])


def _passed_over(path: Path) -> bool:
    return "__pycache__" in path.parts or path.parts[0] == GUIDE
