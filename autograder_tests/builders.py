"""What a `Make` may name beside the student's own objects: nets, bases, maps, symbols, given as plain data.

Everything is deterministic in its arguments, so that two processes build the same thing. Families of flows add builders
of their own with `@builder` in the module of their checks.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["BUILDERS", "builder", "find_builder"]

BUILDERS: dict[str, Callable[..., Any]] = {}


def builder(function: Callable[..., Any]) -> Callable[..., Any]:
    """Register `function` under its name.

    Raises:
        ValueError: if the name is taken by another function.
    """
    name = function.__name__
    place = (function.__module__, function.__qualname__)
    # The same place again is the same module run again; the same name in another module would take the first one's place.
    if name in BUILDERS and (BUILDERS[name].__module__, BUILDERS[name].__qualname__) != place:
        raise ValueError(
            f"expected a new builder's name, got {name!r}, which {BUILDERS[name].__module__} has"
        )
    BUILDERS[name] = function
    return function


def find_builder(name: str) -> Callable[..., Any]:
    """The builder of that name. Topics have builders of their own beside their checks, imported when one is asked for.

    Raises:
        KeyError: there is none.
    """
    if name not in BUILDERS:
        from autograder_tests import checks

        for module in pkgutil.iter_modules(checks.__path__):
            importlib.import_module(f"{checks.__name__}.{module.name}")
    if name not in BUILDERS:
        raise KeyError(f"no builder is called {name!r}")
    return BUILDERS[name]


class _SmallNet(nn.Module):
    """One hidden layer of 16 tanh units that refuses inputs of the wrong width with a message that names both.

    Its parameters are its own, not those of layers in it: a check builds hundreds of these.
    """

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator, scale: float) -> None:
        super().__init__()

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64) * scale)

        self.width = inputs
        self.weight, self.bias = drawn(16, inputs), drawn(16)
        self.weight_out, self.bias_out = drawn(outputs, 16), drawn(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] != self.width:
            raise ValueError(
                f"the net expects a last axis of {self.width}, got a tensor of shape {tuple(x.shape)}"
            )
        hidden = torch.tanh(functional.linear(x.to(self.weight.dtype), self.weight, self.bias))
        return functional.linear(hidden, self.weight_out, self.bias_out).to(x.dtype)


@builder
def mlp(inputs: int, outputs: int, seed: int, scale: float = 1.0) -> nn.Module:
    """A smooth random net `(*batch, inputs)` → `(*batch, outputs)`, one hidden layer of 16 tanh units, float64.

    Smooth, so that central differences converge; random, so that no symmetry hides a mistake.
    """
    return _SmallNet(inputs, outputs, torch.Generator().manual_seed(seed), 0.6 * scale)


@builder
def constant_net(*values: float) -> nn.Module:
    """A net that gives `values`, shape `(*batch, len(values))`, whatever its input."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("values", torch.tensor(values, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.values.expand(*x.shape[:-1], len(values))

    return Constant()


@builder
def perturbed(module: nn.Module, seed: int, scale: float = 0.5) -> nn.Module:
    """`module` in float64 with N(0, scale²) noise added to each of its parameters: a layer as training would leave it."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * scale)
    return module


@builder
def standard_normal(D: int) -> nn.Module:
    """N(0, I) on R^D as a module whose call returns a Distribution."""
    import flowlib

    return flowlib.StandardNormal(D).double()


@builder
def tensor(values: Any) -> torch.Tensor:
    """A float64 tensor that is not an argument of its own, such as a mask inside a list."""
    return torch.as_tensor(values, dtype=torch.float64)


@builder
def reference(name: str, *args: Any, **kwargs: Any) -> Any:
    """`flowlib`'s own object of that name, built with the arguments, in float64 where it is a module."""
    import flowlib

    made = getattr(flowlib, name)(*args, **kwargs)
    return made.double() if isinstance(made, nn.Module) else made


@builder
def symbol(name: str) -> Any:
    """A real sympy symbol."""
    import sympy

    return sympy.Symbol(name, real=True)


@builder
def symbols(name: str, n: int) -> list:
    """Real sympy symbols name1 … namen as a list."""
    return [symbol(f"{name}{i}") for i in range(1, n + 1)]


@builder
def positive_symbol(name: str) -> Any:
    """A positive sympy symbol."""
    import sympy

    return sympy.Symbol(name, positive=True)


@builder
def positive_symbols(name: str, n: int) -> list:
    """Positive sympy symbols name1 … namen as a list."""
    return [positive_symbol(f"{name}{i}") for i in range(1, n + 1)]


@builder
def expression(text: str) -> Any:
    """A sympy expression; every name that is not a function of sympy's is a real symbol. The text is the checker's own."""
    import sympy

    known = {"exp", "log", "tanh", "sqrt", "pi", "sin", "cos", "Abs", "sinh", "atan", "Rational", "E"}
    names = {n for n in _names(text) if n not in known}
    return sympy.sympify(text, locals={n: sympy.Symbol(n, real=True) for n in names})


@builder
def sympy_function(arguments: str, *texts: str) -> Callable[..., Any]:
    """A function of one list of symbols: `arguments` names them ("u1 u2"), each text is one component of the result."""
    import sympy

    names = arguments.split()
    formal = [sympy.Symbol(n, real=True) for n in names]
    bodies = [expression(t) for t in texts]

    def function(values: Any, *more: Any) -> list:
        given = list(values) if hasattr(values, "__iter__") else [values, *more]
        if len(given) != len(formal):
            raise ValueError(f"expected {len(formal)} symbols ({arguments}), got {len(given)}: {given}")
        return [b.subs(dict(zip(formal, given, strict=True)), simultaneous=True) for b in bodies]

    return function


def _names(text: str) -> set[str]:
    import ast

    return {node.id for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)}
