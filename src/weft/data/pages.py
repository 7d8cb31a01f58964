"""Checks the sizes that the pages of a parquet file declare, before memory is taken for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weft.data.guard import check_inflation, unreadable

_HEADER = 2**16
"""Most bytes of a page's header, which holds no data except a smallest and a largest value."""


def check_pages(path: Path, columns: Any) -> None:
    """Refuses a file whose pages would unpack to far more than the file.

    Args:
        path: the file.
        columns: pyarrow's metadata of the column chunks that will be read.

    Raises:
        DataError: if the pages unpack to too much, or a header is malformed.
    """
    total, packed = 0, path.stat().st_size
    for column in columns:
        for _, unpacked, _ in pages(path, column):
            total += unpacked
            check_inflation(total, packed, path)


def pages(path: Path, column: Any) -> Iterator[tuple[int, int, int]]:
    """The sizes in bytes of each page of a column chunk: header, unpacked, as stored.

    Raises:
        DataError: if a header is malformed.
    """
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    end = min(start + column.total_compressed_size, path.stat().st_size)
    with path.open("rb") as file:
        while start < end:
            try:
                if start < 0:
                    raise ValueError("a place before the file")
                file.seek(start)
                fields, length = _struct(file.read(_HEADER), 0)
                unpacked, stored = fields[2], fields[3]
                if min(unpacked, stored) < 0:
                    raise ValueError("a size below nothing")
            except (IndexError, KeyError, ValueError, RecursionError) as error:
                where = f"{path}, byte {start:,}"
                raise unreadable(where, "the header of a page", "other bytes") from error
            yield length, unpacked, stored
            start += length + stored


def _struct(data: bytes, at: int) -> tuple[dict[int, int], int]:
    """Parses a struct of Thrift's compact protocol: its integers by field, and where it ends."""
    found: dict[int, int] = {}
    field = 0
    while data[at]:
        delta, kind = data[at] >> 4, data[at] & 15
        at += 1
        if delta:
            field += delta
        else:
            field, at = _number(data, at)
        if kind in (4, 5, 6):
            found[field], at = _number(data, at)
        else:
            at = _beyond(data, at, kind)
    return found, at + 1


def _beyond(data: bytes, at: int, kind: int) -> int:
    """The position after a value that is skipped."""
    match kind:
        case 1 | 2:  # A boolean, whose kind is its value.
            return at
        case 3:
            return at + 1
        case 4 | 5 | 6:
            return _number(data, at)[1]
        case 7:
            return at + 8
        case 8:
            size, at = _varint(data, at)
            return at + size
        case 12:
            return _struct(data, at)[1]
    raise ValueError(f"a page's header holds nothing of kind {kind}")


def _number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
