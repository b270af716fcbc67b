"""Help beside the checks, in a real kernel: hints in their order, solutions on request, progress, which cell to run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder_tests import coach, guides, installed, session
from autograder_tests.guides import UnknownExercise
from autograder_tests.report import Outcome, Report
from autograder_tests.standing import Standing
from coursekit import records
from coursekit.course import Course
from coursekit.execute import Limits, execute
from coursekit.records import Record
from tests.course import ASSIGNMENTS, ROOT, solutions

NAME = "03_masked_coupling"
WRONG = """
import torch
class Rescaling(torch.nn.Module):
    def __init__(self, D):
        super().__init__()
        self.log_scale = torch.nn.Parameter(torch.zeros(D))
    def forward(self, u):
        return u * self.log_scale.exp(), self.log_scale.sum()
    def inverse(self, x):
        return x * (-self.log_scale).exp(), -self.log_scale.sum()
"""
NEEDS_A_NAME = "def alternating_masks(D, K): return missing_helper(D, K)"
# What a person does with a notebook, cell by cell: (name of the step, code).
STEPS = (
    ("before", "print(flow_2d)"),
    ("bootstrap", ""),
    ("folder", "import os; print(os.getcwd())"),
    ("imports", "from autograder_tests.checks import masked_coupling as check"),
    ("out of order", "print(MAX_STEPS)"),
    ("later section", "recipes['plain']"),
    ("unknown name", "print(nobody_defines_this)"),
    ("handler", "def mine(shell, etype, value, tb, tb_offset=None):\n    print('my own handler')"),
    ("own handler", "get_ipython().set_custom_exc((NameError,), mine)"),
    ("handled", "two_pieces"),
    ("stub", "def Rescaling(D):\n    raise NotImplementedError"),
    ("open", "check.rescaling_is_learned(Rescaling)"),
    ("solution too early", "show_solution(Rescaling)"),
    ("wrong", WRONG),
    ("failed", "check.rescaling_log_det_matches_jacobian(Rescaling)"),
    ("passed", "check.rescaling_is_learned(Rescaling)"),
    ("first hint", "hint()"),
    ("a folder of one's own", "os.mkdir('figures'); os.chdir('figures')"),
    ("failed again", "check.rescaling_log_det_matches_jacobian(Rescaling)"),
    ("second hint", 'hint("Rescaling")'),
    ("no more", "hint(2)"),
    ("failed at last", "check.rescaling_log_det_matches_jacobian(Rescaling)"),
    ("again", "hint(Rescaling, again=True)"),
    ("solution", 'show_solution("Rescaling")'),
    ("by hand", "show_solution(8)"),
    ("by hand, twice", "show_solution(8)"),
    ("misspelled", 'hint("Rescalling")'),
    ("name in an answer", NEEDS_A_NAME),
    ("its report", "check.masks_alternate(alternating_masks)"),
    ("progress", "progress()"),
    ("another release", "begin('03_masked_coupling', '0123456789ab')"),
)


def bootstrap(assignment: str) -> str:
    source = Course.find(ROOT).source(assignment)
    return next(
        c.source for c in source.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "bootstrap"
    )


def converse(steps, folder: Path, **env: str) -> dict[str, str]:
    """Run the steps in one kernel; step → all that its cell shows, as text."""
    code = [bootstrap(NAME) if name == "bootstrap" else text for name, text in steps]
    nb = new_notebook(cells=[new_code_cell(text) for text in code])
    env = {records.SWITCH: "1", records.FOLDER: str(folder), **env}
    run = execute(nb, limits=Limits(cell_seconds=60), env=env)
    assert not run.problem
    return {name: _shown(cell) for (name, _), cell in zip(steps, run.notebook.cells, strict=True)}


def _shown(cell) -> str:
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        parts += [output.get("text", ""), *output.get("traceback", ())]
        parts.append(data.get("text/markdown") or data.get("text/plain") or "")
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(p for p in parts if p))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("progress")


@pytest.fixture(scope="module")
def said(folder) -> dict[str, str]:
    return converse(STEPS, folder)


def test_the_first_cell_says_version_and_release(said) -> None:
    guide = guides.load(NAME)
    version = installed.version(guide.distribution)
    assert said["bootstrap"] == f"course {version}, release {guide.release}\n"
    assert re.fullmatch(r"\d+(\.\d+)+", version)


def test_a_notebook_in_a_folder_of_its_own_finds_the_course(said) -> None:
    assert not Path(said["folder"].strip()).is_relative_to(ROOT)
    assert said["imports"] == ""


def test_a_notebook_of_another_release_is_told_so(said) -> None:
    guide = guides.load(NAME)
    lines = said["another release"].splitlines()
    assert lines[0].endswith("release 0123456789ab")
    assert (
        f"of release 0123456789ab, the installed course of {guide.release}: fetch the notebook anew"
        in lines[-1]
    )
    assert f'pip install --no-deps --upgrade "{guide.install}"' in lines[-1]


def test_a_missing_name_is_told_where_it_is_defined_below_its_traceback(said) -> None:
    assert "run" not in said["before"].split("NameError")[-1]  # the first cell has not run: nobody listens
    for step, place in (
        (
            "out of order",
            "`MAX_STEPS` is defined at the top of this notebook: run its first code cells first.",
        ),
        (
            "later section",
            "`recipes` is defined in the section “One seed is not a result”: run that cell first.",
        ),
    ):
        assert "Traceback" in said[step]
        assert "NameError" in said[step]
        assert place in said[step]
    assert "defined in" not in said["unknown name"]


def test_a_handler_of_the_user_s_own_still_runs(said) -> None:
    assert said["handled"].startswith("my own handler\n")
    assert "`two_pieces` is defined in the section “9 · A bijection cannot tear space”" in said["handled"]
    assert "Traceback" not in said["handled"]


def test_a_stub_is_open_and_says_what_else_it_could_be(said) -> None:
    assert (
        "NotImplementedError: Rescaling: still to be answered. Answered already? Run that cell again."
        in said["open"]
    )


def test_helps_come_one_at_a_time_and_are_counted(said) -> None:
    first, second = (h["text"] for h in guides.load(NAME).exercises[1].helps)
    assert said["first hint"].startswith("**Help 1 of 2** · Exercise 2 · Rescaling · ")
    assert first in said["first hint"]
    assert second not in said["first hint"]
    assert said["second hint"].startswith("**Help 2 of 2**")
    assert second in said["second hint"]
    assert 'show_solution("Rescaling")' in said["no more"]
    assert first in said["again"]
    assert second in said["again"]


def test_a_failed_report_ends_with_what_help_there_is(said) -> None:
    assert said["failed"].count('hint("Rescaling") has a nudge') == 1
    assert 'hint("Rescaling") has more help' in said["failed again"]
    assert 'hint("' not in said["failed at last"]
    assert 'hint("' not in said["passed"]


def test_an_answer_that_needs_a_name_is_told_so_in_its_report(said) -> None:
    assert "NameError: name 'missing_helper' is not defined" in said["its report"]
    assert 'hint("alternating_masks") has a nudge' in said["its report"]


def test_a_solution_is_shown_to_who_has_tried_or_insists(said) -> None:
    assert "not tried" in said["solution too early"]
    assert "self.log_scale.sum().expand" not in said["solution too early"]
    assert "`Rescaling`, model answer:\n\n```python\n" in said["solution"]
    assert "http" not in said["solution"]
    assert "self.log_scale.sum().expand(u.shape[:-1])" in said["solution"]
    assert "SOLUTION" not in said["solution"]
    assert "not tried" in said["by hand"]
    assert "(a) The networks see only $b\\odot u$" in said["by hand, twice"]


def test_a_misspelled_exercise_gets_a_suggestion_in_one_line(said) -> None:
    assert (
        said["misspelled"].strip()
        == "UnknownExercise: no exercise is called 'Rescalling': expected Rescaling"
    )


def test_progress_is_a_table_of_this_notebook(said) -> None:
    guide = guides.load(NAME)
    checks = [c for e in guide.exercises for c in e.checks]
    lines = said["progress"].splitlines()
    assert f"1 of {len(checks)} checks passed, 1 of {sum(c.points for c in checks):g} points" in lines
    assert [sum(line.strip().startswith(mark) for line in lines) for mark in "✓✗○"] == [1, 2, len(checks) - 3]


def test_outcomes_are_kept_without_a_word_of_the_student_s(said, folder) -> None:
    kept = {p.stem: json.loads(p.read_bytes()) for p in folder.glob(f"normalizing-flows/*/{NAME}/*.json")}
    assert {k: v["status"] for k, v in kept.items()} == {
        "rescaling_is_learned": "passed",
        "rescaling_log_det_matches_jacobian": "failed",
        "masks_alternate": "error",
    }
    assert {v["release"] for v in kept.values()} == {guides.load(NAME).release}
    [place] = (
        folder / "normalizing-flows"
    ).iterdir()  # that of the notebook, wherever its cells went afterwards
    assert place.name == records.place_of(Path(said["folder"].strip()))
    assert set(kept["masks_alternate"]) == {"check", "status", "points", "max_points", "time", "release"}


QUIET = (
    ("bootstrap", ""),
    ("check", "from autograder_tests.checks import masked_coupling as check"),
    ("wrong", WRONG),
    ("failed", "check.rescaling_log_det_matches_jacobian(Rescaling)"),
    ("missing", "MAX_STEPS"),
    ("progress", "progress()"),
)


@pytest.mark.parametrize("graded", [{session.HINTS: "0"}, {"NBGRADER_EXECUTION": "autograde"}])
def test_grading_keeps_nothing_and_gives_no_hint(tmp_path, graded) -> None:
    said = converse(QUIET, tmp_path, **graded)
    assert list(tmp_path.iterdir()) == []
    assert "hint(" not in said["failed"]
    assert "defined at" not in said["missing"]
    assert "CheckFailed" in said["failed"]


def test_without_a_place_to_keep_records_everything_works(tmp_path) -> None:
    """A file stands where the folder would be: nothing can be written, by root neither."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    said = converse(QUIET, blocked)
    assert 'hint("Rescaling") has a nudge' in said["failed"]
    assert "✗ not yet" in said["progress"]
    assert "Traceback" not in said["progress"]


