"""Reads a YAML config of the GaussVAE original: weft's options, and their places in the file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.config.explain import suggest
from weft.config.yaml import is_number, read_file
from weft.errors import ConfigError, UsageError, WeftError

NETS = ("encoder_filters", "decoder_filters", "encoder_kernel_sizes", "decoder_kernel_sizes",
        "encoder_pool_sizes", "decoder_upsample_sizes", "encoder_dropout_rates",
        "decoder_dropout_rates", "encoder_dense_units", "encoder_dense_dropout",
        "decoder_dense_units", "decoder_reshape_target")  # fmt: skip
"""Keys of `model` that are options of `net` with the same names."""

_STRAIGHT: Mapping[str, str] = {
    "model.latent_dim": "latent_dim",
    **{f"model.{name}": f"net.{name}" for name in NETS},
    "training.batch_size": "batch_size",
    "training.epochs": "epochs",
    "training.learning_rate": "optim.lr",
    "training.beta_warmup_epochs": "beta.warmup",
    "training.max_beta": "beta.max",
    "data.train_dir": "data.dataset",
    "data.dev_dir": "data.val",
    "data.test_dir": "data.test",
    "data.stats_path": "data.stats",
    "callbacks.early_stopping_patience": "eval.patience",
    "callbacks.reduce_lr_patience": "schedule.patience",
    "callbacks.reduce_lr_factor": "schedule.factor",
    "seed": "seed",
}
"""The original's key -> weft's option with the same value."""

_OTHERS = ("model.name", "model.dropout_rates", "training.mixed_precision",
           "data.shuffle_buffer", "callbacks.checkpoint_every", "callbacks.min_lr", "output_dir",
           "experiment_name")  # fmt: skip

KEYS = (*_STRAIGHT, *_OTHERS)

_OF_BLOCKS = {
    "encoder": ("kernel_sizes", "pool_sizes", "dropout_rates"),
    "decoder": ("kernel_sizes", "upsample_sizes", "dropout_rates"),
}
_RATE = 1e-3
"""Learning rate if the file gives none; `min_lr` is relative to it."""


@dataclass
class OldConfig:
    """A config of the original.

    Attributes:
        path: the file.
        values: weft's option -> value.
        origins: weft's option -> its place in the file, for error messages.
        notes: remarks to the user.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ConfigError for unknown keys and for lists of wrong lengths."""
        if not self.path.is_file():
            raise UsageError(
                f"there is no file `{self.path}`",
                where="--config",
                expected="a YAML file such as configs/conv1d_base.yaml",
            )
        tree, self._lines = read_file(self.path)
        self._old = _flat(tree)
        problems = [*self._unknown(), *self._misfits()]
        if problems:
            raise ConfigError(problems)
        for old, new in _STRAIGHT.items():
            self._put(new, self._old.get(old), old)
        self._put_others()

    @property
    def output(self) -> Path:
        """The run's folder: that of the experiment below `output_dir`."""
        name = self._old.get("experiment_name") or self.path.stem
        return Path(str(self._old.get("output_dir") or "experiments")) / str(name)

    @property
    def mixed(self) -> bool:
        """Whether it asks for mixed precision."""
        return bool(self._old.get("training.mixed_precision", False))

    @property
    def has_data(self) -> bool:
        """Whether it names training data."""
        return self._old.get("data.train_dir") is not None

    def _put(self, new: str, value: Any, old: str) -> None:
        if value is not None:
            self.values[new] = list(value) if isinstance(value, tuple) else value
            self.origins[new] = self._where(old)

    def _put_others(self) -> None:
        old = self._old
        if old.get("model.encoder_dropout_rates") is None:
            self._put("net.encoder_dropout_rates", old.get("model.dropout_rates"),
                      "model.dropout_rates")  # fmt: skip
        every = old.get("callbacks.checkpoint_every")
        if every is not None:
            self._put("checkpoint.keep_every", f"{every} epochs", "callbacks.checkpoint_every")
        floor, rate = old.get("callbacks.min_lr"), old.get("training.learning_rate", _RATE)
        if floor is not None:
            share = floor / rate if is_number(floor) and is_number(rate) and rate else floor
            self._put("schedule.min_lr", share, "callbacks.min_lr")
        if old.get("data.shuffle_buffer") not in (None, 1000):
            self.notes.append(
                f"{self._where('data.shuffle_buffer')} has no effect: every epoch is a "
                "permutation of all training pictures"
            )

    def _unknown(self) -> list[WeftError]:
        return [
            ConfigError(
                f"there is no key `{key}`",
                where=self._where(key),
                hint=suggest(key, list(KEYS), f"the keys are {', '.join(KEYS)}"),
            )
            for key in self._old
            if key not in KEYS
        ]

    def _misfits(self) -> list[WeftError]:
        """Errors of lists without one entry per block, and of a shape that misfits the units."""
        found: list[WeftError] = []
        for side, names in _OF_BLOCKS.items():
            filters = self._old.get(f"model.{side}_filters")
            for name in names:
                key = f"model.{side}_{name}"
                values = self._old.get(key)
                if not (isinstance(values, list) and isinstance(filters, list)):
                    continue
                if len(values) != len(filters):
                    says = f"`{key}` has {len(values)} entries for {len(filters)} blocks"
                    wanted = f"{len(filters)}, one for each of `model.{side}_filters`"
                    found.append(ConfigError(says, where=self._where(key), expected=wanted))
        key = "model.decoder_reshape_target"
        shape, units = self._old.get(key), self._old.get("model.decoder_dense_units")
        if not (isinstance(shape, list) and isinstance(units, list) and units):
            return found
        if all(map(is_number, [*shape, units[-1]])) and math.prod(shape) != units[-1]:
            says = (
                f"`{key}` {shape} holds {math.prod(shape)} numbers, the last of "
                f"`model.decoder_dense_units` is {units[-1]}"
            )
            wanted = "a product that is that number"
            found.append(ConfigError(says, where=self._where(key), expected=wanted))
        return found

    def _where(self, old: str) -> str:
        line = self._lines.get(tuple(old.split(".")))
        place = f"{self.path}:{line}" if line else str(self.path)
        return f"{place}, `{old}`"


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value, of a mapping with two levels."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found
