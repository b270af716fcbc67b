"""The student edition holds what a student needs, nothing that is secret, and never harms a folder."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from coursekit import publish as publish_module
from coursekit.build import build, stray, write
from coursekit.cli import app
from coursekit.course import Course
from coursekit.errors import CourseError
from coursekit.publish import MARKER, edition, leaks_of, publish
from coursekit.regions import HIDDEN_TESTS, SOLUTION, inside
from tests.course import ROOT

from .conftest import NAME, SQUARES

HIDDEN = 'assert square(-12) == 144, "a negative number"'
SOLVED = "answer_of_square = x * x"
NOTEBOOK = f"course/{NAME}/{NAME}.ipynb"
WANTED = """\
publish = ["tiny_checks.py", "tools", "pyproject.toml", { from = "course/README.md", to = "README.md" }]
"""


@pytest.fixture
def tiny(course):
    """The tiny course with a package, a README for students, and what must stay at home."""
    root = course.root
    (root / "pyproject.toml").write_text((root / "pyproject.toml").read_text() + WANTED)
    (root / "course" / "README.md").write_text("# Squares\n")
    for path in ("tools/__init__.py", "tools/deep/data.bin", "tools/start", "tools/tests/test_tools.py"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"\x00\xff" if path.endswith(".bin") else b"# tool\n")
    (root / "tools" / "start").chmod(0o755)
    for path in ("tools/__pycache__/a.pyc", "tools/.hidden", "submitted/s1/x.ipynb", "gradebook.db"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("secret")
    return Course.find(root)


def with_settings(course, **settings):
    return dataclasses.replace(course, settings={**course.settings, **settings})


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


EXPECTED = {
    NOTEBOOK,
    "tiny_checks.py",
    "tools/__init__.py",
    "tools/deep/data.bin",
    "tools/start",
    "pyproject.toml",
    "README.md",
}


def test_the_edition_is_what_is_asked_for_and_the_released_notebooks(tiny, tmp_path):
    folder = tmp_path / "edition"
    made = publish(tiny, folder)
    found = tree(folder)
    assert found.keys() == EXPECTED | {MARKER}
    assert (made.files, set(made.written), made.removed) == (len(EXPECTED), EXPECTED, ())
    assert found[NOTEBOOK] == tiny.release_notebook(NAME).read_bytes()
    assert found["README.md"] == b"# Squares\n"
    assert found["tools/deep/data.bin"] == b"\x00\xff"
    assert os.access(folder / "tools" / "start", os.X_OK)
    assert not os.access(folder / "tools" / "__init__.py", os.X_OK)
    assert json.loads(found[MARKER])["files"] == sorted(EXPECTED)


def test_publishing_again_removes_what_is_gone_and_touches_nothing_else(tiny, tmp_path):
    folder = tmp_path / "edition"
    publish(tiny, folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("mine")
    (folder / "tools" / "deep" / "mine.txt").write_text("mine")
    (tiny.root / "tools" / "deep" / "data.bin").unlink()
    (tiny.root / "tools" / "__init__.py").write_text("# changed\n")
    made = publish(tiny, folder)
    assert (made.written, made.removed) == (("tools/__init__.py",), ("tools/deep/data.bin",))
    expected = EXPECTED - {"tools/deep/data.bin"} | {".git/config", "tools/deep/mine.txt", MARKER}
    assert tree(folder).keys() == expected
    (folder / "tools" / "deep" / "mine.txt").unlink()
    (tiny.root / "tools" / "deep" / "new.txt").write_text("new")
    publish(tiny, folder)
    (tiny.root / "tools" / "deep" / "new.txt").unlink()
    publish(tiny, folder)
    assert not (folder / "tools" / "deep").exists()
    assert publish(tiny, folder).written == ()


def test_a_stale_release_is_not_published(tiny, tmp_path):
    tiny.text_source(NAME).write_text(SQUARES.replace("# # Squares", "# # Quadrats"), encoding="utf-8")
    with pytest.raises(CourseError, match=rf"{NAME}\.ipynb is stale: run coursekit build"):
        publish(tiny, tmp_path / "edition")
    assert not (tmp_path / "edition").exists()


@pytest.mark.parametrize(
    ("path", "text", "reason"),
    [
        (
            "tools/__init__.py",
            f"# first\n    {HIDDEN}\n",
            r"tools/__init__\.py:2 would give away a hidden test",
        ),
        ("tools/__init__.py", f"x = 1  # {HIDDEN}\n", r"tools/__init__\.py:1 would give away a hidden test"),
        (
            "tools/a.json",
            json.dumps({"a": f"see\n{HIDDEN}"}),
            r"tools/a\.json:1 would give away a hidden test",
        ),
        ("tools/deep/data.bin", f"\udcff\udcfe{HIDDEN}", r"tools/deep/data\.bin:1 would give away a hidden"),
        ("course/README.md", f"# A\n\n    {SOLVED}\n", r"README\.md:3 would give away a solution"),
        ("course/README.md", "### BEGIN SOLUTION\n", r"README\.md:1 would give away the marker"),
    ],
)
def test_a_leak_stops_publishing_before_anything_is_written(tiny, tmp_path, path, text, reason):
    folder = tmp_path / "edition"
    publish(tiny, folder)
    before = tree(folder)
    (tiny.root / path).write_text(text, encoding="utf-8", errors="surrogateescape")
    (tiny.root / "tools" / "more.txt").write_text("more")
    with pytest.raises(CourseError, match=f"not published: {reason}"):
        publish(tiny, folder)
    assert tree(folder) == before
    with pytest.raises(CourseError, match=reason):
        publish(tiny, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("line", [HIDDEN, f"    {SOLVED}"])
@pytest.mark.parametrize("place", ["cell", "output"])
def test_a_leak_in_a_notebook_is_found(tiny, line, place):
    files = {name: data for name, (data, _) in edition(tiny).items()}
    assert leaks_of(tiny, files) == []
    nb = nbformat.reads(files[NOTEBOOK].decode(), as_version=4)
    if place == "cell":
        nb.cells[1].source += f"\n{line}\n"
    else:
        nb.cells[2].outputs = [nbformat.v4.new_output("stream", text=f"File x\n{line}\n")]
    files[NOTEBOOK] = nbformat.writes(nb).encode()
    [found] = leaks_of(tiny, files)
    at = int(re.match(rf"{NOTEBOOK}:(\d+) would give away", found)[1])
    assert line.strip().split('"')[0] in files[NOTEBOOK].decode().splitlines()[at - 1]


def test_a_package_may_share_lines_with_a_solution(tiny, tmp_path):
    (tiny.root / "tools" / "__init__.py").write_text(f"def square(x):\n    {SOLVED}\n")
    publish(tiny, tmp_path / "edition")


def test_a_line_that_any_source_shows_is_no_secret(tiny):
    other = SQUARES.replace("### BEGIN HIDDEN TESTS\n", "").replace("### END HIDDEN TESTS\n", "")
    tiny.text_source("02_more").write_text(other.replace("The square of $x$", "Again"), encoding="utf-8")
    write(build(tiny, "02_more"))
    assert leaks_of(tiny, {"a.py": HIDDEN.encode()}) == []
    assert leaks_of(tiny, {"a.md": SOLVED.encode()}) != []


# ---- what may be asked for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (None, r"pyproject\.toml: \[tool\.coursekit\] lacks publish ="),
        ([], "lacks publish ="),
        ("tools", "lacks publish ="),
        (["nothing"], "nothing is not there"),
        ([3], "expected a path or {from, to, without}, got 3"),
        ([{"from": "tools"}], "expected a path or {from, to, without}"),
        ([{"from": "tools", "to": "tools", "with": []}], "expected a path or {from, to, without}"),
        ([{"from": "tools", "to": 3}], "expected texts"),
        ([{"from": "tools", "to": "tools", "without": "deep"}], "expected texts, and a list of them"),
        (
            [{"from": "tools", "to": "tools", "without": ["deap/*"]}],
            r"without \['deap/\*'\] leaves out nothing",
        ),
        (["../course"], "expected a path inside the edition"),
        (["/etc/passwd"], "expected a path inside the edition"),
        (["."], "expected a path inside the edition"),
        ([{"from": "tools", "to": ".git/hooks"}], "expected a path inside the edition"),
        (["solutions"], "solutions must not go out"),
        ([f"solutions/{NAME}.py"], "must not go out, for solutions must not"),
        (["submitted"], "submitted must not go out"),
        (["gradebook.db"], "gradebook.db must not go out"),
        (["tools", "tools"], r"tools/__init__\.py is there twice"),
        (["link.py"], "link.py is a symbolic link"),
        (["linked"], "a.py is a symbolic link"),
    ],
)
def test_what_must_not_go_out_is_refused(tiny, tmp_path, wanted, reason):
    (tiny.root / "link.py").symlink_to(tiny.text_source(NAME))
    (tiny.root / "linked").mkdir()
    (tiny.root / "linked" / "a.py").symlink_to(tiny.text_source(NAME))
    with pytest.raises(CourseError, match=reason):
        publish(with_settings(tiny, publish=wanted), tmp_path / "edition")
    assert not (tmp_path / "edition").exists()


def test_parts_of_a_folder_can_be_left_out(tiny, tmp_path):
    wanted = [{"from": "tools", "to": "kit", "without": ["deep/*", "start"]}]
    publish(with_settings(tiny, publish=wanted), tmp_path / "edition")
    assert tree(tmp_path / "edition").keys() == {NOTEBOOK, "kit/__init__.py", MARKER}


# ---- where it may go ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", [".", "..", "solutions", "solutions/new", "course/new", "tools/new", "full", "file"]
)
def test_a_folder_that_is_not_for_it_is_refused(tiny, place):
    (tiny.root / "full").mkdir()
    (tiny.root / "full" / "thesis.txt").write_text("mine")
    (tiny.root / "file").write_text("mine")
    before = tree(tiny.root.parent)
    with pytest.raises(CourseError, match=r"choose another folder|is no folder"):
        publish(tiny, tiny.root / place)
    assert tree(tiny.root.parent) == before


def test_the_readme_beside_the_notebooks_is_not_taken_for_a_generated_file(tiny):
    assert stray(tiny) == []
    (tiny.root / "course" / "OTHER.md").write_text("?")
    assert len(stray(tiny)) == 1


def test_an_empty_folder_will_do(tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    assert publish(tiny, tmp_path / "empty").files == len(EXPECTED)


def test_a_file_of_somebody_else_is_not_written_over(tiny, tmp_path):
    folder = tmp_path / "edition"
    publish(tiny, folder)
    (tiny.root / "tools" / "new.py").write_text("ours")
    (folder / "tools" / "new.py").write_text("theirs")
    with pytest.raises(CourseError, match=r"new\.py was not made by publishing: move it away"):
        publish(tiny, folder)
    assert (folder / "tools" / "new.py").read_text() == "theirs"


def test_a_link_in_the_folder_is_not_written_through(tiny, tmp_path):
    folder, elsewhere = tmp_path / "edition", tmp_path / "elsewhere"
    publish(tiny, folder)
    (folder / "tools").rename(elsewhere)
    (folder / "tools").symlink_to(elsewhere)
    before = tree(elsewhere)
    (tiny.root / "tools" / "__init__.py").write_text("# changed\n")
    with pytest.raises(CourseError, match="tools is not what publishing made there"):
        publish(tiny, folder)
    assert tree(elsewhere) == before


@pytest.mark.parametrize(
    "marker", ['{"files": ["../victim.txt"]}', '{"files": ["/victim"]}', "[]", "{", '{"files": 3}']
)
def test_a_damaged_marker_removes_nothing(tiny, tmp_path, marker):
    folder = tmp_path / "edition"
    publish(tiny, folder)
    (tmp_path / "victim.txt").write_text("mine")
    (folder / MARKER).write_text(marker)
    with pytest.raises(CourseError, match=r"\.published\.json is damaged"):
        publish(tiny, folder)
    assert (tmp_path / "victim.txt").read_text() == "mine"


def test_after_a_full_disk_the_next_run_finishes(tiny, tmp_path, monkeypatch):
    folder = tmp_path / "edition"
    whole, calls = publish_module.atomic_write, []

    def fails_at_the_fourth(path, data):
        calls.append(path)
        if len(calls) == 4:
            raise OSError(28, "No space left on device", str(path))
        return whole(path, data)

    monkeypatch.setattr(publish_module, "atomic_write", fails_at_the_fourth)
    with pytest.raises(CourseError, match="cannot be written: No space left on device"):
        publish(tiny, folder)
    assert len(tree(folder)) == 3
    monkeypatch.setattr(publish_module, "atomic_write", whole)
    publish(tiny, folder)
    assert tree(folder).keys() == EXPECTED | {MARKER}


def test_the_command_says_what_it_did(tiny, tmp_path):
    result = CliRunner().invoke(app, ["publish", str(tmp_path / "edition")])
    assert result.exit_code == 0, result.output
    assert f"{len(EXPECTED)} files in " in result.output
    (tiny.root / "tools" / "start").unlink()
    assert "removed tools/start\n" in CliRunner().invoke(app, ["publish", str(tmp_path / "edition")]).output
    (tiny.root / "tools" / "__init__.py").write_text(HIDDEN)
    result = CliRunner().invoke(app, ["publish", str(tmp_path / "edition")])
    assert result.exit_code == 2
    assert result.output.startswith("coursekit: not published: tools/__init__.py:1 would give away")


# ---- the course itself ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The course of this repository and its edition, published."""
    course = Course.find(ROOT)
    folder = tmp_path_factory.mktemp("published") / "edition"
    publish(course, folder)
    return course, folder


