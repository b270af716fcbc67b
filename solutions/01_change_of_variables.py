# %% [markdown]
# # 1 · Change of variables: how a density moves
#
# Take a random number, apply a function, and ask how the result is distributed. Every normalizing flow is an answer to this
# question. This notebook gives it in one dimension, where you can draw each step, and checks each formula by machine.
#
# **You will be able to**
# - write down the density of $x = T(u)$, and say where the factor $|dT^{-1}/dx|$ comes from;
# - let sympy derive such densities, and tell which maps are not allowed and why;
# - sample from a distribution through its inverse distribution function, and test the samples;
# - fit a flow by maximum likelihood, say which direction of the map that needs, and read a negative log-likelihood: its
#   sign, its units.
#
# **Time:** about 50 minutes of reading, 120 minutes of exercises (32 points, 5 of them graded by hand).
# **Needs:** derivatives and the chain rule, the normal distribution, a little PyTorch. No earlier notebook.

# %%
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from sklearn.datasets import load_iris
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from autograder_tests.checks import change_of_variables as check
from flowlib import data, interactive, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(1)
# Grading shortens training: no point depends on a trained model.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation, and a Rosetta table
#
# Here everything is a single number; vectors come in notebook 2.
#
# | symbol | shape | meaning |
# |---|---|---|
# | $u$ | a number; as a tensor `(*batch,)` | base variable, drawn from the base density $p_u$ |
# | $x = T(u)$ | as $u$ | data variable, with density $p_x$ |
# | $S = T^{-1}$ | | the inverse map, from data to base: $u = S(x)$ |
# | $F_u, F_x$ | | distribution functions: $F_x(x) = P(\text{data variable} \le x)$ |
# | $\log\lvert dT/du\rvert$ | as $u$ | the log-determinant in one dimension (in several, a determinant takes the place of the slope) |
#
# All logarithms are natural; their unit is the **nat**.
#
# **Direction, here and everywhere in the course:** `forward` goes from base to data, $u \mapsto x = T(u)$. `inverse` goes
# from data to base, $x \mapsto u = T^{-1}(x)$.
#
# Texts on flows use the same letters for different things, and their arrows point in different directions. Most sign errors
# begin there. The table says how others write what this course calls base and data. Two words in it come later: a *coupling
# layer* is one map of a longer flow (notebook 3), and a *variational autoencoder*, VAE, makes data from a hidden variable, its
# *latent* (notebook 4). Come back when you read one of these texts.
#
# | text | base | data | latent of a VAE | its map goes |
# |---|---|---|---|---|
# | **this course** | $u$ | $x$ | $z$; with a flow prior $z = T(u)$ | $T$: base → data |
# | Frellsen, *Normalising flows*, lecture slides, DTU 02460 | $u$; inside a coupling layer $z$ | $x$; inside a coupling layer $z'$ | $z$ | $T$ (once $f$): base → data |
# | *Normalizing flows as a generalization of variational autoencoders?*, Stack Exchange | $z_0$ or $z$, "latent" | $x$ | $z$ | $f$: base → data |
# | *Normalizing Flow Models*, lecture notes of Stanford CS236 | $z$ | $x$ | $z$ | $f_\theta$: base → data; where a $u$ occurs, it is a parameter |
# | *VAE with Normalizing Flows*, blog, 2021 | $z_0 \sim q(\phi)$, from the encoder | its flow never touches the data $x$ | $z_T$, where the flow ends | $f_t$: base → latent, $z_{t-1} \mapsto z_t$ |
# | Russell, *Normalizing Flows Are Awesome*, blog, 2021 | "bell samples", no letter | "elephants", no letter | | the flow: **data → base** |
# | Dinh et al., NICE (2014) and RealNVP (2016) | $h$, then $z$ | $x$ | | $f$: **data → base** |
# | Papamakarios et al., review (2021) | $u$ | $x$ | | $T$: base → data |
# | `torch.distributions.TransformedDistribution` | `base_distribution` | its samples | | `transforms`: base → data |
#
# So $z$ may be the base, an intermediate point or a VAE's latent, and $f$ may point either way. When a formula puzzles you,
# ask first: **which way does the author's arrow point?**

# %% [markdown]
# ## 1 · The smallest flow: $x = 2u + 1$
#
# Let $u \sim \mathcal N(0, 1)$ and $x = T(u) = 2u + 1$.
#
# **Predict.** The base density has the value $p_u(0) = 1/\sqrt{2\pi}$ at $u = 0$, and $u = 0$ is sent to $x = 1$. Is the density of
# $x$ at $1$ larger, smaller or equal?
#
# <details><summary>Answer</summary>
#
# Smaller: half of it. The map stretches every interval to twice its length. The probability in the interval stays the same,
# so there is half as much of it per unit of length. A density is probability *per length*.
# </details>
#
# **Derive.** Look at a short interval around $u$, of length $du$. The map sends it to an interval around $x$, of length
# $dx = |T'(u)|\,du$. The same probability lies in both:
#
# $$p_x(x)\,dx = p_u(u)\,du \qquad\Longrightarrow\qquad
# p_x(x) = p_u(u)\,\left|\frac{du}{dx}\right| = p_u\bigl(T^{-1}(x)\bigr)\,\left|\frac{d}{dx}T^{-1}(x)\right| .$$
#
# This is the **change of variables formula**. Here $T^{-1}(x) = (x-1)/2$ and its derivative is $\tfrac12$:
#
# $$p_x(x) = \frac12\cdot\frac{1}{\sqrt{2\pi}}\exp\left(-\frac12\,\frac{(x-1)^2}{2^2}\right) = \mathcal N(x \mid 1,\, 2^2).$$
#
# Check by machine, once as a formula and once as an area:

# %%
u, x = sp.symbols("u x", real=True)
p_u = sp.exp(-(u**2) / 2) / sp.sqrt(2 * sp.pi)
S = sp.solve(sp.Eq(2 * u + 1, x), u)[0]
p_x = p_u.subs(u, S) * sp.Abs(sp.diff(S, x))
normal_1_2 = sp.exp(-((x - 1) ** 2) / (2 * 2**2)) / (2 * sp.sqrt(2 * sp.pi))
print("T⁻¹(x) =", S, "  p_x(x) =", p_x)
print("p_x − N(x | 1, 2²) =", sp.simplify(p_x - normal_1_2))
print("total mass:", sp.integrate(p_x, (x, -sp.oo, sp.oo)))
assert sp.simplify(p_x - normal_1_2) == 0

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
line = torch.linspace(-6, 8, 701)
for ax, density, (low, high), name in (
    (axes[0], lambda v: flowlib.affine_log_prob(v, 1.0, 0.0).exp(), (0.5, 1.0), "u"),
    (axes[1], lambda v: flowlib.affine_log_prob(v, 2.0, 1.0).exp(), (2.0, 3.0), "x"),
):
    color = plotting.PALETTE["blue" if name == "u" else "vermilion"]
    ax.plot(line, density(line), color=color)
    strip = torch.linspace(low, high, 200)
    ax.fill_between(strip, density(strip), color=color, alpha=0.4)
    probability = torch.trapezoid(density(strip), strip)
    ax.set(xlabel=name, title=f"strip from {low:g} to {high:g}: probability {probability:.3f}")
