"""The variational autoencoder: its bounds on log p(x), training and sampling.

Both bounds are made from the same log-weights, log w = log p(x given z) + log p(z) − log q(z given x), z ~ q:
the ELBO is the mean of log w, the importance-weighted bound is the logarithm of the mean of w.
"""

import math

import torch
from torch import Tensor, nn

from flowlib.checks import check_size

__all__ = [
    "VAE",
    "aggregate_posterior_log_prob",
    "aggregate_posterior_sample",
    "elbo",
    "importance_weighted_log_likelihood",
    "log_weights",
]


def log_weights(
    x: Tensor, prior: nn.Module, decoder: nn.Module, encoder: nn.Module, num_samples: int = 1
) -> Tensor:
    """log w = log p(x given z) + log p(z) − log q(z given x), z ~ q; nats, `(num_samples, *batch)`.

    z is reparameterized (`rsample`), so gradients reach the encoder. x is `(*batch, D)`; prior, decoder and
    encoder are modules returning distributions. Raises `ValueError` for num_samples < 1.

    >>> from flowlib import BernoulliDecoder, GaussianEncoder, GaussianPrior
    >>> parts = GaussianPrior(2), BernoulliDecoder(nn.Linear(2, 3)), GaussianEncoder(nn.Linear(3, 4))
    >>> log_weights(torch.ones(5, 3), *parts, num_samples=7).shape
    torch.Size([7, 5])
    """
    q = encoder(x)
    z = q.rsample((check_size("num_samples", num_samples),))
    return decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)


def elbo(x: Tensor, prior: nn.Module, decoder: nn.Module, encoder: nn.Module, num_samples: int = 1) -> Tensor:
    """The evidence lower bound E_q[log w] ≤ log p(x), estimated with num_samples draws; nats, `(*batch,)`.

    No closed-form KL divergence enters, so any prior with a `log_prob` fits.
    Source: Kingma, Welling 2013, arXiv:1312.6114.

    >>> from flowlib import BernoulliDecoder, GaussianEncoder, GaussianPrior
    >>> parts = GaussianPrior(2), BernoulliDecoder(nn.Linear(2, 3)), GaussianEncoder(nn.Linear(3, 4))
    >>> elbo(torch.ones(5, 3), *parts).shape
    torch.Size([5])
    """
    return log_weights(x, prior, decoder, encoder, num_samples).mean(0)


def importance_weighted_log_likelihood(
    x: Tensor,
    prior: nn.Module,
    decoder: nn.Module,
    encoder: nn.Module,
    num_samples: int,
    chunk_size: int = 50,
) -> Tensor:
    """The importance-weighted bound log (1/S) Σ_s w_s, S = num_samples; nats, `(*batch,)`.

    It grows with S in expectation and converges to log p(x). The samples are drawn chunk_size at a time, and
    the
    chunks are joined by logsumexp: under `torch.no_grad()` memory does not grow with S.
    Source: Burda, Grosse, Salakhutdinov 2015, arXiv:1509.00519.

    >>> from flowlib import BernoulliDecoder, GaussianEncoder, GaussianPrior
    >>> parts = GaussianPrior(2), BernoulliDecoder(nn.Linear(2, 3)), GaussianEncoder(nn.Linear(3, 4))
    >>> importance_weighted_log_likelihood(torch.ones(5, 3), *parts, num_samples=120).shape
    torch.Size([5])
    """
    check_size("num_samples", num_samples)
    check_size("chunk_size", chunk_size)
    chunks = []
    for start in range(0, num_samples, chunk_size):
        size = min(chunk_size, num_samples - start)
        chunks.append(log_weights(x, prior, decoder, encoder, size).logsumexp(0))
    return torch.stack(chunks).logsumexp(0) - math.log(num_samples)


class VAE(nn.Module):
    """A variational autoencoder: p(x) = ∫ p(x given z) p(z) dz, trained through the ELBO.

    prior, decoder and encoder are modules whose call returns a distribution (see `priors` and `networks`).

    >>> from flowlib import BernoulliDecoder, GaussianEncoder, GaussianPrior
    >>> vae = VAE(GaussianPrior(2), BernoulliDecoder(nn.Linear(2, 3)), GaussianEncoder(nn.Linear(3, 4)))
    >>> vae.sample(6).shape, vae.loss(torch.ones(5, 3)).shape
    (torch.Size([6, 3]), torch.Size([]))
    """

    def __init__(self, prior: nn.Module, decoder: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.decoder = decoder
        self.encoder = encoder

    def elbo(self, x: Tensor, num_samples: int = 1) -> Tensor:
        """The ELBO of each example, nats, `(*batch,)`."""
        return elbo(x, self.prior, self.decoder, self.encoder, num_samples)

    def loss(self, x: Tensor) -> Tensor:
        """Minus the mean ELBO of a batch, a scalar in nats."""
        return -self.elbo(x).mean()

    @torch.no_grad()
    def sample(self, n: int, mean: bool = False) -> Tensor:
        """n draws x `(n, D)`: z from the prior, then x from the decoder, or its mean with `mean=True`."""
        p = self.decoder(self.prior().sample((n,)))
        return p.mean if mean else p.sample()


@torch.no_grad()
def aggregate_posterior_sample(x: Tensor, encoder: nn.Module, n: int) -> Tensor:
    """n draws `(n, M)` from the aggregate posterior q(z) = (1/N) Σ_i q(z given x_i).

    An example is picked with replacement, then its posterior is sampled. x is `(N, D)`; no gradient.
    Source: Hoffman, Johnson 2016, "ELBO surgery".

    >>> from flowlib import GaussianEncoder
    >>> aggregate_posterior_sample(torch.ones(5, 3), GaussianEncoder(nn.Linear(3, 4)), n=8).shape
    torch.Size([8, 2])
    """
    index = torch.randint(len(x), (check_size("n", n),), device=x.device)
    return encoder(x[index]).sample()


def aggregate_posterior_log_prob(z: Tensor, x: Tensor, encoder: nn.Module, chunk_size: int = 500) -> Tensor:
    """log q(z) = log (1/N) Σ_i q(z given x_i), the aggregate posterior's log-density in nats: z `(n, M)` → `(n,)`.

    x is `(N, D)`. The table of n × N log-densities is made chunk_size rows at a time.
    Source: Hoffman, Johnson 2016, "ELBO surgery".

    >>> from flowlib import GaussianEncoder
    >>> encoder = GaussianEncoder(nn.Linear(3, 4))
    >>> aggregate_posterior_log_prob(torch.zeros(7, 2), torch.ones(5, 3), encoder).shape
    torch.Size([7])
    """
    q = encoder(x)
    rows = [
        q.log_prob(part.unsqueeze(1)).logsumexp(1) for part in z.split(check_size("chunk_size", chunk_size))
    ]
    return torch.cat(rows) - math.log(len(x))
