"""Sources to releases: the same bytes every time, stale files named, no solution given away."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from typer.testing import CliRunner

from coursekit import build
from coursekit.cli import app
from coursekit.course import Course, atomic_write
from coursekit.errors import CourseError
from coursekit.leaks import leaks, secret_lines
from coursekit.source import read_source

from .conftest import NAME, SQUARES, cell_of, released


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_two_builds_have_the_same_bytes(course):
    assert build.build(course, NAME).files == build.build(course, NAME).files
    assert build.write(build.build(course, NAME)) == []


def test_the_release_has_stubs_and_visible_tests_alone(course):
    nb = nbformat.read(course.release_notebook(NAME), as_version=4)
    nbformat.validate(nb)
    assert "# YOUR CODE HERE\n    raise NotImplementedError(" in cell_of(nb, "square").source
    assert cell_of(nb, "why").source == "YOUR ANSWER HERE"
    assert cell_of(nb, "square_is_even").source == "assert square(-2) == square(2)"
    assert cell_of(nb, "square_is_even").metadata.editable is False
    assert nb.metadata.kernelspec.name == "python3"
    assert set(nb.metadata.coursekit) == {"course", "assignment", "release"}
    assert not [c for c in nb.cells if c.get("outputs")]


def test_the_release_is_what_nbgrader_itself_makes(course):
    ours = nbformat.read(course.release_notebook(NAME), as_version=4)
    config = course.config.copy()
    config.SaveCells.enabled = False
    config.CourseDirectory.update(root=str(course.root), assignment_id=NAME, release_directory="theirs")
    converter = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config, no_database=True)
    converter.start()
    theirs = nbformat.read(course.root / "theirs" / NAME / f"{NAME}.ipynb", as_version=4)
    assert ours == theirs


def test_check_is_clean_after_a_build(course):
    result = run("build", "--check")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("damage", ["source", "release", "missing", "stray", "beside"])
def test_check_names_what_is_stale(course, damage):
    named = course.release_notebook(NAME)
    if damage == "source":
        course.text_source(NAME).write_text(SQUARES.replace("Squares", "Quadrats"), encoding="utf-8")
    elif damage == "release":
        named.write_bytes(named.read_bytes() + b" ")
    elif damage == "missing":
        named.unlink()
    elif damage == "stray":
        named = named.with_name("old.ipynb")
        named.write_text("{}")
    else:
        named = course.source_notebook(NAME).with_name("answers.py")
        named.write_text("")
    before = {p: p.read_bytes() for p in course.root.rglob("*") if p.is_file()}
    result = run("build", "--check")
    assert result.exit_code == 1
    assert str(named.relative_to(course.root)) in result.output
    assert {p: p.read_bytes() for p in course.root.rglob("*") if p.is_file()} == before


def test_build_writes_what_changed_and_says_so(course):
    course.release_notebook(NAME).unlink()
    result = run("build", "01")
    assert result.exit_code == 0
    assert result.output.count("wrote") == 1


@pytest.mark.parametrize(
    "leaky",
    ["    answer_of_square = x * x", 'assert square(-12) == 144, "a negative number"', "### BEGIN SOLUTION"],
)
@pytest.mark.parametrize("place", ["cell", "output", "metadata", "attachment"])
def test_a_leak_is_found_wherever_it_is(course, leaky, place):
    source, release = read_source(course.text_source(NAME)), released(course)
    assert leaks(source, release) == []
    if place == "cell":
        release.cells[1].source += f"\n{leaky}\n"
    elif place == "output":
        output = {"output_type": "stream", "name": "stdout", "text": ["first\n", leaky + "\n"]}
        release.cells[1].outputs = [nbformat.from_dict(output)]
    elif place == "metadata":
        release.metadata["note"] = leaky
    else:
        release.cells[0]["attachments"] = {"a.txt": {"text/plain": leaky}}
    assert leaks(source, release)


def test_what_stands_outside_of_regions_is_no_secret(course):
    source = read_source(course.text_source(NAME))
    assert "answer_of_cube = x * x * x" in secret_lines(source)
    source.cells[0].source += "\nanswer_of_cube = x * x * x"
    assert "answer_of_cube = x * x * x" not in secret_lines(source)


def test_a_build_that_would_leak_is_refused(course):
    # Other delimiters in nbgrader's configuration: its ClearSolutions then leaves our regions as they are.
    with (course.root / "nbgrader_config.py").open("a") as file:
        file.write('c.ClearHiddenTests.begin_test_delimeter = "BEGIN SECRETS"\n')
    with pytest.raises(CourseError, match=r"01_squares\.py: the release would give away"):
        build.build(Course.find(course.root), NAME)


def test_errors_are_one_line_and_exit_2(course):
    course.text_source(NAME).write_text('# %% test="t"\n', encoding="utf-8")
    result = run("build")
    assert result.exit_code == 2
    assert result.output.startswith("coursekit: ")
    assert result.output.count("\n") == 1
    assert run("build", "07").exit_code == 2


def test_no_course_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("build")
    assert result.exit_code == 2
    assert "no course here" in result.output


def test_names_may_be_shortened_unless_two_match(course):
    (course.source_dir / "01_more.py").write_text("# %%\n", encoding="utf-8")
    assert course.select(["01_s"]) == [NAME]
    assert course.select([]) == ["01_more", NAME]
    with pytest.raises(CourseError, match="it could be 01_more, 01_squares"):
        course.select(["01"])


def test_atomic_write_leaves_the_old_file_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    assert atomic_write(path, b"old")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        atomic_write(path, json.dumps("new").encode())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_test_without_a_check_is_refused(course):
    path = course.text_source(NAME)
    path.write_text(
        path.read_text(encoding="utf-8").replace("cube_of_two", "cube_of_three"), encoding="utf-8"
    )
    with pytest.raises(CourseError, match="no check is called cube_of_three; points come from checks alone"):
        build.build(course, NAME)
