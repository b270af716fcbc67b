"""What goes wrong in 04_variational_autoencoder."""

from __future__ import annotations

import math

import sympy as sp
import torch
from torch import nn

import flowlib
from autograder_tests.catalogue import wrong

# ---- reparameterize ------------------------------------------------------------------------------------


def reparameterize(mean, log_std, num_samples):
    noise = torch.randn(num_samples, *mean.shape, dtype=mean.dtype)
    return mean + torch.exp(log_std) * noise


wrong(
    reparameterize,
    "gradient_cut",
    swap={"return mean + torch.exp(log_std) * noise": "return (mean + torch.exp(log_std) * noise).detach()"},
    hint="The draws have the right distribution, but no gradient: they are detached from mean and log_std, "
    "as those of "
    "`sample` are. What must the path from the parameters to z look like?",
)
wrong(
    reparameterize,
    "log_std_taken_for_std",
    swap={"torch.exp(log_std)": "log_std"},
    hint="You scale the noise by log_std itself, which may be negative. It is the logarithm of the standard "
    "deviation.",
)
wrong(
    reparameterize,
    "log_std_taken_for_log_variance",
    swap={"torch.exp(log_std)": "torch.exp(0.5 * log_std)"},
    hint="Half the logarithm is right for a log-variance, which many texts use. Here the logarithm is that "
    "of the "
    "standard deviation.",
)
wrong(
    reparameterize,
    "squared_scale",
    swap={"torch.exp(log_std)": "torch.exp(2 * log_std)"},
    hint="You scale the noise by the variance. A normal variable of standard deviation 1 gets standard "
    "deviation σ when "
    "multiplied by what?",
)
wrong(
    reparameterize,
    "noise_shared_by_examples",
    swap={
        "torch.randn(num_samples, *mean.shape, dtype=mean.dtype)": "torch.randn(num_samples, "
        "*(1,) * (mean.ndim - 1), mean.shape[-1], dtype=mean.dtype)"
    },
    hint="All examples of the batch get the same noise. Their draws must be independent: how many normal "
    "numbers do S "
    "draws for a batch need?",
)
wrong(
    reparameterize,
    "noise_shared_by_samples",
    swap={
        "torch.randn(num_samples, *mean.shape, dtype=mean.dtype)": "torch.randn(mean.shape, "
        "dtype=mean.dtype).expand(num_samples, *mean.shape)"
    },
    hint="The S samples are copies of a single draw. An average over them is no better than one sample.",
)
wrong(
    reparameterize,
    "uniform_noise",
    swap={"torch.randn": "torch.rand"},
    hint="Your noise is uniform on (0, 1). The base of a Gaussian is N(0, 1).",
)
wrong(
    reparameterize,
    "noise_scales_only",
    swap={"mean + torch.exp(log_std) * noise": "(mean + torch.exp(log_std)) * noise"},
    hint="The noise multiplies the mean, too. Set the noise to 0 in your head: what should z be?",
)
wrong(
    reparameterize,
    "mean_scaled_too",
    swap={"mean + torch.exp(log_std) * noise": "torch.exp(log_std) * (mean + noise)"},
    hint="The standard deviation multiplies the mean as well. Which comes first, scaling or shifting the noise?",
)
wrong(
    reparameterize,
    "one_draw_alone",
    swap={"torch.randn(num_samples, *mean.shape, dtype=mean.dtype)": "torch.randn_like(mean)"},
    hint="You draw once for each mean. num_samples draws are wanted, on an axis of their own in front.",
)


# ---- gaussian_kl ---------------------------------------------------------------------------------------


def gaussian_kl(mean_q, std_q, mean_p, std_p):
    return sp.log(std_p / std_q) + (std_q**2 + (mean_q - mean_p) ** 2) / (2 * std_p**2) - sp.Rational(1, 2)


