"""Affine couplings: normflows' masked layer, nflows' split layer, zuko's coupling."""

import pytest
import torch
from torch import Tensor, nn

import flowlib
from flowlib import AffineCoupling, Flow, MaskedCouplingLayer, Permutation, StandardNormal, alternating_masks

from .conftest import net, normal_log_prob, points, same, same_map

D = 5


def test_the_masked_layer_is_that_of_normflows():
    """Same direction, same mask (1 = kept), same formula."""
    flows = pytest.importorskip("normflows").flows
    mask, scale, shift = alternating_masks(D, 1)[0], net(D, D), net(D, D)
    ours, theirs = MaskedCouplingLayer(scale, shift, mask), flows.MaskedAffineFlow(mask, shift, scale)
    same_map(ours.forward, theirs.forward, points(7, D))
    same_map(ours.inverse, theirs.inverse, points(7, D))


def test_a_flow_of_masked_layers_has_normflows_density():
    normflows = pytest.importorskip("normflows")
    masks = alternating_masks(D, 4)
    nets = [(net(D, D), net(D, D)) for _ in masks]
    ours = Flow(
        StandardNormal(D), [MaskedCouplingLayer(s, t, b) for (s, t), b in zip(nets, masks, strict=True)]
    )
    theirs = normflows.NormalizingFlow(
        normflows.distributions.DiagGaussian(D, trainable=False),
        [normflows.flows.MaskedAffineFlow(b, t, s) for (s, t), b in zip(nets, masks, strict=True)],
    )
    x = points(50, D)
    same(ours.log_prob(x), theirs.log_prob(x))


class _AsNflows(nn.Module):
    """A conditioner for nflows: shift first, then v with scale = sigmoid(v + 2) + 0.001."""

    def __init__(self, conditioner: nn.Module, kept: Tensor, moved: Tensor) -> None:
        super().__init__()
        self.conditioner, self.kept, self.moved = conditioner, kept, moved

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        whole = inputs.new_zeros(len(inputs), D).index_copy(1, self.kept, inputs)
        s, t = self.conditioner(whole).chunk(2, -1)
        # Their layer goes from data to base: scale by exp(−s), shift by −t exp(−s).
        v = torch.logit((-s).exp() - 1e-3) - 2
        return torch.cat([-t * (-s).exp(), v], -1)[:, torch.cat([self.moved, D + self.moved])]


class _Small(nn.Module):
    """Log-scales in (0.1, 1.1): nflows' scale, here exp(−s), cannot exceed 1.001."""

    def __init__(self) -> None:
        super().__init__()
        self.net = net(D, 2 * D)

    def forward(self, kept: Tensor) -> Tensor:
        s, t = self.net(kept).chunk(2, -1)
        return torch.cat([0.1 + s.sigmoid(), t], -1)


def test_the_coupling_of_nflows_runs_the_other_way():
    """nflows' forward is our inverse, and its mask says 1 = moved."""
    coupling = pytest.importorskip("nflows.transforms.coupling")
    mask = alternating_masks(D, 1)[0]
    conditioner = _Small()
    kept, moved = (torch.nonzero(mask == value).flatten() for value in (1, 0))
    theirs = coupling.AffineCouplingTransform(1 - mask, lambda *sizes: _AsNflows(conditioner, kept, moved))
    ours = AffineCoupling(conditioner, mask)
    same_map(ours.inverse, theirs.forward, points(7, D))
    same_map(ours.forward, theirs.inverse, points(7, D))


def test_the_additive_coupling_of_nflows():
    coupling = pytest.importorskip("nflows.transforms.coupling")
    mask, shift = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0]), net(D, D)

    class Shift(nn.Module):
        def forward(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
            return -shift(torch.cat([inputs, inputs.new_zeros(len(inputs), 3)], -1))[:, 2:]

    theirs = coupling.AdditiveCouplingTransform(1 - mask, lambda *sizes: Shift())
    same_map(flowlib.AdditiveCouplingLayer(shift, mask).inverse, theirs.forward, points(7, D))


def test_a_coupling_of_zuko():
    """zuko's transforms map data to base; the conditioner's parameters are the map's, variable by variable."""
    transforms = pytest.importorskip("zuko.transforms")
    distributions = pytest.importorskip("zuko.distributions")
    mask = alternating_masks(D, 1)[0]
    ours = AffineCoupling(_Small(), mask)

    class Inverse(transforms.Transform):
        """u = (x − t) exp(−s), elementwise."""

        domain = codomain = torch.distributions.constraints.real
        bijective = True

        def __init__(self, s: Tensor, t: Tensor) -> None:
            super().__init__()
            self.s, self.t = s, t

        def _call(self, x: Tensor) -> Tensor:
            return (x - self.t) * (-self.s).exp()

        def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
            return -self.s

    def meta(kept: Tensor) -> torch.distributions.Transform:
        whole = kept.new_zeros(*kept.shape[:-1], D)
        whole[..., mask.bool()] = kept
        s, t = (v[..., ~mask.bool()] for v in ours.conditioner(whole).chunk(2, -1))
        return transforms.DependentTransform(Inverse(s, t), 1)

    theirs = transforms.CouplingTransform(meta, mask.bool())
    base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(D), torch.ones(D)), 1)
    x = points(50, D)
    same(Flow(StandardNormal(D), [ours]).log_prob(x), distributions.NormalizingFlow(theirs, base).log_prob(x))


def test_a_permutation_of_nflows():
    permutations = pytest.importorskip("nflows.transforms.permutations")
    order = torch.tensor([2, 0, 1])
    same_map(Permutation(order).forward, permutations.Permutation(order).forward, points(7, 3))


def test_the_base_is_the_one_all_use():
    nflows = pytest.importorskip("nflows.distributions.normal")
    u = points(7, D)
    same(normal_log_prob(u), nflows.StandardNormal([D]).log_prob(u))
