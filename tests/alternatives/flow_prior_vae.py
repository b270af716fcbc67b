"""Right solutions of 05_flow_prior_vae's exercises, written differently."""

import math
import random
import warnings

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


# %% aggregate_posterior_sample: one draw at a time
def aggregate_posterior_sample(x, encoder, n):
    draws = []
    for _ in range(n):
        i = random.randrange(len(x))
        draws.append(encoder(x[i]).sample())
    return torch.stack(draws)


# %% aggregate_posterior_sample: encodes the data once and draws by hand
def aggregate_posterior_sample(x, encoder, n):
    q = encoder(x)
    pick = torch.multinomial(torch.ones(len(x)), n, replacement=True)
    mean, std = q.mean[pick], q.variance[pick].sqrt()
    return mean + std * torch.randn_like(mean)


# %% aggregate_posterior_sample: as a torch mixture
def aggregate_posterior_sample(x, encoder, n):
    warnings.warn("a mixture of all posteriors", stacklevel=2)
    q = encoder(x)
    even = Categorical(logits=torch.zeros(len(x)))
    with torch.no_grad():
        return MixtureSameFamily(even, q).sample((n,))


# %% aggregate_posterior_sample: numpy picks, rsample draws
def aggregate_posterior_sample(x, encoder, n):
    chosen = np.random.choice(len(x), size=n, replace=True)
    print("examples:", sorted(set(chosen.tolist()))[:5])
    return encoder(x[torch.from_numpy(chosen)]).rsample().detach()


# %% aggregate_posterior_log_prob: loop over examples, logaddexp
def aggregate_posterior_log_prob(z, x, encoder):
    total = torch.full(z.shape[:-1], -math.inf, dtype=z.dtype)
    for example in x:
        total = torch.logaddexp(total, encoder(example).log_prob(z))
    return total - math.log(x.shape[0])


# %% aggregate_posterior_log_prob: torch's mixture
def aggregate_posterior_log_prob(z, x, encoder):
    q = encoder(x)
    return MixtureSameFamily(Categorical(torch.ones(len(x), dtype=z.dtype)), q).log_prob(z)


# %% aggregate_posterior_log_prob: largest term taken out by hand
def aggregate_posterior_log_prob(z, x, encoder):
    table = torch.stack([encoder(x).log_prob(point) for point in z])
    top = table.max(dim=1, keepdim=True).values
    return (top + (table - top).exp().mean(dim=1, keepdim=True).log()).squeeze(1)


# %% GaussianPrior: inherits from flowlib
class GaussianPrior(flowlib.StandardNormal):
    pass


# %% GaussianPrior: multivariate normal, float32
class GaussianPrior(nn.Module):
    def __init__(self, M):
        super().__init__()
        self.covariance = nn.Parameter(torch.eye(M), requires_grad=False)

    def forward(self):
        return MultivariateNormal(torch.zeros(self.covariance.shape[0]), self.covariance)


# %% GaussianPrior: expands a scalar
class GaussianPrior(nn.Module):
    def __init__(self, M):
        super().__init__()
        self.M = M

    def forward(self):
        return Independent(Normal(0.0, 1.0).expand((self.M,)), reinterpreted_batch_ndims=1)


# %% GaussianPrior: a distribution written by hand
class _Standard(torch.distributions.Distribution):
    arg_constraints = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, M):
        super().__init__(event_shape=torch.Size([M]), validate_args=False)

    def log_prob(self, z):
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=-1)

    def sample(self, sample_shape=()):
        return torch.randn(*sample_shape, *self.event_shape)


class GaussianPrior(nn.Module):
    def __init__(self, M):
        super().__init__()
        self.distribution = _Standard(M)

    def forward(self):
        print("a new prior is asked for")
        return self.distribution


# %% MixtureOfGaussiansPrior: inherits from flowlib
class MixtureOfGaussiansPrior(flowlib.MixtureOfGaussians):
    def __init__(self, M, K):
        super().__init__(M, K)


