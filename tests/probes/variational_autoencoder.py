"""Random cases of 04_variational_autoencoder's exercises.

What is drawn is anyone's choice, so a probe returns facts that every right answer shares: values of
linear-Gaussian models with their exact posterior, where log p(x) comes out whatever is drawn; and whether an average
of many draws meets its closed form within six standard errors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from autograder_tests import gaussian_vae as exact
from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make
from tests.probes._cases import attempt, batch_shape, seed

SURE = 1e-9  # standard deviation of a distribution whose draws are known to nine digits


def _ask(subject, *args: Any, **kwargs: Any) -> Any:
    """The answer, which may be an error."""
    attempt(subject, *args, **kwargs)
    return subject.record[-1][2]


def _near(got: Any, shape: tuple[int, ...], expected: Any, allowed: Any) -> bool:
    """A fact about a random answer: it has the shape, and its average over the first axis is as expected."""
    if not isinstance(got, np.ndarray) or got.shape != shape:
        return False
    return bool((np.abs(got.mean(0) - expected) <= allowed).all())


def _model(rng: np.random.Generator) -> tuple[int, int, dict]:
    """D, M and a linear-Gaussian model whose prior is not standard."""
    D, M = (int(n) for n in rng.integers(1, 5, size=2))
    A = rng.normal(size=(M, M))
    model = {
        "W": rng.normal(size=(D, M)),
        "b": rng.normal(size=D),
        "sigma": float(rng.uniform(0.5, 1.0)),
        "mean": rng.normal(size=M),
        "cov": A @ A.T + 0.5 * np.eye(M),
    }
    return D, M, model


def _parts(M: int, model: dict) -> tuple[Make, Make, Make]:
    likelihood = {k: model[k] for k in ("W", "b", "sigma")}
    return (
        Make("lg_prior", (M, model["mean"], model["cov"])),
        Make("lg_decoder", kwargs=likelihood),
        Make("lg_posterior", kwargs=model),
    )


def reparameterize(subject, rng: np.random.Generator) -> list:
    name, shape, S = "student:reparameterize", (*batch_shape(rng), int(rng.integers(1, 4))), 1500
    mean, log_std = rng.normal(size=shape), rng.uniform(-1, 1, size=shape)
    draws = _ask(subject, name, "", mean, log_std, S, seed=seed(rng))
    error = 6 * np.exp(log_std) / math.sqrt(S)
    squares = (draws - mean) ** 2 / np.exp(2 * log_std) if isinstance(draws, np.ndarray) else draws
    # With a small scale the draws are known, and so is the gradient by the mean.
    known = _ask(subject, name, "", mean, np.full(shape, -30.0), 3, grad=0, seed=seed(rng))
    facts = [_near(draws, (S, *shape), mean, error)]
    return [*facts, _near(squares, (S, *shape), 1.0, 6 * math.sqrt(2 / S)), known]


def gaussian_kl(subject, rng: np.random.Generator) -> list:
    names = ("m", "s", "a", "c")
    symbols = [Make("symbol", (n,)) for n in names]
    answer = _ask(subject, "student:gaussian_kl", "", *symbols)
    if not isinstance(answer, Expression):
        return [answer]
    values = {n: rng.normal() if n in "ma" else rng.uniform(0.3, 3.0) for n in names}
    return [evaluate(answer.text, values)]


def exact_posterior(subject, rng: np.random.Generator) -> None:
    D, _, model = _model(rng)
    x = rng.normal(size=(*batch_shape(rng), D))
    attempt(subject, "student:exact_posterior", "", x, model["W"], model["b"], model["sigma"])


def elbo(subject, rng: np.random.Generator) -> list:
    D, M, model = _model(rng)
    x, name, S = rng.normal(size=(*batch_shape(rng), D)), "student:elbo", int(rng.integers(2, 5))
    facts = [_ask(subject, name, "", x, *_parts(M, model), seed=seed(rng))]
    facts.append(_ask(subject, name, "", x, *_parts(M, model), S, seed=seed(rng)))

    # An encoder that is not exact, one x many times: the average and the average gradient are known.
    one, rows = rng.normal(size=D), 200
    likelihood = (model["W"], model["b"], model["sigma"])
    mean, std = rng.normal(size=M), rng.uniform(0.3, 0.8, size=M)
    encoder, prior = Make("constant_encoder", (mean, std)), Make("lg_prior", (M,))
    args = (np.tile(one, (rows, 1)), prior, Make("lg_decoder", likelihood), encoder, S)
    value, gradient = None, None
    answer = _ask(subject, name, "", *args, grad=3, seed=seed(rng))
    if isinstance(answer, list) and len(answer) == 2:
        value, gradient = answer[0], np.asarray(answer[1][0])[None] / rows
    spread = value.std() / math.sqrt(rows) if isinstance(value, np.ndarray) else 0.0
    facts.append(_near(value, (rows,), exact.lg_elbo(one, *likelihood, mean, std), 6 * spread))
    right = exact.lg_elbo_gradient(one, *likelihood, mean, std)
    # The gradient's noise is bounded by second moments of the joint log-density's slope.
    curvature = (np.eye(M) + model["W"].T @ model["W"] / model["sigma"] ** 2) @ np.diag(std)
    slope = np.sqrt((curvature**2).sum(1))
    by_log_std = std * np.sqrt(right[:M] ** 2 + 3 * slope**2)
    noise = 6 * np.concatenate([slope, by_log_std]) / math.sqrt(rows * S)
    facts.append(_near(gradient, (1, 2 * M), right, noise + 1e-9))
    return facts


def importance_weighted(subject, rng: np.random.Generator) -> list:
    D, M, model = _model(rng)
    name = "student:importance_weighted_log_likelihood"
    x = rng.normal(size=(*batch_shape(rng), D)) * rng.choice([1.0, 40.0])
    few, many = int(rng.integers(1, 6)), int(rng.integers(99, 230))
    facts = [_ask(subject, name, "", x, *_parts(M, model), S, seed=seed(rng)) for S in (few, many)]

    # Posterior of one latent, moved by one standard deviation: exp(bound) averages to p(x).
    W, b, sigma, one = rng.normal(size=(D, 1)), rng.normal(size=D), 0.7, rng.normal(size=D)
    mean, S = exact.lg_posterior_moments(one, W, b, sigma)
    std, rows = np.sqrt(np.diag(S)), 100
    parts = (
        Make("lg_prior", (1,)),
        Make("small_batches_only", (Make("lg_decoder", (W, b, sigma)), 100 * rows)),
        Make("constant_encoder", (mean + std, std)),
    )
    got = _ask(subject, name, "", np.tile(one, (rows, 1)), *parts, 130, seed=seed(rng))
    if isinstance(got, np.ndarray):
        with np.errstate(over="ignore"):
            got = np.exp(got - exact.lg_log_evidence(one, W, b, sigma))
    return [*facts, _near(got, (rows,), 1.0, 6 * math.sqrt(math.expm1(1.0) / (rows * 130)))]


def vae(subject, rng: np.random.Generator) -> list:
    D, M, model = _model(rng)
    x = rng.normal(size=(*batch_shape(rng), D))
    made = Make("student:VAE", _parts(M, model))
    facts = [_ask(subject, made, "elbo", x, seed=seed(rng)), _ask(subject, made, "loss", x, seed=seed(rng))]
    answer = _ask(subject, made, "loss", x, grad="self", seed=seed(rng))
    if isinstance(answer, list) and len(answer) == 2:
        answer = [len(answer[1][0]), int((answer[1][0] != 0).sum())]
    facts.append(answer)

    # Where prior and decoder have (almost) no noise, samples are known.
    sure = {**model, "sigma": SURE, "cov": SURE**2 * np.eye(M)}
    known = Make("student:VAE", (*_parts(M, sure)[:2], Make("gaussian_encoder", (M, D, seed(rng)))))
    noisy_pixels = {**sure, "sigma": 1.0}
    noisy = Make("student:VAE", (*_parts(M, noisy_pixels)[:2], Make("gaussian_encoder", (M, D, seed(rng)))))
    n = int(rng.integers(1, 4))
    facts.append(_ask(subject, known, "sample", n, seed=seed(rng)))
    facts.append(_ask(subject, noisy, "sample", n, mean=True, seed=seed(rng)))
    # 400 draws with noise of its own in each: mean and spread of every pixel.
    drawn = _ask(subject, noisy, "sample", 400, seed=seed(rng))
    center = model["W"] @ model["mean"] + model["b"]
    squares = (drawn - center) ** 2 if isinstance(drawn, np.ndarray) and drawn.shape == (400, D) else drawn
    return [
        *facts,
        _near(drawn, (400, D), center, 0.3),
        _near(squares, (400, D), 1.0, 6 * math.sqrt(2 / 400)),
    ]


def wrong_lines(subject, rng: np.random.Generator) -> list:
    answer = _ask(subject, "student:wrong_lines")
    return [sorted(answer) if isinstance(answer, list) else answer]


PROBES = {
    "reparameterize": reparameterize,
    "gaussian_kl": gaussian_kl,
    "exact_posterior": exact_posterior,
    "elbo": elbo,
    "importance_weighted_log_likelihood": importance_weighted,
    "VAE": vae,
    "wrong_lines": wrong_lines,
}
