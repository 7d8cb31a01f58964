"""Divides work of compiled functions over as many threads as torch uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch

_PIECES = 2
"""Pieces of work per thread, so that others can take over the work of a delayed thread."""


def share(work: Callable[[int, int], object], count: int) -> None:
    """Calls work(first, last) over parts of 0 .. count, on `torch.get_num_threads()` threads.

    Numba's own threads are not used: they may not be forked (OpenMP), or not called concurrently
    (its work queue). The caller's thread takes part. The result must not depend on the division.
    """
    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        work(0, count)
        return
    pieces = min(count, _PIECES * threads)
    edges = [count * piece // pieces for piece in range(pieces + 1)]
    todo = iter(list(pairwise(edges)))

    def go_on() -> None:
        for first, last in todo:
            work(first, last)

    others = [_pool(threads - 1).submit(go_on) for _ in range(threads - 1)]
    try:
        go_on()
    finally:
        for other in others:
            other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="splats")


# A forked process inherits the pool's queue, but none of its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
