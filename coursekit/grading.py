"""Grade one submission: bytes and a bundle in, a result out. No files, no database, so that any worker can do
it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from coursekit.execute import Limits, execute
from coursekit.rebuild import rebuild
from coursekit.score import CellScore, score_cell
from coursekit.submission import Submission, UnreadableError, read_submission

__all__ = ["Bundle", "Result", "grade_submission", "refuse"]

# Part of a result's key: raise it when grading itself changes, and everything is graded anew.
VERSION = 1


@dataclass(frozen=True)
class Bundle:
    """All that grading an assignment needs; plain data that can be sent to another process.

    `templates` has, for each release a class has seen, the released notebook with its hidden tests as a text
    of JSON. `code` is a hash of the packages that the notebooks import, `env` what is added to the kernel's
    environment.
    """

    assignment: str
    current: str
    templates: dict[str, str]
    env: dict[str, str]
    code: str
    limits: Limits

    def key(self, data: bytes) -> str:
        """What a result depends on, as a hash: a submission with the same key need not run again."""
        parts = [VERSION, self.assignment, self.current, sorted(self.templates), self.env, self.code]
        parts += [asdict(self.limits), hashlib.sha256(data).hexdigest()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Result:
    """What became of one submission.

    `status` is `graded`; `stopped` when the notebook did not run to its end (what ran counts); `not graded`
    when there was nothing to grade (0 points). `message` says why in one line, `flags` name what a grader may
    want to look at, `unanswered` are the answers left as released, `notebook` is the graded notebook as a
    text of JSON.
    """

    assignment: str
    key: str
    status: str
    message: str
    release: str
    flags: tuple[str, ...]
    cells: tuple[CellScore, ...]
    unanswered: tuple[str, ...]
    seconds: float
    peak_mb: float | None
    notebook: str

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
        """The result that `to_json` gave."""
        cells = tuple(CellScore(**c) for c in data["cells"])
        lists = {name: tuple(data[name]) for name in ("flags", "unanswered")}
        return cls(**{**data, **lists, "cells": cells})


def grade_submission(data: bytes, bundle: Bundle) -> Result:
    """Rebuild, run and score one submission. Whatever the bytes are, there is a result."""
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
    run = execute(rebuilt.notebook, limits=bundle.limits, env=bundle.env)
    stubs = {c.metadata.nbgrader.grade_id: c.source for c in template.cells if "nbgrader" in c.metadata}
    scores = _scores(run.notebook, stubs)
    return Result(
        assignment=bundle.assignment,
        key=key,
        status="stopped" if run.problem else "graded",
        message=run.problem,
        release=release,
        flags=(*flags, *rebuilt.flags),
        cells=scores,
        unanswered=_unanswered(run.notebook, stubs),
        seconds=round(run.seconds, 3),
        peak_mb=run.peak_mb,
        notebook=nbformat.writes(run.notebook, version=4),
    )


def refuse(reason: str, bundle: Bundle, key: str = "") -> Result:
    """The result of what cannot be graded: 0 points and the reason, in a notebook that feedback can show."""
    nb = _template(bundle, bundle.current)
    nb.cells.insert(0, new_markdown_cell(f"**Not graded:** {reason}.", id="coursekit-not-graded"))
    stubs = {c.metadata.nbgrader.grade_id: c.source for c in nb.cells if "nbgrader" in c.metadata}
    scores = tuple(replace(s, status="not graded", points=0.0) for s in _scores(nb, stubs))
    return Result(
        assignment=bundle.assignment,
        key=key,
        status="not graded",
        message=reason,
        release=bundle.current,
        flags=(),
        cells=scores,
        unanswered=_unanswered(nb, stubs),
        seconds=0.0,
        peak_mb=None,
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
        f"unknown release: {claimed[:40] if claimed else 'none'} (graded by the current one)"
    ]


def _template(bundle: Bundle, release: str) -> NotebookNode:
    return nbformat.reads(bundle.templates[release], as_version=4)


def _scores(nb: NotebookNode, stubs: dict[str, str]) -> tuple[CellScore, ...]:
    found = (score_cell(c, stubs.get(c.metadata.get("nbgrader", {}).get("grade_id"))) for c in nb.cells)
    return tuple(s for s in found if s is not None)


def _unanswered(nb: NotebookNode, stubs: dict[str, str]) -> tuple[str, ...]:
    answers = [c for c in nb.cells if c.metadata.get("nbgrader", {}).get("solution")]
    ids = [(c.metadata.nbgrader.grade_id, c.source.strip()) for c in answers]
    return tuple(name for name, source in ids if source == stubs[name].strip())
