"""Nets with a known Lipschitz constant: ‖g(a) − g(b)‖ ≤ L ‖a − b‖ for all a, b, in the Euclidean norm.

A linear map's constant is its largest singular value, the spectral norm σ(W). Constants multiply under composition,
and the product is an upper bound: where one layer stretches most, the next one need not.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowlib.checks import check_size

__all__ = ["LipSwish", "LipschitzMLP", "Sine", "SpectralLinear", "lipschitz_bound", "spectral_normalize"]


def spectral_normalize(W: Tensor, coefficient: float) -> Tensor:
    """W · min(1, c/σ(W)): the matrix `(M, N)` itself, or scaled so that its spectral norm is the coefficient c.

    A map that stretches less than c is left alone. Source: Gouk et al. 2018, arXiv:1804.04368; Behrmann et al.
    2018, arXiv:1811.00995. Raises `ValueError` unless W is a matrix and c is positive.

    >>> spectral_normalize(torch.diag(torch.tensor([4.0, 2.0])), 0.5)
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    if W.ndim != 2:
        raise ValueError(f"W: expected a matrix (M, N), got shape {tuple(W.shape)}")
    return W * _factor(torch.linalg.matrix_norm(W, 2), _checked(coefficient))


def lipschitz_bound(weights: Iterable[Tensor], slope: float = 1.0) -> Tensor:
    """slope^(K−1) · Π_k σ(W_k): an upper bound of the Lipschitz constant of W_K φ(W_{K−1} φ(… φ(W_1 v))).

    weights are K matrices, `(M_k, M_{k−1})`; `slope` is the largest |φ′| of the K − 1 activations between them. Biases
    do not matter. Szegedy et al. 2013, arXiv:1312.6199, section 4.3. Raises `ValueError` without a matrix.

    >>> lipschitz_bound([torch.eye(2) * 3, torch.eye(2) * 2], slope=0.25)
    tensor(1.5000)
    """
    norms = [torch.linalg.matrix_norm(W, 2) for W in weights]
    if not norms:
        raise ValueError("weights: expected at least one matrix, got none")
    return torch.stack(norms).prod() * slope ** (len(norms) - 1)


class LipSwish(nn.Module):
    """v · sigmoid(βv)/1.1 entry by entry: smooth, with |slope| < 1 whatever the learned β > 0.

    A smooth activation matters in a residual flow: its log-determinant holds the net's derivative, so training needs
    the second one, and that of ReLU is 0. Swish has slopes up to 1.0998.
    Source: Chen et al. 2019, arXiv:1906.02735.

    >>> LipSwish()(torch.tensor([0.0, 11.0])).detach()
    tensor([0.0000, 9.9998])
    """

    def __init__(self) -> None:
        super().__init__()
        self.raw_beta = nn.Parameter(torch.tensor(0.5))

    def forward(self, v: Tensor) -> Tensor:
        return v * torch.sigmoid(v * functional.softplus(self.raw_beta)) / 1.1


class Sine(nn.Module):
    """sin v entry by entry: slope in [−1, 1], and unlike tanh it never saturates, so that far inputs are stretched, too.

    Source: Sitzmann et al. 2020, arXiv:2006.09661.

    >>> Sine()(torch.tensor([0.0, torch.pi / 2]))
    tensor([0., 1.])
    """

    def forward(self, v: Tensor) -> Tensor:
        return v.sin()


class SpectralLinear(nn.Module):
    """y = Ŵv + b with σ(Ŵ) ≤ coefficient, Ŵ = W · min(1, coefficient/σ(W)).

    Maps `(*batch, inputs)` to `(*batch, outputs)`. What is trained is W; it is normalized anew at every call, since
    an optimizer respects no constraint.

    * In evaluation mode σ(W) is the exact largest singular value: the bound holds, to rounding.
    * In training mode σ(W) is estimated by `iterations` steps of power iteration, which go on from the singular
      vectors of the call before. They are buffers: `state_dict` keeps them. An estimate is never above σ(W), so the
      bound may be exceeded while W moves.

    W starts with all singular values equal to the coefficient, so that the bound is tight; biases start uniform in
    ± coefficient.

    Raises `ValueError` for sizes below 1 or a coefficient that is not positive.
    Source: Miyato et al. 2018, arXiv:1802.05957; Gouk et al. 2018, arXiv:1804.04368.

    >>> layer = SpectralLinear(3, 3, coefficient=0.5).eval()
    >>> _ = layer.weight.data.mul_(100)
    >>> round(torch.linalg.matrix_norm(layer.normalized_weight(), 2).item(), 4)
    0.5
    """

    def __init__(self, inputs: int, outputs: int, coefficient: float = 0.9, iterations: int = 2) -> None:
        super().__init__()
        self.coefficient = _checked(coefficient)
        self.iterations = check_size("iterations", iterations)
        self.weight = nn.Parameter(torch.empty(check_size("outputs", outputs), check_size("inputs", inputs)))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-coefficient, coefficient))
        nn.init.orthogonal_(self.weight, gain=coefficient)
        left, _, right = torch.linalg.svd(self.weight.detach(), full_matrices=False)
        self.register_buffer("left", left[:, 0].clone())
        self.register_buffer("right", right[0].clone())

    def normalized_weight(self) -> Tensor:
        """Ŵ `(outputs, inputs)`, with gradient to W also through σ(W)."""
        if not self.training:
            return spectral_normalize(self.weight, self.coefficient)
        left, right = self._power_iteration()
        # The derivative of σ(W) is left rightᵀ: the vectors themselves need no gradient.
        return self.weight * _factor(left @ self.weight @ right, self.coefficient)

    @torch.no_grad()
    def _power_iteration(self) -> tuple[Tensor, Tensor]:
        left, right = self.left, self.right
        for _ in range(self.iterations):
            left = _direction(self.weight @ right, left)
            right = _direction(self.weight.mT @ left, right)
        self.left.copy_(left)
        self.right.copy_(right)
        return left, right

    def forward(self, v: Tensor) -> Tensor:
        return functional.linear(v, self.normalized_weight(), self.bias)


