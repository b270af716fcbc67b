# %% [markdown]
# # 8 · Variational inference with flows
#
# The encoder of a VAE answers with a Gaussian. If the true posterior has two peaks, or a bend, the answer is wrong, and the ELBO pays for
# it. A flow can bend the Gaussian: draw $u$, move it by an invertible map $T$, and call $z = T(u)$ the draw. This use of them made flows
# widely known (Rezende & Mohamed 2015). It turns one habit of this course around: the density is needed **at our own draws only**. So
# the map must *have* an inverse, but nobody ever computes it.
#
# **You will be able to**
# - write the free energy and the ELBO of a flow posterior, and say which term a well-known text forgot;
# - derive the planar flow's determinant, state when it has an inverse without the two usual mistakes, and show what breaks where it has none;
# - implement the planar flow both ways, with the right gradient through a root that was found by bisection;
# - fit flows to densities known up to a factor, with the true normalizer to compare with;
# - split the ELBO's gap into an approximation gap and an amortization gap, and measure both;
# - say in which sense a flow prior and a flow posterior are the same thing, and in which they are not.
#
# **Time:** about 75 minutes of reading, 120 minutes of exercises.
# **Needs:** notebooks 1, 2 and 4 (change of variables, determinants, ELBO); 5 and 7 (flow priors, autoregressive flows) for the last section.

# %%
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from autograder_tests.checks import variational_inference as check
from flowlib import data, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(8)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $x$ | `(*batch, D)` | data |
# | $S, M, K$ | | number of draws for each example, of latent variables, of layers |
# | $u$ | `(S, *batch, M)` | base variable, $u \sim q_0(u\mid x)$: a Gaussian that the encoder gives |
# | $z = T(u)$ | `(S, *batch, M)` | latent variable; in sections 2 to 6 there is no $x$, and $u$ and $z$ are `(*batch, D)` |
# | $q_0$, $q$ | | density of $u$, density of $z$ |
# | $p(z\mid x)$ | event `(M,)` | exact posterior |
# | $U(z)$ | `(*batch,)` | energy in nats: a target $p(z) = e^{-U(z)}/Z$ whose normalizer $Z$ need not be known |
# | $v, w$ | `(D,)` or `(*batch, D)` | planar flow: the direction of the move, the direction that is looked along |
# | $b$ | `()` or `(*batch,)` | planar flow: offset |
# | $\mathcal F$ | `()` | free energy, in nats |
#
# **Direction.** As everywhere, `forward` goes from base to latent and returns $(z, \log|\det \partial z/\partial u|)$; `inverse` goes back
# and returns $(u, \log|\det \partial u/\partial z|)$. Papers on variational inference write $z_0 \to z_1 \to \dots \to z_K$ for the same
# arrow and call the planar flow's vector $\mathbf u$. Here $u$ is the base variable, as in the whole course, and the vector is $v$.

# %% [markdown]
# ## 1 · A posterior with two peaks
#
# You read the *size* of a quantity off a bad instrument: $x = |z| + \text{noise}$. The sign is lost. With the prior
# $z \sim \mathcal N(0, 1)$ and noise of standard deviation 0.3,
#
# $$p(z\mid x) \propto e^{-z^2/2}\; e^{-(x - |z|)^2/(2\cdot 0.3^2)} .$$
#
# There is one latent variable: the normalizer is an integral over a line, and a sum over a fine grid computes it. The grid also gives the
# divergence $\mathrm{KL}(q\,\|\,p(z\mid x))$ of any candidate $q$, which is exactly what the ELBO loses (notebook 4).
#
# **Predict.** We observe $x = 1.5$. What does the best Gaussian look like, in the sense of this KL? How many nats does it lose?

# %%
NOISE = 0.3
axis = torch.linspace(-5, 5, 2001, dtype=torch.float64)
log_step = math.log(axis[1] - axis[0])


def log_joint_of_size(x):
    """log p(x, z) on the axis for every x `(B,)`: `(B, 2001)`."""
    return Normal(0.0, 1.0).log_prob(axis) + Normal(axis.abs(), NOISE).log_prob(x[:, None])


def kl_on_axis(log_q, log_p):
    """KL(q ‖ p) in nats of log-densities on the axis, `(*batch, 2001)` → `(*batch,)`."""
    return torch.where(log_q > -700, log_q.exp() * (log_q - log_p), 0.0).sum(-1) * math.exp(log_step)


x_seen = torch.tensor([1.5], dtype=torch.float64)
log_evidence_1d = log_joint_of_size(x_seen).logsumexp(-1) + log_step
log_posterior_1d = (log_joint_of_size(x_seen) - log_evidence_1d[:, None])[0]

means, stds = torch.linspace(-2, 2, 41).double(), torch.linspace(0.1, 2.0, 39).double()
candidates = Normal(means[:, None, None], stds[None, :, None]).log_prob(axis)
table = kl_on_axis(candidates, log_posterior_1d)
best = divmod(int(table.argmin()), len(stds))
centered = int(table[20].argmin())  # the mean 0 stands in row 20
print(
    f"best Gaussian: mean {means[best[0]]:.2f}, std {stds[best[1]]:.2f}, KL {table[best]:.4f} nats; log 2 = {math.log(2):.4f}"
)
print(f"best centered one:       std {stds[centered]:.2f}, KL {table[20, centered]:.4f} nats")

figure, ax = plt.subplots(figsize=(7, 3.4))
ax.plot(axis, log_posterior_1d.exp(), color=plotting.PALETTE["black"], label="exact posterior")
ax.plot(axis, candidates[best].exp(), color=plotting.PALETTE["vermilion"], label="best Gaussian")
ax.plot(
    axis, candidates[20, centered].exp(), "--", color=plotting.PALETTE["blue"], label="best centered Gaussian"
)
ax.set(title="posterior of z, given |z| + noise = 1.5", xlabel="z", ylabel="density", xlim=(-3, 3))
ax.legend()
plt.show()

# %% [markdown]
# **Figure.** The exact posterior (black) has two equal peaks, left and right of zero. The best Gaussian (vermilion) covers one of them and
# ignores the other; the best one centered at zero (dashed) covers both and the empty middle, and loses more.
#
# $\mathrm{KL}(q\,\|\,p)$ is an average under $q$. It punishes $q$ for being where $p$ is not, and does not see what $q$ leaves out.
# Covering one of two equal peaks costs $\log 2$: there $q$ is twice as high as $p$. No Gaussian in our table does better. We need a richer
# family of $q$: we must be able to draw from it, with a gradient, and to know its density at the draw.

# %% [markdown]
# ## 2 · The density of what you drew
#
# Draw $u \sim q_0$ and put $z = T(u)$ with an invertible, differentiable $T$. The change of variables (notebook 1) says
#
# $$\log q(z) = \log q_0(u) - \log\left|\det\frac{\partial z}{\partial u}\right|, \qquad z = T(u).$$
#
# To evaluate $q$ at a *given* $z$ one has to find its $u$: an inverse. To evaluate it at a **drawn** $z$, nothing has to be found. The $u$
# is still in memory. And variational inference asks about drawn points only, because its objectives are expectations under $q$:
#
# $$\mathbb E_{q(z)}[f(z)] = \mathbb E_{q_0(u)}[f(T(u))] .$$
#
# For several layers, $z_0 = u$ and $z_k = T_k(z_{k-1})$ up to $z = z_K$, the log-determinants add up, each taken
# **at $z_{k-1}$, where the point has arrived**.
#
# By machine: a flow of `flowlib`, its density at its own draws with and without the inverse.

# %%
torch.manual_seed(0)
some_flow = flowlib.real_nvp(2, num_layers=4, hidden=(16,), zero_last=False).double()
base = flowlib.StandardNormal(2).double()
with torch.no_grad():
    u = base().sample((1000,))
    z, log_det = some_flow.forward(u)
    from_the_draw = base().log_prob(u) - log_det
    by_the_inverse = some_flow.log_prob(z)
print("largest difference:", (from_the_draw - by_the_inverse).abs().max().item())

# %% [markdown]
# ### The free energy
#
# Let the target be known only up to a factor: $p(z) = e^{-U(z)}/Z$. Physics calls $U$ an energy. For a posterior, $U(z) = -\log p(x, z)$
# and $Z = p(x)$. Then
#
# $$\mathrm{KL}(q\,\|\,p) = \mathbb E_q[\log q(z) + U(z)] + \log Z
# \qquad\Longrightarrow\qquad
# \mathcal F := \mathbb E_q[\log q(z) + U(z)] = \mathrm{KL}(q\,\|\,p) - \log Z \;\ge\; -\log Z .$$
#
# $\mathcal F$ is the **free energy**, and for a posterior it is minus the ELBO. It needs $U$ but not $Z$. With the flow put in,
#
# $$\mathcal F = \mathbb E_{q_0(u)}\Bigl[\log q_0(u) - \log\Bigl|\det\frac{\partial z}{\partial u}\Bigr| + U(T(u))\Bigr].$$
#
# Three terms, three forces: be spread out in $u$; stretch; go downhill.
#
# **Predict.** Suppose $q$ *is* the target. How does $\log q(z) + U(z)$ vary from draw to draw?
#
# <details><summary>Answer</summary>
#
# Not at all. $\log q(z) = -U(z) - \log Z$ for every $z$, so each draw gives $-\log Z$ exactly. One draw is enough. This is the oracle of
# the next exercise, as the exact posterior was in notebook 4.
# </details>
#
# ### Exercise 1 · The free energy
#
# Difficulty 2/5 (three terms, three signs) · about 15 minutes · 5 points
#
# Estimate $\mathcal F$ by the mean over `num_samples` draws. `energy(z)` is $U$, one number per point. `base()` is the distribution $q_0$; it
# may have parameters of its own. `transform(u)` returns `(z, log_det)`. The transforms that you are given have no `inverse`.


