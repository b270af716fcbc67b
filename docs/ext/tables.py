"""Numbers, tables and figures as Markdown and SVG: what all pages of measured results are made with."""

from __future__ import annotations

import io
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["drawing", "fixed", "mean_and_error", "plus_minus", "power", "svg", "table"]


def fixed(value: float | None, digits: int) -> str:
    """A number with a fixed number of digits, a true minus sign and groups of thousands; a dash when there is none.

    >>> fixed(-1234.567, 1), fixed(None, 1)
    ('−1,234.6', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:,.{digits}f}".replace("-", "−")


def plus_minus(mean: float, error: float, digits: int = 3) -> str:
    """A mean and its error in one line, since the blanks are unbreakable.

    >>> plus_minus(-0.5, 0.01, 2)
    '−0.50\\xa0±\\xa00.01'
    """
    return f"{mean:.{digits}f}\u00a0±\u00a0{error:.{digits}f}".replace("-", "−")


def mean_and_error(values: Sequence[float], digits: int = 3) -> str:
    """Mean ± standard error of the mean; a dash for fewer than two values.

    >>> mean_and_error([1.0, 2.0, 3.0])
    '2.000\\xa0±\\xa00.577'
    """
    if len(values) < 2:
        return "–"
    error = statistics.stdev(values) / math.sqrt(len(values))
    return plus_minus(statistics.fmean(values), error, digits)


def power(value: float | None) -> str:
    """A small number with one digit: 3·10⁻⁵; a dash when there is none.

    >>> power(0.000034), power(0.0), power(None)
    ('3·10⁻⁵', '0', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}·10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table whose first `left` columns hold words, the others numbers.

    >>> print(table(["flow", "nats"], [["RealNVP", "0.04"]]))
    | flow | nats |
    | --- | --: |
    | RealNVP | 0.04 |

    A bar in a cell is written such that it does not end it.

    >>> table(["flow"], [["|s| ≤ 2"]]).splitlines()[-1]
    '| \\\\|s\\\\| ≤ 2 |'
    """
    marks = ["---" if k < left else "--:" for k in range(len(head))]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in (head, marks, *rows))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """Settings of a figure that `svg` writes: text stays text, ids come from `name` and do not change from run to run."""
    settings = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": 11, "axes.titlesize": 12}
    with mpl.rc_context(settings):
        yield


def svg(figure: Figure) -> bytes:
    """The figure as a file that is small, readable and the same every time."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    return _numbered(out.getvalue())


def _numbered(image: bytes) -> bytes:
    """The same with its made-up ids numbered in the order in which they stand.

    matplotlib makes that of a clip path from the number of paths it has met, which it finds anew now and then.

    >>> _numbered(b'<use href="#p0123456789"/><path id="p0123456789"/><path id="axes_1"/>')
    b'<use href="#p1"/><path id="p1"/><path id="axes_1"/>'
    """
    numbers: dict[bytes, bytes] = {}

    def number(found: re.Match[bytes]) -> bytes:
        return numbers.setdefault(found[0], b"%c%d" % (found[0][0], len(numbers) + 1))

    return re.sub(rb"\b[a-z][0-9a-f]{10}\b(?=[\")])", number, image)
