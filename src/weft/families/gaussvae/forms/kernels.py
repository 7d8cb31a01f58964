"""The renderer of one picture and its gradient, compiled: each splat against the rows it reaches.

Arrays are contiguous float32. A picture's width is a multiple of eight; its caller pads it. A
scratch `plane` holds, for each row and each eight pixels of it, eight numbers of each of PLANES
quantities after another.
"""

# N splats, H x W pixels

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    fused,
    greater,
    kept,
    load,
    number,
    over,
    power,
    smaller,
    spread,
    store,
    times,
    total,
)
from weft.families.gaussvae.forms.reach import FIRST, listing, place, reach, rows
from weft.families.gaussvae.reference import EPSILON
from weft.families.gaussvae.splats.geometry import BLOCK, RATIO_LOG_MOST, STD_LEAST

PLANES = 5
"""Red, green, blue, sum of weights, and the least weight that counts, for top-K."""

_F = np.float32
_ZERO, _ONE, _TWO, _HALF = _F(0), _F(1), _F(2), _F(1 / 2)
_LOG2E = _F(math.log2(math.e))
_STEP = PLANES * BLOCK
_EPSILON = _F(EPSILON)
_RATIO = _F(RATIO_LOG_MOST)
_M_LEAST = _F(2 * math.log(STD_LEAST))
_SMALL = _F(1 / 16)


@compiled
def _hyperbolic(q: Any) -> Any:
    """cosh r, sinh r / r and the latter's derivative by q = r^2."""
    if q < _SMALL:
        cosh = _ONE + q / _F(2) * (_ONE + q / _F(12) * (_ONE + q / _F(30) * (_ONE + q / _F(56))))
        sinhc = _ONE + q / _F(6) * (_ONE + q / _F(20) * (_ONE + q / _F(42) * (_ONE + q / _F(72))))
        slope = (_ONE + q / _F(10) * (_ONE + q / _F(28) * (_ONE + q / _F(54)))) / _F(6)
    else:
        r = math.sqrt(q)
        grown = math.exp(r)
        cosh = _HALF * (grown + _ONE / grown)
        sinhc = _HALF * (grown - _ONE / grown) / r
        slope = (cosh - sinhc) / (_TWO * q)
    return cosh, sinhc, slope


@compiled
def _held(value: Any, least: Any, most: Any) -> Any:
    """The value between two others; what is no number stays none."""
    if value < least:
        return least
    return most if value > most else value


@compiled
def lay(
    splats: Any, layout: int, height: Any, width: Any, high: Any, wide: Any, shift: Any, shapes: Any
) -> None:
    """`geometry.ellipses` of one picture.

    Args:
        splats: (N, 8).
        layout: index in `geometry.LAYOUTS`.
        height, width, high, wide: of the picture, and of the one whose pixels shapes are counted
            in; floats.
        shift: 1/2 for sampling at centres, 0 at corners.
        shapes: gets x, y in pixels, A, B, C, r, g, b; (N, 8).
    """
    across, down = width / wide, height / high
    most = _TWO * math.log(max(high, wide))
    for n in range(len(splats)):
        p, q, t = splats[n, 2], splats[n, 3], splats[n, 4]
        if layout == 0:
            m = _held(p, _M_LEAST, most)
            square = q * q + t * t
            shrink = _ONE
            if square > _RATIO * _RATIO:
                shrink = _RATIO / math.sqrt(square)
            cosh, sinhc, _ = _hyperbolic(square * shrink * shrink)
            scale = math.exp(-m)
            a = scale * (cosh - sinhc * q * shrink)
            b = -scale * sinhc * t * shrink
            c = scale * (cosh + sinhc * q * shrink)
        else:
            cos, sin = math.cos(t), math.sin(t)
            one, two = p * p, q * q
            a = cos * cos * one + sin * sin * two
            b = cos * sin * (one - two)
            c = sin * sin * one + cos * cos * two
        shapes[n, 0] = splats[n, 0] * width - shift
        shapes[n, 1] = splats[n, 1] * height - shift
        shapes[n, 2] = a / (across * across)
        shapes[n, 3] = b / (across * down)
        shapes[n, 4] = c / (down * down)
        for channel in range(5, 8):
            shapes[n, channel] = splats[n, channel]


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
    """Turns derivatives by what `lay` gives into those by the splats, in place, for some of them.

    Args:
        first, last: which splats.
        slopes: (N, 8).
    """
    across, down = width / wide, height / high
    most = _TWO * math.log(max(high, wide))
    for n in range(first, last):
        p, q, t = splats[n, 2], splats[n, 3], splats[n, 4]
        slopes[n, 0] *= width
        slopes[n, 1] *= height
        by_a = slopes[n, 2] / (across * across)
        by_b = slopes[n, 3] / (across * down)
        by_c = slopes[n, 4] / (down * down)
        if layout == 0:
            m = _held(p, _M_LEAST, most)
            square = q * q + t * t
            shrink = _ONE
            if square > _RATIO * _RATIO:
                shrink = _RATIO / math.sqrt(square)
            long, short = q * shrink, t * shrink
            cosh, sinhc, slope = _hyperbolic(square * shrink * shrink)
            scale = math.exp(-m)
            difference = by_c - by_a
            by_cosh = scale * (by_a + by_c)
            by_sinhc = scale * (difference * long - by_b * short)
            by_square = by_cosh * sinhc + _TWO * by_sinhc * slope  # twice, as r^2 is of a
            by_long = scale * sinhc * difference + by_square * long
            by_short = -scale * sinhc * by_b + by_square * short
            if shrink < _ONE:
                # On the border only the direction of (a, b) is free.
                along = (by_long * q + by_short * t) / square
                by_long = shrink * (by_long - along * q)
                by_short = shrink * (by_short - along * t)
            by_m = -(by_cosh * cosh + by_sinhc * sinhc)
            slopes[n, 2] = _ZERO if m != p and p == p else by_m
            slopes[n, 3] = by_long
            slopes[n, 4] = by_short
        else:
            cos, sin = math.cos(t), math.sin(t)
            difference = p * p - q * q
            slopes[n, 2] = _TWO * p * (by_a * cos * cos + by_b * cos * sin + by_c * sin * sin)
            slopes[n, 3] = _TWO * q * (by_a * sin * sin - by_b * cos * sin + by_c * cos * cos)
            slopes[n, 4] = difference * (
                _TWO * cos * sin * (by_c - by_a) + by_b * (cos * cos - sin * sin)
            )


