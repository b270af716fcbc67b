"""What a run survives: workers, fork servers and itself killed, Ctrl-C, full disks, a gradebook that is locked or gone."""

from __future__ import annotations

import functools
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from rich.progress import Progress
from typer.testing import CliRunner

import coursekit.grade
from coursekit.build import release_of
from coursekit.class_commands import _Rate
from coursekit.class_folder import ClassFolder
from coursekit.cli import app
from coursekit.errors import CourseError
from coursekit.grade import Options, grade_assignment
from coursekit.gradebook import GradebookGoneError, GradebookWriter
from coursekit.isolate.launch import launchers
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Setup
from coursekit.pool import Here
from coursekit.source import read_source

from .conftest import CHECKS, NAME, PYPROJECT, SQUARES, _course, answered, hand_in, released
from .runs import Run, until
from .test_grade import fake  # noqa: F401 - a fixture

LIMITS = Limits()  # those of the command line: other ones would have everything graded anew
FULL = 7.0
# Python ends by the signal itself when the signal has come while it ran a text by `exec`, as some libraries do.
INTERRUPTED = (2, -signal.SIGINT)
# What a worker can suffer from the course's own code: a value makes the verdict end its process, or never return.
BAD_VERDICT = CHECKS.replace(
    '        if answer.get("value") != expected(x):',
    """        if answer.get("value") == "die":
            import os
            os.kill(os.getpid(), 9)
        if answer.get("value") == "hang":
            import time
            time.sleep(600)
        if answer.get("value") != expected(x):""",
)
SLOW = "import time\ntime.sleep(2)\ndef square(x):\n    return x * x"
STUBBORN = """import time
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass
"""


@pytest.fixture
def class_of(course):
    """Hand in answers to `square`, student → source, in `course` or another."""

    def make(answers, course=course):
        nb = released(course)
        for student, source in answers.items():
            hand_in(course.root, student, answered(nb, **({"square": source} if source else {})))

    return make


def grade(course, students=(), progress=lambda *about: None, **options):
    chosen = Options(**{"limits": LIMITS, "workers": 0, "isolation": "none", "feedback": False, **options})
    found = grade_assignment(course, course.root, NAME, chosen, students=students, progress=progress)
    return {g.student: g for g in found}


def command(*more, workers=1):
    return ("grade", NAME, "--isolation", "none", "--workers", str(workers), "--json", *more)


def rows_of(output):
    return {r["student"]: r for r in json.loads(output)[0]["submissions"]}


