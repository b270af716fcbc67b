"""Pages of the web site: what a reader sees of an executed notebook, and where everything is put."""

from __future__ import annotations

import json

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output
from typer.testing import CliRunner

from coursekit import site
from coursekit.alt_text import alt_text, description_in
from coursekit.build import release_of
from coursekit.cli import app
from coursekit.course import Course
from coursekit.errors import CourseError
from coursekit.notebooks import NotebookRun, last_run
from coursekit.site_page import answer_id, page_notebook, split_helps
from coursekit.source import notebook_bytes

from .conftest import NAME

# Every kind of cell that a page treats in a way of its own.
AREAS = '''\
# %% [markdown]
# # Areas
#
# The area of a rectangle.

# %%
import matplotlib.pyplot as plt
plt.plot([0, 1])

# %% [markdown]
# **Figure.** A line from $x_1 = 0$ to $1$. It *rises*.
#
# ### Exercise 1 · Area

# %% solution="area"
def area(a, b):
    """The area."""
    ### BEGIN SOLUTION
    answer_of_area = a * b
    return answer_of_area
    ### END SOLUTION

# %% test="area_of_square" points=2
assert area(3, 3) == 9
### BEGIN HIDDEN TESTS
assert area(12, 12) == 144, "a larger one"
### END HIDDEN TESTS

# %% test="area_is_symmetric" points=1.5
assert area(2, 3) == area(3, 2)

# %% [markdown]
# <details><summary>Help: where do I start?</summary>
#
# Multiply.
# </details>
# <details><summary>Help: more</summary>
#
# Think of tiles.
# </details>
#
# ### Exercise 2 · Why?
#
# Why is it symmetric?

# %% [markdown] manual="why" points=1
# ### BEGIN SOLUTION
# Turn the rectangle by ninety degrees.
# ### END SOLUTION

# %% [markdown] task="draw" points=1
# Draw one.
# ### BEGIN MARK SCHEME
# One point for four right angles.
# ### END MARK SCHEME

# %%
print("the end")
'''
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "0%|   | 0/10"}


@pytest.fixture
def areas(course) -> Course:
    """The tiny course with areas in the place of squares, and texts for a site."""
    course.text_source(NAME).write_text(AREAS, encoding="utf-8")
    (course.root / "docs" / "images").mkdir(parents=True)
    (course.root / "docs" / "_static").mkdir()
    (course.root / "docs" / "index.md").write_text("# Areas\n")
    (course.root / "docs" / "conf.py").write_text("")
    (course.root / "docs" / "_static" / "style.css").write_text("")
    (course.root / "docs" / "images" / "a.png").write_bytes(b"png")
    return course


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


def displayed(data: dict) -> NotebookNode:
    return new_output("display_data", data=data)


def executed(course: Course) -> NotebookNode:
    """The source with the outputs that a run would give."""
    nb = course.source(NAME)
    for cell in nb.cells:
        if "plt.plot" in cell.source:
            cell.outputs = [
                printed("a warning", "stderr"),
                displayed(WIDGET),
                displayed({"image/png": PIXEL, "text/plain": "<Figure>"}),
            ]
        elif "area_of_square" in str(cell.metadata):
            cell.outputs = [displayed({"text/plain": "passed: a square"}) for _ in range(2)]
            cell.outputs[1].data["text/plain"] = "passed: 12 by 12"
        elif "the end" in cell.source:
            cell.outputs = [printed("the end\n")]
    return nb


def page_of(course: Course, nb: NotebookNode | None = None, **options) -> NotebookNode:
    return page_notebook(nb or executed(course), release_of(course.source(NAME), course), **options)


def position(page: NotebookNode, text: str) -> int:
    """The number of the one cell that holds the text."""
    [found] = [k for k, cell in enumerate(page.cells) if text in cell.source]
    return found


def test_an_exercise_is_stub_checks_helps_answer_in_this_order(areas):
    page = page_of(areas)
    nbformat.validate(page)
    places = [
        position(page, text)
        for text in (
            "# YOUR CODE HERE",
            '<details class="checks"><summary>2 checks, 3.5 points</summary>',
            "assert area(3, 3) == 9",
            "assert area(2, 3)",
            "Think of tiles.",
            '<details class="model-answer" id="solution-area"><summary>Model answer: <code>area</code></summary>',
            "### Exercise 2",
        )
    ]
    assert places == sorted(places)
    assert page.cells[places[3] + 1].source == "</details>"


