"""From vectors to images and back: the same numbers in another shape."""

import math
from collections.abc import Sequence

from torch import Tensor

from flowlib.transform import Transform, batch_of

__all__ = ["Flatten", "Reshape"]


class Reshape(Transform):
    """Reads u `(*batch, D)` as x `(*batch, *shape)`, row by row, with D = Π shape and log_det 0.

    The first layer of a flow of images: the base distribution is one of vectors.
    Raises `ValueError` for a shape with an entry below 1.

    >>> import torch
    >>> Reshape((1, 2, 2)).forward(torch.arange(4.0))
    (tensor([[[0., 1.],
             [2., 3.]]]), tensor(0.))
    """

    def __init__(self, shape: Sequence[int]) -> None:
        shape = tuple(shape)
        if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
            raise ValueError(f"shape must hold positive integers, got {shape}")
        super().__init__(shape, base_shape=(math.prod(shape),))

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u.reshape(*u.shape[:-1], *self.event_shape), u.new_zeros(u.shape[:-1])

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch = batch_of(x, self.event_shape)
        return x.reshape(*batch, *self.base_shape), x.new_zeros(batch)


class Flatten(Transform):
    """Reads u `(*batch, *shape)` as x `(*batch, D)`, row by row, with D = Π shape and log_det 0: `Reshape` backwards.

    Between a flow of images and a layer for vectors. Raises `ValueError` for a shape with an entry below 1.

    >>> import torch
    >>> Flatten((1, 2, 2)).forward(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]))
    (tensor([0., 1., 2., 3.]), tensor(0.))
    """

    def __init__(self, shape: Sequence[int]) -> None:
        reshape = Reshape(shape)
        super().__init__(reshape.base_shape, base_shape=reshape.event_shape)
        self.reshape = reshape

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.reshape.inverse(u)

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.reshape.forward(x)
