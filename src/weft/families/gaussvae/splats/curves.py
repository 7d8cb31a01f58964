"""Orders of positions in the plane: Morton and Hilbert codes, and Hilbert's path on any grid."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

MOST_BITS = 31
"""Largest number of bits of a coordinate, so that two interleaved ones fit into an int64."""


def morton(x: Tensor, y: Tensor, bits: int = 16) -> Tensor:
    """The bits of both coordinates interleaved, those of y the higher of each pair.

    Args:
        x, y: whole numbers in [0, 2^bits), of one shape.
        bits: of a coordinate, at most 31.
    Returns: int64 in [0, 4^bits), a bijection of the square.
    """
    code = torch.zeros_like(x, dtype=torch.int64)
    for bit in range(bits):
        code |= (x.long() >> bit & 1) << 2 * bit
        code |= (y.long() >> bit & 1) << 2 * bit + 1
    return code


def hilbert(x: Tensor, y: Tensor, bits: int = 16) -> Tensor:
    """The index of each cell on Hilbert's curve through the square of 2^bits x 2^bits cells.

    Cells of consecutive numbers share a side.

    Args:
        x, y: whole numbers in [0, 2^bits), of one shape.
        bits: of a coordinate, at most 31.
    Returns: int64 in [0, 4^bits), a bijection of the square.
    """
    x, y = x.long(), y.long()
    code = torch.zeros_like(x)
    for bit in reversed(range(bits)):
        right, lower = x >> bit & 1, y >> bit & 1
        code = code << 2 | 3 * right ^ lower
        # Each quarter has the same curve, rotated so that its ends meet those of its neighbours.
        size = 1 << bit
        x, y = x & size - 1, y & size - 1
        flipped = (lower == 0) & (right == 1)
        x, y = torch.where(flipped, size - 1 - x, x), torch.where(flipped, size - 1 - y, y)
        x, y = torch.where(lower == 0, y, x), torch.where(lower == 0, x, y)
    return code


CODES = {"morton": morton, "hilbert": hilbert}


def order(splats: Tensor, curve: str = "hilbert", bits: int = 16) -> Tensor:
    """The order of splats along a curve through their centres.

    Args:
        splats: [..., N, >= 2], with x and y in the unit square first; positions outside are clamped
            to its edge.
        curve: "morton" or "hilbert".
        bits: to which coordinates are rounded down.
    Returns: int64 [..., N], a permutation: `splats.take_along_dim(order[..., None], -2)`. Splats
        of one cell keep their order.
    """
    cells = (splats[..., :2] * 2**bits).long().clamp(0, 2**bits - 1)
    return CODES[curve](cells[..., 0], cells[..., 1], bits).argsort(dim=-1, stable=True)


@lru_cache(maxsize=64)
def path(rows: int, columns: int) -> tuple[tuple[int, int], ...]:
    """Hilbert's path through all cells of a grid of any size, as (row, column).

    Consecutive cells share a side. It starts in the first cell of the first row; on a square of
    2^k it is Hilbert's curve.
    """
    # It ends at the other end of an even side; with one odd side no other path exists, by parity.
    along_columns = columns >= rows if (columns % 2 == 0) == (rows % 2 == 0) else columns % 2 == 0
    cells: list[tuple[int, int]] = []
    if along_columns:
        _walk(cells, (0, 0), (0, columns), (rows, 0))
    else:
        _walk(cells, (0, 0), (rows, 0), (0, columns))
    return tuple(cells)


_Arrow = tuple[int, int]


def _walk(cells: list[_Arrow], start: _Arrow, along: _Arrow, across: _Arrow) -> None:
    """Adds the cells of a rectangle, from `start` to the far end of the side `along`."""
    length, width = abs(sum(along)), abs(sum(across))
    step, aside = _sign(along), _sign(across)
    if width == 1:
        cells += [_moved(start, step, i) for i in range(length)]
        return
    if length == 1:
        cells += [_moved(start, aside, i) for i in range(width)]
        return
    half_length, half_width = length // 2, width // 2
    if 2 * length > 3 * width:
        half_length += half_length % 2 and length > 2
        first = _times(step, half_length)
        _walk(cells, start, first, across)
        _walk(cells, _moved(start, first), _times(step, length - half_length), across)
        return
    half_width += half_width % 2 and width > 2
    rise, forward = _times(aside, half_width), _times(step, half_length)
    _walk(cells, start, rise, forward)
    _walk(cells, _moved(start, rise), along, _times(aside, width - half_width))
    last = _moved(_moved(start, _times(step, length - 1)), _times(aside, half_width - 1))
    _walk(cells, last, _times(aside, -half_width), _times(step, half_length - length))


def _sign(arrow: _Arrow) -> _Arrow:
    return (arrow[0] > 0) - (arrow[0] < 0), (arrow[1] > 0) - (arrow[1] < 0)


def _times(arrow: _Arrow, factor: int) -> _Arrow:
    return arrow[0] * factor, arrow[1] * factor


def _moved(start: _Arrow, arrow: _Arrow, times: int = 1) -> _Arrow:
    return start[0] + times * arrow[0], start[1] + times * arrow[1]
