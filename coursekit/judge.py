"""Run a rebuilt notebook in isolated children and reach the verdict on each of its test cells here, outside of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from coursekit.errors import CourseError
from coursekit.execute import NOT_RUN
from coursekit.isolate.handle import ChildDied, StartError
from coursekit.isolate.launch import Launcher
from coursekit.plan import Step, steps_of
from coursekit.player import Broken, Clock, OutOfTime, Player
from coursekit.references import reference_flags
from coursekit.sanitize import safe_output
from coursekit.score import CellScore, score_cell

if TYPE_CHECKING:
    from coursekit.grading import Bundle

__all__ = ["Judgment"]

# Characters of all outputs of a notebook: each cell has a limit of its own, and a notebook may have thousands.
MAX_SHOWN = 20_000_000


@dataclass
class Judgment:
    """One way through a notebook: its cells in one child, the calls of its checks in that one and in another.

    `play` does it all and leaves what came of it in the notebook and in the other attributes: `problem` is why not all of it
    could be run, `misses_something` says that a cell asked for what the slice has left out.
    """

    notebook: NotebookNode
    template: NotebookNode
    bundle: Bundle
    launcher: Launcher
    clock: Clock
    whole: bool
    problem: str = ""
    misses_something: bool = False
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    shown: int = 0
    tests: dict[str, CellScore] = field(default_factory=dict)
    broken: Broken = field(default_factory=Broken)

    def play(self) -> None:
        """Run all, and score the test cells as they come."""
        self.steps = steps_of(self.notebook, self.template, whole=self.whole)
        self.skipped = {n for s in self.steps if not s.needed for n in s.names.bound}

        def start() -> Any:
            return self.launcher.start(self.bundle.limits, self.bundle.env)

        players = [Player(start, self.steps, self.broken, self.clock) for _ in range(2)]
        try:
            for number, step in enumerate(self.steps):
                cell = self.notebook.cells[step.index]
                cell.outputs, cell.execution_count = [], None
                if self.problem:
                    self._not_run(step)
                elif step.needed:
                    self._play(number, players)
        finally:
            for player in players:
                player.close()
        self.cpu_seconds = sum(p.usage.cpu_seconds for p in players)
        self.peak_mb = max(p.usage.peak_mb for p in players)

    def _play(self, number: int, players: list[Player]) -> None:
        step, cell = self.steps[number], self.notebook.cells[self.steps[number].index]
        try:
            run = players[0].run(number)
            cell.outputs = self._as_long_as_there_is_room([safe_output(o) for o in run.outputs])
            cell.execution_count = run.execution_count or None
            self._look_for_missing(run.outputs)
            if step.kind == "test":
                self._judge(number, players)
        except (OutOfTime, ChildDied) as error:
            self.problem = str(error)
            self._not_run(step)

    def _as_long_as_there_is_room(self, outputs: list[NotebookNode]) -> list[NotebookNode]:
        """A cell's outputs; of errors alone the beginning once the notebook has shown its share."""
        self.shown += sum(len(json.dumps(o)) for o in outputs)
        if self.shown <= MAX_SHOWN:
            return outputs
        text = f"(outputs were left out: the notebook shows more than {MAX_SHOWN // 1_000_000} MB)\n"
        errors = [
            new_output("error", ename=o.ename[:100], evalue=o.evalue[:2000], traceback=[])
            for o in outputs
            if o.output_type == "error"
        ]
        return [new_output("stream", name="stdout", text=text), *errors[:1]]

    def _judge(self, number: int, players: list[Player]) -> None:
        """The verdict on one test cell, into its outputs and its score."""
        cell = self.notebook.cells[self.steps[number].index]
        claim = score_cell(cell)
        assert claim is not None
        if number in self.broken:  # it has just ended the process, or run over its time
            # What it has shown before it ended is its own word: no points.
            report = claim.report[:2000] or self.broken[number]
            self.tests[claim.id] = replace(
                claim, status="failed", points=0.0, report=report, claimed=claim.status
            )
            return
        waiting = list(players)
        not_started: list[StartError] = []

        def connect() -> Any:
            try:
                return waiting.pop(0).caller(number)
            except StartError as error:
                not_started.append(error)
                raise

        verdict = _checks(self.bundle).verdict
        try:
            outcome = verdict(self.bundle.assignment, claim.id, connect)
        except KeyError:
            if self.template.metadata.coursekit.release == self.bundle.current:
                raise CourseError(
                    f"the course has no check called {claim.id!r}, so that nobody earns its points"
                ) from None
            # A kept release may have a test that the course no longer has.
            report = "the course has no check of this name any more"
            self.tests[claim.id] = replace(
                claim, status="to grade", points=None, report=report, claimed=claim.status
            )
            return
        if not_started:  # a trouble of this machine's, for which no student pays
            raise not_started[0]
        self.clock.check()  # what failed for want of time is not judged
        status = {"passed": "passed", "open": "open"}.get(outcome.status, "failed")
        self.tests[claim.id] = replace(
            claim,
            status=status,
            points=claim.max_points if status == "passed" else 0.0,
            report="" if status == "passed" else str(outcome),
            claimed=claim.status,
            hidden=status == "failed" and outcome.hidden,
            hints=tuple(outcome.hints),
            misconceptions=tuple(outcome.misconceptions),
        )
        cell.outputs = _with_verdict(cell.outputs, status, outcome)

    def _not_run(self, step: Step) -> None:
        cell = self.notebook.cells[step.index]
        text = f"this cell was not run: {self.problem}"
        if step.needed and step.source.strip():
            cell.outputs = [new_output("error", ename=NOT_RUN, evalue=text, traceback=[f"{NOT_RUN}: {text}"])]

    def _look_for_missing(self, outputs: list[NotebookNode]) -> None:
        for output in outputs:
            if output.output_type == "error" and output.ename in ("NameError", "StudentError", "CheckFailed"):
                self.misses_something |= any(
                    f"'{name}' is not defined" in output.evalue for name in self.skipped
                )

    def scores(self, stubs: Mapping[str, str]) -> tuple[CellScore, ...]:
        """All graded cells in the notebook's order."""
        found = []
        for cell in self.notebook.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            score = self.tests.get(name) or score_cell(cell, stubs.get(name))
            if score is not None:
                if score.kind == "test" and name not in self.tests:
                    # A test without a verdict earns nothing, whatever stands in its outputs.
                    score = replace(score, status="not run", points=0.0)
                found.append(score)
        return tuple(found)

    def flags(self) -> tuple[str, ...]:
        """What happened while it ran, for a grader to look at."""
        differs = [f"verdict differs: {s.id}" for s in self.tests.values() if _differs(s)]
        cells = self.notebook.cells
        ended = []
        for number, reason in self.broken.items():
            name = _name(cells[self.steps[number].index])
            ended.append(f"time limit: {name}" if reason == "time limit" else f"died: {name} ({reason})")
        own = [(_name(cells[s.index]), cells[s.index].source) for s in self.steps if s.kind == "student"]
        used = reference_flags(own, self.bundle.reference, self.bundle.allowed)
        return (*differs, *ended, *used)


