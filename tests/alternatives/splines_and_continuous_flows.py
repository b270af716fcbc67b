"""Right solutions of 10_splines_and_continuous_flows in other styles. Each section stands alone below these imports."""

import math
import warnings

import numpy as np
import sympy as sp
import torch
from torch import nn

import flowlib


# %% rq_bin_slope: the published formula
def rq_bin_slope(xi, s, d0, d1):
    above = d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2
    return s**2 * above / (s + (d0 + d1 - 2 * s) * xi * (1 - xi)) ** 2


# %% rq_bin_slope: quotient rule by hand, simplified
def rq_bin_slope(xi, s, d0, d1):
    print("differentiating")
    top = s * xi**2 + d0 * xi * (1 - xi)
    bottom = s + (d0 + d1 - 2 * s) * xi * (1 - xi)
    top_prime = 2 * s * xi + d0 - 2 * d0 * xi
    bottom_prime = (d0 + d1 - 2 * s) * (1 - 2 * xi)
    return sp.factor(s * (top_prime * bottom - top * bottom_prime)) / bottom**2


# %% rq_bin_slope: a symbol of its own
def rq_bin_slope(xi, s, d0, d1):
    p = sp.Symbol("p")
    x = s * (s * p**2 + d0 * p * (1 - p)) / (s + (d0 + d1 - 2 * s) * p * (1 - p))
    return sp.Derivative(x, p).doit().subs(p, xi)


# %% rq_spline_forward: one point at a time
def rq_spline_forward(u, widths, heights, slopes):
    bound = float(widths.sum()) / 2
    d = [torch.tensor(1.0).double(), *slopes, torch.tensor(1.0).double()]

    def one(p):
        if abs(float(p)) > bound:
            return p, 0 * p
        left, bottom, k = -bound, -bound, 0
        while k + 1 < len(widths) and p > left + widths[k]:
            left, bottom, k = left + widths[k], bottom + heights[k], k + 1
        s, xi = heights[k] / widths[k], (p - left) / widths[k]
        below = s + (d[k] + d[k + 1] - 2 * s) * xi * (1 - xi)
        slope = s * s * (d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2) / below**2
        return bottom + heights[k] * (s * xi**2 + d[k] * xi * (1 - xi)) / below, slope.log()

    pairs = [one(p) for p in u.reshape(-1)]
    return tuple(torch.stack(v).reshape(u.shape) for v in zip(*pairs, strict=True))


# %% rq_spline_forward: searchsorted and clamp
def rq_spline_forward(u, widths, heights, slopes):
    bound = widths.sum() / 2
    edges = nn.functional.pad(widths.cumsum(0), (1, 0)) - bound
    tops = nn.functional.pad(heights.cumsum(0), (1, 0)) - bound
    d = nn.functional.pad(slopes, (1, 1), value=1.0)
    v = u.clamp(edges[0].detach(), edges[-1].detach())
    k = torch.searchsorted(edges[1:-1].contiguous(), v.contiguous(), right=True)
    s, xi = (heights / widths)[k], (v - edges[k]) / widths[k]
    inner = xi * (1 - xi)
    below = s * (1 - 2 * inner) + (d[k] + d[k + 1]) * inner
    x = tops[k] + heights[k] * (s * xi.square() + d[k] * inner) / below
    log_slope = 2 * s.log() - 2 * below.log()
    log_slope = log_slope + (d[k + 1] * xi**2 + 2 * s * inner + d[k] * (1 - xi) ** 2).log()
    inside = u.abs() <= bound
    return torch.where(inside, x, u), torch.where(inside, log_slope, 0.0 * u.detach())


# %% rq_spline_forward: every bin for every point, the right one chosen
def rq_spline_forward(u, widths, heights, slopes):
    warnings.warn("computing all bins", stacklevel=2)
    bound = widths.sum() / 2
    left, bottom = (v.cumsum(0) - v - bound for v in (widths, heights))
    start, end = (torch.cat(p) for p in ((slopes.new_ones(1), slopes), (slopes, slopes.new_ones(1))))
    s = heights / widths
    xi = ((u.unsqueeze(-1) - left) / widths).clamp(0, 1)
    below = s + (start + end - 2 * s) * xi * (1 - xi)
    x = bottom + heights * (s * xi**2 + start * xi * (1 - xi)) / below
    slope = s**2 * (end * xi**2 + 2 * s * xi * (1 - xi) + start * (1 - xi) ** 2) / below**2
    last = torch.arange(len(widths)) == (u.unsqueeze(-1) > left[1:]).sum(-1, keepdim=True)
    x, slope = (x * last).sum(-1), (slope * last).sum(-1)
    inside = (u > -bound) & (u < bound)
    return torch.where(inside, x, u), torch.where(inside, slope, torch.ones_like(u)).log()


