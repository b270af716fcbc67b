"""What goes wrong in 01_change_of_variables."""

from __future__ import annotations

import math

import sympy as sp
import torch

from autograder_tests.catalogue import wrong

# ---- affine_log_prob -------------------------------------------------------------------------------------


def affine_log_prob(x, a, b):
    u = (x - b) / a
    log_p_u = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)
    return log_p_u - torch.log(torch.abs(a))


wrong(
    affine_log_prob,
    "variance_for_deviation",
    swap={"(x - b) / a": "(x - b) / a**2", "torch.abs(a)": "a**2"},
    hint="""The numbers fit a standard deviation of a². Normal(loc, scale) takes the standard deviation:
        how far does x move when u moves by one?""",
)
wrong(
    affine_log_prob,
    "inverse_in_wrong_order",
    swap={"(x - b) / a": "x / a - b"},
    hint="""T multiplies first and adds last. To go back, undo the last operation first: where does x = b
        come from?""",
)
wrong(
    affine_log_prob,
    "slope_of_T",
    swap={"log_p_u - torch": "log_p_u + torch"},
    hint="""You multiply the density by |T′| instead of dividing by it. Where a map stretches the line,
        does the same probability stand on more or on less of it?""",
)
wrong(
    affine_log_prob,
    "no_log_det",
    swap={" - torch.log(torch.abs(a))": ""},
    hint="""p_u at the point u where x came from, and nothing else: is the area under that curve still 1
        after the line was stretched?""",
)
wrong(
    affine_log_prob,
    "no_absolute_value",
    swap={"torch.abs(a)": "a"},
    hint="""The logarithm of a negative slope is NaN. A mirrored density is still positive: what does the
        formula take of the derivative?""",
)
wrong(
    affine_log_prob,
    "base_not_normalized",
    swap={" - 0.5 * math.log(2 * math.pi)": ""},
    hint="""You are off by the constant 0.919 = ½ log 2π: the density of the base has to integrate to 1 by
        itself.""",
)
wrong(
    affine_log_prob,
    "log2",
    swap={"torch.log(": "torch.log2("},
    hint="The log-determinant is in bits and the rest in nats. One unit for both: the natural logarithm.",
)
wrong(
    affine_log_prob,
    "density_without_log",
    swap={"return log_p_u - torch.log(torch.abs(a))": "return torch.exp(log_p_u) / torch.abs(a)"},
    hint="This is the density itself. The exercise asks for its logarithm, in nats.",
)
wrong(
    affine_log_prob,
    "forward_for_inverse",
    swap={"(x - b) / a": "a * x + b"},
    hint="You push x forward through T. The density at x asks the opposite: from which u did x come?",
)
wrong(
    affine_log_prob,
    "summed_over_numbers",
    swap={"return log_p_u - torch.log(torch.abs(a))": "return (log_p_u - torch.log(torch.abs(a))).sum()"},
    hint="""You add the log-densities up. Every number in x is an example of its own and keeps its own
        log-density.""",
)
wrong(
    affine_log_prob,
    "slope_for_deviation",
    code="""
def affine_log_prob(x, a, b):
    return Normal(b, a).log_prob(x)
""",
    hint="a is a slope and may be negative, a standard deviation may not. How far does x move when u moves by one?",
)
wrong(
    affine_log_prob,
    "log_density_divided",
    swap={"log_p_u - torch.log(torch.abs(a))": "log_p_u / torch.abs(a)"},
    hint="You divide the log-density by |a|. It is the density that is divided: what does that do to its logarithm?",
)
wrong(
    affine_log_prob,
    "base_at_x",
    swap={"(x - b) / a": "x"},
    hint="You ask the base about x. p_u is a density of u: from which u did this x come?",
)
wrong(
    affine_log_prob,
    "log_of_the_density",
    swap={
        "return log_p_u - torch.log(torch.abs(a))": "return torch.log(torch.exp(log_p_u) / torch.abs(a))",
    },
    hint="""Right where the density is a number. Far out it is too small for a float, becomes 0, and you take the logarithm of that:
    work with logarithms from the start.""",
)

# ---- pushforward_cdf -------------------------------------------------------------------------------------


def pushforward_cdf(F_u, S, u, x):
    increasing = sp.diff(S, x).subs(x, sp.Rational(1, 3)) > 0
    below = F_u.subs(u, S)
    return below if increasing else 1 - below


