"""Generators without a density, and what their samples are compared with data by.

A generator is a network that turns noise into samples. It has no `log_prob`, so it is not trained by maximum
likelihood but by a comparison of samples: a discriminator that is trained along (GAN), or a fixed distance between
two sets of points (maximum mean discrepancy, sliced Wasserstein). The distances serve as measurements for every kind of
model, since all of them can be sampled.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from tqdm.auto import tqdm

from flowlib.checks import check_size
from flowlib.fit import batches

__all__ = [
    "GANHistory",
    "Generator",
    "fit_gan",
    "gan_losses",
    "mmd2",
    "mode_coverage",
    "r1_penalty",
    "random_directions",
    "sliced_wasserstein",
]


class Generator(nn.Module):
    """x = net(z) with latent noise z ~ N(0, latent_std² I), z `(*batch, M)`: samples, and no density.

    With M < D the samples lie on a set of volume 0, where a density over R^D does not exist. With M = D it may exist;
    to evaluate it one would need every z that net sends to x, and net is not invertible.

    Args:
        net: module, `(*batch, M)` → `(*batch, D)`.
        M: number of latent variables.
        latent_std: standard deviation of the noise.

    Raises `ValueError` for M < 1 or latent_std ≤ 0.

    >>> Generator(nn.Linear(2, 3), M=2).sample((5,)).shape
    torch.Size([5, 3])
    """

    def __init__(self, net: nn.Module, M: int, latent_std: float = 1.0) -> None:
        super().__init__()
        if not latent_std > 0:
            raise ValueError(f"latent_std must be positive, got {latent_std!r}")
        self.net = net
        # A buffer, so that the noise has the module's dtype and device.
        self.register_buffer("latent_scale", torch.full((check_size("M", M),), float(latent_std)))

    def forward(self, z: Tensor) -> Tensor:
        """The samples x `(*batch, D)` that the noise z `(*batch, M)` is sent to."""
        return self.net(z)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws x `(*sample_shape, D)`, with gradient to the parameters."""
        shape = (*sample_shape, len(self.latent_scale))
        noise = torch.randn(shape, dtype=self.latent_scale.dtype, device=self.latent_scale.device)
        return self(self.latent_scale * noise)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws x `(*sample_shape, D)`, without gradient."""
        return self.rsample(sample_shape)


# --- Distances between two sets of points ---


def _check_sets(x: Tensor, y: Tensor, least: int) -> None:
    """Raise ValueError unless x is `(n, D)` and y `(m, D)` with n and m of at least `least`."""
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x, y: expected shapes (n, D) and (m, D), got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if min(len(x), len(y)) < least:
        raise ValueError(f"x, y: expected at least {least} points in each, got {len(x)} and {len(y)}")


def mmd2(x: Tensor, y: Tensor, bandwidths: Sequence[float]) -> Tensor:
    """The squared maximum mean discrepancy of two laws, estimated without bias from their samples; a scalar.

    With the kernel k(x, y) = Σ_b exp(−‖x − y‖²/2b²), a sum over the bandwidths b,

        MMD² = Σ_{i≠j} k(x_i, x_j)/(n(n − 1)) + Σ_{i≠j} k(y_i, y_j)/(m(m − 1)) − 2 Σ_{i,j} k(x_i, y_j)/(nm).

    x is `(n, D)`, y `(m, D)`. Its expectation is 0 exactly when the two laws agree, so the estimate may be negative.
    Raises `ValueError` for other shapes, for fewer than two points, and for bandwidths that are not positive.
    Source: Gretton, Borgwardt, Rasch, Schölkopf, Smola 2012, "A kernel two-sample test", JMLR 13, lemma 6.

    >>> x = torch.tensor([[0.0], [1.0]])
    >>> round(mmd2(x, x + 100, bandwidths=[1.0]).item(), 4)  # far apart: 2 exp(−1/2)
    1.2131
    """
    _check_sets(x, y, least=2)
    if len(bandwidths) == 0 or not all(b > 0 for b in bandwidths):
        raise ValueError(f"bandwidths: expected positive numbers, got {list(bandwidths)}")

    def total(a: Tensor, b: Tensor) -> Tensor:
        # Differences, not ‖a‖² − 2a·b + ‖b‖²: that loses the small distances, which matter most, to rounding.
        squared = (a.unsqueeze(1) - b).square().sum(-1)
        return sum(torch.exp(-squared / (2 * width**2)).sum() for width in bandwidths)

    def among(a: Tensor) -> Tensor:
        n, diagonal = len(a), len(a) * len(bandwidths)  # k(a_i, a_i) is 1 for each bandwidth
        return (total(a, a) - diagonal) / (n * (n - 1))

    return among(x) + among(y) - 2 * total(x, y) / (len(x) * len(y))


def random_directions(L: int, D: int, *, generator: torch.Generator | None = None) -> Tensor:
    """L directions `(L, D)` of length 1, uniform on the sphere. Raises `ValueError` for L < 1 or D < 1.

    >>> random_directions(7, 3).norm(dim=-1).allclose(torch.ones(7))
    True
    """
    directions = torch.randn(check_size("L", L), check_size("D", D), generator=generator)
    return nn.functional.normalize(directions, dim=-1)


def sliced_wasserstein(x: Tensor, y: Tensor, directions: Tensor) -> Tensor:
    """The sliced Wasserstein distance of order 2 of two sets of points; a scalar in the units of x.

        SW² = (1/L) Σ_l ∫₀¹ (F_l⁻¹(t) − G_l⁻¹(t))² dt,

    F_l and G_l the distribution functions of the projections x·θ_l and y·θ_l. For sets of equal size the integral is
    the mean squared difference of the sorted projections: on the line, transport in order is optimal.

    x is `(n, D)`, y `(m, D)`, directions θ `(L, D)` of length 1 (see `random_directions`). Raises `ValueError` for
    other shapes and for empty sets. Sources: Rabin, Peyré, Delon, Bernot 2011, "Wasserstein barycenter and its
    application to texture mixing"; as a loss: Deshpande, Zhang, Schwing 2018, arXiv:1803.11188.

    >>> x = torch.randn(6, 2)
    >>> across = torch.tensor([[1.0, 0.0]])
    >>> round(sliced_wasserstein(x, x.flip(0) + torch.tensor([3.0, 5.0]), across).item(), 4)
    3.0
    """
    _check_sets(x, y, least=1)
    if directions.ndim != 2 or directions.shape[1] != x.shape[1] or len(directions) == 0:
        wanted = f"(L, {x.shape[1]})"
        raise ValueError(f"directions: expected shape {wanted}, got {tuple(directions.shape)}")
    a, b = ((points @ directions.T).sort(dim=0).values for points in (x, y))
    if len(a) == len(b):
        return (a - b).square().mean().sqrt()
    # Both quantile functions are steps, over multiples of 1/n and 1/m: constant between the union of these.
    n, m = len(a), len(b)
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()  # in units of 1/(nm)
    widths = ends.diff(prepend=ends.new_zeros(1)).to(a) / (n * m)
    gaps = a[(ends - 1) // m] - b[(ends - 1) // n]
    return (widths @ gaps.square()).mean().sqrt()


# --- The adversarial game ---


def gan_losses(real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """(discriminator's loss, generator's loss) of the non-saturating game, both scalars in nats.

    A logit ℓ means: real with probability σ(ℓ). With real logits `(n,)` and fake logits `(m,)`,

        discriminator: −mean log σ(ℓ_real) − mean log(1 − σ(ℓ_fake)),    generator: −mean log σ(ℓ_fake).

    The generator does not minimize mean log(1 − σ(ℓ_fake)), whose gradient vanishes where it is needed most: at
    samples that the discriminator rejects. Written by softplus(ℓ) = log(1 + e^ℓ), which does not overflow.
    Source: Goodfellow et al. 2014, arXiv:1406.2661.

    >>> discriminator, generator = gan_losses(torch.zeros(3), torch.zeros(4))
    >>> round(discriminator.item(), 4), round(generator.item(), 4)  # 2 log 2, log 2
    (1.3863, 0.6931)
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean(), softplus(-fake_logits).mean()


