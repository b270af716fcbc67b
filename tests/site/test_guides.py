"""The commands of the guides, copied literally: from a clone to a graded class, and from a clone to a running notebook.

A fenced block marked `bash` is meant to be pasted into a terminal. The test takes what a reader takes: the blocks of a page,
one after the other, in one shell, in an empty folder. Two things stand for the world outside: git finds the public
repository on this machine, with the work tree as it is now, and the virtual environment is there already, so that
nothing is downloaded.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from coursekit.address import Address
from coursekit.cli import app
from coursekit.course import Course
from coursekit.isolate.bubblewrap import Bubblewrap
from coursekit.set_up import recipe
from tests.course import ROOT

needs_isolation = pytest.mark.skipif(
    Bubblewrap().available() is not None, reason=f"nothing isolates here: {Bubblewrap().available()}"
)
GUIDES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]
FIRST_CLASS = ROOT / "docs" / "instructors" / "first_class.md"
STARTS = ("README.md", "docs/index.md", "docs/self_learners.md")
ADDRESS = Address.of(Course.find(ROOT))
REPOSITORY = ADDRESS.repository
CLONE = REPOSITORY.rpartition("/")[2]  # the folder that a clone makes


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language.

    >>> blocks("```bash\\nls\\n```\\n```\\nno\\n```\\n   ```bash\\n   cd x\\n   ```", "bash")
    ['ls\\n', 'cd x\\n']
    """
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", text, flags=re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def commands(text: str) -> Iterator[str]:
    """Every command of a page: lines of `bash` blocks, of `console` blocks behind `$`, and of blocks without a language."""
    for block in blocks(text, "bash"):
        yield from block.splitlines()
    for block in blocks(text, "console"):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
    for block in blocks(text, ""):
        yield from block.splitlines()
    for inline in re.findall(
        r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S)
    ):
        if re.match(r"(coursekit|make|nbgrader) \w", inline):
            yield inline


# What a guide names is there


def subcommands() -> dict[str, set[str]]:
    """coursekit's commands with their options."""
    group = typer.main.get_command(app)
    return {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for name, command in group.commands.items()
    }


@pytest.mark.parametrize("name", GUIDES)
def test_commands_of_coursekit_exist_with_their_options(name: str) -> None:
    known = subcommands()
    for line in commands((ROOT / name).read_text(encoding="utf-8")):
        for command, rest in re.findall(r"\bcoursekit ([a-z-]+)([^|;&#`]*)", line):
            assert command in known, f"{name}: {line}"
            for option in re.findall(r"(?<!\S)(--[a-z-]+)", rest):
                assert option in known[command], f"{name}: coursekit {command} has no {option}"


@pytest.mark.parametrize("name", GUIDES)
def test_targets_of_make_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in commands((ROOT / name).read_text(encoding="utf-8")):
        for target in re.findall(r"(?:^|&& |\| )make ([a-z0-9-]+)", line):
            assert re.search(rf"^{target}:", makefile, flags=re.M), f"{name}: make {target}"


