"""Sizes that the pages of a parquet file state, read before memory is taken for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weft.data.guard import check_inflation, unreadable

_HEADER = 2**16
"""Bytes that a page's header takes at most: it holds no data but a least and a largest value."""


def check_pages(path: Path, columns: Any) -> None:
    """Refuses a file whose pages would unpack to far more than the file.

    Args:
        path: the file.
        columns: metadata of the column chunks that will be read, as pyarrow gives them.
    Raises:
        DataError: a page's size is out of bounds, or its header is none.
    """
    total, packed = 0, path.stat().st_size
    for column in columns:
        for _, unpacked, _ in pages(path, column):
            total += unpacked
            check_inflation(total, packed, path)


def pages(path: Path, column: Any) -> Iterator[tuple[int, int, int]]:
    """Bytes of the header of each page of a column chunk, of the page unpacked, and as stored.

    Raises:
        DataError: something else lies where a header should.
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
    """A struct of Thrift's compact protocol: its whole numbers by field, and where it ends."""
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
    """Where a value ends of which nothing is wanted."""
    match kind:
        case 1 | 2:  # A truth, which its kind tells.
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
