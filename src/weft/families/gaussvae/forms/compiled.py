"""Numba's compiler as the kernels use it: without its threads, and with a cache that is safe."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import config

from weft.data.cache import cache_folder

_CONFIG: Any = config
"""Numba fills this module when it is imported."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when it is first called, or taken from an earlier process's cache.

    It runs without the interpreter's lock, divides as IEEE says, and contracts no products. Its
    machine code is kept under NUMBA_CACHE_DIR or weft's cache, in a folder named by the sources of
    this room: numba looks only at a function's own file, not at those it was put together from.
    """
    folder, before = _folder(), _CONFIG.CACHE_DIR
    _CONFIG.CACHE_DIR = folder
    try:
        compiler = numba.njit(nogil=True, error_model="numpy", cache=bool(folder))
        made: Callable[..., Any] = compiler(function)
    finally:
        _CONFIG.CACHE_DIR = before
    return made


@cache
def _folder() -> str:
    """Where machine code is kept, or "" where there is no folder of our own to write to.

    What lies there is run: a folder that others may write to will not do.
    """
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    base = _CONFIG.CACHE_DIR or cache_folder() / "compiled"
    folder = Path(base) / sources.hexdigest()[:16]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = folder.stat()
    except OSError:
        return ""
    foreign = hasattr(os, "getuid") and (seen.st_uid != os.getuid() or seen.st_mode & 0o022)
    return "" if foreign or not os.access(folder, os.W_OK) else str(folder)
