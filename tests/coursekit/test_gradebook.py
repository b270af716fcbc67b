"""The gradebook's writer: right, all or nothing, whatever the database does and whoever else writes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader import api
from sqlalchemy import event

from coursekit.errors import CourseError
from coursekit.gradebook import GradebookError, GradebookGoneError, GradebookWriter, Standing
from coursekit.grading import Result
from coursekit.score import CellScore

NAME = "01_squares"
COURSE = "squares"
# Test cells and a question for a person.
TESTS = {"three": 2.0, "even": 1.0}
MANUAL = {"why": 1.5}
ALL_RIGHT = {**TESTS, "why": None}


def cell(name: str, source: str = "", **meta: Any) -> nbformat.NotebookNode:
    """A cell with nbgrader's metadata."""
    new = new_markdown_cell if name in MANUAL else new_code_cell
    roles = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    return new(source=source, id=name, metadata={"nbgrader": {"grade_id": name, **roles, **meta}})


def template(*more: nbformat.NotebookNode, without: str = "", three: float = TESTS["three"]) -> str:
    """An assignment as `register` takes it: an answer, two tests, a question, and `more`."""
    cells = [
        cell("square", "def square(x): ...", solution=True),
        cell("three", "assert square(3) == 9", grade=True, locked=True, points=three),
        cell("even", "assert square(-2) == 4", grade=True, locked=True, points=1),
        cell("why", "Why?", grade=True, solution=True, points=MANUAL["why"]),
        *more,
    ]
    return nbformat.writes(new_notebook(cells=[c for c in cells if c.id != without]))


def result_of(points: dict[str, float | None], key: str = "k1", unanswered: tuple[str, ...] = ()) -> Result:
    """A result with these points a cell; what else a result has is blank."""
    scores = tuple(
        _blank(CellScore, id=name, kind="manual" if name in MANUAL else "test", points=p, max_points=1.0)
        for name, p in points.items()
    )
    return _blank(Result, assignment=NAME, key=key, status="graded", cells=scores, unanswered=unanswered)


def _blank(cls: type, **given: Any) -> Any:
    blank = {"str": "", "float": 0.0, "bool": False}
    for f in fields(cls):
        if f.default is MISSING and f.default_factory is MISSING:
            given.setdefault(f.name, blank.get(str(f.type), () if "tuple" in str(f.type) else None))
    return cls(**given)


def registered(url: str, **options: Any) -> GradebookWriter:
    """An open writer that knows the assignment."""
    writer = GradebookWriter(url, COURSE, **options)
    writer.register(NAME, template())
    return writer


@contextmanager
def book(url: str) -> Iterator[api.Gradebook]:
    """The same gradebook through nbgrader's own class; what was changed is committed."""
    with api.Gradebook(url, COURSE) as gradebook:
        yield gradebook
        gradebook.db.commit()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "class" / "gradebook.db"


@pytest.fixture
def url(file):
    file.parent.mkdir()
    return f"sqlite:///{file}"


# What SQLite and PostgreSQL must do alike: `test_postgres.py` runs these, too.


