"""flowlib: a small reference package of normalizing flows.

Directions, everywhere:

* `forward` goes from base u to data x and returns `(x, log_det)`, log_det = log|det ∂x/∂u|;
* `inverse` goes from data x to base u and returns `(u, log_det)`, log_det = log|det ∂u/∂x|.

Layers take `(*batch, D)`; log_det is `(*batch,)`, in nats.
Import `data`, `interactive`, `plotting`, `symbolic` and `verify` by name, as in `from flowlib import plotting`.
"""

from flowlib.autoregressive import (
    MADE,
    AutoregressiveBernoulli,
    InverseAutoregressive,
    MaskedAutoregressive,
    MaskedLinear,
    iaf,
    maf,
)
from flowlib.bases import DiagonalNormal, MixtureOfGaussians, StandardNormal
from flowlib.change_of_variables import affine_log_prob, negative_log_likelihood, sample_by_inverse_cdf
from flowlib.continuous import (
    Continuous,
    VelocityNet,
    continuous_flow,
    flow_matching_loss,
    trace_of_jacobian,
)
from flowlib.coupling import (
    AdditiveCouplingLayer,
    AffineCoupling,
    MaskedCouplingLayer,
    SplitCoupling,
    alternating_masks,
)
from flowlib.diffusion import DiffusedMixture, ProbabilityFlow, VariancePreserving, diffusion_elbo
from flowlib.discrete import bits_per_dim, dequantization_bound, discrete_log_prob
from flowlib.distillation import distillation_loss
from flowlib.elementwise import AffineElementwise, Elementwise
from flowlib.energies import ENERGIES, Energy
from flowlib.errors import ConvergenceError, IntegrationError, InversionError
from flowlib.fit import History, fit
from flowlib.flow import Flow
from flowlib.generators import (
    GANHistory,
    Generator,
    fit_gan,
    gan_losses,
    mmd2,
    mode_coverage,
    r1_penalty,
    random_directions,
    sliced_wasserstein,
)
from flowlib.glow import ActNorm, InvertibleConv1x1, glow
from flowlib.histogram import HistogramMarginals
from flowlib.image import (
    ImageCoupling,
    MultiScale,
    Squeeze,
    channel_mask,
    checkerboard_mask,
    conv_net,
    dense_net,
    image_real_nvp,
)
from flowlib.jacobians import batch_jacobian, log_abs_det_triangular
from flowlib.linear import Affine, Permutation, Rescaling
from flowlib.linear_flows import OrthogonalLinear, PLULinear
from flowlib.lipschitz import (
    LipschitzMLP,
    LipSwish,
    Sine,
    SpectralLinear,
    lipschitz_bound,
    spectral_normalize,
)
from flowlib.networks import BernoulliDecoder, CategoricalDecoder, GaussianDecoder, GaussianEncoder, mlp
from flowlib.ode import AdaptiveStep, FixedStep
from flowlib.planar import Planar
from flowlib.posteriors import FlowEncoder, FlowPosterior
from flowlib.pretrained import load_flow_2d, load_results
from flowlib.priors import FlowPrior, GaussianPrior, MixtureOfGaussiansPrior
from flowlib.realnvp import real_nvp
from flowlib.reshape import Flatten, Reshape
from flowlib.residual import (
    Residual,
    differentiable_jacobian,
    fixed_point_inverse,
    hutchinson_trace,
    log_det_series,
    residual_flow,
)
from flowlib.spline import RationalQuadraticSpline, SplineLayer, spline_flow
from flowlib.transform import Composition, Transform
from flowlib.vae import (
    VAE,
    aggregate_posterior_log_prob,
    aggregate_posterior_sample,
    elbo,
    importance_weighted_log_likelihood,
    log_weights,
)
from flowlib.version import __version__ as __version__

__all__ = [
    "ENERGIES",
    "MADE",
    "VAE",
    "ActNorm",
    "AdaptiveStep",
    "AdditiveCouplingLayer",
    "Affine",
    "AffineCoupling",
    "AffineElementwise",
    "AutoregressiveBernoulli",
    "BernoulliDecoder",
    "CategoricalDecoder",
    "Composition",
    "Continuous",
    "ConvergenceError",
    "DiagonalNormal",
    "DiffusedMixture",
    "Elementwise",
    "Energy",
    "FixedStep",
    "Flatten",
    "Flow",
    "FlowEncoder",
    "FlowPosterior",
    "FlowPrior",
    "GANHistory",
    "GaussianDecoder",
    "GaussianEncoder",
    "GaussianPrior",
    "Generator",
    "HistogramMarginals",
    "History",
    "ImageCoupling",
    "IntegrationError",
    "InverseAutoregressive",
    "InversionError",
    "InvertibleConv1x1",
    "LipSwish",
    "LipschitzMLP",
    "MaskedAutoregressive",
    "MaskedCouplingLayer",
    "MaskedLinear",
    "MixtureOfGaussians",
    "MixtureOfGaussiansPrior",
    "MultiScale",
    "OrthogonalLinear",
    "PLULinear",
    "Permutation",
    "Planar",
    "ProbabilityFlow",
    "RationalQuadraticSpline",
    "Rescaling",
    "Reshape",
    "Residual",
    "Sine",
    "SpectralLinear",
    "SplineLayer",
    "SplitCoupling",
    "Squeeze",
    "StandardNormal",
    "Transform",
    "VariancePreserving",
    "VelocityNet",
    "affine_log_prob",
    "aggregate_posterior_log_prob",
    "aggregate_posterior_sample",
    "alternating_masks",
    "batch_jacobian",
    "bits_per_dim",
    "channel_mask",
    "checkerboard_mask",
    "continuous_flow",
    "conv_net",
    "dense_net",
    "dequantization_bound",
    "differentiable_jacobian",
    "diffusion_elbo",
    "discrete_log_prob",
    "distillation_loss",
    "elbo",
    "fit",
    "fit_gan",
    "fixed_point_inverse",
    "flow_matching_loss",
    "gan_losses",
    "glow",
    "hutchinson_trace",
    "iaf",
    "image_real_nvp",
    "importance_weighted_log_likelihood",
    "lipschitz_bound",
    "load_flow_2d",
    "load_results",
    "log_abs_det_triangular",
    "log_det_series",
    "log_weights",
    "maf",
    "mlp",
    "mmd2",
    "mode_coverage",
    "negative_log_likelihood",
    "r1_penalty",
    "random_directions",
    "real_nvp",
    "residual_flow",
    "sample_by_inverse_cdf",
    "sliced_wasserstein",
    "spectral_normalize",
    "spline_flow",
    "trace_of_jacobian",
]
