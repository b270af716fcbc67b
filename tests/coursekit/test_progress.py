"""What has passed is kept for its user, loses nothing, harms nothing, and is shown."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from typer.testing import CliRunner

from coursekit import build, progress_command, records
from coursekit.cli import app
from coursekit.course import Course
from coursekit.progress import keep_scores, next_step, standing
from coursekit.progress_page import progress_page
from coursekit.records import Record
from coursekit.score import CellScore
from coursekit.source import notebook_bytes

from .conftest import NAME, answered, released
from .test_guide import course_with_guide

COURSE = "normalizing-flows"  # the tiny course has this course's nbgrader_config.py
# At the place of the working folder.
keep, kept = (partial(function, folder=".") for function in (records.keep, records.kept))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Where records are kept."""
    path = tmp_path / "kept"
    monkeypatch.setenv(records.FOLDER, str(path))
    return path


@pytest.fixture
def guided(course):
    made = course_with_guide(course)
    build.write(build.build(made, NAME))
    return made


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def record(check: str, status: str = "passed", points: float = 1, **changes) -> Record:
    return Record(**{**asdict(Record(check, status, points, 2, records.now(), "r")), **changes})


def test_the_last_outcome_of_a_check_is_kept(folder):
    assert kept("c", "a") == {}
    first, second = record("one", "failed", 0), record("one")
    assert keep("c", "a", [first, record("two")])
    assert keep("c", "a", [second])
    assert kept("c", "a")["one"] == second
    place = records.place_of(".")
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.json")) == [
        f"c/{place}/a/one.json",
        f"c/{place}/a/two.json",
    ]
    assert kept("c", "b") == {}


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "home/.local/share/coursekit"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/coursekit"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "home/.local/share/coursekit"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, "home/Library/Application Support/coursekit"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/coursekit"),
        ("win32", {}, "home/AppData/Local/coursekit"),
        ("linux", {records.FOLDER: "/chosen"}, "/chosen"),
    ],
)
def test_records_are_where_the_system_keeps_a_user_s_data(monkeypatch, platform, environment, expected):
    for name in (records.FOLDER, "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    assert records.home() == Path(expected)


WRITER = """
import sys
from coursekit import records
from coursekit.records import Record
me = sys.argv[1]
for k in range(60):
    own, shared = (Record(c, "passed", 1, 1, records.now(), me * 500) for c in (f"{me}-{k}", "shared"))
    assert records.keep("c", "a", [own, shared], folder=".")
"""


def test_two_notebooks_at_once_lose_nothing(capfd):
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, me]) for me in "xyz"]
    while any(w.poll() is None for w in writers):
        kept("c", "a")  # a reader never meets half a file
    assert [w.returncode for w in writers] == [0, 0, 0]
    assert kept("c", "a").keys() == {"shared", *(f"{me}-{k}" for me in "xyz" for k in range(60))}
    assert capfd.readouterr().err == ""


GOOD = asdict(record("bad"))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        json.dumps({**GOOD, "status": "cheated"}).encode(),
        json.dumps({**GOOD, "points": "1"}).encode(),
        json.dumps({**GOOD, "points": True}).encode(),
        json.dumps({**GOOD, "time": 3}).encode(),
        json.dumps({**GOOD, "more": 3}).encode(),
    ],
)
def test_a_damaged_file_is_set_aside_with_one_line(folder, capsys, damage):
    keep("c", "a", [record("good"), record("bad")])
    path = folder / "c" / records.place_of(".") / "a" / "bad.json"
    path.write_bytes(damage)
    assert kept("c", "a").keys() == {"good"}
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{path} is damaged" in said
    assert path.with_name("bad.json.damaged").read_bytes() == damage
    assert kept("c", "a").keys() == {"good"}
    assert capsys.readouterr().err == ""
    assert keep("c", "a", [record("bad")])


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(folder, monkeypatch):
    folder.write_text("a file stands here")
    assert keep("c", "a", [record("one")]) is False
    assert kept("c", "a") == {}
    monkeypatch.delenv(records.FOLDER)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    monkeypatch.setattr(sys, "platform", "linux")
    assert keep("c", "a", [record("one")]) is False
    assert kept("c", "a") == {}


