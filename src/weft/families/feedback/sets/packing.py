"""Packs chunks into rows of a fixed length, with little unused space."""

from __future__ import annotations

from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of chunk numbers whose lengths add up to at most `capacity`.

    Chunks are placed in the given order, each in the fullest row with enough space (best fit). The
    least space is unused if long chunks come first.

    Args:
        lengths: of the chunks, in [1, capacity].
        capacity: number of tokens in a row.
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    # Bit r is set if a row has space for r more tokens, so that the lowest set bit from `length` on
    # is the fullest row with enough space.
    occupied = 0
    for number, length in enumerate(lengths):
        fitting = occupied >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                occupied ^= 1 << room
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(number)
        left = room - length
        with_room[left].append(row)
        if left:
            occupied |= 1 << left
    return rows
