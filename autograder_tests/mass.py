"""Does a density integrate to 1 over the plane? Sums over a grid that is known to resolve it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from autograder_tests.compare import has_shape, require
from autograder_tests.plain import Make
from autograder_tests.subject import Local

__all__ = ["grid", "has_mass_one", "resolved"]

_POINTS = np.random.default_rng(0).normal(size=(2000, 2))


def grid(extent: float, n: int = 129) -> tuple[np.ndarray, np.ndarray, float]:
    """A square grid: axis `(n,)`, points `(n², 2)`, area of a cell."""
    axis, step = np.linspace(-extent, extent, n, retstep=True)
    return axis, np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2), float(step**2)


def resolved(draw: Callable[[], Make]) -> tuple[Make, float]:
    """A random flow of flowlib's on N(0, I) and an extent whose grid resolves its density, and that of its inverse.

    A steep flow has ridges narrower than a cell; such draws are thrown away, or a right answer would fail now and then. The
    density of the inverse is what comes of the commonest mistake: it has mass 1 as well, and must not fail by chance.
    """
    right = Local({})
    for _ in range(50):
        flow = draw()
        ahead, back = (right.pair(flow, way, _POINTS)[0] for way in ("forward", "inverse"))
        extent = float(max(np.abs(ahead).max(), np.abs(back).max())) * 1.5
        _, points, area = grid(extent)
        z, log_det = right.pair(flow, "forward", points)
        inverse = -0.5 * (z**2).sum(-1) - np.log(2 * np.pi) + log_det
        densities = (right.array(flow, "log_prob", points), inverse)
        if all(abs(np.exp(d).sum() * area - 1) < 0.005 for d in densities):
            return flow, extent
    raise RuntimeError("no random flow is smooth enough for the grid")


def has_mass_one(log_prob: np.ndarray, points: np.ndarray, area: float) -> None:
    """log_prob `(n²,)` at the grid's points sums to 1.

    Raises:
        Mismatch: the shape is another, or the mass is not within 0.02 of 1.
    """
    has_shape(log_prob, (len(points),), f"log_prob of points of shape {points.shape}")
    with np.errstate(over="ignore"):
        mass = float(np.exp(log_prob.astype(float)).sum() * area)
    require(
        abs(mass - 1) < 0.02, "the total probability", expected="1 (to 0.02, on a grid)", got=f"{mass:.4f}"
    )
