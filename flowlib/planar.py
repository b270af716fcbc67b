"""The planar flow: a layer that moves points along one direction, by an amount that another one decides.

x = u + v̂ tanh(wᵀu + b) changes u by a multiple of the fixed vector v̂, and how much depends on the number wᵀu + b
alone. So its Jacobian is the identity plus a matrix of rank one, and its inverse is the root of a function of one
number. Rezende, Mohamed 2015, arXiv:1505.05770.
"""

import math

import torch
from torch import Tensor, nn

from flowlib.checks import check_size
from flowlib.errors import InversionError
from flowlib.transform import Transform

__all__ = ["Planar"]


def constrained(v: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """v̂, for which the planar map has an inverse, and its gain 1 + wᵀv̂ > 0: `(*batch, D)` → `(*batch, D)`, `(*batch,)`.

    v̂ = v + (log(1 + exp(wᵀv)) − 1 − wᵀv) w/|w|², so that wᵀv̂ = −1 + log(1 + exp(wᵀv)) > −1. The part of v
    perpendicular to w stays. The gain never gets below the dtype's resolution: the inequality is strict in floating
    point as well. Where w = 0 the map is a translation, and any v will do: v̂ = v with gain 1.
    Source: Rezende, Mohamed 2015, arXiv:1505.05770, appendix A.1.

    >>> v_hat, gain = constrained(torch.tensor([-3.0, 1.0]), torch.tensor([1.0, 0.0]))
    >>> v_hat
    tensor([-0.9514,  1.0000])
    """
    product, length2 = (w * v).sum(-1), (w * w).sum(-1)
    none = length2 == 0
    softplus = torch.logaddexp(product, torch.zeros_like(product))
    gain = torch.where(none, 1.0, softplus + torch.finfo(softplus.dtype).eps)
    along = torch.where(none, 0.0, gain - 1 - product) / torch.where(none, 1.0, length2)
    return v + along.unsqueeze(-1) * w, gain


class Planar(Transform):
    """x = u + v̂ tanh(wᵀu + b), with log|det ∂x/∂u| = log(1 + tanh′(wᵀu + b) wᵀv̂): the planar flow.

    v̂ is made of the parameter v such that wᵀv̂ > −1 (see `constrained`), so every map is invertible. Parameters:
    v, w `(D,)`, b `()`; the layer starts as the identity, with a random w of length 1.

    `inverse` solves a + wᵀv̂ tanh(a) = wᵀx + b for the number a = wᵀu + b by Newton's method, to the dtype's
    precision; first derivatives of the result are right. u is as exact as the problem allows: where the slope
    1 + tanh′(a) wᵀv̂ is near 0, as for wᵀv̂ near −1 and a near 0, rounding of x is amplified by its reciprocal.

    Args:
        D: number of variables.
        conditioner: module from a context `(*batch, context_size)` to `(*batch, 2D + 1)`, which are added to
            (v, w, b): a map for every context, as an encoder needs it.
        context_size: length of the context; 0 for none.
        max_iterations: of Newton's method. It converges from where it starts, in a dozen steps and seldom more.

    Raises `ValueError` for D < 1, a conditioner without context_size or the reverse, and a conditioner with another
    output shape; `InversionError` when the inverse does not converge, which takes a number that is not finite.
    Source: Rezende, Mohamed 2015, arXiv:1505.05770.

    >>> layer = Planar(3)
    >>> u = torch.randn(5, 3)
    >>> x, log_det = layer.forward(u)
    >>> torch.allclose(layer.inverse(x)[0], u, atol=1e-5)
    True
    """

    def __init__(
        self,
        D: int,
        conditioner: nn.Module | None = None,
        *,
        context_size: int = 0,
        max_iterations: int = 200,
    ) -> None:
        super().__init__(check_size("D", D), context_size=context_size)
        if (conditioner is None) != (context_size == 0):
            raise ValueError(
                "a conditioner needs a context_size, and a context_size a conditioner; got "
                f"{'no conditioner' if conditioner is None else 'a conditioner'} and context_size {context_size}"
            )
        direction = nn.functional.normalize(torch.randn(D), dim=0)
        self.w = nn.Parameter(direction)
        # log(1 + exp(wᵀv)) = 1 at wᵀv = log(e − 1): then v̂ = 0.
        self.v = nn.Parameter(math.log(math.e - 1) * direction)
        self.b = nn.Parameter(torch.zeros(()))
        self.conditioner = conditioner
        self.max_iterations = check_size("max_iterations", max_iterations)

    def _parameters_at(self, context: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """v̂, w, b and the gain 1 + wᵀv̂, of the layer or of each context."""
        v, w, b = self.v, self.w, self.b
        if context:
            output = self.conditioner(*context)
            expected = (*context[0].shape[:-1], 2 * self.D + 1)
            if output.shape != expected:
                raise ValueError(
                    f"conditioner: expected an output of shape {tuple(expected)}, got {tuple(output.shape)}"
                )
            more_v, more_w, more_b = output.split([self.D, self.D, 1], dim=-1)
            v, w, b = v + more_v, w + more_w, b + more_b.squeeze(-1)
        v_hat, gain = constrained(v, w)
        return v_hat, w, b, gain

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        v_hat, w, b, gain = self._parameters_at(context)
        amount = ((w * u).sum(-1) + b).tanh()
        return u + v_hat * amount.unsqueeze(-1), slope(amount, gain).log()

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        v_hat, w, b, gain = self._parameters_at(context)
        amount = root((w * x).sum(-1) + b, gain.expand(x.shape[:-1]), self.max_iterations).tanh()
        return x - v_hat * amount.unsqueeze(-1), -slope(amount, gain).log()


def slope(amount: Tensor, gain: Tensor) -> Tensor:
    """1 + tanh′(a) (gain − 1) > 0 for amount = tanh(a), as a sum of terms that are not negative: nothing cancels."""
    return amount**2 + gain * (1 - amount**2)


def root(y: Tensor, gain: Tensor, max_iterations: int) -> Tensor:
    """The a with f(a) = a + (gain − 1) tanh(a) = y, where f increases since gain > 0: y, gain `(*batch,)`.

    f is odd, so take y > 0 and look at a > 0. There f lies between gain·a and a + gain − 1: for gain < 1 above both
    and convex, for gain > 1 below both and concave. Newton's method started where the nearer of the two lines meets y
    therefore goes to the root without ever passing it.
    """
    with torch.no_grad():
        size = y.abs()
        lines = size / gain, size - (gain - 1)
        a = y.sign() * torch.where(gain < 1, torch.minimum(*lines), torch.maximum(*lines))
        allowed = 4 * torch.finfo(y.dtype).eps * (1 + size + (gain - 1).abs())
        for _ in range(max_iterations):
            amount = a.tanh()
            left = a + (gain - 1) * amount - y
            if bool((left.abs() <= allowed).all()):
                break
            a = a - left / slope(amount, gain)
        else:
            worst = (left.abs() / allowed).nan_to_num(math.inf).max().item() if left.numel() else 0.0
            raise InversionError(
                f"Planar.inverse: expected a residual within rounding after {max_iterations} iterations, got "
                f"{worst:.3g} times that; are the point and the parameters finite?"
            )
    # One more step, which autograd sees: its derivative is that of the root, by the implicit function theorem.
    amount = a.tanh()
    return a - (a + (gain - 1) * amount - y) / slope(amount, gain)
