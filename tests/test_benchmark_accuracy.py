"""Accuracy at equal budget: every row is made, kept, repeated only when it must be, and a diverged run is a result."""

import json
import math
from pathlib import Path

import pytest
import torch

from benchmarks import digits_flows, patches, training
from benchmarks.accuracy import command as accuracy
from benchmarks.accuracy.summary import goals, mean_and_error, summarize, table
from benchmarks.accuracy.tasks import RECIPES, SEEDS, TASKS, own_start, settings, tiny
from flowlib import Affine, Flow, StandardNormal


def smoke(out: Path, *more: str) -> dict:
    """A smoke run of flowlib alone: it needs no other library."""
    assert accuracy.main(["--smoke", "--libraries", "flowlib", "--out", str(out), *more]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("accuracy") / "accuracy.json"
    return out, smoke(out)


def test_a_smoke_run_has_every_row(result) -> None:
    _, found = result
    rows = {(row["task"], row["recipe"]) for row in found["runs"]}
    assert rows == {(t, r) for t in TASKS for r in (*RECIPES, *TASKS[t].references)}
    for row in found["runs"]:
        assert not {"failed", "missing", "stopped"} & set(row), row
        assert math.isfinite(row["last"])
        if row["task"] != "two moons":
            assert math.isfinite(row["early"])
    assert {"command", "machine", "versions", "settings", "runs", "summary"} <= set(found)
    assert len(found["summary"]["rows"]) == len(rows)


def test_finished_runs_are_not_repeated(result, monkeypatch) -> None:
    out, before = result

    def never(*job: object) -> dict:
        raise AssertionError(f"{job} was run again")

    monkeypatch.setattr(accuracy, "run", never)
    assert smoke(out) == before
    with pytest.raises(AssertionError, match="run again"):
        smoke(out, "--fresh")


def test_runs_with_other_settings_are_repeated(tmp_path, monkeypatch) -> None:
    """Rows of another budget, and rows that failed, do not count as finished; of the same, they do."""
    row = {"task": "digits", "library": "flowlib", "recipe": "ours", "seed": 0, "last": 2.0}
    said = {name: settings(task) for name, task in TASKS.items()}
    out = tmp_path / "accuracy.json"
    for change, kept in (({}, [row]), ({"digits": "older"}, [])):
        content = {"settings": said | change, "runs": [row, row | {"seed": 1, "failed": "KeyError"}]}
        out.write_text(json.dumps(content), encoding="utf-8")
        assert accuracy._kept(out, said) == kept


def test_a_diverged_run_is_recorded(monkeypatch) -> None:
    """A flow that becomes NaN on the way: what was measured before stays, the last value does not."""

    class Overflows(Flow):
        calls = 0

        def log_prob(self, x, context=None):
            Overflows.calls += self.training
            return super().log_prob(x) * (math.nan if self.training and Overflows.calls > 3 else 1.0)

    layer = Affine(torch.zeros(64), torch.ones(64))
    flow = Overflows(StandardNormal(64), [layer])
    flow.shift = torch.nn.Parameter(torch.zeros(64))
    monkeypatch.setattr(Flow, "inverse", lambda self, x, context=None: (x - self.shift, x.new_zeros(len(x))))
    monkeypatch.setitem(digits_flows.RECIPE, "eval every", 2)
    found = digits_flows.measured(flow, digits_flows.splits_of(0), 0, 10)
    assert "the loss is nan at step 3 of 10" in found["stopped"]
    assert math.isfinite(found["early"])
    assert found["best step"] == 2
    assert math.isnan(found["last"])
    rows = [
        {"task": "digits", "library": "flowlib", "recipe": "plain", "seed": k}
        | found
        | {"early": 2.4, "last": last}
        for k, last in enumerate((found["last"], 2.5, None))
    ]
    entry = summarize(rows)[0]
    assert entry["diverged"] == 2
    assert entry["last"] == {"mean": None, "s.e.": None, "median": None}
    assert summarize([*rows, rows[1] | {"seed": 3}, rows[1] | {"seed": 4}])[0]["last"]["median"] == 2.5
    assert entry["early"]["mean"] == pytest.approx(2.4)
    assert "diverged" in table([entry])


def test_worse_than_uniform_is_diverged() -> None:
    """Finite or not: one run of 10⁸ bits would make a mean of five that says nothing. The others' median stays."""
    row = {"task": "digits", "library": "zuko", "recipe": "plain"}
    early = (2.5, 2.6, 4.2e7, 2.7, 2.8)
    entry = summarize([row | {"seed": k, "early": v, "last": 3.0} for k, v in enumerate(early)])[0]
    assert entry["early"] == {"mean": None, "s.e.": None, "median": 2.7}
    assert entry["last"]["mean"] == 3.0
    assert entry["diverged"] == 1
    assert TASKS["digits"].uniform == pytest.approx(4.0875, abs=1e-4)
    assert 1.9 < TASKS["two moons"].uniform < 2.1  # ln 10 − 0.29


def test_a_training_that_never_was_finite_has_no_best_step() -> None:
    trace = training.Trace([1, 2], {"validation": [math.nan, math.inf], "test": [1.0, 1.0]}, stopped="NaN")
    found = training.early_and_last(trace)
    assert math.isnan(found["early"])
    assert found["best step"] == 0
    with pytest.raises(ValueError, match="finite validation"):
        _ = trace.best


def test_an_error_in_a_library_does_not_end_the_others(monkeypatch, tmp_path, capsys) -> None:
    def broken(task, library, recipe, seed):
        raise KeyError("their bug")

    changed = {"two moons": accuracy.tiny(TASKS["two moons"])}
    object.__setattr__(changed["two moons"], "run", broken)
    monkeypatch.setattr(
        accuracy, "tiny", lambda task: changed.get("two moons") if task.D == 2 else tiny(task)
    )
    row = accuracy.run("two moons", "flowlib", "plain", 0, smoke=True)
    assert row["failed"] == "KeyError: 'their bug'"
    assert summarize([row]) == []
    monkeypatch.setattr(accuracy, "jobs", lambda *_: [("two moons", "flowlib", "plain", 0)])
    out = tmp_path / "accuracy.json"
    assert accuracy.main(["--smoke", "--out", str(out)]) == 1
    assert "their bug" in capsys.readouterr().err
    assert json.loads(out.read_text(encoding="utf-8"))["runs"][0]["failed"]


def test_a_smoke_run_must_not_enter_the_table() -> None:
    with pytest.raises(SystemExit):
        accuracy.main(["--smoke", "--out", str(accuracy.path_of("accuracy"))])


def test_every_library_has_each_recipe_for_every_seed() -> None:
    every = accuracy.jobs(["flowlib", "zuko"], SEEDS)
    assert len(every) == len(set(every))
    references = sum(len(task.references) for task in TASKS.values())
    assert len(every) == 5 * (references + 3 * (2 * 2 + 1))
    assert ("digits", "zuko", "bare", 0) not in every


def test_differences_are_paired() -> None:
    """Seeds differ by more than libraries: the error is that of the difference."""
    rows = [
        {"task": "digits", "library": lib, "recipe": recipe, "seed": k, "early": k + a, "last": k + b}
        for lib, recipe, a, b in (
            ("flowlib", "plain", 0.0, 1.0),
            ("zuko", "plain", 0.5, 2.0),
            ("zuko", "ours", 0.1, 0.1),
        )
        for k in range(3)
    ]
    flowlib, plain, ours = summarize(rows)
    assert "early minus flowlib" not in flowlib
    assert plain["early minus flowlib"] == {
        "mean": pytest.approx(0.5),
        "s.e.": pytest.approx(0.0, abs=1e-12),
        "median": pytest.approx(0.5),
    }
    assert plain["early"]["s.e."] == pytest.approx(1 / math.sqrt(3))
    assert ours["last minus plain"]["mean"] == pytest.approx(-1.9)
    assert ours["last minus early"]["mean"] == pytest.approx(0.0)
    assert plain["last minus early"]["mean"] == pytest.approx(1.5)


def test_a_goal_is_met_or_not() -> None:
    rows = [
        {"task": "two moons", "library": "flowlib", "recipe": "ours", "seed": k, "last": 0.05}
        for k in range(2)
    ]
    (found,) = goals(summarize(rows))
    assert (found["met"], found["value"], found["limit"]) == (False, pytest.approx(0.05), 0.04)
    assert mean_and_error([2.0]) == {"mean": 2.0, "s.e.": None, "median": 2.0}


def test_the_plain_recipe_is_the_library_s_own() -> None:
    assert own_start("zuko") == (False, None)
    identity_start, bound = own_start("flowlib")
    plain, bare = (TASKS["digits"].shape("flowlib", name) for name in ("plain", "bare"))
    assert (plain.identity_start, plain.log_scale_bound) == (identity_start, bound)
    assert (bare.identity_start, bare.log_scale_bound) == (False, None)
    assert plain.dropout == bare.dropout == 0


def test_patches_of_a_split_do_not_overlap() -> None:
    """Test sets of different splits are different strips of the photographs; vectors have mean 0 with the 64th."""
    parts = [patches.load_patches(split) for split in range(5)]
    levels = [
        torch.cat([s for k, s in enumerate(patches._strips()) if k // 2 == split]) for split in range(5)
    ]
    for part, strips in zip(parts, levels, strict=True):
        mean = strips.mean(-1, keepdim=True)
        assert part.test.shape == (len(strips), patches.D)
        assert ((part.test - (strips - mean)[:, :-1] / 256).abs() < 2 / 256).all()
    assert torch.equal(parts[0].train, patches.load_patches(0).train)
    with pytest.raises(ValueError, match="split"):
        patches.load_patches(5)


def test_what_is_measured_needs_a_validation() -> None:
    with pytest.raises(ValueError, match="validation"):
        training.fit_and_trace(
            torch.nn.Linear(1, 1), torch.ones(2, 1), torch.ones(1, 1), {}, steps=1, eval_every=1
        )
