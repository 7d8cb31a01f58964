"""Reads bytes and UTF-8 text of files, plain or gzipped, with a bound on what is unpacked."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import BinaryIO

from weft.data.guard import check_inflation, parsing, unreadable

_GZIP = b"\x1f\x8b"
_CHUNK = 2**20
_OTHER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_bytes(path: Path, expected: str, most: int | None = None) -> bytes:
    """The bytes of a file, unpacked if it is gzipped, whatever its name.

    Args:
        path: the file.
        expected: what it should be, for the error.
        most: read no more than this many bytes; None for all.

    Raises:
        DataError: if it cannot be read, is damaged, or unpacks to far more than its size.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            packed = stream.read(2) == _GZIP
            stream.seek(0)
            if not packed and path.suffix == ".gz":
                raise unreadable(path, expected, "a name in .gz, and no gzip file")
            if not packed:
                return stream.read() if most is None else stream.read(min(most, size))
            return _unpacked(stream, size, path, expected, most)
    except OSError as error:
        raise unreadable(path, expected, error.strerror or error) from error


def _unpacked(stream: BinaryIO, packed: int, path: Path, expected: str, most: int | None) -> bytes:
    parts, size = [], 0
    with parsing(path, expected), gzip.GzipFile(fileobj=stream) as unpacking:
        while (most is None or size < most) and (part := unpacking.read(_CHUNK)):
            parts.append(part)
            size += len(part)
            check_inflation(size, packed, path)
    return b"".join(parts)[:most]


def read_text(path: Path, expected: str = "text in UTF-8") -> str:
    """The text of a file, unpacked if it is gzipped, without its byte order mark.

    Raises:
        DataError: if it cannot be read, is damaged, or is not UTF-8; names the line.
    """
    content = read_bytes(path, expected)
    if other := _OTHER_MARKS.get(content[:2]):
        raise unreadable(f"{path}:1", expected, f"{other}; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = content[error.start]
        before = content[: error.start]
        raise unreadable(
            f"{path}:{_lines_before(before)}",
            expected,
            f"byte 0x{found:02x}, which is `{bytes([found]).decode('latin-1')}` in Latin-1; "
            f"`iconv -f latin1 -t utf8` converts it, if that is what it is",
        ) from error
    if "\0" in text:
        line = _lines_before(text[: text.index("\0")].encode())
        raise unreadable(f"{path}:{line}", expected, "a zero byte: this is no text")
    return text


def read_lines(path: Path, expected: str = "text in UTF-8") -> list[str]:
    """The lines of a text file, with Unix, Windows or old Mac line ends removed.

    Raises:
        DataError: as `read_text`.
    """
    return one_ending(read_text(path, expected)).removesuffix("\n").split("\n")


def one_ending(text: str) -> str:
    """`text` with every line end as `\\n`."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _lines_before(content: bytes) -> int:
    """Number of the line, from 1, on which `content` ends."""
    whole = content.replace(b"\r\n", b"\n")
    return max(whole.count(b"\n"), whole.count(b"\r")) + 1
