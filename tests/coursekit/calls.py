"""Functions for a process to call: it imports this file alone."""

from __future__ import annotations

import signal
import subprocess
import time

__all__ = ["TwoArguments", "fails", "never_stops"]


class TwoArguments(Exception):
    """Pickled it has one argument, and cannot be made from that."""

    def __init__(self, one, two):
        super().__init__(one)


def fails():
    raise TwoArguments(1, 2)


def starts_a_program():
    """Something that does not end by itself, and its pid."""
    return subprocess.Popen(["sleep", "600"]).pid


def never_stops():
    """Refuses to be ended, with a program below it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    starts_a_program()
    while True:
        time.sleep(1)
