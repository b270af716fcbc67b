"""nflows' flows as a `PeerFlow`: transforms from data to base."""

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.transforms.autoregressive import MaskedAffineAutoregressiveTransform
from nflows.transforms.base import CompositeTransform, Transform
from nflows.transforms.conv import OneByOneConvolution
from nflows.transforms.coupling import AffineCouplingTransform, PiecewiseRationalQuadraticCouplingTransform
from nflows.transforms.normalization import ActNorm
from nflows.transforms.permutations import RandomPermutation, ReversePermutation
from nflows.transforms.reshape import SqueezeTransform
from torch import Tensor

from benchmarks.peers import PeerFlow, Shape
from benchmarks.peers.conditioners import (
    Conditioner,
    alternating,
    identity_slope,
    one_width,
    permuted,
    spline_conditioner,
    spline_options,
    start_made,
)

__all__ = ["BUILDERS", "NflowsFlow"]


class NflowsFlow(PeerFlow):
    """A `nflows.flows.Flow`, whose transform goes from data to base."""

    def __init__(self, shape: Shape, layers: list[Transform]) -> None:
        super().__init__(shape)
        self.flow = Flow(CompositeTransform(layers), StandardNormal(shape.base_event))

    def _log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)

    def _sample(self, n: int) -> Tensor:
        return self.flow.sample(n)

    def _to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow._transform(
            x
        )  # `transform_to_noise` without its log-determinant is all that is public

    def _to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow._transform.inverse(u)


def _affine_coupling(shape: Shape) -> NflowsFlow:
    layers = [
        AffineCouplingTransform(alternating(shape.D, k), lambda *sizes: Conditioner(shape, *sizes))
        for k in range(shape.layers)
    ]
    start = [ActNorm(shape.D)] if shape.rescale else []
    return NflowsFlow(shape, [*start, *permuted(shape, layers, RandomPermutation)])


def _spline_coupling(shape: Shape) -> NflowsFlow:
    layers = [
        PiecewiseRationalQuadraticCouplingTransform(
            alternating(shape.D, k),
            spline_conditioner(shape),
            **spline_options(shape),
        )
        for k in range(shape.layers)
    ]
    return NflowsFlow(shape, permuted(shape, layers, RandomPermutation))


def _maf(shape: Shape) -> NflowsFlow:
    layers: list[Transform] = []
    for _ in range(shape.layers):
        layer = MaskedAffineAutoregressiveTransform(
            shape.D,
            one_width(shape),
            num_blocks=len(shape.hidden) - 1,
            use_residual_blocks=False,
            dropout_probability=shape.dropout,
        )
        if shape.identity_start:
            start_made(layer.autoregressive_net.final_layer, identity_slope(1e-3))
        layers += [RandomPermutation(shape.D) if shape.permute else ReversePermutation(shape.D), layer]
    return NflowsFlow(shape, layers)


def _glow(shape: Shape) -> NflowsFlow:
    layers: list[Transform] = [SqueezeTransform()]
    halves = torch.tensor([-1, -1, 1, 1])
    for _ in range(shape.layers):
        coupling = AffineCouplingTransform(halves, lambda *sizes: Conditioner(shape, *sizes))
        layers += [ActNorm(4), OneByOneConvolution(4), coupling]
    return NflowsFlow(shape, layers)


BUILDERS = {
    "affine coupling": _affine_coupling,
    "MAF": _maf,
    "spline coupling": _spline_coupling,
    "Glow": _glow,
}