def test_the_course_s_edition_has_its_parts_and_no_others(real):
    course, folder = real
    parts = {p.name for p in folder.iterdir()}
    assert parts >= {
        "course",
        "flowlib",
        "autograder_tests",
        "coursekit",
        "README.md",
        "LICENSE",
        "pyproject.toml",
    }
    assert parts >= {"environment.yml", "postBuild", "constraints.txt"}
    assert not parts & {"solutions", "tests", "benchmarks", "docs", ".git", ".ci", "build", "class"}
    notebooks = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.ipynb")}
    released = [course.release_notebook(name) for name in course.assignments()]
    assert notebooks == {p.relative_to(ROOT).as_posix(): p.read_bytes() for p in released}
    assert (folder / "README.md").read_bytes() == (ROOT / "course" / "README.md").read_bytes()
    assert os.access(folder / "postBuild", os.X_OK)


def test_no_hidden_line_of_the_course_is_in_its_edition(real):
    """Searched without the code under test: every line between the markers in the text sources."""
    course, folder = real
    hidden, solved, public = set(), set(), set()
    for name in course.assignments():
        text = course.text_source(name).read_text(encoding="utf-8")
        hidden |= {line.strip() for line in inside(text, HIDDEN_TESTS)}
        solved |= {line.strip() for line in inside(text, SOLUTION)}
        for cell in nbformat.read(course.release_notebook(name), as_version=4).cells:
            public |= {line.strip() for line in cell.source.split("\n")}
    hidden, solved = ({x for x in lines if len(x) >= 12} for lines in (hidden, solved))
    assert len(hidden) > 100
    assert len(solved) > 100
    contents = {p: p.read_text(encoding="utf-8", errors="replace") for p in folder.rglob("*") if p.is_file()}
    assert [(p, h) for p, text in contents.items() for h in hidden if h in text] == []
    assert not hidden & public
    # What an exercise's text shows on purpose, such as an import, may stand in a solution, too.
    readme = {line.strip() for line in contents[folder / "README.md"].splitlines()}
    assert not solved & readme


