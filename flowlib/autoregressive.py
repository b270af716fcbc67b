"""Autoregressive models: each variable is modeled given the ones before it.

MADE is a network whose output for variable i looks at the variables before i alone. Around it stand two layers
of flows, which differ in what the network looks at:

* at the data (MAF): the density takes one pass of the network, sampling one pass for each variable in turn;
* at the base (IAF): sampling takes one pass, the density of given data one for each variable in turn;

and the discrete model Π_i p(x_i given x_<i) of binary variables.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli
from torch.nn import functional

from flowlib.bases import StandardNormal
from flowlib.checks import check_event, check_size
from flowlib.elementwise import AffineElementwise, Elementwise
from flowlib.flow import Flow
from flowlib.linear import Affine
from flowlib.transform import Transform, joined

__all__ = [
    "MADE",
    "AutoregressiveBernoulli",
    "InverseAutoregressive",
    "MaskedAutoregressive",
    "MaskedLinear",
    "iaf",
    "maf",
]


class MaskedLinear(nn.Linear):
    """y = (M ⊙ W) v + b: a linear layer some of whose connections are cut for good.

    M `(outputs, inputs)` holds 1 where a connection is kept, 0 where it is cut; it multiplies W at every call, so
    that no training step brings a connection back. v is `(*batch, inputs)`, y `(*batch, outputs)`.
    Raises `ValueError` for a mask that is not a matrix of zeros and ones.

    >>> layer = MaskedLinear(torch.tensor([[1.0, 0.0]]))
    >>> bool(layer(torch.tensor([2.0, 3.0])) == layer(torch.tensor([2.0, 9.0])))
    True
    """

    def __init__(self, mask: Tensor) -> None:
        mask = torch.as_tensor(mask)
        if mask.ndim != 2 or not bool(((mask == 0) | (mask == 1)).all()):
            raise ValueError(
                f"mask: expected a matrix (outputs, inputs) of zeros and ones, got shape {tuple(mask.shape)}"
            )
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.detach().to(torch.get_default_dtype()))

    def forward(self, v: Tensor, rows: Tensor | None = None) -> Tensor:
        """v `(*batch, inputs)` → `(*batch, outputs)`, or only the outputs whose numbers are in `rows`."""
        if rows is None:
            return functional.linear(v, self.mask * self.weight, self.bias)
        return functional.linear(v, self.mask[rows] * self.weight[rows], self.bias[rows])


class MADE(nn.Module):
    """A perceptron whose outputs for variable i depend on the variables of lower degree alone.

    Variable i has the degree d_i, its place in the order; each hidden unit gets a degree m as well. A connection
    is kept when it leads from degree d to a unit with m ≥ d, and from there to an output with d_i > m. So what
    reaches output i has a degree below d_i, whatever the weights are. The hidden degrees are spread evenly over
    those that are of use; where each layer has at least D units, every output sees all that it may.

    Input: `(*batch, D)`, or `(*batch, D + context_size)` with the context last. Output: `(*batch, size · D)`,
    `size` blocks of D, as an `Elementwise` reads it. For D = 1 the output is a constant, or a function of the
    context alone.

    Args:
        D: number of variables.
        size: outputs a variable.
        hidden: widths of the hidden layers; () for a linear autoregression.
        degrees: d `(D,)`, integers ≥ 1; 1, 2, …, D by default. Variables of equal degree do not see each other:
            two degrees make the dependencies of a coupling layer.
        context_size: length of a context that every output may depend on.
        activation: called once for each hidden layer.
        zero_last: set the last layer to 0, so that a flow starts as the identity.
        dropout: probability with which a hidden unit is dropped in training mode.

    Raises `ValueError` for sizes below 1, degrees of another form, or an input of another length.
    Source: Germain, Gregor, Murray, Larochelle 2015, arXiv:1502.03509.

    >>> made = MADE(3, size=2, hidden=(16,))
    >>> x = torch.randn(5, 3)
    >>> changed = made(x + torch.tensor([0.0, 1.0, 0.0])) - made(x)  # move the second variable
    >>> (changed.unflatten(-1, (2, 3)).abs() > 0).any(0).tolist()  # only the third one's outputs notice
    [[False, False, True], [False, False, True]]
    """

    def __init__(
        self,
        D: int,
        size: int,
        hidden: Sequence[int] = (64, 64),
        *,
        degrees: Sequence[int] | Tensor | None = None,
        context_size: int = 0,
        activation: Callable[[], nn.Module] = nn.ReLU,
        zero_last: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.D = check_size("D", D)
        self.size = check_size("size", size)
        self.context_size = context_size
        degrees = torch.arange(1, D + 1) if degrees is None else torch.as_tensor(degrees)
        if degrees.shape != (D,) or degrees.is_floating_point() or bool((degrees < 1).any()):
            raise ValueError(f"degrees: expected {D} integers of at least 1, got {degrees.tolist()}")
        self.register_buffer("degrees", degrees.long())

        # A unit of the highest degree would inform no output. A context has degree 0: all may see it, and units
        # of degree 0 carry it to the first variable.
        useful = degrees.unique()[:-1]
        if context_size or len(useful) == 0:
            useful = torch.cat([torch.zeros(1, dtype=torch.long), useful])
        before = torch.cat([degrees, torch.zeros(context_size, dtype=torch.long)])
        layers: list[nn.Module] = []
        for width in hidden:
            after = useful[torch.arange(check_size("each of hidden", width)) * len(useful) // width]
            layers += [MaskedLinear(after[:, None] >= before), activation()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            before = after
        self.hidden = nn.Sequential(*layers)
        self.last = MaskedLinear((degrees[:, None] > before).repeat(size, 1))
        if zero_last:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, v: Tensor, variables: Tensor | None = None) -> Tensor:
        """`(*batch, size · D)`; with `variables`, k numbers of variables, theirs alone: `(*batch, size · k)`."""
        check_event(v, (self.D + self.context_size,), "MADE")
        rows = None
        if variables is not None:
            rows = (self.D * torch.arange(self.size, device=variables.device)[:, None] + variables).flatten()
        return self.last(self.hidden(v), rows)

    def groups(self) -> tuple[Tensor, ...]:
        """The variables of each degree, lowest first. Their count is that of the passes that one by one takes."""
        order = self.degrees.argsort(stable=True)
        counts = self.degrees[order].unique_consecutive(return_counts=True)[1]
        return order.split(counts.tolist())

    def masks(self) -> list[Tensor]:
        """The masks of all layers, first to last, each `(outputs, inputs)`."""
        return [layer.mask for layer in (*self.hidden, self.last) if isinstance(layer, MaskedLinear)]


def _in_turn(
    made: MADE, batch: Sequence[int], like: Tensor, context: tuple[Tensor, ...], step: Callable
) -> Tensor:
    """y `(*batch, D)` with y_i = step(i, h_i), where h_i = made(y)_i looks at the y of lower degree alone.

    One pass of the network for each degree, D of them in an autoregressive layer. What is not known yet stands as
    0 in the argument, where the masks cut it off: a guess in its place could overflow, and 0 · ∞ is NaN. A pass
    ends in the outputs that it is for; the others are not computed. `step(group, h)` gets the numbers of the
    variables and their h `(*batch, size · len(group))`.
    """
    y = like.new_zeros(*batch, made.D)
    for group in made.groups():
        y = y.index_copy(-1, group, step(group, made(joined(y, context), group)))
    return y


class _Autoregressive(Transform):
    """What both layers share: one way all variables at once, the other way one after the other."""

    def __init__(self, conditioner: MADE, elementwise: Elementwise | None = None) -> None:
        elementwise = AffineElementwise() if elementwise is None else elementwise
        if not isinstance(conditioner, MADE):
            raise TypeError(f"conditioner: expected a MADE, got {type(conditioner).__name__}")
        if conditioner.size != elementwise.size:
            raise ValueError(
                f"conditioner: {type(elementwise).__name__} takes {elementwise.size} parameters a variable, "
                f"got a MADE of size {conditioner.size}"
            )
        super().__init__(conditioner.D, context_size=conditioner.context_size)
        self.conditioner = conditioner
        self.elementwise = elementwise

    def _at_once(self, v: Tensor, context: tuple[Tensor, ...], move: Callable) -> tuple[Tensor, Tensor]:
        """y_i = move(v_i; h_i(v_<i)): the whole argument is known, so one pass gives every h_i."""
        h = self.elementwise.parameters_of(self.conditioner(joined(v, context)))
        y, log_derivatives = move(v, h)
        return y, log_derivatives.sum(-1)

    def _one_by_one(self, v: Tensor, context: tuple[Tensor, ...], move: Callable) -> tuple[Tensor, Tensor]:
        """y_i = move(v_i; h_i(y_<i)): what h_i looks at is what has been computed so far."""
        log_derivatives: list[Tensor] = []

        def step(group: Tensor, output: Tensor) -> Tensor:
            y, log_derivative = move(v[..., group], self.elementwise.parameters_of(output))
            log_derivatives.append(log_derivative)
            return y

        y = _in_turn(self.conditioner, v.shape[:-1], v, context, step)
        return y, torch.cat(log_derivatives, dim=-1).sum(-1)


class MaskedAutoregressive(_Autoregressive):
    """MAF's layer: x_i = τ(u_i; h_i) with h_i a function of the **data** x_<i before it.

    log|det ∂x/∂u| = Σ_i log ∂x_i/∂u_i, since J is triangular in the order of the degrees. With the affine τ:
    x_i = u_i · exp(s_i) + t_i, so p(x_i given x_<i) is N(t_i, exp(s_i)²) when u ~ N(0, I).

    Cost in passes of the network: `inverse` (density) 1; `forward` (sampling) one for each degree, so D.

    Args:
        conditioner: a MADE with as many outputs a variable as τ has parameters; it brings D, the order and the
            context.
        elementwise: τ; without it the affine one, unbounded, with h = (s, t).

    Raises `TypeError` for another conditioner, `ValueError` where the sizes do not fit.
    Source: Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057.

    >>> layer = MaskedAutoregressive(MADE(4, size=2, hidden=(16,)))
    >>> u = torch.randn(5, 4)
    >>> x, log_det = layer.forward(u)
    >>> torch.allclose(layer.inverse(x)[0], u, atol=1e-5), log_det.shape
    (True, torch.Size([5]))
    """

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return self._one_by_one(u, context, self.elementwise.forward)

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return self._at_once(x, context, self.elementwise.inverse)


class InverseAutoregressive(_Autoregressive):
    """IAF's layer: x_i = τ(u_i; h_i) with h_i a function of the **base** variables u_<i before it.

    log|det ∂x/∂u| = Σ_i log ∂x_i/∂u_i. With the affine τ: x_i = u_i · exp(s_i) + t_i.

    Cost in passes of the network: `forward` (sampling, and the density of what was sampled) 1; `inverse` (the
    density of given data) one for each degree, so D.

    Args:
        conditioner: a MADE with as many outputs a variable as τ has parameters.
        elementwise: τ; without it the affine one, unbounded, with h = (s, t).

    Raises `TypeError` for another conditioner, `ValueError` where the sizes do not fit.
    Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling 2016, arXiv:1606.04934.

    >>> layer = InverseAutoregressive(MADE(4, size=2, hidden=(16,)))
    >>> x, log_det = layer.forward(torch.randn(5, 4))
    >>> torch.allclose(layer.inverse(x)[1], -log_det, atol=1e-5)
    True
    """

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return self._at_once(u, context, self.elementwise.forward)

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return self._one_by_one(x, context, self.elementwise.inverse)


class AutoregressiveBernoulli(nn.Module):
    """P(x) = Π_i Bernoulli(x_i; sigmoid(a_i)) with logits a_i = conditioner(x)_i, a function of x_<i.

    A model of binary variables, with an exact probability and no base variable: not a flow. log P takes one pass
    of the network, sampling one for each variable in turn.

    Args:
        conditioner: a MADE of size 1, without context. `ValueError` for another.

    Source: Larochelle, Murray 2011, AISTATS (NADE); Germain et al. 2015, arXiv:1502.03509.

    >>> model = AutoregressiveBernoulli(MADE(3, size=1, hidden=(8,)))
    >>> every_x = torch.cartesian_prod(*3 * [torch.tensor([0.0, 1.0])])
    >>> round(model.log_prob(every_x).exp().sum().item(), 5)
    1.0
    """

    def __init__(self, conditioner: MADE) -> None:
        super().__init__()
        if conditioner.size != 1 or conditioner.context_size:
            raise ValueError(
                "conditioner: expected a MADE of size 1 without context, "
                f"got size {conditioner.size}, context_size {conditioner.context_size}"
            )
        self.conditioner = conditioner

    def log_prob(self, x: Tensor) -> Tensor:
        """log P(x) in nats: x `(*batch, D)` of zeros and ones → `(*batch,)`."""
        return Bernoulli(logits=self.conditioner(x)).log_prob(x).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws `(*sample_shape, D)` of zeros and ones, variable by variable."""
        like = self.conditioner.last.bias
        return _in_turn(
            self.conditioner, sample_shape, like, (), lambda _, logits: logits.sigmoid().bernoulli()
        )


