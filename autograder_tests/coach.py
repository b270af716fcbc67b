"""Help beside a notebook's checks: `hint`, `show_solution`, `progress`, and which cell to run when a name is missing.

The notebooks' first code cell imports the three and calls `begin`. Plain Python: no nbgrader, no server, on Colab, too.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autograder_tests import guides, installed, session
from autograder_tests.guides import Exercise, Guide, UnknownExercise
from autograder_tests.report import Outcome, shell, show
from autograder_tests.session import current
from autograder_tests.standing import Standing

__all__ = [
    "Card",
    "begin",
    "below_report",
    "hint",
    "misfits",
    "missing_name",
    "model_answer",
    "progress",
    "show_solution",
]

_UNDEFINED = re.compile(r"NameError: (?:name )?'(\w+)' is not defined")
_CELL = re.compile(r"^# %%(.*)\n", re.M)


class Card:
    """A text in Markdown, which Jupyter renders."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.text


def begin(assignment: str, release: str) -> None:
    """Say which course this notebook runs on, and what does not fit; from here on, say which cell a missing name needs.

    Args:
        assignment: such as `"03_masked_coupling"`.
        release: of this notebook; `coursekit build` writes it there.
    """
    current.assignment, current.release = assignment, release
    guide = guides.load(assignment)
    version = installed.version(guide.distribution) if guide else ""
    print(f"course {version or '(not installed)'}, release {release}")
    if session.live():
        for line in misfits(guide, release):
            print(line)
        _watch()


def misfits(guide: Guide | None, release: str) -> list[str]:
    """What does not fit together, and what to do about it: this kernel, this notebook's release, the installed course."""
    found = []
    if installed.changed():
        found.append(
            "The course has changed since this kernel started: restart the kernel (menu Kernel, Restart)."
        )
    if guide is not None and guide.release != release:
        update = f', or run: pip install --no-deps --upgrade "{guide.install}"' if guide.install else ""
        found.append(
            f"This notebook is of release {release}, the installed course of {guide.release}: "
            f"fetch the notebook anew{update}"
        )
    return found


def hint(what: Any = None, *, again: bool = False) -> None:
    """Show the next of an exercise's helps: the first is a nudge, a template comes last.

    Args:
        what: the object or the name that the exercise asks for, or its number; without it, the last one that failed a check.
        again: show once more what was shown, and nothing new.

    Raises:
        UnknownExercise: when there is none of that name.
    """
    guide, exercise = _find(what)
    place, most = (guide.assignment, exercise.heading), len(exercise.helps)
    before = current.shown.get(place, 0)
    if not most:
        show(Card(f"**{exercise.heading}** has no help. {_solution_line(exercise)}"))
    elif again and before:
        show(Card("\n\n".join(_help(exercise, k) for k in range(before))))
    elif before == most:
        show(
            Card(
                f"**{exercise.heading}**: that was all its help. "
                f'`hint("{exercise.key}", again=True)` shows it again. {_solution_line(exercise)}'
            )
        )
    else:
        current.shown[place] = before + 1
        show(Card(_help(exercise, before)))


def show_solution(what: Any = None) -> None:
    """Show an exercise's model answer; where the course's sources are not on this machine, say where it is.

    Asked for before the exercise was tried, it wants to be asked a second time.

    Args:
        what: the object or the name that the exercise asks for, or its number; without it, the last one that failed a check.

    Raises:
        UnknownExercise: when there is none of that name.
    """
    guide, exercise = _find(what)
    place = (guide.assignment, exercise.heading)
    if not (_tried(guide, exercise) or place in current.asked):
        current.asked.add(place)
        first = f' `hint("{exercise.key}")` has a nudge.' if exercise.helps else ""
        show(
            Card(
                f"You have not tried **{exercise.heading}** here yet.{first} "
                f'To see the model answer all the same, call `show_solution("{exercise.key}")` once more.'
            )
        )
        return
    parts, absent = [f"**{exercise.heading}**"], []
    for name in exercise.answers:
        if answer := model_answer(guide, name):
            parts.append(f"`{name}`, model answer:\n\n{answer}")
        else:
            absent.append(name)
    if absent:
        parts.append(_elsewhere(guide, absent))
    show(Card("\n\n".join(parts)))


def progress() -> None:
    """Show a table of this notebook's checks: passed, not yet or not run, and points.

    Raises:
        UnknownExercise: when it is not known which notebook this is.
    """
    guide = _guide()
    show(Standing(guide, session.outcomes(guide)))


