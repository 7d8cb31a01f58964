"""Resumes a run exactly where its newest good checkpoint left it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from weft.config.base import FamilyConfig
from weft.config.explain import suggest
from weft.config.layer import LENGTHS
from weft.config.load import validate
from weft.config.yaml import KeyPath
from weft.engine.checkpoint import State
from weft.engine.identity import check, saved_identity
from weft.engine.isolation import isolated
from weft.engine.parts import Parts
from weft.engine.ranks import joined
from weft.engine.step import Stepper
from weft.engine.threads import kept
from weft.errors import CheckpointError, UsageError, WrongRun
from weft.families import find
from weft.run.directory import RunDirectory
from weft.run.model import Trained
from weft.run.parents import kept_parents
from weft.run.recorder import Followers, store_of
from weft.run.registry import Run, open_run
from weft.run.session import Session
from weft.shell import spelt

FREE = ("log", "engine", "checkpoint")
"""Config sections that may change when a run is resumed: they do not change what is computed."""

ACCEPTABLE = ("config", "data", "checkpoints")
"""What `--accept-changes` can name."""


def acceptable(names: str | Collection[str]) -> frozenset[str]:
    """The differences to accept, from a list of names or one text with commas between them.

    Raises:
        UsageError: if a name is not in `ACCEPTABLE`.
    """
    words = names.split(",") if isinstance(names, str) else names
    found = frozenset(word.strip() for word in words) - {""}
    for word in sorted(found - {*ACCEPTABLE}):
        raise UsageError(
            f"`{word}` cannot be accepted",
            where="--accept-changes",
            expected=f"some of {', '.join(ACCEPTABLE)}",
            hint=suggest(word, ACCEPTABLE, ""),
        )
    return found


@isolated()
def resume(
    path: Path,
    overrides: Mapping[str, Any],
    followers: Followers,
    accept: Collection[str] = (),
) -> Trained | None:
    """Resumes a run and trains it to its end.

    Args:
        path: the run's directory.
        overrides: changes below `log`, `engine` and `checkpoint`, by dotted key, and a new `steps`
            or `epochs`.
        followers: who follows the run.
        accept: `config` or `data`: what may have changed since the checkpoint was written;
            `checkpoints`: that they are missing, so that the run begins again at step 0.

    Returns:
        The trained model; None on all processes but the first of several.

    Raises:
        WrongRun: if the run is finished and not made longer.
        PlaceTaken: if another process writes it.
        CheckpointError: if all checkpoints are damaged, missing, or of another family; or, before
            the first checkpoint, if a parent's weights are missing or changed.
        Interrupted: if a signal stopped the run after its state was saved.
    """
    run = open_run(path)
    longer = [key for key in overrides if key in LENGTHS]
    if run.status["state"] == "finished" and not longer:
        raise WrongRun(
            "the run is finished",
            where=str(path),
            hint=f"`{spelt('evaluate', path)}` recomputes its metrics\n"
            f"`{spelt('resume', path, 'epochs=N')}` makes it longer, as `steps=N` does",
        )
    config = changed(run.config, overrides, str(path / "config.yaml"))
    with joined(config.engine.timeout) as ranks:
        parts = Parts.of(find(config.family), config, ranks)
        threads = kept(parts, run.resolved)
        parts = replace(parts, threads=threads.number)
        if longer:
            check_longer(run, parts.plan.total_steps)
        directory = RunDirectory(path)
        if ranks.first:
            directory.lock()
        try:
            store = store_of(parts, directory, directory.note)
            checkpoint = store.newest()
            if directory.writes:
                store.tidy(checkpoint)
            _check_checkpoint(run, checkpoint, config.family, accept)
            # A checkpoint holds all weights; before the first one they come from the parents.
            parents = kept_parents(run) if checkpoint is None else None
            mine = directory if ranks.first else None
            recipe, data = str(run.status["recipe"]), parts.data()
            if checkpoint is not None:
                check_unchanged(run, checkpoint, parts, accept, directory.note)
            if longer and directory.writes:
                _lengthen(directory, run, parts)
            begins = data if checkpoint is None else None
            # Stepper and session are bound to no name: they must be freed before `joined` ends.
            return Session(
                parts,
                Stepper(parts, parts.model(parents, begins)),
                data,
                mine,
                recipe,
                followers,
                threads.told,
            ).run(checkpoint)
        finally:
            directory.unlock()


def _check_checkpoint(
    run: Run, checkpoint: State | None, family: str, accept: Collection[str]
) -> None:
    """Refuses a run whose checkpoints are missing, or those of another family."""
    where = str(RunDirectory(run.path).checkpoints)
    saved = run.status.get("saved")
    if checkpoint is None and saved and "checkpoints" not in accept:
        raise CheckpointError(
            f"the run had saved step {saved}, and its checkpoints are gone",
            where=where,
            expected="the checkpoints it saved",
            hint="put them back; --accept-changes checkpoints begins again at step 0",
        )
    if checkpoint is not None and checkpoint["family"] != family:
        raise CheckpointError(
            f"the checkpoint belongs to family `{checkpoint['family']}`",
            where=where,
            expected=f"family `{family}`, as config.yaml says",
        )


def check_unchanged(
    run: Run,
    checkpoint: State,
    parts: Parts,
    accept: Collection[str],
    tell: Callable[[str], None],
) -> None:
    """Compares the identity in a run's checkpoint with the run's config, and its data, as they are.

    Args:
        run: as its files say, without what changes when it goes on.
        checkpoint: of the run.
        parts: of the run that goes on, after its data were read.
        accept, tell: as for `weft.engine.identity.check`.

    Raises:
        WrongRun: if config or data differ and that is not accepted.
    """
    before = replace(parts, config=changed(run.config, {}, str(run.path)))
    check(saved_identity(checkpoint, run.config), before.identity(), accept, tell)


def changed(
    values: Mapping[str, Any],
    overrides: Mapping[str, Any],
    where: str,
    free: Collection[str] = FREE,
) -> FamilyConfig:
    """A run's config with another length, or with changes to sections that may change.

    Args:
        values: its config as plain values.
        overrides: changes by dotted key.
        where: file of the config, for messages.
        free: sections that may change.

    Raises:
        UsageError: if anything else would change.
    """
    tree = json.loads(json.dumps(values))
    for key, value in overrides.items():
        if key in LENGTHS:
            tree |= {key: value, LENGTHS[key]: None}
            continue
        path: KeyPath = tuple(key.split("."))
        if path[0] not in free or len(path) < 2:
            raise UsageError(
                f"`{key}` cannot change when a run goes on",
                expected=f"steps, epochs, or a key below {', '.join(free)}",
                hint="anything else would make it another run: use `weft train`",
            )
        node = tree
        for depth, part in enumerate(path[:-1], start=1):
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise UsageError(
                    f"`{'.'.join(path[:depth])}` is a value, with no keys below it",
                    where=key,
                    expected=f"`{'.'.join(path[:depth])}=…`",
                )
        node[path[-1]] = value
    return validate(tree, find(str(tree["family"])), where)


def check_longer(run: Run, total: int) -> None:
    """Raises a UsageError if `total` steps are no more than the run has done."""
    done = int(run.status["step"])
    if total <= done:
        raise UsageError(
            f"the run has done {done} steps, and {total} are asked for",
            where=str(run.path),
            expected=f"more than {done} steps, {done / run.resolved['batches_per_epoch']:g} epochs",
        )


def _lengthen(directory: RunDirectory, run: Run, parts: Parts) -> None:
    """Writes a run's new length to its config.yaml and resolved.yaml."""
    total = parts.plan.total_steps
    if total == run.resolved["total_steps"]:
        return
    said = f"{total} steps in all, in place of {run.resolved['total_steps']}"
    values = {**run.config, "steps": parts.config.steps, "epochs": parts.config.epochs}
    directory.write_yaml("config", values, f"weft train {run.status['recipe']}; {said}")
    directory.write_yaml("resolved", {**run.resolved, "total_steps": total})
    directory.note(f"goes on to {said}")
