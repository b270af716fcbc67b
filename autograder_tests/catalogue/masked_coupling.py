"""What goes wrong in 03_masked_coupling."""

from __future__ import annotations

import torch
from torch import nn

from autograder_tests.catalogue import wrong

# ---- AdditiveCouplingLayer ---------------------------------------------------------------------------------------


class AdditiveCouplingLayer(nn.Module):
    def __init__(self, translation_net, mask):
        super().__init__()
        self.translation_net = translation_net
        self.register_buffer("mask", mask)

    def forward(self, u):
        b = self.mask
        kept = b * u
        x = kept + (1 - b) * (u + self.translation_net(kept))
        log_det = u.new_zeros(u.shape[:-1])
        return x, log_det

    def inverse(self, x):
        b = self.mask
        kept = b * x
        u = kept + (1 - b) * (x - self.translation_net(kept))
        log_det = x.new_zeros(x.shape[:-1])
        return u, log_det


wrong(
    AdditiveCouplingLayer,
    "net_sees_everything",
    swap={
        "translation_net(kept)": "translation_net({})",
        "(u + self.translation_net({}))": "(u + self.translation_net(u))",
        "(x - self.translation_net({}))": "(x - self.translation_net(x))",
    },
    hint="The net is fed the whole vector. On the way back the moved part is not known yet: what may the net look at in both directions?",
)
wrong(
    AdditiveCouplingLayer,
    "mask_inverted",
    swap={"b = self.mask": "b = 1 - self.mask"},
    hint="The roles of 0 and 1 are swapped: a variable with mask 1 is passed through and fed to the net, one with mask 0 is moved.",
)
wrong(
    AdditiveCouplingLayer,
    "inverse_adds",
    swap={"(x - self.translation_net(kept))": "(x + self.translation_net(kept))"},
    hint="Your inverse translates once more in the same direction. What undoes adding t?",
)
wrong(
    AdditiveCouplingLayer,
    "translation_unmasked",
    swap={
        "(1 - b) * (u + self.translation_net(kept))": "(1 - b) * u + self.translation_net(kept)",
        "(1 - b) * (x - self.translation_net(kept))": "(1 - b) * x - self.translation_net(kept)",
    },
    hint="The net's output has all D entries, and you add all of them: the kept variables are moved, too.",
)
wrong(
    AdditiveCouplingLayer,
    "log_det_per_variable",
    swap={
        "u.new_zeros(u.shape[:-1])": "torch.zeros_like(u)",
        "x.new_zeros(x.shape[:-1])": "torch.zeros_like(x)",
    },
    hint="A log-determinant is one number per example, shape (*batch,). A zero per variable makes later sums count it D times.",
)
wrong(
    AdditiveCouplingLayer,
    "log_det_one",
    swap={"new_zeros": "new_ones"},
    hint="The determinant of a volume-preserving map is 1. Is its logarithm 1, too?",
)
wrong(
    AdditiveCouplingLayer,
    "log_det_scalar",
    swap={"u.new_zeros(u.shape[:-1])": "u.new_zeros(())", "x.new_zeros(x.shape[:-1])": "x.new_zeros(())"},
    hint="One log_det for the whole batch: examples are transformed independently, so each has its own, shape (*batch,).",
)
wrong(
    AdditiveCouplingLayer,
    "output_order_changed",
    code="""
class AdditiveCouplingLayer(nn.Module):
    def __init__(self, translation_net, mask):
        super().__init__()
        self.translation_net = translation_net
        self.kept = torch.nonzero(mask).flatten()
        self.moved = torch.nonzero(1 - mask).flatten()
        self.register_buffer("mask", mask)

    def forward(self, u):
        t = self.translation_net(self.mask * u)
        x = torch.cat([u[..., self.kept], u[..., self.moved] + t[..., self.moved]], dim=-1)
        return x, u.new_zeros(u.shape[:-1])

    def inverse(self, x):
        t = self.translation_net(self.mask * x)
        u = torch.cat([x[..., self.kept], x[..., self.moved] - t[..., self.moved]], dim=-1)
        return u, x.new_zeros(x.shape[:-1])
""",
    hint="You split by the mask but join the halves one after the other: each variable must return to its own place.",
)
wrong(
    AdditiveCouplingLayer,
    "log_det_sums_translation",
    swap={
        "log_det = u.new_zeros(u.shape[:-1])": "log_det = ((1 - b) * self.translation_net(kept)).sum(-1)",
        "log_det = x.new_zeros(x.shape[:-1])": "log_det = -((1 - b) * self.translation_net(kept)).sum(-1)",
    },
    hint="You add up the translations. A translation moves a point and stretches nothing: what stands on the diagonal of the Jacobian?",
)
wrong(
    AdditiveCouplingLayer,
    "message_dropped",
    swap={
        "(1 - b) * (u + self.translation_net(kept))": "(1 - b) * self.translation_net(kept)",
    },
    hint="The moved variables are replaced by the key: their own values are gone, and no inverse can bring them back.",
)
wrong(
    AdditiveCouplingLayer,
    "inverse_translation_unmasked",
    swap={"(1 - b) * (x - self.translation_net(kept))": "(1 - b) * x - self.translation_net(kept)"},
    hint="Your inverse subtracts all D entries of the net's output: a bracket is missing, and the kept variables move on the way back.",
)