def scenario(url: str) -> list[Any]:
    """What happens to a class of three, from nothing to the second hand-in: all that can be read on the way."""
    seen: list[Any] = []
    with registered(url) as writer:
        seen.append(writer.apply("ann", result_of(ALL_RIGHT), timestamp="2026-11-20 13:30:00 +0100"))
        seen.append(writer.apply("bob", result_of({"three": 2.0, "even": 0.0, "why": 0.0}, "k2", ("why",))))
        seen.append(writer.apply("çelik \N{SNOWMAN}", result_of({"three": 0.5}, "k3")))
        with book(url) as gradebook:
            grade = gradebook.find_grade("why", NAME, NAME, "ann")
            grade.manual_score, grade.extra_credit, grade.needs_manual_grade = 1.0, 0.25, False
            gradebook.find_comment("why", NAME, NAME, "ann").manual_comment = "Shorter."
        seen.append(writer.apply("ann", result_of(ALL_RIGHT)))
        seen.append(writer.apply("ann", result_of({**ALL_RIGHT, "even": 0.0}, "k4")))
        seen.append(sorted(writer.applied(NAME).items()))
        seen.append(sorted(writer.standings(NAME).items()))
        seen.append((writer.standing("bob", NAME), writer.has("bob", NAME), writer.has("zoe", NAME)))
        writer.register(NAME, template(cell("new", grade=True, locked=True, points=4), without="even"))
        seen.append(sorted(writer.standings(NAME).items()))
    with book(url) as gradebook:
        for student in ("ann", "bob"):
            notebook = gradebook.find_submission_notebook(NAME, NAME, student)
            seen.append((notebook.score, notebook.max_score, notebook.needs_manual_grade))
            seen.append(sorted((c.name, c.comment) for c in notebook.comments))
            seen.append(str(notebook.assignment.timestamp))
        seen.append(sorted((d["student"], d["score"]) for d in gradebook.submission_dicts(NAME)))
        seen.append(sorted((d["id"], d["score"]) for d in gradebook.student_dicts()))
    return seen


EXPECTED = [
    Standing(3.0, 4.5, True, {"three": 2.0, "even": 1.0, "why": 0.0}),
    Standing(2.0, 4.5, False, {"three": 2.0, "even": 0.0, "why": 0.0}),
    Standing(0.5, 4.5, True, {"three": 0.5, "even": 0.0, "why": 0.0}),
    Standing(4.25, 4.5, False, {"three": 2.0, "even": 1.0, "why": 1.25}),
    Standing(3.25, 4.5, True, {"three": 2.0, "even": 0.0, "why": 1.25}),
    [("ann", "k4"), ("bob", "k2"), ("çelik ☃", "k3")],
    [
        ("ann", Standing(3.25, 4.5, True, {"three": 2.0, "even": 0.0, "why": 1.25})),
        ("bob", Standing(2.0, 4.5, False, {"three": 2.0, "even": 0.0, "why": 0.0})),
        ("çelik ☃", Standing(0.5, 4.5, True, {"three": 0.5, "even": 0.0, "why": 0.0})),
    ],
    (Standing(2.0, 4.5, False, {"three": 2.0, "even": 0.0, "why": 0.0}), True, False),
    [
        ("ann", Standing(3.25, 7.5, True, {"three": 2.0, "new": 0.0, "why": 1.25})),
        ("bob", Standing(2.0, 7.5, True, {"three": 2.0, "new": 0.0, "why": 0.0})),
        ("çelik ☃", Standing(0.5, 7.5, True, {"three": 0.5, "new": 0.0, "why": 0.0})),
    ],
    (3.25, 7.5, True),
    [("square", None), ("why", "Shorter.")],
    "2026-11-20 12:30:00",
    (2.0, 7.5, True),
    [("square", None), ("why", "No response.")],
    "None",
    [("ann", 3.25), ("bob", 2.0), ("çelik ☃", 0.5)],
    [("ann", 3.25), ("bob", 2.0), ("çelik ☃", 0.5)],
]


def apply_all(url: str, students: list[str], key: str, even: float) -> None:
    """What a process of its own does: open, register, apply one result to each student."""
    with registered(url, wait_seconds=60) as writer:
        for student in students:
            writer.apply(student, result_of({**ALL_RIGHT, "even": even}, key))


