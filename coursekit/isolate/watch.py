"""Watch a tree of processes from outside: memory, number, CPU time, wall clock. Linux's /proc; nothing elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coursekit.isolate.limits import Limits

__all__ = ["Sample", "Watchdog", "anonymous_bytes", "sample", "tree"]

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Sample:
    """A tree of processes at one moment."""

    memory: int = 0
    tasks: int = 0
    cpu_seconds: float = 0.0


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    found, todo = [], [pid]
    while todo:
        here = todo.pop()
        found.append(here)
        try:
            for task in os.listdir(f"/proc/{here}/task"):
                todo += map(int, Path(f"/proc/{here}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def anonymous_bytes(pid: int) -> int:
    """Resident memory of one process that no file on a disk backs; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:"))) * 1024


def sample(pids: list[int], shared: int = 0) -> Sample:
    """What these processes use; `shared` bytes of each are its parent's and are not counted."""
    memory = tasks = ticks = 0
    for pid in pids:
        memory += max(0, anonymous_bytes(pid) - shared)
        try:
            # The name in parentheses may hold anything, blanks and parentheses too.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        tasks += int(fields[17])
        ticks += int(fields[11]) + int(fields[12])
    return Sample(memory, tasks, ticks / _TICKS)


class Watchdog(threading.Thread):
    """Look at a tree every `interval` seconds and call `stop(reason)` when it is beyond its limits.

    Where a control group enforces memory and processes (`enforced`), only the clock is left to this thread. It is
    not exact: between two looks a child may use more.
    """

    def __init__(
        self,
        pid: int,
        limits: Limits,
        stop: Callable[[str], None],
        *,
        enforced: bool,
        shared: int = 0,
        interval: float = 0.1,
    ) -> None:
        super().__init__(name=f"watch-{pid}", daemon=True)
        self.pid, self.limits, self.stop_child = pid, limits, stop
        self.enforced, self.shared, self.interval = enforced, shared, interval
        self.peak = Sample()
        self._end = time.monotonic() + limits.run_seconds
        self._finished = threading.Event()

    def run(self) -> None:
        """Until `finish` is called or the child has been stopped."""
        while not self._finished.wait(self.interval):
            if time.monotonic() > self._end:
                self.stop_child(f"time limit: {self.limits.run_seconds:g} s for the run")
                return
            if self.enforced:
                continue
            now = self.look()
            if now.memory > self.limits.memory:
                self.stop_child("memory limit")
                return
            if now.tasks > self.limits.processes:
                self.stop_child("process limit")
                return

    def look(self) -> Sample:
        """The tree now; remembers the highest values."""
        now, peak = sample(tree(self.pid), self.shared), self.peak
        self.peak = Sample(*(max(a, b) for a, b in zip(vars(now).values(), vars(peak).values(), strict=True)))
        return now

    def finish(self) -> None:
        """End the thread."""
        self._finished.set()
        if self is not threading.current_thread() and self.is_alive():
            self.join()
