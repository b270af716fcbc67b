"""Actnorm and invertible 1×1 convolutions: what the table of layers does not ask."""

import copy

import pytest
import torch

from flowlib import ActNorm, Flow, InvertibleConv1x1, batch_jacobian, fit, glow, image_real_nvp


def glow_of(shape: tuple[int, int, int]) -> Flow:
    return glow(shape, K=2, L=2, hidden=(4,), zero_last=False, log_scale_bound=1.0)


def real_nvp_of(shape: tuple[int, int, int]) -> Flow:
    return image_real_nvp(shape, hidden=(4,), zero_last=False, log_scale_bound=1.0)


def _moments(u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    channels = u.movedim(-3, 0).flatten(1)
    return channels.mean(1), channels.std(1, correction=0)


def test_actnorm_normalizes_the_first_batch_and_only_that():
    torch.manual_seed(0)
    layer = ActNorm((3, 2, 4)).double()
    assert not layer.initialized
    first = torch.tensor([1.0, 10.0, 0.1]).double()[:, None, None] * torch.randn(20, 3, 2, 4).double() + 5
    mean, std = _moments(layer.inverse(first)[0])
    torch.testing.assert_close(mean, torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(std, torch.ones(3).double())
    assert layer.initialized
    other, alone = 2 * first, 2 * first[:1]
    torch.testing.assert_close(layer.inverse(other)[0][:1], layer.inverse(alone)[0])


def test_any_batch_axes_initialize():
    torch.manual_seed(0)
    images = torch.randn(2, 5, 3, 4, 4)
    grid, row = ActNorm((3, 4, 4)), ActNorm((3, 4, 4))
    torch.testing.assert_close(grid.inverse(images)[0].flatten(0, 1), row.inverse(images.flatten(0, 1))[0])
    vectors = ActNorm(3)
    u, _ = vectors.inverse(2 + torch.randn(50, 3))
    torch.testing.assert_close(u.mean(0), torch.zeros(3), rtol=0, atol=1e-6)


def test_state_dict_keeps_the_initialization():
    torch.manual_seed(0)
    layer, other = ActNorm((2, 2, 2)), ActNorm((2, 2, 2))
    layer.inverse(5 + torch.randn(10, 2, 2, 2))
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 2, 2, 2)
    assert torch.equal(other.inverse(x)[0], layer.inverse(x)[0])


def test_a_constant_channel_does_not_blow_up():
    x = torch.cat([torch.full((8, 1, 2, 2), 3.0), torch.randn(8, 1, 2, 2)], 1)
    u, log_det = ActNorm((2, 2, 2), min_std=0.1).inverse(x)
    assert torch.equal(u[:, 0], torch.zeros(8, 2, 2))
    assert log_det.isfinite().all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(1, 2, 1, 1), "at least two finite values a channel, got shape"),
        (torch.ones(0, 2, 1, 1), "at least two"),
        (torch.full((4, 2, 1, 1), torch.nan), "with NaN or infinity"),
    ],
)
def test_a_first_batch_that_says_nothing_is_an_error(x, message):
    layer = ActNorm((2, 1, 1))
    with pytest.raises(ValueError, match=message):
        layer.inverse(x)
    assert not layer.initialized


@pytest.mark.parametrize("C", [1, 2, 5, 12])
def test_the_weight_is_as_given_and_its_determinant_too(C):
    torch.manual_seed(C)
    weight = torch.randn(C, C, dtype=torch.float64)
    layer = InvertibleConv1x1((C, 2, 3), weight)
    torch.testing.assert_close(layer.weight, weight)
    u = torch.randn(4, C, 2, 3, dtype=torch.float64)
    x, log_det = layer.forward(u)
    torch.testing.assert_close(x, torch.einsum("ij,njhw->nihw", weight, u))
    torch.testing.assert_close(log_det, (6 * torch.linalg.slogdet(weight)[1]).expand(4))


def test_without_a_weight_it_starts_as_a_rotation():
    W = InvertibleConv1x1((6, 1, 1)).weight
    torch.testing.assert_close(W @ W.mT, torch.eye(6), rtol=0, atol=1e-5)


