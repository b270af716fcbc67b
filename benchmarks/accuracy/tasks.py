"""The data sets, the recipes, and one run of each."""

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from benchmarks import digits_flows
from benchmarks.patches import load_patches
from benchmarks.peers import PeerFlow, Shape, build
from benchmarks.record import ROOT, load
from benchmarks.training import early_and_last, fit_and_trace
from flowlib import fit, real_nvp
from flowlib.data import LEVELS, TARGETS, dequantize, two_moons, two_moons_log_prob

__all__ = ["AFFINE", "BEST", "RECIPES", "SEEDS", "TASKS", "Budget", "Recipe", "Task", "settings", "tiny"]

SEEDS = (0, 1, 2, 3, 4)
NOISE = 0.05
_left, _right, _low, _high = TARGETS["two_moons"].extent
# log of the area that a plot of the moons shows, minus their entropy, which is 0.29 nats.
UNIFORM_MOONS = round(math.log((_right - _left) * (_high - _low)) - 0.29, 2)
FROM_FILE = "flowlib/results/digits_flows.json"


@dataclass(frozen=True)
class Recipe:
    """How a flow starts and is trained.

    Attributes:
        identity_start, log_scale_bound: of `Shape`; None where the library's own defaults stand, see `own_start`.
        standardize: see `Shape`.
        clip, schedule: of `flowlib.fit`.
        tuned: whether the data set's dropout, averaging and step size are used (`Task`), else lr 1e-3 alone.
    """

    identity_start: bool | None
    log_scale_bound: float | None
    standardize: bool
    clip: float | None
    schedule: str | None
    tuned: bool


# "plain": what one gets from the library and Adam. "bare": the same of flowlib without what it does on its own.
RECIPES = {
    "plain": Recipe(None, None, False, None, None, tuned=False),
    "ours": Recipe(True, 2.0, True, 1.0, "cosine", tuned=True),
    "bare": Recipe(False, None, False, None, None, tuned=False),
}


def own_start(library: str) -> tuple[bool, float | None]:
    """`identity_start` and `log_scale_bound` that stand for a library's defaults; those of `flowlib.real_nvp`.

    The other libraries' networks start at random; where their scales are bounded, they are so by themselves.
    """
    if library != "flowlib":
        return False, None
    defaults = inspect.signature(real_nvp).parameters
    return defaults["zero_last"].default, defaults["log_scale_bound"].default


@dataclass(frozen=True)
class Budget:
    """What is equal for all rows of a data set."""

    steps: int
    batch_size: int
    layers: int
    hidden: tuple[int, ...]
    points: int = 10_000  # two moons alone
    eval_every: int = 50


@dataclass(frozen=True)
class Task:
    """A data set with its budget, and what the tuned recipe says on it.

    Attributes:
        budget: see `Budget`.
        D: number of variables.
        lr, dropout, average: of the tuned recipe.
        unit: of the numbers.
        uniform: what a uniform density has in that unit. A flow that is worse has diverged, finite or not: its mean
            over seeds would say nothing.
        run: (task, library, recipe, seed) → what was measured.
        references: name of a row → (seed → what was measured): rows that are not of a library with a recipe.
    """

    D: int
    budget: Budget
    lr: float
    dropout: float
    average: float
    unit: str
    uniform: float
    run: "Callable[[Task, str, str, int], dict]"
    references: "dict[str, Callable[[Task, int], dict]]"

    def shape(self, library: str, recipe: str) -> Shape:
        """The affine couplings of a row; random permutations between them where there are more than two variables."""
        r = RECIPES[recipe]
        identity_start, bound = (r.identity_start, r.log_scale_bound)
        if identity_start is None:
            identity_start, bound = own_start(library)
        return Shape(
            "affine coupling",
            self.D,
            self.budget.layers,
            self.budget.hidden,
            dropout=self.dropout if r.tuned else 0.0,
            identity_start=identity_start,
            log_scale_bound=bound,
            standardize=r.standardize,
            permute=self.D > 2,
            rescale=True,
        )

    def options(self, recipe: str) -> dict:
        """What `fit` is given besides steps and batch size."""
        r = RECIPES[recipe]
        return {
            "clip": r.clip,
            "schedule": r.schedule,
            "lr": self.lr if r.tuned else 1e-3,
            "average": self.average if r.tuned else 0.0,
        }


