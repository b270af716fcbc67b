"""Every family of flows of the course on the same two-dimensional targets.

    python -m benchmarks.families --workers 2

A run is a family, a target and a seed: 10,000 training points, one recipe for all families, 10,000 test points that
all families share. Its *excess* is the test negative log-likelihood minus that of the exact density on the same
points, in nats. Steps are chosen such that a run takes about a quarter of a minute on one thread, whatever the family: the table
compares families at equal time, not at equal size, and none of them was tuned.

Writes `flowlib/results/families.json`, after each run; runs that are there already are not repeated, so an interrupted
command goes on where it was. `--smoke` makes a few steps of everything and writes elsewhere.
"""

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from coursekit.course import atomic_write
from flowlib import (
    ActNorm,
    AdditiveCouplingLayer,
    Affine,
    Continuous,
    ConvergenceError,
    Flow,
    Planar,
    PLULinear,
    RationalQuadraticSpline,
    Rescaling,
    SplitCoupling,
    StandardNormal,
    alternating_masks,
    continuous_flow,
    fit,
    iaf,
    maf,
    mlp,
    real_nvp,
    residual_flow,
    spline_flow,
)
from flowlib.data import TARGETS
from flowlib.ode import AdaptiveStep, FixedStep

__all__ = ["FAMILIES", "RECIPE", "TARGET_NAMES", "Family", "at_evaluation", "main", "run", "write"]

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "flowlib" / "results" / "families.json"
SMOKE = ROOT / "build" / "families_smoke.json"
TARGET_NAMES = ("two_moons", "eight_gaussians", "checkerboard", "rings")
POINTS = 10_000
RECIPE = {"batch_size": 512, "clip": 1.0, "schedule": "cosine", "average": 0.99}
HIDDEN = (64, 64)


@dataclass(frozen=True)
class Family:
    """A row of the table.

    Attributes:
        build: training data `(N, 2)` → an untrained flow.
        steps: of training.
        lr: step size.
        log_det: how exact the log-determinant is at evaluation.
        inverse: how the direction that is not a formula is computed, or "formula" where both are.
    """

    build: Callable[[Tensor], Flow]
    steps: int
    log_det: str = "exact"
    inverse: str = "formula"
    lr: float = 2e-3


def _flow(layers: Sequence[nn.Module], data: Tensor) -> Flow:
    return Flow(StandardNormal(2), [*layers, Affine.from_data(data)])


def _nice(data: Tensor) -> Flow:
    couplings = [
        AdditiveCouplingLayer(mlp([2, *HIDDEN, 2], zero_last=True), b) for b in alternating_masks(2, 8)
    ]
    return _flow([*couplings, Rescaling(2)], data)


def _glow(data: Tensor) -> Flow:
    """Glow's step on vectors: actnorm, an invertible matrix, a coupling."""
    layers: list[nn.Module] = []
    for _ in range(6):
        coupling = SplitCoupling(mlp([1, *HIDDEN, 2], zero_last=True), 2, log_scale_bound=2.0)
        layers += [coupling, PLULinear(2), ActNorm(2)]
    flow = _flow(layers, data)
    flow.log_prob(data)  # the first batch sets the actnorms
    return flow


def _continuous(data: Tensor) -> Flow:
    return continuous_flow(2, HIDDEN, solver=FixedStep(4, "rk4"), data=data)


FAMILIES: dict[str, Family] = {
    "linear": Family(lambda data: _flow([PLULinear(2)], data), 1000),
    "NICE": Family(_nice, 2000),
    "RealNVP": Family(lambda data: real_nvp(2, 8, HIDDEN, data=data), 2000),
    "Glow": Family(_glow, 1800),
    "MAF": Family(lambda data: maf(2, 6, HIDDEN, data=data), 2500, inverse="D passes (sampling)"),
    "IAF": Family(lambda data: iaf(2, 6, HIDDEN, data=data), 1500, inverse="D passes (density)"),
    "spline coupling": Family(lambda data: spline_flow(2, 4, HIDDEN, bins=16, data=data), 1300),
    "autoregressive spline": Family(
        lambda data: maf(2, 2, HIDDEN, elementwise=RationalQuadraticSpline(16), data=data),
        2000,
        inverse="D passes (sampling)",
    ),
    "planar": Family(
        lambda data: _flow([Planar(2) for _ in range(16)], data), 1500, inverse="Newton's method (density)"
    ),
    "residual": Family(
        # Normalized weights move slowly: they want a larger step.
        lambda data: residual_flow(2, 8, data=data),
        600,
        inverse="fixed point (sampling)",
        lr=1e-2,
    ),
    "continuous": Family(_continuous, 350, log_det="solver's tolerance", inverse="solver, both ways"),
}


def at_evaluation(flow: Flow) -> Flow:
    """A continuous flow is measured with a tolerance at which its likelihood no longer moves."""
    for layer in flow.transformations:
        if isinstance(layer, Continuous):
            layer.solver = AdaptiveStep(rtol=1e-5, atol=1e-5)
    return flow