wrong(
    gaussian_kl,
    "direction_reversed",
    swap={
        "std_q": "std_0",
        "std_p": "std_q",
        "std_0": "std_p",
        "(mean_q, std_p, mean_p, std_q)": "(mean_q, std_q, mean_p, std_p)",
    },
    hint="This is KL(p ‖ q). Under which of the two densities is the expectation of log q − log p taken?",
)
wrong(
    gaussian_kl,
    "half_forgotten",
    swap={" - sp.Rational(1, 2)": ""},
    hint="Set q = p: a divergence between equal densities is 0. Yours is 1/2. Which expectation of a square "
    "is missing?",
)
wrong(
    gaussian_kl,
    "sign_flipped",
    swap={"return sp.log": "return -1 * (sp.log", "- sp.Rational(1, 2)": "- sp.Rational(1, 2))"},
    hint="A divergence is never negative, and yours is: you have −KL, the term as it stands in the ELBO.",
)
wrong(
    gaussian_kl,
    "means_ignored",
    swap={"std_q**2 + (mean_q - mean_p) ** 2": "std_q**2"},
    hint="Two Gaussians of equal width at different places get divergence 0. Where do the means enter?",
)
wrong(
    gaussian_kl,
    "standard_normal_prior_only",
    swap={
        "sp.log(std_p / std_q) + (std_q**2 + (mean_q - mean_p) ** 2) / (2 * std_p**2)": "-sp.log(std_q) + "
        "(std_q**2 + mean_q**2) / 2"
    },
    hint="This holds for p = N(0, 1) alone. Here p has a mean and a standard deviation of its own.",
)
wrong(
    gaussian_kl,
    "entropy_for_divergence",
    swap={" - sp.Rational(1, 2)": " + sp.log(std_q) + sp.log(2 * sp.pi) / 2"},
    hint="This is the cross-entropy −E_q[log p]. What does the other half of the integrand, E_q[log q], "
    "contribute?",
)
wrong(
    gaussian_kl,
    "divided_by_variance_of_q",
    swap={"(2 * std_p**2)": "(2 * std_q**2)"},
    hint="The squares are divided by the variance of q. They come from log p(z): whose variance stands in that exponent?",
)
wrong(
    gaussian_kl,
    "log_ratio_upside_down",
    swap={"sp.log(std_p / std_q)": "sp.log(std_q / std_p)"},
    hint="The logarithm has the wrong sign: for a much wider p your divergence is negative. Which of the two densities holds −log std_q?",
)
wrong(
    gaussian_kl,
    "deviation_for_variance",
    swap={"std_q**2": "std_q", "std_p**2": "std_p"},
    hint="Standard deviations stand where squares belong: the second moment of q is a variance plus a square.",
)


# ---- exact_posterior -----------------------------------------------------------------------------------


def exact_posterior(x, W, b, sigma):
    precision = torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W / sigma**2
    cov = torch.linalg.inv(precision)
    mean = (x - b) @ W @ cov / sigma**2
    return mean, cov


wrong(
    exact_posterior,
    "prior_forgotten",
    swap={
        "torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W / sigma**2": "W.T @ W / sigma**2",
        "torch.linalg.inv": "torch.linalg.pinv",
    },
    hint="This is least squares: the likelihood alone. What does the prior N(0, I) add to the quadratic "
    "form in z?",
)
wrong(
    exact_posterior,
    "precision_for_covariance",
    swap={"return mean, cov": "return mean, precision"},
    hint="The matrix you return is the precision: it grows with the information in x. A covariance shrinks.",
)
wrong(
    exact_posterior,
    "sigma_not_squared",
    swap={"W.T @ W / sigma**2": "W.T @ W / sigma", "@ cov / sigma**2": "@ cov / sigma"},
    hint="σ is the decoder's standard deviation. What divides the squared error in the exponent of a "
    "Gaussian?",
)
wrong(
    exact_posterior,
    "offset_forgotten",
    swap={"(x - b) @ W": "x @ W"},
    hint="For x = b the decoder needs no help of z, so the posterior's mean is 0 there. Yours is not.",
)
wrong(
    exact_posterior,
    "noise_variance_forgotten_in_mean",
    swap={"@ cov / sigma**2": "@ cov"},
    hint="Complete the square once more: the linear term in z is Wᵀ(x − b) divided by something.",
)
wrong(
    exact_posterior,
    "latents_taken_for_independent",
    swap={
        "torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W / sigma**2": "torch.eye(W.shape[1], dtype=W.dtype) * "
        "(1 + (W**2).sum() / sigma**2)"
    },
    hint="You treat WᵀW as a number times the identity. Latents that share a pixel are correlated given x.",
)
wrong(
    exact_posterior,
    "sigma_not_squared_in_mean",
    swap={"@ cov / sigma**2": "@ cov / sigma"},
    hint="The linear term divides by the noise's variance. By what do you divide in the mean?",
)
wrong(
    exact_posterior,
    "mean_by_precision",
    swap={"@ W @ cov": "@ W @ precision"},
    hint="You multiply by the precision. The linear term is Σ⁻¹m: how do you get m out of it?",
)
wrong(
    exact_posterior,
    "scaled_by_variance",
    swap={
        "torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W / sigma**2": "sigma**2 * torch.eye(W.shape[1], dtype=W.dtype) + W.T @ W",
        "@ cov / sigma**2": "@ cov",
    },
    hint="The mean is right, the covariance lacks a factor: you multiplied the precision by σ² and did not take it back.",
)
wrong(
    exact_posterior,
    "least_squares",
    swap={"(x - b) @ W @ cov / sigma**2": "(x - b) @ torch.linalg.pinv(W).T"},
    hint="This z fits x best, by least squares. The posterior mean is drawn towards the prior's mean as well: which term does that?",
)


