"""The parts' results as tables on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["SHOWN", "show"]


def show(name: str, part: dict[str, Any], console: Console) -> None:
    """Print one part."""
    about = f"{name}, {part['date']}" + (", interrupted" if part.get("interrupted") else "")
    console.rule(about)
    SHOWN[name](part, console)


def _plain(part: dict[str, Any], console: Console) -> None:
    rows = [
        ("submissions", f"{part['submissions']} of {part['class_size']}"),
        ("wall clock", f"{part['wall']:.1f} s, {part['per_minute']:.1f} submissions a minute"),
        ("median of a submission", f"{part['median_seconds']} s"),
        ("until the first begins", f"{part['start_seconds']} s"),
        *_costs(part),
    ]
    _facts("one process of nbgrader autograde", rows, console)


def _coursekit(part: dict[str, Any], console: Console) -> None:
    for run in part["runs"]:
        rows = [
            (
                "submissions",
                f"{run['submissions']}: {run['status']}, isolation {', '.join(run['isolation'])}",
            ),
            ("wall clock", f"{run['wall']:.1f} s, {run['per_minute']:.1f} submissions a minute"),
            ("until the first begins", f"{run['start_seconds']} s; {run['end_seconds']} s after the last"),
            ("workers busy in between", f"{100 * (run['workers_busy'] or 0):.0f} %"),
            *[(f"a submission: {k}", _spread(v)) for k, v in run["submission"].items()],
            ("of it before the first", _by_role(run["start_cpu_by_role"], "s")),
            *_costs(run),
        ]
        _facts(f"coursekit grade, {run['workers']} workers", rows, console)
    if ratio := part.get("ratio"):
        text = f"[bold]{ratio['ratio']:.1f} times[/bold] the throughput of plain nbgrader"
        console.print(f"{text} (95 %: {ratio['low']:.1f} to {ratio['high']:.1f})")
    if points := part.get("points"):
        console.print(
            f"points: {points['students']} students, {points['test_cells']} test cells, {points['different']} different"
        )
        if points["rows"]:
            columns = ("student", "kind", "what", "cell", "plain", "coursekit", "why")
            _rows(columns, [[row[c] for c in columns] for row in points["rows"]], console)


def _scaling(part: dict[str, Any], console: Console) -> None:
    columns = ("workers", "wall s", "per minute", "after start-up", "workers busy", "CPU of others s", "load")
    rows = [
        [
            run["workers"],
            run["wall"],
            run["per_minute"],
            run["per_minute_without_start"],
            run["workers_busy"],
            run["others_cpu_seconds"],
            run["load"],
        ]
        for run in part["runs"]
    ]
    _rows(columns, rows, console)


def _overhead(part: dict[str, Any], console: Console) -> None:
    rows = [
        ("submissions", f"{part['submissions']}, {part['full_points']} with full points"),
        ("in all", f"{part['seconds']} s, {part['ms']} ms each with {part['workers']} workers"),
        ("until the first result", f"{part['start_seconds']} s"),
        ("again, nothing changed", f"{part['resume_ms']} ms each, {part['reused']} reused"),
    ]
    _facts(f"a submission that computes nothing, isolation {', '.join(part['isolation'])}", rows, console)
    _phases("main process", part["main"], console)
    _phases(f"a worker: {part['worker']['ms']} ms", part["worker"]["phases"], console)


def _dask(part: dict[str, Any], console: Console) -> None:
    rows = [
        ("workers", f"{part['workers']} processes, joined by address"),
        ("wall clock", f"{part['wall']:.1f} s, {part['per_minute']:.1f} submissions a minute"),
        ("until the first begins", f"{part['start_seconds']} s"),
        ("points against a local pool", f"{part['different']} of {part['test_cells']} test cells differ"),
    ]
    _facts("Dask cluster", rows, console)


def _large(part: dict[str, Any], console: Console) -> None:
    columns = ("case", "status", "points", "seconds", "reading s", "private MB", "result MB", "said")
    rows = []
    for row in part["cases"]:
        points = f"{row['points']:g} / {row['max_points']:g}" if "points" in row else ""
        said = "; ".join(filter(None, (row.get("message", ""), *row.get("flags", ()))))
        rows.append(
            [
                row["case"],
                row["status"],
                points,
                row.get("seconds", ""),
                row["reading_seconds"],
                row.get("private_mb", ""),
                row.get("result_mb", ""),
                said,
            ]
        )
    _rows(columns, rows, console)
    console.print(f"in all {part['wall']:.1f} s; private memory {_by_role(part['private_mb_by_role'], 'MB')}")


def _profile(part: dict[str, Any], console: Console) -> None:
    title = f"a right submission, one worker: {part['ms']} ms, of these {part['student_cpu_ms']} ms CPU of the student's"
    _phases(title, part["phases"], console)
    for name in ("slowest_cells", "slowest_verdicts"):
        _rows((name.replace("_", " "), "ms"), list(part[name].items()), console)


SHOWN: dict[str, Callable[[dict[str, Any], Console], None]] = {
    "plain": _plain,
    "coursekit": _coursekit,
    "whole": _coursekit,
    "scaling": _scaling,
    "overhead": _overhead,
    "dask": _dask,
    "large": _large,
    "profile": _profile,
}


def _costs(run: dict[str, Any]) -> list[tuple[str, str]]:
    cpu = f"{run['cpu_seconds']:.1f} s: {_by_role(run['cpu_by_role'], 's')}"
    machine = (
        f"others {run['others_cpu_seconds']:.1f} s, idle {run['idle_cpu_seconds']:.1f} s, load {run['load']}"
    )
    return [
        ("CPU", cpu),
        ("the machine meanwhile", machine),
        ("private memory", _by_role(run["private_mb_by_role"], "MB")),
    ]


def _by_role(values: dict[str, float], unit: str) -> str:
    return ", ".join(f"{role} {value:.0f} {unit}" for role, value in values.items()) or "–"


def _spread(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _phases(title: str, phases: dict[str, dict[str, float]], console: Console) -> None:
    rows = [(name, f"{row['ms']:.1f}", row["calls"]) for name, row in phases.items()]
    _rows((title, "ms", "calls"), rows, console)


def _facts(title: str, rows: list[tuple[str, str]], console: Console) -> None:
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _rows(columns: tuple[str, ...], rows: list[Any], console: Console) -> None:
    table = Table(box=None)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*[f"{v:g}" if isinstance(v, float) else str(v) for v in row])
    console.print(table)
