"""Launchers that work on this machine; the others are skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coursekit.isolate.handle import Child
from coursekit.isolate.launch import Launcher, launchers
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Setup

SETUP = Setup(("numpy",), "tests.coursekit.isolate.hooks")
QUICK = Limits(memory=1 << 30, tmp_bytes=32 << 20, file_bytes=16 << 20, processes=48)
ISOLATING = ("forked", "bubblewrap")


@pytest.fixture(scope="session")
def known() -> Iterator[dict[str, Launcher]]:
    made = launchers(SETUP)
    yield made
    for launcher in made.values():
        launcher.close()


def usable(known: dict[str, Launcher], name: str) -> Launcher:
    reason = known[name].available()
    if reason is not None:
        pytest.skip(reason)
    return known[name]


@pytest.fixture(scope="session", params=[*ISOLATING, "none"])
def launcher(request: pytest.FixtureRequest, known: dict[str, Launcher]) -> Launcher:
    return usable(known, request.param)


@pytest.fixture(scope="session", params=ISOLATING)
def isolating(request: pytest.FixtureRequest, known: dict[str, Launcher]) -> Launcher:
    return usable(known, request.param)


@pytest.fixture
def forked(known: dict[str, Launcher]) -> Launcher:
    return usable(known, "forked")


@pytest.fixture
def child(launcher: Launcher) -> Iterator[Child]:
    with launcher.start(QUICK) as started:
        yield started


def stdout(child: Child, source: str) -> str:
    """What a cell prints."""
    outputs = child.run_cell(source).outputs
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
