"""Checks of 09_residual_flows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from autograder_tests import layers
from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, has_shape, require, same, show
from autograder_tests.plain import Make
from autograder_tests.subject import Local, Subject

ASSIGNMENT = "09_residual_flows"

# ---- what the checks build ---------------------------------------------------------------------------------------


def _norm(W: np.ndarray) -> float:
    """Spectral norm."""
    return float(np.linalg.norm(W, 2))


class _Contraction(nn.Module):
    """g(v) = Ŵ₂ tanh(Ŵ₁v + b₁) + b₂ whose two matrices have spectral norm √L; float64."""

    def __init__(self, D: int, seed: int, lipschitz: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def drawn(*shape: int) -> nn.Parameter:
            W = torch.randn(shape, generator=generator, dtype=torch.float64)
            return nn.Parameter(
                W * (math.sqrt(lipschitz) / torch.linalg.matrix_norm(W, 2)) if len(shape) == 2 else W / 2
            )

        self.weight, self.bias = drawn(16, D), drawn(16)
        self.weight_out, self.bias_out = drawn(D, 16), drawn(D)

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(nn.functional.linear(v.to(self.weight.dtype), self.weight, self.bias))
        return nn.functional.linear(hidden, self.weight_out, self.bias_out).to(v.dtype)


@builder
def contraction(D: int, seed: int, lipschitz: float) -> nn.Module:
    """A smooth random net `(*batch, D)` → `(*batch, D)` with Lipschitz constant at most `lipschitz`."""
    return _Contraction(D, seed, lipschitz)


@builder
def scaling_map(*factors: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """v ↦ factors ⊙ v, `(*batch, D)`."""
    return lambda v: v * torch.tensor(factors, dtype=v.dtype)


@builder
def matrix_product(A: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """n ↦ An for noise `(S, *batch, D)` and one matrix `(D, D)`, or one an example `(*batch, D, D)`."""
    return lambda n: (A.to(n) @ n.unsqueeze(-1)).squeeze(-1)


@builder
def evaluations(function: Callable[..., Any], position: int) -> Callable[..., int]:
    """How often `function` evaluates its argument at `position`, instead of what it returns."""

    def counted(*args: Any) -> int:
        calls = []
        inner = args[position]

        def watched(v: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return inner(v)

        function(*args[:position], watched, *args[position + 1 :])
        return len(calls)

    return counted


def _count(subject: Subject, name: str, what: Make, *args: object) -> None:
    """Let the student's process count its evaluations of `what`: evidence for the hint, as values alone do not tell."""
    subject.call(Make("evaluations", (f"student:{name}", 0)), "", what, *args)


def _g(case: Case, D: int, lipschitz: float) -> Make:
    return Make("contraction", (D, case.integer(), lipschitz))


def _layer(g: Make) -> Make:
    return Make("student:ResidualLayer", (g,))


def _signs(D: int) -> np.ndarray:
    """All 2^D vectors of signs, `(2^D, D)`."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=D)))


def _matrix(case: Case, *shape: int, norm: float | None = None) -> np.ndarray:
    """A random matrix, or a stack of them, each with the given spectral norm."""
    A = case.normal(*shape)
    return A if norm is None else A * (norm / np.linalg.norm(A, 2, axis=(-2, -1)))[..., None, None]


def _raises(subject: Subject, error: str, what: str, name: str, *args: object) -> None:
    raised = subject.raises(f"student:{name}", "", *args)
    if raised is None or error not in raised.types:
        raise Mismatch(what, expected=error, got="no error" if raised is None else raised.type)


# ---- iterations_needed -------------------------------------------------------------------------------------------


def _iterations(
    subject: Subject, case: Case
) -> list[tuple[float, Callable[[float], float], float, dict[str, str]]]:
    """Answers n with the bound on the error after n iterations, the tolerance and what was asked."""
    found = []
    asked = [(0.5, 30.0, 2.0), (0.9, 1.0, 1e-6)]  # a tolerance is not always below 1
    for L in case.uniform(0.05, 0.98, 4).tolist():
        asked.append((L, float(np.exp(case.normal())), float(10 ** case.uniform(-9, -2))))
    for L, first, tolerance in asked:
        n = float(subject.array("student:iterations_needed", "", L, first, tolerance))
        given = {"L": f"{L:.4g}", "first_step": f"{first:.4g}", "tolerance": f"{tolerance:.4g}"}
        require(n == round(n) and n >= 0, "a number of iterations", got=str(n), given=given)
        found.append((n, lambda k, L=L, first=first: L**k / (1 - L) * first, tolerance, given))
    return found


@check("iterations_needed")
def iterations_suffice(subject: Subject, case: Case) -> None:
    """After the iterations you name, Banach's bound on the error is within the tolerance."""
    for n, bound, tolerance, given in _iterations(subject, case):
        require(
            bound(n) <= tolerance * (1 + 1e-9),
            f"after {n:g} iterations the error may still be above the tolerance",
            expected=f"a bound of at most {tolerance:.4g}",
            got=f"a bound of {bound(n):.4g}",
            given=given,
        )


