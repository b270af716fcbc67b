"""flowlib: a small reference package of normalizing flows.

Directions, everywhere:

* `forward` goes from base u to data x and returns `(x, log_det)`, log_det = log|det ∂x/∂u|;
* `inverse` goes from data x to base u and returns `(u, log_det)`, log_det = log|det ∂u/∂x|.

Layers take `(*batch, D)`; log_det is `(*batch,)`, in nats.
Import `data`, `plotting`, `symbolic` and `verify` by name, as in `from flowlib import plotting`.
"""

from flowlib.bases import DiagonalNormal, MixtureOfGaussians, StandardNormal
from flowlib.change_of_variables import affine_log_prob, negative_log_likelihood, sample_by_inverse_cdf
from flowlib.coupling import (
    AdditiveCouplingLayer,
    AffineCoupling,
    MaskedCouplingLayer,
    SplitCoupling,
    alternating_masks,
)
from flowlib.elementwise import AffineElementwise, Elementwise
from flowlib.fit import History, fit
from flowlib.flow import Flow
from flowlib.jacobians import batch_jacobian, log_abs_det_triangular
from flowlib.linear import Affine, Permutation, Rescaling
from flowlib.networks import BernoulliDecoder, CategoricalDecoder, GaussianDecoder, GaussianEncoder, mlp
from flowlib.pretrained import load_flow_2d, load_results
from flowlib.priors import FlowPrior, GaussianPrior, MixtureOfGaussiansPrior
from flowlib.realnvp import real_nvp
from flowlib.reshape import Reshape
from flowlib.transform import Composition, Transform
from flowlib.vae import (
    VAE,
    aggregate_posterior_log_prob,
    aggregate_posterior_sample,
    elbo,
    importance_weighted_log_likelihood,
    log_weights,
)

__all__ = [
    "VAE",
    "AdditiveCouplingLayer",
    "Affine",
    "AffineCoupling",
    "AffineElementwise",
    "BernoulliDecoder",
    "CategoricalDecoder",
    "Composition",
    "DiagonalNormal",
    "Elementwise",
    "Flow",
    "FlowPrior",
    "GaussianDecoder",
    "GaussianEncoder",
    "GaussianPrior",
    "History",
    "MaskedCouplingLayer",
    "MixtureOfGaussians",
    "MixtureOfGaussiansPrior",
    "Permutation",
    "Rescaling",
    "Reshape",
    "SplitCoupling",
    "StandardNormal",
    "Transform",
    "affine_log_prob",
    "aggregate_posterior_log_prob",
    "aggregate_posterior_sample",
    "alternating_masks",
    "batch_jacobian",
    "elbo",
    "fit",
    "importance_weighted_log_likelihood",
    "load_flow_2d",
    "load_results",
    "log_abs_det_triangular",
    "log_weights",
    "mlp",
    "negative_log_likelihood",
    "real_nvp",
    "sample_by_inverse_cdf",
]