def two_processes(url: str) -> None:
    """Two processes make the gradebook at once and apply to their own and to the same students."""
    spawn = multiprocessing.get_context("spawn")
    same = [f"same{i}" for i in range(30)]
    own = [[f"{p}{i}" for i in range(10)] for p in "ab"]
    jobs = [(own[0] + same, "ka", 0.0), (list(reversed(same)) + own[1], "kb", 1.0)]
    processes = [spawn.Process(target=apply_all, args=(url, *job)) for job in jobs]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    assert [p.exitcode for p in processes] == [0, 0]
    with GradebookWriter(url, COURSE) as writer:
        applied, standings = writer.applied(NAME), writer.standings(NAME)
    assert set(applied) == set(standings) == {*same, *own[0], *own[1]}
    # The points are of the result whose key is there, never of the other process's.
    assert {s: standings[s].cells["even"] for s in applied} == {
        s: {"ka": 0.0, "kb": 1.0}[key] for s, key in applied.items()
    }
    assert all(len(s.cells) == len(ALL_RIGHT) for s in standings.values())
    with book(url) as gradebook:
        assert len(gradebook.assignments) == 1
        assert len(gradebook.students) == len(applied)


def killed_in_the_middle(url: str) -> None:
    """`kill -9` of a process that applies: what is there is whole, and the rest can be applied."""
    students = [f"s{i:04}" for i in range(3000)]
    registered(url).database.close()
    child = multiprocessing.get_context("spawn").Process(target=apply_all, args=(url, students, "k", 1.0))
    child.start()
    with GradebookWriter(url, COURSE) as writer:
        while len(writer.applied(NAME)) < 20:
            assert child.is_alive()
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        applied, standings = writer.applied(NAME), writer.standings(NAME)
        assert 20 <= len(applied) < len(students)
        assert set(applied) == set(standings)
        assert all(s == Standing(3.0, 4.5, True, {**TESTS, "why": 0.0}) for s in standings.values())
        with book(url) as gradebook:
            assert {s.id for s in gradebook.students} == set(applied)
        after = students[len(applied)]
        assert after not in applied
        writer.apply(after, result_of(ALL_RIGHT))


# What a result does.


def test_a_class_is_graded_and_graded_again(url):
    assert scenario(url) == EXPECTED


def test_the_same_result_again_writes_nothing(url, file):
    with registered(url) as writer:
        first = writer.apply("ann", result_of(ALL_RIGHT), timestamp="2026-11-20 12:30:00 UTC")
        before = file.read_bytes()
        assert writer.apply("ann", result_of(ALL_RIGHT), timestamp="2026-11-20 12:30:00 UTC") == first
        writer.register(NAME, template())
    registered(url).database.close()
    assert file.read_bytes() == before


def test_another_key_marks_what_was_given_by_hand_and_the_same_key_does_not(url):
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        with book(url) as gradebook:
            even = gradebook.find_grade("even", NAME, NAME, "ann")
            even.manual_score, even.needs_manual_grade = 0.5, False
            three = gradebook.find_grade("three", NAME, NAME, "ann")
            three.extra_credit, three.needs_manual_grade = 1.0, False
            why = gradebook.find_grade("why", NAME, NAME, "ann")
            why.manual_score, why.needs_manual_grade = 1.5, False
        # A forced run may give other points for the same submission.
        assert not writer.apply("ann", result_of({**ALL_RIGHT, "three": 1.0})).needs_manual
        assert writer.apply("ann", result_of(ALL_RIGHT, "k2")).points == 3.0 + 0.5 + 1.5
        with book(url) as gradebook:
            marked = {
                name: gradebook.find_grade(name, NAME, NAME, "ann").needs_manual_grade for name in ALL_RIGHT
            }
            assert marked == {"three": True, "even": True, "why": True}
            for name in ALL_RIGHT:
                gradebook.find_grade(name, NAME, NAME, "ann").needs_manual_grade = False
        assert not writer.apply("ann", result_of(ALL_RIGHT, "k2")).needs_manual


# nbgrader's own use of SQLAlchemy warns.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_a_first_application_marks_nothing(url):
    """Scores that a person gave to what nbgrader had graded stand."""
    with registered(url) as writer:
        with book(url) as gradebook:
            gradebook.add_student("ann")
            gradebook.add_submission(NAME, "ann")
            for name in ALL_RIGHT:
                grade = gradebook.find_grade(name, NAME, NAME, "ann")
                grade.manual_score, grade.needs_manual_grade = 1.0, False
        assert writer.applied(NAME) == {}
        assert writer.apply("ann", result_of(ALL_RIGHT)) == Standing(
            3.0, 4.5, False, dict.fromkeys(ALL_RIGHT, 1.0)
        )


