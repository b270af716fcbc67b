"""What goes wrong in 09_residual_flows."""

from __future__ import annotations

import torch
from torch import nn

import flowlib
from autograder_tests.catalogue import wrong

# ---- iterations_needed -------------------------------------------------------------------------------------------


def iterations_needed(L, first_step, tolerance):
    if not 0 < L < 1:
        raise ValueError(f"expected 0 < L < 1, got {L}")
    n = 0
    while L**n / (1 - L) * first_step > tolerance:
        n += 1
    return n


wrong(
    iterations_needed,
    "no_geometric_sum",
    swap={"L**n / (1 - L) * first_step": "L**n * first_step"},
    hint="You bound the length of one step. The way that is still to go is the sum of all later steps: what does a geometric series add up to?",
)
wrong(
    iterations_needed,
    "factor_upside_down",
    swap={"L**n / (1 - L)": "L**n * (1 - L)"},
    hint="A slow contraction, L near 1, has a long way to go after a short step. Does your factor grow or shrink as L approaches 1?",
)
wrong(
    iterations_needed,
    "one_too_many",
    swap={"return n": "return n + 1"},
    hint="The bound holds after the iterations already made. You count one more than needed.",
)
wrong(
    iterations_needed,
    "rounded_down",
    code="""
def iterations_needed(L, first_step, tolerance):
    if not 0 < L < 1:
        raise ValueError(f"expected 0 < L < 1, got {L}")
    return max(0, math.floor(math.log(tolerance * (1 - L) / first_step) / math.log(L)))
""",
    hint="Rounding down stops one iteration before the bound is met. Which way must a smallest sufficient number be rounded?",
)
wrong(
    iterations_needed,
    "negative_count",
    code="""
def iterations_needed(L, first_step, tolerance):
    if not 0 < L < 1:
        raise ValueError(f"expected 0 < L < 1, got {L}")
    return math.ceil(math.log(tolerance * (1 - L) / first_step) / math.log(L))
""",
    hint="Where the start is nearer than the tolerance your formula gives a negative number of iterations. What is the smallest number that makes sense?",
)
wrong(
    iterations_needed,
    "accepts_expansions",
    swap={"if not 0 < L < 1:": "if L == 1:"},
    hint="For L above 1 the geometric series has no sum, and the formula 1/(1 − L) gives a number all the same. Refuse every L that is no contraction.",
)


# ---- fixed_point_inverse -----------------------------------------------------------------------------------------


def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    u = x
    for _ in range(max_iterations):
        new = x - g(u)
        change = (new - u).abs().max()
        u = new
        if change <= tolerance:
            return u
    raise RuntimeError(f"no convergence in {max_iterations} iterations: the last change was {change}")


wrong(
    fixed_point_inverse,
    "adds_instead_of_subtracting",
    swap={"x - g(u)": "x + g(u)"},
    hint="Your iteration comes to rest where u = x + g(u). Solve u + g(u) = x for the first u: what is the sign of g?",
)
wrong(
    fixed_point_inverse,
    "one_step_only",
    code="""
def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    return x - g(x)
""",
    hint="x − g(x) is the first step only. It takes g at the point where you arrived, not where you came from; how do you improve on it?",
)
wrong(
    fixed_point_inverse,
    "failure_is_silent",
    swap={
        'raise RuntimeError(f"no convergence in {max_iterations} iterations: the last change was {change}")': "return u"
    },
    hint="When the iterations are used up you return the last iterate, which may be anything. Nobody downstream can tell: how should the caller learn of it?",
)
wrong(
    fixed_point_inverse,
    "mean_change",
    swap={".abs().max()": ".abs().mean()"},
    hint="The mean over the batch is small when most examples have arrived. One that has not is returned unfinished: which summary waits for the slowest?",
)
wrong(
    fixed_point_inverse,
    "signed_change",
    swap={"(new - u).abs().max()": "(new - u).max()"},
    hint="You look at the largest change with its sign: steps downwards count as small. What measures a step of either direction?",
)
wrong(
    fixed_point_inverse,
    "stops_at_the_first_example",
    swap={
        "(new - u).abs().max()": "(new - u).abs().min()",
    },
    hint="You stop as soon as one entry has settled. All entries of all examples must.",
)
wrong(
    fixed_point_inverse,
    "never_stops_early",
    code="""
def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    u = x
    for _ in range(max_iterations):
        previous, u = u, x - g(u)
    if not (u - previous).abs().max() <= tolerance:
        raise RuntimeError("no convergence")
    return u
""",
    hint="You always make all max_iterations steps, though the answer was there long before. When may the loop end?",
)
wrong(
    fixed_point_inverse,
    "nan_ends_the_loop",
    code="""
def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    u, new, steps = x, x - g(x), 1
    while (new - u).abs().max() > tolerance:
        if steps == max_iterations:
            raise RuntimeError("no convergence")
        u, new, steps = new, x - g(new), steps + 1
    return new
""",
    hint="Your loop goes on while the change is above the tolerance. Is NaN above the tolerance? Every comparison with NaN is False, so it ends the loop as if all were well.",
)


