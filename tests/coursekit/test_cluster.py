"""The same grading on a Dask cluster: workers, and the scheduler, may go in the middle."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time

import psutil
import pytest

from coursekit.class_folder import ClassFolder
from coursekit.cluster import Cluster
from coursekit.errors import CourseError
from coursekit.pool import LostError

from .conftest import CHECKS, NAME, answered, hand_in, released
from .dask_cluster import DaskCluster, children
from .runs import Run, find, until
from .test_faults import BAD_VERDICT, FULL, SLOW, assert_all_graded, command, grade, rows_of

# Dask's own client leaves sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def kept(course, students):
    """What is in their files, times and memory left out."""
    folder, drop = ClassFolder(course.root, NAME), {"seconds", "cpu_seconds", "peak_mb"}
    found = {s: folder.result(s).to_json() for s in students}
    return {s: {k: v for k, v in result.items() if k not in drop} for s, result in found.items()}


@pytest.mark.slow
def test_the_same_results_and_a_worker_may_be_killed(course, tmp_path):
    """One worker under a nanny, as Dask starts them by itself, and one without, which is killed."""
    nb = released(course)
    for i in range(4):
        hand_in(course.root, f"s{i}", answered(nb, square=SLOW))
    hand_in(course.root, "wrong", answered(nb, square="def square(x):\n    return x + x"))
    here = kept(course, grade(course))
    with DaskCluster(tmp_path / "dask") as cluster:
        doomed = cluster.worker("--no-nanny", path=course.root)
        cluster.worker("--nanny", path=course.root)
        more = ("--force", "--no-feedback", "--scheduler", cluster.address)
        with Run(course.root, *command(*more)) as run:
            until(lambda: find(children(doomed), "coursekit.isolate.child"), 90)
            beside = children(doomed)
            doomed.kill()
            code, out, err = run.finish()
            assert (code, err) == (0, "")
        rows = rows_of(out)
        assert {s: r["points"] for s, r in rows.items()} == {s: FULL - 3 * (s == "wrong") for s in rows}
        assert kept(course, rows) == here
        # What the killed worker had started ends by itself; the cluster stays for the next run.
        assert not psutil.wait_procs(beside, timeout=10)[1]
        assert grade(course, scheduler=cluster.address, force=True, students=["s0"])["s0"].status == "graded"


@pytest.mark.slow
def test_the_scheduler_is_killed(course, tmp_path):
    students = [f"s{i}" for i in range(4)]
    for student in students:
        hand_in(course.root, student, answered(released(course), square=SLOW))
    with DaskCluster(tmp_path / "dask") as cluster:
        cluster.worker("--no-nanny", path=course.root)
        with Run(course.root, *command("--scheduler", cluster.address)) as run:
            until(lambda: list(course.root.glob("results/*/*.json")), 90)
            cluster.scheduler.kill()
            began = time.monotonic()
            code, out, err = run.finish()
            assert time.monotonic() - began < 20
    done = len(list(course.root.glob("results/*/*.json")))
    assert 1 <= done < 4
    assert (code, out) == (2, "")
    assert err == (
        f"coursekit: the scheduler at {cluster.address} is gone; {done} of 4 are graded and kept: run again\n"
    )
    assert sum(g.reused for g in grade(course).values()) == done
    assert_all_graded(course, students)


@pytest.mark.slow
def test_a_bad_submission_costs_no_worker(course, tmp_path):
    """A verdict that kills its process does not kill Dask's, which would try it on one worker after the other."""
    (course.root / "tiny_checks.py").write_text(BAD_VERDICT, encoding="utf-8")
    hand_in(course.root, "die", answered(released(course), square="def square(x):\n    return 'die'"))
    hand_in(course.root, "good", answered(released(course)))
    with DaskCluster(tmp_path / "dask") as cluster:
        worker = cluster.worker("--no-nanny", path=course.root)
        graded = grade(course, scheduler=cluster.address)
        assert worker.poll() is None
    assert graded["good"].standing.points == FULL
    assert graded["die"].message == "WorkerDied: the process that worked on it died (killed by signal 9)"


@pytest.mark.slow
def test_a_worker_with_other_packages(course, tmp_path):
    hand_in(course.root, "a", answered(released(course)))
    other = tmp_path / "other"
    other.mkdir()
    (other / "tiny_checks.py").write_text(CHECKS + "\n", encoding="utf-8")
    with DaskCluster(tmp_path / "dask") as cluster:
        cluster.worker("--no-nanny", path=other)
        with pytest.raises(LostError) as caught:
            grade(course, scheduler=cluster.address)
    assert str(caught.value).startswith(
        "tiny_checks: expected the course's packages as they are where grading"
    )
    assert socket.gethostname() in str(caught.value)
    assert str(caught.value).endswith("; 0 of 1 are graded and kept: run again")


def test_addresses_where_nobody_grades(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    for address in (nobody, "nonsense", "http://127.0.0.1:1"):
        began = time.monotonic()
        with pytest.raises(CourseError, match=f"^no scheduler answers at {address}: "):
            Cluster("none", address, connect_seconds=1)
        assert time.monotonic() - began < 10
    with DaskCluster(tmp_path) as cluster, pytest.raises(LostError, match="has no workers"):
        Cluster("none", cluster.address, connect_seconds=1)


@pytest.mark.slow
def test_a_cluster_that_loses_all_workers_is_not_waited_for_for_ever(tmp_path, course, monkeypatch):
    monkeypatch.setattr("coursekit.cluster._WITHOUT_WORKERS", 1.0)
    monkeypatch.setattr("coursekit.pool._LOOK", 0.5)
    hand_in(course.root, "a", answered(released(course), square=SLOW.replace("2", "30")))
    with DaskCluster(tmp_path / "dask") as cluster:
        worker = cluster.worker("--no-nanny", path=course.root)

        def kill():
            until(lambda: find(children(worker), "coursekit.isolate.child"), 90)
            worker.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(LostError, match=r"has had no workers for 1 s; 0 of 1 are graded"):
            grade(course, scheduler=cluster.address)
        killer.join()


@pytest.mark.slow
def test_tls_by_dasks_own_configuration(course, tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-keyout", str(key), "-out", str(certificate)],
        capture_output=True, check=True,
    )  # fmt: skip
    tls = {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in {
        "CA_FILE": certificate,
        **{f"{role}__{kind}": path for role in ("SCHEDULER", "WORKER", "CLIENT")
           for kind, path in (("CERT", certificate), ("KEY", key))},
    }.items()}  # fmt: skip
    hand_in(course.root, "a", answered(released(course)))
    with DaskCluster(tmp_path / "dask", env=tls, protocol="tls") as cluster:
        assert cluster.address.startswith("tls://")
        cluster.worker("--no-nanny", path=course.root)
        arguments = command("--no-feedback", "--scheduler", cluster.address)
        with Run(course.root, *arguments, env={**os.environ, **tls}) as run:
            code, _, err = run.finish()
            assert (code, err) == (0, "")
        with Run(course.root, *arguments, "--force") as run:  # without the certificates
            code, _, err = run.finish()
            assert code == 2
            assert err.startswith(f"coursekit: {cluster.address} needs certificates: ")
            assert err.count("\n") == 1