def test_a_submission_that_was_removed_is_not_applied_any_more(url):
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        writer.apply("bob", result_of(ALL_RIGHT))
        with book(url) as gradebook:
            gradebook.remove_student("ann")
            gradebook.remove_submission(NAME, "bob")
        assert writer.applied(NAME) == {}
        assert not writer.has("bob", NAME)
        with pytest.raises(GradebookError, match="the gradebook has no 01_squares of bob"):
            writer.standing("bob", NAME)
        writer.apply("ann", result_of(ALL_RIGHT, "k2"))
        assert writer.applied(NAME) == {"ann": "k2"}


def test_a_result_is_written_as_a_whole_or_not_at_all(url):
    good = result_of(ALL_RIGHT)
    broken = replace(good, cells=(good.cells[0], replace(good.cells[1], points="many"), good.cells[2]))
    with registered(url) as writer:
        with pytest.raises(GradebookError, match="the gradebook refuses ann: could not convert") as caught:
            writer.apply("ann", broken)
        assert not isinstance(caught.value, GradebookGoneError)
        with book(url) as gradebook:
            assert gradebook.students == []
        writer.apply("ann", good)
        before = writer.standing("ann", NAME)
        with pytest.raises(GradebookError):
            writer.apply("ann", replace(broken, key="k2"))
        assert writer.standing("ann", NAME) == before
        assert writer.applied(NAME) == {"ann": "k1"}


@pytest.mark.parametrize("student", ["ann\nbob", "x" * 255, "=cmd()", "数学", "o'neil; drop table grade"])
def test_any_name_that_a_folder_can_have(url, student):
    with registered(url) as writer:
        writer.apply(student, result_of(ALL_RIGHT))
        assert writer.applied(NAME) == {student: "k1"}


def test_a_name_that_is_no_text_is_refused_in_one_printable_line(url):
    with registered(url) as writer:
        with pytest.raises(GradebookError, match="the gradebook refuses name") as caught:
            writer.apply("name\udce9", result_of(ALL_RIGHT))
        str(caught.value).encode("utf-8")
        writer.apply("ann", result_of(ALL_RIGHT))


@pytest.mark.parametrize(
    "timestamp", ["", "yesterday", "0000-00-00", "9" * 40, "2026-11-20 12:30:00 +99999999"]
)
def test_a_time_of_submission_that_is_none(url, timestamp):
    with (
        registered(url) as writer,
        pytest.raises(GradebookError, match="ann: expected a time of submission such as '2026-"),
    ):
        writer.apply("ann", result_of(ALL_RIGHT), timestamp=timestamp)


def test_an_assignment_that_was_not_registered(url):
    with (
        GradebookWriter(url, COURSE) as writer,
        pytest.raises(
            GradebookError, match="01_squares is not in the gradebook: expected it to be registered"
        ),
    ):
        writer.apply("ann", result_of(ALL_RIGHT))


def test_the_number_of_queries_does_not_grow_with_the_class(url):
    with registered(url) as writer:
        counts = []
        for students in (range(3), range(3, 40)):
            for number in students:
                writer.apply(f"s{number}", result_of(ALL_RIGHT))
            queries: list[str] = []
            listener = lambda *a, queries=queries: queries.append(a[2])  # noqa: E731
            event.listen(writer.database.engine, "before_cursor_execute", listener)
            assert len(writer.standings(NAME)) == students.stop
            assert len(writer.applied(NAME)) == students.stop
            event.remove(writer.database.engine, "before_cursor_execute", listener)
            counts.append(len([q for q in queries if q.startswith("SELECT")]))
        assert counts == [3, 3]


