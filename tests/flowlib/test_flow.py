"""`Flow`, the bases and the priors."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from flowlib import (
    Affine,
    DiagonalNormal,
    Flow,
    FlowPrior,
    GaussianPrior,
    MixtureOfGaussians,
    MixtureOfGaussiansPrior,
    Permutation,
    Rescaling,
    StandardNormal,
    real_nvp,
)
from flowlib.verify import mass_2d
from tests.flowlib.layer_table import build


def flow_in_float64(D: int = 2) -> Flow:
    torch.manual_seed(0)
    flow = real_nvp(D, 4, hidden=(16,), zero_last=False, log_scale_bound=0.5)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return flow.double()


class PlainLayer(nn.Module):
    """A student's layer: an nn.Module with the two methods and no base class of ours."""

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * u, u.new_full(u.shape[:-1], u.shape[-1] * math.log(2))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x / 2, x.new_full(x.shape[:-1], -x.shape[-1] * math.log(2))


def test_a_flow_of_linear_layers_is_the_normal_it_should_be():
    # x = permute(exp(a) ⊙ u) is normal with the permuted scales: an exact answer.
    scale = Rescaling(3).double()
    with torch.no_grad():
        scale.log_scale.copy_(torch.tensor([0.5, -1.0, 2.0]))
    flow = Flow(StandardNormal(3).double(), [scale, Permutation([2, 0, 1])])
    expected = Normal(0.0, torch.tensor([2.0, 0.5, -1.0], dtype=torch.float64).exp())
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(x), expected.log_prob(x).sum(-1), rtol=1e-12, atol=1e-12)


def test_layers_are_applied_in_list_order_from_base_to_data():
    swap, scale = Permutation([1, 0]), Affine(torch.zeros(2), torch.tensor([2.0, 1.0]))
    u = torch.tensor([[1.0, 10.0]])
    assert Flow(StandardNormal(2), [swap, scale]).forward(u)[0].tolist() == [[20.0, 1.0]]
    assert Flow(StandardNormal(2), [scale, swap]).forward(u)[0].tolist() == [[10.0, 2.0]]


def test_density_of_samples_agrees_with_log_prob_without_an_inverse(monkeypatch):
    flow = flow_in_float64()
    torch.manual_seed(0)
    x, log_p = flow.sample_with_log_prob((3, 5))
    assert x.shape == (3, 5, 2)
    assert not x.requires_grad
    torch.testing.assert_close(log_p, flow.log_prob(x), rtol=1e-10, atol=1e-10)
    monkeypatch.setattr(flow, "inverse", lambda x: pytest.fail("an inverse was computed"))
    flow.sample_with_log_prob((2,))


def test_gradients_of_samples():
    flow = flow_in_float64()
    assert not flow.sample((4,)).requires_grad
    assert flow.rsample((4,)).requires_grad
    x, log_p = flow.sample_with_log_prob((4,), reparameterized=True)
    assert x.requires_grad
    log_p.sum().backward()
    assert all(p.grad is not None for p in flow.parameters())


def test_sample_shapes():
    flow = flow_in_float64(3)
    for shape in ((), (4,), (2, 5)):
        assert flow.sample(shape).shape == (*shape, 3)
        assert flow.rsample(shape).shape == (*shape, 3)
        assert flow.sample_with_log_prob(shape)[1].shape == shape
    assert flow.sample().shape == (3,)


def test_samples_follow_the_density():
    # A log_prob that ran `forward` instead of `inverse` would still have mass 1: only samples tell. The mean
    # of log_prob over samples is minus the entropy, which the grid knows too.
    flow = flow_in_float64()
    torch.manual_seed(0)
    with torch.no_grad():
        log_p = flow.log_prob(flow.sample((20_000,)))
        grid = torch.cartesian_prod(*(torch.linspace(-12, 12, 600, dtype=torch.float64),) * 2)
        on_grid = flow.log_prob(grid)
    minus_entropy = float((on_grid.exp() * on_grid).sum() * (24 / 599) ** 2)
    tolerance = 5 * float(log_p.std()) / 20_000**0.5
    assert float(log_p.mean()) == pytest.approx(minus_entropy, abs=tolerance)
    with torch.no_grad():  # and the mistake is seen
        u, log_det = flow.forward(flow.sample((20_000,)))
        wrong = flow.base().log_prob(u) + log_det
    assert float(wrong.mean()) != pytest.approx(minus_entropy, abs=tolerance)


