"""Approximate posteriors q(z given x) made by a flow: a Gaussian of each example, carried on by invertible layers.

The counterpart of `priors`: there a flow makes p(z), one for all; here it makes q(z given x), one for each x.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from flowlib.bases import diagonal_normal
from flowlib.transform import Composition, Transform

__all__ = ["FlowEncoder", "FlowPosterior"]


class FlowPosterior(Distribution):
    """The distribution of z = T(u; h), u ~ q_0, with log q(z) = log q_0(u) − log|det ∂z/∂u| in nats.

    The density of its own draws needs no inverse of T: u is known, because it was drawn. `rsample` keeps the
    log-density of what it returns, and `log_prob` of that very tensor gives it back; for any other point `log_prob`
    inverts T. So `elbo` and `importance_weighted_log_likelihood` work with it as with any distribution, and at the
    price of `forward` alone.

    Args:
        base: q_0, a distribution with batch shape B and event shape `(M,)`.
        flow: T, a `Transform` over M variables.
        context: h, `(*B, context_size)`, for a T that takes one.

    Source: Rezende, Mohamed 2015, arXiv:1505.05770.

    >>> from flowlib import Planar
    >>> q = FlowPosterior(diagonal_normal(torch.zeros(5, 2), torch.ones(5, 2)), Planar(2))
    >>> z = q.rsample((7,))
    >>> z.shape, q.log_prob(z).shape, torch.allclose(q.log_prob(z), q.log_prob(z.clone()), atol=1e-4)
    (torch.Size([7, 5, 2]), torch.Size([7, 5]), True)
    """

    arg_constraints: dict = {}  # noqa: RUF012 (torch declares it so)
    support = constraints.real_vector

    def __init__(self, base: Distribution, flow: Transform, context: Tensor | None = None) -> None:
        self.base, self.flow, self.context = base, flow, context
        self._drawn: tuple[Tensor, int, bool, Tensor] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:
        return self.base.has_rsample

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws z `(*sample_shape, *B, M)`, with gradient to base, flow and context."""
        u = self.base.rsample(torch.Size(sample_shape))
        z, log_det = self.flow.forward(u, self.context)
        self._drawn = z, z._version, torch.is_grad_enabled(), self.base.log_prob(u) - log_det
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(z given x) in nats, `(*sample_shape, *B)`: kept from the last draw, or by the inverse of T."""
        if self._drawn is not None:
            z, version, with_gradient, log_q = self._drawn
            # Not if it was changed since, nor if a gradient is wanted that the draw did not record.
            if z is value and z._version == version and (with_gradient or not torch.is_grad_enabled()):
                return log_q
        shape = torch.broadcast_shapes(value.shape, (*self.batch_shape, *self.event_shape))
        u, log_det = self.flow.inverse(value.expand(shape), self.context)
        return self.base.log_prob(u) + log_det


class FlowEncoder(nn.Module):
    """q(z given x) of z = T_K(… T_1(u; h)), u ~ N(mean, diag(exp(log_std))²), with (mean, log_std, h) = net(x).

    Args:
        net: module from `(*batch, D)` to `(*batch, 2M + C)`: M means, M log standard deviations, and the context h
            of length C that the layers share.
        transformations: layers over M variables in the order from u to z; those with a `context_size`, which must be
            C, get h, so that every example has a flow of its own. None at all: the encoder is Gaussian.

    Raises `ValueError` for another width of the net's output.
    Source: Rezende, Mohamed 2015, arXiv:1505.05770, section 4.

    >>> from flowlib import Planar, mlp
    >>> layers = [Planar(2, nn.Linear(6, 5), context_size=6) for _ in range(4)]
    >>> q = FlowEncoder(mlp([64, 32, 2 * 2 + 6]), layers)(torch.rand(10, 64))
    >>> q.batch_shape, q.event_shape
    (torch.Size([10]), torch.Size([2]))
    """

    def __init__(self, net: nn.Module, transformations: Iterable[nn.Module]) -> None:
        super().__init__()
        self.net = net
        self.flow = Composition(transformations)

    def forward(self, x: Tensor) -> FlowPosterior:
        output = self.net(x)
        C = self.flow.context_size
        M = self.flow.D or (output.shape[-1] - C) // 2
        if M < 1 or output.shape[-1] != 2 * M + C:
            wanted = f"2M + {C}" if self.flow.D is None else str(2 * M + C)
            raise ValueError(
                f"net: expected an output width of {wanted} (means, log standard deviations, context), "
                f"got {output.shape[-1]}"
            )
        mean, log_std, h = output.split([M, M, C], dim=-1)
        return FlowPosterior(diagonal_normal(mean, log_std.exp()), self.flow, h if C else None)