# ---- elbo ----------------------------------------------------------------------------------------------


def elbo(x, prior, decoder, encoder, num_samples=1):
    q = encoder(x)
    z = q.rsample((num_samples,))
    log_w = decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)
    return log_w.mean(0)


wrong(
    elbo,
    "sample_for_rsample",
    swap={"q.rsample": "q.sample"},
    hint="Every value is right and the encoder still learns nothing: `sample` cuts the path from its "
    "parameters to z. "
    "What is left of the gradient is the score of q, which averages to 0.",
)
wrong(
    elbo,
    "kl_sign",
    swap={"+ prior().log_prob(z) - q.log_prob(z)": "- prior().log_prob(z) + q.log_prob(z)"},
    hint="The KL term has the wrong sign: you reward an encoder for leaving the prior. In log w the prior "
    "stands in the "
    "numerator and q in the denominator.",
)
wrong(
    elbo,
    "mean_over_pixels",
    swap={"decoder(z).log_prob(x)": "decoder(z).log_prob(x) / x.shape[-1]"},
    hint="You average over the pixels. Independent pixels multiply their probabilities, so their logarithms "
    "are summed; "
    "a mean weighs the KL term D times too heavily.",
)
wrong(
    elbo,
    "samples_summed",
    swap={"log_w.mean(0)": "log_w.sum(0)"},
    hint="Your result grows with the number of samples. An expectation is estimated by what?",
)
wrong(
    elbo,
    "one_number_for_the_batch",
    swap={"log_w.mean(0)": "log_w.mean()"},
    hint="You average over the examples, too. Each has a bound of its own, shape (*batch,); the loss "
    "averages later.",
)
wrong(
    elbo,
    "averaged_over_examples",
    swap={"log_w.mean(0)": "log_w.mean(-1)"},
    hint="The axis that is averaged is the examples'. `rsample((S,))` puts the samples first.",
)
wrong(
    elbo,
    "logarithm_of_the_mean",
    swap={"log_w.mean(0)": "torch.logsumexp(log_w, 0) - math.log(num_samples)"},
    hint="You take the logarithm of the mean weight: that is the importance-weighted bound. For the ELBO "
    "the mean stands "
    "outside the logarithm.",
)
wrong(
    elbo,
    "prior_dropped",
    swap={" + prior().log_prob(z)": ""},
    hint="Only reconstruction and entropy are left: nothing ties z to the prior, from which `sample` will "
    "draw.",
)
wrong(
    elbo,
    "entropy_dropped",
    swap={" - q.log_prob(z)": ""},
    hint="log q(z given x) is missing. Without it the best q is a spike at the most probable z.",
)
wrong(
    elbo,
    "reconstruction_alone",
    swap={" + prior().log_prob(z) - q.log_prob(z)": ""},
    hint="This is an autoencoder's loss: reconstruction alone. What makes it a bound on log p(x)?",
)
wrong(
    elbo,
    "num_samples_ignored",
    swap={"q.rsample((num_samples,))": "q.rsample((1,))"},
    hint="num_samples changes nothing: the noise in your estimate stays that of one draw.",
)
wrong(
    elbo,
    "closed_form_kl",
    swap={
        "log_w = decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)": "log_w = "
        "decoder(z).log_prob(x)",
        "log_w.mean(0)": "log_w.mean(0) - torch.distributions.kl_divergence(q, prior())",
    },
    hint="A closed-form KL has the right mean, but it exists for a few pairs of distributions only, not for "
    "the flow "
    "priors to come. And its noise does not cancel: with the exact posterior every log-weight is log p(x), "
    "your terms are "
    "not. Which three log-densities make up a log-weight?",
)
wrong(
    elbo,
    "standard_normal_prior_assumed",
    swap={"prior().log_prob(z)": "(-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(-1)"},
    hint="The prior you were given is not used: N(0, I) is written out instead.",
)
wrong(
    elbo,
    "z_from_the_prior",
    swap={"q.rsample((num_samples,))": "prior().sample((num_samples, *q.batch_shape))"},
    hint="You draw z from the prior. The expectation in the ELBO is under q(z given x): whose draws are "
    "they?",
)
wrong(
    elbo,
    "mean_of_q_for_a_draw",
    swap={"q.rsample((num_samples,))": "q.mean.expand(num_samples, *q.mean.shape)"},
    hint="You evaluate the log-weight at the mean of q and draw nothing. The mean of a function is not the "
    "function of the "
    "mean.",
)
wrong(
    elbo,
    "noise_of_correlated_q_rebuilt",
    swap={
        "q.rsample((num_samples,))": "q.mean + q.stddev * torch.randn(num_samples, *q.mean.shape, "
        "dtype=q.mean.dtype)",
        "q.log_prob(z)": "torch.distributions.Independent("
        "torch.distributions.Normal(q.mean, q.stddev), 1).log_prob(z)",
    },
    hint="You rebuild q from its mean and standard deviations. That is q only while its coordinates are "
    "independent: "
    "which of its methods draw and measure for any distribution?",
)
wrong(
    elbo,
    "loss_for_bound",
    swap={"return log_w.mean(0)": "return -log_w.mean(0)"},
    hint="This is minus the bound. The loss gets the minus sign; the ELBO itself lies below log p(x).",
)
wrong(
    elbo,
    "draws_of_its_own",
    swap={
        "prior().log_prob(z) - q.log_prob(z)": "prior().log_prob(other) - q.log_prob(other)",
        "    log_w =": "    other = q.rsample((num_samples,))\n    log_w =",
    },
    hint="Likelihood and KL are taken at different draws. Right on average; but then their noise cannot cancel. Draw z once.",
)
wrong(
    elbo,
    "entropy_detached",
    swap={"- q.log_prob(z)": "- q.log_prob(z).detach()"},
    hint="The value is right, the gradient is not: log q(z given x) is detached, so nothing tells the encoder to stay wide.",
)


