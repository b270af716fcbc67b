"""What goes wrong in 05_flow_prior_vae."""

from __future__ import annotations

import math

import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from autograder_tests.catalogue import wrong

# ---- aggregate_posterior_sample ------------------------------------------------------------------


def aggregate_posterior_sample(x, encoder, n):
    index = torch.randint(len(x), (n,))
    return encoder(x[index]).sample()


wrong(
    aggregate_posterior_sample,
    "one_gaussian_of_averages",
    code="""
def aggregate_posterior_sample(x, encoder, n):
    q = encoder(x)
    return Normal(q.mean.mean(0), q.stddev.mean(0)).sample((n,))
""",
    hint="""You draw from one Gaussian with the average mean and the average standard deviation.
    The aggregate posterior is a mixture, not an average: with two narrow posteriors far apart, what
    lies half-way between them?""",
)
wrong(
    aggregate_posterior_sample,
    "averages_the_draws",
    swap={"return encoder(x[index]).sample()": "return encoder(x).sample((n,)).mean(1)"},
    hint="""Your draw is the average of one draw from each posterior. Averaging random variables
    is not the same as picking one of them: the histogram of the average has a single bump.""",
)
wrong(
    aggregate_posterior_sample,
    "encodes_the_mean_example",
    swap={"x[index]": "x.mean(0).expand(n, -1)"},
    hint="""You encode the average example, an image that is in no data set. First pick an
    example, then encode it.""",
)
wrong(
    aggregate_posterior_sample,
    "first_examples_only",
    swap={"torch.randint(len(x), (n,))": "torch.arange(n) % len(x)"},
    hint="""The examples are taken in the order of the data set. One draw from q(z) can come from
    any example, so that the pick itself is random.""",
)
wrong(
    aggregate_posterior_sample,
    "without_replacement",
    swap={"torch.randint(len(x), (n,))": "torch.randperm(len(x))[:n]"},
    hint="""A permutation never picks an example twice and ends after N draws. Draws from q(z)
    are independent: what does that say about replacement?""",
)
wrong(
    aggregate_posterior_sample,
    "one_example_for_all",
    swap={"x[index]": "x[index[:1]].expand(n, -1)"},
    hint="All n draws come from the posterior of one and the same example. The pick belongs to each draw.",
)
wrong(
    aggregate_posterior_sample,
    "posterior_means",
    swap={".sample()": ".mean"},
    hint="""You return posterior means. The aggregate posterior is a mixture of Gaussians; you
    have their centers only. What is still to be drawn?""",
)
wrong(
    aggregate_posterior_sample,
    "one_draw_per_example",
    swap={"return encoder(x[index]).sample()": "return encoder(x).sample()[index]"},
    hint="""Each posterior is sampled once, and that one draw is repeated whenever its example is
    picked again. The noise must be new in every draw.""",
)
wrong(
    aggregate_posterior_sample,
    "last_example_left_out",
    swap={"torch.randint(len(x), (n,))": "torch.randint(len(x) - 1, (n,))"},
    hint="""One example is never picked. `torch.randint(high, …)` draws below high: high itself
    is excluded already.""",
)
wrong(
    aggregate_posterior_sample,
    "sampled_before_picked",
    code="""
def aggregate_posterior_sample(x, encoder, n):
    z = encoder(x).sample()
    return z[torch.randint(len(x), (n,))]
""",
    hint="""Every posterior is sampled once, before anything is picked: an example that is picked twice gives the same
    code twice. In which order is a mixture sampled?""",
)
wrong(
    aggregate_posterior_sample,
    "averaged_over_examples",
    code="""
def aggregate_posterior_sample(x, encoder, n):
    return encoder(x).sample((n,)).mean(1)
""",
    hint="You average one draw of every posterior. The average of codes lies where no code is: pick one of them.",
)
wrong(
    aggregate_posterior_sample,
    "sampled_n_times_too_often",
    swap={".sample()": ".sample((n,))"},
    hint="After the pick there are n posteriors already. How many draws of each do you need?",
)


# ---- aggregate_posterior_log_prob ----------------------------------------------------------------


