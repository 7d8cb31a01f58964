"""Eight float32 numbers, or twice as many, as one value of numba's kernels.

With them vectorisation does not depend on the compiler. Sixteen numbers are in one register of 512
bits, or in two of 256 bits if there are no larger ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.extending import models, register_model

WIDTH = 8

_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_WHOLE = ir.VectorType(ir.IntType(32), WIDTH)

_POWERS = (
    0.001339086336353527, 0.009676031918255982, 0.05550357114222094,
    0.2402210748530968, 0.6931471880262273, 1.0000000754548972,
)  # fmt: skip
"""2^f for |f| <= 1/2 by Chebyshev interpolation, highest power first; the error is below 1e-7."""

_MORE_POWERS = (
    1.5303699e-05, 0.000154697291, 0.00133334785, 0.00961802561, 0.0555041091, 0.240226512,
    0.693147181, 1.0,
)  # fmt: skip
"""The same, with an error of 6e-11 before rounding."""

_EXPONENT_LEAST, _EXPONENT_MOST = -126.0, 127.0
"""Exponents of normal float32 numbers; smaller powers become 2^-126, invisible in pictures."""

_LOG2E = math.log2(math.e)

_ULP_ONE = 1.5 * 2**23
"""A float32 whose neighbours differ by 1; its last nine bits are 0."""


class Lanes(types.Type):
    """Numba's type of `width` float32 numbers."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"Lanes{width}")
        self.floats = ir.VectorType(ir.FloatType(), width)


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.floats)


lanes, pairs = Lanes(WIDTH), Lanes(2 * WIDTH)

Emit = Callable[..., Any]


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Numba's decorator. Kernels call the function without the first argument, which is numba's."""
    made: Callable[..., Any] = extending.intrinsic(function)
    return made


def _typed(out: Any, kinds: tuple[Any, ...], emit: Emit) -> tuple[Any, Emit]:
    """The result type and code of an intrinsic; scalar arguments are converted to float32.

    If arguments are pairs, the result is pairs instead of lanes.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return emit(builder, *values)

    wanted = [kind if isinstance(kind, Lanes) else types.float32 for kind in kinds]
    if out == lanes and pairs in wanted:
        out = pairs
    return out(*wanted), generate


def _wide(builder: Any, value: Any, kind: Any = _FLOATS) -> Any:
    """The value; a scalar is copied to all lanes."""
    if value.type == kind:
        return value
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_whole_of(kind), [0] * kind.count))


def _alike(builder: Any, *values: Any) -> list[Any]:
    """The values, with scalars copied to as many lanes as the others have."""
    kinds = [each.type for each in values if isinstance(each.type, ir.VectorType)]
    return [_wide(builder, each, kinds[0] if kinds else _FLOATS) for each in values]


def _whole_of(kind: Any) -> Any:
    return ir.VectorType(ir.IntType(32), kind.count)


def _constant(value: float, kind: Any = _FLOATS) -> Any:
    return ir.Constant(kind, [float(np.float32(value))] * kind.count)


def _done(builder: Any, name: str, *values: Any) -> Any:
    """The result of LLVM's operation of this name."""
    operands = _alike(builder, *values)
    out = operands[0].type
    kind = ir.FunctionType(out, [out] * len(operands))
    call = builder.module.declare_intrinsic(f"llvm.{name}.v{out.count}f32", (), kind)
    return builder.call(call, operands)


def _fused(builder: Any, *factors: Any) -> Any:
    """a b + c, rounded once if the processor has this operation."""
    return _done(builder, "fmuladd", *factors)


