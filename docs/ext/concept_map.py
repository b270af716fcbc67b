"""The concept map: which notebook needs which, as a picture (SVG) and as a list.

The arrows come from the notebooks' heads. What each notebook gives to the later ones is said here, in `GIVES`.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from docs.ext.heads import Head

__all__ = ["GIVES", "concept_list", "concept_svg"]

# What later notebooks build on, by the notebook's number.
GIVES = {
    1: "density of a mapped variable, inverse transform sampling, NLL in nats",
    2: "Jacobian, log-determinants add, triangular maps, Rosenblatt",
    3: "masks, coupling layers, Flow, exact excess",
    4: "ELBO, importance weights, rsample, encoder and decoder",
    5: "aggregate posterior, learned priors, paired differences",
    6: "dequantization, bits per dimension, scales, Glow",
    7: "MADE, MAF, IAF, distillation",
    8: "free energy, planar flow, flow posteriors, two gaps",
    9: "contractions, spectral norm, trace estimates, linear flows",
    10: "splines, continuous flows, diffusion as a flow",
    11: "MMD, GAN, every family compared, numerical failures",
}

WIDTH, HEIGHT, GAP, DROP, MARGIN = 174, 116, 20, 52, 12
INK, LINE, FILL = "#1b1b1b", "#0072B2", "#EAF3F9"


@dataclass(frozen=True)
class _Arrow:
    start: int
    end: int
    needed: bool


def _ancestors(needs: Mapping[int, Sequence[int]], number: int) -> set[int]:
    return set(needs[number]) | {a for n in needs[number] for a in _ancestors(needs, n)}


def arrows(heads: Sequence[Head]) -> list[_Arrow]:
    """The arrows to draw: what follows from others is left out."""
    needs = {h.number: h.needs for h in heads}
    found = []
    for h in heads:
        implied = {a for n in h.needs for a in _ancestors(needs, n)}
        found += [_Arrow(n, h.number, True) for n in h.needs if n not in implied]
        found += [_Arrow(n, h.number, False) for n in h.helped_by if n not in implied]
    return found


def rows(heads: Sequence[Head]) -> list[tuple[int, ...]]:
    """Notebooks in rows, each below all that it needs, ordered such that few arrows cross and all are short."""
    needs = {h.number: h.needs for h in heads}
    depth: dict[int, int] = {}
    for number in sorted(needs):
        depth[number] = 1 + max((depth[n] for n in needs[number]), default=-1)
    levels = [sorted(n for n in depth if depth[n] == k) for k in range(1 + max(depth.values()))]
    drawn = arrows(heads)

    def cost(order: tuple[tuple[int, ...], ...]) -> tuple[int, float]:
        x = {n: k - (len(row) - 1) / 2 for row in order for k, n in enumerate(row)}
        pairs = itertools.combinations(drawn, 2)
        crossings = sum(
            depth[a.start] == depth[b.start] and (x[a.start] - x[b.start]) * (x[a.end] - x[b.end]) < 0
            for a, b in pairs
        )
        return crossings, sum((x[a.start] - x[a.end]) ** 2 for a in drawn)

    return list(min(itertools.product(*(itertools.permutations(level) for level in levels)), key=cost))


def _box(head: Head, x: float, y: float) -> str:
    title = textwrap.wrap(f"{head.number} · {head.title.split(':')[0]}", 19)
    gives = textwrap.wrap(GIVES[head.number], 25, break_on_hyphens=False)
    lines = [(text, "title") for text in title] + [(text, "gives") for text in gives]
    top = y + (HEIGHT - 16 * len(lines)) / 2 + 12
    texts = "".join(
        f'<text class="{kind}" x="{x + WIDTH / 2:g}" y="{top + 16 * k:g}">{escape(text)}</text>'
        for k, (text, kind) in enumerate(lines)
    )
    box = f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
    return f'<g class="notebook">{box}{texts}</g>'


def _path(arrow: _Arrow, at: Mapping[int, tuple[float, float]]) -> str:
    (x0, y0), (x1, y1) = at[arrow.start], at[arrow.end]
    if y0 == y1 and abs(x1 - x0) <= WIDTH + GAP:  # neighbors: straight across
        side = 1 if x1 > x0 else -1
        x0, y0 = x0 + side * WIDTH / 2, y0 + HEIGHT / 2
        bend = f"H {x1 - side * (WIDTH / 2 + 5):g}"
    elif y0 == y1:  # in one row: below what stands between them
        y0 += HEIGHT
        bend = f"C {x0:g} {y0 + 40:g} {x1:g} {y0 + 40:g} {x1:g} {y0 + 5:g}"
    else:
        y0 += HEIGHT
        middle = (y0 + y1) / 2
        bend = f"C {x0:g} {middle:g} {x1:g} {middle:g} {x1:g} {y1 - 5:g}"
    kind = "needs" if arrow.needed else "helps"
    return f'<path class="{kind}" d="M {x0:g} {y0:g} {bend}" marker-end="url(#head)"/>'


def concept_svg(heads: Sequence[Head]) -> str:
    """The map as an SVG picture with a title and a description for screen readers."""
    by_number = {h.number: h for h in heads}
    order = rows(heads)
    widest = max(len(row) for row in order)
    width = 2 * MARGIN + widest * WIDTH + (widest - 1) * GAP
    # Room below the last row for arrows that run beneath it, and for the key.
    height = 2 * MARGIN + len(order) * HEIGHT + (len(order) - 1) * DROP + 56
    at: dict[int, tuple[float, float]] = {}
    boxes = []
    for k, row in enumerate(order):
        left = (width - len(row) * WIDTH - (len(row) - 1) * GAP) / 2
        for i, number in enumerate(row):
            x, y = left + i * (WIDTH + GAP), MARGIN + k * (HEIGHT + DROP)
            boxes.append(_box(by_number[number], x, y))
            at[number] = (x + WIDTH / 2, y)
    paths = [_path(arrow, at) for arrow in arrows(heads)]
    key = height - MARGIN - 6
    described = "; ".join(f"{h.number} {_needs_in_words(h)}" for h in heads)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="name what">
<title id="name">Concept map of the {len(heads)} notebooks</title>
<desc id="what">Arrows go from a notebook to those that need it. {escape(described)}.</desc>
<style>
text {{ font-family: system-ui, "DejaVu Sans", sans-serif; font-size: 12px; fill: {INK}; text-anchor: middle }}
.title {{ font-weight: 600; font-size: 14px }}
.key {{ text-anchor: start; font-size: 13px }}
.notebook rect {{ fill: {FILL}; stroke: {LINE}; stroke-width: 1.5 }}
path {{ fill: none; stroke: {LINE}; stroke-width: 2 }}
.helps {{ stroke-dasharray: 5 4 }}
marker path {{ fill: {LINE}; stroke: none }}
</style>
<defs><marker id="head" markerUnits="userSpaceOnUse" markerWidth="10" markerHeight="10" refX="5" refY="5" orient="auto">\
<path d="M 0 0 L 10 5 L 0 10 z"/></marker></defs>
<rect width="{width:g}" height="{height:g}" rx="10" fill="#ffffff"/>
{chr(10).join(paths)}
{chr(10).join(boxes)}
<path class="needs" d="M {MARGIN} {key - 4} h 40"/><text class="key" x="{MARGIN + 50}" y="{key}">is needed</text>
<path class="helps" d="M {MARGIN + 140} {key - 4} h 40"/><text class="key" x="{MARGIN + 190}" y="{key}">helps with a section</text>
</svg>
"""


def _listed(numbers: Sequence[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _needs_in_words(head: Head) -> str:
    needs = f"needs {_listed(head.needs)}" if head.needs else "needs no other"
    if not head.helped_by:
        return needs
    return f"{needs}, and {_listed(head.helped_by)} help{'s' * (len(head.helped_by) == 1)}"


def concept_list(heads: Sequence[Head]) -> str:
    """The map in words: a Markdown list."""
    return "\n".join(f"- **{h.link}** {_needs_in_words(h)}. It gives: {GIVES[h.number]}." for h in heads)
