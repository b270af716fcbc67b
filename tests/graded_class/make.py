"""Make the class of `tests.graded_class` and grade it, in two releases of its lessons: `python -m tests.graded_class.make`."""

from __future__ import annotations

import io
import json
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.api import Gradebook

from autograder_tests import misconceptions
from coursekit.class_folder import ClassFolder, database_of
from coursekit.course import Course
from coursekit.grade import Options, grade_assignment
from coursekit.isolate.limits import Limits
from coursekit.new_class import LOOP, Paper
from coursekit.source import notebook_bytes
from tests.course import ROOT
from tests.graded_class import ARCHIVE, NAMES

SIZE = 30  # students a lesson, of which every third has the earlier release
LIMITS = Limits(request_seconds=20)
# What the earlier release has otherwise, as (today, then): the lesson's title, and more points for its first test.
EARLIER = {
    "02_jacobians_and_determinants": [
        ("# # 2 · Jacobians", "# # 2 · On Jacobians"),
        (" points=1\n", " points=2\n"),
    ],
    "03_masked_coupling": [("# # 3 · Masked", "# # 3 · On masked"), (" points=1\n", " points=2\n")],
}


def course_in(folder: Path) -> Course:
    """A copy of the course that holds the two lessons."""
    left_out = shutil.ignore_patterns("__pycache__", "guide")
    for package in ("flowlib", "autograder_tests", "coursekit"):
        shutil.copytree(ROOT / package, folder / package, ignore=left_out)
    for name in ("pyproject.toml", "nbgrader_config.py", "postBuild", *(f"solutions/{n}.py" for n in NAMES)):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return build(folder)


def build(folder: Path) -> Course:
    """The course in `folder`, its notebooks built."""
    subprocess.run(
        [sys.executable, "-m", "coursekit.cli", "build"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
    return Course.find(folder)


def reword(folder: Path, *, back: bool = False) -> Course:
    """Make the lessons what they were in the earlier release, or what they are today `back`; built."""
    for name, changes in EARLIER.items():
        path = folder / "solutions" / f"{name}.py"
        text = (ROOT / "solutions" / f"{name}.py").read_text(encoding="utf-8")
        for today, earlier in () if back else changes:
            if today not in text:
                raise ValueError(f"{path} has no {today!r}: how does the lesson say that by now?")
            text = text.replace(today, earlier, 1)
        path.write_text(text, encoding="utf-8")
    return build(folder)


def of_every_kind(paper: Paper) -> Iterator[tuple[str, NotebookNode | bytes]]:
    """What is handed in of one lesson, with its kind: first one of each kind, then mistakes without end."""
    yield "right", paper.notebook(paper.answers)
    yield "blank", paper.notebook({})
    yield "half", paper.partial("")[1]
    yield "crash", paper.crash("")[1]
    yield "loop", paper.loop("")[1]
    first = paper.exercises[0]
    yield "loop-first", paper.notebook({**paper.answers, first: LOOP + paper.answers[first]})
    yield "warns", paper.warns("")[1]
    yield "no-notebook", b'{"cells": ['
    yield "half-line", paper.notebook({**paper.answers, first: "def half(:\n"})
    shuffled = paper.notebook(paper.answers)
    shuffled.cells = [c for c in shuffled.cells if c.metadata.get("nbgrader", {}).get("grade_id") != first]
    yield "cell-lost", shuffled
    changed = paper.notebook({})
    for cell in changed.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source = "print('all tests passed')\n10"
    yield "tests-replaced", changed
    yield "right", paper.notebook(paper.answers)
    rng = random.Random(4)
    known = [m for m in misconceptions(paper.name) if m.exercise in paper.tests]
    while True:
        chosen = {m.exercise: m for m in rng.sample(known, 3)}
        answers = {name: m.source for name, m in chosen.items()}
        yield "mistakes", paper.notebook({**paper.answers, **answers})


def hand_in(course: Course, class_dir: Path, wanted: Callable[[int], bool]) -> None:
    """Write the submissions with the `wanted` numbers, in the course's release of now."""
    for name in NAMES:
        made = of_every_kind(Paper(course, name))
        for number, (kind, notebook) in zip(range(SIZE), made, strict=False):
            if wanted(number):
                folder = class_dir / "submitted" / f"{name[:2]}-{number:02}-{kind}" / name
                folder.mkdir(parents=True)
                data = notebook if isinstance(notebook, bytes) else notebook_bytes(notebook)
                (folder / f"{name}.ipynb").write_bytes(data)
                (folder / "timestamp.txt").write_text(f"2026-11-{number + 1:02} 12:00:00 UTC")


def by_hand(class_dir: Path, course: Course) -> None:
    """What people do in formgrader: read answers, overrule tests, give more than there is, comment."""
    with Gradebook(database_of(class_dir, None), course.course_id) as gradebook:
        for name in NAMES:
            for number, student in enumerate(ClassFolder(class_dir, name).students()):
                notebook = gradebook.find_submission_notebook(name, name, student)
                written = [g for g in notebook.grades if g.cell.cell_type == "markdown"]
                tests = [g for g in notebook.grades if g.cell.cell_type == "code"]
                if number % 2:  # half the class is read
                    for grade in written:
                        grade.manual_score, grade.needs_manual_grade = grade.max_score / 2, False
                if number % 5 == 0:
                    tests[number % len(tests)].manual_score = tests[number % len(tests)].max_score
                if number % 7 == 0:
                    tests[-1].extra_credit = 0.5
                for comment in notebook.comments[: number % 3]:
                    comment.manual_comment = f"Read, {student}: “why” is missing."
        gradebook.db.commit()


def keep(class_dir: Path, archive: Path) -> None:
    """Pack a class folder, to the same bytes from the same files; of results all but the graded notebooks."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for path in sorted(p for p in class_dir.rglob("*") if p.is_file()):
            where = path.relative_to(class_dir)
            if where.parts[0] not in ("submitted", "releases", "results", "gradebook.db"):
                continue
            data = path.read_bytes()
            if where.parts[0] == "results":
                result: Mapping = {**json.loads(data), "notebook": ""}
                data = json.dumps(result, ensure_ascii=False, sort_keys=True).encode()
            about = tarfile.TarInfo(f"class/{where.as_posix()}")
            about.size, about.mode = len(data), 0o644
            packed.addfile(about, io.BytesIO(data))


def main() -> None:
    """Made, graded by the earlier release, then with the others by the later one, scored by hand in between and graded again."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "course"
        course_in(folder)
        class_dir = Path(scratch) / "class"
        for back in (False, True):
            course = reword(folder, back=back)
            hand_in(course, class_dir, lambda number, late=back: (number % 3 != 0) == late)
            for name in NAMES:
                grade_assignment(course, class_dir, name, Options(LIMITS, workers=2, feedback=False))
            by_hand(class_dir, course)
        keep(class_dir, ARCHIVE)
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