def test_mass_is_one():
    assert mass_2d(flow_in_float64().log_prob, (-12, 12, -12, 12)) == pytest.approx(1, abs=1e-4)


def test_an_empty_flow_is_its_base():
    base, x = DiagonalNormal(2), torch.randn(3, 2)
    torch.testing.assert_close(Flow(base, []).log_prob(x), base().log_prob(x))


def test_plain_modules_are_layers_too():
    flow = Flow(StandardNormal(2), [PlainLayer()])
    x = torch.randn(4, 2)
    torch.testing.assert_close(flow.log_prob(x), Normal(0.0, 2.0).log_prob(x).sum(-1))


def test_vmap_of_log_prob():
    flow, x = flow_in_float64(), torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(flow.log_prob)(x), flow.log_prob(x))
    mixture = Flow(MixtureOfGaussians(2, 3).double(), flow.transformations)
    torch.testing.assert_close(torch.func.vmap(mixture.log_prob)(x), mixture.log_prob(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Flow(StandardNormal(2), [nn.Identity()]), TypeError, "transformation 0: .* got Identity"),
        (
            lambda: Flow(StandardNormal(2), [Rescaling(3)]),
            ValueError,
            r"transformation 0 \(Rescaling\) takes shape \(3,\), got \(2,\)",
        ),
        (
            lambda: Flow(StandardNormal(2), []).log_prob(torch.ones(4, 1)),
            ValueError,
            r"\(\*batch, 2\), got \(4, 1\)",
        ),
        (
            lambda: Flow(lambda: Normal(torch.zeros(2), 1.0), []),
            ValueError,
            "event shape",
        ),
        (lambda: StandardNormal(0), ValueError, "D must be a positive integer"),
        (lambda: StandardNormal(2.0), ValueError, "positive integer, got 2.0"),
        (lambda: MixtureOfGaussians(2, 0), ValueError, "K must be"),
        (lambda: MixtureOfGaussians.from_components(torch.ones(3), 1.0), ValueError, r"\(K, D\), got \(3,\)"),
        (lambda: MixtureOfGaussians.from_components(torch.ones(3, 2), 0.0), ValueError, "positive"),
        (lambda: Affine(torch.zeros(2), torch.tensor([1.0, 0.0])), ValueError, "nowhere 0"),
        (lambda: Affine(torch.zeros(2), torch.ones(3)), ValueError, r"\(2,\), \(3,\)"),
        (lambda: Affine.from_data(torch.ones(2)), ValueError, r"\(N, D\)"),
        (lambda: real_nvp(1, 4), ValueError, "at least 2, got 1"),
        (lambda: real_nvp(2, 0), ValueError, "num_layers must be"),
    ],
)
def test_errors_name_what_is_wrong(make, error, message):
    with pytest.raises(error, match=message):
        make()


BASES = {
    "StandardNormal": lambda: StandardNormal(3),
    "DiagonalNormal": lambda: DiagonalNormal(3),
    "MixtureOfGaussians": lambda: MixtureOfGaussians(3, 4),
    "from_components": lambda: MixtureOfGaussians.from_components(
        torch.randn(4, 3), 0.5, torch.arange(1.0, 5.0)
    ),
    "GaussianPrior": lambda: GaussianPrior(3),
    "MixtureOfGaussiansPrior": lambda: MixtureOfGaussiansPrior(3, 4),
    "FlowPrior": lambda: FlowPrior(build("Flow", 3).float()),
    "FlowPrior, normal base": lambda: FlowPrior(real_nvp(3, 2)),
}


@pytest.mark.parametrize("name", BASES)
def test_bases_and_priors_return_distributions_over_the_last_axis(name):
    module = BASES[name]()
    p = module()
    assert isinstance(p, Distribution)
    assert p.event_shape == (3,)
    assert p.batch_shape == ()
    assert p.sample().shape == (3,)
    assert p.sample((2, 5)).shape == (2, 5, 3)
    assert p.log_prob(torch.randn(2, 5, 3)).shape == (2, 5)
    assert repr(p)
    if p.has_rsample:
        assert p.rsample((4,)).shape == (4, 3)
    double = module.double()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert double().log_prob(x).dtype == torch.float64
    assert double().sample().dtype == torch.float64


