"""What a child may use, and the part of it that the kernel enforces process by process."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["ONE_THREAD", "Limits"]

# Environment of whatever computes: under load two threads are many times slower than one, and a process with a pool of
# them cannot be forked.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Limits of one child. Sizes are bytes, times are seconds.

    A cell or call is stopped after `request_seconds` and the child killed `grace_seconds` later when it did not
    stop; the whole run ends after `run_seconds`. `output_bytes` is what a cell may show, `message_bytes` the
    size of one answer, `run_bytes` of all of them together.

    >>> Limits(memory=1 << 30).memory_mb
    1024
    """

    memory: int = 2 << 30
    cpu_seconds: int = 300
    request_seconds: float = 30.0
    grace_seconds: float = 5.0
    run_seconds: float = 300.0
    start_seconds: float = 60.0
    processes: int = 64
    open_files: int = 512
    file_bytes: int = 64 * _MB
    tmp_bytes: int = 256 * _MB
    output_bytes: int = 2_000_000
    message_bytes: int = 64 * _MB
    run_bytes: int = 512 * _MB

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
                raise ValueError(f"expected a positive number for {f.name}, got {value!r}")

    @property
    def memory_mb(self) -> int:
        """Memory in MB."""
        return self.memory // _MB

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def describe(self, *, cgroup: bool) -> str:
        """The limits in words, one a line; `cgroup` says who watches memory and processes.

        >>> print(Limits().describe(cgroup=True).splitlines()[0])
        memory: 2048 MB for all processes together (cgroup)
        """
        if cgroup:
            memory = f"{self.memory_mb} MB for all processes together (cgroup)"
            processes = f"{self.processes} processes and threads (cgroup)"
        else:
            memory = f"{self.memory_mb} MB of data per process (rlimit) and in all (watched, not exact)"
            processes = f"{self.processes} processes and threads (watched, not exact)"
        return "\n".join(
            (
                f"memory: {memory}",
                f"processes: {processes}",
                f"CPU time: {self.cpu_seconds:g} s per process (rlimit)",
                f"wall clock: {self.request_seconds:g} s for a cell or call, {self.grace_seconds:g} s more to stop,"
                f" {self.run_seconds:g} s for the run",
                f"files: {self.file_bytes // _MB} MB each, {self.open_files} open, {self.tmp_bytes // _MB} MB of"
                " temporary files where isolated",
                f"output: {self.output_bytes / 1e6:g} MB a cell, {self.message_bytes // _MB} MB a message,"
                f" {self.run_bytes // _MB} MB in all",
            )
        )

    def apply(self, *, count_processes: bool) -> None:
        """Set this process's rlimits, for good. `count_processes`: the kernel counts them by user, so only where
        the user has no others."""
        import resource  # POSIX only

        wanted = {
            "RLIMIT_CPU": int(self.cpu_seconds) + 1,
            # Private writable memory, so that a large array raises MemoryError in the cell that asks for it.
            "RLIMIT_DATA": self.memory,
            "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
        }
        if count_processes:
            wanted["RLIMIT_NPROC"] = self.processes
        for name, value in wanted.items():
            kind = getattr(resource, name, None)
            if kind is None:
                continue
            _, hard = resource.getrlimit(kind)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            # At the hard limit of CPU time comes SIGKILL, which does not say why; a second before, SIGXCPU.
            soft = max(1, value - 1) if name == "RLIMIT_CPU" else value
            resource.setrlimit(kind, (soft, value))
