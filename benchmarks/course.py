"""What the course costs those who take it: time and memory of each notebook, the wait for each check, the environment.

    python -m benchmarks.course [--smoke] [--fresh]

A notebook is the released one with right answers filled in, as a student has it who is through: training is not cut, nothing
hidden is in it. It runs in a fresh kernel with one thread, `--workers` notebooks at a time. `peak_mb` is the kernel's largest
resident memory in MB of 2²⁰ bytes, `check_seconds` the time of each check cell, from its start to its answer. How the
environment is measured says `benchmarks.environment`; of its routes the students' runs by default.

Writes `benchmarks/results/course.json` after each run. A run that is there is not repeated: of a notebook until it or a
package of the course changes. `--fresh` repeats what is asked for. `--smoke` takes one notebook with its training cut and
looks at the environment that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from tqdm import tqdm

from benchmarks.environment import HERE, ROUTES, here, measure
from benchmarks.record import ROOT, load, machine, path_of, versions, write
from coursekit.course import Course
from coursekit.execute import Limits, execute
from coursekit.new_class import Paper
from coursekit.notebooks import SECONDS, TOLERANCE, errors_of
from coursekit.packages import packages_hash
from coursekit.releases import own_packages
from coursekit.source import notebook_bytes

__all__ = ["check_cells", "environment_run", "key_of", "main", "notebook_run", "summarize"]

COMMAND = "python -m benchmarks.course"
SMOKE_NOTEBOOK = "02_jacobians_and_determinants"
Row = dict[str, Any]


def check_cells(nb: NotebookNode) -> dict[int, str]:
    """Index → grade id of the cells that hold a check."""
    metas = ((k, cell.metadata.get("nbgrader", {})) for k, cell in enumerate(nb.cells))
    return {k: meta["grade_id"] for k, meta in metas if meta.get("grade") and not meta.get("solution")}


def _answered(course: Course, assignment: str) -> NotebookNode:
    paper = Paper(course, assignment)
    return paper.notebook(paper.answers)


def _version(course: Course, nb: NotebookNode) -> str:
    """Changes with the notebook and with the packages that it imports."""
    return hashlib.sha256(notebook_bytes(nb) + packages_hash(own_packages(course)).encode()).hexdigest()[:16]


def notebook_run(assignment: str, cut: bool = False) -> Row:
    """One notebook with right answers, run from its first cell to its last; a row of the result."""
    course = Course.find(ROOT)
    nb = _answered(course, assignment)
    whole = TOLERANCE * SECONDS
    row = {
        "what": "notebook",
        "assignment": assignment,
        "version": _version(course, nb),
        "training_cut": cut,
    }
    run = execute(
        nb,
        limits=Limits(cell_seconds=whole, notebook_seconds=whole, output_bytes=20_000_000),
        env=course.training_cut if cut else {},
    )
    return row | {
        "seconds": round(run.seconds, 2),
        "peak_mb": None if run.peak_mb is None else round(run.peak_mb),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "check_seconds": {
            name: round(run.cell_seconds[k], 3)
            for k, name in check_cells(nb).items()
            if k in run.cell_seconds
        },
        "errors": errors_of(run.notebook),
    }


def environment_run(route: str) -> Row:
    """One route from a clone to the first running cell; a row of the result."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="environment-", dir=build, ignore_cleanup_errors=True) as folder:
        found = here(Path(folder)) if route == HERE else measure(route, Path(folder))
    return {"what": "environment", **found}


def key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a row measured; a later row with the same key replaces it.

    >>> key_of({"what": "environment", "route": "students", "total_seconds": 120.0})
    ('environment', 'students')
    """
    return (
        (row["what"], row["assignment"], row["training_cut"])
        if row["what"] == "notebook"
        else (row["what"], row["route"])
    )


def summarize(runs: Sequence[Mapping[str, Any]]) -> Row:
    """The few numbers that one asks for first; None where nothing was run.

    >>> runs = [{"what": "notebook", "assignment": a, "seconds": s, "peak_mb": 400.0, "check_seconds": {"c": s / 10}}
    ...         for a, s in (("01_x", 10.0), ("02_y", 30.0))]
    >>> summarize(runs)
    {'notebooks': 2, 'seconds': 40.0, 'longest_seconds': 30.0, 'peak_mb': 400.0,
     'checks': 2, 'median_check_seconds': 2.0, 'longest_check_seconds': 3.0}
    """
    notebooks = [row for row in runs if row["what"] == "notebook"]
    checks = [s for row in notebooks for s in row["check_seconds"].values()]
    seconds = [row["seconds"] for row in notebooks]
    return {
        "notebooks": len(notebooks),
        "seconds": round(sum(seconds), 1),
        "longest_seconds": max(seconds, default=None),
        "peak_mb": max((row["peak_mb"] for row in notebooks if row["peak_mb"] is not None), default=None),
        "checks": len(checks),
        "median_check_seconds": round(statistics.median(checks), 3) if checks else None,
        "longest_check_seconds": max(checks, default=None),
    }


def _save(rows: Sequence[Row], out: Path, settings: Mapping[str, Any]) -> None:
    rows = sorted(rows, key=lambda row: tuple(map(str, key_of(row))))
    write(
        out,
        {
            "command": COMMAND,
            "machine": machine(),
            "versions": versions("torch", "numpy", "nbclient", "ipykernel", "jupyterlab"),
            "settings": dict(settings),
            "summary": summarize(rows),
            "runs": rows,
        },
    )


def _measured(
    assignments: Sequence[str], routes: Sequence[str], cut: bool, workers: int
) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Each run's name with what gives its row, in the order in which they end; nothing else runs beside the routes."""
    # In a new process each: a notebook's memory is its own. The later notebooks train longer, so they go first.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), max_tasks_per_child=1)
    try:
        futures = {pool.submit(notebook_run, name, cut): name for name in sorted(assignments, reverse=True)}
        for future in as_completed(futures):
            yield futures[future], future.result
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C: what runs ends, nothing else begins
    for route in routes:
        yield route, lambda route=route: environment_run(route)


