# %% [markdown]
# # 4 · The variational autoencoder
#
# A flow carries $u$ to $x$ by a bijection: both have $D$ dimensions, and the density follows by a change of
# variables. An image of 64 pixels may well be described by two numbers, though: which digit, how slanted. A
# variational autoencoder (VAE) puts a **random** step between a small latent $z$ and the data $x$. No bijection
# is needed any more, and the price is that $p(x)$ becomes an integral that nobody can do. This notebook bounds it,
# and measures how good the bound is in the few cases where the integral can be done after all.
#
# **You will be able to**
# - derive the evidence lower bound (ELBO), name its gap, and say when the gap is zero;
# - implement `elbo` and `importance_weighted_log_likelihood`, and test them on a model where both are exact;
# - say what `rsample` does that `sample` does not, and why no printed value tells them apart;
# - train a VAE on digits, look at its samples and its latent space;
# - explain in which sense a VAE defines $p(x)$ and in which sense it does not give it to you.
#
# **Time:** about 70 minutes of reading, 110 minutes of exercises (34 points, 5 of them graded by hand).
# **Needs:** notebooks 1 and 3 (densities; modules that return distributions), PyTorch modules.

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
from autograder_tests.checks import variational_autoencoder as check
from flowlib import data, plotting, symbolic, verify

plotting.style()
torch.set_num_threads(1)
torch.manual_seed(4)
# Grading shortens training: no point depends on a trained network.
MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None

# %% [markdown]
# ## Notation and direction
#
# | symbol | shape | meaning |
# |---|---|---|
# | $x$ | `(*batch, D)` | data; here $D = 64$ binary pixels |
# | $z$ | `(S, *batch, M)` | latent variable, $S$ samples for each example, $M < D$ |
# | $p(z)$ | event `(M,)` | prior: a module; `prior()` is a distribution |
# | $p(x \mid z)$ | event `(D,)` | likelihood: `decoder(z)` is a distribution over $x$ |
# | $q(z \mid x)$ | event `(M,)` | approximate posterior: `encoder(x)` is a distribution over $z$ |
# | $p(z \mid x)$ | event `(M,)` | exact posterior, given by Bayes' rule |
# | $\log w = \log p(x\mid z) + \log p(z) - \log q(z\mid x)$ | `(S, *batch)` | log-weight of a sample $z$ |
# | $\mathcal L$ | `(*batch,)` | evidence lower bound, one number per example, in nats |
#
# **Direction.** Decoders point from latent to data, as `forward` does in a flow; encoders point from data to
# latent, as `inverse` does. The likeness ends there: an encoder is **not** the inverse of the decoder. It is a
# second network that proposes, for a given $x$, which latents may have produced it.
#
# Samples come first in a shape: `q.rsample((S,))` is `(S, *batch, M)`. Distributions sum over the last axis
# (the event) in `log_prob`, and return one number per example and sample.

# %% [markdown]
# ## 1 · From an autoencoder to a distribution
#
# An **autoencoder** squeezes $x$ through a code $z = e(x)$ of $M$ numbers, where $e$ is a network, and asks a decoder to restore $x$.
# It is trained on reconstruction alone. Let us train one on 8×8 digits, every pixel black or white, with $M = 2$.

# %%
train, validation, test = data.load_digits_split(binarize=8)
print("images", tuple(train.images.shape), "| values", train.images.unique().tolist())


class AutoEncoder(nn.Module):
    """Code of two numbers; loss = minus the log-probability of the pixels given the code, in nats."""

    def __init__(self):
        super().__init__()
        self.encode = flowlib.mlp([64, 128, 128, 2])
        self.decoder = flowlib.BernoulliDecoder(flowlib.mlp([2, 128, 128, 64]))

    def loss(self, x):
        return -self.decoder(self.encode(x)).log_prob(x).mean()


torch.manual_seed(0)
autoencoder = AutoEncoder()
history = flowlib.fit(
    autoencoder,
    train.images,
    validation=validation.images,
    steps=800,
    batch_size=128,
    lr=2e-3,
    max_steps=MAX_STEPS,
)

# %% [markdown]
# **Predict.** To invent a digit we need a code to decode. Take $z \sim \mathcal N(0, I)$. What will the pictures
# look like? And where would good codes have to come from?

# %%
with torch.no_grad():
    codes = autoencoder.encode(test.images)
    invented = autoencoder.decoder(torch.randn(40, 2)).mean
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1, 1.4))
plotting.plot_latent(
    axes[0], codes, test.labels, title="codes of test images", xlabel="$z_1$", ylabel="$z_2$"
)
axes[0].add_patch(plt.Circle((0, 0), 2, fill=False, color=plotting.PALETTE["black"], linewidth=2))
plotting.plot_image_grid(invented, columns=10, vmax=1, ax=axes[1], title="decoded draws from N(0, I)")
plt.show()
print(f"standard deviations of the codes: {codes.std(0)[0]:.1f} and {codes.std(0)[1]:.1f}")

# %% [markdown]
# **Figure.** Left: the codes of the test images, drawn as their digits; the circle of radius 2 holds 86 % of
# $\mathcal N(0, I)$. The codes sprawl far beyond it, in arms with gaps between them. Right: decoded draws from
# $\mathcal N(0, I)$. They show the few digits whose codes happen to lie near the origin, and blends of them.
#
# The autoencoder has no opinion on $z$: it never said how codes are distributed, so there is nothing to draw
# from, and no $p(x)$. A VAE begins at the other end, with the drawing:
#
# $$z \sim p(z), \qquad x \sim p(x \mid z), \qquad\text{hence}\qquad p(x) = \int p(x \mid z)\, p(z)\, dz .$$
#
# Prior and decoder alone are the model. The encoder enters because we want to *train* it.

# %% [markdown]
# ## 2 · The bound
#
# Maximum likelihood wants $\log p(x)$. The integral averages $p(x\mid z)$ over the prior, and nearly all latents of
# the prior have nothing to do with this $x$. So look where it matters. Take **any** density $q(z\mid x)$ that is
# positive wherever $p(z)$ is, and multiply and divide by it:
#
# $$p(x) = \int q(z\mid x)\, \frac{p(x\mid z)\,p(z)}{q(z\mid x)}\, dz = \mathbb E_{q(z\mid x)}[w],
# \qquad w = \frac{p(x\mid z)\,p(z)}{q(z\mid x)} .$$
#
# The average weight is $p(x)$, exactly, whatever $q$. Now take the logarithm. It is concave, so by Jensen's
# inequality the logarithm of a mean is at least the mean of the logarithms:
#
# $$\log p(x) = \log \mathbb E_q[w] \;\ge\; \mathbb E_q[\log w] =: \mathcal L(x) .$$
#
# This is the **evidence lower bound**, the ELBO. Written out,
#
# $$\mathcal L = \mathbb E_q\bigl[\log p(x\mid z) + \log p(z) - \log q(z\mid x)\bigr]
# = \underbrace{\mathbb E_q[\log p(x\mid z)]}_{\text{reconstruction}}
# - \underbrace{\mathrm{KL}\bigl(q(z\mid x)\,\|\,p(z)\bigr)}_{\text{price of a code}} .$$
#
# The last term is a **Kullback-Leibler divergence**. For two densities $q$ and $p$,
# $\mathrm{KL}(q\,\|\,p) = \mathbb E_q[\log q(z) - \log p(z)]$. It is never negative, it is zero only when the two agree, and its two
# arguments may not be exchanged.
#
# **The gap.** Jensen says $\ge$ but not by how much. Bayes' rule does: $p(x\mid z)p(z) = p(z\mid x)p(x)$, hence
# $w = p(x)\, p(z\mid x)/q(z\mid x)$ and
#
# $$\log p(x) - \mathcal L = \mathbb E_q\left[\log \frac{q(z\mid x)}{p(z\mid x)}\right]
# = \mathrm{KL}\bigl(q(z\mid x)\,\|\,p(z\mid x)\bigr) \ge 0 .$$
#
# **Predict.** For which $q$ is the bound tight? What do the weights $w$ look like then?
#
# <details><summary>Answer</summary>
#
# For $q(z\mid x) = p(z\mid x)$, the exact posterior, and for no other. Then $w = p(x)$ for **every** $z$: the weights
# are constant, and a single sample gives $\log p(x)$ without error. Keep this in mind; it becomes our test.
# </details>
#
# All of it by machine, with a latent that has three values only, so that every integral is a sum of three terms:

# %%
rng = np.random.default_rng(0)
prior_table = rng.dirichlet(np.ones(3))  # p(z), z = 0, 1, 2
likelihood_table = rng.uniform(size=3)  # p(x | z) for the one x that was observed
q_table = rng.dirichlet(np.ones(3))  # any q(z | x)
evidence = (likelihood_table * prior_table).sum()
posterior_table = likelihood_table * prior_table / evidence
log_w = np.log(likelihood_table * prior_table / q_table)
bound = (q_table * log_w).sum()
gap = (q_table * np.log(q_table / posterior_table)).sum()
print(f"log p(x) = {np.log(evidence):.6f}")
print(f"ELBO     = {bound:.6f}, gap KL(q || posterior) = {gap:.6f}, sum = {bound + gap:.6f}")
print("mean weight / p(x):", (q_table * np.exp(log_w)).sum() / evidence)
assert np.isclose(bound + gap, np.log(evidence), rtol=1e-12)
reversed_gap = (posterior_table * np.log(posterior_table / q_table)).sum()
print(f"the divergence the other way round would be {reversed_gap:.6f}: not the gap")

# %% [markdown]
# ### Exercise 1 · The price of a code
#
# Difficulty 2/5 (an integral) · about 10 minutes · 2 points
#
# For Gaussians the divergence in the ELBO has a closed form. Give $\mathrm{KL}(q\,\|\,p)$ in one dimension as a sympy expression of the
# four arguments, for $q = \mathcal N(\text{mean}_q, \text{std}_q^2)$ and $p = \mathcal N(\text{mean}_p, \text{std}_p^2)$.


# %% solution="gaussian_kl"
def gaussian_kl(mean_q, std_q, mean_p, std_p):
    """KL(q ‖ p) in nats of q = N(mean_q, std_q²) and p = N(mean_p, std_p²), a sympy expression.

    Args:
        mean_q, mean_p: sympy symbols or expressions, real.
        std_q, std_p: sympy symbols or expressions, positive.
    """
    ### BEGIN SOLUTION
    return sp.log(std_p / std_q) + (std_q**2 + (mean_q - mean_p) ** 2) / (2 * std_p**2) - sp.Rational(1, 2)
    ### END SOLUTION


