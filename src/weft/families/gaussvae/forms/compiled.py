"""Numba's compiler for the kernels: without numba's threads, and with a safe cache."""

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
    """The function, compiled at its first call or loaded from the cache of an earlier process.

    It runs without the interpreter's lock, divides by IEEE rules, and contracts no products. Its
    machine code is stored under NUMBA_CACHE_DIR or weft's cache, in a folder named by a checksum of
    this package's sources, because numba itself only checks a function's own file, not the files it
    imports from.
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
    """The folder for machine code; "" if there is no writable folder that belongs to the user.

    Its content is executed, so that a folder that others can write to is not used.
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
