"""A guide as it is read: exercises, folded helps, where names are defined. `coursekit.guide` makes guides, and says what is in one.

The standard library alone: what checks in notebooks import must run on Colab, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["CheckCell", "Exercise", "Guide", "parse"]


@dataclass(frozen=True)
class CheckCell:
    """A check of an exercise: its id, what it wants, and the points that it gives."""

    id: str
    title: str
    points: float


@dataclass(frozen=True)
class Exercise:
    """An exercise of a notebook; see `coursekit.guide` for the fields."""

    number: int | None
    title: str
    difficulty: int | None
    words: str
    minutes: int | None
    points: float
    answers: tuple[str, ...]
    checks: tuple[CheckCell, ...]
    helps: tuple[Mapping[str, str], ...]

    @property
    def heading(self) -> str:
        return f"Exercise {self.number} · {self.title}" if self.number else self.title

    @property
    def key(self) -> str:
        """A name that finds it: its first answer's."""
        return self.answers[0] if self.answers else self.heading

    @property
    def names(self) -> tuple[str, ...]:
        """All names that find it."""
        return (*self.answers, *(c.id for c in self.checks), self.heading)


@dataclass(frozen=True)
class Guide:
    """What a helper knows of an assignment; see `coursekit.guide` for the fields."""

    course: str
    assignment: str
    release: str
    title: str
    notebook: str
    source: str
    page: str
    distribution: str
    install: str
    exercises: tuple[Exercise, ...]
    defined: Mapping[str, str]


def parse(data: bytes) -> Guide:
    """The guide whose file has this content; what it says beyond the fields is passed over.

    >>> parse(b'{"course": "flows"}')
    Traceback (most recent call last):
    ...
    ValueError: no guide (KeyError: 'assignment')

    Raises:
        ValueError: it is none, or one of another version of this code.
    """
    try:
        value = json.loads(data)
        return Guide(**{**_known(Guide, value), "exercises": tuple(map(_exercise, value["exercises"]))})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no guide ({type(error).__name__}: {error})") from error


def _exercise(value: Mapping[str, Any]) -> Exercise:
    checks = tuple(CheckCell(**_known(CheckCell, c)) for c in value["checks"])
    return Exercise(**{**_known(Exercise, value), "checks": checks})


def _known(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that `value` has; lists become tuples."""
    found = {f.name: value[f.name] for f in fields(kind)}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}
