"""Base distributions p_u: modules whose call returns a `torch.distributions.Distribution`.

A module owns the parameters, so that `.double()`, `.to(device)`, optimizers and `state_dict` work;
the distribution is made fresh at each call, so that it always sees the current parameters.
The event is the last axis: `log_prob` takes `(*batch, D)` and returns `(*batch,)` nats.

Argument validation of the distributions is off: it branches on values, which `torch.func.vmap` forbids.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from flowlib.checks import check_size

__all__ = ["DiagonalNormal", "MixtureOfGaussians", "StandardNormal"]


def diagonal_normal(loc: Tensor, scale: Tensor) -> Independent:
    """N(loc, diag(scale²)) with the event on the last axis."""
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


class _StandardNormal(Independent):
    """N(0, I) as `Independent(Normal(0, 1), 1)`, whose density does not divide by a scale that is 1.

    A flow evaluates its base at every step; torch's density of a normal takes twice as many operations.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        D = self.event_shape[0]
        if value.shape[-1:] != self.event_shape:
            raise ValueError(f"log_prob: expected shape (*batch, {D}), got {tuple(value.shape)}")
        return -0.5 * value.square().sum(-1) - 0.5 * D * math.log(2 * math.pi)


class StandardNormal(nn.Module):
    """The standard normal base N(0, I) in D dimensions; nothing to learn.

    log p(u) = −½ Σ u_i² − (D/2) log 2π, for u `(*batch, D)`. Raises `ValueError` for D < 1.

    >>> StandardNormal(3)().log_prob(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    def __init__(self, D: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(check_size("D", D)))
        self.register_buffer("scale", torch.ones(D))

    def forward(self) -> Distribution:
        return _StandardNormal(Normal(self.loc, self.scale, validate_args=False), 1, validate_args=False)


class DiagonalNormal(nn.Module):
    """A normal base with learnable location and scale, N(loc, diag(exp(log_scale))²).

    Parameters loc and log_scale are `(D,)` and start at 0. Raises `ValueError` for D < 1.

    >>> DiagonalNormal(2)().rsample((4,)).requires_grad
    True
    """

    def __init__(self, D: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(check_size("D", D)))
        self.log_scale = nn.Parameter(torch.zeros(D))

    def forward(self) -> Distribution:
        return diagonal_normal(self.loc, self.log_scale.exp())


class MixtureOfGaussians(nn.Module):
    """A learnable mixture of K Gaussians with diagonal covariances.

    p(u) = Σ_k w_k N(u; loc_k, diag(scale_k²)), for u `(*batch, D)`.

    Parameters: logits `(K,)` with w = softmax(logits), loc `(K, D)`, log_scale `(K, D)`. The locations start
    at random draws from N(0, I), because equal components would get equal gradients and stay equal.
    A mixture picks a component, which has no derivative: there is `sample` but no `rsample`.
    Raises `ValueError` for D < 1 or K < 1.

    >>> MixtureOfGaussians(2, K=5)().sample((7,)).shape
    torch.Size([7, 2])
    """

    def __init__(self, D: int, K: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(check_size("K", K)))
        self.loc = nn.Parameter(torch.randn(K, check_size("D", D)))
        self.log_scale = nn.Parameter(torch.zeros(K, D))

    @classmethod
    def from_components(
        cls, means: Tensor, scales: Tensor | float, weights: Tensor | None = None, *, learnable: bool = False
    ) -> "MixtureOfGaussians":
        """A mixture with given components: means `(K, D)`, scales > 0 broadcast to `(K, D)`, weights `(K,)`.

        The weights are normalized to sum 1; without them all are equal. `learnable=False` freezes all
        parameters.

        >>> pair = MixtureOfGaussians.from_components(torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), 0.5)
        >>> bool((pair().sample((100,))[:, 0].abs() > 0.1).all())
        True
        """
        means = torch.as_tensor(means)
        if means.ndim != 2:
            raise ValueError(f"means: expected shape (K, D), got {tuple(means.shape)}")
        weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights)
        if weights.shape != means.shape[:1]:
            raise ValueError(f"weights: expected shape ({len(means)},), got {tuple(weights.shape)}")
        scales = torch.as_tensor(scales, dtype=means.dtype).expand_as(means)
        if not bool((scales > 0).all() and (weights > 0).all()):
            raise ValueError("scales and weights must be positive")
        K, D = means.shape
        mixture = cls(D, K).to(means.dtype)
        with torch.no_grad():
            mixture.loc.copy_(means)
            mixture.log_scale.copy_(scales.log())
            mixture.logits.copy_(weights.log())
        return mixture.requires_grad_(learnable)

    def forward(self) -> Distribution:
        components = diagonal_normal(self.loc, self.log_scale.exp())
        choice = Categorical(logits=self.logits, validate_args=False)
        return MixtureSameFamily(choice, components, validate_args=False)
