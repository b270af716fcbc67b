"""Run one notebook and say what each test cell is worth: what a student does before handing in.

The JSON object of `coursekit check NOTEBOOK --json`:

    notebook    path as given
    assignment, release    from the notebook's metadata, or null
    points, max_points     of the test cells; what a person grades is not in them
    seconds, peak_mb       of the run; peak_mb is null where the system does not tell
    problem     why it could not run to its end, or ""
    cells       a list of {id, kind, status, points, max_points, report}; see coursekit.score.CellScore
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from coursekit.errors import CourseError
from coursekit.execute import Limits, execute
from coursekit.progress import keep_scores
from coursekit.score import scores
from coursekit.submission import UnreadableError, read_submission

__all__ = ["check_notebook"]


def check_notebook(
    path: Path, *, limits: Limits | None = None, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a copy of the notebook at `path` and score it; the file is not touched, and its owner's progress is recorded.

    Raises:
        CourseError: when the file is no notebook, or no kernel starts.
    """
    nb = _read(path)
    try:
        run = execute(nb, limits=limits, env=env)
    except (RuntimeError, OSError) as error:
        raise CourseError(f"{path}: no Python kernel could be started: {error}") from error
    found = scores(run.notebook)
    about = nb.metadata.get("coursekit", {})
    keep_scores(about, found, path.resolve().parent)
    tests = [s for s in found if s.kind == "test"]
    return {
        "notebook": str(path),
        "assignment": about.get("assignment"),
        "release": about.get("release"),
        "points": sum(s.points or 0.0 for s in tests),
        "max_points": sum(s.max_points for s in tests),
        "seconds": round(run.seconds, 3),
        "peak_mb": run.peak_mb,
        "problem": run.problem,
        "cells": [vars(s) for s in found],
    }


def _read(path: Path) -> NotebookNode:
    """The notebook at `path`, whatever a student's editor did to it; graded cells keep their metadata."""
    try:
        data = path.read_bytes()
        submission = read_submission(data)
    except OSError as error:
        raise CourseError(f"{path}: cannot be read: {error.strerror}") from error
    except UnreadableError as error:
        raise CourseError(f"{path} {error}") from error
    if not any(cell.grade_id for cell in submission.cells):
        # Without nbgrader's metadata nothing tells tests from other cells.
        make = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}
        return new_notebook(cells=[make[c.cell_type](source=c.source) for c in submission.cells])
    nb = nbformat.reads(data.decode("utf-8-sig"), as_version=4)
    for cell in nb.cells:
        meta = cell.metadata.get("nbgrader", {})
        if meta.get("grade") and not ("grade_id" in meta and _is_number(meta.get("points"))):
            raise CourseError(f"{path}: a graded cell has lost its id or its points; fetch the notebook anew")
    return nb


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
