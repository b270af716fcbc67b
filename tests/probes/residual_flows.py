"""Random cases of 09_residual_flows' exercises."""

from __future__ import annotations

import itertools

import numpy as np

from autograder_tests.plain import Make
from tests.probes._cases import attempt, batch_shape, seed


def iterations(subject, rng: np.random.Generator) -> None:
    L = float(
        rng.choice(
            [rng.uniform(0.01, 0.99), 1.0, rng.uniform(1, 3), -rng.uniform(0, 1)], p=(0.7, 0.1, 0.1, 0.1)
        )
    )
    attempt(
        subject,
        "student:iterations_needed",
        "",
        L,
        float(np.exp(rng.normal())),
        float(10 ** rng.uniform(-9, 1)),
    )


def fixed_point(subject, rng: np.random.Generator) -> list:
    """What all iterations share: they end at the solution, or with a RuntimeError; neither early nor late."""
    D, tolerance = int(rng.integers(1, 5)), 1e-9
    x = rng.normal(size=(*batch_shape(rng), D)) * 3
    name = "student:fixed_point_inverse"
    g = Make("contraction", (D, seed(rng), float(rng.uniform(0.1, 0.8))))
    u = attempt(subject, name, "", g, x, tolerance, 400)
    count = attempt(subject, Make("evaluations", (name, 0)), "", g, x, tolerance, 400)
    factor = float(rng.choice([1.0, 2.0, np.nan, 0.9]))
    failed = subject.raises(name, "", Make("scaling_map", (factor,) * D), np.abs(x) + 1, tolerance, 60)
    # One iteration more or less, by the norm in which the change is measured, is everybody's own choice.
    rounded = u.round(7) if isinstance(u, np.ndarray) else u
    return [rounded, count is not None and count < 300, failed is not None and "RuntimeError" in failed.types]


def normalize(subject, rng: np.random.Generator) -> None:
    W = rng.normal(size=tuple(rng.integers(1, 5, size=2))) * rng.choice([0.05, 1.0, 5.0])
    attempt(subject, "student:spectral_normalize", "", W, float(rng.uniform(0.2, 2)))


def bound(subject, rng: np.random.Generator) -> None:
    sizes = rng.integers(1, 5, size=int(rng.integers(2, 6)))
    weights = [rng.normal(size=(int(b), int(a))) for a, b in itertools.pairwise(sizes)]
    attempt(subject, "student:lipschitz_bound", "", weights, float(rng.uniform(0.1, 1.5)))


def _product_and_noise(rng: np.random.Generator) -> tuple[Make, np.ndarray]:
    D, batch = int(rng.integers(1, 5)), batch_shape(rng)
    return Make("matrix_product", (0.5 * rng.normal(size=(*batch, D, D)),)), rng.normal(
        size=(int(rng.integers(1, 5)), *batch, D)
    )


def trace(subject, rng: np.random.Generator) -> None:
    attempt(subject, "student:hutchinson_trace", "", *_product_and_noise(rng))


def series(subject, rng: np.random.Generator) -> None:
    product, noise = _product_and_noise(rng)
    terms = int(rng.integers(1, 8))
    attempt(subject, "student:log_det_series", "", product, noise, terms)
    attempt(subject, Make("evaluations", ("student:log_det_series", 0)), "", product, noise, terms)


def residual(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 4))
    layer = Make("student:ResidualLayer", (Make("contraction", (D, seed(rng), 0.5)),))
    points = rng.normal(size=(*batch_shape(rng), D))
    attempt(subject, layer, "forward", points, grad="self")
    attempt(subject, layer, "inverse", points)


def lu(subject, rng: np.random.Generator) -> list | None:
    D = int(rng.integers(1, 5))
    layer = Make("perturbed", (Make("student:LULinear", (D,)), seed(rng)))
    points = rng.normal(size=(*batch_shape(rng), D))
    answers = [attempt(subject, layer, way, v) for way in ("forward", "inverse") for v in (points, np.eye(D))]
    learned = attempt(subject, layer, "forward", rng.normal(size=(D + 2, D)), grad="self")
    if not learned or not all(_is_pair_of_arrays(a) for a in answers):
        return None
    # How the parameters are laid out is free: the facts are those of a full matrix, its inverse and its determinant.
    (x, up), (columns, ups), (u, down), (back, downs) = answers
    W, V = columns.T, back.T
    if not (W.shape == V.shape == (D, D)):
        return None
    return [
        *(list(v.shape) for v in (x, up, u, down, ups, downs)),
        x - points @ W.T,
        u - points @ V.T,
        W @ V - np.eye(D),
        up - np.linalg.slogdet(W)[1],
        down - np.linalg.slogdet(V)[1],
        bool((np.abs(W) > 1e-9).all()),
        int((learned[1] != 0).sum()) >= D * D,
    ]


def _is_pair_of_arrays(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, np.ndarray) for v in value)


PROBES = {
    "iterations_needed": iterations,
    "fixed_point_inverse": fixed_point,
    "spectral_normalize": normalize,
    "lipschitz_bound": bound,
    "hutchinson_trace": trace,
    "log_det_series": series,
    "ResidualLayer": residual,
    "LULinear": lu,
}