def test_a_permutation_is_a_special_case():
    order = torch.tensor([2, 0, 1])
    layer = InvertibleConv1x1((3, 2, 2), torch.eye(3)[order])
    u = torch.randn(5, 3, 2, 2)
    x, log_det = layer.forward(u)
    assert torch.equal(x, u[:, order])
    assert torch.equal(log_det, torch.zeros(5))


def test_no_training_makes_it_singular():
    torch.manual_seed(0)
    layer = InvertibleConv1x1((3, 2, 2), log_scale_bound=1.5).double()
    with torch.no_grad():
        layer.linear.log_scale.copy_(torch.tensor([-1e6, 1e6, -1e6]))  # wherever an optimizer may go
    start = layer.linear.start.sum()
    assert torch.linalg.slogdet(layer.weight)[1] >= start - 3 * 1.5
    u = torch.randn(4, 3, 2, 2).double()
    torch.testing.assert_close(layer.inverse(layer.forward(u)[0])[0], u)


def test_the_other_halves_of_the_triangles_do_not_matter():
    layer = InvertibleConv1x1((3, 1, 1))
    before = layer.weight
    with torch.no_grad():
        layer.linear.lower.add_(torch.ones(3, 3).triu())
        layer.linear.upper.add_(torch.ones(3, 3).tril())
    assert torch.equal(layer.weight, before)


def test_glow_is_initialized_by_data_and_learns():
    torch.manual_seed(0)
    data = torch.randn(300, 2, 4, 4).cumsum(-1).cumsum(-2)
    flow = glow((2, 4, 4), K=2, L=2, hidden=(8,), data=data)
    before = -flow.log_prob(data).mean().item()
    assert all(m.initialized for m in flow.modules() if isinstance(m, ActNorm))
    fit(flow, data, steps=80, batch_size=64, lr=5e-3, progress=False)
    assert -flow.log_prob(data).mean().item() < before - 1
    x = flow.sample((3, 2))
    assert x.shape == (3, 2, 2, 4, 4)
    assert x.isfinite().all()


@pytest.mark.parametrize("make", [glow_of, real_nvp_of], ids=["glow", "RealNVP"])
@pytest.mark.parametrize("C", [1, 2])
def test_whole_flows_are_invertible_and_know_their_determinant(make, C):
    torch.manual_seed(C)
    flow = make((C, 4, 4)).double()
    flow.inverse(1 + 2 * torch.rand(20, C, 4, 4, dtype=torch.float64))
    u = torch.randn(4, 16 * C, dtype=torch.float64)
    x, log_det = flow.forward(u)
    again, minus_log_det = flow.inverse(x)
    torch.testing.assert_close(again, u, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_det, -minus_log_det, rtol=1e-9, atol=1e-9)
    J = batch_jacobian(lambda u: flow.forward(u)[0].flatten(1), u)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(J)[1], rtol=1e-9, atol=1e-9)
    single = copy.deepcopy(flow).float()
    torch.testing.assert_close(single.forward(u.float())[0].double(), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActNorm(0), "D must be a positive integer, got 0"),
        (lambda: ActNorm((2, 2)), r"expected \(C, H, W\)"),
        (lambda: ActNorm(2, min_std=0.0), "min_std must be positive"),
        (lambda: InvertibleConv1x1((2, 1, 1), torch.ones(2, 2)), "an invertible matrix"),
        (lambda: InvertibleConv1x1((3, 1, 1), torch.randn(3, 1) @ torch.randn(1, 3)), "an invertible matrix"),
        (lambda: InvertibleConv1x1((2, 1, 1), torch.eye(3)), r"expected shape \(2, 2\), got \(3, 3\)"),
        (lambda: InvertibleConv1x1((2, 1, 1), torch.full((2, 2), torch.nan)), "finite entries"),
        (lambda: InvertibleConv1x1((2, 1, 1), log_scale_bound=0.0), "positive or None"),
        (lambda: InvertibleConv1x1((2, 1, 1), log_scale_bound=None), "must be positive, got None"),
        (lambda: glow((1, 6, 6), K=1, L=2), "got 3×3"),
        (lambda: glow((1, 4, 4), K=0, L=1), "K must be a positive integer"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
