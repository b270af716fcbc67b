"""What every result file says of how it was made: the machine and the versions; and how it is written.

A part of `python -m benchmarks` writes one JSON file, `benchmarks/results/PART.json`, again after each of its runs:

    command     what to type to make it
    machine     `machine()`
    versions    `versions("torch", …)`
    settings    seeds, steps, repetitions: what must be the same for runs to be kept
    runs        the raw measurements, a row each
    summary     the few numbers that are made of them

A smoke run, which shows only that everything works, writes to `build/bench/PART.json` instead.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
from pathlib import Path
from typing import Any

import psutil

from coursekit.course import atomic_write

__all__ = ["BUILD", "RESULTS", "ROOT", "load", "machine", "path_of", "versions", "write"]

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BUILD = ROOT / "build" / "bench"


def machine() -> dict[str, Any]:
    """System, processor, cores that this process may use, memory in GB of 10⁹ bytes.

    >>> sorted(machine())
    ['cores', 'memory_gb', 'processor', 'system']
    """
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


def versions(*packages: str) -> dict[str, str]:
    """Python's version and those of installed packages, without what follows a `+` (torch: which build).

    A package that is not there has no entry: parts run with the peers that are installed.

    >>> sorted(versions("numpy", "torch", "no-such-package"))
    ['numpy', 'python', 'torch']
    """
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def path_of(part: str, smoke: bool = False) -> Path:
    """Where a part's result stands.

    >>> path_of("layers").relative_to(ROOT).as_posix(), path_of("layers", smoke=True).relative_to(ROOT).as_posix()
    ('benchmarks/results/layers.json', 'build/bench/layers.json')
    """
    return (BUILD if smoke else RESULTS) / f"{part}.json"


def load(path: Path) -> dict[str, Any]:
    """A result file's content; empty when there is none.

    Raises:
        ValueError: the file is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(found).__name__}")
    return found


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result file in one step: whoever reads it sees the old one or the new one, also after a power cut.

    A number that is not finite, as of a training that diverged, becomes null, since JSON has none.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder, "part.json"), {"runs": [{"excess": math.nan}, {"excess": 0.04}]})
    ...     load(Path(folder, "part.json"))
    {'runs': [{'excess': None}, {'excess': 0.04}]}
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_finite(result), indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(path, (text + "\n").encode())


def _finite(value: Any) -> Any:
    """The same with None in place of NaN and infinities."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
