"""What is timed: a task is some work, and everything that can do it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.layers.couplings import SAME_FUNCTION, VARIANTS, by_hand
from benchmarks.layers.timing import Call
from benchmarks.peers import LIBRARIES, NOTES, Missing, Shape, build

__all__ = ["HAND", "OURS", "SMOKE", "TASKS", "Candidate", "Size", "Task", "evaluations", "prepare"]

HAND = "by hand"
OURS = "flowlib"
TOLERANCE = 1e-5  # in float32, of the outputs of the same function
LEARNING_RATE = 1e-5  # the weights hardly move: the last step is the same work as the first


@dataclass(frozen=True)
class Size:
    """How much of everything. `SMOKE` shows that it works, no more.

    draws: of the sampling task of couplings, `slow_draws` of that of MAF.
    """

    hidden: int = 128
    batch: int = 512
    wide_batch: int = 128
    draws: int = 10_000
    slow_draws: int = 1_000


SMOKE = Size(hidden=16, batch=32, wide_batch=16, draws=100, slow_draws=20)


@dataclass(frozen=True)
class Candidate:
    """Who can do a task: the call that is timed, and what tells whether it is the same work.

    `output` is what the model gives before it is trained: log-densities or log-determinants `(B,)`; empty where the
    work is random. `difference` is the largest |output − reference's|/(1 + |reference's|), None where the weights
    are not the same. `evaluations` is how often a call runs the network, for continuous flows, who choose it.
    """

    call: Call
    output: Tensor
    parameters: int
    note: str = ""
    difference: float | None = None
    evaluations: int | None = None


Action = Callable[[nn.Module, Size], tuple[Call, Tensor]]


@dataclass(frozen=True)
class Task:
    """Some work: `action(model, size)` gives the call that does it and an output to compare.

    Attributes:
        name: as in the page's table.
        work: what one call does; a template, filled with the size.
        shape: the flow.
        by_hand: the reference is a hand-written flow, with flowlib's variants beside it; else it is flowlib.
    """

    name: str
    work: str
    shape: Callable[[Size], Shape]
    action: Action
    by_hand: bool = False

    @property
    def reference(self) -> str:
        return HAND if self.by_hand else OURS


# --- What is done with a model ---


def _points(n: int, D: int) -> Tensor:
    """Standard normal points, the same for every candidate."""
    return torch.randn(n, D, generator=torch.Generator().manual_seed(1))


def _log_prob(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model.log_prob(x)


def _train(batch: Callable[[Size], int]) -> Action:
    """One step: gradients to zero, −mean log p, backward, Adam as torch makes it."""

    def action(model: nn.Module, size: Size) -> tuple[Call, Tensor]:
        x = _points(batch(size), model.D)
        output = _log_prob(model.eval(), x)
        model.train()
        optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

        def step() -> None:
            optimizer.zero_grad()
            loss = -model.log_prob(x).mean()
            loss.backward()
            optimizer.step()

        return step, output

    return action


def _density(batch: Callable[[Size], int]) -> Action:
    """log p(x), without gradient, in evaluation mode."""

    def action(model: nn.Module, size: Size) -> tuple[Call, Tensor]:
        model.eval()
        x = _points(batch(size), model.D)
        return (lambda: _log_prob(model, x)), _log_prob(model, x)

    return action


def _sample(draws: Callable[[Size], int]) -> Action:
    """Draws, without gradient, in evaluation mode."""

    def action(model: nn.Module, size: Size) -> tuple[Call, Tensor]:
        model.eval()
        n = draws(size)
        return (lambda: model.sample(n)), model.sample(n)[:0]

    return action


def _way(way: str, batch: Callable[[Size], int]) -> Action:
    """`to_base` or `to_data` with its log-determinant, without gradient, in evaluation mode."""

    def action(model: nn.Module, size: Size) -> tuple[Call, Tensor]:
        model.eval()
        v = _points(batch(size), model.D)

        @torch.no_grad()
        def move() -> tuple[Tensor, Tensor]:
            return getattr(model, way)(v)

        return move, move()[1]

    return action


# --- The tasks ---


def _coupling(D: int) -> Callable[[Size], Shape]:
    return lambda size: Shape("affine coupling", D, layers=8, hidden=(size.hidden, size.hidden))


def _spline(size: Size) -> Shape:
    return Shape("spline coupling", 64, layers=4, hidden=(size.hidden, size.hidden))


def _maf(size: Size) -> Shape:
    return Shape("MAF", 8, layers=3, hidden=(2 * size.hidden, 2 * size.hidden))


def _glow(size: Size) -> Shape:
    return Shape("Glow", 64, layers=1, hidden=(size.hidden // 4, size.hidden // 4))


def _residual(size: Size) -> Shape:
    return Shape("residual", 2, layers=4, hidden=(size.hidden // 2, size.hidden // 2))


def _continuous(size: Size) -> Shape:
    return Shape("continuous", 2, layers=1, hidden=(size.hidden // 2, size.hidden // 2))


def _batch(size: Size) -> int:
    return size.batch


def _wide(size: Size) -> int:
    return size.wide_batch


def _draws(size: Size) -> int:
    return size.draws


def _slow_draws(size: Size) -> int:
    return size.slow_draws


STEP = "zero_grad, −mean log p, backward and Adam"

TASKS: tuple[Task, ...] = (
    Task("affine coupling, D = 2: training", STEP + " on {batch} points", _coupling(2), _train(_batch), True),
    Task(
        "affine coupling, D = 64: training",
        STEP + " on {wide_batch} points",
        _coupling(64),
        _train(_wide),
        True,
    ),
    Task("affine coupling, D = 64: sampling", "{draws} draws", _coupling(64), _sample(_draws), True),
    Task("MAF, D = 8: training", STEP + " on {batch} points", _maf, _train(_batch)),
    Task("MAF, D = 8: density", "log p of {batch} points", _maf, _density(_batch)),
    Task("MAF, D = 8: sampling", "{slow_draws} draws", _maf, _sample(_slow_draws)),
    Task("spline coupling, D = 64: training", STEP + " on {wide_batch} points", _spline, _train(_wide)),
    Task("spline coupling, D = 64: to the base", "{wide_batch} points", _spline, _way("to_base", _wide)),
    Task("spline coupling, D = 64: to the data", "{wide_batch} points", _spline, _way("to_data", _wide)),
    Task("Glow step, 1×8×8: training", STEP + " on {wide_batch} images", _glow, _train(_wide)),
    Task("Glow step, 1×8×8: to the base", "{wide_batch} images", _glow, _way("to_base", _wide)),
    Task("Glow step, 1×8×8: to the data", "{wide_batch} images", _glow, _way("to_data", _wide)),
    Task("residual, D = 2: training", STEP + " on {batch} points", _residual, _train(_batch)),
    Task("residual, D = 2: density", "log p of {batch} points", _residual, _density(_batch)),
    Task("continuous, D = 2: density", "log p of {batch} points", _continuous, _density(_batch)),
)


# --- Who does it ---


def _models(task: Task, shape: Shape, data: Tensor) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Models by name, the reference first, and for libraries that are not among them the reason."""
    models: dict[str, nn.Module] = {}
    if task.by_hand:
        models[HAND] = by_hand(shape)
        models |= {name: make(models[HAND], shape) for name, make in VARIANTS.items()}
    missing = {}
    for library in LIBRARIES:
        if task.by_hand and library == OURS:
            continue
        try:
            models[library] = build(library, shape, data)
        except Missing as reason:
            missing[library] = str(reason)
    return models, missing


