"""What goes wrong in 02_jacobians_and_determinants."""

from __future__ import annotations

import sympy as sp
import torch
from torch import nn

from autograder_tests.catalogue import wrong

# ---- jacobian_matrix ---------------------------------------------------------------------------------------------


def jacobian_matrix(T, variables):
    return sp.Matrix([[sp.diff(expression, v) for v in variables] for expression in T])


wrong(
    jacobian_matrix,
    "transposed",
    swap={
        "[sp.diff(expression, v) for v in variables] for expression in T": "[sp.diff(expression, v) for expression in T] for v in variables"
    },
    hint="""Your matrix is the transpose. Its determinant is the same, so no log-density would tell you. Which index of
    J[i, j] counts the outputs?""",
)
wrong(
    jacobian_matrix,
    "diagonal_only",
    swap={
        "sp.diff(expression, v) for v in variables] for expression in T": "sp.diff(expression, v) if i == j else 0 for j, v in enumerate(variables)] for i, expression in enumerate(T)"
    },
    hint="You kept only the derivative of each output by the variable of the same number. An output may move with every variable.",
)
wrong(
    jacobian_matrix,
    "columns_sorted_by_name",
    swap={"for v in variables]": "for v in sorted(variables, key=str)]"},
    hint="Your columns are in alphabetical order. Whoever calls the function has chosen an order of the variables: whose order counts?",
)
wrong(
    jacobian_matrix,
    "square_assumed",
    swap={
        "[[sp.diff(expression, v) for v in variables] for expression in T]": "[[sp.diff(T[i], variables[j]) for j in range(len(T))] for i in range(len(T))]"
    },
    hint="You count rows and columns with the same number. The outputs give the rows, the variables give the columns.",
)
wrong(
    jacobian_matrix,
    "square_assumed_from_variables",
    swap={
        "[[sp.diff(expression, v) for v in variables] for expression in T]": "[[sp.diff(T[i], variables[j]) for j in range(len(variables))] for i in range(len(variables))]"
    },
    hint="You make as many rows as there are variables. What decides how many rows a Jacobian has?",
)
wrong(
    jacobian_matrix,
    "gradient_of_the_sum",
    swap={
        "[[sp.diff(expression, v) for v in variables] for expression in T]": "[[sp.diff(sum(T), v) for v in variables]]"
    },
    hint="You differentiate the sum of all outputs, which leaves one row. A Jacobian has one row of derivatives per output.",
)
wrong(
    jacobian_matrix,
    "second_derivatives",
    swap={"sp.diff(expression, v)": "sp.diff(expression, v, 2)"},
    hint="Those are second derivatives, which say how a map bends. How it stretches is said by the first ones.",
)

# ---- inverse_jacobian --------------------------------------------------------------------------------------------


def inverse_jacobian(T, u):
    J = sp.Matrix(T).jacobian(u)
    return J.inv()


wrong(
    inverse_jacobian,
    "reciprocal_of_each_entry",
    swap={"J.inv()": "J.applyfunc(lambda entry: 1 / entry)"},
    hint="""You took the reciprocal of each entry. That is right for 1 × 1 matrices; in general the product with J
    must be the identity matrix.""",
)
wrong(
    inverse_jacobian,
    "forgot_to_invert",
    swap={"J.inv()": "J"},
    hint="This is J of the forward map itself. Going back must undo it: what times J is the identity?",
)
wrong(
    inverse_jacobian,
    "transpose_for_inverse",
    swap={"J.inv()": "J.T"},
    hint="The transpose inverts rotations and reflections alone. Multiply it with J for a map that stretches.",
)
wrong(
    inverse_jacobian,
    "adjugate_without_determinant",
    swap={"J.inv()": "J.adjugate()"},
    hint="J times your answer is det(J) times the identity: the entries are right up to one common factor.",
)
wrong(
    inverse_jacobian,
    "inverse_transposed",
    swap={"J.inv()": "J.inv().T"},
    hint="Right entries in mirrored places. In ∂u_i/∂x_j, which index counts the rows?",
)
wrong(
    inverse_jacobian,
    "taken_at_zero",
    swap={"J.inv()": "J.subs({v: 0 for v in u}).inv()"},
    hint="You evaluated J at the origin. A nonlinear map stretches differently everywhere: the answer depends on u.",
)
wrong(
    inverse_jacobian,
    "taken_at_arrival",
    swap={"J.inv()": "J.inv().subs(dict(zip(u, T, strict=True)), simultaneous=True)"},
    hint="You put T(u) in for u. The right-hand side of the theorem is taken where J lives: at x, or at the u that x came from?",
)
wrong(
    inverse_jacobian,
    "divided_by_determinant",
    swap={"J.inv()": "J / J.det()"},
    hint="You divide J by its determinant. That makes the determinant right for no size of matrix but 1: multiply your answer by J and look.",
)

