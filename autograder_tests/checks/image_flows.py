"""Checks of 06_image_flows.

What is drawn at random is judged by facts that every right answer shares: where the noise lies, how it is
distributed, values that come out whatever is drawn. Limits are such that a right implementation never fails by
chance. Layers of images are flattened to vectors, so that the properties shared by all families apply.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from autograder_tests import layers
from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import has_shape, require, same
from autograder_tests.plain import Make
from autograder_tests.sampling import follows
from autograder_tests.subject import Local, Subject

ASSIGNMENT = "06_image_flows"

ROUNDING = 1e-4  # of float32, in units of a level
# `torch.log(torch.tensor(2.0))` is a float32 constant, and leaves float64 numbers float64: right, and coarser than they look.
CONSTANTS = 1e-6


# ---- what the checks build ---------------------------------------------------------------------------------------


class _Flattened(nn.Module):
    """A layer between images as one between vectors `(*batch, D)`."""

    def __init__(self, layer: nn.Module, base_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.base_shape, self.event_shape = layer, base_shape, event_shape

    def _call(
        self, method: str, v: torch.Tensor, before: Sequence[int], after: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        batch = v.shape[:-1]
        images = v.reshape(*batch, *before)
        y, log_det = getattr(self.layer, method)(images)
        if tuple(y.shape) != (*batch, *after):
            raise ValueError(
                f"{method} of an input of shape {tuple(images.shape)}: "
                f"expected shape {(*batch, *after)}, got {tuple(y.shape)}"
            )
        return y.reshape(*batch, math.prod(after)), log_det

    def forward(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._call("forward", u, self.base_shape, self.event_shape)

    def inverse(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._call("inverse", x, self.event_shape, self.base_shape)


@builder
def flattened(layer: nn.Module, base_shape: Sequence[int], event_shape: Sequence[int]) -> nn.Module:
    """`layer` from images of `base_shape` to images of `event_shape`, as a layer between vectors."""
    return _Flattened(layer, tuple(base_shape), tuple(event_shape))


@builder
def after_batch(layer: nn.Module, batch: torch.Tensor, seed: int = 0, scale: float = 0.0) -> nn.Module:
    """`layer` in float64 after its `inverse` has seen `batch`; then noise on its parameters, as of training."""
    layer = layer.double()
    layer.inverse(batch)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * scale)
    return layer


@builder
def saved_and_loaded(layer: nn.Module, other: nn.Module, batch: torch.Tensor) -> nn.Module:
    """`other` with the state of `layer` after its `inverse` has seen `batch`."""
    layer, other = layer.double(), other.double()
    layer.inverse(batch)
    other.load_state_dict(layer.state_dict())
    return other


@builder
def image_layer(C: int, H: int, W: int, seed: int) -> nn.Module:
    """A random invertible map of images `(C, H, W)`, C even: couplings by checkerboard and by channels."""
    import flowlib

    generator = torch.Generator().manual_seed(seed)
    couplings = []
    for mask in (flowlib.channel_mask((C, H, W)), flowlib.checkerboard_mask((C, H, W))):
        net = nn.Sequential(nn.Conv2d(C, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 2 * C, 1))
        couplings.append(flowlib.ImageCoupling(net, mask, 1.0))
    composed = flowlib.Composition(couplings).double()
    with torch.no_grad():
        for p in composed.parameters():
            p.copy_(0.5 * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return composed


@builder
def histogram_density(table: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """The log-density on [0, 1)^D that is constant in each cell: table `(D, L)` of probabilities of the levels."""

    def log_prob(z: torch.Tensor) -> torch.Tensor:
        D, L = table.shape
        level = (z * L).floor().long().clamp(0, L - 1)
        return (L * table[torch.arange(D), level]).log().sum(-1)

    return log_prob


@builder
def quadratic_density(
    curvature: torch.Tensor, center: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """−½ Σ curvature_i (z_i − center_i)², `(*batch, D)` → `(*batch,)`: bends within a cell."""
    return lambda z: -0.5 * (curvature * (z - center) ** 2).sum(-1)


def _does_something(subject: Subject, layer: Make, case: Case, D: int) -> None:
    """A layer that does nothing has most other properties, too."""
    points = case.normal(2, D)
    x, _ = subject.pair(layer, "forward", points)
    has_shape(x, points.shape, "first result of forward")
    require(
        np.abs(x - points).max() > 1e-3,
        "forward does nothing, so that nothing else is worth a point",
        expected="x to differ from u",
        got="x = u",
    )


# ---- dequantize --------------------------------------------------------------------------------------------------


def _noise(
    subject: Subject, case: Case, shape: tuple[int, ...], levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels of that shape and the noise that the student's function added, in units of a level."""
    # In float32 `torch.rand` and `torch.rand_like` draw the same numbers, so that either is matched with a known mistake.
    x = case.rng.integers(0, levels, shape).astype(np.float32)
    z = subject.array("student:dequantize", "", x, levels, seed=case.integer())
    has_shape(z, shape, f"dequantize of pixels of shape {shape}")
    noise = z.astype(float) * levels - x
    require(np.isfinite(noise).all(), "the dequantized values must be finite")
    return x, noise


