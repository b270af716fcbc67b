"""The picture in README.md: base points carried through a trained flow onto two moons.

    python -m benchmarks.readme_figure

Reads the weights made by `python -m benchmarks.flows_2d` and writes `docs/images/two_moons_layers.png`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from flowlib import SplitCoupling, load_flow_2d, plotting

TARGET = Path(__file__).resolve().parent.parent / "docs" / "images" / "two_moons_layers.png"


@torch.no_grad()
def main() -> None:
    plotting.style()
    torch.manual_seed(0)
    flow = load_flow_2d("two_moons")
    points = flow.base().sample((4000,))
    angle = torch.atan2(points[:, 1], points[:, 0])
    stages = [points]
    for layer in (k for k in flow.transformations if isinstance(k, SplitCoupling)):
        stages.append(layer.forward(stages[-1])[0])
    figure, axes = plt.subplots(1, 5, figsize=(12, 2.6), sharex=True, sharey=True)
    for ax, k in zip(axes, range(0, len(stages), 2), strict=True):
        ax.scatter(*stages[k].T, c=angle, cmap="twilight", s=2)
        title = "base" if k == 0 else f"after layer {k}"
        ax.set(title=title, aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xticks=[], yticks=[])
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
