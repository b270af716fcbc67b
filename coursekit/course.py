"""Where a course's files are: read from nbgrader_config.py and `[tool.coursekit]`, nowhere else."""

from __future__ import annotations

import importlib
import os
import secrets
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from nbformat import NotebookNode
from traitlets.config import Config, PyFileConfigLoader

from coursekit.errors import CourseError
from coursekit.source import read_source

__all__ = ["Course", "atomic_write"]

CONFIG_FILE = "nbgrader_config.py"


@dataclass(frozen=True)
class Course:
    """A course's root folder with its settings.

    `settings` is `[tool.coursekit]`, `config` is nbgrader's configuration as traitlets reads it.
    """

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    config: Config = field(default_factory=Config)

    @classmethod
    def find(cls, start: str | os.PathLike[str] = ".") -> Course:
        """The course that holds the folder `start`.

        Raises:
            CourseError: when no folder from `start` upwards has a pyproject.toml with `[tool.coursekit]`.
        """
        here = Path(start).resolve()
        for folder in (here, *here.parents):
            settings = _settings(folder / "pyproject.toml")
            if settings is not None:
                return cls(folder, settings, _nbgrader_config(folder))
        raise CourseError(f"no course here: no pyproject.toml with [tool.coursekit] in {here} or above")

    @property
    def source_dir(self) -> Path:
        """Folder of the hand-written sources and of nbgrader's source notebooks."""
        return self.root / self.config.CourseDirectory.get("source_directory", "source")

    @property
    def release_dir(self) -> Path:
        """Folder of the released student notebooks."""
        return self.root / self.config.CourseDirectory.get("release_directory", "release")

    @property
    def course_id(self) -> str:
        """nbgrader's name for the course in a gradebook."""
        return self.config.CourseDirectory.get("course_id", "default_course")

    @property
    def training_cut(self) -> dict[str, str]:
        """Environment that cutting a notebook's training loops short; empty when the course has none."""
        cut = self.settings.get("training-cut")
        return {cut["variable"]: str(cut["steps"])} if cut else {}

    @property
    def grading_env(self) -> dict[str, str]:
        """Environment of the notebooks that are graded: the training cut and what the course says beside it."""
        return {**self.training_cut, **self.settings.get("grading-environment", {})}

    def assignments(self) -> list[str]:
        """Names of all assignments: the stems of the sources, sorted."""
        return sorted(p.stem for p in self.source_dir.glob("*.py") if not p.name.startswith("_"))

    def text_source(self, name: str) -> Path:
        """The hand-written source of assignment `name`."""
        return self.source_dir / f"{name}.py"

    def source(self, name: str) -> NotebookNode:
        """nbgrader's source notebook of assignment `name`, read from its text source.

        Raises:
            CourseError: when the source breaks the format.
        """
        return read_source(self.text_source(name), bootstrap=self.bootstrap)

    @property
    def bootstrap(self) -> str:
        """Code of the cell that every notebook starts with; `{repository}` and `{branch}` are filled in."""
        text = self.settings.get("bootstrap", "")
        for key in ("repository", "branch"):
            text = text.replace("{" + key + "}", self.settings.get(key, ""))
        return text

    def source_notebook(self, name: str) -> Path:
        """nbgrader's source notebook of assignment `name`."""
        return self.source_dir / name / f"{name}.ipynb"

    def release_notebook(self, name: str) -> Path:
        """The student's notebook of assignment `name`."""
        return self.release_dir / name / f"{name}.ipynb"

    def select(self, names: Iterable[str]) -> list[str]:
        """The assignments that `names` mean; a unique beginning is enough, no names mean all.

        Raises:
            CourseError: when a name means none or several.
        """
        known = self.assignments()
        if not known:
            raise CourseError(f"no assignment: {self.source_dir} holds no .py source")
        chosen = []
        for name in names:
            wanted = Path(name).stem
            matches = [k for k in known if k == wanted] or [k for k in known if k.startswith(wanted)]
            if len(matches) != 1:
                found = f"it could be {', '.join(matches)}" if matches else f"there are {', '.join(known)}"
                raise CourseError(f"no single assignment is called {name!r}: {found}")
            chosen += [m for m in matches if m not in chosen]
        return chosen or known

    def checks_module(self) -> ModuleType:
        """The module that `checks` names: it has `checks_of(assignment)` and `misconceptions(assignment)`.

        Raises:
            CourseError: when none is named or it cannot be imported.
        """
        name = self.settings.get("checks")
        if not name:
            raise CourseError('no checks: [tool.coursekit] lacks checks = "module"')
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise CourseError(f"cannot import the course's checks {name!r}: {error}") from error


def atomic_write(path: Path, data: bytes) -> bool:
    """Replace the file at `path` in one step: no reader sees half of it. True when its bytes changed."""
    if path.is_file() and not path.is_symlink() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # As long as `path` may be, and no other process's, on whatever machine it runs.
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return True


def _settings(pyproject: Path) -> dict[str, Any] | None:
    if not pyproject.is_file():
        return None
    try:
        return tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {}).get("coursekit")
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{pyproject}: {error}") from error


def _nbgrader_config(folder: Path) -> Config:
    if not (folder / CONFIG_FILE).is_file():
        return Config()
    try:
        return PyFileConfigLoader(CONFIG_FILE, path=str(folder)).load_config()
    except Exception as error:  # it is a Python file: anything can go wrong in it
        raise CourseError(f"{folder / CONFIG_FILE}: {type(error).__name__}: {error}") from error
