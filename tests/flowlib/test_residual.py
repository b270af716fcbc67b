"""Residual flows: Lipschitz constants that hold after training, inverses by iteration, estimated log-determinants."""

import math

import pytest
import torch
from torch import Tensor, nn

import flowlib
from flowlib import (
    ConvergenceError,
    LipschitzMLP,
    LipSwish,
    Residual,
    SpectralLinear,
    differentiable_jacobian,
    fixed_point_inverse,
    hutchinson_trace,
    lipschitz_bound,
    log_det_series,
    residual_flow,
    spectral_normalize,
)
from flowlib.data import two_moons


def points(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def norm(W: Tensor) -> float:
    return torch.linalg.matrix_norm(W.detach(), 2).item()


def all_signs(D: int) -> Tensor:
    """All 2^D vectors of signs `(2^D, D)`: over these Hutchinson's average is the trace itself."""
    return torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * D).reshape(-1, D)


def contraction(D: int, coefficient: float = 0.7, hidden: tuple[int, ...] = (16, 16)) -> LipschitzMLP:
    torch.manual_seed(0)
    net = LipschitzMLP([D, *hidden, D], coefficient).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return net


# --- Lipschitz constants ---


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (1, 4)])
def test_spectral_normalize_scales_down_only(shape):
    W = points(*shape)
    small = W / norm(W) * 0.3
    assert torch.equal(spectral_normalize(small, 0.9), small)
    scaled = spectral_normalize(7 * W, 0.9)
    assert norm(scaled) == pytest.approx(0.9, rel=1e-12)
    torch.testing.assert_close(scaled / scaled[0, 0], W / W[0, 0])


def test_normalizing_zero_gives_zero_and_a_finite_gradient():
    W = torch.zeros(3, 2, requires_grad=True)
    spectral_normalize(W, 0.5).sum().backward()
    assert W.grad.isfinite().all()


def test_product_of_norms_bounds_the_slope_and_is_not_the_norm_of_the_product():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 20), nn.Sigmoid(), nn.Linear(20, 20), nn.Sigmoid(), nn.Linear(20, 3)
    ).double()
    weights = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    bound = lipschitz_bound(weights, slope=0.25).item()
    slopes = torch.linalg.matrix_norm(differentiable_jacobian(net, 2 * points(500, 3)), 2)
    assert slopes.max() <= bound
    assert bound == pytest.approx(math.prod(norm(W) for W in weights) / 16)
    product = weights[2] @ weights[1] @ weights[0]
    assert norm(product) < lipschitz_bound(weights).item()


