"""Right solutions of 08_variational_inference, written in other ways. Each section stands alone below the notebook's imports."""

# ruff: noqa: F821 (names of the notebook's first cell)

# %% free_energy: one draw at a time


def free_energy(energy, base, transform, num_samples):
    total = 0.0
    for _ in range(num_samples):
        q0 = base()
        u = q0.rsample()
        z, log_det = transform.forward(u)
        total = total + energy(z) + q0.log_prob(u) - log_det
    return total / num_samples


# %% free_energy: three averages, entropy of the base first, prints


def free_energy(energy, base, transform, num_samples):
    u = base().rsample(sample_shape=torch.Size([num_samples]))
    entropy = -torch.mean(base().log_prob(u))
    z, stretch = transform(u)
    print("entropy", entropy.item())
    return torch.mean(energy(z)) - (entropy + torch.mean(stretch))


# %% free_energy: a KL divergence to an unnormalized density, with a helper


def _log_weight(z, log_q, energy):
    return torch.neg(energy(z)) - log_q


def free_energy(energy, base, transform, num_samples):
    q0 = base()
    u = q0.rsample((num_samples,))
    z, log_det = transform(u)
    return -_log_weight(z, torch.sub(q0.log_prob(u), log_det), energy).sum() / num_samples


# %% free_energy: a class, draws flattened into batches of their own


class _Estimate:
    def __init__(self, energy, base, transform):
        self.energy, self.q0, self.transform = energy, base(), transform

    def values(self, shape):
        u = self.q0.rsample(shape)
        z, log_det = self.transform(u)
        yield self.q0.log_prob(u)
        yield torch.neg(log_det)
        yield self.energy(z)


def free_energy(energy, base, transform, num_samples):
    terms = _Estimate(energy, base, transform).values((num_samples, 1))
    return torch.stack([term.mean() for term in terms]).sum()


# %% planar_determinant: the Jacobian as a matrix, its determinant by sympy


def planar_determinant(u, v, w, b):
    a = b + sum(wi * ui for wi, ui in zip(w, u, strict=True))
    z = sp.Matrix([ui + vi * sp.tanh(a) for ui, vi in zip(u, v, strict=True)])
    return z.jacobian(list(u)).det()


# %% planar_determinant: vectors as matrices, sech for the slope


def planar_determinant(u, v, w, b):
    u, v, w = (sp.Matrix(list(c)) for c in (u, v, w))
    return sp.Integer(1) + w.dot(v) / sp.cosh(w.dot(u) + b) ** 2


# %% planar_determinant: differentiated by sympy


def planar_determinant(u, v, w, b):
    c = sp.Symbol("c", real=True)
    slope = sp.diff(sp.tanh(c), c).subs(c, sum(wi * ui for wi, ui in zip(w, u, strict=True)) + b)
    return sp.expand(1 + slope * sum(wi * vi for wi, vi in zip(w, v, strict=True)))


# %% constrain: v is split into its parts along and across w


def constrain(v, w):
    direction = w / w.norm(dim=-1, keepdim=True)
    along = (v * direction).sum(-1, keepdim=True)
    across = v - along * direction
    m = torch.nn.functional.softplus((w * v).sum(-1, keepdim=True)) - 1
    return across + m / w.norm(dim=-1, keepdim=True) * direction


# %% constrain: einsum, softplus by hand


def constrain(v, w):
    c = torch.einsum("...d,...d->...", w, v)
    m = -1 + torch.clamp(c, min=0) + torch.log1p(torch.exp(-c.abs()))
    delta = (m - c) / torch.einsum("...d,...d->...", w, w)
    return v + delta[..., None] * w


# %% constrain: example by example, with a warning


def constrain(v, w):
    import warnings

    warnings.warn("one at a time", stacklevel=2)
    rows = []
    for one_v, one_w in zip(v.reshape(-1, v.shape[-1]), w.reshape(-1, w.shape[-1]), strict=True):
        c = torch.dot(one_w, one_v)
        m = torch.logaddexp(c, torch.zeros((), dtype=c.dtype)) - 1
        rows.append(one_v + (m - c) / torch.dot(one_w, one_w) * one_w)
    return torch.stack(rows).reshape(v.shape)


# %% constrain: single precision


