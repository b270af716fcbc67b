"""What a library does not have, and where its flow is not the same map as the others'."""

__all__ = ["MISSING", "NOTES"]

# (library, family) → why there is no such flow.
MISSING: dict[tuple[str, str], str] = {
    ("FrEIA", "MAF"): "no autoregressive layers",
    ("FrEIA", "spline coupling"): "release 0.2 has no splines",
    ("FrEIA", "residual"): (
        "the log-determinant of IResNetLayer carries no gradient to the weights: its likelihood cannot be maximized"
    ),
    ("FrEIA", "continuous"): "no continuous flows",
    ("normflows", "continuous"): "no continuous flows",
    ("nflows", "residual"): "no residual flows",
    ("nflows", "continuous"): "no continuous flows",
    ("zuko", "Glow"): "no actnorm and no 1×1 convolution",
    ("zuko", "residual"): "no residual flows",
}

_SIGMOID = (
    "scales are sigmoid(v + 2) + 0.001 ≤ 1.001 from data to base: the layers cannot expand in that direction, so "
    "that log p(x) ≤ −(D/2) log 2π + 0.001 · D · layers; with `rescale` the library's ActNorm stands at the data's end. "
    "With weights 0 the scale is 0.882, no identity: the exact one would start where the sigmoid is flat"
)

# (library, family) → what is different.
NOTES: dict[tuple[str, str], str] = {
    ("flowlib", "affine coupling"): "index-split coupling; s unbounded unless a bound is asked for",
    ("FrEIA", "affine coupling"): (
        "GLOWCouplingBlock: two couplings a block; s is softly clamped to ±2 by an arctangent where no bound is asked "
        "for; it has no base, so the normal density is written out"
    ),
    ("normflows", "affine coupling"): (
        "AffineCouplingBlock, halves by turns; exp(s) without a bound: it has none for s alone"
    ),
    ("nflows", "affine coupling"): f"AffineCouplingTransform, masks by turns; {_SIGMOID}",
    ("zuko", "affine coupling"): (
        "NICE, its RealNVP; s is softly clipped to ±log 1000 as s/(1 + |s/log 1000|), or to the bound asked for"
    ),
    ("flowlib", "MAF"): "log-scales of each layer unbounded unless a bound is asked for",
    ("normflows", "MAF"): (
        "its MaskedAffineAutoregressive is an IAF, fast from base to data: wrapped in Reverse; no activation and no "
        f"dropout behind the first hidden layer, so that with one hidden layer its network is linear; {_SIGMOID}"
    ),
    ("nflows", "MAF"): "scales are softplus(v) + 0.001; no dropout behind the first hidden layer",
    ("zuko", "MAF"): "s is softly clipped to ±log 1000, or to the bound asked for",
    ("normflows", "spline coupling"): (
        "PiecewiseRationalQuadraticCoupling in Reverse, for a plain conditioner: its wrapper has residual ones, and "
        "splines for the kept half; widths and heights are divided by the root of the hidden width"
    ),
    ("nflows", "spline coupling"): "widths and heights are divided by the root of the hidden width",
    ("zuko", "spline coupling"): "a coupling (NICE) of its MonotonicRQSTransform; slopes are exponentials",
    ("flowlib", "Glow"): (
        "one level; the conditioner sees and gives all channels, masked: more weights than the others'; the log-diagonal "
        "of the 1×1 convolution is bounded by ±2"
    ),
    ("FrEIA", "Glow"): (
        "AllInOneBlock: a fixed random rotation in place of a trained 1×1 convolution, scales not set by the data, "
        "s clamped to ±2 by tanh; half of our weights"
    ),
    ("normflows", "Glow"): (
        "GlowBlock: scales are sigmoid(v + 2) ≤ 1 from data to base, which actnorm makes up for; the last convolution "
        "starts at 0; no dropout; half of our weights"
    ),
    ("nflows", "Glow"): (
        "ActNorm, OneByOneConvolution (starts as a permutation), AffineCouplingTransform; scales as in its coupling; "
        "half of our weights"
    ),
    (
        "flowlib",
        "residual",
    ): "sine activation, an unconstrained first layer; the log-determinant exact in 2 dimensions",
    ("normflows", "residual"): (
        "LipSwish activation; brute-force log-determinant in 2 dimensions, else a randomly truncated series; "
        "update_lipschitz at each training step; its inverse stops at steps below 0.003"
    ),
    ("flowlib", "continuous"): "Dormand–Prince, rtol 1e-5, atol 1e-6; gradients of the solver's own steps",
    ("zuko", "continuous"): (
        "the same tolerances; time as 3 sines and 3 cosines, so 5 inputs and their weights more; ELU; gradients by the adjoint equation"
    ),
}
