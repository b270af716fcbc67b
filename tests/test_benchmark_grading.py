"""The grading benchmark works at tiny sizes, and both graders give honest submissions the same points. No time is judged."""

from __future__ import annotations

import doctest
import importlib
import json
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from benchmarks.grading import __main__ as command
from benchmarks.grading.classes import ASSIGNMENT, Paper, honest_class
from benchmarks.grading.compare import differences, throughput_ratio
from benchmarks.grading.large import CASES, large_class
from benchmarks.grading.meter import CommandFailed, metered
from benchmarks.grading.show import SHOWN
from coursekit.course import Course
from coursekit.errors import CourseError
from coursekit.grading import Result
from coursekit.isolate.launch import best
from coursekit.score import CellScore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="measures processes as Unix has them")


@pytest.fixture(scope="module")
def paper():
    return Paper(Course.find(command.ROOT), ASSIGNMENT)


@pytest.fixture(scope="module")
def isolation():
    try:
        return best("auto").name
    except CourseError:
        return "none"


@pytest.fixture
def folder():
    """A folder that isolated processes can see: not under /tmp."""
    build = command.ROOT / "build"
    build.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="grading-test-", dir=build))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("name", ["compare", "ours", "phases"])
def test_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"benchmarks.grading.{name}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_a_class_has_all_kinds_and_depends_on_the_seed_alone(paper):
    students = honest_class(paper, command.ALTERNATIVES, 60, seed=2)
    kinds = Counter(s.kind for s in students)
    assert set(kinds) == {"perfect", "partial", "blank", "warns", "prints", "plots", "alternative", "wrong"}
    assert len({s.student for s in students}) == 60
    assert len({s.what for s in students if s.kind == "wrong"}) == kinds["wrong"], "no misconception twice"
    assert len({s.what for s in students if s.kind == "alternative"}) > 1
    assert students == honest_class(paper, command.ALTERNATIVES, 60, seed=2)
    assert students != honest_class(paper, command.ALTERNATIVES, 60, seed=3)


def test_a_filled_notebook_is_the_release_with_answers(paper):
    exercise = next(iter(paper.answers))
    filled = nbformat.reads(paper.filled({exercise: "one = 1"}).decode(), as_version=4)
    changed = [
        (old.metadata.get("nbgrader", {}).get("grade_id"), new.source)
        for old, new in zip(paper.release.cells, filled.cells, strict=True)
        if old.source != new.source
    ]
    assert changed == [(exercise, "one = 1")]


@pytest.mark.slow
def test_both_graders_end_to_end(folder, isolation, capsys):
    results = folder / "grading.json"
    sizes = ["--class-size", "2", "--plain", "1", "--workers", "1", "--scaling", "1", "--repeats", "1"]
    where = ["--folder", str(folder), "--results", str(results), "--figure", str(folder / "scaling.png")]
    command.main(["--part", "plain,coursekit,scaling", "--isolation", isolation, *sizes, *where])
    found = json.loads(results.read_text(encoding="utf-8"))
    assert str(command.ROOT) not in results.read_text(encoding="utf-8"), (
        "no path of this machine in the results"
    )
    plain, ours = found["parts"]["plain"], found["parts"]["coursekit"]
    assert plain["submissions"] == 1
    assert ours["runs"][0]["status"] == {"graded": 2}
    assert ours["points"]["students"] == 1
    assert ours["points"]["test_cells"] == 30
    assert ours["points"]["rows"] == []
    assert ours["ratio"]["low"] <= ours["ratio"]["ratio"] <= ours["ratio"]["high"]
    assert {"main", "workers", "students"} <= set(ours["runs"][0]["cpu_by_role"])
    assert [run["workers"] for run in found["parts"]["scaling"]["runs"]] == [1]
    assert (folder / "scaling.png").stat().st_size > 5_000
    assert "times the throughput" in capsys.readouterr().out


@pytest.mark.slow
def test_overhead_and_profile(folder, isolation):
    results = folder / "grading.json"
    sizes = ["--class-size", "2", "--trivial", "4", "--workers", "1", "--profiled", "1"]
    where = ["--folder", str(folder), "--results", str(results)]
    command.main(["--part", "overhead,profile", "--isolation", isolation, *sizes, *where])
    parts = json.loads(results.read_text(encoding="utf-8"))["parts"]
    overhead = parts["overhead"]
    assert overhead["full_points"] == overhead["reused"] == 4
    assert overhead["main"]["write gradebook"]["calls"] == 1
    assert overhead["worker"]["phases"]["start of processes"]["calls"] >= 1
    phases = parts["profile"]["phases"]
    assert phases["verdicts without their calls"]["calls"] == 30
    assert sum(p["ms"] for p in phases.values()) == pytest.approx(parts["profile"]["ms"], rel=0.02)
    assert "flow_density_integrates_to_one" in parts["profile"]["slowest_verdicts"]


@pytest.mark.slow
def test_two_dask_workers_by_address(folder, isolation):
    results = folder / "grading.json"
    where = ["--folder", str(folder), "--results", str(results), "--isolation", isolation]
    command.main(["--part", "dask", "--class-size", "2", "--workers", "1", *where])
    found = json.loads(results.read_text(encoding="utf-8"))["parts"]["dask"]
    assert (found["submissions"], found["test_cells"], found["different_cells"]) == (2, 60, [])


