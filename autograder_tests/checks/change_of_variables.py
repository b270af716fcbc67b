"""Checks of 01_change_of_variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same
from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make
from autograder_tests.sampling import follows
from autograder_tests.subject import Subject

ASSIGNMENT = "01_change_of_variables"

LOG_2PI = np.log(2 * np.pi)

# Values of sympy's formulas: cube roots lose a few digits to cancellation.
SYMPY = {"rtol": 1e-6, "atol": 1e-9}


# ---- what the checks build -------------------------------------------------------------------------------

QUANTILES = {
    "exponential": ("-log1p(-u)", lambda x: -np.expm1(-np.maximum(x, 0))),
    "logistic": ("log(u) - log1p(-u)", lambda x: 1 / (1 + np.exp(-x))),
    "gumbel": ("-log(-log(u))", lambda x: np.exp(-np.exp(-x))),
    "cube": ("u^(1/3)", lambda x: np.clip(x, 0, 1) ** 3),
}


@builder
def quantile_function(name: str, loc: float, scale: float) -> Callable:
    """F⁻¹ of a distribution on the line as a function of a tensor: loc + scale·Q(u)."""
    import torch

    standard = {
        "exponential": lambda u: -torch.log1p(-u),
        "logistic": lambda u: torch.log(u) - torch.log1p(-u),
        "gumbel": lambda u: -torch.log(-torch.log(u)),
        "cube": lambda u: u ** (1 / 3),
    }[name]
    return lambda u: loc + scale * standard(u)


@builder
def torch_generator(seed: int) -> object:
    """A generator of torch's in the state of `seed`."""
    import torch

    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True)
class Base:
    """A density on the line and its distribution function, as text for sympy and as functions of checks."""

    density_text: str
    density: Callable[[np.ndarray], np.ndarray]
    cdf_text: str
    cdf: Callable[[np.ndarray], np.ndarray]


def _logistic(shift: float) -> Base:
    """Logistic about `shift`: not symmetric about 0, so that a lost sign of u shows."""
    u = f"(u - {shift})"
    return Base(
        f"exp(-{u})/(1 + exp(-{u}))**2",
        lambda v: np.exp(-(v - shift)) / (1 + np.exp(-(v - shift))) ** 2,
        f"1/(1 + exp(-{u}))",
        lambda v: 1 / (1 + np.exp(-(v - shift))),
    )


def _cauchy(shift: float) -> Base:
    return Base(
        f"1/(pi*(1 + (u - {shift})**2))",
        lambda v: 1 / (np.pi * (1 + (v - shift) ** 2)),
        f"Rational(1, 2) + atan(u - {shift})/pi",
        lambda v: 0.5 + np.arctan(v - shift) / np.pi,
    )


def _normal(shift: float) -> Base:
    """No distribution function in elementary terms: for densities alone."""
    return Base(
        f"exp(-(u - {shift})**2/2)/sqrt(2*pi)",
        lambda v: np.exp(-((v - shift) ** 2) / 2 - LOG_2PI / 2),
        "",
        lambda v: np.full_like(v, np.nan),
    )


@dataclass(frozen=True)
class Map:
    """x = T(u) as text, and T, T′ as functions of the check; `outside` holds points that T never reaches."""

    text: str
    T: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    outside: tuple[float, ...] = ()


def _times(factor: int, text: str) -> str:
    return {1: text, -1: f"-{text}"}.get(factor, f"{factor}*{text}")


def _plus(text: str, term: int) -> str:
    return f"{text} {'-' if term < 0 else '+'} {abs(term)}" if term else text


def _affine(a: int, b: int) -> Map:
    return Map(_plus(_times(a, "u"), b), lambda u: a * u + b, lambda u: a + 0 * u)


