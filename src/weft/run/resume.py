"""Goes on with a run exactly where its newest good checkpoint left it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from weft.config.base import FamilyConfig
from weft.config.explain import suggest
from weft.config.load import validate
from weft.config.yaml import KeyPath
from weft.engine.device import joined
from weft.engine.ground import own_ground
from weft.engine.identity import check
from weft.engine.parts import Parts
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
"""Sections that may change when a run is resumed: none of them changes what is computed."""

LENGTHS = {"steps": "epochs", "epochs": "steps"}
"""Each way to say a run's length, with the other one: a run may be made longer, and then follows
the rates of its new length."""

ACCEPTABLE = ("config", "data", "checkpoints")
"""What may differ from what a checkpoint says, or be gone, where a user says so."""


def acceptable(said: str | Collection[str]) -> frozenset[str]:
    """The differences that are accepted: words, or one text with commas between them.

    Raises:
        UsageError: if one of them is none that could be.
    """
    words = said.split(",") if isinstance(said, str) else said
    found = frozenset(word.strip() for word in words) - {""}
    for word in sorted(found - {*ACCEPTABLE}):
        raise UsageError(
            f"`{word}` is nothing that can be accepted",
            where="--accept-changes",
            expected=f"some of {', '.join(ACCEPTABLE)}",
            hint=suggest(word, ACCEPTABLE, ""),
        )
    return found


@own_ground()
def resume(
    path: Path,
    overrides: Mapping[str, Any],
    followers: Followers,
    accept: Collection[str] = (),
) -> Trained | None:
    """Goes on with a run.

    Args:
        path: the run's directory.
        overrides: changes below `log`, `engine` and `checkpoint`, by dotted key, and another
            `steps` or `epochs`.
        followers: who follows the run.
        accept: `config` or `data`, where they may differ from those of the checkpoint;
            `checkpoints`, if they are gone and the run is to begin again.

    Returns:
        The trained model; None on all processes but the first of several.

    Raises:
        WrongRun: if the run is finished and not made longer.
        PlaceTaken: if another process writes it.
        CheckpointError: if checkpoints exist and none is good, or they are another family's; if
            there are none yet and a parent's weights are gone or changed.
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
            saved = run.status.get("saved")
            if checkpoint is None and saved and "checkpoints" not in accept:
                raise CheckpointError(
                    f"the run had saved step {saved}, and its checkpoints are gone",
                    where=str(directory.checkpoints),
                    expected="the checkpoints it saved",
                    hint="put them back; --accept-changes checkpoints begins again at step 0",
                )
            if checkpoint is not None and checkpoint["family"] != config.family:
                raise CheckpointError(
                    f"the checkpoint belongs to family `{checkpoint['family']}`",
                    where=str(directory.checkpoints),
                    expected=f"family `{config.family}`, as config.yaml says",
                )
            # A checkpoint holds all weights; before the first one they still are the parents'.
            parents = kept_parents(run) if checkpoint is None else None
            mine = directory if ranks.first else None
            recipe, data = str(run.status["recipe"]), parts.data()
            if checkpoint is not None:
                was = checkpoint.get("identity", {})
                before = replace(parts, config=changed(run.config, {}, str(path)))
                check(was, before.identity(), accept, directory.note)
            if longer and directory.writes:
                _lengthen(directory, run, parts)
            begins = data if checkpoint is None else None
            # No name is given to stepper and session, which must be gone before processes part.
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


def changed(
    values: Mapping[str, Any],
    overrides: Mapping[str, Any],
    where: str,
    free: Collection[str] = FREE,
) -> FamilyConfig:
    """A run's config with changes to its length and to sections that do not alter what is computed.

    Args:
        values: its config, plain.
        overrides: changes by dotted key.
        where: the config stands.
        free: sections that may change.

    Raises:
        UsageError: if another section would change.
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
    """Raises: UsageError if a run has gone as far as it is to go already."""
    done = int(run.status["step"])
    if total <= done:
        raise UsageError(
            f"the run has done {done} steps, and {total} are asked for",
            where=str(run.path),
            expected=f"more than {done} steps, {done / run.resolved['batches_per_epoch']:g} epochs",
        )


def _lengthen(directory: RunDirectory, run: Run, parts: Parts) -> None:
    """Writes a run's new length down."""
    total = parts.plan.total_steps
    if total == run.resolved["total_steps"]:
        return
    said = f"{total} steps in all, in place of {run.resolved['total_steps']}"
    values = {**run.config, "steps": parts.config.steps, "epochs": parts.config.epochs}
    directory.write_yaml("config", values, f"weft train {run.status['recipe']}; {said}")
    directory.write_yaml("resolved", {**run.resolved, "total_steps": total})
    directory.note(f"goes on to {said}")
