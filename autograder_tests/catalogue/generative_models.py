"""What goes wrong in 11_flows_among_generative_models."""

from __future__ import annotations

import sympy as sp
import torch
from torch import nn

from autograder_tests.catalogue import wrong

# ---- mmd2 ----------------------------------------------------------------------------------------


def mmd2(x, y, bandwidths):
    def gram(a, b):
        squared = ((a[:, None] - b[None]) ** 2).sum(-1)
        return sum(torch.exp(-squared / (2 * w**2)) for w in bandwidths)

    def off_diagonal_mean(k):
        n = len(k)
        return (k.sum() - k.diagonal().sum()) / (n * (n - 1))

    return off_diagonal_mean(gram(x, x)) + off_diagonal_mean(gram(y, y)) - 2 * gram(x, y).mean()


wrong(
    mmd2,
    "diagonal_kept",
    swap={"(k.sum() - k.diagonal().sum()) / (n * (n - 1))": "k.mean()"},
    hint="""Each point is compared with itself, and k(x, x) is as large as the kernel gets. Two small samples of
    one law would then look alike within and different across. Which pairs are pairs of independent draws?""",
)
wrong(
    mmd2,
    "divides_by_all_pairs",
    swap={"(n * (n - 1))": "n**2"},
    hint="""The diagonal is left out of the sum and still counted in the number of terms. How many ordered pairs
    with i ≠ j do n points have?""",
)
wrong(
    mmd2,
    "diagonal_in_the_sum_only",
    swap={"(k.sum() - k.diagonal().sum())": "k.sum()"},
    hint="""You divide by the number of pairs with i ≠ j, and the sum has the pairs with i = j in it as well.""",
)
wrong(
    mmd2,
    "cross_term_once",
    swap={"- 2 * gram(x, y).mean()": "- gram(x, y).mean()"},
    hint="""When the laws agree, all three means estimate the same number. With which weight must the mixed one
    enter, so that nothing is left?""",
)
wrong(
    mmd2,
    "cross_term_added",
    swap={"- 2 * gram(x, y).mean()": "+ 2 * gram(x, y).mean()"},
    hint="""The kernel measures likeness. Samples that are alike across the two sets must make the discrepancy
    smaller, not larger.""",
)
wrong(
    mmd2,
    "bandwidth_not_squared",
    swap={"(2 * w**2)": "(2 * w)"},
    hint="""The exponent must have no unit: a squared distance is divided by twice a squared bandwidth. With
    bandwidth 1 the slip does not show.""",
)
wrong(
    mmd2,
    "two_forgotten",
    swap={"(2 * w**2)": "(w**2)"},
    hint="""Your kernel is narrower than the one asked for: compare its exponent with that of a normal density of
    standard deviation b.""",
)
wrong(
    mmd2,
    "distance_not_squared",
    swap={"squared = ((a[:, None] - b[None]) ** 2).sum(-1)": "squared = (a[:, None] - b[None]).norm(dim=-1)"},
    hint="""The exponent holds the distance itself. The Gaussian kernel has its square; yours has a sharp tip at
    distance 0.""",
)
wrong(
    mmd2,
    "mean_over_bandwidths",
    swap={"for w in bandwidths)": "for w in bandwidths) / len(bandwidths)"},
    hint="""You average over the bandwidths; the kernel asked for is their sum. It is a matter of convention, and
    numbers are comparable only under one.""",
)
wrong(
    mmd2,
    "one_bandwidth_only",
    swap={"for w in bandwidths)": "for w in bandwidths[:1])"},
    hint="""Only the first bandwidth enters. A narrow kernel sees detail and is blind to what is far away, a wide
    one the reverse: that is why there are several.""",
)
wrong(
    mmd2,
    "distance_instead_of_its_square",
    swap={
        "return off_diagonal_mean(gram(x, x)) + off_diagonal_mean(gram(y, y)) - 2 * gram(x, y).mean()": "return ("
        "off_diagonal_mean(gram(x, x)) + off_diagonal_mean(gram(y, y)) - 2 * gram(x, y).mean()).clamp(min=0).sqrt()"
    },
    hint="""You cut the estimate at 0 and take a root. An unbiased estimate of 0 must be able to be negative; what
    is asked for is the square itself.""",
)
wrong(
    mmd2,
    "root_at_distance_zero",
    swap={
        "squared = ((a[:, None] - b[None]) ** 2).sum(-1)": "squared = ((a[:, None] - b[None]) ** 2).sum(-1).sqrt() ** 2"
    },
    hint="""The value is right and its gradient is NaN: you take a root and square it again, and a root has infinite slope
    at 0, where each point meets itself. The kernel needs the squared distance only.""",
)
wrong(
    mmd2,
    "without_gradient",
    swap={"- 2 * gram(x, y).mean()": "- 2 * gram(x.detach(), y).mean()"},
    hint="""The value is right, and part of its gradient is cut off on the way to the samples. What would a generator
    learn from the terms that are left?""",
)