# %% solution="free_energy"
def free_energy(energy, base, transform, num_samples):
    """Monte-Carlo estimate of E_q[log q(z) + U(z)] for z = T(u), u ~ q_0.

    Args:
        energy: U, from `(*batch, D)` to `(*batch,)`, in nats.
        base: `base()` is the distribution q_0, event shape `(D,)`, with `rsample`.
        transform: from u `(*batch, D)` to (z `(*batch, D)`, log|det ∂z/∂u| `(*batch,)`).
        num_samples: S ≥ 1.

    Returns:
        A scalar in nats, with gradient to the parameters of base and transform.
    """
    ### BEGIN SOLUTION
    q0 = base()
    u = q0.rsample((num_samples,))
    z, log_det = transform(u)
    log_q = q0.log_prob(u) - log_det
    return (log_q + energy(z)).mean()
    ### END SOLUTION


# %% test="free_energy_is_exact_for_the_target" points=2
check.free_energy_is_exact_for_the_target(free_energy)
### BEGIN HIDDEN TESTS
check.free_energy_is_exact_for_the_target(free_energy, hidden=1)
### END HIDDEN TESTS

# %% test="free_energy_averages_to_closed_form" points=1
check.free_energy_averages_to_closed_form(free_energy)
### BEGIN HIDDEN TESTS
check.free_energy_averages_to_closed_form(free_energy, hidden=1)
### END HIDDEN TESTS

# %% test="free_energy_gradient_reaches_the_transform" points=1
check.free_energy_gradient_reaches_the_transform(free_energy)
### BEGIN HIDDEN TESTS
check.free_energy_gradient_reaches_the_transform(free_energy, hidden=1)
### END HIDDEN TESTS

# %% test="free_energy_gradient_reaches_the_base" points=1
check.free_energy_gradient_reaches_the_base(free_energy)
### BEGIN HIDDEN TESTS
check.free_energy_gradient_reaches_the_base(free_energy, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: nudge</summary>
#
# Follow one point. Where was it drawn, where did it land, and which of the three terms is asked about which of the two places?
# </details>
# <details><summary>Help: formula</summary>
#
# $\log q(z) = \log q_0(u) - \log|\det\partial z/\partial u|$. A map that stretches makes the density smaller.
# </details>
# <details><summary>Help: "this map has no inverse"</summary>
#
# Something in your function asks for the density at a given $z$. Use the $u$ that you drew.
# </details>
# <details><summary>Help: the base gets no gradient</summary>
#
# `sample` cuts the path from the base's parameters to the draw; `rsample` keeps it (notebook 4, section 3).
# </details>

# %% [markdown]
# ## 3 · The planar flow
#
# Which maps? In variational inference the map of *each example* comes out of the encoder, parameters and all. So it should have few
# parameters and a cheap determinant; an easy inverse is worth nothing. Rezende & Mohamed chose
#
# $$z = T(u) = u + v\,\tanh(w^\top u + b), \qquad v, w \in \mathbb R^D,\; b \in \mathbb R .$$
#
# Read it from inside. $w^\top u + b$ is a number, 0 on a plane (hence the name) and growing with the distance from it. $\tanh$ turns it into an
# amount between $-1$ on one side and $1$ on the other, with a smooth step at the plane. Every point moves by this amount **along one and the
# same vector** $v$. That is $2D + 1$ parameters.

# %%


def planar_layer(v, w, b=0.0):
    """flowlib's layer with given parameters."""
    layer = flowlib.Planar(len(v))
    with torch.no_grad():
        layer.v.copy_(torch.tensor(v))
        layer.w.copy_(torch.tensor(w))
        layer.b.fill_(b)
    return layer


torch.manual_seed(3)
pull, push = planar_layer([-3.0, 0.0], [1.2, 0.4]), planar_layer([2.5, 1.5], [1.2, -0.6])
many_layers = flowlib.Composition([planar_layer(v, w) for v, w in torch.randn(6, 2, 2).mul(1.3).tolist()])
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6))
for ax, layer, title in zip(
    axes,
    (pull, push, many_layers),
    ("$w^\\top v < 0$: pulls together", "$w^\\top v > 0$: pushes apart", "six layers"),
    strict=True,
):
    plotting.plot_warped_grid(
        ax, layer, extent=(-2.5, 2.5, -2.5, 2.5), title=title, xlabel="$z_1$", ylabel="$z_2$"
    )
plt.show()

# %% [markdown]
# **Figure.** Where a planar flow carries a square grid. Left, with $w^\top v < 0$: lines crowd along one oblique line (a "plane" of two
# dimensions), so density rises there. Middle, with $w^\top v > 0$: the sheet is stretched along a band, so density falls there. Far from the
# band, left and right, the grid is only shifted, in opposite directions. Right: six layers in a row squeeze, stretch and shear the sheet, and
# never tear or fold it. One layer does one thing at one plane. That is little, and so many layers are needed.
#
# ### The determinant
#
# The chain rule gives the Jacobian. With $a = w^\top u + b$, $\tanh'(a) = 1 - \tanh^2(a)$, and $\delta_{ij} = 1$ for $i = j$, else 0,
#
# $$J_{ij} = \frac{\partial z_i}{\partial u_j} = \delta_{ij} + v_i \tanh'(a)\, w_j , \qquad J = I + \tanh'(a)\, v w^\top .$$
#
# A full matrix, and yet a special one: the identity plus a matrix of rank one. **The matrix determinant lemma** says, for any vectors
# $v, w$,
#
# $$\det(I + v w^\top) = 1 + w^\top v .$$
#
# *Proof.* Multiply three block matrices of size $D + 1$:
#
# $$\begin{pmatrix} I & 0 \\ w^\top & 1\end{pmatrix}
# \begin{pmatrix} I + v w^\top & v \\ 0 & 1\end{pmatrix}
# \begin{pmatrix} I & 0 \\ -w^\top & 1\end{pmatrix}
# = \begin{pmatrix} I & v \\ 0 & 1 + w^\top v\end{pmatrix}.$$
#
# All four are block-triangular, so each determinant is the product of those of the diagonal blocks. The outer two on the left have
# determinant 1, the middle one $\det(I + v w^\top)$, the result $1 + w^\top v$. $\square$
#
# Sympy multiplies the blocks for a **symbolic** dimension $n$, so this is the proof and not an example:

# %%
n = sp.Symbol("n", integer=True, positive=True)
v_symbol, w_symbol = sp.MatrixSymbol("v", n, 1), sp.MatrixSymbol("w", n, 1)
identity, one = sp.Identity(n), sp.Identity(1)
left = sp.BlockMatrix([[identity, sp.ZeroMatrix(n, 1)], [w_symbol.T, one]])
middle = sp.BlockMatrix([[identity + v_symbol * w_symbol.T, v_symbol], [sp.ZeroMatrix(1, n), one]])
right = sp.BlockMatrix([[identity, sp.ZeroMatrix(n, 1)], [-w_symbol.T, one]])
blocks = sp.block_collapse(left * middle * right).blocks
product = [[sp.expand(blocks[i, j]) for j in range(2)] for i in range(2)]
print("blocks of the product:", product)
assert product == [[identity, v_symbol], [sp.ZeroMatrix(1, n), one + w_symbol.T * v_symbol]]

# %% [markdown]
# So $\log|\det J| = \log|1 + \tanh'(w^\top u + b)\, w^\top v|$: a few sums of $D$ terms, where a determinant in general takes about $D^3$
# operations.
#
# ### Exercise 2 · The determinant as a formula
#
# Difficulty 1/5 (the lemma and the chain rule) · about 5 minutes · 2 points
#
# `u`, `v`, `w` are lists of $D$ symbols, `b` is a symbol. Build no matrix.


# %% solution="planar_determinant"
def planar_determinant(u, v, w, b):
    """det ∂z/∂u of z = u + v tanh(wᵀu + b), a sympy expression.

    Args:
        u, v, w: lists of D sympy symbols.
        b: a sympy symbol.
    """
    ### BEGIN SOLUTION
    a = sum(wi * ui for wi, ui in zip(w, u, strict=True)) + b
    inner = sum(wi * vi for wi, vi in zip(w, v, strict=True))
    return 1 + (1 - sp.tanh(a) ** 2) * inner
    ### END SOLUTION


