"""Right solutions of 01_change_of_variables' exercises, written differently."""

import math

import numpy as np
import sympy as sp
import torch
from torch.distributions import Normal, TransformedDistribution


# %% affine_log_prob: the library's normal distribution
def affine_log_prob(x, a, b):
    return Normal(b, a.abs()).log_prob(x)


# %% affine_log_prob: a transformed distribution
def affine_log_prob(x, a, b):
    from torch.distributions import AffineTransform

    x, a, b = torch.broadcast_tensors(x, a, b)
    base = Normal(torch.zeros_like(x), torch.ones_like(x))
    return TransformedDistribution(base, [AffineTransform(loc=b, scale=a)]).log_prob(x)


# %% affine_log_prob: one formula, half the log of a square
LOG_2PI = np.log(2 * np.pi)


def affine_log_prob(x, a, b):
    variance = a.square()
    return -((x - b).square() / variance + variance.log() + LOG_2PI) / 2


# %% affine_log_prob: a loop over numbers in plain Python
def affine_log_prob(x, a, b):
    print("shapes:", x.shape, a.shape, b.shape)
    x, a, b = torch.broadcast_tensors(x, a, b)
    found = []
    for xi, ai, bi in zip(x.flatten().tolist(), a.flatten().tolist(), b.flatten().tolist(), strict=True):
        u = (xi - bi) / ai
        found.append(-u * u / 2 - math.log(math.sqrt(2 * math.pi)) - math.log(abs(ai)))
    return torch.tensor(found, dtype=x.dtype).reshape(x.shape)


# %% affine_log_prob: float32, and the sign by torch.where
def log_standard_normal(u):
    return -(u**2) / 2 - math.log(2 * math.pi) / 2


def affine_log_prob(x, a, b):
    x, a, b = x.float(), a.float(), b.float()
    scale = torch.where(a < 0, -a, a)
    return log_standard_normal((x - b) / scale) - scale.log()


# %% affine_log_prob: slope by autograd
def affine_log_prob(x, a, b):
    x, a, b = (t.clone() for t in torch.broadcast_tensors(x, a, b))
    x.requires_grad_()
    u = (x - b) / a
    (slope,) = torch.autograd.grad(u.sum(), x)
    return (Normal(0.0, 1.0).log_prob(u) + slope.abs().log()).detach()


# %% pushforward_cdf: two cases by an if
def pushforward_cdf(F_u, S, u, x):
    if S.subs(x, 1) > S.subs(x, 0):
        return F_u.subs(u, S)
    return 1 - F_u.subs(u, S)


# %% pushforward_cdf: the sign as a number
def pushforward_cdf(F_u, S, u, x):
    sign = sp.sign(sp.N(sp.diff(S, x).subs(x, sp.Rational(1, 7))))
    return sp.Rational(1, 2) + sign * (F_u.subs({u: S}) - sp.Rational(1, 2))


# %% pushforward_cdf: a Piecewise in the slope
def pushforward_cdf(F_u, S, u, x):
    F = sp.Lambda(u, F_u)
    return sp.Piecewise((F(S), sp.diff(S, x) > 0), (1 - F(S), True))


# %% pushforward_density: the slope of T at the inverse
def pushforward_density(p_u, T, u, x):
    def leads_back(S):
        return all(abs(complex(S.subs(x, T.subs(u, k)).evalf()) - k) < 1e-8 for k in (-2, -1, 1, 2))

    inverses = [S for S in sp.solve(T - x, u) if leads_back(S)]
    if not inverses:
        raise ValueError("not injective")
    S = inverses[0]
    height = (p_u / sp.Abs(sp.diff(T, u))).subs(u, S)
    image = sp.Interval.open(*sorted([sp.limit(T, u, sp.oo), sp.limit(T, u, -sp.oo)]))
    return sp.Piecewise((height, image.contains(x)), (0, True))


