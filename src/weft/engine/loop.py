"""The training loop: draw, step, log, evaluate, checkpoint, stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from weft.config.base import FamilyConfig, cadence_in_steps
from weft.data.random import stream
from weft.data.source import Splits
from weft.engine.checkpoint import Store
from weft.engine.device import Ranks, float_buffers, precision, seed_step, shares
from weft.engine.step import Scalars, Stepper
from weft.family import Context, Task


class Recorder(Protocol):
    """Where the loop's numbers go."""

    def row(self, step: int, epoch: float, seconds: float, values: Mapping[str, float]) -> None:
        """Writes one row of scalars."""

    def alive(self, step: int) -> None:
        """Says that the run still lives, at every log and before long work."""


@dataclass
class Progress:
    """How far a run is; all of it goes into the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What the loop needs to know of time: lengths in steps."""

    total_steps: int
    batches_per_epoch: int
    log_every: int
    eval_every: int
    save_every: int

    @staticmethod
    def of(config: FamilyConfig, batches_per_epoch: int) -> Plan:
        """All lengths of `config` in optimiser steps."""
        total = config.steps or max(1, round((config.epochs or 0.0) * batches_per_epoch))
        return Plan(
            total,
            batches_per_epoch,
            config.log.every,
            cadence_in_steps(config.eval.every, batches_per_epoch),
            cadence_in_steps(config.checkpoint.every, batches_per_epoch),
        )

    def due(self, every: int, done: int) -> bool:
        """Whether something done every `every` steps, and at the end, is due."""
        return done % every == 0 or done == self.total_steps


