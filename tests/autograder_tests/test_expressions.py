"""Texts of sympy answers evaluate to what sympy itself says, and nothing else is ever evaluated."""

from __future__ import annotations

import contextlib
import re
import time

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder_tests.compare import Mismatch
from autograder_tests.expressions import MAX_CHARACTERS, MAX_DEPTH, evaluate, same_values

x, y = sp.symbols("x y", real=True)
u = sp.Symbol("u")
POINTS = np.array([-2.5, -0.75, -0.2, 0.3, 0.9, 3.1])
CUBIC = sp.solve(u**3 + u - x, u)

EXPRESSIONS = [
    2 * x + 1,
    -(x**2) / 3 + sp.Rational(22, 7),
    sp.exp(-((x - 1) ** 2) / 8) / (2 * sp.sqrt(2 * sp.pi)),
    sp.Piecewise((sp.exp(-(sp.log(x) ** 2) / 2) / x, x > 0), (0, True)),
    sp.Piecewise((sp.exp(-(sp.atanh(x) ** 2)) / (1 - x**2), (x > -1) & (x < 1)), (0, True)),
    sp.Piecewise((1, (x < -1) | (x > 2)), (x, ~sp.Eq(x, 5)), (3, True)),
    sp.Piecewise((1, x >= 0), (2, x <= -1), (3, sp.Ne(x, 0))),
    *CUBIC,
    sp.diff(CUBIC[2], x),
    sp.sqrt(x),
    (-x) ** sp.Rational(1, 3),
    sp.cbrt(x) ** 2,
    sp.log(x) + sp.log(-x),
    1 / sp.sqrt(-x),
    x**-2 + x**3,
    2**x,
    sp.I * x + sp.E,
    sp.Abs(x + sp.I) + sp.re(sp.sqrt(x)) - sp.im(sp.log(x)),
    sp.sign(x) * sp.Max(x, 0, 1 - x) + sp.Min(x, 1),
    sp.sin(x) * sp.cos(x) + sp.tan(x) + sp.cot(x) + sp.sec(x) + sp.csc(x),
    sp.asin(x) + sp.acos(x) + sp.atan(x),
    sp.sinh(x) + sp.cosh(x) * sp.tanh(x) + sp.sech(x) + sp.coth(x) + sp.csch(x),
    sp.asinh(x) + sp.acosh(x) + sp.atanh(x / 4),
    sp.erf(x) + sp.erfc(x) + sp.erfinv(x / 4),
    sp.LambertW(x**2) + sp.Heaviside(x) + sp.floor(x) - sp.ceiling(x),
    sp.gamma(x**2) + sp.loggamma(x**2),
    sp.binomial(5, 2) * x,
    sp.atan2(x, 2) + sp.conjugate(sp.sqrt(x)) + sp.arg(sp.exp(sp.I * x)),
    sp.Add(*[sp.sin(k * x) for k in range(400)]),
    sp.Integer(7),
    sp.log(sp.Abs(x)) / sp.log(10) + sp.Float("0.1"),
]


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda e: sp.sstr(e)[:40])
def test_agrees_with_sympy(expression: sp.Expr) -> None:
    got = evaluate(sp.sstr(expression), {"x": POINTS})
    expected = np.array([complex(expression.subs(x, sp.Float(p, 30)).evalf(30)) for p in POINTS])
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
    assert np.iscomplexobj(got) == bool((np.abs(expected.imag) > 1e-9).any())


@pytest.mark.parametrize("relation", [x < 1, x <= 1, x > 1, x >= 1, sp.Eq(x, 1), sp.Ne(x, 1)])
def test_conditions(relation: sp.Basic) -> None:
    points = np.array([0.0, 1.0, 2.0])
    expected = [bool(relation.subs(x, int(p))) for p in points]
    assert evaluate(sp.sstr(relation), {"x": points}).tolist() == expected


def test_shapes_broadcast() -> None:
    assert evaluate("x*y", {"x": np.ones((3, 1)), "y": np.ones(4)}).shape == (3, 4)
    assert evaluate("5", {"x": np.ones((2, 3))}).shape == (2, 3)
    assert evaluate("x", {"x": 2.0}).shape == ()


