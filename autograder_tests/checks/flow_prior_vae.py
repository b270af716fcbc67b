"""Checks of 05_flow_prior_vae."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.distributions import Independent, Normal

import flowlib
from autograder_tests import mass
from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same
from autograder_tests.expressions import evaluate
from autograder_tests.gaussian_vae import lg_log_evidence
from autograder_tests.plain import Expression, Make, Plain
from autograder_tests.sampling import follows
from autograder_tests.subject import Local, Subject
from flowlib.linear import Affine

ASSIGNMENT = "05_flow_prior_vae"


# ---- what the checks build -----------------------------------------------------------------------


@builder
def linear_encoder(weight: torch.Tensor, log_std: torch.Tensor) -> nn.Module:
    """q(z given x) = N(W x, diag(exp(V x))²): weight W and log_std V are `(M, D)`, x is `(*batch, D)`."""

    class LinearEncoder(nn.Module):
        def forward(self, x: torch.Tensor) -> Independent:
            x = x.to(weight.dtype)
            return Independent(Normal(x @ weight.T, (x @ log_std.T).exp()), 1)

    return LinearEncoder()


@builder
def latent_flow(M: int, seed: int, standard: bool = False) -> nn.Module:
    """A random flow over M variables whose layers do not commute; base N(0, I), or moved and stretched."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) * 0.4

    base: nn.Module = flowlib.StandardNormal(M)
    if not standard:
        base = flowlib.DiagonalNormal(M)
        with torch.no_grad():
            base.loc.add_(1 + draw(M))
            base.log_scale.add_(draw(M))
    layers: list[nn.Module] = [Affine(draw(M), draw(M).exp())]
    if M > 1:
        for k in range(2):
            net = nn.Sequential(nn.Linear(M, 8), nn.Tanh(), nn.Linear(8, 2 * M)).double()
            with torch.no_grad():
                for p in net.parameters():
                    p.copy_(draw(*p.shape))
            layers += [flowlib.AffineCoupling(net, (torch.arange(M) % 2 == k).double())]
        layers += [flowlib.Permutation([*range(1, M), 0]), Affine(draw(M), draw(M).exp())]
    return flowlib.Flow(base, layers).double()


@builder
def identity_flow(M: int) -> nn.Module:
    """A RealNVP at its identity start."""
    return flowlib.real_nvp(M, num_layers=2, hidden=(8,)).double()


@builder
def affine_flow(shift: torch.Tensor, scale: torch.Tensor) -> nn.Module:
    """z = shift + scale ⊙ u, u ~ N(0, I)."""
    return flowlib.Flow(flowlib.StandardNormal(len(shift)), [Affine(shift, scale)]).double()


# ---- what the checks measure ---------------------------------------------------------------------


def _event(subject: Subject, prior: Make, M: int) -> None:
    """prior() is a distribution over vectors of M numbers, one distribution and not a batch of them."""
    for name, expected in (("event_shape", [M]), ("batch_shape", [])):
        got = subject.call(prior, f"().{name}")
        require(
            got == expected,
            f"{name} of the prior",
            expected=str(tuple(expected)),
            got=str(tuple(got)) if isinstance(got, list) else describe(got),
        )


def _shapes(subject: Subject, prior: Make, case: Case, M: int) -> None:
    """log_prob of (*S, B, M) is (*S, B), row by row; sample(S) is (*S, M)."""
    for batch in ((), (2,), (case.pick(2, 3), 3), (2, 1, 3)):
        z = case.normal(*batch, M)
        got = subject.array(prior, "().log_prob", z)
        has_shape(got, batch, f"log_prob of a z of shape {z.shape}")
        rows = [subject.array(prior, "().log_prob", row[None]).reshape(()) for row in z.reshape(-1, M)]
        same(got.reshape(-1), np.array(rows), f"log_prob of a z of shape {z.shape}, row by row")
        has_shape(subject.array(prior, "().sample", batch), (*batch, M), f"sample({batch})")
    has_shape(subject.array(prior, "().sample"), (M,), "sample()")


