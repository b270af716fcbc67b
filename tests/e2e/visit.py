"""One visit to each page of the web site: what was wrong with it, in a light and in a dark room, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.e2e import browser as browsers

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["PHONE", "Visit", "pages", "settled", "visit"]

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}

# Formulas that were not drawn: places for one without MathJax's element, and TeX's own signs in running text.
RAW_MATH = """() => {
    const left = [...document.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container"));
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = left.map(e => e.textContent);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        if (node.parentElement.closest("pre, code, .sig, script, style, mjx-container, .math, textarea")) continue;
        const tex = node.data.match(/\\$[^\\s$][^$]*\\$|\\\\[([]|\\\\begin\\{/);
        if (tex) found.push(node.data.trim());
    }
    return found.map(text => text.slice(0, 100));
}"""
# By how many pixels the page is wider than the window, and what sticks out and cannot be scrolled by itself.
TOO_WIDE = """() => {
    const room = document.documentElement.clientWidth;
    const excess = document.documentElement.scrollWidth - room;
    if (excess <= 0) return "";
    const scrolls = e => e && (["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
    const right = e => {
        const box = e.getBoundingClientRect();
        return e.clientWidth ? Math.max(box.right, box.left + e.scrollWidth) : box.right;
    };
    const wide = [...document.body.querySelectorAll("*")].filter(
        e => right(e) > room + 1 && !scrolls(e) && ![...e.children].some(child => right(child) > room + 1));
    return `${excess} px: ` + wide.slice(0, 3).map(e => e.outerHTML.slice(0, 120)).join(" | ");
}"""
COMPLETE = "() => !window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)"


@dataclass(frozen=True)
class Visit:
    """What was wrong with a page, each an empty list or text when nothing was."""

    path: str
    complaints: list[str]
    raw_math: list[str]
    too_wide_for_a_phone: str
    barriers_light: list[str]
    barriers_dark: list[str]


def settled(page: Page, address: str) -> None:
    """Open a page and wait until its formulas are drawn."""
    page.goto(address, wait_until="load")
    page.evaluate(COMPLETE)


def visit(browser: Browser, site: str, path: str, axe: Callable[..., list[str]]) -> Visit:
    """Visit one page of the site."""
    watch = browsers.Watch()
    with browsers.new_context(browser, viewport=DESK, color_scheme="light") as context:
        page = context.new_page()
        watch.on(page)
        settled(page, f"{site}/{path}")
        raw_math = page.evaluate(RAW_MATH)
        light = axe(page)
        page.set_viewport_size(PHONE)
        too_wide = page.evaluate(TOO_WIDE)
        page.set_viewport_size(DESK)
        page.emulate_media(color_scheme="dark")
        # Colors that fade would be measured half-way.
        page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
        dark = axe(page, rules=("color-contrast",))  # the others do not depend on colors
    return Visit(path, watch.problems, raw_math, too_wide, light, dark)


def pages(built: Path) -> list[str]:
    """The paths of the site's pages."""
    return sorted(p.relative_to(built).as_posix() for p in built.rglob("*.html") if "_static" not in p.parts)
