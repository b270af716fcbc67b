"""From an assignment's text source to nbgrader's source notebook.

A source is a runnable Python file in the py:percent format. Its cell headers become nbgrader's metadata:

    # %% [markdown]                              text
    # %%                                         code
    # %% solution="Name"                         autograded answer; it defines Name, which is its grade id
    # %% test="check_id" points=2                autograder tests, locked
    # %% [markdown] manual="id" points=3         answer graded by hand, text or code; its question before it
    # %% locked="id"                             read-only, text or code
    # %% [markdown] task="id" points=3           a task with a mark scheme

`tags="hide-input other"` may stand in any header. Solutions stand between `### BEGIN SOLUTION` and
`### END SOLUTION`, hidden tests between `### BEGIN HIDDEN TESTS` and `### END HIDDEN TESTS`, mark schemes
likewise. A magic command is written as a comment, `# %pip install …`. Comments before the first header belong
to the file alone.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import tokenize
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from coursekit.errors import CourseError
from coursekit.regions import HIDDEN_TESTS, MARK_SCHEME, SOLUTION, marked_lines

__all__ = ["SCHEMA_VERSION", "defined_names", "notebook_bytes", "read_source"]

SCHEMA_VERSION = 3
BOOTSTRAP = "bootstrap"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}

_HEADER = re.compile(r"# %%(?= |$)")
_KEYWORD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]+)(?=\s|$)')
_GRADE_ID = re.compile(r"[A-Za-z0-9_\-]+")
# `# %magic …` and `# !command`, indented or not: commented in the source so that it stays Python.
_MAGIC = re.compile(r"^(\s*)# ?(?=%{1,2}[a-z_]+(?:\s|$)|![a-z])")


@dataclass(frozen=True)
class _Role:
    """What a header keyword means to nbgrader, which cells may have it and which region they may hold."""

    grade: bool
    locked: bool
    solution: bool
    task: bool
    types: tuple[str, ...]
    region: str | None


ROLES = {
    "solution": _Role(False, False, True, False, ("code",), SOLUTION),
    "test": _Role(True, True, False, False, ("code",), HIDDEN_TESTS),
    "manual": _Role(True, False, True, False, ("code", "markdown"), SOLUTION),
    "locked": _Role(False, True, False, False, ("code", "markdown"), None),
    "task": _Role(False, True, False, True, ("markdown",), MARK_SCHEME),
}


def read_source(
    path: Path, bootstrap: str = "", course: str = "", address: Mapping[str, str] | None = None
) -> NotebookNode:
    """nbgrader's source notebook of the text source at `path`: no outputs, the same bytes at every build.

    The notebook's metadata hold `coursekit: {course, assignment, release}`; release is a hash of the cells.
    `bootstrap` is the code of a locked cell put behind the first cell, the title; `{assignment}`, `{release}` and the
    names of `address` in it are filled in after the hash: it cannot cover itself, and a course that moves keeps its releases.

    Raises:
        CourseError: with file and line, when the source breaks the format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CourseError(f"{path}: cannot be read: {error}") from error
    reader = _Reader(path, text.replace("\r\n", "\n"))
    cells = reader.cells()
    if bootstrap.strip():
        cells.insert(1, reader.bootstrap(bootstrap))
    release = hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()[:12]
    if bootstrap.strip():
        for name, text in {**(address or {}), "assignment": path.stem, "release": release}.items():
            cells[1].source = cells[1].source.replace("{" + name + "}", text)
    nb = new_notebook(cells=cells)
    nb.metadata.update(
        coursekit={"course": course, "assignment": path.stem, "release": release},
        kernelspec=dict(KERNELSPEC),
        language_info={"name": "python"},
    )
    return nb


def notebook_bytes(nb: NotebookNode) -> bytes:
    """`nb` as the bytes of its file, UTF-8 with sorted keys."""
    return (nbformat.writes(nb, version=4) + "\n").encode("utf-8")