def _measure(
    assignments: Sequence[str],
    routes: Sequence[str],
    cut: bool,
    workers: int,
    rows: dict[tuple[Any, ...], Row],
    out: Path,
    settings: Mapping[str, Any],
) -> list[str]:
    """Add each run to `rows` and to the file as soon as it ends; what failed, a line each."""
    failed = []
    with tqdm(total=len(assignments) + len(routes), unit="run", desc="course") as bar:
        for name, row_of in _measured(assignments, routes, cut, workers):
            bar.set_postfix_str(name)
            try:
                row = row_of()
            except Exception as error:  # one run that fails does not stop the others
                failed.append(f"{name}: {type(error).__name__}: {error}")
            else:
                failed += [f"{name}: {text}" for text in row.get("errors", ())]
                rows[key_of(row)] = row
                _save(list(rows.values()), out, settings)
            bar.update()
    return failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing; exit 1 and name what failed, when something did."""
    course = Course.find(ROOT)
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--assignments", nargs="*", metavar="NAME", help="default: all; empty: none")
    parser.add_argument("--routes", nargs="*", choices=[HERE, *ROUTES], help="default: students; empty: none")
    parser.add_argument("--workers", type=int, default=2, help="notebooks at a time (default 2)")
    parser.add_argument("--smoke", action="store_true", help="a quick look; writes to build/bench")
    parser.add_argument("--fresh", action="store_true", help="repeat what is there")
    parser.add_argument("--out", type=Path, help="the result file")
    given = parser.parse_args(arguments)
    kept = path_of("course")
    out = given.out or path_of("course", given.smoke)
    if given.smoke and out.resolve() == kept:
        parser.error("--smoke needs another --out: a quick look must not enter the result")
    if given.assignments is None:
        names = [SMOKE_NOTEBOOK] if given.smoke else course.assignments()
    else:  # `select` takes an empty list for all
        names = course.select(given.assignments) if given.assignments else []
    routes = given.routes if given.routes is not None else [HERE] if given.smoke else ["students"]

    rows = _rows_of_this_machine(out)
    settings = {"threads": 1, "notebooks_at_a_time": given.workers, "training_cut": given.smoke}
    if not given.fresh:
        current = {n: _version(course, _answered(course, n)) for n in names}
        names = [n for n in names if not _done(rows.get(("notebook", n, given.smoke)), current[n])]
        routes = [r for r in routes if ("environment", r) not in rows]
    try:
        failed = _measure(names, routes, given.smoke, given.workers, rows, out, settings)
    except KeyboardInterrupt:
        print(f"stopped; what is measured is in {out.name}", file=sys.stderr)
        raise SystemExit(130) from None
    if not rows:
        raise SystemExit("\n".join(failed) or "nothing to measure")
    _save(list(rows.values()), out, settings)
    found = summarize(list(rows.values()))
    print(f"{out}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.items()))
    if failed:
        print(*failed, sep="\n", file=sys.stderr)
        raise SystemExit(1)


def _rows_of_this_machine(out: Path) -> dict[tuple[Any, ...], Row]:
    """What a result file holds, by key; nothing of another machine, since its seconds would stand in one table with ours."""
    found = load(out)
    rows = found.get("runs", []) if found.get("machine") == machine() else []
    return {key_of(row): row for row in rows}


def _done(row: Mapping[str, Any] | None, version: str) -> bool:
    return row is not None and row["version"] == version and not row["errors"]


if __name__ == "__main__":
    main()
