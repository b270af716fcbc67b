"""The version of the course, which flowlib is part of. pyproject.toml is the one place where it is written."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

__all__ = ["__version__"]

DISTRIBUTION = "normalizing-flows-course"


def _version() -> str:
    """That of the checkout which this file lies in, else of the installed package; no reason to fail an import."""
    try:
        text = Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
        project = tomllib.loads(text)["project"]
        if (
            project["name"] == DISTRIBUTION
        ):  # before metadata: an editable install keeps those of its first day
            return project["version"]
    except (OSError, ValueError, KeyError):  # installed, or copied to somewhere else
        pass
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


__version__ = _version()
