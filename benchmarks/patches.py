"""8×8 patches of photographs as vectors of 63 numbers: a data set of natural images that is there offline."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["D", "Patches", "load_patches"]

D = 63
SIDE, STRIDE, STRIPS = 8, 4, 10


class Patches(NamedTuple):
    """Continuous vectors `(N, 63)` to train, to stop by and to test."""

    train: Tensor
    validation: Tensor
    test: Tensor


@lru_cache(maxsize=1)
def _strips() -> list[Tensor]:
    """Gray levels 0, …, 255 of ten strips of both photographs, 64 columns each: patches `(N, 64)` of each strip."""
    from sklearn.datasets import load_sample_images  # half a second to import: only when asked for

    weights = torch.tensor([0.299, 0.587, 0.114])  # luma, ITU-R BT.601
    images = [torch.from_numpy(image.copy()).float() @ weights for image in load_sample_images().images]
    strips = []
    for k in range(STRIPS):
        width = images[0].shape[1] // STRIPS
        parts = [image.round()[:, k * width : (k + 1) * width] for image in images]
        found = [part.unfold(0, SIDE, STRIDE).unfold(1, SIDE, STRIDE).reshape(-1, SIDE**2) for part in parts]
        strips.append(torch.cat(found))
    return strips


def _vectors(levels: Tensor, generator: torch.Generator) -> Tensor:
    x = (levels + torch.rand(levels.shape, generator=generator)) / 256
    return (x - x.mean(-1, keepdim=True))[:, :-1]


def load_patches(split: int = 0) -> Patches:
    """Patches of scikit-learn's china.jpg and flower.jpg, from disjoint parts of the photographs.

    Gray levels 0, …, 255 get uniform noise and are divided by 256; a patch's mean is taken from it; its last pixel,
    which the others then determine, is dropped: the recipe of BSDS300. The photographs are cut into ten strips: of
    split k, 0, …, 4, strips 2k and 2k + 1 are the test set, the next one is for validation, the other seven are for
    training, so that the test sets of the five splits do not overlap. Log-densities of these vectors are in nats
    relative to that scaling. No download: the photographs are part of scikit-learn.
    Raises `ValueError` for another split.
    Source of the recipe: Zoran, Weiss 2011; Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057, appendix D.

    >>> train, validation, test = load_patches(split=0)
    >>> train.shape, len(validation), len(test), bool(train.abs().max() < 1)
    (torch.Size([22050, 63]), 3150, 6300, True)
    """
    if split not in range(STRIPS // 2):
        raise ValueError(f"split: expected 0, …, {STRIPS // 2 - 1}, got {split!r}")
    roles = [(k - 2 * split) % STRIPS for k in range(STRIPS)]  # 0, 1: test; 2: validation
    generator = torch.Generator().manual_seed(split)
    parts = {"train": [], "validation": [], "test": []}
    for role, strip in zip(roles, _strips(), strict=True):
        parts["test" if role < 2 else "validation" if role == 2 else "train"].append(strip)
    return Patches(**{name: _vectors(torch.cat(found), generator) for name, found in parts.items()})
