"""Right solutions of 04_variational_autoencoder, written in other ways. Each section stands alone below the notebook's imports."""

# ruff: noqa: F821 (names of the notebook's first cell)

# %% reparameterize: torch.normal of the standard base, one sample at a time


def reparameterize(mean, log_std, num_samples):
    draws = []
    for _ in range(num_samples):
        epsilon = torch.normal(torch.zeros_like(mean), torch.ones_like(mean))
        draws.append(torch.addcmul(mean, torch.exp(log_std), epsilon))
    return torch.stack(draws)


# %% reparameterize: noise by inverse transform, with a warning


def reparameterize(mean, log_std, num_samples):
    import warnings

    warnings.warn("drawing uniform numbers", stacklevel=2)
    uniform = torch.rand((num_samples, *mean.shape), dtype=torch.float64).clamp(1e-15, 1 - 1e-15)
    epsilon = math.sqrt(2) * torch.erfinv(2 * uniform - 1)
    return mean.unsqueeze(0) + torch.exp(2 * log_std).sqrt().unsqueeze(0) * epsilon


# %% reparameterize: single precision


def reparameterize(mean, log_std, num_samples):
    mean, scale = mean.float(), log_std.float().exp()
    return torch.randn(num_samples, *mean.shape).mul(scale).add(mean)


# %% gaussian_kl: sum of cross-entropy and negative entropy


def gaussian_kl(mean_q, std_q, mean_p, std_p):
    half = sp.Rational(1, 2)
    second_moment = std_q**2 + mean_q**2 - 2 * mean_p * mean_q + mean_p**2
    cross_entropy = half * sp.log(2 * sp.pi * std_p**2) + second_moment / (2 * std_p**2)
    entropy = half * sp.log(2 * sp.pi * sp.E * std_q**2)
    return sp.simplify(cross_entropy - entropy)


# %% gaussian_kl: the integral, by sympy


def gaussian_kl(mean_q, std_q, mean_p, std_p):
    e = sp.Symbol("e", real=True)
    z = mean_q + std_q * e
    log_q = -(e**2) / 2 - sp.log(std_q)
    log_p = -((z - mean_p) ** 2) / (2 * std_p**2) - sp.log(std_p)
    noise = sp.exp(-(e**2) / 2) / sp.sqrt(2 * sp.pi)
    return sp.integrate(sp.expand(log_q - log_p) * noise, (e, -sp.oo, sp.oo))


# %% gaussian_kl: floating-point constants


def gaussian_kl(mean_q, std_q, mean_p, std_p):
    ratio = (std_q / std_p) ** 2
    return 0.5 * (ratio + ((mean_q - mean_p) / std_p) ** 2 - 1.0 - sp.log(ratio))


# %% exact_posterior: Cholesky solve, one example at a time


def exact_posterior(x, W, b, sigma):
    D, M = W.shape
    L = torch.linalg.cholesky(torch.eye(M, dtype=W.dtype) + W.T @ W / sigma**2)
    cov = torch.cholesky_inverse(L)
    rows = []
    for row in x.reshape(-1, D):
        right = (W.T @ (row - b) / sigma**2)[:, None]
        rows.append(torch.cholesky_solve(right, L)[:, 0])
    return torch.stack(rows).reshape(*x.shape[:-1], M), cov


# %% exact_posterior: conditioning the joint Gaussian of x and z


def exact_posterior(x, W, b, sigma):
    D, M = W.shape
    gain = torch.linalg.solve(W @ W.T + sigma**2 * torch.eye(D, dtype=W.dtype), W).T
    print("Kalman gain", tuple(gain.shape))
    return torch.einsum("md,...d->...m", gain, x - b), torch.eye(M, dtype=W.dtype) - gain @ W


# %% elbo: one sample at a time


def elbo(x, prior, decoder, encoder, num_samples=1):
    total = 0.0
    for _ in range(num_samples):
        q = encoder(x)
        z = q.rsample()
        total = total + decoder(z).log_prob(x)
        total = total + prior().log_prob(z)
        total = total - q.log_prob(z)
    return total / num_samples


