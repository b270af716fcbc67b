"""Fingerprints that hiding does not change, and pairs that only copying makes."""

import random
import time

import pytest

from coursekit.report import fingerprints as fp
from coursekit.report.load import OWN_CELLS
from coursekit.report.similarity import EVIDENCE, THRESHOLD, groups, similar_pairs
from tests.coursekit.report.class_maker import STUB, USUAL, disguised, random_answer


def one_exercise(*codes: str) -> dict[str, dict[str, str]]:
    return {f"s{number}": {"layer": code} for number, code in enumerate(codes)}


def strangers(number: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [random_answer(rng) for _ in range(number)]


def names(pairs) -> list[tuple[str, str]]:
    return [(p.first, p.second) for p in pairs]


@pytest.mark.parametrize(
    "change",
    [
        lambda code: code.replace("left", "v_1"),
        lambda code: code.replace(
            "def layer(u, scale, shift):", "def layer(u: int, scale: 'T', shift) -> 'T':"
        ),
        lambda code: "# mine\n\n" + code.replace("\n    return", "\n\n\n    # and now\n    return"),
        lambda code: code.replace(":\n", ":\n    '''Docstring.'''\n", 1),
        lambda code: code.replace(" + ", "  +  \\\n      "),
    ],
    ids=["names", "annotations", "comments and blank lines", "docstring", "line breaks"],
)
def test_names_annotations_comments_docstrings_and_layout_change_no_token(change):
    code = random_answer(random.Random(3))
    changed = change(code)
    assert changed != code
    assert [t for t, _ in fp.tokens(changed)] == [t for t, _ in fp.tokens(code)]
    assert fp.fingerprints(changed).kept == fp.fingerprints(code).kept


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 2 * y", "x = 3 * y"),
        ("x = torch.exp(y)", "x = torch.log(y)"),
        ("x = a + b", "x = a - b"),
        ("f(x)", "g(x)"),
    ],
)
def test_constants_attributes_operators_and_outside_names_are_kept(one, other):
    assert [t for t, _ in fp.tokens(one)] != [t for t, _ in fp.tokens(other)]


def test_winnowing_finds_what_is_shared_in_enough_tokens_and_keeps_few():
    rng = random.Random(5)
    shared = random_answer(rng, 6)
    for _ in range(20):
        before, after = random_answer(rng), random_answer(rng)
        whole, part = fp.fingerprints(f"{before}\n{shared}\n{after}"), fp.fingerprints(shared)
        # A run of K + W - 1 tokens guarantees one common fingerprint; the function's inside is longer.
        assert len(fp.tokens(shared)) > fp.K + fp.W
        assert whole.kept & part.kept
        # (W + 1) / 2 hashes stand for one on average (Schleimer et al., 2003, theorem on the density).
        assert 0.25 < len(whole.kept) / len(whole.all) < 0.6


def test_short_unreadable_and_deeply_nested_code_has_no_fingerprints():
    for code in ("", "x = 1", "def f(:", "(" * 5000, "x" * 60_000, "f(" * 150 + ")" * 150, "\x00"):
        assert len(fp.fingerprints(code).kept) < 150  # and above all: no exception
    assert fp.fingerprints("x = 1").kept == frozenset()
    assert fp.fingerprints("def f(:").kept == frozenset()


def test_lines_of_shared_fingerprints():
    code = random_answer(random.Random(1), 10)
    found = fp.fingerprints(code)
    assert found.lines_of(found.all) == frozenset(range(1, len(code.splitlines()) + 1))
    assert found.lines_of(frozenset()) == frozenset()


def test_a_disguised_copy_is_found_among_strangers_and_nobody_else():
    codes = strangers(60)
    codes[40] = disguised(codes[7])
    (pair,) = similar_pairs(one_exercise(*codes))
    assert (pair.first, pair.second) == ("s7", "s40")
    (match,) = pair.matches
    assert match.similarity > 0.9
    for code in (codes[7], codes[40]):
        assert len(fp.fingerprints(code).lines_of(match.shared)) > 10


