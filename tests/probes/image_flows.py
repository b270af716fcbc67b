"""Random cases of 06_image_flows' exercises.

What is drawn is anyone's choice, so probes of stochastic functions return facts that every right answer shares:
where the noise lies, how it is distributed, values that come out whatever is drawn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autograder_tests.plain import Make
from tests.probes._cases import attempt, batch_shape, seed


def _ask(subject, *args: Any, **kwargs: Any) -> Any:
    """The answer, which may be an error."""
    attempt(subject, *args, **kwargs)
    return subject.record[-1][2]


def dequantize(subject, rng: np.random.Generator) -> list:
    levels = int(rng.choice([2, 3, 17, 256]))
    shape = (int(rng.integers(300, 600)), *batch_shape(rng))
    x = rng.integers(0, levels, shape).astype(float)
    z = _ask(subject, "student:dequantize", "", x, levels, seed=seed(rng))
    if not (isinstance(z, np.ndarray) and z.shape == shape):
        return [z]
    v = (z * levels - x).reshape(len(x), -1)
    n = v.size
    inside = bool((v > -1e-6).all() and (v < 1 + 1e-6).all())
    # Uniform draws: mean ½ ± 1/√(12 n), mean square ⅓ ± √(4/45 n).
    even = abs(v.mean() - 0.5) < 6 / math.sqrt(12 * n) and abs((v**2).mean() - 1 / 3) < 6 * math.sqrt(
        4 / 45 / n
    )
    own = len(np.unique(v)) > 0.9 * n if levels < 256 else True
    return [inside, bool(even), bool(own)]


def bits(subject, rng: np.random.Generator) -> None:
    D, levels = int(rng.integers(1, 100)), int(rng.integers(2, 300))
    attempt(subject, "student:bits_per_dim", "", rng.normal(size=batch_shape(rng)) * 10, D, levels)


def bound(subject, rng: np.random.Generator) -> list:
    D, levels, N, S = (int(n) for n in rng.integers([1, 2, 1, 1], [5, 6, 5, 4]))
    table = rng.dirichlet(np.ones(levels), size=D)
    x = rng.integers(0, levels, (N, D)).astype(float)
    histogram = Make("histogram_density", (table,))
    exact = _ask(subject, "student:discrete_bound", "", histogram, x, levels, S, seed=seed(rng))
    # A density with a slope: the mean over draws is its value in the middle of the cell.
    curvature, center, N = rng.uniform(10, 30, D), rng.uniform(0, 1, D), 300
    x = np.tile(x[:1], (N, 1))
    bent = Make("quadratic_density", (curvature, center))
    got = _ask(subject, "student:discrete_bound", "", bent, x, levels, S, seed=seed(rng))
    if not (isinstance(got, np.ndarray) and got.shape == (N,)):
        return [exact, got]
    offset = ((x[0] + 0.5) / levels - center) ** 2 + 1 / (12 * levels**2)
    expected = -0.5 * (curvature * offset).sum() - D * math.log(levels)
    near = abs(got.mean() - expected) <= 6 * got.std(ddof=1) / math.sqrt(N) + 1e-9
    return [exact, bool(near), bool(np.ptp(got) > 0)]


def mask(subject, rng: np.random.Generator) -> list:
    shape = tuple(int(n) for n in rng.integers(1, 6, size=3))
    shape = (shape[0], shape[1], shape[2] + 1)
    flip = bool(rng.random() < 0.5)
    answer = _ask(
        subject, "student:checkerboard_mask", "", shape, *([flip] if flip or rng.random() < 0.5 else [])
    )
    if isinstance(answer, np.ndarray):
        return [answer.astype(float), answer.dtype.kind]
    return [answer]


def squeeze(subject, rng: np.random.Generator) -> None:
    C, H, W = (int(n) for n in rng.integers(1, 4, size=3))
    batch = batch_shape(rng)
    layer = Make("student:Squeeze")
    attempt(subject, layer, "inverse", rng.normal(size=(*batch, C, 2 * H, 2 * W)))
    attempt(subject, layer, "forward", rng.normal(size=(*batch, 4 * C, H, W)))


def actnorm(subject, rng: np.random.Generator) -> list:
    C, H, W = (int(n) for n in rng.integers(1, 4, size=3))
    first = rng.normal(size=(C, 1, 1)) + rng.uniform(0.3, 3, (C, 1, 1)) * rng.normal(size=(30, C, H, W))
    layer = Make("student:ActNorm", (C,))
    saved = rng.random() < 0.3
    made = (
        Make("saved_and_loaded", (layer, layer, first))
        if saved
        else Make("after_batch", (layer, first, seed(rng), float(rng.choice([0.0, 0.5]))))
    )
    points = rng.normal(size=(*batch_shape(rng), C, H, W))
    answers = [_ask(subject, made, way, points) for way in ("forward", "inverse")]
    learned = _ask(subject, made, "inverse", points, grad="self")
    if not all(isinstance(a, list) and all(isinstance(v, np.ndarray) for v in a) for a in answers):
        return answers
    (x, up), (u, down) = answers
    # Which of the two standard deviations and how the parameters are called is free: facts, then.
    shapes = [list(v.shape) for v in (x, up, u, down)]
    if saved or made.args[3] == 0.0:
        mean, std = (f(first, axis=(0, 2, 3))[:, None, None] for f in (np.mean, np.std))
        near = bool(np.allclose(u, (points - mean) / std, rtol=0.04, atol=0.04))
        near = near and bool(np.allclose(x, mean + std * points, rtol=0.04, atol=0.04))
    else:
        # Forward is a line whose slope and offset are those of inverse.
        slope = np.exp((up - 0).reshape(-1)[0] / (H * W)) if C == 1 else None
        near = slope is None or bool(np.allclose(x - slope * points, (x - slope * points).reshape(-1)[0]))
    sums = np.allclose(up + down, 0)
    gradient = learned[1] if isinstance(learned, list) and len(learned) == 2 else np.zeros(0)
    return [shapes, near, bool(sums), len(gradient), bool(np.all(gradient != 0))]


def scales(subject, rng: np.random.Generator) -> None:
    C, H, W = (2 * int(rng.integers(1, 3)), *(int(n) for n in rng.integers(1, 4, size=2)))
    if H * W == 1:
        H = 2
    fine = Make("image_layer", (C, H, W, seed(rng)))
    half = (C // 2, H, W)
    coarse = Make("reference", ("Affine", rng.normal(size=half), rng.uniform(0.5, 2.0, half)))
    layer = Make("student:TwoScales", (fine, coarse, (C, H, W)))
    batch = batch_shape(rng)
    attempt(subject, layer, "forward", rng.normal(size=(*batch, C * H * W)))
    attempt(subject, layer, "inverse", rng.normal(size=(*batch, C, H, W)))


PROBES = {
    "dequantize": dequantize,
    "bits_per_dim": bits,
    "discrete_bound": bound,
    "checkerboard_mask": mask,
    "Squeeze": squeeze,
    "ActNorm": actnorm,
    "TwoScales": scales,
}
