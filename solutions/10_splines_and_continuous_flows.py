# %% [markdown]
# # 10 · Splines and continuous flows
#
# An affine coupling can only shift and stretch. Two ways lead beyond it. The first keeps the coupling and replaces its straight line by
# **a monotone curve with as many bends as you like**: a spline. The second gives up layers altogether and lets every point **move along a
# velocity for one unit of time**; the determinant then becomes a trace. The second way ends at diffusion models, which turn out to be
# continuous flows; where the density of the data is known, so is their velocity, in closed form.
#
# **You will be able to**
# - derive the rational-quadratic spline's slope, implement the spline and its inverse, and say where float32 breaks the textbook root;
# - derive the instantaneous change of variables from small residual steps, and check it by machine;
# - write a Runge–Kutta solver, estimate a trace from one backward pass, and compute the density of a continuous flow;
# - compute the likelihood of a diffusion model in two ways, by an ODE and by an ELBO, and compare both with the truth.
#
# **Time:** about 70 minutes of reading, 135 minutes of exercises.
# **Needs:** notebooks 3 (couplings) and 4 (ELBO). Notebook 9 (residual flows) helps with section 4.

# %%
import math
import os
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from autograder_tests.checks import splines_and_continuous_flows as check
from flowlib import data, interactive, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(10)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $u$, $x = T(u)$ | `(*batch, D)` | base variable, data variable |
# | $K$, $B$ | numbers | number of a spline's bins; it lives on $[-B, B]$ |
# | $w_k, h_k$ | `(K,)` | widths and heights of the bins; both sum to $2B$ |
# | $d_k$ | `(K + 1,)` | slopes $dx/du$ at the knots; 1 at both ends |
# | $\xi, \eta$ | number | relative position in a bin, from 0 to 1: of $u$ in its width, of $x$ in its height |
# | $t$ | number | time of a continuous flow: $t = 0$ is the base, $t = 1$ the data |
# | $z(t)$, $v(z, t)$ | `(*batch, D)` | moving point, its velocity $dz/dt$ |
# | $h$ | number | length of a step in time |
# | $\varepsilon$ | `(*batch, D)` | random vector of a trace estimate |
# | $s$ | number | in sections 1 to 3 the mean slope $h_k/w_k$ of a bin; in sections 7 and 8 the time of a diffusion, which runs **the other way**: $s = 1 - t$ |
#
# **Direction, as everywhere:** `forward` goes from base to data and returns $(x, \log|\det\partial x/\partial u|)$; `inverse` goes from data to
# base and returns $(u, \log|\det\partial u/\partial x|)$. A continuous flow runs `forward` from $t = 0$ to 1 and `inverse` from 1 to 0. Papers on
# diffusion start their clock at the data. This notebook gives their clock another letter.

# %% [markdown]
# ## 1 · A curve that cannot turn back
#
# In a coupling layer the kept variables choose how each other variable is moved: $x_i = \tau(u_i)$, with a curve $\tau$ whose parameters a network computes from the kept variables. The affine
# choice, a factor and a shift, has two parameters and makes no new bumps: given the kept variables, a Gaussian stays a Gaussian. What we want of
# $\tau$ is little. It shall increase, so that it can be inverted. It shall be smooth, so that densities have no jumps. Its inverse and its slope shall have closed forms.
#
# Durkan, Bekasov, Murray & Papamakarios (2019) join $K + 1$ knots. Two neighboring knots are $(u_k, x_k)$ and
# $(u_k + w_k, x_k + h_k)$, and the curve's slopes there are prescribed: $d_0$ on the left, $d_1$ on the right. Write $s = h_k/w_k$ for the mean slope
# of the bin and $\xi = (u - u_k)/w_k$. The curve inside the bin is a quotient of two quadratics,
#
# $$x = x_k + h_k\,\frac{s\,\xi^2 + d_0\,\xi(1-\xi)}{s + (d_0 + d_1 - 2s)\,\xi(1-\xi)} .$$
#
# **Predict.** Which conditions does this curve have to meet at $\xi = 0$ and $\xi = 1$? How many are there?
#
# <details><summary>Answer</summary>
#
# Four: the height at both ends (0 and $h_k$ above $x_k$), and the slope $dx/du$ at both ends ($d_0$ and $d_1$). A cubic could meet
# them, too, but it may turn back in between. This quotient never does, as you are about to see.
# </details>
#
# ### Exercise 1 · The slope within a bin
#
# Difficulty 2/5 (a derivative and a chain rule) · about 10 minutes · 2 points
#
# `rq_bin_slope(xi, s, d0, d1)` returns $dx/du$ as a sympy expression in $\xi, s, d_0, d_1$. All four arrive as positive symbols. Mind that $\xi$ is not $u$: the bin has a width
# and a height.


# %% solution="rq_bin_slope"
def rq_bin_slope(xi, s, d0, d1):
    """dx/du of the rational-quadratic map in a bin of mean slope s, end slopes d0 and d1, at relative position xi."""
    ### BEGIN SOLUTION
    share = (s * xi**2 + d0 * xi * (1 - xi)) / (s + (d0 + d1 - 2 * s) * xi * (1 - xi))
    return s * sp.diff(share, xi)
    ### END SOLUTION


# %% test="bin_slope_at_the_ends" points=1
check.bin_slope_at_the_ends(rq_bin_slope)
### BEGIN HIDDEN TESTS
check.bin_slope_at_the_ends(rq_bin_slope, hidden=1)
### END HIDDEN TESTS

