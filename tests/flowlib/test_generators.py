"""Generators without a density: distances between samples, the adversarial losses, and training."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from flowlib import (
    Generator,
    fit,
    fit_gan,
    gan_losses,
    mlp,
    mmd2,
    mode_coverage,
    r1_penalty,
    random_directions,
    sliced_wasserstein,
)
from flowlib.data import TARGETS

BANDWIDTHS = (0.3, 1.0, 2.5)


def points(n: int, D: int, seed: int) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mmd2_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    def k(a, b):
        return sum(math.exp(-((a - b) ** 2).sum() / (2 * w * w)) for w in BANDWIDTHS)

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


@pytest.mark.parametrize(("n", "m", "D"), [(2, 2, 1), (5, 3, 2), (4, 7, 5)])
def test_mmd2_is_the_sum_written_out(n: int, m: int, D: int) -> None:
    x, y = points(n, D, 0), points(m, D, 1)
    assert mmd2(x, y, BANDWIDTHS).item() == pytest.approx(mmd2_by_loops(x.numpy(), y.numpy()), rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_mmd2_is_unbiased(shift: float) -> None:
    """Its mean over many small samples of N(0, 1) and N(shift, 1) is the value known in closed form."""
    w, repeats = 0.7, 4000
    shrink = w / math.sqrt(w**2 + 2)  # E k of two draws of one normal; apart by δ: times exp(−δ²/2(w² + 2))
    expected = 2 * shrink * (1 - math.exp(-(shift**2) / (2 * (w**2 + 2))))
    x, y = points(4 * repeats, 1, 0), points(5 * repeats, 1, 1) + shift
    pairs = zip(x.split(4), y.split(5), strict=True)
    values = torch.stack([mmd2(a, b, [w]) for a, b in pairs])
    error = values.std().item() / math.sqrt(repeats)
    assert abs(values.mean().item() - expected) < 5 * error
    assert error < 0.01


def test_mmd2_has_a_finite_gradient_at_coinciding_points() -> None:
    x = points(4, 2, 0).requires_grad_()
    mmd2(x, x.detach(), BANDWIDTHS).backward()
    assert x.grad.isfinite().all()
    assert torch.autograd.gradcheck(
        lambda v: mmd2(v, points(3, 2, 5), BANDWIDTHS), points(4, 2, 0).requires_grad_()
    )


def test_sliced_wasserstein_of_a_shift_is_its_projected_length() -> None:
    x, shift = points(9, 3, 0), points(1, 3, 1)
    directions = random_directions(20, 3).double()
    moved = x[torch.randperm(9)] + shift
    expected = (shift @ directions.T).square().mean().sqrt()
    assert torch.allclose(sliced_wasserstein(x, moved, directions), expected, rtol=1e-12)


def test_sliced_wasserstein_of_unequal_sets_is_that_of_their_copies() -> None:
    """Repeating every point changes no distribution, and makes the sizes equal."""
    x, y, directions = points(4, 2, 0), points(6, 2, 1), random_directions(5, 2).double()
    copies = sliced_wasserstein(x.repeat(3, 1), y.repeat(2, 1), directions)
    assert torch.allclose(sliced_wasserstein(x, y, directions), copies, rtol=1e-12)


def test_sliced_wasserstein_on_the_line_is_scipy_s() -> None:
    """Of order 2; SciPy has order 1, which agrees where every point moves by the same amount."""
    from scipy.stats import wasserstein_distance

    x = points(11, 1, 0)
    got = sliced_wasserstein(x, x + 0.3, torch.ones(1, 1, dtype=torch.float64))
    assert got.item() == pytest.approx(wasserstein_distance(x[:, 0], x[:, 0] + 0.3), rel=1e-12)


def test_random_directions_fill_the_sphere() -> None:
    directions = random_directions(20_000, 3, generator=torch.Generator().manual_seed(0))
    assert directions.mean(0).abs().max() < 0.03
    assert torch.allclose(directions.T @ directions / len(directions), torch.eye(3) / 3, atol=0.02)


def test_gan_losses_are_cross_entropies_and_do_not_overflow() -> None:
    real, fake = points(5, 1, 0)[:, 0], points(7, 1, 1)[:, 0]
    discriminator, generator = gan_losses(real, fake)
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    expected = cross_entropy(real, torch.ones_like(real)) + cross_entropy(fake, torch.zeros_like(fake))
    assert torch.allclose(discriminator, expected, rtol=1e-12)
    assert torch.allclose(generator, cross_entropy(fake, torch.ones_like(fake)), rtol=1e-12)
    far = torch.tensor([1e4, -1e4])
    assert [v.item() for v in gan_losses(far, far)] == [1e4, 5e3]


def test_r1_penalty_has_a_gradient_to_the_weights() -> None:
    net = mlp([2, 8, 1], activation=nn.Tanh).double()
    x = points(6, 2, 0)
    r1_penalty(net, x).backward()
    assert net[0].weight.grad.abs().sum() > 0
    jacobians = torch.stack([torch.autograd.functional.jacobian(net, v)[0] for v in x])
    assert torch.allclose(r1_penalty(net, x), jacobians.square().sum(-1).mean())


def test_generator_draws_with_and_without_gradient() -> None:
    generator = Generator(nn.Linear(3, 2), M=3, latent_std=0.5)
    assert generator.rsample((4, 5)).requires_grad
    assert not generator.sample((4, 5)).requires_grad
    assert generator.sample().shape == (2,)
    assert generator.double().sample((3,)).dtype == torch.float64
    wide = Generator(nn.Identity(), M=2, latent_std=4.0)
    assert wide.sample((5000,)).std().item() == pytest.approx(4.0, rel=0.05)


def test_a_generator_is_fitted_by_a_distance() -> None:
    """MMD through `fit`: an affine generator finds the mean of a normal."""
    data = 0.5 * points(2000, 2, 0).float() + torch.tensor([2.0, -1.0])
    generator = Generator(nn.Linear(2, 2), M=2)
    fit(
        generator,
        data,
        loss=lambda x: mmd2(generator.rsample((len(x),)), x, [0.5, 2.0]),
        steps=200,
        batch_size=128,
        lr=0.05,
        progress=False,
    )
    assert torch.allclose(generator.sample((4000,)).mean(0), data.mean(0), atol=0.1)


def test_fit_gan_learns_a_normal_and_is_repeatable() -> None:
    data = 0.5 * points(2000, 2, 0).float() + torch.tensor([2.0, -1.0])

    def trained() -> torch.Tensor:
        torch.manual_seed(0)
        generator, discriminator = Generator(nn.Linear(2, 2), M=2), mlp([2, 32, 1])
        before = torch.get_rng_state()
        history = fit_gan(generator, discriminator, data, steps=400, lr=0.01, r1=0.5, progress=False)
        assert torch.equal(torch.get_rng_state(), before)
        assert len(history.discriminator_loss) == 400
        assert not generator.training
        assert all(p.requires_grad for p in discriminator.parameters())
        torch.manual_seed(1)
        return generator.sample((4000,))

    samples = trained()
    assert torch.allclose(samples.mean(0), data.mean(0), atol=0.15)
    assert torch.equal(samples, trained())


def test_fit_gan_stops_where_a_loss_is_not_finite() -> None:
    data = torch.full((10, 2), torch.nan)
    with pytest.raises(FloatingPointError, match="discriminator's loss at step 0"):
        fit_gan(Generator(nn.Linear(2, 2), M=2), mlp([2, 4, 1]), data, steps=2, progress=False)


def test_mode_coverage_of_true_samples() -> None:
    angles = torch.arange(8) * math.pi / 4
    modes = 2 * torch.stack([angles.cos(), angles.sin()], -1)
    counts, share = mode_coverage(TARGETS["eight_gaussians"].sample(20_000, seed=0), modes, std=0.2)
    expected = 1 - math.exp(-4.5)
    assert share == pytest.approx(expected, abs=5 * math.sqrt(expected * (1 - expected) / 20_000))
    assert counts.sum().item() == round(share * 20_000)
    assert (counts - 2500 * expected).abs().max() < 250


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Generator(nn.Linear(2, 2), M=0), "M must be a positive integer, got 0"),
        (lambda: Generator(nn.Linear(2, 2), M=2, latent_std=0), "latent_std must be positive, got 0"),
        (lambda: mmd2(torch.ones(3, 2), torch.ones(3, 1), [1.0]), r"got \(3, 2\) and \(3, 1\)"),
        (lambda: mmd2(torch.ones(1, 2), torch.ones(3, 2), [1.0]), "at least 2 points in each, got 1 and 3"),
        (lambda: mmd2(torch.ones(3, 2), torch.ones(3, 2), [1.0, 0.0]), r"positive numbers, got \[1.0, 0.0\]"),
        (lambda: mmd2(torch.ones(3, 2), torch.ones(3, 2), []), r"positive numbers, got \[\]"),
        (
            lambda: sliced_wasserstein(torch.ones(3, 2), torch.ones(3, 2), torch.ones(4, 3)),
            r"directions: expected shape \(L, 2\), got \(4, 3\)",
        ),
        (lambda: mode_coverage(torch.ones(3, 2), torch.ones(3, 2), std=0.0), "std must be positive"),
        (
            lambda: fit_gan(Generator(nn.Linear(2, 2), M=2), mlp([2, 1]), torch.ones(3), progress=False),
            r"data: expected shape \(N, D\)",
        ),
        (
            lambda: fit_gan(
                Generator(nn.Linear(2, 2), M=2), mlp([2, 1]), torch.ones(3, 2), r1=-1.0, progress=False
            ),
            "r1 must not be negative, got -1.0",
        ),
    ],
)
def test_bad_arguments_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