# ---- composition_log_det -----------------------------------------------------------------------------------------


def composition_log_det(T1, T2, u):
    middle = sp.symbols(f"m1:{len(u) + 1}", real=True)
    J1 = sp.Matrix(T1(u)).jacobian(u)
    J2 = sp.Matrix(T2(list(middle))).jacobian(middle)
    arrived = dict(zip(middle, T1(u), strict=True))
    return sp.log(sp.Abs(J1.det())) + sp.log(sp.Abs(J2.det().subs(arrived, simultaneous=True)))


wrong(
    composition_log_det,
    "second_jacobian_at_u",
    swap={"zip(middle, T1(u)": "zip(middle, u"},
    hint="""You evaluate both Jacobians at u. The second map never sees u: at which point does it act? (Linear maps hide
    the difference.)""",
)
wrong(
    composition_log_det,
    "first_jacobian_at_arrival",
    swap={
        "sp.log(sp.Abs(J1.det()))": "sp.log(sp.Abs(J1.det().subs(dict(zip(u, T1(u))), simultaneous=True)))"
    },
    hint="The first map acts at u, before anything has moved. You took its Jacobian at the point it sends u to.",
)
wrong(
    composition_log_det,
    "maps_swapped",
    swap={
        "T1(u)).jac": "T2(u)).jac",
        "T2(list(middle))": "T1(list(middle))",
        "zip(middle, T1(u)": "zip(middle, T2(u)",
    },
    hint="You apply T2 first and T1 to its result. In T2(T1(u)), which map sees u?",
)
wrong(
    composition_log_det,
    "no_absolute_value",
    swap={
        "sp.log(sp.Abs(J1.det()))": "sp.log(J1.det())",
        "sp.log(sp.Abs(J2.det().subs(arrived, simultaneous=True)))": "sp.log(J2.det().subs(arrived, simultaneous=True))",
    },
    hint="A map that mirrors has a negative determinant, and its volume change is positive all the same.",
)
wrong(
    composition_log_det,
    "product_of_logs",
    swap={"sp.log(sp.Abs(J1.det())) +": "sp.log(sp.Abs(J1.det())) *"},
    hint="Determinants multiply. What happens to their logarithms?",
)
wrong(
    composition_log_det,
    "second_map_forgotten",
    swap={" + sp.log(sp.Abs(J2.det().subs(arrived, simultaneous=True)))": ""},
    hint="Only the first map's volume change is counted. The second one stretches, too.",
)
wrong(
    composition_log_det,
    "sum_of_matrices",
    swap={
        "sp.log(sp.Abs(J1.det())) + sp.log(sp.Abs(J2.det().subs(arrived, simultaneous=True)))": "sp.log(sp.Abs((J1 + J2.subs(arrived, simultaneous=True)).det()))"
    },
    hint="You add the Jacobian matrices. The chain rule multiplies them; it is the log-determinants that add.",
)
wrong(
    composition_log_det,
    "first_map_counted_twice",
    swap={"T2(list(middle))).jacobian(middle)": "T2(T1(u))).jacobian(u)"},
    hint="Your second Jacobian, of T2(T1(u)) by u, is already that of both maps. The first one is counted twice.",
)
wrong(
    composition_log_det,
    "substituted_one_after_the_other",
    code="""
def composition_log_det(T1, T2, u):
    J1 = sp.Matrix(T1(u)).jacobian(u)
    J2 = sp.Matrix(T2(u)).jacobian(u).subs(dict(zip(u, T1(u), strict=True)))
    return sp.log(sp.Abs(J1.det())) + sp.log(sp.Abs(J2.det()))
""",
    hint="""subs replaces one symbol after the other, and a later one finds its way into what an earlier one put in, because both maps use
    the same symbols. What happens with symbols of T2's own?""",
)
wrong(
    composition_log_det,
    "determinant_without_log",
    swap={
        "sp.log(sp.Abs(J1.det())) + sp.log(sp.Abs(J2.det().subs(arrived, simultaneous=True)))": (
            "sp.Abs(J1.det() * J2.det().subs(arrived, simultaneous=True))"
        )
    },
    hint="This is the factor of volume itself. The question was for its logarithm, which adds up along the way.",
)
wrong(
    composition_log_det,
    "absolute_value_outside",
    swap={
        "sp.log(sp.Abs(J1.det())) + sp.log(sp.Abs(J2.det().subs(arrived, simultaneous=True)))": (
            "sp.Abs(sp.log(J1.det() * J2.det().subs(arrived, simultaneous=True)))"
        )
    },
    hint="You take the absolute value of the logarithm. Which of the two may be negative, the determinant of a mirror or its logarithm?",
)

