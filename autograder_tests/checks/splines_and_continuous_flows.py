"""Checks of 10_splines_and_continuous_flows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import expm

from autograder_tests.builders import builder, mlp
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same, show
from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make
from autograder_tests.subject import Local, Subject

ASSIGNMENT = "10_splines_and_continuous_flows"


# ---- what the checks build ---------------------------------------------------------------------------------------


@builder
def time_velocity(D: int, seed: int, scale: float = 1.0) -> Any:
    """A smooth random velocity (x `(*batch, D)`, t a number) → `(*batch, D)`, float64, that depends on both."""
    import torch
    from torch import nn

    class Velocity(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(D + 1, D, seed, scale)

        def forward(self, x: torch.Tensor, t: Any) -> torch.Tensor:
            time = torch.as_tensor(t, dtype=x.dtype).expand(*x.shape[:-1], 1)
            # Sped up in time, so that a t that stands still, or runs the wrong way, shows.
            return self.net(torch.cat([x, 2 * time], dim=-1))

    return Velocity()


@builder
def linear_velocity(A: Any, b: Any) -> Any:
    """v(x, t) = A x + b, with A and b as parameters."""
    import torch
    from torch import nn

    class Velocity(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.A = nn.Parameter(A.double())
            self.b = nn.Parameter(b.double())

        def forward(self, x: torch.Tensor, t: Any) -> torch.Tensor:
            return (x.double() @ self.A.T + self.b).to(x.dtype)

    return Velocity()


@builder
def polynomial_in_time(*coefficients: float) -> Callable:
    """f(y, t) = Σ_k c_k tᵏ, the same for every entry of y."""

    def f(y: Any, t: Any) -> Any:
        return 0 * y + sum(c * t**k for k, c in enumerate(coefficients))

    return f


@builder
def growth(rate: float) -> Callable:
    """f(y, t) = rate · y."""
    return lambda y, t: rate * y


_NAMES = "widths", "heights", "slopes"


class _Spline:
    """A random spline: widths and heights `(K,)` of the same sum 2B, slopes `(K − 1,)` at inner knots."""

    def __init__(self, case: Case, K: int) -> None:
        self.B = float(np.round(case.uniform(1.5, 3.0), 2))
        self.widths, self.heights = (self._parts(case, K) for _ in range(2))
        self.slopes = case.uniform(0.3, 3.0, K - 1)

    def _parts(self, case: Case, K: int) -> np.ndarray:
        parts = case.uniform(0.5, 1.5, K)
        return 2 * self.B * parts / parts.sum()

    @property
    def arguments(self) -> tuple[np.ndarray, ...]:
        return self.widths, self.heights, self.slopes

    @property
    def knots(self) -> tuple[np.ndarray, np.ndarray]:
        """Of u and of x, both `(K + 1,)`."""
        u, x = (np.concatenate([[0.0], np.cumsum(v)]) - self.B for v in (self.widths, self.heights))
        return u, x

    def __call__(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x and log dx/du."""
        at_u, at_x = self.knots
        inside = np.abs(u) <= self.B
        k = np.clip(np.searchsorted(at_u, u, side="right") - 1, 0, len(self.widths) - 1)
        d = np.concatenate([[1.0], self.slopes, [1.0]])
        s, xi = (self.heights / self.widths)[k], np.where(inside, (u - at_u[k]) / self.widths[k], 0.5)
        below = s + (d[k] + d[k + 1] - 2 * s) * xi * (1 - xi)
        x = at_x[k] + self.heights[k] * (s * xi**2 + d[k] * xi * (1 - xi)) / below
        above = d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2
        log_slope = 2 * np.log(s) + np.log(above) - 2 * np.log(below)
        return np.where(inside, x, u), np.where(inside, log_slope, 0.0)

    @property
    def given(self) -> dict[str, str]:
        """For a report; as text, so that no row of them is taken for an example."""
        return {name: show(v) for name, v in zip(_NAMES, self.arguments, strict=True)}


def _spline_case(case: Case) -> tuple[_Spline, np.ndarray]:
    """A spline and points inside ±B, of several shapes when hidden."""
    spline = _Spline(case, case.pick(3, 2, 4, 6))
    shape = case.pick((6,), (2, 3), (7,), ())
    return spline, np.asarray(case.uniform(-0.98, 0.98, *shape) * spline.B)


