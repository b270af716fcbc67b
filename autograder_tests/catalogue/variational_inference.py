"""What goes wrong in 08_variational_inference."""

from __future__ import annotations

import sympy as sp
import torch

from autograder_tests.catalogue import wrong

# ---- planar_determinant ----------------------------------------------------------------------------------------------


def planar_determinant(u, v, w, b):
    a = sum(wi * ui for wi, ui in zip(w, u, strict=True)) + b
    slope = 1 - sp.tanh(a) ** 2
    return 1 + slope * sum(wi * vi for wi, vi in zip(w, v, strict=True))


wrong(
    planar_determinant,
    "slope_forgotten",
    swap={"slope * sum": "sum"},
    hint="This is det(I + v wᵀ), right for the map u + v·wᵀu. Between v and w there is a tanh: what does the chain rule "
    "multiply the matrix by?",
)
wrong(
    planar_determinant,
    "value_for_slope",
    swap={"1 - sp.tanh(a) ** 2": "sp.tanh(a)"},
    hint="tanh itself stands where its derivative belongs. Differentiate tanh(wᵀu + b) by u_j.",
)
wrong(
    planar_determinant,
    "identity_forgotten",
    swap={"return 1 + slope": "return slope"},
    hint="At v = 0 the map is the identity, whose determinant is 1. Yours is 0 there.",
)
wrong(
    planar_determinant,
    "diagonal_alone",
    code="""
def planar_determinant(u, v, w, b):
    a = sum(wi * ui for wi, ui in zip(w, u)) + b
    slope = 1 - sp.tanh(a) ** 2
    return sp.prod([1 + slope * wi * vi for wi, vi in zip(w, v)])
""",
    hint="You multiplied the diagonal entries of the Jacobian. That is the determinant of a triangular matrix; v wᵀ is full. "
    "Do the sum and the product agree for D = 1, and for D = 2?",
)
wrong(
    planar_determinant,
    "sums_multiplied",
    swap={"sum(wi * vi for wi, vi in zip(w, v, strict=True))": "sum(w) * sum(v)"},
    hint="You multiplied the sum of w by the sum of v: all entries of the matrix v wᵀ added up. The lemma has its trace.",
)
wrong(
    planar_determinant,
    "logarithm_for_the_determinant",
    swap={
        "return 1 + slope * sum(wi * vi for wi, vi in zip(w, v, strict=True))": "return sp.log(sp.Abs(1 + slope * sum(wi * vi for wi, vi in zip(w, v, strict=True))))"
    },
    hint="This is the logarithm of the determinant, which a layer reports. Here the determinant itself is asked for.",
)
wrong(
    planar_determinant,
    "square_forgotten",
    swap={"sp.tanh(a) ** 2": "sp.tanh(a)"},
    hint="Your slope of tanh is 2 far on the left, where tanh is flat. How does its derivative look in terms of tanh?",
)
wrong(
    planar_determinant,
    "offset_forgotten",
    swap={" + b": ""},
    hint="Where is b? It does not scale the map, but it decides where on tanh a point lies.",
)


# ---- constrain -------------------------------------------------------------------------------------------------------


def constrain(v, w):
    product = (w * v).sum(-1, keepdim=True)
    wanted = torch.nn.functional.softplus(product) - 1
    return v + (wanted - product) * w / (w * w).sum(-1, keepdim=True)


