"""Files that are no notebook, damaged ones, and notebooks whose cells and metadata were played with."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from coursekit.source import notebook_bytes
from tests.attacks.bank import COUPLING, EVERYTHING, WRONG, Attack, Paper, answered, cell_of, hand_in, raw

__all__ = ["FILES"]

REFUSED = {"status": "not graded", "seconds": 5.0}
TEST = "coupling_formula"  # a test cell of the attacked exercise

# A released test with its assertion taken out.
HARMLESS = "print('all tests passed')"


def changed(change: Callable[[NotebookNode], None], answer: str | None = None) -> Callable[[Paper], bytes]:
    """All right but the coupling layer, then changed; written as it is, valid or not."""

    def make(paper: Paper) -> bytes:
        nb = answered(paper, {COUPLING: answer})
        change(nb)
        return hand_in(nb)

    return make


def honest(change: Callable[[NotebookNode], None]) -> Callable[[Paper], bytes]:
    """All right, then changed."""

    def make(paper: Paper) -> bytes:
        nb = answered(paper)
        change(nb)
        return hand_in(nb)

    return make


def _each(nb: NotebookNode, act: Callable[[NotebookNode], None]) -> None:
    for cell in nb.cells:
        act(cell)


def _skip_all(nb: NotebookNode) -> None:
    _each(nb, lambda c: c.metadata.update(tags=["skip-execution", "raises-exception", "hide_input"]))


def _generous(nb: NotebookNode) -> None:
    for cell in nb.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.metadata.nbgrader.points = 1000


def _no_grade(nb: NotebookNode) -> None:
    for cell in nb.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.grade = False


def _strip(nb: NotebookNode) -> None:
    for cell in nb.cells:
        cell.metadata = NotebookNode()


def _strip_all(nb: NotebookNode) -> None:
    _strip(nb)
    for number, cell in enumerate(nb.cells):
        cell.id = f"c{number}"


def _swap(nb: NotebookNode) -> None:
    flow, layer = cell_of(nb, "Flow"), cell_of(nb, COUPLING)
    flow.metadata.nbgrader.grade_id, layer.metadata.nbgrader.grade_id = COUPLING, "Flow"


def _retype(nb: NotebookNode) -> None:
    cell = cell_of(nb, TEST)
    cell.cell_type = "markdown"
    del cell["outputs"], cell["execution_count"]


def _rename(nb: NotebookNode) -> None:
    cell_of(nb, TEST).metadata.nbgrader.grade_id = "extra_credit"


def _delete(nb: NotebookNode) -> None:
    nb.cells.remove(cell_of(nb, TEST))


def _edit(nb: NotebookNode) -> None:
    cell_of(nb, TEST).source = HARMLESS


def _duplicate(nb: NotebookNode) -> None:
    cell = cell_of(nb, TEST)
    twin = copy.deepcopy(cell)
    twin.source = HARMLESS
    nb.cells.insert(nb.cells.index(cell), twin)


def _own_test(nb: NotebookNode) -> None:
    """A test of one's own, worth a lot."""
    made = copy.deepcopy(cell_of(nb, TEST))
    made.id, made.source = "own-test", HARMLESS
    made.metadata.nbgrader |= {"grade_id": "bonus", "points": 100}
    nb.cells.append(made)


def _answer_as_test(nb: NotebookNode) -> None:
    meta = cell_of(nb, COUPLING).metadata.nbgrader
    meta.grade, meta.points, meta.locked = True, 50, True


def _outputs(nb: NotebookNode) -> None:
    """What the notebook says it has shown."""
    cell = cell_of(nb, TEST)
    cell.outputs = [nbformat.v4.new_output("stream", text="passed: everything\n")]
    cell.execution_count = 1


def _hostile_names(nb: NotebookNode) -> None:
    for number, name in enumerate(
        ("[/bold]", "[red]x", "\x1b[2J\x07", "a\nb", "\ud800", "=cmd()", "../../x", "x" * 10_000, "<script>")
    ):
        cell = new_markdown_cell(f"extra {number}")
        cell.metadata["nbgrader"] = {"grade_id": name}
        nb.cells.append(cell)


