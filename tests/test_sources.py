"""The form of every notebook's source: what readers, checks and graders rely on."""

from __future__ import annotations

import ast
import re

import pytest

from autograder_tests import checks_of, topics
from autograder_tests.catalogue import PREAMBLE
from tests.course import ASSIGNMENTS, CONTRACT, ROOT, cells, solutions

pytestmark = pytest.mark.parametrize("assignment", ASSIGNMENTS)
TEST = re.compile(r'test="(\w+)" points=([\d.]+)')


def graded_cells(assignment: str) -> list[tuple[str, float, str]]:
    return [(m[1], float(m[2]), source) for header, source in cells(assignment) if (m := TEST.match(header))]


def test_contract_names_are_exercises(assignment: str) -> None:
    assert set(CONTRACT.get(assignment, ())) <= set(solutions(assignment))


def test_every_check_has_its_cell_and_every_cell_its_check(assignment: str) -> None:
    known = checks_of(assignment)
    found = [i for i, _, _ in graded_cells(assignment)]
    assert sorted(found) == sorted(known), "test cells and checks differ"
    assert set(topics()) >= {assignment}


def test_test_cells_call_their_check_visibly_and_hidden(assignment: str) -> None:
    for name, points, source in graded_cells(assignment):
        objects = ", ".join(checks_of(assignment)[name].names)
        call = f"check.{name}({objects}"
        lines = [line for line in source.splitlines() if line.strip()]
        assert lines[0] == f"{call})", f"{name}: expected {call})"
        assert lines[1] == "### BEGIN HIDDEN TESTS"
        assert re.fullmatch(re.escape(call) + r", hidden=\d+\)", lines[2]), lines[2]
        assert lines[3:] == ["### END HIDDEN TESTS"]
        assert points > 0


def test_tests_follow_their_solution_and_precede_the_next(assignment: str) -> None:
    """Feedback, partial credit and made-up classes attribute a test to the exercise above it."""
    current = None
    for header, _ in cells(assignment):
        if match := re.match(r'solution="(\w+)"', header):
            current = match[1]
        elif match := TEST.match(header):
            assert current in checks_of(assignment)[match[1]].names, f"{match[1]} does not test {current}"


def bound_names(source: str) -> set[str]:
    nodes = (n for n in ast.parse(source).body if isinstance(n, (ast.Import, ast.ImportFrom)))
    return {a.asname or a.name.split(".")[0] for n in nodes for a in n.names}


def test_imports_hold_the_catalogue_s_preamble(assignment: str) -> None:
    """A wrong implementation of the catalogue runs in the notebook as it stands."""
    head = next(source for header, source in cells(assignment) if header == "")
    assert bound_names(PREAMBLE) <= bound_names(head)
    for line in ("plotting.style()", "torch.set_num_threads(1)"):
        assert line in head, f"expected {line!r} in the first code cell"
    if any("flowlib.fit(" in source for _, source in cells(assignment)):
        assert 'MAX_STEPS = int(os.environ.get("COURSE_MAX_STEPS", 0)) or None' in head


def test_training_is_cut_at_grading(assignment: str) -> None:
    for header, source in cells(assignment):
        if not header.startswith(("[markdown]", "test")):
            for call in re.findall(r"flowlib\.fit\((?:[^()]|\([^()]*\))*\)", source):
                assert "max_steps=MAX_STEPS" in call, call


def test_every_figure_is_described(assignment: str) -> None:
    found = cells(assignment)
    for k, (header, source) in enumerate(found):
        shows = "plt.show()" in source or re.search(r"^interactive\.\w+\(", source, re.M)
        if not header.startswith("[markdown]") and shows:
            follows = found[k + 1][1].lstrip("# ").startswith("**Figure.**")
            assert follows, f"a figure without a description:\n{source}"
        if not header.startswith("[markdown]") and ("plt.subplots(" in source or "plt.figure(" in source):
            assert "plt.show()" in source, f"a figure that is not shown:\n{source}"


def test_exercises_say_difficulty_time_and_points(assignment: str) -> None:
    """The points in an exercise's statement are those of its cells."""
    parts: list[tuple[str, float]] = []
    for header, source in cells(assignment):
        if header.startswith("[markdown]"):
            text = re.sub(r"^# ?", "", source, flags=re.M)
            for match in re.finditer(r"^#+ Exercise[^\n]*\n(.*?)(?=^#+ |\Z)", text, flags=re.M | re.S):
                parts.append((match[0], 0.0))
        match = re.search(r"points=([\d.]+)", header)
        if match and parts:
            parts[-1] = (parts[-1][0], parts[-1][1] + float(match[1]))
    assert parts, "no exercises"
    for text, points in parts:
        title = text.splitlines()[0]
        line = re.search(r"Difficulty (\d)/5 \([^)]+\) · about \d+ minutes · ([\d.]+) points?", text)
        assert line, f"{title}: expected 'Difficulty n/5 (in words) · about n minutes · n points'"
        assert float(line[2]) == points, f"{title}: says {line[2]} points, its cells give {points:g}"


def test_the_head_s_minutes_are_those_of_the_exercises(assignment: str) -> None:
    """READMEs and guides take the time from the head."""
    text = (ROOT / "solutions" / f"{assignment}.py").read_text(encoding="utf-8")
    said = re.search(r"\*\*Time:\*\* about \d+ minutes of reading, (\d+) minutes of exercises", text)
    assert said, "expected '**Time:** about n minutes of reading, n minutes of exercises'"
    minutes = [int(m) for m in re.findall(r"Difficulty \d/5 [^\n]*about (\d+) minutes", text)]
    assert abs(int(said[1]) - sum(minutes)) <= 5, f"the exercises' minutes add up to {sum(minutes)}"


def test_help_and_markup_are_plain(assignment: str) -> None:
    text = (ROOT / "solutions" / f"{assignment}.py").read_text(encoding="utf-8")
    assert text.count("<details>") == text.count("</details>")
    assert text.count("<details>") >= 5
    assert ":::" not in text
    assert "```{" not in text


def test_head_and_end(assignment: str) -> None:
    found = [
        re.sub(r"^# ?", "", source, flags=re.M)
        for header, source in cells(assignment)
        if "[markdown]" in header
    ]
    for wanted in ("**You will be able to**", "**Time:**", "**Needs:**"):
        assert wanted in found[0], f"expected {wanted} in the first cell"
    assert "## Key points" in found[-1]
    assert "Common mistakes" in found[-1]
    assert "## References" in found[-1]
