"""Continuous flows and the diffusion whose score is known: what the layer table does not say."""

import math

import pytest
import torch
from torch import nn

from flowlib import (
    AdaptiveStep,
    Continuous,
    DiffusedMixture,
    FixedStep,
    Flow,
    ProbabilityFlow,
    StandardNormal,
    VariancePreserving,
    VelocityNet,
    batch_jacobian,
    continuous_flow,
    diffusion_elbo,
    fit,
    flow_matching_loss,
    trace_of_jacobian,
)
from flowlib.verify import mass_1d, on_arrays

PRECISE = AdaptiveStep(1e-9, 1e-9)


class Linear(nn.Module):
    """v(z, t) = A z."""

    def __init__(self, A: torch.Tensor) -> None:
        super().__init__()
        self.A = nn.Parameter(A)

    def forward(self, z, t):
        return z @ self.A.T


A = torch.tensor([[0.3, -1.0], [0.8, -0.5]], dtype=torch.float64)


def test_linear_velocity_is_the_matrix_exponential():
    layer = Continuous(Linear(A), 2, solver=FixedStep(40))
    u = torch.randn(5, 2, dtype=torch.float64)
    x, log_det = layer.forward(u)
    torch.testing.assert_close(x, u @ torch.linalg.matrix_exp(A).T, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(log_det, A.trace().expand(5), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.inverse(x)[1], -A.trace().expand(5), rtol=1e-12, atol=1e-12)


def test_trace_is_that_of_the_jacobian_and_hutchinson_averages_to_it():
    torch.manual_seed(0)
    velocity, x = VelocityNet(3, (8,), zero_last=False).double(), torch.randn(4, 3).double()

    def v(x):
        return velocity(x, 0.4)

    J = batch_jacobian(v, x)
    torch.testing.assert_close(trace_of_jacobian(v, x)[1], J.diagonal(dim1=-2, dim2=-1).sum(-1))
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)
    estimates = [trace_of_jacobian(v, x, e.expand(4, 3))[1] for e in signs]
    torch.testing.assert_close(estimates[1], torch.einsum("i,bij,j->b", signs[1], J, signs[1]))
    torch.testing.assert_close(torch.stack(estimates).mean(0), trace_of_jacobian(v, x)[1])


def test_hutchinson_noise_is_new_in_every_call_and_fixed_within():
    torch.manual_seed(0)
    layer = Continuous(
        VelocityNet(3, (8,), zero_last=False), 3, trace="hutchinson", solver=AdaptiveStep(1e-4, 1e-4)
    )
    u = torch.randn(4, 3)
    one, two = (
        layer.forward(u)[1] for _ in range(2)
    )  # noise that changed within a call would never converge
    assert not torch.allclose(one, two)


def test_density_has_mass_one():
    torch.manual_seed(0)
    layer = Continuous(VelocityNet(1, (8,), zero_last=False), 1, solver=FixedStep(8))
    flow = Flow(StandardNormal(1), [layer]).double()
    mass = mass_1d(on_arrays(lambda x: flow.log_prob(x.unsqueeze(-1))), (-9.0, 9.0), n=1000)
    assert mass == pytest.approx(1, abs=1e-5)


def test_gradients_are_those_of_differences():
    layer = Continuous(Linear(A.clone()), 2, solver=FixedStep(10))
    u = torch.ones(1, 2, dtype=torch.float64)

    def value() -> torch.Tensor:
        x, log_det = layer.forward(u)
        return (x**2).sum() + log_det.sum()

    (gradient,) = torch.autograd.grad(value(), layer.velocity.A)
    h = 1e-5
    with torch.no_grad():
        layer.velocity.A[0, 1] += h
        above = value()
        layer.velocity.A[0, 1] -= 2 * h
        below = value()
    assert gradient[0, 1].item() == pytest.approx(((above - below) / (2 * h)).item(), rel=1e-6)


def test_training_raises_the_likelihood():
    torch.manual_seed(0)
    x = torch.randn(500, 2) @ torch.tensor([[1.0, 0.8], [0.0, 0.4]]) + 1
    flow = continuous_flow(2, (16,), solver=FixedStep(4), data=x)
    before = -flow.log_prob(x).mean().item()
    fit(flow, x, steps=60, batch_size=128, lr=2e-2, progress=False)
    assert -flow.log_prob(x).mean().item() < before - 0.3


