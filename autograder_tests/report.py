"""What a check found, and its report: plain text everywhere, and HTML beside it in Jupyter."""

from __future__ import annotations

import html
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["CheckFailed", "Outcome", "Report", "in_notebook", "render", "shell", "show", "show_report"]

# A value in a table, without the box that pages put around preformatted text.
BARE = "margin:0;border:0;padding:0;background-color:transparent"
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
    """What a notebook displays: both forms of one outcome, and a line `below`."""

    def __init__(self, outcome: Outcome, below: str = "") -> None:
        self.outcome, self.below = outcome, below

    def __repr__(self) -> str:
        return render(self.outcome) + (f"\n  {self.below}" if self.below else "")

    def _repr_html_(self) -> str:
        o, esc = self.outcome, html.escape
        # The text has the page's own color, light or dark; the bar stands out from both.
        color, mark = ("#009e73", "&#10003;") if o.passed else ("#d55e00", "&#10007;")
        rows = [(k, v) for k, v in o.given.items()]
        rows += [("expected", o.expected), ("at" if o.status == "error" else "got", o.got)]
        table = "".join(
            f"<tr><th style='text-align:left;padding:0 1em 0 0'>{esc(k)}</th>"
            f"<td style='text-align:left'><pre style='{BARE}'>{esc(v)}</pre></td></tr>"
            for k, v in rows
            if v
        )
        parts = [f"<strong>{mark} {_head(o)}:</strong> {esc(o.title)}"]
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
        if self.below:
            parts.append(f"<div>{esc(self.below)}</div>")
        return f"<div style='border-left:4px solid {color};padding:.2em .8em'>{''.join(parts)}</div>"


def shell() -> Any:
    """The running IPython shell; None in plain Python."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    return hasattr(shell(), "kernel")


def show(thing: Any) -> None:
    """Display in a notebook; print elsewhere, with `?` for a sign that stdout lacks: a formula is no reason to end a script."""
    if in_notebook():
        from IPython.display import display

        display(thing)
    else:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(str(thing).encode(encoding, "replace").decode(encoding))


def show_report(outcome: Outcome, below: str = "") -> None:
    """Display in a notebook; print a passed one elsewhere (a failed one is the exception's message there)."""
    if in_notebook() or outcome.passed:
        show(Report(outcome, below))
