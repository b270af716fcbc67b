"""RealNVP on images `(*batch, C, H, W)`: masks, squeezing, a coupling with a convolutional net, several scales.

Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from flowlib.bases import StandardNormal
from flowlib.checks import check_size
from flowlib.elementwise import AffineElementwise, Elementwise
from flowlib.flow import Flow
from flowlib.linear import Affine
from flowlib.networks import mlp
from flowlib.transform import Composition, Transform, batch_of

__all__ = [
    "ImageCoupling",
    "MultiScale",
    "Squeeze",
    "channel_mask",
    "checkerboard_mask",
    "conv_net",
    "dense_net",
    "image_real_nvp",
]


def check_image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return shape as (C, H, W), three positive integers, else raise ValueError."""
    shape = tuple(shape)
    if len(shape) != 3:
        raise ValueError(f"shape: expected (C, H, W), got {shape}")
    for name, size in zip("CHW", shape, strict=True):
        check_size(name, size)
    return shape


def checkerboard_mask(shape: Sequence[int], flip: bool = False) -> Tensor:
    """The float mask `(C, H, W)` that keeps the pixels with even h + w in every channel; `flip`: the others.

    Each moved pixel is surrounded by kept ones. Raises `ValueError` for another shape, and for a single
    pixel, which cannot be split.

    >>> checkerboard_mask((1, 2, 4))
    tensor([[[1., 0., 1., 0.],
             [0., 1., 0., 1.]]])
    """
    C, H, W = check_image_shape(shape)
    if H * W == 1:
        raise ValueError(f"a checkerboard needs a kept and a moved pixel: got shape {(C, H, W)}")
    parity = (torch.arange(H)[:, None] + torch.arange(W) + 1 + flip) % 2
    return parity.to(torch.get_default_dtype()).repeat(C, 1, 1)


