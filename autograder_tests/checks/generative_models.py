"""Checks of 11_flows_among_generative_models."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same
from autograder_tests.expressions import evaluate
from autograder_tests.plain import Expression, Make, Plain
from autograder_tests.subject import Local, Subject

ASSIGNMENT = "11_flows_among_generative_models"

# A right estimator is farther than six standard errors from its mean with probability 2e-9.
STANDARD_ERRORS = 6.0


# ---- what the checks build -----------------------------------------------------------------------


@builder
def linear_flow(A: torch.Tensor, shift: torch.Tensor) -> nn.Module:
    """The flow x = A u + shift, u ~ N(0, I): A `(D, D)` invertible, shift `(D,)`."""
    import flowlib

    class Linear(flowlib.Transform):
        def __init__(self) -> None:
            super().__init__(len(shift))
            self.register_buffer("A", A)
            self.register_buffer("shift", shift)

        def _forward(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            log_det = torch.linalg.slogdet(self.A)[1].expand(u.shape[:-1])
            return u.to(self.A.dtype) @ self.A.T + self.shift, log_det

        def _inverse(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            u = torch.linalg.solve(self.A, (x.to(self.A.dtype) - self.shift).unsqueeze(-1)).squeeze(-1)
            return u, -torch.linalg.slogdet(self.A)[1].expand(x.shape[:-1])

    return flowlib.Flow(flowlib.StandardNormal(len(shift)), [Linear()]).double()


# ---- what the checks measure ---------------------------------------------------------------------


def _number(subject: Subject, name: str, *args: Plain, **kwargs: Plain) -> np.ndarray:
    """The answer of a function that must give one number, as an array without axes."""
    got = subject.array(f"student:{name}", "", *args, **kwargs)
    has_shape(got, (), f"the result of {name}")
    return got


def _slope(f: Callable[[np.ndarray], np.ndarray], x: np.ndarray, h: float = 1e-3) -> np.ndarray:
    """The gradient of f at x by central differences, flat; h suits answers in float32, too."""
    steps = h * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([(float(f(x + s)) - float(f(x - s))) / (2 * h) for s in steps])


def _gradient_is_the_slope(subject: Subject, name: str, x: np.ndarray, *more: Plain) -> None:
    """The gradient that reaches the first argument is the derivative of the answer itself."""
    _, gradient = subject.call(f"student:{name}", "", x, *more, grad=0)
    expected = _slope(lambda v: _number(subject, name, v, *more), x)
    # What is compared with is itself good to about 1e-3 when the answers are in float32.
    same(
        gradient, expected, f"the gradient of {name} with respect to x", given={"x": x}, rtol=1e-2, atol=3e-3
    )


# ---- mmd2 ----------------------------------------------------------------------------------------


def _mmd2(x: np.ndarray, y: np.ndarray, bandwidths: list[float]) -> float:
    def gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return sum(np.exp(-squared / (2 * w * w)) for w in bandwidths)

    def off_diagonal(k: np.ndarray) -> float:
        return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))

    return off_diagonal(gram(x, x)) + off_diagonal(gram(y, y)) - 2 * gram(x, y).mean()


def _bandwidths(case: Case) -> list[float]:
    """A few, none of them 1, where a square or a factor would not show."""
    drawn = [*case.uniform(0.3, 0.8, 1), *case.uniform(1.3, 2.5, case.pick(1, 0, 2))]
    return [round(float(w), 2) for w in drawn]


def _mmd_value(subject: Subject, case: Case, n: int, m: int) -> None:
    D, bandwidths = case.pick(1, 2, 3), _bandwidths(case)
    x, y = case.normal(n, D), 0.5 + case.normal(m, D)
    given = {"x": str(x.round(4).tolist()), "y": str(y.round(4).tolist()), "bandwidths": str(bandwidths)}
    same(_number(subject, "mmd2", x, y, bandwidths), _mmd2(x, y, bandwidths), "mmd2", given=given)


@check("mmd2")
def mmd_value(subject: Subject, case: Case) -> None:
    """For two sets of equal size the estimate is the formula's value."""
    n = case.pick(2, 3, 6)
    _mmd_value(subject, case, n, n)


