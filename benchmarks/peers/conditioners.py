"""The networks inside the layers: the same for every library that lets one bring one's own, and how they start."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.peers import Shape
from flowlib import mlp
from flowlib.image import conv_net

__all__ = [
    "SPLINE_BOUND",
    "Conditioner",
    "alternating",
    "identity_slope",
    "network",
    "one_width",
    "permuted",
    "spline_conditioner",
    "spline_options",
    "start_made",
]

SPLINE_BOUND = 3.0
MIN_SLOPE = 1e-3  # nflows' and normflows' splines: smallest slope at a knot


def network(shape: Shape, inputs: int, outputs: int) -> nn.Sequential:
    """A perceptron of `shape.hidden`, or for Glow convolutions 3×3, 1×1, …, 3×3."""
    make = conv_net if shape.family == "Glow" else mlp
    return make([inputs, *shape.hidden, outputs], zero_last=shape.identity_start, dropout=shape.dropout)


class Conditioner(nn.Module):
    """A network as nflows' couplings and normflows' spline couplings call it: with a context, None here."""

    def __init__(self, shape: Shape, inputs: int, outputs: int) -> None:
        super().__init__()
        self.net = network(shape, inputs, outputs)
        self.hidden_features = shape.hidden[-1]  # their splines divide by its root

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(inputs)


def spline_conditioner(shape: Shape) -> Callable[[int, int], Conditioner]:
    """Makes conditioners whose outputs are for each variable bins widths, bins heights and bins − 1 slopes.

    With `identity_start` the biases make all slopes 1, and with weights 0 the spline is the identity.
    """

    def make(inputs: int, outputs: int) -> Conditioner:
        net = Conditioner(shape, inputs, outputs)
        if shape.identity_start:
            with torch.no_grad():
                slopes = net.net[-1].bias.view(-1, 3 * shape.bins - 1)[:, 2 * shape.bins :]
                slopes.fill_(identity_slope(MIN_SLOPE))
        return net

    return make


def spline_options(shape: Shape) -> dict:
    """What nflows' and normflows' spline couplings are told besides their masks and networks."""
    return {"num_bins": shape.bins, "tails": "linear", "tail_bound": SPLINE_BOUND}


def permuted(
    shape: Shape, layers: list[nn.Module], permutation: Callable[[int], nn.Module]
) -> list[nn.Module]:
    """The layers, with a random permutation between each two of them where that is asked for."""
    if not shape.permute:
        return layers
    return [layers[0], *(m for layer in layers[1:] for m in (permutation(shape.D), layer))]


def alternating(D: int, k: int) -> Tensor:
    """nflows' mask of layer k: positive where a variable is moved, every second one, by turns.

    >>> alternating(4, 0).tolist(), alternating(4, 1).tolist()
    ([-1, 1, -1, 1], [1, -1, 1, -1])
    """
    return torch.where(torch.arange(D) % 2 == k % 2, -1, 1)


def identity_slope(minimum: float) -> float:
    """The v with minimum + softplus(v) = 1.

    >>> round(0.25 + math.log1p(math.exp(identity_slope(0.25))), 12)
    1.0
    """
    return math.log(math.expm1(1 - minimum))


def one_width(shape: Shape) -> int:
    """The width of all hidden layers, where a library has one for all. `ValueError` where they differ."""
    if len(set(shape.hidden)) > 1:
        raise ValueError(f"hidden: expected one width for all layers, got {shape.hidden}")
    return shape.hidden[0]


@torch.no_grad()
def start_made(last: nn.Linear, scale: float) -> None:
    """Weights 0, and for each variable the biases (scale, 0) of what makes its scale and its shift."""
    last.weight.zero_()
    biases = last.bias.view(-1, 2)
    biases[:, 0], biases[:, 1] = scale, 0.0
