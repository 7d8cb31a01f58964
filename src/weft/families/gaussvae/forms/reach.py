"""Lists the pixels that splats reach, as strips: rows of a column that is eight pixels wide."""

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
from weft.families.gaussvae.forms.transposed import ROWS, listed
from weft.families.gaussvae.splats.geometry import BLOCK

SHAPE = 16
"""Numbers of a splat in a picture: x, y in pixels, A, B, C, r, g, b, and the following."""

FALL, FIRST, COLUMNS, SQUARE, INVERSE, PEAK = range(8, 14)
"""exp(-C); first column (of eight pixels), number of columns; AC - B^2; 1 / C; dx of the lowest
point."""

FIELDS = 5
"""Integers of a strip: splat, column, first row, row after the last, pace."""

STARTS = 2 * WIDTH
"""Floats of a strip: weights of its first eight pixels, and ratios of the next row's to these."""

SPARE = ROWS
"""Additional capacity of a list of strips, as this many are written at once."""

_PACE = 16
"""Rows after which weights are computed again, as each product of ratios adds a rounding error."""

FARTHEST = math.sqrt(2 * 126 * math.log(2))
"""Sigmas at which a weight is 2^-126, the smallest normal float32."""

_BATCH, _PARTS = 64, 6
"""Number of strips whose first weights are computed together, and of values stored for each."""

_FAR = 140.0
"""d'Qd up to which weights and their ratios are normal float32 numbers."""

_F = np.float32
_ZERO, _ONE, _TWO, _HALF = _F(0), _F(1), _F(2), _F(1 / 2)
_EIGHT, _EIGHTH = _F(BLOCK), _F(1 / BLOCK)
_BY_A, _BY_B = _F(-math.log2(math.e) / 2), _F(-math.log2(math.e))


@compiled
def extents(x: Any, a: Any, b: Any, c: Any, cut: Any, most: int) -> Any:
    """The numbers FIRST to PEAK of splats, for `reach`.

    Args:
        x, a, b, c: x, A, B, C of SHAPE.
        cut: reach in sigmas.
        most: number of columns of eight pixels in the picture.
    """
    square = fused(a, c, times(times(b, b), -_ONE))
    half = times(root(over(c, square)), cut)
    # NaN gives the second argument, and so a border of the picture.
    first = floor(times(fused(half, -_ONE, x), _EIGHTH))
    first = smaller(greater(_ZERO, first), _F(most))
    # One is added to an integer: the float just below `most` plus one would exceed `most`.
    last = fused(floor(times(fused(half, _ONE, x), _EIGHTH)), _ONE, _ONE)
    last = greater(_ZERO, smaller(_F(most), last))
    peak = times(times(over(b, a), root(over(a, square))), -cut)
    return first, fused(first, -_ONE, last), square, over(_ONE, c), peak


@compiled
def reach(shapes: Any, ends: Any, cut: Any, height: int, strips: Any, starts: Any) -> None:
    """Lists the groups of eight pixels that splats reach: `geometry.spans`, column by column.

    An ellipse meets a column in consecutive rows, from its smallest to its largest y there. These
    are at its highest and lowest point if they are in the column, and else on the column's border.

    Args:
        shapes, ends: of `laid.lay`.
        cut: reach in sigmas.
        height: of the picture.
        strips: receives the list, FIELDS numbers of each strip in turn, for S + SPARE strips; read
            by `strip`.
        starts: receives STARTS numbers for each.
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
    """First row, row after the last, and pace of `count` <= ROWS strips from `index` on.

    Args:
        shapes, cut, height: as of `reach`.
        strips: their splats and columns are read, other fields written.
        parts: receives the arguments of `_powers` from `to` on, ROWS of each in turn.
    """
    room, reached = len(strips) // FIELDS, _F(cut * cut)
    x, y, a, b, c, _, _, _ = listed(shapes, strips, index, count, SHAPE, 0)
    _, _, _, square, inverse, peak, _, _ = listed(shapes, strips, index, count, SHAPE, FALL)
    west = fused(floats(strips, room + index), _EIGHT, times(x, -_ONE))
    east = fused(west, _ONE, _EIGHT)
    # NaN stays the first argument, and gives a border of the picture.
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
    """The fields of one strip, see FIELDS."""
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
    """w of a splat in eight pixels, and the ratios of w in the next row to it.

    In each further row w is multiplied by the ratio, and the ratio by exp(-C), shapes[n, FALL].
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