@check("mmd2")
def mmd_unequal_sizes(subject: Subject, case: Case) -> None:
    """The two sets may differ in size: each sum is divided by its own number of pairs."""
    _mmd_value(subject, case, *case.pick((3, 2), (2, 5), (6, 4)))


@check("mmd2")
def mmd_is_unbiased(subject: Subject, case: Case) -> None:
    """Its mean over many small samples of one and the same law is 0."""
    n, m, D, repeats = case.pick(4, 3, 5), case.pick(4, 5, 3), case.pick(1, 2), 200
    bandwidths = _bandwidths(case)
    values = np.array(
        [
            float(_number(subject, "mmd2", case.normal(n, D), case.normal(m, D), bandwidths))
            for _ in range(repeats)
        ]
    )
    error = values.std(ddof=1) / math.sqrt(repeats)
    # Summing in another order changes the last digit alone: 1e-6 covers float32.
    require(
        abs(values.mean()) < STANDARD_ERRORS * error + 1e-6,
        f"the mean of mmd2 over {repeats} pairs of samples of N(0, I), {n} and {m} points each",
        expected=f"0, to within {STANDARD_ERRORS * error:.3f}",
        got=f"{values.mean():.3f}",
    )


@check("mmd2")
def mmd_gradient_reaches_the_samples(subject: Subject, case: Case) -> None:
    """A generator can be trained by it: the gradient reaches the samples."""
    D = case.pick(1, 2, 3)
    _gradient_is_the_slope(
        subject, "mmd2", case.normal(case.pick(3, 4), D), 0.7 + case.normal(3, D), _bandwidths(case)
    )


# ---- sliced_wasserstein --------------------------------------------------------------------------


def _directions(case: Case, L: int, D: int) -> np.ndarray:
    v = case.normal(L, D)
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def _sliced(x: np.ndarray, y: np.ndarray, directions: np.ndarray) -> float:
    a, b = (np.sort(points @ directions.T, axis=0) for points in (x, y))
    return float(np.sqrt(((a - b) ** 2).mean()))


def _two_sets(case: Case, D: int) -> tuple[np.ndarray, np.ndarray]:
    n = case.pick(3, 5, 8)
    return case.normal(n, D), case.normal(n, D, scale=2.0) + 1


@check("sliced_wasserstein")
def sliced_on_one_line(subject: Subject, case: Case) -> None:
    """On the line it is the Wasserstein distance of order 2: points are paired in order."""
    x, y = _two_sets(case, 1)
    for direction in (1.0, -1.0):
        got = _number(subject, "sliced_wasserstein", x, y, np.array([[direction]]))
        expected = _sliced(x, y, np.ones((1, 1)))
        given = {"x": str(x[:, 0].round(4)), "y": str(y[:, 0].round(4)), "direction": str(direction)}
        same(got, expected, "the distance", given=given)


@check("sliced_wasserstein")
def sliced_over_directions(subject: Subject, case: Case) -> None:
    """Over several directions the squares are averaged, and the root is taken last."""
    D = case.pick(2, 3, 5)
    x, y = _two_sets(case, D)
    directions = _directions(case, case.pick(2, 7, 1), D)
    got = _number(subject, "sliced_wasserstein", x, y, directions)
    given = {
        name: str(v.round(4).tolist()) if v.size < 12 else f"an array of shape {v.shape}"
        for name, v in (("x", x), ("y", y), ("directions", directions))
    }
    same(got, _sliced(x, y, directions), "the sliced distance", given=given)


