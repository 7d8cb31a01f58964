"""The compiled gradient of a picture's error: absolute, squared and SSIM, channel by channel."""

# H x W pixels, K taps of the window, h x w places where it lies within the picture

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.crew import share

_F = np.float32


def slope(
    found: Tensor,
    wanted: Tensor,
    mean: Tensor,
    variance: Tensor,
    window: Tensor,
    weights: tuple[float, float, float],
    small: tuple[float, float],
) -> Tensor:
    """`likeness.Likeness.slope` of float32 pictures on the CPU.

    Args:
        found, wanted: (C, H, W), contiguous.
        mean, variance: of `wanted` in the window, (C, h, w).
        window: (K,).
        weights: of the sum of absolute errors, of squared errors, and of 1 - SSIM.
        small: SSIM's constants.
    Returns: (C, H, W).
    """
    out = torch.empty_like(found)
    arrays = [each.numpy() for each in (found, wanted, mean, variance, window, out)]
    numbers = [_F(each) for each in (*weights, *small)]
    share(lambda first, last: _slope(first, last, *arrays, *numbers), len(found))
    return out


@compiled
def _slope(
    start: int,
    end: int,
    found: Any,
    wanted: Any,
    mean: Any,
    variance: Any,
    window: Any,
    out: Any,
    l1: Any,
    l2: Any,
    dissimilarity: Any,
    c1: Any,
    c2: Any,
) -> None:
    """The channels `start` to `end`."""
    height, width = found.shape[1:]
    high, wide, taps = mean.shape[1], mean.shape[2], len(window)
    across = np.empty((3, height, wide), np.float32)
    inner = np.empty((3, high, wide), np.float32)
    blurred = np.empty((3, wide), np.float32)
    spread = np.empty((3, width), np.float32)
    one, two, zero = _F(1), _F(2), _F(0)
    for channel in range(start, end):
        x, y = found[channel], wanted[channel]
        if dissimilarity > zero:
            for row in range(height):
                _across(x[row], y[row], window, across[:, row])
            for row in range(high):
                blurred[:] = zero
                for k in range(taps):
                    for part in range(3):
                        _add(blurred[part], window[k], across[part, row + k])
                for j in range(wide):
                    m, n, s_n = blurred[0, j], mean[channel, row, j], variance[channel, row, j]
                    s_m, s_mn = blurred[1, j] - m * m, blurred[2, j] - m * n
                    same, alike = two * m * n + c1, two * s_mn + c2
                    means, spreads = m * m + n * n + c1, s_m + s_n + c2
                    inverse = one / (means * spreads)
                    ssim = same * alike * inverse
                    by_square, by_product = -ssim / spreads, two * same * inverse
                    by_mean = two * n * alike * inverse - two * m * ssim / means
                    inner[0, row, j] = by_mean - two * m * by_square - n * by_product
                    inner[1, row, j] = by_square
                    inner[2, row, j] = by_product
            across[:] = zero
            for row in range(high):
                for k in range(taps):
                    for part in range(3):
                        _add(across[part, row + k], window[k], inner[part, row])
        for row in range(height):
            spread[:] = zero
            if dissimilarity > zero:
                for k in range(taps):
                    for part in range(3):
                        _add(spread[part, k : k + wide], window[k], across[part, row])
            for j in range(width):
                error = x[row, j] - y[row, j]
                sign = one if error > zero else (-one if error < zero else zero)
                like = spread[0, j] + two * x[row, j] * spread[1, j] + y[row, j] * spread[2, j]
                out[channel, row, j] = l1 * sign + two * l2 * error - dissimilarity * like


@compiled
def _across(x: Any, y: Any, window: Any, out: Any) -> None:
    """Windowed means of x, x^2 and x y along a row: (3, w)."""
    square, product = x * x, x * y
    out[:] = _F(0)
    wide = out.shape[1]
    for k in range(len(window)):
        _add(out[0], window[k], x[k : k + wide])
        _add(out[1], window[k], square[k : k + wide])
        _add(out[2], window[k], product[k : k + wide])


@compiled
def _add(total: Any, weight: Any, values: Any) -> None:
    """total <- total + weight values."""
    for j in range(len(total)):
        total[j] += weight * values[j]
