"""What the browser tests need beside Python, and what to say when it is not there."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

__all__ = ["chromium", "missing"]

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> Path | None:
    """The browser: what the variable CHROMIUM names, else the first that is on the PATH."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else NAMES
    found = next((path for name in names if (path := shutil.which(name))), None)
    return Path(found) if found else None


def missing() -> str:
    """One line saying what is missing and how to get it, or nothing."""
    if chromium() is None:
        return "no chromium: on Debian and Ubuntu `apt install chromium`; elsewhere set CHROMIUM to a Chrome or Chromium"
    if shutil.which("npm") is None:
        return "no npm, which brings axe-core: on Debian and Ubuntu `apt install npm`"
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed: pip install --editable '.[dev,e2e]', or run `make e2e`"
    return ""