# ---- sliced_wasserstein --------------------------------------------------------------------------


def sliced_wasserstein(x, y, directions):
    a = (x @ directions.T).sort(dim=0).values
    b = (y @ directions.T).sort(dim=0).values
    return (a - b).square().mean().sqrt()


wrong(
    sliced_wasserstein,
    "not_sorted",
    swap={".sort(dim=0).values": ""},
    hint="""You pair the points as they happen to stand in their lists. On the line the cheapest way to carry one set
    onto the other keeps the order: which two points belong together?""",
)
wrong(
    sliced_wasserstein,
    "sorted_across_directions",
    swap={".sort(dim=0)": ".sort(dim=1)"},
    hint="""You sort the projections of one point onto different directions. Within one direction, which axis of
    the table `(n, L)` runs over the points?""",
)
wrong(
    sliced_wasserstein,
    "sorted_before_projecting",
    swap={
        "(x @ directions.T).sort(dim=0).values": "x.sort(dim=0).values @ directions.T",
        "(y @ directions.T).sort(dim=0).values": "y.sort(dim=0).values @ directions.T",
    },
    hint="""You sort each coordinate of the points on its own, which tears the points apart, and project what is left.
    The order that matters is the one along a direction.""",
)
wrong(
    sliced_wasserstein,
    "one_set_sorted",
    swap={"b = (y @ directions.T).sort(dim=0).values": "b = y @ directions.T"},
    hint="""Only one of the two sets is sorted. The smallest of one must meet the smallest of the other.""",
)
wrong(
    sliced_wasserstein,
    "root_before_the_mean",
    swap={".square().mean().sqrt()": ".square().mean(0).sqrt().mean()"},
    hint="""You take the root in each direction and average the roots. The definition averages the squared distances
    of all directions and takes one root at the end.""",
)
wrong(
    sliced_wasserstein,
    "order_one",
    swap={".square().mean().sqrt()": ".abs().mean()"},
    hint="""You average absolute differences: that is the distance of order 1. Order 2 weighs long ways more, by
    their squares.""",
)
wrong(
    sliced_wasserstein,
    "without_the_root",
    swap={".square().mean().sqrt()": ".square().mean()"},
    hint="""Your result has the unit of x squared. A distance has the unit of x: shift a set by c, and it should
    move by an amount proportional to c.""",
)
wrong(
    sliced_wasserstein,
    "sum_over_points",
    swap={".square().mean().sqrt()": ".square().sum(0).mean().sqrt()"},
    hint="""You add over the points. Each point carries the mass 1/n; otherwise the distance of two sets grows as
    one draws more of the same.""",
)
wrong(
    sliced_wasserstein,
    "sum_over_directions",
    swap={".square().mean().sqrt()": ".square().sum(1).mean().sqrt()"},
    hint="""You add over the directions. They are samples of one direction drawn at random: more of them make the
    average better, not larger.""",
)
wrong(
    sliced_wasserstein,
    "without_gradient",
    swap={"a = (x @ directions.T).sort(dim=0).values": "a = (x @ directions.T).detach().sort(dim=0).values"},
    hint="""The value is right and no gradient reaches x. A sorted copy keeps its history as long as nothing
    detaches it or leaves torch.""",
)


# ---- gan_losses ----------------------------------------------------------------------------------


def gan_losses(real_logits, fake_logits):
    softplus = nn.functional.softplus
    discriminator = softplus(-real_logits).mean() + softplus(fake_logits).mean()
    generator = softplus(-fake_logits).mean()
    return discriminator, generator


