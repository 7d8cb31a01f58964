"""Two rooms: a vertical wall in the middle, which stops dots except at its door."""

# S pixels along a side

from __future__ import annotations

import torch
from torch import Tensor

HALF_WALL = 1.0
"""Distance in pixels from the middle of the wall at which a dot is stopped."""


def stopped(before: Tensor, after: Tensor, door: Tensor, middle: float, half: float) -> Tensor:
    """The ends of steps: a dot slides along the wall, and passes through the door.

    Args:
        before, after: the beginning of a step, and its end without the wall, (…, 2) as (x, y).
        door: y of the door's middle, (…).
        middle: x of the wall's middle.
        half: half the door's width.
    """
    (x_0, y_0), (x_1, y_1) = before.unbind(-1), after.unbind(-1)
    face = middle + torch.where(x_0 < middle, -HALF_WALL, HALF_WALL)
    reaches = torch.where(x_0 < middle, x_1 > face, x_1 < face)
    step = x_1 - x_0
    share = ((face - x_0) / torch.where(step == 0, 1.0, step)).clamp(0, 1)
    passes = (torch.lerp(y_0, y_1, share) - door).abs() <= half
    x = torch.where(reaches & ~passes, face, x_1)
    within = (x - middle).abs() < HALF_WALL
    y = torch.where(within, torch.minimum(torch.maximum(y_1, door - half), door + half), y_1)
    return torch.stack((x, y), dim=-1)


def beside(start: Tensor, middle: float) -> Tensor:
    """Positions (…, 2), of which those inside the wall are moved to the nearer side."""
    x = start[..., 0]
    out = torch.where(x < middle, x.clamp(max=middle - HALF_WALL), x.clamp(min=middle + HALF_WALL))
    return torch.stack((out, start[..., 1]), dim=-1)


def picture(door: Tensor, size: int, middle: float, half: float) -> Tensor:
    """The wall as a picture, 1 on it and 0 elsewhere, (B, S, S), for doors at `door` (B,)."""
    pixel = torch.arange(size, device=door.device)
    column = ((pixel - middle).abs() <= HALF_WALL).float()
    row = ((pixel - door[:, None]).abs() > half).float()
    return row[:, :, None] * column
