"""`python -m tests.resolver`: does every Python that the course promises find versions that agree?

Asks uv, which reads metadata and installs nothing. Needs a package index.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tests.course import ROOT
from tests.resolver.pip_settings import pip_settings, uv_variables

__all__ = ["PYTHONS", "Question", "answers", "ask", "questions", "routes"]

# Debian 12's own, the last 3.11 with installers, and what came after.
PYTHONS = ("3.11.2", "3.11.9", "3.12", "3.13", "3.14")
# Extras that are built from source; everything else must have wheels: no compiler is promised.
FROM_SOURCE = ("peers",)
# What a student installs, on any system.
STUDENTS = ("lab",)
# The oldest macOS that PyTorch has wheels for.
MACOS = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}


@dataclass(frozen=True)
class Question:
    """Whether extras can be installed together with a Python on a system, with the pinned versions or the newest."""

    python: str
    extras: tuple[str, ...]
    system: str
    pinned: bool

    def __str__(self) -> str:
        versions = "constraints.txt" if self.pinned else "newest versions"
        return f"Python {self.python}, .[{','.join(self.extras)}], {versions}, {self.system}"

    @property
    def command(self) -> list[str]:
        """What uv is called with."""
        asked = [word for extra in self.extras for word in ("--extra", extra)]
        where = ["--python-version", self.python, "--python-platform", self.system]
        pins = ["--constraint", "constraints.txt"] if self.pinned else []
        wheels = [] if set(self.extras) & set(FROM_SOURCE) else ["--only-binary", ":all:"]
        return ["pip", "compile", "pyproject.toml", "--quiet", "--no-header", *asked, *where, *pins, *wheels]

    @property
    def alone(self) -> list[Question]:
        """The same of each extra by itself."""
        return [replace(self, extras=(extra,)) for extra in self.extras]


def routes(texts: Iterable[str]) -> list[str]:
    """The extras that texts tell their readers to install without pinned versions.

    >>> routes(['pip install ".[lab]"', "$ sudo -E pip install '.[grade]'", "pip install --no-deps ."])
    ['grade', 'lab']
    """
    return sorted({extra for text in texts for extra in re.findall(r"pip install ['\"]\.\[(\w+)\]", text)})


def questions() -> list[Question]:
    """Every extra with the pinned versions, and what README and guides tell students and instructors to type.

    What can be installed together can be installed alone: one question for many extras takes seconds instead of minutes.
    """
    pages = [ROOT / "README.md", ROOT / "course" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    told = tuple(routes(page.read_text(encoding="utf-8") for page in pages))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheels = tuple(e for e in project["optional-dependencies"] if e not in FROM_SOURCE)
    found = []
    for python in PYTHONS:
        found.append(Question(python, wheels, "linux", True))
        found.append(Question(python, ("dev", *FROM_SOURCE), "linux", True))  # as `make peers` has them
        found.append(Question(python, ("dev",), "macos", True))  # `make` is for Linux and macOS
        found.append(Question(python, told, "linux", False))
        found += [Question(python, STUDENTS, system, False) for system in ("macos", "windows")]
    return found


def ask(question: Question, uv: str, variables: dict[str, str]) -> str:
    """Nothing where uv finds versions that agree, else its words, which name the package in the way."""
    env = {**os.environ, **MACOS, **variables, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
    done = subprocess.run(
        [uv, *question.command], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    return done.stderr.strip() or f"uv exited with {done.returncode}" if done.returncode else ""


def answers(question: Question, uv: str, variables: dict[str, str]) -> list[str]:
    """A line for each extra in whose way something is."""
    reason = ask(question, uv, variables)
    if reason and len(question.extras) > 1:
        single = [(q, ask(q, uv, variables)) for q in question.alone]
        # Each by itself may do, and two of them not together.
        return [f"{q}: {why}" for q, why in single if why] or [f"{question}: {reason}"]
    return [f"{question}: {reason}"] if reason else []


def main() -> int:
    """Print a line a question, and uv's words where there is no answer."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        print("uv is not installed: run `make resolve`", file=sys.stderr)
        return 2
    asked, variables = questions(), uv_variables(pip_settings())
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        said = pool.map(lambda question: answers(question, uv, variables), asked)
        for question, lines in zip(asked, said, strict=True):
            failed += bool(lines)
            print(*(lines or [f"{question}: resolves"]), sep="\n", flush=True)
    print(f"{len(asked) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
