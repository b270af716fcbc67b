"""What a check found, and its report: plain text everywhere, and HTML beside it in Jupyter."""

from __future__ import annotations

import html
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["CheckFailed", "Outcome", "Report", "render", "show_report"]

HEADS = {"passed": "passed", "failed": "not yet", "error": "not yet", "open": "open"}


@dataclass(frozen=True)
class Outcome:
    """What a check found. `status` is `passed`, `failed`, `error` (the student's code raised) or `open` (still unanswered).

    `hidden` when the case was one that the student does not see.
    """

    check: str
    title: str
    status: str
    what: str = ""
    expected: str = ""
    got: str = ""
    given: dict[str, str] = field(default_factory=dict)
    hints: tuple[str, ...] = ()
    misconceptions: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    hidden: bool = False

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return render(self)

    def _repr_html_(self) -> str:
        return Report(self)._repr_html_()


def _head(outcome: Outcome) -> str:
    return HEADS[outcome.status] + (" on hidden cases" if outcome.hidden else "")


class CheckFailed(AssertionError):
    """A property does not hold; the message is the whole report."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(render(outcome))
        self.outcome = outcome

    def _render_traceback_(self) -> list[str]:
        # Jupyter shows this in place of frames that say nothing to a student; the report stands above it.
        return [f"CheckFailed: {self.outcome.title}"]


def render(outcome: Outcome) -> str:
    """The report as plain text."""
    lines = [f"{_head(outcome)}: {outcome.title}"]
    if outcome.what:
        lines.append(f"  {outcome.what}")
    width = max([8, *(len(k) for k in outcome.given)])
    lines += [f"    {k:<{width}}  {v}" for k, v in outcome.given.items()]
    label = "at" if outcome.status == "error" else "got"
    for name, value in (("expected", outcome.expected), (label, outcome.got)):
        if value:
            lines.append(f"    {name:<{width}}  " + value.replace("\n", "\n" + " " * (width + 6)))
    if len(outcome.hints) == 1:
        lines.append(f"  Why: {outcome.hints[0]}")
    elif outcome.hints:
        lines.append("  Why: one of these mistakes gives exactly your numbers.")
        lines += [f"    - {hint}" for hint in outcome.hints]
    lines += [f"  Advice: {text}" for text in outcome.advice]
    return "\n".join(lines)


class Report:
    """What a notebook displays: both forms of one outcome."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def __repr__(self) -> str:
        return render(self.outcome)

    def _repr_html_(self) -> str:
        o, esc = self.outcome, html.escape
        color, mark = ("#00674a", "&#10003;") if o.passed else ("#9c3d00", "&#10007;")
        rows = [(k, v) for k, v in o.given.items()]
        rows += [("expected", o.expected), ("at" if o.status == "error" else "got", o.got)]
        table = "".join(
            f"<tr><th style='text-align:left;padding:0 1em 0 0'>{esc(k)}</th>"
            f"<td style='text-align:left'><pre style='margin:0'>{esc(v)}</pre></td></tr>"
            for k, v in rows
            if v
        )
        parts = [f"<strong style='color:{color}'>{mark} {_head(o)}:</strong> {esc(o.title)}"]
        if o.what:
            parts.append(f"<div>{esc(o.what)}</div>")
        if table:
            parts.append(f"<table style='margin:.3em 0'>{table}</table>")
        if len(o.hints) > 1:
            parts.append("<div><strong>Why:</strong> one of these mistakes gives exactly your numbers.</div>")
        parts += [
            f"<div><strong>Why:</strong> {esc(h)}</div>"
            if len(o.hints) == 1
            else f"<div>&bull; {esc(h)}</div>"
            for h in o.hints
        ]
        parts += [f"<div><strong>Advice:</strong> {esc(a)}</div>" for a in o.advice]
        return f"<div style='border-left:4px solid {color};padding:.2em .8em'>{''.join(parts)}</div>"


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    shell: Any = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def show_report(outcome: Outcome) -> None:
    """Display in a notebook; print a passed one elsewhere (a failed one is the exception's message there)."""
    if _in_notebook():
        from IPython.display import display

        display(Report(outcome))
    elif outcome.passed:
        print(render(outcome))
