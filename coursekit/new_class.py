"""Make a class to try grading on: notebooks as students hand them in, and what is to become of each.

`CLASS/class.json` is a list with one object a student:

    student, assignment
    kind        perfect, partial, blank, wrong, crash, loop, or warns
    exercise    the exercise that is wrong, crashes or loops; null otherwise
    misconception, hint    of a wrong one; null otherwise
    status      what grading must say: graded
    full        tests that must give all their points
    zero        tests that must give none
    some        tests of which at least one must lose points (of a wrong exercise: its own tests)
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat import NotebookNode

from coursekit.build import release_of
from coursekit.class_folder import gradebook_file, keep_out_of_git
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.regions import without_markers
from coursekit.releases import keep_release, prepare_for_nbgrader
from coursekit.source import notebook_bytes

__all__ = ["DEFAULT_SIZE", "Paper", "Student", "new_class"]

DEFAULT_SIZE = 18
LOOP = "while True:\n    pass\n"
WARNING = (
    'import sys\nimport warnings\n\nprint("about to start")\nprint("progress: 100 %", file=sys.stderr)\n'
    'warnings.warn("this step may be slow")\n'
)


@dataclass(frozen=True)
class Student:
    """One student's submission and what grading must make of it."""

    student: str
    assignment: str
    kind: str
    exercise: str | None
    misconception: str | None
    hint: str | None
    status: str
    full: tuple[str, ...]
    zero: tuple[str, ...]
    some: tuple[str, ...]


def new_class(
    course: Course,
    class_dir: Path,
    *,
    size: int = DEFAULT_SIZE,
    seed: int = 2,
    assignments: Sequence[str] = (),
) -> list[Student]:
    """Write a class of `size` students into `class_dir`, each with one assignment.

    Of each kind there is one, the rest hold one misconception each; all `assignments`, by default all of the course's, have
    their share.

    Raises:
        CourseError: when the folder holds a class that this did not make, or `size` is too small.
    """
    if size < len(_KINDS):
        raise CourseError(
            f"expected a class of at least {len(_KINDS)} students, one of each kind, got {size}"
        )
    _clear(class_dir)
    rng = random.Random(seed)
    papers = [Paper(course, name) for name in course.select(list(assignments))]
    ids = [f"s{number}" for number in sorted(rng.sample(range(210_000, 250_000), size))]
    rng.shuffle(ids)
    made = []
    for number, kind in enumerate(_KINDS):
        made.append(_KINDS[kind](papers[number % len(papers)], ids.pop()))
    made += [p.wrong(ids.pop(), m) for p, m in _wrong_ones(papers, size - len(made), course)]
    keep_out_of_git(class_dir, course.root)
    for paper in papers:
        keep_release(course, class_dir, paper.name)
        prepare_for_nbgrader(course, class_dir, paper.name)
    students = []
    for student, notebook in made:
        name = student.assignment
        path = class_dir / "submitted" / student.student / name / f"{name}.ipynb"
        atomic_write(path, notebook_bytes(notebook))
        students.append(student)
    students.sort(key=lambda s: (s.assignment, s.student))
    text = json.dumps([asdict(s) for s in students], indent=1, ensure_ascii=False)
    atomic_write(class_dir / "class.json", text.encode("utf-8"))
    return students