wrong(
    constrain,
    "clamped_at_the_limit",
    swap={"torch.nn.functional.softplus(product) - 1": "product.clamp_min(-1)"},
    hint="Your wᵀv̂ can be −1 exactly. There the slope of the map is 0 at one point and the density infinite. And what gradient "
    "does a clamp pass on, once it holds?",
)
wrong(
    constrain,
    "clamped_above_the_limit",
    swap={"torch.nn.functional.softplus(product) - 1": "product.clamp_min(-1 + 1e-3)"},
    hint="Your wᵀv̂ keeps clear of −1, by a clamp. Where the clamp holds, the optimizer gets no gradient back to wᵀv and never leaves. m(c) is smooth: which function is it?",
)
wrong(
    constrain,
    "stretched_along_v",
    swap={"v + (wanted - product) * w / (w * w).sum(-1, keepdim=True)": "v * wanted / product"},
    hint="You scale v as a whole. Then wᵀv̂ is right, and the part of v perpendicular to w, which hurts nobody, changes too (and wᵀv = 0 divides by zero). Which direction alone needs a correction?",
)
wrong(
    constrain,
    "length_not_squared",
    swap={"(w * w).sum(-1, keepdim=True)": "w.norm(dim=-1, keepdim=True)"},
    hint="To change wᵀv by δ, v must move by how much along w? Multiply your correction by w once more: the length of w comes in "
    "twice.",
)
wrong(
    constrain,
    "length_forgotten",
    swap={" / (w * w).sum(-1, keepdim=True)": ""},
    hint="Your correction is right for a w of length 1 alone.",
)
wrong(
    constrain,
    "old_product_kept",
    swap={"(wanted - product) * w": "wanted * w"},
    hint="You add what wᵀv̂ should be to what wᵀv is already. Which part of v has to be taken away first?",
)
wrong(
    constrain,
    "minus_one_forgotten",
    swap={" - 1\n": "\n"},
    hint="Your wᵀv̂ is always positive. Maps with −1 < wᵀv̂ < 0, which pull points together, have an inverse, too, and are lost.",
)
wrong(
    constrain,
    "sign_flipped",
    swap={"return v + (": "return v - ("},
    hint="The correction has the wrong sign: compute wᵀv̂ from your formula, by hand.",
)
wrong(
    constrain,
    "entry_by_entry",
    code="""
def constrain(v, w):
    product = w * v
    return v + (torch.nn.functional.softplus(product) - 1 - product) / w
""",
    hint="You constrain every w_i v_i on its own. One number is constrained, the sum wᵀv; the part of v perpendicular to w is free.",
)
wrong(
    constrain,
    "overflow",
    swap={"torch.nn.functional.softplus(product)": "torch.log(1 + torch.exp(product))"},
    hint="exp(800) is infinite. log(1 + exp(a)) is nearly a for large a: which function of torch computes it without the "
    "exponential getting in the way?",
)
wrong(
    constrain,
    "summed_over_the_batch",
    swap={"(w * v).sum(-1, keepdim=True)": "(w * v).sum()"},
    hint="One product wᵀv for the whole batch. Each example has a w and a v of its own: sum over the last axis.",
)


# ---- planar_forward --------------------------------------------------------------------------------------------------


def planar_forward(u, v, w, b):
    a = (w * u).sum(-1) + b
    amount = torch.tanh(a)
    z = u + v * amount.unsqueeze(-1)
    log_det = torch.log(1 + (1 - amount**2) * (w * v).sum(-1))
    return z, log_det


wrong(
    planar_forward,
    "slope_forgotten",
    swap={"1 + (1 - amount**2) * (w * v).sum(-1)": "1 + 0 * amount + (w * v).sum(-1)"},
    hint="Your log_det is the same everywhere. Far from the plane wᵀu + b = 0 tanh is flat and the map only shifts points: what is "
    "the determinant there?",
)
wrong(
    planar_forward,
    "square_forgotten",
    swap={"(1 - amount**2)": "(1 - amount)"},
    hint="1 − tanh(a) lies between 0 and 2. The slope of tanh is never above 1: which power of tanh belongs there?",
)
wrong(
    planar_forward,
    "constrained_again",
    swap={
        "    a = (w": "    product = (w * v).sum(-1, keepdim=True)\n    v = v + (torch.nn.functional.softplus(product) - 1 - product) * w / (w * w).sum(-1, keepdim=True)\n    a = (w"
    },
    hint="Layer and log_det agree, but it is not the layer asked for: your v is not the one that was given. It fulfills the constraint already; constrained twice it is another.",
)
wrong(
    planar_forward,
    "value_for_slope",
    swap={"(1 - amount**2)": "amount"},
    hint="The Jacobian has the derivative of tanh in it, not tanh.",
)
wrong(
    planar_forward,
    "log_det_of_the_inverse",
    swap={"log_det = torch.log": "log_det = -torch.log"},
    hint="This is log|det ∂u/∂z|. forward goes from u to z: which way does its arrow point?",
)
wrong(
    planar_forward,
    "determinant_for_its_logarithm",
    swap={"torch.log(1 + (1 - amount**2) * (w * v).sum(-1))": "1 + (1 - amount**2) * (w * v).sum(-1)"},
    hint="This is the determinant. Its logarithm is asked for, so that layers add up.",
)
wrong(
    planar_forward,
    "slope_after_the_move",
    swap={"    log_det =": "    amount = torch.tanh((w * z).sum(-1) + b)\n    log_det ="},
    hint="The Jacobian ∂z/∂u is a function of u, the point before the move. You take the slope at z.",
)
wrong(
    planar_forward,
    "directions_swapped",
    swap={"u + v * amount": "u + w * amount"},
    hint="Points move along v; w only measures where they are.",
)
wrong(
    planar_forward,
    "offset_forgotten",
    swap={"(w * u).sum(-1) + b": "(w * u).sum(-1) + 0 * b"},
    hint="b is not used: the plane of every map goes through the origin.",
)
wrong(
    planar_forward,
    "identity_forgotten",
    swap={"z = u + v": "z = v"},
    hint="Only the move is left: all points land on the line along v. What is the map for v = 0?",
)
wrong(
    planar_forward,
    "one_log_det_for_the_batch",
    swap={"(w * v).sum(-1))\n": "(w * v).sum(-1)).sum()\n"},
    hint="You added up the log-determinants of all examples. Each has its own, shape (*batch,).",
)
wrong(
    planar_forward,
    "matrix_product",
    swap={"(w * u).sum(-1)": "u @ w"},
    hint="`u @ w` is right as long as one w serves all examples. An encoder gives every example its own, (B, D): multiply entry by "
    "entry and sum over the last axis.",
)