# ---- determinant_by_expansion ------------------------------------------------------------------------------------


def determinant_by_expansion(A):
    if A.rows == 1:
        return A[0, 0]
    total = 0
    for j in range(A.cols):
        minor = A[1:, [k for k in range(A.cols) if k != j]]
        total += (-1) ** j * A[0, j] * determinant_by_expansion(minor)
    return total


wrong(
    determinant_by_expansion,
    "signs_do_not_alternate",
    swap={"(-1) ** j * ": ""},
    hint="""Every term is added. Along the first row the signs alternate, beginning with plus. (A triangular matrix has
    one term left, so it cannot tell.)""",
)
wrong(
    determinant_by_expansion,
    "signs_begin_with_minus",
    swap={"(-1) ** j": "(-1) ** (j + 1)"},
    hint="Your signs alternate, and begin with the wrong one: test it on the identity matrix of two rows.",
)
wrong(
    determinant_by_expansion,
    "minor_always_without_first_column",
    swap={"if k != j]": "if k != 0]"},
    hint="Your minor always drops the first column. It belongs to the entry A[0, j]: whose row and column leave?",
)
wrong(
    determinant_by_expansion,
    "smallest_matrix_is_one",
    swap={"return A[0, 0]": "return sp.Integer(1)"},
    hint="The recursion ends one step early: what is the determinant of a 1 × 1 matrix that holds the number a?",
)
wrong(
    determinant_by_expansion,
    "product_of_the_diagonal",
    code="""
    def determinant_by_expansion(A):
        return sp.prod(A[i, i] for i in range(A.rows))
    """,
    hint="The product of the diagonal is the determinant of a triangular matrix. This one is not triangular: what of the other entries?",
)
wrong(
    determinant_by_expansion,
    "recursion_forgotten",
    swap={"determinant_by_expansion(minor)": "sp.prod(minor[i, i] for i in range(minor.rows))"},
    hint="You expand once and then multiply the minor's diagonal. Right up to two rows: the minor needs its full determinant.",
)
wrong(
    determinant_by_expansion,
    "row_and_column_exchanged",
    swap={"A[1:, [k for k in range(A.cols) if k != j]]": "A.minor_submatrix(j, 0)"},
    hint="The minor of the entry in row 0 and column j lacks that row and that column. Which ones does yours lack?",
)

# ---- coupling_jacobian -------------------------------------------------------------------------------------------


def coupling_jacobian(s, t, u):
    d = len(u) // 2
    kept, moved = u[:d], u[d:]
    scales, translations = s(kept), t(kept)
    x = list(kept) + [sp.exp(a) * v + b for a, v, b in zip(scales, moved, translations, strict=True)]
    return sp.Matrix(x).jacobian(u)


