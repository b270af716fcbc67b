"""Right solutions written differently get full marks, in visible and hidden checks, also through the wire."""

from __future__ import annotations

import os
import warnings
from functools import partial

import pytest

from autograder_tests import Local, checks_of, topics
from autograder_tests.catalogue import namespace_of
from autograder_tests.check import SECRET
from tests.course import ROOT, contract_names, sections, solutions

LUCK = int(os.environ.get("COURSE_TEST_SECRETS", "8"))
FOLDER = ROOT / "tests" / "alternatives"
CASES = [
    (assignment, name, style, source)
    for assignment, topic in topics().items()
    if (FOLDER / f"{topic}.py").exists()
    for name, style, source in sections(FOLDER / f"{topic}.py")
]


# They are right, and take a minute each: one number at a time.
SLOW = {
    ("free_energy", "one draw at a time"),
    ("importance_weighted_log_likelihood", "one example at a time"),
}
# Two hidden cases of each where there is time.
HIDDEN = (1, 2) if os.environ.get("COURSE_TEST_ALL") else (1,)


@pytest.mark.parametrize(
    ("assignment", "name", "style", "source"),
    [pytest.param(*c, marks=[pytest.mark.slow] if c[1:3] in SLOW else []) for c in CASES],
    ids=lambda p: p if len(p) < 60 else "",
)
def test_alternative_gets_full_marks(assignment: str, name: str, style: str, source: str, capsys) -> None:
    others = [s for n, s in solutions(assignment).items() if n != name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a right solution may warn
        subject = Local(lambda: namespace_of("\n\n".join([*others, source])), through_bytes=True)
        for c in checks_of(assignment).values():
            if name in c.names:
                for hidden in (None, *HIDDEN):
                    outcome = c.grade(subject, hidden=hidden)
                    assert outcome.passed, f"hidden={hidden}\n{outcome}"


@pytest.mark.slow
@pytest.mark.parametrize("assignment", topics())
def test_no_right_solution_fails_by_luck(assignment: str) -> None:
    """One student in a class of 300 must not lose a point to an unlucky draw."""
    secrets = [SECRET + 15_485_863 * k for k in range(1, LUCK + 1)]
    right = [(None, "reference", ""), *((n, style, s) for a, n, style, s in CASES if a == assignment)]
    unlucky = []
    for name, style, source in right:
        others = [s for n, s in solutions(assignment).items() if n != name]
        subject = Local(partial(namespace_of, "\n\n".join([*others, source])))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for c in checks_of(assignment).values():
                if name is None or name in c.names:
                    outcomes = (c.grade(subject, hidden=k, explain=False) for k in secrets)
                    unlucky += [(name, style, str(o)) for o in outcomes if not o.passed]
    assert not unlucky, "\n\n".join(f"{n} ({style}): {o}" for n, style, o in unlucky)


@pytest.mark.parametrize("assignment", topics())
def test_enough_styles(assignment: str) -> None:
    graded = {n for c in checks_of(assignment).values() for n in c.names}
    for name in graded:
        count = sum(a == assignment and n == name for a, n, _, _ in CASES)
        wanted = 4 if name in contract_names() else 2
        assert count >= wanted, (
            f"{assignment}: {name} has {count} alternative solutions, expected at least {wanted}"
        )
