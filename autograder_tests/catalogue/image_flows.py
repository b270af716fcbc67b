"""What goes wrong in 06_image_flows."""

from __future__ import annotations

import math

import torch
from torch import nn

from autograder_tests.catalogue import wrong

# ---- dequantize --------------------------------------------------------------------------------------------------


def dequantize(x, levels):
    noise = torch.rand_like(x)
    return (x + noise) / levels


wrong(
    dequantize,
    "half_width",
    swap={"torch.rand_like(x)": "0.5 * torch.rand_like(x)"},
    hint="Your noise fills half of each cell. A density may then pile up in the halves that are used: up to log 2 per dimension is won for nothing, and the bound is none.",
)
wrong(
    dequantize,
    "centered_on_the_level",
    swap={"torch.rand_like(x)": "torch.rand_like(x) - 0.5"},
    hint="Noise from −½ to ½ is as wide as it should be, but level 0 then falls below 0, outside [0, 1). Here the cell of level x begins at x, and rounding down recovers it.",
)
wrong(
    dequantize,
    "divided_by_the_largest_level",
    swap={"/ levels": "/ (levels - 1)"},
    hint="L levels have L cells. Where does the cell of the largest level end when you divide by L − 1?",
)
wrong(
    dequantize,
    "noise_added_after_division",
    swap={"(x + noise) / levels": "x / levels + noise"},
    hint="Your noise is as wide as all levels together, since it is added after the division. How wide is one cell of [0, 1)?",
)
wrong(
    dequantize,
    "one_noise_for_an_image",
    swap={"torch.rand_like(x)": "torch.rand_like(x[..., :1])"},
    hint="All pixels of an image share one draw: the data then lie on a line through each cell, and a density on lines is infinite again. Every pixel needs its own.",
)
wrong(
    dequantize,
    "same_noise_for_all_images",
    swap={"torch.rand_like(x)": "torch.rand_like(x[:1])"},
    hint="All images share their noise. It must be drawn anew for each image, or the flow learns where in the cell the points always lie.",
)
wrong(
    dequantize,
    "normal_noise",
    swap={"torch.rand_like(x)": "0.5 + 0.2 * torch.randn_like(x)"},
    hint="Normal noise leaves the cell now and then, and does not fill it evenly. Which distribution has the same density everywhere in the cell?",
)
wrong(
    dequantize,
    "no_noise",
    swap={"noise = torch.rand_like(x)": "noise = 0.5"},
    hint="There is no noise: the middle of the cell is as discrete as the level was, and a density can still pile up there without bound.",
)


# ---- bits_per_dim ------------------------------------------------------------------------------------------------


def bits_per_dim(log_prob, D, levels):
    nats = -log_prob / D + math.log(levels)
    return nats / math.log(2)


wrong(
    bits_per_dim,
    "left_in_nats",
    swap={"nats / math.log(2)": "nats"},
    hint="These are nats. How many nats is one bit, the answer to a fair yes-or-no question?",
)
wrong(
    bits_per_dim,
    "levels_forgotten",
    swap={" + math.log(levels)": ""},
    hint="The uniform density on [0, 1)^D would cost 0 bits. You left out that a cell has width 1/L in each dimension: a density is no probability yet.",
)
wrong(
    bits_per_dim,
    "levels_with_the_wrong_sign",
    swap={"+ math.log(levels)": "- math.log(levels)"},
    hint="Narrower cells hold less probability, so more levels must cost more bits. Which sign does that give log L?",
)
wrong(
    bits_per_dim,
    "volume_of_all_dimensions_added",
    swap={"math.log(levels)": "D * math.log(levels)"},
    hint="The cell's log-volume, −D·log L, belongs to the whole image. You divide the log-density by D, but not this.",
)
wrong(
    bits_per_dim,
    "volume_of_one_dimension",
    swap={"-log_prob / D + math.log(levels)": "(-log_prob + math.log(levels)) / D"},
    hint="You add log L once and then divide by D. The cell has width 1/L in each of the D dimensions.",
)
wrong(
    bits_per_dim,
    "levels_in_nats",
    swap={
        "nats = -log_prob / D + math.log(levels)": "bits = -log_prob / D / math.log(2)",
        "return nats / math.log(2)": "return bits + math.log(levels)",
    },
    hint="Bits plus nats: log L is in nats and enters after the conversion. Bring both terms to the same unit before you add.",
)
wrong(
    bits_per_dim,
    "not_divided_by_dimensions",
    swap={"-log_prob / D + math.log(levels)": "-log_prob + D * math.log(levels)"},
    hint="That is the cost of a whole image. Bits per dimension compare images of any size: one more division is missing.",
)
wrong(
    bits_per_dim,
    "log_likelihood_not_negated",
    swap={"-log_prob / D": "log_prob / D"},
    hint="A likelier image should cost fewer bits. With your sign it costs more.",
)
wrong(
    bits_per_dim,
    "averaged_over_images",
    swap={"return nats / math.log(2)": "return (nats / math.log(2)).mean()"},
    hint="You average over the images. The function returns one number per image; averaging is the table's business.",
)


