"""Answers that take the reference implementation are flagged; those that do as the model answer does are not."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from coursekit.references import allowed_names, reference_flags, used_names

MODULES = ("flows", "checks")


def source(**answers):
    cells = [new_code_cell("import flows\nfrom flows import data\nflows.Layer(2)\ndata.moons()")]
    for name, text in answers.items():
        meta = {"nbgrader": {"grade_id": name, "solution": True}}
        cells.append(new_code_cell(text, metadata=meta))
    return nbformat.v4.new_notebook(cells=cells)


MODEL = source(Layer="class Layer:\n    pass", fit="def fit(x):\n    return flows.Layer(x).train()")


def flags(name, text):
    return reference_flags([(name, text)], MODULES, allowed_names(MODEL, MODULES))


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("Layer = flows.Layer", "flows.Layer"),
        ("from flows import Layer", "flows.Layer"),
        ("from flows.layers import Layer as Mine", "flows.layers.Layer"),
        ("import flows.layers as f\nLayer = f.Layer", "flows.layers, flows.layers.Layer"),
        ("import flows as f\nclass Layer(f.Layer): pass", "flows.Layer"),
        ("import importlib\nimportlib.import_module('flows.layers')", "'flows.layers'"),
        ("from checks import catalogue", "checks.catalogue"),
    ],
)
def test_a_reference_in_its_own_answer_is_flagged(text, taken):
    assert flags("Layer", text) == [f"reference used: Layer ({taken})"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Layer", "import flows\nfrom flows import data\ndata.moons()"),
        ("Layer", "def broken(:"),
        ("fit", "def fit(x):\n    return flows.Layer(x).train()"),
        ("cell s-4", "data.moons()"),
    ],
)
def test_what_the_model_answer_or_the_notebook_does_is_free(name, text):
    assert flags(name, text) == []


def test_an_added_cell_may_not_take_what_is_an_exercise():
    assert flags("cell s-4", "mine = flows.Layer") == ["reference used: cell s-4 (flows.Layer)"]


def test_names_are_followed_through_the_cell_that_imports_them():
    assert used_names("import flows.layers as f\nf.Layer.inverse", MODULES) == {
        "flows.layers",
        "flows.layers.Layer",
        "flows.layers.Layer.inverse",
    }
