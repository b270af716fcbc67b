"""Regions of a cell that students must not see: solutions, hidden tests, mark schemes."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["HIDDEN_TESTS", "MARKERS", "MARK_SCHEME", "SOLUTION", "inside", "marked_lines", "without_markers"]

# The words between BEGIN or END and the end of the line: nbgrader's own delimiters.
SOLUTION = "SOLUTION"
HIDDEN_TESTS = "HIDDEN TESTS"
MARK_SCHEME = "MARK SCHEME"
MARKERS = tuple(
    f"{edge} {kind}" for kind in (SOLUTION, HIDDEN_TESTS, MARK_SCHEME) for edge in ("BEGIN", "END")
)


def marked_lines(source: str) -> Iterator[tuple[int, str, str | None]]:
    """Each line of `source` with its number (from 0) and the kind of region it belongs to; None is outside.

    A region's two marker lines belong to it.

    >>> list(marked_lines("a\\n### BEGIN SOLUTION\\nb\\n### END SOLUTION\\nc"))[2]
    (2, 'b', 'SOLUTION')

    Raises:
        ValueError: `(line number, reason)` when a region is nested, not closed or not opened.
    """
    current, opened = None, 0
    for number, line in enumerate(source.split("\n")):
        marker = next((m for m in MARKERS if m in line), None)
        if marker is None:
            yield number, line, current
            continue
        edge, kind = marker.split(" ", 1)
        if edge == "BEGIN":
            if current is not None:
                raise ValueError(number, f"BEGIN {kind} inside a region of {current}")
            current, opened = kind, number
            yield number, line, kind
        else:
            if current != kind:
                raise ValueError(number, f"END {kind} without its BEGIN")
            yield number, line, kind
            current = None
    if current is not None:
        raise ValueError(opened, f"BEGIN {current} without its END")


def inside(source: str, kind: str) -> list[str]:
    """The lines inside regions of `kind`, without the marker lines."""
    return [line for _, line, k in marked_lines(source) if k == kind and not _is_marker(line)]


def without_markers(source: str) -> str:
    """`source` without the marker lines, regions kept: a solution as a student would have typed it.

    >>> without_markers("def f():\\n    ### BEGIN SOLUTION\\n    return 1\\n    ### END SOLUTION")
    'def f():\\n    return 1'
    """
    return "\n".join(line for line in source.split("\n") if not _is_marker(line))


def _is_marker(line: str) -> bool:
    return any(m in line for m in MARKERS)
