"""Which versions of an assignment a class has seen, and the bundle to grade them with.

`CLASS/releases/ASSIGNMENT/RELEASE.ipynb` is a copy of the source notebook of each release: a student who
fetched the notebook before a correction is graded by what they were given.
"""

from __future__ import annotations

from pathlib import Path

import nbformat

from coursekit.build import release_of
from coursekit.course import CONFIG_FILE, Course, atomic_write
from coursekit.errors import CourseError
from coursekit.grading import Bundle
from coursekit.isolate.limits import Limits
from coursekit.packages import packages_hash
from coursekit.references import allowed_names
from coursekit.source import notebook_bytes

__all__ = ["bundle_of", "keep_release", "own_packages", "prepare_for_nbgrader"]


def keep_release(course: Course, class_dir: Path, name: str) -> str:
    """Keep a copy of the assignment's current source in the class; its release."""
    source = course.source(name)
    release = source.metadata.coursekit.release
    atomic_write(class_dir / "releases" / name / f"{release}.ipynb", notebook_bytes(source))
    return release


def prepare_for_nbgrader(course: Course, class_dir: Path, name: str) -> None:
    """Put into a class folder what nbgrader's formgrader looks for beside the gradebook.

    That is the assignment's source notebook, without which it lists nothing, and the course's configuration;
    a configuration that is there already stays.
    """
    if class_dir.resolve() == course.root.resolve():  # both are there
        return
    data = notebook_bytes(course.source(name))
    atomic_write(class_dir / course.source_dir.name / name / f"{name}.ipynb", data)
    config = course.root / CONFIG_FILE
    if config.is_file() and not (class_dir / CONFIG_FILE).exists():
        atomic_write(class_dir / CONFIG_FILE, config.read_bytes())


def bundle_of(course: Course, class_dir: Path, name: str, limits: Limits, *, whole: bool = False) -> Bundle:
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
    reference, packages = tuple(course.settings.get("reference", ())), own_packages(course)
    return Bundle(
        assignment=name,
        current=current,
        templates=templates,
        env=course.grading_env,
        packages=packages,
        code=packages_hash(packages),
        limits=limits,
        checks=course.settings["checks"],
        preload=tuple(course.settings.get("preload", ())),
        reference=reference,
        allowed=allowed_names(course.source(name), reference),
        whole=whole,
    )


def own_packages(course: Course) -> tuple[str, ...]:
    """The packages of the repository that notebooks import: `preload` and `checks` name them."""
    names = {
        n.split(".")[0] for n in (*course.settings.get("preload", ()), course.settings.get("checks", ""))
    }
    return tuple(
        sorted(n for n in names - {""} if (course.root / n).is_dir() or (course.root / f"{n}.py").is_file())
    )
