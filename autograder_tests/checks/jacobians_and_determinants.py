"""Checks of 02_jacobians_and_determinants.

Sympy answers are compared by value: symbols and callables go in, text comes out, and the text is evaluated at random
points. Maps, matrices and densities are drawn as text, which a report can show.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from autograder_tests import layers
from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same, show
from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make, Plain
from autograder_tests.subject import Subject

ASSIGNMENT = "02_jacobians_and_determinants"

Values = dict[str, np.ndarray]


# ---- symbols, expressions and their values -----------------------------------------------------------------------


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}{i}" for i in range(1, count + 1)]


def _expressions(texts: Sequence[str]) -> list[Make]:
    return [Make("expression", (text,)) for text in texts]


def _points(case: Case, names: Sequence[str], low: float = -1.5, high: float = 1.5) -> Values:
    """A few values of each symbol, `(P,)`: one point in the visible case, so that the report is short."""
    return {name: case.uniform(low, high, case.pick(1, 4)) for name in names}


def _number(entry: Plain, values: Values, title: str) -> np.ndarray:
    """One entry of an answer at all points, `(P,)`."""
    count = len(next(iter(values.values())))
    if isinstance(entry, (int, float)) and not isinstance(entry, bool):
        return np.full(count, float(entry))
    if not isinstance(entry, Expression):
        raise Mismatch(f"{title} must be an expression", got=describe(entry))
    return np.broadcast_to(evaluate(entry.text, values), (count,))


def _matrix(answer: Plain, shape: tuple[int, int], values: Values, title: str) -> np.ndarray:
    """A Matrix or a list of rows at all points, `(P, rows, columns)`."""
    if not (isinstance(answer, list) and answer and all(isinstance(row, list) for row in answer)):
        raise Mismatch(f"{title} must be a Matrix or a list of rows", got=describe(answer))
    sizes = {len(row) for row in answer}
    got = f"{len(answer)} rows of {', '.join(str(n) for n in sorted(sizes))} entries"
    require(
        (len(answer), sizes) == (shape[0], {shape[1]}),
        f"{title} has the wrong shape",
        expected=f"{shape[0]} rows of {shape[1]} entries",
        got=got,
    )
    entries = [[_number(e, values, f"each entry of {title}") for e in row] for row in answer]
    return np.moveaxis(np.array(entries), -1, 0)


def _slopes(texts: Sequence[str], names: Sequence[str], values: Values) -> np.ndarray:
    """∂text_i/∂name_j at all points by central differences of the texts' own values, `(P, rows, columns)`.

    Two step widths, extrapolated to zero, leave an error below 1e-9 for the smooth maps drawn here.
    """

    def column(name: str, h: float) -> np.ndarray:
        ahead, behind = (values | {name: values[name] + step} for step in (h, -h))
        rows = [np.asarray(evaluate(t, ahead)) - evaluate(t, behind) for t in texts]
        return np.stack([np.broadcast_to(r, values[name].shape) for r in rows], axis=-1) / (2 * h)

    h = 2e-3
    return np.stack([(4 * column(n, h / 2) - column(n, h)) / 3 for n in names], axis=-1)


# Central differences of smooth texts, extrapolated: the error is well below this.
SLOPES = 1e-7


def _bent(case: Case, names: Sequence[str], sign: int) -> list[str]:
    """A map of R^D whose Jacobian varies with the point and never vanishes: its determinant has the sign `sign`.

    Each variable is stretched by at least 3 and bent by the next one with slope at most 2.
    """
    D = len(names)
    factors = case.rng.integers(3, 5, D) * case.rng.choice([-1, 1], D)
    factors[-1] *= sign * np.sign(np.prod(factors))
    bends = ["2*sin({})", "2*tanh({})"]
    return [
        f"{a}*{v} + {bends[i % 2].format(names[(i + 1) % D])}"
        for i, (a, v) in enumerate(zip(factors, names, strict=True))
    ]


def _show(texts: Sequence[str]) -> str:
    return "[" + ", ".join(texts) + "]"


@builder
def sympy_matrix(rows: Sequence[Sequence[Any]]) -> Any:
    """A sympy Matrix of rows of expressions."""
    import sympy

    return sympy.Matrix(rows)


# ---- jacobian_matrix ---------------------------------------------------------------------------------------------


def _smooth(case: Case, names: Sequence[str], count: int) -> list[str]:
    """`count` expressions, each in several of the variables, without symmetry between variables."""
    texts = []
    for i in range(count):
        a, b, c = case.rng.integers(2, 6, 3)
        first, second, third = (names[(i + k) % len(names)] for k in (0, 1, 2))
        texts.append(
            f"{a}*{first}**2*{second} + {b}*{third} + {'exp' if i % 2 else 'sin'}({first} - {c}*{second})"
        )
    return texts


def _jacobian_case(subject: Subject, case: Case, rows: int, names: list[str]) -> None:
    texts, values = _smooth(case, names, rows), _points(case, sorted(names))
    answer = subject.call(
        "student:jacobian_matrix", "", _expressions(texts), [Make("symbol", (n,)) for n in names]
    )
    got = _matrix(answer, (rows, len(names)), values, "jacobian_matrix(T, variables)")
    given = {"T": _show(texts), "variables": _show(names), **values}
    same(
        got,
        _slopes(texts, names, values),
        "jacobian_matrix(T, variables)",
        given=given,
        rtol=SLOPES,
        atol=SLOPES,
    )


@check("jacobian_matrix")
def jacobian_matrix_entries(subject: Subject, case: Case) -> None:
    """J[i, j] is the derivative of the i-th expression by the j-th variable."""
    D = case.pick(2, 3, 4)
    _jacobian_case(subject, case, D, _names("u", D))


@check("jacobian_matrix")
def jacobian_matrix_column_order(subject: Subject, case: Case) -> None:
    """The columns follow the order of `variables`, whatever the symbols are called."""
    _jacobian_case(subject, case, case.pick(2, 3), case.pick(["v", "a"], ["w", "c", "a"], ["q", "g", "c"]))


@check("jacobian_matrix")
def jacobian_matrix_rectangular(subject: Subject, case: Case) -> None:
    """M expressions in N variables give M rows and N columns."""
    for rows, columns in case.pick(((1, 2), (3, 2)), ((2, 3), (4, 2)), ((1, 3), (3, 1))):
        _jacobian_case(subject, case, rows, _names("u", columns))


# ---- inverse_jacobian --------------------------------------------------------------------------------------------


def _inverse_case(subject: Subject, case: Case, texts: list[str], names: list[str], values: Values) -> None:
    answer = subject.call(
        "student:inverse_jacobian", "", _expressions(texts), [Make("symbol", (n,)) for n in names]
    )
    got = _matrix(answer, (len(names), len(names)), values, "inverse_jacobian(T, u)")
    expected = np.linalg.inv(_slopes(texts, names, values))
    same(
        got, expected, "inverse_jacobian(T, u)", given={"T": _show(texts), **values}, rtol=SLOPES, atol=SLOPES
    )


@check("inverse_jacobian")
def inverse_jacobian_of_linear_map(subject: Subject, case: Case) -> None:
    """For a linear map x = Au the Jacobian of the inverse is A⁻¹."""
    D = case.pick(2, 3)
    names = _names("u", D)
    A = case.rng.integers(1, 4, (D, D)) + 5 * np.diag(case.rng.choice([-1, 1], D)) * D
    texts = [
        " + ".join(f"{a}*{n}" for a, n in zip(row, names, strict=True)).replace("+ -", "- ") for row in A
    ]
    _inverse_case(subject, case, texts, names, _points(case, names))


@check("inverse_jacobian")
def inverse_jacobian_of_bent_map(subject: Subject, case: Case) -> None:
    """For a nonlinear map it is the inverse matrix of J(u), in terms of u."""
    names = _names("u", case.pick(2, 3))
    _inverse_case(subject, case, _bent(case, names, case.pick(1, -1)), names, _points(case, names))


# ---- composition_log_det -----------------------------------------------------------------------------------------


def _composition_case(subject: Subject, case: Case, maps: tuple[list[str], list[str]], D: int) -> None:
    first, second = maps
    u, v, w = (_names(letter, D) for letter in "uvw")
    values = _points(case, u)
    T1, T2 = (Make("sympy_function", (" ".join(n), *m)) for n, m in ((v, first), (w, second)))
    answer = subject.call("student:composition_log_det", "", T1, T2, Make("symbols", ("u", D)))
    got = _number(answer, values, "composition_log_det(T1, T2, u)")
    start = {a: values[b] for a, b in zip(v, u, strict=True)}
    arrived = {n: np.asarray(evaluate(t, start)) for n, t in zip(w, first, strict=True)}
    expected = sum(
        np.linalg.slogdet(_slopes(m, n, at))[1] for m, n, at in ((first, v, start), (second, w, arrived))
    )
    given = {f"T1({', '.join(v)})": _show(first), f"T2({', '.join(w)})": _show(second), **values}
    same(got, expected, "log|det J| of T2(T1(u))", given=given, rtol=SLOPES, atol=SLOPES)


@check("composition_log_det")
def composition_of_linear_maps(subject: Subject, case: Case) -> None:
    """For linear maps log|det| of the composition is the sum of both, whatever their signs."""
    D = case.pick(2, 3)

    def linear(letter: str, sign: int) -> list[str]:
        names = _names(letter, D)
        factors = case.rng.integers(2, 6, D) * np.array([sign] + [1] * (D - 1))
        # Triangular, so that the sign of the determinant is that of the factors.
        return [
            f"{a}*{n}" + "".join(f" + {m}" for m in names[:i])
            for i, (a, n) in enumerate(zip(factors, names, strict=True))
        ]

    _composition_case(subject, case, (linear("v", -1), linear("w", case.pick(1, -1))), D)


@check("composition_log_det")
def composition_of_bent_maps(subject: Subject, case: Case) -> None:
    """For nonlinear maps each Jacobian is taken at the point where the previous map arrived."""
    D = case.pick(2, 3)
    _composition_case(subject, case, (_bent(case, _names("v", D), 1), _bent(case, _names("w", D), 1)), D)


# ---- determinant_by_expansion ------------------------------------------------------------------------------------


def _determinant_case(subject: Subject, case: Case, rows: list[list[str]], names: list[str]) -> None:
    values = _points(case, names, 0.5, 2.0)
    answer = subject.call(
        "student:determinant_by_expansion", "", Make("sympy_matrix", ([_expressions(r) for r in rows],))
    )
    got = _number(answer, values, "determinant_by_expansion(A)")
    count = len(got)
    entries = [[np.broadcast_to(evaluate(text, values), (count,)) for text in row] for row in rows]
    expected = np.linalg.det(np.moveaxis(np.array(entries, dtype=float), -1, 0))
    given = {"A": "[" + ", ".join(_show(row) for row in rows) + "]", **values}
    same(got, expected, "determinant_by_expansion(A)", given=given, rtol=1e-8, atol=1e-8)


@check("determinant_by_expansion")
def determinant_of_general_matrix(subject: Subject, case: Case) -> None:
    """The determinant of a matrix without any zeros, for D = 1, 2, 3 (hidden: 4, too)."""
    names = ["a", "b", "c"]
    for D in (1, 2, 3, *case.pick((), (4,))):
        rows = [
            [f"{case.rng.integers(1, 4)}*{names[(i + 2 * j) % 3]} + {i * j + 1}" for j in range(D)]
            for i in range(D)
        ]
        _determinant_case(subject, case, rows, names)


@check("determinant_by_expansion")
def determinant_of_triangular_matrix(subject: Subject, case: Case) -> None:
    """The determinant of a lower or upper triangular matrix is the product of its diagonal."""
    D, names = case.pick(3, 4, 5), ["a", "b", "c"]
    for upper in (False, True):
        rows = [
            [
                f"{case.rng.integers(2, 5)}*{names[(i + j) % 3]}" if i == j or (j > i) == upper else "0"
                for j in range(D)
            ]
            for i in range(D)
        ]
        _determinant_case(subject, case, rows, names)


# ---- coupling_jacobian, coupling_log_det -------------------------------------------------------------------------


def _coupling_setting(case: Case, D: int) -> tuple[list[str], list[str], list[str]]:
    """Names of the kept variables' stand-ins, texts of s and of t; every output depends on every kept variable."""
    d = D // 2
    kept = _names("k", d)
    s, t = [], []
    for i in range(D - d):
        a, b, c = case.rng.integers(2, 5, 3)
        pick = kept[i % d]
        s.append(f"{pick}/{a}" + "".join(f" - {n}/{b}" for n in kept if n != pick))
        t.append(f"{c}*{pick}**2" + "".join(f" + {n}*{pick}" for n in kept if n != pick))
    return kept, s, t


