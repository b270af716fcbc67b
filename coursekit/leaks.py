"""Does a released notebook hold anything that only its source may hold?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode

from coursekit.regions import MARKERS, SOLUTION, marked_lines

__all__ = ["leaks", "lines_by_kind", "secret_lines", "texts"]

# Shorter lines (`pass`, `else:`, `return x`) give nothing away and stand everywhere.
TRIVIAL = 8


def secret_lines(source: NotebookNode) -> set[str]:
    """The lines of a source notebook that no student may see, stripped.

    Lines of solutions, hidden tests and mark schemes, save those that also stand outside of them; a solution
    cell without a region is a solution as a whole. Lines of eight characters or less are no secret.
    """
    secret: set[str] = set()
    public: set[str] = set()
    for line, kind in lines_by_kind(source):
        (secret if kind else public).add(line)
    return {line for line in secret - public if len(line) > TRIVIAL}


def lines_by_kind(source: NotebookNode) -> Iterator[tuple[str, str | None]]:
    """Each line of a source notebook, stripped, with the kind of region it belongs to; None is public.

    A solution cell without a region is a solution as a whole.
    """
    for cell in source.cells:
        lines = list(marked_lines(cell.source))
        answer = cell.metadata.get("nbgrader", {}).get("solution", False)
        whole = answer and all(kind is None for _, _, kind in lines)
        for _, line, kind in lines:
            yield line.strip(), SOLUTION if whole else kind


def leaks(source: NotebookNode, release: NotebookNode) -> list[str]:
    """What `release` gives away of `source`, one text each; empty when it is clean.

    Every text in the release is searched: cells, outputs, attachments and metadata.
    """
    secret = secret_lines(source)
    found = []
    for text in texts(release):
        found += [f"the marker {m!r}" for m in MARKERS if m in text]
        found += [f"the line {line.strip()!r}" for line in text.split("\n") if line.strip() in secret]
    return found


def texts(node: Any) -> Iterator[str]:
    """Every text in a notebook or other JSON value; a list of texts also as one."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list | tuple):
        if node and all(isinstance(item, str) for item in node):
            yield "".join(node)  # nbformat allows a text as a list of its lines
        for item in node:
            yield from texts(item)
