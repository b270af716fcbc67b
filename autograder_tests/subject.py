"""The one interface between a check and a student's code: describe, call by name, get plain data back.

A check never holds the student's object. It holds a *subject* with the verb `call`. In a notebook, in tests and for the
catalogue's wrong implementations the subject is a `Local`, which has the objects in a namespace; at grading it is a remote
one with the same verb, whose other side runs `answer` in an isolated process.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from autograder_tests import plain
from autograder_tests.builders import find_builder
from autograder_tests.compare import Mismatch, describe
from autograder_tests.plain import Expression, Make, Opaque, Plain, Raised, Request

__all__ = ["Local", "StudentError", "Subject", "answer", "answer_bytes"]


class StudentError(Exception):
    """The student's code raised where it should not have."""

    def __init__(self, raised: Raised) -> None:
        super().__init__(f"{raised.type}: {raised.message}")
        self.raised = raised


Outside = Callable[[int, list[Plain]], Plain]  # calls a checker's function by its number


def answer(namespace: dict[str, Any], request: Request, outside: Outside | None = None) -> Plain:
    """Build, call and return plain data: what runs where the student's code lives. Never raises for the student's errors.

    Args:
        namespace: the student's names.
        request: what to do.
        outside: how to reach the checker's own functions, which `Make("outside", (k,))` stands for in the request.
    """
    try:
        return _perform({**namespace, "outside:": outside}, request)
    except Exception as error:  # whatever the student's code raises is an answer, too
        types = tuple(c.__name__ for c in type(error).__mro__ if c not in (object, BaseException))
        # torch raises NotImplementedError as well, for what it cannot do: that is the student's error, not an open exercise.
        stub = isinstance(error, NotImplementedError) and not _in_library(
            traceback.extract_tb(error.__traceback__)[-1]
        )
        return Raised(types, str(error)[:2000], _where(error), stub)


def answer_bytes(
    namespace: dict[str, Any], payload: bytes, outside: Callable[[bytes], bytes] | None = None
) -> bytes:
    """`answer` for a process that is sent bytes: a `Request` comes in and plain data goes out, both encoded by `plain`.

    >>> import math
    >>> request = Request("student:sqrt", args=(4.0,))
    >>> plain.decode(answer_bytes({"sqrt": math.sqrt}, plain.encode(request)))
    2.0

    Args:
        namespace: the student's names.
        payload: the encoded request.
        outside: how to reach the checker's own functions: `[k, arguments]` in, the k-th function's result out.

    Raises:
        WireError: the payload is not a request. It is the checker's, so this is not the student's error.
    """
    request = plain.decode(payload)
    if not isinstance(request, Request):
        raise plain.WireError(f"expected a Request, got {type(request).__name__}")
    reach: Outside | None = None
    if outside is not None:
        reach = lambda k, values: plain.decode(outside(plain.encode([k, values])))  # noqa: E731
    try:
        return plain.encode(answer(namespace, request, reach))
    except plain.WireError as error:  # too deep, say: an answer of the student's that does not cross
        return plain.encode(Raised(("WireError", "ValueError"), str(error)))


def _perform(namespace: dict[str, Any], request: Request) -> Plain:
    # Student code draws from the global generators: same request, same draws, in every process.
    random.seed(request.seed)
    np.random.seed(request.seed % 2**32)
    # Not torch.manual_seed: it also keeps a stack trace for devices that are not there, which takes longer than many a call.
    torch.default_generator.manual_seed(request.seed)
    args = [_build(namespace, a) for a in request.args]
    kwargs = {k: _build(namespace, a) for k, a in request.kwargs.items()}
    target = (
        _build(namespace, request.what) if isinstance(request.what, Make) else _named(namespace, request.what)
    )
    # Building may draw (initial weights): the call itself starts from the same state whatever was built before.
    torch.default_generator.manual_seed(request.seed + 1)
    wanted = [_differentiable(g, target, args, kwargs) for g in request.grad]
    result = _follow(target, request.method, args, kwargs)
    if not request.grad:
        return _plain(result)
    return [_plain(result), [_gradient(result, w) for w in wanted]]


def _named(namespace: dict[str, Any], name: str) -> Any:
    if name == "outside":
        return lambda k: _outside_function(namespace["outside:"], k)
    kind, _, key = name.rpartition(":")
    if kind == "student":
        if key not in namespace:
            raise NameError(f"{key!r} is not defined: run the cell that defines it first")
        return namespace[key]
    if kind:
        raise KeyError(f"no builder is called {name!r}")
    return find_builder(key)


def _outside_function(outside: Outside | None, k: int) -> Callable[..., Any]:
    """The checker's k-th function as the student's code sees it: tensors in, tensors out, nothing to look into."""

    def function(*args: Any) -> Any:
        if outside is None:
            raise RuntimeError("this call has no functions of the checker's")
        return _tensorized(outside(k, [_plain(a) for a in args]))

    return function


