"""Comparing durations on a machine that has other things to do: by turns, in random order, ratios within a round."""

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

__all__ = ["calls_per_block", "interleaved", "median_interval", "ratios"]

Call = Callable[[], object]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Python's cyclic garbage collector does not run by itself: it would hit whoever comes when it is due.

    What is there before is set aside, so that a collection between rounds takes no time.
    """
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()


def seconds_of(call: Call, times: int = 1) -> float:
    """Wall-clock seconds of `times` calls in a row."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - start


def calls_per_block(call: Call, seconds: float) -> int:
    """How many calls in a row take at least `seconds`; the first two calls warm up and do not count.

    >>> calls_per_block(lambda: time.sleep(0.02), seconds=0.01)
    1
    """
    seconds_of(call, 2)
    times = 1
    while (took := seconds_of(call, times)) < seconds:
        times = max(times + 1, round(1.1 * times * seconds / took)) if took > seconds / 20 else 10 * times
    return times


def interleaved(
    calls: Mapping[str, Call],
    rounds: int,
    block: float = 0.02,
    seed: int = 0,
    after_round: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of one call, for each name a list with one number a round.

    A round runs a block of each, in a new random order; a block is as many calls in a row as take `block` seconds.
    A machine that is slow for a while is slow for all, so only numbers of the same round should be compared.

    >>> seconds = interleaved({"sum": lambda: sum(range(100)), "max": lambda: max(range(100))}, rounds=3, block=1e-4)
    >>> {name: len(values) for name, values in seconds.items()}
    {'sum': 3, 'max': 3}
    """
    times = {name: calls_per_block(call, block) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(seed).shuffle
    with no_garbage_collection():
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                seconds[name].append(seconds_of(calls[name], times[name]) / times[name])
            gc.collect()
            after_round()
    return seconds


def median_interval(values: Sequence[float], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """A 95 % interval of the median, by the percentile bootstrap (Efron 1979).

    >>> median_interval([2.0] * 10)
    (2.0, 2.0)
    """
    values = np.asarray(values, dtype=float)
    again = np.random.default_rng(seed).choice(values, size=(draws, len(values)))
    low, high = np.quantile(np.median(again, axis=1), [0.025, 0.975])
    return float(low), float(high)


def ratios(
    seconds: Mapping[str, Sequence[float]], reference: str
) -> dict[str, dict[str, float | list[float]]]:
    """For each name: seconds of a call, and how many times those of the reference in the same round.

    `ratio` is the median over rounds, `quartiles` hold half of the rounds, `interval` is the median's 95 % interval.

    >>> table = ratios({"by hand": [1.0, 2.0, 4.0], "library": [1.5, 3.0, 5.0]}, "by hand")
    >>> table["library"]["ratio"], table["library"]["seconds"], table["by hand"]["ratio"]
    (1.5, 3.0, 1.0)
    """
    if reference not in seconds:
        raise ValueError(f"reference: expected one of {', '.join(seconds)}, got {reference!r}")
    base = np.asarray(seconds[reference], dtype=float)
    table = {}
    for name, own in seconds.items():
        if len(own) != len(base):
            raise ValueError(f"{name}: expected {len(base)} rounds like the reference, got {len(own)}")
        ratio = np.asarray(own, dtype=float) / base
        table[name] = {
            "seconds": float(np.median(own)),
            "ratio": float(np.median(ratio)),
            "quartiles": [float(q) for q in np.quantile(ratio, [0.25, 0.75])],
            "interval": list(median_interval(ratio)),
        }
    return table
