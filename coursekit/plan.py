"""Which cells of a submission must run, and which show the same for everybody.

Most of a notebook's time goes into the instructor's own demonstrations. A student who has not touched one gets no
points for it and cannot change what it shows, so grading runs it only when something of the student's may need it: a
backward slice over the notebook's global names (Weiser, Program Slicing, 1981), on the side of running too much.
"""

from __future__ import annotations

import re
import symtable
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

from nbformat import NotebookNode

from coursekit.rebuild import visible_source

__all__ = ["Names", "Step", "names_of", "steps_of"]

# Who uses one of these may mean any name there is.
_DYNAMIC = frozenset(
    [
        "globals",
        "locals",
        "vars",
        "dir",
        "eval",
        "exec",
        "compile",
        "get_ipython",
        "In",
        "Out",
        "_",
        "__",
        "___",
        "_i",
        "_ii",
        "_iii",
        "_ih",
        "_oh",
        "_dh",
        "__import__",
    ]
)

_NAMELESS = re.compile(
    r"^([ \t]*)%(?:matplotlib|config|load_ext|autoreload|pip|conda|precision)\b[^\n]*$", re.M
)


@dataclass(frozen=True)
class Names:
    """Global names of a cell: those it binds, of these the ones that are variables (no import, function or class),
    and those it uses. `dynamic` when it may use any."""

    bound: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    used: frozenset[str] = frozenset()
    dynamic: bool = False


@dataclass(frozen=True)
class Step:
    """One code cell of a rebuilt notebook.

    `kind` is `student` (an answer, a changed or an added cell), `test` or `released` (the instructor's own, as it
    was). `needed` is False for a released cell that nothing of the student's can depend on; `binds` says whether
    the cell defines anything.
    """

    index: int
    id: str
    source: str
    kind: str
    needed: bool
    names: Names

    @property
    def binds(self) -> bool:
        """It leaves a name behind, or may."""
        return bool(self.names.bound) or self.names.dynamic


def names_of(source: str) -> Names:
    """The global names of a cell.

    >>> names = names_of("import math\\ndef area(r):\\n    k = 2\\n    return math.pi * r**k\\nx = area(one)")
    >>> sorted(names.bound), sorted(names.variables), sorted(names.used)
    (['area', 'math', 'x'], ['x'], ['area', 'math', 'one'])
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the student's backslashes
            table = symtable.symtable(_without_magics(source), "cell", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        # What IPython alone can read may name anything; what nobody can read will not run.
        return Names(dynamic=any(sign in source for sign in "%!?"))
    bound, variables, used = set(), set(), set()
    for symbol in table.get_symbols():
        if symbol.is_assigned() or symbol.is_imported():
            bound.add(symbol.get_name())
        if symbol.is_assigned() and not symbol.is_namespace():
            variables.add(symbol.get_name())
        if symbol.is_referenced():
            used.add(symbol.get_name())
    waiting = list(table.get_children())
    while waiting:
        inner = waiting.pop()
        waiting += inner.get_children()
        for symbol in inner.get_symbols():
            if symbol.is_global():
                used.add(symbol.get_name())
                if symbol.is_assigned():
                    bound.add(symbol.get_name())
                    variables.add(symbol.get_name())
    dynamic = bool(used & _DYNAMIC) or "import *" in source
    return Names(frozenset(bound), frozenset(variables), frozenset(used), dynamic)


def _without_magics(source: str) -> str:
    """A cell without the lines of IPython's that neither use nor make names.

    IPython's own translation of a line reads the whole cell anew: thousands of them would keep the grader busy for minutes.
    """
    return _NAMELESS.sub(r"\1pass", source)


def steps_of(notebook: NotebookNode, template: NotebookNode, *, whole: bool = False) -> list[Step]:
    """The code cells of a rebuilt notebook, in its order; tests without their hidden parts.

    With `whole` every cell is needed.
    """
    own = {cell.id: cell for cell in template.cells}
    made = []
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            kind = _kind(cell, own.get(cell.id))
            source = cell.source if kind == "student" else visible_source(cell)
            made.append(Step(index, cell.id, source, kind, True, names_of(source)))
    if whole or any(s.names.dynamic for s in made if s.kind == "student"):
        return made
    # A variable can be changed by whoever mentions it: `x.append(1)` binds nothing.
    variables = _union(s.names.variables for s in made)
    wanted: set[str] = set()
    kept = []
    for step in reversed(made):
        names = step.names
        needed = (
            step.kind != "released"
            or bool(names.bound & wanted)
            or bool(names.used & wanted & variables)
            or names.dynamic
        )
        if needed:
            wanted |= names.used | names.bound
        kept.append(replace(step, needed=needed))
    return kept[::-1]


def _kind(cell: NotebookNode, own: NotebookNode | None) -> str:
    meta = cell.metadata.get("nbgrader", {})
    if meta.get("grade") and not meta.get("solution"):
        return "test"
    if meta.get("solution"):
        return "student"
    return "released" if own is not None and own.source == cell.source else "student"


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)
