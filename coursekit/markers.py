"""Generated parts of a Markdown file: what stands between two comments is written anew by a command, the rest by hand.

<!-- times: written by coursekit build -->
…
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from coursekit.errors import CourseError

__all__ = ["has_parts", "with_parts"]

_MARKER = re.compile(r"<!-- (?:(?P<name>[\w ]+): written by (?P<command>[^\n]+?)|end) -->")


def has_parts(text: str, command: str) -> bool:
    """Whether `command` writes a part of this text.

    >>> has_parts("<!-- sum: written by make -->\\n<!-- end -->", "make"), has_parts("a sum", "make")
    (True, False)
    """
    return any(found["command"] == command for found in _MARKER.finditer(text))


def with_parts(
    text: str, parts: Mapping[str, Callable[[], str]], command: str, where: str = "the text"
) -> str:
    """`text` with the parts of `command` written anew; those of other commands stay.

    >>> with_parts("<!-- sum: written by make -->\\nold\\n<!-- end -->\\n", {"sum": lambda: "1 + 1"}, "make")
    '<!-- sum: written by make -->\\n\\n1 + 1\\n\\n<!-- end -->\\n'

    Args:
        parts: what makes each part, by the name in its marker; called only when the part is there.
        where: the file's name, for the error.

    Raises:
        CourseError: for a marker without its partner, or a part that nobody makes.
    """
    made, done = [], 0
    opened: re.Match[str] | None = None
    for marker in _MARKER.finditer(text):
        if (marker["name"] is None) == (opened is None):
            raise _unpaired(where, (opened or marker)[0])
        if opened is None:
            opened = marker
            continue
        if opened["command"] == command:
            if opened["name"] not in parts:
                raise CourseError(
                    f"{where}: expected one of {', '.join(sorted(parts))}, got {opened['name']!r}"
                )
            # Empty lines around it: Markdown begins anew behind an HTML comment.
            made += [text[done : opened.end()], f"\n\n{parts[opened['name']]()}\n\n"]
            done = marker.start()
        opened = None
    if opened is not None:
        raise _unpaired(where, opened[0])
    return "".join([*made, text[done:]])


def _unpaired(where: str, marker: str) -> CourseError:
    return CourseError(f"{where}: expected '<!-- … -->' and, below it, '<!-- end -->', got {marker!r} alone")
