"""Play a notebook's steps in isolated children: what a cell kills is lost, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from nbformat.v4 import new_output

from coursekit.isolate.handle import CellRun, Child, ChildDied, Usage
from coursekit.plan import Step

__all__ = ["DIED", "MAX_DEATHS", "TIMEOUT", "Broken", "Clock", "OutOfTime", "Player"]

# Names of the errors that stand in for what a cell could not say itself.
TIMEOUT, DIED = "CellTimeout", "ProcessDied"
# Each one costs a new process and all cells before it again.
MAX_DEATHS = 8

Call = Callable[[bytes, Callable[[bytes], bytes] | None], bytes]


class OutOfTime(RuntimeError):
    """The notebook has used up its seconds."""


class Clock:
    """The seconds of one notebook, all its processes and verdicts together."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def check(self) -> None:
        """Raise OutOfTime when nothing is left."""
        if self.spent > self.seconds:
            raise OutOfTime(f"the notebook took more than {self.seconds:g} s")


class Broken(dict[int, str]):
    """Steps that have ended a process or run over their time, with the reason: no other process runs them again."""


class Player:
    """A child that has run the steps before a given one; another takes over when it dies.

    Args:
        start: starts a child.
        steps: of the notebook.
        broken: what not to run, shared with the other players of the same notebook, and added to.
        clock: of the notebook.
    """

    def __init__(
        self, start: Callable[[], Child], steps: Sequence[Step], broken: Broken, clock: Clock
    ) -> None:
        self._start, self._steps, self._broken, self._clock = start, steps, broken, clock
        self._child: Child | None = None
        self._next = 0  # the first step that this child has not run
        self._deaths = 0
        self._usages: list[Usage] = []

    @property
    def exhausted(self) -> bool:
        """Too many of its processes have died: it starts no more."""
        return self._deaths >= MAX_DEATHS

    @property
    def usage(self) -> Usage:
        """Most memory of any of its processes, CPU time of all."""
        usages = [*self._usages, *([self._child.usage] if self._child else [])]
        peak = max((u.peak_mb for u in usages), default=0.0)
        return Usage(peak, sum(u.cpu_seconds for u in usages))

    def run(self, number: int) -> CellRun:
        """Run step `number`, after those before it; when it ends the process, that is its output.

        Raises:
            OutOfTime: no time is left for it.
            ChildDied: too many processes have died.
            StartError: no process can be started.
        """
        child = self._at(number)
        try:
            run = child.run_cell(self._steps[number].source, self._steps[number].id)
        except ChildDied as error:
            self._bury(number, str(error))
            return _died(str(error))
        self._next = number + 1
        self._note_timeout(number, run)
        return run

    def caller(self, number: int) -> Call:
        """A way to call into a child that has run the steps before `number`; it fails when the child dies meanwhile.

        Raises:
            as `run`.
        """
        child = self._at(number)

        def call(payload: bytes, outside: Callable[[bytes], bytes] | None) -> bytes:
            self._clock.check()
            return child.call(payload, outside)

        return call

    def close(self) -> None:
        """End its process."""
        if self._child is not None:
            self._child.kill()
            self._usages.append(self._child.usage)
            self._child = None

    def _at(self, number: int) -> Child:
        """A living child that has run all needed steps before `number`."""
        while True:
            self._clock.check()
            if self._child is not None and self._child.status != "running":  # killed by a call
                self._deaths += 1
                self.close()
            if self.exhausted:
                raise ChildDied(f"{self._deaths} processes of this notebook have died")
            fresh = self._child is None
            child = self._child = self._child or self._start()
            if fresh:
                self._next = 0
            if self._replay(child, range(self._next, number)):
                self._next = max(self._next, number)
                return child

    def _replay(self, child: Child, numbers: Collection[int]) -> bool:
        """Run what later steps may need; False when the child has died of it."""
        for number in numbers:
            step = self._steps[number]
            # A test that defines nothing leaves nothing behind.
            if number in self._broken or not step.needed or (step.kind == "test" and not step.binds):
                continue
            self._clock.check()
            try:
                self._note_timeout(number, child.run_cell(step.source, step.id))
            except ChildDied as error:
                self._bury(number, str(error))
                return False
        return True

    def _bury(self, number: int, reason: str) -> None:
        self._broken[number] = reason
        self._deaths += 1
        self.close()

    def _note_timeout(self, number: int, run: CellRun) -> None:
        if any(o.output_type == "error" and o.ename == TIMEOUT for o in run.outputs):
            self._broken[number] = "time limit"


def _died(reason: str) -> CellRun:
    text = f"the Python process ended while this cell ran: {reason}"
    output = new_output("error", ename=DIED, evalue=text, traceback=[f"{DIED}: {text}"])
    return CellRun([output], 0, 0.0)
