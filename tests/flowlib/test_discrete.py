"""Probabilities of discrete images, the bound that dequantization gives, bits per dimension."""

import itertools
import math

import pytest
import torch

from flowlib import bits_per_dim, dequantization_bound, discrete_log_prob, real_nvp


def tiny_images(D: int, levels: int) -> torch.Tensor:
    """All levels^D images, float64."""
    return torch.tensor(list(itertools.product(range(levels), repeat=D)), dtype=torch.float64)


def smooth_density(z: torch.Tensor) -> torch.Tensor:
    """A density on the unit cube with known cell masses: Π (1 + cos(2πz_i)/2)."""
    return torch.log1p(0.5 * torch.cos(2 * math.pi * z)).sum(-1)


def smooth_mass(x: torch.Tensor, levels: int) -> torch.Tensor:
    def antiderivative(z: torch.Tensor) -> torch.Tensor:
        return z + torch.sin(2 * math.pi * z) / (4 * math.pi)

    return (antiderivative((x + 1) / levels) - antiderivative(x / levels)).prod(-1)


@pytest.mark.parametrize(("D", "levels"), [(1, 5), (2, 4), (3, 2)])
def test_probabilities_of_cells_are_exact_and_sum_to_one(D, levels):
    x = tiny_images(D, levels)
    exact, bound = discrete_log_prob(smooth_density, x, levels)
    torch.testing.assert_close(exact.exp(), smooth_mass(x, levels), rtol=1e-8, atol=1e-10)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert bool((bound < exact).all())


def test_the_bound_by_draws_agrees_with_the_bound_by_quadrature():
    x = tiny_images(2, 3)
    _, bound = discrete_log_prob(smooth_density, x, 3)
    drawn = torch.stack([dequantization_bound(smooth_density, x, 3, seed=k) for k in range(400)])
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert bool(((drawn.mean(0) - bound).abs() < 5 * error).all())
    many = dequantization_bound(smooth_density, x, 3, num_samples=500, seed=0)
    torch.testing.assert_close(many, bound, rtol=0, atol=0.1)


def test_the_bound_is_exact_where_the_density_is_constant_in_each_cell():
    table = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)

    def histogram(z: torch.Tensor) -> torch.Tensor:
        return (4 * table[(4 * z).long()]).log().sum(-1)

    x = tiny_images(2, 4)
    probability = table[x.long()].prod(-1)
    for values in (*discrete_log_prob(histogram, x, 4), dequantization_bound(histogram, x, 4, seed=1)):
        torch.testing.assert_close(values.exp(), probability)


def test_it_takes_flows_and_images():
    torch.manual_seed(0)
    flow = real_nvp(2, 4, hidden=(8,), zero_last=False).double()
    with torch.no_grad():
        exact, bound = discrete_log_prob(flow.log_prob, tiny_images(2, 4), 4)
    assert bool((bound <= exact).all())
    images = torch.zeros(5, 1, 2, 2)
    assert dequantization_bound(lambda z: z.flatten(1).sum(-1), images, 4).shape == (5,)


def test_bits_per_dim():
    assert bits_per_dim(torch.zeros(2, 3), 64, 17).shape == (2, 3)
    assert bits_per_dim(torch.tensor(0.0), 64, 17).item() == pytest.approx(math.log2(17))
    # A fair coin for each of D binary pixels, as a probability and as a density of dequantized pixels.
    assert bits_per_dim(torch.tensor(-5 * math.log(2)), 5).item() == pytest.approx(1)
    assert bits_per_dim(torch.tensor(0.0), 5, 2).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bits_per_dim(torch.zeros(1), 0), "D must be a positive integer, got 0"),
        (lambda: bits_per_dim(torch.zeros(1), 2, 0), "levels must be a positive integer, got 0"),
        (
            lambda: discrete_log_prob(smooth_density, torch.zeros(3), 2),
            r"expected shape \(N, D\), got \(3,\)",
        ),
        (
            lambda: discrete_log_prob(smooth_density, torch.zeros(1, 9), 2),
            r"at most 1048576 points an image, got 8\^9",
        ),
        (lambda: discrete_log_prob(smooth_density, torch.full((1, 1), 2.0), 2), "integers from 0 to 1"),
        (lambda: discrete_log_prob(smooth_density, torch.full((1, 1), 0.5), 2), "integers from 0 to 1"),
        (lambda: dequantization_bound(smooth_density, torch.full((1, 1), 2.0), 2), "integers from 0 to 1"),
        (lambda: dequantization_bound(smooth_density, torch.zeros(1, 1), 2, 0), "num_samples must be"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
