"""Searches the smallest number of splats for a PSNR, or the largest for a number of bits."""

# N splats, H x W pixels

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae.splats.fit import Fitted, How, begin, judged
from weft.families.gaussvae.splats.quantise import Bits, bits_of
from weft.families.gaussvae.splats.result import Result, results_of

_STRETCH = 1.25
"""Largest ratio of a cell's longer side to its shorter one."""

_FIRST_PIXELS = 32
"""A search begins with about this many pixels per splat."""


def ladder(height: int, width: int) -> list[int]:
    """The numbers of splats to try: those of grids with nearly square cells.

    Each is larger than the one before by a sixteenth, or by the next possible number. The last one
    has as many numbers as the picture.
    """
    most = 3 * height * width // 8
    counts: set[int] = set()
    rows = 1
    while True:
        square = rows * width / height
        fewest = max(1, math.ceil(square / _STRETCH))
        if counts and rows * fewest > most:
            break
        columns = range(fewest, math.floor(square * _STRETCH) + 1)
        counts.update(rows * n for n in columns if rows * n <= most or not counts)
        rows += 1
    rungs: list[int] = []
    for count in sorted(counts):
        if not rungs or 16 * count >= 17 * rungs[-1]:
            rungs.append(count)
    return rungs


def affordable(height: int, width: int, most: int, bits: Bits) -> int:
    """The largest number of splats with at most `most` bits in all.

    Raises:
        UsageError: if not even one splat is possible.
    """
    within = [count for count in ladder(height, width) if bits_of(count, bits) <= most]
    if not within:
        raise UsageError(
            f"{most} bits hold no splat of {bits_of(1, bits)}",
            expected=f"at least {bits_of(1, bits)}, or fewer bits a number",
        )
    return within[-1]


@dataclass
class _Search:
    """The search of one picture: rungs below `low` did not reach the PSNR, `high` did."""

    next: int
    low: int = -1
    high: int | None = None
    best: Result | None = None
    seconds: float = 0.0


def smallest(
    images: Tensor, wanted: float, how: How, told: Callable[[float], object]
) -> list[Result]:
    """For each picture the fit with the smallest number of splats that has the wanted PSNR.

    PSNR is assumed to rise with N: the search doubles N until the PSNR is reached, and then
    bisects. If no number reaches it, the result is the fit with the largest.

    Args:
        images: (M, 3, H, W) in [0, 1], of one size.
        wanted: PSNR in decibels.
        how: settings of each fit; their number of splats is not used.
        told: called after each round with the number of finished pictures.
    """
    rungs = ladder(*images.shape[-2:])
    first = next(
        (i for i, n in enumerate(rungs) if n * _FIRST_PIXELS >= images[0, 0].numel()),
        len(rungs) - 1,
    )
    searches = [_Search(first) for _ in images]
    while open_ := [i for i, one in enumerate(searches) if one.next >= 0]:
        rounds = defaultdict(list)
        for index in open_:
            rounds[searches[index].next].append(index)
        for rung, members in rounds.items():
            found = _fits(images[members], replace(how, splats=rungs[rung]))
            for index, result in zip(members, found, strict=True):
                _note(searches[index], rung, result, wanted, rungs)
        told(sum(one.next < 0 for one in searches))
    return [replace(one.best, seconds=one.seconds) for one in searches if one.best is not None]


def _note(search: _Search, rung: int, result: Result, wanted: float, rungs: Sequence[int]) -> None:
    """Updates a search by the result of a rung; the next rung is -1 when the search has ended."""
    search.seconds += result.seconds
    if result.psnr >= wanted:
        search.high, search.best = rung, result
    else:
        search.low = rung
        if search.high is None:
            search.best = result
    if search.high is None:
        last = len(rungs) - 1
        above = next((i for i, n in enumerate(rungs) if n >= 2 * rungs[rung]), last)
        search.next = above if rung < last else -1
    else:
        middle = (search.low + search.high) // 2
        search.next = middle if middle > search.low else -1


def _fits(images: Tensor, how: How) -> list[Result]:
    began = time.perf_counter()
    under_way = begin(images, how)
    while under_way.left:
        under_way.advance(under_way.left)
    found: Fitted = judged(under_way, images)
    return results_of(found, time.perf_counter() - began)
