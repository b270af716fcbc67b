"""Checks of 04_variational_autoencoder.

Where an answer is exact in spite of its random draws (the linear-Gaussian model with its exact posterior), it
is compared to rounding. Elsewhere an average of many draws is compared with a closed form, and the allowance
is at least six standard errors: a right implementation never fails, a wrong one is far outside.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from autograder_tests import gaussian_vae as exact
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same, show
from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make
from autograder_tests.sampling import LIMIT
from autograder_tests.subject import Subject

ASSIGNMENT = "04_variational_autoencoder"

# ---- what the checks build -----------------------------------------------------------------------------


class _Model(NamedTuple):
    """A linear-Gaussian model; the prior is N(mean, cov), or N(0, I) where they are None."""

    W: np.ndarray
    b: np.ndarray
    sigma: float
    mean: np.ndarray | None = None
    cov: np.ndarray | None = None

    @property
    def prior(self) -> Make:
        return Make("lg_prior", (self.W.shape[1], self.mean, self.cov))

    @property
    def decoder(self) -> Make:
        return Make("lg_decoder", (self.W, self.b, self.sigma))

    @property
    def posterior(self) -> Make:
        return Make("lg_posterior", tuple(self))

    def parts(self) -> tuple[Make, Make, Make]:
        """Prior, decoder and exact encoder: every log-weight is log p(x)."""
        return self.prior, self.decoder, self.posterior

    def log_evidence(self, x: np.ndarray) -> np.ndarray:
        return exact.lg_log_evidence(x, *self)

    def given(self, x: np.ndarray) -> dict:
        return {"x": x, "W": str(show(self.W)), "b": str(show(self.b)), "σ": f"{self.sigma:.3g}"}


def _model(case: Case, D: int, M: int, any_prior: bool = False) -> _Model:
    W, b, sigma = case.normal(D, M), case.normal(D), float(case.uniform(0.5, 1.0))
    if not any_prior:
        return _Model(W, b, sigma)
    A = case.normal(M, M)
    return _Model(W, b, sigma, case.normal(M), A @ A.T + 0.5 * np.eye(M))


def _setting(case: Case) -> tuple[_Model, np.ndarray]:
    """A model with a prior that is not standard, and points `(B, D)`; M > 1, so that latents are correlated."""
    D, M = case.pick((3, 2), (4, 2), (2, 3), (5, 4))
    return _model(case, D, M, any_prior=True), case.normal(case.pick(3, 4, 6), D) * 1.5


def _misfit(case: Case, D: int, M: int) -> tuple[_Model, np.ndarray, np.ndarray, np.ndarray]:
    """A model, one x `(D,)`, and mean and std `(M,)` of an encoder one posterior deviation off."""
    model = _model(case, D, M)
    x = case.normal(D) * 1.5
    mean, S = exact.lg_posterior_moments(x, *model)
    std = np.sqrt(np.diag(S))
    shift = np.where(case.normal(M) > 0, 1.0, -1.0) * case.uniform(0.8, 1.2, M)
    return model, x, mean + shift * std, std * case.uniform(0.6, 0.8, M)


def _average_is(
    values: np.ndarray,
    expected: float,
    what: str,
    given: dict,
    factor: float = 6.0,
    error: float | None = None,
) -> None:
    """The mean of independent `values` is `expected` within six standard errors; `error` is estimated unless known."""
    values = values.astype(float)
    if error is None:
        error = float(values.std(ddof=1)) / math.sqrt(len(values))
    mean, allowed = float(values.mean()), 6 * error + 1e-4 * (1 + abs(expected))
    require(
        abs(mean - expected) <= allowed,  # False for NaN
        what,
        expected=f"{expected:.4f} ± {allowed:.4f} (six standard errors)",
        got=f"{mean:.4f}",
        given=given,
    )


# ---- reparameterize ------------------------------------------------------------------------------------


@check("reparameterize")
def reparameterized_draws_follow_the_normal(subject: Subject, case: Case) -> None:
    """The draws are independent, of mean `mean` and standard deviation exp(log_std), shape (S, *batch, M)."""
    batch, M, S = case.pick((2,), (3,), (2, 2)), case.pick(2, 3), 3000
    mean, log_std = case.normal(*batch, M, scale=2.0), case.uniform(-1.5, 1.0, *batch, M)
    z = subject.array("student:reparameterize", "", mean, log_std, S, seed=case.integer())
    has_shape(z, (S, *batch, M), "reparameterize(mean, log_std, num_samples)", {"num_samples": str(S)})
    noise = (z.astype(float) - mean) / np.exp(log_std)
    require(np.isfinite(noise).all(), "the draws must be finite")
    flat = noise.reshape(S, -1)
    require(
        np.ptp(flat, axis=0).min() > 0 and np.ptp(flat, axis=1).min() > 0,
        "every draw needs noise of its own: in each sample, example and coordinate",
        got="equal noise in several places",
    )
    distance = exact.distance_from_standard_normal(flat)
    require(
        distance < LIMIT,
        "(z − mean)/exp(log_std) does not follow N(0, 1)",
        expected=f"a distance below {LIMIT} standard errors",
        got=f"{distance:.1f}; its mean is {flat.mean():.3f}, its standard deviation {flat.std():.3f}",
        given={"mean": mean, "log_std": log_std},
    )


@check("reparameterize")
def reparameterized_draws_carry_gradient(subject: Subject, case: Case) -> None:
    """∂z/∂mean = 1 and ∂z/∂log_std = z − mean, sample by sample."""
    batch, M, S = case.pick((2,), (3,), ()), case.pick(2, 3), case.pick(3, 1, 5)
    mean, log_std = case.normal(*batch, M), case.uniform(-1.0, 0.5, *batch, M)
    z, (by_mean, by_log_std) = subject.call(
        "student:reparameterize", "", mean, log_std, S, grad=(0, 1), seed=case.integer()
    )
    if not isinstance(z, np.ndarray):
        raise Mismatch("reparameterize must return a tensor", got=describe(z))
    has_shape(z, (S, *batch, M), "reparameterize(mean, log_std, num_samples)", {"num_samples": str(S)})
    tolerance = 1e-3 if z.dtype == np.float32 else 1e-8
    given = {"num_samples": str(S)}
    expected = np.full(mean.size, float(S))
    same(by_mean, expected, "∂(sum of all z)/∂mean", given=given, rtol=tolerance, atol=tolerance)
    moved = (z.astype(float) - mean).sum(0).reshape(-1)
    same(by_log_std, moved, "∂(sum of all z)/∂log_std", given=given, rtol=tolerance, atol=tolerance)


# ---- gaussian_kl ---------------------------------------------------------------------------------------


@check("gaussian_kl")
def kl_of_gaussians(subject: Subject, case: Case) -> None:
    """KL(q ‖ p) of q = N(mean_q, std_q²) and p = N(mean_p, std_p²), at any values."""
    names = ("m", "s", "a", "c")
    symbols = [Make("symbol" if n in "ma" else "positive_symbol", (n,)) for n in names]
    got = subject.call("student:gaussian_kl", "", *symbols)
    if isinstance(got, (int, float)) and not isinstance(got, bool):
        got = Expression(repr(got))
    if not isinstance(got, Expression):
        raise Mismatch("gaussian_kl must return a sympy expression", got=describe(got))
    # The first point is q = N(0, 1), p = N(0, 10²), where the divergence's two directions are far apart.
    points = {
        "m": np.concatenate([[0.0], case.normal(5)]),
        "s": np.concatenate([[1.0], case.uniform(0.3, 3.0, 5)]),
        "a": np.concatenate([[0.0], case.normal(5)]),
        "c": np.concatenate([[10.0], case.uniform(0.3, 3.0, 5)]),
    }
    m, s, a, c = (points[n] for n in names)
    expected = np.log(c / s) + (s**2 + (m - a) ** 2) / (2 * c**2) - 0.5
    given = {"mean_q": m, "std_q": s, "mean_p": a, "std_p": c}
    same(evaluate(got.text, points), expected, "KL(q ‖ p) in nats", given=given, rtol=1e-7, atol=1e-9)


# ---- exact_posterior -----------------------------------------------------------------------------------


def _posterior(subject: Subject, case: Case) -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray], dict]:
    """The student's (mean, cov), the right ones, and what was given."""
    D, M = case.pick((3, 2), (2, 1), (2, 3), (5, 2))
    model, x = _model(case, D, M), case.normal(case.pick(2, 4), D)
    got = subject.pair("student:exact_posterior", "", x, model.W, model.b, model.sigma)
    return list(got), exact.lg_posterior_moments(x, *model), model.given(x)


