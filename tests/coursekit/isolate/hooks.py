"""A course's checks module, as a child sees one: `answer_bytes` evaluates text among the student's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def answer_bytes(
    namespace: dict[str, Any], payload: bytes, outside: Callable[[bytes], bytes] | None = None
) -> bytes:
    """Evaluate the text `payload`; `ask(text)` in it calls the trusted side."""
    ask = (lambda text: outside(text.encode()).decode()) if outside is not None else None
    value = eval(payload.decode(), {**namespace, "ask": ask})
    return value if isinstance(value, bytes) else str(value).encode()
