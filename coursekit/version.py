"""The version of the package that the commands are part of. pyproject.toml is the one place where it is written."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

__all__ = ["version"]


def version() -> str:
    """That of the checkout which this file lies in, else of the installed package that brought it; "unknown" without either."""
    try:
        text = Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
        return tomllib.loads(text)["project"][
            "version"
        ]  # an editable install keeps metadata of its first day
    except (OSError, ValueError, KeyError):
        names = metadata.packages_distributions().get(__name__.partition(".")[0], ())
        return metadata.version(names[0]) if names else "unknown"
