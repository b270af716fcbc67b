"""Checks of 03_masked_coupling."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autograder_tests import clinic, layers, mass
from autograder_tests.builders import builder
from autograder_tests.check import Case, check
from autograder_tests.compare import Mismatch, describe, has_shape, require, same, show
from autograder_tests.plain import Make
from autograder_tests.sampling import follows
from autograder_tests.subject import Local, Subject

ASSIGNMENT = "03_masked_coupling"


# ---- what the checks build ---------------------------------------------------------------------------------------


def _net(case: Case, D: int) -> Make:
    return Make("mlp", (D, D, case.integer()))


def _additive(case: Case, D: int, mask: np.ndarray) -> Make:
    return Make("student:AdditiveCouplingLayer", (_net(case, D), mask))


def _coupling(case: Case, D: int, mask: np.ndarray) -> Make:
    return Make("student:MaskedCouplingLayer", (_net(case, D), _net(case, D), mask))


def _couples(subject: Subject, layer: Make, mask: np.ndarray, points: np.ndarray) -> None:
    """What is moved depends on what is kept. A layer that does nothing has most other properties, too."""
    moved = mask == 0
    ahead = []
    for batch in (points, points + mask):
        x, _ = subject.pair(layer, "forward", batch)
        has_shape(x, batch.shape, "first result of forward")
        ahead.append(x[..., moved])
    change = np.abs(ahead[1] - ahead[0])
    require(
        np.isfinite(change).all() and change.max() > 1e-6,
        "forward: the moved variables do not depend on the kept ones, so that nothing else is worth a point",
        expected="s and t to depend on b⊙u",
        got="the same, or not finite, after the kept variables were changed",
        given={"mask": mask},
    )


def _setting(case: Case) -> tuple[int, np.ndarray, np.ndarray]:
    """D, a mask `(D,)` and points `(B, D)` with B ≠ D; D = 3 in the visible case."""
    D = case.pick(3, 2, 4, 5, 7)
    return D, case.mask(D), case.normal(case.pick(2, 3, 6), D)


def _flow_layers(case: Case, D: int, count: int) -> list[Make]:
    """Layers of flowlib's that do not commute: their order can be seen.

    Gentle ones: what several steep ones make of a point changes within less than a step of the central differences.
    """
    made: list[Make] = []

    def net() -> Make:
        return Make("mlp", (D, D, case.integer(), 0.6))

    mask = case.mask(D)
    for k in range(count):
        if k % 3 == 2:
            order = np.roll(np.arange(D), 1).tolist()
            made.append(Make("reference", ("Permutation", order)))
        else:
            made.append(Make("reference", ("MaskedCouplingLayer", net(), net(), mask)))
            mask = 1 - mask
    return made


def _flow(case: Case, D: int, count: int = 3, who: str = "student:Flow") -> Make:
    base, made = Make("standard_normal", (D,)), _flow_layers(case, D, count)
    return Make("reference", ("Flow", base, made)) if who == "reference" else Make(who, (base, made))


def _both_flows(case: Case, D: int, count: int = 3) -> tuple[Make, Make]:
    """The same flow, built by the student's class and by flowlib's."""
    student = _flow(case, D, count)
    return student, Make("reference", ("Flow", *student.args))


@builder
def shifted_base(loc: np.ndarray) -> object:
    """A base N(loc, I) that is not centered: a flow that forgets its own base is found out."""
    import torch

    import flowlib

    base = flowlib.DiagonalNormal(len(loc)).double()
    with torch.no_grad():
        for name, p in base.named_parameters():
            if "loc" in name:
                p.copy_(torch.as_tensor(loc))
    return base


# ---- AdditiveCouplingLayer ---------------------------------------------------------------------------------------


@check("AdditiveCouplingLayer")
def additive_keeps_masked_variables(subject: Subject, case: Case) -> None:
    """Variables with mask 1 pass through unchanged, in both directions."""
    D, mask, points = _setting(case)
    layer = _additive(case, D, mask)
    layers.keeps(subject, layer, points, mask, {"mask": mask})
    _couples(subject, layer, mask, points)


@check("AdditiveCouplingLayer")
def additive_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    D, mask, points = _setting(case)
    layer = _additive(case, D, mask)
    layers.round_trips(subject, layer, points, {"mask": mask})
    _couples(subject, layer, mask, points)


@check("AdditiveCouplingLayer")
def additive_preserves_volume(subject: Subject, case: Case) -> None:
    """Volume is preserved: log_det is one zero per example, and the Jacobian's determinant is 1."""
    D, mask, points = _setting(case)
    layer = _additive(case, D, mask)
    for direction in layers.SYMBOL:
        _, log_det = subject.pair(layer, direction, points)
        has_shape(log_det, points.shape[:-1], f"log_det of {direction}")
        same(log_det, np.zeros(len(points)), f"log_det of {direction}", atol=1e-12)
        layers.log_det_is_of_jacobian(subject, layer, direction, points, {"mask": mask})
    layers.one_log_det_per_example(subject, layer, case, D)
    _couples(subject, layer, mask, points)


