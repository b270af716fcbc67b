"""The web site as its readers meet it: every page without a complaint, formulas drawn, search, dark mode, phone, buttons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, expect

from coursekit.new_class import Paper
from tests.course import ASSIGNMENTS, ROOT
from tests.e2e.browser import screenshot
from tests.e2e.conftest import NAME
from tests.e2e.visit import PHONE, Visit, settled

pytestmark = pytest.mark.e2e

COURSE_PAGE = f"course/{NAME}/{NAME}.html"


def wrong(visits: Sequence[Visit], aspect: str) -> str:
    """Pages with what is wrong about one aspect, to be read by a person."""
    return "\n".join(f"{v.path}: {found}" for v in visits if (found := getattr(v, aspect)))


def test_every_assignment_has_its_page(visits: Sequence[Visit]) -> None:
    assert {f"course/{name}/{name}.html" for name in ASSIGNMENTS} <= {v.path for v in visits}


def test_no_page_complains_or_asks_another_machine(visits: Sequence[Visit]) -> None:
    assert not wrong(visits, "complaints")


def test_formulas_are_drawn(visits: Sequence[Visit]) -> None:
    assert not wrong(visits, "raw_math")


def test_no_page_is_wider_than_a_phone(visits: Sequence[Visit]) -> None:
    assert not wrong(visits, "too_wide_for_a_phone")


def test_math_is_drawn_by_mathjax(page: Page, site: str) -> None:
    settled(page, f"{site}/{COURSE_PAGE}")
    assert page.locator("mjx-container").count() > 50
    expect(page.locator("mjx-container").first).to_be_visible()


def test_search_finds_the_page(page: Page, site: str) -> None:
    page.goto(f"{site}/index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("AdditiveCouplingLayer")
    page.keyboard.press("Enter")
    results = page.locator("#search-results li a")
    expect(results.filter(has_text=re.compile("masked coupling", re.I)).first).to_be_visible()
    screenshot(page, "site_search")
    results.filter(has_text=re.compile("masked coupling", re.I)).first.click()
    expect(page.locator("h1").first).to_contain_text(re.compile("masked coupling", re.I))


def test_dark_mode_is_chosen_and_stays(page: Page, site: str) -> None:
    page.emulate_media(color_scheme="light")
    settled(page, f"{site}/{COURSE_PAGE}")
    background = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Color mode").first.click()
    page.get_by_role("button", name="Dark").first.click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    screenshot(page, "site_dark")


def test_phone_has_a_menu_of_the_course(browser_phone: Page, site: str) -> None:
    settled(browser_phone, f"{site}/{COURSE_PAGE}")
    screenshot(browser_phone, "site_phone")
    browser_phone.get_by_role("button", name=re.compile("primary sidebar|navigation", re.I)).first.click()
    expect(browser_phone.get_by_role("link", name=re.compile("masked coupling", re.I)).first).to_be_visible()


@pytest.fixture
def browser_phone(page: Page) -> Page:
    page.set_viewport_size(PHONE)
    return page


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_launch_buttons_point_to_files_of_the_repository(page: Page, site: str, assignment: str) -> None:
    page.goto(f"{site}/course/{assignment}/{assignment}.html", wait_until="domcontentloaded")
    addresses = page.locator("a[href]").evaluate_all("links => links.map(link => link.href)")
    binder = {m[1] for a in addresses if (m := re.search(r"mybinder\.org/.*[?&]urlpath=lab/tree/(.+)", a))}
    colab = {
        m[1]
        for a in addresses
        if (m := re.search(r"colab\.research\.google\.com/github/.*/blob/\w+/(.+)", a))
    }
    assert {unquote(p) for p in binder | colab} == {f"course/{assignment}/{assignment}.ipynb"}
    assert binder
    assert colab
    assert all((ROOT / unquote(path)).is_file() for path in binder | colab)


def test_a_model_answer_is_folded_until_it_is_asked_for(page: Page, site: str, paper: Paper) -> None:
    exercise = paper.exercises[0]
    settled(page, f"{site}/{COURSE_PAGE}")
    answer = page.locator(f"#solution-{exercise} pre, #solution-{exercise} ~ * pre").first
    expect(answer).to_be_hidden()
    settled(page, f"{site}/{COURSE_PAGE}#solution-{exercise}")
    expect(page.locator(f"#solution-{exercise}")).to_be_in_viewport()
    expect(answer).to_be_visible()
    screenshot(page, "site_solution")
