"""The instruments see what they are to see: on a page with every fault each of them finds its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.e2e.browser import Watch, new_context, new_page
from tests.e2e.server import serve
from tests.e2e.visit import visit

pytestmark = pytest.mark.e2e

FAULTY = """<!doctype html><html lang="en"><head><title>Faults</title></head><body><main>
<h1 style="white-space: nowrap; font-size: 60px">Wider than a phone is</h1>
<p style="color: #999; background: #fff">Pale. A price of $5, and $x + y$ undrawn.</p>
<p style="color: light-dark(#000, #333); background: light-dark(#fff, #000); color-scheme: light dark">Dark.</p>
<span class="math">x</span> <pre>$ pip install $x + y$</pre>
<img src="missing.png"><script src="https://example.org/far.js"></script>
<script>console.error("a complaint"); throw new Error("an exception");</script>
</main></body></html>"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("faulty")
    (folder / "index.html").write_text(FAULTY, encoding="utf-8")
    (folder / "favicon.ico").write_bytes(b"")
    with serve(folder) as address:
        yield address


def test_a_visit_finds_every_fault(browser: Browser, faulty: str, axe: Callable[..., list[str]]) -> None:
    found = visit(browser, faulty, "index.html", axe)
    complaints = "\n".join(found.complaints)
    for expected in ("console: a complaint", "exception: an exception", "HTTP 404: GET", "missing.png"):
        assert expected in complaints
    assert "request failed: https://example.org/far.js" in complaints
    assert found.raw_math[0] == "x"
    assert len(found.raw_math) == 2, found.raw_math  # the price and the terminal's prompt are none
    assert "<h1" in found.too_wide_for_a_phone
    barriers = "\n".join(found.barriers_light)
    assert "image-alt" in barriers
    assert "color-contrast" in barriers
    assert "Dark." in "\n".join(found.barriers_dark)


def test_a_complaint_fails_the_test_unless_it_is_allowed(browser: Browser, faulty: str) -> None:
    with pytest.raises(AssertionError, match="a complaint"), new_page(browser) as page:
        page.goto(faulty)
    allowed = ("a complaint", "an exception", "missing.png", r"example\.org")
    with new_page(browser, allowed=allowed) as page:
        page.goto(faulty)


def test_a_page_that_is_left_takes_back_its_requests_without_a_complaint(
    browser: Browser, faulty: str
) -> None:
    watch = Watch()
    with new_context(browser) as context:
        page = context.new_page()
        watch.on(page)
        page.goto("about:blank")
        page.evaluate(f"() => {{ fetch('{faulty}/index.html', {{ mode: 'no-cors' }}); }}")
        page.goto("about:blank")
    assert watch.problems == []
