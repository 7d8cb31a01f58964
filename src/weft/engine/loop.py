"""The training loop: draw, step, log, evaluate, checkpoint, stop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import cycle
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from weft.data.random import stream_seed
from weft.data.source import Splits
from weft.engine.checkpoint import Store
from weft.engine.device import precision, products, seed_step, using_threads
from weft.engine.parts import Parts
from weft.engine.ranks import shares
from weft.engine.step import Stepper
from weft.engine.watch import Keeper, Watch
from weft.stopping import CutShort, Stop, graceful_stop
from weft.task import calls
from weft.task.calls import Scalars
from weft.task.context import Context
from weft.task.schedule import Judging


class Recorder(Keeper, Protocol):
    """Where the loop's numbers go."""

    def row(self, step: int, epoch: float, seconds: float, values: Mapping[str, float]) -> None:
        """Writes one row of scalars."""

    def weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Takes the model's weights, by name."""

    def alive(self, step: int) -> None:
        """Says that the run still lives, at every log and before long work."""

    def note(self, text: str) -> None:
        """Takes a line for the log."""

    def settle(self) -> None:
        """Makes all rows so far survive a power cut, before a checkpoint says they are there."""

    def saved(self) -> None:
        """A step was saved: says so at once."""

    def enough(self) -> bool:
        """Whether somebody who follows the run wants it to end, asked after an evaluation."""


