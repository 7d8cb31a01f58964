"""Triton kernels of the form for GPUs: ellipses, splats of each tile, pixels, gradients."""

# M pictures, N splats, T tiles of S x S pixels

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton
import triton.language as tl


def _jit(function: Callable[..., Any]) -> Any:
    """Triton's decorator."""
    return triton.jit(function)


@_jit
def _hyperbolic(q: tl.tensor) -> tl.tensor:
    """cosh r, sinh r / r and the latter's derivative by q = r^2; series are used near 0."""
    small = q < 0.0625
    near = tl.where(small, q, 0.0)
    far = tl.where(small, 1.0, q)
    r = tl.sqrt(far)
    grown = tl.exp(r)
    cosh = (grown + 1 / grown) / 2
    sinhc = (grown - 1 / grown) / (2 * r)
    slope = (cosh - sinhc) / (2 * far)
    cosh_near = 1 + near / 2 * (1 + near / 12 * (1 + near / 30 * (1 + near / 56)))
    sinhc_near = 1 + near / 6 * (1 + near / 20 * (1 + near / 42 * (1 + near / 72)))
    slope_near = (1 + near / 10 * (1 + near / 28 * (1 + near / 54))) / 6
    return (
        tl.where(small, cosh_near, cosh),
        tl.where(small, sinhc_near, sinhc),
        tl.where(small, slope_near, slope),
    )


@_jit
def _held(value: tl.tensor, least: tl.tensor, most: tl.tensor) -> tl.tensor:
    """The value clamped to [least, most]; NaN stays NaN."""
    return tl.where(value < least, least, tl.where(value > most, most, value))


@_jit
def _shrink(square: tl.tensor, ratio: tl.constexpr) -> tl.tensor:
    """The factor that limits the length of (a, b), given its square, to `ratio`."""
    return ratio / tl.sqrt(tl.maximum(square, ratio * ratio))


@_jit
def lay(
    splats: tl.tensor,
    shapes: tl.tensor,
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    across: tl.tensor,
    down: tl.tensor,
    shift: tl.tensor,
    least: tl.tensor,
    most: tl.tensor,
    ratio: tl.constexpr,
    logcov: tl.constexpr,
    each: tl.constexpr,
) -> None:
    """`geometry.ellipses` of `each` of all `count` splats: x, y, A, B, C, r, g, b.

    `across` and `down` are the picture's width and height relative to the one whose pixels are the
    unit of shapes; m is clamped to [least, most].
    """
    n = tl.program_id(0) * each + tl.arange(0, each)
    there = n < count
    old, new = splats + n * 8, shapes + n * 8
    p = tl.load(old + 2, there, 0.0)
    q = tl.load(old + 3, there, 0.0)
    t = tl.load(old + 4, there, 0.0)
    if logcov:
        square = q * q + t * t
        shrink = _shrink(square, ratio)
        cosh, sinhc, _ = _hyperbolic(square * shrink * shrink)
        scale = tl.exp(-_held(p, least, most))
        a = scale * (cosh - sinhc * q * shrink)
        b = -scale * sinhc * t * shrink
        c = scale * (cosh + sinhc * q * shrink)
    else:
        cos, sin = tl.cos(t), tl.sin(t)
        one, two = p * p, q * q
        a = cos * cos * one + sin * sin * two
        b = cos * sin * (one - two)
        c = sin * sin * one + cos * cos * two
    tl.store(new, tl.load(old, there, 0.0) * width - shift, there)
    tl.store(new + 1, tl.load(old + 1, there, 0.0) * height - shift, there)
    tl.store(new + 2, a / (across * across), there)
    tl.store(new + 3, b / (across * down), there)
    tl.store(new + 4, c / (down * down), there)
    for channel in tl.static_range(5, 8):
        tl.store(new + channel, tl.load(old + channel, there, 0.0), there)


@_jit
def find(
    shapes: tl.tensor,
    found: tl.tensor,
    counts: tl.tensor,
    splats: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    cut: tl.tensor,
    tile: tl.constexpr,
    each: tl.constexpr,
) -> None:
    """The splats that may reach a tile, in their order: `found` (M, T, N), `counts` (M, T).

    A splat whose reach is NaN reaches all tiles.
    """
    across = tl.cdiv(width, tile)
    tiles = across * tl.cdiv(height, tile)
    place = tl.program_id(0)
    picture = place // tiles
    top, left = place % tiles // across * tile, place % tiles % across * tile
    list_at = found + place.to(tl.int64) * splats
    count = 0
    for first in range(0, splats, each):
        n = first + tl.arange(0, each)
        there = n < splats
        at = shapes + (picture * splats + n) * 8
        x, y = tl.load(at, there, 0.0), tl.load(at + 1, there, 0.0)
        a, b = tl.load(at + 2, there, 1.0), tl.load(at + 3, there, 0.0)
        c = tl.load(at + 4, there, 1.0)
        high = cut * tl.sqrt(a / (a * c - b * b))
        wide = cut * tl.sqrt(c / (a * c - b * b)) + 8
        misses = (y + high < top) | (y - high > top + tile)
        misses = misses | (x + wide < left) | (x - wide > left + tile)
        hits = tl.where(there & (misses == 0), 1, 0)
        tl.store(list_at + count + tl.cumsum(hits, 0) - 1, n, hits == 1)
        count += tl.sum(hits, 0)
    tl.store(counts + place, count)


