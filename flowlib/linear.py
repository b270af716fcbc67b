"""Linear layers with a cheap determinant: reordering, rescaling, shifting the variables."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowlib.checks import check_size
from flowlib.transform import Transform, batch_of

__all__ = ["Affine", "Permutation", "Rescaling"]


class Permutation(Transform):
    """Reorders the variables: x_i = u_{order[i]}, with log|det ∂x/∂u| = 0.

    The Jacobian is a permutation matrix: one 1 in each row and column, determinant ±1.
    `order` is a sequence or integer tensor `(D,)` holding each of 0, …, D − 1 once; else `ValueError`.

    >>> shuffle = Permutation([2, 0, 1])
    >>> x, log_det = shuffle.forward(torch.tensor([[10.0, 11.0, 12.0]]))
    >>> x
    tensor([[12., 10., 11.]])
    >>> shuffle.inverse(x)[0]
    tensor([[10., 11., 12.]])
    """

    def __init__(self, order: Sequence[int] | Tensor) -> None:
        order = torch.as_tensor(order)
        if (
            order.ndim != 1
            or order.is_floating_point()
            or sorted(order.tolist()) != list(range(len(order)))
            or len(order) == 0
        ):
            raise ValueError(f"order must hold each of 0, …, D − 1 once, got {order.tolist()}")
        super().__init__(len(order))
        self.register_buffer("order", order.long())
        # argsort of a permutation is its inverse: inverse_order[order[i]] = i.
        self.register_buffer("inverse_order", order.long().argsort())

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u[..., self.order], u.new_zeros(u.shape[:-1])

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[..., self.inverse_order], x.new_zeros(x.shape[:-1])


class Rescaling(Transform):
    """A learned diagonal scale: x = exp(log_scale) ⊙ u, with log|det ∂x/∂u| = Σ_i log_scale_i.

    The parameter log_scale is `(D,)` and starts at 0, the identity. NICE ends with this layer, since its
    additive couplings cannot change volume (Dinh, Krueger, Bengio 2014, arXiv:1410.8516). Raises `ValueError`
    for D < 1.

    >>> layer = Rescaling(2)
    >>> _ = layer.log_scale.data.copy_(torch.tensor([0.0, 1.0]))
    >>> layer.forward(torch.ones(3, 2))[1]
    tensor([1., 1., 1.], grad_fn=<ExpandBackward0>)
    """

    def __init__(self, D: int) -> None:
        super().__init__(check_size("D", D))
        self.log_scale = nn.Parameter(torch.zeros(D))

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u * self.log_scale.exp(), self.log_scale.sum().expand(u.shape[:-1])

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * (-self.log_scale).exp(), (-self.log_scale.sum()).expand(x.shape[:-1])


class Affine(Transform):
    """A fixed shift and scale of each variable: x = shift + scale ⊙ u.

    log|det ∂x/∂u| = Σ_i log |scale_i|. shift and scale are `(D,)`, or of the shape of an image; buffers, not
    trained. As the last layer of a flow it lets the layers before it work on standardized data, while
    `log_prob` stays in the data's own units: see `Affine.from_data`.
    Raises `ValueError` for two different shapes, no axis, and a scale of 0.

    >>> Affine(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0])).forward(torch.ones(1, 2))
    (tensor([[3., 1.]]), tensor([0.6931]))
    """

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        shift, scale = torch.as_tensor(shift), torch.as_tensor(scale)
        if shift.ndim == 0 or 0 in shift.shape or shift.shape != scale.shape:
            raise ValueError(
                f"shift, scale: expected the same shape (D,), got {tuple(shift.shape)}, {tuple(scale.shape)}"
            )
        if not bool((scale != 0).all() and scale.isfinite().all() and shift.isfinite().all()):
            raise ValueError("shift and scale must be finite, and scale nowhere 0")
        super().__init__(shift.shape)
        self.register_buffer("shift", shift.detach().clone())
        self.register_buffer("scale", scale.detach().clone())

    @classmethod
    def from_data(cls, x: Tensor, min_std: float = 1e-3) -> "Affine":
        """The layer that gives standardized variables the mean and standard deviation of data x `(N, D)`, or
        of images `(N, C, H, W)`, pixel by pixel.

        `min_std` keeps a variable that hardly varies from being blown up to unit variance.

        >>> u, _ = Affine.from_data(torch.tensor([[1.0, 5.0], [3.0, 6.0]])).inverse(torch.tensor([3.0, 5.0]))
        >>> u
        tensor([ 1., -1.])
        """
        if x.ndim < 2 or len(x) < 2:
            raise ValueError(f"x: expected shape (N, D) with N > 1, got {tuple(x.shape)}")
        return cls(x.mean(0), x.std(0, correction=0).clamp_min(min_std))

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.shift + self.scale * u, self._log_det().expand(batch_of(u, self.base_shape))

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.shift) / self.scale, (-self._log_det()).expand(batch_of(x, self.event_shape))

    def _log_det(self) -> Tensor:
        return self.scale.abs().log().sum()
