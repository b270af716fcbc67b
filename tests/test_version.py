"""One version, written in pyproject.toml: what is installed, what a checkout says and what the command says agree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

import coursekit.version
import flowlib
from coursekit.cli import app
from flowlib.version import DISTRIBUTION
from tests.course import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("autograder_tests", "coursekit", "flowlib")
ASK = "import sys\nfrom flowlib.version import __version__\nfrom coursekit.version import version\nprint(__version__, version())"


def asked(folder: Path, *arguments: str) -> list[str]:
    """What the two packages in `folder` say, with no environment's packages beside them."""
    command = [
        sys.executable,
        "-I",
        *arguments,
        "-c",
        f"import sys; sys.path.insert(0, {str(folder)!r})\n{ASK}",
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    return done.stdout.split()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The two packages as they lie in a clone, reduced to what says the version, which is another one."""
    for package in ("coursekit", "flowlib"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        shutil.copy(ROOT / package / "version.py", tmp_path / package)
    return tmp_path


def test_the_command_and_the_package_say_the_version_of_the_project() -> None:
    version = PROJECT["project"]["version"]
    assert flowlib.__version__ == coursekit.version.version() == version
    assert PROJECT["project"]["name"] == DISTRIBUTION
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.output) == (0, f"coursekit {version}\n")


def test_a_checkout_says_its_own_version_installed_or_not(checkout: Path) -> None:
    text = f'[project]\nname = "{DISTRIBUTION}"\nversion = "7.8.9"\n'
    (checkout / "pyproject.toml").write_text(text, encoding="utf-8")
    assert asked(checkout) == ["7.8.9", "7.8.9"]
    assert asked(checkout, "-S") == ["7.8.9", "7.8.9"]  # without site-packages nothing is installed


def test_elsewhere_it_is_that_of_the_installed_package_and_no_import_fails(checkout: Path) -> None:
    meta = checkout / f"{DISTRIBUTION.replace('-', '_')}-4.5.6.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: 4.5.6\n")
    (meta / "top_level.txt").write_text("coursekit\nflowlib\n")
    assert asked(checkout, "-S") == ["4.5.6", "4.5.6"]
    (checkout / "pyproject.toml").write_text('[project]\nname = "something-else"\n', encoding="utf-8")
    assert asked(checkout, "-S") == ["4.5.6", "4.5.6"]
    shutil.rmtree(meta)
    assert asked(checkout, "-S") == ["unknown", "unknown"]


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_are_told_of_the_annotations_of_what_is_installed(package: str) -> None:
    [folder] = find_spec(package).submodule_search_locations
    assert (Path(folder) / "py.typed").read_bytes() == b""
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][package]
