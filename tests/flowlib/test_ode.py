"""Runge–Kutta methods: orders of convergence, tolerances, and errors by name."""

import math

import pytest
import torch
from torch import Tensor

from flowlib import AdaptiveStep, FixedStep, IntegrationError
from flowlib.ode import METHODS


def swing(y: Tensor, t: float) -> Tensor:
    """y′ = −(1 + cos 3t) y."""
    return -(1 + math.cos(3 * t)) * y


def exact(y: Tensor, t0: float, t1: float) -> Tensor:
    return y * math.exp(-(t1 - t0) - (math.sin(3 * t1) - math.sin(3 * t0)) / 3)


START = torch.tensor([1.0, -2.0], dtype=torch.float64)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 2.0), (1.5, -0.5)])
def test_order_of_convergence(method, t0, t1):
    errors = [
        (FixedStep(n, method).integrate(swing, START, t0, t1).y - exact(START, t0, t1)).abs().max()
        for n in (40, 80)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(METHODS[method].order, abs=0.6)


@pytest.mark.parametrize("name", METHODS)
def test_tableaus_are_consistent(name):
    """Weights sum to 1; the weights of the error estimate to 0, since both methods are consistent."""
    tableau = METHODS[name]
    assert sum(tableau.b) == pytest.approx(1, abs=1e-14)
    assert [len(row) for row in tableau.a] == list(range(len(tableau.b)))
    if tableau.error:
        assert sum(tableau.error) == pytest.approx(0, abs=1e-14)
        # The second method is of order − 1 ≥ 2: it integrates t exactly, as the first does.
        assert sum(e * c for e, c in zip(tableau.error, tableau.c, strict=True)) == pytest.approx(
            0, abs=1e-14
        )


def test_exact_for_polynomials_in_time_up_to_the_order():
    for method, power in (("euler", 0), ("midpoint", 1), ("bosh3", 2), ("rk4", 3), ("dopri5", 4)):
        y = FixedStep(2, method).integrate(lambda y, t, p=power: 0 * y + t**p, START, 0.0, 1.0).y
        torch.testing.assert_close(y, START + 1 / (power + 1), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("method", ["bosh3", "dopri5"])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_tolerance_rules_error_and_cost(method, tolerance):
    y, evaluations = AdaptiveStep(tolerance, tolerance, method).integrate(swing, START, 0.0, 2.0)
    error = (y - exact(START, 0.0, 2.0)).abs().max().item()
    assert error < 50 * tolerance
    coarse = AdaptiveStep(100 * tolerance, 100 * tolerance, method).integrate(swing, START, 0.0, 2.0)
    assert coarse.evaluations < evaluations


def test_evaluations_are_counted():
    calls = []

    def f(y: Tensor, t: float) -> Tensor:
        calls.append(t)
        return swing(y, t)

    for solver in (FixedStep(7, "midpoint"), FixedStep(3), AdaptiveStep()):
        calls.clear()
        assert solver.integrate(f, START, 0.0, 1.0).evaluations == len(calls)
        assert all(-1e-12 <= t <= 1 + 1e-12 for t in calls)


def test_gradients_run_back_through_the_steps():
    rate = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for solver in (FixedStep(50), AdaptiveStep(1e-9, 1e-9)):
        y = solver.integrate(lambda y, t: -rate * y, START, 0.0, 1.0).y
        (gradient,) = torch.autograd.grad(y.sum(), rate)
        assert gradient.item() == pytest.approx(math.exp(-0.7), abs=1e-7)  # −Σ y₀ e^(−r), Σ y₀ = −1


def test_no_time_no_evaluation():
    assert AdaptiveStep().integrate(swing, START, 1.0, 1.0).evaluations == 0


@pytest.mark.parametrize(
    ("f", "solver", "message"),
    [
        (lambda y, t: y * math.nan, AdaptiveStep(), "at t = 0 the step shrank to"),
        (lambda y, t: 3 * y**2, AdaptiveStep(), "not finite or too steep there"),
        (lambda y, t: -1e4 * y, AdaptiveStep(max_evaluations=100), "raise max_evaluations = 100"),
    ],
    ids=["NaN", "blows up at t = 1/3", "stiff"],
)
def test_no_convergence_has_a_name(f, solver, message):
    with pytest.raises(IntegrationError, match=message):
        solver.integrate(f, torch.ones(2, dtype=torch.float64), 0.0, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedStep(0), "steps must be a positive integer, got 0"),
        (lambda: FixedStep(5, "heun"), "expected one of euler, midpoint, rk4, bosh3, dopri5, got 'heun'"),
        (lambda: AdaptiveStep(method="rk4"), "expected one of bosh3, dopri5, got 'rk4'"),
        (lambda: AdaptiveStep(atol=0.0), "expected rtol ≥ 0 and atol > 0"),
        (lambda: AdaptiveStep(max_evaluations=0), "max_evaluations must be a positive integer"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