def test_rounding_of_imaginary_parts_is_dropped() -> None:
    # The real root of u³ + u = x through complex cube roots of the two other branches' formula.
    root = sp.sstr(CUBIC[2])
    values = evaluate(root, {"x": POINTS})
    assert values.dtype == float
    np.testing.assert_allclose(values**3 + values, POINTS, atol=1e-12)


def test_no_piece_is_nan_and_infinities_stay() -> None:
    assert np.isnan(evaluate("Piecewise((1, x > 0))", {"x": -1.0}))
    assert evaluate("1/x", {"x": 0.0}) == np.inf
    assert evaluate("-oo", {}) == -np.inf
    assert np.isnan(evaluate("zoo", {}))


def test_negation_does_not_cross_a_branch_cut() -> None:
    # −(2 − x·i·0): the imaginary part is −0, and numpy's square root would go below the cut.
    assert evaluate("sqrt(-(x + 0*I*y))", {"x": 4.0, "y": 1.0}) == pytest.approx(2j)
    np.testing.assert_allclose(evaluate("sqrt(-x)*sqrt(-x)", {"x": POINTS}), -POINTS)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("exp(2*x)", "exp(x)**2", True),
        ("x*y", "y*x", True),
        ("x*y", "x*z", False),
        ("sqrt(x**2)", "x", False),
        ("1/(x - x)", "zoo", False),
        ("f(x)", "f(x)", True),
        ("f(x)", "g(x)", False),
        ("7", "14/2", True),
    ],
)
def test_texts_are_compared_by_value(a: str, b: str, same: bool) -> None:
    assert same_values(a, b) is same
    assert same_values(b, a) is same


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Derivative(sign(x), x)", "doit"),
        ("Integral(exp(-x), (x, 0, oo))", "doit"),
        ("Subs(Derivative(f(_xi), _xi), _xi, x)", "doit"),
        ("Limit(x, x, 0, dir='+')", "not an expression|doit"),
        ("CRootOf(x**5 + x - 1, 0)", "root"),
        ("exp(-u**2/2)/2", "has no u"),
        ("s(x)", r"s\(…\)"),
        ("exp(x, x, x)", "arguments"),
        ("Piecewise(x, x)", "pairs"),
        ("x +", "not one expression"),
        ("x = 2", "not one expression"),
        ("", "not one expression"),
        ("x.real", "can be evaluated"),
        ("x[0]", "can be evaluated"),
        ("'x'", "can be evaluated"),
        ("[x, x]", "can be evaluated"),
        ("lambda: x", "can be evaluated"),
        ("(x for x in x)", "can be evaluated"),
        ("exp(*[x])", "can be evaluated"),
        ("exp(x, out=x)", "can be evaluated"),
        ("__import__('os').system('true')", "can be evaluated"),
        ("x if x else x", "can be evaluated"),
        ("x // 2", "arithmetic"),
        ("x @ x", "arithmetic"),
        ("1" + "0" * 400, "1e308"),
    ],
)
def test_everything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(Mismatch) as caught:
        evaluate(text, {"x": POINTS})
    assert re.search(message, caught.value.what), caught.value.what


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9**9**9**9",
        "factorial(factorial(factorial(9)))",
        "9" * 5000,
        "(" * 5000 + "x" + ")" * 5000,
        "-" * 19_000 + "x",
        "exp(" * (MAX_DEPTH + 5) + "x" + ")" * (MAX_DEPTH + 5),
        "x**" * 3000 + "x",
        "x" * (MAX_CHARACTERS + 1),
        "+".join(["x"] * 9000),
    ],
    ids=lambda t: t[:10],
)
def test_size_is_bounded(text: str) -> None:
    start = time.perf_counter()
    with contextlib.suppress(Mismatch):
        evaluate(text, {"x": POINTS})
    assert time.perf_counter() - start < 2


PIECES = [*"xy2()+-*/,<&~I", "0.5", "**", "exp", "log", "Piecewise", "True"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_any_text_gives_an_array_or_a_mismatch(text: str) -> None:
    try:
        value = evaluate(text, {"x": POINTS, "y": 2.0})
    except Mismatch:
        return
    assert isinstance(value, np.ndarray)
    assert value.shape == POINTS.shape
