"""Every command ends as it would on a UTF-8 terminal where stdout takes few signs: Windows' code page 1252, and ASCII."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
import typer

import coursekit.cli
from coursekit.console import print_json
from coursekit.course import Course
from coursekit.source import notebook_bytes
from tests.course import ROOT

from .conftest import REPOSITORY, answered, hand_in
from .test_guide import course_with_guide

# One sign that code page 1252 has, one that it lacks, one that is two units long on Windows.
SIGNS = "é∂🙂"
ASSIGNMENT = f"01_{SIGNS}"
ENCODINGS = ("cp1252", "ascii")
COMMANDS = sorted(typer.main.get_command(coursekit.cli.app).commands)


@dataclass
class Signs:
    """A course, a class and a student of that name; `turn` differs from run to run."""

    course: Course
    class_dir: Path
    turn: int = field(default=0)

    @property
    def notebook(self) -> Path:
        return self.class_dir / "submitted" / SIGNS / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"

    def new_folder(self) -> str:
        return str(self.class_dir.with_name(f"{SIGNS} {self.turn}"))

    def built_anew(self) -> list[str]:
        self.course.release_notebook(ASSIGNMENT).unlink()
        return ["build"]

    def demonstrated(self) -> list[str]:
        """Refused, for the folder holds a class that is not made up: a whole one would take half a minute."""
        folder = self.new_folder()
        Path(folder, "submitted").mkdir(parents=True)
        return ["demo", folder]

    def graded(self, *arguments: str) -> list[str]:
        how = ["--isolation", "none", "--workers", "0", "--no-feedback"]
        return ["grade", ASSIGNMENT, "--course", str(self.class_dir), *how, *arguments]

    def reported(self) -> list[str]:
        if not self.turn:
            run(self.graded(), "utf-8")
        return ["report", ASSIGNMENT, "--course", str(self.class_dir)]


# What each command does here; its output holds SIGNS.
CALLS: dict[str, Callable[[Signs], list[str]]] = {
    "address": lambda s: ["address", SIGNS],
    "build": Signs.built_anew,
    "check": lambda s: ["check", str(s.notebook)],
    "collect": lambda s: ["collect", ASSIGNMENT, str(s.notebook.parent), "--course", s.new_folder()],
    "demo": Signs.demonstrated,
    "grade": Signs.graded,
    "new-class": lambda s: ["new-class", s.new_folder()],
    "progress": lambda s: ["progress"],
    "publish": lambda s: ["publish", s.new_folder()],
    "report": Signs.reported,
    "run": lambda s: ["run"],
    "site": lambda s: ["site", "--preview", "--out", s.new_folder()],
}


def run(arguments: list[str], encoding: str) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of the command in this process, its streams as strict as they come."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        patch.setattr(sys, "argv", ["coursekit", *arguments])
        with pytest.raises(SystemExit) as ended:
            coursekit.cli.main()
        for stream in streams:
            stream.flush()
    out, err = (stream.buffer.getvalue() for stream in streams)
    return ended.value.code or 0, out, err


@pytest.fixture
def signs(course, tmp_path) -> Signs:
    made = course_with_guide(course)
    project = made.root / "pyproject.toml"
    wanted = 'publish = ["tiny_checks.py"]\n[project]'
    project.write_text(project.read_text(encoding="utf-8").replace("[project]", wanted), encoding="utf-8")
    old = made.text_source(made.assignments()[0])
    text = old.read_text(encoding="utf-8").replace("the cube of 2 is 8", f"∂(x³)/∂x {SIGNS}")
    old.unlink()
    made.text_source(ASSIGNMENT).write_text(
        text.replace("The square", f"The square {SIGNS}"), encoding="utf-8"
    )
    (made.root / "docs").mkdir()
    (made.root / "docs" / "index.md").write_text(f"# {SIGNS}\n", encoding="utf-8")
    made = Course.find(made.root)
    assert run(["build"], "utf-8")[0] == 0
    wrong = answered(
        nbformat.read(made.release_notebook(ASSIGNMENT), as_version=4), cube="def cube(x):\n    return 3 * x"
    )
    hand_in(tmp_path / SIGNS, SIGNS, notebook_bytes(wrong), ASSIGNMENT)
    return Signs(made, tmp_path / SIGNS)


def test_every_command_has_a_call() -> None:
    assert sorted(CALLS) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_sign_that_the_stream_lacks_ends_no_command(name: str, signs: Signs) -> None:
    code, out, err = run(CALLS[name](signs), "utf-8")
    assert "∂" in (out + err).decode("utf-8")
    assert b"unexpected" not in err
    for encoding in ENCODINGS:
        signs.turn += 1
        there, out, err = run(CALLS[name](signs), encoding)
        assert there == code, err
        assert "?" in (out + err).decode(encoding)
        assert b"unexpected" not in err


@pytest.mark.parametrize("name", ["", *COMMANDS])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_help_and_a_mistaken_call_are_printed(name: str, encoding: str) -> None:
    code, out, err = run([*name.split(), "--help"], encoding)
    assert (code, err) == (0, b"")
    assert "Usage: coursekit" in out.decode(encoding)
    code, out, err = run([*name.split(), f"--{SIGNS}"], encoding)
    assert (code, out) == (2, b"")
    assert "No such option" in err.decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_loses_nothing(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"student": SIGNS, "folder": "no text: \udcff", "points": [1.5, None]}
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_json(value)
    stream.flush()
    assert json.loads(stream.buffer.getvalue().decode("ascii")) == value


def test_json_of_a_command_is_json_on_every_stream(signs: Signs) -> None:
    for encoding in ("utf-8", *ENCODINGS):
        code, out, _ = run(signs.graded("--json"), encoding)
        [found] = json.loads(out.decode(encoding))
        assert (code, found["assignment"]) == (0, ASSIGNMENT)
        assert ("∂" in out.decode(encoding)) == (encoding == "utf-8")
        assert [s["student"] for s in found["submissions"]] == [SIGNS]


@pytest.mark.parametrize(
    "env",
    [
        {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=ENCODINGS,
)
def test_the_process_that_a_user_starts_is_of_that_kind(env: dict[str, str]) -> None:
    """Its help holds an ellipsis. Begun in the clone: a Python that knows ASCII alone finds no package at `ü` that a file names."""
    command = [sys.executable, "-m", "coursekit.cli", "grade", "--help"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"sqlite:///" in done.stdout


def test_the_installed_command_is_the_same() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["coursekit"].partition(":")
    assert getattr(sys.modules[module], name) is coursekit.cli.main
