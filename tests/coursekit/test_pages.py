"""Feedback pages: exactly those that are stale are written, and one that cannot be made is a line in its row."""

from __future__ import annotations

import csv
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from nbgrader.api import Gradebook
from typer.testing import CliRunner

import coursekit.feedback
import coursekit.pages
from coursekit.class_folder import ClassFolder
from coursekit.cli import app
from coursekit.feedback import FeedbackWriter
from coursekit.pages import write_pages
from coursekit.processes import Processes

from .conftest import NAME, answered, hand_in, page_text, released
from .test_grade import fake, grade  # noqa: F401 - a fixture

STUDENTS = "abcd"


@pytest.fixture
def graded(course, fake):  # noqa: F811
    for student in STUDENTS:
        hand_in(course.root, student, answered(released(course), why=student))
    return grade(course)


def pages(course):
    return {s: course.root / "feedback" / s / NAME / f"{NAME}.html" for s in STUDENTS}


@pytest.fixture
def rewritten(course, graded):
    """Who got a new page from a run: the others' were not touched."""

    def run(**options):
        for page in pages(course).values():
            if page.exists():
                os.utime(page, (1, 1))
        found = grade(course, **options)
        assert all(g.feedback == pages(course)[s] for s, g in found.items())
        return {s for s, page in pages(course).items() if page.stat().st_mtime > 1}

    return run


def edit(course, student, change):
    with Gradebook(f"sqlite:///{course.root / 'gradebook.db'}", course.course_id) as gradebook:
        change(gradebook, student)
        gradebook.db.commit()


def test_only_stale_pages_are_written(course, rewritten):
    assert rewritten() == set()

    def score(gradebook, student):
        gradebook.find_grade("why", NAME, NAME, student).manual_score = 1.0

    def comment(gradebook, student):
        gradebook.find_comment("why", NAME, NAME, student).manual_comment = "Say it shorter."

    edit(course, "a", score)
    assert rewritten() == {"a"}
    edit(course, "b", comment)
    assert rewritten() == {"b"}
    assert "Say it shorter." in page_text(pages(course)["b"])
    edit(course, "b", comment)  # the same again
    assert rewritten() == set()
    pages(course)["c"].unlink()
    assert rewritten() == {"c"}
    hand_in(course.root, "d", answered(released(course), why="Yet another one."))
    assert rewritten() == {"d"}
    assert "Yet another one." in page_text(pages(course)["d"])


def test_another_run_with_other_outputs_has_another_page(course, rewritten):
    """The same submission under the same key can show other things: a time, a random number."""
    said = course.root / "said.txt"
    said.write_text("first")
    reads = f"import pathlib\nprint(pathlib.Path({str(said)!r}).read_text())\n"
    reads += "def square(x):\n    return x * x"
    hand_in(course.root, "a", answered(released(course), square=reads))
    assert rewritten() == {"a"}
    said.write_text("second")
    assert rewritten() == set()
    assert rewritten(force=True) == {"a"}
    assert "second" in page_text(pages(course)["a"])


def test_what_releasing_feedback_needs_lies_beside_the_page(course, rewritten):
    submitted, feedback = (course.root / folder for folder in ("submitted", "feedback"))
    (submitted / "a" / NAME / "submission_secret.txt").write_bytes(b"first")
    assert rewritten() == set()
    assert (feedback / "a" / NAME / "submission_secret.txt").read_bytes() == b"first"
    assert not (feedback / "a" / NAME / "timestamp.txt").exists()
    # The same notebook, handed in again.
    (submitted / "a" / NAME / "submission_secret.txt").write_bytes(b"second")
    (submitted / "a" / NAME / "timestamp.txt").write_bytes(b"2026-11-20 12:30:00 UTC")
    # Somebody else's secret is nobody's to take.
    (submitted / "b" / NAME / "submission_secret.txt").symlink_to(
        submitted / "a" / NAME / "submission_secret.txt"
    )
    assert rewritten() == set()
    assert (feedback / "a" / NAME / "submission_secret.txt").read_bytes() == b"second"
    assert (feedback / "a" / NAME / "timestamp.txt").read_bytes() == b"2026-11-20 12:30:00 UTC"
    assert not (feedback / "b" / NAME / "submission_secret.txt").exists()


def test_a_page_cut_short_is_written_again(course, rewritten):
    page = pages(course)["b"]
    page.write_bytes(page.read_bytes()[:-100])
    assert rewritten() == {"b"}


def test_several_processes_write_what_one_does(course, graded):
    folder, url = ClassFolder(course.root, NAME), f"sqlite:///{course.root / 'gradebook.db'}"
    here = {s: page.read_bytes() for s, page in pages(course).items()}
    wanted = {s: s for s in STUDENTS}
    with Processes(2) as processes:
        made = write_pages(course, folder, url, wanted, processes)
    assert made == pages(course)

    def without_stamp(data):
        return data.rpartition(b"<!-- ")[0]

    for student, page in pages(course).items():
        assert without_stamp(page.read_bytes()) == without_stamp(here[student])


def test_one_page_that_fails_or_hangs_is_a_line_in_its_row(course, graded, monkeypatch):
    real = FeedbackWriter.write

    def breaks(self, student, result, *, note=""):
        if student == "b":
            raise RuntimeError("a\nlong story")
        return real(self, student, result, note=note)

    monkeypatch.setattr(FeedbackWriter, "write", breaks)
    for page in pages(course).values():
        page.unlink()
    found = grade(course)
    assert {s: g.message for s, g in found.items() if g.message} == {
        "b": "no feedback: RuntimeError: a long story"
    }
    assert found["b"].feedback is None
    assert found["b"].status == "graded"
    assert all(found[s].feedback.is_file() for s in "acd")