@pytest.mark.parametrize("raw_beta", [-5.0, 0.5, 30.0])
def test_lipswish_has_slopes_below_one(raw_beta):
    activation = LipSwish().double()
    activation.raw_beta.data.fill_(raw_beta)
    v = torch.linspace(-300, 300, 400_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(activation(v).sum(), v)
    assert 0.5 / 1.1 - 1e-3 < slope.abs().max() < 1


def test_the_constant_holds_after_training():
    """Fitting a slope of 20 pulls the weights as far as they go; what is evaluated still stretches by 0.8 at most."""
    torch.manual_seed(0)
    net = LipschitzMLP([2, 32, 32, 2], coefficient=0.8)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(60):
        v = torch.randn(64, 2)
        optimizer.zero_grad()
        ((net(v) - 20 * v) ** 2).mean().backward()
        optimizer.step()
    raw = math.prod(norm(layer.weight) for layer in net.layers)
    assert raw > 8  # the bound is not kept by chance
    net.eval()
    assert net.lipschitz_bound() <= 0.8 * (1 + 1e-5)
    frozen = [layer.normalized_weight() for layer in net.layers]
    assert lipschitz_bound(frozen).item() <= 0.8 * (1 + 1e-5)
    slopes = torch.linalg.matrix_norm(differentiable_jacobian(net, 3 * torch.randn(500, 2)), 2)
    assert 0.5 < slopes.max() <= 0.8 * (1 + 1e-5)


def test_power_iteration_goes_on_where_it_was_and_is_kept_by_state_dict():
    torch.manual_seed(0)
    layer = SpectralLinear(20, 30, coefficient=0.5, iterations=1)
    layer.weight.data = torch.randn(30, 20)
    estimates = [(layer.weight / layer.normalized_weight()).mean().item() * 0.5 for _ in range(60)]
    exact = norm(layer.weight)
    assert all(e <= exact * (1 + 1e-5) for e in estimates)  # from below
    assert exact - estimates[-1] < 0.2 * (exact - estimates[0])

    other = SpectralLinear(20, 30, coefficient=0.5, iterations=1)
    other.load_state_dict(layer.state_dict())
    assert {"left", "right"} <= set(layer.state_dict())
    assert torch.equal(other.normalized_weight(), layer.normalized_weight())
    before = other.left.clone()
    other.eval().normalized_weight()
    assert torch.equal(other.left, before)  # evaluation changes nothing


def test_power_iteration_survives_a_weight_of_zero():
    layer = SpectralLinear(3, 3)
    weight = layer.weight.detach().clone()
    layer.weight.data.zero_()
    assert torch.equal(layer.normalized_weight(), torch.zeros(3, 3))
    layer.weight.data = 10 * weight
    for _ in range(200):
        normalized = layer.normalized_weight()
    assert norm(normalized) == pytest.approx(0.9, rel=1e-3)


def test_two_calls_before_one_backward_pass():
    layer = SpectralLinear(4, 4, coefficient=0.1)
    v = torch.randn(5, 4)
    (layer(v).sum() + layer(2 * v).sum()).backward()
    assert layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("training", [True, False])
def test_gradient_of_the_normalized_weight(training):
    torch.manual_seed(0)
    layer = SpectralLinear(3, 4, coefficient=0.5, iterations=200).double().train(training)
    layer.weight.data = points(4, 3)
    probe = points(4, 3, seed=2)

    def value(W: Tensor) -> Tensor:
        return (
            probe * torch.func.functional_call(layer, {"weight": W}, torch.eye(3, dtype=W.dtype)).mT
        ).sum()

    assert torch.autograd.gradcheck(value, layer.weight.detach().clone().requires_grad_(), atol=1e-6)


# --- the inverse ---


@pytest.mark.parametrize("coefficient", [0.3, 0.9, 0.99])
def test_fixed_point_inverse_solves_the_equation(coefficient):
    g = contraction(3, coefficient).frozen()
    x = 3 * points(4, 2, 3)
    u = fixed_point_inverse(g, x)
    torch.testing.assert_close(u + g(u), x, rtol=1e-13, atol=1e-13)


def test_the_slowest_contraction_takes_as_long_as_banach_says():
    steps = []

    def g(u: Tensor) -> Tensor:
        steps.append(1)
        return -0.9 * u

    x = torch.ones(1, 1, dtype=torch.float64)
    u = fixed_point_inverse(g, x, tolerance=1e-6)
    # Change in step k is 0.9^k; tolerated is 2e-6. Three more evaluations are those of the Newton step.
    assert len(steps) <= math.ceil(math.log(2e-6) / math.log(0.9)) + 3
    torch.testing.assert_close(u, 10 * x)


def test_gradients_of_the_inverse_are_those_of_the_implicit_function():
    net = contraction(2, hidden=(4,))
    x = points(2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: fixed_point_inverse(net.frozen(), x), x)
    name = "layers.1.weight"
    layer = Residual(net, 2)

    def both(W: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse and its log-determinant as functions of a weight."""
        return torch.func.functional_call(_Inverse(layer), {f"layer.net.{name}": W}, x.detach())

    W = dict(net.named_parameters())[name].detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(both, W, atol=1e-6)


class _Inverse(nn.Module):
    def __init__(self, layer: Residual) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer.inverse(x)


@pytest.mark.parametrize(
    "g",
    [lambda u: 2 * u, lambda u: u, lambda u: -u + 1, lambda u: u * math.nan],
    ids=["L = 2", "L = 1", "no solution", "NaN"],
)
def test_what_does_not_converge_is_an_error(g):
    with pytest.raises(ConvergenceError, match=r"expected a change of at most .* within 50 iterations, got"):
        fixed_point_inverse(g, torch.full((2, 2), 3.0), max_iterations=50)


def test_a_map_that_forgets_its_argument_is_an_error():
    with pytest.raises(ConvergenceError, match="singular"):
        fixed_point_inverse(lambda u: 1 - u, torch.ones(2, 2))


def test_data_that_is_not_finite_is_an_error():
    with pytest.raises(ConvergenceError, match="is x finite"):
        Residual(contraction(2), 2).inverse(torch.tensor([[math.nan, 0.0]], dtype=torch.float64))


def test_the_direction_of_the_residual_map_can_be_chosen():
    net, v = contraction(2), points(4, 2)
    ahead, back = Residual(net, 2), Residual(net, 2, inverse_is_residual=True)
    for got, expected in ((ahead.forward(v), back.inverse(v)), (ahead.inverse(v), back.forward(v))):
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])
    assert torch.equal(ahead.forward(v)[0], v + net(v))


# --- log-determinants ---


def test_differentiable_jacobian_agrees_and_carries_a_gradient():
    net, v = contraction(3), points(4, 3)
    J = differentiable_jacobian(net, v)
    torch.testing.assert_close(J, flowlib.batch_jacobian(net, v))
    torch.testing.assert_close(differentiable_jacobian(net, v.reshape(2, 2, 3)), J.reshape(2, 2, 3, 3))
    (gradient,) = torch.autograd.grad(J.sum(), net.layers[0].weight)
    assert gradient.abs().max() > 0


def test_hutchinson_over_all_signs_is_the_trace():
    A = points(4, 4)
    torch.testing.assert_close(hutchinson_trace(lambda n: n @ A, all_signs(4)), A.trace())


@pytest.mark.parametrize("terms", [1, 2, 5, 12])
def test_truncation_error_is_within_its_bound(terms):
    for seed in range(5):
        A = spectral_normalize(points(3, 3, seed=seed), 0.8)
        series = log_det_series(lambda n, A=A: n @ A, all_signs(3), terms)
        expected = sum(
            (-1) ** (k + 1) / k * torch.linalg.matrix_power(A, k).trace() for k in range(1, terms + 1)
        )
        torch.testing.assert_close(series, expected)
        error = (series - torch.logdet(torch.eye(3, dtype=A.dtype) + A)).abs()
        assert error <= 3 * 0.8 ** (terms + 1) / ((terms + 1) * (1 - 0.8))


def test_series_of_a_layer_agrees_with_the_exact_log_det_in_both_directions():
    torch.manual_seed(0)
    net, v = contraction(3, 0.4, hidden=(8,)), points(2, 3)
    exact = Residual(net, 3).forward(v)
    layer = Residual(net, 3, log_det="series", terms=8, samples=500)
    # Over random signs the variance of nᵀJn is at most 2‖J‖², so that of the mean 2·D·L²/500: the error is below 0.05.
    assert (layer.forward(v)[1] - exact[1]).abs().max() < 0.15
    assert (layer.inverse(exact[0])[1] + exact[1]).abs().max() < 0.15


def test_roulette_has_no_bias_where_the_series_has():
    """One term of the series is wrong by a known amount; one term and roulette are right on average."""
    torch.manual_seed(0)
    A = torch.diag(
        torch.tensor([0.6, -0.5], dtype=torch.float64)
    )  # Hutchinson with signs is exact for a diagonal A

    class Linear(nn.Module):
        def forward(self, v: Tensor) -> Tensor:
            return v @ A.to(v)

    v = points(1, 2)
    exact = math.log(1.6 * 0.5)
    series = Residual(Linear(), 2, log_det="series", terms=1).forward(v)[1].item()
    assert series == pytest.approx(0.1)
    assert abs(series - exact) > 0.3
    layer = Residual(Linear(), 2, log_det="roulette", terms=1)
    draws = torch.stack([layer.forward(v)[1] for _ in range(1000)])
    error = draws.std().item() / math.sqrt(len(draws))
    assert draws.std() > 0.05  # it is random
    assert abs(draws.mean().item() - exact) < 6 * error


@pytest.mark.parametrize("method", ["series", "roulette"])
def test_estimates_have_the_gradient_of_what_they_estimate(method):
    torch.manual_seed(0)
    net, v = contraction(2, 0.5), points(1, 2)
    weight = net.layers[0].weight

    def gradient(log_det: Tensor) -> Tensor:
        return torch.autograd.grad(log_det.sum(), weight)[0]

    expected = gradient(Residual(net, 2).forward(v)[1])
    layer = Residual(net, 2, log_det=method, terms=8, samples=300)
    got = torch.stack([gradient(layer.forward(v)[1]) for _ in range(5)])
    error = (got.mean(0) - expected).norm() / expected.norm()
    assert error < 0.1


def test_forward_works_under_vmap_and_jacfwd():
    layer, v = Residual(contraction(3), 3), points(4, 3)
    x, log_det = torch.func.vmap(layer.forward)(v)
    torch.testing.assert_close(x, layer.forward(v)[0])
    torch.testing.assert_close(log_det, layer.forward(v)[1])
    J = torch.func.vmap(torch.func.jacfwd(lambda row: layer.forward(row)[0]))(v)
    torch.testing.assert_close(torch.linalg.slogdet(J)[1], log_det)


# --- the flow ---


def test_a_residual_flow_learns_and_is_still_invertible():
    torch.manual_seed(0)
    data = two_moons(500, seed=0)
    flow = residual_flow(2, 2, hidden=(16,), data=data)
    start = -flow.log_prob(data).mean().item()
    flowlib.fit(flow, data, steps=40, batch_size=128, lr=2e-2, progress=False)
    assert -flow.log_prob(data).mean().item() < start - 0.1
    x = flow.sample((50,))
    u, log_det = flow.inverse(x)
    again, back = flow.forward(u)
    torch.testing.assert_close(again, x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_det, -back, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Residual(LipschitzMLP([2, 8, 2], coefficient=20.0), 2),
            "expected a Lipschitz coefficient below 1, got 20",
        ),
        (lambda: Residual(nn.Identity(), 2, log_det="guess"), "exact, series, roulette, got 'guess'"),
        (lambda: Residual(nn.Identity(), 0), "D must be a positive integer, got 0"),
        (lambda: Residual(nn.Identity(), 2, terms=0), "terms must be a positive integer, got 0"),
        (lambda: residual_flow(2, 1, coefficient=1.0), r"between 0 and 1, got 1\.0"),
        (lambda: residual_flow(2, 0), "num_layers must be a positive integer, got 0"),
        (lambda: LipschitzMLP([2]), r"at least an input and an output width, got \[2\]"),
        (lambda: SpectralLinear(2, 2, coefficient=0.0), r"positive and finite, got 0\.0"),
        (lambda: spectral_normalize(torch.ones(2), 1.0), r"matrix \(M, N\), got shape \(2,\)"),
        (lambda: lipschitz_bound([]), "at least one matrix, got none"),
        (lambda: log_det_series(lambda n: n, torch.ones(1, 2), 0), "terms must be a positive integer, got 0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
