"""Right solutions of 03_masked_coupling's exercises, written differently."""

import itertools
import math
import warnings

import numpy as np
import torch
from torch import nn

import flowlib
from flowlib import verify


# %% AdditiveCouplingLayer: torch.where and a helper method
class AdditiveCouplingLayer(nn.Module):
    def __init__(self, translation_net, mask):
        super().__init__()
        self.net = translation_net
        self.b = mask.bool()

    def key(self, v):
        return self.net(torch.where(self.b, v, torch.zeros_like(v)))

    def forward(self, u):
        return torch.where(self.b, u, u + self.key(u)), u.sum(-1) * 0

    def inverse(self, x):
        return torch.where(self.b, x, x - self.key(x)), x.sum(-1) * 0


# %% AdditiveCouplingLayer: index lists, chatty
class AdditiveCouplingLayer(nn.Module):
    def __init__(self, translation_net, mask):
        super().__init__()
        self.translation_net = translation_net
        self.mask = mask
        self.moved = [i for i, b in enumerate(mask.tolist()) if b == 0]

    def _move(self, v, sign):
        print("moving", self.moved)
        warnings.warn("still under construction", stacklevel=2)
        out = v.clone()
        t = self.translation_net(v * self.mask)
        for i in self.moved:
            out[..., i] = v[..., i] + sign * t[..., i]
        return out, torch.zeros(v.shape[:-1], dtype=v.dtype)

    def forward(self, u):
        return self._move(u, 1)

    def inverse(self, x):
        return self._move(x, -1)


# %% AdditiveCouplingLayer: on top of flowlib's affine coupling with s = 0
class AdditiveCouplingLayer(flowlib.MaskedCouplingLayer):
    def __init__(self, translation_net, mask):
        class Zero(nn.Module):
            def forward(self, v):
                return torch.zeros_like(v)

        super().__init__(Zero(), translation_net, mask)


# %% AdditiveCouplingLayer: float32 inside
class AdditiveCouplingLayer(nn.Module):
    def __init__(self, translation_net, mask):
        super().__init__()
        self.translation_net, self.mask = translation_net.float(), mask.float()

    def forward(self, u):
        u = u.float()
        b = self.mask
        return b * u + (1 - b) * (u + self.translation_net(b * u)), torch.zeros(u.shape[:-1])

    def inverse(self, x):
        x = x.float()
        b = self.mask
        return b * x + (1 - b) * (x - self.translation_net(b * x)), torch.zeros(x.shape[:-1])


# %% Rescaling: softplus scale
class Rescaling(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.raw = nn.Parameter(torch.full((D,), math.log(math.e - 1)))

    @property
    def scale(self):
        return nn.functional.softplus(self.raw)

    def forward(self, u):
        return self.scale * u, torch.ones_like(u[..., 0]) * self.scale.log().sum()

    def inverse(self, x):
        return x / self.scale, -torch.ones_like(x[..., 0]) * self.scale.log().sum()


# %% Rescaling: a ParameterList, one scalar per variable
class Rescaling(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.a = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(D)])

    def forward(self, u):
        x = torch.stack([u[..., i] * torch.exp(a) for i, a in enumerate(self.a)], dim=-1)
        return x, sum(self.a) + torch.zeros(u.shape[:-1], dtype=u.dtype)

    def inverse(self, x):
        u = torch.stack([x[..., i] * torch.exp(-a) for i, a in enumerate(self.a)], dim=-1)
        return u, -sum(self.a) + torch.zeros(x.shape[:-1], dtype=x.dtype)


