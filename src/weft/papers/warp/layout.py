"""Writes the files of the weight-space original to a run's folder, besides weft's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.yaml import read_file

if TYPE_CHECKING:
    from weft.run.directory import RunDirectory

BACKUP = "backup"


class OriginalLayout:
    """Writes the original's files to a run's folder.

    Args:
        directory: the run.
        config: text of `backup/config.yaml`: the config of the run, with `train: False`.
    """

    def __init__(self, directory: RunDirectory, config: str) -> None:
        from weft.engine.checkpoint import Store

        self.path, self.store = directory.path, Store(directory.checkpoints)
        self.losses: list[float] = []
        self.judged, self.lowest = 0, float("inf")
        backup = self.path / BACKUP
        backup.mkdir()
        (backup / "config.yaml").write_text(config)
        script = Path(sys.argv[0])
        if script.name == "train.py" and script.is_file():
            (backup / "train.py").write_text(script.read_text())

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the row to training.log and, if there is a new checkpoint, judges it."""
        self._judge()
        if "train/loss" in values:
            self.losses.append(values["train/loss"])
        with (self.path / "training.log").open("a") as file:
            numbers = "  ".join(f"{name} {value:.6g}" for name, value in values.items())
            file.write(f"step {step}  {numbers}\n")

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Writes the curves, the best weights and the test, if the run finished."""
        if state != "finished":
            return
        import numpy as np

        from weft.atomic import atomic_writer, write_text
        from weft.run.registry import open_run

        self._judge()
        self._export("best" if self.store.best() is not None else "last", "best_valid")
        run = open_run(self.path)
        rows = run.history()
        keys = sorted({key for row in rows for key in row} - {"step", "epoch", "seconds"})
        curves: dict[str, Any] = {}
        for key in keys:
            curves[key] = np.array([row[key] for row in rows if key in row], dtype=float)
            curves[f"{key}:step"] = np.array([row["step"] for row in rows if key in row])
        with atomic_writer(self.path / "losses.npz") as file:
            np.savez(file, **curves)
        write_text(self.path / "testing.log", tested("after training", run.metrics))

    def _judge(self) -> None:
        """Exports the newest checkpoint's weights if the training loss before it is the lowest."""
        steps = self.store.steps()
        if not steps or steps[-1] <= self.judged or not self.losses:
            return
        self.judged, mean = steps[-1], sum(self.losses) / len(self.losses)
        self.losses = []
        if mean < self.lowest:
            self.lowest = mean
            self._export(str(self.judged), "best_train")

    def _export(self, checkpoint: str, name: str) -> None:
        """Writes a checkpoint's weights as a file that `weft.load` reads."""
        from safetensors.torch import save

        from weft.atomic import atomic_writer
        from weft.engine.checkpoint import read

        weights = read(self.store.find(checkpoint))["model"]
        config = json.dumps(read_file(self.path / "config.yaml")[0])
        with atomic_writer(self.path / f"{name}.safetensors") as file:
            file.write(save(weights, metadata={"weft": config}))


def tested(title: str, metrics: Mapping[str, float]) -> str:
    """The text of one evaluation in testing.log."""
    stamp = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    rows = [f"{name} {value:.6g}" for name, value in sorted(metrics.items())]
    return "\n".join([f"{stamp} {title}", *rows, ""])