@check("exact_posterior")
def posterior_covariance_is_exact(subject: Subject, case: Case) -> None:
    """The posterior's covariance (M, M) is the inverse of I + WᵀW/σ², the same for every x."""
    (_, cov), (_, right), given = _posterior(subject, case)
    del given["x"]
    same(cov, right, "covariance", given=given, rtol=1e-8)


@check("exact_posterior")
def posterior_mean_is_exact(subject: Subject, case: Case) -> None:
    """The posterior's mean (*batch, M) maximizes p(x given z) p(z)."""
    (mean, _), (right, _), given = _posterior(subject, case)
    same(mean, right, "mean", given=given, rtol=1e-8)


# ---- elbo ----------------------------------------------------------------------------------------------


@check("elbo")
def elbo_is_exact_for_exact_posterior(subject: Subject, case: Case) -> None:
    """With the exact posterior as encoder, elbo = log p(x) with any number of samples."""
    model, x = _setting(case)
    several = case.pick(3, 2, 7)
    for given, arguments, named in (
        ({"num_samples": "1, its default"}, (), {}),
        ({"num_samples": str(several)}, (several,), {}),
        ({"num_samples": "2, by name"}, (), {"num_samples": 2}),
    ):
        args = (x, *model.parts(), *arguments)
        got = subject.array("student:elbo", "", *args, **named, seed=case.integer())
        given |= model.given(x)
        same(got, model.log_evidence(x), "elbo, in nats", given=given, rtol=1e-7)


