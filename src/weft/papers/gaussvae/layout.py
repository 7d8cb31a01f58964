"""Writes the GaussVAE scripts' files to a run's folder: logs by epoch, and a final model."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from weft.run.directory import RunDirectory

SHOWN = ("total_loss", "recon_loss", "kl_loss", "loss_xy", "loss_scale", "loss_rot", "loss_feat")
"""Names in TensorBoard of the scalars of training and validation."""


class OriginalLayout:
    """Writes `logs/train` and `logs/validation` each epoch, and the last files of a finished run.

    Scalars have the names of the original's README and are means over the epoch's steps; those of
    training include `beta` and `lr`. Weights are logged as histograms. At the end it writes
    `test_metrics.json`, `final_model.safetensors` and `normalization_stats.npz` (mean and standard
    deviation of the 8 columns, and their layout).

    Args:
        directory: the run.
        epochs: length of the run, for the printed lines.
        talks: whether a line is printed each epoch.
    """

    def __init__(self, directory: RunDirectory, epochs: int, *, talks: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        from weft.run.files import read_rows

        self.path, self.epochs, self.talks = directory.path, epochs, talks
        rows = read_rows(directory.metrics) if directory.metrics.is_file() else []
        # After a resume, the rows of an unfinished epoch count in its means.
        self.epoch = sum("val/total_loss" in row for row in rows)
        self.values: dict[str, list[float]] = defaultdict(list)
        self.writers = {
            name: SummaryWriter(str(self.path / "logs" / name), purge_step=self.epoch)
            for name in ("train", "validation")
        }

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Collects the values of training; a row of an evaluation ends the epoch."""
        for name in (*SHOWN, "beta"):
            if f"train/{name}" in values:
                self.values[name].append(values[f"train/{name}"])
        if "opt/lr" in values:
            self.values["lr"] = [values["opt/lr"]]
        if "val/total_loss" not in values:
            return
        means = {name: fmean(kept) for name, kept in self.values.items()}
        held_out = {name: values[f"val/{name}"] for name in SHOWN}
        for writer, scalars in zip(self.writers.values(), (means, held_out), strict=True):
            for name, value in scalars.items():
                writer.add_scalar(name, value, self.epoch)
            writer.flush()
        self.epoch += 1
        self.values.clear()
        if self.talks:
            told = {**means, **{f"val_{name}": value for name, value in held_out.items()}}
            words = " - ".join(f"{name}: {value:.4g}" for name, value in told.items())
            print(f"Epoch {self.epoch}/{self.epochs} - {words}", flush=True)

    def on_weights(self, step: int, weights: Mapping[str, Tensor]) -> None:
        """Writes a histogram of each weight."""
        for name, weight in weights.items():
            values = weight.detach().float().cpu()
            self.writers["train"].add_histogram(name.replace(".", "/"), values, self.epoch - 1)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Closes the logs and, if the run finished, writes its last files."""
        for writer in self.writers.values():
            writer.close()
        if state == "finished":
            _leave(directory)


def _leave(directory: RunDirectory) -> None:
    from weft.atomic import replacing, write_text
    from weft.families.gaussvae.splats.statistics import Statistics, write_statistics
    from weft.run.export import exported_weights
    from weft.run.registry import open_run

    run, path = open_run(directory.path), Path(directory.path)
    tested = {
        name.partition("/")[2]: value
        for name, value in run.metrics.items()
        if name.startswith("test/")
    }
    write_text(path / "test_metrics.json", json.dumps(tested, indent=2) + "\n")
    with replacing(path / "final_model.safetensors") as temporary:
        shutil.copyfile(directory.weights, temporary)
    weights = exported_weights(directory.weights)
    mean, std = (weights[name].squeeze(0).numpy() for name in ("mean", "std"))
    found = Statistics(mean, std, run.config["data"]["layout"])
    write_statistics(path / "normalization_stats.npz", found)
