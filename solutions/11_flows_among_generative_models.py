# %% [markdown]
# # 11 · Flows among generative models
#
# Ten notebooks were about models with a density. Most of what the world calls a generative model has none: it turns
# noise into samples and cannot say how probable a given image is. This last notebook puts a flow, a VAE, a GAN and two
# generators trained by a distance side by side on **one** problem, asks the same questions of all of them, and measures
# the answers. Then it looks back over the course: every family of flows on the same targets, in one table, and
# a laboratory of the ways in which flows fail numerically.
#
# **You will be able to**
# - measure how far samples are from data without any density, by MMD and by the sliced Wasserstein distance;
# - write the losses of a GAN, say what its best discriminator computes, and provoke and count mode collapse;
# - say which of the models give a likelihood, a bound or neither, and why;
# - compare flow, VAE and principal components as ways of making codes short;
# - choose a family of flows by a table, and recognize five numerical failures by their symptoms.
#
# **Time:** about 75 minutes of reading, 105 minutes of exercises (35 points, 8 of them graded by hand).
# **Needs:** notebooks 3, 4 and 6 (RealNVP, VAE, dequantization); the tables at the end mention all others.

# %%
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
from autograder_tests.checks import generative_models as check
from flowlib import data, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(11)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $x$ | `(*batch, D)` | data variable |
# | $u$, $x = T(u)$ | `(*batch, D)` | base variable of a flow; `forward` goes $u \to x$, `inverse` goes $x \to u$ |
# | $z$ | `(*batch, M)` | latent variable of a VAE or of a generator |
# | $g(z)$ | `(*batch, D)` | a **generator**: a network from noise to samples, nothing else |
# | $\ell(x)$ | `(*batch, 1)` | a discriminator's logit: $x$ is real with probability $\sigma(\ell) = 1/(1 + e^{-\ell})$ |
# | $x_1, \dots, x_n$ and $y_1, \dots, y_m$ | `(n, D)`, `(m, D)` | two sets of points to compare |
# | $k(x, y)$ | | a kernel: how alike two points are |
#
# Log-densities are in nats, one number an example.

# %% [markdown]
# ## 1 · One problem, six questions
#
# The problem: eight narrow Gaussians on a ring in the plane. It is small enough for everything here to be trained while
# you watch, and we know its density, so that every answer can be checked.

# %%
target = data.TARGETS["eight_gaussians"]
angles = torch.arange(8) * math.pi / 4
modes, mode_std = 2 * torch.stack([angles.cos(), angles.sin()], -1), 0.2
train, held_out = target.sample(10_000, seed=0), target.sample(10_000, seed=1)
exact_nll = -target.log_prob(held_out).mean().item()
print(
    f"the exact density's NLL on the held-out points: {exact_nll:.3f} nats; nothing can do better on average"
)

# %% [markdown]
# The questions, for each model:
#
# 1. Can it be **sampled**, and how fast?
# 2. Does it have a **likelihood**, a number $\log p(x)$ for a given $x$? Exact, bounded, or none?
# 3. Are its samples **like the data**?
# 4. Does it cover **all** of the data, or does it leave something out?
# 5. Does it give a **code** of $x$, and is the code shorter than $x$?
# 6. Can it model **discrete** data?
#
# **Predict.** For a flow and for a VAE you know most answers already. Write them down. A network $g(z)$ has been trained to
# turn noise into samples, and nothing else. Which questions can it answer?
#
# <details><summary>Answer</summary>
#
# The first. The third and fourth can be asked of its samples. It gives no likelihood and no code: nothing in it goes
# from $x$ to $z$.
# </details>

# %% [markdown]
# ## 2 · Are two sets of points from the same distribution? MMD
#
# A generator has no `log_prob`, so likelihood cannot compare it with a flow. What all models have in common is that they
# give samples. We need a distance between **two sets of points**.
#
# Take a kernel that says how alike two points are, 1 for equal points and near 0 for distant ones:
#
# $$k(x, y) = e^{-\|x - y\|^2/2b^2},$$
#
# with a **bandwidth** $b > 0$: what counts as near. Draw $x, x'$ independently from one distribution, or *law*, $P$, and
# $y, y'$ from another, $Q$. The squared **maximum mean discrepancy** (Gretton et al. 2012) is
#
# $$\mathrm{MMD}^2 = \mathbb E\,k(x, x') + \mathbb E\,k(y, y') - 2\,\mathbb E\,k(x, y).$$
#
# Read it as: how alike are points *within* a law, compared with *across* the two? If $P = Q$ the three expectations are
# equal and the result is 0. For this kernel the converse holds too: 0 only if $P = Q$. Several bandwidths may be
# used at once: the sum of kernels is a kernel.
#
# For two normals the expectations can be integrated by machine. Let $x, x' \sim N(0, 1)$ and $y, y' \sim N(\delta, 1)$, with
# variances as second arguments. The difference $x - x'$ is $N(0, 2)$, and so is $y - y'$; the difference $x - y$ is $N(-\delta, 2)$:

# %%
w, delta, difference = sp.symbols("b delta d", positive=True)
density_of_difference = sp.exp(-((difference + delta) ** 2) / 4) / sp.sqrt(4 * sp.pi)
mean_kernel = sp.integrate(
    sp.expand_power_exp(sp.exp(-(difference**2) / (2 * w**2)) * density_of_difference),
    (difference, -sp.oo, sp.oo),
)
claimed = w / sp.sqrt(w**2 + 2) * sp.exp(-(delta**2) / (2 * (w**2 + 2)))
assert sp.simplify(mean_kernel / claimed) == 1
print("E k(x, y) =", claimed)
mean_kernel = claimed
population = 2 * (mean_kernel.subs(delta, 0) - mean_kernel)
expected = float(population.subs({w: 1, delta: 0.5}))

# %% [markdown]
# **Estimating it.** Replace each expectation by a mean over pairs. Which pairs? $x$ and $x'$ are *independent* draws, so
# the pairs $i \ne j$:
#
# $$\widehat{\mathrm{MMD}}{}^2 = \frac{1}{n(n-1)}\sum_{i \ne j} k(x_i, x_j) + \frac{1}{m(m-1)}\sum_{i \ne j} k(y_i, y_j) -
# \frac{2}{nm}\sum_{i,j} k(x_i, y_j).$$
#
# **Predict.** Can this number be negative, although a square is estimated?
#
# <details><summary>Answer</summary>
#
# Yes, and it must be able to. Its expectation is exactly MMD², which is 0 when the laws agree. An estimate with mean 0
# that is never negative would always be 0. Keep the pairs $i = j$, and the estimate is never negative: it is too large
# on average.
# </details>
#
# ### Exercise 1 · MMD²
#
# Difficulty 2/5 (three sums and one trap) · about 15 minutes · 5 points
#
# `mmd2(x, y, bandwidths)` returns $\widehat{\mathrm{MMD}}{}^2$, one number, for `x` `(n, D)` and `y` `(m, D)`. The kernel is the **sum** over the
# given bandwidths. $n$ and $m$ may differ, both are at least 2. The gradient must reach $x$, and be finite: in section 6 a
# generator is trained by this function.


# %% solution="mmd2"
def mmd2(x, y, bandwidths):
    """The unbiased estimate of MMD² with k(x, y) = Σ_b exp(−‖x − y‖²/2b²): a scalar tensor.

    Args:
        x, y: samples of the two laws, `(n, D)` and `(m, D)`.
        bandwidths: list of positive numbers b.
    """

    ### BEGIN SOLUTION
    def kernel(a, b):
        squared_distance = (a[:, None, :] - b[None, :, :]).square().sum(-1)
        return sum(torch.exp(-squared_distance / (2 * width**2)) for width in bandwidths)

    def mean_of_different(k):
        n = len(k)
        return (k.sum() - k.diagonal().sum()) / (n * (n - 1))

    return mean_of_different(kernel(x, x)) + mean_of_different(kernel(y, y)) - 2 * kernel(x, y).mean()
    ### END SOLUTION


# %% test="mmd_value" points=1
check.mmd_value(mmd2)
### BEGIN HIDDEN TESTS
check.mmd_value(mmd2, hidden=1)
### END HIDDEN TESTS

# %% test="mmd_unequal_sizes" points=1
check.mmd_unequal_sizes(mmd2)
### BEGIN HIDDEN TESTS
check.mmd_unequal_sizes(mmd2, hidden=1)
### END HIDDEN TESTS

# %% test="mmd_is_unbiased" points=2
check.mmd_is_unbiased(mmd2)
### BEGIN HIDDEN TESTS
check.mmd_is_unbiased(mmd2, hidden=1)
### END HIDDEN TESTS