def _coupling_call(
    subject: Subject, who: str, case: Case, D: int
) -> tuple[Plain, Values, list[str], dict[str, Any]]:
    """The answer, the points, the texts of x in the symbols u1, …, uD, and what a report shows."""
    kept, s, t = _coupling_setting(case, D)
    u = _names("u", D)
    values = _points(case, u)
    functions = [Make("sympy_function", (" ".join(kept), *texts)) for texts in (s, t)]
    answer = subject.call(f"student:{who}", "", *functions, Make("symbols", ("u", D)))
    rename = dict(zip(kept, u, strict=False))

    def of_u(text: str) -> str:
        for old, new in rename.items():
            text = text.replace(old, new)
        return text

    d = len(kept)
    x = u[:d] + [f"exp({of_u(a)})*{v} + {of_u(b)}" for a, v, b in zip(s, u[d:], t, strict=True)]
    arguments = ", ".join(kept)
    given = {f"s({arguments})": _show(s), f"t({arguments})": _show(t), **values}
    return answer, values, x, given


def _coupling_jacobian_case(subject: Subject, case: Case, D: int) -> None:
    answer, values, x, given = _coupling_call(subject, "coupling_jacobian", case, D)
    got = _matrix(answer, (D, D), values, "coupling_jacobian(s, t, u)")
    expected = _slopes(x, _names("u", D), values)
    same(got, expected, "coupling_jacobian(s, t, u)", given=given, rtol=SLOPES, atol=SLOPES)


