"""Random cases of 03_masked_coupling's exercises."""

from __future__ import annotations

import numpy as np

from autograder_tests.plain import Make
from tests.probes._cases import attempt, batch_shape, seed


def _net(rng: np.random.Generator, D: int) -> Make:
    return Make("mlp", (D, D, seed(rng)))


def _mask(rng: np.random.Generator, D: int) -> np.ndarray:
    while True:
        b = rng.integers(0, 2, D).astype(float)
        if 0 < b.sum() < D:
            return b


def _both_ways(subject, layer: Make, rng: np.random.Generator, D: int) -> None:
    points = rng.normal(size=(*batch_shape(rng), D))
    attempt(subject, layer, "forward", points)
    attempt(subject, layer, "inverse", points)


def additive(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(2, 7))
    _both_ways(subject, Make("student:AdditiveCouplingLayer", (_net(rng, D), _mask(rng, D))), rng, D)


def rescaling(subject, rng: np.random.Generator) -> list | None:
    D = int(rng.integers(1, 6))
    layer = Make("student:Rescaling", (D,))
    points = rng.normal(size=(*batch_shape(rng), D))
    made = Make("perturbed", (layer, seed(rng)))
    answers = [attempt(subject, made, direction, points) for direction in ("forward", "inverse")]
    learned = attempt(subject, layer, "inverse", points, grad="self")
    if not learned or not all(_is_pair_of_arrays(a) for a in answers):
        return None
    # What the parameter is and where it starts is free: the facts are those of a diagonal scale.
    (x, up), (u, down) = answers
    scale = (x / points).reshape(-1, D)
    return [
        *(list(v.shape) for v in (x, up, u, down)),
        np.abs(scale / scale[0] - 1).max(),
        bool((scale > 0).all()),
        points / u / scale[0],
        up - np.log(np.abs(scale[0])).sum(),
        down + up,
        [bool(g) for g in learned[1]],
    ]


def _is_pair_of_arrays(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, np.ndarray) for v in value)


def coupling(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(2, 7))
    nets = (_net(rng, D), _net(rng, D))
    _both_ways(subject, Make("student:MaskedCouplingLayer", (*nets, _mask(rng, D))), rng, D)


def flow(subject, rng: np.random.Generator) -> None:
    D = int(rng.integers(2, 5))
    layers = [Make("reference", ("Permutation", rng.permutation(D).tolist()))]
    for _ in range(int(rng.integers(1, 4))):
        layers.append(Make("reference", ("MaskedCouplingLayer", _net(rng, D), _net(rng, D), _mask(rng, D))))
    # A flow takes long to build: one method a case, in turns.
    method = str(rng.choice(["forward", "inverse", "log_prob", "sample", "rsample"]))
    # rsample promises a gradient to the layers; whether the base gets one, too, depends on the base.
    draws = method.endswith("sample")
    base = Make("standard_normal", (D,)) if draws else Make("shifted_base", (rng.normal(size=D),))
    made = Make("student:Flow", (base, layers))
    if draws:
        shape = [] if rng.random() < 0.2 else [batch_shape(rng)]
        attempt(subject, made, method, *shape, grad="self", seed=seed(rng))
    else:
        attempt(subject, made, method, rng.normal(size=(*batch_shape(rng), D)), grad="self")


def masks(subject, rng: np.random.Generator) -> list | None:
    D, K = int(rng.integers(-1, 9)), int(rng.integers(1, 9))
    b = attempt(subject, "student:alternating_masks", "", D, K)
    if not (isinstance(b, np.ndarray) and b.ndim == 2):
        return None
    # The first mask is free: any one with a 0 and a 1 is right.
    ones = b.sum(axis=1)
    alternate = bool((b[1:] == 1 - b[:-1]).all())
    return [
        list(b.shape),
        b.dtype.kind,
        bool(np.isin(b, (0, 1)).all()),
        bool(((ones > 0) & (ones < D)).all()),
        alternate,
    ]


def diagnosis(subject, rng: np.random.Generator) -> list | None:
    found = attempt(subject, "student:diagnose")
    if not isinstance(found, dict) or not all(isinstance(v, list) for v in found.values()):
        return None
    return [{patient: sorted(set(broken)) for patient, broken in found.items()}]


def property_test(subject, rng: np.random.Generator) -> None:
    from autograder_tests import clinic

    name = str(rng.choice(sorted(clinic.PATIENTS)))
    D = int(rng.integers(3, 6))
    functions = clinic.functions(name, D, seed(rng))
    forward, inverse = (Make("outside", (k,)) for k in (0, 1))
    attempt(subject, "student:is_valid_layer", "", forward, inverse, D, outside=functions)


PROBES = {
    "AdditiveCouplingLayer": additive,
    "Rescaling": rescaling,
    "MaskedCouplingLayer": coupling,
    "Flow": flow,
    "alternating_masks": masks,
    "diagnose": diagnosis,
    "is_valid_layer": property_test,
}
