"""What flows reach on 8×8 digits: held-out bits per dimension against tables and Gaussians, on paired splits.

    python -m benchmarks.digits_flows --splits 0 1 2 --workers 2

Every model gets the same splits of scikit-learn's digits: 1200 images to train, 150 to stop by, 447 to test. A flow
sees them dequantized to [0, 1), with fresh noise in every batch. All are trained alike for 2000 steps; the weights
are measured on the way, so that a row holds the best step by validation ("early") as well as the last one ("last"):
what early stopping hides, the second number shows. Test bits per dimension are those of the bound, averaged over
eight draws of the noise for each image; the histogram's and the uniform's are exact.

A run is one model on one split. Runs that the result file already holds are not repeated. A new family joins with a
line in `MODELS`. The notebook `06_image_flows` reads the file.
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from tqdm import tqdm

from benchmarks.training import early_and_last, fit_and_trace
from coursekit.course import atomic_write
from flowlib import (
    Affine,
    AffineCoupling,
    Flow,
    HistogramMarginals,
    StandardNormal,
    bits_per_dim,
    checkerboard_mask,
    dequantization_bound,
    glow,
    image_real_nvp,
    maf,
    mlp,
    spline_flow,
)
from flowlib.data import LEVELS, dequantize, load_digits_split

__all__ = [
    "MODELS",
    "RECIPE",
    "TABLES",
    "OnImages",
    "checkerboard_real_nvp",
    "main",
    "measured",
    "run",
    "splits_of",
    "summarize",
]

RESULT = Path(__file__).resolve().parent.parent / "flowlib" / "results" / "digits_flows.json"
D = 64

RECIPE = {
    "train, validation, test": [1200, 150, 447],
    "steps": 2000,
    "batch size": 128,
    "lr": 1e-3,
    "average": 0.995,
    "eval every": 50,
    "validation draws": 4,
    "test draws": 8,
}


def splits_of(split: int) -> tuple[Tensor, Tensor, Tensor]:
    """Integer images `(N, 64)` to train, to stop by and to test; the test images are those of `load_digits_split`.

    >>> [len(part) for part in splits_of(0)]
    [1200, 150, 447]
    """
    train, validation, test = (part.images for part in load_digits_split(seed=split))
    return torch.cat([train, validation[:200]]), validation[200:], test


class OnImages(nn.Module):
    """A flow of images `(N, 1, 8, 8)` as a density of their 64 pixels `(N, 64)`."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def log_prob(self, z: Tensor) -> Tensor:
        return self.flow.log_prob(z.reshape(-1, 1, 8, 8))


def _glow(z: Tensor, hidden: Sequence[int], dense: bool) -> nn.Module:
    images = z.reshape(-1, 1, 8, 8)
    flow = glow(
        (1, 8, 8), 4, 2, hidden, dense=dense, log_scale_bound=1.0, dropout=0.2 if dense else 0.1, data=images
    )
    flow.log_prob(images)  # sets the actnorms
    return OnImages(flow)


def _image_real_nvp(z: Tensor, hidden: Sequence[int], dense: bool) -> nn.Module:
    dropout, images = 0.2 if dense else 0.1, z.reshape(-1, 1, 8, 8)
    return OnImages(
        image_real_nvp((1, 8, 8), 2, hidden, dense=dense, log_scale_bound=1.0, dropout=dropout, data=images)
    )


def checkerboard_real_nvp(z: Tensor, bound: float, dropout: float, layers: int = 8) -> Flow:
    """Affine couplings of 64 pixels whose masks are checkerboards by turns, with fully connected conditioners."""
    board = checkerboard_mask((1, 8, 8)).flatten()
    couplings = [
        AffineCoupling(
            mlp([D, 128, 128, 2 * D], zero_last=True, dropout=dropout), 1 - board if k % 2 else board, bound
        )
        for k in range(layers)
    ]
    return Flow(StandardNormal(D), [*couplings, Affine.from_data(z)])


def _behind_histograms(z: Tensor, flow: Flow) -> Flow:
    """The flow with every pixel's histogram in place of its last layer, the standardization.

    It starts at the table and learns what the table does not know: how the pixels depend on each other.
    """
    return Flow(flow.base, [*flow.transformations[:-1], HistogramMarginals.from_data(z, LEVELS)])


def _spline(z: Tensor) -> Flow:
    return spline_flow(D, 4, hidden=(128, 128), bins=8, dropout=0.3, permute=True, data=z)