@dataclass(frozen=True)
class Trainer:
    """Everything one run needs, put together by its caller.

    `store` and `recorder` are None on all processes but the first.
    """

    task: Task[Any]
    config: FamilyConfig
    data: Splits
    stepper: Stepper
    plan: Plan
    device: torch.device
    ranks: Ranks
    store: Store | None
    recorder: Recorder | None

    def train(self, progress: Progress) -> str:
        """Trains from `progress` (updated in place) to the end.

        Returns:
            "finished", or the name of the signal that interrupted the run after a saved step.
        """
        plan, config = self.plan, self.config
        batches: Sequence[Tensor] = ()
        planned: int | None = None
        window = Window()
        started = time.perf_counter() - progress.seconds
        with graceful_stop() as stop:
            while progress.step < plan.total_steps:
                step = progress.step
                epoch, position = divmod(step, plan.batches_per_epoch)
                if epoch != planned:
                    batches, planned = self.data.train.plan(config.seed, epoch), epoch
                done = step + 1
                log = plan.due(plan.log_every, done)
                scalars = self._step(batches[position], step, log)
                progress.step, progress.seconds = done, time.perf_counter() - started
                window.count += 1
                if log:
                    self._log(progress, scalars, window)
                improved = self._evaluate(progress) if plan.due(plan.eval_every, done) else False
                interrupted = self._interrupted(stop, log)
                if improved or interrupted or plan.due(plan.save_every, done):
                    self._save(progress, improved)
                if interrupted:
                    return stop.name or "SIGTERM"
                if improved or plan.due(plan.eval_every, done):
                    window.restart()
        return "finished"

    def _step(self, indices: Tensor, step: int, log: bool) -> Scalars:
        rank = self.ranks.rank
        seed_step(self.config.seed, step, rank, self.device)
        ctx = self.context(step, train=True, log=log)
        draws = stream(self.config.seed, step, "data", rank, device=self.device)
        parts = shares(indices, self.config.engine.accumulation, self.ranks)
        batches = [self.data.train.take(part.to(self.device), draws) for part in parts]
        scalars = self.stepper(batches, ctx)
        return {**scalars, **self.task.scalars(self.stepper.model)} if log else scalars

    def _log(self, progress: Progress, scalars: Scalars, window: Window) -> None:
        """Fetches the scalars in one transfer and writes a row."""
        names = list(scalars)
        stacked = torch.stack([scalars[name].float().reshape(()) for name in names])
        self.ranks.average([stacked])
        values = dict(zip(names, stacked.tolist(), strict=True))
        self.stepper.check_skips(scalars, self.context(progress.step - 1, train=True))
        norm = values.pop("grad_norm")
        row = {f"train/{name}" if "/" not in name else name: v for name, v in values.items()}
        row["opt/lr"] = self.stepper.optimiser.param_groups[0]["lr"]
        row["opt/grad_norm"] = norm
        row["time/step_ms"] = window.milliseconds()
        if self.recorder is not None:
            self._row(progress, row)
        window.restart()

    def _evaluate(self, progress: Progress) -> bool:
        """Evaluates, and says whether a held-out metric is the best so far."""
        self.ranks.average(float_buffers(self.stepper.model))
        split = "val" if self.data.val is not None else "test"
        improved = False
        if self.recorder is not None:
            self.recorder.alive(progress.step)
            metrics = evaluate(
                self.task,
                self.stepper.model,
                self.data,
                split,
                self.config,
                self.device,
                progress.step,
                self.plan.total_steps,
            )
            progress.metrics.update(metrics)
            if split == "val":
                value = metrics[f"val/{self.task.headline[0]}"]
                improved = self._better(value, progress.best_value)
                if improved:
                    progress.best_value, progress.best_step = value, progress.step
            self._row(progress, metrics)
        return self.ranks.any(improved)

    def _better(self, value: float, best: float | None) -> bool:
        if best is None:
            return True
        return value > best if self.task.maximise else value < best

    def _interrupted(self, stop: Stop, log: bool) -> bool:
        """Whether to stop; several processes agree on it when they log."""
        if self.ranks.world == 1:
            return stop.name is not None
        return self.ranks.any(stop.name is not None) if log else False

    def _save(self, progress: Progress, best: bool) -> None:
        self.ranks.average(float_buffers(self.stepper.model))
        if self.store is None:
            return
        state = {
            "family": self.config.family,
            "progress": vars(progress),
            "torch": str(torch.__version__),
            **self.stepper.state(),
        }
        self.store.save(state, progress.step, best=best)

    def _row(self, progress: Progress, values: Mapping[str, float]) -> None:
        assert self.recorder is not None
        epoch = progress.step / self.plan.batches_per_epoch
        self.recorder.row(progress.step, epoch, progress.seconds, values)

    def context(self, step: int, *, train: bool, log: bool = True) -> Context:
        """Where training stands, for the task."""
        return Context(
            self.config.seed,
            step,
            self.plan.total_steps,
            self.device,
            train=train,
            rank=self.ranks.rank,
            log=log,
        )


def evaluate(
    task: Task[Any],
    model: nn.Module,
    data: Splits,
    split: str,
    config: FamilyConfig,
    device: torch.device,
    step: int,
    total_steps: int,
) -> dict[str, float]:
    """Metrics of `model` on one split, named `split/metric`; leaves the model's mode as it was."""
    source = getattr(data, split)
    seed_step(config.seed, step, 1 << 20, device)
    ctx = Context(config.seed, step, total_steps, device, train=False)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), precision(config.engine, device):
            metrics = task.evaluate(model, source, ctx)
    finally:
        model.train(was_training)
    return {f"{split}/{name}": value for name, value in metrics.items()}


class Window:
    """Mean time of a step between two moments at which the device was waited for."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begins a new window."""
        self.start, self.count = time.perf_counter(), 0

    def milliseconds(self) -> float:
        """Mean time of a step since the window began."""
        return 1e3 * (time.perf_counter() - self.start) / max(1, self.count)


@dataclass
class Stop:
    """The first signal that asked the run to stop, if any."""

    name: str | None = None


@contextmanager
def graceful_stop() -> Iterator[Stop]:
    """Turns the first SIGINT or SIGTERM into a flag; the second one stops at once."""
    stop = Stop()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.name is not None:
            raise KeyboardInterrupt
        stop.name = signal.Signals(number).name

    try:
        before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    except (
        ValueError
    ):  # Not the main thread, as in a notebook's executor: signals stay as they are.
        yield stop
        return
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
