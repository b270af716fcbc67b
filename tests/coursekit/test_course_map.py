"""The tables that the build writes into the READMEs."""

from __future__ import annotations

import pytest

from coursekit import build
from coursekit.course import Course
from coursekit.course_map import timetable, with_tables
from coursekit.errors import CourseError

from .conftest import NAME, SQUARES

TIMES, END = "<!-- times: written by coursekit build -->", "<!-- end -->"
HEAD = "# # Squares\n#\n# **Time:** about 50 minutes of reading,\n# 75 minutes of exercises (2 points)."


def with_head(course: Course, head: str) -> Course:
    """The tiny course, its notebook with this text in front."""
    course.text_source(NAME).write_text(f"# %% [markdown]\n{head}\n\n{SQUARES}", encoding="utf-8")
    return Course.find(course.root)


def test_the_timetable_reads_each_head_and_adds_up(course) -> None:
    rows = timetable(with_head(course, HEAD)).splitlines()
    points = rows[2].split("|")[-2].strip()
    assert rows[2] == f"| Squares | 50 min | 75 min | 2 h 5 min | {points} |"
    assert rows[-1] == f"| **all** | 50 min | 1 h 15 min | 2 h 5 min | {points} |"
    assert float(points) > 0


def test_a_head_without_times_leaves_its_cells_empty(course) -> None:
    rows = timetable(with_head(course, "# # Squares")).splitlines()
    assert rows[2].startswith("| Squares | | | |")
    assert rows[-1].startswith("| **all** | 0 min | 0 min | 0 min |")
    assert {row.count("|") for row in rows} == {6}


def test_both_readmes_are_kept_up_to_date(course) -> None:
    paths = [course.root / "README.md", course.release_dir / "README.md"]
    for path in paths:
        path.write_text(f"before\n{TIMES}\nold\n{END}\nafter\n", encoding="utf-8")
    built = build.readme(with_head(course, HEAD))
    assert set(built.files) == set(paths)
    for text in built.files.values():
        assert b"old" not in text
        assert b"| Squares | 50 min |" in text
        assert text.startswith(b"before\n")
        assert text.endswith(b"\nafter\n")


def test_an_error_names_the_file(course) -> None:
    with pytest.raises(CourseError, match=r"course/README\.md: expected .* got '<!-- times"):
        with_tables(f"{TIMES}\n", course, "course/README.md")
