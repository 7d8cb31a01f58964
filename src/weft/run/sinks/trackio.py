"""Scalars to Trackio, which stores them on this machine; what it prints is discarded."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from weft.config.sections import TrackioConfig
from weft.errors import MissingExtra
from weft.run.directory import RunDirectory


class Trackio:
    """Logs rows to a Trackio run with the run's name; resuming goes on with it.

    Args:
        directory: the run.
        config: project.
        values: the run's config, shown by Trackio.

    Raises:
        MissingExtra: if trackio is not installed.
    """

    def __init__(
        self, directory: RunDirectory, config: TrackioConfig, values: Mapping[str, Any]
    ) -> None:
        try:
            import trackio
        except ImportError as error:
            raise MissingExtra("trackio", "trackio", "log.trackio.project") from error
        self.trackio = trackio
        with redirect_stdout(StringIO()):
            self.run = trackio.init(
                project=str(config.project),
                name=directory.path.name,
                config=dict(values),
                resume="allow",
            )

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the row."""
        self.run.log(dict(values), step=step)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Closes the Trackio run."""
        with redirect_stdout(StringIO()):
            self.run.finish()
            # Otherwise it finishes its newest run again, and says so, when the process ends.
            if self.trackio.context_vars.current_run.get() is self.run:
                self.trackio.context_vars.current_run.set(None)