def hang(course, folder, db_url, student, stamp):
    """In place of `_write`: what highlighting does to some texts."""
    if student == "b":
        time.sleep(600)
    if student == "c":
        os._exit(5)
    return Path(student)


@pytest.mark.slow
def test_a_page_that_takes_for_ever_is_ended(course, graded, monkeypatch):
    monkeypatch.setattr(coursekit.pages, "_write", hang)
    monkeypatch.setattr(coursekit.pages, "_SECONDS", 8.0)
    with Processes(1) as processes:
        folder = ClassFolder(course.root, NAME)
        made = write_pages(course, folder, "", dict.fromkeys(STUDENTS, "x"), processes)
    assert made == {
        "a": Path("a"),
        "b": "no result after 8 s",
        "c": "the process that worked on it died (exit 5)",
        "d": Path("d"),
    }


def test_a_page_shows_what_nbconvert_would_show(course, graded, monkeypatch):
    """Its last pass over the page is left out for its time; what that does is done all the same."""
    from bs4 import BeautifulSoup

    folder, url = ClassFolder(course.root, NAME), f"sqlite:///{course.root / 'gradebook.db'}"
    result = folder.result("a")
    data = {"image/png": "iVBORw0KGgo=", "text/plain": "<img>"}
    image = {"output_type": "display_data", "metadata": {}, "data": data}
    shown = json.loads(result.notebook)
    next(c for c in shown["cells"] if c["cell_type"] == "code")["outputs"] = [image]
    result = replace(result, notebook=json.dumps(shown))

    def tags(path):
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        attributes = [(t.name, sorted((k, str(v)) for k, v in t.attrs.items())) for t in soup.find_all(True)]
        return attributes, soup.get_text()

    ours = tags(FeedbackWriter(course, course.root, url).write("a", result))
    monkeypatch.setattr(coursekit.feedback, "_Page", HTMLExporter)
    theirs = tags(FeedbackWriter(course, course.root, url).write("a", result))
    assert ours == theirs
    assert ("alt", "No description has been provided for this image") in [
        pair for name, pairs in ours[0] if name == "img" for pair in pairs
    ]


STRANGE = [
    "Zoë",  # one letter
    "Zoe\u0308",  # the same in two
    "a b  c",
    "🦊",
    "🦊" * 63,
    "a" * 128,
    "it's",
    'say "hi"',
    "100%s{0}",
    "a;drop table student",
    "two\nlines",
    "-rf",
    "=1+1",
    "[red]x",
    "<b>&amp;",
    "$HOME `id` \\ *?",
    "..a",
]


def test_whatever_students_are_called(course, fake):  # noqa: F811
    nb = released(course)
    for student in STRANGE:
        hand_in(course.root, student, answered(nb))
    found = grade(course)
    assert {s: (g.status, g.message, g.standing.points) for s, g in found.items()} == {
        s: ("graded", "", 7.0) for s in STRANGE if not s.startswith(".")
    }
    assert all(g.feedback.is_file() for g in found.values())
    with (course.root / "scores" / f"{NAME}.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["student"]: row["points"] for row in csv.DictReader(file)}
    assert rows == {("'" if s[0] in "=-" else "") + s: "7.0" for s in found}
    result = CliRunner().invoke(app, ["grade", NAME, "--workers", "0", "--isolation", "none"])
    assert result.exit_code == 0, result.output


def test_names_that_cannot_be_a_students(course, fake):  # noqa: F811
    nb = released(course)
    hand_in(course.root, "good", answered(nb))
    hand_in(course.root, "a" * 129, answered(nb))
    hand_in(course.root, "b" * 255, answered(nb))
    bytes_only = os.fsdecode(b"\xff\xfe")
    hand_in(course.root, bytes_only, answered(nb))
    found = grade(course)
    assert found["good"].status == "graded"
    for student in ("a" * 129, "b" * 255):
        message = f"expected a student's id of at most 128 characters, got {len(student)}"
        assert (found[student].status, found[student].message) == ("error", message)
    assert (found[bytes_only].status, found[bytes_only].message.count("\n")) == ("error", 0)
    for arguments in ([], ["--json"]):
        result = CliRunner().invoke(app, ["grade", NAME, "--workers", "0", *arguments])
        assert result.exit_code == 1, result.output
        assert "unexpected" not in result.output
    for student in ("../good", "/etc", "good/../good", ""):
        result = CliRunner().invoke(app, ["grade", NAME, "--workers", "0", "--student", student])
        assert result.exit_code == 2
        assert "handed in nothing" in result.output


def test_the_list_of_what_was_graded_says_what_it_is(course, fake):  # noqa: F811
    """nbgrader's own says "Test cell" thirty times."""
    hand_in(course.root, "a", answered(released(course), why="a"))
    hand_in(course.root, "b", answered(released(course), square="def square(x):\n    return x"))
    rows = {}
    for student, row in grade(course).items():
        page = BeautifulSoup(Path(row.feedback).read_text(encoding="utf-8"), "html.parser")
        table = page.find(id="toc").find_all("tr")
        rows[student] = {cells[0].text: cells[2].text.strip() for cells in (r.find_all("td") for r in table)}
        anchors = {a["name"] for a in page.find_all("a", attrs={"name": True})}
        assert {a["href"][1:] for a in page.find(id="toc").find_all("a")} <= anchors
    graded = {c.id: c.kind for c in grade(course)["a"].result.cells}
    assert list(rows["a"]) == list(graded)
    assert {rows["a"][c] for c, kind in graded.items() if kind == "test"} == {"passed"}
    assert "not passed" in rows["b"].values()
    assert rows["a"]["why"] in ("written answer", "comment")
