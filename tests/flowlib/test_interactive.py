"""Interactive figures: the pages are what their sources make, their mathematics is flowlib's, their data are the model's."""

from __future__ import annotations

import ast
import base64
import html
import importlib.util
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.image import imread
from nbformat.v4 import new_output
from torch import nn
from torch.nn import functional

import flowlib
from coursekit.sanitize import safe_output
from flowlib import interactive
from tests.course import ROOT, cells

SOURCES = ROOT / "docs" / "figures"
PAGES = ROOT / "flowlib" / "figures"
KILOBYTES = 30  # what a page may weigh without data


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures_build", SOURCES / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


# The pages


@pytest.mark.parametrize("name", build.FIGURES)
def test_pages_are_built_from_their_sources(name: str) -> None:
    made = build.page(name).encode()
    assert (PAGES / f"{name}.html").read_bytes() == made, "run python docs/figures/build.py"
    assert len(made) < KILOBYTES * 1024


def test_every_page_has_its_source() -> None:
    assert {p.stem for p in PAGES.glob("*.html")} == set(build.FIGURES)


@pytest.mark.parametrize("name", build.FIGURES)
def test_pages_fetch_nothing(name: str) -> None:
    text = (PAGES / f"{name}.html").read_text(encoding="utf-8")
    for word in ("http:", "https:", "//cdn", "<link", "@import", "import(", "fetch(", "XMLHttpRequest"):
        assert word not in text, word


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ('import { missing } from "./other.js";\n', "exports no 'missing'"),
        ('import { there as here } from "./other.js";\n', "exports no 'as'"),
        ('import other from "./other.js";\n', "not understood: import other"),
        ("export default 1;\n", "not understood: export default"),
        ('import { there } from "./other.js";\nconst hidden = there;\n', "two modules define hidden"),
    ],
)
def test_the_bundler_refuses_what_it_would_get_wrong(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "other.js").write_text("const hidden = 1;\nexport const there = hidden;\n")
    (tmp_path / "figure.js").write_text(source)
    with pytest.raises(ValueError, match=re.escape(message)):
        build.bundle(tmp_path / "figure.js")


