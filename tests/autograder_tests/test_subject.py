"""The verb `call`: what reaches the student's code, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
import torch
from torch import nn

from autograder_tests.builders import BUILDERS, builder
from autograder_tests.compare import Mismatch
from autograder_tests.plain import Expression, Make, Opaque
from autograder_tests.subject import Local, StudentError


class Scale(nn.Module):
    def __init__(self, factors):
        super().__init__()
        self.factors = nn.Parameter(torch.as_tensor(factors, dtype=torch.float64))

    def forward(self, u):
        return u * self.factors, self.factors.log().sum()

    def noisy(self, n):
        return torch.randn(n)

    @property
    def size(self):
        return len(self.factors)


def raising():
    return 1 / 0


def unanswered(x):
    raise NotImplementedError("not answered yet")


NAMESPACE = {
    "Scale": Scale,
    "double": lambda x: 2 * x,
    "names": lambda: {"a": [1, 2], "b": sympy.Symbol("x") ** 2},
    "array": lambda: np.array([[sympy.Symbol("y"), 2]]),
    "matrix": lambda: sympy.Matrix([[1, sympy.Symbol("y")]]),
    "distribution": lambda: torch.distributions.Normal(0.0, 1.0),
    "raising": raising,
    "unanswered": unanswered,
    "unsupported": lambda: torch.distributions.Distribution(validate_args=False).sample(),
    "apply": lambda f, x: f(x)[0] + 1,
    "half": lambda x: x.half(),
}


@pytest.fixture(params=[False, True], ids=["in memory", "through bytes"])
def subject(request) -> Local:
    return Local(NAMESPACE, through_bytes=request.param)


def test_functions_and_methods(subject: Local) -> None:
    assert np.array_equal(subject.call("student:double", "", np.arange(3.0)), [0, 2, 4])
    x, log_det = subject.pair(Make("student:Scale", ([1.0, 2.0],)), "forward", np.ones((1, 2)))
    assert np.array_equal(x, [[1, 2]])
    assert log_det == pytest.approx(np.log(2))
    assert subject.call(Make("student:Scale", ([1.0, 2.0],)), "size") == 2


def test_arguments_are_copies(subject: Local) -> None:
    points = np.ones(3)
    subject.call("student:double", "", points)
    assert np.array_equal(points, np.ones(3))


def test_sympy_crosses_as_text(subject: Local) -> None:
    assert subject.call("student:names") == {"a": [1, 2], "b": Expression("x**2")}
    assert subject.call("student:array") == [[Expression("y"), 2]]
    assert subject.call("student:matrix") == [[Expression("1"), Expression("y")]]


def test_other_objects_cross_as_a_name(subject: Local) -> None:
    assert subject.call("student:distribution") == Opaque("Normal")
    assert subject.call("student:distribution", "().mean") == 0.0


def test_half_precision_is_widened(subject: Local) -> None:
    assert subject.call("student:half", "", np.ones(2)).dtype == np.float32


def test_gradients(subject: Local) -> None:
    layer = Make("student:Scale", ([1.0, 2.0],))
    (x, _), grads = subject.call(layer, "forward", np.array([[3.0, 4.0]]), grad=("self", 0))
    assert np.array_equal(x, [[3, 8]])
    assert np.allclose(grads[0], [3 + 1, 4 + 0.5])
    assert np.allclose(grads[1], [1, 2])


def test_gradient_is_zero_where_nothing_is_connected(subject: Local) -> None:
    _, gradient = subject.call(Make("student:Scale", ([1.0, 2.0],)), "noisy", 3, grad="self")
    assert np.array_equal(gradient, np.zeros(2))


def test_same_seed_same_draws_whatever_was_built(subject: Local) -> None:
    one = subject.call(Make("student:Scale", ([1.0],)), "noisy", 4, seed=3)
    other = subject.call(Make("student:Scale", (Make("tensor", ([1.0, 5.0],)),)), "noisy", 4, seed=3)
    assert np.array_equal(one, other)
    assert not np.array_equal(one, subject.call(Make("student:Scale", ([1.0],)), "noisy", 4, seed=4))


def test_errors_of_the_student(subject: Local) -> None:
    with pytest.raises(StudentError, match="ZeroDivisionError") as caught:
        subject.call("student:raising")
    assert "return 1 / 0" in caught.value.raised.where
    assert "ArithmeticError" in subject.raises("student:raising").types
    assert subject.raises("student:double", "", 1.0) is None
    with pytest.raises(NotImplementedError):
        subject.call("student:unanswered", "", 1.0)
    with pytest.raises(StudentError, match="run the cell that defines it"):
        subject.call("student:missing")


def test_a_library_that_cannot_is_an_error_and_no_open_exercise(subject: Local) -> None:
    with pytest.raises(StudentError, match="NotImplementedError"):
        subject.call("student:unsupported")


def test_wrong_kinds_of_results(subject: Local) -> None:
    with pytest.raises(Mismatch, match="must return a pair"):
        subject.pair("student:double", "", 1.0)
    with pytest.raises(Mismatch, match="must be a tensor"):
        subject.array("student:distribution")


def test_functions_of_the_checker_are_called_and_not_seen(subject: Local) -> None:
    secret = {"calls": 0}

    def outside(x: np.ndarray) -> list:
        secret["calls"] += 1
        return [x * 10, x]

    result = subject.call("student:apply", "", Make("outside", (0,)), np.ones(2), outside=[outside])
    assert np.array_equal(result, [11, 11])
    assert secret["calls"] == 1


def test_fresh_runs_the_source_again() -> None:
    def namespace() -> dict:
        seen: list = []
        return {"count": lambda: seen.append(0) or len(seen)}

    subject = Local(namespace)
    assert [subject.call("student:count"), subject.call("student:count")] == [1, 2]
    assert subject.fresh().call("student:count") == 1
    assert len(subject.record) == 3


def test_builders_are_deterministic_and_unique() -> None:
    subject = Local({})
    one, two = (subject.call(Make("mlp", (2, 3, 5)), "forward", np.ones((1, 2))) for _ in range(2))
    assert np.array_equal(one, two)
    assert one.dtype == np.float64
    with pytest.raises(ValueError, match="new builder's name"):

        @builder
        def mlp() -> None: ...

    assert "mlp" in BUILDERS


def test_a_builder_of_another_module_does_not_take_the_place_of_the_first() -> None:
    def symbol(name: str) -> None: ...

    symbol.__qualname__, symbol.__module__ = "symbol", "autograder_tests.checks.elsewhere"
    before = BUILDERS["symbol"]
    with pytest.raises(ValueError, match=r"autograder_tests\.builders has"):
        builder(symbol)
    assert BUILDERS["symbol"] is before