def _exact(case: Case) -> _Spline:
    """A spline whose knots are sums without rounding: at ±B, its outermost ones, whoever looks up a bin meets them."""
    spline = _Spline(case, 3)
    spline.B = 2.0
    spline.widths, spline.heights = np.array([1.0, 2.0, 1.0]), np.array([0.5, 1.5, 2.0])
    return spline


def _outside(case: Case, spline: _Spline) -> np.ndarray:
    """Points beyond ±B, near and far."""
    away = np.array([0.05, 1.0, 7.0, 300.0]) * case.uniform(0.9, 1.1, 4)
    return np.concatenate([-spline.B - away, spline.B + away])


def _finite_gradients(subject: Subject, name: str, points: np.ndarray, spline: _Spline, what: str) -> None:
    """Gradients to the points and to all parameters are finite, and not all 0."""
    request = (name, "", points, *spline.arguments)
    _, gradients = subject.call(*request, grad=(0, 1, 2, 3))
    for gradient, of in zip(gradients, (what, *_NAMES), strict=True):
        require(
            np.isfinite(gradient).all(),
            f"the gradient with respect to {of} is not finite",
            expected="finite numbers, inside and outside ±B",
            got=show(gradient),
            given={what: points, **spline.given},
        )
    require(
        min(np.abs(gradient).max() for gradient in gradients) > 0,
        f"the result must have a gradient with respect to {what} and to the spline's parameters",
        got=", ".join(f"{show(g)} for {v}" for g, v in zip(gradients, (what, *_NAMES), strict=True)),
    )


# ---- rq_bin_slope ------------------------------------------------------------------------------------------------


def _bin_values(case: Case) -> dict[str, np.ndarray]:
    n = case.pick(1, 5)
    return {"xi": case.uniform(0.1, 0.9, n)} | {v: case.uniform(0.3, 3.0, n) for v in ("s", "d0", "d1")}


def _bin_slope(subject: Subject, values: dict[str, np.ndarray]) -> np.ndarray:
    answer = subject.call("student:rq_bin_slope", "", *(Make("positive_symbol", (v,)) for v in values))
    if not isinstance(answer, Expression):
        raise Mismatch("rq_bin_slope(xi, s, d0, d1) must return a sympy expression", got=describe(answer))
    return np.broadcast_to(evaluate(answer.text, values), values["xi"].shape)


@check("rq_bin_slope")
def bin_slope_at_the_ends(subject: Subject, case: Case) -> None:
    """The slope is d0 at the bin's left end and d1 at its right end."""
    values = _bin_values(case)
    for end, wanted in ((0.0, "d0"), (1.0, "d1")):
        at = values | {"xi": np.full_like(values["xi"], end)}
        same(_bin_slope(subject, at), values[wanted], f"slope at xi = {end:g}", given=at, rtol=1e-7)


@check("rq_bin_slope")
def bin_slope_is_the_derivative(subject: Subject, case: Case) -> None:
    """The slope is dx/du of the rational-quadratic map, at every point of the bin."""
    values, h = _bin_values(case), 1e-4
    s, d0, d1 = (values[v] for v in ("s", "d0", "d1"))

    def share(xi: np.ndarray) -> np.ndarray:
        return (s * xi**2 + d0 * xi * (1 - xi)) / (s + (d0 + d1 - 2 * s) * xi * (1 - xi))

    xi = values["xi"]
    expected = s * (share(xi + h) - share(xi - h)) / (2 * h)
    same(_bin_slope(subject, values), expected, "slope", given=values, rtol=1e-5, atol=1e-6)


# ---- rq_spline_forward -------------------------------------------------------------------------------------------


@check("rq_spline_forward")
def spline_passes_through_its_knots(subject: Subject, case: Case) -> None:
    """Knots of u go to knots of x, the outermost ones included."""
    for spline in (_spline_case(case)[0], _exact(case)):
        at_u, at_x = spline.knots
        x, _ = subject.pair("student:rq_spline_forward", "", at_u, *spline.arguments)
        same(x, at_x, "x at the knots", given={"u": at_u, **spline.given})


