# %% [markdown]
# # 5 · Priors that learn: the VAE with a flow prior
#
# A VAE draws $z$ from a prior and lets the decoder do the rest. Training sends the codes of the images to some region
# of latent space; sampling draws from another region, the prior's. Where the two disagree, the decoder is asked about
# places it has never seen. This notebook measures the disagreement, and removes it by **learning the prior**: as a
# mixture, and as a normalizing flow, the first time in this course that a flow serves inside another model. It ends
# with what the better prior buys on held-out images, and where it buys nothing.
#
# **You will be able to**
# - sample the aggregate posterior, evaluate its density, and measure the holes that a prior has;
# - write the regularizer of the ELBO as a cross-entropy minus an entropy, and say which prior is the best one;
# - implement `GaussianPrior`, `MixtureOfGaussiansPrior` and `FlowPrior`, and test a density against its samples;
# - find two errors of published texts on flow priors, and say how one notices them;
# - read a table of paired differences, and say how much of a gain is the prior's.
#
# **Time:** about 60 minutes of reading, 140 minutes of exercises (45 points, 6 of them graded by hand).
# **Needs:** notebooks 3 and 4 (flows, modules that return distributions, the ELBO).

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
    Normal,
    TransformedDistribution,
    kl_divergence,
)

import flowlib
from autograder_tests.checks import flow_prior_vae as check
from flowlib import data, interactive, plotting, symbolic, verify
from flowlib.linear import Affine

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(5)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $x$ | `(*batch, D)` | an image; here binary, $D = 64$ |
# | $z$ | `(*batch, M)` | its latent variable, or code |
# | $p(z)$ | | the prior; $p(x \mid z)$ the decoder, $q(z \mid x)$ the encoder |
# | $q(z) = \frac1N\sum_i q(z \mid x_i)$ | | the **aggregate posterior** of $N$ images |
# | $u$ | `(*batch, M)` | base variable of a flow prior, $u \sim p_u$ |
# | $z = T(u)$ | `(*batch, M)` | the flow: `forward` goes $u \to z$, `inverse` goes $z \to u$ |
# | $\log\lvert\det \partial u/\partial z\rvert$ | `(*batch,)` | what `inverse` returns beside $u$, **one number per $z$**, in nats |
#
# In notebook 3 the flow made the data, $x = T(u)$. Here it makes the latent variable, $z = T(u)$, and the decoder
# makes the data from that. Everything else is as it was: base → $z$ is `forward`.
#
# A prior is a module. Calling it gives a distribution with event shape `(M,)` and batch shape `()`:
# `prior().log_prob(z)` takes `(*S, B, M)` to `(*S, B)`, `prior().sample(S)` gives `(*S, M)`.

# %% [markdown]
# ## 1 · Where the codes are
#
# We train a small VAE, $M = 2$, on binarized digits, with the usual prior $\mathcal N(0, I)$. The function below serves
# for the whole notebook: encoder and decoder start from the seed alone, so that two priors with one seed start from the
# same networks.

# %%
train, validation, test = data.load_digits_split(seed=0, binarize=8)


def digits_vae(prior, M, widths=(), seed=0, steps=1000, lr=2e-3):
    """A trained VAE with decoder M → widths → 64; `prior` is a function that makes the prior module."""
    torch.manual_seed(seed)
    decoder = flowlib.BernoulliDecoder(flowlib.mlp([M, *widths, 64], dropout=0.2))
    encoder = flowlib.GaussianEncoder(flowlib.mlp([64, 128, 128, 2 * M], dropout=0.2))
    vae = flowlib.VAE(prior(), decoder, encoder)
    flowlib.fit(
        vae,
        train.images,
        # One sample to learn from, ten to choose the best step by.
        loss=lambda x: -vae.elbo(x, num_samples=1 if vae.training else 10).mean(),
        validation=validation.images,
        steps=steps,
        batch_size=128,
        lr=lr,
        weight_decay=1e-3,
        seed=seed,
        max_steps=MAX_STEPS,
    )
    return vae


standard_2d = digits_vae(lambda: flowlib.GaussianPrior(2), M=2, widths=(128, 128))

# %% [markdown]
# Send an image $x_i$ through the encoder: out comes a small Gaussian $q(z \mid x_i)$. Do it for all $N$ images and
# put the Gaussians on top of each other:
#
# $$q(z) = \frac1N\sum_{i=1}^N q(z \mid x_i).$$
#
# This is the aggregate posterior: the distribution of the code of an image that was picked at random.
#
# **Predict.** The encoder gives posterior means $\mu_i$ and standard deviations $\sigma_i$. Is $q(z)$ the Gaussian
# with mean $\frac1N\sum\mu_i$ and standard deviation $\frac1N\sum\sigma_i$?
#
# <details><summary>Answer</summary>
#
# No. A sum of densities is a mixture, and has as many bumps as the components leave standing. With two images at
# $\mu = \pm 5$, $\sigma = 0.1$, the mixture has two narrow peaks; the Gaussian of averages sits at 0, where no code is.
# </details>
#
# ### Exercise 1 · Sample the aggregate posterior
#
# Difficulty 2/5 (two lines, once the order is clear) · about 10 minutes · 4 points
#
# Draw $n$ codes from $q(z)$. `encoder(x)` is a distribution with batch shape `(B,)` for x of shape `(B, D)`, and
# event shape `(M,)`. $n$ may be smaller or larger than $N$.


# %% solution="aggregate_posterior_sample"
def aggregate_posterior_sample(x, encoder, n):
    """n draws `(n, M)` from q(z), the mixture of the posteriors of all examples.

    Args:
        x: examples `(N, D)`.
        encoder: module, `(B, D)` → distribution q(z given x) with batch shape `(B,)`, event shape `(M,)`.
        n: number of draws.
    """
    ### BEGIN SOLUTION
    picked = torch.randint(len(x), (n,))
    return encoder(x[picked]).sample()
    ### END SOLUTION


# %% test="aggregate_sample_shape" points=1
check.aggregate_sample_shape(aggregate_posterior_sample)
### BEGIN HIDDEN TESTS
check.aggregate_sample_shape(aggregate_posterior_sample, hidden=1)
### END HIDDEN TESTS

# %% test="aggregate_draws_come_from_posteriors" points=1
check.aggregate_draws_come_from_posteriors(aggregate_posterior_sample)
### BEGIN HIDDEN TESTS
check.aggregate_draws_come_from_posteriors(aggregate_posterior_sample, hidden=1)
### END HIDDEN TESTS

# %% test="aggregate_picks_evenly" points=1
check.aggregate_picks_evenly(aggregate_posterior_sample)
### BEGIN HIDDEN TESTS
check.aggregate_picks_evenly(aggregate_posterior_sample, hidden=1)
### END HIDDEN TESTS

