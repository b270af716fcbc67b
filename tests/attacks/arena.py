"""Where attacks are run: a launcher, the assignments' bundles, and things of the instructor's to look after."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from coursekit.course import Course
from coursekit.grading import Bundle, Result, grade_submission
from coursekit.isolate.launch import Launcher, launchers
from coursekit.isolate.limits import Limits
from coursekit.isolate.setup import Setup
from coursekit.isolate.watch import tree
from coursekit.new_class import Paper
from coursekit.releases import bundle_of
from coursekit.source import notebook_bytes
from tests.attacks.bank import EVERYTHING, Attack
from tests.course import ROOT

__all__ = ["LIMITS", "Arena", "Fought", "open_arena", "paper"]

LIMITS = Limits(
    memory=1 << 30,
    request_seconds=3.0,
    grace_seconds=0.5,
    run_seconds=40.0,
    processes=48,
    tmp_bytes=32 << 20,
    file_bytes=16 << 20,
    output_bytes=200_000,
)
HONEST_SECONDS = 1.5  # of a right submission on a quiet machine
LONGEST_LINE = 500  # of what an instructor reads in a table
LARGEST_RESULT = 8_000_000


@cache
def paper(assignment: str) -> Paper:
    """An assignment with its solutions."""
    return Paper(Course.find(ROOT), assignment)


@dataclass(frozen=True)
class Fought:
    """What came of an attack.

    `forged` are points of tests that deserve none, `stolen` the tests of other exercises that lost points; `problems` is
    everything else that is not as it should be, in words.
    """

    attack: Attack
    result: Result
    seconds: float
    forged: float
    stolen: tuple[str, ...]
    escaped: tuple[str, ...]
    others: tuple[str, ...]
    tracebacks: int
    problems: tuple[str, ...]

    @property
    def trouble(self) -> tuple[str, ...]:
        """All that is wrong; empty when the attack gained and broke nothing."""
        forged = (f"{self.forged:g} points forged",) if self.forged and not self.attack.limit else ()
        stolen = (f"points lost in {', '.join(self.stolen)}",) if self.stolen else ()
        shown = (f"{self.tracebacks} tracebacks",) if self.tracebacks else ()
        return (*forged, *stolen, *self.escaped, *self.others, *shown, *self.problems)


class Arena:
    """One launcher, and what students must neither read nor change."""

    def __init__(self, launcher: Launcher, folder: Path, secret: str) -> None:
        self.launcher, self.folder, self.secret = launcher, folder, secret
        self.pace = 1.0
        self._bundles: dict[str, Bundle] = {}

    def bundle(self, assignment: str) -> Bundle:
        """The bundle of an assignment, made once."""
        if assignment not in self._bundles:
            self._bundles[assignment] = bundle_of(Course.find(ROOT), self.folder, assignment, LIMITS)
        return self._bundles[assignment]

    def grade(self, data: bytes, assignment: str) -> Result:
        """As a worker does."""
        return grade_submission(data, self.bundle(assignment), self.launcher)

    def fight(self, attack: Attack) -> Fought:
        """Grade an attack and look at what it has done."""
        data = attack.make(paper(attack.assignment))
        self.bundle(attack.assignment)
        before, processes = self.state(), len(tree(os.getpid()))
        began = time.monotonic()
        result = self.grade(data, attack.assignment)
        seconds = time.monotonic() - began
        escaped = self._escaped(before, result, attack)
        others = self._others(attack, processes)
        return Fought(
            attack,
            result,
            seconds,
            *_points(attack, result),
            escaped=escaped,
            others=others,
            tracebacks=_instructor_sees(result).count("Traceback"),
            problems=tuple(_problems(attack, result, seconds / self.pace)),
        )

    def state(self) -> dict[str, str]:
        """A hash of every file of the instructor's, by path."""
        return {
            str(p.relative_to(self.folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(self.folder.rglob("*"))
            if p.is_file() and ".cache" not in p.parts  # the workers' own libraries keep things there
        }

    def _escaped(self, before: dict[str, str], result: Result, attack: Attack) -> tuple[str, ...]:
        after = self.state()
        changed = sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))
        found = [f"changed {path}" for path in changed]
        found += [f"made {path}" for path in attack.outside if Path(path).exists()]
        text = json.dumps(result.to_json())
        found += [f"{word!r} was read" for word in (self.secret, *attack.forbidden) if word in text]
        return tuple(found)

    def _others(self, attack: Attack, processes: int) -> tuple[str, ...]:
        """What happened to those who did nothing."""
        found = []
        deadline = time.monotonic() + 5
        while (left := len(tree(os.getpid())) - processes) > 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        if left > 0:
            found.append(f"{left} processes left over")
        if attack.ends:
            honest = self.honest()
            missing = [c.id for c in honest.cells if c.kind == "test" and c.points != c.max_points]
            if missing or honest.flags or honest.status != "graded":
                found.append(f"an honest student: {honest.status} {honest.flags} {missing}")
        return tuple(found)

    def honest(self, assignment: str = "03_masked_coupling") -> Result:
        """A right submission, graded."""
        made = paper(assignment)
        return self.grade(notebook_bytes(made.notebook(made.answers)), assignment)


