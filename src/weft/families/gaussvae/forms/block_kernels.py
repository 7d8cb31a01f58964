"""Compiled batch norm, ELU, dropout and max-pool of rows of features, with their gradient.

Arrays are contiguous: features as rows (R, C), C innermost and a multiple of sixteen; float32, or
bf16 as int16. Rows are taken in parts of `PART` numbers, so that sums do not depend on threads.
"""

# R rows, C channels, P parts of the rows, s rows that a pool takes together

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    both,
    fused,
    greater,
    load_pairs,
    spread,
    store,
    times,
    where_negative,
)
from weft.families.gaussvae.forms.narrow import (
    WIDE,
    as_stored,
    drawn,
    less_one,
    load_any,
    store_any,
    where_equal,
)

PART = 8192
"""Numbers of a part: float32 of them are in a core's nearest cache."""

_F = np.float32
_ZERO, _ONE, _LOWEST = _F(0), _F(1), _F(-np.inf)


@compiled
def moments(first: int, last: int, rows: int, x: Any, sums: Any) -> None:
    """Means and sums of squared deviations from them of the parts `first` to `last`.

    Args:
        rows: of a part.
        x: (R, C).
        sums: receives them, (P, 2, C), float32.
    """
    total, channels = x.shape
    for part in range(first, last):
        start, end = part * rows, min(total, (part + 1) * rows)
        count = _ONE / _F(end - start)
        for c in range(0, channels, WIDE):
            at = start * channels + c
            mean = times(load_any(x, at), count)
            for row in range(start + 1, end):
                mean = fused(load_any(x, row * channels + c), count, mean)
            off = fused(mean, -_ONE, load_any(x, at))
            squares = times(off, off)
            for row in range(start + 1, end):
                off = fused(mean, -_ONE, load_any(x, row * channels + c))
                squares = fused(off, off, squares)
            store(sums, (2 * part) * channels + c, mean)
            store(sums, (2 * part + 1) * channels + c, squares)


@compiled
def settle(
    rows: int, total: int, sums: Any, weight: Any, bias: Any, epsilon: Any, momentum: Any,
    moving: Any, deviations: Any, known: Any,
) -> None:  # fmt: skip
    """The line of each channel, and its moving statistics moved, from `moments`.

    Args:
        rows, total: of a part, and R.
        sums: (P, 2, C).
        weight, bias: of the norm, (C,).
        epsilon: added to the variance.
        momentum: share of these statistics in the moving ones.
        moving, deviations: moving mean and variance, (C,), or nothing.
        known: receives a, b, mean and 1 / deviation, (4, C): norm(x) = a x + b.
    """
    parts, _, channels = sums.shape
    for c in range(channels):
        mean = 0.0
        for part in range(parts):
            mean += min(rows, total - part * rows) * np.float64(sums[part, 0, c])
        mean /= total
        variance = 0.0
        for part in range(parts):
            off = np.float64(sums[part, 0, c]) - mean
            variance += sums[part, 1, c] + min(rows, total - part * rows) * off * off
        variance /= total
        inverse = 1 / math.sqrt(variance + epsilon)
        known[0, c] = weight[c] * inverse
        known[1, c] = bias[c] - weight[c] * inverse * mean
        known[2, c], known[3, c] = mean, inverse
        if len(moving) > 0:
            moving[c] += momentum * (mean - moving[c])
            deviations[c] += momentum * (variance - deviations[c])


