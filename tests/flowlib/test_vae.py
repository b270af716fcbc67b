"""ELBO, importance-weighted bound and VAE against cases whose answer is known exactly."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

from flowlib import (
    VAE,
    Affine,
    BernoulliDecoder,
    CategoricalDecoder,
    Flow,
    FlowPrior,
    GaussianDecoder,
    GaussianEncoder,
    GaussianPrior,
    MixtureOfGaussiansPrior,
    aggregate_posterior_sample,
    elbo,
    importance_weighted_log_likelihood,
    log_weights,
    mlp,
    real_nvp,
)

D, M = 3, 2
SIGMA = math.exp(-0.5)  # its logarithm is exact in float32, the dtype parameters are made in


class LinearGaussian:
    """x = W z + c + σε with prior z ~ N(m, diag(s²)): marginal and posterior are normal, in closed form."""

    def __init__(self, prior_mean: Tensor, prior_scale: Tensor) -> None:
        generator = torch.Generator().manual_seed(0)
        W = torch.randn(D, M, generator=generator, dtype=torch.float64)
        c = torch.randn(D, generator=generator, dtype=torch.float64)
        linear = nn.Linear(M, D).double()
        with torch.no_grad():
            linear.weight.copy_(W)
            linear.bias.copy_(c)
        self.decoder = GaussianDecoder(linear, log_scale=-0.5).double()
        precision = torch.diag(prior_scale**-2) + W.T @ W / SIGMA**2
        covariance = torch.linalg.inv(precision)
        self.marginal = MultivariateNormal(
            W @ prior_mean + c, W @ torch.diag(prior_scale**2) @ W.T + SIGMA**2 * torch.eye(D).double()
        )

        def posterior(x: Tensor) -> MultivariateNormal:
            mean = ((x - c) @ W / SIGMA**2 + prior_mean / prior_scale**2) @ covariance
            return MultivariateNormal(mean, covariance_matrix=covariance)

        self.encoder = posterior
        self.x = torch.randn(6, D, generator=generator, dtype=torch.float64)


def standard() -> tuple[LinearGaussian, nn.Module]:
    return LinearGaussian(torch.zeros(M).double(), torch.ones(M).double()), GaussianPrior(M).double()


def affine_flow() -> tuple[LinearGaussian, nn.Module]:
    mean, scale = torch.tensor([1.0, -2.0]).double(), torch.tensor([0.5, 3.0]).double()
    prior = FlowPrior(Flow(GaussianPrior(M).double(), [Affine(mean, scale)]))
    return LinearGaussian(mean, scale), prior


@pytest.mark.parametrize("case", [standard, affine_flow])
def test_with_the_exact_posterior_every_log_weight_is_log_p(case):
    model, prior = case()
    expected = model.marginal.log_prob(model.x)
    parts = prior, model.decoder, model.encoder
    log_w = log_weights(model.x, *parts, num_samples=9)
    torch.testing.assert_close(log_w, expected.expand(9, -1), rtol=0, atol=1e-12)
    for S in (1, 7):
        torch.testing.assert_close(elbo(model.x, *parts, num_samples=S), expected, rtol=0, atol=1e-12)
        bound = importance_weighted_log_likelihood(model.x, *parts, num_samples=S, chunk_size=3)
        torch.testing.assert_close(bound, expected, rtol=0, atol=1e-12)


def wrong_encoder() -> GaussianEncoder:
    torch.manual_seed(1)
    return GaussianEncoder(nn.Linear(D, 2 * M)).double()


def test_bounds_with_another_encoder_are_bounds_and_tighten():
    model, prior = standard()
    torch.manual_seed(0)
    parts = prior, model.decoder, wrong_encoder()
    with torch.no_grad():
        exact = model.marginal.log_prob(model.x)
        lower = elbo(model.x, *parts, num_samples=4000)
        tighter = importance_weighted_log_likelihood(model.x, *parts, num_samples=20_000, chunk_size=5000)
    assert (lower < exact).all()
    assert (lower < tighter).all()
    torch.testing.assert_close(tighter, exact, rtol=0, atol=0.2)


def test_elbo_has_the_closed_form_value_on_average():
    # E_q[log p(x|z)] − KL(q ‖ p): both in closed form for a linear-Gaussian decoder and diagonal q.
    model, prior = standard()
    encoder = wrong_encoder()
    q = encoder(model.x)
    mean, scale = q.mean, q.stddev
    net = model.decoder.net
    residual = ((model.x - net(mean)) ** 2).sum(-1) + ((net.weight**2) @ (scale**2).T).sum(0)
    reconstruction = -residual / (2 * SIGMA**2) - D * math.log(SIGMA * math.sqrt(2 * math.pi))
    kl = torch.distributions.kl_divergence(q, Independent(Normal(torch.zeros(M).double(), 1.0), 1))
    torch.manual_seed(0)
    log_w = log_weights(model.x, prior, model.decoder, encoder, 20_000)
    tolerance = 5 * log_w.std(0) / math.sqrt(len(log_w))
    assert ((log_w.mean(0) - (reconstruction - kl)).abs() < tolerance).all()


def test_chunks_do_not_change_the_estimate():
    model, prior = standard()
    parts = prior, model.decoder, wrong_encoder()
    values = []
    for chunk_size in (8, 100):
        torch.manual_seed(3)
        values.append(importance_weighted_log_likelihood(model.x, *parts, 16, chunk_size))
    # torch fills normal draws in blocks of 16 numbers: 8 samples × 6 examples × 2 is a whole number of
    # blocks, so both runs see the same draws.
    torch.testing.assert_close(values[0], values[1], rtol=0, atol=1e-12)


def test_far_below_underflow():
    class FarAway(nn.Module):
        def forward(self, z: Tensor) -> Independent:
            return Independent(Normal(z[..., :1] * 0 + 1000.0, 1.0), 1)

    parts = GaussianPrior(M), FarAway(), GaussianEncoder(nn.Linear(1, 2 * M))
    bound = importance_weighted_log_likelihood(torch.zeros(2, 1), *parts, num_samples=20)
    assert bound.isfinite().all()  # log w is near −500,000: exp(log w) is 0


def test_identity_flow_prior_equals_the_standard_prior():
    flow = real_nvp(M, 4, hidden=(16,)).double()
    z = torch.randn(5, 7, M, dtype=torch.float64)
    torch.testing.assert_close(
        FlowPrior(flow)().log_prob(z), GaussianPrior(M)().log_prob(z), rtol=0, atol=1e-12
    )


def test_gradients_reach_encoder_decoder_and_prior():
    for prior in (MixtureOfGaussiansPrior(M, 3), FlowPrior(real_nvp(M, 2))):
        vae = VAE(prior, BernoulliDecoder(mlp([M, 8, D])), GaussianEncoder(mlp([D, 8, 2 * M])))
        vae.loss(torch.randint(2, (20, D)).float()).backward()
        assert all(p.grad is not None for p in vae.parameters())
        assert vae.encoder.net[0].weight.grad.abs().max() > 0


def test_encoder_gradient_is_that_of_the_reparameterized_samples():
    # `sample` for `rsample` leaves every value right, and a gradient through log q alone. With the same noise
    # the estimate is a smooth function of the encoder's bias: central differences give its true gradient.
    model, prior = standard()
    encoder = wrong_encoder()
    bias = encoder.net.bias

    def value() -> Tensor:
        torch.manual_seed(0)
        return elbo(model.x, prior, model.decoder, encoder, num_samples=4).mean()

    (gradient,) = torch.autograd.grad(value(), bias)
    h, differences = 1e-5, []
    with torch.no_grad():
        for i in range(len(bias)):
            bias[i] += h
            above = value()
            bias[i] -= 2 * h
            differences.append((above - value()) / (2 * h))
            bias[i] += h
    torch.testing.assert_close(gradient, torch.stack(differences), rtol=1e-6, atol=1e-6)


def test_vae_elbo_is_the_function():
    vae = VAE(GaussianPrior(M), BernoulliDecoder(nn.Linear(M, D)), GaussianEncoder(nn.Linear(D, 2 * M)))
    x = torch.ones(4, D)
    torch.manual_seed(0)
    got = vae.elbo(x, num_samples=3)
    torch.manual_seed(0)
    torch.testing.assert_close(got, elbo(x, vae.prior, vae.decoder, vae.encoder, 3))
    torch.manual_seed(0)
    loss = vae.loss(x)
    torch.manual_seed(0)
    torch.testing.assert_close(loss, -vae.elbo(x).mean())


def test_vae_samples():
    vae = VAE(GaussianPrior(M), BernoulliDecoder(nn.Linear(M, D)), GaussianEncoder(nn.Linear(D, 2 * M)))
    draws, means = vae.sample(50), vae.sample(50, mean=True)
    assert draws.shape == means.shape == (50, D)
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    assert ((means > 0) & (means < 1)).all()
    assert not means.requires_grad


def test_batch_axes_of_elbo():
    parts = GaussianPrior(M), BernoulliDecoder(nn.Linear(M, D)), GaussianEncoder(nn.Linear(D, 2 * M))
    assert elbo(torch.ones(2, 5, D), *parts, num_samples=3).shape == (2, 5)
    assert importance_weighted_log_likelihood(torch.ones(2, 5, D), *parts, num_samples=3).shape == (2, 5)


def test_aggregate_posterior_is_a_mixture_over_examples():
    # Two far examples with narrow posteriors: half the draws at each, none between.
    class Narrow(nn.Module):
        def forward(self, x: Tensor) -> Independent:
            return Independent(Normal(x, 0.01), 1)

    torch.manual_seed(0)
    z = aggregate_posterior_sample(torch.tensor([[-5.0], [5.0]]), Narrow(), 1000)
    assert z.shape == (1000, 1)
    assert ((z.abs() - 5).abs() < 0.1).all()
    assert 420 < int((z > 0).sum()) < 580
    assert not z.requires_grad


# --- Encoders and decoders ---


def test_categorical_decoder_is_a_softmax_over_each_pixel():
    decoder = CategoricalDecoder(nn.Linear(M, D * 17)).double()
    z, x = torch.randn(4, M).double(), torch.randint(17, (4, D))
    log_p = decoder.net(z).reshape(4, D, 17).log_softmax(-1)
    expected = log_p.gather(-1, x[..., None]).squeeze(-1).sum(-1)
    p = decoder(z)
    torch.testing.assert_close(p.log_prob(x.double()), expected)
    levels = torch.arange(17).double()
    torch.testing.assert_close(p.mean, (log_p.exp() * levels).sum(-1))
    torch.testing.assert_close(p.variance, (log_p.exp() * (levels - p.mean[..., None]) ** 2).sum(-1))


def test_gaussian_encoder_and_decoder_by_hand():
    net = nn.Linear(D, 2 * M)
    q, x = GaussianEncoder(net), torch.randn(5, D)
    torch.testing.assert_close(q(x).mean, net(x)[:, :M])
    torch.testing.assert_close(q(x).stddev, net(x)[:, M:].exp())
    decoder = GaussianDecoder(nn.Linear(M, D), log_scale=-1.0)
    assert decoder.log_scale.requires_grad
    assert not GaussianDecoder(nn.Linear(M, D), learnable=False).log_scale.requires_grad
    torch.testing.assert_close(decoder(torch.zeros(2, M)).stddev, torch.full((2, D), math.exp(-1)))


def test_mlp():
    net = mlp([3, 8, 9, 2], dropout=0.1, activation=nn.Tanh)
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == ["Linear", "Tanh", "Dropout", "Linear", "Tanh", "Dropout", "Linear"]
    assert [layer.out_features for layer in net if isinstance(layer, nn.Linear)] == [8, 9, 2]
    assert not any(p.any() for p in mlp([3, 8, 2], zero_last=True)[-1].parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp([3]), "at least an input and an output"),
        (lambda: mlp([3, 0]), "positive integer, got 0"),
        (lambda: GaussianEncoder(nn.Linear(3, 5))(torch.ones(2, 3)), "even output width .* got 5"),
        (lambda: CategoricalDecoder(nn.Linear(2, 18))(torch.ones(2, 2)), "divisible by 17 levels, got 18"),
        (
            lambda: BernoulliDecoder(nn.Linear(2, 3))(torch.ones(2, 2)).log_prob(torch.full((2, 3), 0.5)),
            "support",
        ),
        (lambda: elbo(torch.ones(2, 3), *[None] * 2, GaussianEncoder(nn.Linear(3, 4)), 0), "num_samples"),
    ],
)
def test_errors_name_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()
