"""Runge–Kutta methods for dy/dt = f(y, t), written out: with fixed steps, and with steps chosen by an error estimate.

Everything is ordinary tensor arithmetic, so that gradients run back through the steps.
Source: Hairer, Nørsett, Wanner 1993, "Solving Ordinary Differential Equations I", sections II.1–II.5.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from flowlib.checks import check_size
from flowlib.errors import IntegrationError

__all__ = ["AdaptiveStep", "FixedStep", "Solution", "Solver"]

VectorField = Callable[[Tensor, float], Tensor]

SMALLEST = 1e-12  # step that an adaptive solver may take, relative to the whole interval


class Solution(NamedTuple):
    """What a solver found: y at the end, and how often it evaluated f."""

    y: Tensor
    evaluations: int


class Solver(Protocol):
    """Anything that integrates dy/dt = f(y, t) from t0 to t1, in either direction of time."""

    def integrate(self, f: VectorField, y: Tensor, t0: float, t1: float) -> Solution: ...


@dataclass(frozen=True)
class _Tableau:
    """An explicit Runge–Kutta method: stage i is k_i = f(y + h Σ_j a_ij k_j, t + c_i h), a step is y + h Σ_i b_i k_i.

    `error` holds b − b̂ for a second method on the same stages, whose order is one less: h Σ_i (b_i − b̂_i) k_i
    estimates the error of a step.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int
    error: tuple[float, ...] | None = None

    @property
    def c(self) -> tuple[float, ...]:
        return tuple(sum(row) for row in self.a)

    def stages(self, f: VectorField, y: Tensor, t: float, h: float) -> list[Tensor]:
        k: list[Tensor] = []
        for row, c in zip(self.a, self.c, strict=True):
            k.append(f(_moved(y, h, row, k), t + c * h))
        return k

    def step(self, f: VectorField, y: Tensor, t: float, h: float) -> Tensor:
        return _moved(y, h, self.b, self.stages(f, y, t, h))


def _moved(y: Tensor, h: float, weights: tuple[float, ...], k: list[Tensor]) -> Tensor:
    """y + h Σ_j weights_j k_j."""
    for w, slope in zip(weights, k, strict=True):
        if w:
            y = y + (h * w) * slope
    return y


