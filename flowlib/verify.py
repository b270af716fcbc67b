"""Is it a flow? Properties of invertible maps, measured from outside.

The measuring functions take plain callables over NumPy arrays and look at values alone, so they work on any
code in any framework. A map T is `f(u) → (x, log_det)`, with u and x `(B, D)` and log_det `(B,)`. `on_arrays`
makes such a callable from torch code; a method of an `nn.Module`, such as `flow.log_prob`, is wrapped by
itself.

`check_layer` runs all of it on a layer of your own and prints a table.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from flowlib.jacobians import batch_jacobian

__all__ = [
    "LayerReport",
    "Property",
    "check_layer",
    "log_det_error",
    "mass_1d",
    "mass_2d",
    "numerical_jacobian",
    "on_arrays",
    "round_trip_error",
]

ArrayFunction = Callable[..., np.ndarray]


def on_arrays(f: Callable, dtype: torch.dtype = torch.float64) -> ArrayFunction:
    """Turn a function of tensors into one of NumPy arrays; float64 comes out, gradients are not tracked.

    `dtype` is what f gets. A tuple of tensors becomes a tuple of arrays.

    >>> on_arrays(lambda u: (u + 1, u.sum(-1)))(np.ones((2, 3)))[1]
    array([3., 3.])
    """

    def call(*arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        with torch.no_grad():
            result = f(*(torch.tensor(np.asarray(a), dtype=dtype) for a in arrays))
        if isinstance(result, tuple):
            return tuple(r.double().numpy() for r in result)
        return result.double().numpy()

    return call


def _as_array_function(f: Callable) -> ArrayFunction:
    """f itself, unless it is a module or a module's method: those get tensors of their parameters' dtype."""
    module = f if isinstance(f, nn.Module) else getattr(f, "__self__", None)
    if not isinstance(module, nn.Module):
        return f
    tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    return on_arrays(f, tensors[0].dtype if tensors else torch.float64)


def numerical_jacobian(f: ArrayFunction, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """The Jacobian J[n, i, j] = ∂f(x)_{n,i}/∂x_{n,j}, `(B, D', D)`, by central differences.

    f maps `(B, D)` to `(B, D')` example by example and is called once, with 2·D·B rows. The error is about
    h²·|f‴|/6 + ε|f|/h: near 1e-10 at h = 1e-5 in float64; float32 code needs h = 1e-2.

    >>> J = numerical_jacobian(lambda x: x**2, np.array([[1.0, 3.0]]))
    >>> bool(np.allclose(J, [[[2, 0], [0, 6]]]))
    True
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"x: expected shape (B, D), got {x.shape}")
    B, D = x.shape
    steps = h * np.eye(D)[:, None, :]  # (D, 1, D)
    points = np.concatenate([(x + steps).reshape(-1, D), (x - steps).reshape(-1, D)])
    values = np.asarray(_as_array_function(f)(points), dtype=np.float64)
    if values.ndim != 2 or len(values) != len(points):
        raise ValueError(f"f: expected an output of shape ({len(points)}, D), got {values.shape}")
    above, below = values.reshape(2, D, B, -1)
    return np.moveaxis((above - below) / (2 * h), 0, -1)


def round_trip_error(forward: ArrayFunction, inverse: ArrayFunction, u: np.ndarray) -> float:
    """The largest |inverse(forward(u)) − u|/(1 + |u|) over all entries; both return `(point, log_det)`.

    NaN when a value is, infinity when a shape is wrong. Swap the first two arguments for the other round
    trip.

    >>> double, half = lambda u: (2 * u, None), lambda x: (x / 2, None)
    >>> round_trip_error(double, half, np.ones((3, 2)))
    0.0
    """
    u = np.asarray(u, dtype=np.float64)
    back = np.asarray(_as_array_function(inverse)(_as_array_function(forward)(u)[0])[0])
    if back.shape != u.shape:
        return math.inf
    return float(np.max(np.abs(back - u) / (1 + np.abs(u))))


def log_det_error(transform: ArrayFunction, u: np.ndarray, h: float = 1e-5) -> float:
    """The largest gap between the log_det a map returns and log|det| of its Jacobian by differences.

    `transform(u)` returns `(x, log_det)`; the error is relative to 1 + |log det|. NaN when a value is,
    infinity when log_det is not `(B,)`.

    >>> log_det_error(lambda u: (2 * u, np.full(len(u), 2 * np.log(2))), np.ones((3, 2))) < 1e-9
    True
    """
    transform = _as_array_function(transform)
    u = np.asarray(u, dtype=np.float64)
    log_det = np.asarray(transform(u)[1])
    if log_det.shape != u.shape[:1]:
        return math.inf
    expected = np.linalg.slogdet(numerical_jacobian(lambda v: transform(v)[0], u, h))[1]
    return float(np.max(np.abs(log_det - expected) / (1 + np.abs(expected))))


