"""The page "Measured against the field": what each section says of the result files of `python -m benchmarks`.

One module for each part. `parts` and `figures` give what stands between the markers of docs/measured.md and README.md; where a
part has no finished result, they say that it is not measured yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.record import load
from docs.ext.measured import accuracy, course, exactness, grading, layers
from docs.ext.measured.common import MISSING, Results, about, goals

__all__ = ["FIGURES", "RESULTS", "figures", "headlines", "parts"]

# Part of the benchmarks → its file in benchmarks/results.
RESULTS = {
    "layers": "layers.json",
    "accuracy": "accuracy.json",
    "exactness": "exactness.json",
    "grading": "grading_field.json",
    "course": "course.json",
}
FIGURES: dict[str, tuple[str, Callable[[Results], bytes]]] = {
    "layers": ("measured_layers.svg", layers.ratios_figure),
    "accuracy": ("measured_accuracy.svg", accuracy.accuracy_figure),
}


def _finished(results: Results) -> bool:
    return bool(results.get("runs")) and "summary" in results


def parts(folder: Path) -> dict[str, Callable[[], str]]:
    """Name between markers → what stands there, of the result files in `folder`."""
    found = {part: load(folder / name) for part, name in RESULTS.items()}
    memory = load(folder / "memory.json")

    def of(part: str, make: Callable[[Results], str]) -> Callable[[], str]:
        return lambda: make(found[part]) if _finished(found[part]) else MISSING

    return {
        "layers about": of("layers", layers.layers_about),
        "layers": of("layers", layers.ratios_table),
        "layers notes": of("layers", layers.layers_notes),
        "layers goals": of("layers", lambda r: goals(layers.layers_goals(r))),
        "accuracy about": of("accuracy", accuracy.accuracy_about),
        "accuracy": of("accuracy", accuracy.accuracy_table),
        "accuracy notes": of("accuracy", accuracy.accuracy_notes),
        "accuracy goals": of("accuracy", lambda r: goals(accuracy.accuracy_goals(r))),
        "exactness measured about": of("exactness", exactness.exactness_about),
        "exactness measured": of("exactness", exactness.errors_table),
        "exactness measured notes": of("exactness", exactness.exactness_notes),
        "grading field about": of("grading", about),
        "grading field": of("grading", grading.field_table),
        "grading field goals": of("grading", lambda r: goals(grading.field_goals(r))),
        "course about": of("course", about),
        "course notebooks": of("course", lambda r: course.notebooks_table(r, memory)),
        "course environment": of("course", course.environment_table),
        "course goals": of("course", lambda r: goals(course.course_goals(r))),
        "headlines": lambda: headlines(found, load(folder / "grading.json")),
    }


def headlines(found: dict[str, Results], large: Results) -> str:
    """The three lines of README.md; of each part that is measured, one. `large` is the larger class that was graded."""
    makers = {
        "layers": layers.layers_headline,
        "accuracy": accuracy.accuracy_headline,
        "grading": lambda results: grading.field_headline(results, large),
    }
    lines = [f"- {make(found[part])}" for part, make in makers.items() if _finished(found[part])]
    return "\n".join(lines) or MISSING


def figures(folder: Path) -> dict[str, bytes]:
    """File name → picture (SVG), of each figure whose results are there."""
    made = {}
    for part, (name, draw) in FIGURES.items():
        results = load(folder / RESULTS[part])
        if _finished(results):
            made[name] = draw(results)
    return made
