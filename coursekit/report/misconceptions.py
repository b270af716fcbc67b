"""The misconceptions that the checks recognized, each with one example that names nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coursekit.report.anonymize import anonymized, common_texts
from coursekit.report.load import ClassResults, Entry
from coursekit.score import CellScore

__all__ = ["Misconception", "found_misconceptions"]


@dataclass(frozen=True)
class Misconception:
    """A misconception, `exercise.name`: how many submissions have it, and an anonymized answer.

    `share` is of the submissions that ran; `example` is None when no answer can be shown.
    """

    id: str
    hints: tuple[str, ...]
    count: int
    share: float
    example: str | None


def found_misconceptions(found: ClassResults) -> list[Misconception]:
    """All misconceptions that were found, the most frequent first."""
    holders: dict[str, dict[str, Entry]] = {}
    hints: dict[str, dict[str, None]] = {}
    for entry in found.ran:
        for cell in entry.tests():
            for name, texts in _named(cell):
                holders.setdefault(name, {})[entry.student] = entry
                hints.setdefault(name, {}).update(dict.fromkeys(texts))
    students = [e.student for e in found.entries]
    exercises = {exercise: [] for exercise in map(_exercise, holders)}
    for entry in found.ran:
        for exercise in exercises.keys() & entry.answers.keys():
            exercises[exercise].append(entry.answers[exercise])
    common = {exercise: common_texts(sources) for exercise, sources in exercises.items()}
    rows = [
        Misconception(
            name,
            tuple(hints[name]),
            len(entries),
            len(entries) / len(found.ran),
            _example(
                (e.answers[_exercise(name)] for e in entries.values() if _exercise(name) in e.answers),
                common[_exercise(name)],
                students,
            ),
        )
        for name, entries in holders.items()
    ]
    return sorted(rows, key=lambda m: (-m.count, m.id))


def _named(cell: CellScore) -> list[tuple[str, Sequence[str]]]:
    """The misconceptions of a cell, each with its hint; with all hints when they cannot be told apart."""
    names, hints = cell.misconceptions, cell.hints
    if len(names) == len(hints):
        return [(name, (hint,)) for name, hint in zip(names, hints, strict=True)]
    return [(name, hints) for name in names]


def _exercise(name: str) -> str:
    return name.rpartition(".")[0] or name


def _example(sources: Iterable[str], texts: frozenset[str], students: Sequence[str]) -> str | None:
    """The shortest answer that can be shown: what is wrong stands out most."""
    for source in sorted(set(sources), key=lambda s: (len(s), s)):
        shown = anonymized(source, texts, students)
        if shown:
            return shown
    return None
