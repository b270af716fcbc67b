"""How a check compares: tolerances by dtype, the first example that differs, readable numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Mismatch", "describe", "has_shape", "require", "same", "show"]

# Rounding of the two dtypes that students' code computes in; float32 is right, only coarser.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
LONGEST = 30  # numbers that a report shows in full


class Mismatch(Exception):
    """A property does not hold. The report shows `what`, and expected and got on the smallest example."""

    def __init__(
        self, what: str, *, expected: str = "", got: str = "", given: dict[str, Any] | None = None
    ) -> None:
        super().__init__(what)
        self.what, self.expected, self.got = what, expected, got
        self.given = {k: v if isinstance(v, str) else show(v) for k, v in (given or {}).items()}


def show(value: Any) -> str:
    """A short, readable form of a number or array: five digits, long arrays abridged.

    >>> show(np.array([[1.0, -0.25], [1e-9, 123456.0]]))
    '[[1, -0.25], [1e-09, 1.2346e+05]]'
    """
    array = np.asarray(value)
    if array.size > LONGEST:
        return np.array2string(array, precision=5, separator=", ", threshold=LONGEST, edgeitems=2)
    if array.ndim:
        return "[" + ", ".join(show(v) for v in array) + "]"
    return f"{array.item():.5g}" if array.dtype.kind in "fc" else str(array.item())


def describe(value: Any) -> str:
    """What kind of thing came back, for a result of the wrong kind."""
    from autograder_tests.plain import Expression, Opaque

    if isinstance(value, np.ndarray):
        return f"a tensor of shape {value.shape}"
    if isinstance(value, Opaque):
        return f"a {value.type}"
    if isinstance(value, Expression):
        return f"the expression {value.text}"
    if isinstance(value, list):
        return f"{len(value)} values: " + ", ".join(describe(v) for v in value[:4])
    return repr(value)[:200]


def require(
    holds: bool | np.bool_, what: str, *, expected: str = "", got: str = "", given: dict | None = None
) -> None:
    """Raise `Mismatch` unless `holds`."""
    if not bool(holds):
        raise Mismatch(what, expected=expected, got=got, given=given)


def has_shape(got: np.ndarray, shape: tuple[int, ...], what: str, given: dict | None = None) -> None:
    """The shape must be exactly `shape`."""
    require(
        got.shape == tuple(shape),
        f"{what} has the wrong shape",
        expected=f"shape {tuple(shape)}",
        got=f"shape {got.shape}",
        given=given,
    )


def same(
    got: np.ndarray,
    expected: np.ndarray | float,
    what: str,
    *,
    given: dict[str, Any] | None = None,
    rtol: float | None = None,
    atol: float | None = None,
) -> None:
    """`got` equals `expected`: same shape, |got − expected| ≤ atol + rtol·|expected|; NaN is never equal.

    Tolerances default to 1e-9 for float64 and 1e-4 for float32 results; given ones are floors for float64 and are widened to
    1e-4 for float32. Arrays in `given` whose first axis has the batch's length are shown for the differing example alone.

    Raises:
        Mismatch: with expected and got on the first example that differs.
    """
    expected = np.asarray(expected)
    got = np.asarray(got)
    has_shape(got, expected.shape, what, given)
    base = TOLERANCE["float32" if got.dtype == np.float32 else "float64"]
    rtol = base if rtol is None else max(rtol, base)
    atol = base if atol is None else max(atol, base)
    with np.errstate(invalid="ignore"):
        close = np.abs(got - expected) <= atol + rtol * np.abs(expected)
    # Infinities are equal only to themselves, and NaN to nothing: a difference with either says nothing.
    differs = ~((got == expected) | (close & np.isfinite(got) & np.isfinite(expected)))
    if not differs.any():
        return
    where = ""
    if expected.ndim >= 1:
        first = int(np.argmax(differs.reshape(len(expected), -1).any(axis=1)))
        if len(expected) > 1:
            where = (
                f", example {first + 1} of {len(expected)}"
                if expected.ndim > 1 or len(expected) <= 64
                else f", entry {first + 1}"
            )
        given = {
            k: np.asarray(v)[first]
            if not isinstance(v, str) and np.ndim(v) >= 1 and len(v) == len(expected)
            else v
            for k, v in (given or {}).items()
        }
        expected, got = expected[first], got[first]
    raise Mismatch(f"{what}{where}", expected=show(expected), got=_told_apart(got, expected), given=given)


def _told_apart(got: np.ndarray, expected: np.ndarray) -> str:
    """`got` as `show` writes it; where that reads like `expected`, with what tells them apart.

    >>> _told_apart(np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-7]))
    '[1, 2], off by 1e-07'
    >>> _told_apart(np.array(np.nan), np.array(np.nan))
    'nan: a number that is not finite equals nothing'
    """
    text = show(got)
    if text != show(expected):
        return text
    if not np.isfinite(got).all():
        return f"{text}: a number that is not finite equals nothing"
    return f"{text}, off by {np.abs(got - expected).max():.2g}"