def _exponential(sign: int, k: int, d: int) -> Map:
    """sign·exp(k·u) + d, which covers one side of d."""
    return Map(
        _plus(_times(sign, f"exp({_times(k, 'u')})"), d),
        lambda u: sign * np.exp(k * u) + d,
        lambda u: sign * k * np.exp(k * u),
        (d - 2.3 * sign, d - 0.4 * sign, d - 0.01 * sign),
    )


def _sigmoid(k: int, c: int) -> Map:
    """c/(1 + exp(−k·u)), which covers (0, c)."""

    def sigmoid(u: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-k * u))

    return Map(
        f"{c}/(1 + exp({_times(-k, 'u')}))",
        lambda u: c * sigmoid(u),
        lambda u: c * k * sigmoid(u) * (1 - sigmoid(u)),
        (-1.7, -0.1, c + 0.2, c + 2.5),
    )


def _tanh(c: int) -> Map:
    return Map(
        _times(c, "tanh(u)"),
        lambda u: c * np.tanh(u),
        lambda u: c * (1 - np.tanh(u) ** 2),
        (-abs(c) - 1.1, abs(c) + 0.2),
    )


def _cubic(a: int, k: int) -> Map:
    """a·(u³ + k·u), strictly monotone for k > 0."""
    return Map(
        _times(a, f"(u**3 + {_times(k, 'u')})"), lambda u: a * (u**3 + k * u), lambda u: a * (3 * u**2 + k)
    )


def _density(subject: Subject, base: Base, map_text: str) -> str:
    """The text of the student's density of x = T(u)."""
    p_u, T = Make("expression", (base.density_text,)), Make("expression", (map_text,))
    u, x = Make("symbol", ("u",)), Make("symbol", ("x",))
    return _text(subject.call("student:pushforward_density", "", p_u, T, u, x), "pushforward_density")


def _text(answer: object, name: str) -> str:
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        return repr(answer)
    if not isinstance(answer, Expression):
        raise Mismatch(f"{name} must return a sympy expression", got=describe(answer))
    return answer.text


def _base(case: Case) -> Base:
    """A density that is not symmetric about 0; the normal one in the visible case."""
    shift = case.pick(1, 1, -1, 2)
    return case.pick(_normal, _normal, _logistic, _cauchy)(shift)


def _inside(subject: Subject, case: Case, T: Map) -> None:
    """At images x = T(u) of random u, the density is p_u(u)/|T′(u)|: no inverse is needed to say so."""
    base = _base(case)
    text = _density(subject, base, T.text)
    u = case.uniform(-1.8, 1.8, case.pick(3, 8))
    x = T.T(u)
    given = {"p_u": base.density_text, "T(u)": T.text, "x": x, "which comes from u": u}
    same(evaluate(text, {"x": x}), base.density(u) / np.abs(T.slope(u)), "p_x(x)", given=given, **SYMPY)


# ---- affine_log_prob -------------------------------------------------------------------------------------


