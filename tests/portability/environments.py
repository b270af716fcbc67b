"""Virtual environments in which the course must work.

What comes from a package index is installed once and kept under `build/environments/`, by a hash of what is in it; nothing
is added to it later. A test gets a *child* of it: an environment of its own that sees the kept one's packages, as a Colab
runtime sees Colab's, and into which it may install the course.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from coursekit.isolate.limits import ONE_THREAD
from tests.course import ROOT

__all__ = [
    "COLAB",
    "UNIX",
    "Environment",
    "base_python",
    "checkout",
    "child",
    "interpreter",
    "libraries",
    "own_child",
]

KEPT = ROOT / "build" / "environments"
# What Colab has, as a file of requirements.
COLAB = Path(__file__).with_name("colab.txt")
# What a CUDA build of torch needs: gigabytes that a test does not download.
HEAVY = ("nvidia-", "cuda-", "triton")
# A change in how environments are made makes new ones.
RECIPE = 1

UNIX = pytest.mark.skipif(sys.platform == "win32", reason="environments of tests are linked together")


@dataclass(frozen=True)
class Environment:
    """A Python with what is installed for it."""

    python: Path

    def run(
        self,
        *arguments: str | Path,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        seconds: float = 600,
    ) -> str:
        """Run this Python in the folder `cwd`; what it wrote to stdout.

        Raises:
            AssertionError: with its output, when it exits with an error.
        """
        done = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=cwd,
            env={**_environment(cwd), **(env or {})},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, (
            f"{' '.join(map(str, arguments))} exited with {done.returncode}:\n"
            f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout

    def versions(self, cwd: Path) -> dict[str, str]:
        """Name → version of everything that is installed for it."""
        code = (
            "import json; from importlib.metadata import distributions; "
            "print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in distributions()}))"
        )
        return json.loads(self.run("-c", code, cwd=cwd))

    @property
    def packages(self) -> Path:
        """Its folder site-packages."""
        [found] = self.python.parent.parent.glob("lib/python*/site-packages")
        return found


def interpreter(minor: int) -> Path | None:
    """A Python 3.`minor` of this machine that can make virtual environments: on the PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python3.{minor}"), *sorted(pyenv.glob(f"versions/3.{minor}.*/bin/python"))]
    for candidate in filter(None, candidates):
        with contextlib.suppress(subprocess.CalledProcessError, OSError):
            if _about(candidate)["version"][:2] == [3, minor]:
                return Path(candidate)
    return None


def libraries(name: str, python: Path, *requirements: Path | str, torch: bool = False) -> Environment:
    """The kept environment of `requirements`: files of them, or single ones; with `torch`, the tests' own beside them."""
    about = _about(python)
    lines = [r.read_text(encoding="utf-8") if isinstance(r, Path) else r for r in requirements]
    if torch:
        needs = [Requirement(r) for r in distribution("torch").requires or ()]
        light = [r for r in needs if not r.name.startswith(HEAVY)]
        lines += [f"{r.name}{r.specifier}" for r in light if r.marker is None or r.marker.evaluate()]
    parts = [RECIPE, about, lines, distribution("torch").version if torch else None]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    folder = KEPT / f"{name}-{key}"
    made = Environment(folder / "bin" / "python")
    with _locked(KEPT / f"{name}.lock"):
        if not (folder / ".ready").is_file():
            for old in KEPT.glob(f"{name}-*"):
                shutil.rmtree(old)
            subprocess.run([about["executable"], "-m", "venv", folder], check=True, env=_environment(KEPT))
            wanted = folder / "requirements.txt"
            wanted.write_text("\n".join(lines), encoding="utf-8")
            made.run("-m", "pip", "install", "--quiet", "-r", wanted, cwd=folder, seconds=1500)
            if torch:
                _link_torch(made.packages)
            (folder / ".ready").touch()
    return made


def child(parent: Environment, folder: Path) -> Environment:
    """A new environment in `folder` that sees the packages of `parent` and leaves them alone."""
    parent.run("-m", "venv", "--without-pip", folder, cwd=folder.parent)
    made = Environment(folder / "bin" / "python")
    (made.packages / "parent.pth").write_text(f"{parent.packages}\n", encoding="utf-8")
    return made


def checkout(folder: Path) -> Path:
    """What a clone of the repository would hold in `folder`, with the files as they stand now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # else removed, but not yet in git's index
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def _about(python: str | Path) -> dict:
    code = "import ensurepip, json, sys, venv; "
    code += "print(json.dumps({'executable': sys.executable, 'version': sys.version_info[:3]}))"
    done = subprocess.run([str(python), "-c", code], check=True, capture_output=True, env=_environment(ROOT))
    return json.loads(done.stdout)


def _link_torch(site: Path) -> None:
    """Lay the tests' own torch into `site`; whoever removes the environment removes links."""
    heavy = [d for d in distributions() if d.name.lower().startswith(HEAVY)]
    for found in (distribution("torch"), *heavy):
        for name in _tops(found):
            if not (site / name).exists():
                (site / name).symlink_to(Path(str(found.locate_file(name))).resolve())


def _tops(found: Distribution) -> list[str]:
    files = found.files or ()
    return sorted({f.parts[0] for f in files if f.parts[0] not in ("..", "__pycache__")})


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time: the workers of a test run share the kept environments."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _environment(folder: Path) -> dict[str, str]:
    """This process's variables without those that lead back to its own packages and settings."""
    leading = ("PYTHON", "JUPYTER", "IPYTHON", "VIRTUAL_ENV", "MPLBACKEND", "COV")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(leading)}
    private = {
        name: str(folder / f".{name.lower()}")
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    return {**kept, **ONE_THREAD, **private, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def base_python() -> Path:
    """The Python that the tests' own environment was made from."""
    return Path(getattr(sys, "_base_executable", sys.executable))


def own_child(folder: Path, scripts: Sequence[str] = ()) -> Environment:
    """A child of the environment that the tests run in, in `folder`: its packages, Jupyter extensions and `scripts`."""
    own = Environment(Path(sys.executable))
    made = child(own, folder)
    prefix = Path(sys.prefix)
    (folder / "share").mkdir()
    (folder / "share" / "jupyter").symlink_to(prefix / "share" / "jupyter")
    shutil.copytree(prefix / "etc" / "jupyter", folder / "etc" / "jupyter")
    for name in scripts:
        lines = (prefix / "bin" / name).read_text(encoding="utf-8").splitlines(keepends=True)
        script = folder / "bin" / name
        script.write_text("".join([f"#!{made.python}\n", *lines[1:]]), encoding="utf-8")
        script.chmod(0o755)
    return made