def test_names_in_the_guides_are_those_of_the_course() -> None:
    """Files and assignments, exporters and extras that the guides name."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in GUIDES)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"\.\[(\w+)\]", text)) == {"instructor", "grade", "lab"}
    assert all(re.search(rf"^{extra} = \[", project, flags=re.M) for extra in ("instructor", "grade", "lab"))
    for name in set(re.findall(r"\b\d\d_[a-z_]+\b", text)):
        assert (ROOT / "course" / name).is_dir(), name
    exporters = (ROOT / "coursekit" / "exporters.py").read_text(encoding="utf-8")
    for exporter, trait in re.findall(r"--(\w+Exporter)\.(\w+)", text):
        assert re.search(rf"class {exporter}\b", exporters)
        assert re.search(rf"^    {trait} = ", exporters, flags=re.M), trait


def test_the_starts_are_two_steps_and_the_same() -> None:
    found = [blocks((ROOT / name).read_text(encoding="utf-8"), "bash")[0] for name in STARTS]
    assert len(set(found)) == 1
    assert found[0].splitlines() == [f"git clone {REPOSITORY}", f"cd {CLONE} && make lab"]


def test_public_addresses_are_those_of_the_course() -> None:
    """`coursekit address` sets them."""
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in GUIDES}
    cloned = {address for text in texts.values() for address in re.findall(r"git clone (https:\S+)", text)}
    assert cloned == {REPOSITORY}
    assert f"[web site]({ADDRESS.site})" in texts["README.md"]


# What a guide says to do works


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a shell in which the public repository is the work tree as it is now."""
    folder = tmp_path_factory.mktemp("world")
    bare = folder / "repository.git"
    config = folder / "gitconfig"
    config.write_text(
        f"[user]\n\tname = reader\n\temail = reader@example.org\n[init]\n\tdefaultBranch = main\n"
        f'[url "file://{bare}"]\n\tinsteadOf = {REPOSITORY}\n[safe]\n\tdirectory = *\n',
        encoding="utf-8",
    )
    kept = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "USER")
    env = {key: os.environ[key] for key in kept if key in os.environ}
    env |= {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1", "MPLBACKEND": "agg"}
    env |= {"JUPYTER_CONFIG_DIR": str(folder / "jupyter"), "JUPYTER_DATA_DIR": str(folder / "jupyter-data")}
    env |= {
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter-runtime"),
        "COURSE_PROGRESS_DIR": str(folder / "progress"),
    }
    env |= {
        key: os.environ.get(key, "1")
        for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    git = ["git", f"--git-dir={bare}", f"--work-tree={ROOT}"]
    for command in (
        ["git", "init", "--quiet", "--bare", str(bare)],
        [*git, "-c", "core.bare=false", "add", "--all"],
        [*git, "-c", "core.bare=false", "commit", "--quiet", "--message", "as it is now"],
    ):
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
    return env


def ready_environment(clone: Path) -> None:
    """A virtual environment in `clone/.venv` as `make setup` leaves it, of packages that are installed here.

    The clone's own packages come first, so that what runs is the clone.
    """
    venv = clone / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    [packages] = (venv / "lib").glob("python3*/site-packages")
    have = [p for p in sys.path if p.endswith("site-packages")]
    (packages / "course.pth").write_text("\n".join([str(clone), *have]) + "\n", encoding="utf-8")
    # Templates of nbconvert and nbgrader, kernels.
    (venv / "share").symlink_to(Path(sys.prefix) / "share")
    for script in Path(sys.executable).parent.iterdir():
        target = venv / "bin" / script.name
        if script.is_file() and not target.exists() and script.read_bytes()[:2] == b"#!":
            _, _, text = script.read_text(encoding="utf-8").partition("\n")
            # Where a path has a space, a shell finds Python by two lines that Python reads as a string; pip writes them, too.
            text = re.sub(r"\A'''exec' .*\n' '''\n", "", text)
            by_shell = f"#!/bin/sh\n'''exec' \"{venv / 'bin' / 'python'}\" \"$0\" \"$@\"\n' '''\n"
            target.write_text(by_shell + text, encoding="utf-8")
            target.chmod(0o755)
    mark = recipe(clone / "pyproject.toml", clone / "constraints.txt", "dev")
    (venv / ".ready").write_text(mark, encoding="utf-8")


def clone_and_go_on(folder: Path, env: dict[str, str], script: str) -> str:
    """`script`, whose first line clones, as two: what stands behind the first line finds the environment made."""
    first, _, rest = script.partition("\n")
    assert first == f"git clone {REPOSITORY}", "the guide begins with the clone"
    subprocess.run(["bash", "-c", first], cwd=folder, env=env, check=True, capture_output=True)
    ready_environment(folder / CLONE)
    return rest


@pytest.mark.slow
@needs_isolation
def test_a_first_time_instructor_grades_a_class(world: dict[str, str]) -> None:
    """The whole page, literally. Not below /tmp, of which each student's process has its own."""
    folder = ROOT / "build" / "first_class"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    script = "".join(blocks(FIRST_CLASS.read_text(encoding="utf-8"), "bash"))
    rest = clone_and_go_on(folder, world, script)
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\n{rest}"],
        cwd=folder,
        env=world,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    clone = folder / CLONE
    room = clone / "flows-class"
    assert sorted(p.name for p in (folder / "student-edition" / "course").glob("0[1-3]_*")) == [
        "01_change_of_variables",
        "02_jacobians_and_determinants",
        "03_masked_coupling",
    ]
    assert not (folder / "student-edition" / "solutions").exists()
    with (room / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[1:]
    assert len(rows) == 12
    points = [float(row["03_masked_coupling"]) for row in rows]
    assert min(points) == 0 < max(points)
    assert len(list((room / "feedback").glob("*/03_masked_coupling/*.html"))) == 12
    report = (room / "reports" / "03_masked_coupling.html").read_text(encoding="utf-8")
    assert "Misconceptions" in report
    # The page says what is to be seen.
    assert "time limit" in done.stdout
    assert "died" in done.stdout
    assert "waits for manual" in done.stdout
    assert "isolation: none" not in done.stdout
    assert "no feedback" not in done.stdout
    assert not subprocess.run(
        ["git", "status", "--porcelain"],
        cwd=clone,
        env=world,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    shutil.rmtree(folder)


@pytest.mark.slow
@needs_isolation
def test_the_exchange_of_a_jupyterhub(world: dict[str, str]) -> None:
    """Set up: release, collect, grade. Reports: hand the feedback out. Between them one student works, in the same account."""
    folder = ROOT / "build" / "exchange"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "exchange").mkdir(parents=True)
    (folder / "student").mkdir()
    config = Path(world["JUPYTER_CONFIG_DIR"]) / "nbgrader_config.py"
    config.parent.mkdir(parents=True, exist_ok=True)
    exchange = f'c.Exchange.root = "{folder}/exchange"\nc.Exchange.cache = "{folder}/cache"\n'
    # The second line is what the guide gives to students.
    config.write_text(f'{exchange}c.CourseDirectory.course_id = "normalizing-flows"\n', encoding="utf-8")
    assert 'c.CourseDirectory.course_id = "normalizing-flows"' in (
        FIRST_CLASS.parent / "set_up.md"
    ).read_text("utf-8")
    clone_and_go_on(folder, world, f"git clone {REPOSITORY}\n")
    clone = folder / CLONE

    def run(where: Path, *lines: str) -> str:
        script = "\n".join(["set -euo pipefail", f"source {clone}/.venv/bin/activate", f"cd {where}", *lines])
        done = subprocess.run(["bash", "-c", script], env=world, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def said(page: str, after: str) -> list[str]:
        text = (FIRST_CLASS.parent / page).read_text(encoding="utf-8")
        return [line[2:] for line in blocks(text[text.index(after) :], "console")[0].splitlines()]

    release, *collect_and_grade = said("set_up.md", "Files travel by nbgrader's exchange")
    run(clone, release)
    run(
        folder / "student",
        "nbgrader fetch_assignment 03_masked_coupling",
        "nbgrader submit 03_masked_coupling",
    )
    assert "graded" in run(clone, *collect_and_grade)
    run(clone, *said("report.md", "nbgrader's exchange hands them out"))
    run(folder / "student", "nbgrader fetch_feedback 03_masked_coupling")
    assert len(list((folder / "student").glob("03_masked_coupling/feedback/*/03_masked_coupling.html"))) == 1
    config.unlink()
    shutil.rmtree(folder)


@pytest.mark.slow
def test_a_first_time_student_reaches_a_running_notebook(world: dict[str, str], tmp_path: Path) -> None:
    """The two lines of the start. Jupyter is told by its own configuration to open no browser, and to run as root in CI."""
    config = Path(world["JUPYTER_CONFIG_DIR"]) / "jupyter_server_config.py"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        "c.ServerApp.open_browser = False\nc.ServerApp.allow_root = True\n"
        "c.ServerApp.port = 0\nc.IdentityProvider.token = 'guide'\n",
        encoding="utf-8",
    )
    rest = clone_and_go_on(tmp_path, world, blocks((ROOT / STARTS[0]).read_text(encoding="utf-8"), "bash")[0])
    log = tmp_path / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            ["bash", "-c", rest], cwd=tmp_path, env=world, stdout=out, stderr=out, start_new_session=True
        )
        try:
            address = _address(server, log)
            for path in (
                "api/contents/03_masked_coupling/03_masked_coupling.ipynb",
                "lab/tree/03_masked_coupling",
            ):
                request = urllib.request.Request(
                    f"{address}/{path}", headers={"Authorization": "token guide"}
                )
                with urllib.request.urlopen(request, timeout=60) as answer:
                    assert answer.status == 200
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def _address(server: subprocess.Popen[bytes], log: Path) -> str:
    for _ in range(240):
        text = log.read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"http://localhost:(\d+)/lab", text):
            return f"http://localhost:{found[1]}"
        assert server.poll() is None, text[-3000:]
        time.sleep(0.5)
    raise AssertionError(f"JupyterLab does not come up:\n{log.read_text(encoding='utf-8')[-3000:]}")