class Paper:
    """An assignment as students get it, with its solutions at hand."""

    def __init__(self, course: Course, name: str) -> None:
        source = course.source(name)
        self.name = name
        self.release = release_of(source, course)
        answers = [c for c in source.cells if c.metadata.get("nbgrader", {}).get("solution")]
        self.answers = {c.metadata.nbgrader.grade_id: without_markers(c.source) for c in answers}
        # The tests of an exercise stand between its answer and the next exercise's.
        self.tests: dict[str, list[str]] = {}
        exercise = None
        for cell in source.cells:
            meta = cell.metadata.get("nbgrader", {})
            if meta.get("solution") and not meta.get("grade"):
                exercise = meta["grade_id"]
                self.tests[exercise] = []
            elif meta.get("grade") and not meta.get("solution") and exercise is not None:
                self.tests[exercise].append(meta["grade_id"])
        if not self.tests:
            raise CourseError(f"{course.text_source(name)}: no exercise to make a class from")
        self.exercises = list(self.tests)

    def notebook(self, answers: Mapping[str, str]) -> NotebookNode:
        """The released notebook with `answers`, grade id → source, filled in."""
        nb = copy.deepcopy(self.release)
        for cell in nb.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if cell.metadata.get("nbgrader", {}).get("solution") and name in answers:
                cell.source = answers[name]
        return nb

    def of(self, *exercises: str) -> tuple[str, ...]:
        return tuple(t for e in exercises for t in self.tests[e])

    def others(self, *exercises: str) -> tuple[str, ...]:
        return tuple(t for e in self.exercises if e not in exercises for t in self.tests[e])

    def perfect(self, student: str) -> tuple[Student, NotebookNode]:
        return self._student(student, "perfect", full=self.others()), self.notebook(self.answers)

    def partial(self, student: str) -> tuple[Student, NotebookNode]:
        """The first half of the exercises done, nothing after it."""
        done = self.exercises[: max(1, len(self.exercises) // 2)]
        made = self._student(student, "partial", full=self.of(*done), zero=self.others(*done))
        return made, self.notebook({e: self.answers[e] for e in done})

    def blank(self, student: str) -> tuple[Student, NotebookNode]:
        return self._student(student, "blank", zero=self.others()), self.notebook({})

    def crash(self, student: str) -> tuple[Student, NotebookNode]:
        """An answer ends the process: it is lost, and nothing else."""
        exercise = self.exercises[len(self.exercises) // 2]
        answers = {**self.answers, exercise: "import os\n\nos._exit(1)\n"}
        made = self._student(student, "crash", exercise, full=self.others(exercise), zero=self.of(exercise))
        return made, self.notebook(answers)

    def loop(self, student: str) -> tuple[Student, NotebookNode]:
        """An answer never ends: it is stopped, and the exercises around it count."""
        exercise = self.exercises[-1]
        answers = {**self.answers, exercise: LOOP + self.answers[exercise]}
        made = self._student(student, "loop", exercise, full=self.others(exercise), zero=self.of(exercise))
        return made, self.notebook(answers)

    def warns(self, student: str) -> tuple[Student, NotebookNode]:
        """All right, with prints and warnings in an answer: nothing is lost."""
        exercise = self.exercises[0]
        answers = {**self.answers, exercise: WARNING + self.answers[exercise]}
        return self._student(student, "warns", full=self.others()), self.notebook(answers)

    def wrong(self, student: str, misconception: object) -> tuple[Student, NotebookNode]:
        """One misconception in one exercise, all else right."""
        exercise = misconception.exercise
        made = self._student(
            student,
            "wrong",
            exercise,
            misconception=misconception.name,
            hint=misconception.hint,
            full=self.others(exercise),
            some=self.of(exercise),
        )
        return made, self.notebook({**self.answers, exercise: misconception.source})

    def _student(
        self,
        student: str,
        kind: str,
        exercise: str | None = None,
        *,
        misconception: str | None = None,
        hint: str | None = None,
        status: str = "graded",
        full: tuple[str, ...] = (),
        zero: tuple[str, ...] = (),
        some: tuple[str, ...] = (),
    ) -> Student:
        return Student(student, self.name, kind, exercise, misconception, hint, status, full, zero, some)


_KINDS = {
    "perfect": Paper.perfect,
    "partial": Paper.partial,
    "blank": Paper.blank,
    "crash": Paper.crash,
    "loop": Paper.loop,
    "warns": Paper.warns,
}


def _wrong_ones(papers: list[Paper], number: int, course: Course) -> Iterator[tuple[Paper, object]]:
    """`number` misconceptions: one assignment after the other, in each one exercise after the other."""
    queues: list[tuple[Paper, list[object]]] = []
    for paper in papers:
        try:
            known = list(course.checks_module().misconceptions(paper.name))
        except KeyError:  # an assignment without a catalogue
            known = []
        rounds: dict[str, list[object]] = {}
        for m in known:
            if m.exercise in paper.tests:
                rounds.setdefault(m.exercise, []).append(m)
        longest = max(map(len, rounds.values()), default=0)
        queues.append((paper, [ms[i] for i in range(longest) for ms in rounds.values() if i < len(ms)]))
    while number and any(queue for _, queue in queues):
        for paper, queue in queues:
            if number and queue:
                yield paper, queue.pop(0)
                number -= 1


def _clear(class_dir: Path) -> None:
    """Make room: only what this module or grading wrote for a made-up class is removed."""
    if (class_dir / "submitted").exists() and not (class_dir / "class.json").is_file():
        raise CourseError(f"{class_dir} holds submissions of a real class: choose another folder")
    if (class_dir / "class.json").is_file():
        for name in ("submitted", "autograded", "feedback", "scores", "results", "releases"):
            shutil.rmtree(class_dir / name, ignore_errors=True)
        gradebook_file(class_dir).unlink(missing_ok=True)