@check("coupling_jacobian")
def coupling_jacobian_two_variables(subject: Subject, case: Case) -> None:
    """D = 2, one kept variable: all four entries of ∂x/∂u."""
    _coupling_jacobian_case(subject, case, 2)


@check("coupling_jacobian")
def coupling_jacobian_four_variables(subject: Subject, case: Case) -> None:
    """D = 4, two kept variables: all four blocks of ∂x/∂u (hidden: larger D, the first ⌊D/2⌋ kept)."""
    for D in case.pick((4,), (4, 5), (5, 6)):  # each hidden case has an odd D: there ⌊D/2⌋ is not ⌈D/2⌉
        _coupling_jacobian_case(subject, case, D)


@check("coupling_log_det")
def coupling_log_det_value(subject: Subject, case: Case) -> None:
    """log|det ∂x/∂u| of the coupling layer, an expression in the kept variables alone."""
    for D in case.pick((2, 4), (2, 5), (5, 6)):
        answer, values, x, given = _coupling_call(subject, "coupling_log_det", case, D)
        got = _number(answer, values, "coupling_log_det(s, t, u)")
        _, expected = np.linalg.slogdet(_slopes(x, _names("u", D), values))
        same(got, expected, "coupling_log_det(s, t, u)", given=given, rtol=SLOPES, atol=SLOPES)


