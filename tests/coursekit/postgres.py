"""A private PostgreSQL server for tests, in a temporary folder, on a Unix socket alone."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest

# What no message may show; it has signs that an address must quote.
PASSWORD = "s3cret@/word%"
USER = "course"


def serve() -> Iterator[Server]:
    """What a fixture yields from: a running server, stopped and removed at the end.

    Skips where `why_not` has a reason.
    """
    if reason := why_not():
        pytest.skip(reason)
    binaries, account = _binaries(), _account()
    assert binaries is not None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # a short path: that of a socket has 107 bytes at most
    try:
        server = Server(binaries, folder, account)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def why_not() -> str:
    """Why there can be no server here, or ""."""
    if find_spec("psycopg") is None:
        return "psycopg is not installed"
    if _binaries() is None:
        return "no PostgreSQL server (initdb, postgres) on PATH or in /usr/lib/postgresql/*/bin"
    if os.getuid() == 0 and _account() is None:
        return "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody"
    return ""


class Server:
    """A PostgreSQL cluster of its own; `start` and `stop` as often as a test wants."""

    def __init__(self, binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
        self.binaries, self.folder = binaries, folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.as_user = {}
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
            self.as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)  # in a folder of mode 0700
        command = [binaries / "initdb", "-D", self.data, "-U", USER, f"--pwfile={secret}"]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **self.as_user)

    def start(self) -> None:
        """Start, and wait until it takes connections."""
        command = [self.binaries / "postgres", "-D", self.data, "-k", self.folder, "-c", "listen_addresses="]
        command += ["-c", "fsync=off", "-c", "max_connections=20"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self.as_user)
        end = time.monotonic() + 30
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.execute("SELECT 1")
                return
            except self._operational_error():
                time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL did not start: {self.log.read_text()[-1000:]}")

    def stop(self) -> None:
        """Stop at once, as in a power cut: whoever is connected loses the connection."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None

    def execute(self, query: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """The rows of one query, run by the server's owner outside of any transaction."""
        import psycopg

        where = {"host": str(self.folder), "user": USER, "password": PASSWORD, "dbname": database}
        with psycopg.connect(**where, autocommit=True) as connection:
            found = connection.execute(query)
            return found.fetchall() if found.description else []

    def url(self, database: str, scheme: str = "postgresql+psycopg") -> str:
        """The address of a database, with the password."""
        return f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@/{database}?host={self.folder}"

    @staticmethod
    def _operational_error() -> type[Exception]:
        import psycopg

        return psycopg.OperationalError


def _binaries() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest of several; Debian keeps them off PATH."""
    found = [Path(p).resolve().parent for p in (shutil.which("initdb"),) if p]
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    found += sorted(debian, key=lambda p: p.parent.name.zfill(4), reverse=True)
    return next((f for f in found if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _account() -> pwd.struct_passwd | None:
    """An unprivileged user to be when we are root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None