# ---- importance_weighted_log_likelihood ----------------------------------------------------------------


def importance_weighted_log_likelihood(x, prior, decoder, encoder, num_samples):
    q = encoder(x)
    chunks = []
    for start in range(0, num_samples, 50):
        size = min(50, num_samples - start)
        z = q.rsample((size,))
        log_w = decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)
        chunks.append(torch.logsumexp(log_w, 0))
    return torch.logsumexp(torch.stack(chunks), 0) - math.log(num_samples)


wrong(
    importance_weighted_log_likelihood,
    "number_of_samples_not_subtracted",
    swap={" - math.log(num_samples)": ""},
    hint="You have the logarithm of the sum of the weights. It grows by log 2 whenever the number of "
    "samples doubles; the "
    "bound is the logarithm of their mean.",
)
wrong(
    importance_weighted_log_likelihood,
    "mean_outside_the_logarithm",
    swap={
        "torch.logsumexp(log_w, 0)": "log_w.sum(0)",
        "torch.logsumexp(torch.stack(chunks), 0) - math.log(num_samples)": "torch.stack(chunks).sum(0) / "
        "num_samples",
    },
    hint="You average the log-weights: that is the ELBO. On which side of the logarithm does the mean stand "
    "here?",
)
wrong(
    importance_weighted_log_likelihood,
    "weights_underflow",
    swap={
        "torch.logsumexp(log_w, 0)": "log_w.exp().sum(0)",
        "torch.logsumexp(torch.stack(chunks), 0) - "
        "math.log(num_samples)": "torch.log(torch.stack(chunks).sum(0) / num_samples)",
    },
    hint="exp(−1000) is 0 in floating point, and its logarithm −∞. Take out the largest log-weight first: "
    "which function "
    "of torch does?",
)
wrong(
    importance_weighted_log_likelihood,
    "chunk_bounds_averaged",
    swap={
        "chunks.append(torch.logsumexp(log_w, 0))": "chunks.append(torch.logsumexp(log_w, 0) - "
        "math.log(size))",
        "torch.logsumexp(torch.stack(chunks), 0) - math.log(num_samples)": "torch.stack(chunks).mean(0)",
    },
    hint="You average the bounds of the chunks: a mean outside the logarithm again, as loose as one chunk "
    "alone. Join the "
    "chunks inside the logarithm.",
)
wrong(
    importance_weighted_log_likelihood,
    "divided_by_chunks",
    swap={"- math.log(num_samples)": "- math.log(len(chunks))"},
    hint="You divide by the number of chunks. How many weights have been added up?",
)
wrong(
    importance_weighted_log_likelihood,
    "rest_dropped",
    swap={"range(0, num_samples, 50)": "range(0, max(50, num_samples // 50 * 50), 50)"},
    hint="When num_samples is no multiple of the chunk, the samples of the last, smaller chunk are never "
    "drawn, but you "
    "divide by all of them.",
)
wrong(
    importance_weighted_log_likelihood,
    "last_chunk_too_long",
    swap={"size = min(50, num_samples - start)": "size = min(50, num_samples)"},
    hint="The last chunk is drawn at full length, so more weights are added up than you divide by.",
)
wrong(
    importance_weighted_log_likelihood,
    "all_samples_at_once",
    swap={
        "range(0, num_samples, 50)": "range(0, num_samples, num_samples)",
        "min(50, num_samples - start)": "num_samples",
    },
    hint="The numbers are right, and 1000 samples of the digits would take 1.5 GB. Nothing forces you to "
    "hold all weights "
    "at once: a sum can be built up in parts.",
)
wrong(
    importance_weighted_log_likelihood,
    "stops_at_one_chunk",
    swap={"    q = encoder(x)": "    num_samples = min(num_samples, 50)\n    q = encoder(x)"},
    hint="However many samples are asked for, you draw one chunk. The noise of the bound must fall as "
    "num_samples grows.",
)
wrong(
    importance_weighted_log_likelihood,
    "one_number_for_the_batch",
    swap={
        "torch.logsumexp(torch.stack(chunks), 0) - "
        "math.log(num_samples)": "(torch.logsumexp(torch.stack(chunks), 0) - math.log(num_samples)).mean()"
    },
    hint="You average over the examples, too. Each has a bound of its own, shape (*batch,).",
)
wrong(
    importance_weighted_log_likelihood,
    "weights_of_examples_added",
    swap={"torch.logsumexp(log_w, 0)": "torch.logsumexp(log_w, -1)"},
    hint="The weights are added up over the examples instead of the samples: `rsample((S,))` puts the "
    "samples first.",
)
wrong(
    importance_weighted_log_likelihood,
    "weights_upside_down",
    swap={
        "decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)": "q.log_prob(z) - "
        "prior().log_prob(z) - "
        "decoder(z).log_prob(x)"
    },
    hint="Your weights are q/p, the wrong way up. Importance sampling divides by the density that was drawn "
    "from.",
)
wrong(
    importance_weighted_log_likelihood,
    "proposal_not_divided_out",
    swap={" - q.log_prob(z)": ""},
    hint="z was drawn from q, so p(x given z) p(z) must be divided by q(z given x): otherwise places that q "
    "prefers count "
    "twice.",
)
wrong(
    importance_weighted_log_likelihood,
    "likelihood_averaged_under_q",
    swap={" + prior().log_prob(z) - q.log_prob(z)": ""},
    hint="The mean of p(x given z) is p(x) when z comes from the prior. Yours comes from q: what corrects "
    "for that?",
)
wrong(
    importance_weighted_log_likelihood,
    "mean_over_pixels",
    swap={"decoder(z).log_prob(x)": "decoder(z).log_prob(x) / x.shape[-1]"},
    hint="You average over the pixels. The probability of an image is the product over its pixels.",
)
wrong(
    importance_weighted_log_likelihood,
    "divided_after_the_logarithm",
    swap={"- math.log(num_samples)": "/ num_samples"},
    hint="You divide the logarithm by S. The mean is inside: what becomes of a division under the logarithm?",
)
wrong(
    importance_weighted_log_likelihood,
    "log_sums_added",
    swap={"torch.logsumexp(torch.stack(chunks), 0)": "torch.stack(chunks).sum(0)"},
    hint="You add the chunks' logarithms, which multiplies their sums. The sums of weights are to be added: how, when you hold their logarithms?",
)
wrong(
    importance_weighted_log_likelihood,
    "largest_term_not_put_back",
    swap={
        "chunks.append(torch.logsumexp(log_w, 0))": "chunks.append(log_w)",
        "torch.logsumexp(torch.stack(chunks), 0) - math.log(num_samples)": (
            "(torch.cat(chunks) - torch.cat(chunks).max(0).values).exp().mean(0).log()"
        ),
    },
    hint="You took the largest term out of the sum and never put it back: what is the logarithm of the sum then short of?",
)
wrong(
    importance_weighted_log_likelihood,
    "chunk_bounds_weighted",
    swap={
        "torch.logsumexp(log_w, 0))": "size * (torch.logsumexp(log_w, 0) - math.log(size)))",
        "torch.logsumexp(torch.stack(chunks), 0) - math.log(num_samples)": "torch.stack(chunks).sum(0) / num_samples",
    },
    hint="You average the bounds of the chunks, each with its size. That is a mean outside the logarithm, of bounds with few samples each.",
)


