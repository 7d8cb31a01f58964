"""The compiled anchored fit: one thread takes all steps of a picture, which stays in its cache."""

# M pictures, N splats each, H x W pixels

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.crew import share
from weft.families.gaussvae.forms.kernels import PLANES, paint, pull, scratch, turn
from weft.families.gaussvae.forms.laid import chain, lay
from weft.families.gaussvae.forms.lanes import fused, load, spread, store, total
from weft.families.gaussvae.forms.reach import FARTHEST, FIELDS, SHAPE, SPARE, STARTS, reach
from weft.families.gaussvae.splats.geometry import BLOCK, RATIO_LOG_MOST, STD_LEAST

_F = np.float32
_ONE, _ZERO = _F(1), _F(0)
_BAND_PIXELS = 32768


def descend(
    free: Tensor,
    first: Tensor,
    second: Tensor,
    begin: Tensor,
    images: Tensor,
    places: Tensor,
    cells: tuple[int, int],
    rates: np.ndarray[Any, Any],
    betas: tuple[float, float],
    *,
    pull: float,
    floor: float,
    epsilon: float,
    cut: float,
    normalised: bool,
) -> None:
    """Steps of `anchored.AnchoredFit` in place; each picture is computed by one thread.

    Args:
        free, first, second: free numbers and Adam's moments, (M, N, 8), contiguous float32.
        begin: the free numbers at the start, (M, N, 8).
        images: (M, 3, H, W).
        places: centres of the cells, (N, 2).
        cells: (rows, columns).
        rates: of each step: rate / (1 - beta1^t), and 1 / (1 - beta2^t); float32 (steps, 2).
        betas: Adam's.
        pull, floor: of the loss.
        epsilon: Adam's.
        cut: reach of a splat in sigmas.
        normalised: whether blending is normalised.
    """
    width = images.shape[-1]
    wanted = functional.pad(images, (0, -width % BLOCK)).contiguous()
    arrays = [each.numpy() for each in (free, first, second, begin, wanted, places)]
    numbers = [_F(each) for each in (*betas, pull, floor, epsilon, min(cut, FARTHEST))]

    def work(start: int, end: int) -> None:
        _descend(start, end, *arrays, cells[0], cells[1], rates, *numbers, normalised, width)

    share(work, len(free))