def test_a_course_folder_is_one_place_and_another_folder_another(course, tmp_path):
    inside = course.release_notebook(NAME).parent
    place = records.place_of(course.root)
    assert records.place_of(inside) == records.place_of(Path(os.path.relpath(inside))) == place
    assert re.fullmatch(r"course-[0-9a-f]{12}", place)
    other = tmp_path / "Jürgen's flows, 2nd" / "course"
    shutil.copytree(course.root, other)
    assert records.place_of(other / "course" / NAME) == records.place_of(other) != place
    assert records.place_of(other.parent).startswith("J_rgen_s_flows__2nd-")
    # Without a course around it, a folder is a place of its own, whatever pyproject.toml lies there.
    alone = {records.place_of(f) for f in (tmp_path, other.parent, Path(tmp_path.anchor))}
    for text in ("no TOML", "tool = 3", '[project]\nname = "mine"\n'):
        (tmp_path / "pyproject.toml").write_text(text)
        alone.add(records.place_of(tmp_path))
    assert len(alone) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{13,53}", name) for name in {*alone, place})


def test_a_fresh_folder_shows_nothing_of_another(guided, tmp_path):
    fresh = Course.find(shutil.copytree(guided.root, tmp_path / "fresh"))
    fill(guided, square_of_three="passed")
    assert (standing(guided)[0].passed, standing(fresh)[0].passed) == (1, 0)
    path = fresh.release_notebook(NAME)
    scores = [CellScore("cube_of_two", "test", "passed", 3, 3)]
    assert keep_scores({"course": COURSE, "assignment": NAME, "release": "r"}, scores, path.parent)
    assert kept(COURSE, NAME).keys() == {"square_of_three"}
    assert records.kept(COURSE, NAME, folder=fresh.root).keys() == {"cube_of_two"}


def test_records_of_before_places_are_nobody_s(folder):
    old = folder / "c" / "a" / "one.json"
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps(asdict(record("one"))))
    assert kept("c", "a") == {}
    assert old.is_file()


@pytest.mark.parametrize("name", ["..", "../up", "a/b", "a\\b", "", ".hidden", "x" * 101, "a\n"])
def test_names_lead_to_no_other_folder(folder, name):
    assert keep(name, "a", [record("one")]) is False
    assert keep("c", name, [record("one")]) is False
    assert keep("c", "a", [record(name)]) is False
    assert kept(name, "a") == kept("c", name) == {}
    assert not folder.exists()


def test_check_records_what_it_finds(guided, folder):
    nb = answered(released(guided), cube="def cube(x):\n    return 3 * x")
    nb.metadata.coursekit = guided.source(NAME).metadata.coursekit  # of the release with its bootstrap cell
    path = guided.root / "mine.ipynb"
    path.write_bytes(notebook_bytes(nb))
    assert run("check", path).exit_code == 0
    found = kept(COURSE, NAME)
    assert {k: (r.status, r.points, r.max_points) for k, r in found.items()} == {
        "square_of_three": ("passed", 2, 2),
        "square_is_even": ("passed", 1, 1),
        "cube_of_two": ("failed", 0, 3),
        "training_was_cut": ("passed", 1, 1),
    }
    assert "return" not in "".join(p.read_text() for p in folder.rglob("*.json"))
    listed = run("check")
    assert listed.exit_code == 0
    assert re.search(rf"{NAME} +3 of 4 +4 of 7", listed.output)
    assert f"Next: Exercise 1 · The square, about 5 minutes, in course/{NAME}/{NAME}.ipynb" in listed.output
    assert run("check", "--json").exit_code == 2


def test_nothing_is_kept_when_switched_off_or_of_unknown_origin(folder, monkeypatch):
    scores = [CellScore("one", "test", "passed", 1, 1), CellScore("two", "test", "not run", 0, 1)]
    about = {"course": "c", "assignment": "a", "release": "r"}
    assert keep_scores({**about, "course": None}, scores, Path()) is False
    assert keep_scores({**about, "assignment": "../../up"}, scores, Path()) is False
    monkeypatch.setenv(records.SWITCH, "0")
    assert keep_scores(about, scores, Path()) is False
    assert not folder.exists()
    monkeypatch.delenv(records.SWITCH)
    assert keep_scores(about, scores, Path()) is True
    assert kept("c", "a").keys() == {"one"}


def fill(course, **statuses: str) -> None:
    release = course.source(NAME).metadata.coursekit.release
    most = {"square_of_three": 2, "square_is_even": 1, "cube_of_two": 3, "training_was_cut": 1}
    keep(
        COURSE,
        NAME,
        [
            record(c, s, most[c] * (s == "passed"), max_points=most[c], release=release)
            for c, s in statuses.items()
        ],
    )


