"""A child that uses too much, or ends itself: it alone is lost, in time, and the reason is named."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coursekit.isolate import forked as forked_module
from coursekit.isolate import popen
from coursekit.isolate.cgroup import writable
from coursekit.isolate.handle import ChildDied
from coursekit.isolate.launch import Launcher
from coursekit.isolate.limits import Limits
from coursekit.isolate.watch import tree
from tests.coursekit.isolate.attacks import ENDLESS
from tests.coursekit.isolate.conftest import ISOLATING, QUICK, stdout, usable

SHORT = dataclasses.replace(QUICK, request_seconds=1.0, grace_seconds=0.5)
SMALL = dataclasses.replace(QUICK, memory=400 << 20)

ENDS = {
    "exits": ("import os\nos._exit(3)", "exit 3"),
    "kills itself": ("import os\nos.kill(os.getpid(), 9)", "killed by signal 9"),
    "crashes": ("import ctypes\nctypes.string_at(0)", "killed by signal 11"),
    "closes all descriptors": ("import os\nos.closerange(0, 1024)", "exit 0"),
    "writes garbage to all descriptors": (
        "import os\nfor fd in range(3, 1024):\n    try:\n        os.write(fd, b'\\xff' * 99)\n"
        "    except OSError:\n        pass",
        "protocol error: expected a header of at most 65536 bytes, got 4294967295",
    ),
}


@pytest.mark.parametrize(("source", "status"), ENDS.values(), ids=ENDS)
def test_how_it_ended_is_told(launcher: Launcher, source: str, status: str):
    with launcher.start(QUICK) as child:
        with pytest.raises(ChildDied, match=status):
            child.run_cell(source)
        assert child.status == status
        with pytest.raises(ChildDied, match=status):
            child.run_cell("1")
    assert child.status == status, "closing must not change the reason"


def test_a_long_cell_is_stopped_and_the_next_one_runs(launcher: Launcher):
    with launcher.start(SHORT) as child:
        child.run_cell("x = 1")
        run = child.run_cell(
            "print('begun')\nwhile True:\n    try:\n        pass\n    except Exception:\n        pass"
        )
        assert [o.get("ename", o.get("text")) for o in run.outputs] == ["begun\n", "CellTimeout"]
        assert 0.9 < run.seconds < 10
        assert stdout(child, "print(x)") == "1\n"


def test_a_cell_that_refuses_to_stop_is_killed(launcher: Launcher):
    with launcher.start(SHORT) as child:
        began = time.monotonic()
        with pytest.raises(ChildDied, match="time limit: 1 s for a cell or call"):
            child.run_cell(ENDLESS)
        assert time.monotonic() - began < 10


def test_the_whole_run_has_an_end(forked: Launcher):
    with (
        forked.start(dataclasses.replace(QUICK, run_seconds=1.0)) as child,
        pytest.raises(ChildDied, match="time limit: 1 s for the run"),
    ):
        child.run_cell(ENDLESS)


def test_cpu_time_has_an_end(forked: Launcher):
    with (
        forked.start(dataclasses.replace(QUICK, cpu_seconds=1)) as child,
        pytest.raises(ChildDied, match="CPU limit"),
    ):
        child.run_cell(ENDLESS)


def test_a_large_array_is_an_error_of_its_cell(launcher: Launcher):
    with launcher.start(QUICK) as child:
        (output,) = child.run_cell("import numpy as np\na = np.ones(1 << 28)").outputs
        assert output.ename.endswith("MemoryError")
        assert stdout(child, "print('alive')") == "alive\n"


# Memory that no rlimit counts: shared mappings.
MEMORY_BOMB = """
import mmap
held = [mmap.mmap(-1, 1 << 30)]
while True:
    for at in range(0, 1 << 30, 4096):
        held[-1][at] = 1
    held.append(mmap.mmap(-1, 1 << 30))
"""


def test_memory_beyond_the_limit_is_named(isolating: Launcher):
    if not writable():
        pytest.skip("no control group may be made here")
    with isolating.start(SMALL) as child:
        with pytest.raises(ChildDied, match="memory limit"):
            child.run_cell(MEMORY_BOMB)
        assert 200 < child.usage.peak_mb <= 401


FORK_BOMB = """
import os, time
for _ in range(10_000):
    try:
        if os.fork() == 0:
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.01)
    except OSError as error:
        print(type(error).__name__)
        break
