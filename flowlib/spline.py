"""Rational-quadratic splines: increasing maps of single variables with as much shape as one likes, and their flows.

Source: Durkan, Bekasov, Murray, Papamakarios 2019, arXiv:1906.04032 (Neural Spline Flows); the interpolant is
that of Gregory, Delbourgo 1982.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowlib.bases import StandardNormal
from flowlib.checks import check_size
from flowlib.coupling import SplitCoupling
from flowlib.elementwise import Elementwise
from flowlib.flow import Flow
from flowlib.linear import Affine, Permutation
from flowlib.networks import mlp
from flowlib.transform import Transform

__all__ = ["RationalQuadraticSpline", "SplineLayer", "spline_flow"]


class _Bin(NamedTuple):
    """The bin that a point lies in, one for each variable: all `(*batch, D)`."""

    left: Tensor  # u at the bin's left knot
    bottom: Tensor  # x there
    width: Tensor
    height: Tensor
    start: Tensor  # the slope dx/du at the left knot
    end: Tensor  # and at the right knot

    def log_slope(self, xi: Tensor) -> Tensor:
        """log dx/du at the relative position xi ∈ [0, 1] in the bin. Every term is a sum of positive ones."""
        s, inner, rest = self.height / self.width, xi * (1 - xi), 1 - xi
        numerator = self.end * xi**2 + 2 * s * inner + self.start * rest**2
        return 2 * s.log() + numerator.log() - 2 * self.denominator(xi).log()

    def denominator(self, xi: Tensor) -> Tensor:
        # s + (d₀ + d₁ − 2s) ξ(1 − ξ), with 1 − 2ξ(1 − ξ) = ξ² + (1 − ξ)² so that nothing is subtracted.
        s = self.height / self.width
        return s * (xi**2 + (1 - xi) ** 2) + (self.start + self.end) * xi * (1 - xi)


class RationalQuadraticSpline(Elementwise):
    """A monotone spline of K = bins pieces on [−B, B], B = bound, and the identity outside: 3K − 1 parameters.

    With ξ = (u − u_k)/w_k in bin k of width w_k and height h_k, s = h_k/w_k, and slopes d₀, d₁ at its two knots,

    x = x_k + h_k (s ξ² + d₀ ξ(1 − ξ)) / (s + (d₀ + d₁ − 2s) ξ(1 − ξ)).

    Of a variable's parameters the first K become widths and the next K heights, by a softmax scaled to the sum
    2B; the last K − 1 become the slopes at inner knots, min_derivative + softplus(h + c), with c such that h = 0
    gives slope 1. Then all of h = 0 is the identity. At ±B the slope is 1, as in the tails: the map is
    continuously differentiable everywhere, and maps each of [−B, B] and its outside onto itself.

    The inverse solves a quadratic equation. With η = (x − x_k)/h_k and m = d₀(1 − η) − d₁η its discriminant
    is m² + 4s²η(1 − η), a sum that rounding never makes negative; the usual b² − 4ac can be in float32.

    Args:
        bins: K.
        bound: B.
        min_width, min_height: smallest fraction of [−B, B] that a bin may shrink to; times K less than 1.
        min_derivative: smallest slope at an inner knot, less than 1.

    u and x are `(*batch, D)`, h is `(*batch, 3K − 1, D)`. Raises `ValueError` for bad arguments; where u is NaN
    or infinite, so is x.
    Source: Durkan et al. 2019, arXiv:1906.04032, section 3.

    >>> spline = RationalQuadraticSpline(bins=2, bound=1.0)
    >>> h = spline.parameters_of(torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0]))  # K = 2, D = 1: the lower bin is high
    >>> x, log_slope = spline.forward(torch.tensor([[-1.0], [0.0], [5.0]]), h.expand(3, 5, 1))
    >>> x.squeeze(-1)
    tensor([-1.0000,  0.7601,  5.0000])
    """

    def __init__(
        self,
        bins: int = 8,
        bound: float = 3.0,
        *,
        min_width: float = 1e-3,
        min_height: float = 1e-3,
        min_derivative: float = 1e-3,
    ) -> None:
        super().__init__()
        check_size("bins", bins)
        if not (bound > 0 and math.isfinite(bound)):
            raise ValueError(f"bound must be positive and finite, got {bound!r}")
        for name, value in (("min_width", min_width), ("min_height", min_height)):
            if not 0 < value < 1 / bins:
                raise ValueError(f"{name} must be between 0 and 1/bins = {1 / bins:.4g}, got {value!r}")
        if not 0 < min_derivative < 1:
            raise ValueError(f"min_derivative must be between 0 and 1, got {min_derivative!r}")
        self.bins, self.bound, self.size = bins, float(bound), 3 * bins - 1
        self.min_width, self.min_height, self.min_derivative = min_width, min_height, min_derivative

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        inside, bin_ = self._locate(u, h, by=0)
        # A point outside takes the place of the nearer end: it is computed there for nothing, but without NaN.
        xi = (u.clamp(-self.bound, self.bound) - bin_.left) / bin_.width
        s = bin_.height / bin_.width
        share = (s * xi**2 + bin_.start * xi * (1 - xi)) / bin_.denominator(xi)
        return self._with_tails(u, inside, bin_.bottom + bin_.height * share, bin_.log_slope(xi))

    def inverse(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        inside, bin_ = self._locate(x, h, by=1)
        eta = (x.clamp(-self.bound, self.bound) - bin_.bottom) / bin_.height
        s = bin_.height / bin_.width
        m = bin_.start * (1 - eta) - bin_.end * eta
        # The root is 2sη/(2sη + m + √Q). Where m < 0, m + √Q would cancel: there 1 − ξ is found in its place,
        # by the same formula seen from the other end.
        falling = m < 0
        r = torch.where(falling, -m, m) + (m**2 + 4 * s**2 * eta * (1 - eta)).sqrt()
        xi = torch.where(falling, r, 2 * s * eta) / (r + 2 * s * torch.where(falling, 1 - eta, eta))
        return self._with_tails(x, inside, bin_.left + bin_.width * xi, -bin_.log_slope(xi))

    def _with_tails(self, v: Tensor, inside: Tensor, y: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(inside, y, v), torch.where(inside, log_slope, torch.zeros_like(log_slope))

    def _knots(self, raw: Tensor, smallest: float) -> Tensor:
        """K numbers to K + 1 increasing knots from −B to B, along the axis before the last."""
        shares = smallest + (1 - smallest * self.bins) * raw.softmax(-2)
        inner = self.bound * (2 * shares.cumsum(-2)[..., :-1, :] - 1)
        end = torch.full_like(raw[..., :1, :], self.bound)
        return torch.cat([-end, inner, end], dim=-2)

    def _locate(self, v: Tensor, h: Tensor, by: int) -> tuple[Tensor, _Bin]:
        """Where v lies within ±B, and the bin of each: found among the knots of u (by=0) or of x (by=1)."""
        K = self.bins
        if h.shape[-2] != self.size:
            raise ValueError(f"h: expected {self.size} = 3·{K} − 1 parameters, got shape {tuple(h.shape)}")
        knots = (
            self._knots(h[..., :K, :], self.min_width),
            self._knots(h[..., K : 2 * K, :], self.min_height),
        )
        shift = math.log(math.expm1(1 - self.min_derivative))
        inner = self.min_derivative + functional.softplus(h[..., 2 * K :, :] + shift)
        one = torch.ones_like(v).unsqueeze(-2)
        slopes = torch.cat([one, inner, one], dim=-2)
        index = (v.unsqueeze(-2) >= knots[by][..., 1:-1, :]).sum(-2, keepdim=True)

        def at(values: Tensor, k: Tensor) -> Tensor:
            return values.gather(-2, k).squeeze(-2)

        (left, right), (bottom, top) = ((at(k, index), at(k, index + 1)) for k in knots)
        inside = (v >= -self.bound) & (v <= self.bound)
        ends = at(slopes, index), at(slopes, index + 1)
        return inside, _Bin(left, bottom, right - left, top - bottom, *ends)


class SplineLayer(Transform):
    """Each variable through a spline of its own: x_i = τ(u_i; h_i) with learned h `(3K − 1, D)`, 0 at the start.

    log|det ∂x/∂u| = Σ_i log τ′(u_i). It makes any marginals but no dependence: couplings do that. `spline` holds
    further options of `RationalQuadraticSpline`. Raises `ValueError` for D < 1 and for bad options.
    Source: Durkan et al. 2019, arXiv:1906.04032.

    >>> layer = SplineLayer(2, bins=4)  # starts as the identity
    >>> torch.allclose(layer.forward(torch.ones(3, 2))[0], torch.ones(3, 2))
    True
    """

    def __init__(self, D: int, bins: int = 8, bound: float = 3.0, **spline: float) -> None:
        super().__init__(check_size("D", D))
        self.elementwise = RationalQuadraticSpline(bins, bound, **spline)
        self.h = nn.Parameter(torch.zeros(self.elementwise.size, D))

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        x, log_slopes = self.elementwise.forward(u, self.h.expand(*u.shape[:-1], -1, -1))
        return x, log_slopes.sum(-1)

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, log_slopes = self.elementwise.inverse(x, self.h.expand(*x.shape[:-1], -1, -1))
        return u, log_slopes.sum(-1)


def spline_flow(
    D: int,
    num_layers: int,
    hidden: Sequence[int] = (64, 64),
    *,
    bins: int = 8,
    bound: float = 3.0,
    marginals: bool = False,
    dropout: float = 0.0,
    zero_last: bool = True,
    permute: bool = False,
    base: nn.Module | None = None,
    data: Tensor | None = None,
) -> Flow:
    """A flow of spline couplings that keep the first and the last half of the variables by turns.

    Args:
        D: number of variables, at least 2.
        num_layers: number of couplings.
        hidden: widths of the hidden layers of each conditioner.
        bins, bound: of the splines: K and B. Outside ±B a variable is not moved, so B should reach about as far as
            the base and the standardized data do.
        marginals: put a `SplineLayer` before each coupling, so that a single coupling of two variables can already
            make any density: it is the inverse-CDF construction, with splines for the distribution functions.
        dropout, zero_last, permute, base, data: as for `real_nvp`.

    Raises `ValueError` for D < 2 or num_layers < 1.
    Source: Durkan et al. 2019, arXiv:1906.04032.

    >>> flow = spline_flow(2, num_layers=2, bins=16)  # starts as the identity
    >>> u = torch.randn(5, 2)
    >>> torch.allclose(flow.forward(u)[0], u, atol=1e-5)
    True
    """
    check_size("num_layers", num_layers)
    d = check_size("D", D) // 2
    layers: list[nn.Module] = []
    for k in range(num_layers):
        if permute and k > 0:
            layers.append(Permutation(torch.randperm(D)))
        if marginals:
            layers.append(SplineLayer(D, bins, bound))
        spline = RationalQuadraticSpline(bins, bound)
        conditioner = mlp([max(d, 1), *hidden, spline.size * (D - d)], zero_last=zero_last, dropout=dropout)
        layers.append(SplitCoupling(conditioner, D, flip=k % 2 == 1, elementwise=spline))
    if data is not None:
        layers.append(Affine.from_data(data))
    return Flow(StandardNormal(D) if base is None else base, layers)
