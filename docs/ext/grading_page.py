"""What docs/grading.md says of speed, made of `benchmarks/results/grading.json`: no number is typed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["bounds", "overhead", "parts", "scaling", "sizes", "throughput"]

Parts = Mapping[str, Mapping[str, Any]]
_WORDS = {1: "one", 2: "two", 3: "three", 4: "four"}


def parts(results: Path) -> dict[str, Callable[[], str]]:
    """The parts by the names of their markers; `results` is the folder of the result files."""

    def read(name: str) -> Mapping[str, Any]:
        return json.loads((results / name).read_text(encoding="utf-8"))

    def made(write: Callable[[Mapping[str, Any]], str]) -> Callable[[], str]:
        return lambda: write(read("grading.json"))

    return {
        "grading throughput": made(throughput),
        "grading sizes": lambda: sizes(read("grading.json"), read("grading_field.json")),
        "grading bounds": made(bounds),
        "grading scaling": made(scaling),
        "grading overhead": made(overhead),
    }


def throughput(found: Mapping[str, Any]) -> str:
    """Plain nbgrader against coursekit on the same class, and what a submission takes."""
    one, runs = found["parts"]["plain"], found["parts"]["coursekit"]["runs"]
    ratio, points = found["parts"]["coursekit"]["ratio"], found["parts"]["coursekit"]["points"]
    memory, seconds = (
        _median(run["submission"][key]["median"] for run in runs) for key in ("private_mb", "cpu_seconds")
    )
    judging = _median(run["cpu_by_role"]["workers"] / run["submissions"] for run in runs)
    return (
        f"`make grade` grades the same {one['submissions']} honest submissions of `03_masked_coupling`, right, wrong, partial "
        f"and blank, by one process of plain `nbgrader autograde` and by `coursekit grade` with {_workers(runs[0]['workers'])}, "
        f"isolated; both cut training and write no feedback. On {_word(found['machine']['cores'])} cores: {one['wall']:.0f} s "
        f"against {_range([run['wall'] for run in runs], 1)} s, **{ratio['ratio']:.1f} times the throughput** (95 % of bootstrap "
        f"samples over students: {ratio['low']:.1f} to {ratio['high']:.1f}), and {_same(points)}. A student's processes take "
        f"{memory:.0f} MB of memory of their own and {seconds:.1f} s of CPU time (medians); the worker that judges takes another "
        f"{judging:.1f} s. The numbers are in `benchmarks/results/grading.json`."
    )


def sizes(found: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    """Why the same comparison of a smaller class gives another number."""
    runs = found["parts"]["coursekit"]["runs"]
    workers = runs[0]["workers"]
    small = [run for run in field["runs"] if (run["tool"], run["workers"]) == ("coursekit grade", workers)]
    [ratio] = [
        row["ratio"]
        for row in field["summary"]["ratios"]
        if (row["against"], row["workers"]) == ("nbgrader autograde", workers)
    ]
    (around_here, each_here), (around_there, each_there) = (
        (
            _median((run["start_seconds"] + run["end_seconds"]) / run["wall"] for run in measured),
            _median(seconds for run in measured for seconds in run["seconds"].values()),
        )
        for measured in (runs, small)
    )
    return (
        f"How many times depends on the class. In one of {small[0]['submissions']} it is {ratio:.1f} times "
        f"([measured](measured.md#grading)): starting and ending the workers takes {100 * around_there:.0f} % of the time there and "
        f"{100 * around_here:.0f} % here, and a worker is busy with a submission for {each_there:.1f} s there and {each_here:.1f} s "
        "here (medians)."
    )


def bounds(found: Mapping[str, Any]) -> str:
    """Where the wall clock of coursekit goes."""
    runs = found["parts"]["coursekit"]["runs"]
    busy, start = (_median(run[key] for run in runs) for key in ("workers_busy", "start_seconds"))
    return (
        f"What bounds it: the workers have a submission in hand {100 * busy:.0f} % of the time from the first submission to the "
        f"last; {start:.0f} s go into start-up, which is PyTorch imported by each worker and each warm parent."
    )


def scaling(found: Mapping[str, Any]) -> str:
    """The figure of rates against workers, its numbers in the alternative text; and what more workers than cores gain."""
    rates: dict[int, list[float]] = {}
    for run in found["parts"]["scaling"]["runs"]:
        rates.setdefault(run["workers"], []).append(run["per_minute_without_start"])
    middle = {number: _median(values) for number, values in sorted(rates.items())}
    cores = found["machine"]["cores"]
    within, beyond = ([rate for n, rate in middle.items() if (n > cores) is more] for more in (False, True))
    said = ", ".join(
        f"{rate:.0f} with {_word(number)}{' worker' if number == 1 else ''}"
        for number, rate in middle.items()
    )
    more = ""
    if beyond and within:
        change = max(beyond) / max(within) - 1
        more = (
            "More workers than cores gain "
            + (f"{100 * change:.0f} %:" if change > 0.02 else "nothing:")
            + "\n\n"
        )
    return (
        f"{more}![Submissions per minute after start-up against worker processes, measured on {_word(cores)} cores: {said}; the "
        "line of perfect scaling from one worker is dashed](images/grading_scaling.png)"
    )


def overhead(found: Mapping[str, Any]) -> str:
    """What a submission costs beside its own code, and whether a cluster agrees."""
    trivial, dask = found["parts"]["overhead"], found["parts"]["dask"]
    worker, phases = trivial["worker"], trivial["worker"]["phases"]
    around = phases["start of processes"]["ms"] + phases["end of processes"]["ms"]
    return (
        f"What a submission costs beside its own code: {trivial['submissions']:,} submissions that compute nothing take "
        f"{trivial['ms']:.1f} ms each with {_workers(trivial['workers'])}, {trivial['main']['write gradebook']['ms']:.0f} ms of it "
        f"for the gradebook, which one process writes; a worker spends {worker['ms']:.1f} ms on each, {around:.0f} ms of it on "
        f"starting and ending the student's process. A second run that finds nothing changed takes {trivial['resume_ms']:.1f} ms "
        f"each. A Dask cluster of {_word(dask['workers'])} worker processes, joined by its address, gives {_same(dask)}."
    )


def _same(points: Mapping[str, Any]) -> str:
    """Whether two ways of grading agree.

    >>> _same({"test_cells": 1800, "different": 0}), _same({"test_cells": 1800, "different": 2})
    ('the same points in all 1,800 test cells', 'other points in 2 of 1,800 test cells')
    """
    if points["different"]:
        return f"other points in {points['different']:,} of {points['test_cells']:,} test cells"
    return f"the same points in all {points['test_cells']:,} test cells"


def _range(values: Sequence[float], digits: int) -> str:
    """Smallest to largest; a single number where both are written alike.

    >>> _range([47.04, 45.42], 1), _range([45.42, 45.41], 1)
    ('45.4 to 47.0', '45.4')
    """
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def _word(number: int) -> str:
    return _WORDS.get(number, str(number))


def _workers(number: int) -> str:
    return f"{_word(number)} worker{'s' * (number != 1)}"
