"""The gradebook's database: SQLite or PostgreSQL, one transaction at a time, and what goes wrong in one line."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)

from coursekit.errors import CourseError

__all__ = ["Database", "GradebookError", "GradebookGoneError"]

T = TypeVar("T")

# Between two tries, seconds.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5
# SQLite's own waiting cannot be interrupted by Ctrl-C, so each try waits this long at most, seconds.
_SQLITE_PATIENCE = 0.1
# A PostgreSQL server whose machine or network is gone says nothing: after about a minute of silence it counts as lost. Options
# of libpq.
_VANISHED = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}


class GradebookError(CourseError):
    """The gradebook cannot be used, or refuses one result; nothing of that result was written.

    >>> raise GradebookError("the gradebook refuses s1: value too long")
    Traceback (most recent call last):
    ...
    coursekit.database.GradebookError: the gradebook refuses s1: value too long
    """


class GradebookGoneError(GradebookError):
    """The database itself is out of use (locked, gone, full): the next result would fare no better.

    >>> issubclass(GradebookGoneError, GradebookError)
    True
    """


class Database:
    """Transactions on the gradebook's database, tried again while that may help.

    `name` is its address for messages, without password. `url` is the address with it, as nbgrader takes it.
    `wait_seconds` is how long to wait for a lock that another process holds, or for a server that restarts.

    Raises:
        GradebookError: when the address is not one of SQLite or PostgreSQL, or its driver is missing.

    >>> Database("postgresql://ann:secret@localhost/grades", wait_seconds=0).name
    'postgresql://ann:***@localhost/grades'
    >>> Database("mysql://localhost/grades", wait_seconds=0)
    Traceback (most recent call last):
    ...
    coursekit.database.GradebookError: the gradebook's address: expected sqlite:///FILE or
    postgresql://USER:PASSWORD@HOST/DATABASE, got one that begins with 'mysql:'
    """

    def __init__(self, url: str, *, wait_seconds: float) -> None:
        parsed = _parse(url)
        self.wait_seconds = wait_seconds
        self._opened = False
        self._secrets = [s for s in (parsed.password, parsed.query.get("password")) if s]
        self.file: Path | None = None
        if parsed.get_backend_name() == "sqlite":
            self.file = Path(os.path.abspath(parsed.database or ""))
            self.name = str(self.file)
        else:
            bare = parsed.set(drivername="postgresql", query={})
            self.name = bare.render_as_string(hide_password=True)
        self.url = parsed.render_as_string(hide_password=False)
        self.engine = self._engine(parsed)
        self._reading = self.engine.execution_options(reading=True)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, given a connection in a transaction that only reads.

        Raises:
            GradebookGoneError: when the database cannot be used.
        """
        return self._transaction(self._reading, work, "the query")

    def write(self, work: Callable[[Connection], T], what: str) -> T:
        """What `work` returns, given a connection; all that it wrote is there then, or none of it.

        `work` may be called several times. `what` it writes is for messages.

        Raises:
            GradebookGoneError: when the database cannot be used.
            GradebookError: when it refuses what `work` wrote.
        """
        return self._transaction(self.engine, work, what)

    def opened(self) -> None:
        """From here on a lost connection is waited for: the address was right once."""
        self._opened = True

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _engine(self, url: URL) -> Engine:
        if self.file is not None:
            self._touch(self.file)
            # mode=rw: a file that was removed in the middle is an error, not a new and empty gradebook.
            query = {**url.query, "mode": "rw", "uri": "true", "timeout": str(_SQLITE_PATIENCE)}
            url = url.set(database=f"file:{quote(str(self.file))}", query=query)
            engine = create_engine(url)
            event.listen(engine, "connect", _take_over_transactions)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        # What the address says comes first.
        options = {"connect_timeout": max(2, int(self.wait_seconds)), **_VANISHED}
        options = {name: value for name, value in options.items() if name not in url.query}
        try:
            engine = create_engine(url, pool_pre_ping=True, connect_args=options)
        except ImportError as error:
            raise GradebookError(
                f"the gradebook {self.name} needs the PostgreSQL driver: pip install 'psycopg[binary]'"
            ) from error
        milliseconds = max(1, int(1000 * self.wait_seconds))  # 0 would mean for ever

        def begin(connection: Connection) -> None:
            if connection.get_execution_options().get("reading"):
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            else:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {milliseconds}")

        event.listen(engine, "begin", begin)
        return engine

    def _touch(self, file: Path) -> None:
        """Make the file when it is not there: an empty one is an empty database."""
        try:
            file.open("ab").close()
        except OSError as error:
            # One that may only be read can still be reported from.
            if not file.is_file():
                raise GradebookError(
                    f"the gradebook {self.name} cannot be opened: {error.strerror}"
                ) from error

    def _transaction(self, engine: Engine, work: Callable[[Connection], T], what: str) -> T:
        started = time.monotonic()
        pause = _SHORTEST_PAUSE
        while True:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except (SQLAlchemyError, UnicodeError) as error:
                kind = self._kind(error)
                if kind != "refused":
                    self.engine.dispose()  # what comes next starts with a new connection
                passing = kind == "busy" or (kind == "lost" and self._opened)
                if not passing or time.monotonic() + pause - started > self.wait_seconds:
                    raise self._told(error, kind, what) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _kind(self, error: Exception) -> str:
        """`busy` (another process is at it), `lost` (no connection), `unusable`, or `refused` (this one value)."""
        origin = getattr(error, "orig", None)
        if self.file is not None:
            code = getattr(origin, "sqlite_errorname", None)
            if code is None or isinstance(error, IntegrityError | DataError):
                return "refused"
            if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                return "busy"
            # Another file took its place: a new connection finds that one.
            return "lost" if code == "SQLITE_READONLY_DBMOVED" and self.file.exists() else "unusable"
        state = getattr(origin, "sqlstate", None)
        if state is None:
            return "lost" if isinstance(error, OperationalError | InterfaceError) else "refused"
        if state in _BUSY_STATES:
            return "busy"
        if state.startswith(("08", "57P0")) or state == "53300":  # connection, shutdown; too many connections
            return "lost"
        return "refused" if isinstance(error, IntegrityError | DataError) else "unusable"

    def _told(self, error: Exception, kind: str, what: str) -> GradebookError:
        reason = self._reason(error)
        if kind == "refused":
            return GradebookError(_line(f"the gradebook refuses {what}: {reason}"))
        if kind == "busy":
            return GradebookGoneError(
                f"the gradebook {self.name} is locked by another process (waited {self.wait_seconds:g} s)"
            )
        if self.file is not None and not self.file.exists():
            return GradebookGoneError(f"the gradebook {self.name} is no longer there")
        if getattr(getattr(error, "orig", None), "sqlite_errorname", "") == "SQLITE_NOTADB":
            return GradebookGoneError(f"{self.name} is no gradebook: {reason}")
        verb = "reached" if kind == "lost" else "used"
        return GradebookGoneError(_line(f"the gradebook {self.name} cannot be {verb}: {reason}"))

    def _reason(self, error: Exception) -> str:
        """The database's own words, the first line, without password."""
        origin = error.orig if isinstance(error, StatementError) and error.orig else error
        text = str(origin).strip()
        for secret in self._secrets:
            text = text.replace(secret, "***")
        # psycopg names each address that it tried on a line of its own, the failure first.
        return text.splitlines()[0] if text else type(origin).__name__


# Serialization failure, deadlock, lock timeout; and a unique row that another process wrote first.
_BUSY_STATES = ("40001", "40P01", "55P03", "23505")


def _parse(url: str) -> URL:
    expected = "the gradebook's address: expected sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        # Neither the text nor the reason is shown, and no cause is kept: both may have the password in them.
        raise GradebookError(f"{expected}, got something else") from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        if parsed.database in (None, "", ":memory:"):
            raise GradebookError(f"{expected}, got SQLite without a file")
        return parsed
    raise GradebookError(f"{expected}, got one that begins with {parsed.drivername + ':'!r}")


def _take_over_transactions(connection: object, record: object) -> None:
    # Python's sqlite3 begins a transaction at the first write, too late: what was read before it may be old.
    connection.isolation_level = None  # type: ignore[attr-defined]


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _line(text: str) -> str:
    """`text` in one line that every terminal can print."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode("utf-8")
