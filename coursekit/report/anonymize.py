"""Show a student's code without the student: no comments, docstrings or texts that only few wrote."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterable

from coursekit.report.code import parse, without_docstrings

__all__ = ["anonymized", "common_texts"]

# A text that this many students wrote names none of them.
COMMON = 3
# Shorter ids ("a") would be found in every word.
SHORTEST_ID = 3


def common_texts(sources: Iterable[str]) -> frozenset[str]:
    """The string literals that at least three of the sources have.

    >>> sorted(common_texts(["f('sum', 'Ann')", "g('sum')", "h('sum', 'Bob')"]))
    ['sum']
    """
    counts: Counter[str] = Counter()
    for source in sources:
        tree = parse(source)
        if tree is not None:
            found = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
            counts.update({value for value in found if isinstance(value, str)})
    return frozenset(text for text, count in counts.items() if count >= COMMON)


def anonymized(source: str, texts: Collection[str] = (), students: Collection[str] = ()) -> str | None:
    """The code of `source` without comments and docstrings; None when it cannot be read.

    String literals become '…' unless they are in `texts`; a name that holds one of the ids `students` has
    'student' in its place.

    >>> print(anonymized("# by Ann\\ndef f(x):\\n    'Ann wrote it.'\\n    return g(x, 'Ann', 'sum')", {"sum"}))
    def f(x):
        return g(x, '…', 'sum')
    """
    tree = parse(source)
    if tree is None:
        return None
    try:
        hidden = _HideTexts(texts).visit(without_docstrings(tree))
        text = ast.unparse(ast.fix_missing_locations(hidden))
    except (RecursionError, ValueError):  # a tree too deep, or that no text gives
        return None
    # The longest first: of 's21' and 's210' the latter.
    ids = sorted((s for s in students if len(s) >= SHORTEST_ID), key=len, reverse=True)
    # A class has thousands of ids: one pattern of them all is slow, most are in no text.
    folded = text.casefold()
    for student in ids:
        if student.casefold() in folded:
            text = re.sub(re.escape(student), "student", text, flags=re.IGNORECASE)
    return text


class _HideTexts(ast.NodeTransformer):
    def __init__(self, texts: Collection[str]) -> None:
        self.texts = texts

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str) and node.value not in self.texts:
            return ast.copy_location(ast.Constant("…"), node)
        if isinstance(node.value, bytes):
            return ast.copy_location(ast.Constant(b"..."), node)
        return node
