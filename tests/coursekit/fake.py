"""A launcher without processes: the cells run in this one. For tests of what stands around the isolation."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from unittest.mock import patch

from nbformat.v4 import new_output

from coursekit.isolate.handle import CellRun, ChildDied, Usage


class FakeChild:
    """Runs cells by `exec`; SystemExit ends the 'process'."""

    def __init__(self, checks: str, env: dict[str, str]) -> None:
        self.env = env
        self.checks, self.namespace = importlib.import_module(checks), {}
        self.status, self.usage = "running", Usage(1.0, 0.0)

    def run_cell(self, source, cell_id=None):
        out, outputs = io.StringIO(), []
        try:
            with (
                patch.dict(os.environ, self.env),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                exec(source, self.namespace)
        except SystemExit:
            self.status = "exit 1"
            raise ChildDied(self.status) from None
        except Exception as error:
            name = type(error).__name__
            outputs = [new_output("error", ename=name, evalue=str(error), traceback=[f"{name}: {error}"])]
        printed = [new_output("stream", name="stdout", text=out.getvalue())] if out.getvalue() else []
        return CellRun([*printed, *outputs], 1, 0.0)

    def call(self, payload, outside=None):
        return self.checks.answer_bytes(self.namespace, payload, outside)

    def kill(self):
        self.status = "killed"


class FakeLauncher:
    """Starts `FakeChild`s and keeps count."""

    name, isolates = "fake", True

    def __init__(self, checks: str = "tiny_checks") -> None:
        self.checks, self.started = checks, []

    def describe(self):
        return self.name

    def start(self, limits=None, env=None):
        self.started.append(FakeChild(self.checks, dict(env or {})))
        return self.started[-1]

    def close(self):
        pass
