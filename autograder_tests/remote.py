"""A subject whose code lives in other processes, and the verdict that is reached without trusting them.

The check runs here, draws its inputs in secret and compares; the other side only answers calls (`subject.answer_bytes`).
Whatever comes back is data, decoded with every size checked: it can be wrong, never harmful.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from autograder_tests import plain
from autograder_tests.plain import Plain, Raised, Request
from autograder_tests.report import Outcome
from autograder_tests.subject import Outside, Subject

__all__ = ["Remote", "Transport", "verdict"]

# Sends a request's bytes to a process that holds the student's code and returns its answer's; the second argument serves
# the process's calls of the checker's own functions. Raises RuntimeError or OSError when there is no answer.
Transport = Callable[[bytes, Callable[[bytes], bytes]], bytes]


class Remote(Subject):
    """A `Local`'s verbs over bytes.

    Args:
        connect: makes a transport to a new process that holds the student's code. Two are made at the most, when they are
            needed: `fresh()` is the other one, which has not seen what this one was asked.
    """

    def __init__(self, connect: Callable[[], Transport]) -> None:
        self.namespace: dict[str, Any] = {}
        self.record: list[tuple[Request, Outside | None, Plain]] = []
        self._connect = connect
        self._transport: Transport | None = None
        self._other: Remote | None = None

    def ask(self, request: Request, outside: Outside | None = None) -> Plain:
        result = self._ask(request, outside)
        self.record.append((request, outside, result))
        return result

    def _ask(self, request: Request, outside: Outside | None) -> Plain:
        def serve(payload: bytes) -> bytes:
            match plain.decode(payload):
                case [int() as k, list() as values] if outside is not None:
                    return plain.encode(outside(k, values))
            raise plain.WireError("expected [k, arguments] of a function of the checker's")

        try:
            if self._transport is None:
                self._transport = self._connect()
            return plain.decode(self._transport(plain.encode(request), serve))
        except (RuntimeError, OSError, plain.WireError) as error:
            # The process died, took too long, or sent what is no answer: the student's doing, in each case.
            return Raised((type(error).__name__, "RuntimeError"), str(error)[:2000])

    def fresh(self) -> Remote:
        if self._other is None:
            self._other = Remote(self._connect)
            self._other.record, self._other._other = self.record, self
        return self._other


def verdict(assignment: str, check_id: str, subject: Subject, seed: int | None = None) -> Outcome:
    """What a check finds on secret inputs: the outcome that points are given for.

    Args:
        assignment, check_id: which check; its id is the grade id of the test cell.
        subject: a `Remote`, where the code is not to be trusted.
        seed: of the inputs; drawn from the system's entropy by default.

    Raises:
        KeyError: no such assignment or check.
    """
    from autograder_tests import checks_of

    # The lowest numbers are those of the notebooks' hidden tests.
    hidden = 1000 + (secrets.randbits(60) if seed is None else seed)
    return checks_of(assignment)[check_id].grade(subject, hidden=hidden)
