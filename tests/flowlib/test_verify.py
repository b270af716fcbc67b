"""`verify` finds what is wrong with a layer: one broken layer for each row of the report."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flowlib import Flow, MaskedCouplingLayer, StandardNormal, alternating_masks, mlp
from flowlib.verify import (
    check_layer,
    log_det_error,
    mass_1d,
    mass_2d,
    numerical_jacobian,
    on_arrays,
    round_trip_error,
)


class Coupling(nn.Module):
    """A right coupling layer of a student's, in three variables; the broken ones below change one thing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.s, self.t = mlp([3, 8, 3], nn.Tanh), mlp([3, 8, 3], nn.Tanh)
        self.register_buffer("b", torch.tensor([1.0, 0.0, 1.0]))

    def st(self, v: Tensor) -> tuple[Tensor, Tensor]:
        return (1 - self.b) * self.s(self.b * v), (1 - self.b) * self.t(self.b * v)

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.st(u)
        return u * s.exp() + t, s.sum(-1)

    def inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.st(x)
        return (x - t) * (-s).exp(), -s.sum(-1)


class InverseAddsAfterScaling(Coupling):
    def inverse(self, x):
        s, t = self.st(x)
        return x * (-s).exp() - t, -s.sum(-1)


class ForwardLogDetHasTheWrongSign(Coupling):
    def forward(self, u):
        x, log_det = super().forward(u)
        return x, -log_det


class InverseLogDetHasTheWrongSign(Coupling):
    def inverse(self, x):
        u, log_det = super().inverse(x)
        return u, -log_det


class LogDetOfEveryVariable(Coupling):
    def forward(self, u):
        s, t = self.st(u)
        return u * s.exp() + t, s


class LogDetSummedOverDimOne(Coupling):
    def forward(self, u):
        s, t = self.st(u)
        return u * s.exp() + t, s.sum(1)


class LogDetOfTheBatch(Coupling):
    def forward(self, u):
        x, log_det = super().forward(u)
        return x, log_det.mean().expand_as(log_det)


class LogDetInSinglePrecision(Coupling):
    def forward(self, u):
        x, log_det = super().forward(u)
        return x, log_det.float()


class ChangesItsArgument(Coupling):
    def forward(self, u):
        x, log_det = super().forward(u)
        u.mul_(1.001)
        return x, log_det


class Crashes(Coupling):
    def inverse(self, x):
        raise RuntimeError("not finished")


def failing(layer: nn.Module) -> set[str]:
    return {p.name for p in check_layer(layer, 3).properties if not p.holds}


def test_a_right_layer_passes():
    report = check_layer(Coupling(), 3)
    assert report.ok
    assert len(report.properties) == 14
    report.raise_if_failed()
    assert "all properties hold" in str(report)


@pytest.mark.parametrize(
    ("layer", "found", "not_blamed"),
    [
        (InverseAddsAfterScaling, "inverse undoes forward", "inverse: log_det against autodiff"),
        (ForwardLogDetHasTheWrongSign, "forward: log_det against autodiff", "inverse undoes forward"),
        (InverseLogDetHasTheWrongSign, "inverse: log_det against autodiff", "forward undoes inverse"),
        (LogDetOfEveryVariable, "forward: shapes and dtype", "inverse undoes forward"),
        (LogDetSummedOverDimOne, "forward: extra batch axes", "forward: log_det against autodiff"),
        (LogDetOfTheBatch, "forward: each example on its own", "inverse: each example on its own"),
        (LogDetInSinglePrecision, "forward: shapes and dtype", "inverse: shapes and dtype"),
        (ChangesItsArgument, "forward: argument left as it was", "inverse: argument left as it was"),
        (Crashes, "inverse undoes forward", "forward: log_det against autodiff"),
    ],
)
def test_a_broken_layer_fails_where_it_is_broken(layer, found, not_blamed):
    failed = failing(layer())
    assert found in failed
    assert not_blamed not in failed
    with pytest.raises(AssertionError, match="FAIL"):
        check_layer(layer(), 3).raise_if_failed()


