"""Values of a sympy answer from its text, without sympy: a text from a student's process is never executed.

`sympy.sstr` writes expressions as Python; the text is parsed by `ast` and walked over a whitelist of
operations, constants and functions, each vectorized in numpy. Numbers become float64 as they are read, so
that no power of huge integers is ever computed, and the size and depth of the text are bounded.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from autograder_tests.compare import Mismatch

__all__ = ["evaluate", "same_values"]

Function = Callable[..., np.ndarray]

MAX_CHARACTERS = 20_000
MAX_DEPTH = 100
ROUNDING = 1e-9  # an imaginary part below this, relative to the value, is rounding

CONSTANTS = {
    "pi": np.pi,
    "E": np.e,
    "I": 1j,
    "oo": np.inf,
    "nan": np.nan,
    "zoo": np.nan,
    "EulerGamma": np.euler_gamma,
}

# What sympy leaves behind when it has not carried an operation out.
UNEVALUATED = {"Derivative", "Integral", "Subs", "Limit", "Sum", "Product"}
IMPLICIT = {"CRootOf", "ComplexRootOf", "RootOf", "RootSum", "ConditionSet", "FiniteSet"}


def evaluate(text: str, values: Mapping[str, float | np.ndarray]) -> np.ndarray:
    """The value of an expression that `sympy.sstr` wrote, at `values` of its symbols.

    Args:
        text: of the expression.
        values: name of a symbol → number or array; they broadcast against each other.

    Returns:
        An array of the shape that `values` broadcast to: float64, or complex128 when an imaginary part is
        more than rounding (1e-9 of the value), or bool for a condition. Powers and logarithms take the
        principal branch, as in sympy.

    Raises:
        Mismatch: for other symbols, unevaluated operations, unknown functions, a text too long or too deep.

    >>> evaluate("Piecewise((exp(-x), x > 0), (0, True))", {"x": np.array([-1.0, 0.5])}).round(4)
    array([0.    , 0.6065])
    """
    tree = _parse(text)
    arrays = {name: np.asarray(value, dtype=float) for name, value in values.items()}
    shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
    with np.errstate(all="ignore"):
        result = _real_where_possible(np.asarray(_Walk(arrays, text).value(tree, 0)))
    return np.broadcast_to(result, shape).copy()


def same_values(a: str, b: str, rtol: float = 1e-6) -> bool:
    """Whether two texts are the same function of their symbols: equal at a fixed set of random points.

    Texts that cannot be evaluated are the same when they are equal letter by letter.

    >>> same_values("2*(x + 1)", "2*x + 2"), same_values("x", "Abs(x)")
    (True, False)
    """
    if a == b:
        return True
    try:
        symbols = _symbols(a) | _symbols(b)
        points = np.random.default_rng(0).uniform(-3, 3, (max(1, len(symbols)), 16))
        values = dict(zip(sorted(symbols), points, strict=False))
        left, right = evaluate(a, values), evaluate(b, values)
    except Mismatch:
        return False
    return bool(np.allclose(left, right, rtol=rtol, atol=rtol * 1e-3, equal_nan=True))


def _parse(text: str) -> ast.AST:
    if len(text) > MAX_CHARACTERS:
        raise Mismatch(
            "the expression is too long to be evaluated: simplify it",
            expected=f"at most {MAX_CHARACTERS:,} characters",
            got=f"{len(text):,} characters",
        )
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Mismatch("the answer is not one expression", got=text[:200]) from None


def _symbols(text: str) -> set[str]:
    names = {node.id for node in ast.walk(_parse(text)) if isinstance(node, ast.Name)}
    return names - {*CONSTANTS, *FUNCTIONS, "Piecewise"}


class _Walk:
    """One pass over the syntax tree, every node an array."""

    def __init__(self, arrays: Mapping[str, np.ndarray], text: str) -> None:
        self.arrays, self.text = arrays, text

    def value(self, node: ast.AST, depth: int) -> np.ndarray:
        if depth > MAX_DEPTH:
            raise self.refused(f"the expression is nested deeper than {MAX_DEPTH} levels: simplify it")
        match node:
            case ast.Constant(value=bool() as b):
                return np.asarray(b)
            case ast.Constant(value=int() | float() as number):
                return self.number(number)
            case ast.Name(id=name):
                return self.symbol(name)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
                return _tidy(UNARY[type(op)](self.value(operand, depth + 1)))
            case ast.BinOp():
                return self.chain(node, depth)
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in RELATIONS:
                return RELATIONS[type(op)](self.value(left, depth + 1), self.value(right, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self.function(name, args, depth)
        raise self.refused("the answer is not an expression that can be evaluated")

    def refused(self, what: str) -> Mismatch:
        return Mismatch(what, got=self.text[:200])

    def number(self, number: int | float) -> np.ndarray:
        try:
            return np.asarray(float(number))
        except OverflowError:
            raise self.refused("the expression holds a number beyond 1e308") from None

    def symbol(self, name: str) -> np.ndarray:
        if name in self.arrays:
            return self.arrays[name]
        if name in CONSTANTS:
            return np.asarray(CONSTANTS[name])
        known = ", ".join(self.arrays) or "no symbol"
        raise Mismatch(
            f"the symbol {name} is left in the answer: an answer in {known} has no {name}",
            expected=f"an expression in {known}",
            got=self.text[:200],
        )

    def chain(self, node: ast.AST, depth: int) -> np.ndarray:
        """a + b − c … is one level, however long: the tree leans left, and a loop walks down that side."""
        steps = []
        while isinstance(node, ast.BinOp) and type(node.op) in BINARY:
            steps.append((BINARY[type(node.op)], node.right))
            node = node.left
        if not steps:
            raise self.refused("the answer holds an operation that is not arithmetic")
        total = self.value(node, depth + 1)
        for function, right in reversed(steps):
            total = _tidy(function(total, self.value(right, depth + 1)))
        return total

    def function(self, name: str, args: list[ast.expr], depth: int) -> np.ndarray:
        if name == "Piecewise":
            return self.piecewise(args, depth)
        if name in UNEVALUATED:
            raise self.refused(f"the answer holds a {name} that sympy has not carried out: try .doit()")
        if name in IMPLICIT:
            raise self.refused(f"the answer names a root of an equation ({name}), not a formula for it")
        if name not in FUNCTIONS:
            raise self.refused(f"the answer holds {name}(…), which is not among the known functions")
        values = [self.value(a, depth + 1) for a in args]
        try:
            return _tidy(np.asarray(FUNCTIONS[name](*values)))
        except TypeError:
            raise self.refused(f"{name} cannot take these {len(args)} arguments") from None

    def piecewise(self, args: list[ast.expr], depth: int) -> np.ndarray:
        """The first piece whose condition holds; NaN where none does, as in sympy."""
        result = np.asarray(np.nan)
        for pair in reversed(args):
            if not (isinstance(pair, ast.Tuple) and len(pair.elts) == 2):
                raise self.refused("a Piecewise needs pairs (expression, condition)")
            piece, condition = (self.value(n, depth + 1) for n in pair.elts)
            result = np.where(condition.astype(bool), piece, result)
        return _tidy(result)


# ---- arithmetic: real as long as it can be, complex when it must -----------------------------------------


def _tidy(value: Any) -> np.ndarray:
    """Real where no imaginary part is left; else an imaginary −0 becomes 0, lest it cross a branch cut."""
    value = np.asarray(value)
    if not np.iscomplexobj(value):
        return value
    return value.real if (value.imag == 0).all() else value + 0.0


def _is_real(value: np.ndarray) -> np.ndarray:
    """Where the imaginary part is rounding."""
    return np.abs(np.imag(value)) <= ROUNDING * (1 + np.abs(np.real(value)))


def _real_where_possible(value: np.ndarray) -> np.ndarray:
    """The real part, when the imaginary part is rounding everywhere."""
    if np.iscomplexobj(value):
        return value.real if (_is_real(value) | np.isnan(value)).all() else value
    return value if value.dtype == bool else value.astype(float)


def _power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(base) or np.iscomplexobj(exponent):
        return np.power(base.astype(complex), exponent)
    fraction = exponent != np.round(exponent)
    return np.power(base.astype(complex) if (fraction & (base < 0)).any() else base.astype(float), exponent)


def _on(domain: Callable[[np.ndarray], np.ndarray], function: Callable[..., np.ndarray]) -> Function:
    """`function`, which is real on `domain` and complex elsewhere on the line."""

    def extended(a: np.ndarray) -> np.ndarray:
        return function(a if np.iscomplexobj(a) or domain(a).all() else a.astype(complex))

    return extended


def _order(relation: Callable[[Any, Any], Any]) -> Function:
    """Numbers that are not real have no order: a relation between them is false."""

    def compare(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return relation(np.real(a), np.real(b)) & _is_real(a) & _is_real(b)

    return compare


def _scipy(name: str) -> Function:
    """A function of scipy.special, imported when the first answer needs it."""

    def function(*args: np.ndarray) -> np.ndarray:
        from scipy import special

        return getattr(special, name)(*args)

    return function


def _sign(a: np.ndarray) -> np.ndarray:
    return np.where(a == 0, 0, a / np.where(a == 0, 1, np.abs(a))) if np.iscomplexobj(a) else np.sign(a)


def _heaviside(a: np.ndarray, at_zero: np.ndarray | float = 0.5) -> np.ndarray:
    return np.heaviside(a, at_zero)


def _lambert_w(a: np.ndarray, branch: np.ndarray | float = 0) -> np.ndarray:
    return _scipy("lambertw")(a, np.asarray(branch).astype(int))


def _both(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.logical_and(a.astype(bool), b.astype(bool))


def _either(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.logical_or(a.astype(bool), b.astype(bool))


def _many(function: Callable[[Any, Any], Any]) -> Function:
    return lambda *args: reduce(function, args)


def _not(a: np.ndarray) -> np.ndarray:
    return np.logical_not(a.astype(bool))


LESS, AT_MOST, MORE, AT_LEAST = (_order(r) for r in (operator.lt, operator.le, operator.gt, operator.ge))

UNARY: dict[type, Function] = {
    ast.USub: lambda a: -(a.astype(float) if a.dtype == bool else a),
    ast.UAdd: lambda a: a,
    ast.Invert: _not,
}
BINARY: dict[type, Function] = {
    ast.Add: operator.add,
    ast.Sub: lambda a, b: np.subtract(a, b, dtype=np.result_type(a, b, float)),
    ast.Mult: operator.mul,
    ast.Div: np.true_divide,
    ast.Pow: _power,
    ast.BitAnd: _both,
    ast.BitOr: _either,
}
RELATIONS: dict[type, Function] = {
    ast.Lt: LESS,
    ast.LtE: AT_MOST,
    ast.Gt: MORE,
    ast.GtE: AT_LEAST,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
FUNCTIONS: dict[str, Function] = {
    "exp": np.exp,
    "log": _on(lambda a: a >= 0, np.log),
    "sqrt": _on(lambda a: a >= 0, np.sqrt),
    "cbrt": lambda a: _power(a, np.asarray(1 / 3)),
    "Pow": _power,
    "Abs": np.abs,
    "sign": _sign,
    "re": np.real,
    "im": np.imag,
    "conjugate": np.conjugate,
    "arg": np.angle,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "cot": lambda a: 1 / np.tan(a),
    "sec": lambda a: 1 / np.cos(a),
    "csc": lambda a: 1 / np.sin(a),
    "asin": _on(lambda a: np.abs(a) <= 1, np.arcsin),
    "acos": _on(lambda a: np.abs(a) <= 1, np.arccos),
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "coth": lambda a: 1 / np.tanh(a),
    "sech": lambda a: 1 / np.cosh(a),
    "csch": lambda a: 1 / np.sinh(a),
    "asinh": np.arcsinh,
    "acosh": _on(lambda a: a >= 1, np.arccosh),
    "atanh": _on(lambda a: np.abs(a) <= 1, np.arctanh),
    "erf": _scipy("erf"),
    "erfc": _scipy("erfc"),
    "erfinv": _scipy("erfinv"),
    "gamma": _scipy("gamma"),
    "loggamma": _scipy("gammaln"),
    "factorial": _scipy("factorial"),
    "binomial": _scipy("binom"),
    "LambertW": _lambert_w,
    "Heaviside": _heaviside,
    "DiracDelta": lambda a: np.where(a == 0, np.inf, 0.0),
    "floor": np.floor,
    "ceiling": np.ceil,
    "Max": _many(np.maximum),
    "Min": _many(np.minimum),
    "And": _many(_both),
    "Or": _many(_either),
    "Not": _not,
    "Eq": np.equal,
    "Ne": np.not_equal,
    "Lt": LESS,
    "Le": AT_MOST,
    "Gt": MORE,
    "Ge": AT_LEAST,
    "ITE": lambda condition, a, b: np.where(condition, a, b),
}
