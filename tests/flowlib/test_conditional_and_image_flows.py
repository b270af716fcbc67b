"""Flows with a context, and flows of images: what `Flow` adds to the layers of the table."""

import pytest
import torch
from torch import nn

from flowlib import (
    AffineCoupling,
    Composition,
    Flow,
    Permutation,
    Rescaling,
    Reshape,
    StandardNormal,
    mlp,
)
from flowlib.verify import mass_2d, on_arrays


def conditional_flow() -> Flow:
    torch.manual_seed(0)
    mask = torch.tensor([1.0, 0.0])
    nets = [mlp([2 + 3, 16, 4], activation=nn.Tanh) for _ in range(2)]
    layers = [
        AffineCoupling(nets[0], mask, 1.0, context_size=3),
        Permutation([1, 0]),
        Rescaling(2),
        AffineCoupling(nets[1], mask, 1.0, context_size=3),
    ]
    return Flow(StandardNormal(2), layers).double()


def test_a_conditional_flow_is_a_density_for_every_context():
    flow = conditional_flow()
    for h in torch.randn(2, 3, dtype=torch.float64):
        assert mass_2d(
            on_arrays(lambda x, h=h: flow.log_prob(x, h)), (-12, 12, -12, 12), n=400
        ) == pytest.approx(1, abs=1e-3)


def test_samples_come_one_for_each_context_and_know_their_density():
    flow, h = conditional_flow(), torch.randn(4, 3, dtype=torch.float64)
    assert flow.sample(context=h).shape == (4, 2)
    assert flow.sample((7,), h).shape == (7, 4, 2)
    assert not flow.sample((7,), h).requires_grad
    assert flow.rsample((7,), h).requires_grad
    x, log_prob = flow.sample_with_log_prob((7,), h, reparameterized=True)
    torch.testing.assert_close(log_prob, flow.log_prob(x, h))
    alone = torch.stack([flow.log_prob(x[:, k], h[k]) for k in range(4)], 1)
    torch.testing.assert_close(alone, flow.log_prob(x, h))


def test_the_context_goes_only_to_layers_that_take_one():
    flow = conditional_flow()
    assert flow.context_size == 3
    with pytest.raises(ValueError, match=r"Flow.inverse: expected a context .* got none"):
        flow.log_prob(torch.zeros(5, 2, dtype=torch.float64))


def test_layers_must_agree_on_the_context_and_on_shapes():
    mask = torch.tensor([1.0, 0.0])
    two, three = (AffineCoupling(nn.Linear(2 + n, 4), mask, context_size=n) for n in (2, 3))
    with pytest.raises(ValueError, match=r"contexts of different sizes: \[2, 3\]"):
        Composition([two, three])
    with pytest.raises(ValueError, match=r"transformation 1 \(Rescaling\) takes shape \(3,\), got \(2,\)"):
        Composition([Rescaling(2), Rescaling(3)])


def test_a_flow_of_images():
    flow = Flow(StandardNormal(12), [Rescaling(12), Reshape((3, 2, 2))])
    assert flow.event_shape == (3, 2, 2)
    assert flow.base_shape == (12,)
    x = flow.sample((5, 2))
    assert x.shape == (5, 2, 3, 2, 2)
    assert flow.log_prob(x).shape == (5, 2)
    u, _ = flow.inverse(x)
    assert u.shape == (5, 2, 12)
    with pytest.raises(ValueError, match=r"Flow.inverse: expected a tensor of shape \(\*batch, 3, 2, 2\)"):
        flow.log_prob(torch.zeros(5, 12))


def test_a_composition_within_a_flow():
    step = Composition([Rescaling(2), Permutation([1, 0])])
    flow = Flow(StandardNormal(2), [step, step])
    x = torch.randn(5, 2)
    torch.testing.assert_close(flow.forward(flow.inverse(x)[0])[0], x)


@pytest.mark.parametrize("shape", [(), (0, 2), (2.0, 2)])
def test_reshape_names_a_bad_shape(shape):
    with pytest.raises(ValueError, match="shape must hold positive integers"):
        Reshape(shape)