def assert_all_graded(course, students):
    """Gradebook and files agree, and everybody has all points that a machine gives."""
    with GradebookWriter(f"sqlite:///{course.root / 'gradebook.db'}", course.course_id) as writer:
        standings, applied = writer.standings(NAME), writer.applied(NAME)
    folder = ClassFolder(course.root, NAME)
    assert {s: v.points for s, v in standings.items()} == dict.fromkeys(students, FULL)
    assert {s: folder.result(s).key for s in students} == applied
    table = (course.root / "scores" / f"{NAME}.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == len(students) + 1
    assert not list(course.root.rglob("*.part"))


def test_workers_give_the_same_results_as_this_process(course, class_of):
    class_of(
        {"a": None, "b": "def square(x):\n    return x + x", "c": "import os\nos._exit(3)", "d": "print('d')"}
    )
    hand_in(course.root, "e", b"{")

    def bare(graded):
        drop = {"seconds", "cpu_seconds", "peak_mb"}
        return {s: {k: v for k, v in g.result.to_json().items() if k not in drop} for s, g in graded.items()}

    here = bare(grade(course))
    assert bare(grade(course, workers=2, force=True)) == here
    assert here["c"]["flags"] == ("died: square (exit 3)",)


@pytest.mark.slow
def test_a_verdict_that_dies_or_hangs_costs_one_row(course, class_of, monkeypatch):
    (course.root / "tiny_checks.py").write_text(BAD_VERDICT, encoding="utf-8")
    bad = {name: f"def square(x):\n    return {name!r}" for name in ("die", "hang")}
    class_of({"a": None, **bad, "b": None, "c": None})
    monkeypatch.setattr("coursekit.pool._MARGIN", -20.0)
    limits = Limits(request_seconds=5, run_seconds=20, start_seconds=15)
    graded = grade(course, workers=2, limits=limits)
    assert {s: (g.status, g.message) for s, g in graded.items() if g.status != "graded"} == {
        "die": ("error", "WorkerDied: the process that worked on it died (killed by signal 9)"),
        "hang": ("error", "TookTooLong: no result after 15 s"),
    }
    assert {g.standing.points for s, g in graded.items() if s in "abc"} == {FULL}


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(course, class_of):
    class_of({"a": SLOW, "b": SLOW, "c": SLOW, "d": SLOW})
    with Run(course.root, *command("--no-feedback", workers=2)) as run:
        run.child()
        run.worker().kill()
        code, out, err = run.finish()
        assert (code, err) == (0, "")
        assert {s: r["points"] for s, r in rows_of(out).items()} == dict.fromkeys("abcd", FULL)
        run.assert_nothing_is_left()
    assert_all_graded(course, "abcd")


def test_a_killed_run_leaves_no_process(course, class_of):
    """Not even of code that refuses to stop."""
    class_of({"a": STUBBORN, "b": STUBBORN})
    with Run(course.root, *command(workers=2)) as run:
        run.child()
        time.sleep(0.5)
        run.look()
        run.popen.kill()
        run.assert_nothing_is_left()


@pytest.mark.slow
def test_ctrl_c_leaves_a_gradebook_to_go_on_with(course, class_of):
    class_of({f"s{i}": SLOW for i in range(4)})
    with Run(course.root, *command()) as run:
        until(lambda: list(course.root.glob("results/*/*.json")))
        run.interrupt()
        began = time.monotonic()
        code, out, err = run.finish()
        assert (code in INTERRUPTED, out, err) == (True, "", "coursekit: interrupted\n")
        assert time.monotonic() - began < 10
        run.assert_nothing_is_left()
    kept = len(list(course.root.glob("results/*/*.json")))
    assert 1 <= kept < 4
    with GradebookWriter(f"sqlite:///{course.root / 'gradebook.db'}", course.course_id) as writer:
        assert set(writer.applied(NAME)) <= set(ClassFolder(course.root, NAME).graded())
    graded = grade(course)
    assert sum(g.reused for g in graded.values()) == kept
    assert_all_graded(course, [f"s{i}" for i in range(4)])


@pytest.mark.parametrize("moment", [0.2, 1.0])
def test_ctrl_c_while_it_starts_is_one_line(course, class_of, moment):
    class_of({"a": SLOW})
    with Run(course.root, *command()) as run:
        run.worker()
        time.sleep(moment)
        run.interrupt()
        code, _, err = run.finish()
        assert (code in INTERRUPTED, err) == (True, "coursekit: interrupted\n")
        run.assert_nothing_is_left()


@pytest.mark.slow
def test_a_killed_fork_server_is_replaced(monkeypatch, alembic_version):
    # Below /tmp, of which each child has its own, there would be no fork server.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        course = _course(Path(folder) / "course", monkeypatch)
        if (why := launchers(Setup.of(course))["forked"].available()) is not None:
            pytest.skip(why)
        nb = released(course)
        for student in "abc":
            hand_in(course.root, student, answered(nb, square=SLOW))
        arguments = ("grade", NAME, "--isolation", "forked", "--workers", "1", "--json", "--no-feedback")
        with Run(course.root, *arguments) as run:
            until(lambda: list(course.root.glob("results/*/*.json")))
            server = until(lambda: run.find("coursekit.isolate.forkserver"))
            time.sleep(1)
            server.kill()
            code, out, err = run.finish()
            assert (code, err) == (0, "")
            found = rows_of(out)
            assert {s: r["isolation"] for s, r in found.items()} == dict.fromkeys("abc", "forked")
            run.assert_nothing_is_left()
        assert_all_graded(course, "abc")


def test_where_no_child_starts_the_run_says_so_once(course, class_of):
    (course.root / "broken.py").write_text("raise RuntimeError('no such device')", encoding="utf-8")
    (course.root / "pyproject.toml").write_text(
        PYPROJECT.replace('preload = ["', 'preload = ["broken", "'), encoding="utf-8"
    )
    class_of({f"s{i}": None for i in range(8)})
    with Run(course.root, *command(workers=2)) as run:
        code, out, err = run.finish()
    assert (code, out) == (2, "")
    assert err == (
        "coursekit: no process can be started for students' code: RuntimeError: no such device;"
        " 0 of 8 are graded and kept: run again\n"
    )


@pytest.mark.slow
def test_two_runs_at_once(course, class_of):
    students = [f"s{i}" for i in range(5)]
    class_of(dict.fromkeys(students, "import time\ntime.sleep(0.3)\ndef square(x):\n    return x * x"))
    some = [a for s in students[3:] for a in ("--student", s)]
    with (
        Run(course.root, *command()) as one,
        Run(course.root, *command()) as other,
        Run(course.root, *command(*some)) as third,
    ):
        for run in (one, other, third):
            code, out, err = run.finish()
            assert (code, err) == (0, "")
            assert {r["points"] for r in rows_of(out).values()} == {FULL}
            assert all(Path(r["feedback"]).is_file() for r in rows_of(out).values())
    assert_all_graded(course, students)
    assert all(g.reused for g in grade(course).values())


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of its own, and a way to mount it anew with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)

    done = mount("-t", "tmpfs", "-o", "size=1500k", "tmpfs") if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder, lambda options: mount("-o", f"remount,{options}")
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk(small_disk, monkeypatch, alembic_version):
    root, remount = small_disk
    course = _course(root / "course", monkeypatch)
    nb = released(course)
    # Results with 100 kB of output each: there is room for some.
    students = [f"s{i}" for i in range(9)]
    for i, student in enumerate(students):
        hand_in(course.root, student, answered(nb, square=f"print('{i}' * 100_000)\n{SLOW.split('2)')[1]}"))
    with Run(course.root, *command()) as run:
        code, out, err = run.finish()
        run.assert_nothing_is_left()
    kept = sorted(p.parent.name for p in course.root.glob(f"results/*/{NAME}.json"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("coursekit: the class folder cannot be written (No space left on device: ")
    assert f"; {len(kept) - 1} of 9 are graded and kept: run again" in err or f"; {len(kept)} of 9" in err
    assert 0 < len(kept) < 9
    assert all(ClassFolder(course.root, NAME).result(s) is not None for s in kept)
    for path in course.root.glob("autograded/**/*.ipynb"):
        json.loads(path.read_text(encoding="utf-8"))
    assert not list(course.root.rglob("*.part"))
    assert remount("size=50m").returncode == 0
    with Run(course.root, *command()) as run:
        code, out, err = run.finish()
    assert (code, err) == (0, "")
    assert sum(r["reused"] for r in rows_of(out).values()) == len(kept)
    assert_all_graded(course, students)


def test_a_folder_that_may_only_be_read(small_disk, monkeypatch, alembic_version):
    root, remount = small_disk
    course = _course(root / "course", monkeypatch)
    hand_in(course.root, "a", answered(released(course)))
    assert remount("ro").returncode == 0
    with pytest.raises(CourseError, match=r"^the class folder cannot be written \(Read-only file system: "):
        grade(course)
    assert remount("rw").returncode == 0
    assert grade(course)["a"].standing.points == FULL


@pytest.fixture
def impatient(monkeypatch):
    """Do not wait long for a gradebook."""
    short = functools.partial(GradebookWriter, wait_seconds=0.3)
    monkeypatch.setattr(coursekit.grade, "GradebookWriter", short)


def test_a_gradebook_locked_for_a_while(course, class_of, fake, impatient):  # noqa: F811
    """What could not be written is written at the end; other submissions do not wait for it again."""
    class_of(dict.fromkeys("abcd"))
    lock, waited = sqlite3.connect(course.root / "gradebook.db"), []

    def progress(row, done, total):
        if done == 1 and not waited:
            lock.execute("BEGIN IMMEDIATE")
        elif done == total and lock.in_transaction:
            waited.append(row.message)
            lock.rollback()

    graded = grade(course, progress=progress)
    assert "graded and kept, but not in the gradebook" in waited[0]
    assert "locked by another process" in waited[0]
    assert {(g.status, g.message) for g in graded.values()} == {("graded", "")}
    lock.close()
    assert_all_graded(course, "abcd")


@pytest.mark.parametrize("kind", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_gradebook_locked_to_the_end(course, class_of, fake, impatient, kind):  # noqa: F811
    """Rows that say so, or one line when it cannot even be read; nothing is run twice."""
    class_of(dict.fromkeys("abc"))
    lock = sqlite3.connect(course.root / "gradebook.db")

    def progress(row, done, total):
        if done == 1 and not lock.in_transaction:
            lock.execute(kind)

    if kind == "BEGIN EXCLUSIVE":
        with pytest.raises(
            GradebookGoneError, match=r"\(waited 0\.3 s\); 3 of 3 are graded and kept: run again$"
        ):
            grade(course, progress=progress)
    else:
        rows = grade(course, progress=progress).values()
        assert sorted(g.status for g in rows) == ["error", "error", "graded"]
        assert all("locked by another process" in g.message for g in rows if g.status == "error")
    lock.close()
    assert all(g.reused for g in grade(course).values())
    assert_all_graded(course, "abc")


def test_a_gradebook_removed_in_the_middle(course, class_of, fake, impatient):  # noqa: F811
    class_of(dict.fromkeys("abc"))

    def progress(row, done, total):
        if done == 1:
            (course.root / "gradebook.db").unlink(missing_ok=True)

    with pytest.raises(
        GradebookGoneError, match=r"is no longer there; 3 of 3 are graded and kept: run again$"
    ):
        grade(course, progress=progress)
    assert all(g.reused for g in grade(course).values())
    assert_all_graded(course, "abc")


def test_no_thread_or_child_is_left_in_this_process(course, class_of):
    class_of({"a": None})
    threads, children = threading.active_count(), set(psutil.Process().children(recursive=True))
    grade(course, workers=2, feedback=True)
    until(lambda: threading.active_count() <= threads)
    assert not set(psutil.Process().children(recursive=True)) - children
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_all_assignments_of_a_run_share_one_pool(course, fake, monkeypatch):  # noqa: F811
    (course.root / "solutions" / "02_squares.py").write_text(SQUARES, encoding="utf-8")
    (course.root / "tiny_checks.py").write_text(CHECKS.replace('{"01_squares": CASES}[assignment]', "CASES"))
    monkeypatch.delitem(sys.modules, "tiny_checks", raising=False)
    made = []

    class Counted(Here):
        def __init__(self, isolation):
            made.append(self)
            super().__init__(isolation)

    monkeypatch.setattr(coursekit.grade, "Here", Counted)
    for name in (NAME, "02_squares"):
        nb = release_of(read_source(course.text_source(name)), course)
        hand_in(course.root, "a", answered(nb), name)
    result = CliRunner().invoke(app, ["grade", "--all", "--workers", "0", "--json", "--no-feedback"])
    assert result.exit_code == 0, result.output
    found = {f["assignment"]: f["submissions"][0]["points"] for f in json.loads(result.stdout)}
    assert found == {NAME: FULL, "02_squares": FULL}
    assert len(made) == 1


def test_progress_says_what_was_run(course, class_of, fake):  # noqa: F811
    class_of(dict.fromkeys("abc"))
    grade(course)
    class_of(dict.fromkeys("de"))
    hand_in(course.root, "refused", b"{")
    (course.root / "submitted" / "folder" / NAME).mkdir(parents=True)
    seen = []
    grade(course, progress=lambda row, done, total: seen.append((row.student, row.ran, done, total)))
    assert [(done, total) for _, _, done, total in seen] == [(n, 7) for n in range(1, 8)]
    assert {student for student, ran, _, _ in seen if ran} == set("de")


def test_the_rate_is_that_of_what_was_run():
    """290 results that were reused in no time would promise to run the others as fast."""
    now = [0.0]
    bar = Progress(get_time=lambda: now[0])
    bar.add_task("", total=300, ran=0)
    [task] = bar.tasks
    now[0] = 1.0
    bar.update(task.id, completed=290)
    assert _Rate().render(task).plain == ""
    now[0] = 60.0
    bar.update(task.id, completed=292, ran=2)
    assert _Rate().render(task).plain == "2/min 0:04:00"