@check("rq_spline_forward")
def spline_formula(subject: Subject, case: Case) -> None:
    """Between knots x is the rational-quadratic map of u."""
    spline, u = _spline_case(case)
    x, _ = subject.pair("student:rq_spline_forward", "", u, *spline.arguments)
    same(x, spline(u)[0], "x", given={"u": u, **spline.given})


@check("rq_spline_forward")
def spline_log_slope(subject: Subject, case: Case) -> None:
    """The second result is log dx/du, one for each entry of u."""
    spline, u = _spline_case(case)
    _, log_slope = subject.pair("student:rq_spline_forward", "", u, *spline.arguments)
    same(log_slope, spline(u)[1], "log dx/du", given={"u": u, **spline.given})


@check("rq_spline_forward")
def spline_has_linear_tails(subject: Subject, case: Case) -> None:
    """Outside ±B the map is the identity: x = u, log dx/du = 0."""
    spline, _ = _spline_case(case)
    u = _outside(case, spline)
    x, log_slope = subject.pair("student:rq_spline_forward", "", u, *spline.arguments)
    same(x, u, f"x outside ±B = ±{spline.B:g}", given={"u": u, **spline.given})
    same(log_slope, np.zeros_like(u), f"log dx/du outside ±B = ±{spline.B:g}", given={"u": u, **spline.given})
    inside = case.uniform(-0.9, 0.9, 3) * spline.B  # a map that moves nothing has tails, too
    x, _ = subject.pair("student:rq_spline_forward", "", inside, *spline.arguments)
    require(np.abs(x - inside).max() > 1e-3, "inside ±B the spline must move points", got="x = u")


@check("rq_spline_forward")
def spline_gradients_are_finite(subject: Subject, case: Case) -> None:
    """Gradients are finite everywhere: inside, outside, at the ends; there is no NaN behind a torch.where."""
    spline, u = _spline_case(case)
    points = np.concatenate([u.ravel(), _outside(case, spline), spline.knots[0][1:-1]])
    _finite_gradients(subject, "student:rq_spline_forward", points, spline, "u")


# ---- rq_spline_inverse -------------------------------------------------------------------------------------------


@check("rq_spline_inverse")
def spline_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """u = inverse(forward(u)) inside ±B."""
    spline, u = _spline_case(case)
    x, _ = spline(u)
    got, _ = subject.pair("student:rq_spline_inverse", "", x, *spline.arguments)
    same(got, u, "u", given={"x": x, **spline.given}, rtol=1e-8, atol=1e-8)
    spline = _exact(case)
    u, x = spline.knots
    got, _ = subject.pair("student:rq_spline_inverse", "", x, *spline.arguments)
    same(got, u, "u at the knots", given={"x": x, **spline.given}, rtol=1e-8, atol=1e-8)


@check("rq_spline_inverse")
def spline_inverse_log_slope(subject: Subject, case: Case) -> None:
    """The second result is log du/dx, the negative of log dx/du at the point where u is."""
    spline, u = _spline_case(case)
    x, log_slope = spline(u)
    _, got = subject.pair("student:rq_spline_inverse", "", x, *spline.arguments)
    same(got, -log_slope, "log du/dx", given={"x": x, **spline.given}, rtol=1e-7, atol=1e-7)


@check("rq_spline_inverse")
def spline_inverse_has_linear_tails(subject: Subject, case: Case) -> None:
    """Outside ±B the inverse is the identity, too: u = x, log du/dx = 0."""
    spline, _ = _spline_case(case)
    x = _outside(case, spline)
    got, log_slope = subject.pair("student:rq_spline_inverse", "", x, *spline.arguments)
    same(got, x, f"u outside ±B = ±{spline.B:g}", given={"x": x, **spline.given})
    same(log_slope, np.zeros_like(x), f"log du/dx outside ±B = ±{spline.B:g}", given={"x": x, **spline.given})
    inside = spline.B * np.linspace(-0.9, 0.9, 7)
    got, _ = subject.pair("student:rq_spline_inverse", "", inside, *spline.arguments)
    require(np.abs(got - inside).max() > 1e-4, "inside ±B the inverse must move points", got="u = x")


