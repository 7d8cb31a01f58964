"""Finds the earlier runs that a config names, and pins their weights by checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weft.config.base import FamilyConfig
from weft.config.explain import Origin
from weft.config.load import validate
from weft.config.runref import RunRef, run_refs
from weft.engine.checkpoint import Store, read
from weft.errors import CheckpointError, ConfigError, RunError, WrongRun
from weft.families import find
from weft.run.directory import RunDirectory
from weft.run.export import exported_config, exported_weights
from weft.run.named import named
from weft.run.registry import Run, is_run, open_run
from weft.task.parent import Parent

if TYPE_CHECKING:
    from torch import Tensor


def find_parents(config: FamilyConfig, origin: Origin) -> dict[str, Parent]:
    """The earlier runs that a new run's config names, with the checksums of their weights now.

    Args:
        config: of the new run.
        origin: says where the user named them.

    Raises:
        ConfigError: if one is missing, ambiguous, unfinished or of another family.
    """
    files = find_weights(config, origin)
    return {key: _parent(key, file, _checksum(file)) for key, file in files.items()}


def find_weights(config: FamilyConfig, origin: Origin) -> dict[str, Path]:
    """Config key -> the file of weights it names; arguments and errors as for `find_parents`."""
    files = {}
    for key, ref in run_refs(config):
        named, where = f"`{key}` = {ref}", origin(tuple(key.split(".")))
        try:
            file = locate(ref, Path(config.run.root))
            family = _config_of(file)["family"]
        except (RunError, CheckpointError) as error:
            raise ConfigError(
                f"{named}: {error.message}", where=where, expected=error.expected, hint=error.hint
            ) from error
        if family != config.family:
            raise ConfigError(
                f"{named} is a run of family `{family}`",
                where=where,
                expected=f"a run of family `{config.family}`",
                hint=f"`weft runs --family {config.family}` lists them",
            )
        files[key] = file
    return files


def kept_parents(run: Run) -> dict[str, Parent]:
    """The parents of a run that has begun, as its resolved.yaml pins them.

    Raises:
        CheckpointError: if a file is missing; `load_weights` raises it if the file has changed.
    """
    parents = {}
    for key, pin in run.parents.items():
        file = Path(pin["file"])
        if not file.is_file():
            raise CheckpointError(
                f"the weights that `{key}` names are gone, and the run has no checkpoint yet",
                where=str(file),
                expected=f"sha256 {pin['sha256'][:12]}…",
                hint=f"put the file back, or start a new run with another `{key}`",
            )
        parents[key] = _parent(key, file, pin["sha256"])
    return parents


def whereabouts(config: FamilyConfig) -> dict[str, str]:
    """Config key -> the file of weights it names now, or why it names none."""
    found = {}
    for key, ref in run_refs(config):
        try:
            found[key] = str(locate(ref, Path(config.run.root)))
        except (RunError, CheckpointError) as error:
            found[key] = error.message
    return found


def recorded(parents: Mapping[str, Parent]) -> dict[str, Any]:
    """The entry `parents` of resolved.yaml; an empty mapping if there are none."""
    pins = {k: {"file": str(p.file), "sha256": p.sha256} for k, p in parents.items()}
    return {"parents": pins} if pins else {}


def locate(ref: RunRef, root: Path) -> Path:
    """The absolute path of the weights that `ref` names, looking for names below `root`.

    Raises:
        WrongRun: if there is no such run, more than one, or it has not finished.
        CheckpointError: if it has no such checkpoint.
    """
    if os.path.isfile(ref):
        return Path(ref).absolute()
    name, checkpoint = str(ref), None
    if "@" in ref and not is_run(ref):
        name, _, checkpoint = ref.rpartition("@")
    run = named(name, root)
    if run.state != "finished" and checkpoint is None:
        raise WrongRun(
            f"the run has not finished (it is {run.state})",
            expected="a finished run, or a checkpoint of one",
            hint=f"`{ref}@last` takes what it has learnt so far",
        )
    return Store(RunDirectory(run.path).checkpoints).find(checkpoint).absolute()


def _parent(key: str, file: Path, sha256: str) -> Parent:
    values = _config_of(file)
    config = validate(values, find(str(values["family"])), str(file))
    return Parent(key, file, sha256, config, partial(_weights, key, file, sha256))


def _config_of(file: Path) -> dict[str, Any]:
    """The plain config of the run that `file` comes from."""
    if file.suffix == ".safetensors":
        return exported_config(file)
    return open_run(file.parents[1]).config


def _weights(key: str, file: Path, sha256: str) -> dict[str, Tensor]:
    found = _checksum(file)
    if found != sha256:
        raise CheckpointError(
            f"the weights that `{key}` names have changed since the run began",
            where=str(file),
            expected=f"sha256 {sha256[:12]}…, found {found[:12]}…",
            hint=f"put the file back as it was, or start a new run with another `{key}`",
        )
    if file.suffix == ".safetensors":
        return exported_weights(file)
    weights: dict[str, Tensor] = read(file)["model"]
    return weights


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