wrong(
    pushforward_cdf,
    "increasing_assumed",
    swap={"return below if increasing else 1 - below": "return below"},
    hint="""For a decreasing T the event T(u) ≤ x is not u ≤ S(x). When you apply a decreasing map to both
        sides, which way does the inequality point afterwards?""",
)
wrong(
    pushforward_cdf,
    "mirrored_argument",
    swap={"1 - below": "F_u.subs(u, -S)"},
    hint="""F_u(−S) equals 1 − F_u(S) only for a base that is symmetric about 0. What is P(u ≥ S) in
        general?""",
)
wrong(
    pushforward_cdf,
    "sign_in_front",
    swap={"1 - below": "-below"},
    hint="""A negative probability. The minus sign belongs to the derivative; in the CDF, the opposite
        event has probability one minus that of the event.""",
)
wrong(
    pushforward_cdf,
    "times_slope",
    swap={"below = F_u.subs(u, S)": "below = F_u.subs(u, S) * sp.Abs(sp.diff(S, x))"},
    hint="""Probabilities are not multiplied by a slope; densities are. The factor |S′| appears when you
        differentiate.""",
)
wrong(
    pushforward_cdf,
    "density_returned",
    swap={"return below if": "return sp.diff(below, x) if", "else 1 - below": "else -sp.diff(below, x)"},
    hint="This is the density, one derivative too far. A distribution function grows from 0 to 1.",
)
wrong(
    pushforward_cdf,
    "x_in_place_of_u",
    swap={"F_u.subs(u, S)": "F_u.subs(u, x)"},
    hint="You renamed u to x. That is the distribution of u: the map itself has not entered yet.",
)
wrong(
    pushforward_cdf,
    "value_for_slope",
    swap={"sp.diff(S, x).subs(x, sp.Rational(1, 3)) > 0": "S.subs(x, 1) > 0"},
    hint="You look at whether S is positive. S = x/2 − 1 increases and is negative at x = 1: what of S says which way it runs?",
)

# ---- pushforward_density ---------------------------------------------------------------------------------


def pushforward_density(p_u, T, u, x):
    for S in sp.solve(sp.Eq(T, x), u, check=False):
        if all(abs(sp.N(S.subs(x, T.subs(u, k)) - k)) < 1e-9 for k in (-2, 1, 3)):
            break
    else:
        raise ValueError(f"{T} has no inverse")
    density = p_u.subs(u, S) * sp.Abs(sp.diff(S, x))
    ends = [sp.limit(T, u, -sp.oo), sp.limit(T, u, sp.oo)]
    low, high = min(ends), max(ends)
    return sp.Piecewise((density, (low < x) & (x < high)), (0, True))


wrong(
    pushforward_density,
    "slope_of_T_at_x",
    swap={"sp.Abs(sp.diff(S, x))": "sp.Abs(sp.diff(T, u).subs(u, S))"},
    hint="You multiply by |T′|: for 2u + 1 the mass becomes 4. Differentiate the inverse, or divide.",
)
wrong(
    pushforward_density,
    "u_left_in",
    swap={"sp.Abs(sp.diff(S, x))": "1 / sp.Abs(sp.diff(T, u))"},
    hint="""An answer in x has no u. T′ is taken at the point u from which x came: say that point in terms
        of x.""",
)
wrong(
    pushforward_density,
    "first_branch",
    swap={
        "check=False": "",
        "if all(abs(sp.N(S.subs(x, T.subs(u, k)) - k)) < 1e-9 for k in (-2, 1, 3)):": "if S is not None:",
    },
    hint="""solve returns several branches, and you took the first. Keep the one that leads back: S(T(u))
        = u at every u. If none does, T has no inverse.""",
)
wrong(
    pushforward_density,
    "last_branch",
    swap={
        "sp.solve(sp.Eq(T, x), u, check=False)": "sp.solve(sp.Eq(T, x), u)[-1:]",
        "if all(abs(sp.N(S.subs(x, T.subs(u, k)) - k)) < 1e-9 for k in (-2, 1, 3)):": "if S is not None:",
    },
    hint="""You took the last branch that solve returns without asking whether it is the inverse. Test it:
        which branch satisfies S(T(u)) = u at every u, and what if none does?""",
)
wrong(
    pushforward_density,
    "no_absolute_value",
    swap={"sp.Abs(sp.diff(S, x))": "sp.diff(S, x)"},
    hint="""For a decreasing map your density is negative. A length has no sign: what is missing around
        the derivative?""",
)
wrong(
    pushforward_density,
    "no_derivative",
    swap={" * sp.Abs(sp.diff(S, x))": ""},
    hint="""p_u(S(x)) alone is the height of the base where x came from. Which factor keeps the total mass
        at 1?""",
)
wrong(
    pushforward_density,
    "image_forgotten",
    swap={"return sp.Piecewise((density, (low < x) & (x < high)), (0, True))": "return density"},
    hint="""The formula holds on the image of T alone. What is the density at a point that T never
        reaches, and what does your expression say there?""",
)
wrong(
    pushforward_density,
    "ends_assumed_increasing",
    swap={"low, high = min(ends), max(ends)": "low, high = ends"},
    hint="You took T(−∞) for the lower end of the image. For a decreasing map it is the upper one.",
)
wrong(
    pushforward_density,
    "map_instead_of_inverse",
    swap={
        "    density = p_u": "    S = T.subs(u, x)\n    density = p_u",
    },
    hint="You put T where its inverse belongs: this is the density of T⁻¹(u). Which u did x come from?",
)
wrong(
    pushforward_density,
    "branches_added",
    swap={
        'raise ValueError(f"{T} has no inverse")': "return sum(p_u.subs(u, S) * sp.Abs(sp.diff(S, x)) "
        "for S in sp.solve(sp.Eq(T, x), u))",
    },
    hint="""Adding up the branches gives a density, and no flow: no inverse leads from x back to one u. A map that
    is not injective has to be refused.""",
)