def _steep(case: Case) -> tuple[_Spline, np.ndarray]:
    """A spline whose middle bin starts steeply and ends flat, and the float32 numbers just below the knot at its end.

    There b² − 4ac is nearly 0: in about one such spline of four it is negative in float32.
    """
    spline, share = _Spline(case, 3), case.uniform(0.1, 0.3)
    spline.widths = np.array([(1 - share) / 2, share, (1 - share) / 2]) * 2 * spline.B
    spline.heights = np.array([share / 2, 1 - share, share / 2]) * 2 * spline.B
    spline.slopes = np.array([case.uniform(10.0, 40.0), 1e-3])
    x = [np.float32(spline.knots[1][2])]
    for _ in range(10):
        x.append(np.nextafter(x[-1], np.float32(-np.inf)))
    return spline, np.array(x[1:])


@check("rq_spline_inverse")
def spline_inverse_in_float32(subject: Subject, case: Case) -> None:
    """In float32 the inverse is finite and right, for straight bins and at the flat end of steep ones."""
    straight = _Spline(case, 3)
    straight.heights, straight.slopes = straight.widths.copy(), np.ones(2)
    points = (case.uniform(-0.95, 0.95, 6) * straight.B).astype(np.float32)
    for spline, x in [(straight, points), *(_steep(case) for _ in range(40))]:
        given32 = [v.astype(np.float32) for v in spline.arguments]
        u, _ = subject.pair("student:rq_spline_inverse", "", x, *given32)
        # What forward makes of the answer: where the spline is flat, many u are as good as one another.
        again = spline(u.astype(float))[0].astype(np.float32)
        same(again, x, "forward(u) for float32 x", given={"x": x, **spline.given}, rtol=2e-4, atol=2e-4)


@check("rq_spline_inverse")
def spline_inverse_gradients_are_finite(subject: Subject, case: Case) -> None:
    """Gradients of the inverse are finite everywhere: inside, outside, at the ends."""
    spline, u = _spline_case(case)
    points = np.concatenate([spline(u)[0].ravel(), _outside(case, spline), spline.knots[1][1:-1]])
    _finite_gradients(subject, "student:rq_spline_inverse", points, spline, "x")


# ---- runge_kutta_4 -----------------------------------------------------------------------------------------------


def _integrated(subject: Subject, f: Make, y: np.ndarray, t0: float, t1: float, steps: int) -> np.ndarray:
    got = subject.array("student:runge_kutta_4", "", f, y, t0, t1, steps)
    has_shape(got, y.shape, "y at t1")
    return got.astype(float) if got.dtype != np.float32 else got


def _times(case: Case) -> tuple[float, float]:
    t0 = float(np.round(case.uniform(-0.5, 0.5), 2))
    return t0, t0 + float(np.round(case.uniform(0.5, 1.0), 2))


def _classical(f: Make, y: np.ndarray, t0: float, t1: float, steps: int) -> np.ndarray:
    """What flowlib's solver makes of it."""
    solver = Make("reference", ("FixedStep", steps, "rk4"))
    answer = Local({}).call(solver, "integrate", f, y, t0, t1)
    return np.asarray(answer[0])


def _field(case: Case) -> tuple[Make, np.ndarray]:
    D = case.pick(2, 1, 3)
    shape = case.pick((D,), (3, D), (2, 2, D))
    return Make("time_velocity", (D, case.integer())), case.normal(*shape)


@check("runge_kutta_4")
def rk4_formula(subject: Subject, case: Case) -> None:
    """Each step is y + h/6 (k1 + 2 k2 + 2 k3 + k4), the classical method."""
    f, y = _field(case)
    t0, t1 = _times(case)
    for steps in (1, case.pick(2, 3, 5)):
        expected = _classical(f, y, t0, t1, steps)
        given = {"y": show(y), "t0": f"{t0:g}", "t1": f"{t1:g}", "steps": str(steps)}
        same(_integrated(subject, f, y, t0, t1, steps), expected, "y at t1", given=given)


@check("runge_kutta_4")
def rk4_is_exact_for_cubics_in_time(subject: Subject, case: Case) -> None:
    """Where f is a cubic in t alone, one step gives the integral exactly."""
    c = case.normal(4).round(2)
    t0, t1 = _times(case)
    y = case.normal(2)
    integral = sum(a * (t1 ** (k + 1) - t0 ** (k + 1)) / (k + 1) for k, a in enumerate(c))
    f = Make("polynomial_in_time", tuple(c.tolist()))
    for steps in (1, case.pick(3, 2, 4)):
        given = {"coefficients": show(c), "t0": f"{t0:g}", "t1": f"{t1:g}", "steps": str(steps)}
        same(_integrated(subject, f, y, t0, t1, steps), y + integral, "y at t1", given=given)


