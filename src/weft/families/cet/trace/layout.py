"""Views of a batch as rows in memory order, as reductions over time are slow in any other."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(tensor: Tensor) -> bool:
    """Whether a tensor of images lies in memory as (R, H, W, C)."""
    return (
        tensor.dim() == 4
        and not tensor.is_contiguous()
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def as_rows(tensor: Tensor) -> Tensor:
    """(R, ...) as (R, features) with features in memory order; a view where possible."""
    if channels_last(tensor):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.reshape(len(tensor), -1)


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_rows`, with the layout of `like`; shape (len(rows), ...)."""
    if channels_last(like):
        _, channels, height, width = like.shape
        return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
    return rows.view(-1, *like.shape[1:])
