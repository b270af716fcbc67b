"""Does a released notebook hold anything that only its source may hold?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nbformat import NotebookNode

from coursekit.regions import MARKERS, marked_lines

__all__ = ["leaks", "secret_lines"]

# Shorter lines (`pass`, `else:`, `return x`) give nothing away and stand everywhere.
TRIVIAL = 8


def secret_lines(source: NotebookNode) -> set[str]:
    """The lines of a source notebook that no student may see, stripped.

    Lines of solutions, hidden tests and mark schemes, save those that also stand outside of them; a solution
    cell without a region is a solution as a whole. Lines of eight characters or less are no secret.
    """
    secret: set[str] = set()
    public: set[str] = set()
    for cell in source.cells:
        lines = list(marked_lines(cell.source))
        answer = cell.metadata.get("nbgrader", {}).get("solution", False)
        whole = answer and all(kind is None for _, _, kind in lines)
        for _, line, kind in lines:
            (secret if whole or kind else public).add(line.strip())
    return {line for line in secret - public if len(line) > TRIVIAL}


def leaks(source: NotebookNode, release: NotebookNode) -> list[str]:
    """What `release` gives away of `source`, one text each; empty when it is clean.

    Every text in the release is searched: cells, outputs, attachments and metadata.
    """
    secret = secret_lines(source)
    found = []
    for text in _texts(release):
        found += [f"the marker {m!r}" for m in MARKERS if m in text]
        found += [f"the line {line.strip()!r}" for line in text.split("\n") if line.strip() in secret]
    return found


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list | tuple):
        if node and all(isinstance(item, str) for item in node):
            yield "".join(node)  # nbformat allows a text as a list of its lines
        for item in node:
            yield from _texts(item)