def _mass_is_one(
    subject: Subject, what: Make | str, extent: float, method: str = "().log_prob", *args: Plain
) -> None:
    _, points, area = mass.grid(extent)
    mass.has_mass_one(subject.array(what, method, points, *args), points, area)


def _value(answer: Plain, values: dict[str, np.ndarray], what: str) -> np.ndarray:
    """A sympy answer at `values` of its symbols."""
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        answer = Expression(repr(answer))
    if not isinstance(answer, Expression):
        raise Mismatch(f"{what} must be a sympy expression", got=describe(answer))
    return evaluate(answer.text, values)


# ---- aggregate_posterior_sample ------------------------------------------------------------------


class _Examples:
    """N examples x `(N, D)` and an encoder with narrow posteriors far apart: each draw tells whose it is."""

    def __init__(self, case: Case) -> None:
        N, self.M = case.pick(4, 3, 5, 6), case.pick(2, 2, 3)
        D = case.pick(N, N, N + 2)
        while True:
            self.x = np.eye(N) if not case.hidden else case.normal(N, D)
            weight = case.normal(self.M, D, scale=3.0)
            # exp(−4 + …): standard deviations near 0.02, different for each example and variable.
            log_std = np.linalg.lstsq(self.x, -4 + case.normal(N, self.M, scale=0.5), rcond=None)[0].T
            self.mean, self.std = self.x @ weight.T, np.exp(self.x @ log_std.T)
            gaps = np.linalg.norm(self.mean[:, None] - self.mean[None], axis=-1) + 1e9 * np.eye(N)
            if gaps.min() > 30 * self.std.max():
                break
        self.encoder = Make("linear_encoder", (weight, log_std))

    def ask(self, subject: Subject, case: Case, n: int) -> np.ndarray:
        z = subject.array(
            "student:aggregate_posterior_sample", "", self.x, self.encoder, n, seed=case.integer()
        )
        has_shape(
            z, (n, self.M), f"aggregate_posterior_sample(x, encoder, {n})", {"shape of x": str(self.x.shape)}
        )
        return z.astype(float)

    def origin(self, z: np.ndarray) -> np.ndarray:
        """The example whose posterior mean is nearest, `(n,)`."""
        return np.linalg.norm(z[:, None] - self.mean[None], axis=-1).argmin(axis=1)

    def residual(self, z: np.ndarray) -> np.ndarray:
        """(z − mean)/std by the nearest example, `(n, M)`."""
        k = self.origin(z)
        return (z - self.mean[k]) / self.std[k]


@check("aggregate_posterior_sample")
def aggregate_sample_shape(subject: Subject, case: Case) -> None:
    """n draws of M latent variables, whether n is smaller or larger than the number of examples."""
    examples = _Examples(case)
    for n in (1, 2, len(examples.x), len(examples.x) + case.pick(3, 5, 8)):
        examples.ask(subject, case, n)


@check("aggregate_posterior_sample")
def aggregate_draws_come_from_posteriors(subject: Subject, case: Case) -> None:
    """Each draw comes from the posterior of one example, not from an average of posteriors."""
    examples = _Examples(case)
    z = examples.ask(subject, case, case.pick(5, 40))
    far = np.abs(examples.residual(z)).max(axis=1)
    worst = int(far.argmax())
    require(
        far[worst] < 7,
        "a draw that no example's posterior would give",
        expected="within 7 standard deviations of the nearest posterior mean",
        got=f"{far[worst]:.3g} standard deviations",
        given={"draw": z[worst], "nearest posterior mean": examples.mean[examples.origin(z)[worst]]},
    )


