"""A grid of learning rates that grows until the best of them has a worse one on either side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def best(judged: Mapping[str, float]) -> str:
    """The rate of the lowest loss; what is no number is never the best, wherever it stands."""
    return min(judged, key=lambda rate: judged[rate] if math.isfinite(judged[rate]) else math.inf)


def beyond(judged: Mapping[str, float], given: Sequence[str], most: int) -> str | None:
    """The next rate to try: outside the end at which the best one stands, or None.

    Args:
        judged: rate -> loss, of all that were tried.
        given: the rates the search began with; the grid keeps the step between the two lowest,
            or 3 with one alone.
        most: how often it may grow at either end.
    """
    tried, first = sorted(judged, key=float), sorted(given, key=float)
    step = float(first[1]) / float(first[0]) if len(first) > 1 else 3.0
    found = best(judged)
    if not math.isfinite(judged[found]):
        # None of them trains: a lower one may.
        found = tried[0]
    value = float(found)
    ends = ((tried[-1], step, float(first[-1])), (tried[0], 1 / step, float(first[0])))
    for end, factor, start in ends:
        if found == end and abs(math.log(value * factor / start)) < (most + 0.5) * math.log(step):
            return f"{value * factor:.3g}"
    return None
