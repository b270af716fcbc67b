"""What goes wrong in 10_splines_and_continuous_flows."""

from __future__ import annotations

import math

import sympy as sp
import torch

from autograder_tests.catalogue import wrong

# ---- rq_bin_slope ------------------------------------------------------------------------------------------------


def rq_bin_slope(xi, s, d0, d1):
    above = s * xi**2 + d0 * xi * (1 - xi)
    below = s + (d0 + d1 - 2 * s) * xi * (1 - xi)
    return s * sp.diff(above / below, xi)


wrong(
    rq_bin_slope,
    "slope_of_the_share",
    swap={"s * sp.diff": "sp.diff"},
    hint="This is how fast the share of the bin's height grows with the share of its width. How do these shares turn into x and u?",
)
wrong(
    rq_bin_slope,
    "divided_by_s",
    swap={"s * sp.diff": "1 / s * sp.diff"},
    hint="The bin's height and width have changed places in the chain rule: u = u_k + w·xi and x = x_k + h·share.",
)
wrong(
    rq_bin_slope,
    "quotient_of_derivatives",
    swap={"sp.diff(above / below, xi)": "sp.diff(above, xi) / sp.diff(below, xi)"},
    hint="The derivative of a quotient is not the quotient of the derivatives.",
)
wrong(
    rq_bin_slope,
    "denominator_not_squared",
    swap={"sp.diff(above / below, xi)": "(sp.diff(above, xi) * below - above * sp.diff(below, xi)) / below"},
    hint="The quotient rule divides by the square of the denominator.",
)
wrong(
    rq_bin_slope,
    "quotient_rule_with_plus",
    swap={
        "sp.diff(above / below, xi)": "(sp.diff(above, xi) * below + above * sp.diff(below, xi)) / below**2"
    },
    hint="That is the sign of the product rule: in the quotient rule a growing denominator makes the quotient fall.",
)
wrong(
    rq_bin_slope,
    "ends_swapped",
    swap={"d0 * xi * (1 - xi)": "d1 * xi * (1 - xi)"},
    hint="Look at the slope at xi = 0: it should be d0, the slope at the bin's left knot. Yours is that of the other end.",
)
wrong(
    rq_bin_slope,
    "average_slope_only",
    swap={"return s * sp.diff(above / below, xi)": "return s + 0 * xi"},
    hint="s is the bin's mean slope, height over width. Inside the bin the slope changes from d0 to d1.",
)


# ---- rq_spline_forward -------------------------------------------------------------------------------------------


def rq_spline_forward(u, widths, heights, slopes):
    bound = widths.sum() / 2
    zero, one = widths.new_zeros(1), widths.new_ones(1)
    knots_u = torch.cat([zero, widths.cumsum(0)]) - bound
    knots_x = torch.cat([zero, heights.cumsum(0)]) - bound
    d = torch.cat([one, slopes, one])
    inside = (u >= -bound) & (u <= bound)
    v = torch.where(inside, u, torch.zeros_like(u))
    k = (v[..., None] >= knots_u[1:-1]).sum(-1)
    w, h, d0, d1 = widths[k], heights[k], d[k], d[k + 1]
    s, xi = h / w, (v - knots_u[k]) / w
    below = s + (d0 + d1 - 2 * s) * xi * (1 - xi)
    x = knots_x[k] + h * (s * xi**2 + d0 * xi * (1 - xi)) / below
    slope = s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / below**2
    return torch.where(inside, x, u), torch.where(inside, slope.log(), torch.zeros_like(u))


