"""The other families: autoregressive layers, splines, planar layers, 1×1 convolutions, continuous flows."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from flowlib import (
    MADE,
    AdaptiveStep,
    Continuous,
    Elementwise,
    Flow,
    InverseAutoregressive,
    InvertibleConv1x1,
    MaskedAutoregressive,
    Planar,
    RationalQuadraticSpline,
    StandardNormal,
    VelocityNet,
)

from .conftest import points, same, same_map

D = 4


class _Softplus(Elementwise):
    """nflows' map from data to base, u = (softplus(v) + 0.001) x + t with h = (v, t), and its inverse."""

    size = 2

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        v, t = h.unbind(-2)
        scale = functional.softplus(v) + 1e-3
        return (u - t) / scale, -scale.log()

    def inverse(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        v, t = h.unbind(-2)
        scale = functional.softplus(v) + 1e-3
        return scale * x + t, scale.log()


def made_and_its_copy(width: int = 12) -> tuple[nn.Module, MADE]:
    """nflows' layer around its MADE with two hidden layers, and ours with the same weights.

    Theirs numbers the hidden units' degrees 1, 2, …, D − 1, 1, 2, …, ours sorts them; their outputs stand variable by
    variable, ours parameter by parameter.
    """
    autoregressive = pytest.importorskip("nflows.transforms.autoregressive")
    theirs = autoregressive.MaskedAffineAutoregressiveTransform(
        D, width, num_blocks=1, use_residual_blocks=False, activation=torch.tanh
    )
    ours = MADE(D, 2, (width, width), activation=nn.Tanh)
    net = theirs.autoregressive_net
    first, second = net.initial_layer, net.blocks[0].linear
    order = first.degrees.argsort(stable=True)
    outputs = torch.arange(2 * D).reshape(D, 2).T.flatten()
    copies = (
        (ours.hidden[0], first, order, torch.arange(D)),
        (ours.hidden[2], second, order, order),
        (ours.last, net.final_layer, outputs, order),
    )
    with torch.no_grad():
        for to, source, rows, columns in copies:
            to.weight.copy_(source.weight[rows][:, columns])
            to.bias.copy_(source.bias[rows])
            assert torch.equal(to.mask, source.mask[rows][:, columns].to(to.mask))
    return theirs, ours


def test_maf_is_that_of_nflows():
    """Their forward is our inverse, in one pass; their inverse is our forward, in D."""
    theirs, made = made_and_its_copy()
    ours = MaskedAutoregressive(made, _Softplus())
    same_map(ours.inverse, theirs.forward, points(9, D))
    same_map(ours.forward, theirs.inverse, points(9, D))


def test_iaf_is_nflows_layer_turned_round():
    theirs, made = made_and_its_copy()

    class Turned(_Softplus):
        def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return super().inverse(u, h)

        def inverse(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return super().forward(x, h)

    ours = InverseAutoregressive(made, Turned())
    same_map(ours.forward, theirs.forward, points(9, D))
    same_map(ours.inverse, theirs.inverse, points(9, D))


def test_a_flow_of_two_layers_has_nflows_density():
    base, flows = pytest.importorskip("nflows.transforms.base"), pytest.importorskip("nflows.flows.base")
    normal = pytest.importorskip("nflows.distributions.normal")
    pairs = [made_and_its_copy() for _ in range(2)]
    theirs = flows.Flow(base.CompositeTransform([layer for layer, _ in pairs]), normal.StandardNormal([D]))
    # Theirs stand in the order from data to base.
    ours = Flow(StandardNormal(D), [MaskedAutoregressive(made, _Softplus()) for _, made in reversed(pairs)])
    same(ours.log_prob(points(9, D)), theirs.log_prob(points(9, D)))


def test_spline_is_that_of_nflows():
    """Same parameters, same bounds on bins and slopes; but for a shift, by which our h = 0 is the identity."""
    splines = pytest.importorskip("nflows.transforms.splines.rational_quadratic")
    bins, bound = 5, 2.0
    ours = RationalQuadraticSpline(bins, bound)
    u = 1.5 * points(50, D)  # some in the tails
    h = points(50, ours.size, D)
    widths, heights, slopes = h.movedim(-2, -1).split([bins, bins, bins - 1], -1)
    slopes = slopes + math.log(math.expm1(1 - ours.min_derivative))
    for way, inverse in (("forward", False), ("inverse", True)):
        theirs = splines.unconstrained_rational_quadratic_spline(
            u, widths, heights, slopes, inverse=inverse, tail_bound=bound
        )
        same_map(lambda v, way=way: getattr(ours, way)(v, h), lambda _, theirs=theirs: theirs, u)
    assert (u.abs() > bound).any()


def test_spline_meets_zuko_at_its_knots():
    """zuko's knots and slopes, turned into our parameters: the same curve."""
    transforms = pytest.importorskip("zuko.transforms")
    bins, bound = 6, 3.0
    theirs = transforms.MonotonicRQSTransform(points(bins), points(bins) + 0.3, points(bins - 1), bound=bound)
    ours = RationalQuadraticSpline(bins, bound, min_width=1e-9, min_height=1e-9, min_derivative=1e-9)
    logs = [knots.diff().log() for knots in (theirs.horizontal, theirs.vertical)]
    slopes = theirs.derivatives[1:-1]
    # softplus(h + log(e − 1)) = slope
    h = torch.cat([*logs, torch.expm1(slopes).log() - math.log(math.e - 1)])[:, None]
    u = torch.linspace(-1.2 * bound, 1.2 * bound, 101)[:, None]
    x, log_slope = ours.forward(u, h.expand(len(u), -1, 1))
    y, ladj = theirs.call_and_ladj(u.squeeze(-1))
    same(x, y[:, None], 1e-6)
    same(log_slope, ladj[:, None], 1e-6)


def test_planar_is_that_of_normflows():
    flows = pytest.importorskip("normflows").flows
    ours = Planar(D)
    with torch.no_grad():
        ours.v.copy_(points(D))
        ours.w.copy_(points(D).flip(0) - 0.4)
        ours.b.fill_(0.3)
    theirs = flows.Planar((D,), u=ours.v[None].detach(), w=ours.w[None].detach(), b=ours.b.detach()[None])
    same_map(ours.forward, theirs.forward, points(20, D))


@pytest.mark.filterwarnings("ignore:torch.lu is deprecated:UserWarning")
def test_the_1x1_convolution_of_normflows_runs_the_other_way():
    """Their W maps data to base: it is the inverse of ours."""
    flows = pytest.importorskip("normflows").flows
    theirs = flows.Invertible1x1Conv(3, use_lu=True)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    ours = InvertibleConv1x1((3, 4, 5), weight=torch.linalg.inv(theirs._assemble_W()).detach())
    same_map(ours.forward, theirs.forward, points(6, 3, 4, 5))
    same_map(ours.inverse, theirs.inverse, points(6, 3, 4, 5))


def test_continuous_flow_is_that_of_zuko():
    """The same velocity, each side with its own adaptive solver at a tight tolerance."""
    transforms = pytest.importorskip("zuko.transforms")
    velocity = VelocityNet(D, (16,), zero_last=False)
    ours = Continuous(velocity, D, solver=AdaptiveStep(1e-9, 1e-9))
    theirs = transforms.FreeFormJacobianTransform(
        lambda t, z: velocity(z, t), phi=velocity.parameters(), atol=1e-10, rtol=1e-9
    )
    u = points(20, D)
    with torch.no_grad():
        same_map(ours.forward, theirs.call_and_ladj, u, 1e-6)
        same_map(ours.inverse, theirs.inv.call_and_ladj, u, 1e-6)
