"""Variational autoencoders known in closed form: what the checks of 04 and 05 measure against.

The linear-Gaussian model, W `(D, M)`, b `(D,)`, σ > 0, prior N(m, C) with m = 0 and C = I unless given:

    z ~ N(m, C),  x given z ~ N(Wz + b, σ² I)
    x ~ N(Wm + b, W C Wᵀ + σ² I)
    z given x ~ N(S (C⁻¹m + Wᵀ(x − b)/σ²), S),  S = (C⁻¹ + WᵀW/σ²)⁻¹

With that posterior as encoder every log-weight log p(x given z) + log p(z) − log q(z given x) equals
log p(x), whatever z: ELBO and importance-weighted bound are exact with any number of samples, and no
tolerance for chance is needed.

Builders make modules whose call returns a Distribution with the event on the last axis; all in float64.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, MultivariateNormal, Normal

from autograder_tests.builders import builder, mlp
from autograder_tests.sampling import kolmogorov_smirnov

__all__ = [
    "bernoulli_decoder",
    "constant_encoder",
    "distance_from_standard_normal",
    "gaussian_encoder",
    "lg_decoder",
    "lg_elbo",
    "lg_elbo_gradient",
    "lg_log_evidence",
    "lg_posterior",
    "lg_posterior_moments",
    "lg_prior",
    "small_batches_only",
]


def _double(values: object) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def _diagonal(mean: Tensor, std: Tensor) -> Distribution:
    return Independent(Normal(mean, std, validate_args=False), 1, validate_args=False)


# ---- closed forms, in numpy ----------------------------------------------------------------------


def _prior_moments(M: int, mean: np.ndarray | None, cov: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    m = np.zeros(M) if mean is None else np.asarray(mean, dtype=float)
    return m, np.eye(M) if cov is None else np.asarray(cov, dtype=float)


def lg_log_evidence(
    x: np.ndarray,
    W: np.ndarray,
    b: np.ndarray,
    sigma: float,
    mean: np.ndarray | None = None,
    cov: np.ndarray | None = None,
) -> np.ndarray:
    """log p(x) = log N(x; W·mean + b, W·cov·Wᵀ + σ²I) in nats: x `(*batch, D)` → `(*batch,)`.

    >>> lg_log_evidence(np.zeros((2, 1)), np.array([[1.0]]), np.zeros(1), 1.0)  # N(0; 0, 2) = 1/√(4π)
    array([-1.26551212, -1.26551212])
    """
    W = np.asarray(W, dtype=float)
    D, M = W.shape
    m, C = _prior_moments(M, mean, cov)
    L = np.linalg.cholesky(W @ C @ W.T + sigma**2 * np.eye(D))
    centered = np.asarray(x, dtype=float) - (W @ m + b)
    white = np.linalg.solve(L, centered.reshape(-1, D).T).T.reshape(centered.shape)
    return -0.5 * (white**2).sum(-1) - np.log(np.diag(L)).sum() - 0.5 * D * math.log(2 * math.pi)


def lg_posterior_moments(
    x: np.ndarray,
    W: np.ndarray,
    b: np.ndarray,
    sigma: float,
    mean: np.ndarray | None = None,
    cov: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean `(*batch, M)` and covariance `(M, M)` of z given x `(*batch, D)`; one covariance for all x."""
    W = np.asarray(W, dtype=float)
    m, C = _prior_moments(W.shape[1], mean, cov)
    prior_precision = np.linalg.inv(C)
    S = np.linalg.inv(prior_precision + W.T @ W / sigma**2)
    return (np.asarray(x, dtype=float) - b) @ W @ S / sigma**2 + S @ prior_precision @ m, S


