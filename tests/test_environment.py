"""The environments agree: what students, Binder and the tests install."""

from __future__ import annotations

import os
import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tests.course import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = (ROOT / "environment.yml").read_text(encoding="utf-8")
COLAB = (ROOT / "tests" / "portability" / "colab.txt").read_text(encoding="utf-8")


def requirements(lines: list[str]) -> dict[str, Requirement]:
    found = (Requirement(line) for line in lines)
    return {r.name.lower(): r for r in found if r.name != PROJECT["name"]}


def student_needs() -> dict[str, Requirement]:
    extras = PROJECT["optional-dependencies"]
    return requirements([*PROJECT["dependencies"], *extras["lab"], *extras["grade"]])


def conda_environment() -> dict[str, Requirement]:
    pip = CONDA.partition("- pip:")[2]
    return requirements([m[1] for m in re.finditer(r"^\s+- ([A-Za-z][\w.-]*[=><!~][^\s#]+)", pip, re.M)])


def constraints() -> dict[str, Version]:
    """The pinned versions that this Python gets."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    ours = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return {p.name.lower().replace("_", "-"): Version(next(iter(p.specifier)).version) for p in ours}


@pytest.mark.parametrize("name", [n for n in student_needs() if n != "ipython"])
def test_conda_environment_has_what_the_package_needs(name: str) -> None:
    have = conda_environment()[name]
    # ipykernel brings ipython; every other need is named.
    assert str(have.specifier) == str(student_needs()[name].specifier) or name == "torch"


def test_conda_environment_installs_nothing_else() -> None:
    assert set(conda_environment()) <= set(student_needs())


def all_needs() -> dict[str, Requirement]:
    extras = PROJECT["optional-dependencies"]
    return requirements([*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)])


@pytest.mark.parametrize("name", all_needs())
def test_tested_versions_are_in_the_ranges(name: str) -> None:
    assert all_needs()[name].specifier.contains(constraints()[name])


def test_the_conda_environment_has_a_python_that_the_package_takes() -> None:
    python = re.search(r"^  - python=([\d.]+)$", CONDA, re.M)
    assert python, "Binder takes its Python from environment.yml: it must be named exactly"
    assert SpecifierSet(PROJECT["requires-python"]).contains(python[1])


def test_the_conda_environment_takes_packages_from_conda_forge_alone() -> None:
    channels = re.search(r"^channels:\n((?:  - .*\n)+)", CONDA, re.M)
    assert channels
    assert channels[1].split() == ["-", "conda-forge", "-", "nodefaults"]


def test_the_conda_environment_is_made_without_the_repository() -> None:
    # Binder makes it before the files are there, and keeps it from one version of the course to the next.
    assert not re.search(r"^\s+- (-e|-r|\.|file:)", CONDA, re.M)


def test_the_oldest_versions_of_colab_are_in_the_ranges() -> None:
    # Colab keeps its own versions; pip is told there to leave them alone.
    needs = requirements(PROJECT["dependencies"])
    pins = requirements([p for p in COLAB.splitlines() if p and not p.startswith("#")])
    pinned = {name: next(iter(pins[name].specifier)).version for name in needs.keys() & pins.keys()}
    assert len(pinned) > 5
    assert {n: v for n, v in pinned.items() if not needs[n].specifier.contains(v)} == {}


def test_torch_is_pinned_exactly_for_students() -> None:
    pinned = conda_environment()["torch"]
    assert str(pinned.specifier) == f"=={constraints()['torch']}"
    assert "download.pytorch.org/whl/cpu" in CONDA


def test_the_program_that_isolates_is_the_same_wherever_it_is_named() -> None:
    text = (ROOT / "coursekit" / "isolate" / "bubblewrap.txt").read_text(encoding="utf-8")
    [line] = [line for line in text.replace("\\\n", "").splitlines() if not line.startswith("#")]
    hashed = Requirement(line.partition(" --hash")[0].strip())
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", line)) == 2, "of x86-64 and aarch64"
    named = all_needs()[hashed.name]
    assert (str(named.specifier), named.marker) == (str(hashed.specifier), hashed.marker)
    assert hashed.specifier.contains(constraints()[hashed.name])


@pytest.mark.parametrize("name", ["README.md", "course/README.md"])
def test_students_are_told_to_install_the_small_build_of_torch_before_conda(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    index = re.search(r"--extra-index-url (\S+)", CONDA)[1]
    lines = f'pip install torch=={constraints()["torch"]} --index-url {index}\npip install ".[lab]"\n'
    assert text.count("torch==") == text.count(lines) == 1, f"expected in {name}:\n{lines}"
    assert text.index(lines) < text.index("conda env create")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no executable bit")
def test_scripts_can_be_executed() -> None:
    for script in ("postBuild", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), f"{script} is not executable"
