"""docs/other_libraries.md names classes of other libraries: they exist."""

import importlib
import inspect
import pkgutil
import re
from functools import cache
from pathlib import Path

import pytest

import flowlib

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "other_libraries.md").read_text(encoding="utf-8")
LIBRARIES = ("nflows", "normflows", "zuko")


def table() -> list[list[str]]:
    """The rows of the table of names, head first."""
    section = TEXT.split("## Names")[1].split("## ")[0]
    return [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in section.splitlines()
        if "|" in line
    ]


@cache
def names_of(library: str) -> frozenset[str]:
    """Classes and functions that the library defines."""
    package, found = pytest.importorskip(library), set()
    for module in pkgutil.walk_packages(package.__path__, f"{library}."):
        if not re.search(r"test|experimental", module.name):
            members = vars(importlib.import_module(module.name)).values()
            found |= {m.__name__ for m in members if inspect.isclass(m) or inspect.isfunction(m)}
    return frozenset(found)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_names_exist(library):
    head, _, *rows = table()
    column = head.index(library)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[column])}
    assert len(named) > 5
    assert named <= names_of(library)


def test_ours_exist():
    _, _, *rows = table()
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row[0])} <= set(flowlib.__all__)
