"""Encoder and decoder in the plane, for splats that are anchored to the cells of a grid."""

# B batch, N splats, L latents, R x S cells of the grid

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.gaussvae.nets.pooling import pooling
from weft.families.gaussvae.options.sizes import COLUMNS, Sizes


class PlaneBlock(nn.Module):
    """x + conv(gelu(norm(conv(gelu(norm(x)))))), each norm over all of an item.

    Items do not depend on each other, other than with batch norm. If channels differ, the skip is a
    convolution of one tap.
    """

    def __init__(self, inputs: int, outputs: int, taps: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(1, inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, taps, padding="same")
        self.norm2 = nn.GroupNorm(1, outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, taps, padding="same")
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, R, S) -> (B, outputs, R, S)."""
        y = self.conv1(F.gelu(self.norm1(x)))
        y = self.conv2(self.dropout(F.gelu(self.norm2(y))))
        shortcut: Tensor = self.skip(x)
        return shortcut + y


class PlaneEncoder(nn.Module):
    """Splats laid out in their cells, blocks and mean pools, a pool, a dense layer, two heads.

    Args:
        sizes: of the nets.
        cells: (row, column) of each splat.
        pool: gap, flatten or attn.
        queries: of pool=attn.
    """

    def __init__(
        self, sizes: Sizes, cells: Sequence[tuple[int, int]], pool: str, queries: int
    ) -> None:
        super().__init__()
        self.places, half = _Places(cells), sizes.encoder
        self.first = nn.Conv2d(COLUMNS, half.filters[0], 1)
        self.blocks, self.scales, inputs = nn.ModuleList(), half.scales, half.filters[0]
        for outputs, taps, dropout in zip(half.filters, half.taps, half.dropout, strict=True):
            self.blocks.append(PlaneBlock(inputs, outputs, taps, dropout))
            inputs = outputs
        self.pool = pooling(pool, inputs, sizes.positions, queries)
        self.dense = nn.Linear(self.pool.features, sizes.dense)
        self.dropout = nn.Dropout(sizes.dense_dropout)
        self.mean = nn.Linear(sizes.dense, sizes.latent)
        self.log_var = nn.Linear(sizes.dense, sizes.latent)

    def forward(self, splats: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 8), standardised -> mean and log variance, each (B, L)."""
        x = self.first(self.places.laid(splats))
        for block, scale in zip(self.blocks, self.scales, strict=True):
            x = block(x)
            if scale > 1:
                x = F.avg_pool2d(x, scale)
        x = self.dropout(F.gelu(self.dense(self.pool(x.flatten(2)))))
        return self.mean(x), self.log_var(x)


class PlaneDecoder(nn.Module):
    """Latents to cells: dense layers, blocks with enlarged cells, a convolution of one tap.

    Args:
        sizes: of the nets.
        cells: (row, column) of each splat.
    """

    def __init__(self, sizes: Sizes, cells: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.places, half = _Places(cells), sizes.decoder
        units = (sizes.latent, *sizes.units)
        self.dense = nn.ModuleList(map(nn.Linear, units, units[1:]))
        grown = math.prod(half.scales)
        rows, columns = self.places.rows // grown, self.places.columns // grown
        self.start = (sizes.start[1], rows, columns)
        self.blocks, self.scales, inputs = nn.ModuleList(), half.scales, sizes.start[1]
        for outputs, taps, dropout in zip(half.filters, half.taps, half.dropout, strict=True):
            self.blocks.append(PlaneBlock(inputs, outputs, taps, dropout))
            inputs = outputs
        self.out = nn.Conv2d(inputs, COLUMNS, 1)

    def forward(self, z: Tensor) -> Tensor:
        """(B, L) -> standardised splats (B, N, 8)."""
        x = z
        for number, dense in enumerate(self.dense):
            x = dense(x if number == 0 else F.gelu(x))
        x = x.unflatten(1, self.start)
        for block, scale in zip(self.blocks, self.scales, strict=True):
            x = block(x)
            if scale > 1:
                x = F.interpolate(x, scale_factor=scale, mode="nearest")
        return self.places.listed(self.out(x))


class _Places(nn.Module):
    """Where splats lie on the grid: between their order and the plane."""

    index: Tensor

    def __init__(self, cells: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.rows = 1 + max(row for row, _ in cells)
        self.columns = 1 + max(column for _, column in cells)
        order = torch.tensor([row * self.columns + column for row, column in cells])
        # They follow from the data's grid: no part of what a checkpoint holds.
        self.register_buffer("index", order, persistent=False)

    def laid(self, splats: Tensor) -> Tensor:
        """(B, N, 8) -> (B, 8, R, S)."""
        plane = splats[:, self.index.argsort()]
        return plane.unflatten(1, (self.rows, self.columns)).permute(0, 3, 1, 2)

    def listed(self, plane: Tensor) -> Tensor:
        """(B, 8, R, S) -> (B, N, 8)."""
        return plane.flatten(2).transpose(1, 2)[:, self.index]
