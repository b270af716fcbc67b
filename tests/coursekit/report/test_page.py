"""What the page says, number by number, of a class that is known beforehand."""

import re
from dataclasses import replace

import pytest
from bs4 import BeautifulSoup

from coursekit.report.page import page
from coursekit.report.write import alike
from tests.coursekit.report import class_maker as maker

STUBS = {"layer": [maker.STUB]}


def parsed(found) -> BeautifulSoup:
    return BeautifulSoup(page(found, alike(found, STUBS)), "html.parser")


def text(node) -> str:
    return " ".join(node.get_text(" ").split())


def table(soup: BeautifulSoup, name: str) -> list[list[str]]:
    return [[text(cell) for cell in row.find_all(["td", "th"])] for row in soup.find(id=name).find_all("tr")]


@pytest.fixture(scope="module")
def soup(tmp_path_factory) -> BeautifulSoup:
    return parsed(maker.loaded(tmp_path_factory.mktemp("class"), maker.make_class()))


def test_totals(soup):
    shown = {
        name: text(soup.find(id=name))
        for name in ("submissions", "graded", "stopped", "not-graded", "waiting")
    }
    assert shown == {"submissions": "40", "graded": "37", "stopped": "1", "not-graded": "2", "waiting": "19"}
    # Of those 38 that ran: 8 points in tests; 2 by hand for even numbers; −2 when 4 divides the number (10); −3 for
    # 1, 2, 3, 5, 6, 9, 37. So 5 for 1, 3, 5, 9, 37; 7 for 2 and 6; 8 for 10 even and 14 odd; 10 for 7.
    assert text(soup.find(id="median")) == "8"
    assert text(soup.find(id="quartiles")) == "8–8"


def test_the_histogram_has_a_bar_for_each_point_and_says_what_is_seen(soup):
    figure = soup.find(id="histogram")
    bars = [text(r.title) for r in figure.find_all("rect")]
    assert bars[0] == "0 to 1 points: 0 students"
    assert [b for b in bars if not b.endswith(": 0 students")] == [
        "more than 4 to 5 points: 5 students",
        "more than 6 to 7 points: 2 students",
        "more than 7 to 8 points: 24 students",
        "more than 9 to 10 points: 7 students",
    ]
    heights = [float(r["height"]) for r in figure.find_all("rect")]
    assert heights[7] == pytest.approx(12 * heights[6], rel=1e-3)
    label = figure.svg["aria-label"]
    assert (
        label
        == "Histogram. 38 submissions with 0 to 10 points; most often more than 7 to 8 points: 24 students."
    )
    labels = [text(t) for t in figure.find_all("text")]
    assert "points of 10" in labels
    assert "students" in labels
    assert text(figure.strong) == "Points of 38 submissions"


def test_checks_are_counted_in_the_table_and_drawn(soup):
    rows = {row[0]: row[1:] for row in table(soup, "check-table")[1:]}
    assert list(rows) == list(maker.TESTS)
    # passed, hidden, failed, open, not run
    assert rows["layer_shape"] == ["2 / 2", "100 % (38)", "0 % (0)", "0 % (0)", "0 % (0)", "0 % (0)"]
    assert rows["layer_inverse"] == ["1.474 / 2", "74 % (28)", "0 % (0)", "26 % (10)", "0 % (0)", "0 % (0)"]
    assert rows["layer_log_det"] == ["2.447 / 3", "82 % (31)", "8 % (3)", "5 % (2)", "3 % (1)", "3 % (1)"]
    bars = soup.select(".stacks svg")
    assert len(bars) == len(maker.TESTS)
    log_det = {r["class"][0]: float(r["width"]) for r in bars[2].find_all("rect")}
    assert log_det == pytest.approx(
        {"passed": 81.579, "hidden": 7.895, "failed": 5.263, "open": 2.632, "not-run": 2.632}
    )


def test_a_misconception_has_count_hint_and_an_example_that_names_nobody(soup):
    (section,) = soup.select("section.misconception")
    assert text(section.h3) == "layer.forgets_the_sign : 2 students, 5 %"
    assert text(section.find(class_="hint")) == maker.LONG_HINT
    example = section.pre.get_text()
    assert "return (x, -scale.sum(dim=-1))" in example
    assert "note_of_student = '…'" in example
    assert not re.search(r"Ann|s02|s06|group|#", example)


def test_outliers_of_time_and_memory_are_named_with_their_limit(soup):
    rows = table(soup, "outlier-table")[1:]
    # Seconds: 1.00 … 1.37 without s15's 1.15, and 90. Median (1.19 + 1.20) / 2, MAD (0.095 + 0.105) / 2.
    # MB: 200 … 237 without s16's 216, and 900. Median 219.5, of which 5 % is more than the MAD of 10.
    assert rows == [
        ["s15", "seconds", "90 s", "1.195 s", "1.795 s"],
        ["s16", "memory", "900 MB", "219.5 MB", "285.4 MB"],
    ]