@check("dequantize")
def dequantized_values_stay_in_their_cell(subject: Subject, case: Case) -> None:
    """Level x lands in [x/L, (x+1)/L), so that rounding down gives the level back."""
    levels = case.pick(4, 2, 17, 256)
    shape = case.pick((3, 2), (5,), (4, 3, 2))
    for _ in range(20):
        x, noise = _noise(subject, case, shape, levels)
        # One cell at a time, so that the report shows the first that is left.
        for level, v in zip(x.ravel(), noise.ravel(), strict=True):
            require(
                -ROUNDING * levels <= v <= 1 + ROUNDING * levels,
                f"level {level:.0f} of {levels} leaves its cell",
                expected=f"a value from {level / levels:.4f} to {(level + 1) / levels:.4f}",
                got=f"{(level + v) / levels:.4f}",
            )
        require(
            np.ptp(noise) > 0,
            "the same noise everywhere",
            expected="random noise",
            got=f"{noise.flat[0]:.4f}",
        )


@check("dequantize")
def dequantization_noise_fills_the_cell(subject: Subject, case: Case) -> None:
    """The noise is uniform over the whole cell."""
    levels = case.pick(4, 2, 17)
    _, noise = _noise(subject, case, (4000, 1), levels)
    follows(
        noise,
        "levels·z − x does not follow the uniform distribution on [0, 1)",
        lambda v: np.clip(v, 0, 1),
        {"levels": str(levels), "smallest": f"{noise.min():.3f}", "largest": f"{noise.max():.3f}"},
    )


@check("dequantize")
def dequantization_noise_is_independent(subject: Subject, case: Case) -> None:
    """Every pixel of every image gets noise of its own."""
    levels, S, D = case.pick(4, 17), 2000, case.pick(3, 5)
    _, noise = _noise(subject, case, (S, D), levels)
    require(np.ptp(noise, axis=1).min() > 0, "all pixels of an image get the same noise")
    require(np.ptp(noise, axis=0).min() > 0, "all images get the same noise at a pixel")
    # For independent uniform draws √S times a correlation is close to N(0, 1).
    correlation = math.sqrt(S) * np.abs(np.corrcoef(noise.T)[np.triu_indices(D, 1)]).max()
    require(
        correlation < 6,
        "the noise of two pixels is correlated",
        expected=f"a correlation below {6 / math.sqrt(S):.2f}",
        got=f"{correlation / math.sqrt(S):.2f}",
    )


# ---- bits_per_dim ------------------------------------------------------------------------------------------------


@check("bits_per_dim")
def bits_of_the_uniform_density(subject: Subject, case: Case) -> None:
    """The uniform density on [0, 1)^D costs log2 L bits per dimension: nothing is known of the L levels."""
    D, levels = case.pick(6, 1, 64), case.pick(8, 2, 17, 256)
    shape = case.pick((3,), (), (2, 4))
    got = subject.array("student:bits_per_dim", "", np.zeros(shape), D, levels)
    given = {"log_prob": "0", "D": str(D), "levels": str(levels)}
    same(got, np.full(shape, math.log2(levels)), "bits_per_dim", given=given, rtol=CONSTANTS)


