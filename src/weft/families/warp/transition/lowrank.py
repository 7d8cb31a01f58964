"""The identity plus a matrix of low rank: 2 D r parameters, 4 D r operations a product."""

# M rows, D weights, r rank

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.families.warp.transition.base import Power, Transition, radius
from weft.families.warp.transition.paces import turning


class LowRankPower(Power):
    """E = U V' of two factors (D, r); its powers share V."""

    def change(self, rows: Tensor) -> Tensor:
        """U V' x."""
        U, V = self.tensors
        return (rows @ V) @ U.mT

    def transpose(self, rows: Tensor) -> Tensor:
        """x + V U' x."""
        U, V = self.tensors
        return rows + (rows @ U) @ V.mT

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_m errors_m (V' rows_m)', and sum_m rows_m (U' errors_m)'."""
        U, V = self.tensors
        return errors.mT @ (rows @ V), rows.mT @ (errors @ U)

    def squared(self) -> LowRankPower:
        """(I + U V')^2 = I + (2U + U V' U) V'."""
        U, V = self.tensors
        return LowRankPower(2 * U + U @ (V.mT @ U), V)


class LowRank(Transition):
    """A = I + U V'.

    U starts at zero, so that A is the identity, and V uniform in ±1/sqrt(D), so that U can move.

    Args:
        size: D.
        rank: r.
    """

    def __init__(self, size: int, rank: int) -> None:
        super().__init__(size)
        self.rank = rank
        self.U = nn.Parameter(torch.zeros(size, rank))
        self.V = nn.Parameter(torch.empty(size, rank).uniform_(-(size**-0.5), size**-0.5))

    @torch.no_grad()
    def spread(self, horizon: float) -> None:
        """Pairs of orthonormal directions turn and shrink: V of them, U = V (R - I)."""
        directions = torch.linalg.qr(torch.randn(self.size, self.rank)).Q
        rotation = turning(self.rank, horizon)
        rotation.diagonal().sub_(1)
        self.V.copy_(directions)
        self.U.copy_(directions @ rotation)

    def forward(self, theta: Tensor) -> Tensor:
        """theta + U V' theta."""
        return theta + (theta @ self.V) @ self.U.mT

    def transpose(self, rows: Tensor) -> Tensor:
        """x + V U' x."""
        return rows + (rows @ self.U) @ self.V.mT

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """dU = sum_m errors_m (V' rows_m)', dV = sum_m rows_m (U' errors_m)'."""
        return errors.mT @ (rows @ self.V), rows.mT @ (errors @ self.U)

    def power(self) -> LowRankPower:
        """I + U V'."""
        return LowRankPower(self.U, self.V)

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        """U and V."""
        return self.U, self.V

    @property
    def reach(self) -> float:
        """r sqrt(D): D x r ones against r columns of length up to 1."""
        return self.rank * self.size**0.5

    @property
    def flops(self) -> int:
        """4 D r."""
        return 4 * self.size * self.rank

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """The eigenvalues of A are 1 + those of the r x r matrix V' U, and ones."""
        moved = radius(torch.eye(self.rank).to(self.U) + self.V.mT @ self.U)
        return moved if self.rank >= self.size else max(moved, 1.0)
