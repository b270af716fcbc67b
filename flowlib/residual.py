"""Residual flows: x = u + g(u) with a contraction g, inverted by iteration."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from flowlib.bases import StandardNormal
from flowlib.checks import check_size
from flowlib.errors import ConvergenceError
from flowlib.flow import Flow
from flowlib.linear import Affine
from flowlib.lipschitz import LipschitzMLP, Sine
from flowlib.transform import Transform

__all__ = [
    "Residual",
    "differentiable_jacobian",
    "fixed_point_inverse",
    "hutchinson_trace",
    "log_det_series",
    "residual_flow",
]

METHODS = ("exact", "series", "roulette")
CONTINUE = 0.5  # Russian roulette: the probability of going on for one more term


def fixed_point_inverse(
    g: Callable[[Tensor], Tensor],
    x: Tensor,
    tolerance: float | None = None,
    max_iterations: int = 5000,
) -> Tensor:
    """The u with u + g(u) = x, `(*batch, D)`, by the iteration u ← x − g(u) from u = x.

    Where g is a contraction, Lip(g) = L < 1, there is one such u, and each step shrinks the error by L at least
    (Banach's fixed-point theorem). One Newton step at the end doubles the correct digits and carries the gradient to
    x and to what g depends on (implicit function theorem); it takes D derivatives of g.

    Args:
        g: maps `(*batch, D)` to `(*batch, D)`, example by example.
        x: floating-point, `(*batch, D)`.
        tolerance: largest change |Δu_i|/(1 + |x_i|) in the last step; ε^(3/4) by default: 6e-6 in float32, 2e-12 in
            float64.
        max_iterations: after which it gives up.

    Raises:
        ConvergenceError: tolerance not reached, or a value not finite: Lip(g) ≥ 1, or x is not finite.

    Source: Behrmann et al. 2018, arXiv:1811.00995, algorithm 1.

    >>> u = fixed_point_inverse(lambda u: 0.5 * torch.tanh(u), torch.tensor([[1.0, -2.0]]))
    >>> u + 0.5 * torch.tanh(u)
    tensor([[ 1., -2.]])
    """
    tolerance = torch.finfo(x.dtype).eps ** 0.75 if tolerance is None else tolerance
    with torch.no_grad():
        u = _iterate(g, x.detach(), tolerance, max_iterations)
    residual = u + g(u) - x
    A = torch.eye(x.shape[-1], dtype=x.dtype) + differentiable_jacobian(g, u).detach()
    try:
        return u - torch.linalg.solve(A, residual.unsqueeze(-1)).squeeze(-1)
    except torch.linalg.LinAlgError:  # cannot happen to a contraction
        raise ConvergenceError(
            "fixed_point_inverse: expected a contraction g, got a singular I + ∂g/∂u"
        ) from None


def _iterate(g: Callable[[Tensor], Tensor], x: Tensor, tolerance: float, max_iterations: int) -> Tensor:
    u, change = x, 0.0
    for _ in range(max_iterations if x.numel() else 0):
        previous, u = u, x - g(u)
        change = ((u - previous).abs() / (1 + x.abs())).max().item()
        if change <= tolerance:
            return u
        if not change < float("inf"):
            break
    if x.numel() == 0:
        return u
    raise ConvergenceError(
        f"fixed_point_inverse: expected a change of at most {tolerance:.1e} within {max_iterations} iterations, "
        f"got {change:.1e}; is the Lipschitz constant of g below 1, and is x finite?"
    )


def differentiable_jacobian(g: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
    """J[…, i, j] = ∂g_i/∂v_j, `(*batch, D, D)`, with gradient to whatever g depends on.

    g maps `(*batch, D)` to `(*batch, D)` example by example. One evaluation and D backward passes, done as one batch.

    >>> differentiable_jacobian(lambda v: v.flip(-1) ** 2, torch.tensor([1.0, 3.0]))
    tensor([[0., 6.],
            [2., 0.]])
    """
    _, rows = _value_and_rows(g, v)
    return rows


def _value_and_rows(g: Callable[[Tensor], Tensor], v: Tensor) -> tuple[Tensor, Tensor]:
    value, pull_back = torch.func.vjp(g, v)
    D = v.shape[-1]
    directions = torch.eye(D, dtype=v.dtype).reshape(D, *[1] * (v.ndim - 1), D).expand(D, *v.shape)
    rows = torch.func.vmap(lambda direction: pull_back(direction)[0])(directions)
    return value, rows.movedim(0, -2)


def hutchinson_trace(product: Callable[[Tensor], Tensor], noise: Tensor) -> Tensor:
    """Estimates tr A by the mean of nᵀAn over noise vectors n of mean 0 and covariance I, `(*batch,)`.

    product maps n to An or to Aᵀn, `(S, *batch, D)` to the same shape; noise holds S vectors an example. A itself is
    never formed. Source: Hutchinson 1990, Communications in Statistics 19(2).

    >>> A = torch.tensor([[3.0, 1.0], [2.0, 5.0]])
    >>> signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    >>> hutchinson_trace(lambda n: n @ A, signs)
    tensor(8.)
    """
    return (noise * product(noise)).sum(-1).mean(0)


def log_det_series(
    product: Callable[[Tensor], Tensor], noise: Tensor, terms: int, weights: Sequence[float] | None = None
) -> Tensor:
    """log det(I + A) ≈ Σ_{k=1}^{terms} w_k (−1)^{k+1}/k · tr Aᵏ, traces by Hutchinson's estimator, `(*batch,)`.

    All terms use the same noise `(S, *batch, D)`, so that each costs one more product. Without weights (w_k = 1) the
    expected error is at most D · L^(terms+1)/((terms + 1)(1 − L)), where L < 1 is the spectral norm of A.
    Source: Behrmann et al. 2018, arXiv:1811.00995. Raises `ValueError` for terms < 1.

    >>> signs = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    >>> log_det_series(lambda n: 0.5 * n, signs, terms=40).exp()  # det(1.5 I)
    tensor(2.2500, dtype=torch.float64)
    """
    check_size("terms", terms)
    weights = [1.0] * terms if weights is None else weights
    power, total = noise, 0.0
    for k, weight in zip(range(1, terms + 1), weights, strict=True):
        power = product(power)
        total = total + weight * (-1) ** (k + 1) / k * (noise * power).sum(-1).mean(0)
    return total


def _roulette(always: int) -> list[float]:
    """Weights 1/P(term k is computed): `always` terms are, and each further one with probability `CONTINUE`."""
    further = int(torch.empty(()).geometric_(1 - CONTINUE).item())  # P(further ≥ j) = CONTINUE^(j − 1)
    return [1.0] * always + [CONTINUE ** -(j - 1) for j in range(1, further + 1)]


class Residual(Transform):
    """x = u + g(u), log|det ∂x/∂u| = log det(I + ∂g/∂u), for a contraction g: Lip(g) < 1.

    `forward` is one evaluation of g, `inverse` a fixed-point iteration of many (`fixed_point_inverse`). Training by
    maximum likelihood runs `inverse` only: `inverse_is_residual=True` makes that the cheap one, u = x + g(x), and
    sampling the iteration. Either way the layer has the same kind of Jacobian, determinant positive.

    Args:
        net: the contraction, `(*batch, D)` → `(*batch, D)`; usually a `LipschitzMLP`, whose weights are normalized
            once a call. That any other module contracts is the caller's promise: where it is broken, the iteration
            finds out and raises.
        D: number of variables.
        inverse_is_residual: which direction is the residual map; False: `forward`.
        log_det: "exact": the D × D Jacobian by D backward passes, O(D³) for its determinant. "series": `terms` terms
            of the power series, traces by Hutchinson's estimator: unbiased for the truncated series, so biased.
            "roulette": `terms` terms always, and a random number of further ones, weighted such that the whole
            series is estimated without bias. The attribute `log_det_method` may be changed between training and
            evaluation.
        terms: see `log_det`.
        samples: noise vectors (random signs) per example and call.
        tolerance, max_iterations: of the iteration.

    Raises `ValueError` for a `LipschitzMLP` with coefficient 1 or more, an unknown `log_det`, bad sizes;
    `ConvergenceError` where the iteration fails.
    Source: Behrmann et al. 2018, arXiv:1811.00995; Chen et al. 2019, arXiv:1906.02735 (roulette).

    >>> layer = Residual(LipschitzMLP([2, 16, 2], coefficient=0.8), D=2).eval()
    >>> u = torch.randn(5, 2)
    >>> x, log_det = layer.forward(u)
    >>> torch.allclose(layer.inverse(x)[0], u, atol=1e-5)
    True
    """

    def __init__(
        self,
        net: nn.Module,
        D: int,
        *,
        inverse_is_residual: bool = False,
        log_det: str = "exact",
        terms: int = 10,
        samples: int = 1,
        tolerance: float | None = None,
        max_iterations: int = 5000,
    ) -> None:
        super().__init__(check_size("D", D))
        if log_det not in METHODS:
            raise ValueError(f"log_det must be one of {', '.join(METHODS)}, got {log_det!r}")
        if isinstance(net, LipschitzMLP) and net.coefficient >= 1:
            raise ValueError(f"net: expected a Lipschitz coefficient below 1, got {net.coefficient:g}")
        self.net = net
        self.inverse_is_residual = inverse_is_residual
        self.log_det_method = log_det
        self.terms, self.samples = check_size("terms", terms), check_size("samples", samples)
        self.tolerance, self.max_iterations = tolerance, check_size("max_iterations", max_iterations)

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self._solve(u) if self.inverse_is_residual else self._residual(u)

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._residual(x) if self.inverse_is_residual else self._solve(x)

    def _frozen(self) -> Callable[[Tensor], Tensor]:
        return self.net.frozen() if isinstance(self.net, LipschitzMLP) else self.net

    def _residual(self, v: Tensor) -> tuple[Tensor, Tensor]:
        value, log_det = self._value_and_log_det(self._frozen(), v)
        return v + value, log_det

    def _solve(self, w: Tensor) -> tuple[Tensor, Tensor]:
        g = self._frozen()
        v = fixed_point_inverse(g, w, self.tolerance, self.max_iterations)
        return v, -self._value_and_log_det(g, v)[1]

    def _value_and_log_det(self, g: Callable[[Tensor], Tensor], v: Tensor) -> tuple[Tensor, Tensor]:
        if self.log_det_method == "exact":
            value, J = _value_and_rows(g, v)
            return value, torch.linalg.slogdet(torch.eye(v.shape[-1], dtype=v.dtype) + J)[1]
        weights = _roulette(self.terms) if self.log_det_method == "roulette" else [1.0] * self.terms
        signs = torch.empty(self.samples, *v.shape, dtype=v.dtype).bernoulli_(0.5) * 2 - 1
        values, pull_back = torch.func.vjp(g, v.expand_as(signs))
        return values[0], log_det_series(lambda n: pull_back(n)[0], signs, len(weights), weights)


def residual_flow(
    D: int,
    num_layers: int,
    hidden: Sequence[int] = (64,),
    *,
    coefficient: float = 0.97,
    activation: Callable[[], nn.Module] = Sine,
    input_coefficient: float | None = 4.0,
    inverse_is_residual: bool = True,
    log_det: str = "exact",
    terms: int = 10,
    base: nn.Module | None = None,
    data: Tensor | None = None,
) -> Flow:
    """A flow of residual layers; by default the density is the cheap direction, u = x + g(x) in each.

    Args:
        D: number of variables.
        num_layers: number of residual layers.
        hidden: widths of the hidden layers of each contraction, at least one.
        coefficient: Lipschitz constant of each g, in (0, 1). A layer stretches by at most 1 + coefficient and shrinks
            to at least 1 − coefficient in its residual direction.
        activation, input_coefficient: see `LipschitzMLP`.
        inverse_is_residual, log_det, terms: see `Residual`.
        base: base distribution; the standard normal by default.
        data: training data `(N, D)`; the flow ends with a fixed layer with their mean and standard deviation.

    Raises `ValueError` for num_layers < 1 or a coefficient outside (0, 1).
    Source: Behrmann et al. 2018, arXiv:1811.00995; Chen et al. 2019, arXiv:1906.02735.

    >>> flow = residual_flow(2, num_layers=2, hidden=(16,)).eval()
    >>> flow.log_prob(torch.zeros(3, 2)).shape
    torch.Size([3])
    """
    if not 0 < coefficient < 1:
        raise ValueError(f"coefficient must lie between 0 and 1, got {coefficient!r}")
    layers: list[nn.Module] = [
        Residual(
            LipschitzMLP([D, *hidden, D], coefficient, activation, input_coefficient),
            D,
            inverse_is_residual=inverse_is_residual,
            log_det=log_det,
            terms=terms,
        )
        for _ in range(check_size("num_layers", num_layers))
    ]
    if data is not None:
        layers.append(Affine.from_data(data))
    return Flow(StandardNormal(D) if base is None else base, layers)