@check("iterations_needed")
def iterations_are_no_more_than_needed(subject: Subject, case: Case) -> None:
    """One iteration fewer would not do: the number is the smallest."""
    answers = _iterations(subject, case)
    # A first step that is within the tolerance as it is.
    zero = float(subject.array("student:iterations_needed", "", 0.5, 1e-6, 1e-3))
    require(zero == 0, "the start is near enough: no iteration is needed", expected="0", got=f"{zero:g}")
    for n, bound, tolerance, given in answers:
        require(
            n == 0 or bound(n - 1) > tolerance * (1 - 1e-9),
            f"{n - 1:g} iterations are enough already",
            expected="the smallest number whose bound is within the tolerance",
            got=f"{n:g}; after {n - 1:g} the bound is {bound(n - 1):.4g}",
            given=given,
        )
        require(bound(n) <= tolerance * (1 + 1e-9), f"{n:g} iterations are not enough", given=given)


@check("iterations_needed")
def iterations_reject_what_does_not_contract(subject: Subject, case: Case) -> None:
    """Without 0 < L < 1 the theorem says nothing: ValueError."""
    for L in (1.0, float(1 + case.uniform(0.01, 3)), -0.5):
        what = f"iterations_needed({L:.3g}, …) must raise a ValueError"
        _raises(subject, "ValueError", what, "iterations_needed", L, 1.0, 1e-3)
    raised = subject.raises("student:iterations_needed", "", 0.5, 1.0, 1e-3)
    require(raised is None, "L = 0.5 must not raise", got=raised.type if raised else "")


# ---- fixed_point_inverse -----------------------------------------------------------------------------------------


def _solves(subject: Subject, g: Make, x: np.ndarray, tolerance: float) -> None:
    u = subject.array("student:fixed_point_inverse", "", g, x, tolerance, 5000)
    has_shape(u, x.shape, "fixed_point_inverse(g, x)")
    u = u.astype(float)
    error = np.abs(u + Local({}).array(g, "", u) - x)
    # The change of the last step may be measured in any norm; a mean over a batch is none of its examples'.
    rows, found, errors = (v.reshape(-1, x.shape[-1]) for v in (x, u, error))
    worst = int(np.argmax(np.where(np.isfinite(errors), errors, np.inf).max(axis=1)))
    require(
        error.max() <= 4 * tolerance,  # False for NaN
        "u + g(u) is not x",
        expected=f"every |u + g(u) − x| at most about the tolerance {tolerance:.0e}",
        got=f"{errors[worst].max():.2e}",
        given={"x": str(show(rows[worst])), "u": str(show(found[worst]))},
    )


@check("fixed_point_inverse")
def fixed_point_solves_the_equation(subject: Subject, case: Case) -> None:
    """The result u satisfies u + g(u) = x to the tolerance, in every entry of every example."""
    D = case.pick(2, 1, 3, 4)
    for L, tolerance in ((0.3, 1e-4), (0.8, 1e-8)):
        _solves(subject, _g(case, D, L), case.normal(case.pick(3, 5), D) * 2, tolerance)
    _solves(subject, _g(case, D, 0.5), case.normal(2, 3, D), 1e-8)
    # One slow entry, one slow example: they must not hide behind fast ones.
    slow = np.zeros((40, 3))
    slow[int(case.rng.integers(40))] = 1 + np.abs(case.normal(3))
    factors = case.rng.permutation([-0.9, -0.02, 0.02]).tolist()
    _solves(subject, Make("scaling_map", tuple(factors)), slow, 1e-6)
    _solves(subject, Make("scaling_map", tuple(factors)), -slow, 1e-6)


