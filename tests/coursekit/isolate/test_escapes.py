"""Nothing outside can be read, written, reached or ended from inside."""

from __future__ import annotations

import json
import os
import platform
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest

import coursekit
from coursekit.isolate import seccomp
from coursekit.isolate.bwrap import programs
from coursekit.isolate.launch import Launcher
from tests.coursekit.isolate.attacks import ATTACKS, SYSCALLS, cells
from tests.coursekit.isolate.conftest import ISOLATING, QUICK, SETUP, stdout, usable

ROOT = Path(coursekit.__file__).parents[1]
NAMES = [*ATTACKS, *(f"syscall {name}" for name in SYSCALLS)]


def _shown(home: Path) -> set[str]:
    """What a child sees in the home when Python or the course lie below it: the first step of the way to each."""
    places = [Path(p) for p in SETUP.places().read_only]
    return {p.relative_to(home).parts[0] for p in places if p.is_relative_to(home) and p != home}


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The cells, aimed at real things: each of these attacks works in a bare child."""
    folder = tmp_path_factory.mktemp("instructor")
    folder.chmod(0o777)
    secret = folder / "gradebook.db"
    secret.write_text("points")
    secret.chmod(0o666)
    abstract = f"coursekit-{secrets.token_hex(4)}"
    column = {"x86_64": 0, "aarch64": 1}.get(platform.machine(), 0)
    numbers = {name: pair[column] for name, pair in (seccomp.DENIED | seccomp.NUMBERS).items()}
    victim = subprocess.Popen(["sleep", "600"])
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(f"\0{abstract}")
        unix.listen()
        yield cells(
            numbers,
            secret=secret,
            source=ROOT / "pyproject.toml",
            home=Path.home(),
            shown=_shown(Path.home()),
            bubblewrap=(*(p.path for p in programs()), "bwrap")[0],
            port=server.getsockname()[1],
            abstract=abstract,
            victim=victim.pid,
        )
    assert victim.poll() is None, "a process outside was ended"
    victim.kill()
    victim.wait()
    assert [p.name for p in folder.iterdir()] == ["gradebook.db"]


@pytest.fixture(scope="module")
def answers(known: dict[str, Launcher], attempts: dict[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name in ISOLATING:
        if known[name].available() is None:
            with known[name].start(QUICK) as child:
                found[name] = {title: stdout(child, source) for title, source in attempts.items()}
    return found


@pytest.mark.parametrize("attack", NAMES)
@pytest.mark.parametrize("name", ISOLATING)
def test_refused(answers: dict[str, dict[str, str]], known: dict[str, Launcher], name: str, attack: str):
    usable(known, name)
    assert answers[name][attack].startswith("refused"), answers[name][attack]


def test_the_attacks_work_where_nothing_isolates(known: dict[str, Launcher], attempts: dict[str, str]):
    """Else 'refused' would mean nothing."""
    harmless = (
        "loopback",
        "abstract socket",
        "read a secret",
        "read the course's sources",
        "follow a symlink",
    )
    with known["none"].start(QUICK) as child:
        answers = {title: stdout(child, attempts[title].replace("/tmp/link", "link")) for title in harmless}
    assert answers == dict.fromkeys(harmless, "ESCAPED\n")


def test_children_do_not_see_each_other(isolating: Launcher):
    with isolating.start(QUICK) as first, isolating.start(QUICK) as second:
        first.run_cell("open('/tmp/mine', 'w').write('x')\nopen('/dev/shm/mine', 'w').write('x')")
        looks = "import os\nprint(os.path.exists('/tmp/mine'), os.path.exists('/dev/shm/mine'))"
        assert stdout(first, looks) == "True True\n"
        assert stdout(second, looks) == "False False\n"
        processes = "print(len([p for p in os.listdir('/proc') if p.isdigit()]))"
        assert int(stdout(second, processes)) <= 3


def test_rights_are_gone(isolating: Launcher):
    source = (
        "wanted = ('CapEff', 'CapPrm', 'CapInh', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')\n"
        "print(*(line for line in open('/proc/self/status').read().splitlines() if line.startswith(wanted)))"
    )
    with isolating.start(QUICK) as child:
        status = dict(
            part.split(":\t") for part in stdout(child, source).replace("\n", "").split(" ") if "\t" in part
        )
    if os.geteuid() == 0:
        assert status.pop("CapBnd") == "0" * 16
    zero = dict.fromkeys(("CapEff", "CapPrm", "CapInh", "CapAmb"), "0" * 16)
    assert {k: v for k, v in status.items() if k in zero} == zero
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_an_ordinary_user_is_as_safe(attempts: dict[str, str]):
    """The same attacks on children that an ordinary user starts, with the system's Python, which that user can read."""
    python = Path("/usr/bin/python3")
    same = f"{sys.version_info.major}.{sys.version_info.minor}"
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root, to become an ordinary user")
    shown = subprocess.run([python, "--version"], capture_output=True, text=True) if python.exists() else None
    if shown is None or f"Python {same}." not in shown.stdout:
        pytest.skip(f"needs the system's own Python {same}")
    site = Path(numpy.__file__).parents[1]
    script = Path("tests", "coursekit", "isolate", "as_user.py")
    # The course and its libraries may lie in a home that is nobody else's: they are mounted where that user can read them.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="readable-") as name:
        readable = Path(name)
        readable.chmod(0o755)
        shown = {ROOT: readable / "course", site: readable / "site-packages"}
        for place in shown.values():
            place.mkdir()
        mounts = [f"mount --bind {shlex.quote(str(a))} {shlex.quote(str(b))}" for a, b in shown.items()]
        user = f"setpriv --reuid=12345 --regid=12345 --clear-groups {python} {script}"
        run = subprocess.run(
            ["unshare", "--mount", "sh", "-c", " && ".join([*mounts, f"cd {shown[ROOT]}", f"exec {user}"])],
            input=json.dumps(attempts),
            env={
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "PYTHONPATH": os.pathsep.join(map(str, shown.values())),
                "HOME": "/nonexistent",
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout)
    reasons = {k: v for k, v in answers.items() if isinstance(v, str)}
    if reasons:
        pytest.skip(str(reasons))
    assert answers.keys() == set(ISOLATING)
    for name, said in answers.items():
        escaped = {title: text for title, text in said.items() if title and not text.startswith("refused")}
        assert not escaped, name