def aggregate_posterior_log_prob(z, x, encoder):
    log_q = encoder(x).log_prob(z[:, None])  # (S, N)
    return log_q.logsumexp(1) - math.log(len(x))


wrong(
    aggregate_posterior_log_prob,
    "mean_of_logs",
    swap={"log_q.logsumexp(1) - math.log(len(x))": "log_q.mean(1)"},
    hint="""You average log-densities. A mixture averages densities: which comes first, the mean
    or the logarithm?""",
)
wrong(
    aggregate_posterior_log_prob,
    "number_of_examples_forgotten",
    swap={" - math.log(len(x))": ""},
    hint="Your density integrates to N, the number of examples. Each component has the weight 1/N.",
)
wrong(
    aggregate_posterior_log_prob,
    "underflow",
    swap={"log_q.logsumexp(1) - math.log(len(x))": "log_q.exp().mean(1).log()"},
    hint="""Right near the posteriors, −∞ far from them: exp underflows before the logarithm sees
    it. Take the largest term out of the sum first; torch has a function that does.""",
)
wrong(
    aggregate_posterior_log_prob,
    "sums_over_the_points",
    swap={"log_q.logsumexp(1)": "log_q.logsumexp(0)"},
    hint="""You sum over the points z instead of the examples x. Which axis of the table of log-
    densities belongs to what?""",
)
wrong(
    aggregate_posterior_log_prob,
    "nearest_posterior_only",
    swap={"log_q.logsumexp(1) - math.log(len(x))": "log_q.max(1).values - math.log(len(x))"},
    hint="""Only the largest component counts in your result. Where posteriors overlap, all of
    them add to the density.""",
)
wrong(
    aggregate_posterior_log_prob,
    "divided_after_the_logarithm",
    swap={"log_q.logsumexp(1) - math.log(len(x))": "log_q.logsumexp(1) / len(x)"},
    hint="You divide the logarithm by N. The factor 1/N stands inside it: what does the logarithm make of a factor?",
)
wrong(
    aggregate_posterior_log_prob,
    "guarded_against_zero",
    swap={"log_q.logsumexp(1) - math.log(len(x))": "(log_q.exp().mean(1) + 1e-30).log()"},
    hint="Far away you report the logarithm of your 1e-30. The sum is smaller than that: keep to logarithms all the way.",
)
wrong(
    aggregate_posterior_log_prob,
    "divided_by_the_points",
    swap={"math.log(len(x))": "math.log(len(z))"},
    hint="You divide by the number of points z. The average is over the examples.",
)


# ---- GaussianPrior -------------------------------------------------------------------------------


class GaussianPrior(nn.Module):
    def __init__(self, M):
        super().__init__()
        self.register_buffer("loc", torch.zeros(M))
        self.register_buffer("scale", torch.ones(M))

    def forward(self):
        return Independent(Normal(self.loc, self.scale), 1)


wrong(
    GaussianPrior,
    "not_independent",
    swap={"Independent(Normal(self.loc, self.scale), 1)": "Normal(self.loc, self.scale)"},
    hint="""This is a batch of M distributions on the line: log_prob gives M numbers for each z.
    Which wrapper makes the last axis one event?""",
)
wrong(
    GaussianPrior,
    "scalar_normal",
    swap={"Independent(Normal(self.loc, self.scale), 1)": "Normal(0.0, 1.0)"},
    hint="""A normal distribution on the line, without M. Its samples have no axis for the latent
    variables.""",
)
wrong(
    GaussianPrior,
    "zero_scale",
    swap={"torch.ones(M))": "torch.full((M,), 1e-6))"},
    hint="""The standard deviation is 1e-6. In a standard normal it is 1; a tiny one makes every
    z impossible.""",
)
wrong(
    GaussianPrior,
    "log_scale_for_scale",
    swap={"Normal(self.loc, self.scale)": "Normal(self.loc, self.scale.exp())"},
    hint="""Your standard deviation is e. Is the buffer a scale or a log-scale? In a standard
    normal the scale is 1, its logarithm 0.""",
)
wrong(
    GaussianPrior,
    "uniform_prior",
    swap={
        "Normal(self.loc, self.scale)": "torch.distributions.Uniform("
        "self.loc - 3, self.loc + 3, validate_args=False)"
    },
    hint="""A uniform density on a box: its log_prob does not know how far z is from 0. The prior
    asked for is N(0, I).""",
)
wrong(
    GaussianPrior,
    "correlated_variables",
    swap={
        "Independent(Normal(self.loc, self.scale), 1)": "torch.distributions.MultivariateNormal(self.loc,"
        " torch.eye(len(self.loc)).mul(0.5) + 0.5)"
    },
    hint="""Your covariance has entries outside the diagonal: the latent variables move together.
    N(0, I) has the identity.""",
)
wrong(
    GaussianPrior,
    "batch_of_one",
    swap={"torch.zeros(M)": "torch.zeros(1, M)", "torch.ones(M)": "torch.ones(1, M)"},
    hint="""The parameters have an extra axis of length 1, and so do all samples: batch shape
    (1,) instead of ().""",
)


