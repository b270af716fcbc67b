"""Checks of the course's exercises and the catalogue of wrong implementations behind their hints.

>>> from autograder_tests.checks import masked_coupling as check
>>> sorted(c.id for c in checks_of("03_masked_coupling").values())[0]
'additive_formula'
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from autograder_tests import catalogue, checks
from autograder_tests.catalogue import Misconception
from autograder_tests.check import Case, Check, check
from autograder_tests.compare import Mismatch, has_shape, require, same
from autograder_tests.plain import Expression, Make
from autograder_tests.remote import Remote, verdict
from autograder_tests.report import CheckFailed, Outcome
from autograder_tests.subject import Local, StudentError, answer_bytes

__all__ = [
    "Case",
    "Check",
    "CheckFailed",
    "Expression",
    "Local",
    "Make",
    "Misconception",
    "Mismatch",
    "Outcome",
    "Remote",
    "StudentError",
    "answer_bytes",
    "check",
    "checks_of",
    "has_shape",
    "misconceptions",
    "require",
    "same",
    "topics",
    "verdict",
]


def topics() -> dict[str, str]:
    """Assignment → topic: the module of that name holds its checks and its misconceptions.

    >>> topics()["03_masked_coupling"]
    'masked_coupling'
    """
    found = {}
    for module in pkgutil.iter_modules(checks.__path__):
        assignment = importlib.import_module(f"{checks.__name__}.{module.name}").ASSIGNMENT
        found[assignment] = module.name
    return dict(sorted(found.items()))


def checks_of(assignment: str) -> dict[str, Check]:
    """The checks of an assignment by id, which is the grade id of their test cell.

    Raises:
        KeyError: for an assignment without checks.
    """
    module = importlib.import_module(f"{checks.__name__}.{topics()[assignment]}")
    return {c.id: c for c in vars(module).values() if isinstance(c, Check)}


def misconceptions(assignment: str) -> Sequence[Misconception]:
    """The wrong implementations of an assignment's exercises.

    Raises:
        KeyError: for an assignment without checks.
    """
    return catalogue.load().get(topics()[assignment], ())
