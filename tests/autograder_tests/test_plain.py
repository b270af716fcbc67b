"""The wire: what crosses comes back the same, and nothing malformed gets through."""

from __future__ import annotations

import contextlib
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autograder_tests.plain import Expression, Make, Opaque, Raised, Request, WireError, decode, encode

scalars = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=20)
arrays = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
)
values = st.recursive(
    scalars | arrays,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.builds(Make, st.text(max_size=8), st.tuples(inner))
    ),
    max_leaves=8,
)


def equal(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if isinstance(a, float):
        return isinstance(b, float) and (a == b or (math.isnan(a) and math.isnan(b)))
    if isinstance(a, Make):
        return isinstance(b, Make) and a.name == b.name and equal(a.args, b.args)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


@given(values)
def test_what_crosses_comes_back_the_same(value) -> None:
    assert equal(value, decode(encode(value)))


@pytest.mark.parametrize(
    "record",
    [
        Expression("x + 1"),
        Opaque("Normal"),
        Raised(("ValueError", "Exception"), "no", "line 3"),
        Request(
            Make("student:Flow", (Make("mlp", (2, 2, 1)), [1, 2])), "forward", (1.5,), {"n": 3}, ("self",), 7
        ),
    ],
)
def test_records_cross(record) -> None:
    assert decode(encode(record)) == record


@pytest.mark.parametrize(
    "bad", [object(), {1: 2}, np.array(["text"]), np.array([object()]), lambda: 0, {1, 2}]
)
def test_only_plain_data_is_encoded(bad) -> None:
    with pytest.raises(WireError):
        encode(bad)


def test_deep_nesting_is_refused() -> None:
    deep: list = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(WireError, match="nested"):
        encode(deep)


def message(header: object, tail: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tail


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**40) + b"{}",
        struct.pack("<Q", 3) + b"\xff\xfe{",
        message({"": "array", "dtype": "float64", "shape": [2**39]}),
        message({"": "array", "dtype": "float64", "shape": [-1]}),
        message({"": "array", "dtype": "object", "shape": [1]}, b"\x00" * 8),
        message({"": "array", "dtype": "float64", "shape": "ab"}),
        message({"": "array", "dtype": "float64"}),
        message({"": "system", "of": []}),
        message({"": "Make", "name": "mlp", "surprise": 1}),
        message({"": "tuple"}),
        message(1, b"trailing"),
    ],
)
def test_malformed_messages_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_size_is_capped_before_reading() -> None:
    with pytest.raises(WireError, match="at most"):
        decode(encode(np.zeros(1000)), max_bytes=4000)


@given(st.binary(max_size=200))
def test_noise_never_does_anything_else(data: bytes) -> None:
    with contextlib.suppress(WireError):
        decode(data)
