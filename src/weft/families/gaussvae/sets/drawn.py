"""Small landscapes drawn by code, with splats fitted to them beforehand or at first use."""

# M pictures, S x S pixels, N splats

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weft.data.cache import cached, checksum
from weft.data.npz import open_npz
from weft.data.remarks import remark
from weft.families.gaussvae.splats.anchored import Anchored, grid
from weft.families.gaussvae.splats.packed import Packed

SHIPPED, COUNT = 64, 400
"""Splats whose fits are shipped, and pictures of them."""
_STEPS = 150
"""Of a fit."""
_FINE = 2
"""Samples of a pixel's side: edges are smooth."""
_FILE = Path(__file__).with_name("drawn.npz")
_SEED = 20261126

Picture = NDArray[np.float64]


def side_of(splats: int) -> int:
    """S: pixels of a side of the pictures that `splats` splats are fitted to."""
    return 32 if splats <= SHIPPED else 64


def pictures(count: int = COUNT, side: int = 32) -> NDArray[np.uint8]:
    """The first `count` pictures, uint8 (M, 3, S, S): sky, sun, hills, and one to three trees.

    Each is a function of its own number alone.
    """
    draws = (np.random.default_rng([_SEED, number]) for number in range(count))
    return np.stack([_picture(draw, side) for draw in draws])


@lru_cache(maxsize=2)
def drawn(splats: int = SHIPPED, count: int = COUNT) -> Packed:
    """The first `count` pictures and the splats of their fits.

    Those of `SHIPPED` splats are shipped, others fitted at first use and kept in the cache.

    Args:
        splats: N.
        count: M, at most `COUNT`.
    Raises:
        DataError: the shipped file is missing or damaged.
    """
    side = side_of(splats)
    images = pictures(count, side)
    if splats == SHIPPED:
        with open_npz(_FILE, "the splats of weft's own pictures") as file:
            fitted = file.array("splats")[:count].astype(np.float32)
    else:
        key = checksum(_SEED, repr(Anchored(splats, _STEPS)), side, count)
        fitted = cached("splats", key, lambda: {"splats": fit_all(images, splats)})["splats"]
    names = tuple(f"drawn {number:03d}" for number in range(count))
    cells = grid(splats, side, side)
    return Packed(fitted, names, ((side, side),) * count, cells=cells, images=images)


def fit_all(images: NDArray[np.uint8], splats: int) -> NDArray[np.float32]:
    """Splats (M, N, 8) of pictures, anchored to a grid."""
    import torch

    from weft.families.gaussvae.splats.fit import fit

    remark(f"fitting {splats} splats to each of {len(images)} pictures, once; kept in the cache")
    found = fit(torch.from_numpy(images), splats, mode="grid", steps=_STEPS).splats
    return found.numpy()


def _picture(draw: np.random.Generator, pixels: int) -> NDArray[np.uint8]:
    side = pixels * _FINE
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
    small = canvas.reshape(3, pixels, _FINE, pixels, _FINE).mean((2, 4))
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
