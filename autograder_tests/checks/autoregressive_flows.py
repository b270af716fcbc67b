"""Checks of 07_autoregressive_flows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import nn

import flowlib
from autograder_tests import layers
from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same, show
from autograder_tests.plain import Make
from autograder_tests.subject import Local, StudentError, Subject

ASSIGNMENT = "07_autoregressive_flows"
DRAWS = 6


# ---- what the checks build ---------------------------------------------------------------------------------------


def _fill(module: nn.Module, seed: int, scale: float) -> nn.Module:
    """Every parameter drawn anew: the k-th matrix and the k-th vector are the same whatever else the module holds."""
    counts: dict[int, int] = {}
    with torch.no_grad():
        for p in module.double().parameters():
            k = counts[p.ndim] = counts.get(p.ndim, 0) + 1
            generator = torch.Generator().manual_seed(seed + 1009 * p.ndim + 31 * k)
            p.copy_(scale * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return module


@builder
def filled(module: nn.Module, seed: int, scale: float = 0.7) -> nn.Module:
    """`module` in float64 with all parameters N(0, scale²): as training may leave it, and however it was initialized."""
    return _fill(module, seed, scale)


class _SmoothNet(flowlib.MADE):
    """Takes either precision: a student's code may make its zeros in float32."""

    def forward(self, v: torch.Tensor, variables: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(v.to(self.last.weight.dtype), variables).to(v.dtype)


@builder
def autoregressive_net(D: int, size: int, seed: int, scale: float = 0.4) -> nn.Module:
    """A smooth net `(*batch, D)` → `(*batch, size · D)`, float64, whose outputs i see the inputs before i alone."""
    return _fill(_SmoothNet(D, size, hidden=(16,), activation=nn.Tanh), seed, scale)


@builder
def limited_net(net: nn.Module, calls: int) -> nn.Module:
    """`net`, which answers so many times and then refuses."""

    class Limited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.left = net, calls

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            self.left -= 1
            if self.left < 0:
                raise RuntimeError(
                    f"the conditioner was called more than {calls} times for {v.shape[-1]} variables: "
                    "this is the direction that needs no waiting"
                )
            return self.net(v)

    return Limited()


@builder
def gaussian_flow(mean: np.ndarray, log_scale: np.ndarray, one_way: bool = False) -> nn.Module:
    """The flow x = mean + exp(log_scale) ⊙ u, u ~ N(0, I), with learnable mean and log_scale.

    With `one_way` its inverse raises: a stand-in for a student whose inverse is sequential.
    """

    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = nn.Parameter(torch.as_tensor(mean, dtype=torch.float64))
            self.log_scale = nn.Parameter(torch.as_tensor(log_scale, dtype=torch.float64))

        def forward(self, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.mean + self.log_scale.exp() * u, self.log_scale.sum().expand(u.shape[:-1])

        def inverse(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            if one_way:
                raise RuntimeError("the student's inverse was called: in an IAF that is the sequential way")
            return (x - self.mean) * (-self.log_scale).exp(), -self.log_scale.sum().expand(x.shape[:-1])

    return flowlib.Flow(flowlib.StandardNormal(len(mean)).double(), [Shift()])


def _net(case: Case, D: int, size: int = 2) -> Make:
    return Make("autoregressive_net", (D, size, case.integer()))


# ---- made_masks --------------------------------------------------------------------------------------------------


def _masks(subject: Subject, D: int, hidden: list[int]) -> tuple[list[np.ndarray], dict]:
    """The student's masks after a look at their form, and what was given."""
    given = {"D": str(D), "hidden": str(hidden)}
    got = subject.call("student:made_masks", "", D, hidden)
    if not isinstance(got, list) or not all(isinstance(m, np.ndarray) for m in got):
        raise Mismatch("made_masks must return a list of tensors", got=describe(got), given=given)
    require(
        len(got) == len(hidden) + 1,
        "made_masks(D, hidden) returns one mask a layer of weights",
        expected=f"{len(hidden) + 1} masks",
        got=str(len(got)),
        given=given,
    )
    widths = [D, *hidden, D]
    for k, mask in enumerate(got):
        has_shape(mask, (widths[k + 1], widths[k]), f"mask {k} (outputs, inputs)", given)
        require(np.isin(mask, (0, 1)).all(), f"mask {k}: zeros and ones only", got=show(mask), given=given)
    return [m.astype(float) for m in got], given


def _paths(masks: list[np.ndarray]) -> np.ndarray:
    """P[i, j]: the number of paths from input j to output i, the product of the masks."""
    product = masks[0]
    for mask in masks[1:]:
        product = mask @ product
    return product


@check("made_masks")
def masks_have_the_layers_shapes(subject: Subject, case: Case) -> None:
    """One mask a layer, shape (outputs, inputs), zeros and ones, and some connections in each."""
    D = case.pick(3, 2, 5, 7)
    for hidden in ([case.pick(6, 9, 16)], [case.pick(5, 8), case.pick(7, 12)], [8, 6, 9]):
        masks, given = _masks(subject, D, hidden)
        for k, mask in enumerate(masks):
            require(mask.any(), f"mask {k} cuts every connection", got=show(mask), given=given)


@check("made_masks")
def masks_hide_the_future(subject: Subject, case: Case) -> None:
    """No path leads from input j to output i unless j < i; an output does not see its own input."""
    D = case.pick(3, 2, 4, 6)
    for size, hidden in ((D, [case.pick(8, 5, 20)]), (D, [12, case.pick(9, 16)]), (D, [6, 6, 6]), (1, [4])):
        masks, given = _masks(subject, size, hidden)
        product = _paths(masks)
        found = np.argwhere(np.triu(product) > 0)
        require(
            len(found) == 0,
            f"output {found[0][0] + 1} sees input {found[0][1] + 1}" if len(found) else "",
            expected="the product of the masks strictly lower triangular",
            got=show(product),
            given=given,
        )
        require(
            size == 1 or product.any(), "no output sees any input", got=show(product), given=given
        )  # else nothing was hidden


@check("made_masks")
def masks_connect_all_of_the_past(subject: Subject, case: Case) -> None:
    """With wide hidden layers a path leads from every input j to every output i > j."""
    D = case.pick(3, 2, 4, 5)
    # So wide that degrees drawn at random miss none of the D − 1: chance below 1e-8.
    for hidden in ([64], [80, case.pick(96, 120)]):
        masks, given = _masks(subject, D, hidden)
        product = _paths(masks)
        missing = np.argwhere((product == 0) & (np.tri(D, k=-1) == 1))
        require(
            len(missing) == 0,
            f"output {missing[0][0] + 1} does not see input {missing[0][1] + 1}" if len(missing) else "",
            expected="every entry below the diagonal of the product of the masks positive",
            got=show(product),
            given=given,
        )
        require(product[0, D - 1] == 0, "masks that cut nothing are no masks", got=show(product), given=given)
        case.advise(
            min(mask.any(0).mean() for mask in masks[1:]) > 0.4,
            "most units of a hidden layer feed nothing: degrees above D − 1 are of no use to any output. "
            "With degrees spread over 1, …, D − 1 all units work.",
        )


# ---- MADE --------------------------------------------------------------------------------------------------------


def _right_masks(case: Case, D: int, hidden: list[int]) -> list[np.ndarray]:
    """Masks of degrees in no particular order: each of 1, …, D − 1 as often as the others, shuffled."""
    before, masks = np.arange(1, D + 1), []
    for width in hidden:
        after = 1 + np.arange(width) % max(1, D - 1)
        case.rng.shuffle(after)
        masks.append((after[:, None] >= before).astype(float))
        before = after
    return [*masks, (np.arange(1, D + 1)[:, None] > before).astype(float)]


def _made(case: Case, D: int, size: int, hidden: list[int] | None = None, seed: int | None = None) -> Make:
    hidden = [case.pick(24, 30, 40)] if hidden is None else hidden
    made = Make("student:MADE", (_right_masks(case, D, hidden), size))
    return Make("filled", (made, case.integer() if seed is None else seed))


def _blocks(subject: Subject, made: Make, D: int, size: int, points: np.ndarray) -> np.ndarray:
    """The outputs `(*batch, size, D)`."""
    y = subject.array(made, "", points)
    has_shape(y, (*points.shape[:-1], size * D), f"MADE(masks, {size}) of an input of shape {points.shape}")
    require(np.isfinite(y).all(), "the outputs must be finite", got=show(y))
    return y.reshape(*y.shape[:-1], size, D)


def _influence(
    subject: Subject, made: Make, case: Case, D: int, size: int, sign: int = 0
) -> tuple[np.ndarray, float]:
    """R[k, i, j]: the largest change of output (k, i) when input j is changed, and what counts as none.

    With a `sign` all inputs have it, before and after: an activation in front of the first layer would be blind to some.
    """
    points, steps = case.normal(6, D), 1.0 + np.abs(case.normal(D, 1, D))
    if sign:
        points, steps = sign * np.abs(points), sign * steps
    changed = points + steps * np.eye(D)[:, None]  # (D, 6, D): input j in row j
    before = _blocks(subject, made, D, size, points)
    after = _blocks(subject, made, D, size, changed)
    nothing = 1e-4 if before.dtype == np.float32 else 1e-10
    return np.moveaxis(np.abs(after.astype(float) - before).max(axis=1), 0, -1), nothing


@check("MADE")
def made_output_shape(subject: Subject, case: Case) -> None:
    """An input (*batch, D) gives an output (*batch, size · D), each example by itself."""
    D, size = case.pick(3, 2, 4), case.pick(2, 1, 3)
    made = _made(case, D, size, [12, 9])
    for batch in ((case.pick(4, 5),), (2, 3), ()):
        points = case.normal(*batch, D)
        y = _blocks(subject, made, D, size, points)
        rows = _blocks(subject, made, D, size, points.reshape(-1, D))
        same(y.reshape(rows.shape), rows, f"the output for an input of shape {points.shape}")


@check("MADE")
def made_outputs_see_only_earlier_variables(subject: Subject, case: Case) -> None:
    """Whatever the weights are, the outputs of variable i depend on the inputs j < i alone, in every block of D."""
    D, size = case.pick(3, 4, 5), case.pick(2, 3)
    for hidden in ([24], [20, 16]):
        influence, nothing = _influence(subject, _made(case, D, size, hidden), case, D, size)
        require(
            influence.max() > 1e-3, "no output depends on any input", got=f"changes of {influence.max():.3g}"
        )
        for k, i, j in itertools.product(range(size), range(D), range(D)):
            require(
                j < i or influence[k, i, j] <= nothing,
                f"entry {k * D + i} of the output belongs to variable {i + 1} (block {k + 1}), "
                f"and it changes with input {j + 1}",
                expected="no change",
                got=f"a change of {influence[k, i, j]:.3g}",
                given={"D": str(D), "size": str(size)},
            )


@check("MADE")
def made_outputs_see_all_earlier_variables(subject: Subject, case: Case) -> None:
    """The outputs of variable i depend on every input j < i, in every block, by a map that is not linear."""
    D, size = case.pick(3, 4), case.pick(2, 3)
    for hidden, sign in itertools.product(([36], [case.pick(30, 40), 36]), (1, -1)):
        made = _made(case, D, size, hidden)
        influence, nothing = _influence(subject, made, case, D, size, sign)
        for k, i, j in itertools.product(range(size), range(D), range(D)):
            require(
                j >= i or influence[k, i, j] > 10 * nothing,
                f"entry {k * D + i} of the output belongs to variable {i + 1} (block {k + 1}), and with "
                f"{'positive' if sign > 0 else 'negative'} inputs it does not depend on input {j + 1}",
                expected="a change",
                got="none",
                given={"D": str(D), "size": str(size)},
            )
        blind = influence[:, 0, D - 1].max() <= nothing
        require(blind, "the first variable's outputs change with the last input")
        points, step = case.normal(20, D), case.normal(D, scale=2.0)
        middle, ahead, back = (_blocks(subject, made, D, size, points + a * step) for a in (0, 1, -1))
        bend = np.abs(ahead.astype(float) + back - 2 * middle).max()
        require(
            bend > 1e-2,
            "the network is linear: what stands between its layers?",
            got=f"a bend of {bend:.3g}",
            given={"widths of the hidden layers": str(hidden)},
        )


@check("MADE")
def made_is_learned(subject: Subject, case: Case) -> None:
    """The weights and biases are parameters; the outputs may be any numbers, those of the first variable by a bias."""
    D, size = case.pick(3, 2, 4), case.pick(2, 3)
    made = _made(case, D, size)
    points = case.normal(5, D)
    _, gradient = subject.call(made, "", points, grad="self")
    require(
        np.size(gradient) > 0 and np.isfinite(gradient).all() and np.abs(gradient).max() > 0,
        "no parameter has a gradient: are the layers registered?",
        expected="a gradient with respect to the weights",
        got=f"{np.size(gradient)} parameters",
    )
    first = _blocks(subject, made, D, size, points)[:, :, 0]
    # The same masks with other parameters: one draw in a hundred has outputs of one sign, so there are several.
    others = (Make("filled", (made.args[0], case.integer(), 3.0)) for _ in range(DRAWS))
    outputs = np.stack([_blocks(subject, other, D, size, points) for other in others])
    require(
        outputs.min() < -1.5 and outputs.max() > 1.5,
        "an output may be any number, a log-scale for one: nothing follows the last layer",
        expected="outputs of both signs, beyond ±1",
        got=f"outputs from {outputs.min():.3g} to {outputs.max():.3g}",
    )
    change = np.abs(outputs[0, :, :, 0].astype(float) - first)
    require(
        change.min() > 1e-6,
        "nothing can set the outputs of the first variable: it has no input, so it needs a bias",
        expected="other constants for other parameters",
        got="the same",
    )


# ---- both layers -------------------------------------------------------------------------------------------------

MAF, IAF = "MaskedAutoregressiveLayer", "InverseAutoregressiveLayer"
REFERENCE = {MAF: "MaskedAutoregressive", IAF: "InverseAutoregressive"}


def _setting(case: Case, name: str) -> tuple[Make, np.ndarray]:
    """A student's layer and points `(B, D)`; D = 3 in the visible case."""
    D = case.pick(3, 2, 4, 5)
    return Make(f"student:{name}", (_net(case, D),)), case.normal(case.pick(2, 3, 4), D)


def _couples(subject: Subject, layer: Make, points: np.ndarray) -> None:
    """Later variables follow the first one. A layer that does nothing has most other properties, too."""
    step = np.eye(points.shape[-1])[0]
    x, moved = (subject.pair(layer, "forward", v)[0] for v in (points, points + step))
    has_shape(x, points.shape, "first result of forward")
    has_shape(moved, points.shape, "first result of forward")
    change = np.abs(moved.astype(float) - x)[..., 1:]
    require(
        np.isfinite(change).all() and change.max() > 1e-6,
        "forward: x_2, x_3, … do not notice a change of u_1, so that nothing else is worth a point",
        expected="s_i and t_i to depend on the variables before i",
        got="the same, or not finite, after u_1 was changed",
    )


def _direction_is(subject: Subject, case: Case, name: str, direction: str) -> None:
    """One direction gives what flowlib's layer gives: value and log_det."""
    layer, points = _setting(case, name)
    symbol = layers.SYMBOL[direction]
    expected = Local({}).pair(Make("reference", (REFERENCE[name], *layer.args)), direction, points)
    got = subject.pair(layer, direction, points)
    same(got[0], expected[0], f"first result of {direction}", given={symbol: points})
    has_shape(got[1], points.shape[:-1], f"log_det of {direction}")
    same(got[1], expected[1], f"log_det of {direction}", given={symbol: points})


def _one_pass(subject: Subject, case: Case, name: str, direction: str) -> None:
    """A few calls of the conditioner do for many variables. Two are no loop: one for s and one for t, say."""
    D = case.pick(6, 5, 8)
    net, v = _net(case, D), case.normal(2, D)
    free, limited = (
        subject.pair(Make(f"student:{name}", (conditioner,)), direction, v)[0]
        for conditioner in (net, Make("limited_net", (net, 3)))
    )
    same(limited, free, f"{direction} with a conditioner that answers three times")
    require(np.abs(free - v).max() > 1e-6, f"{direction} does nothing", got="what it was given")


# ---- MaskedAutoregressiveLayer -----------------------------------------------------------------------------------


@check(MAF)
def maf_inverse_formula(subject: Subject, case: Case) -> None:
    """inverse is u = (x − t)⊙exp(−s) with s and t of x, log_det −Σs."""
    _direction_is(subject, case, MAF, "inverse")


@check(MAF)
def maf_forward_undoes_inverse(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    layer, points = _setting(case, MAF)
    layers.round_trips(subject, layer, points)
    _couples(subject, layer, points)
    if not case.hidden:
        try:
            subject.call(layer, "forward", points, grad=0)
            differentiable = True
        except StudentError:
            differentiable = False
        case.advise(
            differentiable,
            "forward cannot be differentiated: it writes into a tensor that the conditioner still needs for its gradient. "
            "Maximum likelihood never needs it; to train through samples, put the variables together with torch.stack.",
        )


@check(MAF)
def maf_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det of forward is log|det ∂x/∂u|, one number per example."""
    layer, points = _setting(case, MAF)
    layers.log_det_is_of_jacobian(subject, layer, "forward", points)
    _couples(subject, layer, points)


@check(MAF)
def maf_inverse_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det of inverse is log|det ∂u/∂x|, one number per example."""
    layer, points = _setting(case, MAF)
    layers.log_det_is_of_jacobian(subject, layer, "inverse", points)
    _couples(subject, layer, points)


@check(MAF)
def maf_inverse_takes_one_pass(subject: Subject, case: Case) -> None:
    """inverse computes all variables at once: it calls the conditioner once, however many variables there are."""
    _one_pass(subject, case, MAF, "inverse")


@check(MAF)
def maf_batch_shapes(subject: Subject, case: Case) -> None:
    """Inputs of any shape (*batch, D) work, and log_det has shape (*batch)."""
    D = case.pick(3, 2, 4, 1)
    layers.batch_shapes_agree(subject, Make(f"student:{MAF}", (_net(case, D),)), case, D)
    layer, points = _setting(case, MAF)
    _couples(subject, layer, points)


# ---- InverseAutoregressiveLayer ----------------------------------------------------------------------------------


@check(IAF)
def iaf_forward_formula(subject: Subject, case: Case) -> None:
    """forward is x = u⊙exp(s) + t with s and t of u, log_det Σs."""
    _direction_is(subject, case, IAF, "forward")


@check(IAF)
def iaf_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    layer, points = _setting(case, IAF)
    layers.round_trips(subject, layer, points)
    _couples(subject, layer, points)


@check(IAF)
def iaf_log_dets_match_jacobians(subject: Subject, case: Case) -> None:
    """log_det of each direction is that of its own Jacobian, one number per example."""
    layer, points = _setting(case, IAF)
    for direction in layers.SYMBOL:
        layers.log_det_is_of_jacobian(subject, layer, direction, points)
    _couples(subject, layer, points)


@check(IAF)
def iaf_forward_takes_one_pass(subject: Subject, case: Case) -> None:
    """forward computes all variables at once: it calls the conditioner once, however many variables there are."""
    _one_pass(subject, case, IAF, "forward")


@check(IAF)
def iaf_batch_shapes(subject: Subject, case: Case) -> None:
    """Inputs of any shape (*batch, D) work, and log_det has shape (*batch)."""
    D = case.pick(3, 2, 4, 1)
    layers.batch_shapes_agree(subject, Make(f"student:{IAF}", (_net(case, D),)), case, D)
    layer, points = _setting(case, IAF)
    _couples(subject, layer, points)


# ---- find_the_error ----------------------------------------------------------------------------------------------

STATEMENTS = {
    "A": False,  # MAF's network looks at base variables
    "B": False,  # MAF samples in parallel
    "C": True,  # both Jacobians are triangular
    "D": False,  # IAF: the density of given data in parallel
    "E": True,  # IAF: samples with their densities in one pass
    "F": True,  # a coupling is a special case
}


@check("find_the_error", hidden_runs=1)
def statements_are_judged(subject: Subject, case: Case) -> None:
    """Each statement of the text is judged right or wrong."""
    got = subject.call("student:find_the_error")
    if not isinstance(got, dict):
        raise Mismatch(
            "find_the_error() must return a dict: letter of a statement → True or False", got=describe(got)
        )
    for letter, truth in STATEMENTS.items():
        value = got.get(letter)
        if isinstance(value, np.ndarray) and value.dtype == bool and value.shape == ():
            value = bool(value)
        if not isinstance(value, bool):
            raise Mismatch(f"statement {letter}: expected True or False", got=repr(value))
        require(
            value == truth,
            f"statement {letter} is judged wrongly: count the passes of the network in both directions",
            got=str(value),
        )


# ---- sequential_passes -------------------------------------------------------------------------------------------


def _passes(subject: Subject, A: np.ndarray) -> int:
    # float32 as the notebook's masks: a student may multiply A with a matrix of torch's default dtype.
    got = subject.call("student:sequential_passes", "", A.astype(np.float32))
    if isinstance(got, np.ndarray) and got.shape == ():
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, (int, float)) or not float(got).is_integer():
        raise Mismatch(
            "sequential_passes must return a whole number",
            got=describe(got),
            given={"A": A.astype(int)},
        )
    return int(got)


def _passes_are(subject: Subject, A: np.ndarray, expected: int, what: str) -> None:
    got = _passes(subject, A)
    require(got == expected, what, expected=str(expected), got=str(got), given={"A": A.astype(int)})


def _depth(A: np.ndarray) -> int:
    """Rounds until all variables are known, each computing those whose dependencies are known."""
    known, rounds = np.zeros(len(A), dtype=bool), 0
    while not known.all():
        ready = ~(A[:, ~known].any(axis=1))
        if (ready <= known).all():
            raise ValueError("a cycle")
        known, rounds = known | ready, rounds + 1
    return rounds


def _dependencies(case: Case, D: int, density: float) -> np.ndarray:
    """A random order without cycles, hidden by a permutation."""
    A = np.tril(case.rng.random((D, D)) < density, -1).astype(float)
    order = case.rng.permutation(D)
    return A[order][:, order]


@check("sequential_passes")
def passes_of_known_layers(subject: Subject, case: Case) -> None:
    """D passes for an autoregressive layer, 2 for a coupling layer's masks, 1 where no variable looks at another."""
    D = case.pick(4, 3, 6, 7)
    _passes_are(subject, np.zeros((D, D)), 1, "no variable looks at another")
    mask = 1.0 - np.arange(D) % 2
    _passes_are(subject, np.outer(1 - mask, mask), 2, "a coupling layer: the moved look at the kept")
    _passes_are(subject, np.tri(D, k=-1), D, "an autoregressive layer: each variable looks at all before it")
    _passes_are(subject, np.zeros((1, 1)), 1, "one variable")


@check("sequential_passes")
def passes_of_any_dependencies(subject: Subject, case: Case) -> None:
    """Any pattern without a cycle, in any order of the variables: the longest chain counts."""
    D = case.pick(4, 5, 6, 8)
    _passes_are(
        subject, np.triu(np.ones((D, D)), 1), D, "each variable looks at all behind it: a reversed order"
    )
    chain = np.eye(D, k=-1)
    _passes_are(subject, chain, D, "each variable looks at the one before it alone")
    for density in (0.2, 0.4, 0.6, 0.4):
        A = _dependencies(case, D, density)
        _passes_are(subject, A, _depth(A), "a pattern of dependencies in no particular order")


@check("sequential_passes")
def passes_reject_cycles(subject: Subject, case: Case) -> None:
    """Variables that wait for each other, or for themselves, can be computed in no order: ValueError."""
    D = case.pick(3, 4, 6)
    pair, loop, ring = _dependencies(case, D, 0.5), np.zeros((D, D)), np.roll(np.eye(D), 1, axis=0)
    i, j = case.rng.choice(D, 2, replace=False)
    pair[i, j] = pair[j, i] = 1
    loop[i, i] = 1
    for A, what in ((loop, "a variable looks at itself"), (pair, "two look at each other"), (ring, "a ring")):
        raised = subject.raises("student:sequential_passes", "", A.astype(np.float32))
        require(
            raised is not None and "ValueError" in raised.types,
            f"{what}: expected a ValueError",
            expected="ValueError",
            got="no error" if raised is None else raised.type,
            given={"A": A.astype(int)},
        )
    raised = subject.raises("student:sequential_passes", "", np.tri(D, k=-1, dtype=np.float32))
    require(raised is None, "an autoregressive layer has no cycle", got=raised.type if raised else "")


# ---- AutoregressiveBernoulli -------------------------------------------------------------------------------------


def _every_x(D: int) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=D)))