"""


def test_a_fork_bomb_is_contained(isolating: Launcher):
    if not writable():
        pytest.skip("no control group may be made here")
    with isolating.start(QUICK) as child:
        assert stdout(child, FORK_BOMB) == "BlockingIOError\n"
        pids = child._group.pids()
        assert 10 < len(pids) <= QUICK.processes
    # What has been killed is gone for the group at once, and for /proc when its memory is.
    _eventually(lambda: not any(_alive(pid) for pid in pids))


def _eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    """Whether a process runs: not when it is gone, nor when only its parent has not yet noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def without_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where no control group may be made."""
    for module in (popen, forked_module):
        monkeypatch.setattr(module, "make_group", lambda limits: None)


@pytest.mark.parametrize("name", [*ISOLATING, "none"])
@pytest.mark.usefixtures("without_groups")
def test_the_watchdog_sees_memory(known: dict[str, Launcher], name: str):
    with usable(known, name).start(SMALL) as child:
        with pytest.raises(ChildDied, match="memory limit"):
            child.run_cell(MEMORY_BOMB)
        assert child.usage.peak_mb > 400
        assert child.usage.cpu_seconds > 0


@pytest.mark.parametrize("name", [*ISOLATING, "none"])
@pytest.mark.usefixtures("without_groups")
def test_the_watchdog_counts_processes(known: dict[str, Launcher], name: str):
    limits = dataclasses.replace(QUICK, processes=12)
    source = "import threading, time\nfor _ in range(40):\n    threading.Thread(target=time.sleep, args=(60,)).start()\n"
    with usable(known, name).start(limits) as child:
        try:
            outputs = child.run_cell(source + "time.sleep(5)").outputs
        except ChildDied:
            assert child.status == "process limit"
        else:  # the kernel was there first
            assert outputs[0].ename == "RuntimeError"
            assert "can't start new thread" in outputs[0].evalue


@pytest.mark.usefixtures("without_groups")
def test_without_groups_each_child_of_root_s_is_a_user_of_its_own(isolating: Launcher):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with isolating.start(QUICK) as first, isolating.start(QUICK) as second:
        users = {stdout(child, "import os\nprint(os.getuid())") for child in (first, second)}
    assert len(users) == 2
    assert "0\n" not in users


def test_three_hundred_megabytes_of_prints(launcher: Launcher):
    with launcher.start(dataclasses.replace(QUICK, output_bytes=100_000)) as child:
        run = child.run_cell("for _ in range(300):\n    print('x' * 1_000_000)\nraise ValueError('kept')")
        assert sum(len(str(o)) for o in run.outputs) < 110_000
        assert [o.output_type for o in run.outputs] == ["stream", "stream", "error"]
        assert run.outputs[1].text == "\n… more output was cut off\n"
        assert stdout(child, "print('alive')") == "alive\n"


def test_what_a_cell_leaves_running_ends_with_the_child(launcher: Launcher):
    mark = f"600.{os.getpid()}"
    source = (
        "import subprocess, threading, time\n"
        "def chatter():\n    while True:\n        print('chatter')\n        time.sleep(0.01)\n"
        "threading.Thread(target=chatter).start()\n"
        f"subprocess.Popen(['sleep', '{mark}'], start_new_session=True)\n"
        "open('left-open', 'w').write('x');"
    )
    with launcher.start(QUICK) as child:
        assert "error" not in [o.output_type for o in child.run_cell(source).outputs]
        assert child.run_cell("1 + 1").outputs[-1].data["text/plain"] == "2"
        _eventually(lambda: _running(mark))
    _eventually(lambda: not _running(mark))


def _running(mark: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes().split(b"\0"):
                return True
        except OSError:
            continue
    return False


def test_usage_of_a_forked_child_is_its_own(forked: Launcher):
    with forked.start(QUICK) as child:
        before = child.usage
        child.run_cell("held = bytearray(100 << 20)\nsum(range(3_000_000))")
        after = child.usage
    assert before.peak_mb < 60
    assert 95 < after.peak_mb - before.peak_mb < 140
    assert after.cpu_seconds > before.cpu_seconds
    assert child.usage.peak_mb >= after.peak_mb


def test_a_killed_fork_server_is_started_again(forked: Launcher):
    with forked.start(QUICK) as child:
        os.kill(tree(forked._server._popen.pid)[1], signal.SIGKILL)
        with pytest.raises(ChildDied):
            child.run_cell(ENDLESS)
    with forked.start(QUICK) as child:
        assert stdout(child, "print('again')") == "again\n"


def test_descriptions_say_who_limits():
    text = Limits(memory=100 << 20, processes=7).describe(cgroup=False)
    assert "100 MB of data per process (rlimit) and in all (watched, not exact)" in text
    assert "7 processes and threads" in text


def test_limits_must_be_positive():
    with pytest.raises(ValueError, match="positive number for memory, got 0"):
        Limits(memory=0)