# ---- VAE -----------------------------------------------------------------------------------------------


class VAE(nn.Module):
    def __init__(self, prior, decoder, encoder):
        super().__init__()
        self.prior = prior
        self.decoder = decoder
        self.encoder = encoder

    def elbo(self, x):
        return flowlib.elbo(x, self.prior, self.decoder, self.encoder)

    def loss(self, x):
        return -self.elbo(x).mean()

    def sample(self, n, mean=False):
        with torch.no_grad():
            p = self.decoder(self.prior().sample((n,)))
            return p.mean if mean else p.sample()


wrong(
    VAE,
    "loss_has_wrong_sign",
    swap={"-self.elbo(x).mean()": "self.elbo(x).mean()"},
    hint="Training minimizes the loss. Minimizing the ELBO itself makes the data as improbable as it can.",
)
wrong(
    VAE,
    "loss_summed_over_batch",
    swap={"-self.elbo(x).mean()": "-self.elbo(x).sum()"},
    hint="Your loss doubles when the batch does, and with it the step that the optimizer takes. Average "
    "over the examples.",
)
wrong(
    VAE,
    "loss_per_example",
    swap={"-self.elbo(x).mean()": "-self.elbo(x)"},
    hint="`backward` needs one number; yours is still one per example.",
)
wrong(
    VAE,
    "elbo_already_averaged",
    swap={"self.encoder)\n": "self.encoder).mean()\n"},
    hint="elbo(x) is one number for the batch. It is one per example, shape (*batch,); only the loss "
    "averages.",
)
wrong(
    VAE,
    "elbo_is_the_loss",
    swap={"return flowlib.elbo": "return -flowlib.elbo", "-self.elbo(x).mean()": "self.elbo(x).mean()"},
    hint="Your loss is right, but `elbo` returns minus the bound. The minus sign belongs to the loss.",
)
wrong(
    VAE,
    "parts_in_a_list",
    swap={
        "self.prior = prior": "self.parts = [prior, decoder, encoder]",
        "        self.decoder = decoder\n": "",
        "        self.encoder = encoder\n": "",
        "self.prior, self.decoder, self.encoder": "*self.parts",
        "self.decoder(self.prior()": "self.parts[1](self.parts[0]()",
    },
    hint="A plain list hides modules from `parameters()`: the optimizer gets nothing to train. What does "
    "nn.Module register?",
)
wrong(
    VAE,
    "prior_not_registered",
    swap={"self.prior = prior": "self.prior = lambda: prior()"},
    hint="The prior is hidden in a function: its parameters are not in `parameters()`. With a learned prior "
    "it would stay "
    "as it was.",
)
wrong(
    VAE,
    "encoder_detached",
    swap={
        "return flowlib.elbo(x, self.prior, self.decoder, self.encoder)": "with torch.no_grad():\n          "
        "  q = "
        "self.encoder(x)\n        return flowlib.elbo(x, self.prior, self.decoder, lambda _: q)"
    },
    hint="The encoder runs without gradient: decoder and prior learn, the encoder does not.",
)
wrong(
    VAE,
    "latents_from_standard_normal",
    code="""
class VAE(nn.Module):
    def __init__(self, prior, decoder, encoder):
        super().__init__()
        self.prior, self.decoder, self.encoder = prior, decoder, encoder

    def elbo(self, x):
        return flowlib.elbo(x, self.prior, self.decoder, self.encoder)

    def loss(self, x):
        return -self.elbo(x).mean()

    def sample(self, n, mean=False):
        with torch.no_grad():
            like = self.prior().sample((n,))
            p = self.decoder(torch.randn_like(like))
            return p.mean if mean else p.sample()
""",
    hint="Latents are drawn from N(0, I), whatever the prior. A VAE with a learned prior draws from that "
    "one.",
)
wrong(
    VAE,
    "samples_are_means",
    swap={"return p.mean if mean else p.sample()": "return p.mean"},
    hint="Your samples are the decoder's means. A draw from p(x) also has the decoder's noise; means are "
    "for looking at.",
)
wrong(
    VAE,
    "mean_ignored",
    swap={"return p.mean if mean else p.sample()": "return p.sample()"},
    hint="mean=True has no effect: the decoder's noise is still added.",
)
wrong(
    VAE,
    "mean_flag_reversed",
    swap={"p.mean if mean else p.sample()": "p.sample() if mean else p.mean"},
    hint="The two cases are exchanged: mean=True draws, and without it you return means.",
)
wrong(
    VAE,
    "one_latent_for_all",
    swap={"self.decoder(self.prior().sample((n,)))": "self.decoder(self.prior().sample().expand(n, -1))"},
    hint="All n samples share one latent. Draw a new z for each x.",
)
wrong(
    VAE,
    "mean_latent_for_a_draw",
    swap={"self.prior().sample((n,))": "self.prior().mean.expand(n, -1)"},
    hint="No latent is drawn: you decode the prior's mean n times. What makes two samples differ?",
)
wrong(
    VAE,
    "prior_called_once",
    code="""
class VAE(nn.Module):
    def __init__(self, prior, decoder, encoder):
        super().__init__()
        self.prior, self.decoder, self.encoder = prior(), decoder, encoder

    def elbo(self, x):
        return flowlib.elbo(x, self.prior, self.decoder, self.encoder)

    def loss(self, x):
        return -self.elbo(x).mean()

    def sample(self, n, mean=False):
        with torch.no_grad():
            p = self.decoder(self.prior.sample((n,)))
            return p.mean if mean else p.sample()
""",
    hint="""You keep the distribution that the prior gave on the first day, and not the prior. Its parameters are not registered, and it does
    not follow them when they are trained.""",
)