# ---- Rescaling ---------------------------------------------------------------------------------------------------


class Rescaling(nn.Module):
    def __init__(self, D):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(D))

    def forward(self, u):
        x = u * torch.exp(self.log_scale)
        log_det = self.log_scale.sum().expand(u.shape[:-1])
        return x, log_det

    def inverse(self, x):
        u = x * torch.exp(-self.log_scale)
        log_det = -self.log_scale.sum().expand(x.shape[:-1])
        return u, log_det


wrong(
    Rescaling,
    "inverse_log_det_sign",
    swap={"log_det = -self.log_scale": "log_det = self.log_scale"},
    hint="The inverse shrinks what the forward map stretched. What does that do to the sign of its log-determinant?",
)
wrong(
    Rescaling,
    "both_signs_flipped",
    swap={
        "log_det = self.log_scale.sum()": "log_det = (-self.log_scale).sum()",
        "log_det = -self.log_scale.sum()": "log_det = self.log_scale.sum()",
    },
    hint="Both signs are flipped: forward reports log|det| of the inverse. They cancel each other, so no round trip shows it.",
)
wrong(
    Rescaling,
    "log_det_mean",
    swap={"log_scale.sum()": "log_scale.mean()"},
    hint="The determinant of a diagonal matrix is the product of its entries: logarithms are summed over the variables, not averaged.",
)
wrong(
    Rescaling,
    "log_det_of_scale",
    swap={"self.log_scale.sum()": "torch.exp(self.log_scale).sum()"},
    hint="You sum the scales themselves. The log-determinant is the sum of their logarithms.",
)
wrong(
    Rescaling,
    "log_det_scalar",
    swap={".expand(u.shape[:-1])": "", ".expand(x.shape[:-1])": ""},
    hint="One number for the whole batch: log_det has one entry per example, shape (*batch,), even where all are equal.",
)
wrong(
    Rescaling,
    "log_det_times_batch",
    swap={
        ".expand(u.shape[:-1])": ".expand(u.shape[:-1]) * len(u)",
        ".expand(x.shape[:-1])": ".expand(x.shape[:-1]) * len(x)",
    },
    hint="Your log_det grows with the number of examples in the batch. Each example has a determinant of its own.",
)
wrong(
    Rescaling,
    "scale_may_be_negative",
    swap={
        "torch.zeros(D)": "torch.ones(D)",
        "u * torch.exp(self.log_scale)": "u * self.log_scale",
        "x * torch.exp(-self.log_scale)": "x / self.log_scale",
        "self.log_scale.sum()": "self.log_scale.abs().log().sum()",
    },
    hint="The scale is the parameter itself, so training may take it through 0, where nothing can be inverted. What function of it is always positive?",
)
wrong(
    Rescaling,
    "not_a_parameter",
    swap={"nn.Parameter(torch.zeros(D))": "torch.zeros(D)"},
    hint="A plain tensor attribute is invisible to the optimizer: what does nn.Module register?",
)
wrong(
    Rescaling,
    "one_scale_for_all",
    swap={
        "torch.zeros(D)": "torch.zeros(1)",
        "self.log_scale.sum()": "(self.log_scale * {0}.shape[-1]).sum()",
        "log_det = (self.log_scale * {0}": "log_det = (self.log_scale * u",
        "log_det = -(self.log_scale * {0}": "log_det = -(self.log_scale * x",
    },
    hint="One scale is shared by all variables. NICE learns one per variable, to say which of them matter.",
)
wrong(
    Rescaling,
    "random_start",
    swap={"torch.zeros(D)": "torch.randn(D)"},
    hint="Your layer starts with random scales. For which log-scale does it do nothing?",
)


