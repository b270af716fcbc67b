"""The child program: it holds a student's code and answers two requests, `run_cell` and `call`.

`python -m coursekit.isolate.child` speaks the protocol on its standard input and output, which it moves out of the
way first; a fork server calls `serve` in a process that it has forked. Everything up to `Session` is trusted code; from the
first cell on, whatever this process says is a student's word.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import signal
import sys
import time
from typing import Any

from coursekit.isolate.limits import Limits
from coursekit.isolate.protocol import Channel, Closed, DeadlineError, ProtocolError

__all__ = ["main", "serve", "take_over"]

# Far from the numbers that code uses or closes by mistake.
_FIRST_FD = 400


def take_over(read_fd: int, write_fd: int, *, max_payload: int = 1 << 20) -> Channel:
    """Move both ends to unusual numbers that no started program inherits, and point the standard streams to nothing."""
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD) for fd in (read_fd, write_fd)]
    for fd in {read_fd, write_fd} - {0, 1, 2}:
        os.close(fd)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    return Channel(*moved, max_payload=max_payload)


def main() -> None:
    """Serve on standard input and output until the other side closes them."""
    channel = take_over(0, 1)
    with contextlib.suppress(Closed, DeadlineError):
        channel.send({"kind": "hello", "pid": os.getpid()})
        start, _ = channel.receive(time.monotonic() + 60)
        try:
            if start["confine"]:
                from coursekit.isolate.confine import confine  # Linux only
                from coursekit.isolate.init import run_under_init

                confine(Limits(**start["limits"]), uid=start["uid"], count_processes=start["count_processes"])
                run_under_init(channel.close)
            else:
                _end_with_parent()
                Limits(**start["limits"]).apply(count_processes=False)
        except (OSError, RuntimeError, ValueError) as error:
            channel.send({"kind": "failed", "why": f"cannot confine the process: {error}"})
            os._exit(1)
        serve(channel, start)
    os._exit(0)


def serve(channel: Channel, start: dict[str, Any], *, forked: bool = False) -> None:
    """Answer requests until the channel is closed. `start` is the trusted side's first message."""
    from coursekit.isolate.shell import Session, reseed

    limits = Limits(**start["limits"])
    try:
        _settle(start["folder"], start["env"])
        for name in start["preload"]:
            importlib.import_module(name)
        checks = importlib.import_module(start["checks"]) if start["checks"] else None
        if forked:
            reseed()
        session = Session(limits.output_bytes)
    except Exception as error:  # the course's packages are broken: say so, rather than die
        channel.send({"kind": "failed", "why": f"{type(error).__name__}: {error}"[:2000]})
        return
    channel.max_payload = limits.message_bytes
    channel.send({"kind": "ready"})
    end = time.monotonic() + limits.run_seconds + 60
    while True:
        header, payload = channel.receive(end)
        answer = _Answerer(channel, session, checks, limits, header, end)
        try:
            reply, data = answer.run_cell(payload) if header["kind"] == "run_cell" else answer.call(payload)
            channel.send(reply, data, end)
        except (Closed, DeadlineError):
            raise
        except BaseException as error:  # SystemExit, a time limit, an answer too large, no memory left
            with contextlib.suppress(ProtocolError):
                channel.send({"kind": "failed", "n": header["n"], "why": _words(error)}, b"", end)


class _Answerer:
    """One request."""

    def __init__(
        self, channel: Channel, session: Any, checks: Any, limits: Limits, header: dict[str, Any], end: float
    ) -> None:
        self.channel, self.session, self.checks, self.limits = channel, session, checks, limits
        self.header, self.end = header, end

    def run_cell(self, payload: bytes) -> tuple[dict[str, Any], bytes]:
        outputs, count = self.session.run_cell(
            payload.decode(), self.header["id"], self.limits.request_seconds
        )
        return self._reply(count=count), json.dumps(outputs).encode()

    def call(self, payload: bytes) -> tuple[dict[str, Any], bytes]:
        from coursekit.isolate.shell import time_limit

        self.session.collector.begin()  # prints of a call are not shown, and must not pile up
        hook = getattr(self.checks, "answer_bytes", None)
        if hook is None:
            raise LookupError("the course names no module with answer_bytes as its checks")
        with time_limit(self.limits.request_seconds):
            answer = hook(self.session.namespace, payload, self._outside if self.header["outside"] else None)
        return self._reply(), answer

    def _outside(self, payload: bytes) -> bytes:
        self.channel.send({"kind": "outside", "n": self.header["n"]}, payload, self.end)
        header, answer = self.channel.receive(self.end)
        if "why" in header:
            raise RuntimeError(header["why"])
        return answer

    def _reply(self, **more: Any) -> dict[str, Any]:
        return {"kind": "done", "n": self.header["n"], **more}


def _settle(folder: str, env: dict[str, str]) -> None:
    """Home and work folder, as every child has them."""
    places = {"HOME": f"{folder}/home", "TMPDIR": folder}
    places |= {name: f"{folder}/home/.{name.lower()}" for name in ("IPYTHONDIR", "MPLCONFIGDIR")}
    for name, place in places.items():
        if name != "TMPDIR":
            os.makedirs(place, exist_ok=True)
    os.environ.update(places | env)
    work = f"{folder}/work"
    os.makedirs(work, exist_ok=True)
    os.chdir(work)


def _end_with_parent() -> None:
    """Be killed when the thread that has started this process ends. Where nothing confines, no namespace would do it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except BaseException:  # a student's own exception may raise in __str__
        return type(error).__name__


if __name__ == "__main__":
    sys.argv = ["notebook"]
    main()
