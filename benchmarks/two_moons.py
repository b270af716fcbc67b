"""Two moons: how far the course's RealNVP stays from the exact density, over seeds.

    python benchmarks/two_moons.py [--seeds 5] [--steps 2000] [--output FILE]

Noise 0.05, 10,000 training and 10,000 test points, new ones for each seed. The excess of a run is its test
negative log-likelihood minus that of the exact density on the same test points, in nats: 0 is perfect, and no
model can be below it but by chance. One thread. Results are written as JSON.
"""

import argparse
import json
import math
import platform
import statistics
from pathlib import Path

import torch

from flowlib import fit, real_nvp
from flowlib.data import two_moons, two_moons_log_prob

NOISE = 0.05
POINTS = 10_000
MODEL = {"num_layers": 8, "hidden": (128, 128), "log_scale_bound": 2.0}
TRAINING = {"batch_size": 512, "lr": 2e-3, "clip": 1.0, "average": 0.99, "schedule": "cosine"}


def run(seed: int, steps: int) -> dict[str, float]:
    """Train on the data and from the weights of one seed."""
    torch.manual_seed(seed)
    train, test = (two_moons(POINTS, NOISE, seed=10 * seed + part) for part in (1, 2))
    flow = real_nvp(2, **MODEL, data=train)
    history = fit(flow, train, steps=steps, **TRAINING, seed=seed, progress=False)
    with torch.no_grad():
        gaps = two_moons_log_prob(test, NOISE) - flow.log_prob(test)
    return {
        "seed": seed,
        "excess": gaps.mean().item(),
        "excess_standard_error": (gaps.std() / math.sqrt(POINTS)).item(),
        "exact_nll": -two_moons_log_prob(test, NOISE).mean().item(),
        "seconds": round(history.seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "two_moons.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    runs = []
    for seed in range(arguments.seeds):
        runs.append(run(seed, arguments.steps))
        print("seed {seed}: excess {excess:.4f} nats, {seconds:.0f} s".format(**runs[-1]), flush=True)
    excess = [r["excess"] for r in runs]
    result = {
        "unit": "nats",
        "steps": arguments.steps,
        "points": POINTS,
        "noise": NOISE,
        "model": MODEL,
        "training": TRAINING,
        "mean_excess": statistics.mean(excess),
        "standard_error": statistics.stdev(excess) / math.sqrt(len(excess)) if len(excess) > 1 else None,
        "largest_excess": max(excess),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "runs": runs,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"mean {result['mean_excess']:.4f}, largest {result['largest_excess']:.4f} → {arguments.output}")


if __name__ == "__main__":
    main()
