"""The form for GPUs as one autograd function; a program computes a tile, or a splat's gradient."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor
from torch.autograd import Function

from weft.families.gaussvae import reference
from weft.families.gaussvae.forms import gpu_kernels as kernels
from weft.families.gaussvae.reference import EPSILON
from weft.families.gaussvae.splats.geometry import (
    LAYOUTS,
    RATIO_LOG_MOST,
    STD_LEAST,
    Frame,
    ellipses,
)
from weft.nn.once import once

_TILE = 16
_LAID, _SOUGHT, _PAINTED = 128, 256, 8
"""Number of splats that a program of `lay`, `find` and `paint` processes at once."""

_ROWS, _COLUMNS = 8, 32
"""Pixels that a program of `pull` processes at once."""

_PULL_WARPS = 1
"""A splat has many sums over few pixels, so that one warp without synchronisation is best."""


def by_triton(splats: Tensor, frame: Frame) -> Tensor:
    """As `reference.blend` for splats (M, N, 8), float32 on a GPU, without top-K.

    Both directions sum in a fixed order without atomic operations, and so are deterministic.

    Returns: (M, 3, H, W).
    """
    if splats.numel() == 0:
        # There is nothing to start a program for.
        return reference.blend(ellipses(splats, frame), frame)
    pictures: Tensor = _Drawn.apply(splats, frame)
    return pictures


class _Drawn(Function):
    @staticmethod
    def forward(ctx: Any, splats: Tensor, frame: Frame) -> Tensor:
        splats = splats.detach().contiguous()
        pictures, count, _ = splats.shape
        height, width = frame.height, frame.width
        shapes = torch.empty_like(splats)
        image = splats.new_empty(pictures, 3, height, width)
        divisor = splats.new_empty(pictures, height, width) if frame.normalised else shapes
        tiles = pictures * triton.cdiv(height, _TILE) * triton.cdiv(width, _TILE)
        found = torch.empty(tiles, count, dtype=torch.int32, device=splats.device)
        counts = torch.empty(tiles, dtype=torch.int32, device=splats.device)
        kernels.lay[(triton.cdiv(pictures * count, _LAID),)](
            splats, shapes, pictures * count, float(height), float(width), *_scale(frame),
            frame.shift, *_bounds(frame), RATIO_LOG_MOST, _is_logcov(frame), _LAID,
        )  # fmt: skip
        kernels.find[(tiles,)](
            shapes, found, counts, count, height, width, frame.cut, _TILE, _SOUGHT
        )
        kernels.paint[(tiles,)](
            shapes, found, counts, image, divisor, count, height, width,
            frame.cut, EPSILON, frame.normalised, _TILE, _PAINTED,
        )  # fmt: skip
        ctx.frame = frame
        ctx.save_for_backward(splats, shapes, image, divisor)
        return image

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        splats, shapes, image, divisor = ctx.saved_tensors
        slopes = torch.empty_like(splats)
        frame, numbers = ctx.frame, slope.contiguous()
        if frame.normalised:
            numbers = numbers / divisor.unsqueeze(1)
            back = (numbers * image).sum(1).neg_()
        else:
            back = torch.zeros_like(numbers[:, 0])
        kernels.pull[(splats.shape[0] * splats.shape[1],)](
            splats, shapes, numbers, back, slopes, splats.shape[1], frame.height, frame.width,
            *_scale(frame), frame.cut, *_bounds(frame), RATIO_LOG_MOST, _is_logcov(frame),
            _ROWS, _COLUMNS, num_warps=_PULL_WARPS,
        )  # fmt: skip
        return slopes, None


def _is_logcov(frame: Frame) -> bool:
    return LAYOUTS[frame.layout] == "logcov"


def _scale(frame: Frame) -> tuple[float, float]:
    """Width and height relative to the picture whose pixels are the unit of shapes."""
    return frame.width / frame.wide, frame.height / frame.high


def _bounds(frame: Frame) -> tuple[float, float]:
    """Bounds of m."""
    return 2 * math.log(STD_LEAST), 2 * math.log(max(frame.high, frame.wide))
