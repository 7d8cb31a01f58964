"""The commands of the feedback README: four scripts that share config.json.

They train like the preset feedback/original, so that `metrics.csv` can be compared with the
original's logs: batches are random and padded to their longest text; padding gets noise and counts
in the loss like text (`loss_original`); times are drawn independently; and feedback has
`mode: compat`, with raw deltas. Two things differ: master weights are fp32, not bf16, and
validation uses fixed masks. `compile` has an effect on GPUs only.
`--set data.batching=buckets --set data.pad_is_text=false --set mode=stable` gives weft's own way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.explain import suggest
from weft.config.layer import LENGTHS
from weft.errors import Interrupted, UsageError, asked_by
from weft.papers import script
from weft.papers.feedback.config_file import OldConfig
from weft.papers.feedback.exchange import imported, is_original
from weft.papers.feedback.flags import SCRIPTS, Script, parser
from weft.papers.feedback.layout import (
    Names,
    OriginalLayout,
    keep_epochs,
    keep_sources,
    kept_config,
)
from weft.papers.feedback.runs import branch, checkpoint, fresh, is_newest, latest, named

if TYPE_CHECKING:
    from weft.config.base import FamilyConfig
    from weft.run.directory import RunDirectory
    from weft.run.registry import Run

RECIPE = "feedback/original"
_FIXED = {"seed": 1337, "log.every": 10}
"""What the original has in its code."""


def main(name: str, argv: Sequence[str] | None = None) -> int:
    """Trains a run in `<out_dir>/<dataset>/<run name>_<time>`, or resumes one.

    The folder is a run of weft. In addition it has copies of config.json and the script,
    `metrics.csv`, and links with the original's names to weft's checkpoints:
    `epoch_ckpt_<dataset>_<epoch>` every `save_epoch_interval` epochs, `epoch_ckpt_<dataset>` for
    the newest and `best_ckpt_<dataset>` for the best.

    Args:
        name: of the script, without `.py`.
        argv: its command line; that of the process if None.
    Returns: the exit code.
    """
    return script.run(lambda words: _train(name, words), argv)


def _train(name: str, words: list[str]) -> None:
    if name not in SCRIPTS:
        raise UsageError(
            f"there is no script `{name}`",
            expected=f"one of {', '.join(SCRIPTS)}",
            hint=suggest(name, list(SCRIPTS), ""),
        )
    flags = script.parsed(parser(name), words)
    try:
        run = (_resume if flags.resume else _start)(name, flags)
    except Interrupted as stop:
        stop.hint = "the same command with --resume True goes on with it"
        raise
    if run is not None:
        print(f"{run.path}  loss_original {run.metrics['val/loss_original']:.4f}")


def _start(name: str, flags: argparse.Namespace) -> Run | None:
    from weft import api

    with asked_by("--active_dataset"):
        chosen, old = SCRIPTS[name], OldConfig(Path(flags.config), flags.active_dataset)
    if flags.checkpoint_dir or flags.checkpoint_name:
        old.notes.append(f"--{chosen.resumed}checkpoint_… has no effect without --resume True")
    values = old.values | _FIXED | dict(chosen.values) | {"run.tags": [name, old.dataset]}
    if chosen.adapts:
        values["base"] = str(_base(flags, old.home.parent))
    if chosen.writes:
        values["lora_rank"] = flags.lora_rank
        if flags.feedback_reverse is not None:
            values["feedback_reverse"] = flags.feedback_reverse

    def choose() -> Path:
        return fresh(old.home, old.setting(chosen.run_name))

    values["run.dir"] = chosen_by_time = str(choose())
    values = script.overlay(values, flags.set)
    own = {"lora_rank": "--lora_rank", "feedback_reverse": "--feedback_reverse"}
    with script.told(flags.set, old.origins | own):
        config = api.configure(RECIPE, **values).config
    unset = "engine.compile" not in script.settings(flags.set)
    if config.engine.compile and unset and _on_cpu(config):
        # The original ran on GPUs only; on a CPU, compiling takes minutes and a C++ compiler.
        values["engine.compile"] = False
        old.notes.append("not compiled on a CPU, unless by --set engine.compile=true")
    for text in old.notes:
        script.note(text)

    def layout(directory: RunDirectory) -> OriginalLayout:
        keep_sources(directory.path, name, old.path)
        for text in old.notes:
            directory.note(f"note: {text}")
        return OriginalLayout(directory, _names(chosen, old))

    def train(folder: str) -> Run | None:
        return api.train(RECIPE, show=True, sinks=[layout], **{**values, "run.dir": folder})

    if values["run.dir"] != chosen_by_time:
        return train(values["run.dir"])
    return script.in_new_folder(choose, train)


def _resume(name: str, flags: argparse.Namespace) -> Run | None:
    """Resumes a run with the config it was started with."""
    from weft import api
    from weft.run.registry import open_run

    with asked_by("--active_dataset"):
        chosen, old = SCRIPTS[name], OldConfig(Path(flags.config), flags.active_dataset)
    flag = f"--{chosen.resumed}checkpoint"
    if flags.checkpoint_dir is None:
        path = latest(old.home, old.setting(chosen.run_name))
    else:
        path = named(flags.checkpoint_dir, [old.home], f"{flag}_dir")
    run, own = open_run(path), old
    _check_same(name, flags, run)
    news, longer = _news(flags.set, run), False
    if kept_config(path).is_file():
        own = OldConfig(kept_config(path), old.dataset)
        if own.values | {"epochs": 0} != old.values | {"epochs": 0}:
            script.note(f"{old.path} has changed; the run keeps its own copy")
        longer = own.values["epochs"] != old.values["epochs"] and not _sets_length(flags.set)
        news += [f"epochs={old.values['epochs']}"] * longer
    if flags.checkpoint_name is not None:
        saved = checkpoint(path, flags.checkpoint_name, f"{flag}_name")
        if not is_newest(run, saved):
            path = branch(run, saved, fresh(path.parent, own.setting(chosen.run_name)))
            script.note(f"going on from {saved} in {path}")

    def layout(directory: RunDirectory) -> OriginalLayout:
        keep_sources(directory.path, name, old.path)
        if longer:
            keep_epochs(directory.path, old.path)
        return OriginalLayout(directory, _names(chosen, own))

    return api.resume(path, *news, show=True, sinks=[layout])


def _base(flags: argparse.Namespace, out_dir: Path) -> Path:
    """The checkpoint of the feedforward model, trained on any data set.

    A checkpoint of the original is first converted to a run beside its folder.
    """
    folders = sorted(path for path in out_dir.glob("*") if path.is_dir())
    for place in (Path(), out_dir, *folders):
        folder = place / flags.ff_checkpoint_dir
        if is_original(folder, flags.ff_checkpoint_name):
            run = imported(folder, flags.ff_checkpoint_name)
            script.note(f"{folder / flags.ff_checkpoint_name} is the original's: imported as {run}")
            return next((run / "checkpoints").glob("*.pt")).resolve()
    run = named(flags.ff_checkpoint_dir, [*folders, out_dir], "--ff_checkpoint_dir")
    return checkpoint(run, flags.ff_checkpoint_name, "--ff_checkpoint_name")


def _names(chosen: Script, old: OldConfig) -> Names:
    return Names(
        dataset=old.dataset,
        log=old.setting("log_file_name"),
        table=old.setting("csv_file_name"),
        column=chosen.column,
        epochs=old.setting("save_epoch_interval") if old.setting("save_epoch") else None,
        best=old.setting("save_best_ckpt"),
    )


def _on_cpu(config: FamilyConfig) -> bool:
    from weft.engine.device import choose_device

    return choose_device(config.engine).type == "cpu"


def _check_same(name: str, flags: argparse.Namespace, run: Run) -> None:
    """Raises UsageError if the command describes another run than the one to be resumed."""
    for what, asked, has in _description(name, flags, run):
        if asked != has:
            raise UsageError(
                f"the run was not started like this: {what} is {has} there, {asked} here",
                where=str(run.path),
                hint=f"--{SCRIPTS[name].resumed}checkpoint_dir names another run; without "
                "--resume, a new one begins",
            )


def _description(
    name: str, flags: argparse.Namespace, run: Run
) -> Iterator[tuple[str, object, object]]:
    """Options that describe a run: name, value in the command, value of the run."""
    chosen, config = SCRIPTS[name], run.config
    tags = [*map(str, config["run"]["tags"]), "unknown", "unknown"]
    yield "the script", name, tags[0]
    yield "--active_dataset", flags.active_dataset, tags[1]
    if chosen.adapts:
        pinned = Path(run.parents["base"]["file"])
        folder = next(each for each in pinned.parents if each.name != "checkpoints")
        yield "--ff_checkpoint_dir", Path(flags.ff_checkpoint_dir).name, folder.name
    if chosen.writes:
        yield "--lora_rank", flags.lora_rank, config["lora_rank"]
        if flags.feedback_reverse is not None:
            yield "--feedback_reverse", flags.feedback_reverse, config["feedback_reverse"]


def _sets_length(words: Sequence[str]) -> bool:
    """Whether `--set` words give the length of the run."""
    return not LENGTHS.keys().isdisjoint(script.settings(words))


def _news(words: Sequence[str], run: Run) -> list[str]:
    """The `--set` words whose value differs from the run's config."""
    news = []
    last = {word.partition("=")[0]: word for word in words}
    for key, asked in script.settings(words).items():
        value: Any = run.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        # A run's config has absolute paths of files.
        if value != asked and value != str(Path(str(asked)).absolute()):
            news.append(last[key])
    return news


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]))