@check("elbo")
def elbo_averages_to_closed_form(subject: Subject, case: Case) -> None:
    """With an encoder that is not exact, elbo averages to its closed form, below log p(x)."""
    D, M, S = case.pick((2, 1, 4), (3, 2, 4), (4, 3, 6))
    model, x, mean, std = _misfit(case, D, M)
    rows, encoder = 4000, Make("constant_encoder", (mean, std))
    args = (np.tile(x, (rows, 1)), model.prior, model.decoder, encoder, S)
    got = subject.array("student:elbo", "", *args, seed=case.integer())
    has_shape(got, (rows,), f"elbo of {rows} examples")
    expected = float(exact.lg_elbo(x, model.W, model.b, model.sigma, mean, std))
    given = {
        "log p(x)": f"{float(model.log_evidence(x)):.4f}",
        "x": f"{show(x)}, {rows} times",
        "num_samples": str(S),
        "q(z given x)": f"mean {show(mean)}, std {show(std)}",
    }
    _average_is(got, expected, f"elbo, averaged over {rows} equal examples", given)


@check("elbo")
def elbo_uses_all_samples(subject: Subject, case: Case) -> None:
    """Averaging S samples divides the variance by S."""
    D, M, S = case.pick((2, 1, 10), (3, 2, 12))
    model, x, mean, std = _misfit(case, D, M)
    rows, encoder = 2000, Make("constant_encoder", (mean, std))
    variance = {}
    for num_samples in (1, S):
        args = (np.tile(x, (rows, 1)), model.prior, model.decoder, encoder, num_samples)
        got = subject.array("student:elbo", "", *args, seed=case.integer())
        has_shape(got, (rows,), f"elbo of {rows} examples")
        variance[num_samples] = float(got.astype(float).var())
    ratio = variance[1] / variance[S] if variance[S] > 0 else math.inf
    require(
        S / 1.8 < ratio < S * 1.8,
        f"variance of elbo with 1 sample / with {S} samples",
        expected=f"about {S}",
        got=f"{ratio:.2f}",
    )


@check("elbo")
def elbo_gradient_reaches_the_encoder(subject: Subject, case: Case) -> None:
    """The gradient with respect to the encoder's parameters averages to that of the closed form."""
    D, M = case.pick((2, 1), (3, 2), (4, 3))
    model, x, mean, std = _misfit(case, D, M)
    x = x + 2.0 * model.W.sum(1)  # the encoder is far off: a large gradient to find
    rows, S, calls = 200, 2, 20
    args = (np.tile(x, (rows, 1)), model.prior, model.decoder, Make("constant_encoder", (mean, std)), S)
    gradients = []
    for _ in range(calls):
        value, gradient = subject.call("student:elbo", "", *args, grad=3, seed=case.integer())
        if not isinstance(value, np.ndarray):
            raise Mismatch("elbo must return a tensor", got=describe(value))
        has_shape(value, (rows,), f"elbo of {rows} examples")
        gradients.append(gradient / rows)
    right = exact.lg_elbo_gradient(x, model.W, model.b, model.sigma, mean, std)
    average = np.mean(gradients, axis=0)
    # The standard error is itself estimated from 20 calls: 8 of them are never reached by chance.
    allowed = 8 * np.std(gradients, axis=0, ddof=1) / math.sqrt(calls) + 1e-4 * (1 + np.abs(right))
    require(
        (np.abs(average - right) <= allowed).all(),
        "gradient of elbo with respect to the encoder's (mean, log std), averaged",
        expected=f"{show(right)} ± {show(allowed)}",
        got=show(average),
    )


