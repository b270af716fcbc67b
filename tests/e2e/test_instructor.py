"""What an instructor sees after `coursekit grade`: nbgrader's formgrader, the feedback pages, the report."""

from __future__ import annotations

import csv

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from coursekit.new_class import Paper
from tests.e2e.browser import MATHJAX_CDN, screenshot
from tests.e2e.conftest import NAME, GradedClass

pytestmark = pytest.mark.e2e


@pytest.fixture
def allowed() -> tuple[str, ...]:
    # Where MathJax was not loaded, a script of nbgrader's formgrader calls it all the same.
    return (MATHJAX_CDN, r"exception: MathJax is not defined")


@pytest.fixture
def formgrader(page: Page, graded: GradedClass) -> FrameLocator:
    """nbgrader's formgrader, opened by its menu."""
    page.goto(graded.lab.url("lab"))
    page.get_by_role("menubar").get_by_role("menuitem", name="Nbgrader", exact=True).click()
    page.locator(".lm-Menu").get_by_role("menuitem", name="Formgrader", exact=True).click()
    return page.frame_locator("#jp-main-dock-panel iframe")


def test_everybody_gets_the_points_they_deserve(graded: GradedClass, paper: Paper) -> None:
    with (graded.folder / "scores" / f"{NAME}.csv").open(encoding="utf-8", newline="") as file:
        scores = {row["student"]: row for row in csv.DictReader(file)}
    most = {test: float(scores["ada"][test]) for test in paper.others()}
    assert all(most.values()), "ada's notebook, saved by JupyterLab, is right in everything"
    exercise = graded.mistake.exercise
    assert all(float(scores["ben"][test]) == most[test] for test in paper.others(exercise))
    assert any(float(scores["ben"][test]) < most[test] for test in paper.of(exercise))


def test_formgrader_lists_the_assignment_and_who_handed_in(
    page: Page, graded: GradedClass, formgrader: FrameLocator
) -> None:
    row = formgrader.locator("tbody tr", has_text=NAME)
    expect(row.locator(".num-submissions")).to_have_text("2")
    screenshot(page, "instructor_1_assignments")
    row.locator(".num-submissions a").click()
    for student in ("ada", "ben"):
        line = formgrader.locator("tbody tr", has_text=student)
        expect(line.locator(".status")).to_have_text("needs manual grading")  # one question is graded by hand
        expect(line.locator(".score")).to_contain_text(" / ")
    screenshot(page, "instructor_2_submissions")


def test_formgrader_opens_a_submission_with_its_reports(
    page: Page, graded: GradedClass, formgrader: FrameLocator
) -> None:
    formgrader.get_by_role("link", name="Manual Grading").click()
    formgrader.locator("tbody tr", has_text=NAME).get_by_role("link", name=NAME).click()
    formgrader.locator("tbody tr", has_text=NAME).get_by_role("link", name=NAME).click()
    # The row says "Submission #2" and keeps the student's name out of sight.
    formgrader.locator("tbody tr", has_text="ben").locator(".name a:visible").click()
    hint = formgrader.get_by_text(graded.mistake.hint).first
    hint.scroll_into_view_if_needed()
    expect(hint).to_be_visible()
    screenshot(page, "instructor_3_submission")


def test_feedback_shows_report_and_hint(page: Page, graded: GradedClass, paper: Paper) -> None:
    page.goto(graded.feedback("ben"))
    expect(page.get_by_text(graded.mistake.hint).first).to_be_visible()
    report = page.locator("div", has_text=graded.mistake.hint).locator("strong", has_text="not yet").first
    expect(report).to_be_visible()
    # The list on top leads to the check.
    failed = page.locator("table.graded tr", has_text="not passed").first
    link = failed.get_by_role("link").first
    test = link.inner_text()
    assert test in paper.of(graded.mistake.exercise)
    link.click()
    expect(page.locator(".nbgrader_cell .panel-heading", has_text=test)).to_be_in_viewport()
    screenshot(page, "feedback")
    assert "hidden=" not in page.content()


def test_feedback_of_a_right_notebook_has_nothing_to_say(page: Page, graded: GradedClass) -> None:
    page.goto(graded.feedback("ada"))
    expect(page.locator("table.graded tr", has_text="not passed")).to_have_count(0)
    expect(page.locator("table.graded tr", has_text="passed").first).to_be_visible()


def test_report_names_the_misconception(page: Page, graded: GradedClass) -> None:
    page.goto((graded.folder / "reports" / f"{NAME}.html").as_uri())
    expect(page.locator("#submissions")).to_have_text("2")
    expect(page.locator(".misconception", has_text=graded.mistake.name)).to_contain_text(graded.mistake.hint)
    screenshot(page, "report", full_page=True)
