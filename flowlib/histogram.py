"""Start where a table ends: a fixed layer that gives every variable the histogram of its training data.

A table of independent histograms is a strong model of small images. As a layer it is the inverse-CDF construction,
variable by variable: behind it a flow has the dependence alone to learn.
Sources: Chen, Gopinath 2000, "Gaussianization"; Meng, Song, Song, Ermon 2020, arXiv:2003.01941.
"""

import torch
from torch import Tensor

from flowlib.checks import check_size
from flowlib.transform import Transform

__all__ = ["HistogramMarginals"]


class HistogramMarginals(Transform):
    """x_i = F_i⁻¹(Φ(u_i)): a standard normal u_i becomes a variable with histogram density. Nothing to train.

    Φ is the standard normal CDF, F_i the CDF of a density that is constant on K bins of equal width between low and
    high: log|det ∂x/∂u| = Σ_i log φ(u_i) − log f_i(x_i) with f_i = probabilities[k, i] · K/(high − low) in bin k.
    `forward` maps onto (low, high). `inverse` of a point outside gives the end nearer to it and log_det −∞: the
    density is 0 there. At the very ends u is finite, about ±13 in float32.

    Args:
        probabilities: `(K, D)`, positive; each column is normalized to sum 1.
        low, high: the ends, low < high.

    Raises `ValueError` for probabilities of another shape or not positive, and for low ≥ high.

    >>> layer = HistogramMarginals(torch.tensor([[1.0], [3.0]]))  # a quarter of the mass below ½
    >>> layer.forward(torch.zeros(1))[0]  # the median
    tensor([0.6667])
    """

    def __init__(self, probabilities: Tensor, low: float = 0.0, high: float = 1.0) -> None:
        probabilities = torch.as_tensor(probabilities)
        if probabilities.ndim != 2 or 0 in probabilities.shape:
            raise ValueError(f"probabilities: expected shape (K, D), got {tuple(probabilities.shape)}")
        if not bool(((probabilities > 0) & probabilities.isfinite()).all()):
            raise ValueError("probabilities must be positive and finite: give empty bins a pseudo-count")
        if not low < high:
            raise ValueError(f"expected low < high, got {low!r} and {high!r}")
        K, D = probabilities.shape
        super().__init__(D)
        self.low, self.high, self.bins = float(low), float(high), K
        p = probabilities.detach().double()
        p = p / p.sum(0)
        none = torch.zeros(1, D, dtype=p.dtype)
        # Mass below and above each bin, each summed from its own end: 1 − F would lose the digits of a small tail.
        below = torch.cat([none, p.cumsum(0)[:-1]])
        above = torch.cat([p.flip(0).cumsum(0).flip(0)[1:], none])
        for name, value in (("probabilities", p), ("below", below), ("above", above)):
            self.register_buffer(name, value.to(probabilities.dtype))

    @classmethod
    def from_data(
        cls, x: Tensor, bins: int, low: float = 0.0, high: float = 1.0, pseudo_count: float = 0.3
    ) -> "HistogramMarginals":
        """The layer with the histograms of data x `(N, D)` in [low, high]; `pseudo_count` is added to every bin.

        >>> HistogramMarginals.from_data(torch.tensor([[0.1], [0.7]]), bins=2).forward(torch.zeros(1))[0]
        tensor([0.5000])
        """
        check_size("bins", bins)
        if x.ndim != 2 or len(x) == 0:
            raise ValueError(f"x: expected shape (N, D) with N > 0, got {tuple(x.shape)}")
        if not bool(((x >= low) & (x <= high)).all()):
            raise ValueError(f"x: expected values in [{low:g}, {high:g}], got {x.min():g} to {x.max():g}")
        if not pseudo_count > 0:
            raise ValueError(f"pseudo_count must be positive, got {pseudo_count!r}")
        k = ((x - low) / (high - low) * bins).long().clamp(0, bins - 1)
        counts = torch.stack([(k == j).sum(0) for j in range(bins)])
        return cls(counts.to(x.dtype) + pseudo_count, low, high)

    @property
    def width(self) -> float:
        """Of a bin."""
        return (self.high - self.low) / self.bins

    def _of(self, table: Tensor, k: Tensor) -> Tensor:
        """Entry k_i of column i, `(*batch, D)`."""
        return table.flatten()[k * self.D + torch.arange(self.D, device=k.device)]

    def _log_slope(self, u: Tensor, k: Tensor) -> Tensor:
        """log ∂x_i/∂u_i."""
        log_normal = -0.5 * u**2 - 0.5 * torch.log(torch.full((), 2 * torch.pi, dtype=u.dtype))
        return log_normal - (self._of(self.probabilities, k) / self.width).log()

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = torch.special.ndtr(u), torch.special.ndtr(-u)  # Φ(u) and 1 − Φ(u)
        left = u <= 0
        # The bin by whichever tail is the smaller one.
        k = torch.where(
            left,
            (lower.unsqueeze(-2) >= self.below[1:]).sum(-2),
            (upper.unsqueeze(-2) < self.above[:-1]).sum(-2),
        )
        p = self._of(self.probabilities, k)
        share = torch.where(
            left, (lower - self._of(self.below, k)) / p, 1 - (upper - self._of(self.above, k)) / p
        )
        x = self.low + self.width * (k + share.clamp(0, 1))
        return x, self._log_slope(u, k).sum(-1)

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inside = (x >= self.low) & (x <= self.high)
        at = (x.clamp(self.low, self.high) - self.low) / self.width
        k = at.detach().floor().long().clamp(0, self.bins - 1)
        share, p = at - k, self._of(self.probabilities, k)
        lower, upper = self._of(self.below, k) + p * share, self._of(self.above, k) + p * (1 - share)
        smallest = torch.finfo(x.dtype).tiny
        tail = torch.special.ndtri(torch.minimum(lower, upper).clamp_min(smallest))
        u = torch.where(lower <= upper, tail, -tail)
        log_det = -self._log_slope(u, k)
        return u, log_det.masked_fill(~inside, -torch.inf).sum(-1)