def _batch_shapes(subject: Subject, case: Case, function: str, sizes: tuple[int, ...]) -> None:
    """Shapes of the answers; and their values, if those of a plain batch `(B, D)` are right (else a check of
    its own says so, and the shapes alone count here)."""
    D, M = case.pick((2, 1), (3, 2))
    model = _model(case, D, M, any_prior=True)
    for num_samples in sizes:
        values_are_right = True
        for batch in ((3,), (), (1,), (case.pick(2, 3), 1, 4)):
            x = case.normal(*batch, D)
            got = subject.array(function, "", x, *model.parts(), num_samples, seed=case.integer())
            what, given = f"the answer for x of shape {x.shape}", {"num_samples": str(num_samples)}
            has_shape(got, batch, what, given)
            require(bool(np.isfinite(got).all()), f"{what} must be finite", got="inf or nan", given=given)
            if batch == (3,):
                values_are_right = np.allclose(got, model.log_evidence(x), rtol=1e-4, atol=1e-4)
            if values_are_right:
                same(got, model.log_evidence(x), what, given=given, rtol=1e-7)


@check("elbo")
def elbo_batch_shapes(subject: Subject, case: Case) -> None:
    """x of any shape (*batch, D) works and gives one number per example, shape (*batch)."""
    _batch_shapes(subject, case, "student:elbo", (1, case.pick(2, 5)))


# ---- importance_weighted_log_likelihood ----------------------------------------------------------------

IWAE = "student:importance_weighted_log_likelihood"


@check("importance_weighted_log_likelihood")
def iwae_is_exact_for_exact_posterior(subject: Subject, case: Case) -> None:
    """With the exact posterior as encoder, the bound is log p(x) with any number of samples."""
    model, x = _setting(case)
    for num_samples in (1, case.pick(7, 3, 64), case.pick(130, 211, 257)):
        got = subject.array(IWAE, "", x, *model.parts(), num_samples, seed=case.integer())
        given = {"num_samples": str(num_samples), **model.given(x)}
        same(got, model.log_evidence(x), "importance-weighted bound, in nats", given=given, rtol=1e-7)


@check("importance_weighted_log_likelihood")
def iwae_weights_average_to_evidence(subject: Subject, case: Case) -> None:
    """The mean stands inside the logarithm: exp of the bound averages to p(x), whatever the encoder."""
    model = _model(case, case.pick(2, 3, 4), 1)
    x = case.normal(len(model.b)) * 1.5
    mean, S = exact.lg_posterior_moments(x, *model)
    # Posterior moved by δ standard deviations: log w = log p(x) + δε − δ²/2, so w has a known variance.
    delta = 1.8
    std = np.sqrt(np.diag(S))
    encoder = Make("constant_encoder", (mean + delta * std, std))
    rows, num_samples = 1000, case.pick(300, 310, 350)
    args = (np.tile(x, (rows, 1)), model.prior, model.decoder, encoder, num_samples)
    got = subject.array(IWAE, "", *args, seed=case.integer())
    has_shape(got, (rows,), f"bound of {rows} examples")
    log_evidence = float(model.log_evidence(x))
    with np.errstate(over="ignore"):
        ratio = np.exp(got.astype(float) - log_evidence)
    error = math.sqrt(math.expm1(delta**2) / (rows * num_samples))
    given = {
        "num_samples": str(num_samples),
        "log p(x)": f"{log_evidence:.4f}",
        "mean bound": f"{got.mean():.4f}",
    }
    what = f"exp(bound − log p(x)), averaged over {rows} equal examples"
    _average_is(ratio, 1.0, what, given, error=error)


