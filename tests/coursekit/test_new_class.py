"""The made-up class: who is in it, and grading finds what class.json says."""

from __future__ import annotations

import json
import subprocess

import pytest
from typer.testing import CliRunner

from coursekit import cli, grade
from coursekit.cli import app
from coursekit.collect import collect
from coursekit.errors import CourseError
from coursekit.grade import Options, grade_assignment
from coursekit.isolate import launch
from coursekit.isolate.bare import Bare
from coursekit.isolate.limits import Limits
from coursekit.new_class import new_class
from coursekit.source import read_source

from .conftest import NAME, hand_in
from .fake import FakeLauncher


def test_grading_finds_what_class_json_says(course, tmp_path):
    """Real processes: one student of each kind and two misconceptions."""
    folder = tmp_path / "class"
    result = CliRunner().invoke(app, ["new-class", str(folder), "--size", "8"])
    assert result.exit_code == 0, result.output
    expected = json.loads((folder / "class.json").read_text(encoding="utf-8"))
    kinds = [s["kind"] for s in expected]
    assert sorted(kinds) == ["blank", "crash", "loop", "partial", "perfect", "warns", "wrong", "wrong"]
    wrong = {(s["exercise"], s["misconception"], s["hint"]) for s in expected if s["kind"] == "wrong"}
    assert wrong == {("square", "doubles", "2x is not x²"), ("cube", "squares", "one factor is missing")}
    limits = Limits(request_seconds=2)
    options = Options(limits=limits, isolation="none", workers=0, feedback=False)
    graded = {g.student: g for g in grade_assignment(course, folder, NAME, options)}
    assert set(graded) == {s["student"] for s in expected}
    for student in expected:
        g = graded[student["student"]]
        tests = {c.id: (c.points, c.max_points) for c in g.result.cells if c.kind == "test"}
        assert g.status == student["status"], student
        assert all(tests[t][0] == tests[t][1] for t in student["full"]), student
        assert all(tests[t][0] == 0 for t in student["zero"]), student
        assert not student["some"] or any(tests[t][0] < tests[t][1] for t in student["some"]), student
        assert set(tests) == {*student["full"], *student["zero"], *student["some"]}


def test_a_demo_is_graded_wherever_it_is(course, tmp_path, monkeypatch):
    """Its code is the course's own. Of a class that lies there already nothing runs where nothing isolates."""
    asked = []
    monkeypatch.setattr(cli, "grade_command", lambda **options: asked.append(options["isolation"]))
    folder = tmp_path / "class"

    def run(*command):
        return CliRunner().invoke(app, [*command], catch_exceptions=False)

    def nothing(isolation="auto", setup=None):
        if isolation == "auto":
            raise CourseError("nothing isolates here")
        return Bare(setup)

    monkeypatch.setattr(launch, "best", lambda setup: FakeLauncher())
    assert "isolation" not in run("demo", str(folder), "--size", "7").output
    for module in (launch, grade):
        monkeypatch.setattr(module, "best", nothing)
    said = run("demo", str(folder), "--size", "7").output
    assert asked == ["auto", "none"]
    assert [line for line in said.splitlines() if "isolat" in line] == [
        "graded with --isolation none, for this class is made by the course itself: nothing isolates here"
    ]
    monkeypatch.undo()
    monkeypatch.chdir(course.root)
    monkeypatch.setattr(grade, "best", nothing)
    refused = run("grade", "--all", "--course", str(folder))
    assert refused.exit_code == 2
    assert "nothing isolates here" in refused.stderr


def test_git_passes_over_a_class_in_the_course_s_repository(course, tmp_path):
    subprocess.run(["git", "init", "--quiet"], cwd=course.root, check=True)
    (course.root / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")

    def untracked():
        command = ["git", "status", "--porcelain", "--untracked-files=all"]
        return subprocess.run(command, cwd=course.root, capture_output=True, text=True, check=True).stdout

    before = untracked()
    new_class(course, course.root / "made-up", size=7)
    collect(course, course.root / "a" / "class", NAME, course.root / "made-up" / "submitted")
    assert (course.root / "a" / "class" / "submitted").is_dir()
    assert untracked() == before
    # Elsewhere it may be kept in a repository of its own.
    new_class(course, tmp_path / "class", size=7)
    assert not (tmp_path / "class" / ".gitignore").exists()


def test_the_same_seed_makes_the_same_class(course, tmp_path):
    first, second = (new_class(course, tmp_path / name, size=7) for name in "ab")
    assert first == second
    files = [sorted(p.relative_to(tmp_path / n) for p in (tmp_path / n).rglob("*.ipynb")) for n in "ab"]
    assert files[0] == files[1]
    release = read_source(course.text_source(NAME)).metadata.coursekit.release
    assert (tmp_path / "a" / "releases" / NAME / f"{release}.ipynb").is_file()
    assert new_class(course, tmp_path / "a", size=7, seed=3) != first


def test_a_class_of_one_assignment(course, tmp_path):
    second = course.root / "solutions" / "02_cubes.py"
    second.write_text(course.text_source(NAME).read_text(encoding="utf-8"), encoding="utf-8")
    assert {s.assignment for s in new_class(course, tmp_path / "a", size=8)} == {NAME, "02_cubes"}
    assert {s.assignment for s in new_class(course, tmp_path / "b", size=8, assignments=["02"])} == {
        "02_cubes"
    }
    assert [p.name for p in (tmp_path / "b" / "releases").iterdir()] == ["02_cubes"]


def test_no_more_students_than_there_are_mistakes_to_make(course, tmp_path):
    assert len(new_class(course, tmp_path / "class", size=30)) == 8


def test_students_see_no_hidden_test(course, tmp_path):
    new_class(course, tmp_path / "class")
    for path in (tmp_path / "class" / "submitted").rglob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert "square(-12)" not in text
        assert "BEGIN" not in text


def test_a_real_class_is_not_touched(course, tmp_path):
    path = hand_in(tmp_path / "class", "zoe", b"her work")
    with pytest.raises(CourseError, match="a real class"):
        new_class(course, tmp_path / "class")
    assert path.read_bytes() == b"her work"
    with pytest.raises(CourseError, match="at least 6"):
        new_class(course, tmp_path / "other", size=3)