def _stack(
    layer: type[_Autoregressive],
    D: int,
    num_layers: int,
    hidden: Sequence[int],
    elementwise: Elementwise | None,
    permute: bool,
    base: nn.Module | None,
    data: Tensor | None,
    **made: object,
) -> Flow:
    elementwise = AffineElementwise(2.0) if elementwise is None else elementwise
    upward = torch.arange(1, check_size("D", D) + 1)
    layers: list[nn.Module] = []
    for k in range(check_size("num_layers", num_layers)):
        degrees = upward[torch.randperm(D)] if permute and k > 0 else (upward, upward.flip(0))[k % 2]
        conditioner = MADE(D, elementwise.size, hidden, degrees=degrees, **made)
        layers.append(layer(conditioner, elementwise))
    if data is not None:
        layers.append(Affine.from_data(data))
    return Flow(StandardNormal(D) if base is None else base, layers)


def maf(
    D: int,
    num_layers: int,
    hidden: Sequence[int] = (64, 64),
    *,
    elementwise: Elementwise | None = None,
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: float = 0.0,
    zero_last: bool = True,
    permute: bool = False,
    context_size: int = 0,
    base: nn.Module | None = None,
    data: Tensor | None = None,
) -> Flow:
    """A masked autoregressive flow: cheap density, sampling in num_layers · D passes.

    Args:
        D: number of variables.
        num_layers: number of layers; the order of the variables is reversed from each to the next.
        hidden, activation, dropout, context_size: of each layer's MADE. With dropout call `flow.eval()` before
            using the flow: in training mode the two directions draw different units.
        elementwise: τ, one for all layers; affine with log-scales within ±2 by default.
        zero_last: start as the identity. False starts at torch's random initialization.
        permute: random orders (from torch's global generator) in place of reversed ones, after the first layer.
        base: base distribution; the standard normal by default.
        data: training data `(N, D)`. The flow ends with a fixed layer that has their mean and standard
            deviation, so that its other layers work on standardized variables.

    Raises `ValueError` for sizes below 1.
    Source: Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057.

    >>> flow = maf(3, num_layers=2)  # starts as the identity
    >>> x = torch.randn(5, 3)
    >>> torch.allclose(flow.log_prob(x), StandardNormal(3)().log_prob(x))
    True
    """
    return _stack(
        MaskedAutoregressive, D, num_layers, hidden, elementwise, permute, base, data,
        activation=activation, dropout=dropout, zero_last=zero_last, context_size=context_size,
    )  # fmt: skip


def iaf(
    D: int,
    num_layers: int,
    hidden: Sequence[int] = (64, 64),
    *,
    elementwise: Elementwise | None = None,
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: float = 0.0,
    zero_last: bool = True,
    permute: bool = False,
    context_size: int = 0,
    base: nn.Module | None = None,
    data: Tensor | None = None,
) -> Flow:
    """An inverse autoregressive flow: cheap sampling, the density of given data in num_layers · D passes.

    The density of its own samples is as cheap as the samples: `Flow.sample_with_log_prob`. Arguments and errors
    are those of `maf`.
    Source: Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling 2016, arXiv:1606.04934.

    >>> x, log_prob = iaf(3, num_layers=2).sample_with_log_prob((5,))
    >>> x.shape, log_prob.shape
    (torch.Size([5, 3]), torch.Size([5]))
    """
    return _stack(
        InverseAutoregressive, D, num_layers, hidden, elementwise, permute, base, data,
        activation=activation, dropout=dropout, zero_last=zero_last, context_size=context_size,
    )  # fmt: skip
