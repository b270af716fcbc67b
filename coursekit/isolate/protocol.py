"""Framed messages over two file descriptors: a small JSON header and opaque bytes. Nothing is ever unpickled.

A frame is `<header bytes: u32><payload bytes: u32><JSON header><payload>`. Both sizes are checked before anything
is read, whatever the other side claims, and each wait has a deadline.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

__all__ = ["Channel", "Closed", "DeadlineError", "ProtocolError"]

_SIZES = struct.Struct("<II")
_CHUNK = 1 << 20
MAX_HEADER = 64 << 10


class ProtocolError(ValueError):
    """A message is malformed or larger than allowed; nothing more can be read from its sender."""


class Closed(EOFError):
    """The other side has closed the channel."""


class DeadlineError(TimeoutError):
    """The other side did not read or write in time."""


class Channel:
    """One side of the conversation. It owns both descriptors.

    Args:
        read_fd, write_fd: where frames come from and go to; they are made non-blocking.
        max_payload: bytes of one payload, either way.
        max_total: bytes that may be received in all.
    """

    def __init__(
        self, read_fd: int, write_fd: int, *, max_payload: int = 64 << 20, max_total: int = 1 << 30
    ) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        self.max_payload, self.max_total = max_payload, max_total
        self.received = 0
        self._ahead = bytearray()  # read, and not yet asked for
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)

    def send(self, header: dict[str, Any], payload: bytes = b"", deadline: float | None = None) -> None:
        """Write one frame; `deadline` is a time of `time.monotonic()`.

        Raises:
            ProtocolError: the message is larger than the other side would read.
            Closed, DeadlineError: it does not read any more, or not in time.
        """
        head = json.dumps(header).encode()
        self._check_sizes(len(head), len(payload))
        data = memoryview(_SIZES.pack(len(head), len(payload)) + head + payload)
        while data:
            try:
                data = data[os.write(self.write_fd, data[:_CHUNK]) :]
            except BlockingIOError:
                self._wait(self.write_fd, select.POLLOUT, deadline)
            except OSError as error:  # a broken pipe, or a descriptor that somebody closed
                raise Closed(f"cannot write: {error.strerror}") from None

    def receive(self, deadline: float | None = None) -> tuple[dict[str, Any], bytes]:
        """Read one frame: header and payload.

        Raises:
            ProtocolError: it is malformed or too large.
            Closed, DeadlineError: it does not come, or not in time.
        """
        head_size, payload_size = _SIZES.unpack(self._read(_SIZES.size, deadline))
        self._check_sizes(head_size, payload_size)
        size = _SIZES.size + head_size + payload_size
        if self.received + size > self.max_total:
            raise ProtocolError(f"expected at most {self.max_total} bytes in all")
        self.received += size
        head = self._read(head_size, deadline)
        try:
            header = json.loads(head)
        except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
            raise ProtocolError("expected a JSON header") from None
        if not isinstance(header, dict):
            raise ProtocolError(f"expected a JSON object as header, got {type(header).__name__}")
        return header, self._read(payload_size, deadline)

    def close(self) -> None:
        """Close both descriptors; twice does no harm."""
        for fd in {self.read_fd, self.write_fd} - {-1}:
            os.close(fd)
        self.read_fd = self.write_fd = -1

    def _check_sizes(self, head: int, payload: int) -> None:
        if head > MAX_HEADER:
            raise ProtocolError(f"expected a header of at most {MAX_HEADER} bytes, got {head}")
        if payload > self.max_payload:
            raise ProtocolError(f"expected a payload of at most {self.max_payload} bytes, got {payload}")

    def _read(self, size: int, deadline: float | None) -> bytes:
        # Grows with what really comes: a claimed size alone costs no memory. A small frame comes with one read.
        ahead = self._ahead
        while len(ahead) < size:
            try:
                chunk = os.read(self.read_fd, _CHUNK)
            except BlockingIOError:
                self._wait(self.read_fd, select.POLLIN, deadline)
                continue
            except OSError as error:
                raise Closed(f"cannot read: {error.strerror}") from None
            if not chunk:
                raise Closed("the other side has closed the channel")
            ahead += chunk
        with memoryview(ahead) as view:
            data = bytes(view[:size])
        del ahead[:size]
        return data

    @staticmethod
    def _wait(fd: int, event: int, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise DeadlineError("no time left")
        poll = select.poll()
        poll.register(fd, event)
        if not poll.poll(None if left is None else left * 1000):
            raise DeadlineError(f"nothing happened for {left:.3g} s")