# ---- spectral_normalize ------------------------------------------------------------------------------------------


def spectral_normalize(W, coefficient):
    norm = torch.linalg.matrix_norm(W, 2)
    if norm > coefficient:
        return W * (coefficient / norm)
    return W


wrong(
    spectral_normalize,
    "frobenius_norm",
    swap={"torch.linalg.matrix_norm(W, 2)": "torch.linalg.matrix_norm(W)"},
    hint="That is the Frobenius norm, the root of the sum of all squared singular values. How far a vector can be stretched is the largest one alone.",
)
wrong(
    spectral_normalize,
    "always_scales",
    swap={"if norm > coefficient:": "if norm > 0:"},
    hint="You scale small matrices up to the coefficient. A layer that stretches less than allowed may do so.",
)
wrong(
    spectral_normalize,
    "compares_with_one",
    swap={"if norm > coefficient:": "if norm > 1:"},
    hint="You leave every matrix alone that stretches by less than 1. Its share of the bound is the coefficient: what if the norm lies between the two?",
)
wrong(
    spectral_normalize,
    "scaled_even_when_small",
    swap={"if norm > coefficient:": "if norm > 1:", "return W\n": "return W * coefficient\n"},
    hint="max(1, σ) in the denominator multiplies every small matrix by the coefficient. A matrix with σ ≤ coefficient stays as it is: which two numbers have to be compared?",
)
wrong(
    spectral_normalize,
    "coefficient_forgotten",
    swap={"(coefficient / norm)": "(1 / norm)"},
    hint="You scale to a spectral norm of 1, and a Lipschitz constant of 1 is no contraction. Which number should the norm become?",
)
wrong(
    spectral_normalize,
    "largest_eigenvalue",
    code="""
def spectral_normalize(W, coefficient):
    norm = torch.linalg.eigvals(W @ W if W.shape[0] == W.shape[1] else W.mT @ W).abs().max().sqrt()
    return W * (coefficient / norm) if norm > coefficient else W
""",
    hint="Eigenvalues say how eigenvectors are stretched. A sheared matrix has small eigenvalues and stretches other vectors far more: the largest stretch is a singular value.",
)
wrong(
    spectral_normalize,
    "largest_entry",
    swap={"torch.linalg.matrix_norm(W, 2)": "W.abs().max()"},
    hint="No entry being large does not keep the map from stretching: a matrix full of ones, n by n, stretches by n.",
)
wrong(
    spectral_normalize,
    "clips_singular_values",
    code="""
def spectral_normalize(W, coefficient):
    U, S, V = torch.linalg.svd(W, full_matrices=False)
    return U @ torch.diag(S.clamp(max=coefficient)) @ V
""",
    hint="You clip each singular value at the coefficient. The bound holds, but the result is no multiple of W: spectral normalization divides the whole matrix by one number.",
)
wrong(
    spectral_normalize,
    "one_power_iteration",
    code="""
def spectral_normalize(W, coefficient):
    v = torch.ones(W.shape[1], dtype=W.dtype) / W.shape[1] ** 0.5
    norm = (W @ v).norm()
    return W * (coefficient / norm) if norm > coefficient else W
""",
    hint="The stretch of one vector is a lower bound of the largest stretch. After one step of power iteration the norm is underestimated, so the result stretches more than allowed.",
)
wrong(
    spectral_normalize,
    "row_by_row",
    code="""
def spectral_normalize(W, coefficient):
    norms = W.norm(dim=1, keepdim=True)
    return W * (coefficient / norms.clamp(min=coefficient))
""",
    hint="You scale each row on its own. Rows of length c can still add up: what is the spectral norm of a matrix whose rows are all alike?",
)


