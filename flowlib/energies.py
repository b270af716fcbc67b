"""Two-dimensional densities known up to a factor, p(z) = exp(−U(z))/Z: targets for fitting q by its own samples.

The energies U1 to U4 of Rezende, Mohamed 2015, arXiv:1505.05770, table 1. As printed there, U2, U3 and U4 do not
change along their sinusoid, so that exp(−U) has infinite mass; the paper looks at the square [−4, 4]² alone. Here a wall
½ (max(|z₁| − 4, 0)/0.2)² closes them, and Z is finite.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

__all__ = ["ENERGIES", "Energy"]

Extent = tuple[float, float, float, float]


@dataclass(frozen=True)
class Energy:
    """U with p(z) = exp(−U(z))/Z: call it on z `(*batch, 2)` for U in nats, `(*batch,)`.

    `extent` = (z₁ min, max, z₂ min, max) holds all but a negligible part of the mass.

    >>> ring = ENERGIES["U1"]
    >>> ring(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))[0] < 0.1
    tensor(True)
    """

    name: str
    function: Callable[[Tensor, Tensor], Tensor]
    extent: Extent

    def __call__(self, z: Tensor) -> Tensor:
        if z.ndim == 0 or z.shape[-1] != 2:
            raise ValueError(f"{self.name}: expected a tensor of shape (*batch, 2), got {tuple(z.shape)}")
        return self.function(*z.unbind(-1))

    def log_normalizer(self, n: int = 600) -> float:
        """log Z in nats by the midpoint rule on n × n cells of `extent`, in float64.

        The integrand vanishes at the border, and only the wall's curvature jumps: the default is exact to 1e-6.

        >>> round(ENERGIES["U1"].log_normalizer(), 3)
        1.878
        """
        return _log_normalizer(self.name, n)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) = −U(z) − log Z in nats, `(*batch,)`."""
        return -self(z) - self.log_normalizer()


@cache
def _log_normalizer(name: str, n: int) -> float:
    low1, high1, low2, high2 = ENERGIES[name].extent
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    step1, step2 = (high1 - low1) / n, (high2 - low2) / n
    points = torch.cartesian_prod(low1 + (high1 - low1) * middles, low2 + (high2 - low2) * middles)
    return float((-ENERGIES[name](points)).logsumexp(0) + torch.tensor(step1 * step2).double().log())


def _two_valleys(a: Tensor, b: Tensor) -> Tensor:
    """−log(exp(−½a²) + exp(−½b²))."""
    return -torch.logaddexp(-0.5 * a**2, -0.5 * b**2)


def _wall(z1: Tensor) -> Tensor:
    return 0.5 * ((z1.abs() - 4).clamp_min(0) / 0.2) ** 2


def _wave(z1: Tensor) -> Tensor:
    return torch.sin(2 * torch.pi * z1 / 4)


def _u1(z1: Tensor, z2: Tensor) -> Tensor:
    # Of all ways to write a norm this one has a gradient at the origin: 0.
    radius = torch.linalg.vector_norm(torch.stack([z1, z2]), dim=0)
    return 0.5 * ((radius - 2) / 0.4) ** 2 + _two_valleys((z1 - 2) / 0.6, (z1 + 2) / 0.6)


def _u2(z1: Tensor, z2: Tensor) -> Tensor:
    return 0.5 * ((z2 - _wave(z1)) / 0.4) ** 2 + _wall(z1)


def _u3(z1: Tensor, z2: Tensor) -> Tensor:
    dip = 3 * torch.exp(-0.5 * ((z1 - 1) / 0.6) ** 2)
    return _two_valleys((z2 - _wave(z1)) / 0.35, (z2 - _wave(z1) + dip) / 0.35) + _wall(z1)


def _u4(z1: Tensor, z2: Tensor) -> Tensor:
    step = 3 * torch.sigmoid((z1 - 1) / 0.3)
    return _two_valleys((z2 - _wave(z1)) / 0.4, (z2 - _wave(z1) + step) / 0.35) + _wall(z1)


ENERGIES: dict[str, Energy] = {
    "U1": Energy("U1", _u1, (-5.0, 5.0, -5.0, 5.0)),
    "U2": Energy("U2", _u2, (-6.0, 6.0, -4.5, 4.5)),
    "U3": Energy("U3", _u3, (-6.0, 6.0, -6.0, 4.5)),
    "U4": Energy("U4", _u4, (-6.0, 6.0, -7.5, 4.5)),
}
