"""Right solutions of 06_image_flows' exercises, written differently."""

import itertools
import math
import warnings

import numpy as np
import torch
from torch import nn

import flowlib
from flowlib import data


# %% dequantize: with a distribution
def dequantize(x, levels):
    cell = torch.distributions.Uniform(x / levels, (x + 1) / levels)
    return cell.sample()


# %% dequantize: NumPy and float32
def dequantize(x, levels):
    noise = np.random.default_rng(int(torch.randint(2**31, ()))).random(x.shape)
    return torch.as_tensor((x.numpy() + noise) / levels).float()


# %% dequantize: pixel by pixel, chatty
def dequantize(x, levels):
    warnings.warn("this takes its time", stacklevel=2)
    print("dequantizing", tuple(x.shape))
    noise = torch.tensor([float(torch.rand(())) for _ in range(x.numel())], dtype=x.dtype)
    return (x + noise.reshape(x.shape)).div(levels)


# %% dequantize: noise from the upper end of the cell
def dequantize(x, levels):
    return (x + 1 - torch.rand(x.shape, dtype=x.dtype)) / levels


# %% dequantize: flowlib's
def dequantize(x, levels):
    return data.dequantize(x, levels)


# %% bits_per_dim: base-two logarithms
def bits_per_dim(log_prob, D, levels):
    return math.log2(levels) - log_prob * math.log2(math.e) / D


# %% bits_per_dim: the discrete bound first
def bits_per_dim(log_prob, D, levels):
    log_probability = log_prob - D * np.log(levels)
    return -log_probability / (D * np.log(2))


# %% bits_per_dim: float32
def bits_per_dim(log_prob, D, levels):
    total = torch.as_tensor(-log_prob, dtype=torch.float32) + D * torch.log(torch.tensor(float(levels)))
    return total / (torch.log(torch.tensor(2.0)) * D)


# %% bits_per_dim: constants as float32 tensors, the rest as it came
def bits_per_dim(log_prob, D, levels):
    return (-log_prob / D + torch.log(torch.tensor(levels))) / torch.log(torch.tensor(2.0))


# %% bits_per_dim: one image after the other
def bits_per_dim(log_prob, D, levels):
    each = [-value / D / math.log(2) + math.log2(levels) for value in log_prob.flatten().tolist()]
    return torch.tensor(each, dtype=log_prob.dtype).reshape(log_prob.shape)


# %% discrete_bound: all draws in one batch
def discrete_bound(log_prob, x, levels, num_samples):
    many = x.expand(num_samples, *x.shape)
    z = (many + torch.rand(many.shape, dtype=x.dtype)) / levels
    return (log_prob(z) - x.shape[-1] * math.log(levels)).mean(dim=0)


# %% discrete_bound: a running sum, and an image at a time
def discrete_bound(log_prob, x, levels, num_samples):
    D = x.shape[1]
    results = []
    for image in x:
        total = 0.0
        for _ in range(num_samples):
            total = total + log_prob(((image + torch.rand_like(image)) / levels)[None])[0]
        results.append(total / num_samples - D * math.log(levels))
    return torch.stack(results)


# %% discrete_bound: a float32 constant
def discrete_bound(log_prob, x, levels, num_samples):
    volume = torch.log(torch.tensor(float(levels))) * x.shape[-1]
    return sum(log_prob((x + torch.rand_like(x)) / levels) - volume for _ in range(num_samples)) / num_samples


# %% discrete_bound: flowlib's
def discrete_bound(log_prob, x, levels, num_samples):
    return flowlib.dequantization_bound(log_prob, x, levels, num_samples)


# %% discrete_bound: antithetic noise, each draw with its mirror image
def discrete_bound(log_prob, x, levels, num_samples):
    def log_p(v):
        return log_prob((x + v) / levels)

    noise = [torch.rand(x.shape, dtype=x.dtype) for _ in range(num_samples)]
    both = [0.5 * (log_p(v) + log_p(1 - v)) for v in noise]
    return sum(both) / num_samples - np.log(levels) * x.shape[-1]


# %% checkerboard_mask: loops
def checkerboard_mask(shape, flip=False):
    mask = torch.zeros(shape)
    for c, h, w in itertools.product(*(range(n) for n in shape)):
        if (h + w) % 2 == (1 if flip else 0):
            mask[c, h, w] = 1.0
    return mask


