"""Checks of arguments that several modules share."""

from torch import Tensor

__all__ = ["check_size", "check_vectors"]


def check_size(name: str, value: int) -> int:
    """Return value when it is a positive integer, else raise ValueError naming it."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return value


def check_vectors(v: Tensor, D: int | None, who: str) -> None:
    """Raise a readable error unless v is a floating-point tensor `(*batch, D)`.

    Only shape and dtype are looked at, never values, so the check costs nothing and holds under `vmap`.
    """
    if not v.is_floating_point():
        raise TypeError(f"{who}: expected a floating-point tensor, got dtype {v.dtype}")
    if v.ndim == 0 or (D is not None and v.shape[-1] != D):
        wanted = "D" if D is None else D
        raise ValueError(f"{who}: expected a tensor of shape (*batch, {wanted}), got {tuple(v.shape)}")