@check("runge_kutta_4")
def rk4_converges_with_order_four(subject: Subject, case: Case) -> None:
    """Twice the steps, about a sixteenth of the error."""
    rate, y = float(case.uniform(0.8, 1.2)), np.array([1.0, -2.0])
    f, exact = Make("growth", (rate,)), y * np.exp(2 * rate)
    coarse, fine = (np.abs(_integrated(subject, f, y, 0.0, 2.0, steps) - exact).max() for steps in (5, 10))
    require(
        np.isfinite(coarse) and fine < 0.02 and coarse > 9 * fine,
        "the error must fall with the fourth power of the number of steps",
        expected="an error about 16 times smaller with 10 steps than with 5",
        got=f"error {coarse:.2g} with 5 steps, {fine:.2g} with 10",
    )


@check("runge_kutta_4")
def rk4_runs_backwards(subject: Subject, case: Case) -> None:
    """With t1 < t0 it goes back in time: there and back again ends where it began."""
    f, start = _field(case)
    t0, t1 = _times(case)
    steps = 40
    end = _integrated(subject, f, start, t0, t1, steps).astype(float)
    given = {"y": show(end), "t0": f"{t1:g}", "t1": f"{t0:g}", "steps": str(steps)}
    back = _integrated(subject, f, end, t1, t0, steps)
    same(back, start, "y after going there and back", given=given, rtol=1e-4, atol=1e-4)
    same(back, _classical(f, end, t1, t0, steps), "y after going back", given=given, rtol=1e-6, atol=1e-6)
    require(np.abs(end - start).max() > 1e-3, "y must move between t0 and t1", got="y stays where it is")


# ---- hutchinson_estimate -----------------------------------------------------------------------------------------


def _velocity_case(case: Case, *shapes: tuple[int, ...]) -> tuple[Make, np.ndarray, float]:
    D = case.pick(2, 3, 4)
    points = case.normal(*case.pick((3,), *shapes), D)
    return Make("time_velocity", (D, case.integer())), points, float(np.round(case.uniform(0.1, 0.9), 2))


def _signs(case: Case, *shape: int) -> np.ndarray:
    return case.rng.choice([-1.0, 1.0], size=shape)


def _jacobians(velocity: Make, points: np.ndarray, t: float) -> np.ndarray:
    """∂v_i/∂x_j at each point, `(*batch, D, D)`, by central differences of the checker's own velocity."""
    right, D, h = Local({}), points.shape[-1], 1e-4
    columns = []
    for e in np.eye(D):
        ahead, behind = (right.array(velocity, "", points + sign * h * e, t) for sign in (1, -1))
        columns.append((ahead - behind) / (2 * h))
    return np.stack(columns, axis=-1)


@check("hutchinson_estimate")
def hutchinson_formula(subject: Subject, case: Case) -> None:
    """The estimate is εᵀ (∂v/∂x) ε, one number per example."""
    velocity, x, t = _velocity_case(case, (4,), (2, 3), ())
    noise = case.normal(*x.shape)
    got = subject.array("student:hutchinson_estimate", "", velocity, x, t, noise)
    expected = np.einsum("...i,...ij,...j->...", noise, _jacobians(velocity, x, t), noise)
    same(got, expected, "estimate", given={"x": x, "noise": noise, "t": f"{t:g}"}, rtol=1e-5, atol=1e-5)


@check("hutchinson_estimate")
def hutchinson_averages_to_the_trace(subject: Subject, case: Case) -> None:
    """Over all vectors of signs the estimates average to the exact trace."""
    velocity, x, t = _velocity_case(case, (4,), (2,))
    D = x.shape[-1]
    estimates = [
        subject.array("student:hutchinson_estimate", "", velocity, x, t, np.broadcast_to(e, x.shape).copy())
        for e in itertools.product((-1.0, 1.0), repeat=D)
    ]
    for estimate in estimates:
        has_shape(estimate, x.shape[:-1], "estimate")
    trace = np.trace(_jacobians(velocity, x, t), axis1=-2, axis2=-1)
    given = {"x": x, "t": f"{t:g}"}
    same(np.mean(estimates, axis=0), trace, "mean over all signs", given=given, rtol=1e-5, atol=1e-5)


