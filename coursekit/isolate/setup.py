"""What a child must be told of the course, and where Python and the course's packages are."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coursekit.errors import CourseError

if TYPE_CHECKING:
    from coursekit.course import Course

__all__ = ["Places", "Setup"]


@dataclass(frozen=True)
class Setup:
    """`preload` is imported before a notebook runs; `checks` names the module whose `answer_bytes` answers calls."""

    preload: tuple[str, ...] = ()
    checks: str | None = None

    @classmethod
    def of(cls, course: Course) -> Setup:
        """What `[tool.coursekit]` says."""
        return cls(tuple(course.settings.get("preload", ())), course.settings.get("checks"))

    def places(self) -> Places:
        """All that must be readable for a child to import its packages."""
        names = ["coursekit", *self.preload, *([self.checks] if self.checks else [])]
        return Places.of({name.split(".")[0] for name in names})


@dataclass(frozen=True)
class Places:
    """Folders and files to show read-only, and the search path for what stands outside Python's own folders."""

    read_only: tuple[str, ...]
    search_path: tuple[str, ...]

    @classmethod
    def of(cls, packages: set[str]) -> Places:
        """Python, its site-packages, and each of `packages` that is installed elsewhere: itself, not its neighbors.

        Raises:
            CourseError: a package is not installed.
        """
        shown = list(dict.fromkeys((sys.prefix, sys.base_prefix)))
        search = []
        for entry in sys.path:
            folder = Path(entry)
            if folder.name in ("site-packages", "dist-packages") and folder.is_dir():
                if not _within(folder, shown):
                    shown.append(entry)
                if not _within(folder, [sys.prefix]):
                    search.append(entry)
        for name in sorted(packages):
            spec = importlib.util.find_spec(name)
            if spec is None:
                raise CourseError(f"no package is called {name!r}: is the course installed?")
            where = [*(spec.submodule_search_locations or ())] or [spec.origin or ""]
            for path in (Path(w) for w in where):
                if path.exists() and not _within(path, shown):
                    shown.append(str(path))
                    search.append(str(path.parent))
        return cls(tuple(shown), tuple(dict.fromkeys(search)))


def _within(path: Path, folders: list[str]) -> bool:
    return any(path.is_relative_to(f) for f in folders)
