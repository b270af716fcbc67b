"""Chromium as the tests start it, and a watch on what its pages complain about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.course import ROOT

if TYPE_CHECKING:  # Playwright is an extra: without it there is one message, no traceback
    from playwright.sync_api import Browser, BrowserContext, Page, Route

__all__ = ["ARGUMENTS", "ARTEFACTS", "LOCAL", "MATHJAX_CDN", "Watch", "new_page", "screenshot"]

ARTEFACTS = ROOT / "artefacts"
# Root's chromium has no sandbox; nothing of it phones home.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOCAL = {"127.0.0.1", "localhost"}
# nbgrader's and nbconvert's pages draw formulas with MathJax from its CDN. Without a network their TeX is shown.
MATHJAX_CDN = r"https://cdnjs\.cloudflare\.com/ajax/libs/mathjax/"
# A page that is left takes back what it was still fetching.
TAKEN_BACK = "net::ERR_ABORTED"


@dataclass
class Watch:
    """Errors on the console, exceptions, failed requests and requests to other machines, as one line each.

    `allowed` are regular expressions; each use of one stands beside the reason for it.
    """

    allowed: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    def on(self, page: Page) -> None:
        """Watch this page from now on."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _note(self, text: str) -> None:
        if not any(re.search(pattern, text) for pattern in self.allowed):
            self.problems.append(text[:500])

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self._note(f"console: {message.text} ({message.location.get('url', '')})")

    def _failed(self, request: Any) -> None:
        if request.failure != TAKEN_BACK:
            self._note(f"request failed: {request.url}: {request.failure}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self._note(f"HTTP {response.status}: {response.request.method} {response.url}")


def _elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in LOCAL


def _refuse(route: Route) -> None:
    """No page needs another machine; refused here, so that a machine with a network finds the same errors."""
    route.abort("internetdisconnected")


@contextmanager
def new_context(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A fresh profile, 1280 × 900 unless told otherwise, that reaches this machine alone."""
    context = browser.new_context(
        **{"viewport": {"width": 1280, "height": 900}, "locale": "en-US", **options}
    )
    context.route(_elsewhere, _refuse)
    context.set_default_timeout(60_000)
    try:
        yield context
    finally:
        context.close()


@contextmanager
def new_page(browser: Browser, *, allowed: Iterable[str] = (), **options: Any) -> Iterator[Page]:
    """A page in a profile of its own; on leaving, what it complained about is an error.

    Raises:
        AssertionError: with every complaint that no pattern of `allowed` matches.
    """
    watch = Watch(tuple(allowed))
    with new_context(browser, **options) as context:
        page = context.new_page()
        watch.on(page)
        yield page
    assert not watch.problems, "\n".join(watch.problems)


def screenshot(page: Page, name: str, *, full_page: bool = False) -> Path:
    """Keep a picture of the page as `artefacts/NAME.png`."""
    path = ARTEFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=full_page)
    return path
