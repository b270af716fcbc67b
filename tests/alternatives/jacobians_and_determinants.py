"""Right solutions of 02_jacobians_and_determinants' exercises, written differently."""

import math

import numpy as np
import sympy as sp
import torch
from torch import nn

import flowlib


# %% jacobian_matrix: sympy's own method
def jacobian_matrix(T, variables):
    return sp.Matrix(T).jacobian(variables)


# %% jacobian_matrix: nested loops, list of lists
def jacobian_matrix(T, variables):
    rows = []
    for output in T:
        row = []
        for v in variables:
            row.append(output.diff(v))
        rows.append(row)
    return rows


# %% jacobian_matrix: function of two indices, immutable, with prints
def jacobian_matrix(T, variables):
    print(f"{len(T)} outputs, {len(variables)} variables")
    return sp.ImmutableMatrix(len(T), len(variables), lambda i, j: sp.Derivative(T[i], variables[j]).doit())


# %% jacobian_matrix: columns side by side, then simplified
import functools


def jacobian_matrix(T, variables):
    outputs = sp.Matrix(T)
    columns = [outputs.applyfunc(lambda e, v=v: sp.diff(e, v)) for v in variables]
    return sp.expand(functools.reduce(lambda left, right: left.row_join(right), columns))


# %% jacobian_matrix: limit of difference quotients
def jacobian_matrix(T, variables):
    h = sp.Dummy("h", real=True)
    return sp.Matrix([[sp.diff(t.subs(v, v + h), h).subs(h, 0) for v in variables] for t in T])


# %% inverse_jacobian: solve a linear system
def inverse_jacobian(T, u):
    J = sp.Matrix(T).jacobian(u)
    return J.LUsolve(sp.eye(len(u)))


# %% inverse_jacobian: adjugate over determinant, as rows
from flowlib import symbolic


def inverse_jacobian(T, u):
    J = symbolic.jacobian_matrix(T, u)
    return (J.adjugate() / J.det()).tolist()


# %% inverse_jacobian: cofactors by hand
def inverse_jacobian(T, u):
    J = sp.Matrix([[sp.diff(t, v) for v in u] for t in T])
    n = len(u)
    if n == 1:
        return sp.Matrix([[1 / J[0, 0]]])
    return sp.ImmutableMatrix(n, n, lambda i, j: J.cofactor(j, i) / J.det())


# %% composition_log_det: Jacobian of the composed map, no chain rule
def composition_log_det(T1, T2, u):
    x = T2(T1(u))
    return sp.log(sp.Abs(sp.Matrix(x).jacobian(u).det()))


# %% composition_log_det: fresh symbols for the point between, half the log of a square
from flowlib import symbolic


def composition_log_det(T1, T2, u):
    z = [sp.Dummy(f"z{i}", real=True) for i in range(len(u))]
    first, second = symbolic.jacobian_matrix(T1(u), u), symbolic.jacobian_matrix(T2(z), z)
    squared = first.det() ** 2 * second.det().subs(list(zip(z, T1(u), strict=True))) ** 2
    return sp.log(squared) / 2


# %% composition_log_det: one call per symbol, product of matrices
def composition_log_det(T1, T2, u):
    z = sp.symbols(f"z1:{len(u) + 1}", real=True)
    arrived = dict(zip(z, T1(*u), strict=True))
    J = sp.Matrix(T2(*z)).jacobian(z).subs(arrived) * sp.Matrix(T1(*u)).jacobian(u)
    return sp.log(abs(J.det()))


# %% determinant_by_expansion: minors by sympy, skipping zeros
def determinant_by_expansion(A):
    if A.shape == (1, 1):
        return A[0, 0]
    terms = []
    for j in range(A.shape[1]):
        if A[0, j] != 0:
            minor = A.copy()
            minor.row_del(0)
            minor.col_del(j)
            terms.append((1 if j % 2 == 0 else -1) * A[0, j] * determinant_by_expansion(minor))
    return sp.Add(*terms)


# %% determinant_by_expansion: along the last column, a helper on lists
def determinant_by_expansion(A):
    def det(rows):
        if not rows:
            return sp.Integer(1)
        n = len(rows)
        return sum(
            (-1) ** (i + n - 1) * rows[i][-1] * det([r[:-1] for k, r in enumerate(rows) if k != i])
            for i in range(n)
        )

    return det(A.tolist())


# %% determinant_by_expansion: sum over permutations
import itertools


def determinant_by_expansion(A):
    n = A.rows
    total = sp.Integer(0)
    for order in itertools.permutations(range(n)):
        inversions = sum(order[i] > order[j] for i, j in itertools.combinations(range(n), 2))
        total += (-1) ** inversions * math.prod(A[i, order[i]] for i in range(n))
    return sp.expand(total)


# %% coupling_jacobian: four blocks
def coupling_jacobian(s, t, u):
    D = len(u)
    d = D // 2
    low, high = list(u[:d]), list(u[d:])
    moved = sp.Matrix([sp.exp(a) * v + b for a, v, b in zip(s(low), high, t(low), strict=True)])
    top = sp.Matrix.hstack(sp.eye(d), sp.zeros(d, D - d))
    bottom = sp.Matrix.hstack(moved.jacobian(low), moved.jacobian(high))
    return sp.Matrix.vstack(top, bottom)