# %% pushforward_density: simplified at the end, monotone by sampling first
def pushforward_density(p_u, T, u, x):
    values = [float(T.subs(u, sp.Rational(k, 4))) for k in range(-9, 10)]
    steps = np.diff(values)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        raise ValueError(f"{T} is not monotone")
    for S in sp.solve(sp.Eq(T, x), u):
        there_and_back = [
            abs(sp.N(S.subs(x, T.subs(u, k)) - k)) for k in (sp.Rational(-3, 2), sp.Rational(5, 4))
        ]
        if max(there_and_back) < 1e-10:
            density = sp.simplify(p_u.subs(u, S) * sp.Abs(sp.diff(S, x)))
            ends = sorted([sp.limit(T, u, -sp.oo), sp.limit(T, u, sp.oo)])
            return sp.Piecewise((0, x <= ends[0]), (density, x < ends[1]), (0, True))
    raise ValueError("no inverse found")


# %% pushforward_density: indicator functions for the image, direction by hand
def pushforward_density(p_u, T, u, x):
    low, high = sp.limit(T, u, -sp.oo), sp.limit(T, u, sp.oo)
    increasing = bool(T.subs(u, 1) > T.subs(u, -1))
    if not increasing:
        low, high = high, low
    checked = [sp.Integer(-1), sp.Integer(0), sp.Rational(3, 2)]
    branches = sp.solve(T - x, u, check=False)
    chosen = next(
        (S for S in branches if all(abs(sp.N(S.subs(x, T.subs(u, p)) - p)) < 1e-9 for p in checked)), None
    )
    if chosen is None:
        raise ValueError("T must be one-to-one")
    slope = sp.diff(chosen, x)
    density = p_u.subs(u, chosen) * (slope if increasing else -slope)
    inside = sp.true if low == -sp.oo else sp.Gt(x, low)
    inside = sp.And(inside, sp.true if high == sp.oo else sp.Lt(x, high))
    return sp.Piecewise((density, inside), (0, True))


# %% pushforward_density: the derivative of the distribution function
def pushforward_density(p_u, T, u, x):
    import warnings

    warnings.warn("this takes a moment", stacklevel=2)
    tests = (-1.7, -0.4, 0.8, 1.9)
    numeric = sp.lambdify(u, T)
    for S in sp.solve(sp.Eq(T, x), u, simplify=False):
        back = [complex(sp.N(S.subs(x, sp.Float(numeric(t), 20)))) for t in tests]
        if np.allclose(back, tests, atol=1e-8):
            break
    else:
        raise ValueError("T has no inverse")
    # d/dx ∫_{-∞}^{S(x)} p_u = p_u(S(x))·S′(x), by the fundamental theorem.
    density = sp.Abs(p_u.subs(u, S) * sp.diff(S, x))
    low, high = sp.Min(*(ends := (sp.limit(T, u, -sp.oo), sp.limit(T, u, sp.oo)))), sp.Max(*ends)
    return sp.Piecewise((density, sp.And(x > low, x < high)), (sp.S.Zero, True))


# %% square_density: a sum over preimages
def square_density(p_u, u, x):
    total = 0
    for preimage in (sp.sqrt(x), -sp.sqrt(x)):
        total += (p_u / sp.Abs(sp.diff(u**2, u))).subs(u, preimage)
    return sp.Piecewise((0, x <= 0), (total, True))


# %% square_density: through the distribution function
def square_density(p_u, u, x):
    # P(u² ≤ x) = F(√x) − F(−√x), and the derivative of F is p_u.
    root = x ** sp.Rational(1, 2)
    slope = sp.diff(root, x)
    density = p_u.subs(u, root) * slope - p_u.subs(u, -root) * (-slope)
    return sp.Piecewise((density, x > 0), (0, x <= 0))


# %% sample_by_inverse_cdf: draws again where a draw is zero
def sample_by_inverse_cdf(inverse_cdf, shape, generator=None):
    u = torch.rand(shape, generator=generator)
    while (u == 0).any():
        u = torch.where(u == 0, torch.rand(shape, generator=generator), u)
    return inverse_cdf(u)


# %% sample_by_inverse_cdf: the other tail, in float64
def sample_by_inverse_cdf(inverse_cdf, shape, generator=None):
    u = torch.rand(shape, generator=generator, dtype=torch.float64)
    return inverse_cdf((1 - u).clamp(max=1 - 2**-53))


