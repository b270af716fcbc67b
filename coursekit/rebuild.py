"""The notebook that is graded: the instructor's cells with the student's answers in them.

Locked cells, tests among them, are the instructor's. Of every other cell the source travels, in the student's
order; tags, metadata, outputs and files never do. So a deleted, edited, retyped or duplicated test cell is
back as it was.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell

from coursekit.regions import marked_lines
from coursekit.source import defined_names
from coursekit.submission import Submission, SubmittedCell

__all__ = ["Rebuilt", "printable", "rebuild", "visible_source"]

MAX_UNKNOWN = 20  # flags about ids that nobody knows: one for each of 5,000 cells would bury the others
# A page takes a raw cell without a kind for HTML of its own.
# Where pip gets the course from. It may have moved since a release was handed out: that is no edit of a student's.
_PUBLISHED = re.compile(r"\bgit\+https?://[^\s\"']+")
_NOT_HTML = {"raw_mimetype": "text/plain"}
_MAKE = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}


@dataclass(frozen=True)
class Rebuilt:
    """The rebuilt notebook; `found` are the ids of the template's own cells that the submission has.

    `flags` name what was wrong, as 'what: cell'.
    """

    notebook: NotebookNode
    found: frozenset[str]
    flags: tuple[str, ...]


def visible_source(cell: NotebookNode) -> str:
    """A cell as students see it: without its hidden regions."""
    return "\n".join(line for _, line, kind in marked_lines(cell.source) if kind is None)


def printable(text: str) -> str:
    """`text` without line ends and terminal commands: flags are lines of a table.

    >>> printable("a\\nb\\x1b[2J")
    'a?b?[2J'
    """
    return "".join(c if c.isprintable() else "?" for c in text)


def rebuild(template: NotebookNode, submission: Submission) -> Rebuilt:
    """Put a submission's answers into `template`, the release with its hidden tests still in it.

    A submitted cell is the template's by its grade id; else by its cell id; else by the same text; else, for
    an answer, by the name it defines. Of several, the first counts; for an answer, the first that was
    changed.
    """
    matcher = _Matcher(template, submission)
    winners = matcher.match()
    place = {index: name for name, index in winners.items()}
    cells: list[NotebookNode] = []
    for index, cell in enumerate(submission.cells):
        name = place.get(index)
        if name is not None:
            cells.append(_filled(matcher.template[name], cell))
        elif index in matcher.duplicates:
            # Kept for a grader to read, but not run: it would overwrite the answer that counts.
            cells.append(new_raw_cell(source=cell.source, id=f"s-{index}", metadata=_NOT_HTML.copy()))
        else:
            cells.append(_plain(cell, index))
    flags = [*submission.flags, *matcher.flags]
    if matcher.unknown > MAX_UNKNOWN:
        flags.append(f"unknown id: and {matcher.unknown - MAX_UNKNOWN} more")
    missing = [name for name in matcher.owned if name not in winners]
    flags += [f"missing: {name}" for name in missing]
    _insert(cells, missing, template)
    nb = copy.deepcopy(template)
    nb.cells = cells
    return Rebuilt(nb, frozenset(n for n in winners if n in matcher.owned), tuple(flags))


class _Matcher:
    """Which submitted cell is which cell of the template."""

    def __init__(self, template: NotebookNode, submission: Submission) -> None:
        self.template = {cell.id: cell for cell in template.cells}
        # The template's own cells: graded, locked or to be answered. The others only mark a place.
        self.owned = {c.id: c.metadata.nbgrader for c in template.cells if "nbgrader" in c.metadata}
        self.by_grade_id = {meta["grade_id"]: name for name, meta in self.owned.items()}
        self.answers = {meta["grade_id"]: n for n, meta in self.owned.items() if meta["solution"]}
        self.cells = submission.cells
        self.candidates: dict[str, list[int]] = {}
        self.taken: set[int] = set()
        self.duplicates: set[int] = set()
        self.flags: list[str] = []
        self.unknown = 0

    def match(self) -> dict[str, int]:
        """Template cell id → index of the submitted cell that counts."""
        self._by_grade_id()
        for index, cell in self._left():
            if cell.cell_id in self.template and not self._another_answer(cell.cell_id, cell):
                self._add(cell.cell_id, index)
        self._by_text()
        self._by_defined_name()
        winners = {name: self._winner(name, found) for name, found in self.candidates.items()}
        for name, index in sorted(winners.items(), key=lambda item: item[1]):
            self._flag_changes(name, self.cells[index])
        return winners

    def _left(self) -> list[tuple[int, SubmittedCell]]:
        return [(i, c) for i, c in enumerate(self.cells) if i not in self.taken]

    def _add(self, name: str, index: int) -> None:
        self.candidates.setdefault(name, []).append(index)
        self.taken.add(index)

    def _by_grade_id(self) -> None:
        for index, cell in self._left():
            if cell.grade_id is None:
                continue
            name = self.by_grade_id.get(cell.grade_id)
            if name is None:
                self.unknown += 1
                if self.unknown <= MAX_UNKNOWN:
                    self.flags.append(f"unknown id: {printable(cell.grade_id[:80])}")
            elif self._another_answer(name, cell):
                self.flags.append(f"swapped id: {cell.grade_id}")
            else:
                self._add(name, index)

    def _another_answer(self, name: str, cell: SubmittedCell) -> bool:
        """The cell stands under one exercise's id and defines another's name."""
        meta = self.owned.get(name)
        if meta is None or not meta["solution"] or meta["grade"] or cell.cell_type != "code":
            return False
        names = defined_names(cell.source)
        return meta["grade_id"] not in names and any(other in names for other in self.answers)

    def _by_text(self) -> None:
        """Cells whose metadata and id are gone but whose text is the release's."""
        texts = {visible_source(self.template[n]).strip(): n for n in self.owned if n not in self.candidates}
        for index, cell in self._left():
            name = texts.get(cell.source.strip())
            if name is not None and name not in self.candidates:
                self._add(name, index)

    def _by_defined_name(self) -> None:
        wanted = {g: n for g, n in self.answers.items() if n not in self.candidates}
        for index, cell in self._left():
            if not wanted:
                return
            if cell.cell_type == "code":
                for grade_id in sorted(defined_names(cell.source) & wanted.keys())[:1]:
                    self._add(wanted.pop(grade_id), index)

    def _winner(self, name: str, found: list[int]) -> int:
        best = found[0]
        if name in self.owned:
            if self.owned[name]["solution"]:
                stub = self.template[name].source.strip()
                best = next((i for i in found if self.cells[i].source.strip() != stub), best)
            if len(found) > 1:
                self.flags.append(f"duplicated: {self.owned[name]['grade_id']}")
                self.duplicates |= set(found) - {best}
        return best

    def _flag_changes(self, name: str, cell: SubmittedCell) -> None:
        if name not in self.owned:
            return
        meta, own = self.owned[name], self.template[name]
        if cell.grade_id != meta["grade_id"]:
            self.flags.append(f"without its id: {meta['grade_id']}")
        if cell.cell_type != own.cell_type:
            self.flags.append(f"retyped: {meta['grade_id']}")
        elif not meta["solution"] and _text(cell.source) != _text(visible_source(own)):
            self.flags.append(f"edited: {meta['grade_id']}")


