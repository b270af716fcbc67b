"""What goes wrong in 07_autoregressive_flows."""

from __future__ import annotations

import torch
from torch import nn

from autograder_tests.catalogue import wrong

# ---- made_masks --------------------------------------------------------------------------------------------------


def made_masks(D, hidden):
    before = torch.arange(1, D + 1)
    masks = []
    for width in hidden:
        after = 1 + torch.arange(width) % max(1, D - 1)
        masks.append((after[:, None] >= before).float())
        before = after
    outputs = torch.arange(1, D + 1)
    masks.append((outputs[:, None] > before).float())
    return masks


wrong(
    made_masks,
    "output_sees_itself",
    swap={"outputs[:, None] > before": "outputs[:, None] >= before"},
    hint="The last mask keeps connections between equal degrees, so output i sees input i. Which of the inequalities must be strict?",
)
wrong(
    made_masks,
    "strict_everywhere",
    swap={"after[:, None] >= before": "after[:, None] > before"},
    hint="Every inequality is strict, so each layer loses one more variable: output 2 sees nothing at all. One strict step is enough.",
)
wrong(
    made_masks,
    "transposed",
    swap={
        "after[:, None] >= before": "after >= before[:, None]",
        "outputs[:, None] > before": "outputs > before[:, None]",
    },
    hint="Your masks are (inputs, outputs). They multiply weights of shape (outputs, inputs): a row for each unit that is fed.",
)
wrong(
    made_masks,
    "future_for_past",
    swap={
        "after[:, None] >= before": "D - after[:, None] < before",
        "outputs[:, None] > before": "outputs[:, None] < D + 1 - before",
    },
    hint="The order runs backwards: output i sees the inputs behind it. Variable i is to be computed from those before it.",
)
wrong(
    made_masks,
    "hidden_degrees_start_at_zero",
    swap={"1 + torch.arange(width) % max(1, D - 1)": "torch.arange(width) % max(1, D - 1)"},
    hint="Your hidden degrees run from 0 to D − 2. Which input does no hidden unit see then, although the last output may?",
)
wrong(
    made_masks,
    "masks_join_the_wrong_layers",
    swap={"        before = after\n": ""},
    hint="A mask joins two neighboring layers. The degrees on its input side are those of the layer before, not always those of the inputs.",
)
wrong(
    made_masks,
    "output_layer_forgotten",
    swap={"    masks.append((outputs[:, None] > before).float())\n": ""},
    hint="The last hidden layer feeds the outputs, and that layer of weights needs a mask, too: it is the strict one.",
)


# ---- MADE --------------------------------------------------------------------------------------------------------


class MADE(nn.Module):
    def __init__(self, masks, size):
        super().__init__()
        *hidden, last = masks
        self.masks = [*hidden, last.repeat(size, 1)]
        self.layers = nn.ModuleList([nn.Linear(m.shape[1], m.shape[0]) for m in self.masks])

    def forward(self, v):
        for k, (mask, layer) in enumerate(zip(self.masks, self.layers, strict=True)):
            v = nn.functional.linear(v, mask * layer.weight, layer.bias)
            if k + 1 < len(self.layers):
                v = torch.relu(v)
        return v


