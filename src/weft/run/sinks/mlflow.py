"""Scalars and settings to MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weft.atomic import write_text
from weft.config.layer import dotted
from weft.config.sections import MlflowConfig
from weft.errors import MissingExtra
from weft.run.directory import RunDirectory

_LONGEST = 500
"""Characters of a setting that MLflow keeps."""


class Mlflow:
    """Logs rows to an MLflow run whose id is kept beside the run's, so that resuming continues it.

    Args:
        directory: the run.
        config: experiment and server.
        values: the run's config; its leaves become parameters with dotted names.

    Raises:
        MissingExtra: if mlflow is not installed.
    """

    def __init__(
        self, directory: RunDirectory, config: MlflowConfig, values: Mapping[str, Any]
    ) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError as error:
            raise MissingExtra("mlflow-skinny", "mlflow", "log.mlflow.experiment") from error
        self.client = MlflowClient(tracking_uri=config.uri)
        kept = directory.path / "mlflow-id"
        if not kept.is_file():
            name = str(config.experiment)
            known = self.client.get_experiment_by_name(name)
            number = known.experiment_id if known else self.client.create_experiment(name)
            made = self.client.create_run(number, run_name=directory.path.name)
            for key, value in dotted(values).items():
                self.client.log_param(made.info.run_id, key, str(value)[:_LONGEST])
            write_text(kept, f"{made.info.run_id}\n")
        self.number = kept.read_text().strip()
        self.client.update_run(self.number, status="RUNNING")

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the row."""
        for name, value in values.items():
            self.client.log_metric(self.number, name, value, step=step)

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Says how the run ended."""
        ends = {"finished": "FINISHED", "interrupted": "KILLED"}
        self.client.set_terminated(self.number, ends.get(state, "FAILED"))
