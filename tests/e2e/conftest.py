"""A browser, a released course in JupyterLab, a graded class, and the web site."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbformat import NotebookNode

from autograder_tests import misconceptions
from autograder_tests.catalogue import Misconception
from coursekit.course import Course
from coursekit.new_class import Paper
from tests.course import ROOT
from tests.e2e import browser as browsers
from tests.e2e.jupyter import ALLOWED, Lab, environment, start_lab
from tests.e2e.requirements import chromium, missing
from tests.e2e.visit import Visit, pages, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SITE = ROOT / "build" / "site" / "html"
NAME = "03_masked_coupling"
NOTEBOOK = f"{NAME}/{NAME}.ipynb"


def pytest_configure() -> None:
    """Without a browser there is nothing to test: say so once, and fail, before a test module is read."""
    if reason := missing():
        pytest.exit(reason, returncode=3)
    from tests.e2e.axe import fetch

    fetch()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A visit to each page of the site takes ten minutes."""
    for item in items:
        if "visits" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's chromium, without a window."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=15_000)  # a busy machine takes its time
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=str(chromium()), args=list(browsers.ARGUMENTS), headless=True
        )
        yield launched
        launched.close()


@pytest.fixture
def allowed() -> tuple[str, ...]:
    """Complaints of pages that a module expects, as regular expressions: none, unless it says otherwise and why."""
    return ()


@pytest.fixture
def page(browser: Browser, allowed: tuple[str, ...]) -> Iterator[Page]:
    """A page that fails the test when it complains: see `tests.e2e.browser.Watch`."""
    with browsers.new_page(browser, allowed=allowed) as page:
        yield page


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A copy of the course with one assignment, released by `coursekit build`."""
    root = tmp_path_factory.mktemp("class") / "course"
    for package in ("flowlib", "autograder_tests", "coursekit"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "nbgrader_config.py", "postBuild", f"solutions/{NAME}.py"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    run_command(root, "coursekit", "build")
    return Course.find(root)


@pytest.fixture(scope="session")
def paper(course: Course) -> Paper:
    """The assignment with its answers."""
    return Paper(course, NAME)


@pytest.fixture(scope="session")
def student_lab(course: Course, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as students have it: on the released notebooks, without the instructors' panels."""
    private = tmp_path_factory.mktemp("student")
    run_post_build(private)
    with start_lab(course.release_dir, private) as lab:
        yield lab


@pytest.fixture
def lab(student_lab: Lab, course: Course) -> Iterator[Lab]:
    """The students' lab with the notebook as it was released, and no kernel running."""
    released = course.release_notebook(NAME).read_bytes()
    yield student_lab
    student_lab.shut_kernels_down()
    course.release_notebook(NAME).write_bytes(released)


@pytest.fixture(scope="session")
def finished(browser: Browser, student_lab: Lab, paper: Paper) -> NotebookNode:
    """A notebook with every answer, uploaded, run, validated and saved in the browser; as JupyterLab wrote it."""
    from tests.e2e.notebook import NotebookPage

    path = f"finished/{NAME}.ipynb"
    (student_lab.folder / path).parent.mkdir()
    student_lab.put(path, paper.notebook(paper.answers))
    with browsers.new_page(browser, allowed=ALLOWED) as page:
        notebook = NotebookPage(page, student_lab, path)
        notebook.restart_and_run_all()
        notebook.save()
        dialog = notebook.validate()
        browsers.screenshot(page, "student_5_validated")
        assert "Success! Your notebook passes all the tests." in dialog.inner_text()
    student_lab.shut_kernels_down()
    return nbformat.read(student_lab.folder / path, as_version=4)


@dataclass(frozen=True)
class GradedClass:
    """A class folder in which ada was right and ben made `mistake`; who grades sees it in a `lab` of their own."""

    folder: Path
    mistake: Misconception
    lab: Lab

    def feedback(self, student: str) -> str:
        """The address of the student's feedback page."""
        return (self.folder / "feedback" / student / NAME / f"{NAME}.html").as_uri()


@pytest.fixture(scope="session")
def mistake(paper: Paper) -> Misconception:
    """A common mistake in the first exercise, as the catalogue has it."""
    return next(m for m in misconceptions(NAME) if m.exercise == paper.exercises[0])


@pytest.fixture(scope="session")
def graded(
    finished: NotebookNode,
    course: Course,
    paper: Paper,
    mistake: Misconception,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GradedClass]:
    """What students handed in, collected, graded and reported by the guide's commands; ada's comes from the browser."""
    handed_in = tmp_path_factory.mktemp("handed_in")
    for student, notebook in (("ada", finished), ("ben", paper.wrong("ben", mistake)[1])):
        (handed_in / student).mkdir()
        nbformat.write(notebook, handed_in / student / f"{NAME}.ipynb")
    folder = course.root.parent / "flows-class"
    run_command(course.root, "coursekit", "collect", NAME, str(handed_in), "--course", str(folder))
    run_command(course.root, "coursekit", "grade", NAME, "--course", str(folder), "--cell-seconds", "60")
    run_command(course.root, "coursekit", "report", NAME, "--course", str(folder))
    with start_lab(folder, tmp_path_factory.mktemp("instructor")) as lab:
        yield GradedClass(folder, mistake, lab)


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the web site; `make site` builds it where it is missing."""
    from tests.e2e.server import serve

    if not (SITE / "index.html").is_file():
        subprocess.run(["make", "site"], cwd=ROOT, check=True)
    with serve(SITE) as address:
        yield address


@pytest.fixture(scope="session")
def visits(browser: Browser, site: str, axe: Callable[..., list[str]]) -> list[Visit]:
    """A visit to every page of the site."""
    return [visit(browser, site, path, axe) for path in pages(SITE)]


@pytest.fixture(scope="session")
def axe() -> Callable[..., list[str]]:
    """axe-core: `axe(page)` lists what is serious or critical there."""
    from tests.e2e.axe import Axe

    return Axe()


def run_command(cwd: Path, *command: str, private: Path | None = None) -> str:
    """Run one of this environment's commands as at a terminal; what it printed.

    Raises:
        AssertionError: with what it said when it failed.
    """
    env = environment(private or cwd / ".jupyter")
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_post_build(private: Path) -> None:
    """Run Binder's `postBuild` in an empty folder: of what it does, hiding panels is done for real.

    It hides them for everybody who uses the environment. Here a user's settings do, so that the environment
    that runs the tests stays as it is; and the course is installed already.
    """
    folder = private / "binder"
    tools = folder / "bin"
    tools.mkdir(parents=True)
    real = Path(sys.executable).with_name("jupyter")
    for name, line in (
        ("pip", "exit 0"),
        ("jupyter", f'exec "{real}" "${{@/--level=sys_prefix/--level=user}}"'),
    ):
        (tools / name).write_text(f"#!/usr/bin/env bash\n{line}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    run_command(
        folder, "env", f"PATH={tools}:/usr/bin:/bin", "bash", str(ROOT / "postBuild"), private=private
    )
