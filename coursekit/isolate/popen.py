"""A child started as a program, with the protocol on its standard input and output."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from coursekit.isolate.cgroup import Group, make_group
from coursekit.isolate.handle import Child, StartError
from coursekit.isolate.limits import ONE_THREAD, Limits
from coursekit.isolate.protocol import Channel
from coursekit.isolate.watch import tree

__all__ = ["CHILD", "Started", "clean_environment", "counted", "start_program"]

# Above all users that a system has.
_FIRST_UID = 0x70000000
CHILD = ("-m", "coursekit.isolate.child")


def clean_environment(search_path: Sequence[str] = ()) -> dict[str, str]:
    """The environment that every child begins with, whatever the launcher: nothing of the instructor's."""
    return {
        **ONE_THREAD,
        "PATH": os.pathsep.join((f"{sys.prefix}/bin", "/usr/local/bin", "/usr/bin", "/bin")),
        "LANG": "C.UTF-8",
        "USER": "student",
        "HOME": "/tmp/home",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONPATH": os.pathsep.join(search_path),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # The same order of sets in every child, so that grading twice shows the same.
        "PYTHONHASHSEED": "0",
    }


def counted(start: Mapping[str, Any], group: Group | None) -> dict[str, Any]:
    """What a child is told, with who counts its processes.

    Without a control group an rlimit does, for all processes of a user together: then each of root's children is a user of
    its own, else one of them could take all that the others may have.
    """
    if group is not None or not start["confine"]:
        return {**start, "count_processes": False}
    own = None if start["uid"] is None else _FIRST_UID + secrets.randbelow(1 << 24)
    return {**start, "uid": own, "count_processes": True}


class Started:
    """A `Process` of subprocess's. Killing it kills its descendants and runs `end`, the command that ends what is none of
    them; `folder` is deleted when it is closed.
    """

    def __init__(
        self, popen: subprocess.Popen, stderr: Any, folder: str | None = None, end: Sequence[str] = ()
    ) -> None:
        self._popen, self._stderr, self._folder, self._end = popen, stderr, folder, end
        self.pid = popen.pid

    def kill(self) -> None:
        if self._end and self._popen.poll() is None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(self._end, capture_output=True, timeout=20, check=False)
        pids = tree(self.pid) if self._popen.poll() is None else []
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def wait(self, seconds: float) -> int | None:
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def words(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read(2000).decode(errors="replace").strip()

    def close(self) -> None:
        self._stderr.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def start_program(
    command: Sequence[str],
    limits: Limits,
    start: Mapping[str, Any],
    *,
    env: Mapping[str, str] | None,
    folder: str | None = None,
    grouped: bool = True,
    end: Sequence[str] = (),
) -> Child:
    """Start a child program with the protocol on its standard streams.

    Args:
        command, env, folder: what to run, with which environment (None: this one's) and where.
        limits: of the child.
        start: what it is told at its start.
        grouped: whether its memory and processes are this side's to limit; else whoever starts it does.
        end: a command that ends it, where killing this process's descendants does not.

    Raises:
        StartError: it cannot be started or does not get ready.
    """
    group = make_group(limits) if grouped else None
    stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child
    to_child, from_child = os.pipe(), os.pipe()
    try:
        popen = subprocess.Popen(
            command,
            stdin=to_child[0],
            stdout=from_child[1],
            stderr=stderr,
            env=None if env is None else dict(env),
            cwd=folder or "/",
            start_new_session=True,
        )
    except OSError as error:
        for fd in (to_child[1], from_child[0]):
            os.close(fd)
        stderr.close()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if group is not None:
            group.remove()
        raise StartError(f"{command[0]}: {error.strerror}") from None
    finally:
        os.close(to_child[0])
        os.close(from_child[1])
    channel = Channel(from_child[0], to_child[1])
    told = counted(start, group) if grouped else {**start, "count_processes": False}
    return Child(Started(popen, stderr, folder, end), channel, limits, told, group=group)