wrong(
    MADE,
    "masked_only_at_the_start",
    swap={
        "    def forward(self, v):\n": "        with torch.no_grad():\n            for mask, layer in zip(self.masks, self.layers, strict=True):\n                layer.weight.mul_(mask)\n\n    def forward(self, v):\n",
        "mask * layer.weight": "layer.weight",
    },
    hint="You set the forbidden weights to 0 once. The first training step moves them again: where must the mask stand so that it holds for any weights?",
)
wrong(
    MADE,
    "no_masks",
    swap={"mask * layer.weight": "layer.weight"},
    hint="The masks are never used: every output sees every input, as in an ordinary perceptron.",
)
wrong(
    MADE,
    "outputs_interleaved",
    swap={"last.repeat(size, 1)": "last.repeat_interleave(size, 0)"},
    hint="Your outputs of one variable stand side by side. Asked for are blocks of D: first the first output of every variable, then the second.",
)
wrong(
    MADE,
    "linear_network",
    swap={"            if k + 1 < len(self.layers):\n                v = torch.relu(v)\n": ""},
    hint="Nothing stands between the layers, so that their product is one linear map, whatever the depth.",
)
wrong(
    MADE,
    "activation_behind_the_last_layer",
    swap={
        "            if k + 1 < len(self.layers):\n                v = torch.relu(v)\n": "            v = torch.relu(v)\n"
    },
    hint="An activation follows the last layer as well, so no output is ever negative. Could such a log-scale shrink anything?",
)
wrong(
    MADE,
    "no_bias",
    swap={"nn.Linear(m.shape[1], m.shape[0])": "nn.Linear(m.shape[1], m.shape[0], bias=False)"},
    hint="Without biases the outputs of the first variable are 0 forever: no input reaches them. What can they be learned by?",
)
wrong(
    MADE,
    "layers_in_a_plain_list",
    swap={
        "nn.ModuleList([nn.Linear(m.shape[1], m.shape[0]) for m in self.masks])": "[nn.Linear(m.shape[1], m.shape[0]) for m in self.masks]"
    },
    hint="Layers in a Python list are not registered: no optimizer sees their parameters, and .double() does not reach them.",
)


# ---- MaskedAutoregressiveLayer -----------------------------------------------------------------------------------


class MaskedAutoregressiveLayer(nn.Module):
    def __init__(self, conditioner):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, u):
        D = u.shape[-1]
        x, log_det = torch.zeros_like(u), torch.zeros_like(u[..., 0])
        for i in range(D):
            s, t = self.conditioner(x).chunk(2, dim=-1)
            x = x.clone()
            x[..., i] = u[..., i] * torch.exp(s[..., i]) + t[..., i]
            log_det = log_det + s[..., i]
        return x, log_det

    def inverse(self, x):
        s, t = self.conditioner(x).chunk(2, dim=-1)
        u = (x - t) * torch.exp(-s)
        log_det = -s.sum(-1)
        return u, log_det


