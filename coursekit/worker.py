"""What grades one submission in another process, on this machine or on another."""

from __future__ import annotations

import atexit
import functools
import importlib
import os
import socket
import threading
from typing import Any

from coursekit.errors import CourseError
from coursekit.grading import Bundle, grade_submission
from coursekit.isolate.launch import Launcher, best
from coursekit.isolate.limits import ONE_THREAD
from coursekit.isolate.setup import Setup
from coursekit.packages import packages_hash

__all__ = ["UnfitError", "grade_here", "grade_task", "warm_up"]

_launchers: dict[tuple[str, Setup], Launcher] = {}
_lock = threading.Lock()


class UnfitError(CourseError):
    """This machine cannot grade: it would fail, or mislead, with every submission."""


def grade_task(data: bytes, bundle: Bundle, isolation: str) -> dict[str, Any]:
    """`grade_submission` as plain data in, plain data out, in a process that does nothing else.

    Raises:
        UnfitError: nothing isolates here, or the course's packages differ from those that the bundle was made with.
        StartError: no isolated process can be started.
    """
    here = _imported(bundle.packages)
    if here != bundle.code:
        raise UnfitError(
            f"{', '.join(bundle.packages)}: expected the course's packages as they are where grading was started"
            f" ({bundle.code[:12]}), {socket.gethostname()} has others ({here[:12]})"
        )
    return grade_here(data, bundle, isolation)


def grade_here(data: bytes, bundle: Bundle, isolation: str) -> dict[str, Any]:
    """The same in the process that has made the bundle; the launcher is kept for the next one."""
    return grade_submission(data, bundle, _launcher(bundle, isolation)).to_json()


def warm_up(bundle: Bundle, isolation: str) -> None:
    """Have ready what the first submission needs: the course's checks here, and a warm parent for the children."""

    os.environ.update(ONE_THREAD)  # read by libraries when they are imported

    def start() -> None:
        _launcher(bundle, isolation).start(bundle.limits, bundle.env).kill()

    _quietly(lambda: _imported(bundle.packages))
    starting = threading.Thread(target=_quietly, args=(start,))
    starting.start()  # another process does most of it
    _quietly(lambda: importlib.import_module(bundle.checks))
    starting.join()


def _quietly(action: Any) -> None:
    """What fails here fails again with the first submission, where somebody is told."""
    try:
        action()
    except Exception:
        return


@functools.cache
def _imported(packages: tuple[str, ...]) -> str:
    """The hash of the packages as this process has found them first: it does not import them again."""
    try:
        return packages_hash(packages)
    except CourseError as error:
        raise UnfitError(f"{socket.gethostname()}: {error}") from None


def _launcher(bundle: Bundle, isolation: str) -> Launcher:
    setup = Setup(bundle.preload, bundle.checks)
    with _lock:
        if (isolation, setup) not in _launchers:
            try:
                made = _launchers[isolation, setup] = best(isolation, setup)
            except CourseError as error:
                raise UnfitError(f"{socket.gethostname()}: {error}") from None
            atexit.register(made.close)
        return _launchers[isolation, setup]
