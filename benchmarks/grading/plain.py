"""The class graded by one process of plain `nbgrader autograde`: each notebook in a new kernel, as the instructor."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook

from benchmarks.grading.meter import Metered, metered

__all__ = ["autograde", "points_of"]

# nbgrader says this once when it begins with a student who is new to the gradebook.
_BEGINS = re.compile(r"Creating/updating student with ID '(.+?)'")


def autograde(
    class_dir: Path,
    assignment: str,
    env: dict[str, str],
    progress: Callable[[str], None] = lambda student: None,
) -> dict[str, Any]:
    """Grade what was handed in; costs and, for each student, seconds.

    nbgrader knows an assignment only after its release was made, which is not part of what is timed.
    """
    # It looks for `alembic` beside itself, and an instructor's own configuration is not the course's.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {**env, "PATH": path, "JUPYTER_CONFIG_DIR": str(class_dir / ".jupyter")}
    nbgrader = str(Path(sys.executable).parent / "nbgrader")
    subprocess.run(
        [nbgrader, "generate_assignment", assignment],
        cwd=class_dir,
        env={**os.environ, **env},
        check=True,
        capture_output=True,
    )
    begins: list[tuple[str, float]] = []

    def on_line(line: str, seconds: float) -> None:
        if found := _BEGINS.search(line):
            begins.append((found[1], seconds))
            progress(found[1])

    # Its exit code is 1 when a single submission fails, and the others count.
    run = metered(
        [nbgrader, "autograde", assignment], cwd=class_dir, env=env, role=_role, on_line=on_line, codes=(0, 1)
    )
    ends = [seconds for _, seconds in begins[1:]] + ([] if run.interrupted else [run.wall])
    seconds = {student: round(end - begin, 3) for (student, begin), end in zip(begins, ends, strict=False)}
    return {**_figures(run, begins, seconds), "seconds": seconds}


def _figures(run: Metered, begins: Sequence[tuple[str, float]], seconds: dict[str, float]) -> dict[str, Any]:
    times = list(seconds.values())
    return {
        **run.cost(),
        "submissions": len(times),
        "start_seconds": round(begins[0][1], 2) if begins else None,
        "median_seconds": round(statistics.median(times), 3) if times else None,
        "per_minute": round(60 * len(times) / run.wall, 2),
    }


def _role(lines: Sequence[Sequence[str]]) -> str:
    return "kernels" if any("ipykernel_launcher" in line for line in lines) else "nbgrader"


def points_of(class_dir: Path, assignment: str) -> dict[str, dict[str, float]]:
    """Student → test cell → points, from the gradebook."""
    found: dict[str, dict[str, float]] = {}
    with Gradebook(f"sqlite:///{class_dir / 'gradebook.db'}", "normalizing-flows") as book:
        for submission in book.assignment_submissions(assignment):
            for notebook in submission.notebooks:
                found[submission.student.id] = {
                    grade.name: float(grade.auto_score)
                    for grade in notebook.grades
                    if grade.auto_score is not None
                }
    return found
