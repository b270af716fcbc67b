"""Judges mutants: does one behave differently from the solution, and do the checks reject it?

Two independent questions. *Changed*: some answer differs on one of the random cases of `tests/probes`, which know nothing
of the checks. *Rejected*: a check of the exercise does not pass, visible or hidden. Each mutant runs in a forked process
of its own under limits of processor time and memory, so that one that crashes, hangs or leaves a mess does no harm.
"""

from __future__ import annotations

import ast
import contextlib
import io
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from autograder_tests.check import Case, Check
from autograder_tests.plain import Expression, Plain, Raised, Request, encode
from autograder_tests.subject import Local, Outside, StudentError
from tests.mutants.mutate import Mutant, mutants

__all__ = ["Exercise", "Result", "Summary", "Verdict", "difference", "judge", "judge_one"]

TOLERANCE = 1e-6
HIDDEN = (None, 1, 2)  # runs of every check: the visible one and two hidden ones
LEAST_CPU = 10.0  # seconds of processor time for one check or one case; who needs more is called endless
TOTAL = 6.0  # so many times that for all of them, beside
SLOWER = 5.0  # so many times what the solution needs for all of them
WALL = 20.0  # seconds by the clock per second of processor time: for one that only sleeps
MEMORY = 4 << 30  # bytes that a mutant may take beyond what is loaded


@dataclass(frozen=True)
class Exercise:
    """What the harness must know of one exercise.

    Attributes:
        name: that the student defines.
        sources: name → source of all solutions of the notebook in order; a mutant takes the place of `sources[name]`.
        checks: those that need `name`.
        probe: makes one random case, `(subject, rng)`; what it asks of the subject is recorded and compared. Where the
            contract leaves a choice, the probe returns a list of facts that every right answer shares, compared instead.
        namespace_of: runs source text and returns its namespace.
    """

    name: str
    sources: Mapping[str, str]
    checks: Sequence[Check]
    probe: Callable[[Local, np.random.Generator], list[Plain] | None]
    namespace_of: Callable[[str], dict[str, Any]]

    def factory(self, source: str) -> Callable[[], dict[str, Any]]:
        """A maker of namespaces with `source` in the solution's place."""
        text = "\n\n".join((self.sources | {self.name: source}).values())
        return lambda: self.namespace_of(text)


@dataclass(frozen=True)
class Verdict:
    """About one mutant. `rejected` says by what, `changed` at which case; both are empty when nothing was noticed.

    Attributes:
        crashes: the change is an error where the solution gives an answer: nobody needs a check to notice.
        broken_check: a check itself raised on this mutant's answers instead of reporting a mismatch.
    """

    rejected: str = ""
    changed: str = ""
    crashes: bool = False
    broken_check: str = ""


@dataclass(frozen=True)
class Result:
    """A mutant of an exercise and what became of it."""

    exercise: str
    number: int
    mutant: Mutant
    verdict: Verdict

    def __str__(self) -> str:
        return f"{self.exercise}#{self.number} {self.mutant}"


@dataclass
class Summary:
    """Counts over the mutants of one assignment."""

    results: list[Result] = field(default_factory=list)

    def of(self, *, changed: bool | None = None, rejected: bool | None = None) -> list[Result]:
        return [
            r
            for r in self.results
            if changed in (None, bool(r.verdict.changed)) and rejected in (None, bool(r.verdict.rejected))
        ]

    @property
    def survivors(self) -> list[Result]:
        return self.of(changed=True, rejected=False)

    @property
    def rate(self) -> float:
        """Rejected among those that change behavior; 1 when none does."""
        changed = self.of(changed=True)
        return 1 - len(self.survivors) / len(changed) if changed else 1.0

    @property
    def quiet_rate(self) -> float:
        """The same among those that do not crash: the harder question."""
        quiet = [r for r in self.of(changed=True) if not r.verdict.crashes]
        return 1 - sum(not r.verdict.rejected for r in quiet) / len(quiet) if quiet else 1.0

    def counts(self) -> dict[str, float]:
        changed = self.of(changed=True)
        return {
            "made": len(self.results),
            "changed": len(changed),
            "changed_without_crash": sum(not r.verdict.crashes for r in changed),
            "rejected": len(changed) - len(self.survivors),
            "survivors": len(self.survivors),
            "rejected_though_unchanged": len(self.of(changed=False, rejected=True)),
            "rate": self.rate,
            "rate_without_crash": self.quiet_rate,
        }


# ---- comparing answers -------------------------------------------------------------------------------------------


