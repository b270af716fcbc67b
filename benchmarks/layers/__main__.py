"""Speed of layers: flowlib beside a flow written by hand and other libraries.

    python -m benchmarks.layers [--smoke] [--fresh] [--tasks WORD …]

All who can do a task do it in one process by turns, in a new random order each round, with one thread. Compared are
durations of the same round, as ratios to the reference: for affine couplings a flow written by hand, for the other
families flowlib. The same weights are checked to give the same numbers first; libraries of which that cannot be said
have their number of parameters and a note of what they do differently beside them. "By hand, masked" is what a masked
coupling costs whoever writes it: its network reads and gives all variables.

Writes `benchmarks/results/layers.json` after each task. A task that is there is not repeated, unless flowlib or the
comparison has changed since, or with `--fresh`. `--smoke` does it all with small sizes, for the sake of doing it.
"""

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.layers.reasons import reason
from benchmarks.layers.tasks import HAND, OURS, SMOKE, TASKS, Size, Task, prepare
from benchmarks.layers.timing import interleaved, ratios
from benchmarks.peers import LIBRARIES
from benchmarks.record import load, machine, path_of, versions, write
from coursekit.packages import packages_hash

__all__ = ["GOALS", "main", "run", "summarize"]

COMMAND = "python -m benchmarks.layers"
Row = dict[str, Any]

# (task, who, how many times the reference it may take, who does the same by hand)
GOALS = (
    ("affine coupling, D = 2: training", "flowlib, index split", 1.05, HAND),
    ("affine coupling, D = 64: training", "flowlib, index split", 1.05, HAND),
    ("affine coupling, D = 2: training", "flowlib, masked, one net", 1.10, "by hand, masked"),
)


@cache
def version() -> str:
    """Changes with everything that is timed."""
    return packages_hash(["flowlib", "benchmarks.layers", "benchmarks.peers"])[:16]


def run(task: Task, size: Size, rounds: int, block: float, bar: tqdm) -> Row:
    """One task, all who can do it; a row of the result, with the seconds of a call in each round."""
    candidates, missing = prepare(task, size)
    seconds = interleaved(
        {name: c.call for name, c in candidates.items()}, rounds, block, after_round=bar.update
    )
    about = {
        name: {
            "parameters": c.parameters,
            "difference": c.difference,
            "evaluations": c.evaluations,
            "note": c.note,
        }
        for name, c in candidates.items()
    }
    return {
        "task": task.name,
        "work": task.work.format(**asdict(size)),
        "reference": task.reference,
        "version": version(),
        "candidates": {
            name: {key: value for key, value in entry.items() if value not in (None, "")}
            for name, entry in about.items()
        },
        "missing": missing,
        "seconds": {name: [float(f"{s:.4g}") for s in values] for name, values in seconds.items()},
    }


def summarize(runs: Sequence[Mapping[str, Any]]) -> Row:
    """Of each task the ratios, of each goal whether it is met, and which peers are faster than flowlib where.

    Beside a goal's ratio stands that of the same map written by hand: no library can be expected below it. A peer is
    faster when the interval of its ratio to flowlib lies below 1.

    >>> row = {"task": "affine coupling, D = 2: training", "reference": "by hand", "seconds": {
    ...     "by hand": [1.0, 2.0], "flowlib, index split": [1.02, 2.04], "zuko": [0.9, 1.8]}}
    >>> found = summarize([row])
    >>> found["goals"][0]["ratio"], found["goals"][0]["met"]
    (1.02, True)
    >>> [(peer["library"], round(peer["ratio to flowlib"], 3)) for peer in found["faster peers"]]
    [('zuko', 0.882)]
    """
    tables = {row["task"]: ratios(row["seconds"], row["reference"]) for row in runs}
    goals = []
    for task, who, limit, same in GOALS:
        table = tables.get(task, {})
        if who in table:
            ratio, floor = table[who]["ratio"], table.get(same, {}).get("ratio")
            goals.append(
                {
                    "task": task,
                    "who": who,
                    "limit": limit,
                    "ratio": ratio,
                    "by hand": floor,
                    "met": ratio <= limit,
                }
            )
    faster = []
    for row in runs:
        own = next(name for name in row["seconds"] if name.startswith(OURS))
        against = ratios(row["seconds"], own)
        for name in LIBRARIES:
            if name != OURS and name in against and against[name]["interval"][1] < 1:
                faster.append(
                    {
                        "task": row["task"],
                        "library": name,
                        "ratio to flowlib": against[name]["ratio"],
                        "interval": against[name]["interval"],
                        "reason": reason(row["task"], name),
                    }
                )
    return {
        "tasks": tables,
        "goals": goals,
        "faster peers": faster,
    }


