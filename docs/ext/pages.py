"""Which file gets which generated part."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from coursekit.course import Course
from coursekit.course_map import timetable
from docs.ext import concept_map, families, references
from docs.ext.heads import heads
from flowlib import load_results

__all__ = ["generated", "with_parts"]

_PART = re.compile(r"(<!-- (?P<name>[\w ]+): written by python -m docs\.ext -->\n).*?(<!-- end -->)", re.S)


def with_parts(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """`text` with what stands between each pair of markers written anew.

    >>> with_parts("<!-- sum: written by python -m docs.ext -->\\nold\\n<!-- end -->", {"sum": lambda: "1 + 1"})
    '<!-- sum: written by python -m docs.ext -->\\n\\n1 + 1\\n\\n<!-- end -->'

    Raises:
        ValueError: for a part that nobody makes.
    """

    def written(match: re.Match[str]) -> str:
        if match["name"] not in parts:
            raise ValueError(f"expected one of {', '.join(sorted(parts))}, got {match['name']!r}")
        # Empty lines around it: Markdown begins anew behind an HTML comment.
        return f"{match[1]}\n{parts[match['name']]()}\n\n{match[3]}"

    return _PART.sub(written, text)


def _text(course: Course, name: str) -> str:
    return "\n\n".join(cell.source for cell in course.source(name).cells if cell.cell_type == "markdown")


def _modules(root: Path) -> dict[str, str]:
    files = sorted((root / "flowlib").glob("*.py"))
    return {f"flowlib.{path.stem}": path.read_text(encoding="utf-8") for path in files}


def generated(course: Course) -> dict[Path, bytes]:
    """Path → content of every file in docs/ that is made, wholly or in part."""
    docs = course.root / "docs"
    found = heads(course)
    flows, digits = load_results("families"), load_results("digits_flows")
    parts: dict[str, Callable[[], str]] = {
        "concept list": lambda: concept_map.concept_list(found),
        "times": lambda: timetable(course),
        "references": lambda: references.reference_list(
            found, {h.name: _text(course, h.name) for h in found}, _modules(course.root)
        ),
        "families about": lambda: families.families_about(flows),
        "excess": lambda: families.excess_table(flows),
        "costs": lambda: families.costs_table(flows),
        "exactness": lambda: families.exactness_table(flows),
        "digits about": lambda: families.digits_about(digits),
        "digits": lambda: families.digits_table(digits),
    }
    made = {}
    for path in sorted(docs.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        if _PART.search(before):
            made[path] = with_parts(before, parts).encode()
    made[docs / "images" / "concept_map.svg"] = concept_map.concept_svg(found).encode()
    made[docs / "images" / "families.svg"] = families.excess_figure(flows)
    made[docs / "images" / "digits.svg"] = families.digits_figure(digits)
    return made
