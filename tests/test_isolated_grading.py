"""Whole submissions of the real course, graded as a class is: honest students lose nothing, mistakes are named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from autograder_tests import misconceptions, topics
from coursekit.course import Course
from coursekit.grading import Bundle, Result, grade_submission
from coursekit.isolate.launch import Launcher, launchers
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Setup
from coursekit.new_class import Paper
from coursekit.releases import bundle_of
from coursekit.source import notebook_bytes
from tests.course import ROOT, sections

COURSE = Course.find(ROOT)
# All as right as silence: warnings, prints on both streams, a figure, and code that takes its time.
NOISE = """\
import sys, time, warnings
import matplotlib.pyplot as plt
warnings.warn("this is slow")
print("working", file=sys.stderr)
print("working")
plt.plot([1, 2, 3]); plt.title("a figure"); plt.show()
time.sleep(0.3)
"""


@cache
def paper(assignment: str) -> Paper:
    return Paper(COURSE, assignment)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("class")
    # A right answer may be slow, and the machine busy.
    limits = Limits(request_seconds=90, run_seconds=600)
    return {name: bundle_of(COURSE, folder, name, limits) for name in topics()}


@pytest.fixture(scope="session")
def known() -> Iterator[dict[str, Launcher]]:
    made = launchers(Setup.of(COURSE))
    yield made
    for launcher in made.values():
        launcher.close()


@pytest.fixture(scope="session")
def launcher(known: dict[str, Launcher]) -> Launcher:
    problems = {}
    for made in known.values():
        problems[made.name] = made.available()
        if made.isolates and problems[made.name] is None:
            return made
    pytest.skip(f"nothing isolates here: {problems}")


def grade(assignment: str, answers: dict[str, str], bundles, launcher: Launcher) -> Result:
    made = paper(assignment)
    data = notebook_bytes(made.notebook({**made.answers, **answers}))
    return grade_submission(data, bundles[assignment], launcher)


def rounds(entries: dict[str, list]) -> list[dict]:
    """The k-th entry of every exercise together: as few submissions as the longest list."""
    longest = max(map(len, entries.values()))
    return [{name: found[k] for name, found in entries.items() if k < len(found)} for k in range(longest)]


def alternatives(assignment: str) -> list[dict[str, str]]:
    found: dict[str, list[str]] = {}
    for name, _, source in sections(ROOT / "tests" / "alternatives" / f"{topics()[assignment]}.py"):
        found.setdefault(name, []).append(source)
    return rounds(found)


QUICK = ("02_jacobians_and_determinants", "03_masked_coupling", "05_flow_prior_vae")
# All of them take minutes; tests/test_catalogue.py has them all, without processes.
ROUNDS = None if os.environ.get("COURSE_TEST_ALL") else 2


def mistakes(assignment: str) -> list[dict]:
    found: dict[str, list] = {}
    for entry in misconceptions(assignment):
        if entry.exercise in paper(assignment).tests:
            found.setdefault(entry.exercise, []).append(entry)
    return rounds(found)[:ROUNDS]


def rows(make, quick: Sequence[str] = ()) -> list:
    """What `make` finds for each assignment; the first of those in `quick` is run by `make test`, the others take minutes."""
    return [
        pytest.param(
            name, entry, id=f"{name}-{k}", marks=[] if k == 0 and name in quick else [pytest.mark.slow]
        )
        for name in topics()
        for k, entry in enumerate(make(name))
    ]


@pytest.mark.parametrize(("assignment", "answers"), rows(alternatives, quick=QUICK))
def test_right_solutions_of_any_style_get_full_marks(assignment, answers, bundles, launcher) -> None:
    noisy = {
        name: NOISE + source if number == 0 else source
        for number, (name, source) in enumerate(answers.items())
    }
    result = grade(assignment, noisy, bundles, launcher)
    assert (result.status, result.message) == ("graded", "")
    lost = [c for c in result.cells if c.kind == "test" and c.points != c.max_points]
    assert not lost, "\n".join(c.report for c in lost)
    assert not [f for f in result.flags if f.startswith(("verdict", "died", "time"))], result.flags


@pytest.mark.parametrize(("assignment", "entries"), rows(mistakes))
def test_a_catalogued_mistake_costs_points_and_is_named(assignment, entries, bundles, launcher) -> None:
    result = grade(assignment, {e.exercise: e.source for e in entries.values()}, bundles, launcher)
    assert (result.status, result.message) == ("graded", "")
    cells = {c.id: c for c in result.cells}
    for entry in entries.values():
        tests = [cells[t] for t in paper(assignment).tests[entry.exercise]]
        assert any(c.points == 0 for c in tests), entry.name
        named = {m for c in tests for m in c.misconceptions}
        assert f"{entry.exercise}.{entry.name}" in named, (entry.name, named)
        assert entry.hint in {h for c in tests for h in c.hints}
    # No exercise stands on another one.
    wrong = {t for name in entries for t in paper(assignment).tests[name]}
    assert all(c.points == c.max_points for c in result.cells if c.kind == "test" and c.id not in wrong)


def shown(result: Result) -> list:
    """Outputs of all cells, as the feedback page has them."""
    cells = nbformat.reads(result.notebook, as_version=4).cells
    return [(c.id, c.get("outputs"), c.get("execution_count")) for c in cells]


def test_warm_cold_and_bare_give_the_same_points_and_outputs(bundles, known) -> None:
    assignment = "02_jacobians_and_determinants"
    made = paper(assignment)
    answers = dict(made.answers)
    answers[next(iter(answers))] = "def broken():\n    return 1\n"
    notebook = made.notebook(answers)
    extra = NOISE.replace("warnings.warn", "print") + "from IPython.display import HTML\nHTML('<b>x</b>')"
    notebook.cells.insert(3, new_code_cell(extra, id="extra"))
    data = notebook_bytes(notebook)
    usable = [made for made in known.values() if made.available() is None]
    assert "none" in {made.name for made in usable}
    results = {made.name: grade_submission(data, bundles[assignment], made) for made in usable}
    bare = results["none"]
    assert any(o.output_type == "display_data" for _, outputs, _ in shown(bare) for o in outputs or ())
    for name, result in results.items():
        assert result.isolation == name
        assert [(c.id, c.points, c.claimed) for c in result.cells] == [
            (c.id, c.points, c.claimed) for c in bare.cells
        ]
        assert shown(result) == shown(bare), name


@pytest.mark.slow
@pytest.mark.parametrize("assignment", topics())
def test_running_every_cell_gives_the_same_points(assignment, bundles, launcher) -> None:
    """The cells that grading leaves out change nothing."""
    made = paper(assignment)
    # Half of it unanswered. No mistakes: against secret inputs some of them pass one check of several by chance.
    answers = {e: made.answers[e] for e in made.exercises[::2]}
    data = notebook_bytes(made.notebook(answers))
    sliced = grade_submission(data, bundles[assignment], launcher)
    whole = grade_submission(data, replace(bundles[assignment], whole=True), launcher)
    assert [(c.id, c.points) for c in sliced.cells] == [(c.id, c.points) for c in whole.cells]
    ran = [sum(bool(outputs) for _, outputs, _ in shown(r)) for r in (sliced, whole)]
    assert ran[0] < ran[1]
