"""Random cases of 02_jacobians_and_determinants' exercises.

Coefficients of symbolic cases come from small sets: cases repeat, and sympy's cache answers most of them.
"""

from __future__ import annotations

import numpy as np

from autograder_tests.plain import Make
from tests.probes._cases import attempt, batch_shape


def _names(letter: str, count: int) -> list[str]:
    return [f"{letter}{i}" for i in range(1, count + 1)]


def _symbols(names: list[str]) -> list[Make]:
    return [Make("symbol", (n,)) for n in names]


def _bent(rng: np.random.Generator, names: list[str]) -> list[str]:
    """A quadratic map, one cheap term per variable and a bend by the next one."""
    D = len(names)
    factors = rng.choice([-2, 1, 3], D)
    return [f"{a}*{v} + {names[(i + 1) % D]}**2" for i, (a, v) in enumerate(zip(factors, names, strict=True))]


def jacobian(subject, rng: np.random.Generator) -> None:
    rows, columns = (int(n) for n in rng.integers(1, 4, 2))
    names = [str(n) for n in rng.permutation(["a", "b", "c"])[:columns]]
    T = [
        Make("expression", (f"{rng.integers(2, 4)}*{names[i % columns]}*{names[-1]} + {names[0]}**{i + 2}",))
        for i in range(rows)
    ]
    attempt(subject, "student:jacobian_matrix", "", T, _symbols(names))


def inverse_jacobian(subject, rng: np.random.Generator) -> None:
    names = _names("u", int(rng.integers(1, 3)))
    T = [Make("expression", (text,)) for text in _bent(rng, names)]
    attempt(subject, "student:inverse_jacobian", "", T, _symbols(names))


def composition(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 3))
    maps = [Make("sympy_function", (" ".join(_names(n, D)), *_bent(rng, _names(n, D)))) for n in "vw"]
    attempt(subject, "student:composition_log_det", "", *maps, Make("symbols", ("u", D)))


def determinant(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 5))
    rows = rng.integers(-1, 3, (D, D))
    entries = [
        [Make("expression", (f"{v}*a",)) if i == j else int(v) for j, v in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    attempt(subject, "student:determinant_by_expansion", "", Make("sympy_matrix", (entries,)))


def _coupling(subject, who: str, rng: np.random.Generator) -> None:
    D = int(rng.integers(2, 5))
    d = D // 2
    kept = _names("k", d)
    texts = [[f"{rng.integers(2, 4)}*{kept[i % d]}{power}" for i in range(D - d)] for power in ("", "**2")]
    functions = [Make("sympy_function", (" ".join(kept), *t)) for t in texts]
    attempt(subject, f"student:{who}", "", *functions, Make("symbols", ("u", D)))


def coupling_jacobian(subject, rng: np.random.Generator) -> None:
    _coupling(subject, "coupling_jacobian", rng)


def coupling_log_det(subject, rng: np.random.Generator) -> None:
    _coupling(subject, "coupling_log_det", rng)


def batch_jacobian(subject, rng: np.random.Generator) -> None:
    B, D = int(rng.integers(1, 5)), int(rng.integers(1, 6))
    f = Make("quadratic_map", (rng.normal(size=(D, D, D)), rng.normal(size=(D, D))))
    attempt(subject, "student:batch_jacobian", "", f, rng.normal(size=(B, D)))


def triangular_log_det(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 6)) if rng.random() < 0.9 else 400
    A = np.tril(rng.normal(size=(*batch_shape(rng), D, D)))
    attempt(
        subject, "student:log_abs_det_triangular", "", A if rng.random() < 0.5 else A.swapaxes(-1, -2), grad=0
    )


def permutation(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(1, 7))
    layer = Make("student:Permutation", (rng.permutation(D).tolist(),))
    points = rng.normal(size=(*batch_shape(rng), D))
    attempt(subject, layer, "forward", points)
    attempt(subject, layer, "inverse", points)


def rosenblatt_cdfs(subject, rng: np.random.Generator) -> None:
    # A linear density: (1 + b·x1 + c·x2) over its integral.
    b, c = (int(n) for n in rng.integers(1, 4, 2))
    p = Make("expression", (f"2*(1 + {b}*x1 + {c}*x2)/{2 + b + c}",))
    attempt(subject, "student:rosenblatt_cdfs", "", p, *_symbols(["x1", "x2"]))


def rosenblatt_inverse(subject, rng: np.random.Generator) -> None:
    attempt(subject, "student:rosenblatt_inverse", "", rng.uniform(0.01, 0.99, (*batch_shape(rng), 2)))


def rosenblatt_forward(subject, rng: np.random.Generator) -> None:
    attempt(subject, "student:rosenblatt_forward", "", rng.uniform(0.01, 0.99, (*batch_shape(rng), 2)))


PROBES = {
    "jacobian_matrix": jacobian,
    "inverse_jacobian": inverse_jacobian,
    "composition_log_det": composition,
    "determinant_by_expansion": determinant,
    "coupling_jacobian": coupling_jacobian,
    "coupling_log_det": coupling_log_det,
    "batch_jacobian": batch_jacobian,
    "log_abs_det_triangular": triangular_log_det,
    "Permutation": permutation,
    "rosenblatt_cdfs": rosenblatt_cdfs,
    "rosenblatt_inverse": rosenblatt_inverse,
    "rosenblatt_forward": rosenblatt_forward,
}