def lg_elbo(
    x: np.ndarray, W: np.ndarray, b: np.ndarray, sigma: float, q_mean: np.ndarray, q_std: np.ndarray
) -> np.ndarray:
    """The exact ELBO in nats of q = N(q_mean, diag(q_std²)) `(*batch, M)`, prior N(0, I): `(*batch,)`.

    E_q log p(x given z) = −(|x − b − W·q_mean|² + Σ_ij W_ij² q_std_j²)/2σ² − D/2·log 2πσ²,
    minus the KL divergence to the prior in closed form.

    >>> x, W, b = np.zeros((1, 1)), np.array([[1.0]]), np.zeros(1)
    >>> lg_elbo(x, W, b, 1.0, np.zeros((1, 1)), np.full((1, 1), np.sqrt(0.5)))  # the posterior: log p(x)
    array([-1.26551212])
    """
    W = np.asarray(W, dtype=float)
    residual = ((x - b - q_mean @ W.T) ** 2).sum(-1) + (q_std**2 * (W**2).sum(0)).sum(-1)
    expected = -0.5 * residual / sigma**2 - 0.5 * len(W) * math.log(2 * math.pi * sigma**2)
    kl = 0.5 * (q_mean**2 + q_std**2 - 1 - 2 * np.log(q_std)).sum(-1)
    return expected - kl


def lg_elbo_gradient(
    x: np.ndarray, W: np.ndarray, b: np.ndarray, sigma: float, q_mean: np.ndarray, q_std: np.ndarray
) -> np.ndarray:
    """Gradient of `lg_elbo` by (q_mean, log q_std) for one x `(D,)`, q_mean and q_std `(M,)`: `(2M,)`."""
    by_mean = W.T @ (x - b - W @ q_mean) / sigma**2 - q_mean
    by_log_std = 1 - q_std**2 * (1 + (W**2).sum(0) / sigma**2)
    return np.concatenate([by_mean, by_log_std])


def distance_from_standard_normal(u: np.ndarray) -> float:
    """How far n draws `(n, D)` are from N(0, I), in units of their standard error.

    The larger of √n × the Kolmogorov-Smirnov distance of any coordinate (see `autograder_tests.sampling`) and, divided by 2.5
    to match its limit, √n × the correlation of any two; inf for constants or NaN.
    """
    n, D = u.shape
    if not np.isfinite(u).all() or np.ptp(u, axis=0).min() == 0:
        return math.inf
    correlation = np.abs(np.corrcoef(u, rowvar=False).reshape(D, D) - np.eye(D)).max()
    return max(kolmogorov_smirnov(u), math.sqrt(n) * float(correlation) / 2.5)


# ---- modules -------------------------------------------------------------------------------------