wrong(
    coupling_jacobian,
    "lower_left_block_zero",
    swap={"sp.Matrix(x).jacobian(u)": "sp.diag(sp.eye(d), sp.diag(*[sp.exp(a) for a in scales]))"},
    hint="""The lower left block is missing. The determinant does not need it, and it is not zero: how do the moved variables
    answer when a kept one changes?""",
)
wrong(
    coupling_jacobian,
    "lower_left_without_scale",
    swap={
        "return sp.Matrix(x).jacobian(u)": "J = sp.Matrix(x).jacobian(u)\n    J[d:, :d] = sp.Matrix(translations).jacobian(kept)\n    return J"
    },
    hint="In the lower left block only t was differentiated. The scale depends on the kept variables, too.",
)
wrong(
    coupling_jacobian,
    "transposed",
    swap={".jacobian(u)": ".jacobian(u).T"},
    hint="Your matrix is the transpose: zeros below instead of above. Rows count the outputs x, columns the inputs u.",
)
wrong(
    coupling_jacobian,
    "scale_without_exponential",
    swap={"sp.exp(a) * v + b": "a * v + b"},
    hint="You multiply by s itself. The factor is its exponential: positive for every s.",
)
wrong(
    coupling_jacobian,
    "translation_inside_exponential",
    swap={"sp.exp(a) * v + b": "sp.exp(a + b) * v"},
    hint="The translation stands inside the exponential, where it scales instead of moving.",
)
wrong(
    coupling_jacobian,
    "inverse_direction",
    swap={"sp.exp(a) * v + b": "sp.exp(-a) * (v - b)"},
    hint="This is the Jacobian of the inverse layer, from x to u. Here the layer goes from u to x.",
)
wrong(
    coupling_jacobian,
    "moved_variables_first",
    swap={
        "list(kept) + [sp.exp(a) * v + b for a, v, b in zip(scales, moved, translations, strict=True)]": "[sp.exp(a) * v + b for a, v, b in zip(scales, moved, translations, strict=True)] + list(kept)"
    },
    hint="Your rows begin with the moved variables. The layer returns each variable in its own place: kept ones first.",
)
wrong(
    coupling_jacobian,
    "one_variable_kept",
    swap={"d = len(u) // 2": "d = 1"},
    hint="You keep one variable whatever D is. With D = 4 the first two are kept, and s and t receive both.",
)
wrong(
    coupling_jacobian,
    "nets_see_everything",
    swap={"s(kept), t(kept)": "s(u), t(u)"},
    hint="s and t are fed all the variables. They may look at the kept ones alone: the inverse has to evaluate them, too.",
)
wrong(
    coupling_jacobian,
    "scale_and_translation_swapped",
    swap={"s(kept), t(kept)": "t(kept), s(kept)"},
    hint="The two functions have changed places: which one goes into the exponential?",
)
wrong(
    coupling_jacobian,
    "translates_before_scaling",
    swap={"sp.exp(a) * v + b": "sp.exp(a) * (v + b)"},
    hint="You translate first, and the scale then stretches the translation, too. Which of the two comes first in the formula?",
)
wrong(
    coupling_jacobian,
    "half_rounded_up",
    swap={"d = len(u) // 2": "d = (len(u) + 1) // 2"},
    hint="With an odd number of variables you keep the larger half. d is D/2 rounded down: s and t get d symbols.",
)

# ---- coupling_log_det --------------------------------------------------------------------------------------------


def coupling_log_det(s, t, u):
    d = len(u) // 2
    scales = s(u[:d])
    return sum(scales)


wrong(
    coupling_log_det,
    "determinant_without_log",
    swap={"sum(scales)": "sp.exp(sum(scales))"},
    hint="This is the determinant. The question was for the logarithm of its absolute value.",
)
wrong(
    coupling_log_det,
    "sum_of_exponentials",
    swap={"sum(scales)": "sum(sp.exp(a) for a in scales)"},
    hint="You add the diagonal entries: that is the trace. The determinant multiplies them, and the logarithm turns that into a sum of what?",
)
wrong(
    coupling_log_det,
    "log_of_scales",
    swap={"sum(scales)": "sum(sp.log(sp.Abs(a)) for a in scales)"},
    hint="You take the logarithm of s. The diagonal holds exp(s): what is its logarithm?",
)
wrong(
    coupling_log_det,
    "translation_added",
    swap={"sum(scales)": "sum(scales) + sum(t(u[:d]))"},
    hint="A translation moves volume without changing it. Does t appear on the diagonal of the Jacobian?",
)
wrong(
    coupling_log_det,
    "sign_of_the_inverse",
    swap={"sum(scales)": "-sum(scales)"},
    hint="This is log|det ∂u/∂x|, of the inverse. Where s is positive the forward map stretches: which sign has its log-determinant?",
)
wrong(
    coupling_log_det,
    "mean_of_scales",
    swap={"sum(scales)": "sum(scales) / len(scales)"},
    hint="You average over the variables. A determinant is a product over them, so its logarithm is a sum.",
)
wrong(
    coupling_log_det,
    "first_scale_only",
    swap={"sum(scales)": "scales[0]"},
    hint="You return the log-scale of one moved variable. Each of them stretches its own axis.",
)
wrong(
    coupling_log_det,
    "absolute_scales",
    swap={"sum(scales)": "sum(sp.Abs(a) for a in scales)"},
    hint="exp(s) is positive for every s: no absolute value is needed, and a layer that shrinks has a negative log-determinant.",
)

