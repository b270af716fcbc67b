"""A Sphinx extension: docstrings that are written to be read in a terminal, as reStructuredText.

`log|det ∂x/∂u|` would be a substitution and `(*batch, D)` the begin of emphasis. Between backticks is code, below `>>>` is a doctest:
both stay as they are.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

__all__ = ["as_restructured_text", "setup"]

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def as_restructured_text(lines: list[str]) -> list[str]:
    """The lines with `|` and `*` escaped and arXiv numbers linked, outside of code and doctests.

    >>> as_restructured_text(["log|det J| of `(*batch, D)`", "* an item, s*t", ">>> abs(-1) | 2"])
    ['log\\\\|det J\\\\| of `(*batch, D)`', '* an item, s\\\\*t', '>>> abs(-1) | 2']
    >>> as_restructured_text(["arXiv:1410.8516."])
    ['`arXiv:1410.8516 <https://arxiv.org/abs/1410.8516>`__.']
    """
    found, in_doctest, in_code = [], False, False
    for line in lines:
        in_doctest = line.lstrip().startswith(">>>") or (in_doctest and bool(line.strip()))
        if in_doctest:
            found.append(line)
            continue
        item = re.match(r"\s*\* ", line)
        start = item.end() if item else 0
        parts = [line[:start]]
        # Code may begin in one line and end in the next.
        for part in re.split(r"(`+)", line[start:]):
            if set(part) == {"`"}:
                in_code = not in_code
            elif not in_code:
                part = _ARXIV.sub(r"`\g<0> <https://arxiv.org/abs/\1>`__", re.sub(r"([|*])", r"\\\1", part))
            parts.append(part)
        in_code = in_code and bool(line.strip())
        found.append("".join(parts))
    return found


def _read(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_restructured_text(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register it before napoleon, which reads what it leaves."""
    app.connect("autodoc-process-docstring", _read, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
