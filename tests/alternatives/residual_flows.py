"""Right solutions of 09_residual_flows' exercises, written differently."""

import itertools
import math
import warnings

import numpy as np
import torch
from torch import nn

import flowlib


# %% iterations_needed: counting up
def iterations_needed(L, first_step, tolerance):
    if L <= 0 or L >= 1:
        raise ValueError("no contraction")
    bound, n = first_step / (1 - L), 0
    while bound > tolerance:
        bound, n = bound * L, n + 1
    return n


# %% iterations_needed: NumPy, in base ten
def iterations_needed(L, first_step, tolerance):
    if not (L > 0 and L < 1):
        raise ValueError("no contraction")
    decades = np.log10(first_step) - np.log10(1 - L) - np.log10(tolerance)
    return int(np.ceil(np.maximum(0, decades / -np.log10(L))))


# %% iterations_needed: the first of all integers that does
def iterations_needed(L, first_step, tolerance):
    if math.copysign(1, 1 - L) < 0 or L in (0, 1) or L < 0:
        raise ValueError("expected a Lipschitz constant between 0 and 1")
    return next(n for n in itertools.count() if L**n * first_step <= tolerance * (1 - L))


# %% fixed_point_inverse: a while loop on the error of the equation
def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    u, used = x.clone(), 0
    while True:
        error = x - u - g(u)
        if torch.all(error.abs() <= tolerance):
            return u
        used += 1
        if used > max_iterations:
            raise RuntimeError("did not converge")
        u = u + error


# %% fixed_point_inverse: from zero, Euclidean norm of the batch, chatty
def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    class NoConvergence(RuntimeError):
        pass

    warnings.warn("iterating", stacklevel=2)
    u = torch.zeros_like(x)
    for k in range(max_iterations):
        new = x - g(u)
        step = torch.linalg.vector_norm(new - u).item()
        u = new
        if k % 50 == 0:
            print("step", k, step)
        if not math.isfinite(step):
            break
        if step < tolerance:
            return u
    raise NoConvergence


# %% fixed_point_inverse: recursion in a helper, no gradient
def fixed_point_inverse(g, x, tolerance=1e-10, max_iterations=1000):
    @torch.no_grad()
    def iterate():
        u = x
        for _ in range(max_iterations):
            previous = u
            u = torch.sub(x, g(u))
            yield u, float(torch.max(torch.abs(u - previous)))

    for u, change in iterate():
        if change <= tolerance:
            return u
    raise RuntimeError(f"no convergence within {max_iterations} iterations")


# %% spectral_normalize: singular values
def spectral_normalize(W, coefficient):
    largest = torch.linalg.svdvals(W)[0].item()
    return W if largest <= coefficient else coefficient * W / largest


# %% spectral_normalize: eigenvalues of the Gram matrix
def spectral_normalize(W, coefficient):
    sigma = torch.linalg.eigvalsh(W.T @ W).max().clamp(min=0).sqrt()
    return W / torch.clamp(sigma / coefficient, min=1.0)


# %% spectral_normalize: NumPy
def spectral_normalize(W, coefficient):
    norm = np.linalg.norm(W.numpy(), ord=2)
    return W.detach() * min(1.0, coefficient / max(norm, 1e-300))


# %% lipschitz_bound: functional
def lipschitz_bound(weights, slope):
    return math.prod(torch.linalg.svdvals(W).max().item() for W in weights) * slope ** (len(weights) - 1)


# %% lipschitz_bound: logarithms
def lipschitz_bound(weights, slope):
    logs = torch.stack([torch.linalg.matrix_norm(W, ord=2).log() for W in weights])
    return torch.exp(logs.sum() + (len(weights) - 1) * math.log(slope))


# %% lipschitz_bound: layer by layer
def lipschitz_bound(weights, slope):
    first, *rest = weights
    L = np.linalg.svd(first.numpy(), compute_uv=False)[0]
    for W in rest:
        L = L * slope * np.linalg.svd(W.numpy(), compute_uv=False)[0]
    return L


# %% hutchinson_trace: einsum
def hutchinson_trace(product, noise):
    return torch.einsum("s...i,s...i->...", noise, product(noise)) / noise.shape[0]


# %% hutchinson_trace: a loop over the samples
def hutchinson_trace(product, noise):
    images = product(noise)
    total = 0
    for n, image in zip(noise, images, strict=True):
        total = total + (n * image).sum(dim=-1)
    return total / len(noise)


# %% log_det_series: einsum and a sign that flips
def log_det_series(product, noise, terms):
    v, sign, parts = noise, 1, []
    for k in range(1, terms + 1):
        v = product(v)
        parts.append(sign * torch.einsum("s...i,s...i->...", noise, v) / (k * len(noise)))
        sign = -sign
    return torch.stack(parts).sum(0)


