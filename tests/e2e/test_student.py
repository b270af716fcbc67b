"""What a student does with a notebook, by mouse and keyboard, in JupyterLab with nbgrader."""

from __future__ import annotations

import re

import pytest
from nbformat import NotebookNode
from playwright.sync_api import Page, expect

from autograder_tests.catalogue import Misconception
from coursekit.new_class import Paper
from tests.e2e.browser import screenshot
from tests.e2e.conftest import NOTEBOOK
from tests.e2e.jupyter import ALLOWED, Lab
from tests.e2e.notebook import NotebookPage

pytestmark = pytest.mark.e2e


@pytest.fixture
def allowed() -> tuple[str, ...]:
    return ALLOWED


@pytest.fixture
def notebook(page: Page, lab: Lab) -> NotebookPage:
    """The released notebook, opened."""
    return NotebookPage(page, lab, NOTEBOOK)


def test_an_untouched_exercise_says_that_it_is_open(notebook: NotebookPage, paper: Paper) -> None:
    exercise = paper.exercises[0]
    first, second = paper.tests[exercise][:2]
    notebook.run_all()
    expect(notebook.output(first)).to_contain_text("NotImplementedError")
    expect(notebook.output(first)).to_contain_text(f"{exercise}: still to be answered")
    assert notebook.count(first) is not None
    assert notebook.count(second) is None, "the run went on after the first failing check"
    notebook.output(first).scroll_into_view_if_needed()
    screenshot(notebook.page, "student_1_open_exercise")


def test_a_common_mistake_is_met_with_its_hint_and_a_right_answer_passes(
    notebook: NotebookPage, paper: Paper, mistake: Misconception
) -> None:
    exercise = paper.exercises[0]
    notebook.run_all()  # up to the open exercise: imports and what stands before it

    notebook.type(exercise, mistake.source)
    assert notebook.source(exercise) == mistake.source
    notebook.run(exercise)
    shown = [notebook.run(test) for test in paper.tests[exercise]]
    with_hint = [output for output in shown if mistake.hint in output.inner_text()]
    assert with_hint, "no check of the exercise shows the mistake's hint"
    report = with_hint[0].locator(".jp-RenderedHTMLCommon", has_text=mistake.hint)
    expect(report.locator("strong").first).to_contain_text("not yet")  # rendered, not its markup as text
    expect(report.locator("table")).to_be_visible()  # expected and got
    expect(with_hint[0]).not_to_contain_text("subject.call")  # no frames of the checks' own code
    report.scroll_into_view_if_needed()
    screenshot(notebook.page, "student_2_hint")

    answer = paper.answers[exercise]
    notebook.type(exercise, answer)
    assert notebook.source(exercise) == answer
    notebook.run(exercise)
    for test in paper.tests[exercise]:
        expect(notebook.run(test).locator("strong").first).to_contain_text("passed")
    screenshot(notebook.page, "student_3_passed")


def test_locked_cells_refuse_typing_and_deleting(notebook: NotebookPage, paper: Paper) -> None:
    (test, *_) = paper.tests[paper.exercises[0]]
    before = notebook.source(test)
    notebook.editor(test).click()
    notebook.page.keyboard.type("assert True  # ")
    assert notebook.source(test) == before
    number = len(notebook.cells())
    notebook.select(test)
    notebook.page.keyboard.press("d")
    notebook.page.keyboard.press("d")
    assert notebook.source(test) == before
    assert len(notebook.cells()) == number
    # The same keys do reach a cell that is open.
    notebook.editor(paper.exercises[0]).click()
    notebook.page.keyboard.type("# mine")
    assert "# mine" in notebook.source(paper.exercises[0])


def test_validate_names_what_is_open(notebook: NotebookPage, paper: Paper) -> None:
    dialog = notebook.validate()
    expect(dialog).to_have_class(re.compile("nbgrader-ErrorDialog"))
    expect(dialog).to_contain_text("NotImplementedError")
    screenshot(notebook.page, "student_4_validate_open")


def test_a_finished_notebook_passes_and_validates(finished: NotebookNode, paper: Paper) -> None:
    """`finished` was run and validated in the browser; what JupyterLab saved holds the reports."""
    outputs = {
        cell.metadata.nbgrader.grade_id: cell.outputs
        for cell in finished.cells
        if cell.cell_type == "code" and "nbgrader" in cell.metadata
    }
    tests = paper.others()
    assert tests
    for test in tests:
        texts = [o.data["text/plain"] for o in outputs[test] if o.output_type == "display_data"]
        assert any(text.startswith("passed: ") for text in texts), f"{test}: {outputs[test]}"


def test_students_see_no_panels_of_instructors(page: Page, lab: Lab) -> None:
    page.goto(lab.url("lab"))
    page.get_by_role("menubar").get_by_role("menuitem", name="Nbgrader", exact=True).click()
    entries = page.locator(".lm-Menu [role=menuitem]")
    expect(entries.filter(has_text="Assignment List")).to_be_visible()
    for panel in ("Formgrader", "Course List", "Create Assignment"):
        expect(entries.filter(has_text=re.compile(panel, re.I))).to_have_count(0)
