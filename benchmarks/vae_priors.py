"""What a better prior is worth: VAEs on digits with several priors, measured on held-out images.

    python -m benchmarks.vae_priors --seeds 0 1 2

Each cell of the table is a model (a decoder, a number of latent variables, a length of training) and a prior. A
seed is a split of the data, an initialization and an order of batches; the priors of a seed share all three, so
that differences between priors are paired. Three priors are trained together with encoder and decoder. Two are
put into the finished VAE with the standard prior, whose encoder and decoder stay as they are: `afterwards`, a
flow fitted to the aggregate posterior, and `matched`, the Gaussian with the aggregate posterior's mean and
covariance, which tells how much of the gain is a mere shift and stretch.

Each run leaves a JSON file in the folder of runs and is not repeated; all of them are merged into one file,
which the notebook `05_flow_prior_vae` reads. All likelihoods are in nats per image.
"""

import argparse
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal
from tqdm import tqdm

from coursekit.course import atomic_write
from flowlib import (
    VAE,
    BernoulliDecoder,
    FlowPrior,
    GaussianEncoder,
    GaussianPrior,
    History,
    MixtureOfGaussiansPrior,
    aggregate_posterior_log_prob,
    aggregate_posterior_sample,
    fit,
    importance_weighted_log_likelihood,
    mlp,
    real_nvp,
)
from flowlib.data import load_digits_split

__all__ = [
    "AFTERWARDS",
    "MODELS",
    "RECIPE",
    "TRAINED",
    "aggregate_divergence",
    "bound_terms",
    "main",
    "make_vae",
    "merge",
    "run",
    "summarize",
]

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "flowlib" / "results" / "vae_priors.json"
RUNS = ROOT / "build" / "vae_priors"

# Model → the decoder's hidden layers, the number of latent variables M, training steps and learning rate.
MODELS: dict[str, dict] = {
    "linear": {"hidden": [], "M": 8, "steps": 2500, "lr": 1e-3},
    "mlp": {"hidden": [128, 128], "M": 8, "steps": 2500, "lr": 1e-3},
    "mlp, M = 2": {"hidden": [128, 128], "M": 2, "steps": 2500, "lr": 1e-3},
    # Is the gain still there when the standard prior has had all the time it wants?
    "linear, longer": {"hidden": [], "M": 8, "steps": 8000, "lr": 3e-3},
}
TRAINED = ("standard", "mixture", "flow")
AFTERWARDS = ("afterwards", "matched")

RECIPE = {
    "threshold": 8,
    "encoder hidden": [128, 128],
    "dropout": 0.2,
    "mixture components": 20,
    "couplings": 4,
    "coupling hidden": [48, 48],
    "coupling dropout": 0.1,
    "batch size": 128,
    "weight decay": 1e-3,
    "validation samples": 10,
    "ELBO samples": 50,
    "importance samples": 200,
}


def _flow_prior(M: int) -> FlowPrior:
    hidden, dropout = RECIPE["coupling hidden"], RECIPE["coupling dropout"]
    return FlowPrior(real_nvp(M, RECIPE["couplings"], hidden, dropout=dropout))


