"""Exactness after training: `benchmarks/results/exactness.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.ext.measured.common import Results, about, notes_list
from docs.ext.tables import power, table

__all__ = ["errors_table", "exactness_about", "exactness_notes"]

DTYPES = ("float32", "float64")
ERRORS = ("round trip", "log-det to base", "log-det to data")
# In place of a library's name: flowlib as the page of families builds it.
OF_FAMILIES, SHOWN = "table of families", "flowlib, as on the page of families"
CANNOT = "cannot"

Row = Mapping[str, Any]


def _measured(results: Results) -> list[Row]:
    return [run for run in results["runs"] if DTYPES[0] in run]


def _library(run: Row) -> str:
    return SHOWN if run["library"] == OF_FAMILIES else run["library"]


def exactness_about(results: Results) -> str:
    """How the runs were made."""
    settings = results["settings"]
    return (
        f"{about(results)} Two moons, {settings['steps']} steps, batches of {settings['batch size']}; {settings['points']:,} test points "
        f"and {settings['far points']:,} far ones."
    )


def _cell(error: Mapping[str, Any]) -> str:
    """The largest error, and how many points have none that is finite."""
    if CANNOT in error:
        return CANNOT
    lost = f" ({error['not finite']} not finite)" if error["not finite"] else ""
    return f"{power(error['largest'])}{lost}"


def errors_table(results: Results) -> str:
    """The largest errors of each flow, at test points and at far points: a table each."""
    head = ["family", "library", *(f"{dtype}, {name}" for dtype in DTYPES for name in ERRORS)]
    tables = []
    for points, said in (("test", "At test points:"), ("far", "At far points:")):
        rows = [
            [
                run["family"],
                _library(run),
                *(_cell(run[dtype][points][name]) for dtype in DTYPES for name in ERRORS),
            ]
            for run in _measured(results)
        ]
        tables.append(f"{said}\n\n{table(head, rows, left=2)}")
    return "\n\n".join(tables)


def _refusals(run: Row) -> Iterator[str]:
    """What a flow says where it cannot do something, once each."""
    said: dict[str, list[str]] = {}
    for dtype in DTYPES:
        for points, errors in run[dtype].items():
            for name, error in errors.items():
                if CANNOT in error:
                    said.setdefault(error[CANNOT], []).append(f"{name} ({dtype}, {points} points)")
    for why, where in said.items():
        yield f"{', '.join(where)}: {why}"


def exactness_notes(results: Results) -> str:
    """What was not measured, and why."""
    notes: dict[str, list[str]] = {}
    for run in results["runs"]:
        if "missing" in run or "failed" in run:
            why = run.get("missing") or f"failed: {run['failed']}"
            why = why.removeprefix(f"{run['library']}: ")
            notes.setdefault("Not there", []).append(f"{_library(run)}, {run['family']}: {why}")
    for run in _measured(results):
        for why in _refusals(run):
            notes.setdefault("Cannot", []).append(f"{_library(run)}, {run['family']}: {why}")
    return notes_list(notes) or "Every flow was measured in both directions."
