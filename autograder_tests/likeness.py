"""When two answers count as the same: how a student's recorded answers are matched with those of a wrong implementation."""

from __future__ import annotations

from typing import Any

import numpy as np

from autograder_tests.compare import TOLERANCE
from autograder_tests.expressions import same_values
from autograder_tests.plain import Expression, Raised

__all__ = ["alike"]


def alike(a: Any, b: Any, rtol: float) -> bool:
    """Two answers are the same up to rounding; NaN is like NaN, errors are alike by their type, expressions by their value."""
    if isinstance(a, Raised) and isinstance(b, Raised):
        return a.type == b.type
    if isinstance(a, Expression) and isinstance(b, Expression):
        return same_values(a.text, b.text, rtol)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            return False
        coarse = max(rtol, TOLERANCE["float32"] if np.float32 in (a.dtype, b.dtype) else 0)
        return bool(np.allclose(a, b, rtol=coarse, atol=coarse, equal_nan=True))
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(alike(x, y, rtol) for x, y in zip(a, b, strict=True))
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return bool(np.isclose(a, b, rtol=rtol, atol=rtol, equal_nan=True))
    return type(a) is type(b) and a == b
