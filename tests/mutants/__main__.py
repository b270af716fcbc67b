"""How many wrong variants of the solutions do the checks reject?

    python -m tests.mutants                                   all assignments
    python -m tests.mutants 03_masked_coupling --only Flow    one exercise
    python -m tests.mutants 03_masked_coupling --only Flow#17 one mutant, shown as a diff

Exit code 1 when an assignment rejects fewer than 98 % of the variants that change behavior, 2 when one cannot be judged.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import time
from dataclasses import asdict
from pathlib import Path

# Before sympy is loaded: the solution's work on a thousand cases is kept for the mutants.
os.environ.setdefault("SYMPY_CACHE_SIZE", "100000")

import torch
from tqdm import tqdm

from tests.course import ASSIGNMENTS
from tests.mutants.harness import Exercise, HarnessError, Result, Summary, exercises, judge

WANTED = 0.98


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "assignments", nargs="*", metavar="ASSIGNMENT", help="such as 03_masked_coupling; default: all"
    )
    parser.add_argument("--only", help="one exercise by name, or one mutant: Name#number")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time (default 2)")
    parser.add_argument("--cases", type=int, default=1000, help="random cases per mutant (default 1000)")
    parser.add_argument("--json", type=Path, help="file for all counts and survivors")
    args = parser.parse_args()
    if unknown := set(args.assignments) - set(ASSIGNMENTS):
        parser.error(f"expected some of {', '.join(ASSIGNMENTS)}, got {', '.join(sorted(unknown))}")

    torch.set_num_threads(1)  # a process forked from one with more threads may wait for them forever
    summaries, problems = {}, []
    for assignment in args.assignments or ASSIGNMENTS:
        start = time.monotonic()
        try:
            summaries[assignment] = run(assignment, args)
        except HarnessError as error:
            problems.append(f"{assignment}: {error}")
            print(f"{assignment} cannot be judged: {error}")
            continue
        report(f"{assignment} TOGETHER", summaries[assignment], time.monotonic() - start)
    if args.json:
        args.json.write_text(
            json.dumps({a: to_json(s) for a, s in summaries.items()}, indent=1) + "\n", encoding="utf-8"
        )
    if problems:
        return 2
    return int(any(s.rate < WANTED for s in summaries.values()))


def run(assignment: str, args: argparse.Namespace) -> Summary:
    """Judge the mutants of an assignment, with a bar per exercise."""
    name, _, number = (args.only or "").partition("#")
    chosen = [e for e in exercises(assignment) if name in ("", e.name)]
    if not chosen:
        raise HarnessError(f"expected an exercise of {assignment}, got {name!r}")
    summary = Summary()
    for exercise in chosen:
        start = time.monotonic()
        total, found = judge(
            exercise, cases=args.cases, workers=args.workers, only=int(number) if number else None
        )
        with tqdm(
            found, total=total, desc=f"{assignment[:2]} {exercise.name}", unit="mutant", leave=False
        ) as bar:
            results = sorted(bar, key=lambda r: r.number)
        part = Summary(results)
        report(f"{assignment} {exercise.name}", part, time.monotonic() - start)
        report_lists(part)
        summary.results += results
        if number:
            show_diff(exercise, results[0])
    return summary


def show_diff(exercise: Exercise, result: Result) -> None:
    """The mutant as an edit of the solution (without its comments)."""
    before = ast.unparse(ast.parse(exercise.sources[exercise.name])).splitlines()
    print(result.verdict)
    print("\n".join(difflib.unified_diff(before, result.mutant.source.splitlines(), lineterm="", n=2)))


def report(title: str, summary: Summary, seconds: float) -> None:
    """Counts in a line."""
    c = summary.counts()
    print(
        f"{title}: {c['made']} made, {c['changed']} change behavior, {c['rejected']} of these rejected: {c['rate']:.1%}"
        f" ({c['rate_without_crash']:.1%} of those that do not crash), {seconds:.0f} s",
        flush=True,
    )


def report_lists(summary: Summary) -> None:
    """Mutants that say something about a check or a probe."""
    lists = {
        "survivors: behavior changes, every check passes": [
            (r, r.verdict.changed) for r in summary.survivors
        ],
        "rejected though no case differs: is the check too strict or the probe too weak?": [
            (r, r.verdict.rejected) for r in summary.of(changed=False, rejected=True)
        ],
        "the check itself raised: it should report a mismatch": [
            (r, r.verdict.broken_check) for r in summary.results if r.verdict.broken_check
        ],
    }
    for title, entries in lists.items():
        if entries:
            print(f"  {title}")
            for result, why in entries:
                print(f"    {result}\n        {why}", flush=True)


def to_json(summary: Summary) -> dict:
    """All counts, and what the report lists."""

    def rows(results: list[Result]) -> list[dict]:
        return [{"mutant": str(r), **asdict(r.verdict)} for r in results]

    names = dict.fromkeys(r.exercise for r in summary.results)
    return {
        **summary.counts(),
        "exercises": {n: Summary([r for r in summary.results if r.exercise == n]).counts() for n in names},
        "survivor_list": rows(summary.survivors),
        "rejected_though_unchanged_list": rows(summary.of(changed=False, rejected=True)),
        "unnoticed_list": [str(r) for r in summary.of(changed=False, rejected=False)],
        "broken_checks": rows([r for r in summary.results if r.verdict.broken_check]),
    }


if __name__ == "__main__":
    raise SystemExit(main())
