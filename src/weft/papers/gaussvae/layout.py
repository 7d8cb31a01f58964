"""Leaves in a run's folder what the GaussVAE scripts did: logs by epoch, and a final model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from weft.run.directory import RunDirectory

SHOWN = ("total_loss", "recon_loss", "kl_loss", "loss_xy", "loss_scale", "loss_rot", "loss_feat")
"""Scalars of training and validation, by their names in TensorBoard."""


class OriginalLayout:
    """Writes `logs/train` and `logs/validation` epoch by epoch, and what a finished run leaves.

    Scalars bear the README's names, of training with `beta` and `lr`, a mean over the epoch's
    steps; weights are histograms. At the end: `test_metrics.json`, `final_model.safetensors`,
    `normalization_stats.npz` (mean and std of the 8 columns, and their layout).

    Args:
        directory: the run.
        epochs: that it is to last, for the lines it prints.
        talks: whether it prints a line an epoch.
    """

    def __init__(self, directory: RunDirectory, epochs: int, *, talks: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        from weft.run.files import read_rows

        self.path, self.epochs, self.talks = directory.path, epochs, talks
        rows = read_rows(directory.metrics) if directory.metrics.is_file() else []
        # Rows that training was stopped in the middle of belong to the epoch that goes on.
        self.epoch = sum("val/total_loss" in row for row in rows)
        self.values: dict[str, list[float]] = defaultdict(list)
        self.writers = {
            name: SummaryWriter(str(self.path / "logs" / name), purge_step=self.epoch)
            for name in ("train", "validation")
        }

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Keeps what training says; an evaluation ends the epoch."""
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
    import json
    import shutil

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
