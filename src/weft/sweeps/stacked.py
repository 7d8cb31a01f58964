"""Trains the points of a sweep as one stack, in this process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from weft import families
from weft.config.load import load
from weft.engine.checkpoint import Store
from weft.errors import Interrupted
from weft.run.directory import RunDirectory, aside, never_begun
from weft.run.registry import open_run
from weft.run.together import Ending, start_together
from weft.sweeps.grid import Point
from weft.sweeps.pool import Outcome


def run_stacked(
    points: Sequence[Point], on_done: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Trains all points as one stack, and returns how each ended in the order of `points`.

    Points that have saved a step are resumed as a first stack; the others form a second one.

    Args:
        points: the settings, each with its own `run.dir`.
        on_done: called for each point when all of its stack have ended.

    Raises:
        UsageError: if they cannot be stacked.
    """
    asked = {point.name: load(point.overrides, families, {}) for point in points}
    places = {name: Path(str(each.config.run.dir)) for name, each in asked.items()}
    for place in places.values():
        if place.exists() and not (place / "status.json").is_file() and not never_begun(place):
            # Its status is missing: whatever it holds is moved aside, not deleted.
            place.replace(aside(place))
    begun = [
        point for point in points if Store(RunDirectory(places[point.name]).checkpoints).steps()
    ]
    fresh = [point for point in points if point not in begun]
    ended: dict[str, Outcome] = {}
    for stack in filter(None, (begun, fresh)):
        began = time.monotonic()
        endings = start_together([asked[point.name] for point in stack])
        share = (time.monotonic() - began) / len(stack)
        for point, ending in zip(stack, endings, strict=True):
            ended[point.name] = outcome = _outcome(point, ending, share)
            if on_done is not None:
                on_done(outcome)
        if by := next((each.by for each in ended.values() if each.state == "stopped"), ""):
            return [ended.get(p.name) or Outcome(p, "stopped", by=by) for p in points]
    return [ended[point.name] for point in points]


def _outcome(point: Point, ending: Ending, seconds: float) -> Outcome:
    error = ending.error
    if isinstance(error, Interrupted):
        return Outcome(point, "stopped", seconds=seconds, by=error.signal_name)
    if ending.trained is None:
        return Outcome(point, "failed", error=str(error), seconds=seconds)
    metrics = open_run(ending.trained.directory.path).metrics
    return Outcome(point, "done", metrics, seconds=seconds)
