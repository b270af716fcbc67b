"""Graders on the same submissions: `benchmarks/results/grading_field.json`."""

from __future__ import annotations

from docs.ext.measured.common import Goal, Results
from docs.ext.tables import fixed, table

__all__ = ["field_goals", "field_headline", "field_table"]

OURS = "coursekit grade"


def _name(tool: str, workers: int) -> str:
    return f"`{tool}`" + (f", {workers} workers" if workers > 1 else "")


def field_table(results: Results) -> str:
    """Throughput with its interval, what a submission costs, and what is not the same work; a row a grader."""
    summary = results["summary"]
    rows = []
    for row in summary["graders"]:
        times = [
            f"{fixed(r['ratio'], 1)} ({fixed(r['low'], 1)}–{fixed(r['high'], 1)})"
            for r in summary["ratios"]
            if row["tool"] == OURS and r["workers"] == row["workers"]
        ]
        rows.append(
            [
                _name(row["tool"], row["workers"]),
                row["isolation"],
                str(row["submissions"]),
                f"{fixed(row['per_minute'], 1)} ({fixed(row['low'], 1)}–{fixed(row['high'], 1)})",
                fixed(row["seconds"], 1),
                fixed(row["cpu_seconds"], 1),
                fixed(row["peak_mb"], 0),
                str(row["undeserved"]),
                *(times or ["–"] * len({r["against"] for r in summary["ratios"]})),
            ]
        )
    against = list(dict.fromkeys(r["against"] for r in summary["ratios"]))
    head = [
        "grader",
        "isolation",
        "submissions",
        "a minute (95 %)",
        "median, s",
        "CPU each, s",
        "peak memory, MB",
        "undeserved points",
        *(f"times `{tool}` (95 %)" for tool in against),
    ]
    notes = "\n".join(f"- `{tool}`: {what}." for tool, what in results["not_identical"].items())
    differ = (
        f"The graders give different points in {summary['different']} of {summary['test_cells']} test cells."
    )
    return f"{table(head, rows, left=2)}\n\n{differ} What is not identical:\n\n{notes}"


def field_goals(results: Results) -> list[Goal]:
    """With its isolation `coursekit grade` is to take no longer than a grader without, one worker against one."""
    return [
        Goal(
            f"Time a submission of {_name(OURS, row['workers'])}, as a share of `{row['against']}`",
            1.0,
            1 / row["ratio"],
        )
        for row in results["summary"]["ratios"]
    ]


def field_headline(results: Results, large: Results) -> str:
    """The grading line of README.md; `large` holds the same comparison, with plain nbgrader alone, of a larger class.

    Workers start once, so how many times depends on how many submissions there are.
    """
    ratios = results["summary"]["ratios"]
    sizes = {row["submissions"] for row in results["summary"]["graders"]}
    workers = max(row["workers"] for row in ratios)
    said = " and ".join(
        f"{fixed(row['ratio'], 1)} times as many as `{row['against']}`"
        for row in ratios
        if row["workers"] == workers
    )
    ours = large.get("parts", {}).get("coursekit")
    more = (
        f"; of {ours['class_size']}, {fixed(ours['ratio']['ratio'], 1)} times as many as `nbgrader autograde` "
        "([what differs](docs/grading.md#how-fast))"
        if ours
        else ""
    )
    return (
        f"Grading: `{OURS}` isolates each submission, which the others do not, and grades, with {workers} "
        f"worker{'s' * (workers > 1)} and in the same time, of {max(sizes)} submissions {said}{more}."
    )
