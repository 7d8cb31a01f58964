"""The curve of one scalar, from the rows of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def curve_of(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    """(step, value) of a scalar, by step; rows that lack it, or have None for NaN, are left out.

    Args:
        history: rows with `step`; of two rows of one step the later one counts.
        key: name of the scalar, such as `val/loss`.
    """
    found = {int(row["step"]): float(row[key]) for row in history if row.get(key) is not None}
    return sorted(found.items())