# ---- discrete_bound ----------------------------------------------------------------------------------------------


def discrete_bound(log_prob, x, levels, num_samples):
    draws = [log_prob((x + torch.rand_like(x)) / levels) for _ in range(num_samples)]
    volume = x.shape[-1] * math.log(levels)
    return torch.stack(draws).mean(0) - volume


wrong(
    discrete_bound,
    "volume_forgotten",
    swap={".mean(0) - volume": ".mean(0)"},
    hint="That is a mean log-density, not a bound on a log-probability. A probability is density times the volume of the cell, L^−D.",
)
wrong(
    discrete_bound,
    "volume_added",
    swap={"- volume": "+ volume"},
    hint="The cell's volume is L^−D, far below 1. What is the sign of its logarithm?",
)
wrong(
    discrete_bound,
    "volume_of_one_dimension",
    swap={"x.shape[-1] * math.log(levels)": "math.log(levels)"},
    hint="The cell is 1/L wide in each of its D dimensions. You counted one of them.",
)
wrong(
    discrete_bound,
    "logarithm_of_the_mean",
    swap={"torch.stack(draws).mean(0)": "torch.stack(draws).logsumexp(0) - math.log(num_samples)"},
    hint="You average densities and take the logarithm afterwards. That estimates log P(x) itself, from below as well; asked is the mean of the logarithms, which Jensen puts below it at any number of draws.",
)
wrong(
    discrete_bound,
    "draws_summed",
    swap={".mean(0)": ".sum(0)"},
    hint="Your result grows with the number of draws. An expectation is estimated by a mean.",
)
wrong(
    discrete_bound,
    "averaged_over_images",
    swap={"torch.stack(draws).mean(0) - volume": "torch.stack(draws).mean() - volume"},
    hint="You average over images as well. Each image has a bound of its own, shape (N,).",
)
wrong(
    discrete_bound,
    "half_width_noise",
    swap={"torch.rand_like(x)": "0.5 * torch.rand_like(x)"},
    hint="Your noise fills half of the cell, so you average over half of it. What the density does in the other half then costs nothing: this is no bound.",
)
wrong(
    discrete_bound,
    "noise_drawn_once",
    swap={
        "[log_prob((x + torch.rand_like(x)) / levels) for _ in range(num_samples)]": "[log_prob((x + v) / levels) for v in [torch.rand_like(x)] * num_samples]"
    },
    hint="You draw the noise once and evaluate the density num_samples times at the same point. The mean is right, and no more accurate than a single draw: every term needs noise of its own.",
)
wrong(
    discrete_bound,
    "middle_of_the_cell",
    swap={"torch.rand_like(x)": "0.5"},
    hint="You look at the middle of the cell alone. A density can be high there and low everywhere else: the expectation is over the whole cell.",
)


# ---- checkerboard_mask -------------------------------------------------------------------------------------------


def checkerboard_mask(shape, flip=False):
    C, H, W = shape
    even = (torch.arange(H)[:, None] + torch.arange(W)) % 2 == 0
    mask = even.float()
    if flip:
        mask = 1 - mask
    return mask.expand(C, H, W)