@compiled
def weight_at(dx: Any, steep: Any, slope: Any, depth: Any) -> Any:
    """w of eight pixels: 2 to the power of `steep` dx^2 + `slope` dx + `depth`."""
    return power(fused(dx, fused(steep, dx, slope), depth))


@compiled
def _rank(shapes: Any, top: int, bottom: int, cut: Any, topk: int, best: Any, plane: Any) -> None:
    """The topk-th largest weight of each pixel, into the last quantity of `plane`."""
    height, width = bottom - top, len(plane) // (bottom - top) // PLANES
    entries, lines, tall = listing(bottom - top, width)
    pixels, blocks = 3 * tall, width // BLOCK
    for i in range(len(best)):
        best[i] = _ZERO
    for n in range(len(shapes)):
        x, y, a, b, c = shapes[n, 0], shapes[n, 1], shapes[n, 2], shapes[n, 3], shapes[n, 4]
        steep = -_HALF * _LOG2E * a
        first, last = rows(y, a, b, c, cut, top, bottom)
        found = reach(x, y, a, b, c, cut, first, last, width, entries, lines, tall)
        for i in range(FIRST, found):
            line, block = place(entries, i)
            dx = fused(load(lines, pixels + block * BLOCK), _ONE, -x)
            w = weight_at(dx, steep, number(lines, tall + line), number(lines, 2 * tall + line))
            at = ((first - top + line) * blocks + block) * topk * BLOCK
            for k in range(topk):
                other = load(best, at + k * BLOCK)
                store(best, at + k * BLOCK, greater(w, other))
                w = smaller(w, other)
    for block in range(height * width // BLOCK):
        store(
            plane,
            block * _STEP + 4 * BLOCK,
            load(best, (block * topk + topk - 1) * BLOCK),
        )


@compiled
def paint(
    shapes: Any,
    top: int,
    bottom: int,
    cut: Any,
    normalised: bool,
    topk: int,
    best: Any,
    plane: Any,
    image: Any,
    weight: Any,
    least: Any,
) -> None:
    """Rows `top` to `bottom` of a picture: `reference.blend`.

    Args:
        shapes: of `lay`, (N, 8).
        cut: reach of a splat in sigmas, infinite for all pixels.
        topk: how many weights of a pixel count; 0 for all. Of equal ones at the border all do.
        best: scratch, rows x W x topk numbers.
        plane: scratch, rows x W x PLANES numbers.
        image: gets the rows, (3, H, W).
        weight: gets the divisor, (H, W); not written if not `normalised`.
        least: gets the least weight that counts, (H, W); not written if topk is 0.
    """
    size, width = image.shape[1] * image.shape[2], image.shape[2]
    entries, lines, tall = listing(bottom - top, width)
    pixels, blocks = 3 * tall, width // BLOCK
    for i in range(len(plane)):
        plane[i] = _ZERO
    if topk > 0:
        _rank(shapes, top, bottom, cut, topk, best, plane)
    for n in range(len(shapes)):
        x, y, a, b, c = shapes[n, 0], shapes[n, 1], shapes[n, 2], shapes[n, 3], shapes[n, 4]
        red, green, blue = shapes[n, 5], shapes[n, 6], shapes[n, 7]
        steep = -_HALF * _LOG2E * a
        first, last = rows(y, a, b, c, cut, top, bottom)
        found = reach(x, y, a, b, c, cut, first, last, width, entries, lines, tall)
        for i in range(FIRST, found):
            line, block = place(entries, i)
            dx = fused(load(lines, pixels + block * BLOCK), _ONE, -x)
            w = weight_at(dx, steep, number(lines, tall + line), number(lines, 2 * tall + line))
            at = ((first - top + line) * blocks + block) * _STEP
            if topk > 0:
                w = kept(w, load(plane, at + 4 * BLOCK))
            store(plane, at, fused(w, red, load(plane, at)))
            store(plane, at + BLOCK, fused(w, green, load(plane, at + BLOCK)))
            store(plane, at + 2 * BLOCK, fused(w, blue, load(plane, at + 2 * BLOCK)))
            store(plane, at + 3 * BLOCK, fused(w, _ONE, load(plane, at + 3 * BLOCK)))
    for block in range((bottom - top) * width // BLOCK):
        at, pixel = block * _STEP, top * width + block * BLOCK
        divisor = spread(_ONE)
        if normalised:
            divisor = fused(load(plane, at + 3 * BLOCK), _ONE, _EPSILON)
            store(weight, pixel, divisor)
        for channel in range(3):
            store(image, channel * size + pixel, over(load(plane, at + channel * BLOCK), divisor))
        if topk > 0:
            store(least, pixel, load(plane, at + 4 * BLOCK))


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
    size = image.shape[1] * image.shape[2]
    for block in range(size // BLOCK):
        at, pixel = block * _STEP, block * BLOCK
        inverse, back = spread(_ONE), spread(_ZERO)
        if normalised:
            inverse = over(_ONE, load(weight, pixel))
        for channel in range(3):
            by_number = times(load(slope, channel * size + pixel), inverse)
            store(plane, at + channel * BLOCK, by_number)
            if normalised:
                back = fused(times(_F(-1), load(image, channel * size + pixel)), by_number, back)
        store(plane, at + 3 * BLOCK, back)
        if topk > 0:
            store(plane, at + 4 * BLOCK, load(least, pixel))


@compiled
def pull(
    shapes: Any, first: int, last: int, cut: Any, topk: int, height: int, plane: Any, slopes: Any
) -> None:
    """Derivatives by what `lay` gives, of splats `first` to `last`.

    Args:
        height: H.
        plane: of `turn`.
        slopes: gets them, (N, 8).
    """
    width = len(plane) // height // PLANES
    entries, lines, tall = listing(height, width)
    pixels, blocks = 3 * tall, width // BLOCK
    for n in range(first, last):
        x, y, a, b, c = shapes[n, 0], shapes[n, 1], shapes[n, 2], shapes[n, 3], shapes[n, 4]
        red, green, blue = shapes[n, 5], shapes[n, 6], shapes[n, 7]
        steep = -_HALF * _LOG2E * a
        begin, end = rows(y, a, b, c, cut, 0, height)
        found = reach(x, y, a, b, c, cut, begin, end, width, entries, lines, tall)
        none = spread(_ZERO)
        by_red, by_green, by_blue = none, none, none
        # Sums of t, the slope by the exponent, times powers of dx and dy.
        sum_x, sum_xx, sum_y, sum_xy, sum_yy = none, none, none, none, none
        for i in range(FIRST, found):
            line, block = place(entries, i)
            dx, dy = fused(load(lines, pixels + block * BLOCK), _ONE, -x), number(lines, line)
            w = weight_at(dx, steep, number(lines, tall + line), number(lines, 2 * tall + line))
            at = ((begin + line) * blocks + block) * _STEP
            if topk > 0:
                w = kept(w, load(plane, at + 4 * BLOCK))
            one, two = load(plane, at), load(plane, at + BLOCK)
            three, four = load(plane, at + 2 * BLOCK), load(plane, at + 3 * BLOCK)
            by_red = fused(w, one, by_red)
            by_green = fused(w, two, by_green)
            by_blue = fused(w, three, by_blue)
            t = times(w, fused(red, one, fused(green, two, fused(blue, three, four))))
            t_x, t_y = times(t, dx), times(t, dy)
            sum_x = fused(t_x, _ONE, sum_x)
            sum_xx = fused(t_x, dx, sum_xx)
            sum_y = fused(t_y, _ONE, sum_y)
            sum_xy = fused(t_x, dy, sum_xy)
            sum_yy = fused(t_y, dy, sum_yy)
        right_x, right_y = total(sum_x), total(sum_y)
        slopes[n, 0] = a * right_x + b * right_y
        slopes[n, 1] = b * right_x + c * right_y
        slopes[n, 2] = -_HALF * total(sum_xx)
        slopes[n, 3] = -total(sum_xy)
        slopes[n, 4] = -_HALF * total(sum_yy)
        slopes[n, 5], slopes[n, 6], slopes[n, 7] = total(by_red), total(by_green), total(by_blue)
