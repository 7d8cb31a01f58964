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
from weft.engine.identity import check
from weft.engine.parts import Parts
from weft.engine.step import Stepper
from weft.engine.threads import kept
from weft.errors import CheckpointError, RunError, UsageError
from weft.families import find
from weft.run.directory import RunDirectory
from weft.run.model import Trained
from weft.run.parents import kept_parents
from weft.run.recorder import Followers, store_of
from weft.run.registry import open_run
from weft.run.session import Session

# Sections that may change when a run is resumed: none of them changes what is computed.
_FREE = ("log", "engine", "checkpoint")

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


def resume(
    path: Path,
    overrides: Mapping[str, Any],
    followers: Followers,
    accept: Collection[str] = (),
) -> Trained | None:
    """Goes on with a run.

    Args:
        path: the run's directory.
        overrides: changes below `log`, `engine` and `checkpoint`, by dotted key.
        followers: who follows the run.
        accept: `config` or `data`, where they may differ from those of the checkpoint;
            `checkpoints`, if they are gone and the run is to begin again.

    Returns:
        The trained model; None on all processes but the first of several.

    Raises:
        RunError: if the run is finished, or another process writes it.
        CheckpointError: if checkpoints exist and none is good, or they are another family's; if
            there are none yet and a parent's weights are gone or changed.
        Interrupted: if a signal stopped the run after its state was saved.
    """
    run = open_run(path)
    if run.status["state"] == "finished":
        raise RunError(
            "the run is finished",
            where=str(path),
            hint=f"`weft evaluate {path}` recomputes its metrics; a longer run is a new one",
        )
    config = changed(run.config, overrides, str(path / "config.yaml"))
    with joined(config.engine.timeout) as ranks:
        parts = Parts.of(find(config.family), config, ranks)
        threads = kept(parts, run.resolved)
        parts = replace(parts, threads=threads.number)
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
                check(was, parts.identity(), accept, directory.note)
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


def changed(values: Mapping[str, Any], overrides: Mapping[str, Any], where: str) -> FamilyConfig:
    """A run's config with changes to sections that do not alter what is computed.

    Raises:
        UsageError: if another section would change.
    """
    tree = json.loads(json.dumps(values))
    for key, value in overrides.items():
        path: KeyPath = tuple(key.split("."))
        if path[0] not in _FREE or len(path) < 2:
            raise UsageError(
                f"`{key}` cannot change when a run goes on",
                expected=f"a key below {', '.join(_FREE)}",
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