# %% test="aggregate_keeps_posterior_noise" points=1
check.aggregate_keeps_posterior_noise(aggregate_posterior_sample)
### BEGIN HIDDEN TESTS
check.aggregate_keeps_posterior_noise(aggregate_posterior_sample, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# A mixture is sampled in two stages. First the component, then the component's own draw. Which of the two is the
# example?
# </details>
# <details><summary>Help: one blob, or draws that no posterior would give</summary>
#
# Somewhere an average is taken, over images, means or draws. Nothing is averaged when one samples a mixture.
# </details>
# <details><summary>Help: template</summary>
#
# `picked = torch.randint(…, (n,))`, shape `(n,)`, then index the examples with it, encode, sample.
# </details>
#
# What follows uses flowlib's own, never yours: no later exercise depends on this one.

# %%
z_q = flowlib.aggregate_posterior_sample(train.images, standard_2d.encoder, 3000)
z_p = standard_2d.prior().sample((3000,))

figure, axes = plt.subplots(1, 3, figsize=(12, 4.6))
box = (-4.0, 4.0, -4.0, 4.0)
labels = {"xlabel": "$z_1$", "ylabel": "$z_2$"}
plotting.plot_samples(axes[0], z_p, extent=box, title="3000 draws from the prior", **labels)
plotting.plot_samples(
    axes[1],
    z_q,
    extent=box,
    color=plotting.PALETTE["vermilion"],
    title="3000 draws from the aggregate posterior",
    **labels,
)
with torch.no_grad():
    codes = standard_2d.encoder(train.images).mean
plotting.plot_latent(
    axes[2], codes[:400], train.labels[:400], title="posterior means of 400 digits", **labels
)
axes[2].set(xlim=box[:2], ylim=box[2:])
plt.show()

# %% [markdown]
# **Figure.** Three panels over the latent plane. Left: the prior's draws, a round cloud, densest in the middle.
# Middle: draws from the aggregate posterior: about as wide, but ragged, in clumps with thin places between them and
# arms that reach out. Right: posterior means drawn as their digits: the clumps are classes. *Conclude:* the codes
# fill the prior's region roughly, not evenly. The thin places inside the cloud are **holes**: the prior draws there,
# and the decoder has hardly ever been trained there.

# %% [markdown]
# ### Exercise 2 · The density of the aggregate posterior
#
# Difficulty 3/5 (one axis too many in your head) · about 10 minutes · 3 points
#
# To measure holes we need $\log q(z)$ as a number:
#
# $$\log q(z) = \log \frac1N\sum_{i=1}^N q(z \mid x_i).$$
#
# Write it for $S$ points at once: z is `(S, M)`, x is `(N, D)`, the result `(S,)`. Far from all codes every
# $q(z \mid x_i)$ underflows to 0; the logarithm of the sum must be right all the same.


# %% solution="aggregate_posterior_log_prob"
def aggregate_posterior_log_prob(z, x, encoder):
    """log q(z) in nats: z `(S, M)`, examples x `(N, D)`, encoder as in exercise 1 → `(S,)`."""
    ### BEGIN SOLUTION
    table = encoder(x).log_prob(z.unsqueeze(1))  # (S, 1, M) against batch shape (N,): (S, N)
    return torch.logsumexp(table, dim=1) - math.log(len(x))
    ### END SOLUTION


# %% test="aggregate_log_prob_is_a_mixture" points=2
check.aggregate_log_prob_is_a_mixture(aggregate_posterior_log_prob)
### BEGIN HIDDEN TESTS
check.aggregate_log_prob_is_a_mixture(aggregate_posterior_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="aggregate_log_prob_does_not_underflow" points=1
check.aggregate_log_prob_does_not_underflow(aggregate_posterior_log_prob)
### BEGIN HIDDEN TESTS
check.aggregate_log_prob_does_not_underflow(aggregate_posterior_log_prob, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: shapes do not fit</summary>
#
# `encoder(x)` is a batch of $N$ distributions. Its `log_prob` wants the $N$ as the last batch axis: give it z with an
# axis of length 1 there, `(S, 1, M)`, and broadcasting makes the table `(S, N)`.
# </details>
# <details><summary>Help: −inf far away</summary>
#
# $\log\sum_i e^{a_i} = a + \log\sum_i e^{a_i - a}$ with $a = \max_i a_i$: the largest term becomes $e^0$.
# `torch.logsumexp` does this.
# </details>
#
# ### Holes, measured
#
# Two numbers. The first is the divergence of the prior from the aggregate posterior,
# $\mathrm{KL}(q(z)\,\|\,p(z)) = \mathbb E_{q(z)}[\log q(z) - \log p(z)]$, by Monte Carlo. The second is a plain
# count: how many of the prior's draws fall where $q(z)$ is lower than at 99 % of its own draws?


# %%
@torch.no_grad()
def holes(vae, n=3000):
    """(KL(q(z) ‖ p(z)) in nats, share of the prior's draws in holes) of a VAE on the training images."""
    z_q = flowlib.aggregate_posterior_sample(train.images, vae.encoder, n)
    log_q = flowlib.aggregate_posterior_log_prob(z_q, train.images, vae.encoder)
    divergence = (log_q - vae.prior().log_prob(z_q)).mean().item()
    z_p = vae.prior().sample((n,))
    at_prior = flowlib.aggregate_posterior_log_prob(z_p, train.images, vae.encoder)
    return divergence, (at_prior < log_q.quantile(0.01)).float().mean().item()


# %% [markdown]
# What is in a hole? Go and look, in the latent plane of the VAE above.
#
# **Predict.** Move from one clump of codes to the next, through a thin place. Does the decoder jump from digit to digit, or does it blend?
#
# <details><summary>Answer</summary>
#
# It blends. The decoder is a continuous function of $z$, so between a 0 and a 6 stands something that is neither. Nothing in the training asked for a digit there.
# </details>

# %%
interactive.latent_space(standard_2d, train.images, train.labels)

# %% [markdown]
# **Figure.** Interactive. Left: the latent plane, colored where the aggregate posterior has 99 % of its draws, or where the prior has; the codes of training images can be shown as their digits. Right: what the decoder makes of the chosen $z$. Inside a clump it draws a
# clear digit. On the way to the next one strokes fade in and out, and gray pixels say that the decoder is undecided. Outside the colored region it goes on drawing: a decoder never says that it was not asked there before. Compare the two colored regions. Where the prior's is larger, a draw from the
# prior lands in a hole.

# %% [markdown]
# Beside the VAE of the pictures we put a second one, with $M = 8$ and a **linear** decoder: one matrix from code to
# pixel logits. (It is seed 0 of the first row of the table in section 7.)
#
# **Predict.** Which of the two has more holes: the one whose decoder can bend the latent space, or the one whose
# decoder cannot?

# %%
linear_8d = digits_vae(lambda: flowlib.GaussianPrior(8), M=8, steps=2500, lr=1e-3)
print("                            KL(q(z) ‖ p(z))   prior's draws in holes (1.0% would be fair)")
for name, vae in (("M = 2, two hidden layers", standard_2d), ("M = 8, linear", linear_8d)):
    divergence, share = holes(vae)
    print(f"{name:<26}{divergence:>12.2f} nats{share:>15.1%}")

# %% [markdown]
# What does a decoder make of a hole? The same linear decoder, twice: fed with draws from the prior, and with draws
# from $q(z)$.

# %%
with torch.no_grad():
    from_prior = linear_8d.prior().sample((20,))
    from_codes = flowlib.aggregate_posterior_sample(train.images, linear_8d.encoder, 20)
    pictures = torch.cat([linear_8d.decoder(z).mean for z in (from_prior, from_codes)])
title = "z from the prior (rows 1, 2), z from q(z) (rows 3, 4)"
plotting.plot_image_grid(pictures, vmax=1.0, title=title)
plt.show()

# %% [markdown]
# **Figure.** Forty decoded images of the VAE with the linear decoder, pixel probabilities from white (0) to black
# (1). The upper two rows, with z from the prior, are mostly dark blots and checkered patterns. The lower two rows,
# with z from the aggregate posterior, are mostly digits, some of them blurred. *Conclude:* the decoder is not at
# fault. It draws digits where it was trained; the prior sends it elsewhere.

# %% [markdown]
# ## 2 · The regularizer is a cross-entropy
#
# The ELBO has a reconstruction term and a **regularizer**, the divergence $\mathrm{KL}(q(z \mid x)\,\|\,p(z))$. Average
# the regularizer over the data, and write the divergence out. With the **entropy** $\mathrm H[q] = -\mathbb E_q[\log q(z)]$
# of a density,
#
# $$\frac1N\sum_i \mathrm{KL}\bigl(q(z \mid x_i)\,\|\,p(z)\bigr)
# = \underbrace{-\frac1N\sum_i\mathbb E_{q(z \mid x_i)}[\log p(z)]}_{\text{first}} \;-\;
# \underbrace{\frac1N\sum_i \mathrm H\bigl[q(z \mid x_i)\bigr]}_{\text{mean entropy}}.$$
#
# In the first term the same function, $\log p(z)$, is averaged over one posterior after the other. That is an average
# over the mixture $q(z)$: the first term is the **cross-entropy**
# $\mathrm{CE}[q(z)\,\|\,p(z)] = -\mathbb E_{q(z)}[\log p(z)]$.
#
# **The prior stands in this one place of the whole ELBO, and it meets the encoder only through $q(z)$.**
#
# ### Exercise 3 · Both terms in closed form
#
# Difficulty 3/5 (two expectations) · about 15 minutes · 4 points
#
# One latent variable, $M = 1$; posteriors $\mathcal N(m_i, s_i^2)$, $i = 1, \dots, N$; prior $\mathcal N(0, 1)$. Give the
# cross-entropy and the mean entropy as sympy expressions, in nats. `means` and `stds` are lists of $N$ symbols; $N$ may
# be any number.


# %% solution="regularizer_terms"
def regularizer_terms(means, stds):
    """(CE[q(z) ‖ N(0, 1)], mean entropy of the posteriors): two sympy expressions, in nats.

    Args:
        means: list of N real symbols, the posterior means m_i.
        stds: list of N positive symbols, the posterior standard deviations s_i.
    """
    ### BEGIN SOLUTION
    N = len(means)
    second_moment = sum(m**2 + s**2 for m, s in zip(means, stds, strict=True)) / N
    cross_entropy = sp.log(2 * sp.pi) / 2 + second_moment / 2
    mean_entropy = sum(sp.log(2 * sp.pi * sp.E * s**2) / 2 for s in stds) / N
    return cross_entropy, mean_entropy
    ### END SOLUTION


# %% test="cross_entropy_of_the_aggregate" points=2
check.cross_entropy_of_the_aggregate(regularizer_terms)
### BEGIN HIDDEN TESTS
check.cross_entropy_of_the_aggregate(regularizer_terms, hidden=1)
### END HIDDEN TESTS

# %% test="mean_entropy_of_the_posteriors" points=2
check.mean_entropy_of_the_posteriors(regularizer_terms)
### BEGIN HIDDEN TESTS
check.mean_entropy_of_the_posteriors(regularizer_terms, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# $-\log p(z) = \tfrac12 z^2 + \tfrac12\log 2\pi$. Only one expectation is left, $\mathbb E[z^2]$ under the mixture.
# </details>
# <details><summary>Help: the expectation of a square</summary>
#
# Under $\mathcal N(m, s^2)$: variance plus mean squared. Under a mixture: the mean of that over the components.
# </details>
# <details><summary>Help: the entropy</summary>
#
# $-\mathbb E[\log q]$ with $\log q(z) = -\frac{(z-m)^2}{2s^2} - \log s - \frac12\log 2\pi$. The expectation of
# $(z-m)^2$ is $s^2$.
# </details>
#
# The identity by machine, on the trained VAE and with a prior that is not even Gaussian. Both sides are computed
# separately: the left one image by image, the right one from pooled draws of $q(z)$.

# %%
with torch.no_grad():
    q = standard_2d.encoder(train.images)
    some_prior = flowlib.MixtureOfGaussiansPrior(2, 5)()
    z = q.sample((200,))  # (200, N, 2)
    mean_kl = (q.log_prob(z) - some_prior.log_prob(z)).mean().item()
    pooled = flowlib.aggregate_posterior_sample(train.images, standard_2d.encoder, 200_000)
    cross_entropy = -some_prior.log_prob(pooled).mean().item()
    mean_entropy = q.entropy().mean().item()
print(
    f"mean KL {mean_kl:.3f}   =   cross-entropy {cross_entropy:.3f} − mean entropy {mean_entropy:.3f}", end=""
)
print(f"  =  {cross_entropy - mean_entropy:.3f}   (Monte Carlo: to about 0.01)")
assert abs(mean_kl - (cross_entropy - mean_entropy)) < 0.05

# %% [markdown]
# Three consequences.
#
# 1. *The best prior.* For a fixed encoder, $\mathrm{CE}[q\,\|\,p] = \mathrm H[q(z)] + \mathrm{KL}(q(z)\,\|\,p(z))$ is
#    smallest at $p(z) = q(z)$: the aggregate posterior is the best prior there is.
# 2. *A budget.* With encoder and decoder frozen, a new prior changes the ELBO by the change in
#    $\mathrm{KL}(q(z)\,\|\,p(z))$ and by nothing else. **No prior can win more, on the images that $q(z)$ is made of,
#    than the divergence we measured above.**
# 3. *Why not take $q(z)$ itself?* It has $N$ components, costs $N$ encodings per evaluation, and the best prior for
#    the training images is not the best one for new images: as a component of its own, each training image is
#    rewarded for being remembered.
#
# **Predict.** For the two VAEs above: at most how many nats per image could a flow win, put in afterwards?
#
# <details><summary>Answer</summary>
#
# At most the divergences printed in section 1, on the training images: next to nothing where the decoder has hidden
# layers, a good two nats where it is linear. Keep both numbers in mind until section 7.
# </details>

# %% [markdown]
# ## 3 · Priors as modules
#
# ### Exercise 4 · The standard prior
#
# Difficulty 1/5 (warm-up) · about 5 minutes · 4 points
#
# $p(z) = \mathcal N(0, I)$ over $M$ variables. Register what must move with the module: constants as buffers. Calling a
# module runs its `forward`, which here returns the distribution. (A prior's `forward` is no map, and has no direction. A
# flow's still goes from base to $z$.)


# %% solution="GaussianPrior"
class GaussianPrior(nn.Module):
    """The standard normal prior over M variables; `prior()` has event shape `(M,)` and batch shape `()`."""

    def __init__(self, M):
        super().__init__()
        ### BEGIN SOLUTION
        self.register_buffer("mean", torch.zeros(M))
        self.register_buffer("std", torch.ones(M))
        ### END SOLUTION

    def forward(self):
        """The prior as a distribution."""
        ### BEGIN SOLUTION
        return Independent(Normal(self.mean, self.std), 1)
        ### END SOLUTION


# %% test="gaussian_prior_event" points=1
check.gaussian_prior_event(GaussianPrior)
### BEGIN HIDDEN TESTS
check.gaussian_prior_event(GaussianPrior, hidden=1)
### END HIDDEN TESTS

# %% test="gaussian_prior_log_prob" points=1
check.gaussian_prior_log_prob(GaussianPrior)
### BEGIN HIDDEN TESTS
check.gaussian_prior_log_prob(GaussianPrior, hidden=1)
### END HIDDEN TESTS

# %% test="gaussian_prior_samples" points=1
check.gaussian_prior_samples(GaussianPrior)
### BEGIN HIDDEN TESTS
check.gaussian_prior_samples(GaussianPrior, hidden=1)
### END HIDDEN TESTS

# %% test="gaussian_prior_shapes" points=1
check.gaussian_prior_shapes(GaussianPrior)
### BEGIN HIDDEN TESTS
check.gaussian_prior_shapes(GaussianPrior, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: log_prob gives M numbers for each z</summary>
#
# `Normal(torch.zeros(M), torch.ones(M))` is $M$ distributions side by side. Notebook 3 wrapped it so that the last
# axis becomes the event.
# </details>
#
# ### Exercise 5 · A mixture as prior
#
# Difficulty 3/5 (one axis order to get right) · about 15 minutes · 7 points
#
# $$p(z) = \sum_{k=1}^K w_k\,\mathcal N\bigl(z;\, m_k, \operatorname{diag}(s_k)^2\bigr).$$
#
# Learnable: weights $w$, shape `(K,)` (positive, sum 1), means $m$, shape `(K, M)`, standard deviations $s$, shape
# `(K, M)` (positive). Training may give a parameter any real value. So choose parameters for which every real value
# makes sense. `MixtureSameFamily(Categorical(...), components)` does the rest: it takes the components along the **last
# batch axis**.
#
# How should the means start? Think of the gradients of two components that are equal.


# %% solution="MixtureOfGaussiansPrior"
class MixtureOfGaussiansPrior(nn.Module):
    """A learnable mixture of K diagonal Gaussians over M variables; `prior()` has event shape `(M,)` and batch shape `()`."""

    def __init__(self, M, K):
        super().__init__()
        ### BEGIN SOLUTION
        self.logits = nn.Parameter(torch.zeros(K))
        self.means = nn.Parameter(torch.randn(K, M))  # apart: equal components would stay equal
        self.log_stds = nn.Parameter(torch.zeros(K, M))
        ### END SOLUTION

    def forward(self):
        """The prior as a distribution, made of the parameters as they are now."""
        ### BEGIN SOLUTION
        components = Independent(Normal(self.means, self.log_stds.exp()), 1)
        return MixtureSameFamily(Categorical(logits=self.logits), components)
        ### END SOLUTION


# %% test="mixture_prior_event" points=1
check.mixture_prior_event(MixtureOfGaussiansPrior)
### BEGIN HIDDEN TESTS
check.mixture_prior_event(MixtureOfGaussiansPrior, hidden=1)
### END HIDDEN TESTS

# %% test="mixture_prior_integrates_to_one" points=1
check.mixture_prior_integrates_to_one(MixtureOfGaussiansPrior)
### BEGIN HIDDEN TESTS
check.mixture_prior_integrates_to_one(MixtureOfGaussiansPrior, hidden=1)
### END HIDDEN TESTS

# %% test="mixture_of_one_is_gaussian" points=1
check.mixture_of_one_is_gaussian(MixtureOfGaussiansPrior)
### BEGIN HIDDEN TESTS
check.mixture_of_one_is_gaussian(MixtureOfGaussiansPrior, hidden=1)
### END HIDDEN TESTS

# %% test="mixture_components_start_apart" points=1
check.mixture_components_start_apart(MixtureOfGaussiansPrior)
### BEGIN HIDDEN TESTS
check.mixture_components_start_apart(MixtureOfGaussiansPrior, hidden=1)
### END HIDDEN TESTS

# %% test="mixture_parameters_are_learned" points=1
check.mixture_parameters_are_learned(MixtureOfGaussiansPrior)
### BEGIN HIDDEN TESTS
check.mixture_parameters_are_learned(MixtureOfGaussiansPrior, hidden=1)
### END HIDDEN TESTS

# %% test="mixture_samples_follow_density" points=1
check.mixture_samples_follow_density(MixtureOfGaussiansPrior)
### BEGIN HIDDEN TESTS
check.mixture_samples_follow_density(MixtureOfGaussiansPrior, hidden=1)
### END HIDDEN TESTS

# %% test="mixture_prior_shapes" points=1
check.mixture_prior_shapes(MixtureOfGaussiansPrior)
### BEGIN HIDDEN TESTS
check.mixture_prior_shapes(MixtureOfGaussiansPrior, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: torch complains about the batch shape</summary>
#
# `Normal` with parameters `(K, M)` has batch shape `(K, M)`: the last batch axis is $M$, and torch takes the
# variables for the components. Make $M$ the event first.
# </details>
# <details><summary>Help: all components stay together</summary>
#
# Components that are equal get equal gradients. Start the means at different places.
# </details>

# %% [markdown]
# ## 4 · A flow as prior
#
# A flow is a density with a sampler, and that is all a prior needs. Let $u \sim p_u$, $z = T(u)$. The change of
# variables of notebook 1, with $z$ in the place of $x$:
#
# $$\log p(z) = \log p_u\bigl(T^{-1}(z)\bigr) + \log\Bigl|\det\frac{\partial u}{\partial z}\Bigr|.$$
#
# Put this into the ELBO, with $z \sim q(z \mid x)$ and $u = T^{-1}(z)$:
#
# $$\mathcal L = \mathbb E_q\Bigl[\log p(x \mid z) + \log p_u(u) + \log\Bigl|\det\frac{\partial u}{\partial z}\Bigr| - \log q(z \mid x)\Bigr].$$
#
# Nothing else changes. The gradient reaches the flow through $\log p(z)$, and the encoder through $z$: the same two
# paths as for any learnable prior. Training runs `inverse` (where did this code come from?), sampling runs `forward`.
#
# ### An error in a lecture
#
# A well-known set of slides takes this ELBO apart differently. It keeps the log-determinant beside the
# reconstruction, and says that the rest is the usual regularizer,
# $-\mathrm{KL}\bigl(q(z \mid x)\,\|\,p_u(T^{-1}(z))\bigr)$. Test it where everything is known: $q = \mathcal N(0, 1)$ and
# $T(u) = 10u$.
#
# **Predict.** What is the smallest value that a KL divergence can have?

# %%
z = torch.linspace(-12, 12, 20001, dtype=torch.float64)
dz = z[1] - z[0]
log_q = Normal(0.0, 1.0).log_prob(z)
log_pulled_back = Normal(0.0, 1.0).log_prob(z / 10)  # p_u(T⁻¹(z)), and no determinant
slide = (log_q.exp() * (log_q - log_pulled_back)).sum() * dz
right = kl_divergence(Normal(0.0, 1.0), Normal(0.0, 10.0))  # z = 10u is N(0, 10²)
wide = torch.linspace(-120, 120, 20001, dtype=torch.float64)
mass = Normal(0.0, 1.0).log_prob(wide / 10).exp().sum() * (wide[1] - wide[0])
print(f"the slide's expression: {slide:.3f}   the divergence from p(z): {right:.3f}")
print(f"the mass of p_u(T⁻¹(z)), integrated over z: {mass:.3f}")
assert abs(slide + 0.495) < 1e-3
assert abs(right - 1.808) < 1e-3
assert abs(mass - 10) < 1e-3

# %% [markdown]
# The "divergence" is negative. No divergence is. But that holds for **two densities** alone, and $p_u(T^{-1}(z))$, as a
# function of $z$, is none. Its mass is $|\det \partial z/\partial u|$, here 10. The sum of all terms on the slide is
# right; the name of one of them is wrong. Whoever implements that term by a library's KL of two Gaussians has a bug.
#
# ### Exercise 6 · The divergence, with the determinant
#
# Difficulty 3/5 (careful bookkeeping) · about 15 minutes · 3 points
#
# $q = \mathcal N(m, s^2)$ with $s > 0$. The prior $p_z$ is the density of $z = au + b$, $u \sim \mathcal N(0, 1)$,
# $a \ne 0$ of either sign. Give $\mathrm{KL}(q\,\|\,p_z)$ as a sympy expression. For $m = 0$, $s = 1$, $a = 10$, $b = 0$
# it must give the second number printed above, the divergence from $p(z)$.


# %% solution="flow_prior_kl"
def flow_prior_kl(m, s, a, b):
    """KL(N(m, s²) ‖ p_z) in nats, p_z the density of z = a u + b, u ~ N(0, 1): a sympy expression.

    Args:
        m, a, b: real symbols, a ≠ 0.
        s: positive symbol.
    """
    ### BEGIN SOLUTION
    mean_log_q = -sp.log(s) - sp.log(2 * sp.pi) / 2 - sp.Rational(1, 2)
    mean_u_squared = (s**2 + (m - b) ** 2) / a**2  # u = (z − b)/a, z ~ q
    mean_log_p = -mean_u_squared / 2 - sp.log(2 * sp.pi) / 2 - sp.log(sp.Abs(a))
    return mean_log_q - mean_log_p
    ### END SOLUTION


# %% test="kl_with_affine_flow_prior" points=2
check.kl_with_affine_flow_prior(flow_prior_kl)
### BEGIN HIDDEN TESTS
check.kl_with_affine_flow_prior(flow_prior_kl, hidden=1)
### END HIDDEN TESTS

# %% test="kl_with_decreasing_flow" points=1
check.kl_with_decreasing_flow(flow_prior_kl)
### BEGIN HIDDEN TESTS
check.kl_with_decreasing_flow(flow_prior_kl, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# $\mathbb E_q[\log q] - \mathbb E_q[\log p_z]$. The first is minus an entropy (exercise 3). For the second write
# $\log p_z(z)$ with $u = (z - b)/a$ and do not forget $\log|\partial u/\partial z|$.
# </details>
# <details><summary>Help: complex values for a &lt; 0</summary>
#
# Densities take the absolute value of the derivative.
# </details>
#
# ### Exercise 7 · A divergence below zero
#
# Difficulty 3/5 (say why, not that) · about 10 minutes · 3 points, graded by hand
#
# A fellow student writes: "the KL term of my flow-prior VAE went below zero, so my posterior must be better than
# perfect." Explain in four to six sentences what went wrong.
#
# *What we look for:* which expression was computed, and that $p_u(T^{-1}(z))$ is not a density in $z$ (1 point);
# why a negative value is impossible for two densities, with the inequality or the property it uses (1 point); what
# was left out, in which direction, and what it does to the objective when the flow is free to learn it (1 point).

# %% [markdown] manual="negative_divergence" points=3
# ### BEGIN SOLUTION
# The student computed $\mathbb E_q[\log q(z) - \log p_u(T^{-1}(z))]$. As a function of $z$, $p_u(T^{-1}(z))$
# integrates to $|\det\partial z/\partial u|$ (for a linear map), not to 1, so it is no density and the expression is
# no divergence. For two densities Jensen's inequality gives $\mathbb E_q[\log(p/q)] \le \log\int p = 0$, so that
# $\mathrm{KL} \ge 0$; with a mass of $c$ on the right the bound is only $-\log c$. What is missing is
# $\log|\det\partial u/\partial z|$. Without it the flow can make the objective as good as it likes: it stretches, all
# codes come from near $u = 0$ where $p_u$ is largest, and nothing is charged for the stretching.
# ### END SOLUTION

# %% [markdown]
# ### Exercise 8 · The flow prior
#
# Difficulty 3/5 (short, and every sign counts) · about 20 minutes · 9 points
#
# `flow` is a `flowlib.Flow` over $M$ variables: `flow.forward(u)` gives `(z, log_det)`, `flow.inverse(z)` gives `(u,
# log_det)`, `flow.base()` is $p_u$, a distribution. Write the distribution and the module that returns it. (A `Flow`
# has `log_prob` and `sample` of its own. You may use them; you learn more from writing the two lines out.)


# %% solution="FlowPrior"
class FlowDistribution(torch.distributions.Distribution):
    """The distribution of z = T(u), u ~ p_u, event shape `(M,)`."""

    arg_constraints = {}  # noqa: RUF012 (torch asks for it; there are none)

    def __init__(self, flow):
        self.flow = flow
        super().__init__(torch.Size(), flow.base().event_shape, validate_args=False)

    def log_prob(self, z):
        """log p(z) in nats: z `(*batch, M)` → `(*batch,)`."""
        ### BEGIN SOLUTION
        u, log_det = self.flow.inverse(z)
        return self.flow.base().log_prob(u) + log_det
        ### END SOLUTION

    def sample(self, sample_shape=()):
        """Draws z `(*sample_shape, M)`, without gradient."""
        ### BEGIN SOLUTION
        with torch.no_grad():
            u = self.flow.base().sample(torch.Size(sample_shape))
            return self.flow.forward(u)[0]
        ### END SOLUTION


class FlowPrior(nn.Module):
    """A flow as prior; `prior()` has event shape `(M,)` and batch shape `()`."""

    def __init__(self, flow):
        super().__init__()
        ### BEGIN SOLUTION
        self.flow = flow
        ### END SOLUTION

    def forward(self):
        """The prior as a distribution."""
        ### BEGIN SOLUTION
        return FlowDistribution(self.flow)
        ### END SOLUTION


# %% test="flow_prior_event" points=1
check.flow_prior_event(FlowPrior)
### BEGIN HIDDEN TESTS
check.flow_prior_event(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% test="flow_prior_log_prob" points=2
check.flow_prior_log_prob(FlowPrior)
### BEGIN HIDDEN TESTS
check.flow_prior_log_prob(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% test="identity_flow_prior_is_standard" points=1
check.identity_flow_prior_is_standard(FlowPrior)
### BEGIN HIDDEN TESTS
check.identity_flow_prior_is_standard(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% test="flow_prior_integrates_to_one" points=1
check.flow_prior_integrates_to_one(FlowPrior)
### BEGIN HIDDEN TESTS
check.flow_prior_integrates_to_one(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% test="flow_prior_samples_follow_density" points=1
check.flow_prior_samples_follow_density(FlowPrior)
### BEGIN HIDDEN TESTS
check.flow_prior_samples_follow_density(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% test="affine_flow_prior_keeps_vae_exact" points=1
check.affine_flow_prior_keeps_vae_exact(FlowPrior)
### BEGIN HIDDEN TESTS
check.affine_flow_prior_keeps_vae_exact(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% test="flow_prior_trains_the_flow" points=1
check.flow_prior_trains_the_flow(FlowPrior)
### BEGIN HIDDEN TESTS
check.flow_prior_trains_the_flow(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% test="flow_prior_shapes" points=1
check.flow_prior_shapes(FlowPrior)
### BEGIN HIDDEN TESTS
check.flow_prior_shapes(FlowPrior, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: what sign does the log-determinant have?</summary>
#
# `inverse` returns $\log|\det\partial u/\partial z|$. That is the one in the formula: plus.
# </details>
# <details><summary>Help: the mass is 1, and the samples are wrong</summary>
#
# Which way does `log_prob` send z? See the next cell.
# </details>
# <details><summary>Help: prior.parameters() is empty</summary>
#
# A module finds the parameters of modules that are its attributes, not of those in a plain list or inside a
# distribution.
# </details>
#
# ### Three oracles
#
# How do you trust a density? You compare it with cases in which the answer is known.
#
# - **Identity.** A flow that does nothing: $\log p(z)$ is the base's, digit for digit.
# - **Affine.** $z = a \odot u + c$ is Gaussian. In the linear-Gaussian VAE of notebook 4 everything stays Gaussian,
#   the exact posterior is known, and every log-weight equals $\log p(x)$. One wrong sign, and it does not.
# - **Mass.** On a grid in the plane, $\int p(z)\,dz = 1$.
#
# **Predict.** A prior's `log_prob` sends z through `forward` instead of `inverse`, with the log-determinant that
# belongs to `forward`. Which of the three oracles notices? (For the affine one: take $a = 2$, $c = 0$.)

# %%
doubling = flowlib.Flow(flowlib.StandardNormal(2), [Affine(torch.zeros(2), torch.full((2,), 2.0))])


def log_prob_through_forward(z):
    image, log_det = doubling.forward(z)
    return doubling.base().log_prob(image) + log_det


samples = doubling.sample((20_000,))
for name, log_prob in (("inverse", doubling.log_prob), ("forward", log_prob_through_forward)):
    mass = verify.mass_2d(verify.on_arrays(log_prob), extent=(-16, 16, -16, 16))
    expected = -math.log(2 * math.pi * math.e) - 2 * math.log(2)  # −entropy of N(0, 2² I)
    print(
        f"through {name}: mass {mass:.4f}, mean of log_prob at its samples {log_prob(samples).mean():8.3f}",
        end="",
    )
    print(f" (−entropy of z: {expected:.3f})")

# %% [markdown]
# The mass does not notice: the wrong function is a perfect density, that of $T^{-1}(u)$. **A density with mass 1 may
# belong to other samples than yours.** The mean of `log_prob` over the samples notices, and so does the affine
# oracle; an identity flow never does. A training loss would not notice either: it falls.

# %% [markdown]
# ## 5 · Find the error: counted twice
#
# This is, in our notation, the `log_prob` of a flow prior in a popular teaching repository. `u` and `log_det` are
# right.


# %%
def published_log_prob(z, flow):
    u, log_det = flow.inverse(z)
    log_p_u = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)  # (*batch, M): the standard normal, entry by entry
    return (log_p_u + log_det[..., None]).sum(-1)


shrinking = flowlib.Flow(flowlib.StandardNormal(2), [Affine(torch.zeros(2), torch.full((2,), 0.64))])
published = verify.on_arrays(lambda z: published_log_prob(z, shrinking))
wrong_mass = verify.mass_2d(published, extent=(-5, 5, -5, 5))
print(f"z = 0.64 u in the plane: the density integrates to {wrong_mass:.2f}")

# %% [markdown]
# ### Exercise 9 · Repair it
#
# Difficulty 2/5 (look at the shapes) · about 5 minutes · 2 points
#
# Write `log_prob` as it should be. The base is $\mathcal N(0, I)$; z has any shape `(*batch, M)`.


# %% solution="repaired_log_prob"
def repaired_log_prob(z, flow):
    """log p(z) of a flow over N(0, I), in nats: z `(*batch, M)` → `(*batch,)`."""
    ### BEGIN SOLUTION
    u, log_det = flow.inverse(z)
    log_p_u = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)
    return log_p_u.sum(-1) + log_det
    ### END SOLUTION


# %% test="repaired_value" points=1
check.repaired_value(repaired_log_prob)
### BEGIN HIDDEN TESTS
check.repaired_value(repaired_log_prob, hidden=1)
### END HIDDEN TESTS

# %% test="repaired_mass" points=1
check.repaired_mass(repaired_log_prob)
### BEGIN HIDDEN TESTS
check.repaired_mass(repaired_log_prob, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: I see nothing wrong</summary>
#
# Write the shape of every term beside it. Which one has no axis $M$ of its own, gets one by broadcasting, and is then
# summed over it?
# </details>
#
# ### Exercise 10 · What the wrong density integrates to
#
# Difficulty 3/5 (one idea) · about 10 minutes · 1 point
#
# For $z = au$ in $M$ dimensions, $a > 0$, give the mass of the published density,
# $\int \exp(\texttt{published\_log\_prob}(z))\,dz$, as a sympy expression in $a$. $M$ is a given whole number. Test
# yourself: $a = 0.64$, $M = 2$ stands above.


# %% solution="mass_with_bug"
def mass_with_bug(a, M):
    """The mass of the wrong density for z = a u in M dimensions: a sympy expression in the positive symbol a."""
    ### BEGIN SOLUTION
    log_det = -M * sp.log(a)  # log|det ∂u/∂z| of u = z/a
    too_many = M - 1  # once is right and gives mass 1
    return sp.exp(too_many * log_det)
    ### END SOLUTION


# %% test="mass_of_the_wrong_density" points=1
check.mass_of_the_wrong_density(mass_with_bug)
### BEGIN HIDDEN TESTS
check.mass_of_the_wrong_density(mass_with_bug, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# For a linear map the log-determinant is a constant. So the wrong density is the right one times a constant. Which?
# </details>
#
# The bug is not harmless. A mass above 1 reads as likelihood that the model does not have, and a flow that is free to
# learn finds it: shrinking is rewarded $M$ times instead of once. The "negative log-likelihood" falls and falls.

# %% [markdown]
# ## 6 · Three priors, drawn
#
# The VAE of section 1 again, same seed, now with a mixture ($K = 20$) and with a RealNVP of four couplings, each
# trained **together** with encoder and decoder.

# %%
vaes_2d = {
    "standard": standard_2d,
    "mixture": digits_vae(lambda: flowlib.MixtureOfGaussiansPrior(2, 20), M=2, widths=(128, 128)),
    "flow": digits_vae(
        lambda: flowlib.FlowPrior(flowlib.real_nvp(2, 4, (48, 48), dropout=0.1)), M=2, widths=(128, 128)
    ),
}
figure, axes = plt.subplots(2, 3, figsize=(12, 8))
for column, (name, vae) in enumerate(vaes_2d.items()):
    z = flowlib.aggregate_posterior_sample(train.images, vae.encoder, 2000)
    low, high = z.quantile(0.002, dim=0), z.quantile(0.998, dim=0)
    center, radius = (low + high) / 2, 0.6 * (high - low).max()
    box = (*(center[0] + radius * torch.tensor([-1, 1])), *(center[1] + radius * torch.tensor([-1, 1])))
    box = tuple(float(edge) for edge in box)
    plotting.plot_density(axes[0, column], vae.prior().log_prob, box, title=f"{name} prior", **labels)
    plotting.plot_samples(
        axes[1, column],
        z,
        extent=box,
        color=plotting.PALETTE["vermilion"],
        title=f"codes, {name} prior",
        **labels,
    )
plt.show()
for name, vae in vaes_2d.items():
    divergence, share = holes(vae)
    print(f"{name:9} KL(q(z) ‖ p(z)) = {divergence:.2f} nats, {share:5.1%} of the prior's draws in holes")

# %% [markdown]
# **Figure.** Two rows of three panels over the latent plane; each column has its own axes. Upper row: densities of
# the priors, bright where high. The standard one is round; the mixture has lobes, the flow a narrow bright middle
# with long arms. Lower row: draws from the aggregate posterior of the same VAE, in clumps that follow those lobes and
# arms. *Conclude:* two things move at once. The learned priors go where the codes are; and the codes, no longer held
# near 0, spread over a wider region. The printed divergences fall, and they were small: this decoder left little to
# close.

# %% [markdown]
# ## 7 · What it buys, measured
#
# Pictures of the plane persuade; held-out likelihoods decide. The table is made by a command, `python -m
# benchmarks.vae_priors`, and kept as data. In each row: digits binarized at level 8, 1000 images to train, 350 to
# choose the best step, 447 to test. The **test NLL** is the importance-weighted bound of notebook 4 with 200 samples.
# A *seed* is a split of the data, an initialization and an order of batches, and all priors of a seed share the
# three.
#
# Four models. *linear* has $M = 8$ and the linear decoder of section 1; *linear, longer* is the same, trained for more
# than three times as many steps with a larger learning rate. *mlp* has $M = 8$ and a decoder with two hidden layers;
# *mlp, M = 2* has two latents and the same decoder, as the VAEs of sections 1 and 6.
#
# Five priors: *standard*, *mixture* and *flow* are trained with the VAE. Two are put into the finished standard VAE:
# *afterwards* is the flow, fitted to the aggregate posterior with encoder and decoder frozen; *matched* is no more
# than the Gaussian with the aggregate posterior's mean and covariance.
#
# ### Exercise 11 · Paired differences
#
# Difficulty 2/5 (statistics) · about 10 minutes · 2 points
#
# `first[i]` and `second[i]` are the test NLL of two priors under seed $i$. Return the mean of `second − first` and
# its **standard error**: the standard deviation of the differences (with $n - 1$) over $\sqrt n$.


# %% solution="paired_difference"
def paired_difference(first, second):
    """(mean, standard error) of second − first over seeds; both are float tensors `(n,)`, n ≥ 2."""
    ### BEGIN SOLUTION
    difference = second - first
    return difference.mean(), difference.std(correction=1) / math.sqrt(len(difference))
    ### END SOLUTION


# %% test="paired_mean" points=1
check.paired_mean(paired_difference)
### BEGIN HIDDEN TESTS
check.paired_mean(paired_difference, hidden=1)
### END HIDDEN TESTS

# %% test="paired_standard_error" points=1
check.paired_standard_error(paired_difference)
### BEGIN HIDDEN TESTS
check.paired_standard_error(paired_difference, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: why not the spread of each column?</summary>
#
# A seed with a hard test set is hard for every prior. That part is common to both columns and cancels in the
# difference, seed by seed.
# </details>

# %%
results = flowlib.load_results("vae_priors")
summary = results["summary"]
print(
    "test NLL in nats per image; difference to the standard prior, paired: mean ± standard error over seeds"
)
print("'beyond 2 s.e.': is the difference more than two standard errors from 0?")
print("KL: of the prior from the aggregate posterior of the training images, nats\n")
print(
    f"{'model':<16}{'prior':<12}{'seeds':>5}{'test NLL':>10}{'difference':>17}  {'beyond 2 s.e.':<14}{'KL':>5}"
)
for r in summary:
    line = f"{r['model']:<16}{r['prior']:<12}{r['seeds']:>5}{r['test NLL']:>10.2f}"
    if r["prior"] == "standard":
        line = f"\n{line}{'':>17}  {'':<14}"
    else:
        clear = "yes" if abs(r["difference"]) > 2 * r["standard error"] else "no"
        line += f"{r['difference']:>+9.2f} ± {r['standard error']:.2f} {'':>1}  {clear:<14}"
    print(f"{line}{r['aggregate KL']:>5.2f}")

# %%
figure, ax = plt.subplots(figsize=(9, 4.2))
models = list(dict.fromkeys(r["model"] for r in summary))
style = {
    "mixture": ("green", "s"),
    "flow": ("blue", "o"),
    "afterwards": ("vermilion", "^"),
    "matched": ("purple", "D"),
}
for k, (prior, (color, marker)) in enumerate(style.items()):
    rows = [r for r in summary if r["prior"] == prior]
    ax.errorbar(
        [r["difference"] for r in rows],
        [models.index(r["model"]) + 0.15 * (k - 1.5) for r in rows],
        xerr=[2 * r["standard error"] for r in rows],
        fmt=marker,
        color=plotting.PALETTE[color],
        capsize=3,
        label=prior,
    )
ax.axvline(0, color="gray", linewidth=0.8)
ax.set_yticks(range(len(models)), models)
ax.invert_yaxis()
ax.set(title="What the prior changes", xlabel="test NLL minus that of the standard prior (nats per image)")
ax.legend(title="prior, ± 2 s.e.", loc="center left", bbox_to_anchor=(1.0, 0.5))
plt.show()

# %% [markdown]
# **Figure.** One line per model, four marks in each: the change in test NLL with the mixture (square), the flow
# (circle), the flow put in afterwards (triangle), the matched Gaussian (diamond), with bars of two standard errors;
# left of zero is better. For the linear decoder all four are far left of zero, the jointly trained ones farthest. When
# the same model is trained longer, all move back, by more than half; the diamond comes close to zero, the others do not.
# For the decoders with hidden layers everything is close to zero, and some bars reach it.
#
# Read it with care; three things stand in the table.
#
# 1. **The weaker the decoder, the more the prior matters.** A linear decoder cannot bend the round prior into the
#    shape of the data, so the prior's shape counts. A decoder with hidden layers bends it by itself: whatever a flow
#    does in front of it, its first layers could have done too. There the gain is a fraction of a nat, and with
#    $M = 2$ the mixture's is not told from zero.
# 2. **The budget of section 2 holds.** *Afterwards* can win about as much as the KL in the standard row and no more;
#    with a linear decoder it wins most of it. (The budget is for the ELBO of the training images, the table shows the
#    NLL of test images: the two agree to a few tenths of a nat.) For the decoders with hidden layers this KL was small
#    from the start: there was nearly nothing to win. A prior trained *together* with the networks is not bound by it,
#    and wins more.
# 3. **A large part of the gain is not about shape.** *Matched* knows nothing of clumps and holes, it is only a shift
#    and a stretch, and in the first row it brings most of what the flow brings *afterwards*. A linear decoder could
#    have absorbed a shift in its bias; the standard VAE had not finished doing so. The rows *linear, longer* give it the
#    time: a better baseline, a smaller gain, and *matched* wins little. What mixture and flow win there beyond it, about
#    a nat, is shape. **Before you praise a prior, train the baseline.**
#    (For the decoders with hidden layers the longer training was not run; the table does not say what would be left.)
#
# ### One seed, live
#
# The table's seed 0 of the linear decoder: the standard prior was trained in section 1, the other two are trained
# here. On the machine that made the table the numbers come out the same; elsewhere arithmetic differs in the last
# digit, and training amplifies it.

# %%
M = 8
makers = {
    "mixture": lambda: flowlib.MixtureOfGaussiansPrior(M, 20),
    "flow": lambda: flowlib.FlowPrior(flowlib.real_nvp(M, 4, (48, 48), dropout=0.1)),
}
recipe = results["models"]["linear"]
live = {"standard": linear_8d}
live |= {name: digits_vae(make, M, steps=recipe["steps"], lr=recipe["lr"]) for name, make in makers.items()}

# %%
stored = {r["prior"]: r for r in results["runs"] if r["model"] == "linear" and r["seed"] == 0}
nll = {}
for name, vae in live.items():
    with torch.no_grad():
        torch.manual_seed(0)
        bound = flowlib.importance_weighted_log_likelihood(
            test.images, vae.prior, vae.decoder, vae.encoder, num_samples=200
        )
    nll[name] = -bound.mean().item()
    change = f"{nll[name] - nll['standard']:+.2f}"
    _, share = holes(vae)
    print(
        f"{name:9} test NLL {nll[name]:6.2f} nats ({change})   stored: {stored[name]['test NLL']:6.2f}",
        end="",
    )
    print(f"   draws in holes: {share:.1%}")

# %%
figure, axes = plt.subplots(2, 2, figsize=(9, 6.6))
torch.manual_seed(1)
plotting.plot_image_grid(test.images[:40], columns=8, vmax=1.0, ax=axes[0, 0], title="test images")
for ax, (name, vae) in zip(axes.flat[1:], live.items(), strict=True):
    plotting.plot_image_grid(
        vae.sample(40, mean=True), columns=8, vmax=1.0, ax=ax, title=f"samples, {name} prior"
    )
plt.show()

# %% [markdown]
# **Figure.** Four panels of forty 8 × 8 images. Upper left: test images. Then decoder means of draws from the three
# priors, linear decoder, $M = 8$. With the standard prior most samples are blots or checkered patterns; with the
# mixture and the flow most are a single digit, some blurred or between two. *Conclude:* here the nats can be seen.
# Look at several draws before you believe it: change the seed.

# %% [markdown]
# ### Exercise 12 · What does the table allow you to say?
#
# Difficulty 4/5 (judgment) · about 15 minutes · 3 points, graded by hand
#
# A colleague with a VAE whose decoder has two hidden layers asks whether to spend a week on a flow prior. Answer in
# about six sentences, with numbers from the table.
#
# *What we look for:* the size of the gain for such a decoder with its uncertainty, and the comparison with the linear
# one (1 point); a measurement to make first that bounds what a prior put in afterwards can win, and its value here (1
# point); one control that must be run before the gain is credited to the prior's shape, and what it showed (1 point).

# %% [markdown] manual="advice_on_the_prior" points=3
# ### BEGIN SOLUTION
# For decoders with hidden layers the gain of a jointly trained flow prior is around half a nat, more than two
# standard errors, against about 3.4 nats for a linear decoder trained equally long: the decoder bends the prior by
# itself. First measure KL(q(z) ‖ p(z)) on the training images: with encoder and decoder frozen no prior wins more,
# and it is about 0.2 nats here; the flow fitted afterwards accordingly wins about 0.1. Then put in the Gaussian with
# the aggregate posterior's mean and covariance: if it gets the same, the gain was a shift and not the shape. For the
# linear decoder it gets most of what the flow gets afterwards, and training the baseline longer shrinks the gain to
# about a third. I would train the baseline longer, measure both numbers, and spend the week on the decoder unless the
# divergence is large. If good samples matter more than nats, count the prior's draws in holes as well.
# ### END SOLUTION

# %% [markdown]
# ## 8 · Flows and VAEs: a question from Stack Exchange
#
# *"Normalizing flows are said to relax the rigid priors of VAEs. But a flow's base is a Gaussian, too! And a decoder
# network can also turn a Gaussian into something complicated, with far fewer restrictions. So how are flows more
# general?"*
#
# They are not more general, and the question is a good one. Three things are called "the latent distribution" here;
# keep them apart.
#
# - **In a flow alone**, $u$ is Gaussian and nobody minds: the flexible distribution is that of $x = T(u)$. The
#   bijection costs freedom (equal dimensions, special layers) and buys one thing: $p(x)$ as a number.
# - **In a VAE**, $z$ is Gaussian under the prior, and $x$ is drawn from $p(x \mid z)$. The decoder may be any
#   network, the dimensions may differ, the data may be discrete. The price: $p(x) = \int p(x \mid z)\,p(z)\,dz$ is
#   well defined and intractable. (One comment under the question says that a VAE defines no useful $p(x)$. It defines
#   one; notebook 4 bounded it from below.)
# - **A flow inside a VAE** is what the sentence means: put $z = T(u)$ in front of the decoder, and the *prior of $z$*
#   is no longer Gaussian. $u$ still is. Or put the flow behind the encoder, and the *posterior* is no longer
#   Gaussian. "Relaxing the rigid prior" speaks of $p(z)$, and needs the flow's one virtue: to train the ELBO one must
#   evaluate $\log p(z)$ at the encoder's $z$. An unrestricted network from $u$ to $z$ could not do that. **That is
#   why the prior is a flow while the decoder need not be.**
#
# And the objection that a decoder could do the same? It is right, and section 7 measured it: the stronger the
# decoder, the less the flow in front of it adds.
#
# | | flow | VAE | VAE with flow prior |
# |---|---|---|---|
# | from noise to data | bijection | draw from $p(x \mid z)$ | bijection, then a draw |
# | $\log p(x)$ | exact | lower bound | lower bound |
# | latent dimension | $D$ | any $M$ | any $M$ |
# | discrete data | must be made continuous first (dequantization, notebook 6) | directly | directly |
# | density of the latent | fixed base | fixed prior | learned, exact |
#
# **Prior or posterior?** With the flow on the posterior, the density of $z \sim q$ is known because one has just made
# it, and no inverse is needed. With the flow on the prior, the generative model itself becomes richer, at the same
# cost (Chen et al. 2016). Notebook 8 shows a pair of flows for which the two models are the same, draw by draw.

# %% [markdown]
# ## Common mistakes
#
# - *One Gaussian for the aggregate posterior.* It is a mixture: pick an example, then sample.
# - *A log-determinant with the axis $M$.* It is one number per $z$; broadcast and summed, it counts $M$ times.
# - *Trusting mass 1.* `log_prob` through `forward` has mass 1, too. Compare the density with the samples.
# - *A closed-form KL with a learned prior.* There is none for a mixture or a flow: average $\log q - \log p$ over
#   samples.
# - *A flow in a list.* `prior.parameters()` must hold the flow's, or only encoder and decoder learn.
# - *Dropout left on.* A flow with dropout is another map at each call: `eval()` before sampling or measuring (`fit`
#   leaves it so).
# - *Comparing priors across seeds.* Pair them; and train the baseline to the end.
#
# ## Key points
#
# - The aggregate posterior $q(z)$ is the mixture of all posteriors. The prior enters the ELBO only through
#   $\mathrm{CE}[q(z)\,\|\,p(z)]$, and is best at $p = q$.
# - With encoder and decoder frozen no prior wins more than $\mathrm{KL}(q(z)\,\|\,p(z))$ on the images that make
#   $q(z)$.
# - A flow prior is $\log p_u(T^{-1}(z)) + \log|\det\partial u/\partial z|$. Without the determinant it is no density,
#   and the "KL" may be negative.
# - Test a density three ways: known cases, mass, and its own samples.
# - On digits a learned prior helps a weak decoder a lot and a strong one a little, and a large part of the gain was a
#   baseline that was not done training.
#
# ## References
#
# - Tomczak, Welling 2018, *VAE with a VampPrior*, arXiv:1705.07120: learned priors, the aggregate posterior as the
#   best one.
# - Hoffman, Johnson 2016, *ELBO surgery*, NIPS workshop: the decomposition of the regularizer.
# - Chen, Kingma, Salimans et al. 2016, *Variational lossy autoencoder*, arXiv:1611.02731: flow on the prior or on the
#   posterior.
# - Kingma, Salimans et al. 2016, *Improving variational inference with inverse autoregressive flow*, arXiv:1606.04934.
# - Rosca, Lakshminarayanan, Mohamed 2018, *Distribution matching in variational inference*, arXiv:1802.06847: holes,
#   measured.
# - Dinh, Sohl-Dickstein, Bengio 2016, *Density estimation using Real NVP*, arXiv:1605.08803.
# - Burda, Grosse, Salakhutdinov 2015, *Importance weighted autoencoders*, arXiv:1509.00519.
# - Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan 2021, *Normalizing flows for probabilistic modeling
#   and inference*, arXiv:1912.02762.
