"""Grade files as Canvas and Moodle read them; their importers' rules are written out again here, from their sources."""

import csv
import io
import logging
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nbformat import writes
from nbgrader.api import Gradebook
from traitlets.config import Config

from coursekit.errors import CourseError
from coursekit.exporters import CanvasExporter, MoodleExporter
from coursekit.gradebook import GradebookWriter
from tests.coursekit.conftest import NAME, template
from tests.coursekit.report.class_maker import tiny_result, with_cell

LOG = logging.getLogger("test_exporters")


@pytest.fixture
def gradebook(course):
    """s1 has everything, s2 lost 3 points and handed in late (1 point), s3 handed in nothing; s1 was graded by hand."""
    url = f"sqlite:///{course.root / 'gradebook.db'}"
    with GradebookWriter(url, course.course_id) as writer:
        writer.register(NAME, writes(template(course), version=4))
        writer.apply("s1", tiny_result(course, "one"))
        writer.apply("s2", with_cell(tiny_result(course, "two"), "cube_of_two", status="failed", points=0.0))
    with Gradebook(url, course.course_id) as opened:
        opened.update_or_create_student(
            "s1", first_name="Ada", last_name="Byron", email="ada@x.org", lms_user_id="101"
        )
        opened.update_or_create_student(
            "s2", first_name="Emmy", last_name="Noether", email="emmy@x.org", lms_user_id="102"
        )
        opened.update_or_create_student(
            "s3", first_name="Sofia", last_name="Kowalewska, von", email="s@x.org"
        )
        grade = opened.find_grade("why", NAME, NAME, "s1")
        grade.manual_score, grade.needs_manual_grade = 1.25, False
        comment = opened.find_comment("why", NAME, NAME, "s1")
        comment.manual_comment = 'Well said,\nAda; "both" signs'
        opened.find_submission(NAME, "s2").notebooks[0].late_submission_penalty = 1.0
        opened.db.commit()
        yield opened


def exported(exporter, gradebook, tmp_path, **options) -> list[list[str]]:
    path = tmp_path / "grades.csv"
    exporter(to=str(path), log=LOG, **options).export(gradebook)
    return list(csv.reader(io.StringIO(path.read_bytes().decode("utf-8"), newline="")))


def canvas_reads(
    rows: list[list[str]],
) -> tuple[dict[str, float], dict[tuple[str, str, str, str], dict[str, str]]]:
    """(title → points possible, student → title → grade) as `lib/gradebook_importer.rb` takes a file."""
    head, possible, *students = rows
    # row_has_student_headers?, update_column_count, last_student_info_column
    assert len(head) > 3
    assert "Student" in head[0]
    assert "ID" in head[1]
    about = 3
    if re.search(r"SIS\s+Login\s+ID", head[2]):
        about += 1
    elif re.search(r"SIS\s+User\s+ID", head[2]) and re.search(r"SIS\s+Login\s+ID", head[3]):
        about += 2
    assert "Section" in head[about - 1]
    # strip_non_assignment_columns
    ignored = "|".join(
        f"{when} {what}" for when in ("Current", "Final", "Override") for what in ("Score", "Points", "Grade")
    )
    titles = [(i, t) for i, t in enumerate(head) if i >= about and not re.search(ignored, t)]
    # check_for_non_student_row, process_pp
    assert "Points Possible" in possible[0]
    assert all(len(row) == len(head) for row in rows)
    worth = {t: float(possible[i]) for i, t in titles}
    return worth, {tuple(row[:4]): {t: row[i].strip() for i, t in titles} for row in students}


def moodle_reads(rows: list[list[str]]) -> dict[str, dict[str, str]]:
    """Identifier → column → value as `load_data.php` takes a file whose first column is mapped to the user."""
    head, *lines = rows
    assert len(set(head)) == len(head)
    found = {}
    for line in lines:
        # csvlib: "csvweirdcolumns"
        assert len(line) == len(head)
        # map_user_data_with_value: an empty identifier would keep the student of the line before
        assert line[0].strip()
        assert line[0] not in found
        for name, value in zip(head[1:], line[1:], strict=True):
            # update_grade_item: empty or "-" is no grade, all else must be a number
            assert name.endswith("(Feedback)") or value in ("", "-") or float(value) >= 0
            # Older versions split at line breaks before they look for quotes.
            assert "\n" not in value
            assert "\r" not in value
        found[line[0]] = dict(zip(head[1:], line[1:], strict=True))
    return found