def _steps(g: Callable[[np.ndarray], np.ndarray], x: np.ndarray, tolerance: float) -> int:
    """Evaluations of g until the change of the whole batch, in the Euclidean norm, is within the tolerance."""
    u = x
    for k in range(1, 100_000):
        previous, u = u, x - g(u)
        if np.linalg.norm(u - previous) <= tolerance:
            return k
    raise AssertionError("expected a contraction")


@check("fixed_point_inverse")
def fixed_point_stops_when_it_is_there(subject: Subject, case: Case) -> None:
    """The iteration stops once the tolerance is reached: the number of evaluations of g is what the contraction needs."""
    D, tolerance = case.pick(2, 3), 1e-6
    for L in (0.2, 0.7):
        g = Local({})
        made = _g(case, D, L)
        x = case.normal(4, D)
        calls = []

        def counted(v: np.ndarray, g: Local = g, made: Make = made, calls: list = calls) -> np.ndarray:
            calls.append(1)
            return g.array(made, "", v)

        outside = Make("outside", (0,))
        subject.array(
            "student:fixed_point_inverse", "", outside, x, tolerance, 2000, outside=(counted,)
        )  # the number of evaluations is what counts
        needed = _steps(lambda v, g=g, made=made: g.array(made, "", v), x, tolerance)
        if len(calls) > 2 * needed + 4:
            _count(subject, "fixed_point_inverse", made, x, tolerance, 2000)
            raise Mismatch(
                f"g was evaluated {len(calls)} times",
                expected=f"about {needed} evaluations for a Lipschitz constant of {L} and a tolerance of {tolerance:.0e}",
                got=str(len(calls)),
            )


@check("fixed_point_inverse")
def fixed_point_reports_failure(subject: Subject, case: Case) -> None:
    """What does not converge within max_iterations raises a RuntimeError, and never returns a number."""
    D = case.pick(2, 3)
    x = 1 + np.abs(case.normal(3, D))
    ones = np.ones(D)
    failing = {
        "g(u) = u, for which the iterates swing back and forth": (ones, 200),
        "g(u) = 3u, an expansion": (3 * ones, 1000),
        "g(u) = 0.9u with only 5 iterations": (0.9 * ones, 5),
        "a g that gives NaN": (math.nan * ones, 50),
    }
    for name, (factors, most) in failing.items():
        raised = subject.raises(
            "student:fixed_point_inverse", "", Make("scaling_map", tuple(factors.tolist())), x, 1e-8, most
        )
        require(
            raised is not None and "RuntimeError" in raised.types,
            f"{name} must raise a RuntimeError",
            expected="RuntimeError",
            got="a result, as if nothing had happened" if raised is None else raised.type,
        )
    enough = Make("scaling_map", tuple((0.5 * ones).tolist()))
    raised = subject.raises("student:fixed_point_inverse", "", enough, x, 1e-6, 100)
    require(
        raised is None, "g(u) = 0.5u with 100 iterations must not raise", got=raised.type if raised else ""
    )


# ---- spectral_normalize ------------------------------------------------------------------------------------------


def _normalized(subject: Subject, W: np.ndarray, c: float) -> np.ndarray:
    got = subject.array("student:spectral_normalize", "", W, c)
    has_shape(got, W.shape, "spectral_normalize(W, coefficient)")
    return got.astype(float)