def _differs(score: CellScore) -> bool:
    """What the cell said of itself contradicts the verdict. That hidden cases alone fail is no contradiction."""
    if score.status == "passed":
        return score.claimed not in ("passed", "")
    return score.claimed == "passed" and not score.hidden


def _with_verdict(outputs: list[NotebookNode], status: str, outcome: Any) -> list[NotebookNode]:
    """A test cell's outputs with the verdict in them, such that nbgrader would give the same points."""
    said = [o for o in outputs if o.output_type != "error"]
    if status == "passed":
        # A number as a value would be taken for points.
        return [o for o in said if o.output_type != "execute_result"]
    if status == "open":
        return outputs
    text = str(outcome)
    html = outcome._repr_html_() if hasattr(outcome, "_repr_html_") else None
    shown = [new_output("display_data", data={"text/plain": text, "text/html": html})] if html else []
    head = text.splitlines()[0]
    return [
        *[o for o in said if o.output_type == "stream"],
        *shown,
        new_output("error", ename="CheckFailed", evalue=text, traceback=[f"CheckFailed: {head}"]),
    ]


def _checks(bundle: Bundle) -> Any:
    try:
        return importlib.import_module(bundle.checks)
    except ImportError as error:
        raise CourseError(f"cannot import the course's checks {bundle.checks!r}: {error}") from error


def _name(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id") or f"cell {cell.id}"