# ---- batch_jacobian ----------------------------------------------------------------------------------------------


def batch_jacobian(f, x):
    x = x.detach().requires_grad_()
    y = f(x)
    rows = [torch.autograd.grad(y[:, i].sum(), x, retain_graph=True)[0] for i in range(y.shape[1])]
    return torch.stack(rows, dim=1)


wrong(
    batch_jacobian,
    "transposed",
    swap={"torch.stack(rows, dim=1)": "torch.stack(rows, dim=2)"},
    hint="Each matrix is transposed. The determinants agree, the matrices do not: the gradient of output i is a row of J.",
)
wrong(
    batch_jacobian,
    "gradient_of_the_sum",
    swap={"y[:, i].sum()": "y.sum()"},
    hint="You differentiate the sum of all outputs, so every row holds the column sums of J. Each output needs a gradient of its own.",
)
wrong(
    batch_jacobian,
    "one_gradient_only",
    code="""
    def batch_jacobian(f, x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(f(x).sum(), x)[0]
    """,
    hint="One backward pass gives one gradient, shape (B, D). A Jacobian has D rows: how many backward passes does it take?",
)
wrong(
    batch_jacobian,
    "all_pairs_of_examples",
    code="""
    def batch_jacobian(f, x):
        return torch.autograd.functional.jacobian(f, x)
    """,
    hint="""You have derivatives of every example by every example, shape (B, D, B, D). No example depends on another: which of
    these entries are wanted?""",
)
wrong(
    batch_jacobian,
    "summed_over_the_batch",
    code="""
    def batch_jacobian(f, x):
        J = torch.autograd.functional.jacobian(lambda v: f(v).sum(0), x)
        return J.sum(1).expand(len(x), -1, -1)
    """,
    hint="All examples get the same matrix, a sum over the batch. Each one is differentiated at its own point.",
)
wrong(
    batch_jacobian,
    "first_example_for_all",
    code="""
    def batch_jacobian(f, x):
        J = torch.autograd.functional.jacobian(lambda v: f(v[None])[0], x[0])
        return J.expand(len(x), -1, -1)
    """,
    hint="Every example gets the Jacobian of the first one. That would do for a linear map; this one bends.",
)
wrong(
    batch_jacobian,
    "batch_axis_in_the_middle",
    swap={"dim=1": "dim=0"},
    hint="Your first axis counts the outputs, the second the examples. The batch comes first: (B, D, D).",
)
wrong(
    batch_jacobian,
    "mean_for_sum",
    swap={"y[:, i].sum()": "y[:, i].mean()"},
    hint="Your entries are too small by the batch size. To pick up every example's own gradient, how should the examples be combined?",
)
wrong(
    batch_jacobian,
    "coarse_differences",
    code="""
    def batch_jacobian(f, x):
        h = 1e-2
        steps = h * torch.eye(x.shape[1], dtype=x.dtype)
        return torch.stack([(f(x + step) - f(x)) / h for step in steps], dim=2)
    """,
    hint="One-sided differences with a large step: nearly right, with an error of the order of the step. Autodiff is exact.",
)
wrong(
    batch_jacobian,
    "reshaped",
    swap={"torch.stack(rows, dim=1)": "torch.stack(rows, dim=0).reshape(len(x), x.shape[1], x.shape[1])"},
    hint="The shape is right and entries of different examples are mixed: reshape never exchanges axes. Which function does?",
)

# ---- log_abs_det_triangular --------------------------------------------------------------------------------------


def log_abs_det_triangular(A):
    diagonal = torch.diagonal(A, dim1=-2, dim2=-1)
    return diagonal.abs().log().sum(-1)