def _affine_log_prob(subject: Subject, x: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    got = subject.array("student:affine_log_prob", "", x, a, b)
    expected = -0.5 * ((x - b) / a) ** 2 - 0.5 * LOG_2PI - np.log(np.abs(a))
    same(got, expected, "affine_log_prob(x, a, b)", given={"x": x, "a": a, "b": b})


def _number(value: float) -> np.ndarray:
    """A tensor without axes on the student's side."""
    return np.asarray(float(value))


@check("affine_log_prob")
def affine_log_prob_stretched(subject: Subject, case: Case) -> None:
    """log p_x(x) of x = a·u + b, u ~ N(0, 1), in nats, for a > 0, also where the density is too small for a float."""
    x = case.normal(case.pick(2, 1, 5))
    a, b = case.pick(2.0, *case.uniform(0.2, 4, 2)), case.pick(1.0, *case.uniform(-3, 3, 2))
    _affine_log_prob(subject, x, _number(a), _number(b))
    # 60 standard deviations out, the density is e^−1800, which is 0 in floating point.
    _affine_log_prob(subject, b + 60 * a * np.array([-1.0, 1.0]), _number(a), _number(b))


@check("affine_log_prob")
def affine_log_prob_mirrored(subject: Subject, case: Case) -> None:
    """log p_x(x) where a < 0: the map mirrors the line."""
    x = case.normal(case.pick(2, 1, 5))
    a, b = case.pick(-2.0, *case.uniform(-4, -0.2, 2)), case.pick(1.0, *case.uniform(-3, 3, 2))
    _affine_log_prob(subject, x, _number(a), _number(b))


@check("affine_log_prob")
def affine_density_has_mass_one(subject: Subject, case: Case) -> None:
    """The density integrates to 1 over the line."""
    a, b = case.pick(2.0, 0.5, 3.0), case.pick(1.0, -2.0, 4.0)
    # Wide enough for a density that is displaced or too broad: only its mass is asked for.
    x, step = np.linspace(-80, 80, 16001, retstep=True)
    log_prob = subject.array("student:affine_log_prob", "", x, _number(a), _number(b))
    has_shape(log_prob, x.shape, "affine_log_prob(x, a, b)")
    mass = float(np.exp(log_prob.astype(float)).sum() * step)
    require(
        abs(mass - 1) < 1e-3,
        "the total probability",
        expected="1",
        got=f"{mass:.4f}",
        given={"a": _number(a), "b": _number(b)},
    )


@check("affine_log_prob")
def affine_log_prob_elementwise(subject: Subject, case: Case) -> None:
    """Every number has its own log-density, with its own a and b: x, a and b broadcast."""
    x = case.normal(case.pick(2, 3, 4), 1)
    K = case.pick(3, 2, 5)
    a = case.uniform(0.5, 2, K) * case.pick(np.array([1.0, -1.0, 1.0]), case.rng.choice([-1.0, 1.0], K))
    _affine_log_prob(subject, x, a, case.normal(K))


# ---- pushforward_cdf -------------------------------------------------------------------------------------


def _cdf(subject: Subject, case: Case, S_text: str, S: Callable, increasing: bool) -> None:
    base = case.pick(_logistic, _logistic, _cauchy)(case.pick(1, 1, -1, 2))
    F_u, S_made = Make("expression", (base.cdf_text,)), Make("expression", (S_text,))
    u_symbol, x_symbol = Make("symbol", ("u",)), Make("symbol", ("x",))
    answer = subject.call("student:pushforward_cdf", "", F_u, S_made, u_symbol, x_symbol)
    x = case.uniform(-3, 3, case.pick(3, 8))
    expected = base.cdf(S(x)) if increasing else 1 - base.cdf(S(x))
    given = {"F_u": base.cdf_text, "S(x)": S_text, "x": x}
    same(evaluate(_text(answer, "pushforward_cdf"), {"x": x}), expected, "F_x(x)", given=given, **SYMPY)


@check("pushforward_cdf")
def cdf_of_increasing_map(subject: Subject, case: Case) -> None:
    """F_x(x) = P(T(u) ≤ x) where T is increasing."""
    text, S = case.pick(
        ("x/2 - 1", lambda x: x / 2 - 1),
        ("x**3 + x", lambda x: x**3 + x),
        ("sinh(x) - 1", lambda x: np.sinh(x) - 1),
    )
    _cdf(subject, case, text, S, True)


@check("pushforward_cdf")
def cdf_of_decreasing_map(subject: Subject, case: Case) -> None:
    """F_x(x) = P(T(u) ≤ x) where T is decreasing."""
    text, S = case.pick(
        ("1 - x/2", lambda x: 1 - x / 2),
        ("-x**3 - x", lambda x: -(x**3) - x),
        ("-sinh(x) + 1", lambda x: 1 - np.sinh(x)),
    )
    _cdf(subject, case, text, S, False)


# ---- pushforward_density ---------------------------------------------------------------------------------


@check("pushforward_density")
def density_of_increasing_map(subject: Subject, case: Case) -> None:
    """p_x(x) of x = T(u) for an increasing T."""
    for T in case.pick((_affine(2, 1), _exponential(1, 1, 0)), (_affine(3, -2),), (_sigmoid(1, 2),)):
        _inside(subject, case, T)


@check("pushforward_density")
def density_of_decreasing_map(subject: Subject, case: Case) -> None:
    """p_x(x) of x = T(u) for a decreasing T."""
    _inside(
        subject,
        case,
        case.pick(_affine(-2, 3), _affine(-1, 4), _exponential(1, -1, 0), _exponential(-1, 1, 2)),
    )


@check("pushforward_density")
def density_vanishes_outside_image(subject: Subject, case: Case) -> None:
    """p_x(x) is 0 where T never arrives."""
    T = case.pick(
        _exponential(1, 1, 0), _exponential(1, -1, 2), _exponential(-1, 1, 1), _sigmoid(1, 3), _sigmoid(-1, 1)
    )
    base = _base(case)
    text = _density(subject, base, T.text)
    x = np.array(T.outside)
    same(
        evaluate(text, {"x": x}),
        np.zeros_like(x),
        "p_x(x) outside the image of T",
        given={"p_u": base.density_text, "T(u)": T.text, "x": x},
        **SYMPY,
    )


@check("pushforward_density", hidden_runs=1)
def density_of_tanh(subject: Subject, case: Case) -> None:
    """p_x(x) of x = tanh(u), whose inverse sympy writes in two branches."""
    _inside(subject, case, case.pick(_tanh(1), _tanh(-1), _tanh(2)))


@check("pushforward_density", hidden_runs=1)
def density_of_cubic(subject: Subject, case: Case) -> None:
    """p_x(x) of x = u³ + u, whose inverse sympy writes in three branches."""
    _inside(subject, case, case.pick(_cubic(1, 1), _cubic(-1, 1), _cubic(1, 2), _cubic(2, 1)))


@check("pushforward_density")
def density_needs_injective_map(subject: Subject, case: Case) -> None:
    """A map that is not injective has no inverse: ValueError."""
    text = case.pick("u**2", "(u - 1)**2", "u**4 + 1", "exp(-u**2)", "3 - u**2")
    base = _normal(0)
    p_u, T = Make("expression", (base.density_text,)), Make("expression", (text,))
    raised = subject.raises(
        "student:pushforward_density", "", p_u, T, Make("symbol", ("u",)), Make("symbol", ("x",))
    )
    require(
        raised is not None and "ValueError" in raised.types,
        f"pushforward_density must refuse T(u) = {text}, which sends two u to one x",
        expected="ValueError",
        got="no error" if raised is None else f"{raised.type}: {raised.message}",
    )


# ---- square_density --------------------------------------------------------------------------------------


def _square(subject: Subject, base: Base) -> str:
    p_u, u, x = Make("expression", (base.density_text,)), Make("symbol", ("u",)), Make("symbol", ("x",))
    return _text(subject.call("student:square_density", "", p_u, u, x), "square_density")


@check("square_density")
def square_density_inside_image(subject: Subject, case: Case) -> None:
    """p_x(x) of x = u² for x > 0: both preimages count."""
    base = case.pick(_logistic, _normal, _cauchy)(case.pick(1, -1, 2))
    text, x = _square(subject, base), case.uniform(0.2, 4, case.pick(3, 8))
    root = np.sqrt(x)
    expected = (base.density(root) + base.density(-root)) / (2 * root)
    same(evaluate(text, {"x": x}), expected, "p_x(x)", given={"p_u": base.density_text, "x": x}, **SYMPY)


@check("square_density")
def square_density_outside_image(subject: Subject, case: Case) -> None:
    """p_x(x) of x = u² is 0 for x < 0."""
    base = case.pick(_logistic, _normal, _cauchy)(case.pick(1, -1, 2))
    text, x = _square(subject, base), -case.uniform(0.2, 4, case.pick(2, 5))
    same(
        evaluate(text, {"x": x}),
        np.zeros_like(x),
        "p_x(x)",
        given={"p_u": base.density_text, "x": x},
        **SYMPY,
    )


# ---- sample_by_inverse_cdf -------------------------------------------------------------------------------

# torch.rand(1000) in float32 holds an exact 0.0, or the largest number below 1, after these seeds (found by search; one
# draw in 2²⁴ is 0, and one in 2²⁴ is 1 − 2⁻²⁴).
SEEDS_WITH_ZERO = (11993, 28587, 52372, 63250)
SEEDS_WITH_TOP = (12162, 14665, 16546, 27559)
DRAWS_WITH_ZERO = 1000


def _samples(
    subject: Subject, quantile: Make, shape: tuple[int, ...], generator_seed: int | None, seed: int = 0
) -> np.ndarray:
    generator = None if generator_seed is None else Make("torch_generator", (generator_seed,))
    given = {} if generator is None else {"generator": generator}
    x = subject.array("student:sample_by_inverse_cdf", "", quantile, shape, seed=seed, **given)
    has_shape(x, shape, f"sample_by_inverse_cdf(inverse_cdf, {shape})")
    return x.astype(float)


@check("sample_by_inverse_cdf")
def samples_have_shape(subject: Subject, case: Case) -> None:
    """The result has the shape that was asked for."""
    quantile = Make("quantile_function", ("logistic", 0.0, 1.0))
    for shape in ((case.pick(4, 7),), (2, case.pick(3, 5)), (3, 1, 2), ()):
        _samples(subject, quantile, shape, case.integer())


@check("sample_by_inverse_cdf")
def samples_follow_distribution(subject: Subject, case: Case) -> None:
    """Samples follow F: the Kolmogorov-Smirnov distance to it is small, and so are both tails' gaps."""
    name = case.pick("exponential", "logistic", "gumbel", "cube")
    loc, scale, n = case.pick(0.0, 1.5, -2.0), case.pick(1.0, 0.5, 3.0), 20_000
    x = _samples(subject, Make("quantile_function", (name, loc, scale)), (n,), case.integer())
    formula, cdf = QUANTILES[name]
    given = {"inverse_cdf": f"u → {loc} + {scale}·({formula})", "draws": str(n)}
    require(
        not np.isnan(x).any(),
        "samples are NaN: was inverse_cdf asked about numbers outside (0, 1)?",
        expected="finite numbers",
        got=f"{np.isnan(x).sum()} of {n} are NaN",
        given=given,
    )
    follows(x, "the samples do not follow F", lambda v: cdf((v - loc) / scale), given)
    # Five equal extremes of a continuous distribution: with float32's 2⁻²⁴ less than once in 10¹¹ runs.
    ends = {"smallest": int((x == x.min()).sum()), "largest": int((x == x.max()).sum())}
    require(
        max(ends.values()) < 5,
        "a tail stands on one point: many samples share the same extreme value",
        expected="one or two samples at each end",
        got=f"{ends['smallest']} samples at the smallest value, {ends['largest']} at the largest",
        given=given,
    )
    F = np.sort(cdf((x - loc) / scale))
    require(
        F[0] < 0.004 and F[-1] > 0.996,
        "the tails are cut off: among so many draws some lie further out",
        expected="F(smallest) < 0.004 and F(largest) > 0.996",
        got=f"{F[0]:.4f} and {F[-1]:.4f}",
        given=given,
    )


@check("sample_by_inverse_cdf")
def samples_are_finite_at_zero(subject: Subject, case: Case) -> None:
    """Samples are finite even where the uniform draw is exactly 0, or the largest number below 1."""
    quantile = Make("quantile_function", ("logistic", 0.0, 1.0))
    for seed, special in ((case.pick(*SEEDS_WITH_ZERO), "0.0"), (case.pick(*SEEDS_WITH_TOP), "1 − 2⁻²⁴")):
        x = _samples(subject, quantile, (DRAWS_WITH_ZERO,), seed)
        given = {
            "generator": f"torch.Generator().manual_seed({seed}): torch.rand({DRAWS_WITH_ZERO}) then holds {special}",
            "inverse_cdf": "u → log(u) - log1p(-u)",
        }
        # The smallest positive float32, 1e-45, is sent to −103: no draw in (0, 1) gives a number beyond 1000.
        far = ~(np.abs(x) < 1000)
        require(
            not far.any(),
            "a sample is not a finite number of plausible size",
            expected="|x| < 1000",
            got=f"{x[far][0]} at position {np.flatnonzero(far)[0]}" if far.any() else "",
            given=given,
        )


@check("sample_by_inverse_cdf")
def samples_come_from_generator(subject: Subject, case: Case) -> None:
    """The generator that is given decides the draws; without one, every call draws anew."""
    quantile, shape = Make("quantile_function", ("logistic", 0.0, 1.0)), (case.pick(3, 6),)
    one, two, three = (case.integer() for _ in range(3))
    first = _samples(subject, quantile, shape, one, seed=two)
    again = _samples(subject, quantile, shape, one, seed=three)
    same(again, first, "the same generator state must give the same samples", rtol=1e-6, atol=1e-6)
    other = _samples(subject, quantile, shape, two, seed=two)
    require(
        not np.allclose(first, other), "two states of the generator give the same samples", got=str(other)
    )
    draws = [_samples(subject, quantile, shape, None, seed=s) for s in (one, two)]
    require(
        not np.allclose(*draws), "without a generator, two calls give the same samples", got=str(draws[0])
    )


# ---- negative_log_likelihood -----------------------------------------------------------------------------


def _nll(x: np.ndarray, shift: float, log_scale: float) -> np.ndarray:
    u = (x - shift) * np.exp(-log_scale)
    return 0.5 * u**2 + 0.5 * LOG_2PI + log_scale


def _parameters(case: Case) -> tuple[float, float]:
    return case.pick(1.0, *case.uniform(-2, 2, 2)), case.pick(-0.5, *case.uniform(-1.5, 1.5, 2))


def _ask_nll(subject: Subject, x: np.ndarray, shift: float, log_scale: float) -> np.ndarray:
    got = subject.array("student:negative_log_likelihood", "", x, _number(shift), _number(log_scale))
    has_shape(got, (), "negative_log_likelihood", {"x": f"{len(x)} numbers"})
    return got


@check("negative_log_likelihood")
def nll_of_one_number(subject: Subject, case: Case) -> None:
    """−log p_x(x) of a single number, in nats."""
    shift, log_scale = _parameters(case)
    x = case.normal(1, scale=2.0)
    given = {"x": x, "shift": _number(shift), "log_scale": _number(log_scale)}
    got = _ask_nll(subject, x, shift, log_scale)
    same(got, _nll(x, shift, log_scale).mean(), "negative_log_likelihood", given=given)


@check("negative_log_likelihood")
def nll_is_mean_over_data(subject: Subject, case: Case) -> None:
    """The NLL of a data set is the mean over its numbers: repeating the data changes nothing."""
    shift, log_scale = _parameters(case)
    x = case.normal(case.pick(3, 10, 50), scale=2.0)
    once = _ask_nll(subject, x, shift, log_scale)
    twice = _ask_nll(subject, np.concatenate([x, x]), shift, log_scale)
    same(twice, once, "NLL of the data listed twice", given={"x": f"{len(x)} numbers, then the same again"})
    singles = [_ask_nll(subject, x[i : i + 1], shift, log_scale) for i in range(len(x))]
    same(
        once,
        np.mean(singles),
        "NLL of the data against the mean over single numbers",
        given={"x": str(x.round(3))},
    )


@check("negative_log_likelihood")
def nll_changes_with_units(subject: Subject, case: Case) -> None:
    """Data and model in units c times smaller: the NLL grows by log c."""
    shift, log_scale = _parameters(case)
    x, c = case.normal(case.pick(2, 20), scale=2.0), case.pick(100.0, 10.0, 0.001)
    here = _ask_nll(subject, x, shift, log_scale)
    there = _ask_nll(subject, c * x, c * shift, log_scale + np.log(c))
    given = {"x": "x, shift and exp(log_scale), all multiplied by c", "c": _number(c)}
    same(there - here, np.log(c), "change of the NLL", given=given, rtol=1e-7, atol=1e-7)


@check("negative_log_likelihood")
def nll_gradient(subject: Subject, case: Case) -> None:
    """The NLL carries the gradient that training needs, with respect to shift and log_scale."""
    shift, log_scale = _parameters(case)
    x = case.normal(case.pick(3, 10), scale=2.0)
    args = (x, _number(shift), _number(log_scale))
    _, (by_shift, by_log_scale) = subject.call("student:negative_log_likelihood", "", *args, grad=(1, 2))
    u = (x - shift) * np.exp(-log_scale)
    given = {"x": str(x.round(3)), "shift": args[1], "log_scale": args[2]}
    same(
        by_shift, np.array([-u.mean() * np.exp(-log_scale)]), "∂NLL/∂shift", given=given, rtol=1e-6, atol=1e-8
    )
    same(by_log_scale, np.array([1 - (u**2).mean()]), "∂NLL/∂log_scale", given=given, rtol=1e-6, atol=1e-8)


# ---- fit_affine_flow -------------------------------------------------------------------------------------


def _fit(subject: Subject, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = case.normal(case.pick(4, 3, 11), scale=case.pick(2.0, 0.1, 5.0)) + case.pick(3.0, -1.0, 0.5)
    shift, log_scale = subject.pair("student:fit_affine_flow", "", x)
    return x, shift, log_scale


@check("fit_affine_flow")
def fit_has_best_shift(subject: Subject, case: Case) -> None:
    """The shift of least NLL."""
    x, shift, _ = _fit(subject, case)
    same(shift, x.mean(), "shift", given={"x": str(x.round(4))})


@check("fit_affine_flow")
def fit_has_best_log_scale(subject: Subject, case: Case) -> None:
    """The log_scale of least NLL."""
    x, _, log_scale = _fit(subject, case)
    same(log_scale, np.log(x.std()), "log_scale", given={"x": str(x.round(4))})


# ---- nll_in_new_units ------------------------------------------------------------------------------------


def _units(subject: Subject, nll: float, factor: float, *D: int) -> None:
    got = subject.array("student:nll_in_new_units", "", nll, factor, *D)
    given = {"nll": _number(nll), "factor": _number(factor), "D": str(*D) or "not given: 1"}
    expected = nll + sum(D or (1,)) * np.log(abs(factor))
    same(got, expected, "NLL in the new units", given=given, rtol=1e-6, atol=1e-6)


@check("nll_in_new_units")
def units_of_one_number(subject: Subject, case: Case) -> None:
    """One number per example, multiplied by a positive factor; D = 1 unless said otherwise."""
    _units(subject, float(case.uniform(-1, 3)), case.pick(100.0, 60.0), 1)
    _units(subject, float(case.uniform(-1, 3)), case.pick(0.001, 0.5))


@check("nll_in_new_units")
def units_of_vectors(subject: Subject, case: Case) -> None:
    """D numbers per example, each multiplied by the factor."""
    _units(subject, float(case.uniform(-1, 3)), case.pick(100.0, 255.0, 0.1), case.pick(3, 64, 7))


@check("nll_in_new_units")
def units_mirrored(subject: Subject, case: Case) -> None:
    """A negative factor mirrors the data: a density has no sign."""
    _units(subject, float(case.uniform(-1, 3)), case.pick(-100.0, -1.0, -0.25), case.pick(1, 2, 5))
