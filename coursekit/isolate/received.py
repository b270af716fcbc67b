"""Outputs of a cell, checked where they arrive from a child."""

from __future__ import annotations

import json
import re
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

__all__ = ["OutputsError", "checked_outputs", "is_count"]

MAX_OUTPUTS = 10_000
# Brackets and commas outside of texts: parsed, a megabyte of empty lists would take thirty.
MAX_STRUCTURE = 1_000_000
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class OutputsError(ValueError):
    """What arrived is not a list of nbformat outputs."""


def checked_outputs(data: bytes) -> list[NotebookNode]:
    """The outputs that a child has sent as JSON, made anew from the fields that nbformat knows.

    >>> checked_outputs(b'[{"output_type": "stream", "name": "stdout", "text": "hi", "x": 1}]')
    [{'output_type': 'stream', 'name': 'stdout', 'text': 'hi'}]

    Raises:
        OutputsError: for anything else.
    """
    try:
        if len(data) > MAX_STRUCTURE and len(_TEXTS.sub(b"", data)) > MAX_STRUCTURE:
            raise OutputsError("expected outputs of less structure")
        # NaN and Infinity would not be JSON again in the notebook's file.
        raw = json.loads(data, parse_constant=str)
        if not isinstance(raw, list) or len(raw) > MAX_OUTPUTS:
            raise OutputsError(f"expected a list of at most {MAX_OUTPUTS} outputs")
        return [_checked(o) for o in raw]
    except OutputsError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise OutputsError(f"malformed outputs: {type(error).__name__}") from None


def is_count(value: Any) -> bool:
    """Whether it can be the number of a cell."""
    return type(value) is int and 0 <= value < 2**31


def _checked(raw: dict[str, Any]) -> NotebookNode:
    kind = raw["output_type"]
    if kind == "stream":
        name = raw["name"] if raw["name"] in ("stdout", "stderr") else "stdout"
        return new_output("stream", name=name, text=_text(raw["text"]))
    if kind == "error":
        traceback = [_text(line) for line in raw["traceback"]]
        return new_output(
            "error", ename=_text(raw["ename"]), evalue=_text(raw["evalue"]), traceback=traceback
        )
    if kind not in ("display_data", "execute_result"):
        raise OutputsError(f"expected an output of nbformat, got {kind!r:.50}")
    extra = {}
    if kind == "execute_result":
        extra["execution_count"] = raw["execution_count"]
        if not is_count(raw["execution_count"]):
            raise OutputsError("expected a number as execution count")
    if not (isinstance(raw["data"], dict) and isinstance(raw["metadata"], dict)):
        raise OutputsError("expected data and metadata of a display")
    # Only JSON types of MIME hold anything but text.
    bundle = {_text(k): v if _text(k).endswith("json") else _text(v) for k, v in raw["data"].items()}
    return new_output(kind, data=_sound(bundle), metadata=_sound(raw["metadata"]), **extra)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise OutputsError(f"expected text, got {type(value).__name__}")
    # JSON may hold half of a surrogate pair, which no file can.
    return value.encode("utf-8", "replace").decode("utf-8")


def _sound(value: Any) -> Any:
    if isinstance(value, dict):
        return {_text(k): _sound(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_sound(v) for v in value]
    return _text(value) if isinstance(value, str) else value