# ---- MaskedCouplingLayer -----------------------------------------------------------------------------------------


class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.scale_net = scale_net
        self.translation_net = translation_net
        self.register_buffer("mask", mask)

    def forward(self, u):
        b = self.mask
        kept = b * u
        s = (1 - b) * self.scale_net(kept)
        t = self.translation_net(kept)
        x = kept + (1 - b) * (u * torch.exp(s) + t)
        log_det = s.sum(-1)
        return x, log_det

    def inverse(self, x):
        b = self.mask
        kept = b * x
        s = (1 - b) * self.scale_net(kept)
        t = self.translation_net(kept)
        u = kept + (1 - b) * (x - t) * torch.exp(-s)
        log_det = -s.sum(-1)
        return u, log_det


wrong(
    MaskedCouplingLayer,
    "log_det_counts_kept_variables",
    swap={"s = (1 - b) * self.scale_net(kept)": "s = self.scale_net(kept)"},
    hint="Your log_det sums s over all D variables. The kept ones are not stretched: only moved variables count.",
)
wrong(
    MaskedCouplingLayer,
    "inverse_log_det_sign",
    swap={"log_det = -s.sum(-1)": "log_det = s.sum(-1)"},
    hint="The log_det of your inverse is the forward map's. `inverse` reports log|det ∂u/∂x|: what happens to a log-determinant when the map is inverted?",
)
wrong(
    MaskedCouplingLayer,
    "both_signs_flipped",
    swap={"log_det = s.sum(-1)": "log_det = (-s).sum(-1)", "log_det = -s.sum(-1)": "log_det = s.sum(-1)"},
    hint="Both signs are flipped: forward reports the inverse's log-determinant. The two still cancel, so the round trip cannot see it; the Jacobian can.",
)
wrong(
    MaskedCouplingLayer,
    "inverse_in_wrong_order",
    swap={"(x - t) * torch.exp(-s)": "(x * torch.exp(-s) - t)"},
    hint="Forward scales, then translates. Undo the last step first: subtract, then unscale.",
)
wrong(
    MaskedCouplingLayer,
    "translation_inside_exponential",
    swap={"u * torch.exp(s) + t": "u * torch.exp(s + t)", "(x - t) * torch.exp(-s)": "x * torch.exp(-s - t)"},
    hint="The translation stands inside the exponential, so nothing is ever translated and your log_det misses it.",
)
wrong(
    MaskedCouplingLayer,
    "scale_without_exponential",
    swap={
        "u * torch.exp(s) + t": "u * s + t",
        "(x - t) * torch.exp(-s)": "(x - t) / torch.where(b == 1, 1.0, s)",
    },
    hint="You multiply by s itself. The factor is exp(s): positive for every s, with log-determinant Σs.",
)
wrong(
    MaskedCouplingLayer,
    "nets_see_everything",
    swap={
        "kept = b * u\n        s": "kept = b * u\n        seen = u\n        s",
        "kept = b * x\n        s": "kept = b * x\n        seen = x\n        s",
        "scale_net(kept)": "scale_net(seen)",
        "translation_net(kept)": "translation_net(seen)",
    },
    hint="The nets are fed the whole vector. The inverse has to evaluate them before it knows the moved part: what do both directions have in common?",
)
wrong(
    MaskedCouplingLayer,
    "mask_inverted",
    swap={"b = self.mask": "b = 1 - self.mask"},
    hint="The roles of 0 and 1 are swapped: a variable with mask 1 is passed through and fed to the nets, one with mask 0 is moved.",
)
wrong(
    MaskedCouplingLayer,
    "log_det_sums_batch",
    swap={"log_det = s.sum(-1)": "log_det = s.sum()", "log_det = -s.sum(-1)": "log_det = -s.sum()"},
    hint="You sum over the whole batch. Each example has a log-determinant of its own: sum over the variables alone, shape (*batch,).",
)
wrong(
    MaskedCouplingLayer,
    "log_det_mean",
    swap={"log_det = s.sum(-1)": "log_det = s.mean(-1)", "log_det = -s.sum(-1)": "log_det = -s.mean(-1)"},
    hint="You average over the variables. The determinant is a product over them, so its logarithm is a sum.",
)
wrong(
    MaskedCouplingLayer,
    "log_det_per_variable",
    swap={"log_det = s.sum(-1)": "log_det = s", "log_det = -s.sum(-1)": "log_det = -s"},
    hint="One number per variable is left. The log-determinant is their sum: one number per example.",
)
wrong(
    MaskedCouplingLayer,
    "log_det_along_first_axis",
    swap={"log_det = s.sum(-1)": "log_det = s.sum(0)", "log_det = -s.sum(-1)": "log_det = -s.sum(0)"},
    hint="You sum over axis 0, the examples. Sum over the last axis, the variables.",
)
wrong(
    MaskedCouplingLayer,
    "log_det_only_for_two_axes",
    swap={"log_det = s.sum(-1)": "log_det = s.sum(1)", "log_det = -s.sum(-1)": "log_det = -s.sum(1)"},
    hint="Axis 1 is the variables' axis only when the input is (B, D). Count from the end: the variables are always the last axis.",
)
wrong(
    MaskedCouplingLayer,
    "inverse_adds_translation",
    swap={"(x - t) * torch.exp(-s)": "(x + t) * torch.exp(-s)"},
    hint="Your inverse translates once more in the same direction. What undoes adding t?",
)
wrong(
    MaskedCouplingLayer,
    "inverse_scales_again",
    swap={"(x - t) * torch.exp(-s)": "(x - t) * torch.exp(s)"},
    hint="Your inverse multiplies by the scale once more. What undoes multiplying by exp(s)?",
)
wrong(
    MaskedCouplingLayer,
    "translation_unmasked",
    swap={
        "(1 - b) * (u * torch.exp(s) + t)": "(1 - b) * u * torch.exp(s) + t",
        "(1 - b) * (x - t) * torch.exp(-s)": "((1 - b) * x - t) * torch.exp(-s)",
    },
    hint="The translation net's output has all D entries, and you add all of them: the kept variables are moved, too.",
)
wrong(
    MaskedCouplingLayer,
    "log_base_two",
    swap={
        "log_det = s.sum(-1)": "log_det = torch.log2(torch.exp(s)).sum(-1)",
        "log_det = -s.sum(-1)": "log_det = -torch.log2(torch.exp(s)).sum(-1)",
    },
    hint="Your log_det is in bits. Densities here are in nats: natural logarithm throughout.",
)
wrong(
    MaskedCouplingLayer,
    "squashed_scale",
    swap={"self.scale_net(kept)": "torch.tanh(self.scale_net(kept))"},
    hint="A valid coupling layer, but not this one: you squash the scale with tanh, the definition asked for exp(s) with s as the net gives it.",
)
wrong(
    MaskedCouplingLayer,
    "remembers_what_it_saw",
    code="""
SEEN = {}


class MaskedCouplingLayer(nn.Module):
    def __init__(self, scale_net, translation_net, mask):
        super().__init__()
        self.scale_net, self.translation_net = scale_net, translation_net
        self.register_buffer("mask", mask)

    def forward(self, u):
        b = self.mask
        s = (1 - b) * self.scale_net(u)
        x = b * u + (1 - b) * (u * torch.exp(s) + self.translation_net(u))
        for row_u, row_x in zip(u.reshape(-1, u.shape[-1]), x.reshape(-1, u.shape[-1])):
            SEEN[tuple(row_x.tolist())] = row_u
        return x, s.sum(-1)

    def inverse(self, x):
        rows = [SEEN.get(tuple(r.tolist()), torch.zeros_like(r)) for r in x.reshape(-1, x.shape[-1])]
        u = torch.stack(rows).reshape(x.shape)
        return u, -((1 - self.mask) * self.scale_net(u)).sum(-1)
""",
    hint="The inverse looks up what forward has seen. It must work for points that never went through forward: compute it from x alone.",
)
wrong(
    MaskedCouplingLayer,
    "translates_before_scaling",
    swap={
        "(u * torch.exp(s) + t)": "((u + t) * torch.exp(s))",
        "(x - t) * torch.exp(-s)": "(x * torch.exp(-s) - t)",
    },
    hint="Yours is a valid layer and another one: it translates first and scales the translation, too. Which comes first in the formula?",
)
wrong(
    MaskedCouplingLayer,
    "log_det_holds_translation",
    swap={
        "log_det = s.sum(-1)": "log_det = (s + (1 - b) * t).sum(-1)",
        "log_det = -s.sum(-1)": "log_det = -(s + (1 - b) * t).sum(-1)",
    },
    hint="The translation stands in your log-determinant. Differentiate x by u for one moved variable: where is t?",
)
wrong(
    MaskedCouplingLayer,
    "log_det_sums_scales",
    swap={
        "log_det = s.sum(-1)": "log_det = torch.exp(s).sum(-1)",
        "log_det = -s.sum(-1)": "log_det = -torch.exp(s).sum(-1)",
    },
    hint="You add up the diagonal of the Jacobian, which is its trace. The determinant is their product: what is its logarithm?",
)
wrong(
    MaskedCouplingLayer,
    "determinant_without_log",
    swap={
        "log_det = s.sum(-1)": "log_det = torch.exp(s.sum(-1))",
        "log_det = -s.sum(-1)": "log_det = torch.exp(-s.sum(-1))",
    },
    hint="This is the determinant. A layer reports its logarithm, so that the values of many layers can be added.",
)
wrong(
    MaskedCouplingLayer,
    "absolute_log_scales",
    swap={
        "log_det = s.sum(-1)": "log_det = s.abs().sum(-1)",
        "log_det = -s.sum(-1)": "log_det = -s.abs().sum(-1)",
    },
    hint="The absolute value belongs to the determinant, not to its logarithm: a layer that shrinks volume has a negative log-determinant.",
)
wrong(
    MaskedCouplingLayer,
    "scale_net_sees_everything",
    swap={
        "kept = b * u\n        s = (1 - b) * self.scale_net(kept)": "kept = b * u\n        s = (1 - b) * self.scale_net(u)",
        "kept = b * x\n        s = (1 - b) * self.scale_net(kept)": "kept = b * x\n        s = (1 - b) * self.scale_net(x)",
    },
    hint="One net is fed the kept variables, the scale net all of them. Does the way back know all of u before it knows the scale?",
)


