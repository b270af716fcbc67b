"""The contract of every layer: two methods, there and back, each with its log-determinant."""

from torch import Tensor, nn

from flowlib.checks import check_vectors

__all__ = ["Transform"]


class Transform(nn.Module):
    """Base class of invertible maps x = T(u) between vectors of length D.

    A subclass implements `_forward(u)` and `_inverse(x)`. The public methods check the argument first:

    * `forward(u)`, base to data: returns `(x, log_det)` with log_det = log|det ∂x/∂u|;
    * `inverse(x)`, data to base: returns `(u, log_det)` with log_det = log|det ∂u/∂x|.

    Vectors are `(*batch, D)`; log_det is `(*batch,)`, in nats and in the input's dtype. `D=None` accepts any
    length.

    Raises `ValueError` when the last axis is not D, `TypeError` when the dtype is not floating-point.

    >>> import torch
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

    def __init__(self, D: int | None = None) -> None:
        super().__init__()
        self.D = D

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Base to data: `(x, log|det ∂x/∂u|)`."""
        check_vectors(u, self.D, f"{type(self).__name__}.forward")
        return self._forward(u)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data to base: `(u, log|det ∂u/∂x|)`."""
        check_vectors(x, self.D, f"{type(self).__name__}.inverse")
        return self._inverse(x)

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} does not define _forward")

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} does not define _inverse")