# ---- batch_jacobian ----------------------------------------------------------------------------------------------


@builder
def quadratic_map(A: Any, B: Any) -> Any:
    """f(x)_i = Σ_jk A_ijk x_j x_k + Σ_j B_ij x_j on `(*batch, D)`: its Jacobian is known exactly."""
    import torch

    def f(x: torch.Tensor) -> torch.Tensor:
        a, b = A.to(x.dtype), B.to(x.dtype)
        return torch.einsum("ijk,...j,...k->...i", a, x, x) + torch.einsum("ij,...j->...i", b, x)

    return f


def _quadratic_text(A: np.ndarray, B: np.ndarray) -> str:
    """The quadratic map as a reader would write it."""
    names = _names("x", len(B))
    outputs = []
    for a, b in zip(A, B, strict=True):
        terms = {f"{u}*{v}": 0.0 for k, u in enumerate(names) for v in names[k:]} | dict(
            zip(names, b, strict=True)
        )
        for j, u in enumerate(names):
            for k, v in enumerate(names):
                terms[f"{u}*{v}" if j <= k else f"{v}*{u}"] += a[j, k]
        outputs.append(" + ".join(f"{c:g}*{name}" for name, c in terms.items() if c).replace("+ -", "- "))
    return _show(outputs)


def _batch_jacobian_case(subject: Subject, case: Case, batch: int, D: int) -> None:
    # Small integers, so that the visible example can be followed by hand.
    A, B = case.rng.integers(-2, 3, (D, D, D)).astype(float), case.rng.integers(1, 6, (D, D)).astype(float)
    x = np.round(case.normal(batch, D), 2)
    J = subject.array("student:batch_jacobian", "", Make("quadratic_map", (A, B)), x)
    has_shape(J, (batch, D, D), "batch_jacobian(f, x)", {"x": f"shape {x.shape}"})
    expected = np.einsum("ijk,nk->nij", A + A.transpose(0, 2, 1), x) + B
    # Wide enough for central differences in float64.
    given = {"f(x)": _quadratic_text(A, B), "x": x} if D <= 2 else {"x": x}
    same(J, expected, "batch_jacobian(f, x)", given=given, rtol=1e-6, atol=1e-6)


