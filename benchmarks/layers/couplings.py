"""Several ways to write an affine coupling, with the weights of a flow written by hand: the same function."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.layers.handwritten import HandWritten, HandWrittenMasked
from benchmarks.peers import PeerFlow, Shape
from benchmarks.peers.flowlib import FlowlibFlow
from flowlib import AffineCoupling, Flow, MaskedCouplingLayer, SplitCoupling, StandardNormal, mlp

__all__ = ["SAME_FUNCTION", "VARIANTS", "by_hand"]


def by_hand(shape: Shape) -> HandWritten:
    """The reference for a shape with two hidden layers of one width and even D and number of layers."""
    width, *others = shape.hidden
    if shape.D % 2 or shape.layers % 2 or others != [width]:
        raise ValueError(
            f"by_hand: expected D and layers even and two hidden layers of one width, got {shape}"
        )
    return HandWritten(shape.D, shape.layers, width)


@torch.no_grad()
def _widened(net: nn.Sequential, kept: Tensor, rows: Tensor, outputs: int, part: slice) -> nn.Sequential:
    """A net of all D variables that looks at those in `kept` `(D/2,)` alone and puts its results where `rows` says.

    It does what the outputs `part` of `net` do; its other outputs are random, for a mask to throw away.
    """
    first, middle, last = net[0], net[2], net[4]
    wide = mlp([2 * len(kept), first.out_features, middle.out_features, outputs])
    wide[0].weight[:, kept] = first.weight
    wide[0].bias.copy_(first.bias)
    wide[2].load_state_dict(middle.state_dict())
    wide[4].weight[rows] = last.weight[part]
    wide[4].bias[rows] = last.bias[part]
    return wide


def _halves(D: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Kept and moved variables of layer k, and its mask: the first half is kept in even layers, as `flip=False` does."""
    kept, moved = torch.arange(D).split(D // 2)[:: -1 if k % 2 else 1]
    return kept, moved, torch.zeros(D).index_fill(0, kept, 1.0)


def _split(net: nn.Sequential, D: int, k: int, bound: float | None = None) -> nn.Module:
    conditioner = mlp([layer.in_features for layer in net[::2]] + [D])
    conditioner.load_state_dict(net.state_dict())
    return SplitCoupling(conditioner, D, flip=k % 2 == 1, log_scale_bound=bound)


def _one_net(net: nn.Sequential, D: int, k: int) -> tuple[nn.Sequential, Tensor]:
    kept, moved, mask = _halves(D, k)
    return _widened(net, kept, torch.cat([moved, D + moved]), 2 * D, slice(D)), mask


def _masked(net: nn.Sequential, D: int, k: int) -> nn.Module:
    return AffineCoupling(*_one_net(net, D, k))


def _two_nets(net: nn.Sequential, D: int, k: int) -> nn.Module:
    kept, moved, mask = _halves(D, k)
    parts = slice(D // 2), slice(D // 2, D)
    return MaskedCouplingLayer(*(_widened(net, kept, moved, D, part) for part in parts), mask)


def _masked_by_hand(hand: HandWritten, shape: Shape) -> HandWrittenMasked:
    nets, masks = zip(*(_one_net(net, shape.D, k) for k, net in enumerate(hand.nets)), strict=True)
    return HandWrittenMasked(list(nets), torch.stack(masks))


def _of(make: Callable[..., nn.Module], **options: float) -> Callable[[HandWritten, Shape], PeerFlow]:
    def build(hand: HandWritten, shape: Shape) -> PeerFlow:
        layers = [make(net, shape.D, k, **options) for k, net in enumerate(hand.nets)]
        return FlowlibFlow(shape, Flow(StandardNormal(shape.D), layers))

    return build


SAME_FUNCTION: dict[str, Callable[[HandWritten, Shape], nn.Module]] = {
    "by hand, masked": _masked_by_hand,
    "flowlib, index split": _of(_split),
    "flowlib, masked, one net": _of(_masked),
    "flowlib, masked, two nets": _of(_two_nets),
}

# Name → builder, given the flow by hand and its shape: the same function, and what a bound costs.
VARIANTS: dict[str, Callable[[HandWritten, Shape], nn.Module]] = {
    **SAME_FUNCTION,
    "flowlib, index split, |s| ≤ 2": _of(_split, bound=2.0),
}