# %% test="determinant_is_that_of_the_jacobian" points=2
check.determinant_is_that_of_the_jacobian(planar_determinant)
### BEGIN HIDDEN TESTS
check.determinant_is_that_of_the_jacobian(planar_determinant, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: nudge</summary>
#
# In $J = I + \tanh'(a)\,v w^\top$ let the number $\tanh'(a)$ belong to one of the vectors. What does the lemma say then?
# </details>
# <details><summary>Help: right for D = 1, wrong for D = 2</summary>
#
# $w^\top v$ is a sum of products. Not a product of sums, and the determinant is not the product of the diagonal.
# </details>

# %% [markdown]
# ## 4 · When has it an inverse?
#
# Multiply $z = u + v\tanh(w^\top u + b)$ by $w^\top$ and add $b$. With $a = w^\top u + b$ and $y = w^\top z + b$,
#
# $$y = a + w^\top v\,\tanh(a) =: f(a) .$$
#
# Once $a$ is known, so is all of $u = z - v\tanh(a)$. And two numbers $a$ with the same $f(a)$ give two points $u$ with the same $z$. So the map
# of $D$ variables has an inverse if and only if the function $f$ of **one** variable has. As $f(a)$ runs from $-\infty$ to $\infty$, it must
# increase; and its slope must not be 0 anywhere, or a density would be infinite there:
#
# $$f'(a) = 1 + w^\top v\,\tanh'(a) > 0 \quad\text{for all } a .$$
#
# $\tanh'$ takes all values in $(0, 1]$, and 1 at $a = 0$. So the condition is
#
# $$\boxed{\,w^\top v > -\frac{1}{\sup \tanh'} = -1\,}$$
#
# Two slips are common. Write $\sigma$ for the activation, here $\tanh$. The lecture's slides divide by $\sup\sigma$, its largest value, in place of
# $\sup\sigma'$, its largest *slope*. For $\tanh$ both are 1, by luck. A set of lecture notes asks, in our letters, for
# $w^\top v\,\sigma'(a) \ge -1$, not strictly.
#
# **Predict.** Take $\sigma(a) = \tanh(3a)$. What do $w^\top v > -1/\sup\sigma$ and $w^\top v > -1/\sup\sigma'$ say, and is
# $a \mapsto a - \tfrac12\tanh(3a)$ increasing?

# %%
steep = 3 - 3 * torch.tanh(3 * axis) ** 2  # the slope of tanh(3a)
print("largest value:", torch.tanh(3 * axis).max().item(), "| largest slope:", steep.max().item())
print(
    "smallest slope of a - tanh(3a)/2:",
    (1 - 0.5 * steep).min().item(),
    "(by the largest value, -1/2 would be allowed)",
)

# %% [markdown]
# ### What breaks without it
#
# Take $D = 1$, $w = 1$, $b = 0$, $w^\top v = -2.5$. Now $f$ goes up, down, and up again: the line is folded, and in the middle three
# different $u$ land on the same $z$. The formula $\log q_0(u) - \log|f'(u)|$ can still be computed; nothing raises an error. But it counts
# one of the three branches, and the density of $z$ is the sum of all three.

# %%
FOLD = -2.5
turn = math.atanh(math.sqrt(1 + 1 / FOLD))  # where f'(a) = 0
fine = np.linspace(-8, 8, 200_001)


def f(a, inner=FOLD):
    return a + inner * np.tanh(a)


def claimed_log_density(a):
    """What a flow would report for the draw a: the formula with one branch."""
    return -0.5 * a**2 - 0.5 * math.log(2 * math.pi) - np.log(np.abs(1 + FOLD * (1 - np.tanh(a) ** 2)))


def branches(z):
    """All a with f(a) = z, `(3, n)`; NaN where a branch does not reach z. Each branch is monotone: a table is inverted."""
    found = []
    for low, high in ((-12, -turn), (-turn, turn), (turn, 12)):
        a = np.linspace(low, high, 200_001)[1:-1]
        order = slice(None) if f(a[1]) > f(a[0]) else slice(None, None, -1)
        found.append(np.interp(z, f(a)[order], a[order], left=np.nan, right=np.nan))
    return np.array(found)


def true_log_density(z):
    return np.log(np.nansum(np.exp(claimed_log_density(branches(z))), axis=0))


rng = np.random.default_rng(0)
a_drawn = rng.normal(size=20_000)
excess = claimed_log_density(a_drawn) - true_log_density(f(a_drawn))
print(f"draws whose claimed density is below the true one: {(excess < -1e-6).mean():.0%}")
print(
    f"E[log claimed - log true] = {excess.mean():.3f} nats: a 'KL divergence' of q to itself that is negative"
)
first_root = np.nanmin(branches(f(fine)), axis=0)  # an inverse that returns the leftmost root
kept = np.abs(first_root - fine) < 1e-3
mass = (np.exp(-0.5 * fine**2) / math.sqrt(2 * math.pi))[kept].sum() * (fine[1] - fine[0])
print(f"mass of the 'density' evaluated through one inverse: {mass:.3f}")

z_axis = np.linspace(-3, 3, 1501)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8))
for inner, color in ((3.0, "green"), (-0.5, "blue"), (-1.0, "purple"), (FOLD, "vermilion")):
    axes[0].plot(fine, f(fine, inner), color=plotting.PALETTE[color], label=f"$w^\\top v = {inner:g}$")
axes[0].set(title="$f(a) = a + w^\\top v\\,\\tanh(a)$", xlabel="a", ylabel="f(a)", xlim=(-3, 3), ylim=(-3, 3))
axes[0].legend(loc="lower right")
axes[1].hist(
    f(a_drawn), bins=120, range=(-3, 3), density=True, color=plotting.PALETTE["sky"], alpha=0.6, label="draws"
)
axes[1].plot(
    z_axis,
    np.exp(true_log_density(z_axis)),
    color=plotting.PALETTE["black"],
    label="sum of branches",
)
with np.errstate(invalid="ignore"):
    axes[1].plot(
        z_axis,
        np.exp(claimed_log_density(np.nanmin(branches(z_axis), axis=0))),
        color=plotting.PALETTE["vermilion"],
        label="leftmost root",
    )
axes[1].set(
    title=f"density of z for $w^\\top v = {FOLD}$",
    xlabel="z",
    ylabel="density",
    xlim=(-2.5, 3.5),
    ylim=(0, 2.4),
)
axes[1].legend(loc="upper right", fontsize=9)
plt.show()

# %% [markdown]
# **Figure.** Left: $f$ for four values of $w^\top v$. At 3 and $-0.5$ it increases; at $-1$ it is flat at one point; at $-2.5$ it folds,
# and horizontal lines near zero meet it three times. Right: the draws of the folded map as a histogram, the sum over all branches (black),
# which fits them, and the formula with a single root (vermilion), which lies below it wherever the branches overlap.
#
# Here is why this is worse than an inaccuracy. Claimed densities are too **low** at the draws, so $\mathbb E_q[\log q]$ comes out too
# small, and the free energy can fall **below** $-\log Z$. The bound is no bound any more. An optimizer looks for small free energies: it will
# find the fold, and you will report an ELBO above $\log p(x)$.
#
# **And equality?** At $w^\top v = -1$ there is an inverse, like that of $u^3$ (notebook 1). But the slope at $a = 0$ is 0, so the
# log-determinant is $-\infty$ and the density of $z$ infinite at one point:

# %%
a = np.array([0.1, 1e-2, 1e-4, 0.0])
with np.errstate(divide="ignore"):
    for inner in (-1.0, -0.999):
        print(
            f"w'v = {inner}: log|det| at a = 0.1, 0.01, 0.0001, 0:",
            np.log(np.tanh(a) ** 2 + (1 + inner) * (1 - np.tanh(a) ** 2)).round(2),
        )

# %% [markdown]
# ### The constraint, built in
#
# Let the optimizer choose $v$ freely, and change it a little before use (Rezende & Mohamed, appendix). Only the number $w^\top v$ must be
# changed, so move $v$ along $w$ and leave the rest alone:
#
# $$\hat v = v + \bigl(m(w^\top v) - w^\top v\bigr)\frac{w}{|w|^2}, \qquad m(c) = -1 + \log(1 + e^{c}) .$$
#
# Here $|w|^2 = w^\top w$. Check by multiplying with $w^\top$: $w^\top\hat v = m(w^\top v)$. And $m$ increases smoothly from $-1$, which it never
# reaches, to $\infty$.
#
# ### Exercise 3 · The constraint
#
# Difficulty 2/5 (a projection, and an overflow) · about 10 minutes · 4 points
#
# Return $\hat v$ for one pair of vectors or for a batch of them. $e^{w^\top v}$ may overflow; $\hat v$ does not.


# %% solution="constrain"
def constrain(v, w):
    """v̂ = v + (m(wᵀv) − wᵀv) w/|w|² with m(c) = −1 + log(1 + exp(c)), so that wᵀv̂ > −1.

    Args:
        v, w: tensors `(*batch, D)`; w is nowhere 0. wᵀv may be anything, also ±1000.

    Returns:
        v̂, tensor `(*batch, D)`.
    """
    ### BEGIN SOLUTION
    product = (w * v).sum(-1, keepdim=True)
    wanted = torch.logaddexp(product, torch.zeros_like(product)) - 1  # log(e^c + e^0), without overflow
    return v + (wanted - product) * w / (w * w).sum(-1, keepdim=True)
    ### END SOLUTION


# %% test="constraint_is_strict" points=1
check.constraint_is_strict(constrain)
### BEGIN HIDDEN TESTS
check.constraint_is_strict(constrain, hidden=1)
### END HIDDEN TESTS

# %% test="constraint_acts_along_w_alone" points=1
check.constraint_acts_along_w_alone(constrain)
### BEGIN HIDDEN TESTS
check.constraint_acts_along_w_alone(constrain, hidden=1)
### END HIDDEN TESTS

# %% test="constraint_formula" points=1
check.constraint_formula(constrain)
### BEGIN HIDDEN TESTS
check.constraint_formula(constrain, hidden=1)
### END HIDDEN TESTS

