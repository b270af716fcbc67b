"""Give up rights for good, in the process itself, before any code of a student's runs. Linux only.

Cold and warm children go through the same steps, so that they end with the same rights: an unprivileged user, no
capabilities, no way to new ones, the seccomp filter and the limits.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import struct
from pathlib import Path

from coursekit.isolate import seccomp
from coursekit.isolate.limits import Limits

__all__ = ["NOBODY", "confine", "enter_namespaces", "mount_private"]

NOBODY = 65534

_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 24, 38, 47
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000
_NEWPID, _NEWNET = 0x20000000, 0x40000000
_NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18


def confine(limits: Limits, *, uid: int | None, count_processes: bool) -> None:
    """Limits, user, capabilities, filter: in an order in which each step is still allowed.

    Args:
        limits: see `Limits.apply`.
        uid: the user to become; None to stay who one is.
        count_processes: whether to set RLIMIT_NPROC.

    Raises:
        OSError: a step is refused.
        RuntimeError: rights are left in the end, or other threads run, which would keep theirs.
    """
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"expected one thread before confinement, got {threads}")
    limits.apply(count_processes=count_processes)
    capability = 0
    while _prctl(_PR_CAPBSET_DROP, capability) == 0:  # refused beyond the last one, and without CAP_SETPCAP
        capability += 1
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_CAP_AMBIENT, 4)  # PR_CAP_AMBIENT_CLEAR_ALL
    header, none = struct.pack("<Ii", 0x20080522, 0), bytes(24)
    _check(_libc().capset(header, none), "capset")
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")
    # A change of user hides /proc/self from the process itself, which libraries read.
    _check(_prctl(_PR_SET_DUMPABLE, 1), "dumpable")
    seccomp.install()
    _verify()


def _verify() -> None:
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    wanted = {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16, "CapPrm": "0" * 16, "CapInh": "0" * 16}
    wrong = {name: status.get(name) for name, value in wanted.items() if status.get(name) != value}
    if wrong or os.geteuid() == 0:
        raise RuntimeError(f"not confined: uid {os.geteuid()}, {wrong}")


def enter_namespaces() -> None:
    """Leave all namespaces of the parent; the process that is forked next is the first of its pid namespace.

    Root needs no user namespace; any other user does, and stays the same user in it.

    Raises:
        OSError: the kernel refuses.
    """
    flags = _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _check(_libc().unshare(flags | _NEWCGROUP), "unshare")
        return
    _check(_libc().unshare(flags | _NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def mount_private(tmp_bytes: int) -> None:
    """Own /tmp, /dev/shm, /dev/pts and /proc, seen by this mount namespace only.

    What is mounted below /tmp, as a course that lies there is, is there again in the new one, with the rights it had.

    Raises:
        OSError: a mount is refused.
    """
    _mount("none", "/", None, _REC | _PRIVATE)
    below = [(path, os.open(path, os.O_PATH)) for path in _mounted_below("/tmp/")]
    for where in ("/tmp", "/dev/shm"):
        _mount("tmpfs", where, "tmpfs", _NOSUID | _NODEV, f"mode=1777,size={tmp_bytes}")
    mask = os.umask(0o022)  # the instructor's may keep others out of the folders on the way
    for path, descriptor in below:
        _stand_in(path, descriptor)
        _mount(f"/proc/self/fd/{descriptor}", path, None, _BIND)
        os.close(descriptor)
    os.umask(mask)
    _mount("devpts", "/dev/pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC)


def _mounted_below(folder: str) -> list[str]:
    """Where something is mounted below `folder`, in the order in which it was."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    # Spaces, tabs and backslashes in a path stand as \040, \011 and \134.
    escaped = re.compile(rb"\\([0-7]{3})")
    paths = (escaped.sub(lambda m: bytes([int(m[1], 8)]), line.split(b" ")[4]) for line in lines)
    return [path for path in map(os.fsdecode, paths) if path.startswith(folder)]


def _stand_in(path: str, descriptor: int) -> None:
    """An empty folder or file at `path`, whichever it is that is to be mounted there."""
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    os.makedirs(path if is_folder else os.path.dirname(path), mode=0o755, exist_ok=True)
    if not is_folder:
        Path(path).touch()


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if s is None else os.fsencode(s) for s in (source, target, kind)]
    failed = _libc().mount(*encoded, ctypes.c_ulong(flags), None if data is None else data.encode())
    _check(failed, f"mount {target}")


def _prctl(option: int, argument: int) -> int:
    # Every argument must be as wide as the kernel reads it: unset upper halves are refused.
    return _libc().prctl(option, *(ctypes.c_ulong(a) for a in (argument, 0, 0, 0)))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(failed: int, what: str) -> None:
    if failed:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
