"""New processes that call functions, each in turn: one that dies or hangs takes one call with it and is replaced.

Each has a pipe of its own to this process, so that one killed in the middle of a message disturbs no other.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple, NoReturn

import coursekit.quick_imports  # noqa: F401 - before what imports jsonschema
from coursekit.isolate.watch import tree

__all__ = ["Processes", "TookTooLong", "WorkerDied", "main"]

# A process finds its packages where this one does.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from coursekit.processes import main; main()"
)
# To end the student's processes and take away their control groups and files.
_LAST_SECONDS = 5.0


class WorkerDied(RuntimeError):
    """The process that was working on a call has ended; nothing says that the call is to blame."""


class TookTooLong(RuntimeError):
    """A call has used up its seconds; its process was ended."""


class _Call(NamedTuple):
    future: Future
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    seconds: float


class Processes:
    """At most `size` processes, started when they are needed; a context manager that leaves none behind.

    They end with this process, also when it is killed. They are in sessions of their own, where Ctrl-C does not reach them.

    Args:
        size: how many.
        begin, about: called as `begin(*about)` in each new one; importable, as all functions here must be.
        idle_seconds: one that has had nothing to do for so long ends, until there is something again; None: none ends.

    >>> with Processes(1) as processes:
    ...     processes.call(abs, -3, seconds=60).result()
    3
    """

    def __init__(
        self,
        size: int,
        begin: Callable[..., None] | None = None,
        about: tuple[Any, ...] = (),
        *,
        idle_seconds: float | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"expected a positive number of processes, got {size}")
        self.size, self._idle_seconds = size, idle_seconds
        self._start = lambda: _Process(begin, about)
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float) -> Future:
        """`function(*arguments)` in one of the processes, as soon as one is free.

        The future raises what the function raises; WorkerDied when its process ends; TookTooLong when, with the start of the
        process, it takes more than `seconds`; CancelledError when all is closed before it begins.
        """
        if self._closing.is_set():
            raise RuntimeError("these processes have been closed")
        call = _Call(Future(), function, arguments, seconds)
        self._calls.put(call)
        return call.future

    def close(self) -> None:
        """End all processes, whatever they are doing, with all that they have started."""
        self._closing.set()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _serve(self) -> None:
        """In a thread for each process: hand it calls, wait for its answers."""
        process: _Process | None = None
        try:
            while True:
                try:
                    call = self._calls.get(timeout=self._idle_seconds)
                except queue.Empty:
                    if process is not None:
                        process.end()
                    process = None
                    continue
                if call is None:
                    return
                if self._closing.is_set() or not call.future.set_running_or_notify_cancel():
                    call.future.cancel()
                    continue
                try:
                    if process is None or not process.alive:
                        process = self._start()
                    call.future.set_result(process.answer(call, self._closing))
                except BaseException as error:
                    call.future.set_exception(error)
        finally:
            if process is not None:
                process.end()


class _Process:
    """This side of one process. For one thread at a time."""

    def __init__(self, begin: Callable[..., None] | None, about: tuple[Any, ...]) -> None:
        # Not multiprocessing's: its processes run the main module again, and are in this one's session.
        self._pipe, theirs = Pipe()
        try:
            with theirs:
                self._popen = subprocess.Popen(
                    [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                )
            if begin is not None:
                self._pipe.send((begin, about, False))
        except OSError as error:
            self._pipe.close()
            raise WorkerDied(f"no process could be started: {error.strerror}") from None

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._popen.poll() is None

    def answer(self, call: _Call, closing: threading.Event) -> Any:
        """What it answers, or raises."""
        end = time.monotonic() + call.seconds
        try:
            self._pipe.send((call.function, call.arguments, True))
            while not self._pipe.poll(0.2):  # its end is an end of file
                if closing.is_set():
                    self.end()
                    raise CancelledError
                if time.monotonic() > end:
                    self.end()
                    raise TookTooLong(f"no result after {call.seconds:g} s")
            good, answer = self._pipe.recv()
        except (EOFError, OSError):
            self.end()
            raise WorkerDied(f"the process that worked on it died ({self._how()})") from None
        if good:
            return answer
        raise answer

    def end(self) -> None:
        """End it with all that it has started: it ends when the pipe is closed, or is made to."""
        self._pipe.close()
        try:
            self._popen.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in tree(self._popen.pid):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self._popen.wait()

    def _how(self) -> str:
        code = self._popen.returncode
        return f"killed by signal {-code}" if code is not None and code < 0 else f"exit {code}"


def main() -> None:
    """In the new process: answer until the pipe is closed."""
    pipe = Connection(int(sys.argv[1]))
    os.set_inheritable(pipe.fileno(), False)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_end_with_pipe, args=(pipe.fileno(),), daemon=True).start()
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is leaving
            return
        wanted = True
        try:
            function, arguments, wanted = pickle.loads(message)
            answer = True, function(*arguments)
        except Exception as error:
            answer = False, _portable(error)
        if wanted:
            with contextlib.suppress(OSError):  # nobody waits for it any more
                pipe.send(answer)


def _leave(number: int, frame: Any) -> NoReturn:
    # What is under way cleans up behind itself.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _end_with_pipe(fd: int) -> None:
    """When the other side is closed, or has died, end whatever is under way."""
    poll = select.poll()
    poll.register(fd, 0)  # tells of nothing but that
    poll.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LAST_SECONDS)
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The exception, or its words when it does not survive the way to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