# ---- lipschitz_bound ---------------------------------------------------------------------------------------------


def lipschitz_bound(weights, slope):
    bound = 1.0
    for W in weights:
        bound = bound * torch.linalg.matrix_norm(W, 2)
    return bound * slope ** (len(weights) - 1)


wrong(
    lipschitz_bound,
    "sum_of_norms",
    swap={"bound = 1.0": "bound = 0.0", "bound * torch": "bound + torch"},
    hint="Two layers that stretch by 3 and by 2 stretch by 6 at most, one after the other. You add where the stretches multiply.",
)
wrong(
    lipschitz_bound,
    "one_slope_too_many",
    swap={"(len(weights) - 1)": "len(weights)"},
    hint="Count the activations: between K linear layers there are fewer than K. The last layer has none behind it.",
)
wrong(
    lipschitz_bound,
    "one_slope_for_all",
    swap={"slope ** (len(weights) - 1)": "slope"},
    hint="You count the slope once. There is an activation between each two neighboring layers.",
)
wrong(
    lipschitz_bound,
    "norm_of_the_product",
    code="""
def lipschitz_bound(weights, slope):
    product = weights[0]
    for W in weights[1:]:
        product = W @ product
    return torch.linalg.matrix_norm(product, 2) * slope ** (len(weights) - 1)
""",
    hint="The norm of the product matrix is smaller than the product of the norms, and it is no bound: the activations between the layers can turn what one matrix stretches to where the next one stretches.",
)
wrong(
    lipschitz_bound,
    "largest_layer",
    swap={
        "bound = bound * torch.linalg.matrix_norm(W, 2)": "bound = max(bound, torch.linalg.matrix_norm(W, 2))"
    },
    hint="You take the largest of the layers' constants. Each layer stretches what the one before has stretched already.",
)
wrong(
    lipschitz_bound,
    "frobenius_norm",
    swap={"torch.linalg.matrix_norm(W, 2)": "torch.linalg.matrix_norm(W)"},
    hint="With Frobenius norms the product is a bound, too, but a needlessly loose one: the Lipschitz constant of a linear map is its largest singular value.",
)


# ---- hutchinson_trace --------------------------------------------------------------------------------------------


def hutchinson_trace(product, noise):
    forms = (noise * product(noise)).sum(-1)
    return forms.mean(0)


wrong(
    hutchinson_trace,
    "mean_over_variables",
    swap={".sum(-1)": ".mean(-1)"},
    hint="n·An is a sum over the D variables, and the trace is one, too. You divide by D.",
)
wrong(
    hutchinson_trace,
    "sum_over_samples",
    swap={"forms.mean(0)": "forms.sum(0)"},
    hint="Every noise vector gives an estimate of the whole trace. More of them make it better, not larger.",
)
wrong(
    hutchinson_trace,
    "batch_averaged",
    swap={"forms.mean(0)": "forms.mean()"},
    hint="You average over the examples as well. Each example has a Jacobian, and a trace, of its own: only the axis of the samples goes away.",
)
wrong(
    hutchinson_trace,
    "noise_used_once",
    swap={"(noise * product(noise))": "product(noise)"},
    hint="An has mean zero: the noise must be multiplied in on both sides, so that E[nᵢnⱼ] picks out the diagonal.",
)
wrong(
    hutchinson_trace,
    "noise_averaged_first",
    swap={
        "forms = (noise * product(noise)).sum(-1)": "noise = noise.mean(0, keepdim=True)\n    forms = (noise * product(noise)).sum(-1)"
    },
    hint="You average the noise vectors and make one form n·An of their mean, which goes to 0. The mean of the forms is not the form of the mean: n enters it twice.",
)
wrong(
    hutchinson_trace,
    "squared_length",
    swap={"(noise * product(noise))": "(product(noise) ** 2)"},
    hint="The mean of |An|² is the trace of AᵀA. The trace of A itself needs n on one side and An on the other.",
)
wrong(
    hutchinson_trace,
    "rayleigh_quotient",
    swap={"return forms.mean(0)": "return (forms / (noise**2).sum(-1)).mean(0)"},
    hint="Dividing by n·n gives a Rayleigh quotient, an average of eigenvalues. The trace is their sum: with covariance I nothing needs to be divided out.",
)
wrong(
    hutchinson_trace,
    "middle_axis_averaged",
    swap={"forms.mean(0)": "forms.mean(-1)"},
    hint="The samples are the first axis of the noise, whatever axes of a batch follow. You average over the last one that is left.",
)


