"""This course's flows as a `PeerFlow`."""

from collections.abc import Callable

from torch import Tensor

from benchmarks.peers import PeerFlow, Shape
from flowlib import (
    AdaptiveStep,
    AffineElementwise,
    Flow,
    continuous_flow,
    glow,
    maf,
    real_nvp,
    residual_flow,
    spline_flow,
)

__all__ = ["BUILDERS", "FlowlibFlow"]


class FlowlibFlow(PeerFlow):
    """A `flowlib.Flow`."""

    def __init__(self, shape: Shape, flow: Flow) -> None:
        super().__init__(shape)
        self.flow = flow

    def _log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)

    def _sample(self, n: int) -> Tensor:
        return self.flow.sample((n,))

    def _to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow.inverse(x)

    def _to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow.forward(u.flatten(1))


def _conditioner(shape: Shape) -> dict:
    return {"hidden": shape.hidden, "dropout": shape.dropout, "zero_last": shape.identity_start}


def _affine_coupling(shape: Shape) -> Flow:
    return real_nvp(
        shape.D,
        shape.layers,
        log_scale_bound=shape.log_scale_bound,
        permute=shape.permute,
        **_conditioner(shape),
    )


def _maf(shape: Shape) -> Flow:
    elementwise = AffineElementwise(shape.log_scale_bound)
    return maf(shape.D, shape.layers, elementwise=elementwise, permute=shape.permute, **_conditioner(shape))


def _spline_coupling(shape: Shape) -> Flow:
    return spline_flow(shape.D, shape.layers, bins=shape.bins, permute=shape.permute, **_conditioner(shape))


def _glow(shape: Shape) -> Flow:
    return glow(shape.event, shape.layers, 1, log_scale_bound=shape.log_scale_bound, **_conditioner(shape))


def _residual(shape: Shape) -> Flow:
    # Beyond a few variables a D × D determinant costs more than the estimate that residual flows are known for.
    log_det = "exact" if shape.D == 2 else "roulette"
    return residual_flow(shape.D, shape.layers, shape.hidden, log_det=log_det)


def _continuous(shape: Shape) -> Flow:
    return continuous_flow(shape.D, shape.hidden, solver=AdaptiveStep(rtol=1e-5, atol=1e-6))


def _peer(make: Callable[[Shape], Flow]) -> Callable[[Shape], FlowlibFlow]:
    return lambda shape: FlowlibFlow(shape, make(shape))


BUILDERS = {
    "affine coupling": _peer(_affine_coupling),
    "MAF": _peer(_maf),
    "spline coupling": _peer(_spline_coupling),
    "Glow": _peer(_glow),
    "residual": _peer(_residual),
    "continuous": _peer(_continuous),
}