def test_the_edition_s_packages_can_be_used_without_the_repository(real, tmp_path):
    _, folder = real
    script = (
        "import autograder_tests, coursekit.check, flowlib\n"
        "from flowlib import plotting, pretrained, verify\n"
        "from setuptools.config.pyprojecttoml import apply_configuration\n"
        "from setuptools.dist import Distribution\n"
        "made = apply_configuration(Distribution(), 'pyproject.toml')\n"
        "print(autograder_tests.__file__, coursekit.__file__, flowlib.__file__)\n"
        "print(sorted({name.split('.')[0] for name in made.packages}), made.metadata.long_description[:20])\n"
        "print(len(autograder_tests.misconceptions('03_masked_coupling')) > 10)\n"
    )
    found = python(folder, "-c", script)
    assert found.returncode == 0, found.stderr
    where, packages, catalogue = found.stdout.splitlines()[-3:]
    assert all(Path(p).is_relative_to(folder) for p in where.split())
    assert packages.startswith("['autograder_tests', 'coursekit', 'flowlib'] # Normalizing flows")
    assert catalogue == "True"


@pytest.mark.slow
def test_the_readme_s_check_command_works_in_the_edition(real):
    _, folder = real
    [command] = re.findall(r"^coursekit (check course/.*\.ipynb)$", (folder / "README.md").read_text(), re.M)
    found = python(folder, "-m", "coursekit.cli", *command.split(), "--json")
    assert found.returncode == 0, found.stderr
    report = json.loads(found.stdout)
    assert report["problem"] == ""
    assert {c["status"] for c in report["cells"] if c["kind"] == "test"} == {"open"}
    assert report["points"] == 0 < report["max_points"]


@pytest.mark.slow
def test_checks_work_in_an_edition_without_the_catalogue_of_mistakes(real, tmp_path):
    """Wrong implementations show right ones: an instructor may keep them, and with them the hints."""
    course, _ = real
    checks = {"from": "autograder_tests", "to": "autograder_tests", "without": ["catalogue/[a-z]*.py"]}
    wanted = [checks if item == "autograder_tests" else item for item in course.settings["publish"]]
    folder = tmp_path / "edition"
    publish(with_settings(course, publish=wanted), folder)
    assert [p.name for p in (folder / "autograder_tests" / "catalogue").iterdir()] == ["__init__.py"]
    script = (
        "from autograder_tests.checks import change_of_variables as check\n"
        "try:\n"
        "    check.affine_log_prob_stretched(lambda x, a, b: x * 0)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    found = python(folder, "-c", script)
    assert found.stdout.split() == ["CheckFailed"], found.stderr


def python(folder, *arguments):
    """Run this Python in the edition, which comes before the installed course."""
    env = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=300
    )