# ---- log_det_series ----------------------------------------------------------------------------------------------


def log_det_series(product, noise, terms):
    power = noise
    total = 0.0
    for k in range(1, terms + 1):
        power = product(power)
        trace = (noise * power).sum(-1).mean(0)
        total = total + (-1) ** (k + 1) * trace / k
    return total


wrong(
    log_det_series,
    "signs_do_not_alternate",
    swap={"(-1) ** (k + 1) * trace / k": "trace / k"},
    hint="Without alternating signs the series is that of −log det(I − A). Expand log(1 + a) for a number a and look at its signs.",
)
wrong(
    log_det_series,
    "first_sign_negative",
    swap={"(-1) ** (k + 1)": "(-1) ** k"},
    hint="All your signs are flipped. For a small A the log-determinant of I + A is about +tr A.",
)
wrong(
    log_det_series,
    "no_division_by_k",
    swap={"trace / k": "trace"},
    hint="The terms 1, −a, a², … belong to 1/(1 + a), the derivative. Integrating it gives the logarithm: what happens to the k-th power?",
)
wrong(
    log_det_series,
    "factorials",
    swap={"trace / k": "trace / math.factorial(k)"},
    hint="Factorials belong to the exponential. The coefficients of the logarithm's series fall much more slowly.",
)
wrong(
    log_det_series,
    "one_term_short",
    swap={"range(1, terms + 1)": "range(1, terms)"},
    hint="The last term is missing: count how often your loop runs for terms = 1.",
)
wrong(
    log_det_series,
    "power_of_the_trace",
    code="""
def log_det_series(product, noise, terms):
    trace = (noise * product(noise)).sum(-1).mean(0)
    total = 0.0
    for k in range(1, terms + 1):
        total = total + (-1) ** (k + 1) * trace**k / k
    return total
""",
    hint="The trace of a power is not the power of the trace, unless A is a single number. The matrix has to be applied again and again.",
)
wrong(
    log_det_series,
    "starts_over_at_each_term",
    code="""
def log_det_series(product, noise, terms):
    total = 0.0
    for k in range(1, terms + 1):
        power = noise
        for _ in range(k):
            power = product(power)
        total = total + (-1) ** (k + 1) * (noise * power).sum(-1).mean(0) / k
    return total
""",
    hint="The value is right, and each term starts from n again, so that the cost grows with the square of the number of terms. What did the term before leave you?",
)
wrong(
    log_det_series,
    "noise_overwritten",
    swap={"power = product(power)": "power = noise = product(power)"},
    hint="You overwrite the noise by its image, so that both factors of the dot product are Aᵏn. One of them must stay the noise you began with.",
)
wrong(
    log_det_series,
    "noise_on_one_side",
    swap={"(noise * power).sum(-1)": "power.sum(-1)"},
    hint="The sum of the entries of Aᵏn has mean zero. The noise must be multiplied in on both sides, as for a single trace.",
)
wrong(
    log_det_series,
    "same_power_every_time",
    swap={"power = product(power)": "power = product(noise)"},
    hint="Every term uses An. The k-th term needs A applied k times: to what should product be applied?",
)


# ---- ResidualLayer -----------------------------------------------------------------------------------------------