wrong(
    log_abs_det_triangular,
    "log_of_the_product",
    swap={".abs().log().sum(-1)": ".prod(-1).abs().log()"},
    hint="The product of 400 numbers leaves the range of floating point: 0.05^400 is 0. Take logarithms before combining.",
)
wrong(
    log_abs_det_triangular,
    "no_absolute_value",
    swap={".abs()": ""},
    hint="A negative entry has no real logarithm. Volume is stretched by its size, whatever its sign.",
)
wrong(
    log_abs_det_triangular,
    "diagonal_of_the_batch",
    swap={", dim1=-2, dim2=-1": ""},
    hint="Without its axes named, the diagonal runs along the first two, and with a batch those are not the matrix's.",
)
wrong(
    log_abs_det_triangular,
    "sum_over_everything",
    swap={".sum(-1)": ".sum()"},
    hint="You sum over the batch, too. Each matrix has a log-determinant of its own.",
)
wrong(
    log_abs_det_triangular,
    "mean_for_sum",
    swap={".sum(-1)": ".mean(-1)"},
    hint="You average over the diagonal. The determinant is a product, so its logarithm is a sum.",
)
wrong(
    log_abs_det_triangular,
    "log_base_two",
    swap={".log()": ".log2()"},
    hint="Your answer is in bits. Log-determinants here are in nats: natural logarithm.",
)
wrong(
    log_abs_det_triangular,
    "determinant_itself",
    swap={".abs().log().sum(-1)": ".abs().prod(-1)"},
    hint="This is |det A|. The question was for its logarithm.",
)
wrong(
    log_abs_det_triangular,
    "log_of_the_trace",
    swap={".abs().log().sum(-1)": ".sum(-1).abs().log()"},
    hint="You take the logarithm of a sum, the trace. Which of the two orders turns a product into a sum?",
)
wrong(
    log_abs_det_triangular,
    "absolute_value_of_the_log",
    swap={".abs().log()": ".abs().log().abs()"},
    hint="An absolute value too many: an entry smaller than 1 shrinks volume, and its logarithm is negative.",
)
wrong(
    log_abs_det_triangular,
    "full_elimination",
    code="""
    def log_abs_det_triangular(A):
        return torch.linalg.slogdet(A).logabsdet
    """,
    hint="""Right value, wrong price: a full elimination, O(D³), that does not know the matrix is triangular. Its gradient reaches
    entries that cannot matter.""",
)

# ---- Permutation -------------------------------------------------------------------------------------------------


