"""The form for GPUs, in Triton: a program for each tile of pixels, one for each splat's slope."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from weft.families.gaussvae.reference import EPSILON
from weft.families.gaussvae.splats.geometry import Ellipses, Frame

_TILE = 16
_ROWS, _COLUMNS = 8, 32
"""Pixels that a splat's program takes at once."""


def by_triton(shapes: Ellipses, frame: Frame) -> Tensor:
    """What `reference.blend` gives, float32 and without top-K; (M, 3, H, W).

    Both directions add in one order and use no atomic sums, so that they repeat bit for bit.
    """
    flat = torch.cat([torch.stack(shapes[:5], -1), shapes.colour], -1).contiguous()
    pictures: Tensor = _Drawn.apply(flat, frame)
    return pictures


class _Drawn(Function):
    @staticmethod
    def forward(ctx: Any, shapes: Tensor, frame: Frame) -> Tensor:
        pictures, splats, _ = shapes.shape
        height, width = frame.height, frame.width
        image = shapes.new_empty(pictures, 3, height, width)
        divisor = shapes.new_ones(pictures, height, width)
        tiles = triton.cdiv(height, _TILE) * triton.cdiv(width, _TILE)
        _paint[tiles, pictures](
            shapes, image, divisor, splats, height, width,
            frame.cut, EPSILON, frame.normalised, _TILE,
        )  # fmt: skip
        ctx.frame = frame
        ctx.save_for_backward(shapes, image, divisor)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        shapes, image, divisor = ctx.saved_tensors
        frame = ctx.frame
        slopes = torch.empty_like(shapes)
        numbers = slope / divisor.unsqueeze(1)
        back = -(numbers * image).sum(1) if frame.normalised else torch.zeros_like(divisor)
        _pull[shapes.shape[1], shapes.shape[0]](
            shapes, numbers, back, slopes, shapes.shape[1], frame.height, frame.width,
            frame.cut, _ROWS, _COLUMNS,
        )  # fmt: skip
        return slopes, None


def _jit(function: Callable[..., Any]) -> Any:
    """Triton's decorator."""
    return triton.jit(function)


@_jit
def _weight(
    x: tl.tensor,
    y: tl.tensor,
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    columns: tl.tensor,
    rows: tl.tensor,
    cut: tl.tensor,
) -> tl.tensor:
    """w of pixels, zero where the splat does not reach: `geometry.spans`."""
    dx, dy = columns - x, rows - y
    inside = a * cut * cut - (a * c - b * b) * dy * dy
    half = tl.sqrt(tl.maximum(inside, 0.0))
    first = tl.floor((x + (-b * dy - half) / a) / 8) * 8
    last = tl.floor((x + (-b * dy + half) / a) / 8) * 8 + 8
    beyond = (inside < 0) | (columns < first) | (columns >= last)
    return tl.where(beyond, 0.0, tl.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy)))


@_jit
def _paint(
    shapes: tl.tensor,
    image: tl.tensor,
    divisor: tl.tensor,
    splats: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    cut: tl.tensor,
    epsilon: tl.tensor,
    normalised: tl.constexpr,
    tile: tl.constexpr,
) -> None:
    """One tile of one picture, splat after splat; most of them miss it."""
    across = tl.cdiv(width, tile)
    top, left = tl.program_id(0) // across * tile, tl.program_id(0) % across * tile
    picture = tl.program_id(1)
    row, column = top + tl.arange(0, tile)[:, None], left + tl.arange(0, tile)[None, :]
    rows, columns = row.to(tl.float32), column.to(tl.float32)
    red = tl.zeros([tile, tile], tl.float32)
    green = tl.zeros([tile, tile], tl.float32)
    blue = tl.zeros([tile, tile], tl.float32)
    total = tl.zeros([tile, tile], tl.float32)
    for n in range(splats):
        at = shapes + (picture * splats + n) * 8
        x, y, a, b, c = (
            tl.load(at),
            tl.load(at + 1),
            tl.load(at + 2),
            tl.load(at + 3),
            tl.load(at + 4),
        )
        down = cut * tl.sqrt(a / (a * c - b * b))
        beside = cut * tl.sqrt(c / (a * c - b * b)) + 8
        misses = (y + down < top) | (y - down > top + tile)
        misses = misses | (x + beside < left) | (x - beside > left + tile)
        if misses == 0:
            w = _weight(x, y, a, b, c, columns, rows, cut)
            red += w * tl.load(at + 5)
            green += w * tl.load(at + 6)
            blue += w * tl.load(at + 7)
            total += w
    inside = (row < height) & (column < width)
    size = height * width
    pixel = row * width + column
    if normalised:
        total += epsilon
        red, green, blue = red / total, green / total, blue / total
        tl.store(divisor + picture * size + pixel, total, inside)
    tl.store(image + picture * 3 * size + pixel, red, inside)
    tl.store(image + (picture * 3 + 1) * size + pixel, green, inside)
    tl.store(image + (picture * 3 + 2) * size + pixel, blue, inside)


