"""Accuracy at an equal budget: `benchmarks/results/accuracy.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from docs.ext.measured.common import Goal, Results, about, notes_list
from docs.ext.tables import drawing, fixed, plus_minus, svg, table
from flowlib.plotting import PALETTE

__all__ = [
    "accuracy_about",
    "accuracy_figure",
    "accuracy_goals",
    "accuracy_headline",
    "accuracy_notes",
    "accuracy_table",
]

OURS = "flowlib"
RECIPES = {"plain": "plain", "ours": "our recipe", "bare": "bare"}
DIVERGED = "diverged"
# Of the lines of models, in their order: told apart without their colors, too.
STYLES = (
    ("black", "--"),
    ("wine", ":"),
    ("purple", "-."),
    ("green", (0, (5, 1))),
    ("black", (0, (1, 3))),
    ("wine", (0, (3, 1, 1, 1))),
    ("blue", (0, (2, 2))),
    ("orange", (0, (7, 2))),
)

Row = Mapping[str, Any]


def _tasks(results: Results) -> dict[str, list[Row]]:
    """Data set → its rows, in the order of the settings."""
    rows = results["summary"]["rows"]
    return {task: [row for row in rows if row["task"] == task] for task in results["settings"]}


def _is_library(row: Row) -> bool:
    return row["recipe"] in RECIPES


def _best_column(rows: list[Row]) -> str:
    """What a data set is judged by: the best step by validation, where there is one."""
    return "early" if all("early" in row for row in rows) else "last"


def _cell(row: Row, column: str) -> str:
    """Mean ± standard error; that a run diverged, and how many did."""
    if column not in row:
        return "–"
    value = row[column]
    if value["mean"] is None:
        return f"{DIVERGED} ({row['diverged']} of {row['runs']})" if row["diverged"] else DIVERGED
    if value["s.e."] is None:
        return fixed(value["mean"], 3)
    return plus_minus(value["mean"], value["s.e."])


def accuracy_about(results: Results) -> str:
    """How the runs were made, with the budget of each data set."""
    seeds = len({run["seed"] for run in results["runs"]})
    budgets = []
    for task, settings in results["settings"].items():
        budget = settings["budget"]
        budgets.append(
            f"- *{task}*, in {settings['unit']}: {budget['layers']} affine couplings, conditioners "
            f"{' × '.join(map(str, budget['hidden']))} ReLU, {budget['steps']:,} steps, batches of {budget['batch_size']}."
        )
    plural = f"{seeds} seeds for each row" if seeds > 1 else "one seed"
    return f"{about(results)} {plural[0].upper()}{plural[1:]}.\n\n" + "\n".join(budgets)


def accuracy_table(results: Results) -> str:
    """A table for each data set: a row for each library with each recipe, then models beside them."""
    tables = []
    for task, rows in _tasks(results).items():
        columns = {"early": "best step", "last": "last step"}
        columns = {name: said for name, said in columns.items() if any(name in row for row in rows)}
        gain = _best_column(rows)
        body = []
        for row in sorted(rows, key=lambda row: not _is_library(row)):
            cells = [_cell(row, name) for name in columns]
            differences = [_cell(row, f"{gain} minus {other}") for other in ("flowlib", "plain")]
            shown = RECIPES.get(row["recipe"], row["recipe"])
            library = row["library"] if _is_library(row) else "beside them"
            seconds = fixed(row.get("seconds"), 0)
            body.append([library, shown, *cells, *differences, seconds])
        head = [f"{task}", "recipe or model", *columns.values(), "minus flowlib", "minus plain", "CPU, s"]
        tables.append(table(head, body, left=2))
    return "\n\n".join(tables)


def accuracy_notes(results: Results) -> str:
    """Which runs did not come to their end, and which were not made for this table."""
    notes: dict[str, list[str]] = {}
    stopped: dict[str, list[int]] = {}
    for run in results["runs"]:
        if "stopped" in run:
            name = f"{run['task']}, {run['library']}, {RECIPES.get(run['recipe'], run['recipe'])}: {run['stopped']}"
            stopped.setdefault(name, []).append(run["seed"])
    failed = [
        f"{run['task']}, {run['library']}, {run['recipe']}, seed {run['seed']}: {run['failed']}"
        for run in results["runs"]
        if "failed" in run
    ]
    if failed:
        notes["Runs that failed, and are in no mean"] = failed
    if stopped:
        notes["Trainings that stopped"] = [
            f"{name} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})"
            for name, seeds in stopped.items()
        ]
    reused = sorted({run["from"] for run in results["runs"] if "from" in run})
    if reused:
        models = dict.fromkeys(run["recipe"] for run in results["runs"] if "from" in run)
        files = " and ".join(f"`{name}`" for name in reused)
        notes["Not measured again"] = [f"{', '.join(models)}: where {files} has the split, from there"]
    return notes_list(notes) or "Every run came to its end."


def accuracy_goals(results: Results) -> list[Goal]:
    """The goals on two moons and on digits."""
    return [
        Goal(f"{goal['goal']} ({RECIPES.get(goal['row'], goal['row'])})", goal["limit"], goal["value"], 3)
        for goal in results["summary"]["goals"]
    ]


def _mean(rows: list[Row], library: str, recipe: str, column: str) -> float | None:
    for row in rows:
        if (row["library"], row["recipe"]) == (library, recipe):
            return row.get(column, {}).get("mean")
    return None


def accuracy_headline(results: Results) -> str:
    """The line of README.md: two moons, ours with its recipe beside every library, as it comes and with the same recipe."""
    rows = _tasks(results)["two moons"]
    said = [
        f"{_range(rows, recipe)} {how}"
        for recipe, how in (("plain", "with plain Adam"), ("ours", "with this recipe"))
        if _range(rows, recipe)
    ]
    others = f"; other libraries {' and '.join(said)}" if said else ""
    ours = _mean(rows, OURS, "ours", "last")
    return f"Accuracy: two moons, {fixed(ours, 3)} nats above the exact density after 2000 steps{others}."


def _range(rows: list[Row], recipe: str) -> str:
    """Smallest to largest mean of the other libraries, and how many of them diverged."""
    found = [row for row in rows if row["recipe"] == recipe and row["library"] != OURS and "last" in row]
    means = [row["last"]["mean"] for row in found if row["last"]["mean"] is not None]
    if not means:
        return ""
    lost = len(found) - len(means)
    return f"{fixed(min(means), 3)} to {fixed(max(means), 3)}{f' ({lost} diverged)' if lost else ''}"


def _draw_models(ax: Axes, rows: list[Row], column: str) -> None:
    """A line for each model that stands beside the libraries, except where it is far away from all of them."""
    libraries = [row[column]["mean"] for row in rows if _is_library(row)] or [0.0]
    low, high = min(libraries), max(libraries)
    # What is farther away would press everything else into a corner; the table has it.
    margin = 1.2 * (high - low) + 0.1 * abs(high)
    models = [row for row in rows if not _is_library(row)]
    for row, (color, style) in zip(models, STYLES[: len(models)], strict=True):
        if low - margin <= row[column]["mean"] <= high + margin:
            ax.axvline(row[column]["mean"], color=PALETTE[color], ls=style, lw=1.3, label=row["recipe"])


def _draw(ax: Axes, task: str, rows: list[Row], unit: str, names: list[str]) -> None:
    """One data set: two marks a library, and a line for each model beside them."""
    column = _best_column(rows)
    marks = (("plain", "vermilion", "s", -0.16), ("ours", "blue", "o", 0.16))
    for recipe, color, marker, shift in marks:
        found = {r["library"]: r for r in rows if r["recipe"] == recipe and column in r}
        known = [n for n in names if n in found and found[n][column]["mean"] is not None]
        ax.errorbar(
            [found[n][column]["mean"] for n in known],
            [names.index(n) + shift for n in known],
            xerr=[2 * (found[n][column]["s.e."] or 0) for n in known],
            fmt=marker,
            color=PALETTE[color],
            capsize=2,
            markersize=5,
            label=RECIPES[recipe],
        )
        for n in (n for n in names if n in found and n not in known):
            # At the right edge, wherever the axis ends.
            ax.text(
                0.99,
                names.index(n) + shift,
                f"{RECIPES[recipe]}: {DIVERGED}",
                transform=ax.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=8,
            )
    _draw_models(ax, [row for row in rows if column in row and row[column]["mean"] is not None], column)
    ax.set_title(task, fontsize=11)
    ax.set_xlabel(unit, fontsize=9)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.3)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)


def accuracy_figure(results: Results) -> bytes:
    """A panel for each data set: mean ± 2 standard errors of each library, plain and with our recipe; as SVG."""
    tasks = _tasks(results)
    with drawing("measured accuracy"):
        figure = Figure(figsize=(9.2, 2.6 * len(tasks)), layout="constrained")
        for (task, rows), ax in zip(
            tasks.items(), figure.subplots(len(tasks), squeeze=False)[:, 0], strict=True
        ):
            names = list(dict.fromkeys(row["library"] for row in rows if _is_library(row)))
            _draw(ax, task, rows, results["settings"][task]["unit"], names)
        return svg(figure)