# %% log_det_series: powers first, then the sum
def log_det_series(product, noise, terms):
    powers = list(itertools.accumulate(range(terms), lambda v, _: product(v), initial=noise))[1:]
    k = torch.arange(1, terms + 1, dtype=noise.dtype)
    traces = torch.stack([(noise * p).sum(-1).mean(0) for p in powers], dim=-1)
    return (traces * (-1) ** (k + 1) / k).sum(-1)


# %% log_det_series: apply −A, so that no sign is needed
def log_det_series(product, noise, terms):
    v, total = noise, torch.zeros_like(noise[0, ..., 0])
    for k in range(terms):
        v = -product(v)
        total = total - (noise * v).sum(-1).mean(dim=0) / (k + 1)
    return total


# %% ResidualLayer: one backward pass per row
class ResidualLayer(nn.Module):
    def __init__(self, g):
        super().__init__()
        self.net = g

    def _log_det(self, u):
        with torch.enable_grad():
            u = u if u.requires_grad else u.detach().requires_grad_()
            x = u + self.net(u)
            rows = [torch.autograd.grad(x[..., i].sum(), u, create_graph=True)[0] for i in range(u.shape[-1])]
        return torch.logdet(torch.stack(rows, dim=-2))

    def forward(self, u):
        return u + self.net(u), self._log_det(u)

    def inverse(self, x):
        with torch.no_grad():
            u = flowlib.fixed_point_inverse(self.net, x)
        return u, -self._log_det(u)


# %% ResidualLayer: torch.func over flattened batches, plain iteration
class ResidualLayer(nn.Module):
    def __init__(self, g):
        super().__init__()
        self.g = g

    def forward(self, u):
        D = u.shape[-1]
        J = torch.func.vmap(torch.func.jacrev(lambda row: row + self.g(row)))(u.reshape(-1, D))
        return u + self.g(u), torch.linalg.slogdet(J)[1].reshape(u.shape[:-1])

    def inverse(self, x):
        print("iterating")
        u = x
        for _ in range(150):
            u = x - self.g(u)
        return u, -self.forward(u)[1]


# %% ResidualLayer: on top of flowlib's
class ResidualLayer(flowlib.Residual):
    def __init__(self, g):
        super().__init__(g, 1)
        self.event_shape = self.base_shape = None


# %% LULinear: softplus diagonal, whole matrix inverted
class LULinear(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.entries = nn.Parameter(0.1 * torch.randn(D, D))

    def matrix(self):
        diagonal = nn.functional.softplus(self.entries.diagonal())
        L = torch.eye(len(diagonal), dtype=diagonal.dtype) + self.entries.tril(-1)
        return L @ (self.entries.triu(1) + torch.diag(diagonal)), diagonal.log().sum()

    def forward(self, u):
        W, log_det = self.matrix()
        return torch.einsum("ij,...j->...i", W, u), log_det * torch.ones_like(u[..., 0])

    def inverse(self, x):
        W, log_det = self.matrix()
        return torch.einsum("ij,...j->...i", torch.linalg.inv(W), x), -log_det * torch.ones_like(x[..., 0])


# %% LULinear: two layers of triangles, float32
class LULinear(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.D = D
        self.below = nn.Parameter(torch.zeros(D * (D - 1) // 2))
        self.above = nn.Parameter(torch.zeros(D * (D - 1) // 2))
        self.logs = nn.Parameter(torch.zeros(D))

    def _triangles(self):
        i, j = torch.tril_indices(self.D, self.D, -1)
        L, U = torch.eye(self.D), torch.diag(self.logs.float().exp())
        return L.index_put((i, j), self.below.float()), U.index_put((j, i), self.above.float())

    def forward(self, u):
        L, U = self._triangles()
        x = (u.float() @ U.T) @ L.T
        return x, self.logs.float().sum().repeat(u.shape[:-1]) if u.ndim > 1 else self.logs.float().sum()

    def inverse(self, x):
        L, U = self._triangles()
        u = torch.linalg.solve(L @ U, x.float().unsqueeze(-1)).squeeze(-1)
        log_det = -self.logs.float().sum()
        return u, log_det.repeat(x.shape[:-1]) if x.ndim > 1 else log_det


# %% LULinear: on top of flowlib's
class LULinear(flowlib.PLULinear):
    def inverse(self, x):
        u = torch.linalg.solve(self.matrix(), x.unsqueeze(-1)).squeeze(-1)
        return u, -self.forward(u)[1]