@check("importance_weighted_log_likelihood")
def iwae_survives_tiny_likelihoods(subject: Subject, case: Case) -> None:
    """The bound is finite and near log p(x) where p(x) itself underflows to 0."""
    model, x = _setting(case)
    x = x + 60.0 * np.sign(case.normal(len(model.b)))
    got = subject.array(IWAE, "", x, *model.parts(), case.pick(5, 9, 120), seed=case.integer())
    expected = model.log_evidence(x)
    has_shape(got, expected.shape, "importance-weighted bound")
    # Within 2 %: whether the last digits are right is asked elsewhere.
    same(got, expected, "importance-weighted bound, in nats", given=model.given(x), rtol=0.02)


@check("importance_weighted_log_likelihood")
def iwae_memory_is_bounded(subject: Subject, case: Case) -> None:
    """At most 100 samples of the batch are decoded at once."""
    D, M, rows = case.pick((2, 1, 12), (3, 2, 12))
    model, x = _model(case, D, M), case.normal(rows, D)
    decoder = Make("small_batches_only", (model.decoder, 100 * rows))
    for num_samples in (case.pick(1000, 730, 915), 101):
        args = (x, model.prior, decoder, model.posterior, num_samples)
        got = subject.array(IWAE, "", *args, seed=case.integer())
        has_shape(got, (rows,), f"bound of {rows} examples", {"num_samples": str(num_samples)})
        require(np.isfinite(got).all(), "the bound must be finite", got=show(got))


@check("importance_weighted_log_likelihood")
def iwae_uses_all_samples(subject: Subject, case: Case) -> None:
    """80 times as many samples divide the variance of the bound by about 80."""
    model = _model(case, case.pick(2, 3, 4), 1)
    x = case.normal(len(model.b)) * 1.5
    mean, S = exact.lg_posterior_moments(x, *model)
    std = np.sqrt(np.diag(S))
    # Weights of variance 0.4: ten of them are enough for the variance to fall like 1/S.
    args = (model.prior, model.decoder, Make("constant_encoder", (mean + 0.6 * std, std)))
    rows, variance = 600, []
    for num_samples in (10, 800):
        got = subject.array(IWAE, "", np.tile(x, (rows, 1)), *args, num_samples, seed=case.integer())
        has_shape(got, (rows,), f"bound of {rows} examples", {"num_samples": str(num_samples)})
        variance.append(float(got.astype(float).var()))
    ratio = variance[0] / variance[1] if variance[1] > 0 else math.inf
    require(
        40 < ratio < 160,
        "variance of the bound with 10 samples / with 800 samples",
        expected="about 80",
        got=f"{ratio:.1f}",
    )


@check("importance_weighted_log_likelihood")
def iwae_batch_shapes(subject: Subject, case: Case) -> None:
    """x of any shape (*batch, D) works and gives one number per example, shape (*batch)."""
    _batch_shapes(subject, case, IWAE, (case.pick(2, 5), case.pick(120, 104)))


# ---- VAE -----------------------------------------------------------------------------------------------


@check("VAE")
def vae_elbo_is_per_example(subject: Subject, case: Case) -> None:
    """vae.elbo(x) is the ELBO of each example: log p(x) when the encoder is exact."""
    model, x = _setting(case)
    got = subject.array(Make("student:VAE", model.parts()), "elbo", x, seed=case.integer())
    same(got, model.log_evidence(x), "vae.elbo(x), in nats", given=model.given(x), rtol=1e-7)


@check("VAE")
def vae_loss_is_minus_mean_elbo(subject: Subject, case: Case) -> None:
    """vae.loss(x) = −(mean of the ELBO over the batch), one number."""
    model, x = _setting(case)
    got = subject.array(Make("student:VAE", model.parts()), "loss", x, seed=case.integer())
    has_shape(got, (), "vae.loss(x)")
    log_evidence = model.log_evidence(x)
    given = {"elbo": log_evidence}
    same(got, -log_evidence.mean(), "vae.loss(x), in nats", given=given, rtol=1e-7)


