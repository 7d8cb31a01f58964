"""Keeps arrays in the cache, so that text is tokenised and merges are learnt once a machine."""

from __future__ import annotations

import hashlib
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weft.atomic import atomic_writer
from weft.data import fetch

Arrays = Mapping[str, NDArray[Any]]


def checksum(*parts: str | int) -> str:
    """SHA-256 of `parts` in this order, hexadecimal."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def cached(kind: str, key: str, make: Callable[[], Arrays]) -> Arrays:
    """The arrays kept under `key`, or those of `make()`, which are then kept there.

    Args:
        kind: folder of the cache, such as `tokens`.
        key: checksum of everything the arrays depend on.
        make: makes the arrays.
    """
    path = fetch.cache_folder() / kind / f"{key[:32]}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            return dict(kept)
    # Whatever is wrong with what was kept (zip members carry checksums), making it anew mends it.
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
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
