"""Trains the points of a sweep as one stack, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from weft import families
from weft.config.load import load
from weft.errors import Interrupted
from weft.run.directory import aside, never_begun
from weft.run.registry import open_run
from weft.run.together import Ending, start_together
from weft.sweeps.grid import Point
from weft.sweeps.pool import Outcome


def run_stacked(
    points: Sequence[Point], on_done: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Trains every point, all of them at once, and says how each ended, in the order of `points`.

    Args:
        points: the settings, each with a `run.dir` of its own.
        on_done: called for each when all have ended.

    Raises:
        UsageError: if they cannot be stacked.
    """
    if not points:
        return []
    asked = [load(point.overrides, families, {}) for point in points]
    for place in (Path(str(each.config.run.dir)) for each in asked):
        if place.exists() and not (place / "status.json").is_file() and not never_begun(place):
            # Robbed of its status: whatever it holds is kept.
            place.replace(aside(place))
    began = time.monotonic()
    endings = start_together(asked)
    share = (time.monotonic() - began) / len(points)
    outcomes = [_outcome(*each, share) for each in zip(points, endings, strict=True)]
    for outcome in outcomes:
        if on_done is not None:
            on_done(outcome)
    return outcomes


def _outcome(point: Point, ending: Ending, seconds: float) -> Outcome:
    error = ending.error
    if isinstance(error, Interrupted):
        return Outcome(point, "stopped", seconds=seconds, by=error.signal_name)
    if ending.trained is None:
        return Outcome(point, "failed", error=str(error), seconds=seconds)
    metrics = open_run(ending.trained.directory.path).metrics
    return Outcome(point, "done", metrics, seconds=seconds)