# %% MixtureOfGaussiansPrior: written by hand, loop over components
class _ByHand(torch.distributions.Distribution):
    arg_constraints = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, weights, means, stds):
        self.weights, self.means, self.stds = weights, means, stds
        super().__init__(torch.Size(), means.shape[1:], validate_args=False)

    def log_prob(self, z):
        total = None
        for w, m, s in zip(self.weights, self.means, self.stds, strict=True):
            term = w.log() + Normal(m, s).log_prob(z).sum(-1)
            total = term if total is None else torch.logaddexp(total, term)
        return total

    def sample(self, sample_shape=()):
        with torch.no_grad():
            count = math.prod(sample_shape)
            k = torch.multinomial(self.weights, count, replacement=True)
            z = self.means[k] + self.stds[k] * torch.randn(count, self.means.shape[1], dtype=self.means.dtype)
            return z.reshape(*sample_shape, -1)


class MixtureOfGaussiansPrior(nn.Module):
    def __init__(self, M, K):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(K))
        self.m = nn.Parameter(torch.linspace(-2, 2, K).unsqueeze(1) + 0.1 * torch.randn(K, M))
        self.s = nn.Parameter(torch.zeros(K, M))

    def forward(self):
        return _ByHand(self.w.softmax(-1), self.m, torch.nn.functional.softplus(self.s) + 1e-3)


# %% MixtureOfGaussiansPrior: K - 1 free weights, one tensor of parameters
class MixtureOfGaussiansPrior(nn.Module):
    def __init__(self, M, K):
        super().__init__()
        self.M, self.K = M, K
        start = torch.cat([torch.randn(K * M), torch.zeros(K * M + K - 1)])
        self.theta = nn.Parameter(start)

    def forward(self):
        loc, log_scale, rest = self.theta.split([self.K * self.M, self.K * self.M, self.K - 1])
        logits = torch.cat([rest, rest.new_zeros(1)])
        shape = (self.K, self.M)
        parts = Independent(Normal(loc.reshape(shape), log_scale.reshape(shape).exp()), 1)
        return MixtureSameFamily(Categorical(logits=logits), parts)


# %% MixtureOfGaussiansPrior: full covariance components, warns
class MixtureOfGaussiansPrior(nn.Module):
    def __init__(self, M, K):
        super().__init__()
        self.logits = nn.Parameter(torch.rand(K))
        self.loc = nn.Parameter(2 * torch.rand(K, M) - 1 + torch.arange(K)[:, None])
        self.log_scale = nn.Parameter(torch.zeros(K, M))

    def forward(self):
        warnings.warn("covariances are diagonal", stacklevel=2)
        factor = torch.diag_embed(self.log_scale.exp())
        return MixtureSameFamily(
            Categorical(logits=self.logits), MultivariateNormal(self.loc, scale_tril=factor)
        )


# %% regularizer_terms: numpy sums, expanded logarithms
def regularizer_terms(means, stds):
    N = sp.Integer(len(means))
    cross = sum((m**2 + s**2 + sp.log(2 * sp.pi)) / (2 * N) for m, s in zip(means, stds, strict=True))
    entropy = sp.Rational(1, 2) * (1 + sp.log(2) + sp.log(sp.pi)) + sp.log(sp.prod(stds)) / N
    return [cross, entropy]


# %% regularizer_terms: from the closed form of KL
def regularizer_terms(means, stds):
    def divergence(m, s):
        return (m**2 + s**2 - 1) / 2 - sp.log(s)

    def entropy(s):
        return sp.log(s) + sp.log(2 * sp.pi * sp.exp(1)) / 2

    mean_entropy = sp.simplify(sum(map(entropy, stds)) / len(stds))
    mean_kl = sum(divergence(m, s) for m, s in zip(means, stds, strict=True)) / len(means)
    return mean_kl + mean_entropy, mean_entropy


# %% flow_prior_kl: divergence between two Gaussians
def flow_prior_kl(m, s, a, b):
    scale = sp.sqrt(a**2)  # z = a u + b is N(b, a²)
    return sp.log(scale / s) + (s**2 + (m - b) ** 2) / (2 * scale**2) - sp.Rational(1, 2)


# %% flow_prior_kl: expectations of polynomials
def flow_prior_kl(m, s, a, b):
    z = sp.Symbol("z", real=True)
    log_q = -((z - m) ** 2) / (2 * s**2) - sp.log(s)
    log_p = -(((z - b) / a) ** 2) / 2 - sp.log(sp.Abs(a))
    difference = sp.Poly(sp.expand(log_q - log_p), z)
    moments = [1, m, m**2 + s**2]
    return sum(c * moments[k] for (k,), c in difference.terms())


