"""The planar layer at its limits, posteriors made by flows, and the energies to fit them to."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

import flowlib
from flowlib import ENERGIES, Composition, FlowEncoder, FlowPosterior, InversionError, Planar
from flowlib.planar import constrained
from flowlib.transform import Transform
from flowlib.verify import mass_2d, on_arrays


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planar(v: Tensor, w: Tensor, b: float = 0.3) -> Planar:
    """The layer with given parameters."""
    layer = Planar(len(w)).to(w.dtype)
    with torch.no_grad():
        layer.v.copy_(v)
        layer.w.copy_(w)
        layer.b.fill_(b)
    return layer


def test_a_new_layer_is_the_identity():
    u = numbers(5, 3)
    x, log_det = Planar(3).double().forward(u)
    torch.testing.assert_close(x, u, rtol=0, atol=1e-6)
    torch.testing.assert_close(log_det, torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("product", [-1e4, -50.0, -5.0, 0.0, 5.0, 1e4])
def test_constraint_is_strict_and_touches_v_along_w_alone(product, dtype):
    w = torch.tensor([0.6, 0.8, 0.0], dtype=dtype)
    across = torch.tensor([0.8, -0.6, 2.0], dtype=dtype)
    v_hat, gain = constrained(product * w + across, w)
    assert gain > 0
    softplus = torch.logaddexp(torch.tensor(product).double(), torch.tensor(0.0).double()).to(dtype)
    tolerance = torch.finfo(dtype).eps * (1 + abs(product)) * 4
    torch.testing.assert_close(gain, softplus, rtol=0, atol=tolerance)
    torch.testing.assert_close((w * v_hat).sum(), softplus - 1, rtol=0, atol=tolerance)
    torch.testing.assert_close(v_hat - (w * v_hat).sum() * w, across, rtol=0, atol=tolerance)


def test_without_a_direction_the_layer_translates():
    layer, u = planar(torch.tensor([1.0, -2.0]), torch.zeros(2)), torch.randn(4, 2)
    x, log_det = layer.forward(u)
    torch.testing.assert_close(x, u + torch.tensor([1.0, -2.0]) * math.tanh(0.3))
    assert torch.equal(log_det, torch.zeros(4))
    torch.testing.assert_close(layer.inverse(x)[0], u)
    (x.sum() + log_det.sum()).backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("product", [-30.0, -8.0, -1.0, 0.5, 8.0, 300.0, 1e4])
def test_inverse_near_the_limit_and_far_away(product):
    w = torch.tensor([1.0, 0.0], dtype=torch.float64)
    layer = planar(product * w, w)
    along = torch.cat([torch.linspace(-60, 60, 2001), torch.linspace(-0.301, -0.299, 501)]).double()
    u = torch.stack([along, numbers(len(along))], -1)
    x, log_det = layer.forward(u)
    back, back_log_det = layer.inverse(x)
    # Rounding of x is amplified by the reciprocal of the slope; where that is tiny, the map is a cubic.
    error = 1e-14 * (1 + x.abs().amax(-1)) * (-log_det).exp()
    allowed = torch.minimum(error, torch.full_like(error, 1e-4)) + 1e-9
    assert ((back - u).abs().amax(-1) <= allowed).all()
    torch.testing.assert_close(layer.forward(back)[0], x, rtol=1e-9, atol=1e-12)
    assert log_det.isfinite().all()
    assert back_log_det.isfinite().all()


@pytest.mark.parametrize("product", [-3.0, 4.0])
def test_gradients_of_the_inverse_are_right(product):
    w = numbers(3)
    v = numbers(3, seed=1)
    v = v + (product - w @ v) * w / (w @ w)
    names, layer = ("v", "w", "b"), planar(v, w)

    def inverse(x: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(_Inverse(layer), {f"layer.{k}": p for k, p in given.items()}, x)

    leaves = [numbers(4, 3, seed=2), v, w, torch.tensor(0.3, dtype=torch.float64)]
    assert torch.autograd.gradcheck(inverse, [leaf.clone().requires_grad_() for leaf in leaves])


class _Inverse(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(x)


def test_forward_can_be_vmapped():
    layer, u = Planar(3).double(), numbers(5, 3)
    for got, expected in zip(torch.func.vmap(layer.forward)(u), layer.forward(u), strict=True):
        torch.testing.assert_close(got, expected)


def test_an_inverse_that_does_not_converge_says_so():
    layer = Planar(2)
    with pytest.raises(InversionError, match="after 200 iterations, got inf"):
        layer.inverse(torch.tensor([[math.nan, 0.0]]))
    hasty = Planar(2, max_iterations=1)
    with torch.no_grad():
        hasty.v.copy_(5 * hasty.w)
    with pytest.raises(InversionError, match="after 1 iterations"):
        hasty.inverse(torch.randn(10, 2))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="D must be a positive integer, got 0"):
        Planar(0)
    with pytest.raises(ValueError, match="got a conditioner and context_size 0"):
        Planar(2, nn.Linear(3, 5))
    with pytest.raises(ValueError, match="got no conditioner and context_size 3"):
        Planar(2, context_size=3)
    with pytest.raises(ValueError, match=r"conditioner: expected an output of shape \(7, 5\), got \(7, 4\)"):
        Planar(2, nn.Linear(3, 4), context_size=3).forward(torch.zeros(7, 2), torch.zeros(7, 3))


# --- posteriors ---


class Triangular(Transform):
    """z = shift + L u, with a forward direction alone."""

    def __init__(self, shift: Tensor, L: Tensor) -> None:
        super().__init__(len(shift))
        self.shift, self.L = shift, L

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.shift + u @ self.L.T, self.L.diagonal().log().sum().expand(u.shape[:-1])


def flow_encoder(K: int = 3, M: int = 2, C: int = 4) -> FlowEncoder:
    torch.manual_seed(0)
    layers = [Planar(M, nn.Linear(C, 2 * M + 1), context_size=C) for _ in range(K)]
    return FlowEncoder(flowlib.mlp([5, 16, 2 * M + C * (K > 0)], activation=nn.Tanh), layers).double()


def test_density_of_own_draws_agrees_with_the_inverse():
    q = flow_encoder()(numbers(6, 5))
    assert (q.batch_shape, q.event_shape) == ((6,), (2,))
    for z in (q.rsample((7,)), q.rsample()):
        assert z.shape[-2:] == (6, 2)
        assert z.requires_grad
    assert not q.sample((3,)).requires_grad
    z = q.rsample((7,))
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.clone()))


def test_own_draws_need_no_inverse_and_other_points_do():
    q = FlowPosterior(
        MultivariateNormal(torch.zeros(4, 2), torch.eye(2)), Triangular(torch.ones(2), torch.eye(2))
    )
    z = q.rsample((3,))
    assert q.log_prob(z).shape == (3, 4)
    with pytest.raises(NotImplementedError, match="_inverse"):
        q.log_prob(z.clone())


def test_what_was_kept_is_not_used_for_changed_draws_or_missing_gradients():
    encoder, x = flow_encoder(), numbers(6, 5)
    q = encoder(x)
    with torch.no_grad():
        z = q.rsample((3,))
        kept = q.log_prob(z)
    again = q.log_prob(z)  # now with gradient, which the draw did not record
    torch.testing.assert_close(again, kept)
    assert again.requires_grad
    with torch.no_grad():
        z = q.rsample((3,))
        before = q.log_prob(z).clone()
        z += 1
        assert not torch.allclose(q.log_prob(z), before)


def test_every_example_has_a_flow_of_its_own_with_mass_one():
    encoder = flow_encoder()
    with torch.no_grad():
        for p in encoder.parameters():
            p.mul_(1.5)
    for x in numbers(2, 5):
        q = encoder(x)
        assert mass_2d(on_arrays(q.log_prob), (-12, 12, -12, 12), n=300) == pytest.approx(1, abs=1e-3)
    one, other = (encoder(x).log_prob(torch.zeros(2, dtype=torch.float64)) for x in numbers(2, 5))
    assert one != other


def test_one_point_is_broadcast_against_the_batch():
    q, z = flow_encoder()(numbers(6, 5)), numbers(3, 1, 2)
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.expand(3, 6, 2).clone()))


def test_without_layers_the_encoder_is_gaussian():
    encoder, x = flow_encoder(K=0), numbers(6, 5)
    q, z = encoder(x), numbers(6, 2)
    mean, log_std = encoder.net(x).chunk(2, -1)
    torch.testing.assert_close(q.log_prob(z), Independent(Normal(mean, log_std.exp()), 1).log_prob(z))


def test_gradients_reach_the_net_and_all_layers():
    encoder = flow_encoder()
    q = encoder(numbers(6, 5))
    z = q.rsample()
    (q.log_prob(z).sum() + (z**2).sum()).backward()
    for name, p in encoder.named_parameters():
        assert p.grad.abs().max() > 0, name


def test_gradient_of_the_kept_log_density_is_that_by_the_inverse():
    x, gradients = numbers(6, 5), []
    for through_inverse in (False, True):
        encoder = flow_encoder()
        q = encoder(x)
        torch.manual_seed(1)
        z = q.rsample()
        q.log_prob(z.clone() if through_inverse else z).sum().backward()
        gradients.append([p.grad for p in encoder.parameters()])
    for kept, inverted in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, inverted)


def test_elbo_of_the_exact_posterior_is_the_evidence():
    """Linear-Gaussian model; the flow makes the exact posterior out of N(0, I), by its forward direction alone."""
    W, c, sigma = numbers(3, 2), numbers(3, seed=1), 0.5
    S = torch.linalg.inv(torch.eye(2).double() + W.T @ W / sigma**2)
    evidence = MultivariateNormal(c, W @ W.T + sigma**2 * torch.eye(3).double())
    x = numbers(1, 3, seed=2)
    posterior = Triangular(((x - c) @ W @ S / sigma**2)[0], torch.linalg.cholesky(S))

    def encoder(x: Tensor) -> FlowPosterior:
        return FlowPosterior(Independent(Normal(torch.zeros(1, 2).double(), 1.0), 1), posterior)

    def decoder(z: Tensor) -> Independent:
        return Independent(Normal(z @ W.T + c, sigma), 1)

    prior = flowlib.GaussianPrior(2).double()
    expected = evidence.log_prob(x)
    torch.testing.assert_close(flowlib.elbo(x, prior, decoder, encoder, 3), expected, rtol=1e-12, atol=0)
    iwae = flowlib.importance_weighted_log_likelihood(x, prior, decoder, encoder, 120)
    torch.testing.assert_close(iwae, expected, rtol=1e-12, atol=0)


def test_a_net_of_another_width_is_named():
    encoder = FlowEncoder(nn.Linear(5, 7), [Planar(2, nn.Linear(4, 5), context_size=4)])
    with pytest.raises(ValueError, match=r"expected an output width of 8 .*, got 7"):
        encoder(torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"expected an output width of 2M \+ 0 .*, got 3"):
        FlowEncoder(nn.Linear(5, 3), [])(torch.zeros(1, 5))


# --- energies ---


@pytest.mark.parametrize("name", list(ENERGIES))
def test_energies_are_normalized_and_end_inside_their_extent(name):
    energy = ENERGIES[name]
    wider = tuple(1.3 * end for end in energy.extent)
    assert mass_2d(on_arrays(energy.log_prob), wider, n=500) == pytest.approx(1, abs=1e-4)
    z = numbers(4, 3, 2).requires_grad_()
    assert energy(z).shape == (4, 3)
    (gradient,) = torch.autograd.grad(energy(z).sum() + energy(torch.zeros(2, dtype=torch.float64)), z)
    assert gradient.isfinite().all()
    with pytest.raises(ValueError, match=rf"{name}: expected a tensor of shape \(\*batch, 2\), got \(4, 3\)"):
        energy(torch.zeros(4, 3))


def test_first_energy_is_two_crescents_on_a_ring():
    log_prob = ENERGIES["U1"].log_prob
    on_ring, between, center = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    assert log_prob(on_ring) == pytest.approx(float(log_prob(-on_ring)))
    assert log_prob(on_ring) > log_prob(between) + 4
    assert log_prob(between) > log_prob(center) + 4


def test_planar_flows_compose_and_fit_in_a_flow():
    flow = flowlib.Flow(flowlib.StandardNormal(2), [Planar(2), Planar(2)]).double()
    assert isinstance(flow, Composition)
    x = flow.sample((5,))
    assert flow.log_prob(x).shape == (5,)
