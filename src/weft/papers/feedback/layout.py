"""Writes the feedback original's files to a run's folder, besides weft's own."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.atomic import write_text
from weft.run.directory import RunDirectory

LOSSES = ("val/loss_original", "val/loss_padded")
"""Names of the original's validation loss; the second is that of earlier versions of weft."""
_CONFIG = "config.json"


@dataclass(frozen=True)
class Names:
    """Names of the original's files, and which of them are written.

    Attributes:
        dataset: the active data set, part of the names of checkpoints.
        log: the log file, besides weft's log.txt.
        table: the file with the losses of every epoch.
        column: column of the adapted model's loss in the table; "" if none is adapted.
        epochs: a link is made to the checkpoint of every `epochs` epochs; None makes none.
        best: whether a link is made to the best checkpoint.
    """

    dataset: str
    log: str
    table: str
    column: str
    epochs: int | None
    best: bool


class OriginalLayout:
    """Writes the original's table, and links with its names of checkpoints to weft's files.

    Everything is derived from metrics.jsonl and the folder of checkpoints. A resumed run therefore
    neither repeats nor loses anything.

    Args:
        directory: the run.
        names: of the files.
    """

    def __init__(self, directory: RunDirectory, names: Names) -> None:
        from weft.engine.checkpoint import Store
        from weft.run.registry import open_run

        self.directory, self.names = directory, names
        self.store = Store(directory.checkpoints)
        self.epoch = int(open_run(directory.path).resolved["batches_per_epoch"])
        if names.log != "log.txt":
            _link(directory.path / names.log, "log.txt")
        self._name_checkpoints()
        self._write_table()

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Makes links to the present checkpoints; adds an epoch to the table after validation."""
        self._name_checkpoints()
        if any(name in values for name in LOSSES):
            for row in self._write_table()[-2:]:
                cells = zip(_columns(self.names.column), row, strict=True)
                self.directory.note("  ".join(f"{name} {value}" for name, value in cells if value))

    def on_end(self, directory: RunDirectory, state: str) -> None:
        """Makes links to the last checkpoints."""
        self._name_checkpoints()

    def _name_checkpoints(self) -> None:
        names, steps = self.names, self.store.steps()
        if names.epochs is not None and steps:
            for step in steps:
                epoch, rest = divmod(step, self.epoch)
                if rest == 0 and epoch % names.epochs == 0:
                    self._name(f"epoch_ckpt_{names.dataset}_{epoch}.pt", step)
            self._name(f"epoch_ckpt_{names.dataset}.pt", steps[-1])
        best = self.store.best()
        if names.best and best in steps:
            self._name(f"best_ckpt_{names.dataset}.pt", best)

    def _write_table(self) -> list[list[str]]:
        from weft.run.registry import open_run

        path, names = self.directory.path, self.names
        rows = epochs(open_run(path).history(), adapted=bool(names.column))
        lines = [_columns(names.column), *rows]
        write_text(path / names.table, "".join(",".join(row) + "\n" for row in lines))
        return rows

    def _name(self, name: str, step: int | None) -> None:
        file = self.store.find(str(step))
        _link(self.directory.path / name, f"{file.parent.name}/{file.name}")


def keep_sources(path: Path, name: str, config: Path) -> None:
    """Copies the script and the config.json of a run to its folder, unless they are there.

    Args:
        path: the folder.
        name: of the script; it is copied only if it is the running program.
        config: the config.json.
    """
    copies = {kept_config(path): config}
    script = Path(sys.argv[0])
    if script.stem == name:
        copies[path / script.name] = script
    for copy, source in copies.items():
        if source.is_file() and not copy.exists():
            copy.write_bytes(source.read_bytes())


def keep_epochs(path: Path, config: Path) -> None:
    """Updates the number of epochs in a run's copy of config.json.

    Args:
        path: the folder.
        config: the config.json with the new number.
    """
    copy = json.loads(kept_config(path).read_text())
    copy["training"]["epochs"] = json.loads(config.read_text())["training"]["epochs"]
    write_text(kept_config(path), json.dumps(copy, indent=2) + "\n")


def kept_config(path: Path) -> Path:
    """The copy of config.json in a run's folder."""
    return path / _CONFIG


def epochs(history: Iterable[Mapping[str, Any]], *, adapted: bool) -> list[list[str]]:
    """The rows of the table: for each validation its losses, and the mean training loss before it.

    Losses are `loss_original`, or `loss_padded` in runs that lack it. Training does not run the
    model without adaptation, so that `loss` and `rel_change` of training are empty then. Values
    that no step has logged are empty too.

    Args:
        history: rows of metrics.jsonl.
        adapted: whether an adapted model is compared with its base.
    """
    rows: list[list[str]] = []
    losses: list[float] = []
    lr = ""
    for row in history:
        if "train/loss" in row:
            losses.append(_number(row["train/loss"]))
            lr = f"{row['opt/lr']:.6g}"
        name = next((name for name in LOSSES if name in row), None)
        if name is None:
            continue
        epoch = f"{row['epoch']:g}"
        loss = _number(row[name])
        mean = f"{sum(losses) / len(losses):.6f}" if losses else ""
        if adapted:
            base = _number(row[name.replace("/", "/base_")])
            change = f"{(loss - base) / abs(base):.6f}"
            rows.append(["train", epoch, "", mean, "", lr])
            rows.append(["val", epoch, f"{base:.6f}", f"{loss:.6f}", change, lr])
        else:
            rows.append(["train", epoch, mean, lr])
            rows.append(["val", epoch, f"{loss:.6f}", lr])
        losses = []
    return rows


def _columns(column: str) -> list[str]:
    changes = [column, "rel_change"] if column else []
    return ["type", "epoch", "loss", *changes, "lr"]


def _number(value: float | None) -> float:
    """A value of metrics.jsonl, in which null stands for NaN."""
    return math.nan if value is None else value


def _link(path: Path, target: str) -> None:
    """Makes `path` a symbolic link to `target`, atomically."""
    if path.is_symlink() and os.readlink(path) == target:
        return
    temporary = path.with_name(f".{path.name}.link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
