"""Random cases of 11_flows_among_generative_models' exercises."""

from __future__ import annotations

import numpy as np

from autograder_tests.plain import Make
from tests.probes._cases import attempt, seed


def discrepancy(subject, rng: np.random.Generator) -> None:
    n, m = (int(k) for k in rng.integers(2, 6, size=2))
    D = int(rng.integers(1, 4))
    bandwidths = [float(w) for w in rng.uniform(0.3, 2.5, int(rng.integers(1, 4)))]
    x, y = rng.normal(size=(n, D)), rng.normal(size=(m, D)) + rng.normal()
    attempt(subject, "student:mmd2", "", x, y, bandwidths, grad=0)


def sliced(subject, rng: np.random.Generator) -> None:
    n, D, L = (int(k) for k in rng.integers(1, 5, size=3))
    directions = rng.normal(size=(L, D))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    x, y = rng.normal(size=(n, D)), 2 * rng.normal(size=(n, D)) + 1
    attempt(subject, "student:sliced_wasserstein", "", x, y, directions, grad=0)


def losses(subject, rng: np.random.Generator) -> None:
    n, m = (int(k) for k in rng.integers(1, 6, size=2))
    size = rng.choice([1.0, 1.0, 300.0])
    attempt(
        subject, "student:gan_losses", "", size * rng.normal(size=n), size * rng.normal(size=m), grad=(0, 1)
    )


def discriminator(subject, rng: np.random.Generator) -> None:
    attempt(
        subject,
        "student:optimal_discriminator",
        "",
        Make("positive_symbol", ("p",)),
        Make("positive_symbol", ("q",)),
    )


def coverage(subject, rng: np.random.Generator) -> None:
    n, K, D = int(rng.integers(1, 12)), int(rng.integers(1, 5)), int(rng.integers(1, 4))
    std = float(rng.uniform(0.2, 0.8))
    modes = 2 * rng.normal(size=(K, D))
    x = modes[rng.integers(0, K, n)] + 2 * std * rng.normal(size=(n, D))
    attempt(subject, "student:mode_coverage", "", x, modes, std)


def reconstruction(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 5))
    M, x = int(rng.integers(0, D + 1)), rng.normal(size=(int(rng.integers(1, 5)), D))
    attempt(subject, "student:flow_reconstruction", "", x, Make("latent_flow", (D, seed(rng))), M)


PROBES = {
    "mmd2": discrepancy,
    "sliced_wasserstein": sliced,
    "gan_losses": losses,
    "optimal_discriminator": discriminator,
    "mode_coverage": coverage,
    "flow_reconstruction": reconstruction,
}
