# %% [markdown]
# # 9 · Residual flows: a step small enough to be taken back
#
# A coupling layer is invertible because half of its variables stand still. A residual network moves all of them at once,
# $x = u + g(u)$. No part of it stays in the clear, so there is no key that the way back could read (notebook 3). It is invertible all the same, if the
# step $g$ **contracts**. Then an iteration finds the way back. The Jacobian is no longer triangular, and a power series gives its log-determinant.
#
# **You will be able to**
# - prove that a contractive step can be undone, and predict how many iterations that takes;
# - bound the Lipschitz constant of a network, and keep the bound during and *after* training;
# - implement a residual layer with its inverse and exact log-determinant;
# - estimate log-determinants by a power series with Hutchinson's trace, and say what that costs in bias, variance and time;
# - parametrize a linear flow that cannot become singular.
#
# **Time:** about 60 minutes of reading, 130 minutes of exercises.
# **Needs:** notebooks 1–3 (change of variables, determinants, layers and flows), singular values, PyTorch modules.

# %%
import itertools
import math
import os
import time

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from autograder_tests.checks import residual_flows as check
from flowlib import data, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(9)
BLUE, RED, GREEN, PURPLE = (plotting.PALETTE[name] for name in ("blue", "vermilion", "green", "purple"))
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $u$ | `(*batch, D)` | base variable |
# | $x = u + g(u)$ | `(*batch, D)` | data variable |
# | $g$ | `(*batch, D)` → `(*batch, D)` | a network, the *residual*: what is added to the identity |
# | $L = \mathrm{Lip}(g)$ | number | Lipschitz constant of $g$, in the Euclidean norm $\lVert\cdot\rVert$; in section 8 a lower triangle |
# | $J$, $J_{ij} = \partial g_i/\partial u_j$ | `(*batch, D, D)` | Jacobian of $g$; that of the layer is $I + J$ |
# | $\sigma(W)$ | number | largest singular value of the matrix $W$, its *spectral norm* |
# | $n$ | `(S, *batch, D)` | in section 6: noise vectors, $S$ of them for each example; in section 1 a number that counts iterations |
#
# **Direction, here and everywhere in the course:** `forward` goes from base to data and returns
# $(x, \log|\det \partial x/\partial u|)$. `inverse` goes from data to base and returns $(u, \log|\det \partial u/\partial x|)$.
# In this notebook `forward` is the residual map, as in the lecture, $z' = z + g(z)$. The papers on residual flows have it the other way
# round; section 5 says why that matters.

# %% [markdown]
# ## 1 · When can a step be taken back?
#
# Start with one variable. $x = u + g(u)$ is invertible when it never turns around, so when its slope $1 + g'(u)$ keeps its sign. If
# $|g'| < 1$ everywhere, the slope is positive, whatever $g$ looks like otherwise.
#
# **Predict.** Take $g(u) = a \sin(2u)$. For which $a$ is $u + g(u)$ invertible?

# %%
u_line = torch.linspace(-3, 3, 400)
fig, axes = plt.subplots(1, 3, figsize=(10, 3.1), sharey=True)
for ax, a in zip(axes, (0.3, 0.5, 1.2), strict=True):
    x_line = u_line + a * torch.sin(2 * u_line)
    slope = 1 + 2 * a * torch.cos(2 * u_line)
    ax.plot(u_line, x_line, color=BLUE)
    ax.plot(u_line[slope < 0], x_line[slope < 0], ".", color=RED, markersize=3)
    ax.plot(u_line, u_line, color="gray", linewidth=0.8, linestyle=":")
    ax.set(title=f"$a$ = {a}: steepest $g$ is {2 * a:.1f}", xlabel="$u$")
    print(f"a = {a}: smallest slope of u + g(u) is {slope.min():+.2f}")
axes[0].set_ylabel("$x = u + g(u)$")
plt.show()

# %% [markdown]
# **Figure.** Three curves $u + a\sin 2u$ with the identity dotted. For $a = 0.3$ the curve rises everywhere. For $a = 0.5$ it has points with
# slope 0: the map is one-to-one, its inverse has infinite slope there. For $a = 1.2$ it turns around on the stretches drawn in orange dots:
# several $u$ have the same $x$.
#
# <details><summary>Answer</summary>
#
# The slope is $1 + 2a\cos 2u$. It is positive for $|a| < \tfrac12$, that is, when $|g'| \le 2|a| < 1$.
# </details>
#
# In $D$ variables "steepest slope" becomes the **Lipschitz constant**: the smallest $L$ with
#
# $$\lVert g(a) - g(b)\rVert \le L\,\lVert a - b\rVert \qquad\text{for all } a, b .$$
#
# A map with $L < 1$ brings all points closer together. It is called a **contraction**. (The lecture's slide writes $F$ in this definition. The residual $g$ has to
# contract. The layer $u + g(u)$ need not: a flow whose every layer contracts could never spread anything out.)
#
# ### Banach's fixed point, in five lines
#
# Given $x$, we look for $u$ with $u + g(u) = x$. Write it as $u = x - g(u) =: F(u)$: a **fixed point** of $F$. Iterate
# $u_{n+1} = F(u_n)$ from any $u_0$, and let $d = \lVert u_1 - u_0\rVert$ be the first step.
#
# 1. $F$ has the Lipschitz constant $L$ of $g$, so each step is at most $L$ times the step before: $\lVert u_{n+1} - u_n\rVert \le L^n d$.
# 2. What is still to go after $n$ steps is at most the sum of all later steps: $L^n d\,(1 + L + L^2 + \dots) = \dfrac{L^n}{1-L}\,d$.
# 3. That tends to 0, so the $u_n$ form a Cauchy sequence and converge to some $u_*$.
# 4. $F$ is continuous, so $u_* = \lim u_{n+1} = \lim F(u_n) = F(u_*)$: it solves the equation.
# 5. A second solution $v$ would give $\lVert u_* - v\rVert = \lVert F(u_*) - F(v)\rVert \le L\lVert u_* - v\rVert$, hence $v = u_*$.
#
# **For every $x$ there is exactly one $u$.** The map $u \mapsto u + g(u)$ is a bijection, and the proof is an algorithm:
#
# $$\lVert u_n - u_*\rVert \;\le\; \frac{L^n}{1-L}\,\lVert u_1 - u_0\rVert .$$
#
# Two checks by machine. Sympy adds up the geometric series of line 2, and a random contraction has its bound compared with the true error:

# %%
L_symbol, n_symbol = sp.symbols("L n", positive=True)
# Multiplied out, all terms of a finite geometric sum but two cancel; for L < 1 the second one dies away.
for last in range(1, 8):
    steps = sum(L_symbol**j for j in range(last + 1))
    assert sp.expand(steps * (1 - L_symbol)) == 1 - L_symbol ** (last + 1)
assert sp.limit(sp.Rational(9, 10) ** n_symbol, n_symbol, sp.oo) == 0


def contraction(D, L, seed=0):
    """A random net with Lipschitz bound L, as a function: section 3 says how it keeps the bound, section 7 why sines."""
    torch.manual_seed(seed)
    net = flowlib.LipschitzMLP([D, 64, D], L, activation=flowlib.Sine, input_coefficient=4.0)
    return net.double().eval().frozen()


def iterates(g, x, steps):
    """u_0 = x, u_1, …, u_steps of the iteration u ← x − g(u)."""
    found = [x]
    for _ in range(steps):
        found.append(x - g(found[-1]))
    return found


with torch.no_grad():
    g, x = contraction(2, 0.8), torch.randn(50, 2, dtype=torch.float64)
    path = iterates(g, x, 200)
    first_step = (path[1] - path[0]).norm(dim=-1)
    for n in range(60):
        error = (path[n] - path[-1]).norm(dim=-1)
        assert (error <= 0.8**n / (1 - 0.8) * first_step + 1e-12).all()
print("Banach's bound holds at 50 points, in each of 60 iterations")

# %% [markdown]
# **Predict.** At $L = 0.9$ some number of iterations gives six digits. About how many times more does $L = 0.99$ need?

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True)
steps = 300
n_axis = np.arange(steps + 1)
with torch.no_grad():
    for L, color in ((0.3, GREEN), (0.6, BLUE), (0.9, PURPLE), (0.99, RED)):
        worst = iterates(lambda v, L=L: -L * v, torch.ones(1, 2, dtype=torch.float64), steps)
        limit = torch.ones(1, 2, dtype=torch.float64) / (1 - L)
        g = contraction(2, L)
        net = iterates(g, torch.ones(1, 2, dtype=torch.float64), 3000)
        for ax, path, end in ((axes[0], worst, limit), (axes[1], net[: steps + 1], net[-1])):
            error = np.array([(p - end).norm().item() for p in path])
            bound = L**n_axis / (1 - L) * (path[1] - path[0]).norm().item()
            ax.semilogy(n_axis, np.maximum(error, 1e-17), color=color, label=f"$L$ = {L}")
            ax.semilogy(n_axis, bound, color=color, linestyle=":")
        for name, path, end in (("slowest map −Lu", worst, limit), ("network", net, net[-1])):
            errors = np.array([(p - end).norm().item() for p in path])
            needed = int(np.argmax(errors < 1e-6)) if (errors < 1e-6).any() else None
            print(f"L = {L:4}: {name:16s} iterations to an error of 1e-6: {needed or f'more than {steps}'}")