def test_standing_and_the_next_step(guided):
    [before] = standing(guided)
    assert (before.passed, before.points, before.max_points, before.started) == (0, 0, 7, False)
    assert next_step([before])[1].about.number == 1
    fill(guided, square_of_three="passed", square_is_even="error", cube_of_two="open")
    [now] = standing(guided)
    assert [s.status for s in now.steps] == ["passed", "not yet", "open", "not run"]
    assert (now.passed, now.points, now.older) == (1, 2, 0)
    fill(
        guided,
        **dict.fromkeys(("square_of_three", "square_is_even", "cube_of_two", "training_was_cut"), "passed"),
    )
    assert next_step(standing(guided)) is None
    text = guided.text_source(NAME).read_text(encoding="utf-8").replace("NUMBER = 2", "NUMBER = 3")
    guided.text_source(NAME).write_text(text, encoding="utf-8")
    build.write(build.build(guided, NAME))
    assert standing(guided)[0].older == 4


def test_the_page_is_self_contained_and_accessible(guided):
    fill(guided, square_of_three="passed", square_is_even="failed")
    text = progress_page('a "course" <b>', standing(guided))
    page = BeautifulSoup(text, "html.parser")
    assert page.html["lang"] == "en"
    assert page.title.text == page.h1.text == 'Progress: a "course" <b>'
    assert not page.find_all(["script", "link", "img", "iframe"])
    assert "url(" not in text
    assert all(a["href"].startswith("https://example.org/tiny/course/") for a in page.find_all("a"))
    assert page.find("a")["href"].endswith(f"{NAME}.html#exercise-1")
    for table in page.find_all("table"):
        assert table.caption.text
        assert [th["scope"] for th in table.thead.find_all("th")] == ["col"] * 4
        assert all(
            th["scope"] == "rowgroup" for body in table.find_all("tbody") for th in body.find_all("th")
        )
    assert page.progress["aria-label"] == "Squares: 1 of 4 checks hold"
    assert (page.progress["value"], page.progress["max"]) == ("1", "4")
    assert page.details.has_attr("open")
    words = [td.text for td in page.select("td.status")]
    assert words == ["✓ passed", "✗ not yet", "○ not run", "○ not run"]
    assert "Next: Exercise 1 · The square, about 5 minutes" in " ".join(page.select_one(".next").text.split())


def test_the_page_s_colors_stand_out():
    """WCAG AA, 4.5 to 1, for text in both schemes."""
    from coursekit.progress_page import STYLE

    def luminance(color: str) -> float:
        digits = color[1:] if len(color) == 7 else "".join(2 * c for c in color[1:])
        parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    schemes = re.findall(r":root \{(.*?)\}", STYLE, re.S)
    assert len(schemes) == 2
    for scheme in schemes:
        color = dict(re.findall(r"--(\w+): (#\w+)", scheme))
        for text in ("text", "soft", "link"):
            for ground in ("page", "box"):
                high, low = sorted((luminance(color[text]), luminance(color[ground])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_the_command_writes_the_page_and_opens_it(guided, folder, monkeypatch):
    opened = []
    monkeypatch.setattr(progress_command.webbrowser, "open", lambda address: opened.append(address) or True)
    fill(guided, square_of_three="passed")
    assert run("progress").output.count("Next: ") == 1
    result = run("progress", "--html", "mine.html")
    assert result.exit_code == 0, result.output
    assert "1 of 4 checks hold" in html.unescape((guided.root / "mine.html").read_text(encoding="utf-8"))
    assert opened == []
    assert run("progress", "--open").exit_code == 0
    assert opened == [(folder / "progress.html").as_uri()]
    monkeypatch.setattr(progress_command.webbrowser, "open", lambda address: False)
    failed = run("progress", "--open")
    assert failed.exit_code == 2
    assert "no browser here: open" in failed.output
    assert run("progress", "--html", guided.root / "pyproject.toml" / "x.html").exit_code == 2


def test_without_guides_the_command_says_so(course, guided):
    guided.guide_file(NAME).write_text("{}", encoding="utf-8")
    for reason in ("is no guide (KeyError: 'course')", "holds no guide: run coursekit build"):
        result = run("progress")
        assert result.exit_code == 2
        assert result.output.count("\n") == 1
        assert reason in result.output
        guided.guide_file(NAME).unlink(missing_ok=True)
