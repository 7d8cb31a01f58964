"""A run's model with trained weights, its data and its metrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from weft.config.load import validate
from weft.config.place import told
from weft.data.source import Splits
from weft.engine.identity import check, saved_identity
from weft.engine.isolation import isolated
from weft.engine.loop import evaluate
from weft.engine.parts import Parts
from weft.engine.threads import kept
from weft.errors import CheckpointError
from weft.families import find
from weft.run.directory import RunDirectory
from weft.run.export import exported_config, exported_weights
from weft.run.recorder import store_of


@dataclass(frozen=True)
class Trained:
    """A trained model, and what evaluating and sampling it takes.

    Attributes:
        directory: of the run.
        parts: of the run.
        model: in eval mode.
        step: optimiser steps after which the weights were saved.
        loaded: the run's sources, if they are in memory already.
        saved: the checkpoint's identity, which the data are compared with when they are loaded.
        accept: differences from it that are allowed: `config`, `data`.
    """

    directory: RunDirectory
    parts: Parts
    model: nn.Module
    step: int
    loaded: Splits[Any] | None = None
    saved: Mapping[str, Any] = field(default_factory=dict)
    accept: Collection[str] = ()

    @cached_property
    @isolated()
    def data(self) -> Splits[Any]:
        """The run's sources, loaded on first use.

        Raises:
            WrongRun: if they are not the data the run was trained with.
        """
        if self.loaded is not None:
            return self.loaded
        data = self.parts.data()
        check(self.saved, self.parts.identity(), self.accept, lambda _: None)
        return data

    @isolated()
    def metrics(self, splits: Sequence[str] = ("val", "test")) -> dict[str, float]:
        """Metrics on those of `splits` that exist, computed as in training."""
        found: dict[str, float] = {}
        for split in splits:
            if getattr(self.data, split) is not None:
                found |= evaluate(self.parts, self.model, self.data, split, self.step)
        return found


@isolated()
def load(
    path: Path,
    values: Mapping[str, Any],
    resolved: Mapping[str, Any],
    checkpoint: str | None = None,
    accept: Collection[str] = (),
    tell: Callable[[str], None] = warnings.warn,
) -> Trained:
    """The model of the run in `path` with the weights of a checkpoint.

    Args:
        path: the run's directory.
        values: its config as plain values.
        resolved: its resolved.yaml.
        checkpoint: `best`, `last` or a step; by default the best where there is one.
        accept: `config`, `data` or both: what may have changed since the checkpoint was written.
        tell: called with a line of text for each difference or damaged file that was passed over.

    Raises:
        CheckpointError: if there is no such checkpoint, or it is damaged.
        WrongRun: if the config was edited since.
    """
    family = find(str(values["family"]))
    parts = Parts.of(family, validate(values, family, str(path / "config.yaml")))
    parts = replace(parts, threads=kept(parts, resolved).number)
    directory = RunDirectory(path)
    state = store_of(parts, directory, tell).load(checkpoint)
    saved = saved_identity(state, values)
    check(saved, parts.identity(), accept, tell)
    model = parts.model()
    model.load_state_dict(state["model"])
    step = int(state["progress"]["step"])
    return Trained(directory, parts, model.eval(), step, saved=saved, accept=accept)


@isolated()
def load_weights(path: Path) -> nn.Module:
    """The model in a `model.safetensors` that `export` wrote, in eval mode.

    Raises:
        CheckpointError: if the file is not one of weft's.
    """
    values = exported_config(path)
    family = find(str(values["family"]))
    parts = Parts.of(family, validate(values, family, str(path)))
    model = parts.model()
    try:
        model.load_state_dict(exported_weights(path))
    # Tensors are missing, or have other shapes than the config in the same file says.
    except RuntimeError as error:
        raise CheckpointError(
            "the weights do not fit the config beside them", where=str(path),
            expected="the file as weft wrote it", hint=f"found: {told(error)}",
        ) from error  # fmt: skip
    return model.eval()
