"""No isolation: the child is a process of the instructor's, with limits but with all the instructor's rights."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping

from coursekit.isolate.handle import Child
from coursekit.isolate.limits import Limits
from coursekit.isolate.popen import CHILD, clean_environment, start_program
from coursekit.isolate.setup import Setup

__all__ = ["Bare"]


class Bare:
    """Start children as plain processes. For code one trusts, and to compare with."""

    name = "none"
    isolates = False

    def __init__(self, setup: Setup | None = None) -> None:
        self.setup = setup or Setup()

    def available(self) -> str | None:
        """Why it cannot be used here, or None."""
        return None if os.name == "posix" else "children need a POSIX system; on Windows use WSL"

    def describe(self) -> str:
        """Its name."""
        return self.name

    def start(self, limits: Limits | None = None, env: Mapping[str, str] | None = None) -> Child:
        """A child that is ready for its first cell.

        Raises:
            StartError: it does not get ready.
        """
        environment = clean_environment(self.setup.places().search_path)
        folder = tempfile.mkdtemp(prefix="coursekit-")
        start = {"confine": False, "folder": folder, "env": dict(env or {})}
        start |= {"preload": self.setup.preload, "checks": self.setup.checks}
        return start_program(
            [sys.executable, *CHILD], limits or Limits(), start, env=environment, folder=folder
        )

    def close(self) -> None:
        """Nothing is kept."""