def constrain(v, w):
    v, w = v.float(), w.float()
    c = (w * v).sum(-1, keepdim=True)
    return v + (torch.logaddexp(c, torch.zeros_like(c)) - 1 - c) * w / (w**2).sum(-1, keepdim=True)


# %% planar_forward: hyperbolic cosine for the slope


def planar_forward(u, v, w, b):
    a = torch.einsum("...d,...d->...", w.expand_as(u), u) + b
    inner = torch.einsum("...d,...d->...", w, v)
    log_det = (1 + inner / torch.cosh(a) ** 2).abs().log()
    return u + torch.tanh(a)[..., None] * v, log_det


# %% planar_forward: the determinant of the whole Jacobian


def planar_forward(u, v, w, b):
    a = (w * u).sum(-1, keepdim=True) + b[..., None]
    slope = 1 - torch.tanh(a) ** 2
    eye = torch.eye(u.shape[-1], dtype=u.dtype)
    J = eye + slope[..., None] * v[..., :, None] * w[..., None, :]
    return u + v * torch.tanh(a), torch.linalg.slogdet(J)[1]


# %% planar_forward: single precision, keepdim throughout


def planar_forward(u, v, w, b):
    u, v, w, b = (t.float() for t in (u, v, w, b))
    bump = torch.sum(u * w, dim=-1, keepdim=True).add(b.unsqueeze(-1)).tanh()
    slope = bump.square().neg().add(1)
    det = slope * torch.sum(v * w, dim=-1, keepdim=True) + 1
    return torch.addcmul(u, v.expand_as(u), bump), det.log().squeeze(-1)


# %% planar_forward: the map written once, its log-determinant by autodiff of one number


def planar_forward(u, v, w, b):
    a = (w * u).sum(dim=-1) + b

    def along(a):
        return a + (w * v).sum(dim=-1) * torch.tanh(a)

    _, slope = torch.func.jvp(along, (a,), (torch.ones_like(a),))
    return u + v * torch.tanh(a).unsqueeze(-1), slope.abs().log()


# %% planar_inverse: Newton's method within a bracket, differentiable last step


def planar_inverse(z, v, w, b):
    inner, y = torch.dot(w, v), z @ w + b

    def f(a):
        return a + inner * a.tanh() - y

    def slope(a):
        return 1 + inner / torch.cosh(a) ** 2

    with torch.no_grad():
        low, high = y - abs(inner), y + abs(inner)
        a = y.clone()
        for _ in range(200):
            value = f(a)
            low, high = torch.where(value < 0, a, low), torch.where(value >= 0, a, high)
            step = a - value / slope(a)
            a = torch.where((step > low) & (step < high), step, (low + high) / 2)
    a = a.detach()
    a = a - f(a) / slope(a)
    return z - a.tanh()[..., None] * v, -slope(a).log()


# %% planar_inverse: a function of autograd with the derivative of the root


class _Root(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, inner):
        low, high = y - inner.abs(), y + inner.abs()
        for _ in range(70):
            a = low + 0.5 * (high - low)
            above = a + inner * torch.tanh(a) > y
            high, low = torch.where(above, a, high), torch.where(above, low, a)
        ctx.save_for_backward(a, inner)
        return a

    @staticmethod
    def backward(ctx, gradient):
        a, inner = ctx.saved_tensors
        by_y = gradient / (1 + inner * (1 - torch.tanh(a) ** 2))
        return by_y, -(by_y * torch.tanh(a)).sum()


def planar_inverse(z, v, w, b):
    inner = (w * v).sum()
    a = _Root.apply((z * w).sum(-1) + b, inner)
    u = z - v * torch.tanh(a).unsqueeze(-1)
    return u, -torch.log(1 + inner * (1 - torch.tanh(a) ** 2))


# %% planar_inverse: point by point, with Python numbers in the search


def _search(y, inner):
    low, high = y - abs(inner), y + abs(inner)
    for _ in range(80):
        middle = 0.5 * (low + high)
        if middle + inner * math.tanh(middle) < y:
            low = middle
        else:
            high = middle
    return middle


def planar_inverse(z, v, w, b):
    D = z.shape[-1]
    inner = torch.dot(w, v)
    us, log_dets = [], []
    for point in z.reshape(-1, D):
        y = torch.dot(w, point) + b
        a = torch.tensor(_search(y.item(), inner.item()), dtype=z.dtype)
        slope = 1 + inner * (1 - a.tanh() ** 2)
        a = a - (a + inner * a.tanh() - y) / slope.detach()
        us.append(point - v * a.tanh())
        log_dets.append(-(1 + inner * (1 - a.tanh() ** 2)).log())
    return torch.stack(us).reshape(z.shape), torch.stack(log_dets).reshape(z.shape[:-1])


