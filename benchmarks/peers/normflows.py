"""normflows' flows as a `PeerFlow`: layers from base to data."""

import normflows as nf
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling
from torch import Tensor, nn

from benchmarks.peers import PeerFlow, Shape
from benchmarks.peers.conditioners import (
    alternating,
    network,
    one_width,
    permuted,
    spline_conditioner,
    spline_options,
    start_made,
)

__all__ = ["BUILDERS", "NormflowsFlow"]


class NormflowsFlow(PeerFlow):
    """A `normflows.NormalizingFlow`: its layers stand from base to data, as here."""

    def __init__(self, shape: Shape, layers: list[nn.Module]) -> None:
        super().__init__(shape)
        self.model = nf.NormalizingFlow(
            nf.distributions.DiagGaussian(shape.base_event, trainable=False), layers
        )

    def _log_prob(self, x: Tensor) -> Tensor:
        return self.model.log_prob(x)

    def _sample(self, n: int) -> Tensor:
        return self.model.sample(n)[0]

    def _to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.inverse_and_log_det(x)

    def _to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.forward_and_log_det(u)


class ResidualFlow(NormflowsFlow):
    """Residual layers, whose weights are brought back below their Lipschitz constant, as the library asks for.

    Its layers switch gradients on, also for their argument itself and where they were switched off: hence the copies.
    """

    def _log_prob(self, x: Tensor) -> Tensor:
        if self.training:
            nf.utils.update_lipschitz(self.model, 5)
        return super()._log_prob(x.clone())

    def _sample(self, n: int) -> Tensor:
        return super()._sample(n).detach()

    def _to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super()._to_base(x.clone())

    def _to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return super()._to_data(u.clone())

    def train(self, mode: bool = True) -> "ResidualFlow":
        if self.training and not mode:
            nf.utils.update_lipschitz(self.model, 50)
        return super().train(mode)


def _affine_coupling(shape: Shape) -> NormflowsFlow:
    larger, smaller = (shape.D + 1) // 2, shape.D // 2  # its halves are those of torch.chunk
    layers = []
    for k in range(shape.layers):
        kept, moved, mode = (smaller, larger, "channel_inv") if k % 2 else (larger, smaller, "channel")
        layers.append(nf.flows.AffineCouplingBlock(network(shape, kept, 2 * moved), split_mode=mode))
    return NormflowsFlow(shape, permuted(shape, layers, nf.flows.Permute))


def _spline_coupling(shape: Shape) -> NormflowsFlow:
    layers = [
        nf.flows.Reverse(
            PiecewiseRationalQuadraticCoupling(
                alternating(shape.D, k),
                spline_conditioner(shape),
                **spline_options(shape),
            )
        )
        for k in range(shape.layers)
    ]
    return NormflowsFlow(shape, permuted(shape, layers, nf.flows.Permute))


class _Flipped(nf.flows.Flow):
    """The variables in reverse order: normflows permutes at random or swaps halves, which need not undo itself."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return z.flip(-1), z.new_zeros(len(z))

    inverse = forward


def _maf(shape: Shape) -> NormflowsFlow:
    layers: list[nn.Module] = []
    for _ in range(shape.layers):
        layer = nf.flows.MaskedAffineAutoregressive(
            shape.D,
            one_width(shape),
            num_blocks=len(shape.hidden) - 1,
            use_residual_blocks=False,
            dropout_probability=shape.dropout,
        )
        if shape.identity_start:
            start_made(layer.autoregressive_net.final_layer, 0.0)
        layers += [nf.flows.Reverse(layer), nf.flows.Permute(shape.D) if shape.permute else _Flipped()]
    return NormflowsFlow(shape, [*layers, nf.flows.ActNorm(shape.D)] if shape.rescale else layers)


def _glow(shape: Shape) -> NormflowsFlow:
    steps = [nf.flows.GlowBlock(4, one_width(shape)) for _ in range(shape.layers)]
    return NormflowsFlow(shape, [*steps, nf.flows.Squeeze()])


def _residual(shape: Shape) -> NormflowsFlow:
    exact = shape.D == 2  # the only dimension for which it has an exact log-determinant
    layers = [
        nf.flows.Residual(
            nf.nets.LipschitzMLP(
                [shape.D, *shape.hidden, shape.D], init_zeros=shape.identity_start, lipschitz_const=0.97
            ),
            reduce_memory=not exact,
            brute_force=exact,
        )
        for _ in range(shape.layers)
    ]
    return ResidualFlow(shape, layers)


BUILDERS = {
    "affine coupling": _affine_coupling,
    "MAF": _maf,
    "spline coupling": _spline_coupling,
    "Glow": _glow,
    "residual": _residual,
}