@check("bits_per_dim")
def bits_of_any_density(subject: Subject, case: Case) -> None:
    """Nats of an image become bits of a dimension of the discrete data, one number per image."""
    D, levels = case.pick(4, 1, 9, 64), case.pick(2, 5, 17, 256)
    shape = case.pick((3,), (2, 3), (5,))
    log_prob = case.normal(*shape, scale=5.0)
    got = subject.array("student:bits_per_dim", "", log_prob, D, levels)
    expected = (-log_prob / D + math.log(levels)) / math.log(2)
    given = {"log_prob": log_prob, "D": str(D), "levels": str(levels)}
    same(got, expected, "bits_per_dim", given=given, rtol=CONSTANTS, atol=CONSTANTS)


# ---- discrete_bound ----------------------------------------------------------------------------------------------


@check("discrete_bound")
def bound_is_exact_for_histograms(subject: Subject, case: Case) -> None:
    """Where the density is constant in every cell, the bound is log P(x), whatever noise is drawn."""
    D, levels = case.pick((2, 3), (3, 4), (1, 5), (4, 2))
    table = case.rng.dirichlet(np.ones(levels), size=D)
    x = case.rng.integers(0, levels, (case.pick(3, 1, 5), D)).astype(float)
    samples = case.pick(2, 1, 4)
    density = Make("histogram_density", (table,))
    got = subject.array("student:discrete_bound", "", density, x, levels, samples, seed=case.integer())
    expected = np.log(table[np.arange(D), x.astype(int)]).sum(-1)
    given = {"x": x, "probabilities of the levels": table}
    same(got, expected, "discrete_bound", given=given, rtol=CONSTANTS, atol=CONSTANTS)


@check("discrete_bound")
def bound_averages_logarithms(subject: Subject, case: Case) -> None:
    """The bound is the mean of log p over the whole cell, minus D·log L."""
    D, levels, N, S = case.pick(2, 1, 3), case.pick(3, 2, 4), 400, 8
    curvature, center = case.uniform(20.0, 60.0, D), case.uniform(0.0, 1.0, D)
    x = np.tile(case.rng.integers(0, levels, D).astype(float), (N, 1))
    density = Make("quadratic_density", (curvature, center))
    got = subject.array("student:discrete_bound", "", density, x, levels, S, seed=case.integer()).astype(
        float
    )
    has_shape(got, (N,), f"discrete_bound of {N} images")
    # E(z − c)² for z uniform in a cell of width w around m is (m − c)² + w²/12, its variance w²(m − c)²/3 + w⁴/180.
    away, width = (x[0] + 0.5) / levels - center, 1 / levels
    expected = -0.5 * (curvature * (away**2 + width**2 / 12)).sum() - D * math.log(levels)
    spread = 0.5 * math.sqrt((curvature**2 * (width**2 * away**2 / 3 + width**4 / 180)).sum())
    error = got.std(ddof=1) / math.sqrt(N)
    require(error > 0, "the bound comes out the same at every draw", expected="random noise", got="none")
    allowed = 6 * error + 1e-4 * (1 + abs(expected))
    require(
        abs(got.mean() - expected) <= allowed,  # False for NaN
        f"the mean over {N} calls' worth of noise",
        expected=f"{expected:.3f} ± {allowed:.3f} (six standard errors)",
        got=f"{got.mean():.3f}",
        given={"x": x[0], "levels": str(levels), "log p": f"−½Σ k(z−c)², k = {np.round(curvature, 1)}"},
    )
    # The spread of N numbers is known to a few percent: a factor of 1.6 is never reached by chance.
    require(
        got.std(ddof=1) < 1.6 * spread / math.sqrt(S),
        f"the bounds of {N} equal images scatter as if there were fewer draws of v than num_samples = {S}",
        expected=f"a standard deviation of about {spread / math.sqrt(S):.3f}",
        got=f"{got.std(ddof=1):.3f}; a single draw has {spread:.3f}",
    )


# ---- checkerboard_mask -------------------------------------------------------------------------------------------


def _mask(subject: Subject, shape: tuple[int, int, int], *flip: bool) -> np.ndarray:
    mask = subject.array("student:checkerboard_mask", "", shape, *flip)
    has_shape(mask, shape, f"checkerboard_mask({shape})")
    require(mask.dtype.kind == "f", "the mask must be a floating-point tensor", got=str(mask.dtype))
    return mask


def _image_shape(case: Case) -> tuple[int, int, int]:
    """An even and an odd size among others: a row-by-row pattern is a checkerboard for odd widths alone."""
    return case.pick((2, 3, 4), (1, 4, 4), (3, 2, 6), (2, 5, 2))