# %% planar_inverse: secants within the bracket, two Newton steps with gradient


def planar_inverse(z, v, w, b):
    inner = (v * w).sum(-1)
    y = torch.tensordot(z, w, dims=1) + b
    with torch.no_grad():
        low, high = y - inner.abs() - 1e-9, y + inner.abs() + 1e-9
        for k in range(120):
            at_low, at_high = (a + inner * a.tanh() - y for a in (low, high))
            secant = low - at_low * (high - low) / (at_high - at_low).clamp_min(1e-300)
            a = (
                torch.where((secant > low) & (secant < high), secant, (low + high) / 2)
                if k % 2
                else (low + high) / 2
            )
            positive = a + inner * a.tanh() > y
            low, high = torch.where(positive, low, a), torch.where(positive, a, high)
    for _ in range(2):
        a = a - (a + inner * a.tanh() - y) / (1 + inner * (1 - a.tanh().square()))
    return z - a.tanh().unsqueeze(-1) * v, torch.log1p(inner * (1 - a.tanh().square())).neg()


# %% flow_elbo: one sample at a time


def flow_elbo(x, prior, decoder, encoder, num_samples=1):
    total = 0.0
    for _ in range(num_samples):
        q0, transform = encoder(x)
        u = q0.rsample()
        z, log_det = transform(u)
        total = total + decoder(z).log_prob(x) + prior().log_prob(z) - q0.log_prob(u) + log_det
    return total / num_samples


# %% flow_elbo: a distribution that remembers its draws, and flowlib's ELBO


class _Carried:
    def __init__(self, q0, transform):
        self.q0, self.transform = q0, transform

    def rsample(self, shape):
        u = self.q0.rsample(shape)
        z, log_det = self.transform(u)
        self.kept = self.q0.log_prob(u) - log_det
        return z

    def log_prob(self, z):
        return self.kept


def flow_elbo(x, prior, decoder, encoder, num_samples=1):
    return flowlib.elbo(x, prior, decoder, lambda y: _Carried(*encoder(y)), num_samples)


# %% flow_elbo: terms averaged apart, keyword arguments


def flow_elbo(x, prior, decoder, encoder, num_samples=1):
    base, flow = encoder(x)
    u = base.rsample(sample_shape=torch.Size((num_samples,)))
    z, stretch = flow(u)
    terms = {
        "reconstruction": decoder(z).log_prob(x),
        "prior": prior().log_prob(z),
        "entropy of the base": -base.log_prob(u),
        "stretch": stretch.expand(num_samples, *x.shape[:-1]),
    }
    print({k: tuple(v.shape) for k, v in terms.items()})
    return sum(v.sum(0) / num_samples for v in terms.values())


# %% flow_elbo: examples repeated and flattened into one long batch


def flow_elbo(x, prior, decoder, encoder, num_samples=1):
    batch, D = x.shape[:-1], x.shape[-1]
    long = x.reshape(-1, D).repeat_interleave(num_samples, dim=0)
    q0, transform = encoder(long)
    u = q0.rsample()
    z, log_det = transform(u)
    log_w = decoder(z).log_prob(long) + prior().log_prob(z) + (log_det - q0.log_prob(u))
    return log_w.view(-1, num_samples).mean(dim=1).reshape(batch)


# %% inference_gaps: from the total


def inference_gaps(log_evidence, optimized_elbo, amortized_elbo):
    total = log_evidence - amortized_elbo
    amortization = torch.sub(optimized_elbo, amortized_elbo)
    return total - amortization, amortization


# %% inference_gaps: differences of a stack


def inference_gaps(log_evidence, optimized_elbo, amortized_elbo):
    falling = torch.stack([log_evidence, optimized_elbo, amortized_elbo])
    return list(-falling.diff(dim=0))


# %% wrong_claims: by exclusion


def wrong_claims():
    right = {1, 6, 7, 9}
    return sorted(set(range(1, 10)) - right)


# %% wrong_claims: a tensor


def wrong_claims():
    return torch.tensor([8, 5, 4, 3, 2])