def test_a_submission_is_found_by_index(url):
    """Else one submission costs more the larger the class is: 30,000 of them would take a day."""
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        queries: list[tuple[str, Any]] = []
        event.listen(writer.database.engine, "before_cursor_execute", lambda *a: queries.append((a[2], a[3])))
        writer.apply("ann", result_of(ALL_RIGHT, "k2"))
    large = ("grade", "comment", "submitted_notebook", "submitted_assignment", "student", "coursekit_results")
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        plans = [
            step[3]
            for query, values in queries
            if query.startswith("SELECT")
            for step in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)
        ]
    connection.close()
    assert any(p.startswith("SEARCH grade USING INDEX coursekit_grade") for p in plans)
    assert [p for p in plans if p.startswith("SCAN") and p.split()[1] in large] == []


# Registering.


def test_register_brings_cells_up_to_date(url):
    with registered(url) as writer:
        writer.apply("ann", result_of({"three": 2.0, "even": 1.0, "why": 1.5}))
        task = cell("essay", "Write.", task=True, points=5)
        writer.register(NAME, template(task, cell("given", "x = 1", locked=True), three=3, without="even"))
        standing = writer.standing("ann", NAME)
        assert standing == Standing(3.5, 9.5, True, {"three": 2.0, "why": 1.5, "essay": 0.0})
        # An older release lacks the new cell, and still has the old one.
        again = writer.apply("ann", result_of({"three": 2.0, "even": 1.0, "why": 1.5}))
        assert again == standing
    with book(url) as gradebook:
        notebook = gradebook.find_notebook(NAME, NAME)
        assert {c.name: c.max_score for c in notebook.grade_cells} == {"three": 3.0, "why": 1.5}
        assert {c.name for c in notebook.solution_cells} == {"square", "why"}
        assert {c.name for c in notebook.task_cells} == {"essay"}
        sources = {c.name: (c.source, c.cell_type, c.locked) for c in notebook.source_cells}
        assert set(sources) == {"square", "three", "why", "essay", "given"}
        assert sources["why"] == ("Why?", "markdown", False)
        assert sources["given"] == ("x = 1", "code", True)
        assert {c.name for c in gradebook.find_submission_notebook(NAME, NAME, "ann").comments} == {
            "square",
            "why",
            "essay",
        }


@pytest.mark.parametrize("given", ["manual_score", "extra_credit", "manual_comment"])
def test_a_cell_with_work_by_hand_is_not_thrown_away(url, given):
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        with book(url) as gradebook:
            find = gradebook.find_comment if given == "manual_comment" else gradebook.find_grade
            setattr(find("why", NAME, NAME, "ann"), given, "1.0" if given == "manual_comment" else 1.0)
        before = writer.standing("ann", NAME)
        # The cell before it could go, and stays: all or nothing.
        other = nbformat.writes(
            new_notebook(cells=[cell("three", grade=True, locked=True, points=9), cell("x", solution=True)])
        )
        with pytest.raises(CourseError, match=r"no longer has the cell 'why', to which 1 scores or comments"):
            writer.register(NAME, other)
        assert writer.standing("ann", NAME) == before


# nbgrader's own commands.


