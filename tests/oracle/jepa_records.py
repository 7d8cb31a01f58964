"""Reads the records of the original of jepa and puts their parameters into models of weft."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weft.data.source import Batch
from weft.families.jepa.config import Config
from weft.families.jepa.data import data_spec
from weft.families.jepa.model import Model, build_model
from weft.families.jepa.options.original import translate

FOLDER = Path(__file__).parent / "records" / "jepa"

_NAMES = {
    r"^backbone\.0\.": "backbone.",
    r"^backbone\.1\.model\.(\d+)": lambda m: f"encoder.net.{12 + int(m[1])}",
    r"^backbone\.layer1\.": "encoder.net.",
    r"^backbone\.fc\.": "encoder.net.11.",
    r"^projector\.model\.": "projector.",
    r"^predictor\.rnn\.(.*_l\d)$": r"predictor.gru.\1",
    r"^predictor\.output_projector\.": "predictor.read.",
    r"^predictor\.model\.": "predictor.net.",
    r"^action_predictor\.model\.": "action_head.",
    r"^decoder\.convTrans(\d)\.(\d)": lambda m: f"decoder.net.{3 * (int(m[1]) - 6) + int(m[2])}",
    r"^decoder\.fc\.": "decoder.expand.",
    r"^decoder\.layers\.(\d)\.(conv\.)?": lambda m: f"decoder.net.{int(m[1]) + 1}.",
    r"^predictor\.rnn_input_net\.0\.": "enter.",
    r"^predictor\.rnn\.": "cell.",
    r"^predictor\.prior_mu_net\.0\.": "prior_mean.",
    r"^predictor\.prior_var_net\.0\.": "prior_std.",
    r"^posterior\.posterior_mu_net\.2\.": "posterior_mean.",
    r"^posterior\.posterior_var_net\.2\.": "posterior_std.",
}
"""The original's names as ours, first to last; those without a match are the same."""


def ours(name: str) -> str:
    """Our name of a parameter or buffer of the original."""
    for pattern, replacement in _NAMES.items():
        name = re.sub(pattern, replacement, name)
    return name


def reordered(name: str, value: Tensor) -> Tensor:
    """A weight as we keep it: we flatten maps of features with the channel fastest."""
    if re.fullmatch(r"backbone\.(0\.)?fc\.weight", name):
        return value.unflatten(1, (-1, 3, 3)).permute(0, 2, 3, 1).flatten(1)
    if name.startswith("decoder.fc."):
        return value.unflatten(0, (-1, 3, 3)).movedim(0, 2).flatten(0, 2)
    return value


@dataclass(frozen=True)
class Record:
    """One file of records.

    Attributes:
        option: what the original was told.
        arrays: the file's arrays.
    """

    option: dict[str, Any]
    arrays: dict[str, np.ndarray]

    def group(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        """Names below `prefix/`, and what they hold in float64."""
        for name, array in self.arrays.items():
            if name.startswith(f"{prefix}/"):
                yield name[len(prefix) + 1 :], torch.as_tensor(array).double()

    def __getitem__(self, name: str) -> Tensor:
        return torch.as_tensor(self.arrays[name]).double()

    def parameters(self) -> dict[str, Tensor]:
        """All parameters and statistics under our names, those of the common encoder included."""
        found = {
            name: reordered(name, value)
            for source, prefix, before in (
                (record("common"), "encoder", "backbone."),
                (self, "param", ""),
            )
            for name, value in ((before + name, value) for name, value in source.group(prefix))
        }
        pairs = {
            leaf: [found.pop(f"posterior.posterior_{of}_net.0.{leaf}") for of in ("mu", "var")]
            for leaf in ("weight", "bias")
            if f"posterior.posterior_mu_net.0.{leaf}" in found
        }
        return {ours(name): value for name, value in found.items()} | {
            f"posterior_hidden.{leaf}": torch.cat(pair) for leaf, pair in pairs.items()
        }

    def statistics(self) -> dict[str, Tensor]:
        """Running statistics after the pass under our names."""
        return {ours(name): value for name, value in self.group("buffer")}

    def gradients(self) -> Iterator[tuple[str, str, Tensor]]:
        """Our name, the original's, and the gradient, or its norm where only that was kept."""
        for name, value in self.group("grad"):
            name = name.removeprefix("norm/")
            if not re.match(r"posterior\..*_net\.0\.", name):  # Ours are one layer.
                yield ours(name), name, value if value.dim() == 0 else reordered(name, value)


@cache
def record(name: str) -> Record:
    """The record of that name."""
    with np.load(FOLDER / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return Record(json.loads(str(arrays.pop("option"))), arrays)


def batch(dtype: torch.dtype, frames: int = 6, rows: int = 5) -> Batch:
    """The first frames and sequences of the common batch, batch first."""
    fields = {
        name: record("common")[f"input/{name}"].transpose(0, 1)[:rows].to(dtype)
        for name in ("image", "action", "location")
    }
    return {
        name: value[:, : frames - 1 if name == "action" else frames].contiguous()
        for name, value in fields.items()
    }


def config_of(old: dict[str, Any], frames: int = 6, rows: int = 5) -> Config:
    """The config that the original's keys are translated to, for the common batch."""
    values = translate(old)
    kept = {
        key: value
        for key, value in values.items()
        if key not in ("optim", "schedule", "clip", "eval", "checkpoint", "epochs", "log")
    }
    burnin = kept["model"].get("rnn_burnin", 1)
    return Config(**kept | {"steps": 1, "batch_size": rows, "n_steps": frames - burnin + 1})


def build(config: Config, held: Record, dtype: torch.dtype) -> Model:
    """A model in training mode with the record's parameters, every one of its own set."""
    model = build_model(config, data_spec(config)).to(dtype)
    put(model, held.parameters(), spare=("action_head.",))
    return model


def put(model: nn.Module, values: dict[str, Tensor], spare: tuple[str, ...] = ()) -> None:
    """Sets all parameters; a value without a place must begin with one of `spare`."""
    own = dict(model.named_parameters())
    given = {name: value for name, value in values.items() if name in own}
    assert given.keys() == own.keys()
    assert all(name.startswith(spare) for name in values.keys() - own.keys())
    with torch.no_grad():
        for name, value in given.items():
            assert own[name].shape == value.shape, name
            own[name].copy_(value)


def distance(found: Tensor, expected: Tensor) -> float:
    """Euclidean distance relative to the length of what is expected."""
    return float((found.detach().double() - expected).norm() / expected.norm())
