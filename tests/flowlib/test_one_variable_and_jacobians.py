"""`change_of_variables`, `jacobians`, `symbolic`."""

import math

import numpy as np
import pytest
import sympy as sp
import torch
from scipy import stats
from torch.distributions import Normal

from flowlib import (
    SplitCoupling,
    affine_log_prob,
    batch_jacobian,
    log_abs_det_triangular,
    negative_log_likelihood,
    sample_by_inverse_cdf,
)
from flowlib.symbolic import coupling_jacobian, jacobian_matrix, pushforward_density

u, x = sp.symbols("u x", real=True)
NORMAL = sp.exp(-(u**2) / 2) / sp.sqrt(2 * sp.pi)


@pytest.mark.parametrize("a", [2.0, -0.3])
def test_affine_log_prob(a):
    points = torch.randn(3, 4, dtype=torch.float64)
    loc, scale = torch.tensor([1.5, abs(a)], dtype=torch.float64)
    expected = Normal(loc, scale).log_prob(points)
    torch.testing.assert_close(affine_log_prob(points, a, 1.5), expected, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="a must not be 0"):
        affine_log_prob(points, 0.0, 1.5)


def test_negative_log_likelihood_and_its_gradient():
    points = torch.randn(50, dtype=torch.float64)
    shift = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor(-0.7, dtype=torch.float64, requires_grad=True)
    got = negative_log_likelihood(points, shift, log_scale)
    torch.testing.assert_close(got, -Normal(shift, log_scale.exp()).log_prob(points).mean())
    assert all(g is not None for g in torch.autograd.grad(got, (shift, log_scale)))
    # The maximum-likelihood answer: sample mean and standard deviation.
    best = negative_log_likelihood(points, points.mean(), points.std(correction=0).log())
    assert best < got


def test_inverse_cdf_samples():
    generator = torch.Generator().manual_seed(0)
    draws = sample_by_inverse_cdf(lambda v: -torch.log1p(-v), (50, 100), generator)
    assert draws.shape == (50, 100)
    assert stats.kstest(draws.flatten().numpy(), "expon").pvalue > 1e-3


@pytest.mark.parametrize(
    "inverse_cdf", [Normal(0.0, 1.0).icdf, torch.log, lambda v: Normal(0.0, 1.0).icdf(1 - v)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-24])
def test_inverse_cdf_is_finite_where_the_uniform_draw_is_extreme(inverse_cdf, dtype, uniform, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, uniform, dtype=dtype))
    assert sample_by_inverse_cdf(inverse_cdf, (3,)).isfinite().all()


def test_batch_jacobian():
    points = torch.randn(5, 3, dtype=torch.float64)
    A = torch.randn(3, 3, dtype=torch.float64)
    f = lambda v: torch.tanh(v @ A.T)  # noqa: E731
    expected = (1 - f(points) ** 2)[:, :, None] * A
    torch.testing.assert_close(batch_jacobian(f, points), expected)
    with torch.no_grad():
        torch.testing.assert_close(batch_jacobian(f, points), expected)
    assert torch.equal(batch_jacobian(lambda v: torch.ones_like(v), points), torch.zeros(5, 3, 3).double())
    assert batch_jacobian(lambda v: v[:, :2], points).shape == (5, 2, 3)
    with pytest.raises(ValueError, match=r"\(B, D\), got \(3,\)"):
        batch_jacobian(f, points[0])
    with pytest.raises(ValueError, match=r"f\(x\)"):
        batch_jacobian(lambda v: v.sum(), points)


def test_log_abs_det_triangular():
    A = torch.randn(2, 3, 5, 5, dtype=torch.float64).tril()
    torch.testing.assert_close(log_abs_det_triangular(A), torch.linalg.slogdet(A)[1])
    big = torch.diag(torch.full((400,), -1e-3))
    assert log_abs_det_triangular(big).item() == pytest.approx(400 * math.log(1e-3), rel=1e-5)
    with pytest.raises(ValueError, match=r"\(\*batch, D, D\), got \(2, 3\)"):
        log_abs_det_triangular(torch.ones(2, 3))


MAPS = {
    "affine": 2 * u + 1,
    "affine, decreasing": 2 - 3 * u,
    "exp": sp.exp(u),
    "exp, decreasing": sp.exp(-u),
    "tanh": sp.tanh(u),
    "logistic": 1 / (1 + sp.exp(-u)),
    "cubic": u**3 + u,
    "cubic, decreasing": -(u**3) - u,
    "sinh": sp.sinh(u),
    "softplus": sp.log(1 + sp.exp(u)),
}