def test_the_kernel_of_an_older_course_is_told_to_restart(monkeypatch) -> None:
    guide = guides.load(NAME)
    installed._at_first.cache_clear()
    assert coach.misfits(guide, guide.release) == []
    monkeypatch.setattr(installed, "fingerprint", lambda: "other files")
    [line] = coach.misfits(guide, guide.release)
    assert "restart the kernel" in line


def test_the_fingerprint_is_of_the_packages_files(tmp_path, monkeypatch) -> None:
    package = tmp_path / "tiny_course_package"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(installed, "PACKAGES", ("tiny_course_package",))
    before = installed.fingerprint()
    assert installed.fingerprint() == before
    (package / "__init__.py").write_text("x = 2\n")
    assert installed.fingerprint() != before


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_every_answer_can_be_found_and_shown(assignment: str) -> None:
    guide = guides.load(assignment)
    assert [e.number for e in guide.exercises] == list(range(1, len(guide.exercises) + 1))
    for name, source in solutions(assignment).items():
        found, exercise = guides.find(name, assignment)
        assert found.assignment == assignment
        assert name in exercise.answers
        shown = coach.model_answer(guide, name)
        assert name in shown
        assert shown.startswith("```python\n")
        assert "### " not in shown
        assert len(shown) > 0.5 * len(source)
    for exercise in guide.exercises:
        assert all(coach.model_answer(guide, name) for name in exercise.answers)


