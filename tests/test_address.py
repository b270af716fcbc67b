"""This course at another address: `coursekit address` leaves nothing of the present one, and changes no release."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coursekit.address import Address
from coursekit.cli import app
from coursekit.course import Course
from tests.course import ASSIGNMENTS, ROOT
from tests.portability.environments import checkout

BUILT = "03_masked_coupling"  # building all of them takes half a minute, and every notebook is built alike


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A clone with a single notebook."""
    folder = checkout(tmp_path / "clone")
    for name in set(ASSIGNMENTS) - {BUILT}:
        for place in (f"solutions/{name}", f"course/{name}"):
            shutil.rmtree(folder / place)
        (folder / "solutions" / f"{name}.py").unlink()
        (folder / "autograder_tests" / "guide" / f"{name}.json").unlink()
    return folder


def test_nothing_of_the_old_address_is_left(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Address.of(Course.find(ROOT))
    monkeypatch.chdir(copy)
    done = CliRunner().invoke(app, ["address", "https://github.com/some-university/flows-2027"])
    assert done.exit_code == 0, done.output
    slug = "/".join(old.repository.split("/")[-2:])
    left = re.compile(
        rf"{re.escape(slug)}(?![\w-])|{re.escape(old.site)}|cd {re.escape(slug.split('/')[1])}(?![\w-])"
    )
    texts = {path: path.read_bytes().decode("utf-8", "replace") for path in copy.rglob("*") if path.is_file()}
    assert [str(path.relative_to(copy)) for path, text in texts.items() if left.search(text)] == []
    assert "some-university.github.io/flows-2027" in texts[copy / "README.md"]
    assert "cd flows-2027 && make lab\n" in texts[copy / "docs" / "index.md"]
    assert CliRunner().invoke(app, ["build", "--check"]).exit_code == 0


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_no_release_depends_on_the_address(name: str) -> None:
    here = Course.find(ROOT)
    there = Course.find(ROOT)
    there.settings.update(repository="https://github.com/some-university/flows-2027", branch="next", site="")
    ours, theirs = here.source(name), there.source(name)
    assert ours.metadata == theirs.metadata
    assert "some-university/flows-2027@next" in theirs.cells[1].source
    del ours.cells[1], theirs.cells[1]
    assert ours == theirs
