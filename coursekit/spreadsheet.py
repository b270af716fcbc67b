"""CSV files that a spreadsheet opens as they were meant."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

__all__ = ["csv_text", "plain_cell"]


def plain_cell(text: str) -> str:
    """`text` as a spreadsheet shows it: one that begins like a formula gets a quote before it.

    A tab and a line break count, too: some programs skip them and take what follows for the formula (OWASP, "CSV
    injection").

    >>> plain_cell("=1+1"), plain_cell("s1")
    ("'=1+1", 's1')
    """
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠") else text


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as CSV; texts are made plain first, numbers stay numbers.

    >>> csv_text([["name", 1.5], ["=x", None]])
    "name,1.5\\r\\n'=x,\\r\\n"
    """
    text = io.StringIO()
    # Lines end in "\r\n": with another end Python 3.11 leaves a "\r" inside a field without its quotes.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([plain_cell(v) if isinstance(v, str) else v for v in row] for row in rows)
    return text.getvalue()