# %% coupling_jacobian: entries from the formula, list of rows
def coupling_jacobian(s, t, u):
    D, d = len(u), len(u) // 2
    scale, shift = s(u[:d]), t(u[:d])
    J = [[0] * D for _ in range(D)]
    for i in range(d):
        J[i][i] = 1
    for i in range(d, D):
        k = i - d
        for j in range(d):
            J[i][j] = u[i] * sp.exp(scale[k]) * sp.diff(scale[k], u[j]) + sp.diff(shift[k], u[j])
        J[i][i] = sp.exp(scale[k])
    return J


# %% coupling_jacobian: entrywise products of matrices
def coupling_jacobian(s, t, u):
    d = len(u) // 2
    kept, moved = sp.Matrix(u[:d]), sp.Matrix(u[d:])
    x = moved.multiply_elementwise(sp.Matrix(s(u[:d])).applyfunc(sp.exp)) + sp.Matrix(t(u[:d]))
    return sp.ImmutableMatrix(kept.col_join(x)).jacobian(sp.Matrix(u))


# %% coupling_jacobian: one argument per kept symbol, with a warning
import warnings

from flowlib import symbolic


def coupling_jacobian(s, t, u):
    warnings.warn("symbols are assumed to be real", stacklevel=2)
    d = len(u) // 2
    arguments = tuple(u[:d])
    x = [*arguments]
    for v, a, b in zip(u[d:], s(*arguments), t(*arguments), strict=True):
        x.append(v / sp.exp(-a) + b)
    return symbolic.jacobian_matrix(x, u)


