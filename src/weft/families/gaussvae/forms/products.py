"""Dense forms by matrix products: a Gaussian's exponent is a product of rank six."""

# M pictures, N splats, T tiles of S x S pixels

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.gaussvae.reference import EPSILON
from weft.families.gaussvae.splats.geometry import Ellipses, Frame, spans

TILE = 16
"""Side S of a tile. Coordinates count from its middle: the terms of the square cancel, and float32
keeps their difference only where they are small."""

_WIDTH = 8
"""Features of a pixel: six, padded to what vector units like."""


def gemm(shapes: Ellipses, frame: Frame) -> Tensor:
    """What `reference.blend` gives, by two matrix products with exp between; (M, 3, H, W).

    Holds M N H W weights, several times under autograd.
    """
    tiles = _Tiles(frame, shapes.x)
    w = (tiles.features @ tiles.coefficients(shapes).transpose(-1, -2)).exp()  # (M, T, S^2, N)
    if math.isfinite(frame.cut):
        w = w * tiles.reached(shapes)
    if 0 < frame.topk < w.shape[-1]:
        w = w * torch.zeros_like(w).scatter_(-1, w.topk(frame.topk, dim=-1).indices, 1.0)
    total = w @ shapes.colour.unsqueeze(1)
    if frame.normalised:
        total = total / (w.sum(-1, keepdim=True) + EPSILON)
    return tiles.picture(total)


def sdpa(shapes: Ellipses, frame: Frame) -> Tensor:
    """Normalised blending of all splats as softmax attention; (M, 3, H, W).

    Pixels are queries, splats are keys with their colours as values, and one more key with logit
    log EPSILON has the value black. No N x P tensor is stored, except the mask of a finite cut.
    """
    tiles = _Tiles(frame, shapes.x)
    keys = tiles.coefficients(shapes)  # (M, T, N, 8)
    # Not by setting an entry: that copies from the host, which a recorded step may not.
    null = F.pad(keys.new_full((1,), math.log(EPSILON)), (0, _WIDTH - 1))
    keys = torch.cat([keys, null.expand(*keys.shape[:2], 1, -1)], -2)
    values = F.pad(shapes.colour, (0, _WIDTH - 3, 0, 1)).unsqueeze(1)
    mask = None
    if math.isfinite(frame.cut):
        mask = F.pad(tiles.reached(shapes), (0, 1), value=True)
    out = F.scaled_dot_product_attention(
        tiles.features.expand(*keys.shape[:2], -1, -1),
        keys,
        values.expand(-1, keys.shape[1], -1, -1),
        mask,
        scale=1.0,
    )
    return tiles.picture(out[..., :3])


class _Tiles:
    """The tiles that cover a picture; the last ones may reach over its border."""

    def __init__(self, frame: Frame, like: Tensor) -> None:
        self.frame = frame
        self.rows, self.columns = -(-frame.height // TILE), -(-frame.width // TILE)
        along = torch.arange(TILE, dtype=like.dtype, device=like.device) - TILE / 2
        y, x = torch.meshgrid(along, along, indexing="ij")
        features = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], -1)
        self.features = F.pad(features.flatten(0, 1), (0, _WIDTH - 6))  # (S^2, 8)
        tile = torch.arange(self.rows * self.columns, device=like.device)
        self.middle = [
            index.to(like.dtype) * TILE + TILE / 2
            for index in (tile % self.columns, tile // self.columns)
        ]

    def coefficients(self, shapes: Ellipses) -> Tensor:
        """-d' Q d / 2 as a polynomial of the coordinates in each tile; (M, T, N, 8)."""
        a, b, c = (part.unsqueeze(1) for part in shapes[2:5])
        x, y = (
            part.unsqueeze(1) - middle.unsqueeze(-1)
            for part, middle in zip(shapes[:2], self.middle, strict=True)
        )
        across, down = a * x + b * y, b * x + c * y
        found = torch.stack(
            torch.broadcast_tensors(-(across * x + down * y) / 2, across, down, -a / 2, -b, -c / 2),
            -1,
        )
        return F.pad(found, (0, _WIDTH - 6))

    def reached(self, shapes: Ellipses) -> Tensor:
        """Which splats reach which pixels; bool, (M, T, S^2, N)."""
        first, last = spans(shapes, self.frame._replace(height=self.rows * TILE))  # (M, N, H)
        columns = torch.arange(self.columns * TILE, device=first.device)
        found = (columns >= first.unsqueeze(-1)) & (columns < last.unsqueeze(-1))
        found = found.unflatten(-1, (self.columns, TILE)).unflatten(-3, (self.rows, TILE))
        # (M, N, rows, S, columns, S) -> (M, rows, columns, S, S, N)
        return found.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)

    def picture(self, tiles: Tensor) -> Tensor:
        """(M, T, S^2, 3) as (M, 3, H, W)."""
        grid = tiles.unflatten(1, (self.rows, self.columns)).unflatten(3, (TILE, TILE))
        whole = grid.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
        return whole[..., : self.frame.height, : self.frame.width]
