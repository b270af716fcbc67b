"""The scaling figure: submissions per minute against workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from flowlib import plotting

__all__ = ["scaling_figure"]


def scaling_figure(scaling: dict[str, Any], cores: int, target: Path) -> None:
    """Draw the runs of the part `scaling` and the line of perfect scaling from one worker's median."""
    runs = scaling["runs"]
    workers = sorted({run["workers"] for run in runs})
    rates = {
        w: sorted(run["per_minute_without_start"] for run in runs if run["workers"] == w) for w in workers
    }
    middle = [rates[w][len(rates[w]) // 2] for w in workers]
    with plt.rc_context():
        plotting.style()
        figure, ax = plt.subplots(figsize=(5.6, 3.8))
        ideal = [middle[0] / workers[0] * w for w in workers]
        ax.plot(workers, ideal, "--", color=plotting.PALETTE["black"], lw=1, label="ideal, from one worker")
        ax.plot(workers, middle, "o-", color=plotting.PALETTE["blue"], label="measured, median")
        every = [(w, rate) for w in workers for rate in rates[w]]
        ax.scatter(
            *zip(*every, strict=True),
            s=14,
            color=plotting.PALETTE["vermilion"],
            zorder=3,
            label="single runs",
        )
        if workers[0] < cores < workers[-1]:
            ax.axvline(cores, color=plotting.PALETTE["sky"], lw=1)
            ax.annotate(f"{cores} cores", (cores, 0), xytext=(4, 6), textcoords="offset points", fontsize=9)
        ax.set(
            title=f"coursekit grade, {runs[0]['submissions']} submissions, isolated",
            xlabel="worker processes",
            ylabel="submissions per minute, after start-up",
            xticks=workers,
        )
        ax.set_ylim(bottom=0)
        ax.legend()
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=110)
        plt.close(figure)