def evaluations(model: nn.Module, call: Call) -> int:
    """How often a call runs the model's network, told by the first layer that has parameters."""
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    first = next(
        m
        for m in model.modules()
        if any(True for _ in m.parameters()) and not any(True for _ in m.children())
    )
    handle = first.register_forward_hook(counted)
    try:
        call()
    finally:
        handle.remove()
    return count


def prepare(task: Task, size: Size) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Everyone who can do a task, the reference first; and the libraries that cannot, with the reason.

    Raises:
        ArithmeticError: an output is not finite, or those of the same weights differ.
    """
    torch.manual_seed(0)
    shape = task.shape(size)
    models, missing = _models(task, shape, _points(512, shape.D))
    candidates: dict[str, Candidate] = {}
    for name, model in models.items():
        model.D = shape.D
        call, output = task.action(model, size)
        if not bool(output.isfinite().all()):
            raise ArithmeticError(f"{task.name}, {name}: expected finite numbers, got {output}")
        difference = None
        if name in SAME_FUNCTION:
            difference = _difference(output, candidates[task.reference].output, f"{task.name}, {name}")
        candidates[name] = Candidate(
            call,
            output,
            sum(p.numel() for p in model.parameters() if p.requires_grad),
            NOTES.get((name, shape.family), ""),
            difference,
            evaluations(model, call) if shape.family == "continuous" else None,
        )
    return candidates, missing


def _difference(output: Tensor, expected: Tensor, who: str) -> float | None:
    if not output.numel():
        return None
    difference = ((output - expected).abs() / (1 + expected.abs())).max().item()
    if not difference < TOLERANCE:
        raise ArithmeticError(
            f"{who}: expected the reference's output to {TOLERANCE:g}, got a difference of {difference:g}"
        )
    return difference