@_jit
def _pull(
    shapes: tl.tensor,
    numbers: tl.tensor,
    back: tl.tensor,
    slopes: tl.tensor,
    splats: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    cut: tl.tensor,
    tall: tl.constexpr,
    broad: tl.constexpr,
) -> None:
    """The slope of one splat, over the box of pixels it reaches.

    With t = w (sum_c colour_c numbers_c + back): sums of w numbers_c, and of t times powers of d.
    """
    picture = tl.program_id(1)
    at = (picture * splats + tl.program_id(0)) * 8
    x, y = tl.load(shapes + at), tl.load(shapes + at + 1)
    a, b, c = tl.load(shapes + at + 2), tl.load(shapes + at + 3), tl.load(shapes + at + 4)
    red, green = tl.load(shapes + at + 5), tl.load(shapes + at + 6)
    blue = tl.load(shapes + at + 7)
    by_red = tl.zeros([tall, broad], tl.float32)
    by_green = tl.zeros([tall, broad], tl.float32)
    by_blue = tl.zeros([tall, broad], tl.float32)
    sum_x = tl.zeros([tall, broad], tl.float32)
    sum_y = tl.zeros([tall, broad], tl.float32)
    sum_xx = tl.zeros([tall, broad], tl.float32)
    sum_xy = tl.zeros([tall, broad], tl.float32)
    sum_yy = tl.zeros([tall, broad], tl.float32)
    # Where a bound is no number, the other operand is taken: the whole picture.
    down = cut * tl.sqrt(a / (a * c - b * b))
    beside = cut * tl.sqrt(c / (a * c - b * b)) + 8
    top = tl.minimum(tl.maximum(y - down, 0.0), height).to(tl.int32)
    bottom = tl.maximum(tl.minimum(y + down + 1, height), 0.0).to(tl.int32)
    left = tl.minimum(tl.maximum(x - beside, 0.0), width).to(tl.int32)
    right = tl.maximum(tl.minimum(x + beside + 1, width), 0.0).to(tl.int32)
    size = height * width
    for first in range(top, bottom, tall):
        for start in range(left, right, broad):
            row = first + tl.arange(0, tall)[:, None]
            column = start + tl.arange(0, broad)[None, :]
            inside = (row < height) & (column < width)
            w = _weight(x, y, a, b, c, column.to(tl.float32), row.to(tl.float32), cut)
            pixel = row * width + column
            one = tl.load(numbers + picture * 3 * size + pixel, inside, 0.0)
            two = tl.load(numbers + (picture * 3 + 1) * size + pixel, inside, 0.0)
            three = tl.load(numbers + (picture * 3 + 2) * size + pixel, inside, 0.0)
            t = w * (
                red * one
                + green * two
                + blue * three
                + tl.load(back + picture * size + pixel, inside, 0.0)
            )
            dx, dy = column - x, row - y
            by_red += w * one
            by_green += w * two
            by_blue += w * three
            sum_x += t * dx
            sum_y += t * dy
            sum_xx += t * dx * dx
            sum_xy += t * dx * dy
            sum_yy += t * dy * dy
    right_x, right_y = tl.sum(sum_x), tl.sum(sum_y)
    tl.store(slopes + at, a * right_x + b * right_y)
    tl.store(slopes + at + 1, b * right_x + c * right_y)
    tl.store(slopes + at + 2, -0.5 * tl.sum(sum_xx))
    tl.store(slopes + at + 3, -tl.sum(sum_xy))
    tl.store(slopes + at + 4, -0.5 * tl.sum(sum_yy))
    tl.store(slopes + at + 5, tl.sum(by_red))
    tl.store(slopes + at + 6, tl.sum(by_green))
    tl.store(slopes + at + 7, tl.sum(by_blue))