def model_answer(guide: Guide, name: str) -> str:
    """The model answer to be read, in Markdown; "" where the course's sources are not on this machine."""
    cells = _CELL.split(_sources(guide))[1:]
    for header, body in zip(cells[::2], cells[1::2], strict=True):
        if re.search(rf'\b(?:solution|manual)="{re.escape(name)}"', header):
            lines = [
                line for line in body.strip("\n").split("\n") if not re.match(r"[\s#]*### (BEGIN|END) ", line)
            ]
            if "[markdown]" in header:
                return "\n".join(line[2:] for line in lines)
            return "```python\n" + "\n".join(lines) + "\n```"
    return ""


def below_report(outcome: Outcome, names: tuple[str, ...], assignment: str | None) -> str:
    """One line below the report of a failed check: which cell to run, or that there is help; "" where there is nothing to say."""
    if outcome.passed or not session.live():
        return ""
    found = _UNDEFINED.search(outcome.what)
    where = missing_name(found[1]) if found else ""
    if (
        where or shell().user_ns.get("hint") is not hint
    ):  # a notebook of another release may not know the word
        return where
    try:
        guide, exercise = guides.find(outcome.check, assignment)
    except UnknownExercise:
        return ""
    left = len(exercise.helps) - current.shown.get((guide.assignment, exercise.heading), 0)
    name = next((n for n in names if n in exercise.answers), exercise.key)
    if not left:
        return ""
    return f'hint("{name}") has {"a nudge" if left == len(exercise.helps) else "more help"}'


def missing_name(name: str) -> str:
    """Which cell of this notebook to run for `name`; "" when it defines no such name, or has defined it already."""
    guide = guides.load(current.assignment) if current.assignment else None
    heading = guide.defined.get(name) if guide else None
    if guide is None or heading is None or name in getattr(shell(), "user_ns", {}):
        return ""
    if heading == guide.title:
        return f"`{name}` is defined at the top of this notebook: run its first code cells first."
    return f"`{name}` is defined in the section “{heading}”: run that cell first."


def _find(what: Any) -> tuple[Guide, Exercise]:
    if what is None:
        failed = [(r.time, place) for place, r in current.outcomes.items() if not r.passed]
        if not failed:
            _guide()
            raise UnknownExercise("no check has failed yet: which exercise? Its name or its number, please")
        _, (assignment, what) = max(failed)
        return guides.find(what, assignment)
    return guides.find(what, current.assignment)


def _guide() -> Guide:
    guide = guides.load(current.assignment) if current.assignment else None
    if guide is None:
        raise UnknownExercise("which notebook is this? Run its first code cell, or any of its checks")
    return guide


def _help(exercise: Exercise, k: int) -> str:
    title = f"**Help {k + 1} of {len(exercise.helps)}** · {exercise.heading} · {exercise.helps[k]['summary']}"
    return f"{title}\n\n{exercise.helps[k]['text'].strip()}"


def _solution_line(exercise: Exercise) -> str:
    return f'`show_solution("{exercise.key}")` shows the model answer.'


def _sources(guide: Guide) -> str:
    """The text that holds the model answers: of the clone in which this notebook lies, or from which the course is installed."""
    here = Path(current.folder)
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return (folder / guide.source).read_text(encoding="utf-8")
    return ""


def _elsewhere(guide: Guide, names: Sequence[str]) -> str:
    """Where these model answers are, one line."""
    pages = ", ".join(f"[`{name}`]({guide.page}#solution-{name})" for name in names)
    site = f" on the course's web site ({pages}) and" if guide.page else ""
    return (
        f"This folder holds no model answers. They are{site} in `{guide.source}` of the course's repository."
    )


def _tried(guide: Guide, exercise: Exercise) -> bool:
    """Some answer was checked, or all help was read."""
    found = session.outcomes(guide)
    checked = any(c.id in found and found[c.id].status != "open" for c in exercise.checks)
    read = current.shown.get((guide.assignment, exercise.heading), 0)
    return checked or (read > 0 and read == len(exercise.helps))


def _watch() -> None:
    """After a cell that failed for want of a name, say which cell defines it. Tracebacks and other handlers stay as they are."""
    if session.live():
        events = shell().events
        if _after_cell not in events.callbacks["post_run_cell"]:
            events.register("post_run_cell", _after_cell)


def _after_cell(result: Any) -> None:
    error = getattr(result, "error_in_exec", None)
    if isinstance(error, NameError) and error.name and (text := missing_name(error.name)):
        print(text)
