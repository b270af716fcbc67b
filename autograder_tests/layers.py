"""Properties that every layer of a flow has, as functions that the checks of all families share.

`layer` is a `Make`; nothing here knows which family it is of. Directions as everywhere: `forward` u → x with
log|det ∂x/∂u|, `inverse` x → u with log|det ∂u/∂x|.
"""

from __future__ import annotations

import numpy as np

from autograder_tests.check import Case
from autograder_tests.compare import has_shape, require, same
from autograder_tests.plain import Make
from autograder_tests.subject import Subject
from flowlib.verify import numerical_jacobian

__all__ = [
    "batch_shapes_agree",
    "jacobian",
    "keeps",
    "log_det_is_of_jacobian",
    "one_log_det_per_example",
    "round_trips",
    "same_as",
]

# Central differences of float64 code: error about 1e-11, at most 2e-9 in 400 random flows with |log det| up to 9.
DIFFERENCES = 1e-6
OPPOSITE = {"forward": "inverse", "inverse": "forward"}
SYMBOL = {"forward": "u", "inverse": "x"}


def round_trips(subject: Subject, layer: Make, points: np.ndarray, given: dict | None = None) -> None:
    """inverse(forward(u)) = u and forward(inverse(x)) = x; the way back is asked of a fresh process."""
    for there, back in OPPOSITE.items():
        y, _ = subject.pair(layer, there, points)
        has_shape(y, points.shape, f"first result of {there}")
        again, _ = subject.fresh().pair(layer, back, y.astype(float))
        same(
            again, points, f"{back}({there}({SYMBOL[there]}))", given={SYMBOL[there]: points, **(given or {})}
        )


def jacobian(subject: Subject, layer: Make, direction: str, points: np.ndarray) -> np.ndarray:
    """J[b, i, j] = ∂output_i/∂input_j at each of `points` `(B, D)`, by central differences, `(B, D, D)`."""

    def f(batch: np.ndarray) -> np.ndarray:
        y, _ = subject.pair(layer, direction, batch)
        has_shape(y, batch.shape, f"first result of {direction}")
        return y.astype(float)

    # Rounding of float32 code would drown in a float64 step.
    y, _ = subject.pair(layer, direction, points)
    h = 1e-2 if y.dtype == np.float32 else 3e-5
    # Richardson: two steps, combined so that the error's h² cancels. Steep flows need it.
    return (4 * numerical_jacobian(f, points, h=h) - numerical_jacobian(f, points, h=2 * h)) / 3


def log_det_is_of_jacobian(
    subject: Subject, layer: Make, direction: str, points: np.ndarray, given: dict | None = None
) -> None:
    """log_det of `direction` equals log|det J| of that very map, J by central differences."""
    y, log_det = subject.pair(layer, direction, points)
    given = {SYMBOL[direction]: points, **(given or {})}
    has_shape(log_det, points.shape[:-1], f"log_det of {direction}", given)
    _, expected = np.linalg.slogdet(jacobian(subject, layer, direction, points))
    loose = np.float32 in (y.dtype, log_det.dtype)
    tolerance = 5e-3 if loose else DIFFERENCES
    same(
        log_det.astype(float),
        expected,
        f"log_det of {direction}",
        given=given,
        rtol=tolerance,
        atol=tolerance,
    )


def keeps(
    subject: Subject, layer: Make, points: np.ndarray, kept: np.ndarray, given: dict | None = None
) -> None:
    """The variables where `kept` is 1 come out of both directions as they went in."""
    for direction, symbol in SYMBOL.items():
        y, _ = subject.pair(layer, direction, points)
        has_shape(y, points.shape, f"first result of {direction}")
        same(
            y[..., kept == 1],
            points[..., kept == 1],
            f"{direction}: the variables with mask 1",
            given={symbol: points, **(given or {})},
        )


def batch_shapes_agree(subject: Subject, layer: Make, case: Case, D: int) -> None:
    """Any `(*batch, D)` works and gives what the same rows give as a batch `(B, D)`, and one of them alone."""
    for batch in ((), (2,), (case.pick(2, 3), 1, 3)):
        points = case.normal(*batch, D)
        rows = points.reshape(-1, D)
        k = int(case.rng.integers(len(rows)))
        for direction in SYMBOL:
            y, log_det = subject.pair(layer, direction, points)
            has_shape(y, points.shape, f"first result of {direction} for an input of shape {points.shape}")
            has_shape(log_det, batch, f"log_det of {direction} for an input of shape {points.shape}")
            for some in (slice(None), slice(k, k + 1)):
                one, one_log_det = subject.pair(layer, direction, rows[some])
                same(y.reshape(-1, D)[some], one, f"{direction} of shape {points.shape}")
                same(log_det.reshape(-1)[some], one_log_det.reshape(-1), f"log_det of shape {batch}")


def one_log_det_per_example(subject: Subject, layer: Make, case: Case, D: int) -> None:
    """log_det is `(*batch,)` for a single example and for a grid of examples, too."""
    for batch in ((), (case.pick(2, 3), 4)):
        points = case.normal(*batch, D)
        for direction in SYMBOL:
            _, log_det = subject.pair(layer, direction, points)
            has_shape(log_det, batch, f"log_det of {direction} for an input of shape {points.shape}")


def same_as(
    subject: Subject, layer: Make, reference: Make, points: np.ndarray, given: dict | None = None
) -> None:
    """Both directions give what flowlib's layer gives: for formula checks with known nets."""
    from autograder_tests.subject import Local

    right = Local({})
    for direction, symbol in SYMBOL.items():
        y, log_det = subject.pair(layer, direction, points)
        expected, expected_log_det = right.pair(reference, direction, points)
        same(y, expected, direction, given={symbol: points, **(given or {})})
        require(
            log_det.shape == expected_log_det.shape,
            f"log_det of {direction} has the wrong shape",
            expected=f"shape {expected_log_det.shape}",
            got=f"shape {log_det.shape}",
        )
        same(log_det, expected_log_det, f"log_det of {direction}", given={symbol: points, **(given or {})})