def r1_penalty(discriminator: nn.Module, x: Tensor) -> Tensor:
    """E‖∇_x ℓ(x)‖² at real data x `(n, D)`, a scalar: what keeps a discriminator's slope at the data small.

    Multiplied by γ/2 it is the penalty R1 of Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406.

    >>> line = nn.Linear(2, 1)
    >>> torch.allclose(r1_penalty(line, torch.randn(5, 2)), line.weight.square().sum())
    True
    """
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.square().sum(-1).mean()


@dataclass
class GANHistory:
    """What an adversarial training recorded: both losses of every step, in nats, without the penalty."""

    discriminator_loss: list[float] = field(default_factory=list)
    generator_loss: list[float] = field(default_factory=list)
    seconds: float = 0.0


def fit_gan(
    generator: Generator,
    discriminator: nn.Module,
    data: Tensor,
    *,
    steps: int = 2000,
    batch_size: int = 256,
    lr: float = 1e-3,
    discriminator_lr: float | None = None,
    discriminator_steps: int = 1,
    r1: float = 0.0,
    max_steps: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> GANHistory:
    """Train a generator against a discriminator by the non-saturating losses; both are left in evaluation mode.

    There is no single loss that falls: each player changes the other's. So there is no early stopping either; judge
    by samples.

    Args:
        generator: trained to have its samples taken for real.
        discriminator: module, `(*batch, D)` → logits `(*batch, 1)`.
        data: training examples `(N, D)`.
        steps: of the generator.
        batch_size: real examples a step, and as many samples.
        lr: the generator's learning rate.
        discriminator_lr: the discriminator's; the same by default.
        discriminator_steps: steps of the discriminator before each of the generator.
        r1: γ of the penalty γ/2 · E‖∇ℓ‖² at real data (see `r1_penalty`); 0 for none.
        max_steps: cuts `steps`; None or 0 for no cut.
        seed: of batches and noise. The global random state is left as it was.
        progress: show a bar with both losses.

    Raises:
        FloatingPointError: a loss is not finite; names the step.
        ValueError: bad argument.

    Adam without momentum, β = (0, 0.99): in a game momentum turns circling into escape.
    Sources: Goodfellow et al. 2014, arXiv:1406.2661; Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406.

    >>> from flowlib import mlp
    >>> generator, discriminator = Generator(mlp([2, 8, 2]), M=2), mlp([2, 8, 1])
    >>> history = fit_gan(generator, discriminator, torch.randn(100, 2), steps=3, progress=False)
    >>> len(history.generator_loss)
    3
    """
    for name, value in (
        ("steps", steps),
        ("batch_size", batch_size),
        ("discriminator_steps", discriminator_steps),
    ):
        check_size(name, value)
    if data.ndim != 2 or len(data) == 0:
        raise ValueError(f"data: expected shape (N, D) with N > 0, got {tuple(data.shape)}")
    if not r1 >= 0:
        raise ValueError(f"r1 must not be negative, got {r1!r}")
    total = min(steps, max_steps) if max_steps else steps
    betas = (0.0, 0.99)
    generator_optimizer = torch.optim.Adam(generator.parameters(), lr=lr, betas=betas)
    discriminator_optimizer = torch.optim.Adam(
        discriminator.parameters(), lr=lr if discriminator_lr is None else discriminator_lr, betas=betas
    )
    history = GANHistory()
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]), tqdm(total=total, disable=not progress, unit="step") as bar:
        torch.manual_seed(seed)
        real_batches = batches(data, batch_size, torch.Generator().manual_seed(seed))
        generator.train()
        discriminator.train()
        for step in range(total):
            for _ in range(discriminator_steps):
                real = next(real_batches)
                fake = generator.sample((len(real),))
                discriminator_loss, _ = gan_losses(discriminator(real), discriminator(fake))
                objective = discriminator_loss
                if r1:
                    objective = objective + r1 / 2 * r1_penalty(discriminator, real)
                _step(discriminator_optimizer, objective, f"discriminator's loss at step {step} of {total}")
            # The generator's gradient passes through the discriminator, whose own weights stay as they are.
            discriminator.requires_grad_(False)
            fake_logits = discriminator(generator.rsample((len(real),)))
            _, generator_loss = gan_losses(fake_logits, fake_logits)
            _step(generator_optimizer, generator_loss, f"generator's loss at step {step} of {total}")
            discriminator.requires_grad_(True)

            history.discriminator_loss.append(discriminator_loss.item())
            history.generator_loss.append(generator_loss.item())
            bar.update()
            if step % 20 == 0:
                shown = f"{discriminator_loss.item():.2f} / {generator_loss.item():.2f}"
                bar.set_postfix_str(f"discriminator / generator {shown}", refresh=False)
    generator.eval()
    discriminator.eval()
    history.seconds = time.perf_counter() - start
    return history


