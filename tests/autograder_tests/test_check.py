"""Checks, comparison and reports: what a student reads."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
import torch

from autograder_tests import CheckFailed, Local, Mismatch, catalogue, has_shape, require, same
from autograder_tests.check import Case, check
from autograder_tests.checks import masked_coupling
from autograder_tests.compare import show
from autograder_tests.likeness import alike
from autograder_tests.plain import Make, Raised
from autograder_tests.report import Outcome, Report, render, show_report


@check("twice")
def twice_doubles(subject, case: Case) -> None:
    """twice(x) = 2x.

    For every x.
    """
    x = case.normal(case.pick(2, 5), 3)
    same(subject.array("student:twice", "", x), 2 * x, "twice(x)", given={"x": x})


def test_a_right_answer_passes_and_says_so(capsys) -> None:
    twice_doubles(lambda x: 2 * x)
    twice_doubles(lambda x: x + x, hidden=1)
    assert capsys.readouterr().out == "passed: twice(x) = 2x\npassed on hidden cases: twice(x) = 2x\n"


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_a_report_is_printed_on_any_terminal(encoding: str, monkeypatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    show_report(Outcome("c", "∂x/∂u é", "passed"))
    stream.flush()
    assert stream.buffer.getvalue() == "passed: ∂x/∂u é\n".encode(encoding, "replace")


def test_a_wrong_answer_says_expected_and_got_on_one_example() -> None:
    with pytest.raises(CheckFailed) as caught:
        twice_doubles(lambda x: x**2)
    text = str(caught.value)
    assert text.startswith("not yet: twice(x) = 2x\n  twice(x), example 1 of 2\n")
    assert "expected" in text
    assert "got" in text
    assert "CheckFailed" in caught.value._render_traceback_()[0]


def test_an_open_exercise_raises_not_implemented_alone() -> None:
    def twice(x):
        raise NotImplementedError("not answered yet")

    with pytest.raises(NotImplementedError):
        twice_doubles(twice)


def test_an_error_in_the_answer_is_reported_with_its_place() -> None:
    outcome = twice_doubles.grade(Local({"twice": lambda x: x.no_such_method()}))
    assert outcome.status == "error"
    assert "AttributeError" in outcome.what
    assert "no_such_method" in outcome.got


@check("twice")
def twice_trusts_its_answer(subject, case: Case) -> None:
    """A check that expects a dict."""
    subject.call("student:twice", "", 1.0)["key"]


def test_an_answer_that_a_check_cannot_read_is_a_failure_and_no_traceback() -> None:
    outcome = twice_trusts_its_answer.grade(Local({"twice": lambda x: None}))
    assert outcome.status == "failed"
    assert "cannot read" in outcome.what


def test_wrong_number_of_objects_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="expects 1 objects"):
        twice_doubles()


def test_hidden_cases_differ_from_the_visible_one() -> None:
    shapes = set()

    def twice(x):
        shapes.add(tuple(x.shape))
        return 2 * x

    twice_doubles(twice)
    twice_doubles(twice, hidden=1)
    assert shapes == {(2, 3), (5, 3)}


def test_float32_is_right_and_nan_never_is() -> None:
    twice_doubles(lambda x: (2 * x).float())
    with pytest.raises(CheckFailed):
        twice_doubles(lambda x: x * torch.nan)


def test_a_catalogued_mistake_gets_its_hint_in_text_and_html() -> None:
    entry = next(
        m
        for m in catalogue.load()["masked_coupling"]
        if m.name == "inverse_log_det_sign" and m.exercise == "MaskedCouplingLayer"
    )
    target = masked_coupling.coupling_inverse_log_det_matches_jacobian
    outcome = target.grade(Local(entry.namespace))
    assert outcome.misconceptions == ("MaskedCouplingLayer.inverse_log_det_sign",)
    assert entry.hint in render(outcome)
    assert "forward map" in Report(outcome)._repr_html_()
    assert "<script" not in Report(outcome)._repr_html_()


def test_no_hint_without_evidence() -> None:
    """A failure that no catalogued mistake explains gets none, even where the calls so far were right."""

    class Layer(torch.nn.Module):
        def __init__(self, s, t, mask):
            super().__init__()

        def forward(self, u):
            return u * 3 + 1, u.sum(-1)

        inverse = forward

    outcome = masked_coupling.coupling_inverse_undoes_forward.grade(Local({"MaskedCouplingLayer": Layer}))
    assert not outcome.passed
    assert outcome.hints == ()


def test_advice_costs_nothing() -> None:
    class Textbook(torch.nn.Module):
        def __init__(self, s, t, b):
            super().__init__()
            self.s, self.t, self.b = s, t, b

        def forward(self, u):
            s, t = self.s(self.b * u), self.t(self.b * u)
            return self.b * u + (1 - self.b) * (u * s.exp() + t), ((1 - self.b) * s).sum(-1)

        def inverse(self, x):
            s, t = self.s(self.b * x), self.t(self.b * x)
            return self.b * x + (1 - self.b) * ((x - t) * (-s).exp()), -((1 - self.b) * s).sum(-1)

    outcome = masked_coupling.coupling_formula.grade(Local({"MaskedCouplingLayer": Textbook}))
    assert outcome.passed
    assert "Mask s before the exponential" in outcome.advice[0]


def test_same_tells_shape_value_and_infinity() -> None:
    same(np.array([1.0, np.inf]), np.array([1.0 + 1e-12, np.inf]), "x")
    for got, expected in (
        (np.ones(3), np.ones((3, 1))),
        (np.array([1.0, 2.0]), np.array([1.0, 2.1])),
        (np.array([np.nan]), np.array([np.nan])),
        (np.array([np.inf]), np.array([-np.inf])),
    ):
        with pytest.raises(Mismatch):
            same(got, expected, "x")
    with pytest.raises(Mismatch, match="wrong shape"):
        has_shape(np.ones(2), (3,), "x")
    with pytest.raises(Mismatch, match="holds"):
        require(np.bool_(False), "it holds")


def test_show_is_short_and_readable() -> None:
    assert show(np.array([[1.0, -0.5]])) == "[[1, -0.5]]"
    assert len(show(np.arange(1e4))) < 200
    assert show(np.array([True])) == "[True]"


def test_alike_is_strict_about_kind_and_shape() -> None:
    assert alike(np.ones(2), np.ones(2, np.float32) + 1e-6, 1e-6)
    assert not alike(np.ones(2), np.ones(2, bool), 1e-6)
    assert not alike(np.ones(2), np.ones((2, 1)), 1e-6)
    assert alike(Raised(("ValueError",), "a"), Raised(("ValueError",), "b"), 1e-6)
    assert not alike([1, 2], [1], 1e-6)
    assert not alike(Make("a"), 1, 1e-6)


def test_case_masks_are_proper() -> None:
    case = Case(0)
    for D in (2, 3, 5):
        for _ in range(20):
            mask = case.mask(D)
            assert mask.shape == (D,)
            assert 0 < mask.sum() < D