wrong(
    MaskedAutoregressiveLayer,
    "forward_looks_at_the_base",
    swap={
        "self.conditioner(x).chunk(2, dim=-1)\n            x = x.clone()": "self.conditioner(u).chunk(2, dim=-1)\n            x = x.clone()"
    },
    hint="Your forward feeds the network u, your inverse feeds it x: two different functions. Which of the two does this layer look at, in both directions?",
)
wrong(
    MaskedAutoregressiveLayer,
    "inverse_autoregressive_instead",
    code="""
class MaskedAutoregressiveLayer(nn.Module):
    def __init__(self, conditioner):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, u):
        s, t = self.conditioner(u).chunk(2, dim=-1)
        return u * torch.exp(s) + t, s.sum(-1)

    def inverse(self, x):
        u, log_det = torch.zeros_like(x), torch.zeros_like(x[..., 0])
        for i in range(x.shape[-1]):
            s, t = self.conditioner(u).chunk(2, dim=-1)
            u = u.clone()
            u[..., i] = (x[..., i] - t[..., i]) * torch.exp(-s[..., i])
            log_det = log_det - s[..., i]
        return u, log_det
""",
    hint="This is a correct layer, and the other one: its network looks at the base variables, so it samples in one pass. Here it is to look at the data.",
)
wrong(
    MaskedAutoregressiveLayer,
    "all_variables_in_the_first_pass",
    swap={"for i in range(D):": "for i in [slice(None)]:", "log_det + s[..., i]": "log_det + s.sum(-1)"},
    hint="One pass on zeros sets all variables. The parameters of x_3 look at x_1 and x_2: when are those known?",
)
wrong(
    MaskedAutoregressiveLayer,
    "last_pass_forgotten",
    swap={
        "for i in range(D):": "for _ in range(D - 1):",
        "            x = x.clone()\n            x[..., i] = u[..., i] * torch.exp(s[..., i]) + t[..., i]\n            log_det = log_det + s[..., i]\n": "            x, log_det = u * torch.exp(s) + t, s.sum(-1)\n",
    },
    hint="Each pass makes one more variable right: the first x_1, the second x_2. After D − 1 of them one variable still waits. And even x_1 needs a pass, for its constants.",
)
wrong(
    MaskedAutoregressiveLayer,
    "log_det_from_the_base",
    swap={
        "            log_det = log_det + s[..., i]\n        return x, log_det\n": "        log_det = self.conditioner(u).chunk(2, dim=-1)[0].sum(-1)\n        return x, log_det\n"
    },
    hint="Your x is right, and your log_det takes s at another point: at u. Sum the same s_i that scaled the variables, made from x_<i.",
)
wrong(
    MaskedAutoregressiveLayer,
    "passes_see_zeros_only",
    swap={
        "        for i in range(D):\n            s, t = self.conditioner(x)": "        nothing = torch.zeros_like(u)\n        for i in range(D):\n            s, t = self.conditioner(nothing)"
    },
    hint="Every pass is fed zeros, so no variable ever hears of those before it. What is known of x when variable i is computed?",
)
wrong(
    MaskedAutoregressiveLayer,
    "inverse_in_wrong_order",
    swap={"(x - t) * torch.exp(-s)": "(x * torch.exp(-s) - t)"},
    hint="Forward scales, then translates. Undo the last step first: subtract, then unscale.",
)
wrong(
    MaskedAutoregressiveLayer,
    "inverse_log_det_sign",
    swap={"log_det = -s.sum(-1)": "log_det = s.sum(-1)"},
    hint="The log_det of your inverse is the forward map's. `inverse` reports log|det ∂u/∂x|: what happens to a log-determinant when the map is inverted?",
)
wrong(
    MaskedAutoregressiveLayer,
    "both_signs_flipped",
    swap={"log_det + s[..., i]": "log_det - s[..., i]", "log_det = -s.sum(-1)": "log_det = s.sum(-1)"},
    hint="Both signs are flipped: forward reports the inverse's log-determinant. They cancel each other, so no round trip shows it; the Jacobian does.",
)
wrong(
    MaskedAutoregressiveLayer,
    "log_det_adds_every_pass",
    swap={"log_det + s[..., i]": "log_det + s.sum(-1)"},
    hint="Each of the D passes adds the log-scales of all variables. A pass is good for one variable, and so is its log-scale.",
)
wrong(
    MaskedAutoregressiveLayer,
    "log_det_sums_batch",
    swap={"log_det + s[..., i]": "log_det + s[..., i].sum()", "-s.sum(-1)": "-s.sum()"},
    hint="You sum over the whole batch. Each example has a log-determinant of its own, shape (*batch,).",
)
wrong(
    MaskedAutoregressiveLayer,
    "inverse_variable_by_variable",
    code="""
class MaskedAutoregressiveLayer(nn.Module):
    def __init__(self, conditioner):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, u):
        x, log_det = torch.zeros_like(u), torch.zeros_like(u[..., 0])
        for i in range(u.shape[-1]):
            s, t = self.conditioner(x).chunk(2, dim=-1)
            x = x.clone()
            x[..., i] = u[..., i] * torch.exp(s[..., i]) + t[..., i]
            log_det = log_det + s[..., i]
        return x, log_det

    def inverse(self, x):
        u, log_det = torch.zeros_like(x), torch.zeros_like(x[..., 0])
        for i in range(x.shape[-1]):
            s, t = self.conditioner(x).chunk(2, dim=-1)
            u[..., i] = (x[..., i] - t[..., i]) * torch.exp(-s[..., i])
            log_det = log_det - s[..., i]
        return u, log_det
""",
    hint="Right values, and D passes of the network for them. All of x is known from the start: what does the second pass find out that the first one did not?",
)
wrong(
    MaskedAutoregressiveLayer,
    "scale_and_translation_swapped",
    swap={"s, t = self.conditioner(x)": "t, s = self.conditioner(x)"},
    hint="The first D outputs of the conditioner are the log-scales s, the last D the translations t. You read them the other way round.",
)
wrong(
    MaskedAutoregressiveLayer,
    "outputs_read_interleaved",
    swap={
        "s, t = self.conditioner(x).chunk(2, dim=-1)": "s, t = self.conditioner(x)[..., ::2], self.conditioner(x)[..., 1::2]"
    },
    hint="You take every other output as s. The conditioner gives blocks: all D log-scales first, then all D translations.",
)
wrong(
    MaskedAutoregressiveLayer,
    "only_for_two_axes",
    swap={"chunk(2, dim=-1)": "chunk(2, dim=1)", "-s.sum(-1)": "-s.sum(1)"},
    hint="Axis 1 is the variables' axis only when the input is (B, D). Count from the end: the variables are always the last axis.",
)