# ---- square_density --------------------------------------------------------------------------------------


def square_density(p_u, u, x):
    root = sp.sqrt(x)
    density = (p_u.subs(u, root) + p_u.subs(u, -root)) / (2 * root)
    return sp.Piecewise((density, x > 0), (0, True))


wrong(
    square_density,
    "one_branch",
    swap={"(p_u.subs(u, root) + p_u.subs(u, -root))": "p_u.subs(u, root)"},
    hint="""x = u² is reached from two points u, and you counted one of them: for a symmetric base half of
        the mass is gone.""",
)
wrong(
    square_density,
    "doubled_branch",
    swap={"(p_u.subs(u, root) + p_u.subs(u, -root))": "2 * p_u.subs(u, root)"},
    hint="""You counted the positive root twice. That is right for a base symmetric about 0 alone; what
        stands at −√x?""",
)
wrong(
    square_density,
    "no_derivative",
    swap={" / (2 * root)": ""},
    hint="Both preimages are there, their stretch is not. How fast does √x move with x?",
)
wrong(
    square_density,
    "signed_derivative",
    swap={"+ p_u.subs(u, -root)": "- p_u.subs(u, -root)"},
    hint="""The derivative of −√x is negative, and you let it subtract mass. Each branch enters with
        |S′(x)|.""",
)
wrong(
    square_density,
    "negative_side_forgotten",
    swap={"sp.Piecewise((density, x > 0), (0, True))": "density"},
    hint="""A square is never negative. What is the density at x = −1, and what does your expression give
        there?""",
)
wrong(
    square_density,
    "slope_at_x",
    swap={"(2 * root)": "(2 * x)"},
    hint="The slope 2u is taken at x. Both preimages of x lie elsewhere: at which u does the map arrive at x, and how steep is it there?",
)
wrong(
    square_density,
    "multiplied_by_slope",
    swap={"/ (2 * root)": "* (2 * root)"},
    hint="You multiply by the slope of the map. Where it stretches the line, is there more probability per length, or less?",
)
wrong(
    square_density,
    "branches_averaged",
    swap={"/ (2 * root)": "/ 2 / (2 * root)"},
    hint="You average the two preimages. Each of them brings its whole mass to x: what do masses do that arrive at one place?",
)

# ---- sample_by_inverse_cdf -------------------------------------------------------------------------------


def sample_by_inverse_cdf(inverse_cdf, shape, generator=None):
    u = torch.rand(shape, generator=generator)
    u = u.clamp(min=torch.finfo(u.dtype).tiny)
    return inverse_cdf(u)


