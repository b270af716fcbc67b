"""Outputs as they are collected in the child, and as they are checked when they arrive."""

from __future__ import annotations

import json
import threading

import nbformat
import pytest

from coursekit.isolate.outputs import CUT, Collector, Stream
from coursekit.isolate.received import OutputsError, checked_outputs


def test_streams_are_joined_until_something_else_comes():
    collector = Collector(1000)
    out, err = Stream("stdout", collector), Stream("stderr", collector)
    print("a", file=out)
    print("b", file=out)
    print("c", file=err)
    collector.display({"text/plain": "d"}, {})
    print("e", file=out)
    kinds = [(o["output_type"], o.get("text")) for o in collector.finish()]
    assert kinds == [("stream", "a\nb\n"), ("stream", "c\n"), ("display_data", None), ("stream", "e\n")]


def test_output_is_cut_off_and_the_error_kept():
    collector = Collector(100)
    for _ in range(1000):
        collector.write("stdout", "x" * 60)
    collector.display({"image/png": b"y" * 1000}, {})
    collector.error("ValueError", "wrong", ["one", "two"])
    shown = collector.finish()
    assert [o["output_type"] for o in shown] == ["stream", "stream", "error"]
    assert shown[0]["text"] == "x" * 100
    assert shown[1]["text"] == CUT


def test_many_small_outputs_are_cut_off_too():
    collector = Collector(1_000_000)
    for k in range(20_000):
        collector.write(("stdout", "stderr")[k % 2], "x")
    shown = collector.finish()
    assert 5_000 <= len(shown) <= 5_002
    assert shown[-1]["text"] == CUT
    assert len(checked_outputs(json.dumps(shown).encode())) == len(shown)


def test_an_endless_traceback_is_cut():
    collector = Collector(100)
    collector.error("E", "v" * 1000, ["x" * 70, "y" * 70, "z"])
    (error,) = collector.finish()
    assert error["evalue"] == "v" * 100
    assert error["traceback"] == ["x" * 70, "y" * 30]


def test_clear_waits_for_the_next_output():
    collector = Collector(100)
    collector.write("stdout", "old")
    collector.clear(wait=True)
    assert collector.finish()[0]["text"] == "old"
    collector.write("stdout", "new")
    assert [o["text"] for o in collector.finish()] == ["new"]


def test_threads_may_print_at_once():
    collector = Collector(1_000_000)
    out, err = Stream("stdout", collector), Stream("stderr", collector)

    def chatter() -> None:
        for _ in range(300):
            print("o", file=out, end="")
            print("e", file=err, end="")

    threads = [threading.Thread(target=chatter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = "".join(o["text"] for o in collector.finish())
    assert sorted(text) == ["e"] * 1200 + ["o"] * 1200


def test_a_stream_takes_text_only():
    with pytest.raises(TypeError, match="must be str, not bytes"):
        Stream("stdout", Collector(10)).write(b"x")


GOOD = [
    {"output_type": "stream", "name": "stderr", "text": "a\ud800b"},
    {
        "output_type": "display_data",
        "data": {"text/plain": "x", "application/json": {"y": 1}},
        "metadata": {},
    },
    {"output_type": "execute_result", "data": {}, "metadata": {"image/png": {"w": 3}}, "execution_count": 2},
    {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]},
]


def test_good_outputs_make_a_valid_notebook():
    outputs = checked_outputs(json.dumps(GOOD).encode())
    assert [o.output_type for o in outputs] == [o["output_type"] for o in GOOD]
    cell = nbformat.v4.new_code_cell(outputs=outputs)
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
    assert outputs[0].text == "a?b"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff",
        b"[1]",
        b"[" * 100_000,
        b'[{"output_type": "pickle"}]',
        b'[{"output_type": ["stream"]}]',
        b'[{"output_type": "stream", "name": "stdout", "text": 1}]',
        b'[{"output_type": "error", "ename": "E", "evalue": "", "traceback": 3}]',
        b'[{"output_type": "display_data", "data": [], "metadata": {}}]',
        b'[{"output_type": "display_data", "data": {"image/png": {}}, "metadata": {}}]',
        b'[{"output_type": "execute_result", "data": {}, "metadata": {}, "execution_count": true}]',
        json.dumps([GOOD[0]] * 10_001).encode(),
    ],
    ids=range(13),
)
def test_anything_else_is_refused(data: bytes):
    with pytest.raises(OutputsError):
        checked_outputs(data)
