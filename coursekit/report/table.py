"""The report's table: one row a student, safe to open in a spreadsheet."""

from __future__ import annotations

from typing import Any

from coursekit.report.load import ClassResults
from coursekit.spreadsheet import csv_text

__all__ = ["table"]

_HEAD = ("student", "status", "points", "max_points", "needs_manual", "seconds", "cpu_seconds", "peak_mb")


def table(found: ClassResults) -> str:
    """CSV: student, status, points, limits, flags, and the points of each graded cell."""
    cells = list(dict.fromkeys(c.id for e in found.entries for c in e.result.cells))
    rows: list[list[Any]] = [[*_HEAD, "flags", "message", *cells]]
    for entry in found.entries:
        result = entry.result
        own = {c.id: c.points for c in result.cells}
        by_hand = entry.standing.cells if entry.standing else {}
        points = {**own, **by_hand}
        numbers = [entry.points, entry.max_points, int(entry.needs_manual)]
        cost = [result.seconds, result.cpu_seconds, result.peak_mb]
        row = [entry.student, result.status, *numbers, *cost, "; ".join(result.flags), result.message]
        rows.append([*row, *(points.get(c) for c in cells)])
    return csv_text(rows)