axes[0].set_ylabel("density, per unit of length")
plt.show()

# %% [markdown]
# **Figure.** Left: the base density, a bell with its peak at $u = 0$, with a strip from 0.5 to 1 shaded. Right: the density
# of $x = 2u + 1$, a bell of half that height and twice that width around $x = 1$, with the image of the strip, from 2 to 3,
# shaded. The shaded areas are equal: the map moves probability, and makes none.

# %% [markdown]
# ### Exercise 1 · The affine flow
#
# Difficulty 1/5 (warm-up) · about 10 minutes · 4 points
#
# Write the log-density of $x = a u + b$ with $u \sim \mathcal N(0, 1)$, for every $a \neq 0$, **negative ones included**.
# Work with logarithms from the start: products of small densities underflow, sums of their logarithms do not.


# %% solution="affine_log_prob"
def affine_log_prob(x, a, b):
    """Log-density of x = a·u + b, u ~ N(0, 1), in nats.

    Args:
        x: tensor of data values `(*batch,)`.
        a, b: tensors that broadcast with x; a ≠ 0 of either sign.

    Returns:
        one log-density for each number, in the shape that x, a and b broadcast to.
    """
    ### BEGIN SOLUTION
    u = (x - b) / a
    log_p_u = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)
    return log_p_u - torch.log(torch.abs(a))
    ### END SOLUTION


