"""One variable at a time: densities, samples and likelihoods of the simplest flows."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["affine_log_prob", "negative_log_likelihood", "sample_by_inverse_cdf"]


def standard_normal_log_prob(u: Tensor) -> Tensor:
    """log N(u; 0, 1) = −½u² − ½ log 2π, elementwise."""
    return -0.5 * u**2 - 0.5 * math.log(2 * math.pi)


def affine_log_prob(x: Tensor, a: Tensor | float, b: Tensor | float) -> Tensor:
    """Log-density in nats of x = a·u + b, u ~ N(0, 1): log N((x − b)/a; 0, 1) − log |a|.

    Elementwise; a and b broadcast with x. a may have either sign; a = 0 raises `ValueError`.

    >>> affine_log_prob(torch.tensor([1.0]), a=-2.0, b=1.0)
    tensor([-1.6121])
    """
    a = torch.as_tensor(a, dtype=x.dtype, device=x.device)
    if bool((a == 0).any()):
        raise ValueError("a must not be 0: x = b has no density")
    return standard_normal_log_prob((x - b) / a) - a.abs().log()


def sample_by_inverse_cdf(
    inverse_cdf: Callable[[Tensor], Tensor], shape: Sequence[int], generator: torch.Generator | None = None
) -> Tensor:
    """Draws x = F⁻¹(u), u ~ U(0, 1), of the given shape, for a cumulative distribution function F.

    The generator can return exactly 0, where F⁻¹ is often −∞; the ends of the interval are moved inward by
    half the machine epsilon, which is the spacing of the draws themselves in float32.

    >>> exponential = sample_by_inverse_cdf(lambda u: -torch.log1p(-u), (1000,))
    >>> bool(exponential.isfinite().all())
    True
    """
    u = torch.rand(tuple(shape), generator=generator)
    margin = torch.finfo(u.dtype).eps / 2
    return inverse_cdf(u.clamp(margin, 1 - margin))


def negative_log_likelihood(x: Tensor, shift: Tensor | float, log_scale: Tensor | float) -> Tensor:
    """Mean negative log-likelihood in nats of the flow x = shift + exp(log_scale)·u, u ~ N(0, 1): a scalar.

    −log p(x) = ½u² + ½ log 2π + log_scale with u = (x − shift)·exp(−log_scale). Elementwise, then averaged.

    >>> negative_log_likelihood(torch.zeros(4), shift=0.0, log_scale=0.0)
    tensor(0.9189)
    """
    log_scale = torch.as_tensor(log_scale, dtype=x.dtype, device=x.device)
    u = (x - shift) * torch.exp(-log_scale)
    return (log_scale - standard_normal_log_prob(u)).mean()