def _maf(z: Tensor) -> Flow:
    return maf(D, 3, hidden=(256,), dropout=0.2, data=z)


# Name → builder: gets the dequantized training images `(N, 64)`, gives a module with `log_prob` of such. The seed is
# set before it is called. The four versions of RealNVP that differ in dropout and bound alone are an experiment on
# overfitting.
MODELS: dict[str, Callable[[Tensor], nn.Module]] = {
    "RealNVP, dropout, bound 3": lambda z: checkerboard_real_nvp(z, bound=3.0, dropout=0.2),
    "RealNVP, dropout, bound 1": lambda z: checkerboard_real_nvp(z, bound=1.0, dropout=0.2),
    "RealNVP, no dropout, bound 3": lambda z: checkerboard_real_nvp(z, bound=3.0, dropout=0.0),
    "RealNVP, no dropout, bound 1": lambda z: checkerboard_real_nvp(z, bound=1.0, dropout=0.0),
    "RealNVP, 12 couplings": lambda z: checkerboard_real_nvp(z, bound=1.0, dropout=0.3, layers=12),
    "MAF": _maf,
    "spline coupling": _spline,
    "RealNVP behind histograms": lambda z: _behind_histograms(z, checkerboard_real_nvp(z, 1.0, 0.2)),
    "MAF behind histograms": lambda z: _behind_histograms(z, _maf(z)),
    "spline coupling behind histograms": lambda z: _behind_histograms(z, _spline(z)),
    "RealNVP on images, dense": lambda z: _image_real_nvp(z, (128, 128), dense=True),
    "RealNVP on images, convolutions": lambda z: _image_real_nvp(z, (32, 32), dense=False),
    "Glow, dense": lambda z: _glow(z, (128, 128), dense=True),
    "Glow, convolutions": lambda z: _glow(z, (48, 48), dense=False),
}


# --- What needs no training ---


def _uniform_bits(train: Tensor, validation: Tensor, test: Tensor) -> float:
    return math.log2(LEVELS)


def _histogram_bits(train: Tensor, validation: Tensor, test: Tensor) -> float:
    """Independent pixels, each a table of its 17 levels; the pseudo-count is chosen on the validation images."""

    def bits(images: Tensor, count: float) -> float:
        tables = torch.stack([(train == level).sum(0) + count for level in range(LEVELS)], -1)  # (64, 17)
        log_p = (tables / tables.sum(-1, keepdim=True)).log()
        return bits_per_dim(log_p[torch.arange(D), images.long()].sum(-1), D).mean().item()

    best = min((0.03, 0.1, 0.2, 0.3, 0.5, 1.0), key=lambda count: bits(validation, count))
    return bits(test, best)


def _gaussian_bits(train: Tensor, validation: Tensor, test: Tensor) -> float:
    """One Gaussian with a full covariance, fitted to the dequantized training images."""
    z = dequantize(train.double(), seed=0)
    gaussian = MultivariateNormal(z.mean(0), torch.cov(z.T))
    return _bits(gaussian.log_prob, test.double(), RECIPE["test draws"])


TABLES: dict[str, Callable[[Tensor, Tensor, Tensor], float]] = {
    "uniform": _uniform_bits,
    "one Gaussian, full covariance": _gaussian_bits,
    "a histogram for each pixel": _histogram_bits,
}


# --- Measuring ---


@torch.no_grad()
def _bits(log_prob: Callable[[Tensor], Tensor], images: Tensor, draws: int) -> float:
    bound = dequantization_bound(log_prob, images, LEVELS, draws, seed=1)
    return bits_per_dim(bound.mean(), D).item()


def run(model: str, split: int, steps: int | None = None) -> dict:
    """One row of the result: a model on a split."""
    train, validation, test = splits_of(split)
    row: dict = {"model": model, "split": split}
    if model in TABLES:
        bits = TABLES[model](train, validation, test)
        return row | {"early": bits, "last": bits}

    torch.set_num_threads(1)
    torch.manual_seed(split)
    flow = MODELS[model](dequantize(train))
    options = {"lr": RECIPE["lr"], "average": RECIPE["average"]}
    return row | measured(flow, (train, validation, test), split, steps or RECIPE["steps"], **options)