@compiled
def _descend(
    start: int,
    end: int,
    free: Any,
    first: Any,
    second: Any,
    begin: Any,
    images: Any,
    places: Any,
    rows: int,
    columns: int,
    rates: Any,
    beta1: Any,
    beta2: Any,
    weight_of_pull: Any,
    floor: Any,
    epsilon: Any,
    cut: Any,
    normalised: bool,
    width: int,
) -> None:
    """Steps of the pictures `start` to `end`; `width` is their width without padding."""
    count, height, wide = free.shape[1], images.shape[2], images.shape[3]
    splats, shapes = np.empty((count, 8), np.float32), np.empty((count, SHAPE), np.float32)
    ends = np.empty(count, np.int64)
    slopes = np.empty((count, 8), np.float32)
    image, slope = np.empty((3, height, wide), np.float32), np.zeros((3, height, wide), np.float32)
    inverses, least = np.empty((height, wide), np.float32), np.empty((0, 0), np.float32)
    eights = wide // BLOCK
    band = max(1, _BAND_PIXELS // height // BLOCK)
    plane = scratch(height * wide * PLANES)
    best = np.empty(0, np.float32)
    entries, begins = np.empty(0, np.int32), np.empty(0, np.float32)
    for picture in range(start, end):
        p, m, v, p0 = free[picture], first[picture], second[picture], begin[picture]
        for step in range(len(rates)):
            _place(p, places, rows, columns, splats)
            room = SPARE + lay(
                splats, 0, _F(height), _F(width), _F(height), _F(width), _F(0.5), cut, shapes, ends
            )
            if room * FIELDS > len(entries):
                entries = np.empty(2 * room * FIELDS, np.int32)
                begins = np.empty(2 * room * STARTS, np.float32)
            strips, starts = entries[: room * FIELDS], begins[: room * STARTS]
            reach(shapes, ends, cut, height, strips, starts)
            for left in range(0, eights, band):
                right = min(eights, left + band)
                part = plane[: (right - left) * BLOCK * height * PLANES]
                paint(
                    shapes, strips, starts, left, right, normalised, 0, best, part, image,
                    inverses, least,
                )  # fmt: skip
            error = _error(image, images[picture], width, slope)
            turn(image, inverses, least, slope, normalised, 0, plane)
            pull(shapes, ends, strips, starts, 0, count, 0, height, plane, slopes)
            chain(splats, 0, _F(height), _F(width), _F(height), _F(width), 0, count, slopes)
            # The derivative of log(mean e^2 + floor) by e is this, times e.
            size = _F(3 * height * width)
            scale = _F(2) / (size * (_F(error) / size + floor))
            _back(p, p0, rows, columns, scale, weight_of_pull, slopes)
            down(p, m, v, slopes, rates[step, 0], rates[step, 1], beta1, beta2, epsilon)
            _hold(p, _F(2 * math.log(max(height, width))), normalised)


@compiled
def _place(free: Any, places: Any, rows: int, columns: int, splats: Any) -> None:
    """`anchored.placed`."""
    for n in range(len(free)):
        splats[n, 0] = places[n, 0] + math.tanh(free[n, 0]) / _F(columns)
        splats[n, 1] = places[n, 1] + math.tanh(free[n, 1]) / _F(rows)
        for k in range(2, 8):
            splats[n, k] = free[n, k]


@compiled
def _error(image: Any, wanted: Any, width: int, slope: Any) -> Any:
    """Sum of squares of the difference, which is written to `slope`; it is 0 in the padding."""
    height, wide = image.shape[1], image.shape[2]
    whole = width // BLOCK * BLOCK
    squares = 0.0
    for channel in range(3):
        for row in range(height):
            at = (channel * height + row) * wide
            part = spread(_ZERO)
            for column in range(0, whole, BLOCK):
                difference = fused(load(wanted, at + column), -_ONE, load(image, at + column))
                part = fused(difference, difference, part)
                store(slope, at + column, difference)
            for column in range(whole, width):
                rest = image[channel, row, column] - wanted[channel, row, column]
                slope[channel, row, column] = rest
                squares += rest * rest
            squares += total(part)
    return squares


@compiled
def _back(
    free: Any, begin: Any, rows: int, columns: int, scale: Any, weight: Any, slopes: Any
) -> None:
    """Converts derivatives by splats to those of the loss by the free numbers, in place."""
    back = _F(2) * weight / _F(5 * len(free))
    for n in range(len(free)):
        x, y = math.tanh(free[n, 0]), math.tanh(free[n, 1])
        slopes[n, 0] *= (_ONE - x * x) / _F(columns)
        slopes[n, 1] *= (_ONE - y * y) / _F(rows)
        for k in range(8):
            slopes[n, k] *= scale
        for k in range(5):
            slopes[n, k] += back * (free[n, k] - begin[n, k])


@compiled
def down(
    free: Any,
    first: Any,
    second: Any,
    slopes: Any,
    rate: Any,
    growth: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
) -> None:
    """Adam's step: `descent.Descent.down`."""
    p, m, v, g = free.ravel(), first.ravel(), second.ravel(), slopes.ravel()
    for k in range(len(p)):
        m[k] = beta1 * m[k] + (_ONE - beta1) * g[k]
        v[k] = beta2 * v[k] + (_ONE - beta2) * g[k] * g[k]
        p[k] -= rate * m[k] / (math.sqrt(v[k] * growth) + epsilon)


@compiled
def _hold(free: Any, most: Any, mixes: bool) -> None:
    """`anchored.hold`."""
    least, longest = _F(2 * math.log(STD_LEAST)), _F(RATIO_LOG_MOST)
    for n in range(len(free)):
        free[n, 2] = min(max(free[n, 2], least), most)
        length = math.sqrt(free[n, 3] * free[n, 3] + free[n, 4] * free[n, 4])
        if length > longest:
            free[n, 3] *= longest / length
            free[n, 4] *= longest / length
        if mixes:
            for k in range(5, 8):
                free[n, k] = min(max(free[n, k], _ZERO), _ONE)