# ---- wrong_lines ---------------------------------------------------------------------------------------


def wrong_lines():
    return [2, 5, 7]


wrong(
    wrong_lines,
    "denominator_overlooked",
    swap={"[2, 5, 7]": "[5, 7]"},
    hint="In one line an expectation over z is taken. The factor that was inserted must cancel the density "
    "under which it "
    "is taken: compare them letter by letter.",
)
wrong(
    wrong_lines,
    "reversed_gap_overlooked",
    swap={"[2, 5, 7]": "[2, 7]"},
    hint="One line names the gap. Write log p(x) − L as one expectation: under which density does it stand?",
)
wrong(
    wrong_lines,
    "intractable_taken_for_undefined",
    swap={"[2, 5, 7]": "[2, 5]"},
    hint="One line confuses a number that is hard to compute with one that does not exist.",
)
wrong(
    wrong_lines,
    "tightness_of_many_samples_doubted",
    swap={"[2, 5, 7]": "[2, 5, 7, 8]"},
    hint="Line 8 is right. Section 5 measures it: what happens to the bound as S grows?",
)
wrong(
    wrong_lines,
    "jensen_doubted",
    swap={"[2, 5, 7]": "[2, 3, 5, 7]"},
    hint="Line 3 is right on its own, whatever stands in line 2: the logarithm is concave, so the logarithm "
    "of a mean is "
    "at least the mean of the logarithms.",
)
wrong(
    wrong_lines,
    "only_the_denominator",
    swap={"[2, 5, 7]": "[2]"},
    hint="The denominator is one of several errors. Check the gap and the conclusion, too.",
)