wrong(
    sample_by_inverse_cdf,
    "zero_draw",
    swap={"    u = u.clamp(min=torch.finfo(u.dtype).tiny)\n": ""},
    hint="torch.rand draws from [0, 1): once in 2²⁴ draws it is exactly 0. Where does F⁻¹ send 0?",
)
wrong(
    sample_by_inverse_cdf,
    "normal_base",
    swap={"torch.rand(": "torch.randn("},
    hint="The base is U(0, 1), and F⁻¹ is defined on (0, 1) alone. From which distribution are your draws?",
)
wrong(
    sample_by_inverse_cdf,
    "generator_ignored",
    swap={"torch.rand(shape, generator=generator)": "torch.rand(shape)"},
    hint="You accept a generator and never use it: the caller cannot repeat the draws.",
)
wrong(
    sample_by_inverse_cdf,
    "seed_fixed",
    swap={"    u = torch.rand(": "    torch.manual_seed(0)\n    u = torch.rand("},
    hint="""You set a seed inside the function: without a generator every call returns the same draws, and
        the seed of the caller is overwritten.""",
)
wrong(
    sample_by_inverse_cdf,
    "uniform_returned",
    swap={"return inverse_cdf(u)": "return u"},
    hint="These are the uniform draws. The transformation T = F⁻¹ has not been applied yet.",
)
wrong(
    sample_by_inverse_cdf,
    "tails_cut",
    swap={"u.clamp(min=torch.finfo(u.dtype).tiny)": "u.clamp(0.01, 0.99)"},
    hint="""Every draw beyond the 1 % and 99 % quantiles is moved onto them: the tails are gone. How
        little is enough to keep away from 0?""",
)
wrong(
    sample_by_inverse_cdf,
    "samples_repaired",
    swap={
        "    u = u.clamp(min=torch.finfo(u.dtype).tiny)\n": "",
        "inverse_cdf(u)": "torch.nan_to_num(inverse_cdf(u))",
    },
    hint="You replace an infinite sample by the largest float, 3.4e38. Repair the cause: the uniform draw.",
)
wrong(
    sample_by_inverse_cdf,
    "grid_for_draws",
    swap={
        "    u = torch.rand(shape, generator=generator)\n": "    n = math.prod(shape)\n"
        "    u = ((torch.arange(n) + 0.5) / n).reshape(shape)\n"
    },
    hint="""Evenly spaced quantiles follow F perfectly, and are no random draws: the generator plays no
        part.""",
)
wrong(
    sample_by_inverse_cdf,
    "first_axis_only",
    swap={"torch.rand(shape,": "torch.rand(shape[:1],"},
    hint="""You draw as many numbers as the first axis has. The shape may have any number of axes, also
        none.""",
)
wrong(
    sample_by_inverse_cdf,
    "shape_unpacked",
    swap={"torch.rand(shape,": "torch.rand(*shape,"},
    hint="""You unpack the shape into separate arguments. Of the shape () nothing is left: hand over the tuple
        as it is.""",
)
wrong(
    sample_by_inverse_cdf,
    "uniform_squeezed_to_half",
    swap={"torch.rand(shape, generator=generator)": "0.5 + 0.5 * torch.rand(shape, generator=generator)"},
    hint="""Moving the draws away from 0 by rescaling them leaves a part of (0, 1) empty: quantiles below
        it never occur.""",
)
wrong(
    sample_by_inverse_cdf,
    "one_minus_draw",
    swap={"    u = u.clamp(min=torch.finfo(u.dtype).tiny)\n": "    u = 1 - u\n"},
    hint="1 − u lies in (0, 1]: the draw that was 0 has become 1. Where does F⁻¹ send 1?",
)
wrong(
    sample_by_inverse_cdf,
    "draws_pushed_up",
    swap={"u.clamp(min=torch.finfo(u.dtype).tiny)": "u + 1e-6"},
    hint="You add a little to every draw. That helps the smallest ones; what becomes of the largest, just below 1?",
)
wrong(
    sample_by_inverse_cdf,
    "zeros_dropped",
    swap={"u.clamp(min=torch.finfo(u.dtype).tiny)": "u[u > 0]"},
    hint="You leave the zeros out, and with them the shape: the caller asked for so many numbers in these axes.",
)
wrong(
    sample_by_inverse_cdf,
    "tails_piled_up",
    swap={"u.clamp(min=torch.finfo(u.dtype).tiny)": "u.clamp(1e-3, 1 - 1e-3)"},
    hint="""One draw in a thousand is moved onto the same point, at either end. A float can be much smaller than that and still not 0:
    how close may u come?""",
)

