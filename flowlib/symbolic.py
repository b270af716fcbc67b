"""Densities and Jacobians as formulas, by sympy."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import sympy as sp

__all__ = ["coupling_jacobian", "jacobian_matrix", "pushforward_density"]

# Where candidate inverses are tried: both signs, near 0 and far, no symmetry a wrong branch could share.
_PROBES = [sp.Rational(p, q) for p, q in ((-13, 4), (-7, 5), (-3, 8), (0, 1), (2, 7), (9, 8), (11, 4))]


def _values_for_parameters(*expressions: sp.Expr, without: set[sp.Symbol]) -> dict[sp.Symbol, sp.Expr]:
    """A number for each symbol other than the variables, of the sign it is declared to have."""
    symbols = set().union(*(e.free_symbols for e in expressions)) - without
    ordered = sorted(symbols, key=lambda symbol: symbol.name)
    sizes = [sp.Rational(2 * i + 5, i + 3) for i in range(len(ordered))]
    return {s: -v if s.is_negative else v for s, v in zip(ordered, sizes, strict=True)}


def _inverse_branch(T: sp.Expr, u: sp.Symbol, x: sp.Symbol, numbers: dict) -> sp.Expr:
    """The solution u = S(x) of T(u) = x with S(T(u)) = u at every probe."""
    try:
        branches = sp.solve(sp.Eq(T, x), u)
    except NotImplementedError:
        branches = []
    for branch in branches:
        arrivals = (branch.subs(x, T.subs(u, probe)).subs(numbers) for probe in _PROBES)
        if all(abs(sp.N(y - probe, 30)) < 1e-15 for y, probe in zip(arrivals, _PROBES, strict=True)):
            return branch
    raise ValueError(f"sympy finds no formula for the inverse of T(u) = {T}")


def pushforward_density(p_u: sp.Expr, T: sp.Expr, u: sp.Symbol, x: sp.Symbol) -> sp.Expr:
    """The density of x = T(u) as an expression in x: p_x(x) = p_u(S(x)) · |S′(x)|, S = T⁻¹.

    Args:
        p_u: density of the base, an expression in u on the whole real line.
        T: strictly monotone expression in u, increasing or decreasing, with T′ ≠ 0. Other symbols are
            parameters; declare what is known about them (`positive=True`).
        u, x: real symbols.

    Outside the image of T, the open interval between its limits at ±∞, the density is 0.

    Raises `ValueError` when T is not injective (u²), when T′ vanishes (u³ at 0: the density is infinite
    there), and when sympy cannot solve T(u) = x.

    >>> u, x = sp.symbols("u x", real=True)
    >>> p_u = sp.exp(-(u**2) / 2) / sp.sqrt(2 * sp.pi)
    >>> p_x = pushforward_density(p_u, sp.exp(u), u, x)
    >>> p_x.subs(x, 1), p_x.subs(x, -1)
    (sqrt(2)/(2*sqrt(pi)), 0)
    """
    p_u, T = sp.sympify(p_u), sp.sympify(T)
    if u not in T.free_symbols:
        raise ValueError(f"T must depend on {u}, got {T}")
    numbers = _values_for_parameters(T, without={u, x})
    slope = sp.diff(T, u)
    arrivals = [sp.N(T.subs(numbers).subs(u, probe), 30) for probe in _PROBES]
    steps = [after - before for before, after in pairwise(arrivals)]
    increasing = steps[0] > 0
    if not all((step > 0) == increasing and step != 0 for step in steps):
        raise ValueError(
            f"T(u) = {T} is not injective: it is not monotone, so a point x can come from several u"
        )
    flat = sp.solveset(slope.subs(numbers), u, sp.S.Reals)
    if isinstance(flat, sp.FiniteSet) and flat:
        raise ValueError(
            f"T(u) = {T} has slope 0 at u = {flat.args[0]}: its inverse is not differentiable there"
        )

    S = _inverse_branch(T, u, x, numbers)
    # Without parameters the direction of T is known, and with it the sign of S′: no absolute value needed.
    slope_of_inverse = sp.diff(S, x)
    if slope_of_inverse.is_rational_function(x):
        slope_of_inverse = sp.cancel(slope_of_inverse)
    stretch = sp.Abs(slope_of_inverse) if numbers else slope_of_inverse if increasing else -slope_of_inverse
    density = p_u.subs(u, S) * stretch
    towards = (-sp.oo, sp.oo) if increasing else (sp.oo, -sp.oo)
    low, high = (
        None if sp.limit(T.subs(numbers), u, end).is_infinite else sp.limit(T, u, end) for end in towards
    )
    inside = ([] if low is None else [x > low]) + ([] if high is None else [x < high])
    return sp.Piecewise((density, sp.And(*inside)), (0, True)) if inside else density


def jacobian_matrix(T: Sequence[sp.Expr], variables: Sequence[sp.Symbol]) -> sp.Matrix:
    """The Jacobian of a list of expressions: J[i, j] = ∂T_i/∂variables_j, a sympy Matrix.

    >>> a, b = sp.symbols("a b", real=True)
    >>> jacobian_matrix([a, a**2 * b], [a, b])
    Matrix([
    [    1,    0],
    [2*a*b, a**2]])
    """
    return sp.Matrix([[sp.diff(sp.sympify(t), v) for v in variables] for t in T])


def coupling_jacobian(
    s: Callable[[Sequence[sp.Symbol]], Sequence[sp.Expr]],
    t: Callable[[Sequence[sp.Symbol]], Sequence[sp.Expr]],
    u: Sequence[sp.Symbol],
) -> sp.Matrix:
    """The Jacobian ∂x/∂u of a coupling x = (u_kept, exp(s) ⊙ u_moved + t), a sympy Matrix `(D, D)`.

    u is a list of D ≥ 2 symbols, the first d = ⌊D/2⌋ are kept; s and t take the list of kept symbols and
    return D − d expressions. The matrix is block-triangular: [[I, 0], [∂x_moved/∂u_kept, diag(exp(s))]].
    Raises `ValueError` for D < 2 or a wrong number of expressions.

    >>> a, b = sp.symbols("a b", real=True)
    >>> coupling_jacobian(lambda kept: [2 * kept[0]], lambda kept: [kept[0]], [a, b])
    Matrix([
    [                1,        0],
    [2*b*exp(2*a) + 1, exp(2*a)]])
    """
    if len(u) < 2:
        raise ValueError(f"u: expected at least 2 symbols, got {len(u)}")
    kept, moved = list(u[: len(u) // 2]), list(u[len(u) // 2 :])
    scales, translations = list(s(kept)), list(t(kept))
    for name, expressions in (("s", scales), ("t", translations)):
        if len(expressions) != len(moved):
            raise ValueError(f"{name}: expected {len(moved)} expressions, got {len(expressions)}")
    x = kept + [sp.exp(si) * ui + ti for si, ui, ti in zip(scales, moved, translations, strict=True)]
    return jacobian_matrix(x, u)
