"""Mechanically made wrong variants of a piece of Python.

`mutants(source)` edits the syntax tree in one place at a time, as a slip of the pen would: another operator, a lost minus,
`sample` for `rsample`, two arguments the other way round, a statement left out. What is for people to read (docstrings,
annotations, messages of errors) is left alone. The order is that of the source, so a mutant keeps its number.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.mutants.siblings import DROPPABLE_ATTRIBUTES, ESSENTIAL, NEGATIVE_IS_NONSENSE, SIBLINGS, SILENT

__all__ = ["Mutant", "mutants"]

MODULES = {"torch", "np", "sp", "math", "nn", "F", "flowlib", "functional", "func", "linalg", "special"}
OTHER_NAMES = 3  # at most so many other variables are put in one's place
SHOWN = 90  # characters of before and after


@dataclass(frozen=True)
class Mutant:
    """A wrong variant: `source` is the whole text with one edit, of `kind`, made in `line`."""

    kind: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.kind}: {_short(self.before)}  →  {_short(self.after)}"


def mutants(source: str) -> list[Mutant]:
    """All one-edit variants of `source`, each different from it and from the others once unparsed.

    >>> for mutant in mutants("def f(a): return a + 1"):
    ...     print(mutant)
    line 1, minus added: return a + 1  →  return -(a + 1)
    line 1, operator: a + 1  →  a - 1
    line 1, operator: a + 1  →  a * 1
    line 1, operand dropped: a + 1  →  a
    line 1, operand dropped: a + 1  →  1
    line 1, constant: 1  →  0
    line 1, constant: 1  →  2
    """
    tree = ast.parse(source)
    seen = {ast.unparse(tree)}
    found = []
    for place in _places(tree, _Scope()):
        for kind, new in _edits(place.node, place.scope):
            with place.replaced_by(new):
                text = ast.unparse(tree)
            if text in seen or not _compiles(text):
                continue
            seen.add(text)
            after = "; ".join(map(_text, new)) if isinstance(new, list) else _text(new)
            found.append(Mutant(kind, place.node.lineno, _text(place.node), after or "(nothing)", text))
    return found


# ---- where -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scope:
    """Names that stand for values at a place: of the function (with the line that binds them) and of `self`."""

    bound: dict[str, int] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()

    def inside(self, node: ast.AST) -> _Scope:
        if isinstance(node, ast.ClassDef):
            return _Scope({}, _attributes(node))
        if isinstance(node, (ast.FunctionDef, ast.Lambda)):
            return _Scope({**self.bound, **_bound_names(node)}, self.attributes)
        return self

    def other_names(self, name: str, line: int) -> list[str]:
        if name not in self.bound:
            return []
        return [n for n, first in self.bound.items() if n != name and first < line][:OTHER_NAMES]


def _bound_names(function: ast.FunctionDef | ast.Lambda) -> dict[str, int]:
    a = function.args
    arguments = [*a.posonlyargs, *a.args, *([a.vararg] if a.vararg else []), *a.kwonlyargs]
    # The body may use an argument in the line that binds it: `lambda x: x`.
    found = {arg.arg: function.lineno - 1 for arg in arguments if arg.arg != "self"}
    stores = [n for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    for n in sorted(stores, key=lambda n: (n.lineno, n.col_offset)):
        found.setdefault(n.id, n.lineno)
    return found


def _attributes(cls: ast.ClassDef) -> tuple[str, ...]:
    """Values kept on `self`, in the order in which they are set."""
    found = []
    for n in ast.walk(cls):
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store) and _is_name(n.value, "self"):
            found.append((n.lineno, n.attr))
        if (
            isinstance(n, ast.Call)
            and _called(n) == "register_buffer"
            and isinstance(n.args[0], ast.Constant)
        ):
            found.append((n.lineno, n.args[0].value))
    return tuple(dict.fromkeys(name for _, name in sorted(found)))


@dataclass(frozen=True)
class _Place:
    """A node that may be edited and how to put something else there for a moment."""

    node: ast.AST
    parent: ast.AST
    name: str
    index: int | None
    scope: _Scope

    def replaced_by(self, new: ast.AST | list[ast.stmt]) -> _Replaced:
        return _Replaced(self, new)


class _Replaced:
    def __init__(self, place: _Place, new: ast.AST | list[ast.stmt]) -> None:
        self.place, self.new = place, new
        self.old = getattr(place.parent, place.name)

    def __enter__(self) -> None:
        p, new = self.place, self.new
        if p.index is None:
            setattr(p.parent, p.name, new)
            return
        items = list(self.old)
        items[p.index : p.index + 1] = new if isinstance(new, list) else [new]
        setattr(p.parent, p.name, items or [ast.Pass()])

    def __exit__(self, *_: object) -> None:
        setattr(self.place.parent, self.place.name, self.old)


# Fields that are for people, or that edits of the parent take care of.
_SKIPPED = {
    ast.FunctionDef: {"returns", "decorator_list", "type_comment"},
    ast.ClassDef: {"decorator_list", "bases", "keywords"},
    ast.arg: {"annotation"},
    ast.AnnAssign: {"annotation"},
    ast.Assert: {"msg"},
    ast.ExceptHandler: {"type"},
}


def _places(node: ast.AST, scope: _Scope) -> Iterator[_Place]:
    if isinstance(node, ast.Raise):
        # Of a raised error the class is behavior; the rest is its message.
        if isinstance(node.exc, ast.Call):
            yield _Place(node.exc.func, node.exc, "func", None, scope)
        return
    scope = scope.inside(node)
    skipped = _SKIPPED.get(type(node), set())
    for name, value in ast.iter_fields(node):
        if name in skipped:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_for_people(child):
                continue
            if isinstance(child, (ast.stmt, ast.expr)):
                yield _Place(child, node, name, index, scope)
            if not _is_number(child):  # -1 is a number, not minus 1
                yield from _places(child, scope)


def _is_for_people(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        value = node.value
        return isinstance(value, ast.Constant) or (isinstance(value, ast.Call) and _called(value) in SILENT)
    return isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom))


# ---- what --------------------------------------------------------------------------------------------------------

_Edit = tuple[str, "ast.AST | list[ast.stmt]"]
_EDITS: dict[type, Callable[..., Iterator[_Edit]]] = {}


def _edits(node: ast.AST, scope: _Scope) -> Iterator[_Edit]:
    if _is_number(node):
        yield from _number(node)
    elif type(node) in _EDITS:
        yield from _EDITS[type(node)](node, scope)


def _of(*types: type) -> Callable:
    def decorate(function: Callable[..., Iterator[_Edit]]) -> Callable:
        for t in types:
            _EDITS[t] = function
        return function

    return decorate


_ARITHMETIC = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.FloorDiv,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
_COMPARISONS = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}


@_of(ast.BinOp)
def _binary(node: ast.BinOp, scope: _Scope) -> Iterator[_Edit]:
    for op in _ARITHMETIC.get(type(node.op), ()):
        yield "operator", _like(node, op=op())
    if not isinstance(node.op, (ast.Add, ast.Mult)):
        yield "operands swapped", _like(node, left=node.right, right=node.left)
    yield "operand dropped", node.left
    yield "operand dropped", _negative(node.right) if isinstance(node.op, ast.Sub) else node.right


@_of(ast.UnaryOp)
def _unary(node: ast.UnaryOp, scope: _Scope) -> Iterator[_Edit]:
    yield (
        {ast.USub: "minus dropped", ast.Not: "not dropped"}.get(type(node.op), "operator dropped"),
        node.operand,
    )


def _number(node: ast.AST) -> Iterator[_Edit]:
    value = ast.literal_eval(node)
    if isinstance(value, int):
        others: list[float] = {0: [1, -1], -1: [0, 1, -2]}.get(value, [value - 1, value + 1])
    else:
        others = [0.0, 2 * value, value + 1.0]
    for other in others:
        yield "constant", ast.parse(repr(other), mode="eval").body


@_of(ast.Constant)
def _constant(node: ast.Constant, scope: _Scope) -> Iterator[_Edit]:
    if isinstance(node.value, bool):
        yield "constant", ast.Constant(not node.value)


@_of(ast.Compare)
def _compare(node: ast.Compare, scope: _Scope) -> Iterator[_Edit]:
    for k, old in enumerate(node.ops):
        for op in _COMPARISONS[type(old)]:
            yield "comparison", _like(node, ops=[*node.ops[:k], op(), *node.ops[k + 1 :]])


@_of(ast.BoolOp)
def _boolean(node: ast.BoolOp, scope: _Scope) -> Iterator[_Edit]:
    yield "and/or", _like(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for rest in _one_less(node.values):
        yield "condition dropped", rest[0] if len(rest) == 1 else _like(node, values=rest)


@_of(ast.IfExp)
def _conditional(node: ast.IfExp, scope: _Scope) -> Iterator[_Edit]:
    yield "condition negated", _like(node, body=node.orelse, orelse=node.body)
    yield "branch dropped", node.body
    yield "branch dropped", node.orelse


@_of(ast.Name)
def _name(node: ast.Name, scope: _Scope) -> Iterator[_Edit]:
    if not isinstance(node.ctx, ast.Load):
        return
    for other in scope.other_names(node.id, node.lineno):
        yield "other variable", ast.Name(other, ast.Load())
    if node.id not in scope.bound:
        for other in SIBLINGS.get(node.id, ()):
            yield "other function", ast.Name(other, ast.Load())


@_of(ast.Attribute)
def _attribute(node: ast.Attribute, scope: _Scope) -> Iterator[_Edit]:
    if not isinstance(node.ctx, ast.Load):
        return
    if _is_name(node.value, "self") and node.attr in scope.attributes:
        for other in [n for n in scope.attributes if n != node.attr][:OTHER_NAMES]:
            yield "other attribute", _like(node, attr=other)
        return
    for other in SIBLINGS.get(node.attr, ()):
        yield "other function", _like(node, attr=other)
    if node.attr in DROPPABLE_ATTRIBUTES:
        yield "attribute dropped", node.value


@_of(ast.Call)
def _call(node: ast.Call, scope: _Scope) -> Iterator[_Edit]:
    called = _called(node)
    if called == "super":
        return
    # The call itself forgotten: x.sum(-1) → x, torch.exp(s) → s.
    if (
        isinstance(node.func, ast.Attribute)
        and not _is_module(node.func.value)
        and not _is_name(node.func.value, "self")
    ):
        yield "call dropped", node.func.value
    elif node.args and not isinstance(node.args[0], ast.Starred) and called not in ESSENTIAL:
        yield "call dropped", node.args[0]
    for args in _one_less(node.args):
        yield "argument dropped", _like(node, args=args)
    for keywords in _one_less(node.keywords):
        yield "keyword dropped", _like(node, keywords=keywords)
    for args in _neighbors_swapped(node.args):
        yield "arguments swapped", _like(node, args=args)
    if called not in NEGATIVE_IS_NONSENSE:
        for args in _one_negative(node.args):
            yield "minus added", _like(node, args=args)


@_of(ast.Subscript)
def _subscript(node: ast.Subscript, scope: _Scope) -> Iterator[_Edit]:
    if isinstance(node.ctx, ast.Load):
        yield "index dropped", node.value


@_of(ast.Slice)
def _slice(node: ast.Slice, scope: _Scope) -> Iterator[_Edit]:
    for bound in ("lower", "upper", "step"):
        if getattr(node, bound) is not None:
            yield "slice", _like(node, **{bound: None})
    if (node.lower is None) != (node.upper is None):
        yield "slice", _like(node, lower=node.upper, upper=node.lower)


@_of(ast.Tuple, ast.List)
def _sequence(node: ast.Tuple | ast.List, scope: _Scope) -> Iterator[_Edit]:
    for elements in _neighbors_swapped(node.elts):
        yield "elements swapped", _like(node, elts=elements)
    if not isinstance(node.ctx, ast.Load):
        return
    for elements in _one_less(node.elts):
        yield "element dropped", _like(node, elts=elements)
    if not node.elts:
        yield "element added", _like(node, elts=[ast.Constant(1)])


@_of(ast.Dict)
def _dict(node: ast.Dict, scope: _Scope) -> Iterator[_Edit]:
    for k in range(len(node.keys)):
        yield "entry dropped", _like(node, keys=_without(node.keys, k), values=_without(node.values, k))
    for values in _neighbors_swapped(node.values):
        yield "entries swapped", _like(node, values=values)


@_of(ast.Starred)
def _starred(node: ast.Starred, scope: _Scope) -> Iterator[_Edit]:
    if isinstance(node.ctx, ast.Load):
        yield "star dropped", node.value


@_of(ast.ListComp, ast.GeneratorExp, ast.SetComp)
def _comprehension(node: ast.ListComp, scope: _Scope) -> Iterator[_Edit]:
    for k, generator in enumerate(node.generators):
        for kind, new in _other_turns(generator.iter):
            changed = _like(generator, iter=new)
            yield kind, _like(node, generators=[*node.generators[:k], changed, *node.generators[k + 1 :]])
        for ifs in _one_less(generator.ifs):
            changed = _like(generator, ifs=ifs)
            yield (
                "condition dropped",
                _like(node, generators=[*node.generators[:k], changed, *node.generators[k + 1 :]]),
            )


@_of(ast.For)
def _for(node: ast.For, scope: _Scope) -> Iterator[_Edit]:
    for kind, new in _other_turns(node.iter):
        yield kind, _like(node, iter=new)


def _other_turns(iterable: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if not (isinstance(iterable, ast.Call) and _called(iterable) == "reversed"):
        yield "reversed added", _expression("reversed(list({}))", iterable)
    yield "first turn dropped", _expression("list({})[1:]", iterable)
    yield "last turn dropped", _expression("list({})[:-1]", iterable)


@_of(ast.If)
def _if(node: ast.If, scope: _Scope) -> Iterator[_Edit]:
    yield "condition negated", _like(node, test=ast.UnaryOp(ast.Not(), node.test))
    yield "if dropped", node.orelse
    yield "condition dropped", node.body


@_of(ast.While)
def _while(node: ast.While, scope: _Scope) -> Iterator[_Edit]:
    yield "condition negated", _like(node, test=ast.UnaryOp(ast.Not(), node.test))
    yield "loop dropped", []


@_of(ast.Assign)
def _assign(node: ast.Assign, scope: _Scope) -> Iterator[_Edit]:
    target = node.targets[0]
    # Without an older value there is only a NameError to be had.
    if not isinstance(target, ast.Name) or scope.bound.get(target.id, node.lineno) < node.lineno:
        yield "statement dropped", []
    for new in _negated(node.value):
        yield "minus added", _like(node, value=new)


@_of(ast.AugAssign)
def _augmented(node: ast.AugAssign, scope: _Scope) -> Iterator[_Edit]:
    yield "statement dropped", []
    target = copy.copy(node.target)
    yield "old value dropped", ast.Assign([target], node.value, lineno=node.lineno)
    for op in _ARITHMETIC.get(type(node.op), ()):
        yield "operator", _like(node, op=op())


@_of(ast.Return)
def _return(node: ast.Return, scope: _Scope) -> Iterator[_Edit]:
    if isinstance(node.value, ast.Tuple):
        for elements in _one_negative(node.value.elts):
            yield "minus added", _like(node, value=_like(node.value, elts=elements))
    elif node.value is not None:
        for new in _negated(node.value):
            yield "minus added", _like(node, value=new)


@_of(ast.Expr, ast.Raise, ast.Assert, ast.Break, ast.Continue)
def _statement(node: ast.stmt, scope: _Scope) -> Iterator[_Edit]:
    yield "statement dropped", []


@_of(ast.With)
def _with(node: ast.With, scope: _Scope) -> Iterator[_Edit]:
    yield "with dropped", node.body


@_of(ast.FunctionDef, ast.ClassDef)
def _definition(node: ast.FunctionDef, scope: _Scope) -> Iterator[_Edit]:
    for decorators in _one_less(node.decorator_list):
        yield "decorator dropped", _like(node, decorator_list=decorators)


# ---- helpers -----------------------------------------------------------------------------------------------------


def _like(node: ast.AST, **changed: object) -> ast.AST:
    new = copy.copy(node)
    for name, value in changed.items():
        setattr(new, name, value)
    return new


def _without(items: list, k: int) -> list:
    return [*items[:k], *items[k + 1 :]]


def _one_less(items: list) -> Iterator[list]:
    return (_without(items, k) for k in range(len(items)))


def _neighbors_swapped(items: list) -> Iterator[list]:
    for k in range(len(items) - 1):
        yield [*items[:k], items[k + 1], items[k], *items[k + 2 :]]


def _one_negative(items: list) -> Iterator[list]:
    for k, item in enumerate(items):
        for new in _negated(item):
            yield [*items[:k], new, *items[k + 1 :]]


def _negated(node: ast.expr) -> Iterator[ast.expr]:
    """−node where that may be a value with a sign; a number or an existing minus has edits of its own."""
    if isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.BinOp, ast.Subscript)):
        yield _negative(node)


def _negative(node: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.USub(), node)


def _expression(template: str, inside: ast.expr) -> ast.expr:
    return ast.parse(template.format(ast.unparse(inside)), mode="eval").body


def _is_number(node: ast.AST) -> bool:
    """5, 0.5, −1; not True."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_module(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id in MODULES) or (
        isinstance(node, ast.Attribute) and node.attr in MODULES and _is_module(node.value)
    )


def _called(node: ast.Call) -> str:
    """The last name of what is called: `exp` of `torch.exp(x)`."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _compiles(text: str) -> bool:
    try:
        compile(text, "<mutant>", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _text(node: ast.AST) -> str:
    # Of a compound statement its head is enough.
    text = ast.unparse(node)
    head, *rest = text.splitlines()
    return f"{head} …" if rest else head


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