wrong(
    gan_losses,
    "saturating_generator",
    swap={"generator = softplus(-fake_logits).mean()": "generator = -softplus(fake_logits).mean()"},
    hint="""Your generator minimizes log(1 − σ(ℓ)), the game as it is first written down. Where samples are
    rejected, ℓ far below 0, that curve is flat: what is its gradient there? The other form has the same goal and a
    slope where it is needed.""",
)
wrong(
    gan_losses,
    "real_and_fake_exchanged",
    swap={
        "softplus(-real_logits).mean() + softplus(fake_logits).mean()": "softplus(real_logits).mean() + "
        "softplus(-fake_logits).mean()"
    },
    hint="""Your discriminator is rewarded for calling data fake and samples real. A large logit means 'real': on
    which of the two should it be large?""",
)
wrong(
    gan_losses,
    "generator_wants_to_be_caught",
    swap={"generator = softplus(-fake_logits).mean()": "generator = softplus(fake_logits).mean()"},
    hint="""Your generator's loss falls when its samples are called fake. It wants the opposite of what the
    discriminator wants at the same samples.""",
)
wrong(
    gan_losses,
    "logarithm_of_a_rounded_sigmoid",
    code="""
def gan_losses(real_logits, fake_logits):
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    return -real.log().mean() - (1 - fake).log().mean(), -fake.log().mean()
""",
    hint="""Right for moderate logits, infinite for large ones: the sigmoid rounds to 0 or 1 before the logarithm
    sees it. −log σ(ℓ) = log(1 + e^(−ℓ)) has a name in torch that does not overflow.""",
)
wrong(
    gan_losses,
    "a_small_number_in_the_logarithm",
    code="""
def gan_losses(real_logits, fake_logits):
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    tiny = 1e-12
    return -(real + tiny).log().mean() - (1 - fake + tiny).log().mean(), -(fake + tiny).log().mean()
""",
    hint="""The small number in the logarithm avoids the infinity and puts a ceiling on the loss: beyond it the value is
    wrong and the gradient 0. The loss at logit −200 is 200; compute it without passing through a probability.""",
)
wrong(
    gan_losses,
    "discriminator_halved",
    swap={
        "discriminator = softplus(-real_logits).mean() + softplus(fake_logits).mean()": "discriminator = "
        "(softplus(-real_logits).mean() + softplus(fake_logits).mean()) / 2"
    },
    hint="""You average the two parts of the discriminator's loss; it is their sum. At logits 0 it is 2 log 2.""",
)
wrong(
    gan_losses,
    "one_mean_over_all",
    swap={
        "softplus(-real_logits).mean() + softplus(fake_logits).mean()": "2 * torch.cat([softplus(-real_logits), "
        "softplus(fake_logits)]).mean()"
    },
    hint="""One mean over real and fake together weighs the larger set more. Each part is an expectation of its own,
    with a mean of its own.""",
)
wrong(
    gan_losses,
    "cross_entropy_over_all_logits",
    swap={
        "softplus(-real_logits).mean() + softplus(fake_logits).mean()": "torch.cat([softplus(-real_logits), "
        "softplus(fake_logits)]).mean()"
    },
    hint="""One mean runs over real and fake logits together. The loss is the sum of two expectations, each with a mean
    over its own set: at logits 0 it is 2 log 2.""",
)
wrong(
    gan_losses,
    "zero_sum_game",
    swap={"generator = softplus(-fake_logits).mean()": "generator = -discriminator"},
    hint="""Your generator minimizes minus the discriminator's loss. Its part at the data does not depend on the samples, and
    its part at the samples is flat where they are rejected. Which of the two generator losses is not?""",
)
wrong(
    gan_losses,
    "sums_for_means",
    swap={".mean()": ".sum()"},
    hint="""You sum over the examples. An expectation is estimated by a mean; a sum grows with the batch, and the
    learning rate with it.""",
)
wrong(
    gan_losses,
    "results_exchanged",
    swap={"return discriminator, generator": "return generator, discriminator"},
    hint="""The two losses come back in the other order: the discriminator's first, the generator's second.""",
)
wrong(
    gan_losses,
    "critic_of_a_wasserstein_gan",
    code="""
def gan_losses(real_logits, fake_logits):
    return fake_logits.mean() - real_logits.mean(), -fake_logits.mean()
""",
    hint="""Differences of mean scores are the losses of a Wasserstein GAN, whose critic must be Lipschitz. Here a
    logit is the log-odds of 'real', and the losses are cross-entropies.""",
)