# %% elbo: examples repeated and flattened into one long batch


def elbo(x, prior, decoder, encoder, num_samples=1):
    batch, D = x.shape[:-1], x.shape[-1]
    long = x.reshape(-1, D).repeat_interleave(num_samples, dim=0)
    q = encoder(long)
    z = q.rsample()
    log_w = decoder(z).log_prob(long) + prior().log_prob(z) - q.log_prob(z)
    return log_w.view(-1, num_samples).mean(dim=1).reshape(batch)


# %% elbo: three terms averaged apart, keyword arguments, prints


def _terms(x, z, *, prior, decoder, q):
    yield "reconstruction", decoder(z).log_prob(x)
    yield "prior", prior().log_prob(z)
    yield "entropy", -q.log_prob(z)


def elbo(x, prior, decoder, encoder, num_samples=1):
    q = encoder(x)
    z = q.rsample(sample_shape=torch.Size([num_samples]))
    means = {k: v.sum(0) / v.shape[0] for k, v in _terms(x, z, prior=prior, decoder=decoder, q=q)}
    print({k: tuple(v.shape) for k, v in means.items()})
    return torch.stack(list(means.values())).sum(0)


# %% elbo: a class with a call, x expanded by hand


class _Bound:
    def __init__(self, prior, decoder, encoder):
        self.p_z, self.decoder, self.encoder = prior(), decoder, encoder

    def log_weights(self, x, S):
        q = self.encoder(x)
        z = q.rsample((S,))
        return self.decoder(z).log_prob(x.expand(S, *x.shape)) + self.p_z.log_prob(z) - q.log_prob(z)


def elbo(x, prior, decoder, encoder, num_samples=1):
    w = _Bound(prior, decoder, encoder).log_weights(x, num_samples)
    return torch.einsum("s...->...", w) / num_samples


# %% elbo: single precision


def elbo(x, prior, decoder, encoder, num_samples=1):
    q = encoder(x)
    z = q.rsample((num_samples,))
    log_w = decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)
    return log_w.mean(dim=0).float()


# %% elbo: sticking the landing, an unbiased gradient of another form


def elbo(x, prior, decoder, encoder, num_samples=1):
    q = encoder(x)
    z = q.rsample((num_samples,))
    log_joint = decoder(z).log_prob(x) + prior().log_prob(z)
    # The gradient of log q by its own parameters averages to 0: keep its value, subtract its gradient.
    score = q.log_prob(z.detach())
    return (log_joint - q.log_prob(z) + (score - score.detach())).mean(0)


# %% importance_weighted_log_likelihood: running log-sum, one sample at a time


def importance_weighted_log_likelihood(x, prior, decoder, encoder, num_samples):
    q = encoder(x)
    total = torch.full(x.shape[:-1], -math.inf, dtype=x.dtype)
    for _ in range(num_samples):
        z = q.rsample()
        log_w = decoder(z).log_prob(x) + prior().log_prob(z) - q.log_prob(z)
        total = torch.logaddexp(total, log_w)
    return total - np.log(num_samples)


# %% importance_weighted_log_likelihood: all log-weights kept, logsumexp by hand at the end


def importance_weighted_log_likelihood(x, prior, decoder, encoder, num_samples):
    def chunk(size):
        q = encoder(x)
        z = q.sample((size,))
        return decoder(z).log_prob(x) - q.log_prob(z) + prior().log_prob(z)

    with torch.no_grad():
        full, rest = divmod(num_samples, 64)
        parts = [chunk(64) for _ in range(full)] + ([chunk(rest)] if rest else [])
        log_w = torch.cat(parts)
        top = log_w.max(dim=0).values
        return top + (log_w - top).exp().mean(0).log()


# %% importance_weighted_log_likelihood: one example at a time