def mass_1d(log_prob: ArrayFunction, extent: tuple[float, float] = (-10.0, 10.0), n: int = 4001) -> float:
    """∫ exp(log_prob(x)) dx over an interval, by the midpoint rule with n points; 1 for a density.

    log_prob maps `(n,)` to `(n,)` nats.

    >>> round(mass_1d(lambda x: -0.5 * x**2 - 0.5 * np.log(2 * np.pi)), 6)
    1.0
    """
    low, high = extent
    width = (high - low) / n
    x = low + width * (np.arange(n) + 0.5)
    values = np.asarray(_as_array_function(log_prob)(x))
    if values.shape != x.shape:
        raise ValueError(f"log_prob: expected an output of shape {x.shape}, got {values.shape}")
    return float(np.exp(values).sum() * width)


def mass_2d(
    log_prob: ArrayFunction, extent: tuple[float, float, float, float] = (-8.0, 8.0, -8.0, 8.0), n: int = 300
) -> float:
    """∫∫ exp(log_prob(x)) dx over extent = (x₀ min, max, x₁ min, max), by the midpoint rule on n × n points.

    log_prob maps `(N, 2)` to `(N,)` nats; it is called on n points at a time. 1 for a density that is smooth
    at the scale of the grid and lies inside.

    >>> from flowlib import Flow, StandardNormal
    >>> round(mass_2d(Flow(StandardNormal(2), []).log_prob), 4)
    1.0
    """
    log_prob = _as_array_function(log_prob)
    (x0, w0), (x1, w1) = (
        (low + (high - low) / n * (np.arange(n) + 0.5), (high - low) / n)
        for low, high in (extent[:2], extent[2:])
    )
    total = 0.0
    for value in x0:
        values = np.asarray(log_prob(np.stack([np.full(n, value), x1], -1)))
        if values.shape != (n,):
            raise ValueError(f"log_prob: expected an output of shape ({n},), got {values.shape}")
        total += float(np.exp(values).sum())
    return total * w0 * w1


@dataclass(frozen=True)
class Property:
    """One row of a report: what was examined, whether it holds, and what was seen."""

    name: str
    holds: bool
    seen: str


