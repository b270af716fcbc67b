"""Memory of each notebook, and of nbgrader's Validate beside it.

    python -m benchmarks.memory [ASSIGNMENT …] [--short] [--output FILE]

A student runs a notebook and presses Validate: JupyterLab's server starts a second kernel, which runs the notebook again
while the first one stays. Here a real server gets the same request for the notebook with its solutions, training whole
unless `--short` cuts it as grading does. Measured is the proportional set size (PSS: pages that processes share are counted
once), every 0.2 seconds, in MB of 2²⁰ bytes. On Binder 2 GB for all of it is the end. Written as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import psutil
from nbclient import NotebookClient

from benchmarks.record import RESULTS, ROOT, load, machine, versions, write
from coursekit import records
from coursekit.course import Course
from coursekit.isolate.limits import ONE_THREAD
from coursekit.new_class import Paper

__all__ = ["LIMIT_MB", "Meter", "beside_validate", "main"]

RESULT = RESULTS / "memory.json"
# Binder ends what takes more.
LIMIT_MB = 2048.0
EVERY = 0.2  # seconds


class Meter(threading.Thread):
    """Watches groups of processes; `peak` is what they held together at most, in MB, and `peaks` each group alone.

    A group is a name → the process that heads it; its children, whenever they come, belong to it.
    """

    def __init__(self, groups: Mapping[str, int]) -> None:
        super().__init__(daemon=True)
        self._groups = {name: psutil.Process(pid) for name, pid in groups.items()}
        self._over = threading.Event()
        self.peak, self.peaks = 0.0, dict.fromkeys(groups, 0.0)

    def run(self) -> None:
        """Measure until `stop`."""
        while not self._over.wait(EVERY):
            self.sample()

    def sample(self) -> None:
        """Measure once."""
        now = {name: _megabytes(process) for name, process in self._groups.items()}
        self.peak = max(self.peak, sum(now.values()))
        self.peaks = {name: max(self.peaks[name], size) for name, size in now.items()}

    def stop(self) -> None:
        """Measure no more."""
        self._over.set()
        self.join()


def beside_validate(course: Course, assignment: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Memory in MB of a notebook's kernel, and of it, the server and Validate's kernel together; and what Validate says.

    Raises:
        RuntimeError: the notebook has a failing cell, or the server does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="memory-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        paper = Paper(course, assignment)
        notebook = folder / "course" / f"{assignment}.ipynb"
        notebook.parent.mkdir()
        nbformat.write(paper.notebook(paper.answers), notebook)
        inherited = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
        environment = {**inherited, **ONE_THREAD, **_private(folder), records.SWITCH: "0", **(env or {})}
        client = NotebookClient(nbformat.read(notebook, as_version=4), kernel_name="python3", timeout=600)
        with client.setup_kernel(cwd=str(notebook.parent), env=environment):
            kernel = client.km.provisioner.pid
            meter = Meter({"notebook": kernel})
            meter.start()
            began = time.monotonic()
            for index, cell in enumerate(client.nb.cells):
                client.execute_cell(cell, index)
            seconds, alone = time.monotonic() - began, meter
            meter.stop()
            with _server(folder, environment) as (server, url, token):
                meter = Meter({"notebook": kernel, "server": server})
                meter.sample()
                before = meter.peaks["server"]
                meter.start()
                began = time.monotonic()
                said = _validate(url, token, notebook.relative_to(folder).as_posix())
                meter.stop()
        return {
            "assignment": assignment,
            "notebook_mb": round(alone.peak),
            "server_mb": round(before),
            "validate_mb": round(meter.peaks["server"] - before),
            "together_mb": round(meter.peak),
            "run_seconds": round(seconds, 1),
            "validate_seconds": round(time.monotonic() - began, 1),
            "training_cut": bool(env),
            "passes": said == {"success": True, "value": {}},
        }


def _megabytes(head: psutil.Process) -> float:
    total = 0
    try:
        family = [head, *head.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        try:
            info = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        total += getattr(
            info, "pss", info.rss
        )  # where the system does not tell it: resident, shared pages twice
    return total / 2**20


def _private(folder: Path) -> dict[str, str]:
    kinds = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
    return {kind: str(folder / kind.lower()) for kind in kinds}


@contextmanager
def _server(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    """JupyterLab's server on `folder`: its process, its address and the token it asks for."""
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0"]
    options = [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen([*command, *options], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            found = list(Path(environment["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json"))
            if found or process.poll() is not None:
                break
            time.sleep(0.1)
        else:
            found = []
        if not found:
            raise RuntimeError(f"JupyterLab did not start: {(folder / 'server.log').read_text()[-2000:]}")
        yield process.pid, json.loads(found[0].read_text())["url"], token
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _validate(url: str, token: str, path: str) -> dict[str, Any]:
    """What the button Validate asks for."""
    query = urllib.parse.urlencode({"path": path})
    request = urllib.request.Request(f"{url}assignments/validate?{query}", method="POST", data=b"")
    request.add_header("Authorization", f"token {token}")
    for attempt in range(30):  # the file is there a moment before the server listens
        try:
            with urllib.request.urlopen(request, timeout=1800) as answer:
                return json.load(answer)
        except ConnectionError:
            time.sleep(0.5)
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError) or attempt == 29:
                raise RuntimeError(f"Validate does not answer: {error}") from error
            time.sleep(0.5)
    raise RuntimeError("Validate does not answer")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the assignments and write the result, each as soon as it is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("assignments", nargs="*")
    parser.add_argument("--short", action="store_true", help="cut training short")
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args(arguments)
    course = Course.find(ROOT)
    rows = load(chosen.output).get("notebooks", [])
    for name in course.select(chosen.assignments):
        row = beside_validate(course, name, course.training_cut if chosen.short else None)
        print("{assignment}: {notebook_mb} MB, with Validate {together_mb} MB".format(**row), flush=True)
        rows = sorted([r for r in rows if r["assignment"] != name] + [row], key=lambda r: r["assignment"])
        result = {
            "command": "python -m benchmarks.memory",
            "unit": "MB (2^20 bytes), PSS" if sys.platform == "linux" else "MB (2^20 bytes), RSS",
            "limit_mb": LIMIT_MB,
            "machine": machine(),
            "versions": versions("torch", "jupyterlab", "nbgrader", "ipykernel"),
            "notebooks": rows,
        }
        write(chosen.output, result)


if __name__ == "__main__":
    main()
