"""Colors that can be read: contrast of lines and reports, and colors told apart by people who see fewer."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest

from autograder_tests.report import Outcome, Report
from flowlib.plotting import LINES, PALETTE
from tests.course import ASSIGNMENTS, ROOT, cells

WHITE = "#FFFFFF"
DARK = "#111111"  # the page of JupyterLab's dark theme
GRAPHICS = 3.0  # WCAG 2.2, 1.4.11: what a graph is read by
# Methods that draw lines by their argument `color`; areas may be lighter, their edges and labels carry the reading.
DRAWS_LINES = {"plot", "step", "loglog", "semilogx", "semilogy", "axhline", "axvline", "vlines", "hlines"}

# Machado, Oliveira, Fernandes (2009), severity 1: linear RGB as it is seen without one kind of cone.
VISION = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
# sRGB's primaries and white in CIE XYZ.
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color: str) -> np.ndarray:
    """Linear RGB `(3,)` in [0, 1] of a color `#rrggbb`."""
    encoded = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio, 1 to 21: (L₁ + 0.05) / (L₂ + 0.05) of the relative luminances, the larger on top."""
    low, high = sorted(float(XYZ[1] @ linear(c)) for c in (first, second))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* `(3,)` of linear RGB `(3,)`."""
    relative = XYZ @ np.clip(rgb, 0, 1) / XYZ.sum(1)
    x, y, z = np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", WHITE) == pytest.approx(21)
    assert contrast("#777777", WHITE) == pytest.approx(4.48, abs=0.01)  # just misses 4.5


@pytest.mark.parametrize("name", LINES)
def test_lines_stand_out_from_white(name: str) -> None:
    assert contrast(PALETTE[name], WHITE) >= GRAPHICS


@pytest.mark.parametrize("vision", VISION)
def test_lines_are_told_apart_without_one_kind_of_cone(vision: str) -> None:
    seen = {name: lab(np.array(VISION[vision]) @ linear(PALETTE[name])) for name in LINES}
    distances = {pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]) for pair in combinations(LINES, 2)}
    closest = min(distances, key=distances.__getitem__)
    # Okabe and Ito's own eight come as close as 16; a difference of 2 is just seen side by side.
    assert distances[closest] >= 15, f"{closest}: {distances[closest]:.1f}"


def colors_of_lines(source: str) -> Iterator[str]:
    """Names of the palette's colors, and literal colors, that a cell's calls draw lines with."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in DRAWS_LINES:
            for word in (k for k in node.keywords if k.arg in ("color", "colors", "c")):
                for text in (n.value for n in ast.walk(word.value) if isinstance(n, ast.Constant)):
                    yield str(text)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_notebooks_draw_no_pale_lines(assignment: str) -> None:
    pale = set(PALETTE) - set(LINES)
    for header, source in cells(assignment):
        if not header.startswith("[markdown]"):
            assert not pale & set(colors_of_lines(source)), source


def test_flowlib_draws_no_pale_lines() -> None:
    source = (ROOT / "flowlib" / "plotting.py").read_text(encoding="utf-8")
    found = set(colors_of_lines(source))
    assert found >= {"purple", "blue"}  # the scan sees what is there
    assert not found & (set(PALETTE) - set(LINES))


@pytest.mark.parametrize("status", ["passed", "failed"])
def test_reports_are_readable_on_a_light_and_on_a_dark_page(status: str) -> None:
    page = Report(Outcome(check="c", title="the property", status=status, what="why"))._repr_html_()
    # A text with a color of its own is unreadable on one of the two: no color is 4.5:1 against both.
    assert not re.search(r"(?<![-\w])color:", page)
    (bar,) = re.findall(r"border-left:4px solid (#[0-9a-f]{6})", page)
    assert contrast(bar, WHITE) >= GRAPHICS
    assert contrast(bar, DARK) >= GRAPHICS
