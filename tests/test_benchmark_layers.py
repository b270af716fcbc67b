"""`python -m benchmarks.layers`: the flows compared are the same function, and the statistics are right. No time is asserted."""

import gc
import json
import sys
from itertools import pairwise

import pytest
import torch

from benchmarks.layers import __main__ as command
from benchmarks.layers.couplings import SAME_FUNCTION, VARIANTS, by_hand
from benchmarks.layers.reasons import REASONS
from benchmarks.layers.tasks import HAND, SMOKE, TASKS, evaluations, prepare
from benchmarks.layers.timing import (
    calls_per_block,
    interleaved,
    median_interval,
    no_garbage_collection,
    ratios,
)
from benchmarks.peers import LIBRARIES, Shape, build
from benchmarks.record import load, path_of

COUPLING = Shape("affine coupling", D=6, layers=4, hidden=(8, 8))
BY_HAND = next(task for task in TASKS if task.by_hand)


# --- The flow by hand ---


def test_the_density_by_hand_is_right(float64):
    """u = T⁻¹(x) by its own layers, log|det ∂u/∂x| by autodiff, log N(u; 0, I) by torch."""
    flow, x = by_hand(COUPLING), torch.randn(5, COUPLING.D)
    u, log_det = flow.to_base(x)
    J = torch.func.vmap(torch.func.jacrev(lambda v: flow.to_base(v[None])[0][0]))(x)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(J)[1], rtol=1e-10, atol=1e-10)
    normal = torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(flow.log_prob(x), normal.log_prob(u).sum(-1) + log_det, rtol=1e-12, atol=1e-12)
    back, minus_log_det = flow.to_data(u)
    torch.testing.assert_close(back, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(minus_log_det, -log_det, rtol=1e-12, atol=1e-12)


def test_its_samples_are_draws_through_the_flow(float64):
    flow = by_hand(COUPLING)
    torch.manual_seed(3)
    x = flow.sample(7)
    torch.manual_seed(3)
    torch.testing.assert_close(x, flow.to_data(torch.randn(7, COUPLING.D))[0])
    assert not x.requires_grad


@pytest.mark.parametrize("name", SAME_FUNCTION)
@pytest.mark.parametrize("D", [2, 6])
def test_other_couplings_with_its_weights_are_the_same_function(float64, name, D):
    shape = Shape("affine coupling", D=D, layers=4, hidden=(8, 8))
    hand = by_hand(shape)
    flow, x = SAME_FUNCTION[name](hand, shape), 2 * torch.randn(9, D)
    torch.testing.assert_close(flow.log_prob(x), hand.log_prob(x), rtol=1e-11, atol=1e-11)
    for way in ("to_base", "to_data"):
        for ours, theirs in zip(getattr(flow, way)(x), getattr(hand, way)(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_a_bound_makes_it_another_function(float64):
    hand = by_hand(COUPLING)
    with torch.no_grad():
        for net in hand.nets:
            net[-1].bias[: COUPLING.D // 2] = 5.0  # s
    (name,) = VARIANTS.keys() - SAME_FUNCTION.keys()
    x = torch.randn(9, COUPLING.D)
    log_det = VARIANTS[name](hand, COUPLING).to_base(x)[1]
    assert (log_det.abs() <= 2 * COUPLING.layers * COUPLING.D / 2).all()
    assert (hand.to_base(x)[1].abs() > 2 * COUPLING.layers * COUPLING.D / 2).all()


@pytest.mark.parametrize(
    "wrong", [{"D": 3}, {"layers": 3}, {"hidden": (8,)}, {"hidden": (8, 16)}], ids=lambda wrong: str(wrong)
)
def test_what_it_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="expected D and layers even and two hidden layers of one width"):
        by_hand(Shape(**{"family": "affine coupling", "D": 4, "layers": 2, "hidden": (8, 8)} | wrong))


def test_other_weights_are_noticed_before_anything_is_timed(monkeypatch):
    def other(hand, shape):
        flow = SAME_FUNCTION["flowlib, index split"](hand, shape)
        with torch.no_grad():
            next(flow.parameters()).add_(0.1)
        return flow

    monkeypatch.setitem(VARIANTS, "flowlib, index split", other)
    with pytest.raises(ArithmeticError, match="index split: expected the reference's output to 1e-05, got"):
        prepare(BY_HAND, SMOKE)


def test_numbers_that_are_not_finite_are_noticed(monkeypatch):
    def broken(hand, shape):
        flow = SAME_FUNCTION["flowlib, masked, one net"](hand, shape)
        with torch.no_grad():
            next(flow.parameters()).fill_(torch.nan)
        return flow

    monkeypatch.setitem(VARIANTS, "flowlib, masked, one net", broken)
    with pytest.raises(ArithmeticError, match="masked, one net: expected finite numbers"):
        prepare(BY_HAND, SMOKE)


def test_a_library_that_is_not_installed_is_passed_over(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    candidates, missing = prepare(BY_HAND, SMOKE)
    assert "zuko" not in candidates
    assert "zuko is not installed" in missing["zuko"]
    assert {HAND, *VARIANTS} <= candidates.keys()


def test_evaluations_of_a_network_are_counted():
    """A MAF samples in one pass of the network for each variable, and takes one for the density."""
    flow, x = build("flowlib", Shape("MAF", D=5, layers=1, hidden=(8,))), torch.randn(3, 5)
    assert evaluations(flow, lambda: flow.sample(3)) == 5
    assert evaluations(flow, lambda: flow.log_prob(x)) == 1


# --- Timing ---


def test_every_round_runs_a_block_of_each_in_another_order():
    ran: list[str] = []
    rounds: list[int] = []
    calls = {name: lambda name=name: ran.append(name) for name in "abc"}
    seconds = interleaved(calls, rounds=6, block=1e-9, after_round=lambda: rounds.append(len(ran)))
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys("abc", 6)
    assert all(s > 0 for values in seconds.values() for s in values)
    turns = [ran[start:end] for start, end in pairwise(rounds)]
    assert all(set(turn) == set("abc") for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1  # another order


def test_a_block_is_as_long_as_asked(monkeypatch):
    now, called = [0.0], [0]
    monkeypatch.setattr("benchmarks.layers.timing.time.perf_counter", lambda: now[0])

    def call():  # the first two are slow, as a first call often is
        called[0] += 1
        now[0] += 10.0 if called[0] <= 2 else 0.25

    assert calls_per_block(call, seconds=1.0) == 4
    assert called[0] >= 2 + 1 + 4  # warm-up, a look, and the block itself


def test_the_garbage_collector_is_off_within_and_as_before_behind():
    assert gc.isenabled()
    with no_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_ratio_is_that_of_one_round():
    """The second round is ten times as slow for all; the medians' ratio would be another number."""
    seconds = {"by hand": [1.0, 10.0, 1.0], "library": [1.2, 11.0, 1.3]}
    row = ratios(seconds, "by hand")["library"]
    assert row["ratio"] == pytest.approx(1.2)
    assert row["quartiles"] == pytest.approx([1.15, 1.25])
    assert row["seconds"] == 1.3
    assert row["interval"] == pytest.approx([1.1, 1.3])


@pytest.mark.parametrize(
    ("seconds", "reference", "message"),
    [
        ({"a": [1.0]}, "b", "reference: expected one of a, got 'b'"),
        ({"a": [1.0], "b": [1.0, 2.0]}, "a", "b: expected 1 rounds like the reference, got 2"),
    ],
)
def test_wrong_tables_are_refused(seconds, reference, message):
    with pytest.raises(ValueError, match=message):
        ratios(seconds, reference)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says():
    """95 % of 200 intervals of 40 normal numbers should hold the true median 0; 88 % would be 4.5 standard errors off."""
    values = torch.randn(200, 40, generator=torch.Generator().manual_seed(0)).tolist()
    intervals = [median_interval(row, draws=500, seed=k) for k, row in enumerate(values)]
    assert 0.88 < sum(low <= 0 <= high for low, high in intervals) / len(intervals) < 0.995


# --- The command ---


def test_goals_and_faster_peers_are_named():
    (task, who, limit, same), *_ = command.GOALS
    seconds = {
        HAND: [1.0, 1.0, 1.0],
        who: [limit + 0.01] * 3,
        "nflows": [1.0, 1.0, 1.0],
        "zuko": [1.0, 1.0, 2.0],
    }
    found = command.summarize([{"task": task, "reference": HAND, "seconds": seconds}])
    (goal,) = found["goals"]
    assert (goal["who"], goal["met"], goal["by hand"]) == (who, False, 1.0)
    assert same == HAND
    # zuko is faster in most rounds, but its interval reaches beyond 1.
    assert [peer["library"] for peer in found["faster peers"]] == ["nflows"]
    assert found["faster peers"][0]["ratio to flowlib"] == pytest.approx(1 / (limit + 0.01))
    seconds[who] = [limit - 0.01] * 3
    assert command.summarize([{"task": task, "reference": HAND, "seconds": seconds}])["goals"][0]["met"]


def test_a_faster_peer_has_a_reason():
    seconds = {"flowlib": [2.0, 2.0], "normflows": [1.0, 1.0], "nflows": [1.0, 1.0]}
    found = command.summarize([{"task": "MAF, D = 8: density", "reference": "flowlib", "seconds": seconds}])
    assert {peer["library"]: "activation" in peer["reason"] for peer in found["faster peers"]} == {
        "normflows": True,
        "nflows": False,
    }


def test_reasons_are_of_tasks_and_libraries_that_exist():
    for family, library in REASONS:
        assert any(task.name.startswith(family) for task in TASKS)
        assert library in LIBRARIES


def test_goals_name_tasks_and_candidates_that_exist():
    for task, who, limit, same in command.GOALS:
        assert task in {t.name for t in TASKS if t.by_hand}
        assert who in SAME_FUNCTION
        assert same in {HAND, *SAME_FUNCTION}
        assert limit > 1


@pytest.mark.slow
def test_a_smoke_run_does_every_task(tmp_path, capsys):
    out = tmp_path / "layers.json"
    command.main(["--smoke", "--rounds", "2", "--out", str(out)])
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["command"] == "python -m benchmarks.layers"
    assert [run["task"] for run in result["runs"]] == [task.name for task in TASKS]
    assert result["settings"]["rounds"] == 2
    assert {"python", "torch"} <= result["versions"].keys()
    for run in result["runs"]:
        assert run["seconds"].keys() == run["candidates"].keys()
        assert all(len(values) == 2 and min(values) > 0 for values in run["seconds"].values())
        assert not run["candidates"].keys() & run["missing"].keys()
        if run["reference"] == HAND:
            counts = {name: about["parameters"] for name, about in run["candidates"].items()}
            assert counts[HAND] == counts["flowlib, index split"] < counts["flowlib, masked, one net"]
        else:
            assert "flowlib" in run["candidates"]
        for name, about in run["candidates"].items():
            if name in SAME_FUNCTION and "sampling" not in run["task"]:
                assert about["difference"] < 1e-5
    assert {goal["who"] for goal in result["summary"]["goals"]} == {who for _, who, *_ in command.GOALS}
    printed = capsys.readouterr().out
    assert all(task.name in printed for task in TASKS)


def test_what_is_there_is_not_repeated(tmp_path, monkeypatch):
    out = tmp_path / "layers.json"
    few = ["--smoke", "--rounds", "1", "--tasks", "residual", "--out", str(out)]
    command.main(few)
    first = json.loads(out.read_text(encoding="utf-8"))
    ran: list[str] = []
    run = command.run
    monkeypatch.setattr(command, "run", lambda task, *rest: ran.append(task.name) or run(task, *rest))

    command.main(few)
    assert ran == []
    assert json.loads(out.read_text(encoding="utf-8")) == first
    command.main([*few[:3], "--tasks", "continuous", "--out", str(out)])  # what is missing joins
    assert ran == ["continuous, D = 2: density"]
    assert len(json.loads(out.read_text(encoding="utf-8"))["runs"]) == len(first["runs"]) + 1

    ran.clear()
    command.main([*few, "--fresh"])
    assert len(ran) == len(first["runs"])
    ran.clear()
    command.version.cache_clear()
    monkeypatch.setattr(command, "packages_hash", lambda names: "other code")
    command.main(few)
    command.version.cache_clear()
    assert len(ran) == len(first["runs"])


def test_a_smoke_run_does_not_enter_the_result(capsys):
    with pytest.raises(SystemExit):
        command.main(["--smoke", "--out", str(command.path_of("layers"))])
    assert "must not enter the result" in capsys.readouterr().err


def test_a_word_of_no_task_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["--smoke", "--tasks", "planar"])
    assert "--tasks: expected a word of affine coupling" in capsys.readouterr().err


def test_lesson_3_says_what_was_measured():
    """1.7 to 2 times for two networks, 1.3 times for a mask at D = 64."""
    tasks = load(path_of("layers"))["summary"]["tasks"]

    def ratio(D: int, who: str, beside: str) -> float:
        rows = tasks[f"affine coupling, D = {D}: training"]
        return rows[f"flowlib, {who}"]["ratio"] / rows[f"flowlib, {beside}"]["ratio"]

    assert 1.55 < ratio(2, "masked, two nets", "masked, one net") < 2.2
    assert 1.55 < ratio(64, "masked, two nets", "masked, one net") < 2.2
    assert 1.2 < ratio(64, "masked, one net", "index split") < 1.4