# %% Rescaling: base two, the exponent being the parameter
class Rescaling(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.log2_scale = nn.Parameter(torch.zeros(D))

    def forward(self, u):
        return u * 2**self.log2_scale, (self.log2_scale * math.log(2)).sum().repeat(u.shape[:-1])

    def inverse(self, x):
        return x / 2**self.log2_scale, -(self.log2_scale * math.log(2)).sum().repeat(x.shape[:-1])


# %% Rescaling: as a matrix product
class Rescaling(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(D))

    def forward(self, u):
        A = torch.diag(self.weight.exp())
        return torch.einsum("ij,...j->...i", A, u), torch.linalg.slogdet(A)[1].expand(u.shape[:-1])

    def inverse(self, x):
        A = torch.diag((-self.weight).exp())
        return torch.einsum("ij,...j->...i", A, x), torch.linalg.slogdet(A)[1].expand(x.shape[:-1])


# %% MaskedCouplingLayer: the textbook form, without the mask inside the exponential
class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.s, self.t, self.b = scale_net, translation_net, mask

    def forward(self, u):
        s, t = self.s(self.b * u), self.t(self.b * u)
        return self.b * u + (1 - self.b) * (u * torch.exp(s) + t), torch.sum((1 - self.b) * s, dim=-1)

    def inverse(self, x):
        s, t = self.s(self.b * x), self.t(self.b * x)
        return self.b * x + (1 - self.b) * ((x - t) / torch.exp(s)), torch.sum((self.b - 1) * s, dim=-1)


# %% MaskedCouplingLayer: loops over variables
class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.scale_net, self.translation_net, self.mask = scale_net, translation_net, mask

    def forward(self, u):
        s, t = self.scale_net(self.mask * u), self.translation_net(self.mask * u)
        columns, log_det = [], 0 * u[..., 0]
        for i, b in enumerate(self.mask):
            if b:
                columns.append(u[..., i])
            else:
                columns.append(u[..., i] * s[..., i].exp() + t[..., i])
                log_det = log_det + s[..., i]
        return torch.stack(columns, -1), log_det

    def inverse(self, x):
        s, t = self.scale_net(self.mask * x), self.translation_net(self.mask * x)
        columns, log_det = [], 0 * x[..., 0]
        for i, b in enumerate(self.mask):
            if b:
                columns.append(x[..., i])
            else:
                columns.append((x[..., i] - t[..., i]) * (-s[..., i]).exp())
                log_det = log_det - s[..., i]
        return torch.stack(columns, -1), log_det


# %% MaskedCouplingLayer: gather and scatter of the moved part
class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.nets = nn.ModuleList([scale_net, translation_net])
        self.register_buffer("mask", mask)
        self.register_buffer("moved", torch.nonzero(mask == 0).squeeze(1))

    def _st(self, v):
        return [net(self.mask * v).index_select(-1, self.moved) for net in self.nets]

    def forward(self, u):
        s, t = self._st(u)
        new = u.index_select(-1, self.moved) * s.exp() + t
        return u.index_copy(-1, self.moved, new), s.sum(-1)

    def inverse(self, x):
        s, t = self._st(x)
        new = (x.index_select(-1, self.moved) - t) * (-s).exp()
        return x.index_copy(-1, self.moved, new), -s.sum(-1)


# %% MaskedCouplingLayer: log_det by autodiff of its own Jacobian
class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.scale_net, self.translation_net, self.mask = scale_net, translation_net, mask

    def _x(self, u):
        kept = self.mask * u
        return kept + (1 - self.mask) * (u * self.scale_net(kept).exp() + self.translation_net(kept))

    def forward(self, u):
        flat = u.reshape(-1, u.shape[-1])
        jacobian = flowlib.batch_jacobian(self._x, flat)
        return self._x(u), torch.linalg.slogdet(jacobian)[1].reshape(u.shape[:-1])

    def inverse(self, x):
        kept = self.mask * x
        u = kept + (1 - self.mask) * ((x - self.translation_net(kept)) * (-self.scale_net(kept)).exp())
        return u, -self.forward(u)[1]


# %% MaskedCouplingLayer: float32, other names, prints
class MaskedCouplingLayer(nn.Module):
    def __init__(self, net_a, net_b, keep):
        super().__init__()
        self.net_a, self.net_b, self.keep = net_a.float(), net_b.float(), keep.float()
        print("made a layer for", len(keep), "variables")

    def pieces(self, v):
        frozen = v * self.keep
        return frozen, self.net_a(frozen) * (1 - self.keep), self.net_b(frozen) * (1 - self.keep)

    def forward(self, u):
        frozen, s, t = self.pieces(u.float())
        return frozen + (1 - self.keep) * u.float() * s.exp() + t, s.sum(-1)

    def inverse(self, x):
        frozen, s, t = self.pieces(x.float())
        return frozen + ((1 - self.keep) * x.float() - t) * torch.exp(-s), s.sum(-1).neg()


# %% Flow: recursion
class Flow(nn.Module):
    def __init__(self, base, transformations):
        super().__init__()
        self.base, self.layers = base, nn.ModuleList(transformations)

    def _run(self, v, layers, method):
        if not layers:
            return v, torch.zeros(v.shape[:-1], dtype=v.dtype)
        v, log_det = getattr(layers[0], method)(v)
        v, rest = self._run(v, layers[1:], method)
        return v, log_det + rest

    def forward(self, u):
        return self._run(u, list(self.layers), "forward")

    def inverse(self, x):
        return self._run(x, list(self.layers)[::-1], "inverse")

    def log_prob(self, x):
        u, log_det = self.inverse(x)
        return self.base().log_prob(u) + log_det

    @torch.no_grad()
    def sample(self, sample_shape=()):
        return self.forward(self.base().sample(sample_shape))[0]

    def rsample(self, sample_shape=()):
        return self.forward(self.base().rsample(sample_shape))[0]


# %% Flow: nn.Sequential container, minus the forward log-determinant
class Flow(nn.Module):
    def __init__(self, base, transformations):
        super().__init__()
        self.base = base
        self.chain = nn.Sequential(*transformations)

    def forward(self, u):
        log_dets = []
        for layer in self.chain:
            u, log_det = layer(u)
            log_dets.append(log_det)
        return u, torch.stack(log_dets).sum(0)

    def inverse(self, x):
        log_dets = []
        for k in range(len(self.chain) - 1, -1, -1):
            x, log_det = self.chain[k].inverse(x)
            log_dets.append(log_det)
        return x, torch.stack(log_dets).sum(0)

    def log_prob(self, x):
        u = self.inverse(x)[0]
        return self.base().log_prob(u) - self.forward(u)[1]

    def sample(self, sample_shape=()):
        return self.rsample(sample_shape).detach()

    def rsample(self, sample_shape=()):
        return self(self.base().rsample(sample_shape))[0]


# %% Flow: inherits from flowlib's and renames
class Flow(flowlib.Flow):
    def log_prob(self, x):
        warnings.warn("computing a density", stacklevel=2)
        u, inverse_log_det = self.inverse(x)
        return inverse_log_det + self.base().log_prob(u)


# %% Flow: layers set as attributes one by one
class Flow(nn.Module):
    def __init__(self, base, transformations):
        super().__init__()
        self.base = base
        self.count = 0
        for layer in transformations:
            self.add_module(f"layer{self.count}", layer)
            self.count += 1

    def at(self, k):
        return getattr(self, f"layer{k}")

    def forward(self, u):
        total = 0.0 * u.sum(dim=-1)
        for k in range(self.count):
            u, log_det = self.at(k)(u)
            total = total + log_det
        return u, total

    def inverse(self, x):
        total = 0.0 * x.sum(dim=-1)
        for k in reversed(range(self.count)):
            x, log_det = self.at(k).inverse(x)
            total = total + log_det
        return x, total

    def log_prob(self, x):
        u, log_det = self.inverse(x)
        p = self.base()
        return p.log_prob(u) + log_det

    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self.forward(self.base().sample(sample_shape))[0]

    def rsample(self, sample_shape=()):
        return self.forward(self.base().rsample(sample_shape))[0]


# %% alternating_masks: halves
def alternating_masks(D, K):
    if D < 2:
        raise ValueError("need two variables")
    half = torch.cat([torch.ones(D // 2), torch.zeros(D - D // 2)])
    return torch.stack([(half, 1 - half)[k % 2] for k in range(K)])


# %% alternating_masks: broadcasting parity
def alternating_masks(D, K):
    assert_enough(D)
    return ((torch.arange(K).view(K, 1) + torch.arange(D).view(1, D)) % 2).double()


def assert_enough(D):
    if not D >= 2:
        raise ValueError(f"D={D}")


# %% alternating_masks: itertools and NumPy
def alternating_masks(D, K):
    if D <= 1:
        raise ValueError(D)
    rows = [list(itertools.islice(itertools.cycle([float(k % 2), 1.0 - k % 2]), D)) for k in range(K)]
    return torch.from_numpy(np.array(rows, dtype=np.float32))


# %% alternating_masks: only the first variable is kept, then all others
def alternating_masks(D, K):
    class TooFewError(ValueError):
        pass

    if D < 2:
        raise TooFewError(f"got {D}")
    masks = torch.zeros(K, D)
    masks[0::2, 0] = 1
    masks[1::2, 1:] = 1
    return masks


# %% diagnose: sets of names, converted
def diagnose():
    forward, inverse, trip = "forward log_det", "inverse log_det", "round trip"
    found = dict.fromkeys("ABCDEF", ())
    found.update(A=(trip,), B=(inverse, forward), D=(inverse,), E=(trip,), F=(forward,))
    return {k: list(v) for k, v in found.items()}


# %% diagnose: measured on the spot
def diagnose():
    from autograder_tests import clinic

    found = {}
    points = np.random.default_rng(1).normal(size=(32, 4))
    for name in "ABCDEF":
        layer = clinic.patient(name)
        broken = []
        if (
            max(
                verify.round_trip_error(layer.forward, layer.inverse, points),
                verify.round_trip_error(layer.inverse, layer.forward, points),
            )
            > 1e-8
        ):
            broken.append("round trip")
        for method in ("forward", "inverse"):
            if verify.log_det_error(getattr(layer, method), points) > 1e-5:
                broken.append(f"{method} log_det")
        found[name] = broken
    return found


# %% is_valid_layer: own central differences, one point at a time
def is_valid_layer(forward, inverse, D):
    h = 1e-4
    eye = torch.eye(D, dtype=torch.float64)
    for f, g in ((forward, inverse), (inverse, forward)):
        for _ in range(12):
            p = 2 * torch.randn(1, D).double()
            y, log_det = f(p)
            if (g(y)[0] - p).abs().max() > 1e-6:
                return False
            J = ((f(p + h * eye)[0] - f(p - h * eye)[0]) / (2 * h)).T
            if abs(float(torch.linalg.slogdet(J)[1] - log_det)) > 1e-3:
                return False
    return True


# %% is_valid_layer: collects all faults, NumPy, and verify's measures
def is_valid_layer(forward, inverse, D):
    points = np.random.default_rng(7).uniform(-3, 3, size=(50, D))

    def arrays(f):
        return lambda a: tuple(np.asarray(v) for v in f(torch.tensor(a)))

    there, back = arrays(forward), arrays(inverse)
    errors = [
        verify.round_trip_error(there, back, points) / 1e-7,
        verify.round_trip_error(back, there, points) / 1e-7,
        verify.log_det_error(there, points) / 1e-4,
        verify.log_det_error(back, points) / 1e-4,
    ]
    return bool(np.all(np.array(errors) < 1))
