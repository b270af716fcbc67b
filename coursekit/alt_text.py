"""Alternative texts of pictures, made from the paragraphs that describe them."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["DESCRIPTION", "alt_text", "description_in"]

# How the paragraph below a picture starts.
DESCRIPTION = "**Figure.**"
# Long enough for what is seen; the paragraph itself, which every reader has, says the rest.
LENGTH = 300

_PARAGRAPH = re.compile(re.escape(DESCRIPTION) + r"\s+(.+?)(?:\n[ \t]*\n|\Z)", re.S)
_MATH = re.compile(r"\$\$?(.+?)\$\$?", re.S)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{([^{}]*)\}|(\w))\s*(?:\{([^{}]*)\}|(\w))")
_COMMAND = re.compile(r"\\([A-Za-z]+)\s*|\\(.)\s?")
# TeX commands that have a sign of their own and whose name nobody would say.
_SIGNS = {
    "mid": " | ",
    "top": "T",
    "times": " × ",
    "cdot": " · ",
    "pm": "±",
    "infty": "∞",
    "le": " ≤ ",
    "leq": " ≤ ",
    "ge": " ≥ ",
    "geq": " ≥ ",
    "ne": " ≠ ",
    "approx": " ≈ ",
    "sim": " ~ ",
    "to": " → ",
    "mapsto": " ↦ ",
    "partial": "∂",
    "in": " in ",
    "dots": "…",
    "ldots": "…",
    "quad": " ",
    "qquad": " ",
    "left": "",
    "right": "",
    "mathcal": "",
    "mathbb": "",
    "mathrm": "",
    "text": "",
    "operatorname": "",
    "bigl": "",
    "bigr": "",
}


def description_in(markdown: str) -> str | None:
    """The paragraph that starts with `**Figure.**` in a text cell, without these words; None when there is none.

    >>> description_in("**Figure.** A line\\nthat rises.\\n\\nMore.")
    'A line\\nthat rises.'
    """
    found = _PARAGRAPH.search(markdown)
    return found[1].strip() if found else None


def alt_text(description: str, length: int = LENGTH) -> str:
    """The first sentences of a description as plain text, about `length` characters, never less than one sentence.

    >>> alt_text("Where $\\\\sigma^2 \\\\leq 1$ the *blue* curve rises. It ends at `x = 3`.")
    'Where σ^2 ≤ 1 the blue curve rises. It ends at x = 3.'
    >>> alt_text("One sentence. Another one.", length=5)
    'One sentence.'
    """
    text = _MATH.sub(lambda found: _spoken(found[1]), description)
    text = _LINK.sub(r"\1", text)
    text = re.sub(r"\*\*|`|(?<!\w)[*_]|[*_](?!\w)", "", text)
    first, *others = _SENTENCE.split(" ".join(text.split()))
    for sentence in others:
        if len(first) + 1 + len(sentence) > length:
            break
        first += f" {sentence}"
    return first if first.endswith((".", "!", "?")) else first.rstrip(";") + "."


def _spoken(tex: str) -> str:
    """TeX as one would type it in plain text."""
    plain = _FRACTION.sub(lambda found: f"{found[1] or found[2]}/{found[3] or found[4]}", tex)
    plain = _COMMAND.sub(_command, plain)
    return re.sub(r"\s+", " ", re.sub(r"[{}]", "", plain)).strip()


def _command(found: re.Match[str]) -> str:
    name = found[1]
    if name is None:  # spaces such as \, and escaped signs such as \|
        return " " if found[2] in ",;:! " else found[2]
    if name in _SIGNS:
        return _SIGNS[name]
    case = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {name.upper().removeprefix('VAR')}")
    except KeyError:
        return f" {name} "
