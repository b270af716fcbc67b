"""A class of honest submissions of one assignment: right, wrong, half done, chatty; nobody tries to trick anybody.

What both graders can be compared on. Attacks are in `tests/attacks`.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat import NotebookNode

from coursekit.build import release_of
from coursekit.course import Course, atomic_write
from coursekit.regions import without_markers
from coursekit.source import notebook_bytes
from tests.course import sections

__all__ = ["ASSIGNMENT", "Paper", "Submission", "TestCell", "honest_class", "load_class", "write_class"]

ASSIGNMENT = "03_masked_coupling"

_WARNS = 'import sys\nimport warnings\n\nwarnings.warn("slow")\nprint("careful", file=sys.stderr)\n'
_PRINTS = 'for step in range(200):\n    print("step", step, "of 200")\n'
_PLOTS = (
    "import matplotlib.pyplot as plt\n\n"
    "for power in range(3):\n"
    "    plt.figure()\n"
    "    plt.plot([x**power for x in range(50)])\n"
    "    plt.show()\n"
)


@dataclass(frozen=True)
class Submission:
    """One student: `kind` is perfect, partial, blank, warns, prints, plots, alternative or wrong; `what` says more."""

    student: str
    kind: str
    what: str
    answers: dict[str, str]


@dataclass(frozen=True)
class TestCell:
    """A cell that gives points: `exercise` is the answer that it looks at, `source` has its hidden tests in their markers."""

    __test__ = False  # pytest, too, collects classes called Test…

    exercise: str
    points: float
    source: str


class Paper:
    """An assignment as students get it, with its model answers and its test cells by grade id."""

    def __init__(self, course: Course, name: str) -> None:
        source = course.source(name)
        self.course, self.name, self.source_bytes = course, name, notebook_bytes(source)
        self.release = release_of(source, course)
        answers = [
            c
            for c in source.cells
            if c.metadata.get("nbgrader", {}).get("solution") and c.cell_type == "code"
        ]
        self.answers = {c.metadata.nbgrader.grade_id: without_markers(c.source) for c in answers}
        self.tests = dict(_tests(source))

    def filled(self, answers: dict[str, str]) -> bytes:
        """The released notebook with `answers`, grade id → source, as the bytes of a file."""
        nb = copy.deepcopy(self.release)
        for cell in nb.cells:
            meta = cell.metadata.get("nbgrader", {})
            if meta.get("solution") and meta.get("grade_id") in answers:
                cell.source = answers[meta["grade_id"]]
        return notebook_bytes(nb)


def _tests(source: NotebookNode) -> Iterator[tuple[str, TestCell]]:
    """A test cell looks at the answer above it."""
    exercise = ""
    for cell in source.cells:
        meta = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and meta.get("solution"):
            exercise = meta["grade_id"]
        elif cell.cell_type == "code" and meta.get("grade"):
            yield meta["grade_id"], TestCell(exercise, float(meta["points"]), cell.source)


def honest_class(paper: Paper, alternatives: Path, size: int, seed: int) -> list[Submission]:
    """`size` submissions: in every ten five misconceptions, two of other right ways to write it, three of the rest.

    Misconceptions come exercise by exercise in turn, so that a small class has some of each.
    """
    rng = random.Random(seed)
    numbers = rng.sample(range(210_000, 250_000), size)
    # Which kinds a class is made of, in this order: a larger class begins with the smaller one.
    order = (
        "wrong",
        "alternative",
        "perfect",
        "wrong",
        "chatty",
        "wrong",
        "alternative",
        "wrong",
        "short",
        "wrong",
    )
    streams = {
        "wrong": _wrong(paper),
        "alternative": _alternatives(paper, alternatives),
        "perfect": itertools.repeat(("perfect", "", paper.answers)),
        "chatty": _chatty(paper),
        "short": _short(paper),
    }
    kinds = itertools.islice(itertools.cycle(order), size)
    made = []
    for number, stream in zip(numbers, kinds, strict=True):
        kind, what, answers = next(streams[stream])
        made.append(Submission(f"s{number}", kind, what, answers))
    return sorted(made, key=lambda s: s.student)


_Stream = Iterator[tuple[str, str, dict[str, str]]]


def _wrong(paper: Paper) -> _Stream:
    queues: dict[str, list] = {exercise: [] for exercise in paper.answers}
    for m in paper.course.checks_module().misconceptions(paper.name):
        queues[m.exercise].append(m)
    rounds = itertools.zip_longest(*queues.values())
    known = [m for one in rounds for m in one if m is not None]
    for m in itertools.cycle(known):
        yield "wrong", f"{m.exercise}.{m.name}", {**paper.answers, m.exercise: m.source}


def _alternatives(paper: Paper, path: Path) -> _Stream:
    """Each student writes every exercise in another style, the k-th in the k-th style."""
    styles: dict[str, list[tuple[str, str]]] = {}
    for name, style, source in sections(path):
        styles.setdefault(name, []).append((style, source))
    for k in itertools.count():
        chosen = {name: ways[k % len(ways)] for name, ways in styles.items() if name in paper.answers}
        what = "; ".join(f"{name}: {style}" for name, (style, _) in chosen.items())
        yield "alternative", what, {**paper.answers, **{n: source for n, (_, source) in chosen.items()}}


def _chatty(paper: Paper) -> _Stream:
    heads = {"warns": _WARNS, "prints": _PRINTS, "plots": _PLOTS}
    for (kind, head), exercise in zip(
        itertools.cycle(heads.items()), itertools.cycle(paper.answers), strict=False
    ):
        yield kind, exercise, {**paper.answers, exercise: head + paper.answers[exercise]}


def _short(paper: Paper) -> _Stream:
    """Half done, not begun, all but the last, only the first, …"""
    names, most = list(paper.answers), len(paper.answers)
    for done in itertools.cycle([most // 2, 0, most - 1, 1]):
        kind = "partial" if done else "blank"
        yield kind, f"{done} of {most} exercises", {n: paper.answers[n] for n in names[:done]}


def write_class(folder: Path, paper: Paper, submissions: Iterable[Submission]) -> None:
    """Write a new class folder that both graders can use; what each submission is stands in `class.json`."""
    submissions = list(submissions)
    name = paper.name
    atomic_write(folder / paper.course.source_dir.name / name / f"{name}.ipynb", paper.source_bytes)
    config = paper.course.root / "nbgrader_config.py"
    atomic_write(folder / config.name, config.read_bytes())
    for s in submissions:
        path = folder / "submitted" / s.student / name / f"{name}.ipynb"
        atomic_write(path, paper.filled(s.answers))
    rows = [{k: v for k, v in asdict(s).items() if k != "answers"} for s in submissions]
    atomic_write(folder / "class.json", json.dumps(rows, indent=1, ensure_ascii=False).encode())


def load_class(folder: Path) -> dict[str, dict[str, str]]:
    """Student → kind and what, of a class that `write_class` wrote."""
    rows = json.loads((folder / "class.json").read_text(encoding="utf-8"))
    return {row["student"]: row for row in rows}
