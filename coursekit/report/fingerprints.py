"""Fingerprints of code that names, comments and layout do not change.

The syntax tree is read in order as a sequence of tokens, one a node. Names that the code itself binds are all the
same token; docstrings and annotations are left out; constants, attributes and names from outside stay. Of the
hashes of all K-grams of tokens, winnowing keeps the smallest in each window of W: whatever two codes share in
K + W − 1 tokens in a row, they share a fingerprint (Schleimer, Wilkerson, Aiken, "Winnowing: local algorithms for
document fingerprinting", SIGMOD 2003, doi:10.1145/872757.872770).
"""

from __future__ import annotations

import ast
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from coursekit.report.code import parse, without_docstrings

__all__ = ["Fingerprints", "fingerprints", "tokens"]

# A statement such as `x = torch.exp(s) * u + t` has 14 tokens.
K = 12
W = 4

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Fingerprints:
    """`kept` are the winnowed hashes of one code, `all` those of all its K-grams; uint64.

    `lines[i]` are the first and last line of the K-gram behind `all_in_order[i]`.
    """

    kept: frozenset[int]
    all_in_order: tuple[int, ...]
    lines: tuple[tuple[int, int], ...]

    @property
    def all(self) -> frozenset[int]:
        """The hashes of all K-grams."""
        return frozenset(self.all_in_order)

    def lines_of(self, hashes: frozenset[int]) -> frozenset[int]:
        """The numbers of the lines, from 1, that the K-grams with these hashes touch."""
        spans = (span for value, span in zip(self.all_in_order, self.lines, strict=True) if value in hashes)
        return frozenset(line for first, last in spans for line in range(first, last + 1))


def tokens(source: str) -> list[tuple[str, int]]:
    """The tokens of a code with their lines; none when it cannot be read.

    >>> a = tokens("def f(x):\\n    y = 2 * x  # twice\\n    return y")
    >>> b = tokens("def g(u: int) -> int:\\n    'Twice.'\\n    v = 2 * u\\n    return v")
    >>> [t for t, _ in a] == [t for t, _ in b]
    True
    >>> [t for t, _ in a]
    ['Module', 'FunctionDef', 'arguments', 'arg', 'Assign', 'v', 'BinOp', '2', 'Mult', 'v', 'Return', 'v']
    """
    tree = parse(source)
    if tree is None:
        return []
    tree = without_docstrings(tree)
    bound = _bound(tree)
    return list(_walk(tree, bound))


def fingerprints(source: str) -> Fingerprints:
    """The fingerprints of a code; of one shorter than K tokens there are none."""
    found = tokens(source)
    count = len(found) - K + 1
    if count < 1:
        return Fingerprints(frozenset(), (), ())
    values = np.array([zlib.crc32(t.encode("utf-8", "replace")) for t, _ in found], dtype=np.uint64)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(K):  # a polynomial in _FACTOR, modulo 2^64
        hashes = hashes * _FACTOR + values[offset : offset + count]
    # Its low bits depend on the low bits alone: mix before the smallest is looked for.
    hashes ^= hashes >> np.uint64(29)
    hashes *= _FACTOR
    windows = np.lib.stride_tricks.sliding_window_view(hashes, min(W, count))
    lines = [line for _, line in found]
    # A token without a line of its own (an operator) has its parent's, so lines may step back.
    spans = tuple((min(lines[i : i + K]), max(lines[i : i + K])) for i in range(count))
    kept = frozenset(windows.min(axis=1).tolist())
    return Fingerprints(kept, tuple(hashes.tolist()), spans)


def _bound(tree: ast.Module) -> frozenset[str]:
    """Names that the code gives: variables, parameters, functions, classes, attributes it sets."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add("." + node.attr)
    return frozenset(names)


def _walk(tree: ast.Module, bound: frozenset[str]) -> Iterator[tuple[str, int]]:
    # A stack of our own: a student's nesting must not end in a RecursionError.
    stack: list[tuple[ast.AST, int]] = [(tree, 1)]
    while stack:
        node, line = stack.pop()
        line = getattr(node, "lineno", line)
        yield _token(node, bound), line
        children = [
            child
            for name in node._fields
            if name not in ("annotation", "returns", "ctx", "type_comment", "type_params")
            for child in _nodes(getattr(node, name, None))
        ]
        stack += [(child, line) for child in reversed(children)]


def _nodes(value: object) -> list[ast.AST]:
    values = value if isinstance(value, list) else [value]
    return [v for v in values if isinstance(v, ast.AST)]


def _token(node: ast.AST, bound: frozenset[str]) -> str:
    if isinstance(node, ast.Name):
        return "v" if node.id in bound else node.id
    if isinstance(node, ast.Attribute):
        return ".v" if "." + node.attr in bound else "." + node.attr
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return "Assign"
    return type(node).__name__