# %% test="kl_of_gaussians" points=2
check.kl_of_gaussians(gaussian_kl)
### BEGIN HIDDEN TESTS
check.kl_of_gaussians(gaussian_kl, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: nudge</summary>
#
# No integral has to be solved. $\log q(z) - \log p(z)$ is a polynomial in $z$ of degree two. Which two moments of
# $q$ does its mean need?
# </details>
# <details><summary>Help: formula</summary>
#
# $\mathbb E_q[(z-\text{mean}_q)^2] = \text{std}_q^2$, and
# $\mathbb E_q[(z-\text{mean}_p)^2] = \text{std}_q^2 + (\text{mean}_q - \text{mean}_p)^2$.
# </details>
# <details><summary>Help: my result is not 0 for q = p</summary>
#
# A term is missing. $\mathbb E_q[\log q]$ contains $-\tfrac12 \mathbb E_q[(z-\text{mean}_q)^2]/\text{std}_q^2$, which
# is a plain number.
# </details>
#
# Sympy can do the integral itself. Here for the standard case, $p = \mathcal N(0, 1)$; compare with yours:

# %%
z, m = sp.symbols("z m", real=True)
s = sp.Symbol("s", positive=True)
log_q = -((z - m) ** 2) / (2 * s**2) - sp.log(s) - sp.log(2 * sp.pi) / 2
log_p = -(z**2) / 2 - sp.log(2 * sp.pi) / 2
integrand = sp.expand(log_q - log_p) * sp.exp(-((z - m) ** 2) / (2 * s**2)) / (s * sp.sqrt(2 * sp.pi))
kl_by_integration = sp.simplify(sp.integrate(integrand, (z, -sp.oo, sp.oo)))
print("KL(N(m, s²) || N(0, 1)) =", sp.expand(kl_by_integration))

# %% [markdown]
# ## 3 · A gradient through a random draw
#
# The ELBO is an expectation under $q$, and the parameters $\phi$ of $q$ are to be trained. A sample average
# estimates the value. Its gradient needs care, because $\phi$ decides *which* samples are drawn.
#
# **Reparameterize** (Kingma & Welling 2013; Rezende, Mohamed & Wierstra 2014). Write the draw as a fixed noise that
# is moved by the parameters. For a Gaussian with mean $\mu$ and standard deviation $\sigma$, both `(*batch, M)`,
#
# $$z = \mu + \sigma \odot \epsilon, \qquad \epsilon \sim \mathcal N(0, I).$$
#
# You have met this: it is a flow with one affine layer. Now the randomness does not depend on $\phi$, so gradient
# and expectation may be exchanged, and the gradient runs through $z$ as through any layer:
#
# $$\nabla_\phi\, \mathbb E_{q}[f(z)] = \mathbb E_{\epsilon}\bigl[\nabla_\phi f(\mu + \sigma\odot\epsilon)\bigr].$$
#
# ### Exercise 2 · Reparameterize
#
# Difficulty 1/5 (warm-up) · about 5 minutes · 2 points
#
# Encoders usually give $\log\sigma$, which may be any real number. Draw with `torch.randn`; do not use
# `torch.distributions`.


# %% solution="reparameterize"
def reparameterize(mean, log_std, num_samples):
    """Draws of N(mean, exp(log_std)²) that carry gradient to both arguments.

    Args:
        mean, log_std: tensors `(*batch, M)`.
        num_samples: S ≥ 1.

    Returns:
        z, tensor `(S, *batch, M)`; all S · batch · M noises are independent.
    """
    ### BEGIN SOLUTION
    noise = torch.randn(num_samples, *mean.shape, dtype=mean.dtype)
    return mean + log_std.exp() * noise
    ### END SOLUTION


# %% test="reparameterized_draws_follow_the_normal" points=1
check.reparameterized_draws_follow_the_normal(reparameterize)
### BEGIN HIDDEN TESTS
check.reparameterized_draws_follow_the_normal(reparameterize, hidden=1)
### END HIDDEN TESTS

# %% test="reparameterized_draws_carry_gradient" points=1
check.reparameterized_draws_carry_gradient(reparameterize)
### BEGIN HIDDEN TESTS
check.reparameterized_draws_carry_gradient(reparameterize, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: the distance is small and still too large</summary>
#
# Look at the standard deviation in the report. If it is the square, the square root or the logarithm of what you
# expected, you took `log_std` for something else.
# </details>
# <details><summary>Help: "equal noise in several places"</summary>
#
# Count the noises: the result has $S \cdot \text{batch} \cdot M$ entries, each with a noise of its own. A shape with
# a 1 in it is broadcast, and copies.
# </details>
#
# ### `sample` and `rsample`
#
# For a `torch.distributions` object, `rsample` draws in this way and `sample` cuts the path. The trap: in the
# log-weight, $-\log q(z\mid x)$ depends on $\phi$ twice, through $z$ **and** directly. With `sample` the direct
# dependence stays, so PyTorch computes *a* gradient and complains about nothing.
#
# **Predict.** In expectation, what is the gradient that is left, $-\mathbb E_q[\nabla_\phi \log q(z\mid x)]$ with $z$
# held fixed?
#
# <details><summary>Answer</summary>
#
# Zero. $\mathbb E_q[\nabla_\phi \log q] = \int q\,\frac{\nabla_\phi q}{q}\,dz = \nabla_\phi \int q\,dz = \nabla_\phi 1 = 0$.
# The encoder is trained on pure noise.
# </details>
#
# Measure it. One data point $x = 3$, prior $\mathcal N(0,1)$, decoder $\mathcal N(z, 1)$, encoder $\mathcal N(\mu, \sigma^2)$
# with $\mu = 0$, $\sigma = 1$. The closed form
# $\mathcal L = -\tfrac12\bigl((x-\mu)^2+\sigma^2\bigr) - \mathrm{KL} - \tfrac12\log 2\pi$ has the derivative
# $\partial\mathcal L/\partial\mu = (x - \mu) - \mu$ by $\mu$.

# %%
torch.manual_seed(0)
mu = torch.zeros(1, requires_grad=True)
x_observed = torch.tensor([3.0])
gradients, values = {"rsample": [], "sample": []}, {"rsample": [], "sample": []}
for method in gradients:
    for _ in range(2000):
        q = Normal(mu, 1.0)
        z_drawn = getattr(q, method)()
        log_weight = (
            Normal(z_drawn, 1.0).log_prob(x_observed)
            + Normal(0.0, 1.0).log_prob(z_drawn)
            - q.log_prob(z_drawn)
        )
        gradients[method].append(torch.autograd.grad(log_weight.sum(), mu)[0].item())
        values[method].append(log_weight.item())
print("closed form: the derivative by mu is", (x_observed - 2 * mu).item())
for method, g in gradients.items():
    error = np.std(g) / math.sqrt(len(g))
    print(f"{method:8s} ELBO {np.mean(values[method]):7.3f}   gradient {np.mean(g):6.3f} ± {error:.3f}")

# %% [markdown]
# The two ELBOs agree within their noise. Only the gradient tells: `sample` gives zero on average where the truth is
# far from zero. So a test of values cannot find this mistake, and neither can looking at the first losses.
#
# ### Exercise 3 · The ELBO
#
# Difficulty 3/5 (three terms, two traps) · about 20 minutes · 8 points
#
# Estimate $\mathcal L$ by the mean of $S$ log-weights. **Use no closed-form KL**: a prior is anything with a `log_prob`,
# and in notebook 5 it will be a flow, for which none exists. The parts are called like this:
# `encoder(x)`, `decoder(z)`, `prior()`; each call returns a distribution.


# %% solution="elbo"
def elbo(x, prior, decoder, encoder, num_samples=1):
    """Reparameterized Monte-Carlo estimate of the evidence lower bound: the mean of S log-weights.

    Args:
        x: data `(*batch, D)`.
        prior: `prior()` is a distribution with event shape `(M,)`.
        decoder: `decoder(z)` is a distribution over x, event shape `(D,)`; z is `(S, *batch, M)`.
        encoder: `encoder(x)` is a distribution over z, event shape `(M,)`, any with `rsample`.
        num_samples: S ≥ 1.

    Returns:
        The bound of each example in nats, `(*batch,)`.
    """
    ### BEGIN SOLUTION
    q = encoder(x)
    z = q.rsample((num_samples,))
    log_w = decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)
    return log_w.mean(0)
    ### END SOLUTION


# %% test="elbo_is_exact_for_exact_posterior" points=2
check.elbo_is_exact_for_exact_posterior(elbo)
### BEGIN HIDDEN TESTS
check.elbo_is_exact_for_exact_posterior(elbo, hidden=1)
### END HIDDEN TESTS

# %% test="elbo_averages_to_closed_form" points=2
check.elbo_averages_to_closed_form(elbo)
### BEGIN HIDDEN TESTS
check.elbo_averages_to_closed_form(elbo, hidden=1)
### END HIDDEN TESTS

# %% test="elbo_uses_all_samples" points=1
check.elbo_uses_all_samples(elbo)
### BEGIN HIDDEN TESTS
check.elbo_uses_all_samples(elbo, hidden=1)
### END HIDDEN TESTS

# %% test="elbo_gradient_reaches_the_encoder" points=2
check.elbo_gradient_reaches_the_encoder(elbo)
### BEGIN HIDDEN TESTS
check.elbo_gradient_reaches_the_encoder(elbo, hidden=1)
### END HIDDEN TESTS

# %% test="elbo_batch_shapes" points=1
check.elbo_batch_shapes(elbo)
### BEGIN HIDDEN TESTS
check.elbo_batch_shapes(elbo, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: nudge</summary>
#
# Write the log-weight in words, then replace each word by one `log_prob`. Which of the three distributions is asked
# about $x$, and which about $z$?
# </details>
# <details><summary>Help: template</summary>
#
# `q = …` · `z = …` with shape `(S, *batch, M)` · `log_w = …` with shape `(S, *batch)` · average over which axis?
# </details>
# <details><summary>Help: values are right, the gradient is not</summary>
#
# Print `z.requires_grad`. Also look for `.detach()`, `.item()` and `torch.no_grad()` on the way.
# </details>
# <details><summary>Help: it is exact on average but not with the exact posterior</summary>
#
# Are all three terms evaluated at the *same* draws? A closed-form KL averages one of them beforehand, and its noise
# is then no longer canceled by the others.
# </details>

# %% [markdown]
# ## 4 · A VAE that can be solved
#
# The checks above compared you with an exact $\log p(x)$. Where did it come from? From a VAE whose networks are
# straight lines. With $W$ of shape `(D, M)`, $b$ of shape `(D,)`, a number $\sigma > 0$, and identity matrices $I_M$ and $I_D$,
#
# $$p(z) = \mathcal N(0, I_M), \qquad p(x\mid z) = \mathcal N(Wz + b,\ \sigma^2 I_D).$$
#
# This is probabilistic PCA (Tipping & Bishop 1999). A sum of Gaussians is Gaussian, so the evidence is known,
#
# $$p(x) = \mathcal N\bigl(b,\ WW^\top + \sigma^2 I_D\bigr),$$
#
# and so is the posterior. Collect what depends on $z$ in $\log p(x\mid z) + \log p(z)$:
#
# $$-\frac{\lVert x - b - Wz\rVert^2}{2\sigma^2} - \frac{\lVert z\rVert^2}{2}
# = -\frac12\, z^\top\underbrace{\Bigl(I_M + \frac{W^\top W}{\sigma^2}\Bigr)}_{\text{precision } \Sigma^{-1}}z
# \;+\; z^\top \frac{W^\top(x-b)}{\sigma^2} + \text{const}.$$
#
# A Gaussian $\mathcal N(m, \Sigma)$ with mean $m$, shape `(M,)`, and covariance $\Sigma$, shape `(M, M)`, has the exponent
# $-\tfrac12 z^\top \Sigma^{-1} z + z^\top \Sigma^{-1} m + \text{const}$. Compare the two: the quadratic term gives $\Sigma$, the linear
# term gives $m$. Here is the case $D = 2$, $M = 1$ by machine. We divide the joint density by the candidate posterior; if the candidate
# is right, $z$ must drop out:

# %%
x1, x2, z, w1, w2, b1, b2 = sp.symbols("x1 x2 z w1 w2 b1 b2", real=True)
sigma = sp.Symbol("sigma", positive=True)


def log_normal(value, mean, variance):
    return -((value - mean) ** 2) / (2 * variance) - sp.log(2 * sp.pi * variance) / 2


variance = 1 / (1 + (w1**2 + w2**2) / sigma**2)
m_posterior = variance * (w1 * (x1 - b1) + w2 * (x2 - b2)) / sigma**2
log_joint = (
    log_normal(x1, w1 * z + b1, sigma**2) + log_normal(x2, w2 * z + b2, sigma**2) + log_normal(z, 0, 1)
)
log_weight = log_joint - log_normal(z, m_posterior, variance)
print("d log w / dz =", sp.simplify(sp.diff(log_weight, z)))

C = sp.Matrix([w1, w2]) * sp.Matrix([[w1, w2]]) + sigma**2 * sp.eye(2)
d = sp.Matrix([x1 - b1, x2 - b2])
log_evidence = -(d.T * C.inv() * d)[0] / 2 - sp.log((2 * sp.pi) ** 2 * C.det()) / 2
numbers = {x1: 0.3, x2: -1.1, z: 2.0, w1: 0.7, w2: -0.4, b1: 0.2, b2: 0.5, sigma: 0.6}
print("log w - log p(x) at some numbers:", sp.N((log_weight - log_evidence).subs(numbers), 3, chop=True))
assert sp.simplify(sp.diff(log_weight, z)) == 0

# %% [markdown]
# ### Exercise 4 · The exact posterior
#
# Difficulty 3/5 (complete the square) · about 10 minutes · 2 points
#
# Write the posterior's mean and covariance for any $D$ and $M$. One covariance serves all examples, because $\Sigma$ does not depend on $x$.
# (With curved networks it would.)


# %% solution="exact_posterior"
def exact_posterior(x, W, b, sigma):
    """Posterior of the linear-Gaussian VAE: z ~ N(0, I), x given z ~ N(Wz + b, σ² I).

    Args:
        x: data `(*batch, D)`.
        W: `(D, M)`.
        b: `(D,)`.
        sigma: standard deviation of the decoder, a positive number.

    Returns:
        (mean `(*batch, M)`, covariance `(M, M)`) of z given x.
    """
    ### BEGIN SOLUTION
    precision = torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W / sigma**2
    covariance = torch.linalg.inv(precision)
    mean = (x - b) @ W @ covariance / sigma**2  # row vectors: (Σ Wᵀ d)ᵀ = dᵀ W Σ, because Σ is symmetric
    return mean, covariance
    ### END SOLUTION


# %% test="posterior_covariance_is_exact" points=1
check.posterior_covariance_is_exact(exact_posterior)
### BEGIN HIDDEN TESTS
check.posterior_covariance_is_exact(exact_posterior, hidden=1)
### END HIDDEN TESTS

# %% test="posterior_mean_is_exact" points=1
check.posterior_mean_is_exact(exact_posterior)
### BEGIN HIDDEN TESTS
check.posterior_mean_is_exact(exact_posterior, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: shapes do not fit</summary>
#
# Formulas write columns, tensors hold examples as rows. $\Sigma W^\top d$ for one column $d$ becomes `d @ W @ covariance` for rows.
# </details>
# <details><summary>Help: the covariance is too large in some direction</summary>
#
# When $M > D$, or when $\sigma$ is large, the data alone cannot fix $z$. Which term keeps the precision invertible?
# </details>
#
# ### The oracle
#
# With this posterior as encoder every log-weight must equal $\log p(x)$, for **every** draw. Below, one example, eight draws,
# in float64. (What follows uses `flowlib`'s functions, never yours.)

# %%
torch.manual_seed(1)
D, M, sigma_x = 5, 2, 0.5
W, b = torch.randn(D, M, dtype=torch.float64), torch.randn(D, dtype=torch.float64)
x_one = torch.randn(1, D, dtype=torch.float64)
decoder = flowlib.GaussianDecoder(nn.Linear(M, D), learnable=False).double()
with torch.no_grad():
    decoder.net.weight.copy_(W)
    decoder.net.bias.copy_(b)
    decoder.log_scale.copy_(torch.tensor(sigma_x, dtype=torch.float64).log())
prior = flowlib.GaussianPrior(M).double()
evidence_covariance = W @ W.T + sigma_x**2 * torch.eye(D, dtype=torch.float64)
log_evidence = torch.distributions.MultivariateNormal(b, evidence_covariance).log_prob(x_one)

covariance = torch.linalg.inv(torch.eye(M, dtype=torch.float64) + W.T @ W / sigma_x**2)


def exact_mean(x):
    return (x - b) @ W @ covariance / sigma_x**2


def exact_encoder(x):
    return torch.distributions.MultivariateNormal(exact_mean(x), covariance)


def inexact_encoder(x):
    """The mean one standard deviation off in each latent, and no correlations."""
    std = covariance.diagonal().sqrt()
    return Independent(Normal(exact_mean(x) + std, std.expand(*x.shape[:-1], M)), 1)


with torch.no_grad():
    print(f"log p(x) = {log_evidence.item():.6f}")
    for name, encoder in (("exact", exact_encoder), ("inexact", inexact_encoder)):
        log_w = flowlib.log_weights(x_one, prior, decoder, encoder, num_samples=8).squeeze()
        print(f"{name:8s} log-weights:", np.round(log_w.numpy(), 3))
    exact_log_w = flowlib.log_weights(x_one, prior, decoder, exact_encoder, num_samples=1000)
    print("largest deviation of 1000 exact log-weights:", (exact_log_w - log_evidence).abs().max().item())

# %% [markdown]
# The weights of the exact posterior differ in the last digits of floating point only. This is what an **oracle** is: a case
# in which a random estimator has no randomness left, so that a wrong sign, a missing term or a mean in place of a sum shows
# with full precision. It is blind to one thing, though: where all weights are equal, all ways of averaging them agree.

# %% [markdown]
# ## 5 · Two sides of one logarithm
#
# We have $\mathbb E_q[w] = p(x)$, and $S$ draws $z_1, \dots, z_S \sim q(z\mid x)$ with weights $w_1,\dots,w_S$. There are two
# ways to average and take a logarithm:
#
# $$\underbrace{\frac1S\sum_{s=1}^S \log w_s}_{\text{mean outside: ELBO}} \qquad\qquad
# \underbrace{\log\frac1S\sum_{s=1}^S w_s}_{\text{mean inside: IWAE}} .$$
#
# The right one is the importance-weighted bound $\mathcal L_S$ (Burda, Grosse & Salakhutdinov 2015), named IWAE after the paper's
# importance-weighted autoencoder. By Jensen it is a lower bound in expectation, too: the mean inside has expectation $p(x)$, whatever $S$.
# With more samples that mean fluctuates less, and the logarithm costs less. The paper proves that the bound never gets worse:
#
# $$\mathcal L = \mathbb E[\mathcal L_1] \le \mathbb E[\mathcal L_2] \le \dots \le \log p(x), \qquad
# \log p(x) - \mathbb E[\mathcal L_S] \approx \frac{1}{2S}\,\frac{\operatorname{Var}_q(w)}{p(x)^2} .$$
#
# The approximation is a Taylor expansion of the logarithm around $p(x)$, good once $S$ is well above $\operatorname{Var}_q(w)/p(x)^2$.
#
# **Predict.** What do more samples do to the *ELBO*?
#
# <details><summary>Answer</summary>
#
# To its expectation: nothing. They only lower the noise of the estimate. More samples inside the logarithm tighten the bound;
# outside they do not.
# </details>

# %%
torch.manual_seed(0)
sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256]
many = x_one.expand(2000, D)  # 2000 independent repetitions of the same example
with torch.no_grad():
    elbos = [flowlib.elbo(many, prior, decoder, inexact_encoder, S) for S in sizes]
    iwaes = [
        flowlib.importance_weighted_log_likelihood(many, prior, decoder, inexact_encoder, S) for S in sizes
    ]
    log_ratio = flowlib.log_weights(x_one, prior, decoder, inexact_encoder, 500_000) - log_evidence
relative_variance = (log_ratio.exp().var() / log_ratio.exp().mean() ** 2).item()
taylor = log_evidence.item() - relative_variance / (2 * np.array(sizes))

figure, ax = plt.subplots(figsize=(7, 4))
for label, color, runs in (
    ("ELBO", plotting.PALETTE["vermilion"], elbos),
    ("IWAE", plotting.PALETTE["blue"], iwaes),
):
    average = np.array([r.mean().item() for r in runs])
    spread = np.array([r.std().item() for r in runs])
    ax.plot(sizes, average, "o-", color=color, label=f"{label}, average")
    ax.fill_between(sizes, average - spread, average + spread, color=color, alpha=0.2)
ax.plot(sizes[1:], taylor[1:], ":", color=plotting.PALETTE["black"], label="Taylor expansion")
ax.axhline(log_evidence.item(), color=plotting.PALETTE["green"], linestyle="--", label="log p(x), exact")
ax.set(
    xscale="log",
    xlabel="samples S",
    ylabel="nats",
    title="Mean outside or inside the logarithm",
    ylim=(log_evidence.item() - 2.6, log_evidence.item() + 1.0),
)
ax.legend(loc="lower right")
plt.show()
for S, e, i in zip(sizes, elbos, iwaes, strict=True):
    gaps = [log_evidence.item() - bound.mean().item() for bound in (e, i)]
    print(f"S = {S:3d}   average gap: ELBO {gaps[0]:.4f}, IWAE {gaps[1]:.4f}")

# %% [markdown]
# **Figure.** ELBO (orange-red) and importance-weighted bound (blue) of one example against the number of samples; bands are one
# standard deviation of a single estimate. Both start at the same value for $S = 1$. The ELBO's average stays on its level while
# its band narrows. The importance-weighted bound climbs to the dashed green line, the exact $\log p(x)$, and meets the dotted Taylor
# expansion once $S$ is large. A single estimate may lie above $\log p(x)$: the bound holds for the expectation.
#
# **In floating point.** For images $\log w \approx -1000$ is common, and $e^{-1000}$ is 0 in floating point. Take out the
# largest term first; `torch.logsumexp` does:
#
# $$\log \sum_s e^{\ell_s} = \ell_{\max} + \log \sum_s e^{\ell_s - \ell_{\max}} .$$

# %%
log_w = torch.tensor([-1000.0, -1001.0])
print("naive:    ", log_w.exp().mean().log().item())
print("logsumexp:", (log_w.logsumexp(0) - math.log(2)).item())

# %% [markdown]
# **In memory.** A good estimate takes $S = 1000$ samples for each of 447 test images. The decoder holds its hidden layers and its
# outputs for all of them at once:

# %%
per_latent = 128 + 128 + 64  # two hidden layers and the logits of the decoder below
for name, factor in (("activations", 1), ("with the copies made by ReLU, dropout and log_prob", 2.5)):
    print(f"{name}: {1000 * 447 * per_latent * 4 * factor / 1e9:.1f} GB")

# %% [markdown]
# So draw the samples in **chunks**, and join the chunks by the same identity: the logarithm of a sum of sums.
#
# ### Exercise 5 · The importance-weighted bound
#
# Difficulty 4/5 (numerics count) · about 25 minutes · 8 points
#
# Estimate $\log p(x)$ of each example by the right-hand formula of this section, the mean **inside** the logarithm. Decode **at most 100
# samples of the batch at a time**. `num_samples` need not be a multiple of your chunk.


# %% solution="importance_weighted_log_likelihood"
def importance_weighted_log_likelihood(x, prior, decoder, encoder, num_samples):
    """The importance-weighted bound log (1/S) Σ_s w_s, with S = num_samples.

    Args:
        x: data `(*batch, D)`.
        prior, decoder, encoder: as in `elbo`.
        num_samples: S ≥ 1. No more than 100 samples are decoded at once.

    Returns:
        The bound of each example in nats, `(*batch,)`.
    """
    ### BEGIN SOLUTION
    q = encoder(x)
    log_sums = []
    for start in range(0, num_samples, 100):
        z = q.rsample((min(100, num_samples - start),))
        log_w = decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)
        log_sums.append(log_w.logsumexp(0))
    return torch.stack(log_sums).logsumexp(0) - math.log(num_samples)
    ### END SOLUTION


# %% test="iwae_is_exact_for_exact_posterior" points=2
check.iwae_is_exact_for_exact_posterior(importance_weighted_log_likelihood)
### BEGIN HIDDEN TESTS
check.iwae_is_exact_for_exact_posterior(importance_weighted_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="iwae_weights_average_to_evidence" points=2
check.iwae_weights_average_to_evidence(importance_weighted_log_likelihood)
### BEGIN HIDDEN TESTS
check.iwae_weights_average_to_evidence(importance_weighted_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="iwae_survives_tiny_likelihoods" points=1
check.iwae_survives_tiny_likelihoods(importance_weighted_log_likelihood)
### BEGIN HIDDEN TESTS
check.iwae_survives_tiny_likelihoods(importance_weighted_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="iwae_memory_is_bounded" points=1
check.iwae_memory_is_bounded(importance_weighted_log_likelihood)
### BEGIN HIDDEN TESTS
check.iwae_memory_is_bounded(importance_weighted_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="iwae_uses_all_samples" points=1
check.iwae_uses_all_samples(importance_weighted_log_likelihood)
### BEGIN HIDDEN TESTS
check.iwae_uses_all_samples(importance_weighted_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% test="iwae_batch_shapes" points=1
check.iwae_batch_shapes(importance_weighted_log_likelihood)
### BEGIN HIDDEN TESTS
check.iwae_batch_shapes(importance_weighted_log_likelihood, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: nudge</summary>
#
# First write it without chunks: three lines are those of `elbo`, and the fourth has the mean on the other side. Then put a loop
# around the draws.
# </details>
# <details><summary>Help: exact with the exact posterior, wrong otherwise</summary>
#
# Equal weights forgive every way of averaging. Do you average the results of the chunks? That puts a mean outside the logarithm
# again.
# </details>
# <details><summary>Help: off by log 2, log 3, …</summary>
#
# By what do you divide, and how many weights have you added up? Test with a number of samples that is no multiple of the chunk.
# </details>

# %% [markdown]
# ## 6 · Digits
#
# Now the real thing. Pixels are 0 or 1, so the decoder gives for each pixel $i$ the probability $\pi_i(z)$ that it is 1:
# $p(x\mid z) = \prod_i \mathrm{Bernoulli}(x_i;\ \pi_i(z))$. The encoder gives a mean and a log standard deviation for each of the $M$
# latents. Both are networks with two hidden layers.
#
# ### Exercise 6 · The model as a module
#
# Difficulty 2/5 (plumbing) · about 10 minutes · 5 points
#
# `VAE` keeps the three parts, so that one optimizer finds all parameters. You may call `flowlib.elbo`.


# %% solution="VAE"
class VAE(nn.Module):
    """A variational autoencoder.

    Args:
        prior, decoder, encoder: modules as in `elbo`. All three may have parameters.
    """

    def __init__(self, prior, decoder, encoder):
        super().__init__()
        ### BEGIN SOLUTION
        self.prior = prior
        self.decoder = decoder
        self.encoder = encoder
        ### END SOLUTION

    def elbo(self, x):
        """The ELBO of each example, one sample: x `(*batch, D)` → `(*batch,)` nats."""
        ### BEGIN SOLUTION
        return flowlib.elbo(x, self.prior, self.decoder, self.encoder)
        ### END SOLUTION

    def loss(self, x):
        """What training minimizes: minus the mean ELBO of the batch, a tensor without axes."""
        ### BEGIN SOLUTION
        return -self.elbo(x).mean()
        ### END SOLUTION

    def sample(self, n, mean=False):
        """n draws from p(x), `(n, D)`: z from the prior, x from the decoder; with mean=True the decoder's means."""
        ### BEGIN SOLUTION
        with torch.no_grad():
            p = self.decoder(self.prior().sample((n,)))
            return p.mean if mean else p.sample()
        ### END SOLUTION


# %% test="vae_elbo_is_per_example" points=1
check.vae_elbo_is_per_example(VAE)
### BEGIN HIDDEN TESTS
check.vae_elbo_is_per_example(VAE, hidden=1)
### END HIDDEN TESTS

# %% test="vae_loss_is_minus_mean_elbo" points=1
check.vae_loss_is_minus_mean_elbo(VAE)
### BEGIN HIDDEN TESTS
check.vae_loss_is_minus_mean_elbo(VAE, hidden=1)
### END HIDDEN TESTS

# %% test="vae_trains_all_parts" points=1
check.vae_trains_all_parts(VAE)
### BEGIN HIDDEN TESTS
check.vae_trains_all_parts(VAE, hidden=1)
### END HIDDEN TESTS

# %% test="vae_samples_follow_the_model" points=1
check.vae_samples_follow_the_model(VAE)
### BEGIN HIDDEN TESTS
check.vae_samples_follow_the_model(VAE, hidden=1)
### END HIDDEN TESTS

# %% test="vae_sample_means_are_decoder_means" points=1
check.vae_sample_means_are_decoder_means(VAE)
### BEGIN HIDDEN TESTS
check.vae_sample_means_are_decoder_means(VAE, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: a part has no gradient</summary>
#
# `nn.Module` registers modules that are assigned as attributes. Lists, dicts and functions hide them.
# </details>
# <details><summary>Help: samples have the wrong spread</summary>
#
# Two draws are needed: $z$, then $x$. Decode a new $z$ for each sample, from the prior that you were given.
# </details>
#
# ### Training
#
# Two latents, so that they can be looked at. The weights that score best on 350 validation images are kept. Dropout and weight decay
# keep the networks from memorizing the 1000 training images.

# %%
M = 2
torch.manual_seed(0)
vae = flowlib.VAE(
    flowlib.GaussianPrior(M),
    flowlib.BernoulliDecoder(flowlib.mlp([M, 128, 128, 64], dropout=0.2)),
    flowlib.GaussianEncoder(flowlib.mlp([64, 128, 128, 2 * M], dropout=0.2)),
)
history = flowlib.fit(
    vae,
    train.images,
    validation=validation.images,
    steps=2500,
    batch_size=128,
    lr=2e-3,
    weight_decay=1e-3,
    max_steps=MAX_STEPS,
)

# %%
torch.manual_seed(0)
with torch.no_grad():
    parts = vae.prior, vae.decoder, vae.encoder
    test_elbo = flowlib.elbo(test.images, *parts, num_samples=100)
    test_iwae = flowlib.importance_weighted_log_likelihood(test.images, *parts, num_samples=1000)
    q = vae.encoder(test.images)
    kl = torch.distributions.kl_divergence(q.base_dist, Normal(0.0, 1.0)).sum(-1)
ink = train.images.mean(0).clamp(1e-3, 1 - 1e-3)
independent = Independent(torch.distributions.Bernoulli(ink), 1).log_prob(test.images)
print(f"pixels independent, no latent:  {independent.mean():.2f} nats per image")
print(f"VAE, ELBO with 100 samples:     {test_elbo.mean():.2f}")
print(f"VAE, IWAE with 1000 samples:    {test_iwae.mean():.2f}")
print(f"KL(q || prior), price of a code: {kl.mean():.2f} nats = {kl.mean() / math.log(2):.1f} bits")
at_end = sum(history.train_loss[-200:]) / len(history.train_loss[-200:])
print(
    f"at the end of training: {at_end:.2f} nats on batches, {history.held_out_loss[-1]:.2f} on validation images"
)
figure, ax = plt.subplots(figsize=(6.4, 3.4))
plotting.plot_history(ax, history, title="Training a VAE with two latents", ylabel="−ELBO (nats per image)")
plt.show()

# %% [markdown]
# **Figure.** Minus the ELBO during training: thin line, each batch with dropout; thick line, validation images without. Both fall
# steeply at first and then slowly. The thick line runs inside the band of the thin one to the end, close to its middle: images that were not
# trained on cost hardly more than those that were, so little has been memorized. The last printed line says how much.
#
# The printed comparison says what two latents are worth: many nats per image against independent pixels, for a code of a few bits.

# %%
torch.manual_seed(2)
with torch.no_grad():
    shown = test.images[:10]
    z_shown = vae.encoder(shown).mean
    reconstruction = vae.decoder(z_shown).mean
    torch.manual_seed(5)
    drawn_means = vae.sample(20, mean=True)
    torch.manual_seed(5)
    drawn = vae.sample(20)
figure, axes = plt.subplots(3, 1, figsize=(7, 5.6), height_ratios=(2, 2, 2))
plotting.plot_image_grid(
    torch.cat([shown, reconstruction]), vmax=1, ax=axes[0], title="test images (top), reconstructions (below)"
)
plotting.plot_image_grid(drawn_means, vmax=1, ax=axes[1], title="decoder means of latents from the prior")
plotting.plot_image_grid(drawn, vmax=1, ax=axes[2], title="samples from p(x): the means' pixels drawn")
plt.show()

# %% [markdown]
# **Figure.** Top: ten test images and, below each, the decoder's mean at the encoder's mean. Slant and stroke are smoothed away, and
# some digits come back as another one: two numbers cannot hold everything. Middle: decoder means of latents drawn from the prior, in
# shades of gray. Bottom: real samples, each pixel drawn with the probability that the gray stands for; they are speckled.
#
# Papers often show the middle row and call it samples. The model's samples are those at the bottom: **pixels are independent given
# $z$**, so what two latents do not explain comes out as noise.

# %%
with torch.no_grad():
    latent_means = vae.encoder(test.images).mean
    levels = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(14) + 0.5) / 14)
    # Rows from top to bottom: z_2 falls, as on the axis beside it.
    lattice = torch.stack(torch.meshgrid(levels.flip(0), levels, indexing="ij"), -1).flip(-1).reshape(-1, 2)
    decoded = vae.decoder(lattice).mean
figure, axes = plt.subplots(1, 2, figsize=(10, 4.8))
plotting.plot_latent(
    axes[0],
    latent_means,
    test.labels,
    title="encoder means of test images",
    xlabel="$z_1$",
    ylabel="$z_2$",
)
circle = plt.Circle((0, 0), 2, fill=False, color=plotting.PALETTE["black"], linewidth=2)
axes[0].add_patch(circle)
title = "decoder means; $z_1$ grows to the right, $z_2$ upward"
plotting.plot_image_grid(decoded, columns=14, vmax=1, ax=axes[1], title=title)
plt.show()

# %% [markdown]
# **Figure.** Left: the encoder's means of the test images, drawn as their digits, and the circle of radius 2 that holds 86 % of the
# prior. Compare with the autoencoder's codes in section 1: the KL term has pulled the clouds to the prior and together, so that
# hardly a gap is left. Digits form regions, though no label was ever shown. Right: decoder means on a lattice with equal prior probability
# per cell. Neighbors look alike, and between two digits there are shapes that are neither.
#
# The clouds do not *fill* the prior evenly. How much that matters, and what to do about it, is notebook 5.

# %% [markdown]
# ## 7 · A VAE's $p(x)$: defined, and out of reach
#
# One reads that "a VAE does not define a useful $p(x)$". Prior and decoder define it by an integral, as exactly as any density is
# defined. With two latents and a fine grid we can even *do* the integral. On a square lattice of points $z_k$ in the plane, a distance $h$ apart,
#
# $$p(x) = \int p(x\mid z)\,p(z)\,dz \approx h^2 \sum_k p(x\mid z_k)\,p(z_k) .$$
#
# First a test of principle. A random decoder with 8 pixels has $2^8 = 256$ possible images. **Predict** the sum of $p(x)$ over all of
# them.


# %%
def lattice_of(extent, n):
    """Points `(n², 2)` of a square lattice on [−extent, extent]², and the logarithm of a cell's area."""
    axis = torch.linspace(-extent, extent, n, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), 2 * math.log((axis[1] - axis[0]).item())


@torch.no_grad()
def log_evidence_by_quadrature(x, decoder, extent=6.0, n=201):
    """log p(x) `(B,)` of x `(B, D)` under the prior N(0, I) on the plane, by summing over a lattice."""
    points, log_area = lattice_of(extent, n)
    log_prior = flowlib.GaussianPrior(2).double()().log_prob(points)
    p = decoder(points)
    return torch.stack([(p.log_prob(image) + log_prior).logsumexp(0) + log_area for image in x.double()])


torch.manual_seed(0)
toy_decoder = flowlib.BernoulliDecoder(flowlib.mlp([2, 32, 8], activation=nn.Tanh)).double()
all_images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 8)
total = log_evidence_by_quadrature(all_images, toy_decoder).exp().sum()
print(f"{len(all_images)} images, total probability {total:.8f}")

# %% [markdown]
# A distribution over images, then. Now the trained VAE, on the first 60 test images; the grid is refined once, to see that the numbers have
# converged.

# %%
vae.double()
few = test.images[:60].double()
log_p = log_evidence_by_quadrature(few, vae.decoder, n=201)
coarse = log_evidence_by_quadrature(few, vae.decoder, n=101)
torch.manual_seed(0)
with torch.no_grad():
    few_elbo = flowlib.elbo(few, *parts, num_samples=1000)
    estimates = {"ELBO, 1000 samples": few_elbo}
    for S in (10, 100, 1000, 10_000):
        bound = flowlib.importance_weighted_log_likelihood(few, *parts, S)
        estimates[f"IWAE, {S} samples"] = bound
print(f"log p(x) by quadrature  {log_p.mean():9.4f}   (a grid half as fine: {coarse.mean():.4f})")
for name, value in estimates.items():
    gap = log_p - value
    spread = f"mean {gap.mean():.4f}, median {gap.median():.4f}, largest {gap.max():.3f}"
    print(f"{name:22s}  {value.mean():9.4f}   gap: {spread}")

# %% [markdown]
# The importance-weighted bound approaches the exact value, and for the typical image it is nearly there. What is left sits in the few
# images with the largest gaps: there $q$ hardly ever draws from where the posterior is, and a bound can only weigh what was drawn.
# More samples help such an image very slowly. Look at where $q$ and the exact posterior are:

# %%
n_side, reach = 161, 1.6
offsets, log_area = lattice_of(reach, n_side)
prior_2d = flowlib.GaussianPrior(2).double()()
order = (log_p - few_elbo).argsort()
chosen = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
figure, axes = plt.subplots(1, 3, figsize=(10, 4))
for ax, (which, i) in zip(axes, chosen.items(), strict=True):
    with torch.no_grad():
        q = vae.encoder(few[i])
        points = q.mean + offsets
        log_posterior = (
            vae.decoder(points).log_prob(few[i]) + prior_2d.log_prob(points) - log_p[i]
        )  # Bayes' rule
        log_q = q.log_prob(points)
        kl_on_grid = (log_q.exp() * (log_q - log_posterior)).sum() * math.exp(log_area)
    z1, z2 = (axis.reshape(n_side, n_side) for axis in points.T)
    ax.contourf(z1, z2, log_posterior.exp().reshape(n_side, n_side), levels=12)
    ax.contour(z1, z2, log_q.exp().reshape(n_side, n_side), levels=4, colors=plotting.PALETTE["orange"])
    ax.set(
        title=f"{which} gap: {(log_p - few_elbo)[i]:.3f}\nKL by the grid: {kl_on_grid:.3f} nats",
        xlabel="$z_1$",
        ylabel="$z_2$",
        aspect="equal",
    )
plt.show()

# %% [markdown]
# **Figure.** The exact posterior $p(z\mid x)$ as a filled density and the encoder's $q(z\mid x)$ as orange contours, for the test image with
# the smallest, the median and the largest gap; each panel is centered on the encoder's mean. Left: a round blob, covered well. Middle: the
# posterior is slanted, and a $q$ with independent latents cannot be. Right: the encoder is off to one side, its contours beside the bulk of
# the posterior. Above each panel stand the gap $\log p(x) - \mathcal L$ and $\mathrm{KL}(q\,\|\,p(z\mid x))$ computed on the grid. They agree
# up to the noise of the ELBO's 1000 samples, as section 2 derived.
#
# So $p(x)$ is defined, and here it is even computed. But the grid has $n^M$ points:

# %%
for latents in (2, 3, 8, 16):
    print(f"M = {latents:2d}: {201.0**latents:.0e} points of the decoder for one image")

# %% [markdown]
# That is what **intractable** means: a number that exists and that no known method computes in reasonable time. What remains are bounds
# (ELBO, IWAE) whose gap is known only where the answer is. A flow trades the other way: exact density at once, at the price of a
# bijection with as many latents as data.
#
# The gap $\log p(x) - \mathcal L$ has two parts (Cremer, Li & Duvenaud 2018). The **approximation gap** remains even for the best Gaussian
# of *this* $x$. The **amortization gap** comes on top, because one network has to guess $q$ for all $x$. A flow as posterior attacks the
# first (notebook 8). A flow as prior, in the next notebook, changes the model itself.

# %% [markdown]
# ### Exercise 7 · Find the errors
#
# Difficulty 3/5 (read slowly) · about 10 minutes · 2 points
#
# A derivation put together from lecture slides, blog posts and comments. All of its mistakes have been seen in the wild.
#
# 1. $\log p(x) = \log \int p(x\mid z)\,p(z)\,dz$.
# 2. With an encoder $q$: $\;\log p(x) = \log \mathbb E_{q(z\mid x)}\left[\dfrac{p(x\mid z)\,p(z)}{q(x\mid z)}\right]$.
# 3. The logarithm is concave. So the logarithm of an expectation of weights is at least the expectation of their logarithms.
# 4. $\mathbb E_{q(z\mid x)}\left[\log\dfrac{p(x\mid z)\,p(z)}{q(z\mid x)}\right] = \mathbb E_{q(z\mid x)}[\log p(x\mid z)]
#    - \mathrm{KL}\bigl(q(z\mid x)\,\|\,p(z)\bigr) = \mathcal L$.
# 5. The gap is $\log p(x) - \mathcal L = \mathrm{KL}\bigl(p(z\mid x)\,\|\,q(z\mid x)\bigr)$.
# 6. If $q(z\mid x) = p(z\mid x)$, then $\mathcal L = \log p(x)$.
# 7. Only the bound can be computed. So a VAE defines $p(x,z)$ but no distribution $p(x)$ over the observations.
# 8. The expectation of $\log\frac1S\sum_s w_s$ never falls as $S$ grows, and tends to $\log p(x)$ when the weights have finite variance.
#
# Which lines are wrong, each taken by itself?


# %% solution="wrong_lines"
def wrong_lines():
    """The numbers of the wrong lines, a list of integers from 1 to 8."""
    ### BEGIN SOLUTION
    return [2, 5, 7]
    ### END SOLUTION


# %% test="errors_are_found" points=2
check.errors_are_found(wrong_lines)
### BEGIN HIDDEN TESTS
check.errors_are_found(wrong_lines, hidden=1)
### END HIDDEN TESTS

# %% [markdown]
# <details><summary>Help: how can I test a line?</summary>
#
# The three-valued latent of section 2 is a laboratory: every expectation is a sum of three terms. Compute both sides of a line.
# </details>
#
# ### Exercise 8 · A comment
#
# Difficulty 3/5 (arguing) · about 15 minutes · 3 points, graded by hand
#
# A comment under a well-known question says: "You can't evaluate the probability of a given observation in a VAE … the VAE doesn't define a
# useful probability distribution over the observations $p(x)$." Answer in five to eight sentences: what is right about it, what is
# wrong, and what you would report if asked for a VAE's log-likelihood on a test set.
#
# *What we look for.* One point: $p(x) = \int p(x\mid z)p(z)\,dz$ is a well-defined distribution, fixed by prior and decoder alone; one can sample
# from it. One point: the integral is intractable for more than a few latents, so it is bounded or estimated, not evaluated. One point: a
# concrete and honest report, such as the importance-weighted bound with its number of samples on held-out data, named as a lower bound.

# %% [markdown] manual="is_there_a_p_of_x" points=3
# ### BEGIN SOLUTION
# The comment is right that nobody evaluates $p(x)$ of a VAE in closed form: it is an integral over all latents, and a grid grows exponentially
# with their number. It is wrong that there is no $p(x)$. Prior and decoder define it completely; the encoder is not even part of the
# model. We sample from it by drawing $z$ from the prior and then $x$ from the decoder, and for two latents we computed it by quadrature. It is
# useful, too: training raises a lower bound of exactly this quantity, and models are compared by it. I would report the importance-weighted
# bound on held-out images with, say, 1000 samples, say that it is a lower bound in expectation, and show that it has stopped moving when the
# number of samples is doubled. The ELBO alone mixes the quality of the model with that of the encoder.
# ### END SOLUTION

# %% [markdown]
# ### Exercise 9 · The silent mistake
#
# Difficulty 2/5 (writing) · about 5 minutes · 2 points, graded by hand
#
# A fellow student writes `z = q.sample((num_samples,))` in the ELBO. Training runs, the loss falls, and reconstructions are poor. (a) Why
# does the loss fall at all? (b) How would you have found the mistake before training?
#
# *What we look for.* One point for (a): the decoder (and a learned prior) still gets its right gradient for the latents drawn; the encoder's
# gradient is the score of $q$, zero on average. One point for (b): a test of the encoder's gradient against something known, such as a
# closed form in the linear-Gaussian model or a finite difference with the same noise; a test of values is not enough.

# %% [markdown] manual="the_silent_mistake" points=2
# ### BEGIN SOLUTION
# (a) The gradient with respect to the decoder's parameters does not need the path through $z$: it is right for whatever latents are drawn. So
# the decoder learns to make the best of codes that a random encoder gives. The encoder itself only gets $-\nabla_\phi \log q(z\mid x)$ at fixed $z$,
# whose mean is zero: it performs a random walk.
#
# (b) By a test of the gradient, because all values are right. In the linear-Gaussian model the ELBO has a closed form; average the gradient by
# the encoder's mean over many draws and compare with its derivative, within a few standard errors.
# ### END SOLUTION

# %% [markdown]
# ## Key points
#
# - Prior and decoder define $p(x) = \int p(x\mid z)p(z)\,dz$. The encoder is an aid for training and for bounding it.
# - The mean weight is $p(x)$. The mean of its logarithm is the ELBO; the gap is $\mathrm{KL}(q(z\mid x)\,\|\,p(z\mid x))$.
# - `rsample` keeps the path from parameters to draws. Values never show the difference; only the encoder's gradient does.
# - Mean outside the logarithm: more samples, less noise, same bound. Mean inside: a tighter bound, up to $\log p(x)$.
# - With the exact posterior all log-weights are equal. A linear-Gaussian VAE makes this a test to the last digit.
# - Work with log-weights, `logsumexp`, and chunks.
# - $p(x)$ of a VAE is defined and intractable. A flow's is defined and computed, for a bijection's price.
#
# **Common mistakes**: `sample` for `rsample` · the sign of the KL term · a mean over pixels where independent pixels need a sum · one
# number for the whole batch · logsumexp without $-\log S$ · bounds of chunks averaged · means shown as samples · $q(x\mid z)$ for $q(z\mid x)$.
#
# ## References
#
# - D. P. Kingma, M. Welling. *Auto-encoding variational Bayes.* 2013. arXiv:1312.6114
# - D. J. Rezende, S. Mohamed, D. Wierstra. *Stochastic backpropagation and approximate inference in deep generative models.* 2014.
#   arXiv:1401.4082
# - Y. Burda, R. Grosse, R. Salakhutdinov. *Importance weighted autoencoders.* 2015. arXiv:1509.00519
# - C. Cremer, X. Li, D. Duvenaud. *Inference suboptimality in variational autoencoders.* 2018. arXiv:1801.03558
# - M. E. Tipping, C. M. Bishop. *Probabilistic principal component analysis.* 1999. Journal of the Royal Statistical Society B 61(3)
# - E. Alpaydin, C. Kaynak. *Optical recognition of handwritten digits.* 1998. UCI machine learning repository (the data)
