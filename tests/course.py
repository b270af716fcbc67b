"""What the tests know of the course: assignments, the contract's names, sections of a file, solutions by name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASSIGNMENTS = sorted(p.stem for p in (ROOT / "solutions").glob("[0-9][0-9]_*.py"))

# Instructors' material elsewhere plugs into these names.
CONTRACT = {
    "01_change_of_variables": (
        "affine_log_prob",
        "pushforward_density",
        "sample_by_inverse_cdf",
        "negative_log_likelihood",
    ),
    "02_jacobians_and_determinants": (
        "jacobian_matrix",
        "batch_jacobian",
        "log_abs_det_triangular",
        "Permutation",
        "coupling_jacobian",
    ),
    "03_masked_coupling": (
        "AdditiveCouplingLayer",
        "Rescaling",
        "MaskedCouplingLayer",
        "Flow",
        "alternating_masks",
    ),
    "04_variational_autoencoder": ("elbo", "importance_weighted_log_likelihood", "VAE"),
    "05_flow_prior_vae": (
        "GaussianPrior",
        "MixtureOfGaussiansPrior",
        "FlowPrior",
        "aggregate_posterior_sample",
    ),
    "06_image_flows": ("dequantize", "bits_per_dim", "discrete_bound", "checkerboard_mask", "Squeeze"),
    "08_variational_inference": (
        "free_energy",
        "constrain",
        "planar_forward",
        "planar_inverse",
        "flow_elbo",
    ),
}


def contract_names() -> set[str]:
    return {n for names in CONTRACT.values() for n in names}


@cache
def cells(assignment: str) -> tuple[tuple[str, str], ...]:
    """(header, source) of every cell of `solutions/<assignment>.py`."""
    text = (ROOT / "solutions" / f"{assignment}.py").read_text(encoding="utf-8")
    parts = re.split(r"^# %%(.*)\n", text, flags=re.M)[1:]
    return tuple((h.strip(), s.strip("\n")) for h, s in zip(parts[::2], parts[1::2], strict=True))


@cache
def solutions(assignment: str) -> dict[str, str]:
    """Name → source of its solution cell, in the notebook's order."""
    found = {}
    for header, source in cells(assignment):
        if match := re.match(r'solution="(\w+)"', header):
            found[match[1]] = source
    return found


def sections(path: Path) -> list[tuple[str, str, str]]:
    """(name, style, source) of every section `# %% Name: style` of a file, each below the file's imports."""
    head, *parts = re.split(r"^# %% (\w+): (.*)\n", path.read_text(encoding="utf-8"), flags=re.M)
    return [(n, s.strip(), head + t) for n, s, t in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]
