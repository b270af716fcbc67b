"""FrEIA's flows as a `PeerFlow`: invertible blocks from data to base; the density is one's own to write."""

import math
from collections.abc import Callable

import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import (
    AffineCouplingOneSided,
    AllInOneBlock,
    GLOWCouplingBlock,
    IRevNetDownsampling,
    PermuteRandom,
)
from torch import Tensor, nn

from benchmarks.peers import PeerFlow, Shape
from benchmarks.peers.conditioners import network

__all__ = ["BUILDERS", "FreiaFlow"]


class FreiaFlow(PeerFlow):
    """A `SequenceINN` from data to base, and a standard normal."""

    def __init__(self, shape: Shape, inn: SequenceINN) -> None:
        super().__init__(shape)
        self.inn = inn

    def _log_prob(self, x: Tensor) -> Tensor:
        u, log_det = self.inn(x)
        return -0.5 * u.square().flatten(1).sum(-1) - 0.5 * self.shape.D * math.log(2 * math.pi) + log_det

    def _sample(self, n: int) -> Tensor:
        u = torch.randn(n, *self.shape.base_event, dtype=next(self.inn.parameters()).dtype)
        return self.inn(u, rev=True, jac=False)[0]

    def _to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inn(x)

    def _to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.inn(u, rev=True)


def _subnet(shape: Shape) -> Callable[[int, int], nn.Module]:
    return lambda inputs, outputs: network(shape, inputs, outputs)


def _bound(shape: Shape) -> dict:
    if shape.log_scale_bound is None:
        return {}
    return {"clamp": shape.log_scale_bound, "clamp_activation": "TANH"}


def _affine_coupling(shape: Shape) -> FreiaFlow:
    inn = SequenceINN(shape.D)
    for k in range(shape.layers // 2):
        if shape.permute and k > 0:
            inn.append(PermuteRandom)
        inn.append(GLOWCouplingBlock, subnet_constructor=_subnet(shape), **_bound(shape))
    if shape.layers % 2:
        inn.append(AffineCouplingOneSided, subnet_constructor=_subnet(shape), **_bound(shape))
    return FreiaFlow(shape, inn)


def _glow(shape: Shape) -> FreiaFlow:
    inn = SequenceINN(*shape.event)
    inn.append(IRevNetDownsampling)
    clamp = {} if shape.log_scale_bound is None else {"affine_clamping": shape.log_scale_bound}
    for _ in range(shape.layers):
        inn.append(AllInOneBlock, subnet_constructor=_subnet(shape), permute_soft=True, **clamp)
    return FreiaFlow(shape, inn)


BUILDERS = {"affine coupling": _affine_coupling, "Glow": _glow}
