"""No attack gains a point, gets out, harms somebody else or shows an instructor a traceback."""

from __future__ import annotations

import pytest

from tests.attacks.all import ATTACKS, EVERYWHERE
from tests.attacks.arena import Arena
from tests.attacks.bank import Attack

BY_NAME = {a.name: a for a in ATTACKS}


def test_every_attack_has_a_name_of_its_own():
    assert len(BY_NAME) == len(ATTACKS) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.name not in EVERYWHERE], ids=lambda a: a.name)
def test_attack(arena: Arena, attack: Attack):
    assert not arena.fight(attack).trouble


@pytest.mark.parametrize("name", EVERYWHERE)
def test_attack_of_each_kind(arena: Arena, name: str):
    assert not arena.fight(BY_NAME[name]).trouble


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERYWHERE)
def test_attack_with_every_launcher(other_arena: Arena, name: str):
    assert not other_arena.fight(BY_NAME[name]).trouble


@pytest.mark.slow
def test_known_limits_are_what_they_are_said_to_be(arena: Arena):
    """An attack that gains something is listed with what it gains: one that no longer does must leave the list."""
    limits = [a for a in ATTACKS if a.limit]
    assert limits
    for attack in limits:
        fought = arena.fight(attack)
        assert fought.result.points > 0
        assert attack.earned


def test_an_honest_student_has_all_points(arena: Arena):
    result = arena.honest()
    tests = [c for c in result.cells if c.kind == "test"]
    assert (result.status, result.flags) == ("graded", ())
    assert [c.points for c in tests] == [c.max_points for c in tests]
