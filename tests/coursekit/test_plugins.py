"""Plain nbgrader with this course's configuration: no points lost to warnings, no hidden test shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde, GenerateFeedback
from nbgrader.coursedir import CourseDirectory

from coursekit.gradebook import GradebookWriter
from coursekit.isolate.limits import Limits
from coursekit.nbgrader_plugins import REDACTED, RedactHiddenTests
from coursekit.releases import bundle_of

from .conftest import NAME, answered, cell_of, hand_in, page_text, released, template

LOUD = "import sys\ndef square(x):\n    print('at', x, file=sys.stderr)\n    return abs(x) * 3"


# nbgrader's own use of SQLAlchemy warns.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_plain_nbgrader_autograde_and_feedback(course, monkeypatch):
    hand_in(course.root, "loud", answered(released(course), square=LOUD))
    url = f"sqlite:///{course.root / 'gradebook.db'}"
    bundle = bundle_of(course, course.root, NAME, Limits())
    with GradebookWriter(url, course.course_id) as writer:
        writer.register(NAME, bundle.templates[bundle.current])
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    config = course.config.copy()
    where = {"root": str(course.root), "assignment_id": NAME, "student_id": "loud", "db_url": url}
    for converter in (Autograde, GenerateFeedback):
        converter(coursedir=CourseDirectory(config=config, **where), config=config).start()
    with Gradebook(url, course.course_id) as gradebook:
        grades = gradebook.find_submission_notebook(NAME, NAME, "loud").grades
        found = {g.name: g.auto_score for g in grades}
    assert found["square_of_three"] == 2
    assert found["square_is_even"] == 0
    page = page_text(course.root / "feedback" / "loud" / NAME / f"{NAME}.html")
    assert "hidden tests ran here" in page
    assert "assert square(-2) == square(2)" in page
    assert "square(-12)" not in page


def test_hidden_lines_are_taken_out_of_whatever_shows_them(course):
    nb = template(course)
    hidden = 'assert square(-12) == 144, "a negative number"'
    cell = cell_of(nb, "square_is_even")
    frames = [
        "File student.py: their own line",
        f"\x1b[0;32m----> 3\x1b[0m {hidden[:7]}\x1b[0;34m{hidden[7:]}",
    ]
    cell.outputs = [
        new_output("error", ename="AssertionError", evalue="a negative number", traceback=frames),
        new_output("stream", name="stdout", text="all is well"),
    ]
    # A student's cell that prints the history shows the test, too.
    thief = nb.cells[1]
    thief.outputs = [new_output("stream", name="stdout", text=f"[{hidden!r}]".replace('\\"', '"'))]
    thief.outputs += [new_output("display_data", data={"text/html": f"<pre>{hidden}</pre>"})]
    nb, _ = RedactHiddenTests().preprocess(nb, {})
    assert cell.source == "assert square(-2) == square(2)\n# (hidden tests ran here)"
    assert cell.outputs[0].traceback == ["File student.py: their own line", REDACTED]
    assert cell.outputs[0].evalue == "a negative number"
    assert cell.outputs[1].text == "all is well"
    assert thief.outputs[0].text == REDACTED
    assert thief.outputs[1].data["text/html"] == REDACTED
    nbformat.validate(nb)


def test_a_mark_scheme_is_a_note(course):
    nb = nbformat.v4.new_notebook()
    meta = {"grade": False, "solution": False, "locked": True, "task": True, "grade_id": "t", "points": 1}
    text = "Plot it.\n### BEGIN MARK SCHEME\nOne point for titles.\n### END MARK SCHEME"
    nb.cells = [nbformat.v4.new_markdown_cell(text, metadata={"nbgrader": meta})]
    assert RedactHiddenTests().preprocess(nb, {})[0].cells[0].source == "Plot it.\n(mark scheme)"