wrong(
    checkerboard_mask,
    "stripes",
    swap={"torch.arange(H)[:, None] + torch.arange(W)": "torch.arange(H)[:, None] + 0 * torch.arange(W)"},
    hint="These are stripes: whole rows are kept. On a checkerboard the neighbors to all four sides have the other color.",
)
wrong(
    checkerboard_mask,
    "parity_of_the_running_index",
    swap={
        "torch.arange(H)[:, None] + torch.arange(W)": "torch.arange(H * W).reshape(H, W)",
    },
    hint="You number the pixels row by row and take every other one. With an even width each row then starts with the same color: what distinguishes a row from the next?",
)
wrong(
    checkerboard_mask,
    "product_for_sum",
    swap={"torch.arange(H)[:, None] + torch.arange(W)": "torch.arange(H)[:, None] * torch.arange(W)"},
    hint="You look at the parity of h·w, which is even as soon as one of the two is: three quarters of the pixels. One step to the right or down must always change the color.",
)
wrong(
    checkerboard_mask,
    "odd_pixels_kept",
    swap={"% 2 == 0": "% 2 == 1"},
    hint="A checkerboard, but the other one: without flip the pixel in the corner, h = w = 0, is kept.",
)
wrong(
    checkerboard_mask,
    "flipped_like_a_picture",
    swap={"mask = 1 - mask": "mask = mask.flip(-1)"},
    hint="You mirror the picture. With an odd width the mirrored checkerboard is itself, and half of the pixels would never move: flip means the complement.",
)
wrong(
    checkerboard_mask,
    "channels_alternate",
    swap={
        "torch.arange(H)[:, None] + torch.arange(W)": "torch.arange(C)[:, None, None] + torch.arange(H)[:, None] + torch.arange(W)"
    },
    hint="Your pattern changes from channel to channel. All channels of a pixel are kept or moved together.",
)
wrong(
    checkerboard_mask,
    "no_channel_axis",
    swap={"mask.expand(C, H, W)": "mask"},
    hint="The mask has no channel axis. Its shape is that of an image, (C, H, W).",
)
wrong(
    checkerboard_mask,
    "boolean_mask",
    swap={"even.float()": "even", "1 - mask": "~mask"},
    hint="A Boolean mask cannot be subtracted from 1 or multiplied with as the coupling does: return floats.",
)


# ---- Squeeze -----------------------------------------------------------------------------------------------------