wrong(
    rq_spline_forward,
    "knots_start_at_zero",
    swap={
        "widths.cumsum(0)]) - bound": "widths.cumsum(0)])",
        "heights.cumsum(0)]) - bound": "heights.cumsum(0)])",
    },
    hint="Your knots run from 0 to 2B. The spline lives on [−B, B]: where is its first knot?",
)
wrong(
    rq_spline_forward,
    "slopes_of_the_wrong_knots",
    swap={"d = torch.cat([one, slopes, one])": "d = torch.cat([slopes, one, one])"},
    hint="The given slopes belong to the inner knots. Your first bin takes one of them for its left end, which is −B.",
)
wrong(
    rq_spline_forward,
    "ends_of_a_bin_swapped",
    swap={"d[k], d[k + 1]": "d[k + 1], d[k]"},
    hint="Within each bin the slopes of the left and the right knot have changed places.",
)
wrong(
    rq_spline_forward,
    "bin_found_among_the_wrong_knots",
    swap={">= knots_u[1:-1]": ">= knots_x[1:-1]"},
    hint="The bin of u is looked up among the knots of x. Which knots bound the interval that u lies in?",
)
wrong(
    rq_spline_forward,
    "position_not_relative",
    swap={"(v - knots_u[k]) / w": "v - knots_u[k]"},
    hint="xi is a share of the bin's width, from 0 to 1. Yours is a distance in units of u: at the right end of a wide bin it is above 1.",
)
wrong(
    rq_spline_forward,
    "mean_slope_upside_down",
    swap={"s, xi = h / w,": "s, xi = w / h,"},
    hint="The mean slope of a bin is dx over du: which of height and width is measured along x?",
)
wrong(
    rq_spline_forward,
    "first_knot_in_no_bin",
    swap={
        "(v[..., None] >= knots_u[1:-1]).sum(-1)": "torch.searchsorted(knots_u, v.contiguous()) - 1",
    },
    hint="At u = −B your bin has the number −1, and an index of −1 means the last one. Points on the leftmost knot belong to bin 0: how many inner knots lie below them?",
)
wrong(
    rq_spline_forward,
    "slope_without_square_of_s",
    swap={"slope = s**2 *": "slope = s *"},
    hint="Your slope is off by a factor s. Test it where d0 = d1 = s: the bin is a straight line of slope s.",
)
wrong(
    rq_spline_forward,
    "returns_the_slope_itself",
    swap={"slope.log(), torch.zeros_like(u)": "slope, torch.ones_like(u)"},
    hint="The second result is the slope. Log-determinants are sums of its logarithm.",
)
wrong(
    rq_spline_forward,
    "log_slope_summed",
    swap={
        "torch.where(inside, slope.log(), torch.zeros_like(u))": "torch.where(inside, slope.log(), torch.zeros_like(u)).sum()"
    },
    hint="Here every entry of u is a point of its own, with a log-slope of its own. A layer adds them up later, over its variables.",
)
wrong(
    rq_spline_forward,
    "no_tails",
    swap={
        "v = torch.where(inside, u, torch.zeros_like(u))": "v = u.clamp(-bound, bound)",
        "torch.where(inside, x, u), torch.where(inside, slope.log(), torch.zeros_like(u))": "x, slope.log()",
    },
    hint="Everything outside ±B is mapped onto the ends: the map is not invertible there. What is the spline outside its interval?",
)
wrong(
    rq_spline_forward,
    "nan_behind_where",
    swap={"v = torch.where(inside, u, torch.zeros_like(u))": "v = torch.where(inside, u, u + torch.nan)"},
    hint="""Your values are right and your gradients are NaN. torch.where hides a NaN in the branch it does not take, but its
    gradient is 0 · NaN. What could stand in for an outside point while the spline is computed?""",
)
wrong(
    rq_spline_forward,
    "linear_interpolation",
    swap={
        "x = knots_x[k] + h * (s * xi**2 + d0 * xi * (1 - xi)) / below": "x = knots_x[k] + h * xi",
    },
    hint="You join the knots by straight lines. The bend in each bin is what the slopes at its knots are for.",
)
wrong(
    rq_spline_forward,
    "log_slope_of_the_inverse",
    swap={"slope.log(), torch": "-slope.log(), torch"},
    hint="The sign of log dx/du is that of the inverse map. Where the spline is steep, the forward log-slope is positive.",
)


# ---- rq_spline_inverse -------------------------------------------------------------------------------------------


