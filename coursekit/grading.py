"""Grade one submission: bytes and a bundle in, a result out. No database and no class folder, so that any worker can do it.

The student's code runs in isolated children alone. Points for a test cell come from the verdict of the check of that name,
which runs here, on secret inputs, and sends the children nothing but calls; what the cell itself says is kept beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from coursekit.isolate.launch import Launcher
from coursekit.isolate.limits import Limits
from coursekit.judge import Judgment
from coursekit.player import Clock
from coursekit.rebuild import printable, rebuild
from coursekit.score import CellScore, score_cell
from coursekit.submission import Submission, UnreadableError, read_submission

__all__ = ["Bundle", "Result", "grade_submission", "refuse"]

# Part of a result's key: raise it when grading itself changes, and everything is graded anew.
VERSION = 2


@dataclass(frozen=True)
class Bundle:
    """All that grading an assignment needs; plain data that can be sent to another machine.

    `templates` has, for each release a class has seen, the released notebook with its hidden tests as a text of
    JSON. `checks` names the module with the course's `verdict`, `preload` what is imported before a notebook runs,
    `env` what is added to its environment; `code` is a hash of `packages`, the course's own among them. `reference`
    names the modules that hold the reference implementations, `allowed` what of them an answer may use. With `whole`
    also those cells run that no point depends on.
    """

    assignment: str
    current: str
    templates: dict[str, str]
    env: dict[str, str]
    limits: Limits
    checks: str
    packages: tuple[str, ...]
    code: str
    preload: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    allowed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    whole: bool = False

    def key(self, data: bytes) -> str:
        """What a result depends on, as a hash: a submission with the same key need not run again."""
        about = {k: v for k, v in asdict(self).items() if k != "templates"}
        parts = [VERSION, sorted(self.templates), about, hashlib.sha256(data).hexdigest()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Result:
    """What became of one submission.

    `status` is `graded`; `stopped` when not all of the notebook could be run (what ran counts); `not graded` when there was
    nothing to grade (0 points). `message` says why in one line, `flags` name what a grader may want to look at, `unanswered`
    are the answers left as released, `notebook` is the graded notebook as a text of JSON. `seconds` is the wall clock,
    `cpu_seconds` and `peak_mb` are what the student's processes have used, `isolation` is how they were run.
    """

    assignment: str
    key: str
    status: str
    message: str
    release: str
    flags: tuple[str, ...]
    cells: tuple[CellScore, ...]
    unanswered: tuple[str, ...]
    notebook: str
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float | None = None
    isolation: str = ""

    @property
    def points(self) -> float:
        """Points given so far; what waits for a person counts 0."""
        return sum(c.points or 0.0 for c in self.cells)

    @property
    def max_points(self) -> float:
        """Points that the submission's release offers."""
        return sum(c.max_points for c in self.cells)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        """The result that `to_json` gave, also after a trip through JSON."""
        lists = {name: tuple(data[name]) for name in ("flags", "unanswered")}
        return cls(**{**data, **lists, "cells": tuple(_cell_score(c) for c in data["cells"])})


def _cell_score(data: dict[str, Any]) -> CellScore:
    lists = {name: tuple(data[name]) for name in ("hints", "misconceptions")}
    return CellScore(**{**data, **lists})


def grade_submission(data: bytes, bundle: Bundle, launcher: Launcher) -> Result:
    """Rebuild, run and score one submission. Whatever the bytes are, there is a result.

    Raises:
        StartError: no isolated process can be started on this machine.
        CourseError: a check is missing or broken.
    """
    key = bundle.key(data)
    try:
        submission = read_submission(data)
    except UnreadableError as error:
        return refuse(f"the file {error}", bundle, key)
    release, flags = _release(submission, bundle)
    template = _template(bundle, release)
    rebuilt = rebuild(template, submission)
    claimed = submission.assignment
    if claimed is not None and claimed != bundle.assignment:
        return refuse(f"this is a notebook of {claimed[:80]!r}, not of {bundle.assignment!r}", bundle, key)
    if not rebuilt.found:
        return refuse(f"no cell of {bundle.assignment!r} is in this notebook", bundle, key)
    clock = Clock(bundle.limits.run_seconds)
    run = Judgment(rebuilt.notebook, template, bundle, launcher, clock, whole=bundle.whole)
    run.play()
    if run.misses_something and not bundle.whole:
        # The slice was too small after all: once more with every cell.
        run = Judgment(rebuilt.notebook, template, bundle, launcher, clock, whole=True)
        run.play()
    stubs = {c.metadata.nbgrader.grade_id: c.source for c in template.cells if "nbgrader" in c.metadata}
    return Result(
        assignment=bundle.assignment,
        key=key,
        status="stopped" if run.problem else "graded",
        message=run.problem,
        release=release,
        flags=(*run.flags(), *flags, *rebuilt.flags),
        cells=run.scores(stubs),
        unanswered=_unanswered(run.notebook, stubs),
        notebook=nbformat.writes(run.notebook, version=4),
        seconds=round(clock.spent, 3),
        cpu_seconds=round(run.cpu_seconds, 3),
        peak_mb=round(run.peak_mb, 1),
        isolation=launcher.name,
    )


def refuse(reason: str, bundle: Bundle, key: str = "") -> Result:
    """The result of what cannot be graded: 0 points and the reason, in a notebook that feedback can show."""
    nb = _template(bundle, bundle.current)
    nb.cells.insert(0, new_markdown_cell(f"**Not graded:** {reason}.", id="coursekit-not-graded"))
    stubs = {c.metadata.nbgrader.grade_id: c.source for c in nb.cells if "nbgrader" in c.metadata}
    found = [score_cell(c, stubs.get(c.metadata.get("nbgrader", {}).get("grade_id"))) for c in nb.cells]
    return Result(
        assignment=bundle.assignment,
        key=key,
        status="not graded",
        message=reason,
        release=bundle.current,
        flags=(),
        cells=tuple(replace(s, status="not graded", points=0.0) for s in found if s is not None),
        unanswered=_unanswered(nb, stubs),
        notebook=nbformat.writes(nb, version=4),
    )


def _release(submission: Submission, bundle: Bundle) -> tuple[str, list[str]]:
    """The release to grade by, and a flag when it is not the current one."""
    claimed = submission.release
    if claimed == bundle.current:
        return claimed, []
    if claimed in bundle.templates:
        return claimed, [f"old release: {claimed} (current is {bundle.current})"]
    return bundle.current, [
        f"unknown release: {printable(claimed[:40]) if claimed else 'none'} (graded by the current one)"
    ]


def _template(bundle: Bundle, release: str) -> NotebookNode:
    return nbformat.reads(bundle.templates[release], as_version=4)


def _unanswered(nb: NotebookNode, stubs: Mapping[str, str]) -> tuple[str, ...]:
    answers = [c for c in nb.cells if c.metadata.get("nbgrader", {}).get("solution")]
    ids = [(c.metadata.nbgrader.grade_id, c.source.strip()) for c in answers]
    return tuple(name for name, source in ids if source == stubs[name].strip())
