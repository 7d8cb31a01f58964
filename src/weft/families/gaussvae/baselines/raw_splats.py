"""A code without a model: numbers of fitted splats, rounded, and coded by a table per column."""

# M pictures, N splats, h x w pixels

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.families.gaussvae.codec.container import HEADER_BYTES
from weft.families.gaussvae.codec.entropy import FINE, Tables
from weft.families.gaussvae.score.bd_rate import Curve
from weft.families.gaussvae.score.rate import as_bytes, channels_last, psnrs
from weft.families.gaussvae.splats.fit import fit
from weft.families.gaussvae.splats.rasterise import render

LADDER = ((1, 6), (4, 6), (9, 6), (16, 6), (16, 8), (16, 12), (16, 16), (36, 6), (36, 8))
"""Points of the curve: (splats, bits of a number)."""
_CODED = 10
"""Leading bits of a number that its table codes; lower bits are noise, and written as they are."""
_STEP = 2
"""Fine bins between two neighbours."""


def raw_splats(
    train: Tensor,
    images: Tensor,
    ladder: Sequence[tuple[int, int]] = LADDER,
    steps: int = 120,
) -> Curve:
    """The rate-distortion curve of splat sets of several sizes and precisions.

    Args:
        train: pictures whose splats give ranges and tables, uint8 (M, 3, h, w).
        images: the pictures to code.
        ladder: points of the curve: (splats, bits of a number), 4 bits or more.
        steps: of the fit.

    Raises:
        MissingExtra: if the entropy coder is not installed.
    """
    size = (int(images.shape[-2]), int(images.shape[-1]))
    fits: dict[int, tuple[Tensor, Tensor]] = {}
    points = []
    for splats, bits in ladder:
        if splats not in fits:
            first, second = (fit(part, splats, steps=steps).splats for part in (train, images))
            fits[splats] = first, second
        known, wanted = fits[splats]
        spent, rounded = written(known, wanted, bits)
        found = torch.cat([render(part, *size) for part in rounded.split(64)])
        quality = psnrs(as_bytes(found), channels_last(images)).mean()
        points.append((8 * np.mean(spent), quality, 8.0 * HEADER_BYTES))
    return Curve(*np.array(points).T)


def written(known: Tensor, splats: Tensor, bits: int) -> tuple[list[int], Tensor]:
    """The number of bytes of each set of splats, and the splats after decoding, (M, N, 8).

    Args:
        known: sets that give each column its range and table, (M', N, 8).
        splats: the sets to code, (M, N, 8).
        bits: of a number.
    """
    wide = known.double()
    low, high = wide.amin((0, 1)), wide.amax((0, 1))
    width = (high - low).clamp(min=1e-12) / (2**bits - 1)
    below = max(0, bits - _CODED)
    middle = 2 ** (bits - below) // 2

    def levels(values: Tensor) -> NDArray[np.int64]:
        found = ((values.double() - low) / width).round().clamp(0, 2**bits - 1)
        return found.long().numpy()

    def leading(values: Tensor) -> NDArray[np.float64]:
        return ((levels(values) >> below) - middle) * (_STEP / FINE)

    tables = Tables.of(leading(known).reshape(-1, 8))
    symbols = tables.quantised(leading(splats), _STEP)
    # The bits below the table's: of 8 numbers so many make as many bytes.
    spent = [len(tables.encode(rows, _STEP)) + len(rows) * below for rows in symbols]
    read = ((symbols + middle) << below) + (levels(splats) & (2**below - 1))
    return spent, (low + torch.from_numpy(read) * width).float()
