"""What a continuous density says about discrete data: bounds, exact probabilities, bits per dimension.

An image has integer pixels. A flow has a density. Spread the L levels of a pixel over [0, 1) by
`data.dequantize`, and the probability that a density p gives to the image x `(D,)` is its mass in x's cell,

    P(x) = ∫ p(z) dz over z_i in [x_i/L, (x_i + 1)/L)  =  L^−D E_v[p((x + v)/L)],  v ~ U[0, 1)^D.

By Jensen's inequality log P(x) ≥ E_v[log p((x + v)/L)] − D log L, which needs no integral.
Source: Theis, van den Oord, Bethge 2015, arXiv:1511.01844.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flowlib.checks import check_size
from flowlib.data import dequantize

__all__ = ["bits_per_dim", "dequantization_bound", "discrete_log_prob"]

LARGEST_GRID = 1 << 20  # quadrature points that `discrete_log_prob` evaluates for one image


def bits_per_dim(log_prob: Tensor, D: int, levels: int = 1) -> Tensor:
    """(−log p / D + log L) / log 2: nats of an example as bits per dimension, same shape as log_prob.

    For a density of data dequantized to [0, 1)^D from L = `levels`; `levels=1` for a probability of the discrete
    data, such as `discrete_log_prob`. Fewer bits are better: an optimal code needs so many for each pixel.
    Raises `ValueError` for D < 1 or levels < 1.

    >>> bits_per_dim(torch.tensor(0.0), D=64, levels=256)  # the uniform density
    tensor(8.)
    """
    return (-log_prob / check_size("D", D) + math.log(check_size("levels", levels))) / math.log(2)


def dequantization_bound(
    log_prob: Callable[[Tensor], Tensor],
    x: Tensor,
    levels: int,
    num_samples: int = 1,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A lower bound on log P(x) in nats, `(N,)`: E_v[log p((x + v)/L)] − D log L, by `num_samples` draws of v.

    Args:
        log_prob: log-density of dequantized data, `(N, *shape)` → `(N,)`.
        x: integer levels 0, …, levels − 1, `(N, *shape)`; D = Π shape.
        seed, generator: of the noise; torch's global generator without either.

    Raises `ValueError` for levels out of range and for num_samples < 1.

    >>> uniform = lambda z: z.new_zeros(len(z))  # its bound is exact: every image has probability L^−D
    >>> dequantization_bound(uniform, torch.zeros(2, 3), levels=4).div(math.log(4))
    tensor([-3., -3.])
    """
    check_size("num_samples", num_samples)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
    draws = [log_prob(dequantize(x, levels, generator=generator)) for _ in range(num_samples)]
    return torch.stack(draws).mean(0) - math.prod(x.shape[1:]) * math.log(levels)


def discrete_log_prob(
    log_prob: Callable[[Tensor], Tensor], x: Tensor, levels: int, nodes: int = 8
) -> tuple[Tensor, Tensor]:
    """(log P(x), its bound) in nats, each `(N,)`: both integrals over the cell, by Gauss–Legendre quadrature.

    For tiny images: nodes^D points an image. The difference is KL(uniform ‖ p given the cell), 0 where p is
    constant in the cell and never negative.

    Args:
        log_prob: log-density of dequantized data, `(N, D)` → `(N,)`.
        x: integer levels 0, …, levels − 1, `(N, D)`.
        nodes: quadrature nodes along each axis of the cell.

    Raises `ValueError` when x is not `(N, D)`, for levels out of range and for more than 2²⁰ points an image.

    >>> exact, bound = discrete_log_prob(lambda z: (2 * z).log().sum(-1), torch.tensor([[0.0], [1.0]]), levels=2)
    >>> exact.exp()  # the density 2z has mass 1/4 below 1/2
    tensor([0.2500, 0.7500])
    >>> bool((bound < exact).all())
    True
    """
    check_size("nodes", nodes)
    check_size("levels", levels)
    if x.ndim != 2:
        raise ValueError(f"x: expected shape (N, D), got {tuple(x.shape)}")
    D = x.shape[1]
    if nodes**D > LARGEST_GRID:
        raise ValueError(f"expected at most {LARGEST_GRID} points an image, got {nodes}^{D}")
    if not bool(((x == x.floor()) & (x >= 0) & (x < levels)).all()):
        raise ValueError(f"x: expected integers from 0 to {levels - 1}")
    axis, weights = (torch.from_numpy(a / 2).to(x) for a in np.polynomial.legendre.leggauss(nodes))
    # The nodes and weights of a unit cell, every combination along the D axes.
    v = torch.cartesian_prod(*[axis + 0.5] * D).reshape(-1, D)
    log_w = torch.cartesian_prod(*[weights.log()] * D).reshape(-1, D).sum(-1)
    z = (x[:, None, :] + v) / levels
    values = log_prob(z.reshape(-1, D)).reshape(len(x), len(v))
    log_volume = D * math.log(levels)
    return torch.logsumexp(values + log_w, dim=-1) - log_volume, (values * log_w.exp()).sum(-1) - log_volume