def _step(optimizer: torch.optim.Optimizer, loss: Tensor, what: str) -> None:
    if not math.isfinite(loss.item()):
        raise FloatingPointError(
            f"the {what} is {loss.item()}; lower the learning rate or add the penalty r1"
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def mode_coverage(x: Tensor, modes: Tensor, std: float, within: float = 3.0) -> tuple[Tensor, float]:
    """(counts, share): how many samples hit each mode of a known mixture, and the share that hits any.

    A sample hits the mode that is nearest to it if it is no farther than `within` standard deviations. x is `(n, D)`,
    modes `(K, D)`, counts integers `(K,)`, share between 0 and 1. Of true samples of Gaussians in the plane a share of
    1 − exp(−within²/2) hits, 0.989 at 3. Raises `ValueError` for other shapes and for std ≤ 0.
    Source: Srivastava, Valkov, Russell, Gutmann, Sutton 2017, arXiv:1705.07761.

    >>> counts, share = mode_coverage(torch.tensor([[0.1], [0.2], [9.0]]), torch.tensor([[0.0], [5.0]]), std=0.1)
    >>> counts.tolist(), round(share, 4)
    ([2, 0], 0.6667)
    """
    _check_sets(x, modes, least=1)
    if not std > 0:
        raise ValueError(f"std must be positive, got {std!r}")
    distance, nearest = (x.unsqueeze(1) - modes).norm(dim=-1).min(dim=1)
    hit = distance <= within * std
    counts = torch.bincount(nearest[hit], minlength=len(modes))
    return counts, hit.double().mean().item()
