"""The command: reads results and gradebook, writes page and table, says in one line what is missing."""

import csv
import io
import json
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup
from nbformat import writes
from nbformat.v4 import new_code_cell
from nbgrader.api import Gradebook
from typer.testing import CliRunner

from coursekit.cli import app
from coursekit.errors import CourseError
from coursekit.gradebook import GradebookWriter
from coursekit.releases import keep_release
from coursekit.report import write_report
from coursekit.report.load import OWN_CELLS, load_results
from coursekit.report.table import table
from coursekit.report.write import released_code
from coursekit.spreadsheet import plain_cell
from tests.coursekit.conftest import NAME, answered, hand_in, released, template
from tests.coursekit.report import class_maker as maker


@pytest.fixture
def graded(course):
    """A class folder with a gradebook and the results of three students; s3 has a score by hand."""
    folder = course.root
    keep_release(course, folder, NAME)
    with GradebookWriter(f"sqlite:///{folder / 'gradebook.db'}", course.course_id) as writer:
        writer.register(NAME, writes(template(course), version=4))
        for student in ("s1", "s2", "s3"):
            made = maker.tiny_result(course, student)
            if student == "s2":
                made = maker.with_cell(made, "cube_of_two", status="failed", points=0.0)
            hand_in(folder, student, b"{}")
            writer.apply(student, made)
            maker.store(folder, {student: made})
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}", course.course_id) as gradebook:
        grade = gradebook.find_grade("why", NAME, NAME, "s3")
        grade.manual_score, grade.needs_manual_grade = 1.0, False
        gradebook.db.commit()
    return folder


