"""The course measured against the field, part by part: `make bench`.

    python -m benchmarks [PART …] [--smoke] [--fresh]

    layers      speed of layers: flowlib, a flow written by hand, other libraries
    accuracy    what flows reach at an equal budget, with each library's recipe and with ours
    exactness   round trips and log-determinants after training, in float32 and float64
    grading     plain nbgrader, otter-grader and coursekit on the same class
    course      time and memory of the notebooks, the checks and the environment

Each part is a command of its own, `python -m benchmarks.PART`, and writes `benchmarks/results/`. They run one after the other,
since they would disturb each other's clock. What a result file already holds is not measured again unless `--fresh` says so;
so an interrupted run goes on where it was. A part that fails does not stop the others: it is named at the end, and the exit code
is 1. `--smoke` shows in two minutes that everything works, and writes to `build/bench/`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.record import ROOT
from coursekit.isolate.limits import ONE_THREAD

__all__ = ["PARTS", "Outcome", "main", "run_parts"]

# Name → the module that measures it, with its arguments.
PARTS: dict[str, tuple[str, ...]] = {
    "layers": ("benchmarks.layers",),
    "accuracy": ("benchmarks.accuracy",),
    "exactness": ("benchmarks.exactness",),
    "grading": ("benchmarks.grading.field",),
    "course": ("benchmarks.course",),
}

INTERRUPTED = 130  # the exit code that shells give to what Ctrl-C has ended
PATIENCE = 60.0  # seconds: a part ends its own processes before it ends


@dataclass(frozen=True)
class Outcome:
    """What became of a part: its exit code, and seconds of wall clock."""

    part: str
    code: int
    seconds: float


def run_parts(commands: Mapping[str, Sequence[str]], console: Console) -> list[Outcome]:
    """Run each command, whatever becomes of the others; Ctrl-C ends the one that runs and starts no other.

    >>> quiet = Console(quiet=True)
    >>> found = run_parts({"bad": (sys.executable, "-c", "exit(3)"), "good": (sys.executable, "-c", "")}, quiet)
    >>> [(outcome.part, outcome.code) for outcome in found]
    [('bad', 3), ('good', 0)]
    """
    env = {**os.environ, **ONE_THREAD, "MPLBACKEND": "agg"}
    found: list[Outcome] = []
    for number, (part, command) in enumerate(commands.items(), 1):
        console.rule(f"{part}, part {number} of {len(commands)}")
        began = time.monotonic()
        code = _exit_code(subprocess.Popen(list(command), cwd=ROOT, env=env))
        found.append(Outcome(part, code, time.monotonic() - began))
        if code == INTERRUPTED:
            break
    return found


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    """The exit code of a process; `INTERRUPTED` after Ctrl-C, which it got, too, and has time to clean up after."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return INTERRUPTED


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(box=None)
    table.add_column("part")
    table.add_column("seconds", justify="right")
    table.add_column("")
    for outcome in outcomes:
        said = {0: "", INTERRUPTED: "stopped"}.get(outcome.code, f"failed, exit code {outcome.code}")
        table.add_row(outcome.part, f"{outcome.seconds:.0f}", said)
    total = sum(outcome.seconds for outcome in outcomes)
    table.add_row("in all", f"{total:.0f}", f"{total / 60:.1f} minutes")
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts and say how long each took; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # No `choices`: argparse would compare them with an empty list, too.
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all")
    parser.add_argument("--smoke", action="store_true", help="a quick look at all that a part does")
    parser.add_argument("--fresh", action="store_true", help="measure again what has been measured")
    given = parser.parse_args(arguments)
    if unknown := [part for part in given.parts if part not in PARTS]:
        parser.error(f"expected parts among {', '.join(PARTS)}, got {', '.join(unknown)}")
    options = ["--smoke"] * given.smoke + ["--fresh"] * given.fresh
    chosen = [part for part in PARTS if not given.parts or part in given.parts]
    commands = {part: (sys.executable, "-m", *PARTS[part], *options) for part in chosen}
    console = Console(width=None if sys.stdout.isatty() else 120)
    outcomes = run_parts(commands, console)
    console.rule()
    console.print(_table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.code]
    if failed:
        print(f"not done: {', '.join(outcome.part for outcome in failed)}", file=sys.stderr)
    return INTERRUPTED if any(o.code == INTERRUPTED for o in failed) else int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
