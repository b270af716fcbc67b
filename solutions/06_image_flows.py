# %% [markdown]
# # 6 · Flows of images: dequantization, RealNVP, Glow
#
# A flow has a density. An image has integer pixels. Train the one on the other, and any flow looks infinitely good: a trap. Noise is
# the cheap way out. Then comes what makes flows of images work: neighbors, channels, scales. At the end a flow draws digits, after it
# has beaten a table of numbers.
#
# **You will be able to**
# - say why the likelihood of a continuous model on discrete data has no upper limit, and derive the bound that repairs it;
# - turn nats into bits per dimension, and verify the bound where the exact probability is known;
# - implement `dequantize`, `bits_per_dim`, `discrete_bound`, `checkerboard_mask`, `Squeeze`, `TwoScales` and `ActNorm`;
# - explain the invertible 1×1 convolution, and why the "latent space" of a flow stands in quotation marks;
# - compare flows of images fairly: with a table of pixel frequencies, over several splits, with overfitting in view.
#
# **Time:** about 70 minutes of reading, 85 minutes of exercises.
# **Needs:** notebooks 1 and 3 (change of variables, coupling layers, `Flow`), convolutional layers in PyTorch; notebook 4 (ELBO, latent
# variables) for two remarks.

# %%
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)

import flowlib
from autograder_tests.checks import image_flows as check
from flowlib import data, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(6)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $x$ | `(*batch, C, H, W)` or `(*batch, D)` | image: C channels of H×W pixels; $D = C\cdot H\cdot W$ numbers |
# | $c, h, w$ | | channel, row and column, counted from 0 |
# | $L$ | | number of levels: a pixel is one of $0, 1, \dots, L-1$ |
# | $v$ | shape of $x$ | noise, uniform on $[0, 1)$ |
# | $z = (x+v)/L$ | shape of $x$ | dequantized image, in $[0, 1)^D$ |
# | $u$ | `(*batch, D)` | base variable, $u \sim \mathcal N(0, I)$ |
# | $b$ | `(C, H, W)` | mask: 1 = kept, 0 = moved |
# | $p$, $P$ | | a density of $z$; a probability of the discrete $x$ |
#
# **Direction:** as everywhere in the course, `forward` goes from base to data and returns $(x, \log|\det\partial x/\partial u|)$;
# `inverse` goes from data to base and returns $(u, \log|\det\partial u/\partial x|)$. For images we also say *decode* and *encode*.
# **Watch out:** papers on image flows tell their stories from data to base. "Squeeze, then transform, then factor out" happens in `inverse`.
#
# Every log-determinant is one number per image, shape `(*batch,)`, in nats.

# %% [markdown]
# ## 1 · A density on integers has no limit
#
# The course's images are 8×8 digits. Each of the 64 pixels is one of $L = 17$ levels.

# %%
LEVELS, D = 17, 64
train, validation, test = (part.images for part in data.load_digits_split(seed=0))
print("images", tuple(train.shape), "| values of a pixel:", train.unique().int().tolist())
plotting.plot_image_grid(train[:20], vmax=16, title="20 of the training images")
plt.show()

# %% [markdown]
# **Figure.** Two rows of ten handwritten digits, 8×8 gray pixels each. They are coarse and readable.
#
# Train a flow on them as notebook 3 did on points, by maximum likelihood. **Predict**: how low can the loss go?
#
# Look at one pixel first. Level $k$ has probability $P_k$. Let the model put a bump of width $\sigma$ on each level, with the right
# weights: $p_\sigma(x) = \sum_k P_k\,\mathcal N(x; k, \sigma^2)$. At level $k$ the bump of that level alone gives
# $p_\sigma(k) \ge P_k/(\sigma\sqrt{2\pi})$, and all others add to it. So
#
# $$\mathbb E_{k\sim P}[\log p_\sigma(k)] \;\ge\; \sum_k P_k\log P_k \;-\; \log\sigma \;-\; \tfrac12\log 2\pi .$$
#
# The first term is minus the entropy of the pixel, a fixed number. The second grows without limit as the bumps get narrower. By machine, for two
# levels with probabilities $P_0$ and $1 - P_0$:

# %%
sigma, P0 = sp.symbols("sigma P_0", positive=True)
own_bump = sp.log(1 / (sigma * sp.sqrt(2 * sp.pi)))
lower_bound = P0 * sp.log(P0) + (1 - P0) * sp.log(1 - P0) + own_bump
print("as the bumps get narrower:", sp.limit(lower_bound.subs(P0, sp.Rational(1, 3)), sigma, 0))
assert sp.limit(lower_bound.subs(P0, sp.Rational(1, 3)), sigma, 0) == sp.oo
for width in (1.0, 0.1, 0.01, 0.001):
    print(f"width {width:<6} at least {float(lower_bound.subs({P0: 0.3, sigma: width})):6.2f} nats a pixel")

# %% [markdown]
# By making its bumps narrower such a model learns nothing about which images are likely. It learns that pixels are integers. A flow finds the same trick: it needs
# only to squeeze space around the levels. Let us watch it. Both flows below are the same six couplings. One is trained on $x/L$, the other on $(x+v)/L$ with fresh noise
# $v \in [0, 1)^D$ in every batch. The vertical axis is $(-\log p/D + \log L)/\log 2$, the loss in *bits per dimension*; section 2 says why.


# %%
curves = {}
for name, prepare in (
    ("raw pixels", lambda x: x / LEVELS),
    ("dequantized", lambda x: data.dequantize(x, LEVELS)),
):
    torch.manual_seed(0)
    flow = flowlib.real_nvp(D, 6, hidden=(64, 64), log_scale_bound=3.0, data=prepare(train))
    history = flowlib.fit(
        flow,
        train,
        loss=lambda x, flow=flow, prepare=prepare: -flow.log_prob(prepare(x)).mean(),
        steps=1000,
        batch_size=128,
        lr=5e-3,
        max_steps=MAX_STEPS,
    )
    curves[name] = (np.array(history.train_loss) / D + math.log(LEVELS)) / math.log(2)

# %%
figure, ax = plt.subplots(figsize=(7, 3.4))
for name, bits in curves.items():
    ax.plot(bits, label=name)
ax.axhline(0, color="gray", linestyle=":", linewidth=1)
ax.set(
    title="The same flow with and without noise",
    xlabel="step",
    ylabel="loss (bits per dimension)",
    ylim=(-1.5, 5),
)
ax.legend()
plt.show()
for name, bits in curves.items():
    print(f"{name:12s} last loss {bits[-1]:6.2f} bits per dimension")

# %% [markdown]
# **Figure.** Loss of two flows over training steps. The flow on dequantized pixels levels off well above zero. The flow on raw pixels falls through
# zero, the dotted line, and comes to rest only because the learning rate does. No code can store an image in a negative number of bits. That number measures how narrow the bumps are, and nothing
# else. Nothing warns you: the loss falls, as a loss should.

# %% [markdown]
# ## 2 · Fill the cells
#
# The way out is to say what a density means for discrete data. Give level $x$ of a pixel the cell $[x/L, (x+1)/L)$. An image $x \in \{0,\dots,L-1\}^D$ then owns a
# little cube of side $1/L$ and volume $L^{-D}$. Together the cubes fill $[0,1)^D$. A density $p$ gives the image the probability
#
# $$P(x) = \int_{\text{cell of } x} p(z)\,dz .$$
#
# These $P(x)$ are honest: they are at least 0 and sum to at most 1. Squeezing a bump within its cell no longer wins anything. The integral is out of
# reach in 64 dimensions, so bound it. With $v$ uniform on $[0,1)^D$ the integral is the cell's volume times the mean of $p$ over the cell. The logarithm is concave, so
# by Jensen's inequality the logarithm of a mean is at least the mean of the logarithms:
#
# $$\log P(x) = \log\Bigl(L^{-D}\,\mathbb E_v\bigl[p\bigl(\tfrac{x+v}{L}\bigr)\bigr]\Bigr)
# \;\ge\; \mathbb E_v\bigl[\log p\bigl(\tfrac{x+v}{L}\bigr)\bigr] - D\log L .$$
#
# The right side is what you maximize when you add fresh uniform noise to every batch: **dequantization** (Theis, van den Oord & Bethge 2015). The noise must
# fill the *whole* cell. Noise from $-\frac12$ to $\frac12$, as some slides have it, would do as well: the cells are then centered on the levels, and equally wide. This
# notebook keeps to $[0, 1)$, so that rounding down gives the level back.
#
# **Predict.** A colleague uses $v \in [0, \frac12)$ "to stay close to the data". The loss gets lower. Why, and by how much at most?
#
# <details><summary>Answer</summary>
#
# The model may move all of its density into the halves that are used, and double it there. That gains $\log 2$ nats per dimension, one bit, without knowing anything more about
# images. $\mathbb E_v[\log p] - D\log L$ is no bound on $\log P(x)$ any more. It is one again after $D \log 2$ has been taken off, since the cell that the noise fills has volume $(2L)^{-D}$; so more than that
# cannot be gained.
# </details>
#
# ### Exercise 1 · Dequantize
#
# Difficulty 1/5 (one line, several ways to get it wrong) · about 5 minutes · 4 points
#
# Spread the integers $0,\dots,L-1$ over $[0, 1)$ by uniform noise: each into its own cell.