@dataclass
class LayerReport:
    """The table that `check_layer` returns; `print` it, or end a cell with it."""

    layer: str
    properties: list[Property] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every property holds."""
        return all(p.holds for p in self.properties)

    def raise_if_failed(self) -> None:
        """Raise `AssertionError` with the table unless every property holds."""
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        width = max(len(p.name) for p in self.properties)
        rows = [f"{'ok  ' if p.holds else 'FAIL'}  {p.name:<{width}}  {p.seen}" for p in self.properties]
        return "\n".join(
            [f"{self.layer}: {'all properties hold' if self.ok else 'not a flow layer yet'}", *rows]
        )

    __repr__ = __str__


def _numbers(error: float, tolerance: float) -> tuple[bool, str]:
    # `<=` is False for NaN, so a NaN fails.
    return error <= tolerance, f"largest error {error:.1e}, allowed {tolerance:.0e}"


def _relative(got: Tensor, expected: Tensor) -> float:
    return float(((got - expected).abs() / (1 + expected.abs())).max())


def check_layer(
    layer: nn.Module, D: int, *, batch: int = 16, seed: int = 0, perturb: float = 0.0, tolerance: float = 1e-9
) -> LayerReport:
    """Examine a layer of your own: both round trips, both log-dets, shapes, dtype, batch axes.

    Args:
        layer: module with `forward(u) → (x, log_det)` and `inverse(x) → (u, log_det)` on `(*batch, D)`.
            A copy is examined, in float64 and evaluation mode.
        D: number of variables.
        batch: number of random points, even, from N(0, I) in both directions.
        perturb: standard deviation of noise added to the copy's parameters. A layer that starts as the
            identity passes many wrong ways; noise brings its formula to light.
        tolerance: allowed error, relative to 1 + |value|; against central differences 1e-6 is allowed.

    Nothing is raised: a property that fails, or an exception in the layer, is a row of the report.

    >>> from flowlib import Rescaling
    >>> report = check_layer(Rescaling(3), D=3, perturb=0.5)
    >>> report.ok
    True
    """
    if batch < 2 or batch % 2:
        raise ValueError(f"batch must be even, to be folded into two axes, got {batch}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        exact = copy.deepcopy(layer).double().eval()
        single = copy.deepcopy(layer).float().eval()
        if perturb:
            with torch.no_grad():
                for p, q in zip(exact.parameters(), single.parameters(), strict=True):
                    p.add_(perturb * torch.randn_like(p))
                    q.copy_(p)
        points = torch.randn(batch, D, dtype=torch.float64)
        table = _Examination(exact, single, points, tolerance)
        report = LayerReport(type(layer).__name__)
        for title, examine in table.rows():
            try:
                holds, seen = examine()
            except Exception as error:  # whatever a student's layer raises is a finding
                first_line = str(error).partition("\n")[0]
                holds, seen = False, f"{type(error).__name__}: {first_line}"
            report.properties.append(Property(title, bool(holds), seen))
    return report


class _Examination:
    """The properties of one layer, each a method returning (holds, what was seen)."""

    def __init__(self, exact: nn.Module, single: nn.Module, points: Tensor, tolerance: float) -> None:
        self.exact, self.single, self.points, self.tolerance = exact, single, points, tolerance

    def rows(self) -> list[tuple[str, Callable[[], tuple[bool, str]]]]:
        rows = []
        for name, opposite in (("forward", "inverse"), ("inverse", "forward")):
            rows += [
                (f"{name}: shapes and dtype", lambda name=name: self.shapes(name)),
                (f"{opposite} undoes {name}", lambda a=name, b=opposite: self.round_trip(a, b)),
                (f"{name}: log_det against autodiff", lambda name=name: self.against_autodiff(name)),
                (f"{name}: log_det against differences", lambda name=name: self.against_differences(name)),
                (f"{name}: extra batch axes", lambda name=name: self.batch_axes(name)),
                (f"{name}: each example on its own", lambda name=name: self.examples_alone(name)),
                (f"{name}: argument left as it was", lambda name=name: self.argument_unchanged(name)),
            ]
        return rows

    def _call(self, name: str, v: Tensor) -> tuple[Tensor, Tensor]:
        result = getattr(self.exact, name)(v)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(f"{name} must return a pair (point, log_det), got {type(result).__name__}")
        return result

    def _point(self, name: str, v: Tensor) -> Tensor:
        point, _ = self._call(name, v)
        if point.shape != v.shape:
            raise ValueError(f"the point has shape {tuple(point.shape)}, expected {tuple(v.shape)}")
        return point

    def _log_det(self, name: str, v: Tensor) -> Tensor:
        _, log_det = self._call(name, v)
        if log_det.shape != v.shape[:-1]:
            raise ValueError(f"log_det has shape {tuple(log_det.shape)}, expected {tuple(v.shape[:-1])}")
        return log_det

    def shapes(self, name: str) -> tuple[bool, str]:
        expected = (tuple(self.points.shape), tuple(self.points.shape[:1]))
        for layer, points in ((self.exact, self.points), (self.single, self.points.float())):
            y, log_det = getattr(layer, name)(points)
            got = tuple(y.shape), tuple(log_det.shape)
            if got != expected:
                return False, f"expected shapes {expected[0]} and {expected[1]}, got {got[0]} and {got[1]}"
            if y.dtype != points.dtype or log_det.dtype != points.dtype:
                return False, f"{points.dtype} in, {y.dtype} and {log_det.dtype} out"
        return True, f"{expected[0]} and {expected[1]}"

    def round_trip(self, name: str, opposite: str) -> tuple[bool, str]:
        with torch.no_grad():
            back = self._point(opposite, self._point(name, self.points))
        return _numbers(_relative(back, self.points), self.tolerance)

    def against_autodiff(self, name: str) -> tuple[bool, str]:
        jacobian = batch_jacobian(lambda v: self._point(name, v), self.points)
        expected = torch.linalg.slogdet(jacobian)[1]
        return _numbers(_relative(self._log_det(name, self.points).detach(), expected), self.tolerance)

    def against_differences(self, name: str) -> tuple[bool, str]:
        return _numbers(log_det_error(getattr(self.exact, name), self.points.numpy()), 1e-6)

    @torch.no_grad()
    def batch_axes(self, name: str) -> tuple[bool, str]:
        folded = self.points.unflatten(0, (2, -1))
        error = max(
            _relative(part(name, folded), part(name, self.points).unflatten(0, (2, -1)))
            for part in (self._point, self._log_det)
        )
        return _numbers(error, self.tolerance)

    @torch.no_grad()
    def examples_alone(self, name: str) -> tuple[bool, str]:
        error = max(
            _relative(torch.cat([part(name, row[None]) for row in self.points]), part(name, self.points))
            for part in (self._point, self._log_det)
        )
        return _numbers(error, self.tolerance)

    def argument_unchanged(self, name: str) -> tuple[bool, str]:
        argument = self.points.clone()
        with torch.no_grad():
            self._call(name, argument)
        return torch.equal(argument, self.points), "compared before and after"
