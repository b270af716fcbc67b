"""Jacobian matrices by automatic differentiation, and determinants that need no elimination."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["batch_jacobian", "log_abs_det_triangular"]


def batch_jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The Jacobian of each example: J[n, i, j] = ∂f(x)_{n,i} / ∂x_{n,j}, shape `(B, D, D)`.

    f maps `(B, D)` to `(B, D)` example by example. Since no example depends on another, the gradient of the
    sum over examples of output i holds row i of every Jacobian: D backward passes, one for each output.

    Raises `ValueError` when x is not `(B, D)` or f(x) is not `(B, …)`.

    >>> batch_jacobian(lambda x: x.flip(-1) ** 2, torch.tensor([[1.0, 3.0]]))
    tensor([[[0., 6.],
             [2., 0.]]])
    """
    if x.ndim != 2:
        raise ValueError(f"x: expected shape (B, D), got {tuple(x.shape)}")
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = f(x)
        if y.ndim != 2 or len(y) != len(x):
            raise ValueError(f"f(x): expected shape ({len(x)}, D), got {tuple(y.shape)}")
        if not y.requires_grad:  # f does not depend on x at all
            return x.new_zeros(len(x), y.shape[1], x.shape[1])
        totals = y.sum(0).unbind()
        rows = [
            torch.autograd.grad(total, x, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
            for total in totals
        ]
    return torch.stack(rows, dim=1)


def log_abs_det_triangular(A: Tensor) -> Tensor:
    """log |det A| of triangular matrices, from the diagonal alone: Σ_i log |A_ii|.

    A is `(*batch, D, D)`, the result `(*batch,)`. O(D) instead of O(D³). The logarithms are summed: the
    product of 400 diagonal entries would under- or overflow. That A is triangular is the caller's promise.
    Raises `ValueError` when A is not square.

    >>> log_abs_det_triangular(torch.tensor([[2.0, 0.0], [7.0, -0.5]]))
    tensor(0.)
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"A: expected shape (*batch, D, D), got {tuple(A.shape)}")
    return torch.diagonal(A, dim1=-2, dim2=-1).abs().log().sum(-1)