def _large(case: Case) -> list[tuple[np.ndarray, float]]:
    """Matrices that stretch more than the coefficient: one far from symmetric, one nearly of rank 1, one below 1."""
    c = float(case.uniform(0.3, 0.95))
    sheared = np.array([[0.5, 0.0], [0.0, 0.5]])
    sheared[case.pick((0, 1), (1, 0))] = 3.0  # eigenvalues 0.5, spectral norm above 3
    return [
        (case.normal(3, 3) * 2, c),
        (case.normal(*case.pick((2, 4), (4, 2), (5, 3))) * 2, 0.9),
        (sheared, 0.6),
        (case.normal(2, 2) + 3, 1.5),
        (_matrix(case, 3, 2, norm=(1 + c) / 2), c),  # the bound is c, and 1 is no threshold
    ]


@check("spectral_normalize")
def normalized_matrix_stretches_no_more(subject: Subject, case: Case) -> None:
    """The spectral norm of the result is the coefficient, for every matrix that stretches more."""
    for W, c in _large(case):
        if _norm(W) > c:
            norm = _norm(_normalized(subject, W, c))
            require(
                abs(norm - c) <= 1e-4 * c,
                "the spectral norm of the result",
                expected=f"{c:.5g}",
                got=f"{norm:.5g}",
                given={"W": W, "coefficient": f"{c:.4g}"},
            )


@check("spectral_normalize")
def normalized_matrix_is_a_multiple(subject: Subject, case: Case) -> None:
    """The result is W times one number: ratios between its entries stay."""
    for W, c in _large(case):
        same(
            _normalized(subject, W, c),
            W * min(1.0, c / _norm(W)),
            "W · min(1, c/σ)",
            given={"W": str(show(W)), "coefficient": f"{c:.4g}"},
            rtol=1e-4,
            atol=1e-5,
        )


@check("spectral_normalize")
def small_matrices_are_left_alone(subject: Subject, case: Case) -> None:
    """A matrix whose spectral norm is below the coefficient is returned as it is, the zero matrix too."""
    for shape in ((3, 3), case.pick((2, 3), (3, 2), (1, 4))):
        W = _matrix(case, *shape, norm=float(case.uniform(0.3, 0.6)))
        c = float(case.uniform(0.7, 0.95))
        got = _normalized(subject, W, c)
        same(got, W, "a matrix that is small enough", given={"W": str(show(W)), "coefficient": f"{c:.4g}"})
    same(_normalized(subject, np.zeros((2, 2)), 0.5), np.zeros((2, 2)), "the zero matrix")
    W = case.normal(3, 3) * 5
    require(
        _norm(_normalized(subject, W, 0.5)) < _norm(W),
        "a matrix that is too large must be scaled",
        given={"W": W},
    )


# ---- lipschitz_bound ---------------------------------------------------------------------------------------------


def _bound(subject: Subject, weights: list[np.ndarray], slope: float) -> None:
    got = subject.array("student:lipschitz_bound", "", weights, slope)
    expected = np.prod([_norm(W) for W in weights]) * slope ** (len(weights) - 1)
    shapes = ", ".join(str(W.shape) for W in weights)
    same(
        got.reshape(-1).sum() if got.size == 1 else got,
        expected,
        "lipschitz_bound(weights, slope)",
        given={
            "shapes of the weights": shapes,
            "their norms": show([_norm(W) for W in weights]),
            "slope": f"{slope:.3g}",
        },
        rtol=1e-5,
        atol=1e-6,
    )


@check("lipschitz_bound")
def bound_of_one_matrix(subject: Subject, case: Case) -> None:
    """A single linear layer has its spectral norm as constant; there is no activation to count."""
    for shape in ((2, 2), case.pick((3, 2), (2, 3), (1, 4))):
        _bound(subject, [case.normal(*shape)], float(case.uniform(0.2, 0.8)))


@check("lipschitz_bound")
def bound_multiplies_along_the_net(subject: Subject, case: Case) -> None:
    """For K layers the norms multiply, with one factor `slope` for each of the K − 1 activations between them."""
    for K in case.pick((2, 3), (2, 4), (3, 5)):
        sizes = case.rng.integers(1, 5, K + 1)
        weights = [case.normal(int(sizes[k + 1]), int(sizes[k])) + 0.5 for k in range(K)]
        _bound(subject, weights, float(case.uniform(0.2, 1.5)))


# ---- hutchinson_trace --------------------------------------------------------------------------------------------