def test_a_number_or_an_object_means_an_exercise_and_anything_else_is_named() -> None:
    def elbo(): ...

    assert guides.find(elbo, "04_variational_autoencoder")[1].title == "The ELBO"
    assert guides.find(3, NAME)[1].key == "MaskedCouplingLayer"
    assert guides.find("coupling_formula", None)[1].number == 3
    for wrong in (99, "", None, object(), True):
        with pytest.raises(UnknownExercise, match="expected"):
            guides.find(wrong, NAME)


@pytest.fixture
def installed_elsewhere(tmp_path, monkeypatch) -> Path:
    """The folder of a notebook, and a course that is installed as a copy: no sources lie beside it."""
    folder = tmp_path / "edition" / "course" / NAME
    folder.mkdir(parents=True)
    monkeypatch.setattr(coach, "__file__", str(tmp_path / "site-packages" / "autograder_tests" / "coach.py"))
    monkeypatch.setattr(session.current, "folder", str(folder))
    return folder


def test_in_a_clone_the_model_answer_is_shown_however_the_course_is_installed(installed_elsewhere) -> None:
    guide = guides.load(NAME)
    assert coach.model_answer(guide, "Rescaling") == ""
    source = installed_elsewhere.parents[1] / guide.source
    source.parent.mkdir()
    shutil.copy(ROOT / guide.source, source)
    assert "class Rescaling" in coach.model_answer(guide, "Rescaling")