def _text(source: str) -> str:
    """What an edit would change of a cell."""
    return _PUBLISHED.sub("", source.strip())


def _filled(own: NotebookNode, cell: SubmittedCell) -> NotebookNode:
    """The template's cell, with the student's text where the text is theirs."""
    if "nbgrader" not in own.metadata:
        return _plain(cell, own.id)
    filled = copy.deepcopy(own)
    if own.metadata.nbgrader["solution"]:
        filled.source = cell.source
        if own.cell_type == "markdown" and cell.attachments:
            filled.attachments = NotebookNode(copy.deepcopy(cell.attachments))
    return filled


def _plain(cell: SubmittedCell, name: int | str) -> NotebookNode:
    made = _MAKE[cell.cell_type](source=cell.source, id=name if isinstance(name, str) else f"s-{name}")
    if cell.cell_type == "raw":
        made.metadata = NotebookNode(_NOT_HTML)
    if cell.attachments:
        made.attachments = NotebookNode(copy.deepcopy(cell.attachments))
    return made


def _insert(cells: list[NotebookNode], missing: list[str], template: NotebookNode) -> None:
    """Put each missing cell right after the nearest cell that precedes it in the template."""
    absent = set(missing)
    for number, own in enumerate(template.cells):
        if own.id not in absent:
            continue
        before = {c.id for c in template.cells[:number]}
        after = max((i + 1 for i, c in enumerate(cells) if c.id in before), default=0)
        cells.insert(after, copy.deepcopy(own))
