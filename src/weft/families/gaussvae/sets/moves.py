"""Mirrors and shifts pictures with reflected borders, by one gather per batch."""

# N pictures

from __future__ import annotations

import torch
from torch import Tensor


def moved(images: Tensor, mirrored: Tensor, shift: Tensor) -> Tensor:
    """Pictures of which some are mirrored, and all are then shifted; borders are reflected.

    Args:
        images: (N, C, H, W).
        mirrored: bool (N,), which pictures are mirrored left-right.
        shift: int64 (N, 2), pixels down and to the right, less than H and W in magnitude.
    """
    height, width = images.shape[-2:]
    rows = _reflected(torch.arange(height, device=images.device) - shift[:, :1], height)
    columns = _reflected(torch.arange(width, device=images.device) - shift[:, 1:], width)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    places = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    flat = images.flatten(2)
    return flat.gather(2, places[:, None].expand_as(flat)).view_as(images)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Indices from -(size - 1) to 2 size - 2, folded back at the first and the last pixel."""
    return size - 1 - (size - 1 - index.abs()).abs()
