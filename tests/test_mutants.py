"""The mutation harness itself: what the mutator makes, and how variants of a tiny exercise are judged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autograder_tests.catalogue import namespace_of
from autograder_tests.check import Case, check
from autograder_tests.compare import require, same
from autograder_tests.plain import Expression, Raised
from tests.mutants import harness
from tests.mutants.harness import Exercise, HarnessError, Result, Summary, Verdict, difference, judge
from tests.mutants.mutate import Mutant, mutants

EDITS = [
    # kind, source, text of a mutant
    ("operator", "y = a * b", "y = a / b"),
    ("operator", "y = a @ b", "y = a * b"),
    ("operator", "y += b", "y -= b"),
    ("operands swapped", "y = a - b", "y = b - a"),
    ("operand dropped", "y = a - b", "y = -b"),
    ("operand dropped", "y = a * b", "y = a"),
    ("minus dropped", "y = -a", "y = a"),
    ("minus added", "y = f(a)", "y = f(-a)"),
    ("minus added", "y = a * b", "y = -(a * b)"),
    ("comparison", "y = a < b", "y = a <= b"),
    ("and/or", "y = a and b", "y = a or b"),
    ("not dropped", "y = not a", "y = a"),
    ("constant", "y = a.sum(-1)", "y = a.sum(0)"),
    ("constant", "y = f(keepdim=True)", "y = f(keepdim=False)"),
    ("constant", "y = 0.5", "y = 1.0"),
    ("keyword dropped", "y = f(a, dim=-1)", "y = f(a)"),
    ("argument dropped", "y = a.sum(-1)", "y = a.sum()"),
    ("arguments swapped", "y = f(a, b)", "y = f(b, a)"),
    ("call dropped", "y = torch.exp(a)", "y = a"),
    ("call dropped", "y = a.sum(-1)", "y = a"),
    ("call dropped", "y = reversed(a)", "y = a"),
    ("call dropped", "y = nn.ModuleList(a)", "y = a"),
    ("other function", "y = q.rsample()", "y = q.sample()"),
    ("other function", "y = torch.logsumexp(a, 0)", "y = torch.sum(a, 0)"),
    ("other function", "y = log(a)", "y = exp(a)"),
    ("attribute dropped", "y = a.T", "y = a"),
    ("index dropped", "y = a.shape[:-1]", "y = a.shape"),
    ("slice", "y = a[:d]", "y = a[d:]"),
    ("slice", "y = a[1:d]", "y = a[1:]"),
    ("element dropped", "y = (*a, D)", "y = (*a,)"),
    ("elements swapped", "s, t = f(a)", "t, s = f(a)"),
    ("entry dropped", "y = {'a': b}", "y = {}"),
    ("star dropped", "y = f(*a)", "y = f(a)"),
    ("condition negated", "y = a if b else c", "y = c if b else a"),
    ("condition dropped", "y = [a for a in b if a]", "y = [a for a in b]"),
    ("reversed added", "y = [f(a) for a in b]", "y = [f(a) for a in reversed(list(b))]"),
    ("last turn dropped", "for a in b:\n    f(a)", "for a in list(b)[:-1]:\n    f(a)"),
    ("if dropped", "if a:\n    f(a)", "pass"),
    ("condition dropped", "if a:\n    f(a)", "f(a)"),
    ("statement dropped", "raise ValueError('no')", "pass"),
    ("other function", "raise ValueError('no')", "raise TypeError('no')"),
    ("statement dropped", "y += a", "pass"),
    ("old value dropped", "y += a", "y = a"),
    ("with dropped", "with torch.no_grad():\n    f(a)", "f(a)"),
    ("decorator dropped", "@cache\ndef f(a):\n    return 1", "def f(a):\n    return 1"),
    ("statement dropped", "def f(a):\n    a = g(a)\n    return a", "def f(a):\n    return a"),
    ("other variable", "def f(a, b):\n    return a", "def f(a, b):\n    return b"),
    ("elements swapped", "def f(a, b):\n    return (a, b)", "def f(a, b):\n    return (b, a)"),
    ("other attribute", "class A:\n    def f(self):\n        self.s = self.t = 0\n        return self.s", "return self.t"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "source", "wanted"), EDITS)
def test_kinds_of_edits(kind: str, source: str, wanted: str) -> None:
    found = {m.source: m.kind for m in mutants(source)}
    matching = [k for text, k in found.items() if text == wanted or text.endswith("    " + wanted)]
    assert kind in matching, "\n".join(f"{k}: {text}" for text, k in found.items())


SOURCE = '''
class Layer(nn.Module):
    """Scale by exp(1 + 1)."""

    def forward(self, u: Annotated[Tensor, 1 + 1], shape: tuple = ()) -> pair(1, 2):
        """x = u * 2."""
        if u.ndim < 1:
            raise ValueError(f"expected {1 + 1} axes", 1 + 2)
        print("scaled by", 1 + 3)
        x: Annotated[Tensor, 1 + 4] = u * 2
        return x, x.sum(-1)
'''


def test_what_people_read_is_left_alone() -> None:
    for m in mutants(SOURCE):
        for text in (
            '"""Scale by exp(1 + 1)."""',
            '"""x = u * 2."""',
            "Annotated[Tensor, 1 + 1]",
            "-> pair(1, 2)",
        ):
            assert text in m.source, str(m)
        assert "raise" not in m.source or "{1 + 1} axes', 1 + 2)" in m.source, str(m)
        assert "print('scaled by', 1 + 3)" in m.source, str(m)
        assert "Annotated[Tensor, 1 + 4]" in m.source, str(m)


def test_order_is_deterministic_and_nothing_comes_twice() -> None:
    found = mutants(SOURCE)
    assert found == mutants(SOURCE)
    assert [m.line for m in found] == sorted(m.line for m in found)
    texts = [m.source for m in found]
    assert len(set(texts)) == len(texts) > 20
    for text in texts:
        compile(text, "<mutant>", "exec")


def test_the_unchanged_text_is_no_mutant() -> None:
    # Swapping equal arguments or elements changes nothing.
    assert all(m.source != "y = f(a, a)" for m in mutants("y = f(a, a)"))


def test_description_names_line_and_edit() -> None:
    found = [str(m) for m in mutants("x = 1\ny = a * b") if m.kind == "operator"]
    assert found[0] == "line 2, operator: a * b  →  a / b"


# ---- comparing answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (np.zeros(2), np.zeros(2) + 1e-7),
        (np.array([math.nan, math.inf]), np.array([math.nan, math.inf])),
        (np.array(2.0), 2.0),
        ([1, 2], np.array([1, 2])),
        (np.ones(2, np.float32), np.ones(2, np.float32) * np.float32(1 + 1e-5)),
        (Raised(("ValueError",), "a"), Raised(("ValueError",), "b")),
        ({"a": [1.0], "b": "x"}, {"b": "x", "a": [1.0]}),
        (Expression("exp(u)*u"), Expression("u*exp(u)")),
    ],
)
def test_same_answers(expected, got) -> None:
    assert difference(expected, got) == ""


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (np.zeros(2), np.array([0, 3e-6]), "off by"),
        (np.zeros(2), np.array([0, math.nan]), "finite"),
        (np.array([math.nan]), np.array([0.0]), "finite"),
        (np.array([math.inf]), np.array([-math.inf]), "finite"),
        (np.zeros(2), np.zeros((2, 1)), "shape"),
        (np.zeros(2), np.zeros(2, np.int64), "float64 → int64"),
        (np.zeros(2), Raised(("ValueError",), ""), "no error → ValueError"),
        (Raised(("ValueError",), ""), Raised(("TypeError",), ""), "ValueError → TypeError"),
        ([np.zeros(1), np.zeros(1)], [np.zeros(1)], "2 values → 1"),
        ({"a": 1.0}, {"a": 2.0}, "['a']: off by"),
        ("healthy", "ill", "healthy"),
        (Expression("exp(u)"), Expression("exp(-u)"), "off by"),
    ],
)
def test_different_answers(expected, got, words: str) -> None:
    assert words in difference(expected, got)


# ---- a tiny exercise ---------------------------------------------------------------------------------------------


@check("half_sum")
def half_sum_at_positive(subject, case: Case) -> None:
    """Half the sum, tested with positive numbers alone: `abs` stays unseen."""
    x = case.uniform(1, 2, 3)
    got = subject.array("student:half_sum", "", x)
    same(got, x.sum() / 2, "half_sum")


@check("half_sum")
def half_sum_refuses_nothing(subject, case: Case) -> None:
    """An empty tensor is refused."""
    raised = subject.raises("student:half_sum", "", np.zeros(0))
    require(raised is not None and "ValueError" in raised.types, "no ValueError")


TINY = """
def half_sum(x):
    if len(x) == 0:
        raise ValueError("expected numbers")
    count = 2
    while count > 2:
        count -= 1
    return x.sum() / count
