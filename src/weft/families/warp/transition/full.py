"""Any matrix A: D^2 parameters, 2 D^2 operations a product."""

# M rows, D weights

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.families.warp.transition.base import Power, Transition
from weft.families.warp.transition.paces import turning
from weft.nn.dense import linear, product

LARGEST_RADIUS = 400
"""Matrices of more rows are not scored by their spectral radius, which costs D^3."""


class FullPower(Power):
    """E of shape (D, D)."""

    def change(self, rows: Tensor) -> Tensor:
        """E x."""
        (E,) = self.tensors
        return linear(rows, E)

    def transpose(self, rows: Tensor) -> Tensor:
        """x + E' x."""
        (E,) = self.tensors
        return rows + linear(rows, E.mT)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_m errors_m rows_m'."""
        return (linear(errors.mT, rows.mT),)

    def squared(self) -> FullPower:
        """2E + E E."""
        (E,) = self.tensors
        return FullPower(torch.add(linear(E, E.mT), E, alpha=2))


class Full(Transition):
    """A = I + E with all of E free."""

    structured = False

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.E = nn.Parameter(torch.zeros(size, size))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + E theta."""
        return theta + theta @ self.E.mT

    def carry(self, rows: Tensor) -> Tensor:
        """x + E x."""
        return product(rows, self.E).add_(rows)

    def transpose(self, rows: Tensor) -> Tensor:
        """x + E' x."""
        return product(rows, self.E.mT).add_(rows)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """dE = sum_m errors_m rows_m'."""
        return (product(errors.mT, rows.mT),)

    def power(self) -> FullPower:
        """I + E."""
        return FullPower(self.E)

    def power_of_few_rows(self) -> FullPower:
        """I + E, with the rows of E apart and its columns together in memory.

        oneDNN takes two to four rows through such a matrix in half the time (D = 1298, one thread
        of an EPYC: 95 against 202 us).
        """
        return FullPower(self.E.mT.contiguous().mT)

    @torch.no_grad()
    def spread(self, horizon: float) -> None:
        """Pairs of neighbours turn and shrink."""
        self.E.copy_(turning(self.size, horizon))
        self.E.diagonal().sub_(1)

    @property
    def reach(self) -> float:
        """D: the norm of D x D ones."""
        return float(self.size)

    @property
    def flops(self) -> int:
        """2 D^2."""
        return 2 * self.size**2

    @torch.no_grad()
    def adopt(self, matrix: Tensor) -> bool:
        """Starts at A = `matrix`."""
        self.E.copy_(matrix - torch.eye(len(matrix)))
        return True

    @property
    def radius_is_cheap(self) -> bool:
        """Up to `LARGEST_RADIUS` rows."""
        return self.size <= LARGEST_RADIUS
