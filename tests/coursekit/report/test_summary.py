"""Rules of the summary and of the figures' geometry, at their edges."""

from dataclasses import replace

import pytest

from coursekit.report.figures import HEIGHT, LEFT, RIGHT, WIDTH, histogram, stacks
from coursekit.report.load import ClassResults, Entry
from coursekit.report.summary import OUTCOMES, check_rows, flag_groups, outcome, outliers, totals
from coursekit.score import CellScore
from tests.coursekit.report.class_maker import result, with_cell


def a_class(*results) -> ClassResults:
    return ClassResults("07_layers", tuple(Entry(f"s{n}", r, None, {}) for n, r in enumerate(results)), ())


def counts(figure) -> list[int]:
    return [int(bar.text.split(": ")[1].split()[0]) for bar in figure.bars]


@pytest.mark.parametrize(
    ("points", "most", "expected"),
    [
        ([0, 1, 1.5, 2], 2, [2, 2]),
        ([2.0000000001], 2, [0, 1]),
        ([0.5], 0.5, [1]),
        ([-1, 99], 3, [1, 0, 1]),
    ],
)
def test_bins_are_closed_on_the_right_and_the_first_holds_zero(points, most, expected):
    assert counts(histogram(points, most, None)) == expected


@pytest.mark.parametrize("most", [1, 7.5, 20, 21, 33, 100, 1000])
def test_every_submission_is_in_one_bar_and_no_bar_leaves_the_figure(most):
    points = [most * k / 60 for k in range(61)]
    figure = histogram(points, most, most / 2)
    assert sum(counts(figure)) == 61
    assert len(figure.bars) <= 20
    assert all(bar.x >= LEFT and bar.x + bar.width <= WIDTH - RIGHT for bar in figure.bars)
    assert all(0 < bar.y <= HEIGHT and bar.height >= 0 for bar in figure.bars)
    assert LEFT < figure.median < WIDTH


def test_no_figure_of_nothing():
    assert histogram([], 10, None) is None
    assert histogram([0.0], 0, 0.0) is None


def test_the_parts_of_a_stack_fill_it():
    cases = [
        {"status": "failed", "hidden": True},
        {"status": "failed"},
        {"status": "open"},
        {"status": "not run"},
        {},
    ]
    found = a_class(*(with_cell(result(), "layer_shape", **changes) for changes in cases))
    stack = stacks(check_rows(found))[0]
    assert [p.kind for p in stack.parts] == ["passed", "hidden", "failed", "open", "not-run"]
    assert [p.x for p in stack.parts] == [0, 20, 40, 60, 80]
    assert sum(p.width for p in stack.parts) == pytest.approx(100)


def test_an_outcome_for_every_status():
    for status in ("passed", "failed", "open", "not run", "not graded", "partial"):
        for hidden in (False, True):
            made = outcome(CellScore("t", "test", status, 0.0, 1.0, hidden=hidden))
            assert made in OUTCOMES
            assert (made == "passed") == (status == "passed")
            assert (made == "hidden") == (status == "failed" and hidden)


def test_no_outlier_among_the_alike_nor_of_two():
    assert outliers(a_class(*[result(seconds=1.0 + n / 1000) for n in range(20)])) == []
    assert outliers(a_class(result(seconds=1.0), result(seconds=500.0))) == []


def test_many_outliers_do_not_hide_one_another():
    found = a_class(*[result(seconds=1.0 + n / 10) for n in range(20)], *[result(seconds=400.0)] * 8)
    assert [o.student for o in outliers(found)] == [f"s{n}" for n in range(20, 28)]


def test_unmeasured_memory_is_no_outlier():
    found = a_class(*[result(peak_mb=None)] * 5, *[result(peak_mb=100.0)] * 5, result(peak_mb=2000.0))
    (only,) = outliers(found)
    assert (only.student, only.what) == ("s10", "memory")


def test_results_that_the_gradebook_lacks_are_flagged_and_counted():
    found = a_class(result())
    assert totals(found).waiting == 1  # the manual cell
    assert flag_groups(found)[0].kind == "not in the gradebook"


def test_flags_of_a_kind_are_gathered_by_what_they_say():
    with_flags = [
        replace(result(), flags=flags) for flags in (("edited: b", "edited: a"), ("edited: b",), ("odd",))
    ]
    groups = {g.kind: g for g in flag_groups(a_class(*with_flags))}
    assert groups["edited"].items == (("b", ("s0", "s1")), ("a", ("s0",)))
    assert groups["edited"].students == 2
    assert groups["odd"].items == (("", ("s2",)),)