def _tensorized(value: Plain) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return tuple(_tensorized(v) for v in value) if isinstance(value, (list, tuple)) else value


def _build(namespace: dict[str, Any], spec: Any) -> Any:
    if isinstance(spec, Make):
        args = [_build(namespace, a) for a in spec.args]
        return _named(namespace, spec.name)(
            *args, **{k: _build(namespace, v) for k, v in spec.kwargs.items()}
        )
    if isinstance(spec, np.ndarray):
        return torch.from_numpy(spec.copy())
    if isinstance(spec, str) and spec.startswith("student:"):
        return _named(namespace, spec)
    if isinstance(spec, (list, tuple)):
        return type(spec)(_build(namespace, s) for s in spec)
    return spec


def _follow(target: Any, method: str, args: list, kwargs: dict) -> Any:
    """`""` calls the target; `"forward"` its method; `"().log_prob"` the method of what calling it without arguments gives."""
    path = method.split(".") if method else []
    for step in path[:-1]:
        target = target() if step == "()" else getattr(target, step)
    if path and path[-1] != "()":
        target = getattr(target, path[-1])
    if not callable(target):
        if args or kwargs:
            raise TypeError(f"{method} is not callable: it is a {type(target).__name__}")
        return target
    return target(*args, **kwargs)


def _differentiable(which: Any, target: Any, args: list, kwargs: dict) -> list[torch.Tensor]:
    """The leaves to differentiate by: `"self"`, the index of an argument or the name of a keyword."""
    if which == "self":
        thing: Any = target
    else:
        thing = kwargs[which] if isinstance(which, str) else args[which]
    if isinstance(thing, torch.Tensor):
        return [thing.requires_grad_()]
    if isinstance(thing, nn.Module):
        return [p for _, p in sorted(thing.named_parameters())]
    raise TypeError(f"expected a tensor or a module to differentiate by, got {type(thing).__name__}")


def _gradient(result: Any, leaves: list[torch.Tensor]) -> np.ndarray:
    """Flat gradient of the sum of all floating tensors of `result`; zeros where nothing is connected."""
    total = [t.sum() for t in _tensors(result) if t.requires_grad]
    if not leaves:
        return np.zeros(0)
    if not total:
        return np.zeros(sum(p.numel() for p in leaves))
    grads = torch.autograd.grad(sum(total), leaves, allow_unused=True, retain_graph=True)
    flat = [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, grads, strict=True)]
    return torch.cat([g.reshape(-1).double() for g in flat]).detach().numpy()


def _tensors(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _tensors(v)


def _plain(value: Any, depth: int = 0) -> Plain:
    """Data that may cross; anything else crosses as the name of its type."""
    if depth > 8:
        return Opaque(type(value).__name__)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, torch.Tensor):
        value = value.detach().resolve_conj().resolve_neg().cpu()
        value = value.float().numpy() if value.dtype in (torch.float16, torch.bfloat16) else value.numpy()
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = value.tolist()  # a NumPy array of sympy expressions is a list of them
    if isinstance(value, np.ndarray):
        return value if value.dtype.name in plain.DTYPES else Opaque(f"array of {value.dtype}")
    if type(value).__module__.split(".")[0] == "sympy":
        return _sympy(value)
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
            return list(value)
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, dict) and all(isinstance(k, str) for k in value):
        return {k: _plain(v, depth + 1) for k, v in value.items()}
    return Opaque(type(value).__name__)


def _sympy(value: Any) -> Plain:
    import sympy

    if isinstance(value, sympy.MatrixBase):
        return [[Expression(sympy.sstr(e)) for e in row] for row in value.tolist()]
    if isinstance(value, (sympy.Basic,)):
        return Expression(sympy.sstr(value))
    return Opaque(type(value).__name__)


def _in_library(frame: traceback.FrameSummary) -> bool:
    return "site-packages" in frame.filename or "/lib/python" in frame.filename


def _where(error: BaseException) -> str:
    """The student's own last lines of the traceback: everything outside this package and the libraries."""
    ours = __file__.rsplit("/", 1)[0].rsplit("\\", 1)[0]
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith(ours)
        and "site-packages" not in f.filename
        and "/lib/python" not in f.filename
    ]
    return "\n".join(f"line {f.lineno}, in {f.name}: {f.line or ''}".rstrip(": ") for f in frames[-2:])