@check("AdditiveCouplingLayer")
def additive_formula(subject: Subject, case: Case) -> None:
    """The layer is x = b⊙u + (1−b)⊙(u + t(b⊙u))."""
    D, mask, points = _setting(case)
    student = _additive(case, D, mask)
    layers.same_as(
        subject, student, Make("reference", ("AdditiveCouplingLayer", *student.args)), points, {"mask": mask}
    )


# ---- Rescaling ---------------------------------------------------------------------------------------------------


@check("Rescaling")
def rescaling_scales_each_variable(subject: Subject, case: Case) -> None:
    """Each variable is multiplied by a positive scale of its own, and the inverse divides by it."""
    D = case.pick(3, 2, 5)
    points = case.normal(case.pick(2, 4), D)
    for _ in range(4):
        # Wide noise: training can take a parameter anywhere, so that a scale that may turn negative does.
        layer = Make("perturbed", (Make("student:Rescaling", (D,)), case.integer(), 2.0))
        x, _ = subject.pair(layer, "forward", points)
        has_shape(x, points.shape, "first result of forward")
        scale = x / points
        same_scale = np.ptp(scale / scale[0], axis=0).max() < 1e-4
        require(
            same_scale, "one scale per variable, the same for every example", got=f"x / u = {show(scale)}"
        )
        require(
            (scale > 0).all(),
            "the scale must be positive, whatever its parameter",
            got=f"x / u = {show(scale[0])}",
        )
        free = np.ptp(scale[0]) > 1e-6
        require(
            free,
            "the scales must be free of each other: one parameter per variable",
            got=f"x / u = {show(scale[0])}",
        )
    layers.round_trips(subject, layer, points)


