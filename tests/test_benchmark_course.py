"""What the course costs: a run is a row with every check's time, what is there is not measured again, parts run by themselves."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_output
from rich.console import Console

from benchmarks import __main__ as bench
from benchmarks import course as part
from benchmarks.environment import HERE, ROUTES
from benchmarks.record import load, machine, path_of, versions, write
from coursekit.course import Course
from coursekit.execute import Run
from tests.course import ASSIGNMENTS, ROOT

COURSE = Course.find(ROOT)
NAME = part.SMOKE_NOTEBOOK


def played(nb: NotebookNode, **options: Any) -> Run:
    """In place of a kernel: each cell takes as many milliseconds as its index, and one fails."""
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    failing = next(cell for cell in nb.cells if cell.cell_type == "code")
    failing.outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]
    return Run(nb, 12.344, 400.4, "", {k: k / 1000 for k in range(len(nb.cells))})


def row(assignment: str, **more: Any) -> dict[str, Any]:
    version = part._version(COURSE, part._answered(COURSE, assignment))
    usual = {"seconds": 9.0, "peak_mb": 300, "check_seconds": {"a": 0.1, "b": 0.3}, "errors": []}
    key = {"what": "notebook", "assignment": assignment, "version": version, "training_cut": True}
    return {**key, **usual, **more}


def test_every_check_of_a_notebook_is_a_cell_and_no_answer_is() -> None:
    for assignment in ASSIGNMENTS:
        nb = part._answered(COURSE, assignment)
        names = COURSE.checks_module().checks_of(assignment)
        assert sorted(part.check_cells(nb).values()) == sorted(names)
        assert not any("YOUR CODE HERE" in cell.source for cell in nb.cells)
        assert not any("HIDDEN TESTS" in cell.source for cell in nb.cells)


def test_a_run_is_a_row_with_each_check_s_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "execute", played)
    found = part.notebook_run(NAME, cut=True)
    cells = part.check_cells(part._answered(COURSE, NAME))
    assert found["check_seconds"] == {name: k / 1000 for k, name in cells.items()}
    assert (found["seconds"], found["peak_mb"]) == (12.34, 400)
    assert [text.partition(": ")[2] for text in found["errors"]] == ["ValueError: no"]


def test_the_training_is_cut_for_a_smoke_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(part, "execute", lambda nb, **options: seen.append(options["env"]) or played(nb))
    part.notebook_run(NAME)
    part.notebook_run(NAME, cut=True)
    assert seen == [{}, COURSE.training_cut]
    assert COURSE.training_cut


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what `main` measures; nothing is run."""
    names: list[str] = []

    def instead(assignments, routes, cut, workers):
        for name in assignments:
            names.append(name)
            yield name, lambda name=name: row(name)
        for route in routes:
            names.append(route)
            found = {"what": "environment", "route": route, "environment_mb": 1500}
            yield route, lambda found=found: found

    monkeypatch.setattr(part, "_measured", instead)
    return names


def test_what_is_there_is_not_measured_again(measured: list[str], tmp_path: Path) -> None:
    out = tmp_path / "course.json"
    part.main(["--smoke", "--out", str(out)])
    assert measured == [NAME, HERE]
    part.main(["--smoke", "--out", str(out)])
    assert measured == [NAME, HERE]
    part.main(["--smoke", "--fresh", "--routes", HERE, "--out", str(out)])
    assert measured == [NAME, HERE] * 2
    kept = load(out)
    assert [r["what"] for r in kept["runs"]] == ["environment", "notebook"]
    assert kept["summary"] == part.summarize(kept["runs"])
    assert kept["summary"]["median_check_seconds"] == 0.2


def test_an_empty_list_asks_for_none(measured: list[str], tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "course.json"))
    part.main(["--assignments", "--routes", "students", *out])
    assert measured == ["students"]
    part.main(["--assignments", "01_change_of_variables", "--routes", *out])
    assert measured == ["students", "01_change_of_variables"]


@pytest.mark.parametrize("old", [{"version": "of another notebook"}, {"errors": ["cell 3: ValueError"]}])
def test_a_run_of_another_version_or_with_a_failing_cell_is_repeated(
    measured: list[str], tmp_path: Path, old: dict[str, Any]
) -> None:
    out = tmp_path / "course.json"
    write(out, {"machine": machine(), "runs": [row(NAME, **old)]})
    part.main(["--smoke", "--routes", "--out", str(out)])
    assert measured == [NAME]
    assert load(out)["runs"] == [row(NAME)]


def test_runs_of_another_machine_are_dropped(measured: list[str], tmp_path: Path) -> None:
    out = tmp_path / "course.json"
    route = {"what": "environment", "route": "grade", "environment_mb": 1500}
    write(out, {"machine": {**machine(), "cores": 1000}, "runs": [row(NAME), route]})
    part.main(["--smoke", "--routes", "--out", str(out)])
    assert measured == [NAME]
    assert load(out)["runs"] == [row(NAME)]