# ---- planar_inverse --------------------------------------------------------------------------------------------------


def planar_inverse(z, v, w, b):
    product = (w * v).sum(-1)
    y = (w * z).sum(-1) + b
    with torch.no_grad():
        low, high = y - product.abs(), y + product.abs()
        for _ in range(100):
            a = (low + high) / 2
            below = a + product * torch.tanh(a) < y
            low, high = torch.where(below, a, low), torch.where(below, high, a)
    amount = torch.tanh(a)
    a = a - (a + product * amount - y) / (1 + product * (1 - amount**2))
    amount = torch.tanh(a)
    u = z - v * amount.unsqueeze(-1)
    return u, -torch.log(1 + (1 - amount**2) * product)


wrong(
    planar_inverse,
    "gradient_of_the_search",
    swap={
        "    with torch.no_grad():\n": "    if True:\n",
        "    a = a - (a + product * amount - y) / (1 + product * (1 - amount**2))\n": "",
    },
    hint="The values are right, the gradient is that of the bracket you started from: a bisection only compares, and comparisons "
    "have no derivative. What is da/dy, if a + wᵀv tanh(a) = y?",
)
wrong(
    planar_inverse,
    "no_gradient_through_the_root",
    swap={"    a = a - (a + product * amount - y) / (1 + product * (1 - amount**2))\n": ""},
    hint="The root found under no_grad is a constant to autograd. It depends on z, v, w and b: one step of Newton's method outside "
    "the search would tell it how.",
)
wrong(
    planar_inverse,
    "no_gradient_at_all",
    swap={
        "    amount = torch.tanh(a)\n    u = z": "    amount = torch.tanh(a).detach()\n    z, v, product = z.detach(), v.detach(), "
        "product.detach()\n    u = z"
    },
    hint="Nothing in your answer carries a gradient. A flow that is trained through its inverse would not learn.",
)
wrong(
    planar_inverse,
    "fixed_bracket",
    swap={
        "y - product.abs(), y + product.abs()": "torch.full_like(y, -10.0), torch.full_like(y, 10.0)",
        "    a = a - (a + product * amount - y) / (1 + product * (1 - amount**2))\n": "",
    },
    hint="Your search looks between two fixed numbers. For z far away the root lies outside: how far from y = wᵀz + b can it be, if "
    "tanh is between −1 and 1?",
)
wrong(
    planar_inverse,
    "fixed_point_iteration",
    swap={
        "            a = (low + high) / 2\n            below = a + product * torch.tanh(a) < y\n            low, high = torch.where(below, a, low), torch.where(below, high, a)\n": "            a = y - product * torch.tanh(y if _ == 0 else a)\n",
    },
    hint="You repeat a ← y − wᵀv tanh(a). That contracts only where |wᵀv| tanh′(a) < 1; for larger wᵀv it runs back and forth forever. A bracket that is halved cannot miss.",
)
wrong(
    planar_inverse,
    "newton_without_a_bracket",
    code="""
def planar_inverse(z, v, w, b):
    product = (w * v).sum(-1)
    y = (w * z).sum(-1) + b
    a = y
    for _ in range(50):
        a = a - (a + product * torch.tanh(a) - y) / (1 + product * (1 - torch.tanh(a) ** 2))
    amount = torch.tanh(a)
    u = z - v * amount.unsqueeze(-1)
    return u, -torch.log(1 + (1 - amount**2) * product)
""",
    hint="Newton's method from y is fast where f is nearly straight. For large wᵀv the slope changes so much that it jumps across the root and back. Search in a bracket first; one Newton step at the end is safe.",
)
wrong(
    planar_inverse,
    "product_forgotten",
    swap={
        "a + product * torch.tanh(a) < y": "a + torch.tanh(a) < y",
        "(a + product * amount - y)": "(a + amount - y)",
    },
    hint="Multiply z = u + v tanh(a) by wᵀ and add b: which number stands before tanh(a)?",
)
wrong(
    planar_inverse,
    "wrong_half_kept",
    swap={"< y\n": "> y\n"},
    hint="Your search runs to an end of the bracket. If the function's value is below y and it increases, on which side is the root?",
)
wrong(
    planar_inverse,
    "forward_once_more",
    swap={"u = z - v": "u = z + v"},
    hint="You make the move again. The inverse takes it back.",
)
wrong(
    planar_inverse,
    "amount_at_z",
    swap={"    u = z - v": "    amount = torch.tanh(y)\n    u = z - v"},
    hint="The amount was tanh(wᵀu + b), with the u that you are looking for. You put in wᵀz + b.",
)
wrong(
    planar_inverse,
    "log_det_of_forward",
    swap={"return u, -torch.log": "return u, torch.log"},
    hint="This is log|det ∂z/∂u|. The inverse goes from z to u, and its log-determinant has the other sign.",
)
wrong(
    planar_inverse,
    "search_stopped_early",
    swap={
        "range(100)": "range(8)",
        "    a = a - (a + product * amount - y) / (1 + product * (1 - amount**2))\n": "",
    },
    hint="Each step halves the bracket. How many halvings take it from its first width to the last digit of a float64?",
)


