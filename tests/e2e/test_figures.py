"""The interactive figures, operated by keyboard and mouse; the numbers change as the mathematics says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Browser, Frame, Page, expect

import flowlib
from coursekit.source import KERNELSPEC
from flowlib import interactive
from flowlib.interactive import InteractiveFigure
from tests.e2e.axe import Axe
from tests.e2e.browser import new_page, screenshot
from tests.e2e.jupyter import ALLOWED, Lab
from tests.e2e.notebook import NotebookPage

pytestmark = pytest.mark.e2e


def latent_space() -> InteractiveFigure:
    """An untrained VAE whose posteriors all lie near N(0, I): no code is near the border of the window."""
    torch.manual_seed(0)
    decoder, encoder = (
        flowlib.BernoulliDecoder(flowlib.mlp([2, 64])),
        flowlib.GaussianEncoder(flowlib.mlp([64, 4])),
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(0.1)
    vae = flowlib.VAE(flowlib.GaussianPrior(2), decoder, encoder)
    return interactive.latent_space(vae, (torch.rand(50, 64) > 0.5).float(), torch.arange(50) % 10)


def composition() -> InteractiveFigure:
    return interactive.composition(
        flowlib.load_flow_2d("rings"), flowlib.data.TARGETS["rings"].sample(100, seed=0), n=100
    )


def film() -> InteractiveFigure:
    return interactive.film(
        lambda ax, k: ax.plot([0, k]), [1, 2, 3], title="A rising line", description="A line gets steeper."
    )


FIGURES: dict[str, Callable[[], InteractiveFigure]] = {
    "change_of_variables": interactive.change_of_variables,
    "jacobian": interactive.jacobian,
    "masked_coupling": interactive.masked_coupling,
    "composition": composition,
    "spline": interactive.spline,
    "latent_space": latent_space,
    "film": film,
}
SETTINGS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


@dataclass
class Shown:
    """A figure in its frame, and hands for it."""

    page: Page
    frame: Frame

    def press(self, label: str, key: str, times: int = 1) -> None:
        """Press a key on the control with this label, or the button with this name."""
        button = self.frame.get_by_role("button", name=label, exact=True)
        self.frame.get_by_label(label, exact=True).or_(button).focus()
        for _ in range(times):
            self.page.keyboard.press(key)

    def text(self, key: str) -> str:
        return (self.frame.locator(f"[data-number={key}]").text_content() or "").replace("−", "-")

    def number(self, key: str) -> float:
        return float(self.text(key))


def show(page: Page, figure: InteractiveFigure) -> Shown:
    page.set_content(
        f'<!doctype html><html lang="en"><title>A page</title><main><h1>A page</h1>{figure._repr_html_()}</main></html>'
    )
    expect(page.frame_locator("iframe").locator("input[type=range]").first).to_be_visible()
    return Shown(page, page.frames[1])


@pytest.fixture
def shown(page: Page, request: pytest.FixtureRequest) -> Iterator[Shown]:
    """The figure that the test names: `@pytest.mark.parametrize("shown", [NAME], indirect=True)`."""
    made = show(page, FIGURES[request.param]())
    yield made
    screenshot(page, f"figure_{request.param}_operated", full_page=True)


def of(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shown", [name], indirect=True, ids=[""])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", FIGURES)
def test_figures_load_fit_and_can_be_read(browser: Browser, axe: Axe, name: str, setting: str) -> None:
    with new_page(browser, **SETTINGS[setting]) as page:
        made = show(page, FIGURES[name]())
        size = made.frame.evaluate(
            "() => { const d = document.documentElement; return [d.scrollWidth, d.clientWidth, d.scrollHeight, d.clientHeight] }"
        )
        assert size[0] <= size[1], "the figure is wider than its frame"
        page.wait_for_function("() => document.querySelector('iframe').clientHeight > 200")
        assert made.frame.evaluate("() => document.documentElement.dataset.scheme") == (
            "dark" if setting == "dark" else "light"
        )
        painted = made.frame.evaluate(
            """() => [...document.querySelectorAll("canvas")].filter((c) => c.clientWidth).map((c) =>
                new Set(new Uint32Array(c.getContext("2d").getImageData(0, 0, c.width, c.height).data.buffer)).size)"""
        )
        assert all(colors > 3 for colors in painted), "a canvas is blank"
        assert axe(page) == []
        screenshot(page, f"figure_{name}_{setting}", full_page=True)


@of("change_of_variables")
def test_change_of_variables(shown: Shown) -> None:
    assert shown.number("slope") == 1
    shown.press("T(2)", "ArrowRight", 20)  # T(2) = 3: slope 2 from there on
    shown.press("base point u", "End")  # u = 3
    density = math.exp(-4.5) / math.sqrt(2 * math.pi)
    assert shown.number("slope") == pytest.approx(2, abs=1e-3)
    assert shown.number("base_density") == pytest.approx(density, abs=1e-4)
    assert shown.number("data_density") == pytest.approx(density / 2, abs=1e-4)
    assert shown.number("area") == pytest.approx(1, abs=1e-4)
    assert shown.number("strip_base") == pytest.approx(shown.number("strip_data"), abs=1e-4)
    shown.press("Mirror: T becomes −T, decreasing", "Enter")
    assert shown.number("slope") == pytest.approx(-2, abs=1e-3)
    assert shown.number("area") == pytest.approx(1, abs=1e-4)
    shown.press("T(0)", "End")  # held back by T(1) = 1: the map stays increasing
    assert shown.frame.get_by_label("T(0)", exact=True).input_value() == "0.9"
    assert shown.number("area") == pytest.approx(1, abs=1e-4)


@of("jacobian")
def test_jacobian(shown: Shown) -> None:
    det = 0.6 + 0.3 + 0.27 * math.sin(1.5 * 1.5) * math.cos(-1.5)
    assert shown.number("det") == pytest.approx(det, abs=1e-5)
    assert abs(shown.number("ratio") - det) > 0.01
    shown.press("side ε", "End")
    assert shown.number("ratio") == pytest.approx(det, abs=1e-4)
    shown.press("center u₁", "Home")
    assert shown.number("det") == pytest.approx(0.9 + 0.27 * math.sin(-3) * math.cos(-1.5), abs=1e-5)


@of("jacobian")
def test_the_square_can_be_dragged(shown: Shown) -> None:
    box = shown.frame.locator("canvas").first.bounding_box()
    assert box is not None
    slider = shown.frame.get_by_label("center u₁", exact=True)
    assert slider.input_value() == "1.5"
    # The center (1.5, -1) by the axes' margins: 40 px on the left, 24 above, and a scale that both share.
    scale = min(box["width"] - 54, box["height"] - 60) / 5
    x, y = box["x"] + 40 + 4 * scale, box["y"] + 24 + 3.5 * scale
    shown.page.mouse.move(x, y)
    shown.page.mouse.down()
    shown.page.mouse.move(x - 2 * scale, y, steps=4)
    shown.page.mouse.up()
    assert float(slider.input_value()) == pytest.approx(-0.5, abs=0.1)


@of("masked_coupling")
def test_masked_coupling(shown: Shown) -> None:
    shown.press("s: constant part", "ArrowRight", 4)  # s = 0.2 + 0.3 k
    assert shown.number("log_det") == pytest.approx(0.5, abs=1e-3)
    assert shown.number("measured_log_det") == pytest.approx(0.5, abs=1e-3)
    assert shown.number("inverse_log_det") == pytest.approx(-0.5, abs=1e-3)
    assert shown.text("x") == f"(1.00, {0.5 - 0.5 * math.exp(0.5):.2f})"
    shown.press("(1, 0): keep u₁", "ArrowDown")  # the other mask: k = u₂ = −0.5
    assert shown.number("log_det") == pytest.approx(0.05, abs=1e-3)
    shown.press("t: wave, sin(3k) times", "End")
    expect(shown.frame.locator("canvas:visible")).to_have_count(2)
    shown.press("Undo: apply the inverse to x", "Enter")
    expect(shown.frame.locator("canvas:visible")).to_have_count(3)
    assert shown.number("round_trip") < 1e-12


@of("spline")
def test_spline(shown: Shown) -> None:
    assert shown.number("least_slope") == 1
    shown.press("knot 2: slope", "ArrowRight", 10)
    assert shown.text("slopes").split(", ")[1] == f"{10**0.5:.2f}"
    assert 0 < shown.number("least_slope") < 1
    assert shown.number("area") == pytest.approx(1, abs=1e-4)
    shown.press("knot 1: position u", "End")  # stops before the next knot
    assert shown.text("widths") == "2.90, 0.10, 1.50, 1.50"
    assert shown.number("least_slope") > 0
    assert shown.number("round_trip") < 1e-12
    shown.press("point u", "Home")
    assert shown.text("bin") == "outside: the identity"
    assert shown.text("x") == "-4.000"
    shown.press("Back to the identity", "Enter")
    assert shown.text("widths") == "1.50, 1.50, 1.50, 1.50"


@of("composition")
@torch.no_grad()
def test_composition(shown: Shown) -> None:
    flow = flowlib.load_flow_2d("rings")
    x = flowlib.data.TARGETS["rings"].sample(100, seed=0)
    shown.press("data, carried back", "Space")
    shown.press("stage", "End")
    assert shown.number("mean_log_density") == pytest.approx(flow.log_prob(x).mean().item(), abs=0.02)
    shown.press("Back (inverse)", "Enter")
    u, log_det = x, torch.zeros(100)
    for layer in reversed(flow.transformations):
        z, step = layer.inverse(u)
        log_det = log_det + step
        if u is x:  # the last layer is undone: this is the stage that is shown
            assert shown.number("mean_log_density") == pytest.approx(
                (flow.log_prob(x) - step).mean().item(), abs=0.02
            )
        u = z
    shown.press("stage", "Home")
    assert shown.text("place") == f"({u[0, 0]:.2f}, {u[0, 1]:.2f})".replace("-0.00", "0.00")
    assert shown.number("mean_log_density") == pytest.approx(flow.base().log_prob(u).mean().item(), abs=0.02)
    shown.press("Forward", "Enter")
    assert shown.text("layer").startswith("1: ")


@of("latent_space")
def test_latent_space(shown: Shown) -> None:
    assert shown.number("log_p") == pytest.approx(-math.log(2 * math.pi), abs=0.02)
    assert shown.text("verdict") == "codes are found here"
    shown.press("z₁", "End")
    assert shown.number("log_p") == pytest.approx(-math.log(2 * math.pi) - 8, abs=0.02)
    assert shown.text("verdict").startswith("a hole")
    expect(shown.frame.get_by_role("status")).to_contain_text("z is 4.00, 0.00")


@of("film")
def test_film_stands_still_until_it_is_played(shown: Shown) -> None:
    picture = shown.frame.get_by_role("img")
    first = picture.get_attribute("alt")
    assert first is not None
    assert first.startswith("A line gets steeper. Frame 1 of 3")
    shown.page.wait_for_timeout(1000)
    assert picture.get_attribute("alt") == first
    shown.press("frame", "ArrowRight")
    expect(picture).to_have_attribute("alt", "A line gets steeper. Frame 2 of 3: 2")
    shown.press("Play", "Enter")
    expect(picture).to_have_attribute("alt", "A line gets steeper. Frame 3 of 3: 3")
    expect(shown.frame.get_by_role("button", name="Play")).to_be_visible()


def test_no_gliding_where_less_motion_is_wished(browser: Browser) -> None:
    """With reduced motion a step is one picture; without, there are some in between."""
    count = """() => { window.frames_drawn = 0; const asked = window.requestAnimationFrame;
        window.requestAnimationFrame = (f) => { window.frames_drawn++; return asked.call(window, f); } }"""
    drawn = {}
    for motion in ("reduce", "no-preference"):
        with new_page(browser, reduced_motion=motion) as page:
            made = show(page, composition())
            page.wait_for_timeout(300)
            made.frame.evaluate(count)
            made.press("stage", "ArrowRight")
            page.wait_for_timeout(800)
            drawn[motion] = made.frame.evaluate("() => window.frames_drawn")
    assert drawn["reduce"] == 1
    assert drawn["no-preference"] > 3


@of("spline")
def test_tab_reaches_every_control_and_shows_where_it_is(shown: Shown) -> None:
    controls = shown.frame.locator("input, button")
    controls.first.focus()
    for index in range(1, controls.count()):
        shown.page.keyboard.press("Tab")
        focused = controls.nth(index)
        expect(focused).to_be_focused()
        assert focused.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


@of("spline")
def test_the_figure_follows_the_page_s_scheme(shown: Shown) -> None:
    """A site's or JupyterLab's dark mode is not the system's."""
    scheme = "() => document.documentElement.dataset.scheme"
    assert shown.frame.evaluate(scheme) == "light"
    shown.page.evaluate("() => { document.documentElement.dataset.theme = 'dark' }")
    shown.frame.wait_for_function("() => document.documentElement.dataset.scheme === 'dark'")
    shown.page.evaluate("() => { document.body.dataset.jpThemeLight = 'true' }")
    shown.frame.wait_for_function("() => document.documentElement.dataset.scheme === 'light'")


def test_a_figure_works_in_jupyterlab(browser: Browser, student_lab: Lab) -> None:
    code = "from flowlib import interactive\n\ninteractive.spline()"
    cells = [new_markdown_cell("A figure"), new_code_cell(code)]
    student_lab.put("figure.ipynb", new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC}))
    with new_page(browser, viewport={"width": 1280, "height": 1400}, allowed=ALLOWED) as page:
        notebook = NotebookPage(page, student_lab, "figure.ipynb")
        notebook.run_all()
        element = notebook.panel.locator("iframe")
        expect(element).to_be_visible()
        frame = element.element_handle().content_frame()
        assert frame is not None
        expect(frame.locator("canvas").first).to_be_visible()
        made = Shown(page, frame)
        made.press("knot 2: slope", "ArrowRight", 10)
        assert made.text("slopes").split(", ")[1] == f"{10**0.5:.2f}"
        # The frame is as high as the figure: nothing is cut off, and nothing scrolls.
        assert frame.evaluate(
            "() => document.documentElement.scrollHeight <= window.frameElement.clientHeight + 1"
        )
        screenshot(page, "figure_in_jupyterlab")