@check("hutchinson_trace")
def trace_estimate_is_the_mean_of_quadratic_forms(subject: Subject, case: Case) -> None:
    """The estimate is the mean of n·An over the noise vectors, one for each example."""
    D, B, S = case.pick((2, 3, 4), (3, 2, 5), (4, 5, 2))
    A, noise = case.normal(B, D, D), case.normal(S, B, D)
    got = subject.array("student:hutchinson_trace", "", Make("matrix_product", (A,)), noise)
    expected = np.einsum("sbi,bij,sbj->b", noise, A, noise) / S
    same(got, expected, "hutchinson_trace(product, noise)", given={"A": A})


@check("hutchinson_trace")
def trace_estimate_over_all_signs_is_the_trace(subject: Subject, case: Case) -> None:
    """Over all 2^D vectors of signs the estimator's mean is the trace, whatever stands off the diagonal."""
    D = case.pick(2, 3, 4)
    A = case.normal(D, D) * 2
    got = subject.array("student:hutchinson_trace", "", Make("matrix_product", (A,)), _signs(D))
    same(got, np.trace(A), "the mean over all signs", given={"A": str(show(A))})


@check("hutchinson_trace")
def trace_estimate_batch_shapes(subject: Subject, case: Case) -> None:
    """Noise (S, *batch, D) gives (*batch), for any batch."""
    D = case.pick(2, 3)
    A = case.normal(D, D)
    for batch in ((), (case.pick(3, 2),), (2, 3)):
        noise = case.normal(4, *batch, D)
        got = subject.array("student:hutchinson_trace", "", Make("matrix_product", (A,)), noise)
        has_shape(got, batch, f"hutchinson_trace with noise of shape {noise.shape}")
        expected = np.einsum("s...i,ij,s...j->...", noise, A, noise) / 4
        same(got, expected, f"hutchinson_trace with noise of shape {noise.shape}")


# ---- log_det_series ----------------------------------------------------------------------------------------------


def _series(A: np.ndarray, noise: np.ndarray, terms: int) -> np.ndarray:
    """Σ_{k ≤ terms} (−1)^{k+1}/k · mean of n·Aᵏn; A `(*batch, D, D)`, noise `(S, *batch, D)`."""
    power, total = noise, 0.0
    for k in range(1, terms + 1):
        power = np.einsum("...ij,...j->...i", A, power)
        total = total + (-1) ** (k + 1) / k * (noise * power).sum(-1).mean(0)
    return np.asarray(total)


@check("log_det_series")
def series_has_the_right_terms(subject: Subject, case: Case) -> None:
    """With n terms the result is Σ_{k=1}^{n} (−1)^{k+1}/k · mean of n·Aᵏn."""
    D, B, S = case.pick((2, 2, 3), (3, 4, 2), (4, 2, 5))
    A, noise = _matrix(case, B, D, D, norm=0.8), case.normal(S, B, D)
    for terms in case.pick((1, 2, 3), (1, 4), (2, 7)):
        got = subject.array("student:log_det_series", "", Make("matrix_product", (A,)), noise, terms)
        same(got, _series(A, noise, terms), f"log_det_series with terms = {terms}", given={"A": A})


@check("log_det_series")
def series_approaches_the_log_det(subject: Subject, case: Case) -> None:
    """With more terms, and exact traces, the result approaches log det(I + A)."""
    D = case.pick(2, 3)
    A = _matrix(case, D, D, norm=0.6)
    exact = float(np.linalg.slogdet(np.eye(D) + A)[1])
    for terms in (4, 12, 40):
        got = subject.array(
            "student:log_det_series", "", Make("matrix_product", (A,)), _signs(D), terms
        )  # over all signs Hutchinson's traces are exact
        has_shape(got, (), "log_det_series for noise of shape (S, D)")
        bound = D * 0.6 ** (terms + 1) / ((terms + 1) * (1 - 0.6)) + 1e-4 * (got.dtype == np.float32) + 1e-9
        require(
            abs(float(got) - exact) <= bound,
            f"log_det_series with terms = {terms} and exact traces",
            expected=f"{exact:.6f} to within {bound:.1e}",
            got=f"{float(got):.6f}",
            given={"A": A},
        )


