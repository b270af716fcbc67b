"""What the first cell of each notebook says: its title, and what it needs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from coursekit.course import Course

__all__ = ["Head", "heads", "notebooks_named", "read_head"]

_TITLE = re.compile(r"^# (\d+) · (.+)$", re.M)
_NEEDS = re.compile(r"\*\*Needs:\*\*\s*(.+?)(?:\n\s*\n|\Z)", re.S)


@dataclass(frozen=True)
class Head:
    """A notebook's head; `needs` and `helped_by` are numbers of notebooks."""

    name: str
    number: int
    title: str
    needs: tuple[int, ...]
    helped_by: tuple[int, ...]

    @property
    def link(self) -> str:
        """Markdown: the number and the title, linked to the notebook as seen from a page in docs/."""
        return f"[{self.number} · {self.title}](../course/{self.name}/{self.name}.ipynb)"


def notebooks_named(text: str) -> tuple[int, ...]:
    """The notebooks that a sentence names, ranges written out; numbers of sections are no notebooks.

    >>> notebooks_named("notebooks 1–3, and 5 to 6 for section 9")
    (1, 2, 3, 5, 6)
    """
    text = re.sub(r"sections? \d+", "", text)
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:\s*(?:–|to)\s*(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def read_head(name: str, text: str) -> Head:
    """The head of the notebook `name`, of the text of its first cell.

    What stands behind the first `.` or `;` of "Needs" helps, and is not needed.

    Raises:
        ValueError: naming what is not there.
    """
    title, needs = _TITLE.search(text), _NEEDS.search(text)
    for found, what in ((title, "# n · title"), (needs, "**Needs:**")):
        if not found:
            raise ValueError(f"{name}: expected {what!r} in the first cell")
    clauses = re.split(r"[.;]", re.sub(r"\([^)]*\)", "", needs[1]))
    first, rest = notebooks_named(clauses[0]), notebooks_named(" ".join(clauses[1:]))
    return Head(name, int(title[1]), title[2], first, tuple(n for n in rest if n not in first))


def heads(course: Course) -> list[Head]:
    """The heads of all notebooks, in their order."""
    return [read_head(name, course.source(name).cells[0].source) for name in course.assignments()]
