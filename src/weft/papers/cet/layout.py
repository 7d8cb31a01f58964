"""The result file of the CET paper's scripts: one .pt file with everything about a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weft.atomic import atomic_writer
from weft.run.directory import RunDirectory


class OriginalLayout:
    """Writes the file when the run has finished.

    Keys: `model_state`, `training_losses`, `training_accuracies` (one per step),
    `validation_losses`, `validation_accuracies` (one per evaluation), `run_params`, `similarities`
    (layer -> one per compared step), `steps` (of each evaluation), `seed`, `optimiser_state`,
    `wall_time` (seconds).

    Args:
        path: where to write.
        parameters: the flags of the command.
    """

    def __init__(self, path: Path, parameters: Mapping[str, Any]) -> None:
        self.path, self.parameters = path, dict(parameters)

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Does nothing: `on_end` reads all rows from metrics.jsonl, those before a resume too."""

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Writes the file, if the run finished."""
        if state != "finished":
            return
        import torch

        from weft.engine.checkpoint import Store, read
        from weft.run.registry import open_run

        run = open_run(directory.path)
        store = Store(directory.checkpoints)
        state_dict = read(store.find("last"))
        history = run.history()
        held_out = "val" if any("val/loss" in row for row in history) else "test"

        def series(key: str) -> list[float]:
            return [row[key] for row in history if key in row]

        similar = sorted({key for row in history for key in row if key.startswith("sim/")})
        result = {
            "model_state": state_dict["model"],
            "training_losses": series("train/loss"),
            "training_accuracies": series("train/accuracy"),
            "validation_losses": series(f"{held_out}/loss"),
            "validation_accuracies": series(f"{held_out}/accuracy"),
            "run_params": self.parameters,
            "similarities": {key.removeprefix("sim/"): series(key) for key in similar},
            "steps": [row["step"] for row in history if f"{held_out}/loss" in row],
            "seed": run.config["seed"],
            "optimiser_state": state_dict["optim"],
            "wall_time": run.status["seconds"],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_writer(self.path) as file:
            torch.save(result, file)