class Permutation(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.register_buffer("order", torch.as_tensor(order))
        self.register_buffer("back", torch.argsort(self.order))

    def forward(self, u):
        return u[..., self.order], u.new_zeros(u.shape[:-1])

    def inverse(self, x):
        return x[..., self.back], x.new_zeros(x.shape[:-1])


wrong(
    Permutation,
    "inverse_reuses_order",
    swap={"torch.argsort(self.order)": "self.order"},
    hint="The inverse applies the same order once more. That undoes a swap or a reversal; a cycle of three needs the inverse permutation.",
)
wrong(
    Permutation,
    "scatters_instead_of_gathers",
    swap={"u[..., self.order]": "u[..., self.back]", "x[..., self.back]": "x[..., self.order]"},
    hint="You send variable i to place order[i]. Here place i of x takes variable order[i] of u: the other direction.",
)
wrong(
    Permutation,
    "examples_shuffled",
    swap={"u[..., self.order]": "u[self.order]", "x[..., self.back]": "x[self.back]"},
    hint="You index the first axis, the examples. The variables are on the last axis.",
)
wrong(
    Permutation,
    "second_axis_only",
    swap={"u[..., self.order]": "u[:, self.order]", "x[..., self.back]": "x[:, self.back]"},
    hint="Axis 1 is the variables' axis only when the input is (B, D). Count from the end.",
)
wrong(
    Permutation,
    "log_det_one",
    swap={"u.new_zeros": "u.new_ones", "x.new_zeros": "x.new_ones"},
    hint="|det| of a permutation is 1. What is the logarithm of 1?",
)
wrong(
    Permutation,
    "log_of_signed_determinant",
    swap={
        "u.new_zeros(u.shape[:-1])": "torch.eye(len(self.order), dtype=u.dtype)[self.order].det().log().expand(u.shape[:-1])",
        "x.new_zeros(x.shape[:-1])": "torch.eye(len(self.back), dtype=x.dtype)[self.back].det().log().expand(x.shape[:-1])",
    },
    hint="An odd permutation has determinant −1, whose logarithm is NaN. Volume asks for the absolute value.",
)
wrong(
    Permutation,
    "log_det_per_variable",
    swap={
        "u.new_zeros(u.shape[:-1])": "torch.zeros_like(u)",
        "x.new_zeros(x.shape[:-1])": "torch.zeros_like(x)",
    },
    hint="A log-determinant is one number per example, shape (*batch,). A zero per variable breaks the sum over layers.",
)
wrong(
    Permutation,
    "log_det_scalar",
    swap={"u.new_zeros(u.shape[:-1])": "u.new_zeros(())", "x.new_zeros(x.shape[:-1])": "x.new_zeros(())"},
    hint="One zero for the whole batch: log_det has one entry per example, shape (*batch,).",
)
wrong(
    Permutation,
    "always_reverses",
    swap={"u[..., self.order]": "u.flip(-1)", "x[..., self.back]": "x.flip(-1)"},
    hint="You reverse the variables whatever `order` says. A reversal is one permutation among D! of them.",
)
wrong(
    Permutation,
    "inverse_reverses_the_list",
    swap={"torch.argsort(self.order)": "self.order.flip(0)"},
    hint="You read the list backwards. That is another reordering, not the way home: where in `order` does variable j stand?",
)
wrong(
    Permutation,
    "inverse_sorts_the_list",
    swap={"torch.argsort(self.order)": "torch.sort(self.order).values"},
    hint="Sorted, the list is 0, 1, 2, …, and x stays as it is. Not the sorted list is wanted: from which places do the sorted entries come?",
)

# ---- rosenblatt_cdfs ---------------------------------------------------------------------------------------------


def rosenblatt_cdfs(p, x1, x2):
    a = sp.Dummy("a")
    marginal = sp.integrate(p, (x2, 0, 1))
    F1 = sp.integrate(marginal.subs(x1, a), (a, 0, x1))
    F2 = sp.integrate((p / marginal).subs(x2, a), (a, 0, x2))
    return [F1, F2]


wrong(
    rosenblatt_cdfs,
    "conditional_not_normalized",
    swap={"(p / marginal)": "p"},
    hint="Your second answer does not reach 1 at x2 = 1. A conditional density is the joint one divided by what?",
)
wrong(
    rosenblatt_cdfs,
    "independent_variables_assumed",
    swap={"(p / marginal)": "sp.integrate(p, (x1, 0, 1))"},
    hint="You used the marginal of x2, which forgets x1. The second step asks how x2 is distributed once x1 is known.",
)
wrong(
    rosenblatt_cdfs,
    "densities_instead_of_cdfs",
    swap={"return [F1, F2]": "return [marginal, p / marginal]"},
    hint="These are the densities. A distribution function is their integral up to the point.",
)
wrong(
    rosenblatt_cdfs,
    "first_cdf_from_slice",
    swap={"marginal.subs(x1, a), (a, 0, x1)": "p.subs(x1, a), (a, 0, x1)"},
    hint="Your first answer still depends on x2. To know x1 alone, sum over everything that x2 might be.",
)
wrong(
    rosenblatt_cdfs,
    "variables_in_other_order",
    swap={
        "p, (x2, 0, 1)": "p, (x1, 0, 1)",
        "marginal.subs(x1, a), (a, 0, x1)": "marginal.subs(x2, a), (a, 0, x2)",
        "(p / marginal).subs(x2, a), (a, 0, x2)": "(p / marginal).subs(x1, a), (a, 0, x1)",
    },
    hint="You began with x2 and conditioned x1 on it. That is a Rosenblatt map, too, of the other order: here x1 comes first.",
)
wrong(
    rosenblatt_cdfs,
    "joint_cdf",
    swap={
        "sp.integrate((p / marginal).subs(x2, a), (a, 0, x2))": "sp.integrate(sp.integrate(p.subs(x2, a), (a, 0, x2)).subs(x1, a), (a, 0, x1))"
    },
    hint="Your second answer is the probability that both variables lie below. Here x1 is known, and only x2 is integrated.",
)
wrong(
    rosenblatt_cdfs,
    "divided_by_the_cdf",
    swap={
        "sp.integrate((p / marginal).subs(x2, a), (a, 0, x2))": "sp.integrate(p.subs(x2, a), (a, 0, x2)) / F1"
    },
    hint="You divide by F1, a probability. A conditional density is the joint density divided by another density: which one?",
)

# ---- rosenblatt_inverse ------------------------------------------------------------------------------------------


def rosenblatt_inverse(x):
    x1, x2 = x[..., 0], x[..., 1]
    u1 = (x1**2 + x1) / 2
    u2 = (x2**2 + 2 * x1 * x2) / (2 * x1 + 1)
    log_det = torch.log(x1 + x2)
    return torch.stack([u1, u2], dim=-1), log_det


wrong(
    rosenblatt_inverse,
    "log_det_sign",
    swap={"log_det = torch": "log_det = -torch"},
    hint="This is the forward map's log-determinant. From data to a uniform base, log|det ∂u/∂x| is the log-density itself.",
)
wrong(
    rosenblatt_inverse,
    "log_det_missing_log",
    swap={"torch.log(x1 + x2)": "x1 + x2"},
    hint="This is the determinant, the density of x. Layers report its logarithm.",
)
wrong(
    rosenblatt_inverse,
    "marginals_of_both",
    swap={"(x2**2 + 2 * x1 * x2) / (2 * x1 + 1)": "(x2**2 + x2) / 2"},
    hint="Your second step uses the distribution of x2 alone. The two variables depend on each other: condition on x1.",
)
wrong(
    rosenblatt_inverse,
    "conditional_not_normalized",
    swap={"(x2**2 + 2 * x1 * x2) / (2 * x1 + 1)": "(x2**2 + 2 * x1 * x2) / 2"},
    hint="Your u2 does not reach 1 at x2 = 1. The integral of p over a slice is the marginal of x1: divide by it.",
)
wrong(
    rosenblatt_inverse,
    "conditions_on_u1",
    swap={"(x2**2 + 2 * x1 * x2) / (2 * x1 + 1)": "(x2**2 + 2 * u1 * x2) / (2 * u1 + 1)"},
    hint="You condition on u1 as if it were x1. The distribution of x2 is known given the data variable.",
)
wrong(
    rosenblatt_inverse,
    "log_det_summed_over_batch",
    swap={"torch.log(x1 + x2)": "torch.log(x1 + x2).sum()"},
    hint="You sum over the examples. Each one has a log-determinant of its own.",
)
wrong(
    rosenblatt_inverse,
    "log_det_of_the_second_step",
    swap={"torch.log(x1 + x2)": "torch.log((x1 + x2) / (x1 + 0.5))"},
    hint="This is the logarithm of p(x2 given x1), one of two entries of the diagonal. Which factor does the first step bring?",
)

# ---- rosenblatt_forward ------------------------------------------------------------------------------------------


def rosenblatt_forward(u):
    u1, u2 = u[..., 0], u[..., 1]
    x1 = (torch.sqrt(1 + 8 * u1) - 1) / 2
    x2 = torch.sqrt(x1**2 + u2 * (2 * x1 + 1)) - x1
    log_det = -torch.log(x1 + x2)
    return torch.stack([x1, x2], dim=-1), log_det


wrong(
    rosenblatt_forward,
    "log_det_sign",
    swap={"log_det = -torch": "log_det = torch"},
    hint="This is the inverse's log-determinant. Where the density is high the forward map must squeeze: which sign does squeezing have?",
)
wrong(
    rosenblatt_forward,
    "other_root",
    swap={"(torch.sqrt(1 + 8 * u1) - 1) / 2": "(-torch.sqrt(1 + 8 * u1) - 1) / 2"},
    hint="A quadratic equation has two roots, and you took the negative one. Which of them lies in the unit square?",
)
wrong(
    rosenblatt_forward,
    "conditions_on_u1",
    swap={"torch.sqrt(x1**2 + u2 * (2 * x1 + 1)) - x1": "torch.sqrt(u1**2 + u2 * (2 * u1 + 1)) - u1"},
    hint="The second step conditions on u1. It must use the x1 that the first step has made: sampling goes one variable after the other.",
)
wrong(
    rosenblatt_forward,
    "independent_variables_assumed",
    swap={"torch.sqrt(x1**2 + u2 * (2 * x1 + 1)) - x1": "(torch.sqrt(1 + 8 * u2) - 1) / 2"},
    hint="Both variables come from the same marginal, independently. That map's Jacobian is diagonal: is the density of x a product?",
)
wrong(
    rosenblatt_forward,
    "cdf_instead_of_its_inverse",
    swap={"(torch.sqrt(1 + 8 * u1) - 1) / 2": "(u1**2 + u1) / 2"},
    hint="You apply the distribution function to u1. It takes data to the unit interval: which way are you going?",
)
wrong(
    rosenblatt_forward,
    "log_det_at_u",
    swap={"-torch.log(x1 + x2)": "-torch.log(u1 + u2)"},
    hint="The density is a function of the data: you evaluated it at u. Where has the point arrived?",
)
wrong(
    rosenblatt_forward,
    "x1_added",
    swap={"(2 * x1 + 1)) - x1": "(2 * x1 + 1)) + x1"},
    hint="Your x2 leaves the unit square. After completing the square x2 + x1 is known: how do you get x2 alone?",
)