def rq_spline_inverse(x, widths, heights, slopes):
    bound = widths.sum() / 2
    zero, one = widths.new_zeros(1), widths.new_ones(1)
    knots_u = torch.cat([zero, widths.cumsum(0)]) - bound
    knots_x = torch.cat([zero, heights.cumsum(0)]) - bound
    d = torch.cat([one, slopes, one])
    inside = (x >= -bound) & (x <= bound)
    y = torch.where(inside, x, torch.zeros_like(x))
    k = (y[..., None] >= knots_x[1:-1]).sum(-1)
    w, h, d0, d1 = widths[k], heights[k], d[k], d[k + 1]
    s, eta = h / w, (y - knots_x[k]) / h
    a = (s - d0) + eta * (d0 + d1 - 2 * s)
    b = d0 - eta * (d0 + d1 - 2 * s)
    c = -s * eta
    root = (b**2 - 4 * a * c).clamp_min(1e-12).sqrt()
    xi = 2 * c / (-b - root)
    u = knots_u[k] + w * xi
    below = s + (d0 + d1 - 2 * s) * xi * (1 - xi)
    slope = s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / below**2
    log_slope = -slope.log()
    return torch.where(inside, u, x), torch.where(inside, log_slope, torch.zeros_like(x))


wrong(
    rq_spline_inverse,
    "textbook_root",
    swap={"xi = 2 * c / (-b - root)": "xi = (-b + root) / (2 * a)"},
    hint="""The textbook form of the root subtracts nearly equal numbers and divides by a, which is 0 for a straight bin: 0/0. Multiply
    numerator and denominator by −b − √(b² − 4ac): which form has no difference in it?""",
)
wrong(
    rq_spline_inverse,
    "the_other_root",
    swap={"xi = 2 * c / (-b - root)": "xi = 2 * c / (-b + root)"},
    hint="A quadratic has two roots, and this one lies outside [0, 1]. Which sign gives xi = 0 at the bin's left end?",
)
wrong(
    rq_spline_inverse,
    "discriminant_not_safe",
    swap={".clamp_min(1e-12)": ""},
    hint="In exact arithmetic the discriminant is positive. In float32 rounding can make it negative near the flat end of a steep bin: √ gives NaN.",
)
wrong(
    rq_spline_inverse,
    "bin_found_among_the_wrong_knots",
    swap={">= knots_x[1:-1]": ">= knots_u[1:-1]"},
    hint="On the way back x is given. You look its bin up among the knots of u.",
)
wrong(
    rq_spline_inverse,
    "log_slope_sign",
    swap={"log_slope = -slope.log()": "log_slope = slope.log()"},
    hint="This is log dx/du. The inverse reports log du/dx: what happens to a slope when a map is inverted?",
)
wrong(
    rq_spline_inverse,
    "slope_at_eta",
    swap={
        "below = s + (d0 + d1 - 2 * s) * xi * (1 - xi)\n": "xi = eta\n    below = s + (d0 + d1 - 2 * s) * xi * (1 - xi)\n"
    },
    hint="Your slope is taken at the relative height in the bin. Its formula is one of xi, the relative position of u.",
)
wrong(
    rq_spline_inverse,
    "no_tails",
    swap={
        "y = torch.where(inside, x, torch.zeros_like(x))": "y = x.clamp(-bound, bound)",
        "torch.where(inside, u, x), torch.where(inside, log_slope, torch.zeros_like(x))": "u, log_slope",
    },
    hint="Points outside ±B all come back as ±B. Forward left them where they were: what must the inverse do?",
)
wrong(
    rq_spline_inverse,
    "nan_behind_where",
    swap={"y = torch.where(inside, x, torch.zeros_like(x))": "y = torch.where(inside, x, x + torch.nan)"},
    hint="The values are right and the gradients NaN: outside ±B the root is computed of nonsense before torch.where drops it, and 0 · NaN is NaN.",
)


# ---- runge_kutta_4 -----------------------------------------------------------------------------------------------


def runge_kutta_4(f, y, t0, t1, steps):
    h = (t1 - t0) / steps
    for n in range(steps):
        t = t0 + n * h
        k1 = f(y, t)
        k2 = f(y + h / 2 * k1, t + h / 2)
        k3 = f(y + h / 2 * k2, t + h / 2)
        k4 = f(y + h * k3, t + h)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