# ---- Flow --------------------------------------------------------------------------------------------------------


class Flow(nn.Module):
    def __init__(self, base, transformations):
        super().__init__()
        self.base = base
        self.transformations = nn.ModuleList(transformations)

    def forward(self, u):
        total = u.new_zeros(u.shape[:-1])
        for T in self.transformations:
            u, log_det = T(u)
            total = total + log_det
        return u, total

    def inverse(self, x):
        total = x.new_zeros(x.shape[:-1])
        for T in reversed(self.transformations):
            x, log_det = T.inverse(x)
            total = total + log_det
        return x, total

    def log_prob(self, x):
        u, log_det = self.inverse(x)
        return self.base().log_prob(u) + log_det

    def rsample(self, sample_shape=()):
        u = self.base().rsample(sample_shape)
        x, _ = self.forward(u)
        return x

    def sample(self, sample_shape=()):
        with torch.no_grad():
            return self.rsample(sample_shape)


wrong(
    Flow,
    "inverse_in_list_order",
    swap={"in reversed(self.transformations)": "in self.transformations"},
    hint="The inverse runs the layers in list order. What was done last must be undone first.",
)
wrong(
    Flow,
    "data_to_base_order",
    swap={
        "for T in self.transformations": "for T in LATER",
        "for T in reversed(self.transformations)": "for T in self.transformations",
        "LATER": "reversed(self.transformations)",
    },
    hint="Your list runs from data to base. Here the first layer of the list acts on the base variable u, the last one makes x.",
)
wrong(
    Flow,
    "log_prob_through_forward",
    swap={"u, log_det = self.inverse(x)": "u, log_det = self.forward(x)"},
    hint="log_prob runs the data through forward. That too is a density with mass 1, but of T⁻¹(u), not of your samples: a density asks where x came from.",
)
wrong(
    Flow,
    "log_det_subtracted",
    swap={"log_prob(u) + log_det": "log_prob(u) - log_det"},
    hint="You subtract the inverse's log-determinant. Minus goes with log|det ∂x/∂u|; `inverse` already returns log|det ∂u/∂x|.",
)
wrong(
    Flow,
    "log_det_of_last_layer",
    swap={"total = total + log_det": "total = log_det"},
    hint="Only one layer's log_det is left: a later one overwrites the earlier ones. The chain rule adds them.",
)
wrong(
    Flow,
    "log_det_dropped",
    swap={"log_prob(u) + log_det": "log_prob(u)"},
    hint="Your log_prob has no log-determinant: moving probability without it changes the total mass.",
)
wrong(
    Flow,
    "layers_in_plain_list",
    swap={"nn.ModuleList(transformations)": "list(transformations)"},
    hint="Layers in a plain Python list are invisible to parameters(): the loss would stay flat. Which container registers modules?",
)
wrong(
    Flow,
    "jacobians_at_the_end_point",
    swap={
        "u, log_det = T(u)\n            total = total + log_det\n        return u, total": "u, _ = T(u)\n        for T in self.transformations:\n            total = total + T(u)[1]\n        return u, total"
    },
    hint="Each layer's log_det is taken at the end point. A Jacobian belongs to the point where its own layer acts: where the previous layer arrived.",
)
wrong(
    Flow,
    "samples_stay_at_base",
    swap={"x, _ = self.forward(u)": "x = u"},
    hint="Your samples are the base's. They still have to flow through the layers.",
)
wrong(
    Flow,
    "samples_through_inverse",
    swap={"x, _ = self.forward(u)": "x, _ = self.inverse(u)"},
    hint="You push base samples through the inverse. Sampling goes from base to data.",
)
wrong(
    Flow,
    "sample_for_rsample",
    swap={
        "self.base().rsample(sample_shape)\n        x, _ = self.forward(u)\n        return x": "self.base().sample(sample_shape)\n        x, _ = self.forward(u)\n        return x.detach()"
    },
    hint="rsample gives the right numbers but no gradient: something on the way detaches it from the layers.",
)
wrong(
    Flow,
    "sample_keeps_gradient",
    swap={
        "with torch.no_grad():\n            return self.rsample(sample_shape)": "return self.rsample(sample_shape)"
    },
    hint="sample carries a gradient. torch's convention, and ours: sample without, rsample with.",
)
wrong(
    Flow,
    "standard_base_assumed",
    swap={"self.base().log_prob(u)": "(-0.5 * u**2 - 0.5 * math.log(2 * math.pi)).sum(-1)"},
    hint="You wrote the standard normal's density by hand. The flow was given a base: ask it.",
)
wrong(
    Flow,
    "mean_log_prob",
    swap={"return self.base().log_prob(u) + log_det": "return (self.base().log_prob(u) + log_det).mean()"},
    hint="log_prob averages over the batch. It returns one number per example; averaging is the loss's business.",
)
wrong(
    Flow,
    "base_at_x",
    swap={"self.base().log_prob(u)": "self.base().log_prob(x)"},
    hint="You ask the base about x. Its density is one of u: what does your inverse return first?",
)


