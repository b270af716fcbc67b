"""Speed of layers: `benchmarks/results/layers.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.peers import LIBRARIES
from docs.ext.measured.common import Goal, Results, about, notes_list
from docs.ext.tables import drawing, fixed, power, svg, table
from flowlib.plotting import PALETTE

__all__ = [
    "layers_about",
    "layers_goals",
    "layers_headline",
    "layers_notes",
    "ratios_figure",
    "ratios_table",
]

OURS = "flowlib"
COLUMNS = 3  # panels beside each other
FAR = 4.0  # a panel's axis ends there: what is slower is marked at the edge

Row = Mapping[str, Any]


def _families(results: Results) -> dict[str, list[Row]]:
    """Family → its runs: a task is called "family[, size]: what is done"."""
    found: dict[str, list[Row]] = {}
    for run in results["runs"]:
        found.setdefault(run["task"].partition(",")[0].partition(":")[0], []).append(run)
    return found


def _short(task: str) -> str:
    """A task's name without its family.

    >>> _short("MAF, D = 8: density"), _short("Glow step: training")
    ('D = 8: density', 'training')
    """
    family, _, rest = task.partition(", ")
    return rest or family.partition(": ")[2]


def _names(runs: Sequence[Row]) -> list[str]:
    """Everyone who does one of the tasks, in the order of the runs."""
    return list(dict.fromkeys(name for run in runs for name in run["seconds"]))


def layers_about(results: Results) -> str:
    """How the runs were made."""
    settings = results["settings"]
    return (
        f"{about(results)} One thread, {settings['dtype']}, {settings['rounds']} rounds, blocks of at least "
        f"{1000 * settings['block_seconds']:g} ms."
    )


def ratios_table(results: Results) -> str:
    """A table for each family: a row for each implementation, a column for each task."""
    tables = []
    for family, runs in _families(results).items():
        rows = []
        for name in _names(runs):
            cells = []
            for run in runs:
                found = results["summary"]["tasks"][run["task"]].get(name)
                cells.append(
                    "–"
                    if found is None
                    else f"{fixed(1e3 * found['seconds'], 2)} ms"
                    if name == run["reference"]
                    else f"{fixed(found['ratio'], 2)} ({'–'.join(fixed(v, 2) for v in found['interval'])})"
                )
            rows.append([name, *cells])
        head = [f"{family}: ratio (95 %)", *(_short(run["task"]) for run in runs)]
        work = "; ".join(f"*{_short(run['task'])}*: {run['work']}" for run in runs)
        tables.append(
            f"{table(head, rows)}\n\n{work}. The row in milliseconds is the reference, with its median."
        )
    return "\n\n".join(tables)


def layers_notes(results: Results) -> str:
    """What is not identical work, library by library and family by family; and what a library does not have."""
    notes: dict[str, list[str]] = {}
    for family, runs in _families(results).items():
        for name in _names(runs):
            entries = [
                (run["candidates"][name], run["candidates"][run["reference"]])
                for run in runs
                if name in run["candidates"]
            ]
            said = list(dict.fromkeys(c["note"] for c, _ in entries if c.get("note")))
            worst = max((c["difference"] for c, _ in entries if "difference" in c), default=None)
            if worst is not None:
                differ = f"differ by at most {power(worst)}" if worst else "are equal"
                said.append(f"same weights as the reference, outputs {differ}")
            shares = sorted({round(c["parameters"] / r["parameters"], 2) for c, r in entries})
            if shares != [1.0]:
                said.append(
                    f"{' or '.join(fixed(s, 2) for s in shares)} times the parameters of the reference"
                )
            said += [
                f"{c['evaluations']} evaluations of the network" for c, _ in entries if "evaluations" in c
            ]
            if said:
                notes.setdefault(family, []).append(f"{name}: {'; '.join(said)}")
        missing = {library: why for run in runs for library, why in run["missing"].items()}
        for library, why in missing.items():
            notes.setdefault(family, []).append(f"{library}: not there: {why.removeprefix(f'{library}: ')}")
    return notes_list(notes)


def layers_goals(results: Results) -> list[Goal]:
    """The goals for flowlib's couplings; and for each task, that no library is faster: else why one is."""
    tasks = results["summary"]["tasks"]
    reasons = {(peer["task"], peer["library"]): peer["reason"] for peer in results["summary"]["faster peers"]}
    found = [
        Goal(
            f"{goal['task']}, {goal['who']}",
            goal["limit"],
            goal["ratio"],
            unit="times the reference",
            why=f"The same map without flowlib, written by hand: {fixed(goal['by hand'], 2)}",
        )
        for goal in results["summary"]["goals"]
    ]
    for run in results["runs"]:
        rows = tasks[run["task"]]
        ours = next(name for name in rows if name.startswith(OURS))
        peers = [name for name in rows if not name.startswith(OURS) and name != run["reference"]]
        if peers:
            fastest = min(peers, key=lambda name: rows[name]["ratio"])
            what = f"{run['task']}, {ours} beside the fastest other library, {fastest}"
            share = rows[ours]["ratio"] / rows[fastest]["ratio"]
            why = reasons.get((run["task"], fastest), "")
            found.append(Goal(what, 1.0, share, unit="times its time", why=f"{why[:1].upper()}{why[1:]}"))
    return found


