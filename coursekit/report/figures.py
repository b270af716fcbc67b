"""Geometry of the two figures: numbers for the template's SVG, in pixels of a fixed view box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from coursekit.report.summary import OUTCOMES, CheckRow

__all__ = ["Bar", "Histogram", "Stack", "histogram", "stacks"]

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 44
MAX_BINS = 20


@dataclass(frozen=True)
class Bar:
    """A rectangle with what it stands for."""

    x: float
    y: float
    width: float
    height: float
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Histogram:
    """Bars, ticks as (position, label), and a sentence that says what is seen."""

    bars: tuple[Bar, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    median: float | None
    description: str


@dataclass(frozen=True)
class Stack:
    """The bar of one check: its parts from left to right, in percent of the width."""

    id: str
    parts: tuple[Bar, ...]


def histogram(points: Sequence[float], most: float, median: float | None) -> Histogram | None:
    """Distribution of points in [0, most]; None when there is nothing to draw.

    Bins are one point wide up to 20 points, then wider, and closed on the right: full points are in the last.
    """
    if not points or most <= 0:
        return None
    step = _round_up(most / MAX_BINS) if most > MAX_BINS else 1.0
    bins = max(1, ceil(round(most / step, 9)))
    counts = [0] * bins
    for p in points:
        # (k·step, (k + 1)·step]; the first holds 0 as well.
        counts[min(bins - 1, max(0, ceil(round(p / step, 9)) - 1))] += 1
    inner, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    top_step = max(1, int(_round_up(max(counts) / 5)))
    top = top_step * ceil(max(counts) / top_step)

    def x(value: float) -> float:
        return round(LEFT + inner * value / (bins * step), 2)

    def y(count: float) -> float:
        return round(TOP + height * (1 - count / top), 2)

    bars = []
    for k, count in enumerate(counts):
        low, high = k * step, min(most, (k + 1) * step)
        students = "1 student" if count == 1 else f"{count} students"
        left = "" if k == 0 else "more than "
        text = f"{left}{low:g} to {high:g} points: {students}"
        bars.append(
            Bar(x(low) + 1, y(count), round(x(low + step) - x(low) - 2, 2), round(y(0) - y(count), 2), text)
        )
    every = max(1, ceil(bins / 10))
    x_ticks = tuple((x(k * step), f"{k * step:g}") for k in range(0, bins + 1, every))
    y_ticks = tuple((y(c), str(c)) for c in range(0, top + 1, top_step))
    peak = max(range(bins), key=lambda k: counts[k])
    description = f"{len(points)} submissions with 0 to {most:g} points; most often {bars[peak].text}."
    return Histogram(tuple(bars), x_ticks, y_ticks, None if median is None else x(median), description)


def stacks(rows: Sequence[CheckRow]) -> list[Stack]:
    """A stacked bar a check."""
    made = []
    for row in rows:
        left, parts = 0.0, []
        for name in OUTCOMES:
            width = 100 * row.share(name)
            if width:
                text = f"{row.id}, {name}: {row.counts[name]} of {row.total}"
                parts.append(Bar(round(left, 3), 0, round(width, 3), 1, text, name.replace(" ", "-")))
            left += width
        made.append(Stack(row.id, tuple(parts)))
    return made


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten.

    >>> [_round_up(v) for v in (0.3, 1, 1.2, 3, 7)]
    [0.5, 1.0, 2.0, 5.0, 10.0]
    """
    power = 10.0 ** floor(log10(value)) if value > 0 else 1.0
    return next(round(m * power, 9) for m in (1, 2, 5, 10) if m * power >= value - 1e-9)
