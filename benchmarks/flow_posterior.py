"""What a flow posterior is worth: VAEs on digits whose posteriors are made by K planar layers, K = 0, 2, 4, 8, 16.

    python -m benchmarks.flow_posterior --seeds 0 1 2 3 4

The experiment of Rezende, Mohamed 2015, arXiv:1505.05770, at the size of 8×8 digits. A seed is a split of the data, an
initialization (the decoder's and the hidden layers' of the encoder are the same for all K) and an order of batches, so
that differences between K are paired. Beside the ELBO stands the importance-weighted bound, which is nearly log p(x): their
difference is what the posterior still loses, and the change of the second with K is what the model gains.

Each run leaves a JSON file in the folder of runs and is not repeated; all of them are merged into one file, which the notebook
`08_variational_inference` reads. All likelihoods are in nats per image.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from coursekit.course import atomic_write
from flowlib import (
    VAE,
    BernoulliDecoder,
    FlowEncoder,
    GaussianPrior,
    Planar,
    fit,
    importance_weighted_log_likelihood,
    mlp,
)
from flowlib.data import load_digits_split

__all__ = ["LAYERS", "MODELS", "RECIPE", "main", "make_vae", "merge", "run", "summarize"]

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "flowlib" / "results" / "flow_posterior.json"
RUNS = ROOT / "build" / "flow_posterior"

LAYERS = (0, 2, 4, 8, 16)
MODELS: dict[str, list[int]] = {"linear": [], "mlp": [128, 128]}  # the decoder's hidden layers
MEASURES = ("test ELBO", "test NLL", "gap")

RECIPE = {
    "threshold": 8,
    "latents": 8,
    "context": 32,
    "encoder hidden": [128, 128],
    "dropout": 0.2,
    "steps": 2500,
    "batch size": 128,
    "lr": 1e-3,
    "clip": 5.0,
    "weight decay": 1e-3,
    "validation samples": 10,
    "ELBO samples": 50,
    "importance samples": 500,
}


def _planar(M: int, context: int) -> Planar:
    conditioner = nn.Linear(context, 2 * M + 1)
    nn.init.zeros_(conditioner.bias)
    with torch.no_grad():
        conditioner.weight.mul_(0.1)  # near the layer's own start, the identity
    return Planar(M, conditioner, context_size=context)


def make_vae(model: str, layers: int, seed: int) -> VAE:
    """An untrained VAE for binary 8×8 digits with `layers` planar layers in its posterior.

    >>> one, other = (make_vae("mlp", layers, seed=0) for layers in (0, 4))
    >>> torch.equal(one.decoder.net[0].weight, other.decoder.net[0].weight)
    True
    """
    M, C = RECIPE["latents"], RECIPE["context"] if layers else 0
    torch.manual_seed(seed)
    p = BernoulliDecoder(mlp([M, *MODELS[model], 64], dropout=RECIPE["dropout"]))
    net = mlp([64, *RECIPE["encoder hidden"], 2 * M + C], dropout=RECIPE["dropout"])
    return VAE(GaussianPrior(M), p, FlowEncoder(net, [_planar(M, C) for _ in range(layers)]))


@torch.no_grad()
def _measure(vae: VAE, test: Tensor, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    bound = vae.elbo(test, num_samples=RECIPE["ELBO samples"]).mean().item()
    log_likelihood = importance_weighted_log_likelihood(
        test, vae.prior, vae.decoder, vae.encoder, RECIPE["importance samples"]
    )
    log_likelihood = log_likelihood.mean().item()
    return {"test ELBO": bound, "test NLL": -log_likelihood, "gap": log_likelihood - bound}


def run(model: str, layers: int, seed: int, steps: int | None = None) -> dict:
    """Train and measure one VAE; a record."""
    train, validation, test = (
        part.images for part in load_digits_split(seed=seed, binarize=RECIPE["threshold"])
    )
    vae = make_vae(model, layers, seed)

    def loss(x: Tensor) -> Tensor:
        # One sample to learn from; more to choose the best step by.
        return -vae.elbo(x, num_samples=1 if vae.training else RECIPE["validation samples"]).mean()

    history = fit(
        vae,
        train,
        loss=loss,
        validation=validation,
        steps=steps or RECIPE["steps"],
        batch_size=RECIPE["batch size"],
        lr=RECIPE["lr"],
        clip=RECIPE["clip"],
        weight_decay=RECIPE["weight decay"],
        seed=seed,
        progress=False,
    )
    return {
        "model": model,
        "layers": layers,
        "seed": seed,
        **_measure(vae, test, seed),
        "parameters": sum(p.numel() for p in vae.parameters()),
        "best step": history.best_step,
        "seconds": round(history.seconds, 1),
    }


def summarize(records: list[dict]) -> list[dict]:
    """For each model and K the means over seeds, and the paired differences to K = 0 with their standard errors."""
    found = {(r["model"], r["layers"], r["seed"]): r for r in records}
    rows = []
    for model in MODELS:
        for layers in LAYERS:
            pairs = [
                (r, found[model, 0, seed])
                for (m, k, seed), r in found.items()
                if (m, k) == (model, layers) and (model, 0, seed) in found
            ]
            if len(pairs) < 2:
                continue
            row: dict = {"model": model, "layers": layers, "seeds": len(pairs)}
            for name in MEASURES:
                difference = torch.tensor([r[name] - gaussian[name] for r, gaussian in pairs])
                row[name] = sum(r[name] for r, _ in pairs) / len(pairs)
                row[f"{name}, difference"] = difference.mean().item()
                row[f"{name}, standard error"] = difference.std().item() / math.sqrt(len(pairs))
            rows.append(row)
    return rows


def merge(runs: Path, out: Path) -> list[dict]:
    """Write all finished runs, in a fixed order, with recipe and summary into one file; return the summary."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in runs.glob("*.json")]
    order = {name: k for k, name in enumerate(MODELS)}
    records.sort(key=lambda r: (order[r["model"]], r["layers"], r["seed"]))
    command = "python -m benchmarks.flow_posterior --seeds " + " ".join(
        str(seed) for seed in sorted({r["seed"] for r in records})
    )
    summary = summarize(records)
    result = {
        "command": command,
        "torch": torch.__version__.split("+")[0],
        "recipe": RECIPE,
        "models": MODELS,
        "summary": summary,
        "runs": records,
    }
    atomic_write(out, (json.dumps(result, indent=1) + "\n").encode())
    return summary


