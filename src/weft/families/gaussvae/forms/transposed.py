"""Transposes sixteen rows of eight float32 numbers to pairs of lanes, one for each column."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from weft.families.gaussvae.forms.lanes import WIDTH, intrinsic, pairs

ROWS = 2 * WIDTH
"""Number of rows processed at once; with fewer, each would wait for its roots and quotients."""

_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_INDEX = ir.IntType(64)


def _shuffled(builder: Any, one: Any, two: Any, places: Any) -> Any:
    places = list(places)
    which = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
    return builder.shuffle_vector(one, two, which)


def _turned(builder: Any, values: list[Any]) -> list[Any]:
    """The transpose of eight by eight, by exchange of blocks of four, two and one."""
    for apart in (4, 2, 1):
        for i in range(WIDTH):
            if i & apart:
                continue
            low = [k + WIDTH - apart if k & apart else k for k in range(WIDTH)]
            high = [k + WIDTH if k & apart else k + apart for k in range(WIDTH)]
            one, two = values[i], values[i + apart]
            values[i] = _shuffled(builder, one, two, low)
            values[i + apart] = _shuffled(builder, one, two, high)
    return values


def _columns(builder: Any, rows: list[Any]) -> list[Any]:
    """Eight pairs of ROWS rows."""
    first, second = _turned(builder, rows[:WIDTH]), _turned(builder, rows[WIDTH:])
    both = zip(first, second, strict=True)
    return [_shuffled(builder, one, two, range(ROWS)) for one, two in both]


def _row(builder: Any, data: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


def _least(builder: Any, i: int, count: Any) -> Any:
    """i, or the last below `count`."""
    here = ir.Constant(_INDEX, i)
    last = builder.sub(count, ir.Constant(_INDEX, 1))
    return builder.select(builder.icmp_signed("<", here, count), here, last)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


@intrinsic
def columns(context: Any, array: Any, index: Any, stride: Any, count: Any) -> Any:
    """Columns of `count` <= ROWS rows of a contiguous float32 array.

    Row i begins at index + i stride; rows from `count` on repeat the last one.
    """
    out = types.UniTuple(pairs, WIDTH)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        rows = []
        for i in range(ROWS):
            far = builder.mul(_least(builder, i, values[3]), values[2])
            row = _row(builder, data, builder.add(values[1], far))
            rows.append(builder.load(row, align=4))
        return context.make_tuple(builder, out, _columns(builder, rows))

    return out(array, types.int64, types.int64, types.int64), generate


@intrinsic
def listed(context: Any, array: Any, list_: Any, at: Any, count: Any, scale: Any, far: Any) -> Any:
    """Columns of the `count` <= ROWS rows whose numbers are in a list of int32 from `at` on.

    Row k begins at k scale + far; rows from `count` on repeat the last one.
    """
    out = types.UniTuple(pairs, WIDTH)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        names = _data(context, builder, signature.args[1], values[1])
        rows = []
        for i in range(ROWS):
            place = builder.add(values[2], _least(builder, i, values[3]))
            name = builder.zext(builder.load(builder.gep(names, [place])), _INDEX)
            begin = builder.add(builder.mul(name, values[4]), values[5])
            rows.append(builder.load(_row(builder, data, begin), align=4))
        return context.make_tuple(builder, out, _columns(builder, rows))

    return out(array, list_, types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def store_columns(
    context: Any, array: Any, index: Any, stride: Any, count: Any,
    a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any,
) -> Any:  # fmt: skip
    """Writes rows, the inverse of `columns`; those from `count` on must repeat the last."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        halves = (
            [_shuffled(builder, each, each, range(k, k + WIDTH)) for each in values[4:]]
            for k in (0, WIDTH)
        )
        rows = [row for half in halves for row in _turned(builder, half)]
        for i, row in enumerate(rows):
            far = builder.mul(_least(builder, i, values[3]), values[2])
            place = _row(builder, data, builder.add(values[1], far))
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    kinds = (array, *[types.int64] * 3, *[pairs] * WIDTH)
    return types.void(*kinds), generate
