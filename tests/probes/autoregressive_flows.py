"""Random cases of 07_autoregressive_flows's exercises.

Where the contract leaves a choice (degrees, activations, draws), a probe returns facts that every right answer shares.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from autograder_tests.plain import Make
from autograder_tests.subject import Local
from tests.probes._cases import attempt, batch_shape, seed


def _ask(subject, *args: Any, **kwargs: Any) -> Any:
    """The answer, which may be an error."""
    attempt(subject, *args, **kwargs)
    return subject.record[-1][2]


def masks(subject, rng: np.random.Generator) -> list:
    D, hidden = int(rng.integers(1, 7)), [int(n) for n in rng.integers(30, 40, size=rng.integers(1, 4))]
    got = _ask(subject, "student:made_masks", "", D, hidden)
    if not isinstance(got, list) or not all(isinstance(m, np.ndarray) and m.ndim == 2 for m in got):
        return [got]
    shapes = [list(m.shape) for m in got]
    if any(a[1] != b[0] for a, b in zip(shapes[1:], shapes[:-1], strict=True)):
        return [shapes]
    product = got[0].astype(float)
    for m in got[1:]:
        product = m @ product
    binary = all(bool(np.isin(m, (0, 1)).all()) for m in got)
    return [shapes, binary, product > 0]


def _degrees(rng: np.random.Generator, D: int, hidden: list[int]) -> list[np.ndarray]:
    degrees = [np.arange(1, D + 1)]
    degrees += [rng.permutation(1 + np.arange(n) % max(1, D - 1)) for n in hidden]
    return [*degrees, np.arange(1, D + 1)]


def made(subject, rng: np.random.Generator) -> list:
    D, size, hidden = int(rng.integers(2, 5)), int(rng.integers(1, 4)), [int(rng.integers(30, 40))]
    d = _degrees(rng, D, hidden)
    given = [(d[1][:, None] >= d[0]).astype(float), (d[2][:, None] > d[1]).astype(float)]
    if rng.random() < 0.3:
        width = int(rng.integers(30, 40))
        extra = rng.permutation(1 + np.arange(width) % max(1, D - 1))
        last = (d[2][:, None] > extra).astype(float)
        given = [given[0], (extra[:, None] >= d[1]).astype(float), last]
    built = Make("student:MADE", (given, size))
    net = Make("filled", (built, seed(rng), 2.0))
    shape = _ask(subject, net, "", rng.normal(size=(*batch_shape(rng), D)))
    v = rng.normal(size=(8, D))
    learned = _ask(subject, net, "", v, grad="self")
    if not isinstance(shape, np.ndarray) or not isinstance(learned, list):
        return [shape, learned]
    before = learned[0]
    facts: list = [list(shape.shape), list(before.shape), bool(np.any(learned[1][0]))]
    for points in (np.abs(v), -np.abs(v)):
        step = 2 * np.sign(points[0, 0])
        there, after = (_ask(subject, net, "", w) for w in (points, points + step * np.eye(D)[:, None]))
        facts.append((np.abs(after - there).max(axis=1) > 1e-9).T)
    ahead, back = (_ask(subject, net, "", v + a) for a in (2.0, -2.0))
    facts.append(bool(np.abs(ahead + back - 2 * before).max() > 1e-6))
    facts.append(bool(np.abs(before[0, 0]) > 0))
    # Which output is negative is nobody's business; that some are, for some weights, is.
    lowest = [_ask(subject, Make("filled", (built, seed(rng), 3.0)), "", v).min() for _ in range(8)]
    return [*facts, bool(min(lowest) < -1.5)]


def _layer(name: str):
    def probe(subject, rng: np.random.Generator) -> None:
        D = int(rng.integers(1, 6))
        made_layer = Make(f"student:{name}", (Make("autoregressive_net", (D, 2, seed(rng))),))
        points = rng.normal(size=(*batch_shape(rng), D))
        for direction in ("forward", "inverse"):
            attempt(subject, made_layer, direction, points)

    return probe


def error(subject, rng: np.random.Generator) -> None:
    attempt(subject, "student:find_the_error")


def passes(subject, rng: np.random.Generator) -> list:
    D = int(rng.integers(1, 7))
    A = np.tril(rng.random((D, D)) < rng.choice([0.2, 0.5, 1.0]), -1).astype(float)
    order = rng.permutation(D)
    A = A[order][:, order]
    if rng.random() < 0.15:
        i, j = rng.integers(D, size=2)
        A[i, j] = A[j, i] = 1
    got = _ask(subject, "student:sequential_passes", "", A)
    return [float(got) if isinstance(got, (int, float)) else got]


def binary(subject, rng: np.random.Generator) -> list:
    D, n = int(rng.integers(1, 5)), 3000
    model = Make("student:AutoregressiveBernoulli", (Make("autoregressive_net", (D, 1, seed(rng), 1.2)), D))
    x = rng.integers(0, 2, size=(*batch_shape(rng), D)).astype(float)
    log_p = _ask(subject, model, "log_prob", x)
    logits = rng.uniform(-300, 300, size=D)
    sure = Make("student:AutoregressiveBernoulli", (Make("constant_net", tuple(logits.tolist())), D))
    extreme = _ask(subject, sure, "log_prob", x)
    facts = [log_p, extreme]
    if rng.random() < 0.25:  # many draws take long
        draws = _ask(subject, model, "sample", n, seed=seed(rng))
        facts.append(_drawn_as_stated(model.args[0], D, draws, n))
    return facts


def _drawn_as_stated(net: Make, D: int, draws: Any, n: int) -> bool:
    if not isinstance(draws, np.ndarray) or draws.shape != (n, D) or not np.isin(draws, (0, 1)).all():
        return False
    every = np.array(list(itertools.product((0.0, 1.0), repeat=D)))
    p = np.exp(-np.logaddexp(0, (1 - 2 * every) * Local({}).array(net, "", every)).sum(-1))
    counts = np.bincount((draws @ 2.0 ** np.arange(D)[::-1]).astype(int), minlength=len(every))
    return bool((np.abs(counts / n - p) <= 6 * np.sqrt(p * (1 - p) / n) + 10 / n).all())


def loss(subject, rng: np.random.Generator) -> list:
    D, n = int(rng.integers(1, 4)), 3000
    a, log_c = rng.normal(size=D), rng.uniform(-0.3, 0.6, D)
    m, log_s = a + rng.choice([-1, 1], D) * rng.uniform(0.6, 1.0, D), rng.uniform(-0.8, 0.2, D)
    student = Make("gaussian_flow", (m, log_s, bool(rng.random() < 0.5)))
    teacher = Make("gaussian_flow", (a, log_c))
    got = _ask(subject, "student:distillation_loss", "", student, teacher, n, grad=0, seed=seed(rng))
    perfect = _ask(subject, "student:distillation_loss", "", teacher, teacher, 3, seed=seed(rng))
    if not (isinstance(got, list) and len(got) == 2 and isinstance(got[0], np.ndarray)):
        return [got, perfect]
    ratio = np.exp(2 * (log_s - log_c))
    value = (log_c - log_s + (ratio + (m - a) ** 2 / np.exp(2 * log_c)) / 2 - 0.5).sum()
    gradient = np.concatenate([ratio - 1, (m - a) / np.exp(2 * log_c)])
    spread = 6 * (1 + np.abs(m - a)).sum() * np.exp(-log_c).max() ** 2 / math.sqrt(n)
    near = bool(got[0].shape == () and abs(got[0] - value) < spread * D)
    taught = bool(np.shape(got[1][0]) == (2 * D,) and (np.abs(got[1][0] - gradient) < spread * D).all())
    return [near, taught, perfect]


PROBES = {
    "made_masks": masks,
    "MADE": made,
    "MaskedAutoregressiveLayer": _layer("MaskedAutoregressiveLayer"),
    "InverseAutoregressiveLayer": _layer("InverseAutoregressiveLayer"),
    "find_the_error": error,
    "sequential_passes": passes,
    "AutoregressiveBernoulli": binary,
    "distillation_loss": loss,
}
