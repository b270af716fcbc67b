"""The same flows by every library, as the benchmarks build them: right maps, right densities, comparable sizes."""

import copy
import warnings

import pytest
import torch
from torch import Tensor

from benchmarks.peers import FAMILIES, LIBRARIES, MISSING, NOTES, Missing, PeerFlow, Shape, build
from flowlib import StandardNormal

SHAPES = {
    "affine coupling": Shape("affine coupling", 5, 4, (16, 16)),
    "affine coupling, permuted": Shape("affine coupling", 6, 3, (16, 16), permute=True),
    "MAF": Shape("MAF", 5, 4, (24, 24)),
    "spline coupling": Shape("spline coupling", 6, 4, (16, 16), bins=5),
    "Glow": Shape("Glow", 16, 2, (8, 8)),
    "residual": Shape("residual", 2, 3, (16,)),
    "continuous": Shape("continuous", 2, 1, (16, 16)),
}
CASES = [
    pytest.param(library, name, id=f"{library}-{name}")
    for name, shape in SHAPES.items()
    for library in LIBRARIES
    if (library, shape.family) not in MISSING
]

# How far to_data(to_base(x)) may be from x in float64, and a log-determinant from autodiff's; 1e-9 for exact layers.
ROUND_TRIP = {
    ("normflows", "residual"): 1e-2,  # its fixed point stops early
    ("FrEIA", "Glow"): 1e-5,  # a rotation that was rounded to float32
    ("flowlib", "continuous"): 1e-3,
    ("zuko", "continuous"): 1e-3,
}
LOG_DET = {
    ("normflows", family): 1e-5
    for family in FAMILIES  # summed in float32 by inverse_and_log_det
} | {("FrEIA", "Glow"): 1e-4, ("flowlib", "continuous"): 1e-2, ("zuko", "continuous"): 1e-2}


def made(library: str, shape: Shape) -> PeerFlow:
    """A flow whose weights, its last ones too, are random."""
    torch.manual_seed(0)
    pytest.importorskip(library)
    return build(library, shape)


def in_float64(flow: PeerFlow, x: Tensor) -> PeerFlow:
    """At evaluation, initialized in training mode by a batch, as after training."""
    with torch.no_grad():
        flow.log_prob(x)
    return copy.deepcopy(flow).eval().double()


