"""Rendering of dots: separable Gaussians on rolling or changing backgrounds."""

# B batch, T frames, K dots, S pixels along a side

from __future__ import annotations

import math

import torch
from torch import Tensor


def peak(std: float) -> float:
    """The largest brightness of a dot of `std` pixels: 1 / (2 pi std^2)."""
    return 1 / (2 * math.pi * std**2)


def profiles(positions: Tensor, size: int, std: float) -> Tensor:
    """Each dot's brightness along x and y; its picture is their outer product.

    Args:
        positions: (x, y) in pixels, shape (..., 2).
        size: S.
        std: standard deviation of a dot in pixels.
    Returns: exp(-(i - p)^2 / (2 std^2)) / (sqrt(2 pi) std) for i = 0..S-1, shape (..., 2, S).
    """
    pixel = torch.arange(size, dtype=positions.dtype, device=positions.device)
    offset = positions.unsqueeze(-1) - pixel
    return offset.square_().mul_(-1 / (2 * std**2)).exp_().mul_(math.sqrt(peak(std)))


def brightest(profile: Tensor) -> Tensor:
    """The largest pixel of each dot over a batch, (K,), from its profiles (B, T, K, 2, S)."""
    return profile.amax(-1).prod(-1).amax((0, 1))


def roll(pictures: Tensor, num_frames: int, speed: float) -> Tensor:
    """Pictures (B, 1, ..., S) as frames (B, T, ..., S), frame t moved right by int(t speed) pixels.

    Pixels that leave on the right come back on the left.
    """
    size = pictures.shape[-1]
    shift = torch.tensor([int(t * speed) for t in range(num_frames)], device=pictures.device)
    column = (torch.arange(size, device=pictures.device) - shift[:, None]) % size
    rolled = pictures.squeeze(1)[..., column]
    return rolled.movedim(-2, 1).contiguous()


def paint(profile: Tensor, ground: Tensor) -> Tensor:
    """Each dot on its own background, in one pass over the pixels.

    Args:
        profile: of each dot along x and y, shape (B, T, K, 2, S).
        ground: what the dots are added to, broadcast to (B, T, K, S, S).
    Returns: ground + y-profile x-profile^T, shape (B, T, K, S, S).
    """
    along_x, along_y = profile.unbind(-2)
    return torch.addcmul(ground, along_y.unsqueeze(-1), along_x.unsqueeze(-2))


def paint_sum(profile: Tensor, ground: Tensor) -> Tensor:
    """The sum of `paint` over dots, shape (B, T, 1, S, S), without the single terms in memory.

    A matmul over dots would be as fast, but autocast would round it to bfloat16.
    """
    image = ground.sum(-3)
    for dot in profile.unbind(2):
        along_x, along_y = dot.unbind(-2)
        image = torch.addcmul(image, along_y.unsqueeze(-1), along_x.unsqueeze(-2))
    return image.unsqueeze(2)
