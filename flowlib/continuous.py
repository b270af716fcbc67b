"""Continuous flows: the data are where a moving point has arrived after one unit of time.

Sources: Chen, Rubanova, Bettencourt, Duvenaud 2018, arXiv:1806.07366; Grathwohl et al. 2018, arXiv:1810.01367
(FFJORD); Lipman et al. 2022, arXiv:2210.02747 (flow matching).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from flowlib.bases import StandardNormal
from flowlib.checks import check_size
from flowlib.flow import Flow
from flowlib.linear import Affine
from flowlib.networks import mlp
from flowlib.ode import FixedStep, Solver
from flowlib.residual import hutchinson_trace
from flowlib.transform import Transform

__all__ = [
    "Continuous",
    "VelocityNet",
    "continuous_flow",
    "flow_matching_loss",
    "trace_of_jacobian",
]

VectorField = Callable[[Tensor], Tensor]


def trace_of_jacobian(f: VectorField, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """f(x) `(*batch, D)` and the trace of its Jacobian, Σ_i ∂f_i/∂x_i, `(*batch,)`, or an estimate of it.

    Without noise the trace is exact, by D backward passes: each gives a row of the Jacobian, of which one entry is
    used. With noise ε `(*batch, D)` it is εᵀ (∂f/∂x) ε, by one pass: unbiased where E[ε εᵀ] = I, as for random
    signs. f must map example by example. Source: Grathwohl et al. 2018, arXiv:1810.01367.

    >>> x = torch.tensor([[1.0, 3.0]])
    >>> trace_of_jacobian(lambda x: x**2, x)[1], trace_of_jacobian(lambda x: x**2, x, torch.ones(1, 2))[1]
    (tensor([8.]), tensor([8.]))
    """
    value, pull_back = torch.func.vjp(f, x)
    if noise is not None:
        return value, hutchinson_trace(lambda n: pull_back(n.squeeze(0))[0].unsqueeze(0), noise.unsqueeze(0))
    trace = torch.zeros_like(value[..., 0])
    for i, unit in enumerate(torch.eye(value.shape[-1], dtype=value.dtype, device=value.device)):
        trace = trace + pull_back(unit.expand_as(value))[0][..., i]
    return value, trace


class VelocityNet(nn.Module):
    """v(x, t): a multilayer perceptron that is fed x, t and a context, if any; smooth activations.

    x is `(*batch, D)`; t is a number, a tensor without axes, or `(*batch, 1)`; the velocity is `(*batch, D)`.
    zero_last starts at v = 0: the flow is the identity. Raises `ValueError` for D < 1.

    >>> VelocityNet(2)(torch.randn(5, 2), 0.3).shape
    torch.Size([5, 2])
    """

    def __init__(
        self, D: int, hidden: Sequence[int] = (64, 64), *, context_size: int = 0, zero_last: bool = True
    ) -> None:
        super().__init__()
        sizes = [check_size("D", D) + 1 + context_size, *hidden, D]
        # An adaptive solver of high order needs derivatives of high order: no kinks.
        self.net = mlp(sizes, activation=nn.SiLU, zero_last=zero_last)

    def forward(self, x: Tensor, t: Tensor | float, *context: Tensor) -> Tensor:
        time = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(*x.shape[:-1], 1)
        return self.net(torch.cat([x, time, *context], dim=-1))


class Continuous(Transform):
    """x = z(1), where z(0) = u and dz/dt = v(z, t): log|det ∂x/∂u| = ∫₀¹ tr ∂v/∂z dt along the path.

    `forward` integrates from t = 0 to 1, `inverse` from 1 to 0; the point and the log-determinant in one state.
    No constraint on v but smoothness: paths of an ODE do not cross, so the map is invertible. Gradients are those of
    the solver's own steps.

    Args:
        velocity: v: module called as `velocity(z, t)`, or `velocity(z, t, context)`, with z `(*batch, D)` and a
            number t; returns `(*batch, D)`. Each example's velocity must depend on that example alone.
        D: number of variables.
        solver: `FixedStep` or `AdaptiveStep`. Both are approximate: `inverse(forward(u))` and the log-determinant
            are right within the solver's error. Evaluate likelihoods with a tolerance at which they no longer move.
        trace: "exact": D backward passes an evaluation; "hutchinson": one, with random signs drawn once a call, so
            that the equation integrated is an ordinary one. Its log-determinant is unbiased for that of the exact
            trace, and of forward and inverse only opposite on average.
        context_size: length of the context of a conditional flow; 0 for none.

    Raises `ValueError` for a bad argument or a velocity of another shape, `IntegrationError` where an adaptive solver
    fails. Sources: Chen et al. 2018, arXiv:1806.07366; Grathwohl et al. 2018, arXiv:1810.01367.

    >>> class Growth(nn.Module):
    ...     def forward(self, z, t):
    ...         return 0.5 * z
    >>> x, log_det = Continuous(Growth(), D=2).forward(torch.ones(1, 2))
    >>> x, log_det  # e^½, and 2 variables · ½
    (tensor([[1.6487, 1.6487]]), tensor([1.0000]))
    """

    def __init__(
        self,
        velocity: nn.Module,
        D: int,
        *,
        solver: Solver | None = None,
        trace: str = "exact",
        context_size: int = 0,
    ) -> None:
        super().__init__(check_size("D", D), context_size=context_size)
        if trace not in ("exact", "hutchinson"):
            raise ValueError(f'trace must be "exact" or "hutchinson", got {trace!r}')
        self.velocity = velocity
        self.solver = FixedStep() if solver is None else solver
        self.trace = trace

    def _forward(self, u: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return self._integrate(u, 0.0, 1.0, context)

    def _inverse(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return self._integrate(x, 1.0, 0.0, context)

    def _integrate(
        self, z: Tensor, t0: float, t1: float, context: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        noise = 2.0 * torch.randint_like(z, 2) - 1 if self.trace == "hutchinson" else None

        def augmented(state: Tensor, t: float) -> Tensor:
            def v(z: Tensor) -> Tensor:
                return self._checked_velocity(z, t, context)

            z = state[..., :-1]
            slope, trace = trace_of_jacobian(v, z, noise)
            return torch.cat([slope, trace.unsqueeze(-1)], dim=-1)

        start = torch.cat([z, torch.zeros_like(z[..., :1])], dim=-1)
        end = self.solver.integrate(augmented, start, t0, t1).y
        return end[..., :-1], end[..., -1]

    def _checked_velocity(self, z: Tensor, t: float, context: tuple[Tensor, ...]) -> Tensor:
        slope = self.velocity(z, t, *context)
        if slope.shape != z.shape:
            raise ValueError(f"velocity: expected shape {tuple(z.shape)}, got {tuple(slope.shape)}")
        return slope


def continuous_flow(
    D: int,
    hidden: Sequence[int] = (64, 64),
    *,
    solver: Solver | None = None,
    trace: str = "exact",
    base: nn.Module | None = None,
    data: Tensor | None = None,
) -> Flow:
    """A flow of one `Continuous` layer with a `VelocityNet`; it starts as the identity.

    Args:
        D: number of variables.
        hidden: widths of the hidden layers of the velocity.
        solver, trace: as for `Continuous`.
        base: base distribution; the standard normal by default.
        data: training data `(N, D)`: the flow ends with a fixed layer that has their mean and standard deviation.

    Sources: as for `Continuous`.

    >>> flow = continuous_flow(2, solver=FixedStep(4))
    >>> u = torch.randn(5, 2)
    >>> torch.equal(flow.forward(u)[0], u)
    True
    """
    layers: list[nn.Module] = [Continuous(VelocityNet(D, hidden), D, solver=solver, trace=trace)]
    if data is not None:
        layers.append(Affine.from_data(data))
    return Flow(StandardNormal(D) if base is None else base, layers)


def flow_matching_loss(velocity: nn.Module, x: Tensor, u: Tensor, t: Tensor) -> Tensor:
    """Mean of ½ |v(z_t, t) − (x − u)|² with z_t = (1 − t) u + t x: regression, without solving any equation.

    x `(B, D)` are data, u `(B, D)` independent draws of the base, t `(B, 1)` uniform on (0, 1). Its minimizer is the
    velocity E[x − u given z_t], whose flow carries the base's distribution to the data's; not the
    straight line that any one pair was joined by.
    Sources: Lipman et al. 2022, arXiv:2210.02747; Liu, Gong, Liu 2022, arXiv:2209.03003.

    >>> flow_matching_loss(VelocityNet(2), torch.ones(3, 2), torch.zeros(3, 2), torch.rand(3, 1))
    tensor(1., grad_fn=<MeanBackward0>)
    """
    z = (1 - t) * u + t * x
    return (0.5 * (velocity(z, t) - (x - u)) ** 2).sum(-1).mean()
