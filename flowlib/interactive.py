"""Interactive figures: small self-contained pages that a notebook, Colab or a web page shows in a frame.

They run without a kernel and without a network. Their sources are in `docs/figures/`, bundled into `flowlib/figures/`
by `python docs/figures/build.py`. All can be operated by keyboard; numbers are announced to screen readers.
"""

import base64
import html
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from flowlib.checks import check_size
from flowlib.vae import VAE, aggregate_posterior_log_prob, aggregate_posterior_sample

__all__ = [
    "InteractiveFigure",
    "change_of_variables",
    "composition",
    "film",
    "jacobian",
    "latent_space",
    "masked_coupling",
    "spline",
]

# Coordinates and log-densities travel as whole numbers of this unit.
UNIT = 0.01


@dataclass(frozen=True, repr=False)
class InteractiveFigure:
    """A page in a frame: `_repr_html_` is what a notebook shows, `repr` says in words what that is.

    Args:
        title: of the frame, for screen readers, and of the page.
        page: HTML of the whole page.
        height: of the frame in pixels, until the page has measured itself.
    """

    title: str
    page: str
    height: int

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{html.escape(self.title)}" srcdoc="{html.escape(self.page)}" width="100%" '
            f'height="{self.height}" style="border: 0; width: 100%; height: {self.height}px"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Interactive figure: {self.title}. It shows in a notebook or on a web page."


def _figure(name: str, height: int, data: Any = None, title: str | None = None) -> InteractiveFigure:
    page = (files("flowlib") / "figures" / f"{name}.html").read_text(encoding="utf-8")
    if title is not None:
        page = re.sub(r"(<(title|h1)>).*?(</)", lambda m: f"{m[1]}{html.escape(title)}{m[3]}", page)
    if data is not None:
        # Within a script element only "<" could end the data too early.
        text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
        page = page.replace('id="data">null<', f'id="data">{text}<', 1)
    found = re.search(r"<title>(.*)</title>", page)
    return InteractiveFigure(html.unescape(found[1]), page, height)


def change_of_variables() -> InteractiveFigure:
    """A map of the line, shaped by five points; the density of x = T(u), u ~ N(0, 1); its area.

    >>> change_of_variables()
    Interactive figure: Change of variables in one dimension. It shows in a notebook or on a web page.
    """
    return _figure("change_of_variables", 900)


def jacobian() -> InteractiveFigure:
    """A square, its image under notebook 2's map of the plane, and the ratio of areas beside |det J|.

    >>> jacobian().title
    'A square, its image, and the determinant'
    """
    return _figure("jacobian", 700)


def masked_coupling() -> InteractiveFigure:
    """A masked affine coupling of two variables: s and t by sliders, the mask, the inverse, the log-determinant.

    >>> masked_coupling().title
    'A masked coupling layer'
    """
    return _figure("masked_coupling", 800)


def spline() -> InteractiveFigure:
    """The knots of a rational-quadratic spline with four bins on [−3, 3], its slope and the density it makes.

    >>> spline().title
    'The knots of a rational-quadratic spline'
    """
    return _figure("spline", 850)


def _whole(values: Tensor) -> list[int]:
    """Values in whole units, flat."""
    if not bool(values.isfinite().all()):
        raise ValueError("expected finite values to show, got NaN or infinity")
    return (values.detach().double() / UNIT).round().long().flatten().tolist()


