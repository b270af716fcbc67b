"""The report as one HTML page: no script, nothing fetched; all that comes from students is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from coursekit.report import figures, similarity, summary
from coursekit.report.fingerprints import fingerprints
from coursekit.report.load import ClassResults
from coursekit.report.misconceptions import found_misconceptions

__all__ = ["Side", "page"]

# Rows and pairs beyond are counted, not shown: a page must stay readable.
MOST_PAIRS = 100
MOST_SIDE_BY_SIDE = 15
MOST_OUTLIERS = 30

_NEWLINE = re.compile(r"\r\n?|\n")


@dataclass(frozen=True)
class Side:
    """One answer beside another: its lines, each with whether it is shared."""

    student: str
    lines: tuple[tuple[str, bool], ...]


def page(found: ClassResults, pairs: Sequence[similarity.Pair]) -> str:
    """The report's HTML."""
    totals = summary.totals(found)
    checks = summary.check_rows(found)
    median = totals.quartiles[1] if totals.quartiles else None
    outliers = summary.outliers(found)
    answers = {e.student: e.answers for e in found.entries}
    environment = Environment(
        loader=PackageLoader("coursekit.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    return environment.get_template("page.html.j2").render(
        assignment=found.assignment,
        unreadable=found.unreadable,
        totals=totals,
        histogram=figures.histogram([e.points for e in found.ran], totals.max_points, median),
        view=figures,
        checks=checks,
        stacks=figures.stacks(checks),
        outcomes=summary.OUTCOMES,
        misconceptions=found_misconceptions(found),
        outliers=outliers[:MOST_OUTLIERS],
        outliers_left=max(0, len(outliers) - MOST_OUTLIERS),
        mads=summary.OUTLIER_MADS,
        least_deviation=summary.LEAST_DEVIATION,
        flags=summary.flag_groups(found),
        pairs=pairs[:MOST_PAIRS],
        pairs_left=max(0, len(pairs) - MOST_PAIRS),
        groups=[g for g in similarity.groups(pairs) if len(g) > 2],
        side_by_side=[(p, _sides(p, answers)) for p in _strongest(pairs)[:MOST_SIDE_BY_SIDE]],
        similarity=similarity,
    )


def _strongest(pairs: Sequence[similarity.Pair]) -> list[similarity.Pair]:
    """The first pair of each group: the others of a group show the same code again."""
    place = {s: number for number, group in enumerate(similarity.groups(pairs)) for s in group}
    first: dict[int, similarity.Pair] = {}
    for pair in pairs:
        first.setdefault(place[pair.first], pair)
    return list(first.values())


def _sides(
    pair: similarity.Pair, answers: Mapping[str, Mapping[str, str]]
) -> list[tuple[similarity.Match, tuple[Side, ...]]]:
    """For each exercise in which the two are alike: both answers."""
    return [
        (match, tuple(_side(s, answers[s][match.exercise], match.shared) for s in (pair.first, pair.second)))
        for match in pair.matches
    ]


def _side(student: str, source: str, shared: frozenset[int]) -> Side:
    marked = fingerprints(source).lines_of(shared)
    # As Python counts lines: str.splitlines knows more ends of lines.
    lines = _NEWLINE.split(source)
    return Side(student, tuple((line, number in marked) for number, line in enumerate(lines, start=1)))
