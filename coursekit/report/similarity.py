"""Answers that are alike where the class is not.

What two answers share counts by its rarity in the class: a fingerprint (see `fingerprints`) that d of N answers have
counts log((N + 1) / max(d − 1, 1)) / log(N + 1), which is 1 when nobody else has it and about 0 when all have it, as
terms are weighted in document search (Spärck Jones, "A statistical interpretation of term specificity", 1972,
doi:10.1108/eb026526). The released stub's fingerprints count nothing. The similarity of two answers is the sum over
what they share, over the number of fingerprints of the shorter one: in [0, 1]. A pair must also share enough in
all: a few tokens in common, however rare, are chance.

No two answers are compared as texts: a sparse matrix of fingerprints times its transpose gives all pairs at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from scipy import sparse

from coursekit.report.fingerprints import fingerprints

__all__ = ["EVIDENCE", "MIN_FINGERPRINTS", "THRESHOLD", "Match", "Pair", "groups", "similar_pairs"]

# A similarity below is not shown.
THRESHOLD = 0.5
# What a pair shares, each fingerprint by its rarity, must come to this: about 20 tokens that no one else has.
EVIDENCE = 5.0
# Shorter answers have too few ways to be written.
MIN_FINGERPRINTS = 8
# What more answers have than these is how everybody writes it. It also bounds the work: pairs grow with the square.
MOST_SHARE = 0.05
MOST_COUNT = 50


@dataclass(frozen=True)
class Match:
    """Two answers to one exercise: `similarity` in [0, 1], `evidence` the rare fingerprints shared.

    `shared` are their hashes; `Fingerprints.lines_of` says where they stand.
    """

    exercise: str
    similarity: float
    evidence: float
    shared: frozenset[int]


@dataclass(frozen=True)
class Pair:
    """Two students with the exercises in which they are alike, the most telling first."""

    first: str
    second: str
    matches: tuple[Match, ...]

    @property
    def evidence(self) -> float:
        """Over all exercises."""
        return sum(m.evidence for m in self.matches)


def similar_pairs(
    answers: Mapping[str, Mapping[str, str]], stubs: Mapping[str, Iterable[str]] | None = None
) -> list[Pair]:
    """The pairs of students who are alike, those who share most first.

    `answers` is student → exercise → code; `stubs` is exercise → codes that were released.
    """
    found: dict[tuple[str, str], list[Match]] = {}
    exercises = dict.fromkeys(e for codes in answers.values() for e in codes)
    for exercise in exercises:
        boilerplate: frozenset[int] = frozenset().union(
            *(fingerprints(stub).all for stub in (stubs or {}).get(exercise, ()))
        )
        students = [s for s, codes in answers.items() if exercise in codes]
        codes = [answers[s][exercise] for s in students]
        # Many write the same to the letter. Of the fingerprints only those kept stay: of a class all are large.
        kept = {code: fingerprints(code).kept - boilerplate for code in set(codes)}
        for first, second, match in _matches(exercise, [kept[code] for code in codes]):
            pair = (students[first], students[second])
            found.setdefault(pair, []).append(match)
    pairs = [
        Pair(first, second, tuple(sorted(matches, key=lambda m: -m.evidence)))
        for (first, second), matches in found.items()
    ]
    return sorted(pairs, key=lambda p: (-p.evidence, p.first, p.second))


def groups(pairs: Sequence[Pair]) -> list[list[str]]:
    """Students who are connected by pairs, in the order of `pairs`; each group sorted."""
    leader: dict[str, str] = {}

    def find(student: str) -> str:
        leader.setdefault(student, student)
        while leader[student] != student:
            leader[student] = leader[leader[student]]
            student = leader[student]
        return student

    for pair in pairs:
        leader[find(pair.second)] = find(pair.first)
    members: dict[str, list[str]] = {}
    for student in leader:
        members.setdefault(find(student), []).append(student)
    return [sorted(m) for m in members.values()]


def _matches(exercise: str, own: Sequence[frozenset[int]]) -> Iterator[tuple[int, int, Match]]:
    """The pairs of answers, by number, that are alike; `own` has the fingerprints of each."""
    size = np.array([len(o) for o in own])
    # Answers too short to tell are no evidence, but they do say what is common.
    counts = Counter(value for o in own for value in o)
    rarity = _rarity(counts, len(own))
    columns = {value: i for i, value in enumerate(rarity)}
    entries = [
        (row, columns[value])
        for row, o in enumerate(own)
        if len(o) >= MIN_FINGERPRINTS
        for value in o
        if value in columns
    ]
    if not entries:
        return
    rows, places = np.array(entries).T
    weights = np.sqrt(np.fromiter(rarity.values(), dtype=float))[places]
    table = sparse.csr_matrix((weights, (rows, places)), shape=(len(own), len(columns)))
    shared = sparse.triu(table @ table.T, k=1).tocoo()
    shorter = np.minimum(size[shared.row], size[shared.col])
    chosen = (shared.data >= EVIDENCE) & (shared.data >= THRESHOLD * shorter)
    for first, second, evidence in zip(
        shared.row[chosen], shared.col[chosen], shared.data[chosen], strict=True
    ):
        rare = frozenset(v for v in own[first] & own[second] if v in rarity)
        similarity = min(1.0, float(evidence / min(size[first], size[second])))
        yield int(first), int(second), Match(exercise, similarity, float(evidence), rare)


def _rarity(counts: Mapping[int, int], total: int) -> dict[int, float]:
    """The weight of each fingerprint that two or more have and not too many."""
    most = max(4.0, min(MOST_COUNT, MOST_SHARE * total))
    whole = log(total + 1)
    return {value: log((total + 1) / max(d - 1, 1)) / whole for value, d in counts.items() if 2 <= d <= most}
