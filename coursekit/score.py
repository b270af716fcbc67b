"""Points of an executed notebook's cells: nbgrader's rule, save that stderr costs nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nbformat import NotebookNode

from coursekit.execute import NOT_RUN

__all__ = ["CellScore", "plain_text", "score_cell", "scores"]

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class CellScore:
    """What one graded cell is worth. `points` is None where a person must decide.

    `kind` is `test`, `manual` or `task`; `status` is `passed`, `partial`, `failed`, `open` (the answer is
    still a stub), `not run`, or `to grade`.

    Where points come from a verdict outside the student's process, `claimed` is what the cell itself has said, `hidden` is
    True when the code fails on hidden cases alone, and `hints` are those of the `misconceptions` that were recognized.
    """

    id: str
    kind: str
    status: str
    points: float | None
    max_points: float
    report: str = ""
    claimed: str = ""
    hidden: bool = False
    hints: tuple[str, ...] = ()
    misconceptions: tuple[str, ...] = ()


def scores(nb: NotebookNode) -> list[CellScore]:
    """The scores of all graded cells of an executed notebook, in its order."""
    return [s for cell in nb.cells if (s := score_cell(cell)) is not None]


def score_cell(cell: NotebookNode, stub: str | None = None) -> CellScore | None:
    """The score of one executed cell, None when it is not graded.

    A test cell with an error has 0; one whose value is a number has that many points, at most its maximum;
    any other has all. A manual cell that still holds `stub`, the released text, has 0; a changed one waits
    for a person.
    """
    meta = cell.metadata.get("nbgrader", {})
    if not (meta.get("grade") or meta.get("task")):
        return None
    name, most = meta["grade_id"], float(meta["points"])
    if meta.get("task"):
        return CellScore(name, "task", "to grade", None, most)
    if meta.get("solution"):
        if stub is not None and cell.source.strip() == stub.strip():
            return CellScore(name, "manual", "open", 0.0, most)
        return CellScore(name, "manual", "to grade", None, most)
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            status = {NOT_RUN: "not run", "NotImplementedError": "open"}.get(output.ename, "failed")
            return CellScore(name, "test", status, 0.0, most, _report(output))
        if output.output_type == "execute_result":
            points = _number(output, most)
            if points is not None and points < most:
                return CellScore(name, "test", "partial" if points else "failed", points, most)
    return CellScore(name, "test", "passed", most, most)


def plain_text(text: str) -> str:
    """`text` without terminal colors.

    >>> plain_text("\\x1b[0;31mred\\x1b[0m")
    'red'
    """
    return _ANSI.sub("", text)


def _report(output: NotebookNode) -> str:
    # A check's report is the message of its exception, several lines that need no name before them.
    text = plain_text(output.evalue).strip()
    return text if "\n" in text else f"{output.ename}: {text}".rstrip(": ")


def _number(output: NotebookNode, most: float) -> float | None:
    try:
        value = float(output.data.get("text/plain", ""))
    except ValueError:
        return None
    return min(value, most) if value >= 0 else None
