"""The first process of a pid namespace: it reaps what is orphaned and ends with the child that it forks. Linux only.

A child that were the first process itself could not be ended by most signals, and would gather zombies.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import NoReturn

__all__ = ["run_under_init"]

_PR_SET_DUMPABLE = 4


def run_under_init(close: Callable[[], None]) -> None:
    """Fork: return in the child; stay here as init and exit as the child does, with 128 + number for a signal.

    `close` closes the protocol's descriptors, which are the child's alone. Both have the same user, so that init makes
    itself unreadable: /proc shows neither its memory nor its descriptors.
    """
    # Before there is a child that could look.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(0) for _ in range(4)))
    child = os.fork()
    if child == 0:
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(n) for n in (1, 0, 0, 0)))
        return
    try:
        close()
        _reap(child)
    finally:
        os._exit(1)


def _reap(child: int) -> NoReturn:
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
