"""axe-core finds nothing serious or critical: on the site, in a notebook, in what students and instructors are sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from nbformat import NotebookNode
from playwright.sync_api import Browser, Page, expect

from coursekit.course import Course
from coursekit.new_class import Paper
from tests.e2e.browser import MATHJAX_CDN, new_page, screenshot
from tests.e2e.conftest import NAME, GradedClass, run_command
from tests.e2e.jupyter import ALLOWED, Lab
from tests.e2e.notebook import NotebookPage
from tests.e2e.test_site import wrong
from tests.e2e.visit import Visit

pytestmark = pytest.mark.e2e
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
# Of an open notebook these are JupyterLab's own. What is left is what the course puts there: text, code's results,
# figures and reports.
JUPYTERLAB = (
    ".jp-InputArea-editor",  # CodeMirror: its highlighting, and a text field without a name
    ".jp-InputPrompt",
    ".jp-OutputPrompt",
    ".jp-Collapser",
    ".jp-cell-toolbar",
    ".jp-Notebook-footer",
    ".jp-InternalAnchorLink",  # the pilcrow beside a heading
    ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']",  # red, by JupyterLab's theme
    "mjx-container",  # MathJax, as JupyterLab configures it
    ".jp-RenderedImage",  # JupyterLab 4.6 gives pictures no alternative text, whatever their metadata say: see below
)
# A progress bar lives in the kernel: JupyterLab cannot draw it again in a notebook that is opened later.
WIDGET_OF_AN_EARLIER_KERNEL = r"console: Error: widget model not found"
# Of the cells with a picture those that no description follows.
UNDESCRIBED = """() => {
    const cells = [...document.querySelectorAll(".jp-Notebook .jp-Cell")];
    return cells.filter((cell, k) => cell.querySelector(".jp-RenderedImage img")
        && !cells[k + 1]?.querySelector(".jp-RenderedMarkdown")?.textContent.trim().startsWith("Figure."))
        .map(cell => cell.querySelector(".cm-content").textContent.slice(0, 200));
}"""


@pytest.fixture
def allowed() -> tuple[str, ...]:
    return (MATHJAX_CDN,)


def test_every_page_of_the_site_in_light(visits: Sequence[Visit]) -> None:
    assert not wrong(visits, "barriers_light")


def test_every_page_of_the_site_in_dark(visits: Sequence[Visit]) -> None:
    assert not wrong(visits, "barriers_dark")


def test_a_finished_notebook_in_jupyterlab(
    browser: Browser, student_lab: Lab, finished: NotebookNode, axe: Callable[..., list[str]]
) -> None:
    """The notebook's panel with all its outputs, not JupyterLab's frame around it."""
    allowed = (*ALLOWED, WIDGET_OF_AN_EARLIER_KERNEL)
    with new_page(browser, allowed=allowed, viewport={"width": 1280, "height": 4000}) as page:
        notebook = NotebookPage(page, student_lab, f"finished/{NAME}.ipynb")
        assert notebook.panel.locator("img").count() > 3, "figures are there to be looked at"
        assert not axe(page, within=".jp-Notebook .jp-Cell", without=JUPYTERLAB)
        assert not page.evaluate(UNDESCRIBED)
    student_lab.shut_kernels_down()


@SCHEMES
def test_feedback_page(page: Page, graded: GradedClass, axe: Callable[..., list[str]], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for student in ("ada", "ben"):
        page.goto(graded.feedback(student))
        assert not axe(page), student


@SCHEMES
def test_report_page(page: Page, graded: GradedClass, axe: Callable[..., list[str]], scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto((graded.folder / "reports" / f"{NAME}.html").as_uri())
    assert not axe(page)


@SCHEMES
def test_progress_page(
    page: Page,
    course: Course,
    student_lab: Lab,
    finished: NotebookNode,
    paper: Paper,
    tmp_path: Path,
    axe: Callable[..., list[str]],
    scheme: str,
) -> None:
    """After `finished` was run, whose check cells recorded what held."""
    page.emulate_media(color_scheme=scheme)
    written = tmp_path / "progress.html"
    command = ("coursekit", "progress", "--html", str(written))
    run_command(course.root, *command, private=student_lab.private)
    page.goto(written.as_uri())
    checks = len(paper.others())
    expect(page.locator("body")).to_contain_text(f"{checks} of {checks} checks hold")
    screenshot(page, f"progress_{scheme}", full_page=True)
    assert not axe(page)