@intrinsic
def fused(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c; each is lanes or a scalar."""
    return _typed(lanes, (a, b, c), _fused)


@intrinsic
def times(context: Any, a: Any, b: Any) -> Any:
    """a b; each is lanes or a scalar."""
    return _typed(lanes, (a, b), lambda at, a, b: at.fmul(*_alike(at, a, b)))


@intrinsic
def over(context: Any, a: Any, b: Any) -> Any:
    """a / b; each is lanes or a scalar."""
    return _typed(lanes, (a, b), lambda at, a, b: at.fdiv(*_alike(at, a, b)))


@intrinsic
def root(context: Any, a: Any) -> Any:
    """The square root, lane by lane."""
    return _typed(lanes, (a,), lambda at, a: _done(at, "sqrt", a))


@intrinsic
def floor(context: Any, a: Any) -> Any:
    """The largest integer not above a, lane by lane."""
    return _typed(lanes, (a,), lambda at, a: _done(at, "floor", a))


@intrinsic
def spread(context: Any, a: Any) -> Any:
    """A scalar copied to eight lanes."""
    return _typed(lanes, (a,), _wide)


@intrinsic
def counted(context: Any, first: Any) -> Any:
    """first, first + 1, ..., first + 7."""
    numbers = ir.Constant(_FLOATS, [float(i) for i in range(WIDTH)])
    return _typed(lanes, (first,), lambda at, first: at.fadd(_wide(at, first), numbers))


def shuffled(*places: int) -> Any:
    """A function of lanes a and b that selects `places` among a's (0 to 7) and b's (8 to 15)."""

    @intrinsic
    def found(context: Any, a: Any, b: Any) -> Any:
        which = ir.Constant(_WHOLE, list(places))
        return _typed(lanes, (a, b), lambda at, a, b: at.shuffle_vector(a, b, which))

    return found


@intrinsic
def total(context: Any, a: Any) -> Any:
    """The sum of all eight lanes, always in the same order."""

    def emit(builder: Any, value: Any) -> Any:
        for half in (4, 2, 1):
            turned = ir.Constant(_WHOLE, [(i + half) % WIDTH for i in range(WIDTH)])
            value = builder.fadd(value, builder.shuffle_vector(value, value, turned))
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return _typed(types.float32, (a,), emit)


@intrinsic
def totals(context: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """The sums over the lanes of eight values, as lanes, always in the same order."""

    def emit(builder: Any, *values: Any) -> Any:
        left = list(values)
        # Halves of what is left are added crosswise: two values become one of their partial sums.
        for apart in (4, 2, 1):
            low = [i for i in range(2 * WIDTH) if not i & apart]
            first, second = (ir.Constant(_WHOLE, [i + far for i in low]) for far in (0, apart))
            left = [
                builder.fadd(
                    builder.shuffle_vector(one, two, first),
                    builder.shuffle_vector(one, two, second),
                )
                for one, two in zip(left[::2], left[1::2], strict=True)
            ]
        return left[0]

    return _typed(lanes, (a, b, c, d, e, f, g, h), emit)


def _chosen(builder: Any, comparison: str, a: Any, b: Any, other: Any) -> Any:
    """a where the comparison with b holds or one of them is NaN; `other` elsewhere."""
    a, b, other = _alike(builder, a, b, other)
    return builder.select(builder.fcmp_unordered(comparison, a, b), a, other)


@intrinsic
def greater(context: Any, a: Any, b: Any) -> Any:
    """The greater of two, lane by lane; a where one is NaN."""
    return _typed(lanes, (a, b), lambda at, a, b: _chosen(at, ">", a, b, b))


@intrinsic
def smaller(context: Any, a: Any, b: Any) -> Any:
    """The smaller of two, lane by lane; a where one is NaN."""
    return _typed(lanes, (a, b), lambda at, a, b: _chosen(at, "<", a, b, b))


@intrinsic
def kept(context: Any, a: Any, least: Any) -> Any:
    """a where it is at least `least`, 0 elsewhere."""

    def emit(builder: Any, a: Any, least: Any) -> Any:
        a, least = _alike(builder, a, least)
        return _chosen(builder, ">=", a, least, _constant(0.0, a.type))

    return _typed(lanes, (a, least), emit)


@intrinsic
def where_negative(context: Any, sign: Any, a: Any, b: Any) -> Any:
    """a where `sign` is below 0, b elsewhere."""

    def emit(builder: Any, sign: Any, a: Any, b: Any) -> Any:
        sign, a, b = _alike(builder, sign, a, b)
        return builder.select(builder.fcmp_ordered("<", sign, _constant(0.0, sign.type)), a, b)

    return _typed(lanes, (sign, a, b), emit)


def _power_of_parts(builder: Any, rounded: Any, rest: Any, powers: tuple[float, ...]) -> Any:
    """2^e from the integer part of e, in the last bits of a float near _ULP_ONE, and the rest."""
    kind, whole = rest.type, _whole_of(rest.type)
    found = _constant(powers[0], kind)
    for each in powers[1:]:
        found = _fused(builder, found, rest, _constant(each, kind))
    bits = builder.add(
        builder.bitcast(found, whole),
        builder.shl(builder.bitcast(rounded, whole), ir.Constant(whole, [23] * kind.count)),
    )
    return builder.bitcast(bits, kind)


@intrinsic
def power(context: Any, exponent: Any) -> Any:
    """2^e for e <= 0 with a relative error of 2e-7; 2^-126 for smaller results."""

    def emit(builder: Any, exponent: Any) -> Any:
        kind = exponent.type
        least, ulp = _constant(_EXPONENT_LEAST, kind), _constant(_ULP_ONE, kind)
        exponent = _chosen(builder, ">", exponent, least, least)
        # Neighbours are 1 apart there: the sum is rounded to a whole number, its last bits.
        rounded = builder.fadd(exponent, ulp)
        rest = builder.fsub(exponent, builder.fsub(rounded, ulp))
        return _power_of_parts(builder, rounded, rest, _POWERS)

    return _typed(lanes, (exponent,), emit)


@intrinsic
def exponential(context: Any, value: Any) -> Any:
    """e^v with a relative error of 1e-7 if products are fused; clamped to [2^-126, 2^127]."""

    def emit(builder: Any, value: Any) -> Any:
        kind = value.type
        least, most = (_constant(e / _LOG2E, kind) for e in (_EXPONENT_LEAST, _EXPONENT_MOST))
        value = _chosen(builder, ">", value, least, least)
        value = _chosen(builder, "<", value, most, most)
        ulp, factor = _constant(_ULP_ONE, kind), _constant(_LOG2E, kind)
        rounded = _fused(builder, value, factor, ulp)
        # What is left of v log2 e is small, and so is its rounding; that of v log2 e is not.
        rest = _fused(builder, value, factor, builder.fsub(ulp, rounded))
        rest = _fused(builder, value, _constant(_LOG2E - float(np.float32(_LOG2E)), kind), rest)
        return _power_of_parts(builder, rounded, rest, _MORE_POWERS)

    return _typed(lanes, (value,), emit)


def _place(context: Any, builder: Any, kind: Any, many: Any, array: Any, index: Any) -> Any:
    """The address of the element `index`, as a pointer to `many` numbers."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), many.as_pointer())


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    """Eight numbers of a contiguous float32 array from `index` on, whatever its shape."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], _FLOATS, *values), align=4)

    return lanes(array, types.intp), generate


@intrinsic
def load_pairs(context: Any, array: Any, index: Any) -> Any:
    """Sixteen numbers of a contiguous float32 array from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature.args[0], pairs.floats, *values)
        return builder.load(place, align=4)

    return pairs(array, types.intp), generate