# ---- negative_log_likelihood -----------------------------------------------------------------------------


def negative_log_likelihood(x, shift, log_scale):
    u = (x - shift) * torch.exp(-log_scale)
    log_p_u = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)
    return -(log_p_u - log_scale).mean()


wrong(
    negative_log_likelihood,
    "log_det_forgotten",
    swap={"(log_p_u - log_scale)": "log_p_u"},
    hint="""Without the log-determinant the best scale is infinite: every u becomes 0. What forbids
        infinite stretching?""",
)
wrong(
    negative_log_likelihood,
    "log_det_sign",
    swap={"(log_p_u - log_scale)": "(log_p_u + log_scale)"},
    hint="""Your log-determinant has the sign of the forward map. Training goes from data to base:
        log|∂u/∂x|.""",
)
wrong(
    negative_log_likelihood,
    "sum_for_mean",
    swap={".mean()": ".sum()"},
    hint="You sum over the data. The mean does not depend on how many numbers were observed.",
)
wrong(
    negative_log_likelihood,
    "sign_of_likelihood",
    swap={"return -(": "return ("},
    hint="This is the log-likelihood. An optimizer that makes its target small needs the opposite sign.",
)
wrong(
    negative_log_likelihood,
    "base_not_normalized",
    swap={" - 0.5 * math.log(2 * math.pi)": ""},
    hint="You are off by 0.919 = ½ log 2π. Training would not notice, a comparison of models would.",
)
wrong(
    negative_log_likelihood,
    "log_scale_for_scale",
    swap={"* torch.exp(-log_scale)": "/ log_scale", "- log_scale)": "- torch.log(torch.abs(log_scale)))"},
    hint="""You divide by the logarithm of the scale. The parameter is log_scale so that the scale, its
        exponential, stays positive whatever value training gives it.""",
)
wrong(
    negative_log_likelihood,
    "forward_for_inverse",
    swap={"(x - shift) * torch.exp(-log_scale)": "shift + x * torch.exp(log_scale)"},
    hint="You push the data through the forward map. The likelihood asks from which u each x came.",
)
wrong(
    negative_log_likelihood,
    "inverse_in_wrong_order",
    swap={"(x - shift) * torch.exp(-log_scale)": "x * torch.exp(-log_scale) - shift"},
    hint="The forward map scales first and shifts last. Undo the last operation first.",
)
wrong(
    negative_log_likelihood,
    "gradient_cut",
    swap={"torch.exp(-log_scale)": "torch.exp(-log_scale.detach())"},
    hint="""The value is right, the gradient is not: a part of the graph is detached, so training would
        see the log-determinant without the fit.""",
)
wrong(
    negative_log_likelihood,
    "variance_for_scale",
    swap={"torch.exp(-log_scale)": "torch.exp(-log_scale / 2)", "- log_scale)": "- log_scale / 2)"},
    hint="""You read log_scale as the logarithm of a variance. Here exp(log_scale) multiplies u: it is a
        standard deviation.""",
)
wrong(
    negative_log_likelihood,
    "scale_added",
    swap={"(log_p_u - log_scale)": "(log_p_u - torch.exp(log_scale))"},
    hint="You add the scale itself. The log-determinant is its logarithm, and which of your arguments is that already?",
)
wrong(
    negative_log_likelihood,
    "log_det_once",
    swap={"-(log_p_u - log_scale).mean()": "-log_p_u.sum() + log_scale"},
    hint="You sum over the data and count the log-determinant once. Every number is carried through the map: each brings its own.",
)
wrong(
    negative_log_likelihood,
    "log_det_times_data",
    swap={"-(log_p_u - log_scale).mean()": "-log_p_u.mean() + len(x) * log_scale"},
    hint="You average the first term and multiply the second by the number of data. Both stand inside the same mean.",
)

# ---- fit_affine_flow -------------------------------------------------------------------------------------


def fit_affine_flow(x):
    shift = x.mean()
    log_scale = torch.log(torch.sqrt(((x - shift) ** 2).mean()))
    return shift, log_scale


