"""Masks, squeezing, couplings and scales of images: what the table of layers does not ask."""

import math
import re

import pytest
import torch
from torch import nn

from flowlib import (
    Affine,
    Composition,
    Elementwise,
    ImageCoupling,
    MultiScale,
    Permutation,
    Squeeze,
    batch_jacobian,
    channel_mask,
    checkerboard_mask,
    conv_net,
    dense_net,
    fit,
    image_real_nvp,
)


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 4, 5), (2, 1, 3)])
def test_checkerboards_keep_every_other_pixel_and_flip_to_their_complement(shape):
    mask = checkerboard_mask(shape)
    assert mask.shape == shape
    assert mask.is_floating_point()
    for c in range(shape[0]):
        for h in range(shape[1]):
            for w in range(shape[2]):
                assert mask[c, h, w] == (h + w + 1) % 2
    assert torch.equal(checkerboard_mask(shape, flip=True), 1 - mask)


def test_channel_masks_keep_half_of_the_channels():
    mask = channel_mask((5, 2, 3))
    assert mask.flatten(1).mean(1).tolist() == [1, 1, 0, 0, 0]
    assert torch.equal(channel_mask((5, 2, 3), flip=True), 1 - mask)


@pytest.mark.parametrize("C", [1, 3])
def test_squeeze_follows_its_formula(C):
    x = torch.arange(C * 4 * 6.0).reshape(C, 4, 6)
    u, _ = Squeeze((C, 4, 6)).inverse(x)
    for c in range(C):
        for i in range(2):
            for j in range(2):
                assert torch.equal(u[4 * c + 2 * i + j], x[c, i::2, j::2])


def test_squeeze_is_pytorch_s_pixel_unshuffle():
    x = torch.randn(5, 3, 4, 6)
    assert torch.equal(Squeeze((3, 4, 6)).inverse(x)[0], nn.functional.pixel_unshuffle(x, 2))


def test_couplings_keep_what_the_mask_says_and_move_the_rest_by_it_alone():
    torch.manual_seed(0)
    mask = checkerboard_mask((2, 3, 3))
    layer = ImageCoupling(conv_net([2, 8, 4]), mask, 1.0).double()
    flat = lambda v: layer.forward(v.reshape(-1, 2, 3, 3))[0].flatten(1)  # noqa: E731
    J = batch_jacobian(flat, torch.randn(2, 18, dtype=torch.float64))
    kept = mask.flatten().bool()
    assert torch.equal(J[:, kept][:, :, kept], torch.eye(int(kept.sum())).double().expand(2, -1, -1))
    block = J[:, ~kept][:, :, ~kept]
    assert torch.equal(block, torch.diag_embed(torch.diagonal(block, dim1=-2, dim2=-1)))
    assert J[:, ~kept][:, :, kept].abs().max() > 1e-3


def test_what_the_net_says_of_kept_pixels_does_no_harm():
    class Huge(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.new_full((len(images), 2, 2, 2), 2000.0) * mask  # exp(2000) overflows

    mask = checkerboard_mask((1, 2, 2))
    layer = ImageCoupling(Huge(), mask)
    x, log_det = layer.forward(torch.ones(3, 1, 2, 2))
    assert torch.equal(x, torch.ones(3, 1, 2, 2))
    assert torch.equal(log_det, torch.zeros(3))


class _Sinh(Elementwise):
    """x = sinh(arsinh(u) + h): another increasing map, one parameter a variable, the identity at h = 0."""

    size = 1

    def forward(self, u, h):
        x = (u.asinh() + h[..., 0, :]).sinh()
        return x, 0.5 * ((1 + x**2).log() - (1 + u**2).log())

    def inverse(self, x, h):
        u = (x.asinh() - h[..., 0, :]).sinh()
        return u, 0.5 * ((1 + u**2).log() - (1 + x**2).log())


def test_another_map_in_a_coupling():
    torch.manual_seed(0)
    layer = ImageCoupling(conv_net([1, 8, 1]), checkerboard_mask((1, 2, 2)), elementwise=_Sinh()).double()
    flat = lambda v: layer.forward(v.reshape(-1, 1, 2, 2))[0].flatten(1)  # noqa: E731
    u = torch.randn(4, 4, dtype=torch.float64)
    x, log_det = layer.forward(u.reshape(4, 1, 2, 2))
    torch.testing.assert_close(layer.inverse(x)[0].flatten(1), u)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(batch_jacobian(flat, u))[1])


