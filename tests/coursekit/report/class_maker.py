"""A made-up class of forty whose report is known beforehand; no notebook is run.

What the tests rely on stands in the constants and in `make_class`; everything else is drawn at random.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nbformat.v4 import new_code_cell, new_notebook, writes

from coursekit.gradebook import Standing
from coursekit.grading import Result
from coursekit.report.load import ClassResults, load_results
from coursekit.score import CellScore
from tests.coursekit.conftest import NAME as TINY
from tests.coursekit.conftest import answered, released

NAME = "07_layers"
# Test cells with their points; the manual cell is worth 2 more.
TESTS = {"layer_shape": 2.0, "layer_inverse": 2.0, "layer_log_det": 3.0, "flow_mass": 1.0}
MANUAL = 2.0
MOST = sum(TESTS.values()) + MANUAL

STUDENTS = [f"s{number:02}" for number in range(40)]
NOT_GRADED = ("s38", "s39")
STOPPED = "s37"
# Two copied from each other, three from one another.
PAIR = ("s10", "s11")
RING = ("s20", "s21", "s22")
SLOW, LARGE = "s15", "s16"

STUB = """def layer(u, scale, shift):
    \"\"\"An affine layer.\"\"\"
    # YOUR CODE HERE
    raise NotImplementedError("not answered yet")
"""
# What most of the class writes.
USUAL = """def layer(u, scale, shift):
    x = u * torch.exp(scale) + shift
    log_det = scale.sum(dim=-1)
    return x, log_det
"""
WRONG_SIGN = """def layer(u, scale, shift):
    # written by Ann Example
    \"\"\"Ann Example's layer.\"\"\"
    x = u * torch.exp(scale) + shift
    note_of_s02 = "Ann Example, group 7"
    return x, -scale.sum(dim=-1)
"""
LONG_HINT = "your log-det is the inverse's: sign"


def random_answer(rng: random.Random, statements: int = 14) -> str:
    """A function as nobody else writes it."""
    names = rng.sample(["a", "b", "c", "left", "right", "value", "total", "m", "k", "w"], 4)
    calls = [
        "torch.exp",
        "torch.log",
        "torch.tanh",
        "abs",
        "F.softplus",
        "torch.sin",
        "math.sqrt",
        "torch.cumsum",
    ]
    lines = ["def layer(u, scale, shift):", f"    {names[0]} = u"]
    for _ in range(statements):
        left, right = rng.choice(names[:1] + names), rng.choice(["u", "scale", "shift"])
        form = rng.randrange(4)
        value = round(rng.uniform(0, 9), 2)
        if form == 0:
            lines.append(f"    {left} = {rng.choice(calls)}({right} * {value})")
        elif form == 1:
            lines.append(f"    {left} = {right}[..., {rng.randrange(9)}:] + {rng.choice(calls)}({right})")
        elif form == 2:
            lines += [
                f"    if {right}.{rng.choice(['ndim', 'size', 'dim'])} > {value}:",
                f"        {left} = {value}",
            ]
        else:
            lines += [
                f"    for i in range({rng.randrange(99)}):",
                f"        {left} = {right} {rng.choice('+-*/')} i",
            ]
    return "\n".join([*lines, f"    return {names[0]}, scale.sum()", ""])


def disguised(code: str) -> str:
    """The same code as someone writes it who does not want it to look the same."""
    code = (
        code.replace("u, scale, shift", "base: Tensor, s: Tensor, t: Tensor")
        .replace("scale", "s")
        .replace("shift", "t")
    )
    code = code.replace(" u", " base").replace("(u", "(base")
    lines = code.splitlines()
    lines.insert(1, '    """My own work."""')
    return (
        "\n".join(f"{line}  # step {n}" if n % 3 == 0 and n > 1 else line for n, line in enumerate(lines))
        + "\n"
    )


def notebook(answers: Mapping[str, str]) -> str:
    """A graded notebook with these answers, exercise → code."""
    cells = []
    for name, source in answers.items():
        cell = new_code_cell(source=source, id=name)
        cell.metadata["nbgrader"] = {"grade_id": name, "solution": True, "grade": False, "locked": False}
        cells.append(cell)
    return writes(new_notebook(cells=cells))


def result(answers: Mapping[str, str] | None = None, **changes: object) -> Result:
    """A result with all points but the manual cell's."""
    cells = [CellScore(name, "test", "passed", most, most, claimed="passed") for name, most in TESTS.items()]
    made = Result(
        assignment=NAME,
        key="k",
        status="graded",
        message="",
        release="r1",
        flags=(),
        cells=(*cells, CellScore("essay", "manual", "to grade", None, MANUAL)),
        unanswered=(),
        seconds=1.0,
        cpu_seconds=0.8,
        peak_mb=200.0,
        isolation="forked",
        notebook=notebook({"layer": USUAL} if answers is None else answers),
    )
    return replace(made, **changes)