@compiled
def forth(
    first: int, last: int, rows: int, x: Any, known: Any, drops: Any, gain: Any, pool: int, y: Any
) -> None:  # fmt: skip
    """max over `pool` rows of dropout(elu(a x + b)), for the parts `first` to `last` of x.

    Args:
        rows: of a part, a multiple of `pool`.
        x: (R, C).
        known: of `settle`.
        drops: two seeds, and the least of 32 random bits with which a number stays; uint32.
            A least of 0: all stay.
        gain: what is left is multiplied by this.
        pool: s.
        y: receives them, (R / s, C).
    """
    total, channels = x.shape
    for part in range(first, last):
        start, end = part * rows, min(total, (part + 1) * rows)
        for group in range(start // pool, end // pool):
            for c in range(0, channels, WIDE):
                a, b = load_pairs(known, c), load_pairs(known, channels + c)
                best = both(spread(_LOWEST), spread(_LOWEST))
                for k in range(pool):
                    at = (group * pool + k) * channels + c
                    u = fused(load_any(x, at), a, b)
                    found = where_negative(u, less_one(u), u)
                    if drops[2] > 0:
                        found = times(found, drawn(drops[0], drops[1], at, drops[2], gain))
                    best = greater(found, best)
                store_any(y, group * channels + c, best)


@compiled
def back(
    first: int, last: int, rows: int, x: Any, known: Any, drops: Any, gain: Any, pool: int, y: Any,
    slope: Any, inner: Any, sums: Any,
) -> None:  # fmt: skip
    """Derivatives by a x + b of `forth`, and their sums, for the parts `first` to `last`.

    Args:
        y: of `forth`.
        slope: by y, (R / s, C).
        inner: receives the derivatives, (R, C).
        sums: receives their sums and those of their products with x - mean, (P, 2, C).
        Others as of `forth`.
    """
    total, channels = x.shape
    for part in range(first, last):
        start, end = part * rows, min(total, (part + 1) * rows)
        sums[part] = _ZERO
        for group in range(start // pool, end // pool):
            for c in range(0, channels, WIDE):
                a, b = load_pairs(known, c), load_pairs(known, channels + c)
                mean = load_pairs(known, 2 * channels + c)
                total_at, crossed_at = 2 * part * channels + c, (2 * part + 1) * channels + c
                here, crossed = load_pairs(sums, total_at), load_pairs(sums, crossed_at)
                low = group * channels + c
                left = load_any(slope, low)
                for k in range(pool):
                    at = (group * pool + k) * channels + c
                    value = load_any(x, at)
                    u = fused(value, a, b)
                    grown = less_one(u)
                    by_u = where_negative(u, fused(grown, _ONE, _ONE), _ONE)
                    found = where_negative(u, grown, u)
                    if drops[2] > 0:
                        stays = drawn(drops[0], drops[1], at, drops[2], gain)
                        by_u, found = times(by_u, stays), times(found, stays)
                    if pool > 1:
                        same = as_stored(y, found)
                        # The first of equals has it all, and leaves nothing to the others.
                        best = load_any(y, low)
                        g = times(by_u, where_equal(same, best, left, _ZERO))
                        left = where_equal(same, best, _ZERO, left)
                    else:
                        g = times(by_u, left)
                    store_any(inner, at, g)
                    here = fused(g, _ONE, here)
                    crossed = fused(g, fused(mean, -_ONE, value), crossed)
                store(sums, total_at, here)
                store(sums, crossed_at, crossed)


@compiled
def resolve(total: int, sums: Any, weight: Any, known: Any, slopes: Any, factors: Any) -> None:
    """Derivatives by weight and bias, and what `through` needs, from the sums of `back`.

    Args:
        total: R.
        sums: (P, 2, C).
        weight: of the norm, (C,).
        known: of `settle`.
        slopes: receives derivatives by weight and by bias, (2, C).
        factors: receives a, p and q of `through`, (3, C).
    """
    parts, _, channels = sums.shape
    for c in range(channels):
        by_bias, by_weight, inverse = 0.0, 0.0, np.float64(known[3, c])
        for part in range(parts):
            by_bias += np.float64(sums[part, 0, c])
            by_weight += np.float64(sums[part, 1, c])
        by_weight *= inverse
        slopes[0, c], slopes[1, c] = by_weight, by_bias
        factor = weight[c] * inverse
        factors[0, c] = factor
        factors[1, c] = -factor * inverse * by_weight / total
        factors[2, c] = -factor * by_bias / total


@compiled
def through(first: int, last: int, rows: int, x: Any, known: Any, factors: Any, g: Any) -> None:
    """a g + p (x - mean) + q in place of g (R, C), for the parts `first` to `last`.

    Args:
        x: (R, C).
        known: of `settle`.
        factors: a, p and q, (3, C).
    """
    total, channels = x.shape
    for part in range(first, last):
        for row in range(part * rows, min(total, (part + 1) * rows)):
            for c in range(0, channels, WIDE):
                at = row * channels + c
                off = fused(load_pairs(known, 2 * channels + c), -_ONE, load_any(x, at))
                p, q = load_pairs(factors, channels + c), load_pairs(factors, 2 * channels + c)
                a = load_pairs(factors, c)
                store_any(g, at, fused(a, load_any(g, at), fused(p, off, q)))
