"""The script of the weight-space models' README: edit `config.yaml`, run `train.py`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.yaml import read_file, read_value
from weft.errors import UsageError, WeftError

if TYPE_CHECKING:
    from weft.families.warp.config import Config
    from weft.run.directory import RunDirectory

BACKUP = "backup"
_WHICH_RUN = ("run.", "dataset=", "data.dataset=")


def main(argv: Sequence[str] | None = None) -> int:
    """Trains what `config.yaml` says, or with `train: False` evaluates a run that exists.

    A run is written to `run.dir`, or else to `<run.root>/<dataset>/<time>`. Beside what every run
    of weft has - checkpoints with the optimiser's state, figures, a report - it holds what the
    original left: `training.log`, `testing.log`, `losses.npz`, `best_valid.safetensors`,
    `best_train.safetensors`, and in `backup/` this script and its config, which there stands at
    `train: False`, so that the script evaluates the run it lies in.

    Returns: the exit code.
    """
    words = [word for word in (sys.argv[1:] if argv is None else argv) if word.strip()]
    flags = _parser().parse_args(words)
    try:
        path = Path(flags.config)
        if not path.is_file():
            raise UsageError(
                f"there is no file `{path}`",
                where="--config",
                hint="run the script in the folder of its config.yaml",
            )
        values = read_file(path)[0]
        if values.get("family", "warp") != "warp":
            raise UsageError(
                f"`{path}` configures the family `{values['family']}`",
                where="family",
                expected="warp",
                hint=f"weft train {path}",
            )
        train = values.get("train", True)
        chosen = [read_value(word[6:], "--set") for word in flags.set if word[:6] == "train="]
        changes = [word for word in flags.set if word[:6] != "train="]
        if (chosen or [train])[-1]:
            _train(path, changes)
        else:
            _evaluate(path, changes)
    except WeftError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _train(path: Path, changes: Sequence[str]) -> None:
    from weft import api

    config = _config(path, changes)
    for caution in config.cautions:
        print(f"note: {caution}", file=sys.stderr)
    overrides: dict[str, Any] = {"train": True, "run.dir": config.run.dir or str(_fresh(config))}
    # The backup is run in another folder.
    if config.data.root is not None:
        overrides["data.root"] = str(Path(config.data.root).resolve())
    if config.data.dataset.endswith(".npz"):
        overrides["data.dataset"] = str(Path(config.data.dataset).resolve())
    sinks = [lambda directory: OriginalLayout(directory, path)]
    run = api.train(str(path), *changes, show=True, sinks=sinks, **overrides)
    if run is not None:
        print(f"{run.path}  {_headline(run.metrics)}")


def _evaluate(path: Path, changes: Sequence[str]) -> None:
    """Restores a run's best weights and redoes its metrics and figures."""
    from weft import api
    from weft.atomic import write_text

    idle = [word for word in changes if not word.startswith(_WHICH_RUN)]
    if idle:
        raise UsageError(
            f"`{idle[0]}` changes nothing: a run is evaluated as it was trained",
            where="--set",
            expected="run.dir, run.root or dataset, which say what run it is",
        )
    folder = _existing(_config(path, changes), path)
    metrics = api.evaluate(folder)
    log = folder / "testing.log"
    before = log.read_text() if log.is_file() else ""
    write_text(log, before + _lines("evaluated", metrics))
    api.sample(folder)
    api.report(folder)
    print(f"{folder}  {_headline(metrics)}")


def _config(path: Path, changes: Sequence[str]) -> Config:
    from weft import api
    from weft.families.warp.config import Config

    config = api.configure(str(path), *changes, train=True).config
    assert isinstance(config, Config)
    return config


def _home(config: Config) -> Path:
    """Where runs on the config's data set lie."""
    return Path(config.run.root) / Path(config.data.dataset).stem


def _fresh(config: Config) -> Path:
    """A folder that does not exist yet, named by the time."""
    base = _home(config) / datetime.now().strftime("%y%m%d-%H%M%S")
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path


def _existing(config: Config, path: Path) -> Path:
    """The run to evaluate: `run.dir`, the run whose backup this is, or the newest.

    Raises:
        UsageError: if there is none.
    """
    from weft.run.registry import find_runs

    if config.run.dir is not None:
        return Path(config.run.dir)
    around = path.resolve().parent.parent
    if path.resolve().parent.name == BACKUP and (around / "status.json").is_file():
        return around
    finished = [run for run in find_runs(_home(config)) if run.state == "finished"]
    if not finished:
        raise UsageError(
            "there is no finished run to evaluate",
            where=str(_home(config)),
            hint="train: True makes one; run.dir names one elsewhere",
        )
    return finished[-1].path


class OriginalLayout:
    """Leaves the original's files in a run's folder.

    Args:
        directory: the run.
        config: the file the run was started with.
    """

    def __init__(self, directory: RunDirectory, config: Path) -> None:
        from weft.engine.checkpoint import Store

        self.path, self.store = directory.path, Store(directory.checkpoints)
        self.losses: list[float] = []
        self.judged, self.lowest = 0, float("inf")
        backup = self.path / BACKUP
        backup.mkdir()
        (backup / "config.yaml").write_text(_untrained(config.read_text()))
        script = Path(sys.argv[0])
        if script.name == "train.py" and script.is_file():
            (backup / "train.py").write_text(script.read_text())

    def on_row(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the row to training.log and, if a checkpoint has come, judges it."""
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
        write_text(self.path / "testing.log", _lines("after training", run.metrics))

    def _judge(self) -> None:
        """Keeps the newest checkpoint's weights if the training loss before it was the lowest."""
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
        import json

        from safetensors.torch import save

        from weft.atomic import atomic_writer
        from weft.engine.checkpoint import read

        weights = read(self.store.find(checkpoint))["model"]
        config = json.dumps(read_file(self.path / "config.yaml")[0])
        with atomic_writer(self.path / f"{name}.safetensors") as file:
            file.write(save(weights, metadata={"weft": config}))


def _untrained(text: str) -> str:
    """The config's text with `train: False`."""
    changed, count = re.subn(r"(?m)^train:[ \t]*\S+", "train: False", text)
    return changed if count else f"{text.rstrip()}\ntrain: False\n"


def _lines(title: str, metrics: Mapping[str, float]) -> str:
    stamp = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    rows = [f"{name} {value:.6g}" for name, value in sorted(metrics.items())]
    return "\n".join([f"{stamp} {title}", *rows, ""])


def _headline(metrics: Mapping[str, float]) -> str:
    """The test set's most telling numbers."""
    wanted = ("test/accuracy", "test/mse", "test/bpd")
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in wanted if name in metrics)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "train.py", description="Weight-space sequence models.", allow_abbrev=False
    )
    parser.add_argument("--config", default="config.yaml", metavar="FILE", help="what to run")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key, over the file's"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
