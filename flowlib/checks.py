"""Checks of arguments that several modules share."""

from collections.abc import Sequence

from torch import Tensor

__all__ = ["check_context", "check_event", "check_size"]


def check_size(name: str, value: int) -> int:
    """Return value when it is a positive integer, else raise ValueError naming it."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return value


def check_event(v: Tensor, shape: Sequence[int] | None, who: str) -> None:
    """Raise a readable error unless v is a floating-point tensor `(*batch, *shape)`; None is `(*batch, D)`.

    Only shape and dtype are looked at, never values, so the check costs nothing and holds under `vmap`.
    """
    if not v.is_floating_point():
        raise TypeError(f"{who}: expected a floating-point tensor, got dtype {v.dtype}")
    if v.ndim == 0 or (shape is not None and v.shape[v.ndim - len(shape) :] != tuple(shape)):
        wanted = "D" if shape is None else ", ".join(map(str, shape))
        raise ValueError(f"{who}: expected a tensor of shape (*batch, {wanted}), got {tuple(v.shape)}")


def check_context(context: Tensor | None, size: int, batch: Sequence[int], who: str) -> Tensor | None:
    """Return the context expanded to `(*batch, size)`, None where none is needed, else raise ValueError.

    A context `(*B, size)` serves every batch whose last axes are B: one context an example, many samples.
    """
    if size == 0:
        if context is not None:
            raise ValueError(f"{who}: takes no context, got one of shape {tuple(context.shape)}")
        return None
    wanted = f"(*batch, {size}) for a batch {tuple(batch)}"
    if context is None:
        raise ValueError(f"{who}: expected a context of shape {wanted}, got none")
    try:
        if context.ndim == 0 or context.shape[-1] != size:
            raise RuntimeError
        return context.expand(*batch, size)
    except RuntimeError:
        raise ValueError(f"{who}: expected a context of shape {wanted}, got {tuple(context.shape)}") from None