@check("aggregate_posterior_sample")
def aggregate_picks_evenly(subject: Subject, case: Case) -> None:
    """Every example is equally likely, in every draw, with replacement."""
    examples = _Examples(case)
    N, n = len(examples.x), 1200
    counts = np.bincount(examples.origin(examples.ask(subject, case, n)), minlength=N)
    # χ² with N − 1 ≤ 5 degrees of freedom exceeds 45 with probability 1e-8.
    require(
        ((counts - n / N) ** 2 / (n / N)).sum() < 45,
        f"how often each example was picked in {n} draws",
        expected=f"about {n / N:.0f} times each",
        got=str(counts),
    )
    first = {int(examples.origin(examples.ask(subject, case, 1))[0]) for _ in range(100)}
    require(
        len(first) == N,
        "a single draw must be able to come from any example",
        expected=f"all {N} examples among 100 single draws",
        got=f"only examples {sorted(first)}",
    )


@check("aggregate_posterior_sample")
def aggregate_keeps_posterior_noise(subject: Subject, case: Case) -> None:
    """Around its posterior mean each draw has that posterior's standard deviation, with noise of its own."""
    examples = _Examples(case)
    n = 1200
    z = examples.ask(subject, case, n)
    require(
        len(np.unique(z.round(12), axis=0)) == n,
        "each draw needs noise of its own",
        expected=f"{n} different draws",
        got=f"{len(np.unique(z.round(12), axis=0))}",
    )
    residual = examples.residual(z)
    for i in range(examples.M):
        follows(residual[:, i], f"(z − mean)/std of variable {i} must be standard normal")
    correlation = np.abs(np.corrcoef(residual.T) - np.eye(examples.M)).max()
    require(
        correlation < 5.5 / math.sqrt(n),
        "the noise of the latent variables must be independent",
        expected=f"correlations below {5.5 / math.sqrt(n):.2f}",
        got=f"{correlation:.2f}",
    )


# ---- aggregate_posterior_log_prob ----------------------------------------------------------------


def _log_prob_setting(case: Case) -> tuple[np.ndarray, Make, Callable[[np.ndarray], np.ndarray]]:
    """x, an encoder, and log q(z) of z `(S, M)` by numpy."""
    N, D, M = case.pick(3, 2, 6), case.pick(2, 3), case.pick(2, 1, 4)
    x, weight, log_std = case.normal(N, D), case.normal(M, D), case.normal(M, D, scale=0.4)
    mean, std = x @ weight.T, np.exp(x @ log_std.T)

    def log_q(z: np.ndarray) -> np.ndarray:
        r = (z[:, None] - mean) / std
        each = (-0.5 * r**2 - np.log(std) - 0.5 * math.log(2 * math.pi)).sum(-1)
        return np.logaddexp.reduce(each, axis=1) - math.log(N)

    return x, Make("linear_encoder", (weight, log_std)), log_q


@check("aggregate_posterior_log_prob")
def aggregate_log_prob_is_a_mixture(subject: Subject, case: Case) -> None:
    """log q(z) = log (1/N) Σ_i q(z given x_i), in nats, one number per z."""
    x, encoder, log_q = _log_prob_setting(case)
    z = case.normal(case.pick(2, 5, 7), encoder.args[0].shape[0], scale=1.5)
    got = subject.array("student:aggregate_posterior_log_prob", "", z, x, encoder)
    same(got, log_q(z), "log q(z)", given={"z": z})


@check("aggregate_posterior_log_prob")
def aggregate_log_prob_does_not_underflow(subject: Subject, case: Case) -> None:
    """Far from every posterior log q(z) is a large negative number, not −∞."""
    x, encoder, log_q = _log_prob_setting(case)
    z = 100 + case.normal(2, encoder.args[0].shape[0])
    got = subject.array("student:aggregate_posterior_log_prob", "", z, x, encoder)
    same(got, log_q(z), "log q(z) far away", given={"z": z})


# ---- GaussianPrior -------------------------------------------------------------------------------


def _gaussian(case: Case) -> tuple[int, Make]:
    M = case.pick(2, 1, 3, 5)
    return M, Make("student:GaussianPrior", (M,))


