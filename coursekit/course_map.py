"""The course map in README.md: one row an assignment, with launch links made from the one repository address."""

from __future__ import annotations

import re

from coursekit.course import Course
from coursekit.errors import CourseError

__all__ = ["BEGIN", "END", "course_map", "with_course_map"]

BEGIN, END = "<!-- course map: written by coursekit build -->", "<!-- end of course map -->"
_TITLE = re.compile(r"^#\s+(.+)$", re.M)
_TIME = re.compile(r"\*\*Time:\*\*\s*(.+?)(?:[.(;]|$)", re.S)


def course_map(course: Course) -> str:
    """A Markdown table: title, time, points, and badges that open the released notebook in Binder and Colab."""
    address = course.settings.get("repository", "").rstrip("/")
    branch = course.settings.get("branch", "main")
    slug = address.removeprefix("https://github.com/")
    rows = ["| notebook | time | points | open |", "|---|---|---|---|"]
    for name in course.assignments():
        nb = course.source(name)
        path = course.release_notebook(name).relative_to(course.root).as_posix()
        head = nb.cells[0].source
        title, time = _TITLE.search(head), _TIME.search(head)
        points = sum(c.metadata.get("nbgrader", {}).get("points", 0) for c in nb.cells)
        binder = f"https://mybinder.org/v2/gh/{slug}/{branch}?urlpath=lab/tree/{path}"
        colab = f"https://colab.research.google.com/github/{slug}/blob/{branch}/{path}"
        rows.append(
            f"| [{title[1] if title else name}]({path}) "
            f"| {' '.join(time[1].split()) if time else ''} "
            f"| {points:g} "
            f"| [![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder}) "
            f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) |"
        )
    return "\n".join(rows)


def with_course_map(text: str, course: Course) -> str:
    """`text` with the part between the two markers rewritten; text without markers stays as it is.

    Raises:
        CourseError: when only one marker is there, or they stand in the wrong order.
    """
    if BEGIN not in text and END not in text:
        return text
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise CourseError(f"README.md: expected {BEGIN!r} and, below it, {END!r}")
    return f"{before}{BEGIN}\n{course_map(course)}\n{END}{after}"
