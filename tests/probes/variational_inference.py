"""Random cases of 08_variational_inference's exercises.

Where draws are random, a probe returns what every right answer shares: exact values where q is the target, averages within six
standard errors elsewhere, and gradients at bases so narrow that their draws are known.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autograder_tests import gaussian_vae as exact
from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make
from tests.probes._cases import attempt, batch_shape, seed

NARROW = 1e-6  # standard deviation of a base whose draws are known to six digits


def _ask(subject, *args: Any, **kwargs: Any) -> Any:
    """The answer, which may be an error."""
    attempt(subject, *args, **kwargs)
    return subject.record[-1][2]


def _rounded(value: Any, digits: int = 3) -> Any:
    """Numbers as far as they are determined; gradients, errors and the rest as they are."""
    if isinstance(value, np.ndarray):
        with np.errstate(all="ignore"):
            return np.round(value.astype(float), digits) + 0.0
    return [_rounded(v, digits) for v in value] if isinstance(value, list) else value


def _close(got: Any, expected: Any, allowed: Any) -> Any:
    """A fact about a random answer: its shape, and whether it is as expected."""
    if not isinstance(got, np.ndarray):
        return got
    if got.shape != np.shape(expected):
        return list(got.shape)
    return bool((np.abs(got - expected) <= allowed).all())


def _vectors(rng: np.random.Generator, D: int, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """v, w `(*shape, D)` with wᵀv between −0.9 and 4."""
    v, w = rng.normal(size=(2, *shape, D))
    w = w / np.linalg.norm(w, axis=-1, keepdims=True) * rng.uniform(0.5, 2, size=(*shape, 1))
    wanted = rng.uniform(-0.9, 4, size=(*shape, 1))
    return v + (wanted - (w * v).sum(-1, keepdims=True)) * w / (w * w).sum(-1, keepdims=True), w


def _affine(rng: np.random.Generator, D: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=D), np.tril(rng.normal(size=(D, D)) * 0.5, -1) + np.diag(rng.uniform(0.5, 1.5, D))


def free_energy(subject, rng: np.random.Generator) -> list:
    name, D, S = "student:free_energy", int(rng.integers(1, 4)), int(rng.integers(1, 5))
    mean, A = _affine(rng, D)
    precision, offset = np.linalg.inv(A @ A.T), float(rng.normal())
    energy = Make("gaussian_energy", (mean, precision, offset))
    # q is the target: −log Z whatever is drawn.
    carried = Make("forward_only", (mean, A))
    facts = [_ask(subject, name, "", energy, Make("standard_normal", (D,)), carried, S, seed=seed(rng))]
    # Known draws: gradients.
    loc, (shift, B) = rng.normal(size=D), _affine(rng, D)
    args = (energy, Make("learnable_base", (loc, np.full(D, NARROW))), Make("forward_only", (shift, B)), S)
    answer = _ask(subject, name, "", *args, grad=(1, 2), seed=seed(rng))
    facts.append(_rounded(answer[1], 2) if isinstance(answer, list) and len(answer) == 2 else answer)
    # Many draws: the average.
    n, slope = 2000, precision @ (shift + B @ loc - mean)
    wide = Make("learnable_base", (loc, np.ones(D)))
    got = _ask(subject, name, "", energy, wide, Make("forward_only", (shift, B)), n, seed=seed(rng))
    curvature = B.T @ precision @ B
    d = shift + B @ loc - mean
    expected = 0.5 * (d @ precision @ d + np.trace(curvature)) + offset
    expected -= np.linalg.slogdet(B)[1] + 0.5 * D * (1 + math.log(2 * math.pi))
    half = 0.5 * (curvature - np.eye(D))
    spread = math.sqrt(float((B.T @ slope) @ (B.T @ slope) + 2 * np.trace(half @ half)))
    return [*facts, _close(got, expected, 6 * spread / math.sqrt(n) + 1e-6)]


def planar_determinant(subject, rng: np.random.Generator) -> list:
    D = int(rng.integers(1, 4))
    symbols = [Make("symbols", (name, D)) for name in "uvw"]
    answer = _ask(subject, "student:planar_determinant", "", *symbols, Make("symbol", ("b",)))
    if not isinstance(answer, Expression):
        return [answer]
    numbers = rng.uniform(-1.2, 1.2, size=(3, D))
    values = {f"{name}{i + 1}": numbers[k, i] for k, name in enumerate("uvw") for i in range(D)}
    return [evaluate(answer.text, values | {"b": float(rng.normal())})]


def constrain(subject, rng: np.random.Generator) -> None:
    shape = (*batch_shape(rng), int(rng.integers(1, 5)))
    v, w = rng.normal(size=(2, *shape)) * rng.choice([1.0, 3.0, 40.0])
    attempt(subject, "student:constrain", "", v, w)


def planar_forward(subject, rng: np.random.Generator) -> None:
    D, batch = int(rng.integers(1, 5)), batch_shape(rng)
    each = batch[-1:] if rng.random() < 0.5 else ()
    u, (v, w), b = rng.normal(size=(*batch, D)), _vectors(rng, D, *each), rng.normal(size=each)
    attempt(subject, "student:planar_forward", "", u, v, w, np.asarray(b))


def planar_inverse(subject, rng: np.random.Generator) -> list:
    D, batch = int(rng.integers(1, 5)), batch_shape(rng)
    z, (v, w), b = (
        rng.normal(size=(*batch, D)) * rng.choice([1.0, 30.0]),
        _vectors(rng, D),
        rng.normal(size=()),
    )
    answer = _ask(subject, "student:planar_inverse", "", z, v, w, np.asarray(b), grad=(0, 1, 2, 3))
    return [_rounded(answer, 5)]


def flow_elbo(subject, rng: np.random.Generator) -> list:
    name, S = "student:flow_elbo", int(rng.integers(2, 5))
    D, M = (int(n) for n in rng.integers(1, 5, size=2))
    A = rng.normal(size=(M, M))
    likelihood = {
        "W": rng.normal(size=(D, M)),
        "b": rng.normal(size=D),
        "sigma": float(rng.uniform(0.5, 1.0)),
    }
    model = {**likelihood, "mean": rng.normal(size=M), "cov": A @ A.T + 0.5 * np.eye(M)}
    parts = (
        Make("lg_prior", (M, model["mean"], model["cov"])),
        Make("lg_decoder", kwargs=likelihood),
        Make(
            "exact_flow_encoder", kwargs={**model, "shift": rng.normal(size=M), "std": rng.uniform(1.5, 3, M)}
        ),
    )
    x = rng.normal(size=(*batch_shape(rng), D))
    facts = [_ask(subject, name, "", x, *parts, seed=seed(rng))]
    facts.append(_ask(subject, name, "", x, *parts, S, seed=seed(rng)))

    # Known draws: the gradient of encoder and flow.
    shift, scale = rng.normal(size=M), rng.uniform(0.5, 1.5, M)
    mean, one = rng.normal(size=M), rng.normal(size=D)
    narrow = Make("constant_flow_encoder", (mean, np.full(M, NARROW), shift, scale))
    prior, decoder = Make("lg_prior", (M,)), Make("lg_decoder", kwargs=likelihood)
    answer = _ask(subject, name, "", one, prior, decoder, narrow, S, grad=3, seed=seed(rng))
    facts.append(_rounded(answer[1], 2) if isinstance(answer, list) and len(answer) == 2 else answer)

    # An encoder that is not exact, one x many times: the average is known.
    std, rows = rng.uniform(0.3, 0.8, size=M), 200
    wide = Make("constant_flow_encoder", (mean, std, shift, scale))
    got = _ask(subject, name, "", np.tile(one, (rows, 1)), prior, decoder, wide, S, seed=seed(rng))
    if not isinstance(got, np.ndarray) or got.shape != (rows,):
        return [*facts, got if not isinstance(got, np.ndarray) else list(got.shape)]
    expected = exact.lg_elbo(one, *likelihood.values(), shift + scale * mean, scale * std)
    return [*facts, _close(got.mean(), expected, 6 * float(got.std()) / math.sqrt(rows) + 1e-6)]


def inference_gaps(subject, rng: np.random.Generator) -> None:
    shape = batch_shape(rng)
    attempt(subject, "student:inference_gaps", "", *(rng.normal(size=shape) for _ in range(3)))


def wrong_claims(subject, rng: np.random.Generator) -> list:
    answer = _ask(subject, "student:wrong_claims")
    return [sorted(answer) if isinstance(answer, list) else answer]


PROBES = {
    "free_energy": free_energy,
    "planar_determinant": planar_determinant,
    "constrain": constrain,
    "planar_forward": planar_forward,
    "planar_inverse": planar_inverse,
    "flow_elbo": flow_elbo,
    "inference_gaps": inference_gaps,
    "wrong_claims": wrong_claims,
}