# %% rq_spline_inverse: sum of squares under the root
def rq_spline_inverse(x, widths, heights, slopes):
    bound = widths.sum() / 2
    left, bottom = (torch.cat([v.new_zeros(1), v.cumsum(0)]) - bound for v in (widths, heights))
    d = torch.cat([slopes.new_ones(1), slopes, slopes.new_ones(1)])
    inside = (x >= -bound) & (x <= bound)
    y = torch.where(inside, x, 0.0)
    k = torch.bucketize(y.detach(), bottom[1:-1].detach().contiguous(), right=True)
    s, eta = (heights / widths)[k], (y - bottom[k]) / heights[k]
    m = d[k] * (1 - eta) - d[k + 1] * eta
    xi = 2 * s * eta / (m + 2 * s * eta + (m**2 + 4 * s**2 * eta * (1 - eta)).abs().sqrt())
    u = left[k] + widths[k] * xi
    below = s + (d[k] + d[k + 1] - 2 * s) * xi * (1 - xi)
    above = d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2
    log_slope = 2 * below.log() - 2 * s.log() - above.log()
    return torch.where(inside, u, x), torch.where(inside, log_slope, torch.zeros_like(x))


# %% rq_spline_inverse: bisection in float64, then one Newton step that carries the gradient
def rq_spline_inverse(x, widths, heights, slopes):
    dtype = x.dtype
    x, widths, heights, slopes = (v.double() for v in (x, widths, heights, slopes))
    bound = widths.sum() / 2
    left, bottom = (torch.cat([v.new_zeros(1), v.cumsum(0)]) - bound for v in (widths, heights))
    d = torch.cat([slopes.new_ones(1), slopes, slopes.new_ones(1)])

    def forward(u):
        k = torch.searchsorted(left[1:-1].detach(), u.detach().contiguous(), right=True)
        s, xi = (heights / widths)[k], (u - left[k]) / widths[k]
        below = s + (d[k] + d[k + 1] - 2 * s) * xi * (1 - xi)
        above = d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2
        return bottom[k] + heights[k] * (s * xi**2 + d[k] * xi * (1 - xi)) / below, s**2 * above / below**2

    inside = (x >= -bound) & (x <= bound)
    y = torch.where(inside, x, torch.zeros_like(x))
    with torch.no_grad():
        low, high = (-bound).expand_as(y), bound.expand_as(y)
        for _ in range(60):
            middle = (low + high) / 2
            above = forward(middle)[0] > y
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        root = (low + high) / 2
    at, slope = forward(root)
    u = root - (at - y) / slope.detach()
    slope = forward(u)[1]
    result = torch.where(inside, u, x), torch.where(inside, -slope.log(), torch.zeros_like(x))
    return tuple(v.to(dtype) for v in result)


