"""Continues a finished run in a new one, which records where it comes from."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from weft.config.base import FamilyConfig
from weft.config.layer import LENGTHS, dotted
from weft.config.load import is_override
from weft.config.yaml import read_value
from weft.engine.checkpoint import State, Store
from weft.engine.isolation import isolated
from weft.engine.parts import Parts
from weft.engine.ranks import joined
from weft.engine.step import Stepper
from weft.engine.threads import kept
from weft.errors import CheckpointError, UsageError, WrongRun
from weft.families import find
from weft.run.directory import RunDirectory, create, now, unused
from weft.run.environment import environment
from weft.run.model import Trained
from weft.run.recorder import Followers, store_of
from weft.run.registry import CONTINUES, Run
from weft.run.resume import FREE, changed, check_longer, check_unchanged
from weft.run.session import Session
from weft.run.start import name_for
from weft.shell import spelt


def changes(words: Sequence[str | PathLike[str]], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The values that `key=value` words and keyword arguments set, by dotted key."""
    pairs = [word.partition("=") for word in map(str, words) if is_override(word)]
    return {key: read_value(text, "command line") for key, _, text in pairs} | dotted(overrides)


@isolated()
def lengthen(run: Run, overrides: Mapping[str, Any], followers: Followers) -> Trained | None:
    """Continues a finished run in a new directory, as `resume` would in the run's own.

    Weights, optimiser, schedule, random streams and place in the data are those of the last step.
    The rows are copied, and the best checkpoint, if it is not the last.

    Args:
        run: finished; nothing in it is changed.
        overrides: the new `steps` or `epochs`, and changes below `run` and the sections that may
            change at resume, by dotted key.
        followers: who follows the new run.

    Returns:
        The trained model; None on all processes but the first of several.

    Raises:
        WrongRun: if the run is not finished.
        RunError: if its rows are damaged.
        UsageError: if it is not made longer, would end at once by `eval.patience`, or a value
            changes that cannot.
        CheckpointError: if the checkpoint of its last step is missing or damaged.
    """
    config = _config(run, overrides)
    run.history()  # Raises if rows are damaged, before a directory is made that copies them.
    with joined(config.engine.timeout) as ranks:
        parts = Parts.of(find(config.family), config, ranks)
        threads = kept(parts, run.resolved)
        parts = replace(parts, threads=threads.number)
        check_longer(run, parts.plan.total_steps)
        told: list[str] = []
        source = store_of(parts, RunDirectory(run.path), told.append)
        checkpoint = source.load("last")
        _check_whole(run, checkpoint)
        data = parts.data()
        check_unchanged(run, checkpoint, parts, (), told.append)
        stepper = Stepper(parts, parts.model())
        directory = None
        if ranks.first:
            directory = _begun(run, parts, checkpoint, source, told)
        recipe = str(run.status["recipe"])
        return Session(parts, stepper, data, directory, recipe, followers, threads.told).run(
            checkpoint
        )


def _config(run: Run, overrides: Mapping[str, Any]) -> FamilyConfig:
    """The config of the longer run."""
    if run.state != "finished":
        raise WrongRun(
            f"the run has not finished (it is {run.state})",
            where=str(run.path),
            expected="a finished run, to be made longer in a new one",
            hint=run.damage or f"`{spelt('resume', run.path)}` goes on with it",
        )
    if not any(key in LENGTHS for key in overrides):
        raise UsageError(
            "a finished run goes on if it is made longer",
            where=str(run.path),
            expected="`steps=N` or `epochs=N` beside it",
            hint=f"`{spelt('train', run.path / 'config.yaml')}` repeats it",
        )
    values = dict(overrides)
    if run.config["run"].get("dir"):
        # The exact directory `run.dir` is taken by the finished run itself.
        named = "run.name" in overrides or "run.root" in overrides
        values = {"run.dir": None if named else str(unused(run.path)), **overrides}
    return changed(run.config, values, str(run.path / "config.yaml"), (*FREE, "run"))


def _check_whole(run: Run, checkpoint: State) -> None:
    """Refuses a checkpoint older than the run's last step, and a run that would end at once."""
    done, step = int(run.status["step"]), int(checkpoint["progress"]["step"])
    if step != done:
        raise CheckpointError(
            f"the checkpoint of its last step, {done}, is gone or damaged",
            where=str(RunDirectory(run.path).checkpoints),
            expected=f"that step; the newest good one is {step}",
            hint=f"`{spelt('train', run.path / 'config.yaml', 'steps=N')}` trains anew",
        )
    patience = run.config["eval"].get("patience")
    if patience is not None and checkpoint["progress"]["stale"] >= patience:
        words = ("train", run.path / "config.yaml", f"init={run.path}@last", "eval.patience=null")
        raise UsageError(
            f"the run ended because {patience} evaluations in a row brought nothing better",
            where=f"eval.patience={patience}",
            expected="a run that ended at its length",
            hint=f"`{spelt(*words)}` starts from its weights",
        )


def _begun(
    run: Run, parts: Parts, checkpoint: State, source: Store, told: Sequence[str]
) -> RunDirectory:
    """Makes and locks the new directory, and copies rows and checkpoints into it.

    The status is written before the checkpoints: a run that is killed in between begins at step 0
    when it is resumed, and ends with the same weights.
    """
    config, total = parts.config, parts.plan.total_steps
    progress, recipe = checkpoint["progress"], str(run.status["recipe"])
    step, best = int(progress["step"]), progress["best_step"]
    directory = create(config.run, config.family, name_for(recipe))
    said = f"continues {run.path} from step {step}, to {total} steps in all"
    directory.write_yaml("config", config.plain(), f"weft train {recipe}; {said}")
    lineage = {"run": str(run.path.absolute()), "step": step}
    directory.write_yaml("resolved", {**run.resolved, "total_steps": total, CONTINUES: lineage})
    env = environment(parts.device)
    directory.write_json("env", {**env, "threads": parts.threads or env["threads"]})
    for line in (said, *told):
        directory.note(line)
    blank = {"state": "interrupted", "step": 0, "seconds": 0.0, "metrics": {}}
    status = {"recipe": recipe, "total_steps": total, "started": now()}
    directory.write_json("status", blank | status)
    rows = RunDirectory(run.path).metrics
    if rows.is_file():
        shutil.copyfile(rows, directory.metrics)
    for number in dict.fromkeys((step, step if best is None else best)):
        source.copy(number, directory.checkpoints)
    return directory
