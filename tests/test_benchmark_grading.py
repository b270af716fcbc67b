"""The grading benchmark works at tiny sizes, and both graders give honest submissions the same points. No time is judged."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import re
import shutil
import signal
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path

import nbformat
import pytest

from benchmarks.grading import __main__ as command
from benchmarks.grading import field, otter
from benchmarks.grading.classes import ASSIGNMENT, Paper, Submission, honest_class
from benchmarks.grading.compare import differences, throughput, throughput_ratio, undeserved
from benchmarks.grading.field_summary import OTTER, TOOLS, summary
from benchmarks.grading.large import CASES, large_class
from benchmarks.grading.meter import CommandFailed, metered
from benchmarks.grading.show import SHOWN
from coursekit.course import Course
from coursekit.errors import CourseError
from coursekit.grading import Result
from coursekit.isolate.launch import best
from coursekit.isolate.limits import ONE_THREAD
from coursekit.score import CellScore
from docs.ext import grading_page

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


needs_otter = pytest.mark.skipif(
    importlib.util.find_spec("otter") is None, reason="otter-grader is not installed"
)


@pytest.mark.parametrize("name", ["compare", "field", "field_summary", "otter", "ours", "phases"])
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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there memory is counted by shares")
def test_memory_that_processes_share_is_counted_once(tmp_path):
    program = (
        "import os, time\n"
        "held = bytearray(os.urandom(1)) * (200 << 20)\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(1.5)\n"
        "        os._exit(0)\n"
        "time.sleep(1.5)\n"
    )
    run = metered([sys.executable, "-c", program], cwd=tmp_path, env={}, role=lambda lines: "all")
    assert 200 < run.peak_mb < 300, "not 800"
    assert run.cost()["peak_mb"] == round(run.peak_mb, 2)


def test_unknown_parts_are_named(capsys):
    with pytest.raises(SystemExit):
        command.main(["--part", "plain,speed"])
    assert "speed" in capsys.readouterr().err


def test_every_part_has_its_table():
    assert set(SHOWN) == set(command.PARTS)


# The guide's numbers: docs/grading.md is compared with what is made of the JSON in tests/site/test_pages.py.


GENERATED = re.compile(r"<!-- [\w ]+: written by .+? -->.*?<!-- end -->", re.S)
FASTER = re.compile(
    r"[\w.]+ times (?:as (?:long|many|fast)|the throughput|faster|slower)|orders? of magnitude"
)


def measured() -> dict:
    path = command.ROOT / "benchmarks" / "results" / "grading.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_guide_says_what_was_measured():
    """Numbers computed here by other means."""
    found = measured()
    text = " ".join((command.ROOT / "docs" / "grading.md").read_text(encoding="utf-8").split())
    parts = found["parts"]
    walls = sorted(run["wall"] for run in parts["coursekit"]["runs"])
    assert f"{parts['plain']['wall']:.0f} s against {walls[0]:.1f}" in text
    assert f"**{parts['coursekit']['ratio']['ratio']:.1f} times the throughput**" in text
    rates = {
        w: [r["per_minute_without_start"] for r in parts["scaling"]["runs"] if r["workers"] == w]
        for w in (1, 2, 4)
    }
    one, two, four = (f"{statistics.median(rate):.0f}" for rate in rates.values())
    assert f"{one} with one worker, {two} with two, {four} with four" in text
    assert f"take {parts['overhead']['ms']:.1f} ms each with two workers" in text


def test_every_text_that_says_how_many_times_faster_says_of_what_class():
    """The small class and the large one, each by its own file; no other number stands anywhere."""
    field = json.loads((command.ROOT / "benchmarks" / "results" / "grading_field.json").read_text())
    [small] = [
        f"{row['ratio']:.1f} times"
        for row in field["summary"]["ratios"]
        if (row["against"], row["workers"]) == ("nbgrader autograde", 2)
    ]
    large = f"{measured()['parts']['coursekit']['ratio']['ratio']:.1f} times"
    readme, guide = (
        (command.ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/grading.md")
    )
    assert f"of 12 submissions {small} as many as `nbgrader autograde`" in readme
    assert f"of 60, {large} as many as `nbgrader autograde`" in readme
    assert f"In one of 12 it is {small}" in guide
    assert f"**{large} the throughput**" in guide
    typed = {}
    for path in [command.ROOT / "README.md", *(command.ROOT / "docs").rglob("*.md")]:
        free = GENERATED.sub("", path.read_text(encoding="utf-8"))
        typed[path.name] = FASTER.findall(free)
    assert {name: found for name, found in typed.items() if found} == {}


def test_what_was_measured_holds_what_the_guide_takes_for_granted():
    parts = measured()["parts"]
    assert parts["coursekit"]["points"]["different"] == parts["dask"]["different"] == 0
    trivial = parts["overhead"]
    assert trivial["full_points"] == trivial["submissions"] == trivial["reused"] == 2000


def test_the_guide_follows_the_numbers():
    found = measured()
    runs = found["parts"]["scaling"]["runs"]
    assert "gain nothing" in grading_page.scaling(found)
    for run in runs:
        run["per_minute_without_start"] = 50.0 * run["workers"]
    assert "gain 100 %" in grading_page.scaling(found)
    assert "50 with one worker, 100 with two, 200 with four" in grading_page.scaling(found)
    found["parts"]["dask"] |= {"workers": 3, "different": 7}
    said = grading_page.overhead(found)
    assert "three worker processes" in said
    assert f"other points in 7 of {found['parts']['dask']['test_cells']:,} test cells" in said


# otter-grader


def test_otter_gets_each_test_cell_once_for_the_same_points(paper):
    specs = {name: _spec(otter.ok_file(name, test)) for name, test in paper.tests.items()}
    graded = [
        c.metadata.nbgrader
        for c in paper.release.cells
        if c.cell_type == "code" and c.metadata.get("nbgrader", {}).get("grade")
    ]
    assert {name: spec["points"] for name, spec in specs.items()} == {m.grade_id: m.points for m in graded}
    for name, spec in specs.items():
        assert spec["name"] == name
        assert spec["all_or_nothing"], "a test cell gives all its points or none"
        visible, hidden = spec["suites"][0]["cases"]
        assert (visible["hidden"], hidden["hidden"]) == (False, True)
        called = f"check.{name}("
        assert called in visible["code"]
        assert called in hidden["code"]
        assert "hidden=" in hidden["code"]
        assert "hidden=" not in visible["code"]


def _spec(text: str) -> dict:
    found: dict = {}
    exec(text, found)
    return found["test"]


def test_otter_notebook_has_each_check_once_and_nothing_of_the_tests(paper):
    exercise = next(iter(paper.answers))
    nb = nbformat.reads(otter.as_otter(paper.filled({exercise: "one = 1"}), paper).decode(), as_version=4)
    sources = [c.source for c in nb.cells if c.cell_type == "code"]
    checks = [f'grader.check("{name}")' for name in paper.tests]
    assert [s for s in sources if s.startswith("grader.check")] == checks
    assert sources.index("one = 1") < sources.index(checks[0])
    assert "otter.Notebook()" in sources[0]
    assert not any("hidden=1" in s for s in sources)
    others = len([c for c in paper.release.cells if c.cell_type == "code"])
    assert len(sources) == others + 2, "the start and the export"
    nbformat.validate(nb)


@needs_otter
@pytest.mark.slow
def test_otter_gives_the_points_that_are_deserved(paper, folder):
    """Right answers, right answers that warn, a mistake of the catalogue, one exercise of seven."""
    students = honest_class(paper, field.ALTERNATIVES, 12, seed=2)
    chosen = {s.kind: s for s in students if s.kind in ("perfect", "warns", "wrong", "partial")}
    assert len(chosen) == 4
    env = {**ONE_THREAD, **paper.course.training_cut}
    otter.write_class(folder, paper, chosen.values(), env)
    most = sum(test.points for test in paper.tests.values())
    for kind, s in chosen.items():
        assert otter.grade(folder, s.student, env)["submissions"] == 1
        points = otter.points_of(folder, s.student)
        assert set(points) == set(paper.tests)
        assert undeserved(paper, s, points) == []
        assert (sum(points.values()) == most) == (kind in ("perfect", "warns")), kind


# Three graders beside each other


def test_undeserved_points_are_found(paper):
    full = {name: test.points for name, test in paper.tests.items()}
    blank, perfect = Submission("b", "blank", "", {}), Submission("p", "perfect", "", paper.answers)
    assert undeserved(paper, perfect, full) == []
    assert undeserved(paper, blank, dict.fromkeys(full, 0.0)) == []
    assert undeserved(paper, blank, full) == list(full)
    assert undeserved(paper, perfect, {**full, "additive_formula": 0.0}) == ["additive_formula"]
    assert undeserved(paper, perfect, {k: v for k, v in full.items() if k != "masks_alternate"}) == [
        "masks_alternate"
    ]
    wrong = Submission("w", "wrong", "Flow.x", {**paper.answers, "Flow": "class Flow: ..."})
    assert undeserved(paper, wrong, full) == ["Flow"], "a mistake that costs nothing"
    assert undeserved(paper, wrong, {**full, "flow_log_dets_add_up": 0.0}) == []
    assert undeserved(paper, wrong, {**full, "flow_log_dets_add_up": 0.0, "masks_alternate": 0.0}) == [
        "masks_alternate"
    ]


def test_a_test_cell_looks_at_the_answer_above_it(paper):
    checks = paper.course.checks_module().checks_of(ASSIGNMENT)
    assert set(checks) == set(paper.tests)
    assert all(paper.tests[name].exercise in check.names for name, check in checks.items())


def test_throughput_is_a_rate_with_an_interval_that_widens_with_the_spread():
    even = {"wall": 12.0, "submissions": 4, "seconds": dict.fromkeys("abcd", 3.0)}
    uneven = {"wall": 12.0, "submissions": 4, "seconds": {"a": 1.0, "b": 5.0, "c": 1.0, "d": 5.0}}
    assert throughput([even]) == {"per_minute": 20.0, "low": 20.0, "high": 20.0}
    found = throughput([uneven])
    assert found["per_minute"] == 20.0
    assert found["low"] < 15.0 < 26.0 < found["high"]


def _row(job: field.Job, seconds: float, **lost: float) -> dict:
    students = [job.student] if job.student else ["a", "b"]
    return {
        **job.row,
        "wall": seconds * len(students) / job.workers,
        "cpu_seconds": seconds * len(students),
        "peak_mb": 300.0,
        "submissions": len(students),
        "seconds": dict.fromkeys(students, seconds),
        "lost": {student: {**lost} for student in students},
        "undeserved": {},
    }


def test_the_summary_of_three_graders():
    rows = [
        _row(job, {"otter run": 10.0, "nbgrader autograde": 8.0}.get(job.tool, 2.0))
        for job in field.jobs(["a", "b"], (1, 2), 2)
    ]
    found = summary(rows, cells=30)
    assert [(g["tool"], g["workers"], g["runs"], g["per_minute"]) for g in found["graders"]] == [
        ("nbgrader autograde", 1, 1, 7.5),
        ("otter run", 1, 1, 6.0),
        ("coursekit grade", 1, 2, 30.0),
        ("coursekit grade", 2, 2, 60.0),
    ]
    assert [g["cpu_seconds"] for g in found["graders"]] == [8.0, 10.0, 2.0, 2.0]
    assert [(r["against"], r["workers"], r["ratio"]) for r in found["ratios"]] == [
        ("nbgrader autograde", 1, 4.0),
        ("nbgrader autograde", 2, 8.0),
        ("otter run", 1, 5.0),
        ("otter run", 2, 10.0),
    ]
    assert (found["test_cells"], found["different"]) == (60, 0)
    rows[0]["lost"]["a"] = {"masks_alternate": 0.0}
    assert summary(rows, cells=30)["different"] == 1


def test_without_otter_the_others_are_compared():
    tools = [tool for tool in TOOLS if tool != OTTER]
    rows = [_row(job, 2.0) for job in field.jobs(["a", "b"], (2,), 1, tools)]
    found = summary(rows, cells=30)
    assert [g["tool"] for g in found["graders"]] == tools
    assert {r["against"] for r in found["ratios"]} == {"nbgrader autograde"}


def test_what_is_measured_is_not_measured_again(paper, tmp_path, monkeypatch):
    ran: list[field.Job] = []

    class Fake:
        def __init__(self, *args) -> None: ...

        def run(self, job, progress):
            if len(ran) == 3:
                raise KeyboardInterrupt
            ran.append(job)
            return _row(job, 2.0)

    monkeypatch.setattr(field, "Field", Fake)
    students = [Submission(name, "perfect", "", paper.answers) for name in "ab"]
    settings = {"seed": 2, "workers": [2], "repeats": 2, "tools": list(TOOLS)}
    path = tmp_path / "field.json"
    with pytest.raises(KeyboardInterrupt):
        field.measure(path, tmp_path, paper, students, settings)
    assert len(json.loads(path.read_text(encoding="utf-8"))["runs"]) == 3
    kept, ran[:] = list(ran), []
    found = field.measure(path, tmp_path, paper, students, settings)
    assert kept + ran == field.jobs(["a", "b"], (2,), 2)
    assert found["summary"]["graders"][-1]["runs"] == 2
    ran.clear()
    assert field.measure(path, tmp_path, paper, students, settings) == found
    assert ran == [], "all of it was there"
    with pytest.raises(KeyboardInterrupt):
        field.measure(path, tmp_path, paper, students, {**settings, "seed": 3})
    assert len(ran) == 3, "another class begins anew"


@needs_otter
@pytest.mark.slow
def test_three_graders_on_a_submission_that_computes_nothing(tmp_path, capsys):
    path, before = tmp_path / "field.json", signal.getsignal(signal.SIGTERM)
    try:
        field.main(["--smoke", "--out", str(path)])
    finally:
        signal.signal(signal.SIGTERM, before)
    text = path.read_text(encoding="utf-8")
    assert str(command.ROOT) not in text, "no path of this machine in the results"
    found = json.loads(text)
    assert [row["tool"] for row in found["runs"]] == ["coursekit grade", "nbgrader autograde", "otter run"]
    assert all(row["lost"] == {"s1": {}} and row["undeserved"] == {} for row in found["runs"])
    assert all(row["peak_mb"] > 50 for row in found["runs"])
    assert (found["summary"]["test_cells"], found["summary"]["different"]) == (1, 0)
    assert {"python", "otter-grader", "nbgrader", "torch"} <= set(found["versions"])
    assert "times otter run" in capsys.readouterr().out