def _table(summary: list[dict]) -> str:
    lines = [f"{'decoder':<9}{'K':>3}{'-ELBO':>9}{'NLL':>9}{'gap':>8}   -ELBO against K = 0"]
    for r in summary:
        change = f"{-r['test ELBO, difference']:+.2f} ± {r['test ELBO, standard error']:.2f}"
        numbers = f"{-r['test ELBO']:9.2f}{r['test NLL']:9.2f}{r['gap']:8.2f}"
        lines.append(f"{r['model']:<9}{r['layers']:>3}{numbers}   {change if r['layers'] else ''}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flow_posterior", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--layers", type=int, nargs="+", choices=LAYERS, default=list(LAYERS))
    parser.add_argument("--steps", type=int, help="fewer steps, for a quick look; needs --runs and --out")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of finished runs")
    parser.add_argument("--out", type=Path, default=RESULT, help="the merged file")
    given = parser.parse_args(arguments)
    if given.steps and (given.runs == RUNS or given.out == RESULT):
        parser.error("--steps needs --runs and --out of its own: shortened runs must not enter the table")

    torch.set_num_threads(1)
    todo = [(m, k, s) for s in given.seeds for m in given.models for k in given.layers]
    with tqdm(todo, unit="run") as bar:
        for model, layers, seed in bar:
            bar.set_postfix_str(f"{model}, K = {layers}, seed {seed}")
            path = given.runs / f"{model}-{layers}-{seed}.json"
            if not path.exists():
                atomic_write(path, json.dumps(run(model, layers, seed, given.steps)).encode())
    print(_table(merge(given.runs, given.out)))


if __name__ == "__main__":
    main()
