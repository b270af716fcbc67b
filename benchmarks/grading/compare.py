"""Do graders give the same points, and the deserved ones? How fast is one, and how many times faster than another?"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat

from benchmarks.grading.classes import Paper, Submission
from coursekit.grading import Result
from coursekit.score import plain_text

__all__ = ["differences", "throughput", "throughput_ratio", "undeserved"]

Points = Mapping[str, Mapping[str, float]]


def differences(
    plain: Points, results: Mapping[str, Result], about: Mapping[str, Mapping[str, str]], plain_dir: Path
) -> dict[str, Any]:
    """Test cells of the students that both have graded, and those with different points, each with its reason."""
    rows, cells = [], 0
    both = sorted(set(plain) & set(results))
    for student in both:
        scores = {c.id: c for c in results[student].cells if c.kind == "test"}
        for cell in sorted(set(scores) | set(plain[student])):
            if cell in plain[student] and cell not in scores:
                continue  # graded by hand
            cells += 1
            theirs, mine = plain[student].get(cell), scores[cell]
            if theirs == mine.points:
                continue
            said = _said(plain_dir, student, results[student].assignment, cell)
            rows.append(
                {
                    "student": student,
                    "kind": about[student]["kind"],
                    "what": about[student]["what"],
                    "cell": cell,
                    "plain": theirs,
                    "coursekit": mine.points,
                    "why": _why(theirs, mine.points, hidden=mine.hidden, said=said),
                    "plain_said": said,
                    "coursekit_said": mine.report[:300],
                }
            )
    by_reason: dict[str, int] = {}
    for row in rows:
        by_reason[row["why"]] = by_reason.get(row["why"], 0) + 1
    return {
        "students": len(both),
        "test_cells": cells,
        "different": len(rows),
        "by_reason": by_reason,
        "rows": rows,
    }


def _why(plain: float | None, ours: float | None, *, hidden: bool, said: str) -> str:
    if plain is None:
        return "nbgrader has no points for the cell"
    if ours is None:
        return "waits for a person"
    if ours < plain and hidden:
        return "fails on secret cases alone, which the notebook's hidden test did not have"
    if ours < plain:
        return "fails outside the student's process, where the notebook's own cell passes"
    if "Timeout" in said or not said:
        return "nbgrader lost the cell: a time limit, or the kernel died"
    return "fails in the notebook alone"


def _said(class_dir: Path, student: str, assignment: str, cell: str) -> str:
    """What stands as the error of a cell in nbgrader's executed notebook."""
    path = class_dir / "autograded" / student / assignment / f"{assignment}.ipynb"
    if not path.is_file():
        return ""
    for found in nbformat.read(path, as_version=4).cells:
        if found.metadata.get("nbgrader", {}).get("grade_id") == cell:
            for output in found.get("outputs", []):
                if output.output_type == "error":
                    return plain_text(f"{output.ename}: {output.evalue}")[:300]
            return "passed"
    return ""


def throughput_ratio(
    plain: Mapping[str, Any], ours: Sequence[Mapping[str, Any]], *, draws: int = 2000, seed: int = 0
) -> dict[str, float]:
    """How many submissions `ours` grades while `plain` grades one, with a 95 % interval by bootstrap over students.

    Both are what their figures have: `wall`, `submissions`, `seconds` by student. A resample takes the same students for
    both; what does not depend on them (start, end, waiting) stays. With several runs of `ours` one is drawn each time.

    >>> run = {"wall": 10.0, "submissions": 2, "seconds": {"a": 4.0, "b": 4.0}}
    >>> throughput_ratio({"wall": 30.0, "submissions": 2, "seconds": {"a": 14.0, "b": 14.0}}, [run])
    {'ratio': 3.0, 'low': 3.0, 'high': 3.0}
    """
    rng = random.Random(seed)
    students = sorted(set(plain["seconds"]) & set.intersection(*[set(run["seconds"]) for run in ours]))
    ratios = []
    for _ in range(draws):
        drawn = rng.choices(students, k=len(students))
        ratios.append(_seconds_each(plain, drawn) / _seconds_each(rng.choice(ours), drawn))
    measured = [_seconds_each(plain, students) / _seconds_each(run, students) for run in ours]
    spread = statistics.quantiles(ratios, n=40) if draws > 1 else measured * 2
    return {
        "ratio": round(statistics.median(measured), 2),
        "low": round(spread[0], 2),
        "high": round(spread[-1], 2),
    }


def throughput(runs: Sequence[Mapping[str, Any]], *, draws: int = 2000, seed: int = 0) -> dict[str, float]:
    """Submissions per minute, the median of `runs`, with a 95 % interval by bootstrap over students and runs.

    Each has `wall`, `submissions` and `seconds` by student, as for `throughput_ratio`.

    >>> throughput([{"wall": 30.0, "submissions": 2, "seconds": {"a": 14.0, "b": 14.0}}])
    {'per_minute': 4.0, 'low': 4.0, 'high': 4.0}
    """
    rng = random.Random(seed)
    rates = []
    for _ in range(draws):
        run = rng.choice(runs)
        drawn = rng.choices(sorted(run["seconds"]), k=len(run["seconds"]))
        rates.append(60 / _seconds_each(run, drawn))
    spread = statistics.quantiles(rates, n=40)
    return {
        "per_minute": round(statistics.median(60 * run["submissions"] / run["wall"] for run in runs), 2),
        "low": round(spread[0], 2),
        "high": round(spread[-1], 2),
    }


def _seconds_each(run: Mapping[str, Any], drawn: Sequence[str]) -> float:
    """Wall seconds a submission with the students `drawn` in place of the whole class."""
    mean, drawn_mean = (
        statistics.fmean(run["seconds"].values()),
        statistics.fmean(run["seconds"][s] for s in drawn),
    )
    each = run["wall"] / run["submissions"]
    # The part of the wall clock that goes with the students' own seconds.
    share = min(1.0, sum(run["seconds"].values()) / run.get("workers", 1) / run["wall"])
    return each * (1 - share) + each * share * drawn_mean / mean


def undeserved(paper: Paper, submission: Submission, points: Mapping[str, float | None]) -> list[str]:
    """Test cells whose points are not what the submission is known to deserve: what is right all, what is not there none.

    An exercise answered with a known mistake deserves to lose something, where is not said: then the exercise is named.
    """
    right = {
        name
        for name, answer in submission.answers.items()
        if submission.kind != "wrong" or answer == paper.answers[name]
    }
    wrong = {name for name in submission.answers if name not in right}
    found = []
    for cell, test in paper.tests.items():
        if test.exercise not in wrong and points.get(cell) != test.points * (test.exercise in right):
            found.append(cell)
    for name in sorted(wrong):
        if all(points.get(cell) == t.points for cell, t in paper.tests.items() if t.exercise == name):
            found.append(name)
    return found