def test_canvas_takes_the_file(gradebook, tmp_path):
    rows = exported(CanvasExporter, gradebook, tmp_path)
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", NAME]
    worth, grades = canvas_reads(rows)
    assert worth == {NAME: 8.5}
    assert grades == {
        ("Byron, Ada", "101", "", "s1"): {NAME: "8.25"},
        ("Noether, Emmy", "102", "", "s2"): {NAME: "3"},  # 4 and 1 off for being late
        ("Kowalewska, von, Sofia", "", "", "s3"): {NAME: ""},
    }


def test_canvas_options(gradebook, tmp_path):
    options = {
        "missing": "zero",
        "login_id": "email",
        "sis_user_id": True,
        "section": "A 1",
        "assignment_ids": {NAME: 4711},
    }
    rows = exported(CanvasExporter, gradebook, tmp_path, **options)
    assert rows[0][-1] == f"{NAME} (4711)"
    assert re.fullmatch(r"(.*)\s\((\d+)\)", rows[0][-1])[2] == "4711"  # Assignment.title_and_id
    assert ["Kowalewska, von, Sofia", "", "s3", "s@x.org", "A 1", "0"] in rows
    assert {tuple(r[2:5]) for r in rows[2:]} == {
        ("s1", "ada@x.org", "A 1"),
        ("s2", "emmy@x.org", "A 1"),
        ("s3", "s@x.org", "A 1"),
    }


@pytest.mark.parametrize("exporter", [CanvasExporter, MoodleExporter])
def test_chosen_assignments_and_students(gradebook, tmp_path, exporter):
    gradebook.add_assignment("02_later", duedate=datetime(2030, 1, 1, tzinfo=UTC))
    rows = exported(exporter, gradebook, tmp_path, assignment=["02_later"], student=["s2"])
    assert "02_later" in rows[0]
    assert NAME not in rows[0]
    assert len(rows) == (3 if exporter is CanvasExporter else 2)
    with pytest.raises(CourseError, match="the gradebook has no assignment 09_none"):
        exported(exporter, gradebook, tmp_path, assignment=["09_none"])


@pytest.mark.parametrize(
    "name", ["Final Score", "My Final Points", "Override Grade 2", "Section", "Quiz (2)"]
)
def test_titles_that_canvas_would_misread_are_refused(gradebook, tmp_path, name):
    gradebook.add_assignment(name)
    with pytest.raises(CourseError, match="Canvas would"):
        exported(CanvasExporter, gradebook, tmp_path)
    assert not (tmp_path / "grades.csv").exists()
    exported(CanvasExporter, gradebook, tmp_path, assignment=[NAME])


@pytest.mark.parametrize("number", ["12x", "x", "١٢", "1.5"])
def test_an_id_that_canvas_would_take_for_another_is_refused(gradebook, tmp_path, number):
    gradebook.update_or_create_student("s1", lms_user_id=number)
    with pytest.raises(CourseError, match="the lms_user_id of 's1' is no Canvas number"):
        exported(CanvasExporter, gradebook, tmp_path)


@pytest.mark.parametrize(
    ("identifier", "header", "expected"),
    [
        ("username", "Username", ["s1", "s2", "s3"]),
        ("email", "Email address", ["ada@x.org", "emmy@x.org", "s@x.org"]),
        ("idnumber", "ID number", ["101", "102"]),
    ],
)
def test_moodle_takes_the_file(gradebook, tmp_path, caplog, identifier, header, expected):
    with caplog.at_level(logging.WARNING):
        rows = exported(MoodleExporter, gradebook, tmp_path, identifier=identifier)
    assert rows[0] == [header, NAME, f"{NAME} (Feedback)"]
    found = moodle_reads(rows)
    assert sorted(found) == expected
    assert [found[who][NAME] for who in expected[:2]] == ["8.25", "3"]
    # Who has no ID number is left out, and named.
    assert ("'s3' is left out: its idnumber is ''" in caplog.text) == (identifier == "idnumber")
    feedback = found[expected[0]][f"{NAME} (Feedback)"]
    assert "cube_of_two: 3/3" in feedback
    assert 'why: Well said, Ada; "both" signs' in feedback