@check("batch_jacobian")
def batch_jacobian_of_one_example(subject: Subject, case: Case) -> None:
    """J[0, i, j] = ∂f(x)_i/∂x_j for a batch of one example."""
    _batch_jacobian_case(subject, case, 1, case.pick(2, 3, 5))


@check("batch_jacobian")
def batch_jacobian_of_a_batch(subject: Subject, case: Case) -> None:
    """Each example has its own matrix, taken at its own point: shape (B, D, D)."""
    _batch_jacobian_case(subject, case, case.pick(3, 2, 4, 7), case.pick(2, 3, 5))


# ---- log_abs_det_triangular --------------------------------------------------------------------------------------


def _triangular(case: Case, *batch: int, D: int, upper: bool = False) -> np.ndarray:
    """Triangular matrices `(*batch, D, D)` with diagonals of both signs, away from 0 and with a product other than 1."""
    A = case.normal(*batch, D, D)
    diagonal = case.uniform(0.3, 2.5, *batch, D) * case.rng.choice([-1.0, 1.0], (*batch, D))
    diagonal[..., 0] = -np.abs(diagonal[..., 0])
    A = np.triu(A) if upper else np.tril(A)
    A[..., np.arange(D), np.arange(D)] = diagonal
    return A


@check("log_abs_det_triangular")
def triangular_log_det_value(subject: Subject, case: Case) -> None:
    """log|det A| of a triangular matrix with entries of either sign on the diagonal."""
    D = case.pick(2, 3, 6)
    for upper in (False, True):
        A = _triangular(case, 1, D=D, upper=upper)
        got = subject.array("student:log_abs_det_triangular", "", A)
        same(got, np.linalg.slogdet(A)[1], "log_abs_det_triangular(A)", given={"A": A}, rtol=1e-8, atol=1e-8)


@check("log_abs_det_triangular")
def triangular_log_det_batch_shapes(subject: Subject, case: Case) -> None:
    """One number per matrix: (*batch, D, D) gives (*batch)."""
    D = case.pick(2, 3, 4)
    for batch in ((), (3,), (case.pick(2, 4), 3)):
        A = _triangular(case, *batch, D=D)
        got = subject.array("student:log_abs_det_triangular", "", A)
        has_shape(got, batch, "log_abs_det_triangular(A)", {"A": f"shape {A.shape}"})
        alone = [subject.array("student:log_abs_det_triangular", "", a[None]) for a in A.reshape(-1, D, D)]
        same(
            got.reshape(-1),
            np.concatenate([a.reshape(-1) for a in alone]),
            f"log_abs_det_triangular(A) of shape {batch}",
        )


@check("log_abs_det_triangular")
def triangular_log_det_large(subject: Subject, case: Case) -> None:
    """No overflow and no underflow at D = 400."""
    for low, high in ((0.01, 0.1), (10.0, 90.0)):
        diagonal = case.uniform(low, high, 400)
        got = subject.array("student:log_abs_det_triangular", "", np.diag(diagonal)[None])
        given = {"diagonal": f"400 numbers from {low} to {high}"}
        same(got, np.log(diagonal).sum()[None], "log_abs_det_triangular(A)", given=given, rtol=1e-8)


