"""Student code as a syntax tree, whatever the text is."""

from __future__ import annotations

import ast
import warnings

__all__ = ["MAX_CHARACTERS", "parse", "without_docstrings"]

# An answer has some hundred; what is far longer is not read at all.
MAX_CHARACTERS = 50_000


def parse(source: str) -> ast.Module | None:
    """The tree of a cell's code, lines of IPython's own left out; None when it has none.

    >>> len(parse("%matplotlib inline\\nx = 1").body)
    1
    >>> parse("def f(:") is None
    True
    """
    if len(source) > MAX_CHARACTERS:
        return None
    # Line numbers stay: a line of IPython's becomes an empty one.
    plain = "\n".join(
        "" if line.lstrip().startswith(("%", "!", "?")) else line for line in source.split("\n")
    )
    for text in (source, plain):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a student's "\d"
                return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # MemoryError: nested too deeply
            continue
    return None


def without_docstrings(tree: ast.Module) -> ast.Module:
    """The tree, changed in place: texts that stand as statements are gone.

    >>> ast.unparse(without_docstrings(ast.parse('def f():\\n    "It is f."\\n    return 1')))
    'def f():\\n    return 1'
    """
    for node in ast.walk(tree):
        for block in ("body", "orelse", "finalbody"):
            body = getattr(node, block, None)
            if isinstance(body, list):
                kept = [s for s in body if not _is_text(s)]
                needed = bool(body) and not kept and (block == "body") and not isinstance(node, ast.Module)
                setattr(node, block, [ast.copy_location(ast.Pass(), body[0])] if needed else kept)
    return tree


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
