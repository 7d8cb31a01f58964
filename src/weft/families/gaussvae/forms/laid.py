"""Ellipses of splats in a picture and their gradients, compiled, sixteen splats at a time."""

# N splats

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    both,
    exponential,
    fused,
    greater,
    load_pairs,
    over,
    root,
    smaller,
    spread,
    times,
    where_negative,
)
from weft.families.gaussvae.forms.reach import COLUMNS, FALL, SHAPE, extents
from weft.families.gaussvae.forms.transposed import ROWS, columns, store_columns
from weft.families.gaussvae.splats.geometry import BLOCK, RATIO_LOG_MOST, STD_LEAST

_F = np.float32
_ZERO, _ONE, _TWO, _HALF = _F(0), _F(1), _F(2), _F(1 / 2)
_RATIO = _F(RATIO_LOG_MOST)
_M_LEAST = _F(2 * math.log(STD_LEAST))
_SMALL = _F(1 / 16)
_SPLAT = 8
"""Numbers of a splat."""


@compiled
def _hyperbolic(q: Any) -> Any:
    """cosh r, sinh r / r and the latter's derivative by q = r^2; series are used near 0."""
    r = root(q)
    grown = exponential(r)
    shrunk = over(_ONE, grown)
    cosh = times(fused(grown, _ONE, shrunk), _HALF)
    sinhc = over(times(fused(shrunk, -_ONE, grown), _HALF), r)
    slope = over(fused(sinhc, -_ONE, cosh), times(q, _TWO))
    small = fused(q, _ONE, -_SMALL)
    near = _series(q, _F(1 / 2), _F(1 / 12), _F(1 / 30), _F(1 / 56))
    cosh = where_negative(small, near, cosh)
    near = _series(q, _F(1 / 6), _F(1 / 20), _F(1 / 42), _F(1 / 72))
    sinhc = where_negative(small, near, sinhc)
    near = times(_series(q, _F(1 / 10), _F(1 / 28), _F(1 / 54), _ZERO), _F(1 / 6))
    return cosh, sinhc, where_negative(small, near, slope)


@compiled
def _series(q: Any, one: Any, two: Any, three: Any, four: Any) -> Any:
    """1 + q one (1 + q two (1 + q three (1 + q four)))."""
    found = fused(q, four, _ONE)
    found = fused(times(q, three), found, _ONE)
    found = fused(times(q, two), found, _ONE)
    return fused(times(q, one), found, _ONE)


@compiled
def _bounded(m: Any, a: Any, b: Any, most: Any) -> Any:
    """m, a, b after clamping, the factor applied to a and b, and the clamped a^2 + b^2."""
    # NaN stays the first argument.
    m = smaller(greater(m, _M_LEAST), most)
    shrink = smaller(over(_RATIO, root(fused(a, a, times(b, b)))), _ONE)
    a, b = times(a, shrink), times(b, shrink)
    return m, a, b, shrink, fused(a, a, times(b, b))


@compiled
def _turned(splats: Any, begin: int, count: int, angles: Any) -> Any:
    """cos and sin of up to ROWS splats' angles."""
    for i in range(ROWS):
        angle = splats[begin + min(i, count - 1), 4]
        angles[i], angles[ROWS + i] = math.cos(angle), math.sin(angle)
    return load_pairs(angles, 0), load_pairs(angles, ROWS)


@compiled
def lay(
    splats: Any,
    layout: int,
    height: Any,
    width: Any,
    high: Any,
    wide: Any,
    shift: Any,
    cut: Any,
    shapes: Any,
    ends: Any,
) -> int:
    """`geometry.ellipses` of one picture, and the number of columns of eight pixels they reach.

    Args:
        splats: (N, 8).
        layout: index in `geometry.LAYOUTS`.
        height, width, high, wide: sizes of the picture, and of the one whose pixels are the unit of
            shapes; floats.
        shift: 1/2 for sampling at centres, 0 at corners.
        cut: reach of a splat in sigmas, infinite for all pixels.
        shapes: receives the numbers named in `reach`, (N, SHAPE).
        ends: receives the cumulative number of columns, (N,).

    Returns: the total number of columns.
    """
    across, down = width / wide, height / high
    most = _F(_TWO * math.log(max(high, wide)))
    by_aa, by_ab, by_bb = _F(1 / across**2), _F(1 / (across * down)), _F(1 / down**2)
    whole, end, none = (int(width) + BLOCK - 1) // BLOCK, 0, both(spread(_ZERO), spread(_ZERO))
    angles = np.empty(2 * ROWS, np.float32)
    for n in range(0, len(splats), ROWS):
        count, to = min(ROWS, len(splats) - n), n * SHAPE
        x, y, p, q, t, red, green, blue = columns(splats, n * _SPLAT, _SPLAT, count)
        if layout == 0:
            m, along, aside, _, square = _bounded(p, q, t, most)
            cosh, sinhc, _ = _hyperbolic(square)
            scale = exponential(times(m, -_ONE))
            along, scale_sinhc = times(sinhc, along), times(scale, sinhc)
            a = times(scale, fused(along, -_ONE, cosh))
            b = times(times(scale_sinhc, aside), -_ONE)
            c = times(scale, fused(along, _ONE, cosh))
        else:
            cos, sin = _turned(splats, n, count, angles)
            one, two = times(p, p), times(q, q)
            cos_cos, sin_sin = times(cos, cos), times(sin, sin)
            a = fused(cos_cos, one, times(sin_sin, two))
            b = times(times(cos, sin), fused(two, -_ONE, one))
            c = fused(sin_sin, one, times(cos_cos, two))
        x, y = fused(x, width, -shift), fused(y, height, -shift)
        a, b, c = times(a, by_aa), times(b, by_ab), times(c, by_bb)
        store_columns(shapes, to, SHAPE, count, x, y, a, b, c, red, green, blue)
        store_columns(
            shapes, to + FALL, SHAPE, count, exponential(times(c, -_ONE)),
            *extents(x, a, b, c, cut, whole), none, none,
        )  # fmt: skip
    for n in range(len(splats)):
        end += int(shapes[n, COLUMNS])
        ends[n] = end
    return end