axes[0].set(title="$g(u) = -Lu$", xlabel="iteration $n$", ylim=(1e-16, 1e3))
axes[1].set(title="random networks", xlabel="iteration $n$ (shorter axis)", xlim=(-2, 60))
axes[0].set_ylabel(r"error $\|u_n - u_*\|$")
(bound_line,) = axes[1].plot([], [], color="gray", linestyle=":", label="Banach's bound")
axes[0].legend(fontsize=9)
axes[1].legend(handles=[bound_line], fontsize=9, loc="upper right", bbox_to_anchor=(1, 0.68))
plt.show()

# %% [markdown]
# **Figure.** Error of the iteration against its number, on a logarithmic axis, for $L = 0.3, 0.6, 0.9, 0.99$; Banach's bound dotted. Left: for
# $g(u) = -Lu$ error and bound coincide, straight lines of slope $\log L$ down to rounding size. Right: networks whose bound is $L$ fall faster than their dotted
# lines, since the bound is loose, as section 2 measures. At $L = 0.99$ the slowest map has hardly begun after 300 iterations.
#
# The slope of the lines is $\log L \approx -(1-L)$ near 1: ten times closer to 1 means about ten times as many iterations.
#
# ### Exercise 1 · How many iterations?
#
# Difficulty 2/5 (a formula, solved for $n$) · about 10 minutes · 3 points
#
# `iterations_needed(L, first_step, tolerance)` returns the smallest whole number $n \ge 0$ for which Banach's bound
# $\frac{L^n}{1-L}\cdot$`first_step` is at most `tolerance`. The theorem needs $0 < L < 1$: anything else is a `ValueError`.


# %% solution="iterations_needed"
def iterations_needed(L, first_step, tolerance):
    """Smallest n ≥ 0 with L^n/(1 − L) · first_step ≤ tolerance.

    Args:
        L: Lipschitz constant, 0 < L < 1.
        first_step: length of the first step, positive.
        tolerance: largest error allowed, positive.

    Raises:
        ValueError: L is not between 0 and 1.
    """
    ### BEGIN SOLUTION
    if not 0 < L < 1:
        raise ValueError(f"expected 0 < L < 1, got {L}")
    n = math.log(tolerance * (1 - L) / first_step) / math.log(L)
    return max(0, math.ceil(n))
    ### END SOLUTION


# %% test="iterations_suffice" points=1
check.iterations_suffice(iterations_needed)
### BEGIN HIDDEN TESTS
check.iterations_suffice(iterations_needed, hidden=1)
### END HIDDEN TESTS

# %% test="iterations_are_no_more_than_needed" points=1
check.iterations_are_no_more_than_needed(iterations_needed)
### BEGIN HIDDEN TESTS
check.iterations_are_no_more_than_needed(iterations_needed, hidden=1)
### END HIDDEN TESTS