# ---- free_energy -----------------------------------------------------------------------------------------------------


def free_energy(energy, base, transform, num_samples):
    q0 = base()
    u = q0.rsample((num_samples,))
    z, log_det = transform(u)
    return (q0.log_prob(u) - log_det + energy(z)).mean()


wrong(
    free_energy,
    "log_det_added",
    swap={"- log_det": "+ log_det"},
    hint="Where the map stretches, the density falls. With which sign does log|det ∂z/∂u| enter log q(z)?",
)
wrong(
    free_energy,
    "log_det_dropped",
    swap={" - log_det": ""},
    hint="log q_0(u) is the density of u. That of z = T(u) also knows how much T stretches.",
)
wrong(
    free_energy,
    "base_density_at_z",
    swap={"q0.log_prob(u)": "q0.log_prob(z)"},
    hint="The base's density is asked about z. Which point did the base draw?",
)
wrong(
    free_energy,
    "energy_at_u",
    swap={"energy(z)": "energy(u)"},
    hint="The energy is a function on the space of z. You evaluate it where the draw came from.",
)
wrong(
    free_energy,
    "energy_subtracted",
    swap={"+ energy(z)": "- energy(z)"},
    hint="p(z) = exp(−U(z))/Z, so −log p(z) = ? Your q would flee the valleys of U.",
)
wrong(
    free_energy,
    "bound_for_loss",
    swap={
        "return (q0.log_prob(u) - log_det + energy(z)).mean()": "return -(q0.log_prob(u) - log_det + energy(z)).mean()"
    },
    hint="This is the lower bound of log Z. The free energy is its negative, which training lowers.",
)
wrong(
    free_energy,
    "summed",
    swap={").mean()": ").sum()"},
    hint="The free energy is an expectation: yours grows with num_samples.",
)
wrong(
    free_energy,
    "draws_cut_off",
    swap={"rsample": "sample"},
    hint="`sample` cuts the path from the base's parameters to the draws: the map learns, the base does not.",
)
wrong(
    free_energy,
    "map_cut_off",
    swap={"    return": "    z = z.detach()\n    return"},
    hint="z is detached from the map: the energy's slope never reaches the parameters, only log_det does.",
)
wrong(
    free_energy,
    "entropy_dropped",
    swap={"q0.log_prob(u) - log_det + energy(z)": "energy(z)"},
    hint="This is the mean energy alone. Its minimum is a spike at the lowest point: what rewards q for being wide?",
)
wrong(
    free_energy,
    "num_samples_ignored",
    swap={"(num_samples,)": "(1,)"},
    hint="num_samples changes nothing: the noise of your estimate stays that of one draw.",
)


