"""Glow: actnorm, invertible 1×1 convolutions and couplings, on images `(*batch, C, H, W)`.

Source: Kingma, Dhariwal 2018, arXiv:1807.03039.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowlib.bases import StandardNormal
from flowlib.checks import check_size
from flowlib.flow import Flow
from flowlib.image import ImageCoupling, MultiScale, Squeeze, channel_mask, check_image_shape, conditioner
from flowlib.linear import Affine
from flowlib.linear_flows import PLULinear
from flowlib.transform import Composition, Transform, batch_of

__all__ = ["ActNorm", "InvertibleConv1x1", "glow"]


class ActNorm(Transform):
    """A learned scale and shift of each channel, x = shift_c + exp(log_scale_c) · u, normalizing at first.

    log|det ∂x/∂u| = H·W·Σ_c log_scale_c. The first batch that `inverse` sees sets shift and log_scale to the mean and
    the log standard deviation of its channels, over batch and pixels, so that this batch comes out with mean 0 and
    standard deviation 1. From then on they are ordinary parameters. `state_dict` holds them and the flag
    `initialized`; before that batch the layer is the identity in `forward`.

    Args:
        shape: (C, H, W), or D for vectors, whose variables then are the channels.
        min_std: a channel that hardly varies in the first batch is taken to have this standard deviation.

    Raises `ValueError` for a first batch with fewer than two values a channel or with values that are not finite.
    It cannot be under `torch.func.vmap`: initialize before.
    Source: Kingma, Dhariwal 2018, arXiv:1807.03039, section 3.1.

    >>> layer = ActNorm((2, 4, 4))
    >>> u, _ = layer.inverse(3 + 5 * torch.randn(100, 2, 4, 4))
    >>> bool(u.mean().abs() < 1e-5), bool((u.std() - 1).abs() < 1e-3)
    (True, True)
    """

    def __init__(self, shape: int | Sequence[int], min_std: float = 1e-3) -> None:
        shape = (check_size("D", shape),) if isinstance(shape, int) else check_image_shape(shape)
        super().__init__(shape)
        if not min_std > 0:
            raise ValueError(f"min_std must be positive, got {min_std!r}")
        self.min_std = min_std
        self.shift = nn.Parameter(torch.zeros(shape[0]))
        self.log_scale = nn.Parameter(torch.zeros(shape[0]))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def _initialize(self, x: Tensor) -> None:
        channels = x.movedim(x.ndim - len(self.event_shape), 0).flatten(1)
        if channels.shape[1] < 2 or not bool(channels.isfinite().all()):
            raise ValueError(
                "ActNorm: expected a first batch with at least two finite values a channel, "
                f"got shape {tuple(x.shape)}" + ("" if bool(x.isfinite().all()) else " with NaN or infinity")
            )
        self.shift.copy_(channels.mean(1))
        self.log_scale.copy_(channels.std(1, correction=0).clamp_min(self.min_std).log())
        self.initialized.fill_(True)

    def _per_channel(self, parameter: Tensor) -> Tensor:
        return parameter.reshape(-1, *[1] * (len(self.event_shape) - 1))

    def _log_det(self, batch: torch.Size) -> Tensor:
        return (math.prod(self.event_shape[1:]) * self.log_scale.sum()).expand(batch)

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        x = self._per_channel(self.shift) + self._per_channel(self.log_scale).exp() * u
        return x, self._log_det(batch_of(u, self.event_shape))

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self.initialized:
            self._initialize(x)
        u = (x - self._per_channel(self.shift)) * self._per_channel(-self.log_scale).exp()
        return u, -self._log_det(batch_of(x, self.event_shape))


class InvertibleConv1x1(Transform):
    """One invertible matrix for all pixels: x[:, h, w] = A u[:, h, w], log|det ∂x/∂u| = H·W·log|det A|.

    A = P L U is a `PLULinear` of the channels: log|det A| costs nothing, the inverse is two triangular solves.
    Its log-diagonal is bounded, so that no training takes an entry to 0: A is never singular. A permutation of channels
    is the special case L = U = I.

    Args:
        shape: (C, H, W).
        weight: A to start from, `(C, C)`, not singular; a random rotation (torch's global generator) without.
        log_scale_bound: how far the logarithms of U's diagonal may go from where they start; positive.

    Raises `ValueError` for a weight of another shape or a singular one, and for a bound ≤ 0.
    Source: Kingma, Dhariwal 2018, arXiv:1807.03039, section 3.2.

    >>> swap = InvertibleConv1x1((2, 1, 1), weight=torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    >>> x, log_det = swap.forward(torch.tensor([[[3.0]], [[4.0]]]))
    >>> x.flatten().tolist(), log_det.item()
    ([4.0, 3.0], 0.0)
    """

    def __init__(
        self, shape: Sequence[int], weight: Tensor | None = None, log_scale_bound: float = 2.0
    ) -> None:
        C, H, W = check_image_shape(shape)
        super().__init__((C, H, W))
        if log_scale_bound is None:
            raise ValueError("log_scale_bound must be positive, got None")
        if weight is not None and weight.shape != (C, C):
            raise ValueError(f"weight: expected shape {(C, C)}, got {tuple(weight.shape)}")
        self.linear = (
            PLULinear(C, log_scale_bound)
            if weight is None
            else PLULinear.from_matrix(weight, log_scale_bound)
        )

    @property
    def weight(self) -> Tensor:
        """The matrix A, `(C, C)`."""
        return self.linear.matrix()

    def _pixel_by_pixel(self, way: str, v: Tensor) -> tuple[Tensor, Tensor]:
        y, log_dets = getattr(self.linear, way)(v.movedim(-3, -1))
        return y.movedim(-1, -3), log_dets.sum((-2, -1))

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self._pixel_by_pixel("forward", u)

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._pixel_by_pixel("inverse", x)


def glow(
    shape: Sequence[int],
    K: int,
    L: int,
    hidden: Sequence[int] = (32, 32),
    *,
    log_scale_bound: float | None = 2.0,
    dropout: float = 0.0,
    zero_last: bool = True,
    dense: bool = False,
    data: Tensor | None = None,
    min_std: float = 1e-3,
) -> Flow:
    """Glow: L levels of K steps each, untrained.

    From data to base a level squeezes and takes K steps (actnorm, invertible 1×1 convolution, coupling that keeps
    half of the channels); every level but the coarsest then factors out half of its channels.
    Call `flow.log_prob` on a batch of training data before anything else: it initializes the actnorms.

    Args:
        shape: (C, H, W); H and W divisible by 2^L.
        hidden: hidden channels of each conditioner (`conv_net`), or hidden units where it is `dense`.
        log_scale_bound, dropout, zero_last: as in `real_nvp`.
        dense: fully connected conditioners (`dense_net`) in place of convolutional ones.
        data: training images `(N, C, H, W)`: the flow ends with a fixed layer that has each pixel's mean and
            standard deviation (`Affine.from_data`).
        min_std: smallest standard deviation that a pixel is taken to have. A pixel that is constant in the training
            images and is not in another one would else lie so far out that this image is all but impossible.

    Raises `ValueError` for a shape that cannot be halved L times, K < 1 and L < 1.
    Source: Kingma, Dhariwal 2018, arXiv:1807.03039.

    >>> flow = glow((1, 8, 8), K=2, L=2, hidden=(8,))
    >>> flow.log_prob(torch.rand(10, 1, 8, 8)).shape
    torch.Size([10])
    """
    shape = at = check_image_shape(shape)
    check_size("K", K)
    levels = []
    for _ in range(check_size("L", L)):
        squeeze = Squeeze(at)
        inner = squeeze.base_shape
        steps: list[nn.Module] = []
        for _ in range(K):
            net = conditioner(inner, hidden, dense, zero_last=zero_last, dropout=dropout)
            coupling = ImageCoupling(net, channel_mask(inner), log_scale_bound)
            steps += [coupling, InvertibleConv1x1(inner), ActNorm(inner)]
        levels.append(Composition([*steps, squeeze]))
        at = (inner[0] // 2, *inner[1:])
    ending = [] if data is None else [Affine.from_data(data, min_std)]
    return Flow(StandardNormal(math.prod(shape)), [MultiScale(levels[::-1]), *ending])
