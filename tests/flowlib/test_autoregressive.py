"""What only autoregressive models promise: who may look at whom, and how many passes that takes."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import flowlib
from flowlib import (
    MADE,
    AffineElementwise,
    AutoregressiveBernoulli,
    Elementwise,
    InverseAutoregressive,
    MaskedAutoregressive,
    MaskedLinear,
    batch_jacobian,
    distillation_loss,
    iaf,
    maf,
)

LAYERS = (MaskedAutoregressive, InverseAutoregressive)


def points(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(D: int, size: int = 2, hidden=(24, 20), *, seed: int = 0, **options) -> MADE:
    """In float64, parameters random, with a smooth activation."""
    torch.manual_seed(seed)
    net = MADE(D, size, hidden, activation=nn.Tanh, **options).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return net


def dependencies(net: MADE) -> Tensor:
    """Where ∂output_i/∂v_j is not 0 at some of several points, `(size, D, D)`."""
    v = points(5, net.D)
    J = torch.stack([batch_jacobian(lambda v, k=k: block(net, v)[:, k], v) for k in range(net.size)])
    return (J != 0).any(1)


def block(net: MADE, v: Tensor) -> Tensor:
    return net(v).unflatten(-1, (net.size, net.D))


@pytest.mark.parametrize("hidden", [(), (7,), (24, 20), (6, 6, 6)])
@pytest.mark.parametrize(
    "degrees", [[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [3, 1, 4, 5, 2], [1, 1, 2, 2, 2], [2, 9, 9, 2, 5], [1] * 5]
)
def test_outputs_see_all_variables_of_lower_degree_and_no_others(degrees, hidden):
    d = torch.tensor(degrees)
    expected = (d[:, None] > d).expand(3, 5, 5)
    assert torch.equal(dependencies(made(5, 3, hidden, degrees=degrees)), expected)


def test_narrow_hidden_layers_cut_connections_but_never_the_order():
    # Three units for the degrees 1, …, 8: they get 1, 3 and 6. Output i sees input j when a unit m has j ≤ m < i.
    number = torch.arange(1, 10)
    expected = torch.stack([(number <= m) & (number[:, None] > m) for m in (1, 3, 6)]).any(0)
    assert torch.equal(dependencies(made(9, 1, hidden=(3,)))[0], expected)


def test_context_reaches_every_output_and_hides_no_variable():
    net = made(3, 2, context_size=2)
    h = points(4, 2)
    J = batch_jacobian(lambda h: net(torch.cat([points(4, 3), h], -1)), h)
    assert J.shape == (4, 6, 2)
    assert (J != 0).all(0).all()
    J = batch_jacobian(lambda v: net(torch.cat([v, h], -1))[:, :3], points(4, 3))
    assert torch.equal((J != 0).any(0), torch.ones(3, 3).tril(-1).bool())


def test_training_brings_no_cut_connection_back():
    net = made(4, 2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (net(points(8, 4)) - points(8, 8)).square().sum().backward()
        optimizer.step()
    assert torch.equal(dependencies(net), torch.ones(4, 4).tril(-1).bool().expand(2, 4, 4))


def test_outputs_of_some_variables_are_those_of_all():
    net, v = made(5, 3, degrees=[2, 1, 5, 3, 4]), points(6, 5)
    for group in (torch.tensor([3]), torch.tensor([4, 0])):
        got = net(v, group).unflatten(-1, (3, -1))
        torch.testing.assert_close(got, block(net, v)[..., group], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("D", [1, 2, 5])
def test_one_variable_is_moved_by_a_constant_and_more_are_triangular(layer, D):
    flow_layer, u = layer(made(D)), points(6, D)
    for method in ("forward", "inverse"):
        J = batch_jacobian(lambda v, m=method: getattr(flow_layer, m)(v)[0], u)
        assert torch.equal(J, J.tril())
        assert (J.diagonal(dim1=1, dim2=2) > 0).all()
        if D == 1:
            assert torch.equal(J[0], J[1])


@pytest.mark.parametrize(
    ("degrees", "passes"), [(None, 6), (range(6, 0, -1), 6), ([1, 1, 1, 2, 2, 2], 2), ([1] * 6, 1)]
)
def test_one_direction_takes_one_pass_and_the_other_one_a_degree(degrees, passes):
    for layer, cheap, dear in zip(LAYERS, ("inverse", "forward"), ("forward", "inverse"), strict=True):
        calls = []
        flow_layer = layer(made(6, degrees=degrees))
        flow_layer.conditioner.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        getattr(flow_layer, cheap)(points(3, 6))
        assert len(calls) == 1
        getattr(flow_layer, dear)(points(3, 6))
        assert len(calls) == 1 + passes


def test_formulas_variable_by_variable():
    net, u = made(4), points(6, 4)

    def at(v: Tensor) -> tuple[Tensor, Tensor]:
        return block(net, v).unbind(1)

    x, log_det = MaskedAutoregressive(net).forward(u)
    s, t = at(x)  # MAF looks at the data
    torch.testing.assert_close(x, u * s.exp() + t, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, s.sum(-1), rtol=1e-12, atol=1e-12)
    x, log_det = InverseAutoregressive(net).forward(u)
    s, t = at(u)  # IAF at the base
    torch.testing.assert_close(x, u * s.exp() + t, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, s.sum(-1), rtol=1e-12, atol=1e-12)


def test_a_linear_one_is_every_gaussian():
    """x = L u + m, L = (I − A)⁻¹ diag(e^s) with the strictly triangular weights A of a network without hidden layers."""
    layer = MaskedAutoregressive(MADE(3, size=2, hidden=()).double())
    L = torch.tensor([[1.5, 0, 0], [-0.4, 0.7, 0], [0.3, 1.1, 0.2]], dtype=torch.float64)
    mean = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    scale = L.diagonal()
    A = torch.eye(3, dtype=torch.float64) - scale[:, None] * torch.linalg.inv(L)
    last = layer.conditioner.last
    with torch.no_grad():
        last.weight.copy_(torch.cat([torch.zeros_like(A), A]))
        last.bias.copy_(torch.cat([scale.log(), mean - A @ mean]))
    flow, x = flowlib.Flow(flowlib.StandardNormal(3).double(), [layer]), points(7, 3)
    expected = MultivariateNormal(mean, scale_tril=L).log_prob(x)
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flow.forward(x)[0], x @ L.T + mean, rtol=1e-12, atol=1e-12)


def test_two_degrees_make_a_coupling():
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    net = made(5, degrees=(2 - mask).long())

    class Conditioner(nn.Module):  # a coupling moves its kept variables by nothing at all
        def forward(self, v: Tensor) -> Tensor:
            return net(v) * (1 - mask).repeat(2)

    coupling = flowlib.AffineCoupling(Conditioner(), mask).double()
    free = net.last
    with torch.no_grad():
        for k in (0, 2, 5, 7):  # s and t of the kept variables
            free.weight[k], free.bias[k] = 0, 0
    u = points(6, 5)
    for layer in (MaskedAutoregressive(net), InverseAutoregressive(net)):
        for method in ("forward", "inverse"):
            for got, expected in zip(getattr(layer, method)(u), getattr(coupling, method)(u), strict=True):
                torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("layer", LAYERS)
def test_what_is_not_known_yet_cannot_overflow(layer):
    """s_2 = ±300 (y_1 + 2) is 0 at the right y_1 = −2. A sweep that starts from y_1 = 0 meets exp(600), and then 0 · ∞."""
    sampling = layer is MaskedAutoregressive
    sign, way, back = (1.0, "forward", "inverse") if sampling else (-1.0, "inverse", "forward")
    flow_layer = layer(MADE(3, size=2, hidden=()).double())
    last = flow_layer.conditioner.last
    with torch.no_grad():
        last.weight.zero_()
        last.weight[1, 0], last.weight[2, 1] = 300 * sign, sign
        last.bias.copy_(torch.tensor([0.0, 600 * sign, 0, -2 * sign, 0, 0]))
    v = points(4, 3) * torch.tensor([0.0, 1.0, 1.0]).double()
    y, log_det = getattr(flow_layer, way)(v.requires_grad_())
    assert (y[:, 0] == -2).all()
    torch.testing.assert_close(y[:, 1], v[:, 1])
    torch.testing.assert_close(log_det, v[:, 1])
    torch.testing.assert_close(getattr(flow_layer, back)(y)[0], v)
    (y.sum() + log_det.sum()).backward()
    assert v.grad.isfinite().all()


class _Power(Elementwise):
    """sinh(exp(a) · asinh(u)): one parameter a variable."""

    size = 1

    def forward(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        a, w = h.squeeze(-2), u.asinh()
        return (a.exp() * w).sinh(), a + (a.exp() * w).cosh().log() - (1 + u**2).log() / 2

    def inverse(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        u, log_derivative = self.forward(x, -h)
        return u, log_derivative


@pytest.mark.parametrize("layer", LAYERS)
def test_any_elementwise_map_will_do(layer):
    flow_layer, u = layer(made(4, size=1), _Power()), points(5, 4) / 3
    x, log_det = flow_layer.forward(u)
    torch.testing.assert_close(flow_layer.inverse(x)[0], u, rtol=1e-9, atol=1e-9)
    J = batch_jacobian(lambda u: flow_layer.forward(u)[0], u)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(J)[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("build", [maf, iaf])
def test_flows_ready_to_train(build):
    data = torch.tensor([1.0, -2.0, 0.5]) + torch.randn(500, 3) * torch.tensor([1.0, 0.1, 3.0])
    flow = build(3, 2, hidden=(8,), data=data)
    x, _ = flow.forward(torch.zeros(1, 3))  # starts as the identity on standardized variables
    torch.testing.assert_close(x[0], data.mean(0))
    degrees = [layer.conditioner.degrees.tolist() for layer in flow.transformations[:2]]
    assert degrees == [[1, 2, 3], [3, 2, 1]]
    torch.manual_seed(0)
    degrees = [layer.conditioner.degrees.tolist() for layer in build(5, 3, permute=True).transformations]
    assert degrees[0] == [1, 2, 3, 4, 5]
    assert all(sorted(d) == [1, 2, 3, 4, 5] for d in degrees)
    assert degrees[1] != degrees[2]
    conditional = build(2, 2, hidden=(8,), context_size=3, zero_last=False)
    assert conditional.log_prob(torch.randn(4, 2), torch.randn(4, 3)).shape == (4,)
    assert build(1, 2).log_prob(torch.randn(4, 1)).shape == (4,)
    data = torch.cat(
        [data[:, :1], data[:, :1] ** 2 + data[:, 1:2], data[:, 2:]], -1
    )  # there is something to learn
    flow = build(3, 2, hidden=(8,), data=data)
    history = flowlib.fit(flow, data, steps=20, lr=2e-2, batch_size=500, progress=False)
    assert history.train_loss[-1] < history.train_loss[0] - 0.1


def every_x(D: int) -> Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=D)), dtype=torch.float64)


@pytest.mark.parametrize("degrees", [None, [2, 3, 1, 4]])
def test_binary_model_is_normalized_and_sampled_as_stated(degrees):
    model, x = AutoregressiveBernoulli(made(4, size=1, degrees=degrees)), every_x(4)
    log_p = model.log_prob(x)
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-12)
    torch.manual_seed(0)
    draws = model.sample((100, 200))
    assert draws.shape == (100, 200, 4)
    counts = torch.bincount(
        (draws.reshape(-1, 4) @ torch.tensor([8.0, 4, 2, 1]).double()).long(), minlength=16
    )
    p = log_p.exp()
    assert ((counts / 20_000 - p).abs() <= 5 * (p * (1 - p) / 20_000).sqrt() + 1e-9).all()
    assert model.sample().shape == (4,)


def _gaussian(mean: float, scale: float) -> flowlib.Flow:
    base = flowlib.StandardNormal(1).double()
    return flowlib.Flow(base, [flowlib.Affine(*torch.tensor([[mean], [scale]], dtype=torch.float64))])


def test_distillation_loss_estimates_the_divergence():
    torch.manual_seed(0)
    m, s, a, c = 0.3, 0.5, -0.2, 1.4
    expected = math.log(c / s) + (s**2 + (m - a) ** 2) / (2 * c**2) - 0.5
    got = distillation_loss(_gaussian(m, s), _gaussian(a, c), 100_000).item()
    assert got == pytest.approx(expected, abs=0.01)


def test_distillation_teaches_the_student_without_its_inverse(monkeypatch):
    teacher = flowlib.Flow(
        flowlib.StandardNormal(2), [flowlib.Affine(torch.ones(2), torch.tensor([2.0, 0.3]))]
    )
    student = iaf(2, 2, hidden=(8,))
    for layer in student.transformations:
        monkeypatch.setattr(layer, "inverse", None)  # a call would be an error
    flowlib.fit(
        student,
        torch.zeros(10, 2),
        loss=lambda _: distillation_loss(student, teacher, 128),
        steps=80,
        lr=5e-2,
        progress=False,
    )
    with torch.no_grad():
        assert distillation_loss(student, teacher, 2000) < 0.1  # about 10 at the start


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MaskedLinear(torch.ones(3)), ValueError, r"matrix \(outputs, inputs\)"),
        (lambda: MaskedLinear(torch.full((2, 2), 0.5)), ValueError, "zeros and ones"),
        (lambda: MADE(0, 2), ValueError, "D must be a positive integer, got 0"),
        (lambda: MADE(2, 0), ValueError, "size must be a positive integer, got 0"),
        (lambda: MADE(2, 2, (8, 0)), ValueError, "each of hidden must be a positive integer"),
        (lambda: MADE(3, 2, degrees=[1, 2]), ValueError, r"expected 3 integers of at least 1, got \[1, 2\]"),
        (lambda: MADE(2, 2, degrees=[0, 1]), ValueError, "at least 1"),
        (lambda: MADE(2, 2, degrees=[0.5, 1.5]), ValueError, "integers"),
        (
            lambda: MADE(3, 2)(torch.zeros(4, 2)),
            ValueError,
            r"MADE: expected .* \(\*batch, 3\), got \(4, 2\)",
        ),
        (lambda: MaskedAutoregressive(nn.Linear(2, 4)), TypeError, "expected a MADE, got Linear"),
        (lambda: InverseAutoregressive(MADE(2, 3)), ValueError, "takes 2 parameters a variable.*size 3"),
        (lambda: MaskedAutoregressive(MADE(2, 2), _Power()), ValueError, "_Power takes 1 parameters"),
        (lambda: maf(0, 1), ValueError, "D must be a positive integer"),
        (lambda: iaf(2, 0), ValueError, "num_layers must be a positive integer"),
        (lambda: AutoregressiveBernoulli(MADE(2, 2)), ValueError, "size 1 without context, got size 2"),
        (lambda: distillation_loss(_gaussian(0, 1), _gaussian(0, 1), 0), ValueError, "num_samples must be"),
        (lambda: AffineElementwise(-1.0), ValueError, "positive or None"),
    ],
)
def test_bad_arguments_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