def test_half_a_copy_is_found_and_less_than_that_is_not():
    rng = random.Random(11)
    part = "\n".join(f"    x = torch.exp(u * {n}.5) - shift[..., {n}:]" for n in range(12))
    mine, foreign = random_answer(rng, 3), random_answer(rng, 3)
    whole = strangers(40, seed=2)
    whole[3] = f"{mine}\ndef helper(u, shift):\n{part}\n    return x\n"
    whole[9] = (
        f"{foreign}\ndef other(base, t):\n{part.replace('shift', 't').replace('u *', 'base *')}\n    return x\n"
    )
    assert names(similar_pairs(one_exercise(*whole))) == [("s3", "s9")]
    little = "\n".join(part.splitlines()[:2])
    whole[9] = f"{strangers(1, seed=4)[0]}\ndef other(u, shift):\n{little}\n    return x\n"
    assert similar_pairs(one_exercise(*whole)) == []


def test_what_the_class_writes_alike_is_no_evidence():
    assert similar_pairs(one_exercise(*[USUAL] * 40)) == []
    # Two ways that many take.
    other = USUAL.replace("u * torch.exp(scale) + shift", "torch.addcmul(shift, u, scale.exp())")
    assert similar_pairs(one_exercise(*[USUAL, other] * 20)) == []


def test_short_answers_do_not_flood():
    codes = [f"def layer(u):\n    return u + {number // 2}" for number in range(200)]
    assert similar_pairs(one_exercise(*codes)) == []


def test_the_stub_is_not_the_student_s():
    body = "\n".join(f"    parts_{n} = torch.exp(u * {n}.5) - torch.roll(u, {n})" for n in range(12))
    stub = f"def layer(u):\n{body}\n    # YOUR CODE HERE\n    raise NotImplementedError"
    codes = [stub.replace("raise NotImplementedError", f"return parts_1 ** {n}") for n in range(2)]
    assert names(similar_pairs(one_exercise(*codes))) == [("s0", "s1")]
    assert similar_pairs(one_exercise(*codes), {"layer": [stub]}) == []


def test_two_students_are_a_class_too():
    code = random_answer(random.Random(1))
    (pair,) = similar_pairs(one_exercise(code, disguised(code)))
    assert pair.matches[0].similarity == 1.0
    assert similar_pairs(one_exercise(code)) == []
    assert similar_pairs({}) == []
    assert similar_pairs({"a": {}, "b": {}}) == []


def test_pairs_gather_their_exercises_and_come_in_the_order_of_evidence():
    rng = random.Random(8)
    answers = {f"s{n}": {e: random_answer(rng) for e in ("one", "two")} for n in range(30)}
    answers["s1"]["one"] = answers["s0"]["one"]
    answers["s3"] = {e: disguised(c) for e, c in answers["s2"].items()}
    answers["s4"][OWN_CELLS] = answers["s5"][OWN_CELLS] = random_answer(rng, 9)
    pairs = similar_pairs(answers)
    assert names(pairs)[0] == ("s2", "s3")
    assert set(names(pairs)) == {("s2", "s3"), ("s0", "s1"), ("s4", "s5")}
    assert {m.exercise for m in pairs[0].matches} == {"one", "two"}
    assert [p.evidence for p in pairs] == sorted((p.evidence for p in pairs), reverse=True)
    assert all(m.similarity >= THRESHOLD and m.evidence >= EVIDENCE for p in pairs for m in p.matches)


def test_the_more_have_it_the_less_it_counts():
    codes = strangers(60)
    found = []
    for size in (2, 3, 4):
        shared = [*codes[: 60 - size], *[codes[0]] * (size - 1)]
        found.append(max(p.evidence for p in similar_pairs(one_exercise(*shared))))
    assert found[0] > found[1] > found[2]


def test_groups_are_the_students_whom_pairs_connect():
    codes = strangers(30)
    codes[5] = codes[6] = codes[0]
    codes[20] = codes[10]
    assert sorted(groups(similar_pairs(one_exercise(*codes)))) == [["s0", "s5", "s6"], ["s10", "s20"]]


def test_a_released_stub_alone_makes_no_pair():
    assert similar_pairs(one_exercise(STUB, STUB), {"layer": [STUB]}) == []


def test_three_hundred_students_take_seconds():
    rng = random.Random(2)
    answers = {f"s{n}": {e: random_answer(rng) for e in ("one", "two", "three")} for n in range(300)}
    answers["s299"]["one"] = disguised(answers["s4"]["one"])
    start = time.process_time()
    pairs = similar_pairs(answers)
    # 0.8 s of CPU were measured; a comparison of all 3 x 44,850 pairs of texts would take minutes.
    assert time.process_time() - start < 10
    assert names(pairs) == [("s4", "s299")]
