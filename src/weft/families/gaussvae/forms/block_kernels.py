"""Compiled batch norm, ELU, dropout and max-pool of rows of features, with their gradient.

Arrays are contiguous: features as rows (R, C), C innermost and a multiple of sixteen; float32, or
bf16 as int16. Rows are taken in parts of `PART` numbers, so that sums do not depend on threads.
"""

# R rows, C channels, P parts of the rows, s rows that a pool takes together

from __future__ import annotations

from typing import Any

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.lanes import (
    fused,
    greater,
    load_pairs,
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
_ZERO, _ONE = _F(0), _F(1)


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
def together(rows: int, total: int, sums: Any, mean: Any, variance: Any) -> None:
    """Mean and biased variance of each channel from `sums` of parts of `rows` of `total` rows."""
    parts, _, channels = sums.shape
    for c in range(channels):
        centre = 0.0
        for part in range(parts):
            count = min(rows, total - part * rows)
            centre += count * np.float64(sums[part, 0, c])
        centre /= total
        squares = 0.0
        for part in range(parts):
            count = min(rows, total - part * rows)
            off = np.float64(sums[part, 0, c]) - centre
            squares += np.float64(sums[part, 1, c]) + count * off * off
        mean[c], variance[c] = _F(centre), _F(squares / total)


@compiled
def forth(
    first: int, last: int, rows: int, x: Any, line: Any, bits: Any, least: Any, gain: Any,
    pool: int, y: Any,
) -> None:  # fmt: skip
    """max over `pool` rows of dropout(elu(a x + b)), for the parts `first` to `last` of x.

    Args:
        rows: of a part, a multiple of `pool`.
        x: (R, C).
        line: a and b, (2, C).
        bits: 16 for each number of x, (R, C); none: nothing is dropped.
        least, gain: numbers with bits below `least` are dropped, others multiplied by `gain`.
        pool: s.
        y: receives them, (R / s, C).
    """
    total, channels = x.shape
    drops = len(bits) > 0
    for part in range(first, last):
        start, end = part * rows, min(total, (part + 1) * rows)
        for group in range(start // pool, end // pool):
            for c in range(0, channels, WIDE):
                a, b = load_pairs(line, c), load_pairs(line, channels + c)
                at = group * pool * channels + c
                best = _one(x, at, a, b, bits, drops, least, gain)
                for k in range(1, pool):
                    other = _one(x, at + k * channels, a, b, bits, drops, least, gain)
                    best = greater(other, best)
                store_any(y, group * channels + c, best)


@compiled
def _one(x: Any, at: int, a: Any, b: Any, bits: Any, drops: bool, least: Any, gain: Any) -> Any:
    u = fused(load_any(x, at), a, b)
    y = where_negative(u, less_one(u), u)
    if drops:
        y = times(y, drawn(bits, at, least, gain))
    return y


@compiled
def back(
    first: int, last: int, rows: int, x: Any, line: Any, mean: Any, bits: Any, least: Any,
    gain: Any, pool: int, y: Any, slope: Any, inner: Any, sums: Any,
) -> None:  # fmt: skip
    """Derivatives by a x + b of `forth`, and their sums, for the parts `first` to `last`.

    Args:
        mean: of the rows of x, (C,).
        y: of `forth`.
        slope: by y, (R / s, C).
        inner: receives the derivatives, (R, C).
        sums: receives their sums and those of their products with x - mean, (P, 2, C).
        Others as of `forth`.
    """
    total, channels = x.shape
    drops = len(bits) > 0
    for part in range(first, last):
        start, end = part * rows, min(total, (part + 1) * rows)
        for c in range(0, channels, WIDE):
            a, b = load_pairs(line, c), load_pairs(line, channels + c)
            centre = times(load_pairs(mean, c), -_ONE)
            here = times(a, _ZERO)
            crossed = here
            for group in range(start // pool, end // pool):
                low = group * channels + c
                left = load_any(slope, low)
                for k in range(pool):
                    at = (group * pool + k) * channels + c
                    value = load_any(x, at)
                    u = fused(value, a, b)
                    grown = less_one(u)
                    by_u = where_negative(u, fused(grown, _ONE, _ONE), _ONE)
                    if drops:
                        by_u = times(by_u, drawn(bits, at, least, gain))
                    if pool > 1:
                        found = where_negative(u, grown, u)
                        if drops:
                            found = times(found, drawn(bits, at, least, gain))
                        same = as_stored(y, found)
                        # The first of equals has it all, and leaves nothing to the others.
                        best = load_any(y, low)
                        g = times(by_u, where_equal(same, best, left, _ZERO))
                        left = where_equal(same, best, _ZERO, left)
                    else:
                        g = times(by_u, left)
                    store_any(inner, at, g)
                    here = fused(g, _ONE, here)
                    crossed = fused(g, fused(value, _ONE, centre), crossed)
            store(sums, (2 * part) * channels + c, here)
            store(sums, (2 * part + 1) * channels + c, crossed)


@compiled
def summed(sums: Any, out: Any) -> None:
    """The sums of all parts, (P, 2, C) -> (2, C)."""
    parts, kinds, channels = sums.shape
    for kind in range(kinds):
        for c in range(channels):
            total = 0.0
            for part in range(parts):
                total += np.float64(sums[part, kind, c])
            out[kind, c] = _F(total)


@compiled
def through(
    first: int, last: int, rows: int, x: Any, mean: Any, factors: Any, inner: Any
) -> None:
    """a g + p (x - mean) + q in place of g, for the parts `first` to `last`.

    Args:
        x: (R, C).
        mean: (C,).
        factors: a, p and q, (3, C).
        inner: g, (R, C).
    """
    total, channels = x.shape
    for part in range(first, last):
        for row in range(part * rows, min(total, (part + 1) * rows)):
            for c in range(0, channels, WIDE):
                at = row * channels + c
                off = fused(load_pairs(mean, c), -_ONE, load_any(x, at))
                rest = fused(
                    load_pairs(factors, channels + c), off, load_pairs(factors, 2 * channels + c)
                )
                store_any(inner, at, fused(load_pairs(factors, c), load_any(inner, at), rest))