# %% solution="dequantize"
def dequantize(x, levels):
    """(x + v)/levels with fresh v, uniform on [0, 1), for every number of x.

    Args:
        x: integers 0, …, levels − 1 as a float tensor of any shape.
        levels: L.

    Returns:
        A tensor of the same shape, in [0, 1).
    """
    ### BEGIN SOLUTION
    return (x + torch.rand_like(x)) / levels
    ### END SOLUTION


# %% test="dequantized_values_stay_in_their_cell" points=1
check.dequantized_values_stay_in_their_cell(dequantize)
### BEGIN HIDDEN TESTS
check.dequantized_values_stay_in_their_cell(dequantize, hidden=1)
### END HIDDEN TESTS

# %% test="dequantization_noise_fills_the_cell" points=2
check.dequantization_noise_fills_the_cell(dequantize)
### BEGIN HIDDEN TESTS
check.dequantization_noise_fills_the_cell(dequantize, hidden=1)
### END HIDDEN TESTS

# %% test="dequantization_noise_is_independent" points=1
check.dequantization_noise_is_independent(dequantize)
### BEGIN HIDDEN TESTS
check.dequantization_noise_is_independent(dequantize, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the noise fills too little or too much</summary>
#
# Before the division a cell has width 1, after it width $1/L$. Add noise of width 1 first, then divide.
# </details>
# <details><summary>Help: the largest level leaves [0, 1)</summary>
#
# Level $L - 1$ is the last of $L$ cells. Its cell ends at $L/L$.
# </details>
#
# ### Bits per dimension
#
# A model with probabilities $P$ can drive a code that stores image $x$ in about $-\log_2 P(x)$ bits. Divided by $D$ this compares images of any size. With the bound in
# place of $\log P$, and nats turned to bits by $\log 2$,
#
# $$\text{bits per dimension} = \frac{-\log P(x)}{D\log 2} \;\le\; \frac{1}{\log 2}\Bigl(-\frac{\mathbb E_v[\log p(z)]}{D} + \log L\Bigr).$$
#
# **Predict.** What does the uniform density on $[0,1)^D$ cost, for $L = 256$ and for $L = 17$?
#
# <details><summary>Answer</summary>
#
# $p = 1$ everywhere, so $\log p = 0$, and $\log L/\log 2 = \log_2 L$ is left: 8 bits per dimension for 256 levels, a little more than 4 for 17. Whoever pays more than that knows less than nothing.
# </details>
#
# ### Exercise 2 · Bits per dimension
#
# Difficulty 1/5 (units) · about 5 minutes · 3 points
#
# Turn log-densities of dequantized images into bits per dimension, the right side of the formula, one number per image.


# %% solution="bits_per_dim"
def bits_per_dim(log_prob, D, levels):
    """Bits per dimension of the discrete data, from a log-density of dequantized data.

    Args:
        log_prob: log p(z) of images dequantized to [0, 1)^D, nats, `(*batch,)`.
        D: numbers in an image.
        levels: L.

    Returns:
        Bits per dimension, `(*batch,)`.
    """
    ### BEGIN SOLUTION
    return (-log_prob / D + math.log(levels)) / math.log(2)
    ### END SOLUTION


# %% test="bits_of_the_uniform_density" points=1
check.bits_of_the_uniform_density(bits_per_dim)
### BEGIN HIDDEN TESTS
check.bits_of_the_uniform_density(bits_per_dim, hidden=1)
### END HIDDEN TESTS

# %% test="bits_of_any_density" points=2
check.bits_of_any_density(bits_per_dim)
### BEGIN HIDDEN TESTS
check.bits_of_any_density(bits_per_dim, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the uniform density comes out as 0 bits</summary>
#
# A density of 1 over the whole cube gives each image the probability $L^{-D}$. Where is that volume in your formula?
# </details>
# <details><summary>Help: only the uniform density is right</summary>
#
# Bring both terms to the same unit before you add them: nats per dimension, then one division by $\log 2$.
# </details>
#
# ### Three models that need no network
#
# Before any flow, let us see what is cheap. (a) Every level equally likely: $\log_2 17$. (b) One Gaussian in 64 dimensions, mean and full covariance from the
# dequantized training images. (c) Sixty-four **tables**: for each pixel the counted frequencies of its 17 levels, all pixels independent. The last is a discrete
# model: it gives $P(x)$ itself, and needs no noise and no bound. **Predict** the order of (b) and (c). Pixels of a digit are strongly correlated, and (c) ignores that.

# %%
z = data.dequantize(train, LEVELS, seed=0).double()
gaussian = MultivariateNormal(z.mean(0), torch.cov(z.T))
bound = flowlib.dequantization_bound(gaussian.log_prob, test.double(), LEVELS, num_samples=8, seed=1)

counts = (
    torch.stack([(train == level).sum(0) for level in range(LEVELS)], -1) + 0.1
)  # (64, 17), no level impossible
frequencies = counts / counts.sum(-1, keepdim=True)
log_table = frequencies.log()[torch.arange(D), test.long()].sum(-1)

# flowlib's `bits_per_dim` takes logarithms of probabilities when it is not told the levels: −D log L is already in them.
bits = {
    "uniform": math.log2(LEVELS),
    "one Gaussian, full covariance": flowlib.bits_per_dim(bound, D).mean().item(),
    "a table for each pixel": flowlib.bits_per_dim(log_table, D).mean().item(),
}
for name, value in bits.items():
    print(f"{name:30s} {value:.3f} bits per dimension on test images")

# %% [markdown]
# The tables win, with no idea of a digit. Many pixels have a favorite level (the border is nearly always 0), and a table puts its probability exactly there; a Gaussian smears
# it over the neighbors and beyond $[0,1)$. This is the number to beat. A flow above it has lost to a table.

# %% [markdown]
# ## 3 · The bound, verified
#
# A bound that cannot be checked is easily misused. On tiny images everything can be computed: take two pixels with $L = 4$ levels, sixteen images in all. Choose a true
# distribution, draw images from it, train a flow on dequantized draws. Then integrate the flow's density over each of the sixteen cells.
#
# ### Exercise 3 · The bound by sampling
#
# Difficulty 2/5 (the order of mean and logarithm) · about 10 minutes · 3 points
#
# First write the bound of section 2 yourself: estimate $\mathbb E_v$ for each image by the mean over `num_samples` draws of $v$, every draw fresh.


# %% solution="discrete_bound"
def discrete_bound(log_prob, x, levels, num_samples):
    """E_v[log p((x + v)/L)] − D log L, the expectation estimated by draws of v: a lower bound on log P(x).

    Args:
        log_prob: log-density of dequantized images, `(*batch, D)` → `(*batch,)`, nats.
        x: integer levels as floats, `(N, D)`.
        levels: L.
        num_samples: draws of v for each image.

    Returns:
        One bound per image, `(N,)`, nats.
    """
    ### BEGIN SOLUTION
    draws = [log_prob((x + torch.rand_like(x)) / levels) for _ in range(num_samples)]
    return torch.stack(draws).mean(0) - x.shape[-1] * math.log(levels)
    ### END SOLUTION


# %% test="bound_is_exact_for_histograms" points=2
check.bound_is_exact_for_histograms(discrete_bound)
### BEGIN HIDDEN TESTS
check.bound_is_exact_for_histograms(discrete_bound, hidden=1)
### END HIDDEN TESTS

# %% test="bound_averages_logarithms" points=1
check.bound_averages_logarithms(discrete_bound)
### BEGIN HIDDEN TESTS
check.bound_averages_logarithms(discrete_bound, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: right for histograms, wrong in the mean</summary>
#
# Where the density is constant in a cell, all draws give the same value, and it does not matter how you average. Elsewhere it does: $\log$ of a mean is not the mean of $\log$.
# Look at the width of your noise, too, and at how often you draw it.
# </details>
# <details><summary>Help: off by a constant</summary>
#
# The cell has volume $L^{-D}$: one factor $1/L$ for each dimension.
# </details>
#
# ### Sixteen images
#
# Two flows are trained: one with noise over the whole cell, one with the colleague's half-width noise. The yardstick is the entropy of the true distribution. For **any** probabilities $P$ the mean of
# $\log P(x)$ over true images is at most $\sum_x P_{\text{true}}(x)\log P_{\text{true}}(x)$ (Gibbs' inequality). A "bound" on $\log P(x)$ with a larger mean is none.

# %%
tiny_levels = 4
images = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)).double()  # all 16 images of two pixels
truth = torch.softmax(
    -0.8 * (images[:, 0] - images[:, 1]).abs() + 0.3 * images[:, 0], 0
)  # pixels like to be equal
drawn = images[Categorical(truth).sample((4000,))].float()


def tiny_flow(width):
    """A flow on two pixels, trained with noise of that width, in float64."""
    torch.manual_seed(0)
    flow = flowlib.real_nvp(2, 6, hidden=(48, 48), data=data.dequantize(drawn, tiny_levels))
    flowlib.fit(
        flow,
        drawn,
        loss=lambda x: -flow.log_prob((x + width * torch.rand_like(x)) / tiny_levels).mean(),
        steps=700,
        batch_size=256,
        lr=5e-3,
        average=0.98,
        max_steps=MAX_STEPS,
    )
    return flow.double()


whole, half = tiny_flow(1.0), tiny_flow(0.5)
with torch.no_grad():
    exact, bound = flowlib.discrete_log_prob(whole.log_prob, images, tiny_levels, nodes=24)
    half_exact, _ = flowlib.discrete_log_prob(half.log_prob, images, tiny_levels, nodes=48)
    noise = 0.5 * torch.rand(2000, 16, 2, dtype=torch.float64)
    half_claim = half.log_prob((images + noise) / tiny_levels).mean(0) - 2 * math.log(tiny_levels)
    sampled = flowlib.dequantization_bound(whole.log_prob, images, tiny_levels, num_samples=2000, seed=0)

best = (truth * truth.log()).sum().item()
print(f"sum of the 16 exact probabilities: {exact.exp().sum():.4f} (the rest lies outside [0, 1)²)")
print(f"the bound by quadrature and by sampling differ by at most {(bound - sampled).abs().max():.3f}")
print(f"mean log-probability of true images, in nats\n  best possible          {best:.3f}")
for name, values in (
    ("exact, whole width", exact),
    ("bound, whole width", bound),
    ("claim, half width", half_claim),
    ("exact, half width", half_exact),
):
    print(f"  {name:22s} {(truth * values).sum():.3f}")
print(f"half-width claim minus 2 log 2: {(truth * half_claim).sum() - 2 * math.log(2):.3f}")
assert bool((bound <= exact).all())

# %%
figure, axes = plt.subplots(1, 2, figsize=(10.5, 3.6), width_ratios=(3, 2))
position = np.arange(16)
for name, values, color, look in (
    ("truth", truth.log(), "black", "o-"),
    ("flow, exact", exact, "blue", "s-"),
    ("flow, bound", bound, "green", "v--"),
    ("half-width claim", half_claim, "vermilion", "D:"),
):
    axes[0].plot(position, values, look, markersize=5, linewidth=1, label=name, color=plotting.PALETTE[color])
names = [f"{int(a)}{int(b)}" for a, b in images]
axes[0].set_xticks(position, names, fontsize=8)
axes[0].set(title="All sixteen images", xlabel="levels of the two pixels", ylabel="log-probability (nats)")
axes[0].legend(fontsize=8)
plotting.plot_density(
    axes[1],
    half.log_prob,
    (0, 1, 0, 1),
    vmax=10,
    title="half-width noise: the density",
    xlabel="$z_1$",
    ylabel="$z_2$",
)
for k in range(1, 4):
    axes[1].axvline(k / 4, color="white", linewidth=0.5)
    axes[1].axhline(k / 4, color="white", linewidth=0.5)
plt.show()

# %% [markdown]
# **Figure.** Left: log-probabilities of the sixteen images. The flow's exact values (squares) follow the truth (circles); the bound (triangles) lies just below them, at every image. For the likely images the half-width
# "bound" (diamonds) lies far above the truth. Right: the density learned with half-width noise, cell borders in white, colors cut at 10. It gathers in the lower left quarter of the likely cells, the only part it was ever
# shown. The exact probabilities of that flow, in the printout, are no better than those of the other one: only the claim is.
#
# **The gap has a name.** $\log P(x)$ minus the bound is $\mathrm{KL}(\text{uniform}\,\|\,p \text{ within the cell})$, the divergence of notebook 4: the price for pretending that $p$ is flat there. One may choose the noise better.
# **Variational dequantization** (Ho et al. 2019) draws $v$ from a learned density $q(v\mid x)$ on $[0, 1)^D$, and subtracts its logarithm:
#
# $$\log P(x) \ge \mathbb E_{v\sim q}\Bigl[\log p\bigl(\tfrac{x+v}{L}\bigr) - \log q(v\mid x)\Bigr] - D\log L .$$
#
# It is the evidence lower bound of notebook 4 with $v$ as the latent variable. Uniform $q$ gives the bound above; $q \propto p$ within the cell makes it exact. In between lies $q_\beta \propto p^\beta$, uniform for $\beta = 0$:

# %%
nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(24))
v = torch.cartesian_prod((nodes + 1) / 2, (nodes + 1) / 2)
w = torch.cartesian_prod(weights / 2, weights / 2).prod(-1)
with torch.no_grad():
    log_p = whole.log_prob((images[:, None] + v) / tiny_levels)  # (16, 576)
