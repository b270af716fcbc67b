"""The trusted side's hold on one child: requests with deadlines, and why it died."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from nbformat import NotebookNode
from nbformat.v4 import new_output

from coursekit.isolate.cgroup import Group
from coursekit.isolate.limits import Limits
from coursekit.isolate.protocol import Channel, Closed, DeadlineError, ProtocolError
from coursekit.isolate.received import OutputsError, checked_outputs, is_count
from coursekit.isolate.watch import Watchdog, tree

__all__ = ["CallFailed", "CellRun", "Child", "ChildDied", "Process", "StartError", "Usage"]

Outside = Callable[[bytes], bytes]
MAX_OUTSIDE_CALLS = 100_000
# What JSON may need for a character of a stream and of an error behind it, each of them as long as a cell's outputs may be.
_JSON_BYTES = 40


class ChildDied(RuntimeError):
    """The child is gone; the message is its `status`. Go on in a fresh one."""


class CallFailed(RuntimeError):
    """A call gave no answer, and the child lives: it took too long, or its answer was too large."""


class StartError(RuntimeError):
    """A child could not be started; the message says why."""


@dataclass(frozen=True)
class CellRun:
    """What a cell has shown, its number and how long it took in seconds."""

    outputs: list[NotebookNode]
    execution_count: int
    seconds: float


@dataclass(frozen=True)
class Usage:
    """What a child and all its processes have used.

    `peak_mb` is the most memory: of a forked child what it does not share with its parent. Without a control group both are
    sampled, and a short peak can be missed.
    """

    peak_mb: float
    cpu_seconds: float


class Process(Protocol):
    """A started process as its launcher holds it."""

    pid: int

    def kill(self) -> None:
        """End it and all that it has started, now."""

    def wait(self, seconds: float) -> int | None:
        """Its exit code, negative for a signal; None while it runs after `seconds`."""

    def words(self) -> str:
        """What it has said on stderr before the protocol began."""

    def close(self) -> None:
        """Release what belongs to it on this side."""


class Child:
    """A process with a notebook's namespace. Made by a launcher's `start`; also a context manager that kills it.

    Not for several threads at once.
    """

    def __init__(
        self,
        process: Process,
        channel: Channel,
        limits: Limits,
        start: dict[str, Any],
        *,
        group: Group | None,
        shared: int = 0,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait for the process, put it into its control group, tell it what it is and wait until it is ready.

        Raises:
            StartError: it does not get ready.
        """
        self.limits = limits
        self._process, self._channel, self._group = process, channel, group
        self._reason, self._lock = "", threading.Lock()
        self._status: str | None = None
        self._usage: Usage | None = None
        self._number = 0
        self._watchdog = Watchdog(process.pid, limits, self._stop, enforced=group is not None, shared=shared)
        deadline = time.monotonic() + limits.start_seconds
        why = ""
        try:
            self._expect("hello", deadline)
            for pid in tree(process.pid) if group else ():
                group.add(pid)
            begin()
            channel.send({"kind": "start", "limits": limits.to_json(), **start}, b"", deadline)
            self._expect("ready", deadline)
        except (Closed, DeadlineError, ProtocolError, OSError) as error:
            why = str(error)
        if why:
            words = self._process.words()
            self._finish("did not start")
            raise StartError("; ".join(filter(None, (why, words))))
        channel.max_payload, channel.max_total = limits.message_bytes, limits.run_bytes
        self._watchdog.start()

    def run_cell(self, source: str, cell_id: str | None = None) -> CellRun:
        """Run one cell; an error in it is among its outputs.

        Raises:
            ChildDied: the cell, or something it left running, has ended the process.
        """
        began = time.monotonic()
        # Half of a surrogate pair is no text that a process could be sent.
        header, payload = self._ask(
            {"kind": "run_cell", "id": cell_id}, source.encode("utf-8", "replace"), None
        )
        seconds = time.monotonic() - began
        if header["kind"] == "failed":
            name, _, text = header["why"].partition(": ")
            return CellRun([_error(name, text)], 0, seconds)
        count = header.get("count")
        try:
            if not is_count(count):
                raise OutputsError("expected a number of the cell")
            if len(payload) > _JSON_BYTES * self.limits.output_bytes:
                raise OutputsError(f"expected outputs of at most {self.limits.output_bytes} characters")
            return CellRun(checked_outputs(payload), count, seconds)
        except OutputsError as error:
            self._fail(f"protocol error: {error}")

    def call(self, payload: bytes, outside: Outside | None = None) -> bytes:
        """Hand bytes to the course's `answer_bytes` beside the student's names; its answer, unchecked.

        Args:
            payload: the call, in the course's own form.
            outside: answers what the student's code asks back while the call lasts.

        Raises:
            CallFailed: no answer in time, or none that can be sent; the child lives.
            ChildDied: the process is gone.
        """
        header, answer = self._ask({"kind": "call", "outside": outside is not None}, payload, outside)
        if header["kind"] == "failed":
            raise CallFailed(header["why"])
        return answer

    def kill(self) -> None:
        """End the child with everything it has started; twice does no harm."""
        self._finish("killed")

    @property
    def status(self) -> str:
        """`running`, or why it ended: `memory limit`, `time limit`, `exit 1`, `killed by signal 9`, …"""
        return self._status or "running"

    @property
    def usage(self) -> Usage:
        """Memory and CPU time until now, or until it ended."""
        if self._usage is not None:
            return self._usage
        if self._group is None:
            self._watchdog.look()
        peak = self._watchdog.peak
        memory, cpu = peak.memory, peak.cpu_seconds
        if self._group is not None:
            memory, cpu = self._group.peak_bytes or memory, self._group.cpu_seconds or cpu
        return Usage(memory / (1 << 20), cpu)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def _expect(self, kind: str, deadline: float) -> None:
        header, _ = self._channel.receive(deadline)
        if header.get("kind") != kind:
            raise ProtocolError(str(header.get("why") or f"expected {kind!r}, got {header!r:.100}"))

    def _ask(
        self, header: dict[str, Any], payload: bytes, outside: Outside | None
    ) -> tuple[dict[str, Any], bytes]:
        if self._status is not None:
            raise ChildDied(self._status)
        self._number += 1
        deadline = time.monotonic() + self.limits.request_seconds + self.limits.grace_seconds
        try:
            self._channel.send({**header, "n": self._number}, payload, deadline)
            for _ in range(MAX_OUTSIDE_CALLS):
                reply, data = self._channel.receive(deadline)
                kind = reply.get("kind")
                if reply.get("n") != self._number:
                    raise ProtocolError("expected the answer to the last request")
                if kind == "done" or (kind == "failed" and isinstance(reply.get("why"), str)):
                    return reply, data
                if kind != "outside" or outside is None:
                    raise ProtocolError(f"expected an answer, got {kind!r:.50}")
                self._channel.send(*_outside_answer(outside, data), deadline)
            raise ProtocolError(f"expected at most {MAX_OUTSIDE_CALLS} calls back")
        except DeadlineError:
            self._fail(f"time limit: {self.limits.request_seconds:g} s for a cell or call")
        except ProtocolError as error:
            self._fail(f"protocol error: {error}")
        except Closed:
            self._fail("")

    def _fail(self, reason: str) -> Any:
        self._finish(reason)
        raise ChildDied(self.status)

    def _stop(self, reason: str) -> None:
        """From the watchdog's thread: kill; whoever waits for the child notices."""
        with self._lock:
            if not self._reason and self._status is None:
                self._reason = reason
                self._process.kill()

    def _finish(self, reason: str) -> None:
        """Kill what is left, say why it ended (the process's own end when there is no other reason), clean up."""
        if self._status is not None:
            return
        # A process that has just ended by itself closes its channel before its end can be seen.
        code = self._process.wait(1.0) if not reason else None
        with self._lock:
            reason = reason or self._reason
            # Otherwise the kernel or the code itself ended it.
            self._reason = self._reason or reason or "ended"
        if self._group is not None and self._group.hit_memory_limit and reason != "killed":
            reason = "memory limit"
        if not reason:
            reason = "closed its connection" if code is None else _exit_words(code)
        self._watchdog.look()
        usage = self.usage
        self._process.kill()
        self._process.wait(5.0)
        self._watchdog.finish()
        if self._group is not None:
            usage = self.usage
            self._group.kill(5.0)  # what has escaped the tree
            self._group.remove()
        self._usage, self._status = usage, reason
        self._channel.close()
        self._process.close()


def _outside_answer(outside: Outside, payload: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        return {"kind": "outside"}, outside(payload)
    except Exception as error:  # the student's arguments may be anything
        return {"kind": "outside", "why": f"{type(error).__name__}: {error}"[:2000]}, b""


def _exit_words(code: int) -> str:
    # A shell's convention, which bubblewrap and docker follow: 128 + signal.
    number = -code if code < 0 else code - 128
    if number == getattr(signal, "SIGXCPU", 24):
        return "CPU limit"
    return f"killed by signal {number}" if 0 < number < 65 else f"exit {code}"


def _error(name: str, text: str) -> NotebookNode:
    return new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])
