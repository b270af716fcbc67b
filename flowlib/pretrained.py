"""Trained weights and measured results that come with the package: made by a command, kept as data.

Each file says by which command. Notebooks read them where training anew would cost minutes.
"""

import json
from importlib.resources import files
from typing import Any

import torch

from flowlib.flow import Flow
from flowlib.realnvp import real_nvp

__all__ = ["load_flow_2d", "load_results"]


def _resource(folder: str, name: str) -> Any:
    found = files("flowlib") / folder / name
    if not found.is_file():
        held = sorted(p.name for p in (files("flowlib") / folder).iterdir())
        raise ValueError(f"no {folder}/{name} in flowlib; there are: {', '.join(held)}")
    return found


def load_flow_2d(target: str) -> Flow:
    """The RealNVP trained on a two-dimensional target (see `flowlib.data.TARGETS`), in evaluation mode.

    Made by `python -m benchmarks.flows_2d`. Raises `ValueError` for a target without weights.

    >>> load_flow_2d("rings").log_prob(torch.zeros(3, 2)).shape
    torch.Size([3])
    """
    with _resource("weights", f"flow_2d_{target}.pt").open("rb") as file:
        kept = torch.load(file, weights_only=True)
    # real_nvp standardizes by the data it is given; the weights bring the mean and the scale along.
    flow = real_nvp(2, **kept["model"], data=torch.randn(4, 2))
    flow.load_state_dict(kept["state"])
    return flow.eval().requires_grad_(False)


def load_results(name: str) -> dict[str, Any]:
    """Measured results as data: the content of results/<name>.json, whose entry "command" says how they were made.

    Raises `ValueError` for an unknown name.

    >>> "command" in load_results("flows_2d")
    True
    """
    return json.loads(_resource("results", f"{name}.json").read_text(encoding="utf-8"))