def test_without_sources_it_is_said_where_the_model_answer_is(
    installed_elsewhere, monkeypatch, capsys
) -> None:
    guide = guides.load(NAME)
    monkeypatch.setattr(session.current, "asked", {(NAME, "Exercise 2 · Rescaling")})
    coach.show_solution("Rescaling")
    assert capsys.readouterr().out.splitlines()[2:] == [
        "This folder holds no model answers. They are on the course's web site "
        f"([`Rescaling`]({guide.page}#solution-Rescaling)) and in `{guide.source}` of the course's repository."
    ]


def test_two_folders_on_one_machine_know_nothing_of_each_other(tmp_path) -> None:
    """Two clones: their notebooks' kernels start in a folder below the course's."""
    said = []
    for name in ("first", "second", "first"):
        folder = tmp_path / name / "course" / NAME
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "pyproject.toml").write_text("[tool.coursekit]\n")
        check = ("failed", QUIET[3][1]) if len(said) == 0 else ("nothing", "")
        steps = (
            ("start", f"import os; os.chdir({str(folder)!r})"),
            *QUIET[:3],
            check,
            ("progress", "progress()"),
        )
        said.append(converse(steps, tmp_path / "kept")["progress"])
    assert ["✗ not yet" in text for text in said] == [True, False, True]


def test_a_guide_that_cannot_be_read_is_none(monkeypatch, tmp_path) -> None:
    (tmp_path / "guide").mkdir()
    (tmp_path / "guide" / "bad.json").write_text('{"exercises": [{}]}')
    monkeypatch.setattr(guides.resources, "files", lambda package: tmp_path)
    assert guides.load("bad") is None
    assert guides.load("absent") is None
    assert guides.load_all() == []


def test_the_table_counts_points_and_names_other_releases() -> None:
    guide = guides.load(NAME)
    standing = Standing(guide, {"masks_alternate": Record("masks_alternate", "passed", 1, 1, "", "older")})
    assert "1 passed in another release of this notebook: run them again." in repr(standing)
    page = standing._repr_html_()
    assert page.count("<tbody>") == page.count("</tbody>") == page.count("scope='rowgroup'") == 7
    assert "✓ passed" in page
    assert "1 of 1" in page


def test_a_report_carries_its_line_in_both_forms() -> None:
    report = Report(Outcome("c", "t", "failed"), 'hint("f") has a nudge')
    assert repr(report).endswith('\n  hint("f") has a nudge')
    assert "hint(&quot;f&quot;) has a nudge" in report._repr_html_()


def test_coach_imports_nothing_that_colab_lacks() -> None:
    """Notebooks need neither nbgrader nor what coursekit's commands use."""
    code = "import sys\nfor n in ('nbgrader', 'typer', 'nbformat', 'nbclient'): sys.modules[n] = None\n"
    code += "import autograder_tests.coach"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