def test_a_run_that_fails_is_named_and_the_others_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("no space left")

    monkeypatch.setattr(part, "_measured", lambda *a: [(NAME, lambda: row(NAME)), (HERE, broken)])
    out = tmp_path / "course.json"
    with pytest.raises(SystemExit) as ended:
        part.main(["--smoke", "--out", str(out)])
    assert ended.value.code == 1
    assert f"{HERE}: RuntimeError: no space left" in capsys.readouterr().err
    assert load(out)["runs"] == [row(NAME)]


def test_a_stopped_run_keeps_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped() -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(part, "_measured", lambda *a: [(NAME, lambda: row(NAME)), (HERE, stopped)])
    out = tmp_path / "course.json"
    with pytest.raises(SystemExit) as ended:
        part.main(["--smoke", "--out", str(out)])
    assert ended.value.code == 130
    assert "what is measured is in course.json" in capsys.readouterr().err
    assert load(out)["runs"] == [row(NAME)]


def test_a_smoke_run_must_not_enter_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        part.main(["--smoke", "--out", str(path_of("course"))])
    assert "--smoke needs another --out" in capsys.readouterr().err


def test_the_kept_result_holds_every_notebook_and_route_whole() -> None:
    runs = load(path_of("course"))["runs"]
    notebooks = {r["assignment"]: r for r in runs if r["what"] == "notebook"}
    assert sorted(notebooks) == ASSIGNMENTS
    for assignment, found in notebooks.items():
        checks = COURSE.checks_module().checks_of(assignment)
        assert sorted(found["check_seconds"]) == sorted(checks)
        assert not found["training_cut"]
        assert not found["errors"]
    assert {r["route"] for r in runs if r["what"] == "environment"} == set(ROUTES)


# The record


def test_a_broken_result_file_is_named(tmp_path: Path) -> None:
    for text, said in (("{", "expected JSON"), ("[]", "expected a JSON object, got list")):
        (tmp_path / "part.json").write_text(text)
        with pytest.raises(ValueError, match=said):
            load(tmp_path / "part.json")
    assert load(tmp_path / "none.json") == {}


def test_written_numbers_are_json_for_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "new" / "part.json"
    write(path, {"runs": ({"nats": math.inf}, {"nats": 0.1}), "name": "½"})
    text = path.read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "runs": [{"nats": None}, {"nats": 0.1}],
        "name": "½",
    }
    assert "½" in text


def test_a_version_has_no_build_in_it() -> None:
    assert all("+" not in version for version in versions("torch", "numpy").values())


# The command


def test_a_part_that_fails_stops_no_other_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The parts are real processes: two modules, one of which ends badly, and which write down their arguments."""
    (tmp_path / "seen").mkdir()
    for name, code in (("ends_badly", 4), ("ends_well", 0)):
        (tmp_path / f"{name}.py").write_text(
            f"import pathlib, sys\npathlib.Path({str(tmp_path / 'seen')!r}, {name!r}).write_text(' '.join(sys.argv[1:]))\nsys.exit({code})\n"
        )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(bench, "PARTS", {"bad": ("ends_badly", "--part", "field"), "good": ("ends_well",)})
    assert bench.main(["--smoke"]) == 1
    said = capsys.readouterr()
    assert "not done: bad" in said.err
    assert "exit code 4" in said.out
    assert (tmp_path / "seen" / "ends_badly").read_text() == "--part field --smoke"
    assert (tmp_path / "seen" / "ends_well").read_text() == "--smoke"
    assert bench.main(["good", "--fresh"]) == 0
    assert (tmp_path / "seen" / "ends_well").read_text() == "--fresh"


class Interrupted(subprocess.Popen):
    """A process that ends by itself, while Ctrl-C comes to whoever waits for it first."""

    waited = False

    def wait(self, timeout: float | None = None) -> int:
        if not self.waited:
            self.waited = True
            raise KeyboardInterrupt
        return super().wait(timeout)


@pytest.mark.parametrize(
    ("code", "patience", "left"), [("", 60, 0), ("import time; time.sleep(60)", 0.1, -9)]
)
def test_after_ctrl_c_a_part_may_clean_up_and_no_other_begins(
    monkeypatch: pytest.MonkeyPatch, code: str, patience: float, left: int
) -> None:
    begun: list[Interrupted] = []

    def popen(command: list[str], **options: Any) -> Interrupted:
        begun.append(Interrupted(command, **options))
        return begun[-1]

    monkeypatch.setattr(bench.subprocess, "Popen", popen)
    monkeypatch.setattr(bench, "PATIENCE", patience)
    command = [sys.executable, "-c", code]
    found = bench.run_parts({"a": command, "b": command}, Console(quiet=True))
    assert [(outcome.part, outcome.code) for outcome in found] == [("a", 130)]
    assert [process.returncode for process in begun] == [left]


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["lawyers"])
    assert "expected parts among layers, accuracy, exactness, grading, course, got lawyers" in (
        capsys.readouterr().err
    )


def test_every_part_is_a_module_with_a_command_line() -> None:
    for module, *_ in bench.PARTS.values():
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
