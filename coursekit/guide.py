"""What a helper beside a notebook knows of its assignment, as data: `autograder_tests`-like packages carry it to students.

A guide is made of the release alone, so that nothing of a solution or a hidden test can be in it. The JSON object of an
assignment, `[tool.coursekit] guide = "PACKAGE/guide"` says in which folder:

    course, assignment, release, title
    notebook      path of the released notebook in the repository
    source        path of the text source there, which holds the model answers
    page          address of the assignment's page on the web site, or ""
    distribution  name of the installable package that the course is, or ""
    install       what `pip install` takes to get the course, or ""
    exercises     a list of
        number, title        of its heading, "Exercise 3 · Flow"; number is null for cells below no such heading
        difficulty, words    3 and "bookkeeping" of "Difficulty 3/5 (bookkeeping) · about 20 minutes", or null and ""
        minutes, points      minutes may be null; points are those of its cells
        answers              grade ids of the cells to be answered, those graded by hand included
        checks               a list of {id, title, points}
        by_hand              a list of {id, points}
        helps                a list of {summary, text}: its folded texts, a template last
    defined       name → heading above the cell that first defines it at its top level
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from nbformat import NotebookNode

__all__ = ["bound_names", "guide_bytes", "guide_of"]

_FENCE = re.compile(r" {0,3}(?:```|~~~)")
_HEADING = re.compile(r"(#{1,6}) +(.+?) *$")
_EXERCISE = re.compile(r"Exercise (\d+) *[·:.] *(.+)")
_EFFORT = re.compile(r"Difficulty (\d)/5 \(([^)]+)\) · about (\d+) minutes")
_FOLD = re.compile(r"<details\b[^>]*>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)
# Other folds answer a question that the text has asked, or tell what is known only afterwards.
_HELP = re.compile(r"(?:Help|Hint)\b:?\s*|(?=Template\b|Advice\b)")
_MAGIC = re.compile(r"^([ \t]*)(?:%{1,2}|!)[a-z].*", re.M)


def guide_of(release: NotebookNode, checks: Mapping[str, Any], **about: str) -> dict[str, Any]:
    """The guide of a released notebook.

    Args:
        release: the student's notebook.
        checks: check id → an object whose `title`, when it has one, says what the check wants.
        about: notebook, source, page, distribution, install.
    """
    reader = _Reader(checks)
    for cell in release.cells:
        reader.read(cell)
    known = release.metadata.coursekit
    return {
        **{key: known[key] for key in ("course", "assignment", "release")},
        "title": reader.title or known.assignment,
        **about,
        "exercises": reader.exercises,
        "defined": reader.defined,
    }


def guide_bytes(guide: Mapping[str, Any]) -> bytes:
    """A guide as the bytes of its file."""
    return (json.dumps(guide, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def bound_names(source: str) -> list[str]:
    """The names that a cell's top level binds, imports and loops included, in their order; none when it does not parse.

    >>> bound_names("import numpy as np\\nfor k in range(3):\\n    x, y = f(k)\\ndef g(z):\\n    w = 1")
    ['np', 'k', 'x', 'y', 'g']
    """
    try:
        tree = ast.parse(_MAGIC.sub(r"\1pass", source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(dict.fromkeys(_bound(tree)))


def _bound(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name  # and nothing of what stands inside
            return
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return
        case ast.Import() | ast.ImportFrom():
            yield from ((a.asname or a.name).split(".")[0] for a in node.names if a.name != "*")
        case ast.Name(ctx=ast.Store()):
            yield node.id
    for child in ast.iter_child_nodes(node):
        yield from _bound(child)


class _Reader:
    """One pass over the cells of a release."""

    def __init__(self, checks: Mapping[str, Any]) -> None:
        self.checks = checks
        self.title, self.heading = "", ""
        self.exercises: list[dict[str, Any]] = []
        self.defined: dict[str, str] = {}
        self.level = 0  # of the exercise's heading; 0 once a section follows, to which folds then belong

    def read(self, cell: NotebookNode) -> None:
        meta = cell.metadata.get("nbgrader", {})
        if meta.get("grade") or meta.get("solution") or meta.get("task"):
            self.graded(meta)
        if cell.cell_type == "markdown" and not meta.get("solution"):
            self.text(cell.source)
        elif cell.cell_type == "code" and not meta.get("grade"):
            for name in bound_names(cell.source):
                self.defined.setdefault(name, self.heading)

    def text(self, source: str) -> None:
        for level, heading, body in _parts(source):
            if heading:
                self.heading = heading
                self.title = self.title or heading
                match = _EXERCISE.fullmatch(heading)
                if match:
                    self.level = level
                    self.exercises.append(_exercise(int(match[1]), match[2]))
                elif level <= self.level:
                    self.level = 0
            if self.level:
                self.statement(body)

    def statement(self, text: str) -> None:
        """Effort and helps that the text of an exercise holds."""
        exercise = self.exercises[-1]
        effort = _EFFORT.search(text)
        if effort and exercise["minutes"] is None:
            exercise |= {"difficulty": int(effort[1]), "words": effort[2], "minutes": int(effort[3])}
        for summary, body in _FOLD.findall(text):
            start = _HELP.match(summary.strip())
            if start:
                exercise["helps"].append(
                    {"summary": summary.strip()[start.end() :], "text": body.strip("\n").rstrip()}
                )
        exercise["helps"].sort(key=lambda h: "template" in h["summary"].lower())

    def graded(self, meta: Mapping[str, Any]) -> None:
        """A cell to be answered, a test, or a task: it belongs to the exercise above it, whatever stands between."""
        if not self.exercises:
            self.exercises.append(_exercise(None, self.heading))
        exercise, name, points = self.exercises[-1], meta["grade_id"], meta.get("points", 0)
        exercise["points"] += points
        if meta.get("solution"):
            exercise["answers"].append(name)
        if meta.get("task") or (meta.get("grade") and meta.get("solution")):
            exercise["by_hand"].append({"id": name, "points": points})
        elif meta.get("grade"):
            title = getattr(self.checks.get(name), "title", name)
            exercise["checks"].append({"id": name, "title": title, "points": points})


def _exercise(number: int | None, title: str) -> dict[str, Any]:
    return {
        "number": number,
        "title": title,
        "difficulty": None,
        "words": "",
        "minutes": None,
        "points": 0,
        "answers": [],
        "checks": [],
        "by_hand": [],
        "helps": [],
    }


def _parts(source: str) -> Iterator[tuple[int, str, str]]:
    """A text cut at its headings: level and text of the heading, and what follows it; level 0 before the first."""
    level, heading, body, fenced = 0, "", [], False
    for line in source.split("\n"):
        fenced ^= bool(_FENCE.match(line))  # a comment in an example looks like a heading
        match = None if fenced else _HEADING.match(line)
        if match is None:
            body.append(line)
            continue
        yield level, heading, "\n".join(body)
        level, heading, body = len(match[1]), match[2], []
    yield level, heading, "\n".join(body)
