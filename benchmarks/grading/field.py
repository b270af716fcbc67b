"""Three graders on the same submissions: plain `nbgrader autograde`, `otter run` and `coursekit grade`.

    python -m benchmarks.grading.field [--smoke] [--fresh] [--out FILE]

Writes `benchmarks/results/grading_field.json`: what each command has cost, and every point that a student has lost. What is
measured stays when the run is stopped, and is not measured again. About eight minutes on two quiet cores.

Not the same work, and said in the results: nbgrader and otter run all cells of a notebook in the student's kernel, as whoever
grades; coursekit runs them in an isolated process, leaves out what no point depends on, and reaches its verdicts outside, on
secret inputs. nbgrader and coursekit keep a gradebook, otter writes a JSON file for each submission. Releasing the assignment
and packing otter's tests are not timed. Training is cut in the same way for all; nobody writes feedback.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.console import Console
from tqdm import tqdm

from benchmarks.grading import otter, ours, plain
from benchmarks.grading.classes import ASSIGNMENT, Paper, Submission, honest_class, write_class
from benchmarks.grading.compare import undeserved
from benchmarks.grading.field_summary import COURSEKIT, NBGRADER, OTTER, TOOLS, show, summary
from benchmarks.grading.overhead import NAME as TRIVIAL
from benchmarks.grading.overhead import trivial_course
from benchmarks.record import ROOT, load, machine, path_of, versions, write
from coursekit.course import Course
from coursekit.isolate.limits import ONE_THREAD

__all__ = ["Field", "Job", "jobs", "main", "measure"]

PART = "grading_field"
ALTERNATIVES = ROOT / "tests" / "alternatives" / "masked_coupling.py"
NOT_IDENTICAL = {
    NBGRADER: "all cells, in a kernel that runs as the instructor; writes a gradebook and the executed notebook",
    OTTER: "all cells, in a kernel that runs as the instructor; a new command for each submission; writes a JSON file",
    COURSEKIT: "isolated; only cells that points depend on; verdicts outside the student's process, on secret inputs; "
    "workers start once, which weighs less the larger a class is; writes a gradebook and the executed notebook",
}

Points = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Job:
    """One command to be measured. `student` is empty when it grades all of them at once."""

    tool: str
    workers: int = 1
    repeat: int = 1
    student: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """What tells it from the others."""
        return {"tool": self.tool, "workers": self.workers, "repeat": self.repeat, "student": self.student}


def jobs(
    students: Sequence[str], workers: Sequence[int], repeats: int, tools: Sequence[str] = TOOLS
) -> list[Job]:
    """All commands in their order: coursekit's runs lie between the others', should the machine drift.

    >>> [f"{job.tool} {job.workers}" for job in jobs(["a", "b"], workers=(2,), repeats=2)]
    ['coursekit grade 2', 'nbgrader autograde 1', 'coursekit grade 2', 'otter run 1', 'otter run 1']
    """
    mine = [[Job(COURSEKIT, number, repeat) for number in workers] for repeat in range(1, repeats + 1)]
    others = [[Job(NBGRADER)], [Job(OTTER, student=student) for student in students]]
    made = [job for pair in zip_longest(mine, others, fillvalue=()) for group in pair for job in group]
    return [job for job in made if job.tool in tools]


class Field:
    """The class written for each grader, in a folder not under /tmp, of which every isolated process has its own."""

    def __init__(self, folder: Path, paper: Paper, students: Sequence[Submission]) -> None:
        self.folder, self.paper, self.students = folder, paper, students
        # The variables that coursekit sets in the students' environment; where a course is not installed, its modules.
        self.env = {**ONE_THREAD, **paper.course.training_cut, "PYTHONPATH": str(paper.course.root)}
        write_class(folder / "plain", paper, students)
        write_class(folder / "class", paper, students)
        if otter.installed():
            otter.write_class(folder / "otter", paper, students, self.env)

    def run(self, job: Job, progress: Callable[[int], object]) -> dict[str, Any]:
        """The costs of a job and what the students lost by it; `progress` gets numbers of submissions done.

        Raises:
            KeyboardInterrupt: Ctrl-C, which ends the command that is measured, too.
        """
        found, points = RUNS[job.tool](self, job, progress)
        if found.get("interrupted"):
            raise KeyboardInterrupt
        return {**job.row, **found, **self._losses(points())}

    def nbgrader(self, job: Job, progress: Callable[[int], object]) -> Measured:
        root = self.folder / "plain"
        # It names a student when it begins with it.
        begun: list[str] = []

        def begins(student: str) -> None:
            progress(min(1, len(begun)))
            begun.append(student)

        found = plain.autograde(root, self.paper.name, self.env, begins)
        progress(min(1, len(begun)))
        return found, lambda: plain.points_of(root, self.paper.name)

    def otter(self, job: Job, progress: Callable[[int], object]) -> Measured:
        root = self.folder / "otter"
        found = otter.grade(root, job.student, self.env)
        progress(1)
        return found, lambda: {job.student: otter.points_of(root, job.student)}

    def coursekit(self, job: Job, progress: Callable[[int], object]) -> Measured:
        root, course = self.folder / "class", self.paper.course
        found = ours.grade(root, self.paper.name, self.env, course_root=course.root, workers=job.workers)
        progress(len(self.students))
        return found, lambda: ours.points_of(ours.results_in(root, self.paper.name))

    def _losses(self, points: Points) -> dict[str, Any]:
        """For each graded student the test cells below full points, and those whose points are not the deserved ones."""
        tests = self.paper.tests
        graded = [s for s in self.students if s.student in points]
        lost = {
            s.student: {
                cell: got for cell in tests if (got := points[s.student].get(cell)) != tests[cell].points
            }
            for s in graded
        }
        wrong = {s.student: undeserved(self.paper, s, points[s.student]) for s in graded}
        return {"lost": lost, "undeserved": {student: cells for student, cells in wrong.items() if cells}}


Measured = tuple[dict[str, Any], Callable[[], Points]]
RUNS: dict[str, Callable[[Field, Job, Callable[[int], object]], Measured]] = {
    NBGRADER: Field.nbgrader,
    OTTER: Field.otter,
    COURSEKIT: Field.coursekit,
}


def measure(
    path: Path, folder: Path, paper: Paper, students: Sequence[Submission], settings: dict[str, Any]
) -> dict[str, Any]:
    """Run the jobs that the file at `path` does not have yet, of the same settings on the same machine; its content."""
    about = {
        "command": "python -m benchmarks.grading.field",
        "machine": machine(),
        "versions": versions("torch", "nbgrader", "otter-grader", "nbclient", "ipykernel"),
        "settings": settings,
    }
    before = load(path)
    kept = before.get("runs", []) if all(before.get(key) == value for key, value in about.items()) else []
    found = {**about, "not_identical": NOT_IDENTICAL, "runs": kept}
    todo = jobs([s.student for s in students], settings["workers"], settings["repeats"], settings["tools"])
    done = [{key: row[key] for key in Job(NBGRADER).row} for row in kept]
    todo = [job for job in todo if job.row not in done]
    if todo:
        field = Field(folder, paper, students)
        total = sum(1 if job.student else len(students) for job in todo)
        with tqdm(total=total, unit="submission", dynamic_ncols=True) as bar:
            for job in todo:
                bar.set_description(f"{job.tool}, {job.workers} at once")
                found["runs"] = [*found["runs"], field.run(job, bar.update)]
                write(path, found)
    found["summary"] = summary(found["runs"], len(paper.tests), settings["seed"])
    write(path, found)
    return found


def _assignment(smoke: bool, folder: Path, submissions: int, seed: int) -> tuple[Paper, list[Submission]]:
    """The paper and the class; for a smoke run a course of one function, answered once."""
    if smoke:
        paper = Paper(trivial_course(folder / "course"), TRIVIAL)
        return paper, [Submission("s1", "perfect", "", paper.answers)]
    paper = Paper(Course.find(ROOT), ASSIGNMENT)
    return paper, honest_class(paper, ALTERNATIVES, submissions, seed)


@contextlib.contextmanager
def _working_folder() -> Iterator[Path]:
    """A folder in build/ until the block ends; what isolated processes read there, they read as nobody."""
    (ROOT / "build").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="grading-field-", dir=ROOT / "build"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grading.field",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--smoke", action="store_true", help="one submission that computes nothing, in seconds"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what has been measured")
    parser.add_argument("--out", type=Path, help="the result file")
    parser.add_argument("--submissions", type=int, default=12)
    parser.add_argument(
        "--repeats", type=int, default=3, help="runs of coursekit grade with each number of workers"
    )
    parser.add_argument("--workers", default="1,2", help="numbers of workers of coursekit grade")
    parser.add_argument("--seed", type=int, default=2, help="of the class, and of the intervals")
    chosen = parser.parse_args(arguments)
    path = chosen.out or path_of(PART, smoke=chosen.smoke)
    if chosen.fresh:
        path.unlink(missing_ok=True)
    # A plain kill, too, ends what has been started and keeps what is done.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        with _working_folder() as folder:
            paper, students = _assignment(chosen.smoke, folder, chosen.submissions, chosen.seed)
            settings = {
                "assignment": paper.name,
                "release": paper.release.metadata.coursekit.release,
                "kinds": dict(sorted(Counter(s.kind for s in students).items())),
                "seed": chosen.seed,
                "repeats": 1 if chosen.smoke else chosen.repeats,
                "workers": [1] if chosen.smoke else [int(number) for number in chosen.workers.split(",")],
                "training_cut": paper.course.training_cut,
                "tools": [tool for tool in TOOLS if tool != OTTER or otter.installed()],
            }
            found = measure(path, folder, paper, students, settings)
    except KeyboardInterrupt:
        console.print(f"stopped; what is measured is in {path.name}")
        raise SystemExit(130) from None
    if OTTER not in settings["tools"]:
        console.print("otter-grader is not installed: it is one of the extra peers")
    show(found, console)


if __name__ == "__main__":
    main()
