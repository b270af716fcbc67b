"""Diffusion with everything known: Gaussian mixtures stay mixtures as noise is added, so their scores are exact.

Time here is the diffusion's own: s = 0 is data, s = 1 is noise. A flow's t runs the other way: t = 1 − s.
Sources: Song et al. 2020, arXiv:2011.13456 (the equation, the probability flow); Ho, Jain, Abbeel 2020,
arXiv:2006.11239 and Kingma, Salimans, Poole, Ho 2021, arXiv:2107.00630 (the bound).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from flowlib.checks import check_size

__all__ = ["DiffusedMixture", "ProbabilityFlow", "VariancePreserving", "diffusion_elbo"]


@dataclass(frozen=True)
class VariancePreserving:
    """dx = −½ β(s) x ds + √β(s) dW with β(s) = beta_min + s (beta_max − beta_min): data to noise, s from 0 to 1.

    Given x at s = 0, x at s is N(α(s) x, σ(s)²) with α = exp(−½ ∫₀ˢ β) and σ² = 1 − α²: data of variance 1 keep it.
    Raises `ValueError` unless 0 < beta_min ≤ beta_max. Source: Song et al. 2020, arXiv:2011.13456, section 3.4.

    >>> schedule = VariancePreserving()
    >>> round(schedule.alpha(0.0), 4), round(schedule.alpha(1.0), 4), schedule.beta(1.0)
    (1.0, 0.0066, 20.0)
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.beta_min <= self.beta_max:
            raise ValueError(f"expected 0 < beta_min ≤ beta_max, got {self.beta_min!r}, {self.beta_max!r}")

    @property
    def _rise(self) -> float:
        return self.beta_max - self.beta_min

    def beta(self, s: float) -> float:
        return self.beta_min + s * self._rise

    def _minus_two_log_alpha(self, s: float) -> float:
        return s * self.beta_min + 0.5 * s**2 * self._rise

    def alpha(self, s: float) -> float:
        return math.exp(-0.5 * self._minus_two_log_alpha(s))

    def sigma(self, s: float) -> float:
        return math.sqrt(-math.expm1(-self._minus_two_log_alpha(s)))

    def time_of(self, snr: float) -> float:
        """The s at which α²/σ² has the value snr > 0."""
        wanted = math.log1p(
            1 / snr
        )  # of −2 log α: a quadratic in s, whose root is taken without cancellation
        return 2 * wanted / (self.beta_min + math.sqrt(self.beta_min**2 + 2 * self._rise * wanted))

    def times(self, steps: int, largest_snr: float = 1e4) -> list[float]:
        """s_1 < … < s_T = 1, T = steps, at which α²/σ² falls from largest_snr by equal factors."""
        smallest = (self.alpha(1.0) / self.sigma(1.0)) ** 2
        shares = [i / (check_size("steps", steps) - 1) for i in range(steps - 1)]
        return [self.time_of(largest_snr ** (1 - share) * smallest**share) for share in shares] + [1.0]


class DiffusedMixture(nn.Module):
    """p_s, what noise makes of the mixture p_0 = Σ_k w_k N(m_k, diag(c_k²)): Σ_k w_k N(α m_k, diag(α² c_k² + σ²)).

    Args:
        means, scales: m and c, both `(K, D)`; scales > 0, broadcast.
        weights: w, `(K,)`, normalized to sum 1; equal without them.
        schedule: gives α(s) and σ(s).

    x is `(*batch, D)`. Raises `ValueError` for other shapes or scales and weights that are not positive.
    Source: Song et al. 2020, arXiv:2011.13456.

    >>> p = DiffusedMixture(torch.tensor([[-1.0], [1.0]]), 0.5)
    >>> p.score(torch.tensor([[-3.0], [3.0]]), 0.2)  # towards the middle
    tensor([[ 4.3236],
            [-4.3236]])
    """

    def __init__(
        self,
        means: Tensor,
        scales: Tensor | float,
        weights: Tensor | None = None,
        schedule: VariancePreserving | None = None,
    ) -> None:
        super().__init__()
        if means.ndim != 2:
            raise ValueError(f"means: expected shape (K, D), got {tuple(means.shape)}")
        weights = torch.ones(len(means), dtype=means.dtype) if weights is None else weights
        if weights.shape != means.shape[:1]:
            raise ValueError(f"weights: expected shape ({len(means)},), got {tuple(weights.shape)}")
        scales = torch.as_tensor(scales, dtype=means.dtype).expand_as(means)
        if not bool((scales > 0).all() and (weights > 0).all()):
            raise ValueError("scales and weights must be positive")
        self.schedule = VariancePreserving() if schedule is None else schedule
        self.register_buffer("means", means)
        self.register_buffer("variances", scales**2)
        self.register_buffer("log_weights", (weights / weights.sum()).log())

    def _components(self, x: Tensor, s: float) -> tuple[Tensor, Tensor, Tensor]:
        """For each component the log of w_k N(x; …) `(*batch, K)`, x − its mean `(*batch, K, D)`, its variance `(K, D)`."""
        alpha, sigma = self.schedule.alpha(s), self.schedule.sigma(s)
        offset = x.unsqueeze(-2) - alpha * self.means
        variances = alpha**2 * self.variances + sigma**2
        log_normal = -0.5 * (offset**2 / variances + variances.log() + math.log(2 * math.pi)).sum(-1)
        return self.log_weights + log_normal, offset, variances

    def log_prob(self, x: Tensor, s: float) -> Tensor:
        """log p_s(x) in nats, `(*batch,)`."""
        return self._components(x, s)[0].logsumexp(-1)

    def score(self, x: Tensor, s: float) -> Tensor:
        """∇ log p_s(x), `(*batch, D)`: components' scores, weighted by how likely each of them made x."""
        log_joint, offset, variances = self._components(x, s)
        return -(log_joint.softmax(-1).unsqueeze(-1) * offset / variances).sum(-2)

    def denoised(self, x: Tensor, s: float) -> Tensor:
        """E[x_0 given x_s = x], `(*batch, D)`: (x + σ² score)/α, Tweedie's formula."""
        return (x + self.schedule.sigma(s) ** 2 * self.score(x, s)) / self.schedule.alpha(s)


