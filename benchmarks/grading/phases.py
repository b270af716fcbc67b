"""Where a process's time goes: named functions timed without what they call of each other."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

__all__ = ["Phases", "timed"]


class Phases:
    """Seconds and calls by phase. Of calls inside each other each has its own seconds alone."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._inner: list[float] = []

    def add(self, name: str, function: Any) -> Any:
        """`function`, timed as a part of phase `name`."""
        owner = threading.get_ident()

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != owner:
                return function(*args, **kwargs)
            began = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - began
                self.seconds[name] += spent - self._inner.pop()
                self.calls[name] += 1
                if self._inner:
                    self._inner[-1] += spent

        return wrapper

    def rows(self, submissions: int) -> dict[str, dict[str, float]]:
        """For each phase, the costliest first: milliseconds and calls a submission."""
        return {
            name: {
                "ms": round(1000 * seconds / submissions, 2),
                "calls": round(self.calls[name] / submissions, 2),
            }
            for name, seconds in self.seconds.most_common()
        }


@contextlib.contextmanager
def timed(phases: Mapping[str, list[tuple[Any, str]]]) -> Iterator[Phases]:
    """Time functions in this thread: phase → (module or class, name) of each of its functions.

    >>> import json
    >>> with timed({"read": [(json, "loads")]}) as found:
    ...     _ = [json.loads("1") for _ in range(3)]
    >>> found.calls["read"]
    3
    """
    made = Phases()
    with contextlib.ExitStack() as stack:
        for phase, functions in phases.items():
            for where, name in functions:
                stack.enter_context(patch.object(where, name, made.add(phase, getattr(where, name))))
        yield made
