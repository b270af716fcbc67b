"""Every layer, every property: parametrized over the table in `layer_table.py`."""

import copy
import re
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import flowlib
from flowlib import Transform, alternating_masks, batch_jacobian
from flowlib.verify import check_layer, mass_2d, on_arrays
from tests.flowlib.layer_table import LAYERS, OnVectors, Row, build, cases, on_vectors

METHODS = ("forward", "inverse")


def rows(wanted: Callable[[Row], bool] = lambda row: True) -> pytest.MarkDecorator:
    """Runs a test on each layer and size that the property is asked of."""
    return pytest.mark.parametrize(
        ("name", "size"), [(name, size) for name, size in cases() if wanted(LAYERS[name])]
    )


def ways(wanted: Callable[[Row], bool] = lambda row: True) -> pytest.MarkDecorator:
    """The same in both directions, as far as the layer has them."""
    found = [
        (name, size, method)
        for name, size in cases()
        for method in METHODS
        if wanted(LAYERS[name]) and (method == "forward" or LAYERS[name].inverse != "none")
    ]
    return pytest.mark.parametrize(("name", "size", "method"), found)


each_case, each_way = rows(), ways()


def points(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def setting(name: str, size: int, *batch: int) -> tuple[OnVectors, Tensor]:
    """The layer of a row as a map between vectors, and random vectors `(*batch, D)` for it."""
    layer = on_vectors(name, size)
    return layer, points(*batch, layer.D)


def test_every_layer_of_flowlib_is_in_the_table():
    exported = (getattr(flowlib, name) for name in flowlib.__all__)
    layers = {c.__name__ for c in exported if isinstance(c, type) and issubclass(c, Transform)} - {
        "Transform"
    }
    in_table = {type(build(name, row.sizes[0])).__name__ for name, row in LAYERS.items()}
    assert layers <= in_table, f"not in tests/flowlib/layer_table.py: {sorted(layers - in_table)}"


def test_every_layer_is_tested_with_even_and_odd_sizes_above_two():
    for name, row in LAYERS.items():
        assert {size % 2 for size in row.sizes} == {0, 1}, name
        assert max(row.sizes) > 2, name


@ways(lambda row: row.inverse != "none")
def test_round_trip(name, size, method):
    layer, start = setting(name, size, 6)
    opposite = METHODS[1 - METHODS.index(method)]
    back, _ = getattr(layer, opposite)(getattr(layer, method)(start)[0])
    torch.testing.assert_close(back, start, rtol=LAYERS[name].tolerance, atol=LAYERS[name].tolerance)


@ways(lambda row: row.log_det == "exact")
def test_log_det_is_that_of_the_autodiff_jacobian(name, size, method):
    layer, v = setting(name, size, 6)
    transform = getattr(layer, method)
    expected = torch.linalg.slogdet(batch_jacobian(lambda v: transform(v)[0], v))[1]
    tolerance = LAYERS[name].tolerance
    torch.testing.assert_close(transform(v)[1], expected, rtol=tolerance, atol=tolerance)


@each_way
def test_float32_agrees_with_float64(name, size, method):
    exact, v = setting(name, size, 6)
    single = copy.deepcopy(exact).float()
    pairs = list(zip(getattr(single, method)(v.float()), getattr(exact, method)(v), strict=True))
    for k, (got, expected) in enumerate(pairs):
        assert got.dtype == torch.float32
        assert expected.dtype == torch.float64
        if k == 0 or LAYERS[name].log_det == "exact":  # an estimate draws noise of its own
            torch.testing.assert_close(got.double(), expected, rtol=1e-4, atol=1e-4)


@each_way
def test_batch_axes(name, size, method):
    layer, v = setting(name, size, 2, 3)
    transform = getattr(layer, method)
    y, log_det = transform(v)
    assert y.shape == v.shape
    assert log_det.shape == (2, 3)
    tolerance = {"rtol": LAYERS[name].tolerance, "atol": LAYERS[name].tolerance}
    for i in range(2):
        for j in range(3):
            alone, log_det_alone = transform(v[i, j])
            assert log_det_alone.shape == ()
            torch.testing.assert_close(alone, y[i, j], **tolerance)
            if LAYERS[name].log_det == "exact":
                torch.testing.assert_close(log_det_alone, log_det[i, j], **tolerance)


@each_way
def test_no_examples(name, size, method):
    layer, v = setting(name, size, 0)
    y, log_det = getattr(layer, method)(v)
    assert y.shape == v.shape
    assert log_det.shape == (0,)


@rows(lambda row: row.log_det == "exact")
def test_state_dict_restores_the_map(name, size):
    layer, u = setting(name, size, 6)
    other = on_vectors(name, size, seed=5)
    other.load_state_dict(layer.state_dict())
    for got, expected in zip(other.forward(u), layer.forward(u), strict=True):
        assert torch.equal(got, expected)


@ways(lambda row: row.vmap)
def test_vmap(name, size, method):
    layer, v = setting(name, size, 6)
    transform = getattr(layer, method)
    for got, expected in zip(torch.func.vmap(transform)(v), transform(v), strict=True):
        torch.testing.assert_close(got, expected)


@ways(lambda row: row.vmap)
def test_jacfwd_agrees_with_backward_passes(name, size, method):
    layer, v = setting(name, size, 4)
    transform = getattr(layer, method)
    forward_mode = torch.func.vmap(torch.func.jacfwd(lambda row: transform(row)[0]))(v)
    torch.testing.assert_close(forward_mode, batch_jacobian(lambda v: transform(v)[0], v))


@pytest.mark.parametrize(("name", "size"), [case for case in cases() if list(build(*case).parameters())])
def test_gradients_reach_every_parameter(name, size):
    layer, v = setting(name, size, 6)
    own = {k: p for k, p in layer.named_parameters() if ".base." not in k}
    for method in METHODS if LAYERS[name].inverse != "none" else METHODS[:1]:
        layer.zero_grad()
        y, log_det = getattr(layer, method)(v)
        ((y**2).sum() + log_det.sum()).backward()
        for key, parameter in own.items():
            assert parameter.grad is not None, f"{method}: no gradient for {key}"
            assert parameter.grad.isfinite().all(), f"{method}: {key}"
            assert parameter.grad.abs().max() > 0, f"{method}: gradient of {key} is 0"


@each_way
def test_argument_is_left_as_it_was(name, size, method):
    layer, v = setting(name, size, 6)
    before = v.clone()
    getattr(layer, method)(v)
    assert torch.equal(v, before)


def of_two_variables() -> list[tuple[str, int]]:
    return [
        (name, size)
        for name, size in cases()
        if LAYERS[name].inverse != "none"
        and LAYERS[name].log_det == "exact"
        and on_vectors(name, size).D == 2
    ]


@pytest.mark.parametrize(("name", "size"), of_two_variables())
def test_pushed_forward_normal_has_mass_one(name, size):
    layer = on_vectors(name, size, noise=0.15)  # a mild map: the grid must resolve the density it makes

    def log_prob(x: Tensor) -> Tensor:
        u, log_det = layer.inverse(x)
        return flowlib.StandardNormal(2).double()().log_prob(u) + log_det

    # The image of the base can lie anywhere: the grid is laid around many draws.
    with torch.no_grad():
        x = layer.forward(points(100_000, 2))[0]
    low, high = x.min(0).values, x.max(0).values
    margin = 0.1 * (high - low)
    low, high = low - margin, high + margin
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    n = 800 if LAYERS[name].inverse == "exact" else 250  # an iteration costs many evaluations a point
    assert mass_2d(on_arrays(log_prob), extent, n=n) == pytest.approx(1, abs=1e-3)


@rows(lambda row: row.log_det == "exact" and row.inverse != "none")
def test_check_layer_finds_nothing_to_complain_about(name, size):
    layer = on_vectors(name, size)
    batch = 2 if LAYERS[name].inverse == "iterative" else 16  # an iteration costs many evaluations a point
    check_layer(layer, layer.D, batch=batch, tolerance=LAYERS[name].tolerance).raise_if_failed()


@each_way
def test_wrong_shape_and_dtype_are_named(name, size, method):
    layer = build(name, size)
    transform = getattr(layer, method)
    shape = layer.base_shape if method == "forward" else layer.event_shape
    wrong = (*shape[:-1], shape[-1] + 1)
    words = re.escape(f"(*batch, {', '.join(map(str, shape))}), got {(4, *wrong)}")
    with pytest.raises(ValueError, match=words):
        transform(torch.zeros(4, *wrong, dtype=torch.float64))
    with pytest.raises(TypeError, match="floating-point"):
        transform(torch.zeros(4, *shape, dtype=torch.long))


def conditional() -> list[tuple[str, int]]:
    return [(name, size) for name, size in cases() if LAYERS[name].context]


@pytest.mark.parametrize(("name", "size"), conditional())
def test_context_is_checked_used_and_shared_by_samples(name, size):
    layer, n = build(name, size), LAYERS[name].context
    h, u = points(5, n), points(3, 5, *layer.base_shape)
    x, log_det = layer.forward(u, h)
    for k in range(5):
        alone, log_det_alone = layer.forward(u[:, k], h[k])
        torch.testing.assert_close(alone, x[:, k])
        torch.testing.assert_close(log_det_alone, log_det[:, k])
    assert not torch.allclose(x, layer.forward(u, h + 1)[0])
    with pytest.raises(ValueError, match=rf"expected a context of shape \(\*batch, {n}\).*got none"):
        layer.forward(u)
    with pytest.raises(ValueError, match=rf"\(\*batch, {n}\) for a batch \(3, 5\), got \(4, {n}\)"):
        layer.inverse(x, points(4, n))


def test_a_context_for_a_layer_without_is_an_error():
    with pytest.raises(ValueError, match=r"Rescaling.forward: takes no context, got one of shape \(3, 1\)"):
        flowlib.Rescaling(2).forward(torch.zeros(3, 2), torch.zeros(3, 1))


# --- What only some layers promise ---


def masked_names() -> list[str]:
    return [
        name
        for name, row in LAYERS.items()
        if not row.context and "mask" in dict(row.make(row.sizes[-1]).named_buffers())
    ]


@pytest.mark.parametrize("name", masked_names())
@pytest.mark.parametrize("D", [2, 5])
def test_masked_couplings_keep_and_hide_the_right_variables(name, D):
    layer, u = build(name, D), points(3, D)
    kept = alternating_masks(D, 1)[0].bool()
    x, _ = layer.forward(u)
    assert torch.equal(x[:, kept], u[:, kept])
    J = batch_jacobian(lambda v: layer.forward(v)[0], u)
    # Rows of moved variables, columns of moved variables: diagonal, exactly.
    block = J[:, ~kept][:, :, ~kept]
    assert torch.equal(block, torch.diag_embed(torch.diagonal(block, dim1=-2, dim2=-1)))
    assert torch.equal(J[:, kept][:, :, kept], torch.eye(int(kept.sum()), dtype=J.dtype).expand(3, -1, -1))


def test_a_mask_of_ones_moves_nothing_and_one_of_zeros_everything():
    net, u = flowlib.mlp([3, 8, 6]), torch.randn(5, 3)
    x, log_det = flowlib.AffineCoupling(net, torch.ones(3)).forward(u)
    assert torch.equal(x, u)
    assert torch.equal(log_det, torch.zeros(5))
    s, t = net(torch.zeros(3)).chunk(2)
    torch.testing.assert_close(flowlib.AffineCoupling(net, torch.zeros(3)).forward(u)[0], u * s.exp() + t)


def test_masked_coupling_matches_its_formula():
    layer, u = build("MaskedCouplingLayer", 4), points(6, 4)
    b, nets = layer.mask, layer.conditioner
    s, t = nets.scale_net(b * u), nets.translation_net(b * u)
    x, log_det = layer.forward(u)
    torch.testing.assert_close(x, b * u + (1 - b) * (u * torch.exp((1 - b) * s) + t), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_det, ((1 - b) * s).sum(-1), rtol=1e-12, atol=1e-12)


def test_huge_scale_on_a_kept_variable_does_no_harm():
    class Huge(torch.nn.Module):
        def forward(self, kept: Tensor) -> Tensor:
            return 2000 * torch.tensor([1.0, 0.0]).expand_as(kept)  # exp(2000) overflows

    mask = torch.tensor([1.0, 0.0])
    layer = flowlib.MaskedCouplingLayer(Huge(), torch.nn.Identity(), mask)
    x, log_det = layer.forward(torch.ones(3, 2))
    assert x.isfinite().all()
    assert torch.equal(log_det, torch.zeros(3))


@pytest.mark.parametrize("net", ["scale_net", "translation_net"])
def test_two_net_layer_calls_each_net_once(net):
    layer, calls = build("MaskedCouplingLayer", 3), []
    getattr(layer.conditioner, net).register_forward_hook(lambda *_: calls.append(1))
    layer.forward(points(2, 3))
    assert len(calls) == 1


def test_log_scale_stays_within_its_bound():
    layer = flowlib.AffineCoupling(flowlib.mlp([2, 4]), torch.tensor([1.0, 0.0]), log_scale_bound=0.7)
    _, log_det = layer.forward(1000 * torch.randn(100, 2))
    assert log_det.abs().max() <= 0.7


def test_additive_coupling_and_permutation_preserve_volume_exactly():
    for name in ("AdditiveCouplingLayer", "Permutation"):
        for method in METHODS:
            log_det = getattr(build(name, 3), method)(points(5, 3))[1]
            assert torch.equal(log_det, torch.zeros(5, dtype=torch.float64))


def test_permutation_by_a_three_cycle():
    x, _ = flowlib.Permutation([2, 0, 1]).forward(torch.tensor([10.0, 11.0, 12.0]))
    assert x.tolist() == [12, 10, 11]


@pytest.mark.parametrize(("D", "K"), [(2, 1), (3, 4), (8, 5)])
def test_alternating_masks(D, K):
    masks = alternating_masks(D, K)
    assert masks.shape == (K, D)
    assert masks.is_floating_point()
    for mask in masks:
        assert set(mask.tolist()) == {0.0, 1.0}
    for before, after in pairwise(masks):
        assert torch.equal(after, 1 - before)


class Narrow(torch.nn.Module):
    """Gives one output where D are wanted: broadcasting would hide it."""

    def forward(self, kept: Tensor) -> Tensor:
        return kept[..., :1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: alternating_masks(1, 2), "at least 2, got 1"),
        (lambda: alternating_masks(2, 0), "K must be a positive integer, got 0"),
        (lambda: flowlib.Permutation([0, 0, 1]), r"each of 0, …, D − 1 once, got \[0, 0, 1\]"),
        (lambda: flowlib.Permutation([1, 2, 3]), "each of 0"),
        (lambda: flowlib.Permutation([0.0, 1.0]), "each of 0"),
        (lambda: flowlib.Rescaling(0), "D must be a positive integer, got 0"),
        (lambda: flowlib.AffineCoupling(Narrow(), torch.tensor([0.5, 1])), "zeros and ones"),
        (lambda: flowlib.AffineCoupling(Narrow(), torch.ones(2, 2)), r"shape \(D,\), got \(2, 2\)"),
        (lambda: flowlib.AffineCoupling(Narrow(), torch.ones(2), log_scale_bound=0), "positive or None"),
        (lambda: flowlib.SplitCoupling(Narrow(), 1), "at least 2, got 1"),
        (
            lambda: flowlib.AffineCoupling(Narrow(), torch.tensor([1.0, 0])).forward(torch.ones(3, 2)),
            r"conditioner: expected an output of shape \(3, 4\), got \(3, 1\)",
        ),
        (
            lambda: flowlib.MaskedCouplingLayer(
                torch.nn.Identity(), Narrow(), torch.tensor([1.0, 0])
            ).inverse(torch.ones(3, 2)),
            r"translation_net: expected an output of shape \(3, 2\), got \(3, 1\)",
        ),
        (
            lambda: flowlib.AdditiveCouplingLayer(Narrow(), torch.tensor([1.0, 0])).forward(torch.ones(3, 2)),
            r"translation_net: expected an output of shape \(3, 2\)",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
