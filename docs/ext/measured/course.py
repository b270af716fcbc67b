"""What the course costs: `benchmarks/results/course.json`, and `memory.json` with Validate beside the notebook."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from coursekit.notebooks import MEMORY_MB, SECONDS
from docs.ext.measured.common import Goal, Results
from docs.ext.tables import fixed, table

__all__ = ["ENVIRONMENT_MB", "course_goals", "environment_table", "notebooks_table"]

# README.md and environment.yml promise it.
ENVIRONMENT_MB = 2048.0


def _notebooks(results: Results) -> list[Mapping[str, Any]]:
    return [row for row in results["runs"] if row["what"] == "notebook"]


def _environments(results: Results) -> list[Mapping[str, Any]]:
    return [row for row in results["runs"] if row["what"] == "environment"]


def _link(assignment: str) -> str:
    number, _, title = assignment.partition("_")
    return f"[{int(number)} · {title.replace('_', ' ')}](../course/{assignment}/{assignment}.ipynb)"


def notebooks_table(results: Results, memory: Results) -> str:
    """Seconds and memory of each notebook, the wait for its checks, and the memory with nbgrader's Validate beside it."""
    rows = _notebooks(results)
    if not rows:
        return "*No notebook was measured yet.*"
    beside = {row["assignment"]: row["together_mb"] for row in memory.get("notebooks", ())}
    cells = []
    for row in rows:
        seconds = row["check_seconds"]
        slowest = max(seconds, key=seconds.__getitem__)
        cells.append(
            [
                _link(row["assignment"]),
                fixed(row["seconds"], 0),
                fixed(row["peak_mb"], 0),
                fixed(beside.get(row["assignment"]), 0),
                str(len(seconds)),
                fixed(statistics.median(seconds.values()), 3),
                f"{fixed(seconds[slowest], 2)} (`{slowest}`)",
            ]
        )
    waits = [s for row in rows for s in row["check_seconds"].values()]
    peaks = [row["peak_mb"] for row in rows if row["peak_mb"] is not None]
    total = [
        "in all; of memory and waits the largest",
        fixed(sum(row["seconds"] for row in rows), 0),
        fixed(max(peaks, default=None), 0),
        fixed(max(beside.values(), default=None), 0),
        str(len(waits)),
        fixed(statistics.median(waits), 3),
        fixed(max(waits), 2),
    ]
    head = [
        "notebook",
        "run, s",
        "peak, MB",
        "with Validate, MB",
        "checks",
        "median check, s",
        "slowest check, s",
    ]
    return table(head, [*cells, total])


def environment_table(results: Results) -> str:
    """From a clone to the first running cell, by route."""
    rows = [
        [
            row["route"],
            *(
                fixed(row.get(name), 0)
                for name in ("clone_seconds", "setup_seconds", "first_cell_seconds", "total_seconds")
            ),
            fixed(row["environment_mb"], 0),
            str(row["packages"]),
            fixed(row.get("load"), 1),
        ]
        for row in _environments(results)
    ]
    head = [
        "route",
        "clone, s",
        "install, s",
        "first cell, s",
        "in all, s",
        "environment, MB",
        "packages",
        "load at the end",
    ]
    return table(head, rows)


def course_goals(results: Results) -> list[Goal]:
    """What a notebook and the students' environment may cost."""
    rows = _notebooks(results)
    sizes = [r["environment_mb"] for r in _environments(results) if r["route"] == "students"]
    peaks = [row["peak_mb"] for row in rows if row["peak_mb"] is not None]
    return [
        Goal("The longest notebook", SECONDS, max((r["seconds"] for r in rows), default=None), 0, "s"),
        Goal("The largest notebook", MEMORY_MB, max(peaks, default=None), 0, "MB"),
        Goal("The students' environment", ENVIRONMENT_MB, max(sizes, default=None), 0, "MB"),
    ]
