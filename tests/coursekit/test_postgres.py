"""The gradebook on a real PostgreSQL server: as on SQLite, and what only a server can do wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import nbformat
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from coursekit import gradebook_cells
from coursekit.database import Database
from coursekit.gradebook import GradebookError, GradebookGoneError, GradebookWriter
from coursekit.gradebook_tables import make_ready

from .postgres import PASSWORD, Server, serve, why_not
from .test_gradebook import (
    ALL_RIGHT,
    COURSE,
    EXPECTED,
    NAME,
    book,
    cell,
    killed_in_the_middle,
    registered,
    result_of,
    scenario,
    template,
    two_processes,
)

if reason := why_not():
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    yield from serve()


@pytest.fixture
def database(server) -> Iterator[str]:
    """The name of an empty database of the test's own; the server runs."""
    if server.process is None:
        server.start()
    name = f"grades_{uuid4().hex[:12]}"
    server.execute(f"CREATE DATABASE {name}")
    yield name
    if server.process is None:
        server.start()
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def url(server, database) -> str:
    return server.url(database)


def said(error: BaseException) -> str:
    """The message: one line, without the password in any spelling, nor does a cause have it."""
    line, cause = str(error), error
    assert "\n" not in line
    while cause is not None:
        for secret in (PASSWORD, quote(PASSWORD, safe="")):
            assert secret not in str(cause)
            assert secret not in repr(cause)
        cause = cause.__cause__
    return line


def test_a_class_is_graded_as_on_sqlite(url):
    assert scenario(url) == EXPECTED


def test_two_processes_at_once(url):
    two_processes(url)


def test_kill_in_the_middle(url):
    killed_in_the_middle(url)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_any_way_to_say_postgresql(server, database, scheme):
    with registered(server.url(database, scheme)) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        # As nbgrader's own classes take it.
        assert make_url(writer.db_url) == make_url(server.url(database))
        with book(writer.db_url) as gradebook:
            assert [s.id for s in gradebook.students] == ["ann"]


def test_the_same_result_again_writes_nothing(server, database, url):
    def writes() -> object:
        query = "SELECT sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_del) FROM pg_stat_user_tables"
        return server.execute(query, database)

    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        writer.database.close()  # a connection reports what it wrote when it ends, at the latest
        end = time.monotonic() + 20
        while (before := writes()) != [(0, 0, 0)] and time.monotonic() < end and before[0][0] < 17:
            time.sleep(0.05)
        writer.apply("ann", result_of(ALL_RIGHT))
        writer.register(NAME, template())
        writer.database.close()
    registered(url).database.close()
    time.sleep(0.3)
    assert writes() == before


def test_nbgraders_own_commands_work_on_the_gradebook(url, tmp_path):
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "nbgrader", "export", "--to", "grades.csv", "--db", url]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    header, row = (tmp_path / "grades.csv").read_text().splitlines()
    exported = dict(zip(header.split(","), row.split(","), strict=True))
    assert (exported["student_id"], exported["score"], exported["max_score"]) == ("ann", "3.0", "4.5")


def test_what_the_server_refuses_leaves_nothing(url):
    """PostgreSQL minds the length of a name and the sign NUL; SQLite does not."""
    with registered(url) as writer:
        for student, reason in (
            ("x" * 129, r"value too long for type character varying\(128\)"),
            ("a\0b", "NUL"),
            ("name\udce9", "surrogates not allowed"),
        ):
            with pytest.raises(GradebookError, match=f"^the gradebook refuses .*{reason}") as caught:
                writer.apply(student, result_of(ALL_RIGHT))
            assert not isinstance(caught.value, GradebookGoneError)
            said(caught.value)
        writer.apply("x" * 128, result_of(ALL_RIGHT))
        assert list(writer.applied(NAME)) == list(writer.standings(NAME)) == ["x" * 128]


# Locks.


