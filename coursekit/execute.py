"""Run one notebook in a kernel of its own: every cell, whatever the others do, within limits."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_output

from coursekit.isolate.limits import ONE_THREAD
from coursekit.records import SWITCH

__all__ = ["Limits", "Run", "execute"]

# Names of the errors that stand in for what a cell could not say itself.
TIMEOUT, DIED, NOT_RUN = "CellTimeout", "KernelDied", "NotRun"


@dataclass(frozen=True)
class Limits:
    """How much a notebook may use: seconds for a cell and for the notebook, bytes of output for a cell.

    After its seconds a cell is interrupted, and has `interrupt_seconds` to end.
    """

    cell_seconds: float = 30.0
    notebook_seconds: float = 300.0
    interrupt_seconds: int = 10
    output_bytes: int = 2_000_000


@dataclass(frozen=True)
class Run:
    """An executed notebook; `problem` is empty unless it could not be run to its end.

    `cell_seconds` holds the time of each code cell that ran, by its index among all cells.
    """

    notebook: NotebookNode
    seconds: float
    peak_mb: float | None
    problem: str
    cell_seconds: dict[int, float] = field(default_factory=dict)


def execute(
    nb: NotebookNode,
    *,
    limits: Limits | None = None,
    env: Mapping[str, str] | None = None,
    start_seconds: float = 60.0,
) -> Run:
    """Execute `nb` in place in a fresh folder and a fresh kernel of this Python; errors do not stop it.

    A cell over its time is interrupted and the next one runs; when it cannot be interrupted, or the kernel
    dies, the cells after it are marked as not run. `env` is added to the environment. Tags of cells change
    nothing.

    Raises:
        RuntimeError: when no kernel starts within `start_seconds`.
    """
    limits = limits or Limits()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as folder:
        work = Path(folder, "work")
        work.mkdir()
        client = _Client(nb, limits, began, startup_timeout=int(start_seconds))
        start: dict[str, Any] = {"cwd": str(work), "env": _environment(Path(folder), env or {})}
        # What the kernel process itself writes belongs to nobody's terminal.
        start |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with client.setup_kernel(**start):
            problem, cell_seconds = _run_cells(client, nb, limits, began)
            peak = _peak_mb(getattr(client.km.provisioner, "pid", None))
    return Run(nb, time.monotonic() - began, peak, problem, cell_seconds)


def _run_cells(
    client: _Client, nb: NotebookNode, limits: Limits, began: float
) -> tuple[str, dict[int, float]]:
    """Run all code cells; the reason why the rest was not run, or nothing, and the seconds of those that ran."""
    problem, seconds = "", {}
    for index, cell in enumerate(nb.cells):
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if not problem and time.monotonic() - began >= limits.notebook_seconds:
            problem = f"the notebook took more than {limits.notebook_seconds:g} s"
        if problem:
            if cell.source.strip():
                cell.outputs = [_error(NOT_RUN, f"this cell was not run: {problem}")]
            continue
        started = time.monotonic()
        try:
            client.execute_cell(cell, index)
        except DeadKernelError:
            problem = f"the kernel died in {_where(cell, index)}"
            cell.outputs.append(_error(DIED, "the Python process ended while this cell ran"))
        except CellTimeoutError:
            problem = f"{_where(cell, index)} ran over its time and ignored the interrupt"
            cell.outputs.append(_error(TIMEOUT, problem))
        seconds[index] = time.monotonic() - started
    return problem, seconds


class _Client(NotebookClient):
    """nbclient with a deadline for the whole notebook, a cap on output, and no obedience to tags."""

    def __init__(self, nb: NotebookNode, limits: Limits, began: float, **kwargs: Any) -> None:
        super().__init__(
            nb,
            kernel_name="python3",
            allow_errors=True,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": TIMEOUT, "evalue": "", "traceback": []},
            # After an interrupt the kernel has this long to fall idle; else CellTimeoutError.
            iopub_timeout=limits.interrupt_seconds,
            raise_on_iopub_timeout=True,
            skip_cells_with_tag="",
            shutdown_kernel="immediate",
            coalesce_streams=True,
            record_timing=False,
            timeout_func=self._seconds_left,
            on_cell_error=self._note_timeout,
            **kwargs,
        )
        self.limits, self.began = limits, began
        self._allowed = limits.cell_seconds
        self._bytes: dict[int, int] = {}

    def _seconds_left(self, cell: NotebookNode) -> float:
        left = self.limits.notebook_seconds - (time.monotonic() - self.began)
        self._allowed = max(1.0, min(self.limits.cell_seconds, left))
        return self._allowed

    def _note_timeout(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        if execute_reply["content"].get("ename") != TIMEOUT:
            return
        text = f"{_where(cell, cell_index)} was stopped after {self._allowed:.0f} s"
        cell.outputs = [o for o in cell.outputs if o.output_type != "error"]  # the interrupt's own
        cell.outputs.append(_error(TIMEOUT, text))

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Keep an output unless the cell has had its share of bytes; an error is always kept."""
        content, most = msg["content"], self.limits.output_bytes
        used = self._bytes.get(cell_index, 0)
        self._bytes[cell_index] = used + len(str(content))
        if self._bytes[cell_index] <= most or msg["msg_type"] == "error":
            return super().output(outs, msg, display_id, cell_index)
        if used > most:
            return None
        if msg["msg_type"] == "stream":  # a kernel sends many lines at once: keep the first of them
            outs.append(new_output("stream", name=content["name"], text=content["text"][: most - used]))
        outs.append(new_output("stream", name="stdout", text="\n… more output was cut off\n"))
        return None


def _where(cell: NotebookNode, index: int) -> str:
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    return f"cell {grade_id!r}" if grade_id else f"cell {index + 1}"


def _error(name: str, text: str) -> NotebookNode:
    return new_output("error", ename=name, evalue=text, traceback=[f"{name}: {text}"])


def _environment(folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without the user's own Jupyter and IPython settings."""
    private = {
        name: str(folder / name.lower())
        for name in (
            "IPYTHONDIR",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "MPLCONFIGDIR",
        )
    }
    # Runs of ours are nobody's progress.
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", SWITCH: "0"}
    # A backend chosen for scripts (`agg` in a Makefile) would make every figure of a notebook vanish without a word.
    inherited = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    return {**ONE_THREAD, **inherited, **private, **quiet, **extra}


def _peak_mb(pid: int | None) -> float | None:
    """Peak resident memory of a process in MB, where the system tells it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(line.split()[1]) / 1024 if line else None
