"""Whatever a student hands in is read or refused with a reason."""

from __future__ import annotations

import json

import nbformat
import pytest

from coursekit.submission import UnreadableError, read_submission


def notebook(cells, **top):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells, **top}).encode()


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("is empty", b""),
        ("is empty", b" \n"),
        ("web page", b"<!DOCTYPE html><html></html>"),
        ("not valid JSON", b'{"cells": ['),
        ("not valid JSON", b"[" * 100_000),
        ("no notebook", b"[1, 2]"),
        ("no notebook", b'{"cells": []}'),
        ("not UTF-8", b"\xff\xfe{\x00"),
        ("newer than 4", notebook([], nbformat=5)),
        ("without a list of cells", notebook({})),
        ("cells, more than", notebook([{"cell_type": "raw", "source": ""}] * 5001)),
        ("more than 0 MB", b"{}" + b" " * 2000),
    ],
)
def test_what_is_no_notebook_is_refused(reason, data):
    with pytest.raises(UnreadableError, match=reason):
        read_submission(data, max_bytes=1000 if data.startswith(b"{} ") else 20_000_000)


def test_the_old_format_is_converted():
    old = nbformat.v3.new_notebook(
        worksheets=[nbformat.v3.new_worksheet(cells=[nbformat.v3.new_code_cell(input="x = 1")])]
    )
    read = read_submission(nbformat.v3.writes_json(old).encode())
    assert [c.source for c in read.cells] == ["x = 1"]
    assert read.flags == ("old format: nbformat 3, converted",)


def test_a_broken_old_format_is_refused():
    with pytest.raises(UnreadableError, match="cannot be converted"):
        read_submission(b'{"nbformat": 3, "nbformat_minor": 0, "worksheets": 7, "metadata": {}}')


def test_damaged_cells_are_left_out_and_named():
    good = {
        "cell_type": "code",
        "source": ["a\n", "b"],
        "metadata": {"nbgrader": {"grade_id": "f"}},
        "id": "x",
    }
    read = read_submission(notebook([good, 3, {"cell_type": "code", "source": {}}, {"source": "x"}]))
    assert [(c.source, c.grade_id, c.cell_id) for c in read.cells] == [("a\nb", "f", "x")]
    assert read.flags == ("damaged: 3 cells without type or text left out",)


def test_metadata_of_any_shape_is_no_trouble():
    cell = {"cell_type": "markdown", "source": "x", "metadata": [], "id": 3, "attachments": {"a": 1}}
    read = read_submission(notebook([cell], metadata={"coursekit": {"assignment": 7, "release": None}}))
    assert (read.assignment, read.release, read.cells[0].cell_id) == (None, None, None)


def test_pictures_of_a_written_answer_travel_and_nothing_else():
    files = {"p.png": {"image/png": "aGk=", "text/html": "<script>"}, "q.html": {"text/html": "<script>"}}
    cell = {"cell_type": "markdown", "source": "![](attachment:p.png)", "attachments": files}
    assert read_submission(notebook([cell])).cells[0].attachments == {"p.png": {"image/png": "aGk="}}


def test_half_a_surrogate_pair_can_be_written_again():
    data = b'{"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "source": "\\ud800"}]}'
    read_submission(data).cells[0].source.encode("utf-8")