def difference(expected: Plain, got: Plain) -> str:
    """How two answers differ, in words; empty when they are the same to 1e-6.

    A Python number is a tensor without axes and a list of numbers a tensor with one, as in the checks; NaN equals NaN.

    >>> difference(np.zeros(2), np.array([0.0, 0.5]))
    'off by 0.5'
    >>> difference(np.zeros(2), np.zeros((2, 1)))
    'shape (2,) → (2, 1)'
    """
    if isinstance(expected, Raised) or isinstance(got, Raised):
        names = [v.type if isinstance(v, Raised) else "no error" for v in (expected, got)]
        return "" if names[0] == names[1] else " → ".join(names)
    if isinstance(expected, Expression) and isinstance(got, Expression):
        return _difference_of_expressions(expected.text, got.text)
    a, b = _as_array(expected), _as_array(got)
    if a is not None and b is not None:
        return _difference_of_arrays(a, b)
    if isinstance(expected, dict) and isinstance(got, dict):
        if list(expected) != list(got) and set(expected) != set(got):
            return f"keys {sorted(expected)} → {sorted(got)}"
        return next((f"[{k!r}]: {d}" for k in expected if (d := difference(expected[k], got[k]))), "")
    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)):
        if len(expected) != len(got):
            return f"{len(expected)} values → {len(got)}"
        return next(
            (
                f"[{k}]: {d}"
                for k, (x, y) in enumerate(zip(expected, got, strict=True))
                if (d := difference(x, y))
            ),
            "",
        )
    return "" if type(expected) is type(got) and expected == got else f"{expected!r:.60} → {got!r:.60}"


def _as_array(value: Plain) -> np.ndarray | None:
    if isinstance(value, list) and value and all(isinstance(v, (bool, int, float)) for v in value):
        return np.asarray(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, bool, int, float)) else None


def _difference_of_arrays(a: np.ndarray, b: np.ndarray) -> str:
    if a.shape != b.shape:
        return f"shape {a.shape} → {b.shape}"
    if (a.dtype.kind == "b") != (b.dtype.kind == "b") or (a.dtype.kind == "f") != (b.dtype.kind == "f"):
        return f"{a.dtype} → {b.dtype}"
    # Rounding of float32 is no change of behavior.
    tolerance = 1e-4 if np.float32 in (a.dtype, b.dtype) else TOLERANCE
    kind = complex if "c" in (a.dtype.kind, b.dtype.kind) else float
    a, b = a.astype(kind), b.astype(kind)
    with np.errstate(all="ignore"):
        off = np.abs(a - b) / (1 + np.abs(a))
        alike = (off <= tolerance) | (a == b) | (np.isnan(a) & np.isnan(b))
    if alike.all():
        return ""
    worst = off[~alike]
    return f"off by {np.nanmax(worst):.3g}" if not np.isnan(worst).all() else "a value that is not finite"


def _difference_of_expressions(a: str, b: str) -> str:
    """Two texts of sympy stand for the same function: compared by value at fixed points."""
    from autograder_tests.expressions import CONSTANTS, evaluate

    if a == b:
        return ""
    nodes = [n for text in (a, b) for n in ast.walk(ast.parse(text, mode="eval"))]
    functions = {n.func for n in nodes if isinstance(n, ast.Call)}
    names = sorted({n.id for n in nodes if isinstance(n, ast.Name) and n not in functions} - set(CONSTANTS))
    rng = np.random.default_rng(0)
    points = {name: rng.normal(size=24) * 1.5 for name in names}
    values = []
    for text in (a, b):
        try:
            with np.errstate(all="ignore"):
                values.append(np.broadcast_to(np.asarray(evaluate(text, points)), (24,)))
        except Exception as error:  # what cannot be evaluated is no answer
            values.append(Raised((type(error).__name__,), str(error)))
    found = difference(*values)
    return f"{a:.50} → {b:.50} ({found})" if found else ""


# ---- one mutant --------------------------------------------------------------------------------------------------


def _answers(exercise: Exercise, subject: Local, case: int) -> list[Plain]:
    """What the subject answers in the case of that number, or what the probe says of it."""
    subject.record.clear()
    try:
        facts = exercise.probe(subject, np.random.default_rng(case))
        if facts is not None:
            return list(facts)
    except (StudentError, NotImplementedError):
        pass  # recorded, too
    except Exception as error:  # the probe choked on an answer
        return [r for _, _, r in subject.record] + [Raised((type(error).__name__,), f"in the probe: {error}")]
    return [r for _, _, r in subject.record]


class _Remembering(Local):
    """Answers the same request once: symbolic cases are drawn from small sets, and sympy takes its time."""

    def __init__(self, namespace: Callable[[], dict[str, Any]]) -> None:
        super().__init__(namespace)
        self._known: dict[bytes, Plain] = {}

    def ask(self, request: Request, outside: Outside | None = None) -> Plain:
        if outside is not None:  # its functions are no part of the request
            return super().ask(request, outside)
        key = encode(request)
        if key in self._known:
            self.record.append((request, outside, self._known[key]))
        else:
            self._known[key] = super().ask(request)
        return self._known[key]


