"""Scalars, settings and pictures as TensorBoard event files under logs/."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from weft.config.layer import dotted
from weft.run.directory import RunDirectory
from weft.run.files import read_record

if TYPE_CHECKING:
    from torch import Tensor

_FOLDER = "logs"


class TensorBoard:
    """Writes each row's scalars and, at the end, settings and metrics for TensorBoard's table of
    runs. A resumed run hides what was written after its checkpoint.

    Args:
        directory: the run.
        step: the step that the run starts or resumes from.
        values: the run's config; its leaves become hyperparameters with dotted names.
    """

    def __init__(self, directory: RunDirectory, step: int, values: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.values = values
        self.writer = SummaryWriter(str(directory.path / _FOLDER), purge_step=step + 1)

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the row's scalars."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def on_weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Writes a histogram of each weight."""
        for name, weight in weights.items():
            self.writer.add_histogram(name.replace(".", "/"), weight.detach().float().cpu(), step)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Adds settings and metrics of a finished run, flushes and closes the file."""
        if state == "finished":
            self._settings(directory)
        self.writer.close()

    def _settings(self, directory: RunDirectory) -> None:
        # What `add_hparams` does, except that it would write to a new folder.
        from torch.utils.tensorboard import summary

        status = read_record(directory.path, "status.json")
        metrics = {k: v for k, v in status["metrics"].items() if v is not None}
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, status["step"])
        settings = {key: _setting(value) for key, value in dotted(self.values).items()}
        make: Callable[..., Iterable[Any]] = summary.hparams
        writer: Any = self.writer.file_writer
        for part in make(settings, dict.fromkeys(metrics)):
            writer.add_summary(part)


def add_pictures(directory: RunDirectory, step: int) -> None:
    """Adds the pictures, animations and texts in the run's figures/ as they are."""
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(directory.path / _FOLDER)) as writer:
        for path in sorted(directory.figures.glob("*.*")):
            tag = f"figures/{path.stem}"
            if path.suffix == ".txt":
                writer.add_text(tag, f"```\n{path.read_text(encoding='utf-8')}\n```", step)
            elif path.suffix in (".png", ".gif"):
                with Image.open(path) as opened:
                    width, height = opened.size
                image = Summary.Image(
                    width=width, height=height, colorspace=4, encoded_image_string=path.read_bytes()
                )
                summary = Summary(value=[Summary.Value(tag=tag, image=image)])
                writer.file_writer.add_summary(summary, step)


def _setting(value: Any) -> bool | int | float | str:
    """A setting in a type that TensorBoard accepts; JSON for all others."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)
