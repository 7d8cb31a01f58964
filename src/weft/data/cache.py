"""The cache folder, and arrays stored in it, so that slow work is done once a machine."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.atomic import atomic_writer
from weft.data.npz import open_npz
from weft.errors import DataError

Arrays = Mapping[str, NDArray[Any]]


def cache_folder() -> Path:
    """The folder for downloads and cached arrays: $WEFT_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("WEFT_CACHE"):
        return Path(chosen).expanduser()
    if os.path.expanduser("~") == "~":
        # Neither $HOME nor the user database names a home folder.
        return Path(tempfile.gettempdir()) / "weft-cache"
    import pooch

    return Path(pooch.os_cache("weft"))


def checksum(*parts: str | int) -> str:
    """SHA-256 of `parts` in this order, hexadecimal."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def cached(kind: str, name: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays cached as `name`; if there are none, those of `make()`, which are then cached.

    Args:
        kind: subfolder of the cache, such as `tokens`.
        name: of the file, without its suffix; it must change whenever the arrays would.
        make: computes the arrays.
    """
    path = cache_folder() / kind / f"{name}.npz"
    try:
        with open_npz(path) as kept:
            return kept.arrays("biufU")
    # A missing or damaged file (zip members carry checksums) is made again.
    except DataError:
        arrays = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writer(path) as stream:
            np.savez(stream, allow_pickle=False, **arrays)
    except OSError as error:
        warnings.warn(
            f"{kind} could not be kept ({error}); the next run makes them again, "
            "unless $WEFT_CACHE names a folder with space",
            stacklevel=2,
        )
    return arrays