@check("hutchinson_estimate")
def hutchinson_can_be_trained(subject: Subject, case: Case) -> None:
    """The estimate has a gradient with respect to the velocity's parameters."""
    D = case.pick(2, 3)
    A, x = case.normal(D, D), case.normal(3, D)
    noise = case.normal(3, D)
    velocity = Make("linear_velocity", (A, case.normal(D)))
    _, gradient = subject.call("student:hutchinson_estimate", "", velocity, x, 0.5, noise, grad=0)
    expected = np.einsum("bi,bj->ij", noise, noise)  # of Σ_b εᵀ A ε
    same(
        gradient[: D * D].reshape(D, D),
        expected,
        "gradient of the sum of estimates with respect to A, for v(x, t) = A x + b",
        given={"noise": show(noise)},
        rtol=1e-5,
        atol=1e-5,
    )


# ---- continuous_log_prob -----------------------------------------------------------------------------------------

LOG_2PI = np.log(2 * np.pi)


def _gaussian_log_prob(x: np.ndarray, A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """log-density of z(1) where dz/dt = A z + b and z(0) ~ N(0, I)."""
    D = len(b)
    flow = expm(np.block([[A, b[:, None]], [np.zeros((1, D + 1))]]))
    u = np.linalg.solve(flow[:D, :D], (x - flow[:D, D]).T).T
    return -0.5 * (u**2).sum(-1) - 0.5 * D * LOG_2PI - np.trace(A)


def _continuous_flow(velocity: Make, D: int, steps: int) -> Make:
    """flowlib's flow of that velocity."""
    solver = Make("reference", ("FixedStep", steps))
    layer = Make("reference", ("Continuous", velocity, D), {"solver": solver})
    return Make("reference", ("Flow", Make("standard_normal", (D,)), [layer]))


@check("continuous_log_prob")
def continuous_density_of_a_linear_velocity(subject: Subject, case: Case) -> None:
    """For v(x, t) = A x + b the density is the known Gaussian."""
    D = case.pick(2, 1, 3)
    A, b = case.normal(D, D, scale=0.7), case.normal(D)
    x, steps = case.normal(case.pick(3, 4), D), 16
    got = subject.array("student:continuous_log_prob", "", x, Make("linear_velocity", (A, b)), steps)
    given = {"x": x, "A": show(A), "b": show(b)}
    same(got, _gaussian_log_prob(x, A, b), "log p(x)", given=given, rtol=2e-4, atol=2e-4)


@check("continuous_log_prob")
def continuous_density_of_a_velocity_in_time(subject: Subject, case: Case) -> None:
    """The density is right where the velocity changes with time, for every shape of batch."""
    D = case.pick(2, 3)
    x = case.normal(*case.pick((2,), (2, 2), ()), D)
    velocity = Make("time_velocity", (D, case.integer(), 0.8))
    got = subject.array("student:continuous_log_prob", "", x, velocity, 10)
    expected = Local({}).array(_continuous_flow(velocity, D, 20), "log_prob", x)
    same(got, expected, "log p(x)", given={"x": x}, rtol=2e-4, atol=2e-4)


@check("continuous_log_prob")
def continuous_density_integrates_to_one(subject: Subject, case: Case) -> None:
    """In one dimension the density has mass 1."""
    velocity = Make("time_velocity", (1, case.integer(), 0.8))
    x, width = np.linspace(-12, 12, 401, retstep=True)
    log_p = subject.array("student:continuous_log_prob", "", x[:, None], velocity, 12)
    has_shape(log_p, x.shape, "log p of points of shape (401, 1)")
    with np.errstate(over="ignore"):
        mass = float(np.exp(log_p.astype(float)).sum() * width)
    require(abs(mass - 1) < 0.01, "the total probability", expected="1 (to 0.01)", got=f"{mass:.4f}")


@check("continuous_log_prob")
def continuous_density_can_be_trained(subject: Subject, case: Case) -> None:
    """The log-density has the right gradient with respect to the velocity's parameters."""
    D = 2
    velocity, x = Make("time_velocity", (D, case.integer(), 0.8)), case.normal(3, D)
    _, gradient = subject.call("student:continuous_log_prob", "", x, velocity, 10, grad=1)
    _, expected = Local({}).call(_continuous_flow(velocity, D, 10), "log_prob", x, grad="self")
    worst = np.abs(gradient - expected).max() if gradient.shape == expected.shape else np.inf
    require(
        worst < 1e-2 * np.abs(expected).max(),
        "the gradient of Σ log p(x) with respect to the velocity's parameters",
        expected=f"largest entry {show(np.abs(expected).max())}, deviation below a hundredth of it",
        got="no gradient" if not np.abs(gradient).max() else f"largest deviation {show(worst)}",
        given={"x": show(x)},
    )


# ---- probability_flow_velocity -----------------------------------------------------------------------------------


class _Mixture:
    """A random mixture of Gaussians on the line, and what a schedule's noise makes of it."""

    def __init__(self, case: Case, K: int) -> None:
        self.weights = case.uniform(0.5, 1.5, K)
        self.weights /= self.weights.sum()
        self.means, self.scales = case.uniform(-1.5, 1.5, K), case.uniform(0.3, 0.9, K)
        self.beta = float(np.round(case.uniform(0.1, 0.5), 2)), float(np.round(case.uniform(3.0, 6.0), 2))

    @property
    def arguments(self) -> tuple:
        schedule = Make("reference", ("VariancePreserving", *self.beta))
        return self.weights, self.means, self.scales, schedule

    @property
    def given(self) -> dict[str, str]:
        values = {"weights": self.weights, "means": self.means, "scales": self.scales}
        low, high = self.beta
        schedule = {"schedule": f"VariancePreserving({low:g}, {high:g})"}
        return {name: show(v) for name, v in values.items()} | schedule

    def standardized(self, x: np.ndarray, s: float) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.beta
        alpha = np.exp(-0.5 * (low * s + 0.5 * (high - low) * s**2))
        scale = np.sqrt(alpha**2 * self.scales**2 + 1 - alpha**2)
        return (x[..., None] - alpha * self.means) / scale, scale

    def density(self, x: np.ndarray, s: float) -> np.ndarray:
        z, scale = self.standardized(x, s)
        return (self.weights * np.exp(-0.5 * z**2) / scale).sum(-1) / np.sqrt(2 * np.pi)

    def velocity(self, x: np.ndarray, s: float) -> np.ndarray:
        """dx/ds that keeps F_s(x) = Σ_k w_k Φ(z_k) constant: no probability passes a moving point.

        The difference quotient is one of z, not of F: in a tail the latter has no digits left.
        """
        h = 1e-5
        z, _ = self.standardized(x, s)
        slope = (self.standardized(x, s + h)[0] - self.standardized(x, s - h)[0]) / (2 * h)
        rise = (self.weights * np.exp(-0.5 * z**2) * slope).sum(-1) / np.sqrt(2 * np.pi)
        return -rise / self.density(x, s)


def _flow_velocity(subject: Subject, mixture: _Mixture, x: np.ndarray, s: float) -> None:
    got = subject.array("student:probability_flow_velocity", "", x, s, *mixture.arguments)
    given = {"x": x, "s": f"{s:g}", **mixture.given}
    same(got, mixture.velocity(x, s), "dx/ds", given=given, rtol=1e-5, atol=1e-5)


@check("probability_flow_velocity")
def probability_flow_of_one_gaussian(subject: Subject, case: Case) -> None:
    """A single Gaussian's points keep their distance from the mean, in standard deviations."""
    mixture = _Mixture(case, 1)
    for s in case.uniform(0.1, 0.9, 2).round(2).tolist():
        _flow_velocity(subject, mixture, case.normal(case.pick(2, 5)), s)


@check("probability_flow_velocity")
def probability_flow_keeps_probability(subject: Subject, case: Case) -> None:
    """No probability passes a moving point: F_s(x(s)), the share to its left, stays what it was."""
    mixture = _Mixture(case, case.pick(2, 3, 4))
    for s in case.uniform(0.1, 0.9, 2).round(2).tolist():
        _flow_velocity(subject, mixture, np.asarray(case.normal(*case.pick((3,), (2, 3), ()))), s)