def _binary(net: Make, D: int) -> Make:
    return Make("student:AutoregressiveBernoulli", (net, D))


def _logits(case: Case, D: int) -> Make:
    return Make("autoregressive_net", (D, 1, case.integer(), 1.0))


def _log_p(net: Make, x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, (1 - 2 * x) * Local({}).array(net, "", x)).sum(-1)


@check("AutoregressiveBernoulli")
def binary_probabilities_sum_to_one(subject: Subject, case: Case) -> None:
    """Over all 2^D binary vectors the probabilities sum to 1."""
    D = case.pick(3, 2, 4, 5, 1)
    net, x = _logits(case, D), _every_x(D)
    log_p = subject.array(_binary(net, D), "log_prob", x)
    has_shape(log_p, (len(x),), f"log_prob of an input of shape {x.shape}")
    total = float(np.exp(log_p.astype(float)).sum())
    require(
        abs(total - 1) < (1e-4 if log_p.dtype == np.float32 else 1e-8),
        f"the sum of P(x) over all {len(x)} vectors of {D} bits",
        expected="1",
        got=f"1 {total - 1:+.2g}",
    )


@check("AutoregressiveBernoulli")
def binary_log_prob_is_chain_rule(subject: Subject, case: Case) -> None:
    """log P(x) is the sum of the log-probabilities of x_i given x_<i, in nats, one number per example."""
    D = case.pick(3, 2, 4)
    net = _logits(case, D)
    for batch in ((case.pick(3, 5),), (2, 3), ()):
        x = case.rng.integers(0, 2, (*batch, D)).astype(float)
        got = subject.array(_binary(net, D), "log_prob", x)
        has_shape(got, batch, f"log_prob of an input of shape {x.shape}")
        same(got, _log_p(net, x), "log P(x)", given={"x": x})


