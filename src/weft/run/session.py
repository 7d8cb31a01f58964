"""One process's work on a run, from its first or newest saved step to the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from weft.data.source import Splits
from weft.engine.checkpoint import Store
from weft.engine.loop import Progress, Trainer
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.errors import CheckpointError, Interrupted, NonFiniteError, SystemFault
from weft.run.directory import RunDirectory, unused
from weft.run.export import export
from weft.run.model import Trained
from weft.run.record import HEARTBEAT, RunRecorder
from weft.run.recorder import Followers, recorder_of, store_of
from weft.shell import spelt
from weft.stopping import Stopped, name_of
from weft.system import fault


@dataclass
class Work:
    """A run while it is trained.

    Attributes:
        trainer: trains it from `progress`.
        progress: how far it is.
        outcome: what `Trainer.train` returned; set by whoever trains.
        trained: the model, once the run is finished.
    """

    trainer: Trainer
    progress: Progress
    outcome: str = ""
    trained: Trained | None = None


@dataclass(frozen=True)
class Session:
    """A run that is ready to train.

    Attributes:
        parts: of the run.
        stepper: holds the model, on its device.
        data: the run's sources.
        directory: of the run, locked; None on all processes but the first.
        recipe: the words that named the config.
        followers: who follows the run.
        opening: a line to log first; "" for none.
    """

    parts: Parts
    stepper: Stepper
    data: Splits[Any]
    directory: RunDirectory | None
    recipe: str
    followers: Followers
    opening: str = ""

    def run(self, checkpoint: Mapping[str, Any] | None = None) -> Trained | None:
        """Trains to the end, from `checkpoint` if there is one, and records how it ended.

        Returns:
            The trained model, the best if something was held out to choose by; None on all
            processes but the first.

        Raises:
            Interrupted: if a signal stopped the run after its state was saved.
        """
        with self.recording(checkpoint) as work:
            work.outcome = work.trainer.train(work.progress)
        return work.trained

    @contextmanager
    def recording(
        self, checkpoint: Mapping[str, Any] | None = None, heartbeat: float = HEARTBEAT
    ) -> Iterator[Work]:
        """The caller trains the run inside the block; its end is recorded, whatever happens.

        Args:
            checkpoint: to resume from; None for a new run.
            heartbeat: least seconds between two updates of status.json.
        """
        stepper, progress = self.stepper, Progress()
        if checkpoint is not None:
            stepper.load(checkpoint)
            progress = Progress(**checkpoint["progress"])
        recorder = store = None
        if self.directory is not None:
            recorder = recorder_of(
                self.parts, self.directory, self.recipe, progress, self.followers, heartbeat
            )
            for remark in self.parts.remarks:
                recorder.note(f"note: {remark}")
            store = store_of(self.parts, self.directory, recorder.note)
            if self.opening:
                recorder.note(self.opening)
        work = Work(Trainer(self.parts, self.data, stepper, store, recorder), progress)
        state, message = "failed", ""
        try:
            yield work
            if work.outcome == "finished":
                if recorder is not None and self.directory is not None and store is not None:
                    message = self._told(progress, recorder)
                    work.trained = self._finish(self.directory, store, progress)
                state = "finished"
            else:
                state, message = "interrupted", work.outcome
        except (KeyboardInterrupt, Stopped) as error:
            state, message = "interrupted", f"stopped at once by {name_of(error)}"
            raise self._interrupted(name_of(error), progress) from error
        except NonFiniteError as error:
            message = error.message
            if self.directory is not None:
                error.hint += f"\n{self._slower(progress)}\n{self._gentler(progress)}"
            raise
        except Exception as error:
            found = fault(error)
            message = f"{type(error).__name__}: {error}" if found is None else found.brief
            if isinstance(found, SystemFault):
                found.hint += f"\n{self._again(progress)}"
                raise found from error
            raise
        finally:
            if recorder is not None and self.directory is not None:
                # What made the run fail, such as a full disk, may prevent the last status, too.
                with suppress(OSError) if state == "failed" else nullcontext():
                    recorder.close(state, message)
                self.directory.unlock()
        if state == "interrupted":
            raise self._interrupted(message, progress)

    def _told(self, progress: Progress, recorder: RunRecorder) -> str:
        """Notes what is odd about how the run ended; returns what its status should warn of."""
        if progress.best_step is None and self.data.val is not None:
            recorder.note("no validation gave a number: the last weights count")
        if progress.step < self.parts.plan.total_steps:
            recorder.note(f"stopped at step {progress.step}: {self._why(progress)}")
        skipped = int(self.stepper.skipped)
        if not skipped:
            return ""
        message = (
            f"{skipped:,} of {progress.step:,} updates were left out, as the loss or a gradient "
            "was no number"
        )
        recorder.note(f"warning: {message}")
        return message

    def _why(self, progress: Progress) -> str:
        """Why the run ended before its last step."""
        patience = self.parts.config.eval.patience
        if patience is not None and progress.stale >= patience:
            best = f"nothing better than step {progress.best_step}"
            return f"{progress.stale} evaluations in a row brought {best}"
        return "pruning or `on_evaluate` ended it"

    def _interrupted(self, signal_name: str, progress: Progress) -> Interrupted:
        where = str(self.directory.path) if self.directory else ""
        saved = _saved(progress, lost=progress.saved_step != progress.step)
        return Interrupted(signal_name, where, self._again(progress), saved)

    def _again(self, progress: Progress) -> str:
        """The command that resumes the run, and what it does; "" on other processes."""
        if self.directory is None:
            return ""
        what = f"goes on from step {progress.saved_step}" if progress.saved_step else "begins again"
        return f"`{spelt('resume', self.directory.path)}` {what}"

    def _slower(self, progress: Progress) -> str:
        """The command that logs every step on the way to the loss that was no number."""
        assert self.directory is not None
        command = spelt("resume", self.directory.path, "log.every=1")
        return f"every step on the way there, from step {progress.saved_step or 0}: {command}"

    def _gentler(self, progress: Progress) -> str:
        """A command that trains again at a tenth of the rate, from saved weights if there are."""
        assert self.directory is not None  # The process that writes the run tells of it.
        config, path = self.parts.config, self.directory.path
        words: list[str | Path] = ["train", path / "config.yaml"]
        if progress.saved_step:
            words.append(f"init={path}@last")
        rate = getattr(config.optim, "lr", None)
        words += [f"optim.lr={rate / 10:.3g}"] if isinstance(rate, float) else []
        words += [f"run.dir={unused(path)}"] if config.run.dir is not None else []
        start = f"from the weights of step {progress.saved_step}" if progress.saved_step else "anew"
        return f"a gentler run {start}: {spelt(*words)}"

    def _finish(self, directory: RunDirectory, store: Store, progress: Progress) -> Trained:
        """Loads the best weights if there is a validation split, tests them once, exports them.

        Returns: the model with its data, for the figures and the report.
        """
        model = self.stepper.shown
        if progress.best_step not in (None, progress.step):
            self._load_best(model, store, progress)
        best = progress.best_step
        step = progress.step if best is None else best
        trained = Trained(directory, self.parts, model.eval(), step, self.data)
        if self.data.val is not None:
            # The last step always counts: if it is the best, the loop has just validated it.
            splits = ("test",) if step == progress.step else ("val", "test")
            progress.metrics.update(trained.metrics(splits))
        export(model, self.parts.config, directory.weights)
        return trained

    def _load_best(self, model: nn.Module, store: Store, progress: Progress) -> None:
        """Loads the best weights into the model.

        If their checkpoint is damaged or missing, a warning says so and `progress` forgets them, so
        that the last weights count from here on.
        """
        try:
            model.load_state_dict(store.load(str(progress.best_step))["model"])
        except CheckpointError as error:
            store.warn(
                f"warning: the best checkpoint, of step {progress.best_step}, cannot be used "
                f"({error.message}): the weights of the last step, {progress.step}, are tested and "
                "exported in its place"
            )
            progress.best_step = progress.best_value = None


def _saved(progress: Progress, *, lost: bool) -> str:
    if progress.saved_step is None:
        return "no step is saved yet"
    said = f"the state is saved at step {progress.saved_step}"
    return f"{said}, what came after it is lost" if lost else said
