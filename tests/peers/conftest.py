"""What all comparisons share: float64, one seed, points, and how close is the same."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from flowlib import StandardNormal, mlp


@pytest.fixture(autouse=True)
def always_float64(float64):
    """All comparisons: what differs in double precision differs in its formula, not by rounding."""


def net(inputs: int, outputs: int) -> nn.Module:
    """A small smooth network with random weights, large enough that a wrong formula shows."""
    return mlp([inputs, 16, outputs], activation=nn.Tanh)


def points(*shape: int) -> Tensor:
    """Random points, the same at each call."""
    return 1.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def normal_log_prob(u: Tensor) -> Tensor:
    """log N(u; 0, I), over the last axis."""
    return StandardNormal(u.shape[-1])().log_prob(u)


def same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-9) -> None:
    """The same numbers; the course promises 1e-5, in float64 most agree to 1e-12."""
    theirs = theirs.expand_as(ours) if theirs.ndim == 0 else theirs.reshape(ours.shape)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def same_map(
    forward: Callable[[Tensor], tuple[Tensor, Tensor]],
    theirs: Callable[[Tensor], tuple[Tensor, Tensor]],
    at: Tensor,
    tolerance: float = 1e-9,
) -> None:
    """The same point and the same log-determinant."""
    for got, expected in zip(forward(at), theirs(at), strict=True):
        same(got, expected, tolerance)