def _many_names(nb: NotebookNode) -> None:
    for number in range(4000):
        nb.cells.append(new_markdown_cell("x", metadata={"nbgrader": {"grade_id": f"cell-{number}"}}))


def _wrong_types(nb: NotebookNode) -> None:
    nb.metadata["coursekit"]["extra"] = [[[]]] * 1000
    kinds = ([], 1, None, {"a": 1}, "x", True)
    plain = [c for c in nb.cells if "nbgrader" not in c.metadata and c.cell_type == "markdown"]
    for cell, kind in zip(plain, kinds, strict=False):
        cell["metadata"] = kind
        cell["attachments"] = kind
    for kind in kinds:
        nb.cells.append(kind)
        nb.cells.append({"cell_type": kind, "source": kind})
        nb.cells.append(
            {"cell_type": "markdown", "source": [kind], "metadata": {"nbgrader": kind}, "id": kind}
        )


def _bomb(nb: NotebookNode) -> None:
    deep: dict = {}
    here = deep
    for _ in range(200):
        here["x"] = {}
        here = here["x"]
    nb.metadata["widgets"] = {str(k): deep for k in range(200)}
    cell_of(nb, COUPLING).metadata["collapsed"] = ["x" * 1000] * 2000


def _attachments(nb: NotebookNode) -> None:
    cell = cell_of(nb, "why_any_network")
    cell.source = "My answer: ![x](attachment:x.png)"
    cell["attachments"] = {
        "\ud800.png": {"image/png": "\ud800"},
        'x.png" onerror="alert(1)': {"image/png": '"><script>pwned()</script>'},
        "y": {"text/html": "<script>pwned()</script>", "image/svg+xml": "<svg onload='pwned()'/>"},
    }


def _half_surrogates(nb: NotebookNode) -> None:
    cell_of(nb, COUPLING).source += "\nmark = '\ud800'\n"
    nb.cells.append(new_markdown_cell("\udfff"))


def _other_release(nb: NotebookNode) -> None:
    nb.metadata.coursekit.release = "\x1b[31m\n" + "f" * 500


def _shuffle(nb: NotebookNode) -> None:
    """Tests first: nothing that they need is there yet."""
    nb.cells.sort(key=lambda c: not c.metadata.get("nbgrader", {}).get("grade"))


def _format_3(paper: Paper) -> bytes:
    nb = answered(paper, {COUPLING: None})
    cells = []
    for cell in nb.cells:
        old = {"cell_type": cell.cell_type, "metadata": cell.metadata}
        if cell.cell_type == "code":
            old |= {"input": cell.source, "outputs": [], "language": "python", "collapsed": False}
        else:
            old["source"] = cell.source
        cells.append(old)
    about = {"name": "", "coursekit": nb.metadata.coursekit}
    return hand_in({"nbformat": 3, "nbformat_minor": 0, "metadata": about, "worksheets": [{"cells": cells}]})


def _cells(number: int) -> Callable[[Paper], bytes]:
    def make(paper: Paper) -> bytes:
        nb = answered(paper)
        nb.cells += [new_code_cell("pass", id=f"x{k}") for k in range(number)]
        return notebook_bytes(nb)

    return make


def _cut(paper: Paper) -> bytes:
    data = notebook_bytes(answered(paper))
    return data[: len(data) // 2]


def _numbers(paper: Paper) -> bytes:
    return b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": ' + b"9" * 5000 + b"}"


def _foreign(paper: Paper) -> bytes:
    nb = answered(paper)
    nb.metadata.coursekit.assignment = "[red]" + "x" * 1000 + "\x1b[2J"
    return hand_in(nb)


