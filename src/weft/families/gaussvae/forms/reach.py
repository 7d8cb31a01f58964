"""Which eights of pixels a splat reaches, as one list: no loop ends anew in every row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    WIDTH,
    counted,
    floor,
    fused,
    greater,
    root,
    smaller,
    spread,
    store,
    store_counted,
    store_whole,
    times,
    where_negative,
    whole,
)
from weft.families.gaussvae.splats.geometry import BLOCK

FIRST = 2 * WIDTH
"""Where the list begins among its numbers; before it are the edges of eight rows."""

_F = np.float32
_ZERO, _ONE, _HALF = _F(0), _F(1), _F(1 / 2)
_EIGHTH = _F(1 / BLOCK)
_LOG2E = _F(math.log2(math.e))
_SHIFT = 16
"""Bits of a number that name the eight; those above it name the row."""


@compiled
def listing(height: int, width: int) -> Any:
    """Room for the list of a splat in so many rows, and what it is read with.

    Returns: `entries`, whole numbers, the list from FIRST on; `lines`, three quantities of `tall`
        rows after another, then the numbers of the pixels of a row; and `tall`.
    """
    tall = (height + WIDTH - 1) // WIDTH * WIDTH
    lines = np.empty(3 * tall + width, np.float32)
    for pixel in range(width):
        lines[3 * tall + pixel] = _F(pixel)
    return np.empty(FIRST + tall * (width // BLOCK) + WIDTH, np.int32), lines, tall


@compiled
def _from(value: Any, most: int) -> int:
    """The whole number below, between 0 and `most`; 0 for what is no number."""
    if value > _ZERO:
        return int(value) if value < most else most
    return 0


@compiled
def _until(value: Any, most: int) -> int:
    """The whole number above, between 0 and `most`; `most` for what is no number."""
    if value < most:
        # A whole number is added: the float below `most` and one make more than `most`.
        return int(value) + 1 if value >= _ZERO else 0
    return most


@compiled
def rows(y: Any, a: Any, b: Any, c: Any, cut: Any, top: int, bottom: int) -> Any:
    """First row that a splat reaches, and first one behind, between `top` and `bottom`."""
    half = cut * math.sqrt(a / (a * c - b * b))
    return max(top, _from(y - half, bottom)), _until(y + half, bottom)


@compiled
def reach(
    x: Any, y: Any, a: Any, b: Any, c: Any, cut: Any, first: int, last: int, width: int,
    entries: Any, lines: Any, tall: int,
) -> int:  # fmt: skip
    """Lists the eights of pixels that a splat reaches in its rows: `geometry.spans`.

    Args:
        x, y, a, b, c: of the splat.
        cut: reach in sigmas.
        first, last: as many rows as `listing` was asked for, or less.
        width: of the picture.
        entries, lines, tall: of `listing`. For each row: dy, and slope and depth of `weight_at`.

    Returns: where the list ends among the entries.
    """
    most, inverse = spread(_F(width // BLOCK)), spread(_ONE / a)
    end = FIRST
    for row in range(first, last, WIDTH):
        dy = fused(counted(_F(row)), _ONE, -y)
        store(lines, row - first, dy)
        store(lines, tall + row - first, times(dy, -_LOG2E * b))
        store(lines, 2 * tall + row - first, times(dy, times(dy, -_HALF * _LOG2E * c)))
        inside = fused(times(dy, dy), b * b - a * c, a * cut * cut)
        half = times(root(greater(inside, _ZERO)), inverse)
        middle = fused(times(dy, -b), inverse, x)
        # What is no number becomes the first argument of these: such a splat reaches all.
        low = smaller(most, greater(_ZERO, floor(times(fused(half, -_ONE, middle), _EIGHTH))))
        high = smaller(most, floor(fused(fused(half, _ONE, middle), _EIGHTH, _ONE)))
        high = where_negative(inside, low, greater(high, low))
        high = where_negative(counted(_F(row - last)), high, low)
        store_whole(entries, 0, low)
        store_whole(entries, WIDTH, high)
        for k in range(WIDTH):
            start = whole(entries, k)
            count = whole(entries, WIDTH + k) - start
            begin = (row - first + k << _SHIFT) + start
            # Eight are written whatever the count: what is too much is written over.
            store_counted(entries, end, begin)
            for more in range(WIDTH, count, WIDTH):
                store_counted(entries, end + more, begin + more)
            end += count
    return end


@compiled
def place(entries: Any, index: int) -> Any:
    """Row after the first of those listed, and eighth of it, that the list names there."""
    entry = whole(entries, index)
    return entry >> _SHIFT, entry & (1 << _SHIFT) - 1
