"""How a notebook's checks stand, as a table: plain text everywhere, and HTML beside it in Jupyter."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping

from autograder_tests.guides import Guide
from coursekit.records import Record

__all__ = ["WORDS", "Standing"]

# A status in words; None is a check that was never run.
WORDS = {
    "passed": "✓ passed",
    "failed": "✗ not yet",
    "error": "✗ not yet",
    "open": "○ open",
    None: "○ not run",
}


class Standing:
    """The table of an assignment's checks.

    Args:
        guide: of the assignment.
        outcomes: check id → how it came out last.
    """

    def __init__(self, guide: Guide, outcomes: Mapping[str, Record]) -> None:
        self.guide, self.outcomes = guide, outcomes

    def rows(self) -> Iterator[tuple[str, str, str, float, float]]:
        """Exercise, what the check wants, status in words, points and most points."""
        for exercise in self.guide.exercises:
            for check in exercise.checks:
                found = self.outcomes.get(check.id)
                points = found.points if found else 0
                status = WORDS[found.status if found else None]
                yield exercise.heading, check.title, status, points, check.points

    def total(self) -> str:
        rows = list(self.rows())
        passed = sum(r[2] == WORDS["passed"] for r in rows)
        points, most = sum(r[3] for r in rows), sum(r[4] for r in rows)
        return f"{passed} of {len(rows)} checks passed, {points:g} of {most:g} points"

    def notes(self) -> list[str]:
        """What the table cannot say."""
        found = []
        older = sum(r.passed and r.release != self.guide.release for r in self.outcomes.values())
        if older:
            found.append(f"{older} passed in another release of this notebook: run them again.")
        by_hand = [f"{e.number}" for e in self.guide.exercises if e.number and not e.checks]
        if by_hand:
            which = f"exercise{'s' * (len(by_hand) > 1)} {', '.join(by_hand)}"
            found.append(f"No check judges {which}: show_solution shows what an answer could say.")
        return found

    def __repr__(self) -> str:
        rows = list(self.rows())
        width = max([len(r[2]) for r in rows], default=0)
        lines, exercise = [self.guide.title], None
        for heading, title, status, points, most in rows:
            if heading != exercise:
                lines.append(heading)
                exercise = heading
            lines.append(f"  {status:<{width}}  {points:3g} / {most:<3g} {title}")
        return "\n".join([*lines, self.total(), *self.notes()])

    def _repr_html_(self) -> str:
        esc = html.escape
        cell = "<td style='text-align:left'>"
        parts, exercise = [], None
        for heading, title, status, points, most in self.rows():
            if heading != exercise:
                parts.append(
                    f"</tbody><tbody><tr><th scope='rowgroup' colspan='3' style='text-align:left'>{esc(heading)}</th></tr>"
                )
                exercise = heading
            parts.append(
                f"<tr>{cell}{esc(status)}</td>{cell}{points:g} of {most:g}</td>{cell}{esc(title)}</td></tr>"
            )
        head = "".join(
            f"<th scope='col' style='text-align:left'>{h}</th>" for h in ("status", "points", "check")
        )
        body = "".join(parts).removeprefix("</tbody>")
        notes = "".join(f"<p>{esc(note)}</p>" for note in self.notes())
        return (
            f"<table><caption style='text-align:left'>{esc(self.guide.title)}</caption>"
            f"<thead><tr>{head}</tr></thead>{body}{'</tbody>' if body else ''}</table>"
            f"<p><strong>{esc(self.total())}</strong></p>{notes}"
        )