@check("AutoregressiveBernoulli")
def binary_log_prob_stays_finite(subject: Subject, case: Case) -> None:
    """A network that is sure of itself and wrong costs a finite number of nats."""
    D = case.pick(2, 3, 4)
    logits = np.where(case.normal(D) > 0, 1.0, -1.0) * case.uniform(150, 300, D)
    model, x = _binary(Make("constant_net", tuple(logits.tolist())), D), _every_x(D)
    got = subject.array(model, "log_prob", x)
    has_shape(got, (len(x),), f"log_prob of an input of shape {x.shape}")
    expected = -np.logaddexp(0, (1 - 2 * x) * logits).sum(-1)
    same(got, expected, "log P(x)", given={"x": x, "logits": show(logits)}, rtol=1e-6)


@check("AutoregressiveBernoulli")
def binary_samples_follow_log_prob(subject: Subject, case: Case) -> None:
    """sample(n) draws vectors of zeros and ones as often as log_prob says."""
    D, n = case.pick(3, 2, 4), 6000
    # Weak dependencies could be ignored without being noticed; of several nets the most dependent is taken.
    net = max((_logits(case, D) for _ in range(6)), key=lambda made: _dependence(made, D))
    x = subject.array(_binary(net, D), "sample", n, seed=case.integer())
    has_shape(x, (n, D), f"sample({n})")
    require(np.isin(x, (0, 1)).all(), "samples consist of zeros and ones", got=show(x[:2]))
    every = _every_x(D)
    p = np.exp(_log_p(net, every))
    place = 2.0 ** np.arange(D)[::-1]
    frequency = np.bincount((x.astype(float) @ place).astype(int), minlength=len(every)) / n
    # Six standard errors, and ten draws for vectors so rare that an error says little.
    allowed = 6 * np.sqrt(p * (1 - p) / n) + 10 / n
    worst = int(np.argmax(np.abs(frequency - p) / allowed))
    require(
        (np.abs(frequency - p) <= allowed).all(),
        "a vector is not drawn as often as its probability says",
        expected=f"{p[worst]:.3f} ± {allowed[worst]:.3f}",
        got=f"{frequency[worst]:.3f}",
        given={"x": every[worst]},
    )


