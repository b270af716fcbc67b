"""Make what a student's process has put out safe to look at: a page with its scripts would act with the grader's rights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from nbconvert.filters.markdown_mistune import InvalidNotebook, IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

__all__ = ["page_markdown", "safe_html", "safe_markdown", "safe_output"]

_TAGS = frozenset(
    [
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "caption",
        "center",
        "code",
        "col",
        "colgroup",
        "dd",
        "del",
        "details",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "kbd",
        "li",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "tt",
        "u",
        "ul",
        "var",
    ]
)
_ATTRIBUTES = {
    "*": ["class", "style", "title", "align", "dir", "lang", "aria-label", "role"],
    "a": ["href"],
    "img": ["src", "alt", "width", "height"],
    "td": ["colspan", "rowspan"],
    "th": ["colspan", "rowspan", "scope"],
    "ol": ["start"],
}
# Text that a page shows as text.
_TEXTS = ("text/plain", "text/latex", "text/markdown")
_PICTURES = ("image/png", "image/jpeg", "image/gif")
# A page puts a picture's data between quotes: nothing else may be in it.
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")
DROPPED = "(this output was left out: {} is not shown)"


@cache
def _cleaner() -> bleach.Cleaner:
    return bleach.Cleaner(
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        protocols=["http", "https", "mailto", "data"],
        strip=True,
        strip_comments=True,
        # Anything that covers the page, or fetches something, would be more than style.
        css_sanitizer=CSSSanitizer(
            allowed_css_properties=[
                *(
                    "background-color",
                    "border-bottom",
                    "border-collapse",
                    "border-left",
                    "border-right",
                    "border-spacing",
                ),
                *(
                    "border-top",
                    "color",
                    "font-family",
                    "font-size",
                    "font-style",
                    "font-weight",
                    "padding",
                    "text-align",
                ),
                *("text-decoration", "vertical-align", "white-space", "width", "border", "margin"),
            ]
        ),
    )


def safe_html(text: str) -> str:
    """`text` without scripts, event handlers, forms, frames and whatever else is more than text and tables.

    >>> safe_html('<b onclick="x()">bold</b><script>alert(1)</script>')
    '<b>bold</b>alert(1)'
    """
    return _cleaner().clean(text)


def safe_markdown(source: str, attachments: Mapping[str, Any] | None = None) -> str:
    """The HTML of Markdown, raw HTML in it made safe; a picture that is not among `attachments` is left out.

    >>> safe_markdown("*a* $x<y$ <img src=x onerror=alert(1)>")
    '<p><em>a</em> $x&lt;y$ <img src="x"></p>\\n'
    """
    made = IPythonRenderer(escape=False, attachments=attachments or {})
    try:
        page = MarkdownWithMath(renderer=made).render(source)
    except InvalidNotebook:  # nbconvert would give up the whole page for one picture
        page = MarkdownWithMath(renderer=made).render(source.replace("attachment:", "missing-attachment:"))
    return safe_html(page)


@pass_context
def page_markdown(context: Any, source: str) -> str:
    """`safe_markdown` of the cell that is being shown; nbgrader_config.py puts it in nbconvert's place."""
    return safe_markdown(source, (context.get("cell") or {}).get("attachments"))


def safe_output(output: NotebookNode) -> NotebookNode:
    """An output that holds only what can be shown without running it."""
    if output.output_type not in ("display_data", "execute_result"):
        return output
    shown = {k: v for k, v in output.data.items() if isinstance(v, str)}
    kept: dict[str, Any] = {k: v for k, v in shown.items() if k in _TEXTS}
    kept |= {k: v for k, v in shown.items() if k in _PICTURES and _BASE64.fullmatch(v)}
    if isinstance(output.data.get("text/html"), str):
        kept["text/html"] = safe_html(output.data["text/html"])
    if not kept:
        kept["text/plain"] = DROPPED.format(", ".join(sorted(output.data))[:100] or "nothing")
    output.data, output.metadata = NotebookNode(kept), NotebookNode()
    return output
