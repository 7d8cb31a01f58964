"""A diagonal A: D parameters, each weight on its own."""

# M rows, D weights

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.families.warp.transition.base import Power, Transition
from weft.families.warp.transition.paces import paces


class DiagonalPower(Power):
    """E diagonal, stored as (D,)."""

    def __call__(self, rows: Tensor) -> Tensor:
        """x + e * x."""
        (e,) = self.tensors
        return torch.addcmul(rows, rows, e)

    def change(self, rows: Tensor) -> Tensor:
        """e * x."""
        (e,) = self.tensors
        return e * rows

    def transpose(self, rows: Tensor) -> Tensor:
        """x + e * x."""
        return self(rows)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_m errors_m * rows_m."""
        return (torch.linalg.vecdot(errors, rows, dim=0),)

    def squared(self) -> DiagonalPower:
        """2e + e * e."""
        (e,) = self.tensors
        return DiagonalPower(2 * e + e * e)


class Diagonal(Transition):
    """A = I + diag(e)."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.E = nn.Parameter(torch.zeros(size))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + e * theta."""
        return theta + self.E * theta

    def transpose(self, rows: Tensor) -> Tensor:
        """x + e * x."""
        return rows + self.E * rows

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """de = sum_m errors_m * rows_m."""
        return ((errors * rows).sum(0),)

    def power(self) -> DiagonalPower:
        """I + diag(e)."""
        return DiagonalPower(self.E)

    @torch.no_grad()
    def spread(self, horizon: float) -> None:
        """Weights that forget at many paces; none turns."""
        self.E.copy_(torch.expm1(-1 / paces(self.size, horizon)[0]))

    @property
    def reach(self) -> float:
        """1: each entry is an eigenvalue."""
        return 1.0

    @property
    def flops(self) -> int:
        """2 D."""
        return 2 * self.size

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """max |1 + e|."""
        return float((1 + self.E).abs().max())
