"""Channels-last memory layout for images and for the weights of convolutions."""

from __future__ import annotations

from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def channels_last(module: M) -> M:
    """`module` with its 4-dimensional weights and buffers laid out channels last, in place."""
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    return module


def pixels_last(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in channels-last memory, with channels-last strides even for C = 1.

    One channel has the same memory in both layouts, and torch's `to(memory_format=...)` then keeps
    the old strides, with which oneDNN's first convolution takes 1.5 times as long.
    """
    _, channels, height, width = images.shape
    pixels = images.permute(0, 2, 3, 1).flatten(1)
    return pixels.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)
