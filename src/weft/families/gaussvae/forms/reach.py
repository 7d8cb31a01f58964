"""Which pixels splats reach, as one list of strips: rows of a column of eights."""

# N splats, S strips

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    WIDTH,
    both,
    counted,
    floats,
    floor,
    fused,
    greater,
    halves,
    over,
    power,
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
from weft.families.gaussvae.forms.rows import ROWS, listed
from weft.families.gaussvae.splats.geometry import BLOCK

SHAPE = 16
"""Numbers of a splat as it lies in a picture: x, y in pixels, A, B, C, r, g, b, and those below."""

FALL, FIRST, COLUMNS, SQUARE, INVERSE, PEAK = range(8, 14)
"""exp(-C); first column of eights, and how many; AC - B^2; 1 / C; dx of the lowest point."""

FIELDS = 5
"""Whole numbers of a strip: splat, column, first row, first row behind, pace."""

STARTS = 2 * WIDTH
"""Numbers it begins with: weights of eight pixels, and the ratios to them of those below."""

SPARE = ROWS
"""Strips more than there are that a list has room for, as so many are written at once."""

_PACE = 16
"""Rows after which weights are computed anew: each product of ratios rounds once more."""

FARTHEST = math.sqrt(2 * 126 * math.log(2))
"""Sigmas at which a weight is 2^-126: what is smaller no float32 holds, and no picture shows."""

_BATCH, _PARTS = 64, 6
"""Strips whose beginnings are worked out together, and numbers of each that are kept meanwhile."""

_FAR = 140.0
"""d'Qd up to which weights, and their ratios, are numbers that float32 holds with all digits."""

_F = np.float32
_ZERO, _ONE, _TWO, _HALF = _F(0), _F(1), _F(2), _F(1 / 2)
_EIGHT, _EIGHTH = _F(BLOCK), _F(1 / BLOCK)
_BY_A, _BY_B = _F(-math.log2(math.e) / 2), _F(-math.log2(math.e))


@compiled
def extents(x: Any, a: Any, b: Any, c: Any, cut: Any, most: int) -> Any:
    """What `reach` needs to know of splats: FIRST to PEAK.

    Args:
        x, a, b, c: x, A, B, C of SHAPE.
        cut: reach in sigmas.
        most: columns of eights in the picture.
    """
    square = fused(a, c, times(times(b, b), -_ONE))
    half = times(root(over(c, square)), cut)
    # What is no number is the second argument, and ends as a border of the picture.
    first = floor(times(fused(half, -_ONE, x), _EIGHTH))
    first = smaller(greater(_ZERO, first), _F(most))
    # One is added to a whole number: the float below `most` and one make more than `most`.
    last = fused(floor(times(fused(half, _ONE, x), _EIGHTH)), _ONE, _ONE)
    last = greater(_ZERO, smaller(_F(most), last))
    peak = times(times(over(b, a), root(over(a, square))), -cut)
    return first, fused(first, -_ONE, last), square, over(_ONE, c), peak


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
        first = int(shapes[n, FIRST])
        for more in range(0, ends[n] - at, WIDTH):
            # Eight are written whatever their number: what is too much is written over.
            store_whole(strips, at + more, spread(_F(n)))
            store_counted(strips, room + at + more, first + more)
        at = ends[n]
    parts = np.empty(_BATCH * _PARTS, np.float32)
    for begin in range(0, at, _BATCH):
        end = min(begin + _BATCH, at)
        for index in range(begin, end, ROWS):
            to = (index - begin) * _PARTS
            _rows(shapes, strips, index, min(ROWS, end - index), cut, height, parts, to)
        # Not at once: what was stored as one value and is read as eight keeps the reader waiting.
        for index in range(begin, end):
            k = index - begin
            k = k // ROWS * ROWS * _PARTS + k % ROWS
            first = _powers(
                parts[k], parts[k + ROWS], parts[k + 2 * ROWS], parts[k + 3 * ROWS],
                parts[k + 4 * ROWS], parts[k + 5 * ROWS],
            )  # fmt: skip
            store(starts, STARTS * index, first)


@compiled
def _rows(
    shapes: Any, strips: Any, index: int, count: int, cut: Any, height: int, parts: Any, to: int
) -> None:
    """First row, row behind the last, and pace of `count` <= ROWS strips from `index` on.

    Args:
        shapes, cut, height: as of `reach`.
        strips: their splats and columns are read, the rest written.
        parts: gets the arguments of `_powers` from `to` on, ROWS of each after another.
    """
    room, reached = len(strips) // FIELDS, _F(cut * cut)
    x, y, a, b, c, _, _, _ = listed(shapes, strips, index, count, SHAPE, 0)
    _, _, _, square, inverse, peak, _, _ = listed(shapes, strips, index, count, SHAPE, FALL)
    west = fused(floats(strips, room + index), _EIGHT, times(x, -_ONE))
    east = fused(west, _ONE, _EIGHT)
    # What is no number stays first argument, and ends as a border of the picture.
    under = smaller(greater(peak, west), east)
    above = smaller(greater(times(peak, -_ONE), west), east)
    deep, high = times(times(under, under), square), times(times(above, above), square)
    deep = root(greater(fused(c, reached, times(deep, -_ONE)), _ZERO))
    high = root(greater(fused(c, reached, times(high, -_ONE)), _ZERO))
    low = floor(fused(fused(times(under, -_ONE), b, deep), inverse, y))
    top = times(floor(fused(fused(above, b, high), inverse, times(y, -_ONE))), -_ONE)
    begin = smaller(_F(height), greater(_ZERO, top))
    end = greater(begin, smaller(_F(height), fused(low, _ONE, _ONE)))
    # A convex function is greatest in a corner.
    high, deep = fused(y, -_ONE, begin), fused(y, -_ONE, end)
    most = greater(
        greater(_square(west, high, a, b, c), _square(east, high, a, b, c)),
        greater(_square(west, deep, a, b, c), _square(east, deep, a, b, c)),
    )
    pace = where_negative(fused(most, _ONE, _F(-_FAR)), _F(_PACE), _ONE)
    store_whole(strips, 2 * room + index, begin)
    store_whole(strips, 3 * room + index, end)
    store_whole(strips, 4 * room + index, pace)
    store(parts, to, west)
    store(parts, to + ROWS, high)
    store(parts, to + 2 * ROWS, times(a, _BY_A))
    store(parts, to + 3 * ROWS, times(b, _BY_B))
    c = times(c, _BY_A)
    store(parts, to + 4 * ROWS, times(c, high))
    store(parts, to + 5 * ROWS, times(c, fused(high, _TWO, _ONE)))


@compiled
def _square(dx: Any, dy: Any, a: Any, b: Any, c: Any) -> Any:
    """d'Qd."""
    return fused(times(dx, dx), a, times(dy, fused(dx, times(b, _TWO), times(dy, c))))


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
    west, dy = _F(column * BLOCK) - shapes[n, 0], _F(row) - shapes[n, 1]
    a, b, c = _BY_A * shapes[n, 2], _BY_B * shapes[n, 3], _BY_A * shapes[n, 4]
    return halves(_powers(west, dy, a, b, c * dy, c * (_TWO * dy + _ONE)))


@compiled
def _powers(west: Any, dy: Any, a: Any, b: Any, down: Any, next_down: Any) -> Any:
    """w and its ratios from dx of the first of eight pixels, dy, and parts of the exponent."""
    dx = counted(west)
    slope = times(dx, b)
    w = fused(fused(slope, _ONE, down), dy, times(times(dx, dx), a))
    return power(both(w, fused(slope, _ONE, next_down)))
