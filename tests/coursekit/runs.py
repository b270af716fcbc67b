"""Whole runs of the command line in processes of their own, to be killed, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Run", "find", "until"]


def until(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What `condition` gives, as soon as it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"it has not happened within {seconds:g} s"
        time.sleep(0.02)
    return found


def find(processes: Iterable[psutil.Process], word: str) -> psutil.Process | None:
    """The first with this word in its command line."""
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has just ended
            if word in " ".join(process.cmdline()):
                return process
    return None


class Run:
    """`coursekit` in its own session, as a terminal would start it. A context manager that kills what is left.

    `seen` are all processes below it that were there at one of the looks.
    """

    def __init__(self, root: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "coursekit.cli", *arguments],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.seen: set[psutil.Process] = set()

    def look(self) -> list[psutil.Process]:
        """The processes below it now."""
        try:
            now = psutil.Process(self.popen.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            now = []
        self.seen |= set(now)
        return now

    def find(self, word: str) -> psutil.Process | None:
        """A process below it with this word in its command line."""
        return find(self.look(), word)

    def worker(self) -> psutil.Process:
        """A process of its pool, as soon as there is one."""
        return until(lambda: self.find("coursekit.processes"))

    def child(self) -> psutil.Process:
        """A process with a student's code, as soon as there is one."""
        return until(lambda: self.find("coursekit.isolate.child"))

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the whole group."""
        self.look()
        os.killpg(self.popen.pid, signal.SIGINT)

    def finish(self, seconds: float = 90.0) -> tuple[int, str, str]:
        """Exit code, output and errors; looks on until then."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            try:
                out, err = self.popen.communicate(timeout=0.1)
                return self.popen.returncode, out, err
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError(f"it has not ended within {seconds:g} s")

    def assert_nothing_is_left(self, seconds: float = 10.0) -> None:
        """All that was ever seen below it is gone."""
        assert self.seen
        left = psutil.wait_procs(self.seen, timeout=seconds)[1]
        assert not left, left

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.look()
        for process in (*self.seen, self.popen):
            try:
                process.kill()
            except (psutil.Error, OSError):
                continue
        self.popen.communicate()
