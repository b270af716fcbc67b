"""The results as data: one JSON file, a section for each part, written as soon as the part is done."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import psutil

from coursekit.course import atomic_write

__all__ = ["Record"]

_PACKAGES = ("torch", "numpy", "nbgrader", "nbclient", "ipykernel", "distributed")


class Record:
    """A JSON file of results; parts that are not run again stay as they are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.data |= {
            "command": "python -m benchmarks.grading",
            "machine": _machine(),
            "versions": _versions(),
        }
        self.data.setdefault("parts", {})

    def part(self, name: str) -> dict[str, Any]:
        """What is known of a part; empty when it was never run."""
        return self.data["parts"].get(name, {})

    def put(self, name: str, found: dict[str, Any], **about: Any) -> None:
        """Replace a part and write the file."""
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.data["parts"][name] = {"date": date, **about, **found}
        atomic_write(self.path, (json.dumps(self.data, indent=1, ensure_ascii=False) + "\n").encode())


def _machine() -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": cores,
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
    }


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name).partition("+")[0] for name in _PACKAGES}
    return {"python": platform.python_version(), **found}
