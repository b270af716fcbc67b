"""Means, standard errors and paired differences of the runs, and the goals that they are held against."""

import math
import statistics
from collections.abc import Sequence

from benchmarks.accuracy.tasks import AFFINE, BEST, TASKS

__all__ = ["goals", "mean_and_error", "summarize", "table"]

OURS = "flowlib"


def mean_and_error(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean, standard error and median.

    Where a value is missing or not finite there is no mean: one of the others would flatter. The median counts it as
    the worst, +∞, and is None where it is that itself.

    >>> mean_and_error([1.0, 3.0])
    {'mean': 2.0, 's.e.': 1.0, 'median': 2.0}
    >>> mean_and_error([1.0, 3.0, math.nan])
    {'mean': None, 's.e.': None, 'median': 3.0}
    """
    if not values:
        return {"mean": None, "s.e.": None, "median": None}
    middle = statistics.median(v if _finite(v) else math.inf for v in values)
    found: dict[str, float | None] = {
        "mean": None,
        "s.e.": None,
        "median": middle if _finite(middle) else None,
    }
    if all(_finite(v) for v in values):
        found["mean"] = statistics.fmean(values)
        if len(values) > 1:
            found["s.e."] = statistics.stdev(values) / math.sqrt(len(values))
    return found


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _difference(a: float | None, b: float | None) -> float:
    return a - b if _finite(a) and _finite(b) else math.nan


def _judged(run: dict) -> dict:
    """The run with NaN for what is worse than a uniform density."""
    limit = TASKS[run["task"]].uniform
    worse = {name for name in ("early", "last") if not _finite(run.get(name)) or run[name] > limit}
    return run | dict.fromkeys(worse & set(run), math.nan)


def _columns(runs: Sequence[dict]) -> dict[tuple[str, str, str], dict[int, dict]]:
    rows: dict[tuple[str, str, str], dict[int, dict]] = {}
    for run in runs:
        if not {"failed", "missing"} & set(run):
            rows.setdefault((run["task"], run["library"], run["recipe"]), {})[run["seed"]] = _judged(run)
    return rows


def _paired(ones: dict[int, dict], others: dict[int, dict], name: str) -> dict | None:
    """Mean and error of the differences of runs with the same seed; None without two of them."""
    seeds = sorted(set(ones) & set(others))
    if len(seeds) < 2:
        return None
    return mean_and_error([_difference(ones[s].get(name), others[s].get(name)) for s in seeds])


def summarize(runs: Sequence[dict]) -> list[dict]:
    """One entry a row of the table: means over seeds, differences to flowlib and to the plain recipe, paired.

    "diverged" counts the runs with a value that is not there, not finite, or worse than a uniform density.

    >>> run = {"task": "two moons", "library": "flowlib", "recipe": "plain"}
    >>> summarize([run | {"seed": k, "last": 0.5 * k} for k in range(3)])[0]["last"]["mean"]
    0.5
    """
    rows, entries = _columns(runs), []
    for (task, library, recipe), found in rows.items():
        entry: dict = {"task": task, "library": library, "recipe": recipe, "runs": len(found)}
        entry["diverged"] = sum(
            not all(_finite(run[name]) for name in ("early", "last") if name in run) for run in found.values()
        )
        ours, plain = rows.get((task, OURS, recipe), {}), rows.get((task, library, "plain"), {})
        for name in ("early", "last"):
            if any(name in run for run in found.values()):
                entry[name] = mean_and_error([run.get(name) for run in found.values()])
                if library != OURS and (difference := _paired(found, ours, name)):
                    entry[f"{name} minus flowlib"] = difference
                if recipe != "plain" and (difference := _paired(found, plain, name)):
                    entry[f"{name} minus plain"] = difference
        if all("early" in run for run in found.values()):
            entry["last minus early"] = mean_and_error(
                [_difference(run.get("last"), run.get("early")) for run in found.values()]
            )
        seconds = [run["seconds"] for run in found.values() if "seconds" in run and "from" not in run]
        if seconds:
            entry["seconds"] = round(sum(seconds) / len(seconds), 1)
        entries.append(entry)
    return entries


def goals(entries: Sequence[dict]) -> list[dict]:
    """What the course set out to reach, and what it reached: a goal without its runs is left out."""
    by = {(e["task"], e["recipe"]): e for e in entries if e["library"] == OURS}
    found: list[dict] = []

    def add(goal: str, limit: float, values: list[tuple[str, float | None]]) -> None:
        known = [(row, value) for row, value in values if value is not None]
        if known:
            row, value = min(known, key=lambda pair: pair[1])
            found.append({"goal": goal, "limit": limit, "value": value, "row": row, "met": value <= limit})

    def mean(task: str, recipe: str, name: str) -> list[tuple[str, float | None]]:
        entry = by.get((task, recipe), {})
        return [(recipe, (entry.get(name) or {}).get("mean"))]

    add("two moons: nats above the exact density", 0.04, mean("two moons", "ours", "last"))
    add(
        "digits: bits/dim, affine couplings",
        2.28,
        [p for name in AFFINE for p in mean("digits", name, "early")],
    )
    best = [pair for name in BEST for pair in mean("digits", name, "early")]
    add("digits: bits/dim, best", 2.08, best)
    add("digits: last step minus best, bits/dim", 0.02, mean("digits", "ours", "last minus early"))
    return found


def table(entries: Sequence[dict]) -> str:
    """The summary for the terminal: mean ± standard error; the median in brackets where runs diverged."""

    def number(entry: dict, name: str) -> str:
        if name not in entry:
            return " " * 20
        mean, error, median = (entry[name][key] for key in ("mean", "s.e.", "median"))
        if mean is not None:
            return f"{mean:10.3f}{'' if error is None else f' ± {error:.3f}':<10}"
        return f"{'diverged':>10}{'' if median is None else f' ({median:.3f})':<10}"

    lines = []
    for task in TASKS:
        lines.append(f"{task}, {TASKS[task].unit}: early, last")
        for e in (e for e in entries if e["task"] == task):
            name = f"{e['library']}, {e['recipe']}"
            lines.append(f"  {name:<44}{number(e, 'early')}{number(e, 'last')}")
    return "\n".join(lines)
