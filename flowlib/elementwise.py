"""Increasing maps of single variables, x_i = τ(u_i; h_i): what couplings and autoregressive layers move them by.

The layer decides what a variable's parameters h_i may depend on: on the kept half (coupling), or on the
variables before (autoregressive). The map decides how u_i is moved. So each kind of layer goes with each kind of
map. Papamakarios et al. 2021, arXiv:1912.02762, section 3.1, calls τ the transformer, what computes h the
conditioner.
"""

from torch import Tensor, nn

__all__ = ["AffineElementwise", "Elementwise", "bounded", "check_bound"]


class Elementwise(nn.Module):
    """Base class of increasing maps of each variable on its own.

    `size` is the number of parameters a variable has. A conditioner's output `(*batch, size · D)` is read as
    `size` blocks of D: `parameters_of` makes h `(*batch, size, D)` of it. Then

    * `forward(u, h)`: returns `(x, log ∂x_i/∂u_i)`, both `(*batch, D)`;
    * `inverse(x, h)`: returns `(u, log ∂u_i/∂x_i)`, both `(*batch, D)`.

    At h = 0 a map is the identity, so that a conditioner whose last layer is 0 starts a flow as the identity.
    """

    size: int

    def parameters_of(self, output: Tensor) -> Tensor:
        """A conditioner's output `(*batch, size · D)` as h `(*batch, size, D)`."""
        return output.unflatten(-1, (self.size, -1))

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def inverse(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} does not define inverse")


def bounded(s: Tensor, bound: float | None) -> Tensor:
    """bound · tanh(s / bound): close to s near 0, never beyond ±bound. No bound: s as it is."""
    return s if bound is None else bound * (s / bound).tanh()


def check_bound(bound: float | None) -> float | None:
    """Return a log-scale bound that is None or positive, else raise ValueError."""
    if bound is not None and not bound > 0:
        raise ValueError(f"log_scale_bound must be positive or None, got {bound!r}")
    return bound


class AffineElementwise(Elementwise):
    """x_i = u_i · exp(s_i) + t_i with h = (s, t): two parameters a variable, log-derivative s_i.

    log_scale_bound: with a bound c, s is replaced by c · tanh(s / c), so that a variable is stretched or shrunk
    by at most exp(c). None: no bound. `ValueError` for a bound ≤ 0.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> import torch
    >>> affine = AffineElementwise()
    >>> h = affine.parameters_of(torch.tensor([0.0, 1.0, 5.0, 0.0]))  # s = (0, 1), t = (5, 0)
    >>> affine.forward(torch.ones(2), h)
    (tensor([6.0000, 2.7183]), tensor([0., 1.]))
    """

    size = 2

    def __init__(self, log_scale_bound: float | None = None) -> None:
        super().__init__()
        self.log_scale_bound = check_bound(log_scale_bound)

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        s, t = h.unbind(-2)
        s = bounded(s, self.log_scale_bound)
        return u * s.exp() + t, s

    def inverse(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        s, t = h.unbind(-2)
        minus_s = -bounded(s, self.log_scale_bound)
        return (x - t) * minus_s.exp(), minus_s
