"""Sixteen numbers of float32 or bf16 arrays, ELU of them, and random numbers for dropout."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types

from weft.families.gaussvae.forms.lanes import (
    _ULP_ONE,
    _alike,
    _constant,
    _fused,
    _place,
    _typed,
    _wide,
    intrinsic,
    pairs,
)

WIDE = 16
"""Numbers in one value."""

_KIND = pairs.floats
_WHOLE = ir.VectorType(ir.IntType(32), WIDE)
_HALVES = ir.VectorType(ir.IntType(16), WIDE)

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
"""ln 2 in two parts, the first of which has few digits: its multiples are exact."""

_SERIES = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1.0)
"""(e^r - 1) / r in powers of r, highest first; the error is 1e-8 for |r| <= ln 2 / 2."""

_ROUNDS = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB))
_LAST_SHIFT = 14
"""C. Wellons' hash triple32: x <- (x ^ x >> shift) factor, thrice, and a last x ^ x >> 14. With two
rounds, masks agreed with themselves some thousand entries on more often than chance has it."""

_EXPONENT_LEAST = -25.0
"""2^this - 1 is -1 in float32."""


def _whole(value: int) -> Any:
    return ir.Constant(_WHOLE, [value] * WIDE)


def _widened(builder: Any, halves: Any) -> Any:
    """bf16 as float32, of which it is the upper half."""
    return builder.bitcast(builder.shl(builder.zext(halves, _WHOLE), _whole(16)), _KIND)


def _narrowed(builder: Any, value: Any) -> Any:
    """float32 as bf16, rounded to the nearest, ties to even."""
    bits = builder.bitcast(value, _WHOLE)
    odd = builder.and_(builder.lshr(bits, _whole(16)), _whole(1))
    bits = builder.add(builder.add(bits, _whole(0x7FFF)), odd)
    return builder.trunc(builder.lshr(bits, _whole(16)), _HALVES)


@intrinsic
def load_any(context: Any, array: Any, index: Any) -> Any:
    """Sixteen numbers of a contiguous array, float32 or bf16 (as int16), from `index` on."""
    narrow = array.dtype == types.int16

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        many = _HALVES if narrow else _KIND
        place = _place(context, builder, signature.args[0], many, *values)
        found = builder.load(place, align=2 if narrow else 4)
        return _widened(builder, found) if narrow else found

    return pairs(array, types.intp), generate


@intrinsic
def store_any(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Writes pairs to a contiguous array, float32 or bf16 (as int16), from `index` on."""
    narrow = array.dtype == types.int16

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        many = _HALVES if narrow else _KIND
        place = _place(context, builder, signature.args[0], many, *values[:2])
        kept = _narrowed(builder, values[2]) if narrow else values[2]
        builder.store(kept, place, align=2 if narrow else 4)
        return context.get_dummy_value()

    return types.void(array, types.intp, pairs), generate


@intrinsic
def as_stored(context: Any, array: Any, value: Any) -> Any:
    """Pairs as `store_any` and `load_any` would bring them back from the array."""
    narrow = array.dtype == types.int16

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _widened(builder, _narrowed(builder, values[1])) if narrow else values[1]

    return pairs(array, pairs), generate


@intrinsic
def drawn(context: Any, first: Any, second: Any, index: Any, least: Any, gain: Any) -> Any:
    """`gain` where a random number of 32 bits is at least `least`, 0 elsewhere.

    The numbers are a hash of two seeds and of index, index + 1, ..., index + 15; all uint32 but
    `index` and the float32 `gain`.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first, second, index, least = (
            _same(builder, builder.trunc(each, _WHOLE.element) if each.type.width > 32 else each)
            for each in values[:4]
        )
        x = builder.add(index, ir.Constant(_WHOLE, list(range(WIDE))))
        x = builder.add(x, first)
        for turn, (shift, factor) in enumerate(_ROUNDS):
            x = builder.mul(builder.xor(x, builder.lshr(x, _whole(shift))), _whole(factor))
            # The second seed between the rounds: calls do not draw parts of one long sequence.
            x = builder.xor(x, second) if turn == 0 else x
        x = builder.xor(x, builder.lshr(x, _whole(_LAST_SHIFT)))
        kept = builder.icmp_unsigned(">=", x, least)
        return builder.select(kept, _wide(builder, values[4], _KIND), _constant(0.0, _KIND))

    word = types.uint32
    return pairs(word, word, types.intp, word, types.float32), generate


def _same(builder: Any, word: Any) -> Any:
    """One word sixteen times."""
    return _wide(builder, word, _WHOLE)


@intrinsic
def where_equal(context: Any, a: Any, b: Any, value: Any, other: Any) -> Any:
    """`value` where a and b are equal, `other` elsewhere."""

    def emit(builder: Any, a: Any, b: Any, value: Any, other: Any) -> Any:
        a, b, value, other = _alike(builder, a, b, value, other)
        return builder.select(builder.fcmp_ordered("==", a, b), value, other)

    return _typed(pairs, (a, b, value, other), emit)


@intrinsic
def less_one(context: Any, value: Any) -> Any:
    """e^v - 1 for v <= 0, with a relative error of 2e-7 near 0 and an absolute one elsewhere."""

    def emit(builder: Any, value: Any) -> Any:
        least = _constant(_EXPONENT_LEAST * math.log(2), _KIND)
        value = builder.select(builder.fcmp_unordered("<", value, least), least, value)
        ulp = _constant(_ULP_ONE, _KIND)
        rounded = _fused(builder, value, _constant(math.log2(math.e), _KIND), ulp)
        count = builder.fsub(rounded, ulp)
        rest = _fused(builder, count, _constant(-_LN2_HIGH, _KIND), value)
        rest = _fused(builder, count, _constant(-_LN2_LOW, _KIND), rest)
        found = _constant(_SERIES[0], _KIND)
        for each in _SERIES[1:]:
            found = _fused(builder, found, rest, _constant(each, _KIND))
        found = builder.fmul(found, rest)
        one = _constant(1.0, _KIND)
        # The last bits of `rounded` are the exponent.
        power = builder.bitcast(
            builder.add(
                builder.bitcast(one, _WHOLE),
                builder.shl(builder.bitcast(rounded, _WHOLE), _whole(23)),
            ),
            _KIND,
        )
        return _fused(builder, power, found, builder.fsub(power, one))

    return _typed(pairs, (value,), emit)
