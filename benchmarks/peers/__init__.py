"""The same flows built with several libraries, behind one interface: what the comparisons measure.

`build(library, shape)` gives a `PeerFlow`, whichever library stands behind it. Each library is used the way its own
documentation does: its coupling classes, its base distribution, its containers; the network inside a coupling is
the same for all. Where a library's layer is not the same map as the others', `NOTES` says so; what a library does
not have raises `Missing`, with the reason. `pip install '.[peers]'` installs them all; each is imported only when it
is built.
"""

import importlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.peers.notes import MISSING, NOTES
from flowlib import Affine

__all__ = ["FAMILIES", "LIBRARIES", "MISSING", "NOTES", "Missing", "PeerFlow", "Shape", "build"]

LIBRARIES = ("flowlib", "FrEIA", "normflows", "nflows", "zuko")
FAMILIES = ("affine coupling", "MAF", "spline coupling", "Glow", "residual", "continuous")


class Missing(NotImplementedError):
    """A library that is not installed, or a family that it does not have; the message is the reason, one line."""


@dataclass(frozen=True)
class Shape:
    """A flow to build, whatever the library.

    Attributes:
        family: of `FAMILIES`.
        D: number of variables. Glow's are images of one channel, √D × √D pixels, flattened.
        layers: number of layers; of steps (actnorm, 1×1 convolution, coupling) for Glow.
        hidden: widths of the hidden layers of each conditioner, ReLU between them; channels for Glow.
        dropout: probability with which the conditioners drop a hidden unit in training.
        identity_start: the last layer of each conditioner starts at 0, so that the flow starts as the identity.
        log_scale_bound: of affine layers, where the library has such a bound; None is the library's own choice.
        bins: of splines, on [−3, 3].
        standardize: end with a fixed layer that has the data's mean and standard deviation, flowlib's `Affine` for
            every library.
        permute: random permutations between the layers (masks at random where a library has masks), in place of
            halves by turns.
        rescale: a learned scale and shift of each variable at the data's end, for libraries whose affine layers
            cannot expand (see `NOTES`).

    Raises `ValueError` for an unknown family, and for sizes that are not possible.
    """

    family: str
    D: int
    layers: int
    hidden: tuple[int, ...]
    dropout: float = 0.0
    identity_start: bool = False
    log_scale_bound: float | None = None
    bins: int = 8
    standardize: bool = False
    permute: bool = False
    rescale: bool = False

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family: expected one of {', '.join(FAMILIES)}, got {self.family!r}")
        if self.D < 2 or self.layers < 1 or not self.hidden:
            raise ValueError(f"expected D ≥ 2, layers ≥ 1 and hidden widths, got {self}")
        if self.family == "Glow" and (math.isqrt(self.D) ** 2 != self.D or math.isqrt(self.D) % 2):
            raise ValueError(f"Glow: expected D = side² with an even side, got {self.D}")
        if self.family == "continuous" and self.layers != 1:
            raise ValueError(f"continuous: expected layers = 1, got {self.layers}")

    @property
    def event(self) -> tuple[int, ...]:
        """Shape of one example as the library sees it: `(D,)`, or `(1, √D, √D)` for Glow."""
        side = math.isqrt(self.D)
        return (1, side, side) if self.family == "Glow" else (self.D,)

    @property
    def base_event(self) -> tuple[int, ...]:
        """Shape of u as the library sees it: `(D,)`, or for Glow `(4, √D/2, √D/2)`, behind one squeeze."""
        half = math.isqrt(self.D) // 2
        return (4, half, half) if self.family == "Glow" else (self.D,)


class PeerFlow(nn.Module):
    """A flow of some library, with this course's directions: u base, x data, both `(B, D)`.

    A library's subclass defines `_log_prob`, `_sample`, `_to_base` and `_to_data` for x `(B, *shape.event)` and
    u `(B, *shape.base_event)`.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.affine: Affine | None = None  # at the data's end: `Shape.standardize`

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) in nats: `(B, D)` → `(B,)`."""
        if self.affine is None:
            return self._log_prob(_as(x, self.shape.event))
        x, log_det = self.affine.inverse(x)
        return self._log_prob(_as(x, self.shape.event)) + log_det

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n draws `(n, D)`, without gradient."""
        x = self._sample(n).reshape(n, -1)
        return x if self.affine is None else self.affine.forward(x)[0]

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data to base: `(u, log|det ∂u/∂x|)`, `(B, D)` and `(B,)`."""
        start: Tensor | float = 0.0
        if self.affine is not None:
            x, start = self.affine.inverse(x)
        u, log_det = self._to_base(_as(x, self.shape.event))
        return u.reshape(x.shape), log_det + start

    def to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Base to data: `(x, log|det ∂x/∂u|)`, `(B, D)` and `(B,)`."""
        x, log_det = self._to_data(_as(u, self.shape.base_event))
        x = x.reshape(u.shape)
        if self.affine is None:
            return x, log_det
        x, end = self.affine.forward(x)
        return x, log_det + end

    def _log_prob(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def _sample(self, n: int) -> Tensor:
        raise NotImplementedError

    def _to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


def _as(v: Tensor, event: tuple[int, ...]) -> Tensor:
    return v if len(event) == 1 else v.reshape(-1, *event)


def build(library: str, shape: Shape, data: Tensor | None = None) -> PeerFlow:
    """An untrained flow of a library, in training mode; the seed is torch's (and numpy's, for FrEIA's permutations).

    Args:
        library: of `LIBRARIES`.
        shape: what to build.
        data: training data `(N, D)`: needed with `shape.standardize`; actnorms are initialized by its first 512.

    Raises `Missing` where the library does not have the family or is not installed, `ValueError` for an unknown
    library and for missing data.

    >>> flow = build("flowlib", Shape("affine coupling", D=2, layers=4, hidden=(16, 16), identity_start=True))
    >>> u, log_det = flow.to_base(torch.ones(3, 2))
    >>> torch.equal(u, torch.ones(3, 2)), flow.log_prob(u).shape
    (True, torch.Size([3]))
    """
    if library not in LIBRARIES:
        raise ValueError(f"library: expected one of {', '.join(LIBRARIES)}, got {library!r}")
    if (library, shape.family) in MISSING:
        raise Missing(f"{library}: {MISSING[library, shape.family]}")
    if shape.standardize and data is None:
        raise ValueError("standardize: expected data (N, D), got None")
    if library != "flowlib":
        try:
            importlib.import_module(library)
        except ModuleNotFoundError as error:
            raise Missing(f"{library} is not installed: pip install '.[peers]' ({error})") from error
    module = importlib.import_module(f"benchmarks.peers.{library.lower()}")
    flow = module.BUILDERS[shape.family](shape)
    if shape.standardize:
        flow.affine = Affine.from_data(data)
    if data is not None and (shape.family == "Glow" or shape.rescale):
        with torch.no_grad():
            flow.log_prob(data[:512])
    return flow
