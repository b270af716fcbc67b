"""One control group per child, version 1 or 2, where this user may make one: memory, processes, CPU time."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coursekit.isolate.limits import Limits

__all__ = ["Group", "make_group", "writable"]

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """The folders of one group, by controller; in version 2 they are all the same one."""

    folders: dict[str, Path]
    version: int

    def add(self, pid: int) -> None:
        """Put a process into the group; what it starts from then on is in it, too. A process that is gone is ignored."""
        for folder in dict.fromkeys(self.folders.values()):
            with contextlib.suppress(ProcessLookupError):
                (folder / "cgroup.procs").write_text(str(pid))

    @property
    def hit_memory_limit(self) -> bool:
        """Whether the kernel has killed a process of the group for its memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return _field(self.folders["memory"] / name, "oom_kill") > 0

    @property
    def peak_bytes(self) -> int | None:
        """The most memory the group has used."""
        name = "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes"
        return _number(self.folders["memory"] / name)

    @property
    def cpu_seconds(self) -> float | None:
        """CPU time of the group, where it is counted."""
        if self.version == 2:
            return _field(self.folders["memory"] / "cpu.stat", "usage_usec") / 1e6
        used = _number(self.folders["cpuacct"] / "cpuacct.usage") if "cpuacct" in self.folders else None
        return None if used is None else used / 1e9

    def pids(self) -> list[int]:
        """All processes of the group, as this process numbers them."""
        try:
            return [int(p) for p in (self.folders["pids"] / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def kill(self, seconds: float) -> None:
        """End all processes of the group, and wait until they are gone."""
        deadline = time.monotonic() + seconds
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)

    def remove(self, seconds: float = 2.0) -> None:
        """Delete the group as soon as it is empty; leave it when it does not get empty in time."""
        deadline = time.monotonic() + seconds
        for folder in dict.fromkeys(self.folders.values()):
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.005)


def make_group(limits: Limits) -> Group | None:
    """A new group with these limits, or None where this user may not make one."""
    name = f"coursekit-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    made = _make_v2(limits, name) or _make_v1(limits, name)
    if made is not None:
        for folder in {folder.parent for folder in made.folders.values()}:
            _sweep(folder)
    return made


@functools.cache  # once per process and place
def _sweep(place: Path) -> None:
    """Remove the empty groups of processes that were killed before they could."""
    for folder in place.glob("coursekit-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):  # not empty, or gone meanwhile
                folder.rmdir()


def writable() -> bool:
    """Whether this user may make groups that limit memory and processes."""
    group = make_group(Limits())
    if group is None:
        return False
    group.remove()
    return True


def _make_v2(limits: Limits, name: str) -> Group | None:
    if not (_ROOT / "cgroup.controllers").is_file():
        return None
    own = _own_groups().get("")
    if own is None:
        return None
    # A group that holds processes cannot have children with controllers: its parent may.
    here = _ROOT / own.lstrip("/")
    for base in (here, here.parent) if own != "/" else (here,):
        folder = base / name
        try:
            folder.mkdir()
            (folder / "memory.max").write_text(str(limits.memory))
            (folder / "pids.max").write_text(str(limits.processes))
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        # There may be no swap to limit; a group that is over its memory dies as a whole.
        for key, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            with contextlib.suppress(OSError):
                (folder / key).write_text(value)
        return Group({"memory": folder, "pids": folder}, 2)
    return None


def _make_v1(limits: Limits, name: str) -> Group | None:
    wanted = {
        "memory": {"memory.limit_in_bytes": limits.memory},
        "pids": {"pids.max": limits.processes},
        "cpuacct": {},
    }
    groups, folders = _own_groups(), {}
    for controller, settings in wanted.items():
        folder = _ROOT / controller / groups.get(controller, "/").lstrip("/") / name
        try:
            folder.mkdir()
            for key, value in settings.items():
                (folder / key).write_text(str(value))
            folders[controller] = folder
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
    group = Group(folders, 1)
    if not {"memory", "pids"} <= folders.keys():
        group.remove()
        return None
    with contextlib.suppress(OSError):  # only where swap is counted
        (folders["memory"] / "memory.memsw.limit_in_bytes").write_text(str(limits.memory))
    return group


def _own_groups() -> dict[str, str]:
    """Controller → path of this process's group; "" is version 2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    return {c: path for _, names, path in (line.split(":", 2) for line in lines) for c in names.split(",")}


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text().splitlines()
    except OSError:
        return


def _field(path: Path, name: str) -> int:
    return next((int(line.split()[1]) for line in _lines(path) if line.split()[0] == name), 0)


def _number(path: Path) -> int | None:
    return next((int(line) for line in _lines(path)), None)