def _subject(exercise: Exercise, source: str, kind: type[Local] = Local) -> Local | Raised:
    try:
        return kind(exercise.factory(source))
    except Exception as error:
        return Raised((type(error).__name__,), str(error))


def first_rejection(exercise: Exercise, source: str) -> Verdict:
    """Run the checks, the visible cases first, until one does not pass."""
    subject = _subject(exercise, source)
    if isinstance(subject, Raised):
        return Verdict(rejected=f"definition: {subject.type}")
    for hidden in HIDDEN:
        for c in exercise.checks:
            seeds = (
                [c.seed()] if hidden is None else [c.seed(hidden + 7919 * k) for k in range(c.hidden_runs)]
            )
            for seed in seeds:
                _restart_clock()
                subject.record.clear()
                where = c.id if hidden is None else f"{c.id} (hidden={hidden})"
                try:
                    outcome = c.run(subject, Case(seed, hidden is not None))
                except Exception as error:
                    return Verdict(
                        rejected=where, broken_check=f"{where}: {type(error).__name__}: {error}"[:300]
                    )
                if not outcome.passed:
                    return Verdict(rejected=where)
    return Verdict()


def first_change(exercise: Exercise, source: str, truth: Sequence[list[Plain]]) -> Verdict:
    """Run the random cases until an answer differs from the solution's."""
    subject = _subject(exercise, source, _Remembering)
    if isinstance(subject, Raised):
        return Verdict(changed=f"definition: {subject.type}", crashes=True)
    for case, expected in enumerate(truth):
        _restart_clock()
        got = _answers(exercise, subject, case)
        for k, (x, y) in enumerate(zip(expected, got, strict=False)):
            if found := difference(x, y):
                crashes = isinstance(y, Raised) and not isinstance(x, Raised)
                return Verdict(changed=f"case {case}, answer {k}: {found}", crashes=crashes)
        if len(expected) != len(got):
            return Verdict(changed=f"case {case}: {len(expected)} answers → {len(got)}")
    return Verdict()


def judge_one(exercise: Exercise, source: str, truth: Sequence[list[Plain]]) -> Verdict:
    """Both questions about one variant, in this process and without limits."""
    a, b = first_rejection(exercise, source), first_change(exercise, source, truth)
    return Verdict(a.rejected, b.changed, b.crashes, a.broken_check)


# ---- in processes of their own -----------------------------------------------------------------------------------

_STOPPED = {
    signal.SIGPROF: "endless",
    signal.SIGALRM: "endless",
    signal.SIGXCPU: "endless",
    signal.SIGKILL: "out of memory",
}
_seconds = 0.0  # per check or case, in a forked process


def _restart_clock() -> None:
    """The next check or case has its own time; without limits outside of forked processes."""
    if _seconds:
        signal.setitimer(signal.ITIMER_PROF, _seconds)
        signal.setitimer(signal.ITIMER_REAL, WALL * _seconds)


class _Run:
    """A forked process that sends one result per step; to go beyond a limit ends it."""

    def __init__(self, steps: Sequence[Callable[[], Any]], seconds: float, total: float) -> None:
        fork = multiprocessing.get_context("fork")
        self.connection, theirs = fork.Pipe(duplex=False)
        self.process = fork.Process(target=_work, args=(theirs, steps, seconds, total), daemon=True)
        self.process.start()
        theirs.close()
        self.results: list[Any] = []
        self.open = len(steps)

    def receive(self) -> bool:
        """Take one result or the news of the end; True when there is nothing more to come."""
        with contextlib.suppress(EOFError):
            self.results.append(self.connection.recv())
            self.open -= 1
            if self.open:
                return False
        self.connection.close()
        self.process.join()
        return True

    @property
    def stopped_by(self) -> str:
        code = self.process.exitcode or 0
        return _STOPPED.get(-code, f"the process ended with {code}")


def _work(connection: Connection, steps: Sequence[Callable[[], Any]], seconds: float, total: float) -> None:
    global _seconds
    _seconds = seconds
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the process ends
    warnings.simplefilter("ignore")
    for sig in (signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU):
        signal.signal(sig, signal.SIG_DFL)  # ends the process, inside of C code, too
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(total), resource.RLIM_INFINITY))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (_loaded() + MEMORY, resource.RLIM_INFINITY))
    import torch

    torch.set_num_threads(1)
    for step in steps:
        _restart_clock()
        connection.send(step())


