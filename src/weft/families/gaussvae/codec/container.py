"""The file format `.lat`: a header that describes the content, a checksum, and coded latents."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from weft.data.guard import parsing, unreadable

MAGIC = b"\x89lat"
VERSION = 1
MOST_PIXELS = 2**26
"""Largest number of pixels of a picture, as in `weft.data.pictures`."""

# Little-endian; the checksum is of all other bytes of the file.
_HEADER = struct.Struct("<4sBBHHHHHB8s")
_CHECKSUM = struct.Struct("<I")
_CONVENTIONS = ("centre", "corner")
_EXPECTED = "a .lat file that `weft compress` wrote"
# A symbol has at most 24 bits in the entropy coder, which also ends with one word.
_MOST_BYTES_A_LATENT, _SLACK = 4, 16


@dataclass(frozen=True)
class Header:
    """What a decoder must know before it reads the latents.

    Attributes:
        size: (height, width) of the picture.
        tile: (height, width) of a tile; each tile has one latent vector.
        latent_dim: numbers in a latent vector.
        step: of the quantiser, in halves of the latents' mean posterior deviation.
        model: the first eight bytes of the checksum of model and tables.
        sampling: where a pixel is sampled: at its `centre`, or at its `corner`, as in Image-GS.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    latent_dim: int
    step: int
    model: bytes
    sampling: str = "centre"

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles that cover the picture."""
        (height, width), (tall, wide) = self.size, self.tile
        return math.ceil(height / tall), math.ceil(width / wide)

    @property
    def latents(self) -> int:
        """Numbers in the latents of all tiles."""
        return math.prod(self.grid) * self.latent_dim


HEADER_BYTES = _HEADER.size + _CHECKSUM.size
"""Bytes of a file before its coded latents."""


def pack(header: Header, payload: bytes) -> bytes:
    """The content of the file."""
    head = _HEADER.pack(
        MAGIC,
        VERSION,
        _CONVENTIONS.index(header.sampling),
        *header.size,
        *header.tile,
        header.latent_dim,
        header.step,
        header.model,
    )
    return head + _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def unpack(content: bytes, where: str | Path) -> tuple[Header, bytes]:
    """The header and the coded latents in the content of a file.

    Raises:
        DataError: if it is another format, a later version, or damaged.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise unreadable(where, _EXPECTED, f"a file that begins with {content[:4]!r}")
    header = _header(content, where)
    payload = content[HEADER_BYTES:]
    (wanted,) = _CHECKSUM.unpack_from(content, _HEADER.size)
    if zlib.crc32(payload, zlib.crc32(content[: _HEADER.size])) != wanted:
        raise unreadable(where, _EXPECTED, "a checksum that is not that of its bytes")
    if len(payload) > most_bytes(header):
        found = f"{len(payload):,} bytes for {header.latents:,} numbers"
        raise unreadable(where, _EXPECTED, found)
    return header, payload


def read(path: Path) -> tuple[Header, bytes]:
    """The header and the coded latents of a file; no more is read than the header allows.

    Raises:
        DataError: as `unpack`, or if it cannot be opened.
    """
    with parsing(path, _EXPECTED), path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        if head[: len(MAGIC)] != MAGIC:
            unpack(head, path)
        most = most_bytes(_header(head, path))
        return unpack(head + file.read(most + 1), path)


def most_bytes(header: Header) -> int:
    """An upper bound on the bytes of a picture with this header."""
    return header.latents * _MOST_BYTES_A_LATENT + _SLACK


def _header(content: bytes, where: str | Path) -> Header:
    """The header, after a check that its numbers can come from `pack`."""
    if len(content) < HEADER_BYTES:
        raise unreadable(where, _EXPECTED, f"{len(content)} bytes, fewer than a header has")
    _, version, convention, *numbers, model = _HEADER.unpack_from(content)
    if version != VERSION:
        raise unreadable(where, f"version {VERSION} of the format", f"version {version}")
    height, width, tall, wide, latent_dim, step = numbers
    if convention >= len(_CONVENTIONS) or min(numbers) == 0 or height * width > MOST_PIXELS:
        found = f"a header of {height} x {width} pixels in tiles of {tall} x {wide}"
        raise unreadable(where, _EXPECTED, found)
    return Header((height, width), (tall, wide), latent_dim, step, model, _CONVENTIONS[convention])