class Subject:
    """What a check may do with a student's code, wherever that lives: verbs, all on top of `ask`.

    Attributes:
        namespace: the names that live in this process; none for a remote subject.
        record: every call made so far, with its answer.
    """

    namespace: dict[str, Any]
    record: list[tuple[Request, Outside | None, Plain]]

    def ask(self, request: Request, outside: Outside | None = None) -> Plain:
        raise NotImplementedError

    def fresh(self) -> Subject:
        """The same code in a second process (or namespace): what was memorised in the first is not there."""
        raise NotImplementedError

    def call(
        self,
        what: Make | str,
        method: str = "",
        *args: Any,
        grad: Any = None,
        seed: int = 0,
        outside: Sequence[Callable[..., Plain]] = (),
        **kwargs: Any,
    ) -> Plain:
        """Build `what`, call `method` and return plain data.

        Args:
            what: a `Make`, or `"student:name"` for the object itself (a function).
            method: `""` calls it, `"inverse"` a method, `"().log_prob"` a method of what `what()` returns.
            args, kwargs: arrays become tensors, `Make`s are built, the rest goes as it is.
            grad: one or several of: the index of an argument, the name of a keyword, `"self"` (the parameters of `what`).
                The call then returns `(result, gradient)` with the flat gradient of the sum of the result's floating
                tensors, or a list of gradients.
            seed: of all global generators, set before building and again before calling.
            outside: functions of the check itself, arrays to plain data, that the student's code may call without seeing
                them: `Make("outside", (k,))` among the arguments stands for the k-th.

        Raises:
            StudentError: the student's code raised.
            NotImplementedError: the exercise is still open.
        """
        many = isinstance(grad, (list, tuple))
        wanted = () if grad is None else tuple(grad) if many else (grad,)
        reach = (lambda k, values: outside[k](*values)) if outside else None
        result = self.ask(Request(what, method, args, kwargs, wanted, seed), reach)
        if isinstance(result, Raised):
            if result.open:
                raise NotImplementedError(result.message)
            raise StudentError(result)
        if grad is None:
            return result
        if not (isinstance(result, list) and len(result) == 2):
            raise Mismatch("the answer to a gradient call is malformed")
        value, gradients = result
        return value, (gradients if many else gradients[0])

    def raises(
        self, what: Make | str, method: str = "", *args: Any, seed: int = 0, **kwargs: Any
    ) -> Raised | None:
        """The error that the call raises, or None when it returns."""
        try:
            self.call(what, method, *args, seed=seed, **kwargs)
        except StudentError as error:
            return error.raised
        return None

    def array(
        self, what: Make | str, method: str = "", *args: Any, seed: int = 0, **kwargs: Any
    ) -> np.ndarray:
        """`call` for a result that must be one tensor (a Python number counts as a tensor without axes)."""
        return self._as_array(self.call(what, method, *args, seed=seed, **kwargs), _title(what, method))

    def pair(
        self, what: Make | str, method: str = "", *args: Any, seed: int = 0, **kwargs: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """`call` for a result that must be a pair of tensors, such as (x, log_det)."""
        result, title = self.call(what, method, *args, seed=seed, **kwargs), _title(what, method)
        if not (isinstance(result, list) and len(result) == 2):
            raise Mismatch(
                f"{title} must return a pair of tensors, such as (x, log_det)", got=describe(result)
            )
        first, second = result
        return self._as_array(first, f"first result of {title}"), self._as_array(
            second, f"second result of {title}"
        )

    @staticmethod
    def _as_array(value: Plain, title: str) -> np.ndarray:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = np.asarray(float(value))
        if isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value):
            value = np.asarray(value, dtype=float)
        if not isinstance(value, np.ndarray):
            raise Mismatch(f"{title} must be a tensor", got=describe(value))
        return value


def _title(what: Make | str, method: str) -> str:
    name = (what.name if isinstance(what, Make) else what).split(":")[-1]
    return f"{name}.{method.replace('().', '')}" if method else name


class Local(Subject):
    """A subject whose code lives in this process.

    Args:
        namespace: name → object, or a function that makes such a namespace anew; with a function, `fresh()` starts from
            a namespace of its own, as a second process would.
        through_bytes: send every request and answer through `plain.encode` and back, as a remote subject does.
    """

    def __init__(
        self,
        namespace: dict[str, Any] | Callable[[], dict[str, Any]],
        *,
        through_bytes: bool = False,
        record: list[tuple[Request, Outside | None, Plain]] | None = None,
    ) -> None:
        self._make = namespace if callable(namespace) else None
        self.namespace: dict[str, Any] = namespace() if callable(namespace) else namespace
        self.through_bytes = through_bytes
        self.record = [] if record is None else record

    def ask(self, request: Request, outside: Outside | None = None) -> Plain:
        if self.through_bytes:
            request = plain.decode(plain.encode(request))
        result = answer(self.namespace, request, outside)
        if self.through_bytes:
            result = plain.decode(plain.encode(result))
        self.record.append((request, outside, result))
        return result

    def fresh(self) -> Local:
        return Local(self._make or self.namespace, through_bytes=self.through_bytes, record=self.record)
