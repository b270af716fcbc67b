"""Progress as one HTML page: self-contained, no script, readable by eye, keyboard and screen reader."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime

from coursekit.progress import Assignment, Exercise, Step, next_step

__all__ = ["progress_page"]

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1b1f24; --soft: #57606a; --line: #d5dae0; --box: #f5f7f9;
  --good: #0072b2; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --text: #e5e9ee; --soft: #a5aeb8; --line: #363d46;
  --box: #1d2126; --good: #56b4e9; --link: #7cc0f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 56rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 0; display: inline; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--good); outline-offset: 2px; }
.soft { color: var(--soft); }
.next { background: var(--box); border-left: 4px solid var(--good); padding: .6rem 1rem; margin: 1rem 0 1.5rem; }
.next p { margin: 0; }
details { border-top: 1px solid var(--line); padding: .7rem 0; }
summary { cursor: pointer; }
summary .soft { display: block; padding-left: 1.1rem; }
progress { width: calc(100% - 1.1rem); max-width: 22rem; height: .6rem; accent-color: var(--good); display: block; margin: .3rem 0 0 1.1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .8rem 0; font-size: .92rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; }
tbody th { padding-top: .8rem; }
td.status, td.when { white-space: nowrap; }
@media print { details:not([open]) > :not(summary) { display: none; } }
"""
MARKS = {"passed": "✓", "not yet": "✗", "open": "○", "not run": "○"}


def progress_page(course: str, assignments: Sequence[Assignment]) -> str:
    """The page of a course's assignments, with what to do next."""
    passed, checks = sum(a.passed for a in assignments), sum(len(a.steps) for a in assignments)
    title = f"Progress: {course}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_esc(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{_esc(title)}</h1>
<p>{passed} of {checks} checks hold, in {len(assignments)} assignments. This page shows what check cells and
<code>coursekit check</code> have recorded on this machine; nobody else sees it.</p>
{_next(assignments)}
{"".join(_assignment(a) for a in assignments)}
</main>
</body>
</html>
"""


def _next(assignments: Sequence[Assignment]) -> str:
    found = next_step(assignments)
    if found is None:
        return '<div class="next"><p>All checks hold.</p></div>'
    assignment, exercise = found
    effort = f", about {exercise.about.minutes} minutes" if exercise.about.minutes else ""
    return (
        f'<div class="next"><p><strong>Next:</strong> {_link(assignment, exercise)}{effort}, '
        f"in {_notebook(assignment)}.</p></div>"
    )


def _assignment(assignment: Assignment) -> str:
    passed, checks = assignment.passed, len(assignment.steps)
    opened = " open" if assignment.started and passed < checks else ""
    points = f"{assignment.points:g} of {assignment.max_points:g} points"
    older = (
        f"<p>{assignment.older} of its checks held in another release of the notebook: run them again.</p>"
        if assignment.older
        else ""
    )
    label = _esc(f"{assignment.guide.title}: {passed} of {checks} checks hold")
    return f"""<details{opened}>
<summary><h2>{_esc(assignment.guide.title)}</h2>
<span class="soft">{passed} of {checks} checks hold, {points}</span>
<progress value="{passed}" max="{max(checks, 1)}" aria-label="{label}"></progress></summary>
{older}<p>In {_notebook(assignment)}.</p>
<div class="wide" tabindex="0" role="region" aria-label="{_esc(f"Checks of {assignment.guide.title}")}"><table>
<caption>Checks by exercise</caption>
<thead><tr><th scope="col">status</th><th scope="col">points</th><th scope="col">check</th><th scope="col">last run</th></tr></thead>
{"".join(_exercise(assignment, e) for e in assignment.exercises)}</table></div>
</details>
"""


def _exercise(assignment: Assignment, exercise: Exercise) -> str:
    effort = [exercise.about.words] if exercise.about.words else []
    effort += [f"{exercise.about.minutes} minutes"] if exercise.about.minutes else []
    about = f' <span class="soft">({_esc(", ".join(effort))})</span>' if effort else ""
    rows = "".join(_row(step) for step in exercise.steps)
    if not exercise.steps:
        rows = '<tr><td colspan="4">No check can judge this one: compare with the model answer.</td></tr>'
    return f'<tbody><tr><th scope="rowgroup" colspan="4">{_link(assignment, exercise)}{about}</th></tr>\n{rows}</tbody>\n'


def _row(step: Step) -> str:
    record = step.record
    when = f"{datetime.fromisoformat(record.time).astimezone():%Y-%m-%d}" if record else "never"
    points = record.points if record else 0
    return (
        f'<tr><td class="status"><span aria-hidden="true">{MARKS[step.status]}</span> {step.status}</td>'
        f'<td>{points:g} of {step.max_points:g}</td><td>{_esc(step.title)}</td><td class="when">{when}</td></tr>\n'
    )


def _link(assignment: Assignment, exercise: Exercise) -> str:
    """The exercise's heading, linked to its place on the web site when there is one."""
    text = _esc(exercise.heading)
    if not (assignment.guide.page and exercise.about.number):
        return text
    return f'<a href="{_esc(assignment.guide.page)}#exercise-{exercise.about.number}">{text}</a>'


def _notebook(assignment: Assignment) -> str:
    return f"the notebook <code>{_esc(assignment.notebook.name)}</code>"


def _esc(text: str) -> str:
    return html.escape(text)
