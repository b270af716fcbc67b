"""Points: nbgrader's rule, but a warning costs nothing."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader.utils import determine_grade

from coursekit.score import score_cell

TEST = {"grade": True, "solution": False, "locked": True, "task": False, "grade_id": "t", "points": 4}
ERROR = new_output("error", ename="AssertionError", evalue="no", traceback=[])


def value(text):
    return new_output("execute_result", data={"text/plain": text}, execution_count=1)


@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [ERROR],
        [value("2.5")],
        [value("0")],
        [value("4")],
        [value("'text'")],
        [value("-1")],
        [value("nan")],
    ],
)
def test_points_are_nbgraders(outputs):
    cell = new_code_cell("", metadata={"nbgrader": TEST}, outputs=outputs)
    assert score_cell(cell).points == determine_grade(cell)[0]


def test_what_stands_on_stderr_costs_nothing_here_and_everything_there():
    warning = new_output("stream", name="stderr", text="UserWarning: slow")
    cell = new_code_cell("", metadata={"nbgrader": TEST}, outputs=[warning])
    assert determine_grade(cell)[0] == 0
    assert (score_cell(cell).points, score_cell(cell).status) == (4, "passed")
    cell.outputs.append(ERROR)
    assert (score_cell(cell).points, score_cell(cell).status) == (0, "failed")


def test_more_than_the_maximum_is_the_maximum():
    assert score_cell(new_code_cell("", metadata={"nbgrader": TEST}, outputs=[value("99")])).points == 4


@pytest.mark.parametrize(
    ("ename", "status"), [("NotImplementedError", "open"), ("NotRun", "not run"), ("NameError", "failed")]
)
def test_an_error_says_what_happened(ename, status):
    output = new_output("error", ename=ename, evalue="\x1b[31mwhy\x1b[0m", traceback=[])
    score = score_cell(new_code_cell("", metadata={"nbgrader": TEST}, outputs=[output]))
    assert (score.status, score.report) == (status, f"{ename}: why")


def test_a_report_of_several_lines_is_taken_as_it_is():
    output = new_output("error", ename="CheckFailed", evalue="expected 1\ngot 2", traceback=[])
    assert (
        score_cell(new_code_cell("", metadata={"nbgrader": TEST}, outputs=[output])).report
        == "expected 1\ngot 2"
    )


def test_a_written_answer_waits_unless_it_is_the_stub():
    meta = {"nbgrader": {**TEST, "solution": True}}
    cell = new_markdown_cell("An answer", metadata=meta)
    assert (score_cell(cell, stub="YOUR ANSWER HERE").points, score_cell(cell).status) == (None, "to grade")
    assert score_cell(cell, stub="An answer\n").points == 0
    assert score_cell(new_markdown_cell("text")) is None
