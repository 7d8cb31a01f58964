"""Shared by all generated sets: their sizes, and their own random streams."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from weft.data.random import derive
from weft.families.warp.config import Config

Ranges = Mapping[str, tuple[float, float]]


def sizes_of(config: Config, usual: Mapping[str, int]) -> dict[str, int]:
    """Number of sequences in each part: that of the config, or else the usual one."""
    data = config.data
    asked = {"train": data.train_size, "test": data.test_size}
    return {split: asked.get(split) or size for split, size in usual.items()}


def stream_of(config: Config, name: str, split: str) -> Generator:
    """The random stream of a part of the set `name`: a function of `data.seed`, not of `seed`."""
    return torch.Generator().manual_seed(derive(config.data.seed, name, split))


def uniform(ranges: Ranges, size: int, generator: Generator) -> Tensor:
    """One row of draws for each range, float64 (len(ranges), size)."""
    draws = torch.rand(size, len(ranges), generator=generator, dtype=torch.float64).T
    bounds = torch.tensor(list(ranges.values()), dtype=torch.float64)
    low, high = bounds[:, :1], bounds[:, 1:]
    return low + (high - low) * draws
