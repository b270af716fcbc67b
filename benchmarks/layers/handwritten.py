"""RealNVP as one writes it for a single use: no layers, no checks, no options. The reference of every ratio."""

import math

import torch
from torch import Tensor, nn

__all__ = ["HandWritten", "HandWrittenMasked"]


class HandWritten(nn.Module):
    """x = T_K(… T_1(u)), u ~ N(0, I): each T_k moves one half of the variables given the other, and swaps the two.

    D is even. x is `(B, D)`, log-densities and log-determinants are `(B,)`, in nats.
    """

    def __init__(self, D: int, layers: int, hidden: int) -> None:
        super().__init__()
        self.D = D
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(D // 2, hidden),
                nn.ReLU(),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Linear(hidden, D),
            )
            for _ in range(layers)
        )

    def to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Base to data: `(x, log|det ∂x/∂u|)`."""
        log_det = torch.zeros(len(u), dtype=u.dtype)
        for net in self.nets:
            kept, moved = u.chunk(2, -1)
            s, t = net(kept).chunk(2, -1)
            u = torch.cat([moved * s.exp() + t, kept], -1)
            log_det = log_det + s.sum(-1)
        return u, log_det

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Data to base: `(u, log|det ∂u/∂x|)`."""
        log_det = torch.zeros(len(x), dtype=x.dtype)
        for net in reversed(self.nets):
            moved, kept = x.chunk(2, -1)
            s, t = net(kept).chunk(2, -1)
            x = torch.cat([kept, (moved - t) * (-s).exp()], -1)
            log_det = log_det - s.sum(-1)
        return x, log_det

    def log_prob(self, x: Tensor) -> Tensor:
        u, log_det = self.to_base(x)
        return -0.5 * (u**2).sum(-1) - 0.5 * self.D * math.log(2 * math.pi) + log_det

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        return self.to_data(torch.randn(n, self.D))[0]


class HandWrittenMasked(HandWritten):
    """The same with masks b `(layers, D)`, 1 = kept, in place of halves: what masks cost, whoever writes them.

    The networks read and give all variables; those that a mask throws away are computed, too.
    """

    def __init__(self, nets: list[nn.Module], masks: Tensor) -> None:
        nn.Module.__init__(self)
        self.D = masks.shape[1]
        self.nets = nn.ModuleList(nets)
        self.register_buffer("kept", masks)
        self.register_buffer("moved", 1 - masks)

    def to_data(self, u: Tensor) -> tuple[Tensor, Tensor]:
        log_det = torch.zeros(len(u), dtype=u.dtype)
        for net, kept, moved in zip(self.nets, self.kept, self.moved, strict=True):
            s, t = net(kept * u).chunk(2, -1)
            s = moved * s
            u = u * s.exp() + moved * t
            log_det = log_det + s.sum(-1)
        return u, log_det

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = torch.zeros(len(x), dtype=x.dtype)
        for net, kept, moved in zip(self.nets[::-1], self.kept.flip(0), self.moved.flip(0), strict=True):
            s, t = net(kept * x).chunk(2, -1)
            s = moved * s
            x = (x - moved * t) * (-s).exp()
            log_det = log_det - s.sum(-1)
        return x, log_det