# ---- optimal_discriminator -----------------------------------------------------------------------


def optimal_discriminator(p, q):
    logit = sp.log(p) - sp.log(q)
    loss = -p * sp.log(p / (p + q)) - q * sp.log(q / (p + q))
    return logit, loss


wrong(
    optimal_discriminator,
    "probability_for_logit",
    swap={"sp.log(p) - sp.log(q)": "p / (p + q)"},
    hint="""That is the probability of 'real'. The logit ℓ is the number whose sigmoid it is: solve
    σ(ℓ) = p/(p + q).""",
)
wrong(
    optimal_discriminator,
    "ratio_without_logarithm",
    swap={"sp.log(p) - sp.log(q)": "p / q"},
    hint="""The odds of 'real' are p : q. A logit is the logarithm of the odds, and can be negative.""",
)
wrong(
    optimal_discriminator,
    "ratio_upside_down",
    swap={"sp.log(p) - sp.log(q)": "sp.log(q) - sp.log(p)"},
    hint="""Where data are denser than samples, the discriminator should say 'real', with a positive logit. Check
    yours at p = 2, q = 1.""",
)
wrong(
    optimal_discriminator,
    "sign_of_the_loss",
    swap={
        "-p * sp.log(p / (p + q)) - q * sp.log(q / (p + q))": "p * sp.log(p / (p + q)) + q * sp.log(q / (p + q))"
    },
    hint="""Your loss is negative. It is a cross-entropy of classes, −log of probabilities below 1: the original
    paper maximizes the opposite sign.""",
)
wrong(
    optimal_discriminator,
    "loss_at_logit_zero",
    swap={"-p * sp.log(p / (p + q)) - q * sp.log(q / (p + q))": "(p + q) * sp.log(2)"},
    hint="""That is the loss of a discriminator that always says one half. It is the best one only where p = q; put
    your logit into the loss instead.""",
)
wrong(
    optimal_discriminator,
    "data_term_only",
    swap={" - q * sp.log(q / (p + q))": ""},
    hint="""The loss at x has two terms: data come to x with density p and are to be called real, samples with
    density q and are to be called fake. One of them is missing.""",
)
wrong(
    optimal_discriminator,
    "normalized_by_the_total",
    swap={
        "-p * sp.log(p / (p + q)) - q * sp.log(q / (p + q))": "(-p * sp.log(p / (p + q)) - q * sp.log(q / (p + q)))"
        " / (p + q)"
    },
    hint="""You divide by p + q: that is the entropy of the class, given x. The loss at x also weighs how often real
    and fake points come to x.""",
)


# ---- mode_coverage -------------------------------------------------------------------------------


def mode_coverage(x, modes, std):
    distance, nearest = (x[:, None] - modes).norm(dim=-1).min(dim=1)
    hit = distance <= 3 * std
    counts = torch.bincount(nearest[hit], minlength=len(modes))
    return counts, hit.double().mean()


