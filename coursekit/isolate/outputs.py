"""Outputs of a cell, collected where it runs."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

__all__ = ["CUT", "Collector", "Stream"]

# Fewer than the trusted side takes.
MAX_OUTPUTS = 5_000
CUT = "\n… more output was cut off\n"


def _alone(method: Callable[..., Any]) -> Callable[..., Any]:
    """One thread at a time."""

    @wraps(method)
    def locked(self: Collector, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class Collector:
    """Outputs of the cell that runs, as plain dicts of nbformat 4, up to `most` characters; errors are always kept.

    Threads that a cell has left running may write at any time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.RLock()
        self.begin()

    @_alone
    def begin(self) -> None:
        """Forget everything: a new cell begins."""
        self.outputs: list[dict[str, Any]] = []
        self._displayed: dict[str, list[dict[str, Any]]] = {}
        self._parts: list[str] | None = None  # of the stream that is being written
        self._used = 0
        self._wait_to_clear = False

    @_alone
    def finish(self) -> list[dict[str, Any]]:
        """All outputs of the cell; what threads add later is not among them."""
        self._close_stream()
        return [dict(output) for output in self.outputs]

    @_alone
    def write(self, name: str, text: str) -> None:
        """Add to a stream, which goes on as long as nothing else comes between."""
        if self._used > self.most:
            return
        self._clear_if_asked()
        if self._parts is None or self.outputs[-1]["name"] != name:
            self._close_stream()
            self.outputs.append({"output_type": "stream", "name": name, "text": ""})
            self._parts = []
        self._parts.append(text[: self.most - self._used])
        self._spend(len(text))

    @_alone
    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str | None = None) -> None:
        """`display(…)`: a new output."""
        made = {"output_type": "display_data", "data": _plain(data), "metadata": _plain(metadata)}
        if self._add(made) and display_id is not None:
            self._displayed.setdefault(display_id, []).append(made)

    @_alone
    def update(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str | None) -> None:
        """`update_display(…)`: new content of an output that this cell has already shown."""
        new = {"data": _plain(data), "metadata": _plain(metadata)}
        for made in self._displayed.get(display_id or "", ()):
            if self._spend(len(json.dumps(new))):
                made.update(new)

    @_alone
    def result(self, data: dict[str, Any], metadata: dict[str, Any], count: int) -> None:
        """The value of a cell's last expression."""
        data, metadata = _plain(data), _plain(metadata)
        self._add(
            {"output_type": "execute_result", "data": data, "metadata": metadata, "execution_count": count}
        )

    @_alone
    def error(self, name: str, value: str, traceback: list[str]) -> None:
        """An exception; kept whatever was shown before it, but not at any length."""
        self._clear_if_asked()
        self._close_stream()
        lines, left = [], self.most
        for line in traceback:
            lines.append(line[:left])
            left -= len(line)
            if left <= 0:
                break
        made = {"output_type": "error", "ename": name, "evalue": value[: self.most], "traceback": lines}
        self.outputs.append(made)

    @_alone
    def clear(self, wait: bool = False) -> None:
        """`clear_output(wait)`."""
        self._wait_to_clear = wait
        if not wait:
            self._close_stream()
            self.outputs.clear()
            self._displayed.clear()

    def _clear_if_asked(self) -> None:
        if self._wait_to_clear:
            self.clear()

    def _add(self, output: dict[str, Any]) -> bool:
        self._clear_if_asked()
        self._close_stream()
        if self._used > self.most or not self._spend(len(json.dumps(output))):
            return False
        self.outputs.append(output)
        return True

    def _spend(self, size: int) -> bool:
        if self._used > self.most:
            return False
        self._used += size if len(self.outputs) < MAX_OUTPUTS else self.most
        if self._used <= self.most:
            return True
        self._close_stream()
        self.outputs.append({"output_type": "stream", "name": "stdout", "text": CUT})
        return False

    def _close_stream(self) -> None:
        if self._parts is not None:
            self.outputs[-1]["text"] = "".join(self._parts)
            self._parts = None


class Stream(io.TextIOBase):
    """What `sys.stdout` or `sys.stderr` is while cells run."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, collector: Collector) -> None:
        self.name = name
        self._collector = collector

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._collector.write(self.name, text)
        return len(text)


def _plain(value: Any) -> Any:
    """Data for JSON: bytes become base64, as a notebook stores pictures."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)
