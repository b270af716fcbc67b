"""A Sphinx extension: links of the pages in docs/ that are written for the repository lead to the right place on the site.

On the site docs/ and course/ lie side by side, and the rest of the repository is elsewhere. So, of a page in docs/,

    ../course/NN/NN.ipynb              becomes the page of that notebook,
    ../course/NN/NN.ipynb#section-2    a place on it (`section-2` and `exercise-3` are ids of its headings),
    ../flowlib/flow.py                 a link to the file in the public repository.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from coursekit.course import Course

__all__ = ["SectionIds", "setup", "site_links"]

_LINK = re.compile(
    r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<path>(?:\.\./)+[^()\s#]*)(?:#(?P<place>[\w-]+))?\)"
)
_FENCED = re.compile(r"(^(`{3,}|~{3,}).*?^\2[ \t]*$)", re.M | re.S)


def site_links(text: str, page: str, repository: str, branch: str) -> str:
    """The Markdown of a page with its links out of docs/ as they are on the site; code blocks stay.

    Args:
        page: path of the page below docs/, without its ending.
        repository, branch: public address of the repository.

    >>> site_links("[a](../course/01/01.ipynb), [b](../Makefile)", "index", "https://host/course", "main")
    '[a](course/01/01.ipynb), [b](https://host/course/blob/main/Makefile)'
    >>> site_links("[2](../course/01/01.ipynb#section-2)", "glossary", "https://host/course", "main")
    '<a href="course/01/01.html#section-2">2</a>'
    """
    folder = posixpath.dirname(page)

    def on_site(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, match["path"]))
        if path.startswith("docs/"):
            return match[0]
        place = f"#{match['place']}" if match["place"] else ""
        if not (path.startswith("course/") and path.endswith(".ipynb")):
            kind = "blob" if posixpath.splitext(path)[1] or posixpath.basename(path)[:1].isupper() else "tree"
            return f"[{match['text']}]({repository}/{kind}/{branch}/{path}{place})"
        target = posixpath.relpath(path, folder or ".")
        if not place:
            return f"[{match['text']}]({target})"
        # Headings of notebooks have the same ids on all pages; Markdown's own targets must be unique in a site.
        return f'<a href="{target.removesuffix(".ipynb")}.html{place}">{match["text"]}</a>'

    parts = _FENCED.split(text)
    # Per fence the split gives the text before it, the fence, and its backticks.
    return "".join(
        _LINK.sub(on_site, part) if k % 3 == 0 else part for k, part in enumerate(parts) if k % 3 != 2
    )


class SectionIds(SphinxTransform):
    """The section "2 · …" of a notebook can be linked to as `#section-2`."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        """Add the ids; the page's own title, which has a number too, is no section."""
        for section in self.document.findall(nodes.section):
            title = section.next_node(nodes.title)
            found = re.match(r"(\d+) ·", title.astext()) if title is not None else None
            if found and isinstance(section.parent, nodes.section):
                section["ids"].append(f"section-{found[1]}")


def _read(app: Sphinx, docname: str, content: list[str]) -> None:
    if app.env.doc2path(docname).suffix == ".md" and not docname.startswith("course" + os.sep):
        settings = Course.find(app.confdir).settings
        content[0] = site_links(
            content[0], docname, settings["repository"].rstrip("/"), settings.get("branch", "main")
        )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the two."""
    app.connect("source-read", _read)
    app.add_transform(SectionIds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
