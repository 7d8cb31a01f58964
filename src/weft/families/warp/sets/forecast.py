"""Forecasting windows cut from the electricity-transformer tables (ETT)."""

# R rows, W windows, T steps, d channels

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from weft.data import fetch
from weft.data.catalog.sets import SETS
from weft.data.series import find_file, load_table
from weft.data.table import read_ett
from weft.errors import ConfigError, DataError
from weft.families.warp.config import Config
from weft.families.warp.sets.member import member
from weft.families.warp.sets.source import Header, Parts, Scale, extremes

_STEPS = 192
_CHANNELS = 7
#: Table -> rows of each part of the usual split, 12 + 4 + 4 months.
_ROWS = {
    "h1": (8_640, 2_880, 2_880),
    "h2": (8_640, 2_880, 2_880),
    "m1": (34_560, 11_520, 11_520),
    "m2": (34_560, 11_520, 11_520),
}


def windows(rows: Tensor, steps: int, stride: int = 1) -> Tensor:
    """All windows of `steps` rows of (R, d) at a distance of `stride`, as a view (W, T, d)."""
    return rows.unfold(0, steps, stride).transpose(1, 2)


def window(config: Config, usual: int) -> tuple[int, int]:
    """Number of steps of a window, and how many of them are given before the forecast.

    Without `data.sequence_length` half of the `usual` steps are given, as in the literature. With
    it, the first `grounding_length` are given.

    Raises:
        ConfigError: if nothing is left to forecast.
    """
    steps = config.data.sequence_length
    if steps is None:
        return usual, usual // 2
    if config.grounding_length >= steps:
        raise ConfigError(
            f"`grounding_length` {config.grounding_length} leaves nothing to forecast",
            where="grounding_length",
            expected=f"grounding_length < {steps}, the steps of a window",
        )
    return steps, config.grounding_length


def count_windows(config: Config, steps: int, rows: Mapping[str, int]) -> dict[str, int]:
    """Split -> windows of `steps` in its rows; only training windows are `data.stride` apart.

    Raises:
        ConfigError: if windows are longer than a split.
    """
    shortest = min(rows.values())
    if steps > shortest:
        raise ConfigError(
            f"windows of {steps} steps are longer than a part of `{config.data.dataset}`",
            where="data.sequence_length",
            expected=f"sequence_length <= {shortest}",
        )
    return {split: (size - steps) // stride(config, split) + 1 for split, size in rows.items()}


def stride(config: Config, split: str) -> int:
    """Steps from one window to the next."""
    return config.data.stride if split == "train" else 1


def header(config: Config) -> Header:
    """Windows of 96 steps of context and 96 to forecast, in the usual parts of the table.

    Raises:
        ConfigError: if `data.subset` is not a table, or windows do not fit.
        DataError: if the file is missing and may not be downloaded.
    """
    data = config.data
    member(config, _ROWS)
    if _name(config) in SETS:
        fetch.expect(_name(config), root=data.root, download=data.download)
    else:
        _loose_table(config)
    steps, context = window(config, _STEPS)
    rows = {split: stop - start for split, (start, stop) in _parts(config, context).items()}
    return Header(
        steps,
        _CHANNELS,
        count_windows(config, steps, rows),
        outputs=None if _stops(config) else _CHANNELS,
        context=context,
    )


def load(config: Config) -> Parts:
    """The windows, as views of the table; every channel is scaled by its training rows.

    If the model neither feeds predictions back nor is read by query, the input has the context
    only, since it would otherwise include the values to forecast.
    """
    data, name = config.data, _name(config)
    if name in SETS:
        table = load_table(name, root=data.root, download=data.download)
    else:
        table = _loose_table(config)
    rows = torch.from_numpy(table)
    steps, context = window(config, _STEPS)
    made = {
        split: {"x": windows(rows[start:stop], steps, stride(config, split))}
        for split, (start, stop) in _parts(config, context).items()
    }
    return Parts(
        made["train"],
        made["test"],
        made["val"],
        _fit(config, rows[: _parts(config, context)["train"][1]]),
        past=None if _stops(config) else context,
    )


def _fit(config: Config, rows: Tensor) -> Callable[[Tensor], Scale]:
    """The scale that `data.scale` asks for, of training rows (R, d)."""
    if config.data.scale == "extremes":
        return extremes(positive=config.unit_normalise)
    scale = Scale(rows.mean(0), rows.std(0, correction=0))
    return lambda _: scale


def _stops(config: Config) -> bool:
    """Whether the model itself stops reading after the context; the input is then the target."""
    return config.feeds_back or config.read == "query"


def _name(config: Config) -> str:
    return f"ETT{config.data.subset}"


def _loose_table(config: Config) -> NDArray[np.float32]:
    """A table that is not in the catalogue.

    Raises:
        DataError: if it is missing, or has too few rows.
    """
    name = _name(config)
    path = find_file(
        (f"ett/{name}.csv", f"ett/{name}.csv.gz", f"{name}.csv", f"{name}.csv.gz"),
        root=config.data.root,
        expected=f"{name}.csv of https://github.com/zhouhaoyi/ETDataset",
    )
    table, needed = read_ett(path), sum(_ROWS[str(config.data.subset)])
    if len(table) < needed:
        raise DataError(
            f"{path.name} has {len(table):,} rows",
            where=str(path),
            expected=f"at least {needed:,}, those of the usual train, val and test parts",
        )
    return table


def _parts(config: Config, context: int) -> dict[str, tuple[int, int]]:
    """Split -> its rows; val and test begin a context earlier, so that all rows are forecast."""
    train, val, test = _ROWS[str(config.data.subset)]
    return {
        "train": (0, train),
        "val": (train - context, train + val),
        "test": (train + val - context, train + val + test),
    }