def test_the_bundler_puts_each_module_once_and_before_its_users(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("// about a\nexport const a = 1;\n")
    (tmp_path / "b.js").write_text('import { a } from "./a.js";\nexport const b = a + 1;\n')
    (tmp_path / "c.js").write_text(
        'import { a } from "./a.js";\nimport { b } from "./b.js";\nconst c = a + b;\n'
    )
    assert build.bundle(tmp_path / "c.js") == "const a = 1;\nconst b = a + 1;\nconst c = a + b;"


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colors_have_contrast_in_both_schemes(scheme: int) -> None:
    block = re.findall(r":root[^{]*\{([^}]*)\}", (SOURCES / "figure.css").read_text())[scheme]
    colors = dict(re.findall(r"--(\w+): (#\w{6})", block))
    for name, least in {"ink": 7, "muted": 4.5, "blue": 4.5, "vermilion": 3, "green": 3, "edge": 3}.items():
        assert contrast(colors[name], colors["paper"]) >= least, name


# Their mathematics


SCRIPT = """
const [folder] = process.argv.slice(1);
const { readFileSync } = await import("node:fs");
const [file, name, args, method, over] = JSON.parse(readFileSync(0, "utf8"));
const module = await import(`${folder}/math/${file}.js`);
const f = method === null ? module[name] : module[name](...args)[method];
console.log(JSON.stringify(over.map((given) => f(...given))));
"""


def javascript(
    file: str, name: str, over: list, *, args: list | None = None, method: str | None = None
) -> Any:
    """`name` of docs/figures/math/`file`.js called with each list of arguments in `over`; or `method` of what it makes."""
    return node_says(SCRIPT, [file, name, args or [], method, over])


def node_says(script: str, given: Any) -> Any:
    """What the script prints as JSON; it gets `given` as JSON on its standard input and the sources' address as argument."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing: on Debian and Ubuntu `apt install nodejs`")
    done = subprocess.run(
        [node, "--input-type=module", "--eval", script, SOURCES.as_uri()],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def tensor(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_spline_is_flowlib_s() -> None:
    generator = torch.Generator().manual_seed(4)
    K, bound = 4, 3.0
    spline = flowlib.RationalQuadraticSpline(bins=K, bound=bound).double()
    line = torch.linspace(-4, 4, 321, dtype=torch.float64)
    for _ in range(3):
        h = 1.5 * torch.randn(3 * K - 1, dtype=torch.float64, generator=generator)
        least = spline.min_width
        shares = [least + (1 - K * least) * raw.softmax(0) for raw in (h[:K], h[K : 2 * K])]
        knots = [[-bound, *(2 * bound * s.cumsum(0)[:-1] - bound).tolist(), bound] for s in shares]
        shift = torch.expm1(tensor(1 - spline.min_derivative)).log()
        slopes = [1.0, *(spline.min_derivative + functional.softplus(h[2 * K :] + shift)).tolist(), 1.0]
        curve = {"args": [*knots, slopes]}
        whole = spline.parameters_of(h).expand(len(line), -1, -1)
        x, log_slope = (v.squeeze(-1) for v in spline.forward(line.unsqueeze(-1), whole))
        u, _ = spline.inverse(line.unsqueeze(-1), whole)
        points = [[v] for v in line.tolist()]
        close = {"rtol": 1e-9, "atol": 1e-9}
        torch.testing.assert_close(
            tensor(javascript("monotone", "curve", points, method="forward", **curve)), x, **close
        )
        torch.testing.assert_close(
            tensor(javascript("monotone", "curve", points, method="slope", **curve)), log_slope.exp(), **close
        )
        torch.testing.assert_close(
            tensor(javascript("monotone", "curve", points, method="inverse", **curve)), u.squeeze(-1), **close
        )


def test_the_map_by_five_points_increases_is_inverted_and_keeps_mass() -> None:
    us, xs = [-2.0, -1.0, 0.0, 1.0, 2.0], [-3.0, -0.4, -0.2, 2.5, 2.6]
    slopes = javascript("monotone", "harmonicSlopes", [[us, xs]])[0]
    # At inner knots the harmonic mean of the secants, at the ends the secant.
    assert slopes == pytest.approx(
        [2.6, 2 / (1 / 2.6 + 1 / 0.2), 2 / (1 / 0.2 + 1 / 2.7), 2 / (1 / 2.7 + 10), 0.1]
    )
    curve = {"args": [us, xs, slopes]}
    u = torch.linspace(-4, 4, 1601, dtype=torch.float64)
    x = tensor(javascript("monotone", "curve", [[v] for v in u.tolist()], method="forward", **curve))
    slope = tensor(javascript("monotone", "curve", [[v] for v in u.tolist()], method="slope", **curve))
    back = tensor(javascript("monotone", "curve", [[v] for v in x.tolist()], method="inverse", **curve))
    assert bool((x.diff() > 0).all())
    torch.testing.assert_close(back, u, rtol=1e-9, atol=1e-9)
    differences = (x[2:] - x[:-2]) / (u[2:] - u[:-2])
    torch.testing.assert_close(slope[1:-1], differences, rtol=1e-2, atol=1e-2)
    # Straight lines beyond the knots.
    torch.testing.assert_close(x[u < -2], -3 + 2.6 * (u[u < -2] + 2), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(x[u > 2], 2.6 + 0.1 * (u[u > 2] - 2), rtol=1e-12, atol=1e-12)


def test_bent_plane_is_that_of_notebook_2() -> None:
    source = next(s for _, s in cells("02_jacobians_and_determinants") if "def bend(" in s)
    definition = next(
        n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "bend"
    )
    names: dict[str, Any] = {"torch": torch}
    exec(ast.unparse(definition), names)
    u = 2 * torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = [[p] for p in u.tolist()]
    x, J = names["bend"](u), flowlib.batch_jacobian(names["bend"], u)
    torch.testing.assert_close(tensor(javascript("bend", "bend", points)), x, rtol=1e-12, atol=1e-12)
    found = javascript("bend", "bendJacobian", points)
    torch.testing.assert_close(tensor(found), J, rtol=1e-12, atol=1e-12)
    dets = tensor(javascript("bend", "determinant", [[j] for j in found]))
    torch.testing.assert_close(dets, torch.linalg.det(J), rtol=1e-9, atol=1e-12)


def test_areas_are_those_of_squares_and_their_images() -> None:
    borders = javascript("bend", "squareBorder", [[[1.0, -2.0], side, 100] for side in (2.0, 0.5, 1e-3)])
    areas = javascript("bend", "polygonArea", [[b] for b in borders])
    assert areas == pytest.approx([4.0, 0.25, 1e-6], rel=1e-9)
    A = tensor([[1.0, 2.0], [0.5, -3.0]])
    image = (tensor(borders[0]) @ A.T).tolist()
    assert javascript("bend", "polygonArea", [[image]])[0] == pytest.approx(4 * 4.0, rel=1e-12)
    a, b = tensor(image), tensor(image).roll(-1, 0)
    shoelace = 0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum().abs().item()
    assert javascript("bend", "polygonArea", [[image]])[0] == pytest.approx(shoelace, rel=1e-12)


class OfKept(nn.Module):
    """A function of the kept variable, given at both outputs: the layer's mask chooses."""

    def __init__(self, f: Any, kept: int) -> None:
        super().__init__()
        self.f, self.kept = f, kept

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self.f(v[..., self.kept : self.kept + 1]).expand_as(v)


@pytest.mark.parametrize("kept", [0, 1])
def test_coupling_is_flowlib_s(kept: int) -> None:
    a0, a1, b1, b2 = 0.3, -0.7, 0.5, 0.9
    mask = torch.eye(2)[kept]
    layer = flowlib.MaskedCouplingLayer(
        OfKept(lambda k: a0 + a1 * k, kept), OfKept(lambda k: b1 * k + b2 * torch.sin(3 * k), kept), mask
    ).double()
    u = 2 * torch.randn(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(kept))
    made = {"args": [{"a0": a0, "a1": a1, "b1": b1, "b2": b2}, kept]}
    for method in ("forward", "inverse"):
        pairs = javascript(
            "affine_coupling", "affineCoupling", [[p] for p in u.tolist()], method=method, **made
        )
        expected, log_det = getattr(layer, method)(u)
        torch.testing.assert_close(tensor([p for p, _ in pairs]), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(tensor([d for _, d in pairs]), log_det, rtol=1e-12, atol=1e-12)


def test_normal_density_and_its_integral() -> None:
    u = torch.linspace(-5, 5, 41, dtype=torch.float64)
    density = tensor(javascript("normal", "normalDensity", [[v] for v in u.tolist()]))
    zero, one = tensor(0.0), tensor(1.0)
    torch.testing.assert_close(density, torch.distributions.Normal(zero, one).log_prob(u).exp())


AREA = """
const [folder] = process.argv.slice(1);
const { curve, harmonicSlopes } = await import(`${folder}/math/monotone.js`);
const { integral, pushforward } = await import(`${folder}/math/normal.js`);
const { readFileSync } = await import("node:fs");
const us = [-2, -1, 0, 1, 2];
const areas = JSON.parse(readFileSync(0, "utf8")).map((xs) => {
  const map = curve(us, xs, harmonicSlopes(us, xs));
  return integral(pushforward(map), [-8, ...us, 8].map(map.forward));
});
console.log(JSON.stringify(areas));
"""


def test_the_area_is_one_under_spikes_too() -> None:
    """As flat as the sliders allow: neighboring points 0.1 apart."""
    maps = [[-0.2, -0.1, 0, 0.1, 0.2], [-4, -0.1, 0, 0.1, 4], [-4, -3.9, 3.7, 3.8, 4]]
    assert node_says(AREA, maps) == pytest.approx([1, 1, 1], abs=1e-6)


def test_lattice_is_interpolated_as_torch_does() -> None:
    generator = torch.Generator().manual_seed(1)
    size, depth, half = 5, 3, 2.0
    values = torch.rand(size, size, depth, dtype=torch.float64, generator=generator)
    z = 2 * half * torch.rand(30, 2, dtype=torch.float64, generator=generator) - half
    z[:2] = tensor([[-half, half], [half, half]])  # corners, where there is no next lattice point
    calls = [[values.flatten().tolist(), size, depth, [-half, half], p] for p in z.tolist()]
    grid = (z / half).reshape(1, 1, -1, 2)
    expected = functional.grid_sample(values.permute(2, 0, 1).unsqueeze(0), grid, align_corners=True)[
        0, :, 0
    ].T
    torch.testing.assert_close(
        tensor(javascript("lattice", "bilinear", calls)), expected, rtol=1e-12, atol=1e-12
    )


# The frame


class Frames(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


PLAIN = (
    interactive.change_of_variables,
    interactive.jacobian,
    interactive.masked_coupling,
    interactive.spline,
)


@pytest.mark.parametrize("make", PLAIN, ids=lambda f: f.__name__)
def test_a_figure_is_one_frame_with_a_title_and_a_text(make: Any) -> None:
    figure = make()
    [(tag, attributes)] = Frames(figure._repr_html_()).found
    assert tag == "iframe"
    assert attributes["title"] == figure.title
    assert attributes["srcdoc"] == (PAGES / f"{make.__name__}.html").read_text(encoding="utf-8")
    assert figure.title in repr(figure)


def data_of(figure: interactive.InteractiveFigure) -> Any:
    return json.loads(re.search(r'id="data">(.*?)</script>', figure.page)[1])


def test_no_text_ends_the_script_it_stands_in() -> None:
    evil = "</script><script>alert(\"1\")</script><b title='x'>"
    figure = interactive.film(lambda ax, k: None, [0], title=evil, description=evil, captions=[evil])
    assert figure.page.count("<script") == interactive.spline().page.count("<script")
    assert data_of(figure)["captions"] == [evil]
    assert figure.title == evil
    [(_, attributes)] = Frames(figure._repr_html_()).found
    assert attributes["title"] == evil
    assert f"<title>{html.escape(evil)}</title>" in figure.page


def test_grading_drops_the_frame_and_keeps_the_text() -> None:
    figure = interactive.spline()
    data = {"text/html": figure._repr_html_(), "text/plain": repr(figure)}
    shown = safe_output(new_output("execute_result", data))
    assert "iframe" not in shown.data["text/html"]
    assert "srcdoc" not in shown.data["text/html"]
    assert shown.data["text/plain"] == repr(figure)


# Data from models


@pytest.fixture(scope="module")
def flow() -> flowlib.Flow:
    """A trained flow whose last layer changes the scale."""
    return flowlib.load_flow_2d("rings")


def test_composition_carries_points_through_the_flow(flow: flowlib.Flow) -> None:
    x = flowlib.data.TARGETS["rings"].sample(60, seed=1)
    before = torch.random.get_rng_state()
    figure = interactive.composition(flow, x, n=40)
    assert torch.equal(torch.random.get_rng_state(), before), "a figure must not change what comes after it"
    made = data_of(figure)
    K = len(flow.transformations)
    assert len(made["stages"]) == K + 1
    for name in ("base", "data"):
        points = interactive.UNIT * tensor(made[name]["points"]).reshape(K + 1, 40, 2)
        density = interactive.UNIT * tensor(made[name]["log_density"])
        # Rounded, so compared where rounding is known: the rounded base point is carried by flowlib again.
        x_flow, _ = flow.forward(points[0].float())
        assert (x_flow.double() - points[-1]).abs().median() < 0.05
        torch.testing.assert_close(
            density[0], flow.base().log_prob(points[0].float()).double(), rtol=0, atol=0.05
        )
    rounded = {"rtol": 0, "atol": 0.51 * interactive.UNIT + 1e-3}
    data = interactive.UNIT * tensor(made["data"]["points"]).reshape(K + 1, 40, 2)
    torch.testing.assert_close(data[-1], x[:40].double(), **rounded)
    torch.testing.assert_close(data[0], flow.inverse(x[:40])[0].double(), **rounded)
    exact = flow.log_prob(x[:40]).double()
    torch.testing.assert_close(
        interactive.UNIT * tensor(made["data"]["log_density"][-1]), exact, rtol=0, atol=0.02
    )


def test_composition_names_what_each_layer_moves() -> None:
    keeps_last = flowlib.SplitCoupling(nn.Linear(1, 2), D=2, flip=True)
    flow = flowlib.Flow(
        flowlib.StandardNormal(2),
        [
            flowlib.SplitCoupling(nn.Linear(1, 2), D=2),
            keeps_last,
            flowlib.Affine(torch.ones(2), torch.ones(2)),
        ],
    )
    assert data_of(interactive.composition(flow, n=10))["stages"] == [
        "base, no layer yet",
        "1: SplitCoupling, keeps the first variable",
        "2: SplitCoupling, keeps the second variable",
        "3: Affine, moves both variables",
    ]


def test_composition_stays_small(flow: flowlib.Flow) -> None:
    figure = interactive.composition(flow, flowlib.data.TARGETS["rings"].sample(400, seed=0))
    assert len(json.dumps(data_of(figure))) < 300_000


def test_composition_refuses_what_it_cannot_draw(flow: flowlib.Flow) -> None:
    with pytest.raises(ValueError, match=r"expected event shape \(2,\), got \(3,\)"):
        interactive.composition(flowlib.real_nvp(3, 2))
    with pytest.raises(ValueError, match=r"expected shape \(N, 2\), got \(5, 3\)"):
        interactive.composition(flow, torch.zeros(5, 3))
    with pytest.raises(ValueError, match="finite"):
        interactive.composition(flow, torch.full((5, 2), torch.nan))


@pytest.fixture(scope="module")
def vae() -> flowlib.VAE:
    torch.manual_seed(0)
    decoder = flowlib.BernoulliDecoder(flowlib.mlp([2, 16, 12]))
    return flowlib.VAE(flowlib.GaussianPrior(2), decoder, flowlib.GaussianEncoder(flowlib.mlp([12, 4])))


@torch.no_grad()
def test_latent_space_shows_the_decoder_and_the_densities(vae: flowlib.VAE) -> None:
    x = (torch.rand(30, 12, generator=torch.Generator().manual_seed(3)) > 0.5).float()
    labels = torch.arange(30) % 10
    before = torch.random.get_rng_state()
    made = data_of(interactive.latent_space(vae, x, labels, shape=(3, 4), half=2.0, size=9))
    assert torch.equal(torch.random.get_rng_state(), before)
    pixels = list(base64.b64decode(made["pixels"]))
    z = torch.tensor([[-2.0, 2.0], [1.5, -0.5], [0.0, 1.0]])  # places of the lattice, first z₁, then z₂
    calls = [[pixels, 9, 12, made["window"], p] for p in z.tolist()]
    decoded = tensor(javascript("lattice", "bilinear", calls)) / 255
    torch.testing.assert_close(decoded, vae.decoder(z).mean.double(), rtol=0, atol=0.51 / 255)
    expected = {
        "aggregate": flowlib.aggregate_posterior_log_prob(z, x, vae.encoder),
        "prior": vae.prior().log_prob(z),
    }
    for name, log_prob in expected.items():
        calls = [[made[name]["values"], made[name]["size"], 1, made["window"], p] for p in z.tolist()]
        values = interactive.UNIT * tensor(javascript("lattice", "bilinear", calls)).squeeze(-1)
        torch.testing.assert_close(values, log_prob.double(), rtol=0, atol=0.51 * interactive.UNIT)
    assert [sign for *_, sign in made["codes"]] == [str(int(v)) for v in labels]
    # The prior's threshold in closed form: |z|² is exponential with mean 2, 99 % of it below −2 log 0.01.
    exact = (-torch.log(2 * tensor(torch.pi)) + torch.log(tensor(0.01))).item()
    assert made["prior"]["threshold"] == pytest.approx(exact, abs=0.8)


def test_latent_space_refuses_what_it_cannot_draw(vae: flowlib.VAE) -> None:
    x = torch.ones(4, 12)
    with pytest.raises(ValueError, match="expected 4, one for each example, got 3"):
        interactive.latent_space(vae, x, torch.zeros(3), shape=(3, 4))
    with pytest.raises(ValueError, match=r"shape: \(8, 8\) needs decoder means of length 64"):
        interactive.latent_space(vae, x)
    deep = flowlib.VAE(flowlib.GaussianPrior(3), vae.decoder, vae.encoder)
    with pytest.raises(ValueError, match=r"expected a prior with event shape \(2,\), got \(3,\)"):
        interactive.latent_space(deep, x)


def test_film_keeps_its_pictures_and_leaves_no_figure_open() -> None:
    shown = []

    def draw(ax: Any, k: float) -> None:
        shown.append(k)
        ax.set_facecolor((k, 0, 0))

    figure = interactive.film(
        draw,
        [0.0, 1.0],
        title="Red",
        description="It turns red.",
        captions=["black", "red"],
        figsize=(2, 1),
        dpi=50,
    )
    assert shown == [0.0, 1.0]
    assert plt.get_fignums() == []
    made = data_of(figure)
    assert made["captions"] == ["black", "red"]
    assert made["description"] == "It turns red."
    pictures = [imread(io.BytesIO(base64.b64decode(f))) for f in made["frames"]]
    assert [p.shape[:2] for p in pictures] == [(50, 100)] * 2
    assert [round(p[25, 50, 0].item()) for p in pictures] == [0, 1]


def test_film_needs_frames_and_a_caption_for_each() -> None:
    with pytest.raises(ValueError, match="at least one"):
        interactive.film(lambda ax, k: None, [], title="t", description="d")
    with pytest.raises(ValueError, match="expected 2, one for each frame, got 1"):
        interactive.film(lambda ax, k: None, [1, 2], title="t", description="d", captions=["one"])