@check("sliced_wasserstein")
def sliced_ignores_the_order(subject: Subject, case: Case) -> None:
    """A set has no order: shuffling its points changes nothing, and a set is at distance 0 from itself shuffled."""
    D = case.pick(2, 3)
    x, y = _two_sets(case, D)
    directions = _directions(case, case.pick(3, 6), D)
    turned, mirrored = np.roll(x, 1, axis=0), y[::-1].copy()
    first = _number(subject, "sliced_wasserstein", x, y, directions)
    same(
        _number(subject, "sliced_wasserstein", turned, mirrored, directions),
        float(first),
        "the distance after both sets were shuffled",
    )
    got = _number(subject, "sliced_wasserstein", x, turned, directions)
    same(got, 0.0, "the distance of a set from itself, shuffled", atol=1e-7)


@check("sliced_wasserstein")
def sliced_gradient_reaches_the_samples(subject: Subject, case: Case) -> None:
    """A generator can be trained by it: the gradient reaches the samples."""
    D = case.pick(2, 3)
    while True:
        x, y = _two_sets(case, D)
        directions = _directions(case, case.pick(2, 4), D)
        # Where two projections tie, sorting has a kink, and the difference quotient is no derivative.
        if np.diff(np.sort(x @ directions.T, axis=0), axis=0).min() > 0.01:
            break
    _gradient_is_the_slope(subject, "sliced_wasserstein", x, y, directions)


# ---- gan_losses ----------------------------------------------------------------------------------


def _softplus(v: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, v)


