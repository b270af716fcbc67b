"""Rational-quadratic splines: what their rows in the layer table do not say."""

import math

import pytest
import sympy as sp
import torch
from torch import Tensor

from flowlib import RationalQuadraticSpline, SplineLayer, fit, spline_flow
from flowlib.data import TARGETS


def random_h(spline: RationalQuadraticSpline, *batch: int, scale: float = 1.0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(*batch, spline.size, 1, generator=generator, dtype=dtype)


def test_the_formula_is_the_published_one():
    """Durkan et al. 2019, equations 4 to 8, at one point of one bin, by hand."""
    spline = RationalQuadraticSpline(bins=1, bound=1.0)
    assert spline.size == 2
    spline = RationalQuadraticSpline(bins=2, bound=2.0)
    h = random_h(spline, 1)
    w, t, d = h[0, :2, 0], h[0, 2:4, 0], h[0, 4, 0]
    widths = 4 * (1e-3 + (1 - 2e-3) * w.softmax(0))
    heights = 4 * (1e-3 + (1 - 2e-3) * t.softmax(0))
    slope = 1e-3 + torch.nn.functional.softplus(d + math.log(math.expm1(0.999)))
    u = torch.tensor([[-2 + 0.3 * widths[0]]], dtype=torch.float64)
    s, xi, start, end = heights[0] / widths[0], 0.3, 1.0, slope
    expected = -2 + heights[0] * (s * xi**2 + start * xi * (1 - xi)) / (
        s + (end + start - 2 * s) * xi * (1 - xi)
    )
    numerator = s**2 * (end * xi**2 + 2 * s * xi * (1 - xi) + start * (1 - xi) ** 2)
    derivative = numerator / (s + (end + start - 2 * s) * xi * (1 - xi)) ** 2
    x, log_slope = spline.forward(u, h)
    torch.testing.assert_close(x.squeeze(), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_slope.squeeze(), derivative.log(), rtol=1e-12, atol=1e-12)


def test_discriminant_and_root_by_sympy():
    s, a, b, eta = sp.symbols("s a b eta", positive=True)
    delta = a + b - 2 * s
    quadratic, linear, constant = s - a + eta * delta, a - eta * delta, -s * eta
    m = a * (1 - eta) - b * eta
    Q = m**2 + 4 * s**2 * eta * (1 - eta)
    assert sp.expand(linear**2 - 4 * quadratic * constant - Q) == 0
    assert sp.expand(linear - (2 * s * eta + m)) == 0
    # The two forms of the root: 2sη(r + 2s(1 − η)) = r(r' + 2sη) with r = √Q − m, r' = √Q + m, r r' = 4s²η(1 − η).
    assert sp.expand((sp.sqrt(Q) - m) * (sp.sqrt(Q) + m) - 4 * s**2 * eta * (1 - eta)) == 0


def test_identity_at_zero_and_outside():
    spline = RationalQuadraticSpline()
    u = torch.linspace(-5, 5, 101).double().unsqueeze(-1)
    x, log_slope = spline.forward(u, torch.zeros(101, spline.size, 1).double())
    torch.testing.assert_close(x, u, rtol=0, atol=1e-14)
    torch.testing.assert_close(log_slope, torch.zeros_like(u), rtol=0, atol=1e-14)
    outside = u[u.abs() > 3].unsqueeze(-1)
    for method in (spline.forward, spline.inverse):
        x, log_slope = method(outside, random_h(spline, len(outside)))
        assert torch.equal(x, outside)
        assert torch.equal(log_slope, torch.zeros_like(outside))


def test_increasing_and_smooth_across_knots():
    spline = RationalQuadraticSpline(bins=6)
    h = random_h(spline, 1)
    u = torch.linspace(-4, 4, 200_001).double().unsqueeze(-1)
    x, log_slope = spline.forward(u, h.expand(len(u), -1, -1))
    steps = x.diff(dim=0).squeeze(-1)
    assert (steps > 0).all()
    slope = steps / u.diff(dim=0).squeeze(-1)
    middle = (log_slope[1:] + log_slope[:-1]).squeeze(-1).mul(0.5).exp()
    torch.testing.assert_close(slope, middle, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_values_and_gradients_are_finite_at_knots_and_ends_and_outside(dtype, scale):
    spline = RationalQuadraticSpline(bins=8)
    h = random_h(spline, 1, scale=scale, dtype=dtype)
    knots = spline._knots(h[..., :8, :], 1e-3).flatten()
    others = spline._knots(h[..., 8:16, :], 1e-3).flatten()
    points = torch.cat(
        [knots, others, torch.tensor([-1e30, -3.0, 3.0, 1e30]).to(dtype), torch.rand(200) * 6 - 3]
    )
    for method in (spline.forward, spline.inverse):
        v = points.to(dtype).unsqueeze(-1).requires_grad_()
        parameters = h.expand(len(v), -1, -1).clone().requires_grad_()
        y, log_slope = method(v, parameters)
        assert y.isfinite().all()
        assert log_slope.isfinite().all()
        for gradient in torch.autograd.grad(y.sum() + log_slope.sum(), (v, parameters)):
            assert gradient.isfinite().all()


def test_float32_inverse_where_the_usual_discriminant_is_negative():
    """At the flat end of steep bins b² − 4ac is a difference of nearly equal numbers, and rounding decides its sign."""
    spline = RationalQuadraticSpline(bins=3, bound=1.0)
    negative = 0
    for k in range(100):
        share = 0.1 + 0.002 * k
        shares = torch.tensor([(1 - share) / 2, share, (1 - share) / 2, share / 2, 1 - share, share / 2])
        # The middle bin starts steeply and ends flat: slopes near 10 + k/4 and min_derivative.
        h = torch.cat([shares.log(), torch.tensor([10 + k / 4, -20.0])]).reshape(1, 8, 1)
        left, bottom = (spline._knots(h[:, 3 * i : 3 * i + 3], 1e-3)[0, :, 0] for i in (0, 1))
        x = [bottom[2]]
        for _ in range(8):  # the next eight float32 numbers below the knot
            x.append(torch.nextafter(x[-1], torch.tensor(-1.0)))
        x = torch.stack(x[1:])
        height, start, end = bottom[2] - bottom[1], 10 + k / 4, 1e-3
        s, eta = height / (left[2] - left[1]), (x - bottom[1]) / height
        delta = start + end - 2 * s
        a, b, c = s - start + eta * delta, start - eta * delta, -s * eta
        negative += int((b**2 - 4 * a * c < 0).sum())
        u, log_slope = spline.inverse(x.unsqueeze(-1), h.expand(8, -1, -1))
        again, back = spline.forward(u, h.expand(8, -1, -1))
        torch.testing.assert_close(again.squeeze(-1), x, rtol=1e-6, atol=1e-6)
        # The slope changes by orders of magnitude within the last few float32 numbers.
        torch.testing.assert_close(back, -log_slope, rtol=0.1, atol=0.1)
    assert negative > 10


def test_nan_and_infinity_are_not_hidden():
    spline = RationalQuadraticSpline()
    u = torch.tensor([[float("nan")], [float("inf")], [-float("inf")]])
    x, _ = spline.forward(u, random_h(spline, 3, dtype=torch.float32))
    assert x[0].isnan()
    assert torch.equal(x[1:], u[1:])


def test_marginals_make_one_coupling_enough_for_two_variables():
    """Without them a coupling of two variables leaves one of them as the base has it."""
    target = TARGETS["rings"]
    data = target.sample(1000, seed=0)
    kept, free = (spline_flow(2, 1, hidden=(16,), bins=8, marginals=m, data=data) for m in (False, True))
    for flow in (kept, free):
        fit(flow, data, steps=60, batch_size=256, lr=1e-2, progress=False)
    u = torch.randn(50, 2)
    first = [flow.transformations[:-1] for flow in (kept, free)]
    moved = [u, u]
    for k, layers in enumerate(first):
        for layer in layers:
            moved[k] = layer.forward(moved[k])[0]
    assert torch.equal(moved[0][:, 0], u[:, 0])
    assert not torch.allclose(moved[1][:, 0], u[:, 0], atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RationalQuadraticSpline(0), "bins must be a positive integer, got 0"),
        (lambda: RationalQuadraticSpline(4, 0.0), "bound must be positive and finite, got 0.0"),
        (lambda: RationalQuadraticSpline(4, float("inf")), "bound must be positive and finite"),
        (lambda: RationalQuadraticSpline(4, min_width=0.25), "min_width must be between 0 and 1/bins = 0.25"),
        (lambda: RationalQuadraticSpline(4, min_height=0.0), "min_height must be between 0 and 1/bins"),
        (lambda: RationalQuadraticSpline(4, min_derivative=1.0), "min_derivative must be between 0 and 1"),
        (lambda: SplineLayer(0), "D must be a positive integer, got 0"),
        (lambda: spline_flow(1, 2), "at least 2, got 1"),
        (lambda: spline_flow(2, 0), "num_layers must be a positive integer, got 0"),
        (
            lambda: RationalQuadraticSpline(4).forward(torch.zeros(2, 1), torch.zeros(2, 10, 1)),
            r"h: expected 11 = 3·4 − 1 parameters, got shape \(2, 10, 1\)",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
