"""A run killed at any moment and started again ends where an undisturbed one does.

`COURSEKIT_KILLS=20 pytest tests/coursekit/test_resume.py` tries 20 moments.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from .conftest import answered, hand_in, released
from .runs import Run, until
from .test_faults import command

MOMENTS = int(os.environ.get("COURSEKIT_KILLS", "2"))
STUDENTS = 13
# Of a result: what is measured anew each time.
MEASURED = {"seconds", "cpu_seconds", "peak_mb"}
# Rows by names, since ids are drawn at random, and without the moment when they were written.
ROWS = {
    "grade": """SELECT s.student_id, c.name, g.auto_score, g.manual_score, g.extra_credit, g.needs_manual_grade
        FROM grade g JOIN submitted_notebook n ON g.notebook_id = n.id
        JOIN submitted_assignment s ON n.assignment_id = s.id JOIN base_cell c ON g.cell_id = c.id""",
    "comment": """SELECT s.student_id, c.name, k.auto_comment, k.manual_comment
        FROM comment k JOIN submitted_notebook n ON k.notebook_id = n.id
        JOIN submitted_assignment s ON n.assignment_id = s.id JOIN base_cell c ON k.cell_id = c.id""",
    "submitted": "SELECT student_id, timestamp FROM submitted_assignment",
    "student": "SELECT id FROM student",
    "results": "SELECT assignment, student, key FROM coursekit_results",
}


@pytest.fixture
def handed_in(course):
    """A class of thirteen: right, wrong, open, damaged, crashing."""
    nb = released(course)
    answers = {
        "right": {},
        "wrong": {"square": "def square(x):\n    return x + x"},
        "crash": {"cube": "import os\nos._exit(1)"},
        "blank": None,
    }
    for kind, given in answers.items():
        for i in range(3 if kind != "right" else 2):
            hand_in(course.root, f"{kind}{i}", nb if given is None else answered(nb, why=f"{i}", **given))
    hand_in(course.root, "html", b"<html></html>")
    hand_in(course.root, "timed", answered(nb)).with_name("timestamp.txt").write_text(
        "2026-11-20 12:30:00 UTC"
    )
    return course


def everything(root: Path) -> dict[str, object]:
    """All that a run leaves behind, as far as it must be the same each time."""
    with sqlite3.connect(root / "gradebook.db") as book:
        found: dict[str, object] = {name: sorted(map(repr, book.execute(q))) for name, q in ROWS.items()}
        tables = [name for (name,) in book.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found["rows"] = {t: book.execute(f"SELECT count(*) FROM {t}").fetchone() for t in tables}
    book.close()
    for path in sorted(root.glob("results/*/*")):
        result = json.loads(path.read_text(encoding="utf-8"))
        found[str(path.relative_to(root))] = {k: v for k, v in result.items() if k not in MEASURED}
    for folder in ("autograded", "scores", "feedback", "releases"):
        for path in sorted(p for p in (root / folder).rglob("*") if p.is_file()):
            # The stamp behind a page has the gradebook's ids in it.
            found[str(path.relative_to(root))] = (
                path.read_bytes().rpartition(b"<!-- coursekit")[0] or path.read_bytes()
            )
    return found


def written(root: Path) -> list[Path]:
    """Results, graded notebooks, the table, pages and what `nbgrader release_feedback` needs beside them."""
    return [p for what in ("results", "autograded", "scores", "feedback") for p in (root / what).rglob("*.*")]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_can_be_started_again(handed_in):
    root = handed_in.root
    clean = root.parent / "clean"
    shutil.copytree(root, clean)
    with Run(root, *command(workers=2)) as run:
        code, _, err = run.finish()
        assert (code, err) == (0, "")
    expected, total = everything(root), len(written(root))
    assert total == 3 * STUDENTS + 1 + 1  # the time of submission lies beside the page of "timed"
    chance, reached = random.Random(5), []
    for i in range(MOMENTS):
        shutil.rmtree(root)
        shutil.copytree(clean, root)
        # One moment in each part of the run, which is told by what it has written: most of its time is starting.
        files, more = int(total * (i + chance.random()) / MOMENTS), chance.uniform(0, 0.1)
        with Run(root, *command(workers=2)) as run:
            until(lambda n=files: len(written(root)) >= n)
            time.sleep(more)
            run.look()
            run.popen.kill()
            reached.append(len(written(root)))
            with Run(
                root, *command(workers=2)
            ) as again:  # at once: what is left of the first may still be there
                code, _, err = again.finish()
                assert (code, err) == (0, ""), (files, more, err)
        assert everything(root) == expected, (files, more)
    print(f"\nkilled when it had written {reached} of {total} files")