# ---- InverseAutoregressiveLayer ----------------------------------------------------------------------------------


class InverseAutoregressiveLayer(nn.Module):
    def __init__(self, conditioner):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, u):
        s, t = self.conditioner(u).chunk(2, dim=-1)
        x = u * torch.exp(s) + t
        log_det = s.sum(-1)
        return x, log_det

    def inverse(self, x):
        D = x.shape[-1]
        u, log_det = torch.zeros_like(x), torch.zeros_like(x[..., 0])
        for i in range(D):
            s, t = self.conditioner(u).chunk(2, dim=-1)
            u = u.clone()
            u[..., i] = (x[..., i] - t[..., i]) * torch.exp(-s[..., i])
            log_det = log_det - s[..., i]
        return u, log_det


wrong(
    InverseAutoregressiveLayer,
    "inverse_looks_at_the_data",
    swap={
        "self.conditioner(u).chunk(2, dim=-1)\n            u = u.clone()": "self.conditioner(x).chunk(2, dim=-1)\n            u = u.clone()"
    },
    hint="Your forward feeds the network u, your inverse feeds it x. The network of this layer looks at the base variables, in both directions.",
)
wrong(
    InverseAutoregressiveLayer,
    "masked_autoregressive_instead",
    code="""
class InverseAutoregressiveLayer(nn.Module):
    def __init__(self, conditioner):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, u):
        x, log_det = torch.zeros_like(u), torch.zeros_like(u[..., 0])
        for i in range(u.shape[-1]):
            s, t = self.conditioner(x).chunk(2, dim=-1)
            x = x.clone()
            x[..., i] = u[..., i] * torch.exp(s[..., i]) + t[..., i]
            log_det = log_det + s[..., i]
        return x, log_det

    def inverse(self, x):
        s, t = self.conditioner(x).chunk(2, dim=-1)
        return (x - t) * torch.exp(-s), -s.sum(-1)
""",
    hint="This is a correct layer, and the one of the exercise before: its network looks at the data, so that samples come one variable at a time.",
)
wrong(
    InverseAutoregressiveLayer,
    "log_det_of_inverse_positive",
    swap={"log_det - s[..., i]": "log_det + s[..., i]"},
    hint="The way back shrinks what the way there stretched. Which sign has its log-determinant?",
)
wrong(
    InverseAutoregressiveLayer,
    "inverse_unscales_first",
    swap={"(x[..., i] - t[..., i]) * torch.exp(-s[..., i])": "x[..., i] * torch.exp(-s[..., i]) - t[..., i]"},
    hint="Forward multiplies, then adds. Undo the last step first: subtract, then divide.",
)
wrong(
    InverseAutoregressiveLayer,
    "forward_variable_by_variable",
    swap={
        "        s, t = self.conditioner(u).chunk(2, dim=-1)\n        x = u * torch.exp(s) + t\n        log_det = s.sum(-1)": "        x, log_det = torch.zeros_like(u), torch.zeros_like(u[..., 0])\n        for i in range(u.shape[-1]):\n            s, t = self.conditioner(u).chunk(2, dim=-1)\n            x[..., i] = u[..., i] * torch.exp(s[..., i]) + t[..., i]\n            log_det = log_det + s[..., i]"
    },
    hint="Right values, and D passes for them. All of u is known from the start, so every pass gives the same s and t.",
)
wrong(
    InverseAutoregressiveLayer,
    "inverse_in_a_single_pass",
    swap={"for i in range(D):": "for i in [slice(None)]:", "log_det - s[..., i]": "log_det - s.sum(-1)"},
    hint="Your inverse takes one pass, on zeros. The parameters of variable 3 look at u_1 and u_2, which have to be found first.",
)
wrong(
    InverseAutoregressiveLayer,
    "translation_before_scale",
    swap={
        "u * torch.exp(s) + t": "(u + t) * torch.exp(s)",
        "(x[..., i] - t[..., i]) * torch.exp(-s[..., i])": "x[..., i] * torch.exp(-s[..., i]) - t[..., i]",
    },
    hint="You translate, then scale: an invertible layer, but not this one. In the formula t is added after the scaling.",
)


