"""Scalars as TensorBoard event files under logs/."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from weft.run.directory import RunDirectory

if TYPE_CHECKING:
    from torch import Tensor


class TensorBoard:
    """Writes rows as they come; at resume, hides what comes after the checkpoint.

    Args:
        directory: the run.
        step: step the run goes on from.
    """

    def __init__(self, directory: RunDirectory, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = str(directory.path / "logs")
        self.writer = SummaryWriter(folder, purge_step=step + 1)

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the row's scalars."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def on_weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Writes a histogram of each weight."""
        for name, weight in weights.items():
            self.writer.add_histogram(name.replace(".", "/"), weight.detach().float().cpu(), step)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Flushes and closes the file."""
        self.writer.close()
