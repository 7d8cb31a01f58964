"""The file `.lat`: what was written is read, and anything else is refused, soon and with a word."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from random import Random

import pytest

from weft.errors import DataError
from weft.families.gaussvae.codec.container import HEADER_BYTES, Header, pack, read, unpack

HEADER = Header((700, 13), (32, 16), 64, 8, b"01234567", "corner")
CONTENT = pack(HEADER, b"some latents")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.lat"
    path.write_bytes(CONTENT)
    assert read(path) == (HEADER, b"some latents")
    assert HEADER.grid == (22, 1) and HEADER.latents == 22 * 64
    assert len(CONTENT) == HEADER_BYTES + len(b"some latents") and HEADER_BYTES == 29


def _signed(content: bytes) -> bytes:
    """The content with the checksum that it should have."""
    head, payload = content[: HEADER_BYTES - 4], content[HEADER_BYTES:]
    return head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "begins with b''"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "begins with b'\\x89PNG'"),
        (CONTENT[:20], "20 bytes, fewer than a header has"),
        (CONTENT[:-1], "a checksum that is not that of its bytes"),
        (CONTENT + b"\0", "a checksum that is not that of its bytes"),
        (_signed(CONTENT[:4] + b"\x02" + CONTENT[5:]), "version 2"),
        (_signed(CONTENT[:5] + b"\x07" + CONTENT[6:]), "a header of 700 x 13 pixels"),
        (_signed(CONTENT[:6] + b"\xff" * 4 + CONTENT[10:]), "a header of 65535 x 65535 pixels"),
        (_signed(CONTENT[:10] + b"\0" * 2 + CONTENT[12:]), "tiles of 0 x 16"),
    ],
)
def test_other_files_are_refused_with_what_is_wrong(
    content: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.lat"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.exit_code == 2 and str(path) in str(caught.value)
    assert said in str(caught.value)
    with pytest.raises(DataError) as again:
        unpack(content, path)
    assert str(again.value) == str(caught.value)


def test_more_bytes_than_any_latents_need_are_refused() -> None:
    content = pack(Header((1, 1), (1, 1), 1, 1, bytes(8)), bytes(99))
    with pytest.raises(DataError, match="cannot be read") as caught:
        unpack(content, "a.lat")
    assert "99 bytes for 1 numbers" in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.lat", tmp_path):
        with pytest.raises(DataError):
            read(path)


def test_no_more_is_read_of_a_file_than_its_header_allows(tmp_path: Path) -> None:
    path = tmp_path / "a.lat"
    with path.open("wb") as file:
        file.write(CONTENT)
        file.truncate(2**40)  # A terabyte of nothing.
    with pytest.raises(DataError):
        read(path)


def mutated(content: bytes, random: Random) -> bytes:
    """The content, damaged somewhere."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(changed))
        kind = random.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            changed[at] = random.choice((0, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del changed[at : at + random.randrange(1, 9)]
        else:
            changed[at:at] = random.randbytes(random.randrange(1, 9))
        changed = changed or bytearray(1)
    return bytes(changed)


def test_however_a_file_is_damaged_it_is_refused(mutations: int) -> None:
    random = Random(0)
    refused = 0
    for _ in range(mutations):
        content = mutated(CONTENT, random)
        try:
            assert unpack(content, "a.lat") == (HEADER, b"some latents")
        except DataError:
            refused += 1
    assert refused > 0.95 * mutations


def test_a_forged_checksum_makes_no_header_that_is_not_bounded(mutations: int) -> None:
    random = Random(1)
    passed = 0
    for _ in range(mutations):
        content = mutated(CONTENT, random)
        if len(content) < HEADER_BYTES:
            continue
        try:
            header, payload = unpack(_signed(content), "a.lat")
        except DataError:
            continue
        passed += 1
        height, width = header.size
        assert 0 < height * width <= 2**26 and min(*header.tile, header.latent_dim, header.step) > 0
        assert len(payload) <= 4 * header.latents + 16
    assert passed > 0