def test_flags_are_grouped_the_gravest_first(soup):
    sections = soup.select("section.flag")
    assert [text(s.h3) for s in sections] == [
        "verdict differs (1 student)",
        "reference used (1 student)",
        "not graded (2 students)",
        "stopped (1 student)",
        "time limit (1 student)",
        "missing (2 students)",
        "renamed (1 student)",
    ]
    assert text(sections[0].table) == "flow_mass s04"
    assert text(sections[2].table) == "the file is empty s38 s39"
    assert text(sections[5].table) == "flow_mass s07 s08"


def test_only_those_who_copied_are_shown_as_similar(soup):
    rows = table(soup, "pair-table")[1:]
    assert {row[0] for row in rows} == {"s10 s11", "s20 s21", "s20 s22", "s21 s22"}
    assert rows[0][0] == "s10 s11"
    assert re.fullmatch(r"layer (9\d|100) %", rows[0][1])  # names, comments and annotations hid little
    assert [text(li) for li in soup.find(id="groups").find_all("li")] == ["s20 s21 s22"]
    # One pair of each group side by side, as they wrote it.
    shown = [[text(who) for who in s.select(".who")] for s in soup.select("section.pair")]
    assert shown == [["s10", "s11"], ["s20", "s21"]]
    left, right = (pre.get_text() for pre in soup.select("section.pair")[0].find_all("pre"))
    assert "def layer(u, scale, shift):" in left
    assert "def layer(base: Tensor, s: Tensor, t: Tensor):" in right
    assert soup.select("section.pair mark")
    assert "A place to look, not a verdict." in text(soup)


HOSTILE = "\"><img src=x onerror=alert(1)><script>alert('{{7*7}}')<&s>\u202e"


def test_nothing_of_a_student_becomes_markup(tmp_path):
    results = maker.make_class()
    code = f"def layer(u):\n    x = {HOSTILE!r}\n    return '</pre></main><script>alert(2)</script>'\n"
    hostile = replace(
        maker.with_cell(
            results["s02"],
            "layer_log_det",
            id=HOSTILE,
            hints=(HOSTILE,),
            misconceptions=(f"layer.{HOSTILE}",),
        ),
        notebook=maker.notebook({"layer": code + maker.random_answer(maker.random.Random(1))}),
        flags=(f"verdict differs: {HOSTILE}", f"{HOSTILE}: x"),
        message=HOSTILE,
        status="stopped",
        seconds=900.0,
    )
    results |= {HOSTILE: hostile, f"{HOSTILE}2": hostile}
    found = maker.loaded(tmp_path, results)
    (tmp_path / "results" / f"{HOSTILE}3").mkdir()
    (tmp_path / "results" / f"{HOSTILE}3" / f"{maker.NAME}.json").write_text('["<script>"]')
    found = maker.load_results(tmp_path, maker.NAME, maker.standings(results))
    assert found.unreadable
    markup = page(found, alike(found, STUBS))
    soup = BeautifulSoup(markup, "html.parser")
    assert not soup.find_all(["script", "img", "iframe", "object", "link", "form"])
    assert not [a for tag in soup.find_all(True) for a in tag.attrs if a.startswith("on")]
    assert "49" not in [text(t) for t in soup.find_all("h3")]
    assert not soup.find_all(href=re.compile("^(?!#)"))
    assert not soup.find_all(src=True)
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    # It is there, as text: in the outliers, the flags, the pairs, the hints, the checks, the unreadable results.
    for place in ("outlier-table", "pair-table", "unreadable", "check-table"):
        assert HOSTILE in soup.find(id=place).get_text(), place
    assert HOSTILE in soup.select("section.flag")[0].get_text()
    assert any(HOSTILE in hint.get_text() for hint in soup.select(".hint"))


def test_refused_submissions_alone_give_a_page(tmp_path):
    refused = {s: r for s, r in maker.make_class().items() if s in maker.NOT_GRADED}
    soup = parsed(maker.loaded(tmp_path, refused))
    assert text(soup.find(id="not-graded")) == "2"
    assert soup.find(id="median") is None
    for sentence in (
        "No submission ran.",
        "No check ran.",
        "No pair stands out.",
        "No submission stands out.",
    ):
        assert sentence in text(soup)


def test_a_class_of_one(tmp_path):
    soup = parsed(maker.loaded(tmp_path, {"s00": maker.result()}))
    assert text(soup.find(id="median")) == "10"
    assert text(soup.find(id="quartiles")) == "10–10"
    assert "Points of 1 submission" in text(soup.find(id="histogram"))
    assert "No pair stands out." in text(soup)


def test_every_figure_and_table_says_what_it_is(soup):
    for svg in soup.select("figure > svg"):
        assert svg["role"] == "img"
        assert svg["aria-label"]
    for grid in soup.select(".stacks"):
        assert grid["aria-label"]
    for made in soup.select("table[id]"):
        assert made.thead
