"""A Dask cluster of separate processes, as `dask scheduler` and `dask worker` start it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from .runs import until

__all__ = ["DaskCluster", "children"]


class DaskCluster:
    """A scheduler on a free port of this machine, and workers that join it by its address. A context manager.

    Args:
        folder: for its files.
        env: added to the environment of all.
        protocol: tcp or tls.
    """

    def __init__(self, folder: Path, *, env: dict[str, str] | None = None, protocol: str = "tcp") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.protocol = folder, protocol
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        self.started: list[subprocess.Popen] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--no-dashboard", "--scheduler-file", str(file))
        until(file.exists, 60)
        self.address = until(lambda: json.loads(file.read_text() or "{}").get("address"))

    def worker(self, *options: str, path: Path | None = None) -> subprocess.Popen:
        """Start one with one thread; `path` is where it finds the course's own modules."""
        env = {**self.env, "PYTHONPATH": str(path)} if path else self.env
        place = str(self.folder / f"worker-{len(self.started)}")
        return self._start(
            "dask_worker",
            self.address,
            "--nthreads",
            "1",
            "--no-dashboard",
            "--local-directory",
            place,
            *options,
            env=env,
        )

    def below(self) -> set[psutil.Process]:
        """What its processes have started."""
        return {child for process in self.started for child in children(process)}

    def _start(self, program: str, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen:
        # dask_worker has no --host with a free port for the nanny and the worker alike.
        where = ("--protocol", self.protocol, "--host", "127.0.0.1")
        where += ("--port", "0") if program == "dask_scheduler" else ()
        with (self.folder / f"{program}-{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{program}", *options, *where],
                cwd=self.folder,
                env=env or self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def __enter__(self) -> DaskCluster:
        return self

    def __exit__(self, *exc: object) -> None:
        left = self.below()
        for process in self.started:
            process.kill()
            process.wait()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)


def children(process: subprocess.Popen) -> list[psutil.Process]:
    """What it has started, and what that has."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
