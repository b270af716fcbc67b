"""Flows on two-dimensional targets for assignment 03: trained weights, and ten runs on two moons by two recipes.

    python -m benchmarks.flows_2d [--part weights|seeds] [--seeds 5]

Writes `flowlib/weights/flow_2d_<target>.pt` and `flowlib/results/flows_2d.json`. The excess is the test negative
log-likelihood minus that of the exact density on the same 10,000 points, in nats. One thread; about 15 minutes.
"""

import argparse
import json
import math
import platform
from pathlib import Path

import torch
from tqdm import tqdm

from flowlib import fit, real_nvp
from flowlib.data import TARGETS

FOLDER = Path(__file__).resolve().parent.parent / "flowlib"
RESULTS = FOLDER / "results" / "flows_2d.json"
POINTS = 10_000
CAREFUL = {"lr": 2e-3, "clip": 1.0, "average": 0.99, "schedule": "cosine"}
RECIPES = {
    # What a first attempt looks like: torch's random start, unbounded scales, constant rate, raw data.
    "plain": {
        "model": {"num_layers": 8, "hidden": (64, 64), "log_scale_bound": None, "zero_last": False},
        "standardize": False,
        "steps": 2000,
        "training": {"lr": 2e-3, "clip": None, "average": 0.0, "schedule": None},
    },
    "identity": {
        "model": {"num_layers": 8, "hidden": (64, 64), "log_scale_bound": 2.0},
        "standardize": True,
        "steps": 2000,
        "training": CAREFUL,
    },
    # For targets with holes and edges: deeper, wider, longer.
    "long": {
        "model": {"num_layers": 12, "hidden": (128, 128), "log_scale_bound": 2.0},
        "standardize": True,
        "steps": 6000,
        "training": CAREFUL,
    },
}
WEIGHTS = {"two_moons": "identity", "eight_gaussians": "long", "rings": "long", "checkerboard": "long"}


def run(target_name: str, recipe: dict, seed: int) -> tuple[torch.nn.Module, dict]:
    """Train one flow; its excess over the exact density on a test set of the seed's own."""
    target = TARGETS[target_name]
    train, test = (target.sample(POINTS, seed=10 * seed + part) for part in (1, 2))
    torch.manual_seed(seed)
    flow = real_nvp(2, **recipe["model"], data=train if recipe["standardize"] else None)
    result: dict = {"seed": seed}
    try:
        steps = recipe["steps"]
        history = fit(
            flow, train, steps=steps, batch_size=512, **recipe["training"], seed=seed, progress=False
        )
        result["seconds"] = round(history.seconds, 1)
    except FloatingPointError as error:
        result["stopped"] = str(error)
    with torch.no_grad():
        gaps = target.log_prob(test) - flow.log_prob(test)
    result["excess"] = gaps.mean().item()
    result["excess_standard_error"] = (gaps.std() / math.sqrt(POINTS)).item()
    return flow, result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", choices=("weights", "seeds"), help="one part alone; the other is kept")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (FOLDER / "weights").mkdir(exist_ok=True)
    RESULTS.parent.mkdir(exist_ok=True)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results |= {
        "command": "python -m benchmarks.flows_2d",
        "unit": "nats",
        "points": POINTS,
        "recipes": RECIPES,
        "weights": WEIGHTS,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    jobs = []
    if arguments.part != "seeds":
        results["targets"] = {}
        jobs += [("targets", target, recipe, 0) for target, recipe in WEIGHTS.items()]
    if arguments.part != "weights":
        results["two_moons"] = {"plain": [], "identity": []}
        jobs += [
            ("two_moons", "two_moons", r, s) for s in range(arguments.seeds) for r in results["two_moons"]
        ]
    for part, target, recipe, seed in tqdm(jobs, unit="flow"):
        flow, result = run(target, RECIPES[recipe], seed)
        if part == "targets":
            results["targets"][target] = result
            kept = {"model": RECIPES[recipe]["model"], "state": flow.state_dict()}
            torch.save(kept, FOLDER / "weights" / f"flow_2d_{target}.pt")
        else:
            results["two_moons"][recipe].append(result)
        # Written after each run: an interrupted command keeps what it has.
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