@contextmanager
def open_arena(name: str) -> Iterator[Arena]:
    """An arena with the launcher of that name, with secrets in files, in the environment and in the home folder.

    Raises:
        LookupError: the launcher does not work here; the message says why.
    """
    assignment = "03_masked_coupling"
    course = Course.find(ROOT)
    made = launchers(Setup.of(course))
    launcher = made[name]
    reason = launcher.available()
    if reason is not None:
        raise LookupError(reason)
    secret = f"secret-{secrets.token_hex(8)}"
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="class-", dir=ROOT / "build") as place:
        folder = Path(place)
        for path in ("gradebook.db", f"source/{assignment}/{assignment}.ipynb", "home/.netrc"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(secret, encoding="utf-8")
        kept = {k: os.environ.get(k) for k in ("HOME", "INSTRUCTOR_TOKEN", "INSTRUCTOR_FOLDER")}
        os.environ |= {
            "HOME": str(folder / "home"),
            "INSTRUCTOR_TOKEN": secret,
            "INSTRUCTOR_FOLDER": str(folder),
        }
        try:
            arena = Arena(launcher, folder, secret)
            launcher.start(
                LIMITS, arena.bundle(assignment).env
            ).kill()  # the warm parent is no attack's doing
            began = time.monotonic()
            arena.honest()
            # Attacks may take longer where, or while, everybody does.
            arena.pace = max(1.0, (time.monotonic() - began) / HONEST_SECONDS)
            yield arena
        finally:
            for each in made.values():
                each.close()
            for k, v in kept.items():
                os.environ.pop(k) if v is None else os.environ.update({k: v})


def _points(attack: Attack, result: Result) -> tuple[float, tuple[str, ...]]:
    made = paper(attack.assignment)
    cells = {c.id: c for c in result.cells if c.kind == "test"}
    wrong = attack.attacked
    if attack.right is not None:
        wrong = tuple(e for e in made.exercises if e not in attack.right)
    nothing = set(made.of(*wrong)) - set(attack.earned)
    forged = sum(cells[t].points or 0.0 for t in nothing)
    if result.status == "not graded" or attack.lost == EVERYTHING:
        return forged, ()
    full = made.others(*wrong, *attack.lost)
    return forged, tuple(t for t in full if cells[t].points != cells[t].max_points)


def _instructor_sees(result: Result) -> str:
    return "\n".join((result.message, *result.flags))


def _problems(attack: Attack, result: Result, seconds: float) -> Iterator[str]:
    if attack.status and result.status != attack.status:
        yield f"status {result.status!r} ({result.message[:200]}), expected {attack.status!r}"
    if attack.message not in result.message:
        yield f"message {result.message[:200]!r}, expected {attack.message!r}"
    for wanted in attack.flags:
        if not any(wanted in flag for flag in result.flags):
            yield f"no flag {wanted!r} among {result.flags}"
    if attack.no_flags and result.flags:
        yield f"flags {result.flags}"
    if seconds > attack.seconds:
        yield f"{seconds:.1f} s, expected at most {attack.seconds:g}"
    for line in (result.message, *result.flags):
        if len(line) > LONGEST_LINE or re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", line):
            yield f"a line that no table can show: {line[:100]!r}"
    try:
        size = len(json.dumps(result.to_json(), ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        yield f"the result cannot be written to a file: {error}"[:200]
    else:
        if size > LARGEST_RESULT:
            yield f"a result of {size / 1e6:.1f} MB"
    if any(c.points is not None and not 0 <= c.points <= c.max_points for c in result.cells):
        yield "points beyond a cell's"
