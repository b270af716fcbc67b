"""Run the course's own notebooks, solutions included, and remember the runs.

A run is kept under `build/notebooks/` by a hash of the notebook and of the packages it imports, so that
tests, the cost report and the web site share it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from coursekit.course import Course, atomic_write
from coursekit.execute import Limits, execute
from coursekit.packages import packages_hash
from coursekit.releases import own_packages
from coursekit.score import plain_text
from coursekit.source import notebook_bytes

__all__ = [
    "MEMORY_MB",
    "SECONDS",
    "TOLERANCE",
    "NotebookRun",
    "errors_of",
    "executed",
    "last_run",
    "run_notebook",
]

# What a notebook may cost on one thread of a quiet machine, and how many times that is an error: machines are slow, and busy.
SECONDS, TOLERANCE = 120.0, 5.0
MEMORY_MB, MEMORY_TOLERANCE = 1024.0, 3.0


@dataclass(frozen=True)
class NotebookRun:
    """An executed source notebook at `path`; `errors` are the cells that failed, one line each."""

    name: str
    path: Path
    seconds: float
    peak_mb: float | None
    errors: tuple[str, ...]
    cached: bool

    @property
    def over(self) -> tuple[str, ...]:
        """Costs far above what a notebook may cost, one text each."""
        found = []
        if self.seconds > TOLERANCE * SECONDS:
            found.append(f"{self.seconds:.0f} s, more than {TOLERANCE:g} × {SECONDS:g} s")
        if self.peak_mb is not None and self.peak_mb > MEMORY_TOLERANCE * MEMORY_MB:
            found.append(f"{self.peak_mb:.0f} MB, more than {MEMORY_TOLERANCE:g} × {MEMORY_MB:g} MB")
        return tuple(found)


def run_notebook(course: Course, name: str, *, force: bool = False) -> NotebookRun:
    """Run assignment `name` with its solutions and hidden tests, or take the run that is kept.

    A cell tagged `raises-exception` is meant to fail. Training is not cut short.

    Raises:
        CourseError: when the source breaks the format.
    """
    nb = course.source(name)
    source = notebook_bytes(nb)
    key = hashlib.sha256(source + packages_hash(own_packages(course)).encode()).hexdigest()[:16]
    folder = _folder(course, name)
    path, note = folder / f"{key}.ipynb", folder / f"{key}.json"
    if not force and path.is_file() and note.is_file():
        kept = json.loads(note.read_text(encoding="utf-8"))
        return NotebookRun(name, path, kept["seconds"], kept["peak_mb"], tuple(kept["errors"]), True)
    whole = TOLERANCE * SECONDS
    run = execute(nb, limits=Limits(cell_seconds=whole, notebook_seconds=whole, output_bytes=20_000_000))
    errors = tuple(errors_of(run.notebook))
    for old in path.parent.glob("*") if path.parent.is_dir() else ():
        old.unlink()
    facts = {"seconds": run.seconds, "peak_mb": run.peak_mb, "errors": errors}
    atomic_write(path, notebook_bytes(run.notebook))
    atomic_write(note, json.dumps(facts, indent=1).encode())
    return NotebookRun(name, path, run.seconds, run.peak_mb, errors, False)


def executed(run: NotebookRun) -> NotebookNode:
    """The executed notebook of a run."""
    return nbformat.read(run.path, as_version=4)


def last_run(course: Course, name: str) -> Path | None:
    """The executed notebook that is kept of assignment `name`, of whatever version; None when there is none."""
    kept = sorted(_folder(course, name).glob("*.ipynb"), key=lambda path: path.stat().st_mtime)
    return kept[-1] if kept else None


def _folder(course: Course, name: str) -> Path:
    return course.root / "build" / "notebooks" / name


def errors_of(nb: NotebookNode) -> list[str]:
    """The cells of an executed notebook that failed and were not meant to, one line each."""
    found = []
    for number, cell in enumerate(nb.cells, 1):
        if "raises-exception" in cell.metadata.get("tags", []):
            continue
        name = cell.metadata.get("nbgrader", {}).get("grade_id", f"{number}")
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                text = " ".join(plain_text(output.evalue).split())
                found.append(f"cell {name}: {output.ename}: {text}"[:300])
    return found
