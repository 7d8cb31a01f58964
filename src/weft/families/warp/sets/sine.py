"""Sines of one period, whose phase is to be inferred from their first value."""

# N sequences, T steps; computed in float64

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp.config import Config
from weft.families.warp.sets.generated import sizes_of, stream_of
from weft.families.warp.sets.member import member
from weft.families.warp.sets.source import Header, Parts, extremes, identity

_STEPS = 16
_TRAIN = {"tiny": 1, "small": 10, "medium": 100, "large": 1_000, "huge": 10_000}
_HELD = 1_000


def header(config: Config) -> Header:
    """Training sets of five sizes, each a subset of the next; one step is given.

    Raises:
        ConfigError: if `data.subset` is none of them.
    """
    train = _TRAIN[member(config, _TRAIN) or "huge"]
    sizes = sizes_of(config, {"train": train, "val": _HELD, "test": _HELD})
    return Header(config.data.sequence_length or _STEPS, 1, sizes, context=1)


def load(config: Config) -> Parts:
    """The generated sequences, a function of (data.seed, split), their number and length."""
    about = header(config)
    made = {split: _part(config, split, size, about.steps) for split, size in about.sizes.items()}
    fit = extremes(positive=config.unit_normalise) if config.data.normalize else identity
    return Parts({"x": made["train"]}, {"x": made["test"]}, {"x": made["val"]}, fit)


def _part(config: Config, split: str, size: int, steps: int) -> Tensor:
    # All are drawn and the first kept, so that smaller training sets lie within larger ones.
    drawn, generator = max(size, *_TRAIN.values()), stream_of(config, "sine", split)
    draws = torch.rand(drawn, generator=generator, dtype=torch.float64)
    phases = (draws[:size, None, None] - 0.5) * torch.pi / 3
    times = torch.linspace(0, 1, steps, dtype=torch.float64)[:, None]
    return torch.sin(2 * torch.pi * times + phases).float()