@pytest.mark.slow
def test_large_class_has_each_case(paper, folder):
    large_class(folder, paper)
    files = {p.parts[-3]: p for p in folder.glob(f"submitted/*/{ASSIGNMENT}/*.ipynb")}
    assert set(files) == {*CASES, "neighbor"}
    size = files["file-of-1-GB"].stat()
    assert size.st_size == 10**9
    assert size.st_blocks * 512 < 10**7, "sparse"


def _result(**points: float) -> Result:
    cells = tuple(CellScore(name, "test", "failed", p, 1.0, hidden=True) for name, p in points.items())
    by_hand = CellScore("essay", "manual", "to grade", None, 2.0)
    return Result("a", "key", "graded", "", "r", (), (*cells, by_hand), (), "")


def test_differences_are_found_cell_by_cell(tmp_path):
    about = {"s": {"kind": "wrong", "what": "x"}, "t": {"kind": "perfect", "what": ""}}
    plain = {"s": {"one": 1.0, "two": 0.0, "essay": 0.0}, "t": {"one": 1.0, "two": 1.0}, "u": {"one": 1.0}}
    found = differences(
        plain, {"s": _result(one=0.0, two=0.0), "t": _result(one=1.0, two=1.0)}, about, tmp_path
    )
    assert (found["students"], found["test_cells"], found["different"]) == (2, 4, 1)
    [row] = found["rows"]
    assert (row["student"], row["cell"], row["plain"], row["coursekit"]) == ("s", "one", 1.0, 0.0)
    assert "secret" in row["why"]


def test_the_ratio_is_of_throughput_and_its_interval_widens_with_the_spread():
    ours = {"wall": 20.0, "submissions": 4, "workers": 2, "seconds": dict.fromkeys("abcd", 8.0)}
    plain = {"wall": 100.0, "submissions": 4, "seconds": {"a": 5.0, "b": 45.0, "c": 5.0, "d": 45.0}}
    found = throughput_ratio(plain, [ours])
    assert found["ratio"] == 5.0
    assert found["low"] < 4.0 < 6.0 < found["high"]


def test_a_command_that_fails_says_its_last_words(tmp_path):
    program = [sys.executable, "-c", "import sys; sys.exit('no room')"]
    with pytest.raises(CommandFailed, match="no room"):
        metered(program, cwd=tmp_path, env={}, role=lambda lines: "all")


def test_metered_counts_processes_by_role(tmp_path):
    inner = "import time; began = time.process_time()\nwhile time.process_time() - began < 0.6: pass"
    outer = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {inner!r}]); time.sleep(0.5)"
    )
    run = metered(
        [sys.executable, "-c", outer],
        cwd=tmp_path,
        env={},
        role=lambda lines: "outer" if len(lines) == 1 else "inner",
    )
    assert run.cpu_seconds > 0.6
    assert run.cpu_by_role["inner"] > 0.3 > run.cpu_by_role["outer"]


def test_unknown_parts_are_named(capsys):
    with pytest.raises(SystemExit):
        command.main(["--part", "plain,speed"])
    assert "speed" in capsys.readouterr().err


def test_every_part_has_its_table():
    assert set(SHOWN) == set(command.PARTS)


def test_the_guide_says_what_was_measured():
    text = " ".join((command.ROOT / "docs" / "grading.md").read_text(encoding="utf-8").split())
    parts = json.loads(
        (command.ROOT / "benchmarks" / "results" / "grading.json").read_text(encoding="utf-8")
    )["parts"]
    ours, ratio = parts["coursekit"]["runs"], parts["coursekit"]["ratio"]
    walls = sorted(run["wall"] for run in ours)
    assert f"{parts['plain']['wall']:.0f} s against {walls[0]:.1f} to {walls[-1]:.1f} s" in text
    assert f"**{ratio['ratio']:.1f} times the throughput**" in text
    assert f"bootstrap samples over students: {ratio['low']:.1f} to {ratio['high']:.1f})" in text
    assert parts["coursekit"]["points"]["different"] == 0
    assert f"all {parts['coursekit']['points']['test_cells']:,} test cells" in text
    rates = {
        w: [r["per_minute_without_start"] for r in parts["scaling"]["runs"] if r["workers"] == w]
        for w in (1, 2, 4)
    }
    one, two, four = (f"{statistics.median(rate):.0f}" for rate in rates.values())
    assert f"{one} with one worker, {two} with two, {four} with four" in text
    trivial, dask = parts["overhead"], parts["dask"]
    assert trivial["full_points"] == trivial["submissions"] == trivial["reused"] == 2000
    assert f"take {trivial['ms']:.1f} ms each with two workers" in text
    assert f"{trivial['main']['write gradebook']['ms']:.0f} ms of it for the gradebook" in text
    assert f"takes {trivial['resume_ms']:.1f} ms each" in text
    worker = trivial["worker"]
    around = worker["phases"]["start of processes"]["ms"] + worker["phases"]["end of processes"]["ms"]
    assert f"a worker spends {worker['ms']:.1f} ms on each, {around:.0f} ms of it on starting" in text
    assert dask["workers"] == 2
    assert dask["different"] == 0
    assert f"the same points in all {dask['test_cells']:,} cells" in text
