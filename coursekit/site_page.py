"""The page of an assignment on the course's web site, as a notebook for Sphinx with MyST-NB.

It is the student edition with the outputs of a run of the model answers. Per exercise a reader meets the stub, then
folded: its checks with their reports, the helps, the model answer.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from coursekit.alt_text import DESCRIPTION, alt_text, description_in
from coursekit.errors import CourseError
from coursekit.leaks import TRIVIAL, lines_by_kind, texts
from coursekit.regions import HIDDEN_TESTS, MARK_SCHEME, MARKERS, inside, without_markers
from coursekit.source import BOOTSTRAP

__all__ = ["answer_id", "clean_outputs", "page_notebook", "split_helps"]

# Folds at the beginning of a text cell: the helps of the exercise above it.
_HELPS = re.compile(r"\A(?:\s*<details\b[^>]*>.*?</details>[ \t]*(?:\n|\Z))+", re.S)
_FENCE = re.compile(r"`{3,}")
_IMG_WITHOUT_ALT = re.compile(r"<img\b(?![^>]*\balt\s*=)", re.I)
# A live widget is nothing without its kernel: a progress bar, most of all.
_WIDGET = "application/vnd.jupyter.widget-view+json"


def page_notebook(
    executed: NotebookNode, release: NotebookNode, *, opening: str = "", answers: bool = True
) -> NotebookNode:
    """The page of an assignment.

    Args:
        executed: its source notebook after a run.
        release: the student's notebook of the same source, cell by cell.
        opening: Markdown shown below the title.
        answers: show model answers, folded.

    Raises:
        CourseError: when the two are not of the same source, a picture has no description below it, or the page would
            show what only graders may see.
    """
    name = executed.metadata.coursekit.assignment
    if [cell.id for cell in executed.cells] != [cell.id for cell in release.cells]:
        raise CourseError(
            f"{name}: expected a run of the current source, got another: did it change meanwhile?"
        )
    pairs = [(s, d) for s, d in zip(release.cells, executed.cells, strict=True) if _grade_id(s) != BOOTSTRAP]
    page = new_notebook(
        metadata={
            key: release.metadata[key] for key in ("kernelspec", "language_info") if key in release.metadata
        }
    )
    below = [shown for shown, _ in pairs[1:]] + [None]
    cells = (
        (_shown_cell(name, *pair, following), pair[1]) for pair, following in zip(pairs, below, strict=True)
    )
    page.cells = list(_arranged(cells, answers))
    if opening:
        page.cells.insert(1, _text(opening))
    for number, cell in enumerate(page.cells):
        cell.id = f"page-{number}"
    _keep_secrets(name, executed, page)
    return page


def answer_id(grade_id: str) -> str:
    """The HTML id of an exercise's model answer.

    >>> answer_id("MaskedCouplingLayer")
    'solution-MaskedCouplingLayer'
    """
    return f"solution-{grade_id}"


def split_helps(source: str) -> tuple[str, str]:
    """The folds that a text cell starts with, and the rest.

    >>> split_helps("<details><summary>Help</summary>\\nA.\\n</details>\\n\\nText.")
    ('<details><summary>Help</summary>\\nA.\\n</details>', 'Text.')
    >>> split_helps("Text.")
    ('', 'Text.')
    """
    found = _HELPS.match(source)
    return (found[0].strip(), source[found.end() :].strip()) if found else ("", source)


def clean_outputs(outputs: Iterable[NotebookNode], alt: str = "") -> list[NotebookNode]:
    """Outputs as a page shows them: without stderr, progress bars and other widgets; pictures in HTML get `alt`."""
    kept = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        data = output.get("data", {})
        if _WIDGET in data:
            continue
        output = NotebookNode(output)
        if "text/html" in data and alt:
            page = _IMG_WITHOUT_ALT.sub(lambda m: f'{m[0]} alt="{html.escape(alt)}"', data["text/html"])
            output.data = NotebookNode({**data, "text/html": page})
        if "execution_count" in output:
            output.execution_count = None
        kept.append(output)
    return kept


def _shown_cell(
    name: str, shown: NotebookNode, done: NotebookNode, following: NotebookNode | None
) -> NotebookNode:
    """A cell of the student edition with the outputs that its page shows."""
    if shown.cell_type != "code":
        cell = _text(shown.source)
    else:
        outputs = [] if _is_answer(shown) else done.get("outputs", [])
        if _is_test(shown) and inside(done.source, HIDDEN_TESTS):
            # The visible case comes first and reports once; what follows is the hidden cases'.
            outputs = outputs[:1]
        cell = new_code_cell(shown.source, metadata={"tags": list(shown.metadata.get("tags", []))})
        cell.outputs = clean_outputs(outputs)
        if any(_has_picture(output) for output in cell.outputs):
            described = description_in(following.source) if following is not None else None
            if described is None:
                first = shown.source.strip().splitlines()[0]
                raise CourseError(
                    f"{name}: the cell {first!r} … shows a picture: expected a text cell with a paragraph"
                    f" {DESCRIPTION!r} below it"
                )
            alt = alt_text(described)
            cell.metadata["mystnb"] = {"image": {"alt": alt}}
            cell.outputs = clean_outputs(outputs, alt)
    if "nbgrader" in shown.metadata:
        cell.metadata["nbgrader"] = shown.metadata["nbgrader"]
    return cell


def _arranged(cells: Iterable[tuple[NotebookNode, NotebookNode]], answers: bool) -> Iterator[NotebookNode]:
    """The cells in a page's order: an exercise's checks in one fold, its model answers behind its helps."""
    checks: list[tuple[NotebookNode, float]] = []
    waiting: list[NotebookNode] = []
    for cell, done in cells:
        if _is_test(cell):
            points = cell.metadata.nbgrader.points
            checks.append((_bare(cell), points))
            continue
        yield from _folded_checks(checks)
        checks = []
        if _is_answer(cell):
            if answers:
                waiting.append(_model_answer(done))
            yield _stub(cell)
            continue
        if cell.cell_type == "markdown":
            helps, rest = split_helps(cell.source)
            yield from [_text(helps)] * bool(helps) + waiting
            if rest:
                yield _text(rest)
        else:
            yield from waiting
            yield _bare(cell)
        waiting = []
    yield from (*_folded_checks(checks), *waiting)


def _folded_checks(checks: list[tuple[NotebookNode, float]]) -> Iterator[NotebookNode]:
    if not checks:
        return
    title = f"{_count(len(checks), 'check')}, {_count(sum(points for _, points in checks), 'point')}"
    yield _text(f'<details class="checks"><summary>{title}</summary>')
    yield from (cell for cell, _ in checks)
    yield _text("</details>")


def _stub(cell: NotebookNode) -> NotebookNode:
    if cell.cell_type == "code":
        return _bare(cell)
    return _text(f'<div class="answer-here">\n\n{cell.source}\n\n</div>')


def _model_answer(done: NotebookNode) -> NotebookNode:
    """The answer of a solution cell, as a student would have typed it, in a fold."""
    grade_id, answer = _grade_id(done), without_markers(done.source).strip("\n")
    title = "Model answer"
    if done.cell_type == "code":
        title += f": <code>{html.escape(grade_id)}</code>"
        fence = "`" * max([3, *(len(run) + 1 for run in _FENCE.findall(answer))])
        answer = f"{fence}python\n{answer}\n{fence}"
    fold = f'<details class="model-answer" id="{answer_id(grade_id)}"><summary>{title}</summary>'
    return _text(f"{fold}\n\n{answer}\n\n</details>")


def _keep_secrets(name: str, executed: NotebookNode, page: NotebookNode) -> None:
    """Refuse a page with a line of a hidden test or mark scheme in it, or with a marker."""
    lines = list(lines_by_kind(executed))
    public = {line for line, kind in lines if kind not in (HIDDEN_TESTS, MARK_SCHEME)}
    secret = {line for line, kind in lines if kind in (HIDDEN_TESTS, MARK_SCHEME) and len(line) > TRIVIAL}
    for text in texts(page.cells):
        found = next((s for s in (*MARKERS, *(secret - public)) if s in text), None)
        if found is not None:
            raise CourseError(f"{name}: the page would show {found!r}, which is for graders alone")


def _has_picture(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return any(kind.startswith("image/") for kind in data) or bool(
        _IMG_WITHOUT_ALT.search(data.get("text/html", ""))
    )


def _grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _is_answer(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("solution"))


def _is_test(cell: NotebookNode) -> bool:
    meta = cell.metadata.get("nbgrader", {})
    return bool(meta.get("grade") and not meta.get("solution"))


def _bare(cell: NotebookNode) -> NotebookNode:
    """The cell without nbgrader's metadata, which say nothing to a reader."""
    cell.metadata.pop("nbgrader", None)
    return cell


def _text(source: str) -> NotebookNode:
    return new_markdown_cell(source)


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