class ProbabilityFlow(nn.Module):
    """The velocity of the probability flow, in a flow's time t = 1 − s: v(x, t) = ½ β(s) (x + ∇ log p_s(x)).

    In the diffusion's time it is dx/ds = −½ β(s) (x + score): its paths have at every s the density p_s of the
    noisy ones, without noise. So `Continuous(ProbabilityFlow(p), D)` carries p_1, nearly N(0, I), to p_0.
    Source: Song et al. 2020, arXiv:2011.13456, section 4.3.

    >>> v = ProbabilityFlow(DiffusedMixture(torch.zeros(1, 1), 1.0))  # N(0, 1) is kept as it is
    >>> v(torch.tensor([[2.0]]), 0.5)
    tensor([[0.]])
    """

    def __init__(self, mixture: DiffusedMixture) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, x: Tensor, t: float) -> Tensor:
        s = 1.0 - t
        return 0.5 * self.mixture.schedule.beta(s) * (x + self.mixture.score(x, s))


def diffusion_elbo(mixture: DiffusedMixture, x: Tensor, times: Sequence[float], nodes: int = 64) -> Tensor:
    """The ELBO in nats of diffusion as a hierarchical VAE with latents z_1, …, z_T; x `(B, 1)` → `(B,)`.

    Latent z_i lives at s_i = times[i − 1], with q(z_i given x) = N(α_i x, σ_i²). The decoder p(z_{i−1} given z_i)
    is q(z_{i−1} given z_i, x̂), with x̂ = E[x given z_i] in place of x. Then, with SNR_i = α_i²/σ_i²,

    ELBO = E log N(x; x̂(z_1), 1/SNR_1) − ½ Σ_{i=2}^T (SNR_{i−1} − SNR_i) E |x − x̂(z_i)|² − KL(q(z_T given x) ‖ N(0, 1)).

    It bounds the density of that VAE, and its mean over p_0 bounds the mean of log p_0. Expectations over z_i by
    Gauss–Hermite quadrature with `nodes` nodes. Raises `ValueError` unless D = 1 and 0 < s_1 < … < s_T.
    Sources: Ho et al. 2020, arXiv:2006.11239; Kingma et al. 2021, arXiv:2107.00630.

    >>> p = DiffusedMixture(torch.tensor([[0.0]]).double(), 0.5)
    >>> x = torch.tensor([[0.3]]).double()
    >>> abs(p.log_prob(x, 0.0) - diffusion_elbo(p, x, p.schedule.times(2000))).item() < 0.05
    True
    """
    if x.ndim != 2 or x.shape[-1] != 1:
        raise ValueError(f"x: expected shape (B, 1), got {tuple(x.shape)}")
    if not len(times) or not all(a < b for a, b in pairwise((0.0, *times))):
        raise ValueError(f"times: expected increasing numbers above 0, got {list(times)}")
    points, weights = (x.new_tensor(a) for a in np.polynomial.hermite_e.hermegauss(nodes))
    weights = weights / weights.sum()
    alpha, sigma = mixture.schedule.alpha, mixture.schedule.sigma

    def snr(s: float) -> float:
        return (alpha(s) / sigma(s)) ** 2

    def squared_error(s: float) -> Tensor:
        """E |x − x̂(z)|² over z at s, `(B,)`."""
        z = alpha(s) * x + sigma(s) * points  # (B, nodes)
        return ((x - mixture.denoised(z.unsqueeze(-1), s).squeeze(-1)) ** 2 * weights).sum(-1)

    first, last = times[0], times[-1]
    elbo = -0.5 * (snr(first) * squared_error(first) + math.log(2 * math.pi / snr(first)))
    for before, s in pairwise(times):
        elbo = elbo - 0.5 * (snr(before) - snr(s)) * squared_error(s)
    variance = sigma(last) ** 2
    return elbo - 0.5 * ((alpha(last) * x.squeeze(-1)) ** 2 + variance - 1 - math.log(variance))
