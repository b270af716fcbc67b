"""One table of every layer: `test_layers.py` runs over its rows, and a layer missing from it fails a test."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from flowlib import (
    MADE,
    ActNorm,
    AdditiveCouplingLayer,
    Affine,
    AffineCoupling,
    AffineElementwise,
    Composition,
    Continuous,
    FixedStep,
    Flatten,
    Flow,
    HistogramMarginals,
    ImageCoupling,
    InverseAutoregressive,
    InvertibleConv1x1,
    LipschitzMLP,
    MaskedAutoregressive,
    MaskedCouplingLayer,
    MixtureOfGaussians,
    MultiScale,
    OrthogonalLinear,
    Permutation,
    Planar,
    PLULinear,
    RationalQuadraticSpline,
    Rescaling,
    Reshape,
    Residual,
    SplineLayer,
    SplitCoupling,
    Squeeze,
    VelocityNet,
    alternating_masks,
    channel_mask,
    checkerboard_mask,
    mlp,
    real_nvp,
)


@dataclass(frozen=True)
class Row:
    """A layer and what may be asked of it."""

    make: Callable[[int], nn.Module]  # D → layer; for layers of images the number of channels → layer
    sizes: tuple[int, ...]  # the arguments of make to test with: even, odd
    inverse: Literal["exact", "iterative", "none"] = "exact"
    tolerance: float = 1e-9  # of the round trips, relative to 1 + |value|
    log_det: Literal["exact", "estimated"] = "exact"
    vmap: bool = True
    context: int = 0  # length of the context that a conditional layer is tested with


def _net(inputs: int, outputs: int) -> nn.Module:
    # A smooth activation: the kinks of ReLU would put central differences off by their step.
    return mlp([inputs, 16, outputs], activation=nn.Tanh)


def _mask(D: int) -> Tensor:
    return alternating_masks(D, 1)[0]


def _made(D: int, **options) -> MADE:
    return MADE(D, size=2, hidden=(12, 10), activation=nn.Tanh, **options)


def _residual(D: int, **options: object) -> Residual:
    # In training mode the Lipschitz constants are estimates that move from call to call.
    return Residual(LipschitzMLP([D, 16, D]), D, **options).eval()


def _spline_coupling(D: int, context_size: int = 0, **options) -> SplitCoupling:
    spline = RationalQuadraticSpline(bins=5)
    net = _net(D // 2 + context_size, spline.size * (D - D // 2))
    return SplitCoupling(net, D, elementwise=spline, context_size=context_size, **options)


def _continuous(D: int, context_size: int = 0, **options) -> Continuous:
    velocity = VelocityNet(D, (16,), context_size=context_size, zero_last=False)
    return Continuous(velocity, D, context_size=context_size, **options)


def _real_nvp(D: int) -> Flow:
    return real_nvp(D, 3, hidden=(16,), zero_last=False, permute=True, base=MixtureOfGaussians(D, 2))


def _conv(channels: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, outputs, 3, padding=1))


def _image_coupling(mask: Tensor, **kwargs) -> ImageCoupling:
    C = len(mask)
    return ImageCoupling(_conv(C, 2 * C), mask, **kwargs)


def _initialized(layer: nn.Module) -> nn.Module:
    """The layer after the first batch, which sets the actnorms in it."""
    layer.inverse(
        torch.linspace(-1, 3, 5).reshape(-1, *[1] * len(layer.event_shape))
        + torch.rand(5, *layer.event_shape)
    )
    return layer


LAYERS: dict[str, Row] = {
    "Permutation": Row(lambda D: Permutation(torch.arange(D).roll(1)), (2, 3, 4)),
    "Affine": Row(lambda D: Affine(torch.arange(D) - 0.5, torch.linspace(-2.0, 0.3, D)), (2, 3, 4)),
    "Rescaling": Row(Rescaling, (1, 2, 5)),
    "AdditiveCouplingLayer": Row(lambda D: AdditiveCouplingLayer(_net(D, D), _mask(D)), (2, 3, 4)),
    "AffineCoupling": Row(lambda D: AffineCoupling(_net(D, 2 * D), _mask(D)), (2, 3, 4)),
    "AffineCoupling, bounded": Row(lambda D: AffineCoupling(_net(D, 2 * D), _mask(D), 0.3), (2, 5)),
    "MaskedCouplingLayer": Row(lambda D: MaskedCouplingLayer(_net(D, D), _net(D, D), _mask(D)), (2, 3, 4)),
    "SplitCoupling": Row(lambda D: SplitCoupling(_net(D // 2, 2 * (D - D // 2)), D), (2, 3, 4)),
    "SplitCoupling, flipped and bounded": Row(
        lambda D: SplitCoupling(_net(D // 2, 2 * (D - D // 2)), D, flip=True, log_scale_bound=0.5), (2, 3, 4)
    ),
    "AffineCoupling, conditional": Row(
        lambda D: AffineCoupling(_net(D + 3, 2 * D), _mask(D), context_size=3), (2, 3), context=3
    ),
    "SplitCoupling, conditional": Row(
        lambda D: SplitCoupling(_net(D // 2 + 2, 2 * (D - D // 2)), D, context_size=2), (2, 3), context=2
    ),
    "MaskedAutoregressive": Row(lambda D: MaskedAutoregressive(_made(D), AffineElementwise(1.0)), (2, 3, 4)),
    "MaskedAutoregressive, reversed and conditional": Row(
        lambda D: MaskedAutoregressive(_made(D, degrees=range(D, 0, -1), context_size=2)), (2, 3), context=2
    ),
    "InverseAutoregressive": Row(
        lambda D: InverseAutoregressive(_made(D), AffineElementwise(1.0)), (2, 3, 4)
    ),
    "InverseAutoregressive, conditional": Row(
        lambda D: InverseAutoregressive(_made(D, context_size=3)), (1, 2, 4), context=3
    ),
    "SplineLayer": Row(lambda D: SplineLayer(D, bins=5), (1, 2, 3)),
    "SplitCoupling, spline": Row(_spline_coupling, (2, 3, 4)),
    "SplitCoupling, spline, flipped and conditional": Row(
        lambda D: _spline_coupling(D, context_size=2, flip=True), (2, 3), context=2
    ),
    # Both ways and the log-determinant are right up to the solver's error.
    "Continuous": Row(
        lambda D: _continuous(D, solver=FixedStep(20)), (1, 3, 4), inverse="iterative", tolerance=1e-6
    ),
    "Continuous, conditional": Row(
        lambda D: _continuous(D, context_size=2, solver=FixedStep(10, "dopri5")),
        (1, 3, 4),
        inverse="iterative",
        tolerance=1e-5,
        context=2,
    ),
    "Continuous, Hutchinson's trace": Row(
        lambda D: _continuous(D, trace="hutchinson"),
        (2, 3),
        inverse="iterative",
        tolerance=1e-5,
        log_det="estimated",
        vmap=False,
    ),
    "Flow": Row(_real_nvp, (2, 3, 4)),
    "Composition, conditional": Row(
        lambda D: Composition(
            [Rescaling(D), AffineCoupling(_net(D + 2, 2 * D), _mask(D), context_size=2)],
        ),
        (2, 3),
        context=2,
    ),
    "PLULinear": Row(PLULinear, (2, 3, 5)),
    "OrthogonalLinear": Row(OrthogonalLinear, (2, 3, 5)),
    "Residual": Row(_residual, (1, 2, 3), inverse="iterative", vmap=False),
    "Residual, inverse is residual": Row(
        lambda D: _residual(D, inverse_is_residual=True), (2, 3), inverse="iterative", vmap=False
    ),
    "Residual, series": Row(
        lambda D: _residual(D, log_det="series"), (2, 3), inverse="iterative", log_det="estimated", vmap=False
    ),
    "Residual, roulette": Row(
        lambda D: _residual(D, log_det="roulette", terms=2),
        (2, 3),
        inverse="iterative",
        log_det="estimated",
        vmap=False,
    ),
    # Not D = 2: the grid of the test of mass is too coarse for its steps; test_histogram.py integrates it exactly.
    "HistogramMarginals": Row(
        lambda D: HistogramMarginals(0.2 + torch.rand(20, D, dtype=torch.float64), -6.0, 6.0),
        (1, 3, 4),
        tolerance=1e-8,
    ),
    "Flatten": Row(lambda C: Flatten((C, 2, 2)), (1, 2, 3)),
    "Reshape": Row(lambda C: Reshape((C, 2, 2)), (1, 2, 3)),
    "Affine, images": Row(lambda C: Affine(torch.rand(C, 1, 2), torch.rand(C, 1, 2) - 2), (1, 2, 3)),
    "ImageCoupling, checkerboard": Row(lambda C: _image_coupling(checkerboard_mask((C, 2, 3))), (1, 2, 3)),
    "ImageCoupling, channels, bounded": Row(
        lambda C: _image_coupling(channel_mask((C, 2, 2), flip=True), log_scale_bound=0.5), (2, 3)
    ),
    "Squeeze": Row(lambda C: Squeeze((C, 2, 4)), (1, 2, 3)),
    "MultiScale": Row(
        lambda C: MultiScale([_image_coupling(channel_mask((2 * C, 1, 1))), Squeeze((C, 2, 2))]), (1, 2, 3)
    ),
    "ActNorm": Row(lambda C: _initialized(ActNorm((C, 1, 2))), (1, 2, 3)),
    "ActNorm, vectors": Row(lambda D: _initialized(ActNorm(D)), (1, 2, 3)),
    "InvertibleConv1x1": Row(lambda C: InvertibleConv1x1((C, 1, 2)), (2, 3, 4)),
    "Planar": Row(Planar, (1, 2, 3, 4), inverse="iterative", vmap=False),
    "Planar, conditional": Row(
        lambda D: Planar(D, _net(3, 2 * D + 1), context_size=3),
        (2, 3, 4),
        inverse="iterative",
        vmap=False,
        context=3,
    ),
}


def cases() -> list[tuple[str, int]]:
    """Every (name, size) of the table."""
    return [(name, size) for name, row in LAYERS.items() for size in row.sizes]


class OnVectors(nn.Module):
    """A layer as a map between vectors `(*batch, D)`: images are flattened, a context is held fixed.

    So one set of tests serves all layers. Where nothing is to be adapted it only hands on.
    """

    def __init__(self, layer: nn.Module, context: Tensor | None) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("context", context)
        self.base_shape, self.event_shape = layer.base_shape, layer.event_shape
        self.D = math.prod(layer.base_shape)

    def _apply_to(self, method: str, v: Tensor, before: tuple, after: tuple) -> tuple[Tensor, Tensor]:
        context = () if self.context is None else (self.context.to(v.dtype),)
        y, log_det = getattr(self.layer, method)(v.reshape(*v.shape[:-1], *before), *context)
        return y.reshape(*y.shape[: y.ndim - len(after)], self.D), log_det

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self._apply_to("forward", u, self.base_shape, self.event_shape)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._apply_to("inverse", x, self.event_shape, self.base_shape)


def build(name: str, size: int, *, seed: int = 0, noise: float = 0.5) -> nn.Module:
    """The layer of a row in float64, parameters random: an identity passes too many wrong formulas."""
    torch.manual_seed(seed)
    layer = LAYERS[name].make(size)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return layer.double()


def on_vectors(name: str, size: int, *, seed: int = 0, noise: float = 0.5) -> OnVectors:
    """`build`, as a map between vectors of length `.D`; a conditional layer at one random context."""
    layer = build(name, size, seed=seed, noise=noise)
    n = LAYERS[name].context
    generator = torch.Generator().manual_seed(7)
    return OnVectors(layer, torch.randn(n, generator=generator, dtype=torch.float64) if n else None)