@check("Rescaling")
def rescaling_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det is log|det J| of the same direction, one number per example."""
    D = case.pick(3, 2, 5)
    layer = Make("perturbed", (Make("student:Rescaling", (D,)), case.integer()))
    points = case.normal(case.pick(2, 4), D)
    for direction in layers.SYMBOL:
        layers.log_det_is_of_jacobian(subject, layer, direction, points)
    layers.one_log_det_per_example(subject, layer, case, D)
    x, _ = subject.pair(layer, "forward", points)
    require(
        np.abs(x - points).max() > 1e-6,
        "forward: a parameter was changed and the layer still does nothing",
        expected="a scale that is not 1",
        got="x = u",
    )


@check("Rescaling")
def rescaling_is_learned(subject: Subject, case: Case) -> None:
    """The layer starts as the identity, and the log-likelihood has a gradient with respect to each of the D scales."""
    D = case.pick(3, 2, 5)
    points = case.normal(case.pick(2, 4), D)
    new = Make("perturbed", (Make("student:Rescaling", (D,)), 0, 0.0))
    x, _ = subject.pair(new, "forward", points)
    same(x, points, "forward of a new layer", given={"u": points})
    layer = Make("perturbed", (Make("student:Rescaling", (D,)), case.integer()))
    _, gradient = subject.call(layer, "inverse", np.abs(case.normal(4, D)) + 0.5, grad="self")
    require(
        len(gradient) > 0,
        "the scales must be registered as parameters",
        expected=f"{D} parameters",
        got="none",
    )
    require(
        len(gradient) == D and np.isfinite(gradient).all() and (gradient != 0).all(),
        "each variable needs one parameter that its scale depends on",
        expected=f"{D} parameters with a gradient",
        got=f"{len(gradient)} parameters, gradient {gradient}",
    )


# ---- MaskedCouplingLayer -----------------------------------------------------------------------------------------


@check("MaskedCouplingLayer")
def coupling_keeps_masked_variables(subject: Subject, case: Case) -> None:
    """Variables with mask 1 pass through unchanged, in both directions."""
    D, mask, points = _setting(case)
    layer = _coupling(case, D, mask)
    layers.keeps(subject, layer, points, mask, {"mask": mask})
    _couples(subject, layer, mask, points)


@check("MaskedCouplingLayer")
def coupling_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    D, mask, points = _setting(case)
    layer = _coupling(case, D, mask)
    layers.round_trips(subject, layer, points, {"mask": mask})
    _couples(subject, layer, mask, points)


@check("MaskedCouplingLayer")
def coupling_jacobian_structure(subject: Subject, case: Case) -> None:
    """A moved variable depends on itself and on the kept variables, never on another moved one."""
    D = case.pick(4, 5, 6)
    mask = np.array([1.0, 0, 0, 1, 0, 1, 0][:D])
    points = case.normal(2, D)
    for direction in layers.SYMBOL:
        J = layers.jacobian(subject, _coupling(case, D, mask), direction, points)
        moved = np.flatnonzero(mask == 0)
        block = J[:, moved[:, None], moved]
        off = np.abs(block * (1 - np.eye(len(moved)))).max()
        require(
            off < 1e-4,
            f"{direction}: a moved variable depends on another moved variable",
            expected="a diagonal block of moved variables",
            got=f"an off-diagonal derivative of {off:.3g}",
            given={"mask": mask},
        )
        onto_kept = np.abs(J[:, moved[:, None], np.flatnonzero(mask == 1)]).max()
        require(
            onto_kept > 1e-3,
            f"{direction}: the moved variables do not depend on the kept ones: the nets are not fed the kept variables",
            expected="s and t to depend on b⊙u",
            got="derivatives of 0",
            given={"mask": mask},
        )


@check("MaskedCouplingLayer")
def coupling_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det of forward is log|det ∂x/∂u|, one number per example."""
    D, mask, points = _setting(case)
    layer = _coupling(case, D, mask)
    layers.log_det_is_of_jacobian(subject, layer, "forward", points, {"mask": mask})
    _couples(subject, layer, mask, points)


@check("MaskedCouplingLayer")
def coupling_inverse_log_det_matches_jacobian(subject: Subject, case: Case) -> None:
    """log_det of inverse is log|det ∂u/∂x|, one number per example."""
    D, mask, points = _setting(case)
    layer = _coupling(case, D, mask)
    layers.log_det_is_of_jacobian(subject, layer, "inverse", points, {"mask": mask})
    _couples(subject, layer, mask, points)


@check("MaskedCouplingLayer")
def coupling_formula(subject: Subject, case: Case) -> None:
    """The layer is x = b⊙u + (1−b)⊙(u⊙exp(s) + t) with s and t of b⊙u."""
    D, mask, points = _setting(case)
    student = _coupling(case, D, mask)
    layers.same_as(
        subject, student, Make("reference", ("MaskedCouplingLayer", *student.args)), points, {"mask": mask}
    )
    if not case.hidden:
        # Huge raw scales on kept variables overflow unless the mask also stands inside the exponential.
        huge = Make("constant_net", tuple(np.where(mask == 1, 2000.0, 0.1).tolist()))
        layer = Make("student:MaskedCouplingLayer", (huge, _net(case, D), mask))
        x, log_det = subject.pair(layer, "forward", points)
        case.advise(
            np.isfinite(x).all() and np.isfinite(log_det).all(),
            "exp(s) is also computed for the kept variables and can overflow there: 0·inf is NaN. Mask s before the exponential.",
        )