# %% rq_spline_inverse: one point at a time
def rq_spline_inverse(x, widths, heights, slopes):
    bound = float(widths.sum()) / 2
    d = torch.cat([torch.ones(1).to(slopes), slopes, torch.ones(1).to(slopes)])
    tops = heights.cumsum(0) - bound
    results = []
    for p in x.reshape(-1):
        if not -bound <= float(p) <= bound:
            results.append((p, 0 * p))
            continue
        k = min(int((p >= tops).sum()), len(widths) - 1)
        s, eta = heights[k] / widths[k], (p - (tops[k] - heights[k])) / heights[k]
        a = (s - d[k]) + eta * (d[k] + d[k + 1] - 2 * s)
        b = d[k] - eta * (d[k] + d[k + 1] - 2 * s)
        xi = 2 * s * eta / (b + (b * b + 4 * a * s * eta).clamp(min=1e-10).sqrt())
        below = s + (d[k] + d[k + 1] - 2 * s) * xi * (1 - xi)
        above = d[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + d[k] * (1 - xi) ** 2
        left = widths[:k].sum() - bound
        results.append((left + widths[k] * xi, -(s * s * above / below / below).log()))
    return tuple(torch.stack(v).reshape(x.shape) for v in zip(*results, strict=True))


# %% runge_kutta_4: a loop over a tableau
def runge_kutta_4(f, y, t0, t1, steps):
    h = (t1 - t0) / steps
    for n in range(steps):
        total, k = 0 * y, 0 * y
        for share, weight in ((0, 1), (0.5, 2), (0.5, 2), (1, 1)):
            k = f(y + share * h * k, t0 + (n + share) * h)
            total = total + weight * k
        y = y + h * total / 6
    return y


# %% runge_kutta_4: recursion over steps, times from linspace
def runge_kutta_4(f, y, t0, t1, steps):
    times = np.linspace(t0, t1, steps + 1).tolist()

    def go(y, n):
        if n == steps:
            return y
        t, h = times[n], times[n + 1] - times[n]
        a = h * f(y, t)
        b = h * f(y + a / 2, t + h / 2)
        c = h * f(y + b / 2, t + h / 2)
        e = h * f(y + c, times[n + 1])
        return go(y + (a + e) / 6 + (b + c) / 3, n + 1)

    return go(y, 0)


# %% runge_kutta_4: flowlib's solver
def runge_kutta_4(f, y, t0, t1, steps):
    return flowlib.FixedStep(steps, "rk4").integrate(f, y, t0, t1).y


# %% hutchinson_estimate: torch.func, vector-Jacobian product
def hutchinson_estimate(velocity, x, t, noise):
    _, pull_back = torch.func.vjp(lambda z: velocity(z, t), x)
    return torch.einsum("...i,...i->...", pull_back(noise)[0], noise)


# %% hutchinson_estimate: forward mode, Jacobian-vector product
def hutchinson_estimate(velocity, x, t, noise):
    _, pushed = torch.func.jvp(lambda z: velocity(z, t), (x,), (noise,))
    return (noise * pushed).sum(dim=-1)


# %% hutchinson_estimate: the whole Jacobian, example by example
def hutchinson_estimate(velocity, x, t, noise):
    rows = []
    for p, e in zip(x.reshape(-1, x.shape[-1]), noise.reshape(-1, x.shape[-1]), strict=True):
        J = torch.autograd.functional.jacobian(lambda z: velocity(z, t), p, create_graph=True)
        rows.append(e @ J @ e)
    return torch.stack(rows).reshape(x.shape[:-1])


# %% continuous_log_prob: flowlib's flow
def continuous_log_prob(x, velocity, steps):
    D = x.shape[-1]
    layer = flowlib.Continuous(velocity, D, solver=flowlib.FixedStep(steps))
    return flowlib.Flow(flowlib.StandardNormal(D).to(x.dtype), [layer]).log_prob(x)


# %% continuous_log_prob: point and log-determinant side by side, autograd, time reversed by substitution
def continuous_log_prob(x, velocity, steps):
    def rates(z, r):
        with torch.enable_grad():
            z = z if z.requires_grad else z.detach().requires_grad_()
            v = velocity(z, 1 - r)
            trace = 0.0
            for i in range(z.shape[-1]):
                (row,) = torch.autograd.grad(v[..., i].sum(), z, create_graph=True)
                trace = trace + row[..., i]
        return -v, -trace

    z, total, h = x, torch.zeros(x.shape[:-1]).to(x), 1 / steps
    for n in range(steps):
        r = n * h
        v1, t1 = rates(z, r)
        v2, t2 = rates(z + h * v1 / 2, r + h / 2)
        v3, t3 = rates(z + h * v2 / 2, r + h / 2)
        v4, t4 = rates(z + h * v3, r + h)
        z = z + h * (v1 + 2 * v2 + 2 * v3 + v4) / 6
        total = total + h * (t1 + 2 * t2 + 2 * t3 + t4) / 6
    normal = torch.distributions.Normal(0.0, 1.0)
    return normal.log_prob(z).sum(-1) + total


# %% continuous_log_prob: a step-size control of flowlib's, log-density carried along
def continuous_log_prob(x, velocity, steps):
    def f(state, t):
        v, trace = flowlib.trace_of_jacobian(lambda z: velocity(z, t), state[..., 1:])
        return torch.cat([-trace.unsqueeze(-1), v], -1)

    start = torch.cat([torch.zeros_like(x[..., :1]), x], -1)
    end = flowlib.AdaptiveStep(1e-6, 1e-6).integrate(f, start, 1.0, 0.0).y
    u = end[..., 1:]
    return -(u.pow(2) + math.log(2 * math.pi)).sum(-1) / 2 - end[..., 0]


# %% probability_flow_velocity: densities, not logarithms; einsum
def probability_flow_velocity(x, s, weights, means, scales, schedule):
    a, c = schedule.alpha(s), schedule.sigma(s)
    variances = a**2 * scales**2 + c**2
    z = x.unsqueeze(-1) - a * means
    joint = weights * torch.exp(-(z**2) / (2 * variances)) / variances.sqrt()
    score = -torch.einsum("...k,...k->...", joint, z / variances) / joint.sum(-1)
    return -schedule.beta(s) * (x + score) / 2


# %% probability_flow_velocity: score by autograd of torch's mixture
def probability_flow_velocity(x, s, weights, means, scales, schedule):
    a = schedule.alpha(s)
    components = torch.distributions.Normal(a * means, (a**2 * scales**2 + 1 - a**2).sqrt())
    p = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(weights), components)
    with torch.enable_grad():
        y = x.detach().requires_grad_()
        (score,) = torch.autograd.grad(p.log_prob(y).sum(), y)
    return -0.5 * schedule.beta(s) * (x + score)


# %% probability_flow_velocity: flowlib's module, time turned round
def probability_flow_velocity(x, s, weights, means, scales, schedule):
    mixture = flowlib.DiffusedMixture(means[:, None], scales[:, None], weights, schedule)
    return -flowlib.ProbabilityFlow(mixture)(x[..., None], 1 - s)[..., 0]