@check("log_det_series")
def series_costs_one_product_per_term(subject: Subject, case: Case) -> None:
    """Each term costs one more product: Aᵏn is made from Aᵏ⁻¹n."""
    D, terms = case.pick(2, 3), case.pick(6, 5, 9)
    A, noise = _matrix(case, D, D, norm=0.7), case.normal(3, D)
    calls = []

    def counted(n: np.ndarray) -> np.ndarray:
        calls.append(1)
        return n @ A.T

    got = subject.array("student:log_det_series", "", Make("outside", (0,)), noise, terms, outside=(counted,))
    if not 0 < len(calls) <= terms + 1:
        _count(subject, "log_det_series", Make("matrix_product", (A,)), noise, terms)
        raise Mismatch(
            f"{terms} terms took {len(calls)} products", expected=f"{terms} products", got=str(len(calls))
        )
    same(got, _series(A, noise, terms), f"log_det_series with terms = {terms}", given={"A": str(show(A))})


# ---- ResidualLayer -----------------------------------------------------------------------------------------------


def _residual(case: Case) -> tuple[int, Make, np.ndarray]:
    """D, a contraction with constant 0.6 and points `(B, D)`; D = 2 in the visible case."""
    D = case.pick(2, 1, 3, 4)
    return D, _g(case, D, 0.6), case.normal(case.pick(3, 2, 5), D)


@check("ResidualLayer")
def residual_formula(subject: Subject, case: Case) -> None:
    """forward gives x = u + g(u)."""
    _, g, points = _residual(case)
    x, _ = subject.pair(_layer(g), "forward", points)
    same(x, points + Local({}).array(g, "", points), "forward", given={"u": points})


@check("ResidualLayer")
def residual_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    _, g, points = _residual(case)
    layers.round_trips(subject, _layer(g), points)
    x, _ = subject.pair(_layer(g), "forward", points)
    require(np.abs(x - points).max() > 1e-3, "forward does nothing", expected="u + g(u)", got="u")


@check("ResidualLayer")
def residual_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det of forward is log|det ∂x/∂u|, one number per example."""
    _, g, points = _residual(case)
    layers.log_det_is_of_jacobian(subject, _layer(g), "forward", points)
    x, _ = subject.pair(_layer(g), "forward", points)
    require(np.abs(x - points).max() > 1e-3, "forward does nothing", expected="u + g(u)", got="u")


@check("ResidualLayer")
def residual_inverse_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det of inverse is log|det ∂u/∂x|, one number per example."""
    _, g, points = _residual(case)
    layers.log_det_is_of_jacobian(subject, _layer(g), "inverse", points)
    u, _ = subject.pair(_layer(g), "inverse", points)
    require(np.abs(u - points).max() > 1e-3, "inverse does nothing", expected="u with u + g(u) = x", got="x")


@check("ResidualLayer")
def residual_log_det_carries_gradient(subject: Subject, case: Case) -> None:
    """The log-determinant of forward has the right gradient with respect to the parameters of g."""
    D, _, points = _residual(case)
    g = _g(case, D, 0.6)
    _, gradient = subject.call(_layer(g), "forward", points, grad="self")
    expected = _gradient(g, points)
    if gradient.shape != expected.shape:
        raise Mismatch(
            "the layer must hold g, with its parameters, and nothing else to train",
            expected=f"{len(expected)} numbers",
            got=f"{len(gradient)}",
        )
    same(
        gradient,
        expected,
        "gradient of Σ (x + log_det) by the parameters of g",
        rtol=1e-4,
        atol=1e-4,
    )


def _gradient(g: Make, points: np.ndarray) -> np.ndarray:
    """The gradient of flowlib's layer, its parameters in the order of their names."""
    layer = Make("reference", ("Residual", g, points.shape[-1]))
    return Local({}).call(layer, "forward", points, grad="self")[1]


@check("ResidualLayer")
def residual_batch_shapes(subject: Subject, case: Case) -> None:
    """Inputs of any shape (*batch, D) work, and log_det has shape (*batch)."""
    D = case.pick(2, 3)
    layers.batch_shapes_agree(subject, _layer(_g(case, D, 0.6)), case, D)