@check("log_abs_det_triangular")
def triangular_log_det_from_diagonal(subject: Subject, case: Case) -> None:
    """The diagonal alone decides: derivatives by all other entries are 0."""
    D = case.pick(2, 3, 4)
    A = _triangular(case, 1, D=D)
    _, gradient = subject.call("student:log_abs_det_triangular", "", A, grad=0)
    derivatives = gradient.reshape(D, D)
    on_diagonal = np.diag(derivatives)
    off_diagonal = np.abs(derivatives - np.diag(on_diagonal))
    given = {"A": show(A[0])}
    require(
        bool(np.isfinite(derivatives).all() and (on_diagonal != 0).all()),
        "∂(log|det A|)/∂A[i, i]: the answer must carry a gradient to each entry of the diagonal",
        expected="D numbers other than 0",
        got=show(on_diagonal),
        given=given,
    )
    require(
        bool(off_diagonal.max() < 1e-6),
        "∂(log|det A|)/∂A[i, j]: the answer must not depend on entries beside the diagonal",
        expected="zeros beside the diagonal",
        got=show(derivatives),
        given=given,
    )


# ---- Permutation -------------------------------------------------------------------------------------------------


def _order(case: Case, D: int) -> list[int]:
    """A permutation of D ≥ 3 things that is not its own inverse: reusing it is found out."""
    while True:
        order = case.rng.permutation(D)
        if not np.array_equal(order[order], np.arange(D)):
            return order.tolist()


def _permutation(case: Case) -> tuple[Make, list[int], np.ndarray]:
    order = _order(case, case.pick(3, 4, 5, 7))
    return (
        Make("student:Permutation", (order,)),
        order,
        np.round(case.normal(case.pick(2, 4, 8), len(order)), 2),
    )


@check("Permutation")
def permutation_reorders_variables(subject: Subject, case: Case) -> None:
    """forward gives x[..., i] = u[..., order[i]]."""
    layer, order, u = _permutation(case)
    x, _ = subject.pair(layer, "forward", u)
    same(x, u[:, order], "x of forward", given={"order": str(order), "u": u})


@check("Permutation")
def permutation_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    layer, order, points = _permutation(case)
    layers.round_trips(subject, layer, points, {"order": str(order)})


@check("Permutation")
def permutation_preserves_volume(subject: Subject, case: Case) -> None:
    """log_det is 0 in both directions, one per example, for even and odd permutations."""
    D = case.pick(3, 4, 5)
    swap = [1, 0, *range(2, D)]
    for order in (_order(case, D), swap):
        layer, points = Make("student:Permutation", (order,)), case.normal(case.pick(2, 4), D)
        for direction in layers.SYMBOL:
            _, log_det = subject.pair(layer, direction, points)
            given = {"order": str(order)}
            has_shape(log_det, points.shape[:-1], f"log_det of {direction}", given)
            same(log_det, np.zeros(len(points)), f"log_det of {direction}", given=given, atol=1e-12)


@check("Permutation")
def permutation_batch_shapes(subject: Subject, case: Case) -> None:
    """Inputs of any shape (*batch, D) work, and log_det has shape (*batch)."""
    order = _order(case, case.pick(3, 4, 5))
    layers.batch_shapes_agree(subject, Make("student:Permutation", (order,)), case, len(order))


# ---- Rosenblatt's map --------------------------------------------------------------------------------------------


@check("rosenblatt_cdfs")
def rosenblatt_first_cdf(subject: Subject, case: Case) -> None:
    """The first answer is the distribution function of x1 alone, an expression in x1."""
    _cdf_case(subject, case, 0)


@check("rosenblatt_cdfs")
def rosenblatt_second_cdf(subject: Subject, case: Case) -> None:
    """The second answer is the distribution function of x2 given x1."""
    _cdf_case(subject, case, 1)


def _cdf_case(subject: Subject, case: Case, which: int) -> None:
    # p ∝ a + b·x1 + c·x2 + e·x1·x2 + f·x2², without symmetry between the variables.
    a, b, c, e, f = (int(n) for n in case.rng.integers(1, 5, 5))
    total = a + b / 2 + c / 2 + e / 4 + f / 3
    factor = 1 / Fraction(total).limit_denominator(12)
    text = f"{factor}*({a} + {b}*x1 + {c}*x2 + {e}*x1*x2 + {f}*x2**2)"
    values = _points(case, ["x1", "x2"], 0.1, 0.9)
    x1, x2 = values["x1"], values["x2"]
    answer = subject.call(
        "student:rosenblatt_cdfs",
        "",
        Make("expression", (text,)),
        Make("symbol", ("x1",)),
        Make("symbol", ("x2",)),
    )
    if (
        isinstance(answer, list)
        and len(answer) == 2
        and all(isinstance(r, list) and len(r) == 1 for r in answer)
    ):
        answer = [row[0] for row in answer]  # a column Matrix
    if not (isinstance(answer, list) and len(answer) == 2):
        raise Mismatch("rosenblatt_cdfs(p, x1, x2) must return two expressions", got=describe(answer))
    got = _number(answer[which], values, f"answer {which + 1} of rosenblatt_cdfs(p, x1, x2)")
    slices = a + b * x1 + c / 2 + e * x1 / 2 + f / 3  # total · marginal density of x1
    below = a * x2 + b * x1 * x2 + c * x2**2 / 2 + e * x1 * x2**2 / 2 + f * x2**3 / 3
    expected = (((a + c / 2 + f / 3) * x1 + (b + e / 2) * x1**2 / 2) / total, below / slices)[which]
    title = ("F1(x1)", "F2(x2 given x1)")[which]
    same(got, expected, title, given={"p(x1, x2)": text, **values}, rtol=1e-8)


