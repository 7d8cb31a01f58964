"""The GaussVAE scripts' command line: `--config F [--output D] [--resume CKPT] [--verbose N]`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.yaml import read_file
from weft.errors import UsageError
from weft.papers import script
from weft.run.directory import RunDirectory

if TYPE_CHECKING:
    from weft.run.recorder import SinkMaker

SPLATS, ITEMS = 512, 192
"""Splats per picture of the original, and number of random pictures that replace its data."""


def train_conv1d(argv: Sequence[str] | None = None) -> int:
    """Trains the Conv1D autoencoder of a config; returns the exit code."""
    return script.run(lambda words: _train(words, "conv1d_base", "train_conv1d_vae.py"), argv)


def train_resnet(argv: Sequence[str] | None = None) -> int:
    """Trains the ResNet autoencoder of a config; returns the exit code."""
    return script.run(
        lambda words: _train(words, "resnet_conv1d_512d", "train_resnet_conv1d_vae.py"), argv
    )


def _train(words: list[str], preset: str, name: str) -> None:
    from weft import api

    flags = script.parsed(_parser(name), words)
    if flags.resume is not None:
        run = api.resume(_run_of(flags), show=flags.verbose == 1, sinks=[_layout(flags.verbose)])
    else:
        values, origins = to_values(flags)
        with script.told(flags.set, origins):
            run = api.train(
                f"gaussvae/{preset}",
                show=flags.verbose == 1,
                sinks=[_layout(flags.verbose)],
                **script.overlay(values, flags.set),
            )
    if run is not None:
        metrics = run.metrics
        print(f"{run.path}  test recon {metrics['test/recon_loss']:.4g}")


def to_values(flags: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """The config as weft's option -> value, and each option's place in the file.

    Raises:
        ConfigError: for unknown keys, and for lists that do not fit together.
        UsageError: if there is no config.
    """
    from weft.papers.gaussvae.config_file import OldConfig

    if flags.config is None:
        raise UsageError(
            "no config is given", where="--config", expected="configs/conv1d_base.yaml, say",
            hint="`--resume CKPT` alone resumes a run",
        )  # fmt: skip
    old = OldConfig(Path(flags.config))
    for text in old.notes:
        script.note(text)
    values = {**old.values, "run.dir": str(flags.output or old.output)}
    values |= {"log.every": 1, "log.tensorboard": False, "log.histograms": "1 epoch"}
    values["engine.precision"] = _precision(old.mixed)
    if not old.has_data:
        values |= {"data.splats": SPLATS, "data.items": ITEMS}
        script.note(
            f"{flags.config} names no `data.train_dir`: training on {ITEMS} landscapes drawn by "
            f"weft, {SPLATS} splats each; `weft data fit PICTURES --splats {SPLATS} --out FOLDER` "
            "makes a folder of your own"
        )
    return values, old.origins


def _precision(mixed: bool) -> str:
    """bf16 if mixed precision is asked for and there is a GPU, where it helps; else fp32."""
    if not mixed:
        return "fp32"
    import torch

    if torch.cuda.is_available():
        return "bf16"
    script.note("mixed precision is for GPUs; computing in float32")
    return "fp32"


def _layout(verbose: int) -> SinkMaker:
    from weft.papers.gaussvae.layout import OriginalLayout
    from weft.run.record import Sink

    def made(directory: RunDirectory) -> Sink:
        return OriginalLayout(directory, _epochs(directory), talks=verbose == 2)

    return made


def _epochs(directory: Any) -> int:
    return int(read_file(directory.path / "config.yaml")[0]["epochs"] or 0)


def _run_of(flags: argparse.Namespace) -> Path:
    """The run given by `--resume`, which is its folder or a checkpoint in it."""
    path = Path(flags.resume)
    folder = path if path.is_dir() else path.parent.parent
    if not path.exists() or not (folder / "status.json").is_file():
        raise UsageError(
            f"`{path}` is neither a run's folder nor a checkpoint of a run",
            where="--resume",
            expected="such as experiments/run_004/checkpoints/step_00000300.pt",
        )
    if flags.output is not None and Path(flags.output).resolve() != folder.resolve():
        raise UsageError(
            f"the run is in `{folder}`, and is resumed there",
            where="--output",
            hint="leave it out, or name that folder",
        )
    if path.is_file() and path != max(path.parent.glob("step_*.pt")):
        script.note(f"going on from the newest step saved in {path.parent}")
    return folder


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        name, description="Trains an autoencoder of splat sets.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file with the original's keys")
    add("--output", metavar="DIR", help="where the run goes, in place of `output_dir`")
    add("--resume", metavar="CKPT", help="goes on with the run that has this checkpoint")
    add("--verbose", type=int, choices=(0, 1, 2), default=1,
        help="0: silent, 1: a bar, 2: a line an epoch")  # fmt: skip
    script.add_set(parser)
    return parser
