"""What `benchmarks.environment` measures, and what the course says of it."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest

from benchmarks.environment import ROUTES, first_cells, largest, size_mb
from benchmarks.record import load, path_of
from coursekit.course import Course
from tests.course import ROOT
from tests.portability.environments import UNIX, Environment

MB = 1 << 20


def test_a_file_of_two_names_is_counted_once_and_links_are_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    (folder / "deep").mkdir(parents=True)
    elsewhere.write_bytes(os.urandom(5 * MB))
    (folder / "deep" / "a").write_bytes(os.urandom(2 * MB))
    os.link(folder / "deep" / "a", folder / "b")
    (folder / "link").symlink_to(elsewhere)
    assert size_mb(folder) == pytest.approx(2, abs=0.1)


def test_the_largest_folders_come_first(tmp_path: Path) -> None:
    for name, size in {"small": 1, "large": 3, "middle": 2}.items():
        folder = tmp_path / "lib" / "python3.11" / "site-packages" / name
        folder.mkdir(parents=True)
        (folder / "data").write_bytes(os.urandom(size * MB))
    assert list(largest(tmp_path, 2).items()) == [("large", 3), ("middle", 2)]


@pytest.mark.slow
@UNIX
def test_first_cells_run_in_the_environment_that_is_measured(colab: Environment, tmp_path: Path) -> None:
    first_cells(colab.python, Course.find(ROOT), tmp_path)
    nb = nbformat.read(tmp_path / "first.ipynb", as_version=4)
    assert [c.cell_type for c in nb.cells] == ["code", "code"]
    assert "import flowlib" in nb.cells[1].source


def test_every_route_was_measured_and_students_need_less_than_2_gb() -> None:
    runs = load(path_of("course"))["runs"]
    routes = {r["route"]: r for r in runs if r["what"] == "environment"}
    assert set(routes) == set(ROUTES)
    # environment.yml and README.md say so.
    assert max(routes[r]["environment_mb"] for r in ("students", "grade")) < 2048
    for r in routes.values():
        steps = r["clone_seconds"] + r["setup_seconds"] + r["first_cell_seconds"]
        assert r["total_seconds"] == pytest.approx(steps, abs=0.3)
