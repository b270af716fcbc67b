"""Which launcher to use: the best that isolates on this machine, or the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from coursekit.errors import CourseError
from coursekit.isolate.bare import Bare
from coursekit.isolate.bubblewrap import Bubblewrap
from coursekit.isolate.docker import Docker
from coursekit.isolate.forked import Forked
from coursekit.isolate.handle import Child
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Setup

__all__ = ["Launcher", "best", "launchers"]


class Launcher(Protocol):
    """A way to start children. All of them run the same child program and show the same outputs."""

    name: str
    isolates: bool

    def available(self) -> str | None:
        """Why it cannot be used on this machine, in words; None when it can."""

    def describe(self) -> str:
        """Its name, and what isolates where that is not its name alone."""

    def start(self, limits: Limits | None = None, env: Mapping[str, str] | None = None) -> Child:
        """A child that is ready for its first cell; `env` is added to its environment.

        Raises:
            StartError: it does not get ready.
        """

    def close(self) -> None:
        """Release what is shared by its children, which end with it."""


def launchers(setup: Setup | None = None) -> dict[str, Launcher]:
    """All launchers by name, the best first.

    >>> list(launchers())
    ['forked', 'bubblewrap', 'docker', 'none']
    """
    made = (Forked(setup), Bubblewrap(setup), Docker(setup), Bare(setup))
    return {launcher.name: launcher for launcher in made}


def best(isolation: str = "auto", setup: Setup | None = None) -> Launcher:
    """The launcher called `isolation`; with `auto` the first that isolates and works here, never `none`.

    >>> best("none").isolates
    False

    Raises:
        CourseError: there is no such launcher, it does not work here, or none isolates.
    """
    known = launchers(setup)
    if isolation != "auto":
        if isolation not in known:
            raise CourseError(f"expected an isolation of auto, {', '.join(known)}, got {isolation!r}")
        problem = known[isolation].available()
        if problem is not None:
            raise CourseError(f"isolation {isolation!r} does not work here: {problem}")
        return known[isolation]
    problems = []
    for launcher in known.values():
        if not launcher.isolates:
            continue
        problem = launcher.available()
        if problem is None:
            return launcher
        problems.append(f"{launcher.name}: {problem}")
    raise CourseError(
        "nothing isolates students' code on this machine, which would run with all your rights "
        f"({'; '.join(problems)}). To run it all the same, say --isolation none"
    )