# %% test="constraint_survives_large_products" points=1
check.constraint_survives_large_products(constrain)
### BEGIN HIDDEN TESTS
check.constraint_survives_large_products(constrain, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: shapes do not fit</summary>
#
# $w^\top v$ is one number per example, $w$ is $D$ numbers per example. `sum(-1, keepdim=True)` keeps an axis of length 1 to multiply along.
# </details>
# <details><summary>Help: wᵀv̂ is right for |w| = 1 only</summary>
#
# Adding $\delta\,w/|w|^2$ changes $w^\top v$ by $\delta\,w^\top w/|w|^2 = \delta$. Without the square of the length it does not.
# </details>
# <details><summary>Help: inf or nan</summary>
#
# $e^{800}$ overflows. `torch.logaddexp(c, 0)` and `nn.functional.softplus(c)` compute $\log(1 + e^c)$ without it.
# </details>
#
# In floating point strictness has a limit of its own: $-1 + 10^{-20}$ *is* $-1$. `flowlib.Planar` keeps the number
# $1 + w^\top\hat v = \log(1 + e^{w^\top v})$ itself, and computes the slope as $\tanh^2(a) + (1 + w^\top\hat v)\,(1 - \tanh^2(a))$: two
# terms that are never negative, so nothing cancels.

# %% [markdown]
# ## 5 · The layer, both ways
#
# ### Exercise 4 · Forward
#
# Difficulty 2/5 (two formulas, careful shapes) · about 15 minutes · 5 points
#
# As a function, with the parameters as arguments, because an encoder will supply them: either one `v`, `w`, `b` for all points, or one for
# each example. Here `v` already fulfills $w^\top v > -1$; do not constrain it again.


# %% solution="planar_forward"
def planar_forward(u, v, w, b):
    """Base to latent: z = u + v tanh(wᵀu + b), with its log-determinant.

    Args:
        u: tensor `(*batch, D)`.
        v, w: tensors `(D,)`, or `(B, D)` when batch ends in B; wᵀv > −1.
        b: tensor `()`, or `(B,)`.

    Returns:
        (z `(*batch, D)`, log|det ∂z/∂u| `(*batch,)`).
    """
    ### BEGIN SOLUTION
    amount = torch.tanh((w * u).sum(-1) + b)
    z = u + v * amount.unsqueeze(-1)
    log_det = torch.log1p((1 - amount**2) * (w * v).sum(-1))
    return z, log_det
    ### END SOLUTION


# %% test="planar_moves_along_v" points=1
check.planar_moves_along_v(planar_forward)
### BEGIN HIDDEN TESTS
check.planar_moves_along_v(planar_forward, hidden=1)
### END HIDDEN TESTS

# %% test="planar_log_det_matches_jacobian" points=2
check.planar_log_det_matches_jacobian(planar_forward)
### BEGIN HIDDEN TESTS
check.planar_log_det_matches_jacobian(planar_forward, hidden=1)
### END HIDDEN TESTS

# %% test="planar_batch_shapes" points=1
check.planar_batch_shapes(planar_forward)
### BEGIN HIDDEN TESTS
check.planar_batch_shapes(planar_forward, hidden=1)
### END HIDDEN TESTS

# %% test="planar_parameters_of_each_example" points=1
check.planar_parameters_of_each_example(planar_forward)
### BEGIN HIDDEN TESTS
check.planar_parameters_of_each_example(planar_forward, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: nudge</summary>
#
# First compute the one number $a = w^\top u + b$ per point. Both results are made of $\tanh(a)$.
# </details>
# <details><summary>Help: it fails when every example has its own w</summary>
#
# `u @ w` contracts with a single vector. Multiply entry by entry and sum over the last axis: broadcasting does the rest.
# </details>
# <details><summary>Help: shapes (3, 2) and (3,) do not broadcast</summary>
#
# $\tanh(a)$ is one number per point and $v$ has $D$ entries: give $\tanh(a)$ an axis of length 1 at the end, with `unsqueeze(-1)`.
# </details>
#
# ### The inverse, for when it is wanted after all
#
# Training by own draws needs no inverse. Drawing a picture of $q$, or asking for the density of somebody else's point, does. Section 4 has
# reduced it to one equation in one unknown: find $a$ with
#
# $$f(a) = a + w^\top v\,\tanh(a) = y, \qquad y = w^\top z + b .$$
#
# $f$ increases, and $\tanh$ lies between $-1$ and $1$, so the root lies in the bracket $[\,y - |w^\top v|,\; y + |w^\top v|\,]$ wherever $y$ is.
# **Bisect**: look at the middle of the bracket, keep the half that holds the root. Sixty halvings use up all the digits of a float64. Then
# $u = z - v\tanh(a)$.
#
# **Predict.** You find $a$ in this way, with PyTorch tensors, and call `backward()`. The bisection consists of comparisons and of midpoints
# of the first bracket. What does autograd believe $\partial a/\partial y$ to be, and what is it?
#
# <details><summary>Answer</summary>
#
# Every midpoint is a weighted mean of $y - |w^\top v|$ and $y + |w^\top v|$, with weights that are plain numbers. So autograd says
# $\partial a/\partial y = 1$. Differentiate $f(a) = y$ by $y$ instead (the implicit function theorem): $f'(a)\,\partial a/\partial y = 1$, so
# $\partial a/\partial y = 1/f'(a)$. Values right, gradient wrong, no error: as with `sample` for `rsample` in notebook 4.
# </details>
#
# **The remedy** costs one line. Search without gradient, which gives the number $a^\ast$. Then take one Newton step *with* gradient,
#
# $$a = a^\ast - \frac{f(a^\ast) - y}{f'(a^\ast)} .$$
#
# Its value is $a^\ast$, as the residual $f(a^\ast) - y$ is zero. Its derivative by $y$ is $1/f'(a^\ast)$. By any parameter $\theta$ of $f$, such as
# $w^\top v$, it is $-\partial_\theta f(a^\ast)/f'(a^\ast)$. Those are the derivatives of the true root.

# %%
wv, y0 = torch.tensor(3.0, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)


def bisect(y, inner, steps=60):
    low, high = y - inner.abs(), y + inner.abs()
    for _ in range(steps):
        middle = (low + high) / 2
        below = middle + inner * middle.tanh() < y
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return middle


naive = bisect(y0, wv)
with torch.no_grad():
    start = bisect(y0, wv)
slope_at_root = 1 + wv * (1 - start.tanh() ** 2)
stepped = start - (start + wv * start.tanh() - y0) / slope_at_root
for name, root in (("through the search", naive), ("with a Newton step", stepped)):
    print(f"{name}: a = {root.item():.12f}, da/dy = {torch.autograd.grad(root, y0)[0].item():.6f}")
print(f"implicit function theorem:                   1/f'(a) = {1 / slope_at_root.item():.6f}")

# %% [markdown]
# ### Exercise 5 · Inverse
#
# Difficulty 3/5 (a search and its gradient) · about 25 minutes · 5 points
#
# Search without gradient, take the Newton step with gradient, and compute `u` and `log_det` from the result. Here one `v`, `w`, `b` serves all
# points. The gradients with respect to `z`, `v`, `w` and `b` must be right, too.


# %% solution="planar_inverse"
def planar_inverse(z, v, w, b):
    """Latent to base: the u with u + v tanh(wᵀu + b) = z, and its log-determinant; both with the right gradient.

    Args:
        z: tensor `(*batch, D)`.
        v, w: tensors `(D,)` with wᵀv > −1.
        b: tensor `()`.

    Returns:
        (u `(*batch, D)`, log|det ∂u/∂z| `(*batch,)`).
    """
    ### BEGIN SOLUTION
    inner = (w * v).sum(-1)
    y = (w * z).sum(-1) + b
    with torch.no_grad():
        low, high = y - inner.abs(), y + inner.abs()
        for _ in range(60):
            a = (low + high) / 2
            below = a + inner * torch.tanh(a) < y
            low, high = torch.where(below, a, low), torch.where(below, high, a)
    slope = 1 + inner * (1 - torch.tanh(a) ** 2)
    a = a - (a + inner * torch.tanh(a) - y) / slope
    amount = torch.tanh(a)
    u = z - v * amount.unsqueeze(-1)
    log_det = -torch.log1p(inner * (1 - amount**2))
    return u, log_det
    ### END SOLUTION


# %% test="inverse_undoes_forward" points=1
check.inverse_undoes_forward(planar_inverse)
### BEGIN HIDDEN TESTS
check.inverse_undoes_forward(planar_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="inverse_holds_far_away_and_steep" points=1
check.inverse_holds_far_away_and_steep(planar_inverse)
### BEGIN HIDDEN TESTS
check.inverse_holds_far_away_and_steep(planar_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="inverse_log_det_is_minus_that_of_forward" points=1
check.inverse_log_det_is_minus_that_of_forward(planar_inverse)
### BEGIN HIDDEN TESTS
check.inverse_log_det_is_minus_that_of_forward(planar_inverse, hidden=1)
### END HIDDEN TESTS

# %% test="inverse_carries_the_right_gradient" points=2
check.inverse_carries_the_right_gradient(planar_inverse)
### BEGIN HIDDEN TESTS
check.inverse_carries_the_right_gradient(planar_inverse, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: template</summary>
#
# `inner = …` one number · `y = …` one number per point · with `torch.no_grad()`: bracket, loop · one Newton step · `u = …` · `log_det = …`
# at the root.
# </details>
# <details><summary>Help: it fails far away</summary>
#
# A bracket of fixed ends does not know where $z$ is. How far can $a$ be from $y$?
# </details>
# <details><summary>Help: values are right, gradients are not</summary>
#
# Where does your $a$ come from, in autograd's eyes? A result of `torch.no_grad()` is a constant; a result of the loop is a mean of the
# bracket's ends.
# </details>
#
# `flowlib.Planar.inverse` replaces the bisection by Newton's method, started at a point from which it can be shown never to overshoot; the
# last step is the same. Its report, on three variables:

# %%
torch.manual_seed(0)
examined = flowlib.Planar(3).double()
with torch.no_grad():
    for p in examined.parameters():
        p.add_(torch.randn_like(p))
print(verify.check_layer(examined, 3))

# %% [markdown]
# ## 6 · Two energies
#
# The paper shows its flow on four densities of the plane that are known up to a factor. We take the first two,
#
# $$U_1(z) = \tfrac12\Bigl(\tfrac{|z| - 2}{0.4}\Bigr)^2 - \log\Bigl(e^{-\frac12\left(\frac{z_1-2}{0.6}\right)^2} + e^{-\frac12\left(\frac{z_1+2}{0.6}\right)^2}\Bigr),
# \qquad U_2(z) = \tfrac12\Bigl(\tfrac{z_2 - \sin(\pi z_1/2)}{0.4}\Bigr)^2 .$$
#
# $U_1$ is a ring with two thick places. $U_2$ is a sine wave, and as printed in the paper it is no density: it goes on forever to both
# sides, and $Z = \infty$. (The paper plots a square, where this does not show.) `flowlib.ENERGIES` closes it by a soft wall at $|z_1| = 4$.
# Now both have a true $\log Z$, by quadrature:

# %%
for name in ("U1", "U2"):
    energy = flowlib.ENERGIES[name]
    print(
        f"{name}: log Z = {energy.log_normalizer():.6f} (600 × 600 cells), {energy.log_normalizer(300):.6f} (300 × 300)"
    )

# %% [markdown]
# **Fit.** What are the data of variational inference? Draws of the base: we may have as many as we like. The loss is the free energy. As in
# the paper the energy is faded in: $\beta U$ with $\beta$ growing from 0.01 to 1. So $q$ is spread out at first, and does not fall into the
# nearest valley.
#
# **Predict.** After training, $\mathcal F + \log Z$ is $\mathrm{KL}(q\,\|\,p)$. Which of the two targets will be harder for 16 planar
# layers on a standard normal base?


# %%
class EnergyFit(nn.Module):
    """A planar flow whose loss is the free energy of a batch of base draws, the energy faded in over the first steps."""

    def __init__(self, energy, layers, fade):
        super().__init__()
        self.energy, self.fade, self.step = energy, fade, 0
        self.flow = flowlib.Flow(flowlib.StandardNormal(2), [flowlib.Planar(2) for _ in range(layers)])

    def free_energies(self, u, beta=1.0):
        z, log_det = self.flow.forward(u)
        return self.flow.base().log_prob(u) - log_det + beta * self.energy(z)

    def loss(self, u):
        self.step += 1
        beta = min(1.0, 0.01 + self.step / self.fade)
        return self.free_energies(u, beta).mean()


fits, base_draws = {}, torch.randn(40_000, 2, generator=torch.Generator().manual_seed(0))
fresh_draws = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
for name in ("U1", "U2"):
    torch.manual_seed(0)
    fits[name] = EnergyFit(flowlib.ENERGIES[name], layers=16, fade=1000)
    flowlib.fit(
        fits[name],
        base_draws,
        steps=2000,
        batch_size=256,
        lr=5e-3,
        clip=5.0,
        schedule="cosine",
        max_steps=MAX_STEPS,
    )
    with torch.no_grad():
        values = fits[name].free_energies(fresh_draws)
    kl = values.mean().item() + flowlib.ENERGIES[name].log_normalizer()
    print(
        f"{name}: free energy {values.mean():.3f} ≥ −log Z = {-flowlib.ENERGIES[name].log_normalizer():.3f}; "
        f"KL(q ‖ p) = {kl:.3f} ± {values.std() / math.sqrt(len(values)):.3f} nats"
    )

# %%
figure, axes = plt.subplots(2, 3, figsize=(10, 6.4))
for row, (name, fitted) in zip(axes, fits.items(), strict=True):
    energy, extent = flowlib.ENERGIES[name], (-4.8, 4.8, -3.6, 3.6)
    highest = energy.log_prob(fitted.flow.sample((20_000,))).max().exp().item()
    labels = {"xlabel": "$z_1$", "ylabel": "$z_2$"}
    plotting.plot_density(row[0], energy.log_prob, extent, vmax=highest, title=f"{name}: target", **labels)
    plotting.plot_density(
        row[1], fitted.flow.log_prob, extent, vmax=highest, title="flow's density, by the inverse", **labels
    )
    plotting.plot_samples(row[2], fitted.flow.sample((3000,)), extent=extent, title="flow's draws", **labels)
plt.show()

# %% [markdown]
# **Figure.** Rows: $U_1$, $U_2$. Left the target, in the middle the fitted flow's density (computed at grid points, so through 16
# inverses), right its draws. In a row the colors are those of the target, and yellow is its highest density or more. The flow finds the two
# crescents of $U_1$, with a few draws on the bridge that a continuous map cannot do without. The wave of $U_2$ comes out as four pieces on its
# crests and troughs, joined by thin bridges, and wider than they should be: every bend takes layers, and sixteen are few.
#
# Since $Z$ is known, the numbers above are the divergence itself, and not only a loss. They also check us: with a wrong determinant they could
# become negative.

# %% [markdown]
# ## 7 · An encoder with a flow
#
# Back to a posterior for every $x$. The encoder gives a Gaussian $q_0(u\mid x)$ and, for each layer, the parameters $v, w, b$
# **of this example**. With $z = T(u; x)$
#
# $$\mathcal L(x) = \mathbb E_{q_0(u\mid x)}\Bigl[\log p(x\mid z) + \log p(z) - \log q_0(u\mid x)
# + \sum_{k=1}^K \log\Bigl|\det\frac{\partial z_k}{\partial z_{k-1}}\Bigr|\Bigr] .$$
#
# One text concludes: "we don't need to modify our loss functions, as the KL divergence we calculate is still" that of $q_0$ to the prior.
# It forgot the sum at the end.
#
# ### Exercise 6 · The ELBO of a flow posterior
#
# Difficulty 3/5 (notebook 4's ELBO with one more step) · about 20 minutes · 6 points
#
# Estimate $\mathcal L(x)$ for each example by the mean over `num_samples` draws. Here `encoder(x)` returns a pair `(q0, transform)`: a
# distribution over $u$, and a function that takes $u$ `(S, *batch, M)` to `(z, log_det)`, with the sum over layers already in `log_det`.


# %% solution="flow_elbo"
def flow_elbo(x, prior, decoder, encoder, num_samples=1):
    """Reparameterized Monte-Carlo ELBO of a VAE whose posterior is made by a flow.

    Args:
        x: data `(*batch, D)`.
        prior: `prior()` is a distribution with event shape `(M,)`.
        decoder: `decoder(z)` is a distribution over x, event shape `(D,)`; z is `(S, *batch, M)`.
        encoder: `encoder(x)` is `(q0, transform)`: q0 a distribution over u, event shape `(M,)`, with `rsample`;
            `transform(u)` is (z, log|det ∂z/∂u|), shapes `(S, *batch, M)` and `(S, *batch)`.
        num_samples: S ≥ 1.

    Returns:
        The bound of each example in nats, `(*batch,)`.
    """
    ### BEGIN SOLUTION
    q0, transform = encoder(x)
    u = q0.rsample((num_samples,))
    z, log_det = transform(u)
    log_q = q0.log_prob(u) - log_det
    log_w = decoder(z).log_prob(x) + prior().log_prob(z) - log_q
    return log_w.mean(0)
    ### END SOLUTION


# %% test="flow_elbo_is_exact_for_exact_posterior" points=2
check.flow_elbo_is_exact_for_exact_posterior(flow_elbo)
### BEGIN HIDDEN TESTS
check.flow_elbo_is_exact_for_exact_posterior(flow_elbo, hidden=1)
### END HIDDEN TESTS

# %% test="flow_elbo_averages_to_closed_form" points=1
check.flow_elbo_averages_to_closed_form(flow_elbo)
### BEGIN HIDDEN TESTS
check.flow_elbo_averages_to_closed_form(flow_elbo, hidden=1)
### END HIDDEN TESTS

# %% test="flow_elbo_gradient_reaches_encoder_and_flow" points=2
check.flow_elbo_gradient_reaches_encoder_and_flow(flow_elbo)
### BEGIN HIDDEN TESTS
check.flow_elbo_gradient_reaches_encoder_and_flow(flow_elbo, hidden=1)
### END HIDDEN TESTS

# %% test="flow_elbo_batch_shapes" points=1
check.flow_elbo_batch_shapes(flow_elbo)
### BEGIN HIDDEN TESTS
check.flow_elbo_batch_shapes(flow_elbo, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: nudge</summary>
#
# Take your `elbo` of notebook 4. Which of its lines knew that $q$ is a Gaussian? Only those change.
# </details>
# <details><summary>Help: exact for the exact posterior, but only up to a constant</summary>
#
# The constant is the map's log-determinant, once or twice. Check whether it is there, and its sign.
# </details>
# <details><summary>Help: the prior</summary>
#
# It is a density of $z$, the latent that the decoder sees. What would go wrong if it were asked about $u$?
# </details>
#
# ### The same without a new ELBO
#
# `flowlib.elbo` asks its encoder for a distribution `q` and calls `q.rsample` and `q.log_prob`. A flow posterior can be such a
# distribution: when it draws, it keeps $\log q$ of the draw, and hands it out when asked about that very tensor. `flowlib.FlowPosterior`
# does this, and `flowlib.FlowEncoder` makes one for each $x$. So every function of notebook 4 works unchanged, IWAE included.

# %%
context = 8  # numbers that the encoder hands to the flow; a linear map of each layer makes its 2M + 1 parameters of them


def planar_posterior(x_size, latents, layers, hidden):
    """An encoder whose posteriors are planar flows: K layers, all parameters given by the net."""
    made = [
        flowlib.Planar(latents, nn.Linear(context, 2 * latents + 1), context_size=context)
        for _ in range(layers)
    ]
    return flowlib.FlowEncoder(flowlib.mlp([x_size, *hidden, 2 * latents + context * (layers > 0)]), made)


torch.manual_seed(0)
q = planar_posterior(1, 1, 3, [16])(torch.rand(5, 1))
z = q.rsample((7,))
with torch.no_grad():
    print(
        "kept from the draw or by the inverse, largest difference:",
        (q.log_prob(z) - q.log_prob(z.clone())).abs().max().item(),
    )

# %% [markdown]
# Now the instrument of section 1. Model: $z\sim\mathcal N(0,1)$, $x = |z| + 0.3\,\epsilon$ with $\epsilon\sim\mathcal N(0, 1)$. Train two encoders
# on draws $x$ of the model, a Gaussian one and one with six planar layers. Both start with the mean at $+1$. Why not at 0? Section 1's table of
# Gaussians for $x = 1.5$ holds the answer, the least KL at each mean:

# %%
for mean in (0.0, 0.3, 0.6, 0.8, 1.0, 1.4):
    print(f"mean {mean:.1f}: KL at least {table[means.sub(mean).abs().argmin()].min():.3f} nats")

# %% [markdown]
# The centered Gaussian is a *local* minimum, behind a hill. An encoder that starts there stays there.
#
# **Predict.** For which $x$ will the Gaussian encoder lose little? What happens near $x = 0$?


# %%
class SizeDecoder(nn.Module):
    """p(x given z) = N(|z|, 0.3²)."""

    def forward(self, z):
        return Independent(Normal(z.abs(), NOISE), 1)


class Inference(nn.Module):
    """An encoder for a model that is given: the loss is minus the mean ELBO, in nats."""

    def __init__(self, encoder, decoder, latents):
        super().__init__()
        self.encoder = encoder
        self.model = [flowlib.GaussianPrior(latents), decoder]  # in a list: not trained

    def loss(self, x):
        return -flowlib.elbo(x, *self.model, self.encoder).mean()


torch.manual_seed(1)
sizes_seen = torch.randn(20_000, 1).abs() + NOISE * torch.randn(20_000, 1)
encoders = {}
for name, layers in (("Gaussian", 0), ("six planar layers", 6)):
    torch.manual_seed(0)
    trained = Inference(planar_posterior(1, 1, layers, [32, 32]), SizeDecoder(), 1)
    with torch.no_grad():
        trained.encoder.net[-1].bias[0] = 1.0  # the mean of q_0
    flowlib.fit(
        trained,
        sizes_seen,
        steps=1500,
        batch_size=256,
        lr=4e-3,
        schedule="cosine",
        clip=5.0,
        max_steps=MAX_STEPS,
    )
    encoders[name] = trained.encoder.double()

# %%
x_axis = torch.linspace(-0.5, 3, 71, dtype=torch.float64)
joint = log_joint_of_size(x_axis)
log_px = joint.logsumexp(-1) + log_step
gaps, densities = {}, {}
with torch.no_grad():
    for name, encoder in encoders.items():
        log_q = encoder(x_axis[:, None]).log_prob(axis[:, None, None]).T
        densities[name] = log_q.exp()
        gaps[name] = kl_on_axis(log_q, joint - log_px[:, None])
        weight = log_px.exp() / log_px.exp().sum()
        print(
            f"{name:18s} KL(q ‖ posterior), averaged over p(x): {(weight * gaps[name]).sum():.3f} nats; at x = 1.5: {gaps[name][40]:.3f}"
        )

figure, axes = plt.subplots(1, 3, figsize=(10, 3.4))
colors = {"Gaussian": plotting.PALETTE["vermilion"], "six planar layers": plotting.PALETTE["blue"]}
for name, gap in gaps.items():
    axes[0].plot(x_axis, gap, color=colors[name], label=name)
axes[0].axhline(math.log(2), linestyle=":", color=plotting.PALETTE["black"], label="log 2")
axes[0].set(title="gap of the ELBO", xlabel="x", ylabel="KL(q ‖ posterior), nats", ylim=(0, 1.2))
axes[0].legend(loc="upper right")
for ax, k in zip(axes[1:], (14, 40), strict=True):
    ax.plot(axis, (joint - log_px[:, None])[k].exp(), color=plotting.PALETTE["black"], label="exact")
    for name, density in densities.items():
        ax.plot(axis, density[k], color=colors[name], label=name)
    ax.set(title=f"posterior at x = {x_axis[k]:.1f}", xlabel="z", ylabel="density", xlim=(-3, 3))
axes[1].set_ylim(0, 1.8)
axes[1].legend(loc="upper center")
plt.show()

# %% [markdown]
# **Figure.** Left: the gap of both encoders against $x$. The Gaussian's gap is small where the posterior has one peak, near $x = 0$ and
# below, and reaches $\log 2$ (dotted) where there are two, after a hump where it changes from covering both to choosing one. The flow's gap
# stays lower and grows slowly with the distance of the peaks. Middle and right: exact posterior and both approximations at two values of
# $x$. Where the peaks are separate, the Gaussian has chosen one; the flow has split.
#
# All gaps are exact here, from the grid. A VAE of images has more than one latent variable; for two a grid is still possible.

# %% [markdown]
# ## 8 · Two gaps
#
# Why is an encoder's $q(z\mid x)$ not the posterior? There are two reasons (Cremer, Li & Duvenaud 2018). Write $\mathcal L[q]$ for the ELBO of $x$
# with the posterior $q$. Let $q^\ast$ be the best member of the family for **this** $x$, found by optimizing it for this $x$ alone. Then
#
# $$\log p(x) - \mathcal L[q_{\text{encoder}}]
# = \underbrace{\log p(x) - \mathcal L[q^\ast]}_{\text{approximation gap}}
# + \underbrace{\mathcal L[q^\ast] - \mathcal L[q_{\text{encoder}}]}_{\text{amortization gap}} .$$
#
# The first is the family's fault: no Gaussian can be this posterior. The second is the encoder's: one network must guess the parameters for
# all $x$, where an optimizer could search for each (the search is *amortized*: paid once, used for all).
#
# ### Exercise 7 · Split the gap
#
# Difficulty 1/5 (a rest after a long climb) · about 5 minutes · 2 points
#
# Return both gaps of each example, in this order.


# %% solution="inference_gaps"
def inference_gaps(log_evidence, optimized_elbo, amortized_elbo):
    """(approximation gap, amortization gap) of each example, in nats.

    Args:
        log_evidence: log p(x), `(*batch,)`.
        optimized_elbo: ELBO with the best q of the family for each x, `(*batch,)`.
        amortized_elbo: ELBO with the encoder's q, `(*batch,)`.

    Returns:
        Two tensors `(*batch,)`.
    """
    ### BEGIN SOLUTION
    return log_evidence - optimized_elbo, optimized_elbo - amortized_elbo
    ### END SOLUTION


# %% test="gaps_split_the_total" points=2
check.gaps_split_the_total(inference_gaps)
### BEGIN HIDDEN TESTS
check.gaps_split_the_total(inference_gaps, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which is which?</summary>
#
# Imagine an encoder of unlimited capacity, trained perfectly. Which gap is left?
# </details>
#
# ### Measured on digits
#
# A VAE with two latents on binary 8×8 digits, as in notebook 4, with a Gaussian encoder. On test images we compute $\log p(x)$ by
# quadrature on the latent plane, and for each image we optimize a $q^\ast$ of its own: first a Gaussian, then a Gaussian moved by four
# planar layers. Decoder and prior are frozen, so $\log p(x)$ is the same for all.

# %%
digits_train, digits_validation, digits_test = data.load_digits_split(binarize=8)
torch.manual_seed(0)
vae = flowlib.VAE(
    flowlib.GaussianPrior(2),
    flowlib.BernoulliDecoder(flowlib.mlp([2, 128, 128, 64], dropout=0.2)),
    planar_posterior(64, 2, 0, [128, 128]),
)
flowlib.fit(
    vae,
    digits_train.images,
    validation=digits_validation.images,
    steps=1200,
    batch_size=128,
    lr=2e-3,
    weight_decay=1e-3,
    max_steps=MAX_STEPS,
)
vae.requires_grad_(False)
few = digits_test.images[:100]


# %%
class OwnPosterior(nn.Module):
    """A posterior for each of N examples with parameters of its own: nothing is amortized."""

    def __init__(self, start, layers):
        super().__init__()
        self.mean, self.log_std = nn.Parameter(start.mean.clone()), nn.Parameter(start.stddev.log())
        M = start.mean.shape[-1]
        size = (2 * M + 1) * layers
        self.h = nn.Parameter(torch.zeros(len(start.mean), max(size, 1)))
        # The layer's conditioner picks its own 2M + 1 numbers out of an example's.
        picks = [nn.Linear(size, 2 * M + 1, bias=False).requires_grad_(False) for _ in range(layers)]
        for k, pick in enumerate(picks):
            pick.weight.copy_(torch.eye(size)[(2 * M + 1) * k : (2 * M + 1) * (k + 1)])
        self.flow = flowlib.Composition([flowlib.Planar(M, pick, context_size=size) for pick in picks])

    def forward(self, x):
        q0 = Independent(Normal(self.mean, self.log_std.exp()), 1)
        return flowlib.FlowPosterior(q0, self.flow, self.h if self.flow.context_size else None)


def optimized(layers, steps=600):
    """The OwnPosterior of the test images after gradient ascent on their ELBO."""
    torch.manual_seed(0)
    own = OwnPosterior(vae.encoder(few).base, layers)
    flowlib.fit(
        own,
        few,
        loss=lambda x: -flowlib.elbo(few, vae.prior, vae.decoder, own, 8).mean(),
        steps=steps,
        batch_size=len(few),
        lr=2e-2,
        schedule="cosine",
        max_steps=MAX_STEPS,
    )
    return own


@torch.no_grad()
def log_evidence_by_quadrature(x, decoder, extent=6.0, n=161):
    """log p(x) `(B,)` under the prior N(0, I) on the plane, by summing over a lattice of latents."""
    side = torch.linspace(-extent, extent, n)
    points = torch.cartesian_prod(side, side)
    logits = decoder(points).base_dist.logits
    # Bernoulli: log p(x | z) = x·logits − Σ log(1 + e^logits); a matrix product serves all images.
    log_likelihood = x @ logits.T - nn.functional.softplus(logits).sum(-1)
    return (log_likelihood + flowlib.GaussianPrior(2)().log_prob(points)).logsumexp(-1) + 2 * math.log(
        side[1] - side[0]
    )


own = {"Gaussian": optimized(0), "4 planar layers": optimized(4)}
with torch.no_grad():
    log_p = log_evidence_by_quadrature(few, vae.decoder)
    iwae = flowlib.importance_weighted_log_likelihood(few, vae.prior, vae.decoder, vae.encoder, 5000)
    amortized = flowlib.elbo(few, vae.prior, vae.decoder, vae.encoder, 500)
    best = {
        name: flowlib.elbo(few, vae.prior, vae.decoder, posterior, 500) for name, posterior in own.items()
    }


def with_error(values):
    return f"{values.mean():7.3f} ± {values.std() / math.sqrt(len(values)):.3f}"


print(
    f"log p(x), quadrature: {log_p.mean():.3f}; IWAE with 5000 samples: {iwae.mean():.3f} (nats, mean of {len(few)} test images)"
)
print("encoder, Gaussian:         whole gap", with_error(log_p - amortized))
for name, bound in best.items():
    print(
        f"best q, {name:16s}:  approximation gap {with_error(log_p - bound)};  left to gain for the encoder {with_error(bound - amortized)}"
    )

# %%
parts = {
    "amortization,\nGaussian": best["Gaussian"] - amortized,
    "approximation,\nGaussian": log_p - best["Gaussian"],
    "approximation,\n4 planar layers": log_p - best["4 planar layers"],
}
figure, ax = plt.subplots(figsize=(6.4, 3.4))
ax.bar(
    list(parts),
    [gap.mean().item() for gap in parts.values()],
    yerr=[gap.std().item() / math.sqrt(len(gap)) for gap in parts.values()],
    capsize=4,
    color=[plotting.PALETTE[c] for c in ("orange", "vermilion", "blue")],
)
ax.set(title="gaps of a VAE with two latents, 100 test digits", xlabel="gap", ylabel="nats per image")
plt.show()

# %% [markdown]
# **Figure.** Three bars with standard errors over images: the amortization gap of the Gaussian encoder on test images, the approximation gap
# of the best Gaussians, and that of the best four-layer planar flows. The flow lowers the approximation gap. The largest bar is amortization:
# the encoder has to guess for images that it never saw.
#
# So a richer family helps where the family is the bottleneck. Where amortization is, better encoders help: larger, better regularized, or
# refined by a few steps per image. Measure before you choose. And one thing none of these gaps shows: a decoder **trained together**
# with a flexible posterior becomes another decoder. It is free to use posteriors that no Gaussian could follow.
#
# ### What the paper found
#
# Rezende & Mohamed trained deep latent Gaussian models with planar posteriors on binarized MNIST, and report upper bounds of $-\log p(x)$
# on test images:
#
# | posterior | nats |
# |---|---|
# | diagonal Gaussian | ≤ 89.9 |
# | 10 planar layers | ≤ 87.5 |
# | 20 | ≤ 86.5 |
# | 40 | ≤ 85.7 |
# | 80 | ≤ 85.1 |
#
# The bound falls with every doubling. Note the $\le$: this is one number for two things, a better model and a tighter bound on it.
# `benchmarks/flow_posterior.py` repeats the experiment at our size, and measures the two apart: digits, 8 latents, $K$ layers, several seeds, a linear
# decoder and one with two hidden layers (`mlp`). The importance-weighted bound of notebook 4 stands in for $\log p(x)$. *NLL* is minus this
# bound: the model itself. *Gap* is this bound minus the ELBO: what the posterior still loses.
#
# **Predict.** With more layers, which of the two falls: the gap, or the NLL?

# %%
results = flowlib.load_results("flow_posterior")
print(
    f"{'decoder':9s}{'K':>3s}{'−ELBO':>9s}{'NLL':>9s}{'gap':>8s}   −ELBO against K = 0 (mean ± s.e. over seeds, paired)"
)
for row in results["summary"]:
    change = (
        f"{-row['test ELBO, difference']:+.2f} ± {row['test ELBO, standard error']:.2f}"
        if row["layers"]
        else ""
    )
    numbers = f"{-row['test ELBO']:9.2f}{row['test NLL']:9.2f}{row['gap']:8.2f}"
    print(f"{row['model']:9s}{row['layers']:3d}{numbers}   {change}")
print("made by:", results["command"])

# %% [markdown]
# <details><summary>Answer</summary>
#
# Mostly the gap. With the linear decoder $-$ELBO falls with every doubling of $K$, most of it at the first layers, and nearly all of that is the gap: the NLL column hardly moves. The Gaussian posterior was the
# bottleneck of the *bound*, not of the model. With the strong decoder there is less of a gap to begin with, and $-$ELBO changes by little more than what
# another seed changes, up or down. With the bound alone, as in the paper's table, one could not tell.
# </details>

# %% [markdown]
# ## 9 · Prior or posterior?
#
# Notebook 5 put a flow into the prior, this one into the posterior. Chen et al. (2016) noticed how close the two are. Let $f$ be an
# invertible map, and let the prior be its flow: $z = f(\epsilon)$ with the prior's own base variable $\epsilon\sim p_\epsilon = \mathcal N(0, I)$, `(*batch, M)`.
# The log-weight $\log p(x, z) - \log q(z\mid x)$ of a draw $z \sim q(z\mid x)$ is
#
# $$\log w = \log p(x\mid z) + \underbrace{\log p_\epsilon(f^{-1}(z)) + \log\left|\det \frac{\partial f^{-1}}{\partial z}\right|}_{\log p(z)} - \log q(z\mid x) .$$
#
# Now rename. Put $\epsilon = f^{-1}(z)$ and call $\epsilon$ the latent variable. Its density under $q$ is that of $z$ moved by $f^{-1}$:
# $\log q_\epsilon(\epsilon\mid x) = \log q(z\mid x) - \log|\det\partial f^{-1}/\partial z|$. So
#
# $$\log w = \log p(x\mid f(\epsilon)) + \log p_\epsilon(\epsilon) - \log q_\epsilon(\epsilon\mid x) .$$
#
# The same number, draw by draw, read as another VAE: **standard prior, a flow posterior made with $f^{-1}$, and a decoder that applies $f$ first.**
# If $f$ is autoregressive (AF: $z_i$ is made from $\epsilon_i$ and $z_1, \dots, z_{i-1}$), its inverse needs known numbers only and runs in
# parallel. Read as the `forward` of a posterior, $f^{-1}$ is an inverse autoregressive flow (IAF, notebook 7). *A VAE with an AF prior is a VAE
# with an IAF posterior whose decoder is deeper by $f$.*
#
# Check it, with a small autoregressive $f$ written out, an arbitrary decoder and a Gaussian encoder.


# %%
class Autoregressive(flowlib.Transform):
    """z_i = ε_i exp(s_i) + t_i with s_i, t_i from z_1 … z_{i−1}: forward one by one, inverse all at once."""

    def __init__(self, M):
        super().__init__(M)
        self.nets = nn.ModuleList(
            flowlib.mlp([i + 1, 8, 2], activation=nn.Tanh) for i in range(M)
        )  # a 1, and z before i

    def parameters_of(self, i, z):
        return self.nets[i](torch.cat([torch.ones_like(z[..., :1]), z[..., :i]], -1)).unbind(-1)

    def _forward(self, epsilon):
        z, log_det = epsilon[..., :0], 0.0
        for i in range(self.D):
            s, t = self.parameters_of(i, torch.cat([z, epsilon[..., i:]], -1))
            z, log_det = torch.cat([z, (epsilon[..., i] * s.exp() + t).unsqueeze(-1)], -1), log_det + s
        return z, log_det

    def _inverse(self, z):
        s, t = (
            torch.stack(column, -1)
            for column in zip(*(self.parameters_of(i, z) for i in range(self.D)), strict=True)
        )
        return (z - t) * (-s).exp(), -s.sum(-1)


class Reversed(flowlib.Transform):
    """A transform run backwards."""

    def __init__(self, transform):
        super().__init__(transform.D)
        self.transform = transform

    def _forward(self, u):
        return self.transform.inverse(u)

    def _inverse(self, x):
        return self.transform.forward(x)


torch.manual_seed(5)
af = Autoregressive(3).double()
image_decoder = flowlib.BernoulliDecoder(flowlib.mlp([3, 16, 10])).double()
gaussian_encoder = flowlib.GaussianEncoder(flowlib.mlp([10, 16, 6])).double()
af_prior = flowlib.FlowPrior(flowlib.Flow(flowlib.StandardNormal(3), [af])).double()
images = torch.bernoulli(torch.full((4, 10), 0.5)).double()

first_model = (af_prior, image_decoder, gaussian_encoder)
second_model = (
    flowlib.GaussianPrior(3).double(),
    lambda epsilon: image_decoder(af.forward(epsilon)[0]),
    lambda x: flowlib.FlowPosterior(gaussian_encoder(x), Reversed(af)),
)
print(verify.check_layer(af, 3))
weights = []
for model in (first_model, second_model):
    torch.manual_seed(0)
    with torch.no_grad():
        weights.append(flowlib.log_weights(images, *model, num_samples=1000))
print(
    "log-weights of 4 × 1000 draws, AF prior against IAF posterior, largest difference:",
    (weights[0] - weights[1]).abs().max().item(),
)
assert torch.allclose(*weights, rtol=1e-10)

# %% [markdown]
# **What follows, and what does not.** An IAF posterior with an *ordinary* decoder lacks the $f$ in the decoder. With equal parameters and
# equal work at training time, the AF prior has the same posterior family *and* a deeper generative model. This is the lecture's reason to
# prefer a flow prior. Its cost is paid when sampling: $f$ runs one variable at a time. On binarized MNIST, Chen et al.
# list (test nats)
#
# | model | NLL |
# |---|---|
# | planar flow posterior (Rezende & Mohamed 2015) | 85.10 |
# | IAF posterior (Kingma et al. 2016) | 79.88 |
# | AF prior | 79.30 |
# | AF prior and autoregressive decoder (VLAE) | 79.03 |
#
# The order agrees with the claim. It does not prove it: decoders and encoders differ from row to row, each row is one number without an
# error, and some are bounds. The difference between the second and the third row is smaller than that between the first and the second,
# where the posterior family was one change among several.
#
# And the two flows act on different things. With the model *fixed*, a flow posterior can gain at most the approximation gap, a number you
# can measure beforehand. A flow prior changes the model: it can fill the holes between prior and aggregate posterior (notebook 5), which no
# posterior for single examples does. Nothing forbids using both.
#
# **A KL that is none.** With a flow prior one finds the ELBO written with an "additional term
# $-\mathrm{KL}(q(z\mid x)\,\|\,p_u(T^{-1}(z)))$". But $p_u(T^{-1}(z))$ as a function of $z$ is missing its determinant, so it is no
# density, and the expression is no divergence. Take $q = \mathcal N(0,1)$, $p_u = \mathcal N(0, 1)$, $T(u) = 10u$:

# %%
z = torch.linspace(-400, 400, 800_001, dtype=torch.float64)
step = (z[1] - z[0]).item()
standard = Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
log_q, without, with_det = (
    standard.log_prob(z),
    standard.log_prob(z / 10),
    standard.log_prob(z / 10) - math.log(10),
)
for name, log_other in (("p_u(T⁻¹(z))", without), ("p_u(T⁻¹(z)) |det|", with_det)):
    integral, divergence = (
        (log_other.exp() * step).sum().item(),
        (log_q.exp() * (log_q - log_other) * step).sum().item(),
    )
    print(f"{name:20s} integral {integral:7.3f}   E_q[log q - log …] = {divergence:6.3f}")

# %% [markdown]
# ### Exercise 8 · Find the errors
#
# Difficulty 3/5 (read slowly) · about 10 minutes · 2 points
#
# Nine claims, put together from slides, blog posts and lecture notes on this very topic. $\sigma$ is smooth and increasing.
#
# 1. For $z = T(u)$, $u\sim q_0(u\mid x)$: $\;\log q(z\mid x) = \log q_0(u\mid x) - \log|\det \partial z/\partial u|$.
# 2. Since $q_0$ remains unchanged when a flow is put behind it, the loss of the VAE needs no change: its KL term is still
#    $\mathrm{KL}(q_0\,\|\,p(z))$.
# 3. For bounded $\sigma$, the map $u + v\,\sigma(w^\top u + b)$ is invertible whenever $w^\top v > -1/\sup\sigma$.
# 4. For $\sigma = \tanh$, if $w^\top v\,\tanh'(a) \ge -1$ for all $a$, then the density of $z$ is finite everywhere.
# 5. With a flow prior, the ELBO contains minus the KL divergence of $q(z\mid x)$ to the density $p_u(T^{-1}(z))$.
# 6. $\det(I + v w^\top) = 1 + w^\top v$ for vectors of any length $D$.
# 7. Training a flow posterior calls the inverse of $T$ at no point, and yet its loss is wrong for a $T$ that has none.
# 8. The evidence lower bound is $\mathbb E_{q(z\mid x)}\bigl[\log \frac{p(x, z)}{q(x\mid z)}\bigr]$.
# 9. A family of $q$ that contains another one never has the larger approximation gap of the two, but its encoder may have the larger amortization gap.
#
# Which claims are wrong, each taken by itself?


# %% solution="wrong_claims"
def wrong_claims():
    """The numbers of the wrong claims, a list of integers from 1 to 9."""
    ### BEGIN SOLUTION
    return [2, 3, 4, 5, 8]
    ### END SOLUTION


# %% test="wrong_claims_are_found" points=2
check.wrong_claims_are_found(wrong_claims)
### BEGIN HIDDEN TESTS
check.wrong_claims_are_found(wrong_claims, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: how can I test a claim?</summary>
#
# Most of them have a cell in this notebook: sections 2 (1, 7), 3 (6), 4 (3, 4, 7), 7 (2), 8 (9) and 9 (5). One is a matter of letters.
# </details>
#
# ### Exercise 9 · Where to put the flow
#
# Difficulty 3/5 (arguing from measurements) · about 15 minutes · 3 points, graded by hand
#
# A colleague has a VAE for images with 32 latents and time for one change: a flow prior or a flow posterior. Training time matters,
# sampling time does not. Write five to eight sentences of advice: what would you measure first, what speaks for either choice, and which
# result would change your mind?
#
# *What we look for.* One point: measurements before the choice. One point: what each flow can and what it cannot gain. One point: the identity
# of section 9 or a trade-off of computation, used correctly.

# %% [markdown] manual="where_to_put_the_flow" points=3
# ### BEGIN SOLUTION
# First I would measure two numbers on held-out images: the importance-weighted bound with many samples minus the ELBO, which is nearly the
# whole inference gap, and the KL divergence of the aggregate posterior to the prior. If the first is large, I would optimize $q$ for a
# hundred test images separately. When that closes the gap, it was amortization, and a better encoder is the answer rather than a flow. When
# it does not, the Gaussian family is too poor and a flow posterior can gain at most what is left. If the second number is large, the prior
# has holes, and only a flow prior (or mixture) removes them. When both are of the same size I would take the prior: by the identity of
# section 9 an autoregressive prior contains an IAF posterior of the same cost in training and has a deeper decoder on top, and its slow
# sampling does not matter here. I would change my mind if the decoder were so strong that the aggregate posterior matches the prior
# already.
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - $\log q(z) = \log q_0(u) - \log|\det\partial z/\partial u|$. At own draws $u$ is known: the map must have an inverse, and nobody
#   computes it.
# - The free energy $\mathbb E_q[\log q + U] = \mathrm{KL}(q\,\|\,p) - \log Z$ is minus the ELBO when $U = -\log p(x, z)$. If $q$ is the
#   target, one draw gives $-\log Z$ exactly.
# - Planar flow: Jacobian $I + \tanh'(a)\,v w^\top$, determinant $1 + \tanh'(a)\,w^\top v$ by the determinant lemma.
# - Invertible when $w^\top v > -1/\sup\sigma'$: the **slope**, and **strictly**. A fold raises no error; it turns the bound into no bound.
# - A root found by a search has no gradient, or a wrong one. One Newton step with gradient repairs it.
# - Gap of the ELBO = approximation gap (the family) + amortization gap (the encoder). Measure which one you have.
# - An autoregressive prior is an IAF posterior with the map put into the decoder as well.
#
# **Common mistakes**: the log-determinant forgotten or with the wrong sign · the prior asked about $u$ · $\sup\sigma$ for $\sup\sigma'$ ·
# equality allowed · `u @ w` when each example has its own $w$ · a bracket with fixed ends · the gradient of a bisection · energies without
# a finite $Z$ · $p_u(T^{-1}(z))$ taken for a density.
#
# ## References
#
# - D. J. Rezende, S. Mohamed. *Variational inference with normalizing flows.* 2015. arXiv:1505.05770
# - D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever, M. Welling. *Improving variational inference with inverse autoregressive
#   flow.* 2016. arXiv:1606.04934
# - X. Chen, D. P. Kingma, T. Salimans, Y. Duan, P. Dhariwal, J. Schulman, I. Sutskever, P. Abbeel. *Variational lossy autoencoder.* 2016.
#   arXiv:1611.02731
# - C. Cremer, X. Li, D. Duvenaud. *Inference suboptimality in variational autoencoders.* 2018. arXiv:1801.03558
# - G. Papamakarios, E. Nalisnick, D. J. Rezende, S. Mohamed, B. Lakshminarayanan. *Normalizing flows for probabilistic modeling and
#   inference.* 2021. arXiv:1912.02762
# - J. Frellsen, *Normalising flows*, slides of the course 02460 Advanced Machine Learning, Technical University of Denmark: the lecture
#   that this course follows.
# - Y. Burda, R. Grosse, R. Salakhutdinov. *Importance weighted autoencoders.* 2015. arXiv:1509.00519
