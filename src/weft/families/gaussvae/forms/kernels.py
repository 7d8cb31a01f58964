"""The renderer of one picture and its gradient, compiled: each splat down the columns it reaches.

Arrays are contiguous float32. A picture's width is a multiple of eight; its caller pads it. A
scratch `plane` holds, for each column of eights and each row of it, eight numbers of each of four
quantities after another, and behind all of these eight of the fifth.
"""

# N splats, H x W pixels

from __future__ import annotations

from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    counted,
    fused,
    greater,
    kept,
    load,
    over,
    smaller,
    spread,
    store,
    times,
    total,
    unforeseen,
)
from weft.families.gaussvae.forms.reach import FALL, FIELDS, SPARE, STARTS, begun, strip
from weft.families.gaussvae.reference import EPSILON
from weft.families.gaussvae.splats.geometry import BLOCK

SUMS = 8 * BLOCK
"""Numbers of a splat that `pull` sums."""

PLANES = 5
"""Red, green, blue, sum of weights, and the least weight that counts, for top-K."""

_F = np.float32
_ZERO, _ONE, _TWO, _HALF = _F(0), _F(1), _F(2), _F(1 / 2)
_STEP = 4 * BLOCK
_EPSILON = _F(EPSILON)


@compiled
def _rank(
    shapes: Any, strips: Any, starts: Any, left: int, right: int, height: int, topk: int,
    best: Any, least: Any,
) -> None:  # fmt: skip
    """The topk-th largest weight of each pixel, into `least`."""
    for i in range(len(best)):
        best[i] = _ZERO
    for index in range(len(strips) // FIELDS - SPARE):
        n, column, row, end, pace = strip(strips, index)
        if not left <= column < right:
            continue
        w, ratio = load(starts, STARTS * index), load(starts, STARTS * index + BLOCK)
        fall, above = spread(shapes[n, FALL]), (column - left) * height
        while row < end:
            eight, row = above + row, min(row + pace, end)
            while eight < above + row:
                at, moved = eight * topk * BLOCK, w
                for k in range(topk):
                    other = load(best, at + k * BLOCK)
                    store(best, at + k * BLOCK, greater(moved, other))
                    moved = smaller(moved, other)
                w, ratio = times(w, ratio), times(ratio, fall)
                eight = unforeseen(eight + 1)
            if row < end:
                w, ratio = begun(shapes, n, column, row)
    for eight in range(len(least) // BLOCK):
        store(least, eight * BLOCK, load(best, (eight * topk + topk - 1) * BLOCK))


@compiled
def paint(
    shapes: Any,
    strips: Any,
    starts: Any,
    left: int,
    right: int,
    normalised: bool,
    topk: int,
    best: Any,
    plane: Any,
    image: Any,
    weight: Any,
    least: Any,
) -> None:
    """Columns of eights `left` to `right` of a picture: `reference.blend`.

    Args:
        shapes: of `laid.lay`.
        strips, starts: of `reach`.
        topk: how many weights of a pixel count; 0 for all. Of equal ones at the border all do.
        best: scratch, pixels x topk numbers.
        plane: scratch, pixels x PLANES numbers.
        image: gets the columns, (3, H, W).
        weight: gets the divisor, (H, W); not written if not `normalised`.
        least: gets the least weight that counts, (H, W); not written if topk is 0.
    """
    height, width = image.shape[1], image.shape[2]
    size, used = height * width, height * (right - left) * BLOCK
    borders = plane[4 * used :]
    for i in range(4 * used):
        plane[i] = _ZERO
    if topk > 0:
        _rank(shapes, strips, starts, left, right, height, topk, best, borders)
    for index in range(len(strips) // FIELDS - SPARE):
        n, column, row, end, pace = strip(strips, index)
        if not left <= column < right:
            continue
        w, ratio = load(starts, STARTS * index), load(starts, STARTS * index + BLOCK)
        fall, above = spread(shapes[n, FALL]), (column - left) * height
        red, green, blue = shapes[n, 5], shapes[n, 6], shapes[n, 7]
        while row < end:
            eight, row = above + row, min(row + pace, end)
            while eight < above + row:
                at, v = eight * _STEP, w
                if topk > 0:
                    v = kept(w, load(borders, eight * BLOCK))
                store(plane, at, fused(v, red, load(plane, at)))
                store(plane, at + BLOCK, fused(v, green, load(plane, at + BLOCK)))
                store(plane, at + 2 * BLOCK, fused(v, blue, load(plane, at + 2 * BLOCK)))
                store(plane, at + 3 * BLOCK, fused(v, _ONE, load(plane, at + 3 * BLOCK)))
                w, ratio = times(w, ratio), times(ratio, fall)
                eight = unforeseen(eight + 1)
            if row < end:
                w, ratio = begun(shapes, n, column, row)
    for column in range(left, right):
        for row in range(height):
            eight, pixel = (column - left) * height + row, row * width + column * BLOCK
            at = eight * _STEP
            divisor = spread(_ONE)
            if normalised:
                divisor = fused(load(plane, at + 3 * BLOCK), _ONE, _EPSILON)
                store(weight, pixel, divisor)
            for channel in range(3):
                part = over(load(plane, at + channel * BLOCK), divisor)
                store(image, channel * size + pixel, part)
            if topk > 0:
                store(least, pixel, load(borders, eight * BLOCK))


@compiled
def turn(
    image: Any, weight: Any, least: Any, slope: Any, normalised: bool, topk: int, plane: Any
) -> None:
    """What `pull` reads of a picture: dL/dI / D for each colour, -sum dL/dI I / D, least weights.

    Args:
        image, weight, least: of `paint`.
        slope: dL/dI, (3, H, W).
        plane: gets H x W x PLANES numbers.
    """
    height, width = image.shape[1], image.shape[2]
    size = height * width
    borders = plane[4 * size :]
    for column in range(width // BLOCK):
        for row in range(height):
            eight, pixel = column * height + row, row * width + column * BLOCK
            at = eight * _STEP
            inverse, back = spread(_ONE), spread(_ZERO)
            if normalised:
                inverse = over(_ONE, load(weight, pixel))
            for channel in range(3):
                by_number = times(load(slope, channel * size + pixel), inverse)
                store(plane, at + channel * BLOCK, by_number)
                if normalised:
                    part = times(_F(-1), load(image, channel * size + pixel))
                    back = fused(part, by_number, back)
            store(plane, at + 3 * BLOCK, back)
            if topk > 0:
                store(borders, eight * BLOCK, load(least, pixel))


@compiled
def pull(
    shapes: Any,
    ends: Any,
    strips: Any,
    starts: Any,
    first: int,
    last: int,
    topk: int,
    height: int,
    plane: Any,
    sums: Any,
    slopes: Any,
) -> None:
    """Derivatives by what `laid.lay` gives, of splats `first` to `last`.

    Args:
        shapes, ends: of `laid.lay`.
        strips, starts: of `reach`.
        height: H.
        plane: of `turn`.
        sums: scratch, SUMS numbers a splat.
        slopes: gets them, (N, 8).
    """
    borders = plane[len(plane) // PLANES * 4 :]
    none = spread(_ZERO)
    for i in range((last - first) * SUMS):
        sums[i] = _ZERO
    for index in range(ends[first - 1] if first > 0 else 0, ends[last - 1]):
        n, column, row, end, pace = strip(strips, index)
        w, ratio = load(starts, STARTS * index), load(starts, STARTS * index + BLOCK)
        fall, above = spread(shapes[n, FALL]), column * height
        y, red, green, blue = shapes[n, 1], shapes[n, 5], shapes[n, 6], shapes[n, 7]
        by_red, by_green, by_blue = none, none, none
        # Sums of t, the slope by the exponent: down to each row, of these sums, of those again.
        here, once, twice = none, none, none
        while row < end:
            eight, row = above + row, min(row + pace, end)
            while eight < above + row:
                at, v = eight * _STEP, w
                if topk > 0:
                    v = kept(w, load(borders, eight * BLOCK))
                one, two = load(plane, at), load(plane, at + BLOCK)
                three, four = load(plane, at + 2 * BLOCK), load(plane, at + 3 * BLOCK)
                by_red = fused(v, one, by_red)
                by_green = fused(v, two, by_green)
                by_blue = fused(v, three, by_blue)
                t = times(v, fused(red, one, fused(green, two, fused(blue, three, four))))
                here = fused(t, _ONE, here)
                once, twice = fused(here, _ONE, once), fused(once, _ONE, twice)
                w, ratio = times(w, ratio), times(ratio, fall)
                eight = unforeseen(eight + 1)
            if row < end:
                w, ratio = begun(shapes, n, column, row)
        # A row d above the end is met d times in `once`, d (d - 1) / 2 in `twice`; dy = edge - d.
        edge = _F(end) - y
        here_y = fused(here, edge, times(once, -_ONE))
        here_yy = fused(here_y, edge, fused(fused(twice, _TWO, once), _ONE, times(once, -edge)))
        dx = fused(counted(_F(column * BLOCK)), _ONE, -shapes[n, 0])
        here_x, to = times(here, dx), (n - first) * SUMS
        _add(sums, to, here_x)
        _add(sums, to + BLOCK, here_y)
        _add(sums, to + 2 * BLOCK, times(here_x, dx))
        _add(sums, to + 3 * BLOCK, times(here_y, dx))
        _add(sums, to + 4 * BLOCK, here_yy)
        _add(sums, to + 5 * BLOCK, by_red)
        _add(sums, to + 6 * BLOCK, by_green)
        _add(sums, to + 7 * BLOCK, by_blue)
    for n in range(first, last):
        a, b, c = shapes[n, 2], shapes[n, 3], shapes[n, 4]
        to = (n - first) * SUMS
        right_x, right_y = total(load(sums, to)), total(load(sums, to + BLOCK))
        slopes[n, 0] = a * right_x + b * right_y
        slopes[n, 1] = b * right_x + c * right_y
        slopes[n, 2] = -_HALF * total(load(sums, to + 2 * BLOCK))
        slopes[n, 3] = -total(load(sums, to + 3 * BLOCK))
        slopes[n, 4] = -_HALF * total(load(sums, to + 4 * BLOCK))
        for k in range(5, 8):
            slopes[n, k] = total(load(sums, to + k * BLOCK))


@compiled
def _add(sums: Any, at: int, value: Any) -> None:
    store(sums, at, fused(load(sums, at), _ONE, value))
