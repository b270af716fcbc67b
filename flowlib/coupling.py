"""Coupling layers: some variables pass unchanged and decide how the others are moved.

Because the variables that decide are still there after the step, the same scale s and translation t can be
computed again on the way back: the networks that compute them are never inverted.
Additive: NICE (Dinh, Krueger, Bengio 2014, arXiv:1410.8516).
Affine: RealNVP (Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803).
"""

import torch
from torch import Tensor, nn

from flowlib.checks import check_size
from flowlib.elementwise import AffineElementwise, Elementwise, bounded, check_bound
from flowlib.transform import Transform, joined

__all__ = [
    "AdditiveCouplingLayer",
    "AffineCoupling",
    "MaskedCouplingLayer",
    "SplitCoupling",
    "alternating_masks",
]


def alternating_masks(D: int, K: int) -> Tensor:
    """K checkerboard masks, float `(K, D)`: each the complement of the one before, the first 1, 0, 1, 0, …

    Every mask holds a 0 and a 1, so it needs D ≥ 2: `ValueError` below that, and for K < 1.

    >>> alternating_masks(3, 2)
    tensor([[1., 0., 1.],
            [0., 1., 0.]])
    """
    check_size("K", K)
    if check_size("D", D) < 2:
        raise ValueError(f"a mask needs a kept and a moved variable: D must be at least 2, got {D}")
    return ((torch.arange(D) + torch.arange(K)[:, None] + 1) % 2).to(torch.get_default_dtype())


def check_mask(mask: Tensor) -> Tensor:
    """Return mask as a float tensor `(D,)` of zeros and ones, else raise ValueError."""
    mask = torch.as_tensor(mask)
    if mask.ndim != 1 or len(mask) == 0:
        raise ValueError(f"mask: expected shape (D,), got {tuple(mask.shape)}")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(f"mask: expected zeros and ones, got {mask.tolist()}")
    return mask.detach().clone().to(torch.get_default_dtype())


def check_output(output: Tensor, kept: Tensor, width: int, net: str) -> Tensor:
    """Return a network's output when its shape is `(*batch, width)`; broadcasting would hide a wrong one."""
    expected = (*kept.shape[:-1], width)
    if output.shape != expected:
        raise ValueError(f"{net}: expected an output of shape {tuple(expected)}, got {tuple(output.shape)}")
    return output


