"""What must not happen while a CUDA graph is recorded."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Garbage is collected before, and none inside.

    There may be an earlier run's graph among it, and to give that back while another one is
    recorded spoils the recording.
    """
    gc.collect()
    usual = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if usual:
            gc.enable()
