"""The verdict is reached outside the student's process: what becomes of claims, crashes and lost time."""

from __future__ import annotations

import json
from dataclasses import replace

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from coursekit.grading import grade_submission
from coursekit.isolate.handle import StartError
from coursekit.isolate.limits import Limits
from coursekit.player import MAX_DEATHS
from coursekit.releases import bundle_of
from coursekit.source import notebook_bytes

from .conftest import NAME, answered, cell_of, released
from .fake import FakeLauncher


@pytest.fixture
def grade(course):
    """Grades answers; the launcher is at `grade.launcher`."""
    bundle = bundle_of(course, course.root, NAME, Limits(run_seconds=30))

    def grading(*, change=lambda nb: None, limits=None, whole=False, **answers):
        nb = answered(released(course), **answers)
        change(nb)
        used = replace(bundle, limits=limits or bundle.limits, whole=whole)
        return grade_submission(notebook_bytes(nb), used, grading.launcher)

    grading.launcher = FakeLauncher()
    return grading


def cells(result):
    return {c.id: c for c in result.cells}


def outputs(result, name):
    return cell_of(nbformat.reads(result.notebook, as_version=4), name).outputs


def test_two_processes_at_the_most_and_no_word_of_hidden_tests_in_them(grade, monkeypatch):
    result = grade()
    assert result.points == 7
    assert result.isolation == "fake"
    assert len(grade.launcher.started) <= 2
    assert "square(-12)" not in json.dumps([list(map(str, c.namespace)) for c in grade.launcher.started])
    assert all(c.status == "killed" for c in grade.launcher.started)


def test_a_cell_that_claims_more_than_is_true_is_flagged(grade):
    """The answer makes the visible assertion pass: its result equals everything."""
    liar = "class Any:\n    __eq__ = lambda self, other: True\ndef square(x):\n    return Any()"
    found = grade(square=liar)
    test = cells(found)["square_of_three"]
    assert (test.points, test.status, test.claimed) == (0, "failed", "passed")
    assert "verdict differs: square_of_three" in found.flags
    assert cells(found)["cube_of_two"].points == 3


def test_failing_on_hidden_cases_alone_is_no_contradiction(grade):
    found = grade(square="def square(x):\n    return 3 * x if x == 3 else x * x if x == -2 or x == 2 else 0")
    test = cells(found)["square_of_three"]
    assert (test.points, test.hidden, test.claimed) == (0, True, "passed")
    assert found.flags == ()


def test_the_verdict_with_its_hint_is_in_the_notebook_as_nbgrader_reads_it(grade):
    from nbgrader.utils import determine_grade

    found = grade(
        cube="def cube(x):\n    return x * x", square="def square(x):\n    print('at', x)\n    return x * x"
    )
    test = cells(found)["cube_of_two"]
    assert test.hints == ("one factor is missing",)
    assert test.misconceptions == ("squares",)
    assert "one factor is missing" in test.report
    shown = outputs(found, "cube_of_two")
    assert [o.output_type for o in shown] == ["display_data", "error"]
    assert shown[0].data["text/html"].startswith("<b>failed")
    assert "one factor is missing" in shown[1].evalue
    assert outputs(found, "square_of_three")[0].text == "at 3\n"
    notebook = nbformat.reads(found.notebook, as_version=4)
    for score in found.cells:
        if score.kind == "test":
            assert determine_grade(cell_of(notebook, score.id))[0] == score.points


def test_a_number_as_value_is_no_points(grade, course):
    from nbgrader.utils import determine_grade

    def change(nb):
        nb.cells.append(new_code_cell("3"))

    found = grade(change=change, cube="def cube(x):\n    return 0")
    notebook = nbformat.reads(found.notebook, as_version=4)
    assert determine_grade(cell_of(notebook, "cube_of_two"))[0] == 0


def test_a_crash_loses_its_own_exercise(grade):
    found = grade(square="raise SystemExit")
    assert [c.points for c in found.cells if c.kind == "test"] == [0, 0, 3, 1]
    assert found.status == "graded"
    assert found.flags == ("died: square (exit 1)",)
    assert "the Python process ended" in outputs(found, "square")[0].evalue


def test_a_function_that_ends_the_process_when_called(grade):
    found = grade(square="def square(x):\n    raise SystemExit")
    assert [c.points for c in found.cells if c.kind == "test"] == [0, 0, 3, 1]
    assert {"died: square_of_three (exit 1)", "died: square_is_even (exit 1)"} <= set(found.flags)


def test_whoever_kills_every_process_is_stopped(grade):
    def change(nb):
        for number in range(MAX_DEATHS + 3):
            nb.cells.insert(2, new_code_cell("raise SystemExit", id=f"bomb{number}"))

    found = grade(change=change)
    assert found.status == "stopped"
    assert "have died" in found.message
    assert found.points == 0
    assert {c.status for c in found.cells if c.kind == "test"} == {"not run"}
    assert len(grade.launcher.started) <= MAX_DEATHS + 1


def test_out_of_time_keeps_what_was_earned(grade, monkeypatch):
    slow = "import time\ntime.sleep(1.2)\ndef cube(x):\n    return x**3"
    found = grade(cube=slow, limits=Limits(run_seconds=1))
    assert (found.status, found.message) == ("stopped", "the notebook took more than 1 s")
    assert [c.points for c in found.cells if c.kind == "test"] == [2, 1, 0, 0]


def test_a_machine_that_starts_no_process_costs_no_student_points(grade, monkeypatch):
    real = grade.launcher.start

    def start(limits=None, env=None):
        if grade.launcher.started:
            raise StartError("no more processes here")
        return real(limits, env)

    monkeypatch.setattr(grade.launcher, "start", start)
    with pytest.raises(StartError, match="no more processes"):
        grade(square="def square(x):\n    raise SystemExit")


def test_what_the_slice_left_out_is_run_after_all(grade, course):
    """A name that only appears while the code runs."""
    hidden = "def cube(x):\n    return STEPS_OF(x)\n"
    template = released(course)
    demo = next(c for c in template.cells if c.source.startswith("import os"))
    assert "STEPS" in demo.source
    found = grade(cube="import builtins\nSTEPS_OF = lambda x: x**3\n" + hidden)
    assert cells(found)["cube_of_two"].points == 3
    lost = grade(cube="def cube(x):\n    return NUMBER * 0 + x**3")
    assert cells(lost)["cube_of_two"].points == 3
