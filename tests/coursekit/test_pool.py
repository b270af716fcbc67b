"""Processes that die, hang or are closed; and how submissions are handed to a pool."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import CancelledError, Future

import psutil
import pytest

from coursekit.isolate.handle import StartError
from coursekit.pool import LostError, results_of
from coursekit.processes import Processes, TookTooLong, WorkerDied
from coursekit.worker import UnfitError

from .calls import fails, never_stops
from .runs import until


@pytest.fixture
def below():
    """Processes below this one that were not there before."""
    before = set(psutil.Process().children(recursive=True))
    return lambda: [p for p in psutil.Process().children(recursive=True) if p not in before]


def test_one_that_dies_takes_one_call_with_it(below):
    with Processes(1) as processes:
        first = processes.call(os.getpid, seconds=60).result()
        died = processes.call(os._exit, 3, seconds=60)
        after = processes.call(os.getpid, seconds=60)
        with pytest.raises(WorkerDied, match=r"exit 3"):
            died.result()
        assert after.result() not in (first, os.getpid())
        killed = processes.call(time.sleep, 600, seconds=60)
        until(killed.running)
        os.kill(after.result(), signal.SIGKILL)
        with pytest.raises(WorkerDied, match="killed by signal 9"):
            killed.result()
        # Also one that has nothing to do.
        idle = processes.call(os.getpid, seconds=60).result()
        os.kill(idle, signal.SIGKILL)
        # Its first thread may be gone before the others are: until then nobody can be told that it has ended.
        until(lambda: os.waitid(os.P_PID, idle, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert processes.call(os.getpid, seconds=60).result() != idle
    assert not below()


def test_one_that_hangs_is_ended_with_what_it_has_started(below):
    with Processes(1) as processes:
        processes.call(os.getpid, seconds=60).result()
        with pytest.raises(TookTooLong, match="no result after 1 s"):
            processes.call(never_stops, seconds=1).result()
        assert processes.call(abs, -1, seconds=60).result() == 1
        assert not [p for p in below() if "sleep" in p.cmdline()]
    assert not below()


def test_errors_come_back_as_they_are_or_in_words():
    with Processes(1) as processes:
        with pytest.raises(ZeroDivisionError):
            processes.call(divmod, 1, 0, seconds=60).result()
        with pytest.raises(RuntimeError, match="TwoArguments: 1"):
            processes.call(fails, seconds=60).result()
        with pytest.raises(Exception, match="pickle"):
            processes.call(lambda: 1, seconds=60).result()
        assert processes.call(abs, -1, seconds=60).result() == 1


def test_closing_ends_what_is_under_way_and_what_waits(below):
    processes = Processes(1)
    running, waiting = (processes.call(time.sleep, 600, seconds=900) for _ in range(2))
    until(running.running)
    began = time.monotonic()
    processes.close()
    assert time.monotonic() - began < 10
    for future in (running, waiting):
        with pytest.raises(CancelledError):
            future.result(timeout=0)
    assert not below()
    with pytest.raises(RuntimeError, match="closed"):
        processes.call(abs, 1, seconds=1)


def test_what_is_idle_for_long_ends_and_comes_again(below):
    with Processes(1, idle_seconds=0.5) as processes:
        first = processes.call(os.getpid, seconds=60).result()
        until(lambda: not psutil.pid_exists(first))
        assert processes.call(os.getpid, seconds=60).result() != first


def test_ctrl_c_does_not_reach_a_worker():
    with Processes(1) as processes:
        assert processes.call(os.getsid, 0, seconds=60).result() != os.getsid(0)


def test_a_number_of_processes_is_positive():
    with pytest.raises(ValueError, match="positive number of processes, got 0"):
        Processes(0)


class FakePool:
    """Answers each submission by `answer(data, attempt)`, later, from another thread."""

    def __init__(self, answer, size=2):
        self.answer, self.size = answer, size
        self.attempts, self.out, self.most = {}, 0, 0

    def submit(self, data, bundle):
        self.attempts[data] = self.attempts.get(data, 0) + 1
        self.out += 1
        self.most = max(self.most, self.out)
        future: Future = Future()
        answer = self.answer(data, self.attempts[data])

        def finish():
            self.out -= 1
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        threading.Timer(0.001, finish).start()
        return future

    def check(self):
        raise LostError("nobody is there")


def jobs(number, taken=None):
    for i in range(number):
        if taken is not None:
            taken.append(i)
        yield f"s{i}", str(i).encode()


def test_few_submissions_are_in_memory_at_a_time():
    pool, taken, done = FakePool(lambda data, attempt: data, size=2), [], 0
    for _ in results_of(pool, None, jobs(100, taken)):
        done += 1
        assert len(taken) - done <= 5
    assert done == 100
    assert 2 <= pool.most <= 5  # how many stand in line at once is a matter of timing


def test_what_died_with_its_worker_has_a_second_attempt_and_no_third():
    pool = FakePool(lambda data, attempt: WorkerDied("gone") if attempt == 1 or data == b"3" else data)
    found = dict(results_of(pool, None, jobs(5)))
    assert isinstance(found.pop("s3"), WorkerDied)
    assert found == {f"s{i}": str(i).encode() for i in (0, 1, 2, 4)}
    assert set(pool.attempts.values()) == {2}


def test_what_took_too_long_has_no_second_attempt():
    pool = FakePool(lambda data, attempt: TookTooLong("late") if data == b"0" else data)
    assert isinstance(dict(results_of(pool, None, jobs(2)))["s0"], TookTooLong)
    assert pool.attempts == {b"0": 1, b"1": 1}


def test_where_no_child_starts_the_run_ends():
    pool = FakePool(lambda data, attempt: StartError("no room"))
    with pytest.raises(LostError, match=r"^no process can be started for students' code: no room$"):
        list(results_of(pool, None, jobs(1000)))
    assert len(pool.attempts) < 10
    # One that fails now and then is another matter.
    pool = FakePool(lambda data, attempt: StartError("busy") if attempt == 1 and int(data) % 4 == 0 else data)
    assert len(dict(results_of(pool, None, jobs(20)))) == 20


def test_an_unfit_worker_ends_the_run():
    pool = FakePool(lambda data, attempt: UnfitError("other packages"))
    with pytest.raises(LostError, match=r"^other packages$"):
        list(results_of(pool, None, jobs(10)))


def test_a_pool_without_results_is_looked_at(monkeypatch):
    monkeypatch.setattr("coursekit.pool._LOOK", 0.05)
    pool = FakePool(lambda data, attempt: data)
    pool.submit = lambda data, bundle: Future()
    with pytest.raises(LostError, match="nobody is there"):
        list(results_of(pool, None, jobs(3)))
