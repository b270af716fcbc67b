"""The frame: what it carries, and what a hostile sender can do to its reader."""

from __future__ import annotations

import json
import os
import random
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from coursekit.isolate.protocol import MAX_HEADER, Channel, Closed, DeadlineError, ProtocolError

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    (a_in, b_out), (b_in, a_out) = os.pipe(), os.pipe()
    channels = Channel(a_in, a_out, max_payload=4 << 20), Channel(b_in, b_out, max_payload=4 << 20)
    yield channels
    for channel in channels:
        channel.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(256)) * 8000], ids=len)
def test_header_and_payload_arrive(pair: Pair, payload: bytes):
    here, there = pair
    sender = threading.Thread(target=here.send, args=({"kind": "é", "n": 1}, payload, soon()))
    sender.start()
    assert there.receive(soon()) == ({"kind": "é", "n": 1}, payload)
    sender.join()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (struct.pack("<II", MAX_HEADER + 1, 0), "header of at most"),
        (struct.pack("<II", 2, (4 << 20) + 1) + b"{}", "payload of at most"),
        (b"\xff" * 64, "header of at most"),
        (struct.pack("<II", 3, 0) + b"\xff\xfe\xfd", "JSON header"),
        (struct.pack("<II", 2, 0) + b"[]", "JSON object"),
        (struct.pack("<II", 60_000, 0) + b"[" * 60_000, "JSON header"),
        (struct.pack("<II", 9_000, 0) + b'{"n":' + b"9" * 8_994 + b"}", "JSON header"),
    ],
)
def test_malformed_frames_are_refused(pair: Pair, data: bytes, words: str):
    here, there = pair
    os.write(here.write_fd, data)
    with pytest.raises(ProtocolError, match=words):
        there.receive(soon())


def test_a_claimed_size_alone_costs_no_memory_and_waits_no_longer_than_the_deadline(pair: Pair):
    here, there = pair
    os.write(here.write_fd, struct.pack("<II", 2, 4 << 20) + b"{}" + b"x" * 10)
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        there.receive(soon(0.2))
    assert 0.1 < time.monotonic() - began < 3


def test_a_slow_sender_does_not_move_the_deadline(pair: Pair):
    here, there = pair
    stop = threading.Event()

    def drip() -> None:
        os.write(here.write_fd, struct.pack("<II", 2, 1000) + b"{}")
        while not stop.wait(0.02):
            os.write(here.write_fd, b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(DeadlineError):
        there.receive(soon(0.3))
    stop.set()
    thread.join()


def test_a_reader_that_does_not_read_is_given_up(pair: Pair):
    with pytest.raises(DeadlineError):
        pair[0].send({}, bytes(4 << 20), soon(0.2))


def test_the_end_of_the_other_side(pair: Pair):
    here, there = pair
    os.write(here.write_fd, struct.pack("<II", 2, 5) + b"{}x")
    here.close()
    with pytest.raises(Closed):
        there.receive(soon())
    with pytest.raises(Closed):
        there.send({}, b"", soon())


def test_a_descriptor_closed_by_somebody_is_a_closed_channel(pair: Pair):
    here, _ = pair
    copies = os.dup(here.read_fd), os.dup(here.write_fd)
    lost = Channel(*copies)
    for fd in copies:
        os.close(fd)
    with pytest.raises(Closed):
        lost.send({}, b"", soon())
    with pytest.raises(Closed):
        lost.receive(soon())


def test_total_bytes_are_capped(pair: Pair):
    here, there = pair
    there.max_total = 3000
    for _ in range(2):
        here.send({}, bytes(1000), soon())
        there.receive(soon())
    here.send({}, bytes(1000), soon())
    with pytest.raises(ProtocolError, match="in all"):
        there.receive(soon())


def test_too_large_to_send(pair: Pair):
    with pytest.raises(ProtocolError, match="payload"):
        pair[0].send({}, bytes((4 << 20) + 1), soon())
    with pytest.raises(ProtocolError, match="header"):
        pair[0].send({"x": "y" * MAX_HEADER}, b"", soon())


def _mutations(rng: random.Random, frame: bytes) -> bytes:
    data = bytearray(frame)
    operations: list[Callable[[], None]] = [
        lambda: data.__setitem__(rng.randrange(len(data)), rng.randrange(256)),
        lambda: data.__delitem__(slice(rng.randrange(len(data)), None)),
        lambda: data.extend(rng.randbytes(rng.randrange(1, 50))),
        lambda: data.insert(rng.randrange(len(data)), rng.randrange(256)),
    ]
    for _ in range(rng.randrange(1, 4)):
        if data:
            rng.choice(operations)()
    return bytes(data)


def test_fuzzed_frames_end_in_a_message_or_a_known_error():
    rng = random.Random(0)
    head = json.dumps({"kind": "done", "n": 3, "count": 1}).encode()
    frame = struct.pack("<II", len(head), 20) + head + bytes(20)
    seen = set()
    for _ in range(500):
        read_fd, write_fd = os.pipe()
        os.write(write_fd, _mutations(rng, frame))
        os.close(write_fd)
        null = os.open(os.devnull, os.O_WRONLY)
        channel = Channel(read_fd, null, max_payload=1 << 16)
        try:
            header, payload = channel.receive(soon())
            assert isinstance(header, dict)
            assert len(payload) <= 1 << 16
            seen.add("message")
        except (ProtocolError, Closed) as error:
            seen.add(type(error).__name__)
        finally:
            channel.close()
    assert seen == {"message", "ProtocolError", "Closed"}
