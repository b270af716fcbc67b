"""One table of every layer: `test_layers.py` runs over its rows, and a layer missing from it fails a test."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from flowlib import (
    AdditiveCouplingLayer,
    Affine,
    AffineCoupling,
    Composition,
    Flow,
    MaskedCouplingLayer,
    MixtureOfGaussians,
    Permutation,
    Rescaling,
    Reshape,
    SplitCoupling,
    alternating_masks,
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


def _real_nvp(D: int) -> Flow:
    return real_nvp(D, 3, hidden=(16,), zero_last=False, permute=True, base=MixtureOfGaussians(D, 2))


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
    "Flow": Row(_real_nvp, (2, 3, 4)),
    "Composition, conditional": Row(
        lambda D: Composition(
            [Rescaling(D), AffineCoupling(_net(D + 2, 2 * D), _mask(D), context_size=2)],
        ),
        (2, 3),
        context=2,
    ),
    "Reshape": Row(lambda C: Reshape((C, 2, 2)), (1, 2, 3)),
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