# %% checkerboard_mask: strided assignment, float64
def checkerboard_mask(shape, flip=False):
    mask = torch.zeros(tuple(shape), dtype=torch.float64)
    mask[:, 0::2, int(flip) :: 2] = 1
    mask[:, 1::2, 1 - int(flip) :: 2] = 1
    return mask


# %% checkerboard_mask: NumPy's indices
def checkerboard_mask(shape, flip=False):
    _, h, w = np.indices(shape)
    return torch.from_numpy((h + w + 1 + flip) % 2).float()


# %% checkerboard_mask: exclusive or
def checkerboard_mask(shape, flip=False):
    C, H, W = shape
    rows, columns = torch.arange(H) % 2 == 1, torch.arange(W) % 2 == 1
    odd = rows[:, None] ^ columns[None, :]
    return torch.stack([(odd if flip else ~odd).to(torch.get_default_dtype())] * C)


# %% Squeeze: pixel_shuffle
class Squeeze(nn.Module):
    def forward(self, u):
        return nn.functional.pixel_shuffle(u, 2), torch.zeros(u.shape[:-3], dtype=u.dtype)

    def inverse(self, x):
        return nn.functional.pixel_unshuffle(x, 2), torch.zeros(x.shape[:-3], dtype=x.dtype)


# %% Squeeze: slices
class Squeeze(nn.Module):
    def forward(self, u):
        C, H, W = u.shape[-3:]
        x = torch.zeros(*u.shape[:-3], C // 4, 2 * H, 2 * W, dtype=u.dtype)
        for k in range(4):
            x[..., k // 2 :: 2, k % 2 :: 2] = u[..., k::4, :, :]
        return x, u[..., 0, 0, 0] * 0

    def inverse(self, x):
        parts = [x[..., k // 2 :: 2, k % 2 :: 2] for k in range(4)]
        u = torch.stack(parts, dim=-3).flatten(-4, -3)
        return u, x[..., 0, 0, 0] * 0


# %% Squeeze: flowlib's, made for each shape
class Squeeze(nn.Module):
    def forward(self, u):
        C, H, W = u.shape[-3:]
        return flowlib.Squeeze((C // 4, 2 * H, 2 * W)).forward(u)

    def inverse(self, x):
        return flowlib.Squeeze(x.shape[-3:]).inverse(x)


# %% Squeeze: a permutation of the flattened pixels, float32
class Squeeze(nn.Module):
    def order(self, C, H, W):
        index = torch.arange(C * H * W).reshape(C, H, W)
        blocks = index.reshape(C, H // 2, 2, W // 2, 2).permute(0, 2, 4, 1, 3)
        return blocks.reshape(-1)

    def forward(self, u):
        C, H, W = u.shape[-3] // 4, 2 * u.shape[-2], 2 * u.shape[-1]
        x = u.float().flatten(-3)[..., self.order(C, H, W).argsort()]
        return x.reshape(*u.shape[:-3], C, H, W), torch.zeros(u.shape[:-3])

    def inverse(self, x):
        C, H, W = x.shape[-3:]
        u = x.float().flatten(-3)[..., self.order(C, H, W)]
        return u.reshape(*x.shape[:-3], 4 * C, H // 2, W // 2), torch.zeros(x.shape[:-3])


# %% ActNorm: precision and mean as parameters, in the other direction
class ActNorm(nn.Module):
    def __init__(self, C):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(1, C, 1, 1))
        self.log_precision = nn.Parameter(torch.zeros(1, C, 1, 1))
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.long))

    def as_channels(self):
        return (p.reshape(-1, 1, 1) for p in (self.mean, self.log_precision))

    def forward(self, u):
        mean, log_precision = self.as_channels()
        x = u * torch.exp(-log_precision) + mean
        return x, -self._log_det(u)

    def _log_det(self, v):
        pixels = math.prod(v.shape[-2:])
        return pixels * self.log_precision.sum() + v.sum(dim=(-1, -2, -3)) * 0

    def inverse(self, x):
        if self.batches_seen == 0:
            flat = x.transpose(-3, -1).reshape(-1, x.shape[-3])
            self.mean.data = flat.mean(0).reshape(1, -1, 1, 1).detach()
            self.log_precision.data = -flat.std(0, unbiased=False).log().reshape(1, -1, 1, 1).detach()
            self.batches_seen += 1
        mean, log_precision = self.as_channels()
        return (x - mean) * torch.exp(log_precision), self._log_det(x)


# %% ActNorm: on top of flowlib's, made when the shape is known
class ActNorm(nn.Module):
    def __init__(self, C):
        super().__init__()
        self.inner = flowlib.ActNorm(C)

    def _run(self, method, v):
        # Channels last: flowlib's layer for vectors, one vector a pixel.
        y, log_det = getattr(self.inner, method)(v.movedim(-3, -1))
        return y.movedim(-1, -3), log_det.sum(dim=(-1, -2))

    def forward(self, u):
        return self._run("forward", u)

    def inverse(self, x):
        return self._run("inverse", x)


# %% ActNorm: a small epsilon, statistics from moments, float32 parameters
class ActNorm(nn.Module):
    def __init__(self, C):
        super().__init__()
        self.C = C
        self.register_parameter("b", nn.Parameter(torch.zeros(C)))
        self.register_parameter("s", nn.Parameter(torch.zeros(C)))
        self.register_buffer("ready", torch.zeros(1))

    def _view(self, p):
        return p[:, None, None]

    def forward(self, u):
        x = u * self._view(self.s).exp() + self._view(self.b)
        return x, self.s.sum().repeat(u.shape[:-3]) * u.shape[-1] * u.shape[-2]

    def inverse(self, x):
        if self.ready.item() == 0:
            axes = tuple(a for a in range(x.ndim) if a != x.ndim - 3)
            mean = x.mean(axes)
            var = ((x - self._view(mean)) ** 2).mean(axes)
            with torch.no_grad():
                self.b[:] = mean
                self.s[:] = 0.5 * torch.log(var + 1e-8)
                self.ready[:] = 1
        u = (x - self._view(self.b)) / self._view(self.s).exp()
        return u, -self.s.sum().repeat(x.shape[:-3]) * x.shape[-1] * x.shape[-2]


# %% TwoScales: flowlib's
class TwoScales(nn.Module):
    def __init__(self, fine, coarse, shape):
        super().__init__()
        self.scales = flowlib.MultiScale([coarse, fine])

    def forward(self, u):
        return self.scales.forward(u)

    def inverse(self, x):
        return self.scales.inverse(x)


# %% TwoScales: slices and flatten
class TwoScales(nn.Module):
    def __init__(self, fine, coarse, shape):
        super().__init__()
        self.layers = nn.ModuleDict({"fine": fine, "coarse": coarse})
        self.C, self.H, self.W = shape
        self.D = math.prod(shape)

    def forward(self, u):
        image = u.unflatten(-1, (self.C, self.H, self.W))
        c = self.C // 2
        top, first = self.layers["coarse"].forward(image[..., :c, :, :])
        x, second = self.layers["fine"].forward(torch.cat((top, image[..., c:, :, :]), -3))
        return x, sum((first, second))

    def inverse(self, x):
        y, log_det = self.layers["fine"].inverse(x)
        c = self.C // 2
        z, more = self.layers["coarse"].inverse(y[..., :c, :, :])
        return torch.cat((z.flatten(-3), y[..., c:, :, :].flatten(-3)), -1), log_det + more


# %% TwoScales: written into an empty tensor, one image at a time
class TwoScales(nn.Module):
    def __init__(self, fine, coarse, shape):
        super().__init__()
        self.fine = fine
        self.coarse = coarse
        self.shape = tuple(shape)

    def _one(self, v, forward):
        c, D = self.shape[0] // 2, math.prod(self.shape)
        if forward:
            image = v.reshape(1, *self.shape).clone()
            image[:, :c], a = self.coarse.forward(image[:, :c].clone())
            x, b = self.fine.forward(image)
            return x[0], (a + b)[0]
        h, b = self.fine.inverse(v[None])
        z, a = self.coarse.inverse(h[:, :c])
        u = torch.empty(D, dtype=v.dtype)
        u[: D // 2], u[D // 2 :] = z.reshape(-1), h[:, c:].reshape(-1)
        return u, (a + b)[0]

    def _all(self, v, event, forward):
        batch = v.shape[: v.ndim - event]
        rows = [self._one(row, forward) for row in v.reshape(-1, *v.shape[v.ndim - event :])]
        y, log_det = (torch.stack(part) for part in zip(*rows, strict=True))
        return y.reshape(*batch, *y.shape[1:]), log_det.reshape(batch)

    def forward(self, u):
        return self._all(u, 1, True)

    def inverse(self, x):
        return self._all(x, 3, False)