# ---- LULinear ----------------------------------------------------------------------------------------------------


def _lu(case: Case, D: int, scale: float = 0.5) -> Make:
    return Make("perturbed", (Make("student:LULinear", (D,)), case.integer(), scale))


@check("LULinear")
def lu_layer_is_a_full_matrix(subject: Subject, case: Case) -> None:
    """The layer is x = Wu with one matrix W whose entries, above and below the diagonal, are all free."""
    D = case.pick(3, 2, 4)
    layer, points = _lu(case, D), case.normal(D + 2, D)
    J = layers.jacobian(subject, layer, "forward", points)
    x, _ = subject.pair(layer, "forward", points)
    same(
        x.astype(float),
        np.einsum("ij,bj->bi", J[0], points),
        "x is Wu with W the Jacobian at the first example",
        given={"u": points},
        rtol=1e-3 if x.dtype == np.float32 else 1e-6,
        atol=1e-3 if x.dtype == np.float32 else 1e-6,
    )
    for part, where in ((np.tril(J[0], -1), "below"), (np.triu(J[0], 1), "above")):
        entries = np.abs(part[part != 0])
        require(
            len(entries) == D * (D - 1) // 2 and entries.min() > 1e-6,
            f"entries {where} the diagonal of W stay 0 when every parameter is changed",
            expected="a full matrix",
            got=f"W = {show(J[0])}",
        )


@check("LULinear")
def lu_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    D = case.pick(3, 2, 4, 5)
    layer, points = _lu(case, D), case.normal(case.pick(2, 4), D)
    layers.round_trips(subject, layer, points)
    x, _ = subject.pair(layer, "forward", points)
    require(np.abs(x - points).max() > 1e-6, "forward does nothing, though every parameter was changed")


@check("LULinear")
def lu_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det is log|det W| in forward and −log|det W| in inverse, one number per example."""
    D = case.pick(3, 2, 4)
    layer, points = _lu(case, D), case.normal(case.pick(2, 4), D)
    for direction in layers.SYMBOL:
        layers.log_det_is_of_jacobian(subject, layer, direction, points)
    x, _ = subject.pair(layer, "forward", points)
    require(np.abs(x - points).max() > 1e-6, "forward does nothing, though every parameter was changed")


@check("LULinear")
def lu_never_becomes_singular(subject: Subject, case: Case) -> None:
    """Wherever training takes the parameters, det W keeps its sign: it cannot pass through 0."""
    D = case.pick(3, 2)
    signs = []
    for _ in range(24):
        layer = _lu(case, D, 1.0)
        corners, log_det = subject.pair(layer, "forward", np.concatenate([np.eye(D), np.zeros((1, D))]))
        require(np.isfinite(log_det).all(), "log_det must be finite", got=show(log_det))
        signs.append(float(np.sign(np.linalg.det((corners[:-1] - corners[-1]).astype(float)))))
    require(
        abs(sum(signs)) == len(signs),
        "the determinant of W changes its sign from one set of parameters to another: on the way there it is 0",
        expected="the same sign for all parameters",
        got=f"signs {show(signs)}",
    )


@check("LULinear")
def lu_is_learned(subject: Subject, case: Case) -> None:
    """The map has a gradient with respect to D² parameters: as many as W has entries."""
    D = case.pick(3, 2, 4)
    _, gradient = subject.call(_lu(case, D), "forward", case.normal(D + 2, D), grad="self")
    moved = int((np.abs(gradient) > 0).sum())
    require(
        np.isfinite(gradient).all() and moved >= D * D,
        f"a layer of {D} variables needs {D * D} parameters that it depends on",
        expected=f"{D * D} with a gradient",
        got=f"{moved} of {len(gradient)}",
    )


@check("LULinear")
def lu_batch_shapes(subject: Subject, case: Case) -> None:
    """Inputs of any shape (*batch, D) work, and log_det has shape (*batch)."""
    D = case.pick(2, 3)
    layers.batch_shapes_agree(subject, _lu(case, D), case, D)