# ---- find_the_error ----------------------------------------------------------------------------------------------


def find_the_error():
    return {"A": False, "B": False, "C": True, "D": False, "E": True, "F": True}


wrong(
    find_the_error,
    "believes_the_text",
    swap={'"A": False, "B": False': '"A": True, "B": True', '"D": False': '"D": True'},
    hint="You agree with everything. The text has exchanged the two layers: for each claim ask what the network looks at, and whether that is known at the start.",
)
wrong(
    find_the_error,
    "maf_right_iaf_believed",
    swap={'"D": False': '"D": True'},
    hint="An IAF's network looks at u. When x is given, what is known of u at the start?",
)
wrong(
    find_the_error,
    "maf_believed_to_sample_in_parallel",
    swap={'"B": False': '"B": True'},
    hint="A MAF's network looks at the data before variable i. When a sample is drawn, is that known at the start?",
)
wrong(
    find_the_error,
    "iaf_density_of_own_samples_believed_dear",
    swap={'"E": True': '"E": False'},
    hint="The density of data from elsewhere is dear for an IAF. For its own samples, which u they came from is known: it has drawn them.",
)
wrong(
    find_the_error,
    "coupling_set_apart",
    swap={'"F": True': '"F": False'},
    hint="In a coupling layer the moved variables look at the kept ones and at none of each other. Is there an order in which nobody looks ahead?",
)


# ---- sequential_passes -------------------------------------------------------------------------------------------


def sequential_passes(A):
    known = torch.zeros(len(A), dtype=torch.bool)
    passes = 0
    while not known.all():
        ready = (A[:, ~known] == 0).all(dim=1)
        if torch.equal(ready, known):
            raise ValueError("variables wait for each other")
        known = ready
        passes += 1
    return passes


wrong(
    sequential_passes,
    "one_pass_a_variable",
    swap={"    return passes": "    return len(A)"},
    hint="You count variables. Variables that do not wait for each other share a pass: how many has a coupling layer?",
)
wrong(
    sequential_passes,
    "off_by_one",
    swap={"    return passes": "    return passes - 1"},
    hint="You count the waiting. Variables that look at nobody need a pass, too, the first one.",
)
wrong(
    sequential_passes,
    "counts_how_many_are_looked_at",
    swap={"    return passes": "    return 1 + int(A.sum(1).max())"},
    hint="You count how many variables a variable looks at. They may all be known after the same pass; what counts is the longest chain of waiting.",
)
wrong(
    sequential_passes,
    "only_the_natural_order",
    swap={
        "    passes = 0\n": "    passes = 0\n    if torch.triu(A).any():\n        raise ValueError('not lower triangular')\n"
    },
    hint="You refuse every pattern that is not lower triangular. A reversed order is an order, too: is there a cycle?",
)
wrong(
    sequential_passes,
    "cycles_unnoticed",
    swap={'            raise ValueError("variables wait for each other")\n': "            break\n"},
    hint="When a pass brings nothing new and variables are left, they wait for each other forever. Say so with a ValueError.",
)
wrong(
    sequential_passes,
    "rank_of_the_dependencies",
    swap={"    return passes": "    return 1 + int(torch.linalg.matrix_rank(A))"},
    hint="You count independent rows of A: how many different ways to look, and not how long the chain of waiting is. Two variables may look at different ones in the same pass.",
)
wrong(
    sequential_passes,
    "each_waits_for_its_neighbor_alone",
    swap={"    return passes": "    return 1 + int(torch.diagonal(A, -1).sum())"},
    hint="You look at neighbors in the list alone. A variable may wait for one far away, and the list may be in any order.",
)


