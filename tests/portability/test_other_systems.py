"""What a student runs needs nothing of Unix: no fork, no /proc, no signals, no rlimits, no UTF-8 by luck."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from coursekit.course import Course
from coursekit.new_class import Paper
from tests.course import ASSIGNMENTS, ROOT

COURSE = Course.find(ROOT)
SHIM = Path(__file__).parent / "shims" / "not_unix"
ASSIGNMENT = "01_change_of_variables"
MISSING = ("fcntl", "grp", "pwd", "resource", "termios")


def python(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """This Python in a folder that holds nothing of the course."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        check=False,
    )


def test_the_packages_import_without_unix_modules(tmp_path: Path) -> None:
    """Not even by way of a library: here the modules are missing for everybody."""
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in MISSING)
    code = f"import sys\n{blocked}\nimport flowlib, autograder_tests.preload, coursekit.cli, coursekit.check"
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in takes away what Linux has")
@pytest.mark.parametrize(
    ("refused", "line"),
    [
        ("fcntl", "import fcntl"),
        ("fork", "import os; os.fork"),
        ("SIGKILL", "from signal import SIGKILL"),
        ("/proc", "open('/proc/self/status', encoding='utf-8')"),
        ("EncodingWarning", "open('notes.txt')"),
    ],
)
def test_the_stand_in_for_windows_refuses_what_windows_has_not(
    refused: str, line: str, tmp_path: Path
) -> None:
    """To the course's modules, and to them alone; else the next test would show nothing."""
    (tmp_path / "notes.txt").write_text("∂", encoding="utf-8")
    windows = {"PYTHONPATH": str(SHIM), "PYTHONWARNDEFAULTENCODING": "1"}
    ours = python("-c", f"exec({line!r}, {{'__name__': 'flowlib.some'}})", cwd=tmp_path, **windows)
    assert ours.returncode != 0
    assert refused in ours.stderr.decode()
    others = python("-c", line, cwd=tmp_path, **windows)
    assert others.returncode == 0, others.stderr.decode()


def handed_in(folder: Path) -> tuple[Path, set[str]]:
    """A notebook whose first exercise is wrong and all others right, and the tests of that exercise."""
    paper = Paper(COURSE, ASSIGNMENT)
    answers = dict(paper.answers)
    wrong = paper.exercises[0]
    answers[wrong] = answers[wrong].replace("return", "return 1 +", 1)
    notebook = folder / f"{ASSIGNMENT}.ipynb"
    nbformat.write(paper.notebook(answers), notebook)
    return notebook, set(paper.of(wrong))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there it is no stand-in")
def test_coursekit_check_works_without_unix(tmp_path: Path) -> None:
    """The command and the notebook's kernel, with the text of reports going to a console of Windows' old kind."""
    notebook, tests_of_the_wrong = handed_in(tmp_path)
    windows = {"PYTHONPATH": str(SHIM), "PYTHONWARNDEFAULTENCODING": "1", **COURSE.training_cut}
    done = python("-m", "coursekit.cli", "check", notebook, "--json", cwd=tmp_path, **windows)
    report = json.loads(done.stdout)
    assert report["problem"] == "", done.stderr.decode()
    points = {c["id"]: (c["points"], c["max_points"]) for c in report["cells"] if c["kind"] == "test"}
    lost = {test for test, (got, full) in points.items() if got != full}
    assert lost
    assert lost <= tests_of_the_wrong, [c["report"] for c in report["cells"] if c["id"] in lost]
    assert report["peak_mb"] is None  # it is read from /proc


@pytest.mark.slow
def test_reports_print_where_the_console_knows_few_letters(tmp_path: Path) -> None:
    """Reports hold signs like ∂ and Σ, and Windows writes a redirected output in an 8-bit code page."""
    notebook, _ = handed_in(tmp_path)
    done = python(
        "-m", "coursekit.cli", "check", notebook, cwd=tmp_path, PYTHONIOENCODING="cp1252", PYTHONUTF8="0"
    )
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert b" points, " in done.stdout
    assert b"  failed" in done.stdout


@pytest.mark.slow
def test_a_students_first_steps_work_here(tmp_path: Path) -> None:
    """What the workflow runs on macOS and Windows, run here."""
    done = python(Path(__file__).with_name("student.py"), cwd=tmp_path, COURSE_PROGRESS="0")
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert b"A student's first steps work" in done.stdout


def test_file_names_are_names_everywhere() -> None:
    """A clone on Windows or macOS: no reserved names or signs, none that differ by case alone, no path too long."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")[
        :-1
    ]
    assert names
    assert [n for n in names if set(n) & set('<>:"|?*\\')] == []
    assert [n for n in names if len(n) > 150] == []
    assert len({n.lower() for n in names}) == len(set(names))
    devices = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}
    assert [n for n in names if {p.partition(".")[0].lower() for p in Path(n).parts} & devices] == []
    assert [n for n in names if any(p.endswith((".", " ")) for p in Path(n).parts)] == []


def test_a_clone_on_windows_has_the_same_bytes() -> None:
    # `coursekit build --check` compares them, and the hash of a release is made from them.
    paths = [*map(COURSE.release_notebook, ASSIGNMENTS), *map(COURSE.text_source, ASSIGNMENTS)]
    command = ["git", "check-attr", "eol", "--", *paths]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.splitlines()
    assert len(said) == len(paths)
    assert [line for line in said if not line.endswith(" eol: lf")] == []


def test_a_notebook_may_lie_in_any_folder(tmp_path: Path) -> None:
    """What it imports is installed, with the data that goes with it; nothing is found by the working folder."""
    code = (
        "import flowlib; from autograder_tests import checks_of; from flowlib import pretrained; "
        f"print(len(checks_of({ASSIGNMENT!r})), type(pretrained.load_flow_2d('two_moons')).__name__)"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    count, kind = done.stdout.decode().split()
    assert int(count) > 0
    assert kind == "Flow"