def channel_mask(shape: Sequence[int], flip: bool = False) -> Tensor:
    """The float mask `(C, H, W)` that keeps the first ⌊C/2⌋ channels; `flip`: keeps the others.

    Raises `ValueError` for another shape, and for a single channel, which cannot be split.

    >>> channel_mask((3, 1, 2))
    tensor([[[1., 1.]],
    <BLANKLINE>
            [[0., 0.]],
    <BLANKLINE>
            [[0., 0.]]])
    """
    C, H, W = check_image_shape(shape)
    if C == 1:
        raise ValueError(f"a channel mask needs a kept and a moved channel: got shape {(C, H, W)}")
    kept = (torch.arange(C) < C // 2) != flip
    return kept.to(torch.get_default_dtype())[:, None, None].repeat(1, H, W)


def conv_net(
    channels: Sequence[int], kernel: int = 3, zero_last: bool = False, dropout: float = 0.0
) -> nn.Sequential:
    """A small convolutional net from `(N, channels[0], H, W)` to `(N, channels[-1], H, W)`, any H and W.

    The first and the last convolution look at `kernel` × `kernel` pixels, zeros beyond the border; those between
    at one pixel, as in Glow. ReLU between them.

    Args:
        channels: numbers of channels, input and output included; at least two.
        kernel: odd, so that an image keeps its size.
        zero_last: set the last convolution to 0: a coupling starts as the identity.
        dropout: probability with which a hidden channel is dropped in training mode.

    Raises `ValueError` for fewer than two numbers, one below 1, or an even kernel.

    >>> conv_net([1, 8, 8, 2])(torch.randn(5, 1, 8, 8)).shape
    torch.Size([5, 2, 8, 8])
    """
    if len(channels) < 2:
        raise ValueError(f"channels: expected at least an input and an output, got {list(channels)}")
    for number in channels:
        check_size("each of channels", number)
    if check_size("kernel", kernel) % 2 == 0:
        raise ValueError(f"kernel must be odd, got {kernel}")
    layers: list[nn.Module] = []
    last = len(channels) - 2
    for k, (before, after) in enumerate(pairwise(channels)):
        size = kernel if k in (0, last) else 1
        layers.append(nn.Conv2d(before, after, size, padding=size // 2))
        if k < last:
            layers.append(nn.ReLU())
            if dropout:
                layers.append(nn.Dropout2d(dropout))
    if zero_last:
        nn.init.zeros_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)


def dense_net(
    shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int] = (64, 64),
    zero_last: bool = False,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A fully connected net from `(N, C, H, W)` to `(N, outputs, H, W)`: an `mlp` of all numbers of an image.

    For images so small that every pixel may look at all others, and where position matters: centered digits.
    Raises `ValueError` for a shape that is not (C, H, W) and for a width below 1.

    >>> dense_net((1, 4, 4), 2)(torch.randn(5, 1, 4, 4)).shape
    torch.Size([5, 2, 4, 4])
    """
    C, H, W = check_image_shape(shape)
    check_size("outputs", outputs)
    net = mlp([C * H * W, *hidden, outputs * H * W], zero_last=zero_last, dropout=dropout)
    return nn.Sequential(nn.Flatten(), net, nn.Unflatten(1, (outputs, H, W)))


class ImageCoupling(Transform):
    """A masked coupling of images: x = b ⊙ u + (1 − b) ⊙ τ(u; h) with h = conditioner(b ⊙ u).

    τ is RealNVP's u · exp(s) + t unless another `elementwise` map is given; log|det ∂x/∂u| = Σ (1 − b) s, over
    channels and pixels. A mask by checkerboard or by channels: the layer is the same.

    Args:
        conditioner: module from `(N, C, H, W)` to `(N, size · C, H, W)`, size = number of parameters of τ: first C
            channels of s, then C of t.
        mask: b, `(C, H, W)`: 1 = passed through unchanged and fed to the conditioner, 0 = moved.
        log_scale_bound: with a bound c, s is replaced by c · tanh(s / c). None: no bound.
        elementwise: τ, in place of the affine map (then without log_scale_bound).

    Images are `(*batch, C, H, W)`; the batch axes are folded into one for the conditioner.
    Raises `ValueError` for a mask that is not `(C, H, W)` of zeros and ones with at least one of each, a bound ≤ 0,
    and a conditioner with another output shape.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> layer = ImageCoupling(conv_net([1, 4, 2]), checkerboard_mask((1, 4, 4)))
    >>> u = torch.randn(5, 1, 4, 4)
    >>> x, log_det = layer.forward(u)
    >>> torch.equal(x[:, 0, 0, 0], u[:, 0, 0, 0]), log_det.shape
    (True, torch.Size([5]))
    """

    def __init__(
        self,
        conditioner: nn.Module,
        mask: Tensor,
        log_scale_bound: float | None = None,
        *,
        elementwise: Elementwise | None = None,
    ) -> None:
        mask = torch.as_tensor(mask)
        super().__init__(check_image_shape(mask.shape))
        if set(mask.unique().tolist()) != {0, 1}:
            raise ValueError(
                f"mask: expected zeros and ones, some of each, got the values {mask.unique().tolist()}"
            )
        if elementwise is not None and log_scale_bound is not None:
            raise ValueError("log_scale_bound belongs to the affine map: give it or elementwise, not both")
        self.conditioner = conditioner
        self.elementwise = AffineElementwise(log_scale_bound) if elementwise is None else elementwise
        self.register_buffer("kept", mask.detach().bool())

    def _move(self, v: Tensor, way: str) -> tuple[Tensor, Tensor]:
        batch, kept = batch_of(v, self.event_shape), self.kept.flatten()
        C, H, W = self.event_shape
        # The kept pixels are the same in u and in x, so the argument may be either.
        images = v.masked_fill(~self.kept, 0).reshape(math.prod(batch), C, H, W)
        output, wanted = self.conditioner(images), (len(images), self.elementwise.size * C, H, W)
        if output.shape != wanted:
            raise ValueError(f"conditioner: expected an output of shape {wanted}, got {tuple(output.shape)}")
        h = output.reshape(*batch, self.elementwise.size, C * H * W)
        flat = v.reshape(*batch, C * H * W)
        # At h = 0 the map is the identity, so whatever the net says of kept pixels can do no harm.
        moved, log_derivatives = getattr(self.elementwise, way)(flat, h.masked_fill(kept, 0))
        y = torch.where(kept, flat, moved).reshape(v.shape)
        return y, log_derivatives.masked_fill(kept, 0).sum(-1)

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self._move(u, "forward")

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._move(x, "inverse")


class Squeeze(Transform):
    """Pixels into channels, from data to base: x `(*batch, C, H, W)` ↔ u `(*batch, 4C, H/2, W/2)`, log_det 0.

    u[4c + 2i + j, h, w] = x[c, 2h + i, 2w + j]: a block of 2×2 pixels becomes four channels of one pixel.
    `inverse` squeezes, `forward` puts the pixels back.

    Args:
        shape: (C, H, W) of x; H and W even, else `ValueError`.

    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> u, _ = Squeeze((1, 2, 4)).inverse(torch.tensor([[[1.0, 2, 5, 6], [3, 4, 7, 8]]]))
    >>> u.flatten(1)
    tensor([[1., 5.],
            [2., 6.],
            [3., 7.],
            [4., 8.]])
    """

    def __init__(self, shape: Sequence[int]) -> None:
        C, H, W = check_image_shape(shape)
        if H % 2 or W % 2:
            raise ValueError(f"only an even height and width can be halved, got {H}×{W}")
        super().__init__((C, H, W), base_shape=(4 * C, H // 2, W // 2))

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        batch, (C, H, W) = batch_of(u, self.base_shape), self.event_shape
        blocks = u.reshape(*batch, C, 2, 2, H // 2, W // 2)
        # (C, i, j, h, w) → (C, h, i, w, j)
        x = blocks.movedim((-4, -3), (-3, -1)).reshape(*batch, C, H, W)
        return x, u.new_zeros(batch)

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, (C, H, W) = batch_of(x, self.event_shape), self.event_shape
        blocks = x.reshape(*batch, C, H // 2, 2, W // 2, 2)
        # (C, h, i, w, j) → (C, i, j, h, w)
        u = blocks.movedim((-3, -1), (-4, -3)).reshape(*batch, *self.base_shape)
        return u, x.new_zeros(batch)


class MultiScale(Transform):
    """Several levels, of which each passes on half of its channels: flat u `(*batch, D)` ↔ x `(*batch, C, H, W)`.

    From data to base: a level transforms what it is given; the last half of the channels is factored out and is
    not transformed any more, the first half goes on to the next, coarser level. u holds the coarsest variables
    first: u = (z_1, z_2, …), z_1 all that the coarsest level puts out, flattened.
    log|det ∂x/∂u| is the sum over the levels, each at the point it acts on.

    Args:
        levels: layers between images, from base to data: the coarsest first. A level's base shape has twice the
            channels of the event shape of the level before, and the same height and width.

    Raises `ValueError` for no level and for shapes that do not fit.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> flow = MultiScale([Squeeze((2, 2, 2)), Squeeze((1, 4, 4))])
    >>> u = torch.randn(5, 16)
    >>> x, _ = flow.forward(u)
    >>> x.shape, torch.equal(flow.inverse(x)[0], u)
    (torch.Size([5, 1, 4, 4]), True)
    """

    def __init__(self, levels: Iterable[Transform]) -> None:
        levels = list(levels)
        if not levels:
            raise ValueError("expected at least one level")
        for k, level in enumerate(levels):
            for shape in (level.base_shape, level.event_shape):
                if shape is None or len(shape) != 3:
                    raise ValueError(f"level {k}: expected a layer between images (C, H, W), got {shape}")
        for k, (coarse, fine) in enumerate(pairwise(levels)):
            C, H, W = coarse.event_shape
            if fine.base_shape != (2 * C, H, W):
                raise ValueError(
                    f"level {k + 1}: expected base shape {(2 * C, H, W)}, twice the channels of level {k}, "
                    f"got {fine.base_shape}"
                )
        # What is new at each level: everything at the coarsest, as much as comes from below at the others.
        self.fresh_shapes = [levels[0].base_shape, *(level.event_shape for level in levels[:-1])]
        self.sizes = [math.prod(shape) for shape in self.fresh_shapes]
        super().__init__(levels[-1].event_shape, base_shape=(sum(self.sizes),))
        self.levels = nn.ModuleList(levels)

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        batch, x, total = u.shape[:-1], None, u.new_zeros(u.shape[:-1])
        for part, shape, level in zip(u.split(self.sizes, -1), self.fresh_shapes, self.levels, strict=True):
            fresh = part.reshape(*batch, *shape)
            x, log_det = level.forward(fresh if x is None else torch.cat([x, fresh], dim=-3))
            total = total + log_det
        return x, total

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch = batch_of(x, self.event_shape)
        total, parts = x.new_zeros(batch), []
        for k, level in reversed(list(enumerate(self.levels))):
            x, log_det = level.inverse(x)
            total = total + log_det
            x, fresh = x.chunk(2, dim=-3) if k else (None, x)
            parts.append(fresh.reshape(*batch, self.sizes[k]))
        return torch.cat(parts[::-1], dim=-1), total


def conditioner(shape: tuple[int, int, int], hidden: Sequence[int], dense: bool, **options) -> nn.Module:
    """The net of an affine coupling of images: `(N, C, H, W)` → `(N, 2C, H, W)`."""
    if dense:
        return dense_net(shape, 2 * shape[0], hidden, **options)
    return conv_net([shape[0], *hidden, 2 * shape[0]], **options)


def image_real_nvp(
    shape: Sequence[int],
    levels: int = 2,
    hidden: Sequence[int] = (32, 32),
    *,
    log_scale_bound: float | None = 2.0,
    dropout: float = 0.0,
    zero_last: bool = True,
    dense: bool = False,
    data: Tensor | None = None,
    min_std: float = 1e-3,
) -> Flow:
    """RealNVP's multi-scale flow of images, untrained.

    From data to base, every level but the coarsest: three checkerboard couplings, a squeeze, three couplings by
    channels, half of the channels factored out. The coarsest: four checkerboard couplings.

    Args:
        shape: (C, H, W); H and W divisible by 2^(levels − 1).
        levels: number of scales.
        hidden: hidden channels of each conditioner (`conv_net`), or hidden units where it is `dense`.
        log_scale_bound, dropout, zero_last: as in `real_nvp`.
        dense: fully connected conditioners (`dense_net`) in place of convolutional ones.
        data: training images `(N, C, H, W)`: the flow ends with a fixed layer that has each pixel's mean and
            standard deviation (`Affine.from_data`).
        min_std: smallest standard deviation that a pixel is taken to have. A pixel that is constant in the training
            images and is not in another one would else lie so far out that this image is all but impossible.

    Raises `ValueError` for a shape that cannot be halved so often.
    Source: Dinh, Sohl-Dickstein, Bengio 2016, arXiv:1605.08803.

    >>> flow = image_real_nvp((1, 8, 8), hidden=(8,))
    >>> flow.log_prob(flow.sample((3,))).shape
    torch.Size([3])
    """
    shape = check_image_shape(shape)

    def couplings(shape: tuple[int, int, int], mask, count: int) -> list[nn.Module]:
        return [
            ImageCoupling(
                conditioner(shape, hidden, dense, zero_last=zero_last, dropout=dropout),
                mask(shape, flip=k % 2 == 1),
                log_scale_bound,
            )
            for k in range(count)
        ]

    at, scales = shape, []
    for _ in range(check_size("levels", levels) - 1):
        squeeze = Squeeze(at)
        inner = squeeze.base_shape
        scales.append(
            Composition([*couplings(inner, channel_mask, 3), squeeze, *couplings(at, checkerboard_mask, 3)])
        )
        at = (inner[0] // 2, *inner[1:])
    scales.append(Composition(couplings(at, checkerboard_mask, 4)))
    ending = [] if data is None else [Affine.from_data(data, min_std)]
    return Flow(StandardNormal(math.prod(shape)), [MultiScale(scales[::-1]), *ending])