def test_moodle_no_grade_and_no_feedback(gradebook, tmp_path):
    rows = exported(MoodleExporter, gradebook, tmp_path, feedback=False)
    assert rows[0] == ["Username", NAME]
    assert moodle_reads(rows)["s3"] == {NAME: "-"}
    assert moodle_reads(exported(MoodleExporter, gradebook, tmp_path, missing="zero"))["s3"][NAME] == "0"


def test_moodle_two_students_with_one_address_are_refused(gradebook, tmp_path):
    gradebook.update_or_create_student("s2", email="ada@x.org")
    with pytest.raises(CourseError, match=r"'s\d' and 's\d' have the same email: 'ada@x.org'"):
        exported(MoodleExporter, gradebook, tmp_path, identifier="email")


def test_moodle_is_told_of_grades_above_a_hundred(gradebook, tmp_path, caplog):
    cell = gradebook.find_grade_cell("cube_of_two", NAME, NAME)
    cell.max_score = 120
    gradebook.db.commit()
    with caplog.at_level(logging.WARNING):
        exported(MoodleExporter, gradebook, tmp_path)
    assert "Moodle refuses grades above 100" in caplog.text


@pytest.mark.parametrize("exporter", [CanvasExporter, MoodleExporter])
def test_what_waits_for_a_person_is_said(gradebook, tmp_path, caplog, exporter):
    with caplog.at_level(logging.WARNING):
        exported(exporter, gradebook, tmp_path)
    assert f"{NAME}: 1 submissions wait for manual grading" in caplog.text


def test_formulas_and_line_breaks_in_names_and_comments_are_texts(gradebook, tmp_path, caplog):
    gradebook.update_or_create_student(
        "=evil", first_name="B\r\nC", last_name="=HYPERLINK(1)", lms_user_id="7"
    )
    gradebook.find_comment("why", NAME, NAME, "s1").manual_comment = "=1+1"
    gradebook.db.commit()
    _, grades = canvas_reads(exported(CanvasExporter, gradebook, tmp_path))
    assert ("'=HYPERLINK(1), B C", "7", "", "'=evil") in grades
    with caplog.at_level(logging.WARNING):
        found = moodle_reads(exported(MoodleExporter, gradebook, tmp_path))
    # An identifier must be exact or not be there.
    assert sorted(found) == ["s1", "s2", "s3"]
    assert "'=evil' is left out" in caplog.text


def test_no_students_no_assignments(course, tmp_path):
    with Gradebook(f"sqlite:///{course.root / 'gradebook.db'}", course.course_id) as empty:
        assert len(exported(CanvasExporter, empty, tmp_path)) == 2
        assert exported(MoodleExporter, empty, tmp_path) == [["Username"]]


def test_options_come_from_nbgrader_s_configuration(gradebook, tmp_path):
    config = Config(
        {"ExportPlugin": {"to": str(tmp_path / "of_config.csv")}, "MoodleExporter": {"identifier": "email"}}
    )
    MoodleExporter(config=config, log=LOG).export(gradebook)
    assert (tmp_path / "of_config.csv").read_text(encoding="utf-8").startswith("Email address,")


def test_the_command(gradebook, course):
    command = [sys.executable, "-m", "nbgrader", "export", "--exporter", "coursekit.exporters.CanvasExporter"]
    options = {"cwd": course.root, "capture_output": True, "text": True, "timeout": 120}
    # A new gradebook asks the command alembic for its version.
    options["env"] = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([*command, "--to", "grades.csv", "--CanvasExporter.missing=zero"], **options)
    assert done.returncode == 0, done.stderr
    rows = list(csv.reader(io.StringIO((course.root / "grades.csv").read_text(encoding="utf-8"))))
    _, grades = canvas_reads(rows)
    assert sorted(g[NAME] for g in grades.values()) == ["0", "3", "8.25"]
    gradebook.add_assignment("Final Score")
    done = subprocess.run([*command, "--to", "other.csv"], **options)
    assert done.returncode == 1
    assert "Canvas would ignore a column called 'Final Score'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (course.root / "other.csv").exists()
