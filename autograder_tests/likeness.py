"""When two answers count as the same: how a student's recorded answers are matched with those of a wrong implementation."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from autograder_tests.compare import TOLERANCE
from autograder_tests.expressions import same_values
from autograder_tests.plain import Expression, Raised

__all__ = ["alike"]

SHARED_WORDS = 0.6  # of all the words of two messages: the same error with other names and shapes in it


def _same_error(a: Raised, b: Raised) -> bool:
    """The same class; and the same message, up to numbers and a few words, unless the code raises it by itself.

    Libraries raise a ValueError for many reasons, and each has its own words. In an exercise's own `raise` the words are free.
    """
    if a.type != b.type:
        return False
    if "raise " in a.where or "raise " in b.where:
        return True
    words = [set(re.findall(r"[A-Za-z_]{2,}", re.sub(r"0x[0-9a-f]+", "", r.message))) for r in (a, b)]
    return not all(words) or len(words[0] & words[1]) >= SHARED_WORDS * len(words[0] | words[1])


def alike(a: Any, b: Any, rtol: float) -> bool:
    """Two answers are the same up to rounding; NaN is like NaN, errors are alike by type and words, expressions by their value."""
    if isinstance(a, Raised) and isinstance(b, Raised):
        return _same_error(a, b)
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
