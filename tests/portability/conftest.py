"""The environments that the tests share: Colab's packages with the course installed as Colab's first cell does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.portability.environments import COLAB, Environment, base_python, checkout, child, libraries

# Python files that stand in for others: imported by the processes that the tests start, never here.
collect_ignore = ["shims"]

PLAYER = ("nbclient", "nbformat")  # what runs a notebook in the tests; on Colab that is Colab


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as a clone has it."""
    return checkout(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def colab_libraries() -> Environment:
    """Colab's packages, with the tests' torch and Python: a CPU build of torch is at hand for these alone."""
    return libraries("colab", base_python(), COLAB, *PLAYER, torch=True)


@pytest.fixture(scope="session")
def colab(colab_libraries: Environment, clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Colab with the course on it."""
    runtime = child(colab_libraries, tmp_path_factory.mktemp("colab") / "runtime")
    runtime.run("-m", "pip", "install", "--quiet", "--no-deps", clone, cwd=clone)
    return runtime
