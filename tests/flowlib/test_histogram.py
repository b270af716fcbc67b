"""`HistogramMarginals`: what the table of layers does not ask."""

import math

import pytest
import torch

from flowlib import Flow, HistogramMarginals, StandardNormal
from flowlib.data import LEVELS, dequantize, load_digits_split


def test_the_density_is_the_histogram():
    """Constant in each bin, so that one point a bin integrates it exactly."""
    p = torch.rand(7, 1, dtype=torch.float64) + 0.1
    flow = Flow(StandardNormal(1).double(), [HistogramMarginals(p, -1.0, 2.5)])
    middles = -1 + 0.5 * (torch.arange(7, dtype=torch.float64)[:, None] + 0.5)
    torch.testing.assert_close(flow.log_prob(middles).exp() * 0.5, (p / p.sum()).squeeze(-1))


def test_samples_follow_the_histogram():
    torch.manual_seed(0)
    p = torch.tensor([[0.05, 0.5], [0.75, 0.3], [0.2, 0.2]])
    x = Flow(StandardNormal(2), [HistogramMarginals(p)]).sample((20_000,))
    seen = torch.stack([((x * 3).floor() == k).float().mean(0) for k in range(3)])
    assert (seen - p).abs().max() < 5 * 0.5 / math.sqrt(20_000)


def test_behind_it_an_empty_flow_is_the_table():
    """On dequantized digits the layer alone has the likelihood of independent histograms, in the same bits."""
    train, _, test = (part.images for part in load_digits_split(seed=0))
    layer = HistogramMarginals.from_data(dequantize(train, seed=1), bins=LEVELS, pseudo_count=0.3)
    log_prob = Flow(StandardNormal(64), [layer]).log_prob(dequantize(test, seed=2))
    counts = torch.stack([(train == level).sum(0) for level in range(LEVELS)]) + 0.3
    table = (counts / counts.sum(0)).log()[test.long(), torch.arange(64)].sum(-1)
    torch.testing.assert_close(log_prob, table + 64 * math.log(LEVELS), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_and_far_tails_are_finite(dtype):
    layer = HistogramMarginals(torch.tensor([[1e-4], [1.0], [1e-4]], dtype=dtype))
    u, log_det = layer.inverse(torch.tensor([[0.0], [1.0]], dtype=dtype))
    assert u.isfinite().all()
    assert log_det.isfinite().all()
    assert u[0] < -10 < 10 < u[1]
    x, log_det = layer.forward(torch.tensor([[-30.0], [-8.0], [8.0], [30.0]], dtype=dtype))
    assert ((x >= 0) & (x <= 1)).all()
    assert log_det.isfinite().all()


def test_small_tails_keep_their_digits_in_float32():
    layer = HistogramMarginals(torch.rand(10, 1) + 0.1)
    u = torch.tensor([[-4.5], [-3.0], [3.0], [4.0]])
    torch.testing.assert_close(layer.inverse(layer.forward(u)[0])[0], u, rtol=2e-3, atol=0)


def test_outside_the_density_is_zero():
    layer = HistogramMarginals(torch.ones(4, 2))
    u, log_det = layer.inverse(torch.tensor([[1.5, 0.5], [0.5, -0.1], [0.5, 0.5]]))
    assert log_det.tolist()[:2] == [-math.inf, -math.inf]
    assert log_det[2].isfinite()
    assert u.isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HistogramMarginals(torch.ones(3)), r"expected shape \(K, D\), got \(3,\)"),
        (lambda: HistogramMarginals(torch.zeros(3, 1)), "give empty bins a pseudo-count"),
        (lambda: HistogramMarginals(torch.ones(3, 1), 1.0, 1.0), "expected low < high, got 1.0 and 1.0"),
        (lambda: HistogramMarginals.from_data(torch.ones(3), 2), r"expected shape \(N, D\)"),
        (lambda: HistogramMarginals.from_data(torch.full((3, 1), 2.0), 2), r"values in \[0, 1\], got 2 to 2"),
        (lambda: HistogramMarginals.from_data(torch.ones(3, 1), 2, pseudo_count=0), "pseudo_count must be"),
        (lambda: HistogramMarginals.from_data(torch.ones(3, 1), 0), "bins must be a positive integer"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