@_jit
def _weight(
    x: tl.tensor,
    y: tl.tensor,
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    columns: tl.tensor,
    rows: tl.tensor,
    cut: tl.tensor,
) -> tl.tensor:
    """w of pixels, zero where the splat does not reach: `geometry.spans`."""
    dx, dy = columns - x, rows - y
    inside = a * cut * cut - (a * c - b * b) * dy * dy
    half = tl.sqrt(tl.maximum(inside, 0.0))
    first = tl.floor((x + (-b * dy - half) / a) / 8) * 8
    last = tl.floor((x + (-b * dy + half) / a) / 8) * 8 + 8
    beyond = (inside < 0) | (columns < first) | (columns >= last)
    return tl.where(beyond, 0.0, tl.exp(-0.5 * (a * dx * dx + 2 * b * dx * dy + c * dy * dy)))


@_jit
def paint(
    shapes: tl.tensor,
    found: tl.tensor,
    counts: tl.tensor,
    image: tl.tensor,
    divisor: tl.tensor,
    splats: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    cut: tl.tensor,
    epsilon: tl.tensor,
    normalised: tl.constexpr,
    tile: tl.constexpr,
    each: tl.constexpr,
) -> None:
    """One tile of one picture from the splats that `find` found, `each` of them at a time."""
    across = tl.cdiv(width, tile)
    tiles = across * tl.cdiv(height, tile)
    place = tl.program_id(0)
    picture = place // tiles
    pixel = tl.arange(0, tile * tile)
    row = place % tiles // across * tile + pixel // tile
    column = place % tiles % across * tile + pixel % tile
    rows, columns = row.to(tl.float32)[None, :], column.to(tl.float32)[None, :]
    red = tl.zeros([tile * tile], tl.float32)
    green = tl.zeros([tile * tile], tl.float32)
    blue = tl.zeros([tile * tile], tl.float32)
    total = tl.zeros([tile * tile], tl.float32)
    list_at = found + place.to(tl.int64) * splats
    count = tl.load(counts + place)
    for first in range(0, count, each):
        k = first + tl.arange(0, each)
        n = tl.load(list_at + k, k < count, 0)
        at = (shapes + (picture * splats + n) * 8)[:, None]
        x, y, a = tl.load(at), tl.load(at + 1), tl.load(at + 2)
        b, c = tl.load(at + 3), tl.load(at + 4)
        w = _weight(x, y, a, b, c, columns, rows, cut)
        w = tl.where((k < count)[:, None], w, 0.0)
        red += tl.sum(w * tl.load(at + 5), 0)
        green += tl.sum(w * tl.load(at + 6), 0)
        blue += tl.sum(w * tl.load(at + 7), 0)
        total += tl.sum(w, 0)
    inside = (row < height) & (column < width)
    size = height * width
    pixel = row * width + column
    if normalised:
        total += epsilon
        red, green, blue = red / total, green / total, blue / total
        tl.store(divisor + picture * size + pixel, total, inside)
    tl.store(image + picture * 3 * size + pixel, red, inside)
    tl.store(image + (picture * 3 + 1) * size + pixel, green, inside)
    tl.store(image + (picture * 3 + 2) * size + pixel, blue, inside)


@_jit
def _chain_logcov(
    p: tl.tensor,
    q: tl.tensor,
    t: tl.tensor,
    by_a: tl.tensor,
    by_b: tl.tensor,
    by_c: tl.tensor,
    least: tl.tensor,
    most: tl.tensor,
    ratio: tl.constexpr,
) -> tl.tensor:
    """Derivatives by m, a, b from those by the conic, as in `laid.chain`."""
    m = _held(p, least, most)
    square = q * q + t * t
    shrink = _shrink(square, ratio)
    long, short = q * shrink, t * shrink
    cosh, sinhc, slope = _hyperbolic(square * shrink * shrink)
    scale = tl.exp(-m)
    difference = by_c - by_a
    by_cosh = scale * (by_a + by_c)
    by_sinhc = scale * (difference * long - by_b * short)
    by_square = by_cosh * sinhc + 2 * by_sinhc * slope  # twice, as r^2 is of a
    by_long = scale * sinhc * difference + by_square * long
    by_short = -scale * sinhc * by_b + by_square * short
    # On the border only the direction of (a, b) is free.
    bound = square > ratio * ratio
    along = tl.where(bound, (by_long * q + by_short * t) / tl.maximum(square, 1e-30), 0.0)
    by_m = -(by_cosh * cosh + by_sinhc * sinhc)
    return (
        tl.where((m != p) & (p == p), 0.0, by_m),
        shrink * (by_long - along * q),
        shrink * (by_short - along * t),
    )


