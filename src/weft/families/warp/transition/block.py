"""A block-diagonal A, with blocks of neighbouring weights."""

# M rows, D weights, G blocks of b weights

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.warp.transition.base import Power, Transition, radius
from weft.families.warp.transition.paces import turning


class BlockPower(Power):
    """E block diagonal, stored as (G, b, b); the last block may reach beyond D."""

    def change(self, rows: Tensor) -> Tensor:
        """E_g x_g in each block."""
        (E,) = self.tensors
        return self._join(self._split(rows) @ E.mT, rows.shape)

    def transpose(self, rows: Tensor) -> Tensor:
        """x + E_g' x_g in each block."""
        (E,) = self.tensors
        return rows + self._join(self._split(rows) @ E, rows.shape)

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """sum_m errors_mg rows_mg' in each block."""
        return (self._split(errors).mT @ self._split(rows),)

    def squared(self) -> BlockPower:
        """2E_g + E_g E_g in each block."""
        (E,) = self.tensors
        return BlockPower(torch.baddbmm(E, E, E, beta=2))

    def _split(self, rows: Tensor) -> Tensor:
        """Rows (..., D) as (G, M, b), one product a block."""
        count, width, _ = self.tensors[0].shape
        flat = rows.reshape(-1, rows.shape[-1])
        padded = F.pad(flat, (0, count * width - flat.shape[-1]))
        return padded.unflatten(1, (count, width)).transpose(0, 1)

    def _join(self, blocks: Tensor, shape: torch.Size) -> Tensor:
        return blocks.transpose(0, 1).flatten(1)[:, : shape[-1]].reshape(shape)


class Block(Transition):
    """Dense blocks of `width` along the diagonal; the last block is padded to full width.

    Rows and columns of the padding do not act on weights: their gradient is zero and they stay 0.

    Args:
        size: D.
        width: b; D where it is more.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__(size)
        self.width = min(width, size)
        self.count = -(-size // self.width)
        self.E = nn.Parameter(torch.zeros(self.count, self.width, self.width))

    def forward(self, theta: Tensor) -> Tensor:
        """theta + E_g theta_g in each block."""
        return theta + self._join((self.E @ self._split(theta).unsqueeze(-1)).squeeze(-1))

    def transpose(self, rows: Tensor) -> Tensor:
        """x + E_g' x_g in each block."""
        return rows + self._join((self.E.mT @ self._split(rows).unsqueeze(-1)).squeeze(-1))

    def gradients(self, errors: Tensor, rows: Tensor) -> tuple[Tensor, ...]:
        """dE_g = sum_m errors_mg rows_mg'."""
        return (torch.einsum("mki,mkj->kij", self._split(errors), self._split(rows)),)

    def power(self) -> BlockPower:
        """I + E, whose entries beyond D are zero, or squaring would mix them with the others."""
        inside = torch.arange(self.count * self.width, device=self.E.device) < self.size
        inside = inside.view(self.count, self.width)
        return BlockPower(self.E * (inside[:, :, None] & inside[:, None, :]))

    @torch.no_grad()
    def spread(self, horizon: float) -> None:
        """Pairs of neighbours turn and shrink within each block."""
        for number, block in enumerate(self.E):
            inside = min(self.width, self.size - number * self.width)
            block[:inside, :inside] = turning(inside, horizon)
            block.diagonal()[:inside].sub_(1)

    @property
    def reach(self) -> float:
        """b: the norm of b x b ones."""
        return float(self.width)

    @property
    def flops(self) -> int:
        """2 D b, padding included."""
        return 2 * self.count * self.width**2

    @torch.no_grad()
    def spectral_radius(self) -> float:
        """Largest over the blocks; the padding's eigenvalue 1 is left out."""
        last = self.size - (self.count - 1) * self.width
        identity = torch.eye(self.width, dtype=self.E.dtype, device=self.E.device)
        blocks = [*(identity + self.E[:-1]), (identity + self.E[-1])[:last, :last]]
        radii = [radius(block) for block in blocks]
        return float(torch.tensor(radii, dtype=torch.float64).max())  # NaN if one is

    def _split(self, theta: Tensor) -> Tensor:
        padded = F.pad(theta, (0, self.count * self.width - self.size))
        return padded.view(*theta.shape[:-1], self.count, self.width)

    def _join(self, blocks: Tensor) -> Tensor:
        return blocks.flatten(-2)[..., : self.size]