wrong(
    fit_affine_flow,
    "unbiased_deviation",
    swap={"torch.sqrt(((x - shift) ** 2).mean())": "x.std()"},
    hint="""x.std() divides by N − 1 by default. Set the derivative of the mean NLL with respect to
        log_scale to 0: by what does it divide?""",
)
wrong(
    fit_affine_flow,
    "scale_for_log_scale",
    swap={"torch.log(torch.sqrt(((x - shift) ** 2).mean()))": "torch.sqrt(((x - shift) ** 2).mean())"},
    hint="This is the scale itself. The flow's parameter is its logarithm.",
)
wrong(
    fit_affine_flow,
    "variance",
    swap={"torch.sqrt(((x - shift) ** 2).mean())": "((x - shift) ** 2).mean()"},
    hint="""You took the logarithm of the variance, twice the one wanted: exp(log_scale) is a standard
        deviation.""",
)
wrong(
    fit_affine_flow,
    "sign_of_inverse",
    swap={
        "shift = x.mean()": "shift = -x.mean()",
        "log_scale = torch.log(": "log_scale = -torch.log(",
        "x - shift": "x + shift",
    },
    hint="""These are the parameters of the map that normalizes the data. The flow x = shift +
        exp(log_scale)·u goes the other way.""",
)
wrong(
    fit_affine_flow,
    "median",
    swap={"x.mean()": "x.median()"},
    hint="""The median minimizes the mean absolute distance. The NLL of a normal base punishes squares:
        what minimizes those?""",
)
wrong(
    fit_affine_flow,
    "sign_of_log_scale",
    swap={"log_scale = torch.log(": "log_scale = -torch.log("},
    hint="This is the log-scale of the way back, from data to base. The parameter belongs to x = shift + exp(log_scale)·u.",
)
wrong(
    fit_affine_flow,
    "not_centered",
    swap={"((x - shift) ** 2)": "(x**2)"},
    hint="You take the mean square of the data themselves. u is what is left after the shift: the mean square of which numbers has to be 1?",
)
wrong(
    fit_affine_flow,
    "mean_distance",
    swap={"torch.sqrt(((x - shift) ** 2).mean())": "(x - shift).abs().mean()"},
    hint="You measure the spread by the mean distance. The logarithm of a normal density holds a square: which spread does its derivative ask for?",
)

# ---- nll_in_new_units ------------------------------------------------------------------------------------


def nll_in_new_units(nll, factor, D=1):
    return nll + D * math.log(abs(factor))


wrong(
    nll_in_new_units,
    "sign",
    swap={"nll + D": "nll - D"},
    hint="""Multiply meters by 100 and the same data spread over 100 times more numbers. Does each get
        more density or less?""",
)
wrong(
    nll_in_new_units,
    "dimensions_forgotten",
    swap={"D * ": ""},
    hint="Every one of the D coordinates is stretched: the volume grows by |factor| to the power D.",
)
wrong(
    nll_in_new_units,
    "no_absolute_value",
    swap={"abs(factor)": "factor"},
    hint="""A negative factor mirrors the data. A volume has no sign: what does the formula take of the
        determinant?""",
)
wrong(
    nll_in_new_units,
    "multiplied",
    swap={"nll + D * math.log(abs(factor))": "nll * abs(factor) ** D"},
    hint="""The density is divided by a factor; its logarithm therefore changes by a term. You multiplied
        the logarithm.""",
)
wrong(
    nll_in_new_units,
    "bits",
    swap={"math.log(": "math.log2("},
    hint="The NLL is in nats, your term in bits. Which logarithm belongs to nats?",
)
wrong(
    nll_in_new_units,
    "unchanged",
    swap={" + D * math.log(abs(factor))": ""},
    hint="A probability does not depend on the units, a density does: it is probability per unit of x.",
)
wrong(
    nll_in_new_units,
    "divided_by_dimensions",
    swap={"D * math.log(abs(factor))": "math.log(abs(factor)) / D"},
    hint="You divide by D. The NLL is per example, not per coordinate: how often does the factor enter the volume of one example?",
)
wrong(
    nll_in_new_units,
    "nll_per_coordinate",
    swap={"nll + D * math.log(abs(factor))": "D * (nll + math.log(abs(factor)))"},
    hint="You multiply the NLL by D as well. It is already that of a whole example: which part of the answer counts coordinates?",
)
wrong(
    nll_in_new_units,
    "always_grows",
    swap={"math.log(abs(factor))": "abs(math.log(abs(factor)))"},
    hint="Your NLL grows for every factor. A factor below 1 packs the data closer: does the density rise or fall then?",
)