# %% test="mmd_gradient_reaches_the_samples" points=1
check.mmd_gradient_reaches_the_samples(mmd2)
### BEGIN HIDDEN TESTS
check.mmd_gradient_reaches_the_samples(mmd2, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Write a function that makes the table of $k(a_i, b_j)$, shape `(n, m)`, by broadcasting: `a[:, None] - b[None]` has shape
# `(n, m, D)`. You need it three times.
# </details>
# <details><summary>Help: the values are right, the gradient is NaN</summary>
#
# The slope of $\sqrt v$ at $v = 0$ is infinite, and the distance of a point from itself is 0. The kernel needs the squared
# distance: is there a root on your way to it?
# </details>
# <details><summary>Help: the mean over many samples of one law is not 0</summary>
#
# A point compared with itself always gives the largest value there is. What stands on the diagonal of the table of
# $k(x_i, x_j)$, and how many entries are left without it?
# </details>
# <details><summary>Help: only the unequal sizes fail</summary>
#
# Each of the three sums has a number of pairs of its own: $n(n-1)$, $m(m-1)$ and $nm$.
# </details>
#
# What follows uses flowlib's own, never yours: no later exercise depends on this one.
#
# Does the estimate agree with the integral above? Two thousand pairs of small samples:

# %%
generator = torch.Generator().manual_seed(0)
values = torch.stack(
    [
        flowlib.mmd2(
            torch.randn(20, 1, generator=generator), 0.5 + torch.randn(30, 1, generator=generator), [1.0]
        )
        for _ in range(2000)
    ]
)
error = values.std() / math.sqrt(len(values))
print(f"mean of the estimates {values.mean():.4f} ± {error:.4f}; the integral {expected:.4f}")
print(f"share of negative estimates: {(values < 0).float().mean():.0%}")
assert abs(values.mean() - expected) < 4 * error

# %% [markdown]
# ## 3 · How far must mass be moved? Sliced Wasserstein
#
# A kernel of bandwidth $b$ is blind beyond a few $b$: two sets that are far apart look equally far at any distance, and
# the gradient is 0. The **Wasserstein distance** has no such horizon. It asks how far the mass of one law must be carried to
# make it the other one. On the line the cheapest way is known: carry the smallest point to the smallest, the
# second to the second, and so on. For $n$ points each,
#
# $$W_2^2 = \frac1n\sum_{i=1}^n \bigl(a_{(i)} - b_{(i)}\bigr)^2,$$
#
# with $a_{(1)} \le a_{(2)} \le \dots$ the sorted points: the quantiles of the two sets are compared.
#
# In more dimensions there is no sorting, and the problem is expensive. **Slice**: project both sets onto a direction
# $\theta$, $\|\theta\| = 1$, where it is easy, and average over directions $\theta_1, \dots, \theta_L$:
#
# $$\mathrm{SW}_2 = \Bigl(\frac1L\sum_{l=1}^L W_2^2\bigl(\{x_i\cdot\theta_l\}, \{y_i\cdot\theta_l\}\bigr)\Bigr)^{1/2}.$$
#
# It has the unit of $x$.
#
# **Predict.** All points of a set are shifted by a vector $c$ `(D,)`. What is $\mathrm{SW}_2$ between the set and its shifted
# copy, if the average runs over all directions in $D$ dimensions? (For such a $\theta$, $\mathbb E\,\theta_i\theta_j$ is $1/D$ for $i = j$ and 0 otherwise.)
#
# <details><summary>Answer</summary>
#
# In direction $\theta$ every point moves by $c\cdot\theta$, so $W_2^2 = (c\cdot\theta)^2$. On average over the sphere
# $\mathbb E\,(c\cdot\theta)^2 = \|c\|^2/D$: a direction sees $1/D$ of a squared length. So $\mathrm{SW}_2 = \|c\|/\sqrt D$.
# </details>
#
# ### Exercise 2 · The sliced Wasserstein distance
#
# Difficulty 2/5 (one sort, one axis, one root) · about 10 minutes · 5 points
#
# `sliced_wasserstein(x, y, directions)` returns $\mathrm{SW}_2$, one number. Both sets have the same number of points $n$. The $L$ directions are
# given, `(L, D)`. The gradient must reach $x$.


# %% solution="sliced_wasserstein"
def sliced_wasserstein(x, y, directions):
    """The sliced Wasserstein distance of order 2: a scalar tensor in the units of x.

    Args:
        x, y: two sets of n points, both `(n, D)`.
        directions: `(L, D)`, each of length 1.
    """
    ### BEGIN SOLUTION
    a, b = (points @ directions.T for points in (x, y))  # (n, L)
    gaps = a.sort(dim=0).values - b.sort(dim=0).values
    return gaps.square().mean().sqrt()
    ### END SOLUTION


# %% test="sliced_on_one_line" points=1
check.sliced_on_one_line(sliced_wasserstein)
### BEGIN HIDDEN TESTS
check.sliced_on_one_line(sliced_wasserstein, hidden=1)
### END HIDDEN TESTS

# %% test="sliced_over_directions" points=2
check.sliced_over_directions(sliced_wasserstein)
### BEGIN HIDDEN TESTS
check.sliced_over_directions(sliced_wasserstein, hidden=1)
### END HIDDEN TESTS

# %% test="sliced_ignores_the_order" points=1
check.sliced_ignores_the_order(sliced_wasserstein)
### BEGIN HIDDEN TESTS
check.sliced_ignores_the_order(sliced_wasserstein, hidden=1)
### END HIDDEN TESTS

# %% test="sliced_gradient_reaches_the_samples" points=1
check.sliced_gradient_reaches_the_samples(sliced_wasserstein)
### BEGIN HIDDEN TESTS
check.sliced_gradient_reaches_the_samples(sliced_wasserstein, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# One matrix product projects all points onto all directions: shape `(n, L)`. Then each column is a problem on the line.
# </details>
# <details><summary>Help: right for one direction, off for several</summary>
#
# The mean over directions is taken of the squares, and the root comes last. A mean of roots is smaller.
# </details>
#
# A shift in the plane, against the answer above; and what both distances say of two samples of the *same* law:

# %%
directions = flowlib.random_directions(64, 2, generator=torch.Generator().manual_seed(0))
shift = torch.tensor([0.3, -0.4])  # length 0.5
got = flowlib.sliced_wasserstein(held_out, held_out + shift, directions).item()
print(f"shifted by 0.5 in the plane: SW = {got:.3f}, 0.5/√2 = {0.5 / math.sqrt(2):.3f} (64 directions)")

bandwidths = [0.1, 0.5, 2.0]


def distances(sample, n=500):
    """MMD² and SW between fresh samples and held-out data, each (mean, standard error) over twenty blocks of n points."""
    values = []
    for block in held_out.split(n):
        x = sample(n)
        values.append(
            [
                flowlib.mmd2(x, block, bandwidths).item(),
                flowlib.sliced_wasserstein(x, block, directions).item(),
            ]
        )
    values = torch.tensor(values)
    return list(zip(values.mean(0).tolist(), (values.std(0) / math.sqrt(len(values))).tolist(), strict=True))


torch.manual_seed(0)
for name, sample in (
    ("the same law", lambda n: target.sample(n)),
    (
        "seven of the eight modes",
        lambda n: (x := target.sample(2 * n))[(x - modes[0]).norm(dim=-1) > 0.8][:n],
    ),
    ("a Gaussian, same covariance", lambda n: train.std(0) * torch.randn(n, 2)),
):
    (mmd, mmd_error), (sw, sw_error) = distances(sample)
    print(f"{name:28} MMD² {mmd:8.5f} ± {mmd_error:.5f}    SW {sw:.3f} ± {sw_error:.3f}")

# %% [markdown]
# Two lessons before we use them.
#
# - **Both need a floor.** MMD² of the same law is 0 within its error, as it should be. SW of two finite samples of
#   the same law is *not* 0: sorted samples never match exactly. A value of SW says something only beside the value of
#   fresh data.
# - **Neither is a likelihood.** Leaving out one mode of eight gives a modest number, less than the plain Gaussian gets. A
#   model that gives those points density 0 would have a log-likelihood of $-\infty$. Keep this in mind for section 7.

# %% [markdown]
# ## 4 · Two models that maximize likelihood
#
# **The flow.** Exact log-likelihood, maximized. Below, a spline coupling flow (notebook 10), trained live; and beside it the
# RealNVP that comes with the course (notebook 3), trained longer.
#
# **The VAE.** Two latent variables, $M = 2$, a Gaussian decoder with one learned standard deviation. It maximizes the
# ELBO, a lower bound. With two latent variables the bound can be compared with the truth:
# $\log p(x) = \log\int p(x \mid z)\,p(z)\,dz$ is an integral over the plane of $z$, and a fine grid computes it.

# %%
torch.manual_seed(0)
seconds = {}
flow = flowlib.spline_flow(2, 4, (48, 48), bins=8, data=train)
history = flowlib.fit(flow, train, steps=700, batch_size=256, lr=4e-3, average=0.98, max_steps=MAX_STEPS)
seconds["flow"] = history.seconds

# %%
torch.manual_seed(0)
decoder = flowlib.GaussianDecoder(flowlib.mlp([2, 64, 64, 2]), log_scale=-0.5)
encoder = flowlib.GaussianEncoder(flowlib.mlp([2, 64, 64, 4]))
vae = flowlib.VAE(flowlib.GaussianPrior(2), decoder, encoder)
history = flowlib.fit(vae, train, steps=2000, batch_size=256, lr=3e-3, max_steps=MAX_STEPS)
seconds["VAE"] = history.seconds


# %%
@torch.no_grad()
def log_likelihood_by_quadrature(vae, x, n, extent=5.0):
    """log p(x) in nats by the midpoint rule on n × n latent points: x `(N, 2)` → `(N,)`."""
    step = 2 * extent / n
    axis = -extent + step * (torch.arange(n) + 0.5)
    z = torch.cartesian_prod(axis, axis)
    log_weight = vae.prior().log_prob(z) + 2 * math.log(step)
    p = vae.decoder(z)
    return torch.stack([(log_weight + p.log_prob(point)).logsumexp(0) for point in x])


torch.manual_seed(0)
few = held_out[:500]
with torch.no_grad():
    parts = vae.prior, vae.decoder, vae.encoder
    vae_elbo = flowlib.elbo(few, *parts, num_samples=100).mean().item()
    vae_iwae = flowlib.importance_weighted_log_likelihood(few, *parts, num_samples=500).mean().item()
    on_grid = {n: log_likelihood_by_quadrature(vae, few, n).mean().item() for n in (200, 300)}
    flow_few = flow.log_prob(few).mean().item()
exact_few = target.log_prob(few).mean().item()
print("mean log-likelihood of 500 held-out points, nats")
print(f"  exact density                     {exact_few:.3f}")
print(f"  flow, exact                       {flow_few:.3f}")
print(f"  VAE: ELBO                         {vae_elbo:.3f}   a bound")
print(f"  VAE: importance-weighted, 500     {vae_iwae:.3f}   a tighter bound")
print(f"  VAE: integral over the plane      {on_grid[300]:.3f}   (coarser grid: {on_grid[200]:.3f})")

# %% [markdown]
# The VAE *has* a density, and here we can see its value. Its ELBO is lower: the gap is the divergence of the encoder's
# Gaussian from the true posterior. With 16 latent variables, as in section 9, no grid is fine enough. Then the bound is all
# one has, and part of what separates a VAE's number from a flow's may be the bound's gap and not the model's fault.

# %% [markdown]
# ## 5 · A game instead of a likelihood: GAN
#
# A **generator** $g$ turns noise $z \sim N(0, I)$ into $x = g(z)$. Let $q$ be the density of its samples, which nobody can
# evaluate, and $p$ the density of the data, which nobody knows. A second network, the **discriminator**, gets points
# of both kinds and learns to tell them apart. Its logit $\ell(x)$ means: real with probability $\sigma(\ell(x))$. The
# discriminator minimizes the cross-entropy of this two-class problem,
#
# $$\mathcal L_{\text{disc}} = -\,\mathbb E_{x\sim p}\log\sigma(\ell(x)) - \mathbb E_{x\sim q}\log\bigl(1 - \sigma(\ell(x))\bigr),$$
#
# and the generator wants its samples to be taken for real (Goodfellow et al. 2014). Literally, "the opposite of the
# discriminator" would be to minimize $\mathbb E_{x\sim q} \log(1 - \sigma(\ell(x)))$, the *saturating* loss. In practice one minimizes
# instead the *non-saturating* one,
#
# $$\mathcal L_{\text{gen}} = -\,\mathbb E_{x\sim q}\log\sigma(\ell(x)).$$
#
# **Predict.** At the start samples are bad and the discriminator is sure: $\ell \ll 0$ at all samples. Which of the two
# losses has a gradient there?

# %%
logits = torch.linspace(-8, 6, 300, requires_grad=True)
softplus = nn.functional.softplus
curves = {"saturating: log(1 − σ(ℓ))": -softplus(logits), "non-saturating: −log σ(ℓ)": softplus(-logits)}
figure, axes = plt.subplots(1, 2, figsize=(10, 3.6))
for (name, curve), style in zip(curves.items(), ("--", "-"), strict=True):
    (slope,) = torch.autograd.grad(curve.sum(), logits)
    axes[0].plot(logits.detach(), curve.detach(), style, label=name)
    axes[1].plot(logits.detach(), slope, style, label=name)
axes[0].set(title="two losses for the generator", xlabel="logit ℓ of a sample", ylabel="loss (nats)")
axes[1].set(title="their slopes", xlabel="logit ℓ of a sample", ylabel="d loss / dℓ")
axes[0].legend()
plt.show()

# %% [markdown]
# **Figure.** Left: two falling curves over the logit of a sample. The saturating loss (dashed) is flat at 0 for very
# negative logits and falls without bound on the right; the non-saturating one (solid) is steep on the left and flat on the
# right. Right: their slopes. For a sample that the discriminator rejects the dashed slope is 0 and the solid one −1.
# *Conclude:* both push the same way, but only the solid loss pushes where a push is needed.
#
# ### Exercise 3 · The losses of the game
#
# Difficulty 2/5 (two lines, and one overflow) · about 10 minutes · 5 points
#
# `gan_losses(real_logits, fake_logits)` returns the pair $(\mathcal L_{\text{disc}}, \mathcal L_{\text{gen}})$, two numbers, the generator's loss
# in its non-saturating form. It is given logits `(n,)` and `(m,)`, not probabilities, and must be right for logits of any
# size. (Torch has a function for $-\log\sigma(\ell) = \log(1 + e^{-\ell})$. Which one?) Each expectation is a mean over its own set.


# %% solution="gan_losses"
def gan_losses(real_logits, fake_logits):
    """(discriminator's loss, generator's non-saturating loss): two scalar tensors, in nats.

    Args:
        real_logits: the discriminator's logits at data, `(n,)`.
        fake_logits: at samples of the generator, `(m,)`.
    """
    ### BEGIN SOLUTION
    log_sigmoid = nn.functional.logsigmoid
    discriminator = -log_sigmoid(real_logits).mean() - log_sigmoid(-fake_logits).mean()  # 1 − σ(ℓ) = σ(−ℓ)
    generator = -log_sigmoid(fake_logits).mean()
    return discriminator, generator
    ### END SOLUTION


# %% test="gan_discriminator_loss" points=1
check.gan_discriminator_loss(gan_losses)
### BEGIN HIDDEN TESTS
check.gan_discriminator_loss(gan_losses, hidden=1)
### END HIDDEN TESTS

# %% test="gan_generator_loss" points=1
check.gan_generator_loss(gan_losses)
### BEGIN HIDDEN TESTS
check.gan_generator_loss(gan_losses, hidden=1)
### END HIDDEN TESTS

# %% test="gan_losses_do_not_overflow" points=2
check.gan_losses_do_not_overflow(gan_losses)
### BEGIN HIDDEN TESTS
check.gan_losses_do_not_overflow(gan_losses, hidden=1)
### END HIDDEN TESTS

# %% test="gan_generator_learns_where_rejected" points=1
check.gan_generator_learns_where_rejected(gan_losses)
### BEGIN HIDDEN TESTS
check.gan_generator_learns_where_rejected(gan_losses, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: infinite or NaN for large logits</summary>
#
# $\sigma(200)$ is rounded to 1, and $\log(1 - 1)$ is $-\infty$. Never go through the probability: `softplus(v)` is
# $\log(1 + e^v)$, `logsigmoid(v)` is $\log\sigma(v)$, both without overflow.
# </details>
# <details><summary>Help: how do I get log(1 − σ) from a log-sigmoid?</summary>
#
# $1 - \sigma(\ell) = \sigma(-\ell)$.
# </details>
#
# ### What the best discriminator knows
#
# Fix the generator. At a point $x$ the discriminator's loss is
#
# $$p(x)\,\log\bigl(1 + e^{-\ell}\bigr) + q(x)\,\log\bigl(1 + e^{\ell}\bigr),$$
#
# a function of the one number $\ell = \ell(x)$: data come to $x$ with density $p(x)$, samples with density $q(x)$.
#
# ### Exercise 4 · The best logit
#
# Difficulty 3/5 (a derivative, then a simplification) · about 10 minutes · 4 points
#
# `optimal_discriminator(p, q)` returns the $\ell$ that minimizes it, and the minimum, as sympy expressions for numbers $p, q > 0$.


# %% solution="optimal_discriminator"
def optimal_discriminator(p, q):
    """(best logit, smallest loss at x): two sympy expressions in the positive symbols p and q."""
    ### BEGIN SOLUTION
    # The derivative is q σ(ℓ) − p σ(−ℓ); it is 0 at σ(ℓ) = p/(p + q).
    logit = sp.log(p / q)
    loss = -p * sp.log(p / (p + q)) - q * sp.log(q / (p + q))
    return logit, loss
    ### END SOLUTION


# %% test="optimal_logit" points=2
check.optimal_logit(optimal_discriminator)
### BEGIN HIDDEN TESTS
check.optimal_logit(optimal_discriminator, hidden=1)
### END HIDDEN TESTS

# %% test="optimal_loss" points=2
check.optimal_loss(optimal_discriminator)
### BEGIN HIDDEN TESTS
check.optimal_loss(optimal_discriminator, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the derivative</summary>
#
# $\frac{d}{d\ell}\log(1 + e^{\ell}) = \sigma(\ell)$, and
# $\frac{d}{d\ell}\log(1 + e^{-\ell}) = -\sigma(-\ell) = \sigma(\ell) - 1$.
# </details>
# <details><summary>Help: from the probability to the logit</summary>
#
# The best probability of "real" is a fraction you could have guessed. The logit is the logarithm of the odds.
# </details>
#
# Two things follow. First: **a discriminator learns a log-density ratio**, $\ell^\ast(x) = \log p(x) - \log q(x)$. A GAN
# does contain something like a density after all, but only relative to its own samples, and only as good as the training.
# Second: integrate the smallest loss over $x$, and it is $2\log 2 - 2\,\mathrm{JS}(p, q)$ with the Jensen–Shannon
# divergence $\mathrm{JS}(p, q) = \frac12\mathrm{KL}(p\,\|\,\frac{p+q}2) + \frac12\mathrm{KL}(q\,\|\,\frac{p+q}2)$. A
# generator that played against the best discriminator with the *saturating* loss would minimize JS.
#
# **What does a missing mode cost?** Let the data have $K$ equal modes that do not overlap, and let $q$ be perfect on
# $K - 1$ of them:

# %%
K = sp.symbols("K", positive=True, integer=True)
p_mass, q_mass = 1 / K, 1 / (K - 1)  # of one mode; q has none at the mode that is missing
middle = (p_mass + q_mass) / 2
js = (
    (K - 1) * (p_mass * sp.log(p_mass / middle) + q_mass * sp.log(q_mass / middle)) + p_mass * sp.log(2)
) / 2
print("JS in nats for K = 8:", sp.N(js.subs(K, 8), 3), "  KL(p ‖ q): infinite   KL(q ‖ p):", end=" ")
print(sp.N(sp.log(sp.Rational(8, 7)), 3), "  largest possible JS:", sp.N(sp.log(2), 3))

# %% [markdown]
# Maximum likelihood minimizes $\mathrm{KL}(p\,\|\,q)$: it pays *everything* for data that the model calls impossible. The
# game pays a few hundredths of a nat. That is why a VAE or a flow smears and a GAN drops.
#
# Now train one. The penalty **R1** (Mescheder, Geiger & Nowozin 2018) adds the squared slope of $\ell$ at the data, times a
# weight, to the discriminator's loss. It keeps the slope small; section 8 shows the game without it.

# %%
torch.manual_seed(0)
gan = flowlib.Generator(flowlib.mlp([4, 64, 64, 2]), M=4)
discriminator = flowlib.mlp([2, 64, 64, 1])
history = flowlib.fit_gan(gan, discriminator, train, steps=2000, lr=1e-3, r1=0.3, max_steps=MAX_STEPS)
seconds["GAN"] = history.seconds

# %%
figure, ax = plt.subplots(figsize=(8, 3.2))
ax.plot(history.discriminator_loss, linewidth=0.5, label="discriminator")
ax.plot(history.generator_loss, linewidth=0.5, label="generator")
ax.axhline(2 * math.log(2), color="black", linestyle="--", linewidth=0.8, label="2 log 2: cannot tell")
ax.set(title="both losses of the game", xlabel="step", ylabel="loss (nats)")
ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %% [markdown]
# **Figure.** Two noisy curves over the steps of training. After a short start both stay level: the discriminator's near the
# dashed line at $2\log 2$, the generator's near half of it. *Conclude:* there is nothing to read here. A game
# has no loss that falls as the samples improve; equal players have level losses, good ones and bad ones alike. This
# is the practical price of a model without a likelihood: one cannot see from the loss whether to stop.

# %% [markdown]
# ## 6 · A distance instead of an opponent
#
# If MMD² and SW say how far samples are from data, and their gradient reaches the samples, minimize them directly. No
# discriminator, no game: an ordinary loss that falls. (Dziugaite, Roy & Ghahramani 2015; Li, Swersky & Zemel 2015;
# Deshpande, Zhang & Schwing 2018.) `flowlib.fit` trains both: the loss of a batch of data is its distance from fresh
# samples.

# %%
mmd_bandwidths = [0.2, 0.5, 1.0, 2.0]
losses = {
    "MMD": lambda model, x: flowlib.mmd2(model.rsample((len(x),)), x, mmd_bandwidths),
    "sliced W.": lambda model, x: flowlib.sliced_wasserstein(
        model.rsample((len(x),)), x, flowlib.random_directions(32, 2)
    ),
}
generators = {"GAN": gan}
for name, distance in losses.items():
    torch.manual_seed(0)
    model = flowlib.Generator(flowlib.mlp([4, 64, 64, 2]), M=4)
    history = flowlib.fit(
        model,
        train,
        loss=lambda x, model=model, distance=distance: distance(model, x),
        steps=1000,
        batch_size=200,
        lr=3e-3,
        max_steps=MAX_STEPS,
    )
    generators[name] = model
    seconds[name] = history.seconds

# %% [markdown]
# ## 7 · Side by side
#
# One more measurement, for question 4. We know where the modes are, so we can count.
#
# ### Exercise 5 · Which modes are covered?
#
# Difficulty 2/5 (nearest, and near enough) · about 10 minutes · 4 points
#
# A sample **hits** the mode that is nearest to it if it is no farther than three standard deviations away. `mode_coverage(x, modes, std)`
# returns how many samples hit each of the $K$ modes, `(K,)`, and the share of all samples that hit any, a number.


# %% solution="mode_coverage"
def mode_coverage(x, modes, std):
    """(counts, share): the number of samples that hit each mode `(K,)`, and the share of samples that hit any.

    Args:
        x: samples, `(n, D)`.
        modes: centers of the modes, `(K, D)`.
        std: standard deviation of every mode, a number.
    """
    ### BEGIN SOLUTION
    distance, nearest = (x[:, None] - modes).norm(dim=-1).min(dim=1)  # both (n,)
    hits = distance <= 3 * std
    counts = torch.bincount(nearest[hits], minlength=len(modes))
    return counts, hits.float().mean()
    ### END SOLUTION


# %% test="coverage_counts" points=2
check.coverage_counts(mode_coverage)
### BEGIN HIDDEN TESTS
check.coverage_counts(mode_coverage, hidden=1)
### END HIDDEN TESTS

# %% test="coverage_share" points=1
check.coverage_share(mode_coverage)
### BEGIN HIDDEN TESTS
check.coverage_share(mode_coverage, hidden=1)
### END HIDDEN TESTS

# %% test="coverage_nearest_mode_only" points=1
check.coverage_nearest_mode_only(mode_coverage)
### BEGIN HIDDEN TESTS
check.coverage_nearest_mode_only(mode_coverage, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# The table of distances from every sample to every mode, `(n, K)`. Its smallest entry in each row, and where that stands.
# </details>
# <details><summary>Help: counts of the wrong length</summary>
#
# `torch.bincount` stops at the largest index it sees. A mode without hits needs its 0: `minlength`.
# </details>
#
# **Predict.** What share of *true* samples hits a mode? (The squared distance in standard deviations, of a Gaussian in
# the plane, exceeds $r^2$ with probability $e^{-r^2/2}$.)

# %%
print(f"expected of data: {1 - math.exp(-4.5):.4f}", end="; ")
counts, share = flowlib.mode_coverage(held_out, modes, mode_std)
print(f"held-out data: {share:.4f}; hits of each mode of 10,000 points: {counts.tolist()}")


def covered(counts, n):
    """How many modes get at least a quarter of their fair share of n samples."""
    return int((counts >= n / len(counts) / 4).sum())


# %%
longer = flowlib.load_flow_2d("eight_gaussians")
samplers = {
    "data": lambda n: target.sample(n),
    "flow": lambda n: flow.sample((n,)),
    "flow, longer": lambda n: longer.sample((n,)),
    "VAE": lambda n: vae.sample(n),
} | {name: lambda n, model=model: model.sample((n,)) for name, model in generators.items()}
with torch.no_grad():
    likelihood = {
        "data": f"{-exact_few:.3f} exact",
        "flow": f"{-flow_few:.3f} exact",
        "flow, longer": f"{-longer.log_prob(few).mean():.3f} exact",
        "VAE": f"≤ {-vae_iwae:.3f} bound",
    }

torch.manual_seed(1)
print(
    f"{'':14}{'NLL, nats':>14}{'MMD² × 1000':>18}{'SW':>17}{'modes':>7}{'hits':>7}{'train s':>9}{'sample s':>10}"
)
table = {}
for name, sample in samplers.items():
    start = time.perf_counter()
    drawn = sample(10_000)
    sampling = time.perf_counter() - start
    counts, share = flowlib.mode_coverage(drawn, modes, mode_std)
    (mmd, mmd_error), (sw, sw_error) = distances(sample)
    table[name] = drawn
    print(
        f"{name:14}{likelihood.get(name, 'none'):>14}{1000 * mmd:>10.2f} ± {1000 * mmd_error:.2f}{sw:>10.3f} ± {sw_error:.3f}"
        f"{covered(counts, 10_000):>6}/8{share:>7.0%}{f'{seconds[name]:.1f}' if name in seconds else '–':>9}{sampling:>10.4f}"
    )

# %%
figure, axes = plt.subplots(2, 4, figsize=(12, 6.2), sharex=True, sharey=True)
for ax, (name, drawn) in zip(axes.flat, table.items(), strict=False):
    plotting.plot_samples(ax, drawn[:3000], extent=target.extent, title=name, xlabel="$x_1$", ylabel="$x_2$")
axes.flat[-1].set_axis_off()
plt.show()

# %% [markdown]
# **Figure.** Seven panels with 3000 samples each. Data: eight round blobs on a ring. The two flows: the same blobs, thin
# threads between them and a few points inside, fewer for the one that was trained longer. VAE: blobs in a haze that joins
# them. GAN: eight knots, narrower than the data's blobs, joined by straight lines. MMD and sliced Wasserstein: a ring
# with hardly any blobs, and points inside. *Conclude:* a continuous map of a connected latent space cannot have
# disconnected support; each model joins the modes in its own way. And compare the last two panels with their rows in the
# table: all eight modes "covered", SW near the floor, and the picture is a plain ring. **A measurement answers its own
# question and no other.**
#
# Read the table row by row.
#
# - *Likelihood.* The flow's number is exact, the VAE's is a bound, the generators have none. That is not modesty, it is a
#   property of the model. With $M < D$ the samples of $g$ lie on a curve or surface of volume 0, where **no density
#   exists**. With $M = D$ a density may exist, but its value at $x$ is a sum over *all* $z$ with $g(z) = x$ of
#   $p(z)/|\det\partial g/\partial z|$, and nothing finds these $z$: $g$ was not built to be invertible. With $M > D$, as
#   here, it would be an integral over a set of such $z$. That is what a flow pays for: its layers are restricted so that
#   there is exactly one $u$, and it can be computed.
# - *Distances.* Compare with the first row, the floor. MMD² tells the models apart: the flows are at the floor, the
#   others above. SW hardly does: with 500 points it is mostly chance, how many points each mode happened to get, and
#   every row is near the floor. Two rulers, two verdicts; and having been trained by a distance does not make a model the
#   best in it.
# - *Modes and hits.* Every row counts eight modes: a plain ring passes through all of them. The hits say how much lies
#   between: threads, haze, or all of a ring.
# - *Seconds.* A generator samples in one pass, and so do a VAE and a coupling flow: nothing here takes a second for
#   10,000 samples.

# %% [markdown]
# ### Can we not estimate a likelihood for the GAN?
#
# A common way: draw many samples, put a small Gaussian on each, and evaluate the mixture, a **kernel density
# estimate**. Test the method where the answer is known: data and "model" are the *same* normal $N(0, I)$ in $D$ dimensions.
# We choose the bandwidth that is best on the test points, which flatters the method.
#
# **Predict.** Each Gaussian sees its own neighborhood only. Is the estimate too high or too low, and how does the error change with $D$?


# %%
def kernel_density_log_prob(x, samples, b):
    """log (1/S) Σ_s N(x; sample_s, b² I) in nats: x `(N, D)`, samples `(S, D)` → `(N,)`."""
    S, D = samples.shape
    squared = torch.cdist(x, samples) ** 2
    return (-squared / (2 * b**2)).logsumexp(1) - math.log(S) - D / 2 * math.log(2 * math.pi * b**2)


print(
    f"{'D':>3}{'true':>10}{'estimated, 1000 samples':>26}{'10,000 samples':>17}   (mean log-likelihood, nats)"
)
for D in (2, 8, 64):
    generator = torch.Generator().manual_seed(D)
    test_points, many = torch.randn(500, D, generator=generator), torch.randn(10_000, D, generator=generator)
    truth = Normal(0.0, 1.0).log_prob(test_points).sum(-1).mean()
    best = [
        max(
            kernel_density_log_prob(test_points, many[:S], b).mean().item()
            for b in (0.15, 0.3, 0.5, 0.7, 0.85, 1.0)
        )
        for S in (1000, 10_000)
    ]
    print(f"{D:>3}{truth:>10.2f}{best[0]:>26.2f}{best[1]:>17.2f}")

# %% [markdown]
# ### Exercise 6 · A log-likelihood for a GAN
#
# Difficulty 3/5 (judgment) · about 15 minutes · 3 points · graded by hand
#
# A paper trains a GAN on 28 × 28 images and reports a test log-likelihood from a kernel density estimate over 10,000
# samples. It is higher than the bound of a VAE, and the paper concludes that the GAN is the better density model. Answer
# in about six sentences.
#
# *What we look for:* what the reported number is the log-likelihood *of*, and what the cell above shows about its error
# as $D$ grows (1 point); why the GAN's number and the VAE's bound cannot be compared, and in which direction each may err (1
# point); one measurement that *would* compare the two models fairly, and what it still does not tell (1 point).

# %% [markdown] manual="likelihood_of_a_gan" points=3
# ### BEGIN SOLUTION
# The number is the log-likelihood of another model: a mixture of 10,000 Gaussians placed on the GAN's samples, not of the
# GAN, which with fewer latent variables than pixels has no density at all. The cell shows that the estimate fails even
# when model and data agree exactly: in 64 dimensions it is far below the truth, and ten times as many samples hardly
# help; in 784 it is worse. So it ranks models by how they suit the kernel and its bandwidth, not by their density. The
# VAE's number is a lower bound on the VAE's own log-likelihood: its error is known to be in one direction. The estimate's
# error has a bandwidth chosen after the fact and no known relation to the GAN. A fair comparison uses what both models
# have: samples against held-out data, by MMD or sliced Wasserstein with a floor and standard errors, or coverage where
# modes are known. Such distances still say nothing about how improbable the model calls a given image, and a small one
# does not exclude missing modes or copied training images.
# ### END SOLUTION

# %% [markdown]
# ## 8 · Mode collapse, provoked and counted
#
# A generator that has found one good place can stay there: the discriminator learns to reject the place, the generator
# moves on to the next, and so on around the ring, never in two places at once. This is **mode collapse**. It is not rare:
# it happens when the game is out of balance. We provoke it in three ways and count, over several seeds, with small networks:
#
# - *balanced*: with the penalty R1;
# - *no penalty*: the same without it;
# - *narrow noise*: without it, and with latent noise of standard deviation 0.05 in place of 1: the generator starts near
#   a point;
# - *weak discriminator*: without it, and the discriminator learns ten times slower than the generator.
#
# **Predict.** Which of the four covers all modes? Which covers fewest?

# %%
settings = {
    "balanced": {"r1": 0.3},
    "no penalty": {},
    "narrow noise": {"latent_std": 0.05},
    "weak discriminator": {"discriminator_lr": 1e-4},
}


def small_gan(seed, latent_std=1.0, **training):
    """Samples `(4000, 2)` of a small GAN, trained for a short time."""
    torch.manual_seed(seed)
    model = flowlib.Generator(flowlib.mlp([2, 48, 48, 2]), M=2, latent_std=latent_std)
    opponent = flowlib.mlp([2, 48, 48, 1])
    flowlib.fit_gan(
        model,
        opponent,
        train,
        steps=700,
        batch_size=128,
        **training,
        max_steps=MAX_STEPS,
        seed=seed,
        progress=False,
    )
    return model.sample((4000,))


seeds = range(3)
collapse = {name: [small_gan(seed, **setting) for seed in seeds] for name, setting in settings.items()}
print(f"{'':20}{'modes covered, by seed':>24}{'mean':>8}{'hits, mean':>12}")
for name, runs in collapse.items():
    found = [flowlib.mode_coverage(x, modes, mode_std) for x in runs]
    numbers = [covered(counts, 4000) for counts, _ in found]
    hits = sum(share for _, share in found) / len(found)
    print(f"{name:20}{numbers!s:>24}{sum(numbers) / len(numbers):>8.1f}{hits:>12.0%}")

# %%
figure, axes = plt.subplots(len(seeds), len(settings), figsize=(10, 7.6), sharex=True, sharey=True)
for column, (name, runs) in zip(axes.T, collapse.items(), strict=True):
    for row, (ax, x) in enumerate(zip(column, runs, strict=True)):
        plotting.plot_samples(
            ax,
            x[:1500],
            extent=target.extent,
            title=name if row == 0 else "",
            xlabel="$x_1$" if row == len(seeds) - 1 else "",
            ylabel=f"seed {row}: $x_2$" if ax in axes[:, 0] else "",
        )
        ax.scatter(*modes.T, marker="+", s=30, color=plotting.PALETTE["vermilion"])
plt.show()

# %% [markdown]
# **Figure.** A grid of panels: one column for each setting, one row for each seed, 1500 samples in each, crosses at the
# eight modes (both axes run from −3.2 to 3.2). Balanced: the samples follow the ring through all crosses, with every
# seed. No penalty: the same for some seeds, and a corner of the ring for another. Narrow noise and weak discriminator: a
# single clump or wedge, at another place for every seed, on a mode or beside one, in part outside the window. *Conclude:* collapse is a matter of the
# game, not of the networks' size, which is the same in all panels. And one seed proves nothing: without the penalty a run
# may look healthy, and the next one not.
#
# **And the flow?** It cannot do this. A data point in a region that the model calls impossible makes the loss infinite,
# so maximum likelihood spreads mass over everything it has seen. Its failure is the opposite one: mass *between* the
# modes. Which of the two is worse depends on what the model is for. A sampler of pretty pictures may drop modes. A
# detector of unusual data may not.

# %% [markdown]
# ## 9 · Digits: likelihood and codes
#
# Now the digits, 64 pixels of 17 levels. Flow and VAE side by side, both as models of the *discrete* image, so that their
# numbers can be compared: the flow through the dequantization bound of notebook 6, the VAE through its
# importance-weighted bound with a decoder that gives a probability to every level of every pixel. (Neither is exact here:
# **on discrete data the flow's likelihood is a bound, too**.) The flow has spline couplings and, as its last layer, the
# histogram of each pixel (notebooks 6 and 10).

# %%
digits_train, digits_validation, digits_test = (part.images for part in data.load_digits_split(seed=0))
torch.manual_seed(0)
couplings = flowlib.spline_flow(64, 4, (128,), bins=8, dropout=0.3, permute=True)
# The last layer is the table of every pixel: the flow starts there and learns how pixels depend on each other.
histograms = flowlib.HistogramMarginals.from_data(data.dequantize(digits_train, seed=0), bins=data.LEVELS)
digits_flow = flowlib.Flow(flowlib.StandardNormal(64), [*couplings.transformations, histograms])
history = flowlib.fit(
    digits_flow,
    digits_train,
    # New noise in every batch: the flow must not learn one draw of it.
    loss=lambda x: -digits_flow.log_prob(data.dequantize(x)).mean(),
    validation=digits_validation,
    steps=300,
    batch_size=128,
    lr=2e-3,
    average=0.98,
    max_steps=MAX_STEPS,
)


# %%
class Centered(nn.Module):
    """Levels 0, …, 16 to −1/2, …, 1/2: what a network likes to be fed."""

    def forward(self, x):
        return x / 16 - 0.5


def digits_vae(M):
    """A VAE of 8 × 8 digits with M latent variables and a categorical decoder."""
    torch.manual_seed(0)
    decoder = flowlib.CategoricalDecoder(
        flowlib.mlp([M, 128, 128, 64 * data.LEVELS], dropout=0.1), levels=data.LEVELS
    )
    encoder = flowlib.GaussianEncoder(
        nn.Sequential(Centered(), flowlib.mlp([64, 128, 128, 2 * M], dropout=0.1))
    )
    model = flowlib.VAE(flowlib.GaussianPrior(M), decoder, encoder)
    step = 0

    def loss(x):
        # The price of the code is raised from 0 to 1; in full from the start, it keeps the code from ever being used.
        nonlocal step
        step += model.training
        price = min(1.0, step / 500) if model.training else 1.0
        q = model.encoder(x)
        z = q.rsample()
        cost = q.log_prob(z) - model.prior().log_prob(z)
        return -(model.decoder(z).log_prob(x) - price * cost).mean()

    flowlib.fit(
        model,
        digits_train,
        loss=loss,
        validation=digits_validation,
        steps=800,
        batch_size=128,
        lr=2e-3,
        weight_decay=1e-3,
        max_steps=MAX_STEPS,
    )
    return model


vaes = {M: digits_vae(M) for M in (2, 16)}

# %%
digits_bits = {}
torch.manual_seed(0)
with torch.no_grad():
    bound = flowlib.dequantization_bound(digits_flow.log_prob, digits_test, data.LEVELS, num_samples=8)
    digits_bits["flow (bound)"] = flowlib.bits_per_dim(bound, 64).mean().item()
    for M, model in vaes.items():
        parts = model.prior, model.decoder, model.encoder
        bound = flowlib.importance_weighted_log_likelihood(
            digits_test, *parts, num_samples=100, chunk_size=10
        )
        digits_bits[f"VAE, M = {M} (bound)"] = flowlib.bits_per_dim(bound, 64).mean().item()
# For comparison: pixels as independent, each with a table of its 17 levels, a tenth of an image added to every entry.
tables = torch.stack([(digits_train == level).float().sum(0) + 0.1 for level in range(data.LEVELS)], -1)
log_p = (tables / tables.sum(-1, keepdim=True)).log()[torch.arange(64), digits_test.long()].sum(-1)
digits_bits["a table per pixel (exact)"] = flowlib.bits_per_dim(log_p, 64).mean().item()
print("test bits per dimension of 8 × 8 digits with 17 levels, one split; lower is better")
for name, bits in digits_bits.items():
    print(f"  {name:28}{bits:.3f}")

# %% [markdown]
# Both are short live runs; notebook 6 has the careful table over several splits, which is printed again in section 11.
#
# ### Short codes
#
# A flow's code of an image is $u = T^{-1}(x)$: 64 numbers for 64 pixels. Nothing is lost, and nothing is compressed. Can
# we keep some of the 64 and drop the rest? For *linear* flows, yes. Let $T(u) = A u + \mu$, where the columns of $A$ are the
# principal axes of the data, each as long as the standard deviation along it, largest first. Then keeping the first $M$
# base variables is reconstruction by principal components.
#
# ### Exercise 7 · A flow with a shortened code
#
# Difficulty 2/5 (three lines) · about 10 minutes · 4 points
#
# `flow_reconstruction(x, flow, M)`: encode $x$ `(B, D)`, keep the first $M$ base variables, set the others to 0 (their mean), and
# go back: the result is `(B, D)`. $M = 0$ and $M = D$ are allowed. `flow` is a `flowlib.Flow`; `forward` goes from base to data, `inverse` from
# data to base.


# %% solution="flow_reconstruction"
def flow_reconstruction(x, flow, M):
    """x after its code was cut to the first M base variables: `(B, D)` → `(B, D)`.

    Args:
        x: data, `(B, D)`.
        flow: a `flowlib.Flow`; `flow.forward(u)` and `flow.inverse(x)` return (point, log_det).
        M: number of base variables to keep, 0 ≤ M ≤ D.
    """
    ### BEGIN SOLUTION
    u, _ = flow.inverse(x)
    kept = torch.cat([u[..., :M], torch.zeros_like(u[..., M:])], dim=-1)
    return flow.forward(kept)[0]
    ### END SOLUTION


# %% test="reconstruction_keeps_everything" points=1
check.reconstruction_keeps_everything(flow_reconstruction)
### BEGIN HIDDEN TESTS
check.reconstruction_keeps_everything(flow_reconstruction, hidden=1)
### END HIDDEN TESTS

# %% test="reconstruction_with_fewer" points=2
check.reconstruction_with_fewer(flow_reconstruction)
### BEGIN HIDDEN TESTS
check.reconstruction_with_fewer(flow_reconstruction, hidden=1)
### END HIDDEN TESTS

# %% test="reconstruction_by_principal_components" points=1
check.reconstruction_by_principal_components(flow_reconstruction)
### BEGIN HIDDEN TESTS
check.reconstruction_by_principal_components(flow_reconstruction, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which method encodes?</summary>
#
# The code is the base variable, and `inverse` is the direction that ends there.
# </details>
# <details><summary>Help: everything passes but the case M = 0</summary>
#
# `u[..., -M:]` with $M = 0$ is all of $u$. Count from the front: `u[..., M:]`.
# </details>
#
# **Predict.** The couplings mix the pixels through networks. After training, are the first two base variables
# more important than the last two? Order the three by their error with $M = 2$: principal components, VAE, flow.


# %%
def cut_flow(x, M):
    """`flow_reconstruction` of images of 17 levels, to levels: the flow lives on (levels + noise)/17."""
    u, _ = digits_flow.inverse((x + 0.5) / data.LEVELS)
    u = torch.cat([u[..., :M], torch.zeros_like(u[..., M:])], dim=-1)
    return digits_flow.forward(u)[0] * data.LEVELS - 0.5


center = digits_train.mean(0)
axes_of_variance = torch.linalg.svd(digits_train - center, full_matrices=False).Vh
codes = {
    "principal components": lambda x, M: (
        center + (x - center) @ axes_of_variance[:M].T @ axes_of_variance[:M]
    ),
    "flow, code cut": cut_flow,
    "VAE": lambda x, M: vaes[M].decoder(vaes[M].encoder(x).mean).mean,
}
sizes = (0, 2, 4, 8, 16, 32, 48, 60, 64)
rmse = {}
with torch.no_grad():
    for name, reconstruct in codes.items():
        for M in vaes if name == "VAE" else sizes:
            error = (reconstruct(digits_test, M) - digits_test).square().mean().sqrt().item()
            rmse.setdefault(name, {})[M] = error
    rates = {
        M: (q.log_prob(z := q.sample((50,))) - model.prior().log_prob(z)).mean().item() / math.log(2)
        for M, model in vaes.items()
        for q in [model.encoder(digits_test)]
    }
print("root mean square error of a pixel, in levels of 0 … 16")
for name, errors in rmse.items():
    print(f"  {name:22}" + "   ".join(f"M = {M}: {error:.2f}" for M, error in errors.items()))
print("what the VAEs' codes cost, E KL(q(z|x) ‖ p(z)), in bits an image: ", end="")
print(", ".join(f"M = {M}: {rate:.1f}" for M, rate in rates.items()))

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 4), width_ratios=(1, 1.2))
for (name, errors), marker in zip(rmse.items(), ("o-", "s-", "D"), strict=True):
    axes[0].plot(list(errors), list(errors.values()), marker, label=name)
axes[0].set(
    title="error of shortened codes", xlabel="numbers kept, M", ylabel="RMS error of a pixel (levels)"
)
axes[0].legend()
few_digits = digits_test[:10]
with torch.no_grad():
    rows = [few_digits, *(reconstruct(few_digits, 2) for reconstruct in codes.values())]
plotting.plot_image_grid(
    torch.cat(rows), vmax=16.0, ax=axes[1], title="original; PCA; flow, cut; VAE (all M = 2)"
)
plt.show()

# %% [markdown]
# **Figure.** Left: the error of a pixel over the number of kept values. Principal components fall fastest, down
# to 0 at 64. The cut flow starts a little higher, stays there for long, and is at 0 at 64, too. Two diamonds mark the
# VAEs: at $M = 2$ below both curves, at $M = 16$ between them. Right: ten digits and their reconstructions from two numbers:
# gray averages by principal components, the same shape ten times by the cut flow, sharper digits by the VAE, though not always the right ones.
#
# *Conclude:* "a flow does no dimension reduction" is not an omission that one could mend. Nothing in the likelihood makes
# the first base variables more important than the last: any rotation of the base gives the same density. The VAE is
# *made* to compress, by a bottleneck and a price for its code, the KL term of its ELBO. With $M = 16$ numbers at hand it spends only
# a few bits more than with $M = 2$, and reconstructs worse than 16 principal components, which pay nothing for their
# precision. It maximizes likelihood, not sharpness.

# %% [markdown]
# ## 10 · Discrete data: what happens to a density
#
# The smallest discrete problem: two binary pixels that are mostly equal, four possible images. A VAE with a Bernoulli
# decoder gives each image a probability. A flow gives each a *density*, and nothing limits a density at a point.
#
# **Predict.** Train a flow on these four points without dequantization. Where does its loss settle?

# %%
images = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
probabilities = torch.tensor([0.45, 0.05, 0.05, 0.45])
pixels = images[
    torch.multinomial(probabilities, 5000, replacement=True, generator=torch.Generator().manual_seed(0))
]
entropy = Categorical(probs=probabilities).entropy().item()

torch.manual_seed(0)
pixel_vae = flowlib.VAE(
    flowlib.GaussianPrior(1),
    flowlib.BernoulliDecoder(flowlib.mlp([1, 16, 2])),
    flowlib.GaussianEncoder(flowlib.mlp([2, 16, 2])),
)
flowlib.fit(pixel_vae, pixels, steps=500, batch_size=256, lr=1e-2, max_steps=MAX_STEPS)
with torch.no_grad():
    z = torch.linspace(-8, 8, 2001)[:, None]
    weight = pixel_vae.prior().log_prob(z).exp() * (z[1, 0] - z[0, 0])
    P = torch.stack([(weight * pixel_vae.decoder(z).log_prob(image).exp()).sum() for image in images])
print("true probabilities", [round(v, 3) for v in probabilities.tolist()])
print("VAE               ", [round(v, 3) for v in P.tolist()], f"sum {P.sum():.4f}")
print(f"entropy {entropy:.3f} nats; VAE: {-(probabilities * P.log()).sum():.3f}, never below it")

raw_losses, spread_losses = [], []
for dequantized, found in ((False, raw_losses), (True, spread_losses)):
    torch.manual_seed(0)
    pixel_flow = flowlib.real_nvp(2, 6, (32, 32), log_scale_bound=None, data=pixels)
    history = flowlib.fit(
        pixel_flow,
        pixels,
        loss=lambda x, f=pixel_flow, d=dequantized: (
            -f.log_prob(2 * data.dequantize(x, levels=2) if d else x).mean()
        ),
        steps=400,
        batch_size=256,
        lr=2e-3,
        max_steps=MAX_STEPS,
    )
    found.extend(history.train_loss)

# %%
figure, ax = plt.subplots(figsize=(7, 3.4))
ax.plot(raw_losses, label="flow on the four points")
ax.plot(spread_losses, label="flow on dequantized points")
ax.axhline(entropy, color="black", linestyle="--", linewidth=0.8, label="entropy of the images")
ax.set(title="a density on four points has no limit", xlabel="step", ylabel="negative log-likelihood (nats)")
ax.legend()
plt.show()
print(f"last loss: {raw_losses[-1]:.2f} nats without dequantization, {spread_losses[-1]:.2f} with it")

# %% [markdown]
# **Figure.** Two losses over 400 steps and a dashed line at the entropy of the images. The loss of the flow on the raw
# points falls, with spikes, through the dashed line and far below 0; only the step size, which goes to 0, ends the fall.
# That of the flow on dequantized points settles a little above the line. *Conclude:* a density on discrete points grows
# without limit, and says nothing about the images. Dequantized, the negative log-likelihood is an upper bound on that of
# the probabilities: it cannot go below the entropy. The VAE needs no such device: its decoder may be any distribution. A GAN
# has another problem. It learns by the gradient that passes from the discriminator through the sample to the generator, and
# a sample rounded to 0 or 1 has none.

# %% [markdown]
# ## 11 · Two tables
#
# ### Flows against VAEs
#
# The lecture that this course follows ends with a comparison of flow and VAE: is the likelihood exact or approximate, is the
# dimension reduced, can the data be discrete, is the way from prior to data a bijection or stochastic? Here are its rows
# with the numbers of this notebook.

# %%
best_vae, best_bits = min(
    ((name, bits) for name, bits in digits_bits.items() if name.startswith("VAE")), key=lambda item: item[1]
)
print(f"{'':26}{'flow':<34}VAE")
for row in (
    (
        "NLL of the ring, nats",
        f"{-flow_few:.3f} exact (best: {-exact_few:.3f})",
        f"≤ {-vae_elbo:.3f} ELBO, ≤ {-vae_iwae:.3f} IWAE; truth {-on_grid[300]:.3f}",
    ),
    (
        "NLL of digits",
        f"≤ {digits_bits['flow (bound)']:.3f} bits/dim",
        f"≤ {best_bits:.3f} bits/dim ({best_vae.removesuffix(' (bound)')})",
    ),
    ("code of a digit", "64 numbers, nothing lost", f"{' or '.join(map(str, vaes))} numbers"),
    ("error with 2 numbers", f"{rmse['flow, code cut'][2]:.2f} levels", f"{rmse['VAE'][2]:.2f} levels"),
    ("four binary images", f"loss {raw_losses[-1]:.1f}, no limit", f"probabilities, sum {P.sum():.3f}"),
    ("from noise to data", "bijection", "z, then a draw from p(x|z)"),
):
    print(f"{row[0]:26}{row[1]:<34}{row[2]}")

# %% [markdown]
# ### Exercise 8 · Flow, VAE, GAN, diffusion
#
# Difficulty 3/5 (a synopsis of the course) · about 25 minutes · 5 points · graded by hand
#
# Fill the table in the cell below, a few words in each entry; where this course measured something, name the number or
# the notebook. (Notebook 10 has diffusion as a continuous flow and as a hierarchical VAE.) Then recommend one of the
# four, with a reason, for each of three uses: (a) finding unusual measurements of a machine, with a threshold that means
# something; (b) a code of a few numbers for each of a million small images; (c) samples that look right, nothing else.
#
# *What we look for:* likelihood and its kind, for all four (1 point); sampling cost in network passes, and size of the
# latent, for all four (1 point); discrete data (1 point); behavior towards modes, with the divergence or game that
# explains it (1 point); three recommendations whose reasons follow from the table, one of them with its weakness (1
# point).

# %% [markdown] manual="four_models" points=5
# ### BEGIN SOLUTION
# | | flow | VAE | GAN | diffusion |
# |---|---|---|---|---|
# | likelihood | exact density (on discrete data a bound by dequantization) | lower bound: ELBO, IWAE; the gap was visible on the ring | none: log-ratio to its own samples at best | bound as hierarchical VAE; by the probability-flow ODE a density up to solver tolerance (10) |
# | passes for a sample | 1 (coupling), D (MAF), an iteration (residual) | 1 | 1 | tens to a thousand |
# | latent | D, a bijection; cut codes are useless (section 9) | any M | any M, no encoder | D |
# | discrete data | dequantize; raw: loss without limit (section 10) | directly, by the decoder | gradient does not pass a discrete sample | noise on embedded or dequantized data |
# | modes | covers all, mass between (KL(p‖q)) | covers all, haze between (bound on the same KL) | drops modes (JS pays little; counted in section 8) | covers (a likelihood bound) |
# | training | one loss that falls | one bound that rises | a game, level losses | a regression, stable |
#
# (a) A flow: its number is exact and comparable between points, so a threshold is a probability statement under the
# model; weakness: a high density is not typicality in many dimensions, and mass between the modes hides some anomalies.
# (b) A VAE: the only one of the four that is trained to keep few numbers and has an encoder of one pass. (c) Diffusion if
# time per sample does not matter, since it covers modes and trains stably; a GAN where one pass must do and missing modes
# may be accepted.
# ### END SOLUTION

# %% [markdown]
# ### All families of flows
#
# Eleven families of this course, four targets, at least three seeds each. Every run trains for about as long as the others on
# one thread, but for the linear flow, which is done sooner: `python -m benchmarks.families`. One recipe serves all; only the residual flows,
# whose normalized weights move slowly, take a larger step. None was tuned further. The *excess* is the test NLL minus that of the
# exact density on the same points, in nats: 0 is perfect. Seconds are those of the processor.
#
# **Predict.** Is one target the hardest for every family? Which family has the largest inverse error in float32? Which pays
# most for a sample?


# %%
def results(name, command):
    """Measured results that come with flowlib, or None with a note where they have not been made yet."""
    try:
        return flowlib.load_results(name)
    except ValueError:
        print(f"{name}.json is not there yet: `{command}` makes it")
        return None


def mean_and_error(rows, key):
    """Mean ± standard error of what rows hold under a key, as text; empty where fewer than two do."""
    values = torch.tensor([r[key] for r in rows if key in r], dtype=torch.float64)
    return f"{values.mean():.3f} ± {values.std() / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""


families = results("families", "python -m benchmarks.families --workers 2")
if families:
    runs, names = families["runs"], list(families["families"])
    on = list(dict.fromkeys(r["target"] for r in runs))
    print(f"{'excess in nats':24}" + "".join(f"{target_name:>18}" for target_name in on))
    for name in names:
        cells = (
            mean_and_error([r for r in runs if (r["family"], r["target"]) == (name, target_name)], "excess")
            for target_name in on
        )
        print(f"{name:24}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"\n{'':24}{'parameters':>11}{'train s':>17}{'10,000 samples, s':>20}{'inverse error':>15}", end="")
    print("   log-determinant; inverse")
    for name in names:
        mine, about = [r for r in runs if r["family"] == name], families["families"][name]
        if mine:
            worst = max((r["inverse error"] for r in mine if "inverse error" in r), default=math.nan)
            print(
                f"{name:24}{mine[0]['parameters']:>11}{mean_and_error(mine, 'training seconds'):>17}"
                f"{mean_and_error(mine, 'sampling seconds'):>20}{worst:>15.1e}",
                end="",
            )
            failed = sum("failed" in r or "stopped" in r for r in mine)
            print(
                f"   {about['log-determinant']}; {about['inverse']}{f'; {failed} runs failed' if failed else ''}"
            )

# %%
if families:
    figure, ax = plt.subplots(figsize=(10, 4.6))
    for k, (target_name, marker) in enumerate(zip(on, "os^D", strict=False)):
        found = [r for r in runs if r["target"] == target_name and "excess" in r]
        ax.plot(
            [max(r["excess"], 1e-3) for r in found],
            [names.index(r["family"]) + 0.18 * (k - 1.5) for r in found],
            marker,
            color=list(plotting.PALETTE.values())[k],
            markersize=5,
            label=target_name,
        )
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_xscale("log")
    xlabel = "excess over the exact density (nats; 0.001 and below at the edge)"
    ax.set(title="every family, every seed", xlabel=xlabel)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    plt.show()

# %% [markdown]
# **Figure.** One line a family, one mark a run (circle, square, triangle, diamond: the targets), the excess over the
# exact density on a logarithmic axis; left is better. The linear flow, which is one Gaussian, stands far to the right on
# every target, and marks the scale. *Conclude:* compare within a target; the spread of equal marks in a line is what the
# seed does, and a difference between families that is smaller says nothing.
#
# How to read the table:
#
# - *Targets.* Read down a column, then along a row. For the affine families the two rings are harder than the checkerboard;
#   for splines and for the residual flow the checkerboard, whose density jumps at every edge, is the hardest.
# - *Exactness.* For all but the continuous flow, measured at a tolerance of $10^{-5}$, the log-determinant is exact.
#   Residual flows were measured with the exact Jacobian of two variables; in many dimensions they, too, would have an
#   estimate.
# - *Inverse error.* In float32, at the test points, the worst over all runs. The continuous flow's is the largest, since it is as exact
#   as its tolerance. Beyond that, a formula is not automatically better than an iteration: an iteration that stops at the dtype's precision
#   corrects its own rounding, a chain of formulas does not.
# - *Two directions.* A family is fast in the direction that is a formula for it: MAF in density, IAF in sampling. The residual flow, which
#   iterates to sample, pays most for a sample. IAF was
#   trained by maximum likelihood all the same, through its sequential inverse: two passes a layer, affordable because there
#   are two variables. Notebook 7 has the plot against $D$.

# %%
digits_table = results("digits_flows", "python -m benchmarks.digits_flows --splits 0 1 2 --workers 2")
if digits_table:
    print("digits, test bits per dimension, mean ± standard error over splits (notebook 6)")
    for r in sorted(digits_table["summary"], key=lambda r: r["early"]):
        print(f"  {r['model']:34}{r['early']:.3f} ± {r['early, s.e.']:.3f}")
print("live, above (one split):", ", ".join(f"{name} {bits:.3f}" for name, bits in digits_bits.items()))

# %% [markdown]
# ## 12 · A laboratory of numerical failures
#
# Five failures that users of every library of flows report. Each is provoked here in a few lines. Learn the symptoms.
#
# ### Exploding scales
#
# Two RealNVPs on two moons, one with log-scales $s$ bounded to $\pm 2$, one without. The training loss is fine for both. Now
# move away from the data, along a ray, and ask for $\log p(x)$.

# %%
moons = data.two_moons(4000, seed=0)
bounded_and_not = {}
for name, bound in (("bounded", 2.0), ("unbounded", None)):
    torch.manual_seed(0)
    model = flowlib.real_nvp(2, 8, (32, 32), log_scale_bound=bound, data=moons)
    history = flowlib.fit(model, moons, steps=400, batch_size=256, lr=5e-3, average=0.9, max_steps=MAX_STEPS)
    bounded_and_not[name] = model
    print(f"{name:10} last training loss {np.mean(history.train_loss[-50:]):.3f} nats")


def first_not_finite(flow, x):
    """The layer, counted from the data, after which u or log_det is not finite, or None."""
    for k, layer in enumerate(reversed(flow.transformations)):
        x, log_det = layer.inverse(x)
        if not (x.isfinite().all() and log_det.isfinite().all()):
            return f"layer {k + 1} from the data ({type(layer).__name__})"
    return None


ray = torch.tensor([0.6, 0.8])
with torch.no_grad():
    for distance in (1.0, 2.0, 3.0, 5.0, 10.0, 100.0, 1000.0):
        values = {name: model.log_prob(distance * ray).item() for name, model in bounded_and_not.items()}
        where = first_not_finite(bounded_and_not["unbounded"], distance * ray) or "nowhere"
        shown = "   ".join(f"{name} {value:>12.4g}" for name, value in values.items())
        print(f"distance {distance:>6g}   {shown}   not finite: {where}")

# %% [markdown]
# **Symptom:** training is fine, the test loss is NaN, because of a single point. **Cause:** far off, a ReLU network grows
# linearly, $e^{s}$ exponentially, and the next layer gets the result as its input. **Remedy:** bound $s$; the density far
# away is then wrong by a lot, but it is a number, and it is small.
#
# ### float32 and depth
#
# Every layer rounds, and the layers after it magnify the rounding error. Two starts of the same RealNVP in 8 variables:
# torch's random initialization, and the same with the last layer of each conditioner divided by ten, closer to the
# identity.


# %%
@torch.no_grad()
def round_trip_error(K, shrink, dtype):
    """Median and largest |inverse(forward(u)) − u| over 500 points for K couplings in 8 variables."""
    torch.manual_seed(0)
    model = flowlib.real_nvp(8, K, (32,), zero_last=False, permute=True)
    for layer in model.transformations:
        if hasattr(layer, "conditioner"):
            for parameter in layer.conditioner[-1].parameters():
                parameter.div_(shrink)
    model, u = model.to(dtype), torch.randn(500, 8).to(dtype)
    error = (model.inverse(model.forward(u)[0])[0] - u).abs().amax(-1)
    return error.median().item(), error.max().item()


depths = (1, 2, 4, 8, 16, 32, 64, 128)
figure, ax = plt.subplots(figsize=(8, 4))
for shrink, color in ((1, "vermilion"), (10, "blue")):
    for dtype, style in ((torch.float32, "o-"), (torch.float64, "s--")):
        worst = [round_trip_error(K, shrink, dtype)[1] for K in depths]
        start = "random start" if shrink == 1 else "near the identity"
        ax.loglog(depths, worst, style, color=plotting.PALETTE[color], label=f"{start}, {str(dtype)[6:]}")
ax.set_ylim(1e-16, 1e3)
ax.set(title="round trip of a deep flow", xlabel="number of couplings", ylabel="largest error of u")
ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %% [markdown]
# **Figure.** Largest round-trip error over the number of couplings, both axes logarithmic, clipped at 1000. Near the
# identity it grows slowly from rounding size, in float32 (circles) and float64 (squares) alike. From the random start it
# shoots up and passes 1 between 16 and 32 couplings; float64 starts nine digits lower and is at the same place within a
# doubling of the depth. *Conclude:* more precision buys depth, but little of it.
#
# **Symptom:** "it does not reconstruct". **Cause:** the flow as a whole is ill-conditioned: somewhere it stretches by a large
# factor, and the rounding error with it. **Remedy:** start at the identity, bound the scales; test the round trip of
# *your trained* flow on *your* data, as in the table above.
#
# ### A singular 1×1 convolution
#
# Glow mixes channels by a matrix $W$. Let a free $W$ approach a singular one: its smallest singular value is
# $\varepsilon$, the other is 1.

# %%
torch.manual_seed(0)
left, right = (torch.linalg.qr(torch.randn(2, 2))[0] for _ in range(2))
channels = torch.randn(100, 2, 4, 4)
print("smallest singular value    log|det W|    round trip, largest error (float32)")
for eps in (1.0, 1e-2, 1e-4, 1e-6, 1e-7, 0.0):
    W = left @ torch.diag(torch.tensor([1.0, eps])) @ right
    mixed = torch.einsum("ij,bjhw->bihw", W, channels)
    try:
        error = (torch.einsum("ij,bjhw->bihw", torch.linalg.inv(W), mixed) - channels).abs().max().item()
        text = f"{error:.1e}"
    except torch.linalg.LinAlgError:
        text = "inv: W is singular"
    print(f"{eps:>22g}{torch.linalg.slogdet(W)[1]:>15.2f}    {text}")
try:
    flowlib.InvertibleConv1x1((2, 4, 4), weight=torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
except ValueError as error:
    print("flowlib.InvertibleConv1x1:", error)
conv = flowlib.InvertibleConv1x1((2, 4, 4))
with torch.no_grad():
    conv.linear.log_scale.fill_(-1e9)  # as far as any training could push
    error = (conv.inverse(conv.forward(channels)[0])[0] - channels).abs().max()
print(
    f"PLU with bounded diagonal, pushed to its bound: log|det W| {torch.linalg.slogdet(conv.weight)[1]:.2f}, error {error:.1e}"
)

# %% [markdown]
# **Symptom:** the likelihood jumps, samples or reconstructions are noise. **Cause:** the error of the round trip grows
# like $10^{-7}/\varepsilon$, and at the end `inv` either fails or, worse, succeeds. **Remedy:** a parametrization that
# cannot become singular. The PLU form has its determinant on the diagonal, where it can be bounded.
#
# ### The edges of a spline
#
# Inside a bin a rational-quadratic spline is inverted by the root of $a\xi^2 + b\xi + c = 0$, $\xi \in [0, 1]$ (notebook
# 10). The schoolbook's formula divides by $2a$, and $a = 0$ in every bin that is straight. Random bins of width and
# height 1, slopes $d_0, d_1$ at the ends, some of them straight, and points at and near the edges:

# %%
torch.manual_seed(0)
n = 40_000
d0, d1 = (torch.randn(2, n, dtype=torch.float64) * 2).exp()
d0[: n // 4], d1[: n // 4] = (
    1.0,
    1.0 + 1e-6 * torch.rand(n // 4, dtype=torch.float64),
)  # straight, or nearly so
xi = torch.rand(n, dtype=torch.float64)
xi[::4] = torch.tensor([0.0, 1e-7, 1 - 1e-7, 1.0], dtype=torch.float64).repeat(n // 16)
y = (xi**2 + d0 * xi * (1 - xi)) / (1 + (d0 + d1 - 2) * xi * (1 - xi))


def roots(y, d0, d1, dtype):
    """ξ by the schoolbook's formula and by the stable one, computed in dtype."""
    y, d0, d1 = (v.to(dtype) for v in (y, d0, d1))
    a, b, c = (1 - d0) + y * (d0 + d1 - 2), d0 - y * (d0 + d1 - 2), -y
    discriminant = b**2 - 4 * a * c
    schoolbook = (-b + discriminant.sqrt()) / (2 * a)
    stable = 2 * c / (-b - discriminant.clamp(min=0).sqrt())
    return discriminant, {"schoolbook": schoolbook, "2c/(−b − √): stable": stable}


for dtype in (torch.float64, torch.float32):
    discriminant, found = roots(y, d0, d1, dtype)
    print(f"{str(dtype)[6:]}: {int((discriminant < 0).sum())} of {n} discriminants below 0")
    for name, root in found.items():
        wrong = int((~root.isfinite()).sum())
        error = (root.double() - xi).abs()[root.isfinite()]
        print(
            f"   {name:20} NaN or infinite: {wrong:>5}   largest error {error.max():.1e}   99.9 % below {error.quantile(0.999):.1e}"
        )

# %% [markdown]
# **Symptom:** NaN in the inverse, at rare points, in float32 alone; or NaN gradients, since `torch.where` passes a NaN of
# the branch that was not taken on to the gradient. **Cause:** cancellation, and a division by $a \approx 0$. **Remedy:**
# the other form of the root, a discriminant that cannot be negative (notebook 10 writes it as a sum), and tails outside $[-B, B]$.
#
# ### The tolerance of an ODE
#
# A continuous flow has as many digits as its solver. Take a velocity with random weights, 200 points, float64, and compare the
# log-likelihood at several tolerances with that at $10^{-10}$:


# %%
class Counted(nn.Module):
    """A velocity that counts its evaluations."""

    def __init__(self, velocity):
        super().__init__()
        self.velocity, self.evaluations = velocity, 0

    def forward(self, *args):
        self.evaluations += 1
        return self.velocity(*args)


torch.manual_seed(0)
smooth = flowlib.continuous_flow(2, (64, 64))
with torch.no_grad():
    for parameter in smooth.parameters():
        parameter.copy_(0.45 * torch.randn_like(parameter))
smooth = smooth.double()
layer = smooth.transformations[0]
layer.velocity = Counted(layer.velocity)
points = data.two_moons(200, seed=3).double()
tolerances, rows = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7), []
with torch.no_grad():
    layer.solver = flowlib.AdaptiveStep(1e-10, 1e-10)
    reference = smooth.log_prob(points)
    for tolerance in tolerances:
        layer.solver, layer.velocity.evaluations = flowlib.AdaptiveStep(tolerance, tolerance), 0
        log_prob = smooth.log_prob(points)
        evaluations = layer.velocity.evaluations
        trip = (smooth.forward(smooth.inverse(points)[0])[0] - points).abs().max().item()
        rows.append((evaluations, (log_prob - reference).abs().max().item(), trip))
        print(
            f"tolerance {tolerance:.0e}: {evaluations:>4} evaluations, NLL off by {(reference - log_prob).mean():+.1e}",
            end="",
        )
        print(f" (one point by up to {rows[-1][1]:.1e}), round trip {trip:.1e}")

# %%
figure, ax = plt.subplots(figsize=(7, 3.6))
ax.loglog(tolerances, [r[1] for r in rows], "o-", label="log p(x), largest error (nats)")
ax.loglog(tolerances, [r[2] for r in rows], "s-", label="round trip, largest error")
ax.loglog(tolerances, tolerances, "--", color="gray", label="the tolerance itself")
ax.set(title="a continuous flow is as exact as its solver", xlabel="tolerance of a step", ylabel="error")
ax.legend()
plt.show()

# %% [markdown]
# **Figure.** Errors of the log-likelihood (circles) and of the round trip (squares) over the solver's tolerance, both
# axes logarithmic. Both fall with the tolerance, and both stay above the dashed line, which is the tolerance itself.
# *Conclude:* the tolerance is that of one step, not of the result. Report a likelihood at a tolerance at which it no
# longer moves.
#
# **Symptom:** two papers report different likelihoods for one model; or a likelihood that is *better* than the exact one.
# **Cause:** a tolerance chosen for speed. **Remedy:** lower it by ten; when nothing changes, report.

# %% [markdown]
# ## Common mistakes
#
# - *The diagonal left in MMD².* A point is not an independent draw from itself: the estimate is then too large.
# - *A distance without a floor.* Compare with fresh data of the same size; SW of two samples of one law is not 0.
# - *Points paired in the order of the list* in a Wasserstein distance: sort each projection.
# - *Logarithms of sigmoids.* Losses of a game are written in logits.
# - *Reading the GAN's loss as progress.* It stays level, for good games and bad ones.
# - *A kernel density estimate called the likelihood of a GAN.*
# - *One seed.* Collapse is a matter of luck as well: count over seeds.
# - *Comparing an exact NLL with a bound* and crediting the difference to the model.
# - *An unbounded scale, an unchecked round trip, a tolerance for speed*: section 12.
#
# ## Key points
#
# - All models can be sampled. A flow has an exact density, a VAE a bound on one, a GAN or MMD generator has none:
#   with $M < D$ because it does not exist, with $M \ge D$ because nobody can invert the network.
# - MMD² and SW compare two sets of points. MMD² has an unbiased estimate, blind beyond its bandwidths; SW has no horizon,
#   and a floor.
# - The best discriminator is a log-density ratio. Played by the saturating loss against it, the game minimizes JS, which
#   pays a few hundredths of a nat for a missing mode of eight; maximum likelihood pays everything.
# - A VAE compresses because it is made to. Base variables of a flow have no order, and cut codes are bad.
# - Densities on discrete points have no limit. Dequantize, or use a model of probabilities.
# - Choose a family by what must be fast, density or samples, and by the table; then check your own flow's round trip in
#   the dtype you use.
#
# ## References
#
# - Goodfellow et al. 2014, *Generative adversarial networks*, arXiv:1406.2661.
# - Mescheder, Geiger, Nowozin 2018, *Which training methods for GANs do actually converge?*, arXiv:1801.04406: the
#   penalty R1.
# - Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, *A kernel two-sample test*, JMLR 13: MMD and its unbiased estimate.
# - Dziugaite, Roy, Ghahramani 2015, arXiv:1505.03906, and Li, Swersky, Zemel 2015, arXiv:1502.02761: generators trained
#   by MMD.
# - Deshpande, Zhang, Schwing 2018, *Generative modeling using the sliced Wasserstein distance*, arXiv:1803.11188.
# - Srivastava, Valkov, Russell, Gutmann, Sutton 2017, *VEEGAN*, arXiv:1705.07761: counting modes on a ring.
# - Theis, van den Oord, Bethge 2015, *A note on the evaluation of generative models*, arXiv:1511.01844: what kernel
#   density estimates do.
# - Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio 2015, *Generating sentences from a continuous space*,
#   arXiv:1511.06349: a price that is raised slowly.
# - Burda, Grosse, Salakhutdinov 2015, *Importance weighted autoencoders*, arXiv:1509.00519.
# - Behrmann, Vicol, Wang, Grosse, Jacobsen 2020, *Understanding and mitigating exploding inverses in invertible neural
#   networks*, arXiv:2006.09347.
# - Durkan, Bekasov, Murray, Papamakarios 2019, *Neural spline flows*, arXiv:1906.04032.
# - Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan 2021, *Normalizing flows for probabilistic modeling and
#   inference*, arXiv:1912.02762.
