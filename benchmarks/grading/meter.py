"""Run a command and see what its processes cost: wall clock, CPU time and memory by the part they play."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

__all__ = ["CommandFailed", "Metered", "metered"]

_INTERVAL = 0.2  # seconds between two looks at the processes

# The command lines of a process and of its ancestors, itself last, the metered command first → its part.
Role = Callable[[Sequence[Sequence[str]]], str]


class CommandFailed(RuntimeError):
    """The metered command cannot be used; the message ends with its last words."""


@dataclass
class Metered:
    """What a command has cost.

    `began` and `wall` are seconds, the first since the epoch. `cpu_seconds` is that of all its processes that were waited
    for. By role: `cpu_by_role` as last seen (what lives shorter than a look is missing), `private_mb_by_role` the largest
    private memory of one process. `peak_mb` is the most that all its processes held at one look, pages that several of
    them share counted once. `others_cpu_seconds` is what the rest of the machine used meanwhile, `load` its load
    average at the start: a busy machine makes every number here worse. `idle_cpu_seconds` nobody used. `timeline` has the
    seconds since the start and the CPU seconds by role of every look.
    """

    began: float
    wall: float = 0.0
    cpu_seconds: float = 0.0
    others_cpu_seconds: float = 0.0
    idle_cpu_seconds: float = 0.0
    load: float = 0.0
    cpu_by_role: dict[str, float] = field(default_factory=dict)
    private_mb_by_role: dict[str, float] = field(default_factory=dict)
    peak_mb: float = 0.0
    timeline: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    interrupted: bool = False
    code: int = 0
    stdout: str = ""

    def cost(self) -> dict:
        """As plain data, rounded, without what the command said."""
        rounded = {
            name: round(getattr(self, name), 2)
            for name in ("wall", "cpu_seconds", "others_cpu_seconds", "idle_cpu_seconds", "load", "peak_mb")
        }
        by_role = {
            name: {role: round(value, 1) for role, value in sorted(getattr(self, name).items())}
            for name in ("cpu_by_role", "private_mb_by_role")
        }
        return {**rounded, **by_role, **({"interrupted": True} if self.interrupted else {})}


def metered(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    role: Role,
    on_line: Callable[[str, float], None] = lambda line, seconds: None,
    codes: Sequence[int] = (0,),
) -> Metered:
    """Run `command`; `on_line` gets each line of its stderr and the seconds since the start.

    Ctrl-C ends the command and gives what there is, marked `interrupted`.

    Raises:
        CommandFailed: its exit code is none of `codes`.
    """
    made = Metered(began=time.time(), load=os.getloadavg()[0])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    machine = psutil.cpu_times()
    last: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches it through this process alone
        )
        assert process.stderr is not None
        with process.stderr, _watching(process.pid, role, made):
            try:
                for line in process.stderr:
                    on_line(line, time.monotonic() - began)
                    last = [*last, line][-20:]
                process.wait()
            except KeyboardInterrupt:
                made.interrupted = True
                _end(process)
        made.wall, made.code = time.monotonic() - began, process.returncode
        out.seek(0)
        made.stdout = out.read()
    now, machine_now = resource.getrusage(resource.RUSAGE_CHILDREN), psutil.cpu_times()
    made.cpu_seconds = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    busy = _busy(machine_now) - _busy(machine)
    made.others_cpu_seconds = max(0.0, busy - made.cpu_seconds)
    made.idle_cpu_seconds = machine_now.idle - machine.idle
    if made.code not in codes and not made.interrupted:
        raise CommandFailed(
            f"{command[0]} ended with code {made.code}:\n{''.join(last)}{made.stdout[-2000:]}"
        )
    return made


def _busy(times: object) -> float:
    return (
        times.user + times.system + times.nice + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    )


def _end(process: subprocess.Popen) -> None:
    """As Ctrl-C on a terminal would; when it does not help, for good."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _watching(pid: int, role: Role, made: Metered) -> Iterator[None]:
    """Look at the process and its descendants until the block ends."""
    stop, began = threading.Event(), time.monotonic()
    cpu: dict[tuple[int, float], tuple[str, float]] = {}
    memory: Counter[str] = Counter()

    def look() -> None:
        together = 0
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(pid)
            lines: dict[int, list[list[str]]] = {}
            for process in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.Error), process.oneshot():
                    above = [] if process.pid == pid else lines.get(process.ppid(), [])
                    lines[process.pid] = [*above, process.cmdline()]
                    name = role(lines[process.pid])
                    times, held = process.cpu_times(), process.memory_info()
                    cpu[process.pid, process.create_time()] = (name, times.user + times.system)
                    memory[name] = max(memory[name], held.rss - held.shared)
                    together += _proportional(process)
        sums: Counter[str] = Counter()
        for name, seconds in cpu.values():
            sums[name] += seconds
        made.peak_mb = max(made.peak_mb, together / 2**20)
        made.timeline.append((time.monotonic() - began, dict(sums)))

    def watch() -> None:
        while not stop.wait(_INTERVAL):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        made.cpu_by_role = made.timeline[-1][1] if made.timeline else {}
        made.private_mb_by_role = {name: held / 2**20 for name, held in memory.items()}


def _proportional(process: psutil.Process) -> int:
    """Bytes that a process holds, of a page shared by n processes an n-th; where nobody counts that, its resident bytes.

    Processes forked from a warm one share most of what they hold: their resident sizes add up to a multiple of the truth.
    """
    with contextlib.suppress(psutil.AccessDenied):
        return getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss
    return process.memory_info().rss