# ---- alternating_masks -------------------------------------------------------------------------------------------


def alternating_masks(D, K):
    if D < 2:
        raise ValueError(f"expected D of at least 2, got {D}")
    b = (torch.arange(D) % 2).to(torch.get_default_dtype())
    masks = [b if k % 2 == 0 else 1 - b for k in range(K)]
    return torch.stack(masks)


wrong(
    alternating_masks,
    "flipped_instead_of_complement",
    swap={"else 1 - b": "else b.flip(0)"},
    hint="Flipping reverses the order. For D = 3 the mask 0, 1, 0 reversed is itself: two variables would never move. What is the complement of b?",
)
wrong(
    alternating_masks,
    "same_mask_every_time",
    swap={"b if k % 2 == 0 else 1 - b": "b"},
    hint="All masks are equal: the variables with mask 1 never move, however many layers you stack.",
)
wrong(
    alternating_masks,
    "boolean_masks",
    swap={".to(torch.get_default_dtype())": ".bool()", "else 1 - b": "else ~b"},
    hint="Boolean masks cannot be subtracted from 1 or multiplied with as the layer does: use floats.",
)
wrong(
    alternating_masks,
    "integer_masks",
    swap={".to(torch.get_default_dtype())": ""},
    hint="Integer masks: the layer multiplies by them and computes 1 − b in floating point. Which dtype do the nets work in?",
)
wrong(
    alternating_masks,
    "one_dimension_accepted",
    swap={'    if D < 2:\n        raise ValueError(f"expected D of at least 2, got {D}")\n': ""},
    hint="With D = 1 there is nothing to split: one mask is all ones, the other all zeros. Say so with a ValueError.",
)
wrong(
    alternating_masks,
    "transposed",
    swap={"torch.stack(masks)": "torch.stack(masks, dim=1)"},
    hint="The result is (D, K). One mask per row: (K, D).",
)
wrong(
    alternating_masks,
    "random_masks",
    swap={"b if k % 2 == 0 else 1 - b": "torch.bernoulli(torch.full((D,), 0.5))"},
    hint="Random masks can be all ones or all zeros, and a variable may be left out for many layers. Neighbors should be complements.",
)


