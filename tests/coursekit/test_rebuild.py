"""The rebuilt notebook: the instructor's tests, the student's answers, and every damage named."""

from __future__ import annotations

import copy

import pytest

from coursekit.rebuild import rebuild
from coursekit.source import notebook_bytes
from coursekit.submission import read_submission

from .conftest import RIGHT, answered, cell_of, released, template


@pytest.fixture
def own(course):
    """The template, and the released notebook with right answers."""
    return template(course), answered(released(course))


def rebuilt(own, nb):
    return rebuild(own[0], read_submission(notebook_bytes(nb)))


def sources(nb):
    return {c.metadata.nbgrader.grade_id: c.source for c in nb.cells if "nbgrader" in c.metadata}


def graded_order(nb):
    return [c.metadata.nbgrader.grade_id for c in nb.cells if "nbgrader" in c.metadata]


def test_an_honest_submission_is_the_template_with_its_answers(own):
    made = rebuilt(own, own[1])
    assert made.flags == ()
    assert sources(made.notebook) == {**sources(own[0]), **RIGHT}
    assert [c.id for c in made.notebook.cells] == [c.id for c in own[0].cells]
    assert len(made.found) == len(sources(own[0]))
    assert made.notebook.metadata == own[0].metadata


def test_metadata_tags_and_outputs_never_travel(own):
    nb = own[1]
    nb.metadata["celltoolbar"] = "x"
    for cell in nb.cells:
        cell.metadata["tags"] = ["skip-execution"]
        if "nbgrader" in cell.metadata and cell.metadata.nbgrader.grade:
            cell.metadata.nbgrader.points = 1000
    made = rebuilt(own, nb).notebook
    assert sum(c.metadata.nbgrader.get("points", 0) for c in made.cells if "nbgrader" in c.metadata) == 8.5
    assert not [c for c in made.cells if "skip-execution" in c.metadata.get("tags", [])]
    assert "celltoolbar" not in made.metadata


def test_an_edited_test_is_the_instructors_again(own):
    cell_of(own[1], "cube_of_two").source = "pass"
    made = rebuilt(own, own[1])
    assert sources(made.notebook)["cube_of_two"] == sources(own[0])["cube_of_two"]
    assert made.flags == ("edited: cube_of_two",)


def test_a_course_that_has_moved_since_is_no_edit(own):
    line = 'pip install "squares @ git+https://example.org/{}/squares@main"'
    cell_of(own[0], "provided").source = f"NUMBER = 2  # {line.format('new')}"
    cell_of(own[1], "provided").source = f"NUMBER = 2  # {line.format('old')}"
    made = rebuilt(own, own[1])
    assert made.flags == ()
    assert "new" in sources(made.notebook)["provided"]
    cell_of(own[1], "provided").source = f"NUMBER = 3  # {line.format('old')}"
    assert rebuilt(own, own[1]).flags == ("edited: provided",)


