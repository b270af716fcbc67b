"""One training loop for every model of the course."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from flowlib.checks import check_size

__all__ = ["History", "fit"]


@dataclass
class History:
    """What a training run recorded; losses in the loss's unit (nats for a log-likelihood)."""

    # Thousands of numbers: not for the line that a notebook shows of the cell's last value.
    train_loss: list[float] = field(default_factory=list, repr=False)  # one a step
    held_out_steps: list[int] = field(default_factory=list, repr=False)  # steps taken when it was measured
    held_out_loss: list[float] = field(default_factory=list, repr=False)
    best_step: int | None = None  # steps taken at the best held-out loss; these weights are kept
    stopped_early: bool = False
    seconds: float = 0.0


class _Average:
    """Exponential moving average of parameters, over about 1/(1 − decay) steps.

    The decay warms up as (1 + t)/(10 + t), so that a short run is not dominated by the starting weights.
    """

    def __init__(self, parameters: list[Tensor], decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.values = [p.detach().clone() for p in parameters]

    def update(self, parameters: list[Tensor]) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.values, [p.detach() for p in parameters], 1 - decay)


@torch.no_grad()
def _copy(source: list[Tensor], target: list[Tensor]) -> None:
    for s, t in zip(source, target, strict=True):
        t.copy_(s)


def batches(data: Tensor, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches without end: every epoch in a new order, its short rest dropped."""
    size = min(batch_size, len(data))
    while True:
        order = torch.randperm(len(data), generator=generator)
        for start in range(0, len(data) - size + 1, size):
            yield data[order[start : start + size]]


def _likely_cause(batch: Tensor, parameters: list[Tensor]) -> str:
    if not bool(batch.isfinite().all()):
        return "the data holds NaN or infinite values"
    if not all(bool(p.isfinite().all()) for p in parameters):
        return "a parameter is NaN or infinite before this step"
    return "a scale overflowed or a logarithm met 0; lower lr, bound the log-scale, or clip the gradient"


def fit(
    module: nn.Module,
    data: Tensor,
    *,
    loss: Callable[[Tensor], Tensor] | None = None,
    validation: Tensor | None = None,
    steps: int = 2000,
    batch_size: int = 512,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    clip: float | None = 1.0,
    schedule: str | None = "cosine",
    average: float = 0.0,
    eval_every: int = 100,
    patience: int | None = None,
    max_steps: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> History:
    """Minimize a loss over the module's parameters with AdamW, and leave the module in evaluation mode.

    Args:
        module: the model; its parameters with `requires_grad` are trained.
        data: training examples `(N, …)`.
        loss: maps a batch to a scalar. Default: `module.loss` where there is one, else −mean of
            `module.log_prob`.
        validation: held-out examples. With them the loss is measured in evaluation mode every `eval_every`
            steps, always with the same random numbers, and the best weights are kept at the end.
        steps, batch_size, lr, weight_decay: as usual. Batches are drawn without replacement, epoch by epoch.
        clip: largest norm of the gradient; None for no clipping.
        schedule: "cosine" lowers lr to 0 along half a cosine wave; None keeps it.
        average: decay of the moving average of weights, 0 for none; the averaged weights are measured and
            kept.
        patience: stop after so many measurements in a row without improvement; needs `validation`.
        max_steps: cuts `steps`; None or 0 for no cut. For a quick look at something that takes long.
        seed: of batch order and dropout. The global random state is left as it was.
        progress: show a bar with the loss.

    Returns:
        History: losses, best step, seconds.

    Raises:
        FloatingPointError: loss or gradient not finite; names step and likely cause. The module keeps the
            last weights whose loss and gradient were finite.
        ValueError: bad argument.

    Sources: Kingma, Ba 2014, arXiv:1412.6980; Loshchilov, Hutter 2017, arXiv:1711.05101 (AdamW), 2016,
    arXiv:1608.03983 (cosine); Polyak, Juditsky 1992 (averaging).

    >>> from flowlib import Flow, Rescaling, StandardNormal
    >>> flow = Flow(StandardNormal(2), [Rescaling(2)])
    >>> history = fit(flow, 3 * torch.randn(1000, 2), steps=20, lr=0.1, progress=False)
    >>> len(history.train_loss), history.train_loss[-1] < history.train_loss[0]
    (20, True)
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("module has no trainable parameters (are its layers in an nn.ModuleList?)")
    if schedule not in ("cosine", None):
        raise ValueError(f'schedule must be "cosine" or None, got {schedule!r}')
    if not 0 <= average < 1:
        raise ValueError(f"average must be in [0, 1), got {average!r}")
    if patience is not None and validation is None:
        raise ValueError("patience needs validation data")
    if len(data) == 0:
        raise ValueError("data holds no example")
    for name, value in (("steps", steps), ("batch_size", batch_size), ("eval_every", eval_every)):
        check_size(name, value)
    total = min(steps, max_steps) if max_steps else steps
    loss = loss or getattr(module, "loss", None) or (lambda batch: -module.log_prob(batch).mean())

    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    averaged = _Average(parameters, average) if average else None
    before = [p.detach().clone() for p in parameters]  # the weights one step ago, to return to
    best = None
    history = History()
    start = time.perf_counter()

    def held_out_loss() -> float:
        current = [p.detach().clone() for p in parameters]
        if averaged:
            _copy(averaged.values, parameters)
        module.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            value = float(loss(validation))
            value = value if math.isfinite(value) else math.inf  # NaN would win or lose no comparison
        module.train()
        _copy(current, parameters)
        return value

    def stop(what: str, step: int, batch: Tensor) -> None:
        cause = _likely_cause(batch, parameters)
        _copy(before, parameters)
        module.eval()
        raise FloatingPointError(f"{what} at step {step} of {total}; likely cause: {cause}")

    with torch.random.fork_rng(devices=[]), tqdm(total=total, disable=not progress, unit="step") as bar:
        torch.manual_seed(seed)
        stream = batches(data, batch_size, torch.Generator().manual_seed(seed))
        module.train()
        for step in range(total):
            batch = next(stream)
            if schedule == "cosine":
                for group in optimizer.param_groups:
                    group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / total))
            optimizer.zero_grad()
            value = loss(batch)
            if value.ndim:
                raise ValueError(f"loss: expected a scalar, got shape {tuple(value.shape)}; take the mean")
            if not math.isfinite(value.item()):
                stop(f"the loss is {value.item()}", step, batch)
            value.backward()
            norm = nn.utils.clip_grad_norm_(parameters, math.inf if clip is None else clip)
            if not math.isfinite(norm.item()):
                stop(f"the loss is finite ({value.item():.4g}) but its gradient is not", step, batch)
            _copy(parameters, before)
            optimizer.step()
            if averaged:
                averaged.update(parameters)
            history.train_loss.append(value.item())
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{value.item():.3f}", refresh=False)
            if validation is not None and ((step + 1) % eval_every == 0 or step + 1 == total):
                history.held_out_steps.append(step + 1)
                history.held_out_loss.append(held_out_loss())
                if best is None or history.held_out_loss[-1] < min(history.held_out_loss[:-1]):
                    history.best_step = step + 1
                    best = [v.detach().clone() for v in (averaged.values if averaged else parameters)]
                since_best = len(history.held_out_loss) - 1 - history.held_out_steps.index(history.best_step)
                if patience is not None and since_best >= patience:
                    history.stopped_early = True
                    break
    if best is not None:
        _copy(best, parameters)
    elif averaged:
        _copy(averaged.values, parameters)
    module.eval()
    history.seconds = time.perf_counter() - start
    return history
