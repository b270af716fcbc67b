"""Grade on a Dask distributed cluster, which is given by the address of its scheduler.

`dask scheduler` and one `dask worker ADDRESS --nthreads 1` for each core make one; dask-jobqueue makes one on SLURM,
dask-kubernetes on Kubernetes. The course must be installed on the workers, in the same version. Workers may come and go.

An address that begins with `tls://` needs no option here: Dask takes the certificates from its own configuration, such as
`DASK_DISTRIBUTED__COMM__TLS__CA_FILE`, `…__TLS__CLIENT__CERT` and `…__TLS__CLIENT__KEY`. Without TLS whoever reaches the
scheduler's port can run code as its user: keep it on a network that one trusts.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from typing import Any

from coursekit.errors import CourseError
from coursekit.grading import Bundle
from coursekit.pool import Local, LostError
from coursekit.processes import WorkerDied

__all__ = ["Cluster", "grade_beside"]

# A scheduler without workers: a queueing system may be about to start some.
_WITHOUT_WORKERS = 300.0
# Between two questions how many there are.
_COUNT = 5.0
# Processes of a worker that nobody needs any more.
_IDLE = 300.0


class Cluster:
    """A `Pool` on other machines.

    Args:
        address: of the scheduler, such as tcp://host:8786.
        connect_seconds: how long to wait for it, and for its first worker.

    Raises:
        LostError: no scheduler answers, or it has no workers.
    """

    def __init__(self, isolation: str, address: str, *, connect_seconds: float = 15.0) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise CourseError("--scheduler needs Dask distributed: pip install distributed") from None
        self._address, self._isolation = address, isolation
        # They write tracebacks of what is told in one line here.
        for name in [n for n in logging.root.manager.loggerDict if n.split(".")[0] == "distributed"]:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if address.startswith("tls://") and not _has_certificates():
            raise LostError(
                f"{address} needs certificates: DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__TLS__CLIENT__CERT and"
                " …__TLS__CLIENT__KEY say where they are"
            )
        try:
            self._client = Client(address, timeout=connect_seconds, set_as_default=False)
        except Exception as error:  # whatever the address is like, and whatever answers there
            raise LostError(f"no scheduler answers at {address}: {_words(error)}") from None
        try:
            self._client.wait_for_workers(1, timeout=connect_seconds)
        except (OSError, TimeoutError):
            self._client.close()
            raise LostError(f"the scheduler at {address} has no workers") from None
        self._size, self._counted, self._seen = 1, 0.0, time.monotonic()

    @property
    def size(self) -> int:
        """Threads of all its workers, as of some seconds ago."""
        if time.monotonic() - self._counted > _COUNT:
            self.check()
        return max(1, self._size)

    def submit(self, data: bytes, bundle: Bundle) -> Future:
        """Send it to one of the workers; the future raises what happens there."""
        import dask

        self._still_there()
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GB"}):
            # The same bytes twice are two students: pure functions would be called once.
            theirs = self._client.submit(grade_beside, data, bundle, self._isolation, pure=False)
        made: Future = Future()
        made.theirs = theirs  # type: ignore[attr-defined]  # Dask forgets a task that nobody holds
        theirs.add_done_callback(lambda finished: self._pass_on(finished, made))
        return made

    def check(self) -> None:
        """Raises LostError when the scheduler is gone, or has been without workers for minutes."""
        self._still_there()
        now = time.monotonic()
        try:
            self._size = sum(self._client.nthreads().values())
        except (OSError, TimeoutError, RuntimeError):
            raise self._lost() from None
        self._counted = now
        self._seen = now if self._size else self._seen
        if now - self._seen > _WITHOUT_WORKERS:
            raise LostError(f"the scheduler at {self._address} has had no workers for {_WITHOUT_WORKERS:g} s")

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close(timeout=5)

    def _pass_on(self, theirs: Any, made: Future) -> None:
        """In Dask's own thread: what became of a task."""
        from distributed.scheduler import KilledWorker

        try:
            if theirs.status == "finished":
                made.set_result(theirs.result(timeout=60))
                return
            error = theirs.exception(timeout=60) if theirs.status == "error" else self._lost()
        except BaseException:
            error = self._lost()
        if isinstance(error, KilledWorker):
            error = WorkerDied("the workers that worked on it died")
        made.set_exception(error)

    def _still_there(self) -> None:
        if self._client.status != "running":
            raise self._lost()

    def _lost(self) -> LostError:
        return LostError(f"the scheduler at {self._address} is gone")


_pools: dict[tuple[str, str], Local] = {}
_lock = threading.Lock()


def grade_beside(data: bytes, bundle: Bundle, isolation: str) -> dict[str, Any]:
    """On a Dask worker: grade in a process beside it.

    So a crash or a hang costs one submission and no worker, threads of the worker do not share the global state of numpy
    and sympy, and a course that was updated since is imported anew.

    Raises:
        as `coursekit.worker.grade_task`; WorkerDied, TookTooLong.
    """
    from distributed import get_worker

    with _lock:
        key = isolation, bundle.code
        if key not in _pools:
            _pools[key] = Local(isolation, get_worker().state.nthreads, bundle, idle_seconds=_IDLE)
    return _pools[key].submit(data, bundle).result()


def _has_certificates() -> bool:
    """Whether Dask's configuration has what a client needs for TLS; without it `Client` fails only half."""
    from distributed.security import Security

    return Security().get_connection_args("client").get("ssl_context") is not None


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
