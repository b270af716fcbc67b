"""A normalizing flow: a base distribution and the layers that carry it to the data."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from flowlib.checks import check_vectors

__all__ = ["Flow"]


class Flow(nn.Module):
    """The distribution of x = T_K(… T_1(u)), u ~ p_u, with an exact density.

    log p(x) = log p_u(u) + log|det ∂u/∂x|, u = T⁻¹(x), in nats.

    Args:
        base: module whose call returns the distribution p_u, with event shape `(D,)`.
        transformations: layers in the order from base to data. Any module with the two methods
            `forward(u) → (x, log_det)` and `inverse(x) → (u, log_det)` will do.

    Vectors are `(*batch, D)`, log-densities and log-determinants `(*batch,)`.
    Raises `TypeError` for a layer without the two methods, `ValueError` when the last axis is not D.
    Source: Rezende, Mohamed 2015, arXiv:1505.05770; Papamakarios et al. 2021, arXiv:1912.02762.

    >>> from flowlib import Permutation, Rescaling, StandardNormal
    >>> flow = Flow(StandardNormal(2), [Rescaling(2), Permutation([1, 0])])
    >>> flow.log_prob(flow.sample((5,))).shape
    torch.Size([5])
    """

    def __init__(self, base: nn.Module, transformations: Iterable[nn.Module]) -> None:
        super().__init__()
        transformations = list(transformations)
        for k, layer in enumerate(transformations):
            if not isinstance(layer, nn.Module) or not callable(getattr(layer, "inverse", None)):
                got = type(layer).__name__
                raise TypeError(f"transformation {k}: expected a module with forward and inverse, got {got}")
        event_shape = tuple(base().event_shape)
        if len(event_shape) != 1:
            raise ValueError(
                f"base: expected event shape (D,), got {event_shape}; wrap it in Independent(…, 1)"
            )
        self.base = base
        self.transformations = nn.ModuleList(transformations)
        self.D = event_shape[0]

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Base to data: `(x, log|det ∂x/∂u|)`, each layer evaluated where the point has arrived."""
        check_vectors(u, self.D, "Flow.forward")
        x, total = u, u.new_zeros(u.shape[:-1])
        for layer in self.transformations:
            x, log_det = layer.forward(x)
            total = total + log_det
        return x, total

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data to base: `(u, log|det ∂u/∂x|)`, the layers undone in reverse order."""
        check_vectors(x, self.D, "Flow.inverse")
        u, total = x, x.new_zeros(x.shape[:-1])
        for layer in reversed(self.transformations):
            u, log_det = layer.inverse(u)
            total = total + log_det
        return u, total

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats, `(*batch,)`."""
        u, log_det = self.inverse(x)
        return self.base().log_prob(u) + log_det

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws x `(*sample_shape, D)`, without gradient."""
        return self.forward(self.base().sample(torch.Size(sample_shape)))[0]

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws x `(*sample_shape, D)` with gradient to the parameters; the base must have `rsample`."""
        return self.forward(self.base().rsample(torch.Size(sample_shape)))[0]

    def sample_with_log_prob(
        self, sample_shape: Sequence[int] = (), *, reparameterized: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draws x `(*sample_shape, D)` and log p(x) `(*sample_shape,)`, at no extra inverse.

        log p(x) = log p_u(u) − log|det ∂x/∂u| at the u that was drawn. `reparameterized=True` keeps the
        gradient.
        """
        with torch.set_grad_enabled(reparameterized and torch.is_grad_enabled()):
            base = self.base()
            u = (base.rsample if reparameterized else base.sample)(torch.Size(sample_shape))
            x, log_det = self.forward(u)
            return x, base.log_prob(u) - log_det