def _built(task: Task, library: str, recipe: str, seed: int, data: Tensor) -> PeerFlow:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    np.random.seed(seed)  # FrEIA's permutations
    return build(library, task.shape(library, recipe), data)


def _weights(flow: nn.Module) -> int:
    return sum(p.numel() for p in flow.parameters() if p.requires_grad)


# --- Two moons: excess over the exact density in nats ---


def _excess(log_prob: Tensor, test: Tensor) -> float:
    return (two_moons_log_prob(test, NOISE) - log_prob).mean().item()


def _moons_data(task: Task, seed: int) -> tuple[Tensor, Tensor]:
    return tuple(two_moons(task.budget.points, NOISE, seed=10 * seed + part) for part in (1, 2))


def _run_moons(task: Task, library: str, recipe: str, seed: int) -> dict:
    train, test = _moons_data(task, seed)
    flow, row, start = _built(task, library, recipe, seed, train), {"last": math.nan}, time.process_time()
    try:
        fit(
            flow,
            train,
            steps=task.budget.steps,
            batch_size=task.budget.batch_size,
            seed=seed,
            progress=False,
            **task.options(recipe),
        )
        with torch.no_grad():
            row["last"] = _excess(flow.log_prob(test), test)
    except FloatingPointError as error:
        row["stopped"] = str(error)
    return row | {"parameters": _weights(flow), "seconds": round(time.process_time() - start, 1)}


def _moons_gaussian(task: Task, seed: int) -> dict:
    train, test = _moons_data(task, seed)
    return {"last": _excess(_gaussian(train)(test), test)}


# --- Digits: bits per dimension ---


def _run_digits(task: Task, library: str, recipe: str, seed: int) -> dict:
    splits = digits_flows.splits_of(seed)
    flow = _built(task, library, recipe, seed, dequantize(splits[0], seed=seed))
    row = digits_flows.measured(flow, splits, seed, task.budget.steps, **task.options(recipe))
    return row | {"trace": {name: row["trace"][name] for name in ("validation", "test")}}


def _measured_before() -> list[dict]:
    return load(ROOT / FROM_FILE).get("runs", [])


def _digits_row(model: str) -> Callable[[Task, int], dict]:
    """A row of `benchmarks.digits_flows`, from its result file where that has the split."""

    def reference(task: Task, seed: int) -> dict:
        found = [row for row in _measured_before() if (row["model"], row["split"]) == (model, seed)]
        full = task.budget.steps == digits_flows.RECIPE["steps"] or model in digits_flows.TABLES
        row = found[0] | {"from": FROM_FILE} if found and full else None
        return _short(row or digits_flows.run(model, seed, task.budget.steps))

    return reference


def _short(row: dict) -> dict:
    """Without the trace: references stand in the table, not in a figure of the training."""
    kept = ("early", "last", "best step", "parameters", "seconds", "stopped", "from")
    return {name: row[name] for name in kept if name in row}


