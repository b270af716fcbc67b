"""Small plotting functions. Each draws on the Axes it is given and returns it.

Colors are those of Okabe and Ito (2008) and the wine red of Tol (2021), told apart with every common form of color
blindness. Lines use those that stand out from white; densities use viridis, which is readable in gray.
"""

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from flowlib.fit import History

__all__ = [
    "LINES",
    "PALETTE",
    "plot_density",
    "plot_history",
    "plot_image_grid",
    "plot_latent",
    "plot_samples",
    "plot_warped_grid",
    "style",
]

PALETTE = {
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
    "yellow": "#F0E442",
    "wine": "#882255",
}
# At least 3:1 against white, as WCAG 2.2 asks of what a graph is read by; the other three are for areas.
LINES = ("blue", "vermilion", "green", "purple", "black", "wine")

Extent = tuple[float, float, float, float]


def style() -> None:
    """Set matplotlib's defaults for the course: palette, sizes legible at notebook width, light frames."""
    plt.rcParams.update(
        {
            "axes.prop_cycle": plt.cycler(color=[PALETTE[name] for name in LINES]),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 12,
            "axes.labelsize": 11,
            "figure.constrained_layout.use": True,
            "figure.figsize": (6.4, 4.0),
            "font.size": 11,
            "image.cmap": "viridis",
            "legend.frameon": False,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
        }
    )


def _label(ax: Axes, title: str, xlabel: str, ylabel: str) -> Axes:
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return ax


def plot_density(
    ax: Axes,
    log_prob: Callable[[Tensor], Tensor],
    extent: Extent,
    *,
    n: int = 150,
    vmax: float | None = None,
    title: str = "density",
    xlabel: str = "$x_0$",
    ylabel: str = "$x_1$",
) -> Axes:
    """Show exp(log_prob) of a two-dimensional density on an n × n grid.

    extent = (x₀ min, max, x₁ min, max). log_prob maps `(N, 2)` to `(N,)` nats. `vmax` fixes the color scale,
    to compare panels.
    """
    x0, x1 = (torch.linspace(low, high, n) for low, high in (extent[:2], extent[2:]))
    points = torch.cartesian_prod(x0, x1)
    with torch.no_grad():
        density = log_prob(points).exp().reshape(n, n).T.numpy()
    ax.imshow(
        density, origin="lower", extent=extent, vmin=0, vmax=vmax, aspect="equal", interpolation="bilinear"
    )
    return _label(ax, title, xlabel, ylabel)


def plot_samples(
    ax: Axes,
    samples: Tensor,
    *,
    extent: Extent | None = None,
    color: str = PALETTE["blue"],
    label: str | None = None,
    title: str = "samples",
    xlabel: str = "$x_0$",
    ylabel: str = "$x_1$",
) -> Axes:
    """Scatter points `(n, 2)`, rasterized, so that large n stays small on disk."""
    points = torch.as_tensor(samples).detach().numpy()
    ax.scatter(
        points[:, 0], points[:, 1], s=3, alpha=0.5, color=color, label=label, linewidths=0, rasterized=True
    )
    ax.set_aspect("equal")
    if extent is not None:
        ax.set(xlim=extent[:2], ylim=extent[2:])
    return _label(ax, title, xlabel, ylabel)


def plot_warped_grid(
    ax: Axes,
    transform: nn.Module | Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    extent: Extent = (-3.0, 3.0, -3.0, 3.0),
    lines: int = 21,
    title: str = "image of a square grid",
    xlabel: str = "$x_0$",
    ylabel: str = "$x_1$",
) -> Axes:
    """Show where a transform carries a square grid of base points: how it bends, stretches and squeezes area.

    `transform` is called on `(N, 2)` and returns `(x, log_det)`.
    """
    fine = 200
    for axis, color in ((0, PALETTE["blue"]), (1, PALETTE["vermilion"])):
        along = torch.linspace(*extent[2 - 2 * axis : 4 - 2 * axis], fine)
        for level in torch.linspace(*extent[2 * axis : 2 * axis + 2], lines):
            line = torch.stack([level.expand(fine), along], -1)
            with torch.no_grad():
                x = transform(line if axis == 0 else line.flip(-1))[0].numpy()
            ax.plot(x[:, 0], x[:, 1], color=color, linewidth=0.7)
    ax.set_aspect("equal")
    return _label(ax, title, xlabel, ylabel)


def plot_latent(
    ax: Axes,
    z: Tensor,
    labels: Tensor | None = None,
    *,
    title: str = "latent space",
    xlabel: str = "$z_0$",
    ylabel: str = "$z_1$",
) -> Axes:
    """Scatter the first two variables of z `(n, M)`; with labels `(n,)` each point is drawn as its digit."""
    z = torch.as_tensor(z).detach().numpy()
    if labels is None:
        return plot_samples(ax, z[:, :2], title=title, xlabel=xlabel, ylabel=ylabel)
    colors = plt.get_cmap("tab10").colors
    for label in np.unique(np.asarray(labels)):
        points = z[np.asarray(labels) == label]
        # The digit is the marker: color alone does not tell ten classes apart.
        ax.scatter(
            points[:, 0],
            points[:, 1],
            s=28,
            marker=f"${label}$",
            color=colors[int(label) % 10],
            linewidths=0.3,
        )
    ax.set_aspect("equal")
    return _label(ax, title, xlabel, ylabel)


def plot_image_grid(
    images: Tensor,
    *,
    columns: int = 10,
    shape: tuple[int, int] = (8, 8),
    vmin: float = 0.0,
    vmax: float | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Show images `(n, H·W)` side by side as one picture, `columns` in a row; returns the Axes."""
    images = torch.as_tensor(images).detach().float()
    n, (height, width) = len(images), shape
    rows = -(-n // columns)
    if ax is None:
        figure: Figure = plt.figure(figsize=(0.6 * columns, 0.6 * rows + 0.3))
        ax = figure.add_subplot()
    # A white gap of one pixel between images; NaN is drawn as background.
    canvas = torch.full((rows * (height + 1) - 1, columns * (width + 1) - 1), torch.nan)
    for i, image in enumerate(images.reshape(n, height, width)):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        canvas[top : top + height, left : left + width] = image
    ax.imshow(canvas.numpy(), cmap="gray_r", vmin=vmin, vmax=vmax)
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def plot_history(
    ax: Axes,
    history: History,
    *,
    best_possible: float | None = None,
    title: str = "training",
    ylabel: str = "negative log-likelihood (nats)",
) -> Axes:
    """Show the losses of a training run; `best_possible` draws the entropy of the data, where it is known."""
    ax.plot(history.train_loss, color=PALETTE["purple"], linewidth=0.6, label="batch")
    if history.held_out_loss:
        ax.plot(history.held_out_steps, history.held_out_loss, color=PALETTE["blue"], label="held out")
    if best_possible is not None:
        ax.axhline(best_possible, color=PALETTE["vermilion"], linestyle="--", label="exact density")
    settled = history.train_loss[len(history.train_loss) // 20 :]
    if settled:  # a wild start would squeeze the rest into a line
        lowest = min(settled) if best_possible is None else min(*settled, best_possible)
        ax.set_ylim(lowest - 0.1, max(settled) + 0.1)
    ax.legend()
    return _label(ax, title, "step", ylabel)
