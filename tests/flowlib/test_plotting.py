"""Each plotting function draws what it is given, on the Axes it is given."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from flowlib import Affine, History, plotting
from flowlib.data import TARGETS

EXTENT = (-1.0, 3.0, -2.0, 2.0)


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_density_is_shown_the_right_way_up(ax):
    # A peak at x₀ = 2, x₁ = −1: right and low in the picture.
    peak = torch.distributions.Independent(torch.distributions.Normal(torch.tensor([2.0, -1.0]), 0.1), 1)
    assert plotting.plot_density(ax, peak.log_prob, EXTENT, n=80) is ax
    image = ax.images[0].get_array()
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert column / 79 == pytest.approx(0.75, abs=0.02)
    assert row / 79 == pytest.approx(0.25, abs=0.02)
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("$x_0$", "$x_1$", "density")


def test_samples(ax):
    points = torch.randn(30, 2, requires_grad=True)
    assert plotting.plot_samples(ax, points, extent=EXTENT, title="mine") is ax
    np.testing.assert_allclose(ax.collections[0].get_offsets(), points.detach().numpy())
    assert ax.get_xlim() == EXTENT[:2]
    assert ax.get_title() == "mine"


def test_warped_grid_is_the_image_of_the_grid(ax):
    layer = Affine(torch.tensor([10.0, 0.0]), torch.tensor([2.0, 3.0]))
    assert plotting.plot_warped_grid(ax, layer, extent=(-1.0, 1.0, -2.0, 2.0), lines=5) is ax
    assert len(ax.lines) == 10
    drawn = np.concatenate([line.get_xydata() for line in ax.lines])
    np.testing.assert_allclose([drawn.min(0), drawn.max(0)], [[8.0, -6.0], [12.0, 6.0]], atol=1e-5)
    # Lines along one axis each: half vertical, half horizontal.
    assert sum(np.ptp(line.get_xdata()) < 1e-6 for line in ax.lines) == 5


def test_latent_with_and_without_labels(ax):
    z, labels = torch.randn(40, 3), torch.arange(40) % 10
    assert plotting.plot_latent(ax, z, labels) is ax
    assert len(ax.collections) == 10
    assert sum(len(c.get_offsets()) for c in ax.collections) == 40
    figure, other = plt.subplots()
    assert len(plotting.plot_latent(other, z).collections[0].get_offsets()) == 40
    plt.close(figure)


def test_image_grid(ax):
    images = torch.arange(7 * 4.0).reshape(7, 4)
    assert plotting.plot_image_grid(images, columns=3, shape=(2, 2), ax=ax) is ax
    canvas = ax.images[0].get_array()
    assert canvas.shape == (8, 8)  # three rows and columns of 2 pixels, gaps of 1
    np.testing.assert_array_equal(canvas[:2, 3:5], images[1].reshape(2, 2))
    np.testing.assert_array_equal(canvas[6:8, :2], images[6].reshape(2, 2))
    own = plotting.plot_image_grid(torch.rand(4, 64), columns=2)
    assert own is not ax
    plt.close(own.figure)


def test_history(ax):
    history = History(train_loss=[3.0, 2.0, 1.0], held_out_steps=[3], held_out_loss=[1.5])
    assert plotting.plot_history(ax, history, best_possible=0.5) is ax
    assert [line.get_label() for line in ax.lines] == ["batch", "held out", "exact density"]
    assert "nats" in ax.get_ylabel()
    assert ax.get_ylim()[0] < 0.5


def test_style_sets_the_palette():
    with mpl.rc_context():
        plotting.style()
        colors = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        assert colors[:2] == [plotting.PALETTE["blue"], plotting.PALETTE["vermilion"]]
        assert mpl.rcParams["font.size"] >= 10


def test_every_target_can_be_drawn(ax):
    for target in TARGETS.values():
        plotting.plot_density(ax, target.log_prob, target.extent, n=20)
        assert np.isfinite(ax.images[-1].get_array()).all()