@check("checkerboard_mask")
def checkerboard_keeps_even_pixels(subject: Subject, case: Case) -> None:
    """1 where h + w is even, 0 elsewhere, the same in every channel."""
    shape = C, H, W = _image_shape(case)
    mask = _mask(subject, shape)
    expected = (np.add.outer(np.arange(H), np.arange(W)) + 1) % 2
    for c in range(C):
        require(
            np.array_equal(mask[c], expected),
            f"channel {c} of the mask of shape {shape} is no checkerboard that keeps even h + w",
            expected=str(expected).replace("\n", ""),
            got=str(mask[c].astype(int)).replace("\n", ""),
        )


@check("checkerboard_mask")
def checkerboard_flips_to_its_complement(subject: Subject, case: Case) -> None:
    """flip=True keeps exactly the pixels that flip=False moves."""
    shape = case.pick((1, 3, 3), (2, 4, 4), (1, 2, 3))
    one, other = (_mask(subject, shape, flip) for flip in (False, True))
    require(
        np.array_equal(other, 1 - one) and 0 < one.mean() < 1,
        f"the masks of shape {shape} with flip=False and flip=True are no complements",
        expected=str((1 - one[0]).astype(int)).replace("\n", ""),
        got=str(other[0].astype(int)).replace("\n", ""),
    )


# ---- Squeeze -----------------------------------------------------------------------------------------------------


