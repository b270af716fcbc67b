"""Flows of every library at an equal budget, on two moons, digits and patches of photographs.

    python -m benchmarks.accuracy [--smoke] [--fresh] [--out FILE] [--workers 2]

Affine couplings of each library (`benchmarks.peers`), once with the plain recipe (the library's own defaults, Adam at 1e-3,
nothing else) and once with this course's (identity start, standardized data, bounded log-scales, dropout, clipped gradients, cosine
schedule, averaged weights); five seeds, the same data and the same order of batches for all. "bare" is the plain recipe
for flowlib without its defaults of an identity start and a bound. Beside them Gaussians, histograms, and this
course's best flows of digits from `benchmarks.digits_flows`.

Two moons: nats above the exact density after 2000 steps. Digits: bits per dimension at the best step by
validation ("early") and after 2000 steps ("last"). Patches: nats, the same two, 1000 steps. A training that diverges is a row
with "stopped" and without a last value.

The file is written after each run, and runs that it holds are not repeated unless `--fresh` says so or their settings have
changed. `--smoke` takes four steps of everything and writes elsewhere.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from benchmarks.accuracy.summary import goals, summarize, table
from benchmarks.accuracy.tasks import RECIPES, SEEDS, TASKS, settings, tiny
from benchmarks.peers import LIBRARIES, NOTES, Missing
from benchmarks.record import load, path_of, versions, write
from benchmarks.record import machine as machine_of

__all__ = ["Job", "jobs", "main", "run"]

COMMAND = "python -m benchmarks.accuracy"
OURS = "flowlib"
Job = tuple[str, str, str, int]  # task, library, recipe or name of a reference, seed


def jobs(libraries: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    """Every run there is, the long ones first, so that the last minutes do not wait for one of them."""
    order = ("digits", "patches", "two moons")
    references = [(t, OURS, name, s) for t in order for name in TASKS[t].references for s in seeds]
    rows = [(t, lib, r, s) for t in order for r in RECIPES for s in seeds for lib in libraries]
    return references + [row for row in rows if row[2] != "bare" or row[1] == OURS]


def run(task: str, library: str, recipe: str, seed: int, smoke: bool = False) -> dict:
    """One row. What a library does not have is "missing"; an error in it is "failed", and does not end the others.

    >>> row = run("two moons", "flowlib", "ours", 0, smoke=True)
    >>> row["library"], row["last"] > 0
    ('flowlib', True)
    """
    row = {"task": task, "library": library, "recipe": recipe, "seed": seed}
    what = tiny(TASKS[task]) if smoke else TASKS[task]
    try:
        if recipe in what.references:
            return row | what.references[recipe](what, seed)
        return row | what.run(what, library, recipe, seed)
    except Missing as error:
        return row | {"missing": str(error)}
    except Exception as error:
        return row | {"failed": f"{type(error).__name__}: {error}"}


def _results(todo: Sequence[Job], workers: int, smoke: bool) -> Iterator[dict]:
    """Rows as they are finished: in this process, or in `workers` others of one thread each."""
    if workers == 1:
        yield from (run(*job, smoke) for job in todo)
        return
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by the workers, when they start
    context = get_context("spawn")
    with context.Pool(
        workers, initializer=_ignore_interrupts
    ) as pool:  # leaving it ends what runs, as Ctrl-C does
        yield from pool.imap_unordered(partial(_run_job, smoke=smoke), todo)


def _run_job(job: Job, smoke: bool) -> dict:
    return run(*job, smoke)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _key(row: dict) -> Job:
    return row["task"], row["library"], row["recipe"], row["seed"]


def _kept(out: Path, said: dict) -> list[dict]:
    """Rows of the file that still have a place, were made with today's settings of their data set and did not fail."""
    result = load(out)
    before = result.get("settings", {})
    same = {task for task in said if before.get(task) == said[task]}
    known = set(jobs(LIBRARIES, SEEDS))
    rows = [row for row in result.get("runs", []) if row["task"] in same and _key(row) in known]
    return [row for row in rows if not {"failed", "missing"} & set(row)]


def _writer(out: Path, said: dict, order: dict[Job, int]) -> Callable[[list[dict]], list[dict]]:
    about = {
        "command": COMMAND,
        "machine": machine_of(),
        "versions": versions("torch", "numpy", "scikit-learn", "FrEIA", "normflows", "nflows", "zuko"),
        "settings": said,
        "notes": {library: note for (library, family), note in NOTES.items() if family == "affine coupling"},
    }

    def save(rows: list[dict]) -> list[dict]:
        rows = sorted(rows, key=lambda row: order.get(_key(row), len(order)))
        entries = summarize(rows)
        write(out, about | {"runs": rows, "summary": {"rows": entries, "goals": goals(entries)}})
        return entries

    return save


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code is 1 when a run failed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="four steps of everything, one seed")
    parser.add_argument("--fresh", action="store_true", help="repeat the runs that the file holds")
    parser.add_argument("--out", type=Path, help="the result file")
    parser.add_argument(
        "--workers", type=int, help="processes of one thread each (default 2; 1 with --smoke)"
    )
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    given = parser.parse_args(arguments)
    standard = path_of("accuracy")
    out = given.out or path_of("accuracy", given.smoke)
    if given.smoke and out == standard:
        parser.error("--smoke must not write into the table")

    said = {name: settings(tiny(task) if given.smoke else task) for name, task in TASKS.items()}
    every = jobs(given.libraries, SEEDS[:1] if given.smoke else SEEDS)
    rows = [] if given.fresh else _kept(out, said)
    done = {_key(row) for row in rows}
    todo = [job for job in every if job not in done]
    save = _writer(out, said, {job: k for k, job in enumerate(jobs(LIBRARIES, SEEDS))})
    entries = save(rows)
    with tqdm(total=len(todo), unit="run") as bar:
        for row in _results(todo, given.workers or (1 if given.smoke else 2), given.smoke):
            rows.append(row)
            entries = save(rows)
            bar.update()
    print(table(entries))
    for goal in goals(entries) if not given.smoke else []:
        print(f"{goal['goal']}: {goal['value']:.3f} ≤ {goal['limit']:.3f}: {'yes' if goal['met'] else 'no'}")
    failed = [row for row in rows if "failed" in row]
    for row in failed:
        print(f"failed: {_key(row)}: {row['failed']}", file=sys.stderr)
    return int(bool(failed))
