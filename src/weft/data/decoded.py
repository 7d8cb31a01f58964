"""Keeps decoded arrays in the cache, so that slow formats are decoded once a machine."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from weft.atomic import atomic_writer
from weft.data.formats import Arrays


def decoded(path: Path, decode: Callable[[], Arrays]) -> Arrays:
    """The arrays kept at `path`, or those of `decode()`, which are then kept there.

    Args:
        path: an npz file; its name must change whenever what `decode` returns does.
        decode: makes the arrays.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            return kept["images"], kept["labels"]
    # Whatever is wrong with what was kept (zip members carry checksums), decoding mends it.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        arrays = decode()
    try:
        _keep(path, arrays)
    except OSError as error:
        warnings.warn(
            f"decoded images could not be kept ({error}); the next run decodes them again, "
            "unless $WEFT_CACHE names a folder with space",
            stacklevel=2,
        )
    return arrays


def _keep(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path) as stream:
        np.savez(stream, images=arrays[0], labels=arrays[1])
