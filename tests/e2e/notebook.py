"""A notebook open in JupyterLab: what a person sees and does there.

Everything is done by mouse and keyboard. JupyterLab's own objects are only read: where a cell is, what it holds, and
when a command that was given has come to its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.e2e.jupyter import Lab

__all__ = ["NotebookPage"]

OPEN_SECONDS = 60
RUN_SECONDS = 180

# Of every cell: its grade id, its text, and its number when it has run.
CELLS = """() => jupyterapp.shell.currentWidget.content.widgets.map(cell => ({
    grade_id: cell.model.getMetadata("nbgrader")?.grade_id ?? "",
    source: cell.model.sharedModel.getSource(),
    count: cell.model.executionCount ?? null,
}))"""
READY = """() => {
    const panel = window.jupyterapp?.shell.currentWidget;
    return panel?.content?.widgets?.length > 1 && panel.sessionContext?.session?.kernel?.status === "idle";
}"""
COUNT_COMMANDS = """() => {
    window.commandsDone = {};
    jupyterapp.commands.commandExecuted.connect((_, { id, result }) => {
        const done = () => { commandsDone[id] = (commandsDone[id] ?? 0) + 1; };
        Promise.resolve(result).then(done, done);
    });
}"""


class NotebookPage:
    """The notebook at `path` of a lab's folder, opened in `page`."""

    def __init__(self, page: Page, lab: Lab, path: str) -> None:
        self.page = page
        page.goto(lab.notebook_url(path))
        page.wait_for_function(READY, timeout=1000 * OPEN_SECONDS)
        page.evaluate(COUNT_COMMANDS)
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def cells(self) -> list[dict[str, Any]]:
        """Of every cell its `grade_id` ("" for none), `source` and execution `count`."""
        return self.page.evaluate(CELLS)

    def source(self, grade_id: str) -> str:
        """The text of the cell, as JupyterLab would save it."""
        return self.cells()[self._index(grade_id)]["source"]

    def count(self, grade_id: str) -> int | None:
        """The number in the cell's brackets."""
        return self.cells()[self._index(grade_id)]["count"]

    def cell(self, grade_id: str) -> Locator:
        """The cell on the page."""
        return self.panel.locator(".jp-Notebook .jp-Cell").nth(self._index(grade_id))

    def output(self, grade_id: str) -> Locator:
        """What stands below the cell's code."""
        return self.cell(grade_id).locator(".jp-Cell-outputArea")

    def editor(self, grade_id: str) -> Locator:
        """The cell's editor."""
        return self.cell(grade_id).locator(".cm-content")

    def _index(self, grade_id: str) -> int:
        ids = [cell["grade_id"] for cell in self.cells()]
        assert ids.count(grade_id) == 1, f"expected one cell {grade_id!r}, got {ids.count(grade_id)}"
        return ids.index(grade_id)

    def select(self, grade_id: str) -> None:
        """Select the cell, in command mode: click beside it."""
        self.cell(grade_id).locator(".jp-InputPrompt").click()
        expect(self.cell(grade_id)).to_have_class(re.compile("jp-mod-active"))

    def type(self, grade_id: str, text: str) -> None:
        """Replace what the cell holds, in one piece as a paste does: typed by single keys, JupyterLab would indent again."""
        self.editor(grade_id).click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def run(self, grade_id: str) -> Locator:
        """Run the cell by Ctrl+Enter and wait for its end; its output."""
        self.select(grade_id)
        with self._done("notebook:run-cell"):
            self.page.keyboard.press("Control+Enter")
        return self.output(grade_id)

    def run_all(self) -> None:
        """Run → Run All Cells; it ends at the first error."""
        with self._done("notebook:run-all-cells"):
            self._menu("Run", "Run All Cells")

    def restart_and_run_all(self) -> None:
        """Run → Restart Kernel and Run All Cells, and yes."""
        with self._done("notebook:run-all-cells"):
            self._menu("Run", "Restart Kernel and Run All Cells…")
            self.page.locator(".jp-Dialog-button.jp-mod-accept").click()

    def save(self) -> None:
        """Ctrl+S."""
        with self._done("docmanager:save"):
            self.page.keyboard.press("Control+s")

    def validate(self) -> Locator:
        """Press nbgrader's Validate; its dialog."""
        self.panel.get_by_role("button", name="Validate").click()
        dialog = self.page.locator(".nbgrader-SuccessDialog, .nbgrader-ErrorDialog")
        expect(dialog).to_have_count(1, timeout=1000 * RUN_SECONDS)
        return dialog

    def _menu(self, menu: str, entry: str) -> None:
        self.page.get_by_role("menubar").get_by_role("menuitem", name=menu, exact=True).click()
        self.page.locator(".lm-Menu").get_by_role("menuitem", name=entry, exact=True).click()

    @contextmanager
    def _done(self, command: str) -> Iterator[None]:
        name = json.dumps(command)
        before = self.page.evaluate(f"() => commandsDone[{name}] ?? 0")
        yield
        self.page.wait_for_function(
            f"() => (commandsDone[{name}] ?? 0) > {before}", timeout=1000 * RUN_SECONDS
        )
