"""Grading measured: plain `nbgrader autograde` against `coursekit grade` on the same class, and what it takes beyond.

    python -m benchmarks.grading [--part plain,coursekit,…] [--class-size 60] [--plain 60]

A class of honest submissions of 03_masked_coupling is graded by one process of plain nbgrader, then by `coursekit grade` with
its isolation; both cut training in the same way and write no feedback. Parts:

    plain       one process of nbgrader autograde
    coursekit   coursekit grade; points cell by cell against plain, and the ratio of throughputs
    whole       coursekit grade --whole, which like nbgrader also runs the cells that no point depends on
    scaling     several numbers of workers, and the figure docs/images/grading_scaling.png
    overhead    many submissions that compute nothing
    dask        a cluster of two worker processes joined by address
    large       files, notebooks, outputs and recursions that are too much
    profile     where one right submission's time goes

`coursekit` and `whole` compare with the `plain` of the same folder: run them together, or name a folder each time.
Writes `benchmarks/results/grading.json`, part by part: an interrupted run keeps what it has. About half an hour on two quiet
cores, half of it plain nbgrader.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from rich.console import Console
from rich.progress import Progress

from benchmarks.grading import ours, plain
from benchmarks.grading.classes import ASSIGNMENT, Paper, honest_class, load_class, write_class
from benchmarks.grading.cluster import dask_cluster
from benchmarks.grading.compare import differences, throughput_ratio
from benchmarks.grading.figure import scaling_figure
from benchmarks.grading.large import large_class, measure
from benchmarks.grading.overhead import overhead
from benchmarks.grading.record import Record
from benchmarks.grading.show import show
from benchmarks.grading.worker_phases import worker_phases
from coursekit.course import Course
from coursekit.isolate.limits import Limits
from coursekit.releases import bundle_of

__all__ = ["PARTS", "Bench", "Sizes", "main"]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "grading.json"
FIGURE = ROOT / "docs" / "images" / "grading_scaling.png"
ALTERNATIVES = ROOT / "tests" / "alternatives" / "masked_coupling.py"
# Two threads on two cores that have other work are many times slower than one.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Sizes:
    """How large everything is. `plain` is how many of the class plain nbgrader grades; it is the slow part."""

    class_size: int = 60
    plain: int = 60
    workers: int = 2
    scaling: tuple[int, ...] = (1, 2, 4)
    repeats: int = 3
    trivial: int = 2000
    profiled: int = 10
    isolation: str = "auto"
    seed: int = 2


class Bench:
    """The parts, in a folder of their own; results go to a record.

    Args:
        folder: not under /tmp, of which every isolated child has its own.
    """

    def __init__(self, folder: Path, record: Record, sizes: Sizes, figure: Path, console: Console) -> None:
        self.folder, self.record, self.sizes, self.figure, self.console = (
            folder,
            record,
            sizes,
            figure,
            console,
        )
        self.course = Course.find(ROOT)
        self.paper = Paper(self.course, ASSIGNMENT)
        self.students = honest_class(self.paper, ALTERNATIVES, sizes.class_size, sizes.seed)
        self.env = ONE_THREAD
        self.about = {"class_size": sizes.class_size, "seed": sizes.seed}

    def run(self, parts: Sequence[str]) -> None:
        """Run parts in the order of `PARTS`; Ctrl-C keeps and shows what is done."""
        for name in (n for n in PARTS if n in parts):
            PARTS[name](self)
            show(name, self.record.part(name), self.console)
            if self.record.part(name).get("interrupted"):
                raise KeyboardInterrupt

    @property
    def plain_dir(self) -> Path:
        return self.folder / "plain"

    @property
    def class_dir(self) -> Path:
        return self.folder / "class"

    def plain(self) -> None:
        shutil.rmtree(self.plain_dir, ignore_errors=True)
        chosen = self.students[: self.sizes.plain]
        write_class(self.plain_dir, self.paper, chosen)
        # The variable that coursekit sets in the students' environment.
        env = {**self.env, **self.course.training_cut}
        with Progress(console=self.console, transient=True) as bar:
            task = bar.add_task("nbgrader autograde", total=len(chosen))
            found = plain.autograde(self.plain_dir, ASSIGNMENT, env, lambda student: bar.advance(task))
        self.record.put("plain", found, **self.about)

    def coursekit(self) -> None:
        runs = []
        for _ in range(self.sizes.repeats):
            runs.append(self._grade(self.sizes.workers))
            self.record.put("coursekit", {"runs": runs}, **self.about)
        found: dict[str, Any] = {"runs": runs}
        if self._graded_by_plain():
            results = ours.results_in(self.class_dir, ASSIGNMENT)
            about, points = load_class(self.class_dir), plain.points_of(self.plain_dir, ASSIGNMENT)
            found["points"] = differences(points, results, about, self.plain_dir)
            found["ratio"] = throughput_ratio(self.record.part("plain"), runs, seed=self.sizes.seed)
        self.record.put("coursekit", found, **self.about)

    def whole(self) -> None:
        found: dict[str, Any] = {"runs": [self._grade(self.sizes.workers, "--whole")]}
        if self._graded_by_plain():
            plain_part = self.record.part("plain")
            found["ratio"] = throughput_ratio(plain_part, found["runs"], seed=self.sizes.seed)
        self.record.put("whole", found, **self.about)

    def scaling(self) -> None:
        runs: list[dict[str, Any]] = []
        # All numbers of workers in turn, so that a busy quarter of an hour does not hit one of them alone.
        for _ in range(self.sizes.repeats):
            for workers in self.sizes.scaling:
                runs.append(self._grade(workers))
                self.record.put("scaling", {"runs": runs}, **self.about)
        scaling_figure(self.record.part("scaling"), self.record.data["machine"]["cores"], self.figure)

    def overhead(self) -> None:
        root = self.folder / "trivial"
        shutil.rmtree(root, ignore_errors=True)
        with Progress(console=self.console, transient=True) as bar:
            task = bar.add_task("trivial submissions", total=self.sizes.trivial)
            found = overhead(
                root,
                submissions=self.sizes.trivial,
                workers=self.sizes.workers,
                isolation=self.sizes.isolation,
                progress=lambda done: bar.update(task, completed=done),
            )
        self.record.put("overhead", found)

    def dask(self) -> None:
        here = ours.points_of(ours.results_in(self._class(), ASSIGNMENT))
        if len(here) < len(self.students):
            self._grade(self.sizes.workers)
            here = ours.points_of(ours.results_in(self.class_dir, ASSIGNMENT))
        with dask_cluster(self.folder / "dask", 2, self.env) as address:
            found = self._grade(2, "--scheduler", address)
        there = ours.points_of(ours.results_in(self.class_dir, ASSIGNMENT))
        cells = {(student, cell) for student in here for cell in here[student]}
        differ = sorted(f"{s} {c}" for s, c in cells if here[s][c] != there.get(s, {}).get(c))
        found |= {"test_cells": len(cells), "different": len(differ), "different_cells": differ}
        self.record.put("dask", found, **self.about)

    def large(self) -> None:
        folder = self.folder / "large"
        shutil.rmtree(folder, ignore_errors=True)
        large_class(folder, self.paper)
        with self.console.status("submissions that are too much of something"):
            found = measure(
                folder,
                ASSIGNMENT,
                self.env,
                course_root=ROOT,
                workers=self.sizes.workers,
                isolation=self.sizes.isolation,
            )
        self.record.put("large", found)

    def profile(self) -> None:
        bundle = bundle_of(self.course, self._class(), ASSIGNMENT, Limits())
        data = [self.paper.filled(self.paper.answers)] * (1 + self.sizes.profiled)
        with self.console.status("one right submission, again and again"):
            found = worker_phases(self.course, bundle, self.sizes.isolation, data)
        self.record.put("profile", _with_cell_names(found, bundle.templates[bundle.current]))

    def _class(self) -> Path:
        """The class folder, made when it is not there or is another class."""
        about = load_class(self.class_dir) if (self.class_dir / "class.json").is_file() else {}
        if {s.student: s.what for s in self.students} != {k: row["what"] for k, row in about.items()}:
            shutil.rmtree(self.class_dir, ignore_errors=True)
            write_class(self.class_dir, self.paper, self.students)
        return self.class_dir

    def _grade(self, workers: int, *options: str) -> dict[str, Any]:
        """Grade the class; Ctrl-C ends the whole run."""
        said = f"coursekit grade, {len(self.students)} submissions, {workers} workers {' '.join(options)}"
        with self.console.status(said):
            run = ours.grade(
                self._class(),
                ASSIGNMENT,
                self.env,
                course_root=ROOT,
                workers=workers,
                isolation=self.sizes.isolation,
                options=options,
            )
        if run.get("interrupted"):
            raise KeyboardInterrupt
        return run

    def _graded_by_plain(self) -> bool:
        """Whether plain nbgrader has graded this class in this folder."""
        if not (self.plain_dir / "class.json").is_file() or not self.record.part("plain").get("seconds"):
            return False
        return set(load_class(self.plain_dir)) <= {s.student for s in self.students}


PARTS: dict[str, Callable[[Bench], None]] = {
    name: getattr(Bench, name)
    for name in ("plain", "coursekit", "whole", "scaling", "overhead", "dask", "large", "profile")
}


def _with_cell_names(found: dict[str, Any], template: str) -> dict[str, Any]:
    """The profile with the first line of each slow cell beside its id."""
    cells = {c.id: c for c in nbformat.reads(template, as_version=4).cells}

    def name(cell_id: str) -> str:
        lines = (
            [line for line in cells[cell_id].source.splitlines() if line.strip()] if cell_id in cells else []
        )
        grade_id = cells[cell_id].metadata.get("nbgrader", {}).get("grade_id") if cell_id in cells else None
        return grade_id or f"{cell_id}: {lines[0][:60] if lines else ''}"

    return {**found, "slowest_cells": {name(k): v for k, v in found["slowest_cells"].items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grading",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    usual = Sizes()
    parser.add_argument("--part", default=",".join(PARTS), help="which parts, separated by commas")
    parser.add_argument("--class-size", type=int, default=usual.class_size)
    parser.add_argument(
        "--plain", type=int, default=usual.plain, help="how many of them plain nbgrader grades"
    )
    parser.add_argument("--workers", type=int, default=usual.workers)
    parser.add_argument("--scaling", default="1,2,4", help="numbers of workers of the part scaling")
    parser.add_argument("--repeats", type=int, default=usual.repeats, help="runs of coursekit grade")
    parser.add_argument("--trivial", type=int, default=usual.trivial, help="submissions of the part overhead")
    parser.add_argument(
        "--profiled", type=int, default=usual.profiled, help="submissions of the part profile"
    )
    parser.add_argument("--isolation", default=usual.isolation)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--folder", type=Path, help="work here and keep it; a temporary folder by default")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    chosen = parser.parse_args(arguments)
    parts = [p.strip() for p in chosen.part.split(",") if p.strip()]
    if unknown := [p for p in parts if p not in PARTS]:
        parser.error(f"expected parts among {', '.join(PARTS)}, got {', '.join(unknown)}")
    sizes = Sizes(
        class_size=chosen.class_size,
        plain=min(chosen.plain, chosen.class_size),
        workers=chosen.workers,
        scaling=tuple(int(w) for w in chosen.scaling.split(",")),
        repeats=chosen.repeats,
        trivial=chosen.trivial,
        profiled=chosen.profiled,
        isolation=chosen.isolation,
        seed=chosen.seed,
    )
    console, build = Console(width=None if sys.stdout.isatty() else 140), ROOT / "build"
    build.mkdir(exist_ok=True)
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="grading-", dir=build))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # what isolated processes read, they read as nobody
    # A plain kill, too, ends what has been started and keeps what is done.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = Bench(folder.resolve(), Record(chosen.results), sizes, chosen.figure, console)
    try:
        bench.run(parts)
    except KeyboardInterrupt:
        console.print(f"stopped; what is done is in {chosen.results.name}")
        raise SystemExit(130) from None
    finally:
        if chosen.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