class _Gaussian(nn.Module):
    """N(mean, cov) as a prior: event_shape (M,), batch_shape ()."""

    def __init__(self, mean: Tensor, cov: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("L", torch.linalg.cholesky(cov))

    def forward(self) -> Distribution:
        return MultivariateNormal(self.mean, scale_tril=self.L, validate_args=False)


class _StandardNormal(nn.Module):
    def __init__(self, M: int) -> None:
        super().__init__()
        self.register_buffer("zeros", torch.zeros(M, dtype=torch.float64))

    def forward(self) -> Distribution:
        return _diagonal(self.zeros, torch.ones_like(self.zeros))


class _LinearDecoder(nn.Module):
    def __init__(self, W: Tensor, b: Tensor, sigma: float) -> None:
        super().__init__()
        self.W, self.b = nn.Parameter(W), nn.Parameter(b)
        self.register_buffer("sigma", _double(sigma))

    def forward(self, z: Tensor) -> Distribution:
        M = self.W.shape[1]
        if z.shape[-1] != M:
            raise ValueError(
                f"the decoder expects a last axis of M = {M}, got a tensor of shape {tuple(z.shape)}"
            )
        mean = z.to(self.W) @ self.W.T + self.b
        return _diagonal(mean, self.sigma.expand_as(mean))


class _ExactPosterior(nn.Module):
    def __init__(self, A: Tensor, c: Tensor, L: Tensor) -> None:
        super().__init__()
        self.A, self.c, self.L = nn.Parameter(A), nn.Parameter(c), nn.Parameter(L)

    def forward(self, x: Tensor) -> Distribution:
        D = self.A.shape[1]
        if x.shape[-1] != D:
            raise ValueError(
                f"the encoder expects a last axis of D = {D}, got a tensor of shape {tuple(x.shape)}"
            )
        return MultivariateNormal(
            x.to(self.A) @ self.A.T + self.c, scale_tril=self.L.tril(), validate_args=False
        )


class _NetEncoder(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Distribution:
        mean, raw = self.net(x).chunk(2, dim=-1)
        # Standard deviations between 0.3 and 1.7: no weight of a sample is out of all proportion.
        return _diagonal(mean, 1 + 0.7 * torch.tanh(raw))


class _ConstantEncoder(nn.Module):
    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        # Alphabetical names: gradients are listed by them, the mean's before the log-std's.
        self.a_mean, self.b_log_std = nn.Parameter(mean), nn.Parameter(std.log())

    def forward(self, x: Tensor) -> Distribution:
        shape = (*x.shape[:-1], len(self.a_mean))
        return _diagonal(self.a_mean.expand(shape), self.b_log_std.exp().expand(shape))


class _NetBernoulli(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=self.net(z), validate_args=False), 1, validate_args=False)


class _SmallBatchesOnly(nn.Module):
    def __init__(self, decoder: nn.Module, limit: int) -> None:
        super().__init__()
        self.decoder, self.limit = decoder, limit

    def forward(self, z: Tensor) -> Distribution:
        asked = math.prod(z.shape[:-1])
        if asked > self.limit:
            raise MemoryError(
                f"the decoder was given {asked} latents at once, there is room for {self.limit}"
            )
        return self.decoder(z)


@builder
def lg_prior(M: int, mean: np.ndarray | None = None, cov: np.ndarray | None = None) -> nn.Module:
    """The prior N(mean, cov) of the linear-Gaussian model, N(0, I) by default; has no parameters."""
    if mean is None and cov is None:
        return _StandardNormal(M)
    m, C = _prior_moments(M, mean, cov)
    return _Gaussian(_double(m), _double(C))


@builder
def lg_decoder(W: np.ndarray, b: np.ndarray, sigma: float) -> nn.Module:
    """p(x given z) = N(Wz + b, σ² I): z `(*batch, M)` → Distribution over `(*batch, D)`; W and b learn."""
    return _LinearDecoder(_double(W), _double(b), sigma)


@builder
def lg_posterior(
    W: np.ndarray, b: np.ndarray, sigma: float, mean: np.ndarray | None = None, cov: np.ndarray | None = None
) -> nn.Module:
    """The linear-Gaussian model's exact posterior as encoder: a correlated Gaussian with parameters A, c, L.

    `mean` and `cov` are those of the prior (an affine flow prior z = a + Lu has mean a and cov LLᵀ).
    """
    W, b = np.asarray(W, dtype=float), np.asarray(b, dtype=float)
    offset, S = lg_posterior_moments(b, W, b, sigma, mean, cov)
    A = S @ W.T / sigma**2
    return _ExactPosterior(_double(A), _double(offset - A @ b), _double(np.linalg.cholesky(S)))


@builder
def gaussian_encoder(M: int, D: int, seed: int) -> nn.Module:
    """An inexact encoder: a random net gives mean and standard deviation (0.3 to 1.7), axis by axis."""
    return _NetEncoder(mlp(D, 2 * M, seed, 0.5))


@builder
def constant_encoder(mean: np.ndarray, std: np.ndarray) -> nn.Module:
    """q(z given x) = N(mean, diag(std²)) for every x; parameters in the order mean `(M,)`, log std `(M,)`."""
    return _ConstantEncoder(_double(mean), _double(std))


@builder
def bernoulli_decoder(M: int, D: int, seed: int) -> nn.Module:
    """p(x given z) of D binary pixels, logits by a random net."""
    return _NetBernoulli(mlp(M, D, seed))


@builder
def small_batches_only(decoder: nn.Module, limit: int) -> nn.Module:
    """`decoder` on a small machine: MemoryError when it is given more than `limit` latents in one call."""
    return _SmallBatchesOnly(decoder, limit)
