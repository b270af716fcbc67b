"""Do samples follow a distribution? The Kolmogorov-Smirnov distance, with a limit that right samplers do not meet by chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import ndtr

from autograder_tests.compare import require

__all__ = ["LIMIT", "follows", "kolmogorov_smirnov", "normal_cdf"]

# √n times the distance of a right sampler exceeds 3.2 with probability 2·exp(−2·3.2²), about 3 in a billion: thousands of
# students, each with many draws, and nobody loses a point by bad luck.
LIMIT = 3.2


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Distribution function of N(0, 1), entry by entry."""
    return ndtr(x)


def kolmogorov_smirnov(samples: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray] = normal_cdf) -> float:
    """√n times the largest distance between the empirical distribution function of `samples` and `cdf`.

    Args:
        samples: `(n,)`, or `(n, D)` for the worst of D coordinates with the same distribution function.
        cdf: distribution function, entry by entry.

    >>> kolmogorov_smirnov(np.array([0.5]), lambda x: x)
    0.5
    """
    columns = np.sort(np.asarray(samples, dtype=float).reshape(len(samples), -1), axis=0)
    n, F = len(columns), cdf(columns)
    ranks = np.arange(n + 1)[:, None] / n
    return float(np.sqrt(n) * max((ranks[1:] - F).max(), (F - ranks[:-1]).max()))


def follows(
    samples: np.ndarray,
    what: str,
    cdf: Callable[[np.ndarray], np.ndarray] = normal_cdf,
    given: dict | None = None,
) -> None:
    """`samples` must follow `cdf`; NaN does not.

    Raises:
        Mismatch: the distance is beyond the limit.
    """
    scaled, n = kolmogorov_smirnov(samples, cdf), len(samples)
    require(
        scaled < LIMIT,
        what,
        expected=f"a Kolmogorov-Smirnov distance below {LIMIT / np.sqrt(n):.3f}",
        got=f"{scaled / np.sqrt(n):.3f}",
        given=given,
    )
