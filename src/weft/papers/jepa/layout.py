"""Checkpoints under the names of the JEPA paper's script: by epoch and samples seen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from weft.atomic import atomic_writer
from weft.run.directory import RunDirectory


class OriginalLayout:
    """Writes `epoch=E_sample_step=N.ckpt` for every checkpoint that a finished run has kept.

    Keys: `model_state_dict`, `optimizer_state_dict`.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing: the files are written by `on_end`."""

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Writes the files, if the run finished."""
        if state != "finished":
            return
        import torch

        from weft.engine.checkpoint import Store, read
        from weft.run.registry import open_run

        run, store = open_run(directory.path), Store(directory.checkpoints)
        batches, size = int(run.resolved["batches_per_epoch"]), int(run.config["batch_size"])
        for step in store.steps():
            saved = read(store.find(str(step)))
            contents = {
                "model_state_dict": saved["model"],
                "optimizer_state_dict": saved["optim"],
            }
            name = f"epoch={step // batches}_sample_step={step * size}.ckpt"
            with atomic_writer(self.folder / name) as file:
                torch.save(contents, file)