wrong(
    runge_kutta_4,
    "euler",
    swap={"y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)": "y = y + h * k1"},
    hint="You step along the first slope alone: that is Euler's method, of order 1. The four slopes are there to be averaged.",
)
wrong(
    runge_kutta_4,
    "midpoint_rule",
    swap={"y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)": "y = y + h * k2"},
    hint="You step along the slope in the middle alone: the midpoint rule, of order 2.",
)
wrong(
    runge_kutta_4,
    "equal_weights",
    swap={"h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)": "h / 4 * (k1 + k2 + k3 + k4)"},
    hint="All four slopes count the same in your average. Simpson's rule gives the middle of an interval more weight than its ends.",
)
wrong(
    runge_kutta_4,
    "weights_do_not_sum_to_one",
    swap={"h / 6 *": "h / 4 *"},
    hint="Your weights sum to 6/4. For f = 1 the solution must grow by exactly t1 − t0.",
)
wrong(
    runge_kutta_4,
    "time_stands_still_within_a_step",
    swap={"t + h / 2)": "t)", "t + h)": "t)"},
    hint="All four slopes of a step are taken at the same time t. Each belongs to a point in time: the start, the middle twice, the end.",
)
wrong(
    runge_kutta_4,
    "time_starts_at_zero",
    swap={"t = t0 + n * h": "t = n * h"},
    hint="Your clock starts at 0 whatever t0 is: f is asked at times that lie outside the interval.",
)
wrong(
    runge_kutta_4,
    "unit_interval",
    swap={"h = (t1 - t0) / steps": "h = 1 / steps"},
    hint="Your steps cover one unit of time. How long is the interval from t0 to t1?",
)
wrong(
    runge_kutta_4,
    "only_forward_in_time",
    swap={"h = (t1 - t0) / steps": "h = abs(t1 - t0) / steps"},
    hint="Your steps are positive always. To go from t1 back to t0 < t1 time has to run backwards.",
)
wrong(
    runge_kutta_4,
    "second_slope_used_twice",
    swap={"f(y + h / 2 * k2, t + h / 2)": "f(y + h / 2 * k1, t + h / 2)"},
    hint="Your third slope starts from the first one again, so it equals the second. It is to correct it.",
)
wrong(
    runge_kutta_4,
    "last_slope_at_half_step",
    swap={"f(y + h * k3, t + h)": "f(y + h / 2 * k3, t + h)"},
    hint="The fourth slope belongs to the end of the step. How far along k3 is that?",
)
wrong(
    runge_kutta_4,
    "one_step_only",
    swap={"for n in range(steps)": "for n in range(1)", "h = (t1 - t0) / steps": "h = t1 - t0"},
    hint="You take one step over the whole interval, whatever `steps` says.",
)


# ---- hutchinson_estimate -----------------------------------------------------------------------------------------


def hutchinson_estimate(velocity, x, t, noise):
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = velocity(x, t)
        (product,) = torch.autograd.grad(v, x, grad_outputs=noise, create_graph=True)
    return (product * noise).sum(-1)


wrong(
    hutchinson_estimate,
    "noise_once",
    swap={"(product * noise).sum(-1)": "product.sum(-1)"},
    hint="The noise enters twice, once from each side of the Jacobian. Yours is the sum of the entries of εᵀJ.",
)
wrong(
    hutchinson_estimate,
    "velocity_instead_of_jacobian",
    swap={"(product * noise).sum(-1)": "(v * noise).sum(-1) + 0 * product.sum(-1)"},
    hint="This is the velocity along the noise. The trace is one of its Jacobian: what does a backward pass with ε give?",
)
wrong(
    hutchinson_estimate,
    "mean_over_variables",
    swap={".sum(-1)": ".mean(-1)"},
    hint="εᵀJε is a sum over the variables, not their mean: yours is too small by a factor D.",
)
wrong(
    hutchinson_estimate,
    "summed_over_the_batch",
    swap={".sum(-1)": ".sum()"},
    hint="Each example has a trace of its own. You add them up over the batch.",
)
wrong(
    hutchinson_estimate,
    "cannot_be_trained",
    swap={"create_graph=True": "create_graph=False"},
    hint="The value is right, but nothing flows back from it: the log-determinant would be a constant to the optimizer. What keeps the graph of a gradient?",
)
wrong(
    hutchinson_estimate,
    "unit_noise",
    swap={
        "        x = x.detach()": "        noise = noise / noise.norm(dim=-1, keepdim=True)\n        x = x.detach()"
    },
    hint="You scale the noise to length 1. Then E[ε εᵀ] is I/D, and the estimate too small by that factor on average.",
)
wrong(
    hutchinson_estimate,
    "ones_instead_of_noise",
    swap={"grad_outputs=noise": "grad_outputs=torch.ones_like(v)"},
    hint="You pull back a vector of ones and multiply by the noise afterwards. For random signs that averages to 0: the same ε belongs on both sides.",
)