@check("VAE")
def vae_trains_all_parts(subject: Subject, case: Case) -> None:
    """Prior, decoder and encoder are registered, and the loss has a gradient for each of their parameters."""
    D, M = case.pick((3, 2), (4, 3))
    prior = Make("perturbed", (Make("reference", ("MixtureOfGaussiansPrior", M, 2)), case.integer()))
    parts = (
        prior,
        Make("bernoulli_decoder", (M, D, case.integer())),
        Make("gaussian_encoder", (M, D, case.integer())),
    )
    x = (case.uniform(0, 1, 8, D) < 0.5).astype(float)
    x[0] = 1.0  # every pixel is on somewhere, so that every weight of the encoder matters
    _, gradient = subject.call(Make("student:VAE", parts), "loss", x, grad="self", seed=case.integer())
    sizes = [2 * M * 2 + 2, (M + 1) * 16 + 17 * D, (D + 1) * 16 + 17 * 2 * M]
    reached = int((gradient != 0).sum())
    require(
        len(gradient) == sum(sizes) and reached == sum(sizes),
        "numbers in vae.parameters(), and how many of them the loss has a gradient for",
        expected=f"{sum(sizes)} and {sum(sizes)} (prior {sizes[0]}, decoder {sizes[1]}, encoder {sizes[2]})",
        got=f"{len(gradient)} and {reached}",
    )


def _white(points: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Points `(n, D)` of N(mean, cov) turned into points of N(0, I)."""
    return np.linalg.solve(np.linalg.cholesky(cov), (points.astype(float) - mean).T).T


def _model_with_visible_latent(case: Case) -> _Model:
    """D > M, latents and noise of like size, a prior that is not standard."""
    D, M = case.pick((2, 1), (3, 2), (4, 2))
    return _model(case, D, M, any_prior=True)


@check("VAE")
def vae_samples_follow_the_model(subject: Subject, case: Case) -> None:
    """vae.sample(n) draws z from the prior, then x from the decoder: n draws (n, D) from p(x)."""
    model, n = _model_with_visible_latent(case), 4000
    x = subject.array(Make("student:VAE", model.parts()), "sample", n, seed=case.integer())
    has_shape(x, (n, len(model.b)), f"vae.sample({n})")
    cov = model.W @ model.cov @ model.W.T + model.sigma**2 * np.eye(len(model.b))
    u = _white(x, model.W @ model.mean + model.b, cov)
    distance = exact.distance_from_standard_normal(u)
    require(
        distance < LIMIT,
        "the samples do not follow p(x) = N(W·mean + b, W·cov·Wᵀ + σ²I), with prior N(mean, cov)",
        expected=f"a distance below {LIMIT} standard errors",
        got=f"{distance:.1f}; standard deviations {show(x.std(axis=0))}, not {show(np.sqrt(np.diag(cov)))}",
    )


@check("VAE")
def vae_sample_means_are_decoder_means(subject: Subject, case: Case) -> None:
    """vae.sample(n, mean=True) draws z from the prior and gives the decoder's means, without its noise."""
    model, n = _model_with_visible_latent(case), 3000
    vae = Make("student:VAE", model.parts())
    x = subject.array(vae, "sample", n, mean=True, seed=case.integer())
    has_shape(x, (n, len(model.b)), f"vae.sample({n}, mean=True)")
    # The decoder's means are Wz + b: z can be read off, and nothing is left over.
    z = np.linalg.lstsq(model.W, (x - model.b).T, rcond=None)[0].T
    left = float(np.abs(z @ model.W.T + model.b - x).max())
    require(
        left < 1e-3,
        "the decoder's mean of a latent z is Wz + b; these points are not of that form",
        expected="a rest of 0",
        got=f"a rest of up to {left:.3g} (the decoder's noise has σ = {model.sigma:.3g})",
    )
    distance = exact.distance_from_standard_normal(_white(z, model.mean, model.cov))
    require(
        distance < LIMIT,
        "the latents behind the means do not follow the prior",
        expected=f"a distance below {LIMIT} standard errors",
        got=f"{distance:.1f}",
    )


# ---- find the error ------------------------------------------------------------------------------------

LINES = range(1, 9)
WRONG = {2, 5, 7}  # q(x given z); the divergence reversed; "no p(x)"


@check("wrong_lines", hidden_runs=1)
def errors_are_found(subject: Subject, case: Case) -> None:
    """Every wrong line is named, and no right one."""
    got = subject.call("student:wrong_lines")
    if isinstance(got, np.ndarray) and got.ndim == 1:
        got = got.tolist()
    if not isinstance(got, list) or not all(isinstance(k, int) and k in LINES for k in got):
        raise Mismatch("wrong_lines() must return a list of line numbers from 1 to 8", got=describe(got))
    missed, blamed = len(WRONG - set(got)), len(set(got) - WRONG)
    require(
        missed == 0 and blamed == 0,
        "not the right set of lines",
        expected="all wrong lines and no right one",
        got=f"wrong lines not named: {missed}; right lines named: {blamed}",
    )