def test_an_answer_stands_in_its_fold_alone(areas):
    page = page_of(areas)
    assert [k for k, c in enumerate(page.cells) if "answer_of_area" in c.source] == [
        position(page, answer_id("area"))
    ]
    fold = page.cells[position(page, answer_id("area"))].source
    assert fold.endswith("```\n\n</details>")
    assert '```python\ndef area(a, b):\n    """The area."""\n    answer_of_area = a * b\n' in fold
    why = page.cells[position(page, "ninety degrees")].source
    assert why.startswith('<details class="model-answer" id="solution-why"><summary>Model answer</summary>')
    assert "YOUR ANSWER HERE" in page.cells[position(page, answer_id("why")) - 1].source


def test_without_answers_there_are_none(areas):
    page = page_of(areas, answers=False)
    text = json.dumps(page)
    assert "answer_of_area" not in text
    assert "ninety degrees" not in text
    assert "model-answer" not in text
    assert "passed: a square" in text


def test_what_is_for_graders_is_not_shown(areas):
    text = json.dumps(page_of(areas))
    for secret in ("144", "12 by 12", "right angles", "HIDDEN", "MARK SCHEME", "SOLUTION", "nbgrader"):
        assert secret not in text


def test_a_page_that_would_show_a_hidden_test_is_refused(areas):
    nb = executed(areas)
    nb.cells[-1].outputs = [printed('assert area(12, 12) == 144, "a larger one"\n')]
    with pytest.raises(CourseError, match=r"would show .*a larger one.* for graders alone"):
        page_of(areas, nb)


def test_a_run_of_another_source_is_refused(areas):
    old = executed(areas)
    areas.text_source(NAME).write_text(AREAS.replace("[0, 1]", "[0, 2]"), encoding="utf-8")
    with pytest.raises(CourseError, match="expected a run of the current source"):
        page_of(areas, old)


def test_outputs_are_clean(areas):
    page = page_of(areas)
    outputs = page.cells[position(page, "plt.plot")].outputs
    assert [sorted(o.data) for o in outputs] == [["image/png", "text/plain"]]
    assert page.cells[position(page, "print(")].outputs == [printed("the end\n")]


def test_a_picture_gets_its_description(areas):
    page = page_of(areas)
    assert page.cells[position(page, "plt.plot")].metadata.mystnb == {
        "image": {"alt": "A line from x_1 = 0 to 1. It rises."}
    }


def test_a_picture_within_html_gets_its_description_and_a_frame_survives(areas):
    nb = executed(areas)
    film = '<div><img id="film"><script>play()</script></div>'
    frame = '<iframe srcdoc="&lt;img&gt;" title="A figure"></iframe>'
    cell = next(c for c in nb.cells if "plt.plot" in c.source)
    cell.outputs = [displayed({"text/html": film}), displayed({"text/html": frame})]
    page = page_of(areas, nb)
    shown = [o.data["text/html"] for o in page.cells[position(page, "plt.plot")].outputs]
    assert shown == [film.replace("<img", '<img alt="A line from x_1 = 0 to 1. It rises."'), frame]


def test_a_picture_without_description_is_refused(areas):
    nb = executed(areas)
    nb.cells[-1].outputs = [displayed({"image/png": PIXEL})]
    with pytest.raises(CourseError, match=r"the cell 'print\(\"the end\"\)' … shows a picture"):
        page_of(areas, nb)


def test_the_cell_that_installs_on_colab_is_left_out_and_the_opening_stands_below_the_title(areas):
    areas.settings["bootstrap"] = "import sys"
    page = page_of(areas, opening="How to get it.")
    assert page.cells[1].source == "How to get it."
    assert not [c for c in page.cells if "import sys" in c.source]


@pytest.mark.parametrize(
    ("source", "helps"),
    [
        ("<details><summary>A</summary>x</details>\n<details>y</details>", 2),
        ("Text.\n<details>x</details>", 0),
        ("<details>x</details> text in the same line", 0),
        ("", 0),
    ],
)
def test_helps_are_the_folds_at_the_beginning(source, helps):
    before, rest = split_helps(source)
    assert before.count("<details>") == helps
    assert (before + rest).replace("\n", "") == source.replace("\n", "")


