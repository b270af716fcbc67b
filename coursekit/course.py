"""Where a course's files are: read from nbgrader_config.py and `[tool.coursekit]`, nowhere else."""

from __future__ import annotations

import importlib
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from nbformat import NotebookNode
from traitlets.config import Config, PyFileConfigLoader

from coursekit.errors import CourseError
from coursekit.files import atomic_write
from coursekit.packages import GUIDE
from coursekit.source import read_source

__all__ = ["Course", "atomic_write"]

CONFIG_FILE = "nbgrader_config.py"
PROJECT_FILE = "pyproject.toml"


@dataclass(frozen=True)
class Course:
    """A course's root folder with its settings.

    `settings` is `[tool.coursekit]`, `config` is nbgrader's configuration as traitlets reads it, `distribution` the name of
    the installable package that the course is, "" when pyproject.toml names none.
    """

    root: Path
    settings: dict[str, Any] = field(default_factory=dict)
    config: Config = field(default_factory=Config)
    distribution: str = ""

    @classmethod
    def find(cls, start: str | os.PathLike[str] = ".") -> Course:
        """The course that holds the folder `start`.

        Raises:
            CourseError: when no folder from `start` upwards has a pyproject.toml with `[tool.coursekit]`.
        """
        here = Path(start).resolve()
        for folder in (here, *here.parents):
            project = _pyproject(folder / PROJECT_FILE)
            settings = project.get("tool", {}).get("coursekit")
            if settings is not None:
                distribution = project.get("project", {}).get("name", "")
                return cls(folder, settings, _nbgrader_config(folder), distribution)
        raise CourseError(f"no course here: no {PROJECT_FILE} with [tool.coursekit] in {here} or above")

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
        return read_source(self.text_source(name), self.bootstrap, self.course_id, self.address)

    @property
    def install(self) -> str:
        """What `pip install` takes to get the course from its repository."""
        address, branch = (self.settings.get(key, "") for key in ("repository", "branch"))
        return f"{self.distribution} @ git+{address}@{branch}" if self.distribution and address else ""

    @property
    def bootstrap(self) -> str:
        """Code of the cell that every notebook starts with; `read_source` fills in what stands in braces."""
        return self.settings.get("bootstrap", "")

    @property
    def address(self) -> dict[str, str]:
        """What the bootstrap cell may say of where the course is published: a release is the same wherever that is."""
        about = {key: self.settings.get(key, "") for key in ("repository", "branch")}
        return {"install": self.install, **about}

    @property
    def guide_dir(self) -> Path | None:
        """Folder of the assignments' guides (`coursekit.guide`), None when the course has none.

        Raises:
            CourseError: when it has another name than `coursekit.packages` passes over.
        """
        setting = self.settings.get("guide")
        if setting is None:
            return None
        if Path(setting).name != GUIDE:
            raise CourseError(f"[tool.coursekit] guide: expected a folder called {GUIDE!r}, got {setting!r}")
        return self.root / setting

    def guide_file(self, name: str) -> Path | None:
        """The guide of assignment `name`, None when the course has none."""
        return self.guide_dir / f"{name}.json" if self.guide_dir else None

    def page(self, name: str) -> str:
        """Address of the assignment's page on the course's web site; "" when there is no `site`."""
        site = self.settings.get("site", "").rstrip("/")
        path = self.release_notebook(name).relative_to(self.root).with_suffix(".html")
        return f"{site}/{path.as_posix()}" if site else ""

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


def _pyproject(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path}: {error}") from error


def _nbgrader_config(folder: Path) -> Config:
    if not (folder / CONFIG_FILE).is_file():
        return Config()
    try:
        return PyFileConfigLoader(CONFIG_FILE, path=str(folder)).load_config()
    except Exception as error:  # it is a Python file: anything can go wrong in it
        raise CourseError(f"{folder / CONFIG_FILE}: {type(error).__name__}: {error}") from error