# ---- flow_elbo -------------------------------------------------------------------------------------------------------


def flow_elbo(x, prior, decoder, encoder, num_samples=1):
    q0, transform = encoder(x)
    u = q0.rsample((num_samples,))
    z, log_det = transform(u)
    log_q = q0.log_prob(u) - log_det
    log_w = decoder(z).log_prob(x) + prior().log_prob(z) - log_q
    return log_w.mean(0)


wrong(
    flow_elbo,
    "log_det_dropped",
    swap={" - log_det\n": "\n"},
    hint='"The loss needs no change" is what one text says. But z = T(u) has another density than u: what is log q(z given x)?',
)
wrong(
    flow_elbo,
    "log_det_sign",
    swap={"q0.log_prob(u) - log_det": "q0.log_prob(u) + log_det"},
    hint="log_det is log|det ∂z/∂u|. Where the map stretches, the density of z is lower than that of u, not higher.",
)
wrong(
    flow_elbo,
    "log_det_counted_twice",
    swap={"prior().log_prob(z) - log_q": "prior().log_prob(z) + log_det - log_q"},
    hint="The log-determinant stands in log q already, and once more beside the prior. The prior is a density of z: nothing has to be carried over for it.",
)
wrong(
    flow_elbo,
    "logarithm_of_the_mean_weight",
    swap={
        "log_w.mean(0)": "log_w.logsumexp(0) - torch.tensor(float(num_samples)).log()",
    },
    hint="This is the importance-weighted bound: the logarithm of the mean weight. The ELBO is the mean of the log-weights. On which side of the logarithm is your mean?",
)
wrong(
    flow_elbo,
    "negative_for_a_loss",
    swap={"return log_w.mean(0)": "return -log_w.mean(0)"},
    hint="This is a loss. The function returns the bound itself, whose negative an optimizer lowers.",
)
wrong(
    flow_elbo,
    "prior_at_u",
    swap={"prior().log_prob(z)": "prior().log_prob(u)"},
    hint="The prior is a density of the latent z that the decoder sees, not of the u it was made from.",
)
wrong(
    flow_elbo,
    "decoder_at_u",
    swap={"decoder(z)": "decoder(u)"},
    hint="The decoder gets u: the map is computed and then not used where it matters.",
)
wrong(
    flow_elbo,
    "q0_at_z",
    swap={"q0.log_prob(u)": "q0.log_prob(z)"},
    hint="q_0 is asked about z, which it did not draw. Follow one point: u is drawn, z is where it lands.",
)
wrong(
    flow_elbo,
    "closed_form_kl",
    swap={
        "decoder(z).log_prob(x) + prior().log_prob(z) - log_q": "decoder(z).log_prob(x)",
        "return log_w.mean(0)": "p = prior()\n    spread = getattr(p, 'covariance_matrix', None)\n"
        "    spread = torch.ones_like(q0.stddev) if spread is None else spread.diagonal().sqrt().expand_as(q0.stddev)\n"
        "    q_diag = torch.distributions.Normal(q0.mean, q0.stddev)\n"
        "    p_diag = torch.distributions.Normal(p.mean.expand_as(q0.mean), spread)\n"
        "    return log_w.mean(0) - torch.distributions.kl_divergence(q_diag, p_diag).sum(-1)",
    },
    hint="This is the KL divergence of q_0, in closed form. The posterior is not q_0 any more but its image under the map, and for "
    "that there is no closed form.",
)
wrong(
    flow_elbo,
    "draws_cut_off",
    swap={"rsample": "sample"},
    hint="`sample` cuts the path from the encoder to u. No value shows it; the encoder's gradient does.",
)
wrong(
    flow_elbo,
    "map_cut_off",
    swap={"    log_q =": "    z = z.detach()\n    log_q ="},
    hint="z is detached: reconstruction and prior no longer reach map and encoder.",
)
wrong(
    flow_elbo,
    "log_det_of_the_batch",
    swap={"- log_det\n": "- log_det.sum()\n"},
    hint="The log-determinants of all examples and samples are added up and counted for each of them.",
)
wrong(
    flow_elbo,
    "averaged_over_examples",
    swap={"log_w.mean(0)": "log_w.mean(-1)"},
    hint="The axis that is averaged is the examples'. `rsample((S,))` puts the samples first.",
)
wrong(
    flow_elbo,
    "summed_over_samples",
    swap={"log_w.mean(0)": "log_w.sum(0)"},
    hint="The bound is the mean log-weight: yours is num_samples times as large.",
)
wrong(
    flow_elbo,
    "one_number_for_the_batch",
    swap={"log_w.mean(0)": "log_w.mean()"},
    hint="One number for the whole batch. Each example has a bound of its own, shape (*batch,).",
)


