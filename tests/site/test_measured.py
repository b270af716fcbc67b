"""The page "Measured against the field": everything is there, and every number and verdict comes from the result files."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.record import load
from docs.ext import measured
from docs.ext.measured import accuracy, common, course, exactness, grading, layers
from docs.ext.measured.common import MISSING, Goal
from tests.course import ROOT

FOLDER = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
PART = re.compile(r"<!-- ([\w ]+): written by python -m docs\.ext -->(.*?)<!-- end -->", re.S)
ABOUT = {
    "command": "python -m benchmarks.part",
    "machine": {"system": "Linux 6", "processor": "A chip", "cores": 2, "memory_gb": 16},
    "versions": {"python": "3.11.7", "torch": "2.13.0", "zuko": "1.6.0"},
}
NAN = None  # as `benchmarks.record.write` writes it


def rows(text: str) -> dict[str, list[str]]:
    """First cell → the other cells, of every row of the Markdown tables in a text."""
    found = {}
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("| ---"):
            first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            found[first] = others
    return found


@pytest.mark.parametrize("module", ["common", "layers"])
def test_doctests(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"docs.ext.measured.{module}"))
    assert found.attempted
    assert not found.failed


# The page


def test_all_five_parts_are_measured() -> None:
    for part, name in measured.RESULTS.items():
        found = load(FOLDER / name)
        assert found, f"{name} is not there: make bench PART={part}"
        assert {"command", "machine", "versions", "settings", "summary", "runs"} <= set(found), name
    assert MISSING not in PAGE


def test_every_part_stands_on_the_page_or_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {name for name, _ in PART.findall(PAGE + readme)} >= set(measured.parts(FOLDER))
    assert [name for name, _ in PART.findall(readme)] == ["headlines"]


def test_every_picture_on_the_page_is_made() -> None:
    shown = re.findall(r"\]\(images/([\w.]+)\)", PAGE)
    assert sorted(shown) == sorted(name for name, _ in measured.FIGURES.values())


def test_no_result_is_typed() -> None:
    free = PART.sub("", PAGE)
    assert not re.findall(r"(?<![\w/.])\d+\.\d+", free)
    assert not re.findall(r"\*\*(met|missed)", free)


def test_each_section_says_by_which_command_and_where() -> None:
    for name, text in PART.findall(PAGE):
        if name.endswith("about"):
            assert re.search(r"Made by `python -m benchmarks\.[\w.]+` on .+ cores? and \d+ GB", text), name


def test_what_is_not_measured_says_so(tmp_path: Path) -> None:
    """Nothing there, an interrupted run without a summary, or no run at all."""
    for content in (None, {"runs": [{"task": "x"}]}, {"runs": [], "summary": {}}):
        for name in measured.RESULTS.values():
            if content is not None:
                (tmp_path / name).write_text(json.dumps(content))
        made = {make() for make in measured.parts(tmp_path).values()}
        assert made == {MISSING}
        assert measured.figures(tmp_path) == {}


# Goals


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1.05, ["1.05", "**met**"]),
        (1.0499, ["1.05", "**met**"]),
        (1.06, ["1.06", "**missed** by 0.01"]),
        # Rounded to two digits it would look met.
        (1.0501, ["1.0501", "**missed** by 0.0001"]),
        (None, ["–", "not measured"]),
    ],
)
def test_a_goal_is_met_or_missed_by_the_number_itself(value: float | None, said: list[str]) -> None:
    goal = Goal("a step", 1.05, value)
    assert goal.cells == ["a step", "1.05", *said]
    assert goal.met == (said[1] == "**met**")


def test_a_missed_goal_gives_its_reason_and_a_met_one_none() -> None:
    assert (
        Goal("a step", 1.0, 2.0, why="Half of our weights").cells[-1].endswith("1.00. Half of our weights.")
    )
    assert "weights" not in Goal("a step", 1.0, 0.5, why="Half of our weights").cells[-1]


# Sections, on made-up results


def ratio(value: float, seconds: float = 1e-3) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "ratio": value,
        "quartiles": [value] * 2,
        "interval": [value - 0.01, value + 0.01],
    }


@pytest.fixture
def speeds() -> dict[str, Any]:
    """Two tasks of two families: ours is first in one, and second to a smaller network in the other."""
    first, second = "affine coupling, D = 2: training", "Glow step, 1×8×8: to the data"
    tasks = {
        first: {"by hand": ratio(1.0, 2e-3), "flowlib, |s| ≤ 2": ratio(1.04), "zuko": ratio(1.3)},
        second: {"flowlib": ratio(1.0, 4e-3), "FrEIA": ratio(0.8), "nflows": ratio(9.0)},
    }
    weights = {"by hand": 100, "FrEIA": 25}
    runs = [
        {
            "task": task,
            "work": "a step",
            "reference": next(iter(found)),
            "seconds": {name: [row["seconds"]] for name, row in found.items()},
            "candidates": {name: {"parameters": weights.get(name, 50)} for name in found},
            "missing": {},
        }
        for task, found in tasks.items()
    ]
    runs[0]["candidates"]["flowlib, |s| ≤ 2"] |= {"parameters": 100, "difference": 2e-7}
    runs[1]["candidates"]["FrEIA"]["note"] = "half of our weights"
    runs[1]["missing"] = {"zuko": "zuko: no actnorm"}
    goal = {
        "task": first,
        "who": "flowlib, |s| ≤ 2",
        "limit": 1.03,
        "ratio": 1.04,
        "by hand": 1.02,
        "met": False,
    }
    settings = {"rounds": 40, "block_seconds": 0.05, "dtype": "float32"}
    faster = {"task": second, "library": "FrEIA", "reason": "its matrix is not trained"}
    summary = {"tasks": tasks, "goals": [goal], "faster peers": [faster]}
    return {**ABOUT, "settings": settings, "summary": summary, "runs": runs}


def test_the_table_of_layers_has_a_row_for_each_implementation(speeds: dict[str, Any]) -> None:
    found = rows(layers.ratios_table(speeds))
    assert found["by hand"] == ["2.00 ms"]
    assert found[r"flowlib, \|s\| ≤ 2"] == ["1.04 (1.03–1.05)"]
    assert found["flowlib"] == ["4.00 ms"]
    assert found["nflows"] == ["9.00 (8.99–9.01)"]


def test_what_is_not_identical_work_is_listed(speeds: dict[str, Any]) -> None:
    notes = layers.layers_notes(speeds)
    assert "- flowlib, |s| ≤ 2: same weights as the reference, outputs differ by at most 2·10⁻⁷" in notes
    assert "- zuko: 0.50 times the parameters of the reference" in notes
    assert "- FrEIA: half of our weights; 0.50 times the parameters of the reference" in notes
    assert "- zuko: not there: no actnorm" in notes


def test_a_faster_library_is_a_missed_goal_with_its_reason(speeds: dict[str, Any]) -> None:
    found = layers.layers_goals(speeds)
    assert [goal.met for goal in found] == [False, True, False]
    assert found[0].cells[3] == "**missed** by 0.01. The same map without flowlib, written by hand: 1.02."
    assert found[1].value == pytest.approx(1.04 / 1.3)
    assert found[2].cells[2:] == [
        "1.25",
        "**missed** by 0.25. Its matrix is not trained.",
    ]


def test_the_figure_of_layers_shows_every_name_and_the_ratio_that_leaves_it(speeds: dict[str, Any]) -> None:
    picture = layers.ratios_figure(speeds).decode()
    for name in ("by hand", "flowlib, |s| ≤ 2", "zuko", "FrEIA", "nflows", "D = 2: training"):
        assert f">{name}</text>" in picture
    assert ">9.0</text>" in picture  # at the edge, with its number
    assert layers.ratios_figure(speeds).decode() == picture


def test_the_line_of_the_readme_names_libraries_alone(speeds: dict[str, Any]) -> None:
    assert layers.layers_headline(speeds).endswith("in 30 lines (zuko 1.30).")


def mean(value: float | None, error: float | None = 0.01) -> dict[str, float | None]:
    return {"mean": value, "s.e.": None if value is None else error}


@pytest.fixture
def accuracies() -> dict[str, Any]:
    def row(task: str, library: str, recipe: str, diverged: int = 0, **values: Any) -> dict[str, Any]:
        found = {"task": task, "library": library, "recipe": recipe, "runs": 5, "diverged": diverged}
        return {**found, **values, "seconds": 12.0}

    summary = [
        row("two moons", "flowlib", "plain", last=mean(0.09)),
        row("two moons", "zuko", "plain", last=mean(0.08), **{"last minus flowlib": mean(-0.01, 0.002)}),
        row("two moons", "flowlib", "ours", last=mean(0.036)),
        row("digits", "flowlib", "ours", early=mean(2.3), last=mean(2.3)),
        row("digits", "nflows", "plain", 2, early=mean(2.6), last=mean(NAN)),
        row("digits", "flowlib", "a histogram for each pixel", early=mean(2.43), last=mean(2.43)),
    ]
    goals = [
        {"goal": "two moons", "limit": 0.04, "value": 0.036, "row": "ours", "met": True},
        {"goal": "digits, best", "limit": 2.08, "value": 2.3, "row": "ours", "met": False},
    ]
    settings = {
        task: {"unit": unit, "budget": {"steps": 2000, "batch_size": 512, "layers": 8, "hidden": [64, 64]}}
        for task, unit in (("two moons", "nats"), ("digits", "bits per dimension"))
    }
    runs = [
        {"task": "digits", "library": "nflows", "recipe": "plain", "seed": k, "stopped": "NaN at step 7"}
        for k in (1, 4)
    ]
    return {
        **ABOUT,
        "settings": settings,
        "summary": {"rows": summary, "goals": goals},
        "runs": runs,
    }


def test_the_tables_of_accuracy_hold_means_differences_and_divergence(accuracies: dict[str, Any]) -> None:
    text = accuracy.accuracy_table(accuracies).replace("\u00a0", " ")
    assert "| zuko | plain | 0.080 ± 0.010 | −0.010 ± 0.002 | – | 12 |" in text
    assert "| nflows | plain | 2.600 ± 0.010 | diverged (2 of 5) | – | – | 12 |" in text
    assert text.rstrip().endswith(
        "| beside them | a histogram for each pixel | 2.430 ± 0.010 | 2.430 ± 0.010 | – | – | 12 |"
    )
    notes = accuracy.accuracy_notes(accuracies)
    assert "- digits, nflows, plain: NaN at step 7 (seeds 1, 4)" in notes


def test_the_line_of_the_readme_has_both_recipes(accuracies: dict[str, Any]) -> None:
    rows = accuracies["summary"]["rows"]
    rows.append(rows[1] | {"recipe": "ours", "last": mean(0.05)})
    rows.append(rows[1] | {"library": "nflows", "recipe": "ours", "last": mean(NAN)})
    said = "other libraries 0.080 to 0.080 with plain Adam and 0.050 to 0.050 (1 diverged) with this recipe."
    assert accuracy.accuracy_headline(accuracies).endswith(said)


def test_the_goals_of_accuracy_are_compared_anew(accuracies: dict[str, Any]) -> None:
    assert [goal.met for goal in accuracy.accuracy_goals(accuracies)] == [True, False]
    [last] = [
        line for line in common.goals(accuracy.accuracy_goals(accuracies)).splitlines() if "best" in line
    ]
    assert last == "| digits, best (our recipe) | 2.080 | 2.300 | **missed** by 0.220 |"


def test_the_figure_of_accuracy_shows_what_diverged_and_what_stands_beside(
    accuracies: dict[str, Any],
) -> None:
    for row in accuracies["summary"]["rows"]:
        if row["library"] == "nflows":
            row["early"] = mean(NAN)
    picture = accuracy.accuracy_figure(accuracies).decode()
    assert ">plain: diverged</text>" in picture
    assert ">a histogram for each pixel</text>" in picture


@pytest.fixture
def errors() -> dict[str, Any]:
    def error(largest: float | None, lost: int = 0) -> dict[str, Any]:
        return {"largest": largest, "99 %": largest, "not finite": lost}

    exact = {"round trip": error(2e-7), "log-det to base": error(0.0), "log-det to data": error(3e-6, 2)}
    far = exact | {"round trip": {"cannot": "ValueError: no inverse"}}
    points = {"float32": {"test": exact, "far": far}, "float64": {"test": exact, "far": exact}}
    runs = [
        {"library": "flowlib", "family": "MAF", **points},
        {"library": "FrEIA", "family": "MAF", "missing": "FrEIA: no autoregressive layers"},
        {"library": "table of families", "family": "planar", "failed": "ValueError: no"},
    ]
    settings = {"steps": 300, "batch size": 512, "points": 1000, "far points": 200}
    return {**ABOUT, "settings": settings, "summary": [{}], "runs": runs}


def test_errors_are_shown_and_refusals_are_explained(errors: dict[str, Any]) -> None:
    near, far = (rows(text) for text in exactness.errors_table(errors).split("At far points:"))
    assert near["MAF"] == ["flowlib", *(["2·10⁻⁷", "0", "3·10⁻⁶ (2 not finite)"] * 2)]
    assert far["MAF"][1:5] == ["cannot", "0", "3·10⁻⁶ (2 not finite)", "2·10⁻⁷"]
    notes = exactness.exactness_notes(errors)
    assert "- flowlib, MAF: round trip (float32, far points): ValueError: no inverse" in notes
    assert "- FrEIA, MAF: no autoregressive layers" in notes
    assert "- flowlib, as on the page of families, planar: failed: ValueError: no" in notes


@pytest.fixture
def field() -> dict[str, Any]:
    def grader(tool: str, workers: int, per_minute: float, isolation: str = "none") -> dict[str, Any]:
        rate = {"per_minute": per_minute, "low": per_minute - 1, "high": per_minute + 1}
        costs = {"seconds": 8.0, "cpu_seconds": 7.5, "peak_mb": 530.0, "undeserved": 0}
        return {"tool": tool, "workers": workers, "isolation": isolation, "submissions": 12, **rate, **costs}

    def times(tool: str, workers: int, value: float) -> dict[str, Any]:
        return {"against": tool, "workers": workers, "ratio": value, "low": value - 0.5, "high": value + 0.5}

    summary = {
        "graders": [
            grader("otter run", 1, 4.0),
            *(grader("coursekit grade", w, 20.0 * w, "forked") for w in (1, 2)),
        ],
        "ratios": [times("otter run", 1, 5.0), times("otter run", 2, 10.0)],
        "test_cells": 200,
        "different": 3,
    }
    return {
        **ABOUT,
        "settings": {},
        "not_identical": {"otter run": "all cells"},
        "summary": summary,
        "runs": [{}],
    }


def test_the_table_of_graders_says_how_many_times_and_who_isolates(field: dict[str, Any]) -> None:
    found = rows(grading.field_table(field))
    costs = ["8.0", "7.5", "530", "0"]
    assert found["`otter run`"] == ["none", "12", "4.0 (3.0–5.0)", *costs, "–"]
    assert found["`coursekit grade`, 2 workers"] == [
        "forked",
        "12",
        "40.0 (39.0–41.0)",
        *costs,
        "10.0 (9.5–10.5)",
    ]
    assert "3 of 200 test cells" in grading.field_table(field)
    assert "- `otter run`: all cells." in grading.field_table(field)
    assert "of 12 submissions 10.0 times as many as `otter run`." in grading.field_headline(field, {})
    large = {"parts": {"coursekit": {"class_size": 60, "ratio": {"ratio": 20.04}}}}
    assert "; of 60, 20.0 times as many as `nbgrader" in grading.field_headline(field, large)
    assert [goal.value for goal in grading.field_goals(field)] == [0.2, 0.1]


@pytest.fixture
def costs() -> dict[str, Any]:
    def notebook(name: str, seconds: float, **checks: float) -> dict[str, Any]:
        return {
            "what": "notebook",
            "assignment": name,
            "seconds": seconds,
            "peak_mb": 400,
            "check_seconds": checks,
        }

    way = {"what": "environment", "route": "students", "environment_mb": 1500, "packages": 130, "load": 1.0}
    seconds = {"clone_seconds": 1.0, "setup_seconds": 60.0, "first_cell_seconds": 4.0, "total_seconds": 65.0}
    runs = [
        notebook("01_a_b", 10.0, fast=0.1, slow=0.5),
        notebook("02_c", 150.0, one=0.2),
        {**way, **seconds},
    ]
    return {**ABOUT, "settings": {}, "summary": {}, "runs": runs}


def test_the_course_s_costs_are_added_up(costs: dict[str, Any]) -> None:
    found = rows(course.notebooks_table(costs, {"notebooks": [{"assignment": "02_c", "together_mb": 900}]}))
    assert found["[1 · a b](../course/01_a_b/01_a_b.ipynb)"] == [
        "10",
        "400",
        "–",
        "2",
        "0.300",
        "0.50 (`slow`)",
    ]
    *_, last = found.values()
    assert last == ["160", "400", "900", "3", f"{statistics.median([0.1, 0.5, 0.2]):.3f}", "0.50"]
    assert rows(course.environment_table(costs))["students"] == ["1", "60", "4", "65", "1,500", "130", "1.0"]


def test_a_notebook_that_takes_too_long_is_a_missed_goal(costs: dict[str, Any]) -> None:
    assert [goal.met for goal in course.course_goals(costs)] == [False, True, True]