# ---- the clinic --------------------------------------------------------------------------------------------------


def diagnose():
    return {
        "A": ["round trip"],
        "B": ["forward log_det", "inverse log_det"],
        "C": [],
        "D": ["inverse log_det"],
        "E": ["round trip", "inverse log_det"],
        "F": ["forward log_det"],
    }


wrong(
    diagnose,
    "cancelling_signs_called_healthy",
    swap={'"B": ["forward log_det", "inverse log_det"]': '"B": []'},
    hint="Patient B: the two log_dets add up to 0, and both are wrong. Compare each with its own Jacobian.",
)
wrong(
    diagnose,
    "right_log_det_called_invertible",
    swap={'"A": ["round trip"]': '"A": []'},
    hint="Patient A: both log_dets match the Jacobians to 1e-8, and still the inverse does not undo forward. The properties are independent.",
)
wrong(
    diagnose,
    "one_wrong_direction_blamed_on_both",
    swap={'"D": ["inverse log_det"]': '"D": ["forward log_det", "inverse log_det"]'},
    hint="Patient D: the two log_dets do not cancel, but that alone does not say which is wrong. Measure each against its own Jacobian.",
)


def is_valid_layer(forward, inverse, D):
    from flowlib.verify import numerical_jacobian

    points = torch.randn(64, D, dtype=torch.float64)
    for there, back in ((forward, inverse), (inverse, forward)):
        y, log_det = there(points)
        again, _ = back(y)
        if not torch.allclose(again, points, atol=1e-8):
            return False
        J = numerical_jacobian(lambda a, f=there: f(torch.as_tensor(a))[0].numpy(), points.numpy())
        expected = torch.linalg.slogdet(torch.as_tensor(J)).logabsdet
        if not torch.allclose(log_det, expected, atol=1e-5):
            return False
    return True


