"""A subject whose code lives in other processes, and the verdict that is reached without trusting them.

The check runs here, draws its inputs in secret and compares; the other side only answers calls (`subject.answer_bytes`).
Whatever comes back is data, decoded with every size checked: it can be wrong, never harmful.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from autograder_tests import plain
from autograder_tests.check import SECRET
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
        self._lost: Raised | None = None
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

        if self._lost is not None:
            return self._lost
        # The process died, took too long, or sent what is no answer: the student's doing, in each case.
        try:
            if self._transport is None:
                self._transport = self._connect()
            return plain.decode(self._transport(plain.encode(request), serve))
        except plain.WireError as error:
            return Raised((type(error).__name__, "RuntimeError"), str(error)[:2000])
        except (RuntimeError, OSError) as error:
            # Not asked again: each further request could take as long.
            self._lost = Raised((type(error).__name__, "RuntimeError"), str(error)[:2000])
            return self._lost

    def fresh(self) -> Remote:
        if self._other is None:
            self._other = Remote(self._connect)
            self._other.record, self._other._other = self.record, self
        return self._other


def verdict(
    assignment: str, check_id: str, connect: Callable[[], Transport], seed: int | None = None
) -> Outcome:
    """What a check finds on the visible case and then on secret inputs: the outcome that points are given for.

    A failed outcome that is `hidden` says that the student could not see the failure.

    Args:
        assignment, check_id: which check; its id is the grade id of the test cell.
        connect: makes a transport to a new process that holds the student's code, as for `Remote`.
        seed: of the inputs; drawn from the system's entropy by default.

    Raises:
        KeyError: no such assignment or check.
    """
    from autograder_tests import checks_of

    check, subject = checks_of(assignment)[check_id], Remote(connect)
    # Wrong answers may be NaN or of any type: what numpy thinks of that is nobody's business.
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = check.grade(subject)
        if not outcome.passed:
            return outcome
        return check.grade(subject, hidden=SECRET + (secrets.randbits(128) if seed is None else seed))
