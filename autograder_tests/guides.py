"""The assignments' guides as they are installed, and how an exercise is found in them."""

from __future__ import annotations

import difflib
from importlib import resources
from typing import Any

from coursekit.guide_file import Exercise, Guide, parse

__all__ = ["Exercise", "Guide", "UnknownExercise", "find", "load", "load_all"]


class UnknownExercise(ValueError):
    """No exercise goes by that name; the message says which there are."""

    def _render_traceback_(self) -> list[str]:
        return [f"UnknownExercise: {self}"]  # in Jupyter, in place of frames that are not the student's


def load(assignment: str) -> Guide | None:
    """The guide of an assignment as it is on disk now; None when there is none that can be read.

    >>> load("03_masked_coupling").exercises[3].heading
    'Exercise 4 · Alternating masks'
    """
    try:
        return parse((resources.files(__package__) / "guide" / f"{assignment}.json").read_bytes())
    except (OSError, ValueError):  # the installed files may be newer than this kernel's code
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