class ResidualLayer(nn.Module):
    def __init__(self, g):
        super().__init__()
        self.g = g

    def log_det(self, u):
        J = flowlib.differentiable_jacobian(self.g, u)
        return torch.linalg.slogdet(torch.eye(u.shape[-1], dtype=u.dtype) + J)[1]

    def forward(self, u):
        return u + self.g(u), self.log_det(u)

    def inverse(self, x):
        u = flowlib.fixed_point_inverse(self.g, x)
        return u, -self.log_det(u)


wrong(
    ResidualLayer,
    "identity_forgotten",
    swap={"torch.eye(u.shape[-1], dtype=u.dtype) + J": "J"},
    hint="That is the log-determinant of g alone. What is the Jacobian of u ↦ u + g(u)?",
)
wrong(
    ResidualLayer,
    "inverse_log_det_sign",
    swap={"return u, -self.log_det(u)": "return u, self.log_det(u)"},
    hint="`inverse` reports log|det ∂u/∂x|. What happens to a log-determinant when the map is inverted?",
)
wrong(
    ResidualLayer,
    "both_signs_flipped",
    swap={
        "self.g(u), self.log_det(u)": "self.g(u), -self.log_det(u)",
        "return u, -self.log_det(u)": "return u, self.log_det(u)",
    },
    hint="Both signs are flipped: forward reports the inverse's log-determinant. The two cancel, so no round trip shows it.",
)
wrong(
    ResidualLayer,
    "inverse_log_det_at_x",
    swap={"return u, -self.log_det(u)": "return u, -self.log_det(x)"},
    hint="The Jacobian of the inverse is the inverse of I + ∂g/∂u, taken at the point u where you arrived. You evaluate it at x.",
)
wrong(
    ResidualLayer,
    "inverse_is_one_step",
    swap={"u = flowlib.fixed_point_inverse(self.g, x)": "u = x - self.g(x)"},
    hint="x − g(x) evaluates g at x. The u you look for satisfies u = x − g(u): that takes an iteration.",
)
wrong(
    ResidualLayer,
    "inverse_adds",
    swap={
        "u = flowlib.fixed_point_inverse(self.g, x)": "u = flowlib.fixed_point_inverse(lambda v: -self.g(v), x)"
    },
    hint="Your inverse solves u − g(u) = x. Which equation does forward set up?",
)
wrong(
    ResidualLayer,
    "trace_for_log_det",
    swap={
        "torch.linalg.slogdet(torch.eye(u.shape[-1], dtype=u.dtype) + J)[1]": "J.diagonal(dim1=-2, dim2=-1).sum(-1)"
    },
    hint="tr J is the first term of the series of log det(I + J). For a layer with small J it is close, and it is not the log-determinant.",
)
wrong(
    ResidualLayer,
    "determinant_without_logarithm",
    swap={
        "torch.linalg.slogdet(torch.eye(u.shape[-1], dtype=u.dtype) + J)[1]": "torch.linalg.det(torch.eye(u.shape[-1], dtype=u.dtype) + J)"
    },
    hint="That is the determinant itself, about 1 for a small step. Layers add up logarithms: for a layer that does nothing log_det is 0.",
)
wrong(
    ResidualLayer,
    "diagonal_only",
    swap={
        "torch.linalg.slogdet(torch.eye(u.shape[-1], dtype=u.dtype) + J)[1]": "(1 + J.diagonal(dim1=-2, dim2=-1)).log().sum(-1)"
    },
    hint="The product of the diagonal is the determinant of a triangular matrix. The Jacobian of a residual layer is full.",
)
wrong(
    ResidualLayer,
    "log_det_without_gradient",
    swap={
        "J = flowlib.differentiable_jacobian(self.g, u)": "J = flowlib.differentiable_jacobian(self.g, u).detach()"
    },
    hint="Your log-determinant has the right value and no gradient. Training would maximize the base's density alone and crush all points into its peak.",
)


# ---- LULinear ----------------------------------------------------------------------------------------------------