class LipschitzMLP(nn.Module):
    """A multilayer perceptron with Lipschitz constant at most `coefficient`.

    K spectrally normalized layers whose coefficients multiply to `coefficient`, and activations between them that
    stretch nothing. Maps `(*batch, sizes[0])` to `(*batch, sizes[-1])`. In evaluation mode the bound is exact; in
    training mode it holds up to the error of power iteration (see `SpectralLinear`).

    Args:
        sizes: widths, input and output included; at least two.
        coefficient: positive; below 1 the net is a contraction.
        activation: called once for each hidden layer; its slope must lie in [−1, 1], as it does for `Sine`,
            `LipSwish`, `nn.Tanh`, `nn.ReLU`, `nn.ELU`, and does not for `nn.SiLU` and `nn.GELU`.
        input_coefficient: of the first layer; the others share what is left evenly. None: all are alike,
            coefficient^(1/K). Only the product counts for the bound. A large first factor lets activations bend within
            the spread of the data; with small ones all around, each of them works where it is nearly straight.
        iterations: of power iteration per call in training mode.

    Raises `ValueError` for fewer than two sizes, a size below 1 or a coefficient that is not positive.
    Source: Behrmann et al. 2018, arXiv:1811.00995.

    >>> net = LipschitzMLP([2, 64, 64, 2], coefficient=0.9).eval()
    >>> net.lipschitz_bound() <= 0.9 * (1 + 1e-5)
    True
    """

    def __init__(
        self,
        sizes: Sequence[int],
        coefficient: float = 0.9,
        activation: Callable[[], nn.Module] = LipSwish,
        input_coefficient: float | None = None,
        iterations: int = 2,
    ) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"sizes: expected at least an input and an output width, got {list(sizes)}")
        K = len(sizes) - 1
        self.coefficient = _checked(coefficient)
        if input_coefficient is None:
            each = [coefficient ** (1 / K)] * K
        elif K == 1:
            raise ValueError(
                "input_coefficient needs a hidden layer: a single layer has the whole coefficient"
            )
        else:
            first = _checked(input_coefficient)
            each = [first, *[(coefficient / first) ** (1 / (K - 1))] * (K - 1)]
        self.layers = nn.ModuleList(
            SpectralLinear(a, b, c, iterations) for (a, b), c in zip(pairwise(sizes), each, strict=True)
        )
        self.activations = nn.ModuleList(activation() for _ in sizes[2:])

    def frozen(self) -> Callable[[Tensor], Tensor]:
        """This net as a function whose weights are normalized now, once: for many evaluations of one and the same map."""
        first, *rest = [(layer.normalized_weight(), layer.bias) for layer in self.layers]

        def g(v: Tensor) -> Tensor:
            v = functional.linear(v, *first)
            for activation, (weight, bias) in zip(self.activations, rest, strict=True):
                v = functional.linear(activation(v), weight, bias)
            return v

        return g

    def forward(self, v: Tensor) -> Tensor:
        return self.frozen()(v)

    @torch.no_grad()
    def lipschitz_bound(self) -> float:
        """Π_k σ(Ŵ_k) by singular values, of the weights as evaluation mode normalizes them."""
        return float(
            lipschitz_bound(spectral_normalize(layer.weight, layer.coefficient) for layer in self.layers)
        )


def _checked(coefficient: float) -> float:
    if not 0 < coefficient < float("inf"):
        raise ValueError(f"coefficient must be positive and finite, got {coefficient!r}")
    return coefficient


def _factor(norm: Tensor, coefficient: float) -> Tensor:
    """min(1, c/norm), with a gradient that is finite at norm = 0, too."""
    return coefficient / norm.clamp_min(coefficient)


def _direction(v: Tensor, otherwise: Tensor) -> Tensor:
    """v / ‖v‖; what was there before where v is 0, which has no direction."""
    norm = torch.linalg.vector_norm(v)
    return torch.where(norm > 0, v / norm.clamp_min(torch.finfo(v.dtype).tiny), otherwise)