def measured(
    flow: nn.Module, splits: tuple[Tensor, Tensor, Tensor], seed: int, steps: int, **options: object
) -> dict:
    """Train a flow of 64 dequantized pixels and measure it in bits per dimension; `options` are those of `fit`.

    A training that diverges has "last" NaN and says why in "stopped"; "early" is the best step before, NaN if none.
    """
    train, validation, test = splits
    draws = RECIPE["validation draws"]
    trace = fit_and_trace(
        flow,
        train,
        validation,
        {
            "train": lambda: _bits(flow.log_prob, train[:150], draws),
            "validation": lambda: _bits(flow.log_prob, validation, draws),
            "test": lambda: _bits(flow.log_prob, test, RECIPE["test draws"]),
        },
        prepare=dequantize,
        steps=steps,
        eval_every=RECIPE["eval every"],
        batch_size=RECIPE["batch size"],
        seed=seed,
        **options,
    )
    return early_and_last(trace) | {
        "parameters": sum(p.numel() for p in flow.parameters()),
        "seconds": trace.seconds,
        "steps": trace.steps,
        "trace": {name: [round(v, 4) for v in values] for name, values in trace.values.items()},
    }


def summarize(rows: list[dict]) -> list[dict]:
    """Mean and standard error over splits of each model, and of its difference to the histograms, split by split.

    >>> rows = [{"model": "uniform", "split": k, "early": 4.0 + k, "last": 4.0 + k} for k in range(2)]
    >>> rows += [{"model": "a histogram for each pixel", "split": k, "early": 2.0 + k, "last": 2.0} for k in range(2)]
    >>> found = summarize(rows)[0]
    >>> found["early"], found["early minus histogram"], found["early minus histogram, s.e."]
    (4.5, 2.0, 0.0)
    """
    table = {row["split"]: row["early"] for row in rows if row["model"] == "a histogram for each pixel"}
    summary = []
    for model in (*TABLES, *MODELS):
        found = [row for row in rows if row["model"] == model]
        if len(found) < 2:
            continue
        entry: dict = {"model": model, "splits": len(found)}
        columns = {"early": [row["early"] for row in found], "last": [row["last"] for row in found]}
        if all(row["split"] in table for row in found):
            columns["early minus histogram"] = [row["early"] - table[row["split"]] for row in found]
        for name, values in columns.items():
            numbers = torch.tensor(values, dtype=torch.float64)
            entry[name] = numbers.mean().item()
            entry[f"{name}, s.e."] = numbers.std().item() / math.sqrt(len(numbers))
        for name in ("parameters", "seconds"):
            if all(name in row for row in found):
                entry[name] = sum(row[name] for row in found) / len(found)
        summary.append(entry)
    return summary


def _write(rows: list[dict], out: Path) -> None:
    order = {name: k for k, name in enumerate((*TABLES, *MODELS))}
    rows = sorted(rows, key=lambda row: (order.get(row["model"], len(order)), row["model"], row["split"]))
    about = {"torch": torch.__version__.split("+")[0], "levels": LEVELS}
    result = {
        "command": "python -m benchmarks.digits_flows --splits 0 1 2 --workers 2",
        "about": about,
        "recipe": RECIPE,
        "summary": summarize(rows),
        "runs": rows,
    }
    atomic_write(out, (json.dumps(result, indent=1) + "\n").encode())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    names = [*TABLES, *MODELS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.digits_flows", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument(
        "--models", nargs="+", choices=names, default=names, metavar="MODEL", help=f"of {names}"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes at a time (default 1)")
    parser.add_argument("--steps", type=int, help="fewer steps, for a quick look; needs --out")
    parser.add_argument("--out", type=Path, default=RESULT, help="the result file")
    given = parser.parse_args(arguments)
    if given.steps and given.out == RESULT:
        parser.error("--steps needs --out: shortened runs must not enter the table")

    rows = json.loads(given.out.read_text(encoding="utf-8"))["runs"] if given.out.exists() else []
    done = {(row["model"], row["split"]) for row in rows}
    todo = [(m, s) for s in given.splits for m in given.models if (m, s) not in done]
    with ProcessPoolExecutor(given.workers) as pool, tqdm(total=len(todo), unit="run") as bar:
        for future in as_completed([pool.submit(run, m, s, given.steps) for m, s in todo]):
            rows.append(future.result())
            _write(rows, given.out)
            bar.update()
    _write(rows, given.out)
    for entry in summarize(rows):
        early, last = (f"{entry[k]:6.3f} ± {entry[f'{k}, s.e.']:.3f}" for k in ("early", "last"))
        print(f"{entry['model']:<32} early {early}   last {last}")


if __name__ == "__main__":
    main()
