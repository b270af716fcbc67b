"""Stands in for PyTorch where it cannot be installed: any name imports, can be subclassed and decorates; nothing computes."""

import importlib.machinery
import math
import sys
from abc import ABCMeta
from functools import cache

__version__ = "2.0 (stand-in)"
pi, inf, nan = math.pi, math.inf, math.nan


class _AnyName(ABCMeta):
    def __getattr__(cls, name):
        return _named(name)


class Anything(metaclass=_AnyName):
    """A class, function, constant or decorator of torch."""

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        # `@torch.no_grad()` leaves the function as it is.
        return args[0] if args and callable(args[0]) else self

    def __getattr__(self, name):
        return _named(name)

    def __iter__(self):
        return iter(())


@cache
def _named(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _AnyName(name, (Anything,), {"__module__": "torch"})


def _itself(self, *others):
    return self


# Constants of modules are computed on import.
for _operation in (
    "add",
    "radd",
    "sub",
    "rsub",
    "mul",
    "rmul",
    "truediv",
    "rtruediv",
    "pow",
    "matmul",
    "getitem",
    "neg",
):
    setattr(Anything, f"__{_operation}__", _itself)


class _Submodules:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("torch."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__getattr__ = _named


__getattr__ = _named
sys.meta_path.append(_Submodules())
