"""RealNVP, ready to train."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowlib.bases import StandardNormal
from flowlib.checks import check_size
from flowlib.coupling import SplitCoupling
from flowlib.flow import Flow
from flowlib.linear import Affine, Permutation
from flowlib.networks import mlp

__all__ = ["real_nvp"]


def real_nvp(
    D: int,
    num_layers: int,
    hidden: Sequence[int] = (64, 64),
    *,
    log_scale_bound: float | None = 2.0,
    dropout: float = 0.0,
    zero_last: bool = True,
    permute: bool = False,
    base: nn.Module | None = None,
    data: Tensor | None = None,
) -> Flow:
    """A flow of affine couplings that keep the first and the last half of the variables by turns.

    Args:
        D: number of variables, at least 2.
        num_layers: number of couplings; at least two, so that every variable is moved.
        hidden: widths of the hidden layers of each conditioner.
        log_scale_bound: c in s = c · tanh(s / c); None for no bound.
        dropout: in the conditioners, in training mode. Then `forward` and `inverse` draw different masks and
            do not undo each other: call `flow.eval()` before using the flow.
        zero_last: start as the identity (see `mlp`). False starts at torch's random initialization.
        permute: put a random permutation (from torch's global generator) between couplings. Without it the
            two halves stay the same two sets of variables in every layer; it matters for D > 2 only.
        base: base distribution; the standard normal by default.
        data: training data `(N, D)`. The flow ends with a fixed layer that has their mean and standard
            deviation (`Affine.from_data`), so the couplings work on standardized variables: training is
            faster and safer.

    Raises `ValueError` for D < 2 or num_layers < 1.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> flow = real_nvp(2, num_layers=4)  # starts as the identity
    >>> u = torch.randn(5, 2)
    >>> torch.equal(flow.forward(u)[0], u)
    True
    """
    check_size("num_layers", num_layers)
    d = check_size("D", D) // 2
    layers: list[nn.Module] = []
    for k in range(num_layers):
        if permute and k > 0:
            layers.append(Permutation(torch.randperm(D)))
        conditioner = mlp([max(d, 1), *hidden, 2 * (D - d)], zero_last=zero_last, dropout=dropout)
        layers.append(SplitCoupling(conditioner, D, flip=k % 2 == 1, log_scale_bound=log_scale_bound))
    if data is not None:
        layers.append(Affine.from_data(data))
    return Flow(StandardNormal(D) if base is None else base, layers)
