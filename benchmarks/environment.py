"""From a clone to the first running cell: seconds, and the size of the environment. `python -m benchmarks.course` measures them.

Three routes, each from a new clone of the last commit in a temporary folder under `build/`:

    students    a virtual environment with `.[lab]` and `jupyter lab`; torch is the build that pip finds, so on Linux name
                PyTorch's CPU index in PIP_EXTRA_INDEX_URL to measure what course/README.md installs
    grade       the same with nbgrader and its Validate button, as on Binder
    make lab    `make setup`, which `make lab` does first: what work on the course needs, too

The environments get the versions of constraints.txt, from pip's cache where it has them: run it twice to measure a warm one.
"First cell" is the time of a new kernel in the new environment until the cells of the first notebook that install and import
the course have run; "load" is how many processes wanted a core at the end. A size counts each file once, as the file system stores it; MB
are 2²⁰ bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from benchmarks.record import ROOT
from coursekit import records
from coursekit.course import Course
from coursekit.isolate.limits import ONE_THREAD

__all__ = ["HERE", "ROUTES", "first_cells", "here", "largest", "measure", "size_mb"]

# A look at the environment that is there, without a clone: not among the routes.
HERE = "this environment"


def run(*command: str | Path, cwd: Path) -> str:
    """What the command wrote to stdout.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    leading = ("PYTHON", "VIRTUAL_ENV", "JUPYTER", "MPLBACKEND")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(leading)}
    env = {**kept, **ONE_THREAD, records.SWITCH: "0"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}: {said}")
    return done.stdout


def _pip(clone: Path, extra: str) -> None:
    run(sys.executable, "-m", "venv", clone / ".venv", cwd=clone)
    run(_python(clone), "-m", "pip", "install", "--quiet", "-c", "constraints.txt", f".[{extra}]", cwd=clone)


def _make(clone: Path) -> None:
    run("make", "setup", f"PYTHON={sys.executable}", cwd=clone)


def _python(clone: Path) -> Path:
    return clone / ".venv" / "bin" / "python"


# Name → what makes the environment of a clone, in its folder .venv.
ROUTES: dict[str, Callable[[Path], None]] = {
    "students": lambda clone: _pip(clone, "lab"),
    "grade": lambda clone: _pip(clone, "grade"),
    "make lab": _make,
}


def measure(route: str, folder: Path) -> dict[str, Any]:
    """Seconds of each step of a route, and what it left, from a clone made in `folder`."""
    clone = folder / "clone"
    began = time.monotonic()
    run("git", "clone", "--quiet", "--no-hardlinks", "--depth", "1", ROOT.as_uri(), clone, cwd=folder)
    cloned = time.monotonic()
    ROUTES[route](clone)
    made = time.monotonic()
    python = _python(clone)
    first_cells(python, Course.find(clone), folder)
    over = time.monotonic()
    first_cells(python, Course.find(clone), folder)
    again = time.monotonic()
    contents = _contents(python)
    return {
        "route": route,
        "clone_seconds": round(cloned - began, 1),
        "setup_seconds": round(made - cloned, 1),
        "first_cell_seconds": round(over - made, 1),
        "first_cell_again_seconds": round(again - over, 1),
        "total_seconds": round(over - began, 1),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "commit": run("git", "rev-parse", "--short", "HEAD", cwd=clone).strip(),
        "clone_mb": round(size_mb(clone) - contents["environment_mb"]),
        **contents,
    }


def here(folder: Path) -> dict[str, Any]:
    """The same for the environment that this process runs in, of what can be measured without making it."""
    python = Path(sys.prefix) / "bin" / "python"
    began = time.monotonic()
    first_cells(python, Course.find(ROOT), folder)
    return {
        "route": HERE,
        "first_cell_seconds": round(time.monotonic() - began, 1),
        **_contents(python),
    }


def _contents(python: Path) -> dict[str, Any]:
    environment = python.parent.parent
    packages = json.loads(run(python, "-m", "pip", "list", "--format", "json", cwd=environment))
    shown = ("pip", "torch", "numpy", "jupyterlab")
    return {
        "packages": len(packages),
        "environment_mb": round(size_mb(environment)),
        "largest_mb": largest(environment),
        "versions": {p["name"]: p["version"] for p in packages if p["name"] in shown},
    }


def first_cells(python: Path, course: Course, folder: Path) -> None:
    """Run the cells of the first notebook that install and import the course, in a new kernel of `python`.

    Raises:
        RuntimeError: one of them fails.
    """
    nb = nbformat.read(course.release_notebook(course.assignments()[0]), as_version=4)
    nb.cells = [c for c in nb.cells if c.cell_type == "code"][:2]
    path = folder / "first.ipynb"
    nbformat.write(nb, path)
    run(python, "-c", "from nbclient.cli import main; main()", path, cwd=folder)


def size_mb(folder: Path) -> float:
    """What a folder takes on disk, in MB: links not followed, a file of several names counted once.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "a").write_bytes(bytes(3 << 20))
    ...     os.link(Path(name, "a"), Path(name, "b"))
    ...     2.9 < size_mb(Path(name)) < 3.2
    True
    """
    seen, total = set(), 0
    for at, _, names in os.walk(folder):
        for name in names:
            stat = os.lstat(os.path.join(at, name))
            if (stat.st_dev, stat.st_ino) not in seen:
                seen.add((stat.st_dev, stat.st_ino))
                total += getattr(stat, "st_blocks", -(-stat.st_size // 512)) * 512
    return total / 2**20


def largest(environment: Path, number: int = 8) -> dict[str, int]:
    """The largest folders of site-packages, in MB."""
    sizes = {p.name: size_mb(p) for p in environment.glob("lib/python*/site-packages/*") if p.is_dir()}
    chosen = sorted(sizes, key=sizes.__getitem__, reverse=True)[:number]
    return {name: round(sizes[name]) for name in chosen}
