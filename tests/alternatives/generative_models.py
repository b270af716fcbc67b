"""Right solutions of 11_flows_among_generative_models' exercises, written differently."""

import math
import warnings

import numpy as np
import sympy as sp
import torch
from torch import nn

import flowlib


# %% mmd2: loops over pairs
def mmd2(x, y, bandwidths):
    def k(a, b):
        return sum(torch.exp(-((a - b) @ (a - b)) / (2 * w * w)) for w in bandwidths)

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    across = sum(k(a, b) for a in x for b in y) / (n * m)
    return within_x + within_y - 2 * across


# %% mmd2: expanded squares, float32, one bandwidth after the other
def mmd2(x, y, bandwidths):
    warnings.warn("computed in float32", stacklevel=2)
    z = torch.cat([x, y]).float()
    z = z - z.mean(0).detach()
    gram = z @ z.T
    norms = gram.diagonal()
    squared = (norms[:, None] + norms[None, :] - 2 * gram).clamp(min=0)
    n, m = x.shape[0], y.shape[0]
    total = torch.zeros(())
    for w in bandwidths:
        k = torch.exp(-squared / (2 * w**2)) * (1 - torch.eye(n + m))
        total = total + k[:n, :n].sum() / (n * (n - 1)) + k[n:, n:].sum() / (m * (m - 1))
        total = total - k[:n, n:].mean() - k[n:, :n].mean()
    return total


# %% mmd2: torch.cdist and upper triangles
def mmd2(x, y, bandwidths):
    widths = torch.as_tensor(list(bandwidths), dtype=x.dtype)[:, None, None]

    def kernel(a, b):
        distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.exp(-0.5 * (distance / widths) ** 2).sum(0)

    def mean_of_pairs(k):
        i, j = torch.triu_indices(len(k), len(k), offset=1)
        return k[i, j].mean()

    return mean_of_pairs(kernel(x, x)) + mean_of_pairs(kernel(y, y)) - 2 * kernel(x, y).mean()


# %% mmd2: mask of the diagonal, einsum
def mmd2(x, y, bandwidths):
    def mean_kernel(a, b, same):
        difference = a.unsqueeze(1) - b.unsqueeze(0)
        squared = torch.einsum("ijd,ijd->ij", difference, difference)
        k = torch.stack([torch.exp(-squared / (2 * w**2)) for w in bandwidths]).sum(0)
        return k[~torch.eye(len(a), dtype=torch.bool)].mean() if same else k.mean()

    return mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)


# %% sliced_wasserstein: one direction at a time
def sliced_wasserstein(x, y, directions):
    squares = []
    for direction in directions:
        a, _ = torch.sort(x @ direction)
        b, _ = torch.sort(y @ direction)
        squares.append(((a - b) ** 2).mean())
    return torch.stack(squares).mean().sqrt()


# %% sliced_wasserstein: argsort and gather, with prints
def sliced_wasserstein(x, y, directions):
    print("directions:", tuple(directions.shape))
    a, b = torch.einsum("nd,ld->ln", x, directions), torch.einsum("nd,ld->ln", y, directions)
    a, b = a.gather(1, a.argsort(dim=1)), b.gather(1, b.argsort(dim=1))
    return (a - b).pow(2).mean() ** 0.5


# %% sliced_wasserstein: norm of the sorted differences, float32
def sliced_wasserstein(x, y, directions):
    project = nn.Linear(directions.shape[1], len(directions), bias=False)
    with torch.no_grad():
        project.weight.copy_(directions)
    a, b = (project(v.float()).sort(0)[0] for v in (x, y))
    return torch.linalg.norm(a - b) / math.sqrt(a.numel())


# %% gan_losses: binary cross-entropy with logits
def gan_losses(real_logits, fake_logits):
    bce = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones_like, torch.zeros_like
    loss_d = bce(real_logits, ones(real_logits)) + bce(fake_logits, zeros(fake_logits))
    return loss_d, bce(fake_logits, ones(fake_logits))


# %% gan_losses: logsigmoid
def gan_losses(real_logits, fake_logits):
    log_sigmoid = nn.functional.logsigmoid
    return -(log_sigmoid(real_logits).mean() + log_sigmoid(-fake_logits).mean()), -log_sigmoid(
        fake_logits
    ).mean()


# %% gan_losses: logaddexp, a loop over both sets
def gan_losses(real_logits, fake_logits):
    zero = real_logits.new_zeros(())

    def cross_entropy(logits, sign):
        return sum(torch.logaddexp(zero, -sign * v) for v in logits) / len(logits)

    discriminator = cross_entropy(real_logits, 1) + cross_entropy(fake_logits, -1)
    return [discriminator, cross_entropy(fake_logits, 1)]


# %% optimal_discriminator: solved by sympy
def optimal_discriminator(p, q):
    logit = sp.Symbol("logit", real=True)
    loss = p * sp.log(1 + sp.exp(-logit)) + q * sp.log(1 + sp.exp(logit))
    # The derivative is −p σ(−ℓ) + q σ(ℓ): written in e^ℓ it is linear.
    odds = sp.Symbol("odds", positive=True)
    best = sp.solve(sp.Eq(q * odds - p, 0), odds)[0]
    return sp.log(best), loss.subs(logit, sp.log(best))


# %% optimal_discriminator: by the probability of real
def optimal_discriminator(p, q):
    real = p / (p + q)
    return sp.log(real / (1 - real)), -(p * sp.log(real) + q * sp.log(1 - real))


# %% mode_coverage: a loop over samples
def mode_coverage(x, modes, std):
    counts = [0] * len(modes)
    for point in x:
        distances = [math.dist(point.tolist(), mode.tolist()) for mode in modes]
        k = int(np.argmin(distances))
        if distances[k] <= 3 * std:
            counts[k] += 1
    return torch.tensor(counts), sum(counts) / len(x)


# %% mode_coverage: one-hot table, float counts
def mode_coverage(x, modes, std):
    distance = torch.cdist(x.float(), modes.float())
    owner = nn.functional.one_hot(distance.argmin(1), num_classes=len(modes))
    counts = (owner * (distance < 3 * std)).sum(dim=0).float()
    return counts, counts.sum() / x.shape[0]


# %% flow_reconstruction: a mask
def flow_reconstruction(x, flow, M):
    u = flow.inverse(x)[0]
    mask = (torch.arange(u.shape[-1]) < M).to(u.dtype)
    return flow.forward(mask * u)[0]


# %% flow_reconstruction: a copy, filled in place, without gradient
@torch.no_grad()
def flow_reconstruction(x, flow, M):
    u = flow.inverse(x)[0].clone()
    u[:, M:] = 0
    return flow(u)[0]


# %% flow_reconstruction: layer by layer
def flow_reconstruction(x, flow, M):
    u = x
    for layer in reversed(flow.transformations):
        u = layer.inverse(u)[0]
    z = nn.functional.pad(u[..., :M], (0, u.shape[-1] - M))
    for layer in flow.transformations:
        z = layer.forward(z)[0]
    return z


# %% optimal_discriminator: entropies, with flowlib imported for nothing
def optimal_discriminator(p, q):
    print(flowlib.__name__)
    total = p + q
    return sp.log(p) - sp.log(q), total * sp.log(total) - p * sp.log(p) - q * sp.log(q)
