"""Traffic forecasting with a user's PEMS08 file: twelve given steps, twelve to forecast."""

# R rows (five minutes each), d sensors

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from weft.data.gate import Part, hold
from weft.data.guard import unreadable
from weft.data.npz import open_npz
from weft.data.series import find_file, require_finite
from weft.families.warp.config import Config
from weft.families.warp.sets.forecast import count_windows, stride, window, windows
from weft.families.warp.sets.source import Header, Parts, extremes

_STEPS = 24
_FILE = "PEMS08.npz"
_SHARES = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}


def header(config: Config) -> Header:
    """Windows of 24 steps in the usual 60/20/20 parts of the record, one after another in time.

    Raises:
        DataError: if the file is missing, or not such a file.
        ConfigError: if windows do not fit.
    """
    flow = _flow(config)
    hold(
        {
            split: Part(len(part), {"sensors": part.shape[1:]})
            for split, part in _parts(flow).items()
        },
        _FILE,
        tuple(_SHARES),
    )
    steps, context = window(config, _STEPS)
    rows = {split: len(part) for split, part in _parts(flow).items()}
    channels = flow.shape[1]
    sizes = count_windows(config, steps, rows)
    return Header(steps, channels, sizes, outputs=channels, context=context)


def load(config: Config) -> Parts:
    """The windows; the input has the context only.

    In the original's loader a convolution can see the steps to forecast; here they are not part of
    the input of any model.
    """
    steps, context = window(config, _STEPS)
    made = {
        split: {"x": windows(rows, steps, stride(config, split))}
        for split, rows in _parts(_flow(config)).items()
    }
    return Parts(
        made["train"],
        made["test"],
        made["val"],
        extremes(positive=config.unit_normalise),
        past=context,
    )


def _flow(config: Config) -> Tensor:
    """Vehicles per five minutes, float32 (R, d): the first feature of `data` (R, d, features)."""
    path = find_file(
        (f"pems08/{_FILE}", f"PEMS08/{_FILE}", _FILE),
        root=config.data.root,
        expected="PEMS08.npz with an array `data` (17856, 170, 3)",
    )
    form = "an npz file with `data` (rows, sensors, 3)"
    with open_npz(path, form) as archive:
        values = archive.array("data")
    if values.ndim != 3 or not values.size:
        raise unreadable(path, form, f"`data` {values.shape}")
    require_finite(values, path)
    return torch.from_numpy(values[..., 0].astype(np.float32))


def _parts(rows: Tensor) -> dict[str, Tensor]:
    return {
        split: rows[round(len(rows) * start) : round(len(rows) * stop)]
        for split, (start, stop) in _SHARES.items()
    }
