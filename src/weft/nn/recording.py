"""Keeps the garbage collector from running while a CUDA graph is recorded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Collects garbage first, and none within the block.

    An earlier run's graph may be among the garbage, and freeing it during a recording breaks the
    recording.
    """
    gc.collect()
    usual = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if usual:
            gc.enable()
