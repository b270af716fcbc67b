"""One table of every layer: `test_layers.py` runs over its rows, and a layer missing from it fails a test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from flowlib import (
    AdditiveCouplingLayer,
    Affine,
    AffineCoupling,
    Flow,
    MaskedCouplingLayer,
    MixtureOfGaussians,
    Permutation,
    Rescaling,
    SplitCoupling,
    alternating_masks,
    mlp,
    real_nvp,
)


@dataclass(frozen=True)
class Row:
    """A layer and what may be asked of it."""

    make: Callable[[int], nn.Module]  # D → layer
    sizes: tuple[int, ...]  # the D to test with: even, odd
    inverse: Literal["exact", "iterative", "none"] = "exact"
    tolerance: float = 1e-9  # of the round trips, relative to 1 + |value|
    log_det: Literal["exact", "estimated"] = "exact"
    vmap: bool = True


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
    "Flow": Row(_real_nvp, (2, 3, 4)),
}


def cases() -> list[tuple[str, int]]:
    """Every (name, D) of the table."""
    return [(name, D) for name, row in LAYERS.items() for D in row.sizes]


def build(name: str, D: int, *, seed: int = 0, noise: float = 0.5) -> nn.Module:
    """The layer of a row in float64, parameters random: an identity passes too many wrong formulas."""
    torch.manual_seed(seed)
    layer = LAYERS[name].make(D)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return layer.double()