class LULinear(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.lower = nn.Parameter(torch.zeros(D, D))
        self.upper = nn.Parameter(torch.zeros(D, D))
        self.log_diagonal = nn.Parameter(torch.zeros(D))

    def factors(self):
        L = torch.tril(self.lower, -1) + torch.eye(len(self.lower), dtype=self.lower.dtype)
        U = torch.triu(self.upper, 1) + torch.diag(self.log_diagonal.exp())
        return L, U

    def forward(self, u):
        L, U = self.factors()
        x = u @ (L @ U).mT
        return x, self.log_diagonal.sum().expand(u.shape[:-1])

    def inverse(self, x):
        L, U = self.factors()
        y = torch.linalg.solve_triangular(L, x.unsqueeze(-1), upper=False)
        u = torch.linalg.solve_triangular(U, y, upper=True).squeeze(-1)
        return u, -self.log_diagonal.sum().expand(x.shape[:-1])


wrong(
    LULinear,
    "diagonal_may_cross_zero",
    swap={
        "torch.zeros(D))": "torch.ones(D))",
        "torch.diag(self.log_diagonal.exp())": "torch.diag(self.log_diagonal)",
        "self.log_diagonal.sum()": "self.log_diagonal.abs().log().sum()",
    },
    hint="The diagonal of U is the parameter itself, so training may take it through 0, where W is singular. Which function of a parameter is never 0?",
)
wrong(
    LULinear,
    "solves_in_wrong_order",
    swap={
        "torch.linalg.solve_triangular(L, x.unsqueeze(-1), upper=False)": "torch.linalg.solve_triangular(U, x.unsqueeze(-1), upper=True)",
        "torch.linalg.solve_triangular(U, y, upper=True)": "torch.linalg.solve_triangular(L, y, upper=False)",
    },
    hint="x = L(Uu): U acts first and L last. Undo the last step first.",
)
wrong(
    LULinear,
    "forward_in_wrong_order",
    swap={"u @ (L @ U).mT": "u @ L.mT @ U.mT"},
    hint="Examples are rows here. u @ L.mT is Lu, and what you multiply by next acts after it: your forward is U(Lu), and your inverse undoes L(Uu).",
)
wrong(
    LULinear,
    "transpose_forgotten",
    swap={"u @ (L @ U).mT": "u @ (L @ U)"},
    hint="For examples in rows u @ W is Wᵀu. Your forward applies the transposed matrix, and your inverse solves with the one itself.",
)
wrong(
    LULinear,
    "inverse_log_det_sign",
    swap={"return u, -self.log_diagonal": "return u, self.log_diagonal"},
    hint="The inverse shrinks what forward stretches. `inverse` reports log|det ∂u/∂x| = log|det W⁻¹|.",
)
wrong(
    LULinear,
    "log_det_of_logs",
    swap={"self.log_diagonal.sum()": "self.log_diagonal.exp().sum()"},
    hint="You sum the diagonal entries themselves. The log-determinant is the sum of their logarithms.",
)
wrong(
    LULinear,
    "log_det_without_batch",
    swap={".expand(u.shape[:-1])": "", ".expand(x.shape[:-1])": ""},
    hint="The determinant is the same for every example, and log_det has one entry per example all the same: shape (*batch,).",
)
wrong(
    LULinear,
    "lower_diagonal_free",
    swap={
        "torch.tril(self.lower, -1) + torch.eye(len(self.lower), dtype=self.lower.dtype)": "torch.tril(self.lower, -1) + torch.diag(self.lower.diagonal().exp())"
    },
    hint="L has a trained diagonal as well, which your log_det does not count. det W = det L · det U: what must the diagonal of L be, so that U's alone decides?",
)
wrong(
    LULinear,
    "upper_triangular_only",
    swap={
        "(L @ U).mT": "U.mT",
        "y = torch.linalg.solve_triangular(L, x.unsqueeze(-1), upper=False)": "y = x.unsqueeze(-1)",
    },
    hint="Your W is upper triangular: the last variable never depends on the first. Where does the factor L enter?",
)
wrong(
    LULinear,
    "nothing_to_learn",
    swap={"nn.Parameter(torch.zeros(D, D))": "torch.zeros(D, D, dtype=torch.float64)"},
    hint="L and U are plain tensors, invisible to the optimizer: what does nn.Module register?",
)
