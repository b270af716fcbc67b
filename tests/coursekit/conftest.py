"""A tiny course about squares, made anew in a temporary folder: coursekit knows nothing of flows."""

from __future__ import annotations

import copy
import html
import os
import re
import signal
import sys
from pathlib import Path

import nbformat
import nbgrader.api
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from coursekit.build import build, release_of, write
from coursekit.course import Course
from coursekit.source import notebook_bytes, read_source

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "01_squares"

SQUARES = '''\
# Comments before the first header stay in the file.
# %% [markdown]
# # Squares
#
# The square of $x$ is $x^2$.

# %% tags="hide-input"
import os

STEPS = int(os.environ.get("TINY_STEPS", "1000"))

# %% solution="square"
def square(x):
    """The square of x.

# %% this line belongs to the text, it is no header
    """
    ### BEGIN SOLUTION
    answer_of_square = x * x
    return answer_of_square
    ### END SOLUTION

# %% test="square_of_three" points=2
assert square(3) == 9, "the square of 3 is 9"

# %% test="square_is_even" points=1
assert square(-2) == square(2)
### BEGIN HIDDEN TESTS
assert square(-12) == 144, "a negative number"
### END HIDDEN TESTS

# %% [markdown]
# Why is a square never negative?

# %% [markdown] manual="why" points=1.5
# A product of two numbers of the same sign is positive.

# %% locked="provided"
NUMBER = 2

# %% solution="cube"
def cube(x):
    ### BEGIN SOLUTION
    answer_of_cube = x * x * x
    return answer_of_cube
    ### END SOLUTION

# %% test="cube_of_two" points=3
assert cube(2) == 8, "the cube of 2 is 8"

# %% test="training_was_cut" points=1
assert cube(0) == 0
assert STEPS == 3 or "TINY_STEPS" not in os.environ
'''

CHECKS = """\
import json
import random
from types import SimpleNamespace

# A check: an expression in x among the student's names, the visible x, and what x must give.
CASES = {
    "square_of_three": ("square(x)", 3, lambda x: x * x),
    "square_is_even": ("square(-x) == square(x)", 2, lambda x: True),
    "cube_of_two": ("cube(x)", 2, lambda x: x**3),
    "new_test": ("cube(x)", 1, lambda x: x**3),
    "renamed": ("cube(x)", 1, lambda x: x**3),
    "training_was_cut": ("0 * cube(x) + STEPS", 0, lambda x: 3),
}
HINTS = {"doubles": "2x is not x²", "squares": "one factor is missing"}


def checks_of(assignment):
    return CASES


def answer_bytes(namespace, payload, outside=None):
    expression, x = json.loads(payload)
    try:
        return json.dumps({"value": eval(expression, {**namespace, "x": x})}).encode()
    except Exception as error:
        return json.dumps({"error": type(error).__name__, "text": str(error)}).encode()


def verdict(assignment, check_id, connect, seed=None):
    expression, visible, expected = checks_of(assignment)[check_id]
    call = connect()
    for hidden, x in ((False, visible), (True, random.randint(10, 99))):
        try:
            answer = json.loads(call(json.dumps([expression, x]).encode(), None))
        except (RuntimeError, ValueError) as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        if answer.get("error") == "NotImplementedError":
            return Outcome("open", "still open")
        if answer.get("value") != expected(x):
            found = [n for n in HINTS if (n == "doubles") == ("square" in expression)]
            right = expected(x)
            said = answer.get("value", answer.get("text"))
            return Outcome("failed", f"failed: {expression} at x = {x}: expected {right}, got {said}", hidden, found)
    return Outcome("passed", "passed")


class Outcome:
    def __init__(self, status, text, hidden=False, found=()):
        self.status, self.text, self.hidden = status, text, hidden
        self.passed = status == "passed"
        self.hints, self.misconceptions = [HINTS[n] for n in found], list(found)

    def __str__(self):
        return "\\n".join([self.text, *self.hints])

    def _repr_html_(self):
        return f"<b>{self.text}</b>"


def misconceptions(assignment):
    adds = "def square(x):\\n    return x + x"
    squares = "def cube(x):\\n    return x * x"
    return [
        SimpleNamespace(exercise="square", name="doubles", hint=HINTS["doubles"], source=adds),
        SimpleNamespace(exercise="cube", name="squares", hint=HINTS["squares"], source=squares),
    ]
"""

PYPROJECT = """\
[tool.coursekit]
checks = "tiny_checks"
preload = ["tiny_checks"]
training-cut = { variable = "TINY_STEPS", steps = 3 }
"""

RIGHT = {
    "square": "def square(x):\n    return x * x",
    "cube": "def cube(x):\n    return x**3",
    "why": "Both factors have the same sign.",
}


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard():
    """A shell without job control starts a command in the background with Ctrl-C ignored, and so all that it starts."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def alembic_version():
    """A new gradebook asks the command `alembic` for its version, a second each time: ask once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        return nbgrader.api.get_alembic_version()


@pytest.fixture
def course(tmp_path, monkeypatch, alembic_version):
    """The tiny course, built; the working folder is its root."""
    monkeypatch.setattr(nbgrader.api, "get_alembic_version", lambda: alembic_version)
    return _course(tmp_path / "course", monkeypatch)


def _course(root: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    (root / "solutions").mkdir(parents=True)
    (root / "solutions" / f"{NAME}.py").write_text(SQUARES, encoding="utf-8")
    (root / "tiny_checks.py").write_text(CHECKS, encoding="utf-8")
    (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (root / "nbgrader_config.py").write_bytes((REPOSITORY / "nbgrader_config.py").read_bytes())
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.delitem(sys.modules, "tiny_checks", raising=False)
    made = Course.find(root)
    write(build(made, NAME))
    return made


def released(course: Course) -> NotebookNode:
    """The student's notebook."""
    return release_of(read_source(course.text_source(NAME)), course)


def template(course: Course) -> NotebookNode:
    """The release with its hidden tests."""
    return release_of(read_source(course.text_source(NAME)), course, hidden=True)


def answered(nb: NotebookNode, **answers: str) -> NotebookNode:
    """A copy of a released notebook with the answers, all right ones unless given."""
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if cell.metadata.get("nbgrader", {}).get("solution") and name in RIGHT:
            cell.source = {**RIGHT, **answers}[name]
    return nb


def hand_in(class_dir: Path, student: str, content: NotebookNode | bytes, name: str = NAME) -> Path:
    """Put a submission where students' submissions are."""
    path = class_dir / "submitted" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else notebook_bytes(content))
    return path


def cell_of(nb: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell with that grade id."""
    return next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def page_text(path: Path) -> str:
    """The text of an HTML page: highlighting puts tags between the words of a line of code."""
    return html.unescape(re.sub(r"<[^>]+>", "", path.read_text(encoding="utf-8")))


def code_notebook(*sources: str) -> NotebookNode:
    """A notebook of code cells."""
    cells = [new_code_cell(source=s, id=f"c{i}") for i, s in enumerate(sources)]
    return nbformat.v4.new_notebook(cells=cells)
