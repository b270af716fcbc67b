"""What a worker does for one submission, phase by phase, in this process: reading, starting, running, judging, writing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import coursekit.grading
import coursekit.judge
from benchmarks.grading.phases import timed
from coursekit.course import Course
from coursekit.grading import Bundle, grade_submission
from coursekit.isolate.handle import Child
from coursekit.isolate.launch import Launcher, best
from coursekit.isolate.setup import Setup

__all__ = ["worker_phases"]


def worker_phases(
    course: Course, bundle: Bundle, isolation: str, submissions: Sequence[bytes], warm: int = 1
) -> dict[str, Any]:
    """Grade `submissions` one after the other, the first `warm` of them unmeasured.

    The phases' milliseconds are means over submissions. What a child computes is in `cells` and `calls`, as seen from
    outside. `slowest_cells` and `slowest_verdicts` are milliseconds of a single submission, means too.
    """
    launcher = best(isolation, Setup(bundle.preload, bundle.checks))
    try:
        for data in submissions[:warm]:
            grade_submission(data, bundle, launcher)
        return _measured(course, bundle, launcher, submissions[warm:])
    finally:
        launcher.close()


def _measured(
    course: Course, bundle: Bundle, launcher: Launcher, submissions: Sequence[bytes]
) -> dict[str, Any]:
    checks, number = course.checks_module(), len(submissions)
    phases = {
        "start of processes": [(type(launcher), "start")],
        "end of processes": [(Child, "kill")],
        "cells": [(Child, "run_cell")],
        "calls": [(Child, "call")],
        "verdicts without their calls": [(checks, "verdict")],
        "read and rebuild": [(coursekit.grading, "read_submission"), (coursekit.grading, "rebuild")],
        "which cells must run": [(coursekit.judge, "steps_of")],
        "outputs made safe": [(coursekit.judge, "safe_output")],
        "reference used?": [(coursekit.judge, "reference_flags")],
        "notebook to and from text": [
            (coursekit.grading.nbformat, "writes"),
            (coursekit.grading.nbformat, "reads"),
        ],
    }
    cells: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    with (
        _each(Child, "run_cell", cells, lambda child, source, cell_id=None: cell_id or "?"),
        _each(checks, "verdict", verdicts, lambda assignment, check_id, connect, seed=None: check_id),
        timed(phases) as found,
    ):
        task = found.add("rest", grade_submission)
        began = time.perf_counter()
        student_cpu = 0.0
        for data in submissions:
            student_cpu += task(data, bundle, launcher).cpu_seconds
        seconds = time.perf_counter() - began
    return {
        "submissions": number,
        "isolation": launcher.name,
        "ms": round(1000 * seconds / number, 1),
        "student_cpu_ms": round(1000 * student_cpu / number, 1),
        "phases": found.rows(number),
        "slowest_cells": _top(cells, number),
        "slowest_verdicts": _top(verdicts, number),
    }


def _top(seconds: Mapping[str, float], submissions: int, most: int = 8) -> dict[str, float]:
    return {name: round(1000 * s / submissions, 1) for name, s in Counter(seconds).most_common(most)}


@contextmanager
def _each(where: Any, name: str, seconds: Counter[str], key: Any) -> Iterator[None]:
    """Add up a function's seconds by a key of its arguments."""
    function = getattr(where, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[key(*args, **kwargs)] += time.perf_counter() - began

    with patch.object(where, name, wrapper):
        yield
