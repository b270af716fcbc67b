"""A class, graded: honest points for everybody, whatever the others handed in."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config
from typer.testing import CliRunner

import coursekit.grade
import coursekit.worker
from coursekit.class_folder import ClassFolder
from coursekit.cli import app
from coursekit.errors import CourseError
from coursekit.grade import Options, grade_assignment
from coursekit.gradebook import GradebookWriter
from coursekit.grading import Result, grade_submission, refuse
from coursekit.isolate.limits import Limits
from coursekit.packages import packages_hash
from coursekit.releases import bundle_of, own_packages
from coursekit.source import notebook_bytes

from .conftest import CHECKS, NAME, SQUARES, answered, cell_of, hand_in, page_text, released
from .fake import FakeLauncher

LIMITS = Limits(request_seconds=5, run_seconds=60)
TESTS = {"square_of_three": 2.0, "square_is_even": 1.0, "cube_of_two": 3.0, "training_was_cut": 1.0}
# Prints and warns: both are as right as silence.
LOUD = "import sys, warnings\nwarnings.warn('slow')\nprint('!', file=sys.stderr)\ndef square(x):\n"
LOUD += "    print('at', x, file=sys.stderr)\n    return x * x"


@pytest.fixture
def fake(monkeypatch):
    """No process for the cells: they run here. A submission takes two children at the most."""
    launcher = FakeLauncher()
    for module in (coursekit.grade, coursekit.worker):
        monkeypatch.setattr(module, "best", lambda isolation, setup: launcher)
    monkeypatch.setattr(coursekit.worker, "_launchers", {})
    return launcher


@pytest.fixture
def graded_anew(fake, monkeypatch):
    """What was graded, not reused."""
    runs = []
    real = coursekit.worker.grade_submission

    def grading(data, bundle, launcher):
        runs.append(data)
        return real(data, bundle, launcher)

    monkeypatch.setattr(coursekit.worker, "grade_submission", grading)
    return runs


def grade(course, students=(), **options):
    chosen = Options(**{"limits": LIMITS, "workers": 0, **options})
    graded = grade_assignment(course, course.root, NAME, chosen, students=students)
    return {g.student: g for g in graded}


def points(graded):
    return {c.id: c.points for c in graded.result.cells if c.kind == "test"}


def notebook_of(course, student):
    return ClassFolder(course.root, NAME).result(student).notebook


def book(course):
    return Gradebook(f"sqlite:///{course.root / 'gradebook.db'}", course.course_id)


def test_a_class_with_everything_in_it(course):
    """Real processes: right and loud, wrong, damaged, crashing; and files that are no notebooks."""
    nb = released(course)
    hand_in(course.root, "loud", answered(nb, square=LOUD))
    hand_in(course.root, "wrong", answered(nb, square="def square(x):\n    return 3 * x"))
    hand_in(course.root, "crash", answered(nb, cube="import os\nos._exit(1)"))
    damaged = answered(nb)
    damaged.cells.remove(cell_of(damaged, "cube_of_two"))
    cell_of(damaged, "square_is_even").source = "assert True"
    hand_in(course.root, "damaged", damaged)
    hand_in(course.root, "html", b"<html></html>")
    other = answered(nb)
    other.metadata.coursekit.assignment = "02_other"
    hand_in(course.root, "other", other)
    hand_in(course.root, "alien", nbformat.v4.new_notebook())
    (course.root / "submitted" / "idle").mkdir()
    secret = course.root / "secret.ipynb"
    secret.write_bytes(notebook_bytes(answered(nb)))
    link = hand_in(course.root, "link", b"")
    link.unlink()
    link.symlink_to(secret)
    (course.root / "submitted" / "linked").symlink_to(course.root / "submitted" / "loud")

    graded = grade(course, isolation="none")
    assert "idle" not in graded
    zeros = dict.fromkeys(TESTS, 0.0)
    assert {name: points(g) for name, g in graded.items()} == {
        "loud": TESTS,
        "wrong": {**TESTS, "square_of_three": 0.0, "square_is_even": 0.0},
        "crash": {**TESTS, "cube_of_two": 0.0, "training_was_cut": 0.0},
        "damaged": TESTS,
        **dict.fromkeys(("html", "other", "alien", "link", "linked"), zeros),
    }
    assert {name: (g.status, g.message) for name, g in graded.items() if g.status != "graded"} == {
        "html": ("not graded", "the file is a web page or XML, not a notebook"),
        "other": ("not graded", "this is a notebook of '02_other', not of '01_squares'"),
        "alien": ("not graded", "no cell of '01_squares' is in this notebook"),
        "link": ("not graded", "01_squares.ipynb is a symbolic link, which is not followed"),
        "linked": ("not graded", "linked is a symbolic link, which is not followed"),
    }
    assert graded["crash"].result.flags == ("died: cube (exit 1)",)
    assert set(graded["damaged"].result.flags) == {"missing: cube_of_two", "edited: square_is_even"}

    with book(course) as gradebook:
        for name, g in graded.items():
            sub = gradebook.find_submission_notebook(NAME, NAME, name)
            assert {x.name: x.auto_score for x in sub.grades if x.name != "why"} == points(g)
            assert sub.score == sum(points(g).values())
            waiting = g.status != "not graded"
            assert sub.needs_manual_grade == waiting
    table = (course.root / "scores" / f"{NAME}.csv").read_text(encoding="utf-8").splitlines()
    rows = {r["student"]: r for r in csv.DictReader(table)}
    assert set(rows) == set(graded)
    assert (rows["loud"]["points"], rows["loud"]["max_points"], rows["loud"]["why"]) == ("7.0", "8.5", "0.0")
    assert rows["damaged"]["flags"] == "edited: square_is_even; missing: cube_of_two"

    feedback = {g.student: page_text(g.feedback) for g in graded.values()}
    assert "square(-12)" not in "".join(feedback.values())
    assert "hidden tests ran here" in feedback["wrong"]
    assert "a negative number" not in feedback["loud"]
    assert "assert square(-2) == square(2)" in feedback["wrong"]
    assert "the Python process ended while this cell ran" in feedback["crash"]
    assert "web page or XML" in feedback["html"]
    autograded = nbformat.read(course.root / "autograded" / "loud" / NAME / f"{NAME}.ipynb", as_version=4)
    assert "square(-12)" in cell_of(autograded, "square_is_even").source


def test_unchanged_submissions_do_not_run_again(course, graded_anew):
    hand_in(course.root, "a", answered(released(course)))
    hand_in(course.root, "b", released(course))
    first = grade(course)
    assert len(graded_anew) == 2
    again = grade(course)
    assert len(graded_anew) == 2
    assert all(g.reused for g in again.values())
    assert {s: g.result for s, g in again.items()} == {s: g.result for s, g in first.items()}
    hand_in(course.root, "b", answered(released(course)))
    assert {s for s, g in grade(course).items() if not g.reused} == {"b"}
    (course.root / "gradebook.db").unlink()
    assert grade(course)["a"].standing == first["a"].standing
    assert len(graded_anew) == 3
    grade(course, force=True)
    assert len(graded_anew) == 5
    # Other checks may give other points.
    (course.root / "tiny_checks.py").write_text(CHECKS + "\n", encoding="utf-8")
    grade(course)
    assert len(graded_anew) == 7


def test_scores_and_comments_given_by_hand_survive(course, fake):
    nb = answered(released(course))
    hand_in(course.root, "a", nb)
    grade(course)
    with book(course) as gradebook:
        why = gradebook.find_grade("why", NAME, NAME, "a")
        assert (why.auto_score, why.needs_manual_grade) == (None, True)
        why.manual_score, why.extra_credit, why.needs_manual_grade = 1.0, 0.5, False
        cube = gradebook.find_grade("cube_of_two", NAME, NAME, "a")
        cube.manual_score, cube.needs_manual_grade = 2.0, False
        gradebook.find_comment("why", NAME, NAME, "a").manual_comment = "Say it shorter."
        gradebook.db.commit()
    for force in (False, True):
        graded = grade(course, force=force)["a"]
        assert graded.standing.points == 2 + 1 + 2 + 1 + 1.5
        assert not graded.standing.needs_manual
    assert "Say it shorter." in page_text(graded.feedback)
    # A new submission: the old scores stand, and ask for a second look.
    hand_in(course.root, "a", answered(nb, why="Another answer."))
    assert grade(course)["a"].standing.needs_manual
    with book(course) as gradebook:
        why = gradebook.find_grade("why", NAME, NAME, "a")
        assert (why.manual_score, why.needs_manual_grade) == (1.0, True)


def test_an_unanswered_question_has_zero_and_says_so(course, fake):
    hand_in(course.root, "blank", released(course))
    graded = grade(course)["blank"]
    assert not graded.standing.needs_manual
    assert graded.standing.points == 0
    with book(course) as gradebook:
        assert gradebook.find_comment("why", NAME, NAME, "blank").comment == "No response."
        assert gradebook.find_comment("square", NAME, NAME, "blank").comment == "No response."


def test_a_submission_is_graded_by_the_release_it_was_made_from(course, fake):
    old = answered(released(course))
    hand_in(course.root, "old", old)
    first = grade(course)["old"]
    harder = SQUARES.replace("assert square(-12) == 144", "assert square(-1.5) == 2.25").replace(
        '# %% test="training_was_cut" points=1', '# %% test="new_test" points=4'
    )
    course.text_source(NAME).write_text(harder, encoding="utf-8")
    new = answered(released(course))
    unknown = answered(released(course))
    unknown.metadata.coursekit.release = "0123456789ab"
    hand_in(course.root, "new", new)
    hand_in(course.root, "unknown", unknown)
    graded = grade(course)
    current = new.metadata.coursekit.release
    assert graded["new"].result.flags == ()
    assert graded["old"].result.release == first.result.release != current
    assert graded["old"].result.flags == (f"old release: {first.result.release} (current is {current})",)
    assert "square(-12)" in notebook_of(course, "old")
    assert "square(-12)" not in page_text(graded["old"].feedback)
    assert "square(-1.5)" in notebook_of(course, "unknown")
    assert graded["unknown"].result.flags[0].startswith("unknown release: 0123456789ab")
    # The gradebook has the current cells; what the old release did not have waits for a person.
    with book(course) as gradebook:
        cells = {g.name: g for g in gradebook.find_submission_notebook(NAME, NAME, "old").grades}
        assert set(cells) == {"square_of_three", "square_is_even", "why", "cube_of_two", "new_test"}
        assert (cells["new_test"].auto_score, cells["new_test"].needs_manual_grade) == (None, True)


def test_a_cell_graded_by_hand_is_not_thrown_away(course, fake):
    hand_in(course.root, "a", answered(released(course)))
    grade(course)
    with book(course) as gradebook:
        gradebook.find_grade("training_was_cut", NAME, NAME, "a").manual_score = 0.5
        gradebook.db.commit()
    text = SQUARES.replace('test="training_was_cut"', 'test="renamed"')
    course.text_source(NAME).write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match="no longer has the cell 'training_was_cut'"):
        grade(course)


def test_one_that_breaks_grading_itself_is_a_line_and_the_others_are_graded(course, fake, monkeypatch):
    for student in "abc":
        hand_in(course.root, student, answered(released(course), why=student))
    real = coursekit.worker.grade_submission

    def breaks(data, bundle, launcher):
        if b'"b"' in data:
            raise RuntimeError("a\nlong story")
        return real(data, bundle, launcher)

    monkeypatch.setattr(coursekit.worker, "grade_submission", breaks)
    result = CliRunner().invoke(app, ["grade", NAME, "--json", "--workers", "0"])
    rows = {r["student"]: r for r in json.loads(result.stdout)[0]["submissions"]}
    assert result.exit_code == 1
    assert {s: r["status"] for s, r in rows.items()} == {"a": "graded", "b": "error", "c": "graded"}
    assert rows["b"]["message"] == "RuntimeError: a long story"
    with book(course) as gradebook:
        assert {s.student.id for s in gradebook.assignment_submissions(NAME)} == {"a", "c"}


def test_a_result_is_applied_as_a_whole_or_not_at_all(course, fake, monkeypatch):
    data = notebook_bytes(answered(released(course)))
    bundle = bundle_of(course, course.root, NAME, LIMITS)
    result = grade_submission(data, bundle, fake)
    broken = replace(result, cells=(*result.cells[:-1], replace(result.cells[-1], points="many")))
    url = f"sqlite:///{course.root / 'gradebook.db'}"
    with GradebookWriter(url, course.course_id) as writer:
        writer.register(NAME, bundle.templates[bundle.current])
        with pytest.raises(CourseError, match="the gradebook refuses s1"):
            writer.apply("s1", broken)
        assert not writer.has("s1", NAME)
        writer.apply("s1", result)
        once = writer.standing("s1", NAME)
        writer.apply("s1", result)
        assert writer.standing("s1", NAME) == once
        assert once.points == 7


def test_a_result_survives_json(course, fake):
    bundle = bundle_of(course, course.root, NAME, LIMITS)
    for result in (
        grade_submission(notebook_bytes(answered(released(course))), bundle, fake),
        refuse("why", bundle),
    ):
        assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_the_gradebook_holds_what_plain_nbgrader_needs(course, fake):
    hand_in(course.root, "a", answered(released(course)))
    grade(course)
    with book(course) as gradebook:
        notebook = gradebook.find_notebook(NAME, NAME)
        sources = {c.name: (c.locked, c.source, c.checksum) for c in notebook.source_cells}
        assert "square(-12)" in sources["square_is_even"][1]
        assert sources["square_is_even"][0]
        assert "answer_of_square" not in sources["square"][1]
        assert all(len(checksum) == 32 for _, _, checksum in sources.values())
        assert notebook.max_score == 8.5


def test_where_a_notebook_may_be(course, fake):
    data = notebook_bytes(answered(released(course)))
    hand_in(course.root, "renamed", data).rename(
        course.root / "submitted" / "renamed" / NAME / "01_squares (1).ipynb"
    )
    hand_in(course.root, "two", data).with_name("a.ipynb").write_bytes(data)
    (course.root / "submitted" / "two" / NAME / f"{NAME}.ipynb").rename(
        course.root / "submitted" / "two" / NAME / "b.ipynb"
    )
    (course.root / "submitted" / "file").mkdir()
    (course.root / "submitted" / "file" / NAME).write_bytes(data)
    os.mkfifo(hand_in(course.root, "pipe", b"").with_name("x"))
    pipe = course.root / "submitted" / "pipe" / NAME
    os.replace(pipe / "x", pipe / f"{NAME}.ipynb")
    hand_in(course.root, "=cmd()", data).with_name("torch.py").write_text("raise SystemExit")
    graded = grade(course)
    assert {s: (g.status, g.message) for s, g in graded.items()} == {
        "renamed": ("graded", ""),
        "=cmd()": ("graded", ""),
        "two": ("not graded", "01_squares.ipynb is missing (2 other notebooks are there)"),
        "file": ("not graded", "01_squares is a file, not a folder"),
        "pipe": ("not graded", "01_squares.ipynb is not a regular file"),
    }
    assert graded["renamed"].result.flags == ("renamed: 01_squares (1).ipynb",)
    assert "'=cmd()" in (course.root / "scores" / f"{NAME}.csv").read_text()


def test_the_time_of_submission_is_kept(course, fake):
    path = hand_in(course.root, "a", answered(released(course)))
    path.with_name("timestamp.txt").write_text("2026-11-20 12:30:00 UTC")
    grade(course)
    with book(course) as gradebook:
        assert str(gradebook.find_submission(NAME, "a").timestamp) == "2026-11-20 12:30:00"


def test_a_time_that_is_none_costs_no_points(course, fake):
    path = hand_in(course.root, "a", answered(released(course)))
    path.with_name("timestamp.txt").write_text("yesterday, I think")
    row = grade(course)["a"]
    assert (row.status, row.standing.points, row.message) == ("graded", 7, "timestamp.txt holds no time")


def test_the_command_line(course, fake):
    hand_in(course.root, "a", answered(released(course)))
    hand_in(course.root, "b", b"{")
    run = CliRunner().invoke
    result = run(app, ["grade", "01", "--student", "a", "--workers", "0"])
    assert result.exit_code == 0, result.output
    assert "7 / 8.5" in result.output
    assert " b " not in result.output
    result = run(app, ["grade", "--all", "--workers", "0"])
    assert result.exit_code == 0
    assert "not valid JSON" in result.output
    for arguments, reason in (
        (["grade"], "say which assignment"),
        (["grade", "01", "--student", "zoe"], "zoe handed in nothing"),
        (["grade", "01", "--course", "solutions"], "no submissions"),
    ):
        result = run(app, arguments)
        assert result.exit_code == 2
        assert reason in result.output
        assert result.output.count("\n") == 1


def test_a_class_without_this_assignment(course):
    (course.root / "submitted" / "a").mkdir(parents=True)
    assert ClassFolder(course.root, NAME).students() == []
    with pytest.raises(CourseError, match="nobody handed in"):
        grade(course)


def test_the_packages_that_notebooks_import_are_part_of_the_key(course):
    assert own_packages(course) == ("tiny_checks",)
    before = packages_hash(own_packages(course))
    (course.root / "unrelated.py").write_text("x = 1")
    assert packages_hash(own_packages(course)) == before
    (course.root / "tiny_checks.py").write_text("x = 1")
    assert packages_hash(own_packages(course)) != before
    with pytest.raises(CourseError, match="no package is called 'nothing_like_it'"):
        packages_hash(["nothing_like_it"])


def test_a_class_outside_the_course_is_ready_for_the_formgrader(course, fake, tmp_path):
    class_dir = tmp_path / "class"
    hand_in(class_dir, "ada", answered(released(course)))
    config = class_dir / "nbgrader_config.py"
    grade_assignment(course, class_dir, NAME, Options(limits=LIMITS, workers=0))
    assert config.read_bytes() == (course.root / "nbgrader_config.py").read_bytes()
    config.write_text("c = get_config()  # the instructor's own\n")
    grade_assignment(course, class_dir, NAME, Options(limits=LIMITS, workers=0, force=True))
    assert "the instructor's own" in config.read_text()
    root = CourseDirectory(root=str(class_dir), source_directory="solutions")
    api = NbGraderAPI(root, config=Config({"CourseDirectory": {"course_id": course.course_id}}))
    (row,) = api.get_assignments()
    assert (row["name"], row["num_submissions"], row["average_score"]) == (NAME, 1, 7)
