"""Finds runs by scanning directories: there is no database that could disagree with them."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.errors import RunError, WrongRun
from weft.run.directory import RunDirectory
from weft.run.files import RECORD, read_record, read_rows
from weft.shell import spelt
from weft.task.metric import Metric, declared

if TYPE_CHECKING:
    from torch import nn

    from weft.run.model import Trained

_NUMBER = re.compile(r"(\d+)", re.ASCII)

STATES = ("running", "finished", "interrupted", "failed", "crashed", "damaged")
"""States of a run; `crashed`: no end is recorded, and no process writes it."""

CONTINUES = "continues"
"""Entry of resolved.yaml that names the run which a longer one continues, and the step."""

_BLANK = {
    "state": "damaged",
    "recipe": "",
    "step": 0,
    "total_steps": 0,
    "seconds": 0.0,
    "started": "",
    "metrics": {},
}
"""The status of a run whose status.json cannot be read."""


@dataclass(frozen=True, repr=False)
class Run:
    """A run, as read from its files.

    Attributes:
        path: its directory.
        config: the full config as plain values.
        resolved: derived values: total_steps, parameters, …
        status: status.json.
        env: versions, machine, git state.
        damage: what is wrong with one of the files, "" if nothing; the state is then `damaged`.
    """

    path: Path
    config: dict[str, Any]
    resolved: dict[str, Any]
    status: dict[str, Any]
    env: dict[str, Any]
    damage: str = ""

    def __fspath__(self) -> str:
        """Its directory: whatever takes a run's path takes the run."""
        return str(self.path)

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.state} at step {self.status['step']})"

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.path.name

    @property
    def family(self) -> str:
        """The family that trained; "" if the files that say so are damaged."""
        return str(self.config.get("family") or self.status.get("family") or "")

    @cached_property
    def state(self) -> str:
        """One of `STATES`."""
        state = str(self.status["state"])
        if state == "running" and not RunDirectory(self.path).is_locked():
            return "crashed"
        return state

    @property
    def metrics(self) -> dict[str, float]:
        """The latest evaluation."""
        return dict(self.status["metrics"])

    @property
    def headlines(self) -> list[str]:
        """Names of its metrics that its task declares, most important first, such as
        `test/accuracy`; of each, that of the test set before that of validation."""
        wanted = (f"{split}/{metric.name}" for metric in self.declared for split in ("test", "val"))
        return [name for name in wanted if name in self.metrics]

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return float(self.status.get("seconds") or 0)

    @property
    def device(self) -> str:
        """What it was trained on: the device's name if it is known, else such as `cuda:0`."""
        return str(self.env.get("device_name") or self.resolved.get("device", ""))

    @property
    def parents(self) -> dict[str, dict[str, str]]:
        """Config key -> `file` and `sha256` of the weights of the earlier run it started from."""
        return dict(self.resolved.get("parents") or {})

    @property
    def continues(self) -> str:
        """The finished run that this one continues, as `directory@step`; "" if none."""
        lineage = self.resolved.get(CONTINUES)
        return f"{lineage['run']}@{lineage['step']}" if lineage else ""

    @property
    def declared(self) -> tuple[Metric, ...]:
        """The metrics of its task, most important first; empty in runs of early versions."""
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

    def _repr_html_(self) -> str:
        shown = {"state": self.state, "step": f"{self.status['step']:,}"}
        shown |= {k: "—" if v is None else f"{v:.4g}" for k, v in self.status["metrics"].items()}
        rows = (f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in shown.items())
        return f"<table><caption>{escape(str(self.path))}</caption>{''.join(rows)}</table>"

    def logged(self) -> dict[str, float]:
        """The last value of every scalar in its rows, such as `train/loss`."""
        last: dict[str, float] = {}
        for row in self.history():
            last |= {key: value for key, value in row.items() if value is not None}
        return last

    def history(self) -> list[dict[str, Any]]:
        """All rows of metrics.jsonl."""
        path = RunDirectory(self.path).metrics
        return read_rows(path) if path.exists() else []


def declared_by(runs: Iterable[Run]) -> tuple[Metric, ...]:
    """The metrics that the first of `runs` with any declares; none if none does."""
    return next((run.declared for run in runs if run.declared), ())


def open_run(path: Path | str) -> Run:
    """Reads the run in `path`.

    Raises:
        WrongRun: if there is no run.
        RunError: if one of its files is damaged.
    """
    path = Path(path)
    if not is_run(path):
        raise WrongRun(
            "this is not a run",
            where=str(path),
            expected="a directory with status.json and config.yaml",
            hint=f"`{spelt('runs', '--root', path)}` lists those below"
            if path.is_dir()
            else "`weft runs` lists the runs",
        )
    config, resolved, status, env = (read_record(path, name) for name in RECORD)
    return Run(path, config, resolved, status, env)


def is_run(path: Path | str) -> bool:
    """Whether `path` is the directory of a run, damaged or not."""
    try:
        return _tells(os.listdir(path))
    except OSError:
        return False


def find_runs(root: Path | str, name: str | None = None) -> list[Run]:
    """All runs below `root`, oldest first; with `name`, only those whose directory is called so.

    A run with a damaged file is included: its state is `damaged`, and `damage` says why.
    """
    folders = (path for path in _run_folders(Path(root)) if name in (None, path.name))
    runs = [_as_it_is(path) for path in folders]
    return sorted(runs, key=lambda run: (str(run.status.get("started", "")), counted(run.path)))


def counted(path: Path) -> list[tuple[str, int]]:
    """By this key, paths are sorted as people count: `run-2` stands before `run-10`."""
    parts = _NUMBER.split(str(path))
    return [*zip(parts[::2], map(int, [*parts[1::2], "-1"]), strict=True)]


def _as_it_is(path: Path) -> Run:
    """The run in `path`, with damaged files taken as empty."""
    found: dict[str, dict[str, Any]] = {}
    damage = ""
    for name in RECORD:
        try:
            found[name] = read_record(path, name)
        except RunError as error:
            found[name], damage = {}, damage or error.message
    if damage:
        status = {**_BLANK, **found["status.json"], "message": damage}
        # Not damaged but just starting: its writer takes the lock before it writes the status.
        new = not (path / "status.json").exists() and RunDirectory(path).is_locked()
        damage = "" if new else damage
        state = {"state": "running", "message": "it is starting"} if new else {"state": "damaged"}
        found["status.json"] = {**status, **state}
    config, resolved, status, env = (found[name] for name in RECORD)
    return Run(path, config, resolved, status, env, damage)


def _run_folders(root: Path) -> Iterator[Path]:
    closed: list[Path] = []

    def on_error(error: OSError) -> None:
        if isinstance(error, PermissionError):
            closed.append(Path(error.filename))

    for folder, below, files in os.walk(root, onerror=on_error):
        if _tells([*files, *below]):
            below.clear()
            yield Path(folder)
        below.sort()
    # Folders that may not be read could be runs: they are shown as damaged, not passed over.
    yield from closed


def _tells(names: Collection[str]) -> bool:
    """Whether a folder with these files is a run: at least two of `RECORD`."""
    return sum(name in names for name in RECORD) > 1