for beta in (0.0, 0.5, 1.0):
    log_q = beta * log_p - torch.logsumexp(beta * log_p + w.log(), -1, keepdim=True)
    value = (w * log_q.exp() * (log_p - log_q)).sum(-1) - 2 * math.log(tiny_levels)
    print(f"beta = {beta}: gap to the exact log-probability {(truth * (exact - value)).sum().abs():.5f} nats")
assert torch.allclose(value, exact)

# %% [markdown]
# ## 4 · Pixels have neighbors: checkerboards
#
# Now the images. A coupling layer needs a mask. For points of the plane there was little choice. For an image the choice carries knowledge: a pixel is best predicted from its
# **neighbors**. A checkerboard keeps every other pixel, so each moved pixel has kept ones on all sides. The network that reads the kept pixels should know about neighborhoods,
# too: a small convolutional net, `(N, C, H, W)` → `(N, 2C, H, W)`. The first half of its output channels is $s$, the second half $t$. The layer is that of notebook 3 with $D = C\cdot H\cdot W$:
#
# $$x = b\odot u + (1-b)\odot\bigl(u\odot e^{s} + t\bigr), \qquad (s, t) = \mathrm{net}(b\odot u), \qquad \log\Bigl|\det\frac{\partial x}{\partial u}\Bigr| = \sum_{c,h,w}(1-b)\,s .$$
#
# ### Exercise 4 · The checkerboard
#
# Difficulty 1/5 (watch even widths) · about 5 minutes · 2 points
#
# Keep (1) the pixels with even $h + w$, in every channel. `flip=True` gives the complement.


# %% solution="checkerboard_mask"
def checkerboard_mask(shape, flip=False):
    """The float mask that is 1 where h + w is even; with flip where it is odd.

    Args:
        shape: (C, H, W).
        flip: whether to return the complement.

    Returns:
        A float tensor `(C, H, W)`.
    """
    ### BEGIN SOLUTION
    C, H, W = shape
    parity = (torch.arange(H)[:, None] + torch.arange(W)) % 2
    kept = parity == (1 if flip else 0)
    return kept.float().expand(C, H, W)
    ### END SOLUTION


# %% test="checkerboard_keeps_even_pixels" points=1
check.checkerboard_keeps_even_pixels(checkerboard_mask)
### BEGIN HIDDEN TESTS
check.checkerboard_keeps_even_pixels(checkerboard_mask, hidden=1)
### END HIDDEN TESTS