# %% test="iterations_reject_what_does_not_contract" points=1
check.iterations_reject_what_does_not_contract(iterations_needed)
### BEGIN HIDDEN TESTS
check.iterations_reject_what_does_not_contract(iterations_needed, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Take logarithms of $L^n \le$ something. Mind that $\log L$ is negative: dividing by it turns the inequality around. A `while` loop that
# counts up is as good.
# </details>
# <details><summary>Help: I get a negative number</summary>
#
# Then the start is near enough, and no iteration is needed.
# </details>
#
# ### Exercise 2 · The inverse by iteration
#
# Difficulty 3/5 (short, with traps) · about 20 minutes · 5 points
#
# `fixed_point_inverse(g, x, tolerance, max_iterations)` returns $u$ with $u + g(u) = x$: every entry of $u + g(u) - x$ is at most about
# `tolerance` in absolute value, for every example of the batch. It stops as soon as that is reached. If `max_iterations` do not suffice, or
# something is not a finite number, it raises a `RuntimeError`: a wrong $u$ that looks like a right one is worse than no answer.


# %% solution="fixed_point_inverse"
def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    """The u with u + g(u) = x, by u ← x − g(u) from u = x.

    Args:
        g: contraction `(*batch, D)` → `(*batch, D)`.
        x: data `(*batch, D)`.
        tolerance: of each entry of u + g(u) − x.
        max_iterations: after which it gives up.

    Raises:
        RuntimeError: the tolerance was not reached.
    """
    ### BEGIN SOLUTION
    u = x
    for _ in range(max_iterations):
        previous, u = u, x - g(u)
        # The change is the error of the equation one step before. A comparison with NaN is False: the loop runs out and raises.
        if (u - previous).abs().max() <= tolerance:
            return u
    raise RuntimeError(f"expected a change below {tolerance} within {max_iterations} iterations")
    ### END SOLUTION


# %% test="fixed_point_solves_the_equation" points=2
check.fixed_point_solves_the_equation(fixed_point_inverse)
### BEGIN HIDDEN TESTS
check.fixed_point_solves_the_equation(fixed_point_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="fixed_point_stops_when_it_is_there" points=1
check.fixed_point_stops_when_it_is_there(fixed_point_inverse)
### BEGIN HIDDEN TESTS
check.fixed_point_stops_when_it_is_there(fixed_point_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="fixed_point_reports_failure" points=2
check.fixed_point_reports_failure(fixed_point_inverse)
### BEGIN HIDDEN TESTS
check.fixed_point_reports_failure(fixed_point_inverse, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: what is a good measure of "settled"?</summary>
#
# $u_{n+1} - u_n = x - g(u_n) - u_n$: the change is, up to its sign, the error of the equation at $u_n$. Take the largest absolute value over the batch.
# </details>
# <details><summary>Help: a slow example is returned unfinished</summary>
#
# A mean over the batch is small when most examples have settled. The maximum waits for the last one.
# </details>
# <details><summary>Help: NaN comes back without an error</summary>
#
# `while change > tolerance` ends when `change` is NaN, since every comparison with NaN is False. Turn the question around: go on
# *unless* `change <= tolerance`.
# </details>

# %% [markdown]
# ## 2 · How far does a network stretch?
#
# The theorem asks for $L < 1$. So we need the Lipschitz constant of a network, or a number that is certainly not below it.
#
# **A linear map.** $\lVert Wa - Wb\rVert = \lVert W(a-b)\rVert \le \sigma(W)\lVert a - b\rVert$, where $\sigma(W)$ is the largest singular value,
# and some direction attains it. Shifting by a bias changes no distance. So $\mathrm{Lip}(v \mapsto Wv + b) = \sigma(W)$, exactly.
#
# **Predict.** The matrix $W$ below has both eigenvalues equal to 0.5. Does it contract?

# %%
W = torch.tensor([[0.5, 1.2], [0.0, 0.5]])
angle = torch.linspace(0, 2 * math.pi, 200)
circle = torch.stack([angle.cos(), angle.sin()], -1)
U, S, Vh = torch.linalg.svd(W)
print("eigenvalues:     ", torch.linalg.eigvals(W).real.tolist())
print("singular values: ", [round(s, 4) for s in S.tolist()])
fig, ax = plt.subplots(figsize=(4.4, 3.6))
ax.plot(*circle.T, color="gray", label="unit circle")
ax.plot(*(circle @ W.mT).T, color=BLUE, label="its image under $W$")
ax.annotate("", (U[:, 0] * S[0]).tolist(), (0, 0), arrowprops={"arrowstyle": "->", "color": RED})
ax.annotate(
    r"length $\sigma(W)$",
    (U[:, 0] * S[0] * 0.55).tolist(),
    xytext=(-8, -26),
    textcoords="offset points",
    color=RED,
)
ax.set(title="A shear stretches", xlabel="first variable", ylabel="second variable", aspect="equal")
ax.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
plt.show()

# %% [markdown]
# **Figure.** The unit circle and its image under $W$, a long slanted ellipse that leaves the circle. Its longer half-axis, drawn as an arrow, is
# the largest singular value, above 1. Eigenvalues say what happens to eigenvectors after many applications; a single application may stretch
# other vectors, and only singular values see that.
#
# **A composition.** If $f$ stretches by at most $L_f$ and $h$ by at most $L_h$, then
#
# $$\lVert f(h(a)) - f(h(b))\rVert \le L_f\lVert h(a) - h(b)\rVert \le L_f L_h\lVert a - b\rVert :$$
#
# constants multiply. For a network $W_K\,\varphi(W_{K-1}\,\varphi(\cdots\varphi(W_1v)))$ with an activation $\varphi$ of slope at most $s$,
#
# $$\mathrm{Lip} \;\le\; s^{K-1}\prod_{k=1}^K\sigma(W_k).$$
#
# **Activations.** The lecture says that standard nonlinearities have $L \le 1$. Mostly. Measure it:

# %%
v_line = torch.linspace(-12, 12, 200_001, dtype=torch.float64, requires_grad=True)
activations = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "ReLU": torch.relu,
    "ELU": nn.functional.elu,
    "softplus": nn.functional.softplus,
    "SiLU (swish)": nn.functional.silu,
    "GELU": nn.functional.gelu,
    "LipSwish = swish/1.1": flowlib.LipSwish().double(),
}
for name, phi in activations.items():
    (slope,) = torch.autograd.grad(phi(v_line).sum(), v_line)
    print(f"{name:21s} largest slope {slope.abs().max():.4f}")

# %% [markdown]
# Two popular activations are steeper than 1. *LipSwish* divides swish by 1.1 and is the usual choice for residual flows (Chen et al. 2019): it is
# smooth. Smoothness matters: the log-determinant holds first derivatives of $g$, so its gradient holds second ones, and the second derivative of ReLU is 0.
#
# ### Exercise 3 · The Lipschitz bound of a network
#
# Difficulty 1/5 (short) · about 8 minutes · 2 points
#
# `lipschitz_bound(weights, slope)` returns $s^{K-1}\prod_k\sigma(W_k)$ for a list of $K \ge 1$ matrices; `slope` is $s$.


# %% solution="lipschitz_bound"
def lipschitz_bound(weights, slope):
    """Upper bound of the Lipschitz constant of W_K φ(W_{K−1} φ(… φ(W_1 v))).

    Args:
        weights: list of K matrices, `(M_k, M_{k−1})`.
        slope: largest |φ′| of the activation.

    Returns:
        A number, or a tensor without axes.
    """
    ### BEGIN SOLUTION
    norms = [torch.linalg.matrix_norm(W, 2) for W in weights]
    return math.prod(norms) * slope ** (len(weights) - 1)
    ### END SOLUTION


# %% test="bound_of_one_matrix" points=1
check.bound_of_one_matrix(lipschitz_bound)
### BEGIN HIDDEN TESTS
check.bound_of_one_matrix(lipschitz_bound, hidden=1)
### END HIDDEN TESTS

# %% test="bound_multiplies_along_the_net" points=1
check.bound_multiplies_along_the_net(lipschitz_bound)
### BEGIN HIDDEN TESTS
check.bound_multiplies_along_the_net(lipschitz_bound, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which norm?</summary>
#
# `torch.linalg.matrix_norm(W, 2)` is the largest singular value. Without the 2 it is the Frobenius norm, which is larger.
# </details>
#
# ### Tight or loose?
#
# The product is a bound. How far is it from the truth? For a smooth $g$ the Lipschitz constant is the largest $\sigma(J(v))$ over all points $v$. The largest value
# at many random points is certainly not above it.
#
# **Predict.** Each net below has the bound 1. Does the largest stretch that is found come nearer to 1 with depth, or fall away from it?

# %%
torch.manual_seed(0)
points = 0.5 * torch.randn(4000, 4, dtype=torch.float64)
print("largest σ(J) found, where the bound Π σ(W) is 1")
print("hidden layers   Gaussian weights   orthogonal weights")
for depth in (0, 1, 2, 4, 8):
    found = []
    for gaussian_weights in (True, False):
        net = flowlib.LipschitzMLP([4, *[32] * depth, 4], coefficient=1.0, activation=nn.Tanh).double().eval()
        if gaussian_weights:
            with torch.no_grad():
                for layer in net.layers:
                    layer.weight.copy_(torch.randn_like(layer.weight))  # normalized at every call
        J = flowlib.differentiable_jacobian(net.frozen(), points).detach()
        found.append(torch.linalg.matrix_norm(J, 2).max().item())
        assert net.lipschitz_bound() <= 1 + 1e-9
        assert found[-1] <= 1 + 1e-9
    print(f"{depth:13d}   {found[0]:16.3f}   {found[1]:18.3f}")

# %% [markdown]
# For a single linear layer the bound is exact. With depth it becomes loose: the direction which one layer stretches most is not the one that the next
# layer stretches most, and a saturated activation stretches nothing. A residual flow pays for this: it is held back more than invertibility demands.
# Orthogonal matrices, whose singular values are all alike, lose less. The linear layer of these nets, `flowlib.SpectralLinear`, therefore starts with a multiple of one.
#
# ## 3 · A bound that survives training
#
# To get $\mathrm{Lip}(g) \le L < 1$ from $K$ linear layers, with activations of slope at most 1, give each layer the **coefficient** $c = L^{1/K}$. A matrix that
# stretches by more than $c$ is divided by a number. A matrix that stretches by less is left alone:
#
# $$\widehat W = W\cdot\min\left(1, \frac{c}{\sigma(W)}\right) .$$
#
# This is **spectral normalization** (Miyato et al. 2018; with the minimum, Gouk et al. 2018).
#
# ### Exercise 4 · Spectral normalization
#
# Difficulty 2/5 (one line, many ways to miss it) · about 10 minutes · 3 points
#
# `spectral_normalize(W, coefficient)` returns $\widehat W$, exactly: use singular values. `coefficient` is $c$. The matrix need not be square, and may be 0.


# %% solution="spectral_normalize"
def spectral_normalize(W, coefficient):
    """W · min(1, coefficient/σ(W)).

    Args:
        W: matrix `(M, N)`.
        coefficient: largest spectral norm that is allowed, positive.
    """
    ### BEGIN SOLUTION
    norm = torch.linalg.matrix_norm(W, 2)
    return W * (coefficient / norm.clamp(min=coefficient))
    ### END SOLUTION


# %% test="normalized_matrix_stretches_no_more" points=1
check.normalized_matrix_stretches_no_more(spectral_normalize)
### BEGIN HIDDEN TESTS
check.normalized_matrix_stretches_no_more(spectral_normalize, hidden=1)
### END HIDDEN TESTS

# %% test="normalized_matrix_is_a_multiple" points=1
check.normalized_matrix_is_a_multiple(spectral_normalize)
### BEGIN HIDDEN TESTS
check.normalized_matrix_is_a_multiple(spectral_normalize, hidden=1)
### END HIDDEN TESTS

# %% test="small_matrices_are_left_alone" points=1
check.small_matrices_are_left_alone(spectral_normalize)
### BEGIN HIDDEN TESTS
check.small_matrices_are_left_alone(spectral_normalize, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the zero matrix gives NaN</summary>
#
# $c/0$ is infinite and $0\cdot\infty$ is NaN. Divide by $\max(\sigma, c)$ instead of choosing afterwards.
# </details>
# <details><summary>Help: small matrices grow</summary>
#
# You divide always. The factor is never above 1.
# </details>
#
# ### Normalized when?
#
# **Predict.** A net is normalized to $\mathrm{Lip} \le 0.9$ once, before training. Then it is trained to imitate $v \mapsto 3v$. What does the optimizer do with the bound?
#
# Three ways to handle it, trained on the same task:
# - *once*: weights are normalized at the start, and then free;
# - *every call, by power iteration*: $W$ is trained, $\widehat W$ is used. Multiplying a vector by $W^\top W$ again and again turns it towards the direction that $W$ stretches most.
#   One such step at each call, from the vector of the call before, estimates $\sigma(W)$ cheaply;
# - the same net *in evaluation mode*, where `flowlib.SpectralLinear` takes the exact singular value.

# %%
steps = min(250, MAX_STEPS or 250)


def bound_of_weights(net):
    with torch.no_grad():
        return flowlib.lipschitz_bound([layer.weight for layer in net if isinstance(layer, nn.Linear)]).item()


torch.manual_seed(0)
free = flowlib.mlp([2, 32, 32, 2], activation=nn.Tanh)
with torch.no_grad():
    for layer in free:
        if isinstance(layer, nn.Linear):
            layer.weight.copy_(flowlib.spectral_normalize(layer.weight, 0.9 ** (1 / 3)))
kept = flowlib.LipschitzMLP([2, 32, 32, 2], coefficient=0.9, activation=nn.Tanh, iterations=1)
curves = {"once, at the start": [], "every call, power iteration": [], "evaluation mode, exact": []}
optimizers = [torch.optim.Adam(net.parameters(), lr=1e-2) for net in (free, kept)]
for _ in range(steps):
    v = torch.randn(128, 2)
    for net, optimizer in zip((free, kept), optimizers, strict=True):
        optimizer.zero_grad()
        ((net(v) - 3 * v) ** 2).mean().backward()
        optimizer.step()
    curves["once, at the start"].append(bound_of_weights(free))
    estimated = [layer.normalized_weight().detach() for layer in kept.layers]
    curves["every call, power iteration"].append(flowlib.lipschitz_bound(estimated).item())
    curves["evaluation mode, exact"].append(kept.lipschitz_bound())
for name, curve in curves.items():
    print(f"{name:28s} Lipschitz bound at the end {curve[-1]:8.4f}, largest on the way {max(curve):8.4f}")

fig, ax = plt.subplots(figsize=(6.6, 3.4))
for (name, curve), color, line in zip(curves.items(), (RED, PURPLE, BLUE), ("-", "-", "--"), strict=True):
    ax.semilogy(curve, label=name, color=color, linestyle=line)
ax.axhline(1, color="gray", linewidth=0.8)
ax.set(title="Training towards a slope of 3", xlabel="step", ylabel="Lipschitz bound")
ax.legend(fontsize=9)
plt.show()

# %% [markdown]
# **Figure.** Lipschitz bound against training step, logarithmic. The net that was normalized once leaves the region below 1 (gray line) within a few steps and
# climbs far above it. The net that is normalized at every call by one step of power iteration hovers above 0.9, with spikes wherever the weights turn faster than
# the estimate follows; some cross 1. The same weights with exact singular values stay at 0.9.
#
# An optimizer respects no promise made before it started. And power iteration estimates $\sigma(W)$ as the stretch of *one* vector, which is never above the
# largest stretch: its error always falls on the dangerous side. During training that does little harm: a flow can be trained without ever running the iteration, as section 5 shows.
# The guarantee that the flow is invertible needs the exact value, at the latest when training is over. `flowlib` keeps $W$ and its singular vectors in `state_dict` and computes $\widehat W$ at each call.
#
# What the lost bound means for the inverse:

# %%
with torch.no_grad():
    x = 2 * torch.randn(6, 2)
    for name, net in (("once, at the start", free), ("every call", kept.eval())):
        try:
            u = flowlib.fixed_point_inverse(net, x)
            print(f"{name:19s} inverted: |u + g(u) − x| is at most {(u + net(u) - x).abs().max():.1e}")
        except flowlib.ConvergenceError as error:
            print(f"{name:19s} {error}")

# %% [markdown]
# ## 4 · The residual layer
#
# The Jacobian of $x = u + g(u)$ is $I + J$. Every eigenvalue $\lambda$ of $J$ has $|\lambda| \le \sigma(J) \le L < 1$, so every eigenvalue $1 + \lambda$ of
# $I + J$ lies in a disk around 1 that does not reach 0. Complex ones come in conjugate pairs. Hence **the determinant is positive**, and
#
# $$(1 - L)^D \;\le\; \det(I + J) \;\le\; (1 + L)^D .$$
#
# A residual layer neither reflects nor changes volume by more than these factors: to squeeze data hard, a flow needs many of them. In return the
# Jacobian is *free-form*: no entry is 0 by construction.
#
# Nothing is triangular here, so the determinant is that of a full matrix. For small $D$ do exactly that: $D$ backward passes for the rows of $J$ and `slogdet`.
#
# **The inverse** needs no formula of its own. Its Jacobian at $x$ is $(I + J(u))^{-1}$, where $u$ is the point with $u + g(u) = x$. So its log-determinant is $-\log\det(I + J(u))$.
#
# **And its gradient?** Autodiff through hundreds of iterations would keep them all in memory. There is no need: differentiate the equation
# $u + g(u) = x$ itself. That gives $(I + J)\,\mathrm du = \mathrm dx$, the implicit function theorem. `flowlib.fixed_point_inverse` iterates without
# recording. It ends with one recorded Newton step, $u - (I + J)^{-1}(u + g(u) - x)$, in which $u$ and $J$ count as constants: its derivative by $x$ is $(I + J)^{-1}$, the right one.
# Check it against autodiff through 200 recorded iterations:

# %%
g = contraction(2, 0.8)
x = torch.randn(1, 2, dtype=torch.float64)
through_iterations = torch.func.jacrev(lambda x: iterates(g, x, 200)[-1].sum(0))(x)
through_equation = flowlib.batch_jacobian(lambda x: flowlib.fixed_point_inverse(g, x), x)
difference = (through_iterations.squeeze(1) - through_equation.squeeze(0)).abs().max().item()
print(f"Jacobian of the inverse, two ways: they differ by {difference:.1e}")
assert difference < 1e-12
inverse_of_jacobian = torch.linalg.inv(
    torch.eye(2, dtype=torch.float64)
    + flowlib.differentiable_jacobian(g, flowlib.fixed_point_inverse(g, x)).squeeze(0)
)
assert torch.allclose(through_equation.squeeze(0), inverse_of_jacobian)

# %% [markdown]
# ### Exercise 5 · The residual layer
#
# Difficulty 3/5 (assembling) · about 25 minutes · 7 points
#
# Complete the layer. You may use
# - `flowlib.fixed_point_inverse(g, x)`: $u$ with $u + g(u) = x$, gradient included;
# - `flowlib.differentiable_jacobian(g, u)`: $J$ `(*batch, D, D)` of $g$ at $u$ `(*batch, D)`, with gradient to the parameters of $g$.


# %% solution="ResidualLayer"
class ResidualLayer(nn.Module):
    """x = u + g(u) with a contraction g.

    Args:
        g: module `(*batch, D)` → `(*batch, D)` with Lipschitz constant below 1.
    """

    def __init__(self, g):
        super().__init__()
        self.g = g

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        J = flowlib.differentiable_jacobian(self.g, u)
        identity = torch.eye(u.shape[-1], dtype=u.dtype)
        return u + self.g(u), torch.linalg.slogdet(identity + J).logabsdet
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        u = flowlib.fixed_point_inverse(self.g, x)
        _, log_det = self.forward(u)
        return u, -log_det
        ### END SOLUTION


# %% test="residual_formula" points=1
check.residual_formula(ResidualLayer)
### BEGIN HIDDEN TESTS
check.residual_formula(ResidualLayer, hidden=1)
### END HIDDEN TESTS

# %% test="residual_inverse_undoes_forward" points=1
check.residual_inverse_undoes_forward(ResidualLayer)
### BEGIN HIDDEN TESTS
check.residual_inverse_undoes_forward(ResidualLayer, hidden=1)
### END HIDDEN TESTS

# %% test="residual_log_det_matches_jacobian" points=2
check.residual_log_det_matches_jacobian(ResidualLayer)
### BEGIN HIDDEN TESTS
check.residual_log_det_matches_jacobian(ResidualLayer, hidden=1)
### END HIDDEN TESTS

# %% test="residual_inverse_log_det_matches_jacobian" points=1
check.residual_inverse_log_det_matches_jacobian(ResidualLayer)
### BEGIN HIDDEN TESTS
check.residual_inverse_log_det_matches_jacobian(ResidualLayer, hidden=1)
### END HIDDEN TESTS

# %% test="residual_log_det_carries_gradient" points=1
check.residual_log_det_carries_gradient(ResidualLayer)
### BEGIN HIDDEN TESTS
check.residual_log_det_carries_gradient(ResidualLayer, hidden=1)
### END HIDDEN TESTS

# %% test="residual_batch_shapes" points=1
check.residual_batch_shapes(ResidualLayer)
### BEGIN HIDDEN TESTS
check.residual_batch_shapes(ResidualLayer, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the log_det is far off</summary>
#
# `differentiable_jacobian` gives the Jacobian of $g$. The layer adds the identity.
# </details>
# <details><summary>Help: the log_det of inverse is off, and only a little</summary>
#
# At which point do you take $J$? The inverse function theorem takes it where the iteration arrived.
# </details>
# <details><summary>Help: the gradient check fails, the values are right</summary>
#
# Something cuts the graph: `.detach()`, `.item()`, `torch.no_grad()`, or a Jacobian whose own derivative was not asked for.
# </details>

# %% [markdown]
# ## 5 · Which direction is the residual map?
#
# One direction costs one evaluation of $g$, the other an iteration. Maximum likelihood runs `inverse` for every batch of every step. The papers therefore
# write $u = x + g(x)$: **data to base is the residual map**, training is fast, and only sampling iterates (Behrmann et al. 2018). The lecture writes
# $z' = z + g(z)$ from base to data: sampling is one evaluation, and training would have to iterate. It is the right choice where only samples
# and their densities are needed, as for the approximate posterior of notebook 8.
#
# Either way it is the same family of maps up to inversion; `flowlib.Residual` has the switch `inverse_is_residual`. What it costs, measured:

# %%
torch.manual_seed(0)
batch = torch.randn(256, 2)


def milliseconds(run, repeats=5):
    """Median processor time of a call: what else the computer does meanwhile does not count."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return 1000 * float(np.median(seconds))


for inverse_is_residual in (False, True):
    flow = flowlib.residual_flow(2, 4, inverse_is_residual=inverse_is_residual).eval()
    evaluations = []
    for layer in flow.transformations:  # each evaluation of g calls its activation once
        layer.net.activations[0].register_forward_hook(lambda *_, found=evaluations: found.append(1))
    flow.log_prob(batch)
    in_density = len(evaluations)
    flow.sample((256,))
    in_sampling = len(evaluations) - in_density
    density = milliseconds(lambda flow=flow: flow.log_prob(batch).mean().backward())
    sampling = milliseconds(lambda flow=flow: flow.sample((256,)))
    print(
        f"{'u = x + g(x)' if inverse_is_residual else 'x = u + g(u)'}:"
        f" density {in_density:4d} evaluations of g, with gradient {density:5.1f} ms;"
        f" sampling {in_sampling:4d} evaluations, {sampling:5.1f} ms"
    )

# %% [markdown]
# ## 6 · The log-determinant without the Jacobian
#
# $D$ backward passes are fine for $D = 2$ and out of reach for images. A power series avoids them. For a number $|a| < 1$,
#
# $$\log(1 + a) = a - \frac{a^2}{2} + \frac{a^3}{3} - \dots = \sum_{k=1}^\infty \frac{(-1)^{k+1}}{k}\,a^k .$$
#
# For a matrix with eigenvalues $\lambda_1, \dots, \lambda_D$ of absolute value below 1, apply it to each eigenvalue and add up. Since
# $\log\det(I + J) = \sum_i\log(1 + \lambda_i)$ and $\sum_i\lambda_i^k = \operatorname{tr}J^k$,
#
# $$\log\det(I + J) = \sum_{k=1}^{\infty}\frac{(-1)^{k+1}}{k}\operatorname{tr}J^k .$$
#
# **Truncated** after $m$ terms it is off by at most what is left out. As $|\operatorname{tr}J^k| \le D L^k$,
#
# $$\Bigl|\sum_{k>m}\frac{(-1)^{k+1}}{k}\operatorname{tr}J^k\Bigr| \;\le\; D\sum_{k>m}\frac{L^k}{k} \;\le\; \frac{D\,L^{m+1}}{(m+1)(1-L)} .$$
#
# Sympy agrees on the series of a general $2\times2$ matrix: with $J$ replaced by $\epsilon J$, both sides have the same powers of $\epsilon$.

# %%
a, b, c, d, epsilon = sp.symbols("a b c d epsilon", real=True)
J_symbol = sp.Matrix([[a, b], [c, d]])
left = sp.log((sp.eye(2) + epsilon * J_symbol).det())
right = sum(sp.Rational((-1) ** (k + 1), k) * (epsilon**k) * (J_symbol**k).trace() for k in range(1, 5))
difference = sp.series(left, epsilon, 0, 5).removeO() - right
assert sp.simplify(sp.expand(difference)) == 0
print("log det(I + εJ) and the series agree up to ε⁴")

# %% [markdown]
# ### Traces from noise
#
# $\operatorname{tr}J^k$ still seems to need the matrix. Hutchinson's trick: take a random vector $n$ with mean 0 and covariance $I$. Then
#
# $$\mathbb E\bigl[n^\top A\,n\bigr] = \sum_{i,j}A_{ij}\,\mathbb E[n_in_j] = \sum_i A_{ii} = \operatorname{tr}A .$$
#
# What it takes is the product $A n$ alone. For $A = J^k$ that is $k$ products with $J$ in a row. Each is one backward pass: `torch.func.vjp` gives
# $J^\top n$, and $\operatorname{tr}(J^\top)^k = \operatorname{tr}J^k$. No $D \times D$ matrix is ever formed.
#
# Which noise? Random signs $n_i = \pm1$ have covariance $I$, and so has Gaussian noise $n \sim \mathcal N(0, I)$.
#
# **Predict.** For a diagonal $A$ the estimate is $\sum_i A_{ii}n_i^2$. What is its variance with random signs? Is it more or less with Gaussian noise?

# %%
signs = [sp.Matrix(v) for v in itertools.product([-1, 1], repeat=2)]
forms = [(v.T * J_symbol * v)[0] for v in signs]
mean = sum(forms) / 4
variance = sp.factor(sp.expand(sum(f**2 for f in forms) / 4 - mean**2))
print("over all signs: mean", sp.simplify(mean), "| variance", variance)
assert sp.simplify(mean - J_symbol.trace()) == 0
assert sp.simplify(variance - (b + c) ** 2) == 0
torch.manual_seed(0)
gaussian = torch.randn(100_000, 2)
print(
    "diagonal A = diag(1, 2), Gaussian noise: variance",
    round((gaussian**2 @ torch.tensor([1.0, 2.0])).var().item(), 2),
)

# %% [markdown]
# With signs $n_i^2 = 1$ always: the diagonal enters without noise, and the variance of a $2\times2$ matrix is $(b + c)^2$, from the two other entries. For Gaussian noise it is
# $2\lVert\tfrac12(A + A^\top)\rVert_F^2$, where $\lVert\cdot\rVert_F^2$ is the sum of all squared entries, the diagonal's included: $2(1^2 + 2^2) = 10$ here.
#
# ### Exercise 6 · Hutchinson's trace
#
# Difficulty 2/5 (one line, axes matter) · about 10 minutes · 3 points
#
# `hutchinson_trace(product, noise)` returns the mean of $n\cdot An$ over the $S$ noise vectors of each example. `noise` is `(S, *batch, D)`, and
# `product(noise)` gives $An$ for all of them at once, in the same shape.


# %% solution="hutchinson_trace"
def hutchinson_trace(product, noise):
    """Estimate of tr A for each example, `(*batch,)`.

    Args:
        product: maps n `(S, *batch, D)` to An, same shape.
        noise: `(S, *batch, D)`, mean 0 and covariance I.
    """
    ### BEGIN SOLUTION
    return (noise * product(noise)).sum(-1).mean(0)
    ### END SOLUTION


# %% test="trace_estimate_is_the_mean_of_quadratic_forms" points=1
check.trace_estimate_is_the_mean_of_quadratic_forms(hutchinson_trace)
### BEGIN HIDDEN TESTS
check.trace_estimate_is_the_mean_of_quadratic_forms(hutchinson_trace, hidden=1)
### END HIDDEN TESTS

# %% test="trace_estimate_over_all_signs_is_the_trace" points=1
check.trace_estimate_over_all_signs_is_the_trace(hutchinson_trace)
### BEGIN HIDDEN TESTS
check.trace_estimate_over_all_signs_is_the_trace(hutchinson_trace, hidden=1)
### END HIDDEN TESTS

# %% test="trace_estimate_batch_shapes" points=1
check.trace_estimate_batch_shapes(hutchinson_trace)
### BEGIN HIDDEN TESTS
check.trace_estimate_batch_shapes(hutchinson_trace, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which axes?</summary>
#
# $n\cdot An$ sums over the variables, the last axis. The mean runs over the samples, the first axis. The axes between them are the batch and stay.
# </details>
#
# ### Exercise 7 · The series
#
# Difficulty 3/5 (a loop that must not start over) · about 15 minutes · 4 points
#
# `log_det_series(product, noise, terms)` returns $\sum_{k=1}^{\text{terms}}\frac{(-1)^{k+1}}{k}\,\overline{n\cdot A^kn}$, the bar being the mean over the noise
# vectors. Use the same noise for all terms, and call `product` once per term.


# %% solution="log_det_series"
def log_det_series(product, noise, terms):
    """Estimate of log det(I + A) by `terms` terms of its power series, `(*batch,)`.

    Args:
        product: maps n `(S, *batch, D)` to An, same shape.
        noise: `(S, *batch, D)`, mean 0 and covariance I.
        terms: number of terms, at least 1.
    """
    ### BEGIN SOLUTION
    power, total = noise, 0
    for k in range(1, terms + 1):
        power = product(power)
        total = total + (-1) ** (k + 1) / k * (noise * power).sum(-1).mean(0)
    return total
    ### END SOLUTION


# %% test="series_has_the_right_terms" points=2
check.series_has_the_right_terms(log_det_series)
### BEGIN HIDDEN TESTS
check.series_has_the_right_terms(log_det_series, hidden=1)
### END HIDDEN TESTS

# %% test="series_approaches_the_log_det" points=1
check.series_approaches_the_log_det(log_det_series)
### BEGIN HIDDEN TESTS
check.series_approaches_the_log_det(log_det_series, hidden=1)
### END HIDDEN TESTS

# %% test="series_costs_one_product_per_term" points=1
check.series_costs_one_product_per_term(log_det_series)
### BEGIN HIDDEN TESTS
check.series_costs_one_product_per_term(log_det_series, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the second term is wrong, the first is right</summary>
#
# $A^2n = A(An)$: apply `product` to its own last result. And take the dot product with the original noise.
# </details>
# <details><summary>Template</summary>
#
# ```python
# power, total = noise, 0
# for k in range(1, terms + 1):
#     power = ...          # Aᵏ n
#     total = total + ...  # sign, 1/k, mean of n · Aᵏ n
# return total
# ```
# </details>
#
# ### Bias, variance, cost
#
# Two errors, two causes. The **bias** comes from truncation and depends on the number of terms $m$ and on $L$. The **variance** comes from the noise and falls with $S$. Both are measured
# here on symmetric matrices with $D = 8$. Over all $2^8$ vectors of signs the traces are exact, which isolates the bias.

# %%
D = 8
all_signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=D)), dtype=torch.float64)
term_counts = (1, 2, 3, 5, 8, 12, 20, 30)
torch.manual_seed(0)
fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.5))
for L, color in ((0.5, GREEN), (0.9, RED)):
    # A symmetric matrix: its largest eigenvalue is as large as the norm allows, the series' slowest case.
    A = torch.randn(D, D, dtype=torch.float64)
    A = flowlib.spectral_normalize(5 * (A + A.mT), L)
    exact = torch.linalg.slogdet(torch.eye(D, dtype=torch.float64) + A).logabsdet.item()
    bias = [
        abs(flowlib.log_det_series(lambda n, A=A: n @ A, all_signs, k).item() - exact) for k in term_counts
    ]
    bound = [D * L ** (k + 1) / ((k + 1) * (1 - L)) for k in term_counts]
    axes[0].semilogy(term_counts, bias, "o-", color=color, label=f"$L$ = {L}", markersize=4)
    axes[0].semilogy(term_counts, bound, ":", color=color)
    draws = 2 * torch.randint(0, 2, (4000, 1, D)).double() - 1
    spread = {
        "signs": [
            flowlib.log_det_series(lambda n, A=A: n @ A, draws.transpose(0, 1), k).std().item()
            for k in term_counts
        ],
        "Gaussian": [
            flowlib.log_det_series(lambda n, A=A: n @ A, torch.randn(1, 4000, D).double(), k).std().item()
            for k in term_counts
        ],
    }
    for (name, values), style in zip(spread.items(), ("-", "--"), strict=True):
        axes[1].plot(term_counts, values, style, color=color, label=f"$L$ = {L}, {name}")
    print(
        f"L = {L}: log det = {exact:+.4f}; with 5 terms bias {bias[3]:.1e}, with 20 terms {bias[6]:.1e}; "
        f"one noise vector's standard deviation {spread['signs'][3]:.2f} (signs), {spread['Gaussian'][3]:.2f} (Gaussian)"
    )
axes[0].set(title="Bias of the truncated series", xlabel="terms", ylabel="error (nats)", ylim=(1e-12, 50))
axes[1].set(
    title="Spread of one noise vector", xlabel="terms", ylabel="standard deviation (nats)", ylim=(0, None)
)
axes[0].legend(fontsize=9)
axes[1].legend(fontsize=9)
plt.show()

# %% [markdown]
# **Figure.** Left: bias against the number of terms, logarithmic, with its bound dotted. It falls fast for $L = 0.5$, slowly and not at every step for $L = 0.9$, and stays below the bound.
# Right: the standard deviation of an estimate from a single noise vector. It hardly depends on the number of terms, and is lower for random signs than for Gaussian noise. More
# terms remove bias; only more noise vectors, or more examples in a batch, remove variance.
#
# Bias is the dangerous one: a training run that maximizes a biased log-likelihood learns to increase the bias. Noise only makes the gradient noisy, as every minibatch does.
#
# And the cost:

# %%
torch.manual_seed(0)
print("   D    exact, D backward passes    series, 5 terms    series, 20 terms   (ms for 64 examples)")
for D in (2, 8, 32, 128):
    layer = flowlib.Residual(flowlib.LipschitzMLP([D, 64, 64, D], 0.9), D).eval()
    v = torch.randn(64, D)
    timings = []
    with torch.no_grad():
        for method, terms in (("exact", 1), ("series", 5), ("series", 20)):
            layer.log_det_method, layer.terms = method, terms
            timings.append(milliseconds(lambda layer=layer, v=v: layer.forward(v)))
    print(f"{D:4d}    {timings[0]:24.2f}    {timings[1]:15.2f}    {timings[2]:16.2f}")

# %% [markdown]
# The cost of the exact determinant grows with $D$. The series pays per term, whatever $D$ is. In two dimensions the exact determinant costs about as much as a few terms, and it has no error.
# That is why this course, whose residual flows live in few dimensions, uses it by default.
#
# ### Extra: Russian roulette
#
# Can a series with infinitely many terms be summed in finite time? On average, yes. After each term toss a coin and stop with probability $\tfrac12$. The $k$-th term is then
# reached with probability $q_k = 2^{-(k-1)}$; divide it by $q_k$, and the *expected* sum is the whole series:
#
# $$\mathbb E\Bigl[\sum_{k\le N}\frac{t_k}{q_k}\Bigr] = \sum_k \Pr(N \ge k)\,\frac{t_k}{q_k} = \sum_k t_k .$$
#
# No bias, random cost, more variance (Chen et al. 2019 compute a few terms always and play roulette on the rest). Compare on a contraction with $L = 0.7$:

# %%
torch.manual_seed(0)
A = flowlib.spectral_normalize(5 * torch.randn(2, 2), 0.7)
linear = nn.Linear(2, 2)
with torch.no_grad():
    linear.weight.copy_(A)
layer = flowlib.Residual(linear, 2)
v = torch.zeros(1, 2)
with torch.no_grad():
    exact = layer.forward(v)[1].item()
    print(f"exact log det {exact:+.4f}")
    for method, terms in (("series", 2), ("series", 10), ("roulette", 2)):
        layer.log_det_method, layer.terms = method, terms
        estimates = torch.tensor([layer.forward(v)[1].item() for _ in range(3000)])
        error = estimates.std().item() / math.sqrt(len(estimates))
        print(
            f"{method:8s} with {terms:2d} terms{' or more' if method == 'roulette' else '':8s}: mean {estimates.mean():+.4f} ± {error:.4f}, "
            f"one estimate's standard deviation {estimates.std():.2f}"
        )

# %% [markdown]
# The short series is off by far more than its standard error; the roulette with as many guaranteed terms is not, and pays with a wider spread.
#
# ## 7 · Two moons
#
# Eight residual layers, data to base the residual map, exact log-determinants, in the recipe of notebook 3: cosine schedule, averaged weights. As there, the yardstick is
# the *excess*: how many nats the flow lies above the exact density of the two moons, on the same test points.
#
# Two ways to share out the Lipschitz constant 0.97 within each $g$, which has one hidden layer of 64 units:
# - *equal shares* $\sqrt{0.97}$ for both matrices, with tanh: the published way;
# - *unequal shares*, with sines: the first matrix may stretch by 4, the last one by $0.97/4$. Only the product counts for invertibility.
#
# **Predict.** Both have the same bound and the same number of parameters. Which is better at bending, and why?

# %%
train, test = data.two_moons(8000, seed=10), data.two_moons(5000, seed=11)
recipes = {
    "equal shares, tanh": {"activation": nn.Tanh, "input_coefficient": None},
    "unequal shares, sine": {"activation": flowlib.Sine, "input_coefficient": 4.0},
}
for name, options in recipes.items():
    torch.manual_seed(0)
    flow = flowlib.residual_flow(2, 8, data=train, **options)
    history = flowlib.fit(flow, train, steps=600, batch_size=256, lr=1e-2, average=0.98, max_steps=MAX_STEPS)
    with torch.no_grad():
        excess = data.two_moons_log_prob(test) - flow.log_prob(test)
    print(
        f"{name:21s} excess {excess.mean():.3f} ± {excess.std() / math.sqrt(len(test)):.3f} nats, {history.seconds:.0f} s"
    )

# %% [markdown]
# <details><summary>Answer</summary>
#
# With equal shares no matrix stretches by more than 1, so the hidden units see numbers of the data's size, about 1, where tanh is nearly a straight line; a sum of straight
# lines is a straight line. A first matrix that stretches by 4 carries the same data through whole waves of the sine, and the last matrix makes the waves small enough. Many small
# waves bend; one weak tanh hardly does. One seed each is an observation, not a ranking; the gap is far larger than what seeds did to two moons in notebook 3.
# </details>
#
# We keep the second flow. Does it keep its promise after training?

# %%
residual_layers = [layer for layer in flow.transformations if isinstance(layer, flowlib.Residual)]
print(
    "Lipschitz bounds after training:", [round(layer.net.lipschitz_bound(), 3) for layer in residual_layers]
)
with torch.no_grad():
    # The largest stretch of each g where data are, from the data's end: the last layer only standardizes.
    z = flow.transformations[-1].inverse(test)[0]
    found = []
    for layer in reversed(residual_layers):
        J = flowlib.differentiable_jacobian(layer.net.frozen(), z)
        found.insert(0, round(torch.linalg.matrix_norm(J, 2).max().item(), 3))
        z = layer.inverse(z)[0]
print("largest σ(J) at the test points:", found)

# %%
fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.2))
extent = data.TARGETS["two_moons"].extent
peak = data.two_moons_log_prob(test).exp().max().item()
plotting.plot_density(
    axes[0], data.two_moons_log_prob, extent, vmax=peak, title="exact density", xlabel="$x_1$", ylabel="$x_2$"
)
plotting.plot_density(
    axes[1], flow.log_prob, extent, vmax=peak, title="residual flow", xlabel="$x_1$", ylabel="$x_2$"
)
samples = flow.sample((2000,))
plotting.plot_samples(axes[2], samples, extent=extent, title="its samples", xlabel="$x_1$", ylabel="$x_2$")
plt.show()

# %% [markdown]
# **Figure.** Left: the exact density, two thin half circles. Middle, in the same colors: the residual flow's density, the same two arcs, blurred at their four ends. There the flow would have to cut
# an arc off, and a bijection cannot tear space (notebook 3). Right: samples of the flow, drawn by fixed-point iteration: on the arcs, scattered a little at the ends.
#
# Was the inverse exact? The samples were computed in float32. Send them back to the base, and forward again:

# %%
with torch.no_grad():
    u, log_det = flow.inverse(samples)
    again, log_det_back = flow.forward(u)
    print(f"float32: round trip off by at most {(again - samples).abs().max():.1e}, ", end="")
    print(f"log-determinants by at most {(log_det + log_det_back).abs().max():.1e}")
    exact_flow = flow.double()
    again, _ = exact_flow.forward(exact_flow.inverse(samples.double())[0])
    print(f"float64: round trip off by at most {(again - samples.double()).abs().max():.1e}")
    flow.float()

# %% [markdown]
# An iterative inverse is as exact as its arithmetic allows. Its price is time, not accuracy.
#
# ## 8 · Linear flows
#
# The simplest residual step is linear, and the simplest flow of all is $x = Wu$ with a matrix $W$ `(D, D)`. The lecture names its one difficulty: **parametrize $W$ such that it is invertible**. What is wrong with
# a free matrix of $D^2$ parameters?
#
# - Nothing keeps it away from the singular matrices. $\det W$ can have either sign, and between the two lies 0, where there is no inverse and no density.
# - $\log|\det W|$ takes $O(D^3)$ operations, at every step; so do the inverse and the gradient of either.
#
# The remedy is a product of factors that are easy to invert. In this section $L$ is a lower triangle with ones on its diagonal, and $U$ an upper triangle:
#
# | parametrization | log-determinant | inverse | reaches |
# |---|---|---|---|
# | free $W$ | $O(D^3)$ | $O(D^3)$ | all, singular ones included |
# | permutation | 0 | reorder | $D!$ matrices |
# | triangular, positive diagonal | $O(D)$ | $O(D^2)$, substitution | triangles: $x_i$ depends on one side of the variables only |
# | $PLU$: fixed permutation $P$, two triangles (Glow) | $O(D)$ | $O(D^2)$ | nearly all of one sign of $\det$ |
# | orthogonal: $K$ Householder reflections | 0 | $O(KD)$, the same backwards | with $K = D$ all orthogonal matrices of determinant $(-1)^D$ |
# | $QR$: orthogonal times triangular | $O(D)$ | $O(D^2)$ | all of one sign of $\det$ |
#
# The determinant of a product is the product of the determinants: $\det PLU = \pm\prod_iU_{ii}$, as $L$ has ones on its diagonal. A **Householder reflection**
# $H = I - 2vv^\top/\lVert v\rVert^2$ with a vector $v$ `(D,)` mirrors space in the plane orthogonal to $v$. Check by machine that it is orthogonal, its own inverse, and has determinant $-1$:

# %%
v1, v2, v3 = sp.symbols("v1:4", real=True, nonzero=True)
v_symbol = sp.Matrix([v1, v2, v3])
H = sp.eye(3) - 2 * v_symbol * v_symbol.T / (v_symbol.T * v_symbol)[0]
assert sp.simplify(H * H.T - sp.eye(3)) == sp.zeros(3)
assert sp.simplify(H * H - sp.eye(3)) == sp.zeros(3)
print("det H =", sp.simplify(H.det()))

# %% [markdown]
# What do the orders $O(D^3)$ and $O(D^2)$ mean in milliseconds? **Predict.** When $D$ doubles, by which factor does each row of the next table grow, once $D$ is large?

# %%
torch.manual_seed(0)
sizes = (64, 128, 256, 512)
columns = {"free W: slogdet": [], "PLU: sum of logs": [], "free W: solve": [], "PLU: two substitutions": []}
for D in sizes:
    W, v = torch.randn(D, D), torch.randn(64, D)
    layer = flowlib.PLULinear(D)
    with torch.no_grad():
        L_factor, U_factor = layer.factors()
        columns["free W: slogdet"].append(milliseconds(lambda W=W: torch.linalg.slogdet(W)))
        columns["PLU: sum of logs"].append(milliseconds(lambda layer=layer: layer.log_diagonal.sum()))
        columns["free W: solve"].append(milliseconds(lambda W=W, v=v: torch.linalg.solve(W, v.mT)))

        def substitute(L_factor=L_factor, U_factor=U_factor, v=v):
            y = torch.linalg.solve_triangular(L_factor, v.mT, upper=False, unitriangular=True)
            torch.linalg.solve_triangular(U_factor, y, upper=True)

        columns["PLU: two substitutions"].append(milliseconds(substitute))
print(f"{'milliseconds':24s}" + "".join(f"  D = {D:4d}" for D in sizes))
for name, values in columns.items():
    print(f"{name:24s}" + "".join(f"{value:10.3f}" for value in values))

# %% [markdown]
# By the orders the two rows of the free matrix grow by 8 and the substitutions by 4. For small matrices every row grows more slowly, since a fixed cost per call dominates. The sum of
# $D$ logarithms is too cheap to show its $O(D)$.
#
# ### Exercise 8 · A linear layer that cannot become singular
#
# Difficulty 3/5 (two triangles) · about 20 minutes · 6 points
#
# `LULinear(D)` is $x = LUu$: $L$ lower triangular with ones on its diagonal, $U$ upper triangular with a positive diagonal. All $D^2$ numbers are learned. How it starts is yours to choose. `factors` is a
# helper for the other two methods; no check calls it. The checks ask for properties of the map, so a fixed permutation beside $LU$, or the order $ULu$ in both directions, passes as well.


# %% solution="LULinear"
class LULinear(nn.Module):
    """x = LUu with L unit lower triangular, U upper triangular with positive diagonal.

    Args:
        D: number of variables.
    """

    def __init__(self, D):
        super().__init__()
        ### BEGIN SOLUTION
        self.lower = nn.Parameter(torch.zeros(D, D))
        self.upper = nn.Parameter(torch.zeros(D, D))
        self.log_diagonal = nn.Parameter(torch.zeros(D))
        ### END SOLUTION

    def factors(self):
        """L and U, `(D, D)` each, made from the parameters."""
        ### BEGIN SOLUTION
        ones = torch.ones_like(self.log_diagonal)
        L = self.lower.tril(-1) + torch.diag(ones)
        U = self.upper.triu(1) + torch.diag(self.log_diagonal.exp())
        return L, U
        ### END SOLUTION

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, D)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        L, U = self.factors()
        return u @ (L @ U).mT, self.log_diagonal.sum().expand(u.shape[:-1])
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, D)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        L, U = self.factors()
        y = torch.linalg.solve_triangular(L, x.unsqueeze(-1), upper=False, unitriangular=True)
        u = torch.linalg.solve_triangular(U, y, upper=True).squeeze(-1)
        return u, -self.log_diagonal.sum().expand(x.shape[:-1])
        ### END SOLUTION


# %% test="lu_layer_is_a_full_matrix" points=1
check.lu_layer_is_a_full_matrix(LULinear)
### BEGIN HIDDEN TESTS
check.lu_layer_is_a_full_matrix(LULinear, hidden=1)
### END HIDDEN TESTS

# %% test="lu_inverse_undoes_forward" points=1
check.lu_inverse_undoes_forward(LULinear)
### BEGIN HIDDEN TESTS
check.lu_inverse_undoes_forward(LULinear, hidden=1)
### END HIDDEN TESTS

# %% test="lu_log_det_matches_jacobian" points=1
check.lu_log_det_matches_jacobian(LULinear)
### BEGIN HIDDEN TESTS
check.lu_log_det_matches_jacobian(LULinear, hidden=1)
### END HIDDEN TESTS

# %% test="lu_never_becomes_singular" points=1
check.lu_never_becomes_singular(LULinear)
### BEGIN HIDDEN TESTS
check.lu_never_becomes_singular(LULinear, hidden=1)
### END HIDDEN TESTS

# %% test="lu_is_learned" points=1
check.lu_is_learned(LULinear)
### BEGIN HIDDEN TESTS
check.lu_is_learned(LULinear, hidden=1)
### END HIDDEN TESTS

# %% test="lu_batch_shapes" points=1
check.lu_batch_shapes(LULinear)
### BEGIN HIDDEN TESTS
check.lu_batch_shapes(LULinear, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: how do I store a triangle?</summary>
#
# Store a full `(D, D)` parameter and read off a triangle: `torch.tril(P, -1)` is strictly below the diagonal, `torch.triu(P, 1)` strictly above. What stands elsewhere in `P` has no effect and no gradient.
# </details>
# <details><summary>Help: a matrix times a batch</summary>
#
# For `u` `(*batch, D)` the product $Wu$ of each example is `u @ W.mT`. Mind the order of two such products: `u @ A.mT @ B.mT` is $B(Au)$. `torch.linalg.solve_triangular` wants columns: `x.unsqueeze(-1)` is `(*batch, D, 1)`.
# </details>
#
# Three linear flows, trained on correlated Gaussian data. Maximum likelihood should find $WW^\top$ equal to the covariance. **Predict.** What can a rotation alone do? What
# can a rotation after a rescaling do?

# %%
A = torch.tensor([[2.0, 0.0], [1.5, 0.4]])
torch.manual_seed(0)
points = torch.randn(3000, 2) @ A.mT
covariance = points.T @ points / len(points)
# The NLL of the Gaussian with exactly this covariance is its entropy.
best = 0.5 * torch.logdet(2 * math.pi * math.e * covariance).item()
candidates = {
    "orthogonal": [flowlib.OrthogonalLinear(2)],
    "rescaling, then orthogonal": [flowlib.Rescaling(2), flowlib.OrthogonalLinear(2)],
    "PLU": [flowlib.PLULinear(2)],
}
for name, layers in candidates.items():
    linear_flow = flowlib.Flow(flowlib.StandardNormal(2), layers)
    flowlib.fit(linear_flow, points, steps=200, lr=5e-2, max_steps=MAX_STEPS, progress=False)
    with torch.no_grad():
        nll = -linear_flow.log_prob(points).mean().item()
    print(f"{name:27s} {nll:.3f} nats, {nll - best:6.3f} above the Gaussian with the data's covariance")

# %% [markdown]
# A rotation preserves the standard normal: it learns nothing at all. Rescaling and then rotating reaches every covariance, by its eigenvalues and eigenvectors; so does $PLU$. Between nonlinear
# layers, linear ones mix the variables. In Glow they take the place of fixed permutations (notebook 6), which are the special case $L = U = I$.
#
# ### Exercise 9 · In your own words
#
# Difficulty 2/5 (writing) · about 10 minutes · 2 points, graded by hand
#
# (a) You train a residual flow by maximum likelihood and need many samples every second afterwards. Which direction do you make the residual map, and what does your choice cost? (b) A planar flow
# $x = u + v\,\tanh(w^\top u + b)$, with vectors $v, w$ `(D,)` and a number $b$, is called a residual flow on the lecture's slides. Which condition on $v, w$ makes its step a contraction? Is that necessary for invertibility?
# ($\det(I + vw^\top) = 1 + w^\top v$, the matrix determinant lemma, helps.)
#
# *What we look for.* One point for (a): names which of density and sampling becomes one evaluation and which an iteration, and draws a conclusion that follows from it (either choice can be
# defended). One point for (b): the Lipschitz constant $\lVert v\rVert\,\lVert w\rVert\sup\tanh' = \lVert v\rVert\,\lVert w\rVert < 1$, and that it is sufficient, not necessary ($w^\top v > -1$ is enough).

# %% [markdown] manual="which_direction" points=2
# ### BEGIN SOLUTION
# (a) Training calls `inverse`, sampling calls `forward`. With $u = x + g(x)$ each training step is one evaluation of $g$ per layer, and each sample afterwards needs the iteration, tens of evaluations. With
# $x = u + g(u)$ samples are cheap, and every one of the many training steps iterates and solves. If the samples are needed for years, the slow training may pay; to experiment with models, the fast one does.
#
# (b) $g(u) = v\tanh(w^\top u + b)$ has the Jacobian $\tanh'(\cdot)\,vw^\top$ with spectral norm at most $\lVert v\rVert\lVert w\rVert$, since $\sup\tanh' = 1$. Contraction: $\lVert v\rVert\lVert w\rVert < 1$. It is not
# necessary: by the determinant lemma $\det = 1 + \tanh'(\cdot)\,w^\top v$, which stays positive for all $w^\top v > -1$, however long $v$ and $w$ are.
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - $u \mapsto u + g(u)$ is a bijection whenever $\mathrm{Lip}(g) < 1$; the fixed-point iteration inverts it with error at most $\frac{L^n}{1-L}\lVert u_1-u_0\rVert$.
# - The Lipschitz constant of a linear map is its largest singular value. Constants multiply along a network, and the product is an upper bound that grows loose with depth.
# - Spectral normalization must act at every call, and exactly once training is over. Power iteration errs on the dangerous side.
# - $\log\det(I + J)$ is exact by $D$ backward passes. The power series with Hutchinson's trace needs no Jacobian: truncation gives bias, noise gives variance; Russian roulette trades the one for the other.
# - The residual direction is cheap, the other one iterates. Make the density cheap if you train by maximum likelihood.
# - A linear flow is parametrized by factors that are never singular and whose determinant can be read off.
#
# **Common mistakes**: normalizing once before training · the Frobenius norm for the spectral norm · returning an iterate that has not converged · a mean where the slowest example counts · the Jacobian of $g$ without the
# identity · the log-determinant of the inverse taken at $x$ · a Jacobian without gradient · all signs of the series equal · $(\operatorname{tr}J)^k$ for $\operatorname{tr}J^k$ · a diagonal that may cross 0.
#
# ## References
#
# - J. Behrmann, W. Grathwohl, R. T. Q. Chen, D. Duvenaud, J.-H. Jacobsen, *Invertible Residual Networks*, 2018, arXiv:1811.00995.
# - R. T. Q. Chen, J. Behrmann, D. Duvenaud, J.-H. Jacobsen, *Residual Flows for Invertible Generative Modeling*, 2019, arXiv:1906.02735.
# - T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, *Spectral Normalization for Generative Adversarial Networks*, 2018, arXiv:1802.05957.
# - H. Gouk, E. Frank, B. Pfahringer, M. J. Cree, *Regularisation of Neural Networks by Enforcing Lipschitz Continuity*, 2018, arXiv:1804.04368.
# - M. F. Hutchinson, *A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines*, 1990, Communications in Statistics 19(2).
# - D. P. Kingma, P. Dhariwal, *Glow: Generative Flow with Invertible 1×1 Convolutions*, 2018, arXiv:1807.03039.
# - J. M. Tomczak, M. Welling, *Improving Variational Auto-Encoders using Householder Flow*, 2016, arXiv:1611.09630.
# - G. Papamakarios, E. Nalisnick, D. J. Rezende, S. Mohamed, B. Lakshminarayanan, *Normalizing Flows for Probabilistic Modeling and Inference*, 2021, arXiv:1912.02762.
