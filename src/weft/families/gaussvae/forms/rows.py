"""Eight rows of eight float32 numbers as lanes: one value of a column each, and back to rows."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from weft.families.gaussvae.forms.lanes import WIDTH, intrinsic, lanes

_FLOATS = ir.VectorType(ir.FloatType(), WIDTH)
_PLACES = ir.VectorType(ir.IntType(32), WIDTH)
_INDEX = ir.IntType(64)


def _turned(builder: Any, values: list[Any]) -> list[Any]:
    """The transpose of eight by eight: blocks of four, two and one change their places."""
    for apart in (4, 2, 1):
        for i in range(WIDTH):
            if i & apart:
                continue
            low = [k + WIDTH - apart if k & apart else k for k in range(WIDTH)]
            high = [k + WIDTH if k & apart else k + apart for k in range(WIDTH)]
            one, two = values[i], values[i + apart]
            values[i] = builder.shuffle_vector(one, two, ir.Constant(_PLACES, low))
            values[i + apart] = builder.shuffle_vector(one, two, ir.Constant(_PLACES, high))
    return values


def _row(builder: Any, data: Any, index: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


def _least(builder: Any, i: int, count: Any) -> Any:
    """i, or the last below `count`."""
    one = ir.Constant(_INDEX, 1)
    here = ir.Constant(_INDEX, i)
    return builder.select(builder.icmp_signed("<", here, count), here, builder.sub(count, one))


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


@intrinsic
def columns(context: Any, array: Any, index: Any, stride: Any, count: Any) -> Any:
    """Columns of `count` <= 8 rows of a contiguous float32 array.

    Row i begins at index + i stride; lanes beyond `count` repeat the last of the rows.
    """
    out = types.UniTuple(lanes, WIDTH)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        rows = []
        for i in range(WIDTH):
            far = builder.mul(_least(builder, i, values[3]), values[2])
            row = _row(builder, data, builder.add(values[1], far))
            rows.append(builder.load(row, align=4))
        return context.make_tuple(builder, out, _turned(builder, rows))

    return out(array, types.int64, types.int64, types.int64), generate


@intrinsic
def listed(context: Any, array: Any, list_: Any, at: Any, count: Any, scale: Any, far: Any) -> Any:
    """Columns of the `count` <= 8 rows that a list of int32 names from `at` on.

    The row named k begins at k scale + far; lanes beyond `count` repeat the last of the rows.
    """
    out = types.UniTuple(lanes, WIDTH)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        names = _data(context, builder, signature.args[1], values[1])
        rows = []
        for i in range(WIDTH):
            place = builder.add(values[2], _least(builder, i, values[3]))
            name = builder.zext(builder.load(builder.gep(names, [place])), _INDEX)
            begin = builder.add(builder.mul(name, values[4]), values[5])
            rows.append(builder.load(_row(builder, data, begin), align=4))
        return context.make_tuple(builder, out, _turned(builder, rows))

    return out(array, list_, types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def store_columns(
    context: Any, array: Any, index: Any, stride: Any, count: Any,
    a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any,
) -> Any:  # fmt: skip
    """Writes the rows that `columns` takes; lanes beyond `count` must repeat the last of these."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _data(context, builder, signature.args[0], values[0])
        for i, row in enumerate(_turned(builder, list(values[4:]))):
            far = builder.mul(_least(builder, i, values[3]), values[2])
            place = _row(builder, data, builder.add(values[1], far))
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    kinds = (array, *[types.int64] * 3, *[lanes] * WIDTH)
    return types.void(*kinds), generate
