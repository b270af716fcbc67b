"""Tables of the assignments, written into README.md and into the students' README: what there is, and how long it takes."""

from __future__ import annotations

import re

from coursekit.course import Course
from coursekit.markers import with_parts

__all__ = ["course_map", "launch_links", "timetable", "with_tables"]

_TITLE = re.compile(r"^#\s+(.+)$", re.M)
_TIME = re.compile(r"\*\*Time:\*\*\s*(.+?)(?:[.(;]|$)", re.S)
_MINUTES = re.compile(r"(\d+) minutes of reading, (\d+) minutes of exercises")


def course_map(course: Course) -> str:
    """A Markdown table: title, time, points, and badges that open the released notebook in Binder and Colab."""
    rows = ["| notebook | time | points | open |", "|---|---|---|---|"]
    for name in course.assignments():
        nb = course.source(name)
        path = course.release_notebook(name).relative_to(course.root).as_posix()
        head = nb.cells[0].source
        title, time = _TITLE.search(head), _TIME.search(head)
        points = sum(c.metadata.get("nbgrader", {}).get("points", 0) for c in nb.cells)
        binder, colab = launch_links(course, name)
        rows.append(
            f"| [{title[1] if title else name}]({path}) "
            f"| {' '.join(time[1].split()) if time else ''} "
            f"| {points:g} "
            f"| [![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder}) "
            f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) |"
        )
    return "\n".join(rows)


def launch_links(course: Course, name: str) -> tuple[str, str]:
    """Addresses that open the released notebook of assignment `name` in Binder and in Colab."""
    slug = course.settings.get("repository", "").rstrip("/").removeprefix("https://github.com/")
    branch = course.settings.get("branch", "main")
    path = course.release_notebook(name).relative_to(course.root).as_posix()
    return (
        f"https://mybinder.org/v2/gh/{slug}/{branch}?urlpath=lab/tree/{path}",
        f"https://colab.research.google.com/github/{slug}/blob/{branch}/{path}",
    )


def timetable(course: Course) -> str:
    """A Markdown table: title, minutes of reading and of exercises as each notebook's head says them, points; and the sum."""
    rows = ["| notebook | reading | exercises | together | points |", "|---|--:|--:|--:|--:|"]
    total_reading = total_exercises = total_points = 0.0
    for name in course.assignments():
        nb = course.source(name)
        head = nb.cells[0].source
        title = _TITLE.search(head)
        minutes = _MINUTES.search(" ".join(head.split()))
        points = sum(c.metadata.get("nbgrader", {}).get("points", 0) for c in nb.cells)
        times = "| | |"
        if minutes:
            reading, exercises = int(minutes[1]), int(minutes[2])
            times = f"| {reading} min | {exercises} min | {_hours(reading + exercises)}"
            total_reading, total_exercises = total_reading + reading, total_exercises + exercises
        total_points += points
        rows.append(f"| {title[1] if title else name} {times} | {points:g} |")
    sums = " | ".join(map(_hours, (total_reading, total_exercises, total_reading + total_exercises)))
    rows.append(f"| **all** | {sums} | {total_points:g} |")
    return "\n".join(rows)


def _hours(minutes: float) -> str:
    """75 minutes as "1 h 15 min"."""
    hours, rest = divmod(round(minutes), 60)
    return " ".join([f"{hours} h"] * (hours > 0) + [f"{rest} min"] * (rest > 0 or hours == 0))


def with_tables(text: str, course: Course, where: str = "README.md") -> str:
    """`text` with its tables written anew where markers call for them; text without markers stays as it is.

    Args:
        text: of a Markdown file.
        course: whose assignments the tables show.
        where: the file's name, for the error.

    Raises:
        CourseError: for a marker without its partner, or of a table that there is not.
    """
    tables = {"course map": lambda: course_map(course), "times": lambda: timetable(course)}
    return with_parts(text, tables, "coursekit build", where)
