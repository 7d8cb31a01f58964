"""Cuts pictures of any size into tiles of one size, with mirrored edges, and joins them again."""

# H, W picture; R, C rows and columns of tiles; h, w tile

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def cut(picture: Bytes, tile: tuple[int, int]) -> Bytes:
    """Tiles (R C, h, w, 3) of a picture (H, W, 3), row by row.

    The last row and column are completed by reflection, edge pixels included, repeatedly if needed.
    """
    (height, width), (tall, wide) = picture.shape[:2], tile
    whole = np.pad(picture, ((0, -height % tall), (0, -width % wide), (0, 0)), mode="symmetric")
    rows, columns = whole.shape[0] // tall, whole.shape[1] // wide
    parts = whole.reshape(rows, tall, columns, wide, -1).swapaxes(1, 2)
    return np.ascontiguousarray(parts.reshape(rows * columns, tall, wide, -1))


def join(tiles: Bytes, grid: tuple[int, int], size: tuple[int, int]) -> Bytes:
    """The picture (H, W, 3) of tiles (R C, h, w, 3), without the pixels beyond its edges."""
    _, tall, wide, channels = tiles.shape
    rows, columns = grid
    parts = tiles.reshape(rows, columns, tall, wide, channels).swapaxes(1, 2)
    whole = parts.reshape(rows * tall, columns * wide, channels)
    return np.ascontiguousarray(whole[: size[0], : size[1]])
