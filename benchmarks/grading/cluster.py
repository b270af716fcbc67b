"""A Dask cluster on this machine: a scheduler and worker processes that know each other by address alone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["dask_cluster"]

_SECONDS = 60.0


@contextlib.contextmanager
def dask_cluster(folder: Path, workers: int, env: dict[str, str]) -> Iterator[str]:
    """Start a scheduler and `workers` workers of one thread each on 127.0.0.1; the scheduler's address.

    Raises:
        TimeoutError: they do not get ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / "scheduler.json"
    about.unlink(missing_ok=True)
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    commands = [
        [*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(about)]
    ]
    one = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        "--scheduler-file",
        str(about),
        "--nthreads",
        "1",
    ]
    for number in range(workers):
        name = f"worker-{number}"
        local = ["--local-directory", str(folder / name), "--name", name]
        commands.append([*one, "--host", "127.0.0.1", "--no-dashboard", "--no-nanny", *local])
    started: list[subprocess.Popen] = []
    with (folder / "dask.log").open("wb") as log:
        try:
            for command in commands:
                started.append(
                    subprocess.Popen(
                        command,
                        stdout=log,
                        stderr=log,
                        stdin=subprocess.DEVNULL,
                        env={**os.environ, **env},
                        start_new_session=True,
                    )
                )
            yield _ready(about, workers, started, folder / "dask.log")
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _ready(about: Path, workers: int, started: list[subprocess.Popen], log: Path) -> str:
    from distributed import Client

    deadline = time.monotonic() + _SECONDS
    while not about.is_file() or not about.read_text(encoding="utf-8").strip():
        if time.monotonic() > deadline or started[0].poll() is not None:
            raise TimeoutError(f"no scheduler after {_SECONDS:g} s: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.1)
    address = json.loads(about.read_text(encoding="utf-8"))["address"]
    with Client(address, timeout=_SECONDS, set_as_default=False) as client:
        client.wait_for_workers(workers, timeout=_SECONDS)
    return address
