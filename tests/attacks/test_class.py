"""A class with hostile students in it: the honest ones lose nothing, and nothing in what grading writes acts by itself."""

from __future__ import annotations

import csv
import html.parser
import os
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter
from typer.testing import CliRunner

from coursekit.cli import app
from coursekit.course import Course
from coursekit.grade import Graded, Options, grade_assignment
from coursekit.source import notebook_bytes
from tests.attacks.all import ATTACKS
from tests.attacks.arena import LIMITS, Arena, paper
from tests.attacks.bank_outputs import MARK, OUTPUTS
from tests.course import ROOT

pytestmark = pytest.mark.slow

NAME = "03_masked_coupling"
HONEST = ("ada", "zoe")
# Student id → attack. Ids are what a learning platform lets people choose.
NASTY = {
    "=cmd()": "os._exit when called",
    "[bold]x": "memory bomb",
    "naïve student": "protocol: partial points, then a time limit",
    "o'brien; drop table grade": "errors: an exception with half characters",
    "x" * 120: "ids that no terminal likes",
    "<script>": "attachments that are code",
}
WRITERS = {f"writer {k}": attack.name for k, attack in enumerate(OUTPUTS)}
LINK, EMPTY = "linked", "nothing"


@pytest.fixture(scope="module")
def class_dir(arena: Arena, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("class")
    by_name = {a.name: a for a in ATTACKS}

    def hand_in(student: str, data: bytes) -> Path:
        path = root / "submitted" / student / NAME / f"{NAME}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        return path

    made = paper(NAME)
    for student in HONEST:
        hand_in(student, notebook_bytes(made.notebook(made.answers)))
    for student, attack in (NASTY | WRITERS).items():
        hand_in(student, by_name[attack].make(made))
    hand_in(EMPTY, b"")
    link = hand_in(LINK, b"")
    link.unlink()
    link.symlink_to(arena.folder / "gradebook.db")
    return root


@pytest.fixture(scope="module")
def graded(arena: Arena, class_dir: Path) -> dict[str, Graded]:
    course = Course.find(ROOT)
    with pytest.MonkeyPatch.context() as patch:
        # A new gradebook asks the command `alembic`.
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        options = Options(limits=LIMITS, workers=2, isolation=arena.launcher.name)
        before = arena.state()
        rows = grade_assignment(course, class_dir, NAME, options)
        assert arena.state() == before
    return {row.student: row for row in rows}


def test_everybody_has_a_result(graded: dict[str, Graded]):
    assert set(graded) == {*HONEST, *NASTY, *WRITERS, LINK, EMPTY}
    assert [s for s, row in graded.items() if row.status == "error"] == []
    assert {s: row.message for s, row in graded.items() if row.feedback is None} == {}


def test_honest_students_have_all_points(graded: dict[str, Graded]):
    for student in HONEST:
        result = graded[student].result
        assert (result.status, result.flags) == ("graded", ())
        assert all(c.points == c.max_points for c in result.cells if c.kind == "test")


def test_hostile_students_have_what_they_deserve(graded: dict[str, Graded]):
    by_name = {a.name: a for a in ATTACKS}
    made = paper(NAME)
    for student, name in (NASTY | WRITERS).items():
        attack, result = by_name[name], graded[student].result
        wrong = attack.attacked if attack.right is None else set(made.exercises) - set(attack.right)
        nothing = made.of(*wrong)
        assert all(c.points == 0 for c in result.cells if c.id in nothing), student
    for student in (LINK, EMPTY):
        assert graded[student].standing.points == 0
    assert "symbolic link" in graded[LINK].message


def test_the_table_can_be_opened(graded: dict[str, Graded], class_dir: Path):
    text = (class_dir / "scores" / f"{NAME}.csv").read_text(encoding="utf-8")
    rows = {row["student"] for row in csv.DictReader(text.splitlines())}
    assert {s if s[0] != "=" else f"'{s}" for s in graded} == rows
    assert not any(cell[:1] in "=+@" for row in csv.reader(text.splitlines()) for cell in row if cell)


def test_the_command_line_shows_no_traceback(graded: dict[str, Graded], class_dir: Path, monkeypatch):
    monkeypatch.chdir(ROOT)
    seconds = ["--cell-seconds", str(LIMITS.request_seconds)]
    result = CliRunner().invoke(app, ["grade", NAME, "--course", str(class_dir), "--no-feedback", *seconds])
    assert "Traceback" not in result.output
    assert "\x1b[2J" not in result.output
    assert all(student[:20] in result.output for student in HONEST)


class _Page(html.parser.HTMLParser):
    """What of a page acts: its tags, handlers, links, and styles; text does not."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.found: list[str] = []
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.inside = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            text = "".join((value or "").split()).lower()
            acts = (
                name.startswith("on") or name in ("srcdoc", "formaction", "action") or "javascript:" in text
            )
            if acts or (MARK in text and name not in ("alt", "title")):
                self.found.append(f"<{tag} {name}={value!r:.80}>")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside and MARK in data:
            self.found.append(f"{MARK} in a {self.inside}: {data[:80]!r}")


ACTING = (
    "script",
    "iframe",
    "object",
    "embed",
    "form",
    "input",
    "textarea",
    "base",
    "meta",
    "link",
    "svg",
    "math",
)


def _same_but_harmless(page: str, plain: str) -> None:
    """A page acts no more than an honest student's does."""
    theirs, ours = _Page(page), _Page(plain)
    assert set(theirs.found) <= set(ours.found)
    more = {tag: theirs.tags[tag] for tag in ACTING if theirs.tags[tag] > ours.tags[tag]}
    assert not more


@pytest.mark.parametrize("student", [*WRITERS, "<script>"], ids=[*WRITERS.values(), "attachments"])
def test_feedback_is_text(graded: dict[str, Graded], student: str):
    plain = graded[HONEST[0]].feedback.read_text(encoding="utf-8")
    _same_but_harmless(graded[student].feedback.read_text(encoding="utf-8"), plain)


@pytest.mark.parametrize("student", WRITERS, ids=WRITERS.values())
def test_the_graded_notebook_is_text_in_formgrader(graded: dict[str, Graded], class_dir: Path, student: str):
    """Formgrader makes its page from the graded notebook, by nbconvert with the course's configuration."""
    exporter = HTMLExporter(config=Course.find(ROOT).config)

    def page(who: str) -> str:
        nb = nbformat.read(class_dir / "autograded" / who / NAME / f"{NAME}.ipynb", as_version=4)
        return exporter.from_notebook_node(nb)[0]

    _same_but_harmless(page(student), page(HONEST[0]))
