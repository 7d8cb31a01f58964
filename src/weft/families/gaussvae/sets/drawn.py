"""The demo's pictures: small landscapes drawn by code, with splats fitted to them beforehand."""

# M pictures, 32 x 32 pixels, N splats

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.data.npz import open_npz
from weft.families.gaussvae.splats.packed import Packed

SIDE, CELLS, COUNT = 32, 8, 400
"""Pixels of a side, cells of a side, pictures."""
_FINE = 2
"""Samples of a pixel's side: edges are smooth."""
_FILE = Path(__file__).with_name("drawn.npz")
_SEED = 20261126

Picture = NDArray[np.float64]


def pictures(count: int = COUNT) -> NDArray[np.uint8]:
    """The first `count` pictures, uint8 (M, 3, 32, 32): sky, sun, hills, and one to three trees.

    Each is a function of its own number alone.
    """
    return np.stack([_picture(np.random.default_rng([_SEED, number])) for number in range(count)])


@lru_cache(maxsize=1)
def drawn() -> Packed:
    """The pictures, drawn once a process, and the splats of their fits as they are shipped.

    Raises:
        DataError: the file is missing or damaged.
    """
    with open_npz(_FILE, "the splats of weft's own pictures") as file:
        splats = file.array("splats").astype(np.float32)
    images = pictures(len(splats))
    names = tuple(f"drawn {number:03d}" for number in range(len(splats)))
    size = (SIDE, SIDE)
    return Packed(splats, names, (size,) * len(splats), cells=(CELLS, CELLS), images=images)


def _picture(draw: np.random.Generator) -> NDArray[np.uint8]:
    side = SIDE * _FINE
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    horizon = draw.uniform(0.45, 0.7)
    sky = _blend(_colour(draw, 0.35, 0.9), _colour(draw, 0.6, 1.0), y / horizon)
    sun = np.hypot(x - draw.uniform(0.1, 0.9), y - draw.uniform(0.1, horizon - 0.1))
    canvas = _over(sky, _colour(draw, 0.8, 1.0), sun < draw.uniform(0.06, 0.14))
    for depth in range(2):
        waves = draw.uniform(0.03, 0.09) * np.sin(draw.uniform(3, 9) * x + draw.uniform(0, 6.3))
        hill = y > horizon + 0.13 * depth + waves
        canvas = _over(canvas, _colour(draw, 0.15, 0.65), hill)
    for _ in range(draw.integers(1, 4)):
        canvas = _tree(canvas, draw, x, y, horizon)
    small = canvas.reshape(3, SIDE, _FINE, SIDE, _FINE).mean((2, 4))
    return np.clip(np.rint(255 * small), 0, 255).astype(np.uint8)


def _tree(
    canvas: Picture, draw: np.random.Generator, x: Picture, y: Picture, horizon: float
) -> Picture:
    """A trunk, and a crown that is round or pointed."""
    place, foot = draw.uniform(0.08, 0.92), draw.uniform(horizon + 0.05, 0.95)
    height = draw.uniform(0.2, 0.45)
    top, width = foot - height, draw.uniform(0.08, 0.16)
    trunk = (np.abs(x - place) < 0.15 * width) & (y < foot) & (y > top)
    canvas = _over(canvas, _colour(draw, 0.1, 0.35), trunk)
    if draw.random() < 0.5:
        crown = np.hypot((x - place) / width, (y - top) / (0.4 * height)) < 1
    else:
        below = (y - (top - 0.1)) / (0.75 * height)
        crown = (np.abs(x - place) < width * below) & (below < 1)
    return _over(canvas, _colour(draw, 0.05, 0.75), crown)


def _colour(draw: np.random.Generator, low: float, high: float) -> Picture:
    return draw.uniform(low, high, 3)[:, None, None]


def _blend(first: Picture, second: Picture, share: Picture) -> Picture:
    share = np.clip(share, 0, 1)
    return (1 - share) * first + share * second


def _over(canvas: Picture, colour: Picture, where: NDArray[np.bool_]) -> Picture:
    return np.where(where, colour, canvas)