# ---- continuous_log_prob -----------------------------------------------------------------------------------------


def continuous_log_prob(x, velocity, steps):
    def slope_and_trace(z, t):
        v, pull_back = torch.func.vjp(lambda z: velocity(z, t), z)
        eye = torch.eye(z.shape[-1], dtype=z.dtype)
        trace = sum(pull_back(e.expand_as(v))[0][..., i] for i, e in enumerate(eye))
        return v, trace

    def f(state, t):
        v, trace = slope_and_trace(state[..., :-1], t)
        return torch.cat([v, trace[..., None]], -1)

    state = torch.cat([x, torch.zeros_like(x[..., :1])], -1)
    h = -1 / steps
    for n in range(steps):
        t = 1 + n * h
        k1 = f(state, t)
        k2 = f(state + h / 2 * k1, t + h / 2)
        k3 = f(state + h / 2 * k2, t + h / 2)
        k4 = f(state + h * k3, t + h)
        state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    u, log_det = state[..., :-1], state[..., -1]
    log_base = -0.5 * (u**2).sum(-1) - 0.5 * u.shape[-1] * math.log(2 * math.pi)
    return log_base + log_det


wrong(
    continuous_log_prob,
    "log_det_sign",
    swap={"return log_base + log_det": "return log_base - log_det"},
    hint="""The state was carried back in time, so its last entry is already log|det ∂u/∂x|: you have turned its sign. Where the velocity
    diverges, volume grows and the density must fall.""",
)
wrong(
    continuous_log_prob,
    "forward_in_time",
    swap={"h = -1 / steps": "h = 1 / steps", "t = 1 + n * h": "t = n * h"},
    hint="You carry x from t = 0 to t = 1, as if it were a base point. Where does a data point come from?",
)
wrong(
    continuous_log_prob,
    "clock_runs_forward",
    swap={"t = 1 + n * h": "t = -n * h", "t + h / 2": "t - h / 2", "t + h)": "t - h)"},
    hint="Your point goes back, but the velocity is asked at times 0, …, 1. It began its way back at t = 1. Constant velocities hide this.",
)
wrong(
    continuous_log_prob,
    "no_log_det",
    swap={"return log_base + log_det": "return log_base + 0 * log_det"},
    hint="Only the base's density is left: how much volume has changed along the way is missing.",
)
wrong(
    continuous_log_prob,
    "trace_at_the_end_alone",
    swap={"return log_base + log_det": "return log_base - slope_and_trace(u, 0.0)[1]"},
    hint="You take the trace at one point of the path. It is integrated over all of it.",
)
wrong(
    continuous_log_prob,
    "base_not_normalized",
    swap={" - 0.5 * u.shape[-1] * math.log(2 * math.pi)": ""},
    hint="The standard normal's constant is missing: ½ log 2π per variable.",
)
wrong(
    continuous_log_prob,
    "one_constant_for_all_variables",
    swap={"0.5 * u.shape[-1] * math.log": "0.5 * math.log"},
    hint="The standard normal has a constant ½ log 2π per variable. Yours counts it once.",
)
wrong(
    continuous_log_prob,
    "sum_of_the_whole_jacobian",
    swap={"pull_back(e.expand_as(v))[0][..., i]": "pull_back(e.expand_as(v))[0].sum(-1)"},
    hint="You add up all entries of the Jacobian. The trace is made of those on the diagonal: ∂v_i/∂x_i.",
)
wrong(
    continuous_log_prob,
    "trace_cannot_be_trained",
    swap={"return v, trace\n": "return v, trace.detach()\n"},
    hint="The values are right, but the trace is cut off from the graph: an optimizer would shrink volume to raise the density and not see the price.",
)
wrong(
    continuous_log_prob,
    "euler_steps",
    swap={"state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)": "state = state + h * k1"},
    hint="With so few steps Euler's method is too coarse: your density is off in the second digit.",
)


