"""Children in bubblewrap: their own namespaces, a read-only system, nothing of the instructor's. Linux only.

As root the child becomes `nobody`; as an ordinary user it stays that user in a user namespace of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from coursekit.isolate import seccomp
from coursekit.isolate.bwrap import Program, programs, refusal
from coursekit.isolate.confine import NOBODY
from coursekit.isolate.handle import Child, StartError
from coursekit.isolate.limits import Limits
from coursekit.isolate.popen import CHILD, clean_environment, start_program
from coursekit.isolate.setup import Places, Setup

__all__ = ["Bubblewrap", "bwrap_command", "child_start", "find"]

_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
# No passwd: it names the people of this machine.
_ETC = ("ld.so.cache", "fonts", "alternatives", "localtime")
_NOTHING, _NO_PLACES = ("/usr/bin/true",), Places((), ())
# What root's child needs to give its rights up; a fork server also makes namespaces.
_TO_CONFINE = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP")


def bwrap_command(
    program: Program,
    places: Places,
    *,
    tmp_bytes: int,
    root: bool,
    capabilities: Sequence[str] = (),
    env: Mapping[str, str],
    die_with_parent: bool = True,
) -> list[str]:
    """The bubblewrap command up to the program that is to run in it.

    Args:
        program: the bubblewrap to take.
        places: what of Python and the course is shown, read-only.
        tmp_bytes: size of /tmp and of /dev/shm.
        root: whether root starts it; else a user namespace is made.
        capabilities: what root keeps of its capabilities beside the means to give them up.
        env: the whole environment.
        die_with_parent: kill it when the *thread* that started it ends.
    """
    # Singly: --unshare-all would add a user namespace for root, too, with one user in it.
    b = [
        program.path,
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    # The child brings its own init: bubblewrap's would be the student's to rewrite, and is without limits and filter.
    b += ["--as-pid-1", "--new-session", "--hostname", "grader", "--cap-drop", "ALL"]
    b += ["--die-with-parent"] if die_with_parent else []
    if root:
        for capability in (*_TO_CONFINE, *capabilities):
            b += ["--cap-add", capability]
    else:
        b += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    b += ["--clearenv"]
    for name, value in env.items():
        b += ["--setenv", name, value]
    b += ["--ro-bind", "/usr", "/usr"]
    for path in _SYSTEM:
        if os.path.islink(path):
            b += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            b += ["--ro-bind", path, path]
    b += ["--perms", "0755", "--dir", "/etc"]
    for path in (f"/etc/{name}" for name in _ETC):
        if os.path.exists(path):
            b += ["--ro-bind", path, path]
    b += ["--proc", "/proc", "--dev", "/dev"]
    for path in ("/tmp", "/dev/shm"):
        b += ["--perms", "1777", "--size", str(tmp_bytes), "--tmpfs", path]
    made = {"/", "/usr", "/etc", "/tmp"}
    for path in places.read_only:
        if Path(path).is_relative_to("/usr"):
            continue
        for parent in reversed(Path(path).parents):  # missing ones would be made with mode 0700
            if str(parent) not in made:
                made.add(str(parent))
                b += ["--perms", "0755", "--dir", str(parent)]
        b += ["--ro-bind", path, path]
    # These two are file systems in memory without a size, and the user's own where root does not make them.
    b += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    return b


def child_start(setup: Setup, env: Mapping[str, str] | None) -> dict:
    """What an isolated child is told at its start."""
    return {
        "confine": True,
        "uid": NOBODY if os.geteuid() == 0 else None,
        "folder": "/tmp",
        "env": dict(env or {}),
        "preload": setup.preload,
        "checks": setup.checks,
    }


class Bubblewrap:
    """Start each child cold, in bubblewrap."""

    name = "bubblewrap"
    isolates = True

    def __init__(self, setup: Setup | None = None) -> None:
        self.setup = setup or Setup()

    def available(self) -> str | None:
        """Why it cannot be used here, or None."""
        return find(_NOTHING)[1] or None

    def describe(self) -> str:
        """Its name, and which bubblewrap it takes."""
        return f"{self.name}, by {find(_NOTHING)[0]}"

    def start(self, limits: Limits | None = None, env: Mapping[str, str] | None = None) -> Child:
        """A child that is ready for its first cell.

        Raises:
            StartError: it does not get ready.
        """
        limits = limits or Limits()
        places = self.setup.places()
        program, problem = find(_NOTHING)
        if program is None:
            raise StartError(problem)
        command = bwrap_command(
            program,
            places,
            tmp_bytes=limits.tmp_bytes,
            root=os.geteuid() == 0,
            env=clean_environment(places.search_path),
        )
        return start_program(
            [*command, sys.executable, *CHILD],
            limits,
            child_start(self.setup, env),
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )

    def close(self) -> None:
        """Nothing is kept."""


def find(
    trial: Sequence[str], places: Places = _NO_PLACES, capabilities: Sequence[str] = ()
) -> tuple[Program | None, str]:
    """The first bubblewrap in which the command `trial` succeeds, and ""; or None and why there is none.

    `places` and `capabilities` are what the trial needs, as for `bwrap_command`.
    """
    if sys.platform != "linux":
        return None, "bubblewrap needs Linux"
    if not seccomp.supported():
        return None, f"no seccomp filter for {os.uname().machine}"
    reasons = []
    for program in programs():
        root = os.geteuid() == 0
        command = bwrap_command(
            program,
            places,
            tmp_bytes=1 << 20,
            root=root,
            env=clean_environment(places.search_path),
            capabilities=capabilities if root else (),
        )
        reason = refusal((*command, *trial))
        if reason is None:
            return program, ""
        reasons.append(f"{program} {reason}")
    return None, "; ".join(reasons) or (
        "there is no bubblewrap (`make setup` installs it; or, on Debian and Ubuntu: apt install bubblewrap)"
    )