def _through(layers: Sequence[nn.Module], u: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Points `(n, 2)` and summed log-determinants `(n,)` at each stage, the base first."""
    stages, totals = [u], [u.new_zeros(len(u))]
    for layer in layers:
        z, log_det = layer.forward(stages[-1])
        stages.append(z)
        totals.append(totals[-1] + log_det)
    return stages, totals


def _name(number: int, layer: nn.Module, before: Tensor, after: Tensor) -> str:
    moved = (before != after).any(0).tolist()
    what = {
        (True, True): "moves both variables",
        (True, False): "keeps the second variable",
        (False, True): "keeps the first variable",
        (False, False): "moves nothing",
    }
    return f"{number}: {type(layer).__name__}, {what[tuple(moved)]}"


@torch.no_grad()
def composition(flow: nn.Module, data: Tensor | None = None, *, n: int = 400) -> InteractiveFigure:
    """A flow of two variables, layer by layer from base to data and back.

    Shows n points of the base, their log-density at each stage, log p_k(z_k) = log p_u(u) − Σ log|det|, and a grid.

    Args:
        flow: has `base` and `transformations` (as `Flow` has), event shape `(2,)`.
        data: points `(N, 2)`; the first n are carried back through the layers and can be shown in the base's place.
        n: number of points.

    Raises `ValueError` for a flow or data of other than two variables, and where a point becomes infinite or NaN.

    >>> from flowlib import real_nvp
    >>> composition(real_nvp(2, 3), n=50).title
    'A flow, layer by layer'
    """
    check_size("n", n)
    base, layers = flow.base(), list(flow.transformations)
    if tuple(base.event_shape) != (2,):
        raise ValueError(f"flow: expected event shape (2,), got {tuple(base.event_shape)}")
    if data is not None and (data.ndim != 2 or data.shape[1] != 2):
        raise ValueError(f"data: expected shape (N, 2), got {tuple(data.shape)}")
    # Its own random numbers: a figure changes nothing that comes after it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        starts = {"base": base.sample((n,))}
    if data is not None:
        z = data[:n].to(starts["base"].dtype)
        for layer in reversed(layers):
            z = layer.inverse(z)[0]
        starts["data"] = z

    made: dict[str, Any] = {"unit": UNIT}
    for name, u in starts.items():
        stages, totals = _through(layers, u)
        log_u = base.log_prob(u)
        made[name] = {
            "points": [_whole(z) for z in stages],
            "log_density": [_whole(log_u - total) for total in totals],
        }
        if name == "base":
            names = [
                _name(k, *three) for k, three in enumerate(zip(layers, stages, stages[1:], strict=False), 1)
            ]
            # The middle of the stages' widths: at one wild stage a few points are cut off, the others stay readable.
            widths = torch.stack([z.abs().quantile(0.995) for z in stages])
    made["stages"] = ["base, no layer yet", *names]
    half = round(1.2 * widths.median().item(), 2)
    made["window"] = [-half, half]
    grid = _square_grid(half=2.5, lines=11, fine=31).to(starts["base"].dtype)
    made["grid"] = {"lines": 22, "points": [_whole(z) for z in _through(layers, grid)[0]]}
    return _figure("composition", 850, made)


def _square_grid(half: float, lines: int, fine: int) -> Tensor:
    """Points along `lines` vertical, then as many horizontal lines of a grid over [−half, half]², `(2 · lines · fine, 2)`."""
    vertical = torch.cartesian_prod(torch.linspace(-half, half, lines), torch.linspace(-half, half, fine))
    return torch.cat([vertical, vertical.flip(-1)])


@torch.no_grad()
def latent_space(
    vae: VAE,
    x: Tensor,
    labels: Tensor | None = None,
    *,
    shape: tuple[int, int] = (8, 8),
    half: float = 4.0,
    size: int = 33,
    codes: int = 250,
) -> InteractiveFigure:
    """What the decoder of a VAE with M = 2 makes of each place z, before the aggregate posterior or the prior.

    The decoder's means are computed at size × size places over [−half, half]² and interpolated between them. A place
    is called a hole where q(z) is lower than at 99 % of q's own draws.

    Args:
        vae: has `prior`, `encoder`, `decoder`; the decoder's mean is an image `(H · W,)` with pixels in [0, 1].
        x: examples `(N, D)` that q(z) is made of. labels: `(N,)`, drawn at the codes; none: a dot.
        shape: (H, W). codes: how many posterior means are drawn.

    Raises `ValueError` for M ≠ 2, and for decoder means that are no images of that shape.

    >>> from flowlib import BernoulliDecoder, GaussianEncoder, GaussianPrior, VAE, mlp
    >>> vae = VAE(GaussianPrior(2), BernoulliDecoder(mlp([2, 4])), GaussianEncoder(mlp([4, 4])))
    >>> latent_space(vae, torch.ones(5, 4), shape=(2, 2)).title
    "The decoder's view of the latent plane"
    """
    check_size("size", size)
    check_size("codes", codes)
    prior = vae.prior()
    if tuple(prior.event_shape) != (2,):
        raise ValueError(f"vae: expected a prior with event shape (2,), got {tuple(prior.event_shape)}")
    if labels is not None and len(labels) != len(x):
        raise ValueError(f"labels: expected {len(x)}, one for each example, got {len(labels)}")
    means = vae.decoder(_lattice(half, size)).mean
    if means.shape != (size * size, shape[0] * shape[1]):
        got = tuple(means.shape[1:])
        raise ValueError(f"shape: {shape} needs decoder means of length {shape[0] * shape[1]}, got {got}")
    pixels = (255 * means).round().clamp(0, 255).to(torch.uint8).numpy().tobytes()

    def log_q(z: Tensor) -> Tensor:
        return torch.cat([aggregate_posterior_log_prob(part, x, vae.encoder) for part in z.split(500)])

    # Its own random numbers: a figure changes nothing that comes after it.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        drawn = {
            "aggregate": aggregate_posterior_sample(x, vae.encoder, 2000),
            "prior": prior.sample((2000,)),
        }
    made: dict[str, Any] = {"unit": UNIT, "shape": list(shape), "size": size, "window": [-half, half]}
    made["pixels"] = base64.b64encode(pixels).decode()
    fine = 2 * size - 1
    for name, log_prob in (("aggregate", log_q), ("prior", prior.log_prob)):
        made[name] = {
            "size": fine,
            "values": _whole(log_prob(_lattice(half, fine))),
            "threshold": round(log_prob(drawn[name]).quantile(0.01).item(), 3),
        }
    places = vae.encoder(x[:codes]).mean
    signs = ["·"] * len(places) if labels is None else [str(int(v)) for v in labels[:codes]]
    made["codes"] = [[*_whole(z), sign] for z, sign in zip(places, signs, strict=True)]
    return _figure("latent_space", 700, made)


def _lattice(half: float, size: int) -> Tensor:
    """The points of a size × size lattice over [−half, half]², `(size², 2)`: z₁ changes fastest."""
    line = torch.linspace(-half, half, size)
    return torch.cartesian_prod(line, line).flip(-1)


def film(
    draw: Callable[[Axes, Any], None],
    frames: Sequence[Any],
    *,
    title: str,
    description: str,
    captions: Sequence[str] | None = None,
    figsize: tuple[float, float] = (4.2, 4.2),
    dpi: int = 72,
) -> InteractiveFigure:
    """Pictures to step through or play; it stands still until it is asked to move.

    Matplotlib's own `to_jshtml` needs an icon font from the network, and has no text for those who cannot see the
    pictures; hence this one.

    Args:
        draw: draws a frame on empty Axes: `draw(ax, frame)`.
        frames: what is drawn, one picture each.
        title: of the film. description: what it shows, in words, for screen readers.
        captions: a text for each frame. Default: its number.
        figsize, dpi: of the pictures, in inches and dots per inch.

    Raises `ValueError` without frames, and for another number of captions.

    >>> film(lambda ax, k: ax.plot([0, k]), [1, 2], title="A rising line", description="A line that gets steeper.")
    Interactive figure: A rising line. It shows in a notebook or on a web page.
    """
    if len(frames) == 0:
        raise ValueError("frames: expected at least one, got none")
    captions = [str(k) for k in range(1, len(frames) + 1)] if captions is None else list(captions)
    if len(captions) != len(frames):
        raise ValueError(f"captions: expected {len(frames)}, one for each frame, got {len(captions)}")
    pictures = []
    for frame in frames:
        # Not by pyplot: no figure is left open, none is shown a second time.
        figure = Figure(figsize=figsize, dpi=dpi)
        draw(figure.add_subplot(), frame)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        pictures.append(base64.b64encode(picture.getvalue()).decode())
    made = {"frames": pictures, "captions": captions, "description": description}
    return _figure("film", round(figsize[1] * dpi) + 220, made, title)
