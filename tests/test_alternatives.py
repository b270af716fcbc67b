"""Right solutions written differently get full marks, in visible and hidden checks, also through the wire."""

from __future__ import annotations

import warnings

import pytest

from autograder_tests import Local, checks_of, topics
from autograder_tests.catalogue import namespace_of
from tests.course import ROOT, contract_names, sections, solutions

FOLDER = ROOT / "tests" / "alternatives"
CASES = [
    (assignment, name, style, source)
    for assignment, topic in topics().items()
    if (FOLDER / f"{topic}.py").exists()
    for name, style, source in sections(FOLDER / f"{topic}.py")
]


@pytest.mark.parametrize(
    ("assignment", "name", "style", "source"), CASES, ids=lambda p: p if len(p) < 60 else ""
)
def test_alternative_gets_full_marks(assignment: str, name: str, style: str, source: str, capsys) -> None:
    others = [s for n, s in solutions(assignment).items() if n != name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a right solution may warn
        subject = Local(lambda: namespace_of("\n\n".join([*others, source])), through_bytes=True)
        for c in checks_of(assignment).values():
            if name in c.names:
                for hidden in (None, 1, 2):
                    outcome = c.grade(subject, hidden=hidden)
                    assert outcome.passed, f"hidden={hidden}\n{outcome}"


@pytest.mark.parametrize("assignment", topics())
def test_enough_styles(assignment: str) -> None:
    graded = {n for c in checks_of(assignment).values() for n in c.names}
    for name in graded:
        count = sum(a == assignment and n == name for a, n, _, _ in CASES)
        wanted = 4 if name in contract_names() else 2
        assert count >= wanted, (
            f"{assignment}: {name} has {count} alternative solutions, expected at least {wanted}"
        )
