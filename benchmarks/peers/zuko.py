"""zuko's flows as a `PeerFlow`: lazy transforms from data to base."""

import math
from collections.abc import Callable
from functools import partial

import torch
import zuko
from torch import Tensor, nn

from benchmarks.peers import PeerFlow, Shape
from benchmarks.peers.conditioners import SPLINE_BOUND

__all__ = ["BUILDERS", "ZukoFlow"]


class ZukoFlow(PeerFlow):
    """A `zuko.flows.Flow`: its call gives a distribution, whose transform goes from data to base."""

    def __init__(self, shape: Shape, flow: nn.Module) -> None:
        super().__init__(shape)
        self.flow = flow

    def _log_prob(self, x: Tensor) -> Tensor:
        return self.flow().log_prob(x)

    def _sample(self, n: int) -> Tensor:
        return self.flow().sample((n,))

    def _to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow().transform.call_and_ladj(x)

    def _to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow().transform.inv.call_and_ladj(u)


def _network(shape: Shape) -> dict:
    """Options of its networks. Their activation is a constructor: dropout can stand in it."""
    activation = (lambda: nn.Sequential(nn.ReLU(), nn.Dropout(shape.dropout))) if shape.dropout else nn.ReLU
    return {"hidden_features": shape.hidden, "activation": activation}


def _affine(shape: Shape) -> dict:
    if shape.log_scale_bound is None:
        return {}
    slope = math.exp(-shape.log_scale_bound)  # log-scales stay within ±log slope
    return {"univariate": partial(zuko.transforms.MonotonicAffineTransform, slope=slope)}


def _spline(shape: Shape) -> dict:
    K = shape.bins
    return {
        "univariate": partial(zuko.transforms.MonotonicRQSTransform, bound=SPLINE_BOUND),
        "shapes": [(K,), (K,), (K - 1,)],
    }


@torch.no_grad()
def _started(shape: Shape, flow: nn.Module, networks: list[nn.Module]) -> ZukoFlow:
    if shape.identity_start:
        for net in networks:
            net[-1].weight.zero_()
            net[-1].bias.zero_()
    return ZukoFlow(shape, flow)


def _coupling(shape: Shape, univariate: Callable[[Shape], dict]) -> ZukoFlow:
    flow = zuko.flows.NICE(
        shape.D, transforms=shape.layers, randmask=shape.permute, **univariate(shape), **_network(shape)
    )
    return _started(shape, flow, [layer.hyper for layer in flow.transform.transforms])


def _maf(shape: Shape) -> ZukoFlow:
    flow = zuko.flows.MAF(
        shape.D, transforms=shape.layers, randperm=shape.permute, **_affine(shape), **_network(shape)
    )
    return _started(shape, flow, [layer.hyper for layer in flow.transform.transforms])


def _continuous(shape: Shape) -> ZukoFlow:
    flow = zuko.flows.CNF(shape.D, hidden_features=shape.hidden, rtol=1e-5, atol=1e-6)
    return _started(shape, flow, [flow.transform.ode])


BUILDERS = {
    "affine coupling": partial(_coupling, univariate=_affine),
    "MAF": _maf,
    "spline coupling": partial(_coupling, univariate=_spline),
    "continuous": _continuous,
}
