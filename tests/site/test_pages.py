"""The pages of docs/: what is generated is current, and what they name is there."""

from __future__ import annotations

import doctest
import importlib
import json
import os
import posixpath
import re
from functools import cache
from pathlib import Path

import pytest

import flowlib
from coursekit.course import Course
from docs.ext import concept_map, families, heads, pages, references, repository_links
from flowlib import load_results
from tests.course import ASSIGNMENTS, ROOT, cells

DOCS = ROOT / "docs"
PAGES = sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md") if "_build" not in p.parts)
COURSE = Course.find(ROOT)
NUMBERED = {int(name[:2]): name for name in ASSIGNMENTS}
# A link in Markdown, with its text, its path and the place on that page; pictures are links, too.
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]*)(?:#([\w-]+))?\)")


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@cache
def text_of(assignment: str) -> str:
    """The Markdown of a notebook."""
    parts = [re.sub(r"^# ?", "", s, flags=re.M) for h, s in cells(assignment) if h.startswith("[markdown]")]
    return "\n\n".join(parts)


@cache
def sections(assignment: str) -> dict[int, str]:
    """Number of a notebook's section → its text and code, headings of exercises included."""
    whole = "\n".join(
        re.sub(r"^# ?", "", s, flags=re.M) if h.startswith("[markdown]") else s.replace("#", "")
        for h, s in cells(assignment)
    )
    parts = re.split(r"^## ", whole, flags=re.M)[1:]
    numbered = ((re.match(r"(\d+) ·", part), part) for part in parts)
    return {int(match[1]): part for match, part in numbered if match}


def prose(name: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^(`{3,}).*?^\1", "", page(name), flags=re.M | re.S)


# Generated parts


def test_generated_parts_are_current() -> None:
    stale = [
        p for p, content in pages.generated(COURSE).items() if not p.is_file() or p.read_bytes() != content
    ]
    assert not stale, f"run `python -m docs.ext`: {[p.name for p in stale]}"


@pytest.mark.parametrize(
    "module", ["docstrings", "grading_page", "heads", "references", "repository_links", "tables"]
)
def test_doctests(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"docs.ext.{module}"))
    assert found.attempted
    assert not found.failed


def test_the_families_table_holds_the_measured_numbers() -> None:
    """Computed here anew, from the file, by other means."""
    results = load_results("families")
    table = families.excess_table(results)
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in table.splitlines()[2:]}
    head = table.splitlines()[0].split("|")[2:-1]
    assert list(rows) == list(results["families"])
    for family, cells_ in rows.items():
        for title, cell in zip(head, cells_, strict=True):
            target = title.strip().replace(" ", "_").lower()
            values = [r["excess"] for r in results["runs"] if (r["family"], r["target"]) == (family, target)]
            mean = sum(values) / len(values)
            error = (sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5
            shown = [float(x.replace("−", "-")) for x in cell.split("±")]
            assert shown == pytest.approx([mean, error], abs=6e-4)
    assert results["command"] in page("families.md")
    assert load_results("digits_flows")["command"] in page("families.md")


def test_figures_show_every_run() -> None:
    results = load_results("families")
    picture = families.excess_figure(results).decode()
    for name in results["families"]:
        assert f">{name}</text>" in picture
    # Each mark is one <use>; ticks are the others.
    marks = re.findall(r"<g clip-path.*?</g>", picture, flags=re.S)
    assert sum(m.count("<use ") for m in marks) == sum("excess" in r for r in results["runs"])


# The concept map


def head(number: int, needs: tuple[int, ...] = (), helped_by: tuple[int, ...] = ()) -> heads.Head:
    return heads.Head(f"{number:02}_x", number, "A title: more", needs, helped_by)


def test_a_head_is_read() -> None:
    text = (
        "# 8 · A title: more\n\n**Time:** about 5 minutes of reading.\n"
        "**Needs:** notebooks 1–2 and 4 (a; b), matrices; 3 helps with section 5.\n\nMore about notebook 7."
    )
    assert heads.read_head("08_x", text) == head(8, (1, 2, 4), (3,))
    for missing in ("# n · title", "**Needs:**"):
        with pytest.raises(ValueError, match=re.escape(f"08_x: expected {missing!r}")):
            heads.read_head("08_x", text.replace("# 8 ·" if missing[0] == "#" else missing, ""))


def test_needs_come_before() -> None:
    found = heads.heads(COURSE)
    assert [h.number for h in found] == sorted(NUMBERED)
    for h in found:
        assert all(n < h.number for n in (*h.needs, *h.helped_by)), f"{h.name} needs {h.needs}, {h.helped_by}"
        assert h.needs or h.number == 1
    assert set(concept_map.GIVES) == set(NUMBERED)


def test_arrows_that_follow_from_others_are_left_out() -> None:
    chain = [head(1), head(2, (1,)), head(3, (1, 2)), head(4, (3,), (1, 2))]
    assert [(a.start, a.end, a.needed) for a in concept_map.arrows(chain)] == [
        (1, 2, True),
        (2, 3, True),
        (3, 4, True),
    ]


def test_rows_cross_no_arrows_where_they_need_not() -> None:
    found = concept_map.rows([head(1), head(2, (1,)), head(3, (1,)), head(4, (3,)), head(5, (2,))])
    assert [set(row) for row in found] == [{1}, {2, 3}, {4, 5}]
    assert (found[1] == (2, 3)) == (found[2] == (5, 4))


def test_the_map_is_described_in_words() -> None:
    picture = concept_map.concept_svg([head(1), head(2, (1,)), head(3, (2,), (1,))])
    assert 'role="img"' in picture
    assert "<title" in picture
    assert "3 needs 2, and 1 helps." in picture


# References


def test_every_reference_is_cited_by_the_number_and_the_year_that_the_notebook_gives() -> None:
    sources = references.bibliography()
    for assignment in ASSIGNMENTS:
        items = references.references_of(text_of(assignment))
        assert items, f"{assignment} has no references"
        for item in items:
            for source in references.meant(item, sources):
                where = f"{assignment}: {item}"
                assert source.year is None or str(source.year) in item, (
                    f"{where}: the bibliography says {source.year}"
                )
                last = source.authors.split(",")[0].split()[-1]
                last = source.authors.split()[-3] if source.authors.endswith("et al.") else last
                assert last in item, f"{where}: the bibliography says {source.authors}"
                titles = re.findall(r"\*(.+?)\*", item)
                if len(titles) == 1:
                    assert references.plain_title(source.title).startswith(
                        references.plain_title(titles[0])
                    ), where


def test_each_source_stands_once_on_the_page() -> None:
    text = page("references.md")
    for source in references.bibliography():
        assert text.count(f"*{source.title}*") == 1, source.id
        if references.ARXIV.fullmatch(f"arXiv:{source.id}"):
            assert text.count(f"(https://arxiv.org/abs/{source.id})") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("## References\n\n- A. B, *C*, 2020, arXiv:2001.00001.", "lacks arXiv:2001.00001"),
        ("## References\n\n- A. B, *No such title*, 2020.", "0 entries for: A. B"),
        ("As arXiv:2001.00001 says.", "lacks arXiv:2001.00001"),
    ],
)
def test_a_citation_that_the_bibliography_lacks_is_an_error(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        references.cited_in({"01": text}, references.bibliography())


# Glossary

SYMBOL_ROW = re.compile(r"^\| (\$.+?) \| .* \| ([\d, ]+) \|$", re.M)
TERM = re.compile(r"^- \*\*(.+?)\.\*\* .*\(\.\./course/\w+/(\w+)\.ipynb#section-(\d+)\)", re.M)


def first_symbols(cell: str) -> list[str]:
    """The symbols of a table's cell, without what they are equal to: `$x = T(u)$` is about x."""
    found = []
    for formula in re.findall(r"\$(.+?)\$", cell):
        left = re.split(r"\s=\s", formula)[0]
        found += [re.sub(r"\s|\\dots,?|,$", "", s) for s in re.split(r",(?![^()]*\))", left)]
    # J_{ij} tells how J is indexed, and is no symbol of its own.
    return [s for s in found if s and s != "J_{ij}"]


def normal(symbol: str) -> str:
    symbol = re.sub(r"J_T\(u\)", "J", symbol).removesuffix("_i")
    return re.sub(r"\\log\\lvert.*", "log-determinant", symbol)


def test_every_symbol_of_a_notation_table_is_in_the_glossary() -> None:
    """With its notebook: a letter that means something else there has a row of its own."""
    listed: dict[str, set[int]] = {}
    for cell, numbers in SYMBOL_ROW.findall(page("glossary.md")):
        for symbol in first_symbols(cell):
            rows = listed.setdefault(normal(symbol), set())
            found = {int(n) for n in numbers.split(",")}
            assert not rows & found, f"{symbol} stands twice for notebook {rows & found}"
            rows |= found
    missing = []
    for number, assignment in NUMBERED.items():
        table = re.search(r"^## Notation.*?^(\| symbol.*?)\n\n", text_of(assignment), re.M | re.S)
        assert table, f"{assignment} has no table of notation"
        for row in table[1].splitlines()[2:]:
            for symbol in first_symbols(row.split(" | ")[0]):
                if number not in listed.get(normal(symbol), ()):
                    missing.append(f"notebook {number}: {symbol}")
    assert not missing, missing


def test_terms_are_in_the_sections_that_they_are_linked_to() -> None:
    found = TERM.findall(page("glossary.md"))
    assert len(found) == len(re.findall(r"^- \*\*", page("glossary.md"), flags=re.M)) > 60
    titles = [term for term, _, _ in found]
    assert titles == sorted(titles, key=lambda t: re.sub(r"[^a-z]", "", t.lower())), (
        "the terms are not in order"
    )
    wrong = []
    for term, assignment, number in found:
        text = sections(assignment).get(int(number), "").lower()
        # Of the words of a term one must be there; endings differ.
        words = [w.lower()[:6] for w in re.findall(r"[\w×]+", term) if len(w) > 2]
        if not any(w in text for w in words):
            wrong.append(f"{term}: {assignment}, section {number}")
    assert not wrong, wrong


# Links


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for text, path, place in LINK.findall(prose(name)):
        if re.match(r"https?:|mailto:", path) or not path:
            continue
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(name), path))
        assert (ROOT / target).exists(), f"{name}: [{text}] leads to {target}, which is not there"
        if place and target.startswith("course/"):
            kind, _, number = place.partition("-")
            assignment = Path(target).stem
            if kind == "section":
                assert int(number) in sections(assignment), f"{name}: {assignment} has no section {number}"
            else:
                assert kind == "exercise", f"{name}: expected #section-n or #exercise-n, got #{place}"
                assert re.search(rf"^#+ Exercise {number}\b", text_of(assignment), re.M), (
                    f"{name}: {target}#{place}"
                )


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "course/README.md"])
def test_links_of_the_repository_s_own_texts_lead_somewhere(name: str) -> None:
    text = re.sub(
        r"^ *```.*?^ *```|`[^`\n]*`", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.M | re.S
    )
    for label, path, _ in LINK.findall(text):
        if not path.startswith("http"):
            assert ((ROOT / name).parent / path).exists(), f"{name}: [{label}]({path})"


@pytest.mark.parametrize("name", PAGES)
def test_on_the_site_no_link_leaves_the_pages(name: str) -> None:
    text = repository_links.site_links(page(name), name.removesuffix(".md"), "https://host/course", "main")
    folder = posixpath.dirname(name)
    for _, path, _ in LINK.findall(re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.M | re.S)):
        if not re.match(r"https?:|mailto:", path) and path:
            target = posixpath.normpath(posixpath.join(folder, path))
            assert not target.startswith(".."), f"{name}: {path}"
            assert (ROOT / target).exists() if target.startswith("course/") else (DOCS / target).exists(), (
                path
            )
    for address in re.findall(r'<a href="([^"]+)\.html#', text):
        target = posixpath.normpath(posixpath.join(folder, address))
        assert (ROOT / f"{target}.ipynb").exists(), f"{name}: {address}"


def test_links_of_a_page_in_a_folder() -> None:
    text = "[a](../../course/01/01.ipynb#section-3) [b](../grading.md) [c](../../tests) [d](../../LICENSE)\n```\n[e](../../x.py)\n```\n"
    assert repository_links.site_links(text, "instructors/index", "https://h", "main") == (
        '<a href="../course/01/01.html#section-3">a</a> [b](../grading.md) [c](https://h/tree/main/tests) '
        "[d](https://h/blob/main/LICENSE)\n```\n[e](../../x.py)\n```\n"
    )


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {"index.md"}
    for name in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", page(name), flags=re.M | re.S):
            entries = [
                line.strip() for line in block.splitlines() if line.strip() and not line.startswith(":")
            ]
            for entry in entries:
                target = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry))
                if target.startswith("course/"):
                    assert (ROOT / f"{target}.ipynb").exists(), entry
                else:
                    assert f"{target}.md" not in listed, f"{entry} is listed twice"
                listed.add(f"{target}.md")
    assert set(PAGES) <= listed, set(PAGES) - listed
    assert {f"course/{a}/{a}.md" for a in ASSIGNMENTS} <= listed


