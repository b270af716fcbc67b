"""Names that are easily taken for each other: what a mutant calls instead."""

from __future__ import annotations

__all__ = ["DROPPABLE_ATTRIBUTES", "ESSENTIAL", "NEGATIVE_IS_NONSENSE", "SIBLINGS", "SILENT"]

# Each name of a pair replaces the other.
_PAIRS = """
    exp log         sum mean        sample rsample      forward inverse     zeros ones      zeros_like ones_like
    new_zeros new_ones              cat stack           min max             amin amax       argmin argmax
    all any         sin cos         sinh cosh           sigmoid tanh        softplus relu   rand randn
    rand_like randn_like            squeeze unsqueeze   cumsum cumprod      triu tril       floor ceil
    sqrt square     det trace       diff integrate      And Or              loc scale       mean stddev
    jacobian hessian                hstack vstack       append extend       ValueError TypeError
    batch_shape event_shape         no_grad enable_grad add mul             sub div         cdf icdf
    row_stack column_stack          rows cols           prior encoder       fliplr flipud   Gt Lt
    repeat repeat_interleave        log_softmax softmax logsigmoid sigmoid  minimum maximum
"""

# One-way: the second is a mistake for the first, hardly the other way round.
_ONE_WAY = """
    log log2        log log10       log log1p           exp expm1           sum prod        prod sum
    logsumexp sum   logsumexp mean  logsumexp amax      slogdet det         argsort sort    eye ones
    abs neg         log_prob cdf    log_prob entropy    mean variance       softmax sigmoid lgamma log
    diagonal diag   median mean     erfinv erf          reversed list       randint randperm
"""


def _table() -> dict[str, tuple[str, ...]]:
    pairs, one_way = _PAIRS.split(), _ONE_WAY.split()
    found: dict[str, list[str]] = {}
    for a, b in zip(pairs[::2], pairs[1::2], strict=True):
        found.setdefault(a, []).append(b)
        found.setdefault(b, []).append(a)
    for a, b in zip(one_way[::2], one_way[1::2], strict=True):
        found.setdefault(a, []).append(b)
    return {k: tuple(dict.fromkeys(v)) for k, v in found.items()}


SIBLINGS = _table()

# `x.T` is easily forgotten.
DROPPABLE_ATTRIBUTES = {"T", "mT", "H", "mH"}

# Without the call, or with a minus before an argument of it, there is a crash and no mistake that somebody makes.
ESSENTIAL = {
    "Symbol", "enumerate", "getattr", "hasattr", "isinstance", "len", "no_grad", "range", "setattr", "str", "super",
    "symbols", "type", "zip",
}  # fmt: skip
NEGATIVE_IS_NONSENSE = ESSENTIAL | {"ModuleList", "dict", "int", "list", "reversed", "set", "sorted", "tuple"}

# Calls that only speak: what they say is not graded.
SILENT = {"print", "warn", "display"}