def _squeeze(case: Case) -> tuple[Make, tuple[int, int, int], tuple[int, int, int]]:
    """The student's layer between vectors, with the shapes of x and of u."""
    C, H, W = case.pick((2, 4, 2), (2, 2, 4), (3, 2, 2), (1, 4, 6))
    inner = (4 * C, H // 2, W // 2)
    return Make("flattened", (Make("student:Squeeze"), inner, (C, H, W))), (C, H, W), inner


def _by_blocks(x: np.ndarray) -> np.ndarray:
    """u[4c + 2i + j, h, w] = x[c, 2h + i, 2w + j] for x `(B, C, H, W)`."""
    B, C, H, W = x.shape
    u = np.empty((B, 4 * C, H // 2, W // 2))
    for k in range(4 * C):
        c, i, j = k // 4, k % 4 // 2, k % 2
        u[:, k] = x[:, c, i::2, j::2]
    return u


@check("Squeeze")
def squeeze_turns_blocks_into_channels(subject: Subject, case: Case) -> None:
    """inverse: the pixels of a 2×2 block become channels 4c, …, 4c + 3 of one pixel."""
    _, (C, H, W), inner = _squeeze(case)
    # Numbered pixels: the report can be read.
    x = np.arange(float(case.pick(1, 2, 3) * C * H * W)).reshape(-1, C, H, W)
    u, _ = subject.pair(Make("student:Squeeze"), "inverse", x)
    has_shape(u, (len(x), *inner), f"first result of inverse for an input of shape {x.shape}")
    same(u, _by_blocks(x), "inverse", given={"x": x})


@check("Squeeze")
def squeeze_forward_undoes_inverse(subject: Subject, case: Case) -> None:
    """forward puts every value back, from base to data; inverse undoes forward."""
    layer, shape, _ = _squeeze(case)
    layers.round_trips(subject, layer, case.normal(case.pick(2, 3), math.prod(shape)))


@check("Squeeze")
def squeeze_keeps_volume(subject: Subject, case: Case) -> None:
    """log_det is one zero per image: values move, none is stretched."""
    layer, shape, _ = _squeeze(case)
    for batch in ((case.pick(2, 5),), (), (3, 2)):
        points = case.normal(*batch, math.prod(shape))
        for direction in layers.SYMBOL:
            _, log_det = subject.pair(layer, direction, points)
            has_shape(log_det, batch, f"log_det of {direction} for images with batch shape {batch}")
            same(log_det, np.zeros(batch), f"log_det of {direction}", atol=1e-12)


@check("Squeeze")
def squeeze_batch_shapes(subject: Subject, case: Case) -> None:
    """Images of any shape (*batch, C, H, W) work."""
    layer, shape, _ = _squeeze(case)
    layers.batch_shapes_agree(subject, layer, case, math.prod(shape))


# ---- ActNorm -----------------------------------------------------------------------------------------------------


def _actnorm(case: Case) -> tuple[tuple[int, int, int], np.ndarray, np.ndarray]:
    """A shape, a first batch `(B, C, H, W)` whose channels differ, and a second one of other moments."""
    shape = C, H, W = case.pick((2, 2, 3), (3, 4, 2), (1, 2, 2), (4, 1, 3))
    scale, shift = case.uniform(0.3, 4.0, C, 1, 1), case.normal(C, 1, 1, scale=3.0)
    first = shift + scale * case.normal(case.pick(12, 8, 20), C, H, W)
    return shape, first, 1.5 + 2 * case.normal(case.pick(2, 3), C, H, W)


def _moments(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and standard deviation of each channel, `(C, 1, 1)`, and how far dividing by n − 1 may be off."""
    mean, std = (f(batch, axis=(0, 2, 3))[:, None, None] for f in (np.mean, np.std))
    return mean, std, 1.01 / (batch.size / batch.shape[1] - 1) + 1e-4


def _trained(case: Case) -> tuple[Make, int]:
    """The student's layer after its first batch and some noise on its parameters, on vectors `(*batch, D)`."""
    shape, first, _ = _actnorm(case)
    layer = Make("after_batch", (Make("student:ActNorm", (shape[0],)), first, case.integer(), 0.5))
    return Make("flattened", (layer, shape, shape)), math.prod(shape)


@check("ActNorm")
def actnorm_normalizes_the_first_batch(subject: Subject, case: Case) -> None:
    """The first batch that inverse sees comes out with mean 0 and standard deviation 1 in each channel."""
    shape, first, _ = _actnorm(case)
    layer = Make("perturbed", (Make("student:ActNorm", (shape[0],)), 0, 0.0))
    u, _ = subject.pair(layer, "inverse", first)
    has_shape(u, first.shape, "first result of inverse")
    mean, std, loose = _moments(u.astype(float))
    same(mean.ravel(), np.zeros(shape[0]), "mean of each channel of u", atol=1e-4)
    same(std.ravel(), np.ones(shape[0]), "standard deviation of each channel of u", rtol=loose)


@check("ActNorm")
def actnorm_keeps_its_first_statistics(subject: Subject, case: Case) -> None:
    """A later batch is shifted and scaled by the statistics of the first that inverse saw; forward before is the identity."""
    shape, first, second = _actnorm(case)
    fresh = Make("perturbed", (Make("student:ActNorm", (shape[0],)), 0, 0.0))
    x, log_det = subject.pair(fresh, "forward", second)
    same(x, second, "forward before any inverse", given={"u": second})
    same(log_det, np.zeros(len(second)), "log_det of forward before any inverse", atol=1e-12)
    layer = Make("after_batch", (Make("student:ActNorm", (shape[0],)), first))
    mean, std, loose = _moments(first)
    for direction, expected in (("inverse", (second - mean) / std), ("forward", mean + std * second)):
        y, _ = subject.pair(layer, direction, second)
        has_shape(y, second.shape, f"first result of {direction}")
        bound = loose * (1 + np.abs(mean).max() / std.min() + np.abs(expected).max())
        same(y.astype(float), expected, f"{direction} of a second batch", atol=bound)


@check("ActNorm")
def actnorm_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    layer, D = _trained(case)
    layers.round_trips(subject, layer, case.normal(case.pick(2, 4), D))
    _does_something(subject, layer, case, D)


@check("ActNorm")
def actnorm_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det of both directions is log|det J|, one number per image: each channel's scale acts on H·W pixels."""
    layer, D = _trained(case)
    points = case.normal(case.pick(2, 3), D)
    for direction in layers.SYMBOL:
        layers.log_det_is_of_jacobian(subject, layer, direction, points)
    _does_something(subject, layer, case, D)


@check("ActNorm")
def actnorm_goes_on_learning(subject: Subject, case: Case) -> None:
    """After the first batch shift and scale are parameters like others: C of each, with a gradient."""
    shape, first, second = _actnorm(case)
    layer = Make("after_batch", (Make("student:ActNorm", (shape[0],)), first, case.integer(), 0.1))
    _, gradient = subject.call(layer, "inverse", second, grad="self")
    wanted = 2 * shape[0]
    require(
        len(gradient) == wanted and bool(np.isfinite(gradient).all()) and bool((gradient != 0).all()),
        "a shift and a scale for each channel must be registered as parameters",
        expected=f"{wanted} parameters, each with a gradient",
        got=f"{len(gradient)} parameters, {int(np.count_nonzero(gradient))} of them with a gradient",
    )


@check("ActNorm")
def actnorm_survives_saving_and_loading(subject: Subject, case: Case) -> None:
    """A layer loaded from state_dict goes on with its statistics: it does not start again with the next batch."""
    shape, first, second = _actnorm(case)
    one, other = (Make("student:ActNorm", (shape[0],)) for _ in range(2))
    layer = Make("saved_and_loaded", (one, other, first))
    mean, std, loose = _moments(first)
    u, _ = subject.pair(layer, "inverse", second)
    has_shape(u, second.shape, "first result of inverse")
    expected = (second - mean) / std
    bound = loose * (1 + np.abs(mean).max() / std.min() + np.abs(expected).max())
    same(u.astype(float), expected, "inverse of a second batch after loading", atol=bound)


@check("ActNorm")
def actnorm_batch_shapes(subject: Subject, case: Case) -> None:
    """Images of any shape (*batch, C, H, W) work, in the first batch as well, and log_det has shape (*batch)."""
    layer, D = _trained(case)
    layers.batch_shapes_agree(subject, layer, case, D)
    shape, first, _ = _actnorm(case)
    fresh = Make("perturbed", (Make("student:ActNorm", (shape[0],)), 0, 0.0))
    expected, _ = subject.pair(fresh, "inverse", first)
    for batch in ((2, len(first) // 2), (len(first), 1)):
        u, _ = subject.pair(fresh, "inverse", first.reshape(*batch, *shape))
        has_shape(u, (*batch, *shape), f"inverse of a first batch with batch shape {batch}")
        same(
            u.reshape(first.shape),
            expected,
            f"inverse of a first batch with batch shape {batch}, compared with the same images in one row",
        )


# ---- TwoScales ---------------------------------------------------------------------------------------------------


def _two_scales(case: Case) -> tuple[Make, Make, int]:
    """The student's layer and flowlib's of the same parts, both between vectors `(*batch, D)`."""
    shape = C, H, W = case.pick((4, 1, 2), (4, 2, 2), (4, 1, 3), (2, 2, 3))
    D = C * H * W
    fine = Make("image_layer", (C, H, W, case.integer()))
    # The coarse layer may be of another kind: its channels need not be even in number.
    half = (C // 2, H, W)
    scale, shift = np.exp(case.normal(*half, scale=0.5)), case.normal(*half)
    coarse = Make("reference", ("Affine", shift, scale))
    student = Make("student:TwoScales", (fine, coarse, shape))
    right = Make("reference", ("MultiScale", [coarse, fine]))
    return Make("flattened", (student, (D,), shape)), Make("flattened", (right, (D,), shape)), D


@check("TwoScales")
def scales_factor_out_half_of_the_channels(subject: Subject, case: Case) -> None:
    """u holds what the coarse layer makes of the first half of the channels, then the second half as it is."""
    student, right, D = _two_scales(case)
    points = case.normal(case.pick(2, 3), D)
    for direction in ("inverse", "forward"):
        y, _ = subject.pair(student, direction, points)
        expected, _ = Local({}).pair(right, direction, points)
        same(y, expected, direction, given={layers.SYMBOL[direction]: points})


@check("TwoScales")
def scales_decode_what_they_encode(subject: Subject, case: Case) -> None:
    """decode(encode(x)) = x and encode(decode(u)) = u: nothing is lost by factoring out."""
    student, _, D = _two_scales(case)
    layers.round_trips(subject, student, case.normal(case.pick(2, 3), D))
    _does_something(subject, student, case, D)


@check("TwoScales")
def scales_log_dets_add_up(subject: Subject, case: Case) -> None:
    """log_det of both directions is log|det J| of the whole map, one number per image."""
    student, _, D = _two_scales(case)
    for direction in layers.SYMBOL:
        layers.log_det_is_of_jacobian(subject, student, direction, case.normal(case.pick(2, 3), D))
    _does_something(subject, student, case, D)


@check("TwoScales")
def scales_batch_shapes(subject: Subject, case: Case) -> None:
    """Any batch axes work: u (*batch, D), x (*batch, C, H, W), log_det (*batch)."""
    student, _, D = _two_scales(case)
    layers.batch_shapes_agree(subject, student, case, D)
