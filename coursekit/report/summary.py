"""What an instructor asks first: how many, how well, which checks, what is unusual, what to look at."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from coursekit.report.load import ClassResults, Entry
from coursekit.score import CellScore

__all__ = [
    "OUTCOMES",
    "OUTLIER_MADS",
    "CheckRow",
    "FlagGroup",
    "Outlier",
    "Totals",
    "check_rows",
    "flag_groups",
    "outcome",
    "outliers",
    "totals",
]

# What became of a check, in the order in which the bars are stacked.
OUTCOMES = ("passed", "hidden", "failed", "open", "not run")

# An outlier lies above median + this many median absolute deviations. For values with a normal distribution, 6 are
# 4 standard deviations.
OUTLIER_MADS = 6.0
# Where nearly all are alike, a hair more is no outlier: the deviation counts as this share of the median at least.
LEAST_DEVIATION = 0.05

_MEASURES = (("seconds", "seconds", "s"), ("cpu_seconds", "CPU time", "s"), ("peak_mb", "memory", "MB"))

# What is most likely to need a person comes first; kinds not named follow by name.
_FLAG_ORDER = (
    "not in the gradebook",
    "verdict differs",
    "reference used",
    "not graded",
    "stopped",
    "died",
    "time limit",
    "damaged",
    "missing",
    "edited",
    "retyped",
    "duplicated",
    "swapped id",
    "without its id",
    "unknown id",
    "unknown release",
    "old release",
    "old format",
    "renamed",
)


@dataclass(frozen=True)
class Totals:
    """Counts of submissions; quartiles are of the points of those that ran, None when none did."""

    submissions: int
    graded: int
    stopped: int
    not_graded: int
    waiting: int
    max_points: float
    quartiles: tuple[float, float, float] | None


@dataclass(frozen=True)
class CheckRow:
    """One test cell: how many submissions had each outcome, and the mean of the points."""

    id: str
    counts: dict[str, int]
    mean: float
    max_points: float

    @property
    def total(self) -> int:
        """Submissions that have the check."""
        return sum(self.counts.values())

    def share(self, name: str) -> float:
        """The share of an outcome, in [0, 1]."""
        return self.counts[name] / self.total


@dataclass(frozen=True)
class Outlier:
    """A submission with far more of something than the others."""

    student: str
    what: str
    unit: str
    value: float
    median: float
    limit: float


@dataclass(frozen=True)
class FlagGroup:
    """Flags of one kind; `items` are (detail, students), those with most students first."""

    kind: str
    items: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def students(self) -> int:
        """How many students have a flag of this kind."""
        return len({s for _, students in self.items for s in students})


def totals(found: ClassResults) -> Totals:
    """The first line of the report."""
    counts = Counter(e.result.status for e in found.entries)
    points = [e.points for e in found.ran]
    return Totals(
        submissions=len(found.entries),
        graded=counts["graded"],
        stopped=counts["stopped"],
        not_graded=counts["not graded"],
        waiting=sum(e.needs_manual for e in found.entries),
        # Of several releases the one that offers most.
        max_points=max((e.max_points for e in found.entries), default=0.0),
        quartiles=_quartiles(points),
    )


def _quartiles(points: Sequence[float]) -> tuple[float, float, float] | None:
    if not points:
        return None
    if len(points) == 1:
        return points[0], points[0], points[0]
    low, middle, high = statistics.quantiles(points, n=4, method="inclusive")
    return low, middle, high


def outcome(cell: CellScore) -> str:
    """Which of `OUTCOMES` a test cell's score is.

    >>> outcome(CellScore("t", "test", "passed", 1.0, 1.0))
    'passed'
    """
    if cell.status == "failed" and cell.hidden:
        return "hidden"
    return cell.status if cell.status in OUTCOMES else "failed"


def check_rows(found: ClassResults) -> list[CheckRow]:
    """A row a check, in the notebook's order; refused submissions are not counted."""
    cells: dict[str, list[CellScore]] = {}
    for entry in found.ran:
        for cell in entry.tests():
            cells.setdefault(cell.id, []).append(cell)
    return [
        CheckRow(
            name,
            {o: sum(outcome(c) == o for c in scores) for o in OUTCOMES},
            statistics.fmean(c.points or 0.0 for c in scores),
            max(c.max_points for c in scores),
        )
        for name, scores in cells.items()
    ]


def outliers(found: ClassResults) -> list[Outlier]:
    """Submissions with far more seconds, CPU time or memory than the class: robust, so that they don't hide
    themselves."""
    rows = []
    for name, what, unit in _MEASURES:
        measured = [(e, value) for e in found.ran if (value := _value(e, name)) is not None]
        if len(measured) < 3:  # of two, neither is unusual
            continue
        values = [value for _, value in measured]
        median = statistics.median(values)
        mad = statistics.median(abs(v - median) for v in values)
        limit = median + OUTLIER_MADS * max(mad, LEAST_DEVIATION * median)
        above = sorted((m for m in measured if m[1] > limit), key=lambda m: (-m[1], m[0].student))
        rows += [Outlier(e.student, what, unit, value, median, limit) for e, value in above]
    return rows


def _value(entry: Entry, name: str) -> float | None:
    return getattr(entry.result, name)


def flag_groups(found: ClassResults) -> list[FlagGroup]:
    """All flags by kind, what needs a person most first. A refused or stopped submission is a flag, too."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for entry in found.entries:
        for kind, detail in _flags(entry):
            students = kinds.setdefault(kind, {}).setdefault(detail, [])
            if entry.student not in students:
                students.append(entry.student)
    groups = [
        FlagGroup(
            kind,
            tuple((d, tuple(s)) for d, s in sorted(details.items(), key=lambda i: (-len(i[1]), i[0]))),
        )
        for kind, details in kinds.items()
    ]
    rank = {kind: number for number, kind in enumerate(_FLAG_ORDER)}
    return sorted(groups, key=lambda g: (rank.get(g.kind, len(rank)), g.kind))


def _flags(entry: Entry) -> list[tuple[str, str]]:
    flags = [(kind, detail.strip()) for kind, _, detail in (f.partition(":") for f in entry.result.flags)]
    if entry.result.status != "graded":
        flags.append((entry.result.status, entry.result.message))
    if entry.standing is None:
        flags.append(("not in the gradebook", "points below are those of the kept result"))
    return flags