FILES = [
    Attack("empty file", raw(b""), message="is empty", **REFUSED),
    Attack("blanks", raw(b" \n" * 1000), message="is empty", **REFUSED),
    Attack(
        "a web page", raw(b"<!DOCTYPE html><html><script>x</script></html>"), message="web page", **REFUSED
    ),
    Attack("invalid JSON", raw(b'{"cells": ['), message="not valid JSON", **REFUSED),
    Attack("cut in the middle", _cut, message="not valid JSON", **REFUSED),
    Attack("not UTF-8", raw(b"\xff\xfe\x00{"), message="not UTF-8", **REFUSED),
    Attack("JSON but no notebook", raw(b"[1, 2]"), message="no notebook", **REFUSED),
    Attack("a number of 5,000 digits", _numbers, message="not valid JSON", **REFUSED),
    Attack(
        "a format of the future", raw(b'{"nbformat": 123456789, "cells": []}'), message="newer", **REFUSED
    ),
    Attack(
        "a format of many digits",
        raw(b'{"nbformat": ' + b"9" * 4000 + b', "cells": []}'),
        message="newer",
        **REFUSED,
    ),
    Attack("a format below zero", raw(b'{"nbformat": -1, "worksheets": 7}'), **REFUSED),
    Attack(
        "an old format with anything in it",
        raw(json.dumps({"nbformat": 3, "worksheets": [{"cells": ["x" * 3000 + "\n\x1b[2J"] * 50}]}).encode()),
        message="cannot be converted",
        **REFUSED,
    ),
    Attack("JSON 100,000 levels deep", raw(b"[" * 100_000), message="not valid JSON", **REFUSED),
    Attack(
        "metadata 100,000 levels deep",
        raw(b'{"nbformat": 4, "cells": [], "metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001),
        message="not valid JSON",
        **REFUSED,
    ),
    Attack("larger than a notebook may be", raw(b" " * 20_000_001 + b"{}"), message="MB", **REFUSED),
    Attack("10,000 cells", _cells(10_000), message="more than 5000", **REFUSED),
    Attack("another assignment's notebook", _foreign, message="this is a notebook of", **REFUSED),
    Attack(
        "a stranger's notebook", raw(notebook_bytes(nbformat.v4.new_notebook())), message="no cell", **REFUSED
    ),
    Attack("2,000 cells more", _cells(2_000), no_flags=True, seconds=20),
    Attack("format 3", _format_3, attacked=(COUPLING,), flags=("old format: nbformat 3",)),
    Attack("skip-execution on every cell", changed(_skip_all), attacked=(COUPLING,)),
    Attack("a thousand points a cell", changed(_generous), attacked=(COUPLING,)),
    Attack("grade: false everywhere", changed(_no_grade), attacked=(COUPLING,)),
    Attack(
        "metadata stripped, wrong answer",
        changed(_strip, WRONG),
        attacked=(COUPLING,),
        flags=("without its id",),
    ),
    Attack("metadata and ids stripped, all right", honest(_strip_all), flags=("without its id",)),
    Attack("ids of two answers swapped", honest(_swap), flags=("swapped id: Flow",)),
    Attack("test turned to text", changed(_retype), attacked=(COUPLING,), flags=(f"retyped: {TEST}",)),
    Attack("test renamed", changed(_rename), attacked=(COUPLING,), flags=("unknown id: extra_credit",)),
    Attack("test deleted", changed(_delete), attacked=(COUPLING,), flags=(f"missing: {TEST}",)),
    Attack("test edited", changed(_edit), attacked=(COUPLING,), flags=(f"edited: {TEST}",)),
    Attack("test duplicated", changed(_duplicate), attacked=(COUPLING,), flags=(f"duplicated: {TEST}",)),
    Attack("a test of one's own", changed(_own_test), attacked=(COUPLING,), flags=("unknown id: bonus",)),
    Attack("an answer that says it is a test", changed(_answer_as_test), attacked=(COUPLING,)),
    Attack("outputs that say passed", changed(_outputs), attacked=(COUPLING,), no_flags=True),
    Attack("tests before answers", honest(_shuffle), lost=EVERYTHING),
    Attack("ids that no terminal likes", honest(_hostile_names), flags=("unknown id: ",)),
    Attack("4,000 unknown ids", honest(_many_names), flags=("unknown id: ",)),
    Attack("wrong types everywhere", honest(_wrong_types), flags=("damaged: ",)),
    Attack("metadata bomb", honest(_bomb), no_flags=True),
    Attack("attachments that are code", honest(_attachments), no_flags=True, forbidden=("pwned",)),
    Attack("half characters", honest(_half_surrogates)),
    Attack("a release that nobody made", honest(_other_release), flags=("unknown release",)),
]