METHODS = {
    "euler": _Tableau(a=((),), b=(1.0,), order=1),
    "midpoint": _Tableau(a=((), (1 / 2,)), b=(0.0, 1.0), order=2),
    "rk4": _Tableau(a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6), order=4),
    # Bogacki, Shampine 1989: order 3 with an estimate of order 2.
    "bosh3": _Tableau(
        a=((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
        b=(2 / 9, 1 / 3, 4 / 9, 0.0),
        order=3,
        error=(2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
    ),
    # Dormand, Prince 1980: order 5 with an estimate of order 4.
    "dopri5": _Tableau(
        a=(
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
        order=5,
        error=(
            35 / 384 - 5179 / 57600,
            0.0,
            500 / 1113 - 7571 / 16695,
            125 / 192 - 393 / 640,
            -2187 / 6784 + 92097 / 339200,
            11 / 84 - 187 / 2100,
            -1 / 40,
        ),
    ),
}


def _method(name: str, among: list[str]) -> _Tableau:
    if name not in among:
        raise ValueError(f"method: expected one of {', '.join(among)}, got {name!r}")
    return METHODS[name]


@dataclass(frozen=True)
class FixedStep:
    """`steps` equal steps of a Runge–Kutta method. The error of the result falls like steps^(−order).

    method: "euler" (order 1), "midpoint" (2), "bosh3" (3), "rk4" (4) or "dopri5" (5). The result is a smooth function
    of y and of f's parameters, and the same for an example alone as in a batch; nothing tells when the steps are
    too coarse. Raises `ValueError` for another method or steps < 1.

    >>> decay = lambda y, t: -y
    >>> FixedStep(10).integrate(decay, torch.ones(1, dtype=torch.float64), 0.0, 1.0)
    Solution(y=tensor([0.3679], dtype=torch.float64), evaluations=40)
    """

    steps: int = 20
    method: str = "rk4"

    def __post_init__(self) -> None:
        check_size("steps", self.steps)
        _method(self.method, list(METHODS))

    def integrate(self, f: VectorField, y: Tensor, t0: float, t1: float) -> Solution:
        """y at t1, from y at t0; t1 < t0 runs backwards."""
        tableau, h = METHODS[self.method], (t1 - t0) / self.steps
        for n in range(self.steps):
            y = tableau.step(f, y, t0 + n * h, h)
        return Solution(y, self.steps * len(tableau.b))


@dataclass(frozen=True)
class AdaptiveStep:
    """Steps as long as an error estimate allows: each step's is to stay below atol + rtol · |y|.

    The estimate is the difference between two Runge–Kutta methods that share their stages. The next step is h · 0.9 ·
    (1/estimate)^(1/order), at most five times longer or shorter. One step serves the whole batch, by its root mean
    square: an example's result depends on the others, within the tolerance. A NaN is never accepted.

    Args:
        rtol, atol: relative and absolute tolerance of a step. In float32 below 1e-6 only rounding is left to fight.
        method: "dopri5" (Dormand–Prince, order 5) or "bosh3" (Bogacki–Shampine, order 3).
        max_evaluations: of f, in one integration.

    Raises `ValueError` for bad arguments, `IntegrationError` when the step becomes smaller than 1e-12 of the interval
    or the evaluations run out: the equation is stiff, has no solution that long, or the tolerance asks too much.

    >>> decay = lambda y, t: -y
    >>> y, evaluations = AdaptiveStep(rtol=1e-8, atol=1e-8).integrate(decay, torch.ones(1).double(), 0.0, 1.0)
    >>> abs(y.item() - math.exp(-1)) < 1e-7, evaluations < 200
    (True, True)
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    method: str = "dopri5"
    max_evaluations: int = 10_000

    def __post_init__(self) -> None:
        _method(self.method, [name for name, m in METHODS.items() if m.error])
        check_size("max_evaluations", self.max_evaluations)
        if not (self.rtol >= 0 and self.atol > 0):
            raise ValueError(f"expected rtol ≥ 0 and atol > 0, got {self.rtol!r} and {self.atol!r}")

    def integrate(self, f: VectorField, y: Tensor, t0: float, t1: float) -> Solution:
        """y at t1, from y at t0; t1 < t0 runs backwards."""
        tableau, t, h, used = METHODS[self.method], t0, (t1 - t0) / 10, 0
        assert tableau.error is not None
        while t != t1:
            if used + len(tableau.b) > self.max_evaluations:
                raise IntegrationError(
                    f"{used} evaluations brought t from {t0:g} to {t:g} only, not to {t1:g}: "
                    f"raise max_evaluations = {self.max_evaluations} or the tolerance"
                )
            if abs(h) < SMALLEST * abs(t1 - t0):
                raise IntegrationError(
                    f"at t = {t:g} the step shrank to {h:.1e}: the velocity is not finite or too steep there, "
                    "or the tolerance too small for the dtype"
                )
            # A hair more than the step, and it is the last: rounding would leave a rest of no length.
            last = 1.000001 * abs(h) >= abs(t1 - t)
            h = t1 - t if last else h
            k = tableau.stages(f, y, t, h)
            used += len(k)
            ahead = _moved(y, h, tableau.b, k)
            estimate = self._estimate(_moved(torch.zeros_like(y), h, tableau.error, k), y, ahead)
            if estimate <= 1:  # False for NaN
                y, t = ahead, t1 if last else t + h
            h = h * self._factor(estimate, tableau.order)
        return Solution(y, used)

    @torch.no_grad()
    def _estimate(self, error: Tensor, y: Tensor, ahead: Tensor) -> float:
        """Root mean square of error/(atol + rtol |y|): a step is good enough when it is at most 1."""
        if error.numel() == 0:
            return 0.0
        allowed = self.atol + self.rtol * torch.maximum(y.abs(), ahead.abs())
        return float((error / allowed).square().mean().sqrt())

    @staticmethod
    def _factor(estimate: float, order: int) -> float:
        if not math.isfinite(estimate):
            return 0.2
        return min(5.0, max(0.2, 0.9 * max(estimate, 1e-10) ** (-1 / order)))
