"""Trains one point of a sweep, or resumes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from weft import families
from weft.config.load import load
from weft.run.directory import RunDirectory, aside, never_begun
from weft.run.recorder import Followers
from weft.run.registry import open_run

ORPHAN_SECONDS = 90.0
"""Seconds that a point waits for a process of a killed sweep that still writes its run."""


def train_point(words: tuple[str, ...], followers: Followers | None = None) -> dict[str, Any]:
    """Trains or resumes a run in this process.

    Args:
        words: as for `weft train`, one of them `run.dir=…`.
        followers: who follows the run; nobody by default.

    Returns:
        The metrics of the finished run; an empty mapping on all processes but the first.
    """
    # Imported here, since they import torch.
    from weft.run.resume import resume
    from weft.run.start import start

    follow = followers or Followers(show=False)
    where = Path(next(w.removeprefix("run.dir=") for w in words if w.startswith("run.dir=")))
    # A killed sweep may leave processes that still save their runs, or even finish them.
    RunDirectory(where).wait(ORPHAN_SECONDS)
    if (where / "status.json").is_file():
        known = open_run(where)
        if known.state == "finished":
            return known.metrics
        trained = resume(where, {}, follow)
    else:
        if where.exists() and not never_begun(where):
            # Its status is missing: whatever it holds is moved aside, not deleted.
            where.replace(aside(where))
        trained = start(load(words, families, {}), follow)
    return {} if trained is None else open_run(where).metrics