def test_an_alternative_text_is_plain_and_ends_with_a_sentence():
    text = description_in(
        "Before.\n\n**Figure.** With $|x_1| \\leq \\frac12$ and `a*b`: *one*.\nTwo.\n\nMore."
    )
    assert text is not None
    assert alt_text(text) == "With |x_1| ≤ 1/2 and a*b: one. Two."
    assert (
        alt_text("$a\\sin 2u$, $\\varepsilon$, $\\mathcal N(0, I)$; [here](there.md)")
        == "a sin 2u, ε, N(0, I); here."
    )
    long = alt_text("First. " + "Second one. " * 60)
    assert long.endswith("one.")
    assert len(long) <= 300
    assert description_in("No figure.") is None


def site_of(course: Course, monkeypatch: pytest.MonkeyPatch, errors: tuple[str, ...] = ()) -> site.Site:
    """The site's source, from a run that is made up."""
    path = course.root / "run.ipynb"
    path.write_bytes(notebook_bytes(executed(course)))
    monkeypatch.setattr(site, "run_notebook", lambda *a: NotebookRun(NAME, path, 1.0, None, errors, False))
    return site.assemble(course, course.root / "build" / "site")


def test_a_page_stands_at_the_path_of_its_notebook(areas, monkeypatch):
    made = site_of(areas, monkeypatch)
    path = areas.release_notebook(NAME).relative_to(areas.root)
    assert made.pages == (made.folder / path,)
    opening = nbformat.read(made.pages[0], as_version=4).cells[1].source
    assert f"lab/tree/{path.as_posix()}" in opening
    download = made.folder / site.DOWNLOADS / path
    assert download.read_bytes() == notebook_bytes(release_of(areas.source(NAME), areas))
    assert f'href="../../{site.DOWNLOADS}/{path.as_posix()}"' in opening
    assert (made.folder / "index.md").is_file()
    assert (made.folder / "images" / "a.png").is_file()
    assert not [p for p in made.folder.rglob("*") if p.name in ("conf.py", "_static")]


def test_assembling_again_removes_what_is_gone_and_nothing_of_others(areas, monkeypatch):
    made = site_of(areas, monkeypatch)
    (areas.root / "docs" / "index.md").rename(areas.root / "docs" / "start.md")
    site_of(areas, monkeypatch)
    assert (made.folder / "start.md").is_file()
    assert not (made.folder / "index.md").exists()
    with pytest.raises(CourseError, match="was not made by coursekit"):
        site.assemble(areas, areas.root / "docs", preview=True)
    assert (areas.root / "docs" / "start.md").is_file()


def test_a_notebook_that_fails_makes_no_page(areas, monkeypatch):
    with pytest.raises(CourseError, match="cell area: NameError"):
        site_of(areas, monkeypatch, errors=("cell area: NameError: a",))
    assert not (areas.root / "build" / "site").exists()


def test_a_preview_shows_the_last_run_s_outputs_of_cells_that_are_the_same(areas):
    kept = areas.root / "build" / "notebooks" / NAME / "old.ipynb"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(notebook_bytes(executed(areas)))
    assert last_run(areas, NAME) == kept
    areas.text_source(NAME).write_text(AREAS.replace("[0, 1]", "[0, 2]"), encoding="utf-8")
    result = CliRunner().invoke(app, ["site", "--preview", "--out", "here"])
    assert result.exit_code == 0, result.output
    page = nbformat.read(areas.root / "here" / areas.release_notebook(NAME).relative_to(areas.root), 4)
    assert page.cells[position(page, "print(")].outputs == [printed("the end\n")]
    assert page.cells[position(page, "[0, 2]")].outputs == []


def test_a_preview_says_which_notebook_has_no_outputs(areas):
    result = CliRunner().invoke(app, ["site", "--preview", "--no-answers"])
    assert result.exit_code == 0, result.output
    assert f"{NAME} has no outputs" in result.output
    path = areas.release_notebook(NAME).relative_to(areas.root)
    page = (areas.root / "build" / "site" / "source" / path).read_text()
    assert "model-answer" not in page
    assert "folded" not in page
