"""Which cells run: all that a student's code can depend on, and no demonstration beside it."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from coursekit.plan import names_of, steps_of

META = {"grade": False, "solution": False, "locked": False, "task": False}
ANSWER = {**META, "solution": True, "grade_id": "f"}
TEST = {**META, "grade": True, "locked": True, "grade_id": "t", "points": 1}


def notebook(*cells):
    """Cells as (kind, source): released, answer or test."""
    metas = {"released": {}, "answer": {"nbgrader": ANSWER}, "test": {"nbgrader": TEST}}
    made = [new_code_cell(s, id=f"c{i}", metadata=metas[kind]) for i, (kind, s) in enumerate(cells)]
    return nbformat.v4.new_notebook(cells=made)


def needed(cells, changed=None, **options):
    template = notebook(*cells)
    submitted = notebook(*cells)
    for index, source in (changed or {}).items():
        submitted.cells[index].source = source
    return [s.index for s in steps_of(submitted, template, **options) if s.needed]


COURSE = [
    ("released", "import math\nimport numpy as np"),
    ("released", "scale = 2.0\ntable = []"),
    ("released", "picture = np.ones(3)\nprint(picture)"),
    ("answer", "def f(x):\n    return math.sqrt(x)"),
    ("test", "assert f(4) == 2"),
    ("released", "big = f(9) + scale"),
]


def test_a_demonstration_is_left_out_and_an_import_is_not():
    assert needed(COURSE) == [0, 3, 4]
    assert needed(COURSE, whole=True) == [0, 1, 2, 3, 4, 5]


def test_a_changed_cell_is_the_students():
    assert needed(COURSE, {2: "picture = np.zeros(3)"}) == [0, 2, 3, 4]


def test_what_an_answer_uses_is_run_with_what_that_uses():
    assert needed(COURSE, {3: "def f(x):\n    return scale * len(picture)"}) == [0, 1, 2, 3, 4]


def test_who_mentions_a_wanted_variable_may_change_it():
    cells = [COURSE[1], ("released", "table.append(1)"), ("released", "print('hello')"), *COURSE[3:5]]
    assert needed(cells, {3: "def f(x):\n    return len(table)"}) == [0, 1, 3, 4]
    assert needed(cells) == [3, 4]


@pytest.mark.parametrize(
    "source",
    ["f = lambda x: globals()['scale']", "f = eval('abs')", "f = Out[1]", "%run other", "from math import *"],
)
def test_who_can_mean_any_name_gets_all(source):
    assert needed(COURSE, {3: source}) == [0, 1, 2, 3, 4, 5]


def test_names_of_inner_scopes_are_their_own():
    names = names_of(
        "def g(x):\n    k = 1\n    def h():\n        global z\n        z = k + y\n    return h\nclass C:\n    a = w"
    )
    assert names.bound == {"g", "C", "z"}
    assert {"y", "w"} <= names.used
    assert not {"x", "k", "a"} & names.used


def test_broken_code_has_no_names():
    assert names_of("def f(:") == names_of("(" * 10_000) == names_of("\0") == names_of("")


def test_hidden_tests_are_not_among_what_runs():
    cells = [("answer", "def f(): ..."), ("test", "f()\n### BEGIN HIDDEN TESTS\nf(7)\n### END HIDDEN TESTS")]
    (test,) = [s for s in steps_of(notebook(*cells), notebook(*cells)) if s.kind == "test"]
    assert test.source.strip() == "f()"
    assert not test.binds
