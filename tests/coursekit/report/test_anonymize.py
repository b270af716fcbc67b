"""A student's code is shown without what could say whose it is."""

import pytest

from coursekit.report.anonymize import anonymized, common_texts
from coursekit.report.code import parse


def test_comments_docstrings_and_texts_are_gone():
    source = '''# Ann Example, s21
class Layer:  # Ann's
    """By Ann."""

    def forward(self, u):
        "Ann again"
        print("Ann", f"Ann {u} Ann", b"Ann")  # Ann
        return u
'''
    shown = anonymized(source)
    assert "Ann" not in shown
    assert shown == (
        "class Layer:\n\n    def forward(self, u):\n        print('…', f'…{u}…', b'...')\n        return u"
    )


def test_texts_that_three_students_wrote_stay_those_of_one_do_not():
    sources = [f"f(x, reduction='mean', by='{name}')" for name in ("Ann", "Bob", "Cy")]
    texts = common_texts([*sources, "broken("])
    assert texts == {"mean"}
    assert anonymized(sources[0], texts) == "f(x, reduction='mean', by='…')"


def test_one_student_who_repeats_a_text_makes_it_not_common():
    assert common_texts(["f('Ann', 'Ann', 'Ann', 'Ann')"]) == frozenset()


@pytest.mark.parametrize("written", ["ann01", "ANN01", "my_ann01_net"])
def test_ids_within_names_are_replaced(written):
    shown = anonymized(f"{written} = 1", students=["ann01", "ann0", "x"])
    assert shown == written.lower().replace("ann01", "student") + " = 1"


def test_what_cannot_be_read_is_not_shown():
    assert anonymized("def f(: # Ann") is None
    assert anonymized("x" * 60_000) is None
    assert anonymized("# Ann alone\n'Ann'") == ""


def test_lines_of_ipython_are_left_out_and_the_others_keep_their_number():
    tree = parse("%matplotlib inline\n!ls\nx = 1")
    assert tree.body[0].lineno == 3
    assert anonymized("%run ann.py\nx = 1") == "x = 1"


def test_a_warning_of_the_student_s_code_is_no_warning_of_ours():
    assert parse("x = '\\d' is '\\d'") is not None  # pytest would make a warning an error
