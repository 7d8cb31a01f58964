"""Finds and reads runs by scanning directories; there is no database that could disagree."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.yaml import read_file
from weft.data.records import NUMBER, Fields, fields_of, read_record, read_rows
from weft.errors import RunError, WeftError
from weft.run.directory import RunDirectory
from weft.run.record import ROW
from weft.task.metric import Metric, declared

if TYPE_CHECKING:
    from torch import nn

    from weft.run.model import Trained

_STATUS: Fields = {
    "state": str, "recipe": str, "step": int, "total_steps": int, "seconds": NUMBER,
    "metrics": dict,
}  # fmt: skip
_LATER: Fields = {
    "declared": list, "message": str, "started": str, "saved": int, "best": dict,
}  # fmt: skip
_ENV: Fields = {"device_name": str, "command": list, "git": dict}
_RESOLVED: Fields = {
    "total_steps": int, "batches_per_epoch": int, "parameters": int, "parents": dict,
}  # fmt: skip


STATES = ("running", "finished", "interrupted", "failed", "crashed")
"""What a run can be; crashed is one of which no end is recorded, and which nobody writes."""


@dataclass(frozen=True)
class Run:
    """A run as its files tell it.

    Attributes:
        path: its directory.
        config: the full config as plain values.
        resolved: derived values: total_steps, parameters, …
        status: status.json.
        env: versions, machine, git state.
    """

    path: Path
    config: dict[str, Any]
    resolved: dict[str, Any]
    status: dict[str, Any]
    env: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.name

    @property
    def family(self) -> str:
        """The family that trained."""
        return str(self.config["family"])

    @property
    def state(self) -> str:
        """running, finished, interrupted, failed, or crashed: no end recorded and no writer."""
        state = str(self.status["state"])
        if state == "running" and not RunDirectory(self.path).is_locked():
            return "crashed"
        return state

    @property
    def metrics(self) -> dict[str, float]:
        """The latest evaluation."""
        return dict(self.status["metrics"])

    @property
    def parents(self) -> dict[str, dict[str, str]]:
        """Config key -> `file` and `sha256` of the weights of the earlier run it started from."""
        return dict(self.resolved.get("parents") or {})

    @property
    def declared(self) -> tuple[Metric, ...]:
        """What its task measures, most important first; none in runs of before they were kept."""
        return declared(self.status.get("declared") or ())

    def load(
        self,
        checkpoint: str | None = None,
        accept: Collection[str] = (),
        tell: Callable[[str], None] = warnings.warn,
    ) -> Trained:
        """The trained model with its parts and data: the best checkpoint if any, else the last."""
        from weft.run.model import load

        return load(self.path, self.config, self.resolved, checkpoint, accept, tell)

    def load_model(self, checkpoint: str | None = None) -> nn.Module:
        """The trained model in eval mode: the best checkpoint if there is one, else the last."""
        return self.load(checkpoint).model

    def history(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl."""
        path = RunDirectory(self.path).metrics
        return read_rows(path, ROW) if path.is_file() else []


def open_run(path: Path | str) -> Run:
    """The run in `path`.

    Raises:
        RunError: if there is none, or its files cannot be read.
    """
    path = Path(path)
    if not (path / "status.json").is_file():
        raise RunError(
            "this is not a run",
            where=str(path),
            expected="a directory with status.json and config.yaml",
            hint="`weft runs` lists the runs",
        )
    try:
        return _read(path)
    except WeftError as error:
        raise RunError(
            f"the run's files cannot be read: {error.message}",
            where=error.where,
            expected=error.expected,
            hint=error.hint,
        ) from error


def _read(path: Path) -> Run:
    """The run whose files are all there and say what the rest of weft asks them for."""
    files = {name: path / f"{name}.yaml" for name in ("config", "resolved")}
    files |= {name: path / f"{name}.json" for name in ("status", "env")}
    config = fields_of(read_file(files["config"])[0], str(files["config"]), {"family": str})
    resolved = read_file(files["resolved"])[0]
    fields_of(resolved, str(files["resolved"]), maybe=_RESOLVED)
    for key, pin in (resolved.get("parents") or {}).items():
        fields_of(pin, f"{files['resolved']}, parents.{key}", {"file": str, "sha256": str})
    status, place = read_record(files["status"], _STATUS), str(files["status"])
    fields_of(status, place, maybe=_LATER)
    fields_of(
        status["metrics"], f"{place}, metrics", maybe=dict.fromkeys(status["metrics"], NUMBER)
    )
    for number, entry in enumerate(status.get("declared") or ()):
        fields_of(entry, f"{place}, declared {number}", {"name": str, "better": str})
    env = fields_of(read_record(files["env"]), str(files["env"]), maybe=_ENV)
    return Run(path, config, resolved, status, env)


def find_runs(root: Path | str, name: str | None = None) -> list[Run]:
    """All runs below `root`, or those whose directory has that name, oldest first."""
    folders = (path for path in _run_folders(Path(root)) if name in (None, path.name))
    runs = [open_run(path) for path in folders]
    return sorted(runs, key=lambda run: (str(run.status.get("started", "")), str(run.path)))


def _run_folders(root: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(root):
        if "status.json" in files and "config.yaml" in files:
            below.clear()
            yield Path(folder)
        below.sort()