@_jit
def _chain_rs(
    p: tl.tensor,
    q: tl.tensor,
    t: tl.tensor,
    by_a: tl.tensor,
    by_b: tl.tensor,
    by_c: tl.tensor,
) -> tl.tensor:
    """Derivatives by s1, s2, theta from those by the conic, as in `laid.chain`."""
    cos, sin = tl.cos(t), tl.sin(t)
    by_p = 2 * p * (by_a * cos * cos + by_b * cos * sin + by_c * sin * sin)
    by_q = 2 * q * (by_a * sin * sin - by_b * cos * sin + by_c * cos * cos)
    turned = 2 * cos * sin * (by_c - by_a) + by_b * (cos * cos - sin * sin)
    return by_p, by_q, (p * p - q * q) * turned


@_jit
def pull(
    splats: tl.tensor,
    shapes: tl.tensor,
    numbers: tl.tensor,
    back: tl.tensor,
    slopes: tl.tensor,
    count: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    across: tl.tensor,
    down: tl.tensor,
    cut: tl.tensor,
    least: tl.tensor,
    most: tl.tensor,
    ratio: tl.constexpr,
    logcov: tl.constexpr,
    tall: tl.constexpr,
    broad: tl.constexpr,
) -> None:
    """The gradient of one of a picture's `count` splats, over the box of pixels it reaches.

    With t = w (sum_c colour_c numbers_c + back): sums of w numbers_c, and of t times powers of d.
    """
    picture = tl.program_id(0) // count
    at = tl.program_id(0) * 8
    x, y = tl.load(shapes + at), tl.load(shapes + at + 1)
    a, b, c = tl.load(shapes + at + 2), tl.load(shapes + at + 3), tl.load(shapes + at + 4)
    red, green = tl.load(shapes + at + 5), tl.load(shapes + at + 6)
    blue = tl.load(shapes + at + 7)
    by_red = tl.zeros([tall, broad], tl.float32)
    by_green = tl.zeros([tall, broad], tl.float32)
    by_blue = tl.zeros([tall, broad], tl.float32)
    sum_x = tl.zeros([tall, broad], tl.float32)
    sum_y = tl.zeros([tall, broad], tl.float32)
    sum_xx = tl.zeros([tall, broad], tl.float32)
    sum_xy = tl.zeros([tall, broad], tl.float32)
    sum_yy = tl.zeros([tall, broad], tl.float32)
    # Where a bound is no number, the other operand is taken: the whole picture.
    high = cut * tl.sqrt(a / (a * c - b * b))
    wide = cut * tl.sqrt(c / (a * c - b * b)) + 8
    top = tl.minimum(tl.maximum(y - high, 0.0), height).to(tl.int32)
    bottom = tl.maximum(tl.minimum(y + high + 1, height), 0.0).to(tl.int32)
    left = tl.minimum(tl.maximum(x - wide, 0.0), width).to(tl.int32)
    right = tl.maximum(tl.minimum(x + wide + 1, width), 0.0).to(tl.int32)
    size = height * width
    numbers += picture * 3 * size
    back += picture * size
    for first in range(top, bottom, tall):
        for start in range(left, right, broad):
            row = first + tl.arange(0, tall)[:, None]
            column = start + tl.arange(0, broad)[None, :]
            inside = (row < height) & (column < width)
            w = _weight(x, y, a, b, c, column.to(tl.float32), row.to(tl.float32), cut)
            pixel = row * width + column
            one = tl.load(numbers + pixel, inside, 0.0)
            two = tl.load(numbers + size + pixel, inside, 0.0)
            three = tl.load(numbers + 2 * size + pixel, inside, 0.0)
            four = tl.load(back + pixel, inside, 0.0)
            t = w * (red * one + green * two + blue * three + four)
            dx, dy = column - x, row - y
            by_red += w * one
            by_green += w * two
            by_blue += w * three
            sum_x += t * dx
            sum_y += t * dy
            sum_xx += t * dx * dx
            sum_xy += t * dx * dy
            sum_yy += t * dy * dy
    right_x, right_y = tl.sum(sum_x), tl.sum(sum_y)
    by_a = -0.5 * tl.sum(sum_xx) / (across * across)
    by_b = -tl.sum(sum_xy) / (across * down)
    by_c = -0.5 * tl.sum(sum_yy) / (down * down)
    p, q, t = tl.load(splats + at + 2), tl.load(splats + at + 3), tl.load(splats + at + 4)
    if logcov:
        by_p, by_q, by_t = _chain_logcov(p, q, t, by_a, by_b, by_c, least, most, ratio)
    else:
        by_p, by_q, by_t = _chain_rs(p, q, t, by_a, by_b, by_c)
    tl.store(slopes + at, (a * right_x + b * right_y) * width)
    tl.store(slopes + at + 1, (b * right_x + c * right_y) * height)
    tl.store(slopes + at + 2, by_p)
    tl.store(slopes + at + 3, by_q)
    tl.store(slopes + at + 4, by_t)
    tl.store(slopes + at + 5, tl.sum(by_red))
    tl.store(slopes + at + 6, tl.sum(by_green))
    tl.store(slopes + at + 7, tl.sum(by_blue))