# %% coupling_log_det: determinant of the block of moved variables
def coupling_log_det(s, t, u):
    block = sp.diag(*[sp.exp(a) for a in s(u[: len(u) // 2])])
    return sp.log(sp.Abs(block.det()))


# %% coupling_log_det: determinant of the whole Jacobian
from flowlib import symbolic


def coupling_log_det(s, t, u):
    return sp.log(symbolic.coupling_jacobian(s, t, u).det())


# %% batch_jacobian: vmap of jacrev
def batch_jacobian(f, x):
    return torch.func.vmap(torch.func.jacrev(lambda row: f(row[None])[0]))(x)


# %% batch_jacobian: forward mode, one column at a time
def batch_jacobian(f, x):
    columns = []
    for j in range(x.shape[1]):
        direction = torch.zeros_like(x)
        direction[:, j] = 1
        columns.append(torch.func.jvp(f, (x,), (direction,))[1])
    return torch.stack(columns, dim=-1)


# %% batch_jacobian: loop over examples
def batch_jacobian(f, x):
    out = x.new_empty(len(x), x.shape[1], x.shape[1])
    for n, row in enumerate(x):
        print("example", n)
        out[n] = torch.autograd.functional.jacobian(lambda v: f(v.reshape(1, -1)).reshape(-1), row)
    return out


# %% batch_jacobian: one jacobian of the sum over examples
def batch_jacobian(f, x):
    return torch.autograd.functional.jacobian(lambda v: f(v).sum(dim=0), x).permute(1, 0, 2)


# %% batch_jacobian: central differences in float64
def batch_jacobian(f, x):
    h = 1e-5
    steps = h * torch.eye(x.shape[1], dtype=torch.float64)
    return torch.stack([(f(x.double() + e) - f(x.double() - e)) / (2 * h) for e in steps], dim=-1)


# %% batch_jacobian: one-hot vectors for the backward pass, float32
def batch_jacobian(f, x):
    x = x.float().clone().requires_grad_(True)
    y = f(x)
    rows = []
    for i in range(y.shape[-1]):
        pick = torch.zeros_like(y)
        pick[:, i] = 1.0
        (gradient,) = torch.autograd.grad(y, x, pick, retain_graph=True)
        rows.append(gradient)
    return torch.stack(rows, 1)


# %% log_abs_det_triangular: einsum
def log_abs_det_triangular(A):
    return torch.einsum("...ii->...i", A).abs().log().sum(dim=-1)


# %% log_abs_det_triangular: loop over the diagonal, half the log of the square
def log_abs_det_triangular(A):
    total = torch.zeros(A.shape[:-2], dtype=A.dtype)
    for i in range(A.shape[-1]):
        total = total + 0.5 * torch.log(A[..., i, i] ** 2)
    return total


# %% log_abs_det_triangular: integer indices, logabs helper
def log_abs_det_triangular(A):
    def log_abs(v):
        return torch.log(torch.where(v < 0, -v, v))

    i = torch.arange(A.size(-1))
    return torch.sum(log_abs(A[..., i, i]), -1)


# %% log_abs_det_triangular: masking by the identity, float32
def log_abs_det_triangular(A):
    identity = torch.eye(A.shape[-1])
    return (A.float() * identity).sum(-1).abs().log().sum(-1)


# %% log_abs_det_triangular: function of one matrix, mapped over the batch
def log_abs_det_triangular(A):
    if A.ndim == 2:
        return torch.diag(A).abs().log().sum()
    return torch.stack([log_abs_det_triangular(matrix) for matrix in A])


# %% Permutation: index_select
class Permutation(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.order = torch.tensor(list(order))

    def forward(self, u):
        return torch.index_select(u, -1, self.order), torch.zeros_like(u[..., 0])

    def inverse(self, x):
        return torch.index_select(x, -1, torch.argsort(self.order)), torch.zeros_like(x[..., 0])


# %% Permutation: a permutation matrix and its transpose
class Permutation(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.register_buffer("P", torch.eye(len(order), dtype=torch.float64)[list(order)])

    def forward(self, u):
        return u @ self.P.T.to(u.dtype), self.zeros(u)

    def inverse(self, x):
        return x @ self.P.to(x.dtype), self.zeros(x)

    @staticmethod
    def zeros(v):
        return v.sum(-1) * 0.0


# %% Permutation: columns picked one by one, a dictionary for the way back
class Permutation(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.source = list(order)
        self.place = {j: i for i, j in enumerate(self.source)}

    def forward(self, u):
        x = torch.stack([u[..., j] for j in self.source], dim=-1)
        return x, torch.zeros(u.shape[:-1], dtype=u.dtype)

    def inverse(self, x):
        u = torch.stack([x[..., self.place[j]] for j in range(len(self.source))], dim=-1)
        return u, torch.zeros(x.shape[:-1], dtype=x.dtype)


# %% Permutation: inherits from the reference package's base class
class Permutation(flowlib.Transform):
    def __init__(self, order):
        super().__init__(len(order))
        self.order = np.array(order)
        self.back = np.empty_like(self.order)
        self.back[self.order] = np.arange(len(order))

    def _forward(self, u):
        return u[..., self.order], u.new_zeros(u.shape[:-1])

    def _inverse(self, x):
        return x[..., self.back], x.new_zeros(x.shape[:-1])


# %% Permutation: scatter on the way back, not a module
class Permutation:
    def __init__(self, order):
        print("order", order)
        self.order = torch.as_tensor(order)

    def forward(self, u):
        return u.gather(-1, self.order.expand_as(u)), torch.zeros(u.shape[:-1])

    def inverse(self, x):
        u = torch.empty_like(x).scatter(-1, self.order.expand_as(x), x)
        return u, torch.zeros(x.shape[:-1])


# %% rosenblatt_cdfs: the same symbol as limit and variable, simplified
def rosenblatt_cdfs(p, x1, x2):
    p1 = sp.integrate(p, (x2, 0, 1))
    return [sp.integrate(p1, (x1, 0, x1)), sp.simplify(sp.integrate(p, (x2, 0, x2)) / p1)]


# %% rosenblatt_cdfs: antiderivatives, ratio of partial integrals, a column Matrix
def rosenblatt_cdfs(p, x1, x2):
    slices = sp.integrate(sp.expand(p), x2)
    below, whole = slices - slices.subs(x2, 0), slices.subs(x2, 1) - slices.subs(x2, 0)
    area = sp.integrate(sp.expand(whole), x1)
    return sp.Matrix([area - area.subs(x1, 0), below / whole])


# %% rosenblatt_inverse: conditional from the joint, log_det as a sum of two logarithms
def rosenblatt_inverse(x):
    first, second = x.unbind(-1)
    marginal = first + 0.5
    conditional = (first + second) / marginal
    u = torch.stack((first * (first + 1) / 2, (first * second + second.square() / 2) / marginal), -1)
    return u, marginal.log() + conditional.log()


# %% rosenblatt_inverse: log_det by autodiff
def rosenblatt_inverse(x):
    def cdfs(point):
        a, b = point
        return torch.stack([(a**2 + a) / 2, (a * b + b**2 / 2) / (a + 0.5)])

    rows = x.reshape(-1, 2)
    u = torch.stack([cdfs(row) for row in rows])
    J = torch.stack([torch.func.jacrev(cdfs)(row) for row in rows])
    return u.reshape(x.shape), torch.linalg.slogdet(J).logabsdet.reshape(x.shape[:-1])


# %% rosenblatt_forward: float32 and the sum of the logarithms of the diagonal
def rosenblatt_forward(u):
    u = u.float()
    a = torch.sqrt(0.25 + 2 * u[..., 0]) - 0.5
    total = torch.sqrt(a**2 + 2 * u[..., 1] * (a + 0.5))
    log_det = -torch.log(a + 0.5) + torch.log((a + 0.5) / total)
    return torch.stack([a, total - a], -1), log_det


# %% rosenblatt_forward: bisection instead of a formula
def rosenblatt_forward(u):
    def bisect(cdf, target):
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(60):
            middle = (low + high) / 2
            below = cdf(middle) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    a = bisect(lambda v: (v**2 + v) / 2, u[..., 0])
    b = bisect(lambda v: (v**2 + 2 * a * v) / (2 * a + 1), u[..., 1])
    return torch.stack([a, b], dim=-1), -torch.log(a + b)