@pytest.mark.parametrize("name", MAPS)
def test_pushforward_density_at_points_and_outside(name):
    T = MAPS[name]
    p = pushforward_density(NORMAL, T, u, x)
    assert p.free_symbols == {x}
    for value in (-2.5, -1.0, -0.2, 0.0, 0.4, 1.7):
        slope = float(sp.diff(T, u).subs(u, value))
        expected = math.exp(-(value**2) / 2) / math.sqrt(2 * math.pi) / abs(slope)
        got = complex(p.subs(x, T.subs(u, value).evalf(30)).evalf(15))
        assert got.real == pytest.approx(expected, rel=1e-9)
        assert abs(got.imag) < 1e-12
    ends = [float(sp.limit(T, u, side * sp.oo)) for side in (-1, 1)]
    for end, outward in ((min(ends), -1), (max(ends), 1)):
        if math.isfinite(end):
            assert p.subs(x, end + 0.5 * outward) == 0


@pytest.mark.parametrize("name", ["exp", "tanh", "logistic", "cubic"])
def test_pushforward_density_has_mass_one(name):
    p = sp.lambdify(x, pushforward_density(NORMAL, MAPS[name], u, x))
    low, high = {"exp": (1e-6, 60), "cubic": (-150, 150)}.get(name, (-1 + 1e-12, 1 - 1e-12))
    low = 1e-12 if name == "logistic" else low
    # Points crowd where T crowds them: images of a fine grid of u.
    T = sp.lambdify(u, MAPS[name])
    points = T(np.linspace(-7, 7, 20_001))
    points = points[(points > low) & (points < high)]
    assert np.trapezoid([p(v) for v in points], points) == pytest.approx(1, abs=1e-4)


def test_pushforward_density_with_parameters():
    a, b = sp.symbols("a b", real=True, nonzero=True)
    p = pushforward_density(NORMAL, a * u + b, u, x)
    for slope in (2.0, -0.5):
        got = float(p.subs({a: slope, b: 0.3, x: 1.1}))
        assert got == pytest.approx(stats.norm.pdf(1.1, 0.3, abs(slope)))


@pytest.mark.parametrize(
    ("T", "message"),
    [
        (u**2, "not injective"),
        (sp.sin(u), "not injective"),
        (u**3, "slope 0 at u = 0"),
        (sp.Integer(2), "depend on u"),
    ],
)
def test_pushforward_density_refuses(T, message):
    with pytest.raises(ValueError, match=message):
        pushforward_density(NORMAL, T, u, x)


def test_jacobian_matrix():
    a, b, c = sp.symbols("a b c", real=True)
    assert jacobian_matrix([a * b, sp.sin(c)], [a, b, c]) == sp.Matrix([[b, a, 0], [0, 0, sp.cos(c)]])


@pytest.mark.parametrize("D", [2, 3, 4, 5])
def test_coupling_jacobian_is_that_of_the_layer(D):
    d, symbols = D // 2, sp.symbols(f"u:{D}", real=True)
    s = lambda kept: [sp.sin(kept[0]) * (i + 1) / 5 for i in range(D - d)]  # noqa: E731
    t = lambda kept: [sum(k**2 for k in kept) - i for i in range(D - d)]  # noqa: E731

    class Conditioner(torch.nn.Module):
        def forward(self, kept: torch.Tensor) -> torch.Tensor:
            i = torch.arange(D - d)
            scale = torch.sin(kept[..., :1]) * (i + 1) / 5
            return torch.cat([scale, (kept**2).sum(-1, keepdim=True) - i], -1)

    J = coupling_jacobian(s, t, symbols)
    assert J.shape == (D, D)
    point = np.linspace(-0.8, 1.1, D)
    got = np.array(J.subs(dict(zip(symbols, point, strict=True)))).astype(float)
    layer = SplitCoupling(Conditioner(), D)
    expected = batch_jacobian(lambda v: layer.forward(v)[0], torch.tensor(point)[None])[0]
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-12, atol=1e-12)


def test_coupling_jacobian_refuses():
    a, b = sp.symbols("a b", real=True)
    with pytest.raises(ValueError, match="at least 2 symbols, got 1"):
        coupling_jacobian(lambda k: k, lambda k: k, [a])
    with pytest.raises(ValueError, match="t: expected 1 expressions, got 2"):
        coupling_jacobian(lambda k: k, lambda k: [*k, *k], [a, b])
