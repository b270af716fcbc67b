"""What `make resolve` asks, and what it says when a Python that is promised cannot install the course. No network here."""

from __future__ import annotations

import doctest
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.course import ROOT
from tests.resolver import __main__ as resolver
from tests.resolver import pip_settings
from tests.resolver.__main__ import PYTHONS, Question, answers, questions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def uv(tmp_path: Path) -> str:
    """A stand-in for uv: the extra `docs` cannot be installed, nor can `lab` and `peers` together."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a script for sh")
    script = tmp_path / "uv"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '*"--extra docs"*) echo "soupsieve==4.1.2 depends on Python>=3.11.5" >&2; exit 1;;\n'
        '*"--extra lab --extra peers"*) echo "numpy<2 and numpy>=2" >&2; exit 1;;\n'
        "esac\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script)


@pytest.mark.parametrize("module", [pip_settings, resolver])
def test_examples_in_docstrings(module) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_every_extra_is_asked_of_every_python_that_is_promised() -> None:
    pinned = {(q.python, extra) for q in questions() if q.pinned for extra in q.extras}
    assert pinned == {(p, extra) for p in PYTHONS for extra in PROJECT["optional-dependencies"]}
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(p) for p in PYTHONS)


def test_what_students_type_is_asked_of_every_system() -> None:
    asked = {(q.python, q.system) for q in questions() if not q.pinned and "lab" in q.extras}
    assert asked == {(p, system) for p in PYTHONS for system in ("linux", "macos", "windows")}


def test_a_failure_names_python_extra_and_package(uv: str) -> None:
    together = Question("3.11.2", ("mnist", "docs"), "linux", pinned=True)
    [line] = answers(together, uv, {})
    assert line.startswith("Python 3.11.2, .[docs], constraints.txt, linux: soupsieve==4.1.2 depends on")


def test_extras_that_exclude_each_other_are_named_together(uv: str) -> None:
    [line] = answers(Question("3.14", ("lab", "peers"), "linux", pinned=False), uv, {})
    assert line == "Python 3.14, .[lab,peers], newest versions, linux: numpy<2 and numpy>=2"


def test_what_resolves_has_nothing_to_say(uv: str) -> None:
    assert answers(Question("3.12", ("lab", "dev"), "linux", pinned=True), uv, {}) == []


def test_wheels_alone_are_taken_but_for_what_is_built_from_source() -> None:
    from_source = {extra for q in questions() if "--only-binary" not in q.command for extra in q.extras}
    assert from_source == {"dev", "peers"}
    assert all("--only-binary" in q.command for q in questions() if "peers" not in q.extras)
