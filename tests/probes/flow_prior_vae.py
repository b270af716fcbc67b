"""Random cases of 05_flow_prior_vae's exercises."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from autograder_tests.builders import builder
from autograder_tests.plain import Make
from tests.probes._cases import attempt, batch_shape, seed


@builder
def randomly_filled(module: nn.Module, seed: int) -> nn.Module:
    """`module` in float64 with N(0, 0.5²) noise in the place of its parameters."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.5)
    return module


def _encoder(rng: np.random.Generator, M: int, D: int, spread: float = 0.0) -> Make:
    """Linear means; posteriors of standard deviation exp(spread · …), or of 1e-13 by `spread` = 0."""
    log_std = rng.normal(size=(M, D)) * spread if spread else np.full((M, D), -30.0)
    return Make("linear_encoder", (rng.normal(size=(M, D)), log_std))


def aggregate_sample(subject, rng: np.random.Generator) -> None:
    M, D, N, n = (int(k) for k in rng.integers(1, 5, size=4))
    # Every example is the same and has a point as posterior: all right samplers give that point n times.
    x = np.ones((N, 1)) * (0.5 + np.abs(rng.normal(size=D)))
    attempt(subject, "student:aggregate_posterior_sample", "", x, _encoder(rng, M, D), n, seed=seed(rng))


def aggregate_log_prob(subject, rng: np.random.Generator) -> None:
    M, D, N, n = (int(k) for k in rng.integers(1, 5, size=4))
    z, x = rng.normal(size=(n, M)) * rng.choice([1.0, 50.0]), rng.normal(size=(N, D))
    attempt(subject, "student:aggregate_posterior_log_prob", "", z, x, _encoder(rng, M, D, 0.5))


def _prior(subject, rng: np.random.Generator, prior: Make, M: int) -> None:
    for name in ("event_shape", "batch_shape"):
        attempt(subject, prior, f"().{name}")
    attempt(subject, prior, "().log_prob", rng.normal(size=(*batch_shape(rng), M)), grad="self")
    attempt(subject, prior, "().sample", batch_shape(rng), seed=seed(rng))
    attempt(subject, prior, "().sample", seed=seed(rng))


def gaussian(subject, rng: np.random.Generator) -> None:
    M = int(rng.integers(1, 6))
    _prior(subject, rng, Make("student:GaussianPrior", (M,)), M)


def mixture(subject, rng: np.random.Generator) -> None:
    M, K = (int(k) for k in rng.integers(1, 5, size=2))
    # Where a mixture starts and how its parameters are signed is everybody's own choice: noise in their place, and
    # a look at z = 0, where the density of a mixture does not change when all its means change sign.
    prior = Make("randomly_filled", (Make("student:MixtureOfGaussiansPrior", (M, K)), seed(rng)))
    for name in ("event_shape", "batch_shape"):
        attempt(subject, prior, f"().{name}")
    attempt(subject, prior, "().log_prob", np.zeros((*batch_shape(rng), M)))


def flow(subject, rng: np.random.Generator) -> None:
    M = int(rng.integers(1, 5))
    _prior(subject, rng, Make("student:FlowPrior", (Make("latent_flow", (M, seed(rng))),)), M)


def regularizer(subject, rng: np.random.Generator) -> None:
    N = int(rng.integers(1, 5))
    symbols = Make("symbols", ("m", N)), Make("positive_symbols", ("s", N))
    attempt(subject, "student:regularizer_terms", "", *symbols)


def divergence(subject, rng: np.random.Generator) -> None:
    m, s, a, b = (f"{v:.3f}" for v in rng.normal(size=4))
    made = [Make("expression", (f"{name} + {v}",)) for name, v in (("m", m), ("a", a), ("b", b))]
    width = Make("expression", (f"exp(s + {s})",))
    attempt(subject, "student:flow_prior_kl", "", made[0], width, made[1], made[2])


def repaired(subject, rng: np.random.Generator) -> None:
    M = int(rng.integers(1, 5))
    z = rng.normal(size=(*batch_shape(rng), M))
    attempt(subject, "student:repaired_log_prob", "", z, Make("latent_flow", (M, seed(rng), True)))


def mass(subject, rng: np.random.Generator) -> None:
    attempt(subject, "student:mass_with_bug", "", Make("positive_symbol", ("a",)), int(rng.integers(1, 7)))


def difference(subject, rng: np.random.Generator) -> None:
    n = int(rng.integers(2, 8))
    attempt(subject, "student:paired_difference", "", rng.normal(size=n), rng.normal(size=n))


PROBES = {
    "aggregate_posterior_sample": aggregate_sample,
    "aggregate_posterior_log_prob": aggregate_log_prob,
    "GaussianPrior": gaussian,
    "regularizer_terms": regularizer,
    "MixtureOfGaussiansPrior": mixture,
    "flow_prior_kl": divergence,
    "FlowPrior": flow,
    "repaired_log_prob": repaired,
    "mass_with_bug": mass,
    "paired_difference": difference,
}
