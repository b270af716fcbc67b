"""`make e2e` without a browser: one message that names the package, and a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.course import ROOT
from tests.e2e import requirements


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH of one empty folder, with Playwright installed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda name: object())
    return tmp_path


def provide(tools: Path, name: str) -> Path:
    path = tools / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_each_missing_tool_is_named_with_its_package(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "apt install chromium" in requirements.missing()
    path = provide(tools, "chromium")
    assert requirements.chromium() == path
    assert "apt install npm" in requirements.missing()
    provide(tools, "npm")
    assert requirements.missing() == ""
    monkeypatch.setattr(requirements.importlib.util, "find_spec", lambda name: None)
    assert "playwright" in requirements.missing().lower()


def test_another_browser_may_be_named(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = provide(tools, "my-browser")
    monkeypatch.setenv("CHROMIUM", str(other))
    assert requirements.chromium() == other


def test_the_run_ends_with_the_message_and_fails(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "tests/e2e/test_instruments.py"]
    env = {k: v for k, v in os.environ.items() if k != "CHROMIUM"} | {"PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    said = done.stdout + done.stderr
    assert said.count("apt install chromium") == 1
    assert "Traceback" not in said