wrong(
    is_valid_layer,
    "only_sum_of_log_dets",
    code="""
def is_valid_layer(forward, inverse, D):
    points = torch.randn(64, D, dtype=torch.float64)
    x, log_det = forward(points)
    u, back_log_det = inverse(x)
    return bool(torch.allclose(u, points, atol=1e-8) and torch.allclose(log_det + back_log_det, torch.zeros(64).double(), atol=1e-8))
""",
    hint="Your test compares the log_dets with each other. Two wrong ones can cancel: compare each with a Jacobian that you compute yourself.",
)
wrong(
    is_valid_layer,
    "tests_at_the_origin",
    swap={"torch.randn(64, D, dtype=torch.float64)": "torch.zeros(1, D, dtype=torch.float64)"},
    hint="One special point is tested. A property that holds at the origin may fail everywhere else: draw many points.",
)
wrong(
    is_valid_layer,
    "round_trip_alone",
    code="""
def is_valid_layer(forward, inverse, D):
    points = torch.randn(64, D, dtype=torch.float64)
    return bool(torch.allclose(inverse(forward(points)[0])[0], points, atol=1e-8))
""",
    hint="Your test looks at the round trip alone. A layer can be invertible and report a wrong log_det.",
)
wrong(
    is_valid_layer,
    "forward_log_det_alone",
    swap={"((forward, inverse), (inverse, forward))": "((forward, inverse),)"},
    hint="Your test looks at one direction only. The log_det of inverse has a Jacobian of its own.",
)
wrong(
    is_valid_layer,
    "exact_equality",
    swap={"torch.allclose(again, points, atol=1e-8)": "torch.equal(again, points)"},
    hint="You ask for exact equality. exp, then its inverse, costs a few roundings even in a healthy layer: leave a tolerance.",
)
wrong(
    is_valid_layer,
    "signed_determinant",
    swap={"torch.linalg.slogdet(torch.as_tensor(J)).logabsdet": "torch.linalg.det(torch.as_tensor(J)).log()"},
    hint="You take the logarithm of the determinant with its sign. A healthy layer may mirror: what does the formula ask for?",
)
