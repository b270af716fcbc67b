"""The class graded by `coursekit grade`, as an instructor calls it, and where its time went."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.grading.meter import Metered, metered
from coursekit.class_folder import ClassFolder
from coursekit.grading import Result

__all__ = ["grade", "points_of", "quantiles", "results_in"]


def grade(
    class_dir: Path,
    assignment: str,
    env: dict[str, str],
    *,
    course_root: Path,
    workers: int,
    isolation: str = "auto",
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Grade all that was handed in, anew and without feedback; costs, and where the workers' time went."""
    coursekit = str(Path(sys.executable).parent / "coursekit")
    command = [
        coursekit,
        "grade",
        assignment,
        "--course",
        str(class_dir),
        "--force",
        "--no-feedback",
        "--json",
    ]
    command += ["--workers", str(workers), "--isolation", isolation, *options]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # Code 1: a submission without a result. It is counted below.
    run = metered(command, cwd=course_root, env={**env, "PATH": path}, role=_role, codes=(0, 1))
    if run.interrupted:
        return {**run.cost(), "workers": workers}
    [said] = json.loads(run.stdout)
    return {**_figures(run, class_dir, assignment, workers), "status": _counted(said["submissions"])}


def _figures(run: Metered, class_dir: Path, assignment: str, workers: int) -> dict[str, Any]:
    results, ends = results_in(class_dir, assignment), _ends(class_dir, assignment)
    graded = {s: r for s, r in results.items() if r.seconds}
    busy = sum(r.seconds for r in graded.values())
    finished = sorted((ends[s] - run.began, results[s].seconds) for s in graded)
    # The first that ends is not always the first that began; with few workers it is near enough.
    start = max(0.0, finished[0][0] - finished[0][1]) if finished else run.wall
    tail = run.wall - finished[-1][0] if finished else 0.0
    span = max(0.0, run.wall - start - tail)
    # Nobody waits for the students' processes, so that the kernel does not count them among this command's.
    students = sum(r.cpu_seconds for r in graded.values())
    run.cpu_seconds += students
    run.others_cpu_seconds = max(0.0, run.others_cpu_seconds - students)
    run.cpu_by_role["students"] = students
    before = [roles for seconds, roles in run.timeline if seconds <= start]
    return {
        **run.cost(),
        "workers": workers,
        "submissions": len(results),
        "isolation": sorted({r.isolation for r in graded.values()}),
        "per_minute": round(60 * len(results) / run.wall, 2),
        "per_minute_without_start": round(60 * len(results) / (run.wall - start), 2),
        "start_seconds": round(start, 2),
        "end_seconds": round(tail, 2),
        "start_cpu_by_role": {role: round(s, 1) for role, s in sorted(before[-1].items())} if before else {},
        # Of the time in which submissions were graded, what share a worker had one in hand.
        "workers_busy": round(busy / (workers * span), 3) if span and workers else None,
        "submission": {
            "seconds": quantiles([r.seconds for r in graded.values()]),
            "cpu_seconds": quantiles([r.cpu_seconds for r in graded.values()]),
            "private_mb": quantiles([r.peak_mb for r in graded.values() if r.peak_mb is not None]),
        },
        "seconds": {s: r.seconds for s, r in sorted(graded.items())},
    }


def results_in(class_dir: Path, assignment: str) -> dict[str, Result]:
    """Student → kept result."""
    folder = ClassFolder(class_dir, assignment)
    found = {student: folder.result(student) for student in folder.students()}
    return {student: result for student, result in found.items() if result is not None}


def points_of(results: dict[str, Result]) -> dict[str, dict[str, float]]:
    """Student → test cell → points."""
    return {
        student: {c.id: c.points for c in result.cells if c.kind == "test" and c.points is not None}
        for student, result in results.items()
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 90 % and largest.

    >>> quantiles([1, 2, 3, 4, 10])
    {'median': 3, 'p90': 7.6, 'max': 10}
    """
    if len(values) < 2:
        return dict.fromkeys(("median", "p90", "max"), values[0]) if values else {}
    p90 = statistics.quantiles(values, n=10, method="inclusive")[-1]
    return {"median": round(statistics.median(values), 3), "p90": round(p90, 3), "max": round(max(values), 3)}


def _ends(class_dir: Path, assignment: str) -> dict[str, float]:
    """Student → when the result was written, in seconds since the epoch."""
    found = class_dir.glob(f"results/*/{assignment}.json")
    return {path.parent.name: path.stat().st_mtime for path in found}


def _counted(submissions: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in submissions:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return counts


def _role(lines: Sequence[Sequence[str]]) -> str:
    """The main process, its workers, each worker's fork server, or what belongs to the students' processes."""
    server = [k for k, line in enumerate(lines) if "coursekit.isolate.forkserver" in line]
    if server:
        # bubblewrap, and the server in it; forked from it, and so of the same name, the rest.
        return "fork servers" if len(lines) - server[0] <= 2 else "students"
    if any("coursekit.isolate.child" in line for line in lines):
        return "students"
    if len(lines) == 1:
        return "main"
    return "workers" if any("coursekit.processes" in word for word in lines[-1]) else "helpers"