@compiled
def chain(
    splats: Any,
    layout: int,
    height: Any,
    width: Any,
    high: Any,
    wide: Any,
    first: int,
    last: int,
    slopes: Any,
) -> None:
    """Converts derivatives by the results of `lay` to those by the splats, in place.

    Args:
        first, last: range of splats.
        slopes: the derivatives, (N, 8).
    """
    across, down = width / wide, height / high
    most = _F(_TWO * math.log(max(high, wide)))
    by_aa, by_ab, by_bb = _F(1 / across**2), _F(1 / (across * down)), _F(1 / down**2)
    angles = np.empty(2 * ROWS, np.float32)
    for n in range(first, last, ROWS):
        count, at = min(ROWS, last - n), n * _SPLAT
        by_x, by_y, by_a, by_b, by_c, red, green, blue = columns(slopes, at, _SPLAT, count)
        by_a, by_b, by_c = times(by_a, by_aa), times(by_b, by_ab), times(by_c, by_bb)
        _, _, p, q, t, _, _, _ = columns(splats, at, _SPLAT, count)
        if layout == 0:
            one, two, three = _by_logcov(by_a, by_b, by_c, p, q, t, most)
        else:
            cos, sin = _turned(splats, n, count, angles)
            cos_cos, sin_sin, both = times(cos, cos), times(sin, sin), times(cos, sin)
            one = fused(by_b, both, fused(by_a, cos_cos, times(by_c, sin_sin)))
            one = times(times(p, _TWO), one)
            two = fused(times(by_b, -_ONE), both, fused(by_a, sin_sin, times(by_c, cos_cos)))
            two = times(times(q, _TWO), two)
            three = times(times(both, _TWO), fused(by_a, -_ONE, by_c))
            three = fused(by_b, fused(sin_sin, -_ONE, cos_cos), three)
            three = times(fused(p, p, times(times(q, q), -_ONE)), three)
        by_x, by_y = times(by_x, width), times(by_y, height)
        store_columns(slopes, at, _SPLAT, count, by_x, by_y, one, two, three, red, green, blue)


@compiled
def _by_logcov(by_a: Any, by_b: Any, by_c: Any, p: Any, q: Any, t: Any, most: Any) -> Any:
    """Derivatives by m, a, b (the arguments p, q, t), from those by A, B, C."""
    m, along, aside, shrink, square = _bounded(p, q, t, most)
    cosh, sinhc, slope = _hyperbolic(square)
    scale = exponential(times(m, -_ONE))
    difference = fused(by_a, -_ONE, by_c)
    by_cosh = times(scale, fused(by_a, _ONE, by_c))
    by_sinhc = fused(difference, along, times(times(by_b, aside), -_ONE))
    by_sinhc = times(scale, by_sinhc)
    # Twice the derivative by r^2, as r^2 is quadratic in a.
    by_square = fused(by_cosh, sinhc, times(times(by_sinhc, slope), _TWO))
    scale_sinhc = times(scale, sinhc)
    by_along = fused(by_square, along, times(scale_sinhc, difference))
    by_aside = fused(by_square, aside, times(times(scale_sinhc, by_b), -_ONE))
    # At the bound only the direction of (a, b) is free.
    held = fused(shrink, _ONE, -_ONE)
    part = over(fused(by_along, along, times(by_aside, aside)), square)
    by_along = where_negative(held, fused(times(part, along), -_ONE, by_along), by_along)
    by_aside = where_negative(held, fused(times(part, aside), -_ONE, by_aside), by_aside)
    by_m = times(fused(by_cosh, cosh, times(by_sinhc, sinhc)), -_ONE)
    # The derivative is 0 if clamping has changed m; NaN stays NaN.
    moved = fused(m, -_ONE, p)
    moved = times(times(moved, moved), -_ONE)
    return (
        where_negative(moved, _ZERO, by_m),
        times(by_along, shrink),
        times(by_aside, shrink),
    )
