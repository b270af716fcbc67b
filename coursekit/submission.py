"""Read what a student handed in, whatever it is: bytes in, plain cells out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import nbformat

__all__ = ["MAX_BYTES", "Submission", "SubmittedCell", "UnreadableError", "read_submission"]

MAX_BYTES = 20_000_000
MAX_CELLS = 5_000
# Code is parsed by the grader itself, which costs memory and time; a term's notebooks have a hundredth of this.
MAX_CODE = 1_000_000
_PICTURES = ("image/png", "image/jpeg", "image/gif")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")


class UnreadableError(ValueError):
    """The bytes are no notebook; the message completes 'the file …'."""


@dataclass(frozen=True)
class SubmittedCell:
    """All that is kept of a submitted cell: its text, and what helps to tell which cell it is."""

    cell_type: str
    source: str
    grade_id: str | None = None
    cell_id: str | None = None
    attachments: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """A submitted notebook; `assignment` and `release` are what its metadata claim."""

    cells: tuple[SubmittedCell, ...]
    assignment: str | None = None
    release: str | None = None
    flags: tuple[str, ...] = ()


def read_submission(data: bytes, max_bytes: int = MAX_BYTES) -> Submission:
    """The submission in `data`.

    Raises:
        UnreadableError: empty, too large, not a notebook, or of a format this cannot read.
    """
    if not data.strip():
        raise UnreadableError("is empty")
    if len(data) > max_bytes:
        raise UnreadableError(f"has {len(data) / 1e6:.0f} MB, more than {max_bytes / 1e6:.0f} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8 text") from None
    if text.lstrip().startswith("<"):
        raise UnreadableError("is a web page or XML, not a notebook")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"is not valid JSON ({error})") from None
    if not isinstance(raw, dict) or not isinstance(raw.get("nbformat"), int):
        raise UnreadableError("is JSON but no notebook")
    flags = []
    if raw["nbformat"] < 4:
        flags.append(f"old format: nbformat {_short(raw['nbformat'])}, converted")
        raw = _upgraded(text, raw["nbformat"])
    elif raw["nbformat"] > 4:
        raise UnreadableError(f"has notebook format {_short(raw['nbformat'])}, newer than 4")
    if not isinstance(raw.get("cells"), list):
        raise UnreadableError("is a notebook without a list of cells")
    if len(raw["cells"]) > MAX_CELLS:
        raise UnreadableError(f"has {len(raw['cells'])} cells, more than {MAX_CELLS}")
    cells = [_cell(c) for c in raw["cells"]]
    if None in cells:
        flags.append(f"damaged: {cells.count(None)} cells without type or text left out")
    size = sum(len(c.source) for c in cells if c is not None and c.cell_type == "code")
    if size > MAX_CODE:
        raise UnreadableError(
            f"has {size / 1e6:.1f} million characters of code, more than {MAX_CODE / 1e6:g}"
        )
    course = _dict(_dict(raw.get("metadata")).get("coursekit"))
    return Submission(
        tuple(c for c in cells if c is not None),
        _text(course.get("assignment")),
        _text(course.get("release")),
        tuple(flags),
    )


def _upgraded(text: str, version: int) -> dict[str, Any]:
    try:
        return nbformat.convert(nbformat.reads(text, as_version=nbformat.NO_CONVERT), 4)
    except Exception as error:  # whatever stands in a file of an old format
        raise UnreadableError(
            f"has notebook format {_short(version)} and cannot be converted ({_short(error)})"
        ) from None


def _cell(raw: Any) -> SubmittedCell | None:
    if not isinstance(raw, dict) or raw.get("cell_type") not in ("code", "markdown", "raw"):
        return None
    source = raw.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return None
    source = _sound(source)
    grader = _dict(_dict(raw.get("metadata")).get("nbgrader"))
    attachments = _attachments(raw.get("attachments")) if raw["cell_type"] == "markdown" else {}
    return SubmittedCell(
        raw["cell_type"], source, _text(grader.get("grade_id")), _text(raw.get("id")), attachments
    )


def _attachments(raw: Any) -> dict[str, dict[str, str]]:
    """Pictures in a written answer; anything else is dropped."""
    kept = {}
    for name, bundle in _dict(raw).items():
        # A page puts the data between quotes: nothing else may be in it.
        pictures = {
            k: v
            for k, v in _dict(bundle).items()
            if k in _PICTURES and isinstance(v, str) and _BASE64.fullmatch(v)
        }
        if pictures:
            kept[_sound(name)] = pictures
    return kept


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return _sound(value) if isinstance(value, str) else None


def _sound(text: str) -> str:
    """JSON may hold half of a surrogate pair, which no file can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _short(value: Any) -> str:
    """What a message may quote of a file."""
    return _sound(" ".join(str(value).split()))[:100]