def test_an_exception_becomes_a_row():
    seen = [p.seen for p in check_layer(Crashes(), 3).properties if not p.holds]
    assert "RuntimeError: not finished" in seen


def test_perturbing_brings_out_what_the_identity_hides():
    def start() -> nn.Module:
        layer = ForwardLogDetHasTheWrongSign()
        for net in (layer.s, layer.t):
            nn.init.zeros_(net[-1].weight)
            nn.init.zeros_(net[-1].bias)
        return layer

    assert check_layer(start(), 3).ok
    assert not check_layer(start(), 3, perturb=0.3).ok


def test_the_layer_itself_is_left_alone():
    layer = Coupling().train()
    before, state = [p.clone() for p in layer.parameters()], torch.get_rng_state()
    check_layer(layer, 3, perturb=0.5)
    assert layer.training
    assert all(torch.equal(p, q) for p, q in zip(layer.parameters(), before, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ValueError, match="even"):
        check_layer(layer, 3, batch=3)


def test_numerical_jacobian_is_indexed_output_by_input():
    A = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(
        numerical_jacobian(lambda x: x @ A.T, x), np.broadcast_to(A, (4, 2, 3)), atol=1e-9
    )
    calls = []
    numerical_jacobian(lambda x: calls.append(len(x)) or x, x)
    assert calls == [2 * 3 * 4]
    with pytest.raises(ValueError, match=r"\(B, D\), got \(3,\)"):
        numerical_jacobian(np.sin, x[0])
    with pytest.raises(ValueError, match="expected an output of shape"):
        numerical_jacobian(lambda x: x.sum(-1), x)


def test_errors_are_nan_or_infinite_when_values_are_not_numbers():
    u = np.ones((3, 2))
    good = lambda v: (2 * v, np.full(len(v), 2 * math.log(2)))  # noqa: E731
    assert log_det_error(good, u) < 1e-9
    assert log_det_error(lambda v: (2 * v, np.zeros((len(v), 2))), u) == math.inf
    assert math.isnan(log_det_error(lambda v: (2 * v, np.full(len(v), np.nan)), u))
    assert round_trip_error(good, lambda x: (x[:, :1], None), u) == math.inf
    assert math.isnan(round_trip_error(good, lambda x: (x * np.nan, None), u))
    assert round_trip_error(good, good, u) == pytest.approx(3 / 2)


def test_methods_of_modules_are_wrapped_by_themselves():
    layer = MaskedCouplingLayer(mlp([2, 8, 2], nn.Tanh), mlp([2, 8, 2], nn.Tanh), alternating_masks(2, 1)[0])
    u = np.random.default_rng(0).normal(size=(5, 2))
    assert round_trip_error(layer.forward, layer.inverse, u) < 1e-5  # float32
    layer.double()
    assert round_trip_error(layer.forward, layer.inverse, u) < 1e-12
    assert log_det_error(layer, u) < 1e-8
    assert log_det_error(layer.inverse, u) < 1e-8
    assert mass_2d(Flow(StandardNormal(2).double(), [layer]).log_prob, n=200) == pytest.approx(1, abs=1e-4)


def test_mass():
    assert mass_1d(lambda x: np.where(np.abs(x) < 1, 0.0, -np.inf)) == pytest.approx(2, abs=0.01)
    normal = torch.distributions.Normal(0.0, 1.0)
    assert mass_1d(on_arrays(normal.log_prob)) == pytest.approx(1, abs=1e-6)
    # A log-det counted twice: the mass tells.
    doubled = lambda x: normal.log_prob(torch.tensor(x) / 2).numpy() - 2 * math.log(2)  # noqa: E731
    assert mass_1d(doubled) == pytest.approx(0.5, abs=1e-3)
    with pytest.raises(ValueError, match=r"expected an output of shape \(4001,\), got \(\)"):
        mass_1d(lambda x: np.zeros(()))
    with pytest.raises(ValueError, match=r"expected an output of shape \(300,\), got \(300, 2\)"):
        mass_2d(lambda x: x)