# ---- probability_flow_velocity -----------------------------------------------------------------------------------


def probability_flow_velocity(x, s, weights, means, scales, schedule):
    alpha, sigma, beta = schedule.alpha(s), schedule.sigma(s), schedule.beta(s)
    offset = x[..., None] - alpha * means
    variances = alpha**2 * scales**2 + sigma**2
    log_joint = weights.log() - 0.5 * offset**2 / variances - 0.5 * variances.log()
    share = log_joint.softmax(-1)
    score = -(share * offset / variances).sum(-1)
    return -0.5 * beta * (x + score)


wrong(
    probability_flow_velocity,
    "drift_of_the_reverse_sde",
    swap={"-0.5 * beta * (x + score)": "-beta * (0.5 * x + score)"},
    hint="The score counts fully in the reverse of the noisy equation. Without noise it counts half: check that N(0, 1) stays where it is.",
)
wrong(
    probability_flow_velocity,
    "drift_alone",
    swap={"(x + score)": "(x + 0 * score)"},
    hint="This is the drift of the noisy equation without its noise: all points would run into 0. The score takes the noise's part.",
)
wrong(
    probability_flow_velocity,
    "score_sign",
    swap={"(x + score)": "(x - score)"},
    hint="Noise spreads points away from where they are dense: in the diffusion's time they move against the score. Look at the signs once more.",
)
wrong(
    probability_flow_velocity,
    "runs_to_the_data",
    swap={"return -0.5 * beta": "return 0.5 * beta"},
    hint="This velocity points towards the data. Here s runs from data (0) to noise (1): dx/ds was asked for.",
)
wrong(
    probability_flow_velocity,
    "score_of_the_data",
    swap={
        "alpha, sigma, beta = schedule.alpha(s), schedule.sigma(s), schedule.beta(s)": "alpha, sigma, beta = 1.0, 0.0, schedule.beta(s)"
    },
    hint="You use the score of the data's density at every s. What do the components look like after noise has been added?",
)
wrong(
    probability_flow_velocity,
    "variance_without_noise",
    swap={"alpha**2 * scales**2 + sigma**2": "alpha**2 * scales**2"},
    hint="The components shrink in your formula, but the noise is missing: independent variances add.",
)
wrong(
    probability_flow_velocity,
    "noise_not_squared",
    swap={"alpha**2 * scales**2 + sigma**2": "alpha**2 * scales**2 + sigma"},
    hint="σ(s) is the standard deviation of the noise. Variances add: with α² + σ² = 1, data of variance 1 keep it.",
)
wrong(
    probability_flow_velocity,
    "divided_by_the_standard_deviation",
    swap={"(share * offset / variances)": "(share * offset / variances.sqrt())"},
    hint="Differentiate log N(x; μ, V) by x: the square in the exponent leaves x − μ over V, not over its root.",
)
wrong(
    probability_flow_velocity,
    "scale_not_squared",
    swap={"alpha**2 * scales**2 + sigma**2": "alpha * scales**2 + sigma**2"},
    hint="A variable multiplied by α has its variance multiplied by α².",
)
wrong(
    probability_flow_velocity,
    "means_not_shrunk",
    swap={"offset = x[..., None] - alpha * means": "offset = x[..., None] - means"},
    hint="The means stand still in your formula. They shrink with the data: the mean of α x + σ ε is not that of x.",
)
wrong(
    probability_flow_velocity,
    "prior_weights",
    swap={"share = log_joint.softmax(-1)": "share = weights.expand_as(log_joint)"},
    hint="Each component's score enters with its prior weight. At a point x the components count by how likely each of them made x.",
)
wrong(
    probability_flow_velocity,
    "weights_forgotten",
    swap={"weights.log() - 0.5 * offset": "-0.5 * offset"},
    hint="How likely a component made x depends on its weight, too: a rare one explains less.",
)
wrong(
    probability_flow_velocity,
    "widths_forgotten",
    swap={" - 0.5 * variances.log()": ""},
    hint="A wide component has a low density everywhere: the normalizing constants differ and do not cancel.",
)
