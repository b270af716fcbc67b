"""A release's guide: what a helper knows of it, and nothing that students must not know."""

from __future__ import annotations

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from coursekit import build, guide_file
from coursekit.cli import app
from coursekit.course import Course
from coursekit.errors import CourseError
from coursekit.guide import bound_names, guide_bytes, guide_of
from coursekit.guide_file import CheckCell, parse
from coursekit.leaks import leaks, secret_lines
from coursekit.packages import packages_hash
from coursekit.publish import edition

from .conftest import NAME, PYPROJECT, SQUARES

STATEMENT = """\
## 1 · Squares

```python
# ## no heading
```

### Exercise 1 · The square

Difficulty 2/5 (one line) · about 5 minutes · 3 points

<details><summary>Answer</summary>

It is never negative.
</details>
"""
HELPS = """\
<details><summary>Template</summary>

    return …
</details>
<details><summary>Help: where do I start?</summary>

Multiply. What by **what**?
</details>
<details><summary>What happened (afterwards)</summary>

A secret of later.
</details>

### A word on cubes

<details><summary>Help: of nobody's</summary>

Belongs to no exercise.
</details>
"""


def course_with_guide(course: Course) -> Course:
    """The tiny course with exercise headings, helps, an address and a guide."""
    settings = PYPROJECT + (
        'guide = "tiny/guide"\nsite = "https://example.org/tiny/"\nrepository = "https://example.org/tiny.git"\n'
        'branch = "main"\nbootstrap = """\n# {install}\nbegin("{assignment}", "{release}")\n"""\n'
        '[project]\nname = "tiny-course"\nversion = "1"\n'
    )
    (course.root / "pyproject.toml").write_text(settings, encoding="utf-8")
    comment = lambda text: "".join(f"# {line}".rstrip() + "\n" for line in text.split("\n"))  # noqa: E731
    source = SQUARES.replace(
        '# %% solution="square"', f'# %% [markdown]\n{comment(STATEMENT)}\n# %% solution="square"'
    )
    source = source.replace(
        '# %% locked="provided"', f'# %% [markdown]\n{comment(HELPS)}\n# %% locked="provided"'
    )
    course.text_source(NAME).write_text(source, encoding="utf-8")
    return Course.find(course.root)


@pytest.fixture
def guided(course):
    made = course_with_guide(course)
    build.write(build.build(made, NAME))
    return made


def guide(course: Course) -> dict:
    return json.loads(course.guide_file(NAME).read_bytes())


def test_the_guide_of_a_notebook(guided):
    found = guide(guided)
    released = json.loads(guided.release_notebook(NAME).read_bytes())
    assert {k: v for k, v in found.items() if k not in ("exercises", "defined")} == {
        "course": "normalizing-flows",
        "assignment": NAME,
        "release": released["metadata"]["coursekit"]["release"],
        "title": "Squares",
        "notebook": f"course/{NAME}/{NAME}.ipynb",
        "source": f"solutions/{NAME}.py",
        "page": f"https://example.org/tiny/course/{NAME}/{NAME}.html",
        "distribution": "tiny-course",
        "install": "tiny-course @ git+https://example.org/tiny.git@main",
    }
    [exercise] = found["exercises"]
    assert exercise["helps"] == [
        {"summary": "where do I start?", "text": "Multiply. What by **what**?"},
        {"summary": "Template", "text": "    return …"},
    ]
    assert {
        k: exercise[k] for k in ("number", "title", "difficulty", "words", "minutes", "points", "answers")
    } == {
        "number": 1,
        "title": "The square",
        "difficulty": 2,
        "words": "one line",
        "minutes": 5,
        "points": 8.5,
        "answers": ["square", "why", "cube"],
    }
    assert [(c["id"], c["points"]) for c in exercise["checks"]] == [
        ("square_of_three", 2),
        ("square_is_even", 1),
        ("cube_of_two", 3),
        ("training_was_cut", 1),
    ]
    assert exercise["by_hand"] == [{"id": "why", "points": 1.5}]


def test_names_stand_under_the_heading_that_first_defines_them(guided):
    found = guide(guided)["defined"]
    assert found["os"] == found["STEPS"] == "Squares"
    assert found["square"] == "Exercise 1 · The square"
    assert found["NUMBER"] == found["cube"] == "A word on cubes"
    assert "answer_of_square" not in found


def test_the_bootstrap_knows_its_release_and_the_release_does_not_depend_on_itself(guided):
    source = guided.source(NAME)
    lines = source.cells[1].source.splitlines()
    assert lines[0] == "# tiny-course @ git+https://example.org/tiny.git@main"
    assert lines[1] == f'begin("{NAME}", "{source.metadata.coursekit.release}")'
    assert guided.source(NAME) == source
    text = guided.text_source(NAME).read_text(encoding="utf-8")
    guided.text_source(NAME).write_text(text.replace("NUMBER = 2", "NUMBER = 3"), encoding="utf-8")
    assert guided.source(NAME).metadata.coursekit.release != source.metadata.coursekit.release


def test_a_guide_holds_no_secret_line_and_a_leaky_one_is_refused(guided, monkeypatch):
    source = guided.source(NAME)
    text = guided.guide_file(NAME).read_text(encoding="utf-8")
    assert secret_lines(source)
    assert leaks(source, guide(guided)) == []
    assert not [line for line in secret_lines(source) if line in text]
    leaky = {"exercises": [{"helps": [{"text": "return answer_of_square"}]}]}
    monkeypatch.setattr(build, "guide_of", lambda *a, **k: leaky)
    with pytest.raises(CourseError, match="its guide would give away the line 'return answer_of_square'"):
        build.build(guided, NAME)