# ---- MixtureOfGaussiansPrior ---------------------------------------------------------------------


class MixtureOfGaussiansPrior(nn.Module):
    def __init__(self, M, K):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(K))
        self.loc = nn.Parameter(torch.randn(K, M))
        self.log_scale = nn.Parameter(torch.zeros(K, M))

    def forward(self):
        components = Independent(Normal(self.loc, self.log_scale.exp()), 1)
        return MixtureSameFamily(Categorical(logits=self.logits), components)


_BY_HAND = """
class MixtureOfGaussiansPrior(nn.Module):
    class Distribution:
        def __init__(self, logits, loc, scale):
            self.logits, self.loc, self.scale = logits, loc, scale
            self.event_shape, self.batch_shape = loc.shape[-1:], torch.Size()

        def log_prob(self, z):
            each = Normal(self.loc, self.scale).log_prob(z[..., None, :]).sum(-1)
            return torch.logsumexp(each + self.logits.log_softmax(0), -1)

        def sample(self, shape=()):
            k = Categorical(logits=self.logits).sample(shape)
            return Normal(self.loc[k], self.scale[k]).sample()

    def __init__(self, M, K):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(K))
        self.loc = nn.Parameter(torch.randn(K, M))
        self.log_scale = nn.Parameter(torch.zeros(K, M))

    def forward(self):
        return self.Distribution(self.logits, self.loc, self.log_scale.exp())
"""


def _by_hand(old: str, new: str) -> str:
    """The mixture written out by hand, with one edit."""
    assert old in _BY_HAND, old
    return _BY_HAND.replace(old, new)


