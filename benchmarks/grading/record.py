"""The results as data: one JSON file, a section for each part, written as soon as the part is done."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from benchmarks.record import load, machine, versions, write

__all__ = ["Record"]

_PACKAGES = ("torch", "numpy", "nbgrader", "nbclient", "ipykernel", "distributed")


class Record:
    """A JSON file of results; parts that are not run again stay as they are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = load(path)
        self.data |= {
            "command": "python -m benchmarks.grading",
            "machine": machine(),
            "versions": versions(*_PACKAGES),
        }
        self.data.setdefault("parts", {})

    def part(self, name: str) -> dict[str, Any]:
        """What is known of a part; empty when it was never run."""
        return self.data["parts"].get(name, {})

    def put(self, name: str, found: dict[str, Any], **about: Any) -> None:
        """Replace a part and write the file."""
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.data["parts"][name] = {"date": date, **about, **found}
        write(self.path, self.data)