@pytest.mark.slow
def test_nbgraders_own_commands_work_on_the_gradebook(url, file):
    """Each is a process of its own, as an instructor starts it."""
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        run = [sys.executable, "-m", "nbgrader"]
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        for arguments in (
            ["db", "upgrade"],
            ["db", "student", "add", "bob"],
            ["db", "student", "list"],
            ["export", "--to", "grades.csv"],
        ):
            done = subprocess.run(
                [*run, *arguments, "--db", url],
                cwd=file.parent,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            if "list" in arguments:
                assert "ann" in done.stdout + done.stderr
                assert "bob" in done.stdout + done.stderr
        header, row = (file.parent / "grades.csv").read_text().splitlines()[:2]
        exported = dict(zip(header.split(","), row.split(","), strict=True))
        assert (exported["student_id"], exported["score"], exported["max_score"]) == ("ann", "3.0", "4.5")
        writer.apply("bob", result_of(ALL_RIGHT))
        assert set(writer.applied(NAME)) == {"ann", "bob"}


def test_a_new_gradebook_is_as_nbgrader_makes_it(url, file, alembic_version, monkeypatch):
    registered(url).database.close()
    theirs = file.with_name("theirs.db")
    monkeypatch.setattr(api, "get_alembic_version", lambda: alembic_version)
    api.Gradebook(f"sqlite:///{theirs}", COURSE).close()

    def tables(path: Path) -> set[tuple[str, str]]:
        with sqlite3.connect(path) as connection:
            found = set(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
            version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        connection.close()
        assert version == [(alembic_version,)]
        return {(name, " ".join(sql.replace(";", "").split())) for name, sql in found}

    assert {name for name, _ in tables(file) ^ tables(theirs)} == {"coursekit_results"}


def test_a_gradebook_that_nbgrader_made_is_taken_over(url, alembic_version, monkeypatch):
    monkeypatch.setattr(api, "get_alembic_version", lambda: alembic_version)
    with book(url) as gradebook:
        gradebook.add_student("ann")
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        assert writer.applied(NAME) == {"ann": "k1"}


def test_opening_it_for_feedback_writes_nothing(url, file):
    """nbgrader's feedback names no course, and would add one: a race between processes that make pages."""
    registered(url).database.close()
    before = file.read_bytes()
    api.Gradebook(url).close()
    assert file.read_bytes() == before


def test_a_mark_changes_with_whatever_a_page_shows(url):
    with registered(url) as writer:
        for student in ("ann", "bob"):
            writer.apply(student, result_of(ALL_RIGHT))
        seen = [writer.marks(NAME)]

        def by_hand(what: str, field: str, value: object) -> None:
            with book(url) as gradebook:
                setattr(getattr(gradebook, f"find_{what}")("why", NAME, NAME, "ann"), field, value)

        for change in (
            lambda: by_hand("grade", "manual_score", 1.0),
            lambda: by_hand("grade", "extra_credit", 0.5),
            lambda: by_hand("comment", "manual_comment", "Shorter."),
            lambda: writer.apply("ann", result_of({**ALL_RIGHT, "three": 1.0})),
            lambda: writer.apply("ann", result_of({**ALL_RIGHT, "three": 1.0}, unanswered=("square",))),
            lambda: writer.apply("ann", result_of({**ALL_RIGHT, "three": 1.0}, "k2", ("square",))),
        ):
            change()
            seen.append(writer.marks(NAME))
        assert len({marks["ann"] for marks in seen}) == len(seen)
        assert len({marks["bob"] for marks in seen}) == 1
        assert writer.marks(NAME) == seen[-1]


# Locks.

HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


@contextmanager
def locked(file: Path, seconds: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """Another process has the lock; it lets go some seconds after a line."""
    command = [sys.executable, "-c", HOLD, str(file), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.communicate("\n")


def test_a_locked_gradebook_is_waited_for_and_then_said_so(url, file):
    with registered(url, wait_seconds=0.3) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        with locked(file):
            started = time.monotonic()
            with pytest.raises(GradebookGoneError) as caught:
                writer.apply("bob", result_of(ALL_RIGHT))
            assert 0.2 < time.monotonic() - started < 5
            assert str(caught.value) == f"the gradebook {file} is locked by another process (waited 0.3 s)"
            with pytest.raises(GradebookGoneError, match="is locked by another process"):
                GradebookWriter(url, COURSE, wait_seconds=0)
        assert set(writer.applied(NAME)) == {"ann"}
        writer.apply("bob", result_of(ALL_RIGHT))
        assert set(writer.applied(NAME)) == {"ann", "bob"}


def test_a_lock_that_is_let_go_in_time_costs_nothing_but_time(url, file):
    with registered(url, wait_seconds=60) as writer, locked(file, seconds=0.5) as holder:
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert writer.apply("ann", result_of(ALL_RIGHT)).points == 3.0
        assert writer.applied(NAME) == {"ann": "k1"}


def test_waiting_can_be_broken_off(url, file, monkeypatch):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with registered(url) as writer:
        with locked(file), monkeypatch.context() as patch:
            patch.setattr("coursekit.database.time.sleep", interrupt)
            with pytest.raises(KeyboardInterrupt):
                writer.apply("ann", result_of(ALL_RIGHT))
        assert writer.applied(NAME) == {}
        writer.apply("ann", result_of(ALL_RIGHT))


# Several processes.


def test_two_processes_at_once(url):
    two_processes(url)


def test_kill_in_the_middle(url):
    killed_in_the_middle(url)


# A database that goes away.


def test_a_file_that_is_removed_or_replaced_in_the_middle(url, file):
    with registered(url, wait_seconds=5) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        moved = file.rename(file.with_name("moved.db"))
        for _ in range(2):
            with pytest.raises(GradebookGoneError, match=r"gradebook.db is no longer there$"):
                writer.apply("bob", result_of(ALL_RIGHT))
        assert not file.exists(), "no new and empty gradebook"
        moved.rename(file)
        writer.apply("bob", result_of(ALL_RIGHT))
        # A copy takes its place, as when a backup is brought back.
        moved.write_bytes(file.read_bytes())
        moved.replace(file)
        writer.apply("cem", result_of(ALL_RIGHT))
        assert set(writer.applied(NAME)) == {"ann", "bob", "cem"}
    with GradebookWriter(url, COURSE) as writer:
        assert set(writer.applied(NAME)) == {"ann", "bob", "cem"}


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Nothing may be written in the folder; root, who may all the same, has not the capability for it meanwhile."""
    modes = {path: path.stat().st_mode for path in (folder, *folder.iterdir())}
    try:
        for path in modes:
            path.chmod(0o555 if path.is_dir() else 0o444)
        with capabilities_of_an_owner() if os.geteuid() == 0 else nullcontext():
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextmanager
def capabilities_of_an_owner() -> Iterator[None]:
    """Without the one that passes over the modes of files. Another user could read neither the course nor its libraries."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, kept = struct.pack("<Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    assert libc.capget(header, kept) == 0
    effective, permitted, inheritable, *rest = struct.unpack("<6I", kept.raw)
    dac_override = 1 << 1
    fewer = struct.pack("<6I", effective & ~dac_override, permitted, inheritable, *rest)
    assert libc.capset(header, fewer) == 0
    try:
        yield
    finally:
        assert libc.capset(header, kept) == 0


def test_a_gradebook_that_may_not_be_written():
    with tempfile.TemporaryDirectory() as name:  # not pytest's folder, which nobody but its owner may enter
        folder = Path(name)
        folder.chmod(0o755)
        url = f"sqlite:///{folder / 'gradebook.db'}"
        with registered(url) as writer:
            writer.apply("ann", result_of(ALL_RIGHT))
            with without_rights(folder):
                with pytest.raises(
                    GradebookGoneError, match=r"gradebook.db cannot be used: (unable|attempt)"
                ):
                    writer.apply("bob", result_of(ALL_RIGHT))
                # It can be reported from, by a process that opens it now, too.
                with GradebookWriter(url, COURSE) as reader:
                    reader.register(NAME, template())
                    assert set(reader.standings(NAME)) == {"ann"}
                    with pytest.raises(GradebookGoneError, match="attempt to write a readonly database"):
                        reader.apply("bob", result_of(ALL_RIGHT))
                with pytest.raises(GradebookError, match="cannot be opened: Permission denied"):
                    GradebookWriter(f"sqlite:///{folder / 'new.db'}", COURSE)
            writer.apply("bob", result_of(ALL_RIGHT))
            assert set(writer.applied(NAME)) == {"ann", "bob"}


def until_full(writer: GradebookWriter) -> set[str]:
    """Apply until the database is full: those who are in it."""
    done: set[str] = set()

    def fill() -> None:
        for number in range(5000):
            writer.apply(f"s{number}", result_of(ALL_RIGHT))
            done.add(f"s{number}")

    with pytest.raises(GradebookGoneError, match=r"gradebook.db cannot be used: .*(full|disk)"):
        fill()
    return done


def test_a_full_database(url, file):
    """SQLite's own limit stands for a disk without space."""
    pages = {"most": 60}

    def limit(connection: sqlite3.Connection, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages['most']}")

    with registered(url) as writer:
        writer.database.close()
        event.listen(writer.database.engine, "connect", limit)
        done = until_full(writer)
        assert len(done) > 3
        standings = writer.standings(NAME)
        assert set(standings) == set(writer.applied(NAME)) == done
        assert {s.points for s in standings.values()} == {3.0}
        pages["most"] = 6000
        writer.database.close()
        writer.apply("zoe", result_of(ALL_RIGHT))
        assert set(writer.applied(NAME)) == {*done, "zoe"}


def test_a_full_disk(tmp_path):
    """A real one, where this machine lets us have it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small disk")
    try:
        with registered(f"sqlite:///{disk / 'gradebook.db'}") as writer:
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(100_000))
            done = until_full(writer)
            assert set(writer.standings(NAME)) == set(writer.applied(NAME)) == done
            ballast.unlink()
            writer.apply("zoe", result_of(ALL_RIGHT))
            assert set(writer.applied(NAME)) == {*done, "zoe"}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# What is no gradebook.


def test_files_that_are_no_gradebook(tmp_path):
    def opening(path: Path) -> str:
        with pytest.raises(GradebookError) as caught:
            GradebookWriter(f"sqlite:///{path}", COURSE)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    text = tmp_path / "grades.txt"
    text.write_text("ann: 3\n" * 1000)
    assert opening(text) == f"{text} is no gradebook: file is not a database"
    assert text.read_text() == "ann: 3\n" * 1000
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE places (x)")
    connection.close()
    assert opening(other) == f"{other} is no gradebook: expected nbgrader's tables, found places"
    assert opening(tmp_path) == f"the gradebook {tmp_path} cannot be opened: Is a directory"
    nowhere = tmp_path / "no" / "gradebook.db"
    assert opening(nowhere) == f"the gradebook {nowhere} cannot be opened: No such file or directory"
    old = tmp_path / "old.db"
    registered(f"sqlite:///{old}").database.close()
    with sqlite3.connect(old) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '50a4d84c131a'")
    connection.close()
    assert "expected its version e43177bfe90b, got 50a4d84c131a (`nbgrader db upgrade`" in opening(old)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "got something else"),
        ("gradebook.db", "got something else"),
        ("postgresql//ann:s3cret@host/grades", "got something else"),
        ("postgresql://ann:s3cret@host:port/grades", "got something else"),
        ("postgresql://ann:p@host:s3cret/grades", "got something else"),
        ("mysql://ann:s3cret@host/grades", "got one that begins with 'mysql:'"),
        ("postgresql+psycopg2://ann:s3cret@host/grades", "got one that begins with 'postgresql+psycopg2:'"),
        ("bogus://ann:s3cret@host/grades", "got one that begins with 'bogus:'"),
        ("sqlite://", "got SQLite without a file"),
        ("sqlite:///:memory:", "got SQLite without a file"),
    ],
)
def test_wrong_addresses(url, reason):
    with pytest.raises(GradebookError) as caught:
        GradebookWriter(url, COURSE)
    line = str(caught.value)
    assert line.startswith("the gradebook's address: expected sqlite:///FILE or postgresql://")
    assert line.endswith(reason)
    assert "s3cret" not in line
    assert caught.value.__cause__ is None


def test_a_missing_driver(monkeypatch):
    for name in [m for m in sys.modules if m.split(".")[0] == "psycopg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(GradebookError) as caught:
        GradebookWriter("postgresql://ann:s3cret@host/grades", COURSE)
    assert str(caught.value) == (
        "the gradebook postgresql://ann:***@host/grades needs the PostgreSQL driver: pip install 'psycopg[binary]'"
    )
