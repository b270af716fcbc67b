"""The warm parent: imports once, then forks a child into its own namespaces for each request. Linux only.

It runs in bubblewrap itself and sees no more than its children will. It never runs a student's code, computes nothing
and has one thread, for a fork copies one thread only: a pool that waits for the others would hang.

The control socket carries one byte per request and three descriptors: where the child reads, where it writes, and the
socket on which its keeper reports.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
from typing import NoReturn

from coursekit.isolate.child import serve, take_over
from coursekit.isolate.confine import confine, enter_namespaces, mount_private
from coursekit.isolate.init import run_under_init
from coursekit.isolate.limits import Limits
from coursekit.isolate.protocol import Channel, Closed, DeadlineError
from coursekit.isolate.shell import rehearse

__all__ = ["main"]


def main(control_fd: int, preload: list[str]) -> None:
    """Serve until the control socket is closed."""
    control = socket.socket(fileno=control_fd)
    for name in preload:
        importlib.import_module(name)
    rehearse()  # what a child needs beside the course's packages costs each child nothing
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise SystemExit(f"the imports have started {threads - 1} threads; a fork would lose them")
    gc.collect()
    gc.freeze()  # else the first collection in each child would copy every page
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are reaped without being waited for
    control.send(b"ready")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _keep(*descriptors)
        for fd in descriptors:
            os.close(fd)


def _keep(read_fd: int, write_fd: int, life_fd: int) -> NoReturn:
    """The keeper: says who it is, forks the first process of the new namespaces, reports its end."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        life = socket.socket(fileno=life_fd)
        channel = take_over(read_fd, write_fd)
        life.send(b"keeper")
        if life.recv(16) != b"go":
            os._exit(1)
        try:
            enter_namespaces()
            init = os.fork()
        except OSError as error:
            _report(channel, error)
            os._exit(1)
        if init == 0:
            _init(channel, life)
        channel.close()
        _, status = os.waitpid(init, 0)
        life.send(f"exit {os.waitstatus_to_exitcode(status)}".encode())
    finally:
        os._exit(1)  # never back into the server's loop


def _init(channel: Channel, life: socket.socket) -> NoReturn:
    """First process of the pid namespace: prepares it, forks the child and stays as its init."""
    try:
        life.send(b"init")
        life.close()
        channel.send({"kind": "hello"})
        start, _ = channel.receive()
        limits = Limits(**start["limits"])
        mount_private(limits.tmp_bytes)
        confine(limits, uid=start["uid"], count_processes=start["count_processes"])
        run_under_init(channel.close)
        sys.argv = ["notebook"]
        serve(channel, start, forked=True)
        os._exit(0)
    except (Closed, DeadlineError):
        os._exit(0)
    except (OSError, RuntimeError, ValueError) as error:
        _report(channel, error)
    finally:
        os._exit(1)


def _report(channel: Channel, error: BaseException) -> None:
    with contextlib.suppress(Closed, DeadlineError):
        channel.send({"kind": "failed", "why": f"cannot isolate the process: {error}"[:2000]})


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