# %% test="bin_slope_is_the_derivative" points=1
check.bin_slope_is_the_derivative(rq_bin_slope)
### BEGIN HIDDEN TESTS
check.bin_slope_is_the_derivative(rq_bin_slope, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# The fraction is the share of the bin's height that has been climbed, a function of the share $\xi$ of its width. Let `sp.diff` differentiate it by $\xi$.
# </details>
# <details><summary>Help: right up to a factor</summary>
#
# $x = x_k + h_k\cdot\text{share}$ and $u = u_k + w_k\,\xi$. So $dx/du$ is $h_k/w_k$ times the derivative of the share by $\xi$.
# </details>
#
# Simplified, the slope is a quotient of sums of **positive** terms:
#
# $$\frac{dx}{du} = \frac{s^2\,\bigl[d_1\xi^2 + 2s\,\xi(1-\xi) + d_0(1-\xi)^2\bigr]}{\bigl[s + (d_0+d_1-2s)\,\xi(1-\xi)\bigr]^2} > 0 .$$
#
# The denominator holds such a sum, too, though it does not look so: $1 = (\xi + (1-\xi))^2$ lets us write what is squared there as
# $s\,(\xi^2 + (1-\xi)^2) + (d_0 + d_1)\,\xi(1-\xi)$. The curve increases by construction, whatever positive numbers a network prescribes. By machine:

# %%
xi, s, d0, d1 = sp.symbols("xi s d0 d1", positive=True)
below = s + (d0 + d1 - 2 * s) * xi * (1 - xi)
share = (s * xi**2 + d0 * xi * (1 - xi)) / below
slope = s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / below**2
assert sp.simplify(s * sp.diff(share, xi) - slope) == 0
assert sp.expand(below - (s * (xi**2 + (1 - xi) ** 2) + (d0 + d1) * xi * (1 - xi))) == 0
print("share at the ends:", share.subs(xi, 0), "and", share.subs(xi, 1))
print("slope at the ends:", sp.simplify(slope.subs(xi, 0)), "and", sp.simplify(slope.subs(xi, 1)))

# %% [markdown]
# ## 2 · From one bin to a layer
#
# A whole spline is $K$ such bins side by side on $[-B, B]$. Outside it is the identity, and the slopes at both outermost knots are 1, so that the
# curve continues smoothly into its **linear tails**. No input is out of range. What remains to be chosen: $K$ widths, $K$ heights and $K - 1$ inner
# slopes, **$3K - 1$ numbers** per variable. A network produces them as plain real numbers. Softmax, times $2B$, makes positive widths and heights of them with sum $2B$.
# Softplus makes positive slopes. `flowlib` shifts the softplus such that all zeros give slope 1: then equal bins and unit slopes make
# **the identity**, which is where a coupling with a zero last layer starts training.
#
# **Predict.** $K = 4$. All 11 numbers of the network are 0, except that of the middle slope, at $u = 0$: that slope becomes about 6.5. What does the curve look like? And the density of $x$ for
# $u \sim \mathcal N(0, 1)$?

# %%
torch.manual_seed(1)
spline = flowlib.RationalQuadraticSpline(bins=4, bound=3.0)
u = torch.linspace(-4.5, 4.5, 1801).unsqueeze(-1)  # (n, D) with D = 1
settings = {
    "all zeros": torch.zeros(11),
    "one slope raised": torch.zeros(11),
    "random": torch.randn(11),
}
settings["one slope raised"][9] = 6.0
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
styles = ("--", "-", "-.")
for (name, numbers), line in zip(settings.items(), styles, strict=True):
    x, log_slope = spline.forward(u, spline.parameters_of(numbers).expand(len(u), -1, -1))
    density = (Normal(0.0, 1.0).log_prob(u) - log_slope).exp()
    axes[0].plot(u, x, line, label=name)
    axes[1].plot(x, density, line, label=name)
    print(f"{name:17s}: slope between {log_slope.exp().min():.2f} and {log_slope.exp().max():.2f}")
axes[0].set(title="spline, $K$ = 4 bins on [−3, 3]", xlabel="$u$", ylabel="$x$")
axes[1].set(title="density of $x$ for $u \\sim N(0, 1)$", xlabel="$x$", ylabel="density")
axes[0].legend()
plt.show()

# %% [markdown]
# **Figure.** Left: three splines over $[-4.5, 4.5]$. All rise everywhere and coincide with the diagonal beyond $\pm 3$. With all parameters zero
# the spline is the diagonal itself; one raised slope makes a steep step at $u = 0$. Right: densities of $x$. The step pulls probability away from $x = 0$: one Gaussian bump has become
# two. No affine map can do that.
#
# Move the knots yourself.
#
# **Predict.** Press *Split the bump in two*, which makes the middle slope about 8. The total height of the curve is fixed at $2B$. What must happen to the slopes elsewhere? What does the density do there?
#
# <details><summary>Answer</summary>
#
# The mean slope over $[-B, B]$ is $2B/2B = 1$, whatever the knots. A slope of 8 in one place is paid for by slopes below 1 beside it, and there the density rises: two bumps.
# </details>

# %%
interactive.spline()

# %% [markdown]
# **Figure.** Interactive. Left: the spline with its knots, the inner three to drag; each also has sliders for its position, its height and its slope. Middle: the slope $dx/du$, which the chosen slopes pin down at the knots. Right: the density of $x$ for a standard normal $u$, dashed the normal itself.
# Whatever you do, the smallest slope stays above 0, the way back finds $u$ again to rounding error, and the area under the density stays 1. Bring two knots close together in $u$ and far apart in $x$ and the density thins out between them; the other way round it grows a spike.

# %% [markdown]
# ### Exercise 2 · The spline
#
# Difficulty 3/5 (indexing, and one trap) · about 25 minutes · 6 points
#
# `rq_spline_forward(u, widths, heights, slopes)` maps every entry of `u` by the same spline. `u` has any shape; `widths` and `heights` are `(K,)`, positive,
# each of sum $2B$; `slopes` is `(K − 1,)`, positive: at inner knots, from left to right. Return $x$ and $\log dx/du$, both of the shape of `u`. Outside $[-B, B]$ they are $u$ and 0.
# The points $\pm B$ themselves may be among the `u`. Gradients to `u` and to the parameters must be finite for every `u`, inside and outside.


# %% solution="rq_spline_forward"
def rq_spline_forward(u, widths, heights, slopes):
    """A rational-quadratic spline on [−B, B], 2B = sum of widths = sum of heights; the identity outside.

    Args:
        u: tensor of any shape.
        widths, heights: `(K,)`, positive. slopes: `(K − 1,)`, positive, at inner knots; at ±B the slope is 1.

    Returns:
        x and log dx/du, both of the shape of u.
    """
    ### BEGIN SOLUTION
    bound = widths.sum() / 2
    zero, one = widths.new_zeros(1), widths.new_ones(1)
    knots_u, knots_x = (torch.cat([zero, v.cumsum(0)]) - bound for v in (widths, heights))
    d = torch.cat([one, slopes, one])
    inside = u.abs() <= bound
    # Outside, some point of the inside stands in: torch.where would pass on the gradient of a NaN.
    v = torch.where(inside, u, torch.zeros_like(u))
    k = (v[..., None] >= knots_u[1:-1]).sum(-1)
    s, xi = (heights / widths)[k], (v - knots_u[k]) / widths[k]
    inner = xi * (1 - xi)
    below = s + (d[k] + d[k + 1] - 2 * s) * inner
    x = knots_x[k] + heights[k] * (s * xi**2 + d[k] * inner) / below
    slope = s**2 * (d[k + 1] * xi**2 + 2 * s * inner + d[k] * (1 - xi) ** 2) / below**2
    return torch.where(inside, x, u), torch.where(inside, slope.log(), torch.zeros_like(u))
    ### END SOLUTION


# %% test="spline_passes_through_its_knots" points=1
check.spline_passes_through_its_knots(rq_spline_forward)
### BEGIN HIDDEN TESTS
check.spline_passes_through_its_knots(rq_spline_forward, hidden=1)
### END HIDDEN TESTS

# %% test="spline_formula" points=2
check.spline_formula(rq_spline_forward)
### BEGIN HIDDEN TESTS
check.spline_formula(rq_spline_forward, hidden=1)
### END HIDDEN TESTS

# %% test="spline_log_slope" points=1
check.spline_log_slope(rq_spline_forward)
### BEGIN HIDDEN TESTS
check.spline_log_slope(rq_spline_forward, hidden=1)
### END HIDDEN TESTS

# %% test="spline_has_linear_tails" points=1
check.spline_has_linear_tails(rq_spline_forward)
### BEGIN HIDDEN TESTS
check.spline_has_linear_tails(rq_spline_forward, hidden=1)
### END HIDDEN TESTS

# %% test="spline_gradients_are_finite" points=1
check.spline_gradients_are_finite(rq_spline_forward)
### BEGIN HIDDEN TESTS
check.spline_gradients_are_finite(rq_spline_forward, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Knots first: $-B$, then $-B$ plus the running sums of the widths. `(u[..., None] >= inner_knots).sum(-1)` counts how many inner knots lie below each `u`:
# that is the number of its bin, from 0 to $K - 1$.
# </details>
# <details><summary>Help: an index is out of range</summary>
#
# $K$ bins have $K + 1$ knots and $K + 1$ slopes, the outermost ones included. Count inner knots only.
# </details>
# <details><summary>Help: values are right, gradients are NaN</summary>
#
# `torch.where(inside, a, b)` multiplies the gradient of the branch not taken by 0, and $0\cdot$NaN is NaN. Replace outside points by a harmless inside point
# **before** the formula, and choose afterwards.
# </details>
# <details><summary>Template</summary>
#
# ```python
# knots_u, knots_x, d = ...            # each (K + 1,)
# inside = ...
# v = torch.where(inside, u, ...)      # something inside
# k = ...                              # bin of each v
# s, xi = ..., (v - knots_u[k]) / widths[k]
# x, slope = ..., ...
# return torch.where(inside, x, u), torch.where(inside, slope.log(), ...)
# ```
# </details>

# %% [markdown]
# ## 3 · The way back, and a trap in float32
#
# Given $x$, find $\xi$. With $\eta = (x - x_k)/h_k$ the bin's equation, cleared of its fraction, is a quadratic $a\xi^2 + b\xi + c = 0$ with
#
# $$a = (s - d_0) + \eta\,(d_0 + d_1 - 2s),\qquad b = d_0 - \eta\,(d_0+d_1-2s),\qquad c = -s\,\eta .$$
#
# (To see it, write the equation as $\eta\,[s + (d_0 + d_1 - 2s)\,\xi(1-\xi)] = s\,\xi^2 + d_0\,\xi(1-\xi)$ and collect powers of $\xi$.) One of its roots lies in $[0, 1]$. Every textbook has the formula
#
# $$\xi = \frac{-b + \sqrt{b^2 - 4ac}}{2a} .$$
#
# **Predict.** A spline that starts as the identity has $d_0 = d_1 = s = 1$ in every bin. What does the formula give?
#
# <details><summary>Answer</summary>
#
# $a = 0$, so it is $0/0$. Near the identity $a$ is tiny, and $-b + \sqrt{b^2 - 4ac}$ is a difference of nearly equal numbers divided by a tiny one.
# </details>
#
# Multiply numerator and denominator by $-b - \sqrt{b^2 - 4ac}$:
#
# $$\xi = \frac{2c}{-b - \sqrt{b^2-4ac}} .$$
#
# Now $a = 0$ does no harm. One difference is left: $b^2 - 4ac$ itself. It is positive on paper. At the flat end of a steep bin it is small compared with
# its two terms, and rounding may make it negative. Then $\sqrt{\cdot}$ is NaN, and a training run dies after hours. Many programs clamp it at 0. It is better to have no difference at all.
# With $m = d_0(1-\eta) - d_1\eta$,
#
# $$b^2 - 4ac = m^2 + 4s^2\,\eta(1-\eta) ,$$
#
# a **sum** of two terms that are never negative. Checked by sympy, then tried in float32:

# %%
eta = sp.Symbol("eta", positive=True)
delta = d0 + d1 - 2 * s
a, b, c = (s - d0) + eta * delta, d0 - eta * delta, -s * eta
m = d0 * (1 - eta) - d1 * eta
assert sp.expand(b**2 - 4 * a * c - (m**2 + 4 * s**2 * eta * (1 - eta))) == 0
assert sp.simplify(sp.expand((share - eta) * below - (a * xi**2 + b * xi + c))) == 0
print("b² − 4ac = m² + 4s²η(1 − η), for every bin")


def root(eta, s, d0, d1, form):
    """ξ by one of three formulas, in the dtype of the arguments."""
    a, b, c = (s - d0) + eta * (d0 + d1 - 2 * s), d0 - eta * (d0 + d1 - 2 * s), -s * eta
    m = d0 * (1 - eta) - d1 * eta
    if form == "textbook":
        return (-b + (b**2 - 4 * a * c).sqrt()) / (2 * a)
    discriminant = b**2 - 4 * a * c if form == "other denominator" else m**2 + 4 * s**2 * eta * (1 - eta)
    return 2 * c / (-b - discriminant.sqrt())


torch.manual_seed(0)
n = 20_000
ulps = torch.randint(1, 6, (n,)) * 2.0**-24  # the float32 numbers next below 1
bins = {
    "straight, d0 = d1 = s": (torch.rand(n), torch.ones(n), torch.ones(n), torch.ones(n)),
    "nearly straight": (torch.rand(n), torch.ones(n), 1 + 1e-4 * torch.randn(n), torch.ones(n)),
    "steep, then flat": (1 - ulps, 3 + torch.rand(n), 10 + 20 * torch.rand(n), torch.full((n,), 1e-3)),
}
for name, values in bins.items():
    exact = root(*(v.double() for v in values), "sum of squares")
    print(name)
    for form in ("textbook", "other denominator", "sum of squares"):
        got = root(*values, form).double()
        error = (got - exact).abs().nan_to_num(0).max()
        print(f"   {form:18s} NaN in {got.isnan().double().mean():7.2%}, else error up to {error:.0e}")

# %% [markdown]
# Three kinds of bin, three formulas. The textbook root is NaN in every straight bin, and useless in nearly straight ones. The other denominator mends
# both, and still gives NaN at the flat end of a steep bin. Clamping would hide the NaN, but not the second loss: where $b^2 - 4ac$ comes out positive it is mostly rounding, and the root
# makes thousands of rounding units out of one. The sum of squares keeps its digits.
#
# ### Exercise 3 · The inverse spline
#
# Difficulty 3/5 (a quadratic, done with care) · about 20 minutes · 6 points
#
# `rq_spline_inverse(x, widths, heights, slopes)` returns $u$ and $\log du/dx$, both of the shape of `x`. Same conventions as before. Everything may arrive in
# float32, and must come back finite.


# %% solution="rq_spline_inverse"
def rq_spline_inverse(x, widths, heights, slopes):
    """The inverse of `rq_spline_forward` with the same widths, heights and slopes.

    Returns:
        u and log du/dx, both of the shape of x; the identity outside [−B, B].
    """
    ### BEGIN SOLUTION
    bound = widths.sum() / 2
    zero, one = widths.new_zeros(1), widths.new_ones(1)
    knots_u, knots_x = (torch.cat([zero, v.cumsum(0)]) - bound for v in (widths, heights))
    d = torch.cat([one, slopes, one])
    inside = x.abs() <= bound
    y = torch.where(inside, x, torch.zeros_like(x))
    k = (y[..., None] >= knots_x[1:-1]).sum(-1)
    s, eta = (heights / widths)[k], (y - knots_x[k]) / heights[k]
    m = d[k] * (1 - eta) - d[k + 1] * eta
    xi = 2 * s * eta / (m + 2 * s * eta + (m**2 + 4 * s**2 * eta * (1 - eta)).sqrt())
    inner = xi * (1 - xi)
    below = s + (d[k] + d[k + 1] - 2 * s) * inner
    slope = s**2 * (d[k + 1] * xi**2 + 2 * s * inner + d[k] * (1 - xi) ** 2) / below**2
    u = knots_u[k] + widths[k] * xi
    return torch.where(inside, u, x), torch.where(inside, -slope.log(), torch.zeros_like(x))
    ### END SOLUTION


# %% test="spline_inverse_undoes_forward" points=2
check.spline_inverse_undoes_forward(rq_spline_inverse)
### BEGIN HIDDEN TESTS
check.spline_inverse_undoes_forward(rq_spline_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="spline_inverse_log_slope" points=1
check.spline_inverse_log_slope(rq_spline_inverse)
### BEGIN HIDDEN TESTS
check.spline_inverse_log_slope(rq_spline_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="spline_inverse_has_linear_tails" points=1
check.spline_inverse_has_linear_tails(rq_spline_inverse)
### BEGIN HIDDEN TESTS
check.spline_inverse_has_linear_tails(rq_spline_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="spline_inverse_in_float32" points=1
check.spline_inverse_in_float32(rq_spline_inverse)
### BEGIN HIDDEN TESTS
check.spline_inverse_in_float32(rq_spline_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="spline_inverse_gradients_are_finite" points=1
check.spline_inverse_gradients_are_finite(rq_spline_inverse)
### BEGIN HIDDEN TESTS
check.spline_inverse_gradients_are_finite(rq_spline_inverse, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: some points come back in the wrong bin</summary>
#
# Now $x$ is given: its bin is found among the knots of $x$, the running sums of the **heights**.
# </details>
# <details><summary>Help: the log-slope is off</summary>
#
# The slope's formula wants $\xi$, the relative position of $u$, not $\eta$. And $\log du/dx = -\log dx/du$ at the same pair of points.
# </details>
# <details><summary>Help: float32 gives NaN for a straight bin</summary>
#
# Then $a = 0$. Use the root with the other denominator. It is $2c/(-b-\sqrt{\cdot}) = 2s\eta/(b + \sqrt{\cdot})$, with $b = m + 2s\eta$.
# </details>

# %% [markdown]
# ### The two-dimensional example with 16 bins
#
# A question from a forum. The page on flows of the library Pyro begins with
#
# ```python
# base_dist = dist.Normal(torch.zeros(2), torch.ones(2))
# spline_transform = T.spline_coupling(2, count_bins=16)
# flow_dist = dist.TransformedDistribution(base_dist, [spline_transform])
# ```
#
# "So the base distribution is a Gaussian, same as in a VAE?" Yes. The base is no limit: what can be reached from it is a matter of the **map**. In that example one spline bends the first
# variable, and a second one bends the second variable, with parameters that a network computes from the first. Recall the Rosenblatt map of notebook 2: $x_1 = F_1^{-1}(u_1)$,
# $x_2 = F_2^{-1}(u_2 \text{ given } x_1)$, with uniform $u$. Here splines stand in for the distribution functions. So **one** such coupling can already come near any density on the plane, as far as 16 bins can bend.
# (Pyro's default splines are rational-linear, ours are rational-quadratic.) A VAE has a $p(x)$, too, but it is an integral over the latent $z$; the flow's is one line.
#
# The same size of flow, on two rings, against one affine coupling and the exact density:

# %%
target = data.TARGETS["rings"]
train, test = target.sample(8000, seed=0), target.sample(4000, seed=1)
torch.manual_seed(0)
one_spline = flowlib.spline_flow(2, 1, hidden=(64, 64), bins=16, marginals=True, data=train)
one_affine = flowlib.real_nvp(2, 1, hidden=(64, 64), data=train)
for flow in (one_spline, one_affine):
    flowlib.fit(flow, train, steps=900, batch_size=256, lr=5e-3, average=0.98, max_steps=MAX_STEPS)


def excess(flow, points, target=target):
    """Mean of log p_true − log p_flow over test points, in nats, with its standard error."""
    with torch.no_grad():
        gap = target.log_prob(points) - flow.log_prob(points)
    return gap.mean().item(), (gap.std() / math.sqrt(len(gap))).item()


for name, flow in (("one spline coupling, 16 bins", one_spline), ("one affine coupling", one_affine)):
    mean, error = excess(flow, test)
    print(f"{name:29s}: excess {mean:.3f} ± {error:.3f} nats over the exact density (one seed)")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.5))
panels = (
    ("exact", target.log_prob),
    ("one spline coupling", one_spline.log_prob),
    ("one affine coupling", one_affine.log_prob),
)
for ax, (name, log_prob) in zip(axes, panels, strict=True):
    plotting.plot_density(ax, log_prob, target.extent, vmax=0.25, title=name, xlabel="$x_1$", ylabel="$x_2$")
plt.show()

# %% [markdown]
# **Figure.** Densities over the same window and with the same colors. Left: two thin concentric rings. Middle: one spline coupling shows both rings; faint seams run along
# $x_2 = 0$, where the bumps of $x_2$ merge at the left and right ends of each ring. Right: one affine coupling gives vertical smears: given $x_1$ its $x_2$ is
# Gaussian, however large its network. Same base, same test set; the excess printed above is the price of the straight line.

# %% [markdown]
# ## 4 · From small steps to a velocity
#
# A residual step moves a point by a little: $z' = z + h\,v(z)$ with a small number $h > 0$. Its log-determinant is $\log\det(I + hJ)$, where $J$ `(D, D)` has the entries $J_{ij} = \partial v_i/\partial z_j$. The determinant of
# a $D\times D$ matrix takes $O(D^3)$ operations. **Predict.** What is left of it to first order in $h$? Try $D = 2$ by hand first.

# %%
h = sp.Symbol("h", positive=True)
J = sp.Matrix(3, 3, lambda i, j: sp.Symbol(f"J{i + 1}{j + 1}"))
log_det = sp.log((sp.eye(3) + h * J).det())
first, second = (sp.diff(log_det, h, order).subs(h, 0) / sp.factorial(order) for order in (1, 2))
assert sp.expand(first - J.trace()) == 0
assert sp.expand(second + (J**2).trace() / 2) == 0
print("log det(I + hJ) = h tr J − ½ h² tr J² + …   (3 × 3, every entry a symbol)")

# %% [markdown]
# A determinant is a sum of products. Every product but that of the diagonal has at least two factors off the diagonal, so it carries $h^2$. The diagonal's is $1 + h\operatorname{tr}J$ to first order. Now take $1/h$ steps of length $h$
# and let $h$ go to 0. The steps become a path, the point moves with velocity $v$, and the log-determinants add up to an integral. This is the **instantaneous change of variables** (Chen et al. 2018):
#
# $$\frac{dz}{dt} = v(z, t),\qquad \log\left|\det\frac{\partial x}{\partial u}\right| = \int_0^1 \operatorname{tr}\frac{\partial v}{\partial z}\,dt,
# \qquad \frac{d}{dt}\log p(z(t), t) = -\operatorname{tr}\frac{\partial v}{\partial z} .$$
#
# Look at what has vanished. No determinant. No constraint on $v$ beyond smoothness: no masks, no Lipschitz constant below 1. Why is the map invertible nonetheless? Because
# **paths cannot cross**: at a given point and time there is one velocity, so two paths that met would be the same path, forwards and backwards. To invert, let time run from 1 to 0.
#
# Check by numbers. Residual steps of length $h$ have an exact log-determinant, that of their Jacobian. Compare it with the sum of $h\operatorname{tr}J$ along the same steps. A solver of differential equations takes such steps. Euler's method *is* the residual flow;
# the midpoint rule and Runge–Kutta (its formulas follow below) take better averages of the velocity and of the trace, for two and four evaluations of $v$ a step.
#
# **Predict.** Halve the step. By which factor does the gap between the two log-determinants fall for Euler's method?

# %%
torch.manual_seed(1)
velocity = flowlib.VelocityNet(3, (32,), zero_last=False).double()
with torch.no_grad():
    for parameter in velocity.parameters():
        parameter.mul_(2.5)
points = torch.randn(64, 3, dtype=torch.float64)
step_counts = [1, 2, 4, 8, 16, 32, 64]
figure, ax = plt.subplots(figsize=(6.4, 3.8))
for method, stages, marker in (("euler", 1, "o"), ("midpoint", 2, "s"), ("rk4", 4, "^")):
    gaps = []
    for steps in step_counts:
        layer = flowlib.Continuous(velocity, 3, solver=flowlib.FixedStep(steps, method))
        jacobian = flowlib.batch_jacobian(lambda v, f=layer: f.forward(v)[0], points)
        gaps.append((layer.forward(points)[1] - torch.linalg.slogdet(jacobian)[1]).abs().mean().item())
    ax.loglog([stages * steps for steps in step_counts], gaps, marker=marker, label=method)
    print(f"{method:9s}: doubling 32 steps to 64 divides the gap by {gaps[-2] / gaps[-1]:.1f}")
ax.set(
    title="sum of traces against log|det| of the same steps",
    xlabel="evaluations of $v$",
    ylabel="mean gap (nats)",
)
ax.legend()
plt.show()

# %% [markdown]
# **Figure.** Mean gap in nats between the integrated trace and the exact log-determinant of the map that the steps make, against the number of evaluations of $v$, both axes logarithmic.
# From a few evaluations on, all three lines are nearly straight and fall: Euler's slowly, the midpoint rule's faster, Runge–Kutta's fastest. The printed ratios are near 2, 4 and 16: orders 1, 2 and 4.
#
# ### Exercise 4 · Runge and Kutta
#
# Difficulty 2/5 (four lines, in the right places) · about 10 minutes · 4 points
#
# Let $y$ be a tensor of any shape that obeys $dy/dt = f(y, t)$. One step of the classical method from $t$ to $t + h$ takes four slopes $k_1, \dots, k_4$ of the shape of $y$ and averages them:
#
# $$k_1 = f(y, t),\quad k_2 = f(y + \tfrac h2 k_1, t + \tfrac h2),\quad k_3 = f(y + \tfrac h2 k_2, t + \tfrac h2),\quad k_4 = f(y + h k_3, t + h),$$
# $$y \leftarrow y + \tfrac h6\,(k_1 + 2k_2 + 2k_3 + k_4).$$
#
# `runge_kutta_4(f, y, t0, t1, steps)` takes `steps` equal steps from `t0` to `t1`, which may lie **before** `t0`.


# %% solution="runge_kutta_4"
def runge_kutta_4(f, y, t0, t1, steps):
    """y at t1, where dy/dt = f(y, t) and y at t0 is given, by `steps` classical Runge–Kutta steps.

    Args:
        f: maps a tensor of the shape of y and a number t to a tensor of the shape of y.
        y: tensor. t0, t1: numbers, t1 < t0 runs back in time. steps: integer.
    """
    ### BEGIN SOLUTION
    h = (t1 - t0) / steps
    for n in range(steps):
        t = t0 + n * h
        k1 = f(y, t)
        k2 = f(y + h / 2 * k1, t + h / 2)
        k3 = f(y + h / 2 * k2, t + h / 2)
        k4 = f(y + h * k3, t + h)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y
    ### END SOLUTION


# %% test="rk4_formula" points=1
check.rk4_formula(runge_kutta_4)
### BEGIN HIDDEN TESTS
check.rk4_formula(runge_kutta_4, hidden=1)
### END HIDDEN TESTS

# %% test="rk4_is_exact_for_cubics_in_time" points=1
check.rk4_is_exact_for_cubics_in_time(runge_kutta_4)
### BEGIN HIDDEN TESTS
check.rk4_is_exact_for_cubics_in_time(runge_kutta_4, hidden=1)
### END HIDDEN TESTS

# %% test="rk4_converges_with_order_four" points=1
check.rk4_converges_with_order_four(runge_kutta_4)
### BEGIN HIDDEN TESTS
check.rk4_converges_with_order_four(runge_kutta_4, hidden=1)
### END HIDDEN TESTS

# %% test="rk4_runs_backwards" points=1
check.rk4_runs_backwards(runge_kutta_4)
### BEGIN HIDDEN TESTS
check.rk4_runs_backwards(runge_kutta_4, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: only the backward check fails</summary>
#
# $h = (t_1 - t_0)/\text{steps}$ is negative then, and everything else stays as it is. No `abs`, no assumption that time starts at 0.
# </details>
# <details><summary>Help: order four fails, the cubics pass</summary>
#
# For cubics in $t$ the slopes do not depend on $y$. Look at the points where your slopes are taken: each starts from the slope before it.
# </details>

# %% [markdown]
# ## 5 · The trace, exactly or by chance
#
# A backward pass through $v$ gives $a^\top J$ for one vector $a$: a combination of rows of the Jacobian. The exact trace needs all $D$ rows, $D$ backward passes at every evaluation. For an image that is too many. **Hutchinson's estimator**
# needs one. For each example draw a vector $\varepsilon$ `(D,)` with independent entries of mean 0 and variance 1. Then
#
# $$\mathbb E\,[\varepsilon^\top J\,\varepsilon] = \sum_{i,j} J_{ij}\,\mathbb E[\varepsilon_i\varepsilon_j] = \sum_i J_{ii} = \operatorname{tr} J .$$
#
# One backward pass with $\varepsilon$ gives $\varepsilon^\top J$; its product with $\varepsilon$ is the estimate (Hutchinson 1990; Grathwohl et al. 2018, FFJORD).
#
# **Predict.** Which estimate varies less: with random signs, $\varepsilon_i = \pm1$, or with Gaussian entries? (Look at the terms with $i = j$.)

# %%
torch.manual_seed(0)
x = torch.randn(1, 3, dtype=torch.float64).expand(20_000, 3)
noises = {"random signs": 2.0 * torch.randint_like(x, 2) - 1, "Gaussian": torch.randn_like(x)}
_, exact = flowlib.trace_of_jacobian(lambda z: velocity(z, 0.5), x[:1])
print(f"exact trace at one point: {exact.item():.3f}")
for name, noise in noises.items():
    estimates = flowlib.trace_of_jacobian(lambda z: velocity(z, 0.5), x, noise)[1].detach()
    error = estimates.std() / math.sqrt(len(estimates))
    print(
        f"{name:12s}: mean {estimates.mean():.3f} ± {error:.3f}, standard deviation of one {estimates.std():.3f}"
    )

# %% [markdown]
# With signs, $\varepsilon_i^2 = 1$ always: the diagonal enters without noise, and only the off-diagonal entries fluctuate. Within one integration the noise is drawn **once**: an ODE whose right-hand side jitters has no solution,
# and a solver that adapts its steps would take them to zero.
#
# ### Exercise 5 · One backward pass
#
# Difficulty 3/5 (a gradient that keeps its own graph) · about 15 minutes · 3 points
#
# `hutchinson_estimate(velocity, x, t, noise)` returns $\varepsilon^\top(\partial v/\partial x)\,\varepsilon$ for each example, `(*batch,)`; `x` and `noise` are `(*batch, D)`, and `velocity(x, t)` acts on each example
# alone. The estimate is part of a loss: a gradient must reach the velocity's parameters through it.


# %% solution="hutchinson_estimate"
def hutchinson_estimate(velocity, x, t, noise):
    """noiseᵀ (∂v/∂x) noise for each example: x, noise `(*batch, D)`, t a number → `(*batch,)`."""
    ### BEGIN SOLUTION
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        v = velocity(x, t)
        (product,) = torch.autograd.grad(v, x, grad_outputs=noise, create_graph=True)
    return (product * noise).sum(-1)
    ### END SOLUTION


# %% test="hutchinson_formula" points=1
check.hutchinson_formula(hutchinson_estimate)
### BEGIN HIDDEN TESTS
check.hutchinson_formula(hutchinson_estimate, hidden=1)
### END HIDDEN TESTS

# %% test="hutchinson_averages_to_the_trace" points=1
check.hutchinson_averages_to_the_trace(hutchinson_estimate)
### BEGIN HIDDEN TESTS
check.hutchinson_averages_to_the_trace(hutchinson_estimate, hidden=1)
### END HIDDEN TESTS

# %% test="hutchinson_can_be_trained" points=1
check.hutchinson_can_be_trained(hutchinson_estimate)
### BEGIN HIDDEN TESTS
check.hutchinson_can_be_trained(hutchinson_estimate, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which function pulls back a vector?</summary>
#
# `torch.autograd.grad(v, x, grad_outputs=noise)`, or `torch.func.vjp`. Both give $\varepsilon^\top J$ for each example, since examples do not mix.
# </details>
# <details><summary>Help: "element 0 of tensors does not require grad"</summary>
#
# `x` must be part of a graph before `velocity` sees it: `x.requires_grad_()` on a copy. `torch.func.vjp` does without.
# </details>
# <details><summary>Help: there is no gradient to the parameters</summary>
#
# The gradient of a gradient needs the graph of the first one: `create_graph=True`.
# </details>
#
# ### Exercise 6 · The density of a continuous flow
#
# Difficulty 4/5 (all of it together) · about 25 minutes · 5 points
#
# `continuous_log_prob(x, velocity, steps)` returns $\log p(x)$ in nats, `(*batch,)`, for `x` `(*batch, D)` and base $\mathcal N(0, I)$. Use the exact trace and `steps` classical Runge–Kutta steps
# (`flowlib.FixedStep(steps).integrate(f, y, t0, t1).y` is there for you, or write them). Carry point and log-determinant side by side in one state `(*batch, D + 1)`.


# %% solution="continuous_log_prob"
def continuous_log_prob(x, velocity, steps):
    """log p(x) of the flow dz/dt = velocity(z, t) from z(0) ~ N(0, I) to x = z(1), by RK4 with exact trace.

    Args:
        x: `(*batch, D)`. velocity: module, (z `(*batch, D)`, number t) → `(*batch, D)`. steps: of RK4.

    Returns:
        `(*batch,)`, nats, with gradient to the velocity's parameters.
    """

    ### BEGIN SOLUTION
    def rates(state, t):
        v, pull_back = torch.func.vjp(lambda z: velocity(z, t), state[..., :-1])
        units = torch.eye(v.shape[-1], dtype=v.dtype)
        trace = sum(pull_back(unit.expand_as(v))[0][..., i] for i, unit in enumerate(units))
        return torch.cat([v, trace[..., None]], dim=-1)

    start = torch.cat([x, torch.zeros_like(x[..., :1])], dim=-1)
    end = flowlib.FixedStep(steps).integrate(rates, start, 1.0, 0.0).y
    u, log_det = end[..., :-1], end[..., -1]  # log|det ∂u/∂x|: time ran from 1 to 0
    return Normal(0.0, 1.0).log_prob(u).sum(-1) + log_det
    ### END SOLUTION


# %% test="continuous_density_of_a_linear_velocity" points=2
check.continuous_density_of_a_linear_velocity(continuous_log_prob)
### BEGIN HIDDEN TESTS
check.continuous_density_of_a_linear_velocity(continuous_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="continuous_density_of_a_velocity_in_time" points=1
check.continuous_density_of_a_velocity_in_time(continuous_log_prob)
### BEGIN HIDDEN TESTS
check.continuous_density_of_a_velocity_in_time(continuous_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="continuous_density_integrates_to_one" points=1
check.continuous_density_integrates_to_one(continuous_log_prob)
### BEGIN HIDDEN TESTS
check.continuous_density_integrates_to_one(continuous_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="continuous_density_can_be_trained" points=1
check.continuous_density_can_be_trained(continuous_log_prob)
### BEGIN HIDDEN TESTS
check.continuous_density_can_be_trained(continuous_log_prob, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which way does time run?</summary>
#
# A density asks where $x$ came from: start at $t = 1$ with $x$ and integrate to $t = 0$. The last entry of the state starts at 0 and has rate $\operatorname{tr}\partial v/\partial z$.
# </details>
# <details><summary>Help: the sign of the log-determinant</summary>
#
# Integrated from 1 to 0, the trace gives $\int_1^0 \operatorname{tr}\,dt = \log|\det\partial u/\partial x|$ with its sign already right. Add it.
# </details>
# <details><summary>Help: the linear case passes, the one in time fails</summary>
#
# Your velocity is asked at the wrong times. On the way back the first step starts at $t = 1$.
# </details>

# %% [markdown]
# ## 6 · Train one, and ask what a tolerance costs
#
# `flowlib.continuous_flow` is one `Continuous` layer with a small network for $v$. We train it by maximum likelihood; gradients run back through the solver's steps as through any layers. A few fixed steps do for training:

# %%
target_cnf = data.TARGETS["pinwheel"]
train, test = target_cnf.sample(10_000, seed=0), target_cnf.sample(2000, seed=1)
torch.manual_seed(0)
cnf = flowlib.continuous_flow(2, (64, 64), solver=flowlib.FixedStep(5, "midpoint"), data=train)
history = flowlib.fit(cnf, train, steps=900, batch_size=256, lr=1e-2, average=0.98, max_steps=MAX_STEPS)
mean, error = excess(cnf, test, target_cnf)
print(f"{sum(p.numel() for p in cnf.parameters())} parameters, {history.seconds:.0f} s of training")
print(
    f"excess {mean:.3f} ± {error:.3f} nats over the exact density, with the solver it was trained with (one seed)"
)

# %% [markdown]
# Is that number a likelihood? Only as far as the solver is exact. **Predict.** Training has lowered the number that the coarse solver gives, errors included. Will the exact likelihood of the same velocity be better or worse?
#
# A solver that **adapts** its steps compares two Runge–Kutta methods of neighboring order that share their evaluations; where they differ by more than a tolerance, the step is taken again, smaller
# (Dormand & Prince 1980). Evaluate the same trained velocity at several tolerances, and count evaluations:

# %%
continuous = cnf.transformations[0]
calls = [0]
continuous.velocity.register_forward_hook(lambda *_: calls.__setitem__(0, calls[0] + 1))


def nll_and_evaluations(solver, points):
    """Mean negative log-likelihood in nats of the trained flow under this solver, and evaluations of v."""
    before, continuous.solver, calls[0] = continuous.solver, solver, 0
    with torch.no_grad():
        nll = -cnf.log_prob(points).mean().item()
    continuous.solver = before
    return nll, calls[0]


points = test[:500].double()
cnf.double()
finest, _ = nll_and_evaluations(flowlib.AdaptiveStep(1e-9, 1e-9), points)
tolerances = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
rows = [nll_and_evaluations(flowlib.AdaptiveStep(tol, tol), points) for tol in tolerances]
trained_with, evaluations = nll_and_evaluations(flowlib.FixedStep(5, "midpoint"), points)
print(f"{'solver':24s} {'NLL (nats)':>11s} {'off by':>9s} {'evaluations':>12s}")
print(f"{'midpoint, 5 steps':24s} {trained_with:11.5f} {trained_with - finest:9.1e} {evaluations:12d}")
for tol, (nll, count) in zip(tolerances, rows, strict=True):
    print(f"adaptive, tolerance {tol:.0e} {nll:10.5f} {nll - finest:9.1e} {count:12d}")
cnf.float()
continuous.solver = flowlib.AdaptiveStep(1e-4, 1e-4)  # from here on
mean, error = excess(cnf, test, target_cnf)
print(f"excess {mean:.3f} ± {error:.3f} nats over the exact density, at tolerance 1e-4")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.5))
axes[0].loglog(tolerances, [abs(nll - finest) for nll, _ in rows], marker="o")
axes[0].set(title="error of the NLL", xlabel="tolerance", ylabel="|NLL − exact for this $v$| (nats)")
axes[1].semilogx(tolerances, [count for _, count in rows], marker="s", color=plotting.PALETTE["vermilion"])
axes[1].set(title="cost", xlabel="tolerance", ylabel="evaluations of $v$")
with torch.no_grad():
    starts = torch.randn(120, 2)
    stops = np.linspace(0, 1, 21)
    paths = [starts]
    for t0, t1 in pairwise(stops.tolist()):
        paths.append(flowlib.FixedStep(2).integrate(continuous.velocity, paths[-1], t0, t1).y)
paths = torch.stack(paths)
axes[2].plot(paths[..., 0], paths[..., 1], color="gray", linewidth=0.4)
axes[2].scatter(*paths[-1].T, s=8, color=plotting.PALETTE["blue"], zorder=3)
axes[2].set(title="paths from base to data", xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
plt.show()

# %% [markdown]
# **Figure.** Left: error of the mean negative log-likelihood against the tolerance, both axes logarithmic: it falls with the tolerance. Middle: the number of evaluations of $v$ grows slowly as the tolerance falls. Right: gray
# paths of 120 base points through time, bending smoothly into the arms of a pinwheel (standardized units), dots where they arrive; projected paths may seem to cross, at different times. A reported likelihood
# needs a tolerance at which it no longer moves. Look at the first row of the table: with the few steps that served in training the NLL comes out **lower** than the exact integral. Training rewards
# whatever lowers the number, and a coarse solver's errors are among it: that number belongs to no density, and it flatters the model. The excess at a fine tolerance, the last line above, is the honest one.
#
# A coupling flow has a state after each layer. A continuous flow has one at every time $t$. **Predict.** Stop this flow halfway, at $t = \tfrac12$. Is what you see there a density?
#
# <details><summary>Answer</summary>
#
# Yes, at every $t$. The map from $t = 0$ to any other time is invertible, too: solve the equation backwards. Its density follows from the integral of the trace up to that time.
# </details>

# %%
with torch.no_grad():
    clouds = [torch.randn(1000, 2)]
    for t0, t1 in pairwise(np.linspace(0, 1, 13).tolist()):
        clouds.append(flowlib.FixedStep(2).integrate(continuous.velocity, clouds[-1], t0, t1).y)
start_angle = torch.atan2(clouds[0][:, 1], clouds[0][:, 0])


def draw(ax, k):
    ax.scatter(*clouds[k].T, c=start_angle, cmap="twilight", s=6, edgecolors="0.35", linewidths=0.2)
    ax.set(title=f"t = {k / 12:.2f}", xlabel="$z_1$", ylabel="$z_2$", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))


interactive.film(
    draw,
    range(13),
    title="A continuous flow in time",
    description="1000 points carried by the trained velocity, colored by the angle they start at.",
    captions=[f"t = {k / 12:.2f}" for k in range(13)],
)

# %% [markdown]
# **Figure.** A film to step through: 1000 points from the base's round cloud at $t = 0$ to the pinwheel at $t = 1$ (standardized units), colored by the angle they start at. The cloud keeps its colors in order around the circle while it is
# drawn out into arms. Points only ever move a little from picture to picture, and never through each other: two solutions of the equation that meet at the same time are the same solution.
#
# ### Extra · Flow matching: train without solving
#
# Backpropagation through a solver is slow. **Flow matching** (Lipman et al. 2022; Liu et al. 2022) does without. Draw a base point $u$, a data point $x$, and a time $t$; put $z_t = (1-t)u + t x$ on the straight
# line between; and regress the velocity on the line's own, $x - u$:
#
# $$\mathbb E\,\tfrac12\bigl|v(z_t, t) - (x - u)\bigr|^2 .$$
#
# Many lines pass through the same $z_t$. The best prediction is their mean, $v^*(z, t) = \mathbb E[x - u \text{ given } z_t = z]$, and this average velocity carries probability just as the crowd of lines does: its flow takes $p_u$ to the data's distribution,
# along paths that are **not** the straight lines. The ODE is solved only afterwards.

# %%
shift, scale = train.mean(0), train.std(0)
standardized = (train - shift) / scale
torch.manual_seed(0)
matched_velocity = flowlib.VelocityNet(2, (64, 64, 64))


def matching_loss(x):
    return flowlib.flow_matching_loss(matched_velocity, x, torch.randn_like(x), torch.rand(len(x), 1))


history = flowlib.fit(
    matched_velocity,
    standardized,
    loss=matching_loss,
    steps=6000,
    batch_size=512,
    lr=5e-3,
    average=0.995,
    max_steps=MAX_STEPS,
)
matched = flowlib.Flow(
    flowlib.StandardNormal(2),
    [
        flowlib.Continuous(matched_velocity, 2, solver=flowlib.AdaptiveStep(1e-4, 1e-4)),
        flowlib.Affine(shift, scale),
    ],
)
mean, error = excess(matched, test, target_cnf)
print(
    f"{sum(p.numel() for p in matched_velocity.parameters())} parameters, {history.seconds:.0f} s of training"
)
print(f"flow matching: excess {mean:.3f} ± {error:.3f} nats (one seed)")

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6))
panels = (("exact", target_cnf), ("maximum likelihood", cnf), ("flow matching", matched))
for ax, (name, model) in zip(axes, panels, strict=True):
    plotting.plot_density(
        ax, model.log_prob, target_cnf.extent, n=80, vmax=0.35, title=name, xlabel="$x_1$", ylabel="$x_2$"
    )
plt.show()

# %% [markdown]
# **Figure.** Three densities over the same window, same colors. Left: the exact pinwheel, five bent arms. Middle and right: the continuous flows trained by maximum likelihood and by flow matching. Both show the five arms, and some haze between them where the truth has none. Flow matching took many more steps, each of
# them far cheaper: one evaluation of the velocity in place of a solved equation with traces. For pixels, where a solver in the loop is out of the question, that decides. Seconds and excess stand in the lines printed above, for one seed each.

# %% [markdown]
# ## 7 · Diffusion is a continuous flow
#
# A diffusion model destroys data slowly. With the diffusion's clock, $s = 0$ data and $s = 1$ noise, every point follows the **variance-preserving** equation
#
# $$dx = -\tfrac12\beta(s)\,x\,ds + \sqrt{\beta(s)}\,dW ,$$
#
# with a rate $\beta(s) > 0$ (Song et al. 2020). Read it as a recipe of small steps: in a time $ds$ the point shrinks a little towards 0 and receives Gaussian noise $dW \sim \mathcal N(0, ds)$, fresh in every step, times $\sqrt\beta$.
# Given where it started, a point at $s$ is Gaussian: $x_s = \alpha(s)\,x_0 + \sigma(s)\,\epsilon$, $\epsilon\sim\mathcal N(0, 1)$, with $\alpha = e^{-\frac12\int_0^s\beta}$ and $\sigma^2 = 1 - \alpha^2$. Let $p_s$ be the density of $x_s$.
#
# The paths jitter. The densities do not, and many other motions have the same densities. One of them is without noise. The density of the noisy points obeys the Fokker–Planck equation: the drift carries probability along, the first term, and the noise spreads it like heat, the second. The noise's term can be written as a velocity:
#
# $$\frac{\partial p_s}{\partial s} = -\frac{\partial}{\partial x}\Bigl[-\tfrac12\beta x\,p_s\Bigr] + \tfrac12\beta\frac{\partial^2 p_s}{\partial x^2}
# = -\frac{\partial}{\partial x}\Bigl[\underbrace{-\tfrac12\beta\bigl(x + \tfrac{\partial}{\partial x}\log p_s\bigr)}_{dx/ds}\,p_s\Bigr] .$$
#
# That uses $\partial p/\partial x = p\,\partial\log p/\partial x$. The braced velocity is the **probability flow**. The gradient of the log-density in it is called the **score**. Run from $s = 1$ to $s = 0$, this is a continuous flow from nearly $\mathcal N(0, 1)$ to the data, with $v(x, t) = -dx/ds$ at
# $s = 1 - t$: exact likelihoods included. A real diffusion model learns the score. We take data whose score is known: a mixture of Gaussians on the line, with weights $\pi_k$, means $m_k$ and standard deviations $c_k$ (here $K$ counts components, all three are `(K,)`). Noise keeps it a mixture,
#
# $$p_s = \sum_k \pi_k\,\mathcal N\bigl(\alpha m_k,\ \alpha^2c_k^2 + \sigma^2\bigr) .$$
#
# By machine: the two forms of the Fokker–Planck equation agree for any density.

# %%
y, rate = sp.symbols("x beta", positive=True)
p = sp.Function("p", positive=True)(y)
noisy = -sp.diff(-rate * y * p / 2, y) + rate * sp.diff(p, y, 2) / 2
without_noise = -sp.diff(-rate * (y + sp.diff(sp.log(p), y)) / 2 * p, y)
assert sp.simplify(noisy - without_noise) == 0
print("drift and noise, or the probability flow: the same change of density")

# %% [markdown]
# ### Exercise 7 · The probability flow of a mixture
#
# Difficulty 3/5 (responsibilities, and two signs) · about 20 minutes · 3 points
#
# Return $dx/ds$ in the diffusion's time, for `x` of any shape. `weights`, `means`, `scales` are $\pi, m, c$, all `(K,)`; `schedule.alpha(s)`, `schedule.sigma(s)` and `schedule.beta(s)` are numbers. The score of a mixture is the components' scores, each weighted by how likely
# its component made $x$.


# %% solution="probability_flow_velocity"
def probability_flow_velocity(x, s, weights, means, scales, schedule):
    """dx/ds of the variance-preserving diffusion's probability flow, for data from a mixture of Gaussians.

    Args:
        x: tensor of any shape. s: number in (0, 1], 0 is data, 1 is noise.
        weights, means, scales: of the data's mixture, `(K,)`. schedule: has alpha(s), sigma(s), beta(s).
    """
    ### BEGIN SOLUTION
    alpha, sigma = schedule.alpha(s), schedule.sigma(s)
    offset = x[..., None] - alpha * means
    variances = alpha**2 * scales**2 + sigma**2
    log_joint = weights.log() - 0.5 * (offset**2 / variances + variances.log())
    score = -(log_joint.softmax(-1) * offset / variances).sum(-1)
    return -0.5 * schedule.beta(s) * (x + score)
    ### END SOLUTION


# %% test="probability_flow_of_one_gaussian" points=1
check.probability_flow_of_one_gaussian(probability_flow_velocity)
### BEGIN HIDDEN TESTS
check.probability_flow_of_one_gaussian(probability_flow_velocity, hidden=1)
### END HIDDEN TESTS

# %% test="probability_flow_keeps_probability" points=2
check.probability_flow_keeps_probability(probability_flow_velocity)
### BEGIN HIDDEN TESTS
check.probability_flow_keeps_probability(probability_flow_velocity, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the score of one Gaussian</summary>
#
# For $\mathcal N(\mu, V)$ it is $-(x - \mu)/V$. Here $\mu = \alpha m_k$ and $V = \alpha^2c_k^2 + \sigma^2$.
# </details>
# <details><summary>Help: one Gaussian passes, the mixture fails</summary>
#
# How likely component $k$ made $x$ is $\pi_k\,\mathcal N(x; \alpha m_k, V_k)$ divided by the sum over $k$: weights, exponentials and the factors $1/\sqrt{V_k}$ all count. A softmax of their logarithms does it safely.
# </details>
# <details><summary>Help: a simple test of signs</summary>
#
# Data from $\mathcal N(0, 1)$ keep their distribution at every $s$. No point has to move: $x$ and the score must cancel.
# </details>

# %%
means, scales, weights = torch.tensor([[-1.5], [1.0]]), torch.tensor([[0.3], [0.6]]), torch.tensor([0.4, 0.6])
mixture = flowlib.DiffusedMixture(means.double(), scales.double(), weights.double())
flow_velocity = flowlib.ProbabilityFlow(mixture)  # v(x, t) in a flow's time, t = 1 − s
grid = torch.linspace(-3.5, 3.5, 300, dtype=torch.float64)
times = np.linspace(0, 1, 81)
with torch.no_grad():
    heat = torch.stack([mixture.log_prob(grid[:, None], 1 - t).exp() for t in times], dim=1)
    paths = [Normal(0.0, 1.0).icdf(torch.linspace(0.02, 0.98, 17, dtype=torch.float64))[:, None]]
    for t0, t1 in pairwise(times.tolist()):
        paths.append(flowlib.FixedStep(4).integrate(flow_velocity, paths[-1], t0, t1).y)
figure, ax = plt.subplots(figsize=(8, 3.8))
picture = ax.imshow(heat, origin="lower", extent=(0, 1, -3.5, 3.5), aspect="auto")
figure.colorbar(picture, label="density of $x$")
ax.plot(times, torch.stack(paths).squeeze(-1), color="white", linewidth=0.8)
ax.set(title="probability flow of a mixture", xlabel="flow's time $t = 1 - s$", ylabel="$x$")
plt.show()

# %% [markdown]
# **Figure.** The density of $x$ at every time as color, from one Gaussian at $t = 0$ on the left to a narrow and a wide peak at $t = 1$ on the right. White lines: 17 paths of the probability flow, started at quantiles of $\mathcal N(0, 1)$. They never cross, run apart from about $t = 0.7$ on, where the two peaks
# form, and stay at their quantile all the way: in one dimension the probability flow is the inverse-CDF map of notebook 1.
#
# ### The likelihood of a diffusion model, against the truth
#
# The log-density by the ODE has two errors. The solver's falls with the tolerance. The other one stays: the flow starts from $\mathcal N(0, 1)$, and $p_1$ is that only nearly, since a little of the data, $\alpha(1)$, survives. **Predict.** What will a plot of the error against the tolerance look like?

# %%
x = torch.linspace(-2.8, 3.2, 41, dtype=torch.float64)[:, None]
truth = mixture.log_prob(x, 0.0)
tolerances = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]
errors = {"base $N(0, 1)$": [], "base $p_1$": []}
for tol in tolerances:
    layer = flowlib.Continuous(flow_velocity, 1, solver=flowlib.AdaptiveStep(tol, tol))
    with torch.no_grad():
        u, log_det = layer.inverse(x)
    for name, log_base in (
        ("base $N(0, 1)$", Normal(0.0, 1.0).log_prob(u).squeeze(-1)),
        ("base $p_1$", mixture.log_prob(u, 1.0)),
    ):
        errors[name].append((log_base + log_det - truth).abs().mean().item())
figure, ax = plt.subplots(figsize=(6.4, 3.6))
for (name, values), marker in zip(errors.items(), "os", strict=True):
    ax.loglog(tolerances, values, marker=marker, label=name)
    print(f"{name:15s}: mean error {values[0]:.1e} nats at tolerance 1e-1, {values[-1]:.1e} at 1e-7")
ax.set(title="likelihood by the probability flow", xlabel="tolerance", ylabel="mean error (nats)")
ax.legend()
plt.show()
print(f"share of the data that survives: alpha(1) = {mixture.schedule.alpha(1.0):.4f}")

# %% [markdown]
# **Figure.** Mean error of $\log p(x)$ in nats over 41 points, against the solver's tolerance, both axes logarithmic. With the exact $p_1$ as base the error falls along with the tolerance. With $\mathcal N(0, 1)$ it falls at first and then stays level: no solver mends a base that does not fit.

# %% [markdown]
# ## 8 · Diffusion is also a hierarchical VAE
#
# Look at a few times $s_1 < s_2 < \dots < s_T = 1$ only, and write $z_i$ for the point at $s_i$. Data $x$, latents $z_1, \dots, z_T$: a VAE with $T$ layers of latents. It is **Markovian**: $z_i$ is made from $z_{i-1}$ alone. Its encoder $q$ is fixed, nothing to learn: $q(z_i \text{ given } x) = \mathcal N(\alpha_ix, \sigma_i^2)$.
# Its decoder steps from $z_i$ to $z_{i-1}$. If it knew $x$, it would use $q(z_{i-1}\text{ given }z_i, x)$, a Gaussian. It does not, so it puts a guess $\hat x(z_i)$ in the place of $x$ (Ho et al. 2020). The last step, from $z_1$ to $x$, is a Gaussian around $\hat x(z_1)$ of variance $\sigma_1^2/\alpha_1^2$.
#
# Let $\mathrm{SNR}_i = \alpha_i^2/\sigma_i^2$ be the signal-to-noise ratio. It falls with $i$. The two Gaussians of step $i$ have the same variance and different means. Their KL divergence is half the squared distance of the means over the variance, and works out to (Kingma et al. 2021)
#
# $$\mathrm{KL}_i = \tfrac12\bigl(\mathrm{SNR}_{i-1} - \mathrm{SNR}_i\bigr)\,\bigl(x - \hat x(z_i)\bigr)^2 .$$
#
# The ELBO of notebook 4 becomes
#
# $$\mathcal L(x) = \mathbb E\log\mathcal N\bigl(x;\ \hat x(z_1),\ 1/\mathrm{SNR}_1\bigr) - \sum_{i=2}^T \mathbb E\,\mathrm{KL}_i - \mathrm{KL}\bigl(q(z_T\text{ given }x)\,\|\,\mathcal N(0,1)\bigr) .$$
#
# The KL of a step, checked by sympy with $z_{i-1} = z'$ and $z_i = z$; the coefficients $A$ of $x$ and the variance $V$ of $q(z'\text{ given }z, x)$ come from multiplying two Gaussians in $z'$:

# %%
al, si, al2, si2 = sp.symbols("alpha sigma alpha' sigma'", positive=True)  # primed: at the earlier time, s'
step = al / al2  # z = step · z' + noise of variance `noise`
noise = si**2 - step**2 * si2**2
precision = 1 / si2**2 + step**2 / noise  # of q(z' given z, x) ∝ N(z'; α'x, σ'²) N(z; step z', noise)
coefficient = (al2 / si2**2) / precision  # of x in its mean
claimed = (al2**2 / si2**2 - al**2 / si**2) / 2
assert sp.simplify(coefficient**2 * precision / 2 - claimed) == 0
print("KL of a step / (x − x̂)² =", claimed)

# %% [markdown]
# For our mixture the best guess is known: the posterior mean $\hat x(z) = \mathbb E[x\text{ given }z] = (z + \sigma^2\cdot\text{score})/\alpha$ (Tweedie's formula). So a noise-free score and a denoiser are the same knowledge. And the expectations over $z_i$ are integrals over one Gaussian, so $\mathcal L$ can be computed without sampling.
#
# **Predict.** How does the gap $\mathbb E[\log p(x) - \mathcal L(x)]$ behave as $T$ grows? Does it matter where the times $s_i$ are placed?

# %%
nodes = torch.linspace(-3.5, 3.5, 81, dtype=torch.float64)[:, None]
share_of_node = mixture.log_prob(nodes, 0.0).softmax(0)  # weights of a quadrature over p_0
mean_truth = (share_of_node * mixture.log_prob(nodes, 0.0)).sum()
layer_counts = [16, 32, 64, 128, 256, 512]
gaps = {"equal steps in log SNR": [], "equal steps in $s$": []}
with torch.no_grad():
    for T in layer_counts:
        for name, chosen_times in (
            ("equal steps in log SNR", mixture.schedule.times(T)),
            ("equal steps in $s$", [i / T for i in range(1, T + 1)]),
        ):
            elbo = flowlib.diffusion_elbo(mixture, nodes, chosen_times, nodes=24)
            gaps[name].append((mean_truth - (share_of_node * elbo).sum()).item())
figure, ax = plt.subplots(figsize=(6.4, 3.6))
for (name, values), marker in zip(gaps.items(), "os", strict=True):
    ax.loglog(layer_counts, values, marker=marker, label=name)
    print(f"{name:23s}: gap {values[-2]:.3f} nats at T = 256, {values[-1]:.3f} at T = 512")
ax.set(
    title="ELBO of diffusion as a VAE",
    xlabel="layers of latents $T$",
    ylabel="mean gap to $\\log p(x)$ (nats)",
)
ax.minorticks_off()
ax.set_xticks(layer_counts, layer_counts)
ax.legend()
plt.show()

# %% [markdown]
# **Figure.** Mean gap between $\log p(x)$ and the ELBO, in nats, against the number $T$ of layers, both axes logarithmic. With times placed at equal steps of the logarithm of the signal-to-noise ratio the gap falls in proportion to $1/T$: twice the layers, half the gap. With equal steps in $s$ it hardly falls: near the
# data the ratio $\mathrm{SNR}_{i-1}/\mathrm{SNR}_i$ of the first steps stays large however many steps there are.
#
# The bound becomes tight: with the exact posterior mean and fine steps nothing is lost. Three numbers for one density now agree: the formula, the ODE, and the limit of an ELBO. A trained diffusion model has an inexact score instead; the ODE then computes the exact density of *its own* flow, and the ELBO a bound for *its own* VAE.
# (At a single $x$ the ELBO may even exceed $\log p_0(x)$: it bounds the density of the VAE, which differs from $p_0$. On average over $p_0$ it cannot.)
#
# ### Exercise 8 · In your own words
#
# Difficulty 2/5 (writing) · about 10 minutes · 2 points, graded by hand
#
# (a) A flow's base is a Gaussian, as a VAE's prior over $z$ often is. Why is the flow's $p(x)$ not limited by that, and what does the flow offer for $p(x)$ that the VAE does not? (b) A paper reports a likelihood of a continuous flow. Which two questions about the numbers would you ask before comparing it with that of a coupling flow?
#
# *What we look for.* One point for (a): the map decides what can be reached, and a flexible invertible map carries a Gaussian to (nearly) any density; the flow's density is exact and computable by the change of variables, the VAE's is an integral that it can only bound. One point for (b): the solver's tolerance or number of steps, and whether the number still moves when it is made finer; whether the
# trace was exact or estimated, and how the noise was averaged; or another question of equal weight, such as what the base's mismatch contributes.

# %% [markdown] manual="base_and_solver" points=2
# ### BEGIN SOLUTION
# (a) The Gaussian is only where points start. An invertible map that bends enough, such as one coupling with splines in the plane, carries it to nearly any density, just as inverse transform sampling does with a uniform base. The flow's $p(x)$ is then one evaluation of the change of variables; the VAE's is an integral over $z$, for which
# it has a lower bound.
#
# (b) With which solver and tolerance was it computed, and does it stay the same at a tenth of the tolerance? Was the trace exact, or estimated with random noise, and over how many draws was it averaged?
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - A rational-quadratic spline is increasing by construction, with $3K - 1$ parameters a variable, a slope and an inverse in closed form, and linear tails so that no input is out of range.
# - Its inverse solves a quadratic. Write the root without differences: $b^2 - 4ac = m^2 + 4s^2\eta(1-\eta)$.
# - `torch.where` hides a NaN and passes on its gradient. Make the argument harmless before.
# - $\log\det(I + hJ) = h\operatorname{tr}J + O(h^2)$: residual steps become a velocity, the determinant a trace.
# - A continuous flow needs no constraint to be invertible; its likelihood is as exact as its solver. Report the tolerance.
# - Hutchinson's estimator gives the trace from one backward pass; the noise is drawn once per integration.
# - Diffusion is a continuous flow by its probability-flow ODE, and a hierarchical VAE by its ELBO. With the exact score both give $\log p(x)$.
#
# **Common mistakes**: the bin of $x$ looked up among the knots of $u$ · the textbook root · NaN behind `torch.where` · log-slope without its logarithm, or with the wrong sign · Runge–Kutta slopes all taken at the same time · the velocity asked at the wrong times on the way back · the trace detached from the graph ·
# the score of the data in place of the noisy density's · two clocks with one letter.
#
# ## References
#
# - C. Durkan, A. Bekasov, I. Murray, G. Papamakarios, *Neural Spline Flows*, 2019, arXiv:1906.04032.
# - R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, *Neural Ordinary Differential Equations*, 2018, arXiv:1806.07366.
# - W. Grathwohl, R. T. Q. Chen, J. Bettencourt, I. Sutskever, D. Duvenaud, *FFJORD*, 2018, arXiv:1810.01367.
# - J. R. Dormand, P. J. Prince, *A family of embedded Runge–Kutta formulae*, Journal of Computational and Applied Mathematics, 1980.
# - M. F. Hutchinson, *A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines*, 1990, Communications in Statistics 19(2).
# - Y. Song, J. Sohl-Dickstein, D. P. Kingma, A. Kumar, S. Ermon, B. Poole, *Score-Based Generative Modeling through Stochastic Differential Equations*, 2020, arXiv:2011.13456.
# - J. Ho, A. Jain, P. Abbeel, *Denoising Diffusion Probabilistic Models*, 2020, arXiv:2006.11239.
# - D. P. Kingma, T. Salimans, B. Poole, J. Ho, *Variational Diffusion Models*, 2021, arXiv:2107.00630.
# - Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel, M. Le, *Flow Matching for Generative Modeling*, 2022, arXiv:2210.02747.
# - X. Liu, C. Gong, Q. Liu, *Flow Straight and Fast*, 2022, arXiv:2209.03003.