class Squeeze(nn.Module):
    def forward(self, u):
        *batch, C, H, W = u.shape
        blocks = u.reshape(*batch, C // 4, 2, 2, H, W)
        x = blocks.movedim((-4, -3), (-3, -1)).reshape(*batch, C // 4, 2 * H, 2 * W)
        return x, u.new_zeros(batch)

    def inverse(self, x):
        *batch, C, H, W = x.shape
        blocks = x.reshape(*batch, C, H // 2, 2, W // 2, 2)
        u = blocks.movedim((-3, -1), (-4, -3)).reshape(*batch, 4 * C, H // 2, W // 2)
        return u, x.new_zeros(batch)


wrong(
    Squeeze,
    "only_reshaped",
    swap={
        "blocks.movedim((-4, -3), (-3, -1)).reshape": "u.reshape",
        "blocks.movedim((-3, -1), (-4, -3)).reshape": "x.reshape",
    },
    hint="A reshape alone reads the numbers row by row: a channel of u is then a strip of the image. The four values of one pixel of u must have been neighbors in a 2×2 block.",
)
wrong(
    Squeeze,
    "quadrants",
    swap={
        "u.reshape(*batch, C // 4, 2, 2, H, W)": "u.reshape(*batch, C // 4, 2, 2, H, W).movedim((-4, -3), (-4, -2))",
        "blocks.movedim((-4, -3), (-3, -1)).reshape": "blocks.reshape",
        "x.reshape(*batch, C, H // 2, 2, W // 2, 2)": "x.reshape(*batch, C, 2, H // 2, 2, W // 2)",
        "blocks.movedim((-3, -1), (-4, -3)).reshape": "blocks.movedim((-4, -2), (-4, -3)).reshape",
    },
    hint="Your channels are the four quadrants of the image. Squeezing takes neighbors: every other row and every other column.",
)
wrong(
    Squeeze,
    "offset_before_channel",
    swap={
        "u.reshape(*batch, C // 4, 2, 2, H, W)": "u.reshape(*batch, 2, 2, C // 4, H, W).movedim(-3, -5)",
        "blocks.movedim((-3, -1), (-4, -3)).reshape": "blocks.movedim((-3, -1), (-5, -4)).reshape",
    },
    hint="With several channels yours come in another order: the position in the block counts before the channel. Channel c becomes the channels 4c to 4c + 3.",
)
wrong(
    Squeeze,
    "rows_and_columns_swapped",
    swap={
        "u.reshape(*batch, C // 4, 2, 2, H, W)": "u.reshape(*batch, C // 4, 2, 2, H, W).transpose(-4, -3)",
        "blocks.movedim((-3, -1), (-4, -3)).reshape": "blocks.movedim((-3, -1), (-3, -4)).reshape",
    },
    hint="Within a block you go down before you go right. The order is row by row: upper left, upper right, lower left, lower right.",
)
wrong(
    Squeeze,
    "directions_exchanged",
    swap={
        "def forward(self, u)": "def inverse(self, u)",
        "def inverse(self, x)": "def forward(self, x)",
    },
    hint="Your forward squeezes. Here forward goes from base to data, so it is inverse that turns pixels into channels.",
)
wrong(
    Squeeze,
    "one_zero_for_the_batch",
    swap={"u.new_zeros(batch)": "u.new_zeros(())", "x.new_zeros(batch)": "x.new_zeros(())"},
    hint="One log_det for the whole batch. Each image has its own, shape (*batch,), even where all are 0.",
)
wrong(
    Squeeze,
    "log_det_for_every_pixel",
    swap={
        "u.new_zeros(batch)": "torch.zeros_like(u[..., 0, :, :])",
        "x.new_zeros(batch)": "torch.zeros_like(x[..., 0, :, :])",
    },
    hint="Your log_det still has the axes of the image. It is one number per image, shape (*batch,).",
)
wrong(
    Squeeze,
    "one_batch_axis_assumed",
    swap={
        "*batch, C, H, W = u.shape": "N, C, H, W = u.shape\n        batch = [N]",
        "*batch, C, H, W = x.shape": "N, C, H, W = x.shape\n        batch = [N]",
    },
    hint="Your layer wants exactly one batch axis. Count axes from the end: an image is always the last three.",
)


# ---- ActNorm -----------------------------------------------------------------------------------------------------


class ActNorm(nn.Module):
    def __init__(self, C):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(C, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(C, 1, 1))
        self.register_buffer("initialized", torch.tensor(False))

    def forward(self, u):
        x = self.shift + torch.exp(self.log_scale) * u
        log_det = u.shape[-1] * u.shape[-2] * self.log_scale.sum()
        return x, log_det.expand(u.shape[:-3])

    def inverse(self, x):
        if not self.initialized:
            with torch.no_grad():
                channels = x.movedim(-3, 0).flatten(1)
                self.shift.copy_(channels.mean(1).reshape(-1, 1, 1))
                self.log_scale.copy_(channels.std(1).log().reshape(-1, 1, 1))
            self.initialized.fill_(True)
        u = (x - self.shift) * torch.exp(-self.log_scale)
        log_det = -x.shape[-1] * x.shape[-2] * self.log_scale.sum()
        return u, log_det.expand(x.shape[:-3])


wrong(
    ActNorm,
    "pixels_not_counted",
    swap={
        "u.shape[-1] * u.shape[-2] * self.log_scale.sum()": "self.log_scale.sum()",
        "-x.shape[-1] * x.shape[-2] * self.log_scale.sum()": "-self.log_scale.sum()",
    },
    hint="Your log_det counts each channel's scale once. It multiplies every pixel of the channel: how often does it stand on the Jacobian's diagonal?",
)
wrong(
    ActNorm,
    "height_counted_alone",
    swap={"u.shape[-1] * u.shape[-2]": "u.shape[-2]", "-x.shape[-1] * x.shape[-2]": "-x.shape[-2]"},
    hint="Your log_det counts the rows of a channel. A channel has H·W pixels, all of them scaled.",
)
wrong(
    ActNorm,
    "both_signs_flipped",
    swap={
        "log_det = u.shape[-1]": "log_det = -u.shape[-1]",
        "log_det = -x.shape[-1]": "log_det = x.shape[-1]",
    },
    hint="Both signs are flipped: forward reports the inverse's log-determinant. They cancel, so no round trip shows it.",
)
wrong(
    ActNorm,
    "statistics_of_every_batch",
    swap={"self.initialized.fill_(True)": "pass"},
    hint="Your layer normalizes every batch anew. Then what happens to an image depends on the others in its batch, and the map is no map of one image: statistics are taken once.",
)
wrong(
    ActNorm,
    "flag_is_a_plain_attribute",
    swap={
        'self.register_buffer("initialized", torch.tensor(False))': "self.initialized = False",
        "self.initialized.fill_(True)": "self.initialized = True",
    },
    hint="A Python attribute is not saved: a loaded layer believes that it has seen nothing and starts again with the next batch. What does state_dict hold besides parameters?",
)
wrong(
    ActNorm,
    "statistics_of_four_axes_assumed",
    swap={
        "channels = x.movedim(-3, 0).flatten(1)\n                self.shift.copy_(channels.mean(1)": "self.shift.copy_(x.mean((0, 2, 3))",
        "channels.std(1)": "x.std((0, 2, 3))",
    },
    hint="Your statistics are over the axes 0, 2 and 3: right for a batch (B, C, H, W) alone. Count the channels' axis from the end; whatever stands before it is batch.",
)
wrong(
    ActNorm,
    "forward_sets_the_statistics",
    swap={
        "        x = self.shift + torch.exp(self.log_scale) * u\n": "        if not self.initialized:\n            self.inverse(u)\n        x = self.shift + torch.exp(self.log_scale) * u\n",
    },
    hint="A batch that passes through your forward sets the statistics. Only inverse sees data; noise from the base says nothing about them. Before that, forward leaves u as it is.",
)
wrong(
    ActNorm,
    "variance_for_standard_deviation",
    swap={"channels.std(1)": "channels.var(1)"},
    hint="You divide by the variance. What has the same unit as the data?",
)
wrong(
    ActNorm,
    "statistics_of_every_pixel",
    swap={
        "self.shift.copy_(channels.mean(1).reshape(-1, 1, 1))": "images = x.reshape(-1, *x.shape[-3:])\n                self.shift.data = images.mean(0)",
        "self.log_scale.copy_(channels.std(1).log().reshape(-1, 1, 1))": "self.log_scale.data = images.std(0).log()",
        "u.shape[-1] * u.shape[-2] * self": "self",
        "-x.shape[-1] * x.shape[-2] * self": "-self",
    },
    hint="You take statistics of each pixel. Here all pixels of a channel share one shift and one scale: average over batch, height and width.",
)
wrong(
    ActNorm,
    "not_learned",
    swap={
        "self.shift = nn.Parameter(torch.zeros(C, 1, 1))": 'self.register_buffer("shift", torch.zeros(C, 1, 1))',
        "self.log_scale = nn.Parameter(torch.zeros(C, 1, 1))": 'self.register_buffer("log_scale", torch.zeros(C, 1, 1))',
    },
    hint="Shift and scale are buffers: right at the first batch, and fixed forever. From then on they should learn as other parameters do.",
)
wrong(
    ActNorm,
    "shift_not_scaled_back",
    swap={"(x - self.shift) * torch.exp(-self.log_scale)": "x * torch.exp(-self.log_scale) - self.shift"},
    hint="Forward scales, then shifts. Undo the last step first: subtract, then divide.",
)
wrong(
    ActNorm,
    "log_det_scalar",
    swap={"log_det.expand(u.shape[:-3])": "log_det", "log_det.expand(x.shape[:-3])": "log_det"},
    hint="One log_det for the whole batch: each image has its own, shape (*batch,), even where all are equal.",
)


# ---- TwoScales ---------------------------------------------------------------------------------------------------


class TwoScales(nn.Module):
    def __init__(self, fine, coarse, shape):
        super().__init__()
        self.fine, self.coarse = fine, coarse
        self.half = (shape[0] // 2, shape[1], shape[2])

    def forward(self, u):
        batch = u.shape[:-1]
        z, factored_out = u.chunk(2, dim=-1)
        h, coarse_log_det = self.coarse.forward(z.reshape(*batch, *self.half))
        both = torch.cat([h, factored_out.reshape(*batch, *self.half)], dim=-3)
        x, fine_log_det = self.fine.forward(both)
        return x, coarse_log_det + fine_log_det

    def inverse(self, x):
        batch = x.shape[:-3]
        both, fine_log_det = self.fine.inverse(x)
        h, factored_out = both.chunk(2, dim=-3)
        z, coarse_log_det = self.coarse.inverse(h)
        u = torch.cat([z.reshape(*batch, -1), factored_out.reshape(*batch, -1)], dim=-1)
        return u, coarse_log_det + fine_log_det


wrong(
    TwoScales,
    "coarse_log_det_forgotten",
    swap={"coarse_log_det + fine_log_det": "fine_log_det"},
    hint="The coarse layer stretches half of the variables, and your log_det does not know of it.",
)
wrong(
    TwoScales,
    "log_dets_subtracted",
    swap={"coarse_log_det + fine_log_det": "fine_log_det - coarse_log_det"},
    hint="Each layer reports the log-determinant of the direction it was called in. Both add up, in either direction.",
)
wrong(
    TwoScales,
    "other_half_goes_on",
    swap={
        "both = torch.cat([h, factored_out.reshape(*batch, *self.half)], dim=-3)": "both = torch.cat([factored_out.reshape(*batch, *self.half), h], dim=-3)",
        "h, factored_out = both.chunk(2, dim=-3)": "factored_out, h = both.chunk(2, dim=-3)",
    },
    hint="You pass the second half of the channels on. A valid flow, but not this one: the first half goes on to the coarse layer, the second is factored out.",
)
wrong(
    TwoScales,
    "factored_out_first_in_u",
    swap={
        "z, factored_out = u.chunk(2, dim=-1)": "factored_out, z = u.chunk(2, dim=-1)",
        "torch.cat([z.reshape(*batch, -1), factored_out.reshape(*batch, -1)], dim=-1)": "torch.cat([factored_out.reshape(*batch, -1), z.reshape(*batch, -1)], dim=-1)",
    },
    hint="The order within u: first what the coarse layer gives, then what was factored out. Yours is the other way round.",
)
wrong(
    TwoScales,
    "factored_out_on_the_way_back_alone",
    swap={
        "torch.cat([h, factored_out.reshape(*batch, *self.half)], dim=-3)": "torch.cat([h, h + factored_out.reshape(*batch, *self.half)], dim=-3)",
    },
    hint="On the way to data the factored-out half must enter as it is. Yours gets something added that inverse never takes away.",
)
wrong(
    TwoScales,
    "coarse_layer_left_out",
    swap={
        "h, coarse_log_det = self.coarse.forward(z.reshape(*batch, *self.half))": "h, coarse_log_det = z.reshape(*batch, *self.half), 0",
        "z, coarse_log_det = self.coarse.inverse(h)": "z, coarse_log_det = h, 0",
    },
    hint="The coarse layer is never called: both halves leave after the fine one. The first half goes on.",
)
wrong(
    TwoScales,
    "coarse_next_to_the_data",
    code="""
class TwoScales(nn.Module):
    def __init__(self, fine, coarse, shape):
        super().__init__()
        self.fine, self.coarse, self.shape = fine, coarse, tuple(shape)

    def forward(self, u):
        y, fine_log_det = self.fine.forward(u.reshape(*u.shape[:-1], *self.shape))
        first, second = y.chunk(2, dim=-3)
        first, coarse_log_det = self.coarse.forward(first)
        return torch.cat([first, second], dim=-3), coarse_log_det + fine_log_det

    def inverse(self, x):
        first, second = x.chunk(2, dim=-3)
        first, coarse_log_det = self.coarse.inverse(first)
        u, fine_log_det = self.fine.inverse(torch.cat([first, second], dim=-3))
        return u.flatten(-3), coarse_log_det + fine_log_det
""",
    hint="A valid flow, in the other order: your coarse layer meets the image first, and nothing is factored out. From data to base the fine layer comes first; what it gives is split.",
)
wrong(
    TwoScales,
    "coarse_forward_on_the_way_back",
    swap={"self.coarse.inverse(h)": "self.coarse.forward(h)"},
    hint="Encoding calls the coarse layer's forward. From data to base every layer runs its inverse.",
)
wrong(
    TwoScales,
    "every_other_channel",
    swap={
        "both = torch.cat([h, factored_out.reshape(*batch, *self.half)], dim=-3)": "both = torch.stack([h, factored_out.reshape(*batch, *self.half)], dim=-3).flatten(-4, -3)",
        "h, factored_out = both.chunk(2, dim=-3)": "h, factored_out = both[..., 0::2, :, :], both[..., 1::2, :, :]",
    },
    hint="You take every other channel. The first half of the channels goes on, the second half leaves.",
)
wrong(
    TwoScales,
    "one_batch_axis_assumed",
    swap={
        "batch = u.shape[:-1]": "batch = (len(u),)",
        "batch = x.shape[:-3]": "batch = (len(x),)",
    },
    hint="Your layer wants exactly one batch axis. In u the last axis is the event, in x the last three; all before are batch.",
)