@torch.no_grad()
def _inverse_error(flow: Flow, x: Tensor) -> dict[str, float]:
    """|forward(inverse(x)) − x| in float32: the largest over the test points, and what 99 % of them stay below."""
    error = (flow.forward(flow.inverse(x)[0])[0] - x).abs().amax(-1)
    return {"inverse error": error.max().item(), "inverse error, 99 %": error.quantile(0.99).item()}


def run(family: str, target_name: str, seed: int, steps: int | None = None, points: int = POINTS) -> dict:
    """Train and measure one flow on one thread; a record for the table.

    >>> record = run("linear", "two_moons", seed=0, steps=2, points=100)
    >>> record["family"], record["parameters"], math.isfinite(record["excess"])
    ('linear', 10, True)
    """
    torch.set_num_threads(1)
    target, recipe = TARGETS[target_name], FAMILIES[family]
    train, test = (target.sample(points, seed=10 * seed + part) for part in (1, 2))
    torch.manual_seed(seed)
    flow = recipe.build(train)
    record: dict = {
        "family": family,
        "target": target_name,
        "seed": seed,
        "steps": steps or recipe.steps,
        "parameters": sum(p.numel() for p in flow.parameters()),
    }
    try:
        start = time.process_time()  # of this process alone: others may have the machine
        fit(flow, train, steps=record["steps"], lr=recipe.lr, **RECIPE, seed=seed, progress=False)
        record["training seconds"] = round(time.process_time() - start, 2)
    except FloatingPointError as error:
        record["stopped"] = str(error)
    flow = at_evaluation(flow)
    try:
        with torch.no_grad():
            log_prob = flow.log_prob(test)
        gaps = target.log_prob(test) - log_prob
        record["NLL"] = -log_prob.mean().item()
        record["excess"] = gaps.mean().item()
        record["excess, standard error over points"] = (gaps.std() / math.sqrt(len(gaps))).item()
        start = time.process_time()
        flow.sample((points,))
        record["sampling seconds"] = round(time.process_time() - start, 4)
        record |= _inverse_error(flow, test)
    except ConvergenceError as error:
        record["failed"] = str(error)  # an iteration gave up; what was measured before it stays
    return record


def write(records: Sequence[dict], out: Path) -> None:
    """All records in a fixed order, with what the table needs to be read, into one file."""
    order = {name: k for k, name in enumerate((*FAMILIES, *TARGETS))}
    result = {
        "command": "python -m benchmarks.families",
        "unit": "nats",
        "points": POINTS,
        "recipe": RECIPE,
        "families": {
            name: {"steps": f.steps, "lr": f.lr, "log-determinant": f.log_det, "inverse": f.inverse}
            for name, f in FAMILIES.items()
        },
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "runs": sorted(records, key=lambda r: (order[r["family"]], order[r["target"]], r["seed"])),
    }
    atomic_write(out, (json.dumps(result, indent=1) + "\n").encode())


def _finished(out: Path, steps: int | None) -> list[dict]:
    """Records that are there and were made with today's number of steps."""
    if not out.exists():
        return []
    records = json.loads(out.read_text(encoding="utf-8"))["runs"]
    known = [r for r in records if r["family"] in FAMILIES]
    return [r for r in known if r["steps"] == (steps or FAMILIES[r["family"]].steps)]


def _table(records: Sequence[dict]) -> str:
    lines = []
    for family in FAMILIES:
        found = [r for r in records if r["family"] == family]
        if found:
            seconds = [r.get("training seconds", math.nan) for r in found]
            means = []
            for name in TARGET_NAMES:
                excess = [r["excess"] for r in found if r["target"] == name and "excess" in r]
                means.append(f"{sum(excess) / len(excess):9.3f}" if excess else f"{'':9}")
            lines.append(f"{family:<24}{''.join(means)}   up to {max(seconds):.0f} s")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.families", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--families", nargs="+", choices=list(FAMILIES), default=list(FAMILIES))
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGET_NAMES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each (default 1)")
    parser.add_argument("--smoke", action="store_true", help=f"3 steps each, 500 points, into {SMOKE.name}")
    parser.add_argument("--out", type=Path, help=f"default: {RESULT.relative_to(ROOT)}")
    given = parser.parse_args(arguments)
    out = given.out or (SMOKE if given.smoke else RESULT)
    if given.smoke and out == RESULT:
        parser.error("--smoke must not write into the table")
    steps, points = (3, 500) if given.smoke else (None, POINTS)

    records = _finished(out, steps)
    done = {(r["family"], r["target"], r["seed"]) for r in records}
    todo = [(f, t, s) for s in given.seeds for t in given.targets for f in given.families]
    todo = [job for job in todo if job not in done]
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the workers, when they start
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        jobs = {pool.submit(run, *job, steps, points): job for job in todo}
        for job in tqdm(as_completed(jobs), total=len(jobs), unit="run"):
            records.append(job.result())
            write(records, out)
    print(f"excess over the exact density in nats: {', '.join(TARGET_NAMES)}")
    print(_table(records))


if __name__ == "__main__":
    main()