@intrinsic
def both(context: Any, first: Any, second: Any) -> Any:
    """Two lanes joined to pairs, `first` in front."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        places = ir.Constant(_whole_of(pairs.floats), list(range(2 * WIDTH)))
        return builder.shuffle_vector(*values, places)

    return pairs(lanes, lanes), generate


@intrinsic
def halves(context: Any, both: Any) -> Any:
    """The two halves of pairs, as lanes."""
    out = types.UniTuple(lanes, 2)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        parts = [
            builder.shuffle_vector(*values, *values, ir.Constant(_WHOLE, list(places)))
            for places in (range(WIDTH), range(WIDTH, 2 * WIDTH))
        ]
        return context.make_tuple(builder, out, parts)

    return out(pairs), generate


@intrinsic
def floats(context: Any, array: Any, index: Any) -> Any:
    """Sixteen numbers of a contiguous int32 array from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature.args[0], _whole_of(pairs.floats), *values)
        return builder.sitofp(builder.load(place, align=4), pairs.floats)

    return pairs(array, types.intp), generate


@intrinsic
def whole(context: Any, array: Any, index: Any) -> Any:
    """One element of a contiguous int32 array, as an unsigned number.

    Negative indices are not supported, which saves four instructions of numba's own indexing.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        return builder.zext(builder.load(builder.gep(data, [values[1]])), ir.IntType(64))

    return types.int64(array, types.intp), generate


@intrinsic
def unforeseen(context: Any, index: Any) -> Any:
    """The same integer, hidden from the compiler's analysis.

    A loop that counts by it is not unrolled, which for short loops would cost more than it saves.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(64), [ir.IntType(64)])
        return builder.call(ir.InlineAsm(kind, "", "=r,0"), values)

    return types.int64(types.int64), generate


@intrinsic
def store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Writes lanes or pairs to a contiguous float32 array from `index` on."""
    if value not in (lanes, pairs):
        return None

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature.args[0], values[2].type, *values[:2])
        builder.store(values[2], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def store_whole(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Writes lanes or pairs without their fractions to a contiguous int32 array."""
    if value not in (lanes, pairs):
        return None

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = _whole_of(values[2].type)
        place = _place(context, builder, signature.args[0], kind, *values[:2])
        builder.store(builder.fptosi(values[2], kind), place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), generate


@intrinsic
def store_counted(context: Any, array: Any, index: Any, first: Any) -> Any:
    """Writes first, first + 1, ..., first + 7 to a contiguous int32 array from `index` on."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature.args[0], _WHOLE, *values[:2])
        first = builder.trunc(values[2], _WHOLE.element)
        numbers = ir.Constant(_WHOLE, list(range(WIDTH)))
        builder.store(builder.add(_wide(builder, first, _WHOLE), numbers), place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), generate
