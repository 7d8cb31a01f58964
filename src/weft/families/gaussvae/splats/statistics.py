"""Means and standard deviations of splats, by column, or by column and number of the splat."""

# M pictures, N splats each

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.atomic import atomic_writer
from weft.data.guard import unreadable
from weft.data.npz import open_npz

_EXPECTED = "normalization_stats.npz: `mean` and `std`, (8,) or (N, 8), and a text `layout`"
_PART = 1024
_LEAST = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Means and standard deviations of splats' numbers.

    Attributes:
        mean, std: float32 (8,), or (N, 8); `std` is never below 1e-6.
        layout: of the columns.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    layout: str


def statistics(splats: NDArray[Any], layout: str, *, per_index: bool = False) -> Statistics:
    """Statistics over all splats of all pictures, or for each index of a splat over all pictures.

    Args:
        splats: (M, N, 8), may be memory-mapped; it is read in parts.
        layout: of the columns.
        per_index: whether each of the N indices has its own.
    """
    axes = (0,) if per_index else (0, 1)
    count = len(splats) if per_index else len(splats) * splats.shape[1]
    # In two passes, as small deviations would be lost in squares of large numbers.
    mean = sum(part.sum(axes) for part in _parts(splats)) / count
    square = sum(np.square(part - mean).sum(axes) for part in _parts(splats)) / count
    std = np.maximum(np.sqrt(square), _LEAST)
    return Statistics(mean.astype(np.float32), std.astype(np.float32), layout)


def write_statistics(path: Path, found: Statistics) -> None:
    """Writes statistics as an npz file with `mean`, `std` and `layout`."""
    with atomic_writer(path) as stream:
        np.savez(stream, allow_pickle=False, mean=found.mean, std=found.std, layout=found.layout)


def read_statistics(path: Path) -> Statistics:
    """Reads a file of `write_statistics`.

    Raises:
        DataError: if it is something else, or damaged.
    """
    with open_npz(path, _EXPECTED) as archive:
        mean, std = (archive.array(name, "f").astype(np.float32) for name in ("mean", "std"))
        layout = str(archive.array("layout", "U"))
    whole = np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()
    if mean.shape != std.shape or mean.shape[-1:] != (8,) or not whole:
        raise unreadable(path, _EXPECTED, f"`mean` {mean.shape}, `std` {std.shape}")
    return Statistics(mean, std, layout)


def _parts(splats: NDArray[Any]) -> Any:
    return (
        splats[first : first + _PART].astype(np.float64) for first in range(0, len(splats), _PART)
    )