def _loaded() -> int:
    """Bytes of address space in use now (0 where the system does not say)."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 8 << 30


@dataclass(frozen=True)
class _Truth:
    answers: list[list[Plain]]
    seconds: float
    complaint: str


def _truth(exercise: Exercise, cases: int) -> _Truth:
    """The solution's answers to every case, some asked twice: a probe must be repeatable, and the checks must pass it."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return _measured_truth(exercise, cases)


def _measured_truth(exercise: Exercise, cases: int) -> _Truth:
    source = exercise.sources[exercise.name]
    start = time.process_time()
    rejection = first_rejection(exercise, source)
    subject = _Remembering(exercise.factory(source))
    answers = [_answers(exercise, subject, k) for k in range(cases)]
    seconds = time.process_time() - start
    complaint = rejection.broken_check or rejection.rejected
    if complaint:
        complaint = f"the solution itself is rejected by {complaint}"
    elif change := first_change(exercise, source, answers[: min(cases, 100)]).changed:
        complaint = f"the solution differs from itself: {change}"
    elif choked := [
        a[-1] for a in answers if a and isinstance(a[-1], Raised) and a[-1].message.startswith("in the probe")
    ]:
        complaint = f"the probe fails on the solution: {choked[0].type} {choked[0].message}"
    elif not any(answers):
        complaint = "the probe asks nothing"
    return _Truth(answers, seconds, complaint)


class HarnessError(Exception):
    """Solution, checks and probe of an exercise do not fit together; nothing can be said about its mutants."""


def judge(
    exercise: Exercise,
    *,
    cases: int = 1000,
    workers: int = 2,
    only: int | None = None,
    least_cpu: float = LEAST_CPU,
) -> tuple[int, Iterator[Result]]:
    """The number of mutants of an exercise and a `Result` for each of them, as they come in.

    Args:
        exercise: what to mutate.
        cases: random cases that a mutant which nobody notices must go through.
        workers: processes at a time.
        only: the number of a single mutant.
        least_cpu: seconds of processor time that a mutant may always take for one check or one case.

    Raises:
        HarnessError: the solution fails its own checks or gives two answers to the same case.
    """
    exercise.namespace_of("")  # imports once, here, what every forked process needs
    # In this process: what it fills on the way, such as sympy's cache, is there for all that are forked.
    truth = _truth(exercise, cases)
    if truth.complaint:
        raise HarnessError(f"{exercise.name}: {truth.complaint}")
    chosen = list(enumerate(mutants(exercise.sources[exercise.name])))
    if only is not None:
        chosen = [chosen[only]]
    return len(chosen), _judged(exercise, truth, chosen, workers, least_cpu)


def _judged(
    exercise: Exercise, truth: _Truth, chosen: list[tuple[int, Mutant]], workers: int, least_cpu: float
) -> Iterator[Result]:
    waiting = chosen[::-1]
    running: dict[Connection, tuple[int, Mutant, _Run]] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            number, mutant = waiting.pop()
            steps = (
                lambda m=mutant: first_rejection(exercise, m.source),
                lambda m=mutant: first_change(exercise, m.source, truth.answers),
            )
            run = _Run(steps, least_cpu, TOTAL * least_cpu + SLOWER * truth.seconds)
            running[run.connection] = (number, mutant, run)
        for connection in wait(list(running)):
            number, mutant, run = running[connection]
            if run.receive():
                del running[connection]
                yield Result(exercise.name, number, mutant, _verdict(run))


def _verdict(run: _Run) -> Verdict:
    """Join the answers to both questions; a mutant that was stopped has told on itself."""
    if len(run.results) == 2:
        a, b = run.results
        return Verdict(a.rejected, b.changed, b.crashes, a.broken_check)
    if len(run.results) == 1:
        a = run.results[0]
        return Verdict(a.rejected, f"in the random cases: {run.stopped_by}", False, a.broken_check)
    return Verdict(rejected=run.stopped_by, changed=run.stopped_by)


def exercises(assignment: str) -> list[Exercise]:
    """The exercises of an assignment of the course in the notebook's order.

    Raises:
        HarnessError: an exercise without check or without probe.
    """
    import importlib

    from autograder_tests import checks_of, topics
    from autograder_tests.catalogue import namespace_of
    from tests.course import solutions

    sources = solutions(assignment)
    probes = importlib.import_module(f"tests.probes.{topics()[assignment]}").PROBES
    checks = checks_of(assignment).values()
    found = []
    for name in sources:
        needed = [c for c in checks if name in c.names]
        if not needed or name not in probes:
            raise HarnessError(f"{assignment}: {name} has {'no probe' if needed else 'no check'}")
        found.append(Exercise(name, sources, needed, probes[name], namespace_of))
    return found