def with_cell(made: Result, name: str, **changes: object) -> Result:
    """The result with one cell changed."""
    return replace(made, cells=tuple(replace(c, **changes) if c.id == name else c for c in made.cells))


def make_class() -> dict[str, Result]:
    """Student → result.

    Of 38 that ran, `layer_inverse` failed for the ten with a number that 4 divides (36 is the last);
    `layer_log_det` failed for s02 and s06 (with a misconception each has alone recognized), on hidden cases only
    for s01, s05 and s09, is open for s03 and was not run for s37.
    """
    rng = random.Random(7)
    copied, shared = random_answer(rng), random_answer(rng)
    made: dict[str, Result] = {}
    for number, student in enumerate(STUDENTS):
        code = USUAL if number % 2 else random_answer(rng)
        if student in PAIR:
            code = copied if student == PAIR[0] else disguised(copied)
        elif student in RING:
            code = shared
        elif student in ("s02", "s06"):
            code = WRONG_SIGN
        r = result({"layer": code}, seconds=1 + number / 100, cpu_seconds=0.8, peak_mb=200.0 + number)
        if number % 4 == 0:
            r = with_cell(r, "layer_inverse", status="failed", points=0.0, report="expected 1, got 2")
        made[student] = r
    for student in ("s02", "s06"):
        made[student] = with_cell(
            made[student],
            "layer_log_det",
            status="failed",
            points=0.0,
            hints=(LONG_HINT,),
            misconceptions=("layer.forgets_the_sign",),
        )
    for student in ("s01", "s05", "s09"):
        made[student] = with_cell(made[student], "layer_log_det", status="failed", points=0.0, hidden=True)
    made["s03"] = with_cell(made["s03"], "layer_log_det", status="open", points=0.0)
    made["s03"] = replace(made["s03"], unanswered=("layer",), notebook=notebook({"layer": STUB}))
    made[STOPPED] = replace(
        with_cell(made[STOPPED], "layer_log_det", status="not run", points=0.0),
        status="stopped",
        message="out of time",
        flags=("time limit: layer_log_det",),
    )
    for student in NOT_GRADED:
        cells = tuple(replace(c, status="not graded", points=0.0) for c in made[student].cells)
        made[student] = replace(
            made[student],
            status="not graded",
            message="the file is empty",
            cells=cells,
            seconds=0.0,
            cpu_seconds=0.0,
            peak_mb=None,
        )
    made["s04"] = replace(made["s04"], flags=("renamed: mine.ipynb", "verdict differs: flow_mass"))
    made["s05"] = replace(made["s05"], flags=("reference used: layer_shape (Flow)",))
    made["s07"] = replace(made["s07"], flags=("missing: flow_mass",))
    made["s08"] = replace(made["s08"], flags=("missing: flow_mass",))
    made[SLOW] = replace(made[SLOW], seconds=90.0)
    made[LARGE] = replace(made[LARGE], peak_mb=900.0)
    return made


def standings(results: Mapping[str, Result]) -> dict[str, Standing]:
    """The gradebook's view: the even students that ran have the manual cell's points."""
    made = {}
    for number, (student, r) in enumerate(results.items()):
        by_hand = MANUAL if number % 2 == 0 and r.status != "not graded" else 0.0
        cells = {c.id: c.points or 0.0 for c in r.cells} | {"essay": by_hand}
        waits = not by_hand and r.status != "not graded"
        made[student] = Standing(sum(cells.values()), MOST, waits, cells)
    return made


def store(class_dir: Path, results: Mapping[str, Result]) -> None:
    """Write the results where grading leaves them."""
    for student, r in results.items():
        path = class_dir / "results" / student / f"{r.assignment}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(r.to_json()), encoding="utf-8")


def loaded(class_dir: Path, results: Mapping[str, Result]) -> ClassResults:
    """The results, written and read again."""
    store(class_dir, results)
    return load_results(class_dir, NAME, standings(results))


TINY_TESTS = {"square_of_three": 2.0, "square_is_even": 1.0, "cube_of_two": 3.0, "training_was_cut": 1.0}


def tiny_result(course, key: str = "k", **changes) -> Result:
    """A result of the tiny course with all points of its tests."""
    cells = [CellScore(name, "test", "passed", most, most) for name, most in TINY_TESTS.items()]
    return Result(
        **{
            "assignment": TINY,
            "key": key,
            "status": "graded",
            "message": "",
            "release": "r",
            "flags": (),
            "cells": (*cells, CellScore("why", "manual", "to grade", None, 1.5)),
            "unanswered": (),
            "notebook": writes(answered(released(course))),
            **changes,
        }
    )