def test_a_deleted_test_is_back_in_its_place(own):
    nb = own[1]
    gone = {"square_of_three", "square_is_even", "provided"}
    nb.cells = [c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") not in gone]
    made = rebuilt(own, nb)
    assert graded_order(made.notebook) == graded_order(own[0])
    assert made.flags == tuple(f"missing: {g}" for g in ("square_of_three", "square_is_even", "provided"))


def test_a_deleted_answer_is_back_as_its_stub(own):
    own[1].cells.remove(cell_of(own[1], "square"))
    made = rebuilt(own, own[1])
    assert "NotImplementedError" in sources(made.notebook)["square"]
    assert made.flags == ("missing: square",)


def test_a_retyped_cell_has_its_own_type_again(own):
    nb = own[1]
    for name in ("square", "cube_of_two"):
        cell = cell_of(nb, name)
        cell.cell_type = "markdown"
        del cell["outputs"], cell["execution_count"]
    made = rebuilt(own, nb)
    assert cell_of(made.notebook, "square").cell_type == "code"
    assert cell_of(made.notebook, "square").source == RIGHT["square"]
    assert cell_of(made.notebook, "cube_of_two").cell_type == "code"
    assert set(made.flags) == {"retyped: square", "retyped: cube_of_two"}


def test_of_two_answers_the_first_that_was_changed_counts(own):
    nb = own[1]
    index = nb.cells.index(cell_of(nb, "square"))
    stub, second = copy.deepcopy(cell_of(own[0], "square")), copy.deepcopy(nb.cells[index])
    stub.id, second.id, second.source = "stub", "second", "def square(x):\n    return 0"
    nb.cells[index:index] = [stub]
    nb.cells.append(second)
    made = rebuilt(own, nb)
    assert sources(made.notebook)["square"] == RIGHT["square"]
    assert made.flags == ("duplicated: square",)
    # The others stay readable and do not run.
    assert {c.source for c in made.notebook.cells if c.cell_type == "raw"} == {stub.source, second.source}


def test_a_duplicated_test_counts_once(own):
    nb = own[1]
    twin = copy.deepcopy(cell_of(nb, "cube_of_two"))
    twin.id = "twin"
    nb.cells.append(twin)
    made = rebuilt(own, nb)
    assert graded_order(made.notebook) == graded_order(own[0])
    assert made.flags == ("duplicated: cube_of_two",)


def test_stripped_metadata_is_found_by_cell_id(own):
    for cell in own[1].cells:
        cell.metadata.clear()
    made = rebuilt(own, own[1])
    assert sources(made.notebook) == {**sources(own[0]), **RIGHT}
    assert set(made.flags) == {f"without its id: {g}" for g in sources(own[0])}


def test_stripped_metadata_and_ids_are_found_by_text_and_name(own):
    for number, cell in enumerate(own[1].cells):
        cell.metadata.clear()
        cell.id = f"new-{number}"
    made = rebuilt(own, own[1])
    found = sources(made.notebook)
    assert found["square"] == RIGHT["square"]
    assert found["cube"] == RIGHT["cube"]
    # A written answer has no name: it is a plain cell now, and the grader is told.
    assert "missing: why" in made.flags
    assert RIGHT["why"] in [c.source for c in made.notebook.cells]
    assert graded_order(made.notebook).count("cube_of_two") == 1


def test_a_helper_that_defines_the_name_does_not_replace_the_answer(own):
    helper = copy.deepcopy(own[1].cells[1])
    helper.id, helper.source = "helper", "def square(x):\n    return 0"
    own[1].cells.insert(0, helper)
    made = rebuilt(own, own[1])
    assert sources(made.notebook)["square"] == RIGHT["square"]
    assert made.notebook.cells[0].source == helper.source


def test_swapped_and_renamed_ids_are_sorted_out(own):
    first, second = cell_of(own[1], "square"), cell_of(own[1], "cube")
    first.metadata.nbgrader.grade_id, second.metadata.nbgrader.grade_id = "cube", "square"
    made = rebuilt(own, own[1])
    assert sources(made.notebook) == {**sources(own[0]), **RIGHT}
    assert {"swapped id: square", "swapped id: cube"} <= set(made.flags)
    first.metadata.nbgrader.grade_id = "mine"
    second.metadata.nbgrader.grade_id = "cube"
    made = rebuilt(own, own[1])
    assert sources(made.notebook) == {**sources(own[0]), **RIGHT}
    assert "unknown id: mine" in made.flags


def test_the_students_cells_and_order_travel(own):
    nb = own[1]
    extra = copy.deepcopy(nb.cells[1])
    extra.id, extra.source = "extra", "helper = 1"
    nb.cells.insert(2, extra)
    last = nb.cells.pop(nb.cells.index(cell_of(nb, "why")))
    nb.cells.append(last)
    made = rebuilt(own, nb)
    assert [c.source for c in made.notebook.cells] == [
        sources(own[0]).get(c.metadata.get("nbgrader", {}).get("grade_id"), c.source)
        if c.metadata.get("nbgrader", {}).get("locked")
        else c.source
        for c in nb.cells
    ]
    assert made.flags == ()


def test_the_arguments_are_not_changed(own):
    before = copy.deepcopy(own[0])
    cell_of(rebuilt(own, own[1]).notebook, "square").metadata.nbgrader["points"] = 7
    assert own[0] == before
