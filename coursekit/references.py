"""Does an answer use the reference implementation of the very thing it should write? A place to look, no verdict."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

__all__ = ["allowed_names", "reference_flags", "used_names"]

_MODULE = re.compile(r"[A-Za-z_]\w*(\.\w+)*")
# What is not Python in a notebook's cell: a magic before the import must not hide it.
_IPYTHON = re.compile(r"^([ \t]*)(?:%|!)[^\n]*$", re.MULTILINE)


def used_names(source: str, modules: Iterable[str]) -> set[str]:
    """What a cell takes from `modules`, as dotted names, through any alias it makes itself.

    >>> sorted(used_names("import flowlib as f\\nfrom flowlib.vae import elbo\\nf.Flow", ["flowlib"]))
    ['flowlib', 'flowlib.Flow', 'flowlib.vae.elbo']
    """
    wanted = set(modules)
    try:
        tree = ast.parse(_IPYTHON.sub(r"\1pass", source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    found, aliases = _imports(tree, wanted)
    dotted = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        name = _dotted(node) if isinstance(node, ast.Attribute) else None
        head, _, rest = (name or "").partition(".")
        if rest and head in aliases:
            found.add(f"{aliases[head]}.{rest}")
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in dotted:
            # getattr(module, …), vars(module), or under another name from here on: anything may be taken from it.
            if aliases.get(node.id) in wanted:
                found.add(f"{aliases[node.id]} as an object")
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _MODULE.fullmatch(node.value)
            and node.value.split(".")[0] in wanted
        ):  # import_module("module"), sys.modules["module"]
            found.add(f"{node.value!r}")
    return found


def _imports(tree: ast.AST, wanted: set[str]) -> tuple[set[str], dict[str, str]]:
    """What is imported, and what the names of it stand for."""
    found: set[str] = set()
    aliases = {name: name for name in wanted}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in wanted:
                    found.add(alias.name)
                    aliases[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in wanted:
            for alias in node.names:
                found.add(f"{node.module}.{alias.name}")
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found, aliases


def allowed_names(source: NotebookNode, modules: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What the model solutions take from `modules`, exercise → names; under "" what the released cells do.

    Whoever does as they do has taken no short cut. An exercise's own name is never allowed in its answer.
    """
    modules = list(modules)
    answers = {
        cell.metadata.nbgrader.grade_id: used_names(cell.source, modules)
        for cell in source.cells
        if cell.metadata.get("nbgrader", {}).get("solution") and cell.cell_type == "code"
    }
    released: set[str] = set()
    for cell in source.cells:
        if cell.cell_type == "code" and not cell.metadata.get("nbgrader", {}).get("solution"):
            released |= used_names(cell.source, modules)
    common = {n for n in released if not answers.keys() & set(n.split("."))}
    found = {name: {n for n in used | common if name not in n.split(".")} for name, used in answers.items()}
    return {name: tuple(sorted(names)) for name, names in {**found, "": common}.items()}


def reference_flags(
    cells: Iterable[tuple[str, str]], modules: Iterable[str], allowed: Mapping[str, Iterable[str]]
) -> list[str]:
    """Flags for the student's own cells, given as (name, source), that use what is not allowed there."""
    modules = list(modules)
    flags = []
    for name, source in cells:
        free = {*allowed.get(name, allowed.get("", ())), *modules}  # a module's own name says nothing
        taken = sorted(used_names(source, modules) - free)
        if taken:
            flags.append(f"reference used: {name} ({', '.join(taken)[:120]})")
    return flags


def _dotted(node: ast.AST) -> str | None:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])