@dataclass
class Progress:
    """How far a run is; all of it goes into the checkpoint.

    `stale` counts evaluations since the best one. `pending` says that the evaluation due at this
    step was cut short by a signal: whoever goes on begins with it.
    """

    step: int = 0
    seconds: float = 0.0
    best_value: float | None = None
    best_step: int | None = None
    saved_step: int | None = None
    stale: int = 0
    pending: bool = False
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainer:
    """Everything one run needs, put together by its caller.

    `store` and `recorder` are None on all processes but the first.
    """

    parts: Parts
    data: Splits[Any]
    stepper: Stepper
    store: Store | None
    recorder: Recorder | None

    def train(self, progress: Progress) -> str:
        """Trains from `progress` (updated in place) to the end.

        Returns:
            "finished", or the name of the signal that interrupted the run after a saved step.
        """
        plan = self.parts.plan
        batches: Sequence[Tensor] = ()
        planned: int | None = None
        window = Window()
        started = time.perf_counter() - progress.seconds
        with (
            graceful_stop() as stop,
            using_threads(self.parts.threads),
            self._watch() as watch,
        ):
            ends = self._close(progress, stop) if progress.pending else self.is_worn_out(progress)
            while progress.step < plan.total_steps and not ends:
                step = progress.step
                epoch, position = divmod(step, plan.batches_per_epoch)
                if epoch != planned:
                    batches, planned = self._planned(epoch), epoch
                done = step + 1
                log = plan.due(plan.log_every, done)
                if watch is not None:
                    watch.before(done)
                scalars = self._step(batches[position], step, log)
                if watch is not None:
                    watch.after(done)
                progress.step, progress.seconds = done, time.perf_counter() - started
                window.count += 1
                if log:
                    self._log(progress, scalars, window)
                evaluated = progress.pending = plan.due(plan.eval_every, done)
                ends = self._close(progress, stop, log)
                if evaluated:
                    window.restart()
        # A signal that came after the last step, which is saved, still stops what follows.
        return stop.name or "finished"

    def _close(self, progress: Progress, stop: Stop, log: bool = False) -> bool:
        """Does what is due after a step, an evaluation that is pending first of all.

        Returns: whether the run ends here, or is interrupted: `stop` then has a name.
        """
        plan, done = self.parts.plan, progress.step
        improved = ends = cut = False
        if progress.pending:
            try:
                improved = self.evaluate(progress, stop)
                ends = self.is_worn_out(progress) or self._enough()
            except CutShort:
                cut = True
        if plan.histograms_every and plan.due(plan.histograms_every, done):
            self._tell_weights(done)
        # All processes know of a cut; on other signals they agree when they log.
        if interrupted := cut or self._interrupted(stop, log):
            stop.name = stop.name or "SIGTERM"
        ends |= interrupted
        if improved or ends or plan.due(plan.save_every, done):
            self.save(progress)
        return ends

    def _watch(self) -> AbstractContextManager[Watch | None]:
        """The first process times operators where that is asked for."""
        if self.parts.config.engine.profile is None or self.recorder is None:
            return nullcontext()
        return Watch(self.parts, self.recorder)

    def is_worn_out(self, progress: Progress) -> bool:
        """Whether as many evaluations brought nothing better as `eval.patience` waits for."""
        patience = self.parts.config.eval.patience
        return patience is not None and progress.stale >= patience

    def rehearse(self) -> Iterator[Scalars]:
        """Takes the first epoch's steps, one each time it is asked, over and over."""
        batches = self._planned(0)
        for step in cycle(range(min(len(batches), self.parts.plan.total_steps))):
            yield self._step(batches[step], step, log=False)

    def steps(self) -> Iterator[Scalars]:
        """Takes the run's steps from the first on, one each time it is asked, and nothing else:
        whoever has many runs to train at once logs, evaluates and keeps what it needs."""
        for step in range(self.parts.plan.total_steps):
            epoch, position = divmod(step, self.parts.plan.batches_per_epoch)
            if position == 0:
                batches = self._planned(epoch)
            with using_threads(self.parts.threads):
                scalars = self._step(batches[position], step, log=False)
            yield scalars

    def _planned(self, epoch: int) -> Sequence[Tensor]:
        parts = self.parts
        count = parts.plan.batches_per_epoch
        return calls.plan(parts.task, self.data.train, parts.config.seed, epoch, count)

    @cached_property
    def _draws(self) -> torch.Generator:
        """What the source draws from, seeded anew for each step: a new one would take longer."""
        return torch.Generator(device=self.parts.device)

    def _step(self, indices: Tensor, step: int, log: bool) -> Scalars:
        config, device, ranks = self.parts.config, self.parts.device, self.parts.ranks
        seed_step(config.seed, step, ranks.rank, device)
        task, spec = self.parts.task, self.parts.spec
        ctx = self.parts.context(step, log=log)
        # Taken and drawn as a whole, so that a step is the same however it is split.
        self._draws.manual_seed(stream_seed(config.seed, step, "data"))
        taken = self.data.train.take(indices.to(device), self._draws)
        if step % self.parts.plan.batches_per_epoch == 0:
            calls.check_batch(task, spec, taken, spec.batch_shape[0])
        whole = calls.draw(task, taken, ctx)
        scalars = self.stepper(shares(whole, config.engine.accumulation, ranks), ctx)
        return {**scalars, **calls.scalars(task, self.stepper.model, device)} if log else scalars

    def _log(self, progress: Progress, scalars: Scalars, window: Window) -> None:
        """Fetches the scalars in one transfer and writes a row."""
        names = list(scalars)
        stacked = torch.stack([scalars[name].float().reshape(()) for name in names])
        self.parts.ranks.average([stacked])
        values = dict(zip(names, stacked.tolist(), strict=True))
        self.stepper.check_skips(scalars, self.parts.context(progress.step - 1))
        if skipped := int(self.stepper.skipped):
            values["opt/skipped"] = skipped
        rate = self.stepper.optimiser.param_groups[0]["lr"]
        self.tell(progress, values, rate, window.milliseconds())
        window.restart()

    def tell(
        self, progress: Progress, scalars: Mapping[str, float], rate: float, milliseconds: float
    ) -> None:
        """Writes the row of a step: its scalars, `grad_norm` among them, its rate, its time."""
        row = {f"train/{name}" if "/" not in name else name: v for name, v in scalars.items()}
        row["opt/lr"] = rate
        row["opt/grad_norm"] = row.pop("train/grad_norm")
        row["time/step_ms"] = milliseconds
        if self.recorder is not None:
            self._row(progress, row)

    def evaluate(self, progress: Progress, stop: Stop | None = None) -> bool:
        """Evaluates, and says whether a held-out metric is the best so far.

        Args:
            progress: changed once all is measured.
            stop: cuts it short, if given.
        Raises:
            CutShort: by a signal to the process that evaluates, on all of them; nothing has
                changed then.
        """
        parts = self.parts
        self.stepper.settle()
        split = "val" if self.data.val is not None else "test"
        selects = parts.task.metrics[0]
        improved, value = False, math.nan
        metrics, told = self._measured(split, progress.step, stop)
        if self.recorder is not None:
            progress.metrics.update(metrics)
            if split == "val":
                value = metrics[f"val/{selects.name}"]
                improved = selects.improves(value, progress.best_value)
                if improved:
                    progress.best_value, progress.best_step = value, progress.step
            self._row(progress, metrics)
            for line in told:
                self.recorder.note(line)
        schedule = self.stepper.schedule
        if isinstance(schedule, Judging):
            value = parts.ranks.of_first(value)
            schedule.judge(value if selects.better == "lower" else -value)
        improved = parts.ranks.any(improved)
        progress.stale = 0 if improved else progress.stale + 1
        progress.pending = False
        return improved

    def _measured(
        self, split: str, step: int, stop: Stop | None
    ) -> tuple[dict[str, float], Sequence[str]]:
        """Metrics of `split` and the task's lines for the log; nothing where not this process but
        the first one evaluates, which tells the others if a signal has cut it short."""
        parts, model = self.parts, self.stepper.shown
        metrics: dict[str, float] = {}
        told: Sequence[str] = ()
        cut: CutShort | None = None
        if self.recorder is not None:
            self.recorder.alive(step)
            try:
                with nullcontext() if stop is None else stop.cutting():
                    metrics = evaluate(parts, model, self.data, split, step)
                    with at_rest(parts, model, step) as ctx:
                        told = calls.tell(parts.task, model, getattr(self.data, split), ctx)
            except CutShort as error:
                cut = error
        if parts.ranks.any(cut is not None):
            raise cut or CutShort("SIGTERM")
        return metrics, told

    def _tell_weights(self, step: int) -> None:
        if self.recorder is not None:
            self.recorder.weights(step, dict(self.stepper.model.named_parameters()))

    def _enough(self) -> bool:
        return self.parts.ranks.any(self.recorder is not None and self.recorder.enough())

    def _interrupted(self, stop: Stop, log: bool) -> bool:
        """Whether to stop; several processes agree on it when they log."""
        ranks = self.parts.ranks
        if ranks.world == 1:
            return stop.name is not None
        return ranks.any(stop.name is not None) if log else False

    def save(self, progress: Progress) -> None:
        """Saves the step that the run is at."""
        self.stepper.settle()
        state = self.stepper.state()
        if self.store is None:
            return
        whole = {
            "family": self.parts.config.family,
            "progress": {**vars(progress), "saved_step": progress.step},
            "identity": self.parts.identity(),
            **state,
        }
        if self.recorder is not None:
            self.recorder.settle()
        self.store.save(whole, progress.step)
        # Not before: a second signal, or a full disk, may end what is being written.
        progress.saved_step = progress.step
        if self.recorder is not None:
            self.recorder.saved()

    def _row(self, progress: Progress, values: Mapping[str, float]) -> None:
        assert self.recorder is not None
        epoch = progress.step / self.parts.plan.batches_per_epoch
        self.recorder.row(progress.step, epoch, progress.seconds, values)


def evaluate(
    parts: Parts, model: nn.Module, data: Splits[Any], split: str, step: int
) -> dict[str, float]:
    """Metrics of `model` on one split, named `split/metric`; leaves the model's mode as it was."""
    with at_rest(parts, model, step) as ctx:
        metrics = calls.evaluate(parts.task, model, getattr(data, split), ctx)
    return {f"{split}/{name}": value for name, value in metrics.items()}


@contextmanager
def at_rest(parts: Parts, model: nn.Module, step: int) -> Iterator[Context]:
    """Evaluation and sampling happen inside: eval mode, no gradients, the run's precision and
    threads, and random streams of their own, so that they change no training."""
    seed_step(parts.config.seed, step, 1 << 20, parts.device)
    was_training = model.training
    model.eval()
    try:
        arithmetic = precision(parts.config.engine, parts.device)
        with (
            torch.no_grad(),
            using_threads(parts.threads),
            arithmetic,
            products(parts.config.engine),
        ):
            yield parts.context(step)
    finally:
        model.train(was_training)


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