@pytest.mark.parametrize("damage", ["stale", "missing", "stray"])
def test_build_check_names_what_is_wrong_with_guides(guided, damage):
    path = guided.guide_file(NAME)
    if damage == "stale":
        path.write_bytes(path.read_bytes().replace(b"one line", b"two lines"))
    elif damage == "missing":
        path.unlink()
    else:
        path = path.with_name("00_gone.json")
        path.write_text("{}")
    result = CliRunner().invoke(app, ["build", "--check"])
    assert result.exit_code == 1
    assert str(path.relative_to(guided.root)) in result.output
    words = {"stale": "is stale", "missing": "is missing", "stray": "is made by no source"}
    assert words[damage] in result.output


def test_an_edition_carries_the_guide_and_refuses_a_stale_one(guided):
    pyproject = guided.root / "pyproject.toml"
    text = pyproject.read_text().replace("[project]", 'publish = ["tiny"]\n[project]')
    pyproject.write_text(text)
    made = Course.find(guided.root)
    assert f"tiny/guide/{NAME}.json" in edition(made)
    made.guide_file(NAME).write_text("{}")
    with pytest.raises(CourseError, match=rf"{NAME}\.json is stale: run coursekit build"):
        edition(made)


def test_a_guide_is_no_code(tmp_path, monkeypatch):
    package = tmp_path / "tiny_package"
    (package / "guide").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = packages_hash(["tiny_package"])
    (package / "guide" / "01.json").write_text("{}")
    assert packages_hash(["tiny_package"]) == before
    (package / "data.json").write_text("{}")
    assert packages_hash(["tiny_package"]) != before


def test_a_guide_in_another_folder_is_refused(course):
    (course.root / "pyproject.toml").write_text(PYPROJECT + 'guide = "tiny/helps"\n', encoding="utf-8")
    with pytest.raises(CourseError, match="expected a folder called 'guide', got 'tiny/helps'"):
        build.build(Course.find(course.root), NAME)


def test_a_course_may_have_neither_guide_nor_exercise_headings(course):
    assert course.guide_file(NAME) is None
    nb = new_notebook(cells=[new_markdown_cell("# Title"), new_code_cell("x = 1")])
    meta = {"grade": True, "solution": False, "grade_id": "t", "points": 2}
    nb.cells.append(new_code_cell("assert x", metadata={"nbgrader": meta}))
    nb.metadata["coursekit"] = {"course": "c", "assignment": "a", "release": "r"}
    found = guide_of(nb, {}, notebook="", source="", page="", distribution="", install="")
    [exercise] = found["exercises"]
    assert (exercise["number"], exercise["title"]) == (None, "Title")
    assert exercise["checks"] == [{"id": "t", "title": "t", "points": 2}]
    assert found["defined"] == {"x": "Title"}
    assert json.loads(guide_bytes(found)) == found


def test_names_that_a_cell_binds():
    source = (
        "%matplotlib inline\nif a:\n    !ls\n    import b.c\nwith d as e, f as (g, h): i = [j for j in k]\n"
    )
    source += "l += (m := 1)\nfor n.o in p: pass\n@q\nclass R:\n    s = 1\n"
    assert bound_names(source) == ["b", "e", "g", "h", "i", "l", "m", "R"]
    assert bound_names("def broken(:") == []


def test_what_is_written_is_read(course):
    guided = course_with_guide(course)
    built = build.build(guided, NAME)
    path = guided.guide_file(NAME)
    guide = parse(built.files[path])
    value = json.loads(built.files[path])
    assert (guide.assignment, guide.release, guide.notebook) == (NAME, value["release"], value["notebook"])
    assert [e.title for e in guide.exercises] == [e["title"] for e in value["exercises"]]
    assert [c for e in guide.exercises for c in e.checks] == [
        CheckCell(**c) for e in value["exercises"] for c in e["checks"]
    ]
    assert guide.exercises[0].checks


@pytest.mark.parametrize(
    "change", [{"exercises": None}, {"exercises": [3]}, {"exercises": [{"number": 1}]}, {"title": ...}]
)
def test_what_is_no_guide_is_refused_with_a_reason(course, change):
    guided = course_with_guide(course)
    value = json.loads(build.build(guided, NAME).files[guided.guide_file(NAME)]) | change
    kept = {key: v for key, v in value.items() if v is not ...}
    with pytest.raises(ValueError, match=r"^no guide \((Type|Key)Error"):
        parse(json.dumps(kept).encode())
    with pytest.raises(ValueError, match=r"^no guide \(JSONDecodeError"):
        parse(b"<html>")


def test_examples_in_docstrings():
    found = doctest.testmod(guide_file)
    assert found.attempted
    assert not found.failed


def test_what_checks_import_needs_the_standard_library_alone():
    """`-S` hides what is installed."""
    code = "import coursekit.guide_file, coursekit.records"
    env = {**os.environ, "PYTHONPATH": str(Path(guide_file.__file__).parents[1])}
    subprocess.run([sys.executable, "-S", "-c", code], env=env, check=True)