def _dependence(net: Make, D: int) -> float:
    """How far the joint probabilities are from the product of the marginals: the total correlation in nats."""
    every = _every_x(D)
    p = np.exp(_log_p(net, every))
    ones = p @ every
    independent = np.where(every == 1, ones, 1 - ones).prod(-1)
    return float(p @ np.log(p / independent))


# ---- distillation_loss -------------------------------------------------------------------------------------------


def _pair(case: Case, D: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(mean, log_scale) of a student and of a wider teacher at another place: the two divergences differ much."""
    away = np.where(case.normal(D) > 0, 1.0, -1.0) * case.uniform(0.8, 1.2, D)
    teacher = [case.normal(D), case.uniform(0.3, 0.6, D)]
    return [teacher[0] + away, case.uniform(-0.8, -0.5, D)], teacher


def _log_ratio(
    student: list[np.ndarray], teacher: list[np.ndarray], noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """log q − log p at x = mean + scale·noise, and its gradient by (log_scale, mean) of the student, `(n, 2D)`."""
    (m, log_s), (a, log_c) = student, teacher
    s, c = np.exp(log_s), np.exp(log_c)
    z = (m + s * noise - a) / c
    value = (log_c - log_s + (z**2 - noise**2) / 2).sum(-1)
    return value, np.concatenate([z / c * s * noise - 1, z / c], axis=-1)


def _gaussian(parameters: list[np.ndarray], one_way: bool = False) -> Make:
    return Make("gaussian_flow", (*parameters, one_way))


def _loss(subject: Subject, case: Case, student: Make, teacher: Make, n: int) -> float:
    got = subject.array("student:distillation_loss", "", student, teacher, n, seed=case.integer())
    has_shape(got, (), "distillation_loss(student, teacher, num_samples)")
    return float(got)


def _meets_divergence(
    subject: Subject, case: Case, student: list, teacher: list, one_way: bool = False, n: int = 4000
) -> None:
    (m, log_s), (a, log_c) = student, teacher
    divergence = float(
        (log_c - log_s + (np.exp(2 * log_s) + (m - a) ** 2) / (2 * np.exp(2 * log_c)) - 0.5).sum()
    )
    values, _ = _log_ratio(student, teacher, case.normal(20_000, len(m)))
    allowed = 6 * float(values.std()) / math.sqrt(n) + 1e-4
    got = _loss(subject, case, _gaussian(student, one_way), _gaussian(teacher), n)
    require(
        abs(got - divergence) <= allowed,  # False for NaN
        "the loss is not KL(student ‖ teacher)",
        expected=f"{divergence:.4f} ± {allowed:.4f} nats (six standard errors)",
        got=f"{got:.4f}",
        given={
            "student": f"N({show(m)}, scale {show(np.exp(log_s))})",
            "teacher": f"N({show(a)}, scale {show(np.exp(log_c))})",
            "num_samples": str(n),
        },
    )


@check("distillation_loss")
def loss_is_divergence(subject: Subject, case: Case) -> None:
    """The loss estimates KL(student ‖ teacher) in nats: closed forms for Gaussians are met."""
    D = case.pick(2, 1, 3)
    for n in (4000, 1500):
        _meets_divergence(subject, case, *_pair(case, D), n=n)


@check("distillation_loss")
def loss_vanishes_for_a_perfect_student(subject: Subject, case: Case) -> None:
    """Where student and teacher are the same density, the loss is 0 for any number of samples."""
    D = case.pick(2, 3)
    layer = Make("reference", ("InverseAutoregressive", _net(case, D)))
    flow = Make("reference", ("Flow", Make("standard_normal", (D,)), [layer]))
    for n in (1, case.pick(5, 8)):
        got = _loss(subject, case, flow, flow, n)
        require(
            abs(got) < 1e-4,
            "the loss of a perfect student",
            expected="0 for every draw",
            got=f"{got:.4g}",
            given={"num_samples": str(n)},
        )
    # A loss that is 0 for everybody teaches nothing.
    _meets_divergence(subject, case, *_pair(case, D))


@check("distillation_loss")
def loss_gradient_teaches_the_student(subject: Subject, case: Case) -> None:
    """The gradient with respect to the student's parameters is that of the divergence."""
    D, n = case.pick(1, 2), 4000
    student, teacher = _pair(case, D)
    _, gradient = subject.call(
        "student:distillation_loss",
        "",
        _gaussian(student),
        _gaussian(teacher),
        n,
        grad=0,
        seed=case.integer(),
    )
    (m, log_s), (a, log_c) = student, teacher
    expected = np.concatenate([np.exp(2 * (log_s - log_c)) - 1, (m - a) / np.exp(2 * log_c)])
    _, each = _log_ratio(student, teacher, case.normal(20_000, D))
    allowed = 8 * each.std(axis=0) / math.sqrt(n) + 1e-3
    gradient = np.asarray(gradient, dtype=float)
    require(
        gradient.shape == expected.shape and bool((np.abs(gradient - expected) <= allowed).all()),
        "the gradient by the student's (log-scales, means)",
        expected=f"{show(expected)} ± {show(allowed)}",
        got=show(gradient),
    )


@check("distillation_loss")
def loss_needs_no_inverse_of_the_student(subject: Subject, case: Case) -> None:
    """The student's inverse is never called: the density of its own draws comes with them."""
    D = case.pick(2, 1, 3)
    _meets_divergence(subject, case, *_pair(case, D), one_way=True)
