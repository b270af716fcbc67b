"""Linear flows: their matrices, and that training cannot make them singular."""

import pytest
import torch

from flowlib import Flow, OrthogonalLinear, PLULinear, StandardNormal, batch_jacobian, fit


def points(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("make", [PLULinear, OrthogonalLinear, lambda D: OrthogonalLinear(D, 2)])
def test_the_layer_is_its_matrix(make):
    torch.manual_seed(0)
    layer = make(4).double()
    u = points(3, 4)
    J = batch_jacobian(lambda v: layer.forward(v)[0], u)
    torch.testing.assert_close(J, layer.matrix().expand(3, 4, 4))
    torch.testing.assert_close(torch.linalg.slogdet(layer.matrix())[1], layer.forward(u)[1][0])


@pytest.mark.parametrize("D", [1, 2, 5])
def test_plu_reproduces_any_invertible_matrix(D):
    W = points(D, D)
    torch.testing.assert_close(PLULinear.from_matrix(W).matrix(), W)
    with torch.no_grad():
        start = PLULinear(D).matrix()
    torch.testing.assert_close(start @ start.mT, torch.eye(D))  # a random rotation


def test_a_permutation_is_a_special_case():
    W = torch.eye(4)[[2, 0, 3, 1]]
    layer = PLULinear.from_matrix(W)
    u = torch.arange(4.0)
    assert layer.forward(u)[0].tolist() == [2, 0, 3, 1]
    assert layer.forward(u)[1] == 0


def test_householder_matrices_are_orthogonal_whatever_the_vectors():
    layer = OrthogonalLinear(3, 5).double()
    layer.vectors.data = 1e3 * points(5, 3)
    layer.vectors.data[2] = 0  # no reflection
    Q = layer.matrix()
    torch.testing.assert_close(Q @ Q.mT, torch.eye(3, dtype=Q.dtype))
    assert Q.det().item() == pytest.approx(1)  # four reflections
    _, log_det = layer.forward(points(2, 3))
    assert torch.equal(log_det, torch.zeros(2, dtype=torch.float64))


def test_training_finds_the_covariance_and_stays_invertible():
    torch.manual_seed(0)
    A = torch.tensor([[3.0, 0.0], [2.0, 0.5]])
    x = torch.randn(4000, 2) @ A.mT
    flow = Flow(StandardNormal(2), [PLULinear(2)])
    fit(flow, x, steps=150, batch_size=500, lr=1e-1, progress=False)
    W = flow.transformations[0].matrix().detach()
    torch.testing.assert_close(W @ W.mT, x.T @ x / len(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ("W", "message"),
    [
        (torch.ones(2, 2), "expected an invertible matrix, got a pivot of 0"),
        (torch.ones(2, 3), r"expected shape \(D, D\), got \(2, 3\)"),
        (torch.full((2, 2), torch.nan), "finite entries"),
    ],
)
def test_what_is_no_invertible_matrix_is_named(W, message):
    with pytest.raises(ValueError, match=message):
        PLULinear.from_matrix(W)
