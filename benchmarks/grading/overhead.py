"""What a submission costs that computes nothing: a one-cell assignment in a course of its own."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coursekit.grade
import coursekit.pool
from benchmarks.grading.classes import Paper
from benchmarks.grading.phases import timed
from benchmarks.grading.worker_phases import worker_phases
from coursekit.class_folder import ClassFolder
from coursekit.course import Course, atomic_write
from coursekit.grade import Graded, Options, grade_assignment
from coursekit.gradebook import GradebookWriter
from coursekit.grading import Bundle, Result
from coursekit.isolate.limits import Limits
from coursekit.releases import bundle_of

__all__ = ["NAME", "overhead", "trivial_course"]

NAME = "01_one"
_MODULE = "one_check"
_SOURCE = '''\
# %% [markdown]
# # One

# %% solution="one"
def one():
    """The number 1."""
    ### BEGIN SOLUTION
    return 1
    ### END SOLUTION

# %% test="is_one" points=1
assert one() == 1
'''
_CHECKS = '''\
"""One check: it asks for a number and compares."""

import json
from dataclasses import dataclass, field


def checks_of(assignment):
    return {"01_one": {"is_one": None}}[assignment]


def misconceptions(assignment):
    return []


def answer_bytes(namespace, payload, outside=None):
    return json.dumps(namespace["one"]()).encode()


def verdict(assignment, check_id, connect, seed=None):
    found = json.loads(connect()(b"", None))
    return Outcome("passed" if found == 1 else "failed", f"expected 1, got {found}")


@dataclass
class Outcome:
    status: str
    text: str
    hidden: bool = False
    hints: list = field(default_factory=list)
    misconceptions: list = field(default_factory=list)

    def __str__(self):
        return self.text
'''
_PYPROJECT = f'[tool.coursekit]\nchecks = "{_MODULE}"\npreload = ["{_MODULE}"]\n'


def trivial_course(root: Path) -> Course:
    """A new course at `root` with the assignment `NAME`; its check is importable from now on."""
    for name, text in {
        f"solutions/{NAME}.py": _SOURCE,
        f"{_MODULE}.py": _CHECKS,
        "pyproject.toml": _PYPROJECT,
        "nbgrader_config.py": 'c = get_config()\nc.CourseDirectory.source_directory = "solutions"\n',
    }.items():
        atomic_write(root / name, text.encode())
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # new processes are told of it
    importlib.invalidate_caches()
    sys.modules.pop(_MODULE, None)
    return Course.find(root)


def overhead(
    root: Path,
    *,
    submissions: int,
    workers: int,
    isolation: str = "auto",
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """Grade `submissions` of them: milliseconds each, the main process by phase, and a worker by phase on its own.

    The main process and the workers run at the same time; what it does not do while it waits bounds nothing.
    """
    course = trivial_course(root)
    class_dir, paper = root / "class", Paper(course, NAME)
    data = paper.filled(paper.answers)
    for number in range(submissions):
        atomic_write(class_dir / "submitted" / f"s{number:05d}" / NAME / f"{NAME}.ipynb", data)
    phases = {
        "read": [(ClassFolder, "students"), (ClassFolder, "read"), (ClassFolder, "result"), (Bundle, "key")],
        "prepare": [(coursekit.grade, "bundle_of"), (GradebookWriter, "register")],
        "start workers": [(coursekit.grade, "best"), (coursekit.pool.Local, "__init__")],
        "end workers": [(coursekit.pool.Local, "__exit__")],
        "send": [(coursekit.pool.Local, "submit")],
        "wait for results": [(coursekit.pool, "wait")],
        "result from plain data": [(Result, "from_json")],
        "write result and notebook": [(ClassFolder, "keep"), (ClassFolder, "keep_notebook")],
        "write gradebook": [(GradebookWriter, "apply")],
        "table of scores": [
            (ClassFolder, "write_scores"),
            (GradebookWriter, "marks"),
            (GradebookWriter, "standings"),
        ],
    }
    options = Options(workers=workers, isolation=isolation, feedback=False)
    first: list[float] = []

    def show(row: Graded, done: int, total: int) -> None:
        if not first:
            first.append(time.perf_counter() - began)
        progress(done)

    with timed(phases) as found:
        began = time.perf_counter()
        graded = found.add("rest", grade_assignment)(course, class_dir, NAME, options, progress=show)
        seconds = time.perf_counter() - began
    # Once more, nothing has changed: what a run costs that resumes.
    began = time.perf_counter()
    again = grade_assignment(course, class_dir, NAME, options)
    resumed = time.perf_counter() - began
    bundle = bundle_of(course, class_dir, NAME, Limits())
    sample = [data] * (1 + min(submissions, 100))
    return {
        "submissions": submissions,
        "workers": workers,
        "isolation": sorted({g.result.isolation for g in graded if g.result}),
        "full_points": sum(g.standing is not None and g.standing.points == 1 for g in graded),
        "seconds": round(seconds, 2),
        # Until the first result: workers start, and a warm parent for each worker's children.
        "start_seconds": round(first[0], 2),
        "ms": round(1000 * seconds / submissions, 2),
        "resume_ms": round(1000 * resumed / submissions, 2),
        "reused": sum(g.reused for g in again),
        "main": found.rows(submissions),
        "worker": worker_phases(course, bundle, isolation, sample),
    }
