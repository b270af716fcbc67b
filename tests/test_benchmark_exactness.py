"""Errors after training: what is measured is the error, every row is made, and a flow that cannot says so."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import exactness
from benchmarks.families import FAMILIES
from flowlib import Flow, Rescaling, StandardNormal


class Wrong(nn.Module):
    """u = 2x, with a round trip that is off by 1e-3 and log-determinants that are off by 0.1 and by 0.2."""

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x, torch.full(x.shape[:-1], 2 * math.log(2) + 0.1, dtype=x.dtype)

    def to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return u / 2 + 1e-3, torch.full(u.shape[:-1], -2 * math.log(2) - 0.2, dtype=u.dtype)


def test_errors_are_those_of_the_flow() -> None:
    found = exactness.errors(Wrong(), Wrong(), torch.randn(50, 2, dtype=torch.float64))
    assert found["round trip"]["largest"] == pytest.approx(1e-3)
    assert found["log-det to base"]["largest"] == pytest.approx(0.1)
    assert found["log-det to data"]["99 %"] == pytest.approx(0.2)
    assert found["round trip"]["not finite"] == 0


def test_the_copy_in_float64_is_what_float32_is_held_against() -> None:
    torch.manual_seed(0)
    flow = exactness._Both(Flow(StandardNormal(2), [Rescaling(2)]))
    with torch.no_grad():
        flow.flow.transformations[0].log_scale.copy_(torch.tensor([0.7, -0.3]))
    found = exactness._in_both_dtypes(flow, {"test": torch.randn(100, 2)})
    assert 0 < found["float32"]["test"]["round trip"]["largest"] < 1e-5
    assert found["float64"]["test"]["round trip"]["largest"] < 1e-14
    assert found["float32"]["test"]["log-det to base"]["largest"] < 1e-6
    assert found["float64"]["test"]["log-det to base"]["largest"] < 1e-15


def test_a_flow_that_cannot_says_so_and_what_is_not_finite_is_counted() -> None:
    class OneWay(Wrong):
        def to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
            raise NotImplementedError("no inverse")

    found = exactness.errors(OneWay(), OneWay(), torch.randn(5, 2, dtype=torch.float64))
    assert found["round trip"] == {"cannot": "NotImplementedError: no inverse"}
    assert found["log-det to base"]["largest"] == pytest.approx(0.1)
    nothing = exactness._largest(torch.tensor([math.nan, math.inf]))
    assert nothing == {"largest": None, "99 %": None, "not finite": 2}
    assert exactness._largest(torch.tensor([math.nan, -2.0]))["largest"] == 2.0


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("exactness") / "exactness.json"
    assert exactness.main(["--smoke", "--libraries", "flowlib", "--out", str(out)]) == 0
    return out, json.loads(out.read_text(encoding="utf-8"))


def test_a_smoke_run_has_every_row(result) -> None:
    _, found = result
    rows = {(run["library"], run["family"]): run for run in found["runs"]}
    ours = {("flowlib", family) for family in exactness.SHAPES}
    assert set(rows) == ours | {(exactness.FAMILY_TABLE, family) for family in FAMILIES}
    for run in rows.values():
        for dtype, limit in (("float32", 1e-3), ("float64", 1e-6)):
            for error in run[dtype]["test"].values():
                assert error["not finite"] == 0
                assert error["99 %"] <= error["largest"] < limit, (run["family"], dtype)
    assert len(found["summary"]) == len(rows)
    assert {"command", "machine", "versions", "settings"} <= set(found)


def test_finished_flows_are_not_repeated(result, monkeypatch) -> None:
    out, before = result

    def never(*job: object) -> dict:
        raise AssertionError(f"{job} was measured again")

    monkeypatch.setattr(exactness, "measure", never)
    again = ["--smoke", "--libraries", "flowlib", "--out", str(out)]
    assert exactness.main(again) == 0
    assert json.loads(out.read_text(encoding="utf-8")) == before
    # With --fresh each is tried, fails, and is recorded as failed.
    assert exactness.main([*again, "--fresh"]) == 1
    assert all("measured again" in run["failed"] for run in json.loads(out.read_text())["runs"])


def test_a_smoke_run_must_not_enter_the_table() -> None:
    with pytest.raises(SystemExit):
        exactness.main(["--smoke", "--out", str(exactness.path_of("exactness"))])