def _to_square(x: np.ndarray) -> np.ndarray:
    """Rosenblatt's map of p(x1, x2) = x1 + x2 from data to the unit square, `(*batch, 2)`."""
    first, second = x[..., 0], x[..., 1]
    return np.stack([(first**2 + first) / 2, (second**2 + 2 * first * second) / (2 * first + 1)], axis=-1)


def _from_square(u: np.ndarray) -> np.ndarray:
    first = (np.sqrt(1 + 8 * u[..., 0]) - 1) / 2
    return np.stack([first, np.sqrt(first**2 + u[..., 1] * (2 * first + 1)) - first], axis=-1)


def _in_square(case: Case) -> np.ndarray:
    return np.round(case.uniform(0.05, 0.95, case.pick(2, 5, 9), 2), 2)


@check("rosenblatt_inverse")
def rosenblatt_inverse_values(subject: Subject, case: Case) -> None:
    """inverse takes x to u = (F1(x1), F2(x2 given x1)), uniform on the unit square."""
    x = _in_square(case)
    u, _ = subject.pair("student:rosenblatt_inverse", "", x)
    same(u, _to_square(x), "u of rosenblatt_inverse(x)", given={"x": x})


@check("rosenblatt_inverse")
def rosenblatt_inverse_log_det(subject: Subject, case: Case) -> None:
    """log_det of inverse is log|det ∂u/∂x|, which is the log-density of x."""
    x = _in_square(case)
    _, log_det = subject.pair("student:rosenblatt_inverse", "", x)
    same(log_det, np.log(x.sum(axis=-1)), "log_det of rosenblatt_inverse(x)", given={"x": x})


@check("rosenblatt_forward")
def rosenblatt_forward_values(subject: Subject, case: Case) -> None:
    """forward takes u to the point x in the unit square with F1(x1) = u1 and F2(x2 given x1) = u2."""
    u = _in_square(case)
    x, _ = subject.pair("student:rosenblatt_forward", "", u)
    same(x, _from_square(u), "x of rosenblatt_forward(u)", given={"u": u})


@check("rosenblatt_forward")
def rosenblatt_forward_log_det(subject: Subject, case: Case) -> None:
    """log_det of forward is log|det ∂x/∂u|, one number per example."""
    u = _in_square(case)
    _, log_det = subject.pair("student:rosenblatt_forward", "", u)
    same(log_det, -np.log(_from_square(u).sum(axis=-1)), "log_det of rosenblatt_forward(u)", given={"u": u})


@check("rosenblatt_forward", "rosenblatt_inverse")
def rosenblatt_batch_shapes(subject: Subject, case: Case) -> None:
    """Both maps take any shape (*batch, 2), and log_det has shape (*batch)."""
    for batch in ((), (3,), (case.pick(2, 4), 3)):
        points = case.uniform(0.1, 0.9, *batch, 2)
        for name in ("rosenblatt_forward", "rosenblatt_inverse"):
            y, log_det = subject.pair(f"student:{name}", "", points)
            has_shape(y, points.shape, f"first result of {name} for an input of shape {points.shape}")
            has_shape(log_det, batch, f"log_det of {name} for an input of shape {points.shape}")
            rows = [subject.pair(f"student:{name}", "", row[None]) for row in points.reshape(-1, 2)]
            same(y.reshape(-1, 2), np.concatenate([r[0] for r in rows]), f"first result of {name}")
            same(log_det.reshape(-1), np.concatenate([r[1].reshape(-1) for r in rows]), f"log_det of {name}")