def defined_names(source: str) -> set[str]:
    """Functions, classes and variables that a cell's top level defines; none when it does not parse.

    >>> sorted(defined_names("def f(): ...\\nclass G: ...\\nh, k = 1, 2"))
    ['G', 'f', 'h', 'k']
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return names


class _Reader:
    """One pass over one source file; keeps what is unique in a file: grade ids and cell ids."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.lines = path, text.split("\n")
        self.grade_ids: dict[str, int] = {}
        self.cell_ids: Counter[str] = Counter()

    def error(self, line: int, reason: str) -> CourseError:
        """An error at `line`, counted from 0."""
        return CourseError(f"{self.path}:{line + 1}: {reason}")

    def cells(self) -> list[NotebookNode]:
        headers = self.header_lines()
        if not headers:
            raise self.error(0, "expected cell headers, lines that begin with '# %%', got none")
        for number, line in enumerate(self.lines[: headers[0]]):
            if line.strip() and not line.startswith("#"):
                raise self.error(number, "expected only comments before the first cell header")
        ends = [*headers[1:], len(self.lines)]
        return [self.cell(start, end) for start, end in zip(headers, ends, strict=True)]

    def bootstrap(self, source: str) -> NotebookNode:
        """The locked cell that every notebook of the course has."""
        metadata = {"nbgrader": self.nbgrader("locked", self.grade_id(0, "locked", BOOTSTRAP))}
        return new_code_cell(
            source=source.strip(), metadata=metadata, id=self.cell_id(BOOTSTRAP, "code", source)
        )

    def header_lines(self) -> list[int]:
        """Lines of the cell headers; a line inside a string that looks like one is not."""
        tokens = tokenize.generate_tokens(io.StringIO("\n".join(self.lines)).readline)
        try:
            return [
                t.start[0] - 1
                for t in tokens
                if t.type == tokenize.COMMENT and t.start[1] == 0 and _HEADER.match(t.string)
            ]
        except (tokenize.TokenError, SyntaxError) as error:
            where = error.args[1] if len(error.args) > 1 else (1,)
            line = where[0] if isinstance(error, tokenize.TokenError) else error.lineno or 1
            raise self.error(line - 1, f"not Python: {error.args[0]}") from error

    def cell(self, start: int, end: int) -> NotebookNode:
        cell_type, keywords = self.header(start)
        body = self.lines[start + 1 : end]
        # Blank lines between a header and the next one are layout, not part of the cell.
        first = next((i for i, line in enumerate(body) if line.strip()), len(body))
        while body and not body[-1].strip():
            body.pop()
        first, body = start + 1 + first, body[first:]
        source = self.code(body) if cell_type == "code" else self.markdown(first, body)
        role, metadata = self.metadata(start, cell_type, keywords)
        self.check_regions(first, source, role)
        grade_id = metadata.get("nbgrader", {}).get("grade_id")
        if role == "solution" and grade_id not in defined_names(source):
            raise self.error(start, f"expected the cell to define {grade_id!r}, its grade id")
        make = new_code_cell if cell_type == "code" else new_markdown_cell
        return make(source=source, metadata=metadata, id=self.cell_id(grade_id, cell_type, source))

    def header(self, line: int) -> tuple[str, dict[str, Any]]:
        """Cell type and keywords of the header at `line`."""
        rest = self.lines[line].removeprefix("# %%").strip()
        cell_type = "code"
        if rest.startswith("["):
            name, _, rest = rest[1:].partition("]")
            if name not in ("markdown", "md"):
                raise self.error(line, f"expected [markdown], got [{name}]")
            cell_type, rest = "markdown", rest.strip()
        keywords: dict[str, Any] = {}
        while rest:
            match = _KEYWORD.match(rest)
            if match is None:
                raise self.error(line, f'expected keywords such as test="id" points=2, got {rest!r}')
            key, value = match.groups()
            if key not in (*ROLES, "points", "tags"):
                known = ", ".join((*ROLES, "points", "tags"))
                raise self.error(line, f"unknown keyword {key!r}: known are {known}")
            if key in keywords:
                raise self.error(line, f"keyword {key!r} given twice")
            try:
                keywords[key] = json.loads(value)
            except json.JSONDecodeError:
                raise self.error(line, f"expected a number or a quoted text for {key}, got {value}") from None
            rest = rest[match.end() :].strip()
        return cell_type, keywords

    def metadata(
        self, line: int, cell_type: str, keywords: dict[str, Any]
    ) -> tuple[str | None, dict[str, Any]]:
        """The cell's role and its metadata for nbgrader."""
        roles = [key for key in keywords if key in ROLES]
        if len(roles) > 1:
            raise self.error(line, f"expected one role in a header, got {' and '.join(roles)}")
        metadata: dict[str, Any] = {}
        if "tags" in keywords:
            if not isinstance(keywords["tags"], str):
                raise self.error(line, f'expected tags="one two", got {keywords["tags"]!r}')
            metadata["tags"] = keywords["tags"].split()
        if not roles:
            if "points" in keywords:
                raise self.error(line, "points without test, manual or task")
            return None, metadata
        key = roles[0]
        role = ROLES[key]
        if cell_type not in role.types:
            raise self.error(
                line, f"expected a {' or '.join(role.types)} cell for {key}, got a {cell_type} cell"
            )
        metadata["nbgrader"] = self.nbgrader(key, self.grade_id(line, key, keywords[key]))
        if role.grade or role.task:
            metadata["nbgrader"]["points"] = self.points(line, key, keywords)
        elif "points" in keywords:
            raise self.error(line, f"a {key} cell takes no points: they stand on its tests")
        return key, metadata

    @staticmethod
    def nbgrader(key: str, grade_id: str) -> dict[str, Any]:
        """nbgrader's metadata of a cell whose role is `key`."""
        role = ROLES[key]
        return {
            "schema_version": SCHEMA_VERSION,
            "grade_id": grade_id,
            "grade": role.grade,
            "locked": role.locked,
            "solution": role.solution,
            "task": role.task,
        }

    def grade_id(self, line: int, key: str, value: Any) -> str:
        if not isinstance(value, str) or not _GRADE_ID.fullmatch(value):
            raise self.error(line, f"expected letters, digits, '_' and '-' in {key}'s id, got {value!r}")
        if value in self.grade_ids:
            raise self.error(line, f"id {value!r} stands at line {self.grade_ids[value] + 1} already")
        self.grade_ids[value] = line
        return value

    def points(self, line: int, key: str, keywords: dict[str, Any]) -> int | float:
        if "points" not in keywords:
            raise self.error(line, f"{key} {keywords[key]!r} lacks points=")
        value = keywords["points"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise self.error(line, f"expected points to be a number ≥ 0, got {value!r}")
        return value

    def code(self, body: list[str]) -> str:
        return "\n".join(_MAGIC.sub(r"\1", line) for line in body)

    def markdown(self, first: int, body: list[str]) -> str:
        for number, line in enumerate(body):
            if line.strip() and not re.match(r"#( |$)", line):
                raise self.error(first + number, "expected every line of a text cell to begin with '# '")
        return "\n".join(line[2:].rstrip("\n") for line in body)

    def check_regions(self, first: int, source: str, role: str | None) -> None:
        allowed = ROLES[role].region if role else None
        try:
            for number, _, kind in marked_lines(source):
                if kind not in (None, allowed):
                    owners = " or ".join(r for r, v in ROLES.items() if v.region == kind)
                    raise self.error(first + number, f"a region of {kind} stands outside of a {owners} cell")
        except ValueError as error:
            number, reason = error.args
            raise self.error(first + number, reason) from error

    def cell_id(self, grade_id: str | None, cell_type: str, source: str) -> str:
        """The cell's id: its grade id, else a hash of its text, counted when the text repeats."""
        if grade_id is not None and len(grade_id) <= 64:
            return grade_id
        name = "c-" + hashlib.sha256(f"{cell_type}\n{grade_id}\n{source}".encode()).hexdigest()[:12]
        self.cell_ids[name] += 1
        return name if self.cell_ids[name] == 1 else f"{name}-{self.cell_ids[name]}"
