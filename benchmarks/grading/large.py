"""Submissions that are too much of something: what becomes of each, in how many seconds, and of those beside them."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell

from benchmarks.grading import ours
from benchmarks.grading.classes import Paper, Submission, write_class
from coursekit.class_folder import ClassFolder
from coursekit.source import notebook_bytes
from coursekit.submission import MAX_CELLS, UnreadableError, read_submission

__all__ = ["CASES", "large_class", "measure"]

_PRINTS = "for _ in range(40):\n    print('x' * 1_000_000)\n\n"
_LONG_PRINTS = "import sys\n\nfor _ in range(400_000):\n    print('y' * 100)\n\n"
_DEEP = """\
import sys

sys.setrecursionlimit(10**6)


def dive(depth):
    return depth and 1 + dive(depth - 1)


dive(100_000)

"""
# Through C, where no limit of Python's own holds once it is raised.
_DEEP_C = """\
import sys

sys.setrecursionlimit(10**9)


class Deep:
    def __getattr__(self, name):
        return getattr(self, name + "_")


Deep().x

"""


def large_class(folder: Path, paper: Paper) -> dict[str, str]:
    """Write the class; student → what is too much. `neighbor` is a student who is right."""
    first = next(iter(paper.answers))
    answered = {case: head + paper.answers[first] for case, head in _ANSWERS.items()}
    students = [Submission("neighbor", "perfect", "", paper.answers)]
    students += [Submission(case, "large", "", {**paper.answers, first: a}) for case, a in answered.items()]
    write_class(folder, paper, students)
    for case, make in _FILES.items():
        path = folder / "submitted" / case / paper.name / f"{paper.name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path, paper)
    return CASES


def _gigabyte(path: Path, paper: Paper) -> None:
    path.write_bytes(paper.filled(paper.answers))
    with path.open("r+b") as file:
        file.truncate(10**9)  # sparse: it takes no room on the disk


def _cells(number: int) -> Callable[[Path, Paper], None]:
    def make(path: Path, paper: Paper) -> None:
        notebook = copy.deepcopy(nbformat.reads(paper.filled(paper.answers).decode(), as_version=4))
        more = [new_code_cell(f"x = {k}", id=f"more-{k}") for k in range(number)]
        notebook.cells += more
        path.write_bytes(notebook_bytes(notebook))

    return make


def _brackets(path: Path, paper: Paper) -> None:
    path.write_text('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ' + "[" * 100_000)


_ANSWERS = {
    "prints-40-lines-of-1-MB": _PRINTS,
    "prints-400000-lines": _LONG_PRINTS,
    "recursion-100000-deep": _DEEP,
    "recursion-without-end": _DEEP_C,
    "expression-100000-deep": "x = " + "-" * 100_000 + "1\n\n",
    "parentheses-100000-deep": "x = " + "(" * 100_000 + ")" * 100_000 + "\n\n",
}
_MOST_MORE = MAX_CELLS - 1_000
_FILES: dict[str, Callable[[Path, Paper], None]] = {
    "file-of-1-GB": _gigabyte,
    "cells-10000": _cells(10_000),
    f"cells-{_MOST_MORE}": _cells(_MOST_MORE),
    "json-100000-deep": _brackets,
}
CASES = {
    "file-of-1-GB": "a file of 1 GB (sparse)",
    "cells-10000": "10,000 cells more",
    f"cells-{_MOST_MORE}": f"{_MOST_MORE:,} cells more, as many as are read",
    "json-100000-deep": "JSON 100,000 brackets deep",
    "prints-40-lines-of-1-MB": "prints 40 MB in 40 lines",
    "prints-400000-lines": "prints 40 MB in 400,000 lines",
    "recursion-100000-deep": "recursion 100,000 deep",
    "recursion-without-end": "recursion through C without end",
    "expression-100000-deep": "an expression of 100,000 signs",
    "parentheses-100000-deep": "100,000 parentheses around nothing",
}


def measure(
    class_dir: Path, assignment: str, env: dict[str, str], *, course_root: Path, workers: int, isolation: str
) -> dict[str, Any]:
    """Grade the class; for each case its status, points, seconds and size of its result, and the neighbor's points."""
    run = ours.grade(
        class_dir, assignment, env, course_root=course_root, workers=workers, isolation=isolation
    )
    results, folder = ours.results_in(class_dir, assignment), ClassFolder(class_dir, assignment)
    rows = []
    for student, what in {**CASES, "neighbor": "a right submission beside them"}.items():
        result = results.get(student)
        row: dict[str, Any] = {
            "case": what,
            "status": "no result",
            "reading_seconds": _reading(folder, student),
        }
        if result is not None:
            kept = json.dumps(result.to_json())
            tests = [c for c in result.cells if c.kind == "test"]
            row |= {
                "status": result.status,
                "message": result.message,
                "points": sum(c.points or 0.0 for c in tests),
                "max_points": sum(c.max_points for c in tests),
                "seconds": result.seconds,
                "private_mb": result.peak_mb,
                "result_mb": round(len(kept) / 1e6, 2),
                "flags": list(result.flags),
            }
        rows.append(row)
    kept = ("wall", "load", "status", "private_mb_by_role", "others_cpu_seconds")
    return {**{name: run[name] for name in kept if name in run}, "cases": rows}


def _reading(folder: ClassFolder, student: str) -> float:
    """Seconds until the file is read, or refused."""
    began = time.perf_counter()
    data = folder.read(student).data
    if data is not None:
        with contextlib.suppress(UnreadableError):
            read_submission(data)
    return round(time.perf_counter() - began, 3)
