"""Multilayer perceptrons, and the encoders and decoders of a variational autoencoder made from them.

An encoder or decoder is a module whose call returns a `torch.distributions.Distribution`, event on the last
axis.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, Normal

from flowlib.checks import check_size

__all__ = [
    "BernoulliDecoder",
    "CategoricalDecoder",
    "GaussianDecoder",
    "GaussianEncoder",
    "mlp",
]


def mlp(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module] = nn.ReLU,
    zero_last: bool = False,
    dropout: float = 0.0,
) -> nn.Sequential:
    """A multilayer perceptron from `(*batch, sizes[0])` to `(*batch, sizes[-1])`.

    Args:
        sizes: widths, input and output included; at least two.
        activation: called once for each hidden layer.
        zero_last: set the last layer to 0. A coupling with s = t = 0 is the identity: a calm start of
            training.
        dropout: probability with which a hidden unit is dropped in training mode.

    Raises `ValueError` for fewer than two sizes or a size below 1.

    >>> net = mlp([2, 16, 16, 4], zero_last=True)
    >>> net(torch.randn(5, 2)).abs().max().item()
    0.0
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes: expected at least an input and an output width, got {list(sizes)}")
    for size in sizes:
        check_size("each of sizes", size)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), activation()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    last = nn.Linear(sizes[-2], sizes[-1])
    if zero_last:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


class GaussianEncoder(nn.Module):
    """q(z given x) = N(mean(x), diag(exp(log_std(x)))²), with (mean, log_std) = net(x).

    net maps `(*batch, D)` to `(*batch, 2M)`: first M means, then M log standard deviations; an odd width
    raises `ValueError`. Source: Kingma, Welling 2013, arXiv:1312.6114.

    >>> q = GaussianEncoder(mlp([64, 32, 4]))(torch.rand(10, 64))
    >>> q.batch_shape, q.event_shape
    (torch.Size([10]), torch.Size([2]))
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Distribution:
        output = self.net(x)
        if output.shape[-1] % 2:
            raise ValueError(
                f"net: expected an even output width (means, log standard deviations), got {output.shape[-1]}"
            )
        mean, log_std = output.chunk(2, dim=-1)
        return Independent(Normal(mean, log_std.exp()), 1)


class BernoulliDecoder(nn.Module):
    """p(x given z) = Π_i Bernoulli(x_i; sigmoid(net(z)_i)) for binary pixels.

    net maps `(*batch, M)` to `(*batch, D)`.

    >>> BernoulliDecoder(mlp([2, 16, 64]))(torch.randn(3, 2)).mean.shape
    torch.Size([3, 64])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=self.net(z)), 1)


class _Levels(Categorical):
    """A categorical distribution over the numbers 0, …, L − 1, which unlike plain categories have a mean."""

    @property
    def mean(self) -> Tensor:
        return (self.probs * torch.arange(self.probs.shape[-1]).to(self.probs)).sum(-1)

    @property
    def variance(self) -> Tensor:
        return (self.probs * torch.arange(self.probs.shape[-1]).to(self.probs) ** 2).sum(-1) - self.mean**2


class CategoricalDecoder(nn.Module):
    """p(x given z) = Π_i Categorical(x_i; softmax(net(z)_i)) for pixels with integer levels 0, …, levels − 1.

    net maps `(*batch, M)` to `(*batch, D · levels)`, the levels of a pixel side by side; another width raises
    `ValueError`. The distribution's mean is the mean level.

    >>> p = CategoricalDecoder(mlp([2, 16, 64 * 17]))(torch.randn(3, 2))
    >>> p.event_shape, p.log_prob(torch.full((3, 64), 16.0)).shape
    (torch.Size([64]), torch.Size([3]))
    """

    def __init__(self, net: nn.Module, levels: int = 17) -> None:
        super().__init__()
        self.net = net
        self.levels = check_size("levels", levels)

    def forward(self, z: Tensor) -> Distribution:
        output = self.net(z)
        if output.shape[-1] % self.levels:
            raise ValueError(
                f"net: expected an output width divisible by {self.levels} levels, got {output.shape[-1]}"
            )
        return Independent(_Levels(logits=output.unflatten(-1, (-1, self.levels))), 1)


class GaussianDecoder(nn.Module):
    """p(x given z) = N(net(z), σ² I), σ = exp(log_scale) one number for all dimensions.

    net maps `(*batch, M)` to `(*batch, D)`. log_scale is a scalar parameter, or a fixed number with
    `learnable=False`.

    >>> GaussianDecoder(nn.Linear(2, 3), log_scale=-1.0)(torch.randn(5, 2)).stddev.shape
    torch.Size([5, 3])
    """

    def __init__(self, net: nn.Module, log_scale: float = 0.0, learnable: bool = True) -> None:
        super().__init__()
        self.net = net
        self.log_scale = nn.Parameter(torch.tensor(float(log_scale)), requires_grad=learnable)

    def forward(self, z: Tensor) -> Distribution:
        return Independent(Normal(self.net(z), self.log_scale.exp()), 1)
