"""Which pixels splats reach, as one list of strips: rows of a column of eights."""

# N splats, S strips

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
    gather,
    greater,
    over,
    power,
    root,
    scatter,
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

SHAPE = 16
"""Numbers of a splat as it lies in a picture: x, y in pixels, A, B, C, r, g, b, and those below."""

FALL, FIRST, COLUMNS, SQUARE, INVERSE, PEAK = range(8, 14)
"""exp(-C); first column of eights, and how many; AC - B^2; 1 / C; dx of the lowest point."""

FIELDS = 5
"""Whole numbers of a strip: splat, column, first row, first row behind, pace."""

STARTS = 2 * WIDTH
"""Numbers it begins with: weights of eight pixels, and the ratios to them of those below."""

SPARE = WIDTH
"""Strips more than there are that a list has room for, as eight are written at once."""

_PACE = 16
"""Rows after which weights are computed anew: each product of ratios rounds once more."""

FARTHEST = math.sqrt(2 * 126 * math.log(2))
"""Sigmas at which a weight is 2^-126: what is smaller no float32 holds, and no picture shows."""

_FAR = 140.0
"""d'Qd up to which weights, and their ratios, are numbers that float32 holds with all digits."""

_F = np.float32
_ZERO, _ONE, _TWO, _HALF = _F(0), _F(1), _F(2), _F(1 / 2)
_EIGHT, _EIGHTH = _F(BLOCK), _F(1 / BLOCK)
_LOG2E = _F(math.log2(math.e))


@compiled
def extents(shapes: Any, begin: int, count: int, cut: Any, most: int) -> None:
    """What `reach` needs to know of up to eight splats, into their `shapes`.

    Args:
        shapes: (N, SHAPE); x, A, B, C are read.
        begin, count: the first of the splats, and how many.
        cut: reach in sigmas.
        most: columns of eights in the picture.
    """
    at = begin * SHAPE
    x, a = gather(shapes, at, SHAPE, count), gather(shapes, at + 2, SHAPE, count)
    b, c = gather(shapes, at + 3, SHAPE, count), gather(shapes, at + 4, SHAPE, count)
    square = fused(a, c, times(times(b, b), -_ONE))
    half = times(root(over(c, square)), cut)
    # What is no number is the second argument, and ends as a border of the picture.
    first = floor(times(fused(half, -_ONE, x), _EIGHTH))
    first = smaller(greater(_ZERO, first), _F(most))
    # One is added to a whole number: the float below `most` and one make more than `most`.
    last = fused(floor(times(fused(half, _ONE, x), _EIGHTH)), _ONE, _ONE)
    last = greater(_ZERO, smaller(_F(most), last))
    peak = times(times(over(b, a), root(over(a, square))), -cut)
    scatter(shapes, at + FIRST, SHAPE, count, first)
    scatter(shapes, at + COLUMNS, SHAPE, count, fused(first, -_ONE, last))
    scatter(shapes, at + SQUARE, SHAPE, count, square)
    scatter(shapes, at + INVERSE, SHAPE, count, over(_ONE, c))
    scatter(shapes, at + PEAK, SHAPE, count, peak)


@compiled
def reach(shapes: Any, ends: Any, cut: Any, height: int, strips: Any, starts: Any) -> None:
    """Lists the eights of pixels that splats reach: `geometry.spans`, column by column.

    An ellipse meets a column in rows without a gap: from the least to the greatest y on it, at its
    own highest and lowest point where the column has these, on the column's border if not.

    Args:
        shapes, ends: of `laid.lay`.
        cut: reach in sigmas.
        height: of the picture.
        strips: gets the list, FIELDS numbers of each after another, S + SPARE of them; `strip`
            reads them.
        starts: gets STARTS numbers for each.
    """
    room, at = len(strips) // FIELDS, 0
    for n in range(len(shapes)):
        x, y, a, b, c = shapes[n, 0], shapes[n, 1], shapes[n, 2], shapes[n, 3], shapes[n, 4]
        first, square, inverse = int(shapes[n, FIRST]), shapes[n, SQUARE], shapes[n, INVERSE]
        peak = shapes[n, PEAK]
        for more in range(0, ends[n] - at, WIDTH):
            west = fused(counted(_F(first + more)), _EIGHT, -x)
            east = fused(west, _ONE, _EIGHT)
            # What is no number stays first argument, and ends as a border of the picture.
            under = smaller(greater(spread(peak), west), east)
            above = smaller(greater(spread(-peak), west), east)
            deep = root(greater(fused(times(under, under), -square, c * cut * cut), _ZERO))
            high = root(greater(fused(times(above, above), -square, c * cut * cut), _ZERO))
            low = floor(fused(fused(under, -b, deep), inverse, y))
            top = times(floor(fused(fused(above, b, high), inverse, -y)), -_ONE)
            begin = smaller(_F(height), greater(_ZERO, top))
            end = greater(begin, smaller(_F(height), fused(low, _ONE, _ONE)))
            # A convex function is greatest in a corner.
            high, deep = fused(begin, _ONE, -y), fused(end, _ONE, -y)
            most = greater(
                greater(_square(west, high, a, b, c), _square(east, high, a, b, c)),
                greater(_square(west, deep, a, b, c), _square(east, deep, a, b, c)),
            )
            pace = where_negative(fused(most, _ONE, _F(-_FAR)), spread(_F(_PACE)), spread(_ONE))
            # Eight are written whatever their number: what is too much is written over.
            store_whole(strips, at + more, spread(_F(n)))
            store_counted(strips, room + at + more, first + more)
            store_whole(strips, 2 * room + at + more, begin)
            store_whole(strips, 3 * room + at + more, end)
            store_whole(strips, 4 * room + at + more, pace)
        at = ends[n]
    for index in range(at):
        n, column, row, _, _ = strip(strips, index)
        w, ratio = begun(shapes, n, column, row)
        store(starts, STARTS * index, w)
        store(starts, STARTS * index + WIDTH, ratio)


@compiled
def _square(dx: Any, dy: Any, a: Any, b: Any, c: Any) -> Any:
    """d'Qd."""
    return fused(times(dx, dx), a, times(dy, fused(dx, _TWO * b, times(dy, c))))


@compiled
def strip(strips: Any, index: int) -> Any:
    """What FIELDS names of one of them."""
    room = len(strips) // FIELDS
    return (
        whole(strips, index),
        whole(strips, room + index),
        whole(strips, 2 * room + index),
        whole(strips, 3 * room + index),
        whole(strips, 4 * room + index),
    )


@compiled
def begun(shapes: Any, n: int, column: int, row: int) -> Any:
    """w of a splat in eight pixels, and the ratios to it of w in those below.

    From row to row, w is multiplied by a ratio, and that by exp(-C): shapes[n, FALL].
    """
    dx = fused(counted(_F(column * BLOCK)), _ONE, -shapes[n, 0])
    dy = spread(_F(row) - shapes[n, 1])
    slope, steep = times(dx, -_LOG2E * shapes[n, 3]), -_HALF * _LOG2E * shapes[n, 4]
    depth = times(times(dx, dx), -_HALF * _LOG2E * shapes[n, 2])
    ratio = power(fused(fused(dy, _TWO, _ONE), steep, slope))
    return weight_at(dy, steep, slope, depth), ratio


@compiled
def weight_at(d: Any, steep: Any, slope: Any, depth: Any) -> Any:
    """w of eight pixels: 2 to the power of `steep` d^2 + `slope` d + `depth`."""
    return power(fused(d, fused(steep, d, slope), depth))