# %% test="checkerboard_flips_to_its_complement" points=1
check.checkerboard_flips_to_its_complement(checkerboard_mask)
### BEGIN HIDDEN TESTS
check.checkerboard_flips_to_its_complement(checkerboard_mask, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: I get stripes</summary>
#
# Numbering the pixels row by row and taking every other one gives stripes when the width is even. Row and column must both count: $h + w$.
# </details>
#
# ## 5 · Pixels into channels: squeezing
#
# With checkerboards alone two sets of pixels talk to each other, forever at one resolution. RealNVP changes the layout in between. **Squeezing** takes each block of 2×2 pixels and
# stacks its four values as channels: `(C, H, W)` becomes `(4C, H/2, W/2)`. No number changes, so the log-determinant is 0. Afterwards a mask can split by **channels**: keep the first half of them, move the
# others. And a 3×3 convolution after one squeeze looks at 6×6 original pixels.
#
# **Direction.** Going from data to base, `inverse` squeezes. `forward` puts the pixels back. With $x$ the large image and $u$ the squeezed one,
#
# $$u[4c + 2i + j,\; h,\; w] \;=\; x[c,\; 2h + i,\; 2w + j], \qquad i, j \in \{0, 1\} .$$
#
# **Predict.** `x.reshape(4 * C, H // 2, W // 2)` has the right shape, is invertible and has log-determinant 0. What is wrong with it?
#
# <details><summary>Answer</summary>
#
# As a flow layer nothing: it is a permutation. But its channels are strips of the image instead of the four corners of a block. The values that meet in one pixel of $u$ were far apart, so
# convolutions and channel masks lose the neighborhoods they are made for.
# </details>
#
# ### Exercise 5 · Squeeze
#
# Difficulty 2/5 (axes) · about 15 minutes · 4 points
#
# Write both directions of the formula. Count axes from the end: whatever stands before C, H, W is batch.


# %% solution="Squeeze"
class Squeeze(nn.Module):
    """x `(*batch, C, H, W)` ↔ u `(*batch, 4C, H/2, W/2)`, u[4c + 2i + j, h, w] = x[c, 2h + i, 2w + j]; H, W even."""

    def forward(self, u):
        """Base to data: u `(*batch, 4C, H/2, W/2)` → (x `(*batch, C, H, W)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        *batch, C, H, W = u.shape
        blocks = u.reshape(*batch, C // 4, 2, 2, H, W)  # c, i, j, h, w
        x = blocks.movedim((-4, -3), (-3, -1))  # c, h, i, w, j
        return x.reshape(*batch, C // 4, 2 * H, 2 * W), u.new_zeros(batch)
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, C, H, W)` → (u `(*batch, 4C, H/2, W/2)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        *batch, C, H, W = x.shape
        blocks = x.reshape(*batch, C, H // 2, 2, W // 2, 2)  # c, h, i, w, j
        u = blocks.movedim((-3, -1), (-4, -3))  # c, i, j, h, w
        return u.reshape(*batch, 4 * C, H // 2, W // 2), x.new_zeros(batch)
        ### END SOLUTION


# %% test="squeeze_turns_blocks_into_channels" points=1
check.squeeze_turns_blocks_into_channels(Squeeze)
### BEGIN HIDDEN TESTS
check.squeeze_turns_blocks_into_channels(Squeeze, hidden=1)
### END HIDDEN TESTS

# %% test="squeeze_forward_undoes_inverse" points=1
check.squeeze_forward_undoes_inverse(Squeeze)
### BEGIN HIDDEN TESTS
check.squeeze_forward_undoes_inverse(Squeeze, hidden=1)
### END HIDDEN TESTS

# %% test="squeeze_keeps_volume" points=1
check.squeeze_keeps_volume(Squeeze)
### BEGIN HIDDEN TESTS
check.squeeze_keeps_volume(Squeeze, hidden=1)
### END HIDDEN TESTS

# %% test="squeeze_batch_shapes" points=1
check.squeeze_batch_shapes(Squeeze)
### BEGIN HIDDEN TESTS
check.squeeze_batch_shapes(Squeeze, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Split each of the two spatial axes in two: $H = (H/2)\cdot 2$. A reshape does that without moving a number. Then the axes must be reordered, and only then merged.
# </details>
# <details><summary>Help: the pixels are scrambled</summary>
#
# Write down what the axes mean after each step, as in the formula: $c, h, i, w, j$ on the data's side, $c, i, j, h, w$ on the base's.
# </details>
#
# The masks and the squeeze as pictures:

# %%
figure, axes = plt.subplots(1, 4, figsize=(10.5, 2.9))
pattern = torch.arange(4.0).reshape(2, 2).repeat(2, 2)[None]  # numbers each block's pixels 0 to 3
board = flowlib.checkerboard_mask((1, 4, 4))
squeezed, _ = flowlib.Squeeze((1, 4, 4)).inverse(pattern)
panels = (
    (board[0], "checkerboard mask", "gray"),
    (flowlib.checkerboard_mask((1, 4, 4), flip=True)[0], "flipped", "gray"),
    (pattern[0], "an image, blocks numbered", "viridis"),
    (squeezed.reshape(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4), "squeezed: its 4 channels", "viridis"),
)
for ax, (picture, title, colors) in zip(axes, panels, strict=True):
    ax.imshow(picture, cmap=colors, vmin=0, vmax=picture.max(), aspect="equal")
    ax.spines[:].set_visible(True)
    for (row, column), value in np.ndenumerate(picture.numpy()):
        readable = "black" if value > picture.max() / 2 else "white"
        ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=readable)
    ax.set(title=title, xticks=[], yticks=[], xlabel="column w", ylabel="row h")
    ax.title.set_fontsize(10)
axes[3].axvline(1.5, color="white", linewidth=6)
axes[3].axhline(1.5, color="white", linewidth=6)
plt.show()

# %% [markdown]
# **Figure.** Four small pixel grids. The checkerboard mask and its flipped version: ones (white) and zeros (black) alternate along rows and columns. Third: a 4×4 image whose 2×2 blocks are each numbered 0, 1, 2, 3.
# Fourth: the same after squeezing, its four channels of 2×2 set apart by white lines; each channel holds equal numbers, that is, the same corner of every block.
#
# **Why both kinds of masks?** Which base variables does a pixel depend on? Take untrained flows with random weights, whose couplings have one 3×3 convolution each. In the Jacobian, pixel $i$ has row $i$: count its entries that are not 0.

# %%
torch.manual_seed(1)


def coupling(mask):
    C = mask.shape[0]
    net = flowlib.conv_net([C, 2 * C], kernel=3)
    return flowlib.ImageCoupling(net, mask, log_scale_bound=1.0)


one, other = (flowlib.checkerboard_mask((1, 8, 8), flip) for flip in (False, True))
first, second = (flowlib.channel_mask((4, 4, 4), flip) for flip in (False, True))
recipes = {
    "three equal checkerboards": [coupling(one) for _ in range(3)],
    "checkerboards by turns": [coupling(one), coupling(other), coupling(one)],
    "channels, then checkerboards": [
        coupling(first),
        coupling(second),
        coupling(first),
        flowlib.Squeeze((1, 8, 8)),
        coupling(one),
        coupling(other),
        coupling(one),
    ],
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.3))
u = torch.randn(1, D)
for ax, (title, stack) in zip(axes, recipes.items(), strict=True):
    flow = flowlib.Composition(stack)
    J = flowlib.batch_jacobian(lambda u, f=flow: f.forward(u.reshape(-1, *f.base_shape))[0].flatten(1), u)[0]
    reach = (J != 0).sum(1).reshape(8, 8)
    picture = ax.imshow(reach.detach(), vmin=1, vmax=64)
    ax.set(title=title, xlabel="column w", ylabel="row h", xticks=range(0, 8, 2), yticks=range(0, 8, 2))
    print(f"{title:29s} a pixel depends on {reach.min():2d} to {reach.max():2d} of the 64 base variables")
figure.colorbar(picture, ax=axes, label="base variables it depends on")
plt.show()

# %% [markdown]
# **Figure.** Three 8×8 maps: how many base variables each pixel depends on. With three equal checkerboards half of the pixels depend on a single one, their own: they never move. With alternating
# checkerboards each pixel depends on its neighborhood. With three channel couplings on the squeezed image, nearer to the base, most pixels depend on all 64: a 3×3 convolution there spans 6×6 pixels.

# %% [markdown]
# ## 6 · Several scales
#
# After squeezing there are still 64 numbers, and every layer processes all of them. RealNVP lets half of them go at each level: they are **factored out**, join $u$ as they are, and are not
# transformed any more. The other half goes on to coarser levels. There are two reasons, cost and meaning. What leaves early has passed few layers: fine detail. What stays is shaped by many: the coarse picture.
#
# In the direction from data to base (`inverse`, *encode*), for one such split:
#
# $$x \xrightarrow{\;\text{fine}\;} (y, u_2), \qquad y \xrightarrow{\;\text{coarse}\;} u_1, \qquad u = (u_1, u_2).$$
#
# $y$ is the first half of the fine layer's channels and $u_2$ the second; $y$, $u_1$ and $u_2$ have shape `(*batch, C/2, H, W)`. **Predict.** What is the log-determinant, and what must `forward` (*decode*) do first?
#
# <details><summary>Answer</summary>
#
# The Jacobian of $(y, u_2) \mapsto (u_1, u_2)$ is block-diagonal: the coarse layer's, and the identity for $u_2$. So its log-determinant is the coarse layer's, and it adds to the fine layer's.
# `forward` first turns $u_1$ into $y$, then joins $y$ and $u_2$, then runs the fine layer.
# </details>
#
# ### Exercise 6 · Two scales
#
# Difficulty 3/5 (bookkeeping with shapes) · about 15 minutes · 6 points
#
# The base variable is flat, `(*batch, D)`: first $u_1$, flattened, then $u_2$, flattened. `fine` maps images of `shape` to images of the same shape, `coarse` does so for images `(C/2, H, W)`.
# Both have `forward` and `inverse`, with log-determinants `(*batch,)`.


# %% solution="TwoScales"
class TwoScales(nn.Module):
    """x → fine → half of the channels → coarse; the other half is factored out. Base u `(*batch, D)` = (u₁, u₂).

    Args:
        fine: layer between images `(*batch, C, H, W)`.
        coarse: layer between images `(*batch, C/2, H, W)`.
        shape: (C, H, W), C even.
    """

    def __init__(self, fine, coarse, shape):
        super().__init__()
        self.fine, self.coarse = fine, coarse
        C, H, W = shape
        self.half = (C // 2, H, W)

    def forward(self, u):
        """Base to data: u `(*batch, D)` → (x `(*batch, C, H, W)`, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        u1, u2 = (part.unflatten(-1, self.half) for part in u.chunk(2, dim=-1))
        y, coarse_log_det = self.coarse.forward(u1)
        x, fine_log_det = self.fine.forward(torch.cat([y, u2], dim=-3))
        return x, coarse_log_det + fine_log_det
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, C, H, W)` → (u `(*batch, D)`, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        both, fine_log_det = self.fine.inverse(x)
        y, u2 = both.chunk(2, dim=-3)
        u1, coarse_log_det = self.coarse.inverse(y)
        return torch.cat([u1.flatten(-3), u2.flatten(-3)], dim=-1), coarse_log_det + fine_log_det
        ### END SOLUTION


# %% test="scales_factor_out_half_of_the_channels" points=2
check.scales_factor_out_half_of_the_channels(TwoScales)
### BEGIN HIDDEN TESTS
check.scales_factor_out_half_of_the_channels(TwoScales, hidden=1)
### END HIDDEN TESTS

# %% test="scales_decode_what_they_encode" points=2
check.scales_decode_what_they_encode(TwoScales)
### BEGIN HIDDEN TESTS
check.scales_decode_what_they_encode(TwoScales, hidden=1)
### END HIDDEN TESTS

# %% test="scales_log_dets_add_up" points=1
check.scales_log_dets_add_up(TwoScales)
### BEGIN HIDDEN TESTS
check.scales_log_dets_add_up(TwoScales, hidden=1)
### END HIDDEN TESTS

# %% test="scales_batch_shapes" points=1
check.scales_batch_shapes(TwoScales)
### BEGIN HIDDEN TESTS
check.scales_batch_shapes(TwoScales, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: which axis?</summary>
#
# Count from the end. Channels of an image are axis −3; the variables of $u$ are axis −1. Whatever stands before is batch.
# </details>
# <details><summary>Help: the round trip fails, the shapes are right</summary>
#
# Follow $u_2$: it must come out of `inverse` as it left the fine layer, and enter the fine layer in `forward` as it stands in $u$. Then follow the order in `cat` and `chunk`.
# </details>
# <details><summary>Template</summary>
#
# ```python
# both, fine_log_det = self.fine.inverse(x)
# y, u2 = ...             # (*batch, C/2, H, W) each
# u1, coarse_log_det = ...
# return torch.cat([..., ...], dim=-1), ...
# ```
# </details>
#
# `flowlib.MultiScale` does this for any number of levels; `flowlib.image_real_nvp` is the paper's recipe: per level three checkerboard couplings, a squeeze, three channel
# couplings, half of the channels factored out; at the coarsest level four checkerboard couplings. Decoding an encoded image gives the image back, up to rounding, even with random weights:

# %%
torch.manual_seed(2)
# `zero_last=False`: random weights also in the last layers; else every coupling would start as the identity.
multi_scale = flowlib.image_real_nvp((1, 8, 8), levels=3, hidden=(16,), zero_last=False).double()
x = data.dequantize(test[:100].double(), LEVELS, seed=0).reshape(-1, 1, 8, 8)
with torch.no_grad():
    encoded, log_det = multi_scale.inverse(x)
    decoded, back_log_det = multi_scale.forward(encoded)
print(
    "x:",
    tuple(x.shape),
    "→ u:",
    tuple(encoded.shape),
    "| variables that leave, coarsest first:",
    multi_scale.transformations[0].sizes,
)
print(
    f"largest error of decode(encode(x)): {(decoded - x).abs().max():.1e}; of the log-dets' sum: {(log_det + back_log_det).abs().max():.1e}"
)
assert torch.allclose(decoded, x, atol=1e-9)

# %% [markdown]
# ## 7 · Glow: actnorm and the invertible 1×1 convolution
#
# RealNVP alternates its channel masks by a fixed pattern. Glow (Kingma & Dhariwal 2018) repeats one **step** several times at each scale. From data to base a step is
#
# $$\text{actnorm} \;\to\; \text{invertible } 1\times1 \text{ convolution} \;\to\; \text{coupling by channels} .$$
#
# ### Actnorm
#
# Deep flows are hard to start: some layers see values near 0, others far away. Batch normalization would help, but then an image's density would depend on the other images in its batch. **Actnorm** takes
# the statistics of *one* batch, the first, and from then on is an ordinary learned shift and scale per channel:
#
# $$x_{chw} = m_c + e^{a_c}\,u_{chw}, \qquad u_{chw} = (x_{chw} - m_c)\,e^{-a_c}, \qquad \log\Bigl|\det\frac{\partial x}{\partial u}\Bigr| = H\,W\sum_{c=0}^{C-1} a_c .$$
#
# $m$ and $a$ have shape `(C,)`. At the first batch that `inverse` sees, $m_c$ becomes the channel's mean and $a_c$ the logarithm of its standard deviation, over batch **and** pixels.
#
# **Predict.** Why the factor $H\,W$? And what happens if a saved flow is loaded and has forgotten that it was initialized?
#
# <details><summary>Answer</summary>
#
# The Jacobian is diagonal, with $e^{a_c}$ once for each of the $H\,W$ pixels of channel $c$. The forgetful flow takes the next batch for its first: all that $m$ and $a$ have learned is overwritten, and the density changes.
# </details>
#
# ### Exercise 7 · Actnorm
#
# Difficulty 3/5 (a layer with a memory) · about 20 minutes · 8 points
#
# Only `inverse` sets $m$ and $a$; `forward` before any `inverse` is the identity. Afterwards $m$ and $a$ are learned like other parameters. The memory must be part of `state_dict`, so that loading restores it. A standard deviation over $n$ values
# may divide by $n$ or by $n - 1$.


# %% solution="ActNorm"
class ActNorm(nn.Module):
    """x = m_c + exp(a_c) u for each channel; the first batch that `inverse` sees sets m and a to normalize it.

    Args:
        C: number of channels.
    """

    def __init__(self, C):
        super().__init__()
        ### BEGIN SOLUTION
        self.shift = nn.Parameter(torch.zeros(C, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(C, 1, 1))
        self.register_buffer("initialized", torch.tensor(False))
        ### END SOLUTION

    def forward(self, u):
        """Base to data: u `(*batch, C, H, W)` → (x of the same shape, log|det ∂x/∂u| `(*batch,)`)."""
        ### BEGIN SOLUTION
        H, W = u.shape[-2:]
        x = self.shift + self.log_scale.exp() * u
        return x, (H * W * self.log_scale.sum()).expand(u.shape[:-3])
        ### END SOLUTION

    def inverse(self, x):
        """Data to base: x `(*batch, C, H, W)` → (u of the same shape, log|det ∂u/∂x| `(*batch,)`)."""
        ### BEGIN SOLUTION
        H, W = x.shape[-2:]
        if not self.initialized:
            channels = x.movedim(-3, 0).flatten(1)  # (C, everything else)
            with torch.no_grad():
                self.shift.copy_(channels.mean(1)[:, None, None])
                self.log_scale.copy_(channels.std(1).log()[:, None, None])
            self.initialized.fill_(True)
        u = (x - self.shift) * (-self.log_scale).exp()
        return u, (-H * W * self.log_scale.sum()).expand(x.shape[:-3])
        ### END SOLUTION


# %% test="actnorm_normalizes_the_first_batch" points=1
check.actnorm_normalizes_the_first_batch(ActNorm)
### BEGIN HIDDEN TESTS
check.actnorm_normalizes_the_first_batch(ActNorm, hidden=1)
### END HIDDEN TESTS

# %% test="actnorm_keeps_its_first_statistics" points=2
check.actnorm_keeps_its_first_statistics(ActNorm)
### BEGIN HIDDEN TESTS
check.actnorm_keeps_its_first_statistics(ActNorm, hidden=1)
### END HIDDEN TESTS

# %% test="actnorm_inverse_undoes_forward" points=1
check.actnorm_inverse_undoes_forward(ActNorm)
### BEGIN HIDDEN TESTS
check.actnorm_inverse_undoes_forward(ActNorm, hidden=1)
### END HIDDEN TESTS

# %% test="actnorm_log_det_matches_jacobian" points=1
check.actnorm_log_det_matches_jacobian(ActNorm)
### BEGIN HIDDEN TESTS
check.actnorm_log_det_matches_jacobian(ActNorm, hidden=1)
### END HIDDEN TESTS

# %% test="actnorm_goes_on_learning" points=1
check.actnorm_goes_on_learning(ActNorm)
### BEGIN HIDDEN TESTS
check.actnorm_goes_on_learning(ActNorm, hidden=1)
### END HIDDEN TESTS

# %% test="actnorm_survives_saving_and_loading" points=1
check.actnorm_survives_saving_and_loading(ActNorm)
### BEGIN HIDDEN TESTS
check.actnorm_survives_saving_and_loading(ActNorm, hidden=1)
### END HIDDEN TESTS

# %% test="actnorm_batch_shapes" points=1
check.actnorm_batch_shapes(ActNorm)
### BEGIN HIDDEN TESTS
check.actnorm_batch_shapes(ActNorm, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: statistics over which axes?</summary>
#
# All but the channels. `x.movedim(-3, 0).flatten(1)` has one row per channel and everything else in the columns, whatever the batch axes are.
# </details>
# <details><summary>Help: setting a parameter inside inverse</summary>
#
# Its value changes, and autograd must not record that: `with torch.no_grad(): self.shift.copy_(…)`.
# </details>
# <details><summary>Help: only saving and loading fails</summary>
#
# `state_dict` holds parameters and buffers. A Python attribute such as `self.initialized = True` is neither; `register_buffer("initialized", torch.tensor(False))` makes a buffer.
# </details>
#
# ### The invertible 1×1 convolution
#
# A coupling by channels keeps half of the channels. Which half should change from step to step. A permutation does that, and a permutation is a matrix. So let the flow **learn the matrix**: one $A$ of shape
# `(C, C)`, applied to the channels of every pixel,
#
# $$x[:, h, w] = A\,u[:, h, w], \qquad \log\Bigl|\det\frac{\partial x}{\partial u}\Bigr| = H\,W\,\log|\det A| .$$
#
# $H$ and $W$ are height and width, as before. As one matrix on all $D$ numbers this map is block-diagonal, with a copy of $A$ for every pixel. By machine, for two channels and three pixels:

# %%
a, b, c, d = sp.symbols("a b c d", real=True)
A_symbolic = sp.Matrix([[a, b], [c, d]])
three_pixels = sp.diag(A_symbolic, A_symbolic, A_symbolic)
print("determinant of the whole map:", sp.factor(three_pixels.det()))
assert sp.expand(three_pixels.det() - A_symbolic.det() ** 3) == 0

# %% [markdown]
# Two worries: $\det A$ costs about $C^3$ operations, and training might make $A$ singular. Both go away with $A = \mathsf P\,\mathsf L\,\mathsf U$, three matrices `(C, C)`: $\mathsf P$ a fixed permutation, $\mathsf L$ lower triangular with ones
# on its diagonal, $\mathsf U$ upper triangular with diagonal $\pm e^{d_c}$. (Upright letters: this $\mathsf L$ is no number of levels.) Then
#
# $$\log|\det A| = \sum_{c=0}^{C-1} d_c ,$$
#
# a sum of parameters, and the inverse is two triangular solves. No $d_c$ can make $e^{d_c}$ zero; `flowlib.InvertibleConv1x1` also keeps it within a factor $e^{\pm2}$ of where it starts. A permutation is the special case
# $\mathsf L = \mathsf U = I$: its log-determinant is 0. This is a **linear flow**; notebook 9 meets more of them. flowlib starts with a random orthogonal matrix.
#
# **Predict.** Can $A = \mathsf P\mathsf L\mathsf U$ turn from a rotation with $\det A = 1$ into a reflection with $\det A = -1$ during training?
#
# <details><summary>Answer</summary>
#
# No. $\mathsf P$ and the signs are fixed, and $e^{d_c} > 0$. To change its sign the determinant would have to pass through 0, where the map is not invertible. Little is lost: a standard normal base, reflected, is the same base.
# </details>

# %%
torch.manual_seed(0)
conv = flowlib.InvertibleConv1x1((4, 2, 2)).double()
u = torch.randn(5, 4, 2, 2, dtype=torch.float64)
with torch.no_grad():
    x, log_det = conv.forward(u)
    print(
        "starts orthogonal, A Aᵀ = I:",
        torch.allclose(conv.weight @ conv.weight.T, torch.eye(4).double(), atol=1e-6),
    )
    conv.linear.log_scale.copy_(torch.tensor([0.5, -1.0, 0.3, 2.0]))  # as training might
    x, log_det = conv.forward(u)
    by_slogdet = 4 * torch.linalg.slogdet(conv.weight).logabsdet  # H·W = 4 pixels
    print(
        f"log_det {log_det[0]:.6f}, from the matrix {by_slogdet:.6f}; round trip {(conv.inverse(x)[0] - u).abs().max():.0e}"
    )
assert torch.allclose(log_det, by_slogdet.expand(5))
swap = flowlib.InvertibleConv1x1((3, 1, 1), weight=torch.eye(3)[[2, 0, 1]])
print(
    "a permutation:",
    swap.forward(torch.tensor([10.0, 11.0, 12.0]).reshape(3, 1, 1))[0].flatten().tolist(),
    "| log_det",
    swap.forward(torch.zeros(3, 1, 1))[1].item(),
)

# %% [markdown]
# ## 8 · A flow that draws digits
#
# Now a Glow on the digits: two levels of four steps. The networks in its couplings are fully connected: with 8×8 pixels every pixel can look at all others, and the digits are centered, so that position matters. (On larger images
# they would be convolutions, which need fewer parameters and treat all positions alike.) The flow has many parameters and only a thousand images to learn from: dropout and a bound of 1 on the log-scales keep it from learning them by heart. The last layer, next to the data,
# has each pixel's mean and standard deviation. One look at the training images sets the actnorms.
#
# **Predict.** The tables of section 2 need 17 numbers for each pixel. Where will this flow end up?

# %%
example = data.dequantize(train, LEVELS, seed=0)


def glow_on_digits(ending):
    """Glow from 64 base variables to 8×8 pixels, flattened; `ending` is the layer next to the data."""
    torch.manual_seed(0)
    images = flowlib.glow(
        (1, 8, 8), K=4, L=2, hidden=(128, 128), dense=True, log_scale_bound=1.0, dropout=0.2
    )
    flow = flowlib.Flow(images.base, [*images.transformations, flowlib.Flatten((1, 8, 8)), ending])
    flow.log_prob(example)  # the first batch: sets the actnorms
    return flow.eval()


def train_on_digits(flow, steps):
    return flowlib.fit(
        flow,
        train,
        loss=lambda x: -flow.log_prob(data.dequantize(x, LEVELS)).mean(),
        validation=validation,
        steps=steps,
        batch_size=128,
        lr=2e-3,
        average=0.99,
        eval_every=100,
        max_steps=MAX_STEPS,
    )


@torch.no_grad()
def bits_of_test_images(flow):
    bound = flowlib.dequantization_bound(flow.log_prob, test, LEVELS, num_samples=8, seed=1)
    return flowlib.bits_per_dim(bound, D).mean().item()


plain_flow = glow_on_digits(flowlib.Affine.from_data(example))
history = train_on_digits(plain_flow, steps=500)
bits["Glow"] = bits_of_test_images(plain_flow)
print(
    f"{sum(p.numel() for p in plain_flow.parameters()):,} parameters, {history.seconds:.0f} seconds, best at step {history.best_step}"
)

# %%
for name, value in sorted(bits.items(), key=lambda item: -item[1]):
    print(f"{name:30s} {value:.3f} bits per dimension on test images")

# %% [markdown]
# All that machinery, and after a short training it is about where counting got us. Longer training helps: the long table below has more steps. (The comparison does not flatter the flow: the tables' number is exact, the flow's an upper bound on
# what it costs.) "My flow lost to a table" is a common experience, for those who compare with one.
#
# ### Start where the table ends
#
# The flow above spends its strength on what the tables know anyway: pixels that are nearly always 0 or 16. Then let it **begin** with the tables, and learn only what they do not know: how pixels depend on each other. Notebook 1 made a flow of any
# distribution function $F$: $F^{-1}$ carries the uniform distribution to it. From a standard normal base the layer is $u \mapsto F^{-1}(\Phi(u))$, where $\Phi$ is the standard normal distribution function. `flowlib.HistogramMarginals` is this layer for each
# pixel, with the density of its table: constant in each of the 17 cells of $[0, 1)$. (Layers that make each variable normal by itself are half of a *Gaussianization flow*, Meng et al. 2020.) It stands next to the data, between them and the same Glow.
#
# **Predict.** Before any training, couplings are the identity and 1×1 convolutions are orthogonal. Both leave $\mathcal N(0, I)$ as it is. What will the new flow's bits per dimension be at step 0?

# %%
digits_flow = glow_on_digits(flowlib.HistogramMarginals.from_data(example, LEVELS, pseudo_count=0.1))
bits["Glow behind the tables, step 0"] = bits_of_test_images(digits_flow)
history = train_on_digits(digits_flow, steps=500)
bits["Glow behind the tables"] = bits_of_test_images(digits_flow)
print(f"{history.seconds:.0f} seconds, best at step {history.best_step}\n")
for name, value in sorted(bits.items(), key=lambda item: -item[1]):
    print(f"{name:30s} {value:.3f} bits per dimension on test images")

# %% [markdown]
# It starts near the tables. (A little below: neighbors are correlated, so after a random rotation some channels spread more than others, and actnorm has measured that.) After the same training it ends far below both of its parts. Marginals by counting, dependence by a flow: each does what it does best.
#
# All that follows uses this flow. What has it learned beyond the frequencies of single pixels? Draw from it.

# %%
torch.manual_seed(1)
with torch.no_grad():
    drawn = digits_flow.sample((30,))
    independent = flowlib.Flow(flowlib.StandardNormal(D), [digits_flow.transformations[-1]]).sample((30,))


def levels_of(z):
    """The levels of dequantized images."""
    return (z * LEVELS).floor().clamp(0, LEVELS - 1)


figure, axes = plt.subplots(3, 1, figsize=(8, 5))
for ax, images, title in zip(
    axes,
    (test[:30], levels_of(drawn), levels_of(independent)),
    ("test images", "drawn by the flow", "drawn from the tables alone"),
    strict=True,
):
    plotting.plot_image_grid(images, columns=15, vmax=16, ax=ax, title=title)
plt.show()

# %% [markdown]
# **Figure.** Above, thirty test images; in the middle, thirty draws of the flow; below, thirty draws from the tables alone. The flow's draws have strokes, and most resemble a digit. The tables' draws have the right gray values in the
# right places and no strokes: speckle in the shape of an average digit. That is what the difference in bits buys.
#
# ### What leaves early and what stays
#
# The base variable holds the coarse level's variables first. Take one digit's $u$, keep one part and redraw the other.

# %%
torch.manual_seed(2)
scale_sizes = digits_flow.transformations[0].sizes
print("variables of the coarse and of the fine level:", scale_sizes)
kept_images = test[:6]
with torch.no_grad():
    u, _ = digits_flow.inverse(data.dequantize(kept_images, LEVELS, seed=0))
    coarse, fine = u.split(scale_sizes, -1)
    rows = [kept_images]
    for part in ("fine", "coarse"):
        noise = torch.randn(4, *u.shape).split(scale_sizes, -1)
        mixed = (
            (coarse.expand_as(noise[0]), noise[1]) if part == "fine" else (noise[0], fine.expand_as(noise[1]))
        )
        x, _ = digits_flow.forward(torch.cat(mixed, -1))
        rows.append(levels_of(x).transpose(0, 1).flatten(0, 1))  # the four versions of an image side by side
figure, axes = plt.subplots(1, 3, figsize=(8, 5), width_ratios=(1, 4, 4))
for ax, images, title, columns in zip(
    axes,
    rows,
    ("image", "fine level redrawn, 4 times", "coarse level redrawn, 4 times"),
    (1, 4, 4),
    strict=True,
):
    plotting.plot_image_grid(images, columns=columns, vmax=16, ax=ax, title=title)
plt.show()

# %% [markdown]
# **Figure.** Six digits in the left column. Middle: four versions of each with the fine level's variables redrawn. Right: four versions with the coarse level's redrawn. With the fine level redrawn most digits stay what they are, while their strokes thicken, thin and shift. With the coarse level redrawn other digits come out, or nothing readable. What leaves early
# is detail; what stays decides.
#
# ### The long table, and overfitting as an experiment
#
# One split and one training are not a result. `python -m benchmarks.digits_flows` trains each model on three splits for 2000 steps, and measures the test images twice: with the weights of the best step by
# validation ("early"), and with those of the last step. Standard errors are over splits. The difference to the tables ("histogram" below) is taken split by split, since splits differ more than some models do. MAF comes in notebook 7, splines in notebook 10. (Larger images: `data.load_mnist_split` has 5000 digits
# of 28×28 pixels and 256 levels, for those with a machine and an evening to spare.)

# %%
results = flowlib.load_results("digits_flows")
print(f"{'bits per dimension on test images':36s}{'early':>10s}{'last':>18s}{'early − tables':>20s}")
for row in results["summary"]:
    columns = (f"{row[k]:7.3f} ± {row[f'{k}, s.e.']:.3f}" for k in ("early", "last", "early minus histogram"))
    print(f"{row['model']:34s}", *columns, sep="   ")

# %% [markdown]
# Four of these flows are one experiment. They are equal but for two things: dropout in the networks, and the bound $s_{\max}$ on the log-scales, $s \to s_{\max}\tanh(s/s_{\max})$. **Predict**: which of the two limits the damage of
# overfitting, and which prevents it?

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.5), sharex=True)
for run in results["runs"]:
    if run["split"] == 0 and "bound" in run["model"]:
        line = "--" if "no dropout" in run["model"] else "-"
        color = plotting.PALETTE["blue" if run["model"].endswith("3") else "vermilion"]
        for ax, part in zip(axes, ("train", "test"), strict=True):
            label = run["model"].removeprefix("RealNVP, ")
            ax.plot(run["steps"], run["trace"][part], line, color=color, label=label)
for ax, title in zip(axes, ("training images", "test images"), strict=True):
    ax.set(title=title, xlabel="step", ylabel="bits per dimension", ylim=(1.6, 4))
axes[0].legend(fontsize=9)
plt.show()

# %% [markdown]
# **Figure.** Bits per dimension of four flows over 2000 steps, on training images (left) and test images (right); solid with dropout, dashed without. On training images the flows without dropout are ahead and go on falling, whatever the bound. On test images both turn
# after a few hundred steps. The one with the tighter bound climbs slowly; the other leaves the picture, steeper and steeper. With dropout the two solid lines lie on each other and stay down to the end. **The bound limits the damage, dropout prevents it**: the larger
# a log-scale may be, the less probability the flow can leave to an unusual test image. A bound keeps the likelihood finite; it takes more to keep it good.
#
# ## 9 · Walking between digits, and why "latent" stands in quotation marks
#
# Glow's paper shows faces that change smoothly from one to another. Encode two images, walk along the straight line between their $u$, decode. Here between real digits:

# %%
labels = data.load_digits_split(seed=0)[2].labels
pairs = [
    tuple(int((labels == digit).nonzero()[0]) for digit in digits) for digits in ((3, 8), (4, 9), (0, 6))
]
alphas = torch.linspace(0, 1, 11)[:, None]
with torch.no_grad():
    u, _ = digits_flow.inverse(data.dequantize(test, LEVELS, seed=0))
    lines = [(1 - alphas) * u[i] + alphas * u[j] for i, j in pairs]
    walks = [levels_of(digits_flow.forward(line)[0]) for line in lines]
    averages = [((1 - alphas) * test[i] + alphas * test[j]).round() for i, j in pairs]
    norms = torch.stack([line.norm(dim=-1) for line in lines])
    typical = digits_flow.base().sample((4000,)).norm(dim=-1)

figure = plt.figure(figsize=(11, 5))
panels = figure.subplot_mosaic(
    [["3 to 8", "norm"], ["4 to 9", "norm"], ["0 to 6", "norm"]], width_ratios=(3, 2)
)
for name, walk, average in zip(("3 to 8", "4 to 9", "0 to 6"), walks, averages, strict=True):
    title = f"{name}: above along u, below averaged pixels"
    plotting.plot_image_grid(torch.cat([walk, average]), columns=11, vmax=16, ax=panels[name], title=title)
for name, row, look in zip(("3 to 8", "4 to 9", "0 to 6"), norms, ("o-", "s--", "^:"), strict=True):
    panels["norm"].plot(alphas[:, 0], row, look, markersize=4, label=name)
low, high = typical.quantile(0.005).item(), typical.quantile(0.995).item()
panels["norm"].axhspan(low, high, color="gray", alpha=0.25, label="99 % of base samples")
panels["norm"].set(
    title="Distance from the origin", xlabel="position on the line", ylabel="‖u‖", ylim=(0, None)
)
panels["norm"].legend()
plt.show()
print(
    f"base samples in {D} dimensions: ‖u‖ = {typical.mean():.2f} ± {typical.std():.2f}; √64 = {math.sqrt(D):.0f}"
)
print(
    f"all test images: median ‖u‖ {u.norm(dim=-1).median():.2f}, {(u.norm(dim=-1) > high).double().mean():.0%} of them beyond the band"
)
print(
    "ends of the lines:",
    [f"{n:.1f}" for n in norms[:, [0, -1]].flatten()],
    "| midpoints:",
    [f"{n:.1f}" for n in norms[:, 5]],
)
for dimensions in (D, 3 * 256**2):
    shell, midpoint = math.sqrt(dimensions), math.sqrt(dimensions / 2)
    print(
        f"D = {dimensions:6d}: the shell has radius {shell:5.1f} ± {math.sqrt(0.5):.1f}; "
        f"midpoints of independent draws {midpoint:5.1f}"
    )

# %% [markdown]
# **Figure.** Left: three walks from one digit to another, two rows each. The upper row walks along a straight line in $u$, the lower row averages pixels. Halfway, the averages are gray overlays of both digits; along $u$ the strokes keep more of their contrast. Right: the norm of $u$ along the lines; the gray band holds 99 % of the base's
# samples. Every line starts and ends in the band and sinks to its lower edge, or below it, in between.
#
# Straight lines leave the region that the flow was trained on. In $D$ dimensions a standard normal $u$ has $\|u\|^2$ near $D$: nearly all of its probability lies in a thin shell of radius $\sqrt D$, the **typical set**. Two
# independent points of the shell are nearly orthogonal, so their midpoint has norm close to $\sqrt{D/2}$. That is deep inside, where the density is highest and where samples
# never are. With 64 dimensions, and digits that have much in common, the lines only graze the shell's inner edge. With a color image of 256×256 pixels, the printout's last line, they leave it at once. (An arc around the origin, at constant $\|u\|$, stays in the shell.)
#
# Then why the quotation marks? A latent variable, as in the VAE of notebook 4, is something hidden behind the data: fewer numbers than pixels, only inferred, never observed. A flow's $u$ has none of this:
#
# - **As many dimensions.** 64 pixels, 64 base variables. Nothing is compressed, nothing left out: noise of single pixels is in $u$ as well.
# - **Nothing to infer.** With $T$ the flow's `forward`, $u = T^{-1}(x)$ is computed, exactly. The posterior of $u$ given $x$ is a point.
# - **A change of coordinates.** $x$ and $u$ are the same point in two descriptions. The data do not single one out: rotate $u$, let $T$ turn it back first, and the density of $x$ is the same.
#
# ### Exercise 8 · In your own words
#
# Difficulty 2/5 (writing) · about 10 minutes · 2 points, graded by hand
#
# (a) A flow trained on raw integer pixels reports −3 bits per dimension on test images, and its author is pleased. What has the flow learned, and which single change to the training makes the number meaningful? (b) Why do we
# write "latent space" of a flow in quotation marks? Give one property of a VAE's latent variable that $u$ does not have.
#
# *What we look for.* One point for (a): what the density does at the levels, why that has no limit, and the change. One point for (b): a true difference with its reason.

# %% [markdown] manual="meaning_of_negative_bits" points=2
# ### BEGIN SOLUTION
# (a) That pixels are integers. The density has narrow spikes at the levels; making them narrower raises the likelihood without limit and teaches nothing about images. Negative bits per dimension would be a code of negative length, so the number is no
# bound on any probability. Adding uniform noise of the width of one level to every pixel, anew in every batch, makes the mean log-density minus $D\log L$ a lower bound on $\log P(x)$. (Integrating the density over the cell is as good.)
#
# (b) $u$ has as many dimensions as $x$ and is computed from it by a bijection. A VAE's latent variable has fewer dimensions and a posterior that must be inferred; here the posterior is a point, and $u$ is the image in other coordinates, fixed up to a rotation of the base.
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - On discrete data a density's likelihood has no upper limit. Negative bits per dimension are the symptom.
# - Uniform noise over the whole cell turns it into a bound: $\log P(x) \ge \mathbb E_v[\log p((x+v)/L)] - D\log L$. Checked on sixteen images.
# - Bits per dimension: nats per dimension, plus $\log L$, all over $\log 2$. Compare with a table of pixel frequencies before you celebrate.
# - What can be counted need not be learned: a flow that starts at the tables learns the dependence alone.
# - Masks carry knowledge: checkerboards use neighbors, squeezing and channel masks reach farther at less cost. Half of the variables leave at each scale.
# - Actnorm normalizes one batch and then learns. Its memory belongs into `state_dict`.
# - An invertible 1×1 convolution generalizes a permutation of channels: $\log|\det\partial x/\partial u| = H\,W\sum_c d_c$ with $A = \mathsf P\mathsf L\mathsf U$, never singular.
# - $u$ is the image in other coordinates, of the same dimension. Straight lines in it leave the typical set.
#
# **Common mistakes**: noise of half the width · noise added after the division · $\log L$ forgotten, or added in nats to bits · stripes in place of a checkerboard · a reshape in place of a squeeze · the log-det of an actnorm without $H\,W$ ·
# the "initialized" flag as a plain attribute · statistics of one pixel, or of one batch axis only · the coarse level's log-det forgotten · test likelihoods without the noise.
#
# ## References
#
# - L. Theis, A. van den Oord, M. Bethge, *A note on the evaluation of generative models*, 2015, arXiv:1511.01844.
# - L. Dinh, J. Sohl-Dickstein, S. Bengio, *Density estimation using Real NVP*, 2016, arXiv:1605.08803.
# - D. P. Kingma, P. Dhariwal, *Glow: Generative Flow with Invertible 1×1 Convolutions*, 2018, arXiv:1807.03039.
# - J. Ho, X. Chen, A. Srinivas, Y. Duan, P. Abbeel, *Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design*, 2019, arXiv:1902.00275.
# - C. Meng, Y. Song, J. Song, S. Ermon, *Gaussianization Flows*, 2020, arXiv:2003.01941.
# - E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998.
