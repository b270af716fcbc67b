"""Calls: bytes in and out, questions back to the trusted side, and what a hostile child can answer."""

from __future__ import annotations

import numpy as np
import pytest

from autograder_tests import plain
from autograder_tests.plain import Make, Raised, Request
from coursekit.isolate.bare import Bare
from coursekit.isolate.handle import CallFailed, Child, ChildDied
from coursekit.isolate.launch import Launcher
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Setup
from tests.coursekit.isolate.conftest import QUICK, stdout


def test_a_call_sees_the_student_s_names(child: Child):
    child.run_cell("def double(x):\n    print('noise')\n    return 2 * x")
    assert child.call(b"double(21)") == b"42"
    assert stdout(child, "print('next')") == "next\n"


def test_questions_go_back_while_the_call_lasts(child: Child):
    asked: list[bytes] = []

    def outside(question: bytes) -> bytes:
        asked.append(question)
        return question.upper()

    assert child.call(b"ask('a') + ask('b')", outside) == b"AB"
    assert asked == [b"a", b"b"]
    assert child.call(b"ask is None") == b"True"


def test_an_error_of_the_trusted_side_is_the_caller_s_to_catch(child: Child):
    def outside(question: bytes) -> bytes:
        raise ValueError("not like this")

    child.run_cell(
        "def attempt(ask):\n    try:\n        ask('x')\n    except RuntimeError as e:\n        return str(e)"
    )
    assert child.call(b"attempt(ask)", outside) == b"ValueError: not like this"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"1 / 0", "ZeroDivisionError"),
        (b"exec('raise SystemExit(1)')", "SystemExit"),
        (b"bytes(3 << 20)", "payload of at most"),
        (b"exec('while True: pass')", "stopped after 1 s"),
    ],
)
def test_a_call_without_an_answer_leaves_the_child_alive(forked: Launcher, code: bytes, words: str):
    limits = Limits(request_seconds=1.0, message_bytes=2 << 20, memory=1 << 30)
    with forked.start(limits) as child:
        with pytest.raises(CallFailed, match=words):
            child.call(code)
        assert child.status == "running"
        assert child.call(b"1 + 1") == b"2"


FORGERIES = {
    "an answer before the question": "say({'kind': 'done', 'n': 9}, b'forged')",
    "another kind": "say({'kind': 'grade', 'n': N})",
    "a question where none is allowed": "say({'kind': 'outside', 'n': N}, b'x')",
    "a failure without words": "say({'kind': 'failed', 'n': N, 'why': 3})",
    "a cell without a number": "say({'kind': 'done', 'n': N, 'count': 'x'}, b'[]')",
    "outputs that are none": "say({'kind': 'done', 'n': N, 'count': 1}, b'{}')",
    "no header": "os.write(OUT, b'garbage' * 9)",
}


@pytest.mark.parametrize("source", FORGERIES.values(), ids=FORGERIES)
def test_forged_messages_end_the_child(forked: Launcher, source: str):
    helpers = """
import fcntl, json, os, struct
N = 2
# The end that is open for writing.
OUT = next(fd for fd in range(400, 410) if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY)
def say(header, payload=b""):
    head = json.dumps(header).encode()
    os.write(OUT, struct.pack("<II", len(head), len(payload)) + head + payload)
"""
    with forked.start(QUICK) as child:
        assert not child.run_cell(helpers).outputs
        with pytest.raises(ChildDied, match="protocol error"):
            child.run_cell(source)
        assert child.status.startswith("protocol error")
        with pytest.raises(ChildDied, match="protocol error"):
            child.call(b"1")


def test_too_much_in_all(forked: Launcher):
    with (
        forked.start(Limits(run_bytes=3 << 20, memory=1 << 30)) as child,
        pytest.raises(ChildDied, match="in all"),
    ):
        _call_often(child)


def _call_often(child: Child) -> None:
    for _ in range(4):
        child.call(b"bytes(1 << 20)")


def test_a_course_without_checks_says_so():
    with Bare(Setup()).start(QUICK) as child, pytest.raises(CallFailed, match="names no module"):
        child.call(b"1")


def test_a_check_s_own_request_is_answered():
    """The course's hook, with arrays, a function of the checker's and a student's error."""
    with Bare(Setup((), "autograder_tests")).start(QUICK) as child:
        child.run_cell(
            "import torch\ndef twice(f, x):\n    return f(f(x))\ndef wrong():\n    raise ValueError('no')"
        )
        x = np.arange(3.0)

        def outside(payload: bytes) -> bytes:
            number, (values,) = plain.decode(payload)
            assert number == 0
            return plain.encode(values + 1)

        request = Request("student:twice", args=(Make("outside", (0,)), x))
        np.testing.assert_array_equal(plain.decode(child.call(plain.encode(request), outside)), x + 2)
        raised = plain.decode(child.call(plain.encode(Request("student:wrong"))))
        assert isinstance(raised, Raised)
        assert (raised.type, raised.message) == ("ValueError", "no")
        with pytest.raises(CallFailed, match="WireError"):
            child.call(b"not a request")
