"""The catalogue of misconceptions: wrong implementations with a name and a hint, one module per assignment.

A module shows a right implementation of each exercise as ordinary code and, below it, says how people get it wrong: most
often as an edit of that text, so that an entry reads like a correction in a code review.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import CodeType
from typing import Any

from autograder_tests.likeness import alike
from autograder_tests.subject import Subject, answer

__all__ = ["PREAMBLE", "Misconception", "load", "matches", "namespace_of", "wrong"]

# What every notebook imports in its first cell; catalogue entries and alternative solutions are run below it.
PREAMBLE = """\
import math

import matplotlib.pyplot as plt
import numpy as np
import sympy as sp
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, TransformedDistribution

import flowlib
from flowlib import data, plotting, symbolic, verify
"""

PATIENCE = 10.0  # seconds


@dataclass(frozen=True)
class Misconception:
    """A wrong implementation of `exercise`.

    Attributes:
        exercise: the name the student defines; also the grade id of the solution cell.
        name: of the mistake, unique within the exercise.
        hint: what a student with this mistake should read: a question or the reason, never the line of code.
        source: the wrong implementation as Python text that stands alone below `PREAMBLE`.
        right: the right implementation beside it, likewise.
    """

    exercise: str
    name: str
    hint: str
    source: str
    right: str

    def namespace(self) -> dict[str, Any]:
        """A fresh namespace in which the wrong implementation is defined."""
        return namespace_of(self.source, f"<{self.exercise}.{self.name}>")


@cache
def _preamble() -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(PREAMBLE, "<preamble>", "exec"), namespace)
    return namespace


@lru_cache(maxsize=4096)
def _compiled(source: str, filename: str) -> CodeType:
    """A search for hints runs every wrong implementation once a check: to compile each takes longer than many a call."""
    return compile(source, filename, "exec")


def namespace_of(source: str, filename: str = "<solution>") -> dict[str, Any]:
    """Run `source` below the preamble in a namespace of its own and return that."""
    namespace = dict(_preamble()) | {"__name__": "solution"}
    exec(_compiled(source, filename), namespace)
    return namespace


_ENTRIES: dict[str, list[Misconception]] = {}


def wrong(
    right: Callable[..., Any],
    name: str,
    *,
    hint: str,
    swap: Mapping[str, str] | None = None,
    code: str | None = None,
) -> Misconception:
    """Add a misconception about `right`, a function or class written out in the calling module.

    Args:
        right: the right implementation; its name is the exercise's.
        name: of the mistake, in snake_case.
        hint: what the student reads.
        swap: old text → new text, edits of the source of `right`; every old text must occur.
        code: the whole wrong implementation, where an edit would not show it.

    Raises:
        ValueError: neither or both of `swap` and `code`, a text that does not occur, or a name that is taken.
    """
    exercise = right.__name__
    if (swap is None) == (code is None):
        raise ValueError(f"{exercise}.{name}: expected either swap or code")
    right_source = textwrap.dedent(inspect.getsource(right))
    if code is None:
        assert swap is not None
        code = right_source
        for old, new in swap.items():
            if old not in code:
                raise ValueError(f"{exercise}.{name}: expected {old!r} in the source of {exercise}")
            code = code.replace(old, new)
    entry = Misconception(
        exercise, name, " ".join(hint.split()), textwrap.dedent(code).strip() + "\n", right_source
    )
    entries = _ENTRIES.setdefault(right.__module__.rsplit(".", 1)[-1], [])
    if any(e.exercise == exercise and e.name == name for e in entries):
        raise ValueError(f"{exercise}.{name} is in the catalogue twice")
    entries.append(entry)
    return entry


@cache
def load() -> Mapping[str, Sequence[Misconception]]:
    """Topic (module name, such as `masked_coupling`) → its misconceptions."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return {topic: tuple(entries) for topic, entries in sorted(_ENTRIES.items())}


def matches(
    names: Sequence[str], subject: Subject, rtol: float, among: Sequence[Misconception] | None = None
) -> list[Misconception]:
    """The wrong implementations of `names` that answer every recorded call as the student's code did.

    Calls that a right implementation answers likewise are no evidence of a mistake: then there is no match.
    A student waits for this: the search ends after `PATIENCE` seconds with what it has found.
    """
    found: list[Misconception] = []
    deadline = time.monotonic() + PATIENCE
    for name in names:
        entries = [e for topic in load().values() for e in topic if e.exercise == name]
        entries = [e for e in entries if among is None or e in among]
        if not entries or _answers_alike(entries[0].right, subject, rtol):
            continue
        for entry in entries:
            if time.monotonic() > deadline:
                return found
            if _answers_alike(entry.source, subject, rtol):
                found.append(entry)
    return found


def _answers_alike(source: str, subject: Subject, rtol: float) -> bool:
    """Whether the implementation in `source` answers the recorded calls as they were answered."""
    namespace = {**subject.namespace, **namespace_of(source)}
    # The last call is the one that broke the property: most implementations differ there first.
    return all(
        alike(answer(namespace, q, outside), result, rtol) for q, outside, result in reversed(subject.record)
    )