def layers_headline(results: Results) -> str:
    """The line of README.md: a training step of couplings, ours and the others'."""
    run = results["runs"][0]
    rows = {
        name: row
        for name, row in results["summary"]["tasks"][run["task"]].items()
        if name != run["reference"]
    }
    ours = next(name for name in rows if name.startswith(OURS))
    others = sorted((row["ratio"], name) for name, row in rows.items() if name in LIBRARIES)
    said = ", ".join(f"{name} {fixed(ratio, 2)}" for ratio, name in others)
    return (
        f"Speed: {run['task'].replace(':', ',')}: {fixed(rows[ours]['ratio'], 2)} times the time of a step written by hand "
        f"in 30 lines{f' ({said})' if said else ''}."
    )


def _draw(ax: Axes, run: Row, rows: Mapping[str, Row], names: Sequence[str]) -> None:
    """One task: a mark for each implementation at its ratio, with its interval."""
    ax.axvline(1, color=PALETTE["black"], lw=1, ls="--")
    for name, row in rows.items():
        y, ratio = names.index(name), row["ratio"]
        color = PALETTE["blue" if name.startswith(OURS) else "vermilion"]
        marker = "o" if name.startswith(OURS) else "s"
        if name not in LIBRARIES and not name.startswith(OURS):
            color = PALETTE["black"]
        if name == run["reference"]:
            color, marker = PALETTE["black"], "D"
        if ratio > FAR:
            ax.plot([FAR], [y], ">", color=color, markersize=6)
            ax.annotate(
                fixed(ratio, 1),
                (FAR, y),
                xytext=(-7, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=9,
            )
            continue
        low, high = row["interval"]
        ax.plot([low, min(high, FAR)], [y, y], color=color, lw=2)
        ax.plot([ratio], [y], marker, color=color, markersize=5)
    ax.set_title(_short(run["task"]), fontsize=10)
    largest = max(min(row["interval"][1], FAR) for row in rows.values())
    smallest = min(row["interval"][0] for row in rows.values())
    ax.set_xlim(min(0.9, 0.97 * smallest), max(1.3, 1.04 * largest))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.tick_params(labelsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.3)


def ratios_figure(results: Results) -> bytes:
    """A panel for each task, a line for each implementation: ratio with its interval, left is faster; as SVG."""
    bands = []  # tasks beside each other share their lines
    for family, runs in _families(results).items():
        bands += [(family, runs[k : k + COLUMNS]) for k in range(0, len(runs), COLUMNS)]
    heights = [0.26 * len(_names(runs)) + 0.75 for _, runs in bands]
    with drawing("measured layers"):
        figure = Figure(figsize=(9.2, sum(heights) + 0.3), layout="constrained")
        grid = figure.subplots(len(bands), COLUMNS, squeeze=False, height_ratios=heights)
        for (family, runs), axes in zip(bands, grid, strict=True):
            names = _names(runs)
            for ax in axes[len(runs) :]:
                ax.set_axis_off()
            for k, (run, ax) in enumerate(zip(runs, axes, strict=False)):
                _draw(ax, run, results["summary"]["tasks"][run["task"]], names)
                ax.set_ylim(len(names) - 0.5, -0.5)
                ax.set_yticks(range(len(names)), names if k == 0 else [""] * len(names), fontsize=9)
            axes[0].set_ylabel(family, fontsize=10)
        grid[-1][0].set_xlabel("time / time of the reference", fontsize=10)
        return svg(figure)