@pytest.fixture(autouse=True)
def float32_by_default_and_quiet():
    """The benchmarks run in float32; a library's warnings about torch's future are not ours to mend."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_a_flow_is_a_density_and_its_map(library: str, name: str) -> None:
    shape = SHAPES[name]
    x = torch.randn(40, shape.D)
    flow = in_float64(made(library, shape), x)
    x = x.double()

    u, log_det = flow.to_base(x)
    assert u.shape == x.shape
    assert log_det.shape == (40,)
    tolerance = LOG_DET.get((library, shape.family), 1e-9)
    base = StandardNormal(shape.D)().log_prob(u)
    torch.testing.assert_close(
        flow.log_prob(x), base + log_det.double(), rtol=0, atol=max(tolerance, 1e-9) * 10
    )

    J = torch.autograd.functional.jacobian(lambda v: flow.to_base(v)[0].sum(0), x).movedim(1, 0)
    exact = torch.linalg.slogdet(J)[1]
    torch.testing.assert_close(log_det.double(), exact, rtol=0, atol=tolerance)

    back, minus_log_det = flow.to_data(u.detach())
    torch.testing.assert_close(back, x, rtol=0, atol=ROUND_TRIP.get((library, shape.family), 1e-9))
    torch.testing.assert_close(minus_log_det.double(), -exact, rtol=0, atol=10 * tolerance)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_samples_have_the_density(library: str, name: str) -> None:
    """Samples in float32, and a gradient of the likelihood for every weight that the density uses."""
    shape = SHAPES[name]
    flow = made(library, shape)
    with (
        torch.no_grad()
    ):  # ours of the continuous family starts as the identity: no gradient reaches its first layers
        for p in flow.parameters():
            if p.is_floating_point():
                p.add_(0.01 * torch.randn_like(p))
    flow.log_prob(torch.randn(64, shape.D)).mean().backward()
    with_gradient = sum(p.numel() for p in flow.parameters() if p.grad is not None and bool(p.grad.any()))
    assert with_gradient > 0.5 * sum(p.numel() for p in flow.parameters() if p.requires_grad)
    flow.eval()
    x = flow.sample(200)
    assert x.shape == (200, shape.D)
    assert x.dtype == torch.float32
    assert not x.requires_grad
    # E[−log p(x)] of own samples is the entropy: that of the base, moved by the mean log-determinant.
    with torch.no_grad():
        u, log_det = flow.to_base(x)
    assert (u.mean(0).abs() < 0.4).all()
    assert ((u.std(0) - 1).abs() < 0.3).all()
    assert log_det.isfinite().all()


@pytest.mark.parametrize(("library", "name"), CASES)
def test_an_identity_start_is_the_identity(library: str, name: str) -> None:
    shape = SHAPES[name]
    if shape.family == "Glow" or shape.permute:
        pytest.skip("starts as a rotation or a permutation")
    if (library, shape.family) in {("nflows", "affine coupling"), ("normflows", "MAF")}:
        assert "no identity" in NOTES[library, shape.family]
        pytest.skip("sigmoid scales: see NOTES")
    if shape.family == "residual":
        pytest.skip("a contraction with weights 0 would have no direction to be normalized in")
    started = Shape(**(vars(shape) | {"identity_start": True}))
    x = torch.randn(30, shape.D)
    u, log_det = made(library, started).eval().to_base(x)
    torch.testing.assert_close(u, x, rtol=0, atol=2e-6)
    torch.testing.assert_close(log_det, torch.zeros(30), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("library", "name"), CASES)
def test_dropout_is_off_at_evaluation(library: str, name: str) -> None:
    shape = SHAPES[name]
    if shape.family in ("residual", "continuous") or (library, shape.family) == ("normflows", "Glow"):
        pytest.skip("no dropout there")
    x = torch.randn(30, shape.D)
    flow = made(library, Shape(**(vars(shape) | {"dropout": 0.5})))
    with torch.no_grad():
        assert not torch.equal(flow.log_prob(x), flow.log_prob(x))
        flow.eval()
        assert torch.equal(flow.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize(("library", "name"), CASES)
def test_sizes_are_comparable(library: str, name: str) -> None:
    """As many weights as ours within 5 %, or a note says why not."""
    shape = SHAPES[name]
    ours, theirs = (
        sum(p.numel() for p in made(which, shape).parameters() if p.requires_grad)
        for which in ("flowlib", library)
    )
    if library != "flowlib" and abs(theirs / ours - 1) > 0.05:
        assert "weights" in NOTES[library, shape.family], f"{theirs} weights, ours has {ours}"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_flow_ends_with_the_data_s_mean_and_deviation(library: str) -> None:
    pytest.importorskip(library)
    data = 5 + 3 * torch.randn(1000, 4)
    shape = Shape("affine coupling", 4, 2, (8,), identity_start=True, standardize=True, rescale=True)
    flow = build(library, shape, data).eval()
    u, log_det = flow.to_base(data)
    expected = 0.88 if library == "nflows" else 1.0
    assert ((u.std(0) - expected).abs() < 0.1).all()
    torch.testing.assert_close(flow.to_data(u)[0], data, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        flow.log_prob(data), StandardNormal(4)().log_prob(u) + log_det, rtol=1e-5, atol=1e-4
    )


def test_nflows_couplings_cannot_expand_without_the_scale() -> None:
    """What NOTES says: log p(x) ≤ −(D/2) log 2π + 0.001 D layers."""
    pytest.importorskip("nflows")
    flow = build("nflows", Shape("affine coupling", 2, 8, (16,)))
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(3 * torch.randn_like(p))
        densest = flow.log_prob(3 * torch.randn(2000, 2)).max().item()
    assert densest < -1.8379 + 0.016


@pytest.mark.parametrize("library", [name for name in LIBRARIES if name not in ("normflows", "nflows")])
def test_a_bound_holds(library: str) -> None:
    pytest.importorskip(library)
    flow = build(library, Shape("affine coupling", 4, 2, (8,), log_scale_bound=0.5))
    with torch.no_grad():
        for p in flow.parameters():
            if p.is_floating_point():
                p.mul_(50)
        log_det = flow.to_base(20 * torch.randn(200, 4))[1]
    assert log_det.abs().max() <= 2 * 2 * 0.5 + 1e-5
    assert log_det.abs().max() > 1


def test_what_is_missing_says_why() -> None:
    for (library, family), reason in MISSING.items():
        assert "\n" not in reason
        shape = next(shape for shape in SHAPES.values() if shape.family == family)
        with pytest.raises(Missing, match=library):
            build(library, shape)
    for pair in NOTES:
        assert pair not in MISSING
        assert pair[0] in LIBRARIES
        assert pair[1] in FAMILIES


def test_a_library_that_is_not_installed_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "zuko", None)
    with pytest.raises(Missing, match="not installed"):
        build("zuko", SHAPES["MAF"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": "normal"}, "family"),
        ({"D": 1}, "D ≥ 2"),
        ({"family": "Glow"}, "side"),
        ({"family": "continuous"}, "layers = 1"),
    ],
)
def test_bad_shapes(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shape(**({"family": "MAF", "D": 5, "layers": 2, "hidden": (8,)} | change))


def test_bad_arguments() -> None:
    shape = Shape("MAF", 5, 2, (8,), standardize=True)
    with pytest.raises(ValueError, match="library"):
        build("pyro", shape)
    with pytest.raises(ValueError, match="data"):
        build("flowlib", shape)
