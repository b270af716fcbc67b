"""Help on request, as JupyterLab renders it: a hint, the model answer, the table of checks."""

from __future__ import annotations

import re

import pytest
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


def test_help_on_request_is_rendered(page: Page, lab: Lab, paper: Paper, mistake: Misconception) -> None:
    notebook = NotebookPage(page, lab, NOTEBOOK)
    exercise = paper.exercises[0]
    notebook.run_all()  # up to the open exercise
    expect(notebook.output("bootstrap")).to_contain_text(
        re.compile(r"course \d+\.\d+\.\d+, release [0-9a-f]{12}")
    )

    notebook.type(exercise, f'{mistake.source}\n\nhint("{exercise}")')
    card = notebook.run(exercise).locator(".jp-RenderedMarkdown")
    expect(card.locator("strong").first).to_have_text(re.compile(r"Help 1 of \d"))
    expect(card.locator("mjx-container").first).to_be_visible()  # formulas in it are typeset
    failed = [out for test in paper.tests[exercise] if "not yet" in (out := notebook.run(test)).inner_text()]
    expect(failed[0]).to_contain_text(f'hint("{exercise}") has more help')
    screenshot(page, "coach_1_hint")

    notebook.type(exercise, f'{mistake.source}\n\nshow_solution("{exercise}")')
    shown = notebook.run(exercise).locator(".jp-RenderedMarkdown")
    answer = shown.locator("pre")
    expect(answer).to_be_visible()
    expect(answer).to_contain_text(f"class {exercise}")
    screenshot(page, "coach_2_solution")

    notebook.type(exercise, f"{mistake.source}\n\nprogress()")
    table = notebook.run(exercise).get_by_role("table")
    expect(table.locator("caption")).to_be_visible()
    expect(table.get_by_role("row", name=re.compile("not yet")).first).to_be_visible()
    screenshot(page, "coach_3_progress")

    notebook.type(exercise, "two_pieces")
    expect(notebook.run(exercise)).to_contain_text("`two_pieces` is defined in the section")
