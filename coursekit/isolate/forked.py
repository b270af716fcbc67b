"""Children forked from a warm parent (`forkserver`), each into its own namespaces. Linux only."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping

from coursekit.isolate.bubblewrap import bwrap_command, child_start, find
from coursekit.isolate.bwrap import Program
from coursekit.isolate.cgroup import make_group
from coursekit.isolate.handle import Child, StartError
from coursekit.isolate.limits import Limits
from coursekit.isolate.popen import clean_environment, counted
from coursekit.isolate.protocol import Channel, Closed, DeadlineError, ProtocolError
from coursekit.isolate.setup import Places, Setup
from coursekit.isolate.watch import anonymous_bytes, tree

__all__ = ["Forked"]

_SERVER_TMP = 64 << 20
_START_SECONDS = 120.0
_SCM_CREDENTIALS = 2
# What the server does for each child; a policy may allow bubblewrap itself to and not what runs in it.
_NAMESPACES = (
    sys.executable,
    "-c",
    "from coursekit.isolate.confine import enter_namespaces as enter; enter()",
)
# The server makes namespaces and mounts; an ordinary user's children have a user namespace for that.
_CAPABILITIES = ("CAP_SYS_ADMIN",)


class Forked:
    """Start children from one warm parent, which is started with the first of them and again when it has died.

    May be used by several threads. `close` ends the parent; so does the end of this process.
    """

    name = "forked"
    isolates = True

    def __init__(self, setup: Setup | None = None) -> None:
        self.setup = setup or Setup()
        self._server: _Server | None = None
        self._lock = threading.Lock()

    def available(self) -> str | None:
        """Why it cannot be used here, or None."""
        if not hasattr(os, "pidfd_open"):
            return "needs pidfd_open (Linux 5.3)"
        return _find()[1] or None

    def describe(self) -> str:
        """Its name, and which bubblewrap it takes."""
        return f"{self.name}, by {_find()[0]}"

    def start(self, limits: Limits | None = None, env: Mapping[str, str] | None = None) -> Child:
        """A child that is ready for its first cell.

        Raises:
            StartError: it, or the parent, does not get ready.
        """
        limits = limits or Limits()
        for last in (False, True):
            server = self._running_server()
            try:
                return server.fork(limits, child_start(self.setup, env))
            except BrokenPipeError:  # it has died since: once more with a new one
                self._forget(server)
                if last:
                    raise StartError(f"the fork server has died: {server.words()}") from None
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the parent; its children end with it."""
        with self._lock:
            if self._server is not None:
                self._server.close()
            self._server = None

    def _running_server(self) -> _Server:
        with self._lock:
            if self._server is None:
                self._server = _Server(self.setup)
            return self._server

    def _forget(self, server: _Server) -> None:
        with self._lock:
            if self._server is server:
                server.close()
                self._server = None


def _find() -> tuple[Program | None, str]:
    """The bubblewrap in which a process can make namespaces of its own; or None and why there is none."""
    return find(_NAMESPACES, Places.of({"coursekit"}), _CAPABILITIES)


class _Server:
    """A running fork server."""

    def __init__(self, setup: Setup) -> None:
        places, root = setup.places(), os.geteuid() == 0
        program, problem = _find()
        if program is None:
            raise StartError(problem)
        command = bwrap_command(
            program,
            places,
            tmp_bytes=_SERVER_TMP,
            root=root,
            capabilities=_CAPABILITIES if root else (),
            env=clean_environment(places.search_path),
            # The thread that starts it may end before this process does: it watches its socket instead.
            die_with_parent=False,
        )
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        imports = [*setup.preload, *([setup.checks] if setup.checks else [])]
        module = [sys.executable, "-m", "coursekit.isolate.forkserver", str(theirs.fileno()), *imports]
        self._popen = subprocess.Popen(
            [*command, *module],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=[theirs.fileno()],
            env={"PATH": os.environ.get("PATH", os.defpath)},
            start_new_session=True,
        )
        theirs.close()
        self._control.settimeout(_START_SECONDS)
        try:
            ready = self._control.recv(16)
        except OSError:
            ready = b""
        if ready != b"ready":
            words = self.words()
            self.close()
            raise StartError(f"the fork server does not start: {words[-500:] or 'no reason given'}")
        self._lock = threading.Lock()

    def words(self) -> str:
        """What it has said on stderr."""
        self._stderr.seek(0)
        return self._stderr.read(4000).decode(errors="replace").strip()

    def fork(self, limits: Limits, start: dict) -> Child:
        """A child of the server's.

        Raises:
            BrokenPipeError: the server is gone.
            StartError: the child does not get ready.
        """
        to_child, from_child = os.pipe(), os.pipe()
        life, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The kernel tells the pid of who sends, as this process numbers it.
        life.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        life.settimeout(limits.start_seconds)
        channel = Channel(from_child[0], to_child[1])
        try:
            with self._lock:
                socket.send_fds(self._control, [b"f"], [to_child[0], from_child[1], theirs.fileno()])
        except OSError as error:
            channel.close()
            life.close()
            raise BrokenPipeError(str(error)) from None
        finally:
            os.close(to_child[0])
            os.close(from_child[1])
            theirs.close()
        group = make_group(limits)
        try:
            keeper = _sender(life, b"keeper")
            if group is not None:
                group.add(keeper)
            shared = anonymous_bytes(keeper)
            life.send(b"go")
            process = _ForkedProcess(_sender(life, b"init"), life)
        except (OSError, StartError) as error:
            why = _last_words(channel)
            channel.close()
            life.close()
            if group is not None:
                group.remove()
            if why:
                raise StartError(why) from None
            # No keeper at all: the server died with the request in its hands.
            raise BrokenPipeError(str(error)) from None
        return Child(process, channel, limits, counted(start, group), group=group, shared=shared)

    def close(self) -> None:
        """End it, and with its pid namespace all that it has forked."""
        self._control.close()
        for pid in tree(self._popen.pid):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        self._popen.wait()
        self._stderr.close()


def _sender(life: socket.socket, expected: bytes) -> int:
    """The pid of the process that sends the next message, which must be `expected`."""
    message, ancillary, _, _ = life.recvmsg(16, socket.CMSG_SPACE(12))
    for level, kind, data in ancillary:
        if message == expected and (level, kind) == (socket.SOL_SOCKET, _SCM_CREDENTIALS):
            return struct.unpack("3i", data[:12])[0]
    raise StartError(f"expected {expected!r} of the fork server, got {message!r}")


def _last_words(channel: Channel) -> str:
    """What a keeper that could not make the namespaces has said about it."""
    try:
        header, _ = channel.receive(time.monotonic() + 1.0)
    except (Closed, DeadlineError, ProtocolError):
        return ""
    return str(header.get("why", ""))


class _ForkedProcess:
    """A `Process`: the first one of a pid namespace, which takes all others with it."""

    def __init__(self, pid: int, life: socket.socket) -> None:
        self.pid, self._life = pid, life
        # Unlike a pid, it cannot come to mean another process.
        self._pidfd = os.pidfd_open(pid)
        self._code: int | None = None

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def wait(self, seconds: float) -> int | None:
        if self._code is not None:
            return self._code
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._life, select.POLLIN)
        if poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            message = self._life.recv(16)  # the keeper's: no student's process has this socket
            self._code = int(message.split()[1]) if message.startswith(b"exit ") else -signal.SIGKILL
        return self._code

    def words(self) -> str:
        return ""

    def close(self) -> None:
        os.close(self._pidfd)
        self._life.close()
