"""A root whose weights are a function of a few numbers h: theta = mean + C h."""

# D weights, m directions

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.families.warp.cell.root import MlpRoot, Root

SCALE = 0.3
"""C starts as N(0, SCALE^2 / m), so that h of size 1 changes each weight by about SCALE."""


class Span(nn.Module):
    """root(mean + C h; z), a root of a recurrence whose state is h.

    With h_t = Lambda h_{t-1} + b dx_t, theta_t is the recurrence with A = I + low rank in the basis
    of its modes.

    Args:
        inner: the root of D weights.
        count: m, length of h.
    Attributes:
        mean: theta at h = 0, (D,); initialised as the weights of a new root.
        C: the directions, (D, m).
    """

    def __init__(self, inner: Root, count: int) -> None:
        super().__init__()
        self.inner, self.size = inner, count
        self.inputs, self.outputs = inner.inputs, inner.outputs
        self.mean = nn.Parameter(inner.fresh())
        self.C = nn.Parameter(torch.randn(inner.size, count) * SCALE / count**0.5)

    def fresh(self, generator: torch.Generator | None = None) -> Tensor:
        """Initial h, zeros (m,)."""
        return torch.zeros(self.size)

    @property
    def flops(self) -> int:
        """2 D m, plus those of the inner root (2 D unless it is an MLP)."""
        inner = self.inner
        reading = inner.flops if isinstance(inner, MlpRoot) else 2 * inner.size
        return reading + 2 * inner.size * self.size

    def weights(self, h: Tensor) -> Tensor:
        """Mean + C h, (..., D), of h (..., m)."""
        return self.mean + h @ self.C.mT

    def forward(self, theta: Tensor, z: Tensor) -> Tensor:
        """The inner root at the weights of h.

        Args:
            theta: h, (..., m).
            z: as the inner root takes them.
        """
        return self.inner(self.weights(theta), z)
