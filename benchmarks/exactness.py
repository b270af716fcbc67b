"""How exact flows are after training: round trips and log-determinants, in float32 and float64.

    python -m benchmarks.exactness [--smoke] [--fresh] [--out FILE]

Every family of every library (`benchmarks.peers`), and all of the course's table of families (`benchmarks.families`), is
trained for 300 steps on two moons. Then, at 1,000 test points and at 200 points far out (three times the data's standard
deviation), in float32 and with the same weights in float64:

    round trip       |to_data(to_base(x)) − x|, the larger of the two coordinates
    log-det to base  |log|det ∂u/∂x| as the flow says − that of the Jacobian by autodiff|
    log-det to data  the same for log|det ∂x/∂u| at u = to_base(x), against minus that number

each as the largest and as what 99 % of the points stay below. The Jacobian is always that of the float64 copy, in the
direction of data to base. A flow that cannot do something says so in "cannot". Families with a solver or a fixed
point are as exact as their tolerance, whatever the dtype. normflows adds up the log-determinants of its layers in torch's
default dtype, which is left at float32, as after `model.double()`.

The file is written after each flow, and flows that it holds are not repeated unless `--fresh` says so.
"""

import argparse
import copy
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.accuracy.tasks import own_start
from benchmarks.families import FAMILIES as TABLE
from benchmarks.families import at_evaluation
from benchmarks.peers import LIBRARIES, NOTES, Missing, Shape, build
from benchmarks.record import load, machine, path_of, versions, write
from flowlib import Flow, fit
from flowlib.data import two_moons

__all__ = ["SETTINGS", "errors", "main", "measure"]

COMMAND = "python -m benchmarks.exactness"
SETTINGS = {
    "steps": 300,
    "batch size": 512,
    "lr": 1e-3,
    "seed": 0,
    "points": 1000,
    "far points": 200,
    "noise": 0.05,
}
SMOKE = SETTINGS | {"steps": 2, "points": 20, "far points": 5}
SHAPES = {
    shape.family: shape
    for shape in (
        Shape("affine coupling", 2, 8, (64, 64), rescale=True),
        Shape("MAF", 2, 4, (64, 64), rescale=True),
        Shape("spline coupling", 2, 4, (64, 64)),
        Shape("residual", 2, 4, (64,)),
        Shape("continuous", 2, 1, (64, 64)),
    )
}
FAMILY_TABLE = "table of families"  # in place of a library's name: flowlib, as benchmarks.families builds it


class Maps(Protocol):
    """What is measured: both directions, each with its log-determinant."""

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def to_data(self, u: Tensor) -> tuple[Tensor, Tensor]: ...


