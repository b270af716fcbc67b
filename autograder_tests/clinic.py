"""Layers for the clinic of 03: some healthy, some with one mistake that is not seen by looking at the output.

`patient(name, D, seed)` makes one. All act on `(*batch, D)` in float64 and look like couplings from outside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from autograder_tests.builders import mlp

__all__ = ["PATIENTS", "PROPERTIES", "broken_properties", "functions", "patient"]

MAX_NUMBERS = 1_000_000
PROPERTIES = ("round trip", "forward log_det", "inverse log_det")


class _Coupling(nn.Module):
    """A healthy affine coupling: the kept half decides how the moved half is scaled and translated."""

    def __init__(self, D: int, seed: int) -> None:
        super().__init__()
        self.d, self.D = D // 2, D
        self.net = mlp(self.d, 2 * (D - self.d), seed)

    def _parameters_of(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(kept).chunk(2, dim=-1)
        return torch.tanh(s), t

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = u.split([self.d, self.D - self.d], -1)
        s, t = self._parameters_of(kept)
        return torch.cat([kept, moved * s.exp() + t], -1), s.sum(-1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = x.split([self.d, self.D - self.d], -1)
        s, t = self._parameters_of(kept)
        return torch.cat([kept, (moved - t) * (-s).exp()], -1), -s.sum(-1)


class _EvenOddJoinedAsHalves(_Coupling):
    # The log-determinant stays right: permuting the output changes no volume.
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(torch.cat([u[..., 1::2], u[..., ::2]], -1))

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().inverse(torch.cat([x[..., 1::2], x[..., ::2]], -1))


class _SignsFlipped(_Coupling):
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = super().forward(u)
        return x, -log_det

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, log_det = super().inverse(x)
        return u, -log_det


class _InverseReportsForward(_Coupling):
    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, log_det = super().inverse(x)
        return u, -log_det


class _ForwardCountsHalf(_Coupling):
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = super().forward(u)
        return x, log_det / 2


class _LogDetAveraged(_Coupling):
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = super().forward(u)
        return x, log_det / (self.D - self.d)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, log_det = super().inverse(x)
        return u, log_det / (self.D - self.d)


class _InverseUnscalesFirst(_Coupling):
    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept, moved = x.split([self.d, self.D - self.d], -1)
        s, t = self._parameters_of(kept)
        return torch.cat([kept, moved * (-s).exp() - t], -1), -s.sum(-1)


class _RightAtTheOriginOnly(_Coupling):
    # Close to 0 the error is far below any tolerance: a test at u = 0 alone sees a healthy layer.
    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, log_det = super().inverse(x)
        return u + 0.05 * torch.relu(u.abs().amax(-1, keepdim=True) - 0.5), log_det


class _InverseShifted(_Coupling):
    # A shift changes no volume: both log-determinants are right.
    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, log_det = super().inverse(x)
        return u + 0.01, log_det


class _NothingHolds(_Coupling):
    # Whatever is tested, it must be rejected.
    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = super().forward(u)
        return x, log_det + 1

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, log_det = super().inverse(x)
        return 1.5 * u + 0.1, log_det - 1


class _Rotation(nn.Module):
    """Healthy and no coupling at all: every variable moves, log_det is 0."""

    def __init__(self, D: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        q, _ = torch.linalg.qr(torch.randn(D, D, generator=generator, dtype=torch.float64))
        self.register_buffer("q", q)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u @ self.q.T, u.new_zeros(u.shape[:-1])

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.q, x.new_zeros(x.shape[:-1])


PATIENTS: dict[str, type[nn.Module]] = {
    "A": _EvenOddJoinedAsHalves,
    "B": _SignsFlipped,
    "C": _Coupling,
    "D": _InverseReportsForward,
    "E": _InverseUnscalesFirst,
    "F": _ForwardCountsHalf,
    "G": _Rotation,
    "H": _LogDetAveraged,
    "I": _RightAtTheOriginOnly,
    "J": _InverseShifted,
    "K": _NothingHolds,
}


def patient(name: str, D: int = 4, seed: int = 0) -> nn.Module:
    """A layer of the clinic on `(*batch, D)`, D ≥ 3, float64.

    Raises:
        KeyError: no patient of that name.
        ValueError: D < 3 (with two variables some mistakes cannot be seen).

    >>> x, log_det = patient("C").forward(torch.zeros(2, 4, dtype=torch.float64))
    >>> x.shape, log_det.shape
    (torch.Size([2, 4]), torch.Size([2]))
    """
    if name not in PATIENTS:
        raise KeyError(f"expected one of {', '.join(PATIENTS)}, got {name!r}")
    if D < 3:
        raise ValueError(f"expected D of at least 3, got {D}")
    return PATIENTS[name](D, seed)


def functions(name: str, D: int, seed: int) -> list[Callable[[np.ndarray], list[np.ndarray]]]:
    """forward and inverse of a patient as functions of arrays: nothing to look into."""
    layer = patient(name, D, seed)

    def of(method: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[[np.ndarray], list[np.ndarray]]:
        def function(points: np.ndarray) -> list[np.ndarray]:
            # It runs beside the checker, whose memory is not the student's to fill.
            if np.size(points) > MAX_NUMBERS:
                raise ValueError(f"expected at most {MAX_NUMBERS:,} numbers at once, got {np.size(points):,}")
            with torch.no_grad():
                y, log_det = method(torch.as_tensor(points, dtype=torch.float64))
            return [y.numpy(), log_det.numpy()]

        return function

    return [of(layer.forward), of(layer.inverse)]


def broken_properties(name: str, D: int = 4, seed: int = 0) -> list[str]:
    """Which of `PROPERTIES` a patient breaks, found by measuring it.

    >>> broken_properties("C"), broken_properties("B")
    ([], ['forward log_det', 'inverse log_det'])
    """
    from flowlib.verify import numerical_jacobian

    forward, inverse = functions(name, D, seed)
    points = np.random.default_rng(seed).normal(size=(16, D)) * 1.5
    found = []
    if not (
        np.allclose(inverse(forward(points)[0])[0], points, atol=1e-9)
        and np.allclose(forward(inverse(points)[0])[0], points, atol=1e-9)
    ):
        found.append("round trip")
    for title, f in (("forward log_det", forward), ("inverse log_det", inverse)):
        J = numerical_jacobian(lambda batch, f=f: f(batch)[0], points)
        if not np.allclose(np.linalg.slogdet(J)[1], f(points)[1], atol=1e-5):
            found.append(title)
    return found
