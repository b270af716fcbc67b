"""Which file gets which generated part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from coursekit.course import Course
from coursekit.course_map import timetable
from coursekit.markers import has_parts, with_parts
from docs.ext import concept_map, families, grading_page, measured, references
from docs.ext.heads import heads
from flowlib import load_results

__all__ = ["COMMAND", "generated"]

COMMAND = "python -m docs.ext"


def _text(course: Course, name: str) -> str:
    return "\n\n".join(cell.source for cell in course.source(name).cells if cell.cell_type == "markdown")


def _modules(root: Path) -> dict[str, str]:
    files = sorted((root / "flowlib").glob("*.py"))
    return {f"flowlib.{path.stem}": path.read_text(encoding="utf-8") for path in files}


def generated(course: Course) -> dict[Path, bytes]:
    """Path → content of README.md and of every file in docs/ that is made, wholly or in part."""
    docs, results = course.root / "docs", course.root / "benchmarks" / "results"
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
        **grading_page.parts(results),
        **measured.parts(results),
    }
    made = {}
    for path in (course.root / "README.md", *sorted(docs.glob("*.md"))):
        before = path.read_text(encoding="utf-8")
        if has_parts(before, COMMAND):
            where = path.relative_to(course.root).as_posix()
            made[path] = with_parts(before, parts, COMMAND, where).encode()
    made[docs / "images" / "concept_map.svg"] = concept_map.concept_svg(found).encode()
    made |= {docs / "images" / name: picture for name, picture in measured.figures(results).items()}
    made[docs / "images" / "families.svg"] = families.excess_figure(flows)
    made[docs / "images" / "digits.svg"] = families.digits_figure(digits)
    return made
