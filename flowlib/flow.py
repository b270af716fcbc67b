"""A normalizing flow: a base distribution and the layers that carry it to the data."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from flowlib.transform import Composition

__all__ = ["Flow"]


class Flow(Composition):
    """The distribution of x = T_K(… T_1(u)), u ~ p_u, with an exact density.

    log p(x) = log p_u(u) + log|det ∂u/∂x|, u = T⁻¹(x), in nats.

    Args:
        base: module whose call returns the distribution p_u, with event shape `(D,)`.
        transformations: layers in the order from base to data. Any module with the two methods
            `forward(u) → (x, log_det)` and `inverse(x) → (u, log_det)` will do.

    Vectors are `(*batch, D)`, log-densities and log-determinants `(*batch,)`. A flow of images has a flat base
    and `Reshape` as its first layer: x is `(*batch, C, H, W)`. With conditional layers (`context_size`) every
    method takes a context h `(*batch, context_size)` and the density is p(x given h).
    Raises `TypeError` for a layer without the two methods, `ValueError` when the last axis is not D.
    Source: Rezende, Mohamed 2015, arXiv:1505.05770; Papamakarios et al. 2021, arXiv:1912.02762.

    >>> from flowlib import Permutation, Rescaling, StandardNormal
    >>> flow = Flow(StandardNormal(2), [Rescaling(2), Permutation([1, 0])])
    >>> flow.log_prob(flow.sample((5,))).shape
    torch.Size([5])
    """

    def __init__(self, base: nn.Module, transformations: Iterable[nn.Module]) -> None:
        event_shape = tuple(base().event_shape)
        if len(event_shape) != 1:
            raise ValueError(
                f"base: expected event shape (D,), got {event_shape}; wrap it in Independent(…, 1)"
            )
        super().__init__(transformations, event_shape)
        self.base = base

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x) in nats, `(*batch,)`."""
        u, log_det = self.inverse(x, context)
        return self.base().log_prob(u) + log_det

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = (), context: Tensor | None = None) -> Tensor:
        """Draws x `(*sample_shape, D)`, without gradient; one for each context `(*batch, context_size)` where
        there is one: `(*sample_shape, *batch, D)`."""
        return self.forward(_draw(self.base().sample, sample_shape, context), context)[0]

    def rsample(self, sample_shape: Sequence[int] = (), context: Tensor | None = None) -> Tensor:
        """Draws like `sample`, with gradient to the parameters; the base must have `rsample`."""
        return self.forward(_draw(self.base().rsample, sample_shape, context), context)[0]

    def sample_with_log_prob(
        self,
        sample_shape: Sequence[int] = (),
        context: Tensor | None = None,
        *,
        reparameterized: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Draws x like `sample`, and log p(x) of each draw, at no inverse.

        log p(x) = log p_u(u) − log|det ∂x/∂u| at the u that was drawn. `reparameterized=True` keeps the
        gradient.
        """
        with torch.set_grad_enabled(reparameterized and torch.is_grad_enabled()):
            base = self.base()
            u = _draw(base.rsample if reparameterized else base.sample, sample_shape, context)
            x, log_det = self.forward(u, context)
            return x, base.log_prob(u) - log_det


def _draw(
    draw: Callable[[torch.Size], Tensor], sample_shape: Sequence[int], context: Tensor | None
) -> Tensor:
    batch = () if context is None else context.shape[:-1]
    return draw(torch.Size((*sample_shape, *batch)))