# ---- AutoregressiveBernoulli -------------------------------------------------------------------------------------


class AutoregressiveBernoulli(nn.Module):
    def __init__(self, conditioner, D):
        super().__init__()
        self.conditioner = conditioner
        self.D = D

    def log_prob(self, x):
        logits = self.conditioner(x)
        log_p = nn.functional.logsigmoid(logits)
        log_not_p = nn.functional.logsigmoid(-logits)
        return (x * log_p + (1 - x) * log_not_p).sum(-1)

    def sample(self, n):
        x = torch.zeros(n, self.D)
        for i in range(self.D):
            p = torch.sigmoid(self.conditioner(x)[:, i])
            x[:, i] = torch.bernoulli(p)
        return x


wrong(
    AutoregressiveBernoulli,
    "only_ones_count",
    swap={"(x * log_p + (1 - x) * log_not_p)": "(x * log_p)"},
    hint="A zero has a probability as well: where x_i = 0 your sum leaves out log(1 − p_i), and the total over all x is above 1.",
)
wrong(
    AutoregressiveBernoulli,
    "logarithm_of_a_rounded_probability",
    swap={
        "nn.functional.logsigmoid(logits)": "torch.sigmoid(logits).log()",
        "nn.functional.logsigmoid(-logits)": "(1 - torch.sigmoid(logits)).log()",
    },
    hint="sigmoid(200) is 1 to the last digit, so 1 − p is 0 and its logarithm −∞. Work with the logits, not with probabilities.",
)
wrong(
    AutoregressiveBernoulli,
    "epsilon_in_the_logarithm",
    swap={
        "nn.functional.logsigmoid(logits)": "(torch.sigmoid(logits) + 1e-8).log()",
        "nn.functional.logsigmoid(-logits)": "(1 - torch.sigmoid(logits) + 1e-8).log()",
    },
    hint="The small number under your logarithm keeps it finite, and makes it wrong: every surprise costs at most −log of that number, and the probabilities sum to more than 1. Work with the logits instead.",
)
wrong(
    AutoregressiveBernoulli,
    "mean_over_variables",
    swap={".sum(-1)": ".mean(-1)"},
    hint="You average over the variables. The probability is a product over them, so its logarithm is a sum.",
)
wrong(
    AutoregressiveBernoulli,
    "negative_log_likelihood",
    swap={"return (x * log_p + (1 - x) * log_not_p)": "return -(x * log_p + (1 - x) * log_not_p)"},
    hint="A log-probability of discrete data is never positive. A loss function of PyTorch returns its negative.",
)
wrong(
    AutoregressiveBernoulli,
    "sums_over_the_batch",
    swap={".sum(-1)": ".sum()"},
    hint="One number for the whole batch: each example has a probability of its own. Sum over the variables alone.",
)
wrong(
    AutoregressiveBernoulli,
    "samples_from_a_single_pass",
    swap={
        "        for i in range(self.D):\n            p = torch.sigmoid(self.conditioner(x)[:, i])\n            x[:, i] = torch.bernoulli(p)\n": "        x = torch.bernoulli(torch.sigmoid(self.conditioner(x)))\n"
    },
    hint="All variables are drawn at once, each as if those before it were 0. Variable i has to hear what has been drawn before it.",
)
wrong(
    AutoregressiveBernoulli,
    "redraws_all_in_every_pass",
    swap={
        "            p = torch.sigmoid(self.conditioner(x)[:, i])\n            x[:, i] = torch.bernoulli(p)\n": "            x = torch.bernoulli(torch.sigmoid(self.conditioner(x)))\n"
    },
    hint="Every pass draws all variables anew. A later variable has then looked at values that are no longer there.",
)
wrong(
    AutoregressiveBernoulli,
    "probabilities_fed_back",
    swap={
        "            x[:, i] = torch.bernoulli(p)\n        return x": "            x[:, i] = p\n        return torch.bernoulli(x)"
    },
    hint="You feed back probabilities and draw at the end. Then no variable hears what the others have become, only what they might: toss each coin before the next pass.",
)
wrong(
    AutoregressiveBernoulli,
    "rounds_instead_of_drawing",
    swap={"torch.bernoulli(p)": "(p > 0.5).to(x.dtype)"},
    hint="You take the more likely value each time: the same vector for every sample. A sample is drawn with probability p.",
)


