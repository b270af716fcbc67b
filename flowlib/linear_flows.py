"""Linear flows x = Wu, with W parametrized such that it is invertible and its determinant costs nothing.

A free W may become singular while it is trained; log|det W| and W⁻¹ take O(D³) operations, and so does each gradient.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from flowlib.checks import check_size
from flowlib.elementwise import bounded, check_bound
from flowlib.transform import Transform

__all__ = ["OrthogonalLinear", "PLULinear"]


class PLULinear(Transform):
    """x = PLUu with log|det ∂x/∂u| = Σ_i log|U_ii|: O(D) for the determinant, triangular solves for the inverse.

    P is a fixed permutation, L lower triangular with ones on its diagonal, U upper triangular with
    U_ii = sign_i · exp(log_diagonal_i) and fixed signs: never singular. Trained are L and U, D² numbers. Starts as a
    random rotation (from torch's global generator); `from_matrix` starts elsewhere.

    Args:
        D: number of variables.
        log_scale_bound: with a bound c, log_diagonal stays within ±c of where it starts, by c · tanh(· / c) as in
            couplings: then no training brings W near a singular matrix. None: no bound.

    Raises `ValueError` for D < 1 or a bound ≤ 0. Source: Kingma, Dhariwal 2018, arXiv:1807.03039 (Glow), section 3.2.

    >>> layer = PLULinear.from_matrix(torch.tensor([[0.0, 2.0], [1.0, 3.0]]))
    >>> x, log_det = layer.forward(torch.tensor([1.0, 1.0]))
    >>> x.detach(), log_det.detach()
    (tensor([2., 4.]), tensor(0.6931))
    """

    def __init__(self, D: int, log_scale_bound: float | None = None) -> None:
        super().__init__(check_size("D", D))
        self.log_scale_bound = check_bound(log_scale_bound)
        self._factorize(torch.linalg.qr(torch.randn(D, D))[0])

    @classmethod
    def from_matrix(cls, W: Tensor, log_scale_bound: float | None = None) -> "PLULinear":
        """The layer with x = Wu. Raises `ValueError` unless W is a finite, invertible matrix `(D, D)`."""
        if W.ndim != 2 or W.shape[0] != W.shape[1]:
            raise ValueError(f"W: expected shape (D, D), got {tuple(W.shape)}")
        if not bool(W.isfinite().all()):
            raise ValueError("W: expected finite entries")
        layer = cls(len(W), log_scale_bound).to(W.dtype)
        layer._factorize(W.detach())
        return layer

    def _factorize(self, W: Tensor) -> None:
        P, L, U = torch.linalg.lu(W)
        diagonal = U.diagonal()
        smallest = diagonal.abs().min()
        # Beside the largest entry rounding is all that is left of a zero.
        if not bool(smallest > len(W) * torch.finfo(W.dtype).eps * U.abs().max()):
            raise ValueError(f"W: expected an invertible matrix, got a pivot of {smallest.item():.3g}")
        self.register_buffer("order", P.argmax(dim=1))  # (PLu)_i = (Lu)_{order[i]}
        self.register_buffer("inverse_order", P.argmax(dim=0))
        self.register_buffer("signs", diagonal.sign())
        self.register_buffer("start", diagonal.abs().log())
        self.lower = nn.Parameter(L.tril(-1))
        self.upper = nn.Parameter(U.triu(1))
        self.log_scale = nn.Parameter(torch.zeros_like(diagonal))

    @property
    def log_diagonal(self) -> Tensor:
        """log|U_ii|, `(D,)`: where it started plus the (bounded) log_scale that is trained."""
        return self.start + bounded(self.log_scale, self.log_scale_bound)

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U, each `(D, D)`."""
        # The masks keep the parameters' other halves out, whatever an optimizer writes there.
        eye = torch.eye(self.D, dtype=self.lower.dtype)
        diagonal = torch.diag(self.signs * self.log_diagonal.exp())
        return self.lower.tril(-1) + eye, self.upper.triu(1) + diagonal

    def matrix(self) -> Tensor:
        """W `(D, D)`."""
        L, U = self.factors()
        return (L @ U)[self.order]

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return functional.linear(u, self.matrix()), self.log_diagonal.sum().expand(u.shape[:-1])

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        L, U = self.factors()
        columns = x[..., self.inverse_order].reshape(-1, self.D).mT
        columns = torch.linalg.solve_triangular(L, columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(U, columns, upper=True)
        return columns.mT.reshape(x.shape), (-self.log_diagonal.sum()).expand(x.shape[:-1])


class OrthogonalLinear(Transform):
    """x = Qu with an orthogonal Q = H_1 H_2 ⋯ H_K, log|det ∂x/∂u| = 0: rotations and reflections.

    H_k = I − 2 v_k v_kᵀ/‖v_k‖² is a Householder reflection, its own inverse, applied in O(D). Q is orthogonal whatever
    the vectors v `(K, D)` are (v_k = 0 counts as no reflection), and K = D of them reach every Q with
    det Q = (−1)^D. The vectors start random, from torch's global generator.

    Args:
        D: number of variables.
        num_reflections: K; D by default.

    Raises `ValueError` for sizes below 1.
    Source: Tomczak, Welling 2016, arXiv:1611.09630.

    >>> layer = OrthogonalLinear(3)
    >>> u = torch.randn(5, 3)
    >>> torch.allclose(layer.forward(u)[0].norm(dim=-1), u.norm(dim=-1))
    True
    """

    def __init__(self, D: int, num_reflections: int | None = None) -> None:
        super().__init__(check_size("D", D))
        K = D if num_reflections is None else check_size("num_reflections", num_reflections)
        self.vectors = nn.Parameter(torch.randn(K, D))

    def matrix(self) -> Tensor:
        """Q `(D, D)`."""
        return self._reflected(torch.eye(self.D, dtype=self.vectors.dtype), reverse=True).mT

    def _reflected(self, v: Tensor, reverse: bool) -> Tensor:
        unit = functional.normalize(self.vectors, dim=-1).unbind()
        for w in reversed(unit) if reverse else unit:
            v = v - 2 * (v @ w).unsqueeze(-1) * w
        return v

    def _forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        # H_K acts first: it stands next to u.
        return self._reflected(u, reverse=True), u.new_zeros(u.shape[:-1])

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._reflected(x, reverse=False), x.new_zeros(x.shape[:-1])