def test_multi_scale_factors_out_half_of_the_channels():
    # A fine level that doubles, a coarse one that adds 1: what is factored out is doubled alone.
    fine, coarse = (Affine(torch.full((2, 1, 2), shift), torch.full((2, 1, 2), 1.0)) for shift in (10.0, 0.0))
    coarse = Affine(torch.full((1, 1, 2), 100.0), torch.full((1, 1, 2), 1.0))
    layer = MultiScale([coarse, fine])
    x, _ = layer.forward(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.tolist() == [[[111.0, 112.0]], [[13.0, 14.0]]]
    assert layer.inverse(x)[0].tolist() == [1, 2, 3, 4]


def test_decoding_an_encoded_image_gives_the_image():
    torch.manual_seed(0)
    flow = image_real_nvp(
        (1, 8, 8), levels=3, hidden=(8,), zero_last=False, data=torch.rand(20, 1, 8, 8)
    ).double()
    assert flow.base_shape == (64,)
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    u, log_det = flow.inverse(x)
    again, minus_log_det = flow.forward(u)
    torch.testing.assert_close(again, x, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(log_det, -minus_log_det, rtol=1e-11, atol=1e-11)


def test_a_flow_of_images_starts_at_the_data_s_moments_and_learns():
    torch.manual_seed(0)
    data = 3 + torch.randn(200, 1, 4, 4).cumsum(-1)
    flow = image_real_nvp((1, 4, 4), hidden=(8,), data=data)
    sample = flow.sample((4000,))
    torch.testing.assert_close(sample.mean(0), data.mean(0), rtol=0, atol=0.15)
    before = -flow.log_prob(data).mean().item()
    fit(flow, data, steps=60, batch_size=64, lr=5e-3, progress=False)
    assert -flow.log_prob(data).mean().item() < before - 1


@pytest.mark.parametrize("channels", [[3, 6], [1, 4, 2], [2, 4, 4, 4]])
def test_conv_nets_keep_the_size_of_an_image(channels):
    net = conv_net(channels, zero_last=True)
    images = torch.randn(2, channels[0], 3, 5)
    assert torch.equal(net(images), torch.zeros(2, channels[-1], 3, 5))
    kernels = [m.kernel_size[0] for m in net if isinstance(m, nn.Conv2d)]
    assert kernels == [3, *[1] * (len(kernels) - 2), 3][-len(kernels) :]


def test_dense_nets_see_all_of_an_image():
    net = dense_net((2, 3, 3), 4, hidden=(16,))
    images = torch.randn(5, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(images)[0, 0, 0, 0], images)
    assert net(images).shape == (5, 4, 3, 3)
    assert bool((gradient[0] != 0).all())
    assert not gradient[1:].any()
    assert not dense_net((2, 3, 3), 4, zero_last=True)(images).any()


def test_flows_with_dense_nets():
    torch.manual_seed(0)
    flow = image_real_nvp((1, 4, 4), hidden=(8,), dense=True, zero_last=False).double()
    u = torch.randn(3, 16, dtype=torch.float64)
    torch.testing.assert_close(flow.inverse(flow.forward(u)[0])[0], u)
    assert not any(isinstance(module, nn.Conv2d) for module in flow.modules())


def test_dropout_is_off_in_evaluation_mode():
    net = conv_net([1, 8, 1], dropout=0.5)
    image = torch.randn(1, 1, 4, 4)
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))


ONE = torch.tensor([[[1.0, 0.0]]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: checkerboard_mask((2, 1, 1)), "needs a kept and a moved pixel"),
        (lambda: checkerboard_mask((2, 2)), r"expected \(C, H, W\), got \(2, 2\)"),
        (lambda: channel_mask((1, 2, 2)), "needs a kept and a moved channel"),
        (lambda: channel_mask((0, 2, 2)), "C must be a positive integer, got 0"),
        (lambda: Squeeze((1, 3, 4)), "even height and width can be halved, got 3×4"),
        (lambda: Squeeze((1, 4)), r"expected \(C, H, W\)"),
        (lambda: conv_net([3]), "at least an input and an output"),
        (lambda: conv_net([1, 2], kernel=2), "kernel must be odd, got 2"),
        (lambda: dense_net((2, 2), 2), r"expected \(C, H, W\)"),
        (lambda: dense_net((1, 2, 2), 0), "outputs must be a positive integer"),
        (lambda: ImageCoupling(nn.Identity(), torch.ones(1, 2, 2)), r"some of each, got the values \[1.0\]"),
        (lambda: ImageCoupling(nn.Identity(), 0.5 * ONE), "zeros and ones"),
        (lambda: ImageCoupling(nn.Identity(), torch.ones(4)), r"expected \(C, H, W\), got \(4,\)"),
        (lambda: ImageCoupling(nn.Identity(), ONE, 0.0), "positive or None"),
        (lambda: ImageCoupling(nn.Identity(), ONE, 1.0, elementwise=_Sinh()), "not both"),
        (
            lambda: ImageCoupling(nn.Identity(), ONE).forward(torch.ones(3, 1, 1, 2)),
            re.escape("conditioner: expected an output of shape (3, 2, 1, 2), got (3, 1, 1, 2)"),
        ),
        (lambda: MultiScale([]), "at least one level"),
        (lambda: MultiScale([Permutation([0, 1])]), r"level 0: expected a layer between images"),
        (
            lambda: MultiScale([Squeeze((1, 2, 2)), Squeeze((1, 4, 4))]),
            re.escape("level 1: expected base shape (2, 2, 2), twice the channels of level 0, got (4, 2, 2)"),
        ),
        (lambda: image_real_nvp((1, 6, 6), levels=3), "got 3×3"),
        (lambda: image_real_nvp((1, 6, 6), levels=0), "levels must be a positive integer"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_single_level_is_a_reshape():
    layer = MultiScale([Composition([], shape=(2, 2, 3))])
    u = torch.randn(4, 12)
    assert torch.equal(layer.forward(u)[0], u.reshape(4, 2, 2, 3))
    assert layer.base_shape == (math.prod(layer.event_shape),)
