"""Memory: what each notebook takes, and the heaviest beside nbgrader's Validate. Binder guarantees 1 GB and ends what takes 2."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

from benchmarks.memory import LIMIT_MB, RESULT, Meter, beside_validate
from coursekit.course import Course
from coursekit.notebooks import MEMORY_MB, run_notebook
from tests.course import ASSIGNMENTS, ROOT

COURSE = Course.find(ROOT)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere shared memory is counted twice")


def test_the_meter_sees_memory_of_a_process_and_its_children() -> None:
    hold = "import sys; kept = bytearray(b'x' * 60_000_000); print('ready', flush=True); sys.stdin.read()"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        meter = Meter({"held": process.pid, "this": psutil.Process().pid})
        meter.sample()
        process.communicate("")
    assert 57 < meter.peaks["held"] < 157
    assert meter.peak == pytest.approx(sum(meter.peaks.values()))


@pytest.mark.slow
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_notebook_takes_less_than_binder_guarantees(assignment: str) -> None:
    run = run_notebook(COURSE, assignment)  # the run that `make notebooks` keeps
    if run.peak_mb is None:
        pytest.skip("this system does not tell what a process took")
    assert run.peak_mb < MEMORY_MB


def test_measured_with_validate_all_notebooks_stay_below_binders_limit() -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["notebooks"]
    assert [r["assignment"] for r in rows] == ASSIGNMENTS
    assert [r["assignment"] for r in rows if not r["passes"]] == []
    assert [r["assignment"] for r in rows if r["together_mb"] >= LIMIT_MB] == []


@LINUX
@pytest.mark.slow
def test_the_heaviest_notebook_leaves_room_for_validate() -> None:
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["notebooks"]
    heaviest = max(rows, key=lambda r: r["together_mb"])["assignment"]
    row = beside_validate(COURSE, heaviest)
    assert row["passes"]
    assert row["validate_mb"] > 100  # a second kernel was there
    assert row["together_mb"] < LIMIT_MB