@check("MaskedCouplingLayer")
def coupling_batch_shapes(subject: Subject, case: Case) -> None:
    """Inputs of any shape (*batch, D) work, and log_det has shape (*batch)."""
    D = case.pick(3, 2, 5)
    mask = case.mask(D)
    layer = _coupling(case, D, mask)
    layers.batch_shapes_agree(subject, layer, case, D)
    _couples(subject, layer, mask, case.normal(2, D))


# ---- Flow --------------------------------------------------------------------------------------------------------


@check("Flow")
def flow_applies_layers_in_order(subject: Subject, case: Case) -> None:
    """forward applies the layers in list order, from base to data; inverse in the opposite order."""
    D = case.pick(2, 3, 4)
    student, right = _both_flows(case, D, case.pick(3, 4, 5))
    points = case.normal(case.pick(3, 5), D)
    for direction, symbol in layers.SYMBOL.items():
        got, _ = subject.pair(student, direction, points)
        expected, _ = Local({}).pair(right, direction, points)
        same(got, expected, direction, given={symbol: points})


@check("Flow")
def flow_inverse_undoes_forward(subject: Subject, case: Case) -> None:
    """The inverse undoes the forward map, and the forward map undoes the inverse."""
    D = case.pick(2, 3, 4)
    layers.round_trips(subject, _flow(case, D, case.pick(3, 4)), case.normal(case.pick(3, 5), D))


@check("Flow")
def flow_log_dets_add_up(subject: Subject, case: Case) -> None:
    """log_det of both directions is log|det J| of the whole map, one number per example."""
    D = case.pick(2, 3, 4)
    student = _flow(case, D, case.pick(3, 4))
    for direction in layers.SYMBOL:
        layers.log_det_is_of_jacobian(subject, student, direction, case.normal(case.pick(3, 5), D))


@check("Flow")
def flow_log_prob_is_change_of_variables(subject: Subject, case: Case) -> None:
    """log_prob(x) = log p_u(T⁻¹(x)) + log|det ∂u/∂x|, in nats, one number per example."""
    D = case.pick(2, 3, 4)
    base = Make("shifted_base", (case.normal(D),))
    args = (base, _flow_layers(case, D, case.pick(2, 4)))
    points = case.normal(case.pick(3, 5), D)
    got = subject.array(Make("student:Flow", args), "log_prob", points)
    expected = Local({}).array(Make("reference", ("Flow", *args)), "log_prob", points)
    same(got, expected, "log_prob", given={"x": points})


@check("Flow", hidden_runs=1)
def flow_density_integrates_to_one(subject: Subject, case: Case) -> None:
    """The density integrates to 1 over the plane."""

    def draw() -> Make:
        nets = [Make("mlp", (2, 2, case.integer(), 0.5)) for _ in range(4)]
        mask = case.mask(2)
        made = [
            Make("reference", ("MaskedCouplingLayer", *nets[k : k + 2], m))
            for k, m in ((0, mask), (2, 1 - mask))
        ]
        return Make("reference", ("Flow", Make("standard_normal", (2,)), made))

    flow, extent = mass.resolved(draw)
    _, points, area = mass.grid(extent)
    mass.has_mass_one(subject.array(Make("student:Flow", flow.args[1:]), "log_prob", points), points, area)


@check("Flow")
def flow_samples_follow_density(subject: Subject, case: Case) -> None:
    """Samples are distributed as log_prob says."""
    D = case.pick(2, 3)
    base = Make("shifted_base", (case.normal(D, scale=2.0),))
    args = (base, _flow_layers(case, D, case.pick(2, 4)))
    student, n = Make("student:Flow", args), 4000
    for method in ("sample", "rsample"):
        x = subject.array(student, method, (n,), seed=case.integer())
        has_shape(x, (n, D), f"{method}(({n},))")
        # The right inverse takes right samples back to the base, whose quantiles are known.
        u, _ = Local({}).pair(Make("reference", ("Flow", *args)), "inverse", x.astype(float))
        what = f"{method} does not draw from the density that log_prob states: T⁻¹(samples) against the base"
        follows(u - base.args[0], what)


