"""One process's work on a run, from its first or newest saved step to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from weft.data.source import Splits
from weft.engine.checkpoint import Store
from weft.engine.loop import Progress, Trainer
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.errors import CheckpointError, Interrupted, WeftError
from weft.run.directory import RunDirectory
from weft.run.export import export
from weft.run.model import Trained
from weft.run.recorder import Followers, recorder_of, store_of


@dataclass(frozen=True)
class Session:
    """What a process works with.

    Attributes:
        parts: the run's family at work.
        stepper: holds the model, on its device.
        data: its sources.
        directory: of the run, locked; None on all processes but the first.
        recipe: the words that named the config.
        followers: who follows the run.
        opening: what to tell first, if anything.
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
        stepper, progress = self.stepper, Progress()
        if checkpoint is not None:
            stepper.load(checkpoint)
            progress = Progress(**checkpoint["progress"])
        recorder = store = trained = None
        if self.directory is not None:
            recorder = recorder_of(
                self.parts, self.directory, self.recipe, progress, self.followers
            )
            for remark in self.parts.remarks:
                recorder.note(f"note: {remark}")
            store = store_of(self.parts, self.directory, recorder.note)
            if self.opening:
                recorder.note(self.opening)
        state, message = "failed", ""
        try:
            outcome = Trainer(self.parts, self.data, stepper, store, recorder).train(progress)
            if outcome == "finished":
                if recorder is not None and self.directory is not None and store is not None:
                    if progress.best_step is None and self.data.val is not None:
                        recorder.note("no validation gave a number: the last weights count")
                    trained = self._finish(self.directory, store, progress)
                state = "finished"
            else:
                state, message = "interrupted", outcome
        except KeyboardInterrupt:
            state, message = (
                "interrupted",
                "stopped at once; work since the last checkpoint is lost",
            )
            raise
        except WeftError as error:
            message = error.message
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            raise
        finally:
            if recorder is not None and self.directory is not None:
                recorder.close(state, message)
                self.directory.unlock()
        if state == "interrupted":
            raise Interrupted(message, str(self.directory.path) if self.directory else "")
        return trained

    def _finish(self, directory: RunDirectory, store: Store, progress: Progress) -> Trained:
        """Takes the best weights if something was held out to choose by, tests them once, exports.

        The model is kept as it is, data included, for what comes after.
        """
        model = self.stepper.model
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
        """Puts the best weights into the model; where their checkpoint is damaged or gone, says so
        and forgets which they were, so that the last weights count in all that follows."""
        try:
            model.load_state_dict(store.load(str(progress.best_step))["model"])
        except CheckpointError as error:
            store.warn(
                f"warning: the best checkpoint, of step {progress.best_step}, cannot be used "
                f"({error.message}): the weights of the last step, {progress.step}, are tested and "
                "exported in its place"
            )
            progress.best_step = progress.best_value = None