def rows_of(path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def test_the_command_writes_page_and_table_with_scores_given_by_hand(course, graded):
    done = CliRunner().invoke(app, ["report", NAME])
    assert done.exit_code == 0, done.output
    assert f"wrote reports/{NAME}.html" in done.output
    assert "3 submissions, 0 similar pairs" in done.output
    soup = BeautifulSoup((graded / "reports" / f"{NAME}.html").read_text(encoding="utf-8"), "html.parser")
    assert soup.find(id="waiting").get_text() == "2"
    assert soup.find(id="median").get_text() == "7"  # of 7, 4 and 7 + 1
    rows = {row["student"]: row for row in rows_of(graded / "reports" / f"{NAME}.csv")}
    assert {s: float(r["points"]) for s, r in rows.items()} == {"s1": 7.0, "s2": 4.0, "s3": 8.0}
    assert {s: r["needs_manual"] for s, r in rows.items()} == {"s1": "1", "s2": "1", "s3": "0"}
    assert float(rows["s2"]["cube_of_two"]) == 0.0
    assert float(rows["s3"]["why"]) == 1.0
    assert float(rows["s1"]["max_points"]) == 8.5


def test_other_places_for_page_table_and_gradebook(course, graded, tmp_path):
    moved = tmp_path / "elsewhere.db"
    (graded / "gradebook.db").rename(moved)
    arguments = ["report", NAME, "--course", str(graded), "--db", f"sqlite:///{moved}"]
    page, made = tmp_path / "out" / "page.html", tmp_path / "out" / "table.csv"
    done = CliRunner().invoke(app, [*arguments, "--output", str(page), "--csv", str(made)])
    assert done.exit_code == 0, done.output
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert len(rows_of(made)) == 3
    assert not (graded / "reports").exists()
    assert not (graded / "gradebook.db").exists()


@pytest.mark.parametrize("missing", ["folder", "gradebook", "results"])
def test_what_is_missing_is_said_in_one_line_and_nothing_is_made(course, graded, missing):
    folder = graded / "absent" if missing == "folder" else graded
    if missing == "gradebook":
        (graded / "gradebook.db").unlink()
    elif missing == "results":
        for path in (graded / "results").glob("*/*.json"):
            path.unlink()
    done = CliRunner().invoke(app, ["report", NAME, "--course", str(folder)])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    wanted = {
        "folder": "no class folder",
        "gradebook": "nothing of 01_squares is graded",
        "results": "nothing of",
    }
    assert line.startswith(f"coursekit: {wanted[missing]}")
    assert not (graded / "reports").exists()
    assert (graded / "gradebook.db").exists() == (missing != "gradebook")


def test_unreadable_results_are_named_and_stop_nothing(course, graded):
    bad = {
        "empty": b"",
        "half": b'{"assignment": "01_squ',
        "list": b"[]",
        "other": json.dumps({**maker.tiny_result(course).to_json(), "assignment": "02_other"}).encode(),
        "bytes": b"\xff\xfe",
        "no cells": json.dumps({**maker.tiny_result(course).to_json(), "notebook": "[]"}).encode(),
        "old": json.dumps({"assignment": NAME, "cells": [{"id": "x"}]}).encode(),
    }
    for student, data in bad.items():
        path = graded / "results" / student / f"{NAME}.json"
        path.parent.mkdir()
        path.write_bytes(data)
    (graded / "results" / "link").symlink_to(graded / "results" / "s1")
    (graded / "results" / "linked").mkdir()
    (graded / "results" / "linked" / f"{NAME}.json").symlink_to(graded / "results" / "s1" / f"{NAME}.json")
    done = CliRunner().invoke(app, ["report", NAME])
    assert done.exit_code == 1
    assert done.stderr.strip() == "coursekit: 8 results cannot be read; the page names them"
    soup = BeautifulSoup((graded / "reports" / f"{NAME}.html").read_text(encoding="utf-8"), "html.parser")
    assert [b.get_text() for b in soup.find(id="unreadable").find_all("bdi")] == sorted([*bad, "linked"])
    assert soup.find(id="submissions").get_text() == "3"
    assert len(rows_of(graded / "reports" / f"{NAME}.csv")) == 3


def test_a_result_that_the_gradebook_lacks_keeps_its_own_points(course, graded):
    maker.store(graded, {"s4": maker.tiny_result(course)})
    report = write_report(course, graded, NAME)
    assert report.submissions == 4
    assert "not in the gradebook" in report.page.read_text(encoding="utf-8")
    assert float(rows_of(report.table)[3]["points"]) == 7.0


def test_the_released_code_is_no_similarity(course, graded):
    codes = released_code(course, graded, NAME)
    assert "answer_of_square" not in str(codes)
    assert any("def square(x)" in code for code in codes["square"])
    assert any("STEPS = int(" in code for code in codes[OWN_CELLS])


def test_code_hidden_in_a_cell_of_one_s_own_is_compared(course, graded):
    rng = maker.random.Random(4)
    for number in range(12):
        nb = answered(released(course))
        code = maker.random_answer(maker.random.Random(1) if number in (3, 8) else rng)
        nb.cells.append(new_code_cell(source=code, id="s-99"))
        maker.store(graded, {f"t{number}": maker.tiny_result(course, notebook=writes(nb, version=4))})
    report = write_report(course, graded, NAME)
    soup = BeautifulSoup(report.page.read_text(encoding="utf-8"), "html.parser")
    (row,) = soup.find(id="pair-table").tbody.find_all("tr")
    assert [b.get_text() for b in row.find_all("bdi")] == ["t3", "t8"]
    assert row.code.get_text() == OWN_CELLS


def test_a_damaged_kept_release_is_named(course, graded):
    path = graded / "releases" / NAME / "broken.ipynb"
    path.write_text("{")
    with pytest.raises(CourseError, match=r"broken\.ipynb: a kept release cannot be read"):
        write_report(course, graded, NAME)


def test_half_a_surrogate_pair_can_be_written(course, graded):
    made = replace(maker.tiny_result(course), message="\ud800 broken", status="stopped")
    (graded / "results" / "s1" / f"{NAME}.json").write_text(json.dumps(made.to_json()))
    report = write_report(course, graded, NAME)
    assert "? broken" in report.page.read_text(encoding="utf-8")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1", "＝1+1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text_in_every_column(tmp_path, text):
    results = {text: maker.result(flags=(f"{text}: x",), message=text)}
    maker.store(tmp_path, results)
    found = load_results(tmp_path, maker.NAME, {})
    head, row = list(csv.reader(io.StringIO(table(found))))
    assert plain_cell(text) == f"'{text}"
    named = dict(zip(head, row, strict=True))
    assert named["student"] == f"'{text}"
    assert named["flags"] == f"'{text}: x"
    assert named["message"] == f"'{text}"
    assert not [value for value in row if value.startswith(tuple(FORMULAS))]


def test_the_table_has_a_row_a_student_and_a_column_a_check(tmp_path):
    found = maker.loaded(tmp_path, maker.make_class())
    rows = list(csv.DictReader(io.StringIO(table(found))))
    assert [row["student"] for row in rows] == maker.STUDENTS
    assert list(rows[0])[-6:] == ["message", *maker.TESTS, "essay"]
    by_student = {row["student"]: row for row in rows}
    assert by_student["s04"]["flags"] == "renamed: mine.ipynb; verdict differs: flow_mass"
    assert float(by_student["s02"]["layer_log_det"]) == 0.0
    assert (by_student["s39"]["status"], by_student["s39"]["peak_mb"]) == ("not graded", "")
    assert float(by_student["s15"]["seconds"]) == 90.0
    assert float(by_student["s15"]["cpu_seconds"]) == 0.8
    assert sum(float(row["points"]) for row in rows) == sum(e.points for e in found.entries)