@check("Flow")
def flow_gradients_reach_every_layer(subject: Subject, case: Case) -> None:
    """Layers are registered: log_prob has a gradient with respect to every layer's parameters."""
    D = case.pick(2, 3)
    student, right = _both_flows(case, D, 2)
    points = case.normal(4, D)
    _, got = subject.call(student, "log_prob", points, grad="self")
    _, expected = Local({}).call(right, "log_prob", points, grad="self")
    require(
        len(got) >= len(expected),
        "flow.parameters() does not list the parameters of the layers",
        expected=f"{len(expected)} numbers",
        got=f"{len(got)} numbers",
    )
    same(
        np.sort(got),
        np.sort(expected),
        "gradient of log_prob with respect to the parameters",
        rtol=1e-6,
        atol=1e-8,
    )


@check("Flow")
def flow_only_rsample_carries_gradient(subject: Subject, case: Case) -> None:
    """rsample carries a gradient to the layers, sample does not."""
    D = case.pick(2, 3)
    student = _flow(case, D, 2)
    for method, wanted in (("sample", False), ("rsample", True)):
        result, gradient = subject.call(student, method, (5,), grad="self", seed=case.integer())
        if not isinstance(result, np.ndarray):
            raise Mismatch(f"{method} must return a tensor", got=describe(result))
        has = len(gradient) > 0 and bool((gradient != 0).any())
        require(
            has == wanted,
            f"{method} {'must carry a gradient' if wanted else 'must not carry a gradient'}",
            expected="a gradient" if wanted else "no gradient",
            got="a gradient" if has else "no gradient",
        )


@check("Flow")
def flow_batch_shapes(subject: Subject, case: Case) -> None:
    """Inputs of any shape (*batch, D) work; sample(shape) has shape (*shape, D)."""
    D = case.pick(2, 3)
    student = _flow(case, D, 2)
    layers.batch_shapes_agree(subject, student, case, D)
    for batch in ((2, 3), ()):
        points = case.normal(*batch, D)
        has_shape(
            subject.array(student, "log_prob", points), batch, f"log_prob of an input of shape {points.shape}"
        )
        has_shape(subject.array(student, "sample", batch), (*batch, D), f"sample({batch})")
    for method in ("sample", "rsample"):
        has_shape(subject.array(student, method), (D,), f"{method}()")


# ---- alternating_masks -------------------------------------------------------------------------------------------


@check("alternating_masks")
def masks_alternate(subject: Subject, case: Case) -> None:
    """K float masks of D numbers; each has a 0 and a 1, and neighbors are complements."""
    for D, K in ((2, 3), (3, 4), (case.pick(4, 5, 7), case.pick(2, 5, 6)), (3, 1)):
        b = subject.array("student:alternating_masks", "", D, K)
        given = {"D": str(D), "K": str(K)}
        has_shape(b, (K, D), "alternating_masks(D, K)", given)
        require(
            b.dtype.kind == "f", "masks must be floats, to be multiplied with", got=str(b.dtype), given=given
        )
        require(np.isin(b, (0, 1)).all(), "a mask holds zeros and ones only", got=str(b), given=given)
        for k, row in enumerate(b):
            require(0 < row.sum() < D, f"mask {k} needs at least one 0 and one 1", got=str(row), given=given)
        for k in range(K - 1):
            same(
                b[k + 1],
                1 - b[k],
                f"mask {k + 1} must be the complement of mask {k}",
                given={**given, f"mask {k}": str(b[k])},
            )


@check("alternating_masks")
def masks_reject_one_dimension(subject: Subject, case: Case) -> None:
    """D < 2 leaves nothing to split: ValueError."""
    for D in (1, case.pick(1, 0)):
        raised = subject.raises("student:alternating_masks", "", D, 2)
        require(
            raised is not None and "ValueError" in raised.types,
            f"alternating_masks({D}, 2) must raise a ValueError",
            expected="ValueError",
            got="no error" if raised is None else raised.type,
        )
    raised = subject.raises("student:alternating_masks", "", 2, 2)
    require(raised is None, "alternating_masks(2, 2) must not raise", got=raised.type if raised else "")


