"""Sets up what follows a run: its record, its checkpoints, its display and its sinks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from weft.config.cadence import cadence_in_steps
from weft.config.place import told
from weft.engine.checkpoint import Store
from weft.engine.loop import Progress
from weft.engine.parts import Parts
from weft.errors import WeftError
from weft.run.directory import RunDirectory, now
from weft.run.display import Silent, display
from weft.run.files import read_record
from weft.run.record import HEARTBEAT, Display, RunRecorder, Sink

SinkMaker = Callable[[RunDirectory], Sink]


@dataclass(frozen=True)
class Followers:
    """What receives a run's progress beside its own files.

    Attributes:
        show: whether progress goes to standard error.
        sinks: makers of further sinks for the scalars.
    """

    show: bool = True
    sinks: Sequence[SinkMaker] = ()


def store_of(parts: Parts, directory: RunDirectory, warn: Callable[[str], None]) -> Store:
    """The run's checkpoints, kept as its config says."""
    section = parts.config.checkpoint
    forever = section.keep_every and cadence_in_steps(
        section.keep_every, parts.spec.batches_per_epoch
    )
    return Store(directory.checkpoints, section.keep, forever or None, warn)


def recorder_of(
    parts: Parts,
    directory: RunDirectory,
    recipe: str,
    progress: Progress,
    followers: Followers,
    heartbeat: float = HEARTBEAT,
) -> RunRecorder:
    """The run's recorder, with its status written and its sinks open.

    If a sink cannot be opened, a note says so and the run goes on without it.
    """
    total = parts.plan.total_steps
    shown: Display = Silent()
    if followers.show:
        shown = display(progress.step, total, f"{parts.config.family}/{directory.path.name}")
    status = directory.path / "status.json"
    started = read_record(directory.path, status.name)["started"] if status.is_file() else now()
    identity = {
        "family": parts.config.family,
        "name": directory.path.name,
        "recipe": recipe,
        "total_steps": total,
        "declared": [metric.plain() for metric in parts.task.metrics],
        "started": started,
    }
    recorder = RunRecorder(directory, identity, progress, shown, heartbeat)
    recorder.status("running")
    for maker in (*followers.sinks, *_configured(parts, progress.step)):
        try:
            recorder.sinks.append(maker(directory))
        except Exception as error:
            why = error.brief if isinstance(error, WeftError) else told(error)
            recorder.note(f"warning: a log is off, the run goes on without it: {why}")
    recorder.note(f"{'resumed' if progress.step else 'started'} at step {progress.step} of {total}")
    return recorder


def _configured(parts: Parts, step: int) -> list[SinkMaker]:
    """The sinks that `log` asks for."""
    from weft.run.sinks.mlflow import Mlflow
    from weft.run.sinks.tensorboard import TensorBoard
    from weft.run.sinks.trackio import Trackio
    from weft.run.sinks.wandb import Wandb

    log, values = parts.config.log, parts.config.plain()
    makers: list[SinkMaker] = []
    if log.tensorboard:
        makers.append(lambda directory: TensorBoard(directory, step, values))
    if log.wandb.mode != "disabled":
        makers.append(lambda directory: Wandb(directory, log.wandb, values))
    if log.mlflow.experiment is not None:
        makers.append(lambda directory: Mlflow(directory, log.mlflow, values))
    if log.trackio.project is not None:
        makers.append(lambda directory: Trackio(directory, log.trackio, values))
    return makers
