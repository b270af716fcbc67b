"""Random cases of 01_change_of_variables' exercises.

Symbolic cases come from small sets: they repeat, and sympy's cache answers most of them.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from autograder_tests.builders import builder
from autograder_tests.checks.change_of_variables import torch_generator
from autograder_tests.plain import Make
from tests.probes._cases import attempt, batch_shape, seed

U, X = Make("symbol", ("u",)), Make("symbol", ("x",))
DENSITIES = ("exp(-(u - 2)**2/2)/sqrt(2*pi)", "exp(-(u + 1)**2/8)/sqrt(8*pi)", "1/(pi*(1 + (u - 3)**2))")
CDFS = ("1/(1 + exp(-(u - 2)))", "Rational(1, 2) + atan(u + 1)/pi", "1/(1 + exp(-2*u))")
INVERSES = ("x/3 - 2", "2 - x", "x**3 + 2*x", "-x**3 - x/2", "2*sinh(x)")
STRAIGHT = ("4*u - 1", "2 - 3*u", "u/2 + 3", "-u")
# Near 0, where an implementation that tries a few points looks.
FOLDED = ("u**2 - 1", "(u - 2)**2", "2*u**4", "(u - 1)**2")
# Rarer, because sympy takes longer over them.
CURVED = ("exp(u) - 1", "exp(-u)", "2 - exp(u)", "1/(1 + exp(-u))")
COSTLY = ("u**3 + 3*u", "-u**3 - u", "tanh(u)")


@builder
def within_unit_interval() -> object:
    """In place of F⁻¹: 1 where the draw lies in (0, 1), which every right sampler's do."""
    return lambda u: ((u > 0) & (u < 1)).double()


@builder
def coarse_quantiles() -> object:
    """In place of F⁻¹: what any 4,000 uniform draws have in common, their quantiles to a tenth.

    The quantiles are those at 0.05, 0.15, …, half-way between two tenths that they could be rounded to.
    """

    def quantiles(u: torch.Tensor) -> torch.Tensor:
        levels = torch.quantile(u.double().flatten(), torch.arange(0.05, 1, 0.1, dtype=torch.float64))
        return torch.floor(levels * 10)[torch.arange(u.numel()) % len(levels)].reshape(u.shape)

    return quantiles


def affine(subject, rng: np.random.Generator) -> None:
    shape = batch_shape(rng)
    own = shape if rng.random() < 0.5 else ()
    a = rng.uniform(0.1, 5, own) * rng.choice([-1, 1], own)
    attempt(
        subject,
        "student:affine_log_prob",
        "",
        3 * rng.normal(size=shape),
        np.asarray(a),
        np.asarray(rng.normal(size=own)),
    )


def cdf(subject, rng: np.random.Generator) -> None:
    F_u, S = Make("expression", (str(rng.choice(CDFS)),)), Make("expression", (str(rng.choice(INVERSES)),))
    attempt(subject, "student:pushforward_cdf", "", F_u, S, U, X)


def density(subject, rng: np.random.Generator) -> None:
    # Expressions are compared at many points: one in eight of the cases is plenty, and solving takes time.
    if rng.random() > 1 / 8:
        return
    maps = (STRAIGHT, FOLDED, CURVED, COSTLY)[rng.choice(4, p=(0.6, 0.27, 0.12, 0.01))]
    p_u, T = Make("expression", (str(rng.choice(DENSITIES)),)), Make("expression", (str(rng.choice(maps)),))
    attempt(subject, "student:pushforward_density", "", p_u, T, U, X)


def square(subject, rng: np.random.Generator) -> None:
    attempt(subject, "student:square_density", "", Make("expression", (str(rng.choice(DENSITIES)),)), U, X)


def sampler(subject, rng: np.random.Generator) -> list:
    def draw(quantile: str, shape: tuple[int, ...], state: int) -> None:
        generator = Make(torch_generator.__name__, (state,))
        attempt(subject, "student:sample_by_inverse_cdf", "", Make(quantile), shape, generator=generator)

    # The last of these states is followed by an exact 0 among the next 1000 draws.
    draw("within_unit_interval", batch_shape(rng), seed(rng))
    draw("within_unit_interval", (1000,), int(rng.choice([seed(rng), 11993])))
    draw("coarse_quantiles", (4000,), seed(rng))
    attempt(subject, "student:sample_by_inverse_cdf", "", Make("within_unit_interval"), batch_shape(rng))
    # The generator decides, not the global state.
    again = [
        attempt(
            subject,
            "student:sample_by_inverse_cdf",
            "",
            Make("quantile_function", ("logistic", 0.0, 1.0)),
            (3,),
            generator=Make(torch_generator.__name__, (7,)),
            seed=seed(rng),
        )
        for _ in range(2)
    ]
    same = all(isinstance(a, np.ndarray) for a in again) and np.array_equal(*again)
    return [*(result for _, _, result in subject.record[:4]), same]


def nll(subject, rng: np.random.Generator) -> None:
    x = 3 * rng.normal(size=int(rng.integers(1, 30)))
    shift, log_scale = np.asarray(rng.normal()), np.asarray(rng.normal())
    attempt(subject, "student:negative_log_likelihood", "", x, shift, log_scale, grad=(1, 2))


def best_fit(subject, rng: np.random.Generator) -> None:
    x = rng.normal(rng.normal(), math.exp(rng.normal()), int(rng.integers(2, 40)))
    attempt(subject, "student:fit_affine_flow", "", x)


def units(subject, rng: np.random.Generator) -> None:
    factor, D = float(rng.choice([-1, 1]) * math.exp(2 * rng.normal())), int(rng.integers(1, 100))
    attempt(subject, "student:nll_in_new_units", "", float(rng.normal()), factor, D)
    attempt(subject, "student:nll_in_new_units", "", float(rng.normal()), factor)


PROBES = {
    "affine_log_prob": affine,
    "pushforward_cdf": cdf,
    "pushforward_density": density,
    "square_density": square,
    "sample_by_inverse_cdf": sampler,
    "negative_log_likelihood": nll,
    "fit_affine_flow": best_fit,
    "nll_in_new_units": units,
}
