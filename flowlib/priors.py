"""Priors p(z) of a variational autoencoder: a base distribution under its other name, or a whole flow.

Each is a module whose call returns a distribution with event shape `(M,)` and batch shape `()`:
`log_prob` takes `(*S, B, M)` to `(*S, B)`, `sample(S)` gives `(*S, M)`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from flowlib.bases import MixtureOfGaussians, StandardNormal
from flowlib.flow import Flow

__all__ = ["FlowPrior", "GaussianPrior", "MixtureOfGaussiansPrior"]


class GaussianPrior(StandardNormal):
    """The standard normal prior p(z) = N(0, I), z `(*batch, M)`.

    >>> GaussianPrior(2)().log_prob(torch.zeros(3, 5, 2)).shape
    torch.Size([3, 5])
    """

    def __init__(self, M: int) -> None:
        super().__init__(M)


class MixtureOfGaussiansPrior(MixtureOfGaussians):
    """A learnable mixture of K diagonal Gaussians as prior, z `(*batch, M)`.

    >>> MixtureOfGaussiansPrior(2, 10)().sample((4,)).shape
    torch.Size([4, 2])
    """

    def __init__(self, M: int, K: int) -> None:
        super().__init__(M, K)


class _FlowDistribution(Distribution):
    """A flow seen as a `torch.distributions.Distribution`."""

    arg_constraints: dict = {}  # noqa: RUF012 (torch declares it so)
    support = constraints.real_vector

    def __init__(self, flow: Flow, validate_args: bool | None = None) -> None:
        self.flow = flow
        super().__init__(torch.Size(), torch.Size([flow.D]), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        return self.flow.base().has_rsample

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return self.flow.log_prob(value)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.flow.sample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.flow.rsample(sample_shape)


class FlowPrior(nn.Module):
    """A flow as prior: z = T(u), log p(z) = log p_u(T⁻¹(z)) + log|det ∂u/∂z|, one number for each z.

    `flow` is a `Flow` over M variables; its parameters are trained together with encoder and decoder.
    Sources: Kingma et al. 2016, arXiv:1606.04934; Chen et al. 2016, arXiv:1611.02731.

    >>> from flowlib import Rescaling
    >>> prior = FlowPrior(Flow(StandardNormal(2), [Rescaling(2)]))
    >>> prior().log_prob(torch.zeros(3, 5, 2)).shape
    torch.Size([3, 5])
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self) -> Distribution:
        return _FlowDistribution(self.flow)