def test_has_rsample_is_that_of_the_base():
    assert FlowPrior(real_nvp(2, 2))().has_rsample
    assert not FlowPrior(real_nvp(2, 2, base=MixtureOfGaussians(2, 3)))().has_rsample


def test_the_standard_normal_is_torchs():
    """Its density is written out; the rest, and what is expanded to a batch, is `Independent(Normal(0, 1), 1)`."""
    ours = StandardNormal(3).double()()
    theirs = Independent(Normal(torch.zeros(3).double(), 1.0), 1)
    u = 3 * torch.randn(4, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(ours.log_prob(u), theirs.log_prob(u), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    assert kl_divergence(ours, theirs) == 0
    batch = ours.expand((4, 2))
    assert batch.batch_shape == (4, 2)
    torch.testing.assert_close(batch.log_prob(u), theirs.log_prob(u), rtol=1e-14, atol=1e-14)
    # In double precision where the point is, whatever the base is in.
    assert StandardNormal(3)().log_prob(u).dtype == torch.float64


@pytest.mark.parametrize("shape", [(5, 2), (5, 1), ()])
def test_the_standard_normal_knows_its_dimension(shape):
    with pytest.raises(ValueError, match=r"log_prob: expected shape \(\*batch, 3\), got"):
        StandardNormal(3)().log_prob(torch.zeros(shape))


def test_mixture_density_by_hand():
    means, weights = torch.tensor([[-1.0, 0.0], [2.0, 1.0]]), torch.tensor([1.0, 3.0])
    p, x = MixtureOfGaussians.from_components(means, 0.5, weights)(), torch.randn(6, 2)
    components = Normal(means, 0.5).log_prob(x[:, None]).sum(-1).exp()
    torch.testing.assert_close(p.log_prob(x).exp(), components @ (weights / 4))


def test_given_components_are_frozen_unless_asked():
    assert not any(
        p.requires_grad for p in MixtureOfGaussians.from_components(torch.ones(2, 2), 1.0).parameters()
    )
    learnable = MixtureOfGaussians.from_components(torch.ones(2, 2), 1.0, learnable=True)
    assert all(p.requires_grad for p in learnable.parameters())


def test_learnable_parameters_of_bases_get_gradients():
    for base in (DiagonalNormal(2), MixtureOfGaussians(2, 3)):
        Flow(base, [Rescaling(2)]).log_prob(torch.randn(20, 2)).sum().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in base.parameters())


def test_flow_prior_checks_its_argument_and_names_nan():
    prior = FlowPrior(real_nvp(2, 2))
    with pytest.raises(ValueError, match="support"):
        prior().log_prob(torch.full((3, 2), torch.nan))


@pytest.mark.parametrize("D", [2, 5])
def test_real_nvp_moves_every_variable(D):
    flow = real_nvp(D, 2, zero_last=False)
    u = torch.randn(6, D)
    assert (flow.forward(u)[0] != u).any(0).all()


def test_real_nvp_on_data_starts_with_their_mean_and_scale():
    data = torch.tensor([3.0, -1.0]) + torch.tensor([0.1, 5.0]) * torch.randn(500, 2)
    flow = real_nvp(2, 2, data=data)
    u = flow.inverse(data)[0]
    torch.testing.assert_close(u.mean(0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(u.std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_real_nvp_with_permutations_and_dropout_inverts_in_evaluation_mode():
    flow = real_nvp(6, 4, dropout=0.5, permute=True, zero_last=False).eval().double()
    assert sum(isinstance(t, Permutation) for t in flow.transformations) == 3
    u = torch.randn(5, 6, dtype=torch.float64)
    torch.testing.assert_close(flow.inverse(flow.forward(u)[0])[0], u, rtol=1e-10, atol=1e-10)


def test_fresh_distributions_see_changed_parameters():
    base = DiagonalNormal(2)
    before = base().mean.clone()
    with torch.no_grad():
        base.loc.add_(1)
    assert torch.equal(base().mean, before + 1)
