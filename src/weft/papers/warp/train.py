"""The script of the weight-space models' README: edit `config.yaml`, run `train.py`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.atomic import write_text
from weft.config.layer import dotted
from weft.config.yaml import read_file
from weft.errors import ConfigError, UsageError
from weft.families.warp.config import Config
from weft.families.warp.options.aliases import ALIASES
from weft.papers import script
from weft.papers.warp.words import as_run, check_flags, differences, in_their_words, keys_of
from weft.shell import spelt

if TYPE_CHECKING:
    from weft.families.warp.config import Config
    from weft.run.registry import Run

_WHICH_RUN = ("run.", "dataset=", "data.dataset=")


def main(argv: Sequence[str] | None = None) -> int:
    """Trains as `config.yaml` says, or with `train: False` evaluates an existing run.

    A run is written to `run.dir`, or else to `<run.root>/<dataset>/<time>`. Besides the files of
    every run of weft (checkpoints, figures, a report) it has those of the original:
    `training.log`, `testing.log`, `losses.npz`, `best_valid.safetensors`,
    `best_train.safetensors`, and in `backup/` this script and the config of the run, `--set`
    included. This config has `train: False`, so that the script in `backup/` evaluates its run. Any
    other change of it is refused, because a run is evaluated with the config of its training.

    Returns: the exit code.
    """
    return script.run(_train_or_evaluate, argv)


def _train_or_evaluate(words: list[str]) -> None:
    flags = script.parsed(_parser(), words)
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
            hint=spelt("train", Path(path)),
        )
    train = {"train": True, **check_flags(path, flags.set)}["train"]
    changes = [word for word in flags.set if not word.startswith("train=")]
    with in_their_words(keys_of(path, changes)):
        (_train if train else _evaluate)(path, changes)


def _train(path: Path, changes: Sequence[str]) -> None:
    from weft import api
    from weft.papers.warp.layout import OriginalLayout

    config = _config(path, changes)
    for caution in config.cautions:
        script.note(caution)
    overrides: dict[str, Any] = {"train": True}
    # The backup is run from another folder.
    if config.data.root is not None:
        overrides["data.root"] = str(Path(config.data.root).resolve())
    if config.data.dataset.endswith(".npz"):
        overrides["data.dataset"] = str(Path(config.data.dataset).resolve())
    text = as_run(path, changes)
    sinks = [lambda directory: OriginalLayout(directory, text)]

    def train(folder: str) -> Run | None:
        chosen = {**overrides, "run.dir": folder}
        return api.train(str(path), *changes, show=True, sinks=sinks, **chosen)

    told = config.run.dir
    run = script.in_new_folder(lambda: _fresh(config), train) if told is None else train(told)
    if run is not None:
        print(f"{run.path}  {_headline(run.metrics)}")


def _evaluate(path: Path, changes: Sequence[str]) -> None:
    """Restores a run's best weights, and computes its metrics and figures again."""
    from weft import api
    from weft.papers.warp.layout import tested

    idle = [word for word in changes if not word.startswith(_WHICH_RUN)]
    if idle:
        raise UsageError(
            f"`{idle[0]}` changes nothing: a run is evaluated as it was trained",
            where="--set",
            expected="run.dir, run.root or dataset, which say what run it is",
        )
    config = _config(path, changes)
    folder = _existing(config, path)
    _check_same(config, folder, path)
    metrics = api.evaluate(folder)
    log = folder / "testing.log"
    before = log.read_text() if log.is_file() else ""
    write_text(log, before + tested("evaluated", metrics))
    api.sample(folder)
    api.report(folder)
    print(f"{folder}  {_headline(metrics)}")


def _config(path: Path, changes: Sequence[str]) -> Config:
    from weft import api

    config = api.configure(str(path), *changes, train=True).config
    assert isinstance(config, Config)
    return config


def _home(config: Config) -> Path:
    """The folder of the runs on the config's data set."""
    return Path(config.run.root) / Path(config.data.dataset).stem


def _fresh(config: Config) -> Path:
    """A new folder, named by the time."""
    return script.unused(_home(config) / datetime.now().strftime("%y%m%d-%H%M%S"))


def _existing(config: Config, path: Path) -> Path:
    """The run to evaluate: `run.dir`, the run whose backup this is, or the newest.

    Raises:
        UsageError: if there is none.
    """
    from weft.run.registry import find_runs

    if config.run.dir is not None:
        return Path(config.run.dir)
    if (around := _run_of_backup(path)) is not None:
        return around
    finished = [run for run in find_runs(_home(config)) if run.state == "finished"]
    if not finished:
        raise UsageError(
            "there is no finished run to evaluate",
            where=str(_home(config)),
            hint="train: True makes one; run.dir names one elsewhere",
        )
    return finished[-1].path


def _run_of_backup(path: Path) -> Path | None:
    """The run whose backup contains `path`, or None."""
    from weft.papers.warp.layout import BACKUP

    around = path.resolve().parent.parent
    inside = path.resolve().parent.name == BACKUP and (around / "status.json").is_file()
    return around if inside else None


def _check_same(config: Config, folder: Path, path: Path) -> None:
    """Compares a config with the run to evaluate.

    The config in the run's own backup must agree; of another config the differences are noted.

    Raises:
        ConfigError: if the config in the backup differs from that of the run.
    """
    run = _config(folder / "config.yaml", ())
    found = differences(dotted(config.model_dump()), dotted(run.model_dump()))
    if not found:
        return
    names = {ALIASES[key][0]: key for key in keys_of(path, ()) if key in ALIASES}
    told = "; ".join(
        f"`{names.get(key, key)}` is {theirs}, not {ours}" for key, (ours, theirs) in found.items()
    )
    if _run_of_backup(path) is None:
        script.note(f"{folder} is evaluated as it was trained: {told}")
        return
    raise ConfigError(
        f"a run is evaluated as it was trained: {told}",
        where=str(path),
        hint="a config of its own, with train: True, makes a new run",
    )


def _headline(metrics: Mapping[str, float]) -> str:
    """The most important metrics of the test set, as text."""
    wanted = ("test/accuracy", "test/mse", "test/bpd")
    return "  ".join(f"{name} {metrics[name]:.4g}" for name in wanted if name in metrics)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "train.py", description="Weight-space sequence models.", allow_abbrev=False
    )
    parser.add_argument("--config", default="config.yaml", metavar="FILE", help="what to run")
    script.add_set(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