# ---- inference_gaps --------------------------------------------------------------------------------------------------


def inference_gaps(log_evidence, optimized_elbo, amortized_elbo):
    return log_evidence - optimized_elbo, optimized_elbo - amortized_elbo


wrong(
    inference_gaps,
    "gaps_exchanged",
    swap={
        "log_evidence - optimized_elbo, optimized_elbo - amortized_elbo": "optimized_elbo - amortized_elbo, log_evidence - optimized_elbo"
    },
    hint="The two gaps are exchanged. Which of them stays when every example gets the best q of the family?",
)
wrong(
    inference_gaps,
    "total_for_approximation",
    swap={"return log_evidence - optimized_elbo": "return log_evidence - amortized_elbo"},
    hint="Your first gap is the whole gap of the encoder. Only a part of it is the family's fault.",
)
wrong(
    inference_gaps,
    "total_for_amortization",
    swap={"optimized_elbo - amortized_elbo": "log_evidence - amortized_elbo"},
    hint="Your second gap is the whole gap of the encoder. Take away what the best q of the family could not reach either.",
)
wrong(
    inference_gaps,
    "negative",
    code="""
def inference_gaps(log_evidence, optimized_elbo, amortized_elbo):
    return optimized_elbo - log_evidence, amortized_elbo - optimized_elbo
""",
    hint="Your gaps are negative. A bound lies below what it bounds: larger minus smaller.",
)
wrong(
    inference_gaps,
    "averaged",
    code="""
def inference_gaps(log_evidence, optimized_elbo, amortized_elbo):
    return (log_evidence - optimized_elbo).mean(), (optimized_elbo - amortized_elbo).mean()
""",
    hint="You average over the examples. Each example has gaps of its own; averages can be taken later.",
)


# ---- wrong_claims ----------------------------------------------------------------------------------------------------


def wrong_claims():
    return [2, 3, 4, 5, 8]


wrong(
    wrong_claims,
    "unchanged_loss_believed",
    swap={"[2, 3, 4, 5, 8]": "[3, 4, 5, 8]"},
    hint="One claim says that a training objective stays as it was. Exercise 6 is about the term that is missing there.",
)
wrong(
    wrong_claims,
    "slope_and_value_confused",
    swap={"[2, 3, 4, 5, 8]": "[2, 4, 5, 8]"},
    hint="One condition speaks of the largest value of σ. Try σ(a) = tanh(3a) and wᵀv = −½: is u + v σ(wᵀu) increasing along w?",
)
wrong(
    wrong_claims,
    "strictness_overlooked",
    swap={"[2, 3, 4, 5, 8]": "[2, 3, 5, 8]"},
    hint="One condition allows equality. Section 4 looks at that very case: what is the density at the point where the slope is 0?",
)
wrong(
    wrong_claims,
    "divergence_from_no_density_believed",
    swap={"[2, 3, 4, 5, 8]": "[2, 3, 4, 8]"},
    hint='A KL divergence is between two densities. Does every "density" in these claims integrate to 1?',
)
wrong(
    wrong_claims,
    "denominator_overlooked",
    swap={"[2, 3, 4, 5, 8]": "[2, 3, 4, 5]"},
    hint="In one claim an expectation over z is taken. Compare its denominator with the density of that expectation, letter by letter.",
)
wrong(
    wrong_claims,
    "lemma_doubted",
    swap={"[2, 3, 4, 5, 8]": "[2, 3, 4, 5, 6, 8]"},
    hint="The determinant lemma is right for every D. Section 3 proves it.",
)
wrong(
    wrong_claims,
    "missing_inverse_doubted",
    swap={"[2, 3, 4, 5, 8]": "[2, 3, 4, 5, 7, 8]"},
    hint="No inverse is needed, indeed: which points does the ELBO ask the density of q about, and who made them?",
)
wrong(
    wrong_claims,
    "amortization_doubted",
    swap={"[2, 3, 4, 5, 8]": "[2, 3, 4, 5, 8, 9]"},
    hint="The last claim is right: the best q of a larger family is at least as good, but an encoder may miss it by more.",
)
