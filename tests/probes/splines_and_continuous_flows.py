"""Random cases of 10_splines_and_continuous_flows's exercises."""

from __future__ import annotations

import numpy as np

from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make
from tests.probes._cases import attempt, batch_shape, seed


def bin_slope(subject, rng: np.random.Generator) -> list | None:
    names = ("xi", "s", "d0", "d1")
    answer = attempt(subject, "student:rq_bin_slope", "", *(Make("positive_symbol", (n,)) for n in names))
    if not isinstance(answer, Expression):
        return None
    values = dict(zip(names, rng.uniform(0.2, 3.0, (4, 3)), strict=True)) | {"xi": rng.uniform(0, 1, 3)}
    return [evaluate(answer.text, values)]


def _parameters(rng: np.random.Generator) -> tuple[float, list[np.ndarray]]:
    K, B = int(rng.integers(2, 7)), float(rng.uniform(1, 4))
    parts = [v / v.sum() * 2 * B for v in rng.uniform(0.3, 1.5, (2, K))]
    return B, [*parts, rng.uniform(0.2, 3.0, K - 1)]


def spline_forward(subject, rng: np.random.Generator) -> None:
    B, parameters = _parameters(rng)
    points = np.asarray(rng.uniform(-1.5, 1.5, size=batch_shape(rng)) * B)
    attempt(subject, "student:rq_spline_forward", "", points, *parameters, grad=(0, 1, 2, 3))


def spline_inverse(subject, rng: np.random.Generator) -> None:
    B, parameters = _parameters(rng)
    points = np.asarray(rng.uniform(-1.5, 1.5, size=batch_shape(rng)) * B)
    attempt(subject, "student:rq_spline_inverse", "", points, *parameters, grad=(0, 1, 2, 3))


def runge_kutta(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 4))
    f = Make("time_velocity", (D, seed(rng)))
    y, (t0, t1) = rng.normal(size=(*batch_shape(rng), D)), rng.uniform(-1, 1, 2).tolist()
    attempt(subject, "student:runge_kutta_4", "", f, y, t0, t1, int(rng.integers(1, 5)))


def hutchinson(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 5))
    velocity = Make("time_velocity", (D, seed(rng)))
    shape = (*batch_shape(rng), D)
    x, noise = rng.normal(size=(2, *shape))
    t = float(rng.uniform(0, 1))
    attempt(subject, "student:hutchinson_estimate", "", velocity, x, t, noise, grad=0)


def continuous(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 4))
    velocity = Make("time_velocity", (D, seed(rng), 0.8))
    x = rng.normal(size=(*batch_shape(rng), D))
    attempt(subject, "student:continuous_log_prob", "", x, velocity, int(rng.integers(1, 4)), grad=1)


def probability_flow(subject, rng: np.random.Generator) -> None:
    K = int(rng.integers(1, 4))
    weights, scales = rng.uniform(0.3, 1.5, (2, K))
    schedule = Make("reference", ("VariancePreserving", *np.sort(rng.uniform(0.1, 8, 2)).tolist()))
    x, s = np.asarray(rng.normal(size=batch_shape(rng))), float(rng.uniform(0.05, 1))
    arguments = weights / weights.sum(), rng.normal(size=K), scales, schedule
    attempt(subject, "student:probability_flow_velocity", "", x, s, *arguments)


PROBES = {
    "rq_bin_slope": bin_slope,
    "rq_spline_forward": spline_forward,
    "rq_spline_inverse": spline_inverse,
    "runge_kutta_4": runge_kutta,
    "hutchinson_estimate": hutchinson,
    "continuous_log_prob": continuous,
    "probability_flow_velocity": probability_flow,
}
