"""What an attack is: how a submission is made, and what must come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from coursekit.new_class import Paper
from coursekit.source import notebook_bytes

__all__ = [
    "COUPLING",
    "EVERYTHING",
    "LIGHT",
    "WRONG",
    "Attack",
    "Paper",
    "added",
    "answered",
    "cell_of",
    "code",
    "forgery",
    "hand_in",
    "raw",
]

COUPLING = "MaskedCouplingLayer"
EVERYTHING = ("*",)
# Exercises whose checks take little time: most attacks leave the others blank.
LIGHT = ("AdditiveCouplingLayer", "alternating_masks")

# Wrong in every respect that a check looks at, so that each point it gets is a forged one.
WRONG = """\
class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()

    def forward(self, u):
        return 2 * u + 1, torch.tensor(7.0)

    def inverse(self, x):
        return 3 * x, torch.tensor(7.0)
"""


@dataclass(frozen=True)
class Attack:
    """One hostile, damaged or unlucky submission.

    Attributes:
        name: unique.
        make: the submission's bytes, from the assignment with its solutions.
        assignment: which.
        attacked: exercises that are blank or wrong underneath: each of their tests must give 0.
        right: exercises that are right; all others are `attacked`. Instead of that.
        lost: exercises whose tests may give anything, since the submission breaks them itself; EVERYTHING for all.
        earned: tests of attacked exercises whose points are deserved all the same, or were paid for with a flag.
        status, message: of the result; any status when it is empty; the message contains the text.
        flags: each must be part of one of the result's.
        no_flags: none may be raised.
        seconds: how long grading may take, on a quiet machine.
        ends: it aims at processes: an honest submission is graded by the same launcher right behind it.
        forbidden: texts that must not stand in anything that grading has written.
        outside: files that must not come to be.
        limit: what this attack gains and nobody can prevent; empty for none.
    """

    name: str
    make: Callable[[Paper], bytes]
    assignment: str = "03_masked_coupling"
    attacked: tuple[str, ...] = ()
    right: tuple[str, ...] | None = None
    lost: tuple[str, ...] = ()
    earned: tuple[str, ...] = ()
    status: str = "graded"
    message: str = ""
    flags: tuple[str, ...] = ()
    no_flags: bool = False
    seconds: float = 20.0
    ends: bool = False
    forbidden: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    limit: str = ""


def answered(paper: Paper, answers: Mapping[str, str | None] | None = None) -> NotebookNode:
    """The notebook with all exercises right but for `answers`; None leaves one blank."""
    wanted = {**paper.answers, **(answers or {})}
    return paper.notebook({name: text for name, text in wanted.items() if text is not None})


def cell_of(nb: NotebookNode, grade_id: str) -> NotebookNode:
    """The cell with that grade id."""
    return next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def added(nb: NotebookNode, source: str, before: str) -> NotebookNode:
    """`nb` with a cell of the student's own in front of the one with that grade id."""
    nb.cells.insert(nb.cells.index(cell_of(nb, before)), new_code_cell(source))
    return nb


def hand_in(nb: NotebookNode | Mapping[str, Any]) -> bytes:
    """The bytes of a notebook, however broken it is."""
    return json.dumps(nb, ensure_ascii=True).encode()


def code(
    source: str = "",
    answer: str | None = WRONG,
    exercise: str = COUPLING,
    right: tuple[str, ...] | None = None,
) -> Callable[[Paper], bytes]:
    """`exercise` with `answer` (None: blank), and `source` in a cell of its own before it.

    The exercises `right` are right, all others blank; by default all are right.
    """

    def make(paper: Paper) -> bytes:
        wanted: dict[str, str | None] = {
            name: None for name in paper.exercises if right is not None and name not in right
        }
        nb = answered(paper, {**wanted, exercise: answer})
        return notebook_bytes(added(nb, source, exercise) if source else nb)

    return make


def forgery(
    name: str,
    source: str = "",
    answer: str | None = WRONG,
    exercise: str = COUPLING,
    *,
    right: tuple[str, ...] = LIGHT,
    **fields: Any,
) -> Attack:
    """An attack on `exercise` with most of the others blank; see `code`."""
    return Attack(name, code(source, answer, exercise, right), right=right, **fields)


def raw(data: bytes) -> Callable[[Paper], bytes]:
    """These bytes, whatever the assignment."""
    return lambda paper: data