def test_a_locked_row_is_waited_for_and_then_said_so(server, database, url):
    with registered(url, wait_seconds=0.3) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        where = {"host": str(server.folder), "user": "course", "password": PASSWORD, "dbname": database}
        with psycopg.connect(**where) as grader:
            grader.execute("UPDATE grade SET manual_score = 0.5, needs_manual_grade = false")
            with pytest.raises(GradebookGoneError) as caught:
                writer.apply("ann", result_of(ALL_RIGHT, "k2"))
            line = f"the gradebook {writer.database.name} is locked by another process (waited 0.3 s)"
            assert said(caught.value) == line
            assert writer.applied(NAME) == {"ann": "k1"}
            writer.apply("bob", result_of(ALL_RIGHT))  # another's rows are free
        # What was saved meanwhile is seen, and marked.
        standing = writer.apply("ann", result_of(ALL_RIGHT, "k2"))
        assert (standing.points, standing.needs_manual) == (1.5, True)


def test_a_grader_who_saves_while_a_result_is_applied_loses_nothing(server, database, url):
    """The result waits for the grader's transaction, and sees that the cell needs nobody any more."""
    with registered(url) as writer:
        writer.apply("ann", result_of({**ALL_RIGHT, "three": 1.0}))
        where = {"host": str(server.folder), "user": "course", "password": PASSWORD, "dbname": database}
        with psycopg.connect(**where) as grader:
            grader.execute(
                "UPDATE grade SET manual_score = 1, needs_manual_grade = false FROM base_cell"
                " WHERE base_cell.id = grade.cell_id AND base_cell.name = 'why'"
            )
            found = []
            other = threading.Thread(target=lambda: found.append(writer.apply("ann", result_of(ALL_RIGHT))))
            other.start()
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not server.execute(waits):
                assert other.is_alive()
                time.sleep(0.01)
            grader.commit()
        other.join(30)
        assert [(s.points, s.needs_manual) for s in found] == [(4.0, False)]


def test_no_submission_is_made_from_old_cells_while_they_change(url, server):
    """A new cell that is being registered is in a submission that is applied at the same time."""
    with registered(url) as writer, registered(url) as other:
        applied = []
        thread = threading.Thread(target=lambda: applied.append(other.apply("ann", result_of(ALL_RIGHT))))
        new = template(cell("new", grade=True, locked=True, points=4))

        def register(connection: object) -> None:
            cells = nbformat.reads(new, as_version=4)
            gradebook_cells.register(connection, NAME, cells, COURSE, dry=False)
            thread.start()
            while not server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
                assert thread.is_alive()
                time.sleep(0.01)

        writer.database.write(register, NAME)
        thread.join(30)
        assert set(applied[0].cells) == {*ALL_RIGHT, "new"}
        assert applied[0] == writer.standing("ann", NAME)


def test_two_that_make_the_tables_at_once(server, url):
    """The second waits for the first, and finds all there."""
    first = Database(url, wait_seconds=30)
    opened = []
    thread = threading.Thread(target=lambda: opened.append(registered(url)))

    def make(connection: object) -> None:
        make_ready(connection, "first", COURSE)
        thread.start()
        while not server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            assert thread.is_alive()
            time.sleep(0.01)

    first.write(make, "its tables")
    first.close()
    thread.join(30)
    with opened[0] as writer:
        assert writer.apply("ann", result_of(ALL_RIGHT)).points == 3.0


# A server that goes away.


def test_a_server_that_stops_and_starts_again(server, url):
    with registered(url, wait_seconds=0.5) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        server.stop()
        for call in (
            lambda: writer.apply("bob", result_of(ALL_RIGHT)),
            lambda: writer.standings(NAME),
            lambda: GradebookWriter(url, COURSE),
        ):
            with pytest.raises(GradebookGoneError) as caught:
                call()
            assert said(caught.value).startswith(f"the gradebook {writer.database.name} cannot be reached: ")
        server.start()
        assert writer.applied(NAME) == {"ann": "k1"}
        writer.apply("bob", result_of(ALL_RIGHT))
        assert set(writer.applied(NAME)) == {"ann", "bob"}


