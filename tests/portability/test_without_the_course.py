"""The first cell of a released notebook where the course is not installed: in an empty folder, here and on Colab.

Everything else that the tests' environment has is there. On Colab the real pip and the real git try the course's address,
and find that nothing answers: no test reaches a repository.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

from coursekit.course import Course
from tests.course import ASSIGNMENTS, ROOT
from tests.portability.environments import UNIX, Environment, child
from tests.portability.test_colab import ON_COLAB, errors, play

pytestmark = UNIX

COURSE = Course.find(ROOT)
PACKAGES = ("autograder_tests", "flowlib", "coursekit")
LINE = f'%pip install "{COURSE.install}"'
# Whatever git is asked for, it asks a port of this machine at which nobody listens.
UNREACHABLE = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "url.http://127.0.0.1:9/.insteadOf",
    "GIT_CONFIG_VALUE_0": "https://",
}
# Stands before pip: it fails as if nothing answered, until a file says otherwise; then it lays the course's packages there.
PIP = f"""\
import site, sys
from pathlib import Path

assert sys.argv[1] == "install" and sys.argv[-1] == {COURSE.install!r}, sys.argv
if not Path("answers").exists():
    sys.exit(1)
for name in {PACKAGES}:
    link = Path(site.getsitepackages()[0], name)
    link.is_symlink() or link.symlink_to(Path({str(ROOT)!r}, name))
"""


@pytest.fixture
def bare(tmp_path: Path) -> Environment:
    """The tests' own environment without the course."""
    return child(Environment(Path(sys.executable)), tmp_path / "environment")


def first_cell(assignment: str = "03_masked_coupling") -> NotebookNode:
    release = nbformat.read(COURSE.release_notebook(assignment), as_version=4)
    return next(cell for cell in release.cells if cell.cell_type == "code")


def shown(cell: NotebookNode) -> str:
    """All that a reader sees below a cell."""
    parts = []
    for output in cell.outputs:
        parts += output.get("traceback", [output.get("text", "")])
    return "\n".join(parts)


def failed(nb: NotebookNode) -> str:
    """The message of the last cell, which is all that it shows, and an error to whoever runs the notebook."""
    [(_, name, message)] = errors(nb)
    assert name == "ModuleNotFoundError"
    assert shown(nb.cells[-1]) == message
    return message


def test_every_notebook_begins_with_this_cell() -> None:
    one = first_cell().source
    for name in ASSIGNMENTS:
        release = COURSE.source(name).metadata.coursekit.release
        cell = first_cell(name).source
        ours = one.replace("03_masked_coupling", name)
        assert cell.splitlines()[:-1] == ours.splitlines()[:-1]
        assert cell.splitlines()[-1] == f'begin("{name}", "{release}")'


def test_a_kernel_without_the_course_says_what_is_missing_and_what_mends_it(
    bare: Environment, tmp_path: Path
) -> None:
    said = failed(play(bare, new_notebook(cells=[first_cell()]), tmp_path)).splitlines()
    assert said == [
        "The course is not installed here (no package autograder_tests).",
        "Choose the course's kernel; or run this line in a new cell, and then this cell again:",
        "",
        LINE,
    ]


def test_colab_without_an_answer_from_the_repository_says_so_in_the_same_words(
    bare: Environment, tmp_path: Path
) -> None:
    nb = new_notebook(cells=[new_code_cell(ON_COLAB), first_cell()])
    done = play(bare, nb, tmp_path, UNREACHABLE)
    [pip, error] = done.cells[-1].outputs  # IPython's own remark on restarts is not ours to stop
    assert pip.text == "Note: you may need to restart the kernel to use updated packages.\n"
    done.cells[-1].outputs = [error]
    said = failed(done).splitlines()
    assert said[0] == "The course is not installed here (no package autograder_tests)."
    assert said[1].startswith("Colab could not fetch it.")
    assert said[2:] == ["", LINE]


def test_the_line_that_it_names_says_why_nothing_answers(bare: Environment, tmp_path: Path) -> None:
    done = play(bare, new_notebook(cells=[new_code_cell(LINE)]), tmp_path, UNREACHABLE)
    assert "fatal: unable to access 'http://127.0.0.1:9/" in shown(done.cells[0])


def test_on_colab_it_goes_on_once_the_repository_answers(bare: Environment, tmp_path: Path) -> None:
    """In the same kernel: by the line that it names, and by itself."""
    pip = tmp_path / "shim" / "pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text(PIP, encoding="utf-8")
    online = "open('answers', 'w').close()"
    steps = (ON_COLAB, first_cell().source, online, LINE, first_cell().source)
    nb = new_notebook(cells=[new_code_cell(step) for step in steps])
    done = play(bare, nb, tmp_path, {"PYTHONPATH": str(pip.parent)})
    assert [name for _, name, _ in errors(done)] == ["ModuleNotFoundError"]
    assert "Colab could not fetch it." in shown(done.cells[1])
    assert "release" in shown(done.cells[-1])
    assert "not installed here" not in shown(done.cells[-1])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import torch_needs_this", "ModuleNotFoundError"),
        ("raise OSError('libtorch_cpu.so')", "OSError"),
    ],
)
def test_what_is_broken_below_the_course_shows_itself(
    bare: Environment, tmp_path: Path, text: str, name: str
) -> None:
    for package in PACKAGES:
        (bare.packages / package).symlink_to(ROOT / package)
    (bare.packages / "torch.py").write_text(text + "\n", encoding="utf-8")
    done = play(bare, new_notebook(cells=[first_cell()]), tmp_path)
    [(_, found, _)] = errors(done)
    assert found == name
    said = re.sub(r"\x1b\[[0-9;]*m", "", shown(done.cells[0]))
    assert text in said  # the traceback goes down to the line that raised
    assert said.splitlines()[-1].startswith(f"{name}: ")
    assert "no package autograder_tests" not in said
