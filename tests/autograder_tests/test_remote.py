"""The same checks with the student's code in other processes, which only answer calls."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys

import pytest

from autograder_tests import Local, answer_bytes, catalogue, checks_of, plain
from autograder_tests.remote import verdict
from tests.course import solutions

ASSIGNMENT = "03_masked_coupling"

# The other side: one namespace, framed requests on stdin, framed answers on stdout. "R" asks, "A" answers, "O" calls back.
SERVER = """
import os, struct, sys
from autograder_tests.catalogue import namespace_of
from autograder_tests.subject import answer_bytes
inp, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
def send(kind, data):
    out.write(kind + struct.pack("<Q", len(data)) + data); out.flush()
def receive():
    (size,) = struct.unpack("<Q", inp.read(8)); return inp.read(size)
namespace = namespace_of(receive().decode())
def outside(data):
    send(b"O", data); return receive()
while True:
    send(b"A", answer_bytes(namespace, receive(), outside))
"""


class Process:
    """One process with a student's code; a transport."""

    def __init__(self, source: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.send(source.encode())

    def send(self, data: bytes) -> None:
        self.popen.stdin.write(struct.pack("<Q", len(data)) + data)
        self.popen.stdin.flush()

    def receive(self) -> tuple[bytes, bytes]:
        head = self.popen.stdout.read(9)
        if len(head) < 9:
            raise RuntimeError("the process died")
        return head[:1], self.popen.stdout.read(struct.unpack("<Q", head[1:])[0])

    def __call__(self, payload: bytes, outside) -> bytes:
        self.send(payload)
        while True:
            kind, data = self.receive()
            if kind == b"A":
                return data
            self.send(outside(data))

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


@pytest.fixture
def remote():
    """Makes of source text a `connect`: two processes in turn, which end with the test."""
    made: list[Process] = []

    def make(source: str):
        turn = itertools.count()

        def connect() -> Process:
            number = next(turn)
            if number < 2:
                made.append(Process(source))
            return made[number % 2]

        return connect

    make.made = made
    yield make
    for process in made:
        process.close()


def with_mistake(exercise: str, name: str) -> str:
    entry = next(m for m in catalogue.load()["masked_coupling"] if (m.exercise, m.name) == (exercise, name))
    others = [s for n, s in solutions(ASSIGNMENT).items() if n != exercise]
    return "\n\n".join([*others, entry.source])


def test_the_solution_passes_every_check_in_two_processes(remote) -> None:
    subject = remote("\n\n".join(solutions(ASSIGNMENT).values()))
    for check_id in checks_of(ASSIGNMENT):
        outcome = verdict(ASSIGNMENT, check_id, subject)
        assert outcome.passed, outcome
    assert len(remote.made) == 2


def test_a_catalogued_mistake_is_named(remote) -> None:
    subject = remote(with_mistake("MaskedCouplingLayer", "inverse_log_det_sign"))
    outcome = verdict(ASSIGNMENT, "coupling_inverse_log_det_matches_jacobian", subject, seed=5)
    assert outcome.status == "failed"
    assert not outcome.hidden
    assert outcome.misconceptions == ("MaskedCouplingLayer.inverse_log_det_sign",)


def test_a_layer_that_memorizes_is_found_out_in_the_second_process(remote) -> None:
    subject = remote(with_mistake("MaskedCouplingLayer", "remembers_what_it_saw"))
    assert verdict(ASSIGNMENT, "coupling_inverse_undoes_forward", subject).status == "failed"


@pytest.mark.parametrize(
    "trick",
    [
        "torch.allclose = lambda *a, **k: True; np.allclose = torch.allclose",
        "import autograder_tests.compare as c; c.same = c.require = c.has_shape = lambda *a, **k: None",
        "import autograder_tests.check as c; c.Check.grade = lambda *a, **k: True",
        "import autograder_tests.subject as s; s.answer = lambda *a, **k: True",
        "import sys; sys.modules['autograder_tests.checks.masked_coupling'] = None",
    ],
)
def test_patching_what_the_process_holds_gains_nothing(remote, trick: str) -> None:
    wrong = with_mistake("MaskedCouplingLayer", "translation_inside_exponential")
    subject = remote(f"{wrong}\n{trick}\n")
    for check_id in ("coupling_formula", "coupling_log_det_matches_jacobian"):
        assert not verdict(ASSIGNMENT, check_id, subject).passed


@pytest.mark.parametrize("end", ["import os; os._exit(1)", "import os; os.kill(os.getpid(), 9)"])
def test_a_process_that_dies_fails_the_check_and_raises_nothing(remote, end: str) -> None:
    source = f"class MaskedCouplingLayer:\n    def __init__(self, *args):\n        {end}\n"
    outcome = verdict(ASSIGNMENT, "coupling_formula", remote(source))
    assert outcome.status == "error"
    assert "died" in outcome.what


def test_an_open_exercise_stays_open(remote) -> None:
    source = "def alternating_masks(D, K):\n    raise NotImplementedError('not answered yet')\n"
    assert verdict(ASSIGNMENT, "masks_alternate", remote(source)).status == "open"


@pytest.mark.parametrize("reply", [b"", b"garbage", plain.encode({"surprise": 1}), plain.encode(None)])
def test_answers_that_are_none_are_failures(reply: bytes) -> None:
    subject = lambda: lambda payload, outside: reply  # noqa: E731
    assert verdict(ASSIGNMENT, "coupling_formula", subject).status in ("failed", "error")


def test_a_process_may_call_only_what_it_was_given() -> None:
    def transport(payload: bytes, outside) -> bytes:
        return outside(plain.encode(["not a number", []]))

    outcome = verdict(ASSIGNMENT, "property_test_accepts_healthy_layers", lambda: transport)
    assert outcome.status == "error"
    assert "WireError" in outcome.what


def test_what_only_hidden_cases_show_is_said() -> None:
    """An answer that is right for the sizes of the visible case alone."""
    source = solutions(ASSIGNMENT)["alternating_masks"] + (
        "\nright = alternating_masks\n"
        "def alternating_masks(D, K):\n    return right(D, K) if known(D, K) else 0 * right(D, K)\n"
    )
    names, seen = catalogue.namespace_of(source), set()
    names["known"] = lambda D, K: seen.add((D, K)) is None
    checks_of(ASSIGNMENT)["masks_alternate"].grade(Local(names))
    names["known"] = lambda D, K: (D, K) in seen

    def connect():
        return lambda payload, outside: answer_bytes(names, payload, outside)

    outcome = verdict(ASSIGNMENT, "masks_alternate", connect)
    assert (outcome.status, outcome.hidden) == ("failed", True)
