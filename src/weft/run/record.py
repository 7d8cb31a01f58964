"""Writes a run's numbers and state as it trains: metrics.jsonl, status.json, log.txt, sinks."""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from weft.atomic import replacing, write_text
from weft.config.place import told
from weft.run.directory import RunDirectory, now
from weft.run.files import read_rows
from weft.system import writing

if TYPE_CHECKING:
    from torch import Tensor
    from torch.profiler import profile

    from weft.engine.loop import Progress

HEARTBEAT = 2.0
"""Least seconds between two updates of status.json."""


class Sink(Protocol):
    """Receives a run's scalars beside its own files."""

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """A row was recorded."""

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """The run stopped in `state`."""


@runtime_checkable
class WeightSink(Sink, Protocol):
    """A sink that receives the weights, too, as often as `log.histograms` says."""

    def on_weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """The weights by name."""


@runtime_checkable
class StoppingSink(Sink, Protocol):
    """A sink that can end the run."""

    def enough(self) -> bool:
        """Whether the run should end; asked after every evaluation."""


class Display(Protocol):
    """Shows the run's progress to the user."""

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """A row was recorded."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""

    def close(self) -> None:
        """The run stopped."""


class RunRecorder:
    """The loop's recorder for a run directory.

    Args:
        directory: where to write.
        identity: fields of status.json that do not change: family, name, recipe, total_steps.
        progress: the run's progress, read whenever the status is written.
        display: shows rows and notes as they come.
        heartbeat: least seconds between two updates of status.json.
    """

    def __init__(
        self,
        directory: RunDirectory,
        identity: Mapping[str, Any],
        progress: Progress,
        display: Display,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.directory, self.identity, self.progress = directory, identity, progress
        self.display, self.heartbeat = display, heartbeat
        self.sinks: list[Sink] = []
        self._cut(directory.metrics, progress.step)
        self._file = directory.metrics.open("a", encoding="utf-8")
        self._last_beat = 0.0

    def row(self, step: int, epoch: float, seconds: float, values: Mapping[str, float]) -> None:
        """Appends a row to metrics.jsonl and passes it to every sink."""
        row = {"step": step, "epoch": round(epoch, 6), "seconds": round(seconds, 3), **values}
        with writing(self.directory.metrics):
            self._file.write(json.dumps({k: _finite(v) for k, v in row.items()}) + "\n")
            self._file.flush()
        self.each_sink(lambda sink: sink.on_row(step, values))
        self.display.row(step, values)
        self.alive(step)

    def weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Passes the weights to the sinks that take them."""

        def tell(sink: Sink) -> None:
            if isinstance(sink, WeightSink):
                sink.on_weights(step, weights)

        self.each_sink(tell)

    def alive(self, step: int) -> None:
        """Updates status.json if the last update is more than `heartbeat` seconds old."""
        if time.monotonic() - self._last_beat > self.heartbeat:
            self.status("running")

    def profile(self, profiled: profile, table: str) -> None:
        """Writes a profile as profile.json, and its table as profile.txt."""
        with replacing(self.directory.path / "profile.json") as temporary:
            profiled.export_chrome_trace(str(temporary))
        write_text(self.directory.path / "profile.txt", table)
        self.note("steps were profiled: profile.txt, and profile.json for Chrome or Perfetto")

    def settle(self) -> None:
        """Flushes all rows so far to the disk."""
        os.fsync(self._file.fileno())

    def saved(self) -> None:
        """Records the saved step in status.json, so that missing checkpoints are noticed later."""
        self.status("running")

    def enough(self) -> bool:
        """Whether one of the sinks wants the run to end."""
        answers: list[bool] = []

        def ask(sink: Sink) -> None:
            if isinstance(sink, StoppingSink):
                answers.append(sink.enough())

        self.each_sink(ask)
        return any(answers)

    def status(self, state: str, message: str = "") -> None:
        """Writes status.json."""
        self._last_beat = time.monotonic()
        progress = self.progress
        best = None
        if progress.best_step is not None:
            best = {"step": progress.best_step, "value": _finite(progress.best_value)}
        self.directory.write_json(
            "status",
            {
                "state": state,
                **self.identity,
                "step": progress.step,
                "updated": now(),
                "seconds": round(progress.seconds, 3),
                "metrics": {k: _finite(v) for k, v in progress.metrics.items()},
                "best": best,
                "saved": progress.saved_step,
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "message": message,
            },
        )

    def note(self, text: str) -> None:
        """Writes a line to log.txt and shows it."""
        self.directory.note(text)
        self.display.say(text)

    def each_sink(self, action: Callable[[Sink], None]) -> None:
        """Calls every sink; one that fails is dropped with a note, and the run goes on."""
        for sink in tuple(self.sinks):
            try:
                action(sink)
            except Exception as error:
                self.sinks.remove(sink)
                self.note(
                    f"warning: {type(sink).__name__} failed and is off from now on: {told(error)}"
                )

    def close(self, state: str, message: str = "") -> None:
        """Writes the last status and closes everything, the display and the file in any case."""
        try:
            self.status(state, message)
            self.directory.note(f"{state} at step {self.progress.step} {message}".rstrip())
            self.each_sink(lambda sink: sink.on_end(self.directory, state))
        finally:
            self.display.close()
            with writing(self.directory.metrics):
                self._file.close()

    @staticmethod
    def _cut(path: Path, step: int) -> None:
        """Drops rows after `step`, which belong to steps that will be repeated."""
        if not path.exists():
            return
        kept = [row for row in read_rows(path) if row["step"] <= step]
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def _finite(value: Any) -> Any:
    """`value`, or None for NaN and infinity, which JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