def importance_weighted_log_likelihood(x, prior, decoder, encoder, num_samples):
    answers = []
    for row in x.reshape(-1, x.shape[-1]):
        q = encoder(row[None])
        logs = []
        for size in torch.ones(num_samples).split(96):
            z = q.rsample((len(size),))
            logs.append((decoder(z).log_prob(row) + prior().log_prob(z) - q.log_prob(z))[:, 0])
        answers.append(torch.cat(logs).logsumexp(0) - math.log(num_samples))
    return torch.stack(answers).reshape(x.shape[:-1])


# %% importance_weighted_log_likelihood: chunk means weighted by their sizes, in numpy at the end


def importance_weighted_log_likelihood(x, prior, decoder, encoder, num_samples):
    sizes = [len(part) for part in np.array_split(np.arange(num_samples), math.ceil(num_samples / 100))]
    means = []
    for size in sizes:
        w = flowlib.log_weights(x, prior, decoder, encoder, size).detach()
        means.append(w.logsumexp(0) - math.log(size))
    share = torch.tensor(sizes, dtype=x.dtype).log() - math.log(num_samples)
    stacked = torch.stack(means) + share.reshape(-1, *[1] * (x.ndim - 1))
    return torch.logsumexp(stacked, dim=0)


# %% VAE: everything written out, noise not from distributions' helpers


class VAE(nn.Module):
    def __init__(self, prior, decoder, encoder):
        super().__init__()
        self.add_module("prior", prior)
        self.add_module("decoder", decoder)
        self.add_module("encoder", encoder)

    def elbo(self, x):
        q = self.encoder(x)
        z = q.rsample()
        return self.decoder(z).log_prob(x) + self.prior().log_prob(z) - q.log_prob(z)

    def loss(self, x):
        per_example = self.elbo(x)
        return per_example.sum() / -per_example.numel()

    @torch.no_grad()
    def sample(self, n, mean=False):
        rows = []
        for _ in range(n):
            p = self.decoder(self.prior().sample())
            rows.append(p.mean if mean is True else p.sample())
        return torch.stack(rows)


# %% VAE: inherits from the course's package


class VAE(flowlib.VAE):
    def __init__(self, prior, decoder, encoder):
        super().__init__(prior=prior, decoder=decoder, encoder=encoder)
        print("a VAE with", sum(p.numel() for p in self.parameters()), "parameters")


# %% VAE: parts in a ModuleDict, gradients left on while sampling


class VAE(nn.Module):
    def __init__(self, prior, decoder, encoder):
        super().__init__()
        self.parts = nn.ModuleDict({"p(z)": prior, "p(x given z)": decoder, "q(z given x)": encoder})

    def elbo(self, x, num_samples=3):
        return flowlib.log_weights(x, *self.parts.values(), num_samples).mean(dim=0)

    def loss(self, x):
        return torch.mean(-self.elbo(x))

    def sample(self, n, mean=False):
        z = self.parts["p(z)"]().sample((n,))
        p = self.parts["p(x given z)"](z)
        return {True: lambda: p.mean, False: lambda: p.sample()}[bool(mean)]()


# %% VAE: warns, single precision results


class VAE(nn.Module):
    def __init__(self, prior, decoder, encoder):
        import warnings

        super().__init__()
        warnings.warn("this VAE answers in single precision", stacklevel=2)
        self.prior, self.decoder, self.encoder = prior, decoder, encoder

    def elbo(self, x):
        return flowlib.elbo(x, self.prior, self.decoder, self.encoder, num_samples=1).float()

    def loss(self, x):
        return self.elbo(x).mean().neg()

    def sample(self, n, mean=False):
        p = self.decoder(self.prior().sample(torch.Size([n])))
        x = p.mean if mean else p.sample()
        return x.detach().float()


# %% wrong_lines: a tuple


def wrong_lines():
    return 2, 5, 7


# %% wrong_lines: by elimination, unordered


def wrong_lines():
    right = {1, 3, 4, 6, 8}
    return [k for k in range(8, 0, -1) if k not in right]
