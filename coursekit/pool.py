"""Where submissions are graded: in this process, or in others on this machine (`cluster` has those on other machines).

All of them take bytes and give futures, and none of them has a hand on the gradebook.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol, TypeVar

from coursekit.errors import CourseError
from coursekit.grading import Bundle
from coursekit.isolate.handle import StartError
from coursekit.processes import Processes, WorkerDied
from coursekit.worker import UnfitError, grade_here, grade_task, warm_up

__all__ = ["Here", "Local", "LostError", "Pool", "results_of"]

Name = TypeVar("Name")
# Once more for what has died with its worker: the worker may have been killed for another's memory.
_ATTEMPTS = 2
# So many failures in a row to start a process for students' code, and no success: the next would fail, too.
_FAILED_STARTS = 3
# Beyond the notebook's own seconds: starting, judging the last cell, and a machine under load.
_MARGIN = 120.0
# Between two looks at a pool that gives no results, seconds.
_LOOK = 2.0


class LostError(CourseError):
    """Nobody is left to grade; what has been graded is kept."""


class Pool(Protocol):
    """Takes submissions, gives futures of results as plain data; a context manager that leaves no process behind."""

    @property
    def size(self) -> int:
        """How many submissions it grades at the same time."""

    def submit(self, data: bytes, bundle: Bundle) -> Future:
        """Grade `data`; the future raises WorkerDied or TookTooLong when its worker does not finish."""

    def check(self) -> None:
        """Called while no result comes; raises LostError when none will."""

    def __enter__(self) -> Pool: ...

    def __exit__(self, *exc: object) -> None: ...


class Here:
    """This process, one submission after the other: for tests and for a debugger."""

    size = 1

    def __init__(self, isolation: str) -> None:
        self._isolation = isolation

    def submit(self, data: bytes, bundle: Bundle) -> Future:
        future: Future = Future()
        try:
            future.set_result(grade_here(data, bundle, self._isolation))
        except Exception as error:
            future.set_exception(error)
        return future

    def check(self) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


class Local:
    """`size` processes on this machine, which get ready for submissions of `first`."""

    def __init__(
        self, isolation: str, size: int, first: Bundle, *, idle_seconds: float | None = None
    ) -> None:
        self.size, self._isolation = size, isolation
        self._processes = Processes(size, warm_up, (first, isolation), idle_seconds=idle_seconds)

    def submit(self, data: bytes, bundle: Bundle) -> Future:
        seconds = bundle.limits.run_seconds + bundle.limits.start_seconds + _MARGIN
        return self._processes.call(grade_task, data, bundle, self._isolation, seconds=seconds)

    def check(self) -> None:
        pass  # each call ends by itself

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *exc: object) -> None:
        self._processes.close()


def results_of(pool: Pool, bundle: Bundle, jobs: Iterable[tuple[Name, bytes]]) -> Iterator[tuple[Name, Any]]:
    """Send `jobs` to `pool`, a few at a time, and yield each result, or the exception in its place, as it comes.

    Raises:
        LostError: the pool can grade no more.
    """
    waiting = iter(jobs)
    running: dict[Future, tuple[Name, bytes, int]] = {}
    more, failed_starts = True, 0
    while more or running:
        # Enough that no worker waits, not so many that all submissions are in memory.
        while more and len(running) < 2 * pool.size + 1:
            job = next(waiting, None)
            more = job is not None
            if job is not None:
                running[pool.submit(job[1], bundle)] = (*job, 1)
        finished = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED).done
        if running and not finished:
            pool.check()
        for future in finished:
            name, data, attempt = running.pop(future)
            error = future.exception()
            if isinstance(error, (LostError, UnfitError)):
                raise LostError(str(error)) from None
            failed_starts = failed_starts + 1 if isinstance(error, StartError) else 0
            if failed_starts == _FAILED_STARTS:
                raise LostError(f"no process can be started for students' code: {error}") from None
            if isinstance(error, (WorkerDied, StartError)) and attempt < _ATTEMPTS:
                running[pool.submit(data, bundle)] = (name, data, attempt + 1)
            else:
                yield name, error if error is not None else future.result()