# %% FlowPrior: the flow's own methods
class _FlowDistribution(torch.distributions.Distribution):
    arg_constraints = {}  # noqa: RUF012 (torch declares it so)

    def __init__(self, flow):
        super().__init__(event_shape=flow.base().event_shape, validate_args=False)
        self.log_prob, self.sample = flow.log_prob, flow.sample


class FlowPrior(nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self):
        return _FlowDistribution(self.flow)


# %% FlowPrior: inherits from flowlib and is chatty
class FlowPrior(flowlib.FlowPrior):
    def forward(self):
        print("flow prior with", sum(p.numel() for p in self.parameters()), "parameters")
        return super().forward()


# %% FlowPrior: as a torch TransformedDistribution
class _AsTransform(torch.distributions.Transform):
    domain = torch.distributions.constraints.real_vector
    codomain = torch.distributions.constraints.real_vector
    bijective = True

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def _call(self, u):
        return self.flow.forward(u)[0]

    def _inverse(self, z):
        return self.flow.inverse(z)[0]

    def log_abs_det_jacobian(self, u, z):
        return -self.flow.inverse(z)[1]


class FlowPrior(nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.T = flow

    def forward(self):
        return TransformedDistribution(self.T.base(), [_AsTransform(self.T)], validate_args=False)


# %% FlowPrior: layer by layer, log-determinants through forward
class _Steps(torch.distributions.Distribution):
    arg_constraints = {}  # noqa: RUF012 (torch declares it so)
    has_rsample = True

    def __init__(self, base, layers):
        self.base, self.layers = base, layers
        super().__init__(torch.Size(), base.event_shape, validate_args=False)

    def log_prob(self, z):
        u = z
        for layer in reversed(self.layers):
            u, _ = layer.inverse(u)
        point, log_p = u, self.base.log_prob(u)
        for layer in self.layers:
            point, log_det = layer(point)
            log_p = log_p - log_det
        return log_p

    def rsample(self, sample_shape=()):
        z = self.base.rsample(torch.Size(sample_shape))
        for layer in self.layers:
            z, _ = layer(z)
        return z

    def sample(self, sample_shape=()):
        return self.rsample(sample_shape).detach()


class FlowPrior(nn.Module):
    def __init__(self, flow):
        super().__init__()
        self.base = flow.base
        self.layers = flow.transformations

    def forward(self):
        warnings.warn("the density goes there and back again", stacklevel=2)
        return _Steps(self.base(), list(self.layers))


# %% repaired_log_prob: asks the base
def repaired_log_prob(z, flow):
    u, log_det = flow.inverse(z)
    return flow.base().log_prob(u) + log_det


# %% repaired_log_prob: shares the log-determinant out
def repaired_log_prob(z, flow):
    u, log_det = flow.inverse(z)
    each = Normal(0.0, 1.0).log_prob(u) + log_det.unsqueeze(-1) / u.shape[-1]
    return torch.einsum("...m->...", each)


# %% mass_with_bug: a power
def mass_with_bug(a, M):
    return a ** (M * (1 - M))


# %% mass_with_bug: by an integral over u
def mass_with_bug(a, M):
    u = sp.Symbol("u", real=True)
    normal = sp.exp(-(u**2) / 2) / sp.sqrt(2 * sp.pi)
    one_variable = sp.integrate(normal, (u, -sp.oo, sp.oo))  # the base's mass: 1
    wrong_factor = sp.prod([a**-M for _ in range(M)])
    volume = a**M
    return sp.simplify(one_variable**M * wrong_factor * volume)


# %% paired_difference: numpy
def paired_difference(first, second):
    d = np.asarray(second) - np.asarray(first)
    return float(d.mean()), float(np.std(d, ddof=1) / np.sqrt(d.size))


# %% paired_difference: plain Python
def paired_difference(first, second):
    d = [float(b - a) for a, b in zip(first, second, strict=True)]
    n, mean = len(d), sum(d) / len(d)
    variance = sum((v - mean) ** 2 for v in d) / (n - 1)
    return [mean, math.sqrt(variance / n)]
