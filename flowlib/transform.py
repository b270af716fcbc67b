"""The contract of every layer: two methods, there and back, each with its log-determinant."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from flowlib.checks import check_context, check_event

__all__ = ["Composition", "Transform", "batch_of", "joined"]


class Transform(nn.Module):
    """Base class of invertible maps x = T(u) between vectors of length D, or between images.

    A subclass implements `_forward(u)` and `_inverse(x)`. The public methods check the argument first:

    * `forward(u)`, base to data: returns `(x, log_det)` with log_det = log|det ∂x/∂u|;
    * `inverse(x)`, data to base: returns `(u, log_det)` with log_det = log|det ∂u/∂x|.

    Vectors are `(*batch, D)`; log_det is `(*batch,)`, in nats and in the input's dtype. `D=None` accepts any
    length.

    Args:
        D: number of variables, or the shape of x, as in `(C, H, W)` for images.
        base_shape: the shape of u where it differs from that of x: a squeeze turns pixels into channels.
        context_size: a conditional layer's map depends on a context h as well, `(*batch, context_size)`:
            `forward(u, h)` and `inverse(x, h)`; its `_forward` and `_inverse` get h, expanded to the batch,
            as a second argument. 0 for a layer without.

    Raises `ValueError` when the shape is wrong or a context is missing or superfluous, `TypeError` when the
    dtype is not floating-point.

    >>> class Shift(Transform):
    ...     def _forward(self, u):
    ...         return u + 1, u.new_zeros(u.shape[:-1])
    ...     def _inverse(self, x):
    ...         return x - 1, x.new_zeros(x.shape[:-1])
    >>> x, log_det = Shift(2)(torch.zeros(3, 2))
    >>> x.shape, log_det.shape
    (torch.Size([3, 2]), torch.Size([3]))
    >>> Shift(2)(torch.zeros(3, 5))
    Traceback (most recent call last):
    ValueError: Shift.forward: expected a tensor of shape (*batch, 2), got (3, 5)
    """

    def __init__(
        self,
        D: int | Sequence[int] | None = None,
        *,
        base_shape: Sequence[int] | None = None,
        context_size: int = 0,
    ) -> None:
        super().__init__()
        self.event_shape = None if D is None else (D,) if isinstance(D, int) else tuple(D)
        self.base_shape = self.event_shape if base_shape is None else tuple(base_shape)
        self.D = self.event_shape[0] if self.event_shape is not None and len(self.event_shape) == 1 else None
        self.context_size = context_size

    def forward(self, u: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Base to data: `(x, log|det ∂x/∂u|)`."""
        return self._forward(u, *self._checked(u, context, self.base_shape, "forward"))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Data to base: `(u, log|det ∂u/∂x|)`."""
        return self._inverse(x, *self._checked(x, context, self.event_shape, "inverse"))

    def _checked(
        self, v: Tensor, context: Tensor | None, shape: tuple[int, ...] | None, method: str
    ) -> tuple[Tensor, ...]:
        """The arguments besides v: the context, where the layer has one."""
        who = f"{type(self).__name__}.{method}"
        check_event(v, shape, who)
        batch = batch_of(v, shape)
        context = check_context(context, self.context_size, batch, who)
        return () if context is None else (context,)

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} does not define _forward")

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} does not define _inverse")


def batch_of(v: Tensor, shape: Sequence[int] | None) -> torch.Size:
    """The batch axes of v `(*batch, *shape)`; without a shape the last axis alone is the event."""
    return v.shape[: v.ndim - (1 if shape is None else len(shape))]


def joined(v: Tensor, context: tuple[Tensor, ...]) -> Tensor:
    """What a conditioner is fed: v `(*batch, d)`, with the context behind it where there is one."""
    return torch.cat([v, *context], dim=-1) if context else v


class Composition(Transform):
    """Several layers as one: x = T_K(… T_1(u)), log|det ∂x/∂u| = Σ_k log|det ∂T_k|, each where the point is.

    Args:
        transformations: layers in the order from base to data. Any module with the two methods
            `forward(u) → (x, log_det)` and `inverse(x) → (u, log_det)` will do. A context is handed to the
            layers that have a `context_size`; all must have the same.
        shape: shape of u; not needed where the first layer knows it.

    Raises `TypeError` for a layer without the two methods, `ValueError` where the shape of one layer's x is
    not that of the next one's u.

    >>> from flowlib import Permutation, Rescaling
    >>> swap_twice = Composition([Permutation([1, 0]), Rescaling(2), Permutation([1, 0])])
    >>> swap_twice.forward(torch.tensor([1.0, 2.0]))[0]
    tensor([1., 2.], grad_fn=<IndexBackward0>)
    """

    def __init__(
        self, transformations: Iterable[nn.Module], shape: int | Sequence[int] | None = None
    ) -> None:
        transformations = list(transformations)
        start = at = (shape,) if isinstance(shape, int) else shape
        sizes = set()
        for k, layer in enumerate(transformations):
            if not isinstance(layer, nn.Module) or not callable(getattr(layer, "inverse", None)):
                got = type(layer).__name__
                raise TypeError(f"transformation {k}: expected a module with forward and inverse, got {got}")
            wanted = getattr(layer, "base_shape", None)
            if wanted is not None and at is not None and tuple(wanted) != tuple(at):
                raise ValueError(
                    f"transformation {k} ({type(layer).__name__}) takes shape {tuple(wanted)}, got {tuple(at)}"
                )
            start = wanted if start is None else start
            at = getattr(layer, "event_shape", None) or at
            sizes |= {getattr(layer, "context_size", 0)}
        if len(sizes - {0}) > 1:
            raise ValueError(f"the layers expect contexts of different sizes: {sorted(sizes - {0})}")
        super().__init__(at, base_shape=start, context_size=max(sizes, default=0))
        self.transformations = nn.ModuleList(transformations)

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        x, total = u, u.new_zeros(batch_of(u, self.base_shape))
        for layer in self.transformations:
            x, log_det = layer.forward(x, *_for(layer, context))
            total = total + log_det
        return x, total

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        u, total = x, x.new_zeros(batch_of(x, self.event_shape))
        for layer in reversed(self.transformations):
            u, log_det = layer.inverse(u, *_for(layer, context))
            total = total + log_det
        return u, total


def _for(layer: nn.Module, context: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return context if getattr(layer, "context_size", 0) else ()
