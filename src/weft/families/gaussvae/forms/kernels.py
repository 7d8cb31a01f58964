"""The compiled renderer of one picture and its gradient, splat by splat and column by column.

Arrays are contiguous float32. The width of a picture is a multiple of eight, padded by the caller.
A column is eight pixels wide. The scratch array `plane` has, for each column and each of its rows,
eight numbers of each of four quantities, and after all of these eight of the fifth.
"""

# N splats, H x W pixels

from __future__ import annotations

from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    both,
    counted,
    fused,
    greater,
    kept,
    load,
    load_pairs,
    over,
    shuffled,
    smaller,
    spread,
    store,
    times,
    totals,
    unforeseen,
)
from weft.families.gaussvae.forms.reach import FALL, FIELDS, SHAPE, SPARE, STARTS, begun, strip
from weft.families.gaussvae.reference import EPSILON
from weft.families.gaussvae.splats.geometry import BLOCK

PLANES = 5
"""Number of quantities: red, green, blue, sum of weights, and the top-K threshold."""

_F = np.float32
_ZERO, _ONE, _TWO, _HALF = _F(0), _F(1), _F(2), _F(1 / 2)
_STEP = 4 * BLOCK
_EPSILON = _F(EPSILON)
_LINE = 2 * BLOCK
_FACTORS = np.array([0, 0, -1 / 2, -1, -1 / 2, 1, 1, 1], np.float32)
"""Of sums of t dx^2, t dx dy, t dy^2 and of those by colours; two in front are the splat's own."""
_a_and_c = shuffled(2, 4, 10, 11, 12, 13, 14, 15)
_exchanged = shuffled(1, 0, 8, 8, 8, 8, 8, 8)
_b_and_b = shuffled(3, 3, 8, 8, 8, 8, 8, 8)


@compiled
def scratch(count: int) -> Any:
    """An uninitialised array of `count` numbers, aligned to cache lines."""
    room = np.empty(count + _LINE, np.float32)
    first = -(room.ctypes.data // room.itemsize) % _LINE
    return room[first : first + count]


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
    inverses: Any,
    least: Any,
) -> None:
    """Columns `left` to `right` of a picture, as by `reference.blend`.

    Args:
        shapes: of `laid.lay`.
        strips, starts: of `reach`.
        topk: number of the largest weights of a pixel that count, with all equal ones; 0: all.
        best: scratch, pixels x topk numbers.
        plane: scratch, pixels x PLANES numbers.
        image: receives the columns, (3, H, W).
        inverses: receives one over the divisor, (H, W); not written if not `normalised`.
        least: receives the smallest weight that counts, (H, W); not written if topk is 0.
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
        red_green = both(spread(shapes[n, 5]), spread(shapes[n, 6]))
        blue_one = both(spread(shapes[n, 7]), spread(_ONE))
        while row < end:
            eight, row = above + row, min(row + pace, end)
            while eight < above + row:
                at, v = eight * _STEP, w
                if topk > 0:
                    v = kept(w, load(borders, eight * BLOCK))
                vv = both(v, v)
                store(plane, at, fused(vv, red_green, load_pairs(plane, at)))
                at += 2 * BLOCK
                store(plane, at, fused(vv, blue_one, load_pairs(plane, at)))
                w, ratio = times(w, ratio), times(ratio, fall)
                eight = unforeseen(eight + 1)
            if row < end:
                w, ratio = begun(shapes, n, column, row)
    for column in range(left, right):
        for row in range(height):
            eight, pixel = (column - left) * height + row, row * width + column * BLOCK
            at = eight * _STEP
            inverse = spread(_ONE)
            if normalised:
                inverse = over(_ONE, fused(load(plane, at + 3 * BLOCK), _ONE, _EPSILON))
                store(inverses, pixel, inverse)
            for channel in range(3):
                part = times(load(plane, at + channel * BLOCK), inverse)
                store(image, channel * size + pixel, part)
            if topk > 0:
                store(least, pixel, load(borders, eight * BLOCK))


@compiled
def turn(
    image: Any, inverses: Any, least: Any, slope: Any, normalised: bool, topk: int, plane: Any
) -> None:
    """The input of `pull`: dL/dI / D for each colour, -sum dL/dI I / D, and smallest weights.

    Args:
        image, inverses, least: of `paint`.
        slope: dL/dI, (3, H, W).
        plane: receives H x W x PLANES numbers.
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
                inverse = load(inverses, pixel)
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
    slopes: Any,
) -> None:
    """Derivatives by the results of `laid.lay`, for splats `first` to `last`.

    Args:
        shapes, ends: of `laid.lay`.
        strips, starts: of `reach`.
        height: H.
        plane: of `turn`.
        slopes: receives them, (N, 8).
    """
    borders = plane[len(plane) // PLANES * 4 :]
    none, index = spread(_ZERO), ends[first - 1] if first > 0 else 0
    for n in range(first, last):
        fall, x, y = spread(shapes[n, FALL]), shapes[n, 0], shapes[n, 1]
        red, green, blue = shapes[n, 5], shapes[n, 6], shapes[n, 7]
        by_red, by_green, by_blue = none, none, none
        all_x, all_y, all_xx, all_xy, all_yy = none, none, none, none, none
        while index < ends[n]:
            _, column, row, end, pace = strip(strips, index)
            w, ratio = load(starts, STARTS * index), load(starts, STARTS * index + BLOCK)
            above = column * height
            # Cumulative sums over rows of t, the derivative by the exponent, of these, and again.
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
            # A row d above the end is met d times in `once`, d (d - 1) / 2 in `twice`;
            # dy = edge - d.
            edge = _F(end) - y
            here_y = fused(here, edge, times(once, -_ONE))
            here_yy = fused(here_y, edge, fused(fused(twice, _TWO, once), _ONE, times(once, -edge)))
            dx = fused(counted(_F(column * BLOCK)), _ONE, -x)
            here_x = times(here, dx)
            all_x, all_y = fused(here_x, _ONE, all_x), fused(here_y, _ONE, all_y)
            all_xx, all_xy = fused(here_x, dx, all_xx), fused(here_y, dx, all_xy)
            all_yy = fused(here_yy, _ONE, all_yy)
            index += 1
        sums = totals(all_x, all_y, all_xx, all_xy, all_yy, by_red, by_green, by_blue)
        shape = load(shapes, n * SHAPE)
        # By x: A of the first sum and B of the second; by y: C of the second and B of the first.
        crossed = times(_exchanged(sums, none), _b_and_b(shape, none))
        store(slopes, n * 8, fused(sums, _a_and_c(shape, load(_FACTORS, 0)), crossed))