def _sixteen_couplings(task: Task, seed: int) -> dict:
    """`digits_flows`' twelve couplings, and four more."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    splits = digits_flows.splits_of(seed)
    flow = digits_flows.checkerboard_real_nvp(dequantize(splits[0]), bound=1.0, dropout=0.3, layers=16)
    options = {"lr": digits_flows.RECIPE["lr"], "average": digits_flows.RECIPE["average"]}
    return _short(digits_flows.measured(flow, splits, seed, task.budget.steps, **options))


# --- Patches: nats of 63 numbers ---


def _run_patches(task: Task, library: str, recipe: str, seed: int) -> dict:
    train, validation, test = load_patches(seed)
    flow = _built(task, library, recipe, seed, train)

    def nats(x: Tensor) -> Callable[[], float]:
        return lambda: -torch.cat([flow.log_prob(part) for part in x.split(2048)]).mean().item()

    trace = fit_and_trace(
        flow,
        train,
        validation[:1],  # what is measured stands in the measures
        {"validation": nats(validation), "test": nats(test)},
        steps=task.budget.steps,
        eval_every=task.budget.eval_every,
        batch_size=task.budget.batch_size,
        seed=seed,
        **task.options(recipe),
    )
    row = early_and_last(trace) | {"parameters": _weights(flow), "seconds": trace.seconds}
    return row | {
        "steps": trace.steps,
        "trace": {name: [round(v, 3) for v in values] for name, values in trace.values.items()},
    }


def _gaussian(train: Tensor) -> Callable[[Tensor], Tensor]:
    """log-density of the Gaussian with the training data's mean and full covariance."""
    x = train.double()
    gaussian = MultivariateNormal(x.mean(0), torch.cov(x.T))
    return lambda points: gaussian.log_prob(points.double())


def _patches_gaussian(task: Task, seed: int) -> dict:
    train, _, test = load_patches(seed)
    nats = -_gaussian(train)(test).mean().item()
    return {"early": nats, "last": nats}


GAUSSIAN = "one Gaussian, full covariance"
HISTOGRAM = "a histogram for each pixel"
DEEPER = "RealNVP, 16 couplings"
AFFINE = ("RealNVP, 12 couplings", DEEPER)
BEST = (*AFFINE, "spline coupling", "RealNVP behind histograms", "spline coupling behind histograms")

TASKS = {
    "two moons": Task(
        2,
        Budget(2000, 512, 8, (64, 64)),
        lr=2e-3,
        dropout=0.0,
        average=0.99,
        unit="nats above the exact density, on the same test points",
        uniform=UNIFORM_MOONS,
        run=_run_moons,
        references={GAUSSIAN: _moons_gaussian},
    ),
    "digits": Task(
        64,
        Budget(2000, digits_flows.RECIPE["batch size"], 6, (96, 96)),
        lr=1e-3,
        dropout=0.2,
        average=digits_flows.RECIPE["average"],
        unit="bits per dimension",
        uniform=math.log2(LEVELS),
        run=_run_digits,
        references={name: _digits_row(name) for name in (GAUSSIAN, HISTOGRAM, *BEST)}
        | {DEEPER: _sixteen_couplings},
    ),
    "patches": Task(
        63,
        Budget(1000, 128, 6, (96, 96)),
        lr=1e-3,
        dropout=0.2,
        average=digits_flows.RECIPE["average"],
        unit="nats: negative log-likelihood of a patch, 63 numbers",
        uniform=0.0,  # of density 1, on an interval of length 1 for each number
        run=_run_patches,
        references={GAUSSIAN: _patches_gaussian},
    ),
}


def tiny(task: Task) -> Task:
    """The same with a few steps and narrow networks: shows that it runs, measures nothing."""
    budget = Budget(4, 64, 2, (8, 8), points=200, eval_every=2)
    return Task(**(_fields(task) | {"budget": budget}))


def _fields(task: Task) -> dict:
    return {name: getattr(task, name) for name in Task.__dataclass_fields__}


def settings(task: Task) -> dict:
    """What must be the same for runs of two days to stand in one table, as JSON has it."""
    return {
        "budget": asdict(task.budget) | {"hidden": list(task.budget.hidden)},
        "unit": task.unit,
        "uniform": task.uniform,
        "recipes": {
            name: asdict(recipe) | task.options(name) | {"dropout": task.dropout if recipe.tuned else 0.0}
            for name, recipe in RECIPES.items()
        },
    }