def _save(rows: Mapping[str, Row], out: Path, settings: Row, used: dict[str, str]) -> Row:
    ordered = [rows[task.name] for task in TASKS if task.name in rows]
    result = {
        "command": COMMAND,
        "machine": machine(),
        "versions": used,
        "settings": settings,
        "summary": summarize(ordered),
        "runs": ordered,
    }
    write(out, result)
    return result["summary"]


def _kept(found: Mapping[str, Any], settings: Row, used: dict[str, str]) -> dict[str, Row]:
    """The runs of a result file that need not be repeated: same code, settings, versions and machine."""
    same = {"settings": settings, "versions": used, "machine": machine()}
    if any(found.get(key) != value for key, value in same.items()):
        return {}
    return {row["task"]: row for row in found["runs"] if row["version"] == version()}


def _table(summary: Row) -> str:
    lines = []
    for task, rows in summary["tasks"].items():
        lines.append(task)
        for name, r in rows.items():
            low, high = r["interval"]
            lines.append(
                f"  {name:<32}{1e3 * r['seconds']:9.2f} ms  {r['ratio']:6.3f}  ({low:.3f} to {high:.3f})"
            )
    for goal in summary["goals"]:
        verdict = "met" if goal["met"] else "missed"
        lines.append(
            f"goal {goal['limit']:.2f} {verdict} at {goal['ratio']:.3f}: {goal['who']}, {goal['task']}"
        )
    for peer in summary["faster peers"]:
        ratio = peer["ratio to flowlib"]
        lines.append(
            f"faster: {peer['library']}, {peer['task']}, {ratio:.2f} of flowlib's time: {peer['reason']}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--tasks", nargs="+", metavar="WORD", help="only tasks whose name has one of these words"
    )
    parser.add_argument("--rounds", type=int, help="default 60; 3 with --smoke")
    parser.add_argument(
        "--block", type=float, help="seconds of a block of calls, default 0.05; 0.001 with --smoke"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="small sizes, a few rounds; writes to build/bench"
    )
    parser.add_argument("--fresh", action="store_true", help="repeat what is there")
    parser.add_argument("--out", type=Path, help="the result file")
    given = parser.parse_args(arguments)
    out = given.out or path_of("layers", given.smoke)
    if given.smoke and out.resolve() == path_of("layers"):
        parser.error("--smoke needs another --out: a quick look must not enter the result")
    chosen = [t for t in TASKS if given.tasks is None or any(word in t.name for word in given.tasks)]
    if not chosen:
        parser.error(f"--tasks: expected a word of {'; '.join(t.name for t in TASKS)}, got {given.tasks}")

    # Two libraries call functions that torch is about to drop.
    warnings.filterwarnings(
        "ignore", message=r"torch\.(lu|triangular_solve) is deprecated", category=UserWarning
    )
    torch.set_num_threads(1)
    size, rounds, block = (SMOKE, 3, 1e-3) if given.smoke else (Size(), 60, 0.05)
    rounds, block = given.rounds or rounds, given.block or block
    settings = {
        "threads": 1,
        "dtype": "float32",
        "rounds": rounds,
        "block_seconds": block,
        "size": asdict(size),
    }
    used = versions("torch", "numpy", *LIBRARIES[1:])
    rows = {} if given.fresh else _kept(load(out), settings, used)
    todo = [task for task in chosen if task.name not in rows]
    with tqdm(total=rounds * len(todo), unit="round", desc="layers") as bar:
        for task in todo:
            bar.set_postfix_str(task.name)
            rows[task.name] = run(task, size, rounds, block, bar)
            _save(rows, out, settings, used)
    print(_table(_save(rows, out, settings, used)))


if __name__ == "__main__":
    main()