@pytest.mark.parametrize("name", PAGES)
def test_pictures_have_words(name: str) -> None:
    for alt in re.findall(r"!\[(.*?)\]\(", page(name)):
        assert len(alt) > 40, f"{name}: {alt!r} does not describe the picture"


# API


def documented() -> list[str]:
    text = "\n".join(page(name) for name in PAGES if name.startswith("api/"))
    return re.findall(r"^\.\. (?:auto(?:class|function|exception|data)|py:data):: (\S+)$", text, flags=re.M)


def test_every_public_name_is_documented_once() -> None:
    found = documented()
    assert sorted(found) == sorted(flowlib.__all__)
    text = "\n".join(page(name) for name in PAGES if name.startswith("api/"))
    modules = re.findall(r"^\.\. automodule:: flowlib\.(\w+)$", text, flags=re.M)
    # flowlib's own docstring names the modules that are imported by name.
    [sentence] = re.findall(r"^Import (.+) by name", flowlib.__doc__ or "", flags=re.M)
    assert sorted(modules) == sorted(re.findall(r"`(\w+)`", sentence))


def test_directives_fit_what_they_document() -> None:
    text = "\n".join(page(name) for name in PAGES if name.startswith("api/"))
    for kind, name in re.findall(r"^\.\. auto(class|function|exception):: (\S+)$", text, flags=re.M):
        thing = getattr(flowlib, name)
        is_error = isinstance(thing, type) and issubclass(thing, Exception)
        expected = "exception" if is_error else "class" if isinstance(thing, type) else "function"
        assert kind == expected, f"{name} is a {expected}"


def test_names_of_flowlib_in_other_pages_exist() -> None:
    """`ActNorm` in the table of other libraries, `flowlib.vae` in the list of references."""
    known = set(flowlib.__all__)
    for name in PAGES:
        for module in re.findall(r"`flowlib\.(\w+)`", page(name)):
            assert module in known or (ROOT / "flowlib" / f"{module}.py").is_file(), (
                f"{name}: flowlib.{module}"
            )


def test_numbers_of_the_results_are_not_typed() -> None:
    """On the page of families numbers with a decimal point stand in generated parts alone."""
    free = re.sub(r"<!-- [\w ]+: written by.*?<!-- end -->", "", page("families.md"), flags=re.S)
    assert not re.findall(r"(?<![\w/.])\d+\.\d+", free)
    assert json.dumps(load_results("families")["torch"])[1:-1] in page("families.md")
    assert os.linesep == "\n" or "\r" not in page("families.md")