@check("GaussianPrior")
def gaussian_prior_event(subject: Subject, case: Case) -> None:
    """prior() has event shape (M,) and batch shape ()."""
    M, prior = _gaussian(case)
    _event(subject, prior, M)


@check("GaussianPrior")
def gaussian_prior_log_prob(subject: Subject, case: Case) -> None:
    """log p(z) is the standard normal's, in nats, one number per z."""
    M, prior = _gaussian(case)
    z = case.normal(case.pick(3, 4), M)
    expected = (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(-1)
    same(subject.array(prior, "().log_prob", z), expected, "log_prob", given={"z": z})


@check("GaussianPrior")
def gaussian_prior_samples(subject: Subject, case: Case) -> None:
    """Samples are standard normal, independent in every variable."""
    M, n = case.pick(2, 3, 5), 2000
    prior = Make("student:GaussianPrior", (M,))
    z = subject.array(prior, "().sample", (n,), seed=case.integer())
    has_shape(z, (n, M), f"sample(({n},))")
    for i in range(M):
        follows(z[:, i].astype(float), f"variable {i} of the samples must be standard normal")
    correlation = np.abs(np.corrcoef(z.T) - np.eye(M)).max()
    require(
        correlation < 5.5 / math.sqrt(n),
        "the variables must be independent",
        got=f"correlation {correlation:.2f}",
    )


@check("GaussianPrior")
def gaussian_prior_shapes(subject: Subject, case: Case) -> None:
    """log_prob takes (*S, B, M) to (*S, B), and sample(S) gives (*S, M)."""
    M, prior = _gaussian(case)
    _shapes(subject, prior, case, M)


# ---- MixtureOfGaussiansPrior ---------------------------------------------------------------------


def _mixture(case: Case, M: int, K: int, noise: float = 0.3) -> Make:
    """A student's mixture as training would leave it: noise of that standard deviation on every parameter."""
    return Make("perturbed", (Make("student:MixtureOfGaussiansPrior", (M, K)), case.integer(), noise))


@check("MixtureOfGaussiansPrior")
def mixture_prior_event(subject: Subject, case: Case) -> None:
    """prior() has event shape (M,) and batch shape ()."""
    M, K = case.pick(2, 1, 3), case.pick(4, 2, 5)
    _event(subject, Make("student:MixtureOfGaussiansPrior", (M, K)), M)


@check("MixtureOfGaussiansPrior")
def mixture_prior_integrates_to_one(subject: Subject, case: Case) -> None:
    """The density integrates to 1 over the plane."""
    _mass_is_one(subject, _mixture(case, 2, case.pick(3, 2, 5)), extent=16.0)


@check("MixtureOfGaussiansPrior")
def mixture_of_one_is_gaussian(subject: Subject, case: Case) -> None:
    """With K = 1 the log-density is a quadratic function, with a largest value, whatever values the parameters have."""
    M = case.pick(1, 2, 3)
    direction = case.normal(M)
    t = np.linspace(-2, 2, 5)[:, None]
    for _ in range(6):
        # Wide noise: training can take a parameter anywhere, also where a probability or a width may not go.
        log_prob = subject.array(_mixture(case, M, 1, noise=2.0), "().log_prob", t * direction)
        has_shape(log_prob, (5,), "log_prob of a z of shape " + str((5, M)))
        second = np.diff(log_prob.astype(float), 2)
        require(
            np.ptp(second) < 1e-3 * np.abs(second).max() and second.max() < 0,
            "log_prob along a straight line",
            expected="the same negative second difference everywhere: a parabola",
            got=f"second differences {second}",
        )


@check("MixtureOfGaussiansPrior")
def mixture_components_start_apart(subject: Subject, case: Case) -> None:
    """A new mixture's components differ, so that training can pull them apart."""
    M, K = case.pick(1, 2), case.pick(3, 5)
    prior = Make("student:MixtureOfGaussiansPrior", (M, K))
    _, gradient = subject.call(prior, "().log_prob", case.normal(6, M), grad="self", seed=case.integer())
    # Equal components have equal gradients: one number for all weights, M for the means, M for the widths.
    largest = np.abs(gradient).max(initial=1e-12)
    distinct = len(np.unique((gradient / largest).round(5)))
    require(
        distinct > 2 * M + 1,
        "the components start equal: their gradients are equal, and they stay equal for ever",
        expected=f"{K} components with gradients of their own",
        got="the same gradient for each component",
    )


@check("MixtureOfGaussiansPrior")
def mixture_parameters_are_learned(subject: Subject, case: Case) -> None:
    """Weights, means and standard deviations of all K components receive a gradient."""
    M, K = case.pick(2, 1, 3), case.pick(3, 2, 4)
    _, gradient = subject.call(_mixture(case, M, K), "().log_prob", case.normal(6, M), grad="self")
    moved = int((gradient != 0).sum())
    # K weights that sum to 1 have K − 1 degrees of freedom: both ways to write them are right.
    require(
        moved >= K * (2 * M + 1) - 1,
        f"learnable numbers of a mixture with M = {M}, K = {K} that log_prob depends on",
        expected=f"{K} weights, {K * M} means, {K * M} standard deviations",
        got=f"{moved} numbers with a gradient",
    )


@check("MixtureOfGaussiansPrior")
def mixture_samples_follow_density(subject: Subject, case: Case) -> None:
    """Samples are distributed as log_prob says."""
    # Noise of 0.7: components far enough apart that one sees whether both variables come from the same one.
    prior, n = _mixture(case, 2, case.pick(3, 4, 5), 0.7), 4000
    # One seed for all calls: each call builds the mixture anew, with components drawn at random.
    seed = case.integer()
    z = subject.array(prior, "().sample", (n,), seed=seed)
    has_shape(z, (n, 2), f"sample(({n},))")
    axis, points, _ = mass.grid(16.0, 201)
    log_prob = subject.array(prior, "().log_prob", points, seed=seed).astype(float)
    has_shape(log_prob, (len(points),), f"log_prob of a z of shape {points.shape}")
    # Each grid point stands for the cell around it, so that masses are known between the edges of cells.
    density = np.exp(log_prob - log_prob.max()).reshape(len(axis), len(axis))
    density /= density.sum()
    half = (axis[1] - axis[0]) / 2
    edges = np.append(axis - half, axis[-1] + half)
    quarters = []
    for i in range(2):
        total = np.append(0, np.cumsum(density.sum(1 - i)))
        cdf = lambda v, total=total: np.interp(v, edges, total)  # noqa: E731
        follows(z[:, i], f"variable {i} of the samples against log_prob", cdf)
        quarters.append(np.searchsorted(total, (0.25, 0.5, 0.75)))
    # Marginals do not show whether both variables come from the same component: count in 4 × 4 boxes.
    boxes = [np.digitize(z[:, i], edges[quarters[i]]) for i in range(2)]
    counts = np.bincount(4 * boxes[0] + boxes[1], minlength=16)
    rows = np.add.reduceat(density, np.append(0, quarters[0]), axis=0)
    expected = n * np.add.reduceat(rows, np.append(0, quarters[1]), axis=1).reshape(-1)
    seen = expected > 5  # the χ² approximation needs a few expected counts
    distance = float(((counts - expected)[seen] ** 2 / expected[seen]).sum())
    # 15 degrees of freedom: a right sampler exceeds 65 once in ten million runs.
    require(
        distance < 65,
        "how the two variables of a sample go together, in 4 × 4 boxes, does not follow log_prob",
        expected="χ² below 65",
        got=f"χ² = {distance:.0f}",
    )


@check("MixtureOfGaussiansPrior")
def mixture_prior_shapes(subject: Subject, case: Case) -> None:
    """log_prob takes (*S, B, M) to (*S, B), and sample(S) gives (*S, M), whatever values the parameters have."""
    M = case.pick(2, 1, 3)
    _shapes(subject, _mixture(case, M, case.pick(4, 2, 5), noise=2.0), case, M)


# ---- FlowPrior -----------------------------------------------------------------------------------


def _flow_prior(case: Case, M: int) -> tuple[Make, Make]:
    """The student's prior and the flow that it is made of."""
    flow = Make("latent_flow", (M, case.integer()))
    return Make("student:FlowPrior", (flow,)), flow


@check("FlowPrior")
def flow_prior_event(subject: Subject, case: Case) -> None:
    """prior() has event shape (M,) and batch shape ()."""
    M = case.pick(2, 1, 3)
    _event(subject, _flow_prior(case, M)[0], M)


@check("FlowPrior")
def flow_prior_log_prob(subject: Subject, case: Case) -> None:
    """log p(z) = log p_u(T⁻¹(z)) + log|det ∂u/∂z|, one number per z."""
    M = case.pick(2, 3, 4)
    prior, flow = _flow_prior(case, M)
    z = case.normal(case.pick(3, 5), M)
    same(
        subject.array(prior, "().log_prob", z),
        Local({}).array(flow, "log_prob", z),
        "log_prob",
        given={"z": z},
    )


@check("FlowPrior")
def identity_flow_prior_is_standard(subject: Subject, case: Case) -> None:
    """With an identity flow over N(0, I) the prior is the standard normal."""
    M = case.pick(2, 3, 4)
    z = case.normal(case.pick(3, 5), M)
    got = subject.array(Make("student:FlowPrior", (Make("identity_flow", (M,)),)), "().log_prob", z)
    expected = (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(-1)
    same(got, expected, "log_prob under the identity", given={"z": z}, rtol=1e-12, atol=1e-12)


@check("FlowPrior")
def flow_prior_integrates_to_one(subject: Subject, case: Case) -> None:
    """The density integrates to 1 over the plane."""
    flow, extent = mass.resolved(lambda: _flow_prior(case, 2)[1])
    _mass_is_one(subject, Make("student:FlowPrior", (flow,)), extent)


@check("FlowPrior")
def flow_prior_samples_follow_density(subject: Subject, case: Case) -> None:
    """Samples are distributed as the flow's density says: u from its base, then z = T(u)."""
    M = case.pick(2, 1, 3)
    prior, flow = _flow_prior(case, M)
    n = 2000
    z = subject.array(prior, "().sample", (n,), seed=case.integer())
    has_shape(z, (n, M), f"sample(({n},))")
    # The right inverse takes right samples back to the base, whose quantiles are known.
    here = Local({})
    u, _ = here.pair(flow, "inverse", z.astype(float))
    loc, scale = here.array(flow, "base.loc"), np.exp(here.array(flow, "base.log_scale"))
    for i in range(M):
        follows((u[:, i] - loc[i]) / scale[i], f"T⁻¹(samples), variable {i}, against the base")


@check("FlowPrior")
def affine_flow_prior_keeps_vae_exact(subject: Subject, case: Case) -> None:
    """With an affine flow prior and the exact posterior every sample's log-weight is log p(x)."""
    M, D = case.pick(2, 1, 3), case.pick(3, 2, 4)
    W, b, sigma = case.normal(D, M), case.normal(D), float(case.uniform(0.4, 0.9))
    shift, scale = case.normal(M), np.exp(case.normal(M, scale=0.5))
    moments = (shift, np.diag(scale**2))
    prior = Make("student:FlowPrior", (Make("affine_flow", (shift, scale)),))
    decoder, encoder = Make("lg_decoder", (W, b, sigma)), Make("lg_posterior", (W, b, sigma, *moments))
    x = case.normal(case.pick(2, 4), D)
    got = subject.array(Make("reference", ("VAE", prior, decoder, encoder)), "elbo", x, seed=case.integer())
    same(
        got,
        lg_log_evidence(x, W, b, sigma, *moments),
        "ELBO at the exact posterior, which is log p(x)",
        given={"x": x},
        rtol=1e-8,
        atol=1e-8,
    )


@check("FlowPrior")
def flow_prior_trains_the_flow(subject: Subject, case: Case) -> None:
    """log_prob has a gradient with respect to all parameters of the flow, and to z."""
    M = case.pick(2, 3)
    prior, flow = _flow_prior(case, M)
    z = case.normal(4, M)
    _, (got, to_z) = subject.call(prior, "().log_prob", z, grad=("self", 0))
    _, expected = Local({}).call(flow, "log_prob", z, grad="self")
    require(
        len(got) >= len(expected),
        "prior.parameters() does not list the parameters of the flow",
        expected=f"{len(expected)} numbers",
        got=f"{len(got)} numbers",
    )
    require(
        (got != 0).sum() >= (expected != 0).sum(),
        "parameters of the flow without a gradient",
        expected=f"{(expected != 0).sum()} numbers with a gradient",
        got=f"{(got != 0).sum()}",
    )
    # The encoder learns through z: without this gradient it would not know the prior.
    require((to_z != 0).all(), "log_prob must have a gradient with respect to z", got="zeros")


@check("FlowPrior")
def flow_prior_shapes(subject: Subject, case: Case) -> None:
    """log_prob takes (*S, B, M) to (*S, B), and sample(S) gives (*S, M)."""
    M = case.pick(2, 1, 3)
    _shapes(subject, _flow_prior(case, M)[0], case, M)


# ---- regularizer_terms ---------------------------------------------------------------------------


def _regularizer(subject: Subject, case: Case) -> tuple[list, dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The pair of answers, values of the symbols, and the same as arrays `(N, points)`."""
    N = case.pick(2, 3, 4, 5)
    m, s = case.normal(N, 5), np.exp(case.normal(N, 5, scale=0.5))
    answer = subject.call(
        "student:regularizer_terms", "", Make("symbols", ("m", N)), Make("positive_symbols", ("s", N))
    )
    if not (isinstance(answer, list) and len(answer) == 2):
        raise Mismatch(
            "regularizer_terms must return the pair (cross_entropy, mean_entropy)", got=describe(answer)
        )
    values = {f"m{i + 1}": m[i] for i in range(N)} | {f"s{i + 1}": s[i] for i in range(N)}
    return answer, values, m, s


@check("regularizer_terms")
def cross_entropy_of_the_aggregate(subject: Subject, case: Case) -> None:
    """The first term is the cross-entropy −E[log p(z)] under the aggregate posterior."""
    (answer, _), values, m, s = _regularizer(subject, case)
    expected = 0.5 * math.log(2 * math.pi) + 0.5 * (m**2 + s**2).mean(0)
    same(_value(answer, values, "the cross-entropy"), expected, "the cross-entropy", given=values)


@check("regularizer_terms")
def mean_entropy_of_the_posteriors(subject: Subject, case: Case) -> None:
    """The second term is the mean entropy of the N posteriors."""
    (_, answer), values, _, s = _regularizer(subject, case)
    expected = 0.5 * math.log(2 * math.pi * math.e) + np.log(s).mean(0)
    same(_value(answer, values, "the mean entropy"), expected, "the mean entropy", given=values)


# ---- flow_prior_kl -------------------------------------------------------------------------------


def _kl(subject: Subject, values: dict[str, np.ndarray]) -> None:
    symbols = (
        Make("symbol", ("m",)),
        Make("positive_symbol", ("s",)),
        Make("symbol", ("a",)),
        Make("symbol", ("b",)),
    )
    answer = subject.call("student:flow_prior_kl", "", *symbols)
    m, s, a, b = (values[k] for k in "msab")
    expected = np.log(np.abs(a) / s) + (s**2 + (m - b) ** 2) / (2 * a**2) - 0.5
    same(_value(answer, values, "the divergence"), expected, "KL(q ‖ p_z)", given=values)


@check("flow_prior_kl")
def kl_with_affine_flow_prior(subject: Subject, case: Case) -> None:
    """KL(q ‖ p_z) between N(m, s²) and the density of z = a u + b, for a > 0."""
    _kl(subject, _kl_values(case))


@check("flow_prior_kl")
def kl_with_decreasing_flow(subject: Subject, case: Case) -> None:
    """The same for a < 0: a decreasing map has a density, too."""
    values = _kl_values(case)
    _kl(subject, values | {"a": -values["a"]})


def _kl_values(case: Case) -> dict[str, np.ndarray]:
    n = case.pick(4, 8)
    draw = lambda: np.exp(case.normal(n, scale=0.7))  # noqa: E731
    return {"m": case.normal(n), "s": draw(), "a": draw(), "b": case.normal(n)}


# ---- repaired_log_prob and mass_with_bug ---------------------------------------------------------


@check("repaired_log_prob")
def repaired_value(subject: Subject, case: Case) -> None:
    """The repaired function gives the flow's log-density, one number per z."""
    M = case.pick(2, 3, 4)
    flow = Make("latent_flow", (M, case.integer(), True))
    for z in (case.normal(case.pick(3, 5), M), case.normal(2, 3, M)):
        got = subject.array("student:repaired_log_prob", "", z, flow)
        same(got, Local({}).array(flow, "log_prob", z), "log p(z)", given={"z": z})


@check("repaired_log_prob")
def repaired_mass(subject: Subject, case: Case) -> None:
    """The repaired density integrates to 1 over the plane."""
    flow, extent = mass.resolved(lambda: Make("latent_flow", (2, case.integer(), True)))
    _mass_is_one(subject, "student:repaired_log_prob", extent, "", flow)


@check("mass_with_bug")
def mass_of_the_wrong_density(subject: Subject, case: Case) -> None:
    """What the wrong density integrates to, for z = a u in M dimensions."""
    a = case.uniform(0.4, 2.0, 5)
    for M in (1, 2, case.pick(3, 4, 6)):
        answer = subject.call("student:mass_with_bug", "", Make("positive_symbol", ("a",)), M)
        got = _value(answer, {"a": a}, "the mass")
        same(got, a ** (M - M * M), f"the mass for M = {M}", given={"a": a})


# ---- paired_difference ---------------------------------------------------------------------------


def _paired(subject: Subject, case: Case) -> tuple[np.ndarray, np.ndarray, list[float]]:
    n = case.pick(3, 2, 5, 9)
    first = 23 + case.normal(n)
    second = first - 2 + case.normal(n, scale=0.2)
    answer = subject.call("student:paired_difference", "", first, second)
    if not (isinstance(answer, list) and len(answer) == 2):
        raise Mismatch("paired_difference must return the pair (mean, standard error)", got=describe(answer))
    numbers = [
        np.asarray(v, dtype=float) if isinstance(v, (int, float, np.ndarray)) else None for v in answer
    ]
    if any(v is None or v.size != 1 for v in numbers):
        raise Mismatch("mean and standard error must be one number each", got=describe(answer))
    return first, second, [float(v.reshape(())) for v in numbers]


@check("paired_difference")
def paired_mean(subject: Subject, case: Case) -> None:
    """The first result is the mean over seeds of second − first."""
    first, second, (mean, _) = _paired(subject, case)
    same(
        np.array(mean),
        (second - first).mean(),
        "mean difference",
        given={"first": first, "second": second},
        atol=1e-5,
    )


@check("paired_difference")
def paired_standard_error(subject: Subject, case: Case) -> None:
    """The second result is the standard error of that mean, from the differences themselves."""
    first, second, (_, error) = _paired(subject, case)
    expected = (second - first).std(ddof=1) / math.sqrt(len(first))
    same(np.array(error), expected, "standard error", given={"first": first, "second": second}, atol=1e-5)
