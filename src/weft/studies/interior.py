"""A grid of learning rates that grows until its best rate has a worse one on either side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def best(judged: Mapping[str, float]) -> str:
    """The rate with the lowest loss; NaN is never the best."""
    return min(judged, key=lambda rate: judged[rate] if math.isfinite(judged[rate]) else math.inf)


def beyond(judged: Mapping[str, float], given: Sequence[str], most: int) -> str | None:
    """The next rate to try, beyond the end of the grid that is best; None if there is none.

    Args:
        judged: rate -> loss, for all rates tried so far.
        given: the rates the search began with; the grid grows by the ratio of the two lowest, or by
            3 if there is only one.
        most: how often the grid may grow at either end.
    """
    tried, first = sorted(judged, key=float), sorted(given, key=float)
    step = float(first[1]) / float(first[0]) if len(first) > 1 else 3.0
    found = best(judged)
    if not math.isfinite(judged[found]):
        # No rate trained without NaN: a lower one may.
        found = tried[0]
    value = float(found)
    ends = ((tried[-1], step, float(first[-1])), (tried[0], 1 / step, float(first[0])))
    for end, factor, start in ends:
        if found == end and abs(math.log(value * factor / start)) < (most + 0.5) * math.log(step):
            return f"{value * factor:.3g}"
    return None
