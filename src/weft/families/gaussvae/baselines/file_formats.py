"""Rates of JPEG and WebP (by Pillow), with headers, which all files share, counted separately."""

# M pictures, h x w pixels

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from weft.families.gaussvae.codec.tiles import Bytes
from weft.families.gaussvae.score.bd_rate import Curve
from weft.families.gaussvae.score.rate import psnrs

QUALITIES = (0, 5, 10, 15, 20, 30, 40, 55, 70, 85)
_WEBP_FRAME = 10
"""Bytes of a VP8 frame before its data: tag, start code, width and height."""


def jpeg(images: Bytes, qualities: Sequence[int] = QUALITIES) -> Curve:
    """JPEG with the standard Huffman tables, 4:2:0.

    Everything except the scan's data counts as header: tables, which could be fixed in advance,
    markers and sizes.

    Args:
        images: (M, h, w, 3).
        qualities: of Pillow.
    """
    return _curve(images, qualities, "JPEG", {"subsampling": "4:2:0"}, _jpeg_data)


def webp(images: Bytes, qualities: Sequence[int] = QUALITIES) -> Curve:
    """Lossy WebP with the most thorough search (method 6).

    The headers of RIFF, chunk and frame up to the sizes count as header: 30 bytes and a pad byte.

    Args:
        images: (M, h, w, 3).
        qualities: of Pillow.
    """
    return _curve(images, qualities, "WEBP", {"method": 6}, _webp_data)


def _curve(
    images: Bytes,
    qualities: Sequence[int],
    form: str,
    options: Mapping[str, Any],
    data: Callable[[bytes], int],
) -> Curve:
    points = []
    for quality in qualities:
        spent, heads, found = [], [], []
        for image in images:
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, form, quality=quality, **options)
            content = stream.getvalue()
            spent.append(data(content))
            heads.append(len(content) - spent[-1])
            with Image.open(stream) as decoded:
                found.append(np.asarray(decoded.convert("RGB")))
        quality_reached = psnrs(np.stack(found), images).mean()
        points.append((8 * np.mean(spent), quality_reached, 8 * np.mean(heads)))
    return Curve(*np.array(points).T)


def _jpeg_data(content: bytes) -> int:
    """Bytes of the entropy-coded data of a baseline JPEG file."""
    at = 2
    while content[at + 1] != 0xDA:
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    start = at + 2 + int.from_bytes(content[at + 2 : at + 4])
    return len(content) - start - 2


def _webp_data(content: bytes) -> int:
    """Bytes of the two partitions of a lossy WebP file."""
    assert content[12:16] == b"VP8 ", "Pillow writes the simple form where nothing else is asked"
    return int.from_bytes(content[16:20], "little") - _WEBP_FRAME