# ---- the clinic --------------------------------------------------------------------------------------------------

SHOWN_PATIENTS = (
    "A",
    "B",
    "C",
    "D",
    "E",
    "F",
)  # those the notebook hands out; the others stay in the waiting room


@check("diagnose", hidden_runs=1)
def diagnosis_is_right(subject: Subject, case: Case) -> None:
    """Each patient of the clinic is charged with exactly the properties it breaks."""
    got = subject.call("student:diagnose")
    if not isinstance(got, dict):
        raise Mismatch(
            "diagnose() must return a dict: patient → list of broken properties", got=describe(got)
        )
    for name in SHOWN_PATIENTS:
        found = got.get(name)
        allowed = ", ".join(clinic.PROPERTIES)
        if not isinstance(found, list) or not all(p in clinic.PROPERTIES for p in found):
            raise Mismatch(f"patient {name}: expected a list of some of: {allowed}", got=repr(found))
        require(
            set(found) == set(clinic.broken_properties(name)),
            f"patient {name} does not have this diagnosis: measure each of the three properties",
            got=", ".join(found) or "healthy",
        )


def _verdicts(subject: Subject, case: Case, names: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """The student's property test on patients, which it can call but not see.

    In hidden cases each comes twice and nobody can tell when: a test that knows which check is running learns nothing.
    """
    order = list(names * 2 if case.hidden else names)
    if case.hidden:
        case.rng.shuffle(order)
    for name in order:
        D = case.pick(4, 3, 5)
        got = subject.call(
            "student:is_valid_layer",
            "",
            Make("outside", (0,)),
            Make("outside", (1,)),
            D,
            seed=case.integer(),
            outside=clinic.functions(name, D, case.integer()),
        )
        if isinstance(got, np.ndarray) and got.dtype == bool and got.shape == ():
            got = bool(got)
        if not isinstance(got, bool):
            raise Mismatch("is_valid_layer must return True or False", got=describe(got))
        yield name, got


HEALTHY = ("C", "G")


def _tells_apart(subject: Subject, case: Case, names: tuple[str, ...], complaint: str) -> None:
    """Healthy layers are accepted and broken ones are not. Both are asked for: to reject everything is to see nothing."""
    for name, verdict in _verdicts(subject, case, names):
        if name in HEALTHY:
            require(verdict, f"a healthy layer (patient {name}) is rejected", expected="True", got="False")
        else:
            require(not verdict, complaint.format(name), expected="False", got="True")


@check("is_valid_layer")
def property_test_accepts_healthy_layers(subject: Subject, case: Case) -> None:
    """Your test accepts layers that have all properties, couplings or not."""
    accepts_all = (
        "a layer of which nothing holds (patient {}) is accepted: what accepts everything is no test"
    )
    _tells_apart(subject, case, (*HEALTHY, "K"), accepts_all)


@check("is_valid_layer")
def property_test_sees_broken_round_trips(subject: Subject, case: Case) -> None:
    """Your test rejects layers whose inverse does not undo forward."""
    complaint = "patient {}: its inverse does not undo forward, yet it is accepted"
    _tells_apart(subject, case, ("A", "E", "I", "J", *HEALTHY), complaint)


@check("is_valid_layer")
def property_test_sees_wrong_log_dets(subject: Subject, case: Case) -> None:
    """Your test rejects layers with a wrong log_det in one direction."""
    complaint = "patient {}: one of its log_dets is wrong, yet it is accepted"
    _tells_apart(subject, case, ("D", "F", *HEALTHY), complaint)


@check("is_valid_layer")
def property_test_sees_log_dets_that_cancel(subject: Subject, case: Case) -> None:
    """Your test rejects layers whose two wrong log_dets cancel each other."""
    complaint = "patient {}: both log_dets are wrong and add up to 0, yet it is accepted"
    _tells_apart(subject, case, ("B", "H", *HEALTHY), complaint)
