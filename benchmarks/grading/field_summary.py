"""What comes of the runs of several graders: rates, memory, ratios, and whether all give the same points."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.grading.compare import throughput, throughput_ratio

__all__ = ["COURSEKIT", "NBGRADER", "OTTER", "TOOLS", "merged", "show", "summary"]

TOOLS = NBGRADER, OTTER, COURSEKIT = ("nbgrader autograde", "otter run", "coursekit grade")


def merged(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Commands that were run one after the other, as one: times add up, memory is the largest.

    >>> one = {"wall": 2.0, "cpu_seconds": 1.5, "peak_mb": 300.0, "submissions": 1, "workers": 1}
    >>> rest = {"undeserved": {}}
    >>> rows = [{**one, "seconds": {s: 2.0}, "lost": {s: {}}, **rest} for s in "ab"]
    >>> found = merged(rows)
    >>> found["wall"], found["peak_mb"], found["submissions"], found["seconds"]
    (4.0, 300.0, 2, {'a': 2.0, 'b': 2.0})
    """
    together: dict[str, Any] = {
        key: sum(row[key] for row in rows) for key in ("wall", "cpu_seconds", "submissions")
    }
    together |= {"workers": rows[0]["workers"], "peak_mb": max(row["peak_mb"] for row in rows)}
    for key in ("seconds", "lost", "undeserved"):
        together[key] = {student: value for row in rows for student, value in row[key].items()}
    return together


def summary(rows: Sequence[Mapping[str, Any]], cells: int, seed: int = 0) -> dict[str, Any]:
    """What the table shows of the rows of jobs.

    For each grader: `per_minute` with its 95 % interval, `seconds` a submission (median), `cpu_seconds` a submission (of all
    processes), `peak_mb` of all processes together, `start_seconds` of a command before its first submission (None where
    each has a command of its own), `undeserved` points. `ratios`: how many submissions coursekit grades
    while another grades one, by number of its workers. `different`: test cells, of `test_cells` (`cells` for each student),
    in which runs disagree.
    """
    runs: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        runs.setdefault((row["tool"], row["workers"]), []).append(row)
    if (OTTER, 1) in runs:
        runs[OTTER, 1] = [merged(runs[OTTER, 1])]
    order = sorted(runs, key=lambda key: (TOOLS.index(key[0]), key[1]))
    ratios = [
        {
            "against": tool,
            "workers": number,
            **throughput_ratio(runs[tool, one][0], runs[mine, number], seed=seed),
        }
        for tool, one in order
        for mine, number in order
        if tool != COURSEKIT and mine == COURSEKIT
    ]
    every = [row["lost"] for found in runs.values() for row in found]
    students = {student for lost in every for student in lost}
    return {
        "graders": [_grader(tool, number, runs[tool, number], seed) for tool, number in order],
        "ratios": ratios,
        "test_cells": cells * len(students),
        "different": sum(_disagreeing([lost[s] for lost in every if s in lost]) for s in students),
    }


def _grader(tool: str, workers: int, runs: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    def middle(values: Iterable[float]) -> float:
        return round(statistics.median(values), 2)

    return {
        "tool": tool,
        "workers": workers,
        "isolation": ", ".join(runs[0].get("isolation", ())) or "none",
        "runs": len(runs),
        "submissions": runs[0]["submissions"],
        **throughput(runs, seed=seed),
        "seconds": middle(seconds for run in runs for seconds in run["seconds"].values()),
        "cpu_seconds": middle(run["cpu_seconds"] / run["submissions"] for run in runs),
        "peak_mb": middle(run["peak_mb"] for run in runs),
        "start_seconds": middle(run["start_seconds"] for run in runs) if "start_seconds" in runs[0] else None,
        "undeserved": sum(len(cells) for run in runs for cells in run["undeserved"].values()),
    }


def _disagreeing(lost: Sequence[Mapping[str, float | None]]) -> int:
    """Cells that not all runs give the same points; what is not lost has full points."""
    cells = {cell for one in lost for cell in one}
    return sum(len({one.get(cell, "full") for one in lost}) > 1 for cell in cells)


def show(found: Mapping[str, Any], console: Console) -> None:
    """The summary as tables."""
    table = Table(
        title=f"{found['summary']['different']} of {found['summary']['test_cells']} test cells differ",
        box=None,
    )
    heads = (
        "",
        "at once",
        "isolation",
        "a minute (95 %)",
        "seconds each",
        "CPU s each",
        "peak MB",
        "undeserved",
    )
    for head in heads:
        table.add_column(head, justify="left" if head in ("", "isolation") else "right")
    for row in found["summary"]["graders"]:
        rate = f"{row['per_minute']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
        cells = (row["tool"], row["workers"], row["isolation"], rate, row["seconds"], row["cpu_seconds"])
        table.add_row(*map(str, cells), f"{row['peak_mb']:.0f}", str(row["undeserved"]))
    console.print(table)
    for row in found["summary"]["ratios"]:
        spread = f"(95 %: {row['low']:.1f} to {row['high']:.1f})"
        console.print(
            f"coursekit, {row['workers']} at once: {row['ratio']:.1f} times {row['against']} {spread}"
        )
