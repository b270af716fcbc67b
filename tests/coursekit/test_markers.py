"""Parts of a file that are written anew, and those that are not."""

from __future__ import annotations

import doctest

import pytest

from coursekit import markers
from coursekit.errors import CourseError
from coursekit.markers import has_parts, with_parts

MINE, OTHERS, END = "<!-- sum: written by make -->", "<!-- sum: written by nmake -->", "<!-- end -->"


def made() -> str:
    return "new"


def test_examples_in_docstrings() -> None:
    found = doctest.testmod(markers)
    assert found.attempted
    assert not found.failed


def test_only_the_parts_of_one_command_are_written() -> None:
    text = f"a\n{MINE}\nold\n{END}\nb\n{OTHERS}\nold\n{END}\nc\n{MINE}\n{END}"
    new = f"\n\nnew\n\n{END}"
    assert (
        with_parts(text, {"sum": made}, "make") == f"a\n{MINE}{new}\nb\n{OTHERS}\nold\n{END}\nc\n{MINE}{new}"
    )
    assert has_parts(text, "nmake")
    assert not has_parts(text, "mak")


def test_written_twice_is_as_written_once() -> None:
    once = with_parts(f"{MINE}\n{END}\n", {"sum": made}, "make")
    assert with_parts(once, {"sum": made}, "make") == once


def test_text_without_markers_stays() -> None:
    assert with_parts("# A title\n<!-- a remark -->\n", {}, "make") == "# A title\n<!-- a remark -->\n"


@pytest.mark.parametrize(
    "text", [MINE, END, f"{END}\n{MINE}", f"{MINE}\n{MINE}\n{END}", f"{OTHERS}\n", f"{MINE}\n{END}\n{END}"]
)
def test_a_marker_without_its_partner_is_an_error(text) -> None:
    with pytest.raises(CourseError, match=r"^a/b\.md: expected .* alone$"):
        with_parts(text, {"sum": made}, "make", "a/b.md")


def test_a_part_that_nobody_makes_is_an_error() -> None:
    with pytest.raises(CourseError, match="expected one of mean, total, got 'sum'"):
        with_parts(f"{MINE}\n{END}", {"total": made, "mean": made}, "make")