# ---- distillation_loss -------------------------------------------------------------------------------------------


def distillation_loss(student, teacher, num_samples):
    base = student.base()
    u = base.rsample((num_samples,))
    x, log_det = student.forward(u)
    log_q = base.log_prob(u) - log_det
    log_p = teacher.log_prob(x)
    return (log_q - log_p).mean()


wrong(
    distillation_loss,
    "maximum_likelihood_instead",
    code="""
def distillation_loss(student, teacher, num_samples):
    x = teacher.sample((num_samples,))
    return (teacher.log_prob(x) - student.log_prob(x)).mean()
""",
    hint="You draw from the teacher: this is KL(teacher ‖ student), and both its sampling and its density take the slow direction. Who draws in KL(student ‖ teacher)?",
)
wrong(
    distillation_loss,
    "draws_without_gradient",
    swap={"x, log_det = student.forward(u)": "x, log_det = student.forward(u)\n    x = x.detach()"},
    hint="The value is right, and the gradient stops at the draws: the student never learns where the teacher's density is high.",
)
wrong(
    distillation_loss,
    "teacher_without_gradient",
    swap={
        "    log_p = teacher.log_prob(x)\n": "    with torch.no_grad():\n        log_p = teacher.log_prob(x)\n"
    },
    hint="The teacher's parameters must stay, but its log-density is the student's way to learn: the gradient has to pass through it to x.",
)
wrong(
    distillation_loss,
    "log_det_sign",
    swap={"base.log_prob(u) - log_det": "base.log_prob(u) + log_det"},
    hint="Where forward stretches, density is thinned. forward returns log|det ∂x/∂u|: with which sign does it enter log q(x)?",
)
wrong(
    distillation_loss,
    "log_det_forgotten",
    swap={"base.log_prob(u) - log_det": "base.log_prob(u)"},
    hint="The density of u is not that of x: by how much has the student stretched space there?",
)
wrong(
    distillation_loss,
    "base_density_at_x",
    swap={"base.log_prob(u) - log_det": "base.log_prob(x) - log_det"},
    hint="You ask the base for its density at x. The base drew u: x is where the student carried it.",
)
wrong(
    distillation_loss,
    "teacher_scores_the_noise",
    swap={"teacher.log_prob(x)": "teacher.log_prob(u)"},
    hint="The teacher scores the noise u. What the student draws, and what the teacher knows about, is x.",
)
wrong(
    distillation_loss,
    "density_through_the_inverse",
    swap={"log_q = base.log_prob(u) - log_det": "log_q = student.log_prob(x)"},
    hint="Value and gradient are right, and the student's inverse is asked where its own sample came from. It was drawn two lines above.",
)
wrong(
    distillation_loss,
    "entropy_forgotten",
    swap={"(log_q - log_p).mean()": "(-log_p).mean()"},
    hint="Only the teacher's density is left. It is largest at a single point: what keeps the student from putting all its samples there?",
)
wrong(
    distillation_loss,
    "sign_flipped",
    swap={"(log_q - log_p).mean()": "(log_p - log_q).mean()"},
    hint="A divergence is not negative on average. Minimizing its negative drives the student away from the teacher.",
)
wrong(
    distillation_loss,
    "sum_over_samples",
    swap={"(log_q - log_p).mean()": "(log_q - log_p).sum()"},
    hint="You sum over the draws, so that the loss grows with their number. An expectation is estimated by a mean.",
)