def affine_forward(u: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x = u ⊙ exp(s) + t and log|det ∂x/∂u| = Σ s, the sum over the last axis."""
    return u * s.exp() + t, s.sum(-1)


def affine_inverse(x: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """u = (x − t) ⊙ exp(−s) and log|det ∂u/∂x| = −Σ s, the sum over the last axis."""
    return (x - t) * (-s).exp(), -s.sum(-1)


class AdditiveCouplingLayer(Transform):
    """NICE's coupling: x = u + (1 − b) ⊙ t(b ⊙ u), with log|det ∂x/∂u| = 0: it preserves volume.

    Args:
        translation_net: module computing t, from `(*batch, D)` to `(*batch, D)`.
        mask: b, `(D,)`: 1 = passed through unchanged and fed to the net, 0 = moved.

    Raises `ValueError` for a mask that is not `(D,)` of zeros and ones, and for a net with another output
    shape.
    Source: Dinh, Krueger, Bengio 2014, arXiv:1410.8516.

    >>> layer = AdditiveCouplingLayer(nn.Linear(2, 2), torch.tensor([1.0, 0.0]))
    >>> x, log_det = layer.forward(torch.randn(5, 2))
    >>> log_det
    tensor([0., 0., 0., 0., 0.])
    """

    def __init__(self, translation_net: nn.Module, mask: Tensor) -> None:
        mask = check_mask(mask)
        super().__init__(len(mask))
        self.translation_net = translation_net
        self.register_buffer("mask", mask)

    def _translation(self, v: Tensor) -> Tensor:
        # The kept variables are the same in u and in x, so the argument may be either.
        b = self.mask.to(v.dtype)
        kept = b * v
        return (1 - b) * check_output(self.translation_net(kept), kept, self.D, "translation_net")

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u + self._translation(u), u.new_zeros(u.shape[:-1])

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x - self._translation(x), x.new_zeros(x.shape[:-1])


class AffineCoupling(Transform):
    """RealNVP's coupling with one conditioner: x = b ⊙ u + (1 − b) ⊙ (u ⊙ exp(s) + t).

    (s, t) = conditioner(b ⊙ u); log|det ∂x/∂u| = Σ_i (1 − b_i) s_i. The mask multiplies s inside the
    exponential: a kept variable is multiplied by exp(0) = 1 whatever the network says there, while 0 · exp(s)
    outside would be NaN once exp(s) overflows.

    Args:
        conditioner: module from `(*batch, D)` to `(*batch, 2D)`: the first D outputs are s, the last D are t.
            With a context it is fed `(*batch, D + context_size)`, the context last.
        mask: b, `(D,)`: 1 = passed through unchanged and fed to the conditioner, 0 = moved. All ones make the
            layer the identity, all zeros a fixed scale and shift of each variable.
        log_scale_bound: with a bound c, s is replaced by c · tanh(s / c), so a layer stretches or shrinks a
            variable by at most exp(c). An unbounded scale can overflow on data unlike the training data.
            None: no bound.
        context_size: length of the context that the conditioner is fed as well; 0 for none.

    Raises `ValueError` for a bad mask, a bound ≤ 0, and a conditioner with another output shape.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> layer = AffineCoupling(nn.Linear(3, 6), torch.tensor([1.0, 0.0, 1.0]))
    >>> x, log_det = layer.forward(torch.randn(5, 3))
    >>> u, minus_log_det = layer.inverse(x)
    >>> torch.allclose(log_det, -minus_log_det, atol=1e-6)
    True
    """

    def __init__(
        self,
        conditioner: nn.Module,
        mask: Tensor,
        log_scale_bound: float | None = None,
        *,
        context_size: int = 0,
    ) -> None:
        mask = check_mask(mask)
        super().__init__(len(mask), context_size=context_size)
        self.conditioner = conditioner
        self.log_scale_bound = check_bound(log_scale_bound)
        self.register_buffer("mask", mask)

    def _scale_and_translation(self, v: Tensor, context: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        # The kept variables are the same in u and in x, so the argument may be either.
        b = self.mask.to(v.dtype)
        kept, moved = b * v, 1 - b
        output = check_output(self.conditioner(joined(kept, context)), kept, 2 * self.D, "conditioner")
        s, t = output.chunk(2, dim=-1)
        return moved * bounded(s, self.log_scale_bound), moved * t

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return affine_forward(u, *self._scale_and_translation(u, context))

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return affine_inverse(x, *self._scale_and_translation(x, context))


class _TwoNets(nn.Module):
    """One conditioner made of two networks: their outputs (s, t), each `(*batch, D)`, side by side."""

    def __init__(self, scale_net: nn.Module, translation_net: nn.Module) -> None:
        super().__init__()
        self.scale_net = scale_net
        self.translation_net = translation_net

    def forward(self, kept: Tensor) -> Tensor:
        D = kept.shape[-1]
        s = check_output(self.scale_net(kept), kept, D, "scale_net")
        t = check_output(self.translation_net(kept), kept, D, "translation_net")
        return torch.cat([s, t], dim=-1)


class MaskedCouplingLayer(AffineCoupling):
    """RealNVP's coupling with two networks: x = b ⊙ u + (1 − b) ⊙ (u ⊙ exp((1 − b) ⊙ s) + t).

    s = scale_net(b ⊙ u), t = translation_net(b ⊙ u); log|det ∂x/∂u| = Σ_i (1 − b_i) s_i.
    Each network is evaluated once a call. One network giving both takes a half to two thirds of the time:
    `AffineCoupling`.

    Args:
        scale_net, translation_net: modules from `(*batch, D)` to `(*batch, D)`.
        mask: b, `(D,)`: 1 = passed through unchanged and fed to the nets, 0 = moved.

    Raises `ValueError` for a bad mask and for a net with another output shape.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> layer = MaskedCouplingLayer(nn.Linear(2, 2), nn.Linear(2, 2), torch.tensor([1.0, 0.0]))
    >>> u = torch.randn(4, 2)
    >>> x, log_det = layer.forward(u)
    >>> torch.equal(x[:, 0], u[:, 0]), log_det.shape
    (True, torch.Size([4]))
    """

    def __init__(self, scale_net: nn.Module, translation_net: nn.Module, mask: Tensor) -> None:
        super().__init__(_TwoNets(scale_net, translation_net), mask)


class SplitCoupling(Transform):
    """A coupling by index: d = ⌊D/2⌋ variables are kept, each of the other D − d is moved by a map τ.

    x_kept = u_kept, x_i = τ(u_i; h_i) with h = conditioner(u_kept), log|det ∂x/∂u| = Σ_i log ∂x_i/∂u_i.
    τ is RealNVP's u_i · exp(s_i) + t_i unless another `elementwise` map is given: then it is the same map as a
    masked coupling, without computing outputs that a mask would throw away.

    Args:
        conditioner: module from `(*batch, d)`, or `(*batch, d + context_size)` with a context, to
            `(*batch, size · (D − d))`, where size is the number of parameters of τ: first s, then t.
        D: number of variables, at least 2; odd is fine.
        flip: False keeps the first d variables, True the last d. Two layers, one of each, move every
            variable.
        log_scale_bound: with a bound c, s is replaced by c · tanh(s / c). None: no bound.
        elementwise: τ, in place of the affine map (then without log_scale_bound).
        context_size: length of the context that the conditioner is fed as well; 0 for none.

    Raises `ValueError` for D < 2, a bound ≤ 0, and a conditioner with another output shape.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> layer = SplitCoupling(nn.Linear(2, 6), D=5, flip=True)
    >>> u = torch.randn(4, 5)
    >>> torch.equal(layer.forward(u)[0][:, 3:], u[:, 3:])
    True
    """

    def __init__(
        self,
        conditioner: nn.Module,
        D: int,
        flip: bool = False,
        log_scale_bound: float | None = None,
        *,
        elementwise: Elementwise | None = None,
        context_size: int = 0,
    ) -> None:
        super().__init__(check_size("D", D), context_size=context_size)
        if D < 2:
            raise ValueError(f"a coupling needs a kept and a moved variable: D must be at least 2, got {D}")
        if elementwise is not None and log_scale_bound is not None:
            raise ValueError("log_scale_bound belongs to the affine map: give it or elementwise, not both")
        self.conditioner = conditioner
        self.d = D // 2
        self.flip = flip
        self.elementwise = AffineElementwise(log_scale_bound) if elementwise is None else elementwise

    def _split(self, v: Tensor) -> tuple[Tensor, Tensor]:
        if self.flip:
            moved, kept = v.split([self.D - self.d, self.d], dim=-1)
        else:
            kept, moved = v.split([self.d, self.D - self.d], dim=-1)
        return kept, moved

    def _join(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, kept] if self.flip else [kept, moved], dim=-1)

    def _map_parameters(self, kept: Tensor, context: tuple[Tensor, ...]) -> Tensor:
        width = self.elementwise.size * (self.D - self.d)
        output = check_output(self.conditioner(joined(kept, context)), kept, width, "conditioner")
        return self.elementwise.parameters_of(output)

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self._split(u)
        moved, log_derivatives = self.elementwise.forward(moved, self._map_parameters(kept, context))
        return self._join(kept, moved), log_derivatives.sum(-1)

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = self._split(x)
        moved, log_derivatives = self.elementwise.inverse(moved, self._map_parameters(kept, context))
        return self._join(kept, moved), log_derivatives.sum(-1)
