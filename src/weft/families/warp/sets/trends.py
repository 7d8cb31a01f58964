"""Synthetic control charts in six classes, generated or read from UCI's file."""

# N sequences, T steps

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from weft.data.content import read_lines
from weft.data.guard import parsing, unreadable
from weft.data.series import find_file, require_finite
from weft.data.source import Batch
from weft.families.warp.config import Config
from weft.families.warp.sets.generated import sizes_of, stream_of
from weft.families.warp.sets.member import member
from weft.families.warp.sets.source import Header, Parts, Scale

CLASSES = ("normal", "cyclic", "up trend", "down trend", "up shift", "down shift")

_SIZES = {"train": 480, "test": 120}
_STEPS = 60
_FILE, _ROWS = "synthetic_control.data", 600


def charts(labels: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Charts y(t) = 30 + 2r + pattern, r ~ U(-3, 3), by Alcock & Manolopoulos (1999).

    Patterns: none; a sin(2 pi t / P) with a, P ~ U(10, 15); +-g t with g ~ U(.2, .5); a step of
    +-x, x ~ U(7.5, 20), from a time U(T/3, 2T/3) on.

    Args:
        labels: numbers of `CLASSES`, int64 (N,).
        steps: T.
    Returns: float64 (N, T).
    """

    def uniform(low: float, high: float, width: int = 1) -> Tensor:
        draws = torch.rand(len(labels), width, generator=generator, dtype=torch.float64)
        return low + (high - low) * draws

    times = torch.arange(steps, dtype=torch.float64)
    noise = uniform(-3, 3, steps)
    wave = uniform(10, 15) * torch.sin(2 * torch.pi * times / uniform(10, 15))
    slope = uniform(0.2, 0.5) * times
    step = uniform(7.5, 20) * (times >= uniform(steps / 3, 2 * steps / 3))
    patterns = torch.stack((torch.zeros_like(wave), wave, slope, -slope, step, -step))
    return 30 + 2 * noise + patterns[labels, torch.arange(len(labels))]


def standardise(raw: Tensor) -> Scale:
    """Mean 0 and deviation 1 in every time column of (N, T, d), as in the original."""
    values = raw.double()
    spread = values.std(0, unbiased=False)
    unit = torch.where(spread > 0, spread, 1.0)
    return Scale(values.mean(0).float(), unit.float())


def header(config: Config) -> Header:
    """600 charts of 60 steps by default, a fifth of them for testing.

    Raises:
        ConfigError: if `data.subset` is neither null nor uci.
        DataError: if UCI's file is asked for and is missing, or not that file.
    """
    given = member(config, ["uci"]) == "uci"
    if given:
        _rows(config)
    sizes = dict(_SIZES) if given else sizes_of(config, _SIZES)
    return Header(config.data.sequence_length or _STEPS, 1, sizes, num_classes=len(CLASSES))


def load(config: Config) -> Parts:
    """The generated charts, classes in turn; with `data.subset` uci those of UCI."""
    if config.data.subset == "uci":
        return _read(config)
    about = header(config)
    made: dict[str, Batch] = {}
    for split, size in about.sizes.items():
        generator = stream_of(config, "trends", split)
        labels = torch.arange(size) % len(CLASSES)
        x = charts(labels, about.steps, generator).float()
        made[split] = {"x": x[..., None], "label": labels}
    return Parts(made["train"], made["test"], fit=standardise)


def _read(config: Config) -> Parts:
    """UCI's 600 charts; a fixed fifth of every class is for testing, whatever the seed."""
    x = _rows(config)[:, : header(config).steps, None]
    labels = torch.arange(_ROWS) // (_ROWS // len(CLASSES))
    test = torch.arange(_ROWS) % 5 == 4
    train = {"x": x[~test], "label": labels[~test]}
    return Parts(train, {"x": x[test], "label": labels[test]}, fit=standardise)


def _rows(config: Config) -> Tensor:
    """UCI's file, float32 (600, 60).

    Raises:
        DataError: if it is missing, or not that file.
    """
    path = find_file(
        (f"trends/{_FILE}", _FILE),
        root=config.data.root,
        expected="UCI's Synthetic Control Chart Time Series: 600 lines of 60 numbers",
    )
    form = "600 lines of 60 numbers"
    lines = read_lines(path, form)
    with parsing(path, form):
        rows = np.loadtxt(lines, ndmin=2, comments=None)
    if rows.shape != (_ROWS, _STEPS):
        raise unreadable(path, form, f"the shape {rows.shape}")
    require_finite(rows, path)
    return torch.from_numpy(rows).float()