def test_flow_matching_learns_the_velocity_of_a_gaussian():
    """From N(0, 1) to N(3, 1): E[x − u given z_t] = 3 + (2t − 1)(z − 3t)/((1 − t)² + t²)."""
    torch.manual_seed(0)
    velocity = VelocityNet(1, (32,))
    x = 3 + torch.randn(5000, 1)

    def loss(batch):
        return flow_matching_loss(velocity, batch, torch.randn_like(batch), torch.rand(len(batch), 1))

    fit(velocity, x, loss=loss, steps=500, batch_size=512, lr=1e-2, progress=False)
    t = torch.tensor([[0.1], [0.5], [0.9]])
    z = 3 * t
    with torch.no_grad():
        torch.testing.assert_close(velocity(z, t), torch.full_like(z, 3.0), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Continuous(VelocityNet(2), 0), "D must be a positive integer, got 0"),
        (lambda: Continuous(VelocityNet(2), 2, trace="other"), 'trace must be "exact" or "hutchinson"'),
        (
            lambda: Continuous(Linear(torch.ones(1, 2)), 2).forward(torch.ones(3, 2)),
            r"velocity: expected shape \(3, 2\), got \(3, 1\)",
        ),
        (lambda: VariancePreserving(0.0, 1.0), "0 < beta_min ≤ beta_max"),
        (lambda: DiffusedMixture(torch.zeros(2), 1.0), r"means: expected shape \(K, D\), got \(2,\)"),
        (lambda: DiffusedMixture(torch.zeros(2, 1), 0.0), "scales and weights must be positive"),
        (lambda: DiffusedMixture(torch.zeros(2, 1), 1.0, torch.ones(3)), r"weights: expected shape \(2,\)"),
        (lambda: diffusion_elbo(mixture(), torch.zeros(3, 2), [1.0]), r"x: expected shape \(B, 1\)"),
        (lambda: diffusion_elbo(mixture(), torch.zeros(3, 1), [0.5, 0.5]), "times: expected increasing"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- Diffusion ---


def mixture(**options) -> DiffusedMixture:
    means, scales, weights = ([[-1.5], [1.0]], [[0.3], [0.6]], [0.4, 0.6])
    return DiffusedMixture(
        *(torch.tensor(v, dtype=torch.float64) for v in (means, scales, weights)), **options
    )


X = torch.linspace(-3, 3, 13, dtype=torch.float64).unsqueeze(-1)


@pytest.mark.parametrize("s", [0.0, 0.1, 0.5, 1.0])
def test_score_is_the_gradient_and_denoised_the_posterior_mean(s):
    p = mixture()
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(p.log_prob(x, s).sum(), x)
    torch.testing.assert_close(p.score(X, s), gradient)
    if s > 0:
        alpha, sigma = p.schedule.alpha(s), p.schedule.sigma(s)
        grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64)  # of x_0
        weights = p.log_prob(grid.unsqueeze(-1), 0.0) - (X - alpha * grid) ** 2 / (2 * sigma**2)
        expected = (weights.softmax(-1) * grid).sum(-1, keepdim=True)
        torch.testing.assert_close(p.denoised(X, s), expected, rtol=1e-6, atol=1e-6)


def test_schedule():
    schedule = VariancePreserving()
    for s in (0.01, 0.3, 1.0):
        n = 20_000
        integral = sum(schedule.beta(s * (k + 0.5) / n) for k in range(n)) * s / n
        assert schedule.alpha(s) == pytest.approx(math.exp(-0.5 * integral), rel=1e-9)
        assert schedule.alpha(s) ** 2 + schedule.sigma(s) ** 2 == pytest.approx(1, abs=1e-12)
        assert schedule.time_of((schedule.alpha(s) / schedule.sigma(s)) ** 2) == pytest.approx(s, rel=1e-9)
    times = schedule.times(50)
    snr = torch.tensor([(schedule.alpha(s) / schedule.sigma(s)) ** 2 for s in times], dtype=torch.float64)
    assert len(times) == 50
    assert times[-1] == 1
    torch.testing.assert_close(snr.log().diff(), snr.log().diff().mean().expand(49), rtol=1e-6, atol=1e-6)


def test_probability_flow_carries_the_density_along():
    """∂p/∂s + ∂(p dx/ds)/∂x = 0, by differences."""
    p, h = mixture(), 1e-5
    v = ProbabilityFlow(p)
    for s in (0.05, 0.3, 0.8):
        rate = (p.log_prob(X, s + h).exp() - p.log_prob(X, s - h).exp()) / (2 * h)

        def current(x, s=s):
            return p.log_prob(x, s).exp() * -v(x, 1 - s).squeeze(-1)

        divergence = (current(X + h) - current(X - h)) / (2 * h)
        torch.testing.assert_close(rate, -divergence, rtol=1e-6, atol=1e-8)


def test_likelihood_by_the_probability_flow_is_the_true_one():
    p = mixture()
    layer = Continuous(ProbabilityFlow(p), 1, solver=PRECISE)
    u, log_det = layer.inverse(X)
    torch.testing.assert_close(p.log_prob(u, 1.0) + log_det, p.log_prob(X, 0.0), rtol=1e-6, atol=1e-6)
    flow = Flow(StandardNormal(1).double(), [layer])  # p_1 is N(0, 1) only nearly
    gap = flow.log_prob(X) - p.log_prob(X, 0.0)
    assert 1e-7 < gap.abs().max() < 1e-2


def test_elbo_is_exact_for_one_latent_of_a_gaussian():
    """p_0 = N(0, 1), one latent: posterior mean and quadrature are known in closed form."""
    p = DiffusedMixture(torch.zeros(1, 1).double(), 1.0)
    x, s = torch.tensor([[0.7]], dtype=torch.float64), 0.4
    a, c = p.schedule.alpha(s), p.schedule.sigma(s)
    # x̂ = α z: x − x̂ = x − α(αx + σε) = σ²x − ασε
    squared = c**4 * 0.49 + a**2 * c**2
    snr = a**2 / c**2
    expected = -0.5 * (snr * squared + math.log(2 * math.pi / snr))
    expected -= 0.5 * (a**2 * 0.49 + c**2 - 1 - math.log(c**2))
    assert diffusion_elbo(p, x, [s]).item() == pytest.approx(expected, abs=1e-10)


def test_mean_elbo_approaches_the_mean_log_density_like_one_over_steps():
    p = mixture()
    grid = torch.linspace(-4, 4, 161, dtype=torch.float64).unsqueeze(-1)
    weights = p.log_prob(grid, 0.0).softmax(0)
    truth = (weights * p.log_prob(grid, 0.0)).sum()
    gaps = [
        truth - (weights * diffusion_elbo(p, grid, p.schedule.times(T), nodes=32)).sum() for T in (50, 200)
    ]
    assert gaps[1] > 0
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.2)