wrong(
    MixtureOfGaussiansPrior,
    "components_start_equal",
    swap={"torch.randn(K, M)": "torch.zeros(K, M)"},
    hint="""All components start at the same point. Equal components get equal gradients and stay
    equal: K Gaussians that behave as one. What breaks the symmetry?""",
)
wrong(
    MixtureOfGaussiansPrior,
    "weights_forgotten",
    code=_by_hand("each + self.logits.log_softmax(0)", "each"),
    hint="The K densities are added without their weights: the total mass is K.",
)
wrong(
    MixtureOfGaussiansPrior,
    "weights_not_normalized",
    code=_by_hand("self.logits.log_softmax(0)", "self.logits"),
    hint="""You use the logits as if they were log-weights. Weights of a mixture are positive and
    sum to 1: which function makes them so?""",
)
wrong(
    MixtureOfGaussiansPrior,
    "mean_of_logs",
    code=_by_hand(
        "torch.logsumexp(each + self.logits.log_softmax(0), -1)", "(each * self.logits.softmax(0)).sum(-1)"
    ),
    hint="""You average the components' log-densities: that is a geometric mean, a single bump. A
    mixture averages densities, then takes the logarithm.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "not_independent",
    swap={"Independent(Normal(self.loc, self.log_scale.exp()), 1)": "Normal(self.loc, self.log_scale.exp())"},
    hint="""Without Independent torch takes the last axis, the M latent variables, for the
    components. The event axis must be declared first, then K is the last batch axis.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "one_component_per_variable",
    code=_by_hand(
        "k = Categorical(logits=self.logits).sample(shape)\n"
        "            return Normal(self.loc[k], self.scale[k]).sample()",
        "M = self.loc.shape[-1]\n            k = Categorical(logits=self.logits).sample((*shape, M))\n"
        "            i = torch.arange(M)\n            return Normal(self.loc[k, i], self.scale[k, i]).sample()",
    ),
    hint="""Each variable picks a component of its own. Every marginal is right and the joint
    distribution is not: z comes whole from one component.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "one_component_for_all_samples",
    code=_by_hand(
        "k = Categorical(logits=self.logits).sample(shape)",
        "k = Categorical(logits=self.logits).sample().expand(shape)",
    ),
    hint="One component is picked for the whole batch of samples. Each sample needs a pick of its own.",
)
wrong(
    MixtureOfGaussiansPrior,
    "samples_average_the_components",
    code=_by_hand(
        "return Normal(self.loc[k], self.scale[k]).sample()",
        "w = self.logits.softmax(0)\n            return Normal(w @ self.loc, w @ self.scale).sample(shape)",
    ),
    hint="""Your samples come from one Gaussian with averaged parameters. A sample of a mixture
    belongs to one component.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "means_are_not_parameters",
    swap={"nn.Parameter(torch.randn(K, M))": "torch.randn(K, M)"},
    hint="""The means are plain tensors: the optimizer never sees them, and the components stay
    where they fell.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "fixed_weights",
    swap={"Categorical(logits=self.logits)": "Categorical(torch.ones_like(self.logits))"},
    hint="""The weights are equal for ever. A component that explains few examples should be able
    to lose weight.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "shared_scale",
    swap={
        "torch.zeros(K, M))\n\n": "torch.zeros(()))\n\n",
        "self.log_scale.exp()": "self.log_scale.exp().expand(self.loc.shape)",
    },
    hint="""One standard deviation serves all components and variables. Asked for are K · M of
    them: the digits' clusters are not equally wide.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "raw_weights",
    swap={
        "torch.zeros(K))": "torch.ones(K))",
        "Categorical(logits=self.logits)": "Categorical(probs=self.logits)",
    },
    hint="""Your weights are the parameters themselves. Training may take one below 0, where no probability is:
    which function of any real numbers is positive and sums to 1?""",
)
wrong(
    MixtureOfGaussiansPrior,
    "raw_deviations",
    swap={"torch.zeros(K, M))": "torch.ones(K, M))", "self.log_scale.exp()": "self.log_scale"},
    hint="""Your standard deviations are the parameters themselves. Training may take one below 0: which function of any
    real number is positive?""",
)
wrong(
    MixtureOfGaussiansPrior,
    "built_once",
    swap={
        "        self.log_scale = nn.Parameter(torch.zeros(K, M))\n": (
            "        self.log_scale = nn.Parameter(torch.zeros(K, M))\n"
            "        self.scale = self.log_scale.detach().exp()\n"
        ),
        "self.log_scale.exp()": "self.scale",
    },
    hint="""The widths are computed once, when the prior is made. What training does to the parameter later never reaches
    the distribution.""",
)
wrong(
    MixtureOfGaussiansPrior,
    "axes_exchanged",
    swap={"torch.randn(K, M)": "torch.randn(M, K)", "torch.zeros(K, M)": "torch.zeros(M, K)"},
    hint="Your means have shape (M, K). The components come first, (K, M), so that the last axis is one point of latent space.",
)


# ---- regularizer_terms ---------------------------------------------------------------------------


def regularizer_terms(means, stds):
    N = len(means)
    second_moment = sum(m**2 + s**2 for m, s in zip(means, stds, strict=True)) / N
    cross_entropy = sp.log(2 * sp.pi) / 2 + second_moment / 2
    entropies = [sp.log(2 * sp.pi * sp.E * s**2) / 2 for s in stds]
    mean_entropy = sum(entropies) / N
    return cross_entropy, mean_entropy


wrong(
    regularizer_terms,
    "variance_of_posteriors_forgotten",
    swap={"m**2 + s**2": "m**2"},
    hint="""Your cross-entropy sees the posterior means only. z is spread around them: what is
    E[z²] of N(m, s²)?""",
)
wrong(
    regularizer_terms,
    "sum_instead_of_mean",
    swap={"strict=True)) / N": "strict=True))"},
    hint="The aggregate posterior weighs each example by 1/N; you add the examples up.",
)
wrong(
    regularizer_terms,
    "constant_forgotten",
    swap={"sp.log(2 * sp.pi) / 2 + second_moment": "second_moment"},
    hint="""The cross-entropy lacks ½ log 2π, the constant of the standard normal's density. It
    cancels in the difference, not in each of the two terms.""",
)
wrong(
    regularizer_terms,
    "square_of_the_mean_mean",
    swap={
        "sum(m**2 + s**2 for m, s in zip(means, stds, strict=True)) / N": "(sum(means) / N) ** 2"
        " + (sum(stds) / N) ** 2"
    },
    hint="""You average first and square then, as if q(z) were one Gaussian with averaged
    parameters. A mixture averages second moments.""",
)
wrong(
    regularizer_terms,
    "density_for_its_logarithm",
    swap={"sp.log(2 * sp.pi * sp.E * s**2) / 2": "sp.log(2 * sp.pi * s**2) / 2"},
    hint="""The entropy of N(m, s²) lacks a half: −E[log q] also contains E[(z − m)²]/(2s²), and
    that is not 0.""",
)
wrong(
    regularizer_terms,
    "standard_deviation_taken_for_variance",
    swap={"sp.E * s**2": "sp.E * s"},
    hint="s is a standard deviation. The formula for the entropy holds the variance.",
)
wrong(
    regularizer_terms,
    "entropy_of_the_mean_width",
    swap={
        "sum(entropies) / N": "sp.log(2 * sp.pi * sp.E * (sum(stds) / N) ** 2) / 2",
    },
    hint="""This is the entropy of a Gaussian of average width. Wanted is the average of the
    entropies: the logarithm of a mean is not the mean of logarithms.""",
)
wrong(
    regularizer_terms,
    "sign_of_the_entropy",
    swap={"return cross_entropy, mean_entropy": "return cross_entropy, -mean_entropy"},
    hint="""You return E[log q], which is minus the entropy: of a narrow posterior the entropy is
    small, even negative.""",
)
wrong(
    regularizer_terms,
    "entropy_of_the_aggregate",
    swap={
        "mean_entropy = sum(entropies) / N": (
            "variance = second_moment - (sum(means) / N) ** 2\n    mean_entropy = sp.log(2 * sp.pi * sp.E * variance) / 2"
        )
    },
    hint="""This is the entropy of one Gaussian as wide as all posteriors together. Asked for is the mean of the posteriors'
    own entropies.""",
)
wrong(
    regularizer_terms,
    "half_forgotten",
    swap={"sp.log(2 * sp.pi * sp.E * s**2) / 2": "sp.log(2 * sp.pi * s**2) / 2"},
    hint="Your entropy is short of one half: the expectation of (z − m)²/(2s²) under N(m, s²) is a number other than 0.",
)
wrong(
    regularizer_terms,
    "divergence_for_cross_entropy",
    swap={"return cross_entropy, mean_entropy": "return cross_entropy - mean_entropy, mean_entropy"},
    hint="Your first answer is the whole regularizer. The mean entropy is still to be subtracted from the cross-entropy.",
)


# ---- flow_prior_kl -------------------------------------------------------------------------------


def flow_prior_kl(m, s, a, b):
    log_q = -sp.log(s) - sp.Rational(1, 2)
    log_p = -sp.log(sp.Abs(a)) - (s**2 + (m - b) ** 2) / (2 * a**2)
    return log_q - log_p


wrong(
    flow_prior_kl,
    "no_density",
    swap={"-sp.log(sp.Abs(a)) - (": "-("},
    hint="""This is the slide's expression: p_u(T⁻¹(z)) without |∂u/∂z|. It does not integrate to
    1, so it is no density and the result is no divergence; it can even be negative.""",
)
wrong(
    flow_prior_kl,
    "log_det_of_the_wrong_direction",
    swap={"-sp.log(sp.Abs(a)) - (": "sp.log(sp.Abs(a)) - ("},
    hint="""The log-determinant has the wrong sign. Stretching by a > 1 thins the density out:
    log|∂u/∂z|, not log|∂z/∂u|.""",
)
wrong(
    flow_prior_kl,
    "slope_without_absolute_value",
    swap={"sp.log(sp.Abs(a))": "sp.log(a)"},
    hint="""Right for a > 0. For a < 0 your answer is complex: a density is positive whichever
    way the map runs.""",
)
wrong(
    flow_prior_kl,
    "arguments_swapped",
    code="""
def flow_prior_kl(m, s, a, b):
    return sp.log(s / sp.Abs(a)) + (a**2 + (m - b) ** 2) / (2 * s**2) - sp.Rational(1, 2)
""",
    hint="""You computed KL(p_z ‖ q). The divergence is not symmetric; the expectation in KL(q ‖
    p) is under q.""",
)
wrong(
    flow_prior_kl,
    "variance_of_q_forgotten",
    swap={"(s**2 + (m - b) ** 2)": "((m - b) ** 2)"},
    hint="""You put the mean of q into log p_z. The expectation of a square is not the square of
    the expectation: what does s add?""",
)
wrong(
    flow_prior_kl,
    "forward_for_inverse",
    swap={"(s**2 + (m - b) ** 2) / (2 * a**2)": "(a**2 * s**2 + (a * m + b) ** 2) / 2"},
    hint="You push z through T. The prior's density asks where z came from: T⁻¹(z) = (z − b)/a.",
)
wrong(
    flow_prior_kl,
    "scale_not_squared",
    swap={"(2 * a**2)": "(2 * a)"},
    hint="You divide by 2a. u = (z − b)/a is squared in the density: what happens to a?",
)
wrong(
    flow_prior_kl,
    "shift_added",
    swap={"(m - b) ** 2": "(m + b) ** 2"},
    hint="You add the shift. On the way back from z to u it is taken off: try m = b, where u has mean 0.",
)


# ---- FlowPrior -----------------------------------------------------------------------------------


class FlowPrior(nn.Module):
    class Distribution(torch.distributions.Distribution):
        arg_constraints = {}  # noqa: RUF012 (torch declares it so)

        def __init__(self, flow):
            self.flow = flow
            event_shape = flow.base().event_shape
            super().__init__(torch.Size(), event_shape, validate_args=False)

        def log_prob(self, z):
            u, log_det = self.flow.inverse(z)
            return self.flow.base().log_prob(u) + log_det

        def sample(self, sample_shape=()):
            with torch.no_grad():
                u = self.flow.base().sample(sample_shape)
                return self.flow.forward(u)[0]

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self):
        return self.Distribution(self.flow)


wrong(
    FlowPrior,
    "log_prob_through_forward",
    swap={"self.flow.inverse(z)": "self.flow.forward(z)"},
    hint="""log_prob runs z through forward. That is a density too, and has mass 1, but it is
    T⁻¹(u)'s and not your samples': a density asks where z came from.""",
)
wrong(
    FlowPrior,
    "log_det_subtracted",
    swap={"log_prob(u) + log_det": "log_prob(u) - log_det"},
    hint="""The log-determinant has the wrong sign. `inverse` returns log|det ∂u/∂z| already, the
    one that the density needs.""",
)
wrong(
    FlowPrior,
    "log_det_dropped",
    swap={"log_prob(u) + log_det": "log_prob(u)"},
    hint="""Your log_prob is log p_u(T⁻¹(z)): no density. Moving probability without a Jacobian
    changes the total mass.""",
)
wrong(
    FlowPrior,
    "log_det_counted_m_times",
    swap={
        "return self.flow.base().log_prob(u) + log_det": "each = self.flow.base().base_dist.log_prob(u)\n"
        "            return (each + log_det[..., None]).sum(-1)"
    },
    hint="""The log-determinant is added to each latent variable and then summed: it counts M
    times. It is one number per z.""",
)
wrong(
    FlowPrior,
    "log_det_summed_over_the_batch",
    swap={"log_prob(u) + log_det": "log_prob(u) + log_det.sum()"},
    hint="""Your density of one z depends on the other examples in the batch: the log-
    determinants are added over them.""",
)
wrong(
    FlowPrior,
    "standard_base_assumed",
    swap={"self.flow.base().log_prob(u)": "(-0.5 * u**2 - 0.5 * math.log(2 * math.pi)).sum(-1)"},
    hint="You wrote the standard normal's density by hand. The flow has a base of its own: ask it.",
)
wrong(
    FlowPrior,
    "samples_stay_at_base",
    swap={"return self.flow.forward(u)[0]": "return u"},
    hint="Your samples are u's, drawn from the base. A latent z is what the flow makes of u.",
)
wrong(
    FlowPrior,
    "samples_through_inverse",
    swap={"self.flow.forward(u)[0]": "self.flow.inverse(u)[0]"},
    hint="You push base samples through the inverse. Sampling goes from base to latent: z = T(u).",
)
wrong(
    FlowPrior,
    "standard_samples_assumed",
    swap={"self.flow.base().sample(sample_shape)": "torch.randn(*sample_shape, *self.event_shape).double()"},
    hint="""You start sampling from N(0, I), whatever the base is. The flow has a base of its
    own: sample it.""",
)
wrong(
    FlowPrior,
    "flow_not_registered",
    swap={
        "self.flow = flow\n\n    def forward": "self.parts = [flow]\n\n    def forward",
        "self.Distribution(self.flow)": "self.Distribution(self.parts[0])",
    },
    hint="""The flow hides in a Python list: prior.parameters() is empty, and the optimizer
    trains encoder and decoder alone.""",
)
wrong(
    FlowPrior,
    "detached",
    swap={"self.flow.inverse(z)": "self.flow.inverse(z.detach())"},
    hint="""z is detached inside log_prob: the encoder never learns where the prior wants its
    latents. Values are right, the gradient is not.""",
)
wrong(
    FlowPrior,
    "no_gradient_to_the_flow",
    swap={
        "u, log_det = self.flow.inverse(z)": "with torch.no_grad():\n"
        "                u, log_det = self.flow.inverse(z)"
    },
    hint="Under no_grad the inverse gives the right numbers and no gradient: the prior would never learn.",
)
wrong(
    FlowPrior,
    "event_taken_for_batch",
    swap={"super().__init__(torch.Size(), event_shape,": "super().__init__(event_shape, torch.Size(),"},
    hint="""Batch shape and event shape are exchanged: you declare M separate distributions over
    numbers instead of one over vectors of M.""",
)
wrong(
    FlowPrior,
    "base_at_z",
    swap={"self.flow.base().log_prob(u)": "self.flow.base().log_prob(z)"},
    hint="You ask the base about z. Its density is one of u: what does the inverse return first?",
)


# ---- repaired_log_prob ---------------------------------------------------------------------------


def repaired_log_prob(z, flow):
    u, log_det = flow.inverse(z)
    log_p_u = -0.5 * u**2 - 0.5 * math.log(2 * math.pi)
    return log_p_u.sum(-1) + log_det


wrong(
    repaired_log_prob,
    "bug_still_there",
    swap={"log_p_u.sum(-1) + log_det": "(log_p_u + log_det[..., None]).sum(-1)"},
    hint="""The log-determinant still stands inside the sum over the M latent variables: it is
    counted M times.""",
)
wrong(
    repaired_log_prob,
    "averaged_over_variables",
    swap={"log_p_u.sum(-1) + log_det": "(log_p_u + log_det[..., None]).mean(-1)"},
    hint="""A mean counts log_det once, but divides the log-density of the base by M. Independent
    variables: densities multiply, so logarithms add.""",
)
wrong(
    repaired_log_prob,
    "log_det_dropped",
    swap={" + log_det": ""},
    hint="Now the log-determinant is counted no times at all. Once is right.",
)
wrong(
    repaired_log_prob,
    "sign",
    swap={" + log_det": " - log_det"},
    hint="The log-determinant counts once, with the wrong sign: `inverse` returns log|det ∂u/∂z|.",
)
wrong(
    repaired_log_prob,
    "sum_over_the_batch",
    swap={"log_p_u.sum(-1)": "log_p_u.sum(0)"},
    hint="You sum over the examples instead of the latent variables. One number per z must be left.",
)
wrong(
    repaired_log_prob,
    "log_det_summed",
    swap={"log_p_u.sum(-1) + log_det": "log_p_u.sum(-1) + log_det.sum(-1)"},
    hint="You sum the log-determinant as well. It has no axis of latent variables: over what do you sum it?",
)


# ---- mass_with_bug -------------------------------------------------------------------------------


def mass_with_bug(a, M):
    once = -M * sp.log(a)  # log|det ∂u/∂z|
    surplus = (M - 1) * once
    return sp.exp(surplus)


wrong(
    mass_with_bug,
    "counted_m_times_alone",
    swap={"(M - 1) * once": "M * once"},
    hint="""The log-determinant is in M times, true. One of them is needed: it makes the mass 1.
    How many are too many?""",
)
wrong(
    mass_with_bug,
    "one_variable_stretched",
    swap={"-M * sp.log(a)": "-sp.log(a)"},
    hint="""You took log|∂u/∂z| of a single variable. T stretches all M of them: what is the
    determinant of a·I?""",
)
wrong(
    mass_with_bug,
    "wrong_direction",
    swap={"-M * sp.log(a)": "M * sp.log(a)"},
    hint="""For a > 1 the density of z is thinner than that of u. Too much of log|det ∂u/∂z|
    makes the mass smaller, not larger.""",
)
wrong(
    mass_with_bug,
    "a_density_anyway",
    swap={"sp.exp(surplus)": "sp.Integer(1)"},
    hint="""Only a density has mass 1. Write the wrong density as the right one times a constant,
    and integrate.""",
)
wrong(
    mass_with_bug,
    "one_variable_too_many",
    swap={"sp.exp(surplus)": "a ** (M - 1)"},
    hint="""The surplus is the log-determinant of the way back, of M variables, M − 1 times. Which power of a is that, and
    with which sign?""",
)


# ---- paired_difference ---------------------------------------------------------------------------


def paired_difference(first, second):
    difference = second - first
    return difference.mean(), difference.std() / math.sqrt(len(difference))


wrong(
    paired_difference,
    "standard_deviation",
    swap={" / math.sqrt(len(difference))": ""},
    hint="""This is the spread of single seeds. The mean of n seeds is more certain than one
    seed: by which factor?""",
)
wrong(
    paired_difference,
    "unpaired",
    swap={
        "difference.std() / math.sqrt(len(difference))": "((first.var() + second.var()) / len(first)).sqrt()"
    },
    hint="""You treat the two columns as unrelated. A seed that has a hard test set is hard for
    both priors: that part cancels in the difference, if you take the spread of the differences.""",
)
wrong(
    paired_difference,
    "population_standard_deviation",
    swap={".std()": ".std(correction=0)"},
    hint="""You divide by n. The mean was estimated from the same n numbers, which makes them
    look closer than they are: n − 1.""",
)
wrong(
    paired_difference,
    "sign",
    swap={"second - first": "first - second"},
    hint="""The sign is turned round: asked for is second − first, so that a lower NLL of the
    second gives a negative number.""",
)
wrong(
    paired_difference,
    "divided_by_n",
    swap={"math.sqrt(len(difference))": "len(difference)"},
    hint="""Variances of independent numbers add, so the variance of the mean falls like 1/n. And
    its square root?""",
)
wrong(
    paired_difference,
    "variance_for_deviation",
    swap={"difference.std()": "difference.var()"},
    hint="You divide the variance by √n. The standard error is in the unit of the mean, nats.",
)
wrong(
    paired_difference,
    "two_standard_errors",
    swap={"difference.std()": "2 * difference.std()"},
    hint="This is twice the standard error, the length of the bars in the figure. Asked for is one.",
)
wrong(
    paired_difference,
    "one_seed_less_under_the_root",
    swap={"math.sqrt(len(difference))": "math.sqrt(len(difference) - 1)"},
    hint="n − 1 belongs into the standard deviation, where `std` has it already. The mean is one of n numbers.",
)