"""


def probe(subject, rng: np.random.Generator) -> None:
    subject.raises("student:half_sum", "", rng.normal(size=int(rng.integers(0, 4))))


def tiny(source: str = TINY, probe=probe) -> Exercise:
    return Exercise(
        "half_sum",
        {"half_sum": source},
        [half_sum_at_positive, half_sum_refuses_nothing],
        probe,
        namespace_of,
    )


def verdicts(monkeypatch: pytest.MonkeyPatch, variants: list[str], **options) -> list[Verdict]:
    """Of variants made by hand, in the place of mechanical ones."""
    made = [Mutant("by hand", 1, "", "", text) for text in variants]
    monkeypatch.setattr(harness, "mutants", lambda source: made)
    total, found = judge(tiny(), cases=30, **options)
    results = list(found)
    assert total == len(variants) == len(results)
    return [r.verdict for r in sorted(results, key=lambda r: r.number)]


def test_wrong_variants_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    survivor, rejected, equivalent, crash, at_definition = verdicts(
        monkeypatch,
        [
            TINY.replace("x.sum()", "x.abs().sum()"),
            TINY.replace("count = 2", "count = 4 / 3"),
            TINY.replace("x.sum() / count", "x.mean() * len(x) / count"),
            TINY.replace("x.sum()", "x.total()"),
            TINY + "\nundefined_name\n",
        ],
    )
    assert survivor.changed.startswith("case ")
    assert not survivor.rejected
    assert rejected.rejected == "half_sum_at_positive"
    assert rejected.changed
    assert not rejected.crashes
    assert equivalent == Verdict()
    assert crash.rejected
    assert crash.crashes
    assert at_definition.rejected == "definition: NameError"


def test_endless_and_dying_variants_end(monkeypatch: pytest.MonkeyPatch) -> None:
    endless, dying, greedy = verdicts(
        monkeypatch,
        [
            TINY.replace("count -= 1", "count += 1").replace("count > 2", "count > 1"),
            TINY.replace("count = 2", "import os; os._exit(7); count = 2"),
            TINY.replace("count = 2", "count = len(bytearray(1 << 40))"),
        ],
        least_cpu=0.3,
    )
    assert endless.rejected == endless.changed == "endless"
    assert dying.rejected == "the process ended with 7"
    assert greedy.rejected
    assert greedy.changed


def test_mechanical_mutants_of_the_tiny_exercise() -> None:
    total, found = judge(tiny(), cases=30, least_cpu=0.3)
    results = list(found)
    assert [r.number for r in sorted(results, key=lambda r: r.number)] == list(range(total))
    summary = Summary(results)
    assert summary.counts()["made"] == total > 15
    assert summary.rate == 1.0, [str(r) for r in summary.survivors]
    assert (
        len(summary.of(changed=False, rejected=False)) >= 1
    )  # the loop never runs: to drop it changes nothing


def test_rates_count_only_what_changes_behavior() -> None:
    def result(**facts) -> Result:
        return Result("f", 0, Mutant("k", 1, "", "", ""), Verdict(**facts))

    summary = Summary(
        [
            result(changed="x", rejected="y"),
            result(changed="x", rejected="y", crashes=True),
            result(changed="x"),
            result(rejected="y"),
            result(),
        ]
    )
    assert summary.rate == pytest.approx(2 / 3)
    assert summary.quiet_rate == pytest.approx(1 / 2)
    assert summary.counts()["rejected_though_unchanged"] == 1
    assert Summary([]).rate == 1.0


def test_a_solution_that_fails_its_checks_is_no_measure() -> None:
    with pytest.raises(HarnessError, match="the solution itself is rejected by half_sum_at_positive"):
        judge(tiny(TINY.replace("count = 2", "count = 1")), cases=3)


def test_a_probe_must_repeat_itself_and_work() -> None:
    def restless(subject, rng) -> None:
        subject.call("student:half_sum", "", np.random.default_rng().normal(size=3))

    with pytest.raises(HarnessError, match="differs from itself"):
        judge(tiny(probe=restless), cases=20)

    def broken(subject, rng) -> None:
        raise RuntimeError("no such builder")

    with pytest.raises(HarnessError, match="the probe fails on the solution: RuntimeError"):
        judge(tiny(probe=broken), cases=3)


def test_facts_stand_for_answers_where_a_choice_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        harness, "mutants", lambda source: [Mutant("k", 1, "", "", TINY.replace("x.sum()", "x.mean()"))]
    )

    def shapes_alone(subject, rng) -> list:
        return [list(subject.array("student:half_sum", "", rng.normal(size=3)).shape)]

    _, found = judge(tiny(probe=shapes_alone), cases=5)
    (result,) = found
    assert not result.verdict.changed
    assert result.verdict.rejected


def test_the_same_request_is_answered_once_in_the_random_cases() -> None:
    counting = TINY.replace("def half_sum(x):", "calls = []\ndef half_sum(x):\n    calls.append(len(x))")
    subject = harness._Remembering(lambda: namespace_of(counting))
    for size in (2, 2, 3):
        subject.call("student:half_sum", "", np.ones(size))
    assert subject.namespace["calls"] == [2, 3]
    assert [float(answer) for _, _, answer in subject.record] == [1.0, 1.0, 1.5]
