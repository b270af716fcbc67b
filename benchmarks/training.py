"""Train a flow and measure it on the way: what early stopping would keep, and what is there at the last step."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from flowlib import fit

__all__ = ["Trace", "early_and_last", "fit_and_trace"]


@dataclass
class Trace:
    """What a training run measured.

    Attributes:
        steps: steps taken at each measurement.
        values: name → one number a measurement; NaN and infinities stand as they came.
        seconds: of processor time of this process, measurements included.
        stopped: why the training stopped before its end: a loss or gradient that was not finite. Empty otherwise.
    """

    steps: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: str = ""

    @property
    def best(self) -> int:
        """Index of the smallest finite `validation` value, the first of equal ones. `ValueError` without any.

        >>> Trace([50, 100, 150], {"validation": [2.0, math.nan, 1.5]}).best
        2
        """
        validation = self.values.get("validation", [])
        finite = [k for k, value in enumerate(validation) if math.isfinite(value)]
        if not finite:
            raise ValueError(f"expected a finite validation value, got {validation}")
        return min(finite, key=lambda k: validation[k])


def fit_and_trace(
    flow: nn.Module,
    train: Tensor,
    validation: Tensor,
    measures: Mapping[str, Callable[[], float]],
    *,
    prepare: Callable[[Tensor], Tensor] = lambda batch: batch,
    steps: int,
    eval_every: int,
    **options: object,
) -> Trace:
    """Maximize mean log p(prepare(batch)) with `flowlib.fit`; every `eval_every` steps call all `measures`.

    Args:
        flow: module with `log_prob`; at the end it holds the weights of the best validation value.
        train, validation: examples, as for `fit`.
        measures: name → measurement of the flow, in evaluation mode and with the weights that `fit` would keep (the
            averaged ones); smaller is better. One is named "validation".
        prepare: what is done to a training batch, such as dequantization with fresh noise.
        steps, eval_every, options: as for `fit`.

    A training that diverges is not lost: `Trace.stopped` says why, what was measured before stays.
    Raises `ValueError` for measures without "validation".
    """
    if "validation" not in measures:
        raise ValueError(f'measures: expected one named "validation", got {list(measures)}')
    trace = Trace(values={name: [] for name in measures})

    def loss(batch: Tensor) -> Tensor:
        if flow.training:
            return -flow.log_prob(prepare(batch)).mean()
        # `fit` measures here: the one place where the averaged weights are in the module.
        trace.steps.append(min(eval_every * (len(trace.steps) + 1), steps))
        for name, measure in measures.items():
            trace.values[name].append(measure())
        return torch.tensor(trace.values["validation"][-1])

    start = time.process_time()  # of this process alone: it has one thread, and others may have the machine
    try:
        fit(
            flow,
            train,
            loss=loss,
            validation=validation,
            steps=steps,
            eval_every=eval_every,
            progress=False,
            **options,
        )
    except FloatingPointError as error:
        trace.stopped = str(error)
    trace.seconds = round(time.process_time() - start, 1)
    return trace


def early_and_last(trace: Trace, name: str = "test") -> dict[str, float | int | str]:
    """The value of `name` at the best step by validation and at the last one.

    A training that stopped has no last step: NaN, and "stopped" says why; one that never was finite has no best step.

    >>> early_and_last(Trace([50, 100], {"validation": [2.0, 3.0], "test": [2.1, 3.2]}))
    {'early': 2.1, 'last': 3.2, 'best step': 50}
    >>> early_and_last(Trace([50], {"validation": [2.0], "test": [2.1]}, stopped="the loss is nan"))["last"]
    nan
    """
    found: dict[str, float | int | str] = {"early": math.nan, "last": math.nan, "best step": 0}
    if any(math.isfinite(value) for value in trace.values["validation"]):
        found |= {"early": trace.values[name][trace.best], "best step": trace.steps[trace.best]}
    if trace.stopped:
        return found | {"stopped": trace.stopped}
    return found | {"last": trace.values[name][-1]}