# %% test="affine_log_prob_stretched" points=1
check.affine_log_prob_stretched(affine_log_prob)
### BEGIN HIDDEN TESTS
check.affine_log_prob_stretched(affine_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="affine_log_prob_mirrored" points=1
check.affine_log_prob_mirrored(affine_log_prob)
### BEGIN HIDDEN TESTS
check.affine_log_prob_mirrored(affine_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="affine_density_has_mass_one" points=1
check.affine_density_has_mass_one(affine_log_prob)
### BEGIN HIDDEN TESTS
check.affine_density_has_mass_one(affine_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="affine_log_prob_elementwise" points=1
check.affine_log_prob_elementwise(affine_log_prob)
### BEGIN HIDDEN TESTS
check.affine_log_prob_elementwise(affine_log_prob, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Three lines: the point $u$ from which $x$ came; the log-density of the base there; the logarithm of the stretch.
# </details>
# <details><summary>Help: which formula?</summary>
#
# $$\log p_x(x) = \log p_u\!\left(\tfrac{x-b}{a}\right) + \log\left|\tfrac1a\right|, \qquad
# \log p_u(u) = -\tfrac12 u^2 - \tfrac12\log 2\pi .$$
# </details>
# <details><summary>Help: the result is NaN</summary>
#
# A logarithm of a negative number. Which one, and does the formula ask for it?
# </details>

# %% [markdown]
# ## 2 · A proof, with an error to find
#
# The picture with short intervals is right, and a proof is better. It goes through distribution functions, because those are
# probabilities, and probabilities do not change when points are renamed. Here is the proof as a blog post gives it, in our
# letters:
#
# > The density of $x = T(u)$ is
# > $\;p_x(x) = \frac{d}{dx} P\bigl(T(u) \le x\bigr) = \frac{d}{dx} P\bigl(u \le S(x)\bigr) = p_u\bigl(S(x)\bigr)\,S'(x)
# > = p_u\bigl(S(x)\bigr)\,\bigl|S'(x)\bigr|$.
#
# **Find the error.** The result is right for every strictly monotone $T$. One step is not. Try $T(u) = -u$ on it before
# you open the answer.
#
# <details><summary>Answer</summary>
#
# The second equality. Applying $S$ to both sides of $T(u) \le x$ keeps the inequality only when $S$ is **increasing**. For a
# decreasing $T$ it turns around: $P(T(u) \le x) = P\bigl(u \ge S(x)\bigr) = 1 - F_u\bigl(S(x)\bigr)$. Then the derivative is
# $-p_u(S(x))\,S'(x)$, and since $S' < 0$ this equals $p_u(S(x))\,|S'(x)|$. Two cases, one formula: that is where the
# absolute value comes from. In the quoted proof the bars appear out of nowhere in the last step.
# </details>
#
# Both cases by machine, for a logistic base, $F_u(u) = 1/(1 + e^{-u})$, and the maps $T(u) = \pm 2u + 1$:

# %%
F_u = 1 / (1 + sp.exp(-u))
for a in (2, -2):
    S = (x - 1) / a
    F_x = F_u.subs(u, S) if a > 0 else 1 - F_u.subs(u, S)
    formula = sp.diff(F_u, u).subs(u, S) * sp.Abs(sp.diff(S, x))
    quoted = sp.diff(F_u.subs(u, S), x)
    print(f"T(u) = {a}u + 1:   F_x′ − p_u(S)·|S′| = {sp.simplify(sp.diff(F_x, x) - formula)}", end="   ")
    print(
        f"at x = 0: F_x′ = {float(sp.diff(F_x, x).subs(x, 0)):.4f}, quoted proof {float(quoted.subs(x, 0)):+.4f}"
    )
    assert sp.simplify(sp.diff(F_x, x) - formula) == 0

# %% [markdown]
# With the right $F_x$ both maps agree with the formula. The quoted proof gives the decreasing map a negative density.
#
# ### Exercise 2 · The distribution function of $x = T(u)$
#
# Difficulty 2/5 (easy once you have found the error) · about 10 minutes · 2 points
#
# Write $F_x$ in terms of $F_u$ and the inverse map $S$, for increasing **and** decreasing maps. Everything is a sympy expression.


# %% solution="pushforward_cdf"
def pushforward_cdf(F_u, S, u, x):
    """Distribution function of x = T(u), as a sympy expression in x.

    Args:
        F_u: distribution function of the base, an expression in u; differentiable.
        S: the inverse map T⁻¹, an expression in x; it maps the whole line onto the whole line and is strictly
            monotone, increasing or decreasing, with S′ ≠ 0.
        u, x: real sympy symbols.
    """
    ### BEGIN SOLUTION
    slope_somewhere = sp.diff(S, x).subs(x, 0)  # strictly monotone: the sign is the same everywhere
    below = F_u.subs(u, S)
    return below if slope_somewhere > 0 else 1 - below
    ### END SOLUTION


# %% test="cdf_of_increasing_map" points=1
check.cdf_of_increasing_map(pushforward_cdf)
### BEGIN HIDDEN TESTS
check.cdf_of_increasing_map(pushforward_cdf, hidden=1)
### END HIDDEN TESTS

# %% test="cdf_of_decreasing_map" points=1
check.cdf_of_decreasing_map(pushforward_cdf)
### BEGIN HIDDEN TESTS
check.cdf_of_decreasing_map(pushforward_cdf, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: how do I put S in place of u?</summary>
#
# `expression.subs(u, S)` replaces every `u`.
# </details>
# <details><summary>Help: how do I know whether S increases?</summary>
#
# A strictly monotone map has a slope of one sign. Look at it in one place: `sp.diff(S, x).subs(x, 0) > 0`.
# </details>
# <details><summary>Help: my distribution function is negative</summary>
#
# $P(A) = 1 - P(\text{not } A)$. Which event is the opposite of $u \le S(x)$?
# </details>

# %% [markdown]
# ## 3 · Curved maps, and where they arrive
#
# The formula does not ask for a straight line. Two things are new with a curved map. The stretch depends on the place. And the
# map may reach only a part of the line: the set of all $T(u)$ is its **image**, and outside the image the density is 0.
#
# What the formula asks is that $T$ be a **diffeomorphism** onto its image: one-to-one, with $T$ and $T^{-1}$ both
# differentiable.
#
# **Predict.** $u \sim \mathcal N(0,1)$ and $x = e^u$. The base is highest at $u = 0$, which is sent to $x = 1$. Is $p_x$
# highest at $x = 1$?
#
# <details><summary>Answer</summary>
#
# No. $T'(u) = e^u$ grows to the right, so probability is spread thinner there and is packed more densely to the left. The
# mode moves to $x = e^{-1}$: a mode is not carried along by a map. The median is: half of the probability stays on
# either side.
# </details>

# %%
log_normal = symbolic.pushforward_density(p_u, sp.exp(u), u, x)
inside = log_normal.args[0][0]  # the piece on the image, x > 0
print("p_x(x) =", log_normal)
print("mode:", sp.solve(sp.diff(sp.expand_log(sp.log(inside), force=True), x), x))
print("mass left of T(0) = 1:", sp.N(sp.Integral(inside, (x, 0, 1))))

# %% [markdown]
# Bend a map yourself. The one below starts as $x = u$, and you choose where five points go.
#
# **Predict.** Raise $T(2)$ from 2 to 4, and leave the other points where they are. What happens to the density at $x = 0$? At $x = 3$? And to the area
# under the density?
#
# <details><summary>Answer</summary>
#
# At $x = 0$ nothing: the formula looks at the map in one place only, and there it is as it was. At $x = 3$ the density grows. What arrives there now
# comes from a $u$ nearer to the middle of the bell, where there is more probability, and that outweighs the stretch. The area is 1 before and after.
# </details>

# %%
interactive.change_of_variables()

# %% [markdown]
# **Figure.** Interactive; it needs no running kernel. Top left: the map, with five dots to drag; each has a slider, too. Below it: the base density, with a strip around the chosen
# point $u$. Right: the density of $x$, drawn sideways so that it shares the vertical axis with the map, and the image of the strip. The numbers say what the
# picture shows: where the map is steep, the strip's image is wide and the density low; where it is flat, narrow and high. The strip and its image keep the same probability, and the area
# stays 1. The area is measured from the curve on the right, not from the formula. Press *Mirror* and the slope turns negative; the density takes its absolute value.

# %% [markdown]
# ### Exercise 3 · The pushforward of a density
#
# Difficulty 4/5 (several small traps) · about 30 minutes · 6 points
#
# The distribution of $T(u)$ is called the **pushforward** of $p_u$ by $T$. Write a function that derives its density. It has to
# work for affine maps, $e^u$, $\tanh u$, the logistic function $1/(1 + e^{-u})$ and $u^3 + u$, also when they are scaled, shifted or
# mirrored. It has to refuse maps that send two $u$ to one $x$, such as $u^2$.
#
# Five things to do: invert $T$; choose the right **branch**, because `sp.solve` lists every formula that solves $T(u) = x$, and at
# most one of them leads back to the $u$ you came from; refuse $T$ when none does; differentiate; set the density to 0 outside the image.


# %% solution="pushforward_density"
def pushforward_density(p_u, T, u, x):
    """Density of x = T(u), as a sympy expression in x.

    Args:
        p_u: density of the base, an expression in u on the whole real line.
        T: an expression in u, strictly monotone in either direction.
        u, x: real sympy symbols.

    Returns:
        an expression in x alone; 0 outside the image of T.

    Raises:
        ValueError: T is not injective, such as u**2.
    """
    ### BEGIN SOLUTION
    # Where T turns around, its slope is 0.
    if isinstance(sp.solveset(sp.diff(T, u), u, sp.S.Reals), sp.FiniteSet):
        raise ValueError(f"T(u) = {T} is not strictly monotone")
    for S in sp.solve(sp.Eq(T, x), u):
        # The inverse leads back from T(u) to u, wherever u is; other branches do so in some places or nowhere.
        if all(abs(sp.N(S.subs(x, T.subs(u, k)) - k)) < 1e-9 for k in (-2, 1, 3)):
            break
    else:
        raise ValueError(f"T(u) = {T} has no inverse: is it one-to-one?")
    density = p_u.subs(u, S) * sp.Abs(sp.diff(S, x))
    ends = [sp.limit(T, u, -sp.oo), sp.limit(T, u, sp.oo)]
    low, high = min(ends), max(ends)
    return sp.Piecewise((density, (low < x) & (x < high)), (0, True))
    ### END SOLUTION


# %% test="density_of_increasing_map" points=1
check.density_of_increasing_map(pushforward_density)
### BEGIN HIDDEN TESTS
check.density_of_increasing_map(pushforward_density, hidden=1)
### END HIDDEN TESTS

# %% test="density_of_decreasing_map" points=1
check.density_of_decreasing_map(pushforward_density)
### BEGIN HIDDEN TESTS
check.density_of_decreasing_map(pushforward_density, hidden=1)
### END HIDDEN TESTS

# %% test="density_vanishes_outside_image" points=1
check.density_vanishes_outside_image(pushforward_density)
### BEGIN HIDDEN TESTS
check.density_vanishes_outside_image(pushforward_density, hidden=1)
### END HIDDEN TESTS

# %% test="density_of_tanh" points=1
check.density_of_tanh(pushforward_density)
### BEGIN HIDDEN TESTS
check.density_of_tanh(pushforward_density, hidden=1)
### END HIDDEN TESTS

# %% test="density_of_cubic" points=1
check.density_of_cubic(pushforward_density)
### BEGIN HIDDEN TESTS
check.density_of_cubic(pushforward_density, hidden=1)
### END HIDDEN TESTS

# %% test="density_needs_injective_map" points=1
check.density_needs_injective_map(pushforward_density)
### BEGIN HIDDEN TESTS
check.density_needs_injective_map(pushforward_density, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# With the affine map alone, as in section 1: `sp.solve(sp.Eq(T, x), u)` gives a list of inverses, here of one. Then run the
# checks and let them tell you what is missing.
# </details>
# <details><summary>Help: solve returns several branches</summary>
#
# For $\tanh$ two, for $u^3+u$ three, some of them complex. The inverse is the one with $S(T(u)) = u$ at every $u$. Put in a
# few numbers, positive and negative, and compare: `sp.N(S.subs(x, T.subs(u, -2)))` should give $-2$ up to rounding.
# </details>
# <details><summary>Help: how do I find the image?</summary>
#
# A monotone map on the whole line covers everything between its limits: `sp.limit(T, u, sp.oo)` and the same at `-sp.oo`.
# For a decreasing map the limit at $-\infty$ is the larger one.
# </details>
# <details><summary>Help: how do I write "0 elsewhere"?</summary>
#
# `sp.Piecewise((value, condition), (0, True))`; two conditions at once: `(low < x) & (x < high)`.
# </details>
# <details><summary>Help: what about u²?</summary>
#
# No branch passes the test $S(T(u)) = u$ at positive and negative $u$ alike. That is your reason to refuse.
# </details>

# %% [markdown]
# ### What the maps do
#
# Four maps that are allowed and two that are not. Histograms come from pushing 20,000 draws through $T$, curves from the formula:
# two computations that share nothing but $T$. (For $u^3$ and $u^2$ the curve is derived below.)

# %%
p_cube = p_u.subs(u, sp.cbrt(sp.Abs(x)) * sp.sign(x)) / (3 * sp.cbrt(x**2))
p_square = sp.Piecewise((p_u.subs(u, sp.sqrt(x)) / sp.sqrt(x), x > 0), (0, True))
maps = [
    (2 * u + 1, symbolic.pushforward_density(p_u, 2 * u + 1, u, x), (-5, 7)),
    (sp.exp(u), symbolic.pushforward_density(p_u, sp.exp(u), u, x), (-1, 6)),
    (sp.tanh(u), symbolic.pushforward_density(p_u, sp.tanh(u), u, x), (-1.5, 1.5)),
    (u**3 + u, symbolic.pushforward_density(p_u, u**3 + u, u, x), (-6, 6)),
    (u**3, p_cube, (-2, 2)),
    (u**2, p_square, (-1, 4)),
]
draws = torch.randn(20_000).numpy()
fig, axes = plt.subplots(2, 3, figsize=(10, 5.6))
for ax, (T, density, (low, high)) in zip(axes.flat, maps, strict=True):
    allowed = T not in (u**3, u**2)
    # An even number of points: none stands at 0, where two of the densities are infinite.
    grid = np.linspace(low, high, 600)
    with np.errstate(all="ignore"):
        values = np.broadcast_to(np.real(sp.lambdify(x, density, "numpy")(grid.astype(complex))), grid.shape)
        pushed = sp.lambdify(u, T, "numpy")(draws)
    bins = np.linspace(low, high, 61)
    counts, _ = np.histogram(pushed, bins)
    ax.stairs(
        counts / len(draws) / (bins[1] - bins[0]), bins, fill=True, color=plotting.PALETTE["sky"], alpha=0.6
    )
    ax.plot(grid, values, color=plotting.PALETTE["black" if allowed else "vermilion"])
    title = f"$x = {sp.latex(T)}$" + ("" if allowed else " (no flow)")
    ax.set(title=title, xlabel="x", ylim=(0, min(1.6, 1.2 * np.nanmax(values))))
for ax in axes[:, 0]:
    ax.set_ylabel("density")
plt.show()

# %% [markdown]
# **Figure.** Six panels, histograms of pushed draws in blue with the derived density as a line; the two agree in each. $2u+1$: a
# broader bell around 1. $e^u$: a skewed hump, zero for $x<0$. $\tanh u$: confined to $(-1, 1)$, with two humps near the
# ends. $u^3+u$: a narrow peak with heavy tails. In red, $u^3$: a density that shoots up to infinity at 0, and $u^2$: zero for
# $x<0$ and infinite at 0. A single normal bell has become skewed, bounded, two-humped or heavy-tailed: the shape is in the map.

# %% [markdown]
# ## 4 · Two maps that fail, for different reasons
#
# **$u^3$ is one-to-one, and still no diffeomorphism.** Its inverse $x^{1/3}$ exists everywhere. But $T'(0) = 0$: near 0 the
# map squeezes intervals without limit, and the inverse has an infinite slope there:
#
# $$p_x(x) = \frac{p_u(x^{1/3})}{3\,x^{2/3}} \;\longrightarrow\; \infty \quad\text{as } x \to 0.$$
#
# The mass is still 1. So $x = u^3$ has a perfectly good distribution, and the formula holds away from 0. As a layer of a flow
# it is useless: a model is fitted by making its density large at the data, and one that can place this spike on a data point has no
# largest value. Adding $u$ repairs it: $u^3 + u$ has slope at least 1.
#
# **$u^2$ is not one-to-one.** Both $u = \sqrt x$ and $u = -\sqrt x$ arrive at $x$. There is no inverse to put into the formula,
# and taking one of the two roots loses the mass of the other:

# %%
positive_x = sp.Symbol("x", positive=True)
one_root = p_u.subs(u, sp.sqrt(positive_x)) / (2 * sp.sqrt(positive_x))
print("u²  with the positive root alone: mass", sp.integrate(one_root, (positive_x, 0, sp.oo)))
positive_side = p_u.subs(u, sp.cbrt(positive_x)) / (3 * sp.cbrt(positive_x) ** 2)
print("u³  mass:", 2 * sp.simplify(sp.integrate(positive_side, (positive_x, 0, sp.oo))))
print("u³  density at 0:", sp.limit(positive_side, positive_x, 0))
slope = sp.diff(u**3 + u, u)
print("u³+u slope:", slope, "  smallest:", sp.calculus.util.minimum(slope, u))

# %% [markdown]
# A map that is not one-to-one still has a pushforward. Each preimage brings its own mass:
#
# $$p_x(x) = \sum_{u:\,T(u) = x} \frac{p_u(u)}{|T'(u)|} .$$
#
# Flows avoid this sum by allowing bijections only: one preimage, one term.
#
# ### Exercise 4 · The density of a square
#
# Difficulty 2/5 (one idea) · about 10 minutes · 2 points
#
# Write the density of $x = u^2$ for **any** base density $p_u$ on the line, symmetric or not.


# %% solution="square_density"
def square_density(p_u, u, x):
    """Density of x = u², as a sympy expression in x, for x ≠ 0; it is 0 for x < 0.

    Args:
        p_u: density of the base, an expression in u on the whole real line.
        u, x: real sympy symbols.
    """
    ### BEGIN SOLUTION
    root = sp.sqrt(x)
    density = (p_u.subs(u, root) + p_u.subs(u, -root)) / (2 * root)
    return sp.Piecewise((density, x > 0), (0, True))
    ### END SOLUTION


# %% test="square_density_inside_image" points=1
check.square_density_inside_image(square_density)
### BEGIN HIDDEN TESTS
check.square_density_inside_image(square_density, hidden=1)
### END HIDDEN TESTS

# %% test="square_density_outside_image" points=1
check.square_density_outside_image(square_density)
### BEGIN HIDDEN TESTS
check.square_density_outside_image(square_density, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Which two points $u$ arrive at $x = 4$? How steep is the map at each of them?
# </details>
# <details><summary>Help: right for the normal base, wrong for others</summary>
#
# Did you count one root twice? At $-\sqrt x$ another base density may have another value.
# </details>

# %% [markdown]
# ## 5 · Why "normalizing", why "flow"
#
# **Flow**: a sequence of maps, through which a draw flows from base to data. **Normalizing** is explained in two ways, and
# both are in use:
#
# 1. *The data are normalized.* Run backwards, the flow carries data to a **normal** distribution (Frellsen's slides say so, and Russell's
#    blog post).
# 2. *The density is normalized.* The factor $|dT^{-1}/dx|$ makes the transformed density integrate to 1 (the notes of Stanford CS236
#    say so).
#
# The first reading supposes a normal base; a flow from a uniform base, as in the next section, has only the second. Both
# senses at once, for $x = e^u$:

# %%
skewed = torch.exp(torch.randn(100_000))
back = torch.log(skewed)  # the inverse map
for name, values in (("data", skewed), ("normalized", back)):
    skewness = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    print(f"{name + ':':<12} mean {values.mean():5.2f}, sd {values.std():.2f}, skewness {skewness:4.1f}")


def base_log_prob(v):
    return -0.5 * v**2 - 0.5 * np.log(2 * np.pi)


with_factor = verify.mass_1d(lambda v: base_log_prob(np.log(v)) - np.log(v), extent=(0, 200), n=200_001)
without = verify.mass_1d(lambda v: base_log_prob(np.log(v)), extent=(0, 200), n=200_001)
print(f"mass of p_u(log x)·|1/x|: {with_factor:.4f}     mass of p_u(log x) alone: {without:.4f}")

# %% [markdown]
# ## 6 · Inverse transform sampling is a flow
#
# So far the map was given and the density followed. Now the other way round: a density is given, and we look for a map that
# produces it. In one dimension there is always one.
#
# Let $p$ be the density of the target and $F$ its distribution function, so that $F' = p$. Let $F$ increase strictly wherever it is
# neither 0 nor 1. Take the base $u \sim U(0, 1)$, uniform on the interval from 0 to 1, and
#
# $$x = T(u) = F^{-1}(u).$$
#
# **Derive.** The inverse map is $S = F$, and the base density is 1 on $(0,1)$. The formula gives at once
#
# $$p_x(x) = p_u\bigl(F(x)\bigr)\,\bigl|F'(x)\bigr| = 1 \cdot p(x).$$
#
# The log-determinant of the inverse **is** the log-density. So from one fixed base a flow reaches every distribution on the line that
# has such an $F$. Notebook 2 carries the argument to several dimensions (Rosenblatt 1952): that is why flows can, in
# principle, represent nearly any density.
#
# **Find the error.** A lecture slide sums this up as: "This is a flow with $p(x) = U(0, 1)$ and $T(u) = F^{-1}(u)$." Which letter is
# wrong?
#
# <details><summary>Answer</summary>
#
# The base is uniform: $p(u) = U(0,1)$. The data variable $x$ has the target density.
# </details>

# %%
rate = sp.Symbol("lambda", positive=True)
F_exponential = 1 - sp.exp(-rate * positive_x)
quantile = -sp.log(1 - u) / rate
print(
    "exponential: F⁻¹(u) =", quantile, "   F(F⁻¹(u)) =", sp.simplify(F_exponential.subs(positive_x, quantile))
)
print("             p(x) = F′(x) =", sp.diff(F_exponential, positive_x))

fig, ax = plt.subplots(figsize=(6.4, 3.6))
grid = np.linspace(0, 5, 300)
ax.plot(grid, 1 - np.exp(-grid), color=plotting.PALETTE["blue"])
for level in np.linspace(0.05, 0.95, 19):
    arrival = -np.log1p(-level)
    ax.plot([0, arrival, arrival], [level, level, 0], color=plotting.PALETTE["vermilion"], linewidth=0.7)
    ax.plot(arrival, 0, marker="v", color=plotting.PALETTE["vermilion"], markersize=5, clip_on=False)
ax.set(
    title="Evenly spaced u, sent to x by F⁻¹ (exponential)",
    xlabel="x",
    ylabel="u = F(x)",
    xlim=(0, 5),
    ylim=(0, 1),
)
plt.show()

# %% [markdown]
# **Figure.** The distribution function of the exponential distribution rises from 0 to 1. From 19 evenly spaced heights $u$
# thin lines run right to the curve and down to the $x$ axis. Their arrival points crowd near $x = 0$, where the curve is steep, and
# thin out to the right, where it is flat: a steep $F$ means a high density.

# %% [markdown]
# ### Do the samples follow $F$? The Kolmogorov-Smirnov distance
#
# A histogram needs bins. A distribution function does not. The **empirical distribution function** $\hat F_n(x)$ is the share of
# the $n$ samples that are $\le x$: a staircase with steps of $1/n$. Its largest vertical distance to $F$,
#
# $$D_n = \sup_x \bigl|\hat F_n(x) - F(x)\bigr|,$$
#
# is the Kolmogorov-Smirnov distance. For right samples it shrinks like $1/\sqrt n$, whatever the distribution: applying $F$ to all
# samples turns every target into $U(0,1)$. Your sampler will be graded by it.
#
# **Predict.** Someone writes $F^{-1}(1-u)$ for $F^{-1}(u)$. Will the test notice?
#
# <details><summary>Answer</summary>
#
# No, and it must not: $1-u$ is uniform, too. The draws differ, the distribution does not.
# </details>


# %%
def exponential_samples(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return (
        flowlib.sample_by_inverse_cdf(lambda u: -torch.log1p(-u), (n,), generator)
        .double()
        .sort()
        .values.numpy()
    )


def gaps(sorted_samples):
    """Distance from F down and up to the staircase at each sample, (n, 2)."""
    n, levels = len(sorted_samples), 1 - np.exp(-sorted_samples)
    return np.stack([levels - np.arange(n) / n, np.arange(1, n + 1) / n - levels], axis=1)


n, samples = 25, exponential_samples(25, seed=4)
worst, side = np.unravel_index(gaps(samples).argmax(), (n, 2))
at, level = samples[worst], 1 - np.exp(-samples[worst])

fig, ax = plt.subplots(figsize=(6.4, 3.6))
ax.plot(grid, 1 - np.exp(-grid), color=plotting.PALETTE["blue"], label="F")
ax.step(
    [0, *samples, 5],
    [0, *np.arange(1, n + 1) / n, 1],
    where="post",
    color=plotting.PALETTE["green"],
    label=f"{n} samples",
)
ax.vlines(
    at,
    level,
    (worst + side) / n,
    color=plotting.PALETTE["vermilion"],
    linewidth=4,
    label=f"largest gap {gaps(samples).max():.2f}",
)
ax.set(
    title="Empirical distribution function against F", xlabel="x", ylabel="share of samples ≤ x", xlim=(0, 5)
)
ax.legend(loc="lower right")
plt.show()

for n in (100, 1000, 10_000, 100_000):
    D_n = gaps(exponential_samples(n, seed=1)).max()
    print(f"n = {n:>6}:  D_n = {D_n:.4f}   D_n·√n = {D_n * math.sqrt(n):.2f}")
for t in (1.63, 3.2):
    # Kolmogorov's limit law, for large n.
    chance = 2 * sum((-1) ** (k - 1) * math.exp(-2 * k**2 * t**2) for k in range(1, 20))
    print(f"right samples exceed D_n·√n = {t} with probability {chance:.1g}")

# %% [markdown]
# **Figure.** A smooth blue curve, $F$, and a green staircase of 25 steps around it. A thick red bar marks the largest vertical gap between
# them. The numbers below it are the gap for growing $n$: it shrinks, and multiplied by $\sqrt n$ it stays of order 1. The last two lines say
# how rare a large gap is when nothing is wrong.

# %% [markdown]
# ### The draw that is exactly zero
#
# `torch.rand` draws from $[0, 1)$: the 0 is included, the 1 is not. In float32 the draws are multiples of $2^{-24}$, so one in
# $2^{24}$ is exactly 0. That is rare for a reader and common for a program. Where does $F^{-1}$ send it?

# %%
unlucky = torch.rand(1000, generator=torch.Generator().manual_seed(11993))
print(f"one draw in {2**24:,} is 0; smallest of these 1000 draws: {unlucky.min().item()}")
logistic_quantile = torch.log(unlucky) - torch.log1p(-unlucky)
print("smallest logistic sample:", logistic_quantile.min().item())

# %% [markdown]
# One infinite sample, and the next mean, loss or gradient is infinite or NaN. It happens rarely, and not again when you look.
#
# ### Exercise 5 · A sampler
#
# Difficulty 2/5 (short, with one trap) · about 10 minutes · 4 points
#
# Sample by the inverse distribution function. The result has to be finite for every uniform draw, also for 0 and for the largest number
# below 1. And the tails have to stay: among many samples, some must lie as far out as the distribution says.


# %% solution="sample_by_inverse_cdf"
def sample_by_inverse_cdf(inverse_cdf, shape, generator=None):
    """Inverse transform sampling: x = F⁻¹(u), u ~ U(0, 1).

    Args:
        inverse_cdf: F⁻¹, maps a tensor with entries in the open interval (0, 1) to one of the same shape, entry by entry.
        shape: of the result, a tuple of any length, also ().
        generator: a torch.Generator, or None for torch's global one.

    Returns:
        tensor of that shape with finite entries.
    """
    ### BEGIN SOLUTION
    u = torch.rand(shape, generator=generator)
    u = u.clamp(min=torch.finfo(u.dtype).tiny)  # [0, 1) → (0, 1)
    return inverse_cdf(u)
    ### END SOLUTION


# %% test="samples_have_shape" points=1
check.samples_have_shape(sample_by_inverse_cdf)
### BEGIN HIDDEN TESTS
check.samples_have_shape(sample_by_inverse_cdf, hidden=1)
### END HIDDEN TESTS

# %% test="samples_follow_distribution" points=1
check.samples_follow_distribution(sample_by_inverse_cdf)
### BEGIN HIDDEN TESTS
check.samples_follow_distribution(sample_by_inverse_cdf, hidden=1)
### END HIDDEN TESTS

# %% test="samples_are_finite_at_zero" points=1
check.samples_are_finite_at_zero(sample_by_inverse_cdf)
### BEGIN HIDDEN TESTS
check.samples_are_finite_at_zero(sample_by_inverse_cdf, hidden=1)
### END HIDDEN TESTS

# %% test="samples_come_from_generator" points=1
check.samples_come_from_generator(sample_by_inverse_cdf)
### BEGIN HIDDEN TESTS
check.samples_come_from_generator(sample_by_inverse_cdf, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# `torch.rand(shape, generator=generator)`, then the map.
# </details>
# <details><summary>Help: a sample is infinite</summary>
#
# Keep the uniform draw away from 0 before it is mapped. How far? Far enough to be positive, close enough to lose no tail:
# `torch.finfo(u.dtype).tiny` is the smallest normal positive number, `eps` the spacing of numbers near 1.
# </details>
# <details><summary>Help: I use F⁻¹(1 − u) and still get infinity</summary>
#
# Then $u = 0$ is sent to $F^{-1}(1)$. A number as small as `tiny` is lost in $1 - u$: keep away by `eps` instead.
# </details>

# %% [markdown]
# ## 7 · Maximum likelihood: which direction does it need?
#
# Now the map is unknown, and data are given. Let $T$ depend on parameters $\psi$, and let $x_1, \dots, x_N$ be observed. Maximum
# likelihood chooses the $\psi$ under which the data are most probable. We minimize the mean **negative log-likelihood**:
#
# $$\mathrm{NLL}(\psi) = -\frac1N\sum_{n=1}^{N}\Bigl[\log p_u\bigl(T^{-1}(x_n;\psi)\bigr) + \log\bigl|(T^{-1})'(x_n;\psi)\bigr|\Bigr].$$
#
# Read what stands in it: the inverse map, its log-determinant, the base density. The forward map $T$ does not occur. Sampling
# is the opposite: draw $u$, apply $T$, done; no inverse, no determinant.
#
# | to do | needs $T$ | needs $T^{-1}$ | needs the log-determinant | needs $p_u$ |
# |---|---|---|---|---|
# | train by maximum likelihood; score data | no | yes, with gradient | yes, with gradient | its value |
# | sample | yes | no | no | draws from it |
# | sample *and* know the density of the sample | yes | no | yes | both |
#
# In higher dimensions one direction can be much slower than the other. Then this table decides what a flow is good for.
#
# The two terms of the NLL pull against each other. The first wants every $T^{-1}(x_n)$ close to the mode of the base, and would love to
# squeeze all data into one point. The second forbids it: where $T^{-1}$ squeezes, its slope is near 0, and the logarithm of that is
# very negative.
#
# **Predict.** What happens if you forget the log-determinant and train?
#
# <details><summary>Answer</summary>
#
# The scale grows without limit: all $u$ go to 0, where the base is highest, and the loss falls to $\tfrac12\log 2\pi$. It looks like
# success.
# </details>
#
# ### Exercise 6 · The NLL of an affine flow
#
# Difficulty 2/5 (the formula is above) · about 10 minutes · 4 points
#
# The flow is $x = \text{shift} + e^{\text{log\_scale}}\,u$ with $u \sim \mathcal N(0,1)$. The exponential keeps the scale positive whatever
# value an optimizer chooses.


# %% solution="negative_log_likelihood"
def negative_log_likelihood(x, shift, log_scale):
    """Mean negative log-likelihood of the flow x = shift + exp(log_scale)·u, u ~ N(0, 1), in nats.

    Args:
        x: tensor of data values `(N,)`.
        shift, log_scale: tensors without axes; the result carries a gradient to both.

    Returns:
        tensor without axes.
    """
    ### BEGIN SOLUTION
    u = (x - shift) * torch.exp(-log_scale)
    log_p_u = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)
    log_det = -log_scale  # log|∂u/∂x|: from data to base
    return -(log_p_u + log_det).mean()
    ### END SOLUTION


# %% test="nll_of_one_number" points=1
check.nll_of_one_number(negative_log_likelihood)
### BEGIN HIDDEN TESTS
check.nll_of_one_number(negative_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="nll_is_mean_over_data" points=1
check.nll_is_mean_over_data(negative_log_likelihood)
### BEGIN HIDDEN TESTS
check.nll_is_mean_over_data(negative_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="nll_changes_with_units" points=1
check.nll_changes_with_units(negative_log_likelihood)
### BEGIN HIDDEN TESTS
check.nll_changes_with_units(negative_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="nll_gradient" points=1
check.nll_gradient(negative_log_likelihood)
### BEGIN HIDDEN TESTS
check.nll_gradient(negative_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# It is exercise 1 with $a = e^{\text{log\_scale}}$ and $b = \text{shift}$, a minus sign and a mean.
# </details>
# <details><summary>Help: the value is right for log_scale = 0 alone</summary>
#
# At 0 every sign of the log-determinant gives the same. The direction of training is data to base.
# </details>
# <details><summary>Help: the gradient is missing</summary>
#
# Use torch functions on the tensors. `math.exp`, `.item()` and `.detach()` cut the graph.
# </details>

# %% [markdown]
# ### Exercise 7 · The best affine flow, by hand
#
# Difficulty 2/5 (one derivative) · about 10 minutes · 2 points
#
# For this small flow the minimum is known in closed form. Set the derivatives of the NLL with respect to shift and log_scale to 0
# and solve. Return both parameters.


# %% solution="fit_affine_flow"
def fit_affine_flow(x):
    """The shift and the log_scale of least NLL.

    Args:
        x: tensor of data values `(N,)`, not all equal.

    Returns:
        (shift, log_scale): two tensors without axes.
    """
    ### BEGIN SOLUTION
    shift = x.mean()
    log_scale = 0.5 * torch.log(((x - shift) ** 2).mean())
    return shift, log_scale
    ### END SOLUTION


# %% test="fit_has_best_shift" points=1
check.fit_has_best_shift(fit_affine_flow)
### BEGIN HIDDEN TESTS
check.fit_has_best_shift(fit_affine_flow, hidden=1)
### END HIDDEN TESTS

# %% test="fit_has_best_log_scale" points=1
check.fit_has_best_log_scale(fit_affine_flow)
### BEGIN HIDDEN TESTS
check.fit_has_best_log_scale(fit_affine_flow, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: what is the derivative?</summary>
#
# With $u_n = (x_n - \text{shift})\,e^{-\text{log\_scale}}$:
# $\;\partial\,\mathrm{NLL}/\partial\,\text{log\_scale} = 1 - \frac1N\sum_n u_n^2$. It is 0 when the normalized data have mean square 1.
# </details>
# <details><summary>Help: nearly right, off in the second digit</summary>
#
# Which number does your standard deviation divide by: $N$ or $N-1$?
# </details>

# %% [markdown]
# ### On data: petals of irises
#
# 150 irises, the length of a petal in centimeters (Fisher 1936). We train the affine flow by gradient descent, as we shall train
# flows that have no closed form.


# %%
class AffineFlow(nn.Module):
    """x = shift + exp(log_scale)·u with two learnable numbers."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def loss(self, x):
        return flowlib.negative_log_likelihood(x, self.shift, self.log_scale)


petals = torch.tensor(load_iris().data[:, 2], dtype=torch.float32)
flow = AffineFlow()
print(f"NLL before training: {flow.loss(petals).item():.3f} nats")
history = flowlib.fit(flow, petals, steps=400, batch_size=150, lr=0.1, max_steps=MAX_STEPS)
print(f"NLL after training:  {flow.loss(petals).item():.3f} nats")
print(f"trained:      shift {flow.shift.item():.3f} cm, scale {flow.log_scale.exp().item():.3f} cm")
print(f"closed form:  mean  {petals.mean().item():.3f} cm, sd    {petals.std(unbiased=False).item():.3f} cm")

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.6))
ax.hist(petals.numpy(), bins=30, density=True, color=plotting.PALETTE["sky"], alpha=0.6, label="150 petals")
grid = torch.linspace(-1, 9, 400)
with torch.no_grad():
    ax.plot(
        grid,
        flowlib.affine_log_prob(grid, flow.log_scale.exp(), flow.shift).exp(),
        color=plotting.PALETTE["vermilion"],
        label="affine flow, fitted",
    )
ax.set(title="The best affine flow is still one bell", xlabel="petal length, cm", ylabel="density, per cm")
ax.legend()
plt.show()

# %% [markdown]
# **Figure.** The histogram of petal lengths has two separate groups, one below 2 cm, the other from 3 cm on. The
# fitted density is a single bell, highest between the groups, where there are hardly any petals. The optimum was found; the family is too
# poor. An affine map of a normal base is normal, always. More flexible maps are the subject of the rest of the course.

# %% [markdown]
# ## 8 · Units, and negative negative log-likelihoods
#
# **Predict.** Look at the NLL after training, above. We measure the same petals in meters instead of centimeters and fit again. Does the NLL
# change? Can it be negative?

# %%
for unit, factor in (("mm", 10.0), ("cm", 1.0), ("m", 0.01)):
    y = factor * petals
    nll = flowlib.negative_log_likelihood(y, y.mean(), y.std(unbiased=False).log())
    print(
        f"petals in {unit:>2}:  NLL = {nll.item():6.3f} nats     NLL − log(factor) = {nll.item() - math.log(factor):.3f}"
    )

# %% [markdown]
# Both. The same flowers, the same fit, and an NLL that depends on the ruler. A density is probability *per length*: in meters the petals
# stand within a few hundredths, so the density there is large, above 1, and its negative logarithm is negative.
#
# It is the change of variables formula once more. With $y = c\,x$,
#
# $$p_y(y) = p_x(y/c)\,\frac{1}{|c|} \qquad\Longrightarrow\qquad \mathrm{NLL}_y = \mathrm{NLL}_x + \log|c| ,$$
#
# and for vectors of $D$ numbers, each multiplied by $c$, the volume grows by $|c|^D$: $\mathrm{NLL}_y = \mathrm{NLL}_x + D\log|c|$.
#
# **No zero to compare with.** The least NLL that any model can reach on average is the *differential entropy* of the data,
# $h = -\int p(x) \log p(x)\,dx$, with $p$ the true density of the data. A probability is at most 1, so the entropy of discrete data is never
# negative. A density is not bounded by 1, and $h$ can have either sign:

# %%
sigma = sp.Symbol("sigma", positive=True)
normal = sp.exp(-(x**2) / (2 * sigma**2)) / (sigma * sp.sqrt(2 * sp.pi))
entropy = sp.simplify(sp.integrate(-normal * sp.expand_log(sp.log(normal), force=True), (x, -sp.oo, sp.oo)))
zero = sp.solve(sp.Eq(entropy, 0), sigma)[0]
print("differential entropy of N(0, σ²):", entropy, "nats")
print(f"it is negative below σ = {zero} = {float(zero):.3f}")

# %% [markdown]
# What does **not** depend on the units is the *difference* between two models on the same data: both change by the same $D\log|c|$. So report
# differences, or say the units; and never compare NLLs of data that were scaled differently. For images this is a real trap:
# pixels in $[0, 1]$ and pixels in $[0, 255]$ differ by $D\log 255$ nats.
#
# ### Exercise 8 · New units
#
# Difficulty 1/5 (one line) · about 5 minutes · 3 points
#
# A paper reports a mean NLL per example for $D$-dimensional data. Every coordinate is now multiplied by the same factor, and the model's density is
# carried along. Give the NLL in the new units.


# %% solution="nll_in_new_units"
def nll_in_new_units(nll, factor, D=1):
    """NLL of y = factor·x, given the NLL of x.

    Args:
        nll: mean NLL per example in nats, a Python number.
        factor: what every coordinate is multiplied by, a Python number, not 0, of either sign.
        D: coordinates per example.

    Returns:
        a number, in nats.
    """
    ### BEGIN SOLUTION
    return nll + D * math.log(abs(factor))
    ### END SOLUTION


# %% test="units_of_one_number" points=1
check.units_of_one_number(nll_in_new_units)
### BEGIN HIDDEN TESTS
check.units_of_one_number(nll_in_new_units, hidden=1)
### END HIDDEN TESTS

# %% test="units_of_vectors" points=1
check.units_of_vectors(nll_in_new_units)
### BEGIN HIDDEN TESTS
check.units_of_vectors(nll_in_new_units, hidden=1)
### END HIDDEN TESTS

# %% test="units_mirrored" points=1
check.units_mirrored(nll_in_new_units)
### BEGIN HIDDEN TESTS
check.units_mirrored(nll_in_new_units, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: plus or minus?</summary>
#
# From meters to centimeters, factor 100: the same data are spread over 100 times the length. Does the density fall or rise? And its
# negative logarithm?
# </details>
# <details><summary>Help: math domain error</summary>
#
# The logarithm of a negative factor. What does a reflection do to lengths?
# </details>

# %% [markdown]
# ## 9 · In your own words
#
# ### Exercise 9 · Find the errors
#
# Difficulty 3/5 (reading closely) · about 15 minutes · 3 points, graded by hand
#
# Each statement is close to one that can be found in a text on flows. Say for each what is wrong, and correct it in one or two
# sentences.
#
# 1. "The density of $x = T(u)$ is $\frac{d}{dx}P(u \le T^{-1}(x))$, whatever the monotone map $T$."
# 2. "$T(u) = u^3$ is a bijection of the line. So it can serve as a layer of a flow."
# 3. "A flow maps data to a simple distribution and can be run backwards to sample. Fitting it by maximum likelihood is therefore a form of
#    variational inference."
#
# *For (3):* variational inference is for models with a hidden variable behind each $x$, whose likelihood nobody can compute. It approximates the
# *posterior*, the distribution of the hidden variable given $x$, by a simpler one, and optimizes a lower bound of the log-likelihood instead.
#
# *What we look for.* One point each. (1) names the assumption, $T$ increasing, and gives the other case. (2) says that the inverse is not
# differentiable at 0, or that the density or the likelihood is infinite there. (3) says that the likelihood of a flow is exact, and that nothing is
# approximated: no posterior, no bound.

# %% [markdown] manual="find_the_errors" points=3
# ### BEGIN SOLUTION
# 1. It holds for increasing $T$. For decreasing $T$ the event $T(u)\le x$ is $u \ge T^{-1}(x)$, its probability $1 - F_u(T^{-1}(x))$, and the density
#    is minus the derivative given. Both cases together: $p_u(T^{-1}(x))\,|(T^{-1})'(x)|$.
# 2. A flow needs a diffeomorphism. $T'(0) = 0$, so the inverse $x^{1/3}$ has an infinite slope at 0 and the density is infinite there. A model with such a
#    layer can put the spike on a data point and make the likelihood as large as it likes.
# 3. Variational inference approximates a posterior distribution and optimizes a bound. For a flow, $u$ is a function of $x$: there is no posterior to
#    approximate, and the log-likelihood is computed exactly.
# ### END SOLUTION

# %% [markdown]
# ### Exercise 10 · One direction is missing
#
# Difficulty 2/5 (writing) · about 10 minutes · 2 points, graded by hand
#
# A colleague has a flow whose $T^{-1}$ and its log-determinant are quick, while $T$ has no formula. (a) Which of these can be done as usual: training by maximum
# likelihood, scoring test data, sampling? (b) In one dimension, how would you sample all the same, and what does a sample cost compared with one evaluation of
# $T^{-1}$?
#
# *What we look for.* One point for (a): training and scoring, each because only $T^{-1}$, its log-determinant and $p_u$ occur; sampling not. One point for (b): solve
# $T^{-1}(x) = u$ numerically for every draw $u$, for instance by bisection, which works because the map is monotone; tens of evaluations of $T^{-1}$.

# %% [markdown] manual="missing_direction" points=2
# ### BEGIN SOLUTION
# (a) Training and scoring work as usual: the log-likelihood consists of $\log p_u(T^{-1}(x))$ and $\log|(T^{-1})'(x)|$ alone. Sampling needs $T$.
#
# (b) Draw $u$ and search for the $x$ with $T^{-1}(x) = u$. The map is strictly monotone, so bisection finds it. Each step halves the interval: some 25 steps for
# float32, some 50 for float64, each with one evaluation of $T^{-1}$. Newton's method needs fewer, since the derivative is known.
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - $p_x(x) = p_u(T^{-1}(x))\,|(T^{-1})'(x)|$ on the image of $T$, and 0 outside: probability is moved, and per length it gets thinner where the map stretches.
# - The absolute value is the proof's second case: a decreasing map turns inequalities around.
# - $T$ must be a diffeomorphism. $u^2$ fails because it is not one-to-one, $u^3$ because its slope vanishes.
# - $F^{-1}$ is a flow from $U(0,1)$ to the distribution with distribution function $F$. In one dimension, flows reach everything.
# - Maximum likelihood needs $T^{-1}$ and its log-determinant; sampling needs $T$.
# - A negative log-likelihood has units. It can be negative, and changes by $D\log|c|$ when the data are multiplied by $c$.
#
# **Common mistakes**: a variance where a standard deviation belongs · undoing $a u + b$ in the wrong order · multiplying by $|T'|$ instead of dividing · leaving $u$ in an
# answer in $x$ · the first branch that `solve` returns · forgetting the image · the draw that is exactly 0 · an NLL without its log-determinant · comparing NLLs in
# different units.
#
# ## References
#
# - M. Rosenblatt, *Remarks on a Multivariate Transformation*, Annals of Mathematical Statistics 23, 1952.
# - E. G. Tabak, E. Vanden-Eijnden, *Density estimation by dual ascent of the log-likelihood*, Communications in Mathematical Sciences 8, 2010.
# - L. Dinh, D. Krueger, Y. Bengio, *NICE: Non-linear Independent Components Estimation*, 2014, arXiv:1410.8516.
# - L. Dinh, J. Sohl-Dickstein, S. Bengio, *Density estimation using Real NVP*, 2016, arXiv:1605.08803.
# - G. Papamakarios, E. Nalisnick, D. J. Rezende, S. Mohamed, B. Lakshminarayanan, *Normalizing Flows for Probabilistic Modeling and Inference*, 2021, arXiv:1912.02762.
# - R. A. Fisher, *The use of multiple measurements in taxonomic problems*, Annals of Eugenics 7, 1936 (the irises).
# - J. Frellsen, *Normalising flows*, slides of the course 02460 Advanced Machine Learning, Technical University of Denmark: the lecture that this course follows.
