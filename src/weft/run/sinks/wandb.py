"""Scalars to Weights & Biases, online or offline."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from weft.atomic import write_text
from weft.config.sections import WandbConfig
from weft.errors import MissingExtra
from weft.run.directory import RunDirectory


class Wandb:
    """Logs rows to a W&B run whose id is the run's, so that resuming continues it.

    Args:
        directory: the run.
        config: project and mode.
        values: the run's config, shown by W&B.

    Raises:
        MissingExtra: if wandb is not installed.
    """

    def __init__(
        self, directory: RunDirectory, config: WandbConfig, values: dict[str, Any]
    ) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingExtra("wandb", "wandb", f"log.wandb.mode={config.mode}") from error
        # The same W&B run whether this one is resumed or not, online or not.
        kept = directory.path / "wandb-id"
        if not kept.is_file():
            write_text(kept, f"{secrets.token_hex(8)}\n")
        self.run = wandb.init(
            id=kept.read_text().strip(),
            project=config.project,
            mode=config.mode,
            name=directory.path.name,
            dir=str(directory.path),
            config=values,
            resume="allow",
        )

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the row."""
        self.run.log(dict(values), step=step)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Closes the W&B run."""
        self.run.finish(exit_code=0 if state == "finished" else 1)
