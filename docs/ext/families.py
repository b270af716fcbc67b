"""Tables and figures of what the families of flows reach, made of `flowlib/results/*.json`: no number is typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from docs.ext.tables import drawing, mean_and_error, plus_minus, power, svg, table
from flowlib.plotting import PALETTE

__all__ = [
    "costs_table",
    "digits_about",
    "digits_figure",
    "digits_table",
    "exactness_table",
    "excess_figure",
    "excess_table",
    "families_about",
]

Results = Mapping[str, Any]
_TARGETS = {
    "two_moons": "two moons",
    "eight_gaussians": "eight Gaussians",
    "checkerboard": "checkerboard",
    "rings": "rings",
}


def _targets(results: Results) -> list[str]:
    return list(dict.fromkeys(run["target"] for run in results["runs"]))


def _seeds(runs: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], set[int]]:
    found: dict[tuple[str, str], set[int]] = {}
    for run in runs:
        found.setdefault((run["family"], run["target"]), set()).add(run["seed"])
    return found


def families_about(results: Results) -> str:
    """A sentence on how the runs were made."""
    counts = sorted({len(seeds) for seeds in _seeds(results["runs"]).values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    failed = sum("failed" in run or "stopped" in run for run in results["runs"])
    recipe = results["recipe"]
    return (
        f"Made by `{results['command']}` with PyTorch {results['torch']}: {len(results['runs'])} runs, "
        f"{seeds} seeds for each family and target, {results['points']:,} points to train with and as many to test; "
        f"batches of {recipe['batch_size']}, gradients clipped at {recipe['clip']:g}, a {recipe['schedule']} schedule, "
        f"weights averaged with {recipe['average']:g}. {failed or 'None'} of the runs failed."
    )


def excess_table(results: Results) -> str:
    """Excess in nats, mean ± standard error over seeds, a row each family and a column each target."""
    targets = _targets(results)
    rows = []
    for family in results["families"]:
        cells = [
            mean_and_error(
                [
                    r["excess"]
                    for r in results["runs"]
                    if (r["family"], r["target"]) == (family, t) and "excess" in r
                ]
            )
            for t in targets
        ]
        rows.append([family, *cells])
    return table(["excess in nats", *(_TARGETS[t] for t in targets)], rows)


def exactness_table(results: Results) -> str:
    """How exact the log-determinant of each family is, and how the direction is computed that is no formula."""
    rows = [
        [family, about["log-determinant"], "none" if about["inverse"] == "formula" else about["inverse"]]
        for family, about in results["families"].items()
    ]
    return table(["family", "log-determinant", "direction without a formula"], rows, left=3)


def costs_table(results: Results) -> str:
    """Size, time and the worst inverse error of each family, over all its runs."""
    rows = []
    for family, about in results["families"].items():
        runs = [r for r in results["runs"] if r["family"] == family]
        worst = max(r["inverse error"] for r in runs if "inverse error" in r)
        rows.append(
            [
                family,
                f"{runs[0]['parameters']:,}",
                f"{about['steps']:,}",
                mean_and_error([r["training seconds"] for r in runs if "training seconds" in r], 1),
                mean_and_error([r["sampling seconds"] for r in runs if "sampling seconds" in r]),
                power(worst),
            ]
        )
    points = f"{results['points']:,} samples, s"
    head = ["family", "parameters", "steps", "training, s", points, "worst inverse error"]
    return table(head, rows)


def digits_about(results: Results) -> str:
    """A sentence on how the runs on digits were made."""
    recipe, about = results["recipe"], results["about"]
    train, validation, test = recipe["train, validation, test"]
    splits = sorted({row["splits"] for row in results["summary"]})
    return (
        f"Made by `{results['command']}` with PyTorch {about['torch']}: {' or '.join(map(str, splits))} splits of "
        f"scikit-learn's 8×8 digits ({about['levels']} levels of gray) into {train} images to train with, {validation} to stop by "
        f"and {test} to test; {recipe['steps']:,} steps, batches of {recipe['batch size']}."
    )


def _by_early(results: Results) -> list[Mapping[str, Any]]:
    return sorted(results["summary"], key=lambda row: row["early"])


def digits_table(results: Results) -> str:
    """Test bits per dimension, mean ± standard error over splits, best first."""
    rows = []
    for row in _by_early(results):
        cells = (plus_minus(row[k], row[f"{k}, s.e."]) for k in ("early", "last", "early minus histogram"))
        parameters = f"{row['parameters']:,.0f}" if "parameters" in row else "–"
        rows.append([row["model"], *cells, parameters])
    head = ["model", "best step", "last step", "best step minus histogram", "parameters"]
    return table(head, rows)


def excess_figure(results: Results) -> bytes:
    """One line a family, one mark a run: excess on a logarithmic axis, as SVG."""
    names, targets = list(results["families"]), _targets(results)
    with drawing("families"):
        figure = Figure(figsize=(8.6, 4.8), layout="constrained")
        ax = figure.subplots()
        for k, (target, marker) in enumerate(zip(targets, "os^D", strict=True)):
            runs = [r for r in results["runs"] if r["target"] == target and "excess" in r]
            ax.plot(
                [max(r["excess"], 1e-3) for r in runs],
                [names.index(r["family"]) + 0.18 * (k - 1.5) for r in runs],
                marker,
                color=list(PALETTE.values())[k],
                markersize=5,
                label=_TARGETS[target],
            )
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xscale("log")
        ax.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1, 2], ["0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"])
        ax.set_xticks([], minor=True)
        ax.set(
            title="Every family, every target, every seed",
            xlabel="excess over the exact density (nats; left is better)",
        )
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", alpha=0.3)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4, frameon=False)
        return svg(figure)


def digits_figure(results: Results) -> bytes:
    """Test bits per dimension of each model with two standard errors over splits, as SVG."""
    rows = _by_early(results)
    with drawing("families"):
        figure = Figure(figsize=(8.6, 0.34 * len(rows) + 1.2), layout="constrained")
        ax = figure.subplots()
        flows = [k for k, row in enumerate(rows) if "parameters" in row]
        tables = [k for k in range(len(rows)) if k not in flows]
        for chosen, color, marker, label in (
            (flows, "blue", "o", "a flow"),
            (tables, "vermilion", "s", "no flow"),
        ):
            ax.errorbar(
                [rows[k]["early"] for k in chosen],
                chosen,
                xerr=[2 * rows[k]["early, s.e."] for k in chosen],
                fmt=marker,
                color=PALETTE[color],
                capsize=3,
                markersize=5,
                label=label,
            )
        ax.set_yticks(range(len(rows)), [row["model"] for row in rows])
        ax.invert_yaxis()
        ax.set(
            title="8×8 digits: best step by validation",
            xlabel="test bits per dimension, ± 2 standard errors (left is better)",
        )
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="y", alpha=0.3)
        ax.legend(frameon=False)
        return svg(figure)
