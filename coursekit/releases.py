"""Which versions of an assignment a class has seen, and the bundle to grade them with.

`CLASS/releases/ASSIGNMENT/RELEASE.ipynb` is a copy of the source notebook of each release: a student who
fetched the notebook before a correction is graded by what they were given.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import nbformat

from coursekit.build import release_of
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.execute import Limits
from coursekit.grading import Bundle
from coursekit.source import notebook_bytes

__all__ = ["bundle_of", "code_hash", "keep_release"]


def keep_release(course: Course, class_dir: Path, name: str) -> str:
    """Keep a copy of the assignment's current source in the class; its release."""
    source = course.source(name)
    release = source.metadata.coursekit.release
    atomic_write(class_dir / "releases" / name / f"{release}.ipynb", notebook_bytes(source))
    return release


def bundle_of(course: Course, class_dir: Path, name: str, limits: Limits) -> Bundle:
    """The bundle of an assignment for a class; keeps the current release.

    Raises:
        CourseError: when the source, or a kept release, cannot be read.
    """
    current = keep_release(course, class_dir, name)
    templates = {}
    for path in sorted((class_dir / "releases" / name).glob("*.ipynb")):
        try:
            source = nbformat.read(path, as_version=4)
        except Exception as error:  # a damaged file of ours: nbformat raises several kinds
            raise CourseError(f"{path}: a kept release cannot be read: {error}") from error
        templates[path.stem] = nbformat.writes(release_of(source, course, hidden=True), version=4)
    return Bundle(name, current, templates, course.training_cut, code_hash(course), limits)


def code_hash(course: Course) -> str:
    """A hash of the packages of the repository that notebooks import: `preload` and `checks` name them."""
    names = {
        n.split(".")[0] for n in (*course.settings.get("preload", ()), course.settings.get("checks", ""))
    }
    digest = hashlib.sha256()
    for name in sorted(names - {""}):
        folder = course.root / name
        files = [f for f in folder.rglob("*") if f.is_file()] if folder.is_dir() else []
        for path in sorted(f for f in [*files, course.root / f"{name}.py"] if _is_code(f)):
            digest.update(str(path.relative_to(course.root).as_posix()).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_code(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
