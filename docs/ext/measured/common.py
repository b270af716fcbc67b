"""What every section of the page shares: how a result was made, and which goal it meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from docs.ext.tables import fixed, table

__all__ = ["MISSING", "Goal", "Results", "about", "goals", "notes_list"]

Results = Mapping[str, Any]
MISSING = "*Not measured yet.*"


@dataclass(frozen=True)
class Goal:
    """Something that is to be at most `limit`; `value` is what was measured, None when it was not.

    `why` is shown with a goal that is missed: a sentence on the reason.
    """

    what: str
    limit: float
    value: float | None
    digits: int = 2
    unit: str = ""
    why: str = ""

    @property
    def met(self) -> bool:
        """Whether it was measured, and is not above the limit."""
        return self.value is not None and self.value <= self.limit

    @property
    def cells(self) -> list[str]:
        """A row of the table: what, the limit, what was measured, and what became of it.

        >>> Goal("two moons", 0.04, 0.0356, 3, "nats").cells
        ['two moons', '0.040 nats', '0.036', '**met**']
        >>> Goal("two moons", 0.04, 0.06, 3, "nats").cells[2:]
        ['0.060', '**missed** by 0.020']
        """
        limit = f"{fixed(self.limit, self.digits)}{' ' * bool(self.unit)}{self.unit}"
        if self.value is None:
            return [self.what, limit, "–", "not measured"]
        if self.met:
            return [self.what, limit, fixed(self.value, self.digits), "**met**"]
        # Rounding must not turn a miss into a hit: as many digits as the difference needs.
        digits = self.digits
        while digits < 12 and round(self.value - self.limit, digits) <= 0:
            digits += 1
        reason = f". {self.why.rstrip('.')}." if self.why else ""
        missed = f"**missed** by {fixed(self.value - self.limit, digits)}{reason}"
        return [self.what, limit, fixed(self.value, digits), missed]


def goals(found: Sequence[Goal]) -> str:
    """The goals as a Markdown table."""
    lines = table(["goal", "at most", "measured", "result"], [goal.cells for goal in found]).splitlines()
    lines[1] = "| --- | --: | --: | --- |"  # the last column holds words
    return "\n".join(lines)


def notes_list(notes: Mapping[str, Sequence[str]]) -> str:
    """Notes below what they are about: a Markdown list of two levels.

    >>> print(notes_list({"MAF": ["zuko: clipped", "FrEIA: not there"]}))
    - MAF
      - zuko: clipped
      - FrEIA: not there
    """
    lines = []
    for what, said in notes.items():
        lines += [f"- {what}", *(f"  - {text}" for text in said)]
    return "\n".join(lines)


def about(results: Results) -> str:
    """By which command, on which machine and with which versions a result was made."""
    machine, made_with = results["machine"], dict(results["versions"])
    names = {"python": "Python", "torch": "PyTorch", "numpy": "NumPy"}
    versions = ", ".join(f"{names.get(name, name)} {version}" for name, version in made_with.items())
    cores = f"{machine['cores']} core{'s' * (machine['cores'] != 1)}"
    return (
        f"Made by `{results['command']}` on {machine['system']}, {machine['processor']}, {cores} and {machine['memory_gb']} GB of memory, "
        f"with {versions}."
    )