def _losses(subject: Subject, real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    losses = subject.pair("student:gan_losses", "", real, fake)
    for name, loss in zip(("discriminator's", "generator's"), losses, strict=True):
        has_shape(loss, (), f"the {name} loss", {"shapes of the logits": f"{real.shape}, {fake.shape}"})
    return losses


def _logits(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Real and fake logits; the numbers of examples differ, and so do the signs."""
    return 1 + case.normal(case.pick(2, 3, 6)), -1 + case.normal(case.pick(3, 4, 5))


@check("gan_losses")
def gan_discriminator_loss(subject: Subject, case: Case) -> None:
    """The discriminator's loss is the cross-entropy of 'real' at data and of 'fake' at samples."""
    real, fake = _logits(case)
    expected = _softplus(-real).mean() + _softplus(fake).mean()
    given = {"real_logits": str(real.round(4)), "fake_logits": str(fake.round(4))}
    same(_losses(subject, real, fake)[0], expected, "the discriminator's loss", given=given)


@check("gan_losses")
def gan_generator_loss(subject: Subject, case: Case) -> None:
    """The generator's loss is the cross-entropy of 'real' at its samples: the non-saturating one."""
    real, fake = _logits(case)
    given = {"fake_logits": str(fake.round(4))}
    same(_losses(subject, real, fake)[1], _softplus(-fake).mean(), "the generator's loss", given=given)


@check("gan_losses")
def gan_losses_do_not_overflow(subject: Subject, case: Case) -> None:
    """Logits of any size give finite, right losses."""
    size = case.pick(200.0, 1e3, 1e4)
    real, fake = size * np.array([1.0, -1.0, 0.5]), size * np.array([-1.0, 1.0])
    given = {"real_logits": str(real), "fake_logits": str(fake)}
    discriminator, generator = _losses(subject, real, fake)
    same(
        discriminator,
        _softplus(-real).mean() + _softplus(fake).mean(),
        "the discriminator's loss",
        given=given,
    )
    same(generator, _softplus(-fake).mean(), "the generator's loss", given=given)


@check("gan_losses")
def gan_generator_learns_where_rejected(subject: Subject, case: Case) -> None:
    """Samples that the discriminator is sure to be fake get a gradient towards 'real', of full size."""
    m = case.pick(2, 3, 5)
    real, fake = 9 + case.uniform(0, 2, m + 1), -9 - case.uniform(0, 2, m)
    _, gradient = subject.call("student:gan_losses", "", real, fake, grad=1)
    # Of the sum of both losses; the discriminator's part is below e⁻⁹ here.
    has_shape(gradient, (m,), "the gradient with respect to the fake logits")
    weakest = float((-m * gradient).min())
    require(
        0.9 < weakest < 1.1,
        "the generator's gradient at samples with logits below −9",
        expected=f"−1/{m} for each of the {m} samples",
        got=str(gradient),
        given={"fake_logits": str(fake.round(3))},
    )


# ---- optimal_discriminator -----------------------------------------------------------------------


def _value(answer: Plain, values: dict[str, np.ndarray], what: str) -> np.ndarray:
    """A sympy answer at `values` of its symbols."""
    if isinstance(answer, (int, float)) and not isinstance(answer, bool):
        answer = Expression(repr(answer))
    if not isinstance(answer, Expression):
        raise Mismatch(f"{what} must be a sympy expression", got=describe(answer))
    return evaluate(answer.text, values)


def _optimum(subject: Subject, case: Case) -> tuple[list[Plain], dict[str, np.ndarray]]:
    answer = subject.call(
        "student:optimal_discriminator", "", Make("positive_symbol", ("p",)), Make("positive_symbol", ("q",))
    )
    if not (isinstance(answer, list) and len(answer) == 2):
        raise Mismatch("optimal_discriminator must return the pair (logit, loss)", got=describe(answer))
    n = case.pick(4, 8)
    return answer, {"p": np.exp(case.normal(n)), "q": np.exp(case.normal(n))}


@check("optimal_discriminator")
def optimal_logit(subject: Subject, case: Case) -> None:
    """The best logit at x is a function of the two densities there."""
    (answer, _), values = _optimum(subject, case)
    got = _value(answer, values, "the logit")
    same(got, np.log(values["p"] / values["q"]), "the best logit", given=values)


@check("optimal_discriminator")
def optimal_loss(subject: Subject, case: Case) -> None:
    """What the best logit leaves of the discriminator's loss at x, below what any other logit leaves."""
    (_, answer), values = _optimum(subject, case)
    p, q = values["p"], values["q"]
    best = np.log(p / q)
    expected = p * _softplus(-best) + q * _softplus(best)
    same(_value(answer, values, "the loss"), expected, "the smallest loss at x", given=values)


# ---- mode_coverage -------------------------------------------------------------------------------


def _modes(case: Case, K: int, D: int, distance: float) -> np.ndarray:
    """K modes at least `distance` apart."""
    while True:
        modes = case.normal(K, D, scale=distance)
        gaps = np.linalg.norm(modes[:, None] - modes[None], axis=-1) + 1e9 * np.eye(K)
        if gaps.min() > distance:
            return modes


def _around(case: Case, center: np.ndarray, radius: float) -> np.ndarray:
    """A point at that distance, near a diagonal, where a box and a ball differ most."""
    direction = np.sign(case.normal(len(center))) + case.normal(len(center), scale=0.1)
    return center + radius * direction / np.linalg.norm(direction)


def _coverage(
    subject: Subject, x: np.ndarray, modes: np.ndarray, std: float
) -> tuple[np.ndarray, np.ndarray]:
    counts, share = subject.pair("student:mode_coverage", "", x, modes, std)
    has_shape(counts, (len(modes),), f"counts of {len(modes)} modes")
    has_shape(share, (), "the share of samples that hit a mode")
    return counts, share


def _coverage_setting(case: Case) -> tuple[np.ndarray, np.ndarray, float, np.ndarray, int]:
    """Samples x, modes far apart, std, the true counts and how many samples miss every mode."""
    K, D, std = case.pick(3, 5, 8), case.pick(2, 3), float(case.uniform(0.2, 0.6))
    modes = _modes(case, K, D, 12 * std)
    counts = case.rng.integers(1, 4, K)
    counts[-1] = 0  # nobody hits the last mode, and it has a count all the same
    hits = [_around(case, modes[k], r * std) for k in range(K) for r in case.uniform(0.2, 2.8, counts[k])]
    misses = [_around(case, modes[k], float(case.uniform(3.2, 3.9)) * std) for k in range(K)]
    x = case.rng.permutation(np.array([*hits, *misses]))
    return x, modes, std, counts, len(misses)


@check("mode_coverage")
def coverage_counts(subject: Subject, case: Case) -> None:
    """Each mode's count is the number of samples within three standard deviations of it, 0 included."""
    x, modes, std, counts, _ = _coverage_setting(case)
    got, _ = _coverage(subject, x, modes, std)
    same(
        got.astype(float),
        counts.astype(float),
        "counts",
        given={"std": f"{std:.3f}", "modes": str(modes.round(3))},
    )


@check("mode_coverage")
def coverage_share(subject: Subject, case: Case) -> None:
    """The share is the fraction of all samples that hit any mode."""
    x, modes, std, counts, _ = _coverage_setting(case)
    _, share = _coverage(subject, x, modes, std)
    same(
        share,
        counts.sum() / len(x),
        f"the share of {len(x)} samples that hit a mode",
        given={"hits": str(counts.sum())},
        atol=1e-6,
    )


@check("mode_coverage")
def coverage_nearest_mode_only(subject: Subject, case: Case) -> None:
    """Where modes are close to each other, a sample counts for the nearest one alone."""
    D, std = case.pick(2, 3), float(case.uniform(0.2, 0.6))
    first = case.normal(D)
    modes = np.array([first, _around(case, first, 3.0 * std)])
    along = (modes[1] - modes[0]) / 3.0  # one standard deviation
    where = np.array([-0.5, 1.0, 1.2, 1.8, 2.5])
    x = modes[0] + where[:, None] * along
    got, _ = _coverage(subject, x, modes, std)
    given = {"distance of the modes": f"{3 * std:.3f}", "std": f"{std:.3f}"}
    same(got.astype(float), np.array([3.0, 2.0]), "counts of two close modes", given=given)


# ---- flow_reconstruction -------------------------------------------------------------------------


def _reconstruct(subject: Subject, x: np.ndarray, flow: Make, M: int) -> np.ndarray:
    got = subject.array("student:flow_reconstruction", "", x, flow, M)
    has_shape(got, x.shape, f"flow_reconstruction of x of shape {x.shape}")
    return got


@check("flow_reconstruction")
def reconstruction_keeps_everything(subject: Subject, case: Case) -> None:
    """With all D base variables kept, the flow gives x back."""
    D = case.pick(2, 3, 4)
    x, flow = case.normal(case.pick(2, 5), D), Make("latent_flow", (D, case.integer()))
    same(
        _reconstruct(subject, x, flow, D),
        x,
        "the reconstruction with M = D",
        given={"x": x},
        rtol=1e-7,
        atol=1e-7,
    )


@check("flow_reconstruction")
def reconstruction_with_fewer(subject: Subject, case: Case) -> None:
    """The first M base variables are kept, the others are 0, and the way back is the flow's."""
    D = case.pick(3, 4, 5)
    x, flow = case.normal(case.pick(2, 4), D), Make("latent_flow", (D, case.integer()))
    reference = Local({})
    u, _ = reference.pair(flow, "inverse", x)
    for M in (1, D - 1, 0):
        expected, _ = reference.pair(flow, "forward", u * (np.arange(D) < M))
        got = _reconstruct(subject, x, flow, M)
        same(got, expected, f"the reconstruction with M = {M}, D = {D}", given={"x": x}, rtol=1e-7, atol=1e-7)


@check("flow_reconstruction")
def reconstruction_by_principal_components(subject: Subject, case: Case) -> None:
    """For the linear flow made of principal axes it is the reconstruction by principal components."""
    D = case.pick(3, 4, 6)
    x = case.normal(20, D) @ case.normal(D, D) + case.normal(D)
    mean = x.mean(0)
    variances, axes = np.linalg.eigh(np.cov(x.T))
    variances, axes = variances[::-1], axes[:, ::-1]  # largest first
    flow = Make("linear_flow", (axes * np.sqrt(variances), mean))
    for M in (1, D - 1):
        expected = mean + (x - mean) @ axes[:, :M] @ axes[:, :M].T
        same(
            _reconstruct(subject, x, flow, M),
            expected,
            f"the reconstruction with M = {M} of D = {D} principal components",
            rtol=1e-7,
            atol=1e-7,
        )
