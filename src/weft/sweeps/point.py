"""Trains one point of a sweep, or goes on with it where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weft import families
from weft.config.load import load
from weft.run.directory import RunDirectory, aside, never_begun
from weft.run.recorder import Followers
from weft.run.registry import open_run

ORPHAN_SECONDS = 90.0
"""How long a point of a sweep waits for the process of a killed sweep that still has its run."""


def train_point(words: tuple[str, ...], followers: Followers | None = None) -> dict[str, Any]:
    """Trains the run of some words, of which one is `run.dir=…`, in this process.

    Args:
        words: as for `weft train`.
        followers: who follows the run; nobody by default.

    Returns:
        The metrics of the finished run; none on all processes but the first.
    """
    # Torch comes with them.
    from weft.run.resume import resume
    from weft.run.start import start

    follow = followers or Followers(show=False)
    where = Path(next(w.removeprefix("run.dir=") for w in words if w.startswith("run.dir=")))
    # A sweep that was killed leaves processes that still save their runs, or even finish them.
    RunDirectory(where).wait(ORPHAN_SECONDS)
    if (where / "status.json").is_file():
        known = open_run(where)
        if known.state == "finished":
            return known.metrics
        trained = resume(where, {}, follow)
    else:
        if where.exists() and not never_begun(where):
            # Robbed of its status: whatever it holds is kept.
            where.replace(aside(where))
        trained = start(load(words, families, {}), follow)
    return {} if trained is None else open_run(where).metrics