class _Matched(nn.Module):
    """The Gaussian with the mean and covariance of draws z `(n, M)`."""

    def __init__(self, z: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", z.mean(0))
        self.register_buffer("covariance", torch.cov(z.T))

    def forward(self) -> MultivariateNormal:
        return MultivariateNormal(self.mean, self.covariance)


def make_vae(model: str, prior: str, seed: int) -> VAE:
    """An untrained VAE for binary 8×8 digits; encoder and decoder depend on the seed alone, not on the prior.

    >>> first, second = (make_vae("linear", prior, seed=0) for prior in ("standard", "flow"))
    >>> torch.equal(first.decoder.net[0].weight, second.decoder.net[0].weight)
    True
    """
    hidden, M = MODELS[model]["hidden"], MODELS[model]["M"]
    torch.manual_seed(seed)
    p = BernoulliDecoder(mlp([M, *hidden, 64], dropout=RECIPE["dropout"]))
    q = GaussianEncoder(mlp([64, *RECIPE["encoder hidden"], 2 * M], dropout=RECIPE["dropout"]))
    if prior == "standard":
        return VAE(GaussianPrior(M), p, q)
    if prior == "mixture":
        return VAE(MixtureOfGaussiansPrior(M, RECIPE["mixture components"]), p, q)
    if prior == "flow":
        return VAE(_flow_prior(M), p, q)
    raise ValueError(f"prior: expected one of {TRAINED}, got {prior!r}")


@torch.no_grad()
def bound_terms(vae: VAE, x: Tensor, num_samples: int) -> dict[str, float]:
    """The ELBO taken apart: reconstruction − cross-entropy + posterior entropy, means over x in nats.

    x is `(N, D)`. The terms are E[log p(x given z)], −E[log p(z)] and −E[log q(z given x)], z ~ q(z given x).
    """
    q = vae.encoder(x)
    z = q.sample((num_samples,))
    return {
        "reconstruction": vae.decoder(z).log_prob(x).mean().item(),
        "cross-entropy": -vae.prior().log_prob(z).mean().item(),
        "posterior entropy": -q.log_prob(z).mean().item(),
    }


@torch.no_grad()
def aggregate_divergence(vae: VAE, x: Tensor, num_samples: int = 4000) -> float:
    """KL(q(z) ‖ p(z)) in nats, q(z) the aggregate posterior over x `(N, D)`, by Monte Carlo.

    With encoder and decoder frozen no prior can raise the mean ELBO of x by more than this.
    """
    z = aggregate_posterior_sample(x, vae.encoder, num_samples)
    return (aggregate_posterior_log_prob(z, x, vae.encoder) - vae.prior().log_prob(z)).mean().item()


def _measure(vae: VAE, train: Tensor, test: Tensor, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    terms = bound_terms(vae, test, RECIPE["ELBO samples"])
    with torch.no_grad():
        nll = -importance_weighted_log_likelihood(
            test, vae.prior, vae.decoder, vae.encoder, RECIPE["importance samples"]
        ).mean()
    return {
        "test ELBO": terms["reconstruction"] - terms["cross-entropy"] + terms["posterior entropy"],
        "test NLL": nll.item(),
        **terms,
        "aggregate KL": aggregate_divergence(vae, train),
    }


def run(model: str, prior: str, seed: int, steps: int | None = None) -> list[dict]:
    """Train and measure one VAE; with the standard prior the priors put in afterwards, too. A record each."""
    train, validation, test = (
        part.images for part in load_digits_split(seed=seed, binarize=RECIPE["threshold"])
    )
    training = {
        "validation": validation,
        "steps": steps or MODELS[model]["steps"],
        "batch_size": RECIPE["batch size"],
        "lr": MODELS[model]["lr"],
        "weight_decay": RECIPE["weight decay"],
        "seed": seed,
        "progress": False,
    }
    records = []

    def record(name: str, vae: VAE, history: History | None = None) -> None:
        about = {"model": model, "prior": name, "seed": seed}
        effort = {"prior parameters": sum(p.numel() for p in vae.prior.parameters())}
        if history:
            effort |= {"best step": history.best_step, "seconds": round(history.seconds, 1)}
        records.append(about | _measure(vae, train, test, seed) | effort)

    vae = make_vae(model, prior, seed)

    def loss(x: Tensor) -> Tensor:
        # One sample to learn from; more to choose the best step by.
        return -vae.elbo(x, num_samples=1 if vae.training else RECIPE["validation samples"]).mean()

    record(prior, vae, fit(vae, train, loss=loss, **training))
    if prior == "standard":
        vae.requires_grad_(False)
        vae.prior = _flow_prior(MODELS[model]["M"])

        def cross_entropy(x: Tensor) -> Tensor:
            q = vae.encoder(x)  # in evaluation mode: `fit` trains the prior alone
            samples = 1 if vae.prior.training else RECIPE["validation samples"]
            return -vae.prior().log_prob(q.sample((samples,))).mean()

        record("afterwards", vae, fit(vae.prior, train, loss=cross_entropy, **training))
        torch.manual_seed(seed)
        vae.prior = _Matched(aggregate_posterior_sample(train, vae.encoder, 20_000))
        record("matched", vae)
    return records


def merge(runs: Path, out: Path) -> list[dict]:
    """Write all finished runs, in a fixed order, with recipe and summary into one file; return the summary."""
    records = [r for path in runs.glob("*.json") for r in json.loads(path.read_text(encoding="utf-8"))]
    order = {name: k for k, name in enumerate((*MODELS, *TRAINED, *AFTERWARDS))}
    records.sort(key=lambda r: (order[r["model"]], order[r["prior"]], r["seed"]))
    about = {"command": "python -m benchmarks.vae_priors", "torch": torch.__version__.split("+")[0]}
    summary = summarize(records)
    result = {"about": about, "recipe": RECIPE, "models": MODELS, "summary": summary, "runs": records}
    atomic_write(out, (json.dumps(result, indent=1) + "\n").encode())
    return summary


def summarize(records: list[dict]) -> list[dict]:
    """For each model and prior the mean test NLL and ELBO, and the difference in NLL to the standard prior.

    The difference is paired, seed by seed; its standard error is the differences' own, over seeds.
    """
    nll = {(r["model"], r["prior"], r["seed"]): r["test NLL"] for r in records}
    rows = []
    for model in MODELS:
        for prior in (*TRAINED, *AFTERWARDS):
            found = [r for r in records if (r["model"], r["prior"]) == (model, prior)]
            found = [r for r in found if (model, "standard", r["seed"]) in nll]
            if len(found) < 2:
                continue
            row = {"model": model, "prior": prior, "seeds": len(found)}
            for name in ("test NLL", "test ELBO", "reconstruction", "aggregate KL"):
                row[name] = sum(r[name] for r in found) / len(found)
            paired = torch.tensor([r["test NLL"] - nll[model, "standard", r["seed"]] for r in found])
            row["difference"] = paired.mean().item()
            row["standard error"] = paired.std().item() / math.sqrt(len(paired))
            rows.append(row)
    return rows


def _table(summary: list[dict]) -> str:
    lines = []
    for r in summary:
        change = f"{r['difference']:+6.2f} ± {r['standard error']:.2f}" if r["prior"] != "standard" else ""
        lines.append(f"{r['model']:<15}{r['prior']:<11}{r['test NLL']:6.2f}  {change}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.vae_priors", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--steps", type=int, help="fewer steps, for a quick look; needs --runs and --out")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of finished runs")
    parser.add_argument("--out", type=Path, default=RESULT, help="the merged file")
    given = parser.parse_args(arguments)
    if given.steps and (given.runs == RUNS or given.out == RESULT):
        parser.error("--steps needs --runs and --out of its own: shortened runs must not enter the table")

    torch.set_num_threads(1)
    todo = [(m, p, s) for s in given.seeds for m in given.models for p in TRAINED]
    with tqdm(todo, unit="run") as bar:
        for model, prior, seed in bar:
            bar.set_postfix_str(f"{model}, {prior}, seed {seed}")
            path = given.runs / f"{re.sub(r'[^a-z0-9]+', '-', model.lower())}-{prior}-{seed}.json"
            if not path.exists():
                atomic_write(path, json.dumps(run(model, prior, seed, given.steps)).encode())
    print(_table(merge(given.runs, given.out)))


if __name__ == "__main__":
    main()
