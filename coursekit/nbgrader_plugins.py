"""Preprocessors of this course's own for nbgrader; nbgrader_config.py names them."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from coursekit.regions import HIDDEN_TESTS, MARK_SCHEME, marked_lines
from coursekit.score import plain_text

__all__ = ["DropStderr", "RedactHiddenTests"]

NOTES = {HIDDEN_TESTS: "# (hidden tests ran here)", MARK_SCHEME: "(mark scheme)"}
REDACTED = "… (this part of the output would show a hidden test)"
# A hidden line shorter than this (`)`, `x = 1`) says nothing, and would match everywhere.
SHORT = 6


class DropStderr(NbGraderPreprocessor):
    """Drops what test cells wrote to stderr: nbgrader takes it for a failure, and a warning is none."""

    def preprocess_cell(
        self, cell: NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Act on one cell, as nbconvert asks."""
        if cell.cell_type == "code" and cell.metadata.get("nbgrader", {}).get("grade"):
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
        return cell, resources


class RedactHiddenTests(NbGraderPreprocessor):
    """Replaces hidden tests and mark schemes by a line of note, in cells and in what any cell put out."""

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        """Act on a notebook, as nbconvert asks."""
        hidden: set[str] = set()
        public: set[str] = set()
        for cell in nb.cells:
            if not _instructors(cell):
                continue
            for _, line, kind in marked_lines(cell.source):
                (public if kind is None else hidden).add(line.strip())
            cell.source = _noted(cell.source)
        secret = {line for line in hidden - public if len(line) >= SHORT}
        for cell in nb.cells:
            for output in cell.get("outputs", []):
                _redact(output, secret)
        return nb, resources


def _instructors(cell: NotebookNode) -> bool:
    meta = cell.metadata.get("nbgrader", {})
    return bool(meta.get("locked")) and not meta.get("solution")


def _noted(source: str) -> str:
    """`source` with each hidden region as one line of note."""
    lines: list[str] = []
    for _, line, kind in marked_lines(source):
        if kind is None:
            lines.append(line)
        elif line.strip() and "BEGIN " in line:
            lines.append(NOTES.get(kind, ""))
    return "\n".join(lines)


def _redact(output: NotebookNode, secret: set[str]) -> None:
    def clean(text: str) -> str:
        return REDACTED if any(line in plain_text(text) for line in secret) else text

    if output.output_type == "stream":
        output.text = clean(output.text)
    elif output.output_type == "error":
        output.evalue = clean(output.evalue)
        # One text a frame: the frames of the student's own code stay.
        output.traceback = [clean(frame) for frame in output.traceback]
    else:
        for kind, value in output.data.items():
            if isinstance(value, str):
                output.data[kind] = clean(value)
