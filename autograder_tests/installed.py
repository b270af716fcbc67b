"""Which version of the course is installed, and whether its files are still those that this process began with."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

__all__ = ["changed", "fingerprint", "version"]

# What notebooks import.
PACKAGES = ("autograder_tests", "flowlib")


def fingerprint() -> str:
    """A hash of the Python files of the course's packages, as they are on disk now."""
    digest = hashlib.sha256()
    for name in PACKAGES:
        spec = find_spec(name)
        for folder in map(Path, spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(folder.rglob("*.py")):
                digest.update(
                    path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0"
                )
    return digest.hexdigest()


def version(distribution: str) -> str:
    """The installed version, from the package's metadata; "" when it is not installed.

    >>> version("no-such-course")
    ''
    """
    try:
        return metadata.version(distribution) if distribution else ""
    except metadata.PackageNotFoundError:
        return ""


def changed() -> bool:
    """Whether the course's files have changed since this was first asked: the kernel runs code that is gone."""
    before = _at_first()
    try:
        return fingerprint() != before
    except OSError:  # removed while it was read
        return True


@cache
def _at_first() -> str:
    return fingerprint()
