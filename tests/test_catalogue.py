"""Every wrong implementation is rejected by a check of its exercise, with its own hint; the right one passes them all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autograder_tests import Local, checks_of, misconceptions, topics
from autograder_tests.catalogue import Misconception, load, namespace_of
from autograder_tests.check import SECRET
from autograder_tests.report import Outcome
from tests.course import contract_names, solutions

ENTRIES = [(a, m) for a in topics() for m in misconceptions(a)]
HIDDEN = 1
# Secrets that are tried: a mistake that one in five of them lets through is found with 93 %.
LUCK = 12


def outcomes(assignment: str, name: str, namespace) -> Iterator[Outcome]:
    """Visible and hidden outcome of every check that needs `name`, other names taken from the solution; run as they are read."""
    subject = Local(namespace)
    for c in checks_of(assignment).values():
        if name in c.names:
            yield from (c.grade(subject, hidden=hidden) for hidden in (None, HIDDEN))


def with_mistake(assignment: str, entry: Misconception) -> str:
    """The source of all the assignment's answers, one of them wrong."""
    right = {n: s for n, s in solutions(assignment).items() if n != entry.exercise}
    return "\n\n".join([*right.values(), entry.source])


def passes(assignment: str, name: str, source: str, hidden: int | None) -> bool:
    """Whether every check that needs `name` passes, in a fresh namespace each."""
    checks = [c for c in checks_of(assignment).values() if name in c.names]
    return all(
        c.grade(Local(lambda: namespace_of(source)), hidden=hidden, explain=False).passed for c in checks
    )


@pytest.mark.parametrize(("assignment", "entry"), ENTRIES, ids=lambda p: getattr(p, "name", p))
def test_wrong_implementation_is_rejected_with_its_own_hint(assignment: str, entry: Misconception) -> None:
    source, own = with_mistake(assignment, entry), f"{entry.exercise}.{entry.name}"
    failed = []
    for outcome in outcomes(assignment, entry.exercise, lambda: namespace_of(source)):
        if outcome.status in ("failed", "error"):
            failed.append(outcome)
            if own in outcome.misconceptions:
                return  # to explain the others takes most of the time
    assert failed, f"{own} passes every check"
    seen = sorted({m for o in failed for m in o.misconceptions})
    pytest.fail(f"{own} is rejected without its own hint; matched: {seen}\n{failed[0]}")


@pytest.mark.parametrize("assignment", topics())
def test_no_mistake_passes_by_luck(assignment: str) -> None:
    """What passes the visible cases, which are the same for everybody, is rejected whatever the secret draws are."""
    for entry in misconceptions(assignment):
        source = with_mistake(assignment, entry)
        if passes(assignment, entry.exercise, source, None):
            secrets = [SECRET + 1_000_003 * k for k in range(LUCK)]
            lucky = [k for k in secrets if passes(assignment, entry.exercise, source, k)]
            assert not lucky, f"{entry.exercise}.{entry.name} passes with {len(lucky)} of {LUCK} secrets"


@pytest.mark.parametrize("assignment", topics())
def test_reference_solution_passes_every_check(assignment: str) -> None:
    source = "\n\n".join(solutions(assignment).values())
    for c in checks_of(assignment).values():
        for hidden in (None, HIDDEN, 2):
            outcome = c.grade(Local(lambda: namespace_of(source), through_bytes=True), hidden=hidden)
            assert outcome.passed, f"hidden={hidden}\n{outcome}"


@pytest.mark.parametrize("assignment", topics())
def test_enough_misconceptions(assignment: str) -> None:
    graded = {n for c in checks_of(assignment).values() for n in c.names}
    for name in graded:
        count = sum(m.exercise == name for m in misconceptions(assignment))
        wanted = 6 if name in contract_names() else 3
        assert count >= wanted, f"{assignment}: {name} has {count} misconceptions, expected at least {wanted}"


def test_names_and_hints_are_unique() -> None:
    entries = [m for found in load().values() for m in found]
    keys = [(m.exercise, m.name) for m in entries]
    assert len(set(keys)) == len(keys)
    for m in entries:
        assert len(m.hint) > 40, f"{m.exercise}.{m.name}: expected a sentence, got {m.hint!r}"
        assert len([n for n in entries if n.exercise == m.exercise and n.hint == m.hint]) == 1
