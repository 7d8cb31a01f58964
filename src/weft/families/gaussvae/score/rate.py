"""Rate in bits of quantised latents, and PSNR of the pictures decoded from them."""

# M pictures, L latents, h x w pixels

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from weft.families.gaussvae.codec.container import HEADER_BYTES
from weft.families.gaussvae.codec.entropy import FINE, Tables
from weft.families.gaussvae.codec.tiles import Bytes
from weft.families.gaussvae.score.bd_rate import Curve

Floats = NDArray[np.float64]
USUAL = 4 * FINE
"""The default step of `weft compress`, in fine bins."""
Decode = Callable[[Floats], Bytes]


def ladder(
    tables: Tables, latents: Floats, decode: Decode, wanted: Bytes, steps: Sequence[int]
) -> Curve:
    """The rate-distortion curve of a code of latents; each picture is encoded separately to bytes.

    Args:
        tables: of other latents of the same code.
        latents: (M, L), in units.
        decode: latents in units to pictures (M, h, w, 3).
        wanted: the pictures.
        steps: of the quantiser, in fine bins.

    Raises:
        MissingExtra: if the entropy coder is not installed.
    """
    bits, quality = [], []
    for step in steps:
        symbols = tables.quantised(latents, step)
        bits.append(8 * np.mean([len(tables.encode(row[None], step)) for row in symbols]))
        quality.append(psnrs(decode(tables.values(symbols, step)), wanted).mean())
    return Curve(np.array(bits), np.array(quality), np.full(len(bits), 8.0 * HEADER_BYTES))


def coded(latents: Floats, decode: Decode, wanted: Bytes, step: int = USUAL) -> dict[str, float]:
    """`bits` per picture, and `psnr_coded` of the decoded pictures, without training pictures.

    The bits are those of an ideal coder. Each half of the pictures is coded with the tables of the
    other half, so that no picture is part of its own table.

    Args:
        latents: (M, L), in units; at least two.
        decode, wanted: as for `ladder`.
        step: of the quantiser, in fine bins.
    """
    halves = latents[::2], latents[1::2]
    bits, values = np.empty(len(latents)), np.empty_like(latents)
    for own, other in ((0, 1), (1, 0)):
        tables = Tables.of(halves[other])
        symbols = tables.quantised(halves[own], step)
        bits[own::2] = tables.bits(symbols, step)
        values[own::2] = tables.values(symbols, step)
    return {
        "bits": float(bits.mean()),
        "psnr_coded": float(psnrs(decode(values), wanted).mean()),
    }


def psnrs(found: Bytes, wanted: Bytes) -> Floats:
    """PSNR of each picture (M, h, w, 3) of bytes, decibels; (M,), at most 100."""
    error = np.square(found.astype(np.float32) - wanted).mean((1, 2, 3), dtype=np.float64)
    return 10 * np.log10(255**2 / np.maximum(error, 255**2 * 1e-10))


def as_bytes(images: Tensor) -> Bytes:
    """Pictures (M, 3, h, w) in [0, 1] as bytes (M, h, w, 3)."""
    return channels_last((images.clamp(0, 1) * 255).round().byte())


def channels_last(images: Tensor) -> Bytes:
    """Pictures (M, 3, h, w) as (M, h, w, 3)."""
    return images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
