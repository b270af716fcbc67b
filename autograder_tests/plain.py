"""The plain data that may cross between a check and a student's code, and its bytes.

A check asks (`Request`) and gets an answer that is made of nothing but None, bool, int, float, str, lists, dicts,
numpy arrays, sympy text (`Expression`), errors (`Raised`) and the name of anything else (`Opaque`). Nothing is ever
unpickled: on the wire there is one JSON header and the raw bytes of the arrays, whose size is checked before reading.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Expression", "Make", "Opaque", "Plain", "Raised", "Request", "WireError", "decode", "encode"]

Plain = Any  # recursive: see the module's docstring
DTYPES = ("float64", "float32", "int64", "int32", "bool", "complex128")
MAX_BYTES = 64 << 20
MAX_DEPTH = 32
# Parsed, a header takes thirty times its bytes; numbers travel behind it, in arrays.
MAX_HEADER = 4 << 20


class WireError(ValueError):
    """A message is not of the wire's form or is too large."""


@dataclass(frozen=True)
class Make:
    """What to build, as plain data: built wherever the student's code lives.

    `name` is `"student:Flow"` (the student's object, called with `args` and `kwargs`) or a builder's key such as `"mlp"`
    (see `autograder_tests.builders`). Arguments may be `Make`s themselves, alone or in tuples and lists.

    >>> Make("student:Rescaling", (3,))
    Make(name='student:Rescaling', args=(3,), kwargs={})
    """

    name: str
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Expression:
    """The text of a sympy answer; evaluated by `autograder_tests.expressions`, never by sympy."""

    text: str

    def __post_init__(self) -> None:
        _must_be(str, self.text)


@dataclass(frozen=True)
class Opaque:
    """Something that does not cross: only the name of its type does."""

    type: str

    def __post_init__(self) -> None:
        _must_be(str, self.type)


@dataclass(frozen=True)
class Raised:
    """The call raised: names of the exception's classes (most special first), its message, where in the student's code.

    `open` when it is the NotImplementedError of an exercise that is still to be answered.
    """

    types: tuple[str, ...]
    message: str
    where: str = ""
    open: bool = False

    def __post_init__(self) -> None:
        _must_be(tuple, self.types)
        if not self.types:
            raise TypeError("expected the name of an exception")
        _must_be(str, *self.types, self.message, self.where)
        _must_be(bool, self.open)

    @property
    def type(self) -> str:
        return self.types[0]


@dataclass(frozen=True)
class Request:
    """One call: build `what`, follow `method`, call it with `args`; `grad` names arguments to differentiate by."""

    what: Make | str
    method: str = ""
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    grad: tuple = ()
    seed: int = 0


def _must_be(kind: type, *values: Any) -> None:
    # These records come from the other side, too.
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")


# Every dataclass that crosses, by the tag that marks it in the JSON header.
_RECORDS = {cls.__name__: cls for cls in (Make, Expression, Opaque, Raised, Request)}


def encode(value: Plain) -> bytes:
    """Plain data to bytes: `<Q header length><JSON header><raw arrays>`.

    >>> decode(encode({"x": np.arange(3.0), "who": Make("mlp", (2, 2, 0))}))
    {'x': array([0., 1., 2.]), 'who': Make(name='mlp', args=(2, 2, 0), kwargs={})}

    Raises:
        WireError: for anything that is not plain data.
    """
    blobs: list[bytes] = []

    def pack(v: Any, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise WireError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(v, np.ndarray):
            if v.dtype.name not in DTYPES:
                raise WireError(f"expected an array of {', '.join(DTYPES)}, got {v.dtype}")
            blobs.append(np.ascontiguousarray(v).astype(v.dtype.newbyteorder("<"), copy=False).tobytes())
            return {"": "array", "dtype": v.dtype.name, "shape": list(v.shape)}
        if isinstance(v, np.generic):
            return pack(v.item(), depth)
        if v is None or isinstance(v, (bool, int, str)):
            return v
        if isinstance(v, float):
            # JSON has no words for these three.
            return v if math.isfinite(v) else {"": "float", "is": repr(v)}
        if isinstance(v, tuple(_RECORDS.values())):
            return {"": type(v).__name__} | {k: pack(w, depth + 1) for k, w in vars(v).items()}
        if isinstance(v, tuple):
            return {"": "tuple", "of": [pack(w, depth + 1) for w in v]}
        if isinstance(v, list):
            return [pack(w, depth + 1) for w in v]
        if isinstance(v, dict):
            if not all(isinstance(k, str) for k in v):
                raise WireError("expected text as keys of a dict")
            return {"": "dict", "of": {k: pack(w, depth + 1) for k, w in v.items()}}
        raise WireError(f"expected plain data, got {type(v).__name__}")

    header = json.dumps(pack(value)).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(blobs)


def decode(data: bytes, max_bytes: int = MAX_BYTES) -> Plain:
    """Bytes to plain data; every size is checked before anything is read.

    Raises:
        WireError: when the message is malformed, truncated, or larger than `max_bytes`.
    """
    if len(data) > max_bytes:
        raise WireError(f"expected at most {max_bytes} bytes, got {len(data)}")
    if len(data) < 8:
        raise WireError(f"expected a header, got {len(data)} bytes")
    (size,) = struct.unpack_from("<Q", data)
    if size > len(data) - 8:
        raise WireError(f"expected a header of {size} bytes, got {len(data) - 8}")
    if size > MAX_HEADER:
        raise WireError(f"expected a header of at most {MAX_HEADER} bytes, got {size}")
    try:
        header = json.loads(data[8 : 8 + size])
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise WireError(f"expected a JSON header: {error}") from None
    offset = 8 + size

    def array(h: dict) -> np.ndarray:
        nonlocal offset
        shape, name = h["shape"], h["dtype"]
        if name not in DTYPES or len(shape) > 16 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            raise WireError(f"expected the shape and dtype of an array, got {shape!r:.100}, {name!r:.50}")
        dtype = np.dtype(name).newbyteorder("<")
        count = math.prod(shape)
        if count * dtype.itemsize > len(data) - offset:
            raise WireError(f"expected {count * dtype.itemsize} bytes of array, got {len(data) - offset}")
        out = np.frombuffer(data, dtype, count, offset).reshape(shape).astype(name)
        offset += count * dtype.itemsize
        return out

    def unpack(h: Any, depth: int = 0) -> Any:
        if depth > 2 * MAX_DEPTH:
            raise WireError("nested too deeply")
        if isinstance(h, list):
            return [unpack(w, depth + 1) for w in h]
        if isinstance(h, str) and not h.isascii():
            return h.encode("utf-8", "replace").decode()  # half of a surrogate pair, which no file can hold
        if not isinstance(h, dict):
            return h
        tag = h.get("")
        if tag == "array":
            return array(h)
        if tag == "float":
            return float(h["is"])
        if tag == "tuple":
            return tuple(unpack(w, depth + 1) for w in h["of"])
        if tag == "dict":
            return {k: unpack(w, depth + 1) for k, w in h["of"].items()}
        if tag in _RECORDS:
            return _RECORDS[tag](**{k: unpack(w, depth + 1) for k, w in h.items() if k})
        raise WireError(f"expected a known record, got {tag!r:.50}")

    try:
        value = unpack(header)
    except WireError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise WireError(f"malformed message: {type(error).__name__}: {error}"[:500]) from None
    if offset != len(data):
        raise WireError(f"expected {offset} bytes, got {len(data)}")
    return value