wrong(
    mode_coverage,
    "every_sample_counts",
    swap={"counts = torch.bincount(nearest[hit]": "counts = torch.bincount(nearest"},
    hint="""Every sample is given to its nearest mode, however far away. A sample between two modes belongs to
    neither: which ones count?""",
)
wrong(
    mode_coverage,
    "counts_for_several_modes",
    code="""
def mode_coverage(x, modes, std):
    distance = (x[:, None] - modes).norm(dim=-1)
    hit = distance <= 3 * std
    return hit.sum(0), hit.any(1).double().mean()
""",
    hint="""A sample between two close modes is counted for both. It was drawn once: the nearest mode gets it.""",
)
wrong(
    mode_coverage,
    "missed_modes_forgotten",
    swap={", minlength=len(modes)": ""},
    hint="""The counts end with the last mode that was hit. A mode that nobody hits is what one looks for; it
    needs a count, too: 0.""",
)
wrong(
    mode_coverage,
    "variance_for_standard_deviation",
    swap={"3 * std": "3 * std**2"},
    hint="""You compare a distance with three variances. Which of the two has the unit of a distance?""",
)
wrong(
    mode_coverage,
    "squared_distance",
    swap={".norm(dim=-1)": ".square().sum(dim=-1)"},
    hint="""You compare a squared distance with three standard deviations. Take the root, or square the other side.""",
)
wrong(
    mode_coverage,
    "box_for_ball",
    swap={".norm(dim=-1)": ".abs().amax(dim=-1)"},
    hint="""You ask each coordinate separately to be near: a box, whose corners are farther away than three standard
    deviations. Distance is Euclidean.""",
)
wrong(
    mode_coverage,
    "one_standard_deviation",
    swap={"3 * std": "std"},
    hint="""Within one standard deviation lies less than half of a Gaussian in the plane. The criterion is three.""",
)
wrong(
    mode_coverage,
    "shares_for_counts",
    swap={"return counts, hit": "return counts / len(x), hit"},
    hint="""You divide the counts by the number of samples. The first result is how many samples hit each mode: whole
    numbers.""",
)
wrong(
    mode_coverage,
    "share_of_modes",
    swap={"hit.double().mean()": "(counts > 0).double().mean()"},
    hint="""Your second number is the share of modes that were hit. Asked for is the share of samples that hit any:
    it tells a good sampler from one that sprays.""",
)


# ---- flow_reconstruction -------------------------------------------------------------------------


def flow_reconstruction(x, flow, M):
    u, _ = flow.inverse(x)
    kept = torch.cat([u[..., :M], torch.zeros_like(u[..., M:])], dim=-1)
    x_again, _ = flow.forward(kept)
    return x_again


wrong(
    flow_reconstruction,
    "data_variables_cut",
    swap={"u, _ = flow.inverse(x)": "u = x"},
    hint="""You drop variables of x and send the rest forward. What is to be shortened is the code, and the code is
    u: which method takes data to the base?""",
)
wrong(
    flow_reconstruction,
    "directions_exchanged",
    swap={"flow.inverse(x)": "flow.forward(x)", "flow.forward(kept)": "flow.inverse(kept)"},
    hint="""You encode by `forward` and decode by `inverse`. With M = D they undo each other in either order, so that
    nothing shows; `forward` goes from base to data.""",
)
wrong(
    flow_reconstruction,
    "stays_in_the_base",
    swap={"x_again, _ = flow.forward(kept)\n    return x_again": "return kept"},
    hint="""You return the shortened code. A reconstruction is a point of data space.""",
)
wrong(
    flow_reconstruction,
    "last_variables_kept",
    swap={
        "[u[..., :M], torch.zeros_like(u[..., M:])]": "[torch.zeros_like(u[..., M:]), u[..., u.shape[-1] - M :]]"
    },
    hint="""You keep the last M base variables; asked for are the first M. For principal axes, largest variance
    first, that is the difference between best and worst.""",
)
wrong(
    flow_reconstruction,
    "largest_values_kept",
    swap={
        "kept = torch.cat([u[..., :M], torch.zeros_like(u[..., M:])], dim=-1)": "size = u.abs()\n    order = "
        "size.argsort(dim=-1, descending=True)[..., :M]\n    kept = torch.zeros_like(u).scatter(-1, order, "
        "u.gather(-1, order))"
    },
    hint="""You keep the M largest values of each example, other places in each: then the places must be stored, too.
    A code of M numbers keeps the same M variables for all.""",
)
wrong(
    flow_reconstruction,
    "noise_for_the_rest",
    swap={"torch.zeros_like(u[..., M:])": "torch.randn_like(u[..., M:])"},
    hint="""You fill the dropped variables with noise: a sample that shares M variables with x. A reconstruction is
    one point; take the most likely value of what is not known.""",
)
wrong(
    flow_reconstruction,
    "drops_m_of_them",
    swap={
        "[u[..., :M], torch.zeros_like(u[..., M:])]": "[u[..., : u.shape[-1] - M], torch.zeros_like(u[..., :M])]"
    },
    hint="""You set M base variables to 0 and keep the others. M is the length of the code that is kept: what should be
    left of x when M = 0?""",
)