class _Both(nn.Module):
    """A `flowlib.Flow` with the names of a `PeerFlow`."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow.inverse(x)

    def to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow.forward(u)


def _peer(library: str, family: str, data: Tensor) -> nn.Module:
    identity_start, bound = own_start(library)
    own = {"identity_start": identity_start, "log_scale_bound": bound}
    return build(library, Shape(**(vars(SHAPES[family]) | own)), data)


def exact_log_det(flow: Maps, x: Tensor) -> Tensor:
    """log|det ∂u/∂x| of `to_base` by autodiff: x `(B, D)` → `(B,)`."""
    J = torch.autograd.functional.jacobian(lambda v: flow.to_base(v)[0].sum(0), x)  # (D, B, D)
    return torch.linalg.slogdet(J.movedim(1, 0))[1]


def errors(flow: Maps, exactly: Maps, x: Tensor) -> dict:
    """Errors of a flow at x `(B, D)` in the dtype of x; `exactly` is its copy in float64.

    >>> from flowlib import Rescaling, StandardNormal
    >>> flow = _Both(Flow(StandardNormal(2), [Rescaling(2)])).double()
    >>> errors(flow, flow, torch.ones(3, 2, dtype=torch.float64))["round trip"]
    {'largest': 0.0, '99 %': 0.0, 'not finite': 0}
    """
    found: dict = {}
    expected = exact_log_det(exactly, x.double())

    def kept(name: str, compute: Callable[[], Tensor]) -> None:
        try:
            found[name] = _largest(compute().detach().double())
        except (ArithmeticError, RuntimeError, NotImplementedError, ValueError) as error:
            found[name] = {"cannot": f"{type(error).__name__}: {error}".splitlines()[0]}

    with torch.no_grad():
        u, log_det = (v.detach() for v in flow.to_base(x.clone()))
        kept("round trip", lambda: (flow.to_data(u)[0] - x).abs().amax(-1))
        kept("log-det to base", lambda: log_det.double() - expected)
        kept("log-det to data", lambda: flow.to_data(u)[1].double() + expected)
    return found


def _largest(error: Tensor) -> dict:
    finite = error.abs()[error.isfinite()]
    missing = error.numel() - finite.numel()
    if not finite.numel():
        return {"largest": None, "99 %": None, "not finite": missing}
    return {"largest": finite.max().item(), "99 %": finite.quantile(0.99).item(), "not finite": missing}


def measure(library: str, family: str, settings: dict = SETTINGS) -> dict:
    """Train one flow and measure it; a row of the result. A library without the family says so in "missing"."""
    torch.set_num_threads(1)
    row: dict = {"library": library, "family": family}
    train, test = (two_moons(max(2000, settings["points"]), settings["noise"], seed=part) for part in (1, 2))
    test = test[: settings["points"]]
    torch.manual_seed(settings["seed"])
    try:
        flow = _Both(TABLE[family].build(train)) if library == FAMILY_TABLE else _peer(library, family, train)
    except Missing as error:
        return row | {"missing": str(error)}
    lr = TABLE[family].lr if library == FAMILY_TABLE else settings["lr"]
    start = time.process_time()
    fit(
        flow,
        train,
        steps=settings["steps"],
        batch_size=settings["batch size"],
        lr=lr,
        clip=None,
        schedule=None,
        seed=settings["seed"],
        progress=False,
    )
    row["seconds"] = round(time.process_time() - start, 1)
    if library == FAMILY_TABLE:
        flow.flow = at_evaluation(flow.flow)
    return row | _in_both_dtypes(flow, _points(train, test, settings["far points"]))


def _points(train: Tensor, test: Tensor, far: int) -> dict[str, Tensor]:
    noise = torch.randn(far, train.shape[-1], generator=torch.Generator().manual_seed(3))
    return {"test": test, "far": train.mean(0) + 3 * train.std(0) * noise}


def _in_both_dtypes(flow: nn.Module, points: dict[str, Tensor]) -> dict:
    exactly = copy.deepcopy(flow).double()
    return {
        "float32": {name: errors(flow, exactly, x) for name, x in points.items()},
        "float64": {name: errors(exactly, exactly, x.double()) for name, x in points.items()},
    }


def _jobs(libraries: Sequence[str]) -> list[tuple[str, str]]:
    rows = [(library, family) for family in SHAPES for library in libraries]
    return rows + [(FAMILY_TABLE, family) for family in TABLE]


def _summary(runs: Sequence[dict]) -> list[dict]:
    """The largest errors at test points."""
    return [
        {"library": run["library"], "family": run["family"]}
        | {
            dtype: {name: value.get("largest") for name, value in run[dtype]["test"].items()}
            for dtype in ("float32", "float64")
        }
        for run in runs
        if "float64" in run
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code is 1 when a flow failed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="two steps of everything, few points")
    parser.add_argument("--fresh", action="store_true", help="repeat what the file holds")
    parser.add_argument("--out", type=Path, help="the result file")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    given = parser.parse_args(arguments)
    out = given.out or path_of("exactness", given.smoke)
    if given.smoke and out == path_of("exactness"):
        parser.error("--smoke must not write into the table")

    settings = SMOKE if given.smoke else SETTINGS
    before = {} if given.fresh else load(out)
    rows = before.get("runs", []) if before.get("settings") == settings else []
    rows = [row for row in rows if "failed" not in row]
    order = {job: k for k, job in enumerate(_jobs(LIBRARIES))}
    about = {
        "command": COMMAND,
        "machine": machine(),
        "versions": versions("torch", "numpy", "FrEIA", "normflows", "nflows", "zuko"),
        "settings": settings,
        "notes": {
            f"{library}, {family}": note for (library, family), note in NOTES.items() if family in SHAPES
        },
    }

    def save() -> None:
        rows.sort(key=lambda row: order[row["library"], row["family"]])
        write(out, about | {"runs": rows, "summary": _summary(rows)})

    done = {(row["library"], row["family"]) for row in rows}
    save()
    for library, family in tqdm([job for job in _jobs(given.libraries) if job not in done], unit="flow"):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning)  # of libraries, about torch's future
                rows.append(measure(library, family, settings))
        except Exception as error:
            rows.append({"library": library, "family": family, "failed": f"{type(error).__name__}: {error}"})
        save()
    _show(rows)
    return int(any("failed" in row for row in rows))


def _show(rows: Sequence[dict]) -> None:
    print(f"{'':40}float32: round trip, log-det   float64: round trip, log-det")
    for row in rows:
        if "float64" in row:
            values = [
                row[dtype]["test"][name].get("largest")
                for dtype in ("float32", "float64")
                for name in ("round trip", "log-det to base")
            ]
            numbers = "  ".join(f"{'cannot':>8}" if v is None else f"{v:8.1e}" for v in values)
        else:
            numbers = row.get("missing") or f"failed: {row['failed']}"
        print(f"{row['library'] + ', ' + row['family']:40}{numbers}")


if __name__ == "__main__":
    sys.exit(main())
