"""`fit`: learns, stops early, restores the best weights, averages, cuts, and says why it stopped."""

import math

import pytest
import torch
from torch import nn

from flowlib import (
    VAE,
    BernoulliDecoder,
    Flow,
    GaussianEncoder,
    GaussianPrior,
    Rescaling,
    StandardNormal,
    fit,
    mlp,
)

DATA = 3 * torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))


def flow() -> Flow:
    return Flow(StandardNormal(2), [Rescaling(2)])


class Scripted(nn.Module):
    """A model whose training loss pulls w to 1 while its held-out loss is best at w = 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))

    def loss(self, batch: torch.Tensor) -> torch.Tensor:
        return (self.w - 1) ** 2 if self.training else (self.w - 0.5) ** 2


def test_learns_the_scale_of_the_data():
    model = flow()
    history = fit(model, DATA, steps=300, lr=0.05, progress=False)
    torch.testing.assert_close(model.transformations[0].log_scale.exp(), DATA.std(0), rtol=0.03, atol=0)
    assert len(history.train_loss) == 300
    assert history.seconds > 0
    assert not model.training
    assert history.best_step is None


def test_same_seed_same_weights_and_global_random_state_untouched():
    weights = []
    for _ in range(2):
        model = flow()
        torch.manual_seed(torch.initial_seed())
        before = torch.get_rng_state()
        fit(model, DATA, steps=20, batch_size=64, seed=3, progress=False)
        assert torch.equal(before, torch.get_rng_state())
        weights.append(model.transformations[0].log_scale.detach().clone())
    assert torch.equal(*weights)
    other = flow()
    fit(other, DATA, steps=20, batch_size=64, seed=4, progress=False)
    assert not torch.equal(other.transformations[0].log_scale, weights[0])


@pytest.mark.parametrize(("max_steps", "expected"), [(None, 40), (0, 40), (7, 7), (100, 40)])
def test_max_steps_cuts(max_steps, expected):
    assert len(fit(flow(), DATA, steps=40, max_steps=max_steps, progress=False).train_loss) == expected


def test_best_weights_are_kept():
    model = Scripted()
    history = fit(
        model, DATA, validation=DATA, steps=200, lr=0.02, eval_every=5, schedule=None, progress=False
    )
    best = min(history.held_out_loss)
    assert history.held_out_steps == list(range(5, 201, 5))
    assert history.best_step == history.held_out_steps[history.held_out_loss.index(best)] < 100
    assert (model.w.item() - 0.5) ** 2 == pytest.approx(best)
    assert not history.stopped_early


def test_patience_stops_early():
    model = Scripted()
    history = fit(
        model,
        DATA,
        validation=DATA,
        steps=400,
        lr=0.02,
        eval_every=5,
        patience=3,
        schedule=None,
        progress=False,
    )
    assert history.stopped_early
    assert len(history.train_loss) == history.best_step + 15
    assert abs(model.w.item() - 0.5) < 0.06


def test_averaged_weights_are_those_measured_and_kept():
    # With a constant learning rate w runs ahead of its average, which ends behind it.
    last, averaged = Scripted(), Scripted()
    options = {"steps": 30, "lr": 0.02, "schedule": None, "progress": False}
    fit(last, DATA, **options)
    fit(averaged, DATA, average=0.95, **options)
    assert 0 < averaged.w.item() < last.w.item()
    measured = Scripted()
    history = fit(measured, DATA, average=0.95, validation=DATA, eval_every=30, **options)
    assert measured.w.item() == pytest.approx(averaged.w.item())
    assert history.held_out_loss == [pytest.approx((averaged.w.item() - 0.5) ** 2)]


def test_a_short_run_with_averaging_leaves_the_start():
    model = Scripted()
    fit(model, DATA, steps=20, lr=0.1, average=0.999, progress=False)
    assert model.w.item() > 0.2


def test_held_out_loss_of_a_random_model_uses_the_same_noise_each_time():
    vae = VAE(GaussianPrior(2), BernoulliDecoder(mlp([2, 4])), GaussianEncoder(mlp([4, 4])))
    x = torch.randint(2, (200, 4)).float()
    history = fit(vae, x, validation=x, steps=6, eval_every=1, lr=1e-12, schedule=None, progress=False)
    assert max(history.held_out_loss) - min(history.held_out_loss) < 1e-5


def test_weights_with_a_held_out_loss_of_nan_are_not_kept():
    class BreaksOff(Scripted):
        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            return (self.w - 1) ** 2 if self.training or self.w > 0.3 else self.w * torch.nan

    model = BreaksOff()
    history = fit(
        model, DATA, validation=DATA, steps=60, lr=0.02, eval_every=5, schedule=None, progress=False
    )
    assert math.isinf(history.held_out_loss[0])
    assert history.best_step > 10
    assert model.w.item() > 0.3


def test_a_loss_for_each_example_is_refused():
    model = flow()
    with pytest.raises(ValueError, match=r"expected a scalar, got shape \(512,\)"):
        fit(model, DATA, loss=lambda x: -model.log_prob(x), progress=False)


def test_frozen_parameters_stay():
    model = flow()
    frozen = nn.ModuleList([model, nn.Linear(2, 2).requires_grad_(False)])
    before = frozen[1].weight.clone()
    fit(frozen, DATA, loss=lambda x: -model.log_prob(x).mean(), steps=3, weight_decay=0.1, progress=False)
    assert torch.equal(frozen[1].weight, before)


def test_nan_in_the_data_is_named():
    spoiled = DATA.clone()
    spoiled[5] = torch.nan
    model = flow()
    with pytest.raises(FloatingPointError, match=r"loss is nan at step \d+ of 50.*data holds NaN"):
        fit(model, spoiled, loss=lambda x: (model.inverse(x)[0] ** 2).mean(), steps=50, progress=False)
    assert all(p.isfinite().all() for p in model.parameters())


def test_weights_return_to_the_last_finite_state():
    class Cliff(Scripted):
        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            return -self.w if self.w < 0.095 else self.w * torch.inf  # Adam's steps are 0.01 long

    model = Cliff()
    with pytest.raises(FloatingPointError, match="at step 10 of 50; likely cause: a scale overflowed"):
        fit(model, DATA, steps=50, lr=0.01, schedule=None, weight_decay=0.0, progress=False)
    assert model.w.item() == pytest.approx(0.09, abs=1e-3)
    assert math.isfinite(model.loss(DATA).item())


def test_finite_loss_with_infinite_gradient_is_caught_before_the_step():
    class Root(Scripted):
        def loss(self, batch: torch.Tensor) -> torch.Tensor:
            return self.w.sqrt()  # slope infinite at 0

    model = Root()
    with pytest.raises(FloatingPointError, match=r"finite .* but its gradient is not at step 0"):
        fit(model, DATA, steps=5, progress=False)
    assert model.w.item() == 0


def test_progress_bar(capsys):
    fit(flow(), DATA, steps=5)
    assert "5/5" in capsys.readouterr().err
    fit(flow(), DATA, steps=5, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "linear"}, 'must be "cosine" or None'),
        ({"average": 1.0}, r"in \[0, 1\), got 1.0"),
        ({"patience": 3}, "patience needs validation"),
        ({"steps": 0}, "steps must be a positive integer"),
        ({"batch_size": -1}, "batch_size must be"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit(flow(), DATA, progress=False, **arguments)


def test_a_module_without_parameters_is_refused():
    with pytest.raises(ValueError, match=r"no trainable parameters .*ModuleList"):
        fit(Flow(StandardNormal(2), []), DATA, progress=False)
    with pytest.raises(ValueError, match="no example"):
        fit(flow(), DATA[:0], progress=False)
