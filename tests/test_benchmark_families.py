"""The families table: every family builds, one run is a record, finished runs are not repeated."""

import json
import math

import pytest
import torch

from benchmarks import families
from flowlib.data import TARGETS


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_family_is_a_flow_of_two_variables_near_its_data(family: str) -> None:
    """Untrained, standardized to the data: no worse than one Gaussian, and invertible in float32."""
    torch.manual_seed(0)
    target = TARGETS["rings"]
    flow = families.FAMILIES[family].build(target.sample(2000, seed=0))
    x = target.sample(200, seed=1)
    with torch.no_grad():
        excess = (target.log_prob(x) - flow.log_prob(x)).mean().item()
        back = flow.forward(flow.inverse(x)[0])[0]
    assert excess < 2
    assert torch.allclose(back, x, atol=1e-3)


def test_a_run_is_measured_on_its_target() -> None:
    record = families.run("linear", "eight_gaussians", seed=1, steps=2, points=300)
    assert math.isclose(
        record["excess"],
        record["NLL"]
        + TARGETS["eight_gaussians"].log_prob(TARGETS["eight_gaussians"].sample(300, seed=12)).mean().item(),
        rel_tol=1e-5,
    )
    assert record["inverse error, 99 %"] <= record["inverse error"] < 1e-4


def test_an_iteration_that_gives_up_is_recorded(monkeypatch) -> None:
    def failing(flow: torch.nn.Module, x: torch.Tensor) -> dict:
        raise families.ConvergenceError("no fixed point")

    monkeypatch.setattr(families, "_inverse_error", failing)
    record = families.run("linear", "rings", seed=0, steps=1, points=100)
    assert record["failed"] == "no fixed point"
    assert math.isfinite(record["excess"])


def test_finished_runs_are_not_repeated(tmp_path, monkeypatch) -> None:
    """A record counts as finished when it was made with as many steps as its family has now."""
    record = {"family": "linear", "target": "rings", "seed": 0, "excess": 0.5, "training seconds": 1.0}
    fresh = record | {"steps": families.FAMILIES["linear"].steps}
    stale = fresh | {"seed": 1, "steps": 7}
    out = tmp_path / "families.json"
    families.write([stale, fresh], out)

    def never(*job: object) -> dict:
        raise AssertionError(f"{job} was run again")

    monkeypatch.setattr(families, "run", never)
    families.main(["--families", "linear", "--targets", "rings", "--seeds", "0", "--out", str(out)])
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert [r["seed"] for r in kept["runs"]] == [0, 1]  # in order, and nothing was done
    assert families._finished(out, None) == [fresh]


def test_a_smoke_run_must_not_enter_the_table() -> None:
    with pytest.raises(SystemExit):
        families.main(["--smoke", "--out", str(families.RESULT)])
