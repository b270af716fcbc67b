"""The assignments' guides: exercises, folded helps, where names are defined. `coursekit.guide` makes them of the notebooks."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

__all__ = ["Exercise", "Guide", "UnknownExercise", "find", "load", "load_all"]


class UnknownExercise(ValueError):
    """No exercise goes by that name; the message says which there are."""

    def _render_traceback_(self) -> list[str]:
        return [f"UnknownExercise: {self}"]  # in Jupyter, in place of frames that are not the student's


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
    checks: tuple[Mapping[str, Any], ...]
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
        return (*self.answers, *(c["id"] for c in self.checks), self.heading)


@dataclass(frozen=True)
class Guide:
    """What an assignment's helper knows; see `coursekit.guide` for the fields."""

    course: str
    assignment: str
    release: str
    title: str
    source: str
    page: str
    distribution: str
    install: str
    exercises: tuple[Exercise, ...]
    defined: Mapping[str, str]


def load(assignment: str) -> Guide | None:
    """The guide of an assignment as it is on disk now; None when there is none that can be read.

    >>> load("03_masked_coupling").exercises[3].heading
    'Exercise 4 · Alternating masks'
    """
    try:
        path = resources.files(__package__) / "guide" / f"{assignment}.json"
        value = json.loads(path.read_bytes())
        exercises = tuple(Exercise(**_known(Exercise, e)) for e in value["exercises"])
        return Guide(**{**_known(Guide, value), "exercises": exercises})
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
    ):  # the installed files may be newer than this kernel's code
        return None


def load_all() -> list[Guide]:
    """The guides of all assignments, in their order."""
    folder = resources.files(__package__) / "guide"
    names = sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json"))
    return [guide for name in names if (guide := load(name)) is not None]


def find(what: Any, assignment: str | None) -> tuple[Guide, Exercise]:
    """The exercise that `what` means: an object or the name that it answers, a check's id, or the exercise's number.

    Args:
        assignment: is searched before all others; a number is one of its exercises.

    Raises:
        UnknownExercise: when there is none.
    """
    own = load(assignment) if assignment else None
    guides = [g for g in (own, *load_all()) if g is not None]
    if isinstance(what, int) and not isinstance(what, bool):
        found = [(own, e) for e in own.exercises if e.number == what] if own else []
        known = [str(e.number) for e in own.exercises] if own else []
    else:
        name = what if isinstance(what, str) else getattr(what, "__name__", getattr(what, "id", repr(what)))
        found = [(g, e) for g in guides for e in g.exercises if name in e.names]
        known = [n for g in guides[:1] for e in g.exercises for n in e.answers]
        close = difflib.get_close_matches(str(name), known, 1)
        known = close or known
        what = name
    if not found:
        raise UnknownExercise(f"no exercise is called {what!r}: expected {', '.join(known) or 'its name'}")
    return found[0]


def _known(kind: type, value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that `value` has; lists become tuples."""
    found = {f.name: value[f.name] for f in fields(kind)}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}
