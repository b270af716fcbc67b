"""A check: one property of a student's code, tested on random inputs; the same function for every use.

`check(...)` makes a `Check` of a function `(subject, case)`. In a notebook one calls it with the student's objects and reads
the report; tests, the catalogue and trusted grading call `run` with a subject of theirs and read the `Outcome`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autograder_tests import coach, session
from autograder_tests.catalogue import matches
from autograder_tests.compare import Mismatch
from autograder_tests.report import CheckFailed, Outcome, show_report
from autograder_tests.subject import Local, StudentError, Subject

__all__ = ["Case", "Check", "check"]

LONGEST = 2000  # characters of each text of a report: some are the student's own, of any length
SECRET = 1 << 32  # salts from here on are secret
SHOWN_HINTS = 2  # that a report may list when several mistakes give the same numbers


class Case:
    """The random inputs of one run of a check; hidden runs are larger and have other shapes.

    Args:
        seed: of every draw.
        hidden: False for the cases a student sees (small sizes, so that the report is readable).
    """

    def __init__(self, seed: int, hidden: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.seed, self.hidden = seed, hidden
        self.advice: list[str] = []

    def pick(self, visible: Any, *hidden: Any) -> Any:
        """`visible` in the visible case, one of `hidden` in the others."""
        return hidden[int(self.rng.integers(len(hidden)))] if self.hidden and hidden else visible

    def integer(self) -> int:
        """A seed for a builder or a call."""
        return int(self.rng.integers(2**31))

    def normal(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return self.rng.normal(size=shape) * scale

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        return self.rng.uniform(low, high, size=shape)

    def mask(self, D: int) -> np.ndarray:
        """A float mask `(D,)` with at least one 0 and one 1; not symmetric under reversal where D allows."""
        while True:
            b = self.rng.integers(0, 2, D).astype(float)
            if 0 < b.sum() < D and (D < 3 or not np.array_equal(b, b[::-1])):
                return b

    def advise(self, holds: bool | np.bool_, text: str) -> None:
        """Good practice that carries no points: shown below a passed check when it does not hold."""
        if not bool(holds) and text not in self.advice:
            self.advice.append(text)


@dataclass(frozen=True)
class Check:
    """A property with the names it needs from the student. Call it with the objects of those names, in that order."""

    function: Callable[[Subject, Case], None]
    names: tuple[str, ...]
    hidden_runs: int
    match_rtol: float

    @property
    def id(self) -> str:
        """Also the grade id of its test cell."""
        return self.function.__name__

    @property
    def title(self) -> str:
        return (self.function.__doc__ or self.id).strip().splitlines()[0].rstrip(".")

    @property
    def __doc__(self) -> str:  # type: ignore[override]  # so that `check.name?` shows the property
        return self.function.__doc__ or ""

    def seed(self, salt: int = 0) -> int:
        """Visible runs draw from the check's name, so that everybody sees the same smallest example.

        A secret salt keeps all its bits: of 32 the student's code could try out many.
        """
        text = f"{self.id}/{salt}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()) if salt >= SECRET else zlib.crc32(text)

    def run(self, subject: Subject, case: Case) -> Outcome:
        """Run once and say what was found: passed, failed, an error of the student's code, or still open."""
        found: dict[str, Any] = {"check": self.id, "title": self.title}
        try:
            self.function(subject, case)
        except NotImplementedError:
            return Outcome(**found, status="open", what="still to be answered")
        except StudentError as error:
            what = f"your code raised {error.raised.type[:100]}: {error.raised.message}"
            return Outcome(**found, status="error", what=_shown(what), got=_shown(error.raised.where))
        except Mismatch as error:
            return Outcome(
                **found,
                status="failed",
                what=_shown(error.what),
                expected=_shown(error.expected),
                got=_shown(error.got),
                given={name: _shown(text) for name, text in error.given.items()},
            )
        return Outcome(**found, status="passed", advice=tuple(case.advice))

    def run_safely(self, subject: Subject, case: Case) -> Outcome:
        """`run`, and a failed outcome also where the check itself stumbles over an answer of a form nobody thought of."""
        try:
            return self.run(subject, case)
        except Exception as error:
            what = f"the answer has a form that this check cannot read ({type(error).__name__}: {error})"
            return Outcome(check=self.id, title=self.title, status="failed", what=what[:500])

    def grade(self, subject: Subject, *, hidden: int | None = None, explain: bool = True) -> Outcome:
        """All runs of one cell: the visible case, or `hidden_runs` hidden ones.

        A failure comes with the hints that match, unless `explain` is False: to find them takes longer than all else.
        """
        seeds = (
            [self.seed()]
            if hidden is None
            else [self.seed(hidden + 7919 * k) for k in range(self.hidden_runs)]
        )
        outcome = None
        for seed in seeds:
            subject.record.clear()
            outcome = replace(
                self.run_safely(subject, Case(seed, hidden is not None)), hidden=hidden is not None
            )
            if outcome.status in ("failed", "error"):
                return self.explain(outcome, subject) if explain else outcome
            if not outcome.passed:
                return outcome
        assert outcome is not None
        return outcome

    def explain(self, outcome: Outcome, subject: Subject) -> Outcome:
        """Replay the recorded calls on the wrong implementations; those that answer alike lend their hints.

        Where several do, the other checks of the same exercise are run for more evidence.
        """
        try:
            return self._explained(outcome, subject)
        except Exception:  # answers of a form that nobody thought of are like no mistake that is known
            return outcome

    def _explained(self, outcome: Outcome, subject: Subject) -> Outcome:
        found = matches(self.names, subject, self.match_rtol)
        if len(found) > 1:
            for sibling in self.siblings():
                sibling.run_safely(subject, Case(sibling.seed()))
            found = matches(self.names, subject, self.match_rtol, among=found) or found
        found = found[:SHOWN_HINTS]
        names = tuple(f"{m.exercise}.{m.name}" for m in found)
        return replace(outcome, hints=tuple(m.hint for m in found), misconceptions=names)

    def siblings(self) -> list[Check]:
        """The other checks of the same names."""
        others = vars(sys.modules[self.function.__module__]).values()
        return [c for c in others if isinstance(c, Check) and c.names == self.names and c is not self]

    def __call__(self, *objects: Any, hidden: int | None = None) -> None:
        """Check the student's objects; prints a report.

        Args:
            objects: the objects called `names`, in that order.
            hidden: a number that picks other seeds, sizes and batch shapes.

        Raises:
            CheckFailed: the property does not hold; the message says what was expected and found, and why if known.
            NotImplementedError: the exercise is still open.
        """
        if len(objects) != len(self.names):
            raise TypeError(
                f"{self.id} expects {len(self.names)} objects ({', '.join(self.names)}), got {len(objects)}"
            )
        subject = Local(dict(zip(self.names, objects, strict=True)))
        outcome = self.grade(subject, hidden=hidden, explain=os.environ.get(session.HINTS) != "0")
        session.note(self, outcome)
        if outcome.status == "open":
            names = ", ".join(self.names)
            raise NotImplementedError(
                f"{names}: still to be answered. Answered already? Run that cell again."
            )
        show_report(outcome, coach.below_report(outcome, self.names, session.assignment_of(self)))
        if not outcome.passed:
            raise CheckFailed(outcome)


def _shown(text: str) -> str:
    """`text` as a report may show it: not at any length, and without commands to a terminal."""
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def check(*names: str, hidden_runs: int = 2, match_rtol: float = 1e-6) -> Callable[[Callable], Check]:
    """Make a check of a function `(subject, case)` that raises `Mismatch` when its property does not hold.

    Args:
        names: what the student must have defined.
        hidden_runs: how many random cases the hidden test tries.
        match_rtol: how alike a wrong implementation's answers must be for its hint to be shown.
    """

    def decorate(function: Callable[[Subject, Case], None]) -> Check:
        return Check(function, names, hidden_runs, match_rtol)

    return decorate