# %% sample_by_inverse_cdf: centers of the cells of the generator
def sample_by_inverse_cdf(inverse_cdf, shape, generator=None):
    cells = torch.randint(0, 2**22, tuple(shape), generator=generator)
    return inverse_cdf((cells.double() + 0.5) / 2**22)


# %% sample_by_inverse_cdf: one number at a time
def one_draw(generator):
    while True:
        u = torch.empty(()).uniform_(0, 1, generator=generator)
        if 0 < u < 1:
            return u


def sample_by_inverse_cdf(inverse_cdf, shape, generator=None):
    count = math.prod(shape)
    draws = [inverse_cdf(one_draw(generator)) for _ in range(count)]
    return torch.stack(draws).reshape(shape)


# %% sample_by_inverse_cdf: the library's own, and both ends kept away
def sample_by_inverse_cdf(inverse_cdf, shape, generator=None):
    eps = torch.finfo(torch.float32).eps / 2
    u = torch.zeros(shape).uniform_(generator=generator)
    return inverse_cdf(torch.clamp(u, eps, 1 - eps))


# %% negative_log_likelihood: the library's normal distribution
def negative_log_likelihood(x, shift, log_scale):
    return -Normal(shift, log_scale.exp()).log_prob(x).mean()


# %% negative_log_likelihood: a flow of flowlib's style, as a class with a helper
class AffineMap:
    def __init__(self, shift, log_scale):
        self.shift, self.log_scale = shift, log_scale

    def inverse(self, x):
        return (x - self.shift) / self.log_scale.exp(), (-self.log_scale).expand(x.shape)


def negative_log_likelihood(x, shift, log_scale):
    u, log_det = AffineMap(shift, log_scale).inverse(x)
    log_prob = Normal(torch.zeros(()), torch.ones(())).log_prob(u) + log_det
    return -torch.mean(log_prob)


# %% negative_log_likelihood: a running sum
def negative_log_likelihood(x, shift, log_scale):
    total = torch.zeros((), dtype=x.dtype)
    for value in x:
        u = (value - shift) * torch.exp(-log_scale)
        total = total + u * u / 2 + math.log(2 * math.pi) / 2 + log_scale
    return total / len(x)


# %% negative_log_likelihood: moments of the data
def negative_log_likelihood(x, shift, log_scale):
    mean_square = x.var(correction=0) + (x.mean() - shift) ** 2
    return 0.5 * mean_square * torch.exp(-2 * log_scale) + log_scale + 0.5 * np.log(2 * np.pi)


# %% negative_log_likelihood: on exercise 1, in float32
def log_density(x, a, b):
    return -(((x - b) / a) ** 2) / 2 - a.log() - math.log(math.tau) / 2


def negative_log_likelihood(x, shift, log_scale):
    return log_density(x.double(), log_scale.exp(), shift).neg().sum() / x.numel()


# %% fit_affine_flow: the library's standard deviation
def fit_affine_flow(x):
    return x.mean(), x.std(correction=0).log()


# %% fit_affine_flow: moments in numpy, and a list
def fit_affine_flow(x):
    values = x.numpy()
    return [torch.tensor(values.mean()), torch.tensor(0.5 * np.log((values**2).mean() - values.mean() ** 2))]


# %% fit_affine_flow: Newton's method on the likelihood
def fit_affine_flow(x):
    shift = x.sum() / len(x)
    log_scale = torch.log((x - shift).abs().max())
    for _ in range(60):
        mean_square = ((x - shift) ** 2).mean() * torch.exp(-2 * log_scale)
        log_scale = log_scale - (1 - mean_square) / (2 * mean_square)
    return shift, log_scale


# %% nll_in_new_units: torch and a Jacobian
def nll_in_new_units(nll, factor, D=1):
    _, log_det = torch.linalg.slogdet(factor * torch.eye(D, dtype=torch.float64))
    return torch.as_tensor(nll) + log_det


# %% nll_in_new_units: numpy, a sum over coordinates
def nll_in_new_units(nll, factor, D=1):
    for _ in range(D):
        nll = nll + np.log(np.abs(factor))
    return nll