def test_a_restart_in_the_middle_of_a_transaction_costs_nothing_but_time(server, url):
    tries = []
    with registered(url, wait_seconds=30) as writer:

        def work(connection: object) -> None:
            tries.append(1)
            connection.execute(text("INSERT INTO student (id) VALUES ('ann')"))
            if len(tries) == 1:
                server.stop()
                threading.Timer(0.5, server.start).start()
            connection.execute(text("INSERT INTO student (id) VALUES ('bob')"))

        writer.database.write(work, "two students")
        assert len(tries) >= 2
        with book(url) as gradebook:
            assert {s.id for s in gradebook.students} == {"ann", "bob"}


def test_a_connection_that_is_cut_is_made_anew(server, database, url):
    with registered(url) as writer:
        writer.apply("ann", result_of(ALL_RIGHT))
        cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        assert server.execute(cut)
        writer.apply("bob", result_of(ALL_RIGHT))
        assert set(writer.applied(NAME)) == {"ann", "bob"}


def test_a_full_disk(server, database, url):
    """The server's own error for it, raised by a trigger: a disk that is full would stop other tests."""
    with registered(url) as writer:
        server.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$",
            database,
        )
        server.execute(
            "CREATE TRIGGER is_full BEFORE INSERT ON comment EXECUTE FUNCTION full_disk()", database
        )
        with pytest.raises(GradebookGoneError) as caught:
            writer.apply("ann", result_of(ALL_RIGHT))
        assert said(caught.value).endswith("cannot be used: could not extend file: No space left on device")
        assert not writer.has("ann", NAME)
        server.execute("DROP TRIGGER is_full ON comment", database)
        writer.apply("ann", result_of(ALL_RIGHT))


# What is no gradebook.


def test_wrong_addresses_are_told_without_the_password(server, database, url):
    """And at once: nobody waits for an address that was never right."""
    socket = f"host={server.folder}"
    started = time.monotonic()
    for wrong, reason in (
        (url.replace(database, "nothing"), 'database "nothing" does not exist'),
        (url.replace("course:", "somebody:"), "password authentication failed"),
        (url.replace(socket, "host=/nowhere"), "No such file or directory"),
        (f"{url}&bogus=1", "invalid connection option"),
        (f"postgresql://course@/{database}?{socket}&password=wr0ng", "password authentication failed"),
    ):
        with pytest.raises(GradebookError) as caught:
            GradebookWriter(wrong, COURSE)
        line = said(caught.value)
        assert reason in line
        assert "wr0ng" not in line
    assert time.monotonic() - started < 10


def test_a_server_that_quotes_the_password(url):
    quoting = text("SELECT CAST(:secret AS integer)")
    with registered(url) as writer, pytest.raises(GradebookError) as caught:
        writer.database.write(lambda connection: connection.execute(quoting, {"secret": PASSWORD}), "ann")
    line = 'the gradebook refuses ann: invalid input syntax for type integer: "***"'
    assert str(caught.value) == line


def test_a_database_of_something_else(server, database, url):
    server.execute("CREATE TABLE places (x int)", database)
    with pytest.raises(GradebookError, match="is no gradebook: expected nbgrader's tables, found places"):
        GradebookWriter(url, COURSE)
    assert server.execute("SELECT count(*) FROM pg_stat_user_tables", database) == [(1,)]


@pytest.mark.parametrize(("said", "expected"), [("", "60000"), ("tcp_user_timeout=5000", "5000")])
def test_a_server_whose_machine_is_gone_is_noticed(url, said, expected):
    """The kernel's clocks run: without them a read waits for ever for a machine that has lost its power."""
    address = make_url(url).update_query_string(said)
    database = Database(address.render_as_string(hide_password=False), wait_seconds=5)
    with database.engine.connect() as connection:
        options = connection.connection.driver_connection.info.get_parameters()
    database.close()
    assert options["tcp_user_timeout"] == expected
    assert {"keepalives_idle", "keepalives_interval", "keepalives_count"} <= set(options)
